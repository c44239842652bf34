"""Word and character n-grams of many texts at once, as 64-bit hashes.

The n-grams are those of scikit-learn's `CountVectorizer`: `analyzer="word"` with `\\w+` tokens, and `"char_wb"`,
character n-grams inside words padded with one space. That vectoriser makes a Python string of every n-gram; here a
batch of texts is one array of code points and each n costs a few array operations, which is what makes scoring raw
text fast. Different n-grams share a hash with a probability of about 2**-64 a pair: never, in practice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int32]
Codes = NDArray[np.uint32]

CHARACTER_LENGTHS = (3, 4, 5)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd constants without structure (2**64 / golden ratio, and murmur3's)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_TABLE = 0x10000  # code points above share the entry of the last one, which counts as a letter
_SPACE = 32


class Ngrams(NamedTuple):
    """Occurrences of n-grams: of which text, and which n-gram."""

    rows: Ints
    hashes: Hashes


class Words(NamedTuple):
    """The words of texts: of which text, and from which character to which, (words,) each, in the order of reading.

    What stands between words belongs to the word before it, else to the one after it, if no blank is between; a run
    of such characters alone is a word, too.
    """

    rows: Ints
    starts: Ints
    ends: Ints


class Places(NamedTuple):
    """Where n-grams occur: (places,) the n-gram, an index into `Words`, and which share of the occurrence is there.

    The shares of one occurrence add up to 1. A pair of words is shared equally among the two, a character n-gram
    by its characters that are no spaces.
    """

    hashes: Hashes
    words: Ints
    shares: NDArray[np.float32]


def extract(texts: Sequence[str]) -> tuple[Ngrams, Ngrams]:
    """Return the word 1-2-grams and the character 3-5-grams of texts, every occurrence.

    >>> words, characters = extract(["Oat milk"])
    >>> len(words.hashes), len(characters.hashes)
    (3, 15)
    """
    codes, rows = _codes(texts)
    if not len(codes):
        nothing = Ngrams(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.uint64))
        return nothing, nothing
    return _word_ngrams(codes, rows), _character_ngrams(codes, rows)


def locate(texts: Sequence[str]) -> tuple[Words, Places, Places]:
    """Return the words of texts, and where in them each n-gram that `extract` finds occurs.

    >>> words, of_words, of_characters = locate(["Oat  milk!"])
    >>> words.starts.tolist(), words.ends.tolist()
    ([0, 5], [3, 9])
    >>> of_words.words.tolist(), of_words.shares.tolist()
    ([0, 1, 0, 1], [1.0, 1.0, 0.5, 0.5])
    """
    codes, rows, keep = _all_codes(texts)
    codes, rows = codes[keep], rows[keep]
    if (codes == _SPACE).all():
        nothing = np.zeros(0, dtype=np.int32)
        return Words(nothing, nothing, nothing), _no_places(), _no_places()
    starts, ends, word_of_code = _runs(codes)
    offsets = _offsets(texts)[keep]
    words = Words(rows[starts], offsets[starts], offsets[ends - 1] + 1)
    return words, _word_places(codes, rows, word_of_code), _character_places(codes, word_of_code)


def _runs(codes: Codes) -> tuple[Ints, Ints, Ints]:
    """Return first codes and ends of words as in `Words`, and for each code its word; of spaces any."""
    first, end = _edges(_in_word(codes))
    token_first, token_end = _edges(codes != _SPACE)
    in_token = np.searchsorted(token_first, first, side="right") - 1
    bare = np.ones(len(token_first), dtype=bool)
    bare[in_token] = False
    starts, ends = np.concatenate([first, token_first[bare]]), np.concatenate([end, token_end[bare]])
    order = np.argsort(starts)
    starts, ends = starts[order], ends[order]
    # The last word that has begun, unless a blank lies between: then the next one.
    last = np.searchsorted(starts, np.arange(len(codes)), side="right") - 1
    token = np.searchsorted(token_first, np.arange(len(codes)), side="right") - 1
    own = np.searchsorted(token_first, starts, side="right") - 1
    word = np.where((last >= 0) & (own[np.maximum(last, 0)] == token), last, last + 1)
    return starts.astype(np.int32), ends.astype(np.int32), np.minimum(word, len(starts) - 1).astype(np.int32)


def _offsets(texts: Sequence[str]) -> Ints:
    """Return of which character of its text each code of `_all_codes` is; of the spaces around it, of its ends."""
    parts = []
    for text in texts:
        lower = [1] * len(text) if len(text.lower()) == len(text) else [len(ch.lower()) for ch in text]
        parts.append(np.repeat(np.arange(len(text) + 2), [1, *lower, 1]) - 1)
    return np.concatenate(parts).astype(np.int32)


def _word_places(codes: Codes, rows: Ints, word_of_code: Ints) -> Places:
    of, hashes = _words(codes, rows)
    words = word_of_code[_edges(_in_word(codes))[0]]
    found = np.flatnonzero(of[1:] == of[:-1])
    both = _finish(hashes[found] * _BASE + hashes[found + 1])
    return Places(
        np.concatenate([hashes, both, both]),
        np.concatenate([words, words[found], words[found + 1]]),
        np.repeat(np.array([1, 0.5], dtype=np.float32), [len(words), 2 * len(found)]),
    )


def _character_places(codes: Codes, word_of_code: Ints) -> Places:
    hashes, words, shares = [], [], []
    for n, at, found in _character_runs(codes):
        first = at + (codes[at] == _SPACE)
        length = at + n - (codes[at + n - 1] == _SPACE) - first
        whole = word_of_code[first] == word_of_code[first + length - 1]
        # Of an n-gram over several words one place for each character.
        counts = np.where(whole, 1, length)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        hashes.append(np.repeat(found, counts))
        words.append(word_of_code[np.repeat(first, counts) + within])
        shares.append(np.repeat(1 / counts, counts).astype(np.float32))
    if not hashes:
        return _no_places()
    return Places(np.concatenate(hashes), np.concatenate(words), np.concatenate(shares))


def _no_places() -> Places:
    return Places(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))


def _codes(texts: Sequence[str]) -> tuple[Codes, Ints]:
    """Return lower-case code points, every run of white space one space, a space around each text; and its row."""
    codes, rows, keep = _all_codes(texts)
    return codes[keep], rows[keep]


def _all_codes(texts: Sequence[str]) -> tuple[Codes, Ints, NDArray[np.bool_]]:
    """Return lower-case code points, white space as spaces, one around each text; its row; where no run goes on."""
    padded = [f" {text.lower()} " for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    rows = np.repeat(np.arange(len(texts), dtype=np.int32), [len(text) for text in padded])
    blank = _classes()[0][np.minimum(codes, _TABLE - 1)]
    codes = np.where(blank, np.uint32(_SPACE), codes)
    keep = np.ones(len(codes), dtype=bool)
    keep[1:] = ~(blank[1:] & blank[:-1])
    return codes, rows, keep


@cache
def _classes() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each code point of the table: is it white space, is it part of a word (`\\w`)."""
    characters = [chr(i) for i in range(_TABLE)]
    blank = np.array([ch.isspace() for ch in characters])
    word = np.array([ch.isalnum() or ch == "_" for ch in characters])
    blank[-1], word[-1] = False, True
    return blank, word


