"""Why linear models say what they say, by the words of a document.

A margin is a sum over features, and every feature lies in words: what the words contribute and the bias add up to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.inputs import Inputs, take
from hclf.scorers.base import Contribution
from hclf.scorers.features import Located, MatrixFeatures
from hclf.scorers.phrases import Table
from hclf.taxonomy import distinct, run_starts

Ints = NDArray[Any]
Floats = NDArray[Any]

DOCUMENTS_AT_ONCE = 64


class Models(NamedTuple):
    """Linear models of some columns, ascending: weights (columns, features)."""

    columns: Ints
    weights: csr_matrix[Any]


def margin_evidence(
    name: str, features: Any, models: Models, inputs: Inputs, rows: Ints, columns: Ints
) -> list[list[Contribution]]:
    """Return for each (row, column) what each word, or each column of a matrix, adds to the margin.

    Args:
        name: of the scorer.
        features: `TextFeatures` or `MatrixFeatures` of the models.
        models: those of the scorer; of other columns nothing is said.
        inputs: the documents.
        rows, columns: (pairs,) of them, and of the taxonomy.
    """
    found: list[list[Contribution]] = [[] for _ in range(len(rows))]
    place = Table(models.columns, np.arange(len(models.columns))).at(columns, -1)
    asked = np.flatnonzero(place >= 0)
    for documents, here in batches(rows[asked]):
        of, part = take(inputs, documents), asked[here]
        row = np.searchsorted(documents, rows[part])
        weights = models.weights[place[part]]
        if isinstance(of, csr_matrix):
            said = _by_column(name, features, of, row, weights)
        else:
            said = _by_word(name, features.located(of), row, weights)
        for i, contributions in zip(part.tolist(), said, strict=True):
            found[i] = contributions
    return found


def batches(rows: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield some documents of these rows, ascending, and which rows are theirs, until all have been there."""
    documents = distinct(rows)
    for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
        some = documents[start : start + DOCUMENTS_AT_ONCE]
        yield some, np.flatnonzero(np.isin(rows, some))


def _by_word(name: str, words: Located, rows: Ints, weights: csr_matrix[Any]) -> Iterator[list[Contribution]]:
    """Yield for each row what its words add to the products with the weights of the same place."""
    starts = np.searchsorted(words.rows, np.arange(rows.max() + 2))
    order = np.argsort(rows, kind="stable")
    values: dict[int, Floats] = {}
    for pairs in np.split(order, np.flatnonzero(run_starts(rows[order]))[1:]):
        own = words.X[starts[rows[pairs[0]]] : starts[rows[pairs[0]] + 1]]
        values |= zip(pairs.tolist(), (own @ weights[pairs].T).T.toarray(), strict=True)
    for i, row in enumerate(rows.tolist()):
        first = int(starts[row])
        yield [
            Contribution(name, words.fields[j], int(words.starts[j]), int(words.ends[j]), value)
            for j, value in enumerate(values[i].tolist(), start=first)
            if value
        ]


def _by_column(
    name: str, features: MatrixFeatures, given: csr_matrix[Any], rows: Ints, weights: csr_matrix[Any]
) -> Iterator[list[Contribution]]:
    """Yield for each row what its numbers add to the products with the weights of the same place."""
    products = csr_matrix(features.transform(given)[rows].multiply(weights))
    for i, row in enumerate(rows.tolist()):
        place = slice(products.indptr[i], products.indptr[i + 1])
        columns = products.indices[place].tolist()
        yield [
            Contribution(name, f"column {j}", 0, 0, value, f"value {given[row, j]:.6g}")
            for j, value in zip(columns, products.data[place].tolist(), strict=True)
            if value
        ]
