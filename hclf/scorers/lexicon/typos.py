"""Reads a misspelt word as the known word it is one slip away from.

One slip: a letter too many, one too few, a wrong one, or two neighbours swapped. Words within one slip of each other
share a form with at most one letter left out, so those forms, as numbers, are looked up in a sorted table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

SHORTEST = 6  # letters of a word that may be misspelt
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
        counts = high - low
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        pairs = np.stack([np.repeat(of, counts), self._of[np.repeat(low, counts) + within]], axis=1)
        best: dict[int, tuple[int, int]] = {}
        for i, candidate in np.unique(pairs, axis=0).tolist():
            row, word = asked[i], self.words[candidate]
            if OSA.distance(unknown[row], word, score_cutoff=1) <= 1:
                best[row] = min(best.get(row, (1, 0)), (-int(self.counts[candidate]), candidate))
        for row, (_, candidate) in best.items():
            found[row] = candidate
        return found


def _may_slip(word: str) -> bool:
    return SHORTEST <= len(word) <= LONGEST and word.isalpha()


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
