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

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from hclf.errors import UsageError
from hclf.inputs import Inputs, length
from hclf.scorers.base import Candidates, Contribution, Progress, Scored, silent
from hclf.scorers.features import ROW_NORM, Features, MatrixFeatures, TextFeatures, features_from_state
from hclf.scorers.linear_evidence import Models, margin_evidence
from hclf.scorers.match_evidence import match_evidence
from hclf.scorers.matching import MOST_WORDS, Matcher, log_scaled
from hclf.scorers.one_vs_rest import LinearModel, Recipe, block_count, train_all
from hclf.scorers.packing import packed, prefixed, unpacked, unprefixed
from hclf.scorers.phrases import Table
from hclf.scorers.training import Rows
from hclf.taxonomy import Taxonomy, distinct, run_starts

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

PATH_WORDS = 24  # a longer path is nobody's phrase for a node
OPTIONS = (*Recipe._fields, "node_texts", "matching", "max_models", "updatable")  # that a saved scorer keeps
ARRAYS = ("columns", "known", "levels", "edges", "bias")
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
        self.matcher: Matcher | None = None
        if self._is_matching(inputs, counts):
            self.matcher = Matcher(threads=self.n_jobs, seed=self.seed)
        every = np.arange(len(taxonomy))
        text_columns, texts = self._texts(taxonomy, every if self.matcher else self.columns, inputs)
        is_matrix, matching = isinstance(inputs, csr_matrix), self.matcher is not None
        features: Any = MatrixFeatures() if is_matrix else TextFeatures(self.field_weights, stems=matching)
        self.features: Features = features
        X, of_texts = features.fit_transform(inputs, texts)
        rows = Rows(X, Y, unknown, self._words(inputs), of_texts, text_columns, self._words(self._documents(texts)))
        self._arrange(rows, taxonomy)
        self.weights, self.bias = self._train(rows, taxonomy, self.columns, progress)
        if self.matcher:
            self.matcher.fit(rows, taxonomy, self.known, self.centroids)
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
        changed = np.zeros(0, dtype=np.int64) if changed is None else changed
        X = self.features.transform(inputs)
        rows = self.rows.with_documents(X, Y, unknown, self._words(inputs))
        before = self.columns
        again, new = self._due(rows, distinct(np.concatenate([Y.indices.astype(np.int64), changed])))
        self.columns = distinct(np.concatenate([before, new]))
        if not isinstance(inputs, csr_matrix):
            rows = self._read_again(rows, taxonomy, distinct(np.concatenate([changed, new])), inputs)
        self._arrange(rows, taxonomy)
        weights, bias = self._train(rows, taxonomy, again, progress)
        # The old models, without those trained again, and the new ones, in the order of columns.
        kept = ~np.isin(before, again)
        order = np.argsort(np.concatenate([before[kept], again]))
        self.weights = csr_matrix(vstack([self.weights[kept], weights]))[order]
        self.bias = np.concatenate([self.bias[kept], bias])[order]
        if self.matcher:
            self.matcher.renew(rows, taxonomy, self.known, self.centroids)
        self.rows = rows
        self._compile()
        return self

    def _due(self, rows: Rows, touched: Ints) -> tuple[Ints, Ints]:
        """Return the columns to train, of those touched, and which of them get their first model.

        First models go to the nodes with most documents, as far as `max_models` goes.
        """
        counts = np.bincount(rows.Y.indices, minlength=rows.Y.shape[1])
        touched = touched[counts[touched] > 0]
        is_old = np.isin(touched, self.columns)
        new = touched[~is_old]
        new = new[np.argsort(-counts[new], kind="stable")[: max(self.max_models - len(self.columns), 0)]]
        return np.sort(np.concatenate([touched[is_old], new])), new

    def _read_again(self, rows: Rows, taxonomy: Taxonomy, changed: Ints, inputs: Inputs) -> Rows:
        """Return the rows with the texts of changed nodes as the taxonomy has them now."""
        read = changed if self.matcher else np.intersect1d(changed, self.columns)
        columns, texts = self._texts(taxonomy, read, inputs)
        documents = self._documents(texts)
        return rows.with_texts(changed, columns, self.features.transform(documents), self._words(documents))

    def _arrange(self, rows: Rows, taxonomy: Taxonomy) -> None:
        """Set what goes with the columns, and all centroids."""
        self.levels: Ints = taxonomy.levels[self.columns]
        position, parents = taxonomy.parents.of_many(self.columns)
        trained = np.isin(parents, self.columns)
        self.edges: Ints = np.stack([position[trained], np.searchsorted(self.columns, parents[trained])])
        self.known: Ints = rows.known
        self.centroids: csr_matrix[Any] = rows.centroids(taxonomy, self.known)

    def _is_matching(self, inputs: Inputs, counts: Ints) -> bool:
        if isinstance(inputs, csr_matrix):
            return False
        return bool((counts < SCARCE).mean() > MANY_SCARCE) if self.matching is None else self.matching

    def _texts(self, taxonomy: Taxonomy, columns: Ints, inputs: Inputs) -> tuple[Ints, list[str]]:
        """Return the nodes' own texts, with their columns; numeric features have no use for them."""
        if not self.node_texts or isinstance(inputs, csr_matrix):
            return columns[:0], []
        found = [(j, text) for j in columns.tolist() for text in node_texts(taxonomy, j)]
        return np.array([j for j, _ in found], dtype=np.int64), [text for _, text in found]

    def _documents(self, texts: Sequence[str]) -> list[dict[str, str]]:
        """Return single texts as documents."""
        features: Any = self.features
        return [{features.main_field: text} for text in texts]

    def _words(self, inputs: Inputs) -> csr_matrix[Any]:
        """Return (documents, words): ones at the words that matching reads; no columns where nothing is matched."""
        if self.matcher is None:
            return csr_matrix(np.zeros((length(inputs), 0), dtype=np.float32))
        features: Any = self.features
        words: csr_matrix[Any] = features.words(features.main_text(inputs), MOST_WORDS)
        return words

    def _train(
        self, rows: Rows, taxonomy: Taxonomy, columns: Ints, progress: Progress
    ) -> tuple[csr_matrix[Any], Floats]:
        """Return weights and biases of these columns."""
        problem = rows.problem(taxonomy, self.columns)
        recipe = Recipe(*(getattr(self, name) for name in Recipe._fields))
        centroids = self.centroids[np.searchsorted(self.known, columns)]
        blocks = train_all(problem, columns, centroids, recipe, n_jobs=self.n_jobs)
        found: dict[int, LinearModel] = {}
        for block in progress(blocks, "training nodes", block_count(problem, columns)):
            found.update(block)
        models = [found[place] for place in range(len(columns))]
        weights = _stack([m.columns for m in models], [m.values for m in models], rows.X.shape[1])
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
        return Scored(out, *self._match(self.matcher, inputs, X, out)) if self.matcher else Scored(out)

    def _match(
        self, matcher: Matcher, inputs: Inputs, X: csr_matrix[Any], out: Floats
    ) -> tuple[Candidates, csr_matrix[Any]]:
        """Fill in the channels that matching gives the columns; return those of others, and `listwise`."""
        found = matcher.match(self._words(inputs), X)
        match = log_scaled(found.probability)
        place = Table(self.columns, np.arange(len(self.columns))).at(found.columns, -1)
        modelled = place >= 0
        at = found.rows[modelled], place[modelled]
        out[2][at], out[3][at] = match[modelled], found.overlap[modelled]
        other = ~modelled
        channels = np.stack([match, np.sqrt(np.maximum(found.similarity, 0)), found.overlap, found.covered])
        starts = np.searchsorted(found.rows, np.arange(X.shape[0] + 1))
        listwise = csr_matrix((found.probability, found.columns, starts), shape=(X.shape[0], matcher.index.nodes))
        return Candidates(found.rows[other], found.columns[other], channels[:, other]), listwise

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

    def evidence(self, inputs: Inputs, rows: Ints, columns: Ints) -> list[list[Contribution]]:
        """Return for each (document, taxonomy column) pair what words, or numbers, add to its channels.

        Source `linear` is the margin: its contributions and the bias add up to it. Sources `linear.match`,
        `linear.overlap` and `linear.covered` are the channels of matching.
        """
        features: Any = self.features
        found = margin_evidence(self.name, features, Models(self.columns, self.weights), inputs, rows, columns)
        if self.matcher and not isinstance(inputs, csr_matrix):
            of_words = match_evidence(self.name, features, self.matcher, self.columns, inputs, rows, columns)
            found = [margin + words for margin, words in zip(found, of_words, strict=True)]
        return found

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return features, weights and centroids."""
        features, arrays = self.features.get_state()
        config = {"features": features, "options": {name: getattr(self, name) for name in OPTIONS}}
        return config, {
            **prefixed("features", arrays),
            **packed("weights", self.weights),
            **packed("centroids", self.centroids),
            **(prefixed("matcher", self.matcher.get_state()) if self.matcher else {}),
            **(prefixed("rows", self.rows.get_state()) if self.rows else {}),
            **{name: getattr(self, name) for name in ARRAYS},
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        scorer = cls(**config["options"])
        for name in ARRAYS:
            setattr(scorer, name, arrays[name])
        scorer.features = features_from_state(config["features"], unprefixed("features", arrays))
        scorer.weights, scorer.centroids = unpacked("weights", arrays), unpacked("centroids", arrays)
        rows, matcher = unprefixed("rows", arrays), unprefixed("matcher", arrays)
        scorer.rows = Rows.from_state(rows) if rows else None
        scorer.matcher = Matcher.from_state(matcher, scorer.known, scorer.centroids) if matcher else None
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


def _stack(indices: Sequence[Ints], values: Sequence[Floats], width: int) -> csr_matrix[Any]:
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in indices])])
    data = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    flat = np.concatenate(indices) if indices else np.zeros(0, dtype=np.int64)
    return csr_matrix((data, flat, indptr), shape=(len(indices), width))