def _character_ngrams(codes: Codes, rows: Ints) -> Ngrams:
    found_rows, found = [], []
    for _, at, hashes in _character_runs(codes):
        found_rows.append(rows[at + 1])  # the first character may be the space before the text
        found.append(hashes)
    return _join(found_rows, found)


def _character_runs(codes: Codes) -> Iterator[tuple[int, NDArray[np.int64], Hashes]]:
    """Yield each length, and the n-grams of it: where they begin, and their hashes."""
    spaces = np.cumsum(codes == _SPACE, dtype=np.int32)
    wide = codes.astype(np.uint64)
    hashes = wide
    for n in range(2, CHARACTER_LENGTHS[-1] + 1):
        count = len(codes) - n + 1
        if count <= 0:
            break
        hashes = hashes[:count] * _BASE + wide[n - 1 :]
        if n in CHARACTER_LENGTHS:
            # An n-gram may begin and end with a space but has none inside.
            at = np.flatnonzero(spaces[n - 2 : n - 2 + count] == spaces[:count])
            yield n, at, _finish(hashes[at] + np.uint64(n))


def extract_words(texts: Sequence[str], most: int, stem: int = 0) -> Ngrams:
    """Return the words among the first `most` words of each text, with the hashes that `extract` gives them.

    With `stem`, only the words of at least so many characters, and of each the hash of so many first ones: what
    inflected forms share in many languages (McNamee and Mayfield, 2004).

    >>> words = extract_words(["Oat milk, oat flakes"], 3)
    >>> len(words.hashes), int(words.hashes[0] == words.hashes[2])
    (3, 1)
    >>> len(set(extract_words(["A flake", "oat flakes"], 3, stem=4).hashes.tolist()))
    1
    """
    codes, rows = _codes(texts)
    starts, ends = _first_words(codes, rows, most, stem)
    return _hashed(codes, rows, starts, ends, stem)


