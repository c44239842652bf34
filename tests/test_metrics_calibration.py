"""Calibration metrics against slow references over dense pairs, against scikit-learn, and on edge cases."""

from __future__ import annotations

import doctest
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from hclf.errors import UsageError
from hclf.metrics import calibration
from hclf.metrics.calibration import (
    brier_score,
    calibration_table,
    error_by_chance,
    expected_calibration_error,
    log_loss,
    node_count_error,
    reliability_table,
)

GRID = [0.0, 0.0, 0.0, 0.004, 0.01, 0.1, 0.1, 0.25, 0.5, 0.9, 1.0]  # ties, absent pairs, and both sides of .01
LEASTS = [0.0, 0.01, 0.1]


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, scores, unknown pairs and levels, all dense."""
    n, m = draw(st.integers(0, 6)), draw(st.integers(1, 5))

    def cells(of: st.SearchStrategy) -> np.ndarray:
        return np.array(draw(st.lists(of, min_size=n * m, max_size=n * m))).reshape(n, m)

    levels = draw(st.lists(st.integers(1, 3), min_size=m, max_size=m))
    true, scores, unknown = cells(st.booleans()), cells(st.sampled_from(GRID)), cells(st.booleans())
    return true.astype(bool), scores.astype(float), unknown.astype(bool), np.array(levels)


def judged(true, scores, unknown, least, columns=None):
    """Score and truth of every pair that counts, one by one."""
    n, m = true.shape
    return [
        (float(scores[i, j]), bool(true[i, j]))
        for i in range(n)
        for j in (range(m) if columns is None else columns)
        if scores[i, j] >= least and (true[i, j] or not unknown[i, j])
    ]


def slow_bins(found, bins, binning):
    """Lists of pairs, one list a bin."""
    out: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    position = 0
    for score, group in groupby(sorted(found), key=lambda pair: pair[0]):
        alike = list(group)
        if binning == "mass":
            out[position * bins // len(found)] += alike
        else:
            out[next(k for k in range(bins) if k == bins - 1 or score <= np.linspace(0, 1, bins + 1)[k + 1])] += alike
        position += len(alike)
    return [b for b in out if b]


def slow_error(found, bins, binning):
    total = 0.0
    for one in slow_bins(found, bins, binning):
        gap = abs(sum(score for score, _ in one) / len(one) - sum(truth for _, truth in one) / len(one))
        total += len(one) / len(found) * gap
    return total


def slow_chance(found, bins):
    spread = [sum(score * (1 - score) for score, _ in one) for one in slow_bins(found, bins, "mass")]
    return sum(np.sqrt(2 / np.pi) * np.sqrt(s) for s in spread) / max(len(found), 1)


def slow_surprise(score, truth):
    p = min(max(score, 1e-6), 1 - 1e-6)
    return -np.log(p if truth else 1 - p)


@pytest.mark.parametrize("sparse", [False, True])
@given(case=cases(), least=st.sampled_from(LEASTS), bins=st.integers(1, 5))
def test_every_metric_equals_its_slow_reference(sparse, case, least, bins):
    true, scores, unknown, _ = case
    given_scores = csr_matrix(scores) if sparse else scores
    found = judged(true, scores, unknown, least)
    n = max(len(found), 1)
    options = {"least": least, "unknown": unknown}
    for binning in ("mass", "width"):
        error = expected_calibration_error(true, given_scores, bins=bins, binning=binning, **options)
        assert error == pytest.approx(slow_error(found, bins, binning), abs=1e-12)
    assert error_by_chance(true, given_scores, bins=bins, **options) == pytest.approx(slow_chance(found, bins))
    squares, surprises = ([of(s, t) for s, t in found] for of in (lambda s, t: (s - t) ** 2, slow_surprise))
    assert brier_score(true, given_scores, **options) == pytest.approx(sum(squares) / n)
    assert log_loss(true, given_scores, **options) == pytest.approx(sum(surprises) / n)


@given(case=cases(), least=st.sampled_from(LEASTS), bins=st.integers(1, 5))
def test_the_reliability_table_lists_the_bins(case, least, bins):
    true, scores, unknown, _ = case
    for binning in ("mass", "width"):
        table = reliability_table(true, scores, bins=bins, binning=binning, least=least, unknown=unknown)
        expected = slow_bins(judged(true, scores, unknown, least), bins, binning)
        assert table.pairs.tolist() == [len(one) for one in expected]
        assert table.mean_score == pytest.approx([np.mean([s for s, _ in one]) for one in expected])
        assert table.observed == pytest.approx([np.mean([t for _, t in one]) for one in expected])
        assert ((table.low <= table.observed + 1e-12) & (table.observed <= table.high + 1e-12)).all()


@given(case=cases(), least=st.sampled_from(LEASTS))
def test_the_table_per_level_is_each_metric_of_the_level_alone(case, least):
    true, scores, unknown, levels = case
    table = calibration_table(true, scores, levels, bins=3, least=least, unknown=unknown)
    for level in range(1, int(levels.max()) + 1):
        found = judged(true, scores, unknown, least, np.flatnonzero(levels == level))
        row = [column[level - 1] for column in table]
        assert row[:2] == [len(found), sum(t for _, t in found)]
        assert row[2:] == pytest.approx(
            [
                float(np.mean([s for s, _ in found])) if found else 0.0,
                slow_error(found, 3, "mass"),
                slow_error(found, 3, "width"),
                slow_chance(found, 3),
                sum((s - t) ** 2 for s, t in found),
                sum(slow_surprise(s, t) for s, t in found),
            ],
            abs=1e-9,
        )


@given(case=cases())
def test_node_counts_are_added_up_node_by_node(case):
    true, scores, unknown, _ = case
    known = true | ~unknown
    off = sum(abs((scores * known)[:, j].sum() - true[:, j].sum()) for j in range(true.shape[1]))
    assert node_count_error(true, scores, unknown=unknown) == pytest.approx(off / true.sum() if true.any() else 0.0)


def drawn(n: int = 3_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.random((n, 2))
    return rng.random((n, 2)) < scores**2, scores


@pytest.mark.parametrize(("binning", "strategy"), [("mass", "quantile"), ("width", "uniform")])
def test_scikit_learn_sees_the_same_diagram(binning, strategy):
    true, scores = drawn()
    table = reliability_table(true, scores, bins=15, binning=binning, least=0.0)
    observed, mean_score = calibration_curve(true.ravel(), scores.ravel(), n_bins=15, strategy=strategy)
    assert table.mean_score == pytest.approx(mean_score)
    assert table.observed == pytest.approx(observed)


def test_scikit_learn_sees_the_same_losses():
    true, scores = drawn()
    assert brier_score(true, scores, least=0.0) == pytest.approx(sk.brier_score_loss(true.ravel(), scores.ravel()))
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    assert log_loss(true, scores, least=0.0) == pytest.approx(sk.log_loss(true.ravel(), clipped.ravel()))


def test_wilson_intervals_are_those_of_scipy():
    from scipy.stats import binomtest

    true, scores = drawn(200)
    table = reliability_table(true, scores, bins=7)
    for observed, n, low, high in zip(table.observed, table.pairs, table.low, table.high, strict=True):
        expected = binomtest(round(observed * n), n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_calibrated_scores_err_by_chance_only():
    rng = np.random.default_rng(0)
    scores = rng.random((20_000, 1))
    errors = [expected_calibration_error(rng.random(scores.shape) < scores, scores) for _ in range(40)]
    assert np.mean(errors) == pytest.approx(error_by_chance(scores < 0.5, scores), rel=0.05)


def test_all_pairs_make_any_error_look_tiny():
    """Why the reading of scored pairs is the default: these scores are off by .4 wherever they say anything."""
    true = csr_matrix((500, 2_000), dtype=bool)
    scores = csr_matrix((np.full(500, 0.4), (np.arange(500), np.arange(500))), shape=true.shape)
    assert expected_calibration_error(true, scores) == pytest.approx(0.4)
    assert expected_calibration_error(true, scores, least=0.0) == pytest.approx(0.4 / 2_000)


def test_a_true_label_that_was_never_scored_counts_among_all_pairs_only():
    true, scores = csr_matrix([[True, False, True]]), csr_matrix([[0.0, 0.0, 1.0]])
    assert log_loss(true, scores) == pytest.approx(0, abs=1e-5)
    assert log_loss(true, scores, least=0.0) == pytest.approx(-np.log(1e-6) / 3, rel=1e-3)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_of_nothing_every_figure_is_zero(shape):
    nothing = csr_matrix(shape)
    levels = np.ones(shape[1], dtype=np.int64)
    figures = [f(nothing, nothing) for f in (expected_calibration_error, error_by_chance, brier_score, log_loss)]
    assert [*figures, node_count_error(nothing, nothing)] == [0.0] * 5
    assert all(len(column) == 0 for column in reliability_table(nothing, nothing))
    assert all((column == 0).all() for column in calibration_table(nothing, nothing, levels))


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([[0.5]], {}, "truth is 1 documents x 2 nodes, the scores 1 x 1"),
        ([[0.5, 0.5]], {"unknown": [[1]]}, "unknown pairs 1 x 1"),
        ([[0.5, 1.5]], {}, "1 scores are above 1; calibration is of probabilities"),
        ([[0.5, -0.5]], {}, "negative or NaN"),
        ([[0.5, 0.5]], {"bins": 0}, "bins must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(scores, options, message):
    with pytest.raises(UsageError, match=message):
        reliability_table([[1, 0]], scores, **options)


def test_levels_are_one_a_node():
    with pytest.raises(UsageError, match="levels for 2 nodes"):
        calibration_table([[1, 0]], [[0.5, 0.5]], np.array([1]))


def test_docstring_examples():
    assert doctest.testmod(calibration).failed == 0
