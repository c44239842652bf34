"""What single values mean: texts, texts by language, true and false, dates, numbers, and `meta`."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from hclf.errors import did_you_mean, suggest
from hclf.formats._yaml.events import LIST, MAP, PLAIN, Value
from hclf.formats._yaml.faults import Faults, shown

MAX_META_DEPTH = 50
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,3999})")  # Python converts no more than 4,300 digits
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
_WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_KINDS = {LIST: "a list", MAP: "a mapping"}
_NOTHING: Mapping[str, Any] = {}


def kind_of(value: Value) -> str:
    """Return what a value is, for a message."""
    return "nothing" if value.is_absent else _KINDS.get(value.kind, "text")


def id_problem(text: str) -> str:
    """Return why a text cannot be an id, or ""."""
    if not text.strip():
        return "an id cannot be empty"
    if _FORBIDDEN.search(text):
        return "an id cannot have control characters or line breaks"
    if text != text.strip():
        return "an id cannot begin or end with a blank"
    if "|" in text or " > " in text:
        return f"an id cannot have {'|' if '|' in text else ' > '!r}: it joins ids in label columns and paths"
    return ""


def slug(name: str) -> str:
    """Return the id that a name without one gets: lower-case ASCII, runs of other characters become "-".

    >>> slug("Café & Thé")
    'cafe-the'
    """
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")


class Values:
    """Reads single values, adding what is wrong with them to the faults. `node` is the id they belong to."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def check_keys(
        self, fields: Mapping[str, Value], mapping: Value, keys: tuple[str, ...], what: str, node: str = ""
    ) -> None:
        """Add a fault for each key that is not one of `keys`."""
        if fields.keys() <= set(keys):
            return
        for key in mapping.value[::2]:
            if key.value not in keys:
                hint = did_you_mean(suggest(key.value, keys)) if len(key.value) < 40 else ""
                self.faults.error(f"unknown key '{shown(key.value)}' in {what}{hint}", key, node)

    def text(self, value: Value | None, key: str, node: str = "", *, default: str = "") -> str:
        """Return a text that is not blank, or the default."""
        if value is None:
            return default
        if not value.is_text:
            self.faults.error(f"'{key}' must be text, not {kind_of(value)}", value, node)
        elif not value.value.strip():
            self.faults.error(f"'{key}' is empty", value, node)
        else:
            return str(value.value)
        return default

    def free_text(self, value: Value | None, key: str, node: str = "") -> str:
        """Return a text, which may be an empty one in quotes; "" when it is missing."""
        if value is not None and value.is_text and not value.is_absent:
            return str(value.value)
        return self.text(value, key, node)

    def texts(self, value: Value | None, key: str, node: str = "") -> Iterator[tuple[str, Value]]:
        """Yield the texts of a list of texts, or the one text given instead of a list, with their places."""
        if value is None:
            return
        if value.kind == MAP or value.is_absent:
            self.faults.error(f"'{key}' must be a text or a list of texts, not {kind_of(value)}", value, node)
            return
        for item in value.value if value.kind == LIST else (value,):
            if text := self.text(item, key, node):
                yield text, item

    def names(self, value: Value | None, node: str) -> Mapping[str, str]:
        """Return the names by language ("" for a plain text)."""
        if value is None:
            return _NOTHING
        if value.kind == LIST or value.is_absent:
            self.faults.error(
                f"'name' must be text, or a mapping from language to text, not {kind_of(value)}", value, node
            )
            return _NOTHING
        if value.kind == MAP and not value.value:
            self.faults.error("'name' is empty", value, node)
        given = [(lang, self.text(text, "name", node)) for lang, text in by_language(value)]
        return {lang: text for lang, text in given if text}

    def synonyms(self, value: Value | None, node: str) -> Mapping[str, tuple[str, ...]]:
        """Return the synonyms by language; warn of those given twice."""
        if value is None or (value.kind == LIST and not value.value):
            return _NOTHING
        found = {}
        for lang, texts in by_language(value):
            seen: dict[str, str] = {}
            kept = []
            for text, at in self.texts(texts, "synonyms", node):
                folded = text.strip().casefold()
                if folded in seen:
                    self.faults.warning(f"synonym '{shown(text)}' is given twice", at, node)
                seen[folded] = text
                kept.append(text)
            found[lang] = tuple(kept)
        return found

    def boolean(self, value: Value | None, key: str, node: str, *, default: bool) -> bool:
        """Return true or false."""
        if value is None:
            return default
        if value.kind == PLAIN and value.value in _BOOLEANS:
            return _BOOLEANS[value.value]
        given = f"'{shown(value.value)}'" if value.kind == PLAIN and value.value else kind_of(value)
        self.faults.error(f"'{key}' must be true or false, not {given}", value, node)
        return default

    def date(self, value: Value | None, key: str, node: str) -> dt.date | None:
        """Return a date written YYYY-MM-DD."""
        if value is None:
            return None
        if value.is_text and _DATE.fullmatch(value.value):
            try:
                return dt.date.fromisoformat(value.value)
            except ValueError:
                self.faults.error(f"'{key}': there is no day {value.value}", value, node)
                return None
        given = f"'{shown(value.value)}'" if value.is_text and value.value else kind_of(value)
        self.faults.error(f"'{key}' must be a date YYYY-MM-DD, not {given}", value, node)
        return None

    def meta(self, value: Value | None, node: str) -> Mapping[str, Any]:
        """Return `meta` as plain data: texts, numbers, true, false, null, lists and mappings."""
        if value is None:
            return _NOTHING
        if value.kind != MAP:
            self.faults.error(f"'meta' must be a mapping, not {kind_of(value)}", value, node)
            return _NOTHING
        data: Mapping[str, Any] = self._data(value, node, 1)
        return data or _NOTHING

    def _data(self, value: Value, node: str, depth: int) -> Any:
        if value.kind == PLAIN:
            return resolve(value.value)
        if value.is_text:
            return value.value
        if depth > MAX_META_DEPTH:
            self.faults.error(f"'meta' is nested deeper than {MAX_META_DEPTH}", value, node)
            return None
        data = [
            self._data(item, node, depth + 1) for item in value.value[value.kind == MAP :: 1 + (value.kind == MAP)]
        ]
        return dict(zip((key.value for key in value.value[::2]), data, strict=True)) if value.kind == MAP else data


def fields_of(mapping: Value) -> dict[str, Value]:
    """Return the values of a mapping by key."""
    items = mapping.value
    return {items[i].value: items[i + 1] for i in range(0, len(items), 2)}


def by_language(value: Value) -> Iterator[tuple[str, Value]]:
    """Yield (language, value) for a mapping by language, or ("", value) for anything else."""
    if value.kind != MAP:
        yield "", value
        return
    for i in range(0, len(value.value), 2):
        yield value.value[i].value, value.value[i + 1]


def resolve(text: str) -> Any:
    """Return what an unquoted text in `meta` means: null, true, false, a number as in JSON, else the text.

    Numbers with leading zeros stay texts: they are codes.

    >>> [resolve(t) for t in ("12", "1.50", "012", "no", "true", "~")]
    [12, 1.5, '012', 'no', True, None]
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text, text)
