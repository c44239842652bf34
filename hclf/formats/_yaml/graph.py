"""Checks of the graph as a whole: unknown parents, cycles, superfluous edges, siblings of one name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from hclf.formats._yaml.faults import Faults, shown
from hclf.formats._yaml.nodes import Edge, Nodes
from hclf.taxonomy import find_cycle, longest_path_levels

_STEPS = 5_000_000  # of the walk upwards for superfluous edges: a few seconds
_SHOWN_OF_CYCLE = 12


def check_graph(nodes: Nodes, faults: Faults) -> None:
    """Add every fault of the edges and of sibling names."""
    edges = list(_known_edges(nodes, faults))
    pairs = np.array([(nodes.index[e.parent], e.child) for e in edges], dtype=np.int64).reshape(-1, 2)
    levels, left = longest_path_levels(len(nodes.nodes), np.unique(pairs, axis=0))
    if left.size:
        _cycles(nodes, edges, pairs, left, faults)
    else:
        _redundant(nodes, edges, levels.tolist(), faults)
    _equal_names(nodes, edges, faults)


def _known_edges(nodes: Nodes, faults: Faults) -> Iterator[Edge]:
    """Yield each edge once, and say of the others why they are none."""
    seen: set[tuple[str, int]] = set()
    for edge in nodes.edges:
        node = nodes.nodes[edge.child].id
        if edge.parent not in nodes.index:
            faults.error(faults.unknown("parent", edge.parent, nodes.index), edge.at, node)
        elif nodes.index[edge.parent] == edge.child:
            faults.error("a node cannot be its own parent", edge.at, node)
        elif (edge.parent, edge.child) in seen:
            faults.warning(f"parent '{shown(edge.parent)}' is given twice", edge.at, node)
        else:
            seen.add((edge.parent, edge.child))
            yield edge


def _cycles(
    nodes: Nodes, edges: list[Edge], pairs: NDArray[np.int64], left: NDArray[np.int64], faults: Faults
) -> None:
    """Add one fault for each knot of cycles, at the last `parents:` entry of the cycle shown."""
    at = {(p, c): edge for (p, c), edge in zip(pairs.tolist(), edges, strict=True)}
    for members, inside in _knots(len(nodes.nodes), pairs, left):
        cycle = find_cycle(inside, members)
        steps = [at[step] for step in pairwise(cycle)]
        blamed = max(steps, key=lambda edge: (edge.explicit, edge.at.line, edge.at.column))
        path = [shown(nodes.nodes[i].id) for i in cycle]
        if len(path) > _SHOWN_OF_CYCLE:
            path[6:-6] = [f"… {len(path) - 12:,} more …"]
        faults.error("cycle: " + " -> ".join(path), blamed.at, nodes.nodes[blamed.child].id)


def _knots(
    n: int, pairs: NDArray[np.int64], left: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (nodes, edges among them) of each strongly connected component with more than one node."""
    from scipy.sparse import coo_array  # only a broken taxonomy pays for the import
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    _, label = connected_components(graph, directed=True, connection="strong")
    inside = pairs[label[pairs[:, 0]] == label[pairs[:, 1]]]
    inside = inside[np.argsort(label[inside[:, 0]], kind="stable")]
    for part in np.split(inside, np.flatnonzero(np.diff(label[inside[:, 0]])) + 1):
        yield np.unique(part), part


def _redundant(nodes: Nodes, edges: list[Edge], levels: list[int], faults: Faults) -> None:
    """Warn of each parent that is also an ancestor of another parent of the same node."""
    above: list[list[int]] = [[] for _ in nodes.nodes]
    for edge in edges:
        above[edge.child].append(nodes.index[edge.parent])
    left = _STEPS
    found: dict[tuple[int, int], int] = {}
    for child, parents in enumerate(above):
        if len(parents) > 1:
            superfluous, left = _superfluous(parents, above, levels, left)
            found |= {(up, child): via for up, via in superfluous.items()}
        if left <= 0:
            message = "the paths are too many to look for superfluous parents from here on"
            faults.warning(message, nodes.at[child], nodes.nodes[child].id)
            break
    for edge in edges if found else ():
        if (via := found.get((nodes.index[edge.parent], edge.child))) is not None:
            below = f"the parent '{shown(nodes.nodes[via].id)}' already lies below it"
            message = f"redundant parent '{shown(edge.parent)}': {below}"
            faults.warning(message, edge.at, nodes.nodes[edge.child].id)


def _superfluous(
    parents: list[int], above: list[list[int]], levels: list[int], left: int
) -> tuple[dict[int, int], int]:
    """Return the parents that lie above another (which one), and how many of `left` steps are left."""
    lowest = min(levels[p] for p in parents)  # nothing above that level can be one of the parents
    below = {p: p for p in parents}  # each node seen, and the parent it was reached from
    asked = set(parents)
    found: dict[int, int] = {}
    todo = list(parents)
    while todo and left > 0:
        at = todo.pop()
        left -= len(above[at])
        for up in above[at]:
            if up in asked:
                found.setdefault(up, below[at])
            elif up not in below and levels[up] >= lowest:
                below[up] = below[at]
                todo.append(up)
    return found, left


def _equal_names(nodes: Nodes, edges: list[Edge], faults: Faults) -> None:
    """Warn of a node with the same name as another child of the same parent, or as another root."""
    nested = {edge.child for edge in edges}
    roots = (("", i, at) for i, at in enumerate(nodes.at) if i not in nested)
    children = ((edge.parent, edge.child, edge.at) for edge in edges)
    seen: dict[tuple[str, str], int] = {}
    for parent, i, at in chain(roots, children):
        name = nodes.nodes[i].name
        first = seen.setdefault((parent, name), i)
        if first != i:
            under = f"under '{shown(parent)}'" if parent else "at the top"
            other = f"'{shown(nodes.nodes[first].id)}' (line {nodes.at[first].line})"
            message = f"name '{shown(name)}' is also that of {other} {under}"
            faults.warning(message, at, nodes.nodes[i].id)
