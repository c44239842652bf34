"""`Problems`: what was wrong with rows, counted by kind; nothing is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hclf.errors import DataError

Kind = Literal[
    "bad-json",
    "not-an-object",
    "duplicate-key",
    "line-too-long",
    "nul-byte",
    "invalid-utf8",
    "ragged-row",
    "bad-csv",
    "wrong-type",
    "empty-text",
    "missing-field",
    "bad-spans",
    "missing-labels",
    "unknown-label",
    "ambiguous-label",
    "no-known-label",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one row. `row` counts from 1."""

    kind: Kind
    message: str
    file: str = ""
    row: int = 0

    def __str__(self) -> str:
        return str(DataError(self.message, file=self.file, row=self.row))


class Problems:
    """Problems of rows: all of them counted by kind, the first few of each kind kept with file and row.

    Args:
        strict: raise DataError at the first problem instead of counting it.
        keep: how many of each kind to keep with their message.

    >>> problems = Problems()
    >>> problems.add("empty-text", "the text is empty", file="a.jsonl", row=3)
    >>> print(problems.summary())
    1 empty-text
      a.jsonl:3: the text is empty
    """

    def __init__(self, *, strict: bool = False, keep: int = 5) -> None:
        self.strict, self.keep = strict, keep
        self.counts: Counter[Kind] = Counter()
        self.kept: list[Problem] = []

    def add(self, kind: Kind, message: str | Callable[[], str], *, file: str = "", row: int = 0) -> None:
        """Count a problem; a message given as a function is only worked out when it will be shown.

        Raises:
            DataError: when strict.
        """
        self.counts[kind] += 1
        if not self.strict and self.counts[kind] > self.keep:
            return
        text = message if isinstance(message, str) else message()
        if self.strict:
            raise DataError(text, file=file, row=row)
        self.kept.append(Problem(kind, text, file, row))

    @property
    def total(self) -> int:
        """How many problems there were."""
        return self.counts.total()

    def __bool__(self) -> bool:
        return bool(self.counts)

    def lines(self) -> list[str]:
        """Return the lines of `summary`: each kind with its count, then the problems kept of it."""
        lines = []
        for kind, count in self.counts.most_common():
            kept = [problem for problem in self.kept if problem.kind == kind]
            lines += [f"{count:,} {kind}", *(f"  {problem}" for problem in kept)]
            lines += [f"  … and {count - len(kept):,} more"] if count > len(kept) else []
        return lines

    def summary(self) -> str:
        """Return counts by kind and the problems kept, one a line; "" when there were none."""
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Return counts and kept problems for `--json`."""
        kept = [{"kind": p.kind, "message": p.message, "file": p.file, "row": p.row} for p in self.kept]
        return {"total": self.total, "counts": dict(self.counts), "kept": kept}
