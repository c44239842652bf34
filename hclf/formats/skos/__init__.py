"""SKOS, the W3C's vocabulary for thesauri and classifications, in Turtle, RDF/XML, N-Triples or JSON-LD.

Nodes are the concepts, edges their `broader`; labels are kept by language. Read and written through rdflib, which
comes with the extra `hclf[skos]`. Nothing is ever fetched. See docs/formats.md for all decisions.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hclf.errors import Fault, UsageError
from hclf.formats._draft import Draft
from hclf.taxonomy import Taxonomy

__all__ = ["IDS", "check", "dumps", "read", "write"]

IDS = ("auto", "notation", "name", "iri")


def read(path: str | Path, *, scheme: str = "", ids: str = "auto", obsolete: bool = False) -> Taxonomy:
    """Read the concepts of a SKOS file.

    Args:
        path: the file, gzip by suffix: `.ttl`, `.nt`, `.jsonld`, or XML (`.rdf`, `.xml`, `.owl`); else Turtle.
        scheme: the concept scheme to read, by IRI, last part of the IRI, or label; by default all concepts are read.
        ids: what identifies a node: "notation", the "name" (last part) of its IRI, or the whole "iri". By default the
            first of these that every concept has once, and no two share.
        obsolete: whether deprecated concepts are kept, as nodes that cannot be assigned.

    Raises:
        TaxonomyError: everything wrong with it, with file and line where rdflib tells.
        MissingExtraError: rdflib is not installed.
        UsageError: `ids` is none of these.
    """
    return _draft(path, scheme, ids, obsolete).taxonomy()


def check(
    path: str | Path, *, scheme: str = "", ids: str = "auto", obsolete: bool = False
) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included."""
    return _draft(path, scheme, ids, obsolete).check()


def _draft(path: str | Path, scheme: str, ids: str, obsolete: bool) -> Draft:
    if ids not in IDS:
        raise UsageError(f"ids must be one of {', '.join(IDS)}, not {ids!r}")
    from hclf.formats.skos.graph import require

    require()
    from hclf.formats.skos.concepts import fill

    return Draft.of(path, partial(fill, scheme=scheme, ids=ids, obsolete=obsolete))


def write(taxonomy: Taxonomy, path: str | Path) -> None:
    """Write SKOS: Turtle, or what the suffix says.

    Dates, and everything in `meta` that SKOS has a property for, are kept; rules, and marks that a node cannot be
    assigned, are not.

    Raises:
        TaxonomyError: the file cannot be written, or a language is not one that RDF allows.
        MissingExtraError: rdflib is not installed.
    """
    from hclf.formats._files import write_text
    from hclf.formats.skos.graph import require, syntax

    require()
    from hclf.formats.skos.emit import text

    write_text(path, [text(taxonomy, syntax(path))])


def dumps(taxonomy: Taxonomy) -> str:
    """Return the taxonomy as SKOS in Turtle; raises as `write`."""
    from hclf.formats.skos.graph import require

    require()
    from hclf.formats.skos.emit import text

    return text(taxonomy, "turtle")
