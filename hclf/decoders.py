"""Decoders: coherent scores in, closed label sets out.

A decoder first selects candidate nodes from the scores alone; per-level thresholds then cut the candidates. Both
steps keep ancestors before descendants, so the result is closed by construction when thresholds do not fall with
depth. Other thresholds, set by hand, are closed afterwards, and how many documents that touched is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.labels import close, from_pairs, is_closed, prune, subtract
from hclf.taxonomy import Taxonomy

Closure = Literal["ancestors", "prune"]
Bools = NDArray[np.bool_]


class Decoder(Protocol):
    """Selects candidate nodes."""

    @property
    def cut(self) -> bool:
        """Whether thresholds apply to the candidates."""
        ...

    def select(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]]) -> Bools:
        """Return (documents, nodes): a closed set of candidates for each row of coherent scores."""
        ...

    def trim(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]], Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return closed label sets without what only a candidate that was cut brought in."""
        ...


class _NothingToTrim:
    def trim(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]], Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return Y: every candidate stands for itself."""
        return Y


@dataclass(frozen=True, slots=True)
class ThresholdDecoder(_NothingToTrim):
    """Every node is a candidate: any number of labels, on any number of branches."""

    cut: bool = field(default=True, init=False)

    def select(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]]) -> Bools:
        """Return all True."""
        return np.ones(scores.shape, dtype=bool)


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

    def select(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]]) -> Bools:
        """Return the best path of each row; on a DAG its end brings all its ancestors."""
        paths = self._paths(taxonomy, scores)
        return _closed_mask(
            taxonomy, np.arange(len(scores)), np.array([path[-1] for path in paths], int), scores.shape
        )

    def trim(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]], Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return the closed end of what is left of each path."""
        if taxonomy.is_tree:
            return Y
        paths = self._paths(taxonomy, scores)
        rows = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
        on_path = from_pairs(rows, np.array([j for path in paths for j in path], int), (Y.shape[0], Y.shape[1]))
        return close(taxonomy, subtract(on_path, subtract(on_path, Y)))

    def _paths(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]]) -> list[list[int]]:
        roots = np.flatnonzero(taxonomy.is_root)
        paths = []
        for row in scores:
            path, below = [], roots
            while below.size:
                path.append(int(below[np.argmax(row[below])]))
                below = taxonomy.children.of(path[-1])
            paths.append(path)
        return paths


@dataclass(frozen=True, slots=True)
class TopKDecoder(_NothingToTrim):
    """Always the k best leaves (the k best assignable nodes where the taxonomy says which are), whatever they score.

    Args:
        k: how many, at least 1.
    """

    k: int = 1
    cut: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k is at least 1, not {self.k}")

    def select(self, taxonomy: Taxonomy, scores: NDArray[np.floating[Any]]) -> Bools:
        """Return the k best candidates of each row with all their ancestors; ties go to the earlier column."""
        candidates = np.flatnonzero(taxonomy.is_leaf if taxonomy.assignable.all() else taxonomy.assignable)
        order = np.argsort(-scores[:, candidates], axis=1, kind="stable")[:, : self.k]
        rows = np.repeat(np.arange(len(scores)), order.shape[1])
        return _closed_mask(taxonomy, rows, candidates[order].ravel(), scores.shape)


DECODERS: dict[str, Callable[..., Decoder]] = {
    "threshold": ThresholdDecoder,
    "path": PathDecoder,
    "top-k": TopKDecoder,
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


def decode(
    taxonomy: Taxonomy,
    scores: NDArray[np.floating[Any]],
    thresholds: NDArray[np.floating[Any]],
    decoder: Decoder,
    closure: Closure = "ancestors",
) -> tuple[csr_matrix[Any], int]:
    """Return closed label sets (documents, nodes), and how many documents closing had to touch.

    Args:
        scores: (documents, nodes), coherent.
        thresholds: (levels,): a candidate of level i passes at `thresholds[i - 1]` or above.
        decoder: selects the candidates.
        closure: what to do where thresholds fall with depth: add missing ancestors, or prune labels without them.
    """
    chosen = decoder.select(taxonomy, scores)
    if decoder.cut:
        # Compared in the scores' own precision: otherwise a score equal to its threshold may fail.
        chosen &= scores >= thresholds.astype(scores.dtype)[taxonomy.levels - 1]
    rows, columns = np.nonzero(chosen)
    Y = from_pairs(rows, columns, (scores.shape[0], scores.shape[1]))
    if not decoder.cut:
        return Y, 0
    if (np.diff(thresholds) >= 0).all():
        return decoder.trim(taxonomy, scores, Y), 0
    touched = int((~is_closed(taxonomy, Y)).sum())
    closed = (close if closure == "ancestors" else prune)(taxonomy, Y)
    return decoder.trim(taxonomy, scores, closed), touched


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


def describe(decoder: Decoder) -> Mapping[str, Any]:
    """Return the options of a decoder, as `make_decoder` takes them."""
    return {key: getattr(decoder, key) for key in ("to_leaf", "k") if hasattr(decoder, key)}


def _closed_mask(taxonomy: Taxonomy, rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, ...]) -> Bools:
    mask = np.zeros(shape, dtype=bool)
    mask[taxonomy.close_pairs(rows, columns)] = True
    return mask
