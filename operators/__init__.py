"""Operators: one file each, with its semantics, its frozen node and its state class."""

if __name__ != "streamlib.operators":
    raise ImportError("import streamlib.operators, not operators")
