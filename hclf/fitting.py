"""What a model learns around its scorer, from documents that scorer has not seen: fusion, then level calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from hclf.calibration import LevelCalibration
from hclf.errors import UsageError
from hclf.fusion import MIN_POSITIVES, Calibration, Sample, sample, sampling_rate, sparse_scores
from hclf.inputs import Inputs, dense, in_threads, known, rows_of, take
from hclf.labels import entries, pairs
from hclf.model import Fusion, Head, Model, batch_slices, batch_workers, leading_channels
from hclf.scorers import Scorer
from hclf.scorers.base import Candidates, Mentions, Progress, Scored, mentions_for, silent
from hclf.scorers.together import Together, channel_parts
from hclf.taxonomy import Taxonomy, distinct, spread

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Training:
    """Labelled documents.

    Attributes:
        taxonomy: of the labels.
        inputs: the documents.
        Y: (documents, nodes) closed labels.
        unknown: what the labels do not speak of; None: they speak of every node.
        mentions: where documents say what they belong to; None: nobody has marked it.
    """

    taxonomy: Taxonomy
    inputs: Inputs
    Y: csr_matrix[Any]
    unknown: csr_matrix[Any] | None = None
    mentions: Mentions | None = None

    def of(self, rows: Ints) -> Self:
        """Return some of the documents."""
        return replace(
            self,
            inputs=take(self.inputs, rows),
            Y=self.Y[rows],
            unknown=rows_of(self.unknown, rows),
            mentions=None if self.mentions is None else [self.mentions[i] for i in rows.tolist()],
        )

    @property
    def counts(self) -> Ints:
        """(nodes,) documents of each node."""
        return np.bincount(self.Y.indices, minlength=len(self.taxonomy)).astype(np.int64)

    def teach(self, scorer: Scorer, progress: Progress = silent) -> Scorer:
        """Return a scorer fitted on these documents."""
        about: dict[str, Any] = {"taxonomy": self.taxonomy, "unknown": self.unknown, "progress": progress}
        return scorer.fit(self.inputs, self.Y, **about, **mentions_for(scorer.fit, self.mentions))


class Heard(NamedTuple):
    """What a scorer says of some documents.

    Attributes:
        rows: of the documents, among all.
        scored: what it says.
        borrowed: what it says of single pairs inside its columns, as if they lay outside; None: nothing.
    """

    rows: Ints
    scored: Scored
    borrowed: Candidates | None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Documents, and what a scorer says of them that has not learned from them.

    Attributes:
        rows: of the documents, among all.
        head: makes scores of it.
        heard: says it, batch by batch.
    """

    rows: Ints
    head: Head
    heard: Callable[[], Iterable[Heard]]


def hold_out(
    model: Model, inputs: Inputs, rows: Ints, *, keep: bool, workers: int = 1, progress: Progress = silent
) -> HeldOut:
    """Return documents as a model hears them that has not learned from them.

    Args:
        model: its fusion is still to be learned.
        inputs: all documents.
        rows: of those held out.
        keep: what the scorer says, not the scorer: better for few documents. Otherwise they are scored each time.
        workers: threads.
        progress: wraps the loop over batches.
    """
    scorer, taxonomy = model.scorer, model.head.taxonomy

    def listen(part: slice) -> Heard:
        scored = scorer.score(take(inputs, rows[part]))
        borrowed = scorer.pairs_in_columns(scored) if isinstance(scorer, Together) else None
        return Heard(rows[part], scored, borrowed)

    def heard() -> Iterable[Heard]:
        slices = list(batch_slices(taxonomy, len(rows), scorer))
        return progress(
            in_threads(listen, slices, batch_workers(scorer, workers)), "scoring held-out documents", len(slices)
        )

    if not keep:
        return HeldOut(rows, model.head, heard)
    kept = list(heard())
    return HeldOut(rows, model.head, lambda: kept)


