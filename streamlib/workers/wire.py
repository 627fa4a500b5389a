"""Messages between processes: a JSON list, and parts of bytes that travel beside it.

A small part follows on the socket, a large one is a segment whose descriptor goes with the message, and a
socket can be handed over too. There is no pickle, and everything that a peer can send has a limit.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from streamlib.workers.segments import SEGMENT_BYTES_MAX, Segment, mapped

HEADER_BYTES_MAX = 64 * 1024 * 1024
INLINE_BYTES_MAX = 64 * 1024
"""A part up to this size is copied through the socket: that takes less than a segment does."""
PARTS_MAX = 200
"""Fewer than the descriptors that one message may carry."""
_READ_BYTES = 256 * 1024
_LATER = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS)

_PREFIX = struct.Struct("<IH")
_PART = struct.Struct("<BQ")
_INLINE, _SEGMENT, _SOCKET = 0, 1, 2

Part = bytes | bytearray | memoryview | Segment | socket.socket


class BrokenWireError(Exception):
    """A peer sent what is no message. Never seen by users."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came: a list whose first value says what it is, and its parts, which are memory or sockets."""

    values: list[Any]
    parts: list[Any]


class Connection:
    """One end of a Unix socket between two processes.

    One that blocks may be written by several threads; the other kind is for one thread alone, never waits,
    and keeps what the peer does not take yet until `flush`.

    Args:
        end: the socket.
        blocking: whether `send` and `receive` wait.
    """

    def __init__(self, end: socket.socket, blocking: bool) -> None:
        end.setblocking(blocking)
        self.socket = end
        self.blocking = blocking
        self.ended = False
        self._lock = threading.Lock()
        self._waiting: deque[tuple[memoryview, list[int]]] = deque()
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def send(self, values: Sequence[Any], parts: Sequence[Part] = ()) -> None:
        """Sends a message, or keeps it until the peer takes it. To a peer that has gone nothing is sent.

        Descriptors of segments and sockets among the parts are handed over: they are closed here.
        """
        header = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
        assert len(header) <= HEADER_BYTES_MAX and len(parts) <= PARTS_MAX, "a message has its limits"
        data = [_PREFIX.pack(len(header), len(parts))]
        fds, inline = [], []
        for part in parts:
            if isinstance(part, Segment):
                data.append(_PART.pack(_SEGMENT, part.nbytes))
                fds.append(part.detach())
            elif isinstance(part, socket.socket):
                data.append(_PART.pack(_SOCKET, 0))
                fds.append(part.detach())
            else:
                assert len(part) <= INLINE_BYTES_MAX, "a large part goes in a segment"
                data.append(_PART.pack(_INLINE, len(part)))
                inline.append(part)
        whole = memoryview(b"".join([*data, header, *inline]))
        with self._lock:
            self._waiting.append((whole, fds))
            self._flush()

    def flush(self) -> bool:
        """Sends what was kept; whether nothing is left."""
        with self._lock:
            return self._flush()

    @property
    def pending(self) -> bool:
        """Whether something was kept."""
        return bool(self._waiting)

    def _flush(self) -> bool:
        while self._waiting:
            data, fds = self._waiting[0]
            try:
                sent = 0 if self.ended else socket.send_fds(self.socket, [data], fds)
            except OSError as error:
                if error.errno in _LATER:
                    if self.blocking:
                        continue
                    return False
                self.ended = True
            for fd in fds:
                os.close(fd)
            if self.ended:
                self._drop()
                return True
            if sent == len(data):
                self._waiting.popleft()
            else:
                self._waiting[0] = data[sent:], []
        return True

    def _drop(self) -> None:
        for _, fds in list(self._waiting)[1:]:
            for fd in fds:
                os.close(fd)
        self._waiting.clear()

    def receive(self) -> Iterator[Message]:
        """The messages that are there. Where it blocks, waits for one. `ended` is set when the peer has gone.

        Raises:
            BrokenWireError: what came is no message.
        """
        while not self.ended:
            try:
                data, fds, flags, _ = socket.recv_fds(self.socket, _READ_BYTES, PARTS_MAX)
            except BlockingIOError:
                return
            except OSError:
                data, fds, flags = b"", [], 0
            self._fds.extend(fds)
            if flags & socket.MSG_CTRUNC:
                raise BrokenWireError("descriptors were lost: too many files are open")
            if not data:
                self.ended = True
                return
            self._buffer += data
            found = False
            while (message := self._take()) is not None:
                found = True
                yield message
            if self.blocking and found:
                return
            if not self.blocking and len(data) < _READ_BYTES and not fds:
                return

    def _take(self) -> Message | None:
        buffer = self._buffer
        if len(buffer) < _PREFIX.size:
            return None
        header, count = _PREFIX.unpack_from(buffer)
        if header > HEADER_BYTES_MAX or count > PARTS_MAX:
            raise BrokenWireError("a message is too long")
        at = _PREFIX.size + count * _PART.size
        if len(buffer) < at:
            return None
        about = [_PART.unpack_from(buffer, _PREFIX.size + i * _PART.size) for i in range(count)]
        inline = sum(size for kind, size in about if kind == _INLINE)
        if inline > INLINE_BYTES_MAX * PARTS_MAX:
            raise BrokenWireError("a message is too long")
        if len(buffer) < at + header + inline:
            return None
        values = orjson.loads(memoryview(buffer)[at : at + header])
        at += header
        parts: list[Any] = []
        for kind, size in about:
            if kind == _INLINE:
                parts.append(buffer[at : at + size])
                at += size
            else:
                parts.append(self._handed_over(kind, size))
        del buffer[:at]
        if not isinstance(values, list) or not values or not isinstance(values[0], str):
            raise BrokenWireError("a message is a list that begins with its name")
        return Message(values, parts)

    def _handed_over(self, kind: int, size: int) -> Any:
        if not self._fds or size > SEGMENT_BYTES_MAX or kind not in (_SEGMENT, _SOCKET):
            raise BrokenWireError("a part of a message is missing")
        fd = self._fds.popleft()
        return mapped(fd, size) if kind == _SEGMENT else socket.socket(fileno=fd)

    def close(self) -> None:
        """Closes the socket, and what came or was kept and nobody takes any more."""
        self.ended = True
        with self._lock:
            if self._waiting:
                for fd in self._waiting[0][1]:
                    os.close(fd)
                self._drop()
        while self._fds:
            os.close(self._fds.popleft())
        self.socket.close()
