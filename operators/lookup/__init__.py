"""Lookups: rows that are completed from a table, by key."""

if __name__ != "streamlib.operators.lookup":
    raise ImportError("import streamlib.operators.lookup, not operators.lookup")
