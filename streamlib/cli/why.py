"""`streamlib why [JOB]`: what running jobs wait for."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamlib.job.reach import Found


def add_to(commands: Any) -> None:
    """Adds the subcommand to `commands` of argparse."""
    parser = commands.add_parser(
        "why",
        help="show what running jobs wait for",
        description=(
            "Asks the jobs of this user that run on this machine why they have no output now: how many windows are\n"
            "open, which watermark they wait for, and what holds it back. Without JOB all jobs are listed."
        ),
        epilog=(
            "examples:\n  streamlib why\n  streamlib why bars --step minutes\n  streamlib why 4711 --report\n"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", nargs="?", help="a job's name or process id")
    parser.add_argument("--step", help="only this step")
    parser.add_argument(
        "--report", action="store_true", help="show the rows read, written, late and dropped too"
    )
    parser.add_argument("--json", action="store_true", help="print for programs")
    parser.set_defaults(call=call)


def call(given: argparse.Namespace) -> int:
    """Asks and prints."""
    from streamlib.job.reach import running_jobs, supported

    if not supported():
        print("streamlib: `why` needs Unix sockets, which this system lacks: call job.why()", file=sys.stderr)
        return 1
    jobs = running_jobs()
    if given.job is not None:
        jobs = [job for job in jobs if given.job in (str(job.pid), job.name)]
        if not jobs:
            print(
                f"streamlib: no job {given.job!r} runs here; `streamlib why` lists those that do",
                file=sys.stderr,
            )
            return 1
    if not jobs and not given.json:
        print("no job runs")
        return 0
    answers = [answer for job in jobs if (answer := _ask(job, given)) is not None]
    if given.json:
        print(json.dumps([answer["json"] for answer in answers], indent=2))
    else:
        print("\n\n".join(str(answer["text"]) for answer in answers))
    return 0 if len(answers) == len(jobs) else 1


def _ask(job: Found, given: argparse.Namespace) -> dict[str, Any] | None:
    from streamlib.errors import StreamlibError
    from streamlib.job.reach import ask

    try:
        why = ask(job.path, "why", given.step)
        report = ask(job.path, "report") if given.report else None
    except (OSError, ValueError, StreamlibError) as error:
        print(f"streamlib: {job.name} (process {job.pid}): {error}", file=sys.stderr)
        return None
    told: dict[str, Any] = {"pid": job.pid, **why["why"]}
    lines = [f"{job.name}  {job.status}  (process {job.pid})", *_indented(why["text"])]
    if report is not None:
        told["report"] = report["report"]
        lines += _indented(report["text"])
    return {"json": told, "text": "\n".join(lines)}


def _indented(text: object) -> list[str]:
    return [f"  {line}" for line in str(text).splitlines()]
