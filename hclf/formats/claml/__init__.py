"""ClaML, the XML in which WHO, BfArM and others publish classifications (ISO 13120): ICD-10, ICD-10-GM, OPS, ICD-O.

Ids: the codes of the classes, as they stand. Modifiers (the fourth and fifth characters that many codes share) are
expanded into codes. Texts are kept by the language of their labels; rubrics that are neither name nor synonym stay in
`meta` as lists of texts, exclusions under `excludes`; what exclusions name becomes soft rules. See docs/formats.md
for all decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hclf.errors import Fault
from hclf.formats._draft import Draft
from hclf.formats.claml.book import fill
from hclf.taxonomy import Taxonomy

__all__ = ["check", "read"]


def read(
    path: str | Path, *, modifiers: bool | str | Sequence[str] = True, phrases: bool = True, rules: bool = True
) -> Taxonomy:
    """Read a classification in ClaML 2 or 3.

    Args:
        path: the XML file, gzip by suffix. It may name a DTD, which is not looked for.
        modifiers: which modifiers are expanded into codes: all, none, or those of the given codes (a list, or one
            string joined by commas), as some classifications have modifiers whose use is optional.
        phrases: whether inclusion terms become synonyms.
        rules: whether exclusions become rules, all of them soft. The texts stay in `meta` all the same.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line.
    """
    return Draft.of(path, partial(fill, modifiers=modifiers, phrases=phrases, rules=rules)).taxonomy()


def check(
    path: str | Path, *, modifiers: bool | str | Sequence[str] = True, phrases: bool = True, rules: bool = True
) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults; warnings say what could not be expanded,
    and which exclusions name nothing that a rule could be made of.
    """
    return Draft.of(path, partial(fill, modifiers=modifiers, phrases=phrases, rules=rules)).check()
