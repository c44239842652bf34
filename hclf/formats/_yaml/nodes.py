"""The node list: short forms, fields, nesting. Collects nodes and edges with their places; graph.py checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hclf.formats._yaml.events import LIST, MAP, Value
from hclf.formats._yaml.faults import Faults, shown
from hclf.formats._yaml.values import Values, fields_of, id_problem, kind_of, slug
from hclf.taxonomy import Node

NODE_KEYS = (
    "id",
    "name",
    "synonyms",
    "description",
    "parents",
    "children",
    "assignable",
    "valid_from",
    "valid_to",
    "meta",
)
_ROOT, _NOWHERE = -1, -2  # in place of a parent's index; below a node without id, nothing is known of edges
_NO_FIELDS: dict[str, Value] = {}


class Edge(NamedTuple):
    """A parent's id, the child's index, where it is said, and whether by `parents:` (or by nesting)."""

    parent: str
    child: int
    at: Value
    explicit: bool


class Nodes:
    """Reads the node list of a file into `nodes`, their places `at`, their `index` by id, and `edges`."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.values = Values(faults)
        self.nodes: list[Node] = []
        self.at: list[Value] = []
        self.index: dict[str, int] = {}
        self.edges: list[Edge] = []

    def read(self, top: Value) -> None:
        """Read the list under `nodes:` and everything below it, in file order, without recursion."""
        open_lists: list[tuple[Iterator[Value], int]] = [(self.list_of(top, "nodes"), _ROOT)]
        while open_lists:
            items, parent = open_lists[-1]
            item = next(items, None)
            if item is None:
                open_lists.pop()
                continue
            children, index = self.node(item, parent)
            if children is not None:
                node = self.nodes[index].id if index >= 0 else ""
                open_lists.append((self.list_of(children, "children", node), index))

    def list_of(self, value: Value, key: str, node: str = "") -> Iterator[Value]:
        """Return the items of a list of nodes."""
        if value.kind == LIST:
            return iter(value.value)
        hint = "; begin each node with '- '" if value.kind == MAP else ""
        self.faults.error(f"'{key}' must be a list, not {kind_of(value)}{hint}", value, node)
        return iter(())

    def node(self, item: Value, parent: int) -> tuple[Value | None, int]:
        """Read one node in any of its forms; return its children, if it has any, and its index."""
        if item.is_text:
            return None, self.short_name(item, parent)
        if item.kind == LIST:
            self.faults.error("a node must be a name or a mapping, not a list", item)
            return None, _NOWHERE
        if len(item.value) == 2 and item.value[0].value not in NODE_KEYS:
            return self.short_pair(item.value[0], item.value[1], parent)
        fields = fields_of(item)
        at = fields.get("id")
        self.values.check_keys(fields, item, NODE_KEYS, "a node", at.value if at is not None and at.is_text else "")
        if at is None:
            self.missing_id(item, fields)
            return fields.get("children"), _NOWHERE
        if not at.is_text:
            self.faults.error(f"'id' must be text, not {kind_of(at)}", at)
            return fields.get("children"), _NOWHERE
        return self.full(at, fields, parent)

    def short_name(self, item: Value, parent: int) -> int:
        """Read `- Phones`: the name is given, the id is made from it."""
        if item.is_absent:
            self.faults.error("nothing after '-'; give a name, or remove the line", item)
            return _NOWHERE
        node = slug(item.value)
        if not node:
            name = shown(item.value)
            self.faults.error(f"no id can be made from '{name}'; write `- some-id: {name}`", item)
            return _NOWHERE
        return self.add(Node(node, {"": item.value}), item, parent, made=True)

    def short_pair(self, key: Value, value: Value, parent: int) -> tuple[Value | None, int]:
        """Read `- phones: Mobile phones`, `- phones: {…}` or `- phones: […]`."""
        if value.kind == LIST:
            return self.full(key, {"children": value}, parent)
        if value.kind == MAP:
            fields = fields_of(value)
            self.values.check_keys(fields, value, NODE_KEYS, "a node", key.value)
            if "id" in fields:
                self.faults.error(f"the id is given twice, '{shown(key.value)}' and here", fields["id"])
            return self.full(key, fields, parent)
        return self.full(key, _NO_FIELDS if value.is_absent else {"name": value}, parent)

    def missing_id(self, item: Value, fields: dict[str, Value]) -> None:
        """Say that a node has no id, and propose one."""
        name = fields.get("name")
        made = slug(name.value) if name is not None and name.is_text else ""
        self.faults.error(f"a node without id; add `id: {shown(made) or 'some-id'}`", item)

    def full(self, at: Value, fields: dict[str, Value], parent: int) -> tuple[Value | None, int]:
        """Read the fields of a node whose id stands at `at`."""
        node, get, values = at.value, fields.get, self.values
        entry = Node(
            id=node,
            names=values.names(get("name"), node),
            synonyms=values.synonyms(get("synonyms"), node),
            description=values.free_text(get("description"), "description", node),
            assignable=values.boolean(get("assignable"), "assignable", node, default=True),
            valid_from=values.date(get("valid_from"), "valid_from", node),
            valid_to=values.date(get("valid_to"), "valid_to", node),
            meta=values.meta(get("meta"), node),
        )
        if entry.valid_from and entry.valid_to and entry.valid_to < entry.valid_from:
            days = f"valid_to {entry.valid_to} is before valid_from {entry.valid_from}"
            self.faults.error(days, fields["valid_to"], node)
        index = self.add(entry, at, parent)
        parents = list(values.texts(get("parents"), "parents", node))
        if index >= 0:
            self.edges += [Edge(text, index, place, True) for text, place in parents]
        return get("children"), index

    def add(self, entry: Node, at: Value, parent: int, *, made: bool = False) -> int:
        """Add a node under the parent it is nested in; return its index."""
        node = entry.id
        if problem := id_problem(node):
            self.faults.error(problem, at, node)
            return _NOWHERE
        index = self.index.setdefault(node, len(self.nodes))
        if index < len(self.nodes):
            first = self.at[index]
            message = f"duplicate id '{shown(node)}', first at line {first.line}, column {first.column}"
            hint = "; for a second parent use `parents:`" if parent >= 0 else ""
            if first is at:
                hint = "; an alias repeats it"
            elif made:
                hint = f"; it is made from the name, so give one: `- {shown(node)}-2: {shown(entry.name)}`"
            self.faults.error(message + hint, at, node)
            return index
        self.nodes.append(entry)
        self.at.append(at)
        if parent >= 0:
            self.edges.append(Edge(self.nodes[parent].id, index, at, False))
        return index
