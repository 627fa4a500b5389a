"""What chance does not bring about: keys of equal hash, panes that fall together, strings at the end of memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from streamlib.aggregates import AccumulatorPlan, Count, First
from streamlib.kernels import hashing
from streamlib.kernels.memory import fold
from streamlib.state import PaneStore, Tumbling
from streamlib.state.directory import _place
from streamlib.state.probe import pane_place

COUNT = AccumulatorPlan([(Count(), None, None)])


def colliding() -> tuple[bytes, bytes]:
    """Two strings of 16 bytes with one digest: the second word undoes the difference of the first."""
    seed = (16 * int(hashing.K1)) % 2**64
    one, other = 5, 6
    difference = int(fold(seed ^ one, int(hashing.K0))) ^ int(fold(seed ^ other, int(hashing.K0)))
    words = [(one, 77), (other, 77 ^ difference)]
    first, second = (a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in words)
    return first, second


def test_keys_of_equal_hash_are_different_keys() -> None:
    first, second = colliding()
    store = PaneStore([pa.field("key", pa.binary())], COUNT)
    keys = pa.array([first, second, first, b"another one of 19 b"], pa.binary())
    store.add(pa.RecordBatch.from_arrays([keys], ["key"]), Tumbling(10), [], np.zeros(4, dtype=np.int64))
    closed = store.pop(0)
    assert closed.results()[0].to_pylist() == [2, 1, 1]
    a, b = (np.frombuffer(text, dtype=np.uint8).copy() for text in (first, second))
    with np.errstate(over="ignore"):
        assert hashing.hash_bytes(a.ctypes.data, 16) == hashing.hash_bytes(b.ctypes.data, 16)


@pytest.mark.parametrize("length", [8, 9, 15, 16, 17, 31])
def test_bytes_are_compared_to_the_last(length: int) -> None:
    text = np.arange(length, dtype=np.uint8)
    for place in range(length):
        other = text.copy()
        assert hashing.equal_bytes(text.ctypes.data, other.ctypes.data, length)
        other[place] ^= 1
        assert not hashing.equal_bytes(text.ctypes.data, other.ctypes.data, length)
    copy = np.zeros(length, dtype=np.uint8)
    hashing.copy_bytes(copy.ctypes.data, text.ctypes.data, length)
    assert copy.tolist() == text.tolist()


def test_python_and_kernels_agree_on_a_panes_place() -> None:
    with np.errstate(over="ignore"):
        for start in (0, 1, -1, 10**18, -(2**63), 2**63 - 1):
            assert _place(start, 63) == pane_place(np.int64(start), 63)


def test_panes_that_fall_together_are_found_when_one_of_them_is_gone() -> None:
    wanted = [start for start in range(0, 100_000, 10) if _place(start, 63) == 7][:4]
    store = PaneStore([], COUNT)
    none = pa.RecordBatch.from_struct_array(pa.array([{}] * len(wanted), pa.struct([])))
    store.add(none, Tumbling(10), [], np.array(wanted, dtype=np.int64))
    store.pop(wanted[0])
    store.add(none.slice(1), Tumbling(10), [], np.array(wanted[1:], dtype=np.int64))
    assert [closed.results()[0].to_pylist() for closed in store.close(2**62)] == [[2]] * 3


def test_a_null_that_was_merged_gives_way_to_a_value() -> None:
    plan = AccumulatorPlan([(First(), 0, pa.int64())])
    stores = [PaneStore([], plan) for _ in range(2)]
    none = pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
    stores[0].add(none, Tumbling(10), [pa.array([None], pa.int64())], np.array([5], dtype=np.int64))
    stores[1].merge(stores[0].partials(0))
    stores[1].add(none, Tumbling(10), [pa.array([42])], np.array([4], dtype=np.int64))
    assert stores[1].pop(0).results()[0].to_pylist() == [42]


GUARDED = """
import ctypes, mmap
import numpy as np, pyarrow as pa
from streamlib.kernels.keys import KeyEncoder
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[page - 10 : page] = b"0123456789"
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None)
assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
data = pa.foreign_buffer(start + page - 10, 10, memory)
offsets = pa.py_buffer(np.array([0, 2, 2, 7, 10], dtype=np.int32))
column = pa.StringArray.from_buffers(4, offsets, data)
encoder = KeyEncoder([pa.string()])
words = encoder.words(encoder.encode([column], 4)).tolist()
assert [w.to_bytes(8, "little")[: w >> 56] for w in words] == [b"01", b"", b"23456", b"789"]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects a page of memory")
def test_nothing_is_read_behind_the_keys() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
