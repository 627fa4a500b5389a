"""A short run of the fuzzer over every decoder, the same inputs each time; `make fuzz` runs new ones for long."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

from streamlib.contracts import Block, Refused
from streamlib.errors import DataError
from tests.fuzz.decoders import Broken, check, drawn, main, run, targets

INPUTS = {"csv": 50, "csv_plain": 70, "jsonl": 120, "regex": 150, "regex_slow": 100}
"""Formats whose parser costs most are given fewer."""
INPUTS_OF_OTHERS = 2000


@pytest.mark.parametrize("name", sorted(targets()))
def test_damaged_files(name: str) -> None:
    inputs = INPUTS.get(name, INPUTS_OF_OTHERS)
    ended = run(name, 0, inputs)
    assert ended["fine"] + ended["refused"] + ended["error"] == inputs
    assert ended["rows"] > 0
    assert ended["fine"] < inputs / 1.02, "the inputs are damaged"


def test_the_fuzzer_sees_rows_that_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    target = targets()["lines"]
    data = b"a\n\xff\nb\n"
    assert check(target, data, 100) == ("refused", 2, 1)
    real = type(target.format.open_reader(io.BytesIO(data), "t", target.schema))
    monkeypatch.setattr(real, "decode_leniently", lambda self, block, refused: iter(()))
    with pytest.raises(Broken, match="nothing refused"):
        check(target, data, 100)


def test_the_fuzzer_sees_a_record_that_should_not_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    target = targets()["lines"]
    real = type(target.format.open_reader(io.BytesIO(b"x"), "t", target.schema))

    def refuse_all(self: object, block: Block, refused: list[Refused]) -> list[pa.RecordBatch]:
        refused += [Refused(line, DataError("no")) for line in bytes(block.data.data).splitlines(True)]
        return []

    monkeypatch.setattr(real, "decode_leniently", refuse_all)
    with pytest.raises(Broken, match="alone it is read"):
        check(target, b"a\n\xff\n", 100)


def test_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--format", "lines", "--inputs", "5"]) == 0
    assert "lines: 5 inputs from 0" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("parquet", 650),  # text that is not UTF-8
        ("parquet", 3_001_038),  # a row group with fewer rows than announced
        ("arrow", 39),  # a count of nulls that is wrong
        ("arrow", 5_948),  # a name that is not UTF-8
        ("arrow_stream", 140),  # offsets that point outside
        ("jsonl", 1_053_471),  # a number too large for a double: infinity to one parser, an error to another
    ],
)
def test_what_the_fuzzer_has_found(name: str, number: int) -> None:
    run(name, number, 1)


def test_damaged_times_beyond_pythons_years_can_be_compared() -> None:
    target = targets()["arrow_stream"]
    assert check(target, *drawn(target, 935_198))[0] == "fine"
