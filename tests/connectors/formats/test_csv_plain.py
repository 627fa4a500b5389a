"""CSV in plain forms, by kernels: what they take is what Arrow's parser reads, to the last bit."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors.formats import csv_plain
from streamlib.connectors.formats.csv_cut import CsvCutter
from streamlib.connectors.formats.csv_parse import CsvParser
from streamlib.connectors.formats.csv_plain import PlainCsv
from streamlib.connectors.formats.csv_text import Csv
from streamlib.connectors.formats.text import TextBlock
from streamlib.errors import DataError
from streamlib.expr import parse_type
from tests.connectors.reading import read_text

KINDS = {"t": "timestamp[us]", "s": "string", "f": "float64", "i": "int64", "n": "timestamp[ns]"}
SCHEMA = pa.schema([(name, parse_type(kind)) for name, kind in KINDS.items()])
NAMES = [*SCHEMA.names[:3], "unread", *SCHEMA.names[3:]]
PLAIN = {
    "t": "2026-01-05 14:30:00|2024-02-29T23:59:59.123456|1969-12-31 00:00:00.5|1700-03-01 00:00:00",
    "s": 'a|some text|żółć|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|"quoted"|""|"a,b"|"a\nb"',
    "f": "1|-1.5|0.1|112.23|-0.0|9007199254740992|0.000001|12345678901234.25|007.50",
    "unread": '|1|"x"|é',
    "i": '0|-7|999999999999999999|0012|"5"|-0',
    "n": "2026-01-05 14:30:00.123456789|1900-12-31 14:30:00|2199-01-01 00:00:00.1",
}
ODD = {
    "t": "2026-02-29 00:00:00|2026-01-05|2026-01-05 24:00:00|2026-01-05 10:00|0001-01-01 00:00:00|x|"
    "2026-01-05 14:30:60|2026-13-01 00:00:00|2026-01-05 14:30:00.1234567|2026-01-05 14:30:00Z|"
    '2026-01-05 14:30:00.|2026-01-05 14:30:00.12x|2026-01-00 00:00:00|2026/01/05 14:30:00|""',
    "s": '"a""b"|5" pipe|"a"b|a\rb| |null',
    "f": '1e5|nan|inf|.5|5.|-|+1|1.2.3| 1|0.1234567890123456|1_0|""|--1|9007199254740993|.',
    "unread": '"|\r',
    "i": '9223372036854775807|+1|1.0|-| 1|--1|1-|x|""|99999999999999999999',
    "n": "2300-01-01 00:00:00|2026-01-05 14:30:00.1234567890",
}


def block_of(data: bytes) -> TextBlock:
    cut = CsvCutter(b",", b'"', None).cut(data, ended=True)
    assert cut is not None
    return TextBlock.of(data, 1, cut)


def check(data: bytes) -> bool:
    """Whether the kernels took the text; what they read must be what Arrow reads."""
    block = block_of(data)
    found = PlainCsv(Csv(), NAMES, SCHEMA)._parse(block)
    if found is not None:
        found.validate(full=True)
        wanted = CsvParser(Csv(), NAMES, SCHEMA).parse_any(block)
        assert found.equals(wanted)
        assert repr(found.to_pylist()) == repr(wanted.to_pylist()), "-0.0 is another value"
    return found is not None


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 60), odd=st.integers(0, 2), empty=st.booleans())
@settings(max_examples=60)
def test_what_is_taken_is_what_arrow_reads(seed: int, rows: int, odd: int, empty: bool) -> None:
    dice = random.Random(seed)
    table = [[dice.choice(PLAIN[n].split("|") + [""] * empty) for n in NAMES] for _ in range(rows)]
    for _ in range(odd):
        column = dice.randrange(len(NAMES))
        table[dice.randrange(rows)][column] = dice.choice(ODD[NAMES[column]].split("|"))
    taken = check("".join(",".join(row) + "\n" for row in table).encode())
    assert taken or odd, "plain forms are taken"


@given(
    value=st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**6), 10**6, places=3).map(float)
)
@settings(max_examples=200)
def test_numbers_are_read_to_the_last_bit(value: float) -> None:
    check(f",,{value!r},,{int(value) % 10**19},\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n",
        ",,,,,,\n",
        ",,,,\n,,,,,,\n",
        "\n,,,,,\n",
        ",,,,,\n\n",
        ",,,,,\r\n",
        ",,,,,\n,,,,",
        ',,,,,"\n',
        "żółć,,,,,\n",
    ],
)
def test_rows_of_another_form_are_left_to_the_parser(text: str) -> None:
    block = TextBlock(pa.py_buffer(text.encode()), 1, block_of(text.encode()).cut)
    assert PlainCsv(Csv(), NAMES, SCHEMA)._parse(block) is None


def test_text_that_is_no_utf8_is_left_to_the_parser() -> None:
    assert PlainCsv(Csv(), NAMES, SCHEMA)._parse(block_of(b",\xff\xfe,,,,\n")) is None


def large(rows: int) -> str:
    return "".join(f"{i},2026-01-05 10:{i % 60:02}:00.{i % 1000:03},{i / 8},k{i % 7}\n" for i in range(rows))


LARGE = {"i": "int64", "t": "timestamp[ms]", "f": "float64", "s": "string"}


def test_a_large_file_is_read_by_kernels_and_what_they_refuse_by_the_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "i,t,f,s\n" + large(60_000)
    taken: list[bool] = []
    parse = PlainCsv._parse

    def counted(self: PlainCsv, block: TextBlock) -> pa.RecordBatch | None:
        rows = parse(self, block)
        taken.append(rows is not None)
        return rows

    monkeypatch.setattr(PlainCsv, "_parse", counted)
    rows = read_text(tmp_path, text, schema=LARGE)
    assert len(rows) == 60_000 and rows[59_999]["f"] == 59_999 / 8 and taken == [True]
    odd = text.replace("\n40000,", "\n+40000,").replace(",k3\n", ',"k""3"\n', 1)
    with pytest.raises(DataError, match="is no int64") as raised:
        read_text(tmp_path, odd, schema=LARGE)
    assert raised.value.where is not None and raised.value.where.endswith("line 40,002, column 'i'")
    assert taken[-1] is False


def test_a_file_of_other_forms_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_plain, "BYTES_MIN", 1)
    reader = PlainCsv(Csv(), NAMES, SCHEMA)
    odd, plain = block_of(b",,1e5,,,\n"), block_of(b",,1,,,\n")
    assert reader.parse(plain) is not None
    assert [reader.parse(odd) for _ in range(3)] == [None] * 3
    assert reader.parse(plain) is None


@pytest.mark.parametrize(
    "fmt",
    [sl.csv(escape="\\"), sl.csv(null_values=["", "NA"]), sl.csv(decimal=",", delimiter=";")],
)
def test_options_that_kernels_do_not_know_are_left_to_the_parser(
    fmt: Csv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_plain, "BYTES_MIN", 1)
    data = fmt.delimiter.join(["", "", "1", "", "2", ""]).encode() + b"\n"
    assert PlainCsv(fmt, NAMES, SCHEMA).parse(block_of(data)) is None
