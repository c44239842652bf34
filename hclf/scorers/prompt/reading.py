"""Reading codes out of what a language model wrote.

Four ways are tried, the surest first; what one of them finds is the answer: JSON (`{"codes": ["A", "C"]}`), what
follows a word such as "Answer:", lines that begin with codes ("A, C" or "B) Shoes"), codes in brackets or bold
inside a sentence. Only then words for none. Each asks for more than the bare letter, because in "A pair of shoes"
and "I would say so" the letters are words.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

LONGEST = 10_000  # characters that are read: an answer is a few; what goes on for ever has gone astray

THOUGHTS = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.I | re.S)
UNOPENED = re.compile(r"\A.*</(?:think|thinking|thought|reasoning)>", re.I | re.S)  # opened by the chat template
KEYS = re.compile(r"(?:final_?)?(?:codes?|answers?|choices?|options?|labels?|selected|selection|result)", re.I)
ITEM = re.compile(r"""[\s*_`"'‘“(\[{<]*([^\W_]+)([*_`"'’”)\]}>]*)""")
SEPARATOR = re.compile(r"\s*(?:[,;/|&+]|\b(?:and|or)\b)\s*(?:\b(?:and|or)\b)?|\s+", re.I)
NOTHING = re.compile(r"""[\s.!*_`"'’”)\]}>]*\Z""")
DESCRIPTION = re.compile(r"\s*(?:[.:=|](?=\s|\Z)|[-–—]\s)")
DENIED = re.compile(r"\W*(?:no|false|0)\W*\Z", re.I)
REASON = re.compile(r"\s+(?:because|since|as|is|are|holds?|appl(?:y|ies))\b", re.I)
BULLET = re.compile(r"\s*(?:[-*•>]\s+)*")
NUMBERED = re.compile(r"\s*\d+[.)]\s+")
LEADS = tuple(
    re.compile(rf"""\b(?:{words})\b[*_`"']*\s*(?:(?:is|are|would be)\b|[:=→])?""", re.I)
    for words in (
        "answers?|codes?|choose|chosen|pick|select(?:ed|ion)?",
        "choices?|options?|labels?|category|categories",
    )
)
WRAPPED = tuple(
    re.compile(pattern)
    for pattern in (
        r"\*\*([^\W_]+)\*\*|__([^\W_]+)__",
        r"""\(([^\W_]+)\)|\[([^\W_]+)\]|`([^\W_]+)`|["“]([^\W_]+)["”]""",
    )
)
NONE = re.compile(
    r"\W*(?:none|nothing|n/a|not applicable"
    r"|no (?:such )?(?:options?|codes?|answers?|labels?|match(?:es)?|categor(?:y|ies)))\b",
    re.I,
)
DEEPEST = 20  # JSON inside JSON that is read
OPENINGS = 50  # brackets of a text that are tried as the beginning of JSON


class Reading(NamedTuple):
    """What an answer says.

    Attributes:
        chosen: the codes it holds, all of them offered, each once, in the order of the answer. The last code offered
            stands for none: it is chosen alone or not at all.
        invented: how many codes it holds that were not offered.
        readable: whether it holds a code that was offered.
        places: where in `visible(text)` each chosen code begins; -1: nowhere, as with an empty list.
    """

    chosen: tuple[str, ...]
    invented: int
    readable: bool
    places: tuple[int, ...]


class Found(NamedTuple):
    """A word that looks like a code, and where it begins; the word "" stands for none."""

    word: str
    place: int


