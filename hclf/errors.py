"""The error tree. Each error says the fact and the next step, and carries what it is about.

HclfError                    anything hclf raises on purpose; prints as one line
├── TaxonomyError            a taxonomy cannot be used; holds every fault found, not just the first
│   └── UnknownNodeError     a node id the taxonomy does not have (also a KeyError)
├── DataError                records or predictions that cannot be used; knows file and row
├── BundleError              a saved model that cannot be read, or does not fit
├── NotFittedError           a model asked before it was fitted
├── MissingExtraError        an optional dependency is absent; says the pip command
└── UsageError               the call itself is wrong (exit status 2; also a ValueError)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place of a file. Lines and columns count from 1; 0 means unknown."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    node: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        node = f" [{self.node}]" if self.node else ""
        kind = "warning: " if self.severity == "warning" else ""
        return f"{place}: {kind}{self.message}{node}" if place else f"{kind}{self.message}{node}"


class HclfError(Exception):
    """Base of every error hclf raises on purpose."""

    exit_code: ClassVar[int] = 1


class TaxonomyError(HclfError):
    """A taxonomy cannot be used. `faults` lists everything that is wrong, in file order."""

    def __init__(self, faults: Sequence[Fault] | str) -> None:
        self.faults: tuple[Fault, ...] = (
            (Fault(faults),) if isinstance(faults, str) else tuple(faults)  # one plain sentence will do
        )
        super().__init__("\n".join(map(str, self.faults)))


class UnknownNodeError(TaxonomyError, KeyError):
    """A node id the taxonomy does not have."""

    def __init__(self, node: str, known: Iterable[str] = ()) -> None:
        self.node = node
        self.suggestions = suggest(node, known)
        super().__init__(f"unknown node '{node}'{did_you_mean(self.suggestions)}")

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.faults[0])


class DataError(HclfError):
    """Records or predictions that cannot be used. `row` counts from 1; 0 means the file as a whole."""

    def __init__(self, message: str, *, file: str = "", row: int = 0) -> None:
        self.message, self.file, self.row = message, file, row
        place = f"{file}:{row}: " if file and row else f"{file}: " if file else f"row {row}: " if row else ""
        super().__init__(place + message)


class BundleError(HclfError):
    """A saved model that cannot be read, is damaged, or does not fit what it is used with."""


class NotFittedError(HclfError):
    """A model was asked for something that only a fitted model has."""


class MissingExtraError(HclfError):
    """An optional dependency is absent."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra that is not installed: pip install 'hclf[{extra}]'")


class UsageError(HclfError, ValueError):
    """The call itself is wrong: an impossible option or combination of options."""

    exit_code: ClassVar[int] = 2


def suggest(word: str, known: Iterable[str], n: int = 3) -> tuple[str, ...]:
    """Return the known words nearest to `word`, best first (by difflib's ratio, ignoring case).

    >>> suggest("smartphnes", ["laptops", "smartphones"])
    ('smartphones',)
    """
    low = word.lower()
    by_lower = {k.lower(): k for k in known}
    if low in by_lower:
        return (by_lower[low],)
    # difflib is quadratic in string length and linear in candidates: look only at similar lengths.
    near = [k for k in by_lower if abs(len(k) - len(low)) <= 3]
    if len(near) > 20_000:
        near = [k for k in near if k[:1] == low[:1]][:20_000]
    return tuple(by_lower[k] for k in difflib.get_close_matches(low, near, n=n, cutoff=0.7))


def did_you_mean(suggestions: Sequence[str]) -> str:
    """Return `"; did you mean 'a' or 'b'?"`, or nothing when there is nothing to suggest."""
    return f"; did you mean {' or '.join(f'{s!r}' for s in suggestions)}?" if suggestions else ""
