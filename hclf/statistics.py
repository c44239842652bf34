"""What a set of documents can show: intervals of figures, and paired comparisons of two systems.

Documents are resampled, never labels: the labels of one document hang together. Every figure of `evaluate` that is
made of label sets is a function of sums over documents: for each node, how often it is true, predicted and both;
for each document, its own precision, recall, F1 and so on. So a resample is a weight for each document, and many
of them are one sparse product. docs/statistics.md says what is done and why, and how well it works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from hclf.errors import UsageError
from hclf.labels import close, subtract
from hclf.metrics.partial import only_known
from hclf.metrics.sets import Counts, aligned, as_labels, check_columns, document_counts
from hclf.taxonomy import Taxonomy

__all__ = [
    "BUCKETS",
    "Answers",
    "Comparison",
    "Key",
    "bucket_name",
    "bucket_of",
    "compare",
    "compare_answers",
    "holm",
    "intervals",
    "prepare",
    "unknown_predictions",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Row = dict[str, Any]

BUCKETS: tuple[tuple[int, int | None], ...] = ((0, 0), (1, 5), (6, 20), (21, 100), (101, None))
POOLED = ("hP", "hR", "hF", "macro_f1", "hP_known", "hF_known", "macro_f1_known")
BY_DOCUMENT = (
    "hP_example",
    "hR_example",
    "hF_example",
    "exact_match",
    "hamming",
    "hP_example_known",
    "hF_example_known",
)
SAMPLES, PERMUTATIONS, CONFIDENCE = 1_000, 2_000, 0.95
SHOWN = 0.05  # a difference is shown when p, corrected, is below
AT_ONCE, MOST_WEIGHTS = 64, 32_000_000  # samples at once, and their weights held at once (128 MB)
TINY = 1e-12  # differences below are rounding


class Key(NamedTuple):
    """Names a figure: overall, of a level (`which` counts from 1) or of a bucket (from 0)."""

    metric: str
    part: str = "overall"
    which: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers of one system to labelled documents: what resampling needs. Made by `prepare`.

    Attributes:
        taxonomy: the taxonomy of all matrices.
        true, predicted: (documents, nodes) label matrices, closed under ancestors.
        unknown: the predicted labels of which the truth says nothing; see `unknown_predictions`.
        train_counts: (nodes,) training documents of each node, or None.
        values: further figures that are means over documents: (documents,) floats by name, NaN where a document
            does not count.
    """

    taxonomy: Taxonomy
    true: csr_matrix[Any]
    predicted: csr_matrix[Any]
    unknown: csr_matrix[Any]
    train_counts: Ints | None = None
    values: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return int(self.true.shape[0])

    @property
    def keys(self) -> list[Key]:
        """The names of all figures, in the order of every array of figures here."""
        parts = [(part, which) for part, which, _ in _groups(self)]
        pooled = [Key(metric, part, which) for part, which in parts for metric in POOLED]
        return [*pooled, *map(Key, (*BY_DOCUMENT, *self.values))]


def prepare(
    taxonomy: Taxonomy,
    true: Any,
    predicted: Any,
    *,
    train_counts: NDArray[Any] | None = None,
    values: Mapping[str, Floats] | None = None,
) -> Answers:
    """Return answers ready for resampling: both label sets closed under ancestors.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) label matrices, sparse or dense.
        train_counts, values: as in `Answers`.

    Raises:
        UsageError: the shapes differ, or are not as wide as the taxonomy.
    """
    T, P = aligned(true, predicted)
    check_columns(taxonomy, T, "the label matrices have")
    train = None if train_counts is None else as_train_counts(taxonomy, train_counts)
    T, P = close(taxonomy, T), close(taxonomy, P)
    return Answers(taxonomy, T, P, unknown_predictions(taxonomy, T, P), train, dict(values or {}))


