"""What a run of the comparison gives: a row for each job and engine, as JSON and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.compare.engines import ENGINES
from benchmarks.compare.job import Job
from benchmarks.measure import number

OURS = ("streamlib", "streamlib-csv")

TARGET_ROWS = 500_000
"""Below this, starting a run takes longer than running: targets say nothing."""


@dataclass(frozen=True)
class Outcome:
    """One engine on one job.

    Attributes:
        job: a job's name.
        engine: an engine's name.
        workers: how many it ran with.
        rows: of the input.
        seconds: the median of the runs; None when there is no figure, and `note` says why.
        rows_per_second: rows by seconds.
        peak_rss_mb: the most memory of the engine's process, its input included where that is in memory.
        result_hash: of the answer without the columns that may differ in their last digits; engines
            that agree have the same.
        runs: of how many runs `seconds` is the median.
        plan: which of the engine's plans ran.
        version: of the engine.
        note: why there is no figure.
    """

    job: str
    engine: str
    workers: int
    rows: int
    seconds: float | None = None
    rows_per_second: float | None = None
    peak_rss_mb: float | None = None
    result_hash: str | None = None
    runs: int = 0
    plan: str = ""
    version: str = ""
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether this says that something is broken, rather than not there."""
        return self.note.startswith((WRONG, FAILED))


WRONG, FAILED = "wrong answer: ", "failed: "
NOT_BUILT, NOT_AVAILABLE = "not built yet: ", "not available: "


def as_json(outcomes: Sequence[Outcome]) -> str:
    """A JSON object a line."""
    return "".join(json.dumps(asdict(one)) + "\n" for one in outcomes)


def from_json(text: str) -> list[Outcome]:
    """The outcomes of lines that `as_json` wrote."""
    return [Outcome(**json.loads(line)) for line in text.splitlines() if line.strip()]


def lead(one: Outcome, outcomes: Sequence[Outcome]) -> float | None:
    """How many times this engine's rate streamlib's is with one worker, from the same kind of input."""
    ours = OURS[ENGINES[one.engine].from_files]
    first = next((o for o in outcomes if (o.job, o.engine, o.workers) == (one.job, ours, 1)), None)
    if first is None or first.rows_per_second is None or one.rows_per_second is None or one is first:
        return None
    return first.rows_per_second / one.rows_per_second


def target(one: Outcome, job: Job, ratio: float | None) -> str:
    """What `lead` shall be, and whether it is."""
    if one.rows < TARGET_ROWS:
        return ""
    wanted = job.targets.get(one.engine, 0.0)
    if one.engine == OURS[0] and one.workers == 2 and job.scaling and ratio:
        got, met = 1 / ratio, 1 / ratio >= job.scaling
        return f"two workers at least {job.scaling:g} x one, are {got:.2f} x" + (
            "" if met else ": **missed**"
        )
    if not wanted or ratio is None:
        return ""
    return f"at least {wanted:g}" + ("" if ratio >= wanted else ": **missed**")


def table(outcomes: Sequence[Outcome], jobs: Sequence[Job]) -> str:
    """The outcomes as a Markdown table, and below it what has no figure and why."""
    by_name = {job.name: job for job in jobs}
    lines = [
        "| job | engine | workers | rows | seconds | M rows/s | streamlib is | target | peak MB | answer |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for one in outcomes:
        if one.seconds is None or one.rows_per_second is None:
            continue
        ratio = lead(one, outcomes)
        name = f"{one.engine} ({one.plan})" if one.plan else one.engine
        lines.append(
            f"| {one.job} | {name} | {one.workers} | {one.rows:,} | {number(one.seconds)} "
            f"| {number(one.rows_per_second / 1e6)} | {'' if ratio is None else f'{ratio:.2f} x'} "
            f"| {target(one, by_name[one.job], ratio)} | {number(one.peak_rss_mb or 0.0)} | {one.result_hash} |"
        )
    without = [f"* {one.job}, {one.engine}: {one.note}" for one in outcomes if one.note]
    return "\n".join(lines + (["", *without] if without else []))
