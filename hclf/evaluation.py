"""`evaluate`: every metric of a set of predictions, overall, per level, per node and by training frequency."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import close, pairs
from hclf.metrics.ranking import average_precision_macro, average_precision_micro, ranked_lists
from hclf.metrics.sets import (
    ScoreTable,
    as_labels,
    document_counts,
    exact_match,
    hamming_loss,
    hierarchical_precision_recall_f1,
    level_scores,
    mean,
    node_scores,
)
from hclf.taxonomy import Taxonomy

__all__ = ["Evaluation", "evaluate", "side_by_side"]

Ints = NDArray[np.int64]
Row = dict[str, Any]
BUCKETS: tuple[tuple[int, int | None], ...] = ((0, 0), (1, 5), (6, 20), (21, 100), (101, None))


@dataclass(slots=True)
class Evaluation:
    """What `evaluate` found. `to_dict` is the form that `hclf evaluate --json` prints.

    Attributes:
        metrics: figures over all documents, by name: `hP`, `hR`, `hF` (micro), `hP_example`, `hR_example`,
            `hF_example`, `macro_f1` (over nodes with a true document), `exact_match`, `hamming`; with scores
            also `auprc`, `auprc_macro`, `map`, and `p_at_1`, `r_at_1` … for each k. See docs/metrics.md.
        levels: one row a level: `level`, `name`, `hP`, `hR`, `hF`, `support`, `predicted`.
        nodes: one row for each node that is true or predicted somewhere: `id`, `name`, `level`, `precision`,
            `recall`, `f1`, `support`, `predicted`, `train_count` (None when not given).
        buckets: with training counts, one row a range of them: `train_count` ("6-20"), `macro_f1` over and
            number of `nodes` with a true document, and their `support`.
        documents, unlabelled, unknown: documents; those without true labels; those with nothing predicted.
        labels_true, labels_predicted: labels a document on average, ancestors included.
        closed, unclosed_documents: whether every prediction came closed under ancestors, and how many did not.
        violations_before, violations_after: (document, parent, child) triples in which the child scored above
            the parent before coherence and decoding (None: not given), and triples in the predictions as they
            came in which a child stands without that parent.
        taxonomy: `id`, `version` and number of `nodes` of the taxonomy.
    """

    metrics: dict[str, float]
    levels: list[Row]
    nodes: list[Row]
    buckets: list[Row] = field(default_factory=list)
    documents: int = 0
    unlabelled: int = 0
    unknown: int = 0
    labels_true: float = 0.0
    labels_predicted: float = 0.0
    closed: bool = True
    unclosed_documents: int = 0
    violations_before: int | None = None
    violations_after: int = 0
    taxonomy: Row = field(default_factory=dict)

    def to_dict(self, nodes: bool = False) -> Row:
        """Return plain JSON values; the per-node rows only on request, for they may be many thousands."""
        result = asdict(self)
        if not nodes:
            del result["nodes"]
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Rebuild from `to_dict`, with or without node rows; keys that others added are ignored.

        Raises:
            UsageError: `metrics` or `levels` is missing.
        """
        if missing := [key for key in ("metrics", "levels") if key not in data]:
            raise UsageError(
                f"not an evaluation: no {' and no '.join(missing)}; expected what `hclf evaluate --json` prints"
            )
        known = {f.name for f in fields(cls)}
        return cls(**{"nodes": [], **{key: value for key, value in data.items() if key in known}})

    def write_node_csv(self, path: Path | str) -> None:
        """Write the per-node rows as CSV with a header, UTF-8, replacing the file."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=_NODE_COLUMNS)
            writer.writeheader()
            writer.writerows(self.nodes)


_NODE_COLUMNS = (
    "id",
    "name",
    "level",
    "precision",
    "recall",
    "f1",
    "support",
    "predicted",
    "train_count",
)


def evaluate(
    taxonomy: Taxonomy,
    true: Any,
    predicted: Any,
    *,
    scores: Any = None,
    violations: int | NDArray[Any] | None = None,
    train_counts: NDArray[Any] | None = None,
    k: Sequence[int] = (1, 3, 5),
) -> Evaluation:
    """Evaluate predicted label sets, and scores if there are any, against the true ones.

    Truth and prediction are closed under ancestors first, so either may hold most specific labels only; how
    many predictions were not closed is counted.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) label matrices, sparse or dense; column j is `taxonomy.nodes[j]`.
        scores: (documents, nodes) coherent scores >= 0, dense or CSR; absent entries are 0.0, the lowest.
        violations: incoherent parent-child pairs of the scores before coherence: their number, or the counts of
            each document as `taxonomy.violations` gives them.
        train_counts: (nodes,) training documents of each node, labels closed under ancestors.
        k: the list lengths for precision and recall at k; used with scores only.

    Raises:
        UsageError: shapes that do not fit, scores that are negative or NaN, or a k below 1.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> e = evaluate(t, [[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]])
    >>> e.metrics["hP"], e.metrics["hR"], e.closed, e.unclosed_documents
    (1.0, 0.75, False, 1)
    """
    given = _of_nodes(taxonomy, "predicted labels", as_labels(predicted))
    T = close(taxonomy, _of_nodes(taxonomy, "true labels", as_labels(true)))
    P = close(taxonomy, given)
    counts = document_counts(T, P)
    table = node_scores(T, P)
    unclosed = int((counts.predicted > np.diff(given.indptr)).sum())
    train = None if train_counts is None else _per_node(taxonomy, train_counts)
    return Evaluation(
        metrics={**_set_metrics(T, P, table), **({} if scores is None else _score_metrics(T, scores, k))},
        levels=_level_rows(taxonomy, level_scores(T, P, taxonomy.levels)),
        nodes=_node_rows(taxonomy, table, train),
        buckets=[] if train is None else _bucket_rows(table, train),
        documents=len(counts.true),
        unlabelled=int((counts.true == 0).sum()),
        unknown=int((counts.predicted == 0).sum()),
        labels_true=mean(counts.true),
        labels_predicted=mean(counts.predicted),
        closed=unclosed == 0,
        unclosed_documents=unclosed,
        violations_before=None if violations is None else int(np.sum(violations)),
        violations_after=_missing_parents(taxonomy, given) if unclosed else 0,
        taxonomy={"id": taxonomy.id, "version": taxonomy.version, "nodes": len(taxonomy)},
    )


def side_by_side(evaluations: Mapping[str, Evaluation]) -> list[Row]:
    """Return one row a metric: the value of each evaluation, and by how much the first exceeds each other.

    Args:
        evaluations: by name, ours first: `{"hierarchical": ours, "flat": baseline}`. Metrics that not all of
            them have are left out.

    Returns:
        Rows `{"metric": "hF", "values": {name: value}, "differences": {other: first - other}}`.

    Raises:
        UsageError: there is nothing to show, or they are not of the same documents.
    """
    sizes = {name: e.documents for name, e in evaluations.items()}
    if not sizes or len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} has {size}" for name, size in sizes.items()) or "there are none"
        raise UsageError(f"only evaluations of the same documents stand side by side; {listed}")
    first, *others = evaluations
    shared = [m for m in evaluations[first].metrics if all(m in e.metrics for e in evaluations.values())]
    rows: list[Row] = []
    for metric in shared:
        values = {name: e.metrics[metric] for name, e in evaluations.items()}
        differences = {other: values[first] - values[other] for other in others}
        rows.append({"metric": metric, "values": values, "differences": differences})
    return rows


# -- parts of an evaluation ------------------------------------------------------------------------------------


def _set_metrics(T: csr_matrix[Any], P: csr_matrix[Any], table: ScoreTable) -> dict[str, float]:
    micro = hierarchical_precision_recall_f1(T, P)
    example = hierarchical_precision_recall_f1(T, P, average="example")
    return {
        "hP": micro.precision,
        "hR": micro.recall,
        "hF": micro.f1,
        "hP_example": example.precision,
        "hR_example": example.recall,
        "hF_example": example.f1,
        "macro_f1": mean(table.f1[table.support > 0]),
        "exact_match": exact_match(T, P),
        "hamming": hamming_loss(T, P),
    }


def _score_metrics(T: csr_matrix[Any], scores: Any, ks: Sequence[int]) -> dict[str, float]:
    lists = ranked_lists(T, scores, ks)
    at_k = {
        f"{name}_at_{k}": float(by_k[k]) for k in ks for name, by_k in (("p", lists.precision), ("r", lists.recall))
    }
    return {
        "auprc": average_precision_micro(T, scores),
        "auprc_macro": average_precision_macro(T, scores),
        "map": lists.map,
        **at_k,
    }


def _level_rows(taxonomy: Taxonomy, table: ScoreTable) -> list[Row]:
    return [
        {
            "level": level,
            "name": taxonomy.level_name(level),
            "hP": p,
            "hR": r,
            "hF": f,
            "support": s,
            "predicted": n,
        }
        for level, (p, r, f, s, n) in enumerate(zip(*_lists(table), strict=True), start=1)
    ]


def _node_rows(taxonomy: Taxonomy, table: ScoreTable, train: Ints | None) -> list[Row]:
    seen = np.flatnonzero((table.support > 0) | (table.predicted > 0))
    figures = zip(*_lists(table, seen), strict=True)
    counts = [None] * len(seen) if train is None else train[seen].tolist()
    return [
        {
            "id": taxonomy.nodes[j],
            "name": taxonomy.names[j],
            "level": int(taxonomy.levels[j]),
            "precision": p,
            "recall": r,
            "f1": f,
            "support": s,
            "predicted": n,
            "train_count": count,
        }
        for j, (p, r, f, s, n), count in zip(seen.tolist(), figures, counts, strict=True)
    ]


def _bucket_rows(table: ScoreTable, train: Ints) -> list[Row]:
    rows: list[Row] = []
    for low, high in BUCKETS:
        inside = (table.support > 0) & (train >= low) & (train <= (high if high is not None else train))
        rows.append(
            {
                "train_count": f">{low - 1}" if high is None else f"{low}-{high}" if high > low else f"{low}",
                "macro_f1": mean(table.f1[inside]),
                "nodes": int(inside.sum()),
                "support": int(table.support[inside].sum()),
            }
        )
    return rows


def _lists(table: ScoreTable, columns: Ints | slice = slice(None)) -> list[list[Any]]:
    return [array[columns].tolist() for array in table]


def _missing_parents(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> int:
    """Return how many (document, parent, child) triples have the child but not the parent."""
    rows, columns = pairs(Y)
    position, up = taxonomy.parents.of_many(columns)
    width = max(len(taxonomy), 1)
    return int((~np.isin(rows[position] * width + up, rows * width + columns)).sum())


def _of_nodes(taxonomy: Taxonomy, what: str, Y: csr_matrix[Any]) -> csr_matrix[Any]:
    if Y.shape[1] != len(taxonomy):
        raise UsageError(f"{what} have {Y.shape[1]} columns, the taxonomy has {len(taxonomy)} nodes")
    return Y


def _per_node(taxonomy: Taxonomy, counts: NDArray[Any]) -> Ints:
    array: Ints = np.asarray(counts, dtype=np.int64)
    if array.shape != (len(taxonomy),):
        raise UsageError(f"train_counts has shape {array.shape}, the taxonomy has {len(taxonomy)} nodes")
    return array
