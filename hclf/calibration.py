"""Calibration of coherent scores: of all pairs of documents and nodes that score .7, seven in ten are true.

`hclf.fusion` makes probabilities of a scorer's channels, but coherence comes after it, and lifting every parent to
its best descendant moves what it had fitted. So the last word is a map of coherent scores to calibrated ones, learned
from held-out documents:

    scores -> one shift a node -> coherent -> one map a level -> coherent

- The *shift* of a node's log-odds is shrunk towards its level: its prior is normal, as wide as held-out log loss
  likes, so a node with few documents stays with its level and one with many goes its own way.
- The *map* of a level is monotone, of the family (`METHODS`) with the least held-out log loss. It is fitted on
  shifted and coherent scores of documents that the shifts were not learned from, so it repairs what both have moved.
- *Coherence* is restored in the way (`COHERENCE`) that held-out log loss prefers.

Scores below a floor are not stored and nothing is fitted to them: what is learned is the probability *given* a score
of at least the floor, which leaving out the others does not bias. Below the floor scores shrink in proportion, from
the calibrated floor down to 0. Only isotonic maps look at the pairs left out, as one block below all others, so that
they do not start beneath its rate of truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from hclf.errors import UsageError
from hclf.labels import entries, pairs
from hclf.taxonomy import Taxonomy

Method = Literal["identity", "temperature", "platt", "beta", "isotonic"]
Way = Literal["cap", "lift", "mean"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

METHODS: tuple[Method, ...] = get_args(Method)
"""Maps of a level, simplest first: among equals the first is taken.

With s the score and x = ln(s / (1 - s)) its log-odds, the log-odds of the calibrated score are

- identity: x
- temperature: a x (Guo, Pleiss, Sun & Weinberger, 2017, with a = 1 / T)
- platt: a x + c (Platt, 1999, on log-odds)
- beta: a ln s - b ln(1 - s) + c (Kull, Silva Filho & Flach, 2017)
- isotonic: non-decreasing, linear between knots (Zadrozny & Elkan, 2002)

