"""A list of codes as CSV (`Code,Description,ChapterID,SectionID`), with lists of sections and chapters beside it.

Not a release form: people make such lists from the tabular XML. It has no notes, no seventh characters and no
billable flags, but the same ids and edges, so two editions can be compared.
"""

from __future__ import annotations

from pathlib import Path

from hclf.errors import did_you_mean, suggest
from hclf.formats import table
from hclf.formats._draft import Draft
from hclf.formats.icd10cm.shape import CODE, ID, TITLE, Nesting, chapter_id, heading, level_names, year
from hclf.taxonomy import Node

COLUMNS = ("Code", "Description", "ChapterID", "SectionID")
SUFFIXES = (".csv", ".csv.gz")
Rows = list[tuple[int, list[str]]]


def lists_beside(path: Path) -> list[Path]:
    """Return the lists of chapters and sections beside a list of codes: those called so instead of `codes`."""
    names = [path.name.replace("codes", kind) for kind in ("chapters", "sections")]
    return [file for name in names if name != path.name and (file := path.with_name(name)).is_file()]


def fill(draft: Draft, *, nested: bool) -> None:
    """Read the list of codes of `draft.file`, and the lists beside it, into the draft."""
    path = Path(draft.file)
    rows = _columns(draft, path, COLUMNS)
    named: dict[str, dict[str, str]] = {"Chapter": {}, "Section": {}}
    for file in lists_beside(path):
        kind = "Chapter" if "chapters" in file.name else "Section"
        named[kind] = {key: text for _, (key, text) in _columns(draft, file, (f"{kind}ID", f"{kind}Name"))}
    draft.header |= {"id": ID, "title": TITLE, "source": f"{path.name}; no seventh characters, no billable flags"}
    draft.header["version"] = year(path)
    draft.level_names = level_names(nested)
    _headings(draft, rows, named["Chapter"], named["Section"], nested)
    _codes(draft, rows)
    draft.warn("a list of codes has no billable flags: every code without a code below it counts as assignable")


def _columns(draft: Draft, path: Path, wanted: tuple[str, ...]) -> Rows:
    """Return the cells of some columns, each row with its line."""
    rows = table.rows(path)
    line, header = next(rows, (1, []))
    if missing := [name for name in wanted if name not in header]:
        draft.fault(f"{path.name} has no column {missing[0]!r}{did_you_mean(suggest(missing[0], header))}", line)
        return []
    places = [header.index(name) for name in wanted]
    found: Rows = []
    for line, cells in rows:
        if len(cells) == len(header):
            found.append((line, [cells[place].strip() for place in places]))
        else:
            draft.fault(f"{len(cells)} cells under {len(header)} columns of {path.name}", line)
    return found


def _headings(draft: Draft, rows: Rows, chapters: dict[str, str], sections: dict[str, str], nested: bool) -> None:
    """Add chapters and sections, in the order of the book."""
    place: dict[str, tuple[str, int]] = {}  # section -> its chapter, and the line of its first code
    for line, (_, _, chapter, section) in rows:
        place.setdefault(section, (chapter, line))
    chapter = ""
    for section in reversed(sections):  # one without codes of its own stands before the sections it holds
        chapter, _ = place.setdefault(section, (chapter, 0))
    nestings: dict[str, Nesting] = {}
    for section in dict.fromkeys((*sections, *place)):
        chapter, line = place[section]
        node = chapter_id(chapter)
        if chapter not in nestings:
            nestings[chapter] = Nesting(node, nested)
            draft.node(heading(node, chapters.get(chapter, ""), {}), line)
        found = nestings[chapter].enter(section)
        if not chapter or found is None:
            draft.fault(f"needs a chapter, and a category or range of categories, not {section[:20]!r}", line)
        else:
            draft.node(heading(found[0], sections.get(section, ""), {}), line)
            draft.edge(found[1], found[0])


def _codes(draft: Draft, rows: Rows) -> None:
    """Add the codes; without nesting to go by, the parent of a code is the longest code that it begins with."""
    known = {code for _, (code, *_) in rows if CODE.fullmatch(code)}
    parents = {code: _parent(code, known) for code in known}
    headers = set(parents.values())
    for line, (code, text, _, section) in rows:
        if not CODE.fullmatch(code):
            draft.fault(f"not a code: {code[:20]!r}", line)
        elif draft.node(Node(code, {"": text} if text else {}, assignable=code not in headers), line):
            draft.edge(parents[code] or f"block-{section}", code)


def _parent(code: str, known: set[str]) -> str:
    shorter = (code[:end].rstrip(".") for end in range(len(code) - 1, 2, -1))
    return next((part for part in shorter if part in known), "")
