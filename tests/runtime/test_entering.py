"""A split that enters is not read before all have counted it, whoever had chosen it a moment ago."""

import pyarrow as pa

from streamlib.eventtime import EventClock, IdlePolicy
from streamlib.runtime.splits import SplitPool
from streamlib.testing.list_source import ListSource, Pause


def test_a_worker_that_chose_a_split_before_it_began_to_enter_reads_nothing_of_it() -> None:
    now = [0]
    rows = pa.record_batch({"n": [1]})
    source = ListSource({"a": [Pause(2), rows]}, rows.schema)
    clock = EventClock(0, IdlePolicy.LEAVE, idle_after=10)
    pool = SplitPool(lambda: now[0])
    (run,) = pool.add(0, source, source.splits(), [clock])
    for later in (0, 20):
        now[0] = later
        assert pool.claim(0) is None
    assert clock.all_idle()
    assert pool.claim(0) is None and pool.entering == [run]
    with run.lock:
        assert pool._read(run) is None
    clock.enter(run.index, 5)
    pool.entered(run)
    claim = pool.claim(1)
    assert claim is not None and claim.number == 0


def test_a_split_whose_blocks_are_still_to_pass_is_not_silent() -> None:
    now = [0]
    rows = pa.record_batch({"n": [1]})
    source = ListSource({"a": [rows, Pause(5)]}, rows.schema)
    clock = EventClock(0, IdlePolicy.LEAVE, idle_after=10)
    pool = SplitPool(lambda: now[0])
    (run,) = pool.add(0, source, source.splits(), [clock])
    claim = pool.claim(0)
    assert claim is not None
    for later in (0, 20, 40):
        now[0] = later
        assert pool.claim(1) is None
    assert clock.is_live(run.index)
    clock.pass_block(run.index)
    for later in (60, 80):
        now[0] = later
        assert pool.claim(1) is None
    assert clock.all_idle()
