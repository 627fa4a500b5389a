"""The loop of a plan, generated: key words, window starts, records and all accumulators in one call.

A fused kernel costs one entry without the GIL per batch, and reads each record once. It is made of
the same small functions that tests run one by one: the generated text only calls them, with indices
and conditions as constants. It works in chunks, and in each in three tight loops over rows:
window starts and key words, records, accumulators.

What a batch does not need is left out of its kernel (nulls in an input or in the key). A store
never goes back to a smaller kernel, so it uses few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamlib.aggregates.accumulators import Style
from streamlib.aggregates.plan import AccumulatorPlan, Placed
from streamlib.kernels._jit import Kernel, generated
from streamlib.kernels.keys import KeyKind
from streamlib.state import layout

SIGNATURE = "int64(int64, int64, int64[::1])"


@dataclass(frozen=True, slots=True)
class Variant:
    """What one kernel of a plan can work on.

    Attributes:
        key_kind: how keys become words.
        key_nulls: EXACT keys may be null.
        nullable: for each input, whether it may be null.
        placed: keys are slots of an index, and records are found by `placed_probe`.
        factors: of inputs that come as two columns, how their words are read.
    """

    key_kind: KeyKind
    key_nulls: bool
    nullable: tuple[bool, ...]
    placed: bool = False
    factors: Mapping[int, tuple[str, str]] = field(default_factory=dict)


def add_kernel(plan: AccumulatorPlan, variant: Variant) -> Kernel[..., int]:
    """The kernel ``add_rows(first_row, rows, call) -> row`` that adds rows; see `_frame`."""
    return _frame("add_rows", plan, variant, _add_body(plan, variant))


def merge_kernel(
    plan: AccumulatorPlan, kind: KeyKind, key_nulls: bool, placed: bool = False
) -> Kernel[..., int]:
    """The kernel ``merge_rows(first_row, rows, call) -> row`` that merges states of other stores."""
    variant = Variant(kind, key_nulls, (), placed)
    return _frame("merge_rows", plan, variant, _merge_body(plan, variant))


def find_kernel(plan: AccumulatorPlan, kind: KeyKind, key_nulls: bool) -> Kernel[..., int]:
    """The kernel ``find_rows(first_row, rows, call) -> row`` that only finds, or makes, the rows' records."""
    return _frame("find_rows", plan, Variant(kind, key_nulls, ()), _Body({}, [], [], False))


def add_at_kernel(plan: AccumulatorPlan, nullable: tuple[bool, ...]) -> Kernel[..., int]:
    """The kernel ``add_at(first_row, rows, call) -> row`` that adds rows to records whose numbers are known."""
    return _frame_at("add_at", plan, _add_body(plan, Variant(KeyKind.NONE, False, nullable)))


def merge_at_kernel(plan: AccumulatorPlan) -> Kernel[..., int]:
    """The kernel ``merge_at(first_row, rows, call) -> row`` that merges states into such records."""
    return _frame_at("merge_at", plan, _merge_body(plan, Variant(KeyKind.NONE, False, ())))


def _frame_at(name: str, plan: AccumulatorPlan, body: _Body) -> Kernel[..., int]:
    """A kernel that finds the record of a row by its number at CALL_FOUND; record 0 is at CALL_DIRECTORY."""
    record_bytes = 8 * (layout.RECORD_STATE + len(plan.words))
    text = _Text()
    text.imports.update(body.imports)
    text.use("streamlib.kernels.memory", "load_f64", "load_i64", "load_u64", "prefetch", "store_i64")
    if body.reads_validity:
        text.use("streamlib.kernels.columns", "is_valid")
    text.add(
        f"def {name}(first_row, rows, call):",
        f"    records = call[{layout.CALL_DIRECTORY}]",
        f"    numbers = call[{layout.CALL_FOUND}]",
        f"    starts = call[{layout.CALL_KEY_VALUES}]",
        f"    times = call[{layout.CALL_TIME}]",
        *("    " + line for line in body.before),
        "    row = first_row",
        "    while row < rows:",
        f"        count = min(rows - row, {layout.CHUNK})",
        f"        if call[{layout.CALL_PREFETCH}] != 0:",
        "            for i in range(count):",
        f"                record = records + {record_bytes} * load_i64(numbers, row + i)",
        "                prefetch(record)",
        f"                prefetch(record + {record_bytes - 8})",
        "        for i in range(count):",
        "            at = row + i",
        f"            record = records + {record_bytes} * load_i64(numbers, at)",
        *("            " + line for line in body.each),
        "        row += count",
        *("    " + line for line in body.after),
        "    return row",
    )
    return generated(name, text.source(), SIGNATURE, "streamlib.state.fused")


