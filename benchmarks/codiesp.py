"""Coding clinical cases with ICD-10-CM: train on one part of CodiEsp, measure on another.

    python benchmarks/codiesp.py --data ../shared/data --train train.jsonl.gz --eval dev.jsonl.gz

Writes benchmarks/results/codiesp.md. Scores, fusion and thresholds come from five-fold cross-validation inside the
train part; the eval part is read once, at the end. Codes are normalised: upper case, then the longest prefix that the
taxonomy (FY2021, whole) knows. A file of the same format may be given anywhere.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.linear_model import LogisticRegression

from hclf.evaluation import evaluate
from hclf.formats import icd10cm
from hclf.labels import entries, from_pairs, label_matrix, pairs
from hclf.scorers.base import Mention
from hclf.scorers.lexicon.scorer import LexiconScorer
from hclf.scorers.linear import LinearScorer
from hclf.taxonomy import Taxonomy

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("HCLF_DATA", ROOT.parent / "shared" / "data"))
RESULTS = ROOT / "benchmarks" / "results" / "codiesp.md"
FOLDS = 5
LISTED = 300  # nodes of a document that the linear scorer ranks
FLOOR = -9.0  # log-odds of a node the lexicon does not name
LANGUAGES = {"Spanish": "text_es", "English": "text_en"}


@dataclass(frozen=True)
class Part:
    """Documents with their codes and mentions."""

    texts: dict[str, list[str]]
    codes: list[set[str]]
    mentions: list[list[Mention]]
    codes_left_out: int = 0

    def __len__(self) -> int:
        return len(self.codes)

    def of(self, rows: Any) -> Part:
        """Return some documents."""
        return Part(
            {name: [texts[i] for i in rows] for name, texts in self.texts.items()},
            [self.codes[i] for i in rows],
            [self.mentions[i] for i in rows],
        )


def known_code(code: str, taxonomy: Taxonomy) -> str:
    """Return the longest prefix of a code that the taxonomy knows, "" if there is none."""
    code = code.upper().strip()
    while code and code not in taxonomy:
        code = code[:-1]
    return code.rstrip(".")


def read(path: Path, taxonomy: Taxonomy) -> Part:
    """Read a part: JSON lines with text_es, text_en, diagnoses, and mentions in the Spanish text."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    codes, mentions, lost = [], [], 0
    for record in records:
        known = [known_code(code, taxonomy) for code in record["diagnoses"]]
        lost += known.count("")
        codes.append(set(known) - {""})
        said = [m for m in record["mentions"] if m["kind"] == "diagnosis"]
        found = ((known_code(m["code"], taxonomy), m["spans"]) for m in said)
        mentions.append(
            [
                Mention(taxonomy.index(code), "text", tuple((start, end) for start, end in spans))
                for code, spans in found
                if code
            ]
        )
    texts = {name: [record[name] for record in records] for name in LANGUAGES.values()}
    return Part(texts, codes, mentions, lost)


def inputs(part: Part, name: str) -> list[dict[str, str]]:
    """Return the documents as scorers take them."""
    return [{"text": text} for text in part.texts[name]]


# -- what scorers say of (document, node) pairs ------------------------------------------------------------------

Channels = list[csr_matrix]
"""Matrices (documents, nodes) of values above a floor."""


@dataclass
class System:
    """What is measured.

    Attributes:
        name: for the table.
        parts: scorers it is made of.
    """

    name: str
    parts: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


def learn(kind: str, part: Part, name: str, taxonomy: Taxonomy, options: Mapping[str, Any]) -> Any:
    """Return a scorer fitted on a part; mentions are of the Spanish text only."""
    Y = label_matrix(taxonomy, part.codes)
    if kind == "linear":
        scorer = LinearScorer(node_texts=False, matching=False, n_jobs=2)
        linear: Any = scorer
        linear.full_codes = np.unique(_truth(part, taxonomy).indices)
        return scorer.fit(inputs(part, name), Y, taxonomy=taxonomy)
    mentions = part.mentions if name == "text_es" else None
    return LexiconScorer(**options).fit(inputs(part, name), Y, taxonomy=taxonomy, mentions=mentions)


