"""Verbs of other libraries: a stream does not have them, and says which of its own does."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from streamlib.errors.elsewhere import OF_STREAM, ours


class ForeignVerbs:
    """Part of `Stream`: the message for an attribute that it does not have.

    >>> import pyarrow as pa, streamlib as sl
    >>> sl.read_arrow(pa.table({"n": [1]})).limit(5)
    Traceback (most recent call last):
    AttributeError: 'Stream' object has no attribute 'limit'; here it is .head(n), which runs as far as needed
    """

    if not TYPE_CHECKING:  # a type checker knows all attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            said = f"{type(self).__name__!r} object has no attribute {name!r}{ours(name, OF_STREAM)}"
            raise AttributeError(said, name=name, obj=self)
