"""Files with random damage: bytes removed, repeated, or put in from what a format finds hard."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hclf import formats


def mutations(
    chance: random.Random, source: bytes, pieces: Sequence[bytes], *, number: int = 100, most: int = 4
) -> Iterator[bytes]:
    """Yield so many copies of a source, each changed at `most` places at most; `pieces` are what may be put in."""
    for _ in range(number):
        raw = bytearray(source)
        for _ in range(chance.randint(1, most)):
            at, length = chance.randrange(len(raw)), chance.choice((0, 1, 5, 60))
            raw[at : at + length] = chance.choice([*pieces, raw[at : at + 40], b""])
        yield bytes(raw)


def reads_or_says_why(path: Path, raw: bytes, format: str | None = None, **options: Any) -> bool:
    """Tell whether a file of these bytes gives a taxonomy, or errors, and not both or neither."""
    path.write_bytes(raw)
    taxonomy, faults = formats.check(path, format, **options)
    return (taxonomy is None) == any(fault.severity == "error" for fault in faults)
