"""`Hierarchy`: the trained part of a taxonomy as tensors, and coherence as something gradients flow through.

Which descendant gives a node its maximum is found without gradients, all nodes of a batch together: each score
becomes one integer that sorts as the score does and carries the node's number in its low bits, so that maxima of
integers find value and node at once. Then one `gather` fetches the scores, and its gradient is one `scatter`.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import pairwise
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hclf.errors import UsageError
from hclf.taxonomy import Edges, Taxonomy

__all__ = ["Hierarchy"]

Ints = NDArray[np.int64]

# A sort key, from its highest bits: rank (2 and the sign), score (32), node.
SCORE_BITS, NODE_BITS = 32, 29
ROWS_AT_A_TIME = 32  # on a processor: what is gathered of them stays in its cache


class Hierarchy(nn.Module):
    """The nodes of a taxonomy that a network scores, numbered 0 to size - 1 in the order of the taxonomy.

    Everything is in buffers, so `to(device)` moves it; none of it is in the `state_dict`.

    Args:
        taxonomy: whose nodes they are.
        columns: taxonomy columns, ascending; with each node all its parents.

    Raises:
        UsageError: columns are not ascending, or a parent is missing.

    >>> chain = Hierarchy(Taxonomy(["a", "b", "c"], [("a", "b"), ("b", "c")]), np.arange(3))
    >>> chain.coherent(torch.tensor([[0.1, 0.2, 0.9]])).tolist() == torch.full((1, 3), 0.9).tolist()
    True
    """

    levels: Tensor
    """(size,) int64: level of each node, roots at 1."""
    edges: Tensor
    """(2, edges) int64: parents and children, ascending by child."""

    def __init__(self, taxonomy: Taxonomy, columns: Ints) -> None:
        super().__init__()
        self.columns: Ints = np.asarray(columns, dtype=np.int64)
        self.size = len(self.columns)
        if (np.diff(self.columns) <= 0).any():
            raise UsageError("columns must be ascending and different")
        child, parent = taxonomy.parents.of_many(self.columns)
        if len(missing := np.setdiff1d(parent, self.columns)):
            raise UsageError(f"columns lack the parent {taxonomy.nodes[missing[0]]!r} of a node among them")
        parent = np.searchsorted(self.columns, parent)
        self.register_buffer("levels", torch.from_numpy(taxonomy.levels[self.columns]), persistent=False)
        self.register_buffer("edges", torch.from_numpy(np.stack([parent, child])), persistent=False)
        self.parents = _adjacency(self.size, child, parent)
        # The nodes of each level below the first, and the edges that lead to them: both lie side by side.
        bounds = [slice(*ends) for ends in pairwise(_level_starts(taxonomy.levels[self.columns]))][1:]
        at = self.parents.indptr
        self._below_roots = [(nodes, slice(int(at[nodes.start]), int(at[nodes.stop]))) for nodes in bounds]
        self._up = _Merges(_adjacency(self.size, parent, child), np.arange(self.size)[::-1])
        self._down = _Merges(self.parents, np.arange(self.size))

    def coherent(self, scores: Tensor) -> Tensor:
        """Return the maximum over each node and its descendants (MCM; Giunchiglia & Lukasiewicz, 2020).

        Args:
            scores: (..., size), any float dtype. The gradient of a maximum goes to the one node that has it.
        """
        return scores.gather(-1, self.winners(scores))

    def capped(self, scores: Tensor) -> Tensor:
        """Return the minimum over each node and its ancestors; otherwise as `coherent`."""
        return scores.gather(-1, _winners(self._down, -scores))

    def winners(self, scores: Tensor, rank: Tensor | None = None) -> Tensor:
        """Return which node, it or one of its descendants, scores best for each node.

        Args:
            scores: (..., documents, size).
            rank: (documents, size) of integers, 0 to 3: a node of a higher rank wins against all of a lower one.

        Returns:
            As scores, int64. Among equal scores the last node wins.
        """
        return _winners(self._up, scores, rank)

    def under(self, truth: Tensor) -> Tensor:
        """Return (documents, size) bool: whether all parents of a node hold, given (documents, size) bool."""
        parents, children = self.edges
        absent = torch.zeros(truth.shape, dtype=torch.int32, device=truth.device)
        return absent.index_add_(-1, children, (~truth)[:, parents].int()) == 0

    def chained(self, log_conditional: Tensor) -> Tensor:
        """Return each node's own number plus the least of what its parents came to, from the roots down.

        Args:
            log_conditional: (..., size): the log-probability of each node given its parents.
        """
        parents, children = self.edges
        own = log_conditional.reshape(-1, self.size).T
        total = own.clone()
        for nodes, edges in self._below_roots:
            above = total.index_select(0, parents[edges])
            into = (children[edges] - nodes.start)[:, None].expand_as(above)
            least = torch.full_like(total[nodes], torch.inf).scatter_reduce(0, into, above, "amin")
            total[nodes] = own[nodes] + least
        return total.T.reshape(log_conditional.shape)


@torch.no_grad()
def _winners(merges: _Merges, scores: Tensor, rank: Tensor | None = None) -> Tensor:
    """Return the node of the highest rank and score that each node can reach; see `Hierarchy.winners`."""
    *stacked, documents, size = (1, *scores.shape)
    stacks = _sortable(scores).reshape(prod(stacked), documents, size)
    winners = torch.empty_like(stacks, dtype=torch.int64)
    node = torch.arange(size, device=scores.device)[:, None]
    at_a_time = min(documents, ROWS_AT_A_TIME) if scores.device.type == "cpu" else documents
    space = node.new_empty(merges.rows, at_a_time)
    for start in range(0, documents, max(at_a_time, 1)):
        rows = slice(start, min(start + at_a_time, documents))
        work = space[:, : rows.stop - start]
        low = node if rank is None else (rank[rows].T.contiguous().long() << (SCORE_BITS + NODE_BITS)) + node
        for stack, into in zip(stacks, winners, strict=True):
            torch.add(low, stack[rows].T.contiguous(), alpha=1 << NODE_BITS, out=work[:size])
            into[rows] = merges(work).bitwise_and_((1 << NODE_BITS) - 1).T
    return winners.reshape(scores.shape)


class _Merges(nn.Module):
    """The maximum of sort keys over each node and all it can reach, as few steps of many pairwise maxima.

    A row of the work space is the keys of one node over the batch, or of the better of two earlier rows. The rows
    of a node and of its neighbours' results are merged two by two, those that are ready first, so that the number
    of steps grows with the depth and only the logarithm of the number of neighbours.

    Args:
        neighbours: of each node.
        order: of the nodes, each after its neighbours.
    """

    result: Tensor
    """(size,): the row that holds the result of each node."""
    operands: Tensor
    """(2, merges): the rows of which each further row is the maximum."""

    def __init__(self, neighbours: Edges, order: Ints) -> None:
        super().__init__()
        self.size = size = len(order)
        ready, row = [0] * size, list(range(size))
        operands: list[tuple[int, int]] = []
        times: list[int] = []
        for node in order.tolist():
            waiting = [(0, node), *((ready[other], row[other]) for other in neighbours.of(node).tolist())]
            heapify(waiting)
            while len(waiting) > 1:
                _, first = heappop(waiting)
                time, second = heappop(waiting)
                heappush(waiting, (time + 1, size + len(times)))
                operands.append((first, second))
                times.append(time + 1)
            ready[node], row[node] = waiting[0]
        self.rows = size + len(times)
        by_time = np.argsort(times, kind="stable")
        place = np.arange(self.rows)
        place[size + by_time] = size + np.arange(len(times))
        self.register_buffer("result", torch.from_numpy(place[row]), persistent=False)
        pairs = place[np.array(operands, dtype=np.int64).reshape(-1, 2)[by_time]]
        self.register_buffer("operands", torch.from_numpy(np.ascontiguousarray(pairs.T)), persistent=False)
        self.starts = np.searchsorted(np.array(times)[by_time], np.arange(1, max(times, default=0) + 2)).tolist()

    def forward(self, work: Tensor) -> Tensor:
        """Return the highest key of all that each node can reach, (size, documents).

        Args:
            work: (rows, documents): the keys of the nodes, then space for the merges.
        """
        for start, end in pairwise(self.starts):
            first, second = self.operands[:, start:end]
            better = work[self.size + start : self.size + end]
            torch.maximum(work.index_select(0, first), work.index_select(0, second), out=better)
        return work.index_select(0, self.result)


def _sortable(scores: Tensor) -> Tensor:
    """Return integers of at most 32 bits that sort as scores do along the last axis."""
    if scores.dtype == torch.float64:
        ordered, order = scores.sort(dim=-1, stable=True)
        differs = (ordered.diff(dim=-1) != 0).cumsum(-1)
        return torch.zeros_like(order).scatter_(-1, order[..., 1:], differs)
    bits = scores.float().contiguous().view(torch.int32)
    magnitude = (bits >> 31).bitwise_and_(0x7FFF_FFFF)  # negative floats sort the wrong way round
    return magnitude.bitwise_xor_(bits)


def _level_starts(levels: Ints) -> list[int]:
    """Return where each level starts, and where the last one ends."""
    return [*np.flatnonzero(np.diff(levels, prepend=0)).tolist(), len(levels)]


def _adjacency(size: int, of: Ints, neighbours: Ints) -> Edges:
    """Return CSR adjacency of (node, neighbour) pairs."""
    order = np.lexsort((neighbours, of))
    indptr = np.zeros(size + 1, dtype=np.int64)
    np.cumsum(np.bincount(of, minlength=size), out=indptr[1:])
    return Edges(indptr, neighbours[order])
