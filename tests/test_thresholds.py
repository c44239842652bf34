"""Tuning against brute force: every non-falling vector of thresholds on small random problems."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf import metrics, thresholds
from hclf.decoders import decode, make_decoder
from hclf.errors import UsageError
from hclf.labels import label_matrix
from hclf.taxonomy import Taxonomy
from hclf.thresholds import GRID, NEVER, Thresholds, compare_searches, cross_fitted, parse_goal, tune

EXACT = 1e-9
COARSE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # few different scores keep brute force cheap, and make ties
OFF_GRID = (0.0, 0.22, 0.33, 0.42, 0.48, 0.57, 0.68, 0.91)
GOALS = ["hf", "hf_example", "macro_f1", "exact_match"]
COSTS = ["cost:fp=1,fn=1", "cost:fp=1,fn=5", "cost:fp=3/2/0.5,fn=1/2"]
SUMS_OVER_LEVELS = ["hf", "macro_f1"]  # the goals whose optimum is promised
FLOORS = [0.5, 0.55, 0.75, 0.9, 1.0]


@dataclass(frozen=True)
class Problem:
    """Coherent float32 scores (0 is absent) of closed label sets."""

    taxonomy: Taxonomy
    scores: np.ndarray
    true: csr_matrix

    def tune(self, goal: str, **options: object) -> Thresholds:
        options = {"taxonomy": self.taxonomy, **options}
        return tune(self.true, csr_matrix(self.scores), self.taxonomy.levels, goal=goal, **options)  # type: ignore

    def predict(self, values: tuple[float, ...]) -> csr_matrix:
        return decode(self.taxonomy, self.scores, np.array(values), make_decoder("threshold"))[0]

    def measure(self, goal: str, values: tuple[float, ...]) -> float:
        return MEASURES[goal](self.true, self.predict(values))

    def vectors(self, candidates: list[float] | None = None) -> Iterator[tuple[float, ...]]:
        """Every non-falling vector of thresholds that could make a difference."""
        if candidates is None:
            candidates = [*np.unique(self.scores[self.scores > 0]).tolist(), NEVER]
        return itertools.combinations_with_replacement(sorted(candidates), self.taxonomy.depth)

    def same(self, candidates: list[float] | None = None) -> list[tuple[float, ...]]:
        """The vectors with one threshold for all levels."""
        return [v for v in self.vectors(candidates) if len(set(v)) == 1]

    def best(self, goal: str, vectors: Iterator[tuple[float, ...]] | list[tuple[float, ...]]) -> float:
        return max(self.measure(goal, v) for v in vectors)

    def precision_and_hits(self, values: tuple[float, ...]) -> tuple[float, int]:
        """Micro precision (1.0 of nothing) and true positives."""
        predicted = self.predict(values)
        hits = int(predicted.multiply(self.true).nnz)
        return (hits / predicted.nnz if predicted.nnz else 1.0), hits

    def most_hits(self, floor: float, vectors: Iterator[tuple[float, ...]] | list[tuple[float, ...]]) -> int:
        return max(hits for precision, hits in map(self.precision_and_hits, vectors) if precision >= floor)


MEASURES: dict[str, Callable[[csr_matrix, csr_matrix], float]] = {
    "hf": lambda true, predicted: metrics.hierarchical_precision_recall_f1(true, predicted).f1,
    "hf_example": lambda true, predicted: metrics.hierarchical_precision_recall_f1(true, predicted, "example").f1,
    "macro_f1": metrics.macro_f1,
    "exact_match": metrics.exact_match,
    "precision": lambda true, predicted: metrics.hierarchical_precision_recall_f1(true, predicted).precision,
}


def problem(edges: str, scores: list[list[float]], labels: list[str]) -> Problem:
    """A problem in short: edges "ab ac", one row of scores and one word of labels a document."""
    taxonomy = Taxonomy(sorted(set(edges.replace(" ", ""))), [(p, c) for p, c in edges.split() if p != c])
    rows = np.array(scores, dtype=np.float32).reshape(-1, len(taxonomy))
    return Problem(taxonomy, rows, label_matrix(taxonomy, labels))


def random_problem(seed: int, values: tuple[float, ...] = COARSE) -> Problem:
    """A problem of at most 5 documents and 5 nodes. By a seed: Hypothesis prefers problems too small to be hard."""
    rng = np.random.default_rng(seed)
    nodes = [f"n{i}" for i in range(rng.integers(2, 6))]
    share = rng.choice([0.0, 0.4, 0.8])
    edges = [
        (nodes[rng.integers(i)], node) for i, node in enumerate(nodes) if i for _ in "ab" if rng.random() < share
    ]
    taxonomy = Taxonomy(nodes, edges)
    shape = (int(rng.integers(1, 6)), len(taxonomy))
    scores = taxonomy.coherent(rng.choice(values, shape).astype(np.float32))
    # Labels lean on the scores: pure chance gives problems in which nothing can be reached.
    chance = np.where(rng.random(shape) < 0.5, scores, 0.3)
    labels = [[taxonomy.nodes[j] for j in np.flatnonzero(row)] for row in rng.random(shape) < chance]
    return Problem(taxonomy, scores, label_matrix(taxonomy, labels))


def problems(values: tuple[float, ...] = COARSE) -> st.SearchStrategy[Problem]:
    return st.integers(0, 2**32 - 1).map(partial(random_problem, values=values))


def many(n: int, values: tuple[float, ...] = COARSE) -> list[Problem]:
    """Always the same problems."""
    return [random_problem(seed, values) for seed in range(n)]


def assert_sound(found: Thresholds, depth: int) -> None:
    assert len(found.values) == depth
    assert (np.diff(found.values) >= 0).all()
    assert all(0 < value <= NEVER for value in found.values)


ROUNDING = "thresholds are compared in float64 in tuning, in the scores' float32 in decoding"

# -- goals with a promised optimum -------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", SUMS_OVER_LEVELS)
@given(case=problems())
def test_no_vector_of_thresholds_beats_the_tuned_one(goal: str, case: Problem) -> None:
    found = case.tune(goal)
    assert_sound(found, case.taxonomy.depth)
    assert case.measure(goal, found.values) == pytest.approx(case.best(goal, case.vectors()), abs=EXACT)


@pytest.mark.parametrize("goal", GOALS)
@given(case=problems())
def test_one_threshold_for_all_levels_is_the_best_one(goal: str, case: Problem) -> None:
    found = case.tune(goal, per_level=False)
    assert_sound(found, case.taxonomy.depth)
    assert len(set(found.values)) == 1
    assert case.measure(goal, found.values) == pytest.approx(case.best(goal, case.same()), abs=EXACT)


# -- goals that are climbed to -----------------------------------------------------------------------------------

STUCK = problem("aa bb", [[0.4, 0.2], [0.6, 0.4]], ["", "a"])


@pytest.mark.parametrize("goal", ["hf_example", "exact_match"])
@given(case=problems())
def test_climbing_ends_no_lower_than_it_started(goal: str, case: Problem) -> None:
    found = case.tune(goal)
    assert_sound(found, case.taxonomy.depth)
    assert case.measure(goal, found.values) >= case.measure(goal, case.tune("hf").values) - EXACT


@pytest.mark.parametrize("goal", ["hf_example", "exact_match"])
@given(case=problems())
def test_climbing_ends_where_no_single_level_can_be_improved(goal: str, case: Problem) -> None:
    found = case.tune(goal)
    reached = case.measure(goal, found.values)
    for level, value in itertools.product(
        range(case.taxonomy.depth), [*np.unique(case.scores[case.scores > 0]), NEVER]
    ):
        moved = (*found.values[:level], float(value), *found.values[level + 1 :])
        if (np.diff(moved) >= 0).all():
            assert case.measure(goal, moved) <= reached + EXACT


@pytest.mark.parametrize("goal", ["hf_example", "exact_match"])
def test_climbing_beats_every_single_threshold(goal: str) -> None:
    for case in many(100):
        found = case.tune(goal)
        assert case.measure(goal, found.values) >= case.best(goal, case.same()) - EXACT


# -- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_level", [True, False])
@pytest.mark.parametrize("floor", FLOORS)
@given(case=problems())
def test_precision_never_falls_below_what_was_asked(floor: float, per_level: bool, case: Problem) -> None:
    found = case.tune(f"precision>={floor}", per_level=per_level)
    assert_sound(found, case.taxonomy.depth)
    assert per_level or len(set(found.values)) == 1
    precision, hits = case.precision_and_hits(found.values)
    assert precision >= floor - EXACT
    if not hits and case.scores.any():
        assert found.values == (NEVER,) * case.taxonomy.depth  # nothing reaches it: nothing passes
        assert case.most_hits(floor, case.same()) == 0


@pytest.mark.parametrize("per_level", [True, False])
def test_recall_at_a_precision_is_no_worse_than_with_the_best_single_threshold(per_level: bool) -> None:
    for case, floor in itertools.product([*many(100), random_problem(1638)], FLOORS):
        _, hits = case.precision_and_hits(case.tune(f"precision>={floor}", per_level=per_level).values)
        assert hits >= case.most_hits(floor, case.same())


@pytest.mark.parametrize("per_level", [True, False])
def test_what_adds_no_hits_is_not_let_through_for_the_precision_to_spare(per_level: bool) -> None:
    """0.5 would allow the wrong document beside the right one: a guess nobody asked for."""
    case = problem("aa", [[0.9], [0.3]], ["a", ""])
    assert case.precision_and_hits(case.tune("precision>=0.5", per_level=per_level).values) == (1.0, 1)


@pytest.mark.parametrize("floor", FLOORS)
def test_no_single_level_can_be_lowered_for_more_hits_at_a_precision(floor: float) -> None:
    for case in many(100):
        found = case.tune(f"precision>={floor}").values
        _, hits = case.precision_and_hits(found)
        for level, value in itertools.product(range(len(found)), np.unique(case.scores[case.scores > 0]).tolist()):
            moved = (*found[:level], value, *found[level + 1 :])
            if hits and (np.diff(moved) >= 0).all():
                precision, more = case.precision_and_hits(moved)
                assert precision < floor - EXACT or more <= hits


@pytest.mark.parametrize(("hits", "predicted"), [(11, 20), (14, 20), (29, 50), (57, 100)])
def test_a_precision_that_is_met_exactly_is_met(hits: int, predicted: int) -> None:
    """11 of 20 is 0.55, yet 0.55 * 20 > 11 in floating point."""
    scores = [[0.6]] * predicted
    case = problem("aa", scores, ["a"] * hits + [""] * (predicted - hits))
    assert case.tune(f"precision>={hits / predicted:g}").values[0] < NEVER


def test_the_levels_of_precision_differ_where_that_finds_more() -> None:
    case = problem("ab ac", [[0.9, 0.3, 0.6], [0.9, 0.6, 0.3], [0.5, 0.3, 0.4]], ["ab", "ab", "a"])
    per_level, same = (case.tune("precision>=1", per_level=p).values for p in (True, False))
    assert case.precision_and_hits(per_level)[1] == 3
    assert case.precision_and_hits(same)[1] == 2


# -- precision of every level ------------------------------------------------------------------------------------


def by_level(case: Problem, chosen: np.ndarray) -> list[tuple[int, int]]:
    """True positives and predictions of each level."""
    right = chosen & case.true.toarray()
    spans = [case.taxonomy.levels == i + 1 for i in range(case.taxonomy.depth)]
    return [(int(right[:, span].sum()), int(chosen[:, span].sum())) for span in spans]


@pytest.mark.parametrize("floor", FLOORS)
@settings(max_examples=50)
@given(case=problems())
def test_no_vector_that_holds_a_precision_on_every_level_finds_more(floor: float, case: Problem) -> None:
    def hits(values: tuple[float, ...]) -> float:
        counts = by_level(case, case.predict(values).toarray())
        return sum(hit for hit, _ in counts) if all(h >= floor * p - EXACT for h, p in counts) else -1

    found = case.tune(f"precision>={floor} per level")
    if case.scores.any():
        assert_sound(found, case.taxonomy.depth)
        assert hits(found.values) == max(map(hits, [*case.vectors(), (NEVER,) * case.taxonomy.depth]))


def test_a_precision_of_every_level_is_stricter_than_one_of_all_together() -> None:
    case = problem("ab", [[0.9, 0.8]] * 9 + [[0.9, 0.7]], ["ab"] * 7 + ["a"] * 3)
    assert case.precision_and_hits(case.tune("precision>=0.8").values) == (17 / 19, 17)
    assert case.tune("precision>=0.8 per level").values[1] == NEVER
    assert case.tune("precision>=0.8 per level").achieved == 1.0


# -- precision of every node -------------------------------------------------------------------------------------


def passing(case: Problem, found: Thresholds) -> np.ndarray:
    return case.scores >= found.by_node(case.taxonomy).astype(np.float32)


def node_vectors(case: Problem) -> Iterator[np.ndarray]:
    """Every vector of thresholds of nodes that never falls from parent to child."""
    values = [*np.unique(case.scores[case.scores > 0]).tolist(), NEVER]
    edges = [tuple(map(case.taxonomy.index, edge)) for edge in case.taxonomy.edges()]
    for vector in itertools.product(values, repeat=len(case.taxonomy)):
        if all(vector[parent] <= vector[child] for parent, child in edges):
            yield np.array(vector)


def node_hits(case: Problem, chosen: np.ndarray, floor: float) -> int:
    """True positives, or -1 where a node's precision is too low."""
    right = (chosen & case.true.toarray()).sum(axis=0)
    return int(right.sum()) if (right >= floor * chosen.sum(axis=0) - EXACT).all() else -1


