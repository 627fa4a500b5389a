"""The loops of rolling and cumulative aggregates, generated for a plan like those of `fused`.

A rolling window is a queue in two parts (two stacks; Tangwongsan et al., PVLDB 8(7), 2015, section 3): each row of
the front has the state of itself and all rows of the front after it, the back one state of all its
rows. A row's window is the state of the oldest row of the front, merged with that of the back. When
a row has to go and the front is empty, the back becomes the front, newest row first. Nothing is ever
subtracted, and each row is merged about three times, however many rows a window has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from streamlib.aggregates.accumulators import Style
from streamlib.aggregates.plan import AccumulatorPlan, Placed
from streamlib.kernels._jit import Kernel, generated
from streamlib.kernels.rolling import BACK, COUNT, EARLIER, FRONT, HEAD, LATER, NEWEST, SLOT, TIME

SIGNATURE = "void(int64, int64, int64[::1])"

# The call block.
CALL_LOG = 0
CALL_SLOTS = 1
CALL_ROW_SLOTS = 2
CALL_TIMES = 3
CALL_OUT = 4
CALL_OLDEST = 5  # where the oldest row of each window is wanted
CALL_LIMIT = 6  # of a window: its length in ns, or how many rows
CALL_FIRST = 7  # by time: rows of the log before it are gone
CALL_USED = 8
CALL_TEMPLATE = 9  # of a slot without rows
CALL_TTL = 10  # by rows: a key without rows for longer begins anew, ns; 0: never
CALL_NOW = 11  # by time, where no row is added: rows that are too old for a row of this time go
CALL_FRESH = 12  # a byte per row: whether its key begins anew; whether it belongs to the front
CALL_INPUTS = 13  # for each input: values, validity, bit


def roll_kernel(plan: AccumulatorPlan, by_time: bool) -> Kernel[..., None]:
    """The kernel ``roll_rows(first_row, rows, call)``: rows into their windows, and what each window holds then."""
    lines = _Lines(plan)
    row_bytes = 8 * (HEAD + len(plan.words))
    lines.use("streamlib.kernels._jit", "inline")
    body = [
        "@inline",
        "def clear_back(state, template):",
        f"    for word in range({HEAD}, {HEAD + len(plan.words)}):",
        "        store_i64(state, word, load_i64(template, word))",
        f"    store_i64(state, {BACK}, -1)",
        "",
        "",
        "@inline",
        "def pop_oldest(log, state, template):",
        f"    front = load_i64(state, {FRONT})",
        "    if front < 0:",
        f"        oldest = load_i64(state, {BACK})",
        f"        front = load_i64(state, {NEWEST})",
        f"        record = log + front * {row_bytes}",
        "        while front != oldest:",
        "            later, source = front, record",
        f"            front = load_i64(record, {EARLIER})",
        f"            record = log + front * {row_bytes}",
        f"            store_i64(record, {LATER}, later)",
        *_indented(12, lines.merges("record", "source")),
        "        clear_back(state, template)",
        f"    record = log + front * {row_bytes}",
        f"    store_i64(record, {SLOT}, -1)",
        f"    store_i64(state, {FRONT}, load_i64(record, {LATER}))",
        f"    store_i64(state, {COUNT}, load_i64(state, {COUNT}) - 1)",
        "",
        "",
        "@inline",
        "def push_newest(log, state, at):",
        f"    record = log + at * {row_bytes}",
        f"    store_i64(record, {EARLIER}, load_i64(state, {NEWEST}))",
        f"    store_i64(record, {LATER}, -1)",
        f"    if load_i64(state, {BACK}) < 0:",
        f"        store_i64(state, {BACK}, at)",
        f"    store_i64(state, {NEWEST}, at)",
        f"    store_i64(state, {COUNT}, load_i64(state, {COUNT}) + 1)",
        *_indented(4, lines.merges("state", "record")),
        "",
        "",
    ]
    body += [
        "@inline",
        "def evict(log, slots, template, first, used, now, span):",
        "    while first < used:",
        f"        record = log + first * {row_bytes}",
        f"        slot = load_i64(record, {SLOT})",
        "        if slot >= 0:",
        f"            if np.uint64(now) - np.uint64(load_i64(record, {TIME})) < np.uint64(span):",
        "                break",
        f"            pop_oldest(log, slots + slot * {row_bytes}, template)",
        "        first += 1",
        "    return first",
        "",
        "",
        "def roll_rows(first_row, rows, call):",
        *_indented(4, lines.before),
        f"    log, slots, template = call[{CALL_LOG}], call[{CALL_SLOTS}], call[{CALL_TEMPLATE}]",
        f"    row_slots, times, limit = call[{CALL_ROW_SLOTS}], call[{CALL_TIMES}], call[{CALL_LIMIT}]",
        f"    out, oldest = call[{CALL_OUT}] - {8 * HEAD}, call[{CALL_OLDEST}]",
        f"    first, used, ttl = call[{CALL_FIRST}], call[{CALL_USED}], call[{CALL_TTL}]",
        "    for at in range(first_row, rows):",
        "        time = load_i64(times, at)",
        "        slot = load_i64(row_slots, at)",
        f"        state = slots + slot * {row_bytes}",
    ]
    if by_time:
        body.append("        first = evict(log, slots, template, first, used, time, limit)")
    else:
        body += [
            f"        if ttl != 0 and load_i64(state, {COUNT}) > 0:",
            f"            last = load_i64(log + load_i64(state, {NEWEST}) * {row_bytes}, {TIME})",
            "            if np.uint64(time) - np.uint64(last) > np.uint64(ttl):",
            f"                while load_i64(state, {COUNT}) > 0:",
            "                    pop_oldest(log, state, template)",
            f"        if load_i64(state, {COUNT}) == limit:",
            "            pop_oldest(log, state, template)",
        ]
    body += [
        f"        record = log + used * {row_bytes}",
        f"        store_i64(record, {TIME}, time)",
        f"        store_i64(record, {SLOT}, slot)",
        f"        for word in range({HEAD}, {HEAD + len(plan.words)}):",
        "            store_i64(record, word, load_i64(template, word))",
        *_indented(8, lines.adds()),
        "        push_newest(log, state, used)",
        f"        front = load_i64(state, {FRONT})",
        f"        record = out + at * {8 * len(plan.words)}",
        "        if front >= 0:",
        f"            source = log + front * {row_bytes}",
        f"            for word in range({HEAD}, {HEAD + len(plan.words)}):",
        "                store_i64(record, word, load_i64(source, word))",
        "            source = state",
        *_indented(12, lines.merges("record", "source")),
        "        else:",
        f"            front = load_i64(state, {BACK})",
        f"            for word in range({HEAD}, {HEAD + len(plan.words)}):",
        "                store_i64(record, word, load_i64(state, word))",
        "        store_i64(oldest, at, front)",
        "        used += 1",
    ]
    if by_time:
        body += [
            "    if first_row == rows:",
            f"        first = evict(log, slots, template, first, used, call[{CALL_NOW}], limit)",
        ]
    body += [f"    call[{CALL_FIRST}] = first", f"    call[{CALL_USED}] = used"]
    return lines.kernel("roll_rows", body)


def relink_kernel(plan: AccumulatorPlan) -> Kernel[..., None]:
    """The kernel ``relink_rows(first_row, rows, call)``: makes slots of the rows [first_row, rows) of the log.

    `CALL_FRESH` has a byte per row that says whether it belongs to the front.
    """
    lines = _Lines(plan)
    row_bytes = 8 * (HEAD + len(plan.words))
    return lines.kernel(
        "relink_rows",
        [
            "def relink_rows(first_row, rows, call):",
            f"    log, slots, in_front = call[{CALL_LOG}], call[{CALL_SLOTS}], call[{CALL_FRESH}]",
            "    for at in range(first_row, rows):",
            f"        record = log + at * {row_bytes}",
            f"        slot = load_i64(record, {SLOT})",
            f"        state = slots + slot * {row_bytes}",
            f"        newest = load_i64(state, {NEWEST})",
            f"        store_i64(record, {EARLIER}, newest)",
            f"        store_i64(record, {LATER}, -1)",
            f"        store_i64(state, {NEWEST}, at)",
            f"        store_i64(state, {COUNT}, load_i64(state, {COUNT}) + 1)",
            "        if load_u8(in_front, at) != np.uint64(0):",
            "            if newest < 0:",
            f"                store_i64(state, {FRONT}, at)",
            "            else:",
            f"                store_i64(log + newest * {row_bytes}, {LATER}, at)",
            "        else:",
            f"            if load_i64(state, {BACK}) < 0:",
            f"                store_i64(state, {BACK}, at)",
            *_indented(12, lines.merges("state", "record")),
        ],
    )


def cumulative_kernel(plan: AccumulatorPlan) -> Kernel[..., None]:
    """The kernel ``add_up(first_row, rows, call)``: the state of each row's key, that row included."""
    lines = _Lines(plan)
    words = len(plan.words)
    return lines.kernel(
        "add_up",
        [
            "def add_up(first_row, rows, call):",
            *_indented(4, lines.before),
            f"    slots, template = call[{CALL_SLOTS}] - {8 * HEAD}, call[{CALL_TEMPLATE}]",
            f"    row_slots, out, fresh = call[{CALL_ROW_SLOTS}], call[{CALL_OUT}], call[{CALL_FRESH}]",
            f"    times = call[{CALL_TIMES}]",
            "    for at in range(first_row, rows):",
            "        time = load_i64(times, at)",
            f"        record = slots + load_i64(row_slots, at) * {8 * words}",
            "        if load_u8(fresh, at) != np.uint64(0):",
            f"            for word in range({HEAD}, {HEAD + words}):",
            "                store_i64(record, word, load_i64(template, word))",
            *_indented(8, lines.adds()),
            f"        for word in range({words}):",
            f"            store_i64(out, at * {words} + word, load_i64(record, word + {HEAD}))",
        ],
    )


