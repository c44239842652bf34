"""Calibration of coherent scores: laws on random DAGs, recovery of known truths, and independent implementations."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest
from dags import dags
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from hclf import calibration
from hclf.calibration import COHERENCE, FLOOR, METHODS, LevelCalibration, LevelMap, Shifts, fit_map
from hclf.errors import UsageError
from hclf.fusion import sparse_scores
from hclf.labels import close
from hclf.metrics.calibration import calibration_table, node_count_error
from hclf.taxonomy import Taxonomy

LEVEL_MAPS = {
    "identity": LevelMap(),
    "temperature": LevelMap("temperature", (0.6,)),
    "platt": LevelMap("platt", (1.4, -0.5)),
    "beta": LevelMap("beta", (0.7, 1.6, 0.3)),
    "isotonic": LevelMap("isotonic", (-5.0, -2.0, -2.0, 1.5, 4.0), (-6.0, -3.0, -1.0, 0.0, 2.0)),
}


# -- laws ------------------------------------------------------------------------------------------------------


@st.composite
def calibrated(draw: st.DrawFn) -> tuple[LevelCalibration, np.ndarray]:
    """Any calibration of a random DAG, and coherent scores: many about the floor, ties, 0 and 1."""
    taxonomy = draw(dags()).taxonomy
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    depth, nodes = taxonomy.depth, len(taxonomy)
    some = lambda size, low, high: np.round(rng.uniform(low, high, size), 2)  # noqa: E731
    shifts = Shifts(some(depth, 0, 2), some(depth, -2, 2), some(nodes, -3, 3))
    maps = [LEVEL_MAPS[draw(st.sampled_from(METHODS))] for _ in range(depth)]
    way = draw(st.sampled_from(COHERENCE))
    model = LevelCalibration(taxonomy, maps, shifts, way)
    picked = rng.choice([0.0, 1e-9, 0.0009, 0.000999, FLOOR, 0.0010001, 0.002, 0.5, 1.0], (8, nodes))
    scores = np.where(rng.random(picked.shape) < 0.5, picked, rng.random(picked.shape)).astype(np.float32)
    return model, taxonomy.coherent(scores)


@settings(max_examples=50)
@given(calibrated())
def test_results_are_probabilities_and_coherent(case):
    model, scores = case
    out = model.apply(scores)
    assert out.dtype == np.float32
    assert out.shape == scores.shape
    assert ((out >= 0) & (out <= 1)).all()
    assert not model.taxonomy.violations(out).any()
    assert (out[scores == 0] == 0).all()


@settings(max_examples=50)
@given(calibrated())
def test_scores_that_are_higher_everywhere_never_come_out_lower(case):
    model, scores = case
    lower = model.taxonomy.coherent(scores * np.float32(0.97))
    assert (model.apply(lower) <= model.apply(scores)).all()


@settings(max_examples=50)
@given(calibrated(), st.integers(0, 2**32))
def test_without_other_nodes_in_the_way_order_is_kept(case, seed):
    """On a taxonomy without edges nothing but the node's own map is at work."""
    model, _ = case
    flat = Taxonomy(model.taxonomy.nodes)
    shifts = Shifts(model.shifts.slopes[:1], model.shifts.constants[:1], model.shifts.offsets)
    alone = LevelCalibration(flat, model.maps[:1], shifts, model.coherence)
    column = np.sort(np.random.default_rng(seed).random(200).astype(np.float32) ** 4)
    out = alone.apply(np.repeat(column[:, None], len(flat), axis=1))
    assert (np.diff(out, axis=0) >= 0).all()


@settings(max_examples=50)
@given(calibrated())
def test_rows_are_independent(case):
    model, scores = case
    whole = model.apply(scores)
    assert np.array_equal(np.concatenate([model.apply(row[None]) for row in scores]), whole)
    assert np.array_equal(model.apply(scores[::-1])[::-1], whole)


@settings(max_examples=50)
@given(calibrated())
def test_sparse_scores_get_the_same_values(case):
    model, scores = case
    out = model.apply_sparse(csr_matrix(scores))
    assert np.array_equal(out.toarray(), model.apply(scores))
    kept = sparse_scores(scores)
    assert np.array_equal(model.apply_sparse(kept).toarray(), np.where(kept.toarray() > 0, model.apply(scores), 0))


