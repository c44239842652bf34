"""How messages say numbers and lists."""

from __future__ import annotations

from collections.abc import Sequence

FEW = 5


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and what it counts; `many` is said of other numbers than 1, by default `one` with an s.

    >>> counted(1, "node"), counted(2000, "node"), counted(0, "entry", "entries")
    ('1 node', '2,000 nodes', '0 entries')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def first_few(texts: Sequence[str], *, rest: str = "…") -> str:
    """Return the first few of some texts, and `rest` for the others if there are any.

    >>> first_few(["A00", "A01"]), first_few(list("abcdefg")), first_few(list("abcdefg"), rest="… and 2 more")
    ('A00, A01', 'a, b, c, d, e, …', 'a, b, c, d, e, … and 2 more')
    """
    return ", ".join([*texts[:FEW], *[rest] * (len(texts) > FEW)])
