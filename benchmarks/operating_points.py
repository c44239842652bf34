"""Ways to make label sets of the same scores, on five sets: 0.5, the grid, tuned thresholds, expected-f, paths.

    python benchmarks/operating_points.py            # writes benchmarks/results/operating_points.md

Scores come from `benchmarks/scored.py`. Everything is chosen on validation: the calibration of scores
(`LevelCalibration`; thresholds are tuned on scores that were calibrated without their document), thresholds, and the
options of expected-f. Test is decoded once with what was chosen. Intervals and paired differences: `hclf.statistics`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, vstack
from scored import SOURCES, Part, ScoredSet, scored
from sets import ROOT

from hclf.calibration import LevelCalibration
from hclf.decoders import Decoder, decode, make_decoder, tune_expected_f
from hclf.labels import is_closed, most_specific
from hclf.statistics import Answers, Key, compare_answers, intervals, prepare
from hclf.taxonomy import Taxonomy
from hclf.thresholds import tune

RESULT = ROOT / "benchmarks" / "results" / "operating_points.md"
SETS = ("openfoodfacts", "goemotions", "hoc", "clinc150", "instacart")
METRICS = {"hF": "hF", "hF_example": "hF example", "macro_f1": "macro-F1", "exact_match": "exact match"}
BATCH = 512
TIMED = 5_000


class Way(NamedTuple):
    """A decoder with one threshold a level, as chosen on validation."""

    decoder: Decoder
    thresholds: Any

    def decode(self, taxonomy: Taxonomy, scores: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return closed label sets, a batch at a time."""
        parts = (scores[start : start + BATCH].toarray() for start in range(0, scores.shape[0], BATCH))
        found = [decode(taxonomy, part, self.thresholds, self.decoder)[0] for part in parts]
        return csr_matrix(vstack(found))


@dataclass(frozen=True)
class Measured:
    """One set: the ways, their answers to the test part, and intervals of their figures."""

    one: ScoredSet
    ways: Mapping[str, Way]
    answers: Mapping[str, Answers]


FIXED = "one threshold: 0.5"
GRID = "one threshold: best of 0.30–0.70"
GRID_LEVELS = "a level: best of 0.30–0.70"
ONE = "one threshold, tuned"
TUNED = "a level, tuned"
EXPECTED = "expected-f"


def choose(one: ScoredSet, part: Part) -> dict[str, Way]:
    """Return every way that fits the set, chosen on calibrated validation scores."""
    threshold = make_decoder("threshold")
    depth = one.taxonomy.depth

    def tuned(decoder: Decoder, goal: str = "hf_example", **how: Any) -> Way:
        scores = candidates(one.taxonomy, decoder, part.scores)
        return Way(decoder, tune(part.true, scores, one.levels, goal=goal, **how).array)

    ways = {
        FIXED: Way(threshold, np.full(depth, 0.5)),
        GRID: tuned(threshold, search="grid", per_level=False),
        GRID_LEVELS: tuned(threshold, search="grid"),
        ONE: tuned(threshold, per_level=False),
        TUNED: tuned(threshold),
        f"{TUNED} for hF": tuned(threshold, "hf"),
        f"{TUNED} for macro-F1": tuned(threshold, "macro_f1"),
        f"{TUNED} for exact match": tuned(threshold, "exact_match"),
        EXPECTED: Way(tune_expected_f(one.taxonomy, part.true, part.scores), np.zeros(depth)),
    }
    if always_leaves(one.taxonomy, part.true):
        ways["leaf, a level, tuned"] = tuned(make_decoder("leaf"))
    if one.single_path:
        ways["path, a level, tuned"] = tuned(make_decoder("path"))
        ways["path to a leaf"] = Way(make_decoder("path", to_leaf=True), np.zeros(depth))
    return ways


