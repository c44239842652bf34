"""The words of many texts at once, with character offsets into the texts as they are.

A word is a run of letters and digits of any script with their combining marks; a character of a script that is
written without blanks (Han, kana, Thai, Lao, Khmer, Burmese) is a word of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]

_OTHER, _WORD, _MARK, _ALONE = range(4)
_CODES = 0x32000  # planes with letters; what lies above them is no word
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x31FFF),
)
_JOINERS = "\u00ad\u200c\u200d"
_STOPS = "!?;:。！？；：…؟।•●▪"
_COMMAS = ",()[]{}|/—–،、，（）"
_IN_NUMBERS = ".,:/"  # between two digits these part nothing: 3.5
SENTENCE, COMMA = 2, 1


class Words(NamedTuple):
    """Words of texts, in order.

    Attributes:
        rows: the text of each word.
        starts, ends: character offsets into that text.
        breaks: what parts it from the word before: 0 nothing; 1 a comma or bracket; 2 the end of a sentence or
            that the word before is of another text. A full stop or a new line before a small letter is a 1.
        surfaces: as written.
    """

    rows: Ints
    starts: Ints
    ends: Ints
    breaks: NDArray[np.uint8]
    surfaces: list[str]


def split(texts: Sequence[str]) -> Words:
    """Return the words of texts.

    >>> words = split(["Two kidneys, 3.5 cm."])
    >>> words.surfaces, words.starts.tolist(), words.breaks.tolist()
    (['Two', 'kidneys', '3', '5', 'cm'], [0, 4, 13, 15, 17], [2, 0, 1, 0, 0])
    """
    joined = "\n".join([*texts, ""])
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    starts, ends = _places(codes)
    sizes = np.fromiter((len(text) + 1 for text in texts), dtype=np.int64, count=len(texts))
    offsets = np.cumsum(sizes) - sizes
    rows = np.searchsorted(offsets, starts, side="right") - 1
    surfaces = [joined[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    base = offsets[rows] if len(rows) else offsets[:0]
    return Words(
        rows.astype(np.int32),
        (starts - base).astype(np.int32),
        (ends - base).astype(np.int32),
        _breaks(codes, starts, ends, rows),
        surfaces,
    )


def is_unspaced(word: str) -> bool:
    """Return whether a word is a character of a script that is written without blanks."""
    return any(low <= ord(word[0]) <= high for low, high in _UNSPACED)


def _places(codes: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where words start and end in an array of code points."""
    kinds = _kinds()[np.minimum(codes, _CODES)]
    inside = kinds != _OTHER
    before = np.zeros(len(kinds), dtype=bool)
    before[1:] = inside[:-1]
    # A character that stands alone starts a word, and so does a letter after one and its marks.
    alone = kinds == _ALONE
    opens = inside & (~before | alone)
    letters = np.flatnonzero(inside & (kinds != _MARK))
    runs = np.cumsum(inside & ~before)[letters]
    opens[letters[1:][alone[letters[:-1]] & (runs[1:] == runs[:-1])]] = True
    closes = inside.copy()
    closes[:-1] &= ~inside[1:] | opens[1:]
    starts, ends = np.flatnonzero(opens), np.flatnonzero(closes) + 1
    real = np.add.reduceat((kinds == _WORD) | alone, starts, dtype=np.int64) > 0 if len(starts) else starts > 0
    return starts[real], ends[real]


def _breaks(
    codes: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return for each word what parts it from the one before, as in `Words`."""
    found = np.zeros(len(starts), dtype=np.uint8)
    if not len(starts):
        return found
    found[0] = SENTENCE
    found[1:][rows[1:] != rows[:-1]] = SENTENCE
    # Nearly all gaps are one blank; look only at the others.
    wide = np.flatnonzero((starts[1:] - ends[:-1] != 1) | (codes[ends[:-1]] != ord(" "))) + 1
    low, high = ends[wide - 1], starts[wide]
    signs = _signs()[np.minimum(codes, len(_signs()) - 1)]

    def count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        total = np.concatenate([[0], np.cumsum(mask)])
        return np.asarray(total[high] - total[low])

    lines = count(codes == ord("\n"))
    blank = np.append(_kinds()[np.minimum(codes[1:], _CODES)] == _OTHER, True)
    dots = count((codes == ord(".")) & blank) > 0
    lower = _is_lower()[np.minimum(codes[starts[wide]], _CODES)]
    number = (high - low == 1) & _is_digit(codes[low - 1]) & _is_digit(codes[high])
    number &= np.isin(codes[low], list(map(ord, _IN_NUMBERS)))
    commas = (count(signs == COMMA) > 0) | (lines > 0) | dots
    stops = (count(signs == SENTENCE) > 0) | (lines > 1) | ((dots | (lines > 0)) & ~lower)
    kind = np.where(stops, SENTENCE, np.where(commas, COMMA, 0))
    kind[number] = 0
    found[wide] = np.maximum(found[wide], kind)
    return found


def _is_digit(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return (codes >= ord("0")) & (codes <= ord("9"))


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return the kind of each code point; the last entry stands for all above."""
    kinds = np.zeros(_CODES + 1, dtype=np.uint8)
    kind_of = {"L": _WORD, "N": _WORD, "M": _MARK}
    kinds[:_CODES] = [kind_of.get(unicodedata.category(chr(code))[0], _OTHER) for code in range(_CODES)]
    for low, high in _UNSPACED:
        part = kinds[low : high + 1]
        part[part == _WORD] = _ALONE
    kinds[[ord(ch) for ch in _JOINERS]] = _MARK
    return kinds


@cache
def _is_lower() -> NDArray[np.bool_]:
    return np.array([*(chr(code).islower() for code in range(_CODES)), False])


@cache
def _signs() -> NDArray[np.uint8]:
    signs = np.zeros(0x10000, dtype=np.uint8)
    signs[[ord(ch) for ch in _COMMAS]] = COMMA
    signs[[ord(ch) for ch in _STOPS]] = SENTENCE
    return signs
