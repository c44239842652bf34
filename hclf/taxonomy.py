"""`Taxonomy`: the immutable plan that everything else only indexes.

A taxonomy is a directed acyclic graph. Its node order is a pure function of the graph, not of the file it
came from: by level (the longest path from a root; roots are level 1), then by id. So parents come before
children, each level is one slice of columns, and the same taxonomy read from YAML, a table or a bundle has
the same columns and the same fingerprint.

Adjacency is kept as two CSR pairs (`indptr`, `indices`): nothing here ever allocates nodes x nodes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hclf.errors import Fault, TaxonomyError, UnknownNodeError, UsageError, did_you_mean, suggest
from hclf.isotonic import nearest_coherent

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["CoherenceMethod", "Edges", "Node", "Rule", "RuleScope", "RuleType", "Taxonomy"]

CoherenceMethod = Literal["max", "min", "isotonic"]
RuleType = Literal["excludes", "requires", "code_first", "code_also", "exclusive_children", "at_most"]
RuleScope = Literal["all", "node", "below"]
RULE_TYPES: tuple[RuleType, ...] = (
    "excludes",
    "requires",
    "code_first",
    "code_also",
    "exclusive_children",
    "at_most",
)
RULE_SCOPES: tuple[RuleScope, ...] = ("all", "node", "below")
Ints = NDArray[np.int64]
Float = TypeVar("Float", bound=np.floating[Any])
HINTED_FAULTS = 20  # "did you mean" looks through every id; past this many faults of a kind it would take minutes
ROWS_AT_A_TIME = 32  # of scores: what is gathered of them stays in the processor's cache
_NOTHING: Mapping[str, Any] = {}


def _nothing() -> Mapping[str, Any]:
    return _NOTHING  # one for all nodes: a million empty dicts are 64 MB


@dataclass(frozen=True, slots=True)
class Node:
    """What a taxonomy says of one node. Texts are keyed by language code, "" when none is given."""

    id: str
    names: Mapping[str, str] = field(default_factory=_nothing)
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    description: str = ""
    assignable: bool = True
    valid_from: dt.date | None = None
    valid_to: dt.date | None = None
    meta: Mapping[str, Any] = field(default_factory=_nothing)

    @property
    def name(self) -> str:
        """The name to show: without language if there is one, else English, else the first, else the id."""
        names = self.names
        return names.get("") or names.get("en") or next(iter(names.values()), "") or self.id

    @property
    def texts(self) -> list[str]:
        """The different texts about it: names and synonyms in all languages, and the description."""
        texts = [*self.names.values(), *(s for group in self.synonyms.values() for s in group), self.description]
        return list({text.casefold(): text for text in texts if text.strip()}.values())


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about which nodes may stand together. A node in a rule stands for itself and all below it.

    Attributes:
        type: what the rule says; docs/rules.md has the six types.
        node: the node the rule is about.
        others: the nodes it is related to.
        strength: soft rules are only pointed out, hard ones are also enforced by `RuleBook.repair`.
        k: for `at_most`: how many.
        note: the rule in words.
        source: where the words stand, such as "excludes1 note"; "" for a rule of the taxonomy's own.
        scope: what the rule holds for: `all` the node and all below it, the `node` alone, or all `below` it.
        optional: a companion is only wanted where it is the case; that none is there is no finding.
    """

    type: RuleType
    node: str
    others: tuple[str, ...] = ()
    strength: Literal["hard", "soft"] = "soft"
    k: int = 1
    note: str = ""
    source: str = ""
    scope: RuleScope = "all"
    optional: bool = False


