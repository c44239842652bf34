"""Metrics of calibration: whether of the pairs that score .7 seven in ten are true.

Scores have shape (documents, nodes), lie in [0, 1] and may be sparse: an entry that is absent scores 0.0. `true` is
a label matrix of the same shape. Pairs that the truth says nothing of (`unknown`) are left out everywhere.

**Two readings.** In a large taxonomy nearly every pair scores about 0 and is false; an average over all pairs is
tiny whatever the scores are worth. So each function takes `least`:

- `least=0.01`, the default: the pairs *scored* at least .01, those that a reader of scores meets;
- `least=0.0`: *all* pairs, with those that are absent. A true label that was never scored counts here only.

Which pairs count as scored depends on the scores, so compare the log loss and Brier score of two models over all
pairs, or over their documents (`calibration_table` gives sums of both).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hclf.errors import UsageError
from hclf.labels import entries, pairs
from hclf.metrics.ranking import as_scores
from hclf.metrics.sets import as_labels

Binning = Literal["mass", "width"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SCORED = 0.01
BINS = 15  # as Guo et al. (2017)
CLIP = 1e-6  # log loss takes scores no nearer to 0 and 1
NORMAL_95 = 1.959963984540054


class ReliabilityTable(NamedTuple):
    """What a reliability diagram draws: one entry for each bin that holds a pair, lowest scores first.

    Attributes:
        mean_score: mean score of its pairs.
        observed: share of them that is true.
        pairs: their number.
        low, high: Wilson's 95 % interval (1927) of the share; as if pairs were independent.
    """

    mean_score: Floats
    observed: Floats
    pairs: Ints
    low: Floats
    high: Floats


class CalibrationTable(NamedTuple):
    """Calibration of each level; every array is (levels,), 0 where a level has no pairs.

    Attributes:
        pairs, positives: that count, and how many of them are true.
        mean_score: their mean score; with good calibration `positives / pairs`.
        ece: adaptive calibration error, bins of equal mass.
        ece_width: classic calibration error, bins of equal width.
        by_chance: the adaptive error that perfectly calibrated scores would show on so many pairs; see
            `error_by_chance`. What of `ece` does not exceed it says nothing.
        brier, log_loss: sums over the pairs; divide by `pairs`, or by the number of documents.
    """

    pairs: Ints
    positives: Ints
    mean_score: Floats
    ece: Floats
    ece_width: Floats
    by_chance: Floats
    brier: Floats
    log_loss: Floats


class _Pairs(NamedTuple):
    """(pairs,) arrays; a weight is the number of pairs that are alike. `level` counts from 0."""

    score: Floats
    truth: Bools
    weight: Ints
    level: Ints

    def of_level(self, level: int) -> _Pairs:
        here = self.level == level
        return _Pairs(*(array[here] for array in self))


def reliability_table(
    true: Any,
    scores: Any,
    *,
    bins: int = BINS,
    binning: Binning = "mass",
    least: float = SCORED,
    unknown: Any = None,
) -> ReliabilityTable:
    """Return mean score and observed frequency of pairs with similar scores (DeGroot & Fienberg, 1983).

    Args:
        true: (documents, nodes) label matrix.
        scores: (documents, nodes) dense or CSR floats in [0, 1]; absent entries are 0.0.
        bins: at most so many.
        binning: `mass`: bins of as nearly equal numbers of pairs as equal scores allow, for those stay together.
            `width`: (0, 1/bins], … as Guo et al. (2017), 0.0 in the first.
        least: the pairs that count: those that score at least this; 0.0: all.
        unknown: (documents, nodes) pairs that the truth says nothing of.

    Raises:
        UsageError: shapes differ, scores are not in [0, 1], or there are no bins.

    >>> table = reliability_table([[1, 0, 0, 1]], [[0.9, 0.2, 0.2, 0.7]], bins=2)
    >>> table.mean_score.round(2).tolist(), table.observed.tolist(), table.pairs.tolist()
    ([0.2, 0.8], [0.0, 1.0], [2, 2])
    """
    return _table(_judged(true, scores, None, least, unknown), bins, binning)


def expected_calibration_error(
    true: Any,
    scores: Any,
    *,
    bins: int = BINS,
    binning: Binning = "mass",
    least: float = SCORED,
    unknown: Any = None,
) -> float:
    """Return the mean over pairs of the difference between mean score and observed frequency in a pair's bin.

    ECE = sum over bins of n_b / n |mean score_b - observed_b| (Naeini, Cooper & Hauskrecht, 2015; Guo et al., 2017).
    With bins of equal mass, the default, it is the adaptive error (Nguyen & O'Connor, 2015): no bin is nearly empty.

    Returns:
        A float in [0, 1], 0 is best; 0.0 when no pair counts. Arguments and errors as `reliability_table`.

    >>> round(expected_calibration_error([[1, 0, 0, 1]], [[0.9, 0.2, 0.2, 0.7]], bins=2), 3)
    0.2
    """
    return _error(reliability_table(true, scores, bins=bins, binning=binning, least=least, unknown=unknown))


def error_by_chance(true: Any, scores: Any, *, bins: int = BINS, least: float = SCORED, unknown: Any = None) -> float:
    """Return about what adaptive error these scores would show if they were perfectly calibrated.

    In each bin the observed frequency of n_b pairs scatters about the mean score with variance
    sum p (1 - p) / n_b^2; the mean size of a normal deviation is sqrt(2 / pi) of its standard deviation. Bröcker &
    Smith (2007) draw the same by resampling. Pairs of one document are not independent, so it is rather too low.

    Returns:
        A float; 0.0 when no pair counts. Arguments and errors as `reliability_table`.
    """
    return _chance(_judged(true, scores, None, least, unknown), bins)


def brier_score(true: Any, scores: Any, *, least: float = SCORED, unknown: Any = None) -> float:
    """Return the mean squared difference of score and truth, 1 or 0 (Brier, 1950).

    Returns:
        A float in [0, 1], 0 is best; 0.0 when no pair counts. Arguments and errors as `reliability_table`.

    >>> brier_score([[1, 0]], [[0.5, 0.5]])
    0.25
    """
    judged = _judged(true, scores, None, least, unknown)
    return _mean(judged, _squares(judged))


def log_loss(true: Any, scores: Any, *, least: float = SCORED, unknown: Any = None) -> float:
    """Return the mean of -ln p, p the probability the scores give to what is true (Good, 1952), in nats.

    Scores count as within [1e-6, 1 - 1e-6], so a true label that was not scored costs 13.8 nats.

    Returns:
        A float >= 0, 0 is best; 0.0 when no pair counts. Arguments and errors as `reliability_table`.

    >>> round(log_loss([[1, 0]], [[0.5, 0.5]]), 4)
    0.6931
    """
    judged = _judged(true, scores, None, least, unknown)
    return _mean(judged, _surprises(judged))


def calibration_table(
    true: Any, scores: Any, levels: Ints, *, bins: int = BINS, least: float = SCORED, unknown: Any = None
) -> CalibrationTable:
    """Return all of the above for each level; of all levels together with `levels=np.ones(nodes, dtype=int)`.

    Args:
        true, scores, bins, least, unknown: as in `reliability_table`.
        levels: (nodes,) from 1.

    Raises:
        UsageError: as `reliability_table`, or levels are not one a node.
    """
    judged = _judged(true, scores, np.asarray(levels), least, unknown)
    rows = [_row(judged.of_level(level), bins) for level in range(int(np.max(levels, initial=0)))]
    columns = zip(*rows, strict=True) if rows else [()] * len(CalibrationTable._fields)
    return CalibrationTable._make(np.array(column) for column in columns)


def node_count_error(true: Any, scores: Any, *, unknown: Any = None) -> float:
    """Return by how much the scores get the numbers of documents of the nodes wrong, as a share of all labels.

    The sum over nodes of |sum of scores - true documents|, over the sum of true documents: calibration in the large
    (Cox, 1958), node by node. Two nodes of a level, one scored too high and one too low, cancel out in the level's
    calibration error, and do not here. All scores count, however small.

    Returns:
        A float >= 0, 0 is best; 0.0 when nothing is true. Arguments and errors as `reliability_table`.

    >>> node_count_error([[1, 0], [1, 0]], [[0.5, 0.5], [0.5, 0.5]])
    1.0
    """
    columns, score, _, labels = _matched(true, scores, unknown)
    nodes = labels.shape[1]
    off = np.bincount(columns, weights=score, minlength=nodes) - np.bincount(labels.indices, minlength=nodes)
    return float(np.abs(off).sum() / labels.nnz) if labels.nnz else 0.0


# -- pairs -------------------------------------------------------------------------------------------------------


def _matched(true: Any, scores: Any, unknown: Any) -> tuple[Ints, Floats, Bools, Any]:
    """Return column, score and truth of the stored pairs that the truth speaks of, and the labels."""
    labels, stored = as_labels(true), as_scores(scores)
    hidden = None if unknown is None else as_labels(unknown)
    for what, matrix in (("the scores", stored), ("unknown pairs", hidden)):
        if matrix is not None and matrix.shape != labels.shape:
            raise UsageError(
                f"truth is {labels.shape[0]} documents x {labels.shape[1]} nodes, {what} {matrix.shape[0]} x "
                f"{matrix.shape[1]}; they must be of the same documents and nodes"
            )
    if stored.nnz and stored.data.max() > 1:
        raise UsageError(f"{int((stored.data > 1).sum())} scores are above 1; calibration is of probabilities")
    rows, columns = pairs(stored)
    truth = entries(labels, rows, columns)
    known = slice(None) if hidden is None else truth | ~entries(hidden, rows, columns)
    return columns[known], stored.data[known].astype(np.float64), truth[known], labels


def _judged(true: Any, scores: Any, levels: Ints | None, least: float, unknown: Any) -> _Pairs:
    """Return the pairs that count; those that are absent as two weighted entries a level, the false and the true."""
    columns, score, truth, labels = _matched(true, scores, unknown)
    level = np.zeros(labels.shape[1], dtype=np.int64) if levels is None else levels - 1
    if level.shape != (labels.shape[1],):
        raise UsageError(f"{level.shape} levels for {labels.shape[1]} nodes")
    kept = score >= least
    found = _Pairs(score[kept], truth[kept], np.ones(int(kept.sum()), dtype=np.int64), level[columns[kept]])
    if least > 0:
        return found
    depth = int(level.max(initial=-1)) + 1

    def count(of: NDArray[Any]) -> Ints:
        return np.bincount(level[of], minlength=depth).astype(np.int64)

    absent = count(np.arange(len(level))) * labels.shape[0] - count(columns)
    absent_true = count(labels.indices) - count(columns[truth])
    if unknown is not None:
        hidden = as_labels(unknown)
        absent -= count(hidden.indices) - count(hidden.multiply(labels).tocsr().indices)
    every = np.arange(depth)
    return _Pairs(
        np.concatenate([found.score, np.zeros(2 * depth)]),
        np.concatenate([found.truth, np.repeat([False, True], depth)]),
        np.concatenate([found.weight, absent - absent_true, absent_true]),
        np.concatenate([found.level, every, every]),
    )


# -- figures of pairs --------------------------------------------------------------------------------------------


def _row(judged: _Pairs, bins: int) -> tuple[int | float, ...]:
    return (
        int(judged.weight.sum()),
        int(judged.weight[judged.truth].sum()),
        _mean(judged, judged.score),
        _error(_table(judged, bins, "mass")),
        _error(_table(judged, bins, "width")),
        _chance(judged, bins),
        float((judged.weight * _squares(judged)).sum()),
        float((judged.weight * _surprises(judged)).sum()),
    )


def _table(judged: _Pairs, bins: int, binning: Binning) -> ReliabilityTable:
    at = _bins(judged, bins, binning)
    n, score, true = _sums(at, judged.weight, judged.weight * judged.score, judged.weight * judged.truth)
    share = true / n
    middle = (share + NORMAL_95**2 / (2 * n)) / (1 + NORMAL_95**2 / n)
    half = NORMAL_95 / (1 + NORMAL_95**2 / n) * np.sqrt(share * (1 - share) / n + NORMAL_95**2 / (4 * n**2))
    return ReliabilityTable(
        score / n, share, n.astype(np.int64), np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    )


def _bins(judged: _Pairs, bins: int, binning: Binning) -> Ints:
    """Return the bin of each pair."""
    if bins < 1:
        raise UsageError(f"bins must be at least 1, not {bins}")
    if binning == "width":
        return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], judged.score)
    order = np.argsort(judged.score, kind="stable")
    below = np.cumsum(judged.weight[order]) - judged.weight[order]
    new = np.append(True, np.diff(judged.score[order]) > 0)[: len(order)]
    at = np.empty(len(order), dtype=np.int64)
    at[order] = np.maximum.accumulate(np.where(new, below, 0)) * bins // max(int(judged.weight.sum()), 1)
    return at


def _sums(at: Ints, weight: Ints, *values: NDArray[Any]) -> list[Floats]:
    """Return the sums of weight and values in each bin that holds a pair."""
    totals = [np.bincount(at, weights=array).astype(np.float64) for array in (weight, *values)]
    filled = totals[0] > 0
    return [total[filled] for total in totals]


def _error(table: ReliabilityTable) -> float:
    gaps = table.pairs * np.abs(table.mean_score - table.observed)
    return float(gaps.sum() / max(int(table.pairs.sum()), 1))


def _chance(judged: _Pairs, bins: int) -> float:
    at = _bins(judged, bins, "mass")
    _, variance = _sums(at, judged.weight, judged.weight * judged.score * (1 - judged.score))
    return float(np.sqrt(2 / np.pi * variance).sum() / max(int(judged.weight.sum()), 1))


def _squares(judged: _Pairs) -> Floats:
    squares: Floats = (judged.score - judged.truth) ** 2
    return squares


def _surprises(judged: _Pairs) -> Floats:
    clipped = np.clip(judged.score, CLIP, 1 - CLIP)
    return -np.log(np.where(judged.truth, clipped, 1 - clipped))


def _mean(judged: _Pairs, values: Floats) -> float:
    return float((judged.weight * values).sum() / max(int(judged.weight.sum()), 1))
