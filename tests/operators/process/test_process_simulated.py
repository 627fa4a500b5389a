"""A processor against plain Python: any inputs, disorder, lateness, ttl, cuts, workers, kills and failing calls."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors.memory import ArrowSource
from streamlib.elements import format_duration
from streamlib.graph import SourceNode
from streamlib.graph.plan import topological
from streamlib.testing.checking import Variation, play
from streamlib.testing.rebuild import as_list_source
from tests.operators.process.plain_process import Input, Plain, PlainContext, Row

SECOND = 10**9
SCHEMA = pa.schema({"ts": pa.timestamp("ns"), "k": pa.string(), "v": pa.int64()})
OUT = {"k": str, "t": int, "what": str, "state": str, "limit": int}
SIDE = {"k": str, "t": int, "n": int}


@dataclass
class State:
    """The state of a key as plain attributes, and as a copy."""

    total: int = 0
    note: str | None = None
    items: list[int] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def copy(self) -> State:
        return State(self.total, self.note, list(self.items), dict(self.counts))

    def become(self, other: State) -> None:
        self.__dict__.update(other.copy().__dict__)


@dataclass
class Shared:
    """The state of all keys."""

    limit: int = 5
    rules: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Shared:
        return Shared(self.limit, dict(self.rules))

    def become(self, other: Shared) -> None:
        self.__dict__.update(other.copy().__dict__)


def shown(state: Any, shared: Any) -> dict[str, Any]:
    text = (
        f"{state.total} {state.note} {list(state.items)} {dict(state.counts)} {sorted(shared.rules.items())}"
    )
    return {"state": text, "limit": shared.limit}


def act(state: Any, shared: Any, ctx: Any, what: str, given: Any, fails: bool) -> None:
    """What a call does: a bit of everything, by the value of the row."""
    if what == "rules":
        shared.limit = given["v"]
        shared.rules[given["v"] % 3] = given["v"]
        if fails and given["v"] % 11 == 10:
            raise ZeroDivisionError("a rule that fails")
        return
    if what == "timer":
        state.total += 100
        ctx.emit(what=given, **shown(state, shared))
        if given == "chain" and state.total % 3:
            ctx.set_timer("chain", SECOND * (state.total % 4))
        if given == "late":
            state.items.clear()
        if fails and state.total % 13 == 12:
            raise ZeroDivisionError("a timer that fails")
        return
    v = given["v"]
    state.total += v
    state.counts[v % 4] = state.counts.get(v % 4, 0) + 1
    if what == "other":
        state.note = f"o{v}"
        ctx.cancel_timer("late" if v % 2 else "chain")
    elif v % 3 == 0:
        state.items.append(v)
        ctx.set_timer("late", SECOND * (2 + v % 5))
    elif v % 3 == 1:
        ctx.set_timer("chain", SECOND * (v % 6))
        state.counts.pop(v % 2, None)
    elif state.items:
        state.items[0] = v
        state.items.sort()
    ctx.emit(what=what, **shown(state, shared))
    if v > shared.limit:
        ctx.side(v)
    if fails and v % 17 == 16:
        raise ZeroDivisionError("a row that fails")


class Recorder(sl.Processor):
    """Calls `act` with its states."""

    _fails = False
    total = sl.ValueState(int, 0)
    note = sl.ValueState(str)
    items = sl.ListState(int)
    counts = sl.MapState(int, int)
    limit = sl.ValueState(int, 5, shared=True)
    rules = sl.MapState(int, int, shared=True)

    def on_row(self, row: dict[str, Any], ctx: sl.Context) -> None:
        act(self, self, Calls(ctx), "row", row, self._fails)

    def on_other(self, row: dict[str, Any], ctx: sl.Context) -> None:
        act(self, self, Calls(ctx), "other", row, self._fails)

    def on_rules(self, row: dict[str, Any], ctx: sl.Context) -> None:
        act(None, self, None, "rules", row, self._fails)

    def on_timer(self, name: str, ctx: sl.Context) -> None:
        act(self, self, Calls(ctx), "timer", name, self._fails)


class Calls:
    """`act`'s context by that of the engine."""

    def __init__(self, ctx: sl.Context) -> None:
        self.ctx = ctx

    def emit(self, **row: Any) -> None:
        self.ctx.emit({"k": self.ctx.key, "t": ns(self.ctx.time), **row})

    def side(self, n: int) -> None:
        self.ctx.emit({"k": self.ctx.key, "t": ns(self.ctx.time), "n": n}, to="side")

    def set_timer(self, name: str, after: int) -> None:
        self.ctx.timer(name, after=format_duration(after))

    def cancel_timer(self, name: str) -> None:
        self.ctx.cancel_timer(name)


class PlainCalls:
    """`act`'s context by that of the simulator."""

    def __init__(self, ctx: PlainContext) -> None:
        self.ctx = ctx

    def emit(self, **row: Any) -> None:
        self.ctx.emit({"k": self.ctx.key, "t": self.ctx.time_ns, **row})

    def side(self, n: int) -> None:
        self.ctx.emit({"k": self.ctx.key, "t": self.ctx.time_ns, "n": n}, "side")

    def set_timer(self, name: str, after: int) -> None:
        self.ctx.timer(name, after)

    def cancel_timer(self, name: str) -> None:
        self.ctx.cancel_timer(name)


def ns(time: Any) -> int:
    return int(pa.scalar(time, pa.timestamp("ns")).value)


@dataclass
class Case:
    """Inputs and how they are run."""

    inputs: list[Input]
    lateness: int
    ttl: int | None
    how: Variation
    fails: bool


