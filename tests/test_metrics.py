"""Law 6: each metric equals a slow set-based reference on random DAGs, and its stated value on empty sets."""

from __future__ import annotations

import doctest
import functools
import inspect
import tracemalloc
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csr_array, csr_matrix

from hclf import metrics
from hclf.errors import DataError, UsageError
from hclf.labels import label_matrix
from hclf.metrics import curves, graph, partial, ranking, sets
from hclf.taxonomy import Taxonomy

EXACT = 1e-12
GRID = [0.0, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0]  # few values: many ties, and many of the lowest


@dataclass
class Case:
    """A random DAG with random closed label sets and scores, as matrices and as Python sets."""

    taxonomy: Taxonomy
    parents: dict[str, set[str]]
    true: list[set[str]]
    predicted: list[set[str]]
    scores: list[dict[str, float]]
    T: csr_matrix
    P: csr_matrix
    S: csr_matrix


def closed(parents, labels):
    out, todo = set(), list(labels)
    while todo:
        node = todo.pop()
        if node not in out:
            out.add(node)
            todo += parents[node]
    return out


@st.composite
def cases(draw, max_nodes=8, max_documents=5):
    n = draw(st.integers(1, max_nodes))
    ids = draw(st.permutations([f"n{i}" for i in range(n)]))
    parents = {node: draw(st.sets(st.sampled_from(ids[:i]))) if i else set() for i, node in enumerate(ids)}
    taxonomy = Taxonomy(ids, [(p, c) for c, ps in parents.items() for p in ps])
    documents = draw(st.integers(0, max_documents))
    label_sets = st.lists(st.sets(st.sampled_from(ids)), min_size=documents, max_size=documents)
    true, predicted = draw(label_sets), draw(label_sets)
    cells = draw(st.lists(st.sampled_from(GRID), min_size=documents * n, max_size=documents * n))
    S = csr_matrix(np.array(cells).reshape(documents, n))
    dense = S.toarray()
    return Case(
        taxonomy,
        parents,
        [closed(parents, labels) for labels in true],
        [closed(parents, labels) for labels in predicted],
        [dict(zip(taxonomy.nodes, row.tolist(), strict=True)) for row in dense],
        label_matrix(taxonomy, true),
        label_matrix(taxonomy, predicted),
        S,
    )


# -- references: slow, on sets, written from the formulas ------------------------------------------------------


def quotient(a, b):
    return a / b if b else 0.0


def average(values):
    return sum(values) / len(values) if values else 0.0


def prf(both, predicted, true):
    return quotient(both, predicted), quotient(both, true), quotient(2 * both, predicted + true)


def prf_of_pairs(true, predicted, keep=lambda node: True):
    pairs = lambda rows: {(i, x) for i, row in enumerate(rows) for x in row if keep(x)}  # noqa: E731
    t, p = pairs(true), pairs(predicted)
    return prf(len(t & p), len(p), len(t))


def prf_of_documents(true, predicted):
    rows = [
        (1.0, 1.0, 1.0) if not t and not p else prf(len(t & p), len(p), len(t))
        for t, p in zip(true, predicted, strict=True)
    ]
    return [average([row[i] for row in rows]) for i in range(3)]


def average_precision(entries):
    """AP of (score, true) entries: every distinct score is one threshold."""
    relevant = sum(good for _, good in entries)
    total, before = 0.0, 0.0
    for threshold in sorted({score for score, _ in entries}, reverse=True):
        above = [good for score, good in entries if score >= threshold]
        recall = quotient(sum(above), relevant)
        total += (recall - before) * sum(above) / len(above)
        before = recall
    return total


def ranked(case, i):
    """The ranked list of document i as 0/1: scores above 0, best first, ties in column order."""
    scores = case.scores[i]
    in_list = [x for x in case.taxonomy.nodes if scores[x] > 0]
    return [x in case.true[i] for x in sorted(in_list, key=lambda x: -scores[x])]


def judged(case):
    return [i for i, t in enumerate(case.true) if t]


# -- properties ------------------------------------------------------------------------------------------------


@given(cases())
def test_hierarchical_micro_equals_counting_pairs(case):
    got = sets.hierarchical_precision_recall_f1(case.T, case.P)
    assert got == pytest.approx(prf_of_pairs(case.true, case.predicted), abs=EXACT)


