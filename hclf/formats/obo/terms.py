"""Terms of OBO as nodes and edges of a draft."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hclf.errors import did_you_mean, suggest
from hclf.formats._draft import Draft
from hclf.formats.obo.syntax import Stanza, Tag, listed, plain, quoted, stanzas
from hclf.taxonomy import Node

BROAD = "BROAD"  # the one scope that names something else: a wider term
EXACT = "EXACT"
SCOPES = (EXACT, "NARROW", "RELATED", BROAD)
NAME_TYPE = "name"  # the synonym type in which `write` puts names in further languages
ONCE = frozenset(("namespace", "comment", "created_by", "creation_date"))
STRUCTURED = frozenset(
    ("relationship", "intersection_of", "union_of", "disjoint_from", "equivalent_to", "property_value")
)  # kept as they stand: their words are escaped one by one
SKIPPED = frozenset(("id", "name", "is_a", "def", "synonym", "is_obsolete", "is_anonymous", "builtin"))
TITLES = (
    "title",
    "dc:title",
    "dcterms:title",
    "terms:title",
    "http://purl.org/dc/terms/title",
    "http://purl.org/dc/elements/1.1/title",
)
LICENSES = ("license", "dcterms:license", "terms:license", "http://purl.org/dc/terms/license")


def fill(draft: Draft, *, relations: str | Sequence[str], obsolete: bool) -> None:
    """Read the OBO file of `draft.file` into the draft."""
    named = [name.strip() for name in relations.split(",")] if isinstance(relations, str) else list(relations)
    reader = _Reader(draft, [name for name in named if name], obsolete)
    for number, stanza in enumerate(stanzas(draft.file)):
        for line, message in stanza.faults:
            draft.fault(message, line)
        if number == 0:
            reader.header(stanza)
        elif stanza.kind == "Term":
            reader.term(stanza)
        elif stanza.kind == "Typedef":
            reader.relation(stanza)
    reader.finish()


class _Reader:
    """Collects terms; relations and what is obsolete are known only at the end of the file."""

    def __init__(self, draft: Draft, relations: list[str], obsolete: bool) -> None:
        self.draft, self.relations, self.keep_obsolete = draft, relations, obsolete
        self.terms: set[str] = set()
        self.left_out: set[str] = set()
        self.edges: list[tuple[str, str, int]] = []
        self.related: list[tuple[str, str, str, int]] = []  # relation, from, to, line
        self.called: dict[str, set[str]] = {}  # relation -> what else it is called

    def header(self, stanza: Stanza) -> None:
        """Take what the file says of itself."""
        header = self.draft.header
        header["source"] = Path(self.draft.file).name
        for tag in stanza.tags:
            if tag.name == "ontology" and tag.value:
                header["id"] = tag.text
            elif tag.name == "data-version":
                header["version"] = tag.text
            elif tag.name == "property_value":
                name, _, value = tag.value.partition(" ")
                text = found.text if (found := quoted(value.strip())) else value.split(" ")[0]
                for key, names in (("title", TITLES), ("license", LICENSES)):
                    if name in names:
                        header[key] = text
            elif tag.name == "import":
                self.draft.warn(f"imports {tag.text[:200]}, which is not read", tag.line)

    def relation(self, stanza: Stanza) -> None:
        """Note what else a relation is called."""
        said = [tag.text for tag in stanza.tags if tag.name in ("id", "name", "xref", "alt_id")]
        known = next((tag.text for tag in stanza.tags if tag.name == "id"), "")
        self.called.setdefault(known, set()).update(said, (text.replace(" ", "_") for text in said))

    # -- terms -------------------------------------------------------------------------------------------------

    def term(self, stanza: Stanza) -> None:
        """Add a term; its parents later."""
        node = next((tag.text for tag in stanza.tags if tag.name == "id"), "")
        if not node:
            self.draft.fault("a term without an id", stanza.line)
            return
        gone = any(tag.name == "is_obsolete" and tag.value == "true" for tag in stanza.tags)
        if gone and not self.keep_obsolete:
            self.left_out.add(node)
            return
        said = _Said(self.draft, node)
        for tag in stanza.tags:
            said.take(tag)
            if tag.name == "is_a":
                self.edges.append((tag.text, node, tag.line))
            elif tag.name == "relationship":
                relation, _, other = tag.value.partition(" ")
                self.related.append((plain(relation), node, plain(other.strip()), tag.line))
        if self.draft.node(said.node(assignable=not gone, obsolete=gone), stanza.line):
            self.terms.add(node)

    # -- edges -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Add the edges, now that all terms are known."""
        used = self._used()
        for parent, node, line in self.edges:
            if parent in self.left_out and parent not in self.terms:
                self.draft.warn(f"is_a '{parent}', which is obsolete: left out", line, node)
            elif node in self.terms:
                self.draft.edge(parent, node)
        for relation, node, other, line in self.related:
            if relation not in used or node not in self.terms:
                continue
            if other in self.terms:
                self.draft.edge(other, node)
            else:
                self.draft.warn(f"{relation} '{other}', which is not a term of this file: left out", line, node)

    def _used(self) -> frozenset[str]:
        """Return the ids of the relations that were asked for."""
        known = {name: {relation} for relation, *_ in self.related for name in (relation,)}
        for relation, names in self.called.items():
            for name in names:
                known.setdefault(name, set()).add(relation)
        for name in self.relations:
            if name not in known:
                self.draft.fault(f"no relation '{name}' in this file{did_you_mean(suggest(name, known))}")
        return frozenset(relation for name in self.relations for relation in known.get(name, ()))


