"""Metrics of scores: how well true labels are ranked above the others, before any threshold.

Scores have shape (documents, nodes) and are at least 0 (probabilities, or anything of the same order). They
may be sparse: an entry that is absent, like one stored as 0.0, scores 0.0: the lowest, tied with all others of
its kind. So `scores` and `csr_matrix(scores)` always give the same figures.

Two views of the same scores:

- as *thresholds* (`average_precision_micro`, `average_precision_per_node`): entries with equal scores cannot be
  told apart and enter together, those of 0.0 last. Equal to scikit-learn's `average_precision_score`.
- as *ranked lists*, one a document (`mean_average_precision`, `precision_at_k`, `recall_at_k`, `ndcg_at_k`,
  `propensity_scored_precision_at_k`): the nodes that score above 0.0, best first; equal scores in column order,
  which puts ancestors before descendants. A node that scores 0.0 is not in the list. Documents without true
  labels have no ranking to judge and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from hclf.errors import UsageError
from hclf.metrics.sets import as_labels, mean, ratio

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class RankedLists(NamedTuple):
    """Figures of the documents' ranked lists: MAP, and precision, recall and nDCG of the first k, by k."""

    map: float
    precision: dict[int, float]
    recall: dict[int, float]
    ndcg: dict[int, float]


class DocumentLists(NamedTuple):
    """The same figures of each document, arrays (documents,); NaN for documents without true labels."""

    average_precision: Floats
    precision: dict[int, Floats]
    recall: dict[int, Floats]
    ndcg: dict[int, Floats]


class _Hits(NamedTuple):
    """The true nodes in the ranked lists, list by list and downwards: their documents, columns and ranks."""

    labels: csr_matrix[Any]
    row: Ints
    column: Ints
    rank: Ints


def average_precision_micro(true: Any, scores: Any) -> float:
    """Return AU(PRC): average precision over all (document, node) pairs ranked together.

    AP = sum over thresholds t of (R_t - R_(t-1)) P_t, with P_t and R_t the precision and recall of all pairs
    that score at least t: the area under the pooled precision-recall curve (Vens, Struyf, Schietgat, Džeroski &
    Blockeel, 2008) without interpolation (Davis & Goadrich, 2006), as C-HMCNN reports it (Giunchiglia &
    Lukasiewicz, 2020). Equal to scikit-learn's `average_precision_score(average="micro")`, ties included.

    Args:
        true: (documents, nodes) label matrix.
        scores: (documents, nodes) dense or CSR floats >= 0; absent entries are 0.0.

    Returns:
        A float in [0, 1]; for scores that are all equal, the share of true pairs. Nothing true: 0.0.

    Raises:
        UsageError: shapes differ, or scores are negative or NaN.

    >>> average_precision_micro([[1, 0], [1, 1]], [[0.9, 0.1], [0.8, 0.1]])
    0.9166666666666666
    """
    labels, stored, hit = matched(true, scores)
    one_group = np.zeros(stored.nnz, dtype=np.int64)
    cells = labels.shape[0] * labels.shape[1]
    return float(_average_precision(one_group, stored.data, hit, np.array([labels.nnz]), cells)[0])


def average_precision_per_node(true: Any, scores: Any) -> Floats:
    """Return for each node the average precision of the documents ranked by its score.

    The formula of `average_precision_micro`, one column at a time.

    Returns:
        (nodes,) floats in [0, 1]; 0.0 for a node that is true nowhere. Raises as `average_precision_micro`.

    >>> average_precision_per_node([[1, 0], [0, 1]], [[0.9, 0.5], [0.2, 0.5]]).tolist()
    [1.0, 0.5]
    """
    labels, stored, hit = matched(true, scores)
    relevant = np.bincount(labels.indices, minlength=labels.shape[1])
    return _average_precision(stored.indices, stored.data, hit, relevant, labels.shape[0])


