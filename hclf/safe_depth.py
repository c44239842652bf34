"""Safe depth: answers as specific as a wanted precision allows, an ancestor where that is safer, else unknown.

The expected precision of a set is the mean of its calibrated scores. Nodes are taken in descending order of score,
ancestors first among equals, so every beginning of that order is closed, and its mean falls as it grows: a document
gets the longest beginning that holds the wanted mean. Lower means nest: what a stricter one answers, a looser one
answers too.

Instead of the set, each of its nodes may have to hold the wanted mean: fewer doubtful nodes below sure ones, so at
the same precision over all documents more documents are answered, less deep.

`SafeDepthDecoder` works with any mean; `hclf.guarantees` chooses the one that holds a precision on new documents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import pairs
from hclf.taxonomy import Taxonomy, run_starts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST = 0.5
"""No node below: on the back of sure ones the mean would let in what is more likely wrong than right."""


@dataclass(frozen=True, slots=True)
class SafeDepthDecoder:
    """The deepest closed set of each document whose mean score is at least `precision`; none: unknown.

    Args:
        precision: the least mean of the coherent, calibrated scores of an answer, in [0, 2]; above 1 nothing passes.
        least: no node that scores less, in (0, 1].
        most: at most so many nodes a document; None: any number.
        path: only nodes of the best path, for problems with one most specific label a document.
        each: every node of an answer scores at least `precision`, not only their mean.

    Raises:
        UsageError: a value out of range.

    >>> taxonomy = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> SafeDepthDecoder(0.9).select(taxonomy, np.array([[0.99, 0.85, 0.1], [0.95, 0.6, 0.3]])).tolist()
    [[True, True, False], [True, False, False]]
    """

    precision: float = 0.9
    least: float = LEAST
    most: int | None = None
    path: bool = False
    each: bool = False
    cut: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.precision <= 2:
            raise UsageError(f"precision lies in [0, 2], not {self.precision}")
        if not 0 < self.least <= 1:
            raise UsageError(f"least lies in (0, 1], not {self.least}")
        if self.most is not None and self.most < 1:
            raise UsageError(f"most is at least 1, not {self.most}")

    def select(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]]) -> Bools:
        """Return (documents, nodes): the answer to each row of coherent scores."""
        chosen = np.zeros(scores.shape, dtype=bool)
        means = self.means(taxonomy, csr_matrix(np.where(scores >= self.least, scores, 0)))
        rows, columns = pairs(means)
        safe = means.data >= self.precision
        chosen[rows[safe], columns[safe]] = True
        return chosen

    def trim(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]], Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return Y: every node stands for itself."""
        return Y

    def means(self, taxonomy: Taxonomy, scores: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return for each node the mean score of the set it comes in with; see `set_means`."""
        return set_means(taxonomy, scores, least=self.least, most=self.most, path=self.path, each=self.each)


def set_means(
    taxonomy: Taxonomy,
    scores: csr_matrix[Any],
    *,
    least: float = LEAST,
    most: int | None = None,
    path: bool = False,
    each: bool = False,
) -> csr_matrix[Any]:
    """Return for each node that may be answered the mean score of the smallest set that holds it; `each`: its score.

    So the answer at a wanted mean is where this is at least that.

    Args:
        taxonomy: of the columns.
        scores: (documents, nodes) coherent scores; absent entries are 0.
        least, most, path, each: as in `SafeDepthDecoder`.

    Returns:
        (documents, nodes), float64, entries only where a node may be answered. No node has more than any of its
        ancestors, so answers are closed.
    """
    rows, columns = pairs(scores)
    values = scores.data.astype(np.float64)
    inside = values >= least
    if path:
        inside[inside] = _on_best_path(taxonomy, rows[inside], columns[inside], values[inside])
    rows, columns, values = rows[inside], columns[inside], values[inside]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    if most is not None:
        few = rank < most
        rows, columns, values, rank = rows[few], columns[few], values[few], rank[few]
    if each:
        found = csr_matrix((values, (rows, columns)), shape=scores.shape)
        found.sort_indices()
        return found
    table = np.zeros((scores.shape[0], int(rank.max(initial=-1)) + 1))
    table[rows, rank] = values
    means = np.cumsum(table, axis=1) / np.arange(1, table.shape[1] + 1)
    means = np.minimum.accumulate(means, axis=1)  # three times 0.7 is less than 2.1: rounding must not open a gap
    found = csr_matrix((means[rows, rank], (rows, columns)), shape=scores.shape)
    found.sort_indices()
    return found


def _on_best_path(taxonomy: Taxonomy, rows: Ints, columns: Ints, values: Floats) -> Bools:
    """Mark the pairs on each row's path from the best root to the best child and so on, with all its ancestors.

    Args:
        taxonomy: of the columns.
        rows, columns, values: pairs sorted by row and column.
    """
    width = max(len(taxonomy), 1)
    keys = rows * width + columns
    root = taxonomy.is_root[columns]
    at = _best_of_each_row(rows, values, np.flatnonzero(root))
    path = [at]
    while at.size:
        position, below = taxonomy.children.of_many(columns[at])
        wanted = rows[at][position] * width + below
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        at = _best_of_each_row(rows, values, place[keys[place] == wanted])
        path.append(at)
    ends = np.concatenate(path)
    above, of = taxonomy.close_pairs(rows[ends], columns[ends])
    return np.isin(keys, above * width + of, assume_unique=True)


def _best_of_each_row(rows: Ints, values: Floats, pairs_at: Ints) -> Ints:
    """Return of some pairs the one with the highest value of each row; ties go to the earlier pair."""
    order = pairs_at[np.lexsort((pairs_at, -values[pairs_at], rows[pairs_at]))]
    return order[run_starts(rows[order])]
