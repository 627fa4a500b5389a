"""Cutting what a connection brings: whatever the pieces, the rows are those of the whole, and nothing is lost."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors.formats.lines import lines
from streamlib.connectors.formats.raw import raw_bytes
from streamlib.connectors.sockets.framing import Framing, Undecodable, framing_of
from streamlib.contracts import Block, Refused
from streamlib.errors import StreamlibError

SCHEMA = pa.schema({"n": pa.int64(), "s": pa.string()})
LIMIT = 1 << 20
texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=8
)
tables = st.lists(st.tuples(st.integers(-(2**62), 2**62), texts), max_size=30)


def written(fmt: Any, rows: pa.Table) -> bytes:
    """Independent of our sink: what the format's own writer makes of a file."""
    if fmt.name == "arrow":
        out = io.BytesIO()
        with pa.ipc.new_stream(out, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=3)
        return out.getvalue()
    out = io.BytesIO()
    writer = fmt.open_writer(out, rows.schema)
    for batch in rows.to_batches(max_chunksize=3):
        writer.write(batch)
    writer.close()
    return out.getvalue()


def fed(framing: Framing, pieces: list[bytes]) -> list[Block]:
    blocks = []
    for piece in pieces:
        blocks += framing.feed(piece, False)
    return blocks + framing.feed(b"", True)


def decoded(framing: Framing, blocks: list[Block]) -> list[Any]:
    return [row for block in blocks for batch in framing.decode(block) for row in batch.to_pylist()]


def parted(blocks: list[Block]) -> tuple[list[Block], list[Undecodable]]:
    good = [block for block in blocks if not isinstance(block.data, Undecodable)]
    return good, [block.data for block in blocks if isinstance(block.data, Undecodable)]


@st.composite
def pieces_of(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in pairwise([0, *cuts, len(data)])]


FORMATS = [sl.jsonl(), sl.csv(), sl.csv(delimiter=";", header=False), sl.arrow()]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
@given(data=st.data(), rows=tables)
def test_the_pieces_do_not_matter(fmt: Any, data: st.DataObject, rows: list[tuple[int, str]]) -> None:
    table = pa.table([[n for n, _ in rows], [s for _, s in rows]], schema=SCHEMA)
    text = written(fmt, table)
    framing = framing_of(fmt, "peer", SCHEMA, None, LIMIT)
    blocks = fed(framing, data.draw(pieces_of(text)))
    good, bad = parted(blocks)
    assert bad == [] and framing.given_up is None
    assert decoded(framing, good) == table.to_pylist()
    first = 0
    for block in good:
        assert block.first_row == first
        first += sum(batch.num_rows for batch in framing.decode(block))


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
@given(data=st.data(), rows=st.lists(st.tuples(st.integers(0, 9), texts), min_size=1, max_size=20))
def test_a_connection_cut_anywhere_keeps_its_whole_records_and_shows_the_rest(
    fmt: Any, data: st.DataObject, rows: list[tuple[int, str]]
) -> None:
    table = pa.table([[n for n, _ in rows], [s for _, s in rows]], schema=SCHEMA)
    text = written(fmt, table)
    cut = data.draw(st.integers(0, len(text)))
    framing = framing_of(fmt, "peer", SCHEMA, None, LIMIT)
    good, bad = parted(fed(framing, data.draw(pieces_of(text[:cut]))))
    found = decoded(framing, good)
    assert found == table.to_pylist()[: len(found)]
    rest = b"".join(one.data for one in bad)
    assert len(bad) <= 1 and text[:cut].endswith(rest)
    if fmt.name == "jsonl":
        assert len(found) == text[:cut].count(b"\n")
        assert rest == text[:cut].rpartition(b"\n")[2]
    if fmt.name == "arrow" and cut < len(text):
        whole = framing_of(fmt, "peer", SCHEMA, None, LIMIT)
        everything = decoded(whole, parted(fed(whole, [text]))[0])
        assert len(found) <= len(everything) == len(rows)


