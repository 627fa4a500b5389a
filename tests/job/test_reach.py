"""A job is found and asked over its socket, by its own user only, and leaves no socket behind."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import StreamlibError
from streamlib.job import Job, reach
from tests.job.live import Feed, Seen

pytestmark = pytest.mark.skipif(not reach.supported(), reason="needs Unix sockets")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "streamlib"


@pytest.fixture
def job(place: Path) -> Iterator[Job]:
    feed, rows = Feed().send(1, 2), Seen()
    job = sl.start(sl.read(feed).named("ticks").write(rows), name="bars")
    rows.wait(2)
    yield job
    if job.running:
        job.stop()
    assert list(place.iterdir()) == []


def test_a_job_is_found_and_answers(job: Job) -> None:
    (found,) = reach.running_jobs()
    assert (found.pid, found.name, found.status) == (os.getpid(), "bars", "running")
    assert reach.ask(found.path, "why")["text"] == str(job.why())
    assert reach.ask(found.path, "why", "ticks")["why"]["steps"][0]["step"] == "ticks"
    report = reach.ask(found.path, "report")
    assert report["report"]["rows_in"] == 2 and report["text"].startswith("running: 2 rows in")
    with pytest.raises(StreamlibError, match="no step 'tick'"):
        reach.ask(found.path, "why", "tick")


def test_only_the_user_can_reach_it(job: Job, place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_folder_that_others_may_enter_is_not_used(place: Path) -> None:
    place.mkdir()
    place.chmod(0o755)
    rows = Seen()
    job = sl.start(sl.read(Feed().send(1)).write(rows))
    rows.wait(1)
    assert list(place.iterdir()) == [] and reach.running_jobs() == []
    job.stop()


def test_a_link_to_a_folder_is_not_used(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    assert not reach.is_own(place)
    sl.run(sl.read(Feed(bounded=True).end()).write(Seen()))
    assert reach.running_jobs() == []


@pytest.mark.parametrize("what", [b"", b"{", b"[]\n", b'{"ask": "stop"}\n', b'{"ask": "why", "step": 7}\n'])
def test_what_is_no_question_is_refused_and_the_next_one_answered(job: Job, what: bytes) -> None:
    (found,) = reach.running_jobs()
    told = json.loads(_send(found.path, what))
    assert set(told) == {"error"}
    assert reach.ask(found.path, "about")["name"] == "bars"


@given(noise=st.binary(max_size=200))
def test_no_bytes_harm_it(noise: bytes) -> None:
    class Silent:
        name, status = "bars", "running"

    try:
        told = reach.answer(Silent(), noise)  # type: ignore[arg-type]
    except ValueError:
        return
    raise AssertionError(f"{noise!r} was answered by {told!r}")


def test_a_request_has_a_limit(job: Job) -> None:
    (found,) = reach.running_jobs()
    assert b"error" in _send(found.path, b"x" * (2 * reach.REQUEST_BYTES_MAX))


def test_one_who_connects_and_says_nothing_does_not_keep_the_job_from_ending(job: Job) -> None:
    (found,) = reach.running_jobs()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(found.path))
        assert job.stop().status == "stopped"


def test_a_socket_that_nobody_serves_is_removed(job: Job, place: Path) -> None:
    stale, other = place / "99-0.sock", place / "keep.txt"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(stale))
    dead.close()
    other.write_text("mine")
    assert [found.name for found in reach.running_jobs()] == ["bars"]
    assert not stale.exists() and other.exists()
    other.unlink()


def test_two_jobs_of_one_process_have_two_sockets(job: Job) -> None:
    with sl.start(sl.read(Feed().send(1)).write(Seen()), name="other") as other:
        assert sorted(found.name for found in reach.running_jobs()) == ["bars", "other"]
        other.stop()


def test_a_job_may_be_left_out(place: Path) -> None:
    with sl.start(sl.read(Feed().send(1)).write(Seen()), why=False) as job:
        assert reach.running_jobs() == []
        job.stop()


def _send(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # it was refused before all was sent
            pass
        parts = b""
        while part := connection.recv(65_536):
            parts += part
        return parts
