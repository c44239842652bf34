"""Does a promised precision hold on documents nobody has seen, and what does the promise cost?

    python benchmarks/guarantees.py                     # all sets, 20 splits; writes results/guarantees.md
    python benchmarks/guarantees.py hoc --show 20       # answers of one split beside the truth, row by row
    python benchmarks/guarantees.py --calibrate none    # the same promises on scores that were not calibrated

Documents that were not trained on (`scored.py`: validation and test) are split by seed into halves, again and again.
On one half a mean for safe depth is chosen by `hclf.guarantees`, or thresholds are tuned for the same precision; the
other half shows what came of it. A split is broken when micro precision on the unseen half is below the target.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, vstack
from scored import BATCH, SOURCES, Part, ScoredSet, pooled, records, scored

from hclf.decoders import Decoder
from hclf.guarantees import Guarantee, guarantee
from hclf.labels import entries, from_pairs, label_sets, most_specific, pairs, partial_depth, subtract
from hclf.taxonomy import Taxonomy
from hclf.thresholds import tune

TARGETS = (0.90, 0.95, 0.98)
CONFIDENCE = 0.9
SPLITS = 20
OUTSIDE = "with requests that belong nowhere"
BELOW = "nodes below a true label not judged"
RESULTS = Path(__file__).resolve().parent / "results" / "guarantees.md"
WAYS = {
    "population": "promised for the population, every node holds the mean",
    "set": "the same, the set holds the mean",
    "next": "promised for the unseen half, every node holds the mean",
    "tuned": "thresholds tuned for `precision>=p`, no promise",
}


class Outcome(NamedTuple):
    """What answers on unseen documents are worth; precision is NaN when nothing was answered."""

    precision: float
    coverage: float
    depth: float


@dataclass(frozen=True)
class Problem:
    """The held-out documents of a set, and the scores that its own decoder leaves to thresholds."""

    title: str
    one: ScoredSet
    part: Part
    candidates: csr_matrix[Any]
    unknown: csr_matrix[Any] | None = None  # pairs that are neither right nor wrong

    @property
    def taxonomy(self) -> Taxonomy:
        return self.one.taxonomy

    def halves(self, seed: int) -> tuple[Any, Any]:
        """Return the rows of a calibration and an unseen half."""
        order = np.random.default_rng(seed).permutation(len(self.part))
        return np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])

    def promised(self, rows: Any, target: float, future: int | None, each: bool) -> Guarantee:
        part = self.part.take(rows)
        return guarantee(
            self.taxonomy,
            part.true,
            part.scores,
            precision=target,
            confidence=CONFIDENCE,
            path=self.one.single_path,
            each=each,
            future=future,
            unknown=None if self.unknown is None else self.unknown[rows],
        )

    def answers(self, found: Guarantee, rows: Any) -> csr_matrix[Any]:
        means = found.decoder.means(self.taxonomy, self.part.scores[rows])
        return _where(means, means.data >= found.decoder.precision)

    def tuned(self, rows: Any, unseen: Any, target: float) -> csr_matrix[Any]:
        levels, known = self.taxonomy.levels, self.candidates[rows]
        if self.unknown is not None:
            mute = self.unknown[rows]
            known = _where(known, ~entries(mute, *pairs(known))).multiply(known).tocsr()
        limits = tune(self.part.true[rows], known, levels, goal=f"precision>={target}").array
        scores = self.candidates[unseen]
        return _where(scores, scores.data >= limits.astype(scores.dtype)[levels[scores.indices] - 1])

    def outcome(self, answers: csr_matrix[Any], rows: Any) -> Outcome:
        of, columns = pairs(answers)
        deepest = np.zeros(answers.shape[0])
        np.maximum.at(deepest, of, self.taxonomy.levels[columns])
        judged = answers if self.unknown is None else subtract(answers, self.unknown[rows])
        right = entries(self.part.true[rows], *pairs(judged))
        some = deepest > 0
        if not some.any():
            return Outcome(float("nan"), 0.0, 0.0)
        return Outcome(float(right.mean()), float(some.mean()), float(deepest[some].mean()))


def problems(names: list[str], calibrate: str) -> Iterator[Problem]:
    """Yield the problems: each set, clinc150 once more with documents that belong nowhere, Open Food Facts, whose
    contributors often stop above the leaves, once more without judging what lies below their labels."""
    for name in names:
        one = scored(name, calibrate=calibrate)
        plain = _problem(one.title, one, one.held_out)
        yield plain
        if len(one.outside):
            yield _problem(f"{one.title}, {OUTSIDE}", one, pooled(one.held_out, one.outside))
        if name == "openfoodfacts":
            unknown = partial_depth(one.taxonomy, plain.part.true)
            yield replace(plain, title=f"{one.title}, {BELOW}", unknown=unknown)


def _problem(title: str, one: ScoredSet, part: Part) -> Problem:
    return Problem(title, one, part, candidates(one.taxonomy, one.decoder, part.scores))


def candidates(taxonomy: Taxonomy, decoder: Decoder, scores: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the scores of the nodes a decoder selects, batch by batch."""
    parts = []
    for start in range(0, scores.shape[0], BATCH):
        dense = scores[start : start + BATCH].toarray()
        parts.append(csr_matrix(np.where(decoder.select(taxonomy, dense), dense, 0)))
    return csr_matrix(vstack(parts))