@pytest.mark.parametrize("floor", [0.5, 0.75, 1.0])
def test_no_thresholds_of_nodes_that_hold_a_precision_find_more(
    floor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "SUPPORT", 0)
    for case in (c for c in many(60) if len(c.taxonomy) < 5 and c.scores.any()):
        found = case.tune(f"precision>={floor} per node")
        best = max(node_hits(case, case.scores >= v.astype(np.float32), floor) for v in node_vectors(case))
        assert node_hits(case, passing(case, found), floor) == best


@pytest.mark.parametrize("support", [0, 1, 2, 100])
@given(case=problems())
def test_thresholds_of_nodes_never_fall_from_parent_to_child(support: int, case: Problem) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "SUPPORT", support)
        found = case.tune("precision>=0.75 per node")
    limits = found.by_node(case.taxonomy)
    assert limits.shape == (len(case.taxonomy),)
    for parent, child in case.taxonomy.edges():
        assert limits[case.taxonomy.index(parent)] <= limits[case.taxonomy.index(child)]
    assert_sound(found, case.taxonomy.depth)


def test_nodes_of_little_support_share_a_threshold_and_others_have_their_own() -> None:
    rows = [[0.9, 0.1, 0]] * 25 + [[0.6, 0.1, 0]] * 25 + [[0, 0.8, 0.8], [0, 0.5, 0.4], [0, 0.4, 0.7]]
    case = problem("aa bb cc", rows, ["a"] * 25 + [""] * 25 + ["bc", "", "c"])
    limits = case.tune("precision>=0.9 per node").by_node(case.taxonomy)
    assert 0.6 < limits[0] <= 0.9
    assert limits[1] == limits[2]
    assert 0.5 < limits[1] <= 0.7


