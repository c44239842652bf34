r"""Several labels in one CSV cell: joined by `|`; a `|` inside a label is written `\|`, a `\` `\\`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART = re.compile(r"((?:\\[\\|]|[^|])*)(?:\||$)")
_ESCAPED = re.compile(r"\\([\\|])")
_SPECIAL = re.compile(r"[\\|]")


def join_cell(labels: Iterable[str]) -> str:
    r"""Return labels as one cell.

    >>> print(join_cell(["a", "b|c"]))
    a|b\|c
    """
    return "|".join(_SPECIAL.sub(r"\\\g<0>", label) for label in labels)


def split_cell(cell: str) -> tuple[str, ...]:
    """Return the labels of a cell, without surrounding blanks and empty parts.

    >>> split_cell("a | b ||")
    ('a', 'b')
    """
    parts = [_ESCAPED.sub(r"\1", part) for part in _PART.findall(cell)] if "\\" in cell else cell.split("|")
    return tuple(stripped for part in parts if (stripped := part.strip()))
