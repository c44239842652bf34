"""The `.taxonomy` form of research datasets: a line a parent, `parent<TAB>child<TAB>child…`.

A node is its name. Most files hang everything under an artificial node called "Root", of which nothing can be
learnt: it is dropped, and its children become the roots.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hclf.errors import Fault, TaxonomyError
from hclf.formats._draft import Draft, refuse_ids
from hclf.formats._files import lines, write_text
from hclf.taxonomy import Node, Taxonomy

__all__ = ["check", "dumps", "read", "write"]

ROOT = "Root"


def read(path: str | Path, *, root: str = ROOT) -> Taxonomy:
    """Read a `.taxonomy` file.

    Args:
        path: the file, UTF-8, gzip by suffix.
        root: the artificial root to drop, in any case of letters, where it has no parent; "" drops nothing.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line.
    """
    return Draft.of(path, partial(_fill, root=root)).taxonomy()


def check(path: str | Path, *, root: str = ROOT) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included."""
    return Draft.of(path, partial(_fill, root=root)).check()


def _fill(draft: Draft, root: str) -> None:
    seen: dict[str, int] = {}
    edges: list[tuple[str, str]] = []
    for line, text in lines(draft.file):
        parent, *children = (cell.strip() for cell in text.rstrip("\r\n").split("\t"))
        while children and not children[-1]:
            children.pop()
        if not parent and not children:
            continue
        if not parent or not all(children):
            draft.fault("an empty name between tabs", line)
            continue
        for node in (parent, *children):
            seen.setdefault(node, line)
        edges += [(parent, child) for child in children]
    tops = seen.keys() - {child for _, child in edges}
    artificial = {node for node in tops if root and node.lower() == root.lower()}
    for node, line in seen.items():
        if node not in artificial:
            draft.node(Node(node), line)
    for parent, child in edges:
        if parent not in artificial:
            draft.edge(parent, child)


def write(taxonomy: Taxonomy, path: str | Path) -> None:
    """Write a `.taxonomy` file with an artificial "Root". Only ids and edges are kept.

    Raises:
        TaxonomyError: a root is itself called "Root"; or the file cannot be written.
    """
    write_text(path, _parts(taxonomy))


def dumps(taxonomy: Taxonomy) -> str:
    r"""Return the taxonomy as `.taxonomy` text.

    >>> dumps(Taxonomy(["a", "b"], [("a", "b")]))
    'Root\ta\na\tb\n'
    """
    return "".join(_parts(taxonomy))


def _parts(taxonomy: Taxonomy) -> Iterator[str]:
    refuse_ids(taxonomy)
    nodes = taxonomy.nodes
    called_root = [node for node in nodes if node.lower() == ROOT.lower()]
    if called_root:
        raise TaxonomyError([Fault("a node called 'Root' would be dropped when read again", node=called_root[0])])
    yield "\t".join([ROOT, *(node for node, top in zip(nodes, taxonomy.is_root, strict=True) if top)]) + "\n"
    for j, node in enumerate(nodes):
        below = taxonomy.children.of(j).tolist()
        if below:
            yield "\t".join([node, *(nodes[child] for child in below)]) + "\n"
