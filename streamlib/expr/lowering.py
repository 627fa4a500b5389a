"""Arithmetic, comparison and logic as calls of pyarrow kernels.

Integers use the checked kernels: an overflow is an error, never a wrong number. Floats follow IEEE.
A division or remainder of integers by zero is null; `/` is always a float, as in Polars.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt

from streamlib.expr.program import Builder, Operand, UnsupportedError, type_name
from streamlib.expr.promote import (
    adapt,
    duration_operand,
    is_number,
    is_text,
    is_time,
    meet,
    same_zone,
)

_EXACT = {"+": "add_checked", "-": "subtract_checked", "*": "multiply_checked"}
_FLOAT = {"+": "add", "-": "subtract", "*": "multiply"}
_COMPARE = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_LOGIC = {
    "&": ("and_kleene", "bit_wise_and"),
    "|": ("or_kleene", "bit_wise_or"),
    "^": ("xor", "bit_wise_xor"),
}


def arithmetic(builder: Builder, operator: str, left: Operand, right: Operand) -> Operand:
    """`left operator right` for one of ``+ - * / // % **``."""
    left, right = _decoded(builder, left), _decoded(builder, right)
    left, right = _numbers_of_bools(builder, left, right)
    if _temporal(left) or _temporal(right):
        return _time_arithmetic(builder, operator, left, right)
    if operator == "+" and is_text(left.type) and is_text(right.type):
        left, right = meet(builder, left, right)
        return builder.kernel(
            "binary_join_element_wise", left, right, adapt(builder, _empty_text(builder), left.type)
        )
    for side in (left, right):
        if not (is_number(side.type) or pt.is_null(side.type)):
            raise UnsupportedError(f"{operator} takes numbers, not {type_name(side.type)}")
    if operator == "/":
        return divide(builder, left, right)
    if operator == "**":
        return power(builder, left, right)
    left, right = meet(builder, left, right)
    if operator == "//":
        return floor_divide(builder, left, right)
    if operator == "%":
        return floor_modulo(builder, left, right)
    floating = pt.is_floating(left.type) and pt.is_floating(right.type)
    return builder.kernel((_FLOAT if floating else _EXACT)[operator], left, right)


def divide(builder: Builder, left: Operand, right: Operand) -> Operand:
    """True division: float64, or float32 of float32; by zero inf or nan."""
    left, right = meet(builder, left, right)
    if not (pt.is_floating(left.type) and pt.is_floating(right.type)):
        left, right = _to_float(builder, left), _to_float(builder, right)
    return builder.kernel("divide", left, right)


def _to_float(builder: Builder, number: Operand) -> Operand:
    return builder.cast(number, pa.float64(), safe=False)


def floor_divide(builder: Builder, left: Operand, right: Operand) -> Operand:
    """Division rounded down; of integers by zero null."""
    if pt.is_floating(left.type):
        return builder.kernel("floor", builder.kernel("divide", left, right))
    _refuse_decimals(left, right, "//")
    right = _null_where_zero(builder, right)
    quotient = builder.kernel("divide_checked", left, right)
    if not pt.is_signed_integer(quotient.type):
        return quotient
    rest = builder.kernel("subtract", left, builder.kernel("multiply", quotient, right))
    excess = builder.cast(_wrong_sign(builder, rest, right), quotient.type)
    return builder.kernel("subtract", quotient, excess)


def floor_modulo(builder: Builder, left: Operand, right: Operand) -> Operand:
    """The remainder with the divisor's sign, as in Python; of integers by zero null."""
    if pt.is_floating(left.type):
        whole = builder.kernel("floor", builder.kernel("divide", left, right))
        return builder.kernel("subtract", left, builder.kernel("multiply", whole, right))
    _refuse_decimals(left, right, "%")
    right = _null_where_zero(builder, right)
    signed = bool(pt.is_signed_integer(right.type))
    if signed:  # x % -1 is x % 1, and the least integer divided by -1 would overflow
        one, minus_one = (builder.constant(pa.scalar(n, right.type)) for n in (1, -1))
        right = builder.kernel("if_else", builder.kernel("equal", right, minus_one), one, right)
    quotient = builder.kernel("divide", left, right)
    rest = builder.kernel("subtract", left, builder.kernel("multiply", quotient, right))
    if not signed:
        return rest
    wrong = _wrong_sign(builder, rest, right)
    return builder.kernel("if_else", wrong, builder.kernel("add", rest, right), rest)


