"""What an explanation says, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hclf.evidence.spans import Span

Verdict = Literal["evidence", "no evidence found"]


@dataclass(frozen=True, slots=True)
class Contrast:
    """Why a node rather than a sibling.

    Attributes:
        node, name, score: of the sibling.
        predicted: whether it is an answer, too.
        through: the descendant that its evidence is of; "": its own.
        spans: what speaks for the node more than for the sibling, strongest first.
        against: what speaks for the sibling more than for the node, strongest first; values below 0.
    """

    node: str
    name: str
    score: float
    predicted: bool
    through: str
    spans: tuple[Span, ...]
    against: tuple[Span, ...]

    def to_dict(self, fields: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON form; with the document's fields, spans with their text."""
        return {
            "node": self.node,
            "name": self.name,
            "score": round(self.score, 6),
            "predicted": self.predicted,
            **({"through": self.through} if self.through else {}),
            "spans": [span.to_dict(fields) for span in self.spans],
            "against": [span.to_dict(fields) for span in self.against],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a node has its score for a document.

    Attributes:
        node, name, level, score: as in a prediction.
        threshold: that the score must reach; None: the decoder of the operating point does not cut.
        predicted: whether the node is an answer.
        cold_start: no training document carries the node.
        through: the descendant that its score, and so its evidence, is of; "": its own.
        spans: what speaks for it, strongest first.
        against: what speaks against it, strongest first; values below 0.
        rest: what all contributions that are not shown add together.
        contrast: with a sibling; None: it has none, or all are answers.
    """

    node: str
    name: str
    level: int
    score: float
    threshold: float | None
    predicted: bool
    cold_start: bool
    through: str
    spans: tuple[Span, ...]
    against: tuple[Span, ...]
    rest: float
    contrast: Contrast | None

    @property
    def verdict(self) -> Verdict:
        """Whether anything speaks for the node."""
        return "evidence" if self.spans else "no evidence found"

    def to_dict(self, fields: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON form; with the document's fields, spans with their text."""
        return {
            "node": self.node,
            "name": self.name,
            "level": self.level,
            "score": round(self.score, 6),
            "threshold": None if self.threshold is None else round(self.threshold, 6),
            "predicted": self.predicted,
            **({"cold_start": True} if self.cold_start else {}),
            "verdict": self.verdict,
            **({"through": self.through} if self.through else {}),
            "spans": [span.to_dict(fields) for span in self.spans],
            "against": [span.to_dict(fields) for span in self.against],
            "rest": round(self.rest, 4),
            "contrast": self.contrast and self.contrast.to_dict(fields),
        }
