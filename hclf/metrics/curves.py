"""Metrics of scores at every threshold: the hP-hR curve, Fmax, Smin, and the area under the curve.

One threshold is lowered through the scores of all documents at once; at each the closed label sets are judged as in
the CAFA challenge (Radivojac et al., 2013): precision over the documents that are answered, that is for which
something is predicted, recall over all documents. Documents without true labels are left out, in both.

Scores have shape (documents, nodes) and are at least 0, dense or CSR; an absent entry is 0.0 and is never predicted.
For hierarchical figures they must be coherent (`taxonomy.coherent`), so that each threshold gives closed sets, and
the truth closed.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from hclf.errors import UsageError
from hclf.metrics.ranking import matched
from hclf.metrics.sets import as_labels, check_columns, ratio
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Fmax(NamedTuple):
    """The best F1 of a curve, and where it stands."""

    f1: float
    threshold: float
    precision: float
    recall: float


class Curve(NamedTuple):
    """What each threshold gives, from the highest down; arrays (thresholds,).

    Attributes:
        threshold: what scores at least this is predicted.
        precision: mean precision of the answered documents; recall: mean recall of all; coverage: share answered.
        missing, wrong: mean weight of what is true and not predicted, and predicted and not true.
        labels: mean number of predicted labels.
    """

    threshold: Floats
    precision: Floats
    recall: Floats
    coverage: Floats
    missing: Floats
    wrong: Floats
    labels: Floats

    @property
    def f1(self) -> Floats:
        """2 precision recall / (precision + recall), 0.0 where both are."""
        return ratio(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def best(self) -> Fmax:
        """The point of the highest F1; see `f_max`."""
        f1 = self.f1
        if not f1.any():
            return Fmax(0.0, 1.0, 0.0, 0.0)
        at = int(np.argmax(f1))
        return Fmax(*(float(values[at]) for values in (f1, self.threshold, self.precision, self.recall)))


class Smin(NamedTuple):
    """The least semantic distance of a curve, where it stands, and its two parts."""

    distance: float
    threshold: float
    remaining_uncertainty: float
    misinformation: float


def precision_recall_curve(
    true: Any, scores: Any, *, weights: NDArray[Any] | None = None, thresholds: NDArray[Any] | None = None
) -> Curve:
    """Return hP, hR and coverage at each threshold, documents counting alike.

    At threshold t, with P the nodes of a document that score at least t, w the weights, over documents with truth:
    precision = mean of w(P and T) / w(P) where w(P) > 0, recall = mean of w(P and T) / w(T) (Radivojac et al., 2013).

    Args:
        true: (documents, nodes) closed label matrix.
        scores: (documents, nodes) coherent scores >= 0, dense or CSR.
        weights: (nodes,) numbers >= 0, such as `information_content`. Default: 1 each.
        thresholds: numbers above 0, in any order, such as CAFA's 0.01, 0.02 … 0.99. Default: every distinct score.

    Returns:
        A Curve from the highest threshold down; empty when there are no thresholds. Precision and recall are 0.0
        where nothing is answered, or no document has truth; recall is 0.0 for a document whose truth weighs nothing.

    Raises:
        UsageError: shapes that differ, scores or weights that are negative or NaN, or thresholds not above 0.

    >>> curve = precision_recall_curve([[1, 1], [1, 0]], [[0.9, 0.4], [0.6, 0.0]])
    >>> curve.threshold.tolist(), curve.precision.tolist(), curve.recall.tolist()
    ([0.9, 0.6, 0.4], [1.0, 1.0, 1.0], [0.25, 0.75, 1.0])
    """
    labels, stored, hit = matched(true, scores)
    weight = _weights(weights, labels.shape[1])
    judged = np.diff(labels.indptr) > 0
    n = max(int(judged.sum()), 1)
    row = np.repeat(np.arange(labels.shape[0]), np.diff(stored.indptr))
    down = np.flatnonzero(judged[row])
    down = down[np.argsort(-stored.data[down])]  # all scores, falling
    ends, threshold = _ends(stored.data[down], thresholds)
    place = _row_by_row(row[down], len(judged))  # where each stands in that order, now row by row
    row, heavy, hit = row[down[place]], weight[stored.indices[down[place]]], hit[down[place]]
    found, predicted = _within_rows(row, heavy * hit), _within_rows(row, heavy)
    total = _row_weights(labels, weight)

    def swept(steps: Floats) -> Floats:
        """Return the sum of the steps, given row by row, that the scores down to each threshold have taken."""
        falling = np.empty(len(steps))
        falling[place] = steps
        return np.append(0.0, np.cumsum(falling))[ends]

    answered = swept(_steps(row, (predicted > 0).astype(np.float64)))
    right = swept(heavy * hit)
    return Curve(
        threshold,
        ratio(swept(_steps(row, np.minimum(ratio(found, predicted), 1.0))), answered),
        swept(ratio(heavy * hit, total[row])) / n,
        answered / n,
        np.maximum(float(total[judged].sum()) - right, 0.0) / n,
        swept(heavy * ~hit) / n,
        ends / n,
    )


def f_max(
    true: Any, scores: Any, *, weights: NDArray[Any] | None = None, thresholds: NDArray[Any] | None = None
) -> Fmax:
    """Return Fmax: the highest F1 of mean precision and mean recall over all thresholds (CAFA).

    Fmax = max over t of 2 pr(t) rc(t) / (pr(t) + rc(t)), pr and rc as in `precision_recall_curve` (Radivojac et
    al., 2013); of several thresholds that reach it, the highest. With information content as weights: wFmax.
    The threshold is chosen on the very documents it is measured on: an upper bound, good to compare scores.

    Returns:
        f1, precision and recall in [0, 1] and the threshold. Nothing scored or nothing true: 0.0, at threshold 1.0.
        Arguments and errors are those of `precision_recall_curve`.

    >>> f_max([[1, 1], [1, 0]], [[0.9, 0.4], [0.6, 0.5]])
    Fmax(f1=0.8571428571428571, threshold=0.6, precision=1.0, recall=0.75)
    """
    return precision_recall_curve(true, scores, weights=weights, thresholds=thresholds).best


def s_min(true: Any, scores: Any, information: NDArray[Any], *, thresholds: NDArray[Any] | None = None) -> Smin:
    """Return Smin: the least semantic distance between truth and prediction over all thresholds, in bits (CAFA).

    ru(t) = mean over documents of the information content of what is true and not predicted (remaining
    uncertainty), mi(t) of what is predicted and not true (misinformation); Smin = min over t of
    sqrt(ru(t)^2 + mi(t)^2) (Clark & Radivojac, 2013). Thresholds at which nothing at all is predicted are not
    looked at; of several that reach it, the highest counts.

    Args:
        true, scores, thresholds: as in `precision_recall_curve`.
        information: (nodes,) bits >= 0 a node adds to its parents, from `information_content`.

    Returns:
        The distance >= 0, its threshold and its two parts; 0.0 is perfect, and there is no upper end. Nothing
        scored: the information of the truth, at threshold 1.0. Nothing true: 0.0, at threshold 1.0.

    Raises:
        UsageError: as `precision_recall_curve`.

    >>> s_min([[1, 1], [1, 0]], [[0.9, 0.4], [0.6, 0.5]], np.array([0.0, 2.0]))
    Smin(distance=1.0, threshold=0.9, remaining_uncertainty=1.0, misinformation=0.0)
    """
    curve = precision_recall_curve(true, scores, weights=information, thresholds=thresholds)
    answered = curve.labels > 0
    if not answered.any():
        labels = as_labels(true)
        judged = max(int((np.diff(labels.indptr) > 0).sum()), 1)
        left = float(_row_weights(labels, _weights(information, labels.shape[1])).sum()) / judged
        return Smin(left, 1.0, left, 0.0)
    distance = np.where(answered, np.hypot(curve.missing, curve.wrong), np.inf)
    best = int(np.argmin(distance))
    return Smin(*(float(values[best]) for values in (distance, curve.threshold, curve.missing, curve.wrong)))


def hf_auc(true: Any, scores: Any, curve: Curve | None = None) -> float:
    """Return hF-AUC: the area under the curve of mean precision over mean recall under one falling threshold.

    Sum over thresholds t of (hR_t - hR_(t-1)) hP_t, hP and hR as in `precision_recall_curve`; at the end all nodes
    enter, those of 0.0 too. Where AU(PRC) (`average_precision_micro`) pools all pairs of a document and a node,
    documents count alike here. Plaud, Labeau, Saillenfest & Bonald (2024) proposed to judge hierarchical
    classifiers by such an area, without a decision rule; theirs has a threshold of its own for each document
    (`average_precision_example`), this one a common threshold, as a classifier in use has.

    Args:
        true: (documents, nodes) closed label matrix.
        scores: (documents, nodes) coherent scores >= 0, dense or CSR.
        curve: their `precision_recall_curve` without weights, at every score, if it is known already.

    Returns:
        A float in [0, 1]. Documents without truth are left out; if none is left: 0.0.

    Raises:
        UsageError: shapes that differ, or scores that are negative or NaN.

    >>> hf_auc([[1, 1], [1, 0]], [[0.9, 0.4], [0.6, 0.0]])
    1.0
    """
    curve = precision_recall_curve(true, scores) if curve is None else curve
    labels = as_labels(true)
    relevant = np.diff(labels.indptr)
    if not relevant.any():
        return 0.0
    everything = float(relevant[relevant > 0].mean()) / labels.shape[1]
    recall, precision = np.append(curve.recall, 1.0), np.append(curve.precision, everything)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def information_content(taxonomy: Taxonomy, labels: Any, pseudocount: float = 1.0) -> Floats:
    """Return the information content of each node given its parents, in bits, from how often it is a label.

    ic(f) = -log2 Pr(f | all parents of f) (Clark & Radivojac, 2013), Pr estimated as (documents with f +
    pseudocount) / (documents with all parents of f + pseudocount); a root is given all documents. The sum over a
    closed label set is the information of the set.

    Args:
        taxonomy: the taxonomy.
        labels: (documents, nodes) label matrix closed under ancestors, of the training set as a rule.
        pseudocount: with 0.0, the maximum likelihood estimate of CAFA, in which a node that is never a label has
            no information content; it gets 0.0, as in `cafaeval`. Above 0.0 such a node gets the content of one
            that is rarer than any seen.

    Returns:
        (nodes,) floats >= 0; no documents: 0.0 each.

    Raises:
        UsageError: labels of another width, or not closed, or a negative pseudocount.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> information_content(t, [[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 1]], pseudocount=0.0).tolist()
    [0.0, 1.0, 1.0]
    """
    Y = as_labels(labels)
    check_columns(taxonomy, Y)
    if pseudocount < 0:
        raise UsageError(f"pseudocount must be at least 0, not {pseudocount}")
    own = np.bincount(Y.indices, minlength=len(taxonomy))
    given = _with_all_parents(taxonomy, Y, own)
    if (own > given).any():
        raise UsageError("the labels are not closed under ancestors; close them first (hclf.labels.close)")
    probability = ratio(own + pseudocount, given + pseudocount)
    bits = np.zeros(len(taxonomy))
    np.log2(probability, out=bits, where=probability > 0)
    return np.abs(bits)  # not -0.0


# -- parts -----------------------------------------------------------------------------------------------------


def _with_all_parents(taxonomy: Taxonomy, Y: csr_matrix[Any], own: Ints) -> Ints:
    """Return for each node the number of documents that hold all its parents; for a root all documents."""
    parents = taxonomy.parents
    number = np.diff(parents.indptr)
    given = np.full(len(taxonomy), Y.shape[0])
    given[number == 1] = own[parents.indices[parents.indptr[:-1][number == 1]]]
    by_node: csc_matrix[Any] = Y.tocsc()
    known: dict[tuple[int, ...], int] = {}
    for j in np.flatnonzero(number > 1).tolist():
        several = tuple(parents.of(j).tolist())
        if several not in known:
            known[several] = _documents_with_all(by_node, several)
        given[j] = known[several]
    return given


def _documents_with_all(by_node: csc_matrix[Any], nodes: tuple[int, ...]) -> int:
    """Return the number of rows that hold all the given columns."""
    columns = [by_node.indices[by_node.indptr[p] : by_node.indptr[p + 1]] for p in nodes]
    return len(reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), columns))


def _weights(weights: NDArray[Any] | None, nodes: int) -> Floats:
    if weights is None:
        return np.ones(nodes)
    given: Floats = np.asarray(weights, dtype=np.float64)
    if given.shape != (nodes,) or not (given >= 0).all():
        raise UsageError(f"weights must be {nodes} numbers >= 0, one a node")
    return given


def _row_weights(Y: csr_matrix[Any], weight: Floats) -> Floats:
    row = np.repeat(np.arange(Y.shape[0]), np.diff(Y.indptr))
    sums: Floats = np.bincount(row, weights=weight[Y.indices], minlength=Y.shape[0]).astype(np.float64)
    return sums


def _row_by_row(row: Ints, rows: int) -> Ints:
    """Return the order that sorts rows and keeps what is in one row in order: a counting sort, by scipy."""
    one_each = csr_matrix((np.arange(len(row)), row, np.arange(len(row) + 1)), shape=(len(row), rows))
    return np.asarray(one_each.tocsc().data)


def _within_rows(row: Ints, values: Floats) -> Floats:
    """Return the running sum of values, begun anew in each row."""
    total: Floats = np.append(0.0, np.cumsum(values))
    start = np.searchsorted(row, row)  # rows ascend
    return total[1:] - total[start]


def _steps(row: Ints, values: Floats) -> Floats:
    """Return by how much each value exceeds the one before it in its row, the first one 0.0."""
    steps: Floats = np.diff(values, prepend=0.0)
    first = np.append(True, row[1:] != row[:-1])[: len(row)]
    steps[first] = values[first]
    return steps


def _ends(falling: NDArray[Any], thresholds: NDArray[Any] | None) -> tuple[Ints, Floats]:
    """Return how many of the falling scores reach each threshold, and the thresholds, falling."""
    if thresholds is None:
        last = np.append(falling[1:] != falling[:-1], True)[: len(falling)]
        return np.flatnonzero(last) + 1, falling[last].astype(np.float64)
    given = np.sort(np.asarray(thresholds, dtype=np.float64))[::-1]
    if not (given > 0).all():
        raise UsageError("thresholds must be above 0")
    return np.searchsorted(-falling, -given, side="right"), given
