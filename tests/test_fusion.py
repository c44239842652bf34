"""Calibration, the prior of nodes without documents, and what tuning keeps of many scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dags import dags_with_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from hclf import fusion
from hclf.fusion import Calibration, Prior, Sample, sample, sampling_rate, sparse_scores
from hclf.labels import label_matrix
from hclf.taxonomy import Taxonomy

TRUE_WEIGHTS = np.array([[2.0, 0.5], [0.8, 1.5]])  # (levels, channels)
TRUE_INTERCEPTS = np.array([-1.0, -2.0])
LEVELS = np.array([1, 1, 1, 2, 2, 2, 2, 2])


def drawn(n: int, seed: int = 0, levels: np.ndarray = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Channels (2, n, columns), and truth drawn from the true logistic model of each column's level."""
    rng = np.random.default_rng(seed)
    channels = rng.normal(size=(2, n, len(levels))).astype(np.float32)
    z = np.einsum("cnm,mc->nm", channels, TRUE_WEIGHTS[levels - 1]) + TRUE_INTERCEPTS[levels - 1]
    return channels, rng.random(z.shape) < expit(z)


def every_pair(
    channels: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None, levels: np.ndarray = LEVELS
) -> Sample:
    """All pairs that the truth speaks of."""
    return sample(channels, truth, known, levels, 1.0, np.random.default_rng(0))


def fitted(channels: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None) -> Calibration:
    return Calibration.fit([every_pair(channels, truth, known)], 2)


# -- calibration -------------------------------------------------------------------------------------------------


def test_calibration_recovers_the_model_that_made_the_data() -> None:
    calibration = fitted(*drawn(8_000))
    assert calibration.coefficients == pytest.approx(TRUE_WEIGHTS, abs=0.1)
    assert calibration.intercepts == pytest.approx(TRUE_INTERCEPTS, abs=0.1)


def test_calibrated_probabilities_are_frequencies_on_new_data() -> None:
    calibration = fitted(*drawn(8_000))
    channels, truth = drawn(8_000, seed=1)
    probabilities = calibration.probabilities(channels, LEVELS)
    bins = (probabilities * 10).astype(int)
    for k in range(10):
        assert truth[bins == k].mean() == pytest.approx(probabilities[bins == k].mean(), abs=0.03)


def test_batches_do_not_matter() -> None:
    channels, truth = drawn(600)
    whole = fitted(channels, truth)
    parts = [every_pair(channels[:, rows], truth[rows]) for rows in (slice(0, 7), slice(7, 600))]
    again = Calibration.fit(parts, 2)
    assert again.coefficients == pytest.approx(whole.coefficients, abs=1e-4)
    assert again.intercepts == pytest.approx(whole.intercepts, abs=1e-4)


def test_columns_may_differ_from_batch_to_batch() -> None:
    """Every fold of a cross-validation has its own trained nodes."""
    channels, truth = drawn(600)
    every = np.arange(len(LEVELS))
    parts = [
        every_pair(channels[:, rows][:, :, columns], truth[rows][:, columns], None, LEVELS[columns])
        for rows, columns in ((slice(0, 300), every), (slice(300, 600), every[2:]))
    ]
    assert Calibration.fit(parts, 2).coefficients == pytest.approx(TRUE_WEIGHTS, abs=0.5)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_more_of_a_channel_never_lowers_a_probability(seed: int) -> None:
    """Not even where the data say so: truth here is any function of the channels."""
    rng = np.random.default_rng(seed)
    channels = rng.normal(size=(2, 40, len(LEVELS))).astype(np.float32)
    truth = rng.choice([-1, 1]) * channels[0] + rng.choice([-1, 1]) * channels[1] > rng.normal()
    calibration = fitted(channels, truth)
    assert (calibration.coefficients >= 0).all()
    assert np.isfinite(calibration.coefficients).all()
    lower = calibration.probabilities(channels, LEVELS)
    for c in range(2):
        more = channels.copy()
        more[c] += np.float32(rng.exponential())
        assert (calibration.probabilities(more, LEVELS) >= lower).all()
    assert ((lower >= 0) & (lower <= 1)).all()
    assert lower.dtype == np.float32