def say(kind: str, scorer: Any, part: Part, name: str, taxonomy: Taxonomy) -> Channels:
    """Return what a scorer says of single codes."""
    shape = (len(part), len(taxonomy))
    if kind == "lexicon":
        rows, columns, chances = scorer.probabilities(inputs(part, name))
        odds = np.log(chances / (1 - np.minimum(chances, 1 - 1e-6)))
        return [csr_matrix((odds - FLOOR, (rows, columns)), shape=shape)]
    codes = np.flatnonzero(np.isin(scorer.columns, scorer.full_codes))
    channels = scorer.score(inputs(part, name)).channels[:2, :, codes]
    best = np.argsort(-channels[0], axis=1, kind="stable")[:, :LISTED]
    rows = np.repeat(np.arange(len(part)), best.shape[1])
    columns = scorer.columns[codes[best.ravel()]]
    values = [channel[rows, best.ravel()] for channel in channels]
    return [csr_matrix((v + 10, (rows, columns)), shape=shape) for v in values]  # + 10: none is 0


def gathered(channels: Channels) -> tuple[Any, Any, Any]:
    """Return rows, columns and values (pairs, channels) of the pairs that any channel speaks of."""
    rows, columns = pairs(from_pairs(*_all_pairs(channels), shape=channels[0].shape))
    return rows, columns, np.column_stack([np.asarray(c[rows, columns]).ravel() for c in channels])


def _all_pairs(channels: Channels) -> tuple[Any, Any]:
    found = [pairs(c) for c in channels]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([columns for _, columns in found])


# -- full codes ----------------------------------------------------------------------------------------------------


def best_threshold(scores: csr_matrix, truth: csr_matrix) -> tuple[float, float]:
    """Return the score from which codes are given so that micro F1 is highest, and that F1."""
    rows, columns = pairs(scores)
    right = entries(truth, rows, columns)
    order = np.argsort(-scores.data, kind="stable")
    hits, given = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    f1 = 2 * hits / (given + truth.nnz)
    best = int(f1.argmax())
    after = scores.data[order[min(best + 1, len(order) - 1)]]
    return float((scores.data[order[best]] + after) / 2), float(f1[best])


