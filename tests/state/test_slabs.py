"""Memory that is used again: never while somebody has it."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest

from streamlib.state import slabs as slabs_module
from streamlib.state.slabs import CALLS_KEPT, PART_BYTES_MIN, SLAB_BYTES, SLABS_MAX, lasting_room

COUNT = SLAB_BYTES // 4 // 8
"""Words of a quarter of a slab."""


@pytest.fixture(autouse=True)
def _own_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs_module, "_slabs", slabs_module._Slabs())
    monkeypatch.setattr(slabs_module, "_current", slabs_module._Current())


def known() -> set[int]:
    return {id(slab) for _, slab in slabs_module._slabs._slabs}


def test_parts_in_use_never_overlap_whatever_else_comes_and_goes() -> None:
    dice, kept = np.random.default_rng(1), []
    for number in range(400):
        part = lasting_room(int(dice.integers(PART_BYTES_MIN // 8, COUNT)))
        part[:] = number
        if dice.integers(0, 3):
            kept.append((number, pa.py_buffer(part)))  # an Arrow column is all that refers to it
        while len(kept) > 20:
            kept.pop(int(dice.integers(0, len(kept))))
        for wanted, buffer in kept:
            values = np.frombuffer(buffer, dtype=np.int64)
            assert values[0] == values[-1] == wanted
    assert len(known()) < 60, "slabs are used again"


def test_a_slab_is_used_again_when_the_last_part_has_gone() -> None:
    parts = [lasting_room(COUNT) for _ in range(8)]
    first = known()
    view = parts[0][5:9]
    del parts
    more = [lasting_room(COUNT) for _ in range(4)]
    assert known() == first, "the second slab is free"
    view[:] = 7
    for part in more:
        part[:] = 0
    assert view.tolist() == [7] * 4, "a view of a part keeps its slab"


def test_what_is_kept_is_bounded_and_what_is_not_needed_for_long_goes() -> None:
    parts = [lasting_room(COUNT) for _ in range(4 * (SLABS_MAX + 9))]
    assert len(known()) == SLABS_MAX
    del parts
    for _ in range(4 * (CALLS_KEPT + 2 * SLABS_MAX)):
        lasting_room(COUNT)
    assert len(known()) <= 3


def test_small_and_huge_arrays_take_no_part_of_a_slab() -> None:
    for count in (0, 1, PART_BYTES_MIN // 8 - 1, SLAB_BYTES // 8):
        assert len(lasting_room(count)) == count
    assert not known()


def test_threads_take_slabs_of_their_own() -> None:
    mine, theirs = lasting_room(COUNT), []
    worker = threading.Thread(target=lambda: theirs.append(lasting_room(COUNT)))
    worker.start()
    worker.join()
    mine[:], theirs[0][:] = 1, 2
    assert len(known()) == 2 and set(mine.tolist()) == {1}
