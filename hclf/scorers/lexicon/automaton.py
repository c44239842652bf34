"""Finds several hundred thousand phrases in texts: word by word, in any order, with words between, with typos.

Every word has a random number; a phrase is known by the sum of its words' numbers, which their order does not change.
The sums of all windows of a text are looked up at once with array operations, and every hit is compared word by word.
Stop words count on neither side, so they are permitted gaps: "cancer of the breast" is found by "breast cancer".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hclf.scorers.lexicon.folding import Folding
from hclf.scorers.lexicon.phrases import Variants
from hclf.scorers.lexicon.text import COMMA, SENTENCE, Words, is_unspaced, split
from hclf.scorers.lexicon.typos import Speller

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

REORDERED, GAPPED, TYPO, ACROSS = 1, 2, 4, 8
"""Kinds of a match, added up; 0 is exact. ACROSS: a comma, bracket or new line lies within."""

_BATCH = 1 << 19  # characters looked at together
_KNOWN = 1 << 20  # spellings remembered
_UNKNOWN, _STOP = -1, -2
_WORDS_IN_GAPPED = 5  # a longer phrase is found without other words between only
_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd constants without structure (2**64 / golden ratio, and murmur3's)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


class Matches(NamedTuple):
    """Where phrases occur: (matches,) arrays, by text, then start.

    Attributes:
        rows: the text.
        starts, ends: character offsets into that text, from the first to the last word.
        phrases: index of the phrase.
        kinds: sum of REORDERED, GAPPED, TYPO, ACROSS; 0: exact.
        words: how many words of the phrase were found, stop words and left-out parts not counted.
        first, mask: which words of the text: the first, among all that are no stop words in the texts given, and bit
            i of the mask for the i-th after it. A phrase of over 64 words has its first 64 bits.
    """

    rows: Small
    starts: Small
    ends: Small
    phrases: Small
    kinds: Bytes
    words: Bytes
    first: Small
    mask: Hashes

    def take(self, which: Ints | NDArray[np.bool_]) -> Matches:
        """Return some of the matches."""
        return Matches._make(column[which] for column in self)


class _Stream(NamedTuple):
    """The words of texts that are no stop words: ids (-1 unknown), whether guessed, sentences and commas so far."""

    rows: Small
    starts: Small
    ends: Small
    ids: Small
    guessed: NDArray[np.bool_]
    sentence: Small
    commas: Small


class _Hits(NamedTuple):
    """Windows that hold the words of a variant: first word, last word, variant, kind, mask."""

    first: Ints
    last: Ints
    variants: Ints
    kinds: Bytes
    mask: Hashes


class PhraseFinder:
    """Finds phrases in texts.

    Args:
        phrases: what to find; a match gives the index.
        languages: whose stop words, endings and other data to use; None means all that ship.
        variants: also find what `phrases.variants` makes of a phrase ("Anemia, iron deficiency" without the comma's
            order matters not; "(acute)" may be missing).
        reorder: find words in another order.
        gap: how many other words may stand within a phrase of two to five words.
        typos: read a word that is in no phrase as the most similar one that is.
        known_words: words that are no typos although no phrase has them.
    """

    def __init__(
        self,
        phrases: Sequence[str],
        *,
        languages: Sequence[str] | None = None,
        variants: bool = True,
        reorder: bool = True,
        gap: int = 2,
        typos: bool = True,
        known_words: Sequence[str] = (),
    ) -> None:
        self.reorder, self.gap, self.typos = reorder, gap, typos
        self.folding = Folding(languages)
        self.variants = Variants.of(phrases, self.folding, languages, more=variants)
        ordinary = {self.folding.fold(word) for word in known_words} - set(self.variants.vocabulary)
        self.ordinary = sorted(ordinary - {""})
        self._prepare()

    def _prepare(self) -> None:
        variants = self.variants
        self._ids = {word: i for i, word in enumerate(variants.vocabulary)}
        self._spellings: dict[str, int] = {}
        self._speller = Speller(variants.vocabulary, variants.counts, self.ordinary) if self.typos else None
        self._numbers = _numbers(len(variants.vocabulary))
        self._lengths = np.diff(variants.indptr)
        sums = (
            np.add.reduceat(self._numbers[variants.words], variants.indptr[:-1]) if len(self._lengths) else _empty()
        )
        self._table = _Table(_keys(sums, self._lengths))
        # The order of characters of a script without blanks is their meaning.
        unspaced = np.array([is_unspaced(word) for word in variants.vocabulary], dtype=bool)
        self._rigid = np.zeros(len(self._lengths), dtype=bool)
        if len(self._lengths):
            self._rigid = np.logical_or.reduceat(unspaced[variants.words], variants.indptr[:-1])

    @property
    def unfindable(self) -> Ints:
        """The phrases that have no word to find: of stop words only, of signs, or empty."""
        found = np.zeros(self.variants.phrases_given, dtype=bool)
        found[self.variants.phrase] = True
        return np.flatnonzero(~found)

    def find(self, texts: Sequence[str], *, nested: bool = False) -> Matches:
        """Return the matches in texts.

        Args:
            texts: to search.
            nested: keep matches whose words all lie in a longer one, and doubtful ones beside better ones.
        """
        parts, done = [_nothing()], 0
        for batch in _batches(texts):
            stream = self._stream(split(batch))
            found = self._matches(stream)
            if not nested:
                found = found.take(_leading(found))
            parts.append(found._replace(rows=found.rows + np.int32(done)))
            done += len(batch)
        return Matches._make(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def _stream(self, words: Words) -> _Stream:
        ids, guessed = self._identify(words.surfaces)
        sentence = np.cumsum(words.breaks == SENTENCE, dtype=np.int32)
        commas = np.cumsum(words.breaks == COMMA, dtype=np.int32)
        keep = np.flatnonzero(ids != _STOP)
        columns = words.rows, words.starts, words.ends, ids, guessed, sentence, commas
        return _Stream._make(column[keep] for column in columns)

    def _identify(self, surfaces: Sequence[str]) -> tuple[Small, NDArray[np.bool_]]:
        """Return the id of each word and whether it was guessed."""
        spellings = self._spellings
        new = [word for word in dict.fromkeys(surfaces) if word not in spellings]
        if len(spellings) + len(new) > _KNOWN:
            self._spellings = spellings = {}
            new = list(dict.fromkeys(surfaces))
        folded = [self.folding.fold(word) for word in new]
        unknown = [i for i, word in enumerate(folded) if word and word not in self._ids]
        codes = [self._ids.get(word, _UNKNOWN) if word else _STOP for word in folded]
        if self._speller and unknown:
            guesses = self._speller.guess([folded[i] for i in unknown])
            for i, guess in zip(unknown, guesses.tolist(), strict=True):
                codes[i] = -3 - guess if guess >= 0 else _UNKNOWN
        spellings.update(zip(new, codes, strict=True))
        ids = np.fromiter(map(spellings.__getitem__, surfaces), dtype=np.int32, count=len(surfaces))
        guessed = ids < _STOP
        return np.where(guessed, -3 - ids, ids), guessed

    def _matches(self, stream: _Stream) -> Matches:
        hits = [*self._windows(stream), *(self._gapped(stream) if self.gap else ())]
        if not hits:
            return _nothing()
        first, last, variants, kinds, mask = (np.concatenate(columns) for columns in zip(*hits, strict=True))
        kinds[stream.commas[first] != stream.commas[last]] |= ACROSS
        guessed = np.concatenate([[0], np.cumsum(stream.guessed)])
        unsure = np.flatnonzero(guessed[last + 1] > guessed[first])
        kinds[unsure[self._guessed_in(stream, first[unsure], mask[unsure])]] |= TYPO
        phrases = self.variants.phrase[variants]
        words = np.minimum(self._lengths[variants], 255)
        order = np.lexsort((kinds, -words, phrases, last, first))
        same = (first[order], last[order], phrases[order])
        fresh = np.ones(len(order), dtype=bool)
        if len(order):
            fresh[1:] = np.any([column[1:] != column[:-1] for column in same], axis=0)
        order = order[fresh]
        first, last = first[order], last[order]
        return Matches(
            stream.rows[first],
            stream.starts[first],
            stream.ends[last],
            phrases[order],
            kinds[order],
            words[order].astype(np.uint8),
            first.astype(np.int32),
            mask[order],
        )

    def _guessed_in(self, stream: _Stream, first: Ints, mask: Hashes) -> NDArray[np.bool_]:
        found = np.zeros(len(first), dtype=bool)
        for i in range(64):
            here = np.flatnonzero((mask >> np.uint64(i)) & np.uint64(1))
            found[here] |= stream.guessed[first[here] + i]
        return found

    def _windows(self, stream: _Stream) -> Iterator[_Hits]:
        """Yield the windows without other words in them, of each length that a phrase has."""
        ids = stream.ids
        unknown = np.concatenate([[0], np.cumsum(ids < 0)])
        numbers = np.where(ids < 0, np.uint64(0), self._numbers[ids]) if len(self._numbers) else _empty()
        total = np.concatenate([_empty(1), np.cumsum(numbers, dtype=np.uint64)])
        for length in np.unique(self._lengths).tolist():
            if length > len(ids):
                return
            ends = slice(length, None)
            begins = slice(None, len(total) - length)
            good = unknown[ends] == unknown[begins]
            good &= stream.sentence[length - 1 :] == stream.sentence[: len(ids) - length + 1]
            first = np.flatnonzero(good)
            if not len(first):
                continue
            keys = _keys(total[first + length] - total[first], length)
            place, variants = self._table.find(keys)
            yield self._verified(stream, first[place], np.arange(length), variants)

    def _gapped(self, stream: _Stream) -> Iterator[_Hits]:
        """Yield the windows with other words in them, by each pattern of places."""
        lengths = [n for n in np.unique(self._lengths).tolist() if 2 <= n <= _WORDS_IN_GAPPED]
        ids = stream.ids
        known = ids >= 0
        numbers = np.where(known, self._numbers[ids], np.uint64(0)) if len(self._numbers) else _empty()
        for last in range(2, max(lengths, default=0) + self.gap):
            count = len(ids) - last
            if count <= 0:
                return
            good = known[:count] & known[last:]
            good &= stream.sentence[last:] == stream.sentence[:count]
            good &= stream.commas[last:] == stream.commas[:count]
            begins = np.flatnonzero(good)
            for length in lengths:
                if not 0 < last + 1 - length <= self.gap:
                    continue
                for inner in combinations(range(1, last), length - 2):
                    first = begins
                    for i in inner:
                        first = first[known[first + i]]
                    places = np.array([0, *inner, last])
                    keys = _keys(numbers[first[:, None] + places].sum(axis=1, dtype=np.uint64), length)
                    at, variants = self._table.find(keys)
                    yield self._verified(stream, first[at], places, variants)

    def _verified(self, stream: _Stream, first: Ints, places: Ints, variants: Ints) -> _Hits:
        """Return the windows that really hold their variants' words, with what is unlike in them."""
        said = stream.ids[first[:, None] + places]
        asked = self.variants.words[self.variants.indptr[variants][:, None] + np.arange(len(places))]
        ordered = (said == asked).all(axis=1)
        real = (np.sort(said, axis=1) == np.sort(asked, axis=1)).all(axis=1)
        gapped = places[-1] >= len(places)
        kinds = np.where(ordered, 0, REORDERED).astype(np.uint8)
        if gapped:
            kinds |= GAPPED
        real &= ordered | self.reorder
        real &= (kinds == 0) | ~self._rigid[variants]
        keep = np.flatnonzero(real)
        bits = np.bitwise_or.reduce(np.uint64(1) << places[places < 64].astype(np.uint64))
        mask = np.full(len(keep), bits, dtype=np.uint64)
        first = first[keep]
        return _Hits(first, first + places[-1], variants[keep], kinds[keep], mask)

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything needed to find again, as JSON-able values and arrays."""
        variants = self.variants
        config = {
            "reorder": self.reorder,
            "gap": self.gap,
            "typos": self.typos,
            "folding": self.folding.get_state(),
            "phrases": variants.phrases_given,
        }
        arrays = {
            "vocabulary": _packed(variants.vocabulary),
            "ordinary": _packed(self.ordinary),
            "indptr": variants.indptr,
            "words": variants.words,
            "phrase": variants.phrase,
        }
        return config, arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a finder from what `get_state` returned."""
        finder = cls.__new__(cls)
        finder.reorder, finder.gap, finder.typos = config["reorder"], config["gap"], config["typos"]
        finder.folding = Folding.from_state(config["folding"])
        finder.ordinary = _unpacked(arrays["ordinary"])
        finder.variants = Variants(
            _unpacked(arrays["vocabulary"]), arrays["indptr"], arrays["words"], arrays["phrase"], config["phrases"]
        )
        finder._prepare()
        return finder