@given(data=st.data(), lengths=st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_a_line_over_the_limit_ends_the_connection_after_all_before_it(
    data: st.DataObject, lengths: list[int]
) -> None:
    """Lines of up to 40 bytes with their end are within the limit; the first longer one is not."""
    text = b"".join(b"x" * (length - 1) + b"\n" for length in lengths)
    framing = framing_of(lines(), "peer", pa.schema({"line": pa.string()}), None, 40)
    good, bad = parted(fed(framing, data.draw(pieces_of(text))))
    assert bad == []
    long = next((i for i, length in enumerate(lengths) if length > 40), None)
    assert [len(row["line"]) + 1 for row in decoded(framing, good)] == lengths[:long]
    assert (framing.given_up is not None) == (long is not None)
    if framing.too_long is not None:
        assert f"line {long + 1}" in str(framing.too_long.error.where)


@given(data=st.data())
def test_no_bytes_whatever_crash_an_arrow_connection(data: st.DataObject) -> None:
    """A stream with some bytes changed gives rows of the schema or errors of ours, and nothing else."""
    table = pa.table({"n": pa.array([1, None, 3] * 5, pa.int64()), "s": pa.array(["a", "bb", None] * 5)})
    text = bytearray(written(sl.arrow(), table))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    framing = framing_of(sl.arrow(), "peer", table.schema, None, LIMIT)
    for block in parted(fed(framing, data.draw(pieces_of(bytes(text)))))[0]:
        try:
            for rows in framing.decode(block):
                assert rows.schema == table.schema
                rows.validate(full=True)
        except StreamlibError:
            pass


@pytest.mark.parametrize("fmt", [sl.jsonl(), sl.csv(), lines(), sl.arrow()], ids=lambda f: f.name)
@given(data=st.data(), noise=st.binary(max_size=200))
def test_noise_becomes_rows_or_refusals(fmt: Any, data: st.DataObject, noise: bytes) -> None:
    schema = pa.schema({"line": pa.string()}) if fmt.name == "lines" else SCHEMA
    framing = framing_of(fmt, "peer", schema, None, LIMIT)
    for block in parted(fed(framing, data.draw(pieces_of(noise))))[0]:
        refused: list[Refused] = []
        for rows in framing.decode_leniently(block, refused):
            assert rows.schema == schema
        for one in refused:
            assert str(one.error)


def test_records_of_a_size_and_between_delimiters() -> None:
    schema = pa.schema({"data": pa.binary()})
    framing = framing_of(raw_bytes(size=3), "peer", schema, None, LIMIT)
    good, bad = parted(fed(framing, [b"ab", b"c\n\n", b"\nxy"]))
    assert [row["data"] for row in decoded(framing, good)] == [b"abc", b"\n\n\n"]
    assert [one.data for one in bad] == [b"xy"]
    framing = framing_of(raw_bytes(delimiter=b"\0"), "peer", schema, None, LIMIT)
    good, bad = parted(fed(framing, [b"a\0b", b"\nb\0", b"c"]))
    assert [row["data"] for row in decoded(framing, good)] == [b"a", b"b\nb"]
    assert [one.data for one in bad] == [b"c"]


def test_text_in_another_encoding_may_be_cut_within_a_character() -> None:
    fmt = lines(encoding="utf-16-le")
    text = "grün\nблагодаря\n".encode("utf-16-le")
    framing = framing_of(fmt, "peer", pa.schema({"line": pa.string()}), None, LIMIT)
    good, bad = parted(fed(framing, [text[i : i + 1] for i in range(len(text))]))
    assert bad == [] and [row["line"] for row in decoded(framing, good)] == ["grün", "благодаря"]


def test_a_header_without_a_column_gives_the_connection_up() -> None:
    framing = framing_of(sl.csv(), "peer", SCHEMA, None, LIMIT)
    good, bad = parted(fed(framing, [b"n,t\n1,a\n"]))
    assert good == [] and len(bad) == 1
    assert bad[0].error.problem == "the connection has no column 's'"


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (
            lambda t, o: pa.ipc.new_stream(o, t.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")),
            "compressed",
        ),
        (lambda t, o: pa.ipc.new_file(o, t.schema), "no Arrow IPC stream"),
    ],
)
def test_arrow_that_is_not_taken_from_strangers(write: Any, problem: str) -> None:
    table = pa.table({"n": range(100), "s": ["x" * 50] * 100})
    out = io.BytesIO()
    with write(table, out) as writer:
        writer.write_table(table)
    framing = framing_of(sl.arrow(), "peer", SCHEMA, None, LIMIT)
    good, bad = parted(fed(framing, [out.getvalue()]))
    assert good == [] and len(bad) == 1
    assert problem in bad[0].error.problem


def test_a_column_whose_name_is_no_text_gives_the_connection_up() -> None:
    text = written(sl.arrow(), pa.table({"name": [1]})).replace(b"name", b"\x80ame")
    framing = framing_of(sl.arrow(), "peer", SCHEMA, None, LIMIT)
    good, bad = parted(fed(framing, [text]))
    assert good == [] and len(bad) == 1


def test_a_dictionary_is_refused_with_what_to_do() -> None:
    table = pa.table({"n": [1], "s": pa.array(["a"]).dictionary_encode()})
    framing = framing_of(sl.arrow(), "peer", SCHEMA, None, LIMIT)
    (bad,) = parted(fed(framing, [written(sl.arrow(), table)]))[1]
    assert "dictionary" in bad.error.problem and "dictionary_decode" in str(bad.error.hint)


def test_a_record_batch_over_the_limit_is_refused_before_it_has_come() -> None:
    table = pa.table({"n": range(100_000), "s": ["x"] * 100_000})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, SCHEMA) as writer:
        writer.write_table(table)
    framing = framing_of(sl.arrow(), "peer", SCHEMA, None, 1 << 16)
    assert parted(framing.feed(out.getvalue()[:2_000], False)) == ([], [])
    assert framing.too_long is not None and "1,600" not in str(framing.given_up)
