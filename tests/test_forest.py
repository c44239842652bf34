"""The forest against scikit-learn's trees and against counting by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.tree import ExtraTreeRegressor

from hclf.classifier import HierarchicalClassifier
from hclf.errors import UsageError
from hclf.labels import from_pairs, label_matrix, partial_depth
from hclf.scorers import forest as module
from hclf.scorers.forest import Forest, ForestScorer, LabelSets, Recipe, Trees
from hclf.scorers.numbers import NumberColumns
from hclf.taxonomy import Taxonomy

TREE = Taxonomy(["a", "b", "c", "d"], [("a", "b"), ("a", "c")])
RECIPE = Recipe(n_trees=7, max_features=0.5, min_samples_leaf=2, targets=32, max_documents=1_000, seed=3)


def blobs(n: int = 80, *, nodes: int = 4, seed: int = 0, sparse: bool = False) -> tuple[csr_matrix, list[list[str]]]:
    """Rows around one centre a node of `TREE`."""
    rng = np.random.default_rng(seed)
    node = rng.integers(nodes, size=n)
    X = np.random.default_rng(99).normal(size=(nodes, 9))[node] * 3 + rng.normal(size=(n, 9))
    if sparse:
        X[np.abs(X) < 4] = 0
    return csr_matrix(X), [["abcd"[i]] for i in node]


def fitted(X: csr_matrix, y: list[list[str]], taxonomy: Taxonomy = TREE, **options: Any) -> ForestScorer:
    options = {"n_trees": 10, "n_jobs": 1, **options}
    return ForestScorer(**options).fit(X, label_matrix(taxonomy, y), taxonomy=taxonomy)


def through_disk(scorer: ForestScorer, folder: Path) -> ForestScorer:
    config, arrays = scorer.get_state()
    assert all(values.dtype != object for values in arrays.values())
    np.savez(folder / "part.npz", **arrays)
    with np.load(folder / "part.npz", allow_pickle=False) as found:
        return ForestScorer.from_state(json.loads(json.dumps(config)), dict(found))


def sklearn_trees(rows: np.ndarray, labels: np.ndarray, recipe: Recipe) -> list[ExtraTreeRegressor]:
    """The same trees, where the labels themselves are the targets."""
    trees = []
    for number in range(recipe.n_trees):
        seed = int(np.random.default_rng([recipe.seed, number]).integers(2**31))
        tree = ExtraTreeRegressor(
            max_features=recipe.max_features, min_samples_leaf=recipe.min_samples_leaf, random_state=seed
        )
        trees.append(tree.fit(rows, labels.astype(float)))
    return trees


# -- against scikit-learn ----------------------------------------------------------------------------------------


def test_probabilities_are_scikit_learns_own_drawn_to_the_share_of_each_node() -> None:
    (X, y), (new, _) = blobs(), blobs(seed=1)
    scorer = fitted(X, y, n_trees=7, max_features=0.5, min_samples_leaf=2, seed=3)
    numbers, Y = NumberColumns().fit(X), label_matrix(TREE, y).toarray()
    trees = sklearn_trees(numbers.transform(X), Y, RECIPE)
    mean = np.mean([tree.predict(numbers.transform(new)) for tree in trees], axis=0)
    share = (Y.sum(axis=0) + 0.5) / (len(Y) + 1)
    expected = (7 * mean + share) / 8
    assert expit(scorer.score(new).channels[0]) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 1_000), st.integers(1, 6), st.booleans())
@settings(max_examples=20)
def test_every_document_reaches_the_leaf_that_scikit_learn_says(seed: int, least: int, rounded: bool) -> None:
    rng = np.random.default_rng(seed)
    X, new = (rng.normal(size=(n, 4)).astype(np.float32) for n in (50, 200))
    if rounded:  # many equal values: thresholds next to them
        X, new = np.round(X), np.round(new)
    trees = [
        ExtraTreeRegressor(min_samples_leaf=least, random_state=k).fit(X, rng.random((50, 2))).tree_ for k in range(3)
    ]
    ours = Trees.of(trees)
    found = ours.leaves(np.concatenate([X, new]))
    node_of_leaf = np.flatnonzero(ours.leaf >= 0)
    for k, tree in enumerate(trees):
        assert np.array_equal(node_of_leaf[found[:, k]] - ours.roots[k], tree.apply(np.concatenate([X, new])))


def test_thresholds_keep_their_side_as_float32() -> None:
    between = 1 + np.array([0.0, 1e-9, -1e-9, 5e-8, 1.2e-7])
    rounded = module._at_most(between)
    assert rounded.dtype == np.float32
    for x in np.float32(1) + np.arange(-3, 4, dtype=np.float32) * np.finfo(np.float32).eps / 2:
        assert np.array_equal(x <= between, x <= rounded)


# -- against counting ----------------------------------------------------------------------------------------------


@given(dags(), st.integers(0, 1_000), st.booleans(), st.sampled_from([1, 4, 1_000]))
@settings(max_examples=15)
def test_probabilities_are_counted_in_the_leaves(dag: Dag, seed: int, partial: bool, targets: int) -> None:
    rng = np.random.default_rng(seed)
    taxonomy = dag.taxonomy
    y = [rng.choice(taxonomy.nodes, rng.integers(0, 3)).tolist() for _ in range(30)]
    Y = label_matrix(taxonomy, y)
    unknown = partial_depth(taxonomy, Y) if partial else None
    X, new = (rng.normal(size=(n, 3)).astype(np.float32) for n in (30, 5))
    sets = LabelSets.among(Y, unknown)
    recipe = RECIPE._replace(targets=targets)
    forest = Forest.grown(X, sets, np.arange(30), recipe)
    hidden = np.zeros(Y.shape, dtype=bool) if unknown is None else unknown.toarray().astype(bool)
    said, leaf, leaf_of_new = Y.toarray(), forest.trees.leaves(X), forest.trees.leaves(new)
    for i, row in enumerate(forest.probabilities(new)):
        for j in range(len(taxonomy)):
            known = ~hidden[:, j]
            share = (said[:, j].sum() + 0.5) / (known.sum() + 1)
            says, speaks = share, 1.0
            for k in range(recipe.n_trees):
                alike = leaf[:, k] == leaf_of_new[i, k]
                says += said[alike, j].mean()
                speaks += known[alike].mean()
            assert row[j] == pytest.approx(says / speaks)


@given(dags(), st.integers(0, 1_000))
@settings(max_examples=15)
def test_without_unknown_labels_scores_are_coherent(dag: Dag, seed: int) -> None:
    rng = np.random.default_rng(seed)
    taxonomy = dag.taxonomy
    y = [rng.choice(taxonomy.nodes, rng.integers(1, 3)).tolist() for _ in range(20)]
    scorer = fitted(csr_matrix(rng.normal(size=(20, 3))), y, taxonomy, min_samples_leaf=2)
    scores = np.full((20, len(taxonomy)), -np.inf, dtype=np.float32)
    scores[:, scorer.columns] = scorer.score(csr_matrix(rng.normal(size=(20, 3)))).channels[0]
    assert np.isfinite(scores[:, scorer.columns]).all()
    assert taxonomy.coherent(scores) == pytest.approx(scores, abs=1e-5)


def test_equal_label_sets_are_kept_once() -> None:
    Y = label_matrix(TREE, [["b"], ["c"], ["b"], ["a", "b"], []])
    sets = LabelSets.among(Y, None)
    assert sets.of.tolist() == [0, 1, 0, 0, 2]
    assert np.array_equal(sets.said[sets.of].toarray(), Y.toarray())
    hidden = from_pairs(np.array([2]), np.array([3]), Y.shape)
    apart = LabelSets.among(Y, hidden)
    assert apart.of.tolist() == [0, 1, 2, 0, 3]
    assert np.array_equal(apart.unknown[apart.of].toarray(), hidden.toarray())


# -- what a scorer owes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_it_learns(sparse: bool, tmp_path: Path) -> None:
    (X, y), (new, new_y) = blobs(sparse=sparse), blobs(seed=1, sparse=sparse)
    scorer = fitted(X, y, n_trees=30)
    assert scorer.numbers.centred is not sparse
    scores = scorer.score(new)
    assert (scores.channels.shape, scores.channels.dtype) == ((1, 80, 4), np.float32)
    true = label_matrix(TREE, new_y).toarray()[:, scorer.columns]
    assert ((scores.channels[0] > 0) == true).mean() > 0.9
    for i in range(len(new_y)):
        assert np.array_equal(scorer.score(new[i]).channels[:, 0], scores.channels[:, i])
    again = through_disk(scorer, tmp_path)
    assert np.array_equal(again.score(new).channels, scores.channels)
    assert np.array_equal(again.columns, scorer.columns)
    assert scorer.score(new[:0]).channels.shape == (1, 0, 4)


def test_seeds_count_and_jobs_do_not() -> None:
    (X, y), (new, _) = blobs(), blobs(seed=1)
    same, more, other = (fitted(X, y, **options).score(new).channels for options in ({}, {"n_jobs": 3}, {"seed": 1}))
    assert np.array_equal(same, more)
    assert not np.array_equal(same, other)


def test_random_projections_serve_many_nodes() -> None:
    X, y = blobs(n=120)
    wide = Taxonomy([*"abcd", *(f"n{i}" for i in range(100))], [("a", "b"), ("a", "c")])
    more = [[*labels, f"n{i % 100}"] for i, labels in enumerate(y)]
    scorer = fitted(X, more, wide, targets=8, n_trees=30)
    new, new_y = blobs(seed=1)
    first = scorer.score(new).channels[0][:, np.searchsorted(scorer.columns, [wide.index(n) for n in "abcd"])]
    assert ((first > 0) == label_matrix(TREE, new_y).toarray()[:, [TREE.index(n) for n in "abcd"]]).mean() > 0.95


def test_trees_see_no_more_documents_than_they_may() -> None:
    X, y = blobs(n=200)
    scorer = fitted(X, y, max_documents=50, min_samples_leaf=1)
    assert scorer.forest.leaves.sum() == 10 * 50
    assert scorer.forest.leaves.dtype == np.uint8


def test_a_classifier_looks_for_the_leaf_size_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []
    monkeypatch.setattr(ForestScorer, "_best_leaf_size", lambda *about: searches.append(about) or 2)
    X, y = blobs(n=60)
    model = HierarchicalClassifier(taxonomy=TREE, scorer="forest", scorer_options={"n_trees": 5}, n_jobs=1)
    model.fit(X, y)
    assert (len(searches), model.scorer_.findings) == (1, {"leaf_size": 2})


def test_leaves_are_larger_where_features_say_nothing() -> None:
    X, y = blobs(n=300)
    shuffled = [y[i] for i in np.random.default_rng(5).permutation(300)]
    assert fitted(X, y).leaf_size == 1
    assert fitted(X, shuffled).leaf_size == max(module.LEAF_SIZES)
    scorer = ForestScorer(n_trees=5)
    scorer.begin_with({"leaf_size": 3}, kept=True)
    assert scorer.fit(X, label_matrix(TREE, y), taxonomy=TREE).findings == {"leaf_size": 3}


def test_documents_that_say_nothing_of_a_node_are_no_negatives() -> None:
    X = csr_matrix(np.repeat([[0.0, 1], [5, -1]], [13, 10], axis=0))
    Y = label_matrix(TREE, [["b"]] * 3 + [["a"]] * 10 + [["d"]] * 10)
    b = TREE.index("b")
    probability = {}
    for name, unknown in (("open", partial_depth(TREE, Y)), ("closed", None)):
        scorer = ForestScorer(n_trees=5, n_jobs=1).fit(X, Y, taxonomy=TREE, unknown=unknown)
        probability[name] = expit(scorer.score(X[:1]).channels[0, 0, scorer.columns.tolist().index(b)])
    assert probability["closed"] == pytest.approx((5 * 3 / 13 + 3.5 / 24) / 6)
    assert probability["open"] == pytest.approx((5 * 3 / 13 + 3.5 / 14) / (5 * 3 / 13 + 1))


@pytest.mark.parametrize("documents", [1, 2, 3])
def test_few_documents_are_enough(documents: int) -> None:
    scorer = fitted(csr_matrix(np.ones((documents, 2))), [["b"]] * documents)
    assert (scorer.score(csr_matrix(np.zeros((1, 2)))).channels > 0).all()
    assert scorer.leaf_size == 1 or documents > 7


def test_nominal_columns_and_missing_values() -> None:
    rng = np.random.default_rng(0)
    code = rng.integers(0, 4, size=100)
    X = np.stack([code * 1.0, np.where(rng.random(100) < 0.5, np.nan, 1)], axis=1)
    scorer = fitted(csr_matrix(X), [["abcd"[i]] for i in code], nominal=[0])
    true = label_matrix(TREE, [["abcd"[i]] for i in code]).toarray()[:, scorer.columns]
    assert ((scorer.score(csr_matrix(X)).channels[0] > 0) == true).all()


def test_wrong_calls_are_refused() -> None:
    Y = label_matrix(TREE, [["a"]])
    with pytest.raises(UsageError, match="'forest' learns from feature matrices; for texts use 'linear'"):
        ForestScorer().fit([{"text": "red"}], Y, taxonomy=TREE)
    with pytest.raises(UsageError, match="no columns"):
        ForestScorer().fit(csr_matrix((1, 0)), Y, taxonomy=TREE)
    for options, message in (
        ({"n_trees": 0}, "n_trees is at least 1, not 0"),
        ({"min_samples_leaf": -1}, "min_samples_leaf is at least 1, not -1"),
        ({"max_features": 1.5}, "max_features is above 0 and at most 1, not 1.5"),
    ):
        with pytest.raises(UsageError, match=message):
            ForestScorer(**options)
    with pytest.raises(UsageError, match="3 features, the model was fitted on 9"):
        fitted(*blobs()).score(csr_matrix((1, 3)))
