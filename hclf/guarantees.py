"""Guarantees: a mean score for safe depth at which new documents are answered at a wanted precision.

Chosen on calibration documents by Learn-then-Test (Angelopoulos, Bates, Candès, Jordan & Lei, 2021): each mean λ of
a fixed list is a hypothesis "answers at λ are less precise than wanted"; p-values that hold for any distribution and
any number of documents reject it. With probability `confidence` over the choice of the calibration documents, the
precision on all further documents of the same kind is at least what was wanted. Nothing is assumed of the scores:
where they are badly calibrated the guarantee holds and less is answered.

Micro precision is a ratio; it is at least t exactly when E[false - (1 - t) * answered] <= 0, the mean of a bounded
figure of each document, and that is what is tested. The tests bet against the hypothesis (Waudby-Smith & Ramdas,
2023), or use the inequalities of Hoeffding (1963) and Bentkus (2004). The list is worked through in order by the
fallback procedure (Wiens, 2003): an accepted λ hands its share of the error on to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import bdtr, ndtri

from hclf.errors import UsageError
from hclf.labels import entries, pairs
from hclf.safe_depth import LEAST, SafeDepthDecoder, set_means
from hclf.taxonomy import Taxonomy

Average = Literal["micro", "example"]
Method = Literal["betting", "hoeffding-bentkus"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Row = dict[str, Any]

NEVER = 1.01  # above every mean
STRICT = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Tested above the target: 1 less these shares of its distance to 1."""
STARTS = {0.15: 0.2, 0.4: 0.3, 1.0: 0.5}
"""Where testing starts, by such shares, and how much of the error is spent there: calibrated scores have the target
well above a mean of the target; for overconfident ones there are the stricter starts."""
STEP = 0.005  # of the list below the target
BOLDNESS = 0.9  # of what could be lost in one document, at most, is bet
COLUMNS_AT_A_TIME = 16
POINTS = 50  # of a risk-coverage curve
FUTURE_STEPS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""Chances that a future sample measures too little, in units of the error, each tested at a level of its own."""
USELESS = 0.9  # a level above which no test is made, and a chance above which none is needed


@dataclass(frozen=True, slots=True)
class Operating:
    """What a mean λ does on the calibration documents.

    Attributes:
        mean: λ.
        coverage: share of documents that are answered.
        depth: level of the deepest node of an answer, on average over answered documents.
        labels: nodes of an answer, on average over answered documents.
        precision: of the answers, in the average the guarantee is about; None without answers.
        p_value: of "less precise than wanted"; None where it was not tested.
    """

    mean: float
    coverage: float
    depth: float
    labels: float
    precision: float | None
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A precision that holds on new documents, with a stated confidence.

    Attributes:
        target, confidence: as asked.
        average: `micro` over all nodes of all answers, or `example`: of each answer, then over answered documents.
        method: of the p-values.
        future: for how many documents measured precision is promised; None: for the population they come from.
        documents: calibration documents.
        chosen: what the guaranteed λ does on them; its mean is 1.01, and nothing is answered, where none qualifies.
        plain: the same without guarantee: the loosest λ that measures the target on these very documents.
        least, most, path, each: as in `SafeDepthDecoder`.
        tested: every λ of the list in the order of testing.
        needed: roughly how many documents would do, where none qualifies; None: no number would, as far as seen.
    """

    target: float
    confidence: float
    average: Average
    method: Method
    future: int | None
    documents: int
    chosen: Operating
    plain: Operating
    least: float
    most: int
    path: bool
    tested: tuple[Operating, ...] = field(repr=False)
    needed: int | None = None
    each: bool = False

    @property
    def holds(self) -> bool:
        """Whether any λ qualified; without, every document is unknown, and the promise is kept by silence."""
        return self.chosen.mean <= 1

    @property
    def decoder(self) -> SafeDepthDecoder:
        """The decoder to answer new documents with."""
        return SafeDepthDecoder(self.chosen.mean, self.least, self.most, self.path, self.each)

    @property
    def summary(self) -> str:
        """What is promised and what it costs, in a sentence or two."""
        promise = f"precision >= {self.target:g} with {self.confidence:.0%} confidence"
        if not self.holds:
            more = (
                "nowhere is measured precision enough above it, so more documents would not help"
                if self.needed is None
                else f"about {self.needed:,} documents would be needed"
            )
            return f"{promise} cannot be promised from {self.documents:,} documents: every answer is unknown; {more}"
        span = "" if self.future is None else f" on the next {self.future:,} documents"
        return (
            f"{promise}{span}: {self.chosen.coverage:.1%} of documents answered, to level {self.chosen.depth:.2f} on "
            f"average; without guarantee {self.plain.coverage:.1%}, to level {self.plain.depth:.2f}"
        )

    def to_dict(self) -> Row:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Guarantee:
        """Build from `to_dict`."""
        parts = {key: Operating(**data[key]) for key in ("chosen", "plain")}
        return cls(**{**data, **parts, "tested": tuple(Operating(**row) for row in data["tested"])})


