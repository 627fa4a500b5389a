"""The web log's counts against plain Python; what does not match is named with its line."""

from __future__ import annotations

import collections
import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamlib as sl
import streamlib.testing as t
from tests.examples.test_own_parts import ROOT, example

web_log = example("web_log")


def test_it_counts_what_python_counts_and_names_what_does_not_match(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    web_log.make_log(log, minutes=3)
    command = [
        sys.executable,
        str(ROOT / "examples" / "web_log.py"),
        "--input",
        str(log),
        "--refused",
        "refused.jsonl",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, ran.stderr

    counts: dict[tuple[str, int], int] = collections.Counter()
    wrong = []
    for number, line in enumerate(log.read_text().splitlines(), 1):
        found = re.search(r'\[(.*?)\] ".*" (\d{3}) ', line)
        if found is None:
            wrong.append((number, line))
        else:
            time = dt.datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z")
            counts[time.strftime("%Y-%m-%d %H:%M:00"), int(found[2])] += 1
    printed = re.findall(r"^ +(\d+)  (\S+ \d\d:\d\d:00)\S+ .* +(\d+) +\d+$", ran.stdout, re.MULTILINE)
    assert {(minute, int(status)): int(n) for status, minute, n in printed} == counts
    letters = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [(letter["error_where"], letter["line"].rstrip("\n")) for letter in letters] == [
        (f"{log}, line {number:,}", line) for number, line in wrong
    ]
    assert wrong, "some lines are damaged"


@pytest.mark.slow
def test_its_counts_do_not_depend_on_how_it_is_run(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    web_log.make_log(log, minutes=1)
    form = sl.regex(
        web_log.COMMON,
        schema=dict.fromkeys(["client", "user", "time", "method", "path", "bytes"], str)
        | {"status": "int16"},
    )
    lines = sl.read_files(log, format=form).on_error("skip")
    t.check(web_log.per_minute(web_log.requests(lines), "10s"))
