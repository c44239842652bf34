"""Which runs of words read like a mention, whatever of: a linear model over words, their beginnings and ends,
and the words around.

It is learned from the mentions of training documents, and finds mentions that nobody has made before. Words are known
by hashes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.utils import murmurhash3_32

from hclf.scorers.lexicon.folding import Folding
from hclf.scorers.lexicon.text import SENTENCE, split
from hclf.taxonomy import distinct

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LONGEST = 6  # words of a span that is looked at without having been found as a phrase
READ = 8  # words of a span that its features are taken from
BEFORE = 6  # words before a span that may change what it says
BITS = 19  # of the hashes of features
EASY = 0.35  # share of the spans without a mention that are learned from
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Tokens(NamedTuple):
    """The words of texts, in order.

    Attributes:
        rows, starts, ends, breaks: as in `text.Words`.
        forms: folded words; "" for a stop word.
        content: whether a word is neither a stop word nor a number.
        sentence: a number for the sentence of each word.
        hashes: (kinds, words) of each word: itself, its first 3 and 5 letters, its last 2, 3 and 4.
        bounds: (texts + 1,) first word of each text.
    """

    rows: Ints
    starts: Ints
    ends: Ints
    breaks: NDArray[np.uint8]
    forms: list[str]
    content: NDArray[np.bool_]
    sentence: Ints
    hashes: Hashes
    bounds: Ints

    @classmethod
    def of(cls, texts: Sequence[str], folding: Folding) -> Self:
        """Return the words of texts."""
        words = split(texts)
        kinds = {word: (folding.fold(word), folding.stem(word)) for word in dict.fromkeys(words.surfaces)}
        forms = [kinds[word][0] for word in words.surfaces]
        stems = [kinds[word][1] for word in words.surfaces]
        table = {stem: _hashes(stem) for stem in dict.fromkeys(stems)}
        hashes = np.array([table[stem] for stem in stems], dtype=np.uint64).reshape(len(stems), 6)
        content = np.array([bool(form) and not form.isdigit() for form in forms], dtype=bool)
        sentence = np.cumsum(words.breaks == SENTENCE)
        rows = words.rows.astype(np.int64)
        bounds = np.searchsorted(rows, np.arange(len(texts) + 1))
        starts, ends = words.starts.astype(np.int64), words.ends.astype(np.int64)
        return cls(rows, starts, ends, words.breaks, forms, content, sentence, hashes.T.copy(), bounds)

    def places(self, rows: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
        """Return first word and last word + 1 of spans of characters, each of which holds a word."""
        base = np.int64(2) ** 32
        first = np.searchsorted(self.rows * base + self.ends, rows * base + starts, side="right")
        last = np.searchsorted(self.rows * base + self.starts, rows * base + ends, side="left")
        return first, last

    def key(self, first: int, last: int) -> str:
        """Return the words of a span that are no stop words."""
        return " ".join(form for form in self.forms[first:last] if form)


class Spans(NamedTuple):
    """Runs of words: first word, last word + 1."""

    first: Ints
    last: Ints


def _hashes(word: str) -> list[int]:
    word = "0" if word.isdigit() else word
    parts = (word, word[:3], word[:5], word[-2:], word[-3:], word[-4:])
    return [murmurhash3_32(part, seed=kind, positive=True) for kind, part in enumerate(parts)]


def candidate_spans(tokens: Tokens) -> Spans:
    """Return the runs of up to `LONGEST` words of one sentence that begin with a word of content and end with none
    that is a stop word."""
    starts = np.flatnonzero(tokens.content)
    ending = np.array([bool(form) for form in tokens.forms], dtype=bool)
    first, last = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for size in range(1, LONGEST + 1):
        fits = starts[starts + size <= len(ending)]
        end = fits + size - 1
        good = ending[end] & (tokens.sentence[fits] == tokens.sentence[end])
        first.append(fits[good])
        last.append(end[good] + 1)
    begin, end = np.concatenate(first), np.concatenate(last)
    order = np.lexsort((end, begin))
    return Spans(begin[order], end[order])


class SpanModel:
    """A logistic model of spans.

    Attributes:
        weights: (2 ** BITS,); bias.
    """

    def __init__(self, weights: NDArray[np.float32], bias: float) -> None:
        self.weights, self.bias = weights, bias

    @classmethod
    def fit(cls, X: csr_matrix[Any], truth: NDArray[np.bool_], *, seed: int = 0) -> Self:
        """Learn from the features of spans and which of them are mentions."""
        keep = truth | (np.random.default_rng(seed).random(len(truth)) < EASY)
        model = LogisticRegression(C=1.0, solver="liblinear", tol=1e-2, random_state=seed)
        model.fit(X[keep], truth[keep])
        return cls(model.coef_[0].astype(np.float32), float(model.intercept_[0] + np.log(EASY)))

    def logits(self, X: csr_matrix[Any]) -> NDArray[np.float32]:
        """Return log-odds of being a mention."""
        result: NDArray[np.float32] = np.asarray(X @ self.weights, dtype=np.float32) + np.float32(self.bias)
        return result

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON-able values and arrays that `from_state` builds an equal model from."""
        used = np.flatnonzero(self.weights)
        return {"bias": self.bias}, {"used": used, "weights": self.weights[used]}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        weights = np.zeros(1 << BITS, dtype=np.float32)
        weights[arrays["used"]] = arrays["weights"]
        return cls(weights, config["bias"])