@settings(max_examples=50)
@given(calibrated())
def test_json_keeps_every_bit(case):
    model, scores = case
    again = LevelCalibration.from_dict(model.taxonomy, json.loads(json.dumps(model.to_dict())))
    assert np.array_equal(again.apply(scores), model.apply(scores))
    assert again.to_dict() == model.to_dict()


@given(dags(), st.integers(0, 2**32))
def test_a_calibration_that_learned_nothing_changes_nothing(dag, seed):
    taxonomy = dag.taxonomy
    scores = taxonomy.coherent(np.random.default_rng(seed).random((4, len(taxonomy)), dtype=np.float32))
    assert LevelCalibration(taxonomy).apply(scores) == pytest.approx(scores, abs=1e-6)


@settings(max_examples=40)
@given(calibrated())
def test_the_steps_are_those_of_a_slow_reference(case):
    """Pair by pair, in float64; shifted, coherent, mapped, coherent."""
    model, scores = case
    out = model.apply(scores)
    taxonomy = model.taxonomy
    for row, got in zip(scores.astype(np.float64), out, strict=True):
        alive = [j for j in range(len(taxonomy)) if row[j] >= np.float32(FLOOR)]
        shifts = model.shifts
        value = {}
        for j in alive:
            i = taxonomy.levels[j] - 1
            x = logit(np.clip(row[j], 1e-8, 1 - 1e-8))
            value[j] = expit(shifts.slopes[i] * x + shifts.constants[i] + shifts.offsets[j])
        value = slow_coherent(taxonomy, value, model.coherence)
        value = {j: slow_map(model.maps[taxonomy.levels[j] - 1], p) for j, p in value.items()}
        value = slow_coherent(taxonomy, value, model.coherence)
        assert got[alive] == pytest.approx([value[j] for j in alive], abs=2e-5)


def slow_coherent(taxonomy, value, way):
    above = {j: [k for k in value if taxonomy.nodes[k] in taxonomy.ancestors(taxonomy.nodes[j])] for j in value}
    capped = {j: min([value[j], *(value[k] for k in above[j])]) for j in value}
    lifted = {j: max([value[j], *(value[k] for k in value if j in above[k])]) for j in value}
    if way == "mean":
        return {j: (capped[j] + lifted[j]) / 2 for j in value}
    return capped if way == "cap" else lifted


def slow_map(level_map, p):
    p = min(max(p, 1e-8), 1 - 1e-8)
    x = np.log(p / (1 - p))
    v = level_map.values
    if level_map.method == "isotonic":
        return expit(np.interp(x, level_map.knots, v))
    if level_map.method == "beta":
        return expit(v[0] * np.log(p) - v[1] * np.log(1 - p) + v[2])
    return expit(v[0] * x + (v[1] if len(v) > 1 else 0))


# -- maps ------------------------------------------------------------------------------------------------------


def pairs_of(n, bend, seed=0):
    """Scores, and truth drawn at bend(log-odds of the score)."""
    rng = np.random.default_rng(seed)
    scores = expit(rng.normal(-1, 2, n))
    return scores, rng.random(n) < expit(bend(logit(scores)))


@pytest.mark.parametrize(
    ("method", "weights"), [("temperature", [0.6]), ("platt", [1.5, -0.7]), ("beta", [0.6, 1.8, 0.4])]
)
def test_each_family_finds_the_weights_that_made_the_data(method, weights):
    made = LevelMap(method, tuple(weights))
    rng = np.random.default_rng(1)
    scores = expit(rng.normal(-1, 2, 60_000))
    found = fit_map(method, scores, rng.random(60_000) < expit(made.log_odds(scores)))
    assert found.values == pytest.approx(weights, abs=0.07)


@pytest.mark.parametrize(
    ("method", "features"),
    [
        ("platt", lambda s: [logit(s)]),
        ("beta", lambda s: [np.log(s), -np.log(1 - s)]),
    ],
)
def test_platt_and_beta_are_logistic_models_of_scikit_learn(method, features):
    scores, truth = pairs_of(3_000, lambda x: 1.3 * x - 0.6)
    X = np.column_stack(features(scores))
    theirs = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1_000).fit(X, truth).predict_proba(X)[:, 1]
    assert expit(fit_map(method, scores, truth).log_odds(scores)) == pytest.approx(theirs, abs=5e-3)  # a ridge here