class _Said:
    """What the tags of one term say."""

    def __init__(self, draft: Draft, node: str) -> None:
        self.draft, self.id = draft, node
        self.names: dict[str, str] = {}
        self.synonyms: dict[str, list[str]] = {}
        self.description = ""
        self.meta: dict[str, Any] = {}

    def take(self, tag: Tag) -> None:
        """Take one tag."""
        if tag.name == "name":
            self._name(tag.language, tag.text, tag.line)
        elif tag.name == "def":
            self._definition(tag)
        elif tag.name == "synonym":
            self._synonym(tag)
        elif tag.name == "xref":
            self.meta.setdefault("xref", []).append(plain(tag.value.partition(' "')[0].strip()))
        elif tag.name in ONCE:
            self.meta.setdefault(tag.name, tag.text)
        elif tag.name not in SKIPPED:
            self.meta.setdefault(tag.name, []).append(tag.value if tag.name in STRUCTURED else tag.text)

    def _name(self, language: str, text: str, line: int) -> None:
        if not text:
            self.draft.warn("an empty name", line, self.id)
        elif self.names.setdefault(language, text) != text:
            self.draft.fault("a second name", line, self.id)

    def _definition(self, tag: Tag) -> None:
        found = quoted(tag.value)
        if not found:
            self.draft.fault('a def must be a text in quotes: def: "…" []', tag.line, self.id)
        elif self.description:
            self.draft.fault("a second def", tag.line, self.id)
        else:
            self.description = found.text.strip()
            if references := listed(found.rest)[1]:
                self.meta["def_xref"] = references

    def _synonym(self, tag: Tag) -> None:
        found = quoted(tag.value)
        if not found:
            self.draft.fault('a synonym must be a text in quotes: synonym: "…" EXACT []', tag.line, self.id)
            return
        words, _ = listed(found.rest)
        scope = words.pop(0) if words and words[0] in SCOPES else "RELATED"  # the scope that stands for none
        text = found.text.strip()
        if not text:
            self.draft.warn("an empty synonym", tag.line, self.id)
            return
        if words[:1] == [NAME_TYPE] and tag.language:
            self._name(tag.language, text, tag.line)
            return
        if scope != BROAD:
            self.synonyms.setdefault(tag.language, []).append(text)
        for key, kind in (("synonym_scope", scope if scope != EXACT else ""), ("synonym_type", "".join(words[:1]))):
            if kind:
                self.meta.setdefault(key, {}).setdefault(kind, []).append(text)

    def node(self, *, assignable: bool, obsolete: bool) -> Node:
        """Return the term as a node, without synonyms that repeat its name."""
        synonyms = {
            language: kept
            for language, texts in self.synonyms.items()
            if (kept := tuple(text for text in dict.fromkeys(texts) if text != self.names.get(language)))
        }
        meta = {**self.meta, "is_obsolete": True} if obsolete else self.meta
        return Node(self.id, self.names, synonyms, self.description, assignable, meta=meta)
