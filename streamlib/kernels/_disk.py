"""numba's disk cache, in a folder of ours: no environment variable and no other package is touched."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator


class DiskCache(FunctionCache):
    """The compiled form of one kernel on disk. A damaged or unwritable file only costs a compilation."""

    @classmethod
    def of(cls, function: Any, folder: Path, stamp: str) -> DiskCache | None:
        """The cache for `function` below `folder`; None where it cannot be had.

        Args:
            stamp: what the compiled code depends on besides the function itself.
        """
        place = folder / function.__module__

        class Locator(_CacheLocator):
            def get_cache_path(self) -> str:
                return str(place)

            def get_source_stamp(self) -> str:
                return stamp

            def get_disambiguator(self) -> str:
                return ""

            @classmethod
            def from_function(cls, function: Any, file: str) -> Locator:
                return cls()

        class Implementation(CompileResultCacheImpl):
            _locator_classes: Any = [Locator]

        class Bound(cls):  # type: ignore[misc,valid-type]
            _impl_class = Implementation

        try:
            inspect.getfile(function)
            place.mkdir(parents=True, exist_ok=True)
            made: DiskCache = Bound(function)
            return made
        except (OSError, TypeError, RuntimeError):
            return None

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return super().load_overload(signature, target)  # type: ignore[no-untyped-call]
        except Exception:
            return None  # damaged: compile anew and write it again

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            super().save_overload(signature, data)  # type: ignore[no-untyped-call]
        except OSError:
            pass  # disk full, or the folder went away: the kernel still runs
