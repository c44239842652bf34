"""Heads: from what the network knows of a document to log-odds of every node.

A head has members, networks side by side that are averaged when it is asked: `forward` returns what each of them
says, `loss` what that costs, `log_odds` what they say together. Everything after `forward` is in float32 at least.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.scorers.neural.encoding import Encoding
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.losses import find_loss, masked_mean, recursive_penalty
from hclf.scorers.neural.trunk import BatchedLinear

__all__ = ["HEADS", "FlatHead", "Head", "MaxConstraintHead", "make_head"]


class Head(nn.Module):
    """A linear map from a document's vector to one number a node; what the number means is the heads' own matter.

    Args:
        width: of a document's vector; for heads that read tokens: of a token's.
        hierarchy: the nodes.
        members: networks side by side.
        loss: a name in `hclf.scorers.neural.losses.LOSSES`.
        texts: (size, width) vectors of the nodes' texts; only heads with `reads_texts` look at them.
        exclusive: groups of nodes of which a document has one; only heads with `reads_exclusive` look at them.

    Raises:
        UsageError: there is no such loss.
    """

    name: ClassVar[str]
    needs_tokens: ClassVar[bool] = False
    reads_texts: ClassVar[bool] = False
    reads_exclusive: ClassVar[bool] = False

    def __init__(
        self,
        width: int,
        hierarchy: Hierarchy,
        *,
        members: int = 1,
        loss: str = "bce",
        texts: NDArray[Any] | None = None,
        exclusive: Any = None,
    ) -> None:
        super().__init__()
        self.hierarchy, self.members = hierarchy, members
        self.cost = find_loss(loss)
        self.out = BatchedLinear(members, width, hierarchy.size)

    def forward(self, hidden: Tensor, encoding: Encoding) -> Tensor:
        """Return raw outputs, (members, documents, size).

        Args:
            hidden: (members or 1, documents, width), what a `Trunk` returns.
            encoding: what the encoder said of the documents; for heads that read tokens.
        """
        raw: Tensor = self.out(hidden)
        return raw

    def loss(self, raw: Tensor, truth: Tensor, known: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Return the sum over members of the mean loss over known pairs.

        Args:
            raw: (members, documents, size), from `forward`.
            truth: (documents, size), the closed labels, bool or 0 and 1.
            known: (documents, size) bool: False where the labels say nothing; None: everything is known.
            weights: (size,) what a document that has a node counts for the node; None: 1.
        """
        raise NotImplementedError

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return (documents, size): the log-odds of the probability, averaged over members."""
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """Return how far the nodes' weights are from their parents': `losses.recursive_penalty`."""
        return recursive_penalty(self.out.weight, self.hierarchy)


class FlatHead(Head):
    """Each node on its own (binary relevance)."""

    name = "flat"

    def loss(self, raw: Tensor, truth: Tensor, known: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Return the loss of each node's log-odds; see `Head.loss`."""
        logits = _exact(raw)
        return masked_mean(self.cost(logits, truth.to(logits.dtype), weights), known)

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of the mean probability; see `Head.log_odds`."""
        return mean_log_odds(_exact(raw))


class MaxConstraintHead(FlatHead):
    """A node is as likely as the likeliest at or below it (MCM, MCLoss; Giunchiglia & Lukasiewicz, 2020).

    In training a node that holds is as likely as the likeliest that holds at or below it, and one that does not hold
    as the likeliest of all at or below it; so a wrong descendant never stands in for a right one. Which node that is
    is decided on log-odds, which rise as probabilities do.

    Of nodes about which nothing is known none is ever the likeliest: they are pushed neither up nor down, whatever
    holds above them.
    """

    name = "max_constraint"

    def loss(self, raw: Tensor, truth: Tensor, known: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Return the loss of the likeliest nodes' log-odds; see `Head.loss`."""
        # Labels are closed: what holds has something that holds below it, or itself, and what does not hold has
        # nothing that does. So with "holds" over "does not" over "unknown" one pass does both cases.
        rank = truth.to(torch.int64) + 1
        if known is not None:
            rank = rank * known
        logits = _exact(raw)
        best = logits.gather(-1, self.hierarchy.winners(logits, rank))
        return super().loss(best, truth, known, weights)

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of the mean of the members' coherent probabilities; see `Head.log_odds`."""
        return mean_log_odds(self.hierarchy.coherent(_exact(raw)))


HEADS: dict[str, type[Head]] = {head.name: head for head in (FlatHead, MaxConstraintHead)}


def make_head(name: str, width: int, hierarchy: Hierarchy, **options: Any) -> Head:
    """Return a head by its name in `HEADS`, with its options.

    Raises:
        UsageError: no head has this name, or it has no such option.
    """
    if name not in HEADS:
        raise UsageError(f"unknown head {name!r}{did_you_mean(suggest(name, HEADS))}; known: {', '.join(HEADS)}")
    takes = list(signature(HEADS[name]).parameters)[2:]
    for option in options:
        if option not in takes:
            hint = did_you_mean(suggest(option, takes)) or f"; it has {', '.join(takes)}"
            raise UsageError(f"head {name!r} has no option {option!r}{hint}")
    return HEADS[name](width, hierarchy, **options)


def mean_log_odds(logits: Tensor) -> Tensor:
    """Return the log-odds of the mean of probabilities over the first axis, given their log-odds."""
    if len(logits) == 1:
        return logits[0]
    return functional.logsigmoid(logits).logsumexp(0) - functional.logsigmoid(-logits).logsumexp(0)


def _exact(raw: Tensor) -> Tensor:
    """Return half precision as float32, anything else as it is."""
    return raw if raw.dtype in (torch.float32, torch.float64) else raw.float()
