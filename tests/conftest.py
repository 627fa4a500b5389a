"""What holds for every test: how much Hypothesis draws, and that no test leaves a trace in the process.

Kernels compiled during the tests are kept where a user's are: each has an index of its own there, so
several processes may add to that folder at once.
"""

from __future__ import annotations

import gc
import ipaddress
import locale
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest

# ---- Hypothesis --------------------------------------------------------------------------------------
# dev draws anew in every run; ci draws the same each time, so that a red run is about the change;
# thorough is for a night. HYPOTHESIS_PROFILE chooses.

_common = {"deadline": None, "print_blob": True}
hypothesis.settings.register_profile("dev", max_examples=8, **_common)
hypothesis.settings.register_profile("ci", max_examples=8, derandomize=True, database=None, **_common)
hypothesis.settings.register_profile("thorough", max_examples=2_000, **_common)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)

# ---- no test changes the process ---------------------------------------------------------------------

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_THREAD_END_S_MAX = 5.0


def _process_state() -> dict[str, Any]:
    name, words, position, has_gauss, gauss = np.random.get_state()
    by_others = ("PYTEST_CURRENT_TEST", "_RJEM_MALLOC_CONF")  # the import of polars sets the latter
    environment = {key: value for key, value in os.environ.items() if key not in by_others}
    return {
        "working folder": os.getcwd(),
        "environment": environment,
        "random's generator": random.getstate(),
        "numpy.random's generator": (name, words.tobytes(), position, has_gauss, gauss),
        "module search path": list(sys.path),
        "locale": locale.setlocale(locale.LC_ALL),
        "signal handlers": [signal.getsignal(number) for number in _SIGNALS],
        "recursion limit": sys.getrecursionlimit(),
        "switch interval": sys.getswitchinterval(),
        "standard output": (sys.stdout, sys.stderr),
        "thread hook": threading.excepthook,
        "numpy's error state": np.geterr(),
    }


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    """Fails a test that changes what the next test can see, and puts it right where that is possible.

    Fixtures that a test asks for, such as `monkeypatch`, are undone before this looks.
    """
    before = _process_state()
    threads = set(threading.enumerate())
    yield
    after = _process_state()
    changed = [what for what in before if before[what] != after[what]]
    if "working folder" in changed:
        os.chdir(before["working folder"])
    if "environment" in changed:
        os.environ.clear()
        os.environ.update(before["environment"])
    random.setstate(before["random's generator"])
    left = [thread.name for thread in set(threading.enumerate()) - threads if not _ends(thread)]
    assert not changed, f"the test changed: {', '.join(changed)}"
    assert not left, f"threads still run after the test: {', '.join(sorted(left))}"


def _ends(thread: threading.Thread) -> bool:
    if isinstance(thread, threading._DummyThread):  # Arrow's own pools, met when they call Python
        return True
    thread.join(_THREAD_END_S_MAX)
    return not thread.is_alive()


# ---- no test leaves the machine ----------------------------------------------------------------------


def _stays_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments[:1]
    else:
        return
    if not isinstance(address, tuple):  # a Unix socket's path
        return
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host in (None, "", "localhost"):
        return
    try:
        local = ipaddress.ip_address(host.partition("%")[0]).is_loopback or host in ("0.0.0.0", "::")
    except ValueError:
        local = False
    if not local:
        raise PermissionError(f"a test must not reach beyond this machine, and one asked for {host!r}")


sys.addaudithook(_stays_on_this_machine)


# ---- garbage ------------------------------------------------------------------------------------------


def pytest_collection_finish() -> None:
    """What has been imported and collected stays to the end: no search for garbage has to look at it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()