def merge_panes_kernel(plan: AccumulatorPlan) -> Kernel[..., int]:
    """The kernel ``merge_panes(first_record, records, call) -> record`` that merges a pane into another one.

    Records begin with the slots of their keys. It stops at a record that the other pane, whose descriptor
    is at CALL_DIRECTORY, lacks room for. For plans that keep all in words.
    """
    assert not plan.kept and not plan.collected, "what lies beside the records is not merged"
    body = _merge_body(plan, Variant(KeyKind.EXACT, False, ()))
    record_words = layout.RECORD_STATE + len(plan.words)
    text = _Text()
    text.imports.update(body.imports)
    text.use("streamlib.kernels.memory", "load_i64", "store_i64")
    text.use("streamlib.state.placed_probe", "place_record")
    text.add(
        "def merge_panes(first_record, records, call):",
        f"    source = call[{layout.CALL_SOURCE}]",
        f"    pane = call[{layout.CALL_DIRECTORY}]",
        f"    template = call[{layout.CALL_TEMPLATE}]",
        "    for at in range(first_record, records):",
        f"        other = source + {8 * record_words} * at",
        f"        record = place_record(pane, load_i64(other, 0), template, {record_words})",
        "        if record == 0:",
        "            return at",
        *("        " + line for line in body.each[1:]),
        "    return records",
    )
    return generated("merge_panes", text.source(), SIGNATURE, "streamlib.state.fused")


def merge_handed_kernel(plan: AccumulatorPlan, long_keys: bool) -> Kernel[..., int]:
    """The kernel ``merge_handed(first_entry, entries, call) -> entry`` that merges records of another pane.

    The entries are at CALL_KEY_VALUES, the other pane's records at CALL_SOURCE and its arena at
    CALL_KEY_DATA; the descriptor of the pane that takes them is at CALL_DIRECTORY. It stops at an entry
    that this one lacks room for. For plans that keep all in words.
    """
    assert not plan.kept and not plan.collected, "what lies beside the records is not merged"
    body = _merge_body(plan, Variant(KeyKind.EXACT, False, ()))
    record_words = layout.RECORD_STATE + len(plan.words)
    text = _Text()
    text.imports.update(body.imports)
    text.use("streamlib.kernels.memory", "load_i64", "load_u64", "store_i64")
    text.use("streamlib.state.handed_probe", "adopt", "find_handed", "handed_record")
    text.add(
        "def merge_handed(first_entry, entries, call):",
        f"    given = call[{layout.CALL_KEY_VALUES}]",
        f"    source = call[{layout.CALL_SOURCE}]",
        f"    arena = call[{layout.CALL_KEY_DATA}]",
        f"    pane = call[{layout.CALL_DIRECTORY}]",
        f"    report = call[{layout.CALL_REPORT}]",
        "    for at in range(first_entry, entries):",
        "        entry = load_u64(given, at)",
        f"        other = handed_record(entry, source, {record_words})",
        f"        record, place = find_handed(pane, entry, other, arena, {long_keys}, {record_words})",
        "        if record == 0:",
        f"            if not adopt(pane, entry, place, other, arena, {long_keys}, {record_words}, report):",
        "                return at",
        "            continue",
        *("        " + line for line in body.each[1:]),
        "    return entries",
    )
    return generated("merge_handed", text.source(), SIGNATURE, "streamlib.state.fused")