def average_precision_macro(true: Any, scores: Any) -> float:
    """Return the mean average precision over the nodes that are true in at least one document.

    The average area under the nodes' precision-recall curves of Vens et al. (2008), without interpolation;
    scikit-learn's `average="macro"` over those nodes.

    Returns:
        A float in [0, 1]. Nothing true: 0.0. Raises as `average_precision_micro`.

    >>> average_precision_macro([[1, 0], [0, 0]], [[0.9, 0.5], [0.2, 0.5]])
    1.0
    """
    present = np.unique(as_labels(true).indices)
    return mean(average_precision_per_node(true, scores)[present])


def average_precision_weighted(true: Any, scores: Any, weights: NDArray[Any] | None = None) -> float:
    """Return the mean of the nodes' average precision weighted by how often each is true.

    The weighted average area under the nodes' precision-recall curves of Vens et al. (2008), without
    interpolation; scikit-learn's `average="weighted"`.

    Args:
        true, scores: as `average_precision_micro`.
        weights: (nodes,) numbers >= 0. Default: true documents of each node; or pass its training documents.

    Returns:
        A float in [0, 1]; a node with a weight that is true nowhere counts 0.0. All weights 0, as where nothing
        is true: 0.0.

    Raises:
        UsageError: as `average_precision_micro`, or not one weight a node, or a negative one.

    >>> average_precision_weighted([[1, 0], [1, 1]], [[0.9, 0.5], [0.2, 0.4]])
    0.8333333333333334
    """
    labels = as_labels(true)
    given = np.bincount(labels.indices, minlength=labels.shape[1]) if weights is None else np.asarray(weights)
    if given.shape != (labels.shape[1],) or not (given >= 0).all():
        raise UsageError(f"weights must be {labels.shape[1]} numbers >= 0, one a node")
    total = float(given.sum())
    return float(given @ average_precision_per_node(labels, scores)) / total if total else 0.0


def average_precision_example(true: Any, scores: Any) -> float:
    """Return the mean over documents of the average precision of the nodes ranked by the document's scores.

    The formula of `average_precision_micro`, one row at a time, so each document has thresholds of its own: the
    threshold-free hF1-AUC of Plaud, Labeau, Saillenfest & Bonald (2024), for closed labels, but without
    interpolation; scikit-learn's `average="samples"`. Unlike MAP, equal scores enter together and nodes that
    score 0.0 enter last.

    Returns:
        A float in [0, 1]. Documents without truth are left out; if none is left: 0.0. Raises as
        `average_precision_micro`.

    >>> average_precision_example([[1, 0, 1], [0, 0, 0]], [[0.9, 0.5, 0.2], [0.1, 0.2, 0.3]])
    0.8333333333333333
    """
    labels, stored, hit = matched(true, scores)
    row = np.repeat(np.arange(labels.shape[0]), np.diff(stored.indptr))
    relevant = np.diff(labels.indptr)
    return mean(_average_precision(row, stored.data, hit, relevant, labels.shape[1])[relevant > 0])


def mean_average_precision(true: Any, scores: Any) -> float:
    """Return MAP: the mean over documents of the average precision of the document's ranked list.

    AP of a document = (1 / |T|) sum over ranks r that hold a true node of precision-at-r: the measure of
    CodiEsp (Miranda-Escalada, Gonzalez-Agirre, Armengol-Estapé & Krallinger, 2020) and trec_eval. A true node
    that is not in the list (score 0.0) adds nothing; equal scores rank in column order.

    Returns:
        A float in [0, 1]. Documents without truth are left out; if none is left: 0.0. Raises as
        `average_precision_micro`.

    >>> mean_average_precision([[1, 0, 1], [0, 0, 0]], [[0.9, 0.5, 0.2], [0.1, 0.2, 0.3]])
    0.8333333333333333
    """
    return ranked_lists(true, scores, ks=()).map


