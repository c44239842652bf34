"""From contributions of single words to spans: what is worth showing of what speaks for and against a node."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

LEAST = 0.1  # log-odds: what adds less is no evidence
WORTH_SHOWING = 0.1  # of the strongest span
WORTH_JOINING = 0.25  # of the strongest word: weaker ones join a span only between two others
BRIDGED = 1  # weak words between two strong ones
INSIDE_WORDS = re.compile(
    r"[^\s,;|]{0,4}|(?<=\d),"
)  # inside words, codes and numbers: don't, E11.9, all-in-one, 2,300
BETWEEN_WORDS = re.compile(r"[^\w\r\n.,;:!?]{0,3}")  # stands between words of one span


class Span(NamedTuple):
    """Words of a document that speak for a node, or against it.

    Attributes:
        field: the text field; for numbers, which column.
        start, end: character offsets into it; both 0 for numbers.
        value: what they add to the node's log-odds, in a contrast to the difference from the sibling's.
        source: name of the scorer that says so.
        why: in a few words, or "".
    """

    field: str
    start: int
    end: int
    value: float
    source: str
    why: str = ""

    def to_dict(self, fields: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON form; `why` is there only when it says something, `text` when the fields are given."""
        data = {**self._asdict(), "value": round(self.value, 4)}
        if fields is not None and self.end:
            data["text"] = fields[self.field][self.start : self.end]
        return data if self.why else {key: value for key, value in data.items() if key != "why"}


class Spans(NamedTuple):
    """What is worth showing, strongest first, and what all the rest adds."""

    positive: tuple[Span, ...]
    negative: tuple[Span, ...]
    rest: float


def worth_showing(parts: Iterable[Span], fields: Mapping[str, str], top: int) -> Spans:
    """Join contributions to spans and return the strongest of each kind.

    Args:
        parts: contributions of words, phrases or numbers, in any order.
        fields: the document's texts.
        top: spans of a kind, at most.
    """
    words = _at_places(parts)
    least = WORTH_JOINING * max((abs(word.value) for word in words), default=0.0)
    spans = [
        span
        for (_, field), group in groupby(words, key=attrgetter("source", "field"))
        for span in _joined(list(group), fields.get(field, ""), least)
    ]
    spans.sort(key=lambda span: -abs(span.value))
    strong = [span for span in spans if abs(span.value) >= max(LEAST, WORTH_SHOWING * abs(spans[0].value))]
    positive = tuple(span for span in strong if span.value > 0)[:top]
    negative = tuple(span for span in strong if span.value < 0)[:top]
    shown = sum(span.value for span in (*positive, *negative))
    return Spans(positive, negative, sum(word.value for word in words) - shown)


def _at_places(parts: Iterable[Span]) -> list[Span]:
    """Return what each scorer says of each place, in reading order; of why only what agrees with the sum."""
    ordered = sorted(parts, key=attrgetter("source", "field", "start", "end"))
    places = []
    for _, group in groupby(ordered, key=attrgetter("source", "field", "start", "end")):
        same = list(group)
        value = sum(part.value for part in same)
        reasons = dict.fromkeys(part.why for part in same if part.why and part.value * value > 0)
        places.append(same[0]._replace(value=value, why="; ".join(reasons)))
    return places


def _joined(words: Sequence[Span], text: str, least: float) -> list[Span]:
    """Return spans of words of one field: parts of words are put together, then strong words side by side."""
    if not text:
        return list(words)
    whole: list[Span] = []
    for word in words:
        if whole and _goes_on(whole[-1], word, text, INSIDE_WORDS):
            word = _together([whole.pop(), word])
        whole.append(word)
    found: list[Span] = []
    for run in _runs(whole, text):
        last: int | None = None  # the last strong word in `spans`
        spans: list[Span] = []
        for word in run:
            spans.append(word)
            if abs(word.value) < least:
                continue
            if last is not None and spans[last].value * word.value > 0 and len(spans) - last - 2 <= BRIDGED:
                spans[last:] = [_together(spans[last:])]
            last = len(spans) - 1
        found += spans
    return [span._replace(end=_past_marks(text, span.end)) for span in found]


def _runs(words: Iterable[Span], text: str) -> Iterator[list[Span]]:
    """Yield words that stand side by side and do not say different things."""
    run: list[Span] = []
    for word in words:
        if run and not _goes_on(run[-1], word, text, BETWEEN_WORDS):
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _goes_on(word: Span, after: Span, text: str, between: re.Pattern[str]) -> bool:
    if after.start < word.end or (word.why and after.why and word.why != after.why):
        return False
    return between.fullmatch(text, _past_marks(text, word.end), after.start) is not None


def _past_marks(text: str, end: int) -> int:
    """Return where a character with its combining marks ends."""
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end


def _together(words: Sequence[Span]) -> Span:
    value = sum(word.value for word in words)
    reasons = dict.fromkeys(word.why for word in words if word.why and word.value * value > 0)
    return words[0]._replace(end=words[-1].end, value=value, why="; ".join(reasons))
