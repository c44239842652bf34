"""`Draft`: a taxonomy being read. Collects nodes, edges and faults; knows on which line each node stood."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hclf.errors import Fault, TaxonomyError
from hclf.formats._files import has_control, stem
from hclf.taxonomy import Node, Rule, Taxonomy

MAX_FAULTS = 1_000  # a file of another kind has a fault on every line
MAX_SHOWN = 80  # characters of an id that cannot be one
PATH_SEPARATOR = " > "


class TooManyFaults(Exception):  # noqa: N818  (a signal between Draft and the readers, never seen outside)
    """Raised inside a reader when going on would only repeat itself."""


class Draft:
    """Nodes, edges and faults of one file.

    Kept in flat lists, one entry a node or edge and no dictionaries: a million nodes have to fit.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = str(path)
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self.header: dict[str, str] = {"id": stem(path)}
        self.level_names: Sequence[str] = ()
        self.rules: Sequence[Rule] = ()
        self._nodes: list[Node] = []
        self._lines = array("Q")
        self._parents: list[str] = []
        self._children: list[str] = []
        self._shared: dict[str, str] = {}

    @classmethod
    def of(cls, path: str | Path, fill: Callable[[Draft], None]) -> Draft:
        """Return a draft that `fill` has read the file into, or what went wrong on the way."""
        draft = cls(path)
        try:
            fill(draft)
        except TooManyFaults:
            pass
        except TaxonomyError as error:
            draft.faults += error.faults
        return draft

    def __len__(self) -> int:
        return len(self._nodes)

    def fault(self, message: str, line: int = 0, node: str = "") -> None:
        """Note an error; stop the reader when there are too many."""
        self.faults.append(Fault(_shown(message), self.file, line, node=_shown(node)))
        if len(self.faults) > MAX_FAULTS:
            raise TooManyFaults

    def warn(self, message: str, line: int = 0, node: str = "") -> None:
        """Note a warning: `check` returns it, `read` goes on."""
        self.warnings.append(Fault(_shown(message), self.file, line, node=_shown(node), severity="warning"))

    def node(self, node: Node, line: int = 0) -> bool:
        """Add a node, unless its id cannot be one; say whether it was added."""
        if message := id_fault(node.id):
            self.fault(message, line, node=node.id if len(node.id) < MAX_SHOWN else node.id[:MAX_SHOWN] + "…")
            return False
        self._nodes.append(node)
        self._lines.append(line)
        return True

    def edge(self, parent: str, child: str) -> None:
        """Add an edge. Both ends must be given as nodes at some time."""
        self._parents.append(self._shared.setdefault(parent, parent))
        self._children.append(child)

    def tree(self) -> tuple[list[str], dict[str, str]]:
        """Return the ids so far, in the order of the file, and the first parent of each node that has one."""
        parents = dict(zip(reversed(self._children), reversed(self._parents), strict=True))
        return [node.id for node in self._nodes], parents

    def taxonomy(self) -> Taxonomy:
        """Return the taxonomy, or raise TaxonomyError with every fault found."""
        taxonomy, faults = self.build()
        if taxonomy is None:
            raise TaxonomyError(faults)
        return taxonomy

    def check(self) -> tuple[Taxonomy | None, list[Fault]]:
        """Return the taxonomy (None if it has errors) and all faults, superfluous edges among them."""
        taxonomy, faults = self.build()
        if taxonomy is not None:
            line = self._line_of()
            for up, down in taxonomy.redundant_edges():
                self.warn(f"superfluous parent '{up}': also an ancestor by another path", line[down], down)
        return taxonomy, sorted([*faults, *self.warnings], key=lambda fault: (fault.line, fault.column))

    def build(self) -> tuple[Taxonomy | None, list[Fault]]:
        """Return the taxonomy (None if it has errors) and the errors."""
        faults = list(self.faults)
        if not self._nodes and not faults:
            faults = [Fault("no nodes in this file", self.file)]
        if len(faults) > MAX_FAULTS:
            faults[MAX_FAULTS:] = [Fault(f"more than {MAX_FAULTS:,} faults; the rest was not read", self.file)]
        try:
            taxonomy = Taxonomy(
                self._nodes,
                zip(self._parents, self._children, strict=True),
                level_names=self.level_names,
                rules=self.rules,
                **self.header,
            )
        except TaxonomyError as error:
            # After faults of rows, "unknown parent" would mostly repeat them: the row was left out.
            found = self._placed(error.faults)
            faults += [f for f in found if not (self.faults and f.message.startswith("unknown"))]
            return None, faults
        return (None if faults else taxonomy), faults

    def _line_of(self) -> dict[str, int]:
        return {node.id: line for node, line in zip(self._nodes, self._lines, strict=True)}

    def _placed(self, faults: Sequence[Fault]) -> list[Fault]:
        """Return the constructor's faults with file and line; a repeated id has the line of the last one."""
        line = self._line_of()
        first = {node.id: at for node, at in zip(reversed(self._nodes), reversed(self._lines), strict=True)}
        placed = []
        for fault in faults:
            node = fault.node or fault.message.removeprefix("cycle: ").partition(" -> ")[0]
            was = first.get(node, 0)
            at = line.get(node, 0) if fault.message.startswith("duplicate") else was
            message = f"{fault.message}, first on line {was}" if was != at else fault.message
            placed.append(replace(fault, message=_shown(message), file=self.file, line=at, node=_shown(fault.node)))
        return placed


def _shown(text: str) -> str:
    """Return a text so that it can stand in a line on a terminal: files hold line ends and escapes where they like.

    >>> _shown("a\\tb\\x1b[1m")
    'a b [1m'
    """
    if text.isprintable():
        return text
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())


def id_fault(node: str) -> str:
    """Return what is wrong with a node id, or "".

    >>> id_fault("a > b")
    "an id cannot contain ' > ', which separates the names of a path"
    """
    if not node:
        return "an empty id"
    if PATH_SEPARATOR in node:
        return f"an id cannot contain {PATH_SEPARATOR!r}, which separates the names of a path"
    if has_control(node):
        return "an id cannot contain control characters such as tabs or line ends"
    return ""


def refuse_ids(taxonomy: Taxonomy, extra: str = "") -> None:
    """Raise TaxonomyError for ids that would read back as others, or that hold a character of `extra`."""
    faults = []
    for node in taxonomy.nodes:
        message = id_fault(node) or ("an id with white space around it" if node != node.strip() else "")
        if not message and extra and not set(extra).isdisjoint(node):
            message = f"an id with {extra!r} cannot be written in this format; try YAML"
        if message:
            faults.append(Fault(message, node=_shown(node)))
    if faults:
        raise TaxonomyError(faults)