@given(cases())
def test_hierarchical_example_equals_the_mean_of_documents(case):
    got = sets.hierarchical_precision_recall_f1(case.T, case.P, average="example")
    assert got == pytest.approx(prf_of_documents(case.true, case.predicted), abs=EXACT)


@given(cases())
def test_levels_equal_counting_pairs_of_one_level(case):
    got = sets.level_scores(case.T, case.P, case.taxonomy.levels)
    assert len(got.f1) == case.taxonomy.depth
    for level in range(1, case.taxonomy.depth + 1):
        inside = {x for x, at in zip(case.taxonomy.nodes, case.taxonomy.levels, strict=True) if at == level}
        want = prf_of_pairs(case.true, case.predicted, keep=inside.__contains__)
        assert [column[level - 1] for column in got[:3]] == pytest.approx(want, abs=EXACT)
        assert got.support[level - 1] == sum(len(t & inside) for t in case.true)
        assert got.predicted[level - 1] == sum(len(p & inside) for p in case.predicted)


@given(cases())
def test_nodes_and_macro_f1_equal_counting_documents(case):
    got = sets.node_scores(case.T, case.P)
    f1 = {}
    for j, x in enumerate(case.taxonomy.nodes):
        true, predicted = ({i for i, s in enumerate(rows) if x in s} for rows in (case.true, case.predicted))
        want = prf(len(true & predicted), len(predicted), len(true))
        assert [column[j] for column in got[:3]] == pytest.approx(want, abs=EXACT)
        assert (got.support[j], got.predicted[j]) == (len(true), len(predicted))
        f1[x] = want[2], len(true)
    assert sets.macro_f1(case.T, case.P) == pytest.approx(average([f for f, s in f1.values() if s]), abs=EXACT)
    everything = np.arange(len(case.taxonomy))
    assert sets.macro_f1(case.T, case.P, everything) == pytest.approx(average([f for f, _ in f1.values()]), abs=EXACT)


@given(cases())
def test_exact_match_hamming_and_unknown_equal_sets(case):
    both = list(zip(case.true, case.predicted, strict=True))
    assert sets.exact_match(case.T, case.P) == pytest.approx(average([t == p for t, p in both]), abs=EXACT)
    wrong = average([len(t ^ p) / len(case.taxonomy) for t, p in both])
    assert sets.hamming_loss(case.T, case.P) == pytest.approx(wrong, abs=EXACT)
    assert sets.unknown_rate(case.P) == pytest.approx(average([not p for p in case.predicted]), abs=EXACT)


@given(cases())
def test_average_precision_equals_one_threshold_a_distinct_score(case):
    columns = [[(case.scores[i][x], x in case.true[i]) for i in range(len(case.true))] for x in case.taxonomy.nodes]
    micro = average_precision([entry for column in columns for entry in column])
    assert ranking.average_precision_micro(case.T, case.S) == pytest.approx(micro, abs=EXACT)
    each = [average_precision(column) for column in columns]
    assert ranking.average_precision_per_node(case.T, case.S) == pytest.approx(each, abs=EXACT)
    present = [ap for ap, column in zip(each, columns, strict=True) if any(good for _, good in column)]
    assert ranking.average_precision_macro(case.T, case.S) == pytest.approx(average(present), abs=EXACT)


@given(cases(), st.integers(1, 9))
def test_ranked_lists_equal_walking_down_each_list(case, k):
    lists = {i: ranked(case, i) for i in judged(case)}
    ap = [
        sum(sum(hits[: r + 1]) / (r + 1) for r, good in enumerate(hits) if good) / len(case.true[i])
        for i, hits in lists.items()
    ]
    assert ranking.mean_average_precision(case.T, case.S) == pytest.approx(average(ap), abs=EXACT)
    precision = average([sum(hits[:k]) / k for hits in lists.values()])
    assert ranking.precision_at_k(case.T, case.S, k) == pytest.approx(precision, abs=EXACT)
    recall = average([sum(hits[:k]) / len(case.true[i]) for i, hits in lists.items()])
    assert ranking.recall_at_k(case.T, case.S, k) == pytest.approx(recall, abs=EXACT)


