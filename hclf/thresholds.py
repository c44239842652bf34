"""Thresholds a level, or a node, tuned on held-out scores for a stated goal, never falling with depth.

For micro hF, macro-F1, costs and a precision of every level the optimum over all non-falling thresholds on the
candidate values is found exactly: these goals are sums over levels (hF after Dinkelbach's, 1967, linearisation), so
one dynamic programme over (level, candidate) solves them. A micro precision or recall that must be held is Lagrange's
linearisation of such a sum, then improved one level at a time. Example hF and exact match are not sums over levels;
they start from the micro-hF optimum and climb one level at a time. For a precision of every node, each node from the
roots down takes the lowest threshold that holds it: no other thresholds find more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.labels import pairs
from hclf.taxonomy import Taxonomy

Search = Literal["exact", "grid"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GRID = np.round(np.arange(0.30, 0.701, 0.05), 2)
"""The field's classic grid: 0.30 to 0.70 in steps of 0.05."""
GOALS = ("hf", "hf_example", "macro_f1", "exact_match", "precision>=P", "recall>=R", "cost:fp=A,fn=B")
CANDIDATES = 1000  # of an exact search: every distinct score if there are fewer, else this many quantiles
CLIMB_CANDIDATES = 60
TOLERANCE = 1e-9  # 0.55 * 20 is more than 11 in floating point
NEVER = 1.01  # above every probability
SUPPORT = 20  # true documents from which on a node has a threshold of its own
NUMBER = r"(?:\d+\.?\d*|\.\d+)"
COSTS = rf"{NUMBER}(?:/{NUMBER})*"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Tuned thresholds.

    Attributes:
        values: one a level, from level 1 down, never falling; 1.01 lets nothing pass.
        goal: what they were tuned for.
        achieved: the goal's value on the held-out documents they were tuned on (optimistic: it was optimised).
        search: exact or grid.
        nodes: one a node, in column order, never falling from parent to child; None: those of the levels.
        expected: the goal's value on documents not tuned on, by `cross_fitted`; None: not asked.
    """

    values: tuple[float, ...]
    goal: str = "hf"
    achieved: float | None = None
    search: str = "exact"
    nodes: tuple[float, ...] | None = None
    expected: float | None = None

    @property
    def array(self) -> Floats:
        """The values as an array (levels,)."""
        return np.array(self.values)

    def by_node(self, taxonomy: Taxonomy) -> Floats:
        """Return the threshold of each column (nodes,): its own, or its level's."""
        if self.nodes is not None:
            return np.array(self.nodes)
        return self.array[taxonomy.levels - 1]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "values": list(self.values),
            "goal": self.goal,
            "achieved": self.achieved,
            "search": self.search,
            "nodes": None if self.nodes is None else list(self.nodes),
            "expected": self.expected,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Thresholds:
        """Build from `to_dict`, also of a version without thresholds of nodes."""
        nodes = data.get("nodes")
        return cls(
            tuple(data["values"]),
            data["goal"],
            data["achieved"],
            data["search"],
            None if nodes is None else tuple(nodes),
            data.get("expected"),
        )


