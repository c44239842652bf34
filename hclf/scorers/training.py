"""What is trained on: rows of documents, and rows of the taxonomy's texts about its nodes."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from sklearn.preprocessing import normalize

from hclf.labels import closures, from_pairs, pairs
from hclf.scorers.one_vs_rest import Problem
from hclf.scorers.packing import Arrays, packed, unpacked
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]

LEAST = 1e-3  # of a centroid's entries: smaller ones are dropped


class Rows(NamedTuple):
    """Documents and texts of nodes.

    Attributes:
        X: (documents, features) of documents.
        Y: (documents, nodes) their closed labels.
        unknown: (documents, nodes) what the labels do not say; None: nothing.
        W: (documents, words) ones at the words that matching reads; no columns without matching.
        of_texts: (texts, features) of the texts of nodes.
        text_columns: (texts,) whose they are, ascending.
        words: (texts, words) ones at their words.
    """

    X: csr_matrix[Any]
    Y: csr_matrix[Any]
    unknown: csr_matrix[Any] | None
    W: csr_matrix[Any]
    of_texts: csr_matrix[Any]
    text_columns: Ints
    words: csr_matrix[Any]

    @property
    def known(self) -> Ints:
        """The columns that have documents or texts, ascending."""
        return distinct(np.concatenate([self.Y.indices.astype(np.int64), self.text_columns]))

    def some(self, documents: Ints) -> Self:
        """Return the rows without other documents than these."""
        unknown = None if self.unknown is None else self.unknown[documents]
        return self._replace(X=self.X[documents], Y=self.Y[documents], unknown=unknown, W=self.W[documents])

    def with_documents(
        self, X: csr_matrix[Any], Y: csr_matrix[Any], unknown: csr_matrix[Any] | None, W: csr_matrix[Any]
    ) -> Self:
        """Return the rows with more documents at their end."""
        hidden = None
        if self.unknown is not None or unknown is not None:
            hidden = _below(_mask(self.unknown, self.Y), _mask(unknown, Y))
        return self._replace(X=_below(self.X, X), Y=_below(self.Y, Y), unknown=hidden, W=_below(self.W, W))

    def with_texts(self, changed: Ints, columns: Ints, of_texts: csr_matrix[Any], words: csr_matrix[Any]) -> Self:
        """Return the rows with these texts, by columns, in place of those that the changed columns had."""
        kept = np.flatnonzero(~np.isin(self.text_columns, changed))
        columns = np.concatenate([self.text_columns[kept], columns])
        order = np.argsort(columns, kind="stable")
        return self._replace(
            of_texts=_below(self.of_texts[kept], of_texts)[order],
            text_columns=columns[order],
            words=_below(self.words[kept], words)[order],
        )

    def problem(self, taxonomy: Taxonomy, columns: Ints) -> Problem:
        """Return what models of these columns are trained on: all documents, and the texts of these columns."""
        own = np.isin(self.text_columns, columns)
        Y = _below(self.Y, closures(taxonomy, self.text_columns[own]))
        hidden = None if self.unknown is None else csc_matrix(_mask(self.unknown, Y))
        return Problem(_below(self.X, self.of_texts[own]), csc_matrix(Y), hidden)

    def centroids(self, taxonomy: Taxonomy, columns: Ints) -> csr_matrix[Any]:
        """Return (columns, features): the unit-length mean row of each column's documents and texts."""
        Y = _below(self.Y, closures(taxonomy, self.text_columns))
        member = csr_matrix(csc_matrix(Y)[:, columns].T, dtype=np.float32)
        centroids = normalize(member @ _below(self.X, self.of_texts), copy=False)
        centroids.data[centroids.data < LEAST] = 0
        centroids.eliminate_zeros()
        centroids.sort_indices()
        return csr_matrix(centroids)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_state` builds equal rows from."""
        arrays: dict[str, NDArray[Any]] = {"text_columns": self.text_columns}
        for name, matrix in self._asdict().items():
            if isinstance(matrix, csr_matrix):
                arrays |= packed(name, matrix)
        return arrays

    @classmethod
    def from_state(cls, arrays: Arrays) -> Self:
        """Build from what `get_state` returned."""
        unknown = unpacked("unknown", arrays) if "unknown_shape" in arrays else None
        X, Y, W, of_texts, words = (unpacked(name, arrays) for name in ("X", "Y", "W", "of_texts", "words"))
        return cls(X, Y, unknown, W, of_texts, arrays["text_columns"], words)


def _below(upper: csr_matrix[Any], lower: csr_matrix[Any]) -> csr_matrix[Any]:
    return csr_matrix(vstack([upper, lower]))


def _mask(unknown: csr_matrix[Any] | None, Y: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return what is unknown of these labels; the last rows, which it may lack, are known."""
    return from_pairs(*pairs(Y[:0] if unknown is None else unknown), shape=Y.shape)
