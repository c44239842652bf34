"""Label matrices against plain sets, on random DAGs."""

from __future__ import annotations

import numpy as np
import pytest
from dags import Dag, dags_with_labels
from hypothesis import given
from scipy.sparse import csr_matrix

from hclf import labels
from hclf.errors import UnknownNodeError
from hclf.taxonomy import Taxonomy

Case = tuple[Dag, list[list[str]]]


def sets(taxonomy: Taxonomy, Y: csr_matrix) -> list[set[str]]:
    """Rows of a matrix as sets, read from the dense form."""
    return [{taxonomy.nodes[j] for j in np.flatnonzero(row)} for row in Y.toarray()]


def closed(dag: Dag, label_set: list[str] | set[str]) -> set[str]:
    return set(label_set).union(*map(dag.above, label_set))


def tops(dag: Dag, label_set: set[str]) -> set[str]:
    """The labels without a descendant in the set."""
    return {node for node in label_set if not dag.below(node) & label_set}


def matrix(case: Case, *, close: bool) -> tuple[Dag, Taxonomy, csr_matrix, list[set[str]]]:
    dag, label_sets = case
    taxonomy = dag.taxonomy
    expected = [closed(dag, s) if close else set(s) for s in label_sets]
    return dag, taxonomy, labels.label_matrix(taxonomy, label_sets, closed=close), expected


def assert_canonical(Y: csr_matrix, shape: tuple[int, int]) -> None:
    """A boolean CSR of the right shape: indices ascending, each once, no explicit False."""
    assert Y.format == "csr"
    assert Y.dtype == bool
    assert Y.shape == shape
    assert Y.data.all()
    for start, end in zip(Y.indptr[:-1], Y.indptr[1:], strict=True):
        assert (np.diff(Y.indices[start:end]) > 0).all()


@given(dags_with_labels())
def test_label_matrix_holds_the_labels_and_their_ancestors(case: Case) -> None:
    for close in (True, False):
        _, taxonomy, Y, expected = matrix(case, close=close)
        assert_canonical(Y, (len(expected), len(taxonomy)))
        assert sets(taxonomy, Y) == expected


@given(dags_with_labels())
def test_label_sets_are_the_rows_in_node_order(case: Case) -> None:
    _, taxonomy, Y, expected = matrix(case, close=False)
    rows = labels.label_sets(taxonomy, Y)
    assert list(map(set, rows)) == expected
    assert all(list(row) == sorted(row, key=taxonomy.index) for row in rows)
    assert (labels.label_matrix(taxonomy, rows, closed=False) != Y).nnz == 0


@given(dags_with_labels())
def test_close_adds_every_ancestor_and_nothing_else(case: Case) -> None:
    dag, taxonomy, Y, expected = matrix(case, close=False)
    wide = labels.close(taxonomy, Y)
    assert_canonical(wide, Y.shape)
    assert sets(taxonomy, wide) == [closed(dag, s) for s in expected]
    assert (labels.close(taxonomy, wide) != wide).nnz == 0
    assert labels.is_closed(taxonomy, wide).all()
    assert labels.is_closed(taxonomy, Y).tolist() == [closed(dag, s) == s for s in expected]


@given(dags_with_labels())
def test_closures_are_the_label_sets_of_single_nodes(case: Case) -> None:
    dag, label_sets = case
    taxonomy, nodes = dag.taxonomy, [node for label_set in label_sets for node in label_set]  # any order, any often
    found = labels.closures(taxonomy, np.array([taxonomy.index(node) for node in nodes], dtype=np.int64))
    assert_canonical(found, (len(nodes), len(taxonomy)))
    assert sets(taxonomy, found) == [closed(dag, [node]) for node in nodes]


@given(dags_with_labels())
def test_most_specific_drops_labels_above_others_and_closing_brings_them_back(case: Case) -> None:
    for close in (True, False):
        dag, taxonomy, Y, expected = matrix(case, close=close)
        deepest = labels.most_specific(taxonomy, Y)
        assert_canonical(deepest, Y.shape)
        assert sets(taxonomy, deepest) == [tops(dag, s) for s in expected]
        assert (labels.close(taxonomy, deepest) != labels.close(taxonomy, Y)).nnz == 0


@given(dags_with_labels())
def test_prune_keeps_the_largest_closed_subset(case: Case) -> None:
    dag, taxonomy, Y, expected = matrix(case, close=False)
    kept = labels.prune(taxonomy, Y)
    assert_canonical(kept, Y.shape)
    assert sets(taxonomy, kept) == [{node for node in s if dag.above(node) <= s} for s in expected]


