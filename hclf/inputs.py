"""What a person may pass as X and y, and the few things done to it: named text fields or a feature matrix; labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from hclf.data import Document, LabelResolver
from hclf.errors import DataError, UsageError
from hclf.labels import from_pairs, label_matrix
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

Inputs: TypeAlias = "Sequence[Mapping[str, str]] | csr_matrix[Any]"
"""Documents as named text fields, or a feature matrix (documents, features)."""
Labels: TypeAlias = Any
"""Lists of node ids, names or paths, one list a document; or an indicator matrix (documents, nodes)."""


def as_inputs(X: Any) -> Inputs:
    """Return what scorers take: a list of named text fields, or a sparse feature matrix.

    Raises:
        UsageError: X is one string, or holds something that is neither text nor a finite number or NaN.
    """
    if isinstance(X, str):
        raise UsageError("X is one string; give a list of documents")
    if is_matrix(X) and (issparse(X) or X.dtype.kind in "fiub"):
        matrix: csr_matrix[Any] = csr_matrix(X, dtype=np.float64)
        if np.isinf(matrix.data).any():
            raise UsageError("the feature matrix holds infinite values; NaN stands for what is missing")
        return matrix
    if hasattr(X, "to_dict") and hasattr(X, "columns"):  # a DataFrame, without importing pandas
        if all(getattr(kind, "kind", "O") in "fiub" for kind in getattr(X, "dtypes", ["O"])):
            return as_inputs(X.to_numpy(dtype=np.float64))
        return [{str(k): v for k, v in row.items() if isinstance(v, str)} for row in X.to_dict("records")]
    items = list(X)
    if items and all(isinstance(item, Mapping) for item in items):
        return [{str(k): v for k, v in item.items() if isinstance(v, str)} for item in items]
    if items and all(isinstance(item, Document) for item in items):
        return [item.fields for item in items]
    for item in items:
        if not isinstance(item, str):
            kind = type(item).__name__
            raise UsageError(f"X holds a {kind}; give strings, dicts of text fields, or a numeric matrix")
    return [{"text": item} for item in items]


def as_labels(taxonomy: Taxonomy, y: Labels) -> csr_matrix[Any]:
    """Return labels as given as a matrix (documents, nodes), not closed.

    Raises:
        DataError: another number of columns, what is no list of labels, or a label that does not exist, with its row.
    """
    nodes = len(taxonomy)
    if is_matrix(y):
        if y.shape[1] != nodes:
            raise DataError(f"the indicator matrix has {y.shape[1]} columns, the taxonomy {nodes} nodes")
        rows, columns = y.nonzero()
        return from_pairs(rows, columns, (y.shape[0], nodes))
    resolve = LabelResolver(taxonomy)
    sets = [[labels] if isinstance(labels, str) else labels for labels in y]
    ids: list[list[str]] = []
    for row, labels in enumerate(sets, start=1):
        if not isinstance(labels, Iterable) or not all(isinstance(label, str) for label in labels):
            raise DataError("labels are a list of node ids, names or paths", row=row)
        try:
            ids.append([resolve(label) for label in labels])
        except DataError as error:
            raise DataError(error.message, row=row) from None
    return label_matrix(taxonomy, ids, closed=False)


def is_matrix(value: Any) -> bool:
    """Return whether a value is a sparse matrix or a plain two-dimensional array."""
    return bool(issparse(value)) or (isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype != object)


def length(inputs: Inputs) -> int:
    """Return how many documents there are."""
    return int(inputs.shape[0]) if isinstance(inputs, csr_matrix) else len(inputs)


def take(inputs: Inputs, rows: Ints) -> Inputs:
    """Return the documents of some rows."""
    return inputs[rows] if isinstance(inputs, csr_matrix) else [inputs[i] for i in rows.tolist()]


def rows_of(matrix: csr_matrix[Any] | None, rows: Ints) -> csr_matrix[Any] | None:
    """Return the rows of a matrix that may be None."""
    return None if matrix is None else matrix[rows]


def dense(Y: csr_matrix[Any], rows: Ints, columns: Ints) -> NDArray[np.bool_]:
    """Return (rows, columns) of a label matrix as a dense array."""
    part: NDArray[np.bool_] = Y[rows].toarray()[:, columns]
    return part


def known(unknown: csr_matrix[Any] | None, rows: Ints, columns: Ints) -> NDArray[np.bool_] | None:
    """Return which of (rows, columns) the labels speak of; None means all."""
    return None if unknown is None else ~dense(unknown, rows, columns)


def joined(inputs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return each document's fields as one text."""
    return ["\n".join(fields.values()) for fields in inputs]


def without_words(inputs: Inputs) -> NDArray[np.bool_]:
    """Return for each document whether it has no text at all."""
    if isinstance(inputs, csr_matrix):
        return np.zeros(inputs.shape[0], dtype=bool)
    return np.array([not any(v.strip() for v in fields.values()) for fields in inputs], dtype=bool)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`."""
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def in_threads(work: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """Yield the result of each item, in order; as many are worked on at once as there are workers."""
    if workers == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[B]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
