"""`streamlib explain SCRIPT`: the plan of every pipeline that the script would run, without running one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamlib.graph import Node


def add_to(commands: Any) -> None:
    """Adds the subcommand to `commands` of argparse."""
    parser = commands.add_parser(
        "explain",
        help="show what the pipelines of a script would do; run none",
        description=(
            "Runs a script in which sl.run, sl.start, collect, head and iter_batches show their plan instead of\n"
            "running it, and give an empty result. Everything else in the script does happen."
        ),
        epilog="example:\n  streamlib explain bars.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    parser.add_argument("script", help="a Python file that calls sl.run(...)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script finds in sys.argv")
    parser.set_defaults(call=call)


def call(given: argparse.Namespace) -> int:
    """Runs the script and prints the plans."""
    from streamlib.cli.scripts import run_script
    from streamlib.graph import explain
    from streamlib.job.launch import instead_of_running

    shown = 0

    def show(ends: Sequence[Node]) -> None:
        nonlocal shown
        shown += 1
        print(("" if shown == 1 else "\n") + f"plan {shown}:\n{explain(ends)}")

    with instead_of_running(show):
        code = run_script(given.script, given.arguments, given.traceback)
    if code == 0 and not shown:
        print(f"{given.script} runs no pipeline: it does not call sl.run(...)")
    return code
