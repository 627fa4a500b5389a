"""Peak memory of a whole process that makes bars of a large CSV file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import answers, child
from benchmarks.measure import Row, parser, report
from benchmarks.ticks import write_csv

BYTES_PER_ROW = 43


def measure(megabytes: int) -> list[Row]:
    """The peak of a run over a file of about `megabytes`, with one worker and with two."""
    made, results = [], set()
    with tempfile.TemporaryDirectory(prefix="streamlib-benchmark-") as folder:
        source, target = Path(folder, "ticks.csv"), Path(folder, "bars")
        size = write_csv(source, megabytes * 1_000_000 // BYTES_PER_ROW)
        for workers in (1, 2):
            ran = child.job(source, target, workers)
            result = answers.hash_of(pq.read_table(target))
            results.add(result)
            notes = {
                "file MB": size / 1e6,
                "MB after import": ran["peak_bytes_before"] / 1e6,
                "seconds": ran["seconds"],
            }
            case = f"peak, {workers} worker{'s' if workers > 1 else ''}"
            made.append(
                Row("memory", case, ran["peak_bytes"] / 1e6, "MB", 1, None, "under 500 MB", result, notes)
            )
    assert len(results) == 1, "streamlib's answer depends on the number of workers"
    return made


def main(arguments: list[str] | None = None) -> list[Row]:
    args = parser(__doc__, megabytes=1_000).parse_args(arguments)
    rows = measure(args.megabytes)
    report(rows, args.json)
    return rows


if __name__ == "__main__":
    main()
