"""Requests per minute and status from a web server's log.

    python examples/web_log.py                                  a log that is made up
    python examples/web_log.py --input '/var/log/nginx/access.log*'
    python examples/web_log.py --input access.log --follow      as it grows; Ctrl-C ends it

The log is in the common or combined format of Apache and nginx. Lines that do not match go to
`--refused` with the place and the reason, and all others are counted.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import streamlib as sl
from streamlib import col

COMMON = (
    r"(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "
    r'"(?P<method>[A-Z]+) (?P<path>\S+)[^"]*" (?P<status>\d{3}) (?P<bytes>\d+|-)'
)


def requests(lines: sl.Stream) -> sl.Stream:
    """The fields of each request, with their types; times in UTC."""
    return lines.select(
        "method",
        "path",
        "status",
        time=col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S %z"),
        bytes=sl.when(col("bytes") == "-").then(sl.lit("0")).otherwise(col("bytes")).cast("int64"),
    )


def per_minute(rows: sl.Stream, max_delay: str) -> sl.Stream:
    """How many requests there were, of each status, and how much was sent."""
    return (
        rows.event_time("time", max_delay=max_delay)
        .key_by("status")
        .window(sl.tumbling("1m"))
        .agg(requests=sl.count(), bytes=col("bytes").sum())
    )


def make_log(path: Path, minutes: int = 5) -> None:
    """A log of made-up requests, one of a hundred lines of which is damaged."""
    draw = random.Random(7)
    with open(path, "w", encoding="utf-8") as out:
        for second in range(60 * minutes):
            for _ in range(draw.randrange(1, 6)):
                time = f"05/Jan/2026:14:{30 + second // 60}:{second % 60:02} +0000"
                status = draw.choices(["200", "301", "404", "500"], [90, 4, 5, 1])[0]
                page = draw.choice(["/", "/about", "/search?q=x", "/img/a.png"])
                line = f'10.0.0.{draw.randrange(1, 99)} - - [{time}] "GET {page} HTTP/1.1" {status} 512'
                out.write((line if draw.random() < 0.99 else line[: draw.randrange(1, 20)]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", help="a file or a pattern; one is made up when missing")
    parser.add_argument("--follow", action="store_true", help="go on as the log grows")
    parser.add_argument(
        "--refused", default="out/web_log_refused.jsonl", help="file for lines that do not match"
    )
    parser.add_argument("--max-delay", default="10s")
    args = parser.parse_args()
    path = args.input
    if path is None:
        path = "out/access.log"
        Path("out").mkdir(exist_ok=True)
        make_log(Path(path))

    form = sl.regex(
        COMMON,
        schema={
            "client": str,
            "user": str,
            "time": str,
            "method": str,
            "path": str,
            "status": "int16",
            "bytes": str,
        },
    )
    lines = sl.read_files(path, format=form, follow=args.follow).on_error("dead_letter")
    counts = per_minute(requests(lines), args.max_delay)
    refused = lines.dead_letters.select("error_where", line=col("error_data").cast("string"))
    report = sl.run(
        counts.print(rows=40),
        refused.write_files(args.refused, if_exists="replace"),
    )
    print(report)


if __name__ == "__main__":
    main()
