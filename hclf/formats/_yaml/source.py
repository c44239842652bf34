"""From a path to clean UTF-8 bytes: bounded decompression, and a place for each byte that is not text."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

from hclf.formats._yaml.faults import Faults

MAX_BYTES = 64 * 2**20
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x84\x86-\x9f]|\xef\xbf[\xbe\xbf]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def load(path: Path, faults: Faults, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a file, decompressed when its name ends in `.gz`, at most `max_bytes` of them."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                data = stream.read(max_bytes + 1)
        else:
            if path.stat().st_size > max_bytes:  # do not read 100 GB to find out that they are too many
                too_large(faults, max_bytes)
            with path.open("rb") as stream:
                data = stream.read(max_bytes + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        faults.stop(f"not a whole gzip file: {error}")
    except OSError as error:
        faults.stop(f"cannot be read: {error.strerror or error}")
    return data


def clean(data: bytes, faults: Faults, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes without byte-order mark, or stop at the first byte that no text file has."""
    if len(data) > max_bytes:
        too_large(faults, max_bytes)
    if data.startswith(_UTF16):
        faults.stop("the file is UTF-16; save it as UTF-8", 1, 1)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        bad = data[error.start]
        faults.stop(f"not UTF-8 (byte 0x{bad:02x}); save the file as UTF-8", *place(data, error.start))
    if match := _CONTROL.search(data):
        faults.stop(f"{_name(match[0].decode())}; remove it, or write it as an escape", *place(data, match.start()))
    return data


def place(data: bytes, offset: int) -> tuple[int, int]:
    """Return the line and column, both from 1, of a byte offset; everything before it must be UTF-8."""
    before = data[:offset]
    start = max(before.rfind(b"\n"), before.rfind(b"\r")) + 1
    line = 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
    return line, len(before[start:].decode()) + 1


def too_large(faults: Faults, max_bytes: int) -> None:
    """Stop: more bytes than a YAML taxonomy may have."""
    faults.stop(
        f"larger than {max_bytes / 2**20:,.0f} MiB, the limit for YAML; "
        "keep a taxonomy of this size as a table (TSV or CSV)"
    )


def _name(char: str) -> str:
    return "NUL character (is this a text file?)" if char == "\0" else f"control character U+{ord(char):04X}"
