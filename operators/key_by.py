"""`key_by`: says which rows belong together. Rows move only before a step that keeps state by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from streamlib.contracts import Operator
from streamlib.elements import Batch
from streamlib.errors import BuildError, TypeMismatchError
from streamlib.graph import BuildContext, LostKeys, Node


@dataclass(frozen=True, eq=False, kw_only=True)
class KeyByNode(Node):
    """Sets the key columns. A null key is a key; all NaN are one key.

    Attributes:
        columns: columns of the input, in order; none for a keyed stream whose rows are one from here.
    """

    kind: ClassVar[str] = "key_by"
    columns: tuple[str, ...]

    def derive_schema(self) -> pa.Schema:
        if not self.columns and not self.inputs[0].keys and self.inputs[0].lost is None:
            raise BuildError(
                "key_by was given no column", hint="without keys leave key_by out: the window spans all rows"
            )
        for name in self.columns:
            if not isinstance(name, str):
                raise BuildError(
                    "key_by needs names of columns",
                    got=f"{type(name).__name__}",
                    hint="give them one by one, or as *names"
                    if isinstance(name, list | tuple)
                    else "give an expression a name: key_by(k=...)",
                )
        self.require_columns(self.columns)
        if len(set(self.columns)) < len(self.columns):
            raise BuildError("key_by was given a column twice", got=", ".join(self.columns))
        return self.inputs[0].schema

    def derive_keys(self) -> tuple[str, ...]:
        return self.columns

    def derive_lost(self) -> LostKeys | None:
        return None

    def validate(self) -> None:
        for name in self.columns:
            kind = self.schema.field(name).type
            if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind):
                raise TypeMismatchError(
                    f"column {name!r} cannot be a key",
                    expected="numbers, strings, binary, booleans, times or decimals",
                    got=str(kind),
                )

    def describe(self) -> str:
        return ", ".join(self.columns)

    def needs(self, wanted: frozenset[str] | None) -> Sequence[frozenset[str] | None]:
        return [None if wanted is None else wanted | set(self.columns)]

    def build(self, context: BuildContext) -> Operator:
        return PassOperator()


class PassOperator(Operator):
    """Yields its batches as they are."""

    def on_batch(self, batch: Batch, side: int = 0) -> Sequence[Batch]:
        """Yields the batch."""
        return (batch,)
