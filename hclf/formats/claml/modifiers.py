"""Modifiers: lists of characters that many classes share, and the codes they make of a class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hclf.formats.claml.texts import Texts

PRECEDING = "excludeOnPrecedingModifier"  # a Meta of BfArM: "S04E10_4 .7"
ICD10_CATEGORY = re.compile(r"[A-Z]\d\d")
CATEGORY_LENGTH, PLACEHOLDER = 3, "X"
STATED_POSITION = re.compile(r"_(\d)$")  # `S04E10_4`: modifiers of ICD-10 are called after the place they fill
UNKNOWN_POSITION = 99


@dataclass(frozen=True)
class ModifierClass:
    """One character (or several) of a modifier, and what it adds."""

    code: str
    modifier: str
    above: str  # the class of the same modifier that it refines, or the modifier
    line: int
    texts: Texts
    not_after: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class ModifiedBy:
    """What a class says of a modifier of it: all of its classes, or some."""

    modifier: str
    line: int
    position: int = UNKNOWN_POSITION
    valid: frozenset[str] | None = None

    def classes(self, known: Mapping[str, ModifierClass]) -> list[ModifierClass]:
        """Return those of the modifier's classes, given by their codes, that are valid here."""
        return [one for one in known.values() if self.valid is None or one.code in self.valid]


@dataclass(frozen=True)
class Made:
    """A code made of a class and of modifier classes, in their order."""

    code: str
    parent: str
    texts: Texts
    line: int
    used: tuple[tuple[str, str], ...] = field(default=())


def position(stated: str, modifier: str) -> int:
    """Return the place of the code that a modifier fills, dots not counted.

    >>> position("", "S13M40_5"), position("4", "ST5433")
    (5, 4)
    """
    if stated.isdigit():
        return int(stated)
    found = STATED_POSITION.search(modifier)
    return int(found[1]) if found else UNKNOWN_POSITION


def joined(code: str, addition: str, place: int = UNKNOWN_POSITION) -> str:
    """Return a code with the characters of a modifier class behind it.

    A category of ICD-10 gets its dot, and an X for each place that is skipped.

    >>> joined("E10", ".2"), joined("M45", "0", 5), joined("T14.2", "1", 5), joined("5-433.3", "x")
    ('E10.2', 'M45.X0', 'T14.21', '5-433.3x')
    """
    if not ICD10_CATEGORY.fullmatch(code) or addition.startswith("."):
        return code + addition
    skipped = place - CATEGORY_LENGTH - 1 if place < UNKNOWN_POSITION else 0
    return f"{code}.{PLACEHOLDER * skipped}{addition}"


def expand(
    base: Made, by: Sequence[ModifiedBy], classes: Mapping[str, Mapping[str, ModifierClass]]
) -> Iterator[Made]:
    """Yield the codes that modifiers make of a class, those of one modifier under those of the one before.

    Args:
        base: the class as it is.
        by: its modifiers in the order in which they are applied.
        classes: modifier -> code -> class.
    """
    if not by:
        return
    first, rest = by[0], by[1:]
    valid = [one for one in first.classes(classes.get(first.modifier, {})) if not one.not_after & set(base.used)]
    codes = {one.code: joined(base.code, one.code, first.position) for one in valid}
    refined = {one.above for one in valid}
    for one in valid:
        made = Made(
            code=codes[one.code],
            parent=codes.get(one.above, base.code),
            texts=_combined(base.texts, one.texts),
            line=one.line,
            used=(*base.used, (one.modifier, one.code)),
        )
        yield made
        if one.code not in refined:
            yield from expand(made, rest, classes)


def _combined(base: Texts, added: Texts) -> Texts:
    """Return the texts of a made code: "Type 1 diabetes mellitus: With coma", in every language both have."""
    shared = [language for language in base.names if language in added.names]
    names = {language: f"{base.names[language]}: {added.names[language]}" for language in shared}
    synonyms = {
        language: [f"{base.names[language]}: {text}" for text in several]
        for language, several in added.synonyms.items()
        if language in base.names
    }
    meta: dict[str, Any] = {key: base.meta[key] for key in ("kind", "usage") if key in base.meta}
    return replace(
        added,
        names=names or dict(base.names),
        synonyms=synonyms,
        days={**base.days, **added.days},
        meta={**meta, **added.meta},
    )
