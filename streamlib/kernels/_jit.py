"""Kernels: plain Python functions that numba compiles at their first call, and keeps on disk.

`@kernel(signature)` makes an entry point, `@inline` a helper that only kernels call. Both stay
plain functions: helpers as they are, kernels as `.py`. numba is imported when the first kernel is
called, never by importing this package.

numba's own disk cache notices a change of the kernel's file, not of the helpers it inlines. So the
cache lies in a folder whose name holds a hash of all sources that can be part of a kernel and of
the versions of Python, NumPy and numba: a folder never holds stale code. Each process marks the
folder that it uses; when a new one is made, those unused for `UNUSED_DAYS_MAX` go.
"""

from __future__ import annotations

import atexit
import gc
import hashlib
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

UNUSED_DAYS_MAX = 30
"""Age from which the compiled kernels of other versions are removed."""

_SOURCES = ("kernels", "aggregates", "state")
_FOLDER = re.compile(r"kernels-[0-9a-f]{16}(\.old)?")
_INLINE = "_kernel_inline"
_PRIMITIVE = "_kernel_primitive"
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Compilations:
    """What the kernels of this process cost so far.

    Attributes:
        compiled: kernels compiled anew.
        loaded: kernels loaded from disk.
        seconds: time spent on both, with the import of numba.
    """

    compiled: int = 0
    loaded: int = 0
    seconds: float = 0.0


_total = Compilations()
_generated: dict[tuple[str, str], Kernel[..., Any]] = {}
_busy: list[str] = []
_watchers: list[Callable[[str, float, bool], None]] = []


def compilations() -> Compilations:
    """The count and cost of the kernels compiled and loaded so far in this process."""
    return _total


def busy_with() -> str | None:
    """The kernel that is being compiled or loaded right now."""
    return _busy[-1] if _busy else None


def on_compile(watcher: Callable[[str, float, bool], None]) -> None:
    """Calls `watcher(name, seconds, from_disk)` after each kernel that is compiled or loaded."""
    _watchers.append(watcher)


def inline(function: F) -> F:
    """Marks a plain function as usable inside kernels; it is compiled into each kernel that calls it."""
    setattr(function, _INLINE, True)
    return function


def primitive(function: F) -> F:
    """Marks a plain function whose compiled form stands in `_intrinsics` under the same name."""
    setattr(function, _PRIMITIVE, True)
    return function


class Kernel(Generic[P, R]):
    """A function with one compiled form. Calling it compiles it first, or loads it, without the GIL after.

    Attributes:
        py: the plain Python function.
    """

    def __init__(self, function: Callable[P, R], signature: str) -> None:
        self.py = function
        self.signature = signature
        self.name = function.__name__
        self._target: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        target = self._target
        if target is None:
            target = self.compiled()
        return target(*args, **kwargs)

    def compiled(self) -> Callable[P, R]:
        """The compiled function; compiles or loads it where that has not happened yet."""
        global _total
        with _lock:
            if self._target is not None:
                return self._target
            began = time.perf_counter()
            _busy.append(self.name)
            try:
                target, from_disk = _compile(self.py, self.signature)
            finally:
                _busy.pop()
            seconds = time.perf_counter() - began
            _total = Compilations(
                _total.compiled + (not from_disk), _total.loaded + from_disk, _total.seconds + seconds
            )
            self._target = target
            for watcher in _watchers:
                watcher(self.name, seconds, from_disk)
            return target


def kernel(signature: str) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Makes a kernel of a function. `signature` is numba's, such as ``"int64(int64[::1], int64)"``.

    ``ints``, ``words``, ``codes`` and ``flags`` stand for read-only C-contiguous arrays of int64,
    uint64, int32 and uint8; writable arrays may be passed too.
    """

    def decorate(function: Callable[P, R]) -> Kernel[P, R]:
        return Kernel(function, signature)

    return decorate


def generated(name: str, source: str, signature: str, module: str) -> Kernel[..., Any]:
    """The kernel `name` of a generated source, which is written to a file for tracebacks and the cache.

    Args:
        source: a module's text that defines a function `name`.
        module: an importable module that the function counts as part of.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    with _lock:
        known = _generated.get((name, digest))
        if known is None:
            path = cache_dir() / f"{name}_{digest}.py"
            if not path.exists():
                _write(path, source)
            namespace: dict[str, Any] = {"__name__": module, "__file__": str(path)}
            exec(compile(source, str(path), "exec"), namespace)
            known = _generated[name, digest] = Kernel(namespace[name], signature)
        return known


