"""Feeds damaged files to every decoder: `python -m tests.fuzz.decoders --inputs 1000000`.

Valid files are mutated (bits flipped, cut short, parts dropped, doubled, moved, odd tokens put in) and
read strictly and leniently, in blocks of any size. What must hold:

* the process lives, and each input is done within seconds;
* nothing but a StreamlibError is raised, and rows are valid Arrow;
* where reading strictly works, reading leniently gives the same and refuses nothing;
* leniently, rows and refused records are together as many as the input has records, counted apart from
  our code where lines are records, and every refused record is refused when it stands alone.

An input is a function of its format and number alone, so a failure is repeated with `--format F --first N
--inputs 1`. Inputs run in child processes: one that crashes is named.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

import streamlib as sl
from streamlib.contracts import Block, Format, FormatReader, Refused
from streamlib.errors import StreamlibError

SCHEMA = pa.schema(
    {
        "n": pa.int64(),
        "x": pa.float64(),
        "s": pa.string(),
        "ts": pa.timestamp("us"),
        "b": pa.bool_(),
        "d": pa.date32(),
    }
)
HEADER = b'"n","x","s","ts","b","d"\n'
INPUT_S_MAX = 20
"""How long one input may take."""
CHUNK = 20_000
"""Inputs of one child process."""
TOKENS = [
    b'"', b'""', b"'", b",", b";", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b"null", b"nan", b"NA", b"true", b"-", b"1e999", b"99999999999999999999", b"2024-02-30", b"0001-01-01",
    b"{", b"}", b"[", b"]", b'{"n":1}', b'{"n":"x"}', b'"n":1,', b"\\", b"\\u0000", b"\\ud800", b"\xef\xbb\xbf",
    b" ", b"\t", b"#", b"9" * 400, b"[" * 200, b'{"a":' * 200, b"12:00", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff",
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A format, a schema, valid files of it, and how many records a text has where that is known apart."""

    name: str
    format: Format
    schema: pa.Schema
    seeds: tuple[bytes, ...]
    count: Callable[[bytes], int | None] = lambda data: None
    head: bytes | None = None
    """What comes before the records of a file; None where a record cannot stand alone."""


def _table(rows: int, dice: random.Random) -> pa.Table:
    words = ["a", "b c", "é漢", "", "x,y", 'say "hi"', "p\nq", "null", " 5 "]
    return pa.table(
        {
            "n": [dice.choice([0, 1, -5, 2**62, None]) for _ in range(rows)],
            "x": [dice.choice([0.5, -1e300, 3.0, None]) for _ in range(rows)],
            "s": [dice.choice(words) for _ in range(rows)],
            "ts": [dice.choice([1_700_000_000_000_000, None, 0, -1]) for _ in range(rows)],
            "b": [dice.choice([True, False, None]) for _ in range(rows)],
            "d": [dice.choice([0, 20_000, None]) for _ in range(rows)],
        },
        schema=SCHEMA,
    )


def _written(fmt: Format, table: pa.Table) -> bytes:
    file = io.BytesIO()
    writer = fmt.open_writer(file, table.schema)
    for batch in table.to_batches(max_chunksize=7):
        writer.write(batch)
    writer.close()
    return file.getvalue()


def _body(data: bytes) -> bytes:
    return data.removeprefix(b"\xef\xbb\xbf")


def _lines(data: bytes) -> int:
    data = _body(data)
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def _full_lines(data: bytes) -> int:
    lines = _body(data).split(b"\n")
    texts = [line.removesuffix(b"\r") for line in lines[:-1]] + lines[-1:]
    return sum(1 for text in texts if text)


def _objects(data: bytes) -> int:
    return sum(1 for line in _body(data).split(b"\n") if line.strip())


def _plain_csv(data: bytes) -> int:
    return sum(1 for line in _body(data).splitlines() if line)


def _unquoted(table: pa.Table) -> bytes:
    rows = (
        ";".join("" if v is None else str(v).replace("\n", " ") for v in row.values())
        for row in table.to_pylist()
    )
    return "\n".join(rows).encode() + b"\n"


