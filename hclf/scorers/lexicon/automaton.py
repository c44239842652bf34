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
from hclf.scorers.lexicon.matches import ACROSS, GAPPED, REORDERED, TYPO, Matches, firsts, leading
from hclf.scorers.lexicon.phrases import Variants
from hclf.scorers.lexicon.sums import SumTable, keys_of, word_numbers
from hclf.scorers.lexicon.text import COMMA, SENTENCE, Words, is_unspaced, split
from hclf.scorers.lexicon.typos import Speller

__all__ = ["ACROSS", "GAPPED", "REORDERED", "TYPO", "Matches", "PhraseFinder"]

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

_BATCH = 1 << 19  # characters looked at together
_KNOWN = 1 << 20  # spellings remembered
_UNKNOWN, _STOP = -1, -2
_WORDS_IN_GAPPED = 5  # a longer phrase is found without other words between only


class _Stream(NamedTuple):
    """The words of texts that are no stop words, in order.

    Attributes:
        rows, starts, ends: as in `Words`.
        ids: in the vocabulary, -1 if not.
        guessed: whether the id was guessed, for a typo.
        sentences, commas: how many of such breaks came before.
    """

    rows: Small
    starts: Small
    ends: Small
    ids: Small
    guessed: NDArray[np.bool_]
    sentences: Small
    commas: Small


