"""JSON values to nodes and rules, and back: what every JSON shape of a taxonomy shares."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hclf.errors import did_you_mean, suggest
from hclf.formats._draft import Draft
from hclf.formats._files import fail, read_text
from hclf.taxonomy import RULE_SCOPES, RULE_TYPES, Node, Rule

MAX_BYTES = 1 << 28
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
ID_KEYS = ("id", "node_id")
NODE_KEYS = ("name", "synonyms", "description", "assignable", "valid_from", "valid_to", "meta")


def load(path: str | Path) -> tuple[Any, list[str]]:
    """Return the value of a JSON file, and the keys that stand twice in one object.

    Raises:
        TaxonomyError: not readable, not JSON, or nested too deeply.
    """
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            repeated.extend(key for key, times in Counter(key for key, _ in items).items() if times > 1)
        return found

    try:
        text = read_text(path, limit=MAX_BYTES)
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_no)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half a pair is no character: it could not be written
        return value, repeated
    except json.JSONDecodeError as error:
        fail(f"not JSON: {error.msg}", path, error.lineno, error.colno)
    except UnicodeEncodeError as error:
        fail(f"half a surrogate pair in a text: {error.object[error.start]!a}", path)
    except RecursionError:
        fail("JSON nested too deeply", path)
    except ValueError as error:
        fail(f"not JSON: {error}", path)


def _no(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


# -- in --------------------------------------------------------------------------------------------------------


def node_id(draft: Draft, value: Any, what: str) -> str:
    """Return an id given as text or whole number, or "" with a fault."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ID_KEYS if key in value), None)
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return str(value).strip()
    draft.fault(f"{what} has no id" if value is None else f"the id of {what} must be text, not {_kind(value)}")
    return ""


def ids(draft: Draft, given: Mapping[str, Any], keys: Iterable[str], node: str) -> list[str]:
    """Return the ids under the first of some keys that is there: one id, or a list of ids or objects."""
    value = next((given[key] for key in keys if given.get(key) is not None), ())
    several = value if isinstance(value, list | tuple) else [value]
    found = [node_id(draft, item, f"a relative of '{node}'") for item in several if item != ""]
    return [item for item in found if item]


def make_node(draft: Draft, node: str, given: Mapping[str, Any], *, drop: Iterable[str] = ()) -> Node:
    """Return a Node from an object's keys; keys that are not of a node, nor to `drop`, go to its `meta`."""
    names = _names(draft, node, given.get("name"))
    said = given.get("meta") or {}
    if not isinstance(said, Mapping):
        draft.fault(f"meta must be an object, not {_kind(said)}", node=node)
        said = {}
    known = {*ID_KEYS, *NODE_KEYS, *drop}
    meta = {key: value for key, value in given.items() if key not in known and value is not None}
    description, assignable = given.get("description") or "", given.get("assignable", True)
    if not isinstance(description, str):
        # Open Food Facts gives it per language: not the one text of ours.
        meta["description"], description = description, ""
    if not isinstance(assignable, bool):
        draft.fault(f"assignable must be true or false, not {_kind(assignable)}", node=node)
    return Node(
        node,
        names,
        _synonyms(draft, node, given.get("synonyms"), names),
        description.strip(),
        assignable is not False,
        _date(draft, node, "valid_from", given.get("valid_from")),
        _date(draft, node, "valid_to", given.get("valid_to")),
        {**meta, **said},
    )


def _names(draft: Draft, node: str, value: Any) -> dict[str, str]:
    given = value if isinstance(value, Mapping) else {"": value} if value is not None else {}
    names = {}
    for language, name in given.items():
        if isinstance(name, str) and name.strip():
            names[language] = name.strip()
        elif name is None or isinstance(name, str):
            draft.warn(f"an empty name{f' in language {language!r}' if language else ''}", node=node)
        else:
            draft.fault(f"a name must be text, not {_kind(name)}", node=node)
    return names


def _synonyms(draft: Draft, node: str, value: Any, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return synonyms by language, without those that repeat the name in that language."""
    given = value if isinstance(value, Mapping) else {"": value} if value is not None else {}
    synonyms = {}
    for language, texts in given.items():
        several = texts if isinstance(texts, list) else [texts]
        if not all(isinstance(text, str) for text in several):
            draft.fault("synonyms must be texts", node=node)
            continue
        kept = dict.fromkeys(stripped for text in several if (stripped := text.strip()))
        kept.pop(names.get(language, ""), None)
        if kept:
            synonyms[language] = tuple(kept)
    return synonyms


def _date(draft: Draft, node: str, key: str, value: Any) -> dt.date | None:
    try:
        return None if value is None else dt.date.fromisoformat(value)
    except (TypeError, ValueError):
        draft.fault(f"{key} must be a date, YYYY-MM-DD", node=node)
        return None


def make_rule(draft: Draft, given: Any) -> Rule | None:
    """Return a Rule from an object, or None with a fault."""
    if not isinstance(given, Mapping):
        draft.fault(f"a rule must be an object, not {_kind(given)}")
        return None
    kind, k, strength = given.get("type"), given.get("k", 1), given.get("strength", "soft")
    if kind not in RULE_TYPES:
        draft.fault(f"unknown type of rule {str(kind)[:40]!r}{did_you_mean(suggest(str(kind)[:40], RULE_TYPES))}")
        return None
    if strength not in ("hard", "soft") or not isinstance(k, int) or isinstance(k, bool):
        draft.fault(f"a rule '{kind}' needs strength hard or soft, and a whole number k")
        return None
    node = node_id(draft, given.get("node"), f"the node of a rule '{kind}'")
    others = tuple(ids(draft, given, ("others",), node))
    scope, optional = given.get("scope", "all"), given.get("optional", False)
    if scope not in RULE_SCOPES or not isinstance(optional, bool):
        draft.fault(f"a rule '{kind}' needs scope {', '.join(RULE_SCOPES)}, and optional true or false")
        return None
    note, source = str(given.get("note", "")), str(given.get("source", ""))
    return Rule(kind, node, others, strength, k, note, source, scope, optional) if node else None


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


# -- out -------------------------------------------------------------------------------------------------------


def node_object(entry: Node) -> dict[str, Any]:
    """Return the JSON object of a node; `make_node` reads it back."""
    said: dict[str, Any] = {"id": entry.id}
    if entry.names:
        said["name"] = entry.names[""] if set(entry.names) == {""} else dict(entry.names)
    if entry.synonyms:
        plain = set(entry.synonyms) == {""}
        said["synonyms"] = list(entry.synonyms[""]) if plain else {k: list(v) for k, v in entry.synonyms.items()}
    if entry.description:
        said["description"] = entry.description
    if not entry.assignable:
        said["assignable"] = False
    for key, day in (("valid_from", entry.valid_from), ("valid_to", entry.valid_to)):
        if day:
            said[key] = day.isoformat()
    if entry.meta:
        said["meta"] = dict(entry.meta)
    return said


def rule_object(rule: Rule) -> dict[str, Any]:
    """Return the JSON object of a rule; `make_rule` reads it back."""
    said: dict[str, Any] = {
        "type": rule.type,
        "node": rule.node,
        "others": list(rule.others),
        "strength": rule.strength,
        "k": rule.k,
        "note": rule.note,
    }
    more = {"source": rule.source, "scope": "" if rule.scope == "all" else rule.scope, "optional": rule.optional}
    return said | {key: value for key, value in more.items() if value}
