"""A YAML composer that keeps places, does not recurse, and has limits.

PyYAML's own composer recurses (deep nesting overflows the stack), expands merge keys, keeps the last of two
equal keys and, through its resolvers, turns `no` into False and `1.10` into 1.1. This one builds light values
from the parser's events: every scalar stays the string that was written.
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import islice
from typing import Any, Final, Literal, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from hclf.formats._yaml.faults import Faults, shown

MAX_DEPTH = 1_000  # collections inside each other: 500 levels of nested nodes
MAX_VALUES = 3_000_000  # keys, texts, lists and mappings: about 600 MB
MAX_ALIASED = 1_000_000  # values that aliases stand for

Kind = Literal["plain", "quoted", "list", "map"]
PLAIN: Final = "plain"
QUOTED: Final = "quoted"
LIST: Final = "list"
MAP: Final = "map"

Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENING: dict[type, Kind] = {SequenceStartEvent: LIST, MappingStartEvent: MAP}
_TAGS = {"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_TAG_DIRECTIVE = re.compile(rb"^%TAG\b", re.MULTILINE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEADING_TAB = re.compile(rb"[ ]*\t")


class Value:
    """A value and where it starts: a str, a list of values, or a flat list key, value, key, value… of a mapping."""

    __slots__ = ("column", "kind", "line", "value")

    def __init__(self, kind: Kind, value: Any, line: int, column: int) -> None:
        self.kind, self.value, self.line, self.column = kind, value, line, column

    @property
    def is_text(self) -> bool:
        """True for a scalar, quoted or not."""
        return self.kind == PLAIN or self.kind == QUOTED

    @property
    def is_absent(self) -> bool:
        """True for nothing at all after the colon or the dash."""
        return self.kind == PLAIN and not self.value


def compose(data: bytes, faults: Faults) -> Value | None:
    """Return the one document in `data`, or None when there is none.

    Duplicate keys, keys that are not text, merge keys and tags are added to `faults` and left out.

    Raises:
        TaxonomyError: what is wrong with the syntax or the size, after the faults found so far.
    """
    if tag := _TAG_DIRECTIVE.search(data):  # libyaml compares each with all before it
        faults.stop("tags are not used here; remove the %TAG line", data[: tag.start()].count(b"\n") + 1, 1)
    try:
        return _Composer(faults).run(Parser(data))
    except yaml.MarkedYAMLError as error:
        _syntax_error(error, data, faults)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML without libyaml, on "\U99999999"
        faults.stop(f"not valid YAML: {shown(str(error).splitlines()[0], 100)}")


class _Composer:
    """The state of one run: the open collections, the anchors, and how much has been read."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.root: list[Value] = []
        self.open: list[tuple[Value, int, str | None]] = []  # with the count and the anchor it started with
        self.items = self.root  # what the next value is appended to: the list of the innermost open collection
        self.anchors: dict[str, tuple[Value, int]] = {}  # with the size; 0 while still open
        self.count = 0
        self.aliased = 0
        self.documents = 0

    def run(self, parser: Any) -> Value | None:
        words: dict[str, str] = {}  # keys and short values repeat: keep one of each
        next_event = parser.get_event
        while True:
            event = next_event()
            kind = type(event)
            if kind is ScalarEvent:
                mark, text = event.start_mark, event.value
                if not text.isascii() and _SURROGATE.search(text):  # PyYAML without libyaml takes "\ud800"
                    self.stop(event, "an escape that is not a character (\\ud800 to \\udfff)")
                if len(text) < 16:
                    text = words.setdefault(text, text)
                plain = not event.style and event.tag is None
                value = Value(PLAIN if plain else QUOTED, text, mark.line + 1, mark.column + 1)
                self.items.append(value)
                self.count += 1
                if event.tag is not None:
                    self.check_tag(event)
                if event.anchor is not None:
                    self.anchors[event.anchor] = (value, 1)
            elif kind in _OPENING:
                self.start(event, _OPENING[kind])
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self.end()
            elif kind is AliasEvent:
                self.alias(event)
            elif kind is DocumentStartEvent:
                self.document(event)
            elif kind is StreamEndEvent:
                return self.root[0] if self.root else None
            if self.count > MAX_VALUES:
                self.stop(
                    event,
                    f"more than {MAX_VALUES:,} values; keep a taxonomy of this size as a table (TSV or CSV)",
                )

    def start(self, event: Any, kind: Kind) -> None:
        mark = event.start_mark
        value = Value(kind, [], mark.line + 1, mark.column + 1)
        if event.tag is not None:
            self.check_tag(event)
        self.items.append(value)
        self.open.append((value, self.count, event.anchor))
        self.items = value.value
        self.count += 1
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 0)
        if len(self.open) > MAX_DEPTH:
            self.stop(event, f"nested deeper than {MAX_DEPTH:,}; write the nodes flat, each with `parents:`")

    def end(self) -> None:
        value, before, anchor = self.open.pop()
        if anchor is not None:
            self.anchors[anchor] = (value, self.count - before)
        if value.kind == MAP:
            value.value = self.pairs(value.value)
        self.items = self.open[-1][0].value if self.open else self.root

    def pairs(self, items: list[Value]) -> list[Value]:
        """Return the keys and values without those whose key cannot be used, and say why."""
        seen: dict[str, Value] = {}
        bad: set[int] = set()
        for i in range(0, len(items), 2):
            key = items[i]
            if not key.is_text:
                self.faults.error("a key must be text, not a list or a mapping", key)
            elif key.value == "<<" and key.kind == PLAIN:
                self.faults.error("merge keys (<<) are not supported; write the keys out", key)
            elif key.value in seen:
                first = seen[key.value]
                where = f"first at line {first.line}, column {first.column}"
                self.faults.error(f"key '{shown(key.value)}' is given twice; {where}", key)
            else:
                seen[key.value] = key
                continue
            bad.add(i)
        return [item for i, item in enumerate(items) if i & ~1 not in bad] if bad else items

    def alias(self, event: Any) -> None:
        name = event.anchor
        if name not in self.anchors:
            self.stop(event, f"alias *{shown(name)} names no anchor; put quotes round text that begins with '*'")
        value, size = self.anchors[name]
        if not size:
            self.stop(event, f"alias *{shown(name)} stands inside what it names")
        self.items.append(value)
        self.aliased += size
        self.count += size  # an anchor round this alias must know its full size
        if self.aliased > MAX_ALIASED:
            self.stop(event, f"aliases stand for more than {MAX_ALIASED:,} values; write them out")

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop(event, "a second document starts here ('---'); a taxonomy is one document")

    def check_tag(self, event: Any) -> None:
        if event.tag not in _TAGS:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            at = Value(PLAIN, "", event.start_mark.line + 1, event.start_mark.column + 1)
            self.faults.error(
                f"tag '{shown(tag)}' is not used here; remove it, or {_QUOTE_IT}'!'",
                at,
            )

    def stop(self, event: Any, message: str) -> NoReturn:
        self.faults.stop(message, event.start_mark.line + 1, event.start_mark.column + 1)


