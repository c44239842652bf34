"""The day for which labels have to be valid, as people give it."""

from __future__ import annotations

import datetime as dt

from hclf.errors import UsageError


def as_day(given: dt.date | str | None) -> dt.date | None:
    """Return a day given as a date or as YYYY-MM-DD; None stays None.

    Raises:
        UsageError: no date.

    >>> as_day("2025-10-01")
    datetime.date(2025, 10, 1)
    """
    if not isinstance(given, str):
        return given
    try:
        return dt.date.fromisoformat(given)
    except ValueError:
        raise UsageError(f"{given!r} is not a date; write YYYY-MM-DD") from None
