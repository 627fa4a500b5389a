"""The engine's steps of a scenario that keep state: what a user would write for each spec."""

from __future__ import annotations

from functools import partial
from typing import Any

from streamlib.contracts import Context, Processor, ValueState
from streamlib.expr import Expr, col, count
from streamlib.operators.windows.cumulative import CumulativeWindow
from streamlib.operators.windows.hopping import HoppingWindow
from streamlib.operators.windows.rows import RowHops, RowWindow
from streamlib.operators.windows.same_window import SameWindow
from streamlib.operators.windows.session import SessionWindow
from streamlib.operators.windows.tumbling import TumblingWindow
from streamlib.streams import Stream
from streamlib.testing.specs import (
    PLANS,
    Deduped,
    Filled,
    Joined,
    Late,
    Paired,
    Processed,
    Rolled,
    Scanned,
    Side,
    Silent,
    Spec,
    Tabled,
    Windowed,
    right_columns,
)


def built(spec: Spec, inputs: list[Any]) -> Any:
    """The stream or table of a spec.

    Args:
        spec: a step with state, or a side output of one.
        inputs: the streams that it reads; of a side output what the step itself returned.
    """
    if isinstance(spec, Windowed):
        return _windowed(inputs[0], spec)
    if isinstance(spec, Joined | Paired):
        return _joined(inputs[0], inputs[1], spec)
    if isinstance(spec, Processed):
        return _processed(inputs, spec)
    if isinstance(spec, Tabled):
        return _tabled(inputs[0], spec)
    if isinstance(spec, Filled):
        more = {"m": None} if any(name == "m" for name, _, _ in PLANS[spec.window.plan]) else {}
        return inputs[0].fill_gaps(n=0, v="forward", **more, up_to=f"{spec.up_to}ns")
    if isinstance(spec, Side):
        return inputs[0].duplicates if isinstance(spec.step, Deduped) else inputs[0].output("timed")
    if isinstance(spec, Late):
        return _late(inputs[0], spec)
    assert isinstance(spec, Scanned | Deduped | Rolled | Silent)
    keyed = _keyed(inputs[0], () if isinstance(spec, Deduped) else spec.keys)
    lateness = f"{spec.lateness}ns"
    if isinstance(spec, Scanned):
        return keyed.scan(_step, init=(0, 0), into=_SCANNED, allowed_lateness=lateness)
    if isinstance(spec, Deduped):
        keep: Any = spec.keep
        return keyed.dedup(*spec.ids, within=f"{spec.within}ns", keep=keep, allowed_lateness=lateness)
    if isinstance(spec, Silent):
        return keyed.silence(f"{spec.duration}ns", allowed_lateness=lateness)
    if spec.kind == "functions":
        before, latest = col("v").shift(1), col("v").forward_fill()
        return keyed.with_columns(total=col("n").cum_sum(), before=before, latest=latest)
    window: Any = {"rows": spec.size} if spec.kind == "rows" else {"window": f"{spec.size}ns"}
    return keyed.rolling(**window, allowed_lateness=lateness).agg(rows_n=count(), sum_n=col("n").sum())


def _keyed(stream: Stream, keys: tuple[str, ...]) -> Any:
    """The stream by these keys; without any all rows are of one key."""
    if keys:
        return stream.key_by(*keys)
    return stream.key_by() if stream._node.keys else stream  # the result of a keyed step stays keyed


def _windowed(stream: Stream, spec: Windowed) -> Any:
    keyed = _keyed(stream, spec.keys)
    window, lateness = _window(spec), f"{spec.lateness}ns"
    if spec.updates:
        early = f"{spec.early}ns" if spec.early else None
        return keyed.window(window, lateness, emit="updates", early=early).agg(**_aggregates(spec.plan))
    windowed = keyed.window(window, lateness)
    return windowed.top_n(spec.top, "v") if spec.top else windowed.agg(**_aggregates(spec.plan))


def _window(spec: Windowed | Paired) -> Any:
    offset = spec.offset if isinstance(spec, Windowed) else 0
    if spec.kind == "hopping":
        return HoppingWindow(spec.size, spec.every, offset)
    if spec.kind == "cumulative":
        return CumulativeWindow(spec.size, spec.every, offset)
    if spec.kind == "session":
        return SessionWindow(spec.size, spec.every or None)
    if spec.kind == "rows":
        return RowHops(spec.size, every=spec.every) if spec.every else RowWindow(spec.size)
    return SameWindow() if spec.kind == "same" else TumblingWindow(spec.size, offset)


