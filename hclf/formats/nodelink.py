"""JSON: the node-link form of networkx and D3, and categories as shops and food databases publish them.

Told apart by shape:
    {"nodes": [{"id": …, "name": …}], "edges": [{"source": …, "target": …}]}    or "links"; edges lead downwards
    [{"id": …, "name": …, "path": […], "subCategories": […]}]    Best Buy; or parents, children, nested or not
    {"ID": {"name": {"en": …}, "synonyms": {"en": […]}, "parents": […]}}    Open Food Facts, in all languages
What else is said of a node is kept in its `meta`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from hclf.errors import Fault
from hclf.formats import _json
from hclf.formats._draft import Draft, refuse_ids
from hclf.formats._files import write_text
from hclf.taxonomy import Node, Taxonomy

__all__ = ["check", "dumps", "read", "write"]

ABOUT = ("id", "version", "title", "license", "source")
PARENTS = ("parents", "parent_ids", "parent", "parent_id")
CHILDREN = ("children", "subCategories", "subcategories")
RELATIVES = (*PARENTS, *CHILDREN)
SHAPES = "an object with 'nodes' and 'edges', a list of categories, or an object of categories by id"


def read(path: str | Path) -> Taxonomy:
    """Read a taxonomy from JSON; gzip by suffix.

    Raises:
        TaxonomyError: everything wrong with it, each with the node id.
    """
    return Draft.of(path, _fill).taxonomy()


def check(path: str | Path) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included."""
    return Draft.of(path, _fill).check()


def _fill(draft: Draft) -> None:
    value, repeated = _json.load(draft.file)
    for key in repeated:
        draft.fault(f"the key {key[:80]!r} stands twice in one object")
    if isinstance(value, list):
        _category_list(draft, value)
    elif isinstance(value, dict) and isinstance(value.get("nodes"), list):
        _node_link(draft, value)
    elif isinstance(value, dict) and any(key in value for key in _json.ID_KEYS):
        _category_list(draft, [value])  # one nested tree
    elif isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
        _by_id(draft, value)
    else:
        draft.fault(f"not a taxonomy in JSON; expected {SHAPES}")


# -- node-link -------------------------------------------------------------------------------------------------


def _node_link(draft: Draft, value: Mapping[str, Any]) -> None:
    if value.get("directed") is False:
        draft.fault("the graph is undirected; edges must lead from parent to child")
    about = value.get("graph")
    about = about if isinstance(about, Mapping) else {}
    draft.header |= {key: str(about[key]) for key in ABOUT if isinstance(about.get(key), str | int)}
    level_names = about.get("level_names")
    draft.level_names = [str(name) for name in level_names] if isinstance(level_names, list) else ()
    rules = about.get("rules")
    made = [_json.make_rule(draft, rule) for rule in (rules if isinstance(rules, list) else ())]
    draft.rules = [rule for rule in made if rule]
    for number, item in enumerate(value["nodes"]):
        given = item if isinstance(item, Mapping) else {"id": item}
        if node := _json.node_id(draft, given, f"nodes[{number}]"):
            draft.node(_json.make_node(draft, node, given))
    edges = value.get("edges", value.get("links", []))
    for number, edge in enumerate(edges if isinstance(edges, list) else []):
        ends = [edge.get("source"), edge.get("target")] if isinstance(edge, Mapping) else edge
        if not isinstance(ends, list) or len(ends) != 2:
            draft.fault(f"edges[{number}] must have a source and a target")
            continue
        up, down = (_json.node_id(draft, end, f"an end of edges[{number}]") for end in ends)
        if up and down:
            draft.edge(up, down)


# -- categories ------------------------------------------------------------------------------------------------


