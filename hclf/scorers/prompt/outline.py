"""What prompts say of a taxonomy: names, short notes, children, and which of them exclude each other."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hclf.taxonomy import Edges, Rule, Taxonomy

Ints = NDArray[np.int64]

TOP = -1  # stands above the roots, whose question is the first
LETTERS = string.ascii_uppercase[:-1]
NO_LETTER = "Z"  # is "none of these" where options are letters
SEPARATOR = " > "


class Page(NamedTuple):
    """Options that are shown together.

    Attributes:
        parent: the column whose children they are; `TOP`: the roots, or in one prompt for all any nodes.
        options: columns.
        depths: of each option, how far it is indented.
        codes: what each option is called in the answer; the last is "none of these".
    """

    parent: int
    options: tuple[int, ...]
    depths: tuple[int, ...]
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """A taxonomy as prompts show it.

    Attributes:
        names: of each column; the children of a node have different ones.
        notes: of each column, its description; "" where there is none.
        parents: adjacency; columns are in the taxonomy's order, parents first.
        levels: (nodes,) from 1.
        excludes: (column, column, strict): they do not go together; strict: never.
        at_most: column -> how many of its children may hold; `TOP` for the roots is never there.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]
    parents: Edges
    levels: Ints
    excludes: tuple[tuple[int, int, bool], ...]
    at_most: Mapping[int, int]

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Self:
        """Take over what prompts need of a taxonomy."""
        nodes = [taxonomy.node(j) for j in range(len(taxonomy))]
        return cls(
            tuple(_told_apart(taxonomy, [" ".join(node.name.split()) for node in nodes])),
            tuple(" ".join(node.description.split()) for node in nodes),
            taxonomy.parents,
            taxonomy.levels,
            tuple(_excluded(taxonomy)),
            {taxonomy.index(rule.node): _most(rule) for rule in taxonomy.rules if _limits_children(rule)},
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def children(self) -> Edges:
        """Adjacency the other way round."""
        child = np.repeat(np.arange(len(self)), np.diff(self.parents.indptr))
        order = np.argsort(self.parents.indices, kind="stable")
        counts = np.bincount(self.parents.indices, minlength=len(self))
        return Edges(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), child[order])

    @cached_property
    def roots(self) -> Ints:
        """Columns without parents."""
        return np.flatnonzero(np.diff(self.parents.indptr) == 0)

    @cached_property
    def depth(self) -> int:
        """The deepest level; 0 for an empty taxonomy."""
        return int(self.levels.max(initial=0))

    def below(self, parent: int) -> Ints:
        """Return the children of a column, or the roots for `TOP`."""
        return self.roots if parent == TOP else self.children.of(parent)

    def path(self, column: int) -> str:
        """Return the names from a root down to a column, by first parents."""
        steps: list[str] = []
        while column != TOP:
            steps.append(self.names[column])
            above = self.parents.of(column)
            column = int(above[0]) if len(above) else TOP
        return SEPARATOR.join(reversed(steps))

    @cached_property
    def _excluded(self) -> dict[int, list[tuple[int, bool]]]:
        found: dict[int, list[tuple[int, bool]]] = {}
        for one, other, strict in self.excludes:
            found.setdefault(one, []).append((other, strict))
        return found

    def conflicts(self, columns: Sequence[int]) -> list[tuple[int, int, bool]]:
        """Return the pairs among some columns that do not go together, by their places, and whether they never do."""
        place = {column: at for at, column in enumerate(columns)}
        found = {
            (min(at, place[other]), max(at, place[other])): strict
            for column, at in place.items()
            for other, strict in self._excluded.get(column, ())
            if other in place
        }
        return [(one, other, strict) for (one, other), strict in sorted(found.items())]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "names": list(self.names),
            "notes": list(self.notes),
            "parents": [self.parents.indptr.tolist(), self.parents.indices.tolist()],
            "levels": self.levels.tolist(),
            "excludes": [list(rule) for rule in self.excludes],
            "at_most": [[column, k] for column, k in self.at_most.items()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` returned."""
        indptr, indices = (np.array(values, dtype=np.int64) for values in data["parents"])
        return cls(
            tuple(data["names"]),
            tuple(data["notes"]),
            Edges(indptr, indices),
            np.array(data["levels"], dtype=np.int64),
            tuple((one, other, strict) for one, other, strict in data["excludes"]),
            dict(data["at_most"]),
        )


def codes_for(options: int) -> tuple[str, ...]:
    """Return what options are called, and last what "none of these" is: letters, or numbers of equal length.

    No code is the beginning of another, so each is told by its own tokens; letters are one token nearly everywhere.

    >>> codes_for(3), codes_for(30)[0], codes_for(30)[-1]
    (('A', 'B', 'C', 'Z'), '01', '00')
    """
    if options <= len(LETTERS):
        return (*LETTERS[:options], NO_LETTER)
    width = len(str(options))
    return (*(f"{number:0{width}}" for number in range(1, options + 1)), "0" * width)


class Pager:
    """Spreads options over pages.

    Args:
        outline: of the taxonomy.
        size: options of a page, at most.
        whole: all nodes at once instead of the children of one.
    """

    def __init__(self, outline: Outline, size: int, *, whole: bool = False) -> None:
        self.outline, self.size, self.whole = outline, size, whole
        self._made: dict[int, list[Page]] = {}

    def pages(self, parent: int) -> list[Page]:
        """Return the pages of the children of a column; about equally many a page."""
        if parent not in self._made:
            self._made[parent] = list(self._make(parent))
        return self._made[parent]

    def columns(self, parent: int) -> list[int]:
        """Return the options of all pages, in their order."""
        return [column for page in self.pages(parent) for column in page.options]

    def _make(self, parent: int) -> Iterator[Page]:
        options = list(_walk(self.outline)) if self.whole else [(c, 0) for c in self.outline.below(parent).tolist()]
        count = -(-len(options) // self.size)
        ends = [round(len(options) * k / count) for k in range(count + 1)] if count else []
        for start, end in pairwise(ends):
            columns, depths = zip(*options[start:end], strict=True)
            yield Page(parent, columns, depths, codes_for(end - start))


def _walk(outline: Outline) -> Iterator[tuple[int, int]]:
    """Yield every column with its depth, parents before children; one with several parents below the first."""
    stack = [(column, 0) for column in reversed(outline.roots.tolist())]
    while stack:
        column, depth = stack.pop()
        yield column, depth
        own = [child for child in outline.children.of(column).tolist() if outline.parents.of(child)[0] == column]
        stack.extend((child, depth + 1) for child in reversed(own))


def _told_apart(taxonomy: Taxonomy, names: list[str]) -> list[str]:
    """Return names so that no two children of a node are called the same: such ones have their ids behind them."""
    groups = [np.flatnonzero(taxonomy.is_root), *(taxonomy.children.of(j) for j in range(len(taxonomy)))]
    alike = set()
    for columns in groups:
        times = Counter(names[column] for column in columns.tolist())
        alike |= {column for column in columns.tolist() if times[names[column]] > 1}
    return [f"{name} [{taxonomy.nodes[j]}]" if j in alike else name for j, name in enumerate(names)]


def _excluded(taxonomy: Taxonomy) -> Iterator[tuple[int, int, bool]]:
    for rule in taxonomy.rules:
        if rule.type == "excludes" and rule.scope != "below":
            for other in rule.others:
                yield taxonomy.index(rule.node), taxonomy.index(other), rule.strength == "hard"


def _limits_children(rule: Rule) -> bool:
    return rule.type == "exclusive_children" or (rule.type == "at_most" and not rule.others)


def _most(rule: Rule) -> int:
    return rule.k if rule.type == "at_most" else 1