class Codes:
    """The codes offered, found by what was written: in lower case, or "7" for "07", where only one can be meant."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.none = codes[-1]
        self._written = {code: code for code in codes}
        for other in (str.lower, str.upper, _plain_number):
            self._add(other, codes)
        self._digits = max((len(code) for code in codes if code.isdecimal()), default=0)
        self._letters = max((len(code) for code in codes if not code.isdecimal()), default=0)

    def _add(self, other: Any, codes: Sequence[str]) -> None:
        spelled = [other(code) for code in codes]
        times = Counter(spelled)
        for word, code in zip(spelled, codes, strict=True):
            if times[word] == 1:
                self._written.setdefault(word, code)

    def __getitem__(self, word: str) -> str | None:
        """Return the code that a word means, or None."""
        return self._written.get(word) or self._written.get(_plain_number(word))

    def like(self, word: str) -> bool:
        """Tell whether a word is a code that is offered, or looks as if it could be one."""
        if self[word] is not None:
            return True
        return len(word) <= (self._digits if word.isdecimal() else self._letters if word.isupper() else 0)

    @property
    def numeric(self) -> bool:
        """Whether any code is a number."""
        return self._digits > 0


def _plain_number(word: str) -> str:
    return word.lstrip("0") or "0" if word.isdecimal() and word.isascii() else word


def visible(text: str) -> str:
    """Return what of an answer is read: without thoughts, at most `LONGEST` characters."""
    return UNOPENED.sub("", THOUGHTS.sub("", text)).strip()[:LONGEST]


def read_codes(text: str, codes: Sequence[str]) -> Reading:
    """Return the codes that a text holds. Whatever the text is, nothing but offered codes is returned.

    Args:
        text: what a model wrote.
        codes: what was offered, at least one; the last one stands for none.

    >>> read_codes("Answer: A and C.", ("A", "B", "C", "N")).chosen
    ('A', 'C')
    >>> read_codes("A pair of shoes", ("A", "B", "C", "N")).readable
    False
    """
    text, known = visible(text), Codes(codes)
    invented = 0
    for way in (_in_json, _after_leads, _in_lines, _wrapped, _none):
        reading = _reading(way(text, known), known)
        invented = max(invented, reading.invented)
        if reading.readable:
            return reading
    return Reading((), invented, False, ())


def _reading(found: Sequence[Found], known: Codes) -> Reading:
    """Return what was found as codes, each once; none beside others says nothing."""
    places: dict[str, int] = {}
    invented = 0
    for word, place in found:
        code = known[word] if word else known.none
        if code is None:
            invented += 1
        else:
            places.setdefault(code, place)
    if len(places) > 1:
        places.pop(known.none, None)
    return Reading(tuple(places), invented, bool(places), tuple(places.values()))


# -- the ways --------------------------------------------------------------------------------------------------


def _in_json(text: str, known: Codes) -> list[Found]:
    """Read the last JSON value that holds codes, wherever it stands."""
    last: list[Found] = []
    for value, start, end in _json_values(text):
        if words := list(_words(value, known, listed=isinstance(value, list))):
            found = _placed(words, text, start, end)
            if not last or any(not word or known[word] for word in words):
                last = found
    return last


def _json_values(text: str) -> Iterator[tuple[Any, int, int]]:
    """Yield the JSON objects and arrays of a text with where they begin and end."""
    decoder, at = json.JSONDecoder(), 0
    for opening in [match.start() for match in re.finditer(r"[{\[]", text)][:OPENINGS]:
        if opening < at:  # inside the last one
            continue
        try:
            value, at = decoder.raw_decode(text, opening)
        except (ValueError, RecursionError):
            continue
        yield value, opening, at


def _words(value: Any, known: Codes, *, listed: bool, depth: int = 0) -> Iterator[str]:
    """Yield what of a JSON value looks like a code; "" for none. `listed`: it stands where codes are expected."""
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        named = {key: item for key, item in value.items() if KEYS.fullmatch(key)}
        for key, item in (named or value).items():
            if item is True and known[key]:
                yield key
            else:
                yield from _words(item, known, listed=bool(named), depth=depth + 1)
    elif isinstance(value, list):
        if not value and listed:
            yield ""
        for item in value:
            yield from _words(item, known, listed=listed, depth=depth + 1)
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        yield from _words_of(str(value), known, listed=listed)


def _words_of(item: str, known: Codes, *, listed: bool) -> Iterator[str]:
    found = _codes_at(item, 0, known)
    if found:
        yield from (word for word, _ in found)
    elif NONE.match(item):
        yield ""
    elif listed and item.strip():
        yield item  # where codes are expected, whatever else stands there is invented


def _placed(words: list[str], text: str, start: int, end: int) -> list[Found]:
    """Return the words with where each stands in a JSON value, after its last key for codes if it has one."""
    keys = [m.end() for m in re.finditer(rf'"{KEYS.pattern}"\s*:', text[start:end], re.I)]
    at, found = start + (keys[-1] if keys else 0), []
    for word in words:
        match = re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])").search(text, at, end) if word else None
        found.append(Found(word, match.start() if match else -1))
        at = match.end() if match else at
    return found


def _after_leads(text: str, known: Codes) -> list[Found]:
    """Read what follows the last "answer", "code", "I choose", …; if there is none, the last "option", "label", …."""
    for lead in LEADS:
        for match in reversed(list(lead.finditer(text))):
            end = _line_end(text, match.end())
            if found := _codes_at(text[:end], match.end(), known, reasons=True):
                return found
            if NONE.match(text, match.end(), end):
                return [Found("", -1)]
    return []


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _in_lines(text: str, known: Codes) -> list[Found]:
    """Read the lines that are codes, or a code and its description."""
    found: list[Found] = []
    at = 0
    while at < len(text):
        end = _line_end(text, at)
        found += _codes_at(text[:end], _after_bullet(text, at, end, known), known)
        at = end + 1
    return found


def _after_bullet(text: str, at: int, end: int, known: Codes) -> int:
    for mark in (BULLET, NUMBERED):
        if (mark is BULLET or not known.numeric) and (match := mark.match(text, at, end)):
            at = match.end()
    return at


def _wrapped(text: str, known: Codes) -> list[Found]:
    """Read codes in bold inside a sentence; if there are none, those in brackets or quotes."""
    for pattern in WRAPPED:
        matches = [(match, match.lastindex or 0) for match in pattern.finditer(text)]
        if found := [Found(m[i], m.start(i)) for m, i in matches if known[m[i]] == m[i]]:
            return found
    return []


def _none(text: str, known: Codes) -> list[Found]:
    return [Found("", -1)] if NONE.match(text) else []


# -- a list of codes -------------------------------------------------------------------------------------------


def _codes_at(text: str, at: int, known: Codes, *, reasons: bool = False) -> list[Found]:
    """Return the codes listed at a place: up to the end of the text, or to a description of them.

    [] if words follow: then the letters were words, too. `reasons`: "B because …" will do.
    """
    found: list[Found] = []
    bracketed, end = False, at
    while item := ITEM.match(text, at):
        word = item[1]
        spaced = at > end > 0 and text[end:at].isspace()  # "A C": without a comma it takes the exact code
        if not known.like(word) or (found and spaced and known[word] != word):
            break
        found.append(Found(word, item.start(1)))
        end, bracketed = item.end(), bool(set(")]") & set(item[2]))
        if not (separator := SEPARATOR.match(text, end)):
            break
        at = separator.end()
    if not found:
        return []
    if NOTHING.match(text, end):
        return found
    if bracketed or DESCRIPTION.match(text, end):
        return [] if DENIED.match(text, end) else found
    return found if reasons and REASON.match(text, end) else []
