"""The figures as a drawing: bars by job, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from benchmarks.compare.engines import ENGINES
from benchmarks.compare.outcome import OURS, Outcome
from benchmarks.measure import number

WIDTH, LEFT, RIGHT = 760, 190, 110
BAR, GAP, HEAD, FOOT = 18, 6, 34, 34

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .job { font-weight: 600 } .few { fill: #57606a }
    .ours { fill: #0969da } .peer { fill: #8c959f } .line { stroke: #d0d7de }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 } .few { fill: #9198a1 }
        .ours { fill: #4493f8 } .peer { fill: #656c76 } .line { stroke: #3d444d }
    }
"""


def chart(outcomes: Sequence[Outcome]) -> str:
    """An SVG: within each job, and for libraries and files apart, bars are as long as rates are high."""
    measured = [one for one in outcomes if one.rows_per_second is not None]
    parts: list[str] = []
    top = 8.0
    for (job, from_csv), group in groupby(measured, lambda o: (o.job, ENGINES[o.engine].from_files)):
        some = list(group)
        best = max(one.rows_per_second or 0.0 for one in some)
        title = f"{job}, from file to file" if from_csv else job
        parts.append(f'<text class="job" x="8" y="{top + 20:g}">{escape(title)}</text>')
        parts.append(
            f'<text class="few" x="{WIDTH - 8}" y="{top + 20:g}" text-anchor="end">{some[0].rows:,} rows</text>'
        )
        top += HEAD
        for one in some:
            parts += bar(one, (one.rows_per_second or 0.0) / best, top)
            top += BAR + GAP
        parts.append(f'<path class="line" d="M8 {top + 4:g}H{WIDTH - 8}"/>')
        top += 8
    parts.append(f'<text class="few" x="8" y="{top + 20:g}">million rows per second; longer is faster</text>')
    height = top + FOOT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img">\n<title>Rows per second of streamlib and its peers</title>\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def bar(one: Outcome, share: float, top: float) -> list[str]:
    """One engine: its name, its bar and its rate."""
    length = max(1.0, share * (WIDTH - LEFT - RIGHT))
    name = one.engine + (f", {one.workers} workers" if one.workers > 1 else "")
    rate = number((one.rows_per_second or 0.0) / 1e6)
    middle = top + BAR / 2 + 4.5
    kind = "ours" if one.engine in OURS else "peer"
    return [
        f'<text x="{LEFT - 8}" y="{middle:g}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{LEFT}" y="{top:g}" width="{length:.1f}" height="{BAR}" rx="2"/>',
        f'<text x="{LEFT + length + 8:.1f}" y="{middle:g}">{rate}</text>',
    ]
