"""The form anyone can use: a table, or JSON lines, with a node and a phrase in each row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hclf.errors import did_you_mean, suggest
from hclf.formats import table
from hclf.formats._files import fail, lines
from hclf.formats.phrases.phrase import Phrase

SOURCE = "table"
NAMES = {
    "node": ("node", "code", "node_id", "id", "label"),
    "phrase": ("phrase", "text", "term", "synonym"),
    "language": ("language", "lang"),
    "source": ("source",),
}
JSON_LINES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


def fields(names: Sequence[str]) -> dict[str, str]:
    """Return node, phrase, language and source -> the column that holds it, as far as there are such columns.

    >>> fields(["Code", "Text"])
    {'node': 'Code', 'phrase': 'Text'}
    """
    low = {name.strip().lower(): name for name in names}
    known = {what: next((low[name] for name in several if name in low), None) for what, several in NAMES.items()}
    return {what: name for what, name in known.items() if name is not None}


def read(path: str | Path) -> Iterator[Phrase]:
    """Yield the phrases of a table or of JSON lines.

    Raises:
        TaxonomyError: not readable, no column for nodes or phrases, or a row without one of them.
    """
    rows = _json_rows(path) if str(path).lower().endswith(JSON_LINES) else _table_rows(path)
    for line, row in rows:
        node, text = row.get("node", ""), row.get("phrase", "")
        if not node or not text:
            fail(f"no {'phrase' if node else 'node'} in this row", path, line)
        yield Phrase(node, text, row.get("language", ""), row.get("source", "") or SOURCE)


def _table_rows(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    rows = table.rows(path)
    line, header = next(rows, (1, []))
    at = {what: header.index(name) for what, name in _wanted(header, path, line).items()}
    for line, cells in rows:
        if len(cells) > len(header):
            fail(f"{len(cells)} cells, but the header has {len(header)}", path, line)
        yield line, {what: _text(cells[i]) for what, i in at.items() if i < len(cells)}


def _json_rows(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    for line, text in lines(path):
        if text.strip():
            row = _object(text, path, line)
            names = _wanted(list(row), path, line)
            yield line, {what: _value(row[name], name, path, line) for what, name in names.items()}


def _value(value: Any, name: str, path: str | Path, line: int) -> str:
    """Return a value of a row as text; a number may be a code."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        fail(f"{name!r} must be a text", path, line)
    return "" if value is None else _text(str(value))


def _object(text: str, path: str | Path, line: int) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        fail(f"not JSON: {getattr(error, 'msg', 'nested too deep')}", path, line)
    if not isinstance(row, dict):
        fail("a row must be a JSON object", path, line)
    return row


def _wanted(names: Sequence[str], path: str | Path, line: int) -> dict[str, str]:
    found = fields(names)
    for what in ("node", "phrase"):
        if what not in found:
            wanted = NAMES[what]
            hint = did_you_mean([near for name in wanted for near in suggest(name, names, 1)][:1])
            fail(f"no column {' or '.join(map(repr, wanted[:2]))}{hint}", path, line)
    return found


def _text(cell: str) -> str:
    return " ".join(cell.split())
