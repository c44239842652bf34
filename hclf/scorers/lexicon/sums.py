"""Random numbers of words, and a table of sums of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hclf.scorers.lexicon.matches import firsts, ranges

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # the constants of SplitMix64 (Steele et al. 2014)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MOST_BITS = 24  # of the table that rules keys out: 16 MiB


def word_numbers(count: int) -> Hashes:
    """Return a 64-bit number for each word, the same in every process."""
    return _mixed(np.arange(1, count + 1, dtype=np.uint64) * _STEP)


def keys_of(sums: Hashes, lengths: Any) -> Hashes:
    """Return the keys of the sums of so many words' numbers."""
    return _mixed(sums + np.asarray(lengths).astype(np.uint64) * _STEP)


def _mixed(numbers: Hashes) -> Hashes:
    for shift, factor in ((30, _MIX), (27, _MIX_2)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * factor
    return numbers ^ (numbers >> np.uint64(31))


class SumTable:
    """Finds keys among many; a key may be there several times.

    A table of the leading bits rules nearly all others out with one read; the rest is found by binary search.
    """

    def __init__(self, keys: Hashes) -> None:
        self._order = np.argsort(keys, kind="stable")
        ascending = keys[self._order]
        starts = np.flatnonzero(firsts(ascending))
        self._keys = ascending[starts]
        self._indptr = np.append(starts, len(keys))
        bits = min(_MOST_BITS, len(starts).bit_length() + 5)
        self._shift = np.uint64(64 - bits)
        self._present = np.zeros(1 << bits, dtype=bool)
        self._present[(self._keys >> self._shift).astype(np.int64)] = True

    def find(self, keys: Hashes) -> tuple[Ints, Ints]:
        """Return pairs of an index into these keys and the index of an equal key of the table."""
        likely = np.flatnonzero(self._present[(keys >> self._shift).astype(np.int64)])
        if not len(likely):
            return likely, likely
        at = np.minimum(np.searchsorted(self._keys, keys[likely]), len(self._keys) - 1)
        equal = self._keys[at] == keys[likely]
        likely, at = likely[equal], at[equal]
        of, place = ranges(self._indptr[at], self._indptr[at + 1])
        return likely[of], self._order[place]
