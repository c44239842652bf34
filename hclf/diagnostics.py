"""`diagnose`: what a reader of an evaluation asks next, from sparse label matrices and scores.

How sure is sure (risk and coverage, reliability), what another threshold would do (sweep), what is taken for what
(siblings confused), which nodes rank well (average precision), and how nodes fare by their training documents.
Everything works on stored entries: nothing of documents x nodes is made dense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.evaluation import NODE_COLUMNS, Evaluation, write_csv
from hclf.guarantees import risk_coverage
from hclf.labels import close, entries, pairs, subtract
from hclf.metrics.calibration import calibration_table, reliability_table
from hclf.metrics.ranking import as_scores, average_precision_per_node
from hclf.metrics.sets import Counts, as_labels, check_columns, node_counts, ratio
from hclf.statistics import BUCKETS, as_train_counts, bucket_name, bucket_of, of_buckets
from hclf.taxonomy import Taxonomy, distinct, run_starts

__all__ = ["Diagnostics", "Mistake", "diagnose", "label_rows", "typical_mistakes", "write_label_csv"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = dict[str, Any]

SWEEP = np.round(np.arange(0.02, 0.981, 0.02), 2)
"""The thresholds of a sweep: 0.02 to 0.98 in steps of 0.02."""
BINS = 10  # of a reliability diagram
CONFUSIONS = 200  # kept, most frequent first
DOCUMENTS_AT_A_TIME = 4096


@dataclass(slots=True)
class Diagnostics:
    """What `diagnose` found, as plain values.

    Attributes:
        thresholds: the thresholds in use, one a level from level 1; () when not given.
        risk_coverage: one row a level that has scores, and as level 0 whole answers by safe depth: `level`, `name`,
            and as columns of equal length `threshold`, `coverage` and `risk`; see `hclf.guarantees.risk_coverage`.
        reliability: one row a level: `level`, `name`, as columns `score` (mean), `share` (of true pairs), `low`,
            `high` and `count` of each bin of equal width; `error`, the adaptive calibration error, and what of it
            perfect scores would show `by_chance`; of pairs that score at least 0.01.
        sweep: with one threshold for all levels, as columns: `threshold`, `hP`, `hR`, `hF` and `answered` (share
            of documents with at least one label); {} without scores.
        confusions: pairs of siblings, most frequent first: `true` (missed) and `predicted` (wrong) node ids,
            their `count` of documents, and the `support` of the missed node.
        confused: (document, missed node, wrong sibling) triples in all, and `confused_pairs` different pairs.
        average_precision: by node id, of nodes true somewhere; {} without scores.
        by_training: with training counts, one row a range of them: `train_count` ("6-20"), `nodes` of the
            taxonomy, `tested` (true somewhere), `support`, `predicted`, pooled `precision`, `recall`, `f1`.
    """

    thresholds: tuple[float, ...] = ()
    risk_coverage: list[Row] = field(default_factory=list)
    reliability: list[Row] = field(default_factory=list)
    sweep: Row = field(default_factory=dict)
    confusions: list[Row] = field(default_factory=list)
    confused: int = 0
    confused_pairs: int = 0
    average_precision: dict[str, float] = field(default_factory=dict)
    by_training: list[Row] = field(default_factory=list)

    def to_dict(self) -> Row:
        """Return plain JSON values."""
        return {**asdict(self), "thresholds": list(self.thresholds)}


def diagnose(
    taxonomy: Taxonomy,
    true: Any,
    predicted: Any,
    scores: Any = None,
    *,
    thresholds: Sequence[float] = (),
    train_counts: NDArray[Any] | None = None,
) -> Diagnostics:
    """Look at predictions, and the scores behind them, beyond their metrics.

    Args:
        taxonomy: the taxonomy of all three.
        true, predicted: (documents, nodes) label matrices, sparse or dense; closed under ancestors first.
        scores: (documents, nodes) coherent scores in [0, 1], dense or CSR; absent entries are 0.0. None: what
            needs scores stays empty.
        thresholds: those in use, one a level from level 1; only passed on.
        train_counts: (nodes,) training documents of each node, labels closed under ancestors.

    Raises:
        UsageError: shapes that do not fit, or scores that are negative or NaN.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> diagnose(t, [[0, 1, 0]], [[0, 0, 1]]).confusions
    [{'true': 'rice', 'predicted': 'tea', 'count': 1, 'support': 1}]
    """
    T, P = (_closed(taxonomy, Y) for Y in (true, predicted))
    counts = node_counts(T, P)
    keys, times = _confusions(taxonomy, T, P)
    found = Diagnostics(
        thresholds=tuple(float(t) for t in thresholds),
        confusions=_confusion_rows(taxonomy, keys, times, counts.true),
        confused=int(times.sum()),
        confused_pairs=len(keys),
        by_training=[] if train_counts is None else _by_training(counts, as_train_counts(taxonomy, train_counts)),
    )
    if scores is None:
        return found
    S = as_scores(scores)
    if S.shape != T.shape:
        raise UsageError(f"scores are {S.shape[0]} x {S.shape[1]}, the labels {T.shape[0]} x {T.shape[1]}")
    hit = entries(T, *pairs(S))
    tested = np.flatnonzero(counts.true)
    precision = average_precision_per_node(T, S)[tested]
    found.average_precision = {taxonomy.nodes[j]: p for j, p in zip(tested.tolist(), precision.tolist(), strict=True)}
    found.risk_coverage = _risk_coverage(taxonomy, T, S)
    found.reliability = _reliability(taxonomy, T, S)
    found.sweep = _sweep(S, hit, T.nnz)
    return found


def _closed(taxonomy: Taxonomy, Y: Any) -> csr_matrix[Any]:
    labels = as_labels(Y)
    check_columns(taxonomy, labels, "labels have")
    return close(taxonomy, labels)


# -- scores ----------------------------------------------------------------------------------------------------


def _risk_coverage(taxonomy: Taxonomy, T: csr_matrix[Any], S: csr_matrix[Any]) -> list[Row]:
    """Return the curves of `hclf.guarantees.risk_coverage`, one row of columns a level."""
    curves: dict[int, list[Row]] = {}
    for point in risk_coverage(taxonomy, T, S):
        curves.setdefault(point["level"], []).append(point)
    return [
        {
            "level": level,
            "name": taxonomy.level_name(level) if level else "whole answers",
            **{key: [point[key] for point in points] for key in ("threshold", "coverage", "risk")},
        }
        for level, points in curves.items()
    ]


def _best_of_each(group: Ints, value: NDArray[Any]) -> Ints:
    """Return the position of the highest value of each group, the first of equals; groups ascend."""
    if not len(group):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(run_starts(group))
    highest = np.repeat(np.maximum.reduceat(value, starts), np.diff(np.append(starts, len(group))))
    at = np.flatnonzero(value == highest)
    return at[run_starts(group[at])]


def _reliability(taxonomy: Taxonomy, T: csr_matrix[Any], S: csr_matrix[Any]) -> list[Row]:
    """Return by level how often labels that score about so much are true."""
    errors = calibration_table(T, S, taxonomy.levels)
    rows = []
    for level, columns in enumerate(taxonomy.level_slices, start=1):
        table = reliability_table(T[:, columns], S[:, columns], bins=BINS, binning="width")
        names = {"mean_score": "score", "observed": "share", "low": "low", "high": "high", "pairs": "count"}
        bins = {short: getattr(table, name).tolist() for name, short in names.items()}
        error = {"error": float(errors.ece[level - 1]), "by_chance": float(errors.by_chance[level - 1])}
        rows.append({"level": level, "name": taxonomy.level_name(level), **bins, **error})
    return rows


def _sweep(S: csr_matrix[Any], hit: Bools, true: int) -> Row:
    """Return micro hP, hR and hF of label sets cut by one threshold; closed, for the scores are coherent."""
    row, _ = pairs(S)
    best = S.data[_best_of_each(row, S.data)]
    predicted, hits, answered = (_at_least(values, SWEEP) for values in (S.data, S.data[hit], best))
    every = np.full(len(SWEEP), true)
    return {
        "threshold": SWEEP.tolist(),
        "hP": ratio(hits, predicted).tolist(),
        "hR": ratio(hits, every).tolist(),
        "hF": ratio(2 * hits, predicted + every).tolist(),
        "answered": ratio(answered, np.full(len(SWEEP), S.shape[0])).tolist(),
    }


def _at_least(values: NDArray[Any], thresholds: Floats) -> Ints:
    """Return how many values reach each threshold, compared in the values' own precision as decoders do."""
    return len(values) - np.searchsorted(np.sort(values), thresholds.astype(values.dtype), side="left")