@pytest.mark.parametrize("kind", ["separable", "all true", "none true", "constant"])
def test_data_without_a_finite_optimum_give_finite_coefficients(kind: str) -> None:
    channels, truth = drawn(200)
    truth = {"separable": channels[0] > 0, "all true": truth | True, "none true": truth & False}.get(kind, truth)
    if kind == "constant":
        channels = np.ones_like(channels)
    calibration = fitted(channels, truth)
    assert np.isfinite([*calibration.coefficients.ravel(), *calibration.intercepts]).all()
    probabilities = calibration.probabilities(channels, LEVELS)
    assert probabilities.mean() == pytest.approx(truth.mean(), abs=0.02)


def test_levels_with_few_positives_share_the_coefficients_of_all_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    channels, truth = drawn(2_000)
    rare = truth.copy()
    rare[:, LEVELS == 2] = False
    rare[: fusion.MIN_POSITIVES - 1, 3] = True
    few = fitted(channels, rare)
    rare[fusion.MIN_POSITIVES - 1, 3] = True
    enough = fitted(channels, rare)
    monkeypatch.setattr(fusion, "MIN_POSITIVES", 10**9)
    shared = fitted(channels, rare)
    assert (shared.coefficients[0] == shared.coefficients[1]).all()
    assert few.intercepts[1] == pytest.approx(shared.intercepts[1], abs=0.1)
    assert enough.intercepts[1] < shared.intercepts[1] - 0.5  # its own: far rarer than level 1


def test_pairs_the_truth_does_not_speak_of_play_no_part() -> None:
    channels, truth = drawn(300)
    known = np.random.default_rng(5).random(truth.shape) < 0.7
    nonsense = np.where(known, channels, np.float32(9e3))
    expected = fitted(channels, truth & known, known)
    found = fitted(nonsense, truth & known, known)
    assert (found.coefficients == expected.coefficients).all()
    assert (found.intercepts == expected.intercepts).all()


def test_sampling_easy_negatives_changes_little_and_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.repeat([1, 2], [20, 80])
    channels, truth = drawn(1_000, levels=levels)
    batches = [(channels[:, rows], truth[rows], None, levels) for rows in (slice(0, 400), slice(400, 1_000))]
    pairs = truth.size
    assert sampling_rate(pairs) == 1
    full = Calibration.fit([every_pair(*batch) for batch in batches], 2)
    monkeypatch.setattr(fusion, "MAX_PAIRS", pairs // 4)
    rate = sampling_rate(pairs)
    assert rate == 0.25
    kept: list[int] = []

    def of_a_quarter(seed: int) -> Calibration:
        rng = np.random.default_rng(seed)
        samples = [sample(*batch, rate, rng) for batch in batches]
        kept.append(sum(len(part.truth) for part in samples))
        return Calibration.fit(samples, 2)

    sampled, again, other = (of_a_quarter(seed) for seed in (3, 3, 4))
    assert max(kept) < 0.7 * pairs
    assert sampled.coefficients == pytest.approx(full.coefficients, abs=0.15)
    assert sampled.intercepts == pytest.approx(full.intercepts, abs=0.15)
    assert (sampled.coefficients == again.coefficients).all()
    assert (sampled.coefficients != other.coefficients).any()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1))
def test_a_sample_keeps_positives_and_the_hardest_negatives_and_weighs_the_others(seed: int, rate: float) -> None:
    levels = np.repeat([1, 2], [30, 50])
    channels, truth = drawn(20, seed, levels)
    known = np.random.default_rng(seed).random(truth.shape) < 0.9
    found = sample(channels, truth, known, levels, rate, np.random.default_rng(seed))
    place = {tuple(pair): where for where, pair in enumerate(found.values.tolist())}
    for i in range(20):
        hardest = set(np.argsort(-channels[0, i])[: fusion.HARDEST].tolist())
        for j in range(80):
            at = place.pop(tuple(channels[:, i, j].tolist()), None)
            if not known[i, j]:
                assert at is None
            elif truth[i, j] or (j in hardest and rate < 1):
                assert found.weight[at] == 1
            if at is not None:
                assert (found.truth[at], found.level[at]) == (truth[i, j], levels[j])
                assert found.weight[at] in (1.0, 1 / rate)
    assert not place
    assert found.weight.sum() == pytest.approx(known.sum(), rel=0.35)  # the weights stand for all there were


def test_sampling_works_with_fewer_columns_than_hard_negatives() -> None:
    for columns in (1, 2, 8):
        channels, truth = (part[..., :columns] for part in drawn(100))
        few = sample(channels, truth, None, LEVELS[:columns], 10 / 800, np.random.default_rng(0))
        assert truth.sum() <= len(few.truth) <= truth.size
        assert np.isfinite(Calibration.fit([few], 2).intercepts).all()


