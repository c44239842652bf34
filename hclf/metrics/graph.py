"""Metrics of distance in the taxonomy: how far off a wrong answer is.

All take label matrices, truth first, and look at the most specific labels of each document only, so closed and
unclosed label sets give the same figures. Below, A are the most specific true labels of a document, B the
predicted ones. up(v, c) is the number of edges of the shortest way from v up to its ancestor c, up(v, v) = 0, and

    d(v, w) = min over common ancestors c of v and w of up(v, c) + up(w, c):

in a tree the length of the path between them; in a DAG that of the shortest way up and down again. One implicit
node stands above all roots, so that any two nodes have a common ancestor; it is in no label set.

Nothing is made dense: documents are taken in blocks, and each kind of pair of labels in a block is measured once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import close, entries, from_pairs, pairs, subtract
from hclf.metrics.ascents import FAR, Ascents, Block, ascents, blocks, edges_to_top, slices, specific
from hclf.metrics.sets import PrecisionRecallF1, ScoreTable, document_scores, mean, ratio
from hclf.taxonomy import Edges, Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
ENTRIES_AT_A_TIME = 500_000


class MistakeSeverity(NamedTuple):
    """How grave the wrong labels are, how many they are, and how many most specific labels were predicted."""

    severity: float
    mistakes: int
    predicted: int


# -- distances of label sets -----------------------------------------------------------------------------------


def mean_graph_distance(taxonomy: Taxonomy, true: Any, predicted: Any) -> float:
    """Return the mean over documents of the distance between true and predicted labels, in edges.

    D(A, B) = 1/2 (mean over a in A of min over b in B of d(a, b) + mean over b in B of min over a in A of d(a, b)):
    the tree-induced error of Dekel, Keshet & Singer (2004) for one label each, and for sets the mean of both
    directed mean distances (Dubuisson & Jain, 1994). An empty set counts as the node above the roots.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) label matrices, closed or not.

    Returns:
        A float from 0.0, the best, to twice the depth of the taxonomy, in edges. A document with neither truth nor
        prediction counts 0.0; with one of them, the way from its labels to above the roots. No documents: 0.0.

    Raises:
        UsageError: shapes that differ or do not fit the taxonomy.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> mean_graph_distance(t, [[1, 1, 0], [1, 1, 0], [1, 1, 0]], [[1, 1, 0], [1, 0, 1], [1, 0, 0]])
    1.0
    """
    return mean(graph_distance_per_document(taxonomy, true, predicted))


def graph_distance_per_document(taxonomy: Taxonomy, true: Any, predicted: Any) -> Floats:
    """Return the distance of each document, (documents,) floats in edges; see `mean_graph_distance`.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> graph_distance_per_document(t, [[1, 1, 0], [1, 1, 0]], [[1, 0, 1], [0, 0, 0]]).tolist()
    [2.0, 2.0]
    """
    A, B = (_with_top(Y) for Y in specific(taxonomy, true, predicted))
    distance = np.zeros(A.shape[0])
    for block in blocks(_ascents(taxonomy, A, B), A, B):
        for place, Y in ((block.grid.left, block.true), (block.grid.right, block.predicted)):
            nearest = np.full(Y.nnz, np.iinfo(np.int64).max)
            np.minimum.at(nearest, place, block.grid.distance)
            distance[block.rows] += _row_sums(Y, nearest) / np.diff(Y.indptr) / 2
    return distance


def mistake_severity(taxonomy: Taxonomy, true: Any, predicted: Any) -> MistakeSeverity:
    """Return the mean height of the nearest right ancestor of wrong labels: how grave mistakes are (0: none).

    A mistake is a most specific predicted label b that is not in the closed truth T. Its severity is the height
    of the lowest common ancestor of b and the truth: of the node of T above b that has the highest level (of
    several, the lowest height); the height of a node is the longest way down from it, in edges. With one label a
    document in a tree this is the mistake severity of Bertinetto, Mueller, Tertikas, Samangooei & Lord (2020).
    It says nothing of how many labels are wrong or missed: a model that answers less often and only near misses
    looks good, so read it beside precision and recall.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) label matrices, closed or not.

    Returns:
        `severity`, the mean over mistakes, from 1.0 (a sibling leaf, or one node too deep above leaves) to the
        depth of the taxonomy (not even the root is right; so too where nothing is true); 0.0 without mistakes.
        `mistakes`: their number. `predicted`: most specific predicted labels. Nothing predicted: (0.0, 0, 0).

    Raises:
        UsageError: shapes that differ or do not fit the taxonomy.

    >>> t = Taxonomy(["food", "rice", "jasmine", "tea"], [("food", "rice"), ("rice", "jasmine"), ("food", "tea")])
    >>> sets = [["jasmine"], ["rice"], ["food"]], [["tea"], ["jasmine"], ["food"]]
    >>> from hclf.labels import label_matrix
    >>> mistake_severity(t, *(label_matrix(t, s) for s in sets))
    MistakeSeverity(severity=1.5, mistakes=2, predicted=3)
    """
    _, B = specific(taxonomy, true, predicted)
    T = close(taxonomy, csr_matrix(true, dtype=bool))
    rows, nodes = pairs(subtract(B, T))
    severity = _severities(taxonomy, T, rows, nodes)
    return MistakeSeverity(mean(severity), len(severity), B.nnz)


# -- MGIA ------------------------------------------------------------------------------------------------------


def mgia(taxonomy: Taxonomy, true: Any, predicted: Any, max_distance: int = 5) -> float:
    """Return the multi-label graph-induced accuracy (MGIA): the mean over documents of 1 - error / worst error.

    The error of a document is the cheapest way to account for every label of A and B (Kosmopoulos, Partalas,
    Gaussier, Paliouras & Androutsopoulos, 2015): each is paired with at least one label of the other set, a
    pair (a, b) costing d(a, b), or is left alone, at a cost of max_distance. Labels in both sets pair with each
    other for nothing; a label may be in several pairs; pairs at max_distance or more are not made. The worst
    error is max_distance |A xor B|. The pairing is exact (a minimum-cost flow, solved as an assignment), where
    the authors' own tool HEMKit links each label with its nearest ones first.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) label matrices, closed or not.
        max_distance: edges, at least 1; what a label without a partner costs.

    Returns:
        A float in [0, 1]. A document with neither truth nor prediction counts 1.0, with only one of them 0.0. No
        documents: 0.0.

    Raises:
        UsageError: shapes that differ or do not fit the taxonomy, or max_distance below 1.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> mgia(t, [[1, 1, 0], [1, 1, 0]], [[1, 0, 1], [1, 1, 1]])
    0.7
    """
    return mean(mgia_per_document(taxonomy, true, predicted, max_distance))


def mgia_per_document(taxonomy: Taxonomy, true: Any, predicted: Any, max_distance: int = 5) -> Floats:
    """Return the graph-induced accuracy of each document, (documents,) floats in [0, 1]; see `mgia`.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> mgia_per_document(t, [[1, 1, 0], [1, 1, 0]], [[1, 0, 1], [1, 1, 1]]).tolist()
    [0.8, 0.6]
    """
    if max_distance < 1:
        raise UsageError(f"max_distance must be at least 1, not {max_distance}")
    A, B = specific(taxonomy, true, predicted)
    accuracy = np.ones(A.shape[0])
    for block in blocks(_ascents(taxonomy, A, B), A, B):
        error, worst = _pairing_errors(block, max_distance)
        accuracy[block.rows] = 1 - ratio(error, worst)
    return accuracy


def _pairing_errors(block: Block, far: int) -> tuple[Ints, Ints]:
    """Return the error of each document and the worst it could be.

    Each label by itself would take its nearest partner, or stay alone: together that is an upper bound. A pair
    that serves both its labels saves what it need not pay twice; each label can save once: an assignment.
    """
    A, B, grid = block.true, block.predicted, block.grid
    near = grid.distance < far
    left, right, distance = grid.left[near], grid.right[near], grid.distance[near]
    own_a, own_b = np.full(A.nnz, far), np.full(B.nnz, far)
    np.minimum.at(own_a, left, distance)
    np.minimum.at(own_b, right, distance)
    error = _row_sums(A, own_a) + _row_sums(B, own_b)
    worst = far * (_row_sums(A, own_a > 0) + _row_sums(B, own_b > 0))  # it is 0 for what is in both
    saving = own_a[left] + own_b[right] - distance
    kept = saving > 0
    return error - _best_savings(A, B, left[kept], right[kept], saving[kept]), worst


def _best_savings(A: csr_matrix[Any], B: csr_matrix[Any], left: Ints, right: Ints, saving: Ints) -> Ints:
    """Return for each document the largest sum of savings of pairs that share no label."""
    documents = A.shape[0]
    row = np.searchsorted(A.indptr, left, side="right") - 1
    shared = (np.bincount(left, minlength=A.nnz)[left] > 1) | (np.bincount(right, minlength=B.nnz)[right] > 1)
    contested = np.bincount(row[shared], minlength=documents) > 0
    best = np.bincount(row, weights=np.where(contested[row], 0, saving), minlength=documents).astype(np.int64)
    ends = np.searchsorted(row, np.arange(documents + 1))
    for i in np.flatnonzero(contested).tolist():
        mine = slice(ends[i], ends[i + 1])
        first, second = left[mine] - A.indptr[i], right[mine] - B.indptr[i]
        table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
        table[first, second] = saving[mine]
        best[i] = table[linear_sum_assignment(table, maximize=True)].sum()
    return best


# -- lowest common ancestors -----------------------------------------------------------------------------------


def lca_precision_recall_f1(taxonomy: Taxonomy, true: Any, predicted: Any) -> PrecisionRecallF1:
    """Return LCA-P, LCA-R and LCA-F: precision, recall and F1 of the ways up to lowest common ancestors.

    Where hP and hR count all ancestors, and so charge an error at a deep node more than one at a shallow node,
    these count only the ways from the labels up to where truth and prediction meet (Kosmopoulos et al., 2015).
    For each document:

    1. The lowest common ancestors of a label v are the common ancestors c of v and a label w of the other set
       with up(v, c) + up(w, c) = min over w of d(v, w).
    2. As few ancestors as a greedy choice finds serve all labels: again and again the one that serves the most
       labels still unserved; of several the one of the highest level, then the first column.
    3. A+ are the labels of A, the nodes on one shortest way from each up to the ancestor that serves it (through
       parents of the lowest column), and all chosen ancestors; B+ likewise. The node above the roots is in
       neither: labels without a common root meet nowhere.

    LCA-P = |A+ and B+| / |B+|, LCA-R = |A+ and B+| / |A+|, LCA-F = 2 |A+ and B+| / (|A+| + |B+|), each averaged
    over documents. The paper leaves open which of several smallest choices and which of several shortest ways
    to take; steps 2 and 3 say which we take.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) label matrices, closed or not.

    Returns:
        Three floats in [0, 1]. A document with neither truth nor prediction counts 1.0 in all three, with only
        one of them 0.0. No documents: 0.0.

    Raises:
        UsageError: shapes that differ or do not fit the taxonomy.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> lca_precision_recall_f1(t, [[1, 1, 0]], [[1, 0, 1]])  # rice and food against tea and food
    PrecisionRecallF1(precision=0.5, recall=0.5, f1=0.5)
    """
    table = lca_per_document(taxonomy, true, predicted)
    return PrecisionRecallF1(mean(table.precision), mean(table.recall), mean(table.f1))


def lca_per_document(taxonomy: Taxonomy, true: Any, predicted: Any) -> ScoreTable:
    """Return LCA-P, LCA-R and LCA-F of each document, with |A+| and |B+|; see `lca_precision_recall_f1`.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> lca_per_document(t, [[0, 1, 0], [0, 1, 0]], [[0, 1, 0], [1, 0, 0]]).f1.round(3).tolist()
    [1.0, 0.667]
    """
    A, B = specific(taxonomy, true, predicted)
    up = ascents(taxonomy, distinct(_ascents(taxonomy, A, B).ancestor))  # of ancestors too: ways lead through them
    above, level = edges_to_top(taxonomy), np.append(taxonomy.levels, 0)
    tables = [document_scores(*_with_ways(up, above, level, block)) for block in blocks(up, A, B)]
    if not tables:
        return document_scores(A, B)
    return ScoreTable(*(np.concatenate(column) for column in zip(*tables, strict=True)))


def _with_ways(up: Ascents, above: Edges, level: Ints, block: Block) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
    """Return A+ and B+ of the documents of a block; without a common ancestor they are A and B themselves."""
    A, B = block.true, block.predicted
    (row_a, node_a), (row_b, node_b) = pairs(A), pairs(B)
    row, node = np.concatenate([row_a, row_b]), np.concatenate([node_a, node_b])  # A's labels, then B's
    server = _servers(row, level, *_lowest(block, up.width))
    served = server >= 0
    extended = []
    for side in (np.arange(len(row)) < A.nnz, np.arange(len(row)) >= A.nnz):
        own = side & served
        way_row, way = _ways(up, above, row[own], node[own], server[own])
        rows = np.concatenate([row[side], way_row, row[served]])
        nodes = np.concatenate([node[side], way, server[served]])
        real = nodes < up.width - 1  # not the top
        extended.append(from_pairs(rows[real], nodes[real], (A.shape[0], up.width - 1)))
    return extended[0], extended[1]


def _lowest(block: Block, width: int) -> tuple[Ints, Ints]:
    """Return (label, ancestor) for each lowest common ancestor of each label; B's labels are numbered after A's."""
    A, B, grid = block.true, block.predicted, block.grid
    keys = []
    for place, count, offset in ((grid.left, A.nnz, 0), (grid.right, B.nnz, A.nnz)):
        nearest = np.full(count, FAR)
        np.minimum.at(nearest, place, grid.distance)
        close_by = (grid.distance == nearest[place])[grid.pair]
        keys.append((offset + place[grid.pair[close_by]]) * width + grid.meeting[close_by])
    label, ancestor = np.divmod(distinct(np.concatenate(keys)), width)
    return label, ancestor


def _servers(row: Ints, level: Ints, label: Ints, ancestor: Ints) -> Ints:
    """Return for each label the ancestor that serves it, -1 if it has none: greedily few, for all rows at once."""
    width = len(level)
    server = np.full(len(row), -1)
    while len(label):
        kinds, kind, times = np.unique(row[label] * width + ancestor, return_inverse=True, return_counts=True)
        of_row, candidate = np.divmod(kinds, width)
        order = np.lexsort((candidate, -level[candidate], -times, of_row))
        best = np.zeros(len(kinds), dtype=bool)
        best[order[_first_of_each(of_row)]] = True  # of_row is sorted, in this order too
        takes = best[kind]
        server[label[takes]] = ancestor[takes]
        left = server[label] < 0
        label, ancestor = label[left], ancestor[left]
    return server


def _ways(up: Ascents, above: Edges, row: Ints, node: Ints, goal: Ints) -> tuple[Ints, Ints]:
    """Return (row, node) of one shortest way from each node up to its goal, both ends included."""
    rows, nodes = [row], [node]
    left = up.between(node, goal)
    while (left > 0).any():
        row, node, goal, left = (values[left > 0] for values in (row, node, goal, left))
        position, parent = above.of_many(node)
        on_way = np.flatnonzero(up.between(parent, goal[position]) == left[position] - 1)
        node, left = parent[on_way[_first_of_each(position[on_way])]], left - 1
        rows.append(row)
        nodes.append(node)
    return np.concatenate(rows), np.concatenate(nodes)


# -- parts -----------------------------------------------------------------------------------------------------


def _ascents(taxonomy: Taxonomy, A: csr_matrix[Any], B: csr_matrix[Any]) -> Ascents:
    """Return the ascents of all labels of A and B, and of the top."""
    return ascents(taxonomy, distinct(np.concatenate([A.indices, B.indices, [len(taxonomy)]]).astype(np.int64)))


def _with_top(Y: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the label matrix with one column more, the top, which the empty rows hold."""
    rows, columns = pairs(Y)
    empty = np.flatnonzero(np.diff(Y.indptr) == 0)
    top = np.full(len(empty), Y.shape[1])
    return from_pairs(np.concatenate([rows, empty]), np.concatenate([columns, top]), (Y.shape[0], Y.shape[1] + 1))


