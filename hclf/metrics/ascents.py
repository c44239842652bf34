"""Ways up a taxonomy: which ancestors a node has, how many steps up each is, how far two labels are apart.

Above the roots stands one implicit node, the *top*: it holds the taxonomy together, so that any two nodes have a
common ancestor, and it stands for an empty label set. It is no column; here it has the number `len(taxonomy)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.labels import most_specific
from hclf.metrics.sets import aligned, check_columns
from hclf.taxonomy import Edges, Taxonomy, distinct

Ints = NDArray[np.int64]
FAR = np.iinfo(np.int64).max // 4  # steps to a node that is no ancestor; two of them still add up
PAIRS_AT_A_TIME = 50_000


class Ascents(NamedTuple):
    """The ancestors of some nodes, each node itself and the top included, and the least steps up to each.

    Attributes:
        indptr: (nodes + 2,) the ancestors of node j are entries `indptr[j]` to `indptr[j + 1]`.
        ancestor, steps: (entries,) by node, then ancestor; steps is 0 for the node itself.
        key: (entries,) node * (nodes + 1) + ancestor, ascending.
    """

    indptr: Ints
    ancestor: Ints
    steps: Ints
    key: Ints

    @property
    def width(self) -> int:
        """How many nodes there are, the top included."""
        return len(self.indptr) - 1

    def of(self, nodes: Ints) -> tuple[Ints, Ints, Ints]:
        """Return (positions into `nodes`, ancestors, steps): one entry for each ancestor of each node."""
        position, entry = Edges(self.indptr, np.arange(len(self.key))).of_many(nodes)
        return position, self.ancestor[entry], self.steps[entry]

    def between(self, nodes: Ints, ancestors: Ints) -> Ints:
        """Return the least steps from each node up to the ancestor beside it, FAR if it is none."""
        wanted = nodes * self.width + ancestors
        at = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return np.where(self.key[at] == wanted, self.steps[at], FAR)


class Grid(NamedTuple):
    """Every pair of a true and a predicted label of the same document.

    Attributes:
        left, right: (pairs,) places of the two among the stored entries of their matrices.
        distance: (pairs,) steps up from both to their nearest common ancestor, added.
        pair, meeting: (meetings,) for each pair, by its place, the common ancestors at which that distance is met.
    """

    left: Ints
    right: Ints
    distance: Ints
    pair: Ints
    meeting: Ints


class Block(NamedTuple):
    """Some documents: their rows, their most specific true and predicted labels, and all pairs of these."""

    rows: slice
    true: csr_matrix[Any]
    predicted: csr_matrix[Any]
    grid: Grid


def edges_to_top(taxonomy: Taxonomy) -> Edges:
    """Return each node's parents; a root's is the top, which has none."""
    up = taxonomy.parents
    roots = np.flatnonzero(taxonomy.is_root)
    counts = np.append(np.maximum(np.diff(up.indptr), 1), 0)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return Edges(indptr, np.insert(up.indices, up.indptr[roots], len(taxonomy)))


def ascents(taxonomy: Taxonomy, nodes: Ints) -> Ascents:
    """Return the ascents of the given nodes (the top may be one), breadth first from all of them at once."""
    width = len(taxonomy) + 1
    edges = edges_to_top(taxonomy)
    fresh = distinct(nodes) * (width + 1)  # each node is its own ancestor
    key, steps = fresh, np.zeros(len(fresh), dtype=np.int64)
    taken = 0
    while fresh.size:
        node, at = np.divmod(fresh, width)
        position, up = edges.of_many(at)
        reached = distinct(node[position] * width + up)
        fresh = reached[~np.isin(reached, key, assume_unique=True, kind="sort")]
        taken += 1
        key = np.concatenate([key, fresh])
        steps = np.concatenate([steps, np.full(len(fresh), taken)])
    order = np.argsort(key)
    key, steps = key[order], steps[order]
    return Ascents(np.searchsorted(key, np.arange(width + 1) * width), key % width, steps, key)


def specific(taxonomy: Taxonomy, true: Any, predicted: Any) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
    """Return the most specific labels of truth and prediction.

    Raises:
        UsageError: the shapes differ, or they have another number of columns than the taxonomy nodes.
    """
    left, right = aligned(true, predicted)
    check_columns(taxonomy, left)
    return most_specific(taxonomy, left), most_specific(taxonomy, right)


def blocks(up: Ascents, A: csr_matrix[Any], B: csr_matrix[Any]) -> Iterator[Block]:
    """Yield the documents in blocks of bounded work, each with the pairs of its true and predicted labels."""
    pairs = np.diff(A.indptr).astype(np.int64) * np.diff(B.indptr)
    for rows in slices(pairs + 1, PAIRS_AT_A_TIME):
        true, predicted = A[rows], B[rows]
        yield Block(rows, true, predicted, _grid(up, true, predicted))


def slices(work: Ints, most: int) -> Iterator[slice]:
    """Yield slices that cover all rows in order, each of about `most` work at most, or one row."""
    done = np.cumsum(work)
    start = 0
    while start < len(work):
        limit = (done[start - 1] if start else 0) + most
        stop = max(int(np.searchsorted(done, limit, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


def _grid(up: Ascents, A: csr_matrix[Any], B: csr_matrix[Any]) -> Grid:
    """Return all pairs of labels that stand in the same row of A and of B; each kind of pair is measured once."""
    row = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
    left, right = Edges(B.indptr.astype(np.int64), np.arange(B.nnz)).of_many(row)
    kinds, kind = np.unique(A.indices[left].astype(np.int64) * up.width + B.indices[right], return_inverse=True)
    a, b = np.divmod(kinds, up.width)
    position, common, steps = up.of(a)
    total = steps + up.between(b[position], common)
    starts = np.searchsorted(position, np.arange(len(a)))
    shortest = np.minimum.reduceat(total, starts) if len(a) else np.zeros(0, dtype=np.int64)
    met = total == shortest[position]
    pair, meeting = Edges(np.append(0, np.cumsum(np.bincount(position[met], minlength=len(a)))), common[met]).of_many(
        kind
    )
    return Grid(left, right, shortest[kind], pair, meeting)
