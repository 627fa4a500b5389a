"""Schemas as text to paste, of files and of what an address sends; and what a declaration means."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import decimal
import enum
import importlib.util
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.connectors.describe import describe_source
from streamlib.connectors.schemas import print_schema, schema_of, type_of
from streamlib.elements.type_names import name_of
from streamlib.errors import BuildError, SourceError

PLAIN = st.sampled_from(
    [
        *(getattr(pa, name)() for name in ("int8", "uint64", "float16", "float32", "float64", "bool_", "string")),
        *(getattr(pa, name)() for name in ("binary", "date32", "date64", "large_string", "null")),
        *(pa.timestamp(unit, zone) for unit in ("s", "us", "ns") for zone in (None, "UTC", "+02:00")),
        *(pa.duration(unit) for unit in ("s", "ns")),
        pa.time32("ms"), pa.time64("us"), pa.decimal128(10, 2), pa.decimal256(50, -3), pa.binary(16),
    ]
)  # fmt: skip
KEYS = st.lists(
    st.text(st.sampled_from('ab _:,<>"\\é'), min_size=1, max_size=4), min_size=1, max_size=3, unique=True
)
TYPES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        st.tuples(inner, st.integers(0, 5)).map(lambda pair: pa.list_(*pair)),
        st.tuples(PLAIN.filter(lambda key: key != pa.null()), inner).map(lambda pair: pa.map_(*pair)),
        st.tuples(KEYS, st.lists(inner, min_size=3, max_size=3)).map(
            lambda pair: pa.struct(list(zip(*pair, strict=False)))
        ),
        st.just(pa.dictionary(pa.int16(), pa.string())),
    ),
    max_leaves=5,
)


@given(kind=TYPES)
@settings(max_examples=400)
def test_every_type_has_a_name_that_means_it(kind: pa.DataType) -> None:
    assert type_of(name_of(kind), "c").equals(kind)


def pasted(folder: Path, text: str) -> Any:
    """The class that a module has in which the text was pasted."""
    path = folder / "pasted_schema.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("pasted_schema", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        return schema_of(module.Row)
    finally:
        del sys.modules[spec.name]


@given(names=KEYS, kinds=st.lists(TYPES, min_size=3, max_size=3))
def test_a_printed_dict_is_the_schema(names: list[str], kinds: list[pa.DataType]) -> None:
    schema = pa.schema(list(zip(names, kinds, strict=False)))
    assert schema_of(ast.literal_eval(print_schema(schema).removeprefix("schema="))).equals(schema)


@given(kinds=st.lists(TYPES, min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_a_printed_dataclass_is_the_schema(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[pa.DataType]
) -> None:
    schema = pa.schema([(f"c{i}", kind) for i, kind in enumerate(kinds)])
    found = pasted(tmp_path_factory.mktemp("pasted"), print_schema(schema, dataclass="Row"))
    assert found.equals(schema)


def test_a_name_that_python_has_not() -> None:
    with pytest.raises(BuildError, match="'a b'"):
        print_schema(pa.schema({"a b": pa.int64()}), dataclass="Row")


NO_TYPES = ["", "list<", "list<>", "struct<a>", "map<int64>", "timestamp[xs]", "list<" * 90, "decimal128(99, 2)",
            "dictionary<>", "fixed_size_list<int64>", 'struct<"a: int64>']  # fmt: skip


@pytest.mark.parametrize("name", NO_TYPES)
def test_names_that_mean_no_type(name: str) -> None:
    with pytest.raises(BuildError, match="type of column 'c' is unknown"):
        type_of(name, "c")


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Level(enum.IntEnum):
    LOW = 1


class Mixed(enum.Enum):
    A = 1
    B = "b"


@dataclasses.dataclass
class Venue:
    name: str
    opened: dt.date | None


@dataclasses.dataclass
class Trade:
    ts: Annotated[dt.datetime, pa.timestamp("ns", "UTC")]
    at: dt.datetime | None
    day: dt.date
    clock: dt.time
    took: dt.timedelta
    price: decimal.Decimal
    paid: Annotated[decimal.Decimal, "the price", "decimal128(12, 4)"]
    raw: bytes
    ok: bool
    side: Side
    level: Level
    kind: Literal["a", "b"]
    venue: Venue
    venues: list[Venue | None]
    matrix: list[list[float]]


def test_a_dataclass_of_everything() -> None:
    venue = pa.struct({"name": pa.string(), "opened": pa.date32()})
    assert schema_of(Trade) == pa.schema(
        {
            "ts": pa.timestamp("ns", "UTC"),
            "at": pa.timestamp("us"),
            "day": pa.date32(),
            "clock": pa.time64("us"),
            "took": pa.duration("us"),
            "price": pa.decimal128(38, 18),
            "paid": pa.decimal128(12, 4),
            "raw": pa.binary(),
            "ok": pa.bool_(),
            "side": pa.string(),
            "level": pa.int64(),
            "kind": pa.string(),
            "venue": venue,
            "venues": pa.list_(venue),
            "matrix": pa.list_(pa.list_(pa.float64())),
        }
    )


@dataclasses.dataclass
class Deep:
    inner: list[Deep]


@dataclasses.dataclass
class Vague:
    inner: list[Nobody]  # type: ignore[name-defined]  # noqa: F821


def made(kind: Any) -> type:
    return dataclasses.make_dataclass("Made", [("fine", int), ("odd", kind)])


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (made(Mixed), "column 'odd' is unknown"),
        (made(dict[str, int]), "column 'odd' is unknown"),
        (made(list), "column 'odd' is unknown"),
        (made(list[object]), r"column 'odd\[\]' is unknown"),
        (made(int | str), "column 'odd' is unknown"),
        (made(made(object)), r"column 'odd\.odd' is unknown"),
        (made(Literal["a", 1]), "column 'odd' is unknown"),
        (Deep, "holds itself"),
        (Vague, "cannot be read"),
        (Venue("x", None), "without its values"),
    ],
)
def test_a_dataclass_that_is_no_schema(declared: Any, problem: str) -> None:
    with pytest.raises(BuildError, match=problem):
        schema_of(declared)


def test_a_file_is_described(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ts,price\n2024-08-09 12:00:00,1.5\n")
    assert describe_source(str(path)) == 'schema={\n    "ts": "timestamp[us]",\n    "price": "float64",\n}'
    assert "    ts: datetime\n    price: float" in describe_source(str(path), dataclass="Tick")
    with pytest.raises(SourceError, match="no such file"):
        describe_source(str(tmp_path / "u.csv"))


@contextmanager
def served(data: bytes, family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> Iterator[Any]:
    """An address that sends some bytes to the first who connects, and then nothing."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        over = threading.Event()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(data)
                over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            over.set()
            thread.join()


