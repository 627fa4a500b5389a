"""Column expressions: built by `col`, `lit` and operators, typed early, evaluated per batch by pyarrow.

A step plans its expressions once (`Program`) and evaluates them together; a single expression has
`type_in` and `evaluate`. See `expression` for the methods, `promote` for the rules of types,
`lowering` for those of arithmetic.
"""

from streamlib.expr.expression import AggExpr, Expr, to_expr
from streamlib.expr.functions import call, coalesce, col, count, from_epoch, lit, named_exprs
from streamlib.expr.program import Program
from streamlib.expr.type_names import parse_type

__all__ = [
    "AggExpr",
    "Expr",
    "Program",
    "call",
    "coalesce",
    "col",
    "count",
    "from_epoch",
    "lit",
    "named_exprs",
    "parse_type",
    "to_expr",
]
