"""Where a span of a record lies: in which text field, in one piece or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hclf.errors import DataError

Parts = tuple[tuple[int, int], ...]


def place_span(span: Mapping[str, Any], fields: Mapping[str, str]) -> tuple[str, Parts]:
    """Return the text field of a span, and its (start, end) offsets into that field, ascending.

    Args:
        span: with `start` and `end`, or `parts`: a list of these. With a `field` they are offsets into that one,
            without into `Document.text`: the fields that are not empty, joined by newlines.
        fields: the text fields of the document.

    Raises:
        DataError: offsets that are none, or outside the text, or in several fields; a field that does not exist.

    >>> place_span({"start": 4, "end": 7}, {"title": "Tea", "body": "Oat milk"})
    ('body', ((0, 3),))
    """
    field = span.get("field")
    if field is not None and field not in fields:
        raise DataError(f"a span is in a text field {field!r} that the document lacks")
    given = span.get("parts") or [(span.get("start"), span.get("end"))]
    inside = fields if field is None else {field: fields[field]}
    placed = [_place(part, inside) for part in given]
    if len({name for name, _ in placed}) > 1:
        raise DataError("a span goes over several text fields")
    return placed[0][0], tuple(sorted(part for _, part in placed))


def _place(part: Any, fields: Mapping[str, str]) -> tuple[str, tuple[int, int]]:
    start, end = offsets(part)
    begin = 0
    for name, text in fields.items():
        if text and begin <= start and end <= begin + len(text):
            return name, (start - begin, end - begin)
        begin += len(text) + 1 if text else 0
    raise DataError(f"a span from {start:,} to {end:,} lies outside the text")


def offsets(part: Any) -> tuple[int, int]:
    """Return a start and an end.

    Raises:
        DataError: they are not integers 0 <= start <= end.
    """
    pair = tuple(part) if isinstance(part, Iterable) else ()
    if len(pair) != 2 or any(isinstance(value, bool) or not isinstance(value, int) for value in pair):
        raise DataError("a span has integers 0 <= start <= end")
    start, end = pair
    if not 0 <= start <= end:
        raise DataError("a span has integers 0 <= start <= end")
    return start, end
