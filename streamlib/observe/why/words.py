"""How times, spans and places are said."""

from __future__ import annotations

from streamlib.elements import MAX_TIME, MIN_TIME, format_time


class Times:
    """Says event times: the date with the first one, and again only where it is another.

    Args:
        dated: whether dates are said at all.

    >>> say = Times()
    >>> say(0), say(1_500_000_000)
    ('1970-01-01 00:00:00', '00:00:01.5')
    """

    def __init__(self, dated: bool = True) -> None:
        self._dated = dated
        self._date = ""

    def __call__(self, ns: int) -> str:
        """The time, UTC."""
        if not MIN_TIME < ns < MAX_TIME:
            return format_time(ns)
        date, _, time = format_time(ns).partition(" ")
        if not self._dated or date == self._date:
            return time
        self._date = date
        return f"{date} {time}"


def span(ns: int) -> str:
    """A span of the processing clock, as exact as is of use.

    >>> span(300_000_000), span(12_400_000_000), span(600_000_000_000), span(90_000_000_000_000)
    ('0.3 s', '12 s', '10 min', '25 h')
    """
    seconds = ns / 1e9
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


def counted(count: int, what: str) -> str:
    """A number and a noun.

    >>> counted(1, "window"), counted(1200, "window")
    ('1 window', '1,200 windows')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")
