"""Where rows go, one class a format: JSON Lines, CSV, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from hclf.data.rows import pyarrow_parquet
from hclf.errors import DataError

PARQUET_BATCH = 10_000  # rows a row group


class Sink(Protocol):
    """Somewhere rows are written to."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""

    def close(self) -> None:
        """Write what is still held back."""


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one object; values JSON does not know (dates, decimals) become text.

        Raises:
            DataError: it holds NaN or infinity, or is nested too deep.
        """
        try:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
        except (ValueError, RecursionError) as error:
            reason = "nested too deep" if isinstance(error, RecursionError) else "NaN or infinity"
            raise DataError(f"cannot be written as JSON: {reason}") from None
        self._stream.write(line + "\n")

    def close(self) -> None:
        """Do nothing: every line is out."""


class Table:
    r"""CSV or TSV with a header; lines end in `\n`."""

    def __init__(self, stream: IO[str], columns: Sequence[str], delimiter: str = ",") -> None:
        self._columns = columns
        self._writer = csv.writer(_UnixLines(stream), delimiter=delimiter)
        self._writer.writerow(columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row; what is neither text nor number is written as JSON, None as nothing.

        Raises:
            DataError: a cell holds a NUL character, which CSV cannot.
        """
        cells = [_cell(row.get(column)) for column in self._columns]
        if any("\0" in cell for cell in cells):
            raise DataError("holds a NUL character, which CSV cannot; write JSONL")
        self._writer.writerow(cells)

    def close(self) -> None:
        """Do nothing: every line is out."""


class Parquet:
    """A Parquet file with the given pyarrow column types, written in row groups."""

    def __init__(self, stream: IO[bytes], columns: Mapping[str, str]) -> None:
        parquet = pyarrow_parquet()
        import pyarrow

        self._pyarrow = pyarrow
        self._schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
        self._writer = parquet.ParquetWriter(stream, self._schema)
        self._held: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row, at the latest when `PARQUET_BATCH` are held."""
        self._held.append(row)
        if len(self._held) >= PARQUET_BATCH:
            self._flush()

    def close(self) -> None:
        """Write the rows still held, and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._pyarrow.Table.from_pylist(self._held, schema=self._schema))
        self._held = []


class _UnixLines:
    r"""Turns the row ends of csv into `\n`. (Asked for `\n` itself, csv would leave a bare `\r` unquoted.)"""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        self._stream.write(line.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping | list | tuple | bool):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return str(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)
