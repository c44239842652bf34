"""Training rows against plain loops: centroids, what models are trained on, rows left out and rows added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.labels import label_matrix, partial_depth
from hclf.scorers.training import LEAST, Rows
from hclf.taxonomy import Taxonomy

SEEDS = st.integers(0, 2**32 - 1)


def rows_of(taxonomy: Taxonomy, seed: int, documents: int = 6) -> Rows:
    """Random documents, in half of all cases with what is below their labels unknown, and texts of some nodes."""
    rng = np.random.default_rng(seed)

    def sparse(n: int, width: int) -> csr_matrix:
        return csr_matrix(rng.random((n, width)) * (rng.random((n, width)) < 0.5), dtype=np.float32)

    labels = [rng.choice(taxonomy.nodes, rng.integers(0, 3)).tolist() for _ in range(documents)]
    Y = label_matrix(taxonomy, labels)
    texts = np.sort(rng.integers(len(taxonomy), size=rng.integers(0, 5)))
    unknown = partial_depth(taxonomy, Y) if rng.random() < 0.5 else None
    return Rows(
        sparse(documents, 5), Y, unknown, sparse(documents, 3), sparse(len(texts), 5), texts, sparse(len(texts), 3)
    )


def same(a: Any, b: Any) -> bool:
    """Whether two rows hold the same."""
    return all(
        x is y is None or np.array_equal(*(v.toarray() if isinstance(v, csr_matrix) else v for v in (x, y)))
        for x, y in zip(a, b, strict=True)
    )


@given(dags(), SEEDS)
def test_a_centroid_is_the_direction_of_what_a_node_has(dag: Dag, seed: int) -> None:
    taxonomy = dag.taxonomy
    rows = rows_of(taxonomy, seed)
    Y, X, texts = (part.toarray() for part in (rows.Y, rows.X, rows.of_texts))
    known = sorted({*np.flatnonzero(Y.any(axis=0)).tolist(), *rows.text_columns.tolist()})
    assert rows.known.tolist() == known
    for column, found in zip(known, rows.centroids(taxonomy, rows.known).toarray(), strict=True):
        below = {column, *map(taxonomy.index, dag.below(taxonomy.nodes[column]))}
        total = X[Y[:, column]].sum(axis=0) + texts[[j in below for j in rows.text_columns.tolist()]].sum(axis=0)
        expected = total / max(np.linalg.norm(total), 1e-12)
        expected[expected < LEAST] = 0
        assert found == pytest.approx(expected, abs=2 * LEAST)
        assert not ((found > 0) & (found < LEAST)).any()


@given(dags(), SEEDS)
def test_models_see_all_documents_and_their_own_texts(dag: Dag, seed: int) -> None:
    taxonomy = dag.taxonomy
    rows = rows_of(taxonomy, seed)
    columns = np.flatnonzero(np.random.default_rng(seed).random(len(taxonomy)) < 0.5)
    problem = rows.problem(taxonomy, columns)
    own = [i for i, j in enumerate(rows.text_columns.tolist()) if j in columns]
    assert problem.X.toarray().tolist() == [*rows.X.toarray().tolist(), *rows.of_texts.toarray()[own].tolist()]
    labels = label_matrix(taxonomy, [[taxonomy.nodes[rows.text_columns[i]]] for i in own])
    assert problem.positives.toarray().tolist() == [*rows.Y.toarray().tolist(), *labels.toarray().tolist()]
    if rows.unknown is None:
        assert problem.hidden is None
    else:
        assert problem.hidden is not None
        hidden = problem.hidden.toarray()
        assert hidden[: len(hidden) - len(own)].tolist() == rows.unknown.toarray().tolist()
        assert not hidden[len(hidden) - len(own) :].any()


@given(dags(), SEEDS, SEEDS)
def test_documents_are_left_out_and_put_back(dag: Dag, seed: int, other: int) -> None:
    rows, more = rows_of(dag.taxonomy, seed), rows_of(dag.taxonomy, other, documents=3)
    both = rows.with_documents(more.X, more.Y, more.unknown, more.W)
    first, last = np.arange(6), np.arange(6, 9)
    assert (both.unknown is None) == (rows.unknown is None and more.unknown is None)
    nothing = [part._replace(unknown=csr_matrix(np.zeros(part.Y.shape, dtype=bool))) for part in (rows, more)]
    blank, of_more = (
        part if part.unknown is not None or both.unknown is None else none
        for part, none in zip((rows, more), nothing, strict=True)
    )
    assert same(both.some(first), blank)
    assert same(both.some(last)[:4], of_more[:4])


@given(dags(), SEEDS)
def test_texts_of_changed_nodes_are_replaced(dag: Dag, seed: int) -> None:
    rows = rows_of(dag.taxonomy, seed)
    changed = np.unique(rows.text_columns)[::2]
    kept = ~np.isin(rows.text_columns, changed)
    gone = rows.with_texts(changed, changed[:0], rows.of_texts[:0], rows.words[:0])
    assert gone.text_columns.tolist() == rows.text_columns[kept].tolist()
    assert gone.words.toarray().tolist() == rows.words.toarray()[kept].tolist()
    back = gone.with_texts(changed, rows.text_columns[~kept], rows.of_texts[~kept], rows.words[~kept])
    assert same(back, rows)


@given(dags(), SEEDS)
def test_saved_rows_come_back(dag: Dag, seed: int) -> None:
    rows = rows_of(dag.taxonomy, seed)
    assert same(Rows.from_state(rows.get_state()), rows)