def test_pairs_of_documents_and_nodes_are_calibrated_like_whole_columns() -> None:
    channels, truth = drawn(300)
    calibration = fitted(channels, truth)
    rows, columns = np.random.default_rng(0).integers((300, len(LEVELS)), size=(100, 2)).T
    pairs = calibration.probabilities(channels[:, rows, columns], LEVELS[columns])
    assert pairs.dtype == np.float32
    assert (pairs == calibration.probabilities(channels, LEVELS)[rows, columns]).all()
    assert calibration.probabilities(channels[:, :0, 0], LEVELS[:0]).shape == (0,)


def test_without_held_out_documents_margin_0_is_a_half() -> None:
    calibration = Calibration.default(levels=3, channels=2)
    channels = np.array([[[0.0, -1.0, 1.0]], [[5.0, 5.0, 5.0]]], dtype=np.float32)
    found = calibration.probabilities(channels, np.array([1, 2, 3]))
    assert found.tolist() == [[0.5, pytest.approx(expit(-2)), pytest.approx(expit(2))]]


@given(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3))
def test_calibration_survives_json_bit_for_bit(values: list[float]) -> None:
    calibration = Calibration(np.array([values[:2]]), np.array(values[2:]))
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again.coefficients.tobytes() == calibration.coefficients.tobytes()
    assert again.intercepts.tobytes() == calibration.intercepts.tobytes()


def test_a_row_of_probabilities_does_not_depend_on_the_others() -> None:
    channels, truth = drawn(50)
    calibration = fitted(channels, truth)
    together = calibration.probabilities(channels, LEVELS)
    for i in range(50):
        assert (calibration.probabilities(channels[:, i : i + 1], LEVELS) == together[i]).all()


# -- the prior ---------------------------------------------------------------------------------------------------


@given(dags_with_labels(rows=6), st.integers(0, 2**32 - 1))
def test_every_node_has_a_score_and_unseen_nodes_stay_below_their_parents(case: tuple, seed: int) -> None:
    dag, label_sets = case
    taxonomy: Taxonomy = dag.taxonomy
    Y = label_matrix(taxonomy, label_sets)
    counts = np.bincount(Y.indices, minlength=len(taxonomy))
    trained = np.flatnonzero(counts)
    probabilities = np.random.default_rng(seed).random((3, len(trained)), dtype=np.float32)
    scores = Prior(taxonomy, trained, counts, len(label_sets)).fill(probabilities)
    assert (scores.shape, scores.dtype) == ((3, len(taxonomy)), np.float32)
    assert (scores[:, trained] == probabilities).all()
    for row in scores:
        expected: dict[str, float] = {}
        for j, node in enumerate(taxonomy.nodes):  # parents first
            parents = [p for p, c in dag.edges if c == node]
            if counts[j]:
                expected[node] = float(row[j])
            elif not parents:
                expected[node] = 1 / (len(label_sets) + 2)
            else:
                expected[node] = min(expected[p] / (counts[taxonomy.index(p)] + 2) for p in parents)
                assert all(row[j] < row[taxonomy.index(p)] for p in parents)
            assert row[j] == pytest.approx(expected[node], rel=1e-5)


@given(dags_with_labels(rows=6))
def test_a_prior_row_does_not_depend_on_the_others(case: tuple) -> None:
    dag, label_sets = case
    taxonomy = dag.taxonomy
    counts = np.bincount(label_matrix(taxonomy, label_sets).indices, minlength=len(taxonomy))
    trained = np.flatnonzero(counts)
    prior = Prior(taxonomy, trained, counts, len(label_sets))
    probabilities = np.random.default_rng(0).random((5, len(trained)), dtype=np.float32)
    together = prior.fill(probabilities)
    assert (np.concatenate([prior.fill(row[None]) for row in probabilities]) == together).all()
    assert prior.fill(probabilities[:0]).shape == (0, len(taxonomy))


# -- sparse scores -----------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_sparse_scores_keep_what_reaches_the_floor(seed: int) -> None:
    scores = np.random.default_rng(seed).random((4, 6), dtype=np.float32) ** 8
    scores[0, 0] = np.float32(1e-3)
    kept = sparse_scores(scores)
    assert kept.dtype == np.float32
    assert kept.has_sorted_indices
    assert (kept.toarray() == np.where(scores >= 1e-3, scores, 0)).all()
    assert sparse_scores(scores[:0]).shape == (0, 6)
