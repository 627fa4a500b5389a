"""Joins of two streams by key and event time, one file each."""

if __name__ != "streamlib.operators.joins":
    raise ImportError("import streamlib.operators.joins, not operators.joins")
