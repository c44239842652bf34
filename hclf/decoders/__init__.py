"""Decoders: coherent scores in, closed label sets out.

A decoder first selects candidate nodes from the scores alone; thresholds then cut the candidates. Both steps keep
ancestors before descendants, so the result is closed by construction when thresholds do not fall with depth. Other
thresholds, set by hand, are closed afterwards, and how many documents that touched is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.decoders.base import Decoder
from hclf.decoders.expected import ExpectedFDecoder, tune_expected_f
from hclf.decoders.leaves import LeafDecoder, TopKDecoder
from hclf.decoders.path import PathDecoder
from hclf.decoders.restriction import allowed_nodes, restrict
from hclf.decoders.threshold import ThresholdDecoder
from hclf.errors import UsageError, did_you_mean, suggest
from hclf.labels import close, from_pairs, is_closed, prune
from hclf.safe_depth import SafeDepthDecoder
from hclf.taxonomy import Taxonomy

__all__ = [
    "DECODERS",
    "Closure",
    "Decoder",
    "ExpectedFDecoder",
    "LeafDecoder",
    "PathDecoder",
    "SafeDepthDecoder",
    "ThresholdDecoder",
    "TopKDecoder",
    "allowed_nodes",
    "decode",
    "default_decoder",
    "describe",
    "make_decoder",
    "restrict",
    "tune_expected_f",
]

Closure = Literal["ancestors", "prune"]

DECODERS: dict[str, Callable[..., Decoder]] = {
    "threshold": ThresholdDecoder,
    "path": PathDecoder,
    "leaf": LeafDecoder,
    "top-k": TopKDecoder,
    "expected-f": ExpectedFDecoder,
    "safe-depth": SafeDepthDecoder,
}


def make_decoder(name: str, **options: Any) -> Decoder:
    """Return a decoder by name.

    Raises:
        UsageError: no such decoder, or an option it does not have.

    >>> make_decoder("top-k", k=3)
    TopKDecoder(k=3, cut=False)
    """
    if name not in DECODERS:
        known = ", ".join(DECODERS)
        raise UsageError(f"unknown decoder {name!r}{did_you_mean(suggest(name, DECODERS))}; known: {known}")
    try:
        return DECODERS[name](**options)
    except TypeError:
        raise UsageError(f"decoder {name!r} does not take {', '.join(options)}") from None


def describe(decoder: Decoder) -> Mapping[str, Any]:
    """Return the options of a decoder, as `make_decoder` takes them and JSON keeps them.

    >>> describe(make_decoder("threshold", at_most=[1, 3]))
    {'at_most': [1, 3], 'exclusive': []}
    """
    parts: Any = fields(decoder)  # type: ignore[arg-type]
    values = {part.name: getattr(decoder, part.name) for part in parts if part.init}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def decode(
    taxonomy: Taxonomy,
    scores: NDArray[np.floating[Any]],
    thresholds: NDArray[np.floating[Any]],
    decoder: Decoder,
    closure: Closure = "ancestors",
) -> tuple[csr_matrix[Any], int]:
    """Return closed label sets (documents, nodes), and how many documents closing had to touch.

    Args:
        taxonomy: of the columns.
        scores: (documents, nodes), coherent; a node with score 0 is never selected.
        thresholds: (levels,) or (nodes,): a candidate passes at its level's, or its own, or above.
        decoder: selects the candidates.
        closure: what to do where thresholds fall from a parent to a child: add missing ancestors, or prune labels
            without them.

    Raises:
        UsageError: thresholds neither one a level nor one a node.
    """
    chosen = decoder.select(taxonomy, scores)
    by_node = _by_node(taxonomy, thresholds) if decoder.cut else np.zeros(len(taxonomy))
    if decoder.cut:
        # Compared in the scores' own precision: otherwise a score equal to its threshold may fail.
        chosen &= scores >= by_node.astype(scores.dtype)
    rows, columns = np.nonzero(chosen)
    Y = from_pairs(rows, columns, (scores.shape[0], scores.shape[1]))
    if not decoder.cut:
        return Y, 0
    child, parent = taxonomy.parents.of_many(np.arange(len(taxonomy)))
    if (by_node[child] >= by_node[parent]).all():
        return decoder.trim(taxonomy, scores, Y), 0
    touched = int((~is_closed(taxonomy, Y)).sum())
    closed = (close if closure == "ancestors" else prune)(taxonomy, Y)
    return decoder.trim(taxonomy, scores, closed), touched


def _by_node(taxonomy: Taxonomy, thresholds: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return one threshold a node. Levels and nodes are as many only in a chain, where both readings agree."""
    if len(thresholds) == taxonomy.depth:
        return thresholds[taxonomy.levels - 1]
    if len(thresholds) != len(taxonomy):
        raise UsageError(
            f"{len(thresholds)} thresholds for {taxonomy.depth} levels and {len(taxonomy)} nodes; give one for each"
        )
    return thresholds


def default_decoder(taxonomy: Taxonomy, most_specific: csr_matrix[Any]) -> tuple[str, str]:
    """Return the decoder that fits training labels, by name, and why, in words.

    Args:
        taxonomy: of the labels.
        most_specific: (documents, nodes): the most specific labels of each training document.
    """
    counts = np.diff(most_specific.indptr)
    labelled = counts[counts > 0]
    several = float((labelled > 1).mean()) if labelled.size else 0.0
    if several > 0:
        return "threshold", f"{several:.1%} of the training documents have several most specific labels"
    return "path", "every training document has exactly one most specific label"
