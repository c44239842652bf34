"""Label sets for synthetic documents: popularity with a long tail, a co-occurrence pattern, hard rules kept."""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate, combinations
from pathlib import Path
from random import Random

import numpy as np

from hclf.data.problems import Problems
from hclf.data.resolver import LabelResolver
from hclf.data.rows import read_rows
from hclf.data.sources import OpenSource
from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.taxonomy import Taxonomy

PATTERNS = ("none", "siblings", "rules")
TOGETHER = 0.8  # how often a further label follows the pattern; else it is drawn on its own
MAX_LABELS = 20
TRIES = 10
Pairs = Mapping[tuple[str, str], float]


class LabelSampler:
    """Draws label sets: most specific nodes only, assignable, never two that a hard rule excludes.

    Args:
        taxonomy: where labels come from.
        cooccurrence: "none" (labels of a document are independent), "siblings" (children of the same parent),
            "rules" (pairs of the taxonomy's requires, code_first and code_also rules), or weights of pairs.
        labels_per_document: their mean, 1 or more; the number is geometrically distributed.
        internal_share: how often a label is an internal node, from 0 to 1.
        popularity: exponent of the long tail (Zipf); 0 makes all nodes equally frequent.
        seed: decides which nodes are popular.

    Raises:
        UsageError: an impossible option; "rules" with a taxonomy that has none; no assignable node.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        *,
        cooccurrence: str | Pairs,
        labels_per_document: float,
        internal_share: float,
        popularity: float,
        seed: int,
    ) -> None:
        if labels_per_document < 1 or not 0 <= internal_share <= 1 or popularity < 0:
            raise UsageError("labels_per_document >= 1, internal_share from 0 to 1 and popularity >= 0 are needed")
        self.taxonomy = taxonomy
        self._more = 1 - 1 / labels_per_document
        self._internal_share = internal_share
        self._excluded = _exclusions(taxonomy)
        self._siblings = cooccurrence == "siblings"
        weights = _pair_weights(taxonomy, cooccurrence)
        self._pairs, self._pair_weights = list(weights), list(weights.values())
        self._partners = _partners(weights)
        self._up = lru_cache(maxsize=100_000)(self._closure)

        usable = np.flatnonzero(taxonomy.assignable).tolist()
        usable = [j for j in usable if not self._clash(self._up(j), self._up(j))]
        if not usable:
            raise UsageError(f"taxonomy {taxonomy.id!r} has no assignable node to draw")
        ranks = list(range(len(usable)))
        Random(f"{seed} popularity").shuffle(ranks)
        self._weight = {j: (rank + 1) ** -popularity for j, rank in zip(usable, ranks, strict=True)}
        leaves = [j for j in usable if taxonomy.is_leaf[j]]
        inner = [j for j in usable if not taxonomy.is_leaf[j]]
        self._leaves = _Wheel(leaves or inner, self._weight)
        self._inner = _Wheel(inner or leaves, self._weight)

    def draw(self, random: Random) -> list[int]:
        """Return the columns of one label set, ascending."""
        labels = self._pair(random) if random.random() < self._more * TOGETHER else []
        labels = labels or [self._one(random)]
        while len(labels) < MAX_LABELS and random.random() < self._more:
            for _ in range(TRIES):
                candidate = self._further(labels, random)
                if candidate is not None and self.allowed(candidate, labels):
                    labels.append(candidate)
                    break
        return sorted(labels)

    def allowed(self, node: int, labels: list[int]) -> bool:
        """Return whether a node may join: no label twice or with its ancestor, no hard rule broken."""
        have = frozenset[int]().union(*(self._up(label) for label in labels))
        return self.unrelated(node, labels) and not self._clash(self._up(node), have)

    def unrelated(self, node: int, labels: list[int]) -> bool:
        """Return whether a node is none of the labels, above none and below none."""
        return self._up(node).isdisjoint(labels) and not any(node in self._up(label) for label in labels)

    def _pair(self, random: Random) -> list[int]:
        """Return two labels of a given pair; none where there are no pairs, or these two may not meet."""
        if not self._pairs:
            return []
        first, second = random.choices(self._pairs, self._pair_weights)[0]
        labels = [node for j in (first, second) if (node := self._below([j], random)) is not None]
        return labels if len(labels) == 2 and self.allowed(labels[1], labels[:1]) else []

    def _one(self, random: Random) -> int:
        wheel = self._inner if random.random() < self._internal_share else self._leaves
        return wheel.turn(random)

    def _further(self, labels: list[int], random: Random) -> int | None:
        if (not self._siblings and not self._partners) or random.random() >= TOGETHER:
            return self._one(random)
        label = random.choice(labels)
        if self._siblings:
            parents = self.taxonomy.parents.of(label)
            return self._below(self.taxonomy.children.of_many(parents)[1].tolist(), random)
        found = [pair for node in sorted(self._up(label)) for pair in self._partners.get(node, ())]
        if not found:
            return self._one(random)
        partner = random.choices([node for node, _ in found], [weight for _, weight in found])[0]
        return self._below([partner], random)

    def _below(self, nodes: list[int], random: Random) -> int | None:
        """Return one of the nodes, or where that may not be given, or is not specific, one below it."""
        while nodes:
            usable = [j for j in nodes if j in self._weight]
            node = _Wheel(usable or nodes, self._weight).turn(random)
            nodes = self.taxonomy.children.of(node).tolist()
            stop = not nodes or random.random() < self._internal_share
            if stop and node in self._weight:
                return node
        return None

    def _closure(self, node: int) -> frozenset[int]:
        _, columns = self.taxonomy.close_pairs(np.zeros(1, dtype=np.int64), np.array([node]))
        return frozenset(columns.tolist())

    def _clash(self, some: frozenset[int], others: frozenset[int]) -> bool:
        return any(not self._excluded[j].isdisjoint(others) for j in some if j in self._excluded)


class _Wheel:
    """Draws from items with weights."""

    def __init__(self, items: list[int], weight: Mapping[int, float]) -> None:
        self._items = items
        self._sums = list(accumulate(weight.get(j, 1e-9) for j in items))

    def turn(self, random: Random) -> int:
        at = bisect(self._sums, random.random() * self._sums[-1])
        return self._items[min(at, len(self._items) - 1)]


def read_pairs(path: str | Path, taxonomy: Taxonomy) -> dict[tuple[str, str], float]:
    """Return weights of pairs from a CSV with the columns `a`, `b` and, if wished, `weight` (1 without it).

    Raises:
        DataError: the file cannot be read, a label is unknown, or a weight is not a positive number.
    """
    problems, source = Problems(strict=True), OpenSource(path, None)
    header, records = read_rows(source, problems)
    if not {"a", "b"} <= set(header or ()):
        raise DataError(
            "the pairs of --cooccurrence need a header with the columns a, b (and weight)", file=source.name
        )
    resolve = LabelResolver(taxonomy)
    pairs = {}
    for row, record in records:
        try:
            pairs[resolve(record["a"]), resolve(record["b"])] = _weight(record.get("weight") or "1")
        except DataError as error:
            raise DataError(error.message, file=source.name, row=row) from None
    return pairs


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise DataError("a weight must be a positive number")
    return weight


def _pair_weights(taxonomy: Taxonomy, cooccurrence: str | Pairs) -> dict[tuple[int, int], float]:
    """Return the pairs of columns a pattern names, with their weights."""
    if not isinstance(cooccurrence, str):
        named = dict(cooccurrence)
    elif cooccurrence not in PATTERNS:
        hint = did_you_mean(suggest(cooccurrence, PATTERNS) or PATTERNS)
        raise UsageError(f"unknown co-occurrence pattern {cooccurrence!r}{hint}")
    elif cooccurrence == "rules":
        kinds = ("requires", "code_first", "code_also")
        named = {(r.node, other): 1.0 for r in taxonomy.rules if r.type in kinds for other in r.others}
        if not named:
            raise UsageError(f"taxonomy {taxonomy.id!r} has no {', '.join(kinds)} rules; choose another pattern")
    else:
        named = {}
    return {(taxonomy.index(a), taxonomy.index(b)): weight for (a, b), weight in named.items()}


def _partners(pairs: Mapping[tuple[int, int], float]) -> dict[int, list[tuple[int, float]]]:
    partners: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (a, b), weight in pairs.items():
        partners[a].append((b, weight))
        partners[b].append((a, weight))
    return dict(partners)


def _exclusions(taxonomy: Taxonomy) -> dict[int, set[int]]:
    """Return, for each node of a hard rule, the nodes that it and all below it never stand with."""
    excluded: dict[int, set[int]] = defaultdict(set)
    for rule in taxonomy.rules:
        pairs: list[tuple[int, int]] = []
        if rule.strength == "hard" and rule.type == "excludes":
            pairs = [(taxonomy.index(rule.node), taxonomy.index(other)) for other in rule.others]
        if rule.strength == "hard" and rule.type == "exclusive_children":
            pairs = list(combinations(taxonomy.children.of(taxonomy.index(rule.node)).tolist(), 2))
        for a, b in pairs:
            excluded[a].add(b)
            excluded[b].add(a)
    return dict(excluded)
