"""OBO 1.2 and 1.4, the text format of biomedical ontologies: HPO, MONDO, GO, Disease Ontology.

Ids are those of the terms (`HP:0000118`), edges their `is_a`. Synonyms of every scope but BROAD are synonyms; scopes,
cross-references and every tag without a place of its own stay in `meta`. See docs/formats.md for all decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hclf.errors import Fault
from hclf.formats._draft import Draft
from hclf.formats._files import write_text
from hclf.formats.obo.emit import parts
from hclf.formats.obo.terms import fill
from hclf.taxonomy import Taxonomy

__all__ = ["check", "dumps", "read", "write"]


def read(path: str | Path, *, relations: str | Sequence[str] = (), obsolete: bool = False) -> Taxonomy:
    """Read an ontology in OBO.

    Args:
        path: the file, UTF-8, gzip by suffix. What it imports is not looked for.
        relations: relationships that lead to further parents, such as "part_of": ids or names, a list or one string
            joined by commas.
        obsolete: whether obsolete terms are kept, as nodes that cannot be assigned.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line.
    """
    return Draft.of(path, partial(fill, relations=relations, obsolete=obsolete)).taxonomy()


def check(
    path: str | Path, *, relations: str | Sequence[str] = (), obsolete: bool = False
) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included."""
    return Draft.of(path, partial(fill, relations=relations, obsolete=obsolete)).check()


def write(taxonomy: Taxonomy, path: str | Path) -> None:
    """Write an ontology in OBO 1.4. Dates, rules, and marks that a node cannot be assigned are not kept.

    Raises:
        TaxonomyError: the file cannot be written, or an id is not one.
    """
    write_text(path, parts(taxonomy))


def dumps(taxonomy: Taxonomy) -> str:
    """Return the taxonomy as OBO text.

    >>> print(dumps(Taxonomy(["a", "b"], [("a", "b")])).partition("[Term]")[2], end="")
    <BLANKLINE>
    id: a
    <BLANKLINE>
    [Term]
    id: b
    is_a: a
    """
    return "".join(parts(taxonomy))
