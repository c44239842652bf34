"""What the rubrics of a class say: labels in their languages, and what becomes of each kind of rubric."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from hclf.formats._references import NAMED
from hclf.formats._xml import Element

NAMES = ("preferredLong", "preferred")  # the first that is there is the name, the other stays in `meta`
SYNONYMS = ("inclusion", "synonym", "synonyms")
DESCRIPTION = "definition"
EXCLUSIONS = ("exclusion", "exclusions")
INCLUDES = "includes"
EXCLUDES = "excludes"  # what rules look for; ClaML does not say whether it is strict
APART = frozenset(("Fragment", "Para", "ListItem", "List", "Cell", "Row", "Table", "Caption"))
DATES = {
    "valid_from": ("validfrom", "begindate", "startdate", "datefrom", "effectivedate", "effectivefrom"),
    "valid_to": ("validto", "validuntil", "enddate", "dateto", "expirydate", "effectiveto"),
}
EMPTY = re.compile(r"\(\s*\)|\[\s*\]")  # what is left around a reference that was taken out
DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")
WORD = re.compile(r"(?!ff\b)[^\W\d_]{2,}")  # "5-388 ff." of OPS limits nothing
# References inside a text, for a look at what stands around them: characters that XML cannot hold mark them.
_MARKED = re.compile("\x01([^\x02]*)\x02([^\x03]*)\x03")
_AROUND = re.compile("\\([^()]*\\)|\x01[^\x03]*\x03")  # all of some parentheses, or a reference by itself
_DASH_BETWEEN = re.compile("\x03\\)?\\s*([-–])\\s*\\(?\x01[^\x02]*\x02")


class Named(NamedTuple):
    """References that stand together: their codes, and the text they are in, without its parentheses."""

    codes: tuple[str, ...]
    text: str

    def is_limited(self) -> bool:
        """Tell whether words behind a code limit it: "E10-E14 with common fourth character .5", "A00 but A00.1"."""
        code = re.compile("|".join([*map(re.escape, filter(None, self.codes)), NAMED.pattern]))
        first = code.search(self.text)
        return first is not None and WORD.search(code.sub(" ", self.text[first.end() :])) is not None


class Excluded(NamedTuple):
    """An exclusion rubric: its text in the main language if it has one, its line, and what it refers to."""

    text: str
    line: int
    named: tuple[Named, ...]


@dataclass
class Texts:
    """Texts of one class, by language, and everything else that is said of it."""

    names: dict[str, str] = field(default_factory=dict)
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    description: str = ""
    days: dict[str, dt.date] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    excluded: list[Excluded] = field(default_factory=list)

    def terms_to_notes(self, main: list[str]) -> None:
        """Take inclusion terms for a note on what belongs here: what they say of a chapter is no name of it."""
        for language, several in self.synonyms.items():
            self.meta.setdefault(_key(INCLUDES, language, main[:1]), []).extend(several)
        self.synonyms = {}


def texts(element: Element, marks: Mapping[str, str], languages: list[str]) -> Texts:
    """Return what a Class or ModifierClass says of itself.

    Args:
        element: the class.
        marks: usage kind -> its mark, such as "dagger" -> "+".
        languages: the languages seen so far, the main one first; new ones are added.
    """
    found = Texts()
    rubrics: dict[str, dict[str, list[str]]] = {}
    for rubric in element:
        if rubric.tag == "Rubric":
            kind = rubric.attributes.get("kind", "")
            for language, text in _labels(rubric, marks, references=kind not in (*NAMES, *SYNONYMS)):
                if language not in languages:
                    languages.append(language)
                rubrics.setdefault(kind, {}).setdefault(language, []).append(text)
            if kind in EXCLUSIONS:
                found.excluded += _excluded(rubric, marks, languages[:1])
    _sort(found, rubrics, languages[:1])
    _metas(found, element)
    if usage := element.attributes.get("usage"):
        found.meta["usage"] = usage
    return found


def _sort(found: Texts, rubrics: dict[str, dict[str, list[str]]], main: list[str]) -> None:
    """Give each kind of rubric its place in a node."""
    for kind in NAMES:
        for language, several in rubrics.pop(kind, {}).items():
            if language not in found.names:
                found.names[language] = several[0]
            elif several[0] != found.names[language]:
                found.meta.setdefault(_key(kind, language, main), several[0])
    for kind in SYNONYMS:
        for language, several in rubrics.pop(kind, {}).items():
            found.synonyms.setdefault(language, []).extend(several)
    for kind, by_language in rubrics.items():
        key = EXCLUDES if kind in EXCLUSIONS else kind
        for language, several in by_language.items():
            if key == DESCRIPTION and [language] == main:
                found.description = " ".join(several)
            else:
                found.meta.setdefault(_key(key, language, main), []).extend(several)


def _key(kind: str, language: str, main: list[str]) -> str:
    return kind if [language] == main else f"{kind}:{language}"


def _labels(rubric: Element, marks: Mapping[str, str], *, references: bool) -> Iterator[tuple[str, str]]:
    for label in rubric:
        if label.tag == "Label" and (text := flat(label, marks, references=references)):
            yield label.attributes.get("xml:lang", ""), text


def flat(label: Element, marks: Mapping[str, str], *, references: bool) -> str:
    """Return a label as one line: fragments and paragraphs apart, references in parentheses or not at all."""
    reference = partial(_reference, marks=marks) if references else _nothing
    return " ".join(EMPTY.sub("", "".join(_parts(label, reference))).split())


def _parts(element: Element, reference: Callable[[Element], str]) -> Iterator[str]:
    for item in element.content:
        if isinstance(item, str):
            yield item
        elif item.tag == "Reference":
            yield reference(item)
        else:
            apart = " " if item.tag in APART else ""
            yield from (apart, *_parts(item, reference), apart)


def _nothing(_item: Element) -> str:
    return ""


def _reference(item: Element, marks: Mapping[str, str]) -> str:
    code = item.text() or item.attributes.get("code", "")
    mark = marks.get(item.attributes.get("usage", ""), "")
    code = code if code.endswith(mark) else code + mark
    return _bracketed(item, code)


def _bracketed(item: Element, text: str) -> str:
    return f"({text})" if "bracket" in item.attributes.get("class", "") else text


def _excluded(rubric: Element, marks: Mapping[str, str], main: list[str]) -> Iterator[Excluded]:
    """Yield what a rubric excludes: once, as its languages say the same."""
    labels = [label for label in rubric if label.tag == "Label" and flat(label, marks, references=True)]
    labels.sort(key=lambda label: [label.attributes.get("xml:lang", "")] != main)
    for label in labels[:1]:
        yield Excluded(flat(label, marks, references=True), label.line, named(label))


def named(label: Element) -> tuple[Named, ...]:
    """Return what the references in a label name, those in the same parentheses together if words limit them."""
    text = _DASH_BETWEEN.sub(r"\1", " ".join("".join(_parts(label, _marked)).split()))
    found: list[Named] = []
    for match in _AROUND.finditer(text):
        references = _MARKED.findall(match[0])
        codes = tuple(code for code, _ in references)
        around = Named(codes, " ".join(_MARKED.sub(r"\2", match[0]).strip("()").split()))
        if len(references) < 2 or around.is_limited():
            found += [around] * bool(references)
        else:
            found += [Named((code,), said) for code, said in references]
    return tuple(found)


def _marked(item: Element) -> str:
    code = item.attributes.get("code", "").strip()
    return _bracketed(item, f"\x01{code}\x02{item.text() or code}\x03")


def _metas(found: Texts, element: Element) -> None:
    """Keep every Meta; those that state a day of validity as such."""
    for meta in element:
        if meta.tag == "Meta":
            name, value = meta.attributes.get("name", ""), meta.attributes.get("value", "")
            field_of = next((key for key, names in DATES.items() if _folded(name) in names), "")
            day = _date(value) if field_of else None
            if day:
                found.days[field_of] = day
            elif name:
                _keep(found.meta, name if not isinstance(found.meta.get(name), list) else f"Meta {name}", value)


def _keep(meta: dict[str, Any], name: str, value: str) -> None:
    meta[name] = f"{meta[name]} | {value}" if name in meta else value


def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _date(value: str) -> dt.date | None:
    found = DATE.fullmatch(value.strip())
    try:
        return dt.date(*map(int, found.groups())) if found else None
    except ValueError:
        return None
