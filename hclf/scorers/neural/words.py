"""The words of a document that a language model reads as tokens: pieces of words are put together again."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hclf.inputs import Ints, joined

UNSPACED = (  # scripts that set no spaces between words, where a token is as much of a word as can be told
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Burmese
    range(0x1780, 0x1800),  # Khmer
    range(0x3040, 0x3100),  # kana
    range(0x3400, 0xA000),  # Han
    range(0xF900, 0xFB00),
    range(0x20000, 0x40000),
)
GOES_ON = range(0x1F3FB, 0x1F400)  # colours of the emoji before them
JOINERS = (0x200C, 0x200D)
BLANK, ALONE, OF_WORD, MARK = range(4)


class Words(NamedTuple):
    """The words of a document.

    Attributes:
        of_token: (tokens,) the word of each token; -1: it has no place in the text, such as a space or a line end.
        fields: (words,) the text field of each word.
        starts, ends: (words,) character offsets into that field.
    """

    of_token: Ints
    fields: list[str]
    starts: Ints
    ends: Ints


def words_of(document: Mapping[str, str], spans: Callable[[str], Ints]) -> Words:
    """Return the words of a document.

    A word is a run of letters and digits; any other character that is no blank stands for itself, and so does each
    character of a script without spaces, all with their marks. A token that lies in several of them makes them one.

    Args:
        document: its fields; they are read as `hclf.inputs.joined` joins them.
        spans: of a text, where its tokens are, (tokens, 2).
    """
    [text] = joined([document])
    tokens, kinds = spans(text), _kinds(text)
    visible = np.flatnonzero(kinds != BLANK)
    part = np.cumsum(_begins(visible, kinds[visible])) - 1
    first, last = np.searchsorted(visible, tokens[:, 0]), np.searchsorted(visible, tokens[:, 1]) - 1
    placed = np.flatnonzero(first <= last)
    low, high = part[first[placed]], part[last[placed]]
    order = np.argsort(low, kind="stable")
    low, reach = low[order], np.maximum.accumulate(high[order])
    begins = np.append(np.ones(min(1, len(low)), dtype=bool), low[1:] > reach[:-1])
    of_token = np.full(len(tokens), -1, dtype=np.int64)
    of_token[placed[order]] = np.cumsum(begins) - 1
    starts = visible[np.searchsorted(part, low[begins])]
    ends = visible[np.searchsorted(part, reach[np.append(begins[1:], begins[:1])], side="right") - 1] + 1
    sizes = np.array([len(value) for value in document.values()], dtype=np.int64)
    opens = np.cumsum(sizes + 1) - sizes - 1
    field = np.searchsorted(opens, starts, side="right") - 1
    names = list(document)
    ends = np.minimum(ends - opens[field], sizes[field])
    return Words(of_token, [names[i] for i in field.tolist()], starts - opens[field], ends)


def _kinds(text: str) -> Ints:
    """Return of each character whether it is blank, stands alone, or is of a word; a mark is as what it stands on."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    different, place = np.unique(codes, return_inverse=True)
    return np.array([_kind(code) for code in different.tolist()], dtype=np.int64)[place]


def _kind(code: int) -> int:
    character = chr(code)
    if character.isspace():
        return BLANK
    if unicodedata.category(character).startswith("M") or code in GOES_ON or code in JOINERS:
        return MARK
    if any(code in script for script in UNSPACED) or not (character.isalnum() or character == "_"):
        return ALONE
    return OF_WORD


def _begins(places: Ints, kinds: Ints) -> NDArray[np.bool_]:
    """Return which visible characters begin a part of a text, given where they are and their kinds."""
    marks = kinds == MARK
    standing = np.maximum.accumulate(np.where(marks, 0, np.arange(len(kinds))))
    kinds = kinds[standing]
    beside = np.diff(places, prepend=-2) == 1
    goes_on = marks | ((kinds == OF_WORD) & np.append(False, kinds[:-1] == OF_WORD))
    begins: NDArray[np.bool_] = ~(beside & goes_on)
    return begins