def test_isotonic_is_that_of_scikit_learn_between_its_bounds():
    scores, truth = pairs_of(3_000, lambda x: x + np.sin(x))
    ours = expit(fit_map("isotonic", scores, truth).log_odds(scores))
    theirs = IsotonicRegression(out_of_bounds="clip").fit_transform(scores, truth.astype(float))
    assert ours == pytest.approx(np.clip(theirs, 1 / 3_002, 1 - 1 / 3_002), abs=1e-9)


def test_pairs_left_out_lie_below_all_others_in_an_isotonic_map():
    """Where they are true more often than the lowest that are scored, those are raised to their rate."""
    scores, truth = np.array([0.002, 0.004, 0.5, 0.6]), np.array([False, False, True, True])
    at_floor = [expit(fit_map("isotonic", scores, truth, absent).log_odds(scores[:2])) for absent in [(0, 0), (8, 4)]]
    assert at_floor[0] == pytest.approx([1 / 6, 1 / 6])  # kept off 0
    assert at_floor[1] == pytest.approx([0.4, 0.4])  # (4 + 0 + 0) / (8 + 1 + 1)


@pytest.mark.parametrize("method", ["temperature", "platt", "beta"])
def test_newtons_weights_are_the_minimum(method):
    scores, truth = pairs_of(400, lambda x: 0.8 * x + 0.3, seed=3)
    identity = {"temperature": [1], "platt": [1, 0], "beta": [1, 1, 0]}[method]

    def loss(w):
        z = LevelMap(method, tuple(w)).log_odds(scores)
        return np.logaddexp(0, np.where(truth, -z, z)).sum() + ((w - np.array(identity)) ** 2).sum() / 2

    best = minimize(loss, identity, bounds=[(0, None) if i else (None, None) for i in identity], tol=1e-12)
    assert loss(np.array(fit_map(method, scores, truth).values)) == pytest.approx(best.fun, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_maps_never_fall(method, data):
    """Even where higher scores are less often true, and where truth is all on one side."""
    n = data.draw(st.integers(1, 30))
    scores = np.array(data.draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n)))
    truth = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    values = fit_map(method, scores, truth).log_odds(np.linspace(0, 1, 101))
    assert np.isfinite(values).all()
    assert (np.diff(values) >= -1e-9).all()


# -- learning --------------------------------------------------------------------------------------------------

NODES = 12
WIDE = Taxonomy([f"{i:02d}" for i in range(NODES)], [])
TREE = Taxonomy(
    ["a", "b", *(f"{p}{i}" for p in "ab" for i in range(5))], [(p, f"{p}{i}") for p in "ab" for i in range(5)]
)


def documents(taxonomy, n, seed=0, bend=lambda x: x, offsets=0.0):
    """Coherent scores, and closed labels: a label given its parent as probable as the bent scores say.

    Each node's chance given its parent is drawn; the score is bent so that `bend` undoes it.
    """
    rng = np.random.default_rng(seed)
    chance = taxonomy.coherent(expit(rng.normal(-1.5, 1.8, (n, len(taxonomy)))), "max")
    truth = np.zeros(chance.shape, dtype=bool)
    for j in range(len(taxonomy)):
        up = taxonomy.parents.of(j)
        given = chance[:, up[0]] if len(up) else 1.0
        truth[:, j] = (rng.random(n) < chance[:, j] / given) & (truth[:, up[0]] if len(up) else True)
    scores = taxonomy.coherent(expit(bend(logit(chance)) - offsets).astype(np.float32), "max")
    return csr_matrix(truth), sparse_scores(scores), scores


@pytest.mark.parametrize("method", ["auto", *METHODS[1:]])
@pytest.mark.parametrize("taxonomy", [WIDE, TREE], ids=["flat", "tree"])
def test_what_was_bent_comes_out_straight(method, taxonomy):
    def bend(x):
        return 2 * x + (method != "temperature")  # which knows slopes only

    model = LevelCalibration.fit(taxonomy, *documents(taxonomy, 3_000, bend=bend)[:2], method=method)
    true, sparse, _ = documents(taxonomy, 3_000, seed=1, bend=bend)
    before, after = (
        calibration_table(true, s, taxonomy.levels).ece.max() for s in (sparse, model.apply_sparse(sparse))
    )
    assert before > 0.05
    assert after < 0.025


