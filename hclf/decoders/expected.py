"""For each document the closed label set of highest expected F1, by the document's own scores.

Any model of the label set Y of a document gives, for each node i and size s, the probability that i is in Y and Y
has s labels. From this table alone the best set of every size k follows: the k nodes of highest
W(k, i) = sum over s of P(i in Y, |Y| = s) 2 / (k + s), and their sum is the expected F1 (Dembczyński, Waegeman, Cheng
& Hüllermeier, 2011). Where Y is closed with probability 1, or its nodes are independent with coherent scores, no node
has a higher W than its ancestors: the best set of all is closed, on any DAG, and nothing has to be searched.

The model here is a mixture of two that are exact on DAGs: that the document
has one most specific label (the end of one path), and that nodes are independent (Lewis, 1995; Jansche, 2007).
docs/decoders.md says what else was tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.decoders.base import Bools, Ints, NothingToTrim, Scores
from hclf.errors import UsageError
from hclf.labels import from_pairs, most_specific, pairs
from hclf.taxonomy import Edges, Taxonomy

Floats = NDArray[np.float64]

FLOOR = 0.01  # of a document's best score: nodes below it do not matter
MOST = 128  # candidates of a document, best first
WIDTHS = (8, 16, 32, 64, MOST)  # documents with about as many candidates are worked on together
NUMBERS = 1_000_000  # of one table at a time
STEP = 16  # sizes of sets tried at once; so small that matrix products start no threads
EQUAL = 1e-9  # expected F1 that differs by less is the same


class Candidates(NamedTuple):
    """(document, node) pairs with their scores, by document, best first; every ancestor stands before its node."""

    rows: Ints
    columns: Ints
    scores: Floats


class Problem(NamedTuple):
    """Documents with at most n candidates each, padded with candidates of score 0.

    Attributes:
        rows: (d,) the documents.
        columns: (d, n), -1 for padding.
        scores: (d, n).
        above: (d, n, n): above[:, j, i] is 1 where candidate i is j or an ancestor of j.
        may_end: (d, n): whether the node may be a most specific label.
    """

    rows: Ints
    columns: Ints
    scores: Floats
    above: Floats
    may_end: Bools


@dataclass(frozen=True, slots=True)
class ExpectedFDecoder(NothingToTrim):
    """The closed set of highest expected F1, document by document, if scores are calibrated.

    Args:
        single: the share of documents with one most specific label, in [0, 1]: how much weight the model gives to
            one path against independent nodes. `tune_expected_f` chooses it on held-out documents.
        leaves: whether every most specific label is a leaf. Nodes that are not assignable are none in any case.
        unknown: whether documents may have no label at all. If so, the answer is empty where that is more probable
            than the best set's expected F1; else the best set is given, however unsure.

    Raises:
        UsageError: a share outside [0, 1].
    """

    single: float = 0.5
    leaves: bool = False
    unknown: bool = False
    cut: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.single <= 1:
            raise UsageError(f"single is a share in [0, 1], not {self.single}")

    def select(self, taxonomy: Taxonomy, scores: Scores) -> Bools:
        """Return the best set of each row."""
        best = best_sets(taxonomy, candidates(scores), self)
        chosen = np.zeros(scores.shape, dtype=bool)
        chosen[best] = True
        return chosen


def tune_expected_f(taxonomy: Taxonomy, true: csr_matrix[Any], scores: csr_matrix[Any]) -> ExpectedFDecoder:
    """Return the decoder whose share of single labels gives the highest mean F1 on documents held out.

    Args:
        taxonomy: of the columns.
        true: (documents, nodes) closed label sets.
        scores: (documents, nodes) coherent scores; absent entries are 0.

    Labels end in leaves if they all do in the documents held out, and answers may be empty if one of these has no
    label. Of the shares 0, 0.25, …, 1 the best is taken if it beats 0.5 by more than one standard error: little
    hangs on it, and few documents would choose at random.
    """
    found = sparse_candidates(scores)
    leaves = bool(taxonomy.is_leaf[most_specific(taxonomy, true).indices].all())
    even = ExpectedFDecoder(0.5, leaves, bool((np.diff(true.indptr) == 0).any()))
    options = [replace(even, single=share) for share in (0.0, 0.25, 0.75, 1.0)]
    earned = [_f1(true, from_pairs(*best_sets(taxonomy, found, o), true.shape)) for o in (even, *options)]
    gains = {even: 0.0}
    for option, f1 in zip(options, earned[1:], strict=True):
        gain = f1 - earned[0]
        if gain.sum() > gain.std() * len(gain) ** 0.5:
            gains[option] = gain.mean()
    return max(gains, key=lambda option: gains[option])


def best_sets(taxonomy: Taxonomy, found: Candidates, how: ExpectedFDecoder) -> tuple[Ints, Ints]:
    """Return the (document, node) pairs of the best sets of the candidates."""
    chosen = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    ends_at = taxonomy.is_leaf if how.leaves else taxonomy.assignable
    for problem in _problems(taxonomy, found, ends_at):
        ends = _ends(problem)
        table, empty = _one_path(problem, ends), 1 - ends.sum(axis=1)
        table *= how.single
        table += (1 - how.single) * _independent(problem.scores)
        empty = how.single * empty + (1 - how.single) * (1 - problem.scores).prod(axis=1)
        best = _best(table, empty if how.unknown else None)
        d, i = np.nonzero(best & (problem.columns >= 0))
        chosen.append((problem.rows[d], problem.columns[d, i]))
    rows, columns = (np.concatenate(part) for part in zip(*chosen, strict=True))
    return taxonomy.close_pairs(rows, columns)  # closed but for ties that rounding broke


# -- candidates ------------------------------------------------------------------------------------------------


def candidates(scores: Scores) -> Candidates:
    """Return the candidates of dense scores (documents, nodes)."""
    floor = FLOOR * scores.max(axis=1, initial=0, keepdims=True).astype(np.float64)
    rows, columns = np.nonzero((scores >= floor) & (scores > 0))
    return _first(rows, columns, scores[rows, columns], len(scores))


def sparse_candidates(scores: csr_matrix[Any]) -> Candidates:
    """Return the candidates of sparse scores (documents, nodes)."""
    rows, columns = pairs(scores)
    best = np.zeros(scores.shape[0])
    np.maximum.at(best, rows, scores.data)
    keep = (scores.data >= FLOOR * best[rows]) & (scores.data > 0)
    return _first(rows[keep], columns[keep], scores.data[keep], scores.shape[0])


def _first(rows: Ints, columns: Ints, scores: Scores, documents: int) -> Candidates:
    order = np.lexsort((columns, -scores, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(documents))[rows]
    order, rows = order[rank < MOST], rows[rank < MOST]
    return Candidates(rows, columns[order], scores[order].astype(np.float64))


def _problems(taxonomy: Taxonomy, found: Candidates, ends_at: Bools) -> Iterator[Problem]:
    """Yield the documents that have candidates, those of about as many together."""
    rows, count = np.unique(found.rows, return_counts=True)
    start = np.cumsum(count) - count
    for narrower, width in pairwise((0, *WIDTHS)):
        here = np.flatnonzero((count > narrower) & (count <= width))
        size = max(1, NUMBERS // width**2)
        for begin in range(0, len(here), size):
            part = here[begin : begin + size]
            columns, scores = _padded(found, start[part], count[part], width)
            above = _above(taxonomy, columns)
            yield Problem(rows[part], columns, scores, above, (columns >= 0) & ends_at[columns])


def _padded(found: Candidates, start: Ints, count: Ints, width: int) -> tuple[Ints, Floats]:
    """Return columns and scores of the documents whose candidates start there, (d, width) each."""
    d, i = np.nonzero(np.arange(width) < count[:, None])
    columns, scores = np.full((len(start), width), -1), np.zeros((len(start), width))
    columns[d, i], scores[d, i] = found.columns[start[d] + i], found.scores[start[d] + i]
    return columns, scores


def _above(taxonomy: Taxonomy, columns: Ints) -> Floats:
    """Return (d, n, n): which candidates are which other's ancestors, or itself; see `Problem`."""
    d, i = np.nonzero(columns >= 0)
    column = columns[d, i]
    nodes, node = np.unique(column, return_inverse=True)
    of, ancestor = taxonomy.close_pairs(np.arange(len(nodes)), nodes)
    closures = Edges(np.searchsorted(of, np.arange(len(nodes) + 1)), ancestor)
    pair, up = closures.of_many(node)
    wanted, known = d[pair] * len(taxonomy) + up, d * len(taxonomy) + column
    order = np.argsort(known)
    at = order[np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)]
    there = known[at] == wanted  # of scores that are not coherent, an ancestor may be missing
    above = np.zeros((*columns.shape, columns.shape[1]))
    above[d[pair[there]], i[pair[there]], i[at[there]]] = 1
    return above