def _frame(name: str, plan: AccumulatorPlan, variant: Variant, body: _Body) -> Kernel[..., int]:
    """A kernel that serves rows [first_row, rows) and returns the row it stopped at.

    It stops before the end where Python has to open or enlarge a pane, and is called again from there.
    """
    kind = variant.key_kind
    text = _Text()
    text.imports.update(body.imports)
    text.use("streamlib.kernels.memory", "load_f64", "load_i64", "load_u64", "store_i64")
    text.use("streamlib.kernels.windows", "write_starts")
    is_bytes = kind is KeyKind.BYTES
    if is_bytes:
        text.use("streamlib.kernels.keys", "write_bytes_words")
    if body.reads_validity:
        text.use("streamlib.kernels.columns", "is_valid")
    c = "call[{}]".format
    text.add(
        f"def {name}(first_row, rows, call):",
        f"    starts = {c(layout.CALL_SCRATCH)}",
        f"    words = starts + {8 * layout.CHUNK}",
        f"    found = words + {8 * layout.CHUNK}",
        f"    panes = found + {8 * layout.CHUNK}",
        f"    wanted = {c(layout.CALL_FOUND)}",
        f"    given_starts = {c(layout.CALL_STARTS)}",
        f"    times = {c(layout.CALL_TIME)}",
        *("    " + line for line in body.before),
        "    row = first_row",
        "    while row < rows:",
        f"        count = min(rows - row, {layout.CHUNK})",
        "        if wanted != 0:",
        "            found = wanted + 8 * row",
        "        if given_starts == 0:",
        f"            size, offset = {c(layout.CALL_SIZE)}, {c(layout.CALL_OFFSET)}",
        "            one_start = write_starts(times + 8 * row, count, size, offset, starts)",
        "        else:",
        "            starts = given_starts + 8 * row",
        "            one_start = False",
    )
    key_row = "row" if kind is not KeyKind.NONE else "0"
    if is_bytes:
        text.add(
            f"        write_bytes_words({c(layout.CALL_KEY_OFFSETS)} + 4 * row, {c(layout.CALL_KEY_DATA)}, "
            f"{c(layout.CALL_KEY_END)}, {c(layout.CALL_KEY_VALIDITY)}, {c(layout.CALL_KEY_BIT)} + row, count, words)"
        )
    elif kind is KeyKind.EXACT:
        text.add(f"        words = {c(layout.CALL_KEY_VALUES)} + 8 * row")
    else:
        text.add(f"        words = {c(layout.CALL_KEY_VALUES)}")
    text.add(
        *(_find_placed_lines(text, plan) if variant.placed else _find_lines(text, plan, variant, key_row)),
        "                for i in range(begin, served):",
        "                    record = load_i64(found, i)",
        "                    at = row + i",
        *("                    " + line for line in body.each),
        "                if served < end:",
        "                    break",
        "            begin = end",
        "        row += served",
        "        if served < count:",
        "            break",
        *("    " + line for line in body.after),
        "    return row",
    )
    return generated(name, text.source(), SIGNATURE, "streamlib.state.fused")


def _find_lines(text: _Text, plan: AccumulatorPlan, variant: Variant, key_row: str) -> list[str]:
    """Lines that find, or make, the records of a chunk's rows by their keys, of a few at a time for large panes."""
    c = "call[{}]".format
    is_bytes = variant.key_kind is KeyKind.BYTES
    record_words = layout.RECORD_STATE + len(plan.words)
    text.use("streamlib.state.probe", "ENTRIES_AHEAD", "FETCHED", "fetch_ahead", "find_records")
    return [
        f"        fetches = {c(layout.CALL_PREFETCH)} != 0",
        "        begin, step = (-ENTRIES_AHEAD, FETCHED) if fetches else (0, count)",
        "        served = 0",
        "        while begin < count:",
        "            end = min(begin + step, count)",
        "            if fetches:",
        "                fetch_ahead(",
        f"                    begin, count, starts, words, {c(layout.CALL_DIRECTORY)},",
        f"                    {c(layout.CALL_DIRECTORY_MASK)}, {record_words}, found, panes, {is_bytes},",
        "                )",
        "            if begin >= 0:",
        "                served = find_records(",
        "                    begin, end, one_start, fetches, starts, words,",
        f"                    {is_bytes}, {c(layout.CALL_KEY_OFFSETS)} + 4 * row, {c(layout.CALL_KEY_DATA)},",
        f"                    {variant.key_nulls}, {c(layout.CALL_KEY_VALIDITY)},",
        f"                    {c(layout.CALL_KEY_BIT)} + {key_row}, {c(layout.CALL_DIRECTORY)},",
        f"                    {c(layout.CALL_DIRECTORY_MASK)}, {c(layout.CALL_TEMPLATE)}, {record_words},",
        f"                    {c(layout.CALL_NOTES)}, row, {c(layout.CALL_REPORT)}, found, {c(layout.CALL_SPARES)},",
        "                )",
    ]


