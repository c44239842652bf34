"""Tables, TSV or CSV: one row a node with a header, or one row an edge.

Nodes:  `node_id  name  parent_ids`, further columns `synonyms`, `description`, `assignable`, `valid_from`,
        `valid_to`, and a language after a colon (`name:fr`, `synonyms:fr`); several parents or synonyms are
        joined by `|`; a column of another name is kept as text in the node's `meta`.
Edges:  `parent  child`, with this header or none; nodes are named by their ids.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from hclf.errors import Fault, TaxonomyError, did_you_mean, suggest
from hclf.formats._draft import Draft, refuse_ids
from hclf.formats._files import fail, lines, one_line, write_text
from hclf.taxonomy import Node, Taxonomy

__all__ = ["check", "dumps", "read", "write"]

JOIN = "|"
ALIASES = {
    "id": "id",
    "node_id": "id",
    "name": "name",
    "parents": "parents",
    "parent_ids": "parents",
    "parent": "parents",
    "parent_id": "parents",
    "synonyms": "synonyms",
    "synonym": "synonyms",
    "description": "description",
    "assignable": "assignable",
    "valid_from": "valid_from",
    "valid_to": "valid_to",
}
CHILD = ("child", "child_id")
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")

Rows = Iterator[tuple[int, list[str]]]


def read(path: str | Path, *, delimiter: str | None = None) -> Taxonomy:
    """Read a taxonomy from a table.

    Args:
        path: the file, UTF-8, gzip by suffix.
        delimiter: the character between cells; by default a tab for `.tsv`, else what the header shows.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line.
    """
    return Draft.of(path, partial(_fill, delimiter=delimiter)).taxonomy()


def check(path: str | Path, *, delimiter: str | None = None) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included."""
    return Draft.of(path, partial(_fill, delimiter=delimiter)).check()


# -- cells -----------------------------------------------------------------------------------------------------


def rows(path: str | Path, delimiter: str | None = None) -> Rows:
    """Yield (line, cells) of a table: blank lines and comment lines before the header left out.

    Cells of a tab-separated file are taken as they stand, but for quotes around a whole cell: a name such as
    `"5 inch" speakers` would otherwise open a quotation that swallows the lines below.
    """
    numbered = lines(path)
    head = next(((n, text) for n, text in numbered if text.strip() and not text.startswith("#")), None)
    if head is None:
        return iter(())
    cut = delimiter or _delimiter(path, head[1])
    return (_tab_rows if cut == "\t" else partial(_csv_rows, path, cut))(chain([head], numbered))


def _delimiter(path: str | Path, header: str) -> str:
    if "\t" in header or Path(path).name.removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    return max(",;", key=header.count)


def _tab_rows(numbered: Iterable[tuple[int, str]]) -> Rows:
    for number, line in numbered:
        line = line.rstrip("\r\n")
        if line and not line.isspace():
            cells = line.split("\t")
            yield number, [_unquoted(cell) for cell in cells] if '"' in line else cells


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    whole = len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _unquoted(cell) != cell else cell


def _csv_rows(path: str | Path, delimiter: str, numbered: Iterable[tuple[int, str]]) -> Rows:
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for line, text in numbered:
            number = line
            yield text

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    while True:
        before = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            start = number - (reader.line_num - before) + 1
            fail(f"not readable as CSV: {error}; is a quote left open?", path, start)
        if any(cell.strip() for cell in cells):
            yield number - (reader.line_num - before) + 1, cells  # a quoted cell may hold line ends


# -- header ----------------------------------------------------------------------------------------------------


def _fill(draft: Draft, delimiter: str | None) -> None:
    table = rows(draft.file, delimiter)
    line, first = next(table, (0, []))
    if not first:
        return
    names = [cell.strip() for cell in first]
    known = [ALIASES.get(name.lower(), "") for name in names]
    low = [name.lower() for name in names]
    child = next((low.index(name) for name in CHILD if name in low), None)
    if "id" in known and len(names) > 1:
        columns = _columns(draft, line, names)
        if not draft.faults:
            _fill_nodes(draft, table, columns)
    elif child is not None and "parents" in known:
        _fill_edges(draft, table, known.index("parents"), child)
    elif len(first) == 2 and not any(known):
        _fill_edges(draft, chain([(line, first)], table), 0, 1)
    else:
        found = ", ".join(repr(name[:40]) for name in names[:12])
        wanted = "a header with 'id' and 'parents', or 'parent' and 'child', or two columns without header"
        fail(f"not a table of nodes or edges: needs {wanted}; found {found}", draft.file, line)


