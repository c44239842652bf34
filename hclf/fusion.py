"""From the raw channels of scorers to one probability for every node.

One logistic model a level maps the channels of a (document, node) pair to a probability (Platt, 1999, with several
inputs). It is fitted on held-out documents, so it calibrates and fuses at once. Nodes without a model get a prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

MIN_POSITIVES = 30  # a level with fewer held-out positives shares the coefficients of all levels together
HARDEST = 30  # negatives of a document, best-scored first, that are always kept
MAX_PAIRS = 4_000_000  # easy negatives beyond this are sampled and weighted


class Sample(NamedTuple):
    """(pairs, channels), truth, weight and level of held-out (document, node) pairs."""

    values: NDArray[np.float64]
    truth: Bools
    weight: NDArray[np.float64]
    level: Ints


class Calibration:
    """Per-level logistic coefficients over channels.

    Attributes:
        coefficients: (levels, channels), none negative: more of any channel never lowers a probability.
        intercepts: (levels,).
    """

    def __init__(self, coefficients: NDArray[np.float64], intercepts: NDArray[np.float64]) -> None:
        self.coefficients, self.intercepts = coefficients, intercepts

    @classmethod
    def default(cls, levels: int, channels: int, *, slope: float = 2, middle: float = 0) -> Self:
        """Return a fixed mapping for when there is nothing to hold out: the first channel's middle becomes 0.5."""
        coefficients = np.zeros((levels, channels))
        coefficients[:, 0] = slope
        return cls(coefficients, np.full(levels, -slope * middle))

    @classmethod
    def fit(cls, samples: Sequence[Sample], depth: int) -> Self:
        """Learn from samples of held-out (document, node) pairs.

        Args:
            samples: at least one.
            depth: levels of the taxonomy.
        """
        values, truth, weight, level = (np.concatenate(part) for part in zip(*samples, strict=True))
        shared = _logistic(values, truth, weight)
        fitted = [shared] * depth
        for i in range(depth):
            here = level == i + 1
            if truth[here].sum() >= MIN_POSITIVES:
                fitted[i] = _logistic(values[here], truth[here], weight[here])
        table = np.array(fitted)
        return cls(table[:, :-1], table[:, -1])

    def probabilities(self, channels: Floats, levels: Ints) -> Floats:
        """Return probabilities for channels (c, n, m) of columns on levels (m,), or (c, pairs) on levels (pairs,)."""
        coefficients = self.coefficients[levels - 1].astype(np.float32)
        total = np.broadcast_to(self.intercepts[levels - 1].astype(np.float32), channels.shape[1:]).copy()
        for c, channel in enumerate(channels):
            total += channel * coefficients[:, c]
        result: Floats = expit(total)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; floats survive the round trip bit for bit."""
        return {"coefficients": self.coefficients.tolist(), "intercepts": self.intercepts.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from `to_dict`."""
        return cls(np.array(data["coefficients"], dtype=float), np.array(data["intercepts"], dtype=float))


class Prior:
    """Scores of nodes that no training document carries: Laplace's rule of succession along the taxonomy.

    An unseen child of a parent with n training documents gets score(parent) / (n + 2), an unseen root
    1 / (documents + 2); with several parents the lowest counts. So every node has a score, below its parents'.
    """

    def __init__(self, taxonomy: Taxonomy, columns: Ints, counts: Ints, documents: int) -> None:
        """Plan the pass; `counts` are closed training documents of each node, `columns` those with a model."""
        self.width, self.columns = len(taxonomy), columns
        trained = np.zeros(len(taxonomy), dtype=bool)
        trained[columns] = True
        missing = np.flatnonzero(~trained)
        self.roots = missing[taxonomy.is_root[missing]]
        self.root_score = np.float32(1 / (documents + 2))
        self.steps = []
        for span in taxonomy.level_slices[1:]:
            nodes = missing[(missing >= span.start) & (missing < span.stop)]
            if nodes.size:
                position, parents = taxonomy.parents.of_many(nodes)
                share = (1 / (counts[parents] + 2)).astype(np.float32)
                starts = np.searchsorted(position, np.arange(len(nodes)))
                self.steps.append((nodes, parents, share, starts if len(parents) > len(nodes) else None))

    def fill(self, probabilities: Floats) -> Floats:
        """Return (n, nodes) scores from (n, len(columns)) probabilities."""
        by_node = np.empty((self.width, len(probabilities)), dtype=np.float32)
        by_node[self.columns] = probabilities.T
        by_node[self.roots] = self.root_score
        for nodes, parents, share, starts in self.steps:
            shares = by_node[parents] * share[:, None]
            by_node[nodes] = shares if starts is None else np.minimum.reduceat(shares, starts, axis=0)
        return by_node.T


def sample(
    channels: Floats, truth: Bools, known: Bools | None, levels: Ints, rate: float, rng: np.random.Generator
) -> Sample:
    """Return the positives, the hardest negatives and, weighted, a share of the other pairs of one batch.

    Args:
        channels: (c, n, m); truth: (n, m); levels: (m,) of the columns.
        known: (n, m) which pairs the truth speaks of; None: all.
        rate: share of the easy negatives; see `sampling_rate`.
        rng: to choose them.
    """
    keep = truth.copy()
    if rate < 1:
        hardest = min(HARDEST, channels.shape[2] - 1)
        top = np.argpartition(-channels[0], hardest, axis=1)[:, :hardest]
        np.put_along_axis(keep, top, True, axis=1)
    sampled = ~keep & (rng.random(keep.shape, dtype=np.float32) < rate)
    rows, columns = np.nonzero((keep | sampled) if known is None else (keep | sampled) & known)
    weight = np.where(sampled[rows, columns], 1 / rate, 1.0)
    return Sample(channels[:, rows, columns].T.astype(np.float64), truth[rows, columns], weight, levels[columns])


def sampling_rate(pairs: int) -> float:
    """Return the share of easy negatives to keep of so many pairs."""
    return min(1.0, MAX_PAIRS / max(pairs, 1))


def _logistic(values: NDArray[np.float64], truth: Bools, weight: NDArray[np.float64]) -> list[float]:
    """Return non-negative coefficients and an intercept, by weighted logistic loss on Platt's smoothed targets."""
    positive, negative = (weight * truth).sum(), (weight * ~truth).sum()
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    total = max(weight.sum(), 1.0)

    channels = [np.ascontiguousarray(channel) for channel in values.T]

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        # Written out, not as matrix products: those start threads that wait for each other on busy machines.
        z = sum((k * channel for k, channel in zip(w[:-1], channels, strict=True)), np.full(len(truth), w[-1]))
        value = (weight * (np.logaddexp(0, z) - target * z)).sum()
        error = weight * (expit(z) - target)
        ridge = 1e-3 * w[:-1]  # of one pair in all: only keeps separable data finite
        gradient = np.array([*((channel * error).sum() for channel in channels), error.sum()])
        gradient[:-1] += ridge
        return (value + 0.5 * (ridge * w[:-1]).sum()) / total, gradient / total

    start = np.zeros(values.shape[1] + 1)
    bounds = [(0, None)] * values.shape[1] + [(None, None)]
    fitted: list[float] = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8}
    ).x.tolist()
    return fitted


def sparse_scores(scores: Floats, floor: float = 1e-3) -> csr_matrix[Any]:
    """Return scores as CSR without those below `floor`: what tuning and ranking keep of many documents."""
    rows, columns = np.nonzero(scores >= floor)
    indptr = np.searchsorted(rows, np.arange(scores.shape[0] + 1))
    return csr_matrix((scores[rows, columns], columns, indptr), shape=scores.shape)
