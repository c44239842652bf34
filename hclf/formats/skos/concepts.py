"""Concepts of a graph as nodes and edges of a draft; needs rdflib."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rdflib import RDF, RDFS, Graph, Literal, URIRef
from rdflib.namespace import DCTERMS, OWL, SKOS
from rdflib.term import Node as Term

from hclf.errors import did_you_mean, suggest
from hclf.formats._draft import Draft
from hclf.formats._files import one_line
from hclf.formats.skos.graph import load, quiet, subject_lines
from hclf.formats.skos.words import (
    ALTERNATIVE,
    BROADER,
    EUVOC,
    HIDDEN,
    LICENSES,
    LINKS,
    NARROWER,
    NOTES,
    PREFERRED,
    SKOSXL,
    TITLES,
)
from hclf.taxonomy import Node

DAY = re.compile(r"\d{4}-\d\d-\d\d")
PERIOD = re.compile(r"\b(start|end)\s*=\s*([^;]*)")
NOTHING = ("", "..")
Days = tuple[dt.date | None, dt.date | None]
Texts = dict[str, list[str]]


def fill(draft: Draft, *, scheme: str, ids: str, obsolete: bool) -> None:
    """Read the concepts of `draft.file` into the draft."""
    with quiet():
        graph, text = load(draft.file)
        reader = _Reader(draft, graph, subject_lines(text, graph))
        reader.header(scheme)
        concepts = reader.concepts(obsolete)
        if not concepts:
            draft.fault("no skos:Concept in this file" + (" that belongs to this scheme" if reader.scheme else ""))
            return
        reader.identify(concepts, ids)
        for concept in concepts:
            reader.concept(concept)
        reader.edges(concepts)


class _Reader:
    """What is known of a graph while its concepts are read."""

    def __init__(self, draft: Draft, graph: Graph, lines: dict[str, int]) -> None:
        self.draft, self.graph, self.lines = draft, graph, lines
        self.scheme: Term | None = None
        self.ids: dict[Term, str] = {}
        self.left_out: set[Term] = set()

    def line(self, term: Term) -> int:
        """Return the line a term most likely stands on, or 0."""
        return self.lines.get(str(term), 0)

    # -- the scheme --------------------------------------------------------------------------------------------

    def header(self, wanted: str) -> None:
        """Find the scheme that is wanted, or the only one, and take what it says of itself."""
        graph, header = self.graph, self.draft.header
        schemes = sorted(
            {*graph.subjects(RDF.type, SKOS.ConceptScheme), *graph.objects(None, SKOS.inScheme)}, key=str
        )
        header["source"] = Path(self.draft.file).name
        called: dict[str, list[Term]] = {}
        for scheme in schemes:
            for name in dict.fromkeys((*self._labels_of(scheme), _name(scheme), str(scheme))):
                called.setdefault(name, []).append(scheme)
        if wanted:
            meant = called.get(wanted, [])
            self.scheme = meant[0] if meant else None
            if len(meant) > 1:
                names = ", ".join(map(_shown, meant[:5]))
                self.draft.fault(f"{len(meant)} concept schemes are called {wanted!r}; give the IRI of one ({names})")
            elif not meant:
                hint = (
                    did_you_mean(suggest(wanted, called)) or f"; it has {', '.join(map(_shown, schemes)) or 'none'}"
                )
                self.draft.fault(f"no concept scheme {wanted!r} in this file{hint}")
        elif len(schemes) > 1:
            names = ", ".join(map(_shown, schemes[:5]))
            self.draft.warn(f"{len(schemes)} concept schemes are read as one ({names}); name one (scheme=…)")
        one = self.scheme or (schemes[0] if len(schemes) == 1 else None)
        if one is not None:
            header["title"] = next(iter(self._labels_of(one)), "")
            header["version"] = next((str(value) for value in graph.objects(one, OWL.versionInfo)), "")
            header["license"] = next((str(v) for word in LICENSES for v in graph.objects(one, word)), "")
            if isinstance(one, URIRef):
                header["source"] = str(one)

    def _labels_of(self, scheme: Term) -> list[str]:
        """Return the labels of a scheme: those without language first, then English ones."""
        labels = [
            label for word in TITLES for label in self.graph.objects(scheme, word) if isinstance(label, Literal)
        ]
        order = sorted(labels, key=lambda label: (bool(label.language), label.language != "en", str(label)))
        return [str(label) for label in order]

    # -- which concepts ----------------------------------------------------------------------------------------

    def concepts(self, obsolete: bool) -> list[Term]:
        """Return the concepts to read, by IRI."""
        graph = self.graph
        kinds = set(graph.transitive_subjects(RDFS.subClassOf, SKOS.Concept))
        found = {concept for kind in kinds for concept in graph.subjects(RDF.type, kind)}
        if self.scheme is not None:
            inside = {*graph.subjects(SKOS.inScheme, self.scheme), *graph.subjects(SKOS.topConceptOf, self.scheme)}
            inside |= set(graph.objects(self.scheme, SKOS.hasTopConcept))
            found &= inside
        if not obsolete:
            self.left_out = {concept for concept in found if self._is_deprecated(concept)}
        return sorted(found - self.left_out, key=str)

    def _is_deprecated(self, concept: Term) -> bool:
        return any(str(value).lower() in ("true", "1") for value in self.graph.objects(concept, OWL.deprecated))

    # -- ids ---------------------------------------------------------------------------------------------------

    def identify(self, concepts: Sequence[Term], ids: str) -> None:
        """Give each concept its id."""
        for form in ("notation", "name", "iri") if ids == "auto" else (ids,):
            self.ids = {concept: self._id(concept, form) for concept in concepts}
            if len(set(self.ids.values())) == len(concepts) and all(self.ids.values()):
                return
        for concept, node in self.ids.items():
            if not node:
                which = "no notation, or several" if ids == "notation" else "nothing that could be its id"
                called = _shown(concept) if isinstance(concept, URIRef) else "a blank node"
                self.draft.fault(f"{called} has {which}", self.line(concept))

    def _id(self, concept: Term, form: str) -> str:
        if form == "notation":
            several = {str(notation).strip() for notation in self.graph.objects(concept, SKOS.notation)}
            return several.pop() if len(several) == 1 else ""
        if not isinstance(concept, URIRef):  # a blank node is called differently each time
            return ""
        return _name(concept) if form == "name" else str(concept)

    # -- nodes -------------------------------------------------------------------------------------------------

    def concept(self, concept: Term) -> None:
        """Add a concept as a node."""
        node = self.ids[concept]
        if not node:
            return
        preferred = self._texts(concept, PREFERRED) or self._plain(concept, RDFS.label)
        names = {language: texts[0] for language, texts in preferred.items()}
        for language, texts in preferred.items():
            if len(texts) > 1:
                where = f" in language '{language}'" if language else ""
                self.draft.warn(
                    f"{len(texts)} preferred labels{where}; the first is the name", self.line(concept), node
                )
        synonyms: Texts = {language: texts[1:] for language, texts in preferred.items()}
        for word in (ALTERNATIVE, HIDDEN):
            for language, texts in self._texts(concept, word).items():
                synonyms.setdefault(language, []).extend(texts)
        meta = self._meta(concept, node)
        days = self._days(concept, meta)
        deprecated = self._is_deprecated(concept)
        entry = Node(
            node,
            names,
            {
                k: kept
                for k, v in synonyms.items()
                if (kept := tuple(t for t in dict.fromkeys(v) if t != names.get(k)))
            },
            self._description(concept, meta),
            not deprecated,
            *days,
            {**meta, "deprecated": True} if deprecated else meta,
        )
        self.draft.node(entry, self.line(concept))

    def _texts(self, concept: Term, word: str) -> Texts:
        """Return the labels of a kind by language, those of SKOS-XL included."""
        found = self._plain(concept, SKOS[word])
        further = [
            (language, text)
            for label in self.graph.objects(concept, SKOSXL[word])
            for language, texts in self._plain(label, SKOSXL.literalForm).items()
            for text in texts
        ]
        for language, text in sorted(further):  # by what they say: blank nodes are called differently each time
            known = found.setdefault(language, [])
            if text not in known:
                known.append(text)
        return found

    def _plain(self, subject: Term, word: URIRef) -> Texts:
        found: Texts = {}
        values = [value for value in self.graph.objects(subject, word) if isinstance(value, Literal)]
        for value in sorted(values, key=lambda value: (value.language or "", str(value))):
            if text := str(value).strip():
                found.setdefault(value.language or "", []).append(text)
        return found

    def _description(self, concept: Term, meta: dict[str, Any]) -> str:
        """Return the definition to show; those in other languages go to `meta`."""
        definitions = self._plain(concept, SKOS.definition)
        first = next((key for key in ("", "en") if key in definitions), next(iter(definitions), ""))
        description = " ".join(definitions.pop(first, []))
        meta |= {_key("definition", language): texts for language, texts in definitions.items()}
        return description

    def _meta(self, concept: Term, node: str) -> dict[str, Any]:
        graph, meta = self.graph, {}
        notations = sorted({str(value) for value in graph.objects(concept, SKOS.notation)} - {node})
        if notations:
            meta["notation"] = notations if len(notations) > 1 else notations[0]
        for key, word in NOTES.items():
            meta |= {_key(key, language): texts for language, texts in self._plain(concept, word).items()}
        for key, word in LINKS.items():
            if links := sorted(self.ids.get(value) or str(value) for value in graph.objects(concept, word)):
                meta[key] = links
        return meta

    def _days(self, concept: Term, meta: dict[str, Any]) -> Days:
        """Return the first and the last day of validity; what cannot be read as such stays in `meta`."""
        first, last = (
            next((day for value in self.graph.objects(concept, word) if (day := _day(str(value)))), None)
            for word in (EUVOC.startDate, EUVOC.endDate)
        )
        for value in self.graph.objects(concept, DCTERMS.valid):
            said = _interval(str(value))
            if said is None:
                meta["valid"] = str(value)
                self.draft.warn(f"dcterms:valid {str(value)[:80]!r} is no period of days", self.line(concept))
            else:
                first, last = said[0] or first, said[1] or last
        return first, last

    # -- edges -------------------------------------------------------------------------------------------------

    def edges(self, concepts: Sequence[Term]) -> None:
        """Add an edge from each concept that is broader than another."""
        direct = {concept: self._broader(concept) for concept in concepts}
        for concept in concepts:
            known = direct[concept] & self.ids.keys()
            for parent in sorted(known or self._nearest(concept, direct), key=str):
                if self.ids[parent] and self.ids[concept]:
                    self.draft.edge(self.ids[parent], self.ids[concept])
            for parent in sorted(direct[concept] - known, key=str):
                if self.scheme is None or parent in self.left_out:
                    why = "which is deprecated" if parent in self.left_out else "which is not a concept of this file"
                    message = f"broader {_shown(parent)}, {why}: left out"
                    self.draft.warn(message, self.line(concept), self.ids[concept])

    def _broader(self, concept: Term) -> set[Term]:
        above = {parent for word in BROADER for parent in self.graph.objects(concept, word)}
        return above | {parent for word in NARROWER for parent in self.graph.subjects(word, concept)}

    def _nearest(self, concept: Term, direct: dict[Term, set[Term]]) -> set[Term]:
        """Return the broaderTransitive concepts that are above no other of them."""
        above = self._all_above(concept)
        return above - {
            far for near in above for far in (*self._all_above(near), *direct.get(near, ())) if far != near
        }

    def _all_above(self, concept: Term) -> set[Term]:
        found = set(self.graph.objects(concept, SKOS.broaderTransitive))
        return (found | set(self.graph.subjects(SKOS.narrowerTransitive, concept))) & self.ids.keys() - {concept}


def _shown(term: Term) -> str:
    """Return a term for a message: on one line, and not at any length."""
    return one_line(str(term))[:200]


def _name(term: Term) -> str:
    """Return the last part of an IRI, its escapes resolved."""
    return unquote(re.split(r"[#/]", str(term).rstrip("#/"))[-1])


def _key(kind: str, language: str) -> str:
    return f"{kind}:{language}" if language else kind


def _day(text: str) -> dt.date | None:
    found = DAY.match(text.strip())
    try:
        return dt.date.fromisoformat(found[0]) if found else None
    except ValueError:
        return None


def _interval(text: str) -> Days | None:
    """Return first and last day of "2020-01-01/2021-12-31" or "start=2020-01-01; end=2021-12-31", or None."""
    if period := dict(PERIOD.findall(text)):
        ends = [period.get("start", "").strip(), period.get("end", "").strip()]
    else:
        ends = [end.strip() for end in text.split("/")]
    if len(ends) != 2 or any(end not in NOTHING and _day(end) is None for end in ends):
        return None
    return _day(ends[0]), _day(ends[1])
