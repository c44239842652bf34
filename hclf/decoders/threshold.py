"""Every node that passes, within limits: at most so many a level, at most one child of some parents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hclf.decoders.base import Bools, Ints, NothingToTrim, Scores
from hclf.errors import UsageError
from hclf.taxonomy import Edges, Taxonomy


@dataclass(frozen=True, slots=True)
class ThresholdDecoder(NothingToTrim):
    """Any number of labels, on any number of branches, unless limits are given.

    Limits are settled by score before thresholds cut, from the roots down: a node stands if all its parents do, it
    is the best child of each parent whose children exclude each other, and it is among the best of its level. Ties
    go to the earlier column.

    Args:
        at_most: labels a level: one number for every level, or one a level from the top, levels beyond the list
            being free; None: any number.
        exclusive: ids of nodes of which at most one child may stand; `all`: every node that has children; `rules`:
            those with a rule `exclusive_children` in the taxonomy, hard or soft. Roots never exclude each other:
            `at_most=[1]` sees to that.

    Raises:
        UsageError: a number below 1, or a name for `exclusive` that does not exist.
    """

    at_most: int | tuple[int, ...] | None = None
    exclusive: str | tuple[str, ...] = ()
    cut: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if self.at_most is not None and not isinstance(self.at_most, int):
            object.__setattr__(self, "at_most", tuple(self.at_most))
        if not isinstance(self.exclusive, str):
            object.__setattr__(self, "exclusive", tuple(self.exclusive))
        elif self.exclusive not in ("all", "rules"):
            raise UsageError(f"exclusive is all, rules or a list of node ids, not {self.exclusive!r}")
        numbers = (self.at_most,) if isinstance(self.at_most, int) else self.at_most or ()
        if any(number < 1 for number in numbers):
            raise UsageError(f"at_most is at least 1 for every level, not {self.at_most}")

    def select(self, taxonomy: Taxonomy, scores: Scores) -> Bools:
        """Return every possible node within the limits."""
        possible = np.greater(scores, 0)
        if self.at_most is None and not self.exclusive:
            return possible
        return within_limits(taxonomy, scores, possible, self._numbers(taxonomy), self._exclusive(taxonomy))

    def _numbers(self, taxonomy: Taxonomy) -> list[int]:
        if self.at_most is None:
            return []
        return [self.at_most] * taxonomy.depth if isinstance(self.at_most, int) else list(self.at_most)

    def _exclusive(self, taxonomy: Taxonomy) -> Ints:
        """Return the columns of the parents of which at most one child may stand."""
        if self.exclusive == "all":
            return np.flatnonzero(~taxonomy.is_leaf)
        ids: Sequence[str] = self.exclusive
        if self.exclusive == "rules":
            ids = [rule.node for rule in taxonomy.rules if rule.type == "exclusive_children"]
        columns = np.array(sorted({taxonomy.index(node) for node in ids}), dtype=np.int64)
        return columns[~taxonomy.is_leaf[columns]]


def within_limits(
    taxonomy: Taxonomy, scores: Scores, possible: Bools, at_most: Sequence[int], exclusive: Ints
) -> Bools:
    """Return the nodes that stand when limits are settled from the roots down.

    Args:
        taxonomy: of the columns.
        scores, possible: (documents, nodes).
        at_most: labels a level from level 1; levels beyond have no limit.
        exclusive: columns of parents, none a leaf, of which at most one child stands.
    """
    stands = possible & _best_children(taxonomy, scores, exclusive)
    for level, nodes in enumerate(taxonomy.level_slices):
        if level:
            stands[:, nodes] &= _all_parents(stands, taxonomy.parents, nodes)
        if level < len(at_most):
            stands[:, nodes] &= _best(np.where(stands[:, nodes], scores[:, nodes], -1), at_most[level])
    return stands


def _best_children(taxonomy: Taxonomy, scores: Scores, exclusive: Ints) -> Bools:
    """Return (documents, nodes): False for a child of an exclusive parent that is not its best."""
    stands = np.ones(scores.shape, dtype=bool)
    rows = np.arange(len(scores))
    for parent in exclusive.tolist():
        children = taxonomy.children.of(parent)
        wins = np.zeros((len(scores), len(children)), dtype=bool)
        wins[rows, np.argmax(scores[:, children], axis=1)] = True
        stands[:, children] &= wins
    return stands


def _all_parents(stands: Bools, parents: Edges, nodes: slice) -> Bools:
    """Return (documents, nodes of a level below the first): whether all parents of a node stand."""
    position, above = parents.of_many(np.arange(nodes.start, nodes.stop))
    starts = np.searchsorted(position, np.arange(nodes.stop - nodes.start))
    together: Bools = np.logical_and.reduceat(stands[:, above], starts, axis=1)
    return together


def _best(scores: Scores, k: int) -> Bools:
    """Return True for the k best of each row; ties go to the earlier column."""
    if k >= scores.shape[1]:
        return np.ones(scores.shape, dtype=bool)
    best = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(best, np.argsort(-scores, axis=1, kind="stable")[:, :k], True, axis=1)
    return best
