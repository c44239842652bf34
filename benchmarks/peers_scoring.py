"""Scoring of the peer benchmark: ranked lists in, figures out; the same for every method, by hclf's own functions.

A method's lists (document, label, score) are made coherent by maximum, decoded as hclf would decode for these
training labels (any labels, or one path where every document has one), and cut by thresholds tuned on the validation
part: one for all levels ("global"), and one a level. A method that decides by itself is scored by its own label sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sets import BenchmarkSet

from hclf.decoders import Decoder, decode, default_decoder, make_decoder
from hclf.labels import close, from_pairs, label_matrix, most_specific
from hclf.metrics import exact_match, hierarchical_precision_recall_f1, macro_f1, node_scores
from hclf.statistics import Key, compare_answers, intervals, prepare
from hclf.taxonomy import Taxonomy
from hclf.thresholds import tune

Ints = NDArray[np.int64]
COMPARED = {"hF": "hF", "macro-F1": "macro_f1"}  # figure of a row: metric of hclf.statistics
RARE = 5  # training documents up to which a node counts as tail
BLOCK = 4_000_000  # scores held densely at once


@dataclass(frozen=True)
class Truth:
    """True labels of a part, closed and most specific."""

    closed: csr_matrix[Any]
    specific: csr_matrix[Any]

    @classmethod
    def of(cls, bench: BenchmarkSet, records: Iterable[Any]) -> Truth:
        given = label_matrix(bench.taxonomy, [record.labels for record in records], closed=False)
        return cls(close(bench.taxonomy, given), most_specific(bench.taxonomy, given))


@dataclass(frozen=True)
class Scored:
    """What a method answered for one part: its ranked lists, and its own label sets if it makes any."""

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    sets: NDArray[np.int32] | None = None

    @classmethod
    def read(cls, path: Any) -> Scored:
        with np.load(path) as file:
            return cls(file["labels"], file["scores"], file.get("sets"))

    def coherent(self, taxonomy: Taxonomy) -> csr_matrix[Any]:
        """Return (documents, nodes): each label's score, raised to its ancestors by maximum."""
        rows, places = np.nonzero((self.labels >= 0) & (self.scores > 0))
        columns = self.labels[rows, places].astype(np.int64)
        values = np.clip(self.scores[rows, places], 0, 1).astype(np.float32)
        parts = [(rows, columns, values)]
        while len(columns):
            position, columns = taxonomy.parents.of_many(columns)
            rows, values = rows[position], values[position]
            parts.append((rows, columns, values))
        rows, columns, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        key = rows * len(taxonomy) + columns
        order = np.lexsort((-values, key))
        _, first = np.unique(key[order], return_index=True)
        kept = order[first]
        shape = (len(self.labels), len(taxonomy))
        return csr_matrix((values[kept], (rows[kept], columns[kept])), shape=shape)


def score(
    bench: BenchmarkSet, train: Truth, test: Truth, answer: Scored, valid: Truth | None, validated: Scored | None
) -> tuple[dict[str, Any], csr_matrix[Any]]:
    """Return the figures of one method, and its closed label sets (test documents, nodes).

    Args:
        bench: the set.
        train, test, valid: the true labels of the parts.
        answer, validated: what the method answered for test and for the validation part.
    """
    taxonomy = bench.taxonomy
    train_counts = np.bincount(train.closed.indices, minlength=len(taxonomy))
    single = bool((np.diff(train.specific.indptr) <= 1).all())  # else lists hold ancestors too: no first answer
    if answer.sets is not None:
        rows, columns = answer.sets.T.astype(np.int64)
        decisions = {"own": close(taxonomy, from_pairs(rows, columns, test.closed.shape))}
        thresholds: dict[str, Any] = {}
    else:
        assert valid is not None
        assert validated is not None
        decoder = make_decoder(default_decoder(taxonomy, train.specific)[0])
        decisions, thresholds = _decided(taxonomy, decoder, validated, valid, answer)
    by = {name: _figures(bench, test, predicted, train_counts) for name, predicted in decisions.items()}
    best = list(by)[-1]  # per level, whose optimum on validation includes the global one; never picked on test
    found = intervals(prepare(taxonomy, test.closed, decisions[best]))
    return {
        **by[best],
        "decoding": best,
        "hF by decoding": {name: figures["hF"] for name, figures in by.items()},
        "hF interval": found.get(Key("hF")),
        "thresholds": thresholds,
        **(_ranked_figures(bench, test.specific, answer.labels) if single else {}),
    }, decisions[best]