def _wrong_sign(builder: Builder, rest: Operand, divisor: Operand) -> Operand:
    """Where a division was rounded towards zero, as Arrow does, and not down."""
    zero = _zero(builder, rest.type)
    if divisor.constant is not None and divisor.constant.is_valid:
        return builder.kernel("less" if divisor.constant.as_py() > 0 else "greater", rest, zero)
    opposite = builder.kernel(
        "xor", builder.kernel("less", rest, zero), builder.kernel("less", divisor, zero)
    )
    return builder.kernel("and", opposite, builder.kernel("not_equal", rest, zero))


def power(builder: Builder, left: Operand, right: Operand) -> Operand:
    """`left ** right`; integers stay integers unless the exponent is a negative constant."""
    negative = right.constant is not None and pt.is_integer(right.type) and (right.constant.as_py() or 0) < 0
    left, right = meet(builder, left, right)
    _refuse_decimals(left, right, "**")
    if negative:
        left, right = _to_float(builder, left), _to_float(builder, right)
    return builder.kernel("power" if pt.is_floating(left.type) else "power_checked", left, right)


def negate(builder: Builder, value: Operand) -> Operand:
    """`-value`; an unsigned integer has no negative."""
    if pt.is_unsigned_integer(value.type):
        raise UnsupportedError("an unsigned integer has no negative; cast it to int64 first")
    return builder.kernel("negate" if pt.is_floating(value.type) else "negate_checked", value)


def absolute(builder: Builder, value: Operand) -> Operand:
    """`abs(value)`."""
    return builder.kernel("abs" if pt.is_floating(value.type) else "abs_checked", value)


def compare(builder: Builder, operator: str, left: Operand, right: Operand) -> Operand:
    """`left operator right`; null where either is null, NaN equal to nothing."""
    left, right = _numbers_of_bools(builder, left, right)
    left, right = meet(builder, left, right)
    if is_time(left.type) and is_time(right.type):
        left, right = same_zone(builder, left, right)
    kinds = {kind_of(left.type), kind_of(right.type)} - {"null"}
    if len(kinds) > 1:
        raise UnsupportedError(_comparison_hint(kinds))
    if _signed_and_uint64(left.type, right.type):
        wide = pa.decimal128(20)  # the kernel's own choice, int64, does not hold every uint64
        left, right = builder.cast(left, wide), builder.cast(right, wide)
    return builder.kernel(_COMPARE[operator], left, right)


def logic(builder: Builder, operator: str, left: Operand, right: Operand) -> Operand:
    """`left operator right` for ``& | ^``: Kleene's rules for null; integers bit by bit."""
    left, right = meet(builder, left, right)
    kleene, bitwise = _LOGIC[operator]
    if pt.is_integer(left.type) and pt.is_integer(right.type):
        return builder.kernel(bitwise, left, right)
    for side in (left, right):
        if not (pt.is_boolean(side.type) or pt.is_null(side.type)):
            raise UnsupportedError("put each comparison in parentheses: (a > 1) & (b > 2)")
    return builder.kernel(kleene, builder.cast(left, pa.bool_()), builder.cast(right, pa.bool_()))


def invert(builder: Builder, value: Operand) -> Operand:
    """`~value`: not, or the flipped bits of an integer."""
    return builder.kernel("bit_wise_not" if pt.is_integer(value.type) else "invert", value)


def first_valid(builder: Builder, inputs: list[Operand]) -> Operand:
    """The first of the inputs that is not null, in the type that all of them meet in."""
    return builder.kernel("coalesce", *alike(builder, inputs))


def alike(builder: Builder, inputs: list[Operand]) -> list[Operand]:
    """The inputs in the type that all of them meet in.

    Raises:
        UnsupportedError: they are of different kinds.
    """
    typed = [i for i in inputs if not i.free] or inputs
    result = typed[0]
    for other in typed[1:]:
        result, _ = meet(builder, result, other)
    met = [adapt(builder, i, result.type) if i.free else i for i in inputs]
    for other in met:
        result, _ = meet(builder, result, other)
    kinds = {kind_of(i.type) for i in met} - {"null"}
    if len(kinds) > 1:
        raise UnsupportedError("all of them must be of one kind; cast one of them")
    return [meet(builder, i, result)[0] for i in met]


