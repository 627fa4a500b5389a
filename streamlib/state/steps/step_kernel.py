"""The loop of `scan` over rows by slot, generated for a step function that can be translated.

The state of a slot is a record of 8-byte words. A row is done by the kernel when its key's state lies in
words, none of its columns is null, and the function does with it only what compiled code does exactly as
Python; at any other row the kernel stops, says which, and goes on behind it later. Nothing of such a row has
been written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamlib.kernels._jit import Kernel, generated
from streamlib.state.steps.step_definition import Definition, definition_of
from streamlib.state.steps.step_source import FunctionLines
from streamlib.state.steps.step_values import (
    BOOL,
    FLOAT,
    INT,
    NONE,
    TUPLE,
    NotCompiled,
    Value,
    described,
    named,
    shape_of,
    shape_of_python,
    together,
)

SIGNATURE = "int64(int64, int64, int64[::1])"
_TRIES_MAX = 5

# The call block.
CALL_SLOTS = 0
CALL_STATE = 1
CALL_ODD = 2  # a byte per slot: whether its state is no words
CALL_FRESH = 3  # 0, or a byte per row: whether its key begins anew
CALL_SKIP = 4  # 0, or a byte per row: whether it is Python's anyway
CALL_TEMPLATE = 5  # the words of a key without rows
CALL_TEMPLATE_ODD = 6
CALL_COLUMNS = 7  # the words of each column, then the values of each output, then the flags of each output


@dataclass(frozen=True, slots=True)
class OutputKind:
    """An output column as a kernel writes it.

    Attributes:
        kind: INT, FLOAT or BOOL.
        low, high: the range of whole numbers.
    """

    kind: str
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True)
class StepKernel:
    """A translated step.

    Attributes:
        rows: the kernel ``rows(first, end, call)``; returns the first row that is Python's, or `end`.
        state: the shape of states that lie in words.
        starts: whether the state of a key without rows is of that shape.
        gives: for each output whether it may be None.
        notes: what of it is done in Python all the same.
        source: the lines.
    """

    rows: Kernel[..., int]
    state: Value
    starts: bool
    gives: tuple[bool, ...]
    notes: tuple[str, ...]
    source: str

    @property
    def width(self) -> int:
        """Words of a state."""
        return len(list(self.state.leaves()))


def step_kernel(
    function: Any,
    columns: Mapping[str, str],
    keywords: Mapping[str, Any],
    init: Any,
    outputs: Sequence[OutputKind],
    folds: bool = False,
) -> StepKernel:
    """Translates a step function.

    Args:
        function: ``step(state, *columns) -> (new state, output)``.
        columns: kinds of the columns by parameter, in the order in which the kernel is given them.
        keywords: values of parameters that are no columns.
        init: the state of a key without rows.
        outputs: the columns it gives.
        folds: whether it returns the new state alone, which has the values of the columns.

    Raises:
        NotCompiled: it cannot be translated.
    """
    shape = shape_of_python(init)
    if shape is None:
        raise NotCompiled("the state is no number, bool or tuple of them")
    definition = definition_of(function)
    initial = shape
    for _ in range(_TRIES_MAX):
        body = _Body(definition, columns, keywords, shape, outputs, folds)
        following = body.following()
        if following == shape:
            break
        shape = following
    else:
        raise NotCompiled(
            f"the state is {described(initial)} and becomes {described(shape)}: it never settles"
        )
    if not body.fitting:
        raise NotCompiled("no way through it returns a state that is like the one before")
    notes = list(body.notes)
    if initial != shape:
        notes.insert(
            0, f"the first row of a key, as init= is {described(initial)} and then {described(shape)}"
        )
    source = body.source()
    return StepKernel(
        generated("scan_rows", source, SIGNATURE, "streamlib.state.steps.step_kernel"),
        shape,
        initial == shape,
        tuple(body.gives),
        tuple(notes),
        source,
    )


class _Body:
    """One translation, for states of one shape."""

    def __init__(
        self,
        definition: Definition,
        columns: Mapping[str, str],
        keywords: Mapping[str, Any],
        state: Value,
        outputs: Sequence[OutputKind],
        folds: bool,
    ) -> None:
        self.columns, self.state, self.outputs, self.folds = columns, state, outputs, folds
        self.gives = [False] * len(outputs)
        self.notes: list[str] = []
        self.states: list[Value] = []
        self.fitting = 0
        arguments = definition.node.args
        first = [*arguments.posonlyargs, *arguments.args][0].arg
        variables = {first: named(state, "state")}
        variables |= {name: Value(kind, f"c_{place}") for place, (name, kind) in enumerate(columns.items())}
        constants = {**definition.constants, **keywords}
        self.lines = FunctionLines(constants, variables, self._give)
        self.lines.local -= set(keywords) - set(variables)
        self.lines.depth = 1
        self.lines.function(definition.node)

    def following(self) -> Value:
        """The shape of states after a row: where ways differ, that with a float, or that before."""
        found: Value | None = None
        for state in self.states:
            found = state if found is None else _wider(found, state)
        if found is None:
            raise NotCompiled("it never returns a state of numbers")
        if not all(together(found, state) for state in self.states) and any(
            state == self.state for state in self.states
        ):
            return self.state
        return found

    def _give(self, lines: FunctionLines, value: Value, line: int) -> None:
        """What a `return` becomes: all tests, then all that is written."""
        if self.folds:
            value = Value(TUPLE, items=(value, value))
        if value.kind != TUPLE or len(value.items) != 2:
            self._in_python(lines, f"line {line}, which does not return (state, output)")
            return
        state, output = value.items
        given = [output] if len(self.outputs) == 1 else list(output.items)
        if any(leaf.kind == NONE or leaf.there for leaf in state.leaves()):
            self._in_python(lines, f"line {line}, where the state has a None")
            return
        self.states.append(shape_of(state))
        if shape_of(state) != self.state:
            self._in_python(lines, f"line {line}, where the state is {described(shape_of(state))}")
            return
        if len(given) != len(self.outputs):
            self._in_python(lines, f"line {line}, which returns no tuple of {len(self.outputs)} outputs")
            return
        writes: list[str] = []
        for place, (item, kind) in enumerate(zip(given, self.outputs, strict=True)):
            made = self._output(lines, place, item, kind)
            if made is None:
                self._in_python(
                    lines, f"line {line}, where output {place + 1} is {described(shape_of(item))}"
                )
                return
            writes += [] if self.folds else made
        self.fitting += 1
        for word, leaf in enumerate(state.leaves()):
            store = "store_f64" if leaf.kind == FLOAT else "store_i64"
            text = f"np.int64({leaf.text})" if leaf.kind == BOOL else leaf.text
            writes.append(f"{store}(record, {word}, {text})")
        lines.emit(*writes, "return True")

    def _output(self, lines: FunctionLines, place: int, item: Value, kind: OutputKind) -> list[str] | None:
        """Lines that write an output; those that test it are there already."""
        if item.kind == NONE:
            self.gives[place] = True
            return [f"store_u8(there_{place}, at, 0)", f"store_i64(out_{place}, at, 0)"]
        fits = item.kind == kind.kind or (item.kind == INT and kind.kind == FLOAT)
        if item.kind == TUPLE or not fits:
            return None
        text = item.text
        if item.kind == INT:
            guard = f"not {item.there} or " if item.there else ""
            if kind.kind == FLOAT:
                lines.require(f"{guard}-9007199254740992 <= {text} <= 9007199254740992")
                text = f"float({text})"
            elif (kind.low, kind.high) != (-(2**63), 2**63 - 1):
                lines.require(f"{guard}{kind.low} <= {text} <= {kind.high}")
        elif item.kind == BOOL:
            text = f"np.int64({text})"
        store = "store_f64" if kind.kind == FLOAT else "store_i64"
        written = [f"{store}(out_{place}, at, {text})"]
        if item.there:
            self.gives[place] = True
            written.append(f"store_u8(there_{place}, at, 1 if {item.there} else 0)")
        else:
            written.append(f"%there {place}%")  # whether flags are needed is known at the end
        return written

    def _in_python(self, lines: FunctionLines, what: str) -> None:
        self.notes.append(what)
        lines.hand_over()

    def source(self) -> str:
        """The module."""
        body: list[str] = []
        for line in self.lines.lines:
            text = line.strip()
            if text.startswith("%there"):
                place = int(text.strip("%").split()[1])
                if self.gives[place]:
                    body.append(f"{line[: len(line) - len(text)]}store_u8(there_{place}, at, 1)")
            else:
                body.append(line)
        kinds = list(self.columns.values())
        outputs = range(0 if self.folds else len(self.outputs))
        outs, theres = [f"out_{place}" for place in outputs], [f"there_{place}" for place in outputs]
        columns = [f"column_{place}" for place in range(len(kinds))]
        loads = [
            f"    c_{place} = {_load(f'column_{place}', 'at', kind)}" for place, kind in enumerate(kinds)
        ]
        leaves = list(named(self.state, "state").leaves())
        loads += [
            f"    {leaf.text} = {_load('record', str(word), leaf.kind)}" for word, leaf in enumerate(leaves)
        ]
        arguments = ", ".join(["record", "at", *columns, *outs, *theres])
        slots = [*columns, *outs, *theres]
        return "\n".join(
            [
                '"""Generated by streamlib.state.steps.step_kernel."""',
                "",
                "import math",
                "",
                "import numpy as np",
                "",
                "from streamlib.kernels._jit import inline",
                "from streamlib.kernels.exact import float_floor_divide, float_modulo",
                "from streamlib.kernels.memory import load_f64, load_i64, load_u8, store_f64, store_i64, store_u8",
                "",
                "",
                "@inline",
                f"def step({arguments}):",
                *loads,
                *body,
                "",
                "",
                "def scan_rows(first, end, call):",
                f"    slots, states, odd = call[{CALL_SLOTS}], call[{CALL_STATE}], call[{CALL_ODD}]",
                f"    fresh, skip = call[{CALL_FRESH}], call[{CALL_SKIP}]",
                f"    template, template_odd = call[{CALL_TEMPLATE}], call[{CALL_TEMPLATE_ODD}]",
                *(f"    {name} = call[{CALL_COLUMNS + place}]" for place, name in enumerate(slots)),
                "    for at in range(first, end):",
                "        slot = load_i64(slots, at)",
                f"        record = states + slot * {8 * len(leaves)}",
                "        if fresh != 0 and load_u8(fresh, at) != 0:",
                f"            for word in range({len(leaves)}):",
                "                store_i64(record, word, load_i64(template, word))",
                "            store_u8(odd, slot, template_odd)",
                "        if load_u8(odd, slot) != 0:",
                "            return at",
                "        if skip != 0 and load_u8(skip, at) != 0:",
                "            return at",
                f"        if not step({arguments}):",
                "            return at",
                "    return end",
                "",
            ]
        )


def _load(base: str, index: str, kind: str) -> str:
    if kind == FLOAT:
        return f"load_f64({base}, {index})"
    return f"load_i64({base}, {index})" + (" != 0" if kind == BOOL else "")


def _wider(one: Value, other: Value) -> Value:
    """The shape with a float where one of them has it."""
    if one.kind == TUPLE and other.kind == TUPLE and len(one.items) == len(other.items):
        items = tuple(_wider(a, b) for a, b in zip(one.items, other.items, strict=True))
        return Value(TUPLE, items=items)
    return other if other.kind == FLOAT else one
