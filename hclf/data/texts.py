"""When two texts are the same: equal after Unicode, case and white space are evened out."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def normalised(text: str) -> str:
    """Return the text in NFKC, lower case, with single blanks.

    >>> normalised("  Oat\\u00a0MILK ")
    'oat milk'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str) -> int:
    """Return a 64-bit hash of the normalised text, the same in every process; 0 for a text without content."""
    plain = normalised(text)
    return _hash(plain) if plain else 0


def text_groups(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return a number for each text, equal for texts that are the same once normalised (for `split_indices`).

    Texts without content are no copies of each other: each gets a number of its own.

    >>> a, b, c, d = text_groups(["Oat milk", "oat  MILK", "", ""]).tolist()
    >>> a == b, c == d
    (True, False)
    """
    return np.array([group_key(text, position) for position, text in enumerate(texts)], dtype=np.uint64)


def group_key(text: str, position: int) -> int:
    """Return the group of one text: its hash, or for a text without content one of its position."""
    return text_hash(text) or _hash(f"\0{position}")


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1
