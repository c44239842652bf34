"""Which nodes may be answers at all: lists of nodes to allow and to deny, given when predicting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hclf.decoders.base import Bools, Scores
from hclf.taxonomy import Taxonomy, spread


def allowed_nodes(taxonomy: Taxonomy, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> Bools:
    """Return (nodes,): True for nodes that may be in an answer.

    A node may if it lies in the subtree of an allowed node (no allowed nodes: anywhere) and in that of no denied
    one. The ancestors of such nodes may be, too: without them no answer would be closed.

    Args:
        taxonomy: of the nodes.
        allow, deny: node ids; each stands for itself and everything below it, on every path.

    Raises:
        UnknownNodeError: an id the taxonomy does not have.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> allowed_nodes(t, allow=["rice"]).tolist(), allowed_nodes(t, deny=["rice"]).tolist()
    ([True, True, False], [True, False, True])
    """
    inside = np.zeros(len(taxonomy), dtype=bool)
    inside[_below(taxonomy, allow) if len(allow) else slice(None)] = True
    inside[_below(taxonomy, deny)] = False
    inside[spread(np.flatnonzero(inside), taxonomy.parents)] = True
    return inside


def restrict(taxonomy: Taxonomy, scores: Scores, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> Scores:
    """Return scores in which nodes that may not be answers have 0, so that no decoder selects them.

    Coherent scores stay coherent: what lies below a node at 0 is at 0.

    Args:
        taxonomy: of the columns.
        scores: (documents, nodes); not changed.
        allow, deny: as for `allowed_nodes`.

    Raises:
        UnknownNodeError: an id the taxonomy does not have.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> restrict(t, np.array([[0.9, 0.6, 0.3]]), deny=["rice"]).tolist()
    [[0.9, 0.0, 0.3]]
    """
    return np.where(allowed_nodes(taxonomy, allow, deny), scores, scores.dtype.type(0))


def _below(taxonomy: Taxonomy, nodes: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return spread(np.array([taxonomy.index(node) for node in nodes], dtype=np.int64), taxonomy.children)
