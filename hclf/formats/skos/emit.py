"""A taxonomy as a SKOS graph; needs rdflib."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from rdflib import RDF, Graph, Literal, Namespace, URIRef
from rdflib.namespace import DCTERMS, OWL, SKOS

from hclf.errors import Fault, TaxonomyError
from hclf.formats._draft import refuse_ids
from hclf.formats.skos.graph import quiet
from hclf.formats.skos.words import LINKS, NOTES
from hclf.taxonomy import Node, Taxonomy

LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
NOT_IN_IRI = re.compile(r'[\x00-\x20<>"{}|\\^`]')
Triple = tuple[URIRef, URIRef, URIRef | Literal]


def text(taxonomy: Taxonomy, syntax: str) -> str:
    """Return a taxonomy in one of rdflib's syntaxes."""
    refuse_ids(taxonomy)
    _refuse_languages(taxonomy)
    with quiet():
        scheme = URIRef(f"urn:x-hclf:{quote(taxonomy.id, safe='')}")
        graph = Graph()
        graph.bind("", Namespace(f"{scheme}#"))
        graph.bind("skos", SKOS)
        graph.bind("dcterms", DCTERMS)
        for triple in _triples(taxonomy, scheme):
            graph.add(triple)
        return graph.serialize(format="pretty-xml" if syntax == "xml" else syntax)


def _refuse_languages(taxonomy: Taxonomy) -> None:
    entries = (taxonomy.node(j) for j in range(len(taxonomy)))
    faults = [
        Fault(f"{language!r} is not a language that RDF could state", node=entry.id)
        for entry in entries
        for language in dict.fromkeys((*entry.names, *entry.synonyms))
        if language and not LANGUAGE.fullmatch(language)
    ]
    if faults:
        raise TaxonomyError(faults)


def _triples(taxonomy: Taxonomy, scheme: URIRef) -> Iterator[Triple]:
    yield scheme, RDF.type, SKOS.ConceptScheme
    for word, value in (
        (DCTERMS.title, taxonomy.title),
        (OWL.versionInfo, taxonomy.version),
        (DCTERMS.license, taxonomy.license),
    ):
        if value:
            yield scheme, word, Literal(value)
    iris = {node: URIRef(f"{scheme}#{quote(node, safe='')}") for node in taxonomy.nodes}
    for j, node in enumerate(taxonomy.nodes):
        concept = iris[node]
        yield from ((concept, word, value) for word, value in _properties(taxonomy.node(j), iris))
        yield concept, SKOS.inScheme, scheme
        parents = taxonomy.parents.of(j).tolist()
        yield from ((concept, SKOS.broader, iris[taxonomy.nodes[parent]]) for parent in parents)
        if not parents:
            yield concept, SKOS.topConceptOf, scheme


def _properties(entry: Node, iris: dict[str, URIRef]) -> Iterator[tuple[URIRef, URIRef | Literal]]:
    yield RDF.type, SKOS.Concept
    yield SKOS.notation, Literal(entry.id)
    for language, name in entry.names.items():
        yield SKOS.prefLabel, _said(name, language)
    for language, texts in entry.synonyms.items():
        yield from ((SKOS.altLabel, _said(text, language)) for text in texts)
    if entry.description:
        yield SKOS.definition, _said(entry.description, "")
    if entry.valid_from or entry.valid_to:
        yield DCTERMS.valid, Literal(f"{_day(entry.valid_from)}/{_day(entry.valid_to)}")
    if entry.meta.get("deprecated") is True:
        yield OWL.deprecated, Literal(True)
    yield from _meta(entry, iris)


def _meta(entry: Node, iris: dict[str, URIRef]) -> Iterator[tuple[URIRef, URIRef | Literal]]:
    """Yield what of `meta` SKOS has a property for, as `read` puts it there."""
    for key, value in entry.meta.items():
        kind, _, language = key.partition(":")
        texts = [text for text in value if isinstance(text, str)] if isinstance(value, list | tuple) else []
        if kind in NOTES or (kind == "definition" and language):
            if not language or LANGUAGE.fullmatch(language):
                yield from ((NOTES.get(kind, SKOS.definition), _said(text, language)) for text in texts)
        elif key in LINKS:
            yield from (
                (LINKS[key], iris.get(text) or _iri(text)) for text in texts if text in iris or IRI.match(text)
            )


def _iri(text: str) -> URIRef:
    return URIRef(NOT_IN_IRI.sub(lambda found: quote(found[0]), text))


def _said(text: str, language: str) -> Literal:
    return Literal(text, lang=language or None)


def _day(day: dt.date | None) -> Any:
    return day or ".."
