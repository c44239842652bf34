"""From phrases as people list them to the words to look for.

`variants` writes a phrase in the ways that mean the same: without parts in parentheses and brackets, without words
that say nothing ("unspecified"), with one side of a slash, with an abbreviation in place of what it stands for. The
order of words, stop words, case, accents and endings need no variants: they are no matter to `PhraseFinder`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice, pairwise, product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hclf.inputs import chunks
from hclf.scorers.lexicon.folding import Folding, sections
from hclf.scorers.lexicon.matches import ranges
from hclf.scorers.lexicon.text import split

Ints = NDArray[np.int64]

_PART = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_CHOICE = re.compile(r"(?<![\w/])([^\W\d_]{2,})/([^\W\d_]{2,})(?![\w/])")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_ABBREVIATION = re.compile(r"[^\W\d_]{2,8}")
_SPECIAL = re.compile(r"[(\[/-]")
_TELLING = re.compile(r"[^\W\d_]{2}|[^\x00-\u02ff]")  # more than one letter or sign is left
_BATCH = 10_000  # forms looked at together
_MOST = 16  # variants of one phrase
_MOST_CHOICES = 3  # slashes of one phrase that are resolved


class Variants:
    """Phrases as sequences of word ids.

    Attributes:
        vocabulary: folded words; the id of a word is its index.
        indptr, words: (variants + 1,), (occurrences,) the words of each variant, at least one.
        phrase: (variants,) the phrase that each is of, ascending.
    """

    def __init__(
        self, vocabulary: list[str], indptr: Ints, words: NDArray[np.int32], phrase: NDArray[np.int32]
    ) -> None:
        self.vocabulary, self.indptr, self.words, self.phrase = vocabulary, indptr, words, phrase

    @cached_property
    def counts(self) -> Ints:
        """In how many places of variants each word stands."""
        return np.bincount(self.words, minlength=len(self.vocabulary))

    def totals(self, values: NDArray[Any], total: np.ufunc) -> NDArray[Any]:
        """Return for each variant the total of the values of its words."""
        of_words = values[self.words]
        return np.asarray(total.reduceat(of_words, self.indptr[:-1])) if len(self.phrase) else of_words

    @classmethod
    def of(
        cls, phrases: Sequence[str], folding: Folding, languages: Sequence[str] | None = None, *, more: bool = True
    ) -> Self:
        """Return the variants of phrases; only the phrases themselves unless more are asked for."""
        fillers = _fillers(languages) if more else None
        forms: list[str] = []
        counts = np.zeros(len(phrases), dtype=np.int64)
        for i, text in enumerate(phrases):
            found = variants(text, fillers) if more else [text]
            forms += found
            counts[i] = len(found)
        vocabulary, indptr, words = _as_words(forms, folding)
        phrase = np.repeat(np.arange(len(phrases), dtype=np.int32), counts)
        keep = _distinct(indptr, words, phrase)
        _, places = ranges(indptr[keep], indptr[keep + 1])
        sizes = np.diff(indptr)[keep]
        return cls(vocabulary, np.append(0, np.cumsum(sizes)), words[places], phrase[keep])

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return arrays that `from_state` builds equal variants from."""
        return {
            "vocabulary": np.frombuffer("\n".join([*self.vocabulary, ""]).encode(), dtype=np.uint8),
            "indptr": self.indptr,
            "words": self.words,
            "phrase": self.phrase,
        }

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build variants from what `get_state` returned."""
        vocabulary = arrays["vocabulary"].tobytes().decode().split("\n")[:-1]
        return cls(vocabulary, arrays["indptr"], arrays["words"], arrays["phrase"])


def _as_words(texts: Sequence[str], folding: Folding) -> tuple[list[str], Ints, NDArray[np.int32]]:
    """Return a vocabulary, and for all texts the ids of their words that are no stop words, with their bounds."""
    ids = {"": -1}
    of_surface: dict[str, int] = {}
    words, counts = [np.zeros(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
    for batch in chunks(texts, _BATCH):
        found = split(batch)
        for word in dict.fromkeys(found.surfaces):
            if word not in of_surface:
                of_surface[word] = ids.setdefault(folding.fold(word), len(ids) - 1)
        of_batch = np.fromiter(map(of_surface.__getitem__, found.surfaces), np.int32, len(found.surfaces))
        words.append(of_batch[of_batch >= 0])
        counts.append(np.bincount(found.rows[of_batch >= 0], minlength=len(batch)))
    return list(ids)[1:], np.cumsum(np.concatenate(counts)), np.concatenate(words)


def _distinct(indptr: Ints, words: NDArray[np.int32], phrase: NDArray[np.int32]) -> Ints:
    """Return the variants that have words and do not repeat an earlier one of their phrase."""
    packed = words.tobytes()
    bounds = pairwise((indptr * words.itemsize).tolist())
    seen: set[tuple[int, bytes]] = set()
    keep = []
    for i, (of, (start, end)) in enumerate(zip(phrase.tolist(), bounds, strict=True)):
        key = (of, packed[start:end])
        if end > start and key not in seen:
            seen.add(key)
            keep.append(i)
    return np.array(keep, dtype=np.int64)


def variants(text: str, fillers: re.Pattern[str] | None = None) -> list[str]:
    """Return the ways of writing a phrase, itself first.

    Args:
        text: the phrase.
        fillers: finds what says nothing.

    >>> variants("Pain (acute), knee/hip")
    ['Pain (acute), knee/hip', 'Pain , knee', 'Pain , hip', 'Pain (acute), knee', 'Pain (acute), hip']
    >>> variants("Human immunodeficiency virus [HIV] disease")[1:]
    ['Human immunodeficiency virus  disease', 'HIV disease']
    """
    if not _SPECIAL.search(text) and not (fillers and fillers.search(text)):
        return [text]
    forms = {text: None}
    for form in _rewritten(text, fillers):
        forms[form] = None
        if len(forms) == _MOST:
            break
    for form in list(forms) if "-" in text else ():
        forms.setdefault(_HYPHEN.sub("", form))
    return list(forms)[:_MOST]


def _rewritten(text: str, fillers: re.Pattern[str] | None) -> Iterator[str]:
    for full in _without_fillers(text, fillers):
        for whole in _parts(full):
            yield from _choices(whole)


def _without_fillers(text: str, fillers: re.Pattern[str] | None) -> Iterator[str]:
    shorter = fillers.sub(" ", text) if fillers else text
    if shorter != text and shorter.strip(" ,;:()[]"):
        yield shorter
    yield text


def _parts(text: str) -> Iterator[str]:
    """Yield the text without its optional parts, with abbreviations in place of what they stand for, and as it is."""
    if "(" in text or "[" in text:
        plain = _PART.sub("", text)
        if _TELLING.search(plain):
            yield plain
        yield from _abbreviated(text)
    yield text


def _abbreviated(text: str) -> Iterator[str]:
    """Yield the text with an abbreviation in brackets in place of the words before it whose initials it is."""
    for found in islice(_PART.finditer(text), _MOST):
        short = (found[1] or found[2] or "").strip()
        if not _ABBREVIATION.fullmatch(short) or not short.isupper():
            continue
        before = list(re.finditer(r"[^\W_]+", text[: found.start()]))[-len(short) :]
        if [word[0][0].casefold() for word in before] == list(short.casefold()):
            yield text[: before[0].start()] + short + text[found.end() :]


def _choices(text: str) -> Iterator[str]:
    """Yield the text with one side of each slash between words."""
    found = list(_CHOICE.finditer(text))[:_MOST_CHOICES] if "/" in text else []
    for sides in product((1, 2), repeat=len(found)):
        parts, done = [], 0
        for match, side in zip(found, sides, strict=True):
            parts += [text[done : match.start()], match[side]]
            done = match.end()
        yield "".join([*parts, text[done:]])


def _fillers(languages: Sequence[str] | None) -> re.Pattern[str] | None:
    words = {filler for listed in sections(languages, "fillers") for filler in listed}
    if not words:
        return None
    longest_first = sorted(words, key=lambda filler: (-len(filler), filler))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)
