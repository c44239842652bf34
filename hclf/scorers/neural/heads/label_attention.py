"""Every node reads the document for itself: one attention over all tokens of all its chunks for each node."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hclf.errors import UsageError
from hclf.scorers.neural.encoding import Encoding
from hclf.scorers.neural.heads.base import exact
from hclf.scorers.neural.heads.flat import FlatHead
from hclf.scorers.neural.hierarchy import Hierarchy

__all__ = ["LabelAttentionHead"]

SCORES_AT_A_TIME = {"cpu": 2**22, "cuda": 2**26}


class LabelAttentionHead(FlatHead):
    """One query a node over all tokens, then a dot product with the node's weights (Mullenbach et al., 2018).

    The softmax of a node runs over all tokens of a document, across its chunks. With `attention_width` queries meet
    tanh of a projection of the tokens (Vu et al., 2020). Queries start from the nodes' texts, if there are any, so
    that a node looks at first for words like its own.

    Nodes are taken a part at a time, and their attention is computed again in the backward pass: memory goes with
    tokens times the nodes of a part, not of the taxonomy.

    Args:
        width, hierarchy, texts, options: see `Head`; width is that of a token.
        attention_width: of queries; None: that of tokens, without a projection.
        at_a_time: (token, node) pairs to look at in one part; None: what suits the device.
    """

    name = "label_attention"
    needs_tokens = True
    reads_texts = True

    def __init__(
        self,
        width: int,
        hierarchy: Hierarchy,
        *,
        texts: NDArray[Any] | None = None,
        attention_width: int | None = None,
        at_a_time: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(width, hierarchy, texts=texts, **options)
        if attention_width is not None and attention_width < 1:
            raise UsageError(f"attention_width is at least 1, not {attention_width}")
        self.at_a_time = at_a_time
        self.project = None if attention_width is None else nn.Linear(width, attention_width)
        self.queries = nn.Parameter(torch.randn(self.members, hierarchy.size, attention_width or width))
        if texts is not None:
            self._look_for(torch.from_numpy(texts))

    @torch.no_grad()
    def _look_for(self, texts: Tensor) -> None:
        """Point the queries to the texts; a node without one keeps its random query."""
        keys = self._keys(functional.normalize(texts.to(self.queries.dtype), dim=-1) * texts.shape[-1] ** 0.5)
        queries = functional.normalize(keys, dim=-1) * keys.shape[-1] ** 0.5
        has_text = texts.any(-1)
        self.queries[:, has_text] = queries[has_text]

    def _keys(self, tokens: Tensor) -> Tensor:
        keys: Tensor = tokens if self.project is None else torch.tanh(self.project(tokens))
        return keys

    def forward(self, hidden: Tensor, encoding: Encoding) -> Tensor:
        """Return raw outputs from the tokens alone; see `Head.forward`."""
        tokens, mask, document = encoding.tokens, encoding.mask, encoding.document
        if tokens is None or mask is None or document is None:
            raise UsageError(f"head {self.name!r} reads tokens; the encoder has none: use another head")
        keys = self._keys(tokens)
        queries, weight = self.queries.flatten(0, 1), self.out.weight.flatten(0, 1)
        documents, nodes = len(encoding.pooled), len(queries)
        at_a_time = self.at_a_time or SCORES_AT_A_TIME.get(tokens.device.type, SCORES_AT_A_TIME["cpu"])
        part = max(1, at_a_time // max(mask.numel(), 1))
        again = torch.is_grad_enabled() and part < nodes
        said: list[Tensor] = []
        # split, not slices: the gradient of a slice is as large as the whole.
        for some, their in zip(torch.split(queries, part), torch.split(weight, part), strict=True):
            inputs = (keys, tokens, mask, document, some, their, documents)
            said.append(checkpoint(_read, *inputs, use_reentrant=False) if again else _read(*inputs))
        raw = torch.cat(said, dim=1) + self.out.bias.flatten()
        return raw.reshape(documents, self.members, -1).transpose(0, 1)


def _read(
    keys: Tensor, tokens: Tensor, mask: Tensor, document: Tensor, queries: Tensor, weight: Tensor, documents: int
) -> Tensor:
    """Return (documents, nodes): the mean, by attention, of what each token says of a node."""
    scores = exact(keys @ queries.T) * queries.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
    with torch.no_grad():
        of_chunk = scores.amax(1)
        best = of_chunk.new_full((documents, len(queries)), torch.finfo(scores.dtype).min)
        best.scatter_reduce_(0, document[:, None].expand_as(of_chunk), of_chunk, "amax")
    attention = (scores - best[document][:, None]).exp() * mask[..., None]
    said = (attention * (tokens @ weight.T)).sum(1)
    empty = said.new_zeros(documents, len(queries))
    total = empty.index_add(0, document, attention.sum(1)).clamp(min=torch.finfo(empty.dtype).tiny)
    mean: Tensor = empty.index_add(0, document, said) / total
    return mean