def locate_words(texts: Sequence[str], most: int, stem: int = 0) -> tuple[Ngrams, Ints, Ints]:
    """Return what `extract_words` does, and from which character to which each word goes."""
    codes, rows, keep = _all_codes(texts)
    codes, rows = codes[keep], rows[keep]
    starts, ends = _first_words(codes, rows, most, stem)
    words = _hashed(codes, rows, starts, ends, stem)
    if not len(starts):
        return words, starts.astype(np.int32), ends.astype(np.int32)
    offsets = _offsets(texts)[keep]
    return words, offsets[starts], offsets[ends - 1] + 1


def _first_words(codes: Codes, rows: Ints, most: int, stem: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return starts and ends of the words that are among the first `most` of their text and as long as a stem."""
    starts, ends = _edges(_in_word(codes))
    of = rows[starts]
    chosen = (np.arange(len(of)) - np.searchsorted(of, of) < most) & (ends - starts >= stem)
    return starts[chosen], ends[chosen]


def _word_ngrams(codes: Codes, rows: Ints) -> Ngrams:
    of, words = _words(codes, rows)
    pairs = np.flatnonzero(of[1:] == of[:-1])
    return _join([of, of[pairs]], [words, _finish(words[pairs] * _BASE + words[pairs + 1])])


def _words(codes: Codes, rows: Ints) -> Ngrams:
    return _hashed(codes, rows, *_edges(_in_word(codes)))


def _hashed(codes: Codes, rows: Ints, starts: NDArray[np.int64], ends: NDArray[np.int64], stem: int = 0) -> Ngrams:
    """Return the words that start and end there; with `stem`, the hashes of so many first characters."""
    if not len(starts):
        return _join([], [])
    lengths = np.minimum(ends - starts, stem) if stem else ends - starts
    first = np.cumsum(lengths) - lengths
    position = np.arange(lengths.sum()) - np.repeat(first, lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _BASE, dtype=np.uint64))
    terms = codes[np.repeat(starts, lengths) + position].astype(np.uint64) * powers[position]
    return Ngrams(rows[starts], _finish(np.add.reduceat(terms, first)))


def _in_word(codes: Codes) -> NDArray[np.bool_]:
    return _classes()[1][np.minimum(codes, _TABLE - 1)]


def _edges(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of True begin, and where they end."""
    edges = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


def _finish(hashes: Hashes) -> Hashes:
    """Spread every bit over the upper ones, by which `Vocabulary` finds its buckets."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * _MIX
    return hashes ^ (hashes >> np.uint64(29))


def _join(rows: list[Ints], hashes: list[Hashes]) -> Ngrams:
    if not rows:
        return Ngrams(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.uint64))
    return Ngrams(np.concatenate(rows), np.concatenate(hashes))


class Vocabulary:
    """Known hashes, ascending; the place of a hash is its column.

    A table by leading bits, eight slots a hash, answers nearly every look-up with one read; the few hashes that
    share a slot are found by binary search.
    """

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = hashes
        bits = max(4, len(hashes).bit_length() + 3)
        self._shift = np.uint64(64 - bits)
        slots = (hashes >> self._shift).astype(np.int64)
        self._table = np.full(1 << bits, -1, dtype=np.int32)
        self._table[slots[::-1]] = np.arange(len(hashes), dtype=np.int32)[::-1]  # the first of a slot stays
        self._crowded = np.zeros(1 << bits, dtype=bool)
        self._crowded[slots[1:][slots[1:] == slots[:-1]]] = True

    def __len__(self) -> int:
        return len(self.hashes)

    def columns(self, hashes: Hashes) -> NDArray[np.int32]:
        """Return the column of each hash, -1 where it is not known."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, dtype=np.int32)
        slots = (hashes >> self._shift).astype(np.int64)
        found = self._table[slots]
        missed = np.flatnonzero((self.hashes[found] != hashes) & (found >= 0))
        found[missed] = -1
        again = missed[self._crowded[slots[missed]]]
        at = np.minimum(np.searchsorted(self.hashes, hashes[again]), len(self.hashes) - 1)
        found[again] = np.where(self.hashes[at] == hashes[again], at, -1)
        return found
