"""A ClaML file, read into a draft: its classes, which lies in which, and the codes that modifiers make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hclf.errors import did_you_mean, suggest
from hclf.formats._draft import Draft
from hclf.formats._xml import Element, elements, root_tag
from hclf.formats.claml.exclusions import Names, read_exclusions
from hclf.formats.claml.modifiers import (
    PRECEDING,
    Made,
    ModifiedBy,
    ModifierClass,
    expand,
    position,
)
from hclf.formats.claml.texts import Texts, texts
from hclf.rules import COMPLETED_BY
from hclf.taxonomy import Node
from hclf.wording import counted, first_few

ROOT = "ClaML"
TAGS = ("Title", "UsageKind", "Modifier", "ModifierClass", "Class")
CHAPTER = "chapter"
HEADINGS = frozenset((CHAPTER, "block"))
MOST_MADE, MOST_MODIFIERS = 500_000, 9  # a few modifiers of a few hundred classes each could make more than fits


@dataclass
class Class:
    """One class as the file states it."""

    code: str
    kind: str
    line: int
    texts: Texts
    parents: list[str]
    below: list[str]
    modified_by: list[ModifiedBy]
    without: frozenset[str]


@dataclass
class Book:
    """Everything of a ClaML file, before codes are made."""

    draft: Draft
    classes: dict[str, Class] = field(default_factory=dict)
    modifiers: dict[str, dict[str, ModifierClass]] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    languages: list[str] = field(default_factory=list)


def fill(draft: Draft, *, modifiers: bool | str | Sequence[str], phrases: bool, rules: bool) -> None:
    """Read the ClaML file of `draft.file` into the draft."""
    if (root := root_tag(draft.file, doctype=True)) != ROOT:
        draft.fault(f"not ClaML: its outermost element is <{root}>, not <{ROOT}>")
        return
    book = Book(draft)
    for element in elements(draft.file, TAGS, doctype=True):
        _READ[element.tag](book, element)
    _edges(book)
    made = list(_made(book, _wanted(book, modifiers)))
    _hand_over(book, made, phrases)
    if rules:
        _make_rules(book, made)


# -- elements ----------------------------------------------------------------------------------------------------


def _title(book: Book, element: Element) -> None:
    said, header = element.attributes, book.draft.header
    header |= {"title": element.text(), "version": said.get("version") or said.get("date", "")}
    header["id"] = said.get("name") or header["id"]
    header["source"] = " of ".join(filter(None, (Path(book.draft.file).name, said.get("date"))))


def _usage_kind(book: Book, element: Element) -> None:
    book.marks[element.attributes.get("name", "")] = element.attributes.get("mark", "")


def _modifier(book: Book, element: Element) -> None:
    book.modifiers.setdefault(_code(element), {})


def _modifier_class(book: Book, element: Element) -> None:
    code, modifier = _code(element), _code(element, "modifier")
    if not code or not modifier:
        book.draft.fault("a ModifierClass needs a code and a modifier", element.line)
        return
    known = book.modifiers.setdefault(modifier, {})
    if code in known:
        book.draft.fault(f"the class '{code}' of modifier '{modifier}' again", element.line)
        return
    above = element.child("SuperClass")
    said = texts(element, book.marks, book.languages)
    excluded = str(said.meta.pop(PRECEDING, "")).split(" | ")
    pairs = (value.rpartition(" ") for value in excluded if value)
    not_after = frozenset((before.strip(), after) for before, _, after in pairs)
    known[code] = ModifierClass(code, modifier, _code(above) if above else "", element.line, said, not_after)


def _class(book: Book, element: Element) -> None:
    code = _code(element)
    if not code or code in book.classes:
        where = f" again, first on line {book.classes[code].line}" if code else ""
        message = f"the class '{code}'{where}" if code else "a Class without a code"
        book.draft.fault(message, element.line, node=code)
        return
    said = texts(element, book.marks, book.languages)
    kind = element.attributes.get("kind", "")
    if kind in HEADINGS:
        said.terms_to_notes(book.languages)
    said.meta = {**({"kind": kind} if kind else {}), **said.meta}
    book.classes[code] = Class(
        code,
        kind,
        element.line,
        said,
        parents=_codes(element, "SuperClass"),
        below=_codes(element, "SubClass"),
        modified_by=[_modified_by(item) for item in element if item.tag == "ModifiedBy"],
        without=frozenset(_codes(element, "ExcludeModifier")),
    )


def _code(element: Element, attribute: str = "code") -> str:
    return element.attributes.get(attribute, "").strip()


def _codes(element: Element, tag: str) -> list[str]:
    return list(dict.fromkeys(_code(item) for item in element if item.tag == tag))


def _modified_by(element: Element) -> ModifiedBy:
    code, valid = _code(element), _codes(element, "ValidModifierClass")
    listed = frozenset(valid) if valid or element.attributes.get("all") == "false" else None
    return ModifiedBy(code, element.line, position(element.attributes.get("position", ""), code), listed)


_READ = {
    "Title": _title,
    "UsageKind": _usage_kind,
    "Modifier": _modifier,
    "ModifierClass": _modifier_class,
    "Class": _class,
}


# -- which lies in which -----------------------------------------------------------------------------------------


def _edges(book: Book) -> None:
    """Give classes that state no parents those that name them as subclass; then the other way round."""
    stated = {one.code for one in book.classes.values() if one.parents}
    missing: dict[str, int] = {}
    for one in book.classes.values():
        for code in one.below:
            below = book.classes.get(code)
            if below is None:
                missing[code] = one.line
            elif code not in stated:
                below.parents.append(one.code)
    if missing:
        line = next(iter(missing.values()))
        book.draft.warn(f"left out: {_some(list(missing))}, named as subclass but not in the file", line)
    for one in book.classes.values():
        one.below = []
    for one in book.classes.values():
        for code in one.parents:
            if code in book.classes:
                book.classes[code].below.append(one.code)


def _some(codes: Sequence[str]) -> str:
    return f"{counted(len(codes), 'code')} {first_few(codes)}"


# -- modifiers ---------------------------------------------------------------------------------------------------


def _wanted(book: Book, modifiers: bool | str | Sequence[str]) -> frozenset[str]:
    """Return the modifiers to expand."""
    if isinstance(modifiers, bool):
        return frozenset(book.modifiers if modifiers else ())
    named = [name.strip() for name in modifiers.split(",")] if isinstance(modifiers, str) else modifiers
    for name in named:
        if name and name not in book.modifiers:
            book.draft.fault(f"no modifier '{name}'{did_you_mean(suggest(name, book.modifiers))}")
    return frozenset(filter(None, named))


def _made(book: Book, wanted: frozenset[str]) -> Iterator[Made]:
    """Yield the codes that modifiers make of the classes without subclasses."""
    _check_modifiers(book)
    codes = set(book.classes)  # one that is spelt out has words of its own
    twice: list[str] = []
    for one in book.classes.values():
        by = sorted(_modified(book, one, wanted), key=lambda by: by.position) if not one.below else []
        if len(by) > MOST_MODIFIERS:
            book.draft.fault(f"{len(by)} modifiers; at most {MOST_MODIFIERS} are read", one.line, node=one.code)
            continue
        for made in expand(Made(one.code, "", one.texts, one.line), by, book.modifiers):
            if made.code not in codes:
                codes.add(made.code)
                yield made
            elif made.code not in book.classes:
                twice.append(made.code)
            if len(codes) + len(twice) > MOST_MADE + len(book.classes):
                book.draft.fault(f"modifiers would make more than {MOST_MADE:,} codes", one.line, node=one.code)
                return
    if twice:
        book.draft.warn(f"made by modifiers in two ways, of which the first is kept: {_some(twice)}")


def _modified(book: Book, one: Class, wanted: frozenset[str]) -> list[ModifiedBy]:
    """Return the modifiers of a class: its own, then those of the classes around it that none on the way excludes."""
    found: dict[str, ModifiedBy] = {}
    without: set[str] = set()
    around, seen = [one], {one.code}
    while around:
        without.update(*(each.without for each in around))
        for each in around:
            for stated in each.modified_by:
                if stated.modifier in wanted and stated.modifier not in without:
                    found.setdefault(stated.modifier, stated)
        codes = [code for each in around for code in each.parents if code in book.classes and code not in seen]
        seen.update(codes)
        around = [book.classes[code] for code in dict.fromkeys(codes)]
    return list(found.values())


def _check_modifiers(book: Book) -> None:
    """Warn of modifiers, and classes of them, that are used but not there: published files have such."""
    for one in book.classes.values():
        for stated in one.modified_by:
            classes = book.modifiers.get(stated.modifier)
            if classes is None:
                book.draft.warn(f"no modifier '{stated.modifier}'; its codes are missing", stated.line, one.code)
            elif unknown := sorted((stated.valid or frozenset()) - classes.keys()):
                message = f"modifier '{stated.modifier}' has no class {', '.join(map(repr, unknown))}"
                book.draft.warn(f"{message}; its code is missing", stated.line, one.code)


# -- the draft ---------------------------------------------------------------------------------------------------


def _hand_over(book: Book, made: Sequence[Made], phrases: bool) -> None:
    draft = book.draft
    heads = {one.parent: one.used[-1][0] for one in made}  # what is completed by a modifier, and by which
    for one in book.classes.values():
        assignable = not one.below and one.code not in heads and one.kind not in HEADINGS
        if draft.node(_node(one.code, one.texts, assignable, phrases, heads.get(one.code, "")), one.line):
            for parent in one.parents:
                draft.edge(parent, one.code)
    for new in made:
        modifier = heads.get(new.code, "")
        if draft.node(_node(new.code, new.texts, not modifier, phrases, modifier), new.line):
            draft.edge(new.parent, new.code)
    draft.level_names = _level_names(book)


def _make_rules(book: Book, made: Sequence[Made]) -> None:
    """Turn what exclusion rubrics name into rules, and warn of those that name nothing."""
    rubrics = [(one.code, one.texts.excluded) for one in book.classes.values()]
    rubrics += [(one.code, one.texts.excluded) for one in made]
    if not any(several for _, several in rubrics):
        return
    chapters = [one.code for one in book.classes.values() if one.kind == CHAPTER]
    reading = read_exclusions(rubrics, Names.of(*book.draft.tree(), chapters))
    book.draft.rules = reading.rules
    for message, line, node in reading.unresolved:
        book.draft.warn(message, line, node)
    book.draft.warn(reading.summary())


def _node(code: str, said: Texts, assignable: bool, phrases: bool, modifier: str) -> Node:
    """Return a class as a node; `modifier` is what makes whole codes of it, if one does."""
    synonyms = {
        language: kept
        for language, several in said.synonyms.items()
        if phrases and (kept := tuple(text for text in dict.fromkeys(several) if text != said.names.get(language)))
    }
    return Node(
        code,
        said.names,
        synonyms,
        said.description,
        assignable,
        meta={**said.meta, COMPLETED_BY: f"character of modifier {modifier}"} if modifier else said.meta,
        valid_from=said.days.get("valid_from"),
        valid_to=said.days.get("valid_to"),
    )


def _level_names(book: Book) -> tuple[str, ...]:
    """Return the kinds of the upper levels, as far down as each level has classes of one kind only."""
    names: list[str] = []
    level = [one for one in book.classes.values() if not one.parents]
    while level and len(kinds := {one.kind for one in level}) == 1 and len(names) < 2:
        names += kinds
        level = [book.classes[code] for one in level for code in one.below]
    return tuple(names) if all(names) else ()
