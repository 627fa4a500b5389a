"""The comparison suite: that every plan of a job gives one answer, that a wrong one is caught, what it writes."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from benchmarks import answers
from benchmarks.compare import __main__ as suite
from benchmarks.compare import child, outcome, process, venvs
from benchmarks.compare import suite as races
from benchmarks.compare.chart import chart
from benchmarks.compare.engines import ENGINES, base, flink
from benchmarks.compare.engines import bytewax as bytewax_engine
from benchmarks.compare.engines import duckdb as duckdb_engine
from benchmarks.compare.engines.base import Engine, NotBuilt, Task
from benchmarks.compare.engines.streamlib import built
from benchmarks.compare.job import JOBS, Job, find_job
from benchmarks.compare.jobs import quantiles
from benchmarks.compare.outcome import Outcome
from benchmarks.shapes import Shape

ROWS = 12_000
ASKED = {"job", "engine", "workers", "rows", "seconds", "rows_per_second", "peak_rss_mb", "result_hash"}
ONE = Outcome("tumbling_bars", "streamlib", 1, 1_000_000, 0.02, 5e7, 300.0, "ab12", 5)

WRONG_JOB = """
from benchmarks.compare.jobs.map_filter import MapFilter

class Wrong(MapFilter):
    name = "wrong_job"
    def streamlib(self, rows):
        from streamlib import col
        return super().streamlib(rows).with_columns(turnover=col("turnover") + 0.01)
    def polars(self):
        return {"halved": lambda rows: super(Wrong, self).polars()["filter"](rows).head(10)}