def targets() -> dict[str, Target]:
    """The formats, each with files that are made anew and always the same."""
    dice = random.Random(5)
    tables = [_table(n, dice) for n in (1, 5, 40)]
    log = [f'{n} - 2024-01-0{n % 9 + 1} "GET /{n}" {200 + n} {n / 4}' for n in range(30)]
    pattern = r'^(?P<n>\d+) - (?P<d>\S+) "(?P<s>[^"]*)" (?P<status>\d+)(?: (?P<x>\S+))?$'
    types = {"n": "int32", "d": "date32", "s": "string", "status": "int16", "x": "float64"}
    slow = pattern.replace(r"(?P<n>", r"(?=\d)(?P<n>")
    text = "\n".join(log).encode() + b"\n"
    packed = [
        _written(f, t)
        for f in (sl.parquet(), sl.parquet(compression="none", row_group_rows=9))
        for t in tables
    ]
    files = [_written(f, t) for f in (sl.arrow(), sl.arrow(compression="zstd")) for t in tables]
    streams = [_written(sl.arrow(stream=True), t) for t in tables]
    one = pa.schema({"line": pa.string()})
    found = [
        Target("csv", sl.csv(), SCHEMA, tuple(_written(sl.csv(), t) for t in tables), head=HEADER),
        Target(
            "csv_plain",
            sl.csv(delimiter=";", quote=None, header=False, null_values=["", "None"]),
            SCHEMA,
            tuple(map(_unquoted, tables)),
            _plain_csv,
            b"",
        ),
        Target("jsonl", sl.jsonl(), SCHEMA, tuple(_written(sl.jsonl(), t) for t in tables), _objects, b""),
        Target("lines", sl.lines(max_line=100), one, (text,), _lines, b""),
        Target("regex", sl.regex(pattern, types), sl.regex(pattern, types).schema, (text,), _full_lines, b""),
        Target("regex_slow", sl.regex(slow, types), sl.regex(slow, types).schema, (text,), _full_lines, b""),
        Target("utf16", sl.lines(encoding="utf-16"), one, (text.decode().encode("utf-16"),)),
        Target(
            "bytes",
            sl.raw_bytes(size=7),
            pa.schema({"data": pa.binary()}),
            (text,),
            lambda data: -(-len(data) // 7),
        ),
        Target("parquet", sl.parquet(), SCHEMA, tuple(packed)),
        Target("arrow", sl.arrow(), SCHEMA, tuple(files)),
        Target("arrow_stream", sl.arrow(), SCHEMA, tuple(streams)),
    ]
    return {target.name: target for target in found}


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The file with one to six things done to it."""
    text = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        size = len(text)
        a, b = sorted((dice.randrange(size + 1), dice.randrange(size + 1)))
        b = min(b, a + dice.choice((1, 4, 30, size)))
        kind = dice.randrange(8)
        if kind == 0 and size:
            for _ in range(dice.choice((1, 1, 4))):
                text[dice.randrange(size)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del text[dice.choice((a, size - min(size, 8))) :]
        elif kind == 2:
            del text[a:b]
        elif kind == 3:
            text[a:a] = text[a:b]
        elif kind == 4:
            text[dice.randrange(size + 1) : 0] = text[a:b]
        elif kind in (5, 6):
            token = dice.choice(TOKENS)
            text[a : a + dice.choice((0, len(token), 1))] = token
        elif size:
            text[dice.randrange(size)] = dice.choice((0, 255, 10, 34, dice.randrange(256)))
    return bytes(text[: 1 << 16])


def drawn(target: Target, number: int) -> tuple[bytes, int, bool]:
    """Input `number` of a target, the size of the blocks it is read in, and whether all is checked that can be."""
    dice = random.Random(f"{target.name}/{number}")
    data = mutated(dice.choice(target.seeds), dice)
    return data, dice.choices((1, 40, 1000, 4 << 20), (1, 2, 4, 16))[0], dice.random() < 0.15


class Broken(AssertionError):
    """A promise does not hold."""


def check(target: Target, data: bytes, block_bytes: int, whole: bool = True) -> tuple[str, int, int]:
    """Reads one input in every way.

    Returns:
        How it ended (``fine``, ``refused`` or ``error``), and how many rows and refused records there were.
    """
    fmt: Any = target.format
    if hasattr(fmt, "block_bytes"):
        fmt = replace(fmt, block_bytes=block_bytes)
    if whole:
        _infer(fmt, data)
    try:
        strict = _read(fmt, target.schema, data, None)
    except StreamlibError as error:
        strict = None
        str(error)
    refused: list[Refused] = []
    try:
        lenient = _read(fmt, target.schema, data, refused)
    except StreamlibError as error:
        if strict is not None:
            raise Broken(f"strictly {strict.num_rows} rows, leniently: {error}") from error
        return "error", 0, 0
    if strict is not None and (refused or not _same(strict, lenient)):
        raise Broken(
            f"strictly {strict.num_rows} rows, leniently {lenient.num_rows} and {len(refused)} refused"
        )
    if strict is None and not refused:
        raise Broken(f"strictly an error, leniently {lenient.num_rows} rows and nothing refused")
    expected = target.count(data)
    if expected is not None and lenient.num_rows + len(refused) != expected:
        raise Broken(f"{lenient.num_rows} rows and {len(refused)} refused of {expected} records")
    for one in refused:
        str(one.error)
        if whole and target.head is not None and data.startswith(target.head):
            _check_alone(target, target.head, one)
    return "refused" if refused else "fine", lenient.num_rows, len(refused)


def _same(a: pa.Table, b: pa.Table) -> bool:
    """Whether rows are the same; NaN is equal to NaN."""
    return a.equals(b) or str(_numbers(a).to_pylist()) == str(_numbers(b).to_pylist())


def _numbers(table: pa.Table) -> pa.Table:
    """With integers for times: a damaged one may lie beyond the years that Python's own have."""
    columns = [
        pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
        if pa.types.is_timestamp(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def _check_alone(target: Target, head: bytes, one: Refused) -> None:
    try:
        rows = _read(target.format, target.schema, head + one.data, None)
    except StreamlibError:
        return
    if one.data.startswith(b"\xef\xbb\xbf") or rows.num_rows == 0:
        return  # at the beginning of a file these three bytes are no text
    raise Broken(f"refused: {one.data!r} because {one.error}, and alone it is read as {rows.to_pylist()}")


def _infer(fmt: Format, data: bytes) -> None:
    try:
        fmt.infer_schema(io.BytesIO(data), "a file")
    except StreamlibError as error:
        str(error)


def _read(fmt: Format, schema: pa.Schema, data: bytes, refused: list[Refused] | None) -> pa.Table:
    """All rows; leniently where there is a list for refused records."""
    reader = fmt.open_reader(io.BytesIO(data), "a file", schema)
    found, records = [], 0
    try:
        while isinstance(block := reader.read(), Block):
            if block.first_row not in (None, records):
                raise Broken(f"a block begins at row {block.first_row}, {records} records came before")
            before = len(refused or ())
            rows = list(_decoded(reader, block, refused))
            for batch in rows:
                batch.validate(full=True)
            records += sum(batch.num_rows for batch in rows) + len(refused or ()) - before
            found += rows
    finally:
        reader.close()
    return pa.Table.from_batches(found, schema)


def _decoded(reader: FormatReader, block: Block, refused: list[Refused] | None) -> Any:
    return reader.decode(block) if refused is None else reader.decode_leniently(block, refused)


def run(
    name: str, first: int, inputs: int, note: Callable[[int], None] = lambda number: None
) -> dict[str, int]:
    """Checks inputs of one format; how many ended how.

    Raises:
        Broken: one breaks a promise; the message says how to repeat it.
    """
    target = targets()[name]
    ended = {"fine": 0, "refused": 0, "error": 0, "rows": 0, "records refused": 0}
    for number in range(first, first + inputs):
        note(number)
        data, block_bytes, whole = drawn(target, number)
        began = time.monotonic()
        try:
            how, rows, refused = check(target, data, block_bytes, whole)
        except Exception as error:
            again = f"python -m tests.fuzz.decoders --format {name} --first {number} --inputs 1"
            raise Broken(f"{type(error).__name__}: {error}\n  again: {again}") from error
        if time.monotonic() - began > INPUT_S_MAX:
            raise Broken(f"{name} {number} took more than {INPUT_S_MAX} s")
        ended[how] += 1
        ended["rows"] += rows
        ended["records refused"] += refused
    return ended


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decoders", description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="in all, shared by the formats")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--format", choices=sorted(targets()), action="append", help="only this one")
    parser.add_argument("--child", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.format or list(targets())
    if options.child:
        return _child(names[0], options.first, options.inputs, options.child)
    bad = 0
    for name in names:
        bad += not _in_children(name, options.first, max(1, options.inputs // len(names)))
    return 1 if bad else 0


def _child(name: str, first: int, inputs: int, file: str) -> int:
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(600, inputs / 20), exit=True)
    with open(file, "r+b", buffering=0) as notes:
        try:
            ended = run(name, first, inputs, lambda n: notes.write(b"%20d" % n) and notes.seek(0) and None)
        except Broken as error:
            print(f"{name}: {error}", flush=True)
            return 1
    faulthandler.cancel_dump_traceback_later()
    print(
        f"{name}: {inputs:,} inputs from {first:,}: " + ", ".join(f"{v:,} {k}" for k, v in ended.items()),
        flush=True,
    )
    return 0


def _in_children(name: str, first: int, inputs: int) -> bool:
    for start in range(first, first + inputs, CHUNK):
        count = min(CHUNK, first + inputs - start)
        with tempfile.NamedTemporaryFile() as notes:
            command = [sys.executable, "-m", "tests.fuzz.decoders", "--format", name, "--child", notes.name]
            code = subprocess.call([*command, "--first", str(start), "--inputs", str(count)], env=os.environ)
            if code < 0 or code > 1:
                print(
                    f"{name}: input {notes.read().decode().strip()} ended the process with {code}", flush=True
                )
            if code:
                return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
