"""A taxonomy drawn as a tree that fits a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from hclf.taxonomy import Taxonomy, spread

WORTH_OPENING = 3  # a level of which fewer children a parent would fit is better told as "12 below"
NAMED_PARENTS = 2


@dataclass
class View:
    """Which nodes are shown, each with its shown children, and how many children were left out."""

    tops: list[int]
    children: dict[int, list[int]] = field(default_factory=dict)
    left_out: dict[int, int] = field(default_factory=dict)
    tops_left_out: int = 0

    @property
    def shown(self) -> set[int]:
        """The columns that appear somewhere."""
        return {*self.tops, *(child for below in self.children.values() for child in below)}


def overview(taxonomy: Taxonomy, tops: Sequence[int], *, depth: int | None, lines: int) -> View:
    """Return a view from `tops` downwards, level by level, of about as many lines as asked for.

    Args:
        taxonomy: what to show.
        tops: the columns to begin with.
        depth: levels to open, 1 being `tops` alone; None opens as many as fit.
        lines: how many nodes may be shown. Where a level does not fit, each parent shows the same number of
            children, those with most below them.
    """
    weight = _weights(taxonomy)
    first = _largest(tops, weight, lines)
    view = View(first, tops_left_out=len(tops) - len(first))
    left, frontier, seen = lines - len(first), first, set(first)
    level = 1
    while frontier and left > 0 and (depth is None or level < depth):
        below = {j: kids for j in frontier if (kids := taxonomy.children.of(j).tolist())}
        each = _fair_share([len(kids) for kids in below.values()], left)
        whole = all(len(kids) <= each for kids in below.values())
        if not below or each == 0 or (not whole and each < WORTH_OPENING and depth is None):
            break
        frontier = []
        for j, kids in below.items():
            view.children[j] = kept = _largest(kids, weight, each)
            view.left_out[j] = len(kids) - len(kept)
            left -= len(kept)
            frontier += [kid for kid in kept if kid not in seen]  # a second parent does not open it again
            seen.update(kept)
        level += 1
    return view


def branches(taxonomy: Taxonomy, leaves: Iterable[int]) -> View:
    """Return a view of one path to each of some nodes."""
    view = View([])
    seen: set[int] = set()
    for leaf in leaves:
        path = [taxonomy.index(node) for node in taxonomy.path(taxonomy.nodes[leaf])]
        for above, j in zip([None, *path], path, strict=False):
            if j not in seen:
                seen.add(j)
                (view.tops if above is None else view.children.setdefault(above, [])).append(j)
    for shown in (view.tops, *view.children.values()):
        shown.sort()
    return view


def draw(taxonomy: Taxonomy, view: View, title: str, *, mark: Callable[[int], str | None] | None = None) -> Tree:
    """Return a view as a rich tree.

    Args:
        taxonomy: what is shown.
        view: which nodes.
        title: the top line, in rich markup.
        mark: returns for a column what to say beside it, in rich markup, which also highlights it; or None.
    """
    tree = Tree(title, guide_style="dim", highlight=False)
    opened: set[int] = set()
    waiting: list[tuple[Tree, int, int | None]] = [(tree, j, None) for j in reversed(view.tops)]
    more: dict[int, tuple[Tree, int]] = {}
    while waiting:
        branch, j, above = waiting.pop()
        again = j in opened
        opened.add(j)
        kids = [] if again else view.children.get(j, [])
        text = _label(taxonomy, j, above, mark(j) if mark else None, closed=not kids, again=again)
        node = branch.add(text)
        waiting += [(node, kid, j) for kid in reversed(kids)]
        if kids and view.left_out.get(j):
            more[j] = (node, view.left_out[j])
    for node, number in more.values():
        node.add(f"[dim]… {number:,} more[/]")
    if view.tops_left_out:
        tree.add(f"[dim]… {view.tops_left_out:,} more[/]")
    return tree


def _label(taxonomy: Taxonomy, j: int, above: int | None, said: str | None, *, closed: bool, again: bool) -> Text:
    node, name = taxonomy.nodes[j], taxonomy.names[j]
    style = "bold yellow" if said is not None else "bold" if above is None else ""
    parts = [f"[{style}]{escape(name)}[/]" if style else escape(name)]
    if node != name:
        parts.append(f"[cyan]{escape(node)}[/]")
    if said:
        parts.append(said)
    below = len(spread(np.array([j]), taxonomy.children)) - 1 if closed and not again else 0
    if below:
        parts.append(f"[dim]{below:,} below[/]")
    if again:
        parts.append("[dim]shown above[/]")
    others = [up for up in taxonomy.parents.of(j).tolist() if up != above] if above is not None else []
    if others:
        parts.append(f"[dim italic]also under {escape(_some_names(taxonomy, others))}[/]")
    return Text.from_markup("  ".join(parts))


def _some_names(taxonomy: Taxonomy, columns: Sequence[int]) -> str:
    named = " · ".join(taxonomy.names[j] for j in columns[:NAMED_PARENTS])
    return f"{named} and {len(columns) - NAMED_PARENTS} more" if len(columns) > NAMED_PARENTS else named


def _weights(taxonomy: Taxonomy) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return about how many nodes lie below each: on a DAG those with several paths count several times."""
    weight = np.zeros(len(taxonomy), dtype=np.float64)
    for columns in reversed(taxonomy.level_slices[1:]):
        position, up = taxonomy.parents.of_many(np.arange(columns.start, columns.stop))
        np.add.at(weight, up, weight[columns][position] + 1)
    return weight


def _largest(columns: Sequence[int], weight: np.ndarray[tuple[int], np.dtype[np.float64]], number: int) -> list[int]:
    """Return the columns with most below them, in node order."""
    if len(columns) <= number:
        return list(columns)
    return sorted(sorted(columns, key=lambda j: -weight[j])[:number])


def _fair_share(sizes: Sequence[int], total: int) -> int:
    """Return the largest number such that giving each at most that many does not exceed the total."""
    low, high = 0, max(sizes, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(middle, size) for size in sizes) <= total else (low, middle - 1)
    return low