def _time_arithmetic(builder: Builder, operator: str, left: Operand, right: Operand) -> Operand:
    if operator in "+-" and right.free and is_text(right.type):
        right = duration_operand(builder, right, getattr(left.type, "unit", "us"))
    elif operator == "+" and left.free and is_text(left.type):
        left = duration_operand(builder, left, getattr(right.type, "unit", "us"))
    if operator in "+-" and (pt.is_null(left.type) or pt.is_null(right.type)):
        raise UnsupportedError("say the type of the null: lit(None).cast(...)")
    left, right = (
        adapt(builder, left, right.type) if left.free and _temporal(left) else left,
        adapt(builder, right, left.type) if right.free and _temporal(right) else right,
    )
    if operator == "-" and is_time(left.type) and is_time(right.type):
        left, right = same_zone(builder, left, right)
    if operator in _EXACT:
        return builder.kernel(_EXACT[operator], left, right)
    if operator == "/" and pt.is_duration(left.type) and pt.is_duration(right.type):
        return builder.kernel("divide", left, right)
    if operator == "/" and pt.is_duration(left.type) and pt.is_integer(right.type):
        return builder.kernel("divide_checked", left, _null_where_zero(builder, right))
    raise UnsupportedError("times go with + and -, durations also with * and /")


def _decoded(builder: Builder, value: Operand) -> Operand:
    return builder.cast(value, value.type.value_type) if pt.is_dictionary(value.type) else value


def _numbers_of_bools(builder: Builder, left: Operand, right: Operand) -> tuple[Operand, Operand]:
    """A truth value beside a number counts as 0 or 1."""
    if pt.is_boolean(left.type) and is_number(right.type):
        left = builder.cast(left, _counting_type(right))
    elif pt.is_boolean(right.type) and is_number(left.type):
        right = builder.cast(right, _counting_type(left))
    return left, right


def _counting_type(number: Operand) -> pa.DataType:
    return pa.int64() if number.free or pt.is_decimal(number.type) else number.type


def _null_where_zero(builder: Builder, divisor: Operand) -> Operand:
    nothing = builder.constant(pa.scalar(None, divisor.type))
    if divisor.constant is not None:
        return nothing if divisor.constant.as_py() == 0 else divisor
    is_zero = builder.kernel("equal", divisor, _zero(builder, divisor.type))
    return builder.kernel("if_else", is_zero, nothing, divisor)


def _zero(builder: Builder, data_type: pa.DataType) -> Operand:
    return builder.constant(pa.scalar(0, data_type))


def _empty_text(builder: Builder) -> Operand:
    return builder.constant(pa.scalar(""), free=True)


def _refuse_decimals(left: Operand, right: Operand, operator: str) -> None:
    if pt.is_decimal(left.type) or pt.is_decimal(right.type):
        raise UnsupportedError(f'{operator} does not work on decimals; cast("float64") first')


def _signed_and_uint64(left: pa.DataType, right: pa.DataType) -> bool:
    signed = pt.is_signed_integer(left) or pt.is_signed_integer(right)
    return bool(signed and (pt.is_uint64(left) or pt.is_uint64(right)))


def _temporal(operand: Operand) -> bool:
    return is_time(operand.type) or bool(pt.is_duration(operand.type))


def kind_of(data_type: pa.DataType) -> str:
    """What a type is compared with: number, text, time, binary, null, bool, or the type's own name."""
    if is_number(data_type):
        return "number"
    if is_text(data_type):
        return "text"
    if is_time(data_type):
        return "time"
    if pt.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if pt.is_binary(data_type) or pt.is_large_binary(data_type) or pt.is_fixed_size_binary(data_type):
        return "binary"
    return str(data_type) if pt.is_null(data_type) or pt.is_boolean(data_type) else type(data_type).__name__


def _comparison_hint(kinds: set[str]) -> str:
    if kinds == {"number", "text"}:
        return 'a number and a text never compare; cast one, such as .cast("float64")'
    if kinds == {"number", "time"}:
        return 'make the number a time first: sl.from_epoch(column, "ms")'
    return "they are of different kinds; cast one of them"
