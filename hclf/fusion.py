"""From the raw channels of scorers to one probability for every node.

One logistic model a level maps the channels of a (document, node) pair to a probability (Platt, 1999, with several
inputs). It is fitted on held-out documents, so it calibrates and fuses at once. Where the channels are of several
scorers, a level that one of them judges better alone, by cross-validated log loss, is left to that one. Nodes without
a model get a prior.
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
ALL = "all"  # what channels of all scorers together are called among the choices of a level
CHOICE_FOLDS, CHOICE_PAIRS = 3, 400_000  # parts, and about how many pairs, by which it is chosen


class Sample(NamedTuple):
    """(pairs, channels), truth, weight, level and document of held-out (document, node) pairs."""

    values: NDArray[np.float64]
    truth: Bools
    weight: NDArray[np.float64]
    level: Ints
    document: Ints

    @classmethod
    def joined(cls, samples: Sequence[Sample]) -> Sample:
        """Return several samples, at least one, as one."""
        parts: Any = zip(*samples, strict=True)
        return cls(*map(np.concatenate, parts))

    def only(self, kept: Bools) -> Sample:
        """Return some of the pairs."""
        parts: Any = (part[kept] for part in self)
        return Sample(*parts)


class Calibration:
    """Per-level logistic coefficients over channels.

    Attributes:
        coefficients: (levels, channels), none negative: more of any channel never lowers a probability.
        intercepts: (levels,).
        report: where channels are of several scorers, plain values, one row a level: `level`; `chosen`, one scorer or
            `all`; `losses` of these, cross-validated, in nats a pair; `weights`: by scorer, what share its channels
            have of the log-odds by which true pairs stand above false ones; `shared`: too few positives, so
            coefficients are of all levels.
    """

    def __init__(
        self,
        coefficients: NDArray[np.float64],
        intercepts: NDArray[np.float64],
        report: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.coefficients, self.intercepts, self.report = coefficients, intercepts, list(report)

    @classmethod
    def default(
        cls, levels: int, channels: int, *, leading: Sequence[int] = (0,), slope: float = 2, middle: float = 0
    ) -> Self:
        """Return a fixed mapping for when there is nothing to hold out: a leading channel's middle becomes 0.5."""
        coefficients = np.zeros((levels, channels))
        coefficients[:, [c for c in leading if c < channels]] = slope
        return cls(coefficients, np.full(levels, -slope * middle))

    @classmethod
    def fit(
        cls, samples: Sequence[Sample], depth: int, parts: Mapping[str, Sequence[int]] | None = None, seed: int = 0
    ) -> Self:
        """Learn from samples of held-out (document, node) pairs.

        Args:
            samples: at least one.
            depth: levels of the taxonomy.
            parts: scorer -> its channels, if there are several: each level is given to all of them together, or to
                the one that judges it better alone.
            seed: of the parts of the cross-validation by which that is told.
        """
        data = Sample.joined(samples)
        every = list(range(data.values.shape[1]))
        enough = [bool(n >= MIN_POSITIVES) for n in _positives(data, depth)]
        if parts is None or len(parts) < 2:
            table = _table(data, depth, [every] * (depth + 1), enough)
            return cls(table[:, :-1], table[:, -1])
        choices = {ALL: every, **{name: list(channels) for name, channels in parts.items()}}
        losses = _losses(data, depth, choices, seed)
        chosen = [_best(of_level) for of_level in losses]
        chosen = [chosen[0], *(own if fit else chosen[0] for own, fit in zip(chosen[1:], enough, strict=True))]
        table = _table(data, depth, [choices[name] for name in chosen], enough)
        report = [
            {
                "level": level,
                "chosen": chosen[level],
                "losses": losses[level],
                "weights": _weights(data.only(data.level == level), table[level - 1, :-1], parts),
                "shared": not enough[level - 1],
            }
            for level in range(1, depth + 1)
        ]
        return cls(table[:, :-1], table[:, -1], report)

    def probabilities(self, channels: Floats, levels: Ints) -> Floats:
        """Return probabilities for channels (c, n, m) of columns on levels (m,), or (c, pairs) on levels (pairs,)."""
        coefficients = self.coefficients[levels - 1].astype(np.float32)
        total = np.broadcast_to(self.intercepts[levels - 1].astype(np.float32), channels.shape[1:]).copy()
        for c in np.flatnonzero(self.coefficients.any(axis=0)):
            total += channels[c] * coefficients[:, c]
        result: Floats = expit(total)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; floats survive the round trip bit for bit."""
        return {
            "coefficients": self.coefficients.tolist(),
            "intercepts": self.intercepts.tolist(),
            "report": self.report,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from `to_dict`."""
        coefficients, intercepts = (np.array(data[key], dtype=float) for key in ("coefficients", "intercepts"))
        return cls(coefficients, intercepts, data.get("report", ()))


