"""Metrics of label sets: pure functions on sparse label matrices, truth first, prediction second.

Every matrix has shape (documents, nodes). Both label sets are taken as they are: for the hierarchical measures
close them first (`hclf.labels.close`); `hclf.evaluation.evaluate` does. There is no artificial root: a root
that every set holds would lift every figure. All work is O(stored labels + nodes); nothing is made dense.

Empty sets, everywhere: a quotient 0/0 is 0.0 (scikit-learn's `zero_division=0`), with one exception. A
document without true labels for which nothing is predicted is answered perfectly: its own precision, recall
and F1 are 1.0. A mean over no documents or no nodes is 0.0.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import entries, pairs, prune
from hclf.taxonomy import Taxonomy

Average = Literal["micro", "example", "macro"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class PrecisionRecallF1(NamedTuple):
    """Three figures in [0, 1]."""

    precision: float
    recall: float
    f1: float


class ScoreTable(NamedTuple):
    """Precision, recall and F1 of many things at once, and how many true and predicted labels each has."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints
    predicted: Ints


class AnsweredTable(NamedTuple):
    """How many documents are answered, and how good the answers are: one entry each for levels."""

    coverage: Floats
    precision: Floats
    all_right: Floats
    answered: Ints


class Answered(NamedTuple):
    """How many documents are answered, and how good the answers are."""

    coverage: float
    precision: float
    all_right: float
    answered: int


