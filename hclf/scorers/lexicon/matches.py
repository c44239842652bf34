"""Where phrases occur, and which of the places to keep."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Small = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

REORDERED, GAPPED, TYPO, ACROSS = 1, 2, 4, 8
"""Kinds of a match, added up; 0 is exact. ACROSS: a comma, bracket or such lies within."""


class Matches(NamedTuple):
    """Where phrases occur: (matches,) arrays, by text, then start, then end.

    Attributes:
        rows: the text.
        starts, ends: character offsets into that text, from the first to the last word.
        phrases: index of the phrase.
        kinds: sum of REORDERED, GAPPED, TYPO, ACROSS; 0: exact.
        words: how many words of the phrase were found, stop words and left-out parts not counted.
        first, mask: which words of the texts: the first, counted over all texts without stop words, and a bit i of
            the mask for the i-th word after it. The mask ends after 64 words.
    """

    rows: Small
    starts: Small
    ends: Small
    phrases: Small
    kinds: Bytes
    words: Small
    first: Ints
    mask: Hashes

    def take(self, which: Ints | NDArray[np.bool_]) -> Matches:
        """Return some of the matches."""
        return Matches._make(column[which] for column in self)

    @classmethod
    def none(cls) -> Matches:
        """Return no matches."""
        small, byte = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.uint8)
        return cls(small, small, small, small, byte, small, np.zeros(0, np.int64), np.zeros(0, np.uint64))


def leading(found: Matches) -> Ints:
    """Return the matches to keep: the longest, and of those over the same words the surest.

    A match is doubtful if it has other words or a comma within. What lies inside one that is not doubtful is dropped;
    inside a doubtful one only doubtful ones are.
    """
    if not len(found.rows):
        return np.zeros(0, dtype=np.int64)
    begin = found.first - found.first[0]
    # Phrases of over 64 words have no other words within: their count says where they end.
    end = begin + np.maximum(_bits(found.mask), found.words)
    gapped = (found.kinds & GAPPED) > 0
    doubtful = gapped | ((found.kinds & ACROSS) > 0)
    keep = ~_inside(begin, end, gapped, covering=~doubtful)
    keep &= ~(doubtful & _inside(begin, end, gapped, covering=doubtful & ~gapped))
    keep[gapped] &= ~_among(begin[gapped], end[gapped], found.mask[gapped])
    left = np.flatnonzero(keep)
    return left[_surest(found.take(left))]


def _inside(begin: Ints, end: Ints, gapped: NDArray[np.bool_], covering: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether each span lies inside a larger one of the covering; a gapped one also inside an equal one."""
    reach = np.zeros(int(begin.max()) + 1, dtype=np.int64)
    np.maximum.at(reach, begin[covering], end[covering])
    before = np.append(0, np.maximum.accumulate(reach)[:-1])
    return np.asarray((before[begin] >= end) | (reach[begin] >= end + ~gapped))


def _among(begin: Ints, end: Ints, mask: Hashes) -> NDArray[np.bool_]:
    """Return for each match, by first word, whether its words are some, not all, of those of another one."""
    among = np.zeros(len(begin), dtype=bool)
    for shift in range(int((end - begin).max(initial=0))):
        low, high = (np.searchsorted(begin, begin - shift, side=side) for side in ("left", "right"))
        of, other = ranges(low, high)
        moved = mask[of] << np.uint64(shift)
        among[of[((moved & ~mask[other]) == 0) & (moved != mask[other])]] = True
    return among


def _surest(found: Matches) -> Ints:
    """Return of the matches over the same words those of the lowest kind."""
    order = np.lexsort((found.kinds, found.mask, found.ends, found.first))
    starts = firsts(found.first[order], found.ends[order], found.mask[order])
    lowest = found.kinds[order][starts][np.cumsum(starts) - 1]
    return np.sort(order[found.kinds[order] == lowest])


def _bits(mask: Hashes) -> Ints:
    """Return the place of the highest bit, counted from 1."""
    places = np.zeros(len(mask), dtype=np.int64)
    rest = mask
    for step in (32, 16, 8, 4, 2, 1):
        high = rest >> np.uint64(step)
        places[high > 0] += step
        rest = np.where(high > 0, high, rest)
    return places + 1


def firsts(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a run of equal entries of sorted columns starts."""
    fresh = np.ones(len(columns[0]), dtype=bool)
    if len(fresh):
        fresh[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return fresh


def ranges(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Return pairs (i, j) of every i and every j from low[i] to high[i] - 1.

    >>> [part.tolist() for part in ranges(np.array([3, 0, 7]), np.array([5, 0, 8]))]
    [[0, 0, 2], [3, 4, 7]]
    """
    counts = high - low
    total = np.cumsum(counts)
    within = np.arange(total[-1] if len(total) else 0) - np.repeat(total - counts, counts)
    return np.repeat(np.arange(len(low)), counts), np.repeat(low, counts) + within
