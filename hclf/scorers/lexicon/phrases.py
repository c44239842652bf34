"""From phrases as people list them to the words to look for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hclf.scorers.lexicon.folding import Folding, sections
from hclf.scorers.lexicon.text import split

_PART = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_CHOICE = re.compile(r"(?<![\W\d_])([^\W\d_]{2,})/([^\W\d_]{2,})(?![\w/])")
_MOST = 16  # variants of one phrase


class Variants:
    """Phrases as sequences of word ids.

    Attributes:
        vocabulary: folded words; the id of a word is its index.
        indptr, words: (variants + 1,), (occurrences,) the words of each variant.
        phrase: (variants,) the phrase that each is of, ascending.
        phrases_given: how many phrases there were.
    """

    def __init__(
        self,
        vocabulary: list[str],
        indptr: NDArray[Any],
        words: NDArray[Any],
        phrase: NDArray[Any],
        phrases_given: int,
    ) -> None:
        self.vocabulary, self.indptr, self.words, self.phrase = vocabulary, indptr, words, phrase
        self.phrases_given = phrases_given

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """In how many places of variants each word stands."""
        return np.bincount(self.words, minlength=len(self.vocabulary))

    @classmethod
    def of(
        cls, phrases: Sequence[str], folding: Folding, languages: Sequence[str] | None = None, *, more: bool = True
    ) -> Variants:
        """Return the variants of phrases; only the phrases themselves unless more are asked for."""
        forms, phrase = list(phrases), list(range(len(phrases)))
        if more:
            tails = _tails(languages)
            listed = [(i, form) for i, text in enumerate(phrases) for form in variants(text, tails)]
            phrase, forms = [i for i, _ in listed], [form for _, form in listed]
        found = split(forms)
        folded = {word: folding.fold(word) for word in dict.fromkeys(found.surfaces)}
        ids: dict[str, int] = {"": -1}
        of_surface = {word: ids.setdefault(fold, len(ids) - 1) for word, fold in folded.items()}
        words = np.fromiter((of_surface[word] for word in found.surfaces), np.int32, len(found.surfaces))
        keep = words >= 0
        indptr = np.concatenate([[0], np.cumsum(np.bincount(found.rows[keep], minlength=len(forms)))])
        return cls._distinct(list(ids)[1:], indptr, words[keep], np.array(phrase, dtype=np.int32), len(phrases))

    @classmethod
    def _distinct(
        cls, vocabulary: list[str], indptr: NDArray[Any], words: NDArray[Any], phrase: NDArray[Any], given: int
    ) -> Variants:
        """Leave out variants without words and those equal to an earlier one of the same phrase."""
        ids, bounds = words.tobytes(), (indptr * words.itemsize).tolist()
        seen: set[tuple[int, bytes]] = set()
        keep = []
        for i, key in enumerate(zip(phrase.tolist(), (ids[a:b] for a, b in pairwise(bounds)), strict=True)):
            if key[1] and key not in seen:
                seen.add(key)
                keep.append(i)
        kept = np.array(keep, dtype=np.int64)
        lengths = np.diff(indptr)[kept]
        total = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(total[-1]) - np.repeat(total[:-1], lengths)
        return cls(vocabulary, total, words[np.repeat(indptr[kept], lengths) + within], phrase[kept], given)


def variants(text: str, tails: re.Pattern[str] | None = None) -> list[str]:
    """Return a phrase in its ways of being written, the phrase itself first.

    >>> variants("Pneumonia (acute), lobar/segmental")
    ['Pneumonia (acute), lobar/segmental', 'Pneumonia , lobar', 'Pneumonia , segmental', \
'Pneumonia (acute), lobar', 'Pneumonia (acute), segmental']
    """
    forms = dict.fromkeys([text])
    for form in _without_tail(text, tails):
        for whole in _without_parts(form):
            forms.update(dict.fromkeys(_choices(whole)))
    return list(forms)[:_MOST]


def _without_tail(text: str, tails: re.Pattern[str] | None) -> Iterator[str]:
    shorter = text
    while tails and (found := tails.search(shorter)) and found.start():
        shorter = shorter[: found.start()]
    if shorter != text:
        yield shorter
    yield text


def _without_parts(text: str) -> Iterator[str]:
    plain = _PART.sub("", text)
    if plain != text and plain.strip():
        yield plain
    yield text


def _choices(text: str) -> Iterator[str]:
    """Yield the text with one side of each slash between words: "nausea/vomiting"."""
    found = list(_CHOICE.finditer(text))[:3]
    for sides in product((1, 2), repeat=len(found)):
        parts, done = [], 0
        for match, side in zip(found, sides, strict=True):
            parts += [text[done : match.start()], match[side]]
            done = match.end()
        yield "".join([*parts, text[done:]])


def _tails(languages: Sequence[str] | None) -> re.Pattern[str] | None:
    words = {tail for listed in sections(languages, "tails") for tail in listed}
    if not words:
        return None
    longest_first = sorted(words, key=lambda tail: (-len(tail), tail))
    return re.compile(rf"[\s,;:\-(\[]+(?:{'|'.join(map(re.escape, longest_first))})[)\]]?\s*$", re.IGNORECASE)
