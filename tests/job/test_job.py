"""`start` and `Job`: running in the background, stopping, and what is left after each way to end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import BuildError, SinkError, StreamlibError, UserFunctionError
from streamlib.connectors.memory import ArrowSource, CollectSink
from streamlib.job import interrupts
from streamlib.job.drive import was_stopped
from streamlib.observe.why import Cause
from streamlib.runtime.execute import Execution
from streamlib.runtime.inline import run_inline
from tests.job.live import WAIT_S_MAX, Feed, Seen

WORKERS = [1, 2]
TABLE = pa.table({"ts": pa.array(range(100), pa.timestamp("s")), "n": range(100)})


def counts(source, **options) -> sl.Stream:
    timed = sl.read(source).event_time("ts", max_delay="0s")
    return timed.window(sl.tumbling("10s"), **options).agg(n=sl.count()).named("bars")


@pytest.mark.parametrize("workers", WORKERS)
def test_a_job_ends_with_its_input_and_reports_the_same_as_run(workers: int) -> None:
    made = CollectSink()
    job = sl.start(counts(ArrowSource(TABLE, 7)).write(made), workers=workers, name="bars")
    report = job.wait()
    ran = sl.run(counts(ArrowSource(TABLE, 7)).write(CollectSink()), workers=workers)
    assert (report.status, report.rows_in, report.rows_out) == ("finished", 100, 10)
    assert (ran.status, ran.rows_in, ran.rows_out) == ("finished", 100, 10)
    assert made.table().num_rows == 10
    assert not job.running and job.status == "finished"
    assert job.report() is report and job.wait() is report
    assert job.name == report.name == "bars" and "bars" in repr(job)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("flush", [None, False, True])
def test_a_stop_finishes_what_was_read_and_counts_what_stays_open(workers: int, flush: bool | None) -> None:
    feed, rows, made = Feed().send(1, 2, 11, 25), Seen(), CollectSink()
    stream = sl.read(feed)
    timed = stream.event_time("ts", max_delay="0s").window(sl.tumbling("10s"))
    bars = timed.agg(n=sl.count()).named("bars")
    job = sl.start(stream.write(rows), bars.write(made), workers=workers)
    rows.wait(4)
    assert job.running and job.status == "running"
    report = job.stop(flush)
    assert report.status == "stopped" and rows.committed
    assert made.table()["n"].to_pylist() == ([2, 1, 1] if flush else [2, 1])
    assert report.windows_left_open == ({} if flush else {"bars": 1})
    assert report.rows_left_open == ({} if flush else {"bars": 1})
    assert job.stop() is report, "a second stop changes nothing"


def test_on_stop_says_what_a_stop_does() -> None:
    feed, rows, made = Feed().send(1), Seen(), CollectSink()
    job = sl.start(sl.read(feed).write(rows), counts(feed).write(made), on_stop="flush")
    feed.send(2)
    rows.wait(1)
    job.stop()
    assert made.table().num_rows <= 1 and job.report().windows_left_open == {}


@pytest.mark.parametrize("workers", WORKERS)
def test_a_stop_may_come_at_any_moment(workers: int) -> None:
    """Stopping races with the end of the input: whichever comes first, no row is lost uncounted."""
    for _ in range(20):
        made = CollectSink()
        job = sl.start(counts(ArrowSource(TABLE, 1)).write(made), workers=workers, batch_rows=1)
        report = job.stop()
        assert report.status in ("finished", "stopped")
        written = sum(made.table()["n"].to_pylist())
        assert written + sum(report.rows_left_open.values()) == report.rows_in


def test_a_stop_that_comes_after_the_last_row_leaves_no_window_open() -> None:
    made = CollectSink()
    execution = Execution([counts(ArrowSource(TABLE, 7)).write(made)])
    execution.open()
    while not execution.shared.pool.all_exhausted():
        execution.workers[0].step()
    execution.stop()
    run_inline(execution)
    execution.finish()
    execution.close()
    assert sum(made.table()["n"].to_pylist()) == 100
    assert not was_stopped(execution)


@pytest.mark.parametrize("workers", WORKERS)
def test_the_error_of_a_job_is_raised_by_wait_from_where_it_began(workers: int, tmp_path: Path) -> None:
    def fails(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows:
            raise ValueError("ninety")
        return rows

    stream = sl.read(ArrowSource(TABLE)).map_batches(fails)
    job = sl.start(stream.write_files(tmp_path / "out", "csv"), workers=workers)
    for _ in range(2):
        with pytest.raises(UserFunctionError, match="ninety") as caught:
            job.wait()
        assert any(entry.name == "fails" for entry in _chain(caught.value))
    report = job.report()
    assert report.status == "failed" and report.error is not None and "fails" in report.error
    assert "error" in str(report) and list(tmp_path.iterdir()) == []
    assert job.why().steps[0].cause is Cause.ENDED


def _chain(error: BaseException):
    at: BaseException | None = error
    while at is not None:
        yield from pytest.ExceptionInfo.from_exception(at).traceback
        at = at.__cause__


def test_what_cannot_be_opened_is_raised_by_start(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("n\n")
    with pytest.raises(SinkError, match="exists"):
        sl.start(sl.read(ArrowSource(TABLE)).write_files(tmp_path / "out.csv"))


def test_what_fails_later_is_never_raised_by_start() -> None:
    """However soon it fails: `start` must not depend on who is faster."""

    def fails(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows:
            raise ValueError
        return rows

    for _ in range(30):
        job = sl.start(sl.read(ArrowSource(TABLE)).map_batches(fails).write(Seen()))
        with pytest.raises(UserFunctionError):
            job.wait()


def test_wait_gives_up_and_the_job_goes_on() -> None:
    feed, rows = Feed(), Seen()
    with sl.start(sl.read(feed).write(rows)) as job:
        with pytest.raises(TimeoutError, match="still runs"):
            job.wait(0)
        feed.send(1).end()
    assert rows.rows == [1] and rows.committed


def raise_within(job: sl.Job, rows: Seen) -> None:
    with job:
        rows.wait(1)
        raise ZeroDivisionError


def test_a_block_that_raises_stops_a_job_on_endless_input() -> None:
    feed, rows = Feed().send(1), Seen()
    job = sl.start(sl.read(feed).write(rows))
    with pytest.raises(ZeroDivisionError):
        raise_within(job, rows)
    assert job.report().status == "stopped" and rows.committed


def test_a_block_that_raises_calls_off_a_job_on_input_that_ends() -> None:
    feed, rows = Feed(bounded=True).send(1), Seen()
    job = sl.start(sl.read(feed).write(rows))
    with pytest.raises(ZeroDivisionError):
        raise_within(job, rows)
    assert job.report().status == "aborted" and rows.aborted and not rows.committed
    with pytest.raises(StreamlibError, match="called off"):
        job.wait()


def test_report_and_why_while_it_runs() -> None:
    feed, rows = Feed().send(1, 2), Seen()
    stream = sl.read(feed)
    bars = stream.event_time("ts", max_delay="3s").window(sl.tumbling("10s")).agg(n=sl.count()).named("bars")
    job = sl.start(bars.write(CollectSink()), stream.write(rows))
    rows.wait(2)
    while job.why("bars").steps[0].cause is not Cause.SILENT:  # until the source was asked in vain
        assert job.running
    assert str(job.why("bars")).startswith(
        "bars: 1 window open, waiting for 2026-01-05 12:00:10; held at 11:59:59 by feed (silent "
    )
    report = job.report()
    assert (report.status, report.rows_in, report.windows_left_open) == ("running", 2, {"bars": 1})
    with pytest.raises(BuildError, match="no step 'bas'") as caught:
        job.why("bas")
    assert caught.value.hint == "did you mean 'bars'?"
    job.stop()


def test_why_names_a_sink_that_everything_waits_for() -> None:
    feed, rows = Feed().send(1), Seen()
    rows.hold()
    stream = sl.read(feed)
    job = sl.start(stream.write(rows), counts(feed).write(CollectSink()))
    assert rows.inside.wait(WAIT_S_MAX)
    text = str(job.why())
    assert "worker 0 is writing to seen (" in text and "test_job.py:" in text
    rows.release()
    job.stop()


def test_why_names_a_function_that_everything_waits_for() -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows.num_rows:
            inside.set()
            go.wait(WAIT_S_MAX)
        return rows

    feed = Feed().send(1, 15)
    job = sl.start(sl.read(feed).map_batches(slow).named("slow").write(Seen()))
    assert inside.wait(WAIT_S_MAX)
    found = job.why().steps[0]
    assert found.cause is Cause.BUSY and "worker 0 is inside slow (" in str(found)
    go.set()
    job.stop()


# ---- options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", ""),
        ("name", " bars"),
        ("name", "two\nlines"),
        ("name", "x" * 101),
        ("name", 7),
        ("workers", 0),
        ("batch_rows", True),
        ("progress", "yes"),
        ("deterministic", 1),
        ("on_stop", "drop"),
        ("why", None),
    ],
)
@pytest.mark.parametrize("verb", [sl.run, sl.start])
def test_an_option_without_such_a_value_is_refused_at_the_users_line(
    verb, option: str, value: object
) -> None:
    with pytest.raises(BuildError, match=f"^{option}= has no such value") as caught:
        verb(sl.read(ArrowSource(TABLE)).write(Seen()), **{option: value})
    assert caught.value.at is not None and caught.value.at.file.endswith("test_job.py")


def test_deterministic_refuses_what_may_depend_on_timing_and_names_it() -> None:
    timed = sl.read(ArrowSource(TABLE)).event_time("ts", max_delay="1s", idle="leave").named("clock")
    with pytest.raises(BuildError, match="may depend on timing") as caught:
        sl.run(timed.write(Seen()), deterministic=True)
    assert caught.value.step == "clock" and "idle='leave'" in str(caught.value.got)
    waits = sl.read(ArrowSource(TABLE)).event_time("ts", max_delay="1s")
    assert sl.run(waits.write(Seen()), deterministic=True).rows_in == 100


# ---- signals -----------------------------------------------------------------------------------------


def interrupt(number: int) -> None:
    """As if the terminal had sent it: Python's handlers run on the main thread, which these tests are on."""
    signal.raise_signal(number)


