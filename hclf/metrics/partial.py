"""Truth of partial depth: what is below a most specific true label is unknown, not absent."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import close, entries, most_specific, pairs
from hclf.metrics.ascents import ascents, slices
from hclf.metrics.sets import as_labels, check_columns
from hclf.taxonomy import Taxonomy, distinct

ENTRIES_AT_A_TIME = 500_000


def only_known(taxonomy: Taxonomy, true: Any, given: Any) -> csr_matrix[Any]:
    """Return predictions, or scores, without those of which the truth says nothing: all below its deepest labels.

    A document labelled "dairy" and nothing below says nothing of "cheese". Metrics of the predictions as they are
    count "cheese" wrong; metrics of `only_known(taxonomy, true, predictions)` do not judge it. What leaves the
    matrix is exactly the entries of `hclf.labels.partial_depth(taxonomy, close(taxonomy, true))`, but that matrix,
    which holds every descendant of every label, is never built. Report both readings: the first is too hard
    where people stop labelling early, the second too kind where they stop because nothing below fits.

    Args:
        taxonomy: the taxonomy of both.
        true: (documents, nodes) label matrix, closed or not.
        given: (documents, nodes) predicted labels or scores, dense or sparse, any dtype; not changed.

    Returns:
        A CSR matrix of the same shape and dtype without those entries; a closed prediction stays closed, coherent
        scores stay coherent. A document without true labels has no deepest label, so all of its predictions stay:
        they are judged, and wrong. In ranking metrics an entry that left is one that scores 0.0.

    Raises:
        UsageError: shapes that differ or do not fit the taxonomy.

    >>> t = Taxonomy(["dairy", "cheese", "drink"], [("dairy", "cheese")])
    >>> only_known(t, [[1, 0, 0], [0, 1, 0]], [[1, 0, 1], [1, 0, 1]]).toarray().tolist()  # dairy, drink, cheese
    [[1, 0, 0], [1, 0, 1]]
    """
    labels = as_labels(true)
    matrix: csr_matrix[Any] = csr_matrix(given, copy=True)
    matrix.sum_duplicates()
    if labels.shape != matrix.shape:
        raise UsageError(
            f"truth is {labels.shape[0]} documents x {labels.shape[1]} nodes, "
            f"the predictions or scores {matrix.shape[0]} x {matrix.shape[1]}; they must be of the same"
        )
    check_columns(taxonomy, labels)
    deepest = most_specific(taxonomy, close(taxonomy, labels))
    rows, columns = pairs(matrix)
    up = ascents(taxonomy, distinct(columns))
    known = np.ones(len(rows), dtype=bool)
    for part in slices(np.diff(up.indptr)[columns], ENTRIES_AT_A_TIME):
        position, ancestor, steps = up.of(columns[part])
        proper = (steps > 0) & (ancestor < len(taxonomy))
        position, ancestor = position[proper], ancestor[proper]
        below = entries(deepest, rows[part][position], ancestor)
        known[part.start + position[below]] = False
    indptr = np.append(0, np.cumsum(known))[matrix.indptr]
    return csr_matrix((matrix.data[known], matrix.indices[known], indptr), shape=matrix.shape)