class _Table:
    """Looks up keys; equal ones are told apart by their place."""

    def __init__(self, keys: Hashes) -> None:
        self.order = np.argsort(keys, kind="stable")
        ascending = keys[self.order]
        starts = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1])) if len(keys) else np.zeros(0, int)
        self.keys = ascending[starts]
        self.indptr = np.append(starts, len(keys))
        self._shift = np.uint64(64 - min(24, max(8, len(self.keys).bit_length() + 4)))
        self._present = np.zeros(1 << (64 - int(self._shift)), dtype=bool)
        self._present[(self.keys >> self._shift).astype(np.int64)] = True

    def find(self, keys: Hashes) -> tuple[Ints, Ints]:
        """Return pairs of an index into these keys and the place of an equal key."""
        likely = np.flatnonzero(self._present[(keys >> self._shift).astype(np.int64)])
        if not len(likely):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        wanted = keys[likely]
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        hit = self.keys[at] == wanted
        likely, at = likely[hit], at[hit]
        counts = self.indptr[at + 1] - self.indptr[at]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(likely, counts), self.order[np.repeat(self.indptr[at], counts) + within]


def _leading(found: Matches) -> Ints:
    """Return the matches to keep: the longest, and of those over the same words the surest.

    What lies inside a match without other words or commas in it is dropped; a doubtful match with such drops only
    doubtful ones inside it.
    """
    first = found.first.astype(np.int64)
    last = first + _length(found.mask) - 1
    # Phrases of over 64 words: the mask ends early, the count does not.
    last = np.maximum(last, first + found.words.astype(np.int64) - 1)
    doubtful = (found.kinds & (GAPPED | ACROSS)) > 0
    gapped = (found.kinds & GAPPED) > 0
    keep = ~_inside(first, last, ~doubtful)
    keep &= ~(doubtful & _inside(first, last, doubtful & ~gapped))
    keep[gapped] &= ~_inside_gapped(first[gapped], last[gapped], found.mask[gapped])
    left = np.flatnonzero(keep)
    return left[_surest(found.take(left))]


