"""Metrics of distance and of every threshold: examples by hand, stated values on empty sets, messages, size."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from test_metrics import EXACT, cases

from hclf import metrics
from hclf.errors import UsageError
from hclf.labels import close, from_pairs, is_closed, label_matrix, most_specific, partial_depth, subtract
from hclf.metrics.ascents import FAR, ascents, slices
from hclf.taxonomy import Taxonomy

#        food        drink
#       /    \        |
#    rice    tofu    tea
#    /  \           /   \
# white  wild    green  black
TREE = Taxonomy(
    ["food", "drink", "rice", "tofu", "tea", "white", "wild", "green", "black"],
    [
        ("food", "rice"),
        ("food", "tofu"),
        ("drink", "tea"),
        ("rice", "white"),
        ("rice", "wild"),
        ("tea", "green"),
        ("tea", "black"),
    ],
)
# "x" hangs from "a" directly and from "b", which is below "a".
DAG = Taxonomy(["a", "b", "x", "y"], [("a", "b"), ("a", "x"), ("b", "x"), ("b", "y")])
METRICS = [
    metrics.mean_graph_distance,
    metrics.mgia,
    metrics.lca_precision_recall_f1,
    metrics.mistake_severity,
    metrics.constrained_precision_recall_f1,
]


def sets(*label_sets, taxonomy=TREE):
    return label_matrix(taxonomy, [labels.split() for labels in label_sets])


# -- by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "predicted", "distance"),
    [
        ("white", "white", 0),
        ("white", "wild", 2),
        ("white", "rice", 1),
        ("white", "tofu", 3),
        ("white", "tea", 5),  # up three, down two, over the node above the roots
        ("white", "", 3),
        ("", "drink", 1),
        ("", "", 0),
        ("white tofu", "white", (0 + 3) / 2 / 2),
    ],
)
def test_distance_by_hand(true, predicted, distance):
    T, P = sets(true), sets(predicted)
    assert metrics.mean_graph_distance(TREE, T, P) == distance
    assert metrics.mean_graph_distance(TREE, P, T) == distance


@pytest.mark.parametrize(
    ("true", "predicted", "far", "error", "wrong"),
    [
        ("white", "wild", 5, 2, 2),  # one pair serves both
        ("white", "wild", 2, 4, 2),  # a pair at the limit is not made
        ("white", "green", 5, 10, 2),
        ("white", "", 5, 5, 1),
        ("white green", "wild black", 5, 2 + 2, 4),
        ("white tofu", "white", 5, 3, 1),  # tofu pairs with white, though white has a partner
        ("white tofu", "white", 3, 3, 1),  # or stays alone: as dear
        ("white wild", "rice", 5, 1 + 1, 3),  # one label in two pairs
        ("white tofu", "wild", 5, 2 + 3, 3),
    ],
)
def test_graph_induced_accuracy_by_hand(true, predicted, far, error, wrong):
    T, P = sets(true), sets(predicted)
    assert metrics.mgia(TREE, T, P, far) == pytest.approx(1 - error / (far * wrong), abs=EXACT)
    assert metrics.mgia(TREE, P, T, far) == pytest.approx(1 - error / (far * wrong), abs=EXACT)


def test_pairing_is_the_cheapest_not_the_greediest():
    """Both true labels are nearest to the same predicted one; giving it away to the nearest costs more."""
    taxonomy = Taxonomy(
        ["r", "p", "p1", "p2", "q", "q1"], [("r", "p"), ("p", "p1"), ("p", "p2"), ("r", "q"), ("q", "q1")]
    )
    T, P = sets("p1 q", taxonomy=taxonomy), sets("p2 q1", taxonomy=taxonomy)
    assert metrics.mgia(taxonomy, T, P, 5) == pytest.approx(1 - (2 + 1) / 20, abs=EXACT)


@pytest.mark.parametrize(
    ("true", "predicted", "precision", "recall"),
    [
        ("white", "wild", 1 / 2, 1 / 2),  # {white, rice} and {wild, rice}: food is above where they meet
        ("white", "rice", 1, 1 / 2),
        ("rice", "white", 1 / 2, 1),
        ("white", "tofu", 1 / 2, 1 / 3),
        ("white", "green", 0, 0),  # they meet above the roots, which is no label
        ("white green", "wild green", 2 / 3, 2 / 3),
        ("white", "", 0, 0),
        ("", "", 1, 1),
    ],
)
def test_lowest_common_ancestors_by_hand(true, predicted, precision, recall):
    got = metrics.lca_precision_recall_f1(TREE, sets(true), sets(predicted))
    f1 = 2 * precision * recall / (precision + recall) if precision else 0
    assert got == pytest.approx((precision, recall, f1), abs=EXACT)


def test_one_common_ancestor_serves_as_many_labels_as_it_can():
    """white meets wild at rice; tofu meets wild at food, which would serve wild too: rice is lower and serves two."""
    A, B = sets("white tofu"), sets("wild")
    table = metrics.lca_per_document(TREE, A, B)
    assert (table.support[0], table.predicted[0]) == (4, 3)  # white rice tofu food; wild rice food
    assert table.precision[0] == 2 / 3
    assert table.recall[0] == 1 / 2


def test_the_shortest_way_counts_in_a_dag():
    X, Y = sets("x", taxonomy=DAG), sets("y", taxonomy=DAG)
    assert metrics.mean_graph_distance(DAG, X, Y) == 2  # over b
    assert metrics.mean_graph_distance(DAG, X, sets("a", taxonomy=DAG)) == 1  # not over b
    assert metrics.mistake_severity(DAG, X, Y).severity == 1  # b, of level 2, not a


@pytest.mark.parametrize(
    ("true", "predicted", "severity", "mistakes"),
    [
        ("white", "white", 0, 0),
        ("white", "rice", 0, 0),  # too shallow is incomplete, not wrong
        ("white", "wild", 1, 1),
        ("rice", "white", 1, 1),  # too deep is wrong
        ("white", "tofu", 2, 1),
        ("white", "green", 3, 1),  # above the roots
        ("", "food", 3, 1),
        ("white", "", 0, 0),
        ("white", "wild tofu", 1.5, 2),
        ("white tofu", "wild tofu", 1, 1),
    ],
)
def test_severity_by_hand(true, predicted, severity, mistakes):
    got = metrics.mistake_severity(TREE, sets(true), sets(predicted))
    assert got[:2] == (severity, mistakes)


def test_information_of_a_node_with_two_parents_is_given_both():
    labels = sets("a", "b", "x", "y", taxonomy=DAG)  # x stands once; a and b together three times
    bits = metrics.information_content(DAG, labels, pseudocount=0.0)
    assert dict(zip(DAG.nodes, bits, strict=True)) == pytest.approx(
        {"a": 0.0, "b": -np.log2(3 / 4), "x": -np.log2(1 / 3), "y": -np.log2(1 / 3)}
    )


# -- properties ------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(cases())
def test_closed_or_not_gives_the_same(case):
    T, P = (most_specific(case.taxonomy, Y) for Y in (case.T, case.P))
    for metric in METRICS[:4]:
        assert metric(case.taxonomy, T, P) == metric(case.taxonomy, case.T, case.P)


@settings(max_examples=30)
@given(cases())
def test_a_perfect_prediction_is_at_distance_nothing(case):
    args = case.taxonomy, case.T, case.T
    assert metrics.graph_distance_per_document(*args).tolist() == [0.0] * case.T.shape[0]
    assert metrics.mgia_per_document(*args).tolist() == [1.0] * case.T.shape[0]
    assert metrics.lca_per_document(*args).f1.tolist() == [1.0] * case.T.shape[0]
    assert metrics.mistake_severity(*args)[:2] == (0.0, 0)


@settings(max_examples=30)
@given(cases(), st.integers(1, 9))
def test_swapping_truth_and_prediction_swaps_precision_and_recall(case, far):
    there, back = (case.taxonomy, case.T, case.P), (case.taxonomy, case.P, case.T)
    assert metrics.mean_graph_distance(*there) == pytest.approx(metrics.mean_graph_distance(*back), abs=EXACT)
    assert metrics.mgia(*there, far) == pytest.approx(metrics.mgia(*back, far), abs=EXACT)
    one, other = metrics.lca_precision_recall_f1(*there), metrics.lca_precision_recall_f1(*back)
    assert one == pytest.approx((other.recall, other.precision, other.f1), abs=EXACT)


@settings(max_examples=30)
@given(cases())
def test_documents_stand_for_themselves(case):
    for per_document in (
        metrics.graph_distance_per_document,
        metrics.mgia_per_document,
        lambda *args: metrics.lca_per_document(*args).f1,
    ):
        together = per_document(case.taxonomy, case.T, case.P).tolist()
        alone = [float(per_document(case.taxonomy, case.T[i], case.P[i])[0]) for i in range(case.T.shape[0])]
        assert together == alone


@settings(max_examples=30)
@given(cases())
def test_constrained_figures_of_closed_predictions_are_the_plain_ones(case):
    for average in ("micro", "example", "macro"):
        got = metrics.constrained_precision_recall_f1(case.taxonomy, case.T, case.P, average)
        assert got == metrics.hierarchical_precision_recall_f1(case.T, case.P, average)


@settings(max_examples=30)
@given(cases())
def test_only_known_leaves_out_partial_depth_and_nothing_else(case):
    known = metrics.only_known(case.taxonomy, case.T, case.P)
    want = subtract(case.P, partial_depth(case.taxonomy, case.T))
    assert (known != want).nnz == 0
    assert is_closed(case.taxonomy, known).all()
    kept = metrics.only_known(case.taxonomy, case.T, case.S)
    assert kept.dtype == case.S.dtype
    assert (kept - case.S.multiply(kept.astype(bool))).nnz == 0


@settings(max_examples=30)
@given(cases(), st.sampled_from([0.05, 0.3, 0.9]))
def test_fmax_is_reached_at_its_threshold(case, floor):
    best = metrics.f_max(case.T, case.S)
    judged = np.diff(case.T.indptr) > 0
    T, P = case.T[judged], csr_matrix(case.S[judged].toarray() >= best.threshold)
    given_some = metrics.answered(T, P)
    recall = metrics.hierarchical_precision_recall_f1(T, P, "example").recall if T.shape[0] else 0.0
    if best.f1:
        assert (best.precision, best.recall) == pytest.approx((given_some.precision, recall), abs=EXACT)
    at = metrics.f_max(case.T, case.S, thresholds=np.array([floor]))
    assert at.f1 <= best.f1 + EXACT


@settings(max_examples=30)
@given(cases())
def test_weights_of_one_change_nothing(case):
    ones = np.ones(len(case.taxonomy))
    assert metrics.f_max(case.T, case.S, weights=ones) == metrics.f_max(case.T, case.S)
    plain = metrics.propensity_scored_precision_at_k(case.T, case.S, ones, 3, normalised=False)
    assert plain == pytest.approx(metrics.precision_at_k(case.T, case.S, 3), abs=EXACT)


# -- stated values on empty sets -------------------------------------------------------------------------------

NOBODY = csr_matrix((0, len(TREE)), dtype=bool)
NOTHING = csr_matrix((2, len(TREE)), dtype=bool)
NO_NODES = Taxonomy([])


@pytest.mark.parametrize(("taxonomy", "shape"), [(TREE, (0, 9)), (NO_NODES, (0, 0))])
def test_no_documents(taxonomy, shape):
    none = np.zeros(shape)
    assert metrics.mean_graph_distance(taxonomy, none, none) == 0.0
    assert metrics.mgia(taxonomy, none, none) == 0.0
    assert metrics.lca_precision_recall_f1(taxonomy, none, none) == (0.0, 0.0, 0.0)
    assert metrics.mistake_severity(taxonomy, none, none) == (0.0, 0, 0)
    assert metrics.constrained_precision_recall_f1(taxonomy, none, none) == (0.0, 0.0, 0.0)
    assert metrics.answered(none, none) == (0.0, 0.0, 0.0, 0)
    assert metrics.answered_by_level(none, none, taxonomy.levels).coverage.tolist() == [0.0] * taxonomy.depth
    assert metrics.only_known(taxonomy, none, none).shape == shape
    assert metrics.information_content(taxonomy, none).tolist() == [0.0] * shape[1]


@pytest.mark.parametrize("shape", [(0, 9), (2, 9), (2, 0), (0, 0)])
def test_curves_of_nothing_true(shape):
    nothing, scores = np.zeros(shape), np.full(shape, 0.5)
    assert metrics.f_max(nothing, scores) == (0.0, 1.0, 0.0, 0.0)
    assert metrics.s_min(nothing, scores, np.ones(shape[1])) == (0.0, 1.0, 0.0, 0.0)
    assert metrics.hf_auc(nothing, scores) == 0.0
    assert metrics.average_precision_example(nothing, scores) == 0.0
    assert metrics.average_precision_weighted(nothing, scores) == 0.0
    assert metrics.ndcg_at_k(nothing, scores) == 0.0
    assert metrics.propensity_scored_precision_at_k(nothing, scores, np.ones(shape[1])) == 0.0


def test_curves_of_nothing_scored():
    true, scores = sets("white", "tofu", ""), csr_matrix((3, len(TREE)))
    assert metrics.f_max(true, scores) == (0.0, 1.0, 0.0, 0.0)
    assert metrics.s_min(true, scores, np.ones(9)) == (2.5, 1.0, 2.5, 0.0)  # three bits and two, of two documents
    assert metrics.hf_auc(true, scores) == pytest.approx(2.5 / 9)
    assert metrics.precision_recall_curve(true, scores).f1.size == 0


def test_both_empty_counts_one_and_one_empty_counts_nothing():
    true, predicted = sets("", "", "white"), sets("", "white", "")
    assert metrics.mgia_per_document(TREE, true, predicted).tolist() == [1.0, 0.0, 0.0]
    assert metrics.lca_per_document(TREE, true, predicted).precision.tolist() == [1.0, 0.0, 0.0]


def test_a_document_without_truth_keeps_its_predictions():
    predicted = sets("white", "white")
    assert metrics.only_known(TREE, sets("", "food"), predicted).sum(axis=1).ravel().tolist() == [[3, 1]]


def test_a_label_never_seen_has_information_only_with_a_pseudocount():
    labels = sets("food", "food")
    index = TREE.index("rice")
    assert metrics.information_content(TREE, labels, pseudocount=0.0)[index] == 0.0
    assert metrics.information_content(TREE, labels)[index] == pytest.approx(np.log2(3))


# -- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [*METRICS, metrics.only_known])
def test_shapes_that_do_not_fit_are_refused_with_both(metric):
    with pytest.raises(UsageError, match=r"2 documents x 9 nodes.*3 x 9"):
        metric(TREE, np.ones((2, 9)), np.ones((3, 9)))
    with pytest.raises(UsageError, match="the matrix has 4 columns, the taxonomy has 9 nodes"):
        metric(TREE, np.ones((2, 4)), np.ones((2, 4)))


def test_other_impossible_arguments_are_refused():
    one, scores = np.ones((1, 2)), np.array([[0.5, 0.25]])
    for message, call in {
        "max_distance must be at least 1, not 0": lambda: metrics.mgia(TREE, NOTHING, NOTHING, 0),
        "2 numbers >= 0, one a node": lambda: metrics.f_max(one, scores, weights=np.ones(3)),
        "weights must be 2 numbers": lambda: metrics.average_precision_weighted(one, scores, np.array([1, -1])),
        "thresholds must be above 0": lambda: metrics.f_max(one, scores, thresholds=np.array([0.0, 0.5])),
        "pseudocount must be at least 0": lambda: metrics.information_content(DAG, np.ones((1, 4)), -1),
        "not closed under ancestors": lambda: metrics.information_content(DAG, [[0, 0, 1, 0]]),
        "3 documents or more": lambda: metrics.propensities(np.array([1]), 2),
        "between 0 and the 5 documents": lambda: metrics.propensities(np.array([6]), 5),
        "numbers in \\(0, 1\\], one a node": lambda: metrics.propensity_scored_precision_at_k(one, scores, [0, 1]),
        "k must be at least 1, not 0": lambda: metrics.ndcg_at_k(one, scores, 0),
        "3 levels for 2 nodes": lambda: metrics.answered_by_level(one, one, np.array([1, 1, 2])),
    }.items():
        with pytest.raises(UsageError, match=message):
            call()


# -- parts -----------------------------------------------------------------------------------------------------


def test_ascents_know_all_ancestors_and_their_steps():
    up = ascents(DAG, np.arange(len(DAG)))
    x, b, top = DAG.index("x"), DAG.index("b"), len(DAG)
    _, found, steps = up.of(np.array([x]))
    assert dict(zip(found.tolist(), steps.tolist(), strict=True)) == {DAG.index("a"): 1, b: 1, x: 0, top: 2}
    assert up.between(np.array([x, x, b]), np.array([b, DAG.index("y"), top])).tolist() == [1, FAR, 2]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 20))
def test_slices_cover_every_row_once_in_bounded_parts(work, most):
    parts = list(slices(np.array(work, dtype=np.int64), most))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(work)))
    assert all(sum(work[part]) <= most or part.stop - part.start == 1 for part in parts)


# -- size ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hundred_thousand_documents_by_ten_thousand_nodes_in_seconds_and_megabytes():
    n, m = 100_000, 10_000
    rng = np.random.default_rng(0)
    above = (np.arange(20, m) / rng.uniform(3, 11, m - 20)).astype(int)
    edges = [(f"n{p:05}", f"n{c:05}") for p, c in zip(above, range(20, m), strict=True)]
    edges += [(f"n{c // 7:05}", f"n{c:05}") for c in range(5000, m, 10)]
    taxonomy = Taxonomy([f"n{j:05}" for j in range(m)], edges)
    assert not taxonomy.is_tree

    def two_labels():
        return close(taxonomy, from_pairs(np.repeat(np.arange(n), 2), rng.integers(0, m, 2 * n), (n, m)))

    T, P = two_labels(), two_labels()
    scores = csr_matrix((rng.random(P.nnz), P.indices, P.indptr), shape=P.shape)
    for metric in (
        lambda: metrics.mgia(taxonomy, T, P),
        lambda: metrics.lca_precision_recall_f1(taxonomy, T, P),
        lambda: metrics.mean_graph_distance(taxonomy, T, P),
        lambda: metrics.mistake_severity(taxonomy, T, P),
        lambda: metrics.only_known(taxonomy, T, P),
        lambda: metrics.s_min(T, scores, metrics.information_content(taxonomy, T)),
    ):
        began = time.perf_counter()
        tracemalloc.start()
        metric()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 500e6  # dense, either matrix would be 1 GB
        assert time.perf_counter() - began < 60  # a few seconds without tracing, on a machine that is free
