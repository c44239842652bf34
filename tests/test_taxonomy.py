from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
from dags import Dag, dags, dags_with_labels, rich_taxonomies
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hclf import labels
from hclf.errors import TaxonomyError, UnknownNodeError, UsageError
from hclf.taxonomy import Node, Rule, Taxonomy, distinct, run_starts

DTYPES = (np.float16, np.float32, np.float64)


@st.composite
def scored(draw: st.DrawFn, rows: int = 3) -> tuple[Dag, NDArray[Any]]:
    """A DAG and scores of any float type, ties and infinities included."""
    dag = draw(dags())
    dtype = draw(st.sampled_from(DTYPES))
    score = st.floats(0, 1, width=16) | st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0])
    row = st.lists(score, min_size=len(dag.ids), max_size=len(dag.ids))
    return dag, np.array(draw(st.lists(row, min_size=1, max_size=rows)), dtype=dtype)


# -- law 1: one order ------------------------------------------------------------------------------------------


@given(dags(), st.randoms(use_true_random=False))
def test_order_is_a_pure_function_of_the_graph(dag: Dag, random: Any) -> None:
    ids, edges = list(dag.ids), list(dag.edges)
    random.shuffle(ids)
    random.shuffle(edges)
    one, other = dag.taxonomy, Taxonomy(ids, edges + edges[:2])
    assert one.nodes == other.nodes
    assert one.fingerprint == other.fingerprint
    assert one == other
    assert hash(one) == hash(other)
    assert one.levels.tolist() == other.levels.tolist()
    assert [x.tolist() for x in (*one.parents, *one.children)] == [
        x.tolist() for x in (*other.parents, *other.children)
    ]


@given(dags())
def test_level_is_the_longest_path_and_every_edge_leads_deeper(dag: Dag) -> None:
    t, longest = dag.taxonomy, dict.fromkeys(dag.ids, 1)
    for node in nx.topological_sort(dag.graph):
        for child in dag.graph.successors(node):
            longest[child] = max(longest[child], longest[node] + 1)
    assert {node: int(t.levels[t.index(node)]) for node in t} == longest
    assert all(t.levels[t.index(p)] < t.levels[t.index(c)] for p, c in dag.edges)
    assert all(t.index(p) < t.index(c) for p, c in dag.edges)
    assert [t.nodes[s] for s in t.level_slices] == [
        tuple(sorted(n for n in dag.ids if longest[n] == level)) for level in range(1, t.depth + 1)
    ]


@given(dags())
def test_edges_roots_and_leaves_are_those_of_the_graph(dag: Dag) -> None:
    t, graph = dag.taxonomy, dag.graph
    assert set(t.edges()) == set(dag.edges)
    assert {n for n, top in zip(t.nodes, t.is_root, strict=True) if top} == {
        n for n in graph if not graph.in_degree(n)
    }
    assert {n for n, leaf in zip(t.nodes, t.is_leaf, strict=True) if leaf} == {
        n for n in graph if not graph.out_degree(n)
    }
    assert t.is_tree == all(degree <= 1 for _, degree in graph.in_degree())
    for j, node in enumerate(t.nodes):
        assert [t.nodes[k] for k in t.parents.of(j)] == sorted(graph.predecessors(node), key=t.index)
        assert [t.nodes[k] for k in t.children.of(j)] == sorted(graph.successors(node), key=t.index)


@given(dags())
def test_ancestors_descendants_and_path_agree_with_networkx(dag: Dag) -> None:
    t = dag.taxonomy
    for node in t:
        assert set(t.ancestors(node)) == dag.above(node)
        assert set(t.descendants(node)) == dag.below(node)
        path = t.path(node)
        assert path[-1] == node
        assert not dag.above(path[0])
        assert set(pairwise(path)) <= set(dag.edges)


@given(dags(), dags())
def test_fingerprint_tells_graphs_apart(one: Dag, other: Dag) -> None:
    same = set(one.ids) == set(other.ids) and set(one.edges) == set(other.edges)
    assert (one.taxonomy == other.taxonomy) == same