class Goal(NamedTuple):
    """A goal, taken apart.

    Attributes:
        kind: `hf`, `hf_example`, `macro_f1`, `exact_match`, `precision`, `recall` or `cost`.
        floor: the precision or recall to be held.
        scope: whose precision: of everything together (""), of every `level`, or of every `node`.
        false_positive, false_negative: costs, from level 1 down; the last is that of all levels below, too.
    """

    kind: str
    floor: float | None = None
    scope: str = ""
    false_positive: tuple[float, ...] = ()
    false_negative: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The goal as it is written."""
        if self.kind == "cost":
            fp, fn = ("/".join(f"{c:g}" for c in costs) for costs in (self.false_positive, self.false_negative))
            return f"cost:fp={fp},fn={fn}"
        held = "" if self.floor is None else f">={self.floor:g}"
        return f"{self.kind}{held}{self.scope and f' per {self.scope}'}"

    @property
    def lower_is_better(self) -> bool:
        """Whether its value is a cost."""
        return self.kind == "cost"


class _Pairs(NamedTuple):
    """The scored (document, node) pairs, and what is true whether scored or not."""

    row: Ints
    column: Ints
    level: Ints
    score: NDArray[np.floating[Any]]
    true: Bools
    truth_per_row: Ints
    truth_per_column: Ints
    truth_per_level: Ints
    depth: int


def tune(
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    levels: Ints,
    *,
    goal: str = "hf",
    search: Search = "exact",
    per_level: bool = True,
    taxonomy: Taxonomy | None = None,
) -> Thresholds:
    """Return the thresholds that serve a goal best on held-out documents.

    Args:
        true: (documents, nodes) closed label sets.
        scores: (documents, nodes) coherent scores of the decoder's candidates; absent entries can never pass.
        levels: (nodes,), from 1.
        goal: one of

            - `hf` (micro), `hf_example`, `macro_f1` (over nodes with true documents), `exact_match`: the highest.
            - `precision>=0.9`: the most true labels found at that micro precision, and nothing at all if none
              reaches it. `precision>=0.9 per level` holds it on each level, `precision>=0.9 per node` at each node
              that 20 or more documents have; the other nodes of a level share one that holds it for them together.
            - `recall>=0.8`: the highest micro precision at that micro recall; everything if none reaches it.
            - `cost:fp=1,fn=5`: the lowest cost of false and missing labels; `cost:fp=1/2/4,fn=5` has a cost for
              each level from the top, the last one for all below.
        search: `exact` looks at every distinct score (or 1,000 quantiles), `grid` at 0.30, 0.35, …, 0.70.
        per_level: False ties all levels to one threshold; goals per level or node have their own say.
        taxonomy: of the columns; for goals per node.

    Raises:
        UsageError: an unknown goal or search, a precision or recall outside (0, 1], or a goal per node without the
            taxonomy.
    """
    asked = parse_goal(goal)
    if search not in ("exact", "grid"):
        raise UsageError(f"search is exact or grid, not {search!r}")
    if asked.scope == "node" and taxonomy is None:
        raise UsageError(f"the goal {asked.name!r} needs the taxonomy")
    return _tune(_collect(true, scores, levels), asked, search, per_level, taxonomy)


def cross_fitted(
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    levels: Ints,
    *,
    goal: str = "hf",
    search: Search = "exact",
    per_level: bool = True,
    taxonomy: Taxonomy | None = None,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """Return the value of a goal on documents that were not tuned on: what to expect of `tune` on new ones.

    Each part of the documents is answered with thresholds tuned on the other parts, and all answers are measured
    together (nested selection; Varma & Simon, 2006).

    Args:
        true, scores, levels, goal, search, per_level, taxonomy: as in `tune`.
        folds: parts, at least 2; at most one a document.
        seed: of the parts.

    Returns:
        hF, macro-F1, exact match; the micro precision (`per level`: of the worst level; `per node`: on average over
        nodes that are predicted) or recall; the cost of a document. Precision of nothing is 0.

    Raises:
        UsageError: as in `tune`; fewer than 2 documents or folds.
    """
    asked, n = parse_goal(goal), true.shape[0]
    if min(folds, n) < 2:
        raise UsageError(f"cross-fitting takes 2 documents and 2 folds or more, not {n} and {folds}")
    part = np.random.default_rng(seed).permutation(n) % min(folds, n)
    data = _collect(true, scores, levels)
    passes = np.zeros(len(data.row), dtype=bool)
    for fold in range(part.max() + 1):
        found = tune(
            true[part != fold],
            scores[part != fold],
            levels,
            goal=goal,
            search=search,
            per_level=per_level,
            taxonomy=taxonomy,
        )
        here = part[data.row] == fold
        passes[here] = _passing(data, found)[here]
    return _measure(data, passes, asked)


def compare_searches(
    true: csr_matrix[Any], scores: csr_matrix[Any], levels: Ints, *, goal: str = "hf", folds: int = 5, seed: int = 0
) -> list[dict[str, Any]]:
    """Return what better thresholds are worth: one row for each way to find them, measured by `cross_fitted`.

    Args:
        true, scores, levels, goal, folds, seed: as in `cross_fitted`; a goal per node is not asked here.

    Returns:
        Rows `search` ("0.5", "grid", "one", "per level"), `thresholds` (as tuned on all documents), `achieved` on
        those, and `expected` on others. "grid" is the best of 0.30, 0.35, …, 0.70 for each level, "one" the best of
        all scores for all levels together.
    """
    asked, data = parse_goal(goal), _collect(true, scores, levels)
    half = Thresholds((0.5,) * data.depth)
    value = _measure(data, _passing(data, half), asked)
    rows: list[dict[str, Any]] = [
        {"search": "0.5", "thresholds": list(half.values), "achieved": value, "expected": value}
    ]
    ways: dict[str, dict[str, Any]] = {
        "grid": {"search": "grid"},
        "one": {"per_level": False},
        "per level": {},
    }
    for name, options in ways.items():
        found = tune(true, scores, levels, goal=goal, **options)
        expected = cross_fitted(true, scores, levels, goal=goal, folds=folds, seed=seed, **options)
        rows.append(
            {
                "search": name,
                "thresholds": list(found.values),
                "achieved": found.achieved,
                "expected": expected,
            }
        )
    return rows


def parse_goal(goal: str) -> Goal:
    """Return a goal taken apart.

    Raises:
        UsageError: an unknown goal, or a precision or recall outside (0, 1].

    >>> parse_goal("precision>=0.90 per level").name
    'precision>=0.9 per level'
    >>> parse_goal("cost:fp=1/2,fn=5").false_positive
    (1.0, 2.0)
    """
    text = " ".join(goal.split())
    held = re.fullmatch(rf"(precision|recall) ?>= ?({NUMBER})(?: per (level|node))?", text)
    if held and not (held[1] == "recall" and held[3]):
        floor = float(held[2])
        if not 0 < floor <= 1:
            raise UsageError(f"{held[1]} must lie in (0, 1], not {floor}")
        return Goal(held[1], floor, held[3] or "")
    cost = re.fullmatch(rf"cost ?: ?fp ?= ?({COSTS}) ?, ?fn ?= ?({COSTS})", text)
    if cost:
        fp, fn = (tuple(float(number) for number in cost[i].split("/")) for i in (1, 2))
        return Goal("cost", None, "", fp, fn)
    if text not in GOALS[:4]:
        raise UsageError(
            f"unknown goal {goal!r}; choose {', '.join(GOALS[:4])} or precision>=0.9, precision>=0.9 per level, "
            "precision>=0.9 per node, recall>=0.8, cost:fp=1,fn=5"
        )
    return Goal(text)


def _tune(data: _Pairs, goal: Goal, search: Search, per_level: bool, taxonomy: Taxonomy | None) -> Thresholds:
    candidates = _candidates(data.score, search, CANDIDATES)
    if not len(data.score):
        return Thresholds((0.5,) * data.depth, goal.name, None, search)
    if goal.scope == "node" and taxonomy is not None:
        found = _per_node(data, goal, search, taxonomy)
    else:
        chosen = _choose(data, candidates, goal, per_level)
        values = candidates[chosen]
        if goal.kind in ("hf_example", "exact_match"):
            few = _candidates(data.score, search, CLIMB_CANDIDATES)
            values = _climb(data, few, values, goal.kind, per_level)
        found = Thresholds(tuple(values.tolist()), goal.name, None, search)
    return replace(found, achieved=_measure(data, _passing(data, found), goal))


def _choose(data: _Pairs, candidates: Floats, goal: Goal, per_level: bool) -> Ints:
    """Return the index of each level's candidate."""
    floor = goal.floor or 0.0
    if goal.kind == "macro_f1":
        return _best_path(_f1_by_level(data, candidates), per_level)
    hits, predicted = _counts(data, candidates)
    if goal.kind == "cost":
        fp, fn = (_by_level(costs, data.depth)[:, None] for costs in (goal.false_positive, goal.false_negative))
        return _best_path(fn * hits - fp * (predicted - hits), per_level)
    if goal.scope == "level":
        shown = (hits > 0) | (candidates >= NEVER)  # a level whose precision nothing shows stays unanswered
        good = shown & (hits >= floor * predicted - TOLERANCE)
        return _best_path(np.where(good, hits - TOLERANCE * predicted, -1e15), True)
    if goal.kind == "precision":
        return _precision(hits, predicted, floor, per_level)
    if goal.kind == "recall":
        return _recall(hits, predicted, floor * data.truth_per_row.sum(), per_level)
    return _dinkelbach(hits, predicted, data.truth_per_row.sum(), per_level)


