"""Values of records -> texts, labels, ids and spans; what does not fit is refused with its kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any

from hclf.data.cells import split_cell
from hclf.data.rows import BadRow
from hclf.data.spans import offsets
from hclf.errors import DataError


def to_text(value: Any, field: str) -> str | None:
    """Return a text; numbers are written out, lists of texts joined by newlines, None and NaN are no text.

    Raises:
        BadRow: anything else.
    """
    value = _plain(value)
    if isinstance(value, str):
        return value
    if _is_missing(value):
        return None
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return _number(value, f"field {field!r}", "text")


def to_id(value: Any, field: str) -> str | None:
    """Return an id, or None when there is none (absent, null, blank).

    Raises:
        BadRow: it is neither text nor a number.
    """
    value = _plain(value)
    if isinstance(value, str):
        return value.strip() or None
    return None if _is_missing(value) else _number(value, f"field {field!r}", "an id")


def to_labels(value: Any, field: str) -> tuple[str, ...] | None:
    """Return labels from a list, or from one text joined by `|`; None and NaN mean "not labelled".

    A label may be a text, a number, or an object with an `id`, as in our own predictions.

    Raises:
        BadRow: it is something else.
    """
    value = _plain(value)
    if isinstance(value, str):
        return split_cell(value)
    if _is_missing(value):
        return None
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(label for part in value if (label := _label(part, field)))
    return (_number(value, f"field {field!r}", "labels"),)


def to_spans(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return evidence spans: objects with integers `start` <= `end`, or several of these as `parts`, a `label` and
    perhaps a `field`; from a CSV cell, as JSON. With parts, `start` and `end` are put in where they are missing.

    Raises:
        BadRow: they are something else.
    """
    value = _plain(value)
    try:
        if isinstance(value, str):
            value = json.loads(value) if value.strip() else None
        return () if _is_missing(value) else tuple(_span(span) for span in value)
    except (DataError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        what = "a list of objects with integers 0 <= start <= end, or a list of such pairs as parts"
        raise BadRow("bad-spans", f"spans must be {what}") from None


def _span(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a span without what is null.

    Raises:
        DataError, TypeError, KeyError, AttributeError: it is none.
    """
    span = {key: value for key, value in given.items() if value is not None}
    if not (isinstance(span.get("label", ""), str | int | float) and isinstance(span.get("field", ""), str)):
        raise TypeError
    if parts := [offsets(part) for part in span.get("parts", ())]:
        span = {"start": min(start for start, _ in parts), "end": max(end for _, end in parts), **span}
    offsets((span["start"], span["end"]))
    return span


def _label(value: Any, field: str) -> str:
    value = _plain(value)
    if isinstance(value, Mapping):
        value = value.get("id")
    if isinstance(value, str):
        return value.strip()
    return _number(value, f"a label in {field!r}", "text")


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays, pandas columns -> plain Python."""
    return value.tolist() if hasattr(value, "tolist") else value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _number(value: Any, what: str, wanted: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadRow("wrong-type", f"{what} is {_type_name(value)}, not {wanted}")


def _type_name(value: Any) -> str:
    names: Iterable[tuple[Any, str]] = (
        (bool, "true or false"),
        (Mapping, "an object"),
        (list | tuple, "a list"),
        (type(None), "null"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)
