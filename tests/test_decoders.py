"""Law 3: whatever the scores, the thresholds and the decoder, label sets are closed under ancestors.

Of expected-f and safe-depth only what holds for every decoder is here; what they choose is tested in their own files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.decoders import DECODERS, allowed_nodes, decode, default_decoder, describe, make_decoder, restrict
from hclf.errors import UnknownNodeError, UsageError
from hclf.labels import label_matrix
from hclf.taxonomy import Node, Rule, Taxonomy

CASES: list[tuple[str, dict[str, Any]]] = [
    ("threshold", {}),
    ("threshold", {"at_most": 2}),
    ("threshold", {"at_most": [1, 3]}),
    ("threshold", {"exclusive": "all"}),
    ("threshold", {"exclusive": "all", "at_most": 1}),
    ("threshold", {"exclusive": "rules"}),
    ("path", {}),
    ("path", {"to_leaf": True}),
    ("leaf", {}),
    ("top-k", {"k": 1}),
    ("top-k", {"k": 3}),
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("expected-f", {}),
    ("expected-f", {"single": 0.0, "unknown": True}),
    ("expected-f", {"single": 1, "leaves": True, "unknown": True}),
    ("safe-depth", {"precision": 0.8}),
    ("safe-depth", {"precision": 0.6, "least": 0.3, "most": 3, "path": True}),
]
MAX_PARENTS = {("path", True): 1}  # a path that may stop early: on a DAG see the tests of its own below
STEPS = 8  # few different scores: many ties, many scores that equal a threshold, many that are 0

every_decoder = pytest.mark.parametrize(("name", "options"), CASES + OTHERS, ids=lambda value: str(value))
with_reference = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))


def test_every_decoder_is_tested() -> None:
    assert {name for name, _ in CASES + OTHERS} == set(DECODERS)


@st.composite
def scored(draw: st.DrawFn, documents: int = 4, max_parents: int = 3) -> tuple[Dag, Taxonomy, np.ndarray]:
    """A random DAG, some nodes of which cannot be assigned or have exclusive children, and coherent scores."""
    dag = draw(dags(max_nodes=9, max_parents=max_parents))
    not_assignable = draw(st.sets(st.sampled_from(dag.ids)) if draw(st.booleans()) else st.just(set()))
    rules = [Rule("exclusive_children", n) for n in draw(st.sets(st.sampled_from(dag.ids)))]
    taxonomy = Taxonomy([Node(n, assignable=n not in not_assignable) for n in dag.ids], dag.edges, rules=rules)
    n = draw(st.integers(1, documents))
    cells = draw(st.lists(st.integers(0, STEPS), min_size=n * len(taxonomy), max_size=n * len(taxonomy)))
    raw = np.array(cells, dtype=draw(st.sampled_from([np.float32, np.float64]))).reshape(n, -1) / STEPS
    return dag, taxonomy, taxonomy.coherent(raw, draw(st.sampled_from(["max", "min"])))


def thresholds_for(draw: Any, depth: int, *, falling: bool) -> np.ndarray:
    values = draw(st.lists(st.integers(0, STEPS + 1), min_size=depth, max_size=depth))
    return np.array(values if falling else sorted(values)) / STEPS


def as_sets(taxonomy: Taxonomy, Y: csr_matrix) -> list[set[str]]:
    return [{taxonomy.nodes[j] for j in np.flatnonzero(row)} for row in Y.toarray()]


def closed(dag: Dag, nodes: set[str]) -> set[str]:
    return nodes.union(*map(dag.above, nodes))


def passing(taxonomy: Taxonomy, row: np.ndarray, thresholds: np.ndarray, nodes: set[str]) -> set[str]:
    return {n for n in nodes if row[j := taxonomy.index(n)] >= thresholds[taxonomy.levels[j] - 1]}


def slow_candidates(name: str, options: dict[str, Any], dag: Dag, taxonomy: Taxonomy, row: np.ndarray) -> set[str]:
    """What a decoder should select, node by node; ties go to the earlier column, and 0 is impossible."""
    possible = {n for n in taxonomy.nodes if row[taxonomy.index(n)] > 0}

    def in_order(nodes: Iterable[str]) -> list[str]:
        return sorted(possible.intersection(nodes), key=lambda n: (-row[taxonomy.index(n)], taxonomy.index(n)))

    def children(node: str) -> list[str]:
        return [c for p, c in dag.edges if p == node]

    if name == "threshold":
        at_most = options.get("at_most", [])
        at_most = [at_most] * taxonomy.depth if isinstance(at_most, int) else at_most
        exclusive = {"all": set(dag.ids), "rules": {r.node for r in taxonomy.rules}}.get(
            options.get("exclusive", ""), set()
        )
        stands: set[str] = set()
        for level in range(taxonomy.depth):
            here = [
                n
                for n in in_order(n for n in dag.ids if taxonomy.levels[taxonomy.index(n)] == level + 1)
                if dag.above(n) <= stands
                and all(in_order(children(p))[0] == n for p, c in dag.edges if c == n and p in exclusive)
            ]
            stands.update(here[: at_most[level]] if level < len(at_most) else here)
        return stands
    if name == "leaf":
        return possible
    if name == "path":
        end, below = set(), [n for n in dag.ids if not dag.above(n)]
        while best := in_order(below)[:1]:
            end, below = set(best), children(best[0])
        return closed(dag, end)
    assignable = [n for n in taxonomy.nodes if taxonomy[n].assignable]
    left = assignable if len(assignable) < len(taxonomy) else [n for n in dag.ids if not dag.below(n)]
    return closed(dag, set(in_order(left)[: options["k"]]))


def slow_trim(name: str, dag: Dag, taxonomy: Taxonomy, row: np.ndarray, nodes: set[str]) -> set[str]:
    """What a decoder should make of the candidates that were not cut, once they are closed."""
    if name != "leaf":
        return nodes
    leaves = [n for n in taxonomy.nodes if not dag.below(n) and row[taxonomy.index(n)] > 0]
    best = sorted(leaves, key=lambda n: (-row[taxonomy.index(n)], taxonomy.index(n)))[:1]
    return closed(dag, nodes.intersection(leaves) or set(best))


@with_reference
@settings(max_examples=20)
@given(data=st.data())
def test_decoded_sets_equal_a_slow_reference(name: str, options: dict[str, Any], data: Any) -> None:
    dag, taxonomy, scores = data.draw(scored(max_parents=MAX_PARENTS.get((name, not options), 3)))
    thresholds = thresholds_for(data.draw, taxonomy.depth, falling=False)
    decoder = make_decoder(name, **options)
    Y, touched = decode(taxonomy, scores, thresholds, decoder)
    assert (Y.shape, Y.dtype, touched) == (scores.shape, bool, 0)
    for row, found in zip(scores, as_sets(taxonomy, Y), strict=True):
        expected = slow_candidates(name, options, dag, taxonomy, row)
        if decoder.cut:
            expected = passing(taxonomy, row, thresholds, expected)
        assert found == slow_trim(name, dag, taxonomy, row, expected)


@with_reference
@settings(max_examples=20)
@given(data=st.data())
def test_falling_thresholds_are_closed_or_pruned_and_counted(name: str, options: dict[str, Any], data: Any) -> None:
    dag, taxonomy, scores = data.draw(scored(max_parents=MAX_PARENTS.get((name, not options), 3)))
    thresholds = thresholds_for(data.draw, taxonomy.depth, falling=True)
    decoder = make_decoder(name, **options)
    wide, touched = decode(taxonomy, scores, thresholds, decoder, "ancestors")
    narrow, touched_too = decode(taxonomy, scores, thresholds, decoder, "prune")
    selected = [slow_candidates(name, options, dag, taxonomy, row) for row in scores]
    if decoder.cut:
        selected = [passing(taxonomy, row, thresholds, s) for row, s in zip(scores, selected, strict=True)]
    assert touched == touched_too == sum(s != closed(dag, s) for s in selected)
    for method, Y in (("ancestors", wide), ("prune", narrow)):
        for row, s, found in zip(scores, selected, as_sets(taxonomy, Y), strict=True):
            whole = closed(dag, s) if method == "ancestors" else {n for n in s if dag.above(n) <= s}
            assert found == slow_trim(name, dag, taxonomy, row, whole)


@every_decoder
@settings(max_examples=15)
@given(data=st.data())
def test_label_sets_are_closed_and_possible(name: str, options: dict[str, Any], data: Any) -> None:
    dag, taxonomy, scores = data.draw(scored())
    per_node = data.draw(st.booleans())
    thresholds = thresholds_for(data.draw, len(taxonomy) if per_node else taxonomy.depth, falling=True)
    for closure in ("ancestors", "prune"):
        Y, _ = decode(taxonomy, scores, thresholds, make_decoder(name, **options), closure)
        for row, found in zip(scores, as_sets(taxonomy, Y), strict=True):
            assert found == closed(dag, found)
            assert all(row[taxonomy.index(n)] > 0 for n in found)


@every_decoder
@settings(max_examples=15)
@given(data=st.data())
def test_a_document_does_not_depend_on_its_batch(name: str, options: dict[str, Any], data: Any) -> None:
    _, taxonomy, scores = data.draw(scored())
    thresholds = thresholds_for(data.draw, taxonomy.depth, falling=True)
    decoder = make_decoder(name, **options)
    together = decode(taxonomy, scores, thresholds, decoder)[0].toarray()
    alone = [decode(taxonomy, row[None], thresholds, decoder)[0].toarray() for row in scores]
    assert (together == np.concatenate(alone)).all()


@settings(max_examples=50)
@given(scored(max_parents=1))
def test_on_a_tree_a_path_has_one_node_a_level_and_can_be_made_to_reach_a_leaf(
    case: tuple[Dag, Taxonomy, np.ndarray],
) -> None:
    dag, taxonomy, scores = case
    scores = np.maximum(scores, 0.01)
    nothing_passes = np.full(taxonomy.depth, 1.01)
    for Y, to_leaf in (
        (decode(taxonomy, scores, np.full(taxonomy.depth, 0.5), make_decoder("path"))[0], False),
        (decode(taxonomy, scores, nothing_passes, make_decoder("path", to_leaf=True))[0], True),
    ):
        for found in as_sets(taxonomy, Y):
            assert sorted(taxonomy.levels[taxonomy.index(n)] for n in found) == list(range(1, len(found) + 1))
            ends = {n for n in found if not dag.below(n) & found}
            assert len(ends) == (1 if found else 0)
            assert not to_leaf or not ends or not dag.below(ends.pop())


@settings(max_examples=50)
@given(scored(max_parents=1))
def test_a_path_stops_where_thresholds_say_and_may_not_start(case: tuple[Dag, Taxonomy, np.ndarray]) -> None:
    _, taxonomy, scores = case
    whole = decode(taxonomy, scores, np.zeros(taxonomy.depth), make_decoder("path"))[0]
    assert (
        whole != decode(taxonomy, scores, np.zeros(taxonomy.depth), make_decoder("path", to_leaf=True))[0]
    ).nnz == 0
    for level in range(taxonomy.depth + 1):
        thresholds = np.repeat([0.0, 1.01], [level, taxonomy.depth - level])
        cut = decode(taxonomy, scores, thresholds, make_decoder("path"))[0].toarray()
        assert (cut == whole.toarray() & (taxonomy.levels <= level)).all()


@given(data=st.data())
def test_on_a_dag_a_path_is_closed_and_part_of_the_path_to_a_leaf(data: Any) -> None:
    dag, taxonomy, scores = data.draw(scored())
    thresholds = thresholds_for(data.draw, taxonomy.depth, falling=False)
    found = as_sets(taxonomy, decode(taxonomy, scores, thresholds, make_decoder("path"))[0])
    whole = as_sets(taxonomy, decode(taxonomy, scores, thresholds, make_decoder("path", to_leaf=True))[0])
    for short, long in zip(found, whole, strict=True):
        assert short == closed(dag, short)
        assert short <= long


def test_on_a_dag_a_path_that_stops_early_has_one_end() -> None:
    """The path is a > c; c is too unsure, so the answer is a. Nothing on the path ever said b."""
    taxonomy = Taxonomy("abc", [("a", "c"), ("b", "c")])
    scores = np.array([[0.9, 0.8, 0.3]])
    assert as_sets(taxonomy, decode(taxonomy, scores, np.full(2, 0.5), make_decoder("path"))[0]) == [{"a"}]


def test_the_path_with_the_best_root_wins_over_the_best_leaf_elsewhere() -> None:
    taxonomy = Taxonomy("abxy", [("a", "x"), ("b", "y")])
    scores = np.array([[0.9, 0.8, 0.1, 0.8]])
    assert as_sets(taxonomy, decode(taxonomy, scores, np.zeros(2), make_decoder("path"))[0]) == [{"a", "x"}]


@settings(max_examples=50)
@given(scored(), st.integers(1, 4))
def test_top_k_gives_k_leaves_whatever_they_score(case: tuple[Dag, Taxonomy, np.ndarray], k: int) -> None:
    dag, _, scores = case
    taxonomy = dag.taxonomy  # here every node may be assigned
    Y = decode(taxonomy, scores * 0 + 1e-9, np.ones(taxonomy.depth), make_decoder("top-k", k=k))[0].toarray()
    leaves = np.flatnonzero(taxonomy.is_leaf)
    assert (Y[:, leaves].sum(axis=1) == min(k, len(leaves))).all()
    assert Y[:, leaves[:k]].all()  # all tied: the earliest columns


def test_top_k_gives_assignable_nodes_where_the_taxonomy_says_which_are() -> None:
    nodes = [Node("a"), Node("b", assignable=False), Node("c", assignable=False)]
    taxonomy = Taxonomy(nodes, [("a", "b"), ("a", "c")])
    found = decode(taxonomy, np.array([[0.5, 0.4, 0.3]]), np.zeros(2), make_decoder("top-k", k=2))[0]
    assert as_sets(taxonomy, found) == [{"a"}]


def test_a_score_equal_to_its_threshold_passes_in_any_precision() -> None:
    taxonomy = Taxonomy(["a"])
    for value in np.arange(1, 100) / 100:
        for dtype in (np.float32, np.float64):
            Y, _ = decode(taxonomy, np.array([[value]], dtype=dtype), np.array([value]), make_decoder("threshold"))
            assert Y.nnz == 1, (value, dtype)


def test_no_documents_no_labels(zoo: Taxonomy) -> None:
    for name, options in CASES + OTHERS:
        scores = np.zeros((0, len(zoo)), dtype=np.float32)
        Y, touched = decode(zoo, scores, np.array([0.5, 0.4, 0.3]), make_decoder(name, **options))
        assert (Y.shape, touched) == ((0, len(zoo)), 0)


def test_decoders_by_name() -> None:
    with pytest.raises(UsageError, match=r"unknown decoder 'treshold'; did you mean 'threshold'.*top-k"):
        make_decoder("treshold")
    with pytest.raises(UsageError, match="'path' does not take k"):
        make_decoder("path", k=3)


@every_decoder
def test_a_decoder_is_built_again_from_its_description(name: str, options: dict[str, Any]) -> None:
    decoder = make_decoder(name, **options)
    kept = json.loads(json.dumps(describe(decoder)))
    assert options.items() <= kept.items()
    assert make_decoder(name, **kept) == decoder


def test_what_is_no_option_of_the_threshold_decoder_is_refused() -> None:
    with pytest.raises(UsageError):
        make_decoder("threshold", cut=False)


@pytest.mark.parametrize("k", [0, -1])
def test_top_k_needs_a_k_of_at_least_one(k: int) -> None:
    with pytest.raises(UsageError):
        make_decoder("top-k", k=k)


# -- limits ----------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_limits_hold(data: Any) -> None:
    dag, taxonomy, scores = data.draw(scored())
    exclusive = data.draw(st.lists(st.sampled_from(dag.ids), unique=True))
    at_most = data.draw(st.lists(st.integers(1, 3), max_size=taxonomy.depth))
    thresholds = thresholds_for(data.draw, taxonomy.depth, falling=False)
    decoder = make_decoder("threshold", at_most=at_most, exclusive=exclusive)
    for found in as_sets(taxonomy, decode(taxonomy, scores, thresholds, decoder)[0]):
        for parent in exclusive:
            assert len([c for p, c in dag.edges if p == parent and c in found]) <= 1
        for level, most in enumerate(at_most, start=1):
            assert sum(taxonomy.levels[taxonomy.index(n)] == level for n in found) <= most


@settings(max_examples=50)
@given(scored(max_parents=1))
def test_one_root_and_exclusive_children_make_a_path(case: tuple[Dag, Taxonomy, np.ndarray]) -> None:
    _, taxonomy, scores = case
    low = np.full(taxonomy.depth, 1e-9)
    limited = decode(taxonomy, scores, low, make_decoder("threshold", at_most=[1], exclusive="all"))[0]
    assert (limited != decode(taxonomy, scores, low, make_decoder("path"))[0]).nnz == 0


def test_limits_by_example(zoo: Taxonomy) -> None:
    taxonomy = Taxonomy(["a", "b", "a1", "a2", "b1"], [("a", "a1"), ("a", "a2"), ("b", "b1")])
    scores, low = np.array([[0.9, 0.8, 0.7, 0.8, 0.6]]), np.full(2, 0.1)

    def answer(**limits: Any) -> set[str]:
        return as_sets(taxonomy, decode(taxonomy, scores, low, make_decoder("threshold", **limits))[0])[0]

    assert answer(exclusive=["a"]) == {"a", "a2", "b", "b1"}
    assert answer(at_most=[1]) == {"a", "a1", "a2"}
    assert answer(at_most=[2, 1]) == {"a", "a2", "b"}
    assert answer(at_most=1, exclusive=["b"]) == {"a", "a2"}


def test_faulty_limits_are_refused(zoo: Taxonomy) -> None:
    for at_most in (0, [2, 0]):
        with pytest.raises(UsageError, match="at least 1"):
            make_decoder("threshold", at_most=at_most)
    with pytest.raises(UsageError, match="all, rules or a list"):
        make_decoder("threshold", exclusive="cats")
    with pytest.raises(UnknownNodeError):
        make_decoder("threshold", exclusive=["catz"]).select(zoo, np.zeros((1, len(zoo))))


# -- thresholds of nodes ---------------------------------------------------------------------------------------


@given(data=st.data())
def test_thresholds_may_be_given_for_each_node(data: Any) -> None:
    _, taxonomy, scores = data.draw(scored())
    raw = thresholds_for(data.draw, len(taxonomy), falling=True)
    rising = 1.2 - taxonomy.coherent(1.2 - raw, "min")  # no child's is below its parents'
    Y, touched = decode(taxonomy, scores, rising, make_decoder("threshold"))
    assert touched == 0
    assert (Y.toarray() == ((scores >= rising.astype(scores.dtype)) & (scores > 0))).all()
    by_level = thresholds_for(data.draw, taxonomy.depth, falling=True)
    same = [decode(taxonomy, scores, t, make_decoder("path")) for t in (by_level, by_level[taxonomy.levels - 1])]
    assert (same[0][0] != same[1][0]).nnz == 0
    assert same[0][1] == same[1][1]


def test_thresholds_of_another_number_are_refused(zoo: Taxonomy) -> None:
    scores = np.full((1, len(zoo)), 0.5)
    with pytest.raises(UsageError, match=rf"2 thresholds for {zoo.depth} levels and {len(zoo)} nodes"):
        decode(zoo, scores, np.full(2, 0.5), make_decoder("threshold"))


# -- allowed and denied nodes ----------------------------------------------------------------------------------


@given(data=st.data())
def test_allowed_nodes_equal_a_slow_reference(data: Any) -> None:
    dag, taxonomy, _ = data.draw(scored())
    allow, deny = (data.draw(st.lists(st.sampled_from(dag.ids), max_size=3)) for _ in "ab")
    inside = closed_below(dag, set(allow) if allow else set(dag.ids)) - closed_below(dag, set(deny))
    expected = closed(dag, inside)
    found = allowed_nodes(taxonomy, allow, deny)
    assert {n for n, yes in zip(taxonomy.nodes, found, strict=True) if yes} == expected
    assert not expected & closed_below(dag, set(deny))


def closed_below(dag: Dag, nodes: set[str]) -> set[str]:
    return nodes.union(*map(dag.below, nodes))


@every_decoder
@settings(max_examples=15)
@given(data=st.data())
def test_no_decoder_selects_what_is_not_allowed(name: str, options: dict[str, Any], data: Any) -> None:
    dag, taxonomy, scores = data.draw(scored())
    allow, deny = (data.draw(st.lists(st.sampled_from(dag.ids), max_size=2)) for _ in "ab")
    left = restrict(taxonomy, scores, allow, deny)
    may = {n for n, yes in zip(taxonomy.nodes, allowed_nodes(taxonomy, allow, deny), strict=True) if yes}
    assert left.dtype == scores.dtype
    assert not taxonomy.violations(left).any()
    Y, _ = decode(taxonomy, left, np.zeros(taxonomy.depth), make_decoder(name, **options))
    for found in as_sets(taxonomy, Y):
        assert found == closed(dag, found)
        assert found <= may


def test_lists_of_nodes_by_example(zoo: Taxonomy) -> None:
    everything = allowed_nodes(zoo)
    assert everything.all()
    with pytest.raises(UnknownNodeError, match="catz"):
        restrict(zoo, np.ones((1, len(zoo))), deny=["catz"])


# -- the default -----------------------------------------------------------------------------------------------


def test_the_default_decoder_follows_the_training_labels(zoo: Taxonomy) -> None:
    one = label_matrix(zoo, [["cats"], ["dogs"], []], closed=False)
    name, reason = default_decoder(zoo, one)
    assert name == "path"
    assert "exactly one" in reason
    several = label_matrix(zoo, [["cats"], ["dogs"], ["siamese", "cars"], ["unseen"], []], closed=False)
    name, reason = default_decoder(zoo, several)
    assert name == "threshold"
    assert "25.0%" in reason  # of the labelled documents
    assert default_decoder(zoo, one[2:])[0] == "path"
