"""Which files a followed path means now, without listing a folder that has not changed."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable

from streamlib.connectors.files.source import is_hidden

RECENT_NS = 2_000_000_000
"""A folder that changed less than this ago is listed again: its time of change is only so exact."""
DEEP_EVERY_NS = 200_000_000
"""How often a pattern over several folders is looked through."""


class Listing:
    """The files of a path, pattern or folder, by name.

    Args:
        path: what is followed.
        fits: which files of a folder count.
        now_ns: the wall clock, for how often the disk is asked only.
    """

    def __init__(
        self, path: str, fits: Callable[[str], bool], now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.path, self._fits, self._now_ns = path, fits, now_ns
        self._found: list[str] = []
        self._seen: int | None = None

    @property
    def single(self) -> bool:
        """Whether only ever one name is meant."""
        return not os.path.isdir(self.path) and (os.path.exists(self.path) or not glob.has_magic(self.path))

    def files(self) -> list[str]:
        """The files there are, sorted by name; none when there is no such file, folder or match yet."""
        if self.single:
            return [self.path] if os.path.isfile(self.path) else []
        stamp = self._stamp()
        if stamp is None or stamp != self._seen:
            self._found = self._list()
            self._seen = stamp
        return self._found

    def _stamp(self) -> int | None:
        """What stays the same while no file can have come or gone; None when that is not known."""
        folder = self.path
        if not os.path.isdir(folder):
            folder = os.path.dirname(folder) or "."
            if glob.has_magic(folder):
                return self._now_ns() // DEEP_EVERY_NS
        try:
            changed = os.stat(folder).st_mtime_ns
        except OSError:
            return None
        return None if self._now_ns() - changed < RECENT_NS else changed

    def _list(self) -> list[str]:
        path = self.path
        if os.path.isdir(path):
            try:
                names = [n for n in os.listdir(path) if n[0] not in "._"]
            except OSError:
                return []
            found = [f for f in (os.path.join(path, n) for n in names) if self._fits(f)]
        else:
            found = [f for f in glob.glob(path, recursive=True) if not is_hidden(f, path)]
        return sorted(f for f in found if os.path.isfile(f))
