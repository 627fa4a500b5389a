"""Column expressions: built by `col`, `lit` and operators, typed early, evaluated per batch by pyarrow.

A step plans its expressions once (`Program`) and evaluates them together; a single expression has
`type_in` and `evaluate`. See `expression` for the methods, `promote` for the rules of types,
`lowering` for those of arithmetic.
"""

from streamlib.expr.expression import AggExpr, Expr, to_expr
from streamlib.expr.functions import (
    agg,
    call,
    coalesce,
    col,
    concat_str,
    corr,
    count,
    cov,
    from_epoch,
    lit,
    named_exprs,
    struct,
    when,
)
from streamlib.expr.products import factors_of
from streamlib.expr.program import Program, refuse_aggregate
from streamlib.expr.type_names import parse_type

__all__ = [
    "AggExpr",
    "Expr",
    "Program",
    "agg",
    "call",
    "coalesce",
    "col",
    "concat_str",
    "corr",
    "count",
    "cov",
    "factors_of",
    "from_epoch",
    "lit",
    "named_exprs",
    "parse_type",
    "refuse_aggregate",
    "struct",
    "to_expr",
    "when",
]
