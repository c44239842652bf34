"""Taxonomies by name or by path: those shipped with hclf, and any file of a format it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.formats import by_suffix
from hclf.formats import cache as compiled
from hclf.formats import read as read_file
from hclf.taxonomy import Taxonomy

__all__ = ["find", "load_taxonomy", "shipped_folder", "shipped_taxonomies"]


def shipped_folder(kind: str) -> Path:
    """Return the folder of what is shipped: "taxonomy" or "examples".

    In a wheel it lies inside the package, in a checkout beside it.

    Raises:
        UsageError: there is no such folder.
    """
    package = Path(__file__).resolve().parent
    for place in (package / "_shipped" / kind, package.parent / kind):
        if place.is_dir():
            return place
    raise UsageError(f"this installation of hclf ships no folder {kind!r}; it has 'taxonomy' and 'examples'")


def shipped_taxonomies() -> dict[str, Path]:
    """Return name -> file of each taxonomy shipped with hclf, by name."""
    try:
        files = sorted(shipped_folder("taxonomy").iterdir())
    except UsageError:
        return {}
    return {file.name.partition(".")[0]: file for file in files if by_suffix(file)}


def find(name: str | Path) -> Path:
    """Return the file of a taxonomy: a path to a file, or the name of a shipped one.

    Raises:
        UsageError: there is no such file and no such name.

    >>> find("icd10-mini").name
    'icd10-mini.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_taxonomies()
    if str(name) in shipped:
        return shipped[str(name)]
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a taxonomy file")
    if path.name != str(name) or by_suffix(path):
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UsageError(f"no such file: {path}{did_you_mean(suggest(path.name, beside))}")
    hint = did_you_mean(suggest(str(name), shipped)) or f"; shipped are {', '.join(shipped) or 'none'}"
    raise UsageError(f"no taxonomy {str(name)!r}: neither a file nor a shipped name{hint}")


def load_taxonomy(
    source: str | Path | Taxonomy, *, format: str | None = None, cache: bool = True, **options: Any
) -> Taxonomy:
    """Load a taxonomy from a file, from what is shipped, or hand back one that is loaded.

    Args:
        source: a path, the name of a shipped taxonomy, or a `Taxonomy`.
        format: a name in `hclf.formats.READERS`; by default found by suffix and content.
        cache: whether a compiled copy in the user's cache folder may be used and made.
        options: what the format's own `read` takes, such as `levels`.

    Raises:
        TaxonomyError: the file is not a taxonomy; every fault is listed.
        UsageError: no such file or name, unknown format or option.

    >>> len(load_taxonomy("products")) >= 350
    True
    """
    if isinstance(source, Taxonomy):
        return source
    path = find(source)
    if not cache or not compiled.enabled():
        return read_file(path, format, **options)
    key = compiled.key(path, format or "", options)
    taxonomy = compiled.load(key) if key else None
    if taxonomy is None:
        taxonomy = read_file(path, format, **options)
        if key:
            compiled.store(key, taxonomy)
    return taxonomy
