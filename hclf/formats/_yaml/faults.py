"""Collecting the faults of one file: each with its place, and never so many that memory runs out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NoReturn, Protocol

from hclf.errors import Fault, Severity, TaxonomyError
from hclf.taxonomy import HINTED_FAULTS, unknown

MAX_FAULTS = 200_000  # past this a file is not a taxonomy with mistakes but something else
_COMPARISONS = 200_000  # words looked at for all hints of a file together: about two seconds
_HINTED_LENGTH = 60  # comparing words is quadratic in their length
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


class Place(Protocol):
    """Anything that knows where in the file it stands; lines and columns count from 1."""

    line: int
    column: int


class Faults:
    """The faults of one file, in the order they were found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Fault] = []
        self._hints = 0
        self._compared = 0
        self._told: dict[tuple[str, str], str] = {}

    def error(self, message: str, at: Place, node: str = "") -> None:
        """Add an error at a place, about a node id if one is known."""
        self._add(message, at, node, "error")

    def warning(self, message: str, at: Place, node: str = "") -> None:
        """Add a warning: the taxonomy can be used all the same."""
        self._add(message, at, node, "warning")

    def stop(self, message: str, line: int = 0, column: int = 0) -> NoReturn:
        """Add a last error, after which nothing of the file can be understood, and raise them all."""
        self.found.append(Fault(message, self.file, line, column))
        raise TaxonomyError(self.sorted())

    def sorted(self) -> list[Fault]:
        """Return the faults in file order; those without a line come first."""
        return sorted(self.found, key=lambda fault: (fault.line, fault.column))

    def unknown(self, what: str, word: str, known: Collection[str]) -> str:
        """Return "unknown WHAT 'WORD'", for the first ones with the nearest known words."""
        if (what, word) not in self._told:
            compare = min(len(known), 20_000)  # `suggest` looks at no more
            spent = self._hints >= HINTED_FAULTS or self._compared + compare > _COMPARISONS
            if spent or len(word) > _HINTED_LENGTH:
                return unknown(what, shown(word), (), hint=False)
            self._hints += 1
            self._compared += compare
            self._told[what, word] = unknown(what, shown(word), known)
        return self._told[what, word]

    def _add(self, message: str, at: Place, node: str, severity: Severity) -> None:
        self.found.append(Fault(message, self.file, at.line, at.column, shown(node), severity))
        if len(self.found) >= MAX_FAULTS:
            self.stop(f"more than {MAX_FAULTS:,} faults; the rest of the file was not looked at")


def shown(text: str, length: int = 60) -> str:
    """Return text fit for a message: one line, not long, invisible characters written as escapes."""
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), cut)