def precision_at_k(true: Any, scores: Any, k: int = 5) -> float:
    """Return the mean over documents of the share of true nodes among the first k of its ranked list.

    P@k = |T and first k| / k (Manning, Raghavan & Schütze, 2008, section 8.4). The denominator is k even where
    a list or a label set is shorter, so 1.0 may be out of reach.

    Returns:
        A float in [0, 1]. Documents without truth are left out; if none is left: 0.0.

    Raises:
        UsageError: as `average_precision_micro`, or k is below 1.

    >>> precision_at_k([[1, 0, 1]], [[0.9, 0.5, 0.2]], k=2)
    0.5
    """
    return ranked_lists(true, scores, ks=(k,)).precision[k]


def recall_at_k(true: Any, scores: Any, k: int = 5) -> float:
    """Return the mean over documents of the share of its true nodes found among the first k of its ranked list.

    R@k = |T and first k| / |T|; 1.0 is out of reach where a document has more than k true nodes.

    Returns:
        A float in [0, 1]. Documents without truth are left out; if none is left: 0.0.

    Raises:
        UsageError: as `average_precision_micro`, or k is below 1.

    >>> recall_at_k([[1, 0, 1]], [[0.9, 0.5, 0.2]], k=1)
    0.5
    """
    return ranked_lists(true, scores, ks=(k,)).recall[k]


def ndcg_at_k(true: Any, scores: Any, k: int = 5) -> float:
    """Return nDCG@k: the mean over documents of the discounted gain of its first k nodes, by the best possible.

    DCG@k = sum over ranks r <= k that hold a true node of 1 / log2(r + 1); nDCG@k = DCG@k / the DCG@k of a list
    with all true nodes first (Järvelin & Kekäläinen, 2002; gains are 0 or 1). scikit-learn's `ndcg_score` with
    `ignore_ties=True`, but equal scores rank in column order here, and a node that scores 0.0 has no rank.

    Returns:
        A float in [0, 1]. Documents without truth are left out; if none is left: 0.0.

    Raises:
        UsageError: as `average_precision_micro`, or k is below 1.

    >>> round(ndcg_at_k([[1, 0, 1]], [[0.9, 0.5, 0.2]], k=3), 4)
    0.9197
    """
    return ranked_lists(true, scores, ks=(k,)).ndcg[k]


def ranked_lists(true: Any, scores: Any, ks: Sequence[int] = (1, 3, 5)) -> RankedLists:
    """Return MAP, and P@k, R@k and nDCG@k for several k, from one sorting of the scores.

    Formulas, ranges and values on empty truth are those of `mean_average_precision`, `precision_at_k`,
    `recall_at_k` and `ndcg_at_k`.

    >>> ranked_lists([[1, 0, 1]], [[0.9, 0.5, 0.2]], ks=(1, 3)).recall
    {1: 0.5, 3: 1.0}
    """
    lists = ranked_lists_per_document(true, scores, ks)
    judged = ~np.isnan(lists.average_precision)
    return RankedLists(
        mean(lists.average_precision[judged]),
        *({k: mean(figures[judged]) for k, figures in by_k.items()} for by_k in lists[1:]),
    )


def ranked_lists_per_document(true: Any, scores: Any, ks: Sequence[int] = (1, 3, 5)) -> DocumentLists:
    """Return average precision, and P@k, R@k and nDCG@k for several k, of each document's ranked list.

    Their means over the documents with true labels are the figures of `ranked_lists`.

    Returns:
        Arrays (documents,), floats in [0, 1], NaN for documents without true labels. Raises as `precision_at_k`.

    >>> ranked_lists_per_document([[1, 0, 1], [0, 0, 0]], [[0.9, 0.5, 0.2], [0.1, 0.2, 0.3]]).precision[1].tolist()
    [1.0, nan]
    """
    _check_k(*ks)
    labels, row, _, rank = _hits(true, scores)
    number = np.diff(labels.indptr)
    relevant = np.where(number > 0, number, np.nan)
    found = np.arange(1, len(row) + 1) - np.searchsorted(row, row)  # rows ascend
    gain = 1 / np.log2(rank + 1)
    best = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, max(ks, default=0) + 2))))

    def total(values: NDArray[Any], k: float = np.inf) -> Floats:
        """Return the sum of values at ranks up to k, NaN where nothing is true."""
        sums = np.bincount(row[rank <= k], weights=values[rank <= k], minlength=len(number))
        return np.where(number > 0, sums, np.nan)

    hits = {k: total(np.ones(len(row)), k) for k in ks}
    return DocumentLists(
        total(found / rank) / relevant,
        {k: count / k for k, count in hits.items()},
        {k: count / relevant for k, count in hits.items()},
        {k: total(gain, k) / np.maximum(best[np.minimum(number, k)], best[1]) for k in ks},
    )


