"""How `map` and `flat_map` read a function: what it is given, which columns it makes, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import gc
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NotRequired, Optional, TypedDict

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import BuildError, ColumnNotFoundError

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

TABLE = pa.table(
    {"price": [2.0, 3.0], "volume": [5, 1], "order": [{"id": 7}, {"id": 8}], "class": ["a", "b"]}
)
OUT = {"x": float}


def rows() -> sl.Stream:
    return sl.read_arrow(TABLE)


@dataclasses.dataclass
class Tick:
    price: float
    volume: int
    fee: float = 0.25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    volume: int
    order: dict[str, int]


class TickDict(TypedDict):
    price: float
    other: NotRequired[int]


class Result(NamedTuple):
    x: float


@dataclasses.dataclass
class Base:
    at: dt.datetime


@dataclasses.dataclass
class Made(Base):
    x: Annotated[float, pa.float32()]
    tags: list[str] | None = None


# ---- what a function is given ------------------------------------------------------------------------


def by_row_class(tick: Tick) -> Result:
    assert type(tick) is Tick
    return Result(tick.price * tick.volume + tick.fee)


def by_frozen(row: Frozen | None) -> Result:
    assert type(row) is Frozen
    return Result(row.volume + row.order["id"])


def by_typed_dict(row: TickDict) -> Result:
    assert set(row) == {"price"}
    return Result(row["price"])


def by_dict(price: dict[str, Any]) -> Result:
    """The annotation decides, though there is a column of that name."""
    return Result(price["price"])


def by_mapping(anything: Mapping[str, object]) -> Result:
    assert list(anything) == TABLE.schema.names
    return Result(0.0)


def by_struct(order: dict[str, int]) -> Result:
    """A column whose values are structs is that column."""
    return Result(order["id"])


def by_place(volume: int, /, price: float, *, order: Any, fee: float = 0.5) -> Result:
    return Result(volume * price + order["id"] + fee)


def by_default(fee: float = 1.0, price: float = 0.0, volume: int = 0) -> Result:
    return Result(fee + price * volume)


def by_rest(price: float, **others: Any) -> Result:
    assert set(others) == {"volume", "order", "class"}
    return Result(price + others["volume"])


def by_unknown(row: Unknown) -> Result:
    return Result(row["price"])


class Method:
    scale = 10

    def scaled(self, price: float) -> Result:
        return Result(price * self.scale)

    @staticmethod
    def plain(price: float) -> Result:
        return Result(price)

    def __call__(self, price: float) -> Result:
        return Result(-price)


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@decorated
def by_decorated(price: float, volume: int) -> Result:
    return Result(price + volume)


def scaled(price: float, scale: float, volume: int = 0) -> Result:
    return Result(price * scale + volume)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (by_row_class, [10.25, 3.25]),
        (by_frozen, [12, 9]),
        (by_typed_dict, [2, 3]),
        (by_dict, [2, 3]),
        (by_mapping, [0, 0]),
        (by_struct, [7, 8]),
        (by_place, [17.5, 11.5]),
        (by_default, [11, 4]),
        (by_rest, [7, 4]),
        (by_unknown, [2, 3]),
        (by_decorated, [7, 4]),
        (Method().scaled, [20, 30]),
        (Method.plain, [2, 3]),
        (Method(), [-2, -3]),
        (Method, [-2, -3]),
        (functools.partial(scaled, scale=2), [9, 7]),
        (functools.partial(scaled, scale=2, volume=100), [104, 106]),
    ],
)
def test_what_a_function_is_given(function: Any, wanted: list[float]) -> None:
    assert rows().map(function).collect(batch_rows=1)["x"].to_pylist() == wanted
    listed = rows().map(function, schema=OUT)
    assert listed.collect()["x"].to_pylist() == wanted


def test_a_row_may_be_changed_and_returned() -> None:
    def changed(row: dict[str, Any]) -> dict[str, Any]:
        row["price"] *= 2
        return row

    stream = rows().map(changed, schema=TABLE.schema)
    again = stream.map(changed, schema=TABLE.schema)
    assert again.collect()["price"].to_pylist() == [8, 12]
    assert stream.collect()["price"].to_pylist() == [4, 6], "rows are not shared"


def test_a_lambda_with_one_name_that_is_no_column_gets_the_row() -> None:
    assert rows().map(lambda r: (r["price"],), OUT).collect()["x"].to_pylist() == [2, 3]
    assert rows().map(lambda price: (price,), OUT).collect()["x"].to_pylist() == [2, 3]


def test_what_takes_any_number_of_values_is_given_the_row(capsys: pytest.CaptureFixture[str]) -> None:
    found: list[Any] = []

    def noted(message: object, *values: object, **more: object) -> dict[str, int]:
        found.append((message, values, more))
        return {"n": 1}

    def counted(*values: Any, step: int = 2) -> dict[str, int]:
        return {"n": len(values) * step}

    stream = sl.read_arrow(pa.table({"price": [2.0], "end": ["x"]}))
    sl.run(stream.for_each(print), stream.for_each(noted), stream.for_each(found.append), progress=False)
    assert capsys.readouterr().out == "{'price': 2.0, 'end': 'x'}\n"
    row = {"price": 2.0, "end": "x"}
    assert sorted(found, key=str) == [(row, (), {}), row]
    assert stream.map(counted, schema={"n": int}).collect()["n"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("function", "error", "parts"),
    [
        (lambda prize, volume: 0, ColumnNotFoundError, ["'prize'", "no column", "did you mean 'price'?"]),
        (lambda price, row: 0, ColumnNotFoundError, ["'row'", "have one parameter only"]),
        (lambda: 0, BuildError, ["nothing to hand"]),
        (lambda scale=2: 0, BuildError, ["nothing to hand"]),
        (lambda price, *values: 0, BuildError, ["*values", "**columns"]),
        (lambda *values, **named: 0, BuildError, ["*values", "functools.wraps"]),
        (5, BuildError, ["needs a function"]),
        (max, BuildError, ["parameters of 'max'", "map(lambda row: ...)"]),
    ],
)
def test_what_no_function_can_be_given(function: Any, error: type[BuildError], parts: list[str]) -> None:
    for verb in ("map", "flat_map"):
        with pytest.raises(error) as caught:
            getattr(rows(), verb)(function, schema=OUT)
        for part in parts:
            assert part.replace("map(", f"{verb}(") in str(caught.value)
        assert caught.value.step == verb and "test_functions.py" in str(caught.value.at)


def typo(prize: float) -> Result:
    return Result(prize)


@dataclasses.dataclass
class Wrong:
    prize: float


def wrong_class(row: Wrong) -> Result:
    return Result(row.prize)


def named_tuple(row: Result) -> Result:
    return row


async def later(price: float) -> Result:
    return Result(price)


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (typo, "no column 'prize'"),
        (wrong_class, "no column 'prize', which Wrong needs"),
        (named_tuple, "cannot be given rows as Result"),
        (later, "async"),
    ],
)
def test_annotations_that_no_row_can_fill(function: Any, part: str) -> None:
    with pytest.raises(BuildError, match=part):
        rows().map(function)


# ---- which columns it makes --------------------------------------------------------------------------


def makes_typed(price: float) -> TickDict:
    return {"price": price, "other": 1}


def makes_made(price: float) -> Made:
    return Made(dt.datetime(2026, 1, 1), price, ["a"])


def makes_list(price: float) -> list[Result]:
    return [Result(price)]


def makes_optional(price: float) -> Optional[list[Result]]:  # noqa: UP045 - as older code has it
    return [Result(price)] if price > 2 else None


def makes_iterator(price: float) -> Iterator[Result]:
    yield Result(price)


def makes_generator(price: float) -> Generator[Result, None, None]:
    yield Result(price)


def makes_tuple(price: float) -> tuple[Result, ...]:
    return (Result(price),)


def makes_iterable(price: float) -> Iterable[Result]:
    return {1: Result(price)}.values()


def test_schemas_by_annotation() -> None:
    assert rows().map(makes_typed).schema == pa.schema({"price": pa.float64(), "other": pa.int64()})
    made = rows().map(makes_made)
    assert made.schema == pa.schema(
        {"at": pa.timestamp("us"), "x": pa.float32(), "tags": pa.list_(pa.string())}
    )
    assert made.collect().to_pylist()[1] == {"at": dt.datetime(2026, 1, 1), "x": 3.0, "tags": ["a"]}


@pytest.mark.parametrize(
    "function", [makes_list, makes_iterator, makes_generator, makes_tuple, makes_iterable, makes_optional]
)
def test_schemas_of_several_rows_by_annotation(function: Any) -> None:
    stream = rows().flat_map(function)
    assert stream.schema == pa.schema({"x": pa.float64()})
    assert stream.collect()["x"].to_pylist() == ([3] if function is makes_optional else [2, 3])


def test_classes_of_rows_may_be_local_to_the_function_that_builds_the_script() -> None:
    @dataclasses.dataclass
    class Inner:
        x: float

    @dataclasses.dataclass
    class Local:
        inner: Inner

    def function(price: float) -> Local:
        return Local(Inner(price))

    def several(price: float) -> list[Local]:
        return [function(price)]

    for stream in (rows().map(function), rows().flat_map(several)):
        assert stream.collect().to_pylist() == [{"inner": {"x": 2.0}}, {"inner": {"x": 3.0}}]


@pytest.mark.parametrize("schema", [OUT, pa.schema({"x": pa.float64()}), Result, {"x": "float64"}])
def test_the_argument_decides_and_takes_what_schemas_take(schema: Any) -> None:
    stream = rows().map(lambda price: {"x": price}, schema)
    assert stream.schema == pa.schema({"x": pa.float64()})


def returns_scalar(price: float) -> float:
    return price


def returns_dict(price: float) -> dict[str, float]:
    return {"x": price}


def returns_unknown(price: float) -> Unknown:
    return price


def returns_maybe(price: float) -> Result | None:
    return None


@pytest.mark.parametrize(
    "function", [lambda price: 0, returns_scalar, returns_dict, returns_unknown, returns_maybe, makes_list]
)
def test_map_says_what_to_add_where_nothing_tells_the_columns(function: Any) -> None:
    with pytest.raises(BuildError) as caught:
        rows().map(function)
    message = str(caught.value)
    assert "schema=" in message or "flat_map" in message
    assert caught.value.at is not None and "test_functions.py" in message
    if function is returns_maybe:
        assert "[] drops the row" in message


@pytest.mark.parametrize("function", [lambda price: 0, returns_scalar, returns_maybe, by_dict])
def test_flat_map_says_what_to_add(function: Any) -> None:
    with pytest.raises(BuildError, match=r"list\[Trade\]"):
        rows().flat_map(function)


def test_a_schema_that_is_none_names_the_verb() -> None:
    with pytest.raises(BuildError, match="schema= is not a schema") as caught:
        rows().map(lambda price: 0, schema=5)  # type: ignore[arg-type]
    assert caught.value.step == "map"


def test_the_event_time_column_stays_a_time() -> None:
    table = pa.table({"ts": pa.array([1, 2], pa.timestamp("s")), "n": [1, 2]})
    stream = sl.read_arrow(table).event_time("ts", max_delay="1s")
    with pytest.raises(BuildError, match="something else"):
        stream.flat_map(lambda n: [{"ts": 1}], schema={"ts": int})
    for before in (stream, stream.drop("ts")):
        bare = before.map(lambda n: {"n": n + 1}, schema={"n": int})
        assert bare.window(sl.tumbling("1s")).agg(n=sl.col("n").sum()).collect()["n"].to_pylist() == [2, 3]


def test_the_plan_names_the_function() -> None:
    assert "by_dict" in rows().map(by_dict).explain()
    stream = rows().flat_map(makes_list)
    assert stream._node.label == "flat_map" and repr(stream) == "Stream[flat_map](x: double)"


def test_a_stream_keeps_nothing_of_the_caller() -> None:
    """Local names are looked at while the script is built, and let go."""

    class Large:
        pass

    def build() -> tuple[sl.Stream, weakref.ref[Large]]:
        large = Large()
        return rows().map(by_row_class), weakref.ref(large)

    stream, large = build()
    gc.collect()
    assert large() is None and stream.collect().num_rows == 2
