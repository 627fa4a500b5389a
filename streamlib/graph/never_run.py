"""Sinks that were made and never run: a forgotten `sl.run` is named at exit instead of doing nothing silently."""

from __future__ import annotations

import atexit
import sys
import weakref

from streamlib.graph.node import SinkNode

_waiting: weakref.WeakKeyDictionary[SinkNode, weakref.finalize[[str], SinkNode]] = weakref.WeakKeyDictionary()
_forgotten: list[str] = []


def remember(sink: SinkNode) -> None:
    """Keeps an eye on a sink, without keeping it alive."""
    told = f"streamlib: {sink.describe()} ({sink.at}) was never run: pass it to sl.run(...)"
    _waiting[sink] = weakref.finalize(sink, _forgotten.append, told)


def taken(sink: SinkNode) -> None:
    """The sink is run, or only explained: there is nothing to say of it."""
    finalizer = _waiting.pop(sink, None)
    if finalizer is not None:
        finalizer.detach()


@atexit.register
def _name_forgotten() -> None:
    for finalizer in list(_waiting.values()):
        finalizer()
    for told in sorted(_forgotten):
        print(told, file=sys.stderr)
