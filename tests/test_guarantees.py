"""Guarantees: valid by simulation, and in their parts equal to slow references."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dags import dags
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.stats import binom

from hclf import guarantees
from hclf.errors import UsageError
from hclf.guarantees import NEVER, Guarantee, guarantee, risk_coverage, usual_size
from hclf.labels import close, from_pairs, label_matrix
from hclf.taxonomy import Taxonomy

TREE = Taxonomy(
    ["a", "b", *(f"{p}{i}" for p in "ab" for i in range(3))], [(p, f"{p}{i}") for p in "ab" for i in range(3)]
)
DRAWS = 500
METHODS = ["betting", "hoeffding-bentkus"]


def population(n: int, seed: int, sharpen: float = 1.0) -> tuple[csr_matrix, csr_matrix]:
    """Documents of TREE: scores are right on average; sharpened ones are overconfident."""
    rng = np.random.default_rng(seed)
    root = rng.beta(4, 0.7, (n, 2))
    leaf = np.repeat(root, 3, axis=1) * rng.beta(2, 0.8, (n, 6))
    chance = rng.random((n, 8))
    has_root = chance[:, :2] < root
    has_leaf = np.repeat(has_root, 3, axis=1) & (chance[:, 2:] < leaf / np.repeat(root, 3, axis=1))
    scores = np.hstack([root, leaf]) ** (1 / sharpen)
    rows, columns = np.nonzero(np.hstack([has_root, has_leaf]))
    return close(TREE, from_pairs(rows, columns, (n, 8))), csr_matrix(scores.astype(np.float32))


def of(true: csr_matrix, scores: csr_matrix, **options: object) -> Guarantee:
    return guarantee(TREE, true, scores, **options)  # type: ignore


def precision_of(found: Guarantee, true: csr_matrix, scores: csr_matrix) -> float:
    """Micro precision of the answers, by sets; 1.0 of nothing."""
    chosen = found.decoder.select(TREE, scores.toarray())
    return float((chosen & true.toarray()).sum() / chosen.sum()) if chosen.any() else 1.0


def example_precision_of(found: Guarantee, true: csr_matrix, scores: csr_matrix) -> float:
    chosen = found.decoder.select(TREE, scores.toarray())
    right, size = (chosen & true.toarray()).sum(axis=1), chosen.sum(axis=1)
    return float((right[size > 0] / size[size > 0]).mean()) if size.any() else 1.0


# -- validity ----------------------------------------------------------------------------------------------------


def allowed(confidence: float) -> int:
    """More violations than this are not chance: the 99.9 % point of their number if the promise is just kept."""
    return int(binom.ppf(0.999, DRAWS, 1 - confidence))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sharpen", "each", "average", "method"),
    [
        (1.0, True, "micro", "betting"),
        (2.5, True, "micro", "betting"),
        (1.0, False, "micro", "betting"),
        (1.0, True, "example", "betting"),
        (1.0, True, "micro", "hoeffding-bentkus"),
    ],
)
def test_the_precision_of_the_population_holds_with_the_confidence_stated(
    sharpen: float, each: bool, average: str, method: str
) -> None:
    whole = population(60_000, 0, sharpen)
    measure = precision_of if average == "micro" else example_precision_of
    known: dict[float, float] = {}
    broken, answered = 0, 0
    for seed in range(1, DRAWS + 1):
        own = population(300, seed, sharpen)
        found = of(*own, precision=0.85, confidence=0.8, average=average, method=method, each=each)
        if found.chosen.mean not in known:
            known[found.chosen.mean] = measure(found, *whole)
        broken += known[found.chosen.mean] < 0.85
        answered += found.holds
    assert broken <= allowed(0.8)
    assert answered > DRAWS / 5  # silence keeps every promise


@pytest.mark.slow
@pytest.mark.parametrize("future", [100, 300, 3000])
def test_the_precision_measured_on_the_next_documents_holds_with_the_confidence_stated(future: int) -> None:
    broken, answered = 0, 0
    for seed in range(DRAWS):
        true, scores = population(600 + future, seed)
        found = of(true[:600], scores[:600], precision=0.85, confidence=0.8, future=future)
        broken += precision_of(found, true[600:], scores[600:]) < 0.85
        answered += found.holds
    assert broken <= allowed(0.8)
    assert answered > DRAWS / 2


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_p_values_of_a_null_on_its_edge_are_not_small_too_often(method: str) -> None:
    """Skewed, lumpy figures whose mean is exactly 0: the hardest nulls there are."""
    rng = np.random.default_rng(0)
    test = guarantees._betting if method == "betting" else guarantees._hoeffding_bentkus
    for target, bound, n in [(0.9, 1, 50), (0.9, 6, 400), (0.98, 4, 400), (0.5, 2, 100)]:
        full = rng.random((n, 4000)) < 1 - target  # all of `bound` nodes wrong, or all right
        excess = bound * (full - (1 - target))
        p_values = test(excess, np.zeros(4000), target, bound, 0.1)
        for level in (0.01, 0.1, 0.3):
            assert (p_values <= level).sum() <= binom.ppf(0.9999, 4000, level)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [0.0, 0.02])
def test_p_values_fall_with_evidence(method: str, shift: float) -> None:
    test = guarantees._betting if method == "betting" else guarantees._hoeffding_bentkus
    few, many = (np.full((n, 1), -0.1) for n in (30, 300))
    by_n = [test(part, np.array([shift]), 0.9, 1, 0.1)[0] for part in (few, many)]
    assert by_n[1] < by_n[0] <= 1
    assert test(-few, np.array([shift]), 0.9, 1, 0.1)[0] > 0.9


# -- parts -------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    dag=dags(max_nodes=7),
    seed=st.integers(0, 2**32 - 1),
    path=st.booleans(),
    each=st.booleans(),
    average=st.sampled_from(["micro", "example"]),
)
def test_what_is_said_of_each_mean_is_what_its_decoder_does(
    dag, seed: int, path: bool, each: bool, average: str
) -> None:
    taxonomy, rng = dag.taxonomy, np.random.default_rng(seed)
    scores = taxonomy.coherent(rng.beta(2, 0.5, (6, len(taxonomy))).astype(np.float32))
    true = close(taxonomy, from_pairs(*np.nonzero(rng.random(scores.shape) < scores), shape=scores.shape))
    found = guarantee(
        taxonomy,
        true,
        csr_matrix(scores),
        precision=0.8,
        confidence=0.5,
        path=path,
        each=each,
        average=average,
        most=4,
    )
    for said in found.tested:
        decoder = guarantees.SafeDepthDecoder(said.mean, found.least, found.most, path, each)
        chosen = decoder.select(taxonomy, scores)
        size, some = chosen.sum(axis=1), chosen.any(axis=1)
        assert said.coverage == pytest.approx(some.mean())
        if not some.any():
            assert said.precision is None
            continue
        right = (chosen & true.toarray()).sum(axis=1)
        ratio = right.sum() / size.sum() if average == "micro" else (right[some] / size[some]).mean()
        assert said.precision == pytest.approx(ratio)
        assert said.labels == pytest.approx(size[some].mean())
        assert said.depth == pytest.approx(np.where(chosen, taxonomy.levels, 0).max(axis=1)[some].mean())


def test_means_are_tested_from_strict_to_loose_and_answers_nest() -> None:
    found = of(*population(400, 0), precision=0.9)
    means = [one.mean for one in found.tested]
    assert means == sorted(means, reverse=True)
    coverage = [one.coverage for one in found.tested]
    assert coverage == sorted(coverage)
    assert 0.9 in means
    assert means[-1] == found.least


def test_the_error_is_spent_once() -> None:
    for target in (0.3, 0.5, 0.9, 0.98):
        means, start = guarantees._list(target, 0.5)
        assert start.sum() == pytest.approx(1)
        assert (np.diff(means) <= 0).all()
        assert start[np.flatnonzero(means == target)].sum() == 0.5


def test_an_accepted_mean_hands_its_share_to_the_next() -> None:
    p_values = np.array([0.5, 0.04, 0.06, 0.1, 0.001])
    shares = np.array([0.05, 0.05, 0.05, 0.0, 0.0])
    assert guarantees._fallback(p_values, shares) == [False, True, True, True, True]
    assert guarantees._fallback(p_values, np.array([0.05, 0.05, 0.0, 0.0, 0.0])) == [False, True, False, False, False]


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1, 1 - 0.8, 0.3])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
def test_levels_of_future_samples_sum_to_the_error(error: float, ratio: float) -> None:
    levels = guarantees._levels(error, ratio)
    steps = [r for r, _ in levels]
    total = steps[0] + sum(d * (b - a) for (a, d), b in zip(levels, [*steps[1:], 1.0], strict=True))
    assert 0.5 * error < total <= error * (1 + 1e-9)
    assert all(1e-4 * error <= d < 1 for _, d in levels)
    assert [d for _, d in levels] == sorted((d for _, d in levels), reverse=True)


def test_more_is_answered_with_more_documents_and_never_more_than_without_guarantee() -> None:
    few, many = (of(*population(n, 3), precision=0.9) for n in (200, 4000))
    assert few.chosen.coverage < many.chosen.coverage
    for found in (few, many):
        assert found.chosen.mean >= found.plain.mean
        assert found.chosen.coverage <= found.plain.coverage


def test_a_promise_for_few_future_documents_is_stricter() -> None:
    case = population(2000, 5)
    means = [of(*case, precision=0.9, future=future).chosen.mean for future in (None, 100_000, 2000, 500)]
    assert means == sorted(means)


def test_nodes_of_which_truth_says_nothing_are_neither_right_nor_wrong() -> None:
    true, scores = population(400, 1)
    wrong = from_pairs(*np.nonzero(~true.toarray()), shape=true.shape)
    found = of(true, scores, precision=0.9, unknown=wrong)
    assert found.chosen.precision == 1
    assert found.chosen.mean <= of(true, scores, precision=0.9).chosen.mean


@pytest.mark.parametrize("method", METHODS)
def test_without_documents_nothing_is_promised(method: str) -> None:
    true, scores = population(10, 0)
    found = of(true[:0], scores[:0], precision=0.9, method=method)
    assert not found.holds
    assert found.needed is None
    assert not found.decoder.select(TREE, np.ones((2, 8))).any()


def test_too_few_documents_are_said_to_be_too_few() -> None:
    found = of(*population(20, 0), precision=0.95, confidence=0.99)
    assert found.chosen == guarantees.Operating(NEVER, 0.0, 0.0, 0.0, None)
    assert found.needed is not None
    assert found.needed > 20
    assert f"about {found.needed:,} documents would be needed" in found.summary


def test_documents_that_are_always_wrong_are_said_to_be_no_matter_of_number() -> None:
    _, scores = population(200, 0)
    found = of(label_matrix(TREE, [[]] * 200), scores, precision=0.9)
    assert not found.holds
    assert found.needed is None
    assert "more documents would not help" in found.summary


def test_the_summary_says_what_it_costs() -> None:
    found = of(*population(3000, 0), precision=0.9, future=1000)
    assert "precision >= 0.9 with 90% confidence on the next 1,000 documents" in found.summary
    assert f"{found.chosen.coverage:.1%} of documents answered" in found.summary


def test_the_same_seed_gives_the_same_guarantee() -> None:
    case = population(500, 0)
    assert of(*case, precision=0.9, seed=3) == of(*case, precision=0.9, seed=3)


@pytest.mark.parametrize("n", [20, 2000])
def test_a_guarantee_survives_json(n: int) -> None:
    found = of(*population(n, 0), precision=0.9)
    again = Guarantee.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert again.decoder == found.decoder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": 1.0}, "precision lies between 0 and 1"),
        ({"precision": 0.9, "confidence": 0.0}, "confidence lies between 0 and 1"),
        ({"precision": 0.9, "average": "macro"}, "micro or example"),
        ({"precision": 0.9, "method": "normal"}, "betting or hoeffding-bentkus"),
        ({"precision": 0.9, "future": 0}, "at least 1 document"),
        ({"precision": 0.9, "most": 0}, "most is at least 1"),
    ],
)
def test_values_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        of(*population(10, 0), **options)


def test_shapes_that_do_not_fit_are_refused() -> None:
    true, scores = population(10, 0)
    with pytest.raises(UsageError, match="truth is"):
        of(true[:5], scores, precision=0.9)


def test_the_usual_size_of_an_answer() -> None:
    assert usual_size(TREE) == 4
    assert usual_size(TREE, path=True) == 2
    assert usual_size(Taxonomy([])) == usual_size(Taxonomy([]), path=True) == 1


# -- risk and coverage -------------------------------------------------------------------------------------------


def test_curves_are_those_of_a_slow_count() -> None:
    true, scores = population(60, 2)
    table, labels = scores.toarray(), true.toarray()
    rows = risk_coverage(TREE, true, scores)
    assert {row["level"] for row in rows} == {0, 1, 2}
    for row in rows:
        if row["level"]:
            chosen = (table >= row["threshold"]) & (TREE.levels == row["level"])
        else:
            chosen = guarantees.SafeDepthDecoder(row["threshold"]).select(TREE, table)
        assert row["coverage"] == pytest.approx(chosen.any(axis=1).mean())
        assert row["precision"] == pytest.approx((chosen & labels).sum() / chosen.sum())
        assert row["risk"] == pytest.approx(1 - row["precision"])


def test_coverage_rises_along_a_curve_of_at_most_fifty_points() -> None:
    rows = risk_coverage(TREE, *population(3000, 0))
    for level in (0, 1, 2):
        own = [row for row in rows if row["level"] == level]
        assert 10 < len(own) <= guarantees.POINTS + 1
        assert [row["coverage"] for row in own] == sorted(row["coverage"] for row in own)
        assert [row["threshold"] for row in own] == sorted((row["threshold"] for row in own), reverse=True)


def test_without_scores_there_is_no_curve() -> None:
    true, _ = population(5, 0)
    assert risk_coverage(TREE, true, csr_matrix(true.shape, dtype=np.float32)) == []