with a, b >= 0, so that every map is monotone.
"""
COHERENCE: tuple[Way, ...] = get_args(Way)
"""Ways back to coherent scores: `cap` lowers a child to its parents, `lift` raises a parent to its children, `mean`
takes the mean of the two."""
FLOOR = 1e-3  # what `fusion.sparse_scores` leaves out
MIN_POSITIVES = 30  # a level with fewer true pairs that are scored takes the map of all levels together
FOLDS = 5
WIDTHS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)  # of a node's prior, in log-odds; 0: all nodes as their level
EDGE = 1e-8  # scores this near 0 or 1 count as this far from it
MOST_STEPS = 50  # of Newton's method; ten do as a rule


@dataclass(frozen=True, slots=True)
class LevelMap:
    """A monotone map from scores to log-odds.

    Attributes:
        method: one of `METHODS`.
        values: its weights a, b, c as far as it has them; of an isotonic map the log-odds at the knots.
        knots: log-odds of the scores at which an isotonic map bends.
    """

    method: Method = "identity"
    values: tuple[float, ...] = (1.0,)
    knots: tuple[float, ...] = ()

    def log_odds(self, scores: NDArray[Any]) -> Floats:
        """Return the calibrated log-odds of scores of any shape."""
        if self.method == "isotonic":
            bent: Floats = np.interp(_log_odds(scores), self.knots, self.values)
            return bent
        terms = zip(self.values, _terms(self.method, scores), strict=True)
        return sum((weight * term for weight, term in terms), np.zeros(np.shape(scores)))


@dataclass(frozen=True, slots=True)
class Shifts:
    """What nodes' log-odds x become before the maps: slope x + constant of the level + offset of the node.

    Attributes:
        slopes, constants: (levels,); slopes are not negative.
        offsets: (nodes,).
    """

    slopes: Floats
    constants: Floats
    offsets: Floats

    @classmethod
    def none(cls, taxonomy: Taxonomy) -> Self:
        """Return shifts that leave every score as it is."""
        return cls(np.ones(taxonomy.depth), np.zeros(taxonomy.depth), np.zeros(len(taxonomy)))

    def log_odds(self, scores: NDArray[Any], columns: Ints, levels: Ints) -> Floats:
        """Return the shifted log-odds of scores (pairs,) of the given columns and their levels."""
        return self.slopes[levels - 1] * _log_odds(scores) + (self.constants[levels - 1] + self.offsets[columns])


class LevelCalibration:
    """Calibrated, coherent scores from coherent ones.

    Learn it from held-out documents with `fit`, then `apply` it to the coherent scores of any document. It looks at
    nothing but scores, so it fits behind every scorer.

    Attributes:
        taxonomy: of the columns.
        maps: one `LevelMap` a level, from level 1 down.
        shifts: what every node's log-odds go through first.
        coherence: one of `COHERENCE`.
        floor: the score from which on all this holds.
        report: plain values: what was chosen and why. `documents`; `coherence` and its `losses`; and under `levels`
            one row a level: `level`, `method`, `shared` (too few true pairs: the map of all levels together),
            `losses` (by method: cross-validated, in nats a scored pair), `width` of its nodes' prior and
            `width_losses`, `pairs` and `positives` scored, and the `absent` pairs below the floor with those of them
            that are true, `absent_positives`, which no map can find.

    >>> t = Taxonomy(["food", "rice"], [("food", "rice")])
    >>> LevelCalibration(t).apply(np.array([[0.75, 0.5]], dtype=np.float32)).tolist()
    [[0.75, 0.5]]
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        maps: Sequence[LevelMap] | None = None,
        shifts: Shifts | None = None,
        coherence: Way = "cap",
        floor: float = FLOOR,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        self.taxonomy = taxonomy
        self.maps = (LevelMap(),) * taxonomy.depth if maps is None else tuple(maps)
        self.shifts = Shifts.none(taxonomy) if shifts is None else shifts
        self.coherence, self.floor = coherence, floor
        self.report = dict(report or {})
        self._below = self._factors_below_floor()

    @classmethod
    def fit(
        cls,
        taxonomy: Taxonomy,
        true: csr_matrix[Any],
        scores: csr_matrix[Any],
        *,
        unknown: csr_matrix[Any] | None = None,
        method: Method | Literal["auto"] = "auto",
        per_node: bool = True,
        floor: float = FLOOR,
        seed: int = 0,
    ) -> Self:
        """Learn from held-out documents: those the scorer did not learn from.

        Args:
            taxonomy: of the columns.
            true: (documents, nodes) closed label matrix.
            scores: (documents, nodes) coherent scores of all nodes, without those below `floor`, as
                `hclf.fusion.sparse_scores` gives them. Not only a decoder's candidates: those are a biased choice.
            unknown: (documents, nodes) pairs the truth says nothing of; see `hclf.labels.partial_depth`.
            method: one of `METHODS` for every level, or `auto`: for each level that with the least log loss.
            per_node: False leaves every node with its level.
            floor: scores below it count as absent.
            seed: of the folds.

        Raises:
            UsageError: an unknown method, shapes that do not fit, or scores that are not coherent.
        """
        return cls.cross_fit(
            taxonomy, true, scores, unknown=unknown, method=method, per_node=per_node, floor=floor, seed=seed
        )[0]

    @classmethod
    def cross_fit(
        cls,
        taxonomy: Taxonomy,
        true: csr_matrix[Any],
        scores: csr_matrix[Any],
        *,
        unknown: csr_matrix[Any] | None = None,
        method: Method | Literal["auto"] = "auto",
        per_node: bool = True,
        floor: float = FLOOR,
        seed: int = 0,
    ) -> tuple[Self, csr_matrix[Any]]:
        """Return what `fit` does, and the documents' own calibrated scores, each learned without that document.

        They are what new documents will look like: tune thresholds on them. Arguments and errors as `fit`.

        Returns:
            The calibration, and (documents, nodes) float32 CSR: `scores` from the floor up, calibrated.
        """
        if method != "auto" and method not in METHODS:
            raise UsageError(f"unknown calibration {method!r}; choose auto, {', '.join(METHODS)}")
        data = _held_out(taxonomy, true, scores, unknown, floor)
        learned = _Fit(taxonomy, data, METHODS if method == "auto" else (method,), per_node, seed)
        fitted = cls(taxonomy, learned.maps, learned.shifts, learned.coherence, floor, learned.report())
        starts = np.searchsorted(data.row, np.arange(data.documents + 1))
        return fitted, csr_matrix((learned.out_of_fold, data.column, starts), shape=true.shape)

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated scores for coherent ones; rows do not influence each other.

        Args:
            scores: (documents, nodes) coherent, in [0, 1]; not changed.

        Returns:
            (documents, nodes) float32 in [0, 1], coherent: no child above any of its parents. A node's scores keep
            their order, but for ties, wherever coherence did not have to step in.

        Raises:
            UsageError: another number of columns, or scores that are not coherent.
        """
        if scores.ndim != 2 or scores.shape[1] != len(self.taxonomy):
            raise UsageError(f"scores have shape {scores.shape}, the taxonomy has {len(self.taxonomy)} nodes")
        out: NDArray[np.float32] = np.asarray(scores, dtype=np.float32) * self._below
        rows, columns = np.nonzero(scores >= np.float32(self.floor))
        out[rows, columns] = self._calibrated(rows, columns, scores[rows, columns], self.coherence)
        return out

    def apply_sparse(self, scores: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return what `apply` does for CSR scores, indices sorted; what is absent stays absent."""
        rows, columns = pairs(scores)
        data = scores.data.astype(np.float32) * self._below[columns]
        kept = scores.data >= np.float32(self.floor)
        data[kept] = self._calibrated(rows[kept], columns[kept], scores.data[kept], self.coherence)
        return csr_matrix((data, scores.indices.copy(), scores.indptr.copy()), shape=scores.shape)

    def _calibrated(self, rows: Ints, columns: Ints, scores: NDArray[Any], way: Way) -> NDArray[np.float32]:
        edges = edges_between(self.taxonomy, rows, columns)
        levels = self.taxonomy.levels[columns]
        shifted = coherent_pairs(edges, _probabilities(self.shifts.log_odds(scores, columns, levels)), way)
        return coherent_pairs(edges, _probabilities(_by_level(self.maps, shifted, levels)), way)

    def _factors_below_floor(self) -> NDArray[np.float32]:
        """Return (nodes,) what a score below the floor is multiplied by.

        That makes of the floor what it would be calibrated to, if all nodes scored just that. Every step to there is
        monotone and `cap` the lowest way, so no score from the floor up falls below, and the products of coherent
        scores are coherent. Rounded down, lest a product be rounded up past the calibrated floor.
        """
        every, floor = np.arange(len(self.taxonomy)), np.float32(self.floor)
        at_floor = self._calibrated(np.zeros_like(every), every, np.full(len(every), floor), "cap")
        factors: NDArray[np.float32] = np.nextafter(at_floor / floor, np.float32(0))
        return np.where(at_floor == floor, np.float32(1), factors)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; floats survive the round trip bit for bit."""
        moved = np.flatnonzero(self.shifts.offsets)
        return {
            "floor": self.floor,
            "coherence": self.coherence,
            "maps": [{"method": m.method, "values": list(m.values), "knots": list(m.knots)} for m in self.maps],
            "slopes": self.shifts.slopes.tolist(),
            "constants": self.shifts.constants.tolist(),
            "offsets": {"columns": moved.tolist(), "values": self.shifts.offsets[moved].tolist()},
            "report": self.report,
        }

    @classmethod
    def from_dict(cls, taxonomy: Taxonomy, data: Mapping[str, Any]) -> Self:
        """Build from `to_dict`, for a taxonomy of the same nodes and edges."""
        maps = [LevelMap(m["method"], tuple(m["values"]), tuple(m["knots"])) for m in data["maps"]]
        offsets = np.zeros(len(taxonomy))
        offsets[np.array(data["offsets"]["columns"], dtype=np.int64)] = data["offsets"]["values"]
        slopes, constants = (np.array(data[key], dtype=np.float64) for key in ("slopes", "constants"))
        return cls(
            taxonomy, maps, Shifts(slopes, constants, offsets), data["coherence"], data["floor"], data["report"]
        )


# -- what is learned from ----------------------------------------------------------------------------------------


class _HeldOut(NamedTuple):
    """The scored pairs of held-out documents, sorted by row and column, and what is known of those left out.

    Attributes:
        row, column, level, score, truth: (pairs,).
        known: (pairs,) whether the truth speaks of it.
        absent, absent_true: (levels,) pairs the truth speaks of that are not scored, and how many of them are true.
        documents: their number.
    """

    row: Ints
    column: Ints
    level: Ints
    score: Floats
    truth: Bools
    known: Bools
    absent: Ints
    absent_true: Ints
    documents: int


def _held_out(
    taxonomy: Taxonomy,
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    unknown: csr_matrix[Any] | None,
    floor: float,
) -> _HeldOut:
    for what, matrix in (("true labels", true), ("scores", scores), ("unknown pairs", unknown)):
        if matrix is not None and matrix.shape != (true.shape[0], len(taxonomy)):
            raise UsageError(f"{what} have shape {matrix.shape}; expected {(true.shape[0], len(taxonomy))}")
    kept = scores.data >= np.float32(floor)
    rows, columns = (index[kept] for index in pairs(scores))
    truth = entries(true, rows, columns)
    known = np.ones(len(rows), dtype=bool) if unknown is None else truth | ~entries(unknown, rows, columns)

    def of_levels(columns: NDArray[Any]) -> Ints:
        counts: Ints = np.bincount(taxonomy.levels[columns] - 1, minlength=taxonomy.depth)
        return counts

    spoken = of_levels(np.arange(len(taxonomy))) * true.shape[0]
    if unknown is not None:
        spoken -= of_levels(unknown.indices)
    return _HeldOut(
        rows,
        columns,
        taxonomy.levels[columns],
        scores.data[kept].astype(np.float64),
        truth,
        known,
        spoken - of_levels(columns[known]),
        of_levels(true.indices) - of_levels(columns[truth]),
        true.shape[0],
    )


# -- fitting -----------------------------------------------------------------------------------------------------


class _Fit:
    """What `LevelCalibration.cross_fit` chooses and learns, step by step; every choice by held-out log loss."""

    def __init__(
        self, taxonomy: Taxonomy, data: _HeldOut, methods: Sequence[Method], per_node: bool, seed: int
    ) -> None:
        self.taxonomy, self.data, self.depth = taxonomy, data, taxonomy.depth
        self.fold = (np.random.default_rng(seed).permutation(data.documents) % FOLDS)[data.row]
        self.every = np.ones(len(data.row), dtype=bool)
        self.positives = np.bincount(data.level[data.truth] - 1, minlength=self.depth)
        self.shared = self.positives < MIN_POSITIVES
        enough = self.positives.sum() >= MIN_POSITIVES and data.documents >= FOLDS
        edges = edges_between(taxonomy, data.row, data.column)

        self.width_losses: list[dict[str, float]] = [{} for _ in range(self.depth)]
        self.widths = self._choose_widths() if enough and per_node else np.zeros(self.depth)
        self.shifts, self.shifted = self._shift()
        self._choose_coherence(edges)

        self.losses: list[dict[str, float]] = [{} for _ in range(self.depth)]
        chosen = self._choose_methods(methods) if enough else [METHODS[0]] * self.depth
        self.maps = self._maps(chosen, self.every)
        self.out_of_fold = coherent_pairs(edges, self._mapped(chosen), self.coherence)

    # -- shifts of nodes

    def _choose_widths(self) -> Floats:
        """Return for each level the width of its nodes' prior; 0 where the level has too few true pairs."""
        widths = np.zeros(self.depth)
        for level in (np.flatnonzero(~self.shared) + 1).tolist():
            here = np.flatnonzero((self.data.level == level) & self.data.known)
            losses = {width: self._loss_of_width(width, here) for width in WIDTHS}
            widths[level - 1] = min(losses, key=losses.__getitem__)
            self.width_losses[level - 1] = {str(width): loss for width, loss in losses.items()}
        return widths

    def _loss_of_width(self, width: float, here: Ints) -> float:
        """Return the held-out log loss of pairs of one level, per pair."""
        total = 0.0
        for k in range(FOLDS):
            learn, test = here[self.fold[here] != k], here[self.fold[here] == k]
            slope, constant, offsets = self._shift_of_level(width, learn)
            z = slope * _log_odds(self.data.score[test]) + constant + offsets[self.data.column[test]]
            total += float(_losses(z, self.data.truth[test]).sum())
        return total / max(len(here), 1)

    def _shift_of_level(self, width: float, learn: Ints) -> tuple[float, float, Floats]:
        data, nodes = self.data, len(self.taxonomy)
        terms = _terms("platt", data.score[learn])
        columns, at = np.unique(data.column[learn], return_inverse=True)
        weights, found = _least_loss(terms, data.truth[learn], np.array([1.0, 0.0]), at, width, len(columns))
        offsets = np.zeros(nodes)
        offsets[columns] = np.round(found, 3)  # more digits are noise, and fill bundles
        return float(weights[0]), float(weights[1]), offsets

    def _shifts_of(self, part: Bools) -> Shifts:
        """Learn the shifts from a part of the pairs; levels of width 0 are left as they are."""
        shifts = Shifts.none(self.taxonomy)
        for i in np.flatnonzero(self.widths).tolist():
            learn = np.flatnonzero(part & self.data.known & (self.data.level == i + 1))
            slope, constant, offsets = self._shift_of_level(float(self.widths[i]), learn)
            shifts.slopes[i], shifts.constants[i] = slope, constant
            np.copyto(shifts.offsets, offsets, where=self.taxonomy.levels == i + 1)
        return shifts

    def _shift(self) -> tuple[Shifts, NDArray[np.float32]]:
        """Return the shifts learned from everything, and each pair's score shifted without its document."""
        data = self.data
        z = np.zeros(len(data.row))
        for k in range(FOLDS):
            test = self.fold == k
            of_fold = self._shifts_of(~test)
            z[test] = of_fold.log_odds(data.score[test], data.column[test], data.level[test])
        return self._shifts_of(self.every), _probabilities(z)

    def _choose_coherence(self, edges: PairEdges) -> None:
        """Choose the way back to coherent scores, and go it."""
        results = {way: coherent_pairs(edges, self.shifted, way) for way in COHERENCE}
        self.ways = {way: self._loss(_log_odds(result)) for way, result in results.items()}
        self.coherence: Way = min(COHERENCE, key=self.ways.__getitem__)
        self.shifted = results[self.coherence]

    def _loss(self, log_odds: Floats) -> float:
        known = self.data.known
        return float(_losses(log_odds[known], self.data.truth[known]).sum() / max(int(known.sum()), 1))

    # -- maps of levels

    def _choose_methods(self, methods: Sequence[Method]) -> list[Method]:
        """Return the method of each level; a level with too few true pairs takes that of all levels together."""
        own = [0 if shared else level for level, shared in enumerate(self.shared, start=1)]
        losses = {level: {m: self._loss_of_method(level, m) for m in methods} for level in sorted(set(own))}
        self.losses = [{str(m): loss for m, loss in losses[level].items()} for level in own]
        return [min(losses[level], key=losses[level].__getitem__) for level in own]

    def _loss_of_method(self, level: int, method: Method) -> float:
        here = self._of_level(level) & self.data.known
        total = 0.0
        for k in range(FOLDS):
            test = here & (self.fold == k)
            z = self._map(level, method, self.fold != k).log_odds(self.shifted[test])
            total += float(_losses(z, self.data.truth[test]).sum())
        return total / max(int(here.sum()), 1)

    def _maps(self, methods: Sequence[Method], part: Bools) -> list[LevelMap]:
        """Learn the maps of all levels from a part of the pairs."""
        own = [0 if shared else level for level, shared in enumerate(self.shared, start=1)]
        keys = list(zip(own, methods, strict=True))
        fitted = {key: self._map(*key, part) for key in dict.fromkeys(keys)}
        return [fitted[key] for key in keys]

    def _map(self, level: int, method: Method, part: Bools) -> LevelMap:
        """Learn one map from the known pairs of one level, or of all for level 0."""
        here = part & self.data.known & self._of_level(level)
        levels = slice(level - 1, level) if level else slice(None)
        absent = int(self.data.absent[levels].sum()), int(self.data.absent_true[levels].sum())
        return fit_map(method, self.shifted[here], self.data.truth[here], absent)

    def _of_level(self, level: int) -> Bools:
        return self.data.level == level if level else self.every

    def _mapped(self, methods: Sequence[Method]) -> NDArray[np.float32]:
        """Return each pair's score, mapped without its document."""
        z = np.zeros(len(self.data.row))
        for k in range(FOLDS):
            test = self.fold == k
            z[test] = _by_level(self._maps(methods, ~test), self.shifted[test], self.data.level[test])
        return _probabilities(z)

    def report(self) -> dict[str, Any]:
        """Return what was chosen and why, as plain values."""
        data = self.data
        scored = np.bincount(data.level[data.known] - 1, minlength=self.depth)
        rows = [
            {
                "level": i + 1,
                "method": self.maps[i].method,
                "shared": bool(self.shared[i]),
                "losses": self.losses[i],
                "width": float(self.widths[i]),
                "width_losses": self.width_losses[i],
                "pairs": int(scored[i]),
                "positives": int(self.positives[i]),
                "absent": int(data.absent[i]),
                "absent_positives": int(data.absent_true[i]),
            }
            for i in range(self.depth)
        ]
        return {
            "documents": data.documents,
            "coherence": self.coherence,
            "losses": {str(way): loss for way, loss in self.ways.items()},
            "levels": rows,
        }