class _Hits(NamedTuple):
    """Windows that hold the words of a variant."""

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
        variants: also find what `phrases.variants` makes of a phrase, such as "Pneumonia (acute)" without "acute".
        reorder: find words in another order.
        gap: how many other words may stand within a phrase of two to five words.
        typos: read a word that is in no phrase as the one that it is one slip away from.
        known_words: words that are no typos although no phrase has them.

    >>> finder = PhraseFinder(["Anemia, iron deficiency", "Anemia"])
    >>> found = finder.find(["Iron-deficiency anaemia", "Deficiency of iron: anemia"])
    >>> found.phrases.tolist(), found.kinds.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0, 1], [1, 0], [0, 20], [23, 26])
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
        folded = {self.folding.fold(word) for word in known_words}
        self.known_words = sorted(folded.difference(self.variants.vocabulary, [""]))
        self._prepare()

    def _prepare(self) -> None:
        """Build what follows from the variants."""
        variants = self.variants
        self._ids = {word: i for i, word in enumerate(variants.vocabulary)}
        self._spellings: dict[str, int] = {}
        self._speller = Speller(variants.vocabulary, variants.counts, self.known_words) if self.typos else None
        # An unknown word has the last number, which no phrase has in its sum.
        self._numbers = np.append(word_numbers(len(variants.vocabulary)), np.uint64(0))
        self._sizes = np.diff(variants.indptr)
        self._lengths: list[int] = np.unique(self._sizes).tolist()
        self._table = SumTable(keys_of(variants.totals(self._numbers, np.add), self._sizes))
        # The order of characters of a script without blanks is their meaning.
        unspaced = np.array([is_unspaced(word) for word in variants.vocabulary], dtype=bool)
        self._rigid = variants.totals(unspaced, np.logical_or)

    def find(self, texts: Sequence[str], *, nested: bool = False) -> Matches:
        """Return the matches in texts.

        Args:
            texts: to search.
            nested: keep what `matches.leading` drops: matches inside longer ones and less sure ones over the same
                words.
        """
        parts, texts_done, words_done = [Matches.none()], 0, 0
        for batch in _batches(texts):
            stream = self._stream(split(batch))
            found = self._matches(stream)
            if not nested:
                found = found.take(leading(found))
            parts.append(found._replace(rows=found.rows + np.int32(texts_done), first=found.first + words_done))
            texts_done += len(batch)
            words_done += len(stream.ids)
        return Matches._make(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def _stream(self, words: Words) -> _Stream:
        ids, guessed = self._identified(words.surfaces)
        sentences = np.cumsum(words.breaks == SENTENCE, dtype=np.int32)
        commas = np.cumsum(words.breaks == COMMA, dtype=np.int32)
        columns = words.rows, words.starts, words.ends, ids, guessed, sentences, commas
        keep = np.flatnonzero(ids != _STOP)
        return _Stream._make(column[keep] for column in columns)

    def _identified(self, surfaces: Sequence[str]) -> tuple[Small, NDArray[np.bool_]]:
        """Return the id of each word and whether it was guessed."""
        spellings = self._spellings
        if len(spellings) > _KNOWN:
            self._spellings = spellings = {}
        new = [word for word in dict.fromkeys(surfaces) if word not in spellings]
        spellings.update(zip(new, self._codes(new), strict=True))
        codes = np.fromiter(map(spellings.__getitem__, surfaces), dtype=np.int32, count=len(surfaces))
        guessed = codes < _STOP
        return np.where(guessed, _STOP - 1 - codes, codes), guessed

    def _codes(self, words: Sequence[str]) -> list[int]:
        """Return of each word its id, -1 if it is unknown, -2 if it is a stop word, -3 - id if it was guessed."""
        folded = [self.folding.fold(word) for word in words]
        codes = [self._ids.get(word, _UNKNOWN) if word else _STOP for word in folded]
        if self._speller:
            unknown = [i for i, code in enumerate(codes) if code == _UNKNOWN]
            guesses = self._speller.guess([folded[i] for i in unknown])
            for i, guess in zip(unknown, guesses.tolist(), strict=True):
                codes[i] = _STOP - 1 - guess if guess >= 0 else _UNKNOWN
        return codes

    def _matches(self, stream: _Stream) -> Matches:
        hits = [*self._windows(stream), *self._gapped(stream)]
        if not hits:
            return Matches.none()
        first, last, variants, kinds, mask = (np.concatenate(columns) for columns in zip(*hits, strict=True))
        kinds[stream.commas[first] != stream.commas[last]] |= ACROSS
        kinds[_any_guessed(stream, first, last, mask)] |= TYPO
        phrases, words = self.variants.phrase[variants], self._sizes[variants].astype(np.int32)
        # A phrase that several of its variants, or several patterns, find in one place was found once.
        order = np.lexsort((mask, kinds, -words, phrases, last, first))
        order = order[firsts(first[order], last[order], phrases[order])]
        first, last = first[order], last[order]
        return Matches(
            rows=stream.rows[first],
            starts=stream.starts[first],
            ends=stream.ends[last],
            phrases=phrases[order],
            kinds=kinds[order],
            words=words[order],
            first=first,
            mask=mask[order],
        )

    def _windows(self, stream: _Stream) -> Iterator[_Hits]:
        """Yield the hits without other words in them, by how many words they have."""
        ids = stream.ids
        unknown = np.append(0, np.cumsum(ids < 0))
        total = np.append(np.uint64(0), np.cumsum(self._numbers[ids], dtype=np.uint64))
        for length in self._lengths:
            count = len(ids) - length + 1
            if count <= 0:
                return
            good = unknown[length:] == unknown[:count]
            good &= stream.sentences[length - 1 :] == stream.sentences[:count]
            first = np.flatnonzero(good)
            window, variants = self._table.find(keys_of(total[first + length] - total[first], length))
            yield self._verified(stream, first[window], np.arange(length), variants)

    def _gapped(self, stream: _Stream) -> Iterator[_Hits]:
        """Yield the hits with other words in them, by which words of a window are meant."""
        ids = stream.ids
        known, numbers = ids >= 0, self._numbers[ids]
        lengths = [length for length in self._lengths if 2 <= length <= _WORDS_IN_GAPPED]
        for last in range(2, max(lengths, default=0) + self.gap):
            count = len(ids) - last
            if count <= 0:
                return
            good = known[:count] & known[last:]
            good &= stream.sentences[last:] == stream.sentences[:count]
            good &= stream.commas[last:] == stream.commas[:count]
            spans = np.flatnonzero(good)
            for length in lengths:
                if not 0 < last + 1 - length <= self.gap:
                    continue
                for inner in combinations(range(1, last), length - 2):
                    first = spans
                    for place in inner:
                        first = first[known[first + place]]
                    places = np.array([0, *inner, last])
                    sums = numbers[first[:, None] + places].sum(axis=1, dtype=np.uint64)
                    window, variants = self._table.find(keys_of(sums, length))
                    yield self._verified(stream, first[window], places, variants)

    def _verified(self, stream: _Stream, first: Ints, places: Ints, variants: Ints) -> _Hits:
        """Return those of the hits that hold the words of their variants and are of a permitted kind."""
        said = stream.ids[first[:, None] + places]
        asked = self.variants.words[self.variants.indptr[variants][:, None] + np.arange(len(places))]
        ordered = (said == asked).all(axis=1)
        real = (np.sort(said, axis=1) == np.sort(asked, axis=1)).all(axis=1)
        kinds = np.where(ordered, 0, REORDERED).astype(np.uint8)
        kinds |= np.uint8(GAPPED * (places[-1] >= len(places)))
        keep = np.flatnonzero(real & (ordered | self.reorder) & ((kinds == 0) | ~self._rigid[variants]))
        bits = np.bitwise_or.reduce(np.uint64(1) << places[places < 64].astype(np.uint64))
        first = first[keep]
        return _Hits(first, first + places[-1], variants[keep], kinds[keep], np.full(len(keep), bits, np.uint64))

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything needed to find again, as JSON-able values and arrays."""
        config = {
            "reorder": self.reorder,
            "gap": self.gap,
            "typos": self.typos,
            "folding": self.folding.get_state(),
            "known_words": self.known_words,
        }
        return config, self.variants.get_state()

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a finder from what `get_state` returned."""
        finder = cls.__new__(cls)
        finder.reorder, finder.gap, finder.typos = config["reorder"], config["gap"], config["typos"]
        finder.folding = Folding.from_state(config["folding"])
        finder.known_words = list(config["known_words"])
        finder.variants = Variants.from_state(arrays)
        finder._prepare()
        return finder


def _any_guessed(stream: _Stream, first: Ints, last: Ints, mask: Hashes) -> NDArray[np.bool_]:
    """Return whether a word of each hit was guessed."""
    guessed = np.append(0, np.cumsum(stream.guessed))
    found = guessed[last + 1] > guessed[first]
    # Of those with other words in them, only their own words count.
    gapped = np.flatnonzero(found & (mask & (mask + np.uint64(1)) > 0))
    found[gapped] = False
    for place in range(int((last - first)[gapped].max(initial=-1)) + 1):
        here = gapped[(mask[gapped] >> np.uint64(place)) & np.uint64(1) > 0]
        found[here] |= stream.guessed[first[here] + place]
    return found


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in lists of about `_BATCH` characters."""
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