def _write(path: Path, text: str) -> None:
    """Writes a file that another process may be writing too: it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)  # a process of another version may have removed it
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)


@cache
def source_hash() -> str:
    """16 hex digits that change with any source a kernel may hold and with numba, NumPy and Python."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parent.parent
    for folder in _SOURCES:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(str(path.relative_to(package)).encode())
            digest.update(path.read_bytes())
    for part in (version("numba"), version("numpy"), sys.version, platform.machine()):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


@cache
def cache_dir() -> Path:
    """The folder of compiled kernels; a private temporary one where no lasting one can be written.

    ``$STREAMLIB_CACHE_DIR``, or ``streamlib`` below the user's cache folder. It holds pickles that are
    loaded as code, so a folder that others may write is not used.
    """
    chosen = os.environ.get("STREAMLIB_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    elif sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        base = Path(os.environ["LOCALAPPDATA"]) / "streamlib"
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = Path(home) / "streamlib"
    folder = base / f"kernels-{source_hash()}"
    try:
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        if is_new:
            _remove_unused(base)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        private = tempfile.mkdtemp(prefix="streamlib-kernels-")
        atexit.register(shutil.rmtree, private, ignore_errors=True)
        return Path(private)


def _remove_unused(base: Path) -> None:
    """Removes kernel folders below `base` that no process has begun to use for `UNUSED_DAYS_MAX`.

    A folder is renamed first, so that nobody finds half of it. A process that has run for so long with
    it makes a new one when it compiles a further kernel, and what it has loaded stays loaded.
    """
    oldest = time.time() - UNUSED_DAYS_MAX * 86_400
    try:
        found = [path for path in base.iterdir() if _FOLDER.fullmatch(path.name)]
    except OSError:
        return
    for path in found:
        try:
            state = path.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_mtime >= oldest:
                continue
            gone = path.with_name(path.name.removesuffix(".old") + ".old")
            path.rename(gone)  # fails where another process is at it, or on Windows has it open
        except OSError:
            continue
        shutil.rmtree(gone, ignore_errors=True)


def _compile(function: Callable[..., Any], signature: str) -> tuple[Callable[..., Any], bool]:
    """Compiles `function` or loads it from disk; returns it and whether it came from disk."""
    from numba import njit
    from numba.core import types

    from streamlib.kernels._disk import DiskCache

    names = dict(types.__dict__)
    for name, item in (("ints", "int64"), ("words", "uint64"), ("codes", "int32"), ("flags", "uint8")):
        names[name] = types.Array(names[item], 1, "C", readonly=True)
    parsed = eval(signature, {}, names)
    options: Any = {"nogil": True, "no_cfunc_wrapper": True}  # only Python calls it
    dispatcher: Any = njit(**options)(_bound(function))
    disk = DiskCache.of(dispatcher.py_func, cache_dir(), source_hash())
    if disk is not None:
        dispatcher._cache = disk
    with _no_collections():
        dispatcher.compile(parsed)
    dispatcher.disable_compile()
    return dispatcher, bool(dispatcher.stats.cache_hits)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keeps Python from looking for garbage: a compilation makes a million objects and hardly a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _bound(function: Callable[..., Any]) -> FunctionType:
    """A copy of `function` whose global helpers are their compiled forms."""
    assert isinstance(function, FunctionType)
    names = _names(function.__code__)
    replaced = dict(function.__globals__)
    for name in names:
        used = replaced.get(name)
        if getattr(used, _INLINE, False):
            replaced[name] = _helper(used)
        elif getattr(used, _PRIMITIVE, False):
            from streamlib.kernels import _intrinsics

            replaced[name] = getattr(_intrinsics, name)
    copy = FunctionType(
        function.__code__, replaced, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    return copy


@cache
def _helper(function: Any) -> Any:
    """The compiled form of a helper, one for all numbers that are passed to it as constants.

    numba would compile a helper anew for each record size and each word of a record. LLVM knows the
    constants where it inlines. Flags stay constants: they decide which branches there are.
    """
    from numba import njit
    from numba.core import types as numba_types

    types: Any = numba_types
    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # Python never calls a helper
    helper = njit(**options)(_bound(function))
    template_of = helper.get_call_template

    def plain(kind: Any) -> Any:
        return types.unliteral(kind) if isinstance(kind, types.IntegerLiteral) else kind

    def get_call_template(args: Any, kws: Any) -> Any:
        return template_of([plain(kind) for kind in args], {name: plain(kws[name]) for name in kws})

    helper.get_call_template = get_call_template
    return helper


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found |= _names(const)
    return found
