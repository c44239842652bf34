"""What wrong log-odds cost, pair by pair, and what it costs a node to differ from its parents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.scorers.neural.hierarchy import Hierarchy

__all__ = ["LOSSES", "PairLoss", "asymmetric", "bce", "find_loss", "focal", "masked_mean", "recursive_penalty"]

PairLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(log-odds, truth as 0 and 1, weight of a positive or None) -> cost of each pair; shapes broadcast."""


def bce(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy of each pair, -log P(truth).

    Args:
        logits: log-odds of any shape.
        truth: 0 or 1, of a shape that broadcasts to that of logits, in its dtype.
        weights: what a positive counts, (size,) or a shape that broadcasts; None: 1.
    """
    cost = functional.softplus(logits) - truth * logits
    return cost if weights is None else cost * _of_positives(truth, weights)


def focal(logits: Tensor, truth: Tensor, weights: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of each pair, -(1 - P(truth))^gamma log P(truth) (Lin et al., 2017); see `bce`."""
    right = torch.where(truth > 0, logits, -logits)
    cost = torch.exp(gamma * functional.logsigmoid(-right)) * functional.softplus(-right)
    return cost if weights is None else cost * _of_positives(truth, weights)


def asymmetric(
    logits: Tensor,
    truth: Tensor,
    weights: Tensor | None = None,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> Tensor:
    """Return the asymmetric loss of each pair (Ridnik et al., 2021); see `bce`.

    Negatives of a probability below `margin` cost nothing, those above as if they had so much less; what is easy
    counts less by `gamma`, for negatives more so than for positives.
    """
    positive = torch.exp(gamma_positive * functional.logsigmoid(-logits)) * functional.softplus(-logits)
    shifted = (torch.sigmoid(logits) - margin).clamp(min=0)
    negative = -(shifted**gamma_negative) * torch.log1p(-shifted)
    if margin == 0:
        negative = torch.exp(gamma_negative * functional.logsigmoid(logits)) * functional.softplus(logits)
    cost = torch.where(truth > 0, positive, negative)
    return cost if weights is None else cost * _of_positives(truth, weights)


def _of_positives(truth: Tensor, weights: Tensor) -> Tensor:
    return 1 + truth * (weights - 1)


LOSSES: dict[str, PairLoss] = {"bce": bce, "focal": focal, "asymmetric": asymmetric}


def find_loss(name: str) -> PairLoss:
    """Return a loss by its name in `LOSSES`.

    Raises:
        UsageError: no loss has this name.
    """
    if name not in LOSSES:
        raise UsageError(f"unknown loss {name!r}{did_you_mean(suggest(name, LOSSES))}; known: {', '.join(LOSSES)}")
    return LOSSES[name]


def masked_mean(cost: Tensor, known: Tensor | None) -> Tensor:
    """Return the sum over members of the mean over known pairs; 0 where nothing is known.

    Args:
        cost: (members, documents, size).
        known: (documents, size) bool; None: all. What is unknown counts nothing, whatever it costs.
    """
    if known is None:
        return cost.sum() / max(cost[0].numel(), 1)
    return cost.masked_fill(~known, 0).sum() / known.sum().clamp(min=1)


def recursive_penalty(weight: Tensor, hierarchy: Hierarchy) -> Tensor:
    """Return the mean over edges of the squared distance between a node's weights and its parent's.

    Recursive regularisation (Gopal & Yang, 2013): nodes with few documents stay near their parents.

    Args:
        weight: (..., size, width); with members in front their mean.
        hierarchy: whose edges.
    """
    parents, children = hierarchy.edges
    if not len(parents):
        return weight.new_zeros(())
    difference = weight.index_select(-2, children) - weight.index_select(-2, parents)
    return difference.square().sum(-1).mean()
