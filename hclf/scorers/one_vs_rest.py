"""One squared-hinge linear model a node, each trained on the rows that matter to it, block by block of nodes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from sklearn.utils.parallel import Parallel, delayed

Ints = NDArray[Any]
Floats = NDArray[np.float32]

SIMILARITY_BLOCK = 16_000_000  # numbers held at once while documents are matched with centroids (64 MB)
MOST_NODES, LEAST_BLOCKS = 64, 16  # nodes of a block, and blocks for processes: small enough to spread work evenly
SECOND_ROUND = 50  # positives from which a node is trained again, with its first model's mistakes
FIRST_ROUND = 3  # negatives a positive in the first of two rounds, which only has to find mistakes
ROUGHLY, EXACTLY = 0.3, 0.05  # tolerance of liblinear in the first of two rounds, and in the last
STRONGEST = 256  # entries of a centroid that tell which documents are confusable
WORTH_PROCESSES = 3_000_000  # rows x nodes below which starting processes costs more than it saves


class LinearModel(NamedTuple):
    """The weights of one node that are not zero, and its intercept."""

    columns: Ints
    values: Floats
    bias: float


class Recipe(NamedTuple):
    """How a node is trained, and against which negatives; see `LinearScorer`."""

    C: float
    negatives: int
    negatives_per_positive: float
    random_negatives: int
    exact: bool
    prune: float
    seed: int


class Problem(NamedTuple):
    """Training rows, and by node which are positive and of which nothing is known."""

    X: csr_matrix[Any]
    positives: csc_matrix[Any]
    hidden: csc_matrix[Any] | None

    def positive_rows(self, column: int) -> Ints:
        """Return the rows that carry a node, ascending."""
        return _column(self.positives, column)

    def negative_rows(self, column: int) -> Ints:
        """Return the rows that are known not to carry a node, ascending."""
        other = np.ones(self.X.shape[0], dtype=bool)
        other[self.positive_rows(column)] = False
        if self.hidden is not None:
            other[_column(self.hidden, column)] = False
        return np.flatnonzero(other)


def train_all(
    problem: Problem, columns: Ints, centroids: csr_matrix[Any], recipe: Recipe, *, n_jobs: int
) -> Iterable[list[tuple[int, LinearModel]]]:
    """Yield the models of all columns, block by block, each with its place among the columns.

    Processes, not threads: liblinear draws from one random generator a process, so two threads would change each
    other's results.
    """
    pool = Parallel(n_jobs=n_jobs if _is_large(problem, columns) else 1, return_as="generator", max_nbytes="1M")
    # Matching a centroid with documents reads the documents of its features only.
    by_feature = None if recipe.exact else csr_matrix(problem.X.T)
    # The nodes with most documents, which take longest, are dealt out among the blocks.
    dealt = np.argsort(-np.diff(problem.positives.indptr)[columns], kind="stable")
    count = block_count(problem, columns)
    blocks: Iterable[list[tuple[int, LinearModel]]] = pool(
        delayed(_train_block)(problem, by_feature, places, columns[places], centroids[places], recipe)
        for places in (dealt[first::count] for first in range(count))
    )
    return blocks


def block_count(problem: Problem, columns: Ints) -> int:
    """Return how many blocks `train_all` will yield."""
    even = -(-len(columns) // LEAST_BLOCKS) if _is_large(problem, columns) else MOST_NODES
    size = min(MOST_NODES, even, SIMILARITY_BLOCK // max(1, problem.X.shape[0]))
    return -(-len(columns) // max(1, size))


def _is_large(problem: Problem, columns: Ints) -> bool:
    return problem.X.shape[0] * len(columns) >= WORTH_PROCESSES


def _train_block(
    problem: Problem,
    by_feature: csr_matrix[Any] | None,
    places: Ints,
    columns: Ints,
    centroids: csr_matrix[Any],
    recipe: Recipe,
) -> list[tuple[int, LinearModel]]:
    similar: Iterable[Floats] = [np.zeros(0, dtype=np.float32)] * len(columns)
    if by_feature is not None:
        similar = (_strongest(centroids) @ by_feature).toarray()
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the tolerance is ours; a last digit more is no gain
        return [
            (place, _train(problem, column, similarity, recipe))
            for place, column, similarity in zip(places.tolist(), columns.tolist(), similar, strict=True)
        ]


def _train(problem: Problem, column: int, similarity: Floats, recipe: Recipe) -> LinearModel:
    positive, negative = problem.positive_rows(column), problem.negative_rows(column)
    if not len(negative):  # nothing to tell it from
        return LinearModel(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32), 1.0)
    hard = int(max(recipe.negatives, recipe.negatives_per_positive * len(positive)))
    if recipe.exact or hard + recipe.random_negatives >= len(negative):
        return _pruned(_solved(problem, positive, negative, negative[:0], recipe), recipe.prune)
    rng = np.random.default_rng((recipe.seed, column))
    n = problem.X.shape[0]
    confusable = _highest(negative, similarity[negative], hard)
    if len(positive) >= SECOND_ROUND:
        few = int(max(recipe.negatives, FIRST_ROUND * len(positive)))
        first = _highest(confusable, similarity[confusable], few)
        model = _solved(problem, positive, first, _without(negative, first, n), recipe, rng, ROUGHLY)
        # The first model's mistakes, where there are any: with them the last is nearly the one that sees every row.
        rest = _without(negative, confusable, n)
        margin = _margins(problem.X, model)[rest]
        wrong = margin > -1
        confusable = np.concatenate([confusable, _highest(rest[wrong], margin[wrong], hard)])
    model = _solved(problem, positive, confusable, _without(negative, confusable, n), recipe, rng)
    return _pruned(model, recipe.prune)


def _solved(
    problem: Problem,
    positive: Ints,
    negative: Ints,
    rest: Ints,
    recipe: Recipe,
    rng: np.random.Generator | None = None,
    tolerance: float = EXACTLY,
) -> LinearModel:
    """Return the model of positives against negatives and a sample of the rest, weighted to stand for all of it."""
    sample = rest if rng is None else rng.choice(rest, min(recipe.random_negatives, len(rest)), replace=False)
    rows = np.concatenate([positive, negative, sample])
    order = np.argsort(rows)
    weight = np.ones(len(rows))
    weight[len(rows) - len(sample) :] = len(rest) / max(len(sample), 1)
    sub = problem.X[rows[order]]
    # Only the features that occur in these rows: liblinear's work and memory go with the number of columns.
    seen = np.zeros(problem.X.shape[1], dtype=bool)
    seen[sub.indices] = True
    features = np.flatnonzero(seen).astype(np.int32)
    number = np.empty(len(seen), dtype=np.int32)
    number[features] = np.arange(len(features), dtype=np.int32)
    sub = csr_matrix((sub.data, number[sub.indices], sub.indptr), shape=(len(rows), max(len(features), 1)))
    svm = LinearSVC(C=recipe.C, dual=True, tol=tolerance, max_iter=200, random_state=recipe.seed)
    svm.fit(sub, order < len(positive), sample_weight=weight[order])
    return LinearModel(features, svm.coef_.ravel().astype(np.float32)[: len(features)], float(svm.intercept_[0]))


def _margins(X: csr_matrix[Any], model: LinearModel) -> Floats:
    weights = np.zeros(X.shape[1], dtype=np.float32)
    weights[model.columns] = model.values
    margins: Floats = X @ weights + np.float32(model.bias)
    return margins


def _highest(rows: Ints, value: Floats, most: int) -> Ints:
    """Return the rows of the highest values."""
    return rows[np.argpartition(-value, most - 1)[:most]] if len(rows) > most else rows


def _without(rows: Ints, others: Ints, n: int) -> Ints:
    left = np.ones(n, dtype=bool)
    left[others] = False
    return rows[left[rows]]


def _strongest(centroids: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return centroids with their largest entries only: enough to tell which documents are confusable."""
    rows = np.repeat(np.arange(centroids.shape[0]), np.diff(centroids.indptr))
    order = np.lexsort((-centroids.data, rows))
    keep = np.sort(order[np.arange(len(order)) - centroids.indptr[rows] < STRONGEST])
    indptr = np.searchsorted(rows[keep], np.arange(centroids.shape[0] + 1))
    return csr_matrix((centroids.data[keep], centroids.indices[keep], indptr), shape=centroids.shape)


def _pruned(model: LinearModel, least: float) -> LinearModel:
    keep = np.abs(model.values) >= least
    return LinearModel(model.columns[keep], model.values[keep], model.bias)


def _column(matrix: csc_matrix[Any], column: int) -> Ints:
    return matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]].astype(np.int64)
