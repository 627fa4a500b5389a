"""What crosses between processes: messages with limits, rows, errors, turns, the plan."""

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.elements import Active, Barrier, Batch, BlockEnd, End, Idle, Origin, Watermark
from streamlib.errors import Location
from streamlib.eventtime import SplitTime
from streamlib.eventtime.splits import PerValues, Suspect
from streamlib.graph import plan_graph
from streamlib.runtime.run import RunOptions
from streamlib.workers import wire
from streamlib.workers.channels import IncomingChannel, control_of, control_values
from streamlib.workers.failures import from_values, to_values
from streamlib.workers.plans import read_plan, write_plan
from streamlib.workers.rows import read_batch, read_table, write_batch, write_table
from streamlib.workers.segments import Segment, mapped
from streamlib.workers.turns import give_back, read_split, write_split
from streamlib.workers.wire import INLINE_BYTES_MAX, BrokenWireError, Connection


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sender, receiver = Connection(one, blocking=True), Connection(two, blocking=True)
    yield sender, receiver
    sender.close()
    receiver.close()


def crossed(part: Any) -> Any:
    """A part as its receiver has it."""
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sender, receiver = Connection(one, blocking=True), Connection(two, blocking=True)
    sender.send(["part"], [part])
    (message,) = receiver.receive()
    sender.close()
    receiver.close()
    return message.parts[0]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_messages_come_in_order_with_their_parts(ends: tuple[Connection, Connection]) -> None:
    sender, receiver = ends
    large = Segment(INLINE_BYTES_MAX + 1)
    large.memory[:3] = b"big"
    own, handed = socket.socketpair()
    sender.send(["first", 1, None, "text", [2**63 - 1, -(2**63)]])
    sender.send(["second"], [b"small", large, handed, b""])
    found = []
    while len(found) < 2:
        found += list(receiver.receive())
    assert found[0].values == ["first", 1, None, "text", [2**63 - 1, -(2**63)]]
    small, big, taken, nothing = found[1].parts
    assert (bytes(small), bytes(big[:3]), len(big), bytes(nothing)) == (
        b"small",
        b"big",
        INLINE_BYTES_MAX + 1,
        b"",
    )
    with own, taken:
        own.send(b"hello")
        assert taken.recv(5) == b"hello"


def test_what_a_peer_does_not_take_yet_is_kept_and_closed_with_the_connection() -> None:
    before = open_files()
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sender, receiver = Connection(one, blocking=False), Connection(two, blocking=False)
    count = 0
    while not sender.pending:
        sender.send(["segment", count], [Segment(INLINE_BYTES_MAX + count + 1)])
        count += 1
    sender.send(["segment", count], [Segment(INLINE_BYTES_MAX + count + 1)])
    numbers: list[int] = []
    while len(numbers) <= count:
        for message in receiver.receive():
            assert len(message.parts[0]) == INLINE_BYTES_MAX + len(numbers) + 1
            numbers.append(message.values[1])
        sender.flush()
    assert numbers == list(range(count + 1)) and not sender.pending
    while not sender.pending:
        sender.send(["segment", 0], [Segment(INLINE_BYTES_MAX)])
    sender.close()
    receiver.close()
    assert open_files() == before


def test_a_peer_that_has_gone_ends_the_connection(ends: tuple[Connection, Connection]) -> None:
    sender, receiver = ends
    receiver.close()
    sender.send(["into the void"], [Segment(INLINE_BYTES_MAX + 1)])
    assert sender.ended and not sender.pending
    assert list(sender.receive()) == []