def candidates(taxonomy: Taxonomy, decoder: Decoder, scores: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the scores of what the decoder selects."""
    parts = (scores[start : start + BATCH].toarray() for start in range(0, scores.shape[0], BATCH))
    return csr_matrix(vstack([csr_matrix(np.where(decoder.select(taxonomy, part), part, 0)) for part in parts]))


def always_leaves(taxonomy: Taxonomy, true: csr_matrix[Any]) -> bool:
    """Return whether every document has labels, and most specific ones that are leaves."""
    return bool(np.diff(true.indptr).all() and taxonomy.is_leaf[most_specific(taxonomy, true).indices].all())


def measure(one: ScoredSet, calibrate: bool) -> Measured:
    """Choose on validation, answer the test part once."""
    validation, test = one.validation, one.test.scores
    if calibrate:
        calibration, scores = LevelCalibration.cross_fit(one.taxonomy, validation.true, validation.scores)
        validation, test = Part(validation.true, scores), calibration.apply_sparse(test)
    ways = choose(one, validation)
    answers = {}
    for name, way in ways.items():
        predicted = way.decode(one.taxonomy, test)
        assert is_closed(one.taxonomy, predicted).all(), f"{one.name}: {name} is not closed"
        answers[name] = prepare(one.taxonomy, one.test.true, predicted)
    return Measured(one, ways, answers)


# -- the tables ------------------------------------------------------------------------------------------------


def table(measured: Measured) -> list[str]:
    """Return the rows of one set: figures with 95 % intervals, labels a document, documents answered "unknown"."""
    head = ["chosen for hF example, unless said", *METRICS.values(), "labels", "unknown", "options"]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    best = {metric: max(figure(a, metric) for a in measured.answers.values()) for metric in METRICS}
    for name, answers in measured.answers.items():
        ends = intervals(answers)
        cells = [with_interval(figure(answers, m), ends.get(Key(m)), best[m]) for m in METRICS]
        labels = np.diff(answers.predicted.indptr)
        cells += [f"{labels.mean():.2f}", f"{(labels == 0).mean():.1%}", options(measured.ways[name])]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def figure(answers: Answers, metric: str) -> float:
    """Return a figure over all documents."""
    both = answers.true.multiply(answers.predicted).tocsr()
    if metric == "macro_f1":
        t, p, b = (np.bincount(Y.indices, minlength=Y.shape[1]) for Y in (answers.true, answers.predicted, both))
        return float((2 * b[t > 0] / (t + p)[t > 0]).mean())
    t, p, b = (np.diff(Y.indptr) for Y in (answers.true, answers.predicted, both))
    if metric == "hF":
        return float(2 * b.sum() / (t.sum() + p.sum()))
    if metric == "exact_match":
        return float(((b == t) & (b == p)).mean())
    return float(np.where(t + p > 0, 2 * b / np.maximum(t + p, 1), 1.0).mean())


def with_interval(value: float, ends: tuple[float, float] | None, best: float) -> str:
    shown = f"**{value:.3f}**" if value == best else f"{value:.3f}"
    return shown if ends is None else f"{shown} [{ends[0]:.3f}, {ends[1]:.3f}]"


def options(way: Way) -> str:
    """Return what was chosen: the thresholds, or the options of expected-f."""
    if way.decoder.cut:
        values = [f"{t:.2f}" for t in way.thresholds]
        return values[0] if len(set(values)) == 1 else ", ".join(values)
    decoder: Any = way.decoder
    if not hasattr(decoder, "single"):
        return ""
    said = {"leaves": decoder.leaves, "unknown": decoder.unknown}
    return ", ".join([f"single {decoder.single:g}", *(name for name, yes in said.items() if yes)])


DIFFERENCES: tuple[tuple[str, str, str, str], ...] = (
    ("tuned − 0.5, hF example", TUNED, FIXED, "hF_example"),
    ("tuned − 0.5, hF", f"{TUNED} for hF", FIXED, "hF"),
    ("tuned − grid, hF example", TUNED, GRID, "hF_example"),
    ("expected-f − tuned, hF example", EXPECTED, TUNED, "hF_example"),
    ("expected-f − 0.5, hF example", EXPECTED, FIXED, "hF_example"),
)


def differences(sets: Sequence[Measured]) -> list[str]:
    """Return one row a set: paired differences in points, with intervals."""
    rows = ["| set | test documents | " + " | ".join(title for title, *_ in DIFFERENCES) + " |"]
    rows.append("|---" * (len(DIFFERENCES) + 2) + "|")
    for measured in sets:
        cells = [difference(measured, a, b, metric) for _, a, b, metric in DIFFERENCES]
        rows.append(f"| {measured.one.title} | {len(measured.one.test):,} | " + " | ".join(cells) + " |")
    return rows


def difference(measured: Measured, a: str, b: str, metric: str) -> str:
    found = compare_answers(measured.answers[a], measured.answers[b], names=(a, b), permutations=2)
    row = next(row for row in found.metrics if row["metric"] == metric)
    if row["low"] is None:
        return f"{100 * row['difference']:+.1f}"
    shown = f"{100 * row['difference']:+.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    return shown if row["low"] <= 0 <= row["high"] else f"**{shown}**"


def seconds(one: ScoredSet) -> float:
    """Return how long expected-f takes for 5,000 documents, from dense scores, in batches."""
    rows = np.resize(np.arange(len(one.test)), TIMED)
    way = Way(make_decoder("expected-f"), np.zeros(one.taxonomy.depth))
    scores = one.test.scores[rows]
    began = time.perf_counter()
    way.decode(one.taxonomy, scores)
    return time.perf_counter() - began


def report(sets: Mapping[str, ScoredSet], say: Callable[[str], None]) -> str:
    """Return the whole page."""
    blocks: dict[bool, list[Measured]] = {True: [], False: []}
    for calibrate, measured in blocks.items():
        for one in sets.values():
            measured.append(measure(one, calibrate))
            say(f"{one.name}, {'calibrated' if calibrate else 'as the cache has them'}: done")
    commits = sorted({one.about["commit"] for one in sets.values()})
    lines = [
        "# Operating points",
        "",
        "`python benchmarks/operating_points.py`. Scores of default models (`benchmarks/scored.py`, fitted at "
        f"{', '.join(commits)}), calibrated on validation; thresholds and options chosen on validation; test decoded "
        "once. In brackets 95 % intervals over documents; bold differences have an interval without 0, bold figures "
        "are the best of their column. Figures of sets: hF micro and example, over closed sets.",
        "",
        "## Differences, in points",
        "",
        *differences(blocks[True]),
        "",
        "The same on scores that were not calibrated on validation:",
        "",
        *differences(blocks[False]),
    ]
    for measured in blocks[True]:
        one = measured.one
        lines += ["", f"## {one.title}", ""]
        lines += [f"{len(one.validation):,} validation and {len(one.test):,} test documents, {one.taxonomy!r}.", ""]
        lines += table(measured)
    largest = max(sets.values(), key=lambda one: len(one.taxonomy))
    lines += [
        "",
        f"expected-f took {seconds(largest):.1f} s for {TIMED:,} documents × {len(largest.taxonomy):,} nodes "
        f"({largest.title}), dense scores in batches of {BATCH}, on a shared machine of two cores.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--dry", action="store_true", help="print the page, do not write it")
    arguments = parser.parse_args()
    page = report({name: scored(name) for name in arguments.sets}, lambda line: print(line, flush=True))
    if arguments.dry:
        print(page)
    else:
        RESULT.write_text(page, encoding="utf-8")
        print(f"wrote {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
