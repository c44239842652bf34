"""Answers that end in leaves: the k best, or all that pass and at least one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from hclf.decoders.base import Bools, NothingToTrim, Scores, closed_mask
from hclf.errors import UsageError
from hclf.labels import from_pairs, pairs
from hclf.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class TopKDecoder(NothingToTrim):
    """Always the k best leaves (the k best assignable nodes where the taxonomy says which are), whatever they score.

    Args:
        k: how many, at least 1.
    """

    k: int = 1
    cut: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k is at least 1, not {self.k}")

    def select(self, taxonomy: Taxonomy, scores: Scores) -> Bools:
        """Return the k best candidates of each row with all their ancestors; ties go to the earlier column."""
        candidates = np.flatnonzero(taxonomy.is_leaf if taxonomy.assignable.all() else taxonomy.assignable)
        order = np.argsort(-scores[:, candidates], axis=1, kind="stable")[:, : self.k]
        rows, columns = np.repeat(np.arange(len(scores)), order.shape[1]), candidates[order].ravel()
        possible = scores[rows, columns] > 0
        return closed_mask(taxonomy, rows[possible], columns[possible], scores.shape)


@dataclass(frozen=True, slots=True)
class LeafDecoder:
    """Leaves only, with their ancestors: every leaf that passes its threshold, and where none does, the best one."""

    cut: bool = field(default=True, init=False)

    def select(self, taxonomy: Taxonomy, scores: Scores) -> Bools:
        """Return every node that is possible."""
        return np.greater(scores, 0)

    def trim(self, taxonomy: Taxonomy, scores: Scores, Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return the leaves of Y with their ancestors; a row without a leaf gets its best one."""
        rows, columns = pairs(Y)
        is_leaf = taxonomy.is_leaf[columns]
        rows, columns = rows[is_leaf], columns[is_leaf]
        leaves = np.flatnonzero(taxonomy.is_leaf)
        without = np.setdiff1d(np.arange(len(scores)), rows)
        if leaves.size and without.size:
            best = leaves[np.argmax(scores[without][:, leaves], axis=1)]
            possible = scores[without, best] > 0
            rows = np.concatenate([rows, without[possible]])
            columns = np.concatenate([columns, best[possible]])
        return from_pairs(*taxonomy.close_pairs(rows, columns), (Y.shape[0], Y.shape[1]))
