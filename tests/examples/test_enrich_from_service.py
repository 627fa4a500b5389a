"""The example that asks a service: every payment is in a result or among the dead letters."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = ROOT / "examples" / "enrich_from_service.py"
    spec = importlib.util.spec_from_file_location("example_enrich_from_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_payment_is_counted_or_a_dead_letter(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    report = example.main(["--rows", "400", "--concurrency", "20", "--failing", "0.4"])
    printed = capsys.readouterr().out
    counted = sum(int(line.split()[5]) for line in printed.splitlines() if line.startswith("b"))
    dead = sum(report.dead_letters.values())
    assert counted + dead == 400
    assert report.retried["map_async"] > 0
    assert dead == 0 or "error_attempts" in printed


def test_the_fee_is_that_of_the_day(example: ModuleType) -> None:
    with example.service(failing=0.0) as port:
        rows = example.sl.read_arrow(example.payments(200)).event_time("ts", max_delay="0s")
        found = example.hourly(example.scored(rows, port, 10)).collect().to_pylist()
    of_books = [row["fees"] for row in found if row["merchant"] == "books"]
    by_hand = [0.0, 0.0]
    for row in example.payments(200).to_pylist():
        if row["merchant"] == "books":
            today = row["ts"].day == 5
            by_hand[today] += row["amount"] * (0.02 if today else 0.03)
    assert of_books == pytest.approx(by_hand)
