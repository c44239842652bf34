"""The three record formats as rows: (row number, mapping). What is wrong with a row goes to `Problems`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from hclf.data.problems import Kind, Problems
from hclf.data.sources import MAX_LINE, Format, OpenSource
from hclf.errors import DataError, MissingExtraError

Row = tuple[int, Mapping[str, Any]]
# What pyarrow raises for a damaged file; its own classes derive from these.
PARQUET_ERRORS = (OSError, ValueError, ArithmeticError, NotImplementedError, KeyError, MemoryError)


class BadRow(Exception):  # noqa: N818  never leaves this package
    """A row that is refused; becomes a problem."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message


class Rows(NamedTuple):
    """The rows of one source. `header`: its columns, where the format has them, else None."""

    header: tuple[str, ...] | None
    records: Iterator[Row]


def read_rows(source: OpenSource, problems: Problems) -> Rows:
    """Return the rows of a source.

    Raises:
        DataError: the header cannot be used; while iterating: the stream breaks off.
        MissingExtraError: Parquet without pyarrow.
    """
    return _READERS[source.format](source, problems)


def _json_rows(source: OpenSource, problems: Problems) -> Rows:
    return Rows(None, _json_records(source, problems))


def _json_records(source: OpenSource, problems: Problems) -> Iterator[Row]:
    first = True
    for row, line in source.lines(problems):
        line = line.strip()
        if not line:
            continue
        if first and line[0] == "[" and line[1:].lstrip()[:1] in ("", "{"):
            raise DataError("is one JSON array, not JSON Lines; convert it: jq -c '.[]'", file=source.name)
        first = False
        try:
            yield row, parse_object(line)
        except BadRow as bad:
            problems.add(bad.kind, bad.message, file=source.name, row=row)


def parse_object(line: str) -> dict[str, Any]:
    """Return the JSON object a line holds; NaN and Infinity, which JSON does not know, become None.

    Raises:
        BadRow: it holds something else.
    """
    refuse_bytes(line)
    try:
        record = json.loads(line, object_pairs_hook=_unique, parse_constant=lambda _: None)
        if "\\u" in line:  # an escaped half of a surrogate pair is a character no file can hold
            json.dumps(record, ensure_ascii=False).encode()
    except BadRow:
        raise
    except UnicodeEncodeError:
        raise BadRow("invalid-utf8", "an escape that is half a character (a lone surrogate)") from None
    except RecursionError:
        raise BadRow("bad-json", "not valid JSON: nested too deep") from None
    except ValueError as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "a huge number"
        raise BadRow("bad-json", f"not valid JSON: {what}") from None
    if not isinstance(record, dict):
        raise BadRow("not-an-object", f"{_json_type(record)}, not an object")
    return record


def refuse_bytes(text: str) -> None:
    """Refuse text with NUL bytes, or with bytes that were not UTF-8.

    Raises:
        BadRow: it has some.
    """
    if "\0" in text:
        raise BadRow("nul-byte", "a NUL byte: the file is damaged, or not UTF-8")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow("invalid-utf8", f"not valid UTF-8 at character {error.start + 1}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise BadRow("duplicate-key", "the same key twice in one object")
    return record


def _json_type(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


class _Feed(Iterator[str]):
    """Lines for the csv module that remembers where the current record began."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self.start = 0

    def __next__(self) -> str:
        row, line = next(self._lines)
        self.start = self.start or row
        return line


def _csv_rows(source: OpenSource, problems: Problems) -> Rows:
    # The limit is the csv module's own, for the whole process: only ever raised, to the limit lines have.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    lines = source.lines(problems)
    first = next(((row, line) for row, line in lines if line.strip()), None)
    if first is None:
        return Rows((), iter(()))
    delimiter = "\t" if source.format == "tsv" else max(",;\t", key=first[1].count)
    feed = _Feed(chain([first], lines))
    # strict: a stray quote is an error to report, not a reason to swallow the lines up to the next quote
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    header = _read_header(reader, source.name)
    return Rows(header, _csv_records(feed, reader, header, problems, source.name))


def _csv_records(
    feed: _Feed, reader: Iterator[list[str]], header: tuple[str, ...], problems: Problems, name: str
) -> Iterator[Row]:
    while True:
        feed.start = 0
        try:
            cells = next(reader)
            if cells:
                yield feed.start, _record(header, cells)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add("bad-csv", f"not valid CSV: {error}", file=name, row=feed.start)
        except BadRow as bad:
            problems.add(bad.kind, bad.message, file=name, row=feed.start)


def _read_header(reader: Iterator[list[str]], name: str) -> tuple[str, ...]:
    try:
        header = tuple(cell.strip() for cell in next(reader))
        refuse_bytes("".join(header))
    except (csv.Error, BadRow) as error:
        raise DataError(f"the header row is not valid: {error}", file=name, row=1) from None
    twice = [column for column, times in Counter(header).items() if times > 1]
    if twice:
        places = [str(i) for i, column in enumerate(header, start=1) if column == twice[0]]
        raise DataError(f"columns {' and '.join(places[:5])} of the header have the same name", file=name, row=1)
    return header


def _record(header: tuple[str, ...], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise BadRow("ragged-row", f"{len(cells)} cells under a header of {len(header)}")
    refuse_bytes("".join(cells))
    return dict(zip(header, cells, strict=True))


def _parquet_rows(source: OpenSource, problems: Problems) -> Rows:
    parquet, stream = pyarrow_parquet(), source.seekable()
    try:
        file = parquet.ParquetFile(stream)
        return Rows(tuple(file.schema_arrow.names), _parquet_records(file, source))
    except PARQUET_ERRORS as error:
        raise _not_parquet(error, source.name) from None


def _parquet_records(file: Any, source: OpenSource) -> Iterator[Row]:
    row = 0  # `source` is held here: it closes its stream when it goes away
    batches = file.iter_batches(batch_size=1024)
    while True:
        try:
            records = next(batches).to_pylist()
        except StopIteration:
            return
        except PARQUET_ERRORS as error:
            raise _not_parquet(error, source.name) from None
        for record in records:
            row += 1
            yield row, record


def _not_parquet(error: Exception, name: str) -> DataError:
    return DataError(f"is not a Parquet file that can be read ({type(error).__name__})", file=name)


def pyarrow_parquet() -> Any:
    """Return `pyarrow.parquet`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Parquet", "parquet") from None
    return pyarrow.parquet


_READERS: dict[Format, Callable[[OpenSource, Problems], Rows]] = {
    "jsonl": _json_rows,
    "csv": _csv_rows,
    "tsv": _csv_rows,
    "parquet": _parquet_rows,
}