def differences(
    taxonomy: Taxonomy, test: Truth, ours: csr_matrix[Any], others: Mapping[str, csr_matrix[Any]]
) -> dict[str, dict[str, Any]]:
    """Return for each other's label sets and each figure of `COMPARED` the paired difference, ours - theirs.

    Each is a dict of `difference`, `low` and `high` (None where documents cannot tell) and `p`.
    """
    mine, *answers = (prepare(taxonomy, test.closed, labels) for labels in (ours, *others.values()))
    found = {name: compare_answers(mine, theirs) for name, theirs in zip(others, answers, strict=True)}
    kept = ("difference", "low", "high", "p")
    return {
        name: {figure: {key: one[metric][key] for key in kept} for figure, metric in COMPARED.items()}
        for name, one in found.items()
    }


def _decided(
    taxonomy: Taxonomy, decoder: Decoder, validated: Scored, valid: Truth, answer: Scored
) -> tuple[dict[str, csr_matrix[Any]], dict[str, Any]]:
    held_out = _candidates(taxonomy, decoder, validated.coherent(taxonomy))
    scores = answer.coherent(taxonomy)
    decisions, thresholds = {}, {}
    for name, per_level in (("global", False), ("per level", True)):
        tuned = tune(valid.closed, held_out, taxonomy.levels, per_level=per_level)
        thresholds[name] = tuned.to_dict()
        decisions[name] = csr_matrix(
            vstack([decode(taxonomy, block, tuned.array, decoder)[0] for block in _dense(scores)])
        )
    return decisions, thresholds


def _candidates(taxonomy: Taxonomy, decoder: Decoder, scores: csr_matrix[Any]) -> csr_matrix[Any]:
    blocks = (np.where(decoder.select(taxonomy, block), block, 0) for block in _dense(scores))
    return csr_matrix(vstack([csr_matrix(block) for block in blocks]))


def _dense(scores: csr_matrix[Any]) -> Iterable[NDArray[np.float32]]:
    rows = max(1, BLOCK // scores.shape[1])
    return (scores[start : start + rows].toarray() for start in range(0, scores.shape[0], rows))


def _figures(bench: BenchmarkSet, test: Truth, predicted: csr_matrix[Any], train_counts: Ints) -> dict[str, Any]:
    true = test.closed
    table = node_scores(true, predicted)
    tail = (table.support > 0) & (train_counts <= RARE)
    precision, recall, f1 = hierarchical_precision_recall_f1(true, predicted)
    parts = {
        f"{what}, {name}": value
        for name, rows in bench.subsets.items()
        for what, value in (
            ("hF", hierarchical_precision_recall_f1(true[rows], predicted[rows]).f1),
            ("exact match", exact_match(true[rows], predicted[rows])),
        )
    }
    return {
        "hF": f1,
        "hP": precision,
        "hR": recall,
        "macro-F1": macro_f1(true, predicted),
        "macro-F1 tail": float(table.f1[tail].mean()) if tail.any() else None,
        "tail nodes": int(tail.sum()),
        "macro-F1 unseen": float(table.f1[tail & (train_counts == 0)].mean())
        if (tail & (train_counts == 0)).any()
        else None,
        "exact match": exact_match(true, predicted),
        "nothing predicted": float((np.diff(predicted.indptr) == 0).mean()),
        **parts,
    }


def _ranked_figures(bench: BenchmarkSet, specific: csr_matrix[Any], labels: NDArray[np.int32]) -> dict[str, Any]:
    """Return top-1, hit@10 and, where asked for, right class of the first label, over labels that count."""
    truth = [set(specific.indices[a:b].tolist()) for a, b in zip(specific.indptr, specific.indptr[1:], strict=False)]
    counts = bench.answers
    lists = [[j for j in own if j >= 0 and (counts is None or counts[j])] for own in labels.tolist()]
    top = np.array([bool(own) and own[0] in true for own, true in zip(lists, truth, strict=True)])
    ten = np.array([not true.isdisjoint(own[:10]) for own, true in zip(lists, truth, strict=True)])
    result = {"top-1": float(top.mean()), "hit@10": float(ten.mean())}
    if bench.coarse is not None:
        coarse = bench.coarse
        right = [
            bool(own) and coarse[own[0]] in {coarse[j] for j in true} for own, true in zip(lists, truth, strict=True)
        ]
        result["right category"] = float(np.mean(right))
    return {**result, **{f"top-1, {name}": float(top[rows].mean()) for name, rows in bench.subsets.items() if rows}}
