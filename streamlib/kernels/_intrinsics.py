"""The compiled forms of `streamlib.kernels.memory`, by the same names. Imported with the first kernel.

Indexed loads go through a pointer that is made once from `base` (a GEP on it), so that LLVM sees a
strided access and vectorises loops over them. Pairs of words are vectors: where a row changes a dozen words,
loads and stores are what it waits for.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

_POINTER = ir.PointerType()


def _pointer(builder: Any, base: Any, index: Any, item: ir.Type) -> Any:
    pointer = builder.inttoptr(base, _POINTER)
    return builder.gep(pointer, [index], source_etype=item)


def _loader(stored: ir.Type, result: types.Type) -> Any:
    def typing(context: Any, base: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(_pointer(builder, args[0], args[1], stored), align=1, typ=stored)
            if isinstance(stored, ir.IntType) and stored.width < 64:
                widen = builder.sext if result is types.int64 else builder.zext
                value = widen(value, ir.IntType(64))
            return value

        return result(types.int64, types.int64), build

    return intrinsic(typing)


def _storer(stored: ir.Type, accepted: types.Type) -> Any:
    def typing(context: Any, base: Any, index: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = args[2]
            if isinstance(stored, ir.IntType) and stored.width < 64:
                value = builder.trunc(value, stored)
            builder.store(value, _pointer(builder, args[0], args[1], stored), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, accepted), build

    return intrinsic(typing)


def _pair(builder: Any, item: ir.Type, first: Any, second: Any) -> Any:
    """A vector of two words."""
    int32, kind = ir.IntType(32), ir.VectorType(item, 2)
    half = builder.insert_element(ir.Constant(kind, ir.Undefined), first, ir.Constant(int32, 0))
    return builder.insert_element(half, second, ir.Constant(int32, 1))


def _pair_storer(comparison: str) -> Any:
    def typing(context: Any, base: Any, index: Any, first: Any, second: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            int64 = ir.IntType(64)
            pointer = _pointer(builder, args[0], args[1], int64)
            kept = builder.load(pointer, align=1, typ=ir.VectorType(int64, 2))
            before = builder.extract_element(kept, ir.Constant(ir.IntType(32), 0))
            chosen = builder.icmp_signed(
                comparison, _pair(builder, int64, args[2], args[2]), _pair(builder, int64, before, before)
            )
            builder.store(builder.select(chosen, _pair(builder, int64, *args[2:]), kept), pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, types.int64), build

    return intrinsic(typing)


def _lanes(builder: Any, *values: Any) -> Any:
    """A vector of four words."""
    made = ir.Constant(ir.VectorType(ir.IntType(64), 4), ir.Undefined)
    for place, value in enumerate(values):
        made = builder.insert_element(made, value, ir.Constant(ir.IntType(32), place))
    return made


def _row_storer(beyond: str, within: str) -> Any:
    """Compares the first two of four words, the first by `beyond` and where it is equal the second by `within`."""

    def typing(context: Any, base: Any, index: Any, time: Any, order: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            int64 = ir.IntType(64)
            time, order, value = args[2:]
            pointer = _pointer(builder, args[0], args[1], int64)
            kept = builder.load(pointer, align=1, typ=ir.VectorType(int64, 4))
            parts = [builder.extract_element(kept, ir.Constant(ir.IntType(32), part)) for part in (0, 1)]
            kept_time, kept_order = (_lanes(builder, part, part, part, part) for part in parts)
            times, orders = (_lanes(builder, part, part, part, part) for part in (time, order))
            nearer = builder.icmp_signed(beyond, times, kept_time)
            tied = builder.icmp_signed("==", times, kept_time)
            chosen = builder.or_(nearer, builder.and_(tied, builder.icmp_signed(within, orders, kept_order)))
            given = _lanes(builder, time, order, value, ir.Constant(int64, 0))
            builder.store(builder.select(chosen, given, kept), pointer, align=1)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), build

    return intrinsic(typing)


load_i64 = _loader(ir.IntType(64), types.int64)
load_u64 = _loader(ir.IntType(64), types.uint64)
load_f64 = _loader(ir.DoubleType(), types.float64)
load_i32 = _loader(ir.IntType(32), types.int64)
load_u8 = _loader(ir.IntType(8), types.uint64)
store_i64 = _storer(ir.IntType(64), types.int64)
store_u64 = _storer(ir.IntType(64), types.uint64)
store_f64 = _storer(ir.DoubleType(), types.float64)
store_i32 = _storer(ir.IntType(32), types.int64)
store_u8 = _storer(ir.IntType(8), types.uint64)
store_pair_if_less = _pair_storer("<")
store_pair_unless_less = _pair_storer(">=")
store_row_if_before = _row_storer("<", "<")
store_row_unless_before = _row_storer(">", ">=")


@intrinsic
def store_f64_pair(typing_context: Any, base: Any, index: Any, first: Any, second: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(builder, args[0], args[1], ir.DoubleType())
        builder.store(_pair(builder, ir.DoubleType(), *args[2:]), pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64, types.float64), build


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        int32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, int32, int32, int32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [_POINTER], kind)
        flags = [ir.Constant(int32, flag) for flag in (1, 3, 1)]  # for writing, keep, data cache
        builder.call(function, [builder.inttoptr(args[0], _POINTER), *flags])
        return context.get_dummy_value()

    return types.void(types.int64), build


@intrinsic
def fold(typing_context: Any, a: Any, b: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        int64, int128 = ir.IntType(64), ir.IntType(128)
        product = builder.mul(builder.zext(args[0], int128), builder.zext(args[1], int128))
        high = builder.trunc(builder.lshr(product, ir.Constant(int128, 64)), int64)
        return builder.xor(builder.trunc(product, int64), high)

    return types.uint64(types.uint64, types.uint64), build


@intrinsic
def match_bytes(typing_context: Any, address: Any, byte: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = ir.VectorType(ir.IntType(8), 64)
        found = builder.load(builder.inttoptr(args[0], _POINTER), align=1, typ=line)
        one = builder.insert_element(
            ir.Constant(line, ir.Undefined),
            builder.trunc(args[1], ir.IntType(8)),
            ir.Constant(ir.IntType(32), 0),
        )
        places = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        wanted = builder.shuffle_vector(one, ir.Constant(line, ir.Undefined), places)
        return builder.bitcast(builder.icmp_unsigned("==", found, wanted), ir.IntType(64))

    return types.uint64(types.int64, types.int64), build


@intrinsic
def count_bits(typing_context: Any, word: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), build
