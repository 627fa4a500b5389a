"""Windows, one file each, and the aggregation over them."""

if __name__ != "streamlib.operators.windows":
    raise ImportError("import streamlib.operators.windows, not operators.windows")
