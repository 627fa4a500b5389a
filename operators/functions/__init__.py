"""Functions of the user's: how they are read, what they are given, and what becomes of their results."""

if __name__ != "streamlib.operators.functions":
    raise ImportError("import streamlib.operators.functions, not operators.functions")
