"""The words of SKOS and of what stands beside it that have a place in a taxonomy; needs rdflib."""

from __future__ import annotations

from rdflib import Namespace, URIRef
from rdflib.namespace import DCTERMS, RDFS, SKOS

SKOSXL = Namespace("http://www.w3.org/2008/05/skos-xl#")
ISOTHES = Namespace("http://purl.org/iso25964/skos-thes#")
EUVOC = Namespace("http://publications.europa.eu/ontology/euvoc#")
DC = Namespace("http://purl.org/dc/elements/1.1/")

PREFERRED, ALTERNATIVE, HIDDEN = "prefLabel", "altLabel", "hiddenLabel"
BROADER = (SKOS.broader, ISOTHES.broaderGeneric, ISOTHES.broaderPartitive, ISOTHES.broaderInstantial)
NARROWER = (SKOS.narrower, ISOTHES.narrowerGeneric, ISOTHES.narrowerPartitive, ISOTHES.narrowerInstantial)
TITLES = (SKOS.prefLabel, DCTERMS.title, DC.title, RDFS.label)
LICENSES = (DCTERMS.license, DCTERMS.rights, DC.rights)

# meta key -> property: texts, which have a language, and IRIs, which have none.
NOTES: dict[str, URIRef] = {
    "scopeNote": SKOS.scopeNote,
    "note": SKOS.note,
    "example": SKOS.example,
    "changeNote": SKOS.changeNote,
    "historyNote": SKOS.historyNote,
    "editorialNote": SKOS.editorialNote,
}
LINKS: dict[str, URIRef] = {
    "exactMatch": SKOS.exactMatch,
    "closeMatch": SKOS.closeMatch,
    "broadMatch": SKOS.broadMatch,
    "narrowMatch": SKOS.narrowMatch,
    "relatedMatch": SKOS.relatedMatch,
    "related": SKOS.related,
    "replaced_by": DCTERMS.isReplacedBy,
}
