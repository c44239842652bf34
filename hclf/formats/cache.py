"""The compiled cache: a taxonomy that was read once is loaded again from arrays.

One uncompressed `.npz` a taxonomy, in the user's cache folder, read with `allow_pickle=False`: arrays of numbers
and one array of JSON bytes, nothing that could run. The key holds the file's content, the reader, its options and
the code, so a cached taxonomy is never older than its file. Whatever goes wrong here, the file itself is read.

`$HCLF_CACHE_DIR` moves the folder, `HCLF_CACHE=0` switches the cache off.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hclf._version import __version__
from hclf.formats import companions
from hclf.taxonomy import Edges, Node, Rule, Taxonomy

__all__ = ["CACHE_VERSION", "enabled", "folder", "key", "load", "store"]

CACHE_VERSION = 2
ARRAYS = ("indptr", "indices", "levels", "text", "checksum")
KEPT = 50  # files; the least recently used go first
STALE_SECONDS = 3_600  # a partial file older than this was left by a process that died


def enabled() -> bool:
    """Tell whether the cache is on: it is unless `$HCLF_CACHE` is 0."""
    return os.environ.get("HCLF_CACHE", "1") != "0"


def folder() -> Path:
    """Return the cache folder: `$HCLF_CACHE_DIR`, else the user's cache folder for hclf."""
    if given := os.environ.get("HCLF_CACHE_DIR"):
        return Path(given)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("hclf", appauthor=False))


def key(path: Path, reader: str, options: Mapping[str, Any]) -> str:
    """Return the key of a file's content (and of those read with it), read with options by this version of the code.

    "" if the file cannot be read: its reader has better words for that.
    """
    try:
        content = [_digest(file) for file in (path, *companions(path, reader or None, **options))]
    except OSError:
        return ""
    # The name is part of what is read: tables and paths call the taxonomy by it.
    said = [CACHE_VERSION, __version__, _code(), reader, path.name, sorted(options.items()), content]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _code() -> list[tuple[str, int, int]]:
    """Return name, size and time of the files that turn text into a taxonomy.

    While hclf is being worked on, the version does not change when a reader does.
    """
    here = Path(__file__).parent
    files = [*here.rglob("*.py"), *here.rglob("*.json"), here.parent / "taxonomy.py"]
    return sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


# -- loading ---------------------------------------------------------------------------------------------------


def load(key: str) -> Taxonomy | None:
    """Return the cached taxonomy, or None if there is none that can be used."""
    path = folder() / f"{key}.npz"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            indptr, indices, levels, text, checksum = (arrays[name] for name in ARRAYS)
        if checksum.tobytes() != _checksum(indptr, indices, levels, text):
            return None
        with _collector_paused():
            taxonomy = _taxonomy(json.loads(text.tobytes()), Edges(indptr, indices), levels)
    except Exception:  # absent, damaged in any way, or another program's: read the file itself, and write anew
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used just now: pruned last
    return taxonomy


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, through a million new objects that all stay.

    It was two thirds of the time to load 95,676 nodes into a process that already held a large taxonomy.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _taxonomy(said: dict[str, Any], parents: Edges, levels: NDArray[np.int64]) -> Taxonomy:
    n = len(said["ids"])
    if not _consistent(n, parents, levels):
        raise ValueError("not a taxonomy")
    taxonomy = Taxonomy._from_parts(
        entries=tuple(_nodes(said)),
        parents=parents,
        levels=levels,
        header=said["header"],
        level_names=tuple(said["level_names"]),
        rules=tuple(_rules(said)),
    )
    taxonomy.__dict__["fingerprint"] = said["fingerprint"]  # a cached_property, filled
    return taxonomy


def _consistent(n: int, parents: Edges, levels: NDArray[np.int64]) -> bool:
    """Tell whether the arrays are a taxonomy's: wrong ones would index beyond themselves later."""
    indptr, indices = parents
    if any(array.dtype != np.int64 for array in (indptr, indices, levels)) or (len(indptr), len(levels)) != (
        n + 1,
        n,
    ):
        return False
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any() or (np.diff(levels) < 0).any():
        return False
    child = np.repeat(np.arange(n), np.diff(indptr))
    return not indices.size or bool(indices.min() >= 0 and (indices < child).all())


