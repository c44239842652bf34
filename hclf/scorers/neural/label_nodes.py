"""Which label of a classifier is which node, and what its logits say of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from hclf.data import LabelResolver
from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.inputs import Ints
from hclf.taxonomy import Taxonomy, distinct

Problem: TypeAlias = Literal["multi_label", "single_label"]
"""What logits mean: the log-odds of each label (sigmoid), or a choice between all of them (softmax)."""
SURE = 1e-12  # no probability of a choice is nearer to 0 or 1


class LabelMap(NamedTuple):
    """What the labels of a model mean in a taxonomy.

    Attributes:
        nodes: (labels,) int64: the column of each label's node; -1: none.
        problems: label -> why it means no node.
        left_out: labels that mean no node because someone said so.
    """

    nodes: Ints
    problems: dict[str, str]
    left_out: tuple[str, ...] = ()


def map_labels(labels: Sequence[str], taxonomy: Taxonomy, names: Mapping[str, str | None] | None = None) -> LabelMap:
    """Return which node each label of a model means: by its id, its name or its path.

    Args:
        labels: of the model, in the order of its logits.
        taxonomy: where the nodes are.
        names: label, or its number, -> the node it means, or None: it means none.

    Raises:
        DataError: no label means a node, or a node in `names` does not exist.
        UsageError: a label in `names` is not one of the model.
    """
    resolve = LabelResolver(taxonomy)
    given = _by_label(labels, names or {})
    nodes = np.full(len(labels), -1, dtype=np.int64)
    problems: dict[str, str] = {}
    for place, label in enumerate(labels):
        if label in given:
            node = given[label]
            nodes[place] = -1 if node is None else taxonomy.index(resolve(node))
        elif len(found := resolve.candidates(label)) == 1:
            nodes[place] = taxonomy.index(found[0])
        else:
            problems[label] = resolve.explain(label)
    if (nodes < 0).all():
        first = next(iter(problems.values()), "all are left out")
        what = f"none of the model's {len(labels):,} labels is a node of taxonomy {taxonomy.id!r}"
        raise DataError(f"{what} ({first}); say which label is which node with --labels FILE (labels={{…}})")
    return LabelMap(nodes, problems, tuple(label for label, node in given.items() if node is None))


def _by_label(labels: Sequence[str], names: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return what is given for labels; a label may be called by its number, too."""
    given = {}
    for key, node in names.items():
        label = key if key in labels else labels[int(key)] if key.isdecimal() and int(key) < len(labels) else None
        if label is None:
            raise UsageError(f"the model has no label {key!r}{did_you_mean(suggest(key, labels))}")
        given[label] = node
    return given


class LabelNodes(nn.Module):
    """From logits of labels to log-odds of nodes: of those that labels mean, and of the ancestors of these.

    A node whose label the model has gets that label's logit, any other the highest of the labels below it. Where
    labels exclude each other, a node gets the log-odds of the sum of their probabilities, its own and those below.

    Args:
        label, node: (pairs,) which label counts for which node, ascending by node; nodes are numbered 0 to width - 1.
        width: how many nodes there are.
        choice: whether labels exclude each other.
    """

    label: Tensor
    node: Tensor

    def __init__(self, label: Ints, node: Ints, width: int, *, choice: bool = False) -> None:
        super().__init__()
        self.width, self.choice = width, choice
        self.register_buffer("label", torch.from_numpy(np.array(label, dtype=np.int64)), persistent=False)
        self.register_buffer("node", torch.from_numpy(np.array(node, dtype=np.int64)), persistent=False)
        self.one_each = len(node) == width

    @classmethod
    def of(cls, found: LabelMap, taxonomy: Taxonomy, problem: Problem) -> tuple[Self, Ints]:
        """Return it for the labels of a model, and the taxonomy columns of its nodes, ascending."""
        choice = problem == "single_label"
        known = np.flatnonzero(found.nodes >= 0)
        label, node = taxonomy.close_pairs(known, found.nodes[known])
        if not choice:
            own = found.nodes[label] == node
            kept = own | ~np.isin(node, found.nodes)
            label, node = label[kept], node[kept]
        order = np.lexsort((label, node))
        columns = distinct(node)
        return cls(label[order], np.searchsorted(columns, node[order]), len(columns), choice=choice), columns

    def forward(self, logits: Tensor) -> Tensor:
        """Return (documents, width) for (documents, labels)."""
        if self.choice:
            return self._chosen(logits)
        of_labels = logits[:, self.label]
        if self.one_each:
            return of_labels
        lowest = logits.new_full((len(logits), self.width), -torch.inf)
        return lowest.scatter_reduce(1, self.node.expand(len(logits), -1), of_labels, "amax")

    def _chosen(self, logits: Tensor) -> Tensor:
        """Return log-odds of sums of probabilities, which need 64 bits where they are nearly 1."""
        shares = logits.to("cpu", torch.float64).softmax(dim=1)[:, self.label.cpu()]
        sums = shares.new_zeros(len(logits), self.width).index_add(1, self.node.cpu(), shares)
        return sums.clamp(SURE, 1 - SURE).logit().to(logits)

    def own(self, labels: int) -> Ints:
        """Return the node that each of so many labels means; -1: none. Of a label's nodes that is the last."""
        found = np.full(labels, -1, dtype=np.int64)
        np.maximum.at(found, self.label.cpu().numpy(), self.node.cpu().numpy())
        return found