def measure(problem: Problem, target: float, splits: int) -> tuple[dict[str, list[Outcome]], int]:
    """Return for each way the outcomes of the splits; and how often what was promised for the population is not so.

    The population that halves are drawn from is all held-out documents together.
    """
    found: dict[str, list[Outcome]] = {way: [] for way in WAYS}
    everything, untrue = np.arange(len(problem.part)), 0
    for seed in range(splits):
        known, unseen = problem.halves(seed)
        for way, future, each in (("population", None, True), ("set", None, False), ("next", len(unseen), True)):
            promise = problem.promised(known, target, future, each)
            found[way].append(problem.outcome(problem.answers(promise, unseen), unseen))
            if way == "population" and promise.holds:
                untrue += problem.outcome(problem.answers(promise, everything), everything).precision < target
        found["tuned"].append(problem.outcome(problem.tuned(known, unseen, target), unseen))
    return found, untrue


def cells(outcomes: list[Outcome], target: float) -> str:
    """Return three cells: broken splits and mean precision, coverage, depth."""
    precision, coverage, depth = (np.array(column) for column in zip(*outcomes, strict=True))
    answered = ~np.isnan(precision)
    broken = int((precision[answered] < target).sum())
    if not answered.any():
        return f"{broken} | 0 % | –"
    silent = f" ({(~answered).sum()} silent)" if not answered.all() else ""
    mean = f"{precision[answered].mean():.3f}".lstrip("0")
    return f"{broken} ({mean}) | {coverage.mean():.1%}{silent} | {depth[answered].mean():.2f}"


def write(rows: list[str], splits: int, commits: set[str], untrue: list[int]) -> None:
    heads = " | ".join("broken | coverage | depth" for _ in WAYS)
    lines = [
        "# A promised precision on unseen documents",
        "",
        f"`python benchmarks/guarantees.py`, models of commit {', '.join(sorted(commits))}, calibrated inside",
        f"the train part. {splits} seeded splits of documents that were not trained on into a calibration and",
        "an unseen half; micro precision over all nodes of all answers;",
        f"confidence {CONFIDENCE:.0%}, so at most {splits * (1 - CONFIDENCE):.0f} of {splits} splits may be broken.",
        "Four ways, from left to right:",
        "",
        *(f"{number}. {way}" for number, way in enumerate(WAYS.values(), start=1)),
        "",
        "Broken: splits with precision below the target on the unseen half; beside it mean precision there.",
        "Coverage: share of unseen documents that are answered, over all splits; silent splits answer none, because",
        "no mean passed the tests. Depth: level of the deepest node of an answer. Precision and depth: of splits",
        "that answer.",
        "",
        f"| set | unseen | target | {heads} |",
        "|---|---:|---:|" + "---:|" * 3 * len(WAYS),
        *rows,
        "",
        "The first promise is about the population, here all held-out documents together, and there precision is",
        f"below the target in {sum(untrue)} of {splits * len(untrue)} splits, in no row in more than {max(untrue)}.",
        "What a half measures varies about that by chance; the third promise allows for it.",
        "",
    ]
    RESULTS.write_text("\n".join(lines), encoding="utf-8")


def show(problem: Problem, name: str, target: float, count: int) -> None:
    """Print answers of the first split: wrong ones first, then others."""
    known, unseen = problem.halves(0)
    promise = problem.promised(known, target, None, True)
    print(promise.summary)
    for one in promise.tested:
        precision = "-" if one.precision is None else f"{one.precision:.3f}"
        print(f"  mean {one.mean:.4f} coverage {one.coverage:.3f} precision {precision} p {one.p_value:.4f}")
    texts = [*records(name, "validation"), *records(name, "test"), *records(name, "outside")]
    answers, true = problem.answers(promise, unseen), problem.part.true[unseen]
    wrong = np.asarray((answers.astype(int) - answers.multiply(true).astype(int)).sum(axis=1)).ravel()
    names = problem.taxonomy.names
    for row in [
        *np.flatnonzero(wrong)[:count],
        *np.flatnonzero((wrong == 0) & (np.diff(answers.indptr) > 0))[:count],
    ]:
        said, meant = (
            [names[problem.taxonomy.index(node)] for node in label_sets(problem.taxonomy, Y[row])[0]]
            for Y in (answers, most_specific(problem.taxonomy, true))
        )
        print(f"{wrong[row]} wrong | {texts[unseen[row]].text[:110]!r} | said {said} | truth {meant}")


def _where(matrix: csr_matrix[Any], keep: Any) -> csr_matrix[Any]:
    rows, columns = pairs(matrix)
    return from_pairs(rows[keep], columns[keep], matrix.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SOURCES), help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--calibrate", default="auto", help="as in the classifier")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--show", type=int, default=0, help="print so many answers instead of the table")
    parser.add_argument("--target", type=float, default=0.9, help="of what is shown")
    arguments = parser.parse_args()
    rows: list[str] = []
    commits: set[str] = set()
    untrue: list[int] = []
    for problem in problems(arguments.sets, arguments.calibrate):
        if arguments.show:
            show(problem, problem.one.name, arguments.target, arguments.show)
            continue
        commits.add(problem.one.about["commit"])
        for target in TARGETS:
            found, wrong = measure(problem, target, arguments.splits)
            untrue.append(wrong)
            unseen = len(problem.part) - len(problem.part) // 2
            line = " | ".join(cells(found[way], target) for way in WAYS)
            rows.append(f"| {problem.title} | {unseen:,} | {target:.2f} | {line} |")
            print(rows[-1], f"population {wrong}", flush=True)
    if rows and arguments.sets == list(SOURCES) and arguments.calibrate == "auto":
        write(rows, arguments.splits, commits, untrue)


if __name__ == "__main__":
    main()