def guarantee(
    taxonomy: Taxonomy,
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    *,
    precision: float,
    confidence: float = 0.9,
    average: Average = "micro",
    method: Method = "betting",
    least: float = LEAST,
    most: int | None = None,
    path: bool = False,
    each: bool = True,
    future: int | None = None,
    unknown: csr_matrix[Any] | None = None,
    seed: int = 0,
) -> Guarantee:
    """Return the loosest safe-depth decoder whose answers on new documents have a wanted precision.

    The calibration documents must be of the same kind as the new ones (exchangeable with them), and nothing else may
    have been fitted or chosen on them.

    Args:
        taxonomy: of the columns.
        true: (documents, nodes) closed label sets.
        scores: (documents, nodes) coherent scores of all nodes; entries below `least` may be left out.
        precision: wanted, in (0, 1).
        confidence: probability, over the calibration documents, that the promise holds; in (0, 1).
        average: `micro` or `example`; see `Guarantee`.
        method: `betting` or `hoeffding-bentkus`.
        least, path: as in `SafeDepthDecoder`.
        most: at most so many nodes an answer: what can go wrong in one document must be bounded, and the lower the
            bound, the fewer documents are needed. Not to be chosen on the calibration documents. None: `usual_size`.
        each: every node of an answer scores at least the chosen λ; False: their mean does. On our sets `each` answers
            up to a third more documents at the same promise, less deep.
        future: promise the precision that will be measured on so many new documents, which varies by chance about
            that of the population; so the promise is stricter. That variation is taken as normal: all else is exact.
        unknown: (documents, nodes) of which truth says nothing: neither right nor wrong; see `labels.partial_depth`.
        seed: of the order in which bets see the documents.

    Raises:
        UsageError: a value out of range, or shapes that do not fit.
    """
    _check(precision, confidence, average, method, future)
    if true.shape != scores.shape or scores.shape[1] != len(taxonomy):
        raise UsageError(f"truth is {true.shape}, scores are {scores.shape}, the taxonomy has {len(taxonomy)} nodes")
    most = usual_size(taxonomy, path) if most is None else most
    decoder = SafeDepthDecoder(NEVER, least, most, path, each)  # refuses what is out of range
    means, share = _list(precision, least)
    counts = _counts(taxonomy, true, decoder.means(taxonomy, scores), means, unknown)
    excess, bound = _excess(counts, precision, average, most)
    excess = excess[np.random.default_rng(seed).permutation(len(excess))]
    error = 1 - confidence
    p_values = _p_values(excess, precision, bound, error, method, future)
    every = [*_operating(counts, means, average, p_values)]
    accepted = _fallback(p_values, share * error)
    held = [one for one, good in zip(every, accepted, strict=True) if good and one.coverage]
    plain = [one for one in every if one.precision is not None and one.precision >= precision]
    nothing = Operating(NEVER, 0.0, 0.0, 0.0, None)
    return Guarantee(
        precision,
        confidence,
        average,
        method,
        future,
        len(excess),
        min(held, key=lambda one: one.mean, default=nothing),
        min(plain, key=lambda one: one.mean, default=nothing),
        least,
        most,
        path,
        tuple(every),
        None if held else _needed(excess, bound, error, future),
        each,
    )