def test_nodes_that_differ_are_told_apart():
    offsets = np.linspace(-2, 2, NODES)
    fit, new = (documents(WIDE, 3_000, seed=s, offsets=offsets)[:2] for s in (0, 1))
    figures = {
        per_node: node_count_error(new[0], LevelCalibration.fit(WIDE, *fit, per_node=per_node).apply_sparse(new[1]))
        for per_node in (False, True)
    }
    assert figures[False] > 0.3
    assert figures[True] < 0.06


def test_a_node_with_few_documents_stays_with_its_level():
    """Nodes of all sizes are off by the same; three documents' worth of pairs hardly move one, 3,000 do."""
    rng = np.random.default_rng(0)
    n, sizes = 3_000, np.array([3, 30, 300, 3_000] * 5)
    taxonomy = Taxonomy([f"{j:02d}" for j in range(len(sizes))])
    off = np.tile(np.repeat([-0.4, 0.4], 4), 3)[: len(sizes)]
    scored = rng.permuted(np.arange(n)[:, None] < sizes, axis=0)
    chance = np.where(scored, expit(rng.normal(0, 1, scored.shape)), 0)
    truth = rng.random(chance.shape) < chance
    scores = np.where(scored, expit(logit(np.where(scored, chance, 0.5)) - off), 0).astype(np.float32)
    moved = LevelCalibration.fit(taxonomy, csr_matrix(truth), csr_matrix(scores)).shifts.offsets
    share = [(moved / off)[sizes == size].mean() for size in (3, 30, 300, 3_000)]
    assert share[0] < 0.25
    assert share[3] == pytest.approx(1, abs=0.2)
    assert share[0] < share[1] < share[2]
    assert np.abs(moved[sizes == 3]).mean() < 0.15


def test_equal_nodes_are_left_with_their_level():
    model = LevelCalibration.fit(WIDE, *documents(WIDE, 2_000)[:2])
    assert model.report["levels"][0]["width"] <= 0.1
    assert np.abs(model.shifts.offsets).max() < 0.25


def test_the_method_of_least_held_out_loss_is_taken():
    true, sparse, _ = documents(TREE, 1_500, bend=lambda x: 2 * x + 1)
    model = LevelCalibration.fit(TREE, true, sparse, per_node=False)
    for row in model.report["levels"]:
        assert row["method"] == min(row["losses"], key=row["losses"].__getitem__)
        assert row["losses"][row["method"]] < row["losses"]["identity"]
        assert set(row["losses"]) == set(METHODS)
    assert [m.method for m in model.maps] == [row["method"] for row in model.report["levels"]]


def test_scores_that_are_calibrated_are_left_alone():
    true, sparse, _ = documents(WIDE, 3_000)
    model = LevelCalibration.fit(WIDE, true, sparse)
    change = np.abs(model.apply_sparse(sparse).data - sparse.data)
    assert change.mean() < 0.01


def test_held_out_scores_are_learned_without_their_own_document():
    """Noise cannot be learned: on labels that are drawn anew for every pair, own scores would gain, these lose."""
    rng = np.random.default_rng(0)
    true, scores = (rng.random((300, NODES)) < 0.3), rng.random((300, NODES)).astype(np.float32)
    model, own = LevelCalibration.cross_fit(WIDE, csr_matrix(true), sparse_scores(scores), method="isotonic")
    seen = model.apply(scores)
    loss = lambda p: -np.log(np.where(true, p, 1 - p)).mean()  # noqa: E731
    assert own.shape == scores.shape
    assert loss(seen) < loss(np.full(true.shape, true.mean())) < loss(own.toarray())


def test_held_out_scores_are_coherent_and_where_scores_were():
    true, sparse, _ = documents(TREE, 400, bend=lambda x: 2 * x + 1, offsets=np.linspace(-1, 1, len(TREE)))
    _, own = LevelCalibration.cross_fit(TREE, true, sparse)
    assert np.array_equal(own.indices, sparse.indices)
    assert np.array_equal(own.indptr, sparse.indptr)
    assert not TREE.violations(own.toarray()).any()


