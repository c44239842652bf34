"""The embedded default: sparse text features, one squared-hinge linear model a node, and class centroids.

A node's model is trained on its positives, on the negatives its centroid finds most confusable, and on a
random sample of all others that stands, by weight, for the rest. That keeps the accuracy of full one-vs-rest at
a tenth of the time (`exact=True` trains on everything). What the sampling loses far from a node the second
channel, the document's similarity to the node's centroid, gives back when both are calibrated together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from hclf.inputs import Inputs
from hclf.labels import from_pairs, label_matrix, pairs
from hclf.scorers.base import Progress, silent
from hclf.scorers.features import (
    ROW_NORM,
    Features,
    MatrixFeatures,
    TextFeatures,
    features_from_state,
)
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
SIMILARITY_BLOCK = 32_000_000  # numbers held at once while documents are matched with centroids (128 MB)


class LinearScorer:
    """One linear model for each node that has training documents.

    Args:
        C: inverse regularisation of the squared hinge loss.
        negatives: most confusable negatives a node is trained against, at least.
        negatives_per_positive: the same per positive, for frequent nodes.
        random_negatives: random other negatives, weighted to stand for all that were left out.
        exact: full one-vs-rest instead.
        node_texts: names, synonyms and descriptions of trained nodes are training documents too.
        field_weights: weight of each text field; see `TextFeatures`.
        prune: weights smaller than this are dropped after training.
        n_jobs: threads (liblinear releases the interpreter lock); results do not depend on it.
        seed: of the random negatives and of the coordinate descent.
    """

    name: ClassVar[str] = "linear"
    channels: ClassVar[tuple[str, ...]] = ("margin", "similarity")

    def __init__(
        self,
        *,
        C: float = 1.0,
        negatives: int = 500,
        negatives_per_positive: float = 10,
        random_negatives: int = 300,
        exact: bool = False,
        node_texts: bool = True,
        field_weights: Mapping[str, float] | None = None,
        prune: float = 0.01,
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        self.C, self.exact, self.prune = C, exact, prune
        self.negatives, self.negatives_per_positive = negatives, negatives_per_positive
        self.random_negatives, self.node_texts = random_negatives, node_texts
        self.field_weights, self.n_jobs, self.seed = field_weights, n_jobs, seed

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Learn one model for each node with at least one document in Y.

        Raises:
            DataError: no document has a word.
        """
        self.columns: Ints = np.unique(Y.indices).astype(np.int64)
        X, Y, unknown = self._training_rows(inputs, Y, taxonomy, unknown)
        positives, hidden = csc_matrix(Y), csc_matrix(unknown) if unknown is not None else None
        self.centroids: csr_matrix[Any] = _centroids(X, Y, self.columns)
        problem = _Problem(X, positives, hidden)
        models: list[_Model] = []
        block = max(1, SIMILARITY_BLOCK // max(1, X.shape[0]))
        starts = range(0, len(self.columns), block)
        with ThreadPoolExecutor(self.n_jobs) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the tolerance is ours; a last digit more is no gain
            steps = (
                model
                for start in starts
                for model in pool.map(
                    self._train,
                    [problem] * block,
                    self.columns[start : start + block].tolist(),
                    self._similarities(X, start, block),
                )
            )
            models.extend(progress(steps, "training nodes", len(self.columns)))
        self.weights: csr_matrix[Any] = _stack([m.columns for m in models], [m.values for m in models], X.shape[1])
        self.bias: Floats = np.array([m.bias for m in models], dtype=np.float32)
        self._compile()
        return self

    def _training_rows(
        self, inputs: Inputs, Y: csr_matrix[Any], taxonomy: Taxonomy, unknown: csr_matrix[Any] | None
    ) -> tuple[csr_matrix[Any], csr_matrix[Any], csr_matrix[Any] | None]:
        """Return features and labels of the documents, followed by those of the trained nodes' own texts."""
        self.features: Features
        if isinstance(inputs, csr_matrix):
            self.features = MatrixFeatures()
            return self.features.fit_transform(inputs)[0], Y, unknown
        self.features = TextFeatures(self.field_weights)
        texts = [
            (taxonomy.nodes[j], text)
            for j in (self.columns.tolist() if self.node_texts else ())
            for text in node_texts(taxonomy, j)
        ]
        X, of_nodes = self.features.fit_transform(inputs, [text for _, text in texts])
        if not texts:
            return X, Y, unknown
        named = label_matrix(taxonomy, [[node] for node, _ in texts])
        if unknown is not None:
            unknown = from_pairs(*pairs(unknown), shape=(unknown.shape[0] + named.shape[0], named.shape[1]))
        return csr_matrix(vstack([X, of_nodes])), csr_matrix(vstack([Y, named])), unknown

    def _similarities(self, X: csr_matrix[Any], start: int, block: int) -> Sequence[Floats]:
        if self.exact:
            return [np.zeros(0, dtype=np.float32)] * block
        rows: Sequence[Floats] = (self.centroids[start : start + block] @ X.T).toarray()
        return rows

    def _train(self, problem: _Problem, column: int, similarity: Floats) -> _Model:
        rows, weight = self._rows(problem, column, similarity)
        y = np.isin(rows, problem.positive_rows(column))
        if y.all():  # nothing to tell it from
            return _Model(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), 1.0)
        sub = problem.X[rows]
        # Only the features that occur in these rows: liblinear's work and memory go with the number of columns.
        seen = np.zeros(problem.X.shape[1], dtype=bool)
        seen[sub.indices] = True
        features = np.flatnonzero(seen)
        number = np.cumsum(seen, dtype=np.int32) - 1
        sub = csr_matrix((sub.data, number[sub.indices], sub.indptr), shape=(len(rows), max(len(features), 1)))
        svm = LinearSVC(C=self.C, dual=True, tol=0.05, max_iter=200, random_state=self.seed)
        svm.fit(sub, y, sample_weight=weight)
        values = svm.coef_.ravel().astype(np.float32)[: len(features)]
        keep = np.abs(values) >= self.prune
        return _Model(features[keep], values[keep], float(svm.intercept_[0]))

    def _rows(self, problem: _Problem, column: int, similarity: Floats) -> tuple[Ints, NDArray[np.float64]]:
        """Return the training rows of a node, ascending, and their weights."""
        positive = problem.positive_rows(column)
        negative = problem.negative_rows(column)
        hard = int(max(self.negatives, self.negatives_per_positive * len(positive)))
        if self.exact or hard + self.random_negatives >= len(negative):
            rows = np.sort(np.concatenate([positive, negative]))
            return rows, np.ones(len(rows))
        nearest = np.argpartition(-similarity[negative], hard)
        confusable, rest = negative[nearest[:hard]], np.sort(negative[nearest[hard:]])
        rng = np.random.default_rng((self.seed, column))
        sample = rng.choice(rest, self.random_negatives, replace=False)
        rows = np.concatenate([positive, confusable, sample])
        weight = np.ones(len(rows))
        weight[len(rows) - len(sample) :] = len(rest) / max(len(sample), 1)
        order = np.argsort(rows)
        return rows[order], weight[order]

    def _compile(self) -> None:
        # Row-major by feature: `X @ that` then reads one short row for each feature of a document.
        self._by_feature = csr_matrix(self.weights.T)
        self._centroids_by_feature = csr_matrix(self.centroids.T)

    def score(self, inputs: Inputs) -> Floats:
        """Return (2, documents, len(columns)): margins, and square roots of similarities to centroids."""
        X = self.features.transform(inputs)
        out = np.empty((2, X.shape[0], len(self.columns)), dtype=np.float32)
        out[0] = (X @ self._by_feature).toarray()
        out[0] += self.bias
        similarity = (X @ self._centroids_by_feature).toarray() / np.float32(ROW_NORM)
        np.sqrt(np.maximum(similarity, 0, out=similarity), out=out[1])
        return out

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return features, weights and centroids."""
        features, arrays = self.features.get_state()
        arrays = {f"features_{key}": value for key, value in arrays.items()}
        for name, matrix in (("weights", self.weights), ("centroids", self.centroids)):
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        return {"features": features, "n_features": self.weights.shape[1]}, arrays | {
            "columns": self.columns,
            "bias": self.bias,
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        scorer = cls()
        scorer.columns, scorer.bias = arrays["columns"], arrays["bias"]
        own = {key.removeprefix("features_"): a for key, a in arrays.items() if key.startswith("features_")}
        scorer.features = features_from_state(config["features"], own)
        shape = (len(scorer.columns), config["n_features"])
        scorer.weights, scorer.centroids = (
            csr_matrix(tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")), shape=shape)
            for name in ("weights", "centroids")
        )
        scorer._compile()
        return scorer


class _Model(NamedTuple):
    columns: Ints
    values: Floats
    bias: float


class _Problem(NamedTuple):
    """Training rows, and by node which are positive and which say nothing."""

    X: csr_matrix[Any]
    positives: csc_matrix[Any]
    hidden: csc_matrix[Any] | None

    def positive_rows(self, column: int) -> Ints:
        return _column(self.positives, column)

    def negative_rows(self, column: int) -> Ints:
        other = np.ones(self.X.shape[0], dtype=bool)
        other[self.positive_rows(column)] = False
        if self.hidden is not None:
            other[_column(self.hidden, column)] = False
        return np.flatnonzero(other)


def node_texts(taxonomy: Taxonomy, column: int) -> list[str]:
    """Return the different texts about a node: names and synonyms in all languages, and the description."""
    node = taxonomy.node(column)
    texts = [*node.names.values(), *(s for group in node.synonyms.values() for s in group), node.description]
    return list({text.casefold(): text for text in texts if text.strip()}.values())


def _column(matrix: csc_matrix[Any], column: int) -> Ints:
    return matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]].astype(np.int64)


def _centroids(X: csr_matrix[Any], Y: csr_matrix[Any], columns: Ints, prune: float = 1e-3) -> csr_matrix[Any]:
    """Return the unit-length mean row of each column's documents, without entries below `prune`."""
    member = csr_matrix(csc_matrix(Y)[:, columns].T, dtype=np.float32)
    centroids = normalize(member @ X, copy=False)
    centroids.data[centroids.data < prune] = 0
    centroids.eliminate_zeros()
    centroids.sort_indices()
    return csr_matrix(centroids)


def _stack(indices: Sequence[Ints], values: Sequence[Floats], width: int) -> csr_matrix[Any]:
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in indices])])
    data = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    flat = np.concatenate(indices) if indices else np.zeros(0, dtype=np.int64)
    return csr_matrix((data, flat, indptr), shape=(len(indices), width))