def test_what_loses_nothing_is_not_let_through_at_a_node() -> None:
    case = problem("aa", [[0.9]] * 25 + [[0.3]], ["a"] * 25 + [""])
    assert 0.3 < case.tune("precision>=0.9 per node").by_node(case.taxonomy)[0] <= 0.9


def test_a_goal_per_node_needs_the_taxonomy() -> None:
    with pytest.raises(UsageError, match="needs the taxonomy"):
        STUCK.tune("precision>=0.9 per node", taxonomy=None)


def test_thresholds_of_levels_are_those_of_their_nodes() -> None:
    taxonomy = Taxonomy("abc", [("a", "c")])
    assert Thresholds((0.3, 0.6)).by_node(taxonomy).tolist() == [0.3, 0.3, 0.6]


# -- recall ------------------------------------------------------------------------------------------------------


def recall_of(case: Problem, values: tuple[float, ...]) -> float:
    return case.precision_and_hits(values)[1] / max(case.true.nnz, 1)


@pytest.mark.parametrize("per_level", [True, False])
@pytest.mark.parametrize("floor", [0.3, 0.5, 0.8, 1.0])
def test_a_recall_is_held_at_no_less_precision_than_the_best_single_threshold_has(
    floor: float, per_level: bool
) -> None:
    for case in (c for c in many(150) if c.scores.any()):
        found = case.tune(f"recall>={floor}", per_level=per_level)
        assert_sound(found, case.taxonomy.depth)
        within = min(floor, recall_of(case, (0.001,) * case.taxonomy.depth))
        assert recall_of(case, found.values) >= within - EXACT
        good = [v for v in case.same() if recall_of(case, v) >= within - EXACT]
        best = max(case.measure("precision", v) for v in good)
        assert case.measure("precision", found.values) >= best - EXACT
        if not per_level:
            assert case.measure("precision", found.values) == pytest.approx(best, abs=EXACT)