def test_unknown_pairs_teach_nothing():
    true, sparse, _ = documents(WIDE, 800, bend=lambda x: 1.5 * x)
    hidden = np.random.default_rng(5).random(true.shape) < 0.3
    unknown = csr_matrix(hidden & ~true.toarray())
    changed = sparse.copy()
    base = LevelCalibration.fit(WIDE, true, sparse, unknown=unknown)
    rows = np.repeat(np.arange(sparse.shape[0]), np.diff(sparse.indptr))
    of_unknown = np.asarray(unknown[rows, sparse.indices]).ravel() != 0
    changed.data[of_unknown] = 0.9
    again = LevelCalibration.fit(WIDE, true, changed, unknown=unknown)
    assert again.to_dict() == base.to_dict()
    told = base.report["levels"][0]
    assert told["pairs"] + told["absent"] + unknown.nnz == true.shape[0] * NODES


def test_same_seed_same_result():
    data = documents(TREE, 300)[:2]
    one, two = (LevelCalibration.fit(TREE, *data, seed=7).to_dict() for _ in range(2))
    assert one == two
    assert one != LevelCalibration.fit(TREE, *data, seed=8).to_dict()


def test_the_report_counts_what_is_not_scored():
    true, sparse, scores = documents(TREE, 500, bend=lambda x: 3 * x)
    rows = LevelCalibration.fit(TREE, true, sparse).report["levels"]
    for row in rows:
        columns = row["level"] == TREE.levels
        low = scores[:, columns] < np.float32(FLOOR)
        assert row["absent"] == low.sum() > 0
        assert row["absent_positives"] == (low & true.toarray()[:, columns]).sum()
        assert row["pairs"] == (~low).sum()
        assert row["positives"] == (~low & true.toarray()[:, columns]).sum()


# -- little or nothing to learn from ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 4, 10])
def test_with_too_few_documents_scores_stay_as_they_are(n):
    true, sparse, scores = documents(TREE, n)
    model = LevelCalibration.fit(TREE, true, sparse)
    assert model.apply(scores) == pytest.approx(scores, abs=1e-6)
    assert {row["method"] for row in model.report["levels"]} == {"identity"}


def test_a_level_with_few_labels_takes_the_map_of_all():
    true, sparse, _ = documents(TREE, 1_000, bend=lambda x: 2 * x + 1)
    rare = true.toarray()
    rare[100:, TREE.levels == 2] = False
    keep = sparse.toarray()
    keep[100:, TREE.levels == 2] = 0
    model = LevelCalibration.fit(TREE, csr_matrix(rare), csr_matrix(keep)[:, :])
    assert [row["shared"] for row in model.report["levels"]] == [False, rare[:, TREE.levels == 2].sum() < 30]


@settings(max_examples=30)
@given(dags(), st.integers(0, 2**32), st.integers(0, 60), st.sampled_from(["auto", *METHODS]))
def test_any_data_can_be_fitted(dag, seed, n, method):
    taxonomy, rng = dag.taxonomy, np.random.default_rng(seed)
    true = close(taxonomy, csr_matrix(rng.random((n, len(taxonomy))) < 0.2))
    scores = taxonomy.coherent(rng.random((n, len(taxonomy)), dtype=np.float32) ** 6)
    model, own = LevelCalibration.cross_fit(taxonomy, true, sparse_scores(scores), method=method)
    for out in (model.apply(scores), own.toarray()):
        assert np.isfinite(out).all()
        assert not taxonomy.violations(out).any()
    assert json.loads(json.dumps(model.report)) == model.report


# -- errors ----------------------------------------------------------------------------------------------------


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match="unknown calibration 'spline'; choose auto, identity, temperature, platt"):
        LevelCalibration.fit(TREE, *documents(TREE, 5)[:2], method="spline")


def test_scores_must_be_coherent():
    scores = np.zeros((1, len(TREE)), dtype=np.float32)
    scores[0, TREE.index("b3")] = 0.5
    with pytest.raises(UsageError, match="not coherent: 'b3' scores above its parent 'b'"):
        LevelCalibration(TREE).apply(scores)


@pytest.mark.parametrize("shape", [(3, 11), (12,)])
def test_scores_must_fit_the_taxonomy(shape):
    with pytest.raises(UsageError, match="the taxonomy has 12 nodes"):
        LevelCalibration(TREE).apply(np.zeros(shape, dtype=np.float32))


def test_truth_must_fit_the_scores():
    true, sparse, _ = documents(TREE, 5)
    with pytest.raises(UsageError, match=r"scores have shape \(4, 12\); expected \(5, 12\)"):
        LevelCalibration.fit(TREE, true, sparse[:4])


def test_docstring_examples():
    assert doctest.testmod(calibration).failed == 0