def _columns(draft: Draft, line: int, names: list[str]) -> list[str]:
    """Return for each column what it holds: a field, `field:language`, or `meta:name`."""
    columns = []
    for number, name in enumerate(names, start=1):
        field, _, language = name.partition(":")
        known = ALIASES.get(field.strip().lower(), "")
        if language and known in ("name", "synonyms"):
            column = f"{known}:{language.strip()}"
        else:
            column = known if known and not language else f"meta:{name}"
        if not name:
            draft.fault(f"column {number} has no name", line)
        elif column in columns:
            draft.fault(f"two columns for {column.removeprefix('meta:')}: column {number} repeats one", line)
        columns.append(column)
    if "parents" not in columns:
        parents = [alias for alias, field in ALIASES.items() if field == "parents"]
        hints = [(name, found) for name in names if (found := suggest(name, parents))]
        if hints:
            draft.fault(f"unknown column {hints[0][0]!r}{did_you_mean(hints[0][1])}", line)
        else:
            draft.warn("no column for parents: every node is a root", line)
    return columns


# -- rows ------------------------------------------------------------------------------------------------------


def _fill_edges(draft: Draft, table: Rows | chain[tuple[int, list[str]]], parent: int, child: int) -> None:
    width = max(parent, child) + 1
    seen: set[str] = set()

    def end(cell: str, line: int) -> str:
        node = cell.strip()
        if node not in seen and draft.node(Node(node), line):
            seen.add(node)
        return node

    for line, cells in table:
        if len(cells) < width or not cells[child].strip():
            draft.fault(f"a row of an edge list needs parent and child; this one has {len(cells)} cells", line)
            continue
        ups = [end(up, line) for up in cells[parent].split(JOIN) if up.strip()]
        down = end(cells[child], line)
        for up in ups:  # a child without parent is a root
            draft.edge(up, down)


def _fill_nodes(draft: Draft, table: Rows, columns: list[str]) -> None:
    at = {column: i for i, column in enumerate(columns)}
    id_at, parents_at, name_at = at["id"], at.get("parents", len(columns)), at.get("name", len(columns))
    rest = [column for column in columns if column not in ("id", "parents", "name")]
    # A bare child-parent table may list a node with two parents on two rows.
    repeats: set[str] | None = None if rest or "name" in at else set()
    width = len(columns)
    for line, cells in table:
        if len(cells) != width:
            if len(cells) > width and any(cell.strip() for cell in cells[width:]):
                draft.fault(f"{len(cells)} cells, but the header has {width}", line)
                continue
            cells += [""] * (width - len(cells))
        cells.append("")  # what an absent column reads
        node, name = cells[id_at].strip(), cells[name_at].strip()
        more = _fields(draft, line, node, columns, cells) if rest else {}
        names = {**({"": name} if name else {}), **more.pop("names", {})}
        entry = Node(node, names, **more) if names or more else Node(node)
        if (repeats is None or node not in repeats) and not draft.node(entry, line):
            continue
        if repeats is not None:
            repeats.add(node)
        if up := cells[parents_at].strip():
            for parent in up.split(JOIN) if JOIN in up else (up,):
                if parent := parent.strip():
                    draft.edge(parent, node)


def _fields(draft: Draft, line: int, node: str, columns: list[str], cells: list[str]) -> dict[str, Any]:
    """Return the constructor arguments of a Node for every cell but id, name and parents."""
    given: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=False):
        value, (field, _, key) = cell.strip(), column.partition(":")
        if not value or column in ("id", "name", "parents"):
            continue
        if field == "name":
            given.setdefault("names", {})[key] = value
        elif field == "meta":
            given.setdefault("meta", {})[key] = value
        elif field == "synonyms":
            found = tuple(text for part in value.split(JOIN) if (text := part.strip()))
            given.setdefault("synonyms", {})[key] = found
        elif field == "description":
            given[field] = value
        else:
            _convert(draft, line, node, field, value, given)
    return given


def _convert(draft: Draft, line: int, node: str, field: str, value: str, given: dict[str, Any]) -> None:
    try:
        given[field] = _truth(value) if field == "assignable" else dt.date.fromisoformat(value)
    except ValueError:
        wanted = "true or false" if field == "assignable" else "a date, YYYY-MM-DD"
        draft.fault(f"{field} must be {wanted}, not {value[:40]!r}", line, node=node)


