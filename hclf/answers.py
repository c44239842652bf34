"""Predictions for documents: scores and label sets put into words, and what the rules of the taxonomy say of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.data import Document, Prediction, ScoredNode
from hclf.errors import UsageError
from hclf.inputs import Inputs, without_words
from hclf.labels import label_sets, most_specific
from hclf.rules import Finding, RuleBook, as_day
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Mode = Literal["flag", "repair", "off"]
MODES: tuple[Mode, ...] = get_args(Mode)

REPAIRED = "repaired"  # flag of predictions whose labels are not as the decoder chose them
NOT_ASSIGNABLE = ("not-assignable", "missing-seventh")


TOLD = ("kind", "severity", "node", "other", "message", "action")  # of a finding, in a prediction


class Ruled(NamedTuple):
    """The labels of a document once the rules have been asked, and what they object to."""

    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


class Rules:
    """What the rules of a taxonomy do to answers.

    Args:
        taxonomy: with its rules.
        mode: `flag` says what they object to, `repair` also does what the hard ones say, `off` does neither; None:
            `flag` where there are rules or a day is given, else `off`.
        as_of: the day for which labels have to be valid, a date or as YYYY-MM-DD; None asks no such question.
        assignable: let labels that cannot be assigned give way to an assignable node below them where children
            clearly lead to one; where none does, that is a finding.

    Raises:
        UsageError: another mode, or no date.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        mode: Mode | None = None,
        as_of: dt.date | str | None = None,
        *,
        assignable: bool = False,
    ) -> None:
        if mode is None:
            mode = "flag" if taxonomy.rules or as_of else "off"
        if mode not in MODES:
            raise UsageError(f"rules is {' or '.join(MODES)}, not {mode!r}")
        self.mode, self.assignable = mode, assignable
        self.idle = mode == "off" and not assignable
        self._taxonomy = taxonomy
        self._book = None if self.idle else RuleBook(taxonomy, as_of=as_day(as_of))

    def __call__(self, labels: tuple[str, ...], scores: Floats) -> Ruled:
        """Return the labels of one document, ruled, and the findings.

        Args:
            labels: most specific ones.
            scores: (nodes,) of the document.
        """
        if self._book is None or not labels:
            return Ruled(labels, ())
        findings: list[Finding] = []
        if self.assignable:
            labels, findings = self._descended(labels, scores)
        if self.mode == "repair":
            labels, found = self._book.repair(labels, self._support(scores))
        else:
            found = self._book.check(labels) if self.mode == "flag" else []
        known = {(finding.kind, finding.node) for finding in findings}
        return Ruled(labels, (*findings, *(f for f in found if (f.kind, f.node) not in known)))

    def _descended(self, labels: tuple[str, ...], scores: Floats) -> tuple[tuple[str, ...], list[Finding]]:
        """Take each label that cannot be assigned down by itself; return also what was done, or could not be."""
        findings: list[Finding] = []
        kept: dict[str, None] = {}
        for label in labels:
            if not self._taxonomy[label].assignable and self._book:
                _, found = self._book.repair([label], self._support(scores))
                about = next(f for f in found if f.kind in NOT_ASSIGNABLE and f.node == label)
                findings.append(about)
                label = about.other if about.action == "replaced" else label
            kept[label] = None
        return tuple(kept), findings

    def _support(self, scores: Floats) -> Mapping[str, float]:
        columns = np.flatnonzero(scores >= np.float32(1e-3))
        nodes = self._taxonomy.nodes
        return {nodes[j]: score for j, score in zip(columns.tolist(), scores[columns].tolist(), strict=True)}


class Answers:
    """Makes predictions of scores and label sets.

    Args:
        taxonomy: of the columns.
        counts: (nodes,) training documents of each node.
        rules: what is asked of labels; None: nothing.
    """

    def __init__(self, taxonomy: Taxonomy, counts: Ints, rules: Rules | None = None) -> None:
        self.taxonomy, self.counts = taxonomy, counts
        self.rules = rules or Rules(taxonomy, "off")

    def nodes(self, columns: NDArray[Any], scores: Floats) -> list[ScoredNode]:
        """Return some columns of one document's scores as nodes."""
        taxonomy, names = self.taxonomy, self.taxonomy.names
        values = (a.tolist() for a in (columns, taxonomy.levels[columns], scores[columns], self.counts[columns]))
        return [
            ScoredNode(taxonomy.nodes[j], names[j], level, score, count == 0)
            for j, level, score, count in zip(*values, strict=True)
        ]

    def predictions(
        self, documents: Sequence[Document], inputs: Inputs, scores: Floats, Y: csr_matrix[Any]
    ) -> Iterator[Prediction]:
        """Yield the prediction of each document: label sets Y (documents, nodes), closed, with their scores."""
        leaves = label_sets(self.taxonomy, most_specific(self.taxonomy, Y))
        empty = without_words(inputs)
        for i, document in enumerate(documents):
            columns: NDArray[Any] = Y.indices[Y.indptr[i] : Y.indptr[i + 1]]
            ruled = self.rules(leaves[i], scores[i])
            repaired = set(ruled.labels) != set(leaves[i])
            if repaired:
                columns = self._columns(self.taxonomy.closure(ruled.labels))
            yield self._prediction(document.id, columns, scores[i], ruled, bool(empty[i]), repaired)

    def _prediction(
        self, id: str, columns: NDArray[Any], scores: Floats, ruled: Ruled, empty: bool, repaired: bool
    ) -> Prediction:
        specific = set(self.taxonomy.most_specific(ruled.labels)) if repaired else set(ruled.labels)
        leaves = tuple(label for label in ruled.labels if label in specific)
        flags = {
            "empty-text": empty,
            "cold-start": not self.counts[self._columns(leaves)].all(),
            REPAIRED: repaired,
        }
        return Prediction(
            id,
            tuple(self.nodes(columns, scores)),
            leaves,
            tuple(flag for flag, on in flags.items() if on),
            tuple(_told(finding) for finding in ruled.findings),
        )

    def _columns(self, nodes: Sequence[str]) -> Ints:
        return np.array([self.taxonomy.index(node) for node in nodes], dtype=np.int64)


def _told(finding: Finding) -> dict[str, Any]:
    said = finding.to_dict()
    return {key: said[key] for key in TOLD if key in said}
