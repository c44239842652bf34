"""Sets of the hierarchical multi-label literature: ARFF files with a class attribute of type `hierarchical`.

    SET.train.arff, SET.valid.arff, SET.test.arff    or SET_Train.arff, SET_Test.arff; .gz or not; any case

The hierarchy stands in the header: as paths (`01,01/01,01/01/03`: a tree, and a document's labels are paths) or as
edges (`root/GO0003674,GO0003674/GO0003774`: a DAG, and labels are names). It is edges if every item has one slash and
none stands without. A document's labels are joined by `@`, a missing value is `?`, and what follows `%`
is a comment, but in the header.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hclf.taxonomy import Taxonomy

Floats = NDArray[np.float64]

ABOVE_ALL = "root"  # of edges: stands above the real roots, no node
ROOTS = frozenset({"GO0003674", "GO0005575", "GO0008150"})  # left out of the score, as in the literature
FILE = re.compile(r"(?P<name>.+)[._](?P<part>train|valid|test)\.arff(\.gz)?", re.IGNORECASE)
ATTRIBUTE = re.compile(r"@attribute\s+(?P<name>'[^']*'|\"[^\"]*\"|\S+)\s+(?P<kind>.+)", re.IGNORECASE)
MISSING = "?"


class Arff(NamedTuple):
    """One file.

    Attributes:
        hierarchy: items of the class attribute, as they stand.
        X: (documents, columns) numbers, NaN where missing; a nominal attribute is one column of 0 and 1 a value.
        labels: of each document.
    """

    hierarchy: list[str]
    X: Floats
    labels: list[list[str]]


class Part(NamedTuple):
    """Documents and their labels."""

    X: Floats
    y: list[list[str]]

    def of(self, rows: Iterable[int]) -> Part:
        """Return some of the documents."""
        at = list(rows)
        return Part(self.X[at], [self.y[i] for i in at])

    def with_more(self, more: Part) -> Part:
        """Return these documents, then more."""
        return Part(np.concatenate([self.X, more.X]), [*self.y, *more.y])


@dataclass(frozen=True)
class HmcSet:
    """A set: its taxonomy, and two or three parts.

    Attributes:
        name: of its files.
        taxonomy: every node of the header, without what stands above the roots.
        train, test: documents.
        valid: more documents to fit on; None: there is no such part.
    """

    name: str
    taxonomy: Taxonomy
    train: Part
    test: Part
    valid: Part | None = None

    @property
    def fitted_on(self) -> Part:
        """Training and validation documents."""
        return self.train if self.valid is None else self.train.with_more(self.valid)

    def tried(self, share: float, seed: int) -> tuple[Part, Part]:
        """Return what a configuration is tried on: train and valid, or two parts of train."""
        if self.valid is not None:
            return self.train, self.valid
        order = np.random.default_rng(seed).permutation(len(self.train.y))
        apart = int(share * len(order))
        return self.train.of(sorted(order[apart:].tolist())), self.train.of(sorted(order[:apart].tolist()))

    @property
    def scored(self) -> NDArray[np.int64]:
        """The columns that count in AU(PRC): all but the roots that every document has."""
        return np.array([j for j, node in enumerate(self.taxonomy.nodes) if node not in ROOTS], dtype=np.int64)


def set_names(folder: Path) -> list[str]:
    """Return the sets in a folder that have a training and a test part."""
    parts: dict[str, set[str]] = {}
    for name, part in _files(folder):
        parts.setdefault(name, set()).add(part)
    return sorted(name for name, found in parts.items() if {"train", "test"} <= found)


def read_set(folder: Path, name: str) -> HmcSet:
    """Read a set.

    Raises:
        SystemExit: it is not there, or a file cannot be read.
    """
    files = {part: path for (of, part), path in _files(folder).items() if of == name}
    if missing := sorted({"train", "test"} - files.keys()):
        there = ", ".join(set_names(folder))
        raise SystemExit(f"{folder} has no {' or '.join(missing)} part of {name}; it has {there}")
    read = {part: read_arff(path) for part, path in files.items()}
    taxonomy = hierarchy(read["train"].hierarchy)
    parts = {part: Part(arff.X, arff.labels) for part, arff in read.items()}
    if len({part.X.shape[1] for part in parts.values()}) > 1:
        raise SystemExit(f"the parts of {name} have different attributes")
    return HmcSet(name, taxonomy, parts["train"], parts["test"], parts.get("valid"))


def hierarchy(items: Sequence[str]) -> Taxonomy:
    """Return the taxonomy of a class attribute: edges, or paths whose beginnings are nodes too."""
    if all(item.count("/") == 1 for item in items):
        edges = {(above, below) for above, below in (item.split("/") for item in items)}
        nodes = {node for edge in edges for node in edge} - {ABOVE_ALL}
        return Taxonomy(sorted(nodes), sorted((a, b) for a, b in edges if a != ABOVE_ALL))
    steps = [item.split("/") for item in items]
    paths = {"/".join(path[:end]) for path in steps for end in range(1, len(path) + 1)}
    return Taxonomy(sorted(paths), sorted((path.rpartition("/")[0], path) for path in paths if "/" in path))


def read_arff(path: Path) -> Arff:
    """Read one file.

    Raises:
        SystemExit: with the line, where it is none of this kind.
    """
    kinds: list[list[str] | None] = []
    items: list[str] | None = None
    rows: list[list[float]] = []
    labels: list[list[str]] = []
    for number, line in _lines(path):
        if found := ATTRIBUTE.fullmatch(line):
            kind = found["kind"].strip()
            if kind.lower().startswith("hierarchical"):
                items = [item.strip() for item in kind.split(None, 1)[1].split(",") if item.strip()]
            else:
                kinds.append(_values(kind))
        elif not line.startswith("@"):
            fields = [field.strip() for field in line.split(",")]
            if items is None or len(fields) != len(kinds) + 1:
                raise SystemExit(f"{path}:{number}: {len(fields)} fields, not {len(kinds) + 1}")
            try:
                rows.append([x for field, kind in zip(fields, kinds, strict=False) for x in _numbers(field, kind)])
            except ValueError:
                raise SystemExit(f"{path}:{number}: not a number: {line[:60]}") from None
            labels.append([label.strip() for label in fields[-1].split("@") if label.strip()])
    if items is None:
        raise SystemExit(f"{path}: no class attribute of type hierarchical")
    width = sum(1 if kind is None else len(kind) for kind in kinds)
    return Arff(items, np.array(rows, dtype=np.float64).reshape(len(rows), width), labels)


def _numbers(field: str, values: list[str] | None) -> list[float]:
    if field == MISSING:
        return [np.nan] * (1 if values is None else len(values))
    if values is None:
        return [float(field)]
    return [float(field.strip("'\"") == value) for value in values]


def _values(kind: str) -> list[str] | None:
    """Return the values of a nominal attribute; None: it is numeric.

    >>> _values("{a, 'b'}")
    ['a', 'b']
    """
    if not kind.startswith("{"):
        return None
    return [value.strip().strip("'\"") for value in kind.strip("{}").split(",")]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, with their numbers."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for number, line in enumerate(raw.decode("utf-8", "replace").split("\n"), start=1):
        text = (line if line.startswith("@") else line.partition("%")[0]).strip()
        if text:
            yield number, text


def _files(folder: Path) -> dict[tuple[str, str], Path]:
    """Return (set, part) -> file."""
    found = ((FILE.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {(match["name"], match["part"].lower()): path for match, path in found if match}