def learn_fusion(
    held_out: Sequence[HeldOut], training: Training, scorer: Scorer, seed: int = 0
) -> tuple[Fusion, dict[str, float]]:
    """Learn what the channels of a scorer are worth.

    Args:
        held_out: documents that were held out; none: nothing is learned.
        training: all documents.
        scorer: of the same kind, for the names of its channels.
        seed: of sampling and of the choice between scorers.

    Returns:
        The fusion, and by level the share of held-out labels that were scored at all; {} if all nodes always are.
    """
    depth = training.taxonomy.depth
    leading = leading_channels(scorer.channels)
    pairs = sum(len(part.rows) * len(part.head.levels) for part in held_out)
    samples = _Samples(training, leading, sampling_rate(pairs), seed)
    for part in held_out:
        for heard in part.heard():
            samples.add(part.head, heard)
    fusion = Fusion.default(scorer, depth)
    if samples.of_columns:
        parts = channel_parts(scorer.channels)
        fusion = fusion._replace(columns=Calibration.fit(samples.of_columns, depth, parts, seed))
    if of_pairs := samples.of_pairs_with_borrowed():
        parts = channel_parts(scorer.candidate_channels)
        fusion = fusion._replace(pairs=Calibration.fit(of_pairs, depth, parts, seed))
    return fusion, samples.recall()


class _Samples:
    """Held-out pairs of documents and nodes, collected batch by batch.

    Attributes:
        of_columns, of_pairs: pairs in a scorer's columns, and outside them.
        borrowed: what was said of single pairs inside the columns, as if they lay outside.
        asked, found: (levels,) true pairs, and those of them that were scored.
    """

    def __init__(self, training: Training, leading: Sequence[int], rate: float, seed: int) -> None:
        self.training, self.leading = training, leading
        self.rate, self.rng = rate, np.random.default_rng(seed)
        self.of_columns: list[Sample] = []
        self.of_pairs: list[Sample] = []
        self.borrowed: list[Sample] = []
        depth = training.taxonomy.depth
        self.asked, self.found = np.zeros(depth, dtype=np.int64), np.zeros(depth, dtype=np.int64)

    def add(self, head: Head, heard: Heard) -> None:
        """Take in what a scorer says of some documents it has not seen."""
        rows, scored, borrowed = heard
        self.asked += self._by_level(self.training.taxonomy.levels[self.training.Y[rows].indices])
        if len(head.levels):
            self._add_columns(head, rows, scored)
        if scored.candidates is not None:
            self.of_pairs.append(self._sample_of(scored.candidates, rows))
            self.found += self._by_level(self.of_pairs[-1].level[self.of_pairs[-1].truth])
        if borrowed is not None:
            self.borrowed.append(self._sample_of(borrowed, rows))

    def _add_columns(self, head: Head, rows: Ints, scored: Scored) -> None:
        columns, levels = head.prior.columns, head.levels
        truth = dense(self.training.Y, rows, columns)
        spoken = known(self.training.unknown, rows, columns)
        options: dict[str, Any] = {"leading": self.leading, "documents": rows}
        self.of_columns.append(sample(scored.channels, truth, spoken, levels, self.rate, self.rng, **options))
        self.found += self._by_level(levels[np.nonzero(truth)[1]])

    def _sample_of(self, candidates: Candidates, documents: Ints) -> Sample:
        rows, columns, channels = candidates
        rows = documents[rows]
        truth = entries(self.training.Y, rows, columns)
        unknown = self.training.unknown
        spoken = np.ones(len(rows), dtype=bool) if unknown is None else truth | ~entries(unknown, rows, columns)
        levels = self.training.taxonomy.levels[columns]
        return Sample(channels.T.astype(np.float64), truth, np.ones(len(rows)), levels, rows).only(spoken)

    def of_pairs_with_borrowed(self) -> list[Sample]:
        """Return single pairs to learn from, on levels with few true ones also those borrowed; none if none is true.

        What a phrase means where it stands for a node with training documents is the best guess of what one means
        that stands for a node without.
        """
        depth = self.training.taxonomy.depth
        positives = sum((self._by_level(part.level[part.truth]) for part in self.of_pairs), np.zeros(depth, np.int64))
        poor = positives < MIN_POSITIVES
        found = [*self.of_pairs, *(part.only(poor[part.level - 1]) for part in self.borrowed)]
        return found if any(part.truth.any() for part in found) else []

    def recall(self) -> dict[str, float]:
        """Return by level the share of true pairs that were scored; {} where no single pairs are."""
        scored_by_level = enumerate(zip(self.found.tolist(), self.asked.tolist(), strict=True), start=1)
        return {str(level): hits / n for level, (hits, n) in scored_by_level if self.of_pairs and n}

    def _by_level(self, levels: NDArray[Any]) -> Ints:
        return np.bincount(levels - 1, minlength=self.training.taxonomy.depth).astype(np.int64)