def fit_map(method: Method, scores: NDArray[Any], truth: Bools, absent: tuple[int, int] = (0, 0)) -> LevelMap:
    """Return the map of least log loss.

    Args:
        method: one of `METHODS`.
        scores, truth: (pairs,).
        absent: pairs that score too little to be among them, and how many of those are true; for isotonic maps.
    """
    if method == "identity" or not len(scores):
        return LevelMap()
    if method == "isotonic":
        return _isotonic(scores, truth, absent)
    weights, _ = _least_loss(_terms(method, scores), truth, _IDENTITY[method])
    return LevelMap(method, tuple(weights.tolist()))


_IDENTITY: dict[Method, Floats] = {
    "temperature": np.array([1.0]),
    "platt": np.array([1.0, 0.0]),
    "beta": np.array([1.0, 1.0, 0.0]),
}


def _terms(method: Method, scores: NDArray[Any]) -> list[Floats]:
    """Return the terms that the weights of a map are multiplied by."""
    if method == "beta":
        clipped = _clipped(scores)
        return [np.log(clipped), -np.log1p(-clipped), np.ones(clipped.shape)]
    x = _log_odds(scores)
    return [x, np.ones(x.shape)] if method == "platt" else [x]


def _isotonic(scores: NDArray[Any], truth: Bools, absent: tuple[int, int]) -> LevelMap:
    """Return the most likely non-decreasing map, kept off 0 and 1 by one pair in all."""
    x, y = _log_odds(scores), truth.astype(np.float64)
    weight = np.ones(len(x))
    if absent[0]:
        x, y = np.append(x, x.min() - 1), np.append(y, absent[1] / absent[0])
        weight = np.append(weight, absent[0])
    least = 1 / (len(scores) + 2)
    found = IsotonicRegression(y_min=least, y_max=1 - least).fit(x, y, weight)
    return LevelMap("isotonic", tuple(logit(found.y_thresholds_).tolist()), tuple(found.X_thresholds_.tolist()))