def propensities(train_counts: NDArray[Any], documents: int, a: float = 0.55, b: float = 1.5) -> Floats:
    """Return how likely it is that a true label was given at all, for each node, from its training documents.

    p = 1 / (1 + C (N_l + b)^-a) with C = (ln N - 1)(b + 1)^a, N training documents, N_l of them with the label
    (Jain, Prabhu & Varma, 2016). Rare labels are missed more often than frequent ones.

    Args:
        train_counts: (nodes,) training documents of each node.
        documents: training documents; at least 3, for the formula to mean anything.
        a, b: of the data set; the paper has 0.55 and 1.5 in general, 0.5 and 0.4 for Wikipedia, 0.6 and 2.6 for
            Amazon.

    Returns:
        (nodes,) floats in (0, 1], never falling with the count.

    Raises:
        UsageError: fewer than 3 documents, counts that are negative or above them, or a or b not above 0.

    >>> propensities(np.array([0, 10, 1000]), 1000).round(3).tolist()
    [0.113, 0.282, 0.821]
    """
    counts = np.asarray(train_counts)
    if documents < 3 or a <= 0 or b <= 0:
        raise UsageError(f"propensities need 3 documents or more and a, b > 0, not {documents}, {a} and {b}")
    if ((counts < 0) | (counts > documents)).any():
        raise UsageError(f"training counts must lie between 0 and the {documents} documents")
    c = (np.log(documents) - 1) * (b + 1) ** a
    return np.asarray(1 / (1 + c * (counts + b) ** -a), dtype=np.float64)


def propensity_scored_precision_at_k(
    true: Any, scores: Any, propensity: NDArray[Any], k: int = 5, *, normalised: bool = True
) -> float:
    """Return PSP@k: precision at k in which a hit counts 1 / its propensity, so rare labels count more.

    PSP@k = (1/k) sum over the true nodes among the first k of 1 / p (Jain, Prabhu & Varma, 2016). Normalised, as
    their repository reports it, the sum over documents is divided by that of the best possible lists: those
    with the true nodes of lowest propensity first. With p = 1 everywhere the plain form is P@k.

    Args:
        true, scores: as `average_precision_micro`.
        propensity: (nodes,) floats in (0, 1], from `propensities`.
        k: at least 1.
        normalised: False for the mean over documents of the plain form, which may exceed 1.

    Returns:
        A float in [0, 1], or >= 0 when not normalised. Documents without truth are left out; if none is left: 0.0.

    Raises:
        UsageError: as `average_precision_micro`, k is below 1, or propensities that are not one a node in (0, 1].

    >>> propensity_scored_precision_at_k([[1, 1]], [[0.9, 0.5]], np.array([1.0, 0.5]), k=1)
    0.5
    """
    _check_k(k)
    labels, _, column, rank = _hits(true, scores)
    p = np.asarray(propensity, dtype=np.float64)
    if p.shape != (labels.shape[1],) or not ((p > 0) & (p <= 1)).all():
        raise UsageError(f"propensities must be {labels.shape[1]} numbers in (0, 1], one a node")
    judged = int((np.diff(labels.indptr) > 0).sum())
    gained = float((1 / p[column[rank <= k]]).sum())
    if not normalised:
        return gained / (k * judged) if judged else 0.0
    worth = csr_matrix((1 / p[labels.indices], labels.indices, labels.indptr), shape=labels.shape)
    best = _hits(labels, worth)
    possible = float((1 / p[best.column[best.rank <= k]]).sum())
    return gained / possible if possible else 0.0


