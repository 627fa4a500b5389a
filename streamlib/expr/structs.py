"""`.struct`: methods of structs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.types as pt

from streamlib.errors import nearest_names
from streamlib.expr.named import Namespace, check_text
from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name

if TYPE_CHECKING:
    from streamlib.expr.expression import Expr


class Structs(Namespace):
    """The methods of a column of structs."""

    __slots__ = ()

    space = "struct"

    def field(self, name: str) -> Expr:
        """One field as a column; null where the struct is null.

        >>> import pyarrow as pa
        >>> from streamlib import col
        >>> rows = pa.record_batch({"order": [{"price": 2.5, "size": 10}, None]})
        >>> col("order").struct.field("price").evaluate(rows).to_pylist()
        [2.5, None]
        """
        return self._call("field", partial(_field, check_text(name, "the name of a field")), name)


def _field(name: str, builder: Builder, inputs: Sequence[Operand]) -> Operand:
    (value,) = inputs
    if not pt.is_struct(value.type):
        raise UnsupportedError(f".struct works on structs, not {type_name(value.type)}")
    names = [value.type.field(i).name for i in range(value.type.num_fields)]
    if name not in names:
        near = nearest_names(name, names)
        meant = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(names)}"
        raise UnsupportedError(f"the struct has no field {name!r}; {meant}")
    return builder.kernel("struct_field", value, options=pc.StructFieldOptions([names.index(name)]))