def _find_placed_lines(text: _Text, plan: AccumulatorPlan) -> list[str]:
    """The same by the slots that an index has given to keys."""
    c = "call[{}]".format
    text.use("streamlib.state.placed_probe", "find_placed")
    return [
        "        begin, end, served = 0, count, 0",
        "        while begin < count:",
        "            if begin >= 0:",
        "                served = find_placed(",
        f"                    count, starts, words, {c(layout.CALL_DIRECTORY)}, {c(layout.CALL_DIRECTORY_MASK)},",
        f"                    {c(layout.CALL_TEMPLATE)}, {layout.RECORD_STATE + len(plan.words)},",
        f"                    {c(layout.CALL_REPORT)}, found,",
        "                )",
    ]


@dataclass(slots=True)
class _Body:
    """The part of a kernel that belongs to its plan: lines before all rows, for each row, and after all."""

    imports: dict[str, str]
    before: list[str]
    each: list[str]
    reads_validity: bool
    after: list[str] = field(default_factory=list)


def _add_body(plan: AccumulatorPlan, variant: Variant) -> _Body:
    text = _Text()
    before, each = [], []
    head = layout.RECORD_STATE
    for index in range(len(plan.input_types)):
        at = layout.CALL_INPUTS + layout.INPUT_WORDS * index
        before.append(f"values{index} = call[{at}]")
        if variant.nullable[index]:
            before.append(f"validity{index} = call[{at + 1}]")
            before.append(f"bit{index} = call[{at + 2}]")
    if plan.ordered:
        before.append(f"orders = call[{layout.CALL_ORDER}]")
        before.append(f"order_step = call[{layout.CALL_ORDER_STEP}]")
        before.append("order_rise = 1 - order_step")
        each.append("order = load_i64(orders, at * order_step) + at * order_rise")
        each.append("place = load_i64(times, at), order")
    else:
        each.append("place = (load_i64(times, at),)")
    loads: dict[tuple[int, str], str] = {}
    for place in plan.placed:
        lane = "int64" if place.accumulator.style is Style.EDGE else place.accumulator.lane
        if place.accumulator.style is not Style.NULL and not place.accumulator.keeps_values:
            loads[place.input, lane] = f"{lane[0]}{place.input}"
    load = {"int64": "load_i64", "uint64": "load_u64", "float64": "load_f64"}
    for (index, lane), name in loads.items():
        value = f"{load[lane]}(values{index}, at)"
        if index in variant.factors:
            left, right = (load[factor] for factor in variant.factors[index])
            before.append(f"others{index} = call[{layout.CALL_INPUTS + layout.INPUT_WORDS * index + 3}]")
            value = f"{left}(values{index}, at) * {right}(others{index}, at)"
        each.append(f"{name} = {value}")
    for index, nullable in enumerate(variant.nullable):
        if nullable:
            each.append(f"valid{index} = validity{index} == 0 or is_valid(validity{index}, bit{index} + at)")
    each.append(f"store_i64(record, {head}, load_i64(record, {head}) + 1)")
    arguments = "place[0], place[1]" if plan.ordered else "place[0]"
    for place in plan.placed:
        if not place.accumulator.keeps_values:
            each += _add_lines(text, place, head + place.word, variant.nullable[place.input], arguments)
    body = _Body(text.imports, before, each, any(variant.nullable))
    _add_kept(text, plan, head, body, lambda word: arguments, variant.nullable)
    return body


