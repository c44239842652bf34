"""The nearest coherent score vector: exact on a forest, by alternating projections on a DAG."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def nearest_coherent(
    indptr: Ints,
    parents: Ints,
    rows: NDArray[np.floating[Any]],
    *,
    sweeps: int = 500,
    tolerance: float = 1e-10,
) -> Floats:
    """Return for each row the nearest vector (Euclidean) in which no node exceeds any of its parents.

    Node j's parents are `parents[indptr[j]:indptr[j + 1]]`, all smaller than j. With one parent a node the
    result is exact (pooling violators from the leaves up; Pardalos & Xue, 1999). Otherwise the k-th parents of
    all nodes make the k-th forest, and the projections onto the forests are combined by Dykstra's algorithm
    (Boyle & Dykstra, 1986) until a sweep moves nothing by more than `tolerance`, or `sweeps` are used up.
    """
    counts = np.diff(indptr)
    forests = []
    for k in range(int(counts.max(initial=0))):
        up = np.full(len(counts), -1, dtype=np.int64)
        has = np.flatnonzero(counts > k)
        up[has] = parents[indptr[has] + k]
        forests.append(_Forest(up))
    out = np.array(rows, dtype=np.float64)
    for i, row in enumerate(out):
        out[i] = forests[0].project(row) if len(forests) == 1 else _dykstra(forests, row, sweeps, tolerance)
    return out


def _dykstra(forests: list[_Forest], row: Floats, sweeps: int, tolerance: float) -> Floats:
    corrections = [np.zeros_like(row) for _ in forests]
    for _ in range(sweeps):
        before = row
        for k, forest in enumerate(forests):
            corrected = row + corrections[k]
            row = forest.project(corrected)
            corrections[k] = corrected - row
        if np.abs(row - before).max(initial=0.0) <= tolerance:
            break
    return row


class _Forest:
    """One parent (or -1) a node; parents have smaller numbers than their children."""

    def __init__(self, up: Ints) -> None:
        self.up = up
        self.child = np.flatnonzero(up >= 0)
        self.parent = up[self.child]
        by_parent = np.argsort(self.parent, kind="stable")
        self.sorted_children = self.child[by_parent]
        self.ends = np.searchsorted(self.parent[by_parent], np.arange(len(up) + 1))

    def project(self, row: Floats) -> Floats:
        """Pool violators bottom-up. Costs nothing where nothing is violated."""
        violated = np.unique(self.parent[row[self.child] > row[self.parent]])
        if not violated.size:
            return row.copy()
        value, weight = row.tolist(), [1] * len(row)
        below: dict[int, list[tuple[float, int]]] = {}  # block -> heap of (-value, block) hanging under it
        absorbed: dict[int, int] = {}

        def hanging(top: int) -> list[tuple[float, int]]:
            if top not in below:
                kids = self.sorted_children[self.ends[top] : self.ends[top + 1]].tolist()
                below[top] = [(-value[kid], kid) for kid in kids]
                heapify(below[top])
            return below[top]

        waiting = [-top for top in violated.tolist()]  # deepest first: a parent's number is below its children's
        heapify(waiting)
        done = -1
        while waiting:
            top = -heappop(waiting)
            if top == done:
                continue
            done = top
            heap = hanging(top)
            while heap and -heap[0][0] > value[top]:
                _, kid = heappop(heap)
                total = weight[top] + weight[kid]
                value[top] = (value[top] * weight[top] + value[kid] * weight[kid]) / total
                weight[top] = total
                absorbed[kid] = top
                other = hanging(kid)
                if len(other) > len(heap):
                    heap, other = other, heap
                for item in other:
                    heappush(heap, item)
                below[top] = heap
            above = int(self.up[top])
            if above >= 0 and value[top] > value[above]:
                heappush(waiting, -above)
        for kid in sorted(absorbed):
            value[kid] = value[absorbed[kid]]
        return np.array(value)
