"""Splits: the guarantees, on random DAGs and on real data."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from dags import dags_with_labels
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.data import Document, Problems, plan_split, read_documents, split, split_indices, text_groups
from hclf.data.texts import normalised
from hclf.errors import DataError, UsageError
from hclf.labels import label_matrix
from hclf.taxonomy import Taxonomy

DATA = Path(os.environ.get("HCLF_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SHARES = st.sampled_from([(0.2, 0.0), (0.5, 0.0), (0.9, 0.0), (0.2, 0.1), (0.45, 0.45)])


@st.composite
def labelled(draw):
    """A taxonomy and documents whose texts sometimes repeat."""
    dag, label_sets = draw(dags_with_labels(rows=12))
    texts = draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=len(label_sets), max_size=len(label_sets)))
    documents = [
        Document(str(i), {"text": t}, tuple(s)) for i, (t, s) in enumerate(zip(texts, label_sets, strict=True))
    ]
    return dag.taxonomy, documents


@given(labelled(), SHARES, st.integers(0, 5))
def test_every_node_with_two_examples_keeps_one_in_train(case, shares, seed):
    taxonomy, documents = case
    plan = plan_split(documents, taxonomy, test=shares[0], valid=shares[1], seed=seed)
    Y = label_matrix(taxonomy, [d.labels for d in documents])
    support = np.asarray(Y.astype(int).sum(axis=0)).ravel()
    trained = np.asarray(Y[plan == 0].astype(int).sum(axis=0)).ravel()
    assert (trained[support > 1] > 0).all()


@given(labelled(), SHARES, st.integers(0, 5))
def test_the_same_text_is_in_one_part_whatever_the_order_of_the_rows(case, shares, seed):
    taxonomy, documents = case

    def parts(given):
        plan = plan_split(given, taxonomy, test=shares[0], valid=shares[1], seed=seed)
        return {d.id: part for d, part in zip(given, plan.tolist(), strict=True)}

    part = parts(documents)
    for text in {d.text for d in documents}:
        assert len({part[d.id] for d in documents if d.text == text}) == 1
    assert parts(documents) == part
    assert parts(documents[::-1]) == part


@given(labelled(), SHARES)
def test_split_loses_nothing_and_keeps_the_order(case, shares):
    taxonomy, documents = case
    parts = split(documents, taxonomy, test=shares[0], valid=shares[1])
    assert sorted((d for part in parts for d in part), key=lambda d: int(d.id)) == documents
    for part in parts:
        assert [int(d.id) for d in part] == sorted(int(d.id) for d in part)
    if not shares[1]:
        assert parts.valid == []


def random_labels(n: int, nodes: int, seed: int = 0) -> csr_matrix:
    """A long-tailed label matrix of a flat taxonomy below one root."""
    random = np.random.default_rng(seed)
    weight = 1 / np.arange(1, nodes)
    Y = random.random((n, nodes - 1)) < 2 * weight / weight.sum()
    return csr_matrix(np.hstack([np.ones((n, 1), dtype=bool), Y]))


def test_sizes_and_nodes_are_in_proportion():
    Y = random_labels(2000, 200)
    train, test = split_indices(Y, test_size=0.25, seed=1)
    assert abs(len(test) - 500) <= 3
    assert sorted([*train, *test]) == list(range(2000))
    support = np.asarray(Y.astype(int).sum(axis=0)).ravel()
    share = np.asarray(Y[test].astype(int).sum(axis=0)).ravel() / np.maximum(support, 1)
    often = support >= 20
    by_chance = np.sqrt(0.25 * 0.75 / support[often]).mean() * np.sqrt(2 / np.pi)
    assert np.abs(share[often] - 0.25).mean() < by_chance / 2
    few = (support > 1) & (support < 20)
    assert share[few].mean() == pytest.approx(0.25, abs=0.04)  # rare nodes are tested too


def test_nodes_with_one_example_are_neither_all_in_train_nor_all_in_test():
    """They cannot be divided; their documents follow their ancestors."""
    Y = csr_matrix(np.hstack([np.ones((100, 1), dtype=bool), np.eye(100, dtype=bool)]))
    train, test = split_indices(Y, test_size=0.3)
    assert (len(train), len(test)) == (70, 30)


def test_small_flat_data_still_has_a_test_part():
    Y = csr_matrix(np.repeat(np.eye(50, dtype=bool), 2, axis=0))  # fifty nodes, two examples each
    train, test = split_indices(Y, test_size=0.2)
    assert 15 <= len(test) <= 20
    assert np.asarray(Y[train].sum(axis=0)).all()


def test_seeds_differ_and_repeat():
    Y = random_labels(300, 30)
    assert split_indices(Y, seed=1)[1].tolist() == split_indices(Y, seed=1)[1].tolist()
    assert split_indices(Y, seed=1)[1].tolist() != split_indices(Y, seed=2)[1].tolist()


def test_groups_stay_together_and_make_the_order_irrelevant():
    Y, groups = random_labels(400, 30), np.arange(400) // 4
    _, test = split_indices(Y, seed=3, groups=groups)
    assert len(test) == 4 * len(set(groups[test]))
    assert abs(len(test) - 80) <= 4
    order = np.random.default_rng(0).permutation(400)
    _, moved = split_indices(Y[order], seed=3, groups=groups[order])
    assert sorted(order[moved]) == test.tolist()


def test_copies_of_one_text_that_are_all_a_node_has_stay_in_train():
    Y = csr_matrix(np.array([[1, 1], [1, 1], [1, 0], [1, 0], [1, 0]], dtype=bool))
    train, _ = split_indices(Y, test_size=0.6, groups=[0, 0, 1, 2, 3])
    assert {0, 1} <= set(train.tolist())


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_data(n):
    train, test = split_indices(csr_matrix(np.ones((n, 1), dtype=bool)), test_size=0.5)
    assert len(train) == (n + 1) // 2
    assert len(test) == n // 2


def test_wrong_calls():
    Y = csr_matrix(np.ones((4, 1), dtype=bool))
    for size in (0, 1, -0.1, 1.5):
        with pytest.raises(UsageError, match="between 0 and 1"):
            split_indices(Y, test_size=size)
    with pytest.raises(UsageError, match="groups has shape"):
        split_indices(Y, groups=[1, 2])
    with pytest.raises(UsageError, match="leave something for train"):
        split([], Taxonomy(["a"]), test=0.6, valid=0.4)


def test_unknown_labels_are_counted_and_play_no_part():
    documents = [Document(str(i), {"text": str(i)}, ("a", "nonsense")) for i in range(10)]
    problems = Problems()
    parts = split(documents, Taxonomy(["a"]), problems=problems)
    assert (len(parts.train), len(parts.test)) == (8, 2)
    assert problems.counts == {"unknown-label": 10}
    with pytest.raises(DataError):
        split(documents, Taxonomy(["a"]), problems=Problems(strict=True))


def test_texts_are_the_same_whatever_case_blanks_and_unicode_form():
    assert normalised(" ﬁne\n\tCAFE\u0301 ") == "fine café"
    a, b, c = text_groups(["fine café", "FINE  Cafe\u0301", "fine cafe"]).tolist()
    assert a == b != c


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA} (set HCLF_DATA)")
def test_fifty_thousand_documents_in_seconds():
    documents = list(read_documents(DATA / "instacart" / "items.jsonl.gz"))
    nodes = sorted({label for d in documents for label in d.labels})
    taxonomy = Taxonomy(["all", *nodes], [("all", node) for node in nodes])
    start = time.perf_counter()
    parts = split(documents, taxonomy, test=0.2)
    assert time.perf_counter() - start < 20
    assert abs(len(parts.test) - 0.2 * len(documents)) < 10