JOB = Wrong()
"""


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def every_answer(job: Job, table: pa.Table) -> dict[str, pa.Table]:
    connection = duckdb.connect(config={"threads": 1})
    inputs = job.inputs(table)
    sources = {f"arrow_{name}": rows for name, rows in zip(("input", "other"), inputs, strict=False)}
    for name, rows in sources.items():
        connection.register(name, rows)
    found = {
        f"duckdb, {name}": connection.sql(
            query.format(source="arrow_input", other="arrow_other")
        ).to_arrow_table()
        for name, query in job.duckdb().items()
    }
    frames: list[Any] = [pl.from_arrow(rows) for rows in inputs]
    found |= {
        f"polars, {name}": plan(*(frame.lazy() for frame in frames)).collect().to_arrow()
        for name, plan in job.polars().items()
    }
    if job.offers("pyarrow"):
        found["pyarrow"] = pa.Table.from_batches([job.pyarrow(b) for b in table.to_batches(1_000)])
    try:
        built(job, *map(sl.read_arrow, inputs))
    except NotBuilt:
        return found
    return found | {"streamlib": job.streamlib(*map(sl.read_arrow, inputs)).collect(workers=2)}


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_every_plan_gives_the_same_answer(name: str) -> None:
    job = find_job(name)
    table = job.data(ROWS)
    assert job.name == name and table.num_rows == ROWS
    assert {f.name: str(f.type) for f in table.schema} == dict(job.columns)
    found = every_answer(job, table)
    first, want = next(iter(found.items()))
    assert want.num_rows > 100
    hashes = set()
    for who, got in found.items():
        answers.check_same(want, got, who, job.answer, first)
        hashes.add(answers.hash_of(got, job.answer, near=False))
    assert len(hashes) == 1


def test_every_engine_names_a_method_of_jobs_and_every_target_an_engine() -> None:
    assert all(getattr(Job, engine.method) for engine in ENGINES.values())
    for name in JOBS:
        job = find_job(name)
        assert all(ENGINES[engine].does(job) for engine in job.targets), name
        assert {"streamlib", "duckdb", "polars"} <= {e for e in ENGINES if ENGINES[e].does(job)}


@pytest.mark.slow
def test_a_small_run_writes_rows_table_and_chart(
    own_modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = own_modules / "page.md"
    page.write_text(f"before\n{suite.MARKS[0]}\n{suite.MARKS[1]}\nafter\n")
    files = [str(own_modules / name) for name in ("rows.jsonl", "chart.svg")]
    engines = ["streamlib", "duckdb", "polars"]
    options = ["--small", "--jobs", "csv_to_parquet", "--engines", *engines]
    code = suite.main([*options, "--json", files[0], "--chart", files[1], "--readme", str(page)])
    rows = [json.loads(line) for line in Path(files[0]).read_text().splitlines()]
    assert code == 0 and [row["engine"] for row in rows] == engines
    for row in rows:
        assert row.keys() >= ASKED
        assert row["rows"] == suite.SMALL_ROWS and row["workers"] == 1 and row["peak_rss_mb"] > 20
        assert row["rows_per_second"] == pytest.approx(row["rows"] / row["seconds"])
    assert len({row["result_hash"] for row in rows}) == 1
    table = capsys.readouterr().out
    assert all(f"| csv_to_parquet | {engine}" in table for engine in engines)
    assert table.strip() in page.read_text() and page.read_text().endswith("\nafter\n")
    ET.parse(files[1])


@pytest.mark.slow
def test_a_wrong_answer_gets_no_figure(own_modules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_modules / "wrong_job.py").write_text(WRONG_JOB)
    rows = own_modules / "rows.jsonl"
    options = ["--small", "--jobs", "wrong_job", "--engines", "streamlib", "duckdb", "polars"]
    assert suite.main([*options, "--json", str(rows)]) == 1
    found = {one.engine: one for one in outcome.from_json(rows.read_text())}
    assert "streamlib and duckdb differ in turnover" in found["streamlib"].note
    assert "polars has 10 rows, duckdb" in found["polars"].note
    assert found["duckdb"].seconds and not found["duckdb"].note
    for name in ("streamlib", "polars"):
        assert found[name].note.startswith(outcome.WRONG) and found[name].failed
        assert found[name].seconds is found[name].rows_per_second is found[name].result_hash is None
    assert "* wrong_job, polars: wrong answer" in capsys.readouterr().out


class Unbuilt(Job):
    name = "unbuilt"

    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        return rows.no_such_verb()  # type: ignore[attr-defined,no-any-return]


class Broken(Unbuilt):
    def streamlib(self, rows: sl.Stream) -> sl.Stream:
        return rows.filter(sl.col("no_such_column") > 0)


def test_only_a_name_that_is_not_there_is_not_built() -> None:
    rows = sl.read_arrow(pa.table({"n": [1]}))
    with pytest.raises(NotBuilt, match="no_such_verb"):
        built(Unbuilt(), rows)
    with pytest.raises(sl.ColumnNotFoundError):
        built(Broken(), rows)


def ask(folder: Path, word: str, seconds_max: float = 60.0, job: str = "sessions") -> Any:
    task = Task(job, "duckdb", 1, str(folder / "input.arrow"), str(folder / "answer"))
    with process.EngineProcess(sys.executable, task, folder / "log", seconds_max) as engine:
        return engine.ask(word)


def test_an_engine_that_fails_says_how_and_one_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(process.EngineFailed, match="FileNotFoundError"):
        ask(tmp_path, "measure")
    with pytest.raises(process.EngineFailed, match="No module named 'no_such_job'"):
        ask(tmp_path, "measure", job="no_such_job")
    with pytest.raises(process.EngineFailed, match="took more than"):
        ask(tmp_path, "measure", seconds_max=0.0)


class Nothing(Engine):
    name = "nothing"
    requirements = ("no-such-package @ file:///no/such/package.whl",)


class NoJava(Engine):
    name = "no-java"

    def missing(self) -> str:
        return "needs Java"


def test_an_engine_that_cannot_be_installed_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(venvs.NotAvailable, match="needs Java"):
        venvs.python_of(NoJava(), tmp_path)
    with pytest.raises(venvs.NotAvailable):
        venvs.python_of(Nothing(), tmp_path, interpreter=str(tmp_path / "no-python"))
    assert venvs.python_of(ENGINES["duckdb"], tmp_path) == sys.executable
    monkeypatch.setattr(flink.shutil, "which", lambda name: None)
    assert "there is no java" in ENGINES["flink"].missing()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert venvs.default_folder() == tmp_path / "streamlib-bench"


def test_an_environment_is_made_once_and_again_when_it_was_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        python = tmp_path / "bytewax/bin/python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        return subprocess.CompletedProcess(command, failing, "ERROR: no wheel\nhint", "")

    monkeypatch.setattr(venvs.subprocess, "run", run)
    monkeypatch.setattr(venvs.os, "name", "posix")
    failing = 1
    with pytest.raises(venvs.NotAvailable, match=r"^ERROR: no wheel$"):
        venvs.python_of(ENGINES["bytewax"], tmp_path)
    failing = 0
    python = venvs.python_of(ENGINES["bytewax"], tmp_path)
    assert len(ran) == 3 and ran[-1][0] == python and ran[-1][-1] == ENGINES["bytewax"].requirements[0]
    assert venvs.python_of(ENGINES["bytewax"], tmp_path) == python and len(ran) == 3
    assert venvs.python_of(ENGINES["bytewax-memory"], tmp_path) == python and len(ran) == 3


def test_what_streamlib_leads_by_and_what_it_shall_lead_by() -> None:
    job = find_job("tumbling_bars")
    polars, csv = (replace(ONE, engine=name, rows_per_second=1e7) for name in ("polars", "streamlib-csv"))
    others = [
        replace(ONE, engine="bytewax", rows_per_second=2e5),
        replace(ONE, workers=2, rows_per_second=8e7),
    ]
    all_of_them = [ONE, polars, csv, *others]
    assert [outcome.lead(one, all_of_them) for one in all_of_them] == [None, 5.0, None, 50.0, 0.625]
    memory = replace(ONE, engine="bytewax-memory", rows=1_000_000, rows_per_second=5e5)
    assert outcome.lead(memory, all_of_them) == 100.0, "with what reads memory too"
    assert outcome.target(polars, job, 5.0) == "at least 2"
    assert outcome.target(others[0], job, 50.0) == "at least 100: **missed**"
    assert outcome.target(replace(polars, rows=1_000), job, 0.5) == ""
    scaling = outcome.target(others[1], find_job("hot_key"), 0.625)
    assert scaling == "two workers at least 1.6 x one, are 1.60 x"
    assert {field.name for field in fields(Outcome)} >= ASKED
    assert outcome.from_json(outcome.as_json(all_of_them)) == all_of_them


def test_engines_in_memory_have_the_rows_of_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[tuple[str, int, str]] = []

    def run(race: races.Race) -> list[Outcome]:
        for entry in map(race._entry, race.engines, [1] * len(race.engines)):
            raced.append((entry.task.engine, entry.outcome.rows, Path(entry.task.source).name))
        return []

    monkeypatch.setattr(races.Race, "run", run)
    options = races.Options(7, 3, 1, False, 9.0, tmp_path, tmp_path, "python")
    races.run_job(
        find_job("scan"), ["streamlib", "polars", "streamlib-csv", "bytewax-memory", "bytewax"], options
    )
    assert raced == [
        ("streamlib", 7, "input.arrow"),
        ("polars", 7, "input.arrow"),
        ("bytewax-memory", 7, "input.csv"),
        ("streamlib-csv", 3, "input.csv"),
        ("bytewax", 3, "input.csv"),
    ]


def test_the_chart_draws_what_was_measured() -> None:
    slow = replace(ONE, engine="duckdb", rows_per_second=1e7)
    text = chart([ONE, slow, replace(ONE, engine="polars", rows_per_second=None, note="not available: <&>")])
    bars = [e for e in ET.fromstring(text).iter() if e.tag.endswith("rect")]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] == pytest.approx(5 * widths[1], abs=1) and len(widths) == 2
    assert "prefers-color-scheme: dark" in text
    ET.fromstring(chart([]))


def test_answers_that_are_near_are_the_same_only_where_they_may_be() -> None:
    shape = Shape({"k": "int64", "exact": "double", "near": "double"}, keys=("k",), near=("near",))
    one = pa.table({"k": [1, 2], "exact": [1.0, 2.0], "near": [3.0, 4.0]})
    tiny = np.array([1.0, 2.0]) * (1 + 1e-12)
    answers.check_same(one, one.set_column(2, "near", pa.array([3.0, 4.0 * (1 + 1e-12)])), "x", shape)
    with pytest.raises(AssertionError, match=r"differ in exact of 2 rows; at 1: "):
        answers.check_same(one, one.set_column(1, "exact", pa.array(tiny)), "x", shape)
    with pytest.raises(AssertionError, match=r"differ in near of 1 rows; at 2: 4.1, not 4.0"):
        answers.check_same(one, one.set_column(2, "near", pa.array([3.0, 4.1])), "x", shape)
    with pytest.raises(AssertionError, match="no column near"):
        answers.check_same(one, one.drop_columns(["near"]), "x", shape)


def test_the_suite_imports_without_any_engine() -> None:
    """Peers' processes have nothing but their engine: the modules need the standard library alone."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pyarrow', 'numpy', 'streamlib', 'duckdb', 'polars']))\n"
        "import benchmarks.compare.child\n"
        "from benchmarks.compare.job import JOBS, find_job\n"
        "print(len([find_job(name) for name in JOBS]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=process.ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(JOBS)


@pytest.mark.parametrize("module", [base, bytewax_engine, duckdb_engine, quantiles, venvs, child])
def test_examples_in_docstrings(module: Any) -> None:
    assert doctest.testmod(module).failed == 0
