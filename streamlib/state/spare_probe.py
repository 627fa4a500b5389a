"""Opens a spare pane where a row's window has none; `nursery` says whose they are."""

from __future__ import annotations

from streamlib.kernels._jit import inline
from streamlib.kernels.memory import I64, load_i64, store_i64
from streamlib.state.layout import (
    PANE_LIMIT,
    PANE_MASK,
    PANE_NUMBER,
    PANE_RECORDS,
    PANE_START,
    PANE_TABLE,
    PANE_WORDS,
    SPARE_LEFT,
    SPARE_LIMIT,
    SPARE_LOG,
    SPARE_MASK,
    SPARE_NEXT,
    SPARE_NUMBER,
    SPARE_RECORDS,
    SPARE_TABLES,
)


@inline
def open_spare(pane: I64, start: I64, spares: I64) -> bool:
    """Makes a spare pane that of a window; false where there is none left.

    Args:
        pane: address of a free place in the directory.
        start: the window's start.
        spares: address of the words that `Nursery` keeps.
    """
    if load_i64(spares, SPARE_LEFT) == 0:
        return False
    number = load_i64(spares, SPARE_NEXT)
    for k in range(PANE_WORDS):
        store_i64(pane, k, 0)
    store_i64(pane, PANE_START, start)
    store_i64(pane, PANE_TABLE, load_i64(load_i64(spares, SPARE_TABLES), number))
    store_i64(pane, PANE_MASK, load_i64(spares, SPARE_MASK))
    store_i64(pane, PANE_RECORDS, load_i64(load_i64(spares, SPARE_RECORDS), number))
    store_i64(pane, PANE_LIMIT, load_i64(spares, SPARE_LIMIT))
    store_i64(pane, PANE_NUMBER, load_i64(spares, SPARE_NUMBER) + number)
    store_i64(load_i64(spares, SPARE_LOG), number, pane)
    store_i64(spares, SPARE_NEXT, number + 1)
    store_i64(spares, SPARE_LEFT, load_i64(spares, SPARE_LEFT) - 1)
    return True
