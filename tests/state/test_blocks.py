"""Memory of large panes that is used again: only once nobody has a part of it, and only a little of it is kept."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from streamlib.state import blocks

NEED = 1 << 20

pytestmark = pytest.mark.skipif(os.name != "posix", reason="blocks are kept on POSIX")


@pytest.fixture(autouse=True)
def no_others() -> Iterator[None]:
    """No block waits that a test before has used."""
    gc.collect()
    before = list(blocks._kept)
    blocks._kept.clear()
    yield
    gc.collect()
    blocks._kept.clear()
    blocks._kept.extend(before)


def place(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_block_is_used_again_when_no_part_of_it_is_left() -> None:
    first = blocks.block(NEED, 8)
    at = place(first)
    column = pa.py_buffer(first[4096:8192].view(np.int64).reshape(-1, 8)[2:4].reshape(-1).view(np.uint8))
    del first
    second = blocks.block(NEED, 8)
    assert place(second) != at, "a column has a part of the first one"
    del column
    assert place(blocks.block(NEED, 8)) == at


def test_a_block_without_room_to_grow_waits_for_others() -> None:
    small = blocks.block(NEED, 1)
    at = place(small)
    del small
    large = blocks.block(NEED, 4)
    assert place(large) != at, "twice as much is needed"
    assert place(blocks.block(NEED // 2, 4)) == at


def test_few_blocks_wait_and_keep_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BYTES_KEPT", NEED)
    taken = [blocks.block(NEED, 4) for _ in range(blocks.BLOCKS_KEPT + 3)]
    for one in taken:
        one[:] = 1
    del taken, one
    assert len(blocks._kept) == blocks.BLOCKS_KEPT
    again = blocks.block(NEED, 4)
    assert not again[NEED:].any(), "what lies behind was given back"


def test_a_block_of_any_size_takes_words() -> None:
    assert len(blocks.block(NEED + 3, 1).view(np.int64)) >= NEED // 8


def test_more_than_there_is_is_an_error() -> None:
    with pytest.raises(MemoryError):
        blocks.block(1 << 40, 1 << 20)
