"""ICD-10-CM as its owners publish it: the tabular list (XML of CDC/NCHS) with the order file (text of CMS).

Ids: codes with their dot (`E11.9`, `S52.501A`), sections `block-A00-A09` (38 of them share their id with a code),
chapters `chapter-01`. Texts: the name is the description, synonyms are the inclusion terms; every other note stays
in `meta` under its tag (`excludes1`, `codeFirst`, …), as a list of texts. See docs/icd10cm.md for all decisions.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from hclf.errors import Fault
from hclf.formats._draft import Draft
from hclf.formats._files import fail
from hclf.formats.icd10cm.order import read_order
from hclf.formats.icd10cm.tabular import fill
from hclf.taxonomy import Taxonomy

__all__ = ["check", "companions", "read"]

YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")


def read(path: str | Path, *, order: str | Path | None = None, phrases: bool = True, nested: bool = True) -> Taxonomy:
    """Read the tabular list of ICD-10-CM.

    Args:
        path: the XML file, gzip by suffix; one chapter will do.
        order: the order file of the same release, gzip by suffix: the authority on which seventh-character codes
            exist and which codes are billable (assignable). By default the `icd10cm-order*.txt` or `.txt.gz` beside
            `path`, unless its name states another year. Without any, seventh characters are expanded by the rules
            of the tabular list, and every code without a code below it counts as billable. `Taxonomy.source` tells
            which way it was.
        phrases: whether inclusion terms become synonyms.
        nested: whether a section that lies inside another one becomes its child. Otherwise sections are all
            children of their chapter, as in the file; categories are then all at level 3, but twelve sections have
            nothing below them.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line; or several order files lie beside it.

    >>> read("icd10cm_tabular_2021.xml.gz")["E11.9"].name  # doctest: +SKIP
    'Type 2 diabetes mellitus without complications'
    """
    return Draft.of(path, partial(_fill, order=order, phrases=phrases, nested=nested)).taxonomy()


def check(
    path: str | Path, *, order: str | Path | None = None, phrases: bool = True, nested: bool = True
) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults; warnings say what the order file changed."""
    return Draft.of(path, partial(_fill, order=order, phrases=phrases, nested=nested)).check()


def companions(path: str | Path, *, order: str | Path | None = None, **_options: object) -> list[Path]:
    """Return the order file that `read` would use: in a list, empty if there is none.

    Raises:
        TaxonomyError: several lie beside the file.
    """
    if order:
        return [Path(order)]
    path = Path(path)
    found = [file for file in sorted(path.parent.glob("icd10cm[-_]order*.txt*")) if _same_year(file, path)]
    if len(found) > 1:
        fail(
            f"{len(found)} order files beside it, {', '.join(file.name for file in found)}: name one (--order)", path
        )
    return found


def _same_year(one: Path, other: Path) -> bool:
    years = [YEAR.findall(file.name) for file in (one, other)]
    return one.name.endswith((".txt", ".txt.gz")) and (not all(years) or set(years[0]) == set(years[1]))


def _fill(draft: Draft, order: str | Path | None, phrases: bool, nested: bool) -> None:
    used = companions(draft.file, order=order)
    fill(draft, read_order(used[0]) if used else None, phrases=phrases, nested=nested)
