"""Channels: batches by bytes, everything else always, all in order."""

from __future__ import annotations

import pytest

from streamlib.elements import Barrier, Batch, End, Watermark
from streamlib.exchange import Channel
from tests.runtime.sources import rows

BATCH = Batch(rows(1, 2, 3))


def test_a_batch_is_admitted_while_the_channel_is_below_its_limit_and_not_at_it() -> None:
    channel = Channel(bytes_max=2 * BATCH.nbytes)
    assert [channel.offer(BATCH) for _ in range(3)] == [True, True, False]
    assert not channel.admits()
    channel.take()
    assert channel.admits()
    assert channel.offer(BATCH)


def test_a_batch_larger_than_the_limit_is_admitted_by_an_empty_channel() -> None:
    channel = Channel(bytes_max=1)
    assert channel.offer(BATCH)
    assert not channel.offer(BATCH)


@pytest.mark.parametrize("control", [Watermark(5), Barrier(1), End()])
def test_progress_is_admitted_by_a_full_channel_and_does_not_overtake(control: object) -> None:
    channel = Channel(bytes_max=1)
    channel.offer(BATCH)
    channel.send(control)  # type: ignore[arg-type]
    assert channel.take() == (BATCH, True)
    assert channel.take() == (control, False)
    assert channel.take() is None


def test_only_a_take_that_makes_room_in_a_full_channel_wakes_the_sender() -> None:
    channel = Channel(bytes_max=2 * BATCH.nbytes)
    channel.offer(BATCH)
    assert channel.take() == (BATCH, False)
    for _ in range(2):
        channel.offer(BATCH)
    assert [channel.take() for _ in range(2)] == [(BATCH, True), (BATCH, False)]
    assert channel.in_flight_bytes == 0