@pytest.mark.parametrize("floor", [0.3, 0.8])
def test_no_single_level_can_be_moved_for_more_precision_at_a_recall(floor: float) -> None:
    for case in (c for c in many(100) if c.scores.any()):
        found = case.tune(f"recall>={floor}").values
        within = min(floor, recall_of(case, (0.001,) * case.taxonomy.depth))
        for level, value in itertools.product(range(len(found)), [*np.unique(case.scores[case.scores > 0]), NEVER]):
            moved = (*found[:level], float(value), *found[level + 1 :])
            if (np.diff(moved) >= 0).all() and recall_of(case, moved) >= within - EXACT:
                assert case.measure("precision", moved) <= case.measure("precision", found) + EXACT


# -- costs -------------------------------------------------------------------------------------------------------


def cost_of(case: Problem, goal: str, values: tuple[float, ...]) -> float:
    """The cost of a document, by counting."""
    asked = parse_goal(goal)
    chosen, true = case.predict(values).toarray(), case.true.toarray()
    total = 0.0
    for level in range(1, case.taxonomy.depth + 1):
        span = case.taxonomy.levels == level
        fp, fn = (costs[min(level, len(costs)) - 1] for costs in (asked.false_positive, asked.false_negative))
        total += fp * (chosen & ~true)[:, span].sum() + fn * (true & ~chosen)[:, span].sum()
    return total / len(true)


