"""`Output`: a file that appears under its name only when it is complete; "-" and open streams as they are."""

from __future__ import annotations

import errno
import gzip
import io
import os
import secrets
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, cast

from hclf.errors import DataError

Target = str | Path | IO[str] | IO[bytes]


class Output:
    """Somewhere to write to.

    A path is written beside itself under a hidden name and renamed by `commit`; a name that ends in `.gz` is
    compressed. Devices, pipes, "-" (stdout) and open streams are written directly.

    Args:
        target: a path, "-", or an open stream (left open).
        binary: whether `stream` takes bytes.

    Raises:
        DataError: the file cannot be created.
    """

    def __init__(self, target: Target, *, binary: bool = False) -> None:
        self.name = _name(target)
        self._final: Path | None = None
        self._temporary: Path | None = None
        self._layers = ExitStack()  # closes the outermost layer first
        try:
            stream = self._open(target)
        except OSError as error:
            raise write_error(error, self.name) from None
        self.stream: Any = stream if binary or isinstance(stream, io.TextIOBase) else self._as_text(stream)

    def commit(self) -> None:
        """Flush everything and give the file its name.

        Raises:
            DataError: what is left cannot be written; the file then does not appear.
        """
        try:
            self.stream.flush()
            self._layers.close()
            if self._temporary and self._final:
                self._temporary.replace(self._final)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.abandon(keep=False)
            raise write_error(error, self.name) from None

    def abandon(self, *, keep: bool) -> Path | None:
        """Close without giving the file its name; `keep` leaves what was written as NAME.partial.

        Returns:
            The path of what was kept, or None.
        """
        with suppress(OSError, ValueError):
            self._layers.close()
        if self._temporary is None or self._final is None or not self._temporary.exists():
            return None
        if not keep:
            self._temporary.unlink()
            return None
        partial = self._final.with_name(self._final.name + ".partial")
        return self._temporary.replace(partial)

    def _open(self, target: Target) -> IO[Any]:
        if not isinstance(target, str | Path):
            return target
        if str(target) == "-":
            sys.stdout.flush()
            return getattr(sys.stdout, "buffer", sys.stdout)
        path = Path(os.path.realpath(target))  # a link stays a link
        if path.is_dir():
            raise DataError("is a folder; name a file in it", file=self.name)
        if path.exists() and not path.is_file():  # /dev/null, a named pipe: nothing to rename
            raw: IO[bytes] = self._layers.enter_context(path.open("wb"))
        else:
            self._final = path
            self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            raw = self._layers.enter_context(self._temporary.open("xb"))
            self._layers.callback(_to_disk, raw)
        if not str(target).endswith(".gz"):
            return raw
        # no name and no time in the header: the same records give the same bytes
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0)
        return cast(IO[bytes], self._layers.enter_context(packed))

    def _as_text(self, stream: IO[bytes]) -> io.TextIOWrapper:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", line_buffering=stream.isatty())
        self._layers.callback(text.detach)  # flushes, and leaves closing to the layer below
        return text


def _to_disk(raw: IO[bytes]) -> None:
    raw.flush()
    os.fsync(raw.fileno())


def write_error(error: OSError, name: str, written: int | None = None) -> DataError:
    """Return the DataError for a failed write."""
    after = f" after {written:,} records" if written is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"the disk is full{after}; free some space, or write elsewhere with -o", file=name)
    if isinstance(error, FileNotFoundError):
        return DataError("its folder does not exist; create it first", file=name)
    return DataError(f"cannot be written{after}: {error.strerror or type(error).__name__}", file=name)


def _name(target: Target) -> str:
    if isinstance(target, str | Path):
        return "<stdout>" if str(target) == "-" else str(target)
    name = getattr(target, "name", None)
    return name if isinstance(name, str) else "<stream>"
