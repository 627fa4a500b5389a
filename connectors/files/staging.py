"""Staging: rows are written beside the output under a hidden name, and renamed when they are complete.

A staging folder is a sibling of the output, ``.bars.staging-<run>``, on the same disk, and is locked
for as long as its run lives; without its lock it is the leftover of a run that crashed. It holds
``data/``, which becomes the output, and the lock.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from streamlib.connectors.files.open_files import (
    exchange,
    hold_lock,
    identity,
    remove_tree,
    sync_folder,
    sync_tree,
    writing,
)
from streamlib.errors import SinkError

LOCK = "lock"
DATA = "data"


class Staging:
    """The staging folder of one run for one output.

    Args:
        target: the output's path.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.run = secrets.token_hex(4)
        self.path = f"{_prefix(target)}{self.run}"
        self._lock: BinaryIO | None = None

    @property
    def data(self) -> str:
        """The folder that parts are written to."""
        return os.path.join(self.path, DATA)

    def create(self) -> None:
        """Makes the folder, and holds its lock."""
        with writing(self.target):
            os.makedirs(self.data)
            self._lock = hold_lock(os.path.join(self.path, LOCK))

    def release(self) -> None:
        """Lets go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Removes the folder with all in it."""
        self.release()
        remove_tree(self.path)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_lock": None}


def _prefix(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.staging-")


def remove_leftovers(target: str) -> None:
    """Removes what crashed runs staged for `target`, and finishes a replacement that was cut short.

    Raises:
        SinkError: a run that still lives is writing the same output.
    """
    for path in list(leftovers(target)):
        lock = hold_lock(os.path.join(path, LOCK)) if os.path.isdir(path) else None
        if lock is None:
            raise SinkError(
                "another run is writing this output",
                where=target,
                got=f"it stages in {path}",
                hint="wait for it to end, or write to another place",
            )
        lock.close()
        old = _old(path)
        if os.path.lexists(old) and not os.path.lexists(target):
            with writing(target):
                os.rename(old, target)
        remove_tree(path)


def leftovers(target: str) -> Iterator[str]:
    """The staging folders beside `target`."""
    prefix = _prefix(target)
    folder = os.path.dirname(prefix)
    if os.path.isdir(folder or "."):
        for name in sorted(os.listdir(folder or ".")):
            if os.path.join(folder, name).startswith(prefix):
                yield os.path.join(folder, name)


def _old(staging: str) -> str:
    return os.path.join(staging, "old")


def publish(staged: str, target: str, staging: str) -> None:
    """Gives `staged`, a file or folder, the name `target`. What stood there is gone afterwards.

    Raises:
        SinkError: it cannot be renamed.
    """
    with writing(target):
        if os.path.isdir(staged):
            sync_tree(staged)
        if not os.path.lexists(target) or (os.path.isfile(target) and os.path.isfile(staged)):
            os.replace(staged, target)
        elif not exchange(staged, target):  # two renames: in between, `remove_leftovers` knows what to do
            os.rename(target, _old(staging))
            os.rename(staged, target)
        sync_folder(os.path.dirname(target) or ".")


def publish_into(staged: str, target: str, names: Sequence[str]) -> None:
    """Moves the files `names` from the folder `staged` into the folder `target`, one after another.

    Files that were moved by an earlier attempt are passed over.
    """
    for name in names:
        source, goal = os.path.join(staged, name), os.path.join(target, name)
        with writing(goal):
            os.makedirs(os.path.dirname(goal), exist_ok=True)
            if os.path.exists(source):
                os.replace(source, goal)
            elif not os.path.exists(goal):
                raise SinkError("a staged file is gone", where=goal, got=f"no {source}")
    with writing(target):
        sync_tree(target)
        sync_folder(os.path.dirname(target) or ".")


def is_published(target: str, staged_identity: Sequence[int]) -> bool:
    """Whether what was staged already has the name `target`: a commit that is made again."""
    return identity(target) == list(staged_identity)