@pytest.mark.parametrize("goal", COSTS)
@given(case=problems())
def test_no_vector_of_thresholds_costs_less(goal: str, case: Problem) -> None:
    found = case.tune(goal)
    if case.scores.any():
        assert_sound(found, case.taxonomy.depth)
        cheapest = min(cost_of(case, goal, v) for v in case.vectors())
        assert cost_of(case, goal, found.values) == pytest.approx(cheapest, abs=EXACT)
        assert found.achieved == pytest.approx(cheapest, abs=EXACT)


def test_dear_misses_let_more_through() -> None:
    case = problem("aa", [[0.9], [0.4], [0.3]], ["a", "", "a"])
    assert case.predict(case.tune("cost:fp=1,fn=5").values).nnz == 3
    assert case.predict(case.tune("cost:fp=5,fn=1").values).nnz == 1


# -- cross-fitting -----------------------------------------------------------------------------------------------


def noisy(n: int, seed: int) -> Problem:
    """Scores that say nothing: whatever tuning gains on them is chance."""
    rng = np.random.default_rng(seed)
    taxonomy = Taxonomy("abc", [("a", "b"), ("a", "c")])
    scores = taxonomy.coherent(rng.random((n, 3)).astype(np.float32))
    labels = [[node for node, on in zip("abc", row, strict=True) if on] for row in rng.random((n, 3)) < 0.3]
    return Problem(taxonomy, scores, label_matrix(taxonomy, labels))


