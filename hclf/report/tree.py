"""One prediction drawn as a tree, marked against the truth when that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.text import Text
from rich.tree import Tree

from hclf.data import Prediction
from hclf.taxonomy import Taxonomy

DEEPEST_INDENT = 12  # rich drops a line whose indent fills the width; below this all nodes share one indent
RIGHT, WRONG, MISSED = ("✓", "green"), ("✗", "red"), ("○", "yellow")


def prediction_tree(
    taxonomy: Taxonomy,
    prediction: Prediction | Iterable[tuple[str, float]],
    truth: Iterable[str] | None = None,
    *,
    title: str = "",
) -> Tree:
    """Draw one prediction from the roots down, most certain first, with scores.

    With truth, each node is marked: ✓ right, ✗ wrong, ○ missed (true, not predicted). A node with several
    parents is drawn in full under the first of them, and named again under the others. "(no examples)" stands behind
    a node that no training document carries.

    Args:
        taxonomy: the taxonomy of the prediction.
        prediction: a `Prediction`, or (node id, score) pairs.
        truth: the true node ids; their ancestors are added. None: not known, nothing is marked.
        title: what stands at the top; default: the id of the prediction.

    Raises:
        UnknownNodeError: a predicted or true id the taxonomy does not have.
    """
    if isinstance(prediction, Prediction):
        scores, title = {node.id: node.score for node in prediction.labels}, title or prediction.id
        cold = [node.id for node in prediction.labels if node.cold_start]
    else:
        scores, cold = dict(prediction), []
    drawing = _Drawing(taxonomy, scores, None if truth is None else taxonomy.closure(truth), cold)
    heading = drawing.heading(title)
    tree = Tree(heading, guide_style="dim", hide_root=not heading)
    if not scores:
        tree.add(Text("unknown: no node passed its threshold", "yellow"))
    drawing.grow(tree)
    return tree


class _Drawing:
    """The nodes of one prediction and its truth, and how each is drawn."""

    def __init__(
        self, taxonomy: Taxonomy, scores: Mapping[str, float], true: Iterable[str] | None, cold: Iterable[str]
    ) -> None:
        self.taxonomy = taxonomy
        self.scores = {taxonomy.index(node): score for node, score in scores.items()}
        self.true = None if true is None else {taxonomy.index(node) for node in true}
        self.cold = {taxonomy.index(node) for node in cold}
        self.shown = self.scores.keys() | (self.true or set())
        self.drawn: set[int] = set()

    def heading(self, title: str) -> Text:
        """Return the title and, with truth, how many nodes are right, wrong and missed."""
        text = Text(title, "bold", no_wrap=True, overflow="ellipsis")
        if self.true is None:
            return text
        right = len(self.true & self.scores.keys())
        wrong, missed = len(self.scores) - right, len(self.true) - right
        for count, word, (mark, style) in (
            (right, "right", RIGHT),
            (wrong, "wrong", WRONG),
            (missed, "missed", MISSED),
        ):
            text.append("   " if text else "")
            text.append(f"{mark} {count} {word}", f"not bold {style if count else 'dim'}")
        return text

    def grow(self, tree: Tree) -> None:
        """Add all shown nodes below `tree`, without recursion: a taxonomy may be deeper than Python's stack."""
        tops = (j for j in self.shown if self.shown.isdisjoint(self.taxonomy.parents.of(j).tolist()))
        stack = [(tree, j, 1) for j in reversed(self.ordered(tops))]
        while stack:
            branch, j, depth = stack.pop()
            below = self.ordered(self.shown.intersection(self.taxonomy.children.of(j).tolist()))
            again = j in self.drawn
            stem = branch.add(self.label(j, hook=depth > DEEPEST_INDENT, see_above=again and bool(below)))
            if not again:
                self.drawn.add(j)
                beneath = stem if depth < DEEPEST_INDENT else branch
                stack += [(beneath, k, depth + 1) for k in reversed(below)]

    def ordered(self, columns: Iterable[int]) -> list[int]:
        """Return columns by falling score, missed ones last."""
        return sorted(columns, key=lambda j: (-self.scores.get(j, -1.0), j))

    def label(self, j: int, *, hook: bool, see_above: bool) -> Text:
        """Return mark, score, name and id of a node, and what is odd about it."""
        node, name = self.taxonomy.nodes[j], self.taxonomy.names[j]
        mark, style = self.mark(j)
        text = Text(no_wrap=True, overflow="ellipsis").append("↳ " if hook else "", "dim")
        if mark:
            text.append(f"{mark} ", style)
        text.append(
            f"{self.scores[j]:.2f}  " if j in self.scores else "  –   ", "cyan" if j in self.scores else "dim"
        )
        text.append(name, style)
        if j in self.scores and not self.scores.keys() >= set(self.taxonomy.parents.of(j).tolist()):
            text.append("  (a parent is not predicted)", "magenta")
        if j in self.cold:
            text.append("  (no examples)", "dim")
        if node != name:
            text.append(f"  {node}", "dim")
        return text.append("  (see above)", "dim italic") if see_above else text

    def mark(self, j: int) -> tuple[str, str]:
        """Return the mark and style of a node; none without truth."""
        if self.true is None:
            return "", ""
        return MISSED if j not in self.scores else RIGHT if j in self.true else WRONG
