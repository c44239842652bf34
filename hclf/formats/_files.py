"""Text files in and out: gzip by suffix, strict UTF-8, limits on size, atomic writes.

Every way a file can be unreadable ends here in one `TaxonomyError` with file and line, never in a traceback.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from hclf.errors import Fault, TaxonomyError

MAX_BYTES = 1 << 30  # of one file, unpacked: a gzip bomb stops here
MAX_LINE_BYTES = 1 << 24
_CONTROL = frozenset(map(chr, (*range(32), 127)))


def fail(message: str, path: str | Path, line: int = 0, column: int = 0) -> NoReturn:
    """Raise a TaxonomyError with one fault at a place of a file."""
    raise TaxonomyError([Fault(message, file=str(path), line=line, column=column)])


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked if it is gzip; what the system or gzip complain of becomes a TaxonomyError."""
    try:
        with path.open("rb") as raw:
            yield gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        fail(f"damaged gzip file: {error}", path)
    except OSError as error:
        fail(error.strerror or str(error), path)


def lines(path: str | Path, *, limit: int | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its line end) of a UTF-8 text file, a byte order mark removed.

    Args:
        path: the file; unpacked if its name ends in `.gz`.
        limit: most bytes to read after unpacking; `MAX_BYTES` when None.

    Raises:
        TaxonomyError: the file cannot be read, is damaged, holds NUL bytes, is not UTF-8, or is too large.
    """
    path, left = Path(path), MAX_BYTES if limit is None else limit
    with _open(path) as handle:
        number = 0
        while raw := handle.readline(MAX_LINE_BYTES):
            number += 1
            left -= len(raw)
            if left < 0:
                fail(f"more than {MAX_BYTES if limit is None else limit:,} bytes of text", path, number)
            if len(raw) == MAX_LINE_BYTES:
                fail(f"a line longer than {MAX_LINE_BYTES:,} bytes", path, number)
            yield number, _decode(raw, path, number)


def _decode(raw: bytes, path: Path, line: int) -> str:
    if line == 1:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            fail("the file is UTF-16; save it as UTF-8", path, line)
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        fail("a NUL byte: this is not a text file", path, line, raw.index(b"\0") + 1)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        fail(message, path, line, error.start + 1)


def read_text(path: str | Path, *, limit: int) -> str:
    """Return a whole text file; as `lines`, for files that are parsed in one piece."""
    return "".join(line for _, line in lines(path, limit=limit))


def write_text(path: str | Path, parts: Iterable[str]) -> None:
    """Write text parts as UTF-8, packed if the name ends in `.gz`; whole or not at all.

    Raises:
        TaxonomyError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as raw:
            # No time and no name in the gzip header: the same taxonomy gives the same bytes.
            packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else None
            with io.TextIOWrapper(packed or raw, encoding="utf-8", newline="\n") as out:
                out.writelines(parts)
        partial.replace(path)
    except OSError as error:
        fail(f"cannot write: {error.strerror or error}", path)
    finally:
        partial.unlink(missing_ok=True)


def stem(path: str | Path) -> str:
    """Return a file's name without folders and without its (one or two) known suffixes.

    >>> stem("data/categories.tsv.gz")
    'categories'
    """
    name = Path(path).name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def has_control(text: str) -> bool:
    """Tell whether a text holds a control character, such as a tab or a line end."""
    return not text.isprintable() and not _CONTROL.isdisjoint(text)


def one_line(text: str) -> str:
    """Return a text with every run of white space that holds a control character as one space."""
    return " ".join(text.split()) if has_control(text) else text
