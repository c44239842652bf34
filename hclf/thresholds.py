"""Per-level thresholds, tuned on held-out scores for a stated goal, never falling with depth.

For micro hF, macro-F1 and precision >= p the optimum over all non-falling thresholds on the candidate values is
found exactly: these goals are sums over levels (hF and precision after Dinkelbach's, 1967, and Lagrange's
linearisation), so one dynamic programme over (level, candidate) solves them. Example hF and exact match are not
sums over levels; they start from the micro-hF optimum and climb one level at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import pairs

Search = Literal["exact", "grid"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID = np.round(np.arange(0.30, 0.701, 0.05), 2)
"""The field's classic grid: 0.30 to 0.70 in steps of 0.05."""
GOALS = ("hf", "hf_example", "macro_f1", "exact_match", "precision>=P")
CANDIDATES = 1000  # of an exact search: every distinct score if there are fewer, else this many quantiles
CLIMB_CANDIDATES = 60
TOLERANCE = 1e-9  # 0.55 * 20 is more than 11 in floating point
NEVER = 1.01  # above every probability


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Tuned thresholds.

    Attributes:
        values: one a level, from level 1 down, never falling; 1.01 lets nothing pass.
        goal: what they were tuned for.
        achieved: the goal's value on the held-out documents they were tuned on (optimistic: it was maximised).
        search: exact or grid.
    """

    values: tuple[float, ...]
    goal: str = "hf"
    achieved: float | None = None
    search: str = "exact"

    @property
    def array(self) -> Floats:
        """The values as an array (levels,)."""
        return np.array(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "values": list(self.values),
            "goal": self.goal,
            "achieved": self.achieved,
            "search": self.search,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Thresholds:
        """Build from `to_dict`."""
        return cls(tuple(data["values"]), data["goal"], data["achieved"], data["search"])


class _Pairs(NamedTuple):
    """The scored (document, node) pairs, and what is true whether scored or not."""

    row: Ints
    column: Ints
    level: Ints
    score: NDArray[np.floating[Any]]
    true: NDArray[np.bool_]
    truth_per_row: Ints
    truth_per_column: Ints
    depth: int


def tune(
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    levels: Ints,
    *,
    goal: str = "hf",
    search: Search = "exact",
    per_level: bool = True,
) -> Thresholds:
    """Return the thresholds that serve a goal best on held-out documents.

    Args:
        true: (documents, nodes) closed label sets.
        scores: (documents, nodes) coherent scores of the decoder's candidates; absent entries can never pass.
        levels: (nodes,), from 1.
        goal: `hf` (micro), `hf_example`, `macro_f1` (over nodes with true documents), `exact_match`, or
            `precision>=0.9`: the highest recall at that micro precision, and nothing at all if none reaches it.
        search: `exact` looks at every distinct score (or 1,000 quantiles), `grid` at 0.30, 0.35, …, 0.70.
        per_level: False ties all levels to one threshold.

    Raises:
        UsageError: an unknown goal or search, or a precision outside (0, 1].
    """
    goal, floor = parse_goal(goal)
    if search not in ("exact", "grid"):
        raise UsageError(f"search is exact or grid, not {search!r}")
    data = _collect(true, scores, levels)
    candidates = _candidates(data.score, search, CANDIDATES)
    if not len(data.score):
        return Thresholds((0.5,) * data.depth, _goal_name(goal, floor), None, search)
    if goal == "macro_f1":
        chosen = _best_path(_f1_by_level(data, candidates), per_level)
        achieved = _macro_f1(data, candidates[chosen])
    elif floor is not None:
        chosen = _precision(data, candidates, floor, per_level)
        achieved = _precision_of(data, candidates[chosen])
    else:
        chosen = _dinkelbach(data, candidates, per_level)
        achieved = _micro_f1(data, candidates[chosen])
    values = candidates[chosen]
    if goal in ("hf_example", "exact_match"):
        few = _candidates(data.score, search, CLIMB_CANDIDATES)
        values, achieved = _climb(data, few, values, goal, per_level)
    return Thresholds(tuple(values.tolist()), _goal_name(goal, floor), achieved, search)


def parse_goal(goal: str) -> tuple[str, float | None]:
    """Return (goal, None), or ("precision", p) for `precision>=p`.

    Raises:
        UsageError: an unknown goal, or a precision outside (0, 1].

    >>> parse_goal("precision>=0.9")
    ('precision', 0.9)
    """
    match = re.fullmatch(r"precision\s*>=\s*(\d+\.?\d*|\.\d+)", goal.strip())
    if match:
        floor = float(match[1])
        if not 0 < floor <= 1:
            raise UsageError(f"precision must lie in (0, 1], not {floor}")
        return "precision", floor
    if goal not in GOALS[:-1]:
        raise UsageError(f"unknown goal {goal!r}; choose {', '.join(GOALS[:-1])} or precision>=0.9")
    return goal, None


def _goal_name(goal: str, floor: float | None) -> str:
    return goal if floor is None else f"precision>={floor:g}"


def _collect(true: csr_matrix[Any], scores: csr_matrix[Any], levels: Ints) -> _Pairs:
    rows, columns = pairs(scores)
    width = max(scores.shape[1], 1)
    true_rows, true_columns = pairs(true)
    is_true = np.isin(rows * width + columns, true_rows * width + true_columns)
    return _Pairs(
        rows,
        columns,
        levels[columns],
        scores.data,
        is_true,
        np.bincount(true_rows, minlength=true.shape[0]),
        np.bincount(true_columns, minlength=true.shape[1]),
        int(levels.max(initial=0)),
    )


def _candidates(score: NDArray[np.floating[Any]], search: Search, most: int) -> Floats:
    """Return ascending thresholds: between neighbouring scores, so that rounding cannot flip one; last NEVER."""
    if search == "grid":
        return np.append(GRID, NEVER)
    distinct = np.unique(score)
    if len(distinct) > most:
        distinct = np.unique(np.quantile(distinct, np.linspace(0, 1, most), method="nearest"))
    # In the scores' own precision, in which they are compared: half-way between neighbours may be the lower one.
    between = (distinct[1:] + distinct[:-1]) / 2
    between = np.where(between > distinct[:-1], between, distinct[1:])
    return np.concatenate([distinct[:1], between, [NEVER]]).astype(np.float64)


def _counts(data: _Pairs, candidates: Floats) -> tuple[Floats, Floats]:
    """Return (levels, candidates): true positives and predictions of each level at each threshold."""
    hits, predicted = np.zeros((2, data.depth, len(candidates)))
    for i in range(data.depth):
        here = data.level == i + 1
        predicted[i] = _at_least(data.score[here], candidates)
        hits[i] = _at_least(data.score[here & data.true], candidates)
    return hits, predicted


def _at_least(score: NDArray[np.floating[Any]], candidates: Floats) -> Ints:
    return len(score) - np.searchsorted(np.sort(score), candidates.astype(score.dtype), side="left")


def _best_path(value: Floats, per_level: bool) -> Ints:
    """Return for each level the candidate index that maximises the total, indices never falling with level.

    Ties go to the lowest index, so a level without data takes its parent level's threshold.
    """
    depth, width = value.shape
    if not per_level:
        return np.full(depth, int(np.argmax(value.sum(axis=0))))
    total = np.zeros(width)
    back = []
    for row in value:
        total = total + row
        best = np.maximum.accumulate(total)
        fresh = np.concatenate([[True], best[1:] > best[:-1]])
        back.append(np.maximum.accumulate(np.where(fresh, np.arange(width), 0)))
        total = best
    chosen, at = np.empty(depth, dtype=np.int64), width - 1
    for i in reversed(range(depth)):
        at = chosen[i] = back[i][at]
    return chosen


def _dinkelbach(data: _Pairs, candidates: Floats, per_level: bool) -> Ints:
    """Return the indices that maximise micro F1 = 2 TP / (predicted + true)."""
    hits, predicted = _counts(data, candidates)
    true = data.truth_per_row.sum()
    level, ratio = np.arange(data.depth), 0.0
    while True:
        chosen = _best_path(2 * hits - ratio * predicted, per_level)
        tp, p = hits[level, chosen].sum(), predicted[level, chosen].sum()
        better = 2 * tp / max(p + true, 1)
        if better <= ratio + 1e-12:
            return chosen
        ratio = better


def _precision(data: _Pairs, candidates: Floats, floor: float, per_level: bool) -> Ints:
    """Return the indices of the highest recall found with micro precision >= floor, by bisecting the multiplier."""
    hits, predicted = _counts(data, candidates)
    level = np.arange(data.depth)

    def solve(multiplier: float) -> tuple[Ints, float, float]:
        chosen = _best_path(hits + multiplier * (hits - floor * predicted), per_level=True)
        return chosen, hits[level, chosen].sum(), predicted[level, chosen].sum()

    best, best_hits = np.full(data.depth, len(candidates) - 1), 0.0
    together_hits, together = hits.sum(axis=0), predicted.sum(axis=0)
    enough = np.flatnonzero((together > 0) & (together_hits >= floor * together - TOLERANCE))
    if enough.size:  # the multiplier sees only the convex hull: one threshold for all may lie outside it
        one = min(enough.tolist(), key=lambda c: (-together_hits[c], together[c], c))
        best, best_hits = np.full(data.depth, one), float(together_hits[one])
    if not per_level:
        return best
    low, high = 1e-6, 1e6  # bisected on the log scale; recall alone is tried first
    for step in range(50):
        multiplier = (low * high) ** 0.5 if step else 0.0
        chosen, tp, p = solve(multiplier)
        reached = bool(p) and tp >= floor * p - TOLERANCE
        if reached and tp > best_hits:
            best, best_hits = chosen, tp
        if step and reached:
            high = multiplier
        elif step:
            low = multiplier
    return _settle(best, hits, predicted, floor) if best_hits else best


def _settle(chosen: Ints, hits: Floats, predicted: Floats, floor: float) -> Ints:
    """Move single levels while that adds true positives at the wanted precision, or drops only false ones."""
    chosen, level, moved = chosen.copy(), np.arange(len(chosen)), True
    while moved:
        moved = False
        for i in reversed(range(len(chosen))):
            others = level != i
            rest_hits, rest = hits[level, chosen][others].sum(), predicted[level, chosen][others].sum()
            lowest = chosen[i - 1] if i else 0
            highest = chosen[i + 1] if i + 1 < len(chosen) else hits.shape[1] - 1
            options = np.arange(lowest, highest + 1)
            tp, p = hits[i, options], predicted[i, options]
            kept = options[tp + rest_hits >= floor * (p + rest) - TOLERANCE]
            best = min(kept.tolist(), key=lambda c: (-hits[i, c], predicted[i, c], c), default=chosen[i])
            better = (hits[i, best], -predicted[i, best]) > (hits[i, chosen[i]], -predicted[i, chosen[i]])
            if better:
                chosen[i], moved = best, True
    return chosen


def _f1_by_level(data: _Pairs, candidates: Floats) -> Floats:
    """Return (levels, candidates): the sum of node F1 over a level's nodes that have true documents."""
    total = np.zeros((data.depth, len(candidates)))
    bin_of = np.searchsorted(
        candidates.astype(data.score.dtype), data.score, side="right"
    )  # passes every candidate before this
    width = len(candidates) + 1
    for i in range(data.depth):
        here = (data.level == i + 1) & (data.truth_per_column[data.column] > 0)
        nodes, number = np.unique(data.column[here], return_inverse=True)
        shape = (len(nodes), width)
        flat = number * width + bin_of[here]
        size = len(nodes) * width
        everything = np.bincount(flat, minlength=size).reshape(shape)
        right = np.bincount(flat[data.true[here]], minlength=size).reshape(shape)
        # pairs in a bin beyond c pass candidate c: add up from the right
        passed, hit = (np.cumsum(m[:, ::-1], axis=1)[:, ::-1][:, 1:] for m in (everything, right))
        total[i] = (2 * hit / (passed + data.truth_per_column[nodes][:, None])).sum(axis=0)
    return total


