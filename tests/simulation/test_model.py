"""The model by hand: it is what the simulation believes, so its few rules are written out here."""

from __future__ import annotations

from streamlib.testing.model import run_model
from streamlib.testing.specs import Apply, Joined, Late, Read, RowData, Scanned, Timed, Union, Windowed


def row(number: int, ts: int, n: int = 0, k: str | None = "a", v: float | None = 1.0) -> RowData:
    return {"ts": ts, "k": k, "g": 1, "v": v, "n": n, "id": number}


def test_a_row_is_late_by_the_rows_before_it_in_its_own_split() -> None:
    window = Windowed(Timed(Read(0), 2), (), 10, 0, 0, "sums")
    first = [row(0, 3), row(1, 12), row(2, 5)]  # the mark of the last is 10, and its window ends at 10
    other = [row(3, 4)]
    results, late = run_model([[first, other]], (window, Late(window)))
    assert [(r["window_start"], r["n"]) for r in results] == [(0, 2), (10, 1)]
    assert [(r["id"], r["late_by"], r["window_start"], r["windows_late"]) for r in late] == [(2, 0, 0, 1)]


def test_lateness_keeps_a_window_open_and_until_end_keeps_all() -> None:
    rows = [[row(0, 3), row(1, 12), row(2, 5)]]
    tolerant = Windowed(Timed(Read(0), 2), (), 10, 0, 1, "sums")
    endless = Windowed(Timed(Read(0), None), (), 10, 0, 0, "sums")
    for window in (tolerant, endless):
        results, late = run_model([rows], (window, Late(window)))
        assert [r["n"] for r in results] == [2, 1] and late == []


def test_windows_are_half_open_and_reach_below_zero() -> None:
    window = Windowed(Timed(Read(0), 100), (), 10, 3, 0, "sums")
    rows = [row(0, -8), row(1, -7), row(2, 2), row(3, 3)]
    (results,) = run_model([[rows]], (window,))
    assert [(r["window_start"], r["n"]) for r in results] == [(-17, 1), (-7, 2), (3, 1)]


def test_ties_go_by_split_then_position_then_side() -> None:
    both = Timed(Read(0), 0)
    parted = Union((Apply(both, "add_one"), both))
    window = Windowed(parted, (), 10, 0, 0, "edges")
    (results,) = run_model([[[row(0, 5, n=1, v=1.0)], [row(1, 5, n=7, v=9.0)]]], (window,))
    assert (results[0]["m"], results[0]["v"], results[0]["n"]) == (2, 9.0, 4)


def test_a_value_of_per_enters_at_what_its_split_has_reached() -> None:
    timed = Timed(Read(0), 2, per=("k",))
    window = Windowed(timed, ("k",), 10, 0, 0, "sums")
    rows = [row(0, 20, k="a"), row(1, 3, k="b"), row(2, 4, k="b"), row(3, 5, k="a")]
    results, late = run_model([[rows]], (window, Late(window)))
    assert [r["id"] for r in late] == [1, 2, 3], "all are behind 18"
    assert [(r["k"], r["window_start"]) for r in results] == [("a", 20)]


def test_results_are_rows_again_and_never_late() -> None:
    first = Windowed(Timed(Read(0), 0), ("k",), 5, 0, 7, "sums")
    second = Windowed(first, (), 10, 0, 0, "sums")
    (results,) = run_model([[[row(0, 1), row(1, 6), row(2, 8, k=None)]]], (second,))
    assert [(r["window_start"], r["n"], r["v"]) for r in results] == [(0, 3, 3.0)]


def test_nulls_are_no_values_and_a_key() -> None:
    sums, means = (Windowed(Timed(Read(0), 0), ("k",), 10, 0, 0, plan) for plan in ("sums", "means"))
    rows = [row(0, 1, k=None, v=None), row(1, 2, k=None, v=3.0)]
    first, second = run_model([[rows]], (sums, means))
    assert first == [{"k": None, "window_start": 0, "window_end": 10, "n": 2, "v": 3.0}]
    assert second == [{"k": None, "window_start": 0, "window_end": 10, "n": 0, "v": 3.0, "m": 1}]


def test_a_scan_takes_rows_in_order_and_refuses_them_by_their_own_time() -> None:
    rows = [[[row(0, 5, n=1), row(1, 3, n=2), row(2, 9, n=4), row(3, 6, n=8), row(4, 6, n=16, k="b")]]]
    (found,) = run_model(rows, (Scanned(Timed(Read(0), 2), ("k",), 0),))
    assert [(r["id"], r["count"], r["total"]) for r in found] == [(1, 1, 2), (0, 2, 3), (2, 3, 7)]


def test_joins_pair_rows_that_are_near_enough() -> None:
    left, right = Timed(Read(0), 0), Timed(Read(1), 0)
    rows = [[[row(0, 5), row(1, 9), row(2, 9, k=None)]], [[row(3, 4), row(4, 5), row(5, 4), row(6, 20)]]]

    def pairs(how: str, low: int, high: int) -> list[tuple[object, object]]:
        (found,) = run_model(rows, (Joined(left, right, ("k",), how, low, high, 0),))
        return [(r["id"], r.get("r_id")) for r in found]

    assert pairs("inner", -1, 0) == [(0, 3), (0, 4)], "row 5 is late"
    assert pairs("left", -1, 0) == [(0, 3), (0, 4), (1, None), (2, None)]
    assert pairs("full", 0, 0) == [(0, 4), (1, None), (2, None), (None, 3), (None, 6)]
    assert pairs("semi", -1, 0) == [(0, None)]
    assert pairs("anti", -1, 0) == [(1, None), (2, None)]
    assert pairs("asof", -4, 0) == [(0, 4), (1, 4), (2, None)]
    assert pairs("asof", -3, 0) == [(0, 4), (1, None), (2, None)]


def test_the_first_rows_of_a_window_have_a_rank() -> None:
    top = Windowed(Timed(Read(0), 9), ("k",), 10, 0, 0, "sums", top=2)
    rows = [row(0, 1, v=1.0), row(1, 2, v=3.0), row(2, 3, v=3.0), row(3, 4, v=None)]
    (found,) = run_model([[rows]], (top,))
    assert [(r["rank"], r["id"], r["window_end"]) for r in found] == [(1, 1, 10), (2, 2, 10)]
    assert list(found[0]) == ["k", "window_start", "window_end", "rank", "ts", "g", "v", "n", "id"]


def test_windows_of_the_last_rows() -> None:
    window = Windowed(Timed(Read(0), 9), (), 3, 0, 0, "sums", "rows", 2)
    (found,) = run_model([[[row(number, number) for number in range(8)]]], (window,))
    assert [(r["window_start"], r["window_end"]) for r in found] == [(1, 3), (3, 5), (5, 7)]