def unknown_predictions(taxonomy: Taxonomy, true: csr_matrix[Any], predicted: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return the predicted labels that lie below a most specific true label: right or wrong, nobody knows.

    Args:
        taxonomy: the taxonomy of both.
        true, predicted: (documents, nodes) closed label matrices.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice")])
    >>> T, P = (as_labels(Y) for Y in ([[1, 0, 0]], [[1, 1, 1]]))
    >>> t.nodes, unknown_predictions(t, T, P).toarray().tolist()
    (('food', 'tea', 'rice'), [[False, False, True]])
    """
    return subtract(predicted, only_known(taxonomy, true, predicted))


def as_train_counts(taxonomy: Taxonomy, counts: NDArray[Any]) -> Ints:
    """Return training counts as integers (nodes,); raises UsageError unless there is one a node."""
    train: Ints = np.asarray(counts, dtype=np.int64)
    if train.shape != (len(taxonomy),):
        raise UsageError(f"train_counts has shape {train.shape}, the taxonomy has {len(taxonomy)} nodes")
    return train


def bucket_of(train_counts: Ints) -> Ints:
    """Return for each node the position in `BUCKETS` of its number of training documents."""
    return np.searchsorted([low for low, _ in BUCKETS], train_counts, side="right") - 1


def bucket_name(which: int) -> str:
    """Return "0", "1-5", … ">100" for a position in `BUCKETS`."""
    low, high = BUCKETS[which]
    return f">{low - 1}" if high is None else f"{low}-{high}" if high > low else f"{low}"


def of_buckets(counts: Counts, bucket: Ints) -> Counts:
    """Return the counts of nodes added up by bucket; `bucket` (nodes,) is what `bucket_of` returns."""
    sums = (np.bincount(bucket, weights=count, minlength=len(BUCKETS)) for count in counts)
    return Counts(*(total.astype(np.int64) for total in sums))


# -- figures out of sums -----------------------------------------------------------------------------------------


class _Sums(NamedTuple):
    """For each node and sample, (nodes, samples): documents in which it is true, predicted, both, unknown."""

    true: NDArray[Any]
    predicted: NDArray[Any]
    both: NDArray[Any]
    unknown: NDArray[Any]


def _groups(answers: Answers) -> list[tuple[str, int, slice | Ints]]:
    """Return (part, which, columns) of every group of nodes that has figures of its own."""
    levels = enumerate(answers.taxonomy.level_slices, start=1)
    groups: list[tuple[str, int, slice | Ints]] = [("overall", 0, slice(None)), *(("level", i, s) for i, s in levels)]
    if answers.train_counts is not None:
        bucket = bucket_of(answers.train_counts)
        groups += [("bucket", i, np.flatnonzero(bucket == i)) for i in range(len(BUCKETS))]
    return groups


def _pooled(sums: _Sums, answers: Answers) -> Floats:
    """Return the figures of `POOLED` for each group of nodes, (groups * pooled, samples); NaN where 0 / 0."""
    present = sums.true > 0
    known = sums.predicted - sums.unknown
    f1, f1_known = (
        np.divide(2 * sums.both, sums.true + predicted, out=np.zeros(present.shape), where=present, dtype=np.float64)
        for predicted in (sums.predicted, known)
    )
    tables = (sums.true, sums.predicted, sums.both, known, present, f1, f1_known)
    figures = []
    for _, _, columns in _groups(answers):
        T, P, B, K, nodes, total, total_known = (t[columns].sum(axis=0, dtype=np.float64) for t in tables)
        figures += [_over(B, P), _over(B, T), _over(2 * B, T + P), _over(total, nodes)]
        figures += [_over(B, K), _over(2 * B, T + K), _over(total_known, nodes)]
    return np.array(figures)


def _over(numerator: Floats, denominator: Floats) -> Floats:
    out: Floats = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _by_document(answers: Answers) -> Floats:
    """Return the figures of each document, (figures, documents): those of `BY_DOCUMENT`, then `values`."""
    T, P, B = document_counts(answers.true, answers.predicted)
    U = np.diff(answers.unknown.indptr)
    table, known = Counts(T, P, B).table(), Counts(T, P - U, B).table()
    for of, predicted in ((table, P), (known, P - U)):
        for figures in (of.precision, of.recall, of.f1):
            figures[(T == 0) & (predicted == 0)] = 1.0
    exact = (B == T) & (B == P)
    wrong = (T + P - 2 * B) / max(len(answers.taxonomy), 1)
    rows = [table.precision, table.recall, table.f1, exact, wrong, known.precision, known.f1]
    return np.array([*rows, *answers.values.values()], dtype=np.float64)


# -- resampling --------------------------------------------------------------------------------------------------


def _weights(documents: int, samples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield (documents, some samples) fair coins, 0 or 1, until there are enough samples."""
    rng = np.random.default_rng(seed)
    size = max(1, min(AT_ONCE, MOST_WEIGHTS // max(documents, 1)))
    for start in range(0, samples, size):
        shape = (documents, min(size, samples - start))
        yield rng.integers(0, 2, size=shape, dtype=np.uint8).astype(np.float32)


class _Resampler:
    """Turns weights of documents into figures of one system's answers."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        both = as_labels(answers.true.multiply(answers.predicted))
        missed, wrong = subtract(answers.true, both), subtract(answers.predicted, both)
        # Parts that do not overlap: together they have the fewest entries.
        parts = (both, missed, subtract(wrong, answers.unknown), answers.unknown)
        self._by_node = _transposed(parts)
        values = _by_document(answers)
        # Sparse although full: dense products start threads that wait for each other on busy machines.
        self._values = csr_matrix(np.nan_to_num(values))
        self._counts = csr_matrix(~np.isnan(values), dtype=np.float64)
        self._every = self._weighted(np.ones((answers.documents, 1), dtype=np.float32))

    @property
    def observed(self) -> Floats:
        """The figures of all documents, (figures,)."""
        return self._figures(*self._every)[:, 0]

    def figures(self, weights: NDArray[np.float32]) -> Floats:
        """Return the figures of weighted documents, (figures, samples)."""
        return self._figures(*self._weighted(weights))

    def halves(self, weights: NDArray[np.float32]) -> Floats:
        """Return the figures of the documents of weight 1, then of those of weight 0, (figures, 2 x samples)."""
        one = self._weighted(weights)
        other = tuple(every - part for every, part in zip(self._every, one, strict=True))
        return np.concatenate([self._figures(*one), self._figures(*other)], axis=1)

    def _weighted(self, weights: NDArray[np.float32]) -> tuple[NDArray[Any], Floats, Floats]:
        """Return the weighted sums by node, and those of figures of documents and of documents that count."""
        wide = weights.astype(np.float64)
        values, counts = (np.asarray(of @ wide) for of in (self._values, self._counts))
        return self._by_node @ weights, values, counts

    def _figures(self, by_node: NDArray[Any], values: Floats, counts: Floats) -> Floats:
        both, missed, wrong, unknown = np.split(by_node, 4)
        sums = _Sums(both + missed, both + wrong + unknown, both, unknown)
        return np.concatenate([_pooled(sums, self.answers), _over(values, counts)])


def _transposed(parts: Sequence[csr_matrix[Any]]) -> csr_matrix[Any]:
    """Return (parts x nodes, documents): float32, in which sums of documents are exact up to 16 million."""
    stacked: csr_matrix[Any] = csr_matrix(vstack([part.T for part in parts]), dtype=np.float32)
    return stacked


def _resampled(answers: Answers, samples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the figures of all documents (figures,) and of random halves (figures, samples)."""
    resampler = _Resampler(answers)
    parts = [resampler.halves(weights) for weights in _weights(answers.documents, (samples + 1) // 2, seed)]
    return resampler.observed, np.concatenate(parts, axis=1)


def _bounds(observed: Floats, resampled: Floats, lowest: float, confidence: float) -> tuple[Floats, Floats]:
    """Return the ends of the intervals, (figures,); NaN where the documents cannot tell.

    The distribution of the resampled figures is moved to have its mean at the observed figure: a half has fewer
    nodes and rarer ones missing, so that some figures are a little higher or lower in all halves.
    """
    low, high = np.full_like(observed, np.nan), np.full_like(observed, np.nan)
    defined = ~np.isnan(resampled)
    usable = np.flatnonzero((defined.mean(axis=1) > 0.5) & ~np.isnan(observed))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for i in usable.tolist():
        values = resampled[i, defined[i]]
        if np.ptp(values) > TINY:
            ends = np.quantile(values, tails) - values.mean() + observed[i]
            low[i], high[i] = min(ends[0], observed[i]), max(ends[1], observed[i])
    return np.clip(low, lowest, 1.0), np.clip(high, lowest, 1.0)


def intervals(
    answers: Answers, *, samples: int = SAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> dict[Key, tuple[float, float]]:
    """Return an interval for each figure that has one.

    A weighted bootstrap over documents (Præstgaard & Wellner, 1993) whose weights are coins: each sample is a random
    half of the documents (McCarthy, 1969), and its other half the next sample. The spread of halves is that of
    whole sets of documents; unlike drawing with replacement it is right for nodes with few documents, too.

    Args:
        answers: of one system.
        samples: how many halves.
        seed: of the coins.
        confidence: the share of intervals that hold the figure one would find on average in other documents of the
            same source, as many as these.

    Returns:
        Figure -> (low, high). Figures that do not vary over the samples (of one document; of documents that are
        all answered perfectly) have none: the documents cannot tell.

    Raises:
        UsageError: fewer than 2 samples, or a confidence that is not between 0 and 1.
    """
    _check(samples, confidence)
    if answers.documents < 2:
        return {}
    observed, resampled = _resampled(answers, samples, seed)
    ends = zip(*_bounds(observed, resampled, 0.0, confidence), strict=True)
    found = zip(answers.keys, ends, strict=True)
    return {key: (float(low), float(high)) for key, (low, high) in found if not np.isnan(low)}


def _check(samples: int, confidence: float) -> None:
    if samples < 2:
        raise UsageError(f"at least 2 samples are needed, not {samples}")
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence lies between 0 and 1, not at {confidence}")


# -- two systems -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the answers of one system stand against those of another, to the same documents.

    Each row has `a`, `b` (the figures), `difference` (a - b), `low` and `high` (its interval; None where there is
    none) and `p`, the chance of a difference at least as large if it did not matter which system gave which answer.

    Attributes:
        names: of the two systems.
        documents, differing: how many documents there are, and to how many the label sets differ.
        metrics: one row a figure, its name in `metric`.
        levels: hF of each level that has labels: `level`, `name`, also `p_holm`: p, corrected for the number of
            levels (Holm, 1979).
        buckets: likewise hF of the nodes by number of training documents, `train_count` ("6-20"), and how many
            `nodes` there are.
        samples, permutations, seed, confidence: how it was computed.
    """

    names: tuple[str, str]
    documents: int
    differing: int
    metrics: list[Row]
    levels: list[Row]
    buckets: list[Row]
    samples: int
    permutations: int
    seed: int
    confidence: float

    def __getitem__(self, metric: str) -> Row:
        """Return the row of a metric."""
        return next(row for row in self.metrics if row["metric"] == metric)

    @property
    def verdict(self) -> str:
        """One plain sentence: whether hF differs, by how much, and where."""
        return _verdict(self)

    def to_dict(self) -> Row:
        """Return plain JSON values, the verdict among them."""
        return {**asdict(self), "names": list(self.names), "verdict": self.verdict}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Rebuild from `to_dict`."""
        known = {f.name for f in fields(cls)}
        return cls(**{**{k: v for k, v in data.items() if k in known}, "names": tuple(data["names"])})


def compare(
    taxonomy: Taxonomy,
    true: Any,
    a: Any,
    b: Any,
    *,
    names: tuple[str, str] = ("A", "B"),
    train_counts: NDArray[Any] | None = None,
    samples: int = SAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Comparison:
    """Compare the label sets that two systems predict for the same documents.

    Args:
        taxonomy: the taxonomy of all.
        true, a, b: (documents, nodes) label matrices, sparse or dense; closed under ancestors here.
        names: what to call a and b.
        train_counts: (nodes,) training documents of each node, for a comparison by them.
        samples, permutations, seed: as in `compare_answers`.

    Raises:
        UsageError: shapes that do not fit, too few samples or permutations.

    >>> t = Taxonomy(["food", "rice", "tea"], [("food", "rice"), ("food", "tea")])
    >>> truth = [[0, 1, 0], [0, 0, 1]] * 20
    >>> compare(t, truth, truth, [[0, 1, 0], [0, 1, 0]] * 20, names=("new", "old")).verdict
    'new against old: +25.0 hF points [16.7, 33.3] overall; the gain shows in level 2.'
    """
    left, right = (prepare(taxonomy, true, P, train_counts=train_counts) for P in (a, b))
    return compare_answers(left, right, names=names, samples=samples, permutations=permutations, seed=seed)


def compare_answers(
    a: Answers,
    b: Answers,
    *,
    names: tuple[str, str] = ("A", "B"),
    samples: int = SAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare the answers of two systems to the same documents.

    Intervals: both systems are measured on the same halves of the documents (see `intervals`). p: for each
    permutation a coin decides for each document which system gave which answer; all figures of both are computed
    anew from the sums (Noreen, 1989; Yeh, 2000), so it serves micro-averaged and macro-averaged figures as well as
    means over documents, for which it is the sign-flip test. p = (1 + permutations with a difference at least as
    large) / (1 + permutations) (Phipson & Smyth, 2010).

    Args:
        a, b: of the same documents and taxonomy, with the same training counts. Of their `values` those are
            compared that both have.
        names: what to call them.
        samples, permutations: how many halves, and how many permutations.
        seed: of all coins.
        confidence: of the intervals.

    Raises:
        UsageError: they are not of the same documents, or there are too few samples or permutations.
    """
    _check(samples, confidence)
    if permutations < 1:
        raise UsageError(f"at least 1 permutation is needed, not {permutations}")
    a, b = _paired(a, b)
    keys = a.keys
    of_a, in_a = _resampled(a, samples, seed)
    of_b, in_b = _resampled(b, samples, seed)
    difference = of_a - of_b
    if a.documents < 2:
        low = high = np.full(len(keys), np.nan)
    else:
        low, high = _bounds(difference, in_a - in_b, -1.0, confidence)
    p = _p_values(a, b, np.nan_to_num(of_a) - np.nan_to_num(of_b), permutations, seed)
    columns = (np.nan_to_num(of_a), np.nan_to_num(of_b), np.nan_to_num(difference), low, high, p)
    named = ("a", "b", "difference", "low", "high", "p")
    rows = {
        key: {name: None if np.isnan(value) else float(value) for name, value in zip(named, values, strict=True)}
        for key, values in zip(keys, zip(*columns, strict=True), strict=True)
    }
    return Comparison(
        names=names,
        documents=a.documents,
        differing=int(np.count_nonzero(_distance(a.predicted, b.predicted))),
        metrics=[{"metric": key.metric, **row} for key, row in rows.items() if key.part == "overall"],
        levels=_level_rows(a, b, rows),
        buckets=_bucket_rows(a, b, rows),
        samples=samples,
        permutations=permutations,
        seed=seed,
        confidence=confidence,
    )


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for their number, so that all below 0.05 hold together (Holm, 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below one before it.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    factors = np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    result: list[float] = corrected.tolist()
    return result


def _paired(a: Answers, b: Answers) -> tuple[Answers, Answers]:
    """Return both with the values that both have; raises UsageError if they are not of the same documents."""
    if a.true.shape != b.true.shape:
        raise UsageError(
            f"one has {a.true.shape[0]} documents x {a.true.shape[1]} nodes, the other {b.true.shape[0]} x "
            f"{b.true.shape[1]}; only answers to the same documents can be compared"
        )
    if different := int(np.count_nonzero(_distance(a.true, b.true))):
        raise UsageError(f"the true labels of {different:,} documents differ between the two")
    train = a.train_counts if a.train_counts is not None else b.train_counts
    shared = [name for name in a.values if name in b.values]

    def cut(x: Answers) -> Answers:
        values = {name: x.values[name] for name in shared}
        return Answers(x.taxonomy, x.true, x.predicted, x.unknown, train, values)

    return cut(a), cut(b)


def _distance(left: csr_matrix[Any], right: csr_matrix[Any]) -> Ints:
    """Return for each document how many labels are in one of the two sets only."""
    T, P, B = document_counts(left, right)
    return T + P - 2 * B


class _Swapper:
    """Turns coins into the differences of two systems that swap their answers to the documents of a coin 1."""

    def __init__(self, a: Answers, b: Answers) -> None:
        self._answers = a
        by_node = [_transposed((as_labels(x.true.multiply(x.predicted)), x.predicted, x.unknown)) for x in (a, b)]
        self._swap_nodes = csr_matrix(by_node[1] - by_node[0])
        self._nodes = [np.asarray(sums.sum(axis=1, dtype=np.float64)).reshape(-1, 1) for sums in by_node]
        self._true = np.bincount(a.true.indices, minlength=a.true.shape[1])[:, None]
        values = [_by_document(x) for x in (a, b)]
        count = (~np.isnan(values[0])).sum(axis=1)
        self._means = [_over(np.nan_to_num(v).sum(axis=1), count)[:, None] for v in values]
        self._swap_means = csr_matrix(np.nan_to_num(values[1] - values[0]) / np.maximum(count, 1)[:, None])

    def differences(self, weights: NDArray[np.float32]) -> Floats:
        """Return a - b of every figure after swapping, (figures, permutations); figures of nothing are 0."""
        nodes, means = self._swap_nodes @ weights, self._swap_means @ weights.astype(np.float64)
        a = self._figures(self._nodes[0] + nodes, self._means[0] + means)
        return a - self._figures(self._nodes[1] - nodes, self._means[1] - means)

    def _figures(self, by_node: Floats, means: Floats) -> Floats:
        both, predicted, unknown = np.split(by_node, 3)
        true = np.broadcast_to(self._true, both.shape)
        pooled = _pooled(_Sums(true, predicted, both, unknown), self._answers)
        figures: Floats = np.nan_to_num(np.concatenate([pooled, means]))
        return figures


def _p_values(a: Answers, b: Answers, difference: Floats, permutations: int, seed: int) -> Floats:
    """Return the p value of each difference, (figures,)."""
    swapper = _Swapper(a, b)
    as_large = np.zeros(len(difference), dtype=np.int64)
    least = np.abs(difference) - TINY
    for weights in _weights(a.documents, permutations, seed):
        as_large += (np.abs(swapper.differences(weights)) >= least[:, None]).sum(axis=1)
    return (1 + as_large) / (1 + permutations)


def _level_rows(a: Answers, b: Answers, rows: Mapping[Key, Row]) -> list[Row]:
    """Return hF of each level on which anything is true or predicted."""
    seen = [np.unique(a.taxonomy.levels[Y.indices]) for Y in (a.true, a.predicted, b.predicted)]
    return _corrected(
        [
            {"level": level, "name": a.taxonomy.level_name(level), **rows[Key("hF", "level", level)]}
            for level in np.unique(np.concatenate(seen)).tolist()
        ]
    )


def _bucket_rows(a: Answers, b: Answers, rows: Mapping[Key, Row]) -> list[Row]:
    """Return hF of each bucket with a node that is true or predicted anywhere."""
    if a.train_counts is None:
        return []
    seen = np.unique(np.concatenate([Y.indices for Y in (a.true, a.predicted, b.predicted)]))
    nodes = np.bincount(bucket_of(a.train_counts[seen]), minlength=len(BUCKETS)).tolist()
    return _corrected(
        [
            {"train_count": bucket_name(i), "nodes": count, **rows[Key("hF", "bucket", i)]}
            for i, count in enumerate(nodes)
            if count
        ]
    )


def _corrected(rows: list[Row]) -> list[Row]:
    return [{**row, "p_holm": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


# -- the verdict -------------------------------------------------------------------------------------------------


def shown(row: Mapping[str, Any]) -> bool:
    """Return whether a difference is shown: p (corrected, where it is) below 0.05, and 0 outside the interval."""
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return False
    return bool(row.get("p_holm", row["p"]) < SHOWN)


def points(row: Mapping[str, Any]) -> str:
    """Return a difference with its interval, "+1.8 hF points [0.9, 2.7]", in digits enough to tell it from 0."""
    difference, low, high = (100 * (row[name] or 0.0) for name in ("difference", "low", "high"))
    parts = (difference, low, high) if row["low"] is not None else (difference,)
    least = min((abs(part) for part in parts if abs(part) > 1e-6), default=1.0)
    digits = 1 if least >= 0.05 else 2 if least >= 0.005 else 3
    difference, low, high = (round(part, digits) + 0.0 for part in (difference, low, high))  # no "-0.0"
    interval = "" if row["low"] is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{difference:+.{digits}f} hF points{interval}".replace("-", "−")


def _verdict(comparison: Comparison) -> str:
    a, b = comparison.names
    overall = comparison["hF"]
    if not comparison.documents:
        return f"There are no documents to compare {a} and {b} on."
    if not comparison.differing:
        of = f"all {comparison.documents:,} documents" if comparison.documents > 1 else "the one document"
        return f"{a} and {b} give the same labels to {of}."
    if comparison.documents == 1:
        return f"One document cannot show a difference between {a} and {b}."
    up = overall["difference"] > 0
    if shown(overall):
        return f"{a} against {b}: {points(overall)} overall; {_where(comparison, up)}."
    found = f"No difference in hF between {a} and {b} can be shown: {points(overall)} overall, {p_text(overall['p'])}"
    parts = [f"{word} {places}" for word, places in _apart(comparison)]
    return f"{found}; but {a} {' and '.join(parts)}." if parts else f"{found}."


def p_text(p: float) -> str:
    """Return "p < 0.001" or "p = 0.042"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _where(comparison: Comparison, up: bool) -> str:
    """Return where a difference that is shown overall comes from, and what goes the other way."""
    places = _places(comparison, up)
    noun = "gain" if up else "loss"
    tested = "level or range of training documents" if comparison.buckets else "level"
    where = f"the {noun} shows {places}" if places else f"no single {tested} shows the {noun}"
    against = _places(comparison, not up)
    return f"{where}; it {'loses' if up else 'gains'} {against}" if against else where


def _apart(comparison: Comparison) -> list[tuple[str, str]]:
    found = [("gains", _places(comparison, True)), ("loses", _places(comparison, False))]
    return [(word, places) for word, places in found if places]


def _places(comparison: Comparison, up: bool) -> str:
    """Return "in level 4 and in nodes with at most 20 training documents", or "" where nothing is shown."""

    def chosen(rows: Sequence[Row]) -> list[int]:
        return [i for i, row in enumerate(rows) if shown(row) and (row["difference"] > 0) == up]

    levels, buckets = chosen(comparison.levels), chosen(comparison.buckets)
    parts = []
    if levels:
        all_levels = 1 < len(levels) == len(comparison.levels)
        parts.append("on every level" if all_levels else f"in {_levels_text(comparison.levels, levels)}")
    if buckets:
        all_buckets = 1 < len(buckets) == len(comparison.buckets)
        ranges = [_bucket_text(comparison.buckets, run) for run in _runs(buckets)]
        parts.append(
            "in nodes with few and with many training documents" if all_buckets else f"in nodes {_and(ranges)}"
        )
    return " and ".join(parts)


def _levels_text(rows: Sequence[Row], chosen: Sequence[int]) -> str:
    numbers = [str(rows[i]["level"]) for i in chosen]
    return f"level{'s' if len(numbers) > 1 else ''} {_and(numbers)}"


def _bucket_text(rows: Sequence[Row], run: Sequence[int]) -> str:
    """Return "with at most 20 training documents" for a run of neighbouring buckets."""
    names = [str(rows[i]["train_count"]) for i in run]
    low, high = names[0].partition("-")[0], names[-1].partition("-")[2] or names[-1]
    if high.startswith(">"):
        above = int(low[1:]) if low.startswith(">") else int(low) - 1
        return f"with more than {above} training documents" if above else "with training documents"
    if low == "0":
        return "without training documents" if high == "0" else f"with at most {high} training documents"
    return f"with {low}–{high} training documents"


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """Return neighbouring positions together: [0, 1, 4] -> [[0, 1], [4]]."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][-1] == position - 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