def risk_coverage(taxonomy: Taxonomy, true: csr_matrix[Any], scores: csr_matrix[Any]) -> list[Row]:
    """Return the risk-coverage curves of each level: how wrong answers are when only so many documents get one.

    A document is answered on a level by its nodes that score at least a threshold; risk is the share of wrong ones
    among all such nodes (El-Yaniv & Wiener, 2010). Thresholds fall along a curve, so coverage rises.

    Args:
        taxonomy: of the columns.
        true: (documents, nodes) closed label sets.
        scores: (documents, nodes) coherent scores; absent entries are never answered.

    Returns:
        Rows `level` (0: the whole of the answers by safe depth, threshold is the mean), `threshold`, `coverage`
        (share of documents with an answer), `risk`, `precision`; at most 50 a level.
    """
    rows, columns = pairs(scores)
    right = entries(true, rows, columns)
    levels = taxonomy.levels[columns]
    means = set_means(taxonomy, scores)
    whole = entries(true, *pairs(means))
    curve = _curve(0, pairs(means)[0], means.data, whole, scores.shape[0])
    for level in range(1, taxonomy.depth + 1):
        here = levels == level
        curve += _curve(level, rows[here], scores.data[here].astype(np.float64), right[here], scores.shape[0])
    return curve


def usual_size(taxonomy: Taxonomy, path: bool = False) -> int:
    """Return a size few answers exceed: of a path its largest, else twice that of the middle node's closure.

    >>> usual_size(Taxonomy("abcd", [("a", "c"), ("b", "c"), ("c", "d")]))
    4
    >>> usual_size(Taxonomy("abcd", [("a", "c"), ("b", "c"), ("c", "d")]), path=True)
    4
    """
    every = np.arange(len(taxonomy))
    sizes = np.bincount(taxonomy.close_pairs(every, every)[0], minlength=1)
    return int(max(1, sizes.max() if path else 2 * np.median(sizes)))


# -- what each λ does ------------------------------------------------------------------------------------------


class _Counts(NamedTuple):
    """(documents, λ): nodes of the answer, false ones among them, and its deepest level."""

    answered: Floats
    false: Floats
    depth: Floats


def _list(target: float, least: float) -> tuple[Floats, Floats]:
    """Return every λ in the order of testing, strict to loose, and the share of the error each starts with."""
    low = min(least, target)
    below = np.arange(STEP, target - low, STEP)
    means = np.array([*(1 - share * (1 - target) for share in STRICT), target, *(target - below), low])
    start = np.zeros(len(means))
    start[: len(STRICT) + 1] = [STARTS.get(share, 0.0) for share in (*STRICT, 1.0)]
    return means, start


def _counts(
    taxonomy: Taxonomy,
    true: csr_matrix[Any],
    set_mean: csr_matrix[Any],
    means: Floats,
    unknown: csr_matrix[Any] | None,
) -> _Counts:
    rows, columns = pairs(set_mean)
    right = entries(true, rows, columns)
    known = np.ones(len(rows)) if unknown is None else (right | ~entries(unknown, rows, columns)).astype(float)
    n, width = set_mean.shape[0], len(means)
    first = width - np.searchsorted(means[::-1], set_mean.data, side="right")  # means fall: in from this one on
    inside = first < width
    place, known, false = rows[inside] * width + first[inside], known[inside], (known * ~right)[inside]

    def total(weight: Floats) -> Floats:
        return np.cumsum(np.bincount(place, weight, minlength=n * width).reshape(n, width), axis=1)

    depth = np.zeros(n * width)
    np.maximum.at(depth, place, taxonomy.levels[columns[inside]])
    return _Counts(total(known), total(false), np.maximum.accumulate(depth.reshape(n, width), axis=1))


