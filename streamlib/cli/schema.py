"""`streamlib schema SOURCE`: the columns of a file or a socket's rows, as text to paste into a script."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_to(commands: Any) -> None:
    """Adds the subcommand to `commands` of argparse."""
    parser = commands.add_parser(
        "schema",
        help="print the columns of a file or a socket's rows, as schema=... to paste",
        description="Looks at the first rows of a source and prints its columns and types as Python.",
        epilog="examples:\n  streamlib schema ticks.csv\n  streamlib schema tcp://localhost:9000 --format jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="a file, a pattern, or an address such as tcp://localhost:9000")
    parser.add_argument("--format", help="csv, jsonl, parquet, ...; by the file's ending when left out")
    parser.add_argument(
        "--dataclass", metavar="NAME", help="print a dataclass of this name instead of a dict"
    )
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    parser.set_defaults(call=call)


def call(given: argparse.Namespace) -> int:
    """Looks and prints."""
    from streamlib.connectors.describe import describe_source
    from streamlib.errors import StreamlibError

    try:
        print(describe_source(given.source, given.format, dataclass=given.dataclass))
    except StreamlibError as error:
        if given.traceback:
            raise
        error.at = None  # no line of a script
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0
