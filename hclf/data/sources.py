"""Opening what people name: paths, "-", open streams; gzip and format found by suffix or first bytes."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

from hclf.data.problems import Problems
from hclf.errors import DataError, UsageError, did_you_mean, suggest

Format = Literal["jsonl", "csv", "tsv", "parquet"]
Source = str | Path | IO[str] | IO[bytes]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
MAX_LINE = 50_000_000  # characters: far beyond any document, well below what hurts
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeDecodeError, ValueError)


class OpenSource:
    """A source opened for reading: its `name` for messages, its `format`, and the stream.

    Args:
        source: a path, "-" for stdin, or an open text or binary stream (which is left open).
        format: what it holds; None looks at the suffix, then at the first bytes.

    Raises:
        DataError: there is no such file, it cannot be read, or holds something else (UTF-16, ZIP …).
        UsageError: `format` is not one of the known ones.
    """

    def __init__(self, source: Source, format: str | None = None) -> None:
        if format is not None and format not in get_args(Format):
            known = get_args(Format)
            raise UsageError(f"unknown record format {format!r}{did_you_mean(suggest(format, known) or known)}")
        self._opened: list[IO[Any]] = []  # ours, closed at the end
        self._borrowed: list[Any] = []  # wrappers round a stream of the caller, detached at the end
        self.name = source_name(source)
        self._text: IO[str] | None = None
        self._binary: IO[bytes] | None = None
        try:
            self._open(source)
            self.format = cast(Format, format) if format else (format_of(self.name) or self._sniff())
        except READ_ERRORS as error:
            self.close()
            raise _read_error(error, self.name) from None
        except DataError:
            self.close()
            raise

    def lines(self, problems: Problems) -> Iterator[tuple[int, str]]:
        """Yield (row, line) with its line end; lines longer than `MAX_LINE` are counted and left out.

        Bytes that are not UTF-8 come as lone surrogates: the row is then refused by whoever parses it.

        Raises:
            DataError: the stream breaks off (a damaged or truncated gzip file, a failing disk).
        """
        stream, row = self._as_text(), 0
        while line := self._readline(stream, row):
            row += 1
            if len(line) > MAX_LINE and not line.endswith("\n"):
                while (rest := self._readline(stream, row)) and not rest.endswith("\n"):
                    pass
                message = f"the line is longer than {MAX_LINE:,} characters"
                problems.add("line-too-long", message, file=self.name, row=row)
                continue
            yield row, line

    def seekable(self) -> IO[bytes]:
        """Return the bytes as a stream that can seek, as Parquet needs; spools pipes and gzip to disk."""
        if self._binary is None:
            raise DataError("Parquet needs a path or a binary stream, not a text stream", file=self.name)
        if self._binary.seekable() and not isinstance(self._binary, gzip.GzipFile):
            return self._binary
        spool = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._opened.append(spool)
        try:
            shutil.copyfileobj(self._binary, spool)
        except READ_ERRORS as error:
            raise _read_error(error, self.name) from None
        spool.seek(0)
        return spool

    def close(self) -> None:
        """Close what was opened here; streams of the caller stay open."""
        while self._borrowed:
            wrapper = self._borrowed.pop()
            if not wrapper.closed:
                wrapper.detach()
        while self._opened:
            self._opened.pop().close()

    def __del__(self) -> None:
        if hasattr(self, "_opened"):
            self.close()

    def _open(self, source: Source) -> None:
        if isinstance(source, str | Path) and str(source) != "-":
            path = Path(source)
            if path.is_dir():
                raise DataError("is a folder; name a file in it", file=self.name)
            stream: Any = path.open("rb")
            self._opened.append(stream)
        elif isinstance(source, str | Path):
            stream = sys.stdin.buffer
        else:
            stream = source
        if isinstance(stream, io.TextIOBase):
            self._text = cast(IO[str], stream)
            return
        if not hasattr(stream, "peek"):
            stream = io.BufferedReader(stream)
            self._borrowed.append(stream)
        if stream.peek(2)[:2] == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=stream)
            self._opened.append(stream)
        self._binary = stream

    def _sniff(self) -> Format:
        if self._binary is None:
            return "csv" if self._first_character() not in "{[" else "jsonl"
        start: bytes = cast(Any, self._binary).peek(512)[:512]
        return "parquet" if start[:4] == b"PAR1" else "jsonl" if _looks_like_json(start) else "csv"

    def _first_character(self) -> str:
        stream = cast(IO[str], self._text)
        if not stream.seekable():
            raise DataError("the format of this stream is not known; give format='jsonl' or 'csv'", file=self.name)
        here = stream.tell()
        start = stream.read(512).lstrip("\ufeff \t\r\n")
        stream.seek(here)
        return start[:1]

    def _as_text(self) -> IO[str]:
        if self._text is not None:
            return self._text
        binary: Any = self._binary
        try:
            _refuse_other_encodings(binary.peek(4)[:4], self.name)
        except READ_ERRORS as error:
            raise _read_error(error, self.name) from None
        # newline="\n": only "\n" ends a line, nothing is translated, so that CSV cells keep their "\r\n".
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        self._borrowed.append(text)
        self._text = text
        return text

    def _readline(self, stream: IO[str], row: int) -> str:
        try:
            return stream.readline(MAX_LINE + 1)
        except READ_ERRORS as error:
            raise _read_error(error, self.name, row + 1) from None


def source_name(source: object) -> str:
    """Return what to call a source in messages: its path, "<stdin>", or "<stream>"."""
    if isinstance(source, str | Path):
        return "<stdin>" if str(source) == "-" else str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def format_of(name: str) -> Format | None:
    """Return the format a file name speaks of, `.gz` set aside, or None."""
    path = Path(name.removesuffix(".gz"))
    return SUFFIXES.get(path.suffix.lower())


def _looks_like_json(start: bytes) -> bool:
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def _refuse_other_encodings(start: bytes, name: str) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8", file=name)
    if start == b"PK\x03\x04":
        raise DataError("is a ZIP or Excel file; unpack it, or save it as CSV UTF-8, first", file=name)
    if start == b"PAR1":
        raise DataError("is a Parquet file; give format='parquet'", file=name)


def _read_error(error: Exception, name: str, row: int = 0) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError("no such file", file=name)
    if isinstance(error, PermissionError):
        return DataError("may not be read (permission denied)", file=name)
    if isinstance(error, EOFError):
        return DataError("the gzip file ends too early: it is truncated", file=name, row=row)
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return DataError("the gzip file is damaged", file=name, row=row)
    if isinstance(error, UnicodeDecodeError):
        return DataError("not valid UTF-8; open the stream with errors='surrogateescape'", file=name, row=row)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DataError(f"cannot be read: {reason}", file=name, row=row)