class _Lines:
    """The parts of a source that belong to the plan, whose accumulators keep their values in words."""

    def __init__(self, plan: AccumulatorPlan) -> None:
        assert not plan.kept and not plan.collected and not plan.ordered, "state in words, rows in order"
        self.plan = plan
        self._imports: dict[str, str] = {}
        self.use("streamlib.kernels.memory", "load_f64", "load_i64", "load_u64", "load_u8", "store_i64")
        self.use("streamlib.kernels.columns", "is_valid")
        self.before: list[str] = []
        for index in range(len(plan.input_types)):
            at = CALL_INPUTS + 3 * index
            self.before += [
                f"values{index} = call[{at}]",
                f"validity{index} = call[{at + 1}]",
                f"bit{index} = call[{at + 2}]",
            ]

    def use(self, module: str, *names: str) -> None:
        """Imports functions."""
        for name in names:
            self._imports[name] = module

    def adds(self) -> Iterator[str]:
        """Adds row `at` to `record`, whose words begin at HEAD."""
        for index in range(len(self.plan.input_types)):
            yield f"valid{index} = validity{index} == 0 or is_valid(validity{index}, bit{index} + at)"
        yield f"store_i64(record, {HEAD}, load_i64(record, {HEAD}) + 1)"
        for place in self.plan.placed:
            yield from self._add(place)

    def _add(self, place: Placed) -> Iterator[str]:
        accumulator, index, word = place.accumulator, place.input, HEAD + place.word
        if accumulator.style is Style.NULL:
            yield f"if not valid{index}:"
            yield f"    {self._name(accumulator.add)}(record, {word})"
        elif accumulator.style is Style.EDGE:
            assert accumulator.add_nullable is not None
            name = self._name(accumulator.add_nullable)
            yield f"{name}(record, {word}, time, load_i64(values{index}, at), not valid{index})"
        else:
            assert accumulator.style is Style.VALUE
            load = {"int64": "load_i64", "uint64": "load_u64", "float64": "load_f64"}[accumulator.lane]
            yield f"if valid{index}:"
            yield f"    {self._name(accumulator.add)}(record, {word}, {load}(values{index}, at))"

    def merges(self, record: str, source: str) -> Iterator[str]:
        """Takes the state of `source`, of later rows, into `record`."""
        yield f"store_i64({record}, {HEAD}, load_i64({record}, {HEAD}) + load_i64({source}, {HEAD}))"
        for place in self.plan.placed:
            yield f"{self._name(place.accumulator.merge)}({record}, {source}, {HEAD + place.word})"

    def _name(self, function: Callable[..., Any]) -> str:
        self.use(function.__module__, function.__name__)
        return function.__name__

    def kernel(self, name: str, body: list[str]) -> Kernel[..., None]:
        """The kernel `name` of these lines."""
        imports = sorted(f"from {module} import {name}" for name, module in self._imports.items())
        head = ['"""Generated by streamlib.state.rolling.rolling_source."""', "", "import numpy as np", ""]
        source = "\n".join([*head, *imports, "", "", *body, ""])
        return generated(name, source, SIGNATURE, "streamlib.state.rolling.rolling_source")


def _indented(depth: int, lines: Any) -> Iterator[str]:
    for line in lines:
        yield " " * depth + line