# -- models of the label set -----------------------------------------------------------------------------------


def _ends(problem: Problem) -> Floats:
    """Return (d, n): the probability that the one path ends at each candidate.

    A node's score is the probability that the path ends at it or below it. From the least probable node up, what its
    descendants leave over ends there; where they are together more probable, or no path may end there, they are
    scaled to it. So roots keep their scores, unless these add up to more than 1; then all are scaled.
    """
    scores, above = problem.scores, problem.above
    ends = np.zeros(scores.shape)
    for j in reversed(range(scores.shape[1])):  # descendants stand behind their ancestors
        inside, score = above[:, :, j], scores[:, j]
        below = (ends * inside).sum(axis=1)
        may_end = problem.may_end[:, j] | (below == 0)
        scale = np.where(may_end & (below <= score), 1, score / np.where(below > 0, below, 1))
        ends *= np.where(inside > 0, scale[:, None], 1)
        ends[:, j] = np.where(may_end, np.maximum(score - below, 0), 0)
    scaled: Floats = ends / np.maximum(ends.sum(axis=1, keepdims=True), 1)
    return scaled


def _one_path(problem: Problem, ends: Floats) -> Floats:
    """Return (d, n, n): for s + 1 labels and candidate i the probability of both, on one path with all ancestors."""
    d, j, i = np.nonzero(problem.above)
    size = problem.above.sum(axis=2).astype(np.int64)[d, j]
    table = np.zeros(problem.above.shape)
    np.add.at(table, (d, size - 1, i), ends[d, j])
    return table


