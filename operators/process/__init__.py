"""`process`: a class of the user's with state by key, timers, and rows of several inputs in order."""

if __name__ != "streamlib.operators.process":
    raise ImportError("import streamlib.operators.process, not operators.process")
