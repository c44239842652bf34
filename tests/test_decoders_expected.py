"""expected-f against every closed set and every possible truth, one by one."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.decoders import ExpectedFDecoder, decode, make_decoder, tune_expected_f
from hclf.decoders.expected import MOST, best_sets, candidates, sparse_candidates
from hclf.errors import UsageError
from hclf.labels import from_pairs, is_closed
from hclf.taxonomy import Node, Taxonomy

CLOSE = 1e-8
Truths = list[tuple[frozenset[str], float]]


@st.composite
def scored(draw: st.DrawFn, max_nodes: int = 6, documents: int = 3) -> tuple[Dag, Taxonomy, np.ndarray]:
    """A small DAG and coherent scores: of few values, for ties, or of any."""
    dag = draw(dags(max_nodes=max_nodes))
    not_assignable = draw(st.sets(st.sampled_from(dag.ids), max_size=2))
    taxonomy = Taxonomy([Node(n, assignable=n not in not_assignable) for n in dag.ids], dag.edges)
    value = draw(st.sampled_from([st.integers(0, 8).map(lambda i: i / 8), st.floats(0.02, 1)]))
    cells = draw(st.lists(value, min_size=documents * len(taxonomy), max_size=documents * len(taxonomy)))
    return (
        dag,
        taxonomy,
        taxonomy.coherent(np.array(cells).reshape(documents, -1), draw(st.sampled_from(["max", "min"]))),
    )


def f1(a: frozenset[str], b: frozenset[str]) -> float:
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def subsets(nodes: tuple[str, ...]) -> list[frozenset[str]]:
    return [frozenset(s) for s in chain.from_iterable(combinations(nodes, k) for k in range(len(nodes) + 1))]


def independent(taxonomy: Taxonomy, row: np.ndarray) -> Truths:
    """Every set of nodes with its probability when all are independent."""
    return [
        (s, float(np.prod([p if n in s else 1 - p for n, p in zip(taxonomy.nodes, row, strict=True)])))
        for s in subsets(taxonomy.nodes)
    ]


def one_path(dag: Dag, taxonomy: Taxonomy, row: np.ndarray, leaves: bool) -> Truths:
    """The closure of every node with the probability that it is the only most specific label; the rest is nothing."""
    score = {n: float(row[taxonomy.index(n)]) for n in taxonomy.nodes}
    candidates = {n for n in taxonomy.nodes if score[n] > 0}
    ends: dict[str, float] = {}
    for n in sorted(candidates, key=lambda n: (-score[n], taxonomy.index(n)), reverse=True):
        below = sum(ends[d] for d in dag.below(n) & ends.keys())
        may_end = not dag.below(n) if leaves else taxonomy[n].assignable
        if below > score[n] or (below and not may_end):
            ends |= {d: p * score[n] / below for d, p in ends.items() if d in dag.below(n)}
        ends[n] = max(score[n] - below, 0.0) if may_end or not below else 0.0
    total = max(sum(ends.values()), 1.0)
    truths = [(frozenset({n, *dag.above(n)}), p / total) for n, p in ends.items()]
    return [*truths, (frozenset(), 1 - sum(p for _, p in truths))]


@given(scored())
def test_on_a_tree_one_path_keeps_the_scores_of_roots_and_raises_none(case: tuple[Dag, Taxonomy, np.ndarray]) -> None:
    """Of the reference, and so of what equals it."""
    dag, _, scores = case
    taxonomy = dag.taxonomy  # here every node may be an end
    assume(taxonomy.is_tree)
    for row in scores / max(1, taxonomy.is_root.sum()):
        truths = one_path(dag, taxonomy, row, leaves=False)
        for n, score, root in zip(taxonomy.nodes, row, taxonomy.is_root, strict=True):
            probability = sum(p for s, p in truths if n in s)
            assert probability == pytest.approx(score) if root else probability <= score + CLOSE


@given(scored(), st.sampled_from([0.0, 0.3, 1.0]), st.booleans(), st.booleans())
def test_no_closed_set_has_a_higher_expected_f(
    case: tuple[Dag, Taxonomy, np.ndarray], single: float, leaves: bool, unknown: bool
) -> None:
    dag, taxonomy, scores = case
    closed = [s for s in subsets(taxonomy.nodes) if all(dag.above(n) <= s for n in s)]
    Y, _ = decode(taxonomy, scores, np.zeros(0), ExpectedFDecoder(single, leaves, unknown))
    assert is_closed(taxonomy, Y).all()
    for row, found in zip(scores, Y.toarray(), strict=True):
        truths = [(s, single * p) for s, p in one_path(dag, taxonomy, row, leaves)]
        truths += [(s, (1 - single) * p) for s, p in independent(taxonomy, row)]

        def expected(answer: frozenset[str], truths: Truths = truths) -> float:
            return sum(p * f1(answer, truth) for truth, p in truths)

        answer = frozenset(n for n, yes in zip(taxonomy.nodes, found, strict=True) if yes)
        if not row.any():
            assert not answer  # nothing is possible
        else:
            assert answer or unknown
            assert expected(answer) >= max(expected(s) for s in closed if s or unknown) - CLOSE


@given(scored(max_nodes=12, documents=6), st.sampled_from([0.0, 0.5, 1.0]))
def test_dense_and_sparse_scores_and_parts_of_a_batch_agree(
    case: tuple[Dag, Taxonomy, np.ndarray], single: float
) -> None:
    _, taxonomy, scores = case
    scores = scores.astype(np.float32)
    whole = from_pairs(
        *best_sets(taxonomy, sparse_candidates(csr_matrix(scores)), ExpectedFDecoder(single)), scores.shape
    )
    parts = [best_sets(taxonomy, candidates(row[None]), ExpectedFDecoder(single))[1] for row in scores]
    assert [whole.indices[a:b].tolist() for a, b in zip(whole.indptr, whole.indptr[1:], strict=False)] == [
        part.tolist() for part in parts
    ]


def test_large_documents_stay_independent_of_their_batch_and_closed() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{j:03}" for j in range(300)]
    edges = [(ids[int(p)], ids[j]) for j in range(5, 300) for p in set(rng.integers(0, j, 2))]
    taxonomy = Taxonomy(ids, edges)
    scores = taxonomy.coherent(rng.beta(0.3, 3, (40, 300)).astype(np.float32))
    together = ExpectedFDecoder().select(taxonomy, scores)
    assert (together == np.concatenate([ExpectedFDecoder().select(taxonomy, row[None]) for row in scores])).all()
    assert is_closed(taxonomy, csr_matrix(together)).all()
    assert np.bincount(candidates(scores).rows).max() == MOST


def test_children_come_in_as_far_as_they_are_sure() -> None:
    taxonomy = Taxonomy("abc", [("a", "b"), ("a", "c")])
    scores = np.array([[0.9, 0.6, 0.2], [0.9, 0.45, 0.4]])
    assert ExpectedFDecoder(1.0).select(taxonomy, scores).tolist() == [[True, True, False], [True, True, True]]
    unsure = np.array([[0.9, 0.3, 0.3]])
    assert ExpectedFDecoder(1.0).select(taxonomy, unsure).tolist() == [[True, False, False]]


def test_the_answer_is_empty_only_where_documents_may_have_no_label() -> None:
    taxonomy = Taxonomy("ab", [])
    scores = np.array([[0.3, 0.1], [0.0, 0.0]])
    assert ExpectedFDecoder(unknown=True).select(taxonomy, scores).tolist() == [[False, False], [False, False]]
    assert ExpectedFDecoder(unknown=False).select(taxonomy, scores).tolist() == [[True, False], [False, False]]


def test_certain_and_equal_scores_are_no_trouble() -> None:
    taxonomy = Taxonomy("abcd", [("a", "b"), ("b", "c"), ("a", "d")])
    for value in (1.0, 0.5, 1e-30):
        for single in (0.0, 0.5, 1.0):
            scores = np.full((2, 4), value, dtype=np.float32)
            with np.errstate(all="raise", under="ignore"):
                found = ExpectedFDecoder(single).select(taxonomy, scores)
            assert is_closed(taxonomy, csr_matrix(found)).all()
            assert found.any(axis=1).all()


def test_a_taxonomy_without_nodes() -> None:
    assert ExpectedFDecoder().select(Taxonomy([]), np.zeros((2, 0))).shape == (2, 0)


def simulated(taxonomy: Taxonomy, several: bool, unlabelled: bool) -> tuple[csr_matrix, csr_matrix]:
    """Documents and their scores where the model of one path, or that of independent nodes, is true."""
    rng = np.random.default_rng(1)
    n, leaves = 3_000, np.flatnonzero(taxonomy.is_leaf)
    chances = rng.dirichlet(np.full(len(leaves) + unlabelled, 0.25), size=n)[:, : len(leaves)]
    if several:
        chances = np.minimum(1.5 * chances, 0.95)
        true = rng.random(chances.shape) < chances
    else:
        drawn = (rng.random((n, 1)) > chances.cumsum(axis=1)).sum(axis=1)
        true = np.arange(len(leaves)) == drawn[:, None]
    Y, S = np.zeros((n, len(taxonomy)), dtype=bool), np.zeros((n, len(taxonomy)))
    Y[:, leaves], S[:, leaves] = true, chances
    for j in reversed(range(len(taxonomy))):
        if (below := taxonomy.children.of(j)).size:
            Y[:, j] = Y[:, below].any(axis=1)
            S[:, j] = 1 - (1 - S[:, below]).prod(axis=1) if several else S[:, below].sum(axis=1)
    return csr_matrix(Y), csr_matrix(np.minimum(S, 1))


@pytest.mark.parametrize("unlabelled", [False, True])
def test_tuning_finds_the_model_that_is_true(unlabelled: bool) -> None:
    ids = ["a", "b", *"cdefghij"]
    taxonomy = Taxonomy(ids, [("a", n) for n in "cdef"] + [("b", n) for n in "ghij"])
    true, scores = simulated(taxonomy, several=False, unlabelled=unlabelled)
    tuned = tune_expected_f(taxonomy, true, scores)
    assert tuned.single >= 0.5
    assert tuned.leaves
    assert tuned.unknown == unlabelled
    true, scores = simulated(taxonomy, several=True, unlabelled=unlabelled)
    assert tune_expected_f(taxonomy, true, scores).single <= 0.5


def test_it_earns_the_f1_it_expects_and_more_than_thresholds() -> None:
    """With scores that are the truth's own probabilities no threshold does better."""
    taxonomy = Taxonomy(["a", "b", *"cdefghij"], [("a", n) for n in "cdef"] + [("b", n) for n in "ghij"])
    true, scores = simulated(taxonomy, several=False, unlabelled=True)

    def earned(decoder: Any, threshold: float) -> float:
        Y = decode(taxonomy, scores.toarray(), np.full(taxonomy.depth, threshold), decoder)[0].toarray()
        both, size = (Y & true.toarray()).sum(axis=1), Y.sum(axis=1) + true.toarray().sum(axis=1)
        return float(np.where(size, 2 * both / np.maximum(size, 1), 1.0).mean())

    ours = earned(ExpectedFDecoder(1.0, leaves=True, unknown=True), 0)
    assert ours > max(earned(make_decoder("threshold"), t) for t in np.arange(1, 20) / 20) + 0.005


def test_labels_that_end_above_the_leaves_are_noticed() -> None:
    taxonomy = Taxonomy("abc", [("a", "b"), ("a", "c")])
    true = csr_matrix(np.array([[1, 1, 0], [1, 0, 0]], dtype=bool))
    scores = csr_matrix(np.array([[0.9, 0.6, 0.2], [0.9, 0.3, 0.3]]))
    assert not tune_expected_f(taxonomy, true, scores).leaves
    assert tune_expected_f(taxonomy, true[:1], scores[:1]).leaves


@pytest.mark.parametrize("single", [-0.1, 1.1])
def test_a_share_lies_between_0_and_1(single: float) -> None:
    with pytest.raises(UsageError, match="share"):
        ExpectedFDecoder(single)