class Edges(NamedTuple):
    """Adjacency in CSR form: the neighbours of node j are `indices[indptr[j]:indptr[j + 1]]`, ascending."""

    indptr: Ints
    indices: Ints

    def of(self, j: int) -> Ints:
        """Return the neighbours of node j."""
        return self.indices[self.indptr[j] : self.indptr[j + 1]]

    def of_many(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Return (positions into `nodes`, neighbours): one pair for each neighbour of each node."""
        counts = self.indptr[nodes + 1] - self.indptr[nodes]
        position = np.repeat(np.arange(len(nodes)), counts)
        ends = np.cumsum(counts)
        within = np.arange(len(position)) - np.repeat(ends - counts, counts)
        return position, self.indices[np.repeat(self.indptr[nodes], counts) + within]


class Taxonomy:
    """An immutable, validated taxonomy.

    Args:
        nodes: the nodes in any order, with unique ids. A plain str is a node named by its id.
        edges: (parent id, child id) pairs.
        id, version, title, license, source: what the taxonomy says of itself.
        level_names: names of the levels from the roots down; may be shorter than the depth.
        rules: code-set rules; kept and checked here, acted on elsewhere.

    Raises:
        TaxonomyError: duplicate ids, unknown parents, self-parents, cycles (printed as a path), or rules about
            unknown nodes. All faults are collected before it is raised.

    >>> t = Taxonomy(["animals", "cats", "dogs"], [("animals", "cats"), ("animals", "dogs")])
    >>> t.nodes, t.levels.tolist()
    (('animals', 'cats', 'dogs'), [1, 2, 2])
    >>> t.coherent(np.array([[0.1, 0.7, 0.3]])).tolist()
    [[0.7, 0.7, 0.3]]
    """

    def __init__(
        self,
        nodes: Iterable[Node | str],
        edges: Iterable[tuple[str, str]] = (),
        *,
        id: str = "taxonomy",
        version: str = "",
        title: str = "",
        license: str = "",
        source: str = "",
        level_names: Sequence[str] = (),
        rules: Sequence[Rule] = (),
    ) -> None:
        given = [Node(n) if isinstance(n, str) else n for n in nodes]
        ids = [n.id for n in given]
        at = {node: i for i, node in enumerate(ids)}
        faults = []
        if len(at) < len(ids):
            faults = [Fault("duplicate node id", node=n) for n, times in Counter(ids).items() if times > 1]
        pairs, edge_faults = _index_edges(edges, at)
        faults += edge_faults
        levels, left = longest_path_levels(len(ids), pairs)
        if left.size:
            faults.append(Fault("cycle: " + " -> ".join(ids[i] for i in find_cycle(pairs, left))))
        faults += rule_faults(rules, at)
        if faults:
            raise TaxonomyError(faults)

        order = sorted(range(len(ids)), key=lambda i: (levels[i], ids[i]))
        rank = np.empty(len(ids), dtype=np.int64)
        rank[order] = np.arange(len(ids))
        self._fill(
            entries=tuple(given[i] for i in order),
            parents=_csr(len(ids), rank[pairs[:, 1]], rank[pairs[:, 0]]),
            levels=levels[order],
            header={"id": id, "version": version, "title": title, "license": license, "source": source},
            level_names=tuple(level_names),
            rules=tuple(rules),
        )

    def _fill(
        self,
        *,
        entries: tuple[Node, ...],
        parents: Edges,
        levels: Ints,
        header: Mapping[str, str],
        level_names: tuple[str, ...],
        rules: tuple[Rule, ...],
    ) -> None:
        """Set every attribute from parts that are known to be in order and consistent."""
        self.id, self.version, self.title, self.license, self.source = (
            header["id"],
            header["version"],
            header["title"],
            header["license"],
            header["source"],
        )
        self.level_names, self.rules = level_names, rules
        self._entries = entries
        self.nodes: tuple[str, ...] = tuple(entry.id for entry in entries)
        self._index: dict[str, int] = {node: j for j, node in enumerate(self.nodes)}
        self.levels: Ints = levels
        self.parents: Edges = parents
        child = np.repeat(np.arange(len(entries)), np.diff(parents.indptr))
        self.children: Edges = _csr(len(entries), parents.indices, child)
        for array in (levels, *self.parents, *self.children):
            array.setflags(write=False)

    def __copy__(self) -> Taxonomy:
        return self

    def __deepcopy__(self, memo: object) -> Taxonomy:
        return self  # immutable: scikit-learn's clone() may share it

    @classmethod
    def _from_parts(cls, **parts: Any) -> Taxonomy:
        """Build from parts a trusted source (the compiled cache, a restriction) knows to be in order."""
        taxonomy = cls.__new__(cls)
        taxonomy._fill(**parts)
        return taxonomy

    # -- reading ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __getitem__(self, node: str) -> Node:
        return self._entries[self.index(node)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taxonomy) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<Taxonomy {self.id!r}: {len(self)} nodes, depth {self.depth}>"

    def index(self, node: str) -> int:
        """Return the column of a node id; raises UnknownNodeError with the nearest ids."""
        try:
            return self._index[node]
        except KeyError:
            raise UnknownNodeError(node, self.nodes) from None

    def get(self, node: str) -> int | None:
        """Return the column of a node id, or None."""
        return self._index.get(node)

    def node(self, j: int) -> Node:
        """Return what the taxonomy says of column j."""
        return self._entries[j]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name to show for each column."""
        return tuple(entry.name for entry in self._entries)

    @cached_property
    def depth(self) -> int:
        """The deepest level; 0 for an empty taxonomy."""
        return int(self.levels[-1]) if len(self) else 0

    @cached_property
    def level_slices(self) -> tuple[slice, ...]:
        """The columns of each level, from level 1 down."""
        ends = np.searchsorted(self.levels, np.arange(1, self.depth + 1), side="right").tolist()
        return tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))

    @cached_property
    def is_leaf(self) -> NDArray[np.bool_]:
        """True for each column without children."""
        return np.equal(np.diff(self.children.indptr), 0)

    @cached_property
    def is_root(self) -> NDArray[np.bool_]:
        """True for each column without parents."""
        return np.equal(np.diff(self.parents.indptr), 0)

    @cached_property
    def is_tree(self) -> bool:
        """True when no node has more than one parent (a forest counts as a tree)."""
        return bool((np.diff(self.parents.indptr) <= 1).all())

    @cached_property
    def assignable(self) -> NDArray[np.bool_]:
        """True for each column that may be given as a label."""
        return np.fromiter((entry.assignable for entry in self._entries), dtype=bool, count=len(self))

    def level_name(self, level: int) -> str:
        """Return the name of a level (1-based), or "level 3" when it has none."""
        return self.level_names[level - 1] if 0 < level <= len(self.level_names) else f"level {level}"

    def ancestors(self, node: str) -> tuple[str, ...]:
        """Return every proper ancestor of a node, roots first."""
        return self._reach(node, self.parents)

    def descendants(self, node: str) -> tuple[str, ...]:
        """Return every proper descendant of a node, nearest level first."""
        return self._reach(node, self.children)

    def _reach(self, node: str, edges: Edges) -> tuple[str, ...]:
        start = self.index(node)
        seen = spread(np.array([start]), edges)
        return tuple(self.nodes[j] for j in seen.tolist() if j != start)

    def path(self, node: str) -> tuple[str, ...]:
        """Return one path of ids from a root to the node, by first parents."""
        j = self.index(node)
        path = [j]
        while (up := self.parents.of(path[-1])).size:
            path.append(int(up[0]))
        return tuple(self.nodes[k] for k in reversed(path))

    # -- label sets ------------------------------------------------------------------------------------------

    def closure(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Return the nodes together with all their ancestors, in node order.

        >>> Taxonomy(["a", "b", "c"], [("a", "b"), ("b", "c")]).closure(["c"])
        ('a', 'b', 'c')
        """
        start = np.array([self.index(node) for node in nodes], dtype=np.int64)
        return tuple(self.nodes[j] for j in spread(start, self.parents).tolist())

    def close_pairs(self, rows: Ints, columns: Ints) -> tuple[Ints, Ints]:
        """Add every ancestor to (row, column) pairs of label sets; sorted by row then column, each pair once.

        Works outwards one parent step at a time on the pairs alone: O(pairs of the closure x depth).
        """
        width = max(len(self), 1)
        fresh = distinct(rows.astype(np.int64) * width + columns)
        found = [fresh]
        while fresh.size:
            rows, columns = np.divmod(fresh, width)
            position, up = self.parents.of_many(columns)
            fresh = distinct(rows[position] * width + up)  # some are known already: cheaper than looking
            found.append(fresh)
        rows, columns = np.divmod(distinct(np.concatenate(found)), width)
        return rows, columns

    def most_specific(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Return the nodes that have no descendant among the given ones, in node order."""
        given = np.unique(np.array([self.index(node) for node in nodes], dtype=np.int64))
        above = spread(self.parents.of_many(given)[1], self.parents)
        return tuple(self.nodes[j] for j in np.setdiff1d(given, above).tolist())

    # -- scores ----------------------------------------------------------------------------------------------

    def coherent(self, scores: NDArray[Float], method: CoherenceMethod = "max") -> NDArray[Float]:
        """Return scores in which no node scores above any of its parents.

        Args:
            scores: (documents, nodes) or (nodes,), any float dtype; not changed.
            method: `max` raises a parent to the maximum of itself and its descendants (the MCM of Giunchiglia &
                Lukasiewicz, 2020); `min` caps a child by the minimum of itself and its ancestors; `isotonic`
                returns the nearest coherent vector in the Euclidean sense (exact on trees by pooling, Pardalos
                & Xue 1999; on DAGs by Dykstra's alternating projections, then made exact by `max`).

        Returns:
            A new array of the same shape and dtype.

        Raises:
            UsageError: the last axis is not the number of nodes, the dtype is not a float, or the method is
                unknown.
        """
        if scores.shape[-1:] != (len(self),):
            raise UsageError(f"scores have {scores.shape[-1:]} columns, the taxonomy has {len(self)} nodes")
        if scores.dtype.kind != "f":
            raise UsageError(f"scores must be floats, not {scores.dtype}")
        if method == "isotonic":
            nearest = nearest_coherent(*self.parents, np.atleast_2d(scores)).astype(scores.dtype)
            return self.coherent(nearest).reshape(scores.shape)
        if method not in ("max", "min"):
            raise UsageError(f"unknown coherence method {method!r}; choose max, min or isotonic")
        coherent = np.array(np.atleast_2d(scores), order="C")
        plan, reduce, combine = (
            (self._up_plan, np.maximum.reduceat, np.maximum)
            if method == "max"
            else (self._down_plan, np.minimum.reduceat, np.minimum)
        )
        for start in range(0, len(coherent), ROWS_AT_A_TIME):
            rows = coherent[start : start + ROWS_AT_A_TIME]
            for target, source, starts in plan:
                rows[:, target] = combine(rows[:, target], reduce(rows.take(source, axis=1), starts, axis=1))
        return coherent.reshape(scores.shape)

    def violations(self, scores: NDArray[Any], tolerance: float = 0.0) -> Ints:
        """Return, for each row of (documents, nodes) scores, how many edges have child > parent + tolerance."""
        by_node = np.atleast_2d(scores).T
        count = np.zeros(by_node.shape[1], dtype=np.int64)
        for columns in self.level_slices[1:]:
            position, parents = self.parents.of_many(np.arange(columns.start, columns.stop))
            child = by_node[columns][position]
            count += (child > by_node[parents] + tolerance).sum(axis=0)
        return count

    @cached_property
    def _up_plan(self) -> tuple[tuple[Ints, Ints, Ints], ...]:
        return self._plan(self.children, reversed(self.level_slices[:-1]))

    @cached_property
    def _down_plan(self) -> tuple[tuple[Ints, Ints, Ints], ...]:
        return self._plan(self.parents, iter(self.level_slices[1:]))

    def _plan(self, edges: Edges, slices: Iterator[slice]) -> tuple[tuple[Ints, Ints, Ints], ...]:
        """For each level: the nodes to update, their neighbours side by side, where each node's begin."""
        steps = []
        for columns in slices:
            nodes = np.arange(columns.start, columns.stop)
            nodes = nodes[edges.indptr[nodes + 1] > edges.indptr[nodes]]
            position, neighbours = edges.of_many(nodes)
            steps.append((nodes, neighbours, np.searchsorted(position, np.arange(len(nodes)))))
        return tuple(step for step in steps if step[0].size)

    # -- parts and other shapes ------------------------------------------------------------------------------

    def subtree(self, *roots: str) -> Taxonomy:
        """Return the taxonomy below the given nodes, themselves included; edges from outside are dropped."""
        start = np.array([self.index(node) for node in roots], dtype=np.int64)
        return self._restrict(
            spread(start, self.children), self.level_names[int(self.levels[start].min(initial=len(self))) - 1 :]
        )

    def up_to_level(self, level: int) -> Taxonomy:
        """Return the taxonomy of the levels 1 to `level`."""
        return self._restrict(np.flatnonzero(self.levels <= level), self.level_names[:level])

    def _restrict(self, keep: Ints, level_names: Sequence[str]) -> Taxonomy:
        ids = {self.nodes[j] for j in keep.tolist()}
        return Taxonomy(
            [self._entries[j] for j in keep.tolist()],
            [(p, c) for p, c in self.edges() if p in ids and c in ids],
            level_names=level_names,
            rules=[r for r in self.rules if r.node in ids and ids.issuperset(r.others)],
            **self.header,
        )

    @property
    def header(self) -> dict[str, str]:
        """What the taxonomy says of itself: id, version, title, license, source."""
        return {key: getattr(self, key) for key in ("id", "version", "title", "license", "source")}

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield every (parent id, child id), in the order of the children."""
        nodes = self.nodes
        for j, node in enumerate(nodes):
            for parent in self.parents.of(j).tolist():
                yield nodes[parent], node

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return a `networkx.DiGraph`, edges from parent to child, node attributes `name`, `level`, `node`."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.graph.update(self.header)
        for j, entry in enumerate(self._entries):
            graph.add_node(entry.id, name=entry.name, level=int(self.levels[j]), node=entry)
        graph.add_edges_from(self.edges())
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph[Any], **header: str) -> Taxonomy:
        """Build from a directed graph with edges from parent to child; a `name` attribute is kept.

        Raises:
            TaxonomyError: as the constructor.
        """
        nodes = [
            data["node"] if isinstance(data.get("node"), Node) else Node(str(n), {"": str(data.get("name", n))})
            for n, data in graph.nodes(data=True)
        ]
        edges = [(str(p), str(c)) for p, c in graph.edges()]
        keys = ("id", "version", "title", "license", "source")
        about: dict[str, Any] = {key: str(graph.graph[key]) for key in keys if key in graph.graph}
        return cls(nodes, edges, **{**about, **header})

    def redundant_edges(self) -> Iterator[tuple[str, str]]:
        """Yield edges (parent, child) that another path from that parent to that child makes superfluous."""
        for j in np.flatnonzero(np.diff(self.parents.indptr) > 1).tolist():
            up = self.parents.of(j)
            above = spread(self.parents.of_many(up)[1], self.parents)
            for parent in np.intersect1d(up, above).tolist():
                yield self.nodes[parent], self.nodes[j]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids, edges, names, synonyms and all else that scores, labels or rules can depend on."""
        digest = hashlib.sha256()
        digest.update("\0".join(self.nodes).encode())
        for array in self.parents:
            digest.update(array.tobytes())
        for entry in self._entries:
            digest.update(
                json.dumps(
                    [
                        dict(entry.names),
                        {k: list(v) for k, v in entry.synonyms.items()},
                        entry.description,
                        entry.assignable,
                        str(entry.valid_from),
                        str(entry.valid_to),
                        dict(entry.meta),
                    ],
                    sort_keys=True,
                    ensure_ascii=False,
                    default=str,
                ).encode()
            )
        digest.update(repr(sorted(map(repr, self.rules))).encode())
        return digest.hexdigest()[:32]

    def describe(self) -> dict[str, Any]:
        """Return counts a reader wants first: nodes, edges, roots, leaves, depth, nodes a level, and so on."""
        several = int((np.diff(self.parents.indptr) > 1).sum())
        languages = sorted({lang for e in self._entries for lang in (*e.names, *e.synonyms) if lang})
        return {
            **self.header,
            "nodes": len(self),
            "edges": len(self.parents.indices),
            "roots": int(self.is_root.sum()),
            "leaves": int(self.is_leaf.sum()),
            "assignable": int(self.assignable.sum()),
            "several_parents": several,
            "depth": self.depth,
            "levels": [
                {"level": i, "name": self.level_name(i), "nodes": s.stop - s.start}
                for i, s in enumerate(self.level_slices, start=1)
            ],
            "max_children": int(np.diff(self.children.indptr).max(initial=0)),
            "synonyms": sum(len(v) for e in self._entries for v in e.synonyms.values()),
            "languages": languages,
            "rules": len(self.rules),
            "fingerprint": self.fingerprint,
        }


# -- graph helpers on index arrays ---------------------------------------------------------------------------


def distinct(values: Ints) -> Ints:
    """Return the different values, ascending. `np.unique` hashes integers: ten times slower on millions of them."""
    if not len(values):
        return values
    ordered = np.sort(values)
    return ordered[run_starts(ordered)]


def run_starts(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the first of every run of equal values."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def spread(start: Ints, edges: Edges) -> Ints:
    """Return the sorted columns reachable from `start` along `edges`, `start` included."""
    seen = np.zeros(len(edges.indptr) - 1, dtype=bool)
    fresh = distinct(start)
    while fresh.size:
        seen[fresh] = True
        reached = edges.of_many(fresh)[1]
        fresh = distinct(reached[~seen[reached]])
    return np.flatnonzero(seen)


def longest_path_levels(n: int, pairs: Ints) -> tuple[Ints, Ints]:
    """Return (levels, nodes left over) for (edges, 2) parent-child pairs; those left lie on or below cycles.

    Kahn's algorithm, a whole frontier at a time: a node's level is fixed when its last parent has been passed.
    """
    children = _csr(n, pairs[:, 0], pairs[:, 1])
    waiting = np.bincount(pairs[:, 1], minlength=n)
    levels = np.zeros(n, dtype=np.int64)
    frontier, level = np.flatnonzero(waiting == 0), 0
    while frontier.size:
        level += 1
        levels[frontier] = level
        below, times = np.unique(children.of_many(frontier)[1], return_counts=True)
        waiting[below] -= times
        frontier = below[waiting[below] == 0]
    return levels, np.flatnonzero(levels == 0)


def find_cycle(pairs: Ints, left: Ints) -> list[int]:
    """Return one cycle, its first node repeated at the end, among the nodes Kahn's algorithm left over."""
    inside = set(left.tolist())
    parent = {c: p for p, c in pairs.tolist() if p in inside and c in inside}  # every left node has such a parent
    node = int(left[0])
    seen: dict[int, int] = {}
    walk: list[int] = []
    while node not in seen:
        seen[node] = len(walk)
        walk.append(node)
        node = parent[node]
    cycle = walk[seen[node] :][::-1]  # the walk went upwards; print it downwards
    return [*cycle, cycle[0]]


def rule_faults(rules: Sequence[Rule], known: Mapping[str, int]) -> list[Fault]:
    """Return one fault for each node a rule names that the taxonomy does not have."""
    orphans = [(rule, n) for rule in rules for n in (rule.node, *rule.others) if n not in known]
    return [
        Fault(unknown(f"node in rule '{rule.type}'", node, known, hint=i < HINTED_FAULTS), node=rule.node)
        for i, (rule, node) in enumerate(orphans)
    ]


def unknown(what: str, node: str, known: Iterable[str], *, hint: bool = True) -> str:
    """Return "unknown WHAT 'NODE'", with the nearest known ids when `hint` is set."""
    return f"unknown {what} '{node}'{did_you_mean(suggest(node, known)) if hint else ''}"


def _index_edges(edges: Iterable[tuple[str, str]], at: Mapping[str, int]) -> tuple[Ints, list[Fault]]:
    """Return the edges as unique (edges, 2) pairs of positions, and the faults of those that are not edges."""
    faults: list[Fault] = []
    flat: list[int] = []
    for parent, child in edges:
        p, c = at.get(parent), at.get(child)
        if p is None or c is None:
            missing, other, role = (parent, child, "parent") if p is None else (child, parent, "child")
            faults.append(Fault(unknown(role, missing, at, hint=len(faults) < HINTED_FAULTS), node=other))
        elif p == c:
            faults.append(Fault("a node cannot be its own parent", node=child))
        else:
            flat += (p, c)
    pairs = np.array(flat, dtype=np.int64).reshape(-1, 2)
    return np.unique(pairs, axis=0), faults


def _csr(n: int, rows: Ints, columns: Ints) -> Edges:
    order = np.lexsort((columns, rows))
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n), out=indptr[1:])
    return Edges(indptr, columns[order])
