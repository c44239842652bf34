"""A fitted model: from documents to coherent, calibrated scores of all nodes, batch by batch.

    inputs -> scorer.score -> fusion -> prior -> coherent -> level calibration

Validation, `predict` and `evaluate` run the same loop (`Model.batches`), so memory goes with the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.calibration import LevelCalibration
from hclf.fusion import Calibration, Prior
from hclf.inputs import Inputs, in_threads, length
from hclf.scorers import Scorer
from hclf.scorers.base import Scored
from hclf.scorers.together import channel_parts
from hclf.taxonomy import CoherenceMethod, Taxonomy

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

BATCH_NUMBERS = 12_000_000  # scores held at once for one batch (48 MB a matrix)
MOST_DOCUMENTS = 512  # of a batch


class Scores(NamedTuple):
    """One batch of scores (n, nodes): of which documents, coherent and calibrated, before either, and `listwise`."""

    rows: slice
    values: Floats
    before: Floats
    listwise: csr_matrix[Any] | None = None


class Fusion(NamedTuple):
    """From channels to probabilities: of a scorer's columns, and of single pairs outside them."""

    columns: Calibration
    pairs: Calibration

    @classmethod
    def default(cls, scorer: Scorer, depth: int) -> Fusion:
        """Return what holds where nothing could be held out."""
        leading, of_pairs = leading_channels(scorer.channels), leading_channels(scorer.candidate_channels)
        if speaks_in_log_odds(scorer):
            columns, pairs = {"slope": 1.0}, {"slope": 1.0}
        else:
            columns, pairs = {"slope": 2.0}, {"slope": 6.0, "middle": 1.0}
        return cls(
            Calibration.default(depth, len(scorer.channels), leading=leading, **columns),
            Calibration.default(depth, len(scorer.candidate_channels), leading=of_pairs, **pairs),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """What makes scores of what a scorer says.

    Attributes:
        taxonomy: of the columns of scores.
        prior: of nodes that the scorer says nothing of.
        fusion: of its channels.
        coherence: how scores are made coherent; None: not at all.
        level_calibration: of coherent scores; None: they are left as they are.
    """

    taxonomy: Taxonomy
    prior: Prior
    fusion: Fusion
    coherence: CoherenceMethod | None = "max"
    level_calibration: LevelCalibration | None = None

    @property
    def levels(self) -> Ints:
        """The levels of the scorer's columns."""
        return self.taxonomy.levels[self.prior.columns]

    def scores(self, scored: Scored, rows: slice) -> Scores:
        """Return the scores of one batch; `rows` says where it stands among all documents."""
        scores = self.prior.fill(self.fusion.columns.probabilities(scored.channels, self.levels))
        if scored.candidates is not None:
            of, columns, channels = scored.candidates
            scores[of, columns] = self.fusion.pairs.probabilities(channels, self.taxonomy.levels[columns])
        coherent = scores if self.coherence is None else self.taxonomy.coherent(scores, self.coherence)
        calibrated = coherent if self.level_calibration is None else self.level_calibration.apply(coherent)
        return Scores(rows, calibrated, scores, scored.listwise)


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted scorer with all that belongs to it.

    Attributes:
        scorer: fitted.
        head: makes scores of what it says.
        width: columns of the feature matrices it was fitted on; None: it was fitted on texts.
        one_label: whether every document has one most specific label.
    """

    scorer: Scorer
    head: Head
    width: int | None = None
    one_label: bool = False

    def score(self, inputs: Inputs, rows: slice) -> Scores:
        """Return the scores of one batch; `rows` says where it stands among all documents."""
        return self.head.scores(self.scorer.score(inputs), rows)

    def batches(self, inputs: Inputs, workers: int = 1) -> Iterator[Scores]:
        """Score documents batch by batch, in threads but in order: the one loop that everything runs on."""
        slices = batch_slices(self.head.taxonomy, length(inputs), self.scorer)
        return in_threads(lambda rows: self.score(inputs[rows], rows), slices, batch_workers(self.scorer, workers))


def batch_size(taxonomy: Taxonomy, scorer: Scorer) -> int:
    """Return how many documents are scored at once."""
    most = getattr(scorer, "batch_documents", MOST_DOCUMENTS)
    return max(1, min(most, BATCH_NUMBERS // max(len(taxonomy), 1)))


def batch_workers(scorer: Scorer, workers: int) -> int:
    """Return how many batches are scored at once."""
    return 1 if getattr(scorer, "own_threads", False) else workers


def batch_slices(taxonomy: Taxonomy, n: int, scorer: Scorer) -> Iterator[slice]:
    """Yield n documents in batches."""
    size = batch_size(taxonomy, scorer)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def leading_channels(channels: tuple[str, ...]) -> list[int]:
    """Return the place of the first channel of each part."""
    return [own[0] for own in channel_parts(channels).values()]


def speaks_in_log_odds(scorer: Scorer) -> bool:
    """Return whether the first channels of a scorer are log-odds already: they are believed until there is better."""
    first = {scorer.channels[:1], scorer.candidate_channels[:1]} - {()}
    return first == {("log_odds",)}
