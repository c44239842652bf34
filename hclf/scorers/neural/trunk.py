"""Small networks that share their input and nothing else, computed together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hclf.errors import UsageError

__all__ = ["Activation", "BatchedLinear", "Norm", "Trunk"]

Activation = Literal["relu", "gelu"]
Norm = Literal["none", "layer", "batch"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": functional.relu, "gelu": functional.gelu}


class BatchedLinear(nn.Module):
    """One `nn.Linear` for each member, each started on its own as `nn.Linear` starts.

    Args:
        members: how many.
        width, out: of input and output.
    """

    def __init__(self, members: int, width: int, out: int) -> None:
        super().__init__()
        bound = width**-0.5 if width else 0.0
        self.weight = nn.Parameter(torch.empty(members, out, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, out).uniform_(-bound, bound))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (members, documents, out) for (members or 1, documents, width)."""
        members = len(self.bias)
        if members == 1:
            return functional.linear(hidden, self.weight[0], self.bias[0])
        return torch.baddbmm(
            self.bias[:, None], hidden.expand(members, *hidden.shape[1:]), self.weight.transpose(1, 2)
        )


class Trunk(nn.Module):
    """Layers of linear map, norm, activation and dropout; every member has its own weights and its own dropout.

    Args:
        width: of the input.
        members: networks side by side.
        hidden: width of every layer.
        layers: 0 passes the input on.
        dropout: share of a layer's outputs set to 0 in training, 0 to 1.
        activation: "relu" or "gelu".
        norm: "layer", "batch" or "none": before the activation.

    Raises:
        UsageError: an option is out of range.

    Attributes:
        width_out: of the output.
    """

    def __init__(
        self,
        width: int,
        *,
        members: int = 1,
        hidden: int = 0,
        layers: int = 0,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        if layers < 0 or members < 1 or (layers and hidden < 1):
            raise UsageError(f"no network of {members} members, {layers} layers and hidden width {hidden}")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout is from 0 to below 1, not {dropout}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        if norm not in ("none", "layer", "batch"):
            raise UsageError(f"norm is one of none, layer, batch, not {norm!r}")
        self.dropout, self.activation = dropout, activation
        self.width_out = hidden if layers else width
        widths = [width, *[hidden] * layers]
        self.linears = nn.ModuleList(BatchedLinear(members, before, after) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(_norm(norm, members, hidden) for _ in range(layers))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return (members, documents, width_out) for (documents, width); with 0 layers (1, documents, width)."""
        hidden = pooled[None]
        for linear, norm in zip(self.linears, self.norms, strict=True):
            hidden = ACTIVATIONS[self.activation](norm(linear(hidden)))
            hidden = functional.dropout(hidden, self.dropout, self.training)
        return hidden


class _LayerNorm(nn.Module):
    """`nn.LayerNorm` over the last axis, scaled and shifted by each member's own weights."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.ones(members, 1, width))
        self.bias = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.addcmul(self.bias, functional.layer_norm(hidden, (self.width,)), self.weight)


class _BatchNorm(nn.Module):
    """`nn.BatchNorm1d` of each member over the documents; in training a batch needs two of them."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(members * width)

    def forward(self, hidden: Tensor) -> Tensor:
        members, documents, width = hidden.shape
        flat = hidden.transpose(0, 1).reshape(documents, members * width)
        normed: Tensor = self.norm(flat)
        return normed.reshape(documents, members, width).transpose(0, 1)


def _norm(norm: Norm, members: int, width: int) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    return _LayerNorm(members, width) if norm == "layer" else _BatchNorm(members, width)