def _inside(first: Ints, last: Ints, covering: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether each span lies inside a larger one of the covering."""
    if not covering.any():
        return np.zeros(len(first), dtype=bool)
    size = int(last.max()) + 2
    reach = np.full(size, -1)
    np.maximum.at(reach, first[covering], last[covering])
    before = np.concatenate([[-1], np.maximum.accumulate(reach)[:-1]])
    return (before[first] >= last) | (reach[first] > last)


def _inside_gapped(first: Ints, last: Ints, mask: Hashes) -> NDArray[np.bool_]:
    """Return for each match, by first word, whether its words are some of those of another one."""
    inside = np.zeros(len(first), dtype=bool)
    widest = int((last - first).max(initial=0))
    for shift in range(widest + 1):
        low, high = (np.searchsorted(first, first - shift, side=side) for side in ("left", "right"))
        counts = high - low
        small = np.repeat(np.arange(len(first)), counts)
        large = np.repeat(low, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        moved = mask[small] << np.uint64(shift)
        within = ((moved & ~mask[large]) == 0) & (moved != mask[large])
        inside[small[within]] = True
    return inside


def _surest(found: Matches) -> Ints:
    """Return of the matches over the same words those of the lowest kind."""
    order = np.lexsort((found.kinds, found.mask, found.ends, found.first))
    columns = found.mask[order], found.ends[order], found.first[order]
    group = np.ones(len(order), dtype=bool)
    if len(order):
        group[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    best = found.kinds[order][group][np.cumsum(group) - 1] if len(order) else found.kinds
    return np.sort(order[found.kinds[order] == best])


def _length(mask: Hashes) -> Ints:
    """Return the place of the highest bit, counted from 1."""
    lengths = np.zeros(len(mask), dtype=np.int64)
    rest = mask.copy()
    for step in (32, 16, 8, 4, 2, 1):
        high = rest >> np.uint64(step)
        lengths[high > 0] += step
        rest = np.where(high > 0, high, rest)
    return lengths + (mask > 0)


def _numbers(count: int) -> Hashes:
    """Return a random number for each word, the same in every process."""
    numbers = (np.arange(1, count + 1, dtype=np.uint64)) * _STEP
    for shift, factor in ((30, _MIX), (27, np.uint64(0x94D049BB133111EB))):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * factor
    return numbers ^ (numbers >> np.uint64(31))


def _keys(sums: Hashes, lengths: Any) -> Hashes:
    """Return what sums of so many words are looked up by, every bit spread over the upper ones."""
    keys: Hashes = (sums + np.asarray(lengths).astype(np.uint64) * _STEP) * _MIX
    mixed: Hashes = keys ^ (keys >> np.uint64(29))
    return mixed


def _empty(count: int = 0) -> Hashes:
    return np.zeros(count, dtype=np.uint64)


def _nothing() -> Matches:
    small = np.zeros(0, dtype=np.int32)
    byte = np.zeros(0, dtype=np.uint8)
    return Matches(small, small, small, small, byte, byte, small, _empty())


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text) + 1
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _packed(words: Sequence[str]) -> NDArray[np.uint8]:
    """Return words as bytes: UTF-8, a line each."""
    return np.frombuffer("".join(f"{word}\n" for word in words).encode(), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8]) -> list[str]:
    return packed.tobytes().decode().split("\n")[:-1]