def _operating(counts: _Counts, means: Floats, average: Average, p_values: Floats) -> list[Operating]:
    found = []
    for mean, p_value, answered, false, depth in zip(
        means.tolist(), p_values.tolist(), *(table.T for table in counts), strict=True
    ):
        some = depth > 0
        spoken = answered > 0
        precision = None
        if spoken.any():
            wrong = (
                (false[spoken] / answered[spoken]).mean() if average == "example" else false.sum() / answered.sum()
            )
            precision = float(1 - wrong)
        size, deep = (float(table[some].mean()) if some.any() else 0.0 for table in (answered, depth))
        found.append(Operating(mean, float(some.mean()) if len(some) else 0.0, deep, size, precision, p_value))
    return found


def _excess(counts: _Counts, target: float, average: Average, most: int) -> tuple[Floats, int]:
    """Return (documents, λ) of which no mean may be above 0, and b: each lies in [-(1 - target) b, target b]."""
    if average == "example":
        share = counts.false / np.maximum(counts.answered, 1)
        return np.where(counts.answered > 0, share - (1 - target), 0.0), 1
    return counts.false - (1 - target) * counts.answered, most


# -- tests -----------------------------------------------------------------------------------------------------


def _p_values(excess: Floats, target: float, bound: int, error: float, method: Method, future: int | None) -> Floats:
    """Return for each λ a p-value of "too imprecise": of the population, or of the next `future` documents.

    For the population that is E[excess] >= 0. For the future, with R(λ) the probability that a new sample measures
    too little, the promise is E[R] <= error over calibration documents. As E[R] is the integral of P(R > r) over r,
    it is enough to test "R > r" for each r of a grid at a level d(r) with sum d(r) dr <= error; and R > r means
    E[excess] > -z(r) sd / sqrt(future).
    """
    test = _betting if method == "betting" else _hoeffding_bentkus
    n, width = excess.shape
    p_values = np.ones(width)
    if not n:
        return p_values
    for start in range(0, width, COLUMNS_AT_A_TIME):
        part = excess[:, start : start + COLUMNS_AT_A_TIME]
        here = slice(start, start + part.shape[1])
        if future is None:
            p_values[here] = test(part, np.zeros(part.shape[1]), target, bound, error)
            continue
        spread = part.std(axis=0) / np.sqrt(future)
        worst = np.zeros(part.shape[1])
        for step, level in _levels(error, n / future):
            shift = ndtri(1 - step) * spread
            worst = np.maximum(worst, test(part, shift, target, bound, level) / level)
        p_values[here] = np.minimum(worst * error, 1)
    return p_values


def _levels(error: float, ratio: float) -> list[tuple[float, float]]:
    """Return (r, d(r)), d below 1, so that what the two leave over sums to the error.

    P(R > r) falls in r, so between one r and the next it is at most d of the first; where nothing is tested it is at
    most 1. The shape is that of bets on normal figures, for which all tests are about equally hard.

    Args:
        error: in (0, 1).
        ratio: of calibration documents to future ones.
    """
    steps = np.array([step * error for step in FUTURE_STEPS if step * error < USELESS])
    width = np.diff(steps, append=1.0)

    def levels(c: float) -> Floats:
        found = np.exp(-0.5 * np.maximum(c - ndtri(1 - steps) * np.sqrt(ratio), 0) ** 2)
        return np.where(found > USELESS, 1.0, np.maximum(found, 1e-4 * error))

    low, high = 0.0, 1.0
    while steps[0] + (levels(high) * width).sum() > error:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        total = steps[0] + (levels(middle) * width).sum()
        low, high = (middle, high) if total > error else (low, middle)
    return [(r, d) for r, d in zip(steps.tolist(), levels(high).tolist(), strict=True) if 0 < d < 1]


def _betting(excess: Floats, shift: Floats, target: float, bound: int, level: float) -> Floats:
    """Return p-values of E[excess] >= -shift: 1 / the most that bets against it ever made of 1 (Ville, 1939).

    The stakes are those of Waudby-Smith & Ramdas (2023) for a fixed number of documents, sqrt(2 log(1 / level) /
    (n variance)), the variance from the documents before.
    """
    gain = -excess - shift
    n = len(gain)
    before = np.arange(n)[:, None]
    squares = np.cumsum(gain**2, axis=0)
    squares = np.vstack([np.zeros((1, gain.shape[1])), squares[:-1]])
    variance = (target * (1 - target) + squares) / (before + 1)
    stake = np.sqrt(2 * np.log(1 / level) / (n * variance))
    stake = np.minimum(stake, BOLDNESS / (target * bound + np.maximum(shift, 0)))
    made = np.cumsum(np.log1p(stake * gain), axis=0).max(axis=0)
    p_values: Floats = np.exp(-np.maximum(made, 0))
    return p_values