class Prior:
    """Scores of nodes that no training document carries: Laplace's rule of succession along the taxonomy.

    An unseen child of a parent with n training documents gets score(parent) / (n + 2), an unseen root
    1 / (documents + 2); with several parents the lowest counts. So every node has a score, below its parents'.
    Without any document there is nothing to succeed to: all scores are 0, and only what a scorer says counts.
    """

    def __init__(self, taxonomy: Taxonomy, columns: Ints, counts: Ints, documents: int) -> None:
        """Plan the pass; `counts` are closed training documents of each node, `columns` those with a model."""
        self.width, self.columns = len(taxonomy), columns
        trained = np.zeros(len(taxonomy), dtype=bool)
        trained[columns] = True
        missing = np.flatnonzero(~trained)
        self.roots = missing[taxonomy.is_root[missing]]
        self.root_score = np.float32(1 / (documents + 2) if documents else 0)
        self.steps = []
        for span in taxonomy.level_slices[1:]:
            nodes = missing[(missing >= span.start) & (missing < span.stop)]
            if nodes.size:
                position, parents = taxonomy.parents.of_many(nodes)
                share = (1 / (counts[parents] + 2) if documents else np.zeros(len(parents))).astype(np.float32)
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
    channels: Floats,
    truth: Bools,
    known: Bools | None,
    levels: Ints,
    rate: float,
    rng: np.random.Generator,
    *,
    leading: Sequence[int] = (0,),
    documents: Ints | None = None,
) -> Sample:
    """Return the positives, the hardest negatives and, weighted, a share of the other pairs of one batch.

    Args:
        channels: (c, n, m); truth: (n, m); levels: (m,) of the columns.
        known: (n, m) which pairs the truth speaks of; None: all.
        rate: share of the easy negatives; see `sampling_rate`.
        rng: to choose them.
        leading: channels by which negatives are hard.
        documents: (n,) numbers of the documents; None: as they stand.
    """
    keep = truth.copy()
    if rate < 1:
        hardest = min(HARDEST, channels.shape[2] - 1)
        for c in leading:
            top = np.argpartition(-channels[c], hardest, axis=1)[:, :hardest]
            np.put_along_axis(keep, top, True, axis=1)
    sampled = ~keep & (rng.random(keep.shape, dtype=np.float32) < rate)
    rows, columns = np.nonzero((keep | sampled) if known is None else (keep | sampled) & known)
    weight = np.where(sampled[rows, columns], 1 / rate, 1.0)
    values = channels[:, rows, columns].T.astype(np.float64)
    return Sample(
        values, truth[rows, columns], weight, levels[columns], rows if documents is None else documents[rows]
    )


def sampling_rate(pairs: int) -> float:
    """Return the share of easy negatives to keep of so many pairs."""
    return min(1.0, MAX_PAIRS / max(pairs, 1))


def _positives(data: Sample, depth: int) -> Ints:
    """Return how many pairs of each level are true."""
    return np.bincount(data.level[data.truth] - 1, minlength=depth).astype(np.int64)


def _table(data: Sample, depth: int, channels: Sequence[Sequence[int]], own: Sequence[bool]) -> NDArray[np.float64]:
    """Return (levels, channels + 1) coefficients and intercepts.

    Args:
        data: to learn from.
        depth: levels.
        channels: that may be used: by all levels together, then by each level.
        own: which levels get coefficients of their own, not those of all together.
    """
    table = np.zeros((depth, data.values.shape[1] + 1))
    if not all(own):
        table[:, [*channels[0], -1]] = _logistic(data.values[:, channels[0]], data.truth, data.weight)
    for i in np.flatnonzero(own).tolist():
        here = data.only(data.level == i + 1)
        table[i] = 0
        table[i, [*channels[i + 1], -1]] = _logistic(here.values[:, channels[i + 1]], here.truth, here.weight)
    return table


def _losses(data: Sample, depth: int, choices: Mapping[str, Sequence[int]], seed: int) -> list[dict[str, float]]:
    """Return the cross-validated log loss of each choice of channels: of all levels together, then of each level."""
    documents, place = np.unique(data.document, return_inverse=True)
    turn = np.random.default_rng(seed).permutation(len(documents))[place]
    data, turn = _some(data, turn, len(documents))
    fold = turn % CHOICE_FOLDS
    found: list[dict[str, float]] = [{} for _ in range(depth + 1)]
    for name, channels in choices.items():
        loss = np.zeros(len(data.truth))
        for k in np.unique(fold).tolist():
            learn, test = data.only(fold != k), data.only(fold == k)
            own = _positives(learn, depth) >= MIN_POSITIVES
            table = _table(learn, depth, [channels] * (depth + 1), own.tolist())[test.level - 1]
            log_odds = (test.values * table[:, :-1]).sum(axis=1) + table[:, -1]
            loss[fold == k] = test.weight * np.logaddexp(0, np.where(test.truth, -log_odds, log_odds))
        for level in range(depth + 1):
            here = data.level == level if level else slice(None)
            found[level][name] = float(loss[here].sum() / max(data.weight[here].sum(), 1.0))
    return found


def _best(losses: Mapping[str, float]) -> str:
    """Return the choice with the least loss: all channels, unless leaving some out is better."""
    best = min(losses, key=losses.__getitem__)
    return best if losses[best] < losses[ALL] * (1 - 1e-6) else ALL


def _some(data: Sample, turn: Ints, documents: int) -> tuple[Sample, Ints]:
    """Return the pairs of as many documents as make about `CHOICE_PAIRS`, those whose turn comes first."""
    enough = max(CHOICE_FOLDS, documents * CHOICE_PAIRS // max(len(turn), 1))
    return data.only(turn < enough), turn[turn < enough]


def _weights(data: Sample, coefficients: NDArray[np.float64], parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return by scorer what share of the log-odds by which true pairs stand above false ones is from its channels."""
    means = [
        (data.weight[of, None] * data.values[of]).sum(axis=0) / max(data.weight[of].sum(), 1.0)
        for of in (data.truth, ~data.truth)
    ]
    above = np.maximum(coefficients * (means[0] - means[1]), 0)
    return {name: float(above[list(own)].sum() / (above.sum() or 1.0)) for name, own in parts.items()}


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
