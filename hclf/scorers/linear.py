"""The embedded default: sparse text features, one squared-hinge linear model a node, and class centroids.

A node's model is trained on its positives, on the negatives its centroid finds most confusable, and on a
random sample of all others that stands, by weight, for the rest. That keeps the accuracy of full one-vs-rest at
a tenth of the time (`exact=True` trains on everything). What the sampling loses far from a node the second
channel, the document's similarity to the node's centroid, gives back when both are calibrated together.

Three more channels look around: the margin against the best one of its level, that of the parent, and the best one
of the children.

Where many nodes have few documents, or none, learned matching of words (`hclf.scorers.matching`) adds two more
channels, and scores the nodes without a model of their own: those among a document's candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from sklearn.preprocessing import normalize

from hclf.errors import UsageError
from hclf.inputs import Inputs
from hclf.labels import closures, from_pairs, most_specific, pairs
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
from hclf.taxonomy import Taxonomy, distinct, run_starts

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

PATH_WORDS = 24  # a longer path is nobody's phrase for a node
OPTIONS = (
    "C",
    "negatives",
    "negatives_per_positive",
    "random_negatives",
    "exact",
    "node_texts",
    "matching",
    "max_models",
    "prune",
    "updatable",
    "seed",
)
SCARCE, MANY_SCARCE = 10, 0.1  # matching is for taxonomies where this share of the nodes has fewer documents


class Rows(NamedTuple):
    """What is trained on: documents (features, labels, unknown labels, words), texts of nodes and whose they are."""

    X: csr_matrix[Any]
    Y: csr_matrix[Any]
    unknown: csr_matrix[Any] | None
    W: csr_matrix[Any]
    of_texts: csr_matrix[Any]
    text_columns: Ints
    words: csr_matrix[Any]


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
        updatable: keep the training rows with the model, in memory and on disk, so that `partial_update` works.
        n_jobs: processes for large problems; results do not depend on it.
        seed: of the random negatives and of the coordinate descent.
    """

    name: ClassVar[str] = "linear"
    channels: ClassVar[tuple[str, ...]] = (
        "margin",
        "similarity",
        "match",
        "overlap",
        "relative",
        "parent",
        "child",
    )
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
        updatable: bool = False,
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        if max_models < 1:
            raise UsageError(f"max_models is at least 1, not {max_models}")
        self.C, self.exact, self.prune = C, exact, prune
        self.negatives, self.negatives_per_positive = negatives, negatives_per_positive
        self.random_negatives, self.node_texts = random_negatives, node_texts
        self.matching, self.max_models, self.updatable = matching, max_models, updatable
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
        W = features.words(features.main_text(inputs), MOST_WORDS) if matching else X[:, :0]
        words = features.words([text for _, text in texts], MOST_WORDS) if matching else of_texts[:, :0]
        rows = Rows(X, Y, unknown, W, of_texts, columns, words)
        centroids = self._gather(rows, taxonomy)
        self.weights, self.bias = self._train(rows, taxonomy, self.columns, progress)
        self.matcher: Matcher | None = None
        if matching:
            self.matcher = Matcher(threads=self.n_jobs, seed=self.seed).fit(
                (W, X), most_specific(taxonomy, Y), (words, columns), Outline.of(taxonomy), self.known, centroids
            )
        self.rows = rows if self.updatable else None
        self._compile()
        return self

    def partial_update(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        changed: Ints | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Learn from more documents: train the nodes they carry and those in `changed`, leave the others as they are.

        Features and what words weigh stay those of `fit`. A trained node gets the very model that fitting anew
        on all documents with these features would give it; another one merely has not seen the new documents as
        negatives. Centroids and phrases are renewed for all nodes.

        Args:
            inputs, Y, unknown: the new documents, as in `fit`.
            taxonomy: of `fit`; the texts of its changed nodes are read again.
            changed: columns to train besides.
            progress: as in `fit`.

        Raises:
            UsageError: the scorer was not made with `updatable=True`.
        """
        if self.rows is None:
            raise UsageError('only a model fitted with scorer_options={"updatable": True} can be updated')
        features: Any = self.features
        old, X = self.rows, self.features.transform(inputs)
        hidden = None
        if old.unknown is not None or unknown is not None:
            parts = [part if part is not None else label[:0] for part, label in ((old.unknown, old.Y), (unknown, Y))]
            hidden = _below(*(_resized(part, label.shape) for part, label in zip(parts, (old.Y, Y), strict=True)))
        W = features.words(features.main_text(inputs), MOST_WORDS) if self.matcher else X[:, :0]
        rows = old._replace(X=_below(old.X, X), Y=_below(old.Y, Y), unknown=hidden, W=_below(old.W, W))
        again = distinct(
            np.concatenate([Y.indices.astype(np.int64), np.zeros(0, int) if changed is None else changed])
        )
        counts = np.bincount(rows.Y.indices, minlength=Y.shape[1])
        again = again[counts[again] > 0]
        before = self.columns
        # Nodes that get their first model: those with most documents, as far as `max_models` goes.
        new = again[~np.isin(again, before)]
        new = new[np.argsort(-counts[new], kind="stable")[: max(self.max_models - len(before), 0)]]
        self.columns = distinct(np.concatenate([before, new]))
        again = again[np.isin(again, self.columns)]
        reread = new if changed is None else distinct(np.concatenate([changed, new]))
        if len(reread):
            rows = self._read_again(rows, taxonomy, reread, inputs)
        centroids = self._gather(rows, taxonomy)
        weights, bias = self._train(rows, taxonomy, again, progress)
        # The old models, without those trained again, and the new ones, in the order of columns.
        kept = ~np.isin(before, again)
        order = np.argsort(np.concatenate([before[kept], again]))
        self.weights = csr_matrix(vstack([self.weights[kept], weights]))[order]
        self.bias = np.concatenate([self.bias[kept], bias])[order]
        if self.matcher is not None:
            self.matcher.renew(
                rows.W, most_specific(taxonomy, rows.Y), (rows.words, rows.text_columns), self.known, centroids
            )
        self.rows = rows
        self._compile()
        return self

    def _read_again(self, rows: Rows, taxonomy: Taxonomy, changed: Ints, inputs: Inputs) -> Rows:
        """Return the rows with the texts of changed nodes as the taxonomy has them now."""
        features: Any = self.features
        keep = np.flatnonzero(~np.isin(rows.text_columns, changed))
        texts = self._texts(taxonomy, changed if self.matcher else np.intersect1d(changed, self.columns), inputs)
        if isinstance(inputs, csr_matrix):
            return rows
        of_texts = features.transform([{features.main_field: text} for _, text in texts])
        words = features.words([text for _, text in texts], MOST_WORDS) if self.matcher else of_texts[:, :0]
        columns = np.array([column for column, _ in texts], dtype=np.int64)
        columns = np.concatenate([rows.text_columns[keep], columns])
        order = np.argsort(columns, kind="stable")  # as fit has them
        return rows._replace(
            of_texts=_below(rows.of_texts[keep], of_texts)[order],
            text_columns=columns[order],
            words=_below(rows.words[keep], words)[order],
        )

    def _gather(self, rows: Rows, taxonomy: Taxonomy) -> Callable[[Ints], csr_matrix[Any]]:
        """Set what goes with the columns, and all centroids; return how to make centroids of some documents."""
        self.levels: Ints = taxonomy.levels[self.columns]
        position, parents = taxonomy.parents.of_many(self.columns)
        trained = np.isin(parents, self.columns)
        self.edges: Ints = np.stack([position[trained], np.searchsorted(self.columns, parents[trained])])
        self.known: Ints = distinct(np.concatenate([rows.Y.indices.astype(np.int64), rows.text_columns]))
        labels = closures(taxonomy, rows.text_columns)

        def centroids(of: Ints) -> csr_matrix[Any]:
            return _centroids(_below(rows.X[of], rows.of_texts), _below(rows.Y[of], labels), self.known)

        self.centroids: csr_matrix[Any] = centroids(np.arange(rows.X.shape[0]))
        return centroids

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
        self, rows: Rows, taxonomy: Taxonomy, columns: Ints, progress: Progress
    ) -> tuple[csr_matrix[Any], Floats]:
        """Return weights and biases of these columns."""
        of_models = np.isin(rows.text_columns, self.columns)
        X = _below(rows.X, rows.of_texts[of_models])
        Y = _below(rows.Y, closures(taxonomy, rows.text_columns[of_models]))
        unknown = None if rows.unknown is None else csc_matrix(_resized(rows.unknown, Y.shape))
        problem = Problem(X, csc_matrix(Y), unknown)
        recipe = Recipe(
            self.C,
            self.negatives,
            self.negatives_per_positive,
            self.random_negatives,
            self.exact,
            self.prune,
            self.seed,
        )
        centroids = self.centroids[np.searchsorted(self.known, columns)]
        blocks = train_all(problem, columns, centroids, recipe, n_jobs=self.n_jobs)
        models: list[LinearModel] = []
        for block in progress(blocks, "training nodes", block_count(problem, columns)):
            models.extend(block)
        weights = _stack([m.columns for m in models], [m.values for m in models], X.shape[1])
        return weights, np.array([m.bias for m in models], dtype=np.float32)

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
        self._look_around(out)
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

    def _look_around(self, out: Floats) -> None:
        """Fill in the channels that compare a margin with others of the same document."""
        margin, relative, parent, child = out[0], out[4], out[5], out[6]
        starts = np.flatnonzero(run_starts(self.levels))
        best = np.maximum.reduceat(margin, starts, axis=1)
        np.subtract(margin, np.repeat(best, np.diff(starts, append=len(self.levels)), axis=1), out=relative)
        parent[:] = 1  # of a root: certain
        child[:] = margin
        for into, reduce, (of, source) in (
            (parent, np.minimum, self.edges),
            (child, np.maximum, self.edges[::-1][:, np.argsort(self.edges[1], kind="stable")]),
        ):
            if len(of):
                first = np.flatnonzero(run_starts(of))
                into[:, of[first]] = reduce.reduceat(margin[:, source], first, axis=1)

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return features, weights and centroids."""
        features, arrays = self.features.get_state()
        arrays = {f"features_{key}": value for key, value in arrays.items()}
        for name, matrix in (("weights", self.weights), ("centroids", self.centroids)):
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        if self.matcher is not None:
            arrays |= {f"matcher_{key}": value for key, value in self.matcher.get_state().items()}
        if self.rows is not None:
            for name, matrix in self.rows._asdict().items():
                if isinstance(matrix, csr_matrix):
                    arrays |= {f"rows_{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
                    arrays[f"rows_{name}_shape"] = np.array(matrix.shape)
            arrays["rows_text_columns"] = self.rows.text_columns
        config = {
            "features": features,
            "n_features": self.weights.shape[1],
            "matching": self.matcher is not None,
            "options": {name: getattr(self, name) for name in OPTIONS},
        }
        return config, arrays | {
            "columns": self.columns,
            "known": self.known,
            "levels": self.levels,
            "edges": self.edges,
            "bias": self.bias,
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        scorer = cls(**config["options"])
        scorer.columns, scorer.known, scorer.bias = arrays["columns"], arrays["known"], arrays["bias"]
        scorer.levels, scorer.edges = arrays["levels"], arrays["edges"]
        own = {key.removeprefix("features_"): a for key, a in arrays.items() if key.startswith("features_")}
        scorer.features = features_from_state(config["features"], own)
        scorer.weights, scorer.centroids = (
            csr_matrix(
                tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr")),
                shape=(len(rows), config["n_features"]),
            )
            for name, rows in (("weights", scorer.columns), ("centroids", scorer.known))
        )
        scorer.rows = None
        if "rows_text_columns" in arrays:
            kept: dict[str, Any] = {
                name: _stored(arrays, f"rows_{name}") for name in Rows._fields if name != "text_columns"
            }
            scorer.rows = Rows(**kept, text_columns=arrays["rows_text_columns"])
        scorer.matcher = None
        if config["matching"]:
            own = {key.removeprefix("matcher_"): a for key, a in arrays.items() if key.startswith("matcher_")}
            scorer.matcher = Matcher.from_state(own, scorer.known, scorer.centroids)
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


def _stored(arrays: Mapping[str, NDArray[Any]], name: str) -> csr_matrix[Any] | None:
    if f"{name}_shape" not in arrays:
        return None
    parts = tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return csr_matrix(parts, shape=tuple(arrays[f"{name}_shape"].tolist()))


def _below(upper: csr_matrix[Any], lower: csr_matrix[Any]) -> csr_matrix[Any]:
    return csr_matrix(vstack([upper, lower]))


def _resized(Y: csr_matrix[Any], shape: tuple[int, int]) -> csr_matrix[Any]:
    return from_pairs(*pairs(Y), shape=shape)
