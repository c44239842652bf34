"""How a candidate of a document stands among its rivals: the other candidates, and first of all its relatives.

What words say (`hclf.scorers.matching`) is learned of single candidates. Whether a node, its parent or one of its
children is meant shows only beside the others: when all siblings match equally well, the parent is; when a candidate
is far ahead of the second, little else counts. A linear model over these standings, learned by the same listwise
loss, corrects the logits of the candidates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.scorers.phrases import FEATURES, Index, Pairs, Table
from hclf.taxonomy import run_starts

Ints = NDArray[Any]
Floats = NDArray[np.float32]

PARTS = ("matched", "missing", "context", "swapped")
COMPARED = ("overlap", "covered", "similarity", "said")  # features that are also set against the best of the document
STANDINGS = (
    "logit",
    *FEATURES,
    *PARTS,
    "all words",
    "behind",
    "log probability",
    "rank",
    *(f"{name} behind" for name in COMPARED),
    *(f"{name} rank" for name in COMPARED),
    "probability below",
    "probability in parent",
    "probability in grandparent",
    "probability in great-grandparent",
    "parent listed",
    "parent ahead",
    "child listed",
    "child ahead",
    "sibling listed",
    "sibling ahead",
    "children",
    "nodes below",
    "depth",
)
FARTHEST = 8  # logits: relatives farther ahead or behind count as this far
LEAST = 1e-6  # probability


class Candidates(NamedTuple):
    """Candidates of n documents: (pairs,) rows and columns, ascending, features, logits and what they are made of.

    `parts` has a row of (pairs,) for each of `PARTS`.
    """

    n: int
    rows: Ints
    columns: Ints
    features: Floats
    logits: Floats
    parts: Floats

    @classmethod
    def of(cls, found: Pairs, logits: Floats, parts: Floats) -> Candidates:
        """Build from candidates as an `Index` finds them."""
        n = int(found.rows.max(initial=-1)) + 1
        return cls(n, found.rows, found.columns, found.features, logits, parts)


def standings(of: Candidates, index: Index) -> Floats:
    """Return (STANDINGS, pairs): how each candidate stands among the others of its document."""
    compared = [of.features[:, FEATURES.index(name)] for name in COMPARED]
    best = _best(of, of.logits)
    odds = np.exp(of.logits - best)
    probability = odds / np.bincount(of.rows, odds, minlength=of.n)[of.rows]
    values = [
        of.logits,
        *of.features.T,
        *of.parts,
        of.features[:, 0] > 1 - 1e-3,
        of.logits - best,
        np.log(probability + LEAST),
        _rank(of, of.logits),
        *(value - _best(of, value) for value in compared),
        *(_rank(of, value) for value in compared),
        *_probabilities_around(of, index, probability),
        *_relatives_ahead(of, index.outline.above),
        *index.place[:, of.columns],
    ]
    return np.stack([value.astype(np.float32) for value in values])


def corrected(standings: Floats, weights: Floats) -> Floats:
    """Return the logits that weights make of standings; column by column, so that no batch changes a last bit."""
    total = np.zeros(standings.shape[1], dtype=np.float32)
    for standing, weight in zip(standings, weights, strict=True):
        total += standing * weight
    return total


def _best(of: Candidates, values: NDArray[Any]) -> NDArray[Any]:
    """Return for each pair the highest value of its row."""
    start = run_starts(of.rows)
    if not len(start):
        return values
    best: NDArray[Any] = np.maximum.reduceat(values, np.flatnonzero(start))[np.cumsum(start) - 1]
    return best


def _rank(of: Candidates, values: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / place of each pair in its row, 1 for the highest value."""
    order = np.lexsort((-values, of.rows))
    place = np.empty(len(order))
    place[order] = np.arange(len(order)) - np.searchsorted(of.rows, of.rows)
    return 1 / (1 + place)


def _probabilities_around(of: Candidates, index: Index, probability: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """Return how probable something below each candidate is, and something in each of three steps above it."""
    nodes, above = index.nodes, index.outline.above
    starts = np.searchsorted(of.rows, np.arange(of.n + 1))
    summed = csr_matrix(csr_matrix((probability, of.columns, starts), shape=(of.n, nodes)) @ index.outline.ancestors)
    summed.sort_indices()
    keys = np.repeat(np.arange(of.n), np.diff(summed.indptr)) * nodes + summed.indices
    within = Table(keys, summed.data)
    steps = [of.columns]
    for _ in range(3):
        steps.append(above[steps[-1]])
    own, *higher = (within.at(of.rows * nodes + column, 0.0) for column in steps)
    return own - probability, *higher


def _relatives_ahead(of: Candidates, above: Ints) -> tuple[NDArray[Any], ...]:
    """Return for parent, best child and best sibling whether it is a candidate too, and how far it is ahead."""
    nodes = len(above)
    up = above[of.columns]
    is_root = up == of.columns
    own, parent = of.rows * nodes + of.columns, of.rows * nodes + up
    parents = np.where(is_root, np.nan, Table(own, of.logits.astype(float)).at(parent, np.nan))
    # By parent, best first; roots are nobody's children and have no siblings.
    order = np.lexsort((-of.logits, parent))
    order = order[~is_root[order]]
    start = run_starts(parent[order])
    first = np.flatnonzero(start)
    best = of.logits[order][first].astype(float)
    children = Table(parent[order][first], best).at(own, np.nan)
    sizes = np.diff(first, append=len(order))
    second = np.full(len(first), np.nan)
    second[sizes > 1] = of.logits[order][first[sizes > 1] + 1]
    siblings = np.full(len(own), np.nan)
    siblings[order] = np.where(start, second[np.cumsum(start) - 1], best[np.cumsum(start) - 1])
    found = []
    for relative in (parents, children, siblings):
        ahead = np.clip(relative - of.logits, -FARTHEST, FARTHEST)
        found += [~np.isnan(relative), np.nan_to_num(ahead)]
    return tuple(found)