@pytest.mark.parametrize(
    "changed",
    [
        Node("a", {"": "A"}),
        Node("a", {"fr": "A"}),
        Node("a", synonyms={"": ("b",)}),
        Node("a", description="about"),
        Node("a", assignable=False),
        Node("a", meta={"k": 1}),
    ],
)
def test_fingerprint_depends_on_what_a_node_says(changed: Node) -> None:
    assert Taxonomy([changed]).fingerprint != Taxonomy(["a"]).fingerprint


# -- law 2: coherence ------------------------------------------------------------------------------------------


@given(scored(), st.sampled_from(["max", "min", "isotonic"]))
def test_coherent_satisfies_every_edge_exactly_and_is_idempotent(case: Any, method: Any) -> None:
    dag, scores = case
    t, before = dag.taxonomy, scores.copy()
    out = t.coherent(scores, method)
    assert out.dtype == scores.dtype
    assert out.shape == scores.shape
    assert np.array_equal(scores, before)  # the input is not changed
    for parent, child in dag.edges:
        assert (out[:, t.index(child)] <= out[:, t.index(parent)]).all()
    assert not t.violations(out).any()
    again = t.coherent(out, method)
    if method == "isotonic":
        np.testing.assert_allclose(again, out, rtol=0, atol=float(np.finfo(out.dtype).eps))
    else:
        assert np.array_equal(again, out)