def _row_sums(Y: csr_matrix[Any], values: NDArray[Any]) -> Ints:
    """Return the sum of the integers that stand at the stored entries, by row."""
    total = np.append(0, np.cumsum(values, dtype=np.int64))
    return np.diff(total[Y.indptr])


def _first_of_each(ordered: Ints) -> Ints:
    """Return the places at which a new value begins."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])


def _severities(taxonomy: Taxonomy, T: csr_matrix[Any], rows: Ints, nodes: Ints) -> Floats:
    """Return for (row, node) pairs the height of the node's lowest ancestor in the row of T, the top if none."""
    up = ascents(taxonomy, distinct(nodes))
    height = heights(taxonomy)
    top = int(height.max(initial=-1)) + 1
    rank = np.append(taxonomy.levels * (top + 1) + top - height, 0)  # higher is lower down; the top is last
    severity = np.empty(len(nodes))
    for part in slices(np.diff(up.indptr)[nodes], ENTRIES_AT_A_TIME):
        position, ancestor, _ = up.of(nodes[part])
        real = ancestor < len(taxonomy)
        right = np.zeros(len(ancestor), dtype=bool)
        right[real] = entries(T, rows[part][position[real]], ancestor[real])
        starts = _first_of_each(position)
        best = np.maximum.reduceat(np.where(right, rank[ancestor], 0), starts)
        severity[part] = top - best % (top + 1)
    return severity


def heights(taxonomy: Taxonomy) -> Ints:
    """Return for each node the edges of the longest way down from it; a leaf has height 0.

    >>> heights(Taxonomy(["food", "rice", "jasmine", "tea"], [("food", "rice"), ("rice", "jasmine")])).tolist()
    [2, 0, 1, 0]
    """
    height = np.zeros(len(taxonomy), dtype=np.int64)
    for level in reversed(taxonomy.level_slices):
        nodes = np.arange(level.start, level.stop)
        position, parents = taxonomy.parents.of_many(nodes)
        np.maximum.at(height, parents, height[nodes[position]] + 1)
    return height