class Counts(NamedTuple):
    """How many labels are true, predicted and both: one entry each for documents, nodes or levels."""

    true: Ints
    predicted: Ints
    both: Ints

    def table(self) -> ScoreTable:
        """Return precision, recall and F1 of each entry; 0.0 where the denominator is 0."""
        return ScoreTable(
            ratio(self.both, self.predicted),
            ratio(self.both, self.true),
            ratio(2 * self.both, self.true + self.predicted),
            self.true,
            self.predicted,
        )


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Return numerator / denominator elementwise, 0.0 where the denominator is 0."""
    out: Floats = np.zeros(len(denominator), dtype=np.float64)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def mean(values: NDArray[Any]) -> float:
    """Return the mean, 0.0 of nothing."""
    return float(values.mean()) if values.size else 0.0


def as_labels(Y: Any) -> csr_matrix[Any]:
    """Return a label matrix (sparse or dense, any dtype) as canonical boolean CSR without explicit False."""
    labels: csr_matrix[Any] = csr_matrix(Y, dtype=bool)
    if not (labels.has_canonical_format and labels.data.all()):
        labels = labels.copy()  # the caller's matrix stays as it is
        labels.sum_duplicates()
        labels.eliminate_zeros()
    return labels


def aligned(true: Any, predicted: Any) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
    """Return both label matrices in canonical form; raises UsageError when their shapes differ."""
    left, right = as_labels(true), as_labels(predicted)
    if left.shape != right.shape:
        raise UsageError(
            f"truth is {left.shape[0]} documents x {left.shape[1]} nodes, "
            f"the prediction {right.shape[0]} x {right.shape[1]}; they must be of the same documents and nodes"
        )
    return left, right


def check_columns(taxonomy: Taxonomy, Y: Any, what: str = "the matrix has") -> None:
    """Raise UsageError unless the matrix, sparse or dense, has one column a node."""
    if Y.shape[1] != len(taxonomy):
        raise UsageError(f"{what} {Y.shape[1]} columns, the taxonomy has {len(taxonomy)} nodes")


def document_counts(true: Any, predicted: Any) -> Counts:
    """Return for each document how many labels are true, predicted and both."""
    left, right = aligned(true, predicted)
    return Counts(*(np.diff(Y.indptr).astype(np.int64) for Y in (left, right, left.multiply(right).tocsr())))


def node_counts(true: Any, predicted: Any) -> Counts:
    """Return for each node in how many documents it is true, predicted and both."""
    left, right = aligned(true, predicted)
    return Counts(
        *(
            np.bincount(Y.indices, minlength=Y.shape[1]).astype(np.int64)
            for Y in (left, right, left.multiply(right).tocsr())
        )
    )


def hierarchical_precision_recall_f1(true: Any, predicted: Any, average: Average = "micro") -> PrecisionRecallF1:
    """Return hierarchical precision, recall and F1 (hP, hR, hF) of closed label sets.

    With T and P the true and predicted labels of a document and all their ancestors,
    hP = |P and T| / |P|, hR = |P and T| / |T|, hF = 2 hP hR / (hP + hR) = 2 |P and T| / (|P| + |T|).
    `micro` sums the counts over all documents first (Kiritchenko, Matwin, Nock & Famili, 2006, without their
    artificial root); `example` takes the three figures of each document and averages each over documents;
    `macro` those of each node, over the nodes that are true in at least one document (see `node_scores`).

    Args:
        true, predicted: (documents, nodes) label matrices, closed under ancestors.
        average: `micro`, `example` or `macro`.

    Returns:
        Three floats in [0, 1]. `micro`: precision is 0.0 when nothing is predicted, recall 0.0 when nothing is
        true, F1 0.0 when either. `example`: a document without truth and without prediction counts 1.0 in
        all three; with only one of them empty it counts 0.0. `macro`: a node that is never predicted counts 0.0
        in all three; F1 is the mean of the nodes' F1, that is `macro_f1`. No documents: 0.0.

    Raises:
        UsageError: the shapes differ, or the average is unknown.

    >>> truth, guess = [[1, 1, 0], [1, 0, 1]], [[1, 0, 0], [1, 0, 1]]
    >>> hierarchical_precision_recall_f1(truth, guess)
    PrecisionRecallF1(precision=1.0, recall=0.75, f1=0.8571428571428571)
    >>> hierarchical_precision_recall_f1(truth, guess, average="example").recall
    0.75
    """
    if average == "micro":
        counts = document_counts(true, predicted)
        total = Counts(*(count.sum(keepdims=True) for count in counts)).table()
        return PrecisionRecallF1(float(total.precision[0]), float(total.recall[0]), float(total.f1[0]))
    if average == "example":
        table = document_scores(true, predicted)
        return PrecisionRecallF1(mean(table.precision), mean(table.recall), mean(table.f1))
    if average == "macro":
        table = node_scores(true, predicted)
        seen = table.support > 0
        return PrecisionRecallF1(mean(table.precision[seen]), mean(table.recall[seen]), mean(table.f1[seen]))
    raise UsageError(f"unknown average {average!r}; choose micro, example or macro")


def constrained_precision_recall_f1(
    taxonomy: Taxonomy, true: Any, predicted: Any, average: Average = "micro"
) -> PrecisionRecallF1:
    """Return precision, recall and F1 of a prediction from which labels without all their ancestors are removed.

    C-micro-F1 and C-macro-F1: a node counts as predicted only if all its ancestors are predicted too (Yu, Shen,
    Mao & Cai, 2022). For closed predictions, as our decoders give them, they equal the unconstrained figures; for
    predictions from elsewhere, do not close these first: the difference shows what inconsistent answers cost.

    Args:
        taxonomy: the taxonomy of both.
        true: (documents, nodes) label matrix, closed under ancestors.
        predicted: (documents, nodes) label matrix, as predicted.
        average: as in `hierarchical_precision_recall_f1`.

    Returns:
        Three floats in [0, 1], empty sets as in `hierarchical_precision_recall_f1`; a document of whose prediction
        nothing is left counts as one for which nothing is predicted.

    Raises:
        UsageError: the shapes differ or do not fit the taxonomy, or the average is unknown.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> constrained_precision_recall_f1(t, [[1, 1, 0], [1, 0, 1]], [[1, 1, 0], [0, 0, 1]])
    PrecisionRecallF1(precision=1.0, recall=0.5, f1=0.6666666666666666)
    """
    left, right = aligned(true, predicted)
    check_columns(taxonomy, right)
    rows, columns = pairs(right)
    position, parents = taxonomy.parents.of_many(columns)
    if not entries(right, rows[position], parents).all():
        right = prune(taxonomy, right)
    return hierarchical_precision_recall_f1(left, right, average)


def document_scores(true: Any, predicted: Any) -> ScoreTable:
    """Return precision, recall and F1 of each document; 1.0 each when truth and prediction are both empty.

    The formulas are those of `hierarchical_precision_recall_f1`. Exactly one of the two empty: 0.0 each.

    >>> document_scores([[1, 1], [0, 0], [0, 1]], [[1, 0], [0, 0], [0, 0]]).f1.round(3).tolist()
    [0.667, 1.0, 0.0]
    """
    counts = document_counts(true, predicted)
    table = counts.table()
    for figures in (table.precision, table.recall, table.f1):
        figures[(counts.true == 0) & (counts.predicted == 0)] = 1.0
    return table


def level_scores(true: Any, predicted: Any, levels: Ints) -> ScoreTable:
    """Return micro-averaged precision, recall and F1 of the nodes of each level; entry 0 is level 1.

    The micro measures of Kiritchenko et al. (2006) with T and P restricted to the nodes of one level.

    Args:
        true, predicted: (documents, nodes) label matrices, closed under ancestors.
        levels: (nodes,) level of each node, from 1; `taxonomy.levels`.

    Returns:
        Arrays of length max(levels), figures in [0, 1], 0.0 where the denominator is 0 (nothing predicted, or
        nothing true, at that level); `support` and `predicted` count (document, node) pairs.

    Raises:
        UsageError: the shapes differ, or `levels` does not have one entry a node.

    >>> level_scores([[1, 1, 0]], [[1, 0, 1]], np.array([1, 2, 2])).f1.tolist()
    [1.0, 0.0]
    """
    counts = node_counts(true, predicted)
    if len(levels) != len(counts.true):
        raise UsageError(f"{len(levels)} levels for {len(counts.true)} nodes; pass taxonomy.levels")
    depth = int(levels.max(initial=0))
    per_level = (np.bincount(levels - 1, weights=count, minlength=depth) for count in counts)
    return Counts(*(count.astype(np.int64) for count in per_level)).table()


def node_scores(true: Any, predicted: Any) -> ScoreTable:
    """Return precision, recall and F1 of each node over documents, its support and how often it is predicted.

    precision = TP / predicted, recall = TP / support, F1 = 2 TP / (support + predicted) (van Rijsbergen, 1979).

    Returns:
        Arrays (nodes,), figures in [0, 1]. A node never predicted has precision 0.0, a node never true recall
        0.0, and either has F1 0.0.

    >>> node_scores([[1, 0], [1, 1]], [[1, 0], [0, 0]]).recall.tolist()
    [0.5, 0.0]
    """
    return node_counts(true, predicted).table()


def macro_f1(true: Any, predicted: Any, nodes: Ints | NDArray[np.bool_] | None = None) -> float:
    """Return the mean of the nodes' F1 (Lewis, 1991), each node counting alike.

    Args:
        true, predicted: (documents, nodes) label matrices.
        nodes: columns, or a boolean mask, to average over. Default: the nodes true in at least one document,
            so that the figure does not depend on how much of the taxonomy a test set leaves untouched.

    Returns:
        A float in [0, 1]; a chosen node that is never true or never predicted counts 0.0. No nodes: 0.0.

    >>> macro_f1([[1, 0, 0], [1, 1, 0]], [[1, 0, 0], [1, 0, 0]])
    0.5
    """
    table = node_scores(true, predicted)
    return mean(table.f1[table.support > 0 if nodes is None else nodes])


def exact_match(true: Any, predicted: Any) -> float:
    """Return the share of documents whose predicted label set equals the true one (subset accuracy).

    (1/n) sum of [P = T] (Ghamrawi & McCallum, 2005). In [0, 1]; a document without truth and without
    prediction matches. No documents: 0.0.

    >>> exact_match([[1, 1], [1, 0]], [[1, 0], [1, 0]])
    0.5
    """
    counts = document_counts(true, predicted)
    return mean((counts.both == counts.true) & (counts.both == counts.predicted))


def hamming_loss(true: Any, predicted: Any) -> float:
    """Return the share of (document, node) pairs on which truth and prediction differ.

    (1 / (n x nodes)) sum of |P xor T| (Schapire & Singer, 1999). In [0, 1], 0 is best; small in large
    taxonomies whatever is predicted. Documents where both are empty add 0. No documents or no nodes: 0.0.

    >>> hamming_loss([[1, 1], [1, 0]], [[1, 0], [1, 0]])
    0.25
    """
    counts = document_counts(true, predicted)
    cells = len(counts.true) * as_labels(true).shape[1]
    return int((counts.true + counts.predicted - 2 * counts.both).sum()) / cells if cells else 0.0


def unknown_rate(predicted: Any) -> float:
    """Return the share of documents for which nothing is predicted: "unknown". In [0, 1]. No documents: 0.0.

    >>> unknown_rate([[0, 0], [1, 0]])
    0.5
    """
    return mean(np.diff(as_labels(predicted).indptr) == 0)


def answered(true: Any, predicted: Any) -> Answered:
    """Return how many documents get an answer, and how good the answers are: what abstaining buys.

    coverage = share of documents for which something is predicted (1 - `unknown_rate`; El-Yaniv & Wiener, 2010).
    Among those: precision = mean of |P and T| / |P|, all_right = share with nothing wrong, that is with P in T.

    Args:
        true, predicted: (documents, nodes) label matrices, closed under ancestors.

    Returns:
        Three floats in [0, 1] and the number of answered documents. An answer to a document without truth is all
        wrong. Nothing answered: precision and all_right are 0.0. No documents: 0.0.

    Raises:
        UsageError: the shapes differ.

    >>> answered([[1, 1], [1, 0], [1, 0], [1, 0]], [[1, 0], [1, 1], [0, 0], [0, 0]])
    Answered(coverage=0.5, precision=0.75, all_right=0.5, answered=2)
    """
    counts = document_counts(true, predicted)
    given = counts.predicted > 0
    precision = ratio(counts.both, counts.predicted)[given]
    return Answered(mean(given), mean(precision), mean(precision == 1), int(given.sum()))


def answered_by_level(true: Any, predicted: Any, levels: Ints) -> AnsweredTable:
    """Return for each level what `answered` gives of the nodes of that level alone; entry 0 is level 1.

    Coverage is of all documents: a document is answered at a level if a node of that level is predicted for it.

    Args:
        true, predicted: (documents, nodes) label matrices, closed under ancestors.
        levels: (nodes,) level of each node, from 1; `taxonomy.levels`.

    Returns:
        Arrays of length max(levels); figures in [0, 1], 0.0 at a level where nothing is predicted.

    Raises:
        UsageError: the shapes differ, or `levels` does not have one entry a node.

    >>> answered_by_level([[1, 1, 0], [1, 0, 1]], [[1, 0, 1], [1, 0, 0]], np.array([1, 2, 2])).coverage.tolist()
    [1.0, 0.5]
    """
    left, right = aligned(true, predicted)
    if len(levels) != right.shape[1]:
        raise UsageError(f"{len(levels)} levels for {right.shape[1]} nodes; pass taxonomy.levels")
    rows = [answered(left[:, levels == i], right[:, levels == i]) for i in range(1, int(levels.max(initial=0)) + 1)]
    coverage, precision, all_right, number = zip(*rows, strict=True) if rows else ((), (), (), ())
    return AnsweredTable(
        np.array(coverage, dtype=np.float64),
        np.array(precision, dtype=np.float64),
        np.array(all_right, dtype=np.float64),
        np.array(number, dtype=np.int64),
    )
