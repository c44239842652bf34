"""Calibration before and after: learned on validation documents, measured once on test documents.

    python benchmarks/calibration.py                   # -> benchmarks/results/calibration.md
    python benchmarks/calibration.py goemotions        # one set, printed only

Models and their scores are those of `scored.py`; Fashion is added here, for a third set of over 5,000 test documents.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, vstack
from scored import SOURCES, TEST_BYTES, Part, ScoredSet, Source, scored
from sets import DATA, ROOT, Record, _json_lines, first_byte

from hclf.calibration import METHODS, LevelCalibration
from hclf.data.texts import normalised
from hclf.decoders import decode
from hclf.fusion import sparse_scores
from hclf.labels import partial_depth
from hclf.metrics import average_precision_micro, hierarchical_precision_recall_f1
from hclf.metrics.calibration import CalibrationTable, calibration_table, node_count_error, reliability_table
from hclf.registry import load_taxonomy
from hclf.thresholds import tune

OUT = ROOT / "benchmarks" / "results" / "calibration.md"
LARGE = 5_000  # test documents of the sets the target is about
TARGET = 0.03
BATCH = 512
FEWEST = 200  # scored pairs; a level with fewer is not judged
VARIANTS: Mapping[str, Mapping[str, Any] | None] = {
    "none": None,
    **{method: {"method": method} for method in METHODS if method != "identity"},
    "auto, levels only": {"per_node": False},
    "auto": {},
}


def fashion() -> Source:
    """Fashion: product names, one path each; the first of equal names is kept, a fifth by hash is test."""
    folder = DATA / "fashion_styles"
    first: dict[str, dict[str, Any]] = {}
    for item in _json_lines(folder / "items.jsonl.gz"):
        first.setdefault(normalised(item["title"]), item)
    parts: tuple[list[Record], list[Record]] = ([], [])
    for item in first.values():
        is_test = first_byte(f"{item['id']}\t{item['title']}") < TEST_BYTES
        parts[is_test].append(Record({"text": item["title"]}, tuple(item["labels"])))
    return Source.split(load_taxonomy(folder / "taxonomy.tsv"), *parts)


SOURCES["fashion"] = ("Fashion", fashion)
SETS = ("instacart", "fashion", "goemotions", "clinc150", "openfoodfacts")


@dataclass(frozen=True)
class Result:
    """One variant on the test part of one set.

    Attributes:
        table: of pairs scored at least .01, per level; high: of those scored at least .1.
        counts: `node_count_error`.
        log_loss, brier: a document, over all pairs.
        auprc, hf: of the calibrated scores, thresholds tuned on validation scores learned without their document.
        seconds: to learn.
        report: of the calibration; None for none.
        scores: (documents, nodes) of the test part.
    """

    table: CalibrationTable
    high: CalibrationTable
    counts: float
    log_loss: float
    brier: float
    auprc: float
    hf: float
    seconds: float
    report: Mapping[str, Any] | None
    scores: csr_matrix[Any]

    @property
    def misplaced(self) -> float:
        """Calibration error added up over the scored pairs of a document, instead of averaged."""
        return float((self.table.ece * self.table.pairs).sum() / self.scores.shape[0])


def measured(one: ScoredSet, options: Mapping[str, Any] | None) -> Result:
    """Learn one variant on validation and measure it on test."""
    taxonomy, levels = one.taxonomy, one.levels
    unknown = partial_depth(taxonomy, one.test.true)
    began = time.perf_counter()
    validation, test, report = one.validation.scores, one.test.scores, None
    if options is not None:
        model, validation = LevelCalibration.cross_fit(
            taxonomy,
            one.validation.true,
            one.validation.scores,
            unknown=partial_depth(taxonomy, one.validation.true),
            **options,
        )
        report = model.report
    seconds = time.perf_counter() - began
    if options is not None:
        test = model.apply_sparse(test)
        assert not any(taxonomy.violations(test[rows].toarray()).any() for rows in batches(test.shape[0]))
    every = calibration_table(one.test.true, test, np.ones_like(levels), least=0, unknown=unknown)
    return Result(
        calibration_table(one.test.true, test, levels, unknown=unknown),
        calibration_table(one.test.true, test, levels, least=0.1, unknown=unknown),
        node_count_error(one.test.true, test, unknown=unknown),
        float(every.log_loss[0]) / len(one.test),
        float(every.brier[0]) / len(one.test),
        average_precision_micro(one.test.true, test),
        hf(one, Part(one.validation.true, validation), Part(one.test.true, test)),
        seconds,
        report,
        test,
    )


def hf(one: ScoredSet, validation: Part, test: Part) -> float:
    """Return micro hF on test with thresholds tuned on validation, by the decoder that fit chose."""
    candidates = vstack(
        [
            sparse_scores(np.where(one.decoder.select(one.taxonomy, scores), scores, 0))
            for scores in dense(validation.scores)
        ]
    )
    thresholds = tune(validation.true, csr_matrix(candidates), one.levels, goal="hf").array
    answers = [decode(one.taxonomy, scores, thresholds, one.decoder)[0] for scores in dense(test.scores)]
    return hierarchical_precision_recall_f1(test.true, vstack(answers)).f1


def batches(n: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, n, BATCH))


def dense(scores: csr_matrix[Any]) -> Iterator[Any]:
    return (scores[rows].toarray() for rows in batches(scores.shape[0]))


# -- report ----------------------------------------------------------------------------------------------------


def section(one: ScoredSet, results: Mapping[str, Result]) -> str:
    """Return the tables of one set."""
    judged = [i for i, pairs in enumerate(results["none"].table.pairs) if pairs >= FEWEST]
    rows = [
        [
            name,
            *(number(result.table.ece[i]) for i in judged),
            number(result.table.ece_width[judged].max()),
            number(result.high.ece[judged].max()),
            number(result.misplaced),
            number(result.counts),
            number(result.log_loss),
            number(result.brier),
            number(result.auprc),
            number(result.hf),
            f"{result.seconds:.1f}",
        ]
        for name, result in results.items()
    ]
    chance = results["auto"].table.by_chance
    rows.append(["*by chance*", *(number(chance[i]) for i in judged), *[""] * 9])
    head = [
        "",
        *(f"level {i + 1}" for i in judged),
        "equal width, worst",
        "scored ≥ .1, worst",
        "error a document",
        "counts of nodes off",
        "log loss",
        "Brier",
        "AU(PRC)",
        "hF",
        "s",
    ]
    report = results["auto"].report or {}
    chosen = ", ".join(
        f"level {row['level']} {row['method']} (nodes ± {row['width']:g})" for row in report["levels"][: len(judged)]
    )
    return "\n".join(
        [
            f"## {one.title}",
            "",
            f"{len(one.validation):,} validation and {len(one.test):,} test documents, {len(one.taxonomy):,} nodes, "
            f"model of commit {one.about['commit']}; {results['none'].table.pairs.sum():,} test pairs scored "
            "at least .01. "
            f"Chosen by auto: {chosen}; coherence by {report['coherence']}.",
            "",
            table(head, rows),
        ]
    )


def summary(found: Sequence[tuple[ScoredSet, Mapping[str, Result]]]) -> str:
    """Return the table of the target."""
    rows = []
    for one, results in found:
        before, after = results["none"], results["auto"]
        judged = before.table.pairs >= FEWEST
        rows.append(
            [
                one.title,
                f"{len(one.test):,}",
                *(number(part.ece[judged].max()) for part in (before.table, after.table, before.high, after.high)),
                *(number(value) for value in (before.misplaced, after.misplaced, before.counts, after.counts)),
                *(number(value) for value in (before.log_loss, after.log_loss)),
                *(number(value) for value in (before.hf, after.hf)),
            ]
        )
    kinds = ("error", "error, scored ≥ .1", "error a document", "counts of nodes off", "log loss", "hF")
    return table(["", "test", *(f"{kind}, {when}" for kind in kinds for when in ("none", "auto"))], rows)


def diagrams(one: ScoredSet, results: Mapping[str, Result]) -> str:
    """Return the reliability of level 1 before and after, bin beside bin."""
    columns = one.levels == 1
    unknown = partial_depth(one.taxonomy, one.test.true)[:, columns]
    before, after = (
        reliability_table(one.test.true[:, columns], results[name].scores[:, columns], bins=10, unknown=unknown)
        for name in ("none", "auto")
    )
    rows = [
        [text for part in (a, b) for text in (number(part[0]), number(part[1]), f"{part[3]:.3f}–{part[4]:.3f}")]
        for a, b in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True)
    ]
    head = [f"{what}, {name}" for name in ("none", "auto") for what in ("score", "true", "95 %")]
    return f"### {one.title}: level 1, tenths of the scored pairs\n\n{table(head, rows)}"


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(found: Sequence[tuple[ScoredSet, Mapping[str, Result]]]) -> str:
    """Return the whole result file."""
    large = [(one, results) for one, results in found if len(one.test) > LARGE]
    before, worst = (
        max(float(results[name].table.ece[results["none"].table.pairs >= FEWEST].max()) for _, results in large)
        for name in ("none", "auto")
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return "\n\n".join(
        [
            "# Calibration",
            "`python benchmarks/calibration.py`: models of `benchmarks/scored.py`; every map learned on validation "
            "documents, every figure of test documents, measured once. "
            f"Python {platform.python_version()}, commit {commit.stdout.strip()}.",
            f"Target: adaptive calibration error of every level at most {TARGET} on the sets with over {LARGE:,} "
            f"test documents. Worst level of any of the {len(large)}: **{worst:.4f}**, before {before:.4f}. "
            + ("Met." if worst <= TARGET else "Missed."),
            "*error*: adaptive expected calibration error, 15 bins of equal mass, of the pairs of a document and a "
            "node scored at least .01; the worst level here, every level below. *scored ≥ .1*: the same of pairs "
            "that score more, without the many that are easy. *error a document*: the error times its pairs, over "
            "all levels, a document: calibration takes hopeless pairs below .01, so the mean is over fewer, harder "
            "ones and may rise where the sum falls. *counts of nodes off*: sum over nodes of |sum of "
            "scores - true documents|, by all labels. *log loss*, *Brier*: of all pairs, a document. *AU(PRC)* and "
            "*hF*: of the calibrated scores; thresholds tuned on validation. Levels with fewer than "
            f"{FEWEST} scored pairs are left out. Formulas: docs/calibration.md.",
            summary(found),
            "*none*: scores as fit leaves them, one logistic model a level and coherence by `max`. A method's name: "
            "that map for every level, after shifts of nodes. *auto, levels only*: no shifts. *by chance*: what "
            "perfectly calibrated scores would show on as many pairs, about.",
            *(section(one, results) for one, results in found),
            *(diagrams(one, results) for one, results in large),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; none: all, written to {OUT.name}")
    names = parser.parse_args().sets
    found = []
    for name in names or SETS:
        one = scored(name)
        results = {variant: measured(one, options) for variant, options in VARIANTS.items()}
        found.append((one, results))
        print(section(one, results), flush=True)
    if not names:
        Path(OUT).write_text(page(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