def _add_lines(text: _Text, place: Placed, word: int, nullable: bool, position: str) -> list[str]:
    accumulator, index = place.accumulator, place.input
    if accumulator.style is Style.NULL:
        if not nullable:
            return []
        return [f"if not valid{index}:", f"    {text.function(accumulator.add)}(record, {word})"]
    if accumulator.style is Style.EDGE:
        if nullable:
            assert accumulator.add_nullable is not None
            name = text.function(accumulator.add_nullable)
            return [f"{name}(record, {word}, {position}, i{index}, not valid{index})"]
        return [f"{text.function(accumulator.add)}(record, {word}, {position}, i{index})"]
    call = f"{text.function(accumulator.add)}(record, {word}, {accumulator.lane[0]}{index})"
    return [f"if valid{index}:", f"    {call}"] if nullable else [call]


def _merge_body(plan: AccumulatorPlan, variant: Variant) -> _Body:
    text = _Text()
    head = layout.RECORD_STATE
    # The source has no key words: it is addressed as if it had, so that both sides share an index.
    before = [f"source = call[{layout.CALL_SOURCE}] - {8 * head}"]
    each = [
        f"other = source + {8 * len(plan.words)} * at",
        f"store_i64(record, {head}, load_i64(record, {head}) + load_i64(other, {head}))",
    ]
    each += [
        f"{text.function(place.accumulator.merge)}(record, other, {head + place.word})"
        for place in plan.placed
        if not place.accumulator.keeps_values
    ]
    body = _Body(text.imports, before, each, False)
    place_words = 2 if plan.ordered else 1
    _add_kept(
        text,
        plan,
        head,
        body,
        lambda word: ", ".join(f"load_i64(other, {word + k})" for k in range(place_words)),
    )
    return body


def _add_kept(
    text: _Text,
    plan: AccumulatorPlan,
    head: int,
    body: _Body,
    position: Callable[[int], str],
    nullable: Sequence[bool] | None = None,
) -> None:
    """Lines for accumulators whose values lie beside the records: the winner's row, and a note of the record.

    Args:
        position: the row's time (and order), as arguments, for an accumulator whose time is at a word.
        nullable: for each input, whether it may be null; None where states are merged.
    """
    for number, place in enumerate(plan.kept):
        accumulator, word = place.accumulator, head + place.word
        at = layout.CALL_INPUTS + layout.INPUT_WORDS * len(plan.input_types) + layout.KEPT_WORDS * number
        row, idle = word + len(accumulator.words) - 2, accumulator.words[-2].initial
        body.before.append(f"notes{number} = call[{at + layout.KEPT_NOTES}]")
        body.before.append(f"noted{number} = call[{at + layout.KEPT_NOTED}]")
        body.after.append(f"call[{at + layout.KEPT_NOTED}] = noted{number}")
        if accumulator.style is Style.RANK:
            body.before.append(f"ranks{number} = call[{at + layout.KEPT_RANKS}]")
            arguments = f"load_i64(ranks{number}, at)"
        elif accumulator.style is Style.BY:
            by = f"load_i64(other, {word})" if nullable is None else f"load_i64(values{place.by}, at)"
            arguments = f"{by}, {position(word + 1)}, at"
        else:
            arguments = f"{position(word)}, at"
        text.use("streamlib.state.probe", "note_winner")
        call = f"{text.function(accumulator.add)}(record, {word}, {arguments})"
        masked = accumulator.style is Style.BY and nullable is not None and nullable[place.by or 0]
        body.each += [
            f"best = load_i64(record, {row})",
            *([f"if valid{place.by}:", f"    {call}"] if masked else [call]),
            f"noted{number} = note_winner(record, {row}, best, {idle}, load_i64(starts, i), "
            f"notes{number}, noted{number})",
        ]


class _Text:
    """Lines of a module and the functions it imports."""

    def __init__(self) -> None:
        self.imports: dict[str, str] = {}
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        self.lines += lines

    def use(self, module: str, *names: str) -> None:
        for name in names:
            self.imports[name] = module

    def function(self, function: Callable[..., Any]) -> str:
        """The name by which the module calls `function`."""
        self.use(function.__module__, function.__name__)
        return function.__name__

    def source(self) -> str:
        imports = sorted(f"from {module} import {name}" for name, module in self.imports.items())
        return "\n".join(['"""Generated by streamlib.state.fused."""', "", *imports, "", "", *self.lines, ""])