def _independent(p: Floats) -> Floats:
    """Return (d, n, n): for s + 1 labels and candidate i the probability of both, all nodes independent.

    The distribution of the size of the set without i is that of the whole set divided by i's own factor, from the
    end where this is stable.
    """
    d, n = p.shape
    size = np.zeros((n + 1, d))
    size[0] = 1
    for q in p.T:
        size[1:] = size[1:] * (1 - q) + size[:-1] * q
        size[0] *= 1 - q
    table = np.zeros((d, n, n))
    rare = p <= 0.5
    divisor = np.where(rare, 1 - p, p)
    without = np.zeros((d, n))
    for s in range(n):
        without = np.where(rare, (size[s][:, None] - p * without) / divisor, 0)
        table[:, s] = without
    for s in reversed(range(n)):
        without = np.where(rare, 0, (size[s + 1][:, None] - (1 - p) * without) / divisor)
        table[:, s] += without
    table *= p[:, None, :]
    return table


# -- the best set ----------------------------------------------------------------------------------------------


def _best(table: Floats, empty: Floats | None) -> Bools:
    """Return (d, n): the set of highest expected F1; ties go to fewer nodes and to those that come first.

    Args:
        table: (d, n, n): the probability that the true set has s + 1 nodes and i is one of them.
        empty: (d,): the probability that the true set is empty; None: the answer may not be.
    """
    d, n = table.shape[:2]
    documents, sizes = np.arange(d), np.arange(1, n + 1)
    labels = table.sum(axis=(1, 2))  # expected
    best, highest = np.zeros((d, n), dtype=bool), np.full(d, -1.0)
    for k in np.split(sizes, range(STEP, n, STEP)):
        if (2 * labels <= highest * (k[0] + labels)).all():  # no set of k nodes can do better (Jensen)
            break
        gain = np.matmul(2 / (k[:, None] + sizes), table)  # (d, k, i)
        # The offset keeps what is equal but for rounding, such as 0.5, away from where whole numbers change.
        order = np.argsort(-np.floor(gain / EQUAL + 0.27), axis=2, kind="stable")
        expected = np.cumsum(np.take_along_axis(gain, order, axis=2), axis=2)[:, np.arange(len(k)), k - 1]
        at = np.argmax(expected >= expected.max(axis=1, keepdims=True) - EQUAL, axis=1)
        rank = np.argsort(order[documents, at], axis=1)
        better = expected[documents, at] > highest + EQUAL
        best[better] = (rank < k[at][:, None])[better]
        highest[better] = expected[documents, at][better]
    if empty is not None:
        best &= (empty <= highest + EQUAL)[:, None]
    return best


def _f1(true: csr_matrix[Any], predicted: csr_matrix[Any]) -> Floats:
    """Return (documents,): F1 of each, 1.0 where both sets are empty."""
    both = np.diff(true.multiply(predicted).tocsr().indptr)
    size = np.diff(true.indptr) + np.diff(predicted.indptr)
    result: Floats = np.where(size > 0, 2 * both / np.maximum(size, 1), 1.0)
    return result