def expected(case: Problem, goal: str, **options: object) -> float:
    scores = csr_matrix(case.scores)
    return cross_fitted(case.true, scores, case.taxonomy.levels, goal=goal, taxonomy=case.taxonomy, **options)  # type: ignore


@pytest.mark.parametrize("goal", [*GOALS, "precision>=0.75", "precision>=0.75 per level", "recall>=0.6", *COSTS])
def test_cross_fitting_measures_answers_tuned_on_the_other_parts(goal: str) -> None:
    case = noisy(23, 1)
    part = np.random.default_rng(0).permutation(23) % 5
    answers = np.zeros(case.scores.shape, dtype=bool)
    for fold in range(5):
        rest = Problem(case.taxonomy, case.scores[part != fold], case.true[part != fold])
        found = rest.tune(goal)
        answers[part == fold] = case.predict(found.values).toarray()[part == fold]
    predicted = csr_matrix(answers)
    if goal in MEASURES:
        measured = MEASURES[goal](case.true, predicted)
    elif goal.startswith("cost"):
        whole = Problem(case.taxonomy, answers.astype(np.float32), case.true)
        measured = cost_of(whole, goal, (0.5,) * case.taxonomy.depth)
    elif goal.endswith("per level"):
        measured = min(hit / p for hit, p in by_level(case, answers) if p)
    else:
        hit = predicted.multiply(case.true).nnz
        measured = hit / (predicted.nnz if goal.startswith("precision") else case.true.nnz)
    assert expected(case, goal) == pytest.approx(measured, abs=EXACT)


@pytest.mark.parametrize("goal", [*GOALS, "precision>=0.75"])
def test_what_is_expected_is_less_than_what_was_optimised_on_average(goal: str) -> None:
    cases = [noisy(20, seed) for seed in range(30)]
    assert np.mean([expected(case, goal) for case in cases]) < np.mean([case.tune(goal).achieved for case in cases])


def test_cross_fitting_takes_goals_per_node() -> None:
    assert 0 <= expected(noisy(60, 0), "precision>=0.5 per node") <= 1


def test_cross_fitting_with_more_folds_than_documents_leaves_one_out() -> None:
    case = noisy(4, 0)
    assert expected(case, "hf", folds=5) == pytest.approx(expected(case, "hf", folds=4), abs=1)


@pytest.mark.parametrize(("documents", "folds"), [(1, 5), (0, 5), (9, 1)])
def test_cross_fitting_takes_two_of_everything(documents: int, folds: int) -> None:
    with pytest.raises(UsageError, match="2 documents and 2 folds"):
        expected(noisy(max(documents, 1), 0) if documents else problem("aa", [], []), "hf", folds=folds)


def test_searches_are_compared_on_documents_not_tuned_on() -> None:
    case = noisy(40, 3)
    rows = compare_searches(case.true, csr_matrix(case.scores), case.taxonomy.levels)
    assert [row["search"] for row in rows] == ["0.5", "grid", "one", "per level"]
    by_name = {row["search"]: row for row in rows}
    assert by_name["0.5"]["expected"] == pytest.approx(case.measure("hf", (0.5, 0.5)))
    assert by_name["per level"]["expected"] == pytest.approx(expected(case, "hf"))
    assert by_name["grid"]["expected"] == pytest.approx(expected(case, "hf", search="grid"))
    assert by_name["one"]["achieved"] == pytest.approx(case.tune("hf", per_level=False).achieved)
    assert by_name["per level"]["achieved"] >= by_name["one"]["achieved"] - EXACT
    assert by_name["per level"]["achieved"] >= by_name["grid"]["achieved"] - EXACT


# -- search ------------------------------------------------------------------------------------------------------


