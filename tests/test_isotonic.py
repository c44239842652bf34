from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import lsq_linear, nnls

from hclf.isotonic import nearest_coherent
from hclf.taxonomy import Taxonomy


@st.composite
def scored(draw: st.DrawFn, max_parents: int = 3) -> tuple[Dag, NDArray[np.float64]]:
    dag = draw(dags(max_nodes=8, max_parents=max_parents))
    score = st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.25, 1.0])
    return dag, np.array(draw(st.lists(score, min_size=len(dag.ids), max_size=len(dag.ids))))


def solve(t: Taxonomy, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project by the dual problem: scores - D'z for the z >= 0 that minimises |scores - D'z|."""
    differences = np.zeros((len(t.parents.indices), len(t)))
    for row, (parent, child) in enumerate(t.edges()):
        differences[row, t.index(child)], differences[row, t.index(parent)] = 1.0, -1.0
    if not len(differences):
        return scores
    multipliers, _ = nnls(differences.T, scores, maxiter=10_000)
    return np.asarray(scores - differences.T @ multipliers)


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.linalg.norm(one - other))


@given(scored())
def test_isotonic_is_the_solution_of_the_quadratic_program(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    np.testing.assert_allclose(t.coherent(scores, "isotonic"), solve(t, scores), rtol=0, atol=1e-5)


@given(scored(max_parents=1))
def test_it_is_exact_on_forests(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    np.testing.assert_allclose(t.coherent(scores, "isotonic"), solve(t, scores), rtol=0, atol=1e-12)


@given(scored())
def test_it_is_nearer_than_max_and_min(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    nearest = distance(t.coherent(scores, "isotonic"), scores)
    assert nearest <= distance(t.coherent(scores, "max"), scores) + 1e-7
    assert nearest <= distance(t.coherent(scores, "min"), scores) + 1e-7


@given(scored(), st.floats(-2, 2), st.floats(0.125, 4))
def test_it_moves_with_shift_and_scale(case: Any, shift: float, scale: float) -> None:
    dag, scores = case
    t = dag.taxonomy
    moved = t.coherent(scores * scale + shift, "isotonic")
    np.testing.assert_allclose(moved, t.coherent(scores, "isotonic") * scale + shift, rtol=0, atol=1e-4)


@given(scored(max_parents=1))
def test_pooling_on_a_forest_keeps_the_mean_of_each_tree(case: Any) -> None:
    dag, scores = case
    t = dag.taxonomy
    out = t.coherent(scores, "isotonic")
    for root in (n for n, top in zip(t.nodes, t.is_root, strict=True) if top):
        tree = [t.index(n) for n in (root, *t.descendants(root))]
        assert out[tree].mean() == pytest.approx(scores[tree].mean())


def test_a_chain_is_plain_isotonic_regression() -> None:
    t = Taxonomy("abcd", [("a", "b"), ("b", "c"), ("c", "d")])
    assert t.coherent(np.array([0.5, 0.1, 0.9, 0.2]), "isotonic").tolist() == pytest.approx([0.5, 0.5, 0.5, 0.2])


def test_a_diamond_by_hand() -> None:
    # d = 0.9 under b = 0.3 and c = 0.6: pooling all three gives 0.6, and a = 1 stays.
    t = Taxonomy("abcd", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    out = t.coherent(np.array([1.0, 0.3, 0.6, 0.9]), "isotonic")
    assert out.tolist() == pytest.approx([1.0, 0.6, 0.6, 0.6], abs=1e-6)
    check = lsq_linear(np.eye(2), np.array([0.3, 0.6]))  # b and c alone are free: no pooling without d
    assert check.x.tolist() == pytest.approx([0.3, 0.6])


def test_the_sweeps_bound_the_work() -> None:
    t = Taxonomy("abcd", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    rough = nearest_coherent(*t.parents, np.array([[1.0, 0.3, 0.6, 0.9]]), sweeps=1)
    assert rough.shape == (1, 4)
    assert t.violations(t.coherent(rough)).tolist() == [0]  # `coherent` makes it exact


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_a_larger_dag_agrees_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"n{i:02d}" for i in range(60)]
    edges = [(ids[p], ids[c]) for c in range(1, 60) for p in set(rng.integers(0, c, size=2).tolist())]
    t, scores = Taxonomy(ids, edges), rng.random(60)
    np.testing.assert_allclose(t.coherent(scores, "isotonic"), solve(t, scores), rtol=0, atol=1e-5)
