"""No head of ours: the encoder is a classifier already."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hclf.errors import UsageError
from hclf.scorers.neural.encoding import Encoding
from hclf.scorers.neural.heads.flat import FlatHead
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.losses import find_loss

__all__ = ["NativeHead"]


class NativeHead(FlatHead):
    """Each node on its own, by the head that the language model has itself; see `hclf.scorers.neural.native`.

    It has no weights. So where nodes start from, their texts and their parents play no part.

    Raises:
        UsageError: several members, or an encoder that is no classifier of these nodes.
    """

    name = "native"

    def __init__(
        self, width: int, hierarchy: Hierarchy, *, members: int = 1, loss: str = "bce", **others: Any
    ) -> None:
        nn.Module.__init__(self)
        if members != 1:
            raise UsageError(f"head 'native' is the language model's own: it has one member, not {members}")
        if width != hierarchy.size:
            raise UsageError(f"head 'native' needs a classifier of {hierarchy.size:,} nodes, not {width:,} numbers")
        self.hierarchy, self.members, self.cost = hierarchy, members, find_loss(loss)

    def forward(self, hidden: Tensor, encoding: Encoding) -> Tensor:
        """Return what the encoder says, (1, documents, size)."""
        return hidden

    def penalty(self) -> Tensor:
        """Return 0: there are no weights of nodes."""
        return torch.zeros((), requires_grad=True)