@pytest.mark.slow
@given(cases())
def test_dense_sparse_and_untidy_inputs_give_the_same(case):
    ones, zeros = np.ones(case.S.shape), np.zeros(case.S.shape)
    explicit = csr_matrix(ones)  # every cell stored, the lowest as an explicit 0.0
    explicit.data = case.S.toarray().ravel()
    untidy = coo_matrix(
        (
            np.concatenate([case.T.data, zeros.ravel().astype(bool)]),
            np.hstack([case.T.nonzero(), np.nonzero(ones)]),
        ),
        shape=case.T.shape,
    )  # explicit False, unsorted, coordinates twice
    for T in (case.T, case.T.toarray(), csr_array(case.T), untidy, case.T.astype(np.int64)):
        assert sets.hierarchical_precision_recall_f1(T, case.P.toarray()) == (
            sets.hierarchical_precision_recall_f1(case.T, case.P)
        )
        for S in (case.S, case.S.toarray(), csr_array(case.S), explicit, case.S.tocoo()):
            assert ranking.average_precision_micro(T, S) == ranking.average_precision_micro(case.T, case.S)
            assert ranking.ranked_lists(T, S) == ranking.ranked_lists(case.T, case.S)


@given(cases())
def test_inputs_are_not_changed(case):
    T, S = case.T.astype(float), case.S.copy()
    T.data[:1], S.data[:1] = 0.0, 0.0
    before = [array.copy() for matrix in (T, S) for array in (matrix.data, matrix.indices, matrix.indptr)]
    ranking.average_precision_micro(T, S)
    sets.node_scores(T, T)
    after = [array for matrix in (T, S) for array in (matrix.data, matrix.indices, matrix.indptr)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@given(cases())
def test_a_perfect_prediction_scores_one_and_rows_may_be_shuffled(case):
    if case.T.nnz:
        assert sets.hierarchical_precision_recall_f1(case.T, case.T) == (1.0, 1.0, 1.0)
        assert ranking.average_precision_micro(case.T, case.T.astype(float)) == 1.0
        assert ranking.ranked_lists(case.T, case.T.astype(float)).map == pytest.approx(1.0, abs=EXACT)
    back = np.arange(case.T.shape[0])[::-1]
    for metric in (sets.macro_f1, sets.exact_match, sets.hamming_loss):
        assert metric(case.T[back], case.P[back]) == pytest.approx(metric(case.T, case.P), abs=EXACT)


# -- stated values on empty sets -------------------------------------------------------------------------------

EMPTY, FULL = np.zeros((2, 3)), np.ones((2, 3))


@pytest.mark.parametrize(
    ("true", "predicted", "micro", "example", "exact", "hamming"),
    [
        (EMPTY, EMPTY, 0.0, 1.0, 1.0, 0.0),
        (EMPTY, FULL, 0.0, 0.0, 0.0, 1.0),
        (FULL, EMPTY, 0.0, 0.0, 0.0, 1.0),
        (FULL, FULL, 1.0, 1.0, 1.0, 0.0),
        (np.zeros((0, 3)), np.zeros((0, 3)), 0.0, 0.0, 0.0, 0.0),
        (np.zeros((2, 0)), np.zeros((2, 0)), 0.0, 1.0, 1.0, 0.0),
        (np.array([[1, 0, 0]]), np.array([[0, 1, 1]]), 0.0, 0.0, 0.0, 1.0),  # no node in common
    ],
)
def test_set_metrics_on_empty(true, predicted, micro, example, exact, hamming):
    assert sets.hierarchical_precision_recall_f1(true, predicted) == (micro,) * 3
    assert sets.hierarchical_precision_recall_f1(true, predicted, average="example") == (example,) * 3
    assert sets.exact_match(true, predicted) == exact
    assert sets.hamming_loss(true, predicted) == hamming
    assert sets.macro_f1(true, predicted) == micro
    assert sets.node_scores(true, predicted).f1.tolist() == [micro] * true.shape[1]


def test_precision_is_zero_when_nothing_is_predicted_and_recall_when_nothing_is_true():
    assert sets.hierarchical_precision_recall_f1(FULL, EMPTY).precision == 0.0
    assert sets.hierarchical_precision_recall_f1(EMPTY, FULL).recall == 0.0


def test_an_empty_document_weighs_one_in_the_example_average_and_nothing_in_micro():
    true, predicted = [[0, 0], [1, 1]], [[0, 0], [1, 0]]
    assert sets.hierarchical_precision_recall_f1(true, predicted).recall == 0.5
    assert sets.hierarchical_precision_recall_f1(true, predicted, average="example").recall == 0.75


def test_macro_f1_leaves_out_nodes_without_a_true_document_unless_chosen():
    true, predicted = [[1, 0, 1]], [[1, 1, 0]]
    assert sets.macro_f1(true, predicted) == 0.5
    assert sets.macro_f1(true, predicted, np.array([0, 1, 2])) == pytest.approx(1 / 3)
    assert sets.macro_f1(true, predicted, np.array([True, False, False])) == 1.0
    assert sets.macro_f1(true, predicted, np.array([], dtype=np.int64)) == 0.0


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
def test_ranking_metrics_of_nothing_true_are_zero(shape):
    nothing, scores = np.zeros(shape), np.full(shape, 0.5)
    assert ranking.average_precision_micro(nothing, scores) == 0.0
    assert ranking.average_precision_macro(nothing, scores) == 0.0
    assert ranking.average_precision_per_node(nothing, scores).tolist() == [0.0] * shape[1]
    assert ranking.ranked_lists(nothing, scores, ks=(1,)) == (0.0, {1: 0.0}, {1: 0.0}, {1: 0.0})


def test_documents_without_truth_are_left_out_of_ranked_lists():
    with_empty = ranking.ranked_lists([[1, 0], [0, 0]], [[0.9, 0.1], [0.9, 0.1]])
    assert with_empty == ranking.ranked_lists([[1, 0]], [[0.9, 0.1]])


def test_average_precision_without_any_score_is_the_share_of_true_pairs():
    assert ranking.average_precision_micro([[1, 0, 0, 0]], csr_matrix((1, 4))) == 0.25


def test_ties_stand_in_column_order_and_unscored_nodes_in_no_list():
    assert ranking.precision_at_k([[1, 0]], [[0.5, 0.5]], k=1) == 1.0
    assert ranking.precision_at_k([[0, 1]], [[0.5, 0.5]], k=1) == 0.0
    assert ranking.recall_at_k([[1, 1]], [[0.0, 0.5]], k=2) == 0.5
    assert ranking.mean_average_precision([[1, 1]], [[0.0, 0.5]]) == 0.5


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric",
    [
        sets.hierarchical_precision_recall_f1,
        sets.node_scores,
        sets.macro_f1,
        sets.exact_match,
        sets.hamming_loss,
        ranking.average_precision_micro,
        ranking.average_precision_per_node,
        ranking.ranked_lists,
    ],
)
def test_shapes_that_differ_are_refused_with_both(metric):
    with pytest.raises(UsageError, match=r"2 documents x 3 nodes.*2 x 4"):
        metric(FULL, np.ones((2, 4)))