@pytest.mark.parametrize(
    "sent",
    [
        wire._PREFIX.pack(wire.HEADER_BYTES_MAX + 1, 0),
        wire._PREFIX.pack(2, wire.PARTS_MAX + 1),
        wire._PREFIX.pack(2, 0) + b"{}",
        wire._PREFIX.pack(2, 0) + b"[]",
        wire._PREFIX.pack(3, 0) + b"[1]",
        wire._PREFIX.pack(5, 1) + wire._PART.pack(0, 1 << 60) + b'["a"]',
        wire._PREFIX.pack(5, 1) + wire._PART.pack(1, 100) + b'["a"]',
        wire._PREFIX.pack(5, 1) + wire._PART.pack(9, 1) + b'["a"]',
    ],
)
def test_what_is_no_message_is_refused(ends: tuple[Connection, Connection], sent: bytes) -> None:
    sender, receiver = ends
    sender.socket.sendall(sent)
    with pytest.raises(BrokenWireError):
        list(receiver.receive())


def test_a_segment_that_is_shorter_than_said_is_refused() -> None:
    before = open_files()
    segment = Segment(10)
    with pytest.raises(ValueError, match="shorter"):
        mapped(segment.detach(), 5_000)
    assert open_files() == before


def test_a_segment_lives_as_long_as_what_lies_in_it() -> None:
    table = pa.table({"n": np.arange(100_000)})
    part = write_table(table)
    assert isinstance(part, Segment)
    before = open_files()
    column = read_table(crossed(part)).column("n").slice(7, 3)
    assert column.to_pylist() == [7, 8, 9]
    assert open_files() == before - 1, "memory, not files, holds what is read"


COLUMNS = st.sampled_from(["int", "text", "dictionary", "list", "null", "bool"])


def column(kind: str, rows: int, dice: np.random.Generator) -> pa.Array:
    numbers = dice.integers(0, 5, rows).tolist()
    some = [None if n == 0 else n for n in numbers]
    if kind == "text":
        return pa.array([None if n is None else "x" * n for n in some], pa.string())
    if kind == "dictionary":
        return pa.array([None if n is None else f"k{n}" for n in some], pa.string()).dictionary_encode()
    if kind == "list":
        return pa.array([None if n is None else [n] * n for n in some], pa.list_(pa.int32()))
    if kind == "null":
        return pa.nulls(rows)
    return pa.array(some, pa.int64()) if kind == "int" else pa.array([n and n > 2 for n in some], pa.bool_())


