"""`evaluate`: every metric of a set of predictions, overall, per level, per node and by training frequency."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import pairs, subtract
from hclf.metrics.ranking import average_precision_macro, average_precision_micro, ranked_lists_per_document
from hclf.metrics.sets import (
    Counts,
    ScoreTable,
    as_labels,
    check_columns,
    document_counts,
    exact_match,
    hamming_loss,
    hierarchical_precision_recall_f1,
    level_scores,
    mean,
    node_counts,
    node_scores,
)
from hclf.statistics import (
    PERMUTATIONS,
    SAMPLES,
    Answers,
    Comparison,
    Key,
    bucket_name,
    bucket_of,
    compare_answers,
    of_buckets,
    prepare,
)
from hclf.statistics import intervals as find_intervals
from hclf.taxonomy import Taxonomy

__all__ = ["Evaluation", "against", "evaluate", "side_by_side"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(slots=True)
class Evaluation:
    """What `evaluate` found. `to_dict` is the form that `hclf evaluate --json` prints.

    Attributes:
        metrics: figures over all documents, by name: `hP`, `hR`, `hF` (micro), `hP_example`, `hR_example`,
            `hF_example`, `macro_f1` (over nodes with a true document), `exact_match`, `hamming`; with scores
            also `auprc`, `auprc_macro`, `map`, and `p_at_1`, `r_at_1` … for each k. See docs/metrics.md. Last
            `hP_known`, `hF_known`, `hP_example_known`, `hF_example_known` and `macro_f1_known`: the same figures
            without the `unjudged` predictions (recall is the same in both readings).
        intervals: (low, high) of metrics, by name, when asked for; see docs/statistics.md. `auprc` and
            `auprc_macro` have none, nor have figures that do not vary.
        levels: one row a level: `level`, `name`, `hP`, `hR`, `hF`, `support`, `predicted`, `hP_known`, `hF_known`;
            with intervals also `hP_low`, `hP_high` and so on, None where there is none.
        nodes: one row for each node that is true or predicted somewhere: `id`, `name`, `level`, `precision`,
            `recall`, `f1`, `support`, `predicted`, `train_count` (None when not given).
        buckets: with training counts, one row a range of them: `train_count` ("6-20"), `macro_f1` over and
            number of `nodes` with a true document, and their `support`; `hP`, `hR` and `hF` of all nodes of the
            range together; with intervals also `hF_low`, `hF_high`, `macro_f1_low` and so on.
        documents, unlabelled, unknown: documents; those without true labels; those with nothing predicted.
        unjudged: predicted labels below a most specific true one: as the truth says nothing of them, they count
            as wrong in one reading and are left out in the other (`hF_known`).
        labels_true, labels_predicted: labels a document on average, ancestors included.
        closed, unclosed_documents: whether every prediction came closed under ancestors, and how many did not.
        violations_before, violations_after: (document, parent, child) triples in which the child scored above
            the parent before coherence and decoding (None: not given), and triples in the predictions as they
            came in which a child stands without that parent.
        taxonomy: `id`, `version` and number of `nodes` of the taxonomy.
        answers: the label sets themselves, for `against`; not part of `to_dict`.
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
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    unjudged: int = 0
    answers: Answers | None = field(default=None, repr=False, compare=False)

    def to_dict(self, nodes: bool = False) -> Row:
        """Return plain JSON values; the per-node rows only on request, for they may be many thousands."""
        result = asdict(replace(self, answers=None, nodes=self.nodes if nodes else []))
        result["intervals"] = {metric: list(ends) for metric, ends in self.intervals.items()}
        for name in ("answers",) if nodes else ("answers", "nodes"):
            del result[name]
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
        known = {f.name for f in fields(cls)} - {"answers"}
        found = {"nodes": [], **{key: value for key, value in data.items() if key in known}}
        ends = {metric: (low, high) for metric, (low, high) in found.get("intervals", {}).items()}
        return cls(**{**found, "intervals": ends})

    def write_node_csv(self, path: Path | str) -> None:
        """Write the per-node rows as CSV with a header, UTF-8, replacing the file."""
        write_csv(path, NODE_COLUMNS, self.nodes)