def _by_level(costs: tuple[float, ...], depth: int) -> Floats:
    return np.array([costs[min(i, len(costs) - 1)] for i in range(depth)])


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
        np.bincount(levels[true_columns] - 1, minlength=int(levels.max(initial=0))),
        int(levels.max(initial=0)),
    )


def _candidates(score: NDArray[np.floating[Any]], search: Search, most: int) -> Floats:
    """Return ascending thresholds: between neighbouring scores, so that rounding cannot flip one; last NEVER."""
    if search == "grid":
        return np.append(GRID, NEVER)
    distinct = _thinned(score, most)
    # In the scores' own precision, in which they are compared: half-way between neighbours may be the lower one.
    between = (distinct[1:] + distinct[:-1]) / 2
    between = np.where(between > distinct[:-1], between, distinct[1:])
    below = distinct[:1] / 2  # where nothing false was seen, new true ones may score a little less than these
    return np.concatenate([below, between, [NEVER]]).astype(np.float64)


def _thinned(score: NDArray[np.floating[Any]], most: int) -> NDArray[np.floating[Any]]:
    """Return the distinct scores, ascending, or so many quantiles of them."""
    distinct = np.unique(score)
    if len(distinct) <= most:
        return distinct
    return np.unique(np.quantile(distinct, np.linspace(0, 1, most), method="nearest"))


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