def _least_loss(
    terms: Sequence[Floats],
    truth: Bools,
    identity: Floats,
    group: Ints | None = None,
    width: float = 0,
    groups: int = 0,
) -> tuple[Floats, Floats]:
    """Return the weights of least log loss, slopes not below 0, and with groups an offset for each.

    Args:
        terms: each (pairs,).
        truth: (pairs,).
        identity: (terms,) weights that leave scores as they are, 0 for the constant term. A ridge of one pair pulls
            towards them: it keeps separable data finite.
        group: (pairs,) of 0 to `groups` - 1.
        width: standard deviation of the offsets' normal prior of mean 0; with 0 there are no offsets.
        groups: their number.
    """
    free = np.ones(len(terms), dtype=bool)
    while True:
        weights = np.zeros(len(terms))
        chosen = [term for term, is_free in zip(terms, free, strict=True) if is_free]
        if not chosen:
            return weights, np.zeros(groups)
        weights[free], offsets = _newton(chosen, truth, identity[free], group, width, groups)
        below = np.where(identity > 0, weights, 0.0)
        if not (below < 0).any():
            return weights, offsets
        free[below.argmin()] = False


def _newton(
    terms: Sequence[Floats], truth: Bools, centre: Floats, group: Ints | None, width: float, groups: int
) -> tuple[Floats, Floats]:
    """Minimise the log loss by Newton's method; offsets are eliminated from each step (Schur complement)."""
    has_offsets = group is not None and width > 0
    at: Any = group if has_offsets else np.zeros(0, dtype=np.int64)
    precision = 1 / width**2 if has_offsets else 1.0

    def by_group(values: Floats) -> Floats:
        sums = np.bincount(at, weights=values if has_offsets else values[:0], minlength=groups)
        return sums.astype(np.float64)

    def objective(w: Floats, b: Floats) -> tuple[float, Floats]:
        z = sum((k * term for k, term in zip(w, terms, strict=True)), b[at] if has_offsets else np.zeros(len(truth)))
        return float(_losses(z, truth).sum() + (((w - centre) ** 2).sum() + precision * (b**2).sum()) / 2), z

    w, b = centre.copy(), np.zeros(groups)
    value, z = objective(w, b)
    for _ in range(MOST_STEPS):
        p = expit(z)
        error, curve = p - truth, p * (1 - p)
        curved = [curve * term for term in terms]
        slope_w = np.array([(error * term).sum() for term in terms]) + w - centre
        slope_b = by_group(error) + precision * b
        across = np.array([by_group(c) for c in curved])
        own = by_group(curve) + precision
        within = np.array([[(c * term).sum() for term in terms] for c in curved]) + np.eye(len(w))
        reduced = within - (across / own) @ across.T
        step_w = np.linalg.solve(reduced, slope_w - (across / own) @ slope_b)
        step_b = (slope_b - step_w @ across) / own
        for halvings in range(30):
            tried = w - step_w * 0.5**halvings, b - step_b * 0.5**halvings
            new, z = objective(*tried)
            if new <= value:
                break
        else:
            break
        (w, b), gain, value = tried, value - new, new
        if gain < 1e-9 * max(value, 1.0):
            break
    return w, b


