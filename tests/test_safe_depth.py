"""Safe depth against a slow walk through the sorted nodes of each document."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.decoders import PathDecoder, decode
from hclf.errors import UsageError
from hclf.labels import from_pairs, is_closed
from hclf.safe_depth import SafeDepthDecoder, set_means
from hclf.taxonomy import Taxonomy

COARSE = (0.0, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0)  # many ties
DECODERS = [
    {"precision": p, "least": least, "most": most, "path": path, "each": each}
    for p in (0.0, 0.7, 0.9, 1.0)
    for least in (0.05, 0.5)
    for most in (None, 2)
    for path in (False, True)
    for each in (False, True)
]


@st.composite
def scored(draw: st.DrawFn) -> tuple[Dag, Taxonomy, np.ndarray]:
    """A random taxonomy and coherent float32 scores."""
    dag = draw(dags(max_nodes=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.choice(COARSE, (3, len(dag.ids))) if draw(st.booleans()) else rng.random((3, len(dag.ids)))
    return dag, dag.taxonomy, dag.taxonomy.coherent(values.astype(np.float32))


def slowly(
    taxonomy: Taxonomy, row: np.ndarray, precision: float, least: float, most: int | None, path: bool, each: bool
) -> set:
    """Nodes in descending order of score, ancestors (who come first) before equals; the longest good beginning."""
    nodes = [j for j in range(len(row)) if row[j] >= least]
    if path:
        best = PathDecoder(to_leaf=True)
        steps = best._paths(taxonomy, row[None])[0]
        last = [taxonomy.nodes[j] for j in steps if row[j] >= least]
        nodes = [taxonomy.index(node) for node in taxonomy.closure(last)]
    nodes = sorted(nodes, key=lambda j: (-row[j], j))[:most]
    good: set[int] = set()
    for size in range(1, len(nodes) + 1):
        worth = [float(row[j]) for j in nodes[:size]]
        if (min(worth) if each else np.mean(worth) + 1e-12) < precision:
            break
        good = set(nodes[:size])
    return good


@pytest.mark.parametrize("options", DECODERS, ids=lambda o: "-".join(map(str, o.values())))
@settings(max_examples=10)
@given(case=scored())
def test_answers_are_those_of_a_slow_walk(options: dict, case: tuple) -> None:
    _, taxonomy, scores = case
    chosen = SafeDepthDecoder(**options).select(taxonomy, scores)
    for row, found in zip(scores, chosen, strict=True):
        assert set(np.flatnonzero(found)) == slowly(taxonomy, row, **options)


@given(
    case=scored(),
    precision=st.floats(0, 1),
    least=st.sampled_from([0.01, 0.5]),
    path=st.booleans(),
    each=st.booleans(),
)
def test_answers_are_closed(case: tuple, precision: float, least: float, path: bool, each: bool) -> None:
    _, taxonomy, scores = case
    decoder = SafeDepthDecoder(precision, least, 3, path, each)
    Y, touched = decode(taxonomy, scores, np.zeros(taxonomy.depth), decoder)
    assert is_closed(taxonomy, Y).all()
    assert touched == 0
    assert np.diff(Y.indptr).max() <= 3


@given(case=scored(), low=st.floats(0, 1), high=st.floats(0, 1), path=st.booleans())
def test_what_a_stricter_mean_answers_a_looser_one_answers_too(
    case: tuple, low: float, high: float, path: bool
) -> None:
    _, taxonomy, scores = case
    low, high = sorted((low, high))
    loose, strict = (SafeDepthDecoder(p, 0.05, None, path).select(taxonomy, scores) for p in (low, high))
    assert not (strict & ~loose).any()


@given(case=scored(), precision=st.floats(0, 1))
def test_rows_are_independent(case: tuple, precision: float) -> None:
    _, taxonomy, scores = case
    decoder = SafeDepthDecoder(precision, 0.05)
    together = decoder.select(taxonomy, np.vstack([scores, np.ones_like(scores)]))[: len(scores)]
    alone = np.vstack([decoder.select(taxonomy, row[None]) for row in scores])
    assert (together == alone).all()


@given(case=scored(), path=st.booleans(), each=st.booleans())
def test_means_never_rise_below_a_node(case: tuple, path: bool, each: bool) -> None:
    dag, taxonomy, scores = case
    means = set_means(taxonomy, csr_matrix(scores), least=0.05, path=path, each=each).toarray()
    for parent, child in dag.edges:
        assert (means[:, taxonomy.index(child)] <= means[:, taxonomy.index(parent)]).all()


def test_a_mean_of_equal_scores_is_that_score_however_many() -> None:
    """0.7 + 0.7 + 0.7 is less than 3 * 0.7, and with the fourth it is not: rounding must not leave a gap."""
    taxonomy = Taxonomy("abcdefgh", list(itertools.pairwise("abcdefgh")))
    for value in np.linspace(0.5, 1, 200).tolist():
        means = set_means(taxonomy, csr_matrix(np.full((1, 8), value))).data
        assert (np.diff(means) <= 0).all()
        assert means == pytest.approx(value)


def test_sure_ancestors_do_not_let_in_what_is_likely_wrong() -> None:
    taxonomy = Taxonomy("abcde", list(itertools.pairwise("abcde")))
    scores = np.array([[1, 1, 1, 1, 0.4]])
    assert SafeDepthDecoder(0.8).select(taxonomy, scores).tolist() == [[True] * 4 + [False]]
    assert SafeDepthDecoder(0.8, least=0.3).select(taxonomy, scores).all()


def test_an_empty_batch_an_empty_taxonomy_and_nothing_sure() -> None:
    one = Taxonomy(["a"])
    assert SafeDepthDecoder().select(one, np.zeros((0, 1))).shape == (0, 1)
    assert SafeDepthDecoder().select(Taxonomy([]), np.zeros((2, 0))).shape == (2, 0)
    assert SafeDepthDecoder(path=True).select(one, np.zeros((2, 1))).tolist() == [[False], [False]]
    assert SafeDepthDecoder(path=True).select(one, np.ones((2, 1))).tolist() == [[True], [True]]


def test_above_one_nothing_passes() -> None:
    assert not SafeDepthDecoder(1.01).select(Taxonomy(["a"]), np.ones((3, 1))).any()


def test_it_trims_nothing() -> None:
    taxonomy = Taxonomy(["a"])
    Y = from_pairs(np.array([0]), np.array([0]), (1, 1))
    assert SafeDepthDecoder().trim(taxonomy, np.ones((1, 1)), Y) is Y


@pytest.mark.parametrize(
    "options", [{"precision": -0.1}, {"precision": 95}, {"least": 0.0}, {"least": 1.5}, {"most": 0}]
)
def test_values_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} "):
        SafeDepthDecoder(**options)
