"""The best few nodes of each document: scores as shares that nodes do not owe to what lies below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hclf.data import LabelResolver
from hclf.model import Scores
from hclf.taxonomy import Taxonomy, run_starts

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

LEFT_OVER = 0.1  # of what the best child leaves a node, when all its children together leave nothing
LISTWISE, LEAST_SHARE = 0.25, 1e-9  # exponent of listwise shares in ranking, and the least of them


class Ranking:
    """Ranks nodes by how probably they are a most specific label; `HierarchicalClassifier.rank` says how.

    Args:
        taxonomy: of the columns.
        one_label: every document has one most specific label.
        among: ids, names or paths of the nodes that may be answers (a share below them is theirs); None: all.

    Raises:
        DataError: a node that does not exist.
    """

    def __init__(self, taxonomy: Taxonomy, *, one_label: bool = False, among: Sequence[str] | None = None) -> None:
        n = len(taxonomy)
        self.one_label, self.allowed = one_label, np.ones(n, dtype=bool)
        if among is not None:
            resolve = LabelResolver(taxonomy)
            self.allowed = np.isin(np.arange(n), [taxonomy.index(resolve(node)) for node in among])
        answers = np.flatnonzero(self.allowed)
        inside = np.isin(np.arange(n), taxonomy.close_pairs(answers, answers)[1])
        parents, children = taxonomy.children.of_many(np.arange(n))
        parents, self.children = parents[inside[children]], children[inside[children]]
        self.starts = np.flatnonzero(run_starts(parents))
        self.parents = parents[self.starts]

    def shares(self, scores: Floats) -> Floats:
        """Return the share of each node (n, nodes)."""
        share = scores.copy()
        if len(self.starts):
            below = scores[:, self.children]
            share[:, self.parents] -= np.maximum.reduceat(below, self.starts, axis=1)
            if self.one_label:
                left = scores[:, self.parents] - np.add.reduceat(below, self.starts, axis=1)
                share[:, self.parents] = np.maximum(left, np.float32(LEFT_OVER) * share[:, self.parents])
        return np.maximum(share, 0)

    def best(self, batch: Scores, k: int) -> Iterator[tuple[Ints, Floats]]:
        """Yield for each document its best k columns, best first, and its shares (nodes,)."""
        share = self.shares(batch.values)
        if self.one_label and batch.listwise is not None:
            weighed = np.maximum(self.shares(batch.listwise.toarray()), LEAST_SHARE)
            share = np.asarray(share ** (1 - LISTWISE) * weighed**LISTWISE, dtype=np.float32)
        share[:, ~self.allowed] = 0
        best = np.sort(np.argpartition(-share, min(k, share.shape[1]) - 1, axis=1)[:, :k], axis=1)
        for row, columns in zip(share, best, strict=True):
            order = columns[np.argsort(-row[columns], kind="stable")]
            yield order[row[order] > 0], row
