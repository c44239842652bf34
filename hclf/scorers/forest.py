"""A forest for feature matrices: documents are like those training documents whose leaves they fall into.

Every tree splits on random projections of the label matrix (Joly, Geurts and Wehenkel, 2014), drawn anew for each
tree: `targets` numbers a document instead of one a node, so that growing a tree costs the same with 40 nodes as with
95,000. Leaves hold label sets with their counts, not numbers of nodes: a document's scores are the mean of the label
sets it meets, over all trees.

    memory   n_trees × max_documents leaf entries of at most 8 bytes and twice as many tree nodes of 20 bytes (as they
             come: 200 MB, however many documents and nodes there are), each label set once; in training also the
             matrix as float32
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, vstack
from sklearn.tree import ExtraTreeRegressor

from hclf.errors import UsageError
from hclf.inputs import Inputs, in_threads
from hclf.labels import from_pairs, pairs
from hclf.scorers.base import Progress, Scored, silent
from hclf.scorers.numbers import NumberColumns
from hclf.scorers.packing import packed, prefixed, unpacked, unprefixed
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAF_SIZES = (1, 2, 3, 5)  # that are tried
TRIAL_TREES, TRIAL_SHARE, TRIAL_DOCUMENTS = 20, 0.25, 4_000  # trees a size, documents they are judged by
BATCH = 512  # documents they are judged by at once
OPTIONS = ("n_trees", "max_features", "min_samples_leaf", "targets", "max_documents", "nominal", "seed")


class Trees(NamedTuple):
    """All trees, one behind the other; documents go left where their feature is at most the threshold.

    Attributes:
        roots: (trees,) first node of each.
        left, right: (nodes,) children.
        feature: (nodes,) column; -1 at leaves.
        threshold: (nodes,) float32.
        leaf: (nodes,) number of the leaf; -1 elsewhere.
    """

    roots: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.int32]

    @classmethod
    def of(cls, trees: Sequence[Any]) -> Self:
        """Take over what scikit-learn's trees have learned."""
        sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
        roots = np.cumsum(sizes) - sizes
        start = np.repeat(roots, sizes)
        left, right, feature, threshold = (
            np.concatenate([getattr(tree, name) for tree in trees])
            for name in ("children_left", "children_right", "feature", "threshold")
        )
        at_end = left < 0
        return cls(
            roots.astype(np.int32),
            (start + left).astype(np.int32),
            (start + right).astype(np.int32),
            np.where(at_end, -1, feature).astype(np.int32),
            _at_most(threshold),
            np.where(at_end, np.cumsum(at_end) - 1, -1).astype(np.int32),
        )

    def leaves(self, X: NDArray[np.float32]) -> NDArray[np.int32]:
        """Return (documents, trees): the leaf of each document in each tree."""
        node = np.repeat(self.roots[None], len(X), axis=0).ravel()
        moving = np.flatnonzero(self.feature[node] >= 0)
        while len(moving):
            here = node[moving]
            goes_left = X[moving // len(self.roots), self.feature[here]] <= self.threshold[here]
            node[moving] = np.where(goes_left, self.left[here], self.right[here])
            moving = moving[self.feature[node[moving]] >= 0]
        return self.leaf[node].reshape(len(X), len(self.roots))


class LabelSets(NamedTuple):
    """The label sets of documents, each once.

    Attributes:
        of: (documents,) the set of each document.
        said: (sets, columns) its nodes.
        unknown: (sets, columns) what it does not speak of.
    """

    of: Ints
    said: csr_matrix[Any]
    unknown: csr_matrix[Any]

    @classmethod
    def among(cls, Y: csr_matrix[Any], unknown: csr_matrix[Any] | None) -> Self:
        """Find the different ones among the rows of label matrices."""
        hidden = from_pairs(*pairs(Y[:0] if unknown is None else unknown), shape=Y.shape)
        numbers: dict[tuple[bytes, bytes], int] = {}
        rows = zip(_row_bytes(Y), _row_bytes(hidden), strict=True)
        of = np.array([numbers.setdefault(row, len(numbers)) for row in rows], dtype=np.int64)
        _, first = np.unique(of, return_index=True)
        return cls(of, csr_matrix(Y[first], dtype=bool), hidden[first])

    def shares(self, documents: Ints) -> Floats:
        """Return (columns,) the share of these documents that says a node, of those that speak of it."""
        times = np.bincount(self.of[documents], minlength=self.said.shape[0]).astype(np.float64)
        share: Floats = (self.said.T @ times + 0.5) / (len(documents) - self.unknown.T @ times + 1)
        return share

    def targets(self, documents: Ints, most: int, rng: np.random.Generator) -> Floats:
        """Return (documents, at most `most`) the labels of documents, or random projections of them.

        What a label set does not speak of counts as the node's share.
        """
        known = csr_matrix(self.said, dtype=np.float64) + self.unknown.multiply(self.shares(documents))
        if self.said.shape[1] <= most:
            return csr_matrix(known).toarray()[self.of[documents]]
        projected: Floats = known @ rng.normal(size=(self.said.shape[1], most))
        return projected[self.of[documents]]


class Recipe(NamedTuple):
    """How trees are grown; see `ForestScorer`."""

    n_trees: int
    max_features: float
    min_samples_leaf: int
    targets: int
    max_documents: int
    seed: int


@dataclass(frozen=True)
class Forest:
    """Grown trees.

    Attributes:
        trees: from documents to leaves.
        leaves: (leaves, sets) training documents of each label set in each leaf, integers.
        said, unknown: of label sets, as in `LabelSets`.
        share: (columns,) of training documents.
    """

    trees: Trees
    leaves: csr_matrix[Any]
    said: csr_matrix[Any]
    unknown: csr_matrix[Any]
    share: Floats

    @classmethod
    def grown(
        cls, X: Any, sets: LabelSets, documents: Ints, recipe: Recipe, threads: int = 1, progress: Progress = silent
    ) -> Self:
        """Grow trees on some documents.

        Args:
            X: (all documents, features) float32, dense or CSR.
            sets: of all documents.
            documents: ascending.
            recipe: how.
            threads: that grow trees at once.
            progress: wraps the loop over trees.
        """

        def grow(number: int) -> tuple[Any, csr_matrix[Any]]:
            rng = np.random.default_rng([recipe.seed, number])
            some = documents
            if len(documents) > recipe.max_documents:
                some = np.sort(rng.choice(documents, recipe.max_documents, replace=False))
            rows = csc_matrix(X[some]) if isinstance(X, csr_matrix) else X[some]
            tree = ExtraTreeRegressor(
                max_features=recipe.max_features,
                min_samples_leaf=recipe.min_samples_leaf,
                random_state=int(rng.integers(2**31)),
            ).fit(rows, sets.targets(some, recipe.targets, rng))
            return tree.tree_, _leaf_counts(tree.tree_, tree.apply(X[some]), sets.of[some], sets.said.shape[0])

        work = in_threads(grow, range(recipe.n_trees), threads)
        trees, leaves = zip(*progress(work, "growing trees", recipe.n_trees), strict=True)
        counts = csr_matrix(vstack(leaves))
        counts.data = counts.data.astype(np.min_scalar_type(int(counts.data.max(initial=0))))
        return cls(Trees.of(trees), counts, sets.said, sets.unknown, sets.shares(documents))

    def probabilities(self, X: NDArray[np.float32]) -> Floats:
        """Return (documents, columns): above 0 and below 1."""
        n, trees = len(X), len(self.trees.roots)
        at = csr_matrix(
            (np.ones(n * trees), self.trees.leaves(X).ravel(), np.arange(0, n * trees + 1, trees)),
            shape=(n, self.leaves.shape[0]),
        )
        alike = at @ self._weights
        says = (alike @ self._said).toarray()
        speaks = trees - (alike @ self._unknown).toarray()
        result: Floats = (says + self.share) / (speaks + 1)
        return result

    @cached_property
    def _weights(self) -> csr_matrix[Any]:
        """(leaves, sets): the share of each label set in each leaf."""
        counts = csr_matrix(self.leaves, dtype=np.float64)
        totals = np.add.reduceat(counts.data, counts.indptr[:-1])  # no leaf is empty
        counts.data /= np.repeat(totals, np.diff(counts.indptr))
        return counts

    @cached_property
    def _said(self) -> csr_matrix[Any]:
        return csr_matrix(self.said, dtype=np.float64)

    @cached_property
    def _unknown(self) -> csr_matrix[Any]:
        return csr_matrix(self.unknown, dtype=np.float64)


class ForestScorer:
    """A multi-output forest of extremely randomised trees (Geurts, Ernst and Wehenkel, 2006), for feature matrices.

    Its channel is the log-odds of a node: of the mean, over trees, of the share that carries it of the training
    documents in a document's leaf, drawn towards the node's share of all training documents with the weight of one
    tree, so that it is finite. Documents whose labels do not speak of a node count neither for nor against it.

    Missing values become the column's mean and nominal columns ones and zeros, see `NumberColumns`. A matrix that is
    mostly zeros stays sparse.

    Args:
        n_trees: more are better, and slower.
        max_features: share of the columns a split is chosen among.
        min_samples_leaf: documents of a leaf, at least; None: of `LEAF_SIZES` the best on a held-out part.
        targets: random projections of the labels that a tree splits on; with fewer nodes: the labels themselves.
        max_documents: random documents of a tree, at most.
        nominal: columns that hold codes.
        n_jobs: threads; results do not depend on it.
        seed: of everything random.

    Attributes:
        leaf_size: documents of a leaf, at least, as chosen.
    """

    name: ClassVar[str] = "forest"
    channels: ClassVar[tuple[str, ...]] = ("log_odds",)
    candidate_channels: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        n_trees: int = 200,
        max_features: float = 1.0,
        min_samples_leaf: int | None = None,
        targets: int = 32,
        max_documents: int = 20_000,
        nominal: Sequence[int] = (),
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        least = {"n_trees": n_trees, "targets": targets, "max_documents": max_documents}
        for option, value in {**least, "min_samples_leaf": min_samples_leaf or 1}.items():
            if value < 1:
                raise UsageError(f"{option} is at least 1, not {value}")
        if not 0 < max_features <= 1:
            raise UsageError(f"max_features is above 0 and at most 1, not {max_features}")
        self.n_trees, self.max_features, self.min_samples_leaf = n_trees, max_features, min_samples_leaf
        self.targets, self.max_documents, self.nominal = targets, max_documents, list(nominal)
        self.n_jobs, self.seed = n_jobs, seed
        self._begins_with: Mapping[str, Any] = {}

    def begin_with(self, findings: Mapping[str, Any], *, kept: bool) -> None:
        """Take over the size of leaves that an earlier fit found; see `hclf.scorers.base.prepare`."""
        self._begins_with = findings

    @property
    def findings(self) -> dict[str, Any]:
        """The size of leaves that fit found."""
        return {"leaf_size": self.leaf_size}

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Grow the trees.

        Raises:
            UsageError: the documents are texts, or the matrix has no columns.
        """
        matrix = _matrix(inputs)
        self.numbers = NumberColumns(nominal=self.nominal).fit(matrix)
        if not self.numbers.width:
            raise UsageError("the feature matrix has no columns")
        X = self.numbers.transform(matrix) if self.numbers.centred else self.numbers.sparse(matrix)
        self.columns: Ints = distinct(Y.indices.astype(np.int64))
        sets = LabelSets.among(Y[:, self.columns], None if unknown is None else unknown[:, self.columns])
        known = self.min_samples_leaf or self._begins_with.get("leaf_size")
        self.leaf_size = known or self._best_leaf_size(X, sets)
        self.forest = Forest.grown(X, sets, np.arange(len(sets.of)), self._recipe, self.n_jobs, progress)
        return self

    @property
    def _recipe(self) -> Recipe:
        return Recipe(self.n_trees, self.max_features, self.leaf_size, self.targets, self.max_documents, self.seed)

    def _best_leaf_size(self, X: Any, sets: LabelSets) -> int:
        """Return the leaf size whose trees lose least, in nats, on documents they have not seen."""
        order = np.random.default_rng(self.seed).permutation(len(sets.of))
        held_out = min(int(TRIAL_SHARE * len(order)), TRIAL_DOCUMENTS)
        test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
        losses = {}
        for self.leaf_size in LEAF_SIZES if held_out else ():
            recipe = self._recipe._replace(n_trees=TRIAL_TREES)
            forest = Forest.grown(X, sets, train, recipe, self.n_jobs)
            losses[self.leaf_size] = sum(_loss(forest, X, sets, rows) for rows in _batches(test))
        return min(losses, key=losses.__getitem__, default=LEAF_SIZES[0])

    def score(self, inputs: Inputs) -> Scored:
        """Return log-odds (1, documents, columns)."""
        matrix = _matrix(inputs)
        probability = self.forest.probabilities(self.numbers.transform(matrix))
        return Scored(np.log(probability / (1 - probability)).astype(np.float32)[None])

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return options, trees, leaves and label sets."""
        numbers, arrays = self.numbers.get_state()
        options = {name: getattr(self, name) for name in OPTIONS}
        forest = self.forest
        return {"options": options, "leaf_size": self.leaf_size, "numbers": numbers}, {
            "columns": self.columns,
            "share": forest.share,
            **prefixed("numbers", arrays),
            **prefixed("trees", forest.trees._asdict()),
            **packed("leaves", forest.leaves),
            **packed("said", forest.said),
            **packed("unknown", forest.unknown),
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        scorer = cls(**config["options"])
        scorer.leaf_size, scorer.columns = config["leaf_size"], arrays["columns"]
        scorer.numbers = NumberColumns.from_state(config["numbers"], unprefixed("numbers", arrays))
        leaves, said, unknown = (unpacked(name, arrays) for name in ("leaves", "said", "unknown"))
        scorer.forest = Forest(Trees(**unprefixed("trees", arrays)), leaves, said, unknown, arrays["share"])
        return scorer


def _matrix(inputs: Inputs) -> csr_matrix[Any]:
    if isinstance(inputs, csr_matrix):
        return inputs
    raise UsageError("scorer 'forest' learns from feature matrices; for texts use 'linear', 'lexicon' or 'neural'")


def _at_most(threshold: Floats) -> NDArray[np.float32]:
    """Return the largest float32 that is not above each threshold: no float32 lies between the two."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _leaf_counts(tree: Any, reached: Ints, of: Ints, sets: int) -> csr_matrix[Any]:
    """Return (leaves, sets): how many documents of each label set reached each leaf."""
    number = np.cumsum(tree.children_left < 0) - 1
    counts = csr_matrix((np.ones(len(of), np.int64), (number[reached], of)), shape=(int(number[-1]) + 1, sets))
    counts.sum_duplicates()
    return counts


def _loss(forest: Forest, X: Any, sets: LabelSets, documents: Ints) -> float:
    """Return the log loss of what the labels of documents speak of, in nats."""
    rows = X[documents]
    p = forest.probabilities(rows.toarray() if isinstance(rows, csr_matrix) else rows)
    of = sets.of[documents]
    said, unknown = sets.said[of].toarray(), sets.unknown[of].toarray()
    return -float(np.log(np.where(said, p, 1 - p))[~unknown].sum())


def _batches(documents: Ints) -> Iterator[Ints]:
    return (documents[start : start + BATCH] for start in range(0, len(documents), BATCH))


def _row_bytes(Y: csr_matrix[Any]) -> Iterator[bytes]:
    """Yield for each row what tells it from others: its columns."""
    columns = Y.indices.astype(np.int32)
    return (columns[start:end].tobytes() for start, end in pairwise(Y.indptr.tolist()))
