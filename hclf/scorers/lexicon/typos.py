"""Reads a misspelt word as the known word it is one slip away from.

One slip: a letter too many, one too few, a wrong one, or two neighbours swapped, not counting the first letter and
the last. Words within one slip of each other share a form with at most one letter left out, so those forms, as
numbers, are looked up in a sorted table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hclf.scorers.lexicon.matches import ranges

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

SHORTEST = 6  # letters of the longer of two words that are taken for each other
LONGEST = 40
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Speller:
    """Guesses known words.

    Args:
        words: that a guess may be.
        counts: (words,) how often each is used; of equally similar words the more used one is guessed.
        right: other words that are spelt right, and so are no slip of anything.
    """

    def __init__(self, words: Sequence[str], counts: Ints, right: Sequence[str] = ()) -> None:
        self.words, self.counts, self.right = words, counts, frozenset(right)
        self._candidates = np.array([i for i, word in enumerate(words) if _may_slip(word)], dtype=np.int64)
        forms, of = _forms([words[i] for i in self._candidates.tolist()])
        order = np.argsort(forms, kind="stable")
        self._forms, self._of = forms[order], self._candidates[of[order]]

    def guess(self, unknown: Sequence[str]) -> Ints:
        """Return for each word the index of the known word that it is a slip of, or -1."""
        found = np.full(len(unknown), -1, dtype=np.int64)
        asked = [i for i, word in enumerate(unknown) if _may_slip(word) and word not in self.right]
        if not asked or not len(self._forms):
            return found
        forms, of = _forms([unknown[i] for i in asked])
        low, high = (np.searchsorted(self._forms, forms, side=side) for side in ("left", "right"))
        form, place = ranges(low, high)
        shared = np.unique(of[form] * len(self.words) + self._of[place])
        row, candidate = np.array(asked)[shared // len(self.words)], shared % len(self.words)
        # The most used comes last and stays.
        order = np.lexsort((-candidate, self.counts[candidate], row))
        for i, word in zip(row[order].tolist(), candidate[order].tolist(), strict=True):
            if _one_slip(unknown[i], self.words[word]):
                found[i] = word
        return found


def _may_slip(word: str) -> bool:
    return SHORTEST - 1 <= len(word) <= LONGEST and word.isalpha()


def _one_slip(one: str, other: str) -> bool:
    """Return whether two words differ by one slip; the first letter is rarely wrong, the last may be an ending."""
    if max(len(one), len(other)) < SHORTEST or one[0] != other[0] or one[-1] != other[-1]:
        return False
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[same:], other[same:]
    swapped = one[:2] == other[1::-1] and one[2:] == other[2:]
    return swapped or one[1:] == other[1:] or one[1:] == other or one == other[1:]


def _forms(words: Sequence[str]) -> tuple[Hashes, Ints]:
    """Return numbers of each word whole and with each letter left out, and the word of each."""
    lengths = np.array([len(word) for word in words], dtype=np.int64)
    if not len(lengths):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    forms, of = [], []
    for length in np.unique(lengths).tolist():
        group = np.flatnonzero(lengths == length)
        letters = "".join(words[i] for i in group.tolist()).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(letters, dtype=np.uint32).reshape(-1, length).astype(np.uint64)
        powers = np.cumprod(np.full(length, _BASE, dtype=np.uint64))
        stay = codes * powers
        move = codes[:, 1:] * powers[:-1]
        before = np.cumsum(stay, axis=1) - stay
        after = np.zeros_like(before)
        after[:, :-1] = np.cumsum(move[:, ::-1], axis=1)[:, ::-1]
        group_forms = np.concatenate([stay.sum(axis=1, keepdims=True), before + after], axis=1)
        forms.append(group_forms.ravel())
        of.append(np.repeat(group, length + 1))
    return np.concatenate(forms), np.concatenate(of)
