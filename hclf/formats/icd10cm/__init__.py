"""ICD-10-CM as its owners publish it: the tabular list (XML of CDC/NCHS) with the order file (text of CMS).

Ids: codes with their dot (`E11.9`, `S52.501A`), sections `block-A00-A09` (38 of them share their id with a code),
chapters `chapter-01`. Texts: the name is the description, synonyms are the inclusion terms; every other note stays
in `meta` under its tag (`excludes1`, `codeFirst`, …), as a list of texts. See docs/icd10cm.md for all decisions.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hclf.errors import Fault
from hclf.formats._draft import Draft
from hclf.formats._files import fail
from hclf.formats.icd10cm import codelist, tabular
from hclf.formats.icd10cm.order import read_order
from hclf.formats.icd10cm.shape import year
from hclf.taxonomy import Taxonomy

__all__ = ["check", "companions", "read"]


def read(
    path: str | Path,
    *,
    order: str | Path | None = None,
    phrases: bool = True,
    nested: bool = True,
    rules: bool = True,
) -> Taxonomy:
    """Read the tabular list of ICD-10-CM.

    Args:
        path: the XML file, gzip by suffix; one chapter will do. A `.csv` file is taken as a bare list of codes
            (`Code,Description,ChapterID,SectionID`), which knows neither seventh characters nor billable codes.
        order: the order file of the same release, gzip by suffix: the authority on which seventh-character codes
            exist and which codes are billable (assignable). By default the `icd10cm-order*.txt` or `.txt.gz` beside
            `path`, unless its name states another year. Without any, seventh characters are expanded by the rules
            of the tabular list, and every code without a code below it counts as billable. `Taxonomy.source` tells
            which way it was.
        phrases: whether inclusion terms become synonyms.
        nested: whether a section that lies inside another one becomes its child. Otherwise sections are all
            children of their chapter, as in the file; categories are then all at level 3, but twelve sections have
            nothing below them.
        rules: whether notes become rules: `excludes1`, `codeFirst`, `useAdditionalCode` and `codeAlso`, all of them
            soft. The texts stay in `meta` all the same.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line; or several order files lie beside it.
    """
    return Draft.of(path, partial(_fill, order=order, phrases=phrases, nested=nested, rules=rules)).taxonomy()


def check(
    path: str | Path,
    *,
    order: str | Path | None = None,
    phrases: bool = True,
    nested: bool = True,
    rules: bool = True,
) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults; warnings say what the order file changed,
    and which notes name nothing that a rule could be made of.
    """
    return Draft.of(path, partial(_fill, order=order, phrases=phrases, nested=nested, rules=rules)).check()


def companions(path: str | Path, *, order: str | Path | None = None, **_options: object) -> list[Path]:
    """Return the files `read` would use besides: the order file, or the lists beside a list of codes.

    Raises:
        TaxonomyError: several lie beside the file.
    """
    path = Path(path)
    if path.name.endswith(codelist.SUFFIXES):
        return codelist.lists_beside(path)
    if order:
        return [Path(order)]
    found = [file for file in sorted(path.parent.glob("icd10cm[-_]order*.txt*")) if _goes_with(file, path)]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        fail(f"{len(found)} order files lie beside it ({names}); name one (--order)", path)
    return found


def _goes_with(order: Path, path: Path) -> bool:
    """Tell whether a file beside is an order file of the same year, as far as the names tell years."""
    years = {year(order), year(path)} - {""}
    return order.name.endswith((".txt", ".txt.gz")) and len(years) < 2


def _fill(draft: Draft, order: str | Path | None, phrases: bool, nested: bool, rules: bool) -> None:
    if not draft.file.endswith(codelist.SUFFIXES):
        used = companions(draft.file, order=order)
        tabular.fill(draft, read_order(used[0]) if used else None, phrases=phrases, nested=nested, rules=rules)
    elif order:
        draft.fault("an order file goes with the tabular list (XML), not with a list of codes")
    else:
        codelist.fill(draft, nested=nested)