KNOWN = ("hP", "hF", "hP_example", "hF_example", "macro_f1")
LEVEL_FIGURES = ("hP", "hR", "hF", "hP_known", "hF_known")
BUCKET_FIGURES = ("hP", "hR", "hF", "macro_f1")
NODE_COLUMNS = (
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


def write_csv(path: Path | str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows as CSV with a header, UTF-8, replacing the file; keys that are no column are left out."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def evaluate(
    taxonomy: Taxonomy,
    true: Any,
    predicted: Any,
    *,
    scores: Any = None,
    violations: int | NDArray[Any] | None = None,
    train_counts: NDArray[Any] | None = None,
    k: Sequence[int] = (1, 3, 5),
    intervals: bool | int = False,
    seed: int = 0,
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
        intervals: find 95 % intervals, from 1,000 samples of the documents, or as many as said; see
            `hclf.statistics.intervals`.
        seed: of the samples.

    Raises:
        UsageError: shapes that do not fit, scores that are negative or NaN, or a k below 1.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> e = evaluate(t, [[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]])
    >>> e.metrics["hP"], e.metrics["hR"], e.closed, e.unclosed_documents
    (1.0, 0.75, False, 1)
    """
    truth, given = as_labels(true), as_labels(predicted)
    check_columns(taxonomy, truth, "true labels have")
    check_columns(taxonomy, given, "predicted labels have")
    closed = prepare(taxonomy, truth, given, train_counts=train_counts)
    train = closed.train_counts
    ranked = {} if scores is None else _document_rankings(closed.true, scores, k)
    answers = replace(closed, values=ranked)
    T, P = answers.true, answers.predicted
    known = subtract(P, answers.unknown) if answers.unknown.nnz else P
    figures, by_level = _set_metrics(T, P), level_scores(T, P, taxonomy.levels)
    figures_known, by_level_known = figures, by_level
    if known is not P:
        figures_known, by_level_known = _set_metrics(T, known), level_scores(T, known, taxonomy.levels)
    counts, by_node = document_counts(T, P), node_counts(T, P)
    unclosed = int((counts.predicted > np.diff(given.indptr)).sum())
    evaluation = Evaluation(
        metrics={
            **figures,
            **({} if scores is None else _score_metrics(T, scores)),
            **{name: mean(values[~np.isnan(values)]) for name, values in ranked.items()},
            **{f"{name}_known": value for name, value in figures_known.items() if name in KNOWN},
        },
        levels=_level_rows(taxonomy, by_level, by_level_known),
        nodes=_node_rows(taxonomy, by_node.table(), train),
        buckets=[] if train is None else _bucket_rows(by_node, train),
        documents=len(counts.true),
        unlabelled=int((counts.true == 0).sum()),
        unknown=int((counts.predicted == 0).sum()),
        unjudged=int(answers.unknown.nnz),
        labels_true=mean(counts.true),
        labels_predicted=mean(counts.predicted),
        closed=unclosed == 0,
        unclosed_documents=unclosed,
        violations_before=None if violations is None else int(np.sum(violations)),
        violations_after=_missing_parents(taxonomy, given) if unclosed else 0,
        taxonomy={"id": taxonomy.id, "version": taxonomy.version, "nodes": len(taxonomy)},
        answers=answers,
    )
    if intervals is not False:
        _add_intervals(evaluation, answers, SAMPLES if intervals is True else intervals, seed)
    return evaluation


def against(
    evaluations: Mapping[str, Evaluation], *, samples: int = SAMPLES, permutations: int = PERMUTATIONS, seed: int = 0
) -> dict[str, Comparison]:
    """Return the paired comparison of the first evaluation with each other one, by the name of the other.

    Args:
        evaluations: by name, ours first, of the same documents; as `evaluate` returns them, for those read from
            a file hold no answers.
        samples, permutations, seed: as in `hclf.statistics.compare_answers`.

    Raises:
        UsageError: they are not of the same documents, or hold no answers.
    """
    if lacking := [name for name, e in evaluations.items() if e.answers is None]:
        raise UsageError(f"the evaluation {lacking[0]!r} comes from a file and holds no answers to compare")
    answers = {name: e.answers for name, e in evaluations.items() if e.answers is not None}
    first, options = next(iter(answers), ""), {"samples": samples, "permutations": permutations, "seed": seed}
    return {
        name: compare_answers(answers[first], theirs, names=(first, name), **options)
        for name, theirs in answers.items()
        if name != first
    }


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


def _set_metrics(T: csr_matrix[Any], P: csr_matrix[Any]) -> dict[str, float]:
    micro = hierarchical_precision_recall_f1(T, P)
    example = hierarchical_precision_recall_f1(T, P, average="example")
    table = node_scores(T, P)
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


def _score_metrics(T: csr_matrix[Any], scores: Any) -> dict[str, float]:
    return {"auprc": average_precision_micro(T, scores), "auprc_macro": average_precision_macro(T, scores)}


def _document_rankings(true: csr_matrix[Any], scores: Any, ks: Sequence[int]) -> dict[str, Floats]:
    """Return the figures of each document's ranked list; NaN where nothing is true."""
    lists = ranked_lists_per_document(true, scores, ks)
    at_k = {f"{name}_at_{k}": by_k[k] for k in ks for name, by_k in (("p", lists.precision), ("r", lists.recall))}
    return {"map": lists.average_precision, **at_k}


def _add_intervals(evaluation: Evaluation, answers: Answers, samples: int, seed: int) -> None:
    """Write intervals into an evaluation: its metrics, and its rows of levels and buckets."""
    found = find_intervals(answers, samples=samples, seed=seed)
    evaluation.intervals = {key.metric: ends for key, ends in found.items() if key.part == "overall"}
    parts = (
        ("level", enumerate(evaluation.levels, start=1), LEVEL_FIGURES),
        ("bucket", enumerate(evaluation.buckets), BUCKET_FIGURES),
    )
    for part, rows, figures in parts:
        for which, row in rows:
            for metric in figures:
                row[f"{metric}_low"], row[f"{metric}_high"] = found.get(Key(metric, part, which), (None, None))


def _level_rows(taxonomy: Taxonomy, table: ScoreTable, known: ScoreTable) -> list[Row]:
    return [
        {
            "level": level,
            "name": taxonomy.level_name(level),
            "hP": p,
            "hR": r,
            "hF": f,
            "support": s,
            "predicted": n,
            "hP_known": p_known,
            "hF_known": f_known,
        }
        for level, (p, r, f, s, n, p_known, f_known) in enumerate(
            zip(*_lists(table), known.precision.tolist(), known.f1.tolist(), strict=True), start=1
        )
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


def _bucket_rows(counts: Counts, train: Ints) -> list[Row]:
    bucket, f1 = bucket_of(train), counts.table().f1
    pooled = of_buckets(counts, bucket).table()
    rows: list[Row] = []
    for i, (p, r, f, support, _) in enumerate(zip(*_lists(pooled), strict=True)):
        inside = (counts.true > 0) & (bucket == i)
        rows.append(
            {
                "train_count": bucket_name(i),
                "macro_f1": mean(f1[inside]),
                "nodes": int(inside.sum()),
                "support": support,
                "hP": p,
                "hR": r,
                "hF": f,
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