def _aggregates(plan: str) -> dict[str, Expr]:
    return {
        name: count() if column is None else getattr(col(column), kind)()
        for name, kind, column in PLANS[plan]
    }


def _tabled(stream: Stream, spec: Tabled) -> Any:
    keyed, span = stream.key_by(*spec.keys), f"{spec.span}ns"
    aggregates: dict[str, Any] = dict(_aggregates(spec.plan))
    if spec.kind == "states":
        return keyed.agg(**aggregates, every=span, ttl=f"{spec.ttl}ns" if spec.ttl else None)
    if spec.kind == "running":
        return keyed.agg(**aggregates, max_rate=span)
    if spec.kind == "latest":
        return keyed.latest(max_rate=span)
    return keyed.top_n(spec.top, "v", max_rate=span)


def _joined(left: Stream, right: Stream, spec: Joined | Paired) -> Any:
    other = _keyed(right, ()).select(*spec.keys, **right_columns(spec.right))
    on, lateness, how = list(spec.keys), f"{spec.lateness}ns", spec.how
    options: dict[str, Any] = {"on": on, "allowed_lateness": lateness}
    if isinstance(spec, Paired):
        return left.join(other, window=_window(spec), how=how, **options)  # type: ignore[arg-type]
    if how == "asof":
        return left.asof_join(other, tolerance=f"{-spec.low}ns", **options)
    return left.join(other, within=(f"{spec.low}ns", f"{spec.high}ns"), how=how, **options)  # type: ignore[arg-type]


def _late(stream: Any, spec: Late) -> Any:
    if isinstance(spec.step, Joined | Paired):
        return stream.late_right if spec.side else stream.late_left
    if isinstance(spec.step, Processed):
        return stream.late_of(("row", "more", "rules")[spec.side])
    return stream.late


_SCANNED = {"count": "int64", "total": "int64"}


def _step(state: tuple[int, int], n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    count, total = state[0] + 1, state[1] + n
    return (count, total), (count, total)


class Counting(Processor):
    """The processor that `Processed` tells of."""

    count = ValueState(int, 0)
    total = ValueState(int, 0)
    limit = ValueState[int | None](int, shared=True)

    def __init__(self, after: str) -> None:
        self._after = after

    def on_row(self, row: dict[str, Any], ctx: Context) -> None:
        """Counts it, and sets the timer."""
        self._count(row, 0, ctx)
        if row["n"] % 2 == 0:
            ctx.timer("t", after=self._after)

    def on_more(self, row: dict[str, Any], ctx: Context) -> None:
        """Counts it, and takes the timer back."""
        self._count(row, 100, ctx)
        if row["n"] > 6:
            ctx.cancel_timer("t")

    def on_rules(self, row: dict[str, Any], ctx: Context) -> None:
        """Sets the limit."""
        self.limit = row["n"]

    def on_timer(self, name: str, ctx: Context) -> None:
        """Sends out what was counted."""
        keys = dict(zip(("k", "g"), ctx.key if isinstance(ctx.key, tuple) else (ctx.key,), strict=False))
        counted = {"n": self.count, "v": None, "total": self.total, "limit": self.limit}
        ctx.emit({**keys, **counted}, to="timed")
        self.count = 0

    def _count(self, row: dict[str, Any], more: int, ctx: Context) -> None:
        self.count += 1
        self.total += row["n"] + more
        passed = {name: row[name] for name in ("k", "g", "v", "n", "id")}
        ctx.emit({**passed, "count": self.count, "total": self.total, "limit": self.limit})


def _processed(inputs: list[Stream], spec: Processed) -> Any:
    columns = {"k": str, "g": int, "v": float, "n": int, "id": int}
    counted = {"count": int, "total": int, "limit": int}
    timed = {name: columns[name] for name in spec.keys} | {"n": int, "v": float, "total": int, "limit": int}
    rows, more = (stream.key_by(*spec.keys) for stream in inputs[:2])
    return rows.process(
        partial(Counting, after=f"{spec.after}ns"),
        more=more,
        broadcast={"rules": inputs[2]},
        schema={**columns, **counted},
        outputs={"timed": timed},
        allowed_lateness=f"{spec.lateness}ns",
        ttl=f"{spec.ttl}ns" if spec.ttl else None,
    )
