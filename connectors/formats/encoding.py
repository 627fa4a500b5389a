"""Text that is not UTF-8, made so while it is read. Bytes that the encoding has not become bytes UTF-8 has not.

So a character that cannot be read is found where all such are found, with its line, and by the same
policy. The file cannot seek any more: a position in it is reached by reading up to it.
"""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO, cast

from streamlib.errors import BuildError, nearest_names

CHUNK_BYTES = 1 << 18
NO_UTF8 = b"\xff"
"""What stands for a character that cannot be read."""
_KNOWN = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "iso8859-15", "shift_jis", "gbk")


def checked_encoding(name: str) -> str:
    """The name itself, if it is that of a text encoding that can be read piece by piece.

    Raises:
        BuildError: it is not.
    """
    try:
        codec = codecs.lookup(name)
    except (LookupError, TypeError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding or codec.incrementaldecoder is None:
        near = nearest_names(str(name), _KNOWN)
        raise BuildError(
            "there is no such encoding",
            expected=f"one such as {', '.join(_KNOWN[:6])}",
            got=repr(name),
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return name


def transcoded(file: BinaryIO, encoding: str) -> BinaryIO:
    """The file as UTF-8; itself where it is that already."""
    if codecs.lookup(encoding).name == "utf-8":
        return file
    return cast(BinaryIO, Transcoded(file, encoding))


class Transcoded(io.RawIOBase):
    """A file in another encoding, read as UTF-8. Closing it closes the file."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._file, self._encoding = file, encoding
        self._decoder: codecs.IncrementalDecoder | None = None
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._ready) < size):
            data = self._file.read(CHUNK_BYTES)
            self._ended = not data
            self._ready += self._utf8(data)
        size = len(self._ready) if size < 0 else size
        taken, self._ready = self._ready[:size], self._ready[size:]
        return taken

    def close(self) -> None:
        self._file.close()
        super().close()

    def _utf8(self, data: bytes) -> bytes:
        if self._decoder is None:
            self._decoder = self._opened(data)
        parts, final = [], self._ended
        while True:
            try:
                parts.append(self._decoder.decode(data, final).encode("utf-8", "surrogatepass"))
                return b"".join(parts)
            except UnicodeDecodeError as error:
                self._decoder.reset()
                read = self._decoder.decode(error.object[: error.start])
                parts += [read.encode("utf-8", "surrogatepass"), NO_UTF8]
                self._decoder.reset()
                data = error.object[max(error.end, error.start + 1) :]

    def _opened(self, data: bytes) -> codecs.IncrementalDecoder:
        """A decoder; of UTF-16 and UTF-32 the one whose byte order the file's first bytes say."""
        name = codecs.lookup(self._encoding).name
        if name in ("utf-16", "utf-32"):
            big = codecs.BOM_UTF16_BE if name == "utf-16" else codecs.BOM_UTF32_BE
            name += "-be" if data.startswith(big) else "-le"
        return codecs.getincrementaldecoder(name)("strict")