# -- coherence of pairs ------------------------------------------------------------------------------------------


class PairEdges(NamedTuple):
    """Edges of the taxonomy between scored pairs of one document, in order of the child's level.

    Attributes:
        child, parent: (edges,) positions among the pairs.
        bounds: where each level's edges begin, and the end.
    """

    child: Ints
    parent: Ints
    bounds: Ints


def edges_between(taxonomy: Taxonomy, rows: Ints, columns: Ints) -> PairEdges:
    """Return the edges between pairs that are sorted by row, then column.

    Raises:
        UsageError: a pair has a parent that is not among the pairs: scores were not coherent.
    """
    key = rows * len(taxonomy) + columns
    child, parents = taxonomy.parents.of_many(columns)
    wanted = rows[child] * len(taxonomy) + parents
    parent = np.searchsorted(key, wanted)
    missing = key[np.minimum(parent, len(key) - 1)] != wanted
    if missing.any():
        node, up = taxonomy.nodes[columns[child[missing][0]]], taxonomy.nodes[parents[missing][0]]
        raise UsageError(
            f"scores are not coherent: {node!r} scores above its parent {up!r}, and so do {int(missing.sum()) - 1} "
            "more; call taxonomy.coherent first"
        )
    level = taxonomy.levels[columns[child]]
    order = np.argsort(level, kind="stable")
    bounds = np.searchsorted(level[order], np.arange(2, taxonomy.depth + 2))
    return PairEdges(child[order], parent[order], bounds)