def _dinkelbach(hits: Floats, predicted: Floats, true: int, per_level: bool) -> Ints:
    """Return the indices that maximise micro F1 = 2 TP / (predicted + true)."""
    level, ratio = np.arange(len(hits)), 0.0
    while True:
        chosen = _best_path(2 * hits - ratio * predicted, per_level)
        tp, p = hits[level, chosen].sum(), predicted[level, chosen].sum()
        better = 2 * tp / max(p + true, 1)
        if better <= ratio + 1e-12:
            return chosen
        ratio = better


def _recall(hits: Floats, predicted: Floats, least: float, per_level: bool) -> Ints:
    """Return the indices of the highest micro precision found with at least so many true positives.

    Prices of a predicted label are bisected on a log scale; each has a path of most true positives less the price.
    """
    depth = len(hits)
    level = np.arange(depth)
    least = min(least, hits[:, 0].sum()) - TOLERANCE
    together, tried = hits.sum(axis=0), np.full(depth, 0)

    def precision(chosen: Ints) -> float:
        return float(hits[level, chosen].sum() / max(predicted[level, chosen].sum(), 1))

    enough = np.flatnonzero(together >= least)
    options = [tried, *(np.full(depth, c) for c in enough.tolist())]
    best = max(options, key=lambda chosen: (precision(chosen), hits[level, chosen].sum()))
    if not per_level:
        return best
    low, high = 1e-6, 1.0
    for _ in range(50):
        price = (low * high) ** 0.5
        chosen = _best_path(hits - price * predicted, per_level=True)
        if hits[level, chosen].sum() >= least:
            low = price
            if precision(chosen) > precision(best):
                best = chosen
        else:
            high = price
    return _settle_recall(best, hits, predicted, least)


