"""Metrics against independent implementations: scikit-learn's, and HiClass's on single paths."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hclf.labels import label_matrix
from hclf.metrics import ranking, sets
from hclf.taxonomy import Taxonomy

sk = pytest.importorskip("sklearn.metrics")
SEEDS = range(20)
EXACT = 1e-12


def labels(rng, shape=(40, 12), density=0.3):
    return rng.random(shape) < density


def scores(rng, shape=(40, 12), distinct=6, dtype=np.float64):
    """Scores with many ties, about a sixth of them 0.0."""
    return (rng.integers(0, distinct, shape) / max(distinct - 1, 1)).astype(dtype)


@pytest.fixture(params=SEEDS)
def rng(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("distinct", [1, 2, 6, 10**9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_average_precision_micro_equals_scikit_learn_with_ties(rng, distinct, dtype):
    T, S = labels(rng), scores(rng, distinct=distinct, dtype=dtype)
    want = sk.average_precision_score(T.astype(int), S, average="micro")
    for given in (S, csr_matrix(S)):
        assert ranking.average_precision_micro(T, given) == pytest.approx(want, abs=EXACT)


@pytest.mark.parametrize("distinct", [2, 6, 10**9])
def test_average_precision_of_nodes_equals_scikit_learn(rng, distinct):
    T, S = labels(rng), scores(rng, distinct=distinct)
    T[0] = True  # scikit-learn warns of columns without positives
    each = sk.average_precision_score(T.astype(int), S, average=None)
    assert ranking.average_precision_per_node(T, S) == pytest.approx(each, abs=EXACT)
    assert ranking.average_precision_macro(T, csr_matrix(S)) == pytest.approx(each.mean(), abs=EXACT)


def test_macro_over_present_nodes_ignores_absent_ones(rng):
    T, S = labels(rng), scores(rng)
    T[:, :3] = False
    T[0, 3:] = True
    want = sk.average_precision_score(T[:, 3:].astype(int), S[:, 3:], average="macro")
    assert ranking.average_precision_macro(T, S) == pytest.approx(want, abs=EXACT)


def test_map_equals_scikit_learn_when_nothing_is_tied_or_unscored(rng):
    T, S = labels(rng), rng.random((40, 12)) + 0.01
    T[:, 0] = True  # no document without truth
    want = sk.average_precision_score(T.astype(int), S, average="samples")
    assert ranking.mean_average_precision(T, S) == pytest.approx(want, abs=EXACT)
    assert ranking.mean_average_precision(T, S) == pytest.approx(
        sk.label_ranking_average_precision_score(T, S), abs=EXACT
    )


def test_recall_at_one_below_coverage_is_not_complete(rng):
    """Coverage is how far down the lists one has to go, on average, to find every true label."""
    T, S = labels(rng), rng.random((40, 12)) + 0.01
    T[:, 0] = True
    for i in range(len(T)):
        depth = round(sk.coverage_error(T[i : i + 1], S[i : i + 1]))
        assert ranking.recall_at_k(T[i : i + 1], S[i : i + 1], depth) == 1.0
        assert depth == 1 or ranking.recall_at_k(T[i : i + 1], S[i : i + 1], depth - 1) < 1.0


def test_hits_at_k_equal_scikit_learn_on_single_labels(rng):
    T = np.eye(12, dtype=bool)[rng.integers(0, 12, 40)]
    S = rng.random((40, 12)) + 0.01
    for k in (1, 3, 5):
        want = sk.top_k_accuracy_score(T.argmax(1), S, k=k, labels=np.arange(12))
        assert ranking.recall_at_k(T, S, k) == pytest.approx(want, abs=EXACT)
        assert ranking.precision_at_k(T, S, k) == pytest.approx(want / k, abs=EXACT)


def test_set_metrics_equal_scikit_learn(rng):
    T, P = labels(rng, density=0.2), labels(rng, density=0.15)
    P[5], T[6] = False, False  # an empty prediction, an empty truth
    T[:, 0] |= ~T.any(1) & ~P.any(1)  # where both are empty we say 1.0, scikit-learn 0.0: see below
    micro = sk.precision_recall_fscore_support(T, P, average="micro", zero_division=0)[:3]
    assert sets.hierarchical_precision_recall_f1(T, P) == pytest.approx(micro, abs=EXACT)
    samples = sk.precision_recall_fscore_support(T, P, average="samples", zero_division=0)[:3]
    assert sets.hierarchical_precision_recall_f1(T, P, average="example") == pytest.approx(samples, abs=EXACT)
    nodes = sk.precision_recall_fscore_support(T, P, average=None, zero_division=0)
    for got, want in zip(sets.node_scores(T, P), nodes, strict=False):
        assert got == pytest.approx(want, abs=EXACT)
    macro = sk.f1_score(T, P, average="macro", zero_division=0)
    assert sets.macro_f1(T, P, np.arange(12)) == pytest.approx(macro, abs=EXACT)
    present = sk.f1_score(T, P, average="macro", labels=np.flatnonzero(T.any(0)), zero_division=0)
    assert sets.macro_f1(T, P) == pytest.approx(present, abs=EXACT)
    assert sets.exact_match(T, P) == pytest.approx(sk.accuracy_score(T, P), abs=EXACT)
    assert sets.hamming_loss(T, P) == pytest.approx(sk.hamming_loss(T, P), abs=EXACT)


def test_both_empty_is_the_one_difference_to_scikit_learn():
    nothing = np.zeros((1, 2), dtype=int)
    assert sk.f1_score(nothing, nothing, average="samples", zero_division=0) == 0.0
    assert sets.hierarchical_precision_recall_f1(nothing, nothing, average="example").f1 == 1.0


# -- HiClass: one path a document, by levels -------------------------------------------------------------------


@pytest.fixture(scope="module")
def hiclass_metrics():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns on recent versions of what it imports
        return pytest.importorskip("hiclass.metrics")


TREE = Taxonomy(
    [f"{a}" for a in range(3)] + [f"{a}{b}" for a in range(3) for b in range(3)]
    + [f"{a}{b}{c}" for a in range(3) for b in range(3) for c in range(2)],
    [(f"{a}", f"{a}{b}") for a in range(3) for b in range(3)]
    + [(f"{a}{b}", f"{a}{b}{c}") for a in range(3) for b in range(3) for c in range(2)],
)  # fmt: skip


def paths(rng, n=50):
    """Random paths as (n, levels) arrays, many of them ending above the leaves."""
    nodes = rng.choice(TREE.nodes, n)
    return np.array([[node[:depth] if depth <= len(node) else "" for depth in (1, 2, 3)] for node in nodes])


@pytest.mark.parametrize(("average", "theirs"), [("micro", "micro"), ("example", "macro")])
def test_hierarchical_measures_equal_hiclass_on_paths(rng, hiclass_metrics, average, theirs):
    true, predicted = paths(rng), paths(rng)
    T, P = (label_matrix(TREE, [[max(row, key=len)] for row in rows.tolist()]) for rows in (true, predicted))
    got = sets.hierarchical_precision_recall_f1(T, P, average=average)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = [
            measure(true, predicted, average=theirs)
            for measure in (hiclass_metrics.precision, hiclass_metrics.recall, hiclass_metrics.f1)
        ]
    assert got == pytest.approx(want, abs=EXACT)
