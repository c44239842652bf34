"""Intervals and comparisons: equal to slow loops over the same samples, right as often as they say, and honest."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from dags import dags_with_labels
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.stats import kstest

from hclf import statistics
from hclf.errors import UsageError
from hclf.evaluation import evaluate
from hclf.labels import close, from_pairs, label_matrix, partial_depth
from hclf.metrics.sets import as_labels
from hclf.statistics import Comparison, Key, compare, compare_answers, holm, intervals, points, prepare, shown
from hclf.taxonomy import Taxonomy

# food ─ rice ─ jasmine      drink ─┬ tea
#             └ (rice milk) ────────┘   a node with two parents
FOOD = Taxonomy(
    ["food", "drink", "rice", "jasmine", "tea", "rice-milk"],
    [("food", "rice"), ("rice", "jasmine"), ("rice", "rice-milk"), ("drink", "tea"), ("drink", "rice-milk")],
)
TRAIN = np.array([200, 100, 20, 6, 3, 0])


def random_labels(rng, documents, taxonomy=FOOD, labels=2):
    rows = np.repeat(np.arange(documents), labels)
    keep = rng.random(len(rows)) < 0.8
    columns = rng.integers(0, len(taxonomy), len(rows))
    return close(taxonomy, from_pairs(rows[keep], columns[keep], (documents, len(taxonomy))))


def worse(rng, true, share):
    """Return labels of which a share is moved to other nodes."""
    rows, columns = true.nonzero()
    moved = rng.random(len(rows)) < share
    columns = np.where(moved, rng.integers(0, true.shape[1], len(rows)), columns)
    return from_pairs(rows, columns, true.shape)


# -- the figures, from sums and from `evaluate` ------------------------------------------------------------------


def slow_figures(answers):
    """Every figure of `Answers.keys` by `evaluate` on these very documents; NaN for those it does not have."""
    e = evaluate(answers.taxonomy, answers.true, answers.predicted, train_counts=answers.train_counts)
    rows = {"level": e.levels, "bucket": e.buckets}
    known = answers.predicted.toarray() & ~answers.unknown.toarray()
    k = evaluate(answers.taxonomy, answers.true, known, train_counts=answers.train_counts)
    rows_known = {"level": k.levels, "bucket": k.buckets}
    figures = []
    for key in answers.keys:
        name, reading = (key.metric[:-6], "known") if key.metric.endswith("_known") else (key.metric, "all")
        if key.part == "overall":
            if name in answers.values:
                figures.append(np.nanmean(answers.values[name]))
            else:
                figures.append((e if reading == "all" else k).metrics[name])
        else:
            row = (rows if reading == "all" else rows_known)[key.part][key.which - (key.part == "level")]
            figures.append(row.get(name, np.nan))
    return np.array(figures)


def taken(answers, weights):
    """Return the answers to the documents of weight 1."""
    rows = np.flatnonzero(weights)
    values = {name: v[rows] for name, v in answers.values.items()}
    parts = (Y[rows] for Y in (answers.true, answers.predicted, answers.unknown))
    return statistics.Answers(answers.taxonomy, *parts, answers.train_counts, values)


@given(dags_with_labels(rows=6), st.randoms(use_true_random=False))
def test_figures_from_sums_are_those_of_evaluate(problem, random):
    dag, labels = problem
    taxonomy = dag.taxonomy
    true = label_matrix(taxonomy, labels)
    guess = label_matrix(taxonomy, [random.sample(taxonomy.nodes, min(2, len(taxonomy))) for _ in labels])
    train = np.array([random.choice([0, 3, 10, 50, 500]) for _ in taxonomy.nodes])
    answers = prepare(taxonomy, true, guess, train_counts=train)
    weights = np.array([[random.random() < 0.6] for _ in labels], dtype=np.float32)
    found = statistics._Resampler(answers).figures(weights)[:, 0]
    expected = slow_figures(taken(answers, weights[:, 0]))
    compared = ~np.isnan(expected)
    np.testing.assert_allclose(np.nan_to_num(found)[compared], expected[compared], rtol=0, atol=1e-12)


def test_half_and_other_half_are_the_two_halves():
    rng = np.random.default_rng(0)
    true = random_labels(rng, 40)
    answers = prepare(FOOD, true, worse(rng, true, 0.4), train_counts=TRAIN, values={"map": rng.random(40)})
    weights = rng.integers(0, 2, (40, 7)).astype(np.float32)
    resampler = statistics._Resampler(answers)
    halves = resampler.halves(weights)
    np.testing.assert_allclose(halves[:, :7], resampler.figures(weights), atol=1e-14)
    np.testing.assert_allclose(halves[:, 7:], resampler.figures(1 - weights), atol=1e-12)


def test_unknown_predictions_are_those_below_the_deepest_true_labels():
    rng = np.random.default_rng(1)
    true, guess = random_labels(rng, 60), random_labels(rng, 60)
    found = statistics.unknown_predictions(FOOD, true, guess)
    expected = partial_depth(FOOD, true).toarray() & guess.toarray()
    assert (found.toarray() == expected).all()
    assert found.nnz


# -- intervals ---------------------------------------------------------------------------------------------------


def slow_intervals(answers, samples, seed):
    """The same samples one by one: documents taken and evaluated, their other half, quantiles of what is defined."""
    coins = np.concatenate(list(statistics._weights(answers.documents, samples // 2, seed)), axis=1).T
    observed = slow_figures(answers)
    found = np.array([slow_figures(taken(answers, w)) for w in [*coins, *(1 - coins)]])
    result = {}
    for j, key in enumerate(answers.keys):
        values = found[:, j]
        if np.ptp(values) > 1e-12:
            low, high = np.quantile(values, [0.025, 0.975]) - values.mean() + observed[j]
            result[key] = (max(min(low, observed[j]), 0), min(max(high, observed[j]), 1))
    return result


def test_intervals_equal_a_loop_over_the_same_samples():
    rng = np.random.default_rng(2)
    true = random_labels(rng, 120)
    values = {"map": np.where(true.getnnz(axis=1) > 0, rng.random(120), np.nan)}
    answers = prepare(FOOD, true, worse(rng, true, 0.4), values=values)
    found, expected = intervals(answers, samples=60, seed=5), slow_intervals(answers, 60, 5)
    judged = [key for key in expected if not (key.part == "level" and key.metric.startswith("macro"))]
    assert len(judged) > 25
    for key in judged:
        assert found[key] == pytest.approx(expected[key], abs=1e-12)


def test_intervals_hold_the_figure_are_within_bounds_and_of_a_seed():
    rng = np.random.default_rng(3)
    true = random_labels(rng, 80)
    answers = prepare(FOOD, true, worse(rng, true, 0.3), train_counts=TRAIN)
    found = intervals(answers, samples=200, seed=1)
    observed = dict(zip(answers.keys, statistics._Resampler(answers).observed, strict=True))
    for key, (low, high) in found.items():
        assert 0 <= low <= observed[key] <= high <= 1
        assert low < high
    assert intervals(answers, samples=200, seed=1) == found != intervals(answers, samples=200, seed=2)
    wider = intervals(answers, samples=200, seed=1, confidence=0.99)
    assert wider[Key("hF")][0] < found[Key("hF")][0]


def test_what_does_not_vary_has_no_interval():
    true = label_matrix(FOOD, [["tea"], ["rice"]] * 10)
    assert intervals(prepare(FOOD, true, true), samples=50) == {}
    assert intervals(prepare(FOOD, true[:1], true[:1]), samples=50) == {}
    assert intervals(prepare(FOOD, true[:0], true[:0]), samples=50) == {}
    true = label_matrix(FOOD, [["tea"], ["jasmine"]] * 10)
    nothing = prepare(FOOD, true, csr_matrix(true.shape, dtype=bool))
    assert intervals(nothing, samples=50).keys() == {Key("hamming")}


def test_a_figure_of_one_document_has_no_interval():
    true = label_matrix(FOOD, [["tea"]] * 30 + [["jasmine"]])
    guess = label_matrix(FOOD, [["tea"], []] * 15 + [["rice"]])
    found = intervals(prepare(FOOD, true, guess), samples=100)
    assert Key("hF") in found
    assert Key("hF", "level", 3) not in found


@pytest.mark.parametrize("options", [{"samples": 1}, {"confidence": 1.0}, {"confidence": 0}])
def test_options_that_make_no_sense(options):
    true = label_matrix(FOOD, [["tea"], ["rice"]])
    with pytest.raises(UsageError, match=r"at least 2 samples|between 0 and 1"):
        intervals(prepare(FOOD, true, true), **options)


def test_answers_must_fit():
    true = label_matrix(FOOD, [["tea"], ["rice"]])
    with pytest.raises(UsageError, match="have 5 columns, the taxonomy has 6 nodes"):
        prepare(FOOD, true[:, :5], true[:, :5])
    with pytest.raises(UsageError, match=r"train_counts has shape \(2,\)"):
        prepare(FOOD, true, true, train_counts=np.array([1, 2]))


# -- comparisons -------------------------------------------------------------------------------------------------


def test_paired_intervals_equal_a_loop_over_the_same_samples():
    rng = np.random.default_rng(6)
    true = random_labels(rng, 100)
    a, b = (prepare(FOOD, true, worse(rng, true, share), train_counts=TRAIN) for share in (0.2, 0.4))
    found = compare_answers(a, b, samples=40, permutations=3, seed=9)
    coins = np.concatenate(list(statistics._weights(100, 20, 9)), axis=1).T
    pairs = [[slow_figures(taken(x, w)) for x in (a, b)] for w in [*coins, *(1 - coins)]]
    differences = np.array([x - y for x, y in pairs])
    observed = slow_figures(a) - slow_figures(b)
    for row in [*found.metrics, *found.levels]:
        key = Key(row["metric"]) if "metric" in row else Key("hF", "level", row["level"])
        j = a.keys.index(key)
        ends = np.quantile(differences[:, j], [0.025, 0.975]) - differences[:, j].mean() + observed[j]
        assert row["difference"] == pytest.approx(observed[j], abs=1e-12)
        assert (row["low"], row["high"]) == pytest.approx(
            (min(ends[0], observed[j]), max(ends[1], observed[j])), abs=1e-12
        )


def test_permutations_equal_a_loop_that_swaps_documents():
    rng = np.random.default_rng(7)
    true = random_labels(rng, 50)
    a, b = (prepare(FOOD, true, worse(rng, true, share), train_counts=TRAIN) for share in (0.2, 0.5))
    coins = rng.integers(0, 2, (50, 12)).astype(np.float32)
    found = statistics._Swapper(a, b).differences(coins)
    A, B = a.predicted.toarray(), b.predicted.toarray()
    compared = ~np.isnan(slow_figures(a))
    for i in range(12):
        swap = coins[:, i, None] > 0
        left, right = (prepare(FOOD, true, np.where(swap, *pair), train_counts=TRAIN) for pair in ((B, A), (A, B)))
        expected = np.nan_to_num(slow_figures(left)) - np.nan_to_num(slow_figures(right))
        np.testing.assert_allclose(found[compared, i], expected[compared], atol=1e-12)


def test_p_of_few_documents_is_that_of_all_permutations():
    """Exact match differs in five documents, always for the better: 2 of the 32 ways to swap are as good."""
    true = label_matrix(FOOD, [["tea"]] * 8)
    guess = label_matrix(FOOD, [["tea"]] * 3 + [["jasmine"]] * 5)
    row = compare(FOOD, true, true, guess, permutations=20_000, samples=10)["exact_match"]
    assert row["difference"] == 5 / 8
    assert row["p"] == pytest.approx(2 / 32, abs=0.006)


def test_p_values_of_micro_f1_agree_with_every_way_to_swap():
    rng = np.random.default_rng(8)
    true = random_labels(rng, 8)
    A, B = (worse(rng, true, share).toarray() for share in (0.3, 0.6))
    found = compare(FOOD, true, A, B, permutations=20_000, samples=10)["hF"]

    def difference(swap):
        T, P, Q = (
            true.toarray(),
            close(FOOD, as_labels(np.where(swap, B, A))),
            close(FOOD, as_labels(np.where(swap, A, B))),
        )
        left, right = ((2 * (T & Y.toarray()).sum() / (T.sum() + Y.nnz)) for Y in (P, Q))
        return left - right

    every = np.array([difference(np.array(swap)[:, None]) for swap in product([False, True], repeat=8)])
    assert found["p"] == pytest.approx(np.mean(abs(every) >= abs(found["difference"]) - 1e-12), abs=0.012)


def test_the_same_answers_and_no_answers():
    true = label_matrix(FOOD, [["tea"], ["rice"]] * 4)
    guess = label_matrix(FOOD, [["tea"], ["tea"]] * 4)
    same = compare(FOOD, true, guess, guess, train_counts=TRAIN, samples=20, permutations=50)
    assert same.verdict == "A and B give the same labels to all 8 documents."
    assert {row["p"] for row in (*same.metrics, *same.levels, *same.buckets)} == {1.0}
    assert {row["low"] for row in same.metrics} == {None}
    one = compare(FOOD, true[1:2], true[1:2], guess[:1], names=("new", "old"), permutations=50)
    assert one.verdict == "One document cannot show a difference between new and old."
    assert one["hF"]["low"] is None
    assert (
        compare(FOOD, true[:1], guess[:1], guess[:1]).verdict == "A and B give the same labels to the one document."
    )
    none = compare(FOOD, true[:0], guess[:0], guess[:0])
    assert none.verdict == "There are no documents to compare A and B on."
    assert (none.levels, none.buckets) == ([], [])
    json.dumps(none.to_dict(), allow_nan=False)


def test_few_documents_show_nothing():
    true = label_matrix(FOOD, [["tea"], ["rice"], ["jasmine"]])
    found = compare(FOOD, true, true, label_matrix(FOOD, [["rice"], ["tea"], ["tea"]]))
    assert found["hF"]["difference"] > 0.5
    assert found.verdict.startswith("No difference in hF between A and B can be shown: +")


def test_levels_and_buckets_are_corrected_each_for_itself():
    rng = np.random.default_rng(10)
    true = random_labels(rng, 200)
    found = compare(FOOD, true, worse(rng, true, 0.3), worse(rng, true, 0.4), train_counts=TRAIN, permutations=500)
    for rows in (found.levels, found.buckets):
        assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])
    assert [row["train_count"] for row in found.buckets] == ["0", "1-5", "6-20", "21-100", ">100"]
    assert sum(row["nodes"] for row in found.buckets) == 6
    assert [row["level"] for row in found.levels] == [1, 2, 3]


def test_what_both_have_is_compared():
    rng = np.random.default_rng(11)
    true = random_labels(rng, 40)
    scores = np.where(true.toarray(), 0.6, 0.0) + 0.3 * rng.random(true.shape)
    a = evaluate(FOOD, true, true, scores=scores).answers
    b = evaluate(FOOD, true, true, scores=rng.random(true.shape), k=(1,)).answers
    found = compare_answers(a, b, samples=20, permutations=50)
    names = [row["metric"] for row in found.metrics]
    assert {"map", "p_at_1", "r_at_1"} <= set(names)
    assert "p_at_3" not in names
    assert found["map"]["p"] < 0.05
    assert found["map"]["low"] > 0


def test_only_the_same_documents_are_compared():
    true, other = label_matrix(FOOD, [["tea"], ["rice"]]), label_matrix(FOOD, [["tea"], ["tea"]])
    a = prepare(FOOD, true, true)
    with pytest.raises(UsageError, match="one has 2 documents x 6 nodes, the other 1 x 6"):
        compare_answers(a, prepare(FOOD, true[:1], true[:1]))
    with pytest.raises(UsageError, match="the true labels of 1 documents differ"):
        compare_answers(a, prepare(FOOD, other, true))
    with pytest.raises(UsageError, match="at least 1 permutation"):
        compare_answers(a, a, permutations=0)


def test_the_dict_is_plain_json_and_comes_back():
    rng = np.random.default_rng(12)
    true = random_labels(rng, 30)
    found = compare(FOOD, true, true, worse(rng, true, 0.4), train_counts=TRAIN, samples=20, permutations=30)
    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["verdict"] == found.verdict
    assert Comparison.from_dict(plain) == found


def slow_holm(p):
    """Step down: the smallest first; stop at none, carry the largest so far."""
    corrected, left, largest = {}, list(range(len(p))), 0.0
    while left:
        smallest = min(left, key=lambda i: p[i])
        largest = max(largest, min(1.0, p[smallest] * len(left)))
        corrected[smallest] = largest
        left.remove(smallest)
    return [corrected[i] for i in range(len(p))]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_equals_a_loop(p):
    assert holm(p) == pytest.approx(slow_holm(p), abs=1e-15)


def test_holm_by_hand():
    """Four tests: 0.005 x 4, 0.011 x 3, 0.02 x 2, 0.04 x 1; the last may not fall below the one before."""
    assert holm([0.04, 0.005, 0.02, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


# -- sentences ---------------------------------------------------------------------------------------------------


def row(difference, low=None, high=None, p=0.001, **more):
    found = {"difference": difference, "low": low, "high": high, "p": p, **more}
    return {**found, "p_holm": p} if more else found


def level(number, difference, p=0.001, width=0.005):
    return row(difference, difference - width, difference + width, p, level=number, name=f"level {number}")


def bucket(name, difference, p=0.001, width=0.005):
    return row(difference, difference - width, difference + width, p, train_count=name, nodes=3)


def told(overall, levels=(), buckets=(), documents=100, differing=50):
    metrics = [{"metric": "hF", "a": 0.5, "b": 0.5, **overall}]
    c = Comparison(("new", "flat"), documents, differing, metrics, list(levels), list(buckets), 1000, 2000, 0, 0.95)
    return c.verdict


GAIN = row(0.018, 0.009, 0.027)
NAMES = ("0", "1-5", "6-20", "21-100", ">100")


@pytest.mark.parametrize(
    ("levels", "buckets", "end"),
    [
        ([level(3, 0.0, 0.9), level(4, 0.02)], [bucket("0", 0.02), bucket("1-5", 0.02), bucket("6-20", 0.01),
          bucket(">100", 0.0, 0.8)],
         "the gain shows in level 4 and in nodes with at most 20 training documents."),
        ([level(1, 0.02), level(2, 0.02)], [], "the gain shows on every level."),
        ([level(1, 0.02)], [], "the gain shows in level 1."),
        ([level(1, 0.02), level(2, 0.001), level(3, 0.02)], [bucket("0", 0.02), bucket("1-5", 0.0)],
         "the gain shows in levels 1 and 3 and in nodes without training documents."),
        ([level(1, 0.001), level(2, 0.001)], [], "no single level shows the gain."),
        ([level(1, 0.001)], [bucket("0", 0.001)], "no single level or range of training documents shows the gain."),
        ([level(1, -0.02), level(2, 0.02)], [], "the gain shows in level 2; it loses in level 1."),
        ([], [bucket(n, d) for n, d in zip(NAMES, (0.0, 0.02, 0.02, 0.0, 0.02), strict=True)],
         "the gain shows in nodes with 1–20 training documents and with more than 100 training documents."),
        ([], [bucket(n, d) for n, d in zip(NAMES, (0.0, 0.0, 0.0, 0.02, 0.02), strict=True)],
         "the gain shows in nodes with more than 20 training documents."),
        ([], [bucket(n, d) for n, d in zip(NAMES, (0.0, 0.02, 0.02, 0.02, 0.02), strict=True)],
         "the gain shows in nodes with training documents."),
        ([], [bucket(n, 0.02) for n in NAMES], "the gain shows in nodes with few and with many training documents."),
    ],
)  # fmt: skip
def test_the_verdict_says_where_the_gain_is(levels, buckets, end):
    assert told(GAIN, levels, buckets) == f"new against flat: +1.8 hF points [0.9, 2.7] overall; {end}"


def test_the_verdict_on_losses_and_on_nothing():
    loss = row(-0.018, -0.027, -0.009)
    assert told(loss, [level(1, -0.02), level(2, 0.0)]) == (
        "new against flat: −1.8 hF points [−2.7, −0.9] overall; the loss shows in level 1."
    )
    assert told(loss, [level(1, -0.02), level(2, 0.02)]).endswith("the loss shows in level 1; it gains in level 2.")
    nothing = row(0.002, -0.005, 0.009, 0.61)
    assert told(nothing, [level(1, 0.0)]) == (
        "No difference in hF between new and flat can be shown: +0.2 hF points [−0.5, 0.9] overall, p = 0.61."
    )
    assert told(nothing, [level(1, -0.02), level(2, 0.02)]).endswith(
        "p = 0.61; but new gains in level 2 and loses in level 1."
    )


def test_a_difference_is_shown_by_both_p_and_interval():
    assert shown(row(0.02, 0.01, 0.03, 0.049))
    assert not shown(row(0.02, 0.01, 0.03, 0.05))
    assert not shown(row(0.02, -0.01, 0.05, 0.01))
    assert not shown(row(0.02, None, None, 0.01))
    assert not shown({**row(0.02, 0.01, 0.03, 0.01), "p_holm": 0.2})


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        (row(0.018, 0.009, 0.027), "+1.8 hF points [0.9, 2.7]"),
        (row(-0.018, -0.027, 0.0), "−1.8 hF points [−2.7, 0.0]"),
        (row(0.0004, 0.0001, 0.0007), "+0.04 hF points [0.01, 0.07]"),
        (row(0.5), "+50.0 hF points"),
        (row(0.0), "+0.0 hF points"),
        (row(-1e-9, -0.01, 0.01), "+0.0 hF points [−1.0, 1.0]"),
    ],
)
def test_points_have_digits_enough_and_no_minus_nothing(given_, text):
    assert points(given_) == text


# -- how often they are right ------------------------------------------------------------------------------------


def population(rng, documents):
    """Two levels, 12 and 96 nodes, the latter of falling frequency; answers better for frequent nodes."""
    taxonomy = Taxonomy(
        [f"a{i:02}" for i in range(12)] + [f"b{i:02}" for i in range(96)],
        [(f"a{i % 12:02}", f"b{i:02}") for i in range(96)],
    )
    frequency = 1 / np.arange(1, 97)
    frequency /= frequency.sum()

    def draw(n):
        return from_pairs(np.arange(n), 12 + rng.choice(96, n, p=frequency), (n, 108))

    true = close(taxonomy, draw(documents) + draw(documents).multiply(rng.random((documents, 1)) < 0.4))
    found = rng.random(documents) < 0.4 + 0.5 * rng.random(documents)
    guess = close(
        taxonomy,
        from_pairs(
            *np.array(
                (true.multiply(found[:, None]) + draw(documents).multiply(rng.random((documents, 1)) < 0.3)).nonzero()
            ),
            true.shape,
        ),
    )
    return taxonomy, true, guess, (3000 * np.concatenate([np.full(12, 1.0), frequency])).astype(int)


@pytest.mark.slow
def test_intervals_hold_the_true_value_as_often_as_they_say():
    """Of 200 test sets from a known source, 95 % intervals hold what such test sets show on average in 90 to 99 %."""
    rng = np.random.default_rng(20)
    taxonomy, true, guess, train = population(rng, 60_000)
    whole = prepare(taxonomy, true, guess, train_counts=train)
    sets = [np.sort(rng.choice(60_000, 400, replace=False)) for _ in range(600)]
    drawn = [taken(whole, np.isin(np.arange(60_000), rows)) for rows in sets]
    observed = np.array([statistics._Resampler(answers).observed for answers in drawn])
    defined = ~np.isnan(observed).all(axis=0)
    expected = {
        key: np.nanmean(column) for key, column, is_ in zip(whole.keys, observed.T, defined, strict=True) if is_
    }
    held: dict[Key, list[bool]] = {}
    for answers in drawn[:200]:
        for key, (low, high) in intervals(answers, samples=400).items():
            held.setdefault(key, []).append(low <= expected[key] <= high)
    judged = [key for key in held if "known" not in key.metric and key.metric != "hamming"]
    assert {Key("hF"), Key("macro_f1"), Key("hF", "level", 2), Key("macro_f1", "bucket", 2)} <= set(judged)
    shares = {key: (len(held[key]), np.mean(held[key])) for key in judged}
    print(*(f"{'/'.join(map(str, key)):24} {n} {share:.3f}" for key, (n, share) in shares.items()), sep="\n")
    poor = {key: share for key, (n, share) in shares.items() if n == 200 and not 0.90 <= share <= 0.99}
    assert not poor


@pytest.mark.slow
def test_p_values_are_uniform_where_there_is_no_difference():
    """Two systems equally good: over 300 test sets p is below any t in a share t of them."""
    rng = np.random.default_rng(21)
    names = ("hF", "macro_f1", "hF_example")
    found = []
    for _ in range(300):
        true = random_labels(rng, 150)
        a, b = (worse(rng, true, 0.4) for _ in range(2))
        result = compare(FOOD, true, a, b, samples=2, permutations=300, seed=int(rng.integers(1 << 30)))
        found.append([result[name]["p"] for name in names])
    p = np.array(found)
    for name, values in zip(names, p.T, strict=True):
        assert kstest(values, "uniform").pvalue > 0.01, name
        assert np.mean(values < 0.05) < 0.09