@pytest.mark.parametrize("bad", [-0.25, np.nan])
def test_negative_and_nan_scores_are_refused(bad):
    with pytest.raises(UsageError, match="1 scores are negative or NaN"):
        ranking.average_precision_micro([[1, 0]], [[0.5, bad]])


def test_other_impossible_arguments_are_refused():
    with pytest.raises(UsageError, match="unknown average 'weighted'; choose micro, example or macro"):
        sets.hierarchical_precision_recall_f1(FULL, FULL, average="weighted")
    with pytest.raises(UsageError, match="k must be at least 1, not 0"):
        ranking.precision_at_k([[1]], [[0.5]], k=0)
    with pytest.raises(UsageError, match="2 levels for 3 nodes"):
        sets.level_scores(FULL, FULL, np.array([1, 2]))


# -- the scorer for scikit-learn -------------------------------------------------------------------------------

FOOD = Taxonomy(["food", "tea", "rice", "jasmine"], [("food", "tea"), ("food", "rice"), ("rice", "jasmine")])


def guesses(*label_sets):
    return SimpleNamespace(taxonomy_=FOOD, predict=lambda X: list(label_sets))


def test_hf_scorer_closes_both_sides():
    estimator = guesses(("rice", "food"), ())
    want = 2 * 2 / (2 + 5)  # food, rice right; jasmine, food, tea missed
    assert metrics.hf_scorer(estimator, None, [["jasmine"], ["tea"]]) == pytest.approx(want, abs=EXACT)
    assert metrics.hf_scorer(estimator, None, ["jasmine", "Food > Tea"]) == pytest.approx(want, abs=EXACT)
    indicator = np.array([[j == FOOD.index(x) for j in range(4)] for x in ("jasmine", "tea")])
    for y in (indicator, indicator.astype(int), csr_matrix(indicator)):
        assert metrics.hf_scorer(estimator, None, y) == pytest.approx(want, abs=EXACT)