def test_the_grid_is_the_classic_one() -> None:
    assert GRID.tolist() == [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7]


@pytest.mark.parametrize("goal", [*GOALS, "precision>=0.75"])
@pytest.mark.parametrize("per_level", [True, False])
@settings(max_examples=30)
@given(case=problems(OFF_GRID))
def test_the_grid_search_uses_the_grid(per_level: bool, goal: str, case: Problem) -> None:
    found = case.tune(goal, search="grid", per_level=per_level)
    assert_sound(found, case.taxonomy.depth)
    assert set(found.values) <= {*GRID.tolist(), NEVER}
    assert per_level or len(set(found.values)) == 1
    assert found.search == "grid"


@pytest.mark.parametrize("goal", SUMS_OVER_LEVELS)
@settings(max_examples=30)
@given(case=problems(OFF_GRID))
def test_the_grid_search_finds_the_best_of_the_grid(goal: str, case: Problem) -> None:
    found = case.tune(goal, search="grid")
    expected = case.best(goal, case.vectors([*GRID.tolist(), NEVER]))
    assert case.measure(goal, found.values) == pytest.approx(expected, abs=EXACT)


def test_many_scores_are_thinned_to_quantiles_and_stay_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "CANDIDATES", 4)
    monkeypatch.setattr(thresholds, "CLIMB_CANDIDATES", 3)
    for case, goal in itertools.product(many(100, tuple(i / 97 for i in range(97))), [*GOALS, "precision>=0.75"]):
        found = case.tune(goal)
        assert_sound(found, case.taxonomy.depth)
        if found.achieved is not None:
            assert case.measure(goal.partition(">=")[0], found.values) == pytest.approx(found.achieved, abs=EXACT)


# -- what is reported --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["exact", "grid"])
@pytest.mark.parametrize("per_level", [True, False])
@pytest.mark.parametrize("goal", [*GOALS, "precision>=0.75"])
@settings(max_examples=30)
@given(case=problems(OFF_GRID))
def test_the_value_reported_is_the_value_reached(goal: str, per_level: bool, search: str, case: Problem) -> None:
    found = case.tune(goal, per_level=per_level, search=search)
    assert found.goal == goal
    if found.achieved is None:
        assert not case.scores.any()
    else:
        measure = goal.partition(">=")[0]
        assert found.achieved == pytest.approx(case.measure(measure, found.values), abs=EXACT)


def test_a_float32_score_on_the_grid_passes_in_tuning_as_it_does_in_decoding() -> None:
    for value in GRID[1:].tolist():
        case = problem("aa", [[value], [value - 0.05]], ["a", ""])
        found = case.tune("precision>=1", search="grid")
        assert case.precision_and_hits(found.values) == (1.0, 1)


def test_neighbouring_float32_scores_are_told_apart() -> None:
    """Scores near 1 lie that close: a midpoint that rounds down to the lower one would let it pass."""
    low = np.float32(0.99)
    for _ in range(4):  # half of all pairs round down
        high = np.nextafter(low, np.float32(1))
        case = problem("aa", [[low], [high]], ["", "a"])
        found = case.tune("precision>=1")
        assert case.precision_and_hits(found.values) == (1.0, 1)
        low = high


def test_a_level_nothing_is_known_of_takes_the_threshold_above_it() -> None:
    taxonomy = Taxonomy("abc", [("a", "b"), ("b", "c")])
    scores = csr_matrix(np.array([[0.9, 0.8, 0], [0.3, 0.2, 0], [0.6, 0.2, 0]], dtype=np.float32))
    true = label_matrix(taxonomy, ["ab", "", "a"])
    for goal in ("hf", "macro_f1"):
        values = tune(true, scores, taxonomy.levels, goal=goal).values
        assert values[2] == values[1]