def span_features(tokens: Tokens, spans: Spans) -> csr_matrix[Any]:
    """Return (spans, 2 ** BITS) binary features."""
    first, last = spans
    size = last - first
    gather = _Gather(len(first))
    word = tokens.hashes[0]
    for offset in range(READ):
        here = np.flatnonzero(size > offset)
        at = first[here] + offset
        for kind, hashes in enumerate(tokens.hashes):
            gather.add(10 + kind, here, hashes[at])
        here = here[size[here] > offset + 1]
        at = first[here] + offset
        gather.add(20, here, _mixed(1, word[at]) ^ word[at + 1])
    everything = np.arange(len(first))
    before = [_neighbour(tokens, first, -step, first) for step in range(1, BEFORE + 1)]
    after = [_neighbour(tokens, last - 1, step, first) for step in (1, 2)]
    edges = (
        word[first],
        word[last - 1],
        tokens.hashes[5][first],
        tokens.hashes[5][last - 1],
        before[0],
        before[1],
        _mixed(1, before[1]) ^ before[0],
        after[0],
        _mixed(1, after[0]) ^ after[1],
        size.astype(np.uint64),
        _mixed(1, word[first]) ^ size.astype(np.uint64),
        *_breaks(tokens, spans),
        _content_count(tokens, spans),
    )
    for salt, hashes in enumerate(edges, start=30):
        gather.add(salt, everything, hashes)
    for hashes in before:
        gather.add(60, everything, hashes)
    return gather.matrix()


class _Gather:
    """Features of rows, added kind by kind."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.parts: list[Ints] = []

    def add(self, salt: int, rows: Ints, hashes: Hashes) -> None:
        """Add a feature to each of some rows."""
        columns = (_mixed(salt, hashes) >> np.uint64(64 - BITS)).astype(np.int64)
        self.parts.append((rows << BITS) | columns)

    def matrix(self) -> csr_matrix[Any]:
        """Return what was added, each feature of a row once."""
        keys = distinct(np.concatenate(self.parts))
        rows, columns = keys >> BITS, keys & ((1 << BITS) - 1)
        indptr = np.searchsorted(rows, np.arange(self.rows + 1))
        return csr_matrix((np.ones(len(keys), np.float32), columns, indptr), shape=(self.rows, 1 << BITS))


def _mixed(salt: int, hashes: Hashes) -> Hashes:
    value = (hashes + np.uint64(salt)) * _ODD
    value ^= value >> np.uint64(29)
    result: Hashes = value * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(salt * int(_ODD) % 2**64)
    return result


def _neighbour(tokens: Tokens, at: Ints, step: int, anchor: Ints) -> Hashes:
    """Return the word so many steps from another, 0 outside the sentence of the anchor."""
    place = at + step
    inside = (place >= 0) & (place < len(tokens.sentence))
    place = np.where(inside, place, 0)
    inside &= tokens.sentence[place] == tokens.sentence[anchor]
    return np.where(inside, tokens.hashes[0][place] if len(place) else np.uint64(0), np.uint64(0))


def _breaks(tokens: Tokens, spans: Spans) -> tuple[Hashes, Hashes, Hashes]:
    """Return what parts a span from the word before, from the word after, and its words from each other."""
    breaks = np.append(tokens.breaks, np.uint8(SENTENCE)).astype(np.uint64)
    inside = np.append(0, np.cumsum(tokens.breaks > 0))
    within = inside[spans.last] - inside[np.minimum(spans.first + 1, spans.last)]
    return breaks[spans.first], breaks[spans.last], np.where(within > 0, np.uint64(1), np.uint64(0))


def _content_count(tokens: Tokens, spans: Spans) -> Hashes:
    counts = np.append(0, np.cumsum(tokens.content))
    content: Hashes = (counts[spans.last] - counts[spans.first]).astype(np.uint64)
    return content


def best_of_each(groups: Ints, values: NDArray[Any], most: int) -> Ints:
    """Return the places of the highest values of each group, at most so many, ascending; ties go to the first."""
    order = np.lexsort((np.arange(len(groups)), -values, groups))
    ranks = _ranks(groups[order])
    return np.sort(order[ranks < most])


def _ranks(groups: Ints) -> Ints:
    """Return how many of its group come before each item; groups ascending."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