def held_out_scores(
    held_out: Sequence[HeldOut], fusion: Fusion, training: Training
) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
    """Return truth and coherent scores of the held-out documents."""
    scores = [
        sparse_scores(replace(part.head, fusion=fusion).scores(heard.scored, slice(0, len(heard.rows))).values)
        for part in held_out
        for heard in part.heard()
    ]
    if not scores:
        return training.Y[:0], csr_matrix(training.Y[:0], dtype=np.float32)
    return training.Y[np.concatenate([part.rows for part in held_out])], csr_matrix(vstack(scores))


def learn_levels(
    taxonomy: Taxonomy,
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    counts: Ints,
    *,
    unknown: csr_matrix[Any] | None = None,
    method: Any = "auto",
    seed: int = 0,
) -> tuple[LevelCalibration | None, csr_matrix[Any]]:
    """Learn to calibrate coherent scores; return also those of these documents, each as one not learned from.

    Of a node that no document carries nothing is learned: that none is found among held-out documents either
    says nothing against its name. It is calibrated as its level.

    Args:
        taxonomy: of the columns.
        true, scores: (documents, nodes) closed labels and coherent scores of held-out documents.
        counts: (nodes,) training documents of each node.
        unknown: what `true` does not speak of.
        method: one of `hclf.calibration.METHODS`, `auto` or `none`.
        seed: of the cross-validation.
    """
    if method == "none" or not true.shape[0]:
        return None, scores
    seen = (counts > 0) | (np.bincount(true.indices, minlength=len(taxonomy)) > 0)
    found, calibrated = LevelCalibration.cross_fit(
        taxonomy, true, _only(scores, seen), unknown=unknown, method=method, seed=seed
    )
    return found, csr_matrix(calibrated + _only(found.apply_sparse(scores), ~seen))


def changed_columns(old: Taxonomy, new: Taxonomy) -> Ints:
    """Return the columns whose texts differ in a taxonomy of the same nodes and edges; a path is a text, too.

    Raises:
        UsageError: other nodes or edges.
    """
    if new.nodes != old.nodes or set(new.edges()) != set(old.edges()):
        raise UsageError("the taxonomy has other nodes or edges than the model's: fit anew")
    if new is old:
        return np.zeros(0, dtype=np.int64)
    renamed = np.flatnonzero([a != b for a, b in zip(new.names, old.names, strict=True)])
    texts = np.flatnonzero([new.node(j).texts != old.node(j).texts for j in range(len(old))])
    return distinct(np.concatenate([texts, spread(renamed, old.children)]))


def _only(scores: csr_matrix[Any], columns: Bools) -> csr_matrix[Any]:
    """Return sparse scores without the entries of other columns."""
    keep = columns[scores.indices]
    rows, found = pairs(scores)
    return csr_matrix((scores.data[keep], (rows[keep], found[keep])), shape=scores.shape)