def test_a_document_without_truth_and_without_scores_plays_no_part_in_micro_goals() -> None:
    case = problem("ab", [[0.9, 0.8], [0.6, 0.5], [0.4, 0.2]], ["ab", "a", ""])
    more = Problem(
        case.taxonomy,
        np.vstack([case.scores, [[0, 0]]]).astype(np.float32),
        label_matrix(case.taxonomy, ["ab", "a", "", ""]),
    )
    for goal in ("hf", "macro_f1", "precision>=0.9"):
        assert case.tune(goal).values == more.tune(goal).values


# -- nothing to tune on, and wrong calls -------------------------------------------------------------------------


@pytest.mark.parametrize("goal", [*GOALS, "precision>=0.9"])
@pytest.mark.parametrize("documents", [0, 2])
def test_without_scores_thresholds_are_a_half(goal: str, documents: int) -> None:
    case = problem("ab", [[0.0, 0.0]] * documents, ["a"] * documents)
    assert case.tune(goal) == Thresholds((0.5, 0.5), goal, None, "exact")


@pytest.mark.parametrize("goal", [*GOALS, "precision>=0.9"])
@pytest.mark.parametrize("documents", [0, 2])
def test_without_scores_the_grid_search_says_the_same(goal: str, documents: int) -> None:
    case = problem("ab", [[0.0, 0.0]] * documents, ["a"] * documents)
    assert case.tune(goal, search="grid") == Thresholds((0.5, 0.5), goal, None, "grid")


@pytest.mark.parametrize("goal", ["", "hF", "f1", "precision", "precision>0.9", "precision>=", "precision>=high"])
def test_unknown_goals_are_refused_and_the_known_ones_named(goal: str) -> None:
    with pytest.raises(UsageError, match=r"unknown goal.*hf, hf_example, macro_f1, exact_match or precision>=0.9"):
        STUCK.tune(goal)


@pytest.mark.parametrize("floor", ["0", "0.0", "1.01", "90"])
def test_a_precision_lies_above_0_and_not_above_1(floor: str) -> None:
    with pytest.raises(UsageError, match=r"\(0, 1\]"):
        STUCK.tune(f"precision>={floor}")


@pytest.mark.parametrize("floor", [".", "0.9.1"])
def test_a_precision_that_is_no_number_is_a_wrong_call(floor: str) -> None:
    with pytest.raises(UsageError):
        STUCK.tune(f"precision>={floor}")


def test_an_unknown_search_is_refused() -> None:
    with pytest.raises(UsageError):
        STUCK.tune("hf", search="gird")


def test_precision_may_be_written_with_spaces() -> None:
    assert STUCK.tune(" precision >= 0.90 ").goal == "precision>=0.9"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("precision >= .95  per level", "precision>=0.95 per level"),
        ("precision>=0.95 per node", "precision>=0.95 per node"),
        (" recall>=0.80 ", "recall>=0.8"),
        ("cost: fp=1, fn=5", "cost:fp=1,fn=5"),
        ("cost:fp=1/2/4.0,fn=0.5", "cost:fp=1/2/4,fn=0.5"),
    ],
)
def test_goals_have_one_way_to_be_named(written: str, meant: str) -> None:
    assert STUCK.tune(written).goal == parse_goal(written).name == meant
    assert parse_goal(meant) == parse_goal(written)


@pytest.mark.parametrize(
    "goal",
    ["recall>=0.9 per level", "precision>=0.9 per leaf", "cost", "cost:fp=1", "cost:fp=-1,fn=2", "cost:fp=1/,fn=2"],
)
def test_goals_that_look_like_others_are_refused(goal: str) -> None:
    with pytest.raises(UsageError, match="unknown goal"):
        STUCK.tune(goal)


@pytest.mark.parametrize("goal", ["hf", "precision>=0.75 per node"])
@given(case=problems())
def test_thresholds_survive_json(goal: str, case: Problem) -> None:
    found = case.tune(goal)
    again = Thresholds.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert (again.array == found.array).all()


def test_thresholds_of_earlier_versions_are_read() -> None:
    old = {"values": [0.3, 0.4], "goal": "hf", "achieved": 0.8, "search": "grid"}
    assert Thresholds.from_dict(old) == Thresholds((0.3, 0.4), "hf", 0.8, "grid")