@given(dags_with_labels())
def test_partial_depth_is_all_below_the_most_specific_labels_that_no_other_label_implies(case: Case) -> None:
    dag, taxonomy, Y, expected = matrix(case, close=True)
    unknown = labels.partial_depth(taxonomy, Y)
    assert_canonical(unknown, Y.shape)
    assert sets(taxonomy, unknown) == [set().union(*map(dag.below, tops(dag, s))) - s for s in expected]


@given(dags_with_labels(), dags_with_labels())
def test_subtract_is_set_difference(case: Case, other: Case) -> None:
    _, taxonomy, Y, expected = matrix(case, close=True)
    label_sets = [[n for n in s if n in taxonomy] for s in other[1]]
    rows = (label_sets * len(expected))[: len(expected)]
    Z = labels.label_matrix(taxonomy, rows, closed=False)
    assert sets(taxonomy, labels.subtract(Y, Z)) == [a - set(b) for a, b in zip(expected, rows, strict=True)]


def test_a_child_is_known_when_another_label_implies_it() -> None:
    taxonomy = Taxonomy("abcd", [("a", "b"), ("a", "c"), ("c", "d")])
    Y = labels.label_matrix(taxonomy, [["a"], ["b"], ["c"], ["b", "c"]])
    assert sets(taxonomy, labels.partial_depth(taxonomy, Y)) == [{"b", "c", "d"}, set(), {"d"}, {"d"}]


def test_unknown_ids_are_refused_with_the_nearest_ones(zoo: Taxonomy) -> None:
    with pytest.raises(UnknownNodeError, match="did you mean 'robots'"):
        labels.label_matrix(zoo, [["cats"], ["robotss"]])


def test_labels_given_twice_count_once(zoo: Taxonomy) -> None:
    Y = labels.label_matrix(zoo, [["cats", "cats", "animals"]])
    assert labels.label_sets(zoo, Y) == [("animals", "cats")]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_nothing_has_a_shape_too(shape: tuple[int, int]) -> None:
    taxonomy = Taxonomy([f"n{i}" for i in range(shape[1])])
    Y = labels.label_matrix(taxonomy, [[]] * shape[0])
    assert_canonical(Y, shape)
    for same in (labels.close, labels.most_specific, labels.prune, labels.partial_depth):
        assert_canonical(same(taxonomy, Y), shape)
    assert labels.label_sets(taxonomy, Y) == [()] * shape[0]
    assert labels.is_closed(taxonomy, Y).tolist() == [True] * shape[0]


def test_pairs_may_repeat_and_come_in_any_order() -> None:
    Y = labels.from_pairs(np.array([1, 0, 1, 1]), np.array([2, 1, 0, 2]), (3, 3))
    assert_canonical(Y, (3, 3))
    assert [part.tolist() for part in labels.pairs(Y)] == [[0, 1, 1], [1, 0, 2]]


@given(dags_with_labels())
def test_entries_say_of_any_pairs_whether_they_are_labels(case: Case) -> None:
    _, taxonomy, Y, expected = matrix(case, close=True)
    rows, columns = np.indices(Y.shape).reshape(2, -1)
    rows, columns = np.tile(rows, 2)[::-1], np.tile(columns, 2)[::-1]  # any order, twice
    found = labels.entries(Y, rows, columns)
    assert found.dtype == bool
    assert found.tolist() == [
        taxonomy.nodes[j] in expected[i] for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    nothing = labels.entries(Y, rows[:0], columns[:0])
    assert (nothing.dtype, nothing.shape) == (bool, (0,))


def test_an_entry_of_0_is_none() -> None:
    Y = csr_matrix((np.array([0.0, 2.0, -1.0]), np.array([0, 2, 1]), np.array([0, 2, 3])), shape=(2, 3))
    assert labels.entries(Y, np.array([0, 0, 1, 1]), np.array([0, 2, 1, 2])).tolist() == [False, True, True, False]


def test_row_and_column_numbers_do_not_overflow() -> None:
    """A pair is one number, row x width + column: int32 would not do for 100,000 documents x 100,000 nodes."""
    rows, columns = np.array([99_999], dtype=np.int32), np.array([99_999], dtype=np.int32)
    Y = labels.from_pairs(rows, columns, (100_000, 100_000))
    assert [part.tolist() for part in labels.pairs(Y)] == [[99_999], [99_999]]
