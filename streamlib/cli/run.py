"""`streamlib run SCRIPT`: the same as `python SCRIPT`."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    """Adds the subcommand to `commands` of argparse."""
    parser = commands.add_parser(
        "run",
        help="run a pipeline script",
        description="Runs a script as `python SCRIPT` does. An error of streamlib is shown without a traceback.",
        epilog="example:\n  streamlib run bars.py --day monday",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    parser.add_argument("script", help="a Python file that calls sl.run(...)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script finds in sys.argv")
    parser.set_defaults(call=call)


def call(given: argparse.Namespace) -> int:
    """Runs the script."""
    from streamlib.cli.scripts import run_script

    return run_script(given.script, given.arguments, given.traceback)
