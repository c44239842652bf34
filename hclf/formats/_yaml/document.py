"""The top of a file: its header, and a Taxonomy from all parts, once they are without errors."""

from __future__ import annotations

from typing import Final

from hclf.errors import TaxonomyError
from hclf.formats._yaml.events import LIST, MAP, PLAIN, Value, compose
from hclf.formats._yaml.faults import Faults, shown
from hclf.formats._yaml.graph import check_graph
from hclf.formats._yaml.nodes import Nodes
from hclf.formats._yaml.rules import Rules
from hclf.formats._yaml.values import Values, fields_of, kind_of
from hclf.taxonomy import Taxonomy

SCHEMA_VERSION: Final = "1"
TOP_KEYS = ("hclf", "id", "version", "title", "license", "source", "levels", "nodes", "rules")
_HEADER = ("id", "version", "title", "license", "source")


def parse(data: bytes, faults: Faults) -> Taxonomy | None:
    """Return the taxonomy that clean UTF-8 bytes describe, or None when there are errors in it.

    Raises:
        TaxonomyError: the text is not YAML, or is beyond a limit; with all faults found so far.
    """
    top = compose(data, faults)
    if top is None or top.is_absent:
        faults.stop("the file is empty; a taxonomy begins with `hclf: 1` and has `nodes:`", 1, 1)
    if top.kind != MAP:
        faults.stop(f"a taxonomy is a mapping with `hclf: 1` and `nodes:`, not {kind_of(top)}", top.line, top.column)
    return _taxonomy(top, faults)


def _taxonomy(top: Value, faults: Faults) -> Taxonomy | None:
    """Read every part of the file, so that all faults are found, then build."""
    values = Values(faults)
    fields = fields_of(top)
    values.check_keys(fields, top, TOP_KEYS, "a taxonomy")
    _check_version(top, fields.get("hclf"), faults)
    header = {key: text for key in _HEADER if (text := values.free_text(fields.get(key), key))}
    level_names = _levels(fields.get("levels"), values)
    nodes = Nodes(faults)
    if (listed := fields.get("nodes")) is None:
        faults.error("a taxonomy without `nodes:`", top)
    else:
        nodes.read(listed)
        if not nodes.nodes and listed.kind == LIST and not listed.value:
            faults.warning("no nodes", listed)
    check_graph(nodes, faults)
    rules = Rules(faults, nodes.index).read(fields.get("rules"))
    if any(fault.severity == "error" for fault in faults.found):
        return None
    try:
        edges = [(edge.parent, nodes.nodes[edge.child].id) for edge in nodes.edges]
        return Taxonomy(nodes.nodes, edges, level_names=level_names, rules=rules, **header)
    except TaxonomyError as error:  # a check of the constructor that is not made here
        faults.found += error.faults
        return None


def _check_version(top: Value, value: Value | None, faults: Faults) -> None:
    """Check that the file says `hclf: 1`."""
    if value is None:
        faults.error(f"the first key must be `hclf: {SCHEMA_VERSION}`, the version of this form", top)
    elif value.kind != PLAIN or not value.value.isdecimal():
        given = f"'{shown(value.value)}'" if value.is_text and value.value else kind_of(value)
        faults.error(f"'hclf' must be the number {SCHEMA_VERSION}, not {given}", value)
    elif value.value != SCHEMA_VERSION:
        given = shown(value.value)
        faults.error(f"the file is of form {given}, this hclf reads form {SCHEMA_VERSION}; use a newer hclf", value)


def _levels(value: Value | None, values: Values) -> list[str]:
    """Return the names of the levels."""
    if value is not None and value.kind != LIST:
        values.faults.error(f"'levels' must be a list of names, not {kind_of(value)}", value)
        return []
    return [text for text, _ in values.texts(value, "levels")]
