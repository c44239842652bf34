"""Entries of the release files that list terms under terms: read from XML, or from tables made of that XML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hclf.formats import table
from hclf.formats._files import fail
from hclf.formats._xml import Element, elements, root_tag
from hclf.formats.icd10cm.shape import OLD, text_of

ROOT = "ICD10CM.index"
ASIDE = OLD | {"nemod"}
INDEX, NEOPLASMS, DRUGS = "index", "neoplasms", "drugs"
HEADINGS = {"neoplasm": NEOPLASMS, "substance": DRUGS}  # first word over a table -> what it is
# The columns of codes in tables made of the XML, in its order.
COLUMNS = {
    INDEX: ("Code",),
    NEOPLASMS: (
        "MalignantPrimary",
        "MalignantSecondary",
        "CaInSitu",
        "Benign",
        "UncertainBehavior",
        "UnspecifiedBehavior",
    ),
    DRUGS: (
        "PoisoningAccidental",
        "PoisoningIntentionalSelfHarm",
        "PoisoningAssault",
        "PoisoningUndetermined",
        "AdverseEffect",
        "Underdosing",
    ),
}
ROW = ("Level", "Term", "See", "SeeAlso", "NonEssModif")
DIGITS = 3  # of a level, or of the number of a column
_CODE = re.compile(r"[A-Z0-9][A-Z0-9.]*")


class Entry(NamedTuple):
    """One entry of an index or table.

    Attributes:
        line: where it begins in its file.
        level: 0 for a main term, 1 for a term under it, and so on.
        title: the term, without non-essential modifiers; these where it has nothing else.
        modifiers: these, in their parentheses; they may be said or not without changing the code.
        see: the entry to look at instead.
        codes: one text a column, "" for none; an index has one column.
        manifestation: the code that an index gives in brackets behind another one.
    """

    line: int
    level: int
    title: str
    modifiers: str
    see: str
    codes: tuple[str, ...]
    manifestation: str = ""


def code_of(cell: str) -> str:
    """Return the node a cell means: `I63.-` is I63, `[M01.X0]` is M01.X0, `--` is none.

    >>> [code_of(cell) for cell in ("I63.-", "C79.8-", "[M01.X0]", "--", "")]
    ['I63', 'C79.8', 'M01.X0', '', '']
    """
    found = _CODE.search(cell)
    return found[0].rstrip(".") if found else ""


def is_xml(path: str | Path) -> bool:
    """Tell by its name whether a file is XML, packed or not."""
    return str(path).lower().removesuffix(".gz").endswith(".xml")


def read(path: str | Path, kind: str) -> list[Entry]:
    """Return the entries of a release file, or of a table made of it, in their order.

    Raises:
        TaxonomyError: not readable, or what it holds are no entries of this kind.
    """
    return list((from_xml if is_xml(path) else from_table)(path, kind))


# -- XML -------------------------------------------------------------------------------------------------------


def xml_kind(path: str | Path) -> str | None:
    """Return which kind of index or table an XML file is, by the headings of its columns; None if it is neither."""
    if root_tag(path) != ROOT:
        return None
    first = next(elements(path, ("indexHeading", "mainTerm")), None)
    head = first.child("head") if first and first.tag == "indexHeading" else None
    words = head.text(OLD).lower().split() if head else []
    return HEADINGS.get(words[0], INDEX) if words else INDEX


def from_xml(path: str | Path, kind: str) -> Iterator[Entry]:
    """Yield the entries of a release file in their order.

    Raises:
        TaxonomyError: not readable, or an entry without a term.
    """
    width = len(COLUMNS[kind])
    for element in elements(path, ("mainTerm",)):
        yield from _walk(element, 0, width, path)


def _walk(element: Element, level: int, width: int, path: str | Path) -> Iterator[Entry]:
    title = element.child("title")
    if title is None:
        fail(f"a <{element.tag}> without a <title>", path, element.line)
    modifiers = " ".join(part.text(OLD) for part in title if part.tag == "nemod")
    codes = [""] * width
    for part in element:
        column = _column(part)
        if 0 <= column < width:
            codes[column] = part.text(OLD)
    yield Entry(
        element.line,
        level,
        _title(title.text(ASIDE).replace(" ,", ","), modifiers, path, element.line),
        modifiers,
        _reference(element, also=width > 1 and not any(codes)),
        tuple(codes),
        text_of(element, "manif"),
    )
    for part in element:
        if part.tag == "term":
            yield from _walk(part, level + 1, width, path)


def _title(term: str, modifiers: str, path: str | Path, line: int) -> str:
    """Return a term; where a table has cut off all that follows a modifier, such as "(gastro)", that one's words."""
    title = term or " ".join(re.sub(r"[()]", " ", modifiers).split())
    if not title:
        fail("an entry without a term", path, line)
    return title


def _column(part: Element) -> int:
    """Return which column of codes an element fills, -1 for none; the first column of a table is the title's."""
    if part.tag == "code":
        return 0
    number = part.attributes.get("col", "") if part.tag == "cell" else ""
    return int(number) - 2 if number.isdecimal() and len(number) <= DIGITS else -1


def _reference(element: Element, also: bool) -> str:
    """Return where an entry refers to; `also`: "see also" counts like "see"."""
    for tag in ("seecat", "subcat"):
        if text := text_of(element, tag):
            return f"category {text}"
    return text_of(element, "see") or (text_of(element, "seeAlso") if also else "")


# -- tables ----------------------------------------------------------------------------------------------------


def table_kind(header: Sequence[str]) -> str | None:
    """Return which kind of index or table a header is of, or None."""
    if "Level" in header and "Term" in header:
        return next((kind for kind, columns in COLUMNS.items() if set(columns) <= set(header)), None)
    return None


def from_table(path: str | Path, kind: str) -> Iterator[Entry]:
    """Yield the entries of a table made of a release file, with a row an entry.

    Raises:
        TaxonomyError: not readable, a column or a term is missing, or a level is no number.
    """
    rows = table.rows(path)
    line, header = next(rows, (1, []))
    if missing := [name for name in ("Level", "Term", *COLUMNS[kind]) if name not in header]:
        fail(f"no column {missing[0]!r}", path, line)
    at = {name: i for i, name in enumerate(header) if name in (*ROW, *COLUMNS[kind])}
    for line, cells in rows:
        if len(cells) != len(header):
            fail(f"{len(cells)} cells, but the header has {len(header)}", path, line)
        row = {name: " ".join(cells[i].split()) for name, i in at.items()}
        if not row["Level"].isdecimal() or len(row["Level"]) > DIGITS:
            fail(f"the level is {row['Level'][:20]!r}, not a number", path, line)
        codes = tuple(row[name] for name in COLUMNS[kind])
        # Tables of columns have only SeeAlso, which holds their cross references too.
        see = row.get("See", "") if "See" in row or any(codes) else row.get("SeeAlso", "")
        modifiers = row.get("NonEssModif", "")
        yield Entry(line, int(row["Level"]), _title(row["Term"], modifiers, path, line), modifiers, see, codes)