def coherent_pairs(edges: PairEdges, values: NDArray[np.float32], way: Way) -> NDArray[np.float32]:
    """Return values (pairs,) in which no child is above its parent, by one of `COHERENCE`."""
    if way == "mean":
        return (coherent_pairs(edges, values, "cap") + coherent_pairs(edges, values, "lift")) * np.float32(0.5)
    out = values.copy()
    steps = [slice(a, b) for a, b in zip(edges.bounds[:-1].tolist(), edges.bounds[1:].tolist(), strict=True)]
    for step in steps if way == "cap" else reversed(steps):
        child, parent = edges.child[step], edges.parent[step]
        if way == "cap":
            np.minimum.at(out, child, out[parent])
        else:
            np.maximum.at(out, parent, out[child])
    return out


# -- small parts -------------------------------------------------------------------------------------------------


def _clipped(scores: NDArray[Any]) -> Floats:
    return np.clip(np.asarray(scores, dtype=np.float64), EDGE, 1 - EDGE)


def _log_odds(scores: NDArray[Any]) -> Floats:
    clipped = _clipped(scores)
    return np.log(clipped) - np.log1p(-clipped)


def _probabilities(log_odds: Floats) -> NDArray[np.float32]:
    result: NDArray[np.float32] = expit(log_odds).astype(np.float32)
    return result


def _losses(log_odds: Floats, truth: Bools) -> Floats:
    losses: Floats = np.logaddexp(0, np.where(truth, -log_odds, log_odds))
    return losses


def _by_level(maps: Sequence[LevelMap], scores: NDArray[Any], levels: Ints) -> Floats:
    """Return the log-odds of scores, each by the map of its level."""
    out = np.empty(len(scores))
    for level, level_map in enumerate(maps, start=1):
        here = levels == level
        out[here] = level_map.log_odds(scores[here])
    return out
