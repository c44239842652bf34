"""The embedded default: sparse text features, one squared-hinge linear model a node, and class centroids.

A node's model is trained on its positives, on the negatives its centroid finds most confusable, and on a
random sample of all others that stands, by weight, for the rest. That keeps the accuracy of full one-vs-rest at
a tenth of the time (`exact=True` trains on everything). What the sampling loses far from a node the second
channel, the document's similarity to the node's centroid, gives back when both are calibrated together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from sklearn.preprocessing import normalize

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
from hclf.scorers.one_vs_rest import LinearModel, Problem, Recipe, block_count, train_all
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


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
        n_jobs: processes for large problems; results do not depend on it.
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
        problem = Problem(X, positives, hidden)
        recipe = Recipe(
            self.C,
            self.negatives,
            self.negatives_per_positive,
            self.random_negatives,
            self.exact,
            self.prune,
            self.seed,
        )
        blocks = train_all(problem, self.columns, self.centroids, recipe, n_jobs=self.n_jobs)
        models: list[LinearModel] = []
        for block in progress(blocks, "training nodes", block_count(problem, self.columns)):
            models.extend(block)
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


def node_texts(taxonomy: Taxonomy, column: int) -> list[str]:
    """Return the different texts about a node: names and synonyms in all languages, and the description."""
    node = taxonomy.node(column)
    texts = [*node.names.values(), *(s for group in node.synonyms.values() for s in group), node.description]
    return list({text.casefold(): text for text in texts if text.strip()}.values())


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
