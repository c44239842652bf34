"""The notes of the tabular list as rules, and the list of those that name nothing to make a rule of.

`excludes1`: both codes for one and the same condition are wrong. Nobody but a person can tell whether two codes on a
record are about the same condition, so these rules are soft. `excludes2` says that a condition is not included, but
may be coded beside: no rule. `codeFirst`, `useAdditionalCode` and `codeAlso` ask for companions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from hclf.formats._references import Found, Reading, exclusions, is_heading
from hclf.formats.icd10cm.shape import CODE
from hclf.taxonomy import Rule, RuleType

__all__ = ["SOURCES", "Note", "read_notes"]

SOURCES = {
    "excludes1": "excludes1 note",
    "excludes2": "excludes2 note",
    "codeFirst": "code-first note",
    "useAdditionalCode": "use-additional-code note",
    "codeAlso": "code-also note",
}
TYPES: dict[str, RuleType] = {
    "excludes1": "excludes",
    "codeFirst": "code_first",
    "useAdditionalCode": "requires",
    "codeAlso": "code_also",
}
# Words by which a note asks for a companion only where it is the case.
_CONDITIONAL = re.compile(r"\b(if|any|associated|applicable|when|where|such as)\b", re.IGNORECASE)


class Note(NamedTuple):
    """One element of notes: where it stands, its tag, and its texts, each with its line."""

    node: str
    tag: str
    texts: Sequence[tuple[str, int]]


def read_notes(notes: Iterable[Note], refer: Callable[[str], Found], inside: Callable[[str], bool]) -> Reading:
    """Make rules of notes.

    Args:
        notes: the elements, in the order of the file.
        refer: what a text names.
        inside: whether a code, such as "B20" or "T36-T50", is of a chapter in this file.
    """
    reading = Reading([], [], Counter())
    for note in notes:
        source = SOURCES[note.tag]
        named = []
        for text, line in note.texts:
            found = Found() if is_heading(text) else refer(text)
            reading.tell(text, found, node=note.node, line=line, kind=note.tag, source=source, inside=inside)
            named.append(found.nodes)
        if note.tag == "excludes1":
            texts = [text for text, _ in note.texts]
            reading.rules.extend(exclusions(note.node, texts, refer, source))
        elif note.tag in TYPES:
            reading.rules.extend(_companions(note, named))
    return reading


def _companions(note: Note, named: Sequence[tuple[str, ...]]) -> Iterator[Rule]:
    """Yield a rule for each text that names nodes, and one for each heading with the texts below it.

    Those below a heading are examples, or companions wanted where they are the case; so are several texts that ask
    for something to be coded first, and what a chapter or section asks of all its codes.
    """
    heading = ""
    items: list[tuple[str, tuple[str, ...]]] = []
    general = not CODE.fullmatch(note.node) or (note.tag == "codeFirst" and len(note.texts) > 1)
    for i, ((text, _), nodes) in enumerate(zip(note.texts, named, strict=True)):
        if is_heading(text) or (not nodes and i + 1 < len(named)):
            yield from _companion(note, heading, items)
            heading, items = text, []
        elif nodes and heading:
            items.append((text, nodes))
        elif nodes:
            optional = general or _CONDITIONAL.search(text) is not None
            yield _companion_rule(note, nodes, text, optional)
    yield from _companion(note, heading, items)


def _companion(note: Note, heading: str, items: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[Rule]:
    nodes = tuple(dict.fromkeys(node for _, named in items for node in named))
    if nodes:
        yield _companion_rule(note, nodes, f"{heading} {'; '.join(text for text, _ in items)}", optional=True)


def _companion_rule(note: Note, nodes: tuple[str, ...], text: str, optional: bool) -> Rule:
    source = SOURCES[note.tag]
    return Rule(TYPES[note.tag], note.node, nodes, "soft", note=text, source=source, optional=optional)