def _settle_recall(chosen: Ints, hits: Floats, predicted: Floats, least: float) -> Ints:
    """Move single levels while that raises the precision and leaves enough true positives."""
    chosen, level, moved = chosen.copy(), np.arange(len(chosen)), True
    while moved:
        moved = False
        for i in range(len(chosen)):
            others = level != i
            rest_hits, rest = hits[level, chosen][others].sum(), predicted[level, chosen][others].sum()
            options = np.arange(
                chosen[i - 1] if i else 0, (chosen[i + 1] if i + 1 < len(chosen) else hits.shape[1] - 1) + 1
            )
            tp, p = rest_hits + hits[i, options], rest + predicted[i, options]
            value = np.where(tp >= least, tp / np.maximum(p, 1), -1.0)
            best = int(np.argmax(value))
            if value[best] > value[chosen[i] - options[0]] + 1e-12:
                chosen[i], moved = options[best], True
    return chosen


def _precision(hits: Floats, predicted: Floats, floor: float, per_level: bool) -> Ints:
    """Return the indices of the highest recall found with micro precision >= floor, by bisecting the multiplier."""
    depth, width = hits.shape
    level = np.arange(depth)

    def solve(multiplier: float) -> tuple[Ints, float, float]:
        chosen = _best_path(hits + multiplier * (hits - floor * predicted), per_level=True)
        return chosen, hits[level, chosen].sum(), predicted[level, chosen].sum()

    best, best_hits = np.full(depth, width - 1), 0.0
    together_hits, together = hits.sum(axis=0), predicted.sum(axis=0)
    enough = np.flatnonzero((together > 0) & (together_hits >= floor * together - TOLERANCE))
    if enough.size:  # the multiplier sees only the convex hull: one threshold for all may lie outside it
        one = min(enough.tolist(), key=lambda c: (-together_hits[c], together[c], c))
        best, best_hits = np.full(depth, one), float(together_hits[one])
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


# -- nodes -----------------------------------------------------------------------------------------------------


def _per_node(data: _Pairs, goal: Goal, search: Search, taxonomy: Taxonomy) -> Thresholds:
    """Return for each node of enough support the lowest threshold, not below its parents', that holds a precision.

    So every node finds the most, itself and for those below it. Then, from the leaves up, thresholds rise as far as
    that loses no true label. Nodes of little support have their level's, tuned on all such nodes together, or on all
    nodes of a level where those have no scores.
    """
    floor, nodes = goal.floor or 0.0, len(taxonomy)
    own = data.truth_per_column >= SUPPORT
    few = _of_pairs(data, ~own[data.column])
    shared = np.array(_tune(data, goal._replace(scope="level"), search, True, None).values)
    if len(few.score):
        seen = np.bincount(few.level - 1, minlength=data.depth) > 0
        shared[seen] = np.array(_tune(few, goal._replace(scope="level"), search, True, None).values)[seen]
        shared = np.maximum.accumulate(shared)
    order = np.argsort(data.column, kind="stable")
    score, true = data.score[order], data.true[order]
    starts = np.searchsorted(data.column[order], np.arange(nodes + 1))
    found = np.zeros(nodes)
    lowest = float(GRID[0]) if search == "grid" else float(data.score.min())
    for j in range(nodes):
        above = float(found[taxonomy.parents.of(j)].max(initial=lowest))
        found[j] = max(above, shared[taxonomy.levels[j] - 1])
        if own[j]:
            here = slice(starts[j], starts[j + 1])
            values = np.maximum(_just_above(score[here], search), above)
            predicted, hits = _at_least(score[here], values), _at_least(score[here][true[here]], values)
            good = (hits >= floor * predicted - TOLERANCE) & ((hits > 0) | (values >= NEVER))
            found[j] = values[np.argmax(good)]
    for j in np.flatnonzero(own & (found < NEVER))[::-1].tolist():
        here = slice(starts[j], starts[j + 1])
        below = float(found[taxonomy.children.of(j)].min(initial=NEVER))
        values = _candidates(score[here], search, CANDIDATES)
        values = np.concatenate([found[j : j + 1], values[(values >= found[j]) & (values <= below)]])
        predicted, hits = _at_least(score[here], values), _at_least(score[here][true[here]], values)
        same = np.flatnonzero(hits == hits[0])
        found[j] = values[same[same > 0][np.argmin(predicted[same[same > 0]])]] if len(same) > 1 else found[j]
    return Thresholds(tuple(shared.tolist()), goal.name, None, search, tuple(found.tolist()))