def as_scores(scores: Any) -> csr_matrix[Any]:
    """Return scores as canonical CSR floats without stored zeros; raises UsageError when negative or NaN."""
    given: Any = scores if issparse(scores) else np.asarray(scores)
    if given.dtype != np.float32:
        given = given.astype(np.float64, copy=False)
    stored: csr_matrix[Any] = csr_matrix(given)
    if not stored.has_canonical_format or not stored.data.all():
        stored = stored.copy()
        stored.sum_duplicates()
        stored.eliminate_zeros()
    if not (stored.data > 0).all():  # also false for NaN
        raise UsageError(
            f"{int((~(stored.data > 0)).sum())} scores are negative or NaN; scores must be at least 0 "
            "(a sigmoid makes them so and keeps their order)"
        )
    return stored


def _check_k(*ks: int) -> None:
    if any(k < 1 for k in ks):
        raise UsageError(f"k must be at least 1, not {min(ks)}")


def _hits(true: Any, scores: Any) -> _Hits:
    """Return the labels, and where in the documents' ranked lists the true nodes stand."""
    labels, stored, hit = matched(true, scores)
    starts = stored.indptr.astype(np.int64)
    row = np.repeat(np.arange(labels.shape[0]), np.diff(starts))
    order = np.lexsort((-stored.data, row))  # stable, and columns are sorted: ties stay in column order
    good = order[hit[order]]  # as stored, so rows and ranks need no second array
    rank = np.flatnonzero(hit[order]) - starts[row[good]] + 1
    return _Hits(labels, row[good], stored.indices[good].astype(np.int64), rank)


def matched(true: Any, scores: Any) -> tuple[csr_matrix[Any], csr_matrix[Any], NDArray[np.bool_]]:
    """Return the labels, the scores, and for each stored score whether its label is true."""
    labels, stored = as_labels(true), as_scores(scores)
    if labels.shape != stored.shape:
        raise UsageError(
            f"truth is {labels.shape[0]} documents x {labels.shape[1]} nodes, "
            f"the scores {stored.shape[0]} x {stored.shape[1]}; they must be of the same documents and nodes"
        )
    places = np.arange(1, stored.nnz + 1)  # from 1: a product of 0 would not be told from absence
    numbered = csr_matrix((places, stored.indices, stored.indptr), shape=stored.shape)
    hit = np.zeros(stored.nnz, dtype=bool)
    hit[numbered.multiply(labels).tocsr().data - 1] = True
    return labels, stored, hit


def _average_precision(
    group: NDArray[Any], score: NDArray[Any], hit: NDArray[np.bool_], relevant: NDArray[Any], size: int
) -> Floats:
    """Return the average precision of each group of `size` entries, of which only those above 0.0 are given.

    Args:
        group, score, hit: (stored,) group number, score and truth of each entry.
        relevant: (groups,) true entries of each group, given or not.
        size: entries of each group, given or not.
    """
    order = np.lexsort((-score, group))
    group, score = group[order], score[order]
    changes = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    last = np.append(np.flatnonzero(changes), len(group) - 1) if len(group) else np.array([], dtype=np.int64)
    block = group[last]  # entries tied in one group form a block; `last` is where each ends

    found = np.cumsum(hit[order], dtype=np.int64)[last]
    given = np.bincount(group, minlength=len(relevant))
    given_true = np.bincount(group, weights=hit[order], minlength=len(relevant)).astype(np.int64)
    new = np.diff(found, prepend=0)
    found -= (np.cumsum(given_true) - given_true)[block]
    rank = last + 1 - (np.cumsum(given) - given)[block]
    area = np.bincount(block, weights=new * (found / rank), minlength=len(relevant)).astype(np.float64)
    # All entries of 0.0 come last and together: recall 1 at precision relevant / size.
    area += (relevant - given_true) * (relevant / max(size, 1))
    return ratio(area, relevant)