def test_an_address_is_described(tmp_path: Path) -> None:
    lines = b'{"symbol":"A","price":1}\n' * 1000 + b'{"symbol":"B","price":1.5}\n'
    with served(lines) as (host, port):
        assert '"price": "int64"' in describe_source(f"tcp://{host}:{port}")
    with served(b"symbol,price\nA,1.5\nB,") as (host, port):
        text = describe_source(f"tcp://{host}:{port}", timeout_s=0.2)
    assert text == 'schema={\n    "symbol": "string",\n    "price": "float64",\n}'
    with served(b"a;b\n1;2\n" * 1000, socket.AF_UNIX, str(tmp_path / "s")) as path:
        assert describe_source(f"unix://{path}", "lines") == 'schema={\n    "line": "string",\n}'


def test_an_address_from_which_nothing_comes() -> None:
    with served(b"half a line") as (host, port), pytest.raises(SourceError, match="no whole line"):
        describe_source(f"tcp://{host}:{port}", timeout_s=0.05)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with pytest.raises(SourceError, match="cannot be read"):
        describe_source(f"tcp://127.0.0.1:{port}", timeout_s=1)
    for wrong in ("http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp-listen://:1"):
        with pytest.raises(BuildError, match="cannot be listened to"):
            describe_source(wrong)