def _just_above(score: NDArray[np.floating[Any]], search: Search) -> Floats:
    """Return ascending thresholds, each the lowest that excludes one score more; first 0, last NEVER."""
    if search == "grid":
        return np.append(GRID, NEVER)
    values = _thinned(score, CANDIDATES)
    return np.concatenate([[0.0], np.nextafter(values, values.dtype.type(2))[:-1], [NEVER]])


def _of_pairs(data: _Pairs, keep: Bools) -> _Pairs:
    return data._replace(
        row=data.row[keep],
        column=data.column[keep],
        level=data.level[keep],
        score=data.score[keep],
        true=data.true[keep],
    )


# -- measures --------------------------------------------------------------------------------------------------


def _passing(data: _Pairs, found: Thresholds) -> Bools:
    limits = found.array[data.level - 1] if found.nodes is None else np.array(found.nodes)[data.column]
    passes: Bools = data.score >= limits.astype(data.score.dtype)
    return passes


def _measure(data: _Pairs, passes: Bools, goal: Goal) -> float:
    """Return a goal's value when these pairs pass."""
    hits, predicted, true = (passes & data.true).sum(), passes.sum(), data.truth_per_row.sum()
    if goal.kind == "hf":
        return float(2 * hits / max(predicted + true, 1))
    if goal.kind == "recall":
        return float(hits / max(true, 1))
    if goal.kind == "macro_f1":
        return _macro_f1(data, passes)
    if goal.kind == "cost":
        return _cost(data, passes, goal)
    if goal.kind == "precision":
        return _precision_of(data, passes, goal.scope)
    rows = len(data.truth_per_row)
    measure = _example_f1 if goal.kind == "hf_example" else _exact_match
    hit, answered = (np.bincount(data.row[p], minlength=rows) for p in (passes & data.true, passes))
    return measure(hit, answered, data.truth_per_row)


def _precision_of(data: _Pairs, passes: Bools, scope: str) -> float:
    """Return micro precision, the lowest of a level, or the mean over nodes; of what is predicted."""
    group = {"level": data.level, "node": data.column}.get(scope, np.zeros_like(data.level))
    predicted = np.bincount(group[passes], minlength=1)
    hits = np.bincount(group[passes & data.true], minlength=len(predicted))
    precision = hits[predicted > 0] / predicted[predicted > 0]
    if not precision.size:
        return 0.0
    return float(precision.min() if scope == "level" else precision.mean())


def _cost(data: _Pairs, passes: Bools, goal: Goal) -> float:
    """Return the cost of a document."""
    hits, predicted = (np.bincount(data.level[p] - 1, minlength=data.depth) for p in (passes & data.true, passes))
    wrong = _by_level(goal.false_positive, data.depth) @ (predicted - hits)
    missing = _by_level(goal.false_negative, data.depth) @ (data.truth_per_level - hits)
    return float((wrong + missing) / max(len(data.truth_per_row), 1))


def _macro_f1(data: _Pairs, passes: Bools) -> float:
    width = len(data.truth_per_column)
    hit = np.bincount(data.column[passes & data.true], minlength=width)
    predicted = np.bincount(data.column[passes], minlength=width)
    seen = data.truth_per_column > 0
    return float((2 * hit[seen] / (predicted[seen] + data.truth_per_column[seen])).mean()) if seen.any() else 0.0


def _climb(data: _Pairs, candidates: Floats, start: Floats, goal: str, per_level: bool) -> Floats:
    """Return thresholds no single-level move among the candidates improves."""
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
        return np.full(data.depth, best)
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
    return values


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
