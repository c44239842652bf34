"""Probability given the parents, from the roots down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hclf.scorers.neural.heads.base import Head, exact
from hclf.scorers.neural.heads.siblings import Exclusive
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.losses import masked_mean

__all__ = ["ConditionalHead"]

LN2 = 0.6931471805599453


class ConditionalHead(Head):
    """The output of a node is its log-odds given that all its parents hold.

    P(node) = P(node | parents) min P(parent): along a tree the product of conditional probabilities; where a node
    has several parents, the least likely of them stands for all. So probabilities are coherent by construction.

    Exclusive siblings share a softmax, in which "none of them" takes part with an output of 0, unless the group is
    complete.

    A node learns from the documents that have all its parents, and exclusive siblings together from those of which
    it is known which one they have, or that they have none. The loss of such a group is the categorical
    cross-entropy, whatever that of the other nodes is.
    """

    name = "conditional"
    reads_exclusive = True
    grouped: Tensor
    """(k,): the nodes that are in groups."""
    group: Tensor
    """(k,): the group of each."""
    first: Tensor
    """(groups,): the first node of each group."""
    none: Tensor
    """(groups,): the output of "none of them": 0, or minus infinity where there is always one."""

    def __init__(
        self, width: int, hierarchy: Hierarchy, *, exclusive: Sequence[Exclusive] | None = None, **options: Any
    ) -> None:
        super().__init__(width, hierarchy, **options)
        groups = [(list(nodes), complete) for nodes, complete in exclusive or ()]
        sizes = torch.tensor([len(nodes) for nodes, _ in groups], dtype=torch.int64)
        grouped = torch.tensor(list(chain.from_iterable(nodes for nodes, _ in groups)), dtype=torch.int64)
        self.register_buffer("grouped", grouped, persistent=False)
        self.register_buffer("group", torch.repeat_interleave(sizes), persistent=False)
        self.register_buffer("first", grouped[sizes.cumsum(0) - sizes], persistent=False)
        none = torch.tensor([float("-inf") if complete else 0.0 for _, complete in groups])
        self.register_buffer("none", none, persistent=False)

    def _start_from(self, rates: NDArray[Any]) -> None:
        parents, children = self.hierarchy.edges.numpy()
        above = np.ones(self.hierarchy.size)
        np.minimum.at(above, children, rates[parents])
        super()._start_from(rates / np.maximum(above, np.finfo(float).tiny))

    def loss(self, raw: Tensor, truth: Tensor, known: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Return the loss of what is known where all parents hold; see `Head.loss`."""
        logits, holds = exact(raw), truth.bool()
        counts = self.hierarchy.under(holds)
        if known is not None:
            counts = counts & known
        target = holds.to(logits.dtype)
        cost = self.cost(logits, target, weights)
        if len(self.grouped):
            nodes = self.grouped
            of_pair = target[:, nodes] if weights is None else target[:, nodes] * weights[nodes]
            total = self._total(logits)
            own = of_pair * (total.index_select(-1, self.group) - logits.index_select(-1, nodes))
            cost = cost.index_copy(-1, nodes, own)
            has_one = self._any(holds)
            is_known = torch.ones_like(has_one) if known is None else ~self._any(~known)
            has_none = is_known & ~has_one & self.none.isfinite()
            cost = cost.index_add(-1, self.first, total * has_none)
            used = has_one | has_none
            counts = counts.index_copy(-1, nodes, counts[:, nodes] & used.index_select(-1, self.group))
        return masked_mean(cost, counts)

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of the mean probability; see `Head.log_odds`."""
        wide = torch.float32 if raw.device.type == "mps" else torch.float64  # 1 - P is small at the top
        log_p = self.hierarchy.chained(self.log_conditional(raw.to(wide)))
        log_q = log_of_rest(log_p)
        return (log_p.logsumexp(0) - log_q.logsumexp(0)).to(exact(raw).dtype)

    def log_conditional(self, raw: Tensor) -> Tensor:
        """Return log P(node | its parents), shaped as raw."""
        log_p = functional.logsigmoid(raw)
        if not len(self.grouped):
            return log_p
        softmax = raw.index_select(-1, self.grouped) - self._total(raw).index_select(-1, self.group)
        return log_p.index_copy(-1, self.grouped, softmax)

    def _total(self, raw: Tensor) -> Tensor:
        """Return (members, documents, groups): the logarithm of what a group's softmax divides by."""
        logits = raw.index_select(-1, self.grouped)
        none = self.none.to(raw.dtype).expand(*raw.shape[:-1], -1)
        with torch.no_grad():
            top = none.scatter_reduce(-1, self.group.expand(logits.shape), logits, "amax")
        parts = (logits - top.index_select(-1, self.group)).exp()
        return (none - top).exp().index_add(-1, self.group, parts).log() + top

    def _any(self, marked: Tensor) -> Tensor:
        """Return (documents, groups): whether a node of the group is marked."""
        count = torch.zeros(len(marked), len(self.first), dtype=torch.int64, device=marked.device)
        return count.index_add_(-1, self.group, marked[:, self.grouped].long()) > 0


def log_of_rest(log_p: Tensor) -> Tensor:
    """Return log(1 - p) for log p; where p is 1 to the last digit, of the least that can be told from it."""
    log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).tiny)
    return torch.where(log_p > -LN2, (-torch.expm1(log_p)).log(), torch.log1p(-log_p.exp()))
