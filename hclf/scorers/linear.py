"""The embedded default: sparse text features, one squared-hinge linear model a node, and class centroids.

A node's model is trained on its positives, on the negatives its centroid finds most confusable, and on a
random sample of all others that stands, by weight, for the rest. That keeps the accuracy of full one-vs-rest at
a tenth of the time (`exact=True` trains on everything). What the sampling loses far from a node the second
channel, the document's similarity to the node's centroid, gives back when both are calibrated together.

Where many nodes have few documents, or none, learned matching of words (`hclf.scorers.matching`) adds two more
channels, and scores the nodes without a model of their own: those among a document's candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from sklearn.preprocessing import normalize

from hclf.errors import UsageError
from hclf.inputs import Inputs
from hclf.labels import from_pairs, most_specific, pairs
from hclf.scorers.base import Candidates, Progress, Scored, silent
from hclf.scorers.features import (
    ROW_NORM,
    Features,
    MatrixFeatures,
    TextFeatures,
    features_from_state,
)
from hclf.scorers.matching import MOST_WORDS, Matcher, Outline, log_scaled
from hclf.scorers.one_vs_rest import LinearModel, Problem, Recipe, block_count, train_all
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

PATH_WORDS = 24  # a longer path is nobody's phrase for a node
SCARCE, MANY_SCARCE = 10, 0.1  # matching is for taxonomies where this share of the nodes has fewer documents


class LinearScorer:
    """One linear model for each node that has training documents, and matching of words for the others.

    Args:
        C: inverse regularisation of the squared hinge loss.
        negatives: most confusable negatives a node is trained against, at least.
        negatives_per_positive: the same per positive, for frequent nodes.
        random_negatives: random other negatives, weighted to stand for all that were left out.
        exact: full one-vs-rest instead.
        node_texts: names, synonyms and descriptions of nodes are training documents too.
        matching: learned matching of words with phrases of nodes; None: where more than a tenth of the nodes have
            fewer than 10 documents.
        max_models: nodes that get a linear model, those with most documents first; matching scores the others.
        field_weights: weight of each text field; see `TextFeatures`.
        prune: weights smaller than this are dropped after training.
        n_jobs: processes for large problems; results do not depend on it.
        seed: of the random negatives and of the coordinate descent.
    """

    name: ClassVar[str] = "linear"
    channels: ClassVar[tuple[str, ...]] = ("margin", "similarity", "match", "overlap")
    candidate_channels: ClassVar[tuple[str, ...]] = ("match", "similarity", "overlap", "covered")

    def __init__(
        self,
        *,
        C: float = 1.0,
        negatives: int = 250,
        negatives_per_positive: float = 10,
        random_negatives: int = 150,
        exact: bool = False,
        node_texts: bool = True,
        matching: bool | None = None,
        max_models: int = 10_000,
        field_weights: Mapping[str, float] | None = None,
        prune: float = 0.01,
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        if max_models < 1:
            raise UsageError(f"max_models is at least 1, not {max_models}")
        self.C, self.exact, self.prune = C, exact, prune
        self.negatives, self.negatives_per_positive = negatives, negatives_per_positive
        self.random_negatives, self.node_texts = random_negatives, node_texts
        self.matching, self.max_models = matching, max_models
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
        counts = np.bincount(Y.indices, minlength=Y.shape[1])
        self.columns: Ints = np.sort(np.argsort(-counts, kind="stable")[: min(self.max_models, (counts > 0).sum())])
        matching = self._is_matching(inputs, counts)
        texts = self._texts(taxonomy, np.arange(len(taxonomy)) if matching else self.columns, inputs)
        features: Any = MatrixFeatures() if isinstance(inputs, csr_matrix) else TextFeatures(self.field_weights)
        self.features: Features = features
        X, of_texts = features.fit_transform(inputs, [text for _, text in texts])
        columns = np.array([column for column, _ in texts], dtype=np.int64)
        labels = from_pairs(*taxonomy.close_pairs(np.arange(len(texts)), columns), shape=(len(texts), len(taxonomy)))
        self.known: Ints = distinct(np.concatenate([np.flatnonzero(counts), columns]))

        def centroids(rows: Ints) -> csr_matrix[Any]:
            return _centroids(vstack([X[rows], of_texts]), vstack([Y[rows], labels]), self.known)

        self.centroids: csr_matrix[Any] = centroids(np.arange(X.shape[0]))
        of_models = np.isin(columns, self.columns)
        self._train(
            csr_matrix(vstack([X, of_texts[of_models]])),
            csr_matrix(vstack([Y, labels[of_models]])),
            unknown,
            progress,
        )
        self.matcher: Matcher | None = None
        if matching:
            W = features.words(features.main_text(inputs), MOST_WORDS)
            words = features.words([text for _, text in texts], MOST_WORDS)
            self.matcher = Matcher(threads=self.n_jobs, seed=self.seed).fit(
                (W, X), most_specific(taxonomy, Y), (words, columns), Outline.of(taxonomy), self.known, centroids
            )
        self._compile()
        return self

    def _is_matching(self, inputs: Inputs, counts: Ints) -> bool:
        if isinstance(inputs, csr_matrix):
            return False
        return bool((counts < SCARCE).mean() > MANY_SCARCE) if self.matching is None else self.matching

    def _texts(self, taxonomy: Taxonomy, columns: Ints, inputs: Inputs) -> list[tuple[int, str]]:
        """Return (column, text) of the nodes' own texts; numeric features have no use for them."""
        if not self.node_texts or isinstance(inputs, csr_matrix):
            return []
        return [(j, text) for j in columns.tolist() for text in node_texts(taxonomy, j)]

    def _train(
        self, X: csr_matrix[Any], Y: csr_matrix[Any], unknown: csr_matrix[Any] | None, progress: Progress
    ) -> None:
        """Learn one model for each of `columns`."""
        if unknown is not None:
            unknown = from_pairs(*pairs(unknown), shape=Y.shape)
        problem = Problem(X, csc_matrix(Y), csc_matrix(unknown) if unknown is not None else None)
        recipe = Recipe(
            self.C,
            self.negatives,
            self.negatives_per_positive,
            self.random_negatives,
            self.exact,
            self.prune,
            self.seed,
        )
        centroids = self.centroids[np.searchsorted(self.known, self.columns)]
        blocks = train_all(problem, self.columns, centroids, recipe, n_jobs=self.n_jobs)
        models: list[LinearModel] = []
        for block in progress(blocks, "training nodes", block_count(problem, self.columns)):
            models.extend(block)
        self.weights: csr_matrix[Any] = _stack([m.columns for m in models], [m.values for m in models], X.shape[1])
        self.bias: Floats = np.array([m.bias for m in models], dtype=np.float32)

    def _compile(self) -> None:
        # Row-major by feature: `X @ that` then reads one short row for each feature of a document.
        self._by_feature = csr_matrix(self.weights.T)
        self._centroids_by_feature = csr_matrix(self.centroids[np.searchsorted(self.known, self.columns)].T)

    def score(self, inputs: Inputs) -> Scored:
        """Return margins, square roots of similarities to centroids, and what matching says of every column.

        Candidates outside the columns have all but a margin.
        """
        X = self.features.transform(inputs)
        out = np.zeros((len(self.channels), X.shape[0], len(self.columns)), dtype=np.float32)
        out[0] = (X @ self._by_feature).toarray()
        out[0] += self.bias
        similarity = (X @ self._centroids_by_feature).toarray() / np.float32(ROW_NORM)
        np.sqrt(np.maximum(similarity, 0, out=similarity), out=out[1])
        if self.matcher is None:
            return Scored(out)
        features: Any = self.features
        found = self.matcher.match(features.words(features.main_text(inputs), MOST_WORDS), X)
        match = log_scaled(found.probability)
        place = np.minimum(np.searchsorted(self.columns, found.columns), len(self.columns) - 1)
        modelled = self.columns[place] == found.columns
        at = found.rows[modelled], place[modelled]
        out[2][at], out[3][at] = match[modelled], found.overlap[modelled]
        other = ~modelled
        channels = np.stack([match, np.sqrt(np.maximum(found.similarity, 0)), found.overlap, found.covered])
        return Scored(out, Candidates(found.rows[other], found.columns[other], channels[:, other]))

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return features, weights and centroids."""
        features, arrays = self.features.get_state()
        arrays = {f"features_{key}": value for key, value in arrays.items()}
        for name, matrix in (("weights", self.weights), ("centroids", self.centroids)):
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        if self.matcher is not None:
            arrays |= {f"matcher_{key}": value for key, value in self.matcher.get_state().items()}
        config = {"features": features, "n_features": self.weights.shape[1], "matching": self.matcher is not None}
        return config, arrays | {"columns": self.columns, "known": self.known, "bias": self.bias}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        scorer = cls()
        scorer.columns, scorer.known, scorer.bias = arrays["columns"], arrays["known"], arrays["bias"]
        own = {key.removeprefix("features_"): a for key, a in arrays.items() if key.startswith("features_")}
        scorer.features = features_from_state(config["features"], own)
        scorer.weights, scorer.centroids = (
            csr_matrix(
                tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")),
                shape=(len(rows), config["n_features"]),
            )
            for name, rows in (("weights", scorer.columns), ("centroids", scorer.known))
        )
        scorer.matcher = None
        if config["matching"]:
            own = {key.removeprefix("matcher_"): a for key, a in arrays.items() if key.startswith("matcher_")}
            scorer.matcher = Matcher.from_state(own, scorer.known, scorer.centroids, scorer.n_jobs)
        scorer._compile()
        return scorer


def node_texts(taxonomy: Taxonomy, column: int) -> list[str]:
    """Return the texts about a node, and its path where that is short enough to be somebody's phrase for it."""
    node = taxonomy.node(column)
    texts = node.texts
    if texts and taxonomy.levels[column] > 1:
        path = [taxonomy[step].name for step in taxonomy.path(node.id)]
        if sum(len(name.split()) for name in path) <= PATH_WORDS:
            texts.append(" > ".join(path))
    return texts


def _centroids(X: Any, Y: Any, columns: Ints, prune: float = 1e-3) -> csr_matrix[Any]:
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
