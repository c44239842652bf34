"""One path from a root down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from hclf.decoders.base import Bools, Scores, closed_mask
from hclf.labels import close, from_pairs, subtract
from hclf.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class PathDecoder:
    """One path: the best root, then the best child, and so on; thresholds stop it early, or before it starts.

    Args:
        to_leaf: never stop early.
    """

    to_leaf: bool = False

    @property
    def cut(self) -> bool:
        """Thresholds apply unless the path must reach a leaf."""
        return not self.to_leaf

    def select(self, taxonomy: Taxonomy, scores: Scores) -> Bools:
        """Return the best path of each row; on a DAG its end brings all its ancestors."""
        ends = [(row, path[-1]) for row, path in enumerate(self._paths(taxonomy, scores)) if path]
        rows, columns = np.array(ends, dtype=np.int64).reshape(-1, 2).T
        return closed_mask(taxonomy, rows, columns, scores.shape)

    def trim(self, taxonomy: Taxonomy, scores: Scores, Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return the closed end of what is left of each path: what only a cut node brought in goes."""
        if taxonomy.is_tree:
            return Y
        paths = self._paths(taxonomy, scores)
        rows = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
        on_path = from_pairs(rows, np.array([j for path in paths for j in path], int), (Y.shape[0], Y.shape[1]))
        return close(taxonomy, subtract(on_path, subtract(on_path, Y)))

    def _paths(self, taxonomy: Taxonomy, scores: Scores) -> list[list[int]]:
        roots = np.flatnonzero(taxonomy.is_root)
        paths = []
        for row in scores:
            path: list[int] = []
            below = roots
            while below.size and row[best := int(below[np.argmax(row[below])])] > 0:
                path.append(best)
                below = taxonomy.children.of(best)
            paths.append(path)
        return paths
