"""What every form of ICD-10-CM shares: ids of chapters and sections, their ranges, and which lies in which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hclf.formats._xml import Element
from hclf.taxonomy import Node

ID = "icd10cm"
TITLE = "ICD-10-CM tabular list of diseases and injuries"
LEVELS = ("chapter", "section", "category", "subcategory")
CODE = re.compile(r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")  # `C4A` and `Z3A` are categories
SECTION = re.compile(r"([A-Z]\w\w)(?:-([A-Z]\w\w))?")
RANGE = re.compile(rf"\s*\(({SECTION.pattern})\)$")
YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")
OLD = frozenset(("old",))  # tags, in addenda: what `new` beside it replaces


def text_of(element: Element, tag: str) -> str:
    """Return the text of the first element of this tag directly inside, or ""."""
    found = element.child(tag)
    return found.text(OLD) if found else ""


def year(path: Path) -> str:
    """Return the year a file's name states, or "".

    >>> year(Path("icd10cm-order-Jan-2021.txt.gz"))
    '2021'
    """
    found = set(YEAR.findall(path.name))
    return found.pop() if len(found) == 1 else ""


def level_names(nested: bool) -> tuple[str, ...]:
    """Return the names of the levels; below nested sections, codes of one kind stand at several levels."""
    return LEVELS[:2] if nested else LEVELS


def chapter_id(number: str) -> str:
    """Return the node id of a chapter.

    >>> chapter_id("4")
    'chapter-04'
    """
    return f"chapter-{number.zfill(2)}"


def heading(node: str, description: str, meta: Mapping[str, Any]) -> Node:
    """Return a chapter or section; the range at the end of its description goes to `meta`.

    >>> heading("block-C50", "Malignant neoplasms of breast (C50)", {}).meta
    {'range': 'C50'}
    """
    if found := RANGE.search(description):
        description, meta = description[: found.start()], {"range": found[1], **meta}
    return Node(node, {"": description} if description else {}, assignable=False, meta=meta)


class Nesting:
    """Which section lies in which, of one chapter whose sections are seen in the order of the book."""

    def __init__(self, chapter: str, nested: bool) -> None:
        self.chapter, self.nested = chapter, nested
        self._around: list[tuple[str, str, str]] = []  # (first, last, id), outermost first

    def enter(self, section: str) -> tuple[str, str] | None:
        """Return (node id, parent id) of the next section, such as "A00-A09"; None if that is no section.

        An outer section stands before those inside it: so D3A (benign) is not taken for a part of D37-D48.
        """
        found = SECTION.fullmatch(section)
        if not found:
            return None
        first, last, node = found[1], found[2] or found[1], f"block-{section}"
        while self._around and not (self._around[-1][0] <= first and last <= self._around[-1][1]):
            self._around.pop()
        parent = self._around[-1][2] if self._around and self.nested else self.chapter
        self._around.append((first, last, node))
        return node, parent