_QUOTE_IT = "put quotes round text that begins with "
_BACKSLASH = "a backslash in double quotes that YAML does not know; use single quotes, or write it twice"
_INDENT = "this line does not fit the lines above; check its indentation"
_UNCLOSED = "a quote that is never closed"
_OPEN = "a comma is missing, or a bracket or brace is not closed"
# A phrase of what either parser says, and what we say; the first phrase found counts.
_IN_OUR_WORDS = (
    (
        "mapping values are not allowed",
        "a ':' where no key can stand; check the indentation, or quote text with ': ' in it",
    ),
    ("sequence entries are not allowed", "a '- ' where no list can start; begin the list on a line of its own"),
    ("expected ',' or", _OPEN),
    ("expected key", _INDENT),
    ("expected <block end>", _INDENT),
    ("expected '-' indicator", _INDENT),
    ("expected ':'", "a key without ':'"),
    ("cannot start any token", "a value cannot start with this character; put the value in quotes"),
    ("escape", _BACKSLASH),
    ("hexdecimal", _BACKSLASH),
    ("tag", "tags are not used here; " + _QUOTE_IT + "'!'"),
    ("alphabetic or numeric", _QUOTE_IT + "'&' or '*'"),
    ("comment or line break", _QUOTE_IT + "'|' or '>'"),
    ("indentation indicator", _QUOTE_IT + "'|' or '>'"),
    ("node content", "a value is missing here, or a bracket or brace is not closed"),
    ("<document start>", "this line does not belong to anything above; check its indentation"),
    ("directive", "a line that begins with '%' is not used here; remove it"),
    ("incompatible YAML", "a %YAML version that cannot be read; remove the line"),
    ("end of stream", _UNCLOSED),
    ("document indicator", _UNCLOSED),
)


def _syntax_error(error: yaml.MarkedYAMLError, data: bytes, faults: Faults) -> NoReturn:
    """Say a syntax error in our words, at the place where the reader must look."""
    problem = str(error.problem or error.context or "")
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    first = context.line if context else line
    if tab := _leading_tab(data, max(first, line - 2), line):
        faults.stop("tab used for indentation; use spaces", *tab)
    words = next((ours for theirs, ours in _IN_OUR_WORDS if theirs in problem), problem)
    if context and words == _UNCLOSED:
        line, column = context.line, context.column  # where the quote opens; the end of the file helps nobody
    elif context and words == _OPEN:
        words += f" (opened at line {context.line + 1}, column {context.column + 1})"
    faults.stop(f"not valid YAML: {words}", line + 1, column + 1)


def _leading_tab(data: bytes, first: int, last: int) -> tuple[int, int] | None:
    """Return the place of the first tab in the indentation of the lines `first` to `last` (from 0)."""
    for number, text in enumerate(islice(BytesIO(data), first, last + 1), start=first + 1):
        if match := _LEADING_TAB.match(text):
            return number, match.end()
    return None