def precision_recall_f1(given: csr_matrix, truth: csr_matrix) -> tuple[float, float, float]:
    """Return micro precision, recall and F1 over (document, code) pairs."""
    hits = entries(truth, *pairs(given)).sum()
    precision, recall = hits / max(given.nnz, 1), hits / max(truth.nnz, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def mean_average_precision(scores: csr_matrix, truth: csr_matrix) -> float:
    """Return the mean over documents of average precision of the ranked codes (as the CodiEsp evaluation has it)."""
    values = []
    for row in range(truth.shape[0]):
        part = slice(scores.indptr[row], scores.indptr[row + 1])
        columns = scores.indices[part][np.argsort(-scores.data[part], kind="stable")]
        wanted = truth.indices[truth.indptr[row] : truth.indptr[row + 1]]
        right = np.isin(columns, wanted)
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        values.append(float((precision * right).sum()) / max(len(wanted), 1))
    return float(np.mean(values))


# -- evidence ------------------------------------------------------------------------------------------------------


def evidence_scores(scorer: Any, part: Part, name: str, given: csr_matrix) -> dict[str, float]:
    """Return F1 of the spans told for the given codes against annotated ones: exact, and sharing a character."""
    rows, columns = pairs(given)
    told = scorer.evidence(inputs(part, name), rows, columns)
    spans = {(r, c): [(e.start, e.end) for e in said] for r, c, said in zip(rows, columns, told, strict=True)}
    marked: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, mentions in enumerate(part.mentions):
        for mention in mentions:
            span = (mention.parts[0][0], mention.parts[-1][1])
            marked.setdefault((row, mention.column), []).append(span)
    judges: dict[str, Callable[[Any, Any], bool]] = {
        "exact": lambda a, b: a == b,
        "overlap": lambda a, b: a[0] < b[1] and a[1] > b[0],
    }
    scores = {}
    for what, same in judges.items():
        right = sum(any(same(s, m) for m in marked.get(key, ())) for key, said in spans.items() for s in said)
        found = sum(any(same(s, m) for s in spans.get(key, ())) for key, said in marked.items() for m in said)
        precision = right / max(sum(map(len, spans.values())), 1)
        recall = found / max(sum(map(len, marked.values())), 1)
        scores |= {f"{what} P": precision, f"{what} R": recall}
        scores[f"{what} F1"] = 2 * precision * recall / max(precision + recall, 1e-9)
    return scores


# -- the run -------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What one system does on the eval part."""

    name: str
    cv_f1: float
    cv_map: float
    threshold: float
    f1: tuple[float, float, float]
    map: float
    hf: float
    levels: list[dict[str, Any]]
    evidence: dict[str, float]
    seconds: float


def run(train: Part, held: Part, name: str, taxonomy: Taxonomy, systems: Sequence[System]) -> list[Outcome]:
    """Measure systems on one language; scorers are learned once for all that use them."""
    fold = np.random.default_rng(0).permutation(len(train)) % FOLDS
    said: dict[str, tuple[Channels, Channels]] = {}
    scorers: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    outcomes = []
    for system in systems:
        for kind in system.parts:
            key = f"{kind} {sorted(system.options.items())}" if kind == "lexicon" else kind
            if key not in said:
                said[key], scorers[key], seconds[key] = _crossed(
                    kind, train, held, name, taxonomy, system.options, fold
                )
        keys = [f"{k} {sorted(system.options.items())}" if k == "lexicon" else k for k in system.parts]
        inside = [channel for key in keys for channel in said[key][0]]
        outside = [channel for key in keys for channel in said[key][1]]
        truth, true = (_truth(part, taxonomy) for part in (train, held))
        cv, scores = _fused(inside, outside, truth, fold)
        threshold, cv_f1 = best_threshold(cv, truth)
        rows, columns = pairs(scores)
        sure = scores.data >= threshold
        given = from_pairs(rows[sure], columns[sure], scores.shape)
        evaluation = evaluate(taxonomy, _closed(true, taxonomy), _closed(given, taxonomy))
        lexicon = next((scorers[key] for key in keys if key.startswith("lexicon")), None)
        evidence = evidence_scores(lexicon, held, name, given) if lexicon and name == "text_es" else {}
        outcomes.append(
            Outcome(
                system.name,
                cv_f1,
                mean_average_precision(cv, truth),
                threshold,
                precision_recall_f1(given, true),
                mean_average_precision(scores, true),
                evaluation.metrics["hF"],
                evaluation.levels,
                evidence,
                sum(seconds[key] for key in keys),
            )
        )
        print(name, system.name, f"F1 {outcomes[-1].f1[2]:.4f} MAP {outcomes[-1].map:.4f}", flush=True)
    return outcomes


def _crossed(
    kind: str, train: Part, held: Part, name: str, taxonomy: Taxonomy, options: Mapping[str, Any], fold: Any
) -> tuple[tuple[Channels, Channels], Any, float]:
    """Return what a scorer says of the train part, by folds, and of the eval part; the scorer; seconds to fit it."""
    parts: list[Channels] = []
    order = np.concatenate([np.flatnonzero(fold == i) for i in range(FOLDS)])
    for i in range(FOLDS):
        scorer = learn(kind, train.of(np.flatnonzero(fold != i)), name, taxonomy, options)
        parts.append(say(kind, scorer, train.of(np.flatnonzero(fold == i)), name, taxonomy))
    inside = [csr_matrix(vstack(channel))[np.argsort(order)] for channel in zip(*parts, strict=True)]
    began = time.perf_counter()
    scorer = learn(kind, train, name, taxonomy, options)
    seconds = time.perf_counter() - began
    return (inside, say(kind, scorer, held, name, taxonomy)), scorer, seconds


def _fused(inside: Channels, outside: Channels, truth: csr_matrix, fold: Any) -> tuple[csr_matrix, csr_matrix]:
    """Return one score a pair, for train (by models of the other folds) and eval, from a logistic model."""
    rows, columns, values = gathered(inside)
    right = entries(truth, rows, columns)
    crossed = np.zeros(len(rows))
    for i in range(FOLDS):
        model = _logistic(values[fold[rows] != i], right[fold[rows] != i])
        here = fold[rows] == i
        crossed[here] = model.predict_proba(values[here])[:, 1]
    of, at, numbers = gathered(outside)
    chance = _logistic(values, right).predict_proba(numbers)[:, 1]
    return (
        csr_matrix((crossed, (rows, columns)), shape=inside[0].shape),
        csr_matrix((chance, (of, at)), shape=outside[0].shape),
    )


def _logistic(values: Any, right: Any) -> LogisticRegression:
    return LogisticRegression(C=100, max_iter=1_000).fit(values, right)


def _truth(part: Part, taxonomy: Taxonomy) -> csr_matrix:
    return label_matrix(taxonomy, part.codes, closed=False)


def _closed(Y: csr_matrix, taxonomy: Taxonomy) -> csr_matrix:
    return from_pairs(*taxonomy.close_pairs(*pairs(Y)), shape=Y.shape)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the main table of one language."""
    lines = ["| system | F1 (P / R) | MAP | hF | train CV: F1, MAP | fit s |", "|---|---|---|---|---|---|"]
    for o in outcomes:
        p, r, f = o.f1
        lines.append(
            f"| {o.name} | **{f:.3f}** ({p:.3f} / {r:.3f}) | **{o.map:.3f}** | {o.hf:.3f} "
            f"| {o.cv_f1:.3f}, {o.cv_map:.3f} | {o.seconds:.0f} |"
        )
    return "\n".join(lines)


def details(outcomes: Sequence[Outcome]) -> str:
    """Return hF per level, and evidence."""
    depth = sum(level["support"] > 0 for level in outcomes[0].levels)
    lines = ["| hF of | " + " | ".join(f"level {i + 1}" for i in range(depth)) + " |", "|---|" + "---|" * depth]
    for o in outcomes:
        lines.append(f"| {o.name} | " + " | ".join(f"{level['hF']:.3f}" for level in o.levels[:depth]) + " |")
    with_evidence = [o for o in outcomes if o.evidence]
    if with_evidence:
        names = list(with_evidence[0].evidence)
        lines += ["", "| evidence of | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        lines += [
            f"| {o.name} | " + " | ".join(f"{v:.3f}" for v in o.evidence.values()) + " |" for o in with_evidence
        ]
    return "\n".join(lines)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with codiesp/ and icd10cm/")
    parser.add_argument("--train", default="train.jsonl.gz", help="in codiesp/ of the data folder, or a path")
    parser.add_argument("--eval", default="dev.jsonl.gz", help="likewise")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--note", default="", help="a line for the report")
    parser.add_argument("--only", default="", help="systems to run, by parts of their names, joined by |")
    options = parser.parse_args()
    release = options.data / "icd10cm" / "fy2021" / "icd10cm_tabular_2021.xml.gz"
    if not release.is_file():
        raise SystemExit(f"no {release}: the data is not here")
    taxonomy = icd10cm.read(release)
    train, held = (
        read(p if (p := Path(name)).is_file() else options.data / "codiesp" / name, taxonomy)
        for name in (options.train, options.eval)
    )
    systems = {
        "text_es": [
            System("lexicon", ("lexicon",), {"min_documents": 1}),
            System("linear", ("linear",)),
            System("linear + lexicon", ("linear", "lexicon"), {"min_documents": 1}),
            System("lexicon, phrases of 2 documents", ("lexicon",), {"min_documents": 2}),
            System("lexicon, no mined phrases", ("lexicon",), {"mined": False}),
        ],
        "text_en": [
            System("lexicon (no mentions)", ("lexicon",), {"min_documents": 2}),
            System("linear", ("linear",)),
            System("linear + lexicon (no mentions)", ("linear", "lexicon"), {"min_documents": 2}),
        ],
    }
    wanted = options.only.split("|")
    sections = []
    for language, name in LANGUAGES.items():
        chosen = [s for s in systems[name] if any(w in f"{language} {s.name}" for w in wanted)]
        if chosen:
            outcomes = run(train, held, name, taxonomy, chosen)
            sections.append(f"## {language}\n\n{table(outcomes)}\n\n{details(outcomes)}")
    command = f"python benchmarks/codiesp.py --train {options.train} --eval {options.eval}"
    head = (
        f"# CodiEsp: ICD-10-CM codes of clinical cases\n\n`{command}`, {len(train)} → {len(held)} documents, "
        f"{sum(map(len, train.codes))} and {sum(map(len, held.codes))} codes, {len(taxonomy):,} nodes; "
        f"{platform.machine()}, {os.cpu_count()} cores. Full diagnosis codes; fusion and threshold from five-fold "
        f"cross-validation inside the train part. {options.note}"
    )
    options.out.write_text("\n\n".join([head, *sections]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