class Signals:
    """Sends a signal when a job has come far enough, from a thread beside `run`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *sent: int) -> None:
        self.sent = list(sent)
        self.ready = threading.Event()
        real = interrupts.Interrupts.__enter__

        def entered(this: interrupts.Interrupts) -> interrupts.Interrupts:
            self.seen = this.seen
            return real(this)

        monkeypatch.setattr(interrupts.Interrupts, "__enter__", entered)

    def send(self) -> None:
        self.seen.append(self.sent.pop(0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_over_endless_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    signals, feed, rows = Signals(monkeypatch, number), Feed().send(1, 2), Seen()
    waiting = threading.Thread(target=lambda: (rows.wait(2), signals.send()))
    waiting.start()
    report = sl.run(sl.read(feed).write(rows))
    waiting.join()
    assert report.status == "stopped" and rows.committed
    assert "stopping" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
@pytest.mark.parametrize("workers", WORKERS)
def test_a_signal_calls_off_a_run_over_input_that_ends(
    monkeypatch: pytest.MonkeyPatch, number: int, raised: type[BaseException], workers: int
) -> None:
    signals, feed, rows = Signals(monkeypatch, number), Feed(bounded=True).send(1, 2), Seen()
    waiting = threading.Thread(target=lambda: (rows.wait(2), signals.send()))
    waiting.start()
    with pytest.raises(raised) as caught:
        sl.run(sl.read(feed).write(rows), workers=workers)
    waiting.join()
    assert rows.aborted and not rows.committed
    if raised is SystemExit:
        assert caught.value.code == 143


def test_with_flush_a_signal_stops_a_run_over_any_input(monkeypatch: pytest.MonkeyPatch) -> None:
    signals, feed, rows = Signals(monkeypatch, signal.SIGINT), Feed(bounded=True).send(1), Seen()
    waiting = threading.Thread(target=lambda: (rows.wait(1), signals.send()))
    waiting.start()
    report = sl.run(sl.read(feed).write(rows), on_stop="flush")
    waiting.join()
    assert report.status == "stopped" and rows.committed


def test_the_second_signal_calls_off_a_stop_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    signals, feed, rows = Signals(monkeypatch, signal.SIGINT, signal.SIGINT), Feed().send(1), Seen()
    rows.hold()

    def twice() -> None:
        rows.inside.wait(WAIT_S_MAX)
        signals.send()
        signals.send()

    waiting = threading.Thread(target=twice)
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        sl.run(sl.read(feed).write(rows))
    waiting.join()
    assert rows.aborted and not rows.committed


def test_a_real_signal_is_noted_and_the_handlers_come_back() -> None:
    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    try:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with interrupts.Interrupts() as noted:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        assert noted.seen == [signal.SIGINT, signal.SIGTERM]
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    finally:
        signal.signal(signal.SIGINT, found)


def test_a_handler_of_the_users_own_is_left_alone() -> None:
    def own(number: int, frame: object) -> None:
        """Does nothing."""

    before = signal.signal(signal.SIGINT, own)
    try:
        with interrupts.Interrupts():
            assert signal.getsignal(signal.SIGINT) is own
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_beside_the_main_thread_handles_no_signal() -> None:
    found: list[object] = []

    def beside() -> None:
        found.append(sl.run(sl.read(ArrowSource(TABLE)).write(Seen())).rows_in)

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    assert found == [100]


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("bars.py", "bars"),
        ("folder/live ticks.py", "live ticks"),
        ("-c", "job"),
        ("", "job"),
        ("a\nb.py", "ab"),
    ],
)
def test_a_job_without_a_name_has_that_of_the_script(
    monkeypatch: pytest.MonkeyPatch, program: str, name: str
) -> None:
    monkeypatch.setattr("sys.argv", [program])
    assert sl.run(sl.read(ArrowSource(TABLE)).write(Seen())).name == name
