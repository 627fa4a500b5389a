"""How `streamlib why` reaches a job in another process: a Unix socket in a folder that is the user's alone.

Who may connect is decided by the folder, whose mode is 0700 and whose owner is checked; there is no
network. A job answers questions about itself and obeys nothing. Where no such socket can be made
(Windows, a folder that is not safe, no room) the job runs all the same, and `streamlib why` does not
find it. A request is one line of JSON, an answer is one JSON value and the end of the connection.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from streamlib.errors import StreamlibError

if TYPE_CHECKING:
    from streamlib.job.job import Job

REQUEST_BYTES_MAX = 4_096
ANSWER_BYTES_MAX = 16 * 1024 * 1024
ANSWER_SECONDS_MAX = 5.0
"""How long one who asks may take, and how long an answer is waited for."""
WAITING_MAX = 8
"""Connections that wait for their turn."""

_SOCKET = re.compile(r"(\d{1,10})-(\d{1,6})\.sock")


def folder() -> Path:
    """Where the sockets of this user's jobs lie: below ``$XDG_RUNTIME_DIR``, else the folder for temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime, "streamlib")
    return Path(tempfile.gettempdir(), f"streamlib-{os.getuid()}")


def is_own(path: Path) -> bool:
    """Whether a folder exists, is no link, belongs to this user and is closed to all others."""
    try:
        known = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(known.st_mode) and known.st_uid == os.getuid() and not known.st_mode & 0o077


def supported() -> bool:
    """Whether this system has what is needed: Windows has not."""
    return hasattr(socket, "AF_UNIX") and hasattr(os, "getuid")


class Reachable:
    """Answers questions about a job while it runs, on a thread of its own.

    Args:
        job: whom to ask.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._thread: threading.Thread | None = None
        self._path: Path | None = None
        self._asking: socket.socket | None = None

    def __enter__(self) -> Reachable:
        if supported():
            with suppress(OSError):
                self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._ends.close()  # wakes the thread
        asking = self._asking
        if asking is not None:  # a peer that is slow does not keep the job from ending
            with suppress(OSError):
                asking.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._wakes.close()
        self._server.close()
        assert self._path is not None
        with suppress(OSError):
            self._path.unlink()

    def _listen(self) -> None:
        place = folder()
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        if not is_own(place):
            return
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path = _bind(server, place)
            server.listen(WAITING_MAX)
            server.setblocking(False)
        except BaseException:
            server.close()
            raise
        self._server = server
        self._wakes, self._ends = socket.socketpair()
        self._thread = threading.Thread(
            target=self._serve, name=f"streamlib-why-{self._job.name}", daemon=True
        )
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._wakes, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wakes in ready:
                    return
                with suppress(OSError):
                    connection, _ = self._server.accept()
                    with connection:
                        self._asking = connection
                        self._answer(connection)
                        self._asking = None

    def _answer(self, connection: socket.socket) -> None:
        try:
            reply = answer(self._job, _read_line(connection))
        except (ValueError, TypeError, StreamlibError) as error:
            reply = {"error": str(error)}
        connection.settimeout(ANSWER_SECONDS_MAX)
        connection.sendall(json.dumps(reply).encode())


def answer(job: Job, request: bytes) -> dict[str, Any]:
    """What a job says to a request.

    Raises:
        ValueError: the request is none.
        BuildError: it names a step that is not there.
    """
    asked = json.loads(request)
    what, step = (asked.get("ask"), asked.get("step")) if isinstance(asked, dict) else (None, None)
    if step is not None and not isinstance(step, str):
        raise ValueError("a step is asked for by its name")
    if what == "about":
        return {"pid": os.getpid(), "name": job.name, "status": job.status}
    if what == "why":
        found = job.why(step)
        return {"text": str(found), "why": found.to_dict()}
    if what == "report":
        report = job.report()
        return {"text": str(report), "report": report.to_dict()}
    raise ValueError("a job can be asked about, why and report")


def _bind(server: socket.socket, place: Path) -> Path:
    number = 0
    while True:
        path = place / f"{os.getpid()}-{number}.sock"
        try:
            server.bind(str(path))
        except OSError:
            if not path.exists():  # too long a path, no room, no right
                raise
            if _refuses(path):  # left by a process that had this number before
                path.unlink(missing_ok=True)
            else:
                number += 1
            continue
        return path


def _read_line(connection: socket.socket) -> bytes:
    line, until = b"", time.monotonic() + ANSWER_SECONDS_MAX
    while not line.endswith(b"\n"):
        connection.settimeout(max(until - time.monotonic(), 0.001))
        part = connection.recv(REQUEST_BYTES_MAX)
        line += part
        if not part or len(line) > REQUEST_BYTES_MAX:
            raise ValueError("a request is one line of JSON")
    return line


# The side that asks.


@dataclass(frozen=True, slots=True)
class Found:
    """A job that runs now and can be asked."""

    path: Path
    pid: int
    name: str
    status: str


def running_jobs() -> list[Found]:
    """The jobs of this user that can be asked, by process. Sockets that nobody serves any more are removed."""
    place = folder()
    if not supported() or not is_own(place):
        return []
    return sorted(_found(place), key=lambda job: (job.pid, job.path.name))


def _found(place: Path) -> Iterator[Found]:
    for path in list(place.iterdir()):
        named = _SOCKET.fullmatch(path.name)
        if named is None or not path.is_socket():
            continue
        if _refuses(path):
            path.unlink(missing_ok=True)
            continue
        with suppress(OSError, ValueError, StreamlibError):
            about = ask(path, "about")
            yield Found(path, int(named[1]), str(about["name"]), str(about["status"]))


def ask(path: Path, what: str, step: str | None = None) -> dict[str, Any]:
    """Asks the job behind a socket: ``about``, ``why`` or ``report``.

    Raises:
        OSError: nobody answers.
        StreamlibError: the job says that it cannot answer this.
    """
    request = json.dumps({"ask": what, "step": step}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS_MAX)
        connection.connect(str(path))
        connection.sendall(request)
        parts = bytearray()
        while part := connection.recv(65_536):
            parts += part
            if len(parts) > ANSWER_BYTES_MAX:
                raise OSError("the answer is too long")
    reply = json.loads(parts)
    if not isinstance(reply, dict):
        raise OSError("the answer is none")
    if "error" in reply:
        raise StreamlibError(str(reply["error"]))
    return reply


def _refuses(path: Path) -> bool:
    """Whether nobody serves a socket any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS_MAX)
        try:
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False
