"""Siblings of which a document has at most one, as far as the training documents show."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.taxonomy import distinct

__all__ = ["Exclusive", "exclusive_siblings"]

EVIDENCE = 3.0  # pairs by chance: that none of so many shows is 5 % likely

Ints = NDArray[np.int64]


class Exclusive(NamedTuple):
    """Nodes with the same parents of which a document has at most one.

    Attributes:
        nodes: numbers in the hierarchy, ascending.
        complete: every document that has the parents has one of them.
    """

    nodes: tuple[int, ...]
    complete: bool


def exclusive_siblings(
    hierarchy: Hierarchy, Y: csr_matrix[Any], unknown: csr_matrix[Any] | None = None
) -> list[Exclusive]:
    """Return the families of nodes with the same parents that the documents show to be exclusive.

    No document has two of a family, although at least three would be expected to, were its nodes independent given
    the parents: with fewer it may be chance. The roots are a family too.

    Args:
        hierarchy: the nodes.
        Y: (documents, nodes of the taxonomy), the closed labels.
        unknown: what they do not say; a document that does not say which one of a family it has is no evidence that
            it has none.
    """
    of_node = csc_matrix(Y)[:, hierarchy.columns]
    silent = None if unknown is None else csc_matrix(unknown)[:, hierarchy.columns]
    families: dict[tuple[int, ...], list[int]] = {}
    for node in range(hierarchy.size):
        families.setdefault(tuple(hierarchy.parents.of(node).tolist()), []).append(node)
    found = []
    for parents, nodes in families.items():
        rows = _rows(of_node, nodes)
        documents = distinct(rows)
        if len(nodes) < 2 or len(documents) < len(rows):
            continue
        of_parents = _with_all(of_node, parents)
        share = np.diff(of_node.indptr)[nodes] / max(len(of_parents), 1)
        if len(of_parents) * (share.sum() ** 2 - np.square(share).sum()) / 2 < EVIDENCE:
            continue
        without = np.setdiff1d(of_parents, documents, assume_unique=True)
        if silent is not None:
            without = np.setdiff1d(without, _rows(silent, nodes))
        found.append(Exclusive(tuple(nodes), not len(without)))
    return found


def _rows(matrix: csc_matrix[Any], columns: list[int]) -> Ints:
    """Return the rows of every entry of these columns."""
    parts = [matrix.indices[matrix.indptr[j] : matrix.indptr[j + 1]] for j in columns]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _with_all(matrix: csc_matrix[Any], columns: tuple[int, ...]) -> Ints:
    """Return the rows that have all of these columns."""
    if not columns:
        return np.arange(matrix.shape[0])
    return np.flatnonzero(np.bincount(_rows(matrix, list(columns)), minlength=matrix.shape[0]) == len(columns))