# -- siblings --------------------------------------------------------------------------------------------------


class Mistake(NamedTuple):
    """A document (its row) in which `predicted` was given instead of its sibling `true`, both node ids."""

    row: int
    true: str
    predicted: str


def typical_mistakes(taxonomy: Taxonomy, true: Any, predicted: Any, *, limit: int = 10) -> list[Mistake]:
    """Return one document for each of the most frequent confusions: the one with the fewest other mistakes.

    Args:
        taxonomy, true, predicted: as in `diagnose`.
        limit: how many, at most; a document is given once.
    """
    T, P = (_closed(taxonomy, Y) for Y in (true, predicted))
    width = max(len(taxonomy), 1)
    keys, times = _confusions(taxonomy, T, P)
    wanted = keys[np.argsort(-times, kind="stable")][: 2 * limit].tolist()
    wrong = np.diff(subtract(T, P).indptr) + np.diff(subtract(P, T).indptr)
    fewest: dict[int, tuple[int, int]] = {}
    for row, missed, given in _siblings_confused(taxonomy, T, P):
        key = missed * width + given
        chosen = np.isin(key, wanted)
        for k, r in zip(key[chosen].tolist(), row[chosen].tolist(), strict=True):
            fewest[k] = min(fewest.get(k, (int(wrong[r]), r)), (int(wrong[r]), r))
    mistakes: dict[int, Mistake] = {}
    for key in wanted:
        row_of = fewest[key][1]
        mistakes.setdefault(row_of, Mistake(row_of, taxonomy.nodes[key // width], taxonomy.nodes[key % width]))
    return list(mistakes.values())[:limit]


def _confusions(taxonomy: Taxonomy, T: csr_matrix[Any], P: csr_matrix[Any]) -> tuple[Ints, Ints]:
    """Return ascending keys (missed x nodes + wrong) of the sibling pairs confused, and in how many documents."""
    width = max(len(taxonomy), 1)
    counted = [
        np.unique(missed * width + wrong, return_counts=True)
        for _, missed, wrong in _siblings_confused(taxonomy, T, P)
    ]
    empty = np.zeros(0, dtype=np.int64)
    keys, place = np.unique(np.concatenate([empty, *(key for key, _ in counted)]), return_inverse=True)
    times = np.zeros(len(keys), dtype=np.int64)
    np.add.at(times, place, np.concatenate([empty, *(n for _, n in counted)]))
    return keys, times


def _siblings_confused(
    taxonomy: Taxonomy, T: csr_matrix[Any], P: csr_matrix[Any]
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield (rows, missed, wrong), a few thousand documents at a time: a wrong node beside a missed sibling.

    Siblings share a parent; roots are siblings of each other. A pair that shares several parents counts once.
    """
    width = max(len(taxonomy), 1)
    bounds = [*range(0, T.shape[0], DOCUMENTS_AT_A_TIME), T.shape[0]]
    for start, end in pairwise(bounds):
        missed, wrong = (_under_parents(taxonomy, subtract(A[start:end], B[start:end])) for A, B in ((T, P), (P, T)))
        order = np.argsort(wrong[0], kind="stable")
        family, node = wrong[0][order], wrong[1][order]
        first, last = (np.searchsorted(family, missed[0], side=side) for side in ("left", "right"))
        n = last - first
        ends = np.cumsum(n)
        within = np.arange(n.sum()) - np.repeat(ends - n, n)
        pair = np.repeat(missed[1], n) * width + node[np.repeat(first, n) + within]
        row = np.repeat(missed[0], n) // (width + 1)
        row, pair = np.divmod(distinct(row * width**2 + pair), width**2)
        yield row + start, pair // width, pair % width


def _under_parents(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> tuple[Ints, Ints]:
    """Return (family, node) of each label, once for each parent: a family is a row and a parent, or the roots."""
    rows, columns = pairs(Y)
    width = len(taxonomy) + 1
    position, parents = taxonomy.parents.of_many(columns)
    root = taxonomy.is_root[columns]
    family = np.concatenate([rows[position] * width + parents + 1, rows[root] * width])
    return family, np.concatenate([columns[position], columns[root]])


def _confusion_rows(taxonomy: Taxonomy, keys: Ints, times: Ints, support: Ints) -> list[Row]:
    width = max(len(taxonomy), 1)
    top = np.argsort(-times, kind="stable")[:CONFUSIONS]
    return [
        {
            "true": taxonomy.nodes[key // width],
            "predicted": taxonomy.nodes[key % width],
            "count": count,
            "support": int(support[key // width]),
        }
        for key, count in zip(keys[top].tolist(), times[top].tolist(), strict=True)
    ]


# -- training documents and labels -----------------------------------------------------------------------------


def _by_training(counts: Counts, train: Ints) -> list[Row]:
    bucket = bucket_of(train)
    nodes, tested = (np.bincount(bucket[part], minlength=len(BUCKETS)) for part in (slice(None), counts.true > 0))
    columns = {"nodes": nodes, "tested": tested, **of_buckets(counts, bucket).table()._asdict()}
    return [
        {"train_count": bucket_name(i), **{key: column[i].item() for key, column in columns.items()}}
        for i in range(len(BUCKETS))
    ]


LABEL_COLUMNS = (*NODE_COLUMNS, "threshold", "average_precision")


def label_rows(evaluation: Evaluation, diagnostics: Diagnostics) -> list[Row]:
    """Return the evaluation's row of each node with its `threshold` and `average_precision`, None if not known."""
    at, found = diagnostics.thresholds, diagnostics.average_precision
    return [
        {
            **row,
            "threshold": at[row["level"] - 1] if row["level"] <= len(at) else None,
            "average_precision": found.get(row["id"]),
        }
        for row in evaluation.nodes
    ]


def write_label_csv(path: Path | str, evaluation: Evaluation, diagnostics: Diagnostics) -> None:
    """Write `label_rows` as CSV with a header, UTF-8, replacing the file."""
    write_csv(path, LABEL_COLUMNS, label_rows(evaluation, diagnostics))