def test_hf_scorer_takes_arrays_of_labels_and_the_example_average():
    scorer = functools.partial(metrics.hf_scorer, average="example")
    assert scorer(guesses(("rice", "food"), ()), None, np.array(["jasmine", "tea"])) == pytest.approx(0.4)
    ragged = np.empty(2, dtype=object)
    ragged[:] = [("jasmine",), ("tea", "rice")]
    assert scorer(guesses(("jasmine",), ("tea", "rice")), None, ragged) == 1.0


def test_hf_scorer_names_mistakes():
    with pytest.raises(DataError, match="did you mean 'jasmine'"):
        metrics.hf_scorer(guesses(()), None, [["jasmin"]])
    with pytest.raises(UsageError, match="label matrix has 3 columns, the taxonomy has 4 nodes"):
        metrics.hf_scorer(guesses(()), None, np.ones((1, 3)))
    with pytest.raises(UsageError, match="truth is 2 documents"):
        metrics.hf_scorer(guesses(()), None, ["tea", "rice"])


def test_hf_scorer_serves_cross_val_score():
    from sklearn.base import BaseEstimator
    from sklearn.model_selection import cross_val_score

    class Echo(BaseEstimator):
        def fit(self, X, y):
            self.taxonomy_ = FOOD
            return self

        def predict(self, X):
            return [tuple(x.split()) for x in X]

    folds = cross_val_score(
        Echo(),
        ["tea", "rice", "jasmine tea", ""],
        ["tea", "rice", "jasmine", "tea"],
        scoring=metrics.hf_scorer,
        cv=2,
    )
    assert folds == pytest.approx([1.0, 2 * 3 / (4 + 5)], abs=EXACT)


# -- documentation and size ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [sets, ranking, curves, graph, partial])
def test_docstring_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted >= (2 if module is partial else 7)
    assert result.failed == 0


def test_every_metric_has_an_example_and_is_exported():
    functions = {
        name: value
        for module in (sets, ranking, curves, graph, partial)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and ">>>" in (value.__doc__ or "")
    }
    exported = {
        name
        for name in metrics.__all__
        if inspect.isfunction(value := getattr(metrics, name)) and not value.__module__.endswith("calibration")
    }
    assert exported - set(functions) == {"hf_scorer"}
    assert set(functions) - exported == {"heights"}


@pytest.mark.slow
def test_hundred_thousand_documents_by_ten_thousand_nodes_fit_in_memory():
    """Dense, either matrix would be 1 GB of booleans or 4 GB of floats."""
    n, m = 100_000, 10_000
    rng = np.random.default_rng(0)

    def matrix(per_row, dtype):
        columns = rng.integers(0, m, n * per_row)
        values = rng.random(n * per_row, dtype=np.float32).astype(dtype)
        made = csr_matrix((values, columns, np.arange(n + 1) * per_row), shape=(n, m))
        made.sum_duplicates()
        return made

    T, P, S = matrix(6, bool), matrix(6, bool), matrix(50, np.float32)
    levels = np.sort(rng.integers(1, 9, m))
    for limit, work in (
        (100e6, lambda: (sets.document_scores(T, P), sets.level_scores(T, P, levels), sets.hamming_loss(T, P))),
        (700e6, lambda: (ranking.average_precision_micro(T, S), ranking.average_precision_macro(T, S))),
        (700e6, lambda: ranking.ranked_lists(T, S)),
    ):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit
