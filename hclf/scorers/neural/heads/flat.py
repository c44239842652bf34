"""One output a node: each on its own, or tied by the maximum over descendants."""

from __future__ import annotations

import torch
from torch import Tensor

from hclf.scorers.neural.heads.base import Head, exact, mean_log_odds
from hclf.scorers.neural.losses import masked_mean

__all__ = ["FlatHead", "MaxConstraintHead"]


class FlatHead(Head):
    """Each node on its own (binary relevance)."""

    name = "flat"

    def loss(self, raw: Tensor, truth: Tensor, known: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Return the loss of each node's log-odds; see `Head.loss`."""
        logits = exact(raw)
        return masked_mean(self.cost(logits, truth.to(logits.dtype), weights), known)

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of the mean probability; see `Head.log_odds`."""
        return mean_log_odds(exact(raw))


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
        # Labels are closed, so nothing that holds lies below what does not: when what holds outranks what does not,
        # and that what is unknown, one pass finds the likeliest for both kinds of nodes.
        rank = truth.to(torch.int8) + 1
        if known is not None:
            rank *= known
        logits = exact(raw)
        likeliest = logits.gather(-1, self.hierarchy.winners(logits, rank))
        return super().loss(likeliest, truth, known, weights)

    def log_odds(self, raw: Tensor) -> Tensor:
        """Return the log-odds of the mean of the members' coherent probabilities; see `Head.log_odds`."""
        return mean_log_odds(self.hierarchy.coherent(exact(raw)))
