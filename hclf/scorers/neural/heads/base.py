"""What a head is: from what the network knows of a document to log-odds of every node."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hclf.errors import UsageError
from hclf.scorers.neural.encoding import Encoding
from hclf.scorers.neural.heads.siblings import Exclusive
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.losses import find_loss, recursive_penalty
from hclf.scorers.neural.trunk import BatchedLinear

__all__ = ["Head", "exact", "mean_log_odds"]

RAREST = 1e-4  # a share of documents below this says no more


class Head(nn.Module):
    """A linear map from a document's vector to one number a node; what the number means is each head's own matter.

    A head has members, networks side by side that are averaged when it is asked: `forward` returns what each of them
    says, `loss` what that costs, `log_odds` what they say together. All but `forward` is in float32 at least.

    Args:
        width: of a document's vector; for heads that read tokens: of a token's.
        hierarchy: the nodes.
        members: networks side by side.
        loss: a name in `hclf.scorers.neural.losses.LOSSES`.
        rates: (size,) shares of documents that have each node, 0 to 1; the network starts out from them. None: from
            about one half.
        texts: (size, width) vectors of the nodes' texts; only heads with `reads_texts` look at them.
        exclusive: groups of nodes of which a document has one; only heads with `reads_exclusive` look at them.

    Raises:
        UsageError: there is no such loss, no member, or an array has another shape.
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
        rates: NDArray[Any] | None = None,
        texts: NDArray[Any] | None = None,
        exclusive: list[Exclusive] | None = None,
    ) -> None:
        super().__init__()
        if members < 1:
            raise UsageError(f"a head has at least 1 member, not {members}")
        self.hierarchy, self.members = hierarchy, members
        self.cost = find_loss(loss)
        self.out = BatchedLinear(members, width, hierarchy.size)
        if rates is not None:
            self._start_from(_checked("rates", rates, (hierarchy.size,)))
        if texts is not None:
            _checked("texts", texts, (hierarchy.size, width))

    def _start_from(self, rates: NDArray[Any]) -> None:
        rates = np.clip(rates, RAREST, 1 - RAREST)
        with torch.no_grad():
            self.out.bias.copy_(torch.from_numpy(np.log(rates / (1 - rates))))

    def forward(self, hidden: Tensor, encoding: Encoding) -> Tensor:
        """Return raw outputs, (members, documents, size).

        Args:
            hidden: (members or 1, documents, width), what a `Trunk` returns.
            encoding: what the encoder said of the documents; for heads that read tokens.

        Raises:
            UsageError: the head reads tokens and there are none.
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


def mean_log_odds(logits: Tensor) -> Tensor:
    """Return the log-odds of the mean of probabilities over the first axis, given their log-odds."""
    if len(logits) == 1:
        return logits[0]
    return functional.logsigmoid(logits).logsumexp(0) - functional.logsigmoid(-logits).logsumexp(0)


def exact(raw: Tensor) -> Tensor:
    """Return half precision as float32, anything else as it is."""
    return raw if raw.dtype in (torch.float32, torch.float64) else raw.float()


def _checked(what: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if array.shape != shape:
        raise UsageError(f"{what} have shape {array.shape}, not {shape}")
    return array
