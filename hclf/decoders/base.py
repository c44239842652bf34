"""What a decoder is, and what decoders share.

A score of exactly 0 means "impossible": no decoder ever selects such a node, whatever the thresholds. That is how
`restrict` keeps nodes out.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.taxonomy import Taxonomy

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Scores = NDArray[np.floating[Any]]


class Decoder(Protocol):
    """Selects candidate nodes."""

    @property
    def cut(self) -> bool:
        """Whether thresholds apply to the candidates."""
        ...

    def select(self, taxonomy: Taxonomy, scores: Scores) -> Bools:
        """Return (documents, nodes): a closed set of candidates for each row of coherent scores."""
        ...

    def trim(self, taxonomy: Taxonomy, scores: Scores, Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return closed label sets: what the decoder makes of the candidates that were not cut."""
        ...


class NothingToTrim:
    """For decoders whose candidates each stand for themselves."""

    __slots__ = ()

    def trim(self, taxonomy: Taxonomy, scores: Scores, Y: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return Y."""
        return Y


def closed_mask(taxonomy: Taxonomy, rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, ...]) -> Bools:
    """Return (documents, nodes): True for each pair and all its ancestors."""
    mask = np.zeros(shape, dtype=bool)
    mask[taxonomy.close_pairs(rows, columns)] = True
    return mask