@st.composite
def cases(draw: st.DrawFn, fails: bool = False) -> Case:
    # Hypothesis draws the shape, a seed the rows: so many single draws would take most of the time.
    dice = random.Random(draw(st.integers(0, 2**32)))
    names = draw(st.sampled_from([["row"], ["row", "other"], ["row", "rules"], ["row", "other", "rules"]]))
    inputs = []
    for name in names:
        splits = [_split(dice) for _ in range(dice.choice((1, 1, 2, 3)))]
        inputs.append(Input(name, splits, dice.choice((0, 1, 3, 30)) * SECOND, name == "rules"))
    how = Variation(
        workers=draw(st.sampled_from([1, 2, 3])),
        batch_rows=draw(st.sampled_from([1, 2, 7, 65_536])),
        seed=draw(st.integers(0, 2**16)),
        channel_bytes_max=draw(st.sampled_from([1, 8 * 1024 * 1024])),
        kills=draw(st.sampled_from([0, 0, 1, 2])),
    )
    lateness = draw(st.sampled_from([0, 0, 1, 4])) * SECOND
    ttl = draw(st.sampled_from([None, 2, 6, 40]))
    return Case(inputs, lateness, None if ttl is None else ttl * SECOND, how, fails)


def _split(dice: random.Random) -> list[Row]:
    count = dice.choice((0, 1, 5, 20))
    steps = [dice.randint(0, 40) for _ in range(count)]
    disorder = dice.choice(("sorted", "slight", "wild"))
    if disorder == "sorted":
        steps.sort()
    elif disorder == "slight":
        steps.sort(key=lambda n: n + dice.randint(0, 4))
    values = range(60)
    return [
        {"t": (step - 20) * SECOND, "k": dice.choice(["a", "b", "c", None]), "v": dice.choice(values)}
        for step in steps
    ]


def stream(given: Input) -> sl.Stream:
    tables = [
        pa.table(
            [pa.array([r["t"] for r in rows], pa.int64()).cast(SCHEMA.field(0).type)]
            + [pa.array([r[name] for r in rows], SCHEMA.field(name).type) for name in ("k", "v")],
            schema=SCHEMA,
        )
        for rows in given.splits
    ]
    first, *others = (
        sl.read(ArrowSource(rows, 3, name=f"{given.name} {n}")) for n, rows in enumerate(tables)
    )
    return first.union(*others).event_time("ts", max_delay=format_duration(given.delay))


def processed(case: Case) -> Any:
    names = [given.name for given in case.inputs]
    owner = _without([name for name in ("other", "rules") if name not in names])
    owner._fails = case.fails
    streams = {given.name: stream(given) for given in case.inputs}
    options: dict[str, Any] = {"other": streams["other"]} if "other" in streams else {}
    if "rules" in streams:
        options["broadcast"] = {"rules": streams["rules"]}
    return (
        streams["row"]
        .key_by("k")
        .process(
            owner,
            schema=OUT,
            outputs={"side": SIDE},
            ttl=None if case.ttl is None else format_duration(case.ttl),
            allowed_lateness=format_duration(case.lateness),
            **options,
        )
    )


def _without(names: list[str]) -> Any:
    """The class without the methods of inputs that are not there."""
    members = {n: m for n, m in vars(Recorder).items() if n not in [f"on_{name}" for name in names]}
    if "rules" in names:
        members["limit"], members["rules"] = 5, {}
    return type("Recorder", (sl.Processor,), members)


def plain(case: Case) -> Plain:
    shared = Shared()
    run = Plain(
        lambda state, ctx, what, given: act(state, shared, PlainCalls(ctx), what, given, case.fails),
        State,
        shared,
        case.lateness,
        case.ttl,
    )
    return run.run(case.inputs)


def outcome(streams: list[sl.Stream], how: Variation) -> list[list[Row]]:
    nodes = [each._node for each in streams]
    lists = {id(n): as_list_source(n.source) for n in topological(nodes) if isinstance(n, SourceNode)}
    return [table.to_pylist() for table in play(nodes, lists, how)]


def same(found: list[Row], wanted: list[Row]) -> None:
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))


@given(case=cases())
def test_a_processor_does_what_plain_python_does(case: Case) -> None:
    stream = processed(case)
    names = [given.name for given in case.inputs]
    late = [stream.late_of(name) for name in names]
    found, side, *lost = outcome([stream, stream.output("side"), *late], case.how)
    run = plain(case)
    same(found, [row for to, row, _ in run.emitted if to is None])
    same(side, [row for to, row, _ in run.emitted if to == "side"])
    for name, rows in zip(names, lost, strict=True):
        assert sorted((ns(r["ts"]), str(r["k"]), r["v"], ns_of(r["late_by"])) for r in rows) == sorted(
            (r["t"], str(r["k"]), r["v"], r["late_by"]) for r in run.late.get(name, [])
        )


def ns_of(duration: Any) -> int:
    return int(pa.scalar(duration, pa.duration("ns")).value)


@given(case=cases(fails=True))
def test_a_call_that_fails_leaves_nothing_behind(case: Case) -> None:
    stream = processed(case).on_error("dead_letter")
    found, side, letters = outcome([stream, stream.output("side"), stream.dead_letters], case.how)
    run = plain(case)
    same(found, [row for to, row, _ in run.emitted if to is None])
    same(side, [row for to, row, _ in run.emitted if to == "side"])
    assert len(letters) == len(run.failed)
    assert sorted(
        (ns(r["ts"]), r["v"])
        for r in letters
        if "a row that" in r["error_message"] and "on_row" in r["error_message"]
    ) == sorted((given["t"], given["v"]) for what, given in run.failed if what == "row")
