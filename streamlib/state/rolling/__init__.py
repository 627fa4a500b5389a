"""The last rows of each key, and what functions of rows keep of it."""
