"""Followed files: growth, rotation, new files, truncation, and going on from a position."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlib.connectors import csv, jsonl
from streamlib.connectors.files.follow import FollowedFiles
from streamlib.connectors.formats import lines, raw_bytes
from streamlib.contracts import PENDING, Block, SplitReader
from streamlib.errors import BuildError, SourceError

N = {"n": int}


class Follower:
    """Reads what there is, again and again, and keeps every position."""

    def __init__(self, source: FollowedFiles, position: Any = None, split: int = 0) -> None:
        self.source = source
        self.reader: SplitReader = source.open(source.splits()[split], position)
        self.positions: list[Any] = []
        self.rows: list[Any] = []
        self.next_row: int | None = None

    def more(self) -> list[Any]:
        """The rows that have come since the last call."""
        new: list[Any] = []
        while True:
            answer = self.reader.read()
            if answer is PENDING:
                assert self.reader.read() is PENDING
                self.rows += new
                return new
            assert isinstance(answer, Block), "followed files do not end"
            assert self.next_row in (None, answer.first_row)
            before = len(new)
            for batch in self.reader.decode(answer):
                new += [
                    tuple(row.values()) if len(row) > 1 else next(iter(row.values()))
                    for row in batch.to_pylist()
                ]
            assert answer.first_row is not None
            self.next_row = answer.first_row + len(new) - before
            self.positions.append(json.loads(json.dumps(answer.position)))

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.close()


def append(path: Path, text: str | bytes) -> None:
    with open(path, "ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def test_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    source = FollowedFiles(path, schema=N)
    assert not source.bounded
    with Follower(source) as it:
        assert it.more() == []
        path.touch()
        assert it.more() == []
        append(path, '{"n":1}\n{"n"')
        assert it.more() == [1]
        assert it.more() == []
        append(path, ":2}")
        assert it.more() == []
        append(path, "\n")
        assert it.more() == [2]
        append(path, '{"n":3}\n{"n":4}\n')
        assert it.more() == [3, 4]


def test_a_csv_header_that_is_still_being_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with Follower(FollowedFiles(path, schema={"price": float})) as it:
        for part in ("pri", "ce,x", '\n1.5,"a'):
            append(path, part)
            assert it.more() == []
        append(path, '\nb"\n2.5,c\n')
        assert it.more() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("name", "fmt", "texts", "values"),
    [
        ("a.csv", csv(header=False), ["1\n2", "3\n"], [1, 23]),
        ("a.log", lines(), ["x\ny", "z\n"], ["x", "yz"]),
        ("a.bin", raw_bytes(delimiter=b";"), ["x;y", "z;"], [b"x", b"yz"]),
        ("a.bin", raw_bytes(size=2), ["abc", "d"], [b"ab", b"cd"]),
    ],
)
def test_every_format_that_can_grow(
    tmp_path: Path, name: str, fmt: Any, texts: list[str], values: list[Any]
) -> None:
    path = tmp_path / name
    kind = {int: "int64", str: "string", bytes: "binary"}[type(values[0])]
    with Follower(FollowedFiles(path, fmt, {"v": kind})) as it:
        append(path, texts[0])
        assert it.more() == values[:1]
        append(path, texts[1])
        assert it.more() == values[1:]


def test_a_rotated_file_is_read_to_its_end(tmp_path: Path) -> None:
    path, old = tmp_path / "a.jsonl", tmp_path / "a.jsonl.1"
    append(path, '{"n":1}\n')
    with Follower(FollowedFiles(path, metadata=True)) as it:
        assert it.more() == [(1, str(path), 0)]
        path.rename(old)
        assert it.more() == []
        append(old, '{"n":2}\n')  # who writes has not noticed yet
        assert it.more() == [(2, str(path), 1)]
        path.touch()
        append(old, '{"n":3}\n{"n":4}')
        assert it.more() == [(3, str(path), 2)]
        append(path, '{"n":5}\n')
        assert it.more() == [(4, str(path), 3), (5, str(path), 0)]
        path.rename(old)  # over the first one
        append(path, '{"n":6}\n')
        assert it.more() == [(6, str(path), 0)]


def test_a_folder_that_gets_files(tmp_path: Path) -> None:
    with Follower(FollowedFiles(tmp_path / "*.csv", schema=N)) as it:
        assert it.more() == []
        append(tmp_path / "b.csv", "n\n1\n2")
        assert it.more() == [1]
        (tmp_path / "c.csv").touch()
        assert it.more() == []
        append(tmp_path / "c.csv", "n\n3\n")
        assert it.more() == [2, 3]
        append(tmp_path / "d.csv", "n\n4\n")
        append(tmp_path / "e.csv", "n\n5\n")
        assert it.more() == [4, 5]
        assert len({p["file"] for p in it.positions}) == 4
        append(tmp_path / "a.csv", "n\n0\n")
        with pytest.raises(SourceError, match="sorts before"):
            it.more()


def test_a_file_that_grows_after_a_later_one_was_begun(tmp_path: Path) -> None:
    append(tmp_path / "a.csv", "n\n1\n")
    append(tmp_path / "b.csv", "n\n2\n")
    with Follower(FollowedFiles(tmp_path)) as it:
        assert it.more() == [1, 2]
        append(tmp_path / "a.csv", "9\n")
        with pytest.raises(SourceError, match="has grown after"):
            it.more()


def test_rotated_names_that_the_pattern_matches_are_known(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, "1\n")
    with Follower(FollowedFiles(tmp_path / "app.log*", "lines")) as it:
        assert it.more() == ["1"]
        path.rename(tmp_path / "app.log.1")
        append(path, "2\n")
        assert it.more() == ["2"]
        (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
        path.rename(tmp_path / "app.log.1")
        append(path, "3\n")
        assert it.more() == ["3"]


def test_each_path_is_a_log(tmp_path: Path) -> None:
    source = FollowedFiles([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], schema=N)
    with Follower(source, split=0) as a, Follower(source, split=1) as b:
        for n in range(3):
            append(tmp_path / "a.jsonl", f'{{"n":{n}}}\n')
            append(tmp_path / "b.jsonl", f'{{"n":{n + 10}}}\n')
            assert (a.more(), b.more()) == ([n], [n + 10])


@pytest.mark.parametrize("text", ['{"n":7}\n', '{"n":7}\n' * 40], ids=["shorter", "longer"])
def test_truncation_is_an_error_or_a_new_beginning(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    append(path, '{"n":1}\n{"n":2}\n')
    with (
        Follower(FollowedFiles(path)) as strict,
        Follower(FollowedFiles(path, on_truncate="restart")) as mild,
    ):
        assert strict.more() == mild.more() == [1, 2]
        with open(path, "r+b") as file:
            file.truncate(0)
        append(path, text)
        with pytest.raises(SourceError, match="cut short or written anew") as raised:
            strict.more()
        assert raised.value.where == str(path)
        assert mild.more() == [7] * text.count("\n")
        append(path, '{"n":8}\n')
        assert mild.more() == [8]
    (position,) = strict.positions
    with pytest.raises(SourceError, match="cut short or written anew"):
        Follower(FollowedFiles(path), position)
    with Follower(FollowedFiles(path, on_truncate="restart"), position) as again:
        assert again.more() == [7] * text.count("\n") + [8]


@given(
    pieces=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    rotate=st.sets(st.integers(0, 11)),
    folder=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_going_on_from_any_position_gives_what_follows_it(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[int], rotate: set[int], folder: bool
) -> None:
    """Rows are appended in pieces; some pieces begin a new file, by a later name or in the place of the old."""
    room = tmp_path_factory.mktemp("room")
    path = room / "00.log"
    source = FollowedFiles(room if folder else path, "lines", {"line": str})
    written: list[str] = []
    with Follower(source) as it:
        for number, count in enumerate(pieces):
            if number in rotate and number and path.exists() and path.stat().st_size:
                if folder:
                    path = room / f"{number:02}.log"
                else:
                    path.rename(room / f"00.log.{number}")
            more = [f"{number}/{i}" for i in range(count)]
            append(path, "".join(f"{line}\n" for line in more))
            written += more
            it.more()
        assert it.rows == written
        for position in it.positions:
            before = position["row"] + position["at"]["row"]
            with Follower(FollowedFiles(room if folder else path, "lines", {"line": str}), position) as again:
                again.more()
                assert again.rows == written[before:]


def test_a_position_in_a_file_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append(path, '{"n":1}\n')
    with Follower(FollowedFiles(path)) as it:
        it.more()
    path.unlink()
    append(path, '{"m":1}\n')
    with pytest.raises(SourceError, match=r"is gone|cut short or written anew"):
        Follower(FollowedFiles(path, schema=N), it.positions[0])


def test_a_file_that_sorts_before_appeared_while_nobody_looked(tmp_path: Path) -> None:
    append(tmp_path / "b.jsonl", '{"n":1}\n')
    with Follower(FollowedFiles(tmp_path)) as it:
        it.more()
    append(tmp_path / "a.jsonl", '{"n":0}\n')
    with pytest.raises(SourceError, match="sorts before"):
        Follower(FollowedFiles(tmp_path), it.positions[0])


def test_files_with_an_end_are_read_when_they_appear(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2]})
    with Follower(FollowedFiles(tmp_path, "parquet", N)) as it:
        assert it.more() == []
        pq.write_table(table, tmp_path / "a.parquet")
        assert it.more() == [1, 2]
        pq.write_table(table, tmp_path / "b.parquet")
        assert it.more() == [1, 2]
    (tmp_path / "packed").mkdir()
    with Follower(FollowedFiles(tmp_path / "packed" / "*", jsonl(), N)) as it:
        (tmp_path / "packed" / "a.jsonl.gz").write_bytes(gzip.compress(b'{"n":1}\n{"n":2}'))
        assert it.more() == [1, 2]
        append(tmp_path / "packed" / "b.jsonl", '{"n":3}\n')
        assert it.more() == [3]


def test_what_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="declare schema="):
        FollowedFiles(tmp_path / "a.jsonl").schema()
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(SourceError, match="no whole line"):
        FollowedFiles(tmp_path / "a.jsonl").schema()
    append(tmp_path / "a.jsonl", '{"n":1}\n{"n":"x')
    assert FollowedFiles(tmp_path / "a.jsonl").schema() == pa.schema({"n": pa.int64()})
    with pytest.raises(BuildError, match="on_truncate="):
        FollowedFiles(tmp_path / "a.jsonl", on_truncate="ignore")
    with pytest.raises(BuildError, match="only UTF-8"):
        FollowedFiles(tmp_path / "a.jsonl", lines(encoding="latin-1"))


def test_a_folder_that_did_not_change_is_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path / "a.csv", "n\n1\n")
    source = FollowedFiles(tmp_path)
    listing = next(iter(source.listings.values()))
    os.utime(tmp_path, (1, 1))
    found = listing.files()
    calls: list[str] = []
    monkeypatch.setattr(listing, "_list", lambda: calls.append("listed") or found)
    for _ in range(5):
        assert listing.files() == found
    assert not calls
    append(tmp_path / "b.csv", "n\n1\n")
    listing.files()
    assert calls