def _hoeffding_bentkus(excess: Floats, shift: Floats, target: float, bound: int, level: float) -> Floats:
    """Return p-values of E[excess] >= -shift by the better of both inequalities (Bates et al., 2021)."""
    n = len(excess)
    middle = np.clip(1 - target - shift / bound, 0, 1)  # of excess / bound moved into [0, 1]
    seen = np.clip(excess.mean(axis=0) / bound + (1 - target), 0, 1)
    low = np.minimum(seen, middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(low > 0, low * np.log(low / middle), 0) + np.where(
            low < 1, (1 - low) * np.log((1 - low) / (1 - middle)), 0
        )
    hoeffding = np.exp(-n * np.where(middle > 0, divergence, 0))
    bentkus = np.e * bdtr(np.ceil(n * seen - 1e-9), n, middle)
    return np.where(middle > 0, np.clip(np.minimum(hoeffding, bentkus), 0, 1), 1.0)


def _fallback(p_values: Floats, shares: Floats) -> list[bool]:
    """Return which hypotheses are rejected: one that is hands what it was tested at to the next."""
    accepted, carried = [], 0.0
    for p_value, share in zip(p_values.tolist(), shares.tolist(), strict=True):
        level = share + carried
        good = level > 0 and p_value <= level
        accepted.append(good)
        carried = level if good else 0.0
    return accepted


def _needed(excess: Floats, bound: int, error: float, future: int | None) -> int | None:
    """Return roughly how many documents would let some λ pass, were they like these."""
    if not len(excess):
        return None
    mean, spread = excess.mean(axis=0), excess.std(axis=0)
    if future is not None:
        mean = mean + ndtri(1 - error / 2) * spread / np.sqrt(future)
    good = mean < 0
    if not good.any():
        return None
    margin = -mean[good]
    enough = 2 * np.log(2 / error) * (spread[good] ** 2 / margin**2 + bound / margin)
    return max(int(np.ceil(enough.min())), len(excess) + 1)


# -- the rest --------------------------------------------------------------------------------------------------


def _curve(level: int, rows: Ints, values: Floats, right: NDArray[np.bool_], documents: int) -> list[Row]:
    if not len(rows):
        return []
    order = np.argsort(-values, kind="stable")
    rows, values, right = rows[order], values[order], right[order]
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(rows, return_index=True)[1]] = True
    covered, correct = np.cumsum(first), np.cumsum(right)
    ends = np.flatnonzero(np.diff(values, append=-1))  # equal scores come in together
    wanted = np.linspace(covered[ends[0]], covered[-1], POINTS)
    ends = np.unique(np.append(ends[np.searchsorted(covered[ends], wanted)], ends[-1]))
    return [
        {
            "level": level,
            "threshold": float(values[end]),
            "coverage": float(covered[end] / documents),
            "risk": float(1 - correct[end] / (end + 1)),
            "precision": float(correct[end] / (end + 1)),
        }
        for end in ends.tolist()
    ]


def _check(precision: float, confidence: float, average: str, method: str, future: int | None) -> None:
    for name, value in (("precision", precision), ("confidence", confidence)):
        if not 0 < value < 1:
            raise UsageError(f"{name} lies between 0 and 1, not {value}")
    if average not in ("micro", "example"):
        raise UsageError(f"average is micro or example, not {average!r}")
    if method not in ("betting", "hoeffding-bentkus"):
        raise UsageError(f"method is betting or hoeffding-bentkus, not {method!r}")
    if future is not None and future < 1:
        raise UsageError(f"future is at least 1 document, not {future}")
