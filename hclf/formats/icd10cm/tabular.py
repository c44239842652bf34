"""The tabular list: chapters, sections, codes, and the seventh characters that codes inherit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hclf.formats._draft import Draft
from hclf.formats._references import References
from hclf.formats._xml import Element, elements, root_tag
from hclf.formats.icd10cm.notes import SOURCES, Note, read_notes
from hclf.formats.icd10cm.order import OrderFile, dotted
from hclf.formats.icd10cm.shape import CODE, ID, OLD, TITLE, Nesting, chapter_id, heading, level_names, text_of
from hclf.rules import COMPLETED_BY
from hclf.taxonomy import Node
from hclf.wording import counted, first_few

ROOT = "ICD10CM.tabular"
WHOLE, PLACEHOLDER = 7, "X"  # characters of a whole code; what fills it up to the seventh
# What is not a note. All else that stands in a chapter, section or code is kept in `meta` under its tag.
STRUCTURE = frozenset(("name", "desc", "diag", "section", "sectionIndex", "sevenChrDef"))
SEVENTH = "seventh character"  # what completes the codes that lack just this


class Seventh(NamedTuple):
    """A seventh character, what it adds to a description, and its own inclusion notes."""

    character: str
    text: str
    notes: list[str]
    line: int


def fill(draft: Draft, order: OrderFile | None, *, phrases: bool, nested: bool, rules: bool) -> None:
    """Read the tabular list of `draft.file` into the draft, its codes limited to those of the order file."""
    if (root := root_tag(draft.file)) != ROOT:
        draft.fault(f"not a tabular list of ICD-10-CM: its outermost element is <{root}>, not <{ROOT}>")
        return
    name = Path(draft.file).name
    codes = f"codes and billable flags from {order.path.name}" if order else "billable flags derived, no order file"
    draft.header |= {"id": ID, "title": TITLE, "source": f"{name}; {codes}"}
    draft.level_names = level_names(nested)
    tabular = Tabular(draft, order, phrases=phrases, nested=nested)
    for element in elements(draft.file, ("version", "chapter")):
        if element.tag == "version":
            draft.header["version"] = element.text(OLD)
        else:
            tabular.chapter(element)
    tabular.finish()
    if rules:
        tabular.make_rules()


class Tabular:
    """Walks the elements of a tabular list and adds what they say to a draft."""

    def __init__(self, draft: Draft, order: OrderFile | None, *, phrases: bool, nested: bool) -> None:
        self.draft, self.order, self.phrases, self.nested = draft, order, phrases, nested
        self.codes: set[str] = set()
        self.notes: list[Note] = []
        self.ranges: dict[str, str] = {}  # of chapters and sections
        self.chapters: dict[str, str] = {}
        self.surplus: list[str] = []
        self.expanded = 0

    def chapter(self, element: Element) -> None:
        """Add a chapter and all below it."""
        number = text_of(element, "name")
        if not number:
            self.draft.fault("a chapter without a <name>", element.line)
            return
        chapter = self.chapters[number] = chapter_id(number)
        self._heading(element, chapter)
        nesting = Nesting(chapter, self.nested)
        for section in element:
            if section.tag == "section":
                self._section(section, nesting)

    def _section(self, element: Element, nesting: Nesting) -> None:
        found = nesting.enter(element.attributes.get("id", ""))
        if found is None:
            self.draft.fault("a section whose id is not a category or a range of categories", element.line)
            return
        section, parent = found
        self._heading(element, section)
        self.draft.edge(parent, section)
        for code in element:
            if code.tag == "diag":
                self._code(code, section, ())

    def _heading(self, element: Element, node: str) -> None:
        entry = heading(node, text_of(element, "desc"), self._notes(element, node))
        self.draft.node(entry, element.line)
        if "range" in entry.meta:
            self.ranges.setdefault(entry.meta["range"], node)

    # -- codes -------------------------------------------------------------------------------------------------

    def _code(self, element: Element, parent: str, inherited: Sequence[Seventh]) -> None:
        """Add a code and all below it; `inherited` are the seventh characters defined further up."""
        code = text_of(element, "name")
        if not CODE.fullmatch(code):
            self.draft.fault(f"not a code: {code[:20]!r}" if code else "a code without a <name>", element.line)
            return
        below = [item for item in element if item.tag == "diag"]
        defined = element.child("sevenChrDef")
        sevenths = self._sevenths(defined) if defined else inherited
        extends = bool(sevenths) and not below and len(code.replace(".", "")) < WHOLE
        name, meta = text_of(element, "desc"), self._notes(element, code)
        terms = tuple(dict.fromkeys(meta.pop("inclusionTerm", ())))
        if extends or (below and all(len(text_of(item, "name").replace(".", "")) == WHOLE for item in below)):
            meta[COMPLETED_BY] = SEVENTH
        self._add(code, parent, name, element.line, terms=terms, meta=meta, header=bool(below) or extends)
        for item in below:
            self._code(item, code, sevenths)
        if extends:
            self._extend(code, name, sevenths)

    def _add(
        self,
        code: str,
        parent: str,
        name: str,
        line: int,
        *,
        terms: tuple[str, ...] = (),
        meta: dict[str, Any],
        header: bool,
    ) -> None:
        """Add one code. `header`: whether it only heads others, which the order file knows better."""
        listed = self.order.codes.get(code) if self.order else None
        assignable = bool(listed and listed.billable) if self.order else not header
        names, synonyms = {"": name} if name else {}, {"": terms} if terms and self.phrases else {}
        if self.draft.node(Node(code, names, synonyms, assignable=assignable, meta=meta), line):
            self.codes.add(code)
            self.draft.edge(parent, code)

    def _extend(self, code: str, name: str, sevenths: Iterable[Seventh]) -> None:
        """Add the whole codes under a code that ends before the seventh character."""
        stem = code.replace(".", "").ljust(WHOLE - 1, PLACEHOLDER)
        for seventh in sevenths:
            whole = dotted(stem + seventh.character)
            if self.order and whole not in self.order.codes:
                self.surplus.append(whole)
                continue
            meta = {"includes": seventh.notes} if seventh.notes else {}
            said = ", ".join(filter(None, (name, seventh.text)))
            self._add(whole, code, said, seventh.line, meta=meta, header=False)
            self.expanded += 1

    def _sevenths(self, definition: Element) -> list[Seventh]:
        """Return the seventh characters a code defines; a note among them belongs to the one before it."""
        found: list[Seventh] = []
        for item in definition:
            if item.tag == "note" and found:
                found[-1].notes.append(item.text(OLD))
                continue
            character = item.attributes.get("char", "")
            if item.tag != "extension" or not (len(character) == 1 and character.isalnum()):
                self.draft.fault("a seventh character must be an <extension> with one letter or digit", item.line)
            else:
                found.append(Seventh(character.upper(), item.text(OLD), [], item.line))
        return found

    def _notes(self, element: Element, node: str) -> dict[str, Any]:
        """Return tag -> texts of everything said besides structure, and keep what rules are made of."""
        notes: dict[str, Any] = {}
        for item in element:
            if item.tag in STRUCTURE:
                continue
            said = [(text, inner.line) for inner in item if (text := inner.text(OLD))]
            said = said or [(text, item.line) for text in (item.text(OLD),) if text]
            notes.setdefault(item.tag, []).extend(text for text, _ in said)
            if item.tag in SOURCES:
                self.notes.append(Note(node, item.tag, said))
        return notes

    def make_rules(self) -> None:
        """Turn the notes into rules, and warn of those that name nothing."""
        if not self.notes:
            return
        nodes, parents = self.draft.tree()
        refer = References(nodes, parents, self.ranges, self.chapters)
        reading = read_notes(self.notes, refer, self._inside)
        self.draft.rules = reading.rules
        for message, line, node in reading.unresolved:
            self.draft.warn(message, line, node)
        self.draft.warn(reading.summary())

    def _inside(self, code: str) -> bool:
        """Tell whether a code or the first of a range is in the range of a chapter of this file."""
        ranges = (span.partition("-") for span, node in self.ranges.items() if node in self.chapters.values())
        return any(first <= code[:3] <= (last or first) for first, _, last in ranges)

    # -- what the order file says otherwise --------------------------------------------------------------------

    def finish(self) -> None:
        """Say how codes and order file fit together."""
        if not self.order:
            if self.codes:
                made = f"{self.expanded:,} codes made of seventh characters by rule, " if self.expanded else ""
                self.draft.warn(f"no order file: {made}billable flags derived; give one (--order)")
            return
        file = self.order.path.name
        common = self.codes & self.order.codes.keys()
        if self.codes and not common:
            self.draft.fault(f"none of the {len(self.codes):,} codes is in the order file {file}: another release?")
            return
        if self.surplus:
            self._warn(self.surplus, f"left out: seventh characters allow, but {file} does not list")
        unlisted = sorted(self.codes - common)
        if unlisted:
            self._warn(unlisted, f"not assignable, as {file} does not list")
        categories = {code[:3] for code in self.codes}  # of chapters that are not in this file, nothing can be said
        missing = [code for code in self.order.codes if code[:3] in categories and code not in self.codes]
        if missing:
            self._warn(missing, f"left out: {file} lists, but the tabular list does not hold (another release?)")

    def _warn(self, codes: Sequence[str], what: str) -> None:
        self.draft.warn(f"{counted(len(codes), 'code')} {what} {first_few(codes)}")
