"""The states of keys, by slot: in words where a kernel works on them, else as Python values.

Each key is in one form or the other: one whose state is no longer like the others', because a whole number
left 64 bits or the function returned something else, is Python's until it is like them again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.kernels.columns import values_of
from streamlib.state.pane import address
from streamlib.state.slots import SlotColumn
from streamlib.state.steps.python_text import classes_of, of_text, to_text
from streamlib.state.steps.step_values import (
    BOOL,
    FLOAT,
    INT,
    Value,
    flat,
    named,
    rebuilt,
    shape_of_python,
)

Int64s = npt.NDArray[np.int64]

_MISSING = object()
_ARROW = {FLOAT: pa.float64(), INT: pa.int64(), BOOL: pa.bool_()}
_ATOMS = (type(None), bool, int, float, str, bytes)


class StepStates:
    """States by slot.

    Args:
        init: the state of a key without rows.
        shape: that of states which lie in words; None to keep all of them as Python values.
    """

    def __init__(self, init: Any, shape: Value | None) -> None:
        self.init = init
        self.shape = shape
        self.classes = classes_of(init)
        self.copies = not is_fixed(init)
        self.leaves = [] if shape is None else list(named(shape, "state").leaves())
        self.width = max(1, len(self.leaves))
        self.template = np.zeros(self.width, dtype=np.int64)
        self.starts_odd = shape is None or shape_of_python(init) != shape
        if not self.starts_odd:
            self.template[:] = self._words(init)
        self._words_by_slot = self._rows(64)
        self._odd = SlotColumn(np.uint8, int(self.starts_odd))
        self._objects: dict[int, Any] = {}

    @property
    def nbytes(self) -> int:
        """Bytes reserved for words."""
        return self._words_by_slot.nbytes

    def words(self, slots: int) -> Int64s:
        """The records of the first `slots` slots, to read and to write."""
        have = len(self._words_by_slot)
        if slots > have:
            grown = self._rows(max(slots, 2 * have))
            grown[:have] = self._words_by_slot
            self._words_by_slot = grown
        return self._words_by_slot

    def odd(self, slots: int) -> npt.NDArray[np.uint8]:
        """By slot, 1 where its state is a Python value."""
        return self._odd.upto(slots)

    def begin(self) -> Any:
        """The state of a key without rows, a copy where it could be changed."""
        return copy.deepcopy(self.init) if self.copies else self.init

    def get(self, slot: int, fresh: bool) -> Any:
        """The state of a slot; `fresh`: its key begins anew."""
        if fresh:
            return self.begin()
        if self._odd.upto(slot + 1)[slot]:
            found = self._objects.get(slot, _MISSING)
            return self.begin() if found is _MISSING else found
        assert self.shape is not None, "without words every state is a Python value"
        return rebuilt(self.shape, self._values(self.words(slot + 1)[slot : slot + 1]))

    def put(self, slot: int, state: Any) -> None:
        """Keeps the state of a slot."""
        odd = self._odd.upto(slot + 1)
        if self.shape is not None and shape_of_python(state) == self.shape:
            self.words(slot + 1)[slot] = self._words(state)
            self._objects.pop(slot, None)
            odd[slot] = 0
        else:
            self._objects[slot] = state
            odd[slot] = 1

    def forget(self, slots: Int64s) -> None:
        """These keys are as without rows."""
        if len(slots):
            upto = int(slots.max()) + 1
            self.words(upto)[slots] = self.template
            self._odd.upto(upto)[slots] = self.starts_odd
        if self._objects:
            for slot in slots.tolist():
                self._objects.pop(slot, None)

    def renumber(self, live: Int64s) -> None:
        """Slots get new numbers: `live` are 0, 1, 2 and so on from now."""
        kept = self.words(int(live.max(initial=-1)) + 1)[live]
        self._words_by_slot = self._rows(max(64, 2 * len(kept)))
        self._words_by_slot[: len(kept)] = kept
        self._odd.keep(live)
        places = {slot: place for place, slot in enumerate(live.tolist())} if self._objects else {}
        self._objects = {places[slot]: state for slot, state in self._objects.items() if slot in places}

    # Checkpoints.

    def save(self, slots: Int64s) -> pa.Table:
        """The states of some slots: a column per number, and text for those that are no such numbers.

        Raises:
            NoText: a state holds a value that is not kept.
        """
        upto = int(slots.max(initial=-1)) + 1
        records, odd = self.words(upto)[slots], self._odd.upto(upto)[slots] != 0
        columns: dict[str, pa.Array] = {}
        for place, leaf in enumerate(self.leaves):
            words = np.ascontiguousarray(records[:, place])
            values = words.view(np.float64) if leaf.kind == FLOAT else words
            numbers = pa.array(values != 0 if leaf.kind == BOOL else values, from_pandas=False)
            if odd.any():
                numbers = pa.array(np.asarray(numbers.to_numpy(zero_copy_only=False)), mask=odd)
            columns[_column_of(leaf)] = numbers.cast(_ARROW[leaf.kind])
        texts = [
            to_text(self.get(slot, False), self.classes) if is_odd else None
            for slot, is_odd in zip(slots.tolist(), odd.tolist(), strict=True)
        ]
        columns["state_text"] = pa.array(texts, pa.large_string())
        return pa.table(columns)

    def load(self, slots: Int64s, saved: pa.Table) -> None:
        """Takes in what `save` gave of such slots, whatever the function was like then.

        Raises:
            NoText: a text is not one that `save` makes here.
        """
        upto = int(slots.max(initial=-1)) + 1
        # A name that was taken by a key has got underscores behind it.
        saved = saved.rename_columns([name.rstrip("_") for name in saved.column_names])
        names = saved.column_names[:-1]
        texts = saved.column(saved.num_columns - 1).to_pylist()
        same = names == [_column_of(leaf) for leaf in self.leaves] and saved.schema.types[:-1] == [
            _ARROW[leaf.kind] for leaf in self.leaves
        ]
        if same and self.leaves:
            records, odd = self.words(upto), self._odd.upto(upto)
            for place, column in enumerate(saved.columns[:-1]):
                values = column.combine_chunks().fill_null(False if column.type == pa.bool_() else 0)
                records[slots, place] = (
                    np.ascontiguousarray(values_of(values))
                    .astype(np.float64 if column.type == pa.float64() else np.int64)
                    .view(np.int64)
                )
            odd[slots] = 0
        rows = saved.select(names).to_pylist() if names and not same else []
        for place, (slot, text) in enumerate(zip(slots.tolist(), texts, strict=True)):
            if text is not None:
                self.put(slot, of_text(text, self.classes))
            elif rows:
                self.put(slot, _rebuilt_by_name(rows[place]))

    def columns(self, slots: Int64s) -> list[pa.Array] | None:
        """The numbers of some slots' states, column by column; None where one of them is no such numbers."""
        upto = int(slots.max(initial=-1)) + 1
        if not self.leaves or self._odd.upto(upto)[slots].any():
            return None
        records = self.words(upto)[slots]
        found = []
        for place, leaf in enumerate(self.leaves):
            words = np.ascontiguousarray(records[:, place])
            values = words.view(np.float64) if leaf.kind == FLOAT else words
            found.append(pa.array(values != 0 if leaf.kind == BOOL else values, from_pandas=False))
        return found

    def fields(self) -> list[pa.Field]:
        """The columns of `save`."""
        found = [pa.field(_column_of(leaf), _ARROW[leaf.kind]) for leaf in self.leaves]
        return [*found, pa.field("state_text", pa.large_string())]

    def _rows(self, count: int) -> Int64s:
        made = np.empty((count, self.width), dtype=np.int64)
        made[:] = self.template
        return made

    def _words(self, state: Any) -> Int64s:
        words = np.empty(len(self.leaves), dtype=np.int64)
        for place, (leaf, number) in enumerate(zip(self.leaves, flat(state), strict=True)):
            words[place : place + 1].view(np.float64 if leaf.kind == FLOAT else np.int64)[0] = number
        return words

    def _values(self, record: Int64s) -> Iterator[Any]:
        words, floats = record[0].tolist(), record.view(np.float64)[0].tolist()
        for place, leaf in enumerate(self.leaves):
            if leaf.kind == FLOAT:
                yield floats[place]
            else:
                yield bool(words[place]) if leaf.kind == BOOL else words[place]

    def addresses(self, slots: int) -> tuple[int, int, int, int]:
        """For the kernel: of the records, of what is odd, of the template, and whether that is odd."""
        words, odd = self.words(slots), self._odd.upto(slots)
        return address(words), address(odd), address(self.template), int(self.starts_odd)


def _column_of(leaf: Value) -> str:
    """The name of a number's column: ``state``, or ``state_0``, ``state_1`` and so on."""
    return leaf.text


def _rebuilt_by_name(row: dict[str, Any]) -> Any:
    """The state of a row of columns ``state``, or ``state_0``, ``state_1_0`` and so on."""
    if "state" in row:
        return row["state"]
    tree: dict[int, Any] = {}
    for name, number in row.items():
        places = [int(part) for part in name.split("_")[1:]]
        level = tree
        for place in places[:-1]:
            level = level.setdefault(place, {})
        level[places[-1]] = number
    return _as_tuple(tree)


def _as_tuple(tree: Any) -> Any:
    return tuple([_as_tuple(tree[place]) for place in sorted(tree)]) if isinstance(tree, dict) else tree


def is_fixed(value: Any) -> bool:
    """Whether nothing can change the value."""
    return isinstance(value, _ATOMS) or (type(value) is tuple and all(map(is_fixed, value)))