def _passing(data: _Pairs, values: Floats) -> NDArray[np.bool_]:
    passes: NDArray[np.bool_] = data.score >= values.astype(data.score.dtype)[data.level - 1]
    return passes


def _micro_f1(data: _Pairs, values: Floats) -> float:
    passes = _passing(data, values)
    return float(2 * (passes & data.true).sum() / max(passes.sum() + data.truth_per_row.sum(), 1))


def _precision_of(data: _Pairs, values: Floats) -> float:
    passes = _passing(data, values)
    return float((passes & data.true).sum() / max(passes.sum(), 1))


def _macro_f1(data: _Pairs, values: Floats) -> float:
    passes = _passing(data, values)
    width = len(data.truth_per_column)
    hit = np.bincount(data.column[passes & data.true], minlength=width)
    predicted = np.bincount(data.column[passes], minlength=width)
    seen = data.truth_per_column > 0
    return float((2 * hit[seen] / (predicted[seen] + data.truth_per_column[seen])).mean()) if seen.any() else 0.0


def _climb(data: _Pairs, candidates: Floats, start: Floats, goal: str, per_level: bool) -> tuple[Floats, float]:
    """Return thresholds no single-level move among the candidates improves, and the goal's value."""
    measure = _example_f1 if goal == "hf_example" else _exact_match
    documents, true = len(data.truth_per_row), data.truth_per_row

    def counts(i: int, threshold: float) -> tuple[Ints, Ints]:
        passes = (data.level == i + 1) & (data.score >= data.score.dtype.type(threshold))
        return (
            np.bincount(data.row[passes & data.true], minlength=documents),
            np.bincount(data.row[passes], minlength=documents),
        )

    options = [(_total(data, counts, np.full(data.depth, c), measure), c) for c in candidates]
    together, best = max(options)
    if not per_level:
        return np.full(data.depth, best), together
    values = start.copy()
    if together > _total(data, counts, start, measure):
        values[:] = best
    parts = [counts(i, values[i]) for i in range(data.depth)]
    hit, predicted = (np.sum([part[k] for part in parts], axis=0) for k in (0, 1))
    achieved, improved = measure(hit, predicted, true), True
    while improved:
        improved = False
        for i in range(data.depth):
            low = values[i - 1] if i else -np.inf
            high = values[i + 1] if i + 1 < data.depth else np.inf
            rest_hit, rest_predicted = hit - parts[i][0], predicted - parts[i][1]
            for threshold in candidates[(candidates >= low) & (candidates <= high)]:
                part = counts(i, threshold)
                value = measure(rest_hit + part[0], rest_predicted + part[1], true)
                if value > achieved + 1e-12:
                    achieved, improved = value, True
                    values[i], parts[i] = threshold, part
            hit, predicted = rest_hit + parts[i][0], rest_predicted + parts[i][1]
    return values, achieved


def _total(
    data: _Pairs,
    counts: Callable[[int, float], tuple[Ints, Ints]],
    values: Floats,
    measure: Callable[[Ints, Ints, Ints], float],
) -> float:
    parts = [counts(i, value) for i, value in enumerate(values)]
    return measure(
        np.sum([part[0] for part in parts], axis=0),
        np.sum([part[1] for part in parts], axis=0),
        data.truth_per_row,
    )


def _example_f1(hit: Ints, predicted: Ints, true: Ints) -> float:
    size = predicted + true
    return float(np.where(size > 0, 2 * hit / np.maximum(size, 1), 1.0).mean())


def _exact_match(hit: Ints, predicted: Ints, true: Ints) -> float:
    return float(((hit == true) & (hit == predicted)).mean())