@given(
    st.lists(COLUMNS, min_size=1, max_size=4),
    st.sampled_from([0, 1, 3, 700, 40_000]),
    st.tuples(st.booleans(), st.booleans(), st.sampled_from(["none", "int", "array"])),
    st.integers(0, 2**32),
)
def test_batches_cross_unchanged(kinds: list[str], rows: int, hidden: Any, seed: int) -> None:
    dice = np.random.default_rng(seed)
    arrays = [column(kind, rows + 5, dice) for kind in kinds]
    whole = pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(kinds))])
    timed, marked, order = hidden
    batch = Batch(
        whole.slice(2, rows),
        dice.integers(-9, 9, rows) if timed else None,
        dice.integers(-9, 9, rows) if marked else None,
        {"none": None, "int": 1 << 41, "array": dice.integers(0, 1 << 60, rows)}[order],
        Origin(1, 2, "a.csv", 3, None, 5) if timed else None,
    )
    about, part = write_batch(batch)
    again = read_batch(about, crossed(part))
    assert again.rows.equals(batch.rows) and again.rows.schema.equals(batch.rows.schema)
    assert again.origin == batch.origin
    for mine, theirs in (
        (again.time, batch.time),
        (again.mark, batch.mark),
        (again.orders(), batch.orders()),
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.tolist() == theirs.tolist() and mine.flags.writeable


@pytest.mark.parametrize(
    "element", [Watermark(-(2**62)), Idle(), Active(3, 4), Barrier(5), BlockEnd(1, 2, 3), End()]
)
def test_elements_cross_unchanged(element: Any) -> None:
    assert control_of(*control_values(element)) == element


def test_the_receiver_gives_room_back_before_its_sender_runs_out() -> None:
    given_back: list[int] = []
    channel = IncomingChannel(1_000, given_back.append)
    batch = Batch(pa.record_batch({"n": [1]}))
    for _ in range(10):
        channel.arrived(batch, 100)
    while channel.take() is not None:
        pass
    assert 1_000 - sum(given_back) < 1_000 and len(given_back) <= 4


def test_errors_cross_with_all_that_they_say() -> None:
    error = sl.UserFunctionError(
        "it raised", step="map", at=Location("a.py", 3), where="a.csv, line 2", got="x", hint="mend it"
    )
    error.row = 7
    again = from_values(to_values(error))
    assert type(again) is sl.UserFunctionError and str(again) == str(error) and again.row == 7
    plain = KeyError("k")
    plain.add_note("streamlib: in step x")
    again = from_values(to_values(plain))
    assert type(again) is KeyError and again.args == ("k",) and again.__notes__ == plain.__notes__
    assert "KeyError" in str(again.__cause__)
    assert type(from_values(to_values(pa.ArrowInvalid("bad")))) is pa.ArrowInvalid

    class OwnError(Exception):
        pass

    unknown = from_values(to_values(OwnError("it", object())))
    assert type(unknown) is sl.StreamlibError and str(unknown).startswith("OwnError: ")


@pytest.mark.parametrize("name", ["eval", "print", "Exception_", "open", "__import__", "int"])
def test_an_error_names_a_class_of_errors_or_none(name: str) -> None:
    values = {**to_values(ValueError("x")), "class": name}
    assert type(from_values(values)) is sl.StreamlibError


def test_a_split_crosses_with_its_values_and_what_waits_for_confirmation() -> None:
    per = PerValues()
    for code, value in enumerate([("usdm", 1), (None, 2), ("spot", None)]):
        assert per.enter(value, floor=code) == code
    doubt = Suspect(Batch(pa.record_batch({"n": [1]}), np.array([5])), "a.csv, line 9", 5, 4)
    known = SplitTime("a.csv", 10, 1, 2, 3, 400, per=per, passed=7, late_entry_rows=2, suspect=doubt)
    schema = pa.schema({"venue": pa.string(), "lot": pa.int32()})
    values, parts = write_split(known, schema)
    again = read_split(values, [crossed(part) for part in parts])
    assert again.per is not None and again.per.codes == per.codes
    assert again.per.floor.tolist() == [0, 1, 2]
    assert again.suspect is not None and again.suspect.row.rows.equals(doubt.row.rows)
    fields = ("name", "max_time", "floor", "first_time", "next_block", "rows", "passed", "late_entry_rows")
    assert [getattr(again, f) for f in fields] == [getattr(known, f) for f in fields]
    again.rows = 500
    give_back(known, again)
    assert known.rows == 500 and known.suspect is again.suspect


def test_the_plan_has_no_rows_and_what_functions_refer_to_is_shared() -> None:
    table = pa.table({"n": np.arange(500_000)})
    weights = np.arange(200_000.0)
    frozen = pa.array(weights)
    stream = sl.read_arrow(table).map_batches(
        lambda rows: pa.record_batch(
            {"n": pa.array([float(weights[1]) + frozen[2].as_py()] * rows.num_rows)}
        ),
        {"n": "float64"},
    )
    plan = plan_graph([stream.print()])
    about, segment = write_plan(plan, RunOptions(batch_rows=5))
    assert about[0][0] < 20_000, "arrays are no part of the pickle"
    assert segment.nbytes < weights.nbytes + frozen.nbytes + 100_000, "rows are no part of the plan"
    again, options = read_plan(about, crossed(segment))
    assert [step.name for step in again.steps] == [step.name for step in plan.steps]
    assert options.batch_rows == 5
    assert again.steps[0].node.source.describe() == plan.steps[0].node.source.describe()


def test_connections_may_be_written_by_several_threads(ends: tuple[Connection, Connection]) -> None:
    sender, receiver = ends
    threads = [
        threading.Thread(target=lambda n=n: [sender.send(["n", n, i], [bytes(50)]) for i in range(200)])
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    found: list[list[Any]] = []
    while len(found) < 600:
        found += [message.values for message in receiver.receive()]
    for thread in threads:
        thread.join()
    for n in range(3):
        assert [values[2] for values in found if values[1] == n] == list(range(200))
