"""The examples of own state against plain Python."""

from __future__ import annotations

import collections
import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
import streamlib.testing as t
from tests.examples.test_own_parts import ROOT, example

fraud, carts = example("fraud_rule"), example("abandoned_carts")
TEN = dt.timedelta(minutes=10)


def test_alerts_are_those_of_plain_python() -> None:
    payments = fraud.made_up(cards=30, payments=800)
    change = fraud.START + dt.timedelta(minutes=15)
    limits = pa.table({"ts": pa.array([change], pa.timestamp("ms")), "declines": [2]})
    stream = fraud.alerts(sl.read_arrow(payments), sl.read_arrow(limits), fraud.ThreeDeclines)
    wanted = []
    recent: dict[str, list[dt.datetime]] = collections.defaultdict(list)
    for row in sorted(payments.to_pylist(), key=lambda row: row["ts"]):
        since = [time for time in recent[row["card"]] if row["ts"] - time <= TEN]
        recent[row["card"]] = [] if row["approved"] else [*since, row["ts"]]
        if row["approved"] and len(since) >= (2 if row["ts"] >= change else 3):
            wanted.append((row["card"], len(since), since[0], row["ts"], row["amount"]))
    found = [tuple(row.values()) for row in t.run(stream, workers=2, seed=1).to_pylist()]
    assert sorted(found) == sorted(wanted)
    assert found


def test_carts_and_visitors_are_those_of_plain_python() -> None:
    clicks, orders = carts.made_up()
    after = dt.timedelta(minutes=30)
    stream = carts.abandoned(sl.read_arrow(clicks), sl.read_arrow(orders), "30m")
    events: dict[str, list[Any]] = collections.defaultdict(list)
    for row in clicks.to_pylist():
        events[row["visitor"]].append((row["ts"], 0, row))
    for row in orders.to_pylist():
        events[row["visitor"]].append((row["ts"], 1, row))
    wanted = set()
    for visitor, rows in events.items():
        items: list[Any] = []
        rows.sort(key=lambda event: event[:2])
        clicked = None
        for time, is_order, row in [*rows, (dt.datetime.max, 1, None)]:
            if clicked is not None and time > clicked + after and items:
                wanted.add((visitor, len(items), items[-1][0]))
                items = []
            if is_order:
                items, clicked = [], None
                continue
            clicked = time
            if row["what"] == "add":
                items.append((row["article"], row["price"]))
            elif row["what"] == "remove":
                items = [item for item in items if item[0] != row["article"]]
    found = t.run(stream, workers=2, seed=1).to_pylist()
    assert {(row["visitor"], row["items"], row["last"]) for row in found} == wanted
    assert wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fraud_rule", "abandoned_carts"])
def test_the_script_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ("card" if name == "fraud_rule" else "visitor 25") in ran.stdout
