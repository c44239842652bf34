"""The bundle: a saved model as a folder of JSON, YAML and plain arrays. Reading one never executes anything.

    model/
      manifest.json     format version, taxonomy fingerprint, settings, thresholds, report, checksums
      taxonomy.yaml     the taxonomy the columns belong to
      PART.json         what a part (a scorer) keeps as JSON
      PART.npz          what it keeps as arrays (never pickled objects)

A bundle is written beside its place and renamed into it, so a crash or a full disk leaves no half bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hclf._version import __version__
from hclf.errors import BundleError, TaxonomyError
from hclf.formats import yaml as taxonomy_yaml
from hclf.registry import load_taxonomy
from hclf.taxonomy import Taxonomy

FORMAT_VERSION = 2  # 2: a model may have several scorers; 1 is read as well
MANIFEST = "manifest.json"
TAXONOMY = "taxonomy.yaml"
Part = tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds: its manifest, its taxonomy, and its parts by name as (JSON, arrays)."""

    manifest: dict[str, Any]
    taxonomy: Taxonomy
    parts: dict[str, Part]


def write_bundle(
    path: str | Path,
    manifest: Mapping[str, Any],
    taxonomy: Taxonomy,
    parts: Mapping[str, Part],
    *,
    force: bool = False,
) -> None:
    """Write a bundle, atomically.

    Args:
        path: the folder to make.
        manifest: what the model says of itself, JSON-able.
        taxonomy: the taxonomy of its columns.
        parts: name -> (JSON-able values, arrays).
        force: replace an existing bundle; anything else at `path` is never removed.

    Raises:
        BundleError: `path` exists, or cannot be written.
    """
    path = Path(path)
    check_target(path, force)
    path = path.resolve()  # a link stays a link to the new model
    try:
        with _beside(path) as folder:
            taxonomy_yaml.write(taxonomy, folder / TAXONOMY)
            for name, (values, arrays) in parts.items():
                (folder / f"{name}.json").write_text(_json(values), encoding="utf-8")
                np.savez(folder / f"{name}.npz", allow_pickle=False, **dict(arrays))
            about = {
                "format_version": FORMAT_VERSION,
                "hclf": __version__,
                "taxonomy": {**taxonomy.header, "nodes": len(taxonomy), "fingerprint": taxonomy.fingerprint},
                **manifest,
                "parts": list(parts),
                "files": {file.name: _checksum(file) for file in sorted(folder.iterdir())},
            }
            about["checksum"] = _digest(about)
            (folder / MANIFEST).write_text(_json(about, indent=2) + "\n", encoding="utf-8")
            _flush(folder)
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror or error}") from error


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Return a bundle's manifest without loading the model.

    Raises:
        BundleError: no bundle there, or one of a newer format.
    """
    file = Path(path) / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = manifest["format_version"]
    except FileNotFoundError:
        raise BundleError(f"{path} is not a model: it has no {MANIFEST}; make one with `hclf train`") from None
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BundleError(f"{file} is damaged: not the manifest of a model") from None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise BundleError(
            f"{path} has format version {version}, hclf {__version__} reads up to {FORMAT_VERSION}: upgrade hclf"
        )
    if manifest.get("checksum") != _digest(manifest):
        raise BundleError(f"{file} is damaged: it does not match its checksum")
    checked: dict[str, Any] = manifest
    return checked


def read_bundle(path: str | Path, *, taxonomy: Taxonomy | None = None) -> Bundle:
    """Read a bundle and verify its checksums.

    Args:
        path: the bundle's folder.
        taxonomy: the taxonomy it must belong to; by default the one inside.

    Raises:
        BundleError: not a bundle, damaged, of a newer format, or of another taxonomy.
    """
    path = Path(path)
    manifest = read_manifest(path)
    try:
        _verify(path, manifest["files"], manifest["parts"])
        about = manifest["taxonomy"]
        inside = load_taxonomy(path / TAXONOMY)
        for found in (inside, taxonomy or inside):
            if found.fingerprint != about["fingerprint"]:
                raise BundleError(
                    f"{path} was made for taxonomy {about['id']!r} ({about['nodes']} nodes, fingerprint "
                    f"{about['fingerprint'][:8]}), not for {found.id!r} ({len(found)} nodes, {found.fingerprint[:8]})"
                )
        return Bundle(manifest, inside, {name: _read_part(path, name) for name in manifest["parts"]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TaxonomyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} is damaged: {error}") from error


def _read_part(path: Path, name: str) -> Part:
    values = json.loads((path / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(path / f"{name}.npz", allow_pickle=False) as arrays:
        return values, {key: arrays[key] for key in arrays.files}


def _json(value: Any, indent: int | None = None) -> str:
    """Return JSON; numpy's scalars and arrays, which settings may be, as plain values."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=lambda v: v.tolist())


def _digest(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(_json(rest).encode()).hexdigest()


def _verify(path: Path, files: Mapping[str, str], parts: Sequence[str]) -> None:
    wanted = {TAXONOMY, *(f"{part}.{kind}" for part in parts for kind in ("json", "npz"))}
    if unlisted := sorted(wanted - files.keys()):
        raise BundleError(f"{path} is damaged: {unlisted[0]} has no checksum in {MANIFEST}")
    for name, checksum in files.items():
        if Path(name).name != name:
            raise BundleError(f"{path} is damaged: file name {name!r} leads elsewhere")
        if not (path / name).is_file():
            raise BundleError(f"{path} is damaged: {name} is missing")
        if _checksum(path / name) != checksum:
            raise BundleError(f"{path} is damaged: {name} does not match its checksum")


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_target(path: Path, force: bool) -> None:
    """Refuse a place that is taken: by a model unless `force` is set, by anything else always.

    Raises:
        BundleError: it is.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MANIFEST).is_file():
        raise BundleError(f"{path} exists and is not a model; choose another place")
    if not force:
        raise BundleError(f"{path} exists; overwrite it with -f (force=True)")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a folder beside `path`; rename it to `path` if the block succeeds, remove it if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp's 0700 would hide a shared model from colleagues
        old = folder.with_name(folder.name + ".old")
        if path.exists():
            path.rename(old)
        try:
            folder.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(folder: Path) -> None:
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
