"""A taxonomy as OBO 1.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hclf.formats._draft import refuse_ids
from hclf.formats._files import one_line
from hclf.formats.obo.syntax import escaped
from hclf.formats.obo.terms import BROAD, EXACT, NAME_TYPE, ONCE, STRUCTURED
from hclf.taxonomy import Node, Taxonomy

IN_TEXT = '"'
UNQUOTED = '!{}"'
LISTED = '!{},[]"'
PLAIN_LISTS = ("alt_id", "subset", "xref", "replaced_by", "consider")
TYPE_FOR_NAMES = f'synonymtypedef: {NAME_TYPE} "a name in another language" EXACT\n'


def parts(taxonomy: Taxonomy) -> Iterator[str]:
    """Yield the text of a taxonomy, header first, then a stanza a node."""
    refuse_ids(taxonomy)
    yield from _header(taxonomy)
    for j, node in enumerate(taxonomy.nodes):
        yield f"\n[Term]\nid: {_id(node)}\n"
        yield from _term(taxonomy.node(j))
        yield from (f"is_a: {_id(taxonomy.nodes[parent])}\n" for parent in taxonomy.parents.of(j).tolist())


def _header(taxonomy: Taxonomy) -> Iterator[str]:
    yield "format-version: 1.4\n"
    if taxonomy.version:
        yield f"data-version: {_line(taxonomy.version)}\n"
    if any(len(names) > 1 for names in (taxonomy.node(j).names for j in range(len(taxonomy)))):
        yield TYPE_FOR_NAMES
    yield f"ontology: {_line(taxonomy.id)}\n"
    for name, value in (("title", taxonomy.title), ("license", taxonomy.license)):
        if value:
            yield f"property_value: dcterms:{name} {_quoted(value)} xsd:string\n"


def _term(entry: Node) -> Iterator[str]:
    names = dict(entry.names)
    first = "" if "" in names else next(iter(names), "")
    if name := names.pop(first, ""):
        yield f"name: {_line(name)}{_language(first)}\n"
    meta = dict(entry.meta)
    for tag in sorted(ONCE & meta.keys()):
        if isinstance(meta[tag], str):
            yield f"{tag}: {_line(meta[tag])}\n"
    if entry.description:
        references = ", ".join(escaped(text, LISTED) for text in _texts(meta.get("def_xref")))
        yield f"def: {_quoted(entry.description)} [{references}]\n"
    yield from (f"synonym: {_quoted(text)} {EXACT} {NAME_TYPE} []{_language(key)}\n" for key, text in names.items())
    yield from _synonyms(entry, _kinds(meta.get("synonym_scope")), _kinds(meta.get("synonym_type")))
    for tag in PLAIN_LISTS:
        yield from (f"{tag}: {escaped(text, LISTED)}\n" for text in _texts(meta.get(tag)))
    for tag in sorted(STRUCTURED):
        yield from (f"{tag}: {one_line(text)}\n" for text in _texts(meta.get(tag)))
    if meta.get("is_obsolete") is True:
        yield "is_obsolete: true\n"


def _synonyms(entry: Node, scopes: Mapping[str, str], types: Mapping[str, str]) -> Iterator[str]:
    """Yield the synonyms with the scope and type that `meta` remembers of them."""
    every = [(language, text) for language, texts in entry.synonyms.items() for text in texts]
    every += [("", text) for text, scope in scopes.items() if scope == BROAD]
    for language, text in every:
        scope = scopes.get(text, EXACT)
        kind = f" {types[text]}" if text in types else ""
        yield f"synonym: {_quoted(text)} {scope}{kind} []{_language(language)}\n"


def _kinds(said: Any) -> dict[str, str]:
    """Return text -> scope or type, of a `meta` entry that lists texts by it."""
    if not isinstance(said, Mapping):
        return {}
    return {text: str(kind) for kind, texts in said.items() for text in _texts(texts)}


def _texts(value: Any) -> Sequence[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list | tuple) else []


def _id(node: str) -> str:
    return escaped(node, UNQUOTED).replace(" ", "\\W")


def _line(text: str) -> str:
    return escaped(text, UNQUOTED)


def _quoted(text: str) -> str:
    return f'"{escaped(text, IN_TEXT)}"'


def _language(language: str) -> str:
    return f" {{lang={_quoted(language)}}}" if language else ""
