"""The command `streamlib`: one file a subcommand. Nothing that is slow is imported before it is needed.

Exit codes: 0, 1 after an error, 2 for a command that cannot be understood, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from streamlib.cli import explain, run, schema, why

_EXAMPLES = """\
examples:
  streamlib schema ticks.csv           the columns of a file, as schema=... to paste
  streamlib explain bars.py            what the script's pipelines would do; runs none
  streamlib run bars.py --day monday   the same as: python bars.py --day monday
  streamlib why                        the jobs that run now, and what each waits for
  streamlib why bars                   one job, by its name or process id

A pipeline is a Python script that ends in sl.run(...):

  import streamlib as sl
  ticks = sl.read_files("ticks/*.csv").event_time("ts", max_delay="2s")
  counts = ticks.key_by("symbol").window(sl.tumbling("10s")).agg(n=sl.count())
  sl.run(counts.print())
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="streamlib",
        description="Stream processing over Arrow micro-batches: run a pipeline script, look at what it does.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="store_true", help="print the version and leave")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in (run, explain, why, schema):
        module.add_to(commands)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: of the command line, without the program's name; those of this process when None.
    """
    whole = parser()
    given = whole.parse_args(arguments)
    if given.version:
        from streamlib._version import __version__

        print(f"streamlib {__version__}")
        return 0
    if given.command is None:
        whole.print_help()
        return 2
    try:
        code: int = given.call(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    return code