def _nodes(said: dict[str, Any]) -> Iterator[Node]:
    more = {int(j): fields for j, fields in said["more"].items()}
    for j, (node, name) in enumerate(zip(said["ids"], said["names"], strict=True)):
        fields = more.get(j)
        if fields is not None:
            yield _node(node, name, fields)
        else:
            yield Node(node) if name is None else Node(node, {"": name})


def _node(node: str, name: str | None, fields: dict[str, Any]) -> Node:
    """Return a node that has more than id and name, from what `_more` kept of it."""
    if "synonyms" in fields:
        fields["synonyms"] = {language: tuple(texts) for language, texts in fields["synonyms"].items()}
    for key in ("valid_from", "valid_to"):
        if key in fields:
            fields[key] = dt.date.fromisoformat(fields[key])
    if name is not None and "names" not in fields:
        return Node(node, {"": name}, **fields)
    return Node(node, **fields)


def _rules(said: dict[str, Any]) -> Iterator[Rule]:
    """Yield the rules; those about the same others share them."""
    others = [tuple(nodes) for nodes in said["others"]]
    for kind, node, number, *fields in said["rules"]:
        yield Rule(kind, node, others[number], *fields)


def _checksum(*arrays: NDArray[Any]) -> bytes:
    """Return a hash of the arrays: numpy does not look at those in the file."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


# -- storing ---------------------------------------------------------------------------------------------------


def store(key: str, taxonomy: Taxonomy) -> bool:
    """Put a taxonomy into the cache, and say whether that worked: a full or read-only disk is no error."""
    try:
        text = _text(taxonomy)
        folder().mkdir(parents=True, exist_ok=True)
        _write(folder() / f"{key}.npz", taxonomy, np.frombuffer(text, dtype=np.uint8))
        prune()
    except (OSError, TypeError, ValueError):  # the last two: a `meta` that JSON does not hold as it is
        return False
    return True


def _write(path: Path, taxonomy: Taxonomy, text: NDArray[np.uint8]) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.part")
    try:
        with partial.open("wb") as handle:
            (indptr, indices), levels = taxonomy.parents, taxonomy.levels
            checksum = np.frombuffer(_checksum(indptr, indices, levels, text), dtype=np.uint8)
            np.savez(handle, indptr=indptr, indices=indices, levels=levels, text=text, checksum=checksum)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _text(taxonomy: Taxonomy) -> bytes:
    """Return as JSON what is not an array: ids and names in two lists, nodes that say more one by one."""
    entries = [taxonomy.node(j) for j in range(len(taxonomy))]
    more = {j: fields for j, entry in enumerate(entries) if (fields := _more(entry))}
    if json.loads(json.dumps(more)) != {str(j): fields for j, fields in more.items()}:
        raise ValueError("a meta value is not what JSON would give back")
    numbers = {others: i for i, others in enumerate(dict.fromkeys(rule.others for rule in taxonomy.rules))}
    said = {
        "header": taxonomy.header,
        "level_names": taxonomy.level_names,
        "others": list(numbers),
        "rules": [
            (r.type, r.node, numbers[r.others], r.strength, r.k, r.note, r.source, r.scope, r.optional)
            for r in taxonomy.rules
        ],
        "fingerprint": taxonomy.fingerprint,
        "ids": taxonomy.nodes,
        "names": [entry.names.get("") for entry in entries],
        "more": more,
    }
    return json.dumps(said, ensure_ascii=False).encode()


def _more(entry: Node) -> dict[str, Any]:
    """Return everything said of a node, if that is more than its id and one name."""
    fields: dict[str, Any] = {
        "synonyms": {language: list(texts) for language, texts in entry.synonyms.items()},
        "description": entry.description,
        "meta": entry.meta and dict(entry.meta),
    }
    said = {name: value for name, value in fields.items() if value}
    if not entry.assignable:
        said["assignable"] = False
    for name, day in (("valid_from", entry.valid_from), ("valid_to", entry.valid_to)):
        if day:
            said[name] = day.isoformat()
    if not entry.names.keys() <= {""}:
        said["names"] = dict(entry.names)
    return said


def prune(keep: int = KEPT) -> None:
    """Remove all but the most recently used files, and what writers that died left behind."""
    aged = sorted(((path.stat().st_mtime, path) for path in folder().glob("*.npz*")), reverse=True)
    whole = [path for _, path in aged if path.suffix == ".npz"]
    stale = [path for at, path in aged if path.suffix == ".part" and at < time.time() - STALE_SECONDS]
    for path in (*whole[keep:], *stale):
        path.unlink(missing_ok=True)