@given(scored())
def test_max_is_the_maximum_over_descendants_and_min_the_minimum_over_ancestors(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    highest, lowest = t.coherent(scores), t.coherent(scores, "min")
    for node in t:
        below = [t.index(n) for n in (node, *dag.below(node))]
        above = [t.index(n) for n in (node, *dag.above(node))]
        assert np.array_equal(highest[:, t.index(node)], scores[:, below].max(axis=1))
        assert np.array_equal(lowest[:, t.index(node)], scores[:, above].min(axis=1))


@given(scored())
def test_coherent_scores_are_left_alone(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    coherent = t.coherent(scores)
    assert np.array_equal(t.coherent(coherent, "min"), coherent)
    assert np.array_equal(t.coherent(coherent, "isotonic"), coherent)


@given(scored(rows=4), st.sampled_from(["max", "min", "isotonic"]))
def test_rows_are_independent(case: Any, method: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    whole = t.coherent(scores, method)
    for i, row in enumerate(scores):
        assert np.array_equal(t.coherent(row, method), whole[i])
    assert np.array_equal(t.coherent(scores[::-1], method), whole[::-1])


@given(scored())
def test_violations_counts_edges(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    slow = [sum(row[t.index(c)] > row[t.index(p)] for p, c in set(dag.edges)) for row in scores]
    assert t.violations(scores).tolist() == slow


def test_coherent_refuses_what_it_cannot_do() -> None:
    t = Taxonomy(["a", "b"], [("a", "b")])
    with pytest.raises(UsageError, match="columns, the taxonomy has 2 nodes"):
        t.coherent(np.zeros((1, 3)))
    with pytest.raises(UsageError, match="must be floats"):
        t.coherent(np.zeros((1, 2), dtype=np.int64))  # type: ignore[type-var]
    with pytest.raises(UsageError, match="unknown coherence method 'mean'"):
        t.coherent(np.zeros((1, 2)), "mean")  # type: ignore[arg-type]
    assert t.coherent(np.zeros((0, 2))).shape == (0, 2)


# -- label sets ------------------------------------------------------------------------------------------------


@given(dags_with_labels())
def test_label_matrices_agree_with_sets(case: tuple[Dag, list[list[str]]]) -> None:
    dag, given_labels = case
    t = dag.taxonomy
    raw = labels.label_matrix(t, given_labels, closed=False)
    closed = labels.label_matrix(t, given_labels)
    specific, pruned, unknown = labels.most_specific(t, closed), labels.prune(t, raw), labels.partial_depth(t, closed)
    for i, row in enumerate(map(set, given_labels)):
        closure = row.union(*map(dag.above, row))
        deepest = {n for n in closure if not dag.below(n) & closure}
        assert set(labels.label_sets(t, closed)[i]) == closure == set(t.closure(row))
        assert set(labels.label_sets(t, specific)[i]) == deepest == set(t.most_specific(closure))
        assert set(t.most_specific(row)) == {n for n in row if not dag.below(n) & row}
        assert set(labels.label_sets(t, pruned)[i]) == {n for n in row if dag.above(n) <= row}
        assert set(labels.label_sets(t, unknown)[i]) == set().union(*map(dag.below, deepest)) - closure
    assert labels.is_closed(t, closed).all()
    assert labels.is_closed(t, raw).tolist() == [all(dag.above(n) <= set(row) for n in row) for row in given_labels]
    assert (labels.close(t, raw) != closed).nnz == 0
    assert (labels.close(t, specific) != closed).nnz == 0
    assert closed.has_sorted_indices
    assert closed.dtype == bool
    assert closed.data.all()


# -- faults ----------------------------------------------------------------------------------------------------


def test_every_fault_is_collected_before_raising() -> None:
    with pytest.raises(TaxonomyError) as caught:
        Taxonomy(
            ["a", "b", "b", "phones"],
            [("a", "a"), ("phnes", "b"), ("a", "z")],
            rules=[Rule("excludes", "a", ("nope",))],
        )
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    assert "duplicate node id [b]" in text
    assert "a node cannot be its own parent [a]" in text
    assert "unknown parent 'phnes'; did you mean 'phones'? [b]" in text
    assert "unknown child 'z'" in text
    assert "unknown node in rule 'excludes' 'nope'" in text


@given(dags(min_nodes=2), st.data())
def test_cycles_are_printed_as_a_path(dag: Dag, data: Any) -> None:
    if not dag.edges:
        return
    start = data.draw(st.sampled_from(dag.edges))
    end = data.draw(st.sampled_from([start[1], *dag.below(start[1])]))
    with pytest.raises(TaxonomyError) as caught:
        Taxonomy(dag.ids, [*dag.edges, (end, start[0])])
    (fault,) = caught.value.faults
    cycle = fault.message.removeprefix("cycle: ").split(" -> ")
    assert cycle[0] == cycle[-1]
    assert len(set(cycle)) == len(cycle) - 1
    assert set(pairwise(cycle)) <= {*dag.edges, (end, start[0])}


def test_unknown_nodes_come_with_suggestions() -> None:
    t = Taxonomy(["smartphones", "laptops"])
    with pytest.raises(UnknownNodeError, match="unknown node 'smartphnes'; did you mean 'smartphones'") as caught:
        t.index("smartphnes")
    assert caught.value.suggestions == ("smartphones",)
    assert isinstance(caught.value, KeyError)
    for call in (t.ancestors, t.descendants, t.path, t.subtree, t.__getitem__, lambda n: t.closure([n])):
        with pytest.raises(UnknownNodeError):
            call("nope")
    assert t.get("nope") is None
    assert "nope" not in t


# -- parts and other shapes ------------------------------------------------------------------------------------


@given(rich_taxonomies())
def test_networkx_round_trip_keeps_everything(t: Taxonomy) -> None:
    back = Taxonomy.from_networkx(t.to_networkx())
    assert back.fingerprint == t.fingerprint
    assert back.header == t.header
    assert [back.node(j) for j in range(len(t))] == [t.node(j) for j in range(len(t))]


@given(dags())
def test_to_networkx_is_the_graph(dag: Dag) -> None:
    graph = dag.taxonomy.to_networkx()
    assert nx.utils.graphs_equal(nx.DiGraph(graph.edges), nx.DiGraph(dag.graph.edges))
    assert set(graph) == set(dag.ids)


def test_from_networkx_takes_any_directed_graph() -> None:
    graph: nx.DiGraph[Any] = nx.DiGraph([(1, 2), (1, 3)], version="7")
    graph.nodes[1]["name"] = "One"
    t = Taxonomy.from_networkx(graph, id="numbers")
    assert (t.nodes, t["1"].name, t["2"].name, t.id, t.version) == (("1", "2", "3"), "One", "2", "numbers", "7")
    with pytest.raises(TaxonomyError, match="cycle: "):
        Taxonomy.from_networkx(nx.DiGraph([(1, 2), (2, 1)]))


@given(dags(), st.data())
def test_subtree_is_a_node_and_its_descendants(dag: Dag, data: Any) -> None:
    root = data.draw(st.sampled_from(dag.ids))
    part, kept = dag.taxonomy.subtree(root), {root, *dag.below(root)}
    assert set(part) == kept
    assert set(part.edges()) == {(p, c) for p, c in dag.edges if p in kept and c in kept}


@given(dags(), st.integers(0, 5))
def test_up_to_level_keeps_levels(dag: Dag, level: int) -> None:
    t = dag.taxonomy
    part = t.up_to_level(level)
    assert part.nodes == t.nodes[: int((t.levels <= level).sum())]
    assert part.levels.tolist() == t.levels[: len(part)].tolist()


def test_parts_keep_the_header_and_the_rules_that_fit() -> None:
    rules = [Rule("excludes", "b", ("c",)), Rule("excludes", "a", ("d",)), Rule("at_most", "b")]
    t = Taxonomy("abcd", [("a", "b"), ("b", "c")], rules=rules, level_names=["x", "y", "z"], version="9")
    part = t.subtree("b")
    assert part.version == "9"
    assert part.rules == (rules[0], rules[2])
    assert t.up_to_level(2).level_names == ("x", "y")
    assert [t.level_name(i) for i in (0, 1, 3, 4)] == ["level 0", "x", "z", "level 4"]


def test_a_subtree_names_its_levels_from_its_root() -> None:
    t = Taxonomy("abc", [("a", "b"), ("b", "c")], level_names=["x", "y", "z"])
    assert t.subtree("b").level_names == ("y", "z")


@given(dags(max_parents=4))
def test_redundant_edges_are_those_transitive_reduction_removes(dag: Dag) -> None:
    kept = set(nx.transitive_reduction(dag.graph).edges)
    assert set(dag.taxonomy.redundant_edges()) == set(dag.edges) - kept


@given(dags())
def test_describe_counts(dag: Dag) -> None:
    t, about = dag.taxonomy, dag.taxonomy.describe()
    assert (about["nodes"], about["edges"]) == (len(dag.ids), len(set(dag.edges)))
    assert sum(level["nodes"] for level in about["levels"]) == len(t)
    assert about["several_parents"] == sum(degree > 1 for _, degree in dag.graph.in_degree())
    assert about["max_children"] == max(degree for _, degree in dag.graph.out_degree())
    assert about["fingerprint"] == t.fingerprint


# -- the object ------------------------------------------------------------------------------------------------


def test_it_is_immutable_and_shared_by_copies() -> None:
    t = Taxonomy(["a", "b"], [("a", "b")])
    assert copy.deepcopy(t) is copy.copy(t) is t
    for array in (t.levels, *t.parents, *t.children):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5
    with pytest.raises(AttributeError):
        t["a"].id = "z"  # type: ignore[misc]


def test_names_prefer_no_language_then_english_then_the_first_then_the_id() -> None:
    names: list[dict[str, str]] = [{"": "x", "en": "y"}, {"fr": "z", "en": "y"}, {"fr": "z", "de": "w"}, {}]
    assert [Node("id", n).name for n in names] == ["x", "y", "z", "id"]


def test_an_empty_taxonomy_works() -> None:
    t = Taxonomy([])
    assert (len(t), t.depth, t.level_slices, t.is_tree) == (0, 0, (), True)
    assert t.coherent(np.zeros((2, 0))).shape == (2, 0)
    assert t.describe()["max_children"] == 0
    assert t.closure([]) == ()
    assert repr(t) == "<Taxonomy 'taxonomy': 0 nodes, depth 0>"


def test_a_chain_of_two_thousand_is_no_problem() -> None:
    ids = [f"n{i:05d}" for i in range(2_000)]
    t = Taxonomy(ids, pairwise(ids))
    assert t.depth == 2_000
    assert len(t.ancestors(ids[-1])) == 1_999
    scores = np.zeros((1, 2_000), dtype=np.float32)
    scores[0, -1] = 0.7
    assert (t.coherent(scores) == np.float32(0.7)).all()


# -- helpers on index arrays -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-3, 3)))
def test_runs_of_equal_values_start_where_the_value_before_is_another(values: list[int]) -> None:
    marked = run_starts(np.array(values, dtype=np.int64))
    assert marked.dtype == bool
    assert marked.tolist() == [i == 0 or values[i] != values[i - 1] for i in range(len(values))]
    assert distinct(np.array(values, dtype=np.int64)).tolist() == sorted(set(values))
