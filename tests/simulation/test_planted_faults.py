"""The simulation can fail: each fault that is planted in the engine is found by some seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamlib.contracts import State
from streamlib.elements import Batch, Idle
from streamlib.eventtime import EventClock, InputProgress
from streamlib.eventtime.splits import SplitTime
from streamlib.exchange import Channel
from streamlib.operators.event_time import EventTimeOperator
from streamlib.operators.joins.interval_operator import IntervalJoinOperator
from streamlib.operators.joins.sides import LateRows
from streamlib.operators.map_async.async_operator import MapAsyncOperator
from streamlib.operators.ordered import OrderedOperator
from streamlib.operators.windows.aggregate import PaneOperator, WindowOperator
from streamlib.operators.windows.slices import SlicedPanes
from streamlib.runtime.execute import Execution
from streamlib.runtime.receive import Receiver
from streamlib.runtime.run import Checkpoint
from streamlib.runtime.splits import SplitPool
from streamlib.state import TwoStacks
from streamlib.testing.simulate import simulate

SEEDS = 300
FIRST = {"an_idle_edge_still_owes_rows": 150, "barriers_do_not_align": 60, "blocks_pass_in_any_order": 60}
"""Where to begin, for a fault that few seeds meet."""

Plant = Callable[[pytest.MonkeyPatch], None]


def watermark_ahead_of_the_delay(patch: pytest.MonkeyPatch) -> None:
    old = SplitTime.watermark
    patch.setattr(SplitTime, "watermark", lambda self, delay: old(self, delay and delay // 2))


def window_forwards_without_its_lateness(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PaneOperator, "forward", lambda self, watermark: watermark)


def batches_lose_their_marks(patch: pytest.MonkeyPatch) -> None:
    old = WindowOperator.on_batch

    def on_batch(self: WindowOperator, batch: Batch, side: int = 0) -> Any:
        return old(self, Batch(batch.rows, batch.time, None, batch.order, batch.origin), side)

    patch.setattr(WindowOperator, "on_batch", on_batch)


def blocks_pass_in_any_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EventClock, "is_turn", lambda self, split, block: True)


def unread_splits_do_not_count(patch: pytest.MonkeyPatch) -> None:
    old = EventClock._place

    def place(self: EventClock, split: int) -> None:
        if self.splits[split].next_block:
            old(self, split)

    patch.setattr(EventClock, "_place", place)


def ties_are_decided_by_arrival(patch: pytest.MonkeyPatch) -> None:
    old = EventTimeOperator._stamp

    def stamp(self: EventTimeOperator, *arguments: Any) -> Batch:
        batch = old(self, *arguments)
        order = None if batch.order is None else batch.order * 0
        return Batch(batch.rows, batch.time, batch.mark, order, batch.origin)

    patch.setattr(EventTimeOperator, "_stamp", stamp)


def an_idle_edge_still_owes_rows(patch: pytest.MonkeyPatch) -> None:
    def gone_idle(self: Receiver) -> Iterator[Idle]:
        yield Idle()

    patch.setattr(Receiver, "_gone_idle", gone_idle)


def entering_splits_get_no_mark(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SplitTime, "raise_floor", lambda self, mark: None)


def barriers_do_not_align(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Receiver, "held_back", lambda self, number: False)


def partial_results_stay_behind_a_barrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WindowOperator, "on_barrier", lambda self: iter(()))


def restored_rows_go_to_all_workers(patch: pytest.MonkeyPatch) -> None:
    def restore(self: Execution, resume: Checkpoint) -> None:
        by_name = {step.name: step.index for step in self.plan.steps}
        for (old, _), state in sorted(resume.states.items()):
            if state:
                for worker in self.workers:
                    worker.operators[by_name[resume.steps[old]]].restore(state)

    patch.setattr(Execution, "_restore", restore)


def reading_goes_on_after_a_barrier(patch: pytest.MonkeyPatch) -> None:
    old = SplitPool.injected

    def injected(self: SplitPool, worker: int, checkpoint: int, workers: int) -> Any:
        found = old(self, worker, checkpoint, workers)
        return None if found is None else dict.fromkeys(found)

    patch.setattr(SplitPool, "injected", injected)


def snapshots_forget(patch: pytest.MonkeyPatch) -> None:
    old = PaneOperator.snapshot

    def snapshot(self: PaneOperator) -> State:
        return {name: table.slice(0, max(0, table.num_rows - 1)) for name, table in old(self).items()}

    patch.setattr(PaneOperator, "snapshot", snapshot)


def merged_watermarks_take_the_largest(patch: pytest.MonkeyPatch) -> None:
    def merge(self: InputProgress) -> bool:
        highest = max(self._marks)
        rose = highest > self.watermark
        self.watermark = max(highest, self.watermark)
        return rose

    patch.setattr(InputProgress, "_merge", merge)


def full_channels_lose_a_batch(patch: pytest.MonkeyPatch) -> None:
    old = Channel.offer
    patch.setattr(Channel, "offer", lambda self, batch: old(self, batch) or True)


def rows_late_for_some_windows_enter_all(patch: pytest.MonkeyPatch) -> None:
    def add_late(self: SlicedPanes, keys: Any, inputs: Any, batch: Any, begins: Any) -> None:
        self.store.add(keys, self.window.slices(batch.time), inputs, batch.time, batch.order)

    patch.setattr(SlicedPanes, "_add_late", add_late)


def amendments_enter_too_early(patch: pytest.MonkeyPatch) -> None:
    old = SlicedPanes._places_of
    patch.setattr(SlicedPanes, "_places_of", lambda self, begins, slices: old(self, begins - 1, slices))


def amendments_miss_the_front(patch: pytest.MonkeyPatch) -> None:
    old = TwoStacks.amend

    def amend(self: TwoStacks, start: int, pane: Any) -> None:
        if self._front_ends is not None and start < self._front_ends:
            self.slices.absorb(start, pane)
        else:
            old(self, start, pane)

    patch.setattr(TwoStacks, "amend", amend)


def windows_come_out_again_after_a_restore(patch: pytest.MonkeyPatch) -> None:
    old = SlicedPanes.snapshot

    def snapshot(self: SlicedPanes) -> State:
        kept, self._next = self._next, None
        state = old(self)
        self._next = kept
        return state

    patch.setattr(SlicedPanes, "snapshot", snapshot)


def rows_under_way_hold_nothing_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MapAsyncOperator, "forward", lambda self, watermark: watermark)


def barriers_overtake_rows_under_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MapAsyncOperator, "on_barrier", lambda self: iter(()))


def joins_take_rows_that_are_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LateRows, "parted", lambda self, batch: (batch, None))


def joins_hold_nothing_back_for_rows_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(IntervalJoinOperator, "forward", lambda self, watermark: watermark)


def functions_with_state_take_rows_that_are_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderedOperator, "_late_rows", lambda self, batch: None)


FAULTS: list[Plant] = [
    joins_take_rows_that_are_late,
    joins_hold_nothing_back_for_rows_alone,
    functions_with_state_take_rows_that_are_late,
    rows_under_way_hold_nothing_back,
    barriers_overtake_rows_under_way,
    rows_late_for_some_windows_enter_all,
    amendments_enter_too_early,
    amendments_miss_the_front,
    windows_come_out_again_after_a_restore,
    watermark_ahead_of_the_delay,
    window_forwards_without_its_lateness,
    batches_lose_their_marks,
    blocks_pass_in_any_order,
    unread_splits_do_not_count,
    ties_are_decided_by_arrival,
    an_idle_edge_still_owes_rows,
    entering_splits_get_no_mark,
    barriers_do_not_align,
    partial_results_stay_behind_a_barrier,
    restored_rows_go_to_all_workers,
    reading_goes_on_after_a_barrier,
    snapshots_forget,
    merged_watermarks_take_the_largest,
    full_channels_lose_a_batch,
]


@pytest.mark.slow
@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    first = FIRST.get(plant.__name__, 0)
    for seed in range(first, first + SEEDS):
        try:
            simulate(seed)
        except Exception:
            return
    raise AssertionError(f"none of {SEEDS} seeds from {first} found it")
