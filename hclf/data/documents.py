"""What goes in and what comes out: `Document`, `ScoredNode`, `Prediction`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(slots=True)
class Document:
    """One record.

    Args:
        id: as given, or "row-17" when the record has none; ids may repeat.
        fields: the named text fields in order; `{"text": …}` when there is only one.
        labels: as given (ids, names or paths; ids after `resolved`), or None when the record has no label
            field: "not labelled" is something else than "labelled with nothing".
        extra: every other field of the record.
        row: the line (row, for Parquet) where the record starts, from 1.
        spans: evidence spans `{"start", "end", "label"}`, in characters of `text`, or of one text field if they have
            a `field`; one that is not in one piece has `parts`, a list of (start, end).
        file: the name of the file it came from, for messages.

    >>> Document("1", {"title": "Oat milk", "brand": "Oatly"}).text
    'Oat milk\\nOatly'
    """

    id: str
    fields: dict[str, str]
    labels: tuple[str, ...] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    row: int = 0
    spans: tuple[Mapping[str, Any], ...] = ()
    file: str = ""

    @property
    def text(self) -> str:
        """The text fields that are not empty, joined by newlines."""
        return "\n".join(part for part in self.fields.values() if part)


@dataclass(frozen=True, slots=True)
class ScoredNode:
    """A node given to a document.

    Args:
        id: of the node.
        name: empty where a file does not say.
        level: counts from 1; 0 where a file does not say.
        score: the probability.
        cold_start: no training document carries the node: its score rests on its texts, or on a prior.
    """

    id: str
    name: str = ""
    level: int = 0
    score: float = 1.0
    cold_start: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the JSONL form; `cold_start` is there only when true."""
        score = round(float(self.score), 6)
        mark = {"cold_start": True} if self.cold_start else {}
        return {"id": self.id, "name": self.name, "level": self.level, "score": score, **mark}


@dataclass(slots=True)
class Prediction:
    """The answer for one document: its labels with all ancestors, or none at all, which means "unknown".

    Args:
        id: the document's id.
        labels: in node order (parents first).
        leaves: the ids of the most specific labels.
        flags: what a reviewer should know, such as `empty-text`, `cold-start`: a most specific label has no
            training document, or `repaired`: rules changed the labels.
        findings: what the rules of the taxonomy object to, as mappings with `kind`, `severity`, `node`, `message`
            and, where there is one, `other` and `action`.
    """

    id: str
    labels: tuple[ScoredNode, ...] = ()
    leaves: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSONL form; scores are rounded to six digits after the point, no findings are left out."""
        findings = {"findings": [dict(finding) for finding in self.findings]} if self.findings else {}
        return {
            "id": self.id,
            "labels": [node.to_dict() for node in self.labels],
            "leaves": list(self.leaves),
            "flags": list(self.flags),
            **findings,
        }

    def deepest(self) -> Prediction:
        """Return the prediction with its most specific labels only."""
        keep = set(self.leaves)
        return replace(self, labels=tuple(n for n in self.labels if n.id in keep))
