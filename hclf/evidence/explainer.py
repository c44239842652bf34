"""From what scorers say of places in documents to explanations of scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.data import LabelResolver
from hclf.errors import UsageError
from hclf.evidence.explanation import Contrast, Explanation
from hclf.evidence.spans import Span, worth_showing
from hclf.fusion import Calibration
from hclf.inputs import Inputs
from hclf.labels import pairs
from hclf.scorers.base import Contribution, Scorer
from hclf.taxonomy import Taxonomy, spread

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Pair = tuple[int, int]
"""A row and a column."""


class Batch(NamedTuple):
    """Documents and what a model made of them.

    Attributes:
        inputs: the documents.
        before: (documents, nodes) scores before they are made coherent.
        scores: (documents, nodes) as they are answered.
        labels: (documents, nodes) the answers.
    """

    inputs: Inputs
    before: Floats
    scores: Floats
    labels: csr_matrix[Any]


class Question(NamedTuple):
    """What to explain.

    Attributes:
        nodes: columns, ascending; None: the answers of each document.
        against: the column to contrast with; None: of each node the best sibling that is no answer.
        top: spans of a kind to show, at most.
    """

    nodes: tuple[int, ...] | None = None
    against: int | None = None
    top: int = 5

    @classmethod
    def about(
        cls, taxonomy: Taxonomy, nodes: str | Iterable[str] | None = None, against: str | None = None, top: int = 5
    ) -> Self:
        """Return the question about nodes named by id, name or path.

        Raises:
            DataError: a node that does not exist.
            UsageError: top below 1.
        """
        if top < 1:
            raise UsageError(f"top is at least 1, not {top}")
        resolve = LabelResolver(taxonomy)
        named = [nodes] if isinstance(nodes, str) else nodes
        columns = None if named is None else tuple(sorted({taxonomy.index(resolve(node)) for node in named}))
        return cls(columns, None if against is None else taxonomy.index(resolve(against)), top)


class _Case(NamedTuple):
    """One answer to explain: a node of a row, the nodes whose evidence counts, and who it is contrasted with.

    Attributes:
        row, column: of the answer.
        source: the node at or below it that it has its score of.
        sibling: to contrast with; None: there is none.
        contrasted: the two nodes whose evidence is contrasted.
    """

    row: int
    column: int
    source: int
    sibling: int | None
    contrasted: tuple[int, int] | None

    @property
    def pairs(self) -> set[Pair]:
        """The (row, column) pairs whose evidence it needs."""
        return {(self.row, column) for column in (self.source, *(self.contrasted or ()))}


@dataclass(frozen=True, slots=True)
class Explainer:
    """What it takes to explain the scores of a fitted model.

    Attributes:
        taxonomy: of the nodes.
        scorer: fitted; one that has `evidence`.
        calibration, candidate_calibration: of its channels.
        counts: (nodes,) training documents.
        thresholds: (nodes,) of the operating point; None: its decoder does not cut.
        lifted: whether a parent has the score of its best descendant.

    Raises:
        UsageError: the scorer cannot say why.
    """

    taxonomy: Taxonomy
    scorer: Scorer
    calibration: Calibration
    candidate_calibration: Calibration
    counts: Ints
    thresholds: NDArray[Any] | None
    lifted: bool
    _weights: dict[tuple[str, int, bool], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not hasattr(self.scorer, "evidence"):
            raise UsageError(f"scorer {self.scorer.name!r} cannot say why")

    def explain(self, batch: Batch, question: Question) -> list[list[Explanation]]:
        """Return for each document an explanation of each node asked for, in node order."""
        cases = self._cases(batch, question)
        parts = self._parts(batch.inputs, sorted({pair for case in cases for pair in case.pairs}))
        explained: list[list[Explanation]] = [[] for _ in range(batch.scores.shape[0])]
        for case in cases:
            explained[case.row].append(self._explanation(batch, case, parts, question.top))
        return explained

    def _cases(self, batch: Batch, question: Question) -> list[_Case]:
        n = batch.scores.shape[0]
        if question.nodes is None:
            rows, columns = pairs(batch.labels)
        else:
            rows, columns = np.repeat(np.arange(n), len(question.nodes)), np.tile(question.nodes, n)
        siblings = {j: self._siblings(j) for j in set(columns.tolist())} if question.against is None else {}
        lifted = self.taxonomy.coherent(batch.before, "max") if self.lifted else batch.before
        cases = []
        for row, j in zip(rows.tolist(), columns.tolist(), strict=True):
            sibling = question.against
            if sibling is None:
                answers = batch.labels.indices[batch.labels.indptr[row] : batch.labels.indptr[row + 1]]
                others = np.setdiff1d(siblings[j], answers)
                sibling = int(others[np.argmax(batch.scores[row, others])]) if len(others) else None
            source = self._source(batch.before[row], lifted[row], j)
            contrasted = None
            if sibling is not None and sibling != j:
                other = self._source(batch.before[row], lifted[row], sibling)
                # Where both have their score of the same node below them, only their own evidence tells them apart.
                contrasted = (source, other) if source != other else (j, sibling)
            cases.append(_Case(row, j, source, sibling if contrasted else None, contrasted))
        return cases

    def _siblings(self, j: int) -> Ints:
        """Return the other children of a node's parents, or the other roots, but none above or below it."""
        taxonomy, node = self.taxonomy, np.array([j])
        above = taxonomy.parents.of(j)
        beside = taxonomy.children.of_many(above)[1] if len(above) else np.flatnonzero(taxonomy.is_root)
        related = np.concatenate([spread(node, taxonomy.parents), spread(node, taxonomy.children)])
        return np.setdiff1d(beside, related)

    def _source(self, before: Floats, lifted: Floats, j: int) -> int:
        """Return the node that a node has its score of: itself, or the best one below it."""
        while lifted[j] > before[j]:
            below = self.taxonomy.children.of(j)
            j = int(below[np.argmax(lifted[below])])
        return j

    def _parts(self, inputs: Inputs, asked: Sequence[Pair]) -> dict[Pair, list[Span]]:
        """Return what speaks for and against each pair, in log-odds."""
        scorer: Any = self.scorer
        rows, columns = np.array(asked, dtype=np.int64).reshape(-1, 2).T
        found: list[list[Contribution]] = scorer.evidence(inputs, rows, columns)
        levels, modelled = self.taxonomy.levels[columns].tolist(), np.isin(columns, scorer.columns).tolist()
        return {
            pair: [
                Span(c.field, c.start, c.end, value, c.source.partition(".")[0], c.why)
                for c in contributions
                if (value := c.value * self._weight(c.source, level, has_model))
            ]
            for pair, contributions, level, has_model in zip(asked, found, levels, modelled, strict=True)
        }

    def _weight(self, source: str, level: int, has_model: bool) -> float:
        """Return what the calibration of a level multiplies a channel with.

        Args:
            source: of a contribution: `scorer` means the scorer's first channel, `scorer.channel` that one.
            level: of the node.
            has_model: whether the node is one of the scorer's columns, or a mere candidate.
        """
        key = (source, level, has_model)
        if key not in self._weights:
            calibration = self.calibration if has_model else self.candidate_calibration
            channels = self.scorer.channels if has_model else self.scorer.candidate_channels
            place = channel_of(source, self.scorer.name, channels)
            self._weights[key] = 0.0 if place is None else float(calibration.coefficients[level - 1, place])
        return self._weights[key]

    def _explanation(self, batch: Batch, case: _Case, parts: Mapping[Pair, list[Span]], top: int) -> Explanation:
        taxonomy, row, j = self.taxonomy, case.row, case.column
        fields = {} if isinstance(batch.inputs, csr_matrix) else batch.inputs[row]
        spans = worth_showing(parts[row, case.source], fields, top)
        return Explanation(
            node=taxonomy.nodes[j],
            name=taxonomy.names[j],
            level=int(taxonomy.levels[j]),
            score=float(batch.scores[row, j]),
            threshold=None if self.thresholds is None else float(self.thresholds[j]),
            predicted=bool(batch.labels[row, j]),
            cold_start=bool(self.counts[j] == 0),
            through="" if case.source == j else taxonomy.nodes[case.source],
            spans=spans.positive,
            against=spans.negative,
            rest=spans.rest,
            contrast=self._contrast(batch, case, parts, fields, top),
        )

    def _contrast(
        self,
        batch: Batch,
        case: _Case,
        parts: Mapping[Pair, list[Span]],
        fields: Mapping[str, str],
        top: int,
    ) -> Contrast | None:
        if case.sibling is None or case.contrasted is None:
            return None
        taxonomy, row, sibling = self.taxonomy, case.row, case.sibling
        own, other = case.contrasted
        differences = [*parts[row, own], *(part._replace(value=-part.value) for part in parts[row, other])]
        spans = worth_showing(differences, fields, top)
        return Contrast(
            node=taxonomy.nodes[sibling],
            name=taxonomy.names[sibling],
            score=float(batch.scores[row, sibling]),
            predicted=bool(batch.labels[row, sibling]),
            through="" if other == sibling else taxonomy.nodes[other],
            spans=spans.positive,
            against=spans.negative,
        )


def channel_of(source: str, scorer: str, channels: Sequence[str]) -> int | None:
    """Return the place of the channel that a contribution is to, or None.

    Args:
        source: of the contribution: `part` means its first channel, `part.channel` that one.
        scorer: name of the whole scorer.
        channels: its channels; those of a scorer made of several are called `part.channel`.
    """
    part, _, channel = source.partition(".")
    own = [i for i, name in enumerate(channels) if part == scorer or name.startswith(f"{part}.")]
    named = [i for i in own if channels[i] in (channel, source)] if channel else own
    return named[0] if named else None