def _truth(value: str) -> bool:
    if value.lower() not in TRUE + FALSE:
        raise ValueError(value)
    return value.lower() in TRUE


# -- writing ---------------------------------------------------------------------------------------------------


def write(taxonomy: Taxonomy, path: str | Path) -> None:
    """Write one row a node: CSV if the name ends in `.csv`, else TSV; gzip by suffix.

    Columns nothing is said in are left out. What a table cannot hold: rules, names of levels, the
    taxonomy's own header, and `meta` values that are not text.

    Raises:
        TaxonomyError: an id or synonym holds `|`, which joins them; or the file cannot be written.
    """
    write_text(path, _parts(taxonomy, "," if str(path).removesuffix(".gz").endswith(".csv") else "\t"))


def dumps(taxonomy: Taxonomy) -> str:
    r"""Return the taxonomy as TSV, one row a node.

    >>> dumps(Taxonomy(["a", "b"], [("a", "b")]))
    'node_id\tname\tparent_ids\na\t\t\nb\t\ta\n'
    """
    return "".join(_parts(taxonomy, "\t"))


def _parts(taxonomy: Taxonomy, delimiter: str) -> Iterator[str]:
    _refuse_joins(taxonomy)
    columns = _used_columns(taxonomy)
    line = _tab_line if delimiter == "\t" else _csv_line
    yield line(["node_id", "name", "parent_ids", *columns])
    for j in range(len(taxonomy)):
        entry = taxonomy.node(j)
        parents = JOIN.join([taxonomy.nodes[up] for up in taxonomy.parents.of(j).tolist()])
        yield line([entry.id, entry.names.get("", ""), parents, *[cell(entry) for cell in columns.values()]])


def _refuse_joins(taxonomy: Taxonomy) -> None:
    refuse_ids(taxonomy, JOIN)
    faults = []
    for j in range(len(taxonomy)):
        entry = taxonomy.node(j)
        if any(JOIN in text for texts in entry.synonyms.values() for text in texts):
            faults.append(Fault(f"a synonym with {JOIN!r} cannot stand in a table; try YAML", node=entry.id))
    if faults:
        raise TaxonomyError(faults)


def _used_columns(taxonomy: Taxonomy) -> dict[str, Callable[[Node], str]]:
    """Return header and cell of each column, beyond the first three, that some node has something for."""
    entries = [taxonomy.node(j) for j in range(len(taxonomy))]
    languages = sorted({language for entry in entries for language in entry.names if language})
    spoken = sorted({language for entry in entries for language in entry.synonyms})
    columns: dict[str, Callable[[Node], str]] = {}
    for language in languages:
        columns[f"name:{language}"] = partial(_name, language)
    for language in spoken:
        columns[f"synonyms:{language}" if language else "synonyms"] = partial(_synonyms, language)
    if any(entry.description for entry in entries):
        columns["description"] = lambda entry: entry.description
    if not all(entry.assignable for entry in entries):
        columns["assignable"] = lambda entry: "true" if entry.assignable else "false"
    if any(entry.valid_from for entry in entries):
        columns["valid_from"] = lambda entry: str(entry.valid_from or "")
    if any(entry.valid_to for entry in entries):
        columns["valid_to"] = lambda entry: str(entry.valid_to or "")
    taken = {*ALIASES, *CHILD}
    for key in sorted({key for entry in entries for key, value in entry.meta.items() if isinstance(value, str)}):
        if key.partition(":")[0].strip().lower() not in taken and key == key.strip() and key:
            columns[key] = partial(_meta, key)
    return columns


def _name(language: str, entry: Node) -> str:
    return entry.names.get(language, "")


def _synonyms(language: str, entry: Node) -> str:
    return JOIN.join(entry.synonyms.get(language, ()))


def _meta(key: str, entry: Node) -> str:
    value = entry.meta.get(key, "")
    return value if isinstance(value, str) else ""


def _tab_line(cells: list[str]) -> str:
    return "\t".join([_quoted(one_line(cell)) for cell in cells]) + "\n"


class _Echo:
    """What csv.writer writes to: hands the line back."""

    def write(self, line: str) -> str:
        return line


_CSV = csv.writer(_Echo(), lineterminator="\n")


def _csv_line(cells: list[str]) -> str:
    return str(_CSV.writerow(cells))


def header(path: str | Path) -> list[str]:
    """Return the cells of the first row, for `sniff`; empty for an empty file."""
    return [cell.strip() for cell in next(rows(path), (0, []))[1]]