def _by_id(draft: Draft, value: Mapping[str, Mapping[str, Any]]) -> None:
    """Open Food Facts: `parents` say the edges; `children` repeat them, and may name what does not exist."""
    for node, given in value.items():
        node = node.strip()
        draft.node(_json.make_node(draft, node, given, drop=RELATIVES))
        for up in _json.ids(draft, given, PARENTS, node):
            draft.edge(up, node)
        for down in _json.ids(draft, given, CHILDREN, node):
            if down in value:
                draft.edge(node, down)
            else:
                draft.warn(f"child '{down}' is not a node; left out", node=node)


def _category_list(draft: Draft, value: list[Any]) -> None:
    """Objects that define a node each, and mention others in `path`, parents and children, nested or not."""
    defined: dict[str, Node] = {}
    mentioned: dict[str, Node] = {}
    waiting: list[tuple[Any, str]] = [(item, "") for item in reversed(value)]
    while waiting:  # a stack of our own: nesting has no limit
        item, above = waiting.pop()
        node = _json.node_id(draft, item, f"a child of '{above}'" if above else "a category")
        if not node:
            continue
        if above:
            draft.edge(above, node)
        if not isinstance(item, Mapping):
            continue
        where = mentioned if above else defined
        if node in where and not above:
            draft.fault("duplicate node id", node=node)
        elif node not in where:
            where[node] = _json.make_node(draft, node, item, drop=(*RELATIVES, "path"))
        for up in _json.ids(draft, item, PARENTS, node):
            draft.edge(up, node)
        _path(draft, mentioned, node, item.get("path"))
        below: Any = next((item[key] for key in CHILDREN if item.get(key)), [])
        waiting += [(child, node) for child in reversed(below if isinstance(below, list) else [below])]
    for entry in {**mentioned, **defined}.values():
        draft.node(entry)


def _path(draft: Draft, mentioned: dict[str, Node], node: str, path: Any) -> None:
    """Take the steps of a path of objects, which ends in the node itself or in its parent, as edges."""
    if not isinstance(path, list):
        return
    steps = [_json.node_id(draft, step, f"a step in the path of '{node}'") for step in path]
    for step, given in zip(steps, path, strict=True):
        if step and isinstance(given, Mapping) and step not in mentioned:
            mentioned[step] = _json.make_node(draft, step, given)
    whole = steps if steps and steps[-1] == node else [*steps, node]
    for up, down in pairwise(whole):
        if up and down:
            draft.edge(up, down)


# -- writing ---------------------------------------------------------------------------------------------------


def write(taxonomy: Taxonomy, path: str | Path) -> None:
    """Write node-link JSON, which `networkx.node_link_graph(…, edges="edges")` reads.

    Keeps everything a taxonomy says.

    Raises:
        TaxonomyError: the file cannot be written.
    """
    write_text(path, _parts(taxonomy))


def dumps(taxonomy: Taxonomy) -> str:
    """Return the taxonomy as node-link JSON, a line a node and edge.

    >>> json.loads(dumps(Taxonomy(["a", "b"], [("a", "b")])))["edges"]
    [{'source': 'a', 'target': 'b'}]
    """
    return "".join(_parts(taxonomy))


def _parts(taxonomy: Taxonomy) -> Iterator[str]:
    refuse_ids(taxonomy)
    about: dict[str, Any] = {key: value for key, value in taxonomy.header.items() if value}
    if taxonomy.level_names:
        about["level_names"] = list(taxonomy.level_names)
    if taxonomy.rules:
        about["rules"] = [_json.rule_object(rule) for rule in taxonomy.rules]
    yield f'{{"directed": true, "multigraph": false, "graph": {_text(about)},\n"nodes": [\n'
    yield from _joined(_json.node_object(taxonomy.node(j)) for j in range(len(taxonomy)))
    yield '],\n"edges": [\n'
    yield from _joined({"source": up, "target": down} for up, down in taxonomy.edges())
    yield "]}\n"


def _joined(objects: Iterator[dict[str, Any]]) -> Iterator[str]:
    before = ""
    for item in objects:
        yield before + _text(item)
        before = ",\n"
    yield "\n"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
