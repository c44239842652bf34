"""The canonical YAML of a taxonomy, written as text by hand: a hundred times faster than through a dumper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from hclf.errors import Fault, TaxonomyError
from hclf.formats._yaml.faults import shown
from hclf.formats._yaml.rules import rule_problem
from hclf.formats._yaml.values import MAX_META_DEPTH, id_problem
from hclf.taxonomy import Node, Rule, Taxonomy

MAX_NESTING = 50  # deeper than that, indentation is no longer readable
_MAX_INDENTATION = 32 * 2**20  # bytes of blanks; a deep and large taxonomy would be little else
_WIDTH = 100  # lists and mappings that fit are written on one line
# A text to every YAML reader, in lists too: begins with a letter, no sign with a meaning, no blank at the end.
_SAFE = re.compile(r"[^\W\d_](?:[\w .()/+&%;'-]*[\w.()/+%;'])?")
_RESERVED = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
_SPECIAL = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}
_LONG_KEY = 250  # YAML takes no key of more than 1,024 bytes without a question mark


def emit(taxonomy: Taxonomy) -> str:
    """Return the text.

    Raises:
        TaxonomyError: ids, names or rules that the YAML form does not allow.
    """
    if faults := list(_unwritable(taxonomy)):
        raise TaxonomyError(faults)
    return "".join(_parts(taxonomy))


def count_values(taxonomy: Taxonomy) -> int:
    """Return about how many values the text has, as the reader counts them: keys, texts, lists and mappings."""
    count = 3 * len(taxonomy) + 2 * int((~taxonomy.is_leaf).sum())  # a mapping, its id, and its children
    count += 3 * (len(taxonomy.parents.indices) - int((~taxonomy.is_root).sum()))  # first parents are nesting
    for entry in map(taxonomy.node, range(len(taxonomy))):
        count += 2 * len(entry.names) + sum(len(texts) + 2 for texts in entry.synonyms.values())
        count += 2 * (bool(entry.description) + (not entry.assignable)) + 2 * len(entry.meta)
    return count + sum(14 + len(rule.others) for rule in taxonomy.rules)


def _parts(taxonomy: Taxonomy) -> Iterator[str]:
    yield "hclf: 1\n"
    for key, text in taxonomy.header.items():
        if text.strip():
            yield f"{key}: {scalar(text)}\n"
    if taxonomy.level_names:
        yield _field("levels", _list(taxonomy.level_names, 0)) + "\n"
    yield "nodes:\n" if len(taxonomy) else "nodes: []\n"
    yield from _nodes(taxonomy)
    if taxonomy.rules:
        yield "rules:\n"
        yield from map(_rule, taxonomy.rules)


def scalar(text: str) -> str:
    """Return a text as a YAML scalar: as it is when that is certainly safe, else in double quotes."""
    if _SAFE.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _nodes(taxonomy: Taxonomy) -> Iterator[str]:
    """Yield the nodes, each below its first parent, or all side by side when that would go too deep."""
    first = [int(up[0]) if (up := taxonomy.parents.of(j)).size else -1 for j in range(len(taxonomy))]
    depth = [0] * len(first)
    for j, parent in enumerate(first):
        depth[j] = depth[parent] + 1 if parent >= 0 else 0
    if max(depth, default=0) >= MAX_NESTING or 16 * sum(depth) > _MAX_INDENTATION:  # about four lines a node
        first, depth = [-1] * len(first), [0] * len(first)
    below: list[list[int]] = [[] for _ in first]
    todo: list[int] = []
    for j in range(len(first) - 1, -1, -1):  # backwards: the stacks are emptied from the end
        (below[first[j]] if first[j] >= 0 else todo).append(j)
    while todo:
        j = todo.pop()
        nested = first[j] >= 0
        parents = [taxonomy.nodes[p] for p in taxonomy.parents.of(j)[nested:].tolist()]
        yield _node(taxonomy.node(j), parents, "  " + "    " * depth[j], bool(below[j]))
        todo += below[j]


def _node(node: Node, parents: Sequence[str], pad: str, has_children: bool) -> str:
    lines = [f"- id: {scalar(node.id)}"]
    inner = len(pad) + 2
    if node.names:
        lines.append(_field("name", _by_language(node.names, inner)))
    if node.synonyms:
        lines.append(_field("synonyms", _by_language(node.synonyms, inner)))
    if node.description:
        lines.append("description: " + scalar(node.description))
    if parents:
        lines.append(_field("parents", _list(parents, inner)))
    if not node.assignable:
        lines.append("assignable: false")
    if node.valid_from:
        lines.append(f"valid_from: {node.valid_from.isoformat()}")
    if node.valid_to:
        lines.append(f"valid_to: {node.valid_to.isoformat()}")
    if node.meta:
        lines.append(_field("meta", _mapping([(_key_text(k), _data(v)) for k, v in node.meta.items()], inner)))
    if has_children:
        lines.append("children:")
    return pad + f"\n{pad}  ".join(lines) + "\n"


def _rule(rule: Rule) -> str:
    lines = [f"- type: {rule.type}", f"node: {scalar(rule.node)}"]
    if rule.others:
        lines.append(_field("others", _list(rule.others, 4)))
    if rule.strength != "soft":
        lines.append(f"strength: {rule.strength}")
    if rule.scope != "all":
        lines.append(f"scope: {rule.scope}")
    if rule.optional:
        lines.append("optional: true")
    if rule.k != 1 or rule.type == "at_most":
        lines.append(f"k: {rule.k}")
    if rule.note:
        lines.append(f"note: {scalar(rule.note)}")
    if rule.source:
        lines.append(f"source: {scalar(rule.source)}")
    return "  " + "\n    ".join(lines) + "\n"


def _field(key: str, value: str) -> str:
    """Return a key and its value, which may begin on the next line."""
    return f"{key}:{value}" if value.startswith("\n") else f"{key}: {value}"


def _list(texts: Sequence[str], indent: int) -> str:
    """Return a list of texts, on one line when it is short; `indent` is that of its key."""
    items = [scalar(text) for text in texts]
    line = f"[{', '.join(items)}]"
    return line if len(line) <= _WIDTH else "".join(f"\n{' ' * indent}  - {item}" for item in items)


def _mapping(pairs: Sequence[tuple[str, str]], indent: int) -> str:
    """Return a mapping of keys to inline YAML, on one line when it is short; `indent` is that of its key."""
    line = _inline(pairs)
    if len(line) <= _WIDTH or any(len(key) > _LONG_KEY for key, _ in pairs):
        return line
    return "".join(f"\n{' ' * indent}  {_key(key)}{value}" for key, value in pairs)


def _inline(pairs: Sequence[tuple[str, str]]) -> str:
    return f"{{{', '.join(_key(key) + value for key, value in pairs)}}}"


def _key(text: str) -> str:
    return f"{scalar(text)}: " if len(text) <= _LONG_KEY else f"? {scalar(text)} : "


def _by_language(given: Mapping[str, str] | Mapping[str, tuple[str, ...]], indent: int) -> str:
    """Return names or synonyms: without their language when they have none."""
    if given.keys() == {""} and given[""]:
        only = given[""]
        return scalar(only) if isinstance(only, str) else _list(only, indent)
    pairs = [(lang, scalar(v) if isinstance(v, str) else _data(v)) for lang, v in given.items()]
    return _mapping(pairs, indent)


def _data(value: Any) -> str:
    """Return plain data on one line; anything else becomes the text it prints as, as in the fingerprint."""
    if isinstance(value, str):
        return scalar(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _SPECIAL.get(text := float.__repr__(value), text)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_data, value))}]"
    if isinstance(value, dict):
        return _inline([(_key_text(key), _data(item)) for key, item in value.items()])
    return scalar(str(value))


def _key_text(key: object) -> str:
    """Return the key of a mapping as JSON would write it."""
    return key if isinstance(key, str) else _data(key) if key is None or isinstance(key, bool) else str(key)


def _unwritable(taxonomy: Taxonomy) -> Iterator[Fault]:
    """Yield what the YAML form does not allow: a file that is written must be one that can be read."""
    for j in range(len(taxonomy)):
        node = taxonomy.node(j)
        if problem := id_problem(node.id):
            yield Fault(f"cannot be written as YAML: {problem}", node=shown(node.id))
        texts = chain(node.names.values(), *node.synonyms.values())
        if not all(map(str.strip, texts)):
            yield Fault("cannot be written as YAML: an empty name or synonym", node=shown(node.id))
        if node.meta and not _shallow(node.meta):
            message = f"cannot be written as YAML: 'meta' is nested deeper than {MAX_META_DEPTH}"
            yield Fault(message, node=shown(node.id))
    for rule in taxonomy.rules:
        if problem := rule_problem(rule):
            yield Fault(f"cannot be written as YAML: {problem}", node=shown(rule.node))
    if not all(map(str.strip, taxonomy.level_names)):
        yield Fault("cannot be written as YAML: an empty name of a level")


def _shallow(meta: Mapping[str, Any]) -> bool:
    """Return whether data is nested no deeper than the reader takes."""
    layer: list[Any] = [dict(meta)]
    for _ in range(MAX_META_DEPTH):
        inner = chain.from_iterable(v.values() if isinstance(v, dict) else v for v in layer)
        layer = [v for v in inner if isinstance(v, dict | list | tuple)]
    return not layer
