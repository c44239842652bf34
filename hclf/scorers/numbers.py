"""Feature matrices made ready for learners: missing values, nominal columns, standardising, all learned in fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from hclf.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DENSE = 0.3  # a matrix with a larger share of entries is not sparse
SAME = 1e-12  # deviation of a constant column, as a share of its mean: what rounding leaves
FARTHEST = 100.0  # standardised values beyond this are no measurements


class Moments(NamedTuple):
    """Of the columns of a matrix, missing values left out.

    Attributes:
        mean: (columns,).
        deviation: (columns,) root mean square around the mean where `centred`, around 0 otherwise.
        centred: whether the matrix is dense, so that taking the mean away costs no memory.
    """

    mean: Floats
    deviation: Floats
    centred: bool

    @classmethod
    def of(cls, X: csr_matrix[Any], centred: bool) -> Self:
        """Return the moments of a matrix; NaN is missing, what a sparse matrix does not hold is 0."""
        values, columns = X.data.astype(np.float64), X.indices
        missing = np.isnan(values)
        absent = np.bincount(columns[missing], minlength=X.shape[1])
        counts = np.maximum(X.shape[0] - absent, 1)
        values[missing] = 0
        filled = csr_matrix((values, columns, X.indptr), shape=X.shape)
        mean = np.asarray(filled.sum(axis=0)).ravel() / counts
        # Around the mean first, then squared: sums of squares lose every digit far from 0.
        middle = mean if centred else np.zeros_like(mean)
        values = np.where(missing, 0, values - middle[columns])
        zeros = X.shape[0] - absent - np.bincount(columns[~missing], minlength=X.shape[1])
        square = np.bincount(columns, weights=values**2, minlength=X.shape[1]) + zeros * middle**2
        return cls(mean, np.sqrt(square / counts), centred)


class NumberColumns:
    """A feature matrix as learners take it: nothing missing, no codes, all columns of the same scale.

    - A missing value (NaN) becomes its column's mean. What a sparse matrix does not hold is 0, not missing.
    - A nominal column becomes one column of zeros and ones for each code seen in fit; these stand behind all others.
      A missing code becomes the share of each code, an unseen one all zeros.
    - Then columns are standardised and cut off at ±100. A constant column becomes 0. A matrix that is mostly zeros
      is scaled without centring, so that its zeros stay zeros.

    Args:
        nominal: columns that hold codes (any numbers that stand for names).

    Attributes:
        width: columns of what `transform` returns.
        centred: False: rows are mostly zeros, better made dense batch by batch.
    """

    def __init__(self, *, nominal: Sequence[int] = ()) -> None:
        self.nominal: Ints = np.unique(np.asarray(nominal, dtype=np.int64))

    def fit(self, X: csr_matrix[Any]) -> Self:
        """Learn means, deviations and codes of a matrix (documents, columns).

        Raises:
            UsageError: a nominal column does not exist.
        """
        self.columns = X.shape[1]
        if len(outside := self.nominal[(self.nominal < 0) | (self.nominal >= self.columns)]):
            raise UsageError(f"nominal column {outside[0]} does not exist: the matrix has {self.columns} features")
        self.codes = [_codes(X, column) for column in self.nominal.tolist()]
        moments = Moments.of(self._expanded(X), is_dense(X))
        self.mean, self.centred = moments.mean, moments.centred
        varies = moments.deviation > SAME * np.abs(moments.mean)
        self.factor: Floats = np.divide(1, moments.deviation, out=np.zeros_like(self.mean), where=varies)
        return self

    @property
    def width(self) -> int:
        """Columns of what `transform` returns."""
        return len(self.mean)

    def transform(self, X: csr_matrix[Any]) -> NDArray[np.float32]:
        """Return rows as a dense array (documents, width).

        A whole matrix of few columns is best transformed once, one where `centred` is False batch by batch.

        Raises:
            UsageError: the matrix has another number of columns than in fit.
        """
        rows = self._filled(X).toarray()
        if self.centred:
            rows -= self.mean
        rows *= self.factor
        return np.clip(rows, -FARTHEST, FARTHEST, out=rows).astype(np.float32)

    def sparse(self, X: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return the same rows as CSR, where columns are not centred.

        Raises:
            UsageError: as `transform`; the columns are centred.
        """
        if self.centred:
            raise UsageError("a matrix with few zeros is transformed into a dense one")
        rows = self._filled(X)
        rows.data = np.clip(rows.data * self.factor[rows.indices], -FARTHEST, FARTHEST)
        return csr_matrix(rows, dtype=np.float32)

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON-able values and arrays that `from_state` builds an equal object from."""
        config = {"columns": self.columns, "nominal": self.nominal.tolist(), "centred": self.centred}
        codes = np.concatenate([np.zeros(0), *self.codes])
        sizes = np.array([len(part) for part in self.codes], dtype=np.int64)
        return config, {"mean": self.mean, "factor": self.factor, "codes": codes, "code_counts": sizes}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        numbers = cls(nominal=config["nominal"])
        numbers.columns, numbers.centred = config["columns"], config["centred"]
        numbers.mean, numbers.factor = arrays["mean"], arrays["factor"]
        ends = np.cumsum(arrays["code_counts"])
        numbers.codes = np.split(arrays["codes"], ends[:-1]) if len(ends) else []
        return numbers

    def _filled(self, X: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return float64 rows in which nothing is missing."""
        if X.shape[1] != self.columns:
            raise UsageError(f"the matrix has {X.shape[1]} features, the model was fitted on {self.columns}")
        rows = self._expanded(X)
        rows.data = np.where(np.isnan(rows.data), self.mean[rows.indices], rows.data)
        return rows

    def _expanded(self, X: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return float64 columns without nominal ones, then zeros and ones for each code; NaN: missing."""
        if not len(self.nominal):
            return csr_matrix(X, dtype=np.float64, copy=True)
        others = np.setdiff1d(np.arange(self.columns), self.nominal)
        blocks = [_indicators(X, column, codes) for column, codes in zip(self.nominal, self.codes, strict=True)]
        return csr_matrix(hstack([X[:, others], *blocks], dtype=np.float64))


def is_dense(X: csr_matrix[Any]) -> bool:
    """Return whether a matrix holds so many entries that centring its columns costs no memory."""
    return bool(X.nnz > DENSE * X.shape[0] * X.shape[1])


def _codes(X: csr_matrix[Any], column: int) -> Floats:
    values: Floats = np.unique(X[:, [column]].toarray())
    return values[~np.isnan(values)]


def _indicators(X: csr_matrix[Any], column: int, codes: Floats) -> csr_matrix[Any]:
    """Return (documents, codes): ones where a column holds a code, NaN in all of them where it is missing."""
    values = X[:, [column]].toarray().ravel()
    missing = np.flatnonzero(np.isnan(values))
    place = np.searchsorted(codes, values)
    rows = np.flatnonzero(place < len(codes))
    rows = rows[codes[place[rows]] == values[rows]]
    gaps = np.repeat(missing, len(codes)), np.tile(np.arange(len(codes)), len(missing))
    data = np.concatenate([np.ones(len(rows)), np.full(len(gaps[0]), np.nan)])
    at = np.concatenate([rows, gaps[0]]), np.concatenate([place[rows], gaps[1]])
    return csr_matrix((data, at), shape=(X.shape[0], len(codes)))
