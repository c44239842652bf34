"""Label sets as sparse boolean matrices: one row a document, column j is `taxonomy.nodes[j]`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]


def from_pairs(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> csr_matrix[Any]:
    """Return a boolean CSR matrix, indices sorted, from (row, column) pairs that may repeat."""
    keys = distinct(rows.astype(np.int64) * max(shape[1], 1) + columns)
    indptr = np.searchsorted(keys, np.arange(shape[0] + 1) * max(shape[1], 1))
    indices = keys % max(shape[1], 1)
    return csr_matrix((np.ones(len(keys), dtype=bool), indices, indptr), shape=shape)


def pairs(Y: csr_matrix[Any]) -> tuple[Ints, Ints]:
    """Return the (row, column) pairs of a label matrix, sorted."""
    return np.repeat(np.arange(Y.shape[0]), np.diff(Y.indptr)), Y.indices.astype(np.int64)


def entries(Y: csr_matrix[Any], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each (row, column) pair whether the matrix, indices sorted, has an entry that is not zero there."""
    if not len(rows):
        return np.zeros(0, dtype=bool)
    found: NDArray[np.bool_] = np.asarray(Y[rows, columns]).ravel() != 0
    return found


def label_matrix(taxonomy: Taxonomy, label_sets: Iterable[Iterable[str]], *, closed: bool = True) -> csr_matrix[Any]:
    """Return the label matrix of sets of node ids, with all ancestors unless `closed` is False.

    Raises:
        UnknownNodeError: an id the taxonomy does not have.

    >>> t = Taxonomy(["a", "b"], [("a", "b")])
    >>> label_matrix(t, [["b"], []]).toarray().tolist()
    [[True, True], [False, False]]
    """
    columns = [[taxonomy.index(node) for node in labels] for labels in label_sets]
    rows = np.repeat(np.arange(len(columns)), [len(c) for c in columns])
    flat = np.fromiter(chain.from_iterable(columns), dtype=np.int64)
    if closed:
        rows, flat = taxonomy.close_pairs(rows, flat)
    return from_pairs(rows, flat, (len(columns), len(taxonomy)))


def label_sets(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> list[tuple[str, ...]]:
    """Return each row of a label matrix as ids in node order."""
    nodes, indices = taxonomy.nodes, Y.indices.tolist()
    bounds = Y.indptr.tolist()
    return [tuple(nodes[j] for j in indices[start:end]) for start, end in pairwise(bounds)]


def close(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the label matrix with every ancestor of every label added."""
    return from_pairs(*taxonomy.close_pairs(*pairs(Y)), shape=Y.shape)


def closures(taxonomy: Taxonomy, columns: Ints) -> csr_matrix[Any]:
    """Return a row for each of these columns: the label set of that node and all its ancestors."""
    rows = np.arange(len(columns))
    return from_pairs(*taxonomy.close_pairs(rows, columns), shape=(len(columns), len(taxonomy)))


def most_specific(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the label matrix without labels that have a descendant in the same row."""
    rows, columns = pairs(Y)
    position, up = taxonomy.parents.of_many(columns)
    above = from_pairs(*taxonomy.close_pairs(rows[position], up), shape=Y.shape)
    return subtract(Y, above)


def prune(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the largest closed subset of each row: a label stays if all its ancestors are there too."""
    rows, columns = pairs(Y)
    position, up = taxonomy.parents.of_many(columns)
    width = max(Y.shape[1], 1)
    key = rows * width + columns
    lost = np.setdiff1d(rows[position] * width + up, key)  # missing parents: all below them must go
    while lost.size:
        down_position, down = taxonomy.children.of_many(lost % width)
        lost = np.intersect1d((lost // width)[down_position] * width + down, key)
        key = np.setdiff1d(key, lost)
    return from_pairs(key // width, key % width, Y.shape)


def subtract(A: csr_matrix[Any], B: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the labels of A that are not in B."""
    width = max(A.shape[1], 1)
    left, right = (rows * width + columns for rows, columns in (pairs(A), pairs(B)))
    keys = left[~np.isin(left, right, assume_unique=True, kind="sort")]
    return from_pairs(keys // width, keys % width, A.shape)


def is_closed(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> NDArray[np.bool_]:
    """Return for each row whether it holds every ancestor of every label."""
    return np.equal(np.diff(close(taxonomy, Y).indptr), np.diff(Y.indptr))


def partial_depth(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return, for closed labels, the nodes about which nothing is known: all below a most specific label.

    A document labelled "dairy" and nothing below says nothing of "cheese": cheese is unknown, not absent. A
    descendant that another label of the same document implies is known and left out.
    """
    rows, columns = pairs(most_specific(taxonomy, Y))
    width = max(Y.shape[1], 1)
    found = [rows[:0]]
    while rows.size:
        position, columns = taxonomy.children.of_many(columns)
        rows, columns = np.divmod(distinct(rows[position] * width + columns), width)
        found.append(rows * width + columns)
    return from_pairs(*np.divmod(np.concatenate(found), width), shape=Y.shape)
