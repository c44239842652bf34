"""How candidates stand among each other, against loops over plain lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st

from hclf.scorers.phrases import FEATURES, Outline, _place
from hclf.scorers.rivals import COMPARED, FARTHEST, LEAST, PARTS, STANDINGS, Candidates, corrected, standings

SEEDS = st.integers(0, 2**32 - 1)
DOCUMENTS = 4


class Case:
    """Random candidates of a few documents in a random taxonomy; the second document has none."""

    def __init__(self, dag: Dag, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.dag, self.taxonomy = dag, dag.taxonomy
        outline = Outline.of(self.taxonomy)
        self.index: Any = SimpleNamespace(outline=outline, nodes=len(self.taxonomy), place=_place(outline))
        chosen = rng.random((DOCUMENTS, len(self.taxonomy))) < 0.6
        chosen[1] = False
        rows, columns = np.nonzero(chosen)
        n = len(rows)
        features = rng.random((n, len(FEATURES))).astype(np.float32)
        features[rng.random(n) < 0.2, 0] = 1
        logits, parts = rng.normal(0, 6, n).astype(np.float32), rng.normal(size=(4, n)).astype(np.float32)
        self.of = Candidates(DOCUMENTS, rows, columns, features, logits, parts)

    @property
    def table(self) -> dict[str, np.ndarray]:
        return dict(zip(STANDINGS, standings(self.of, self.index), strict=True))

    def document(self, i: int) -> dict[int, int]:
        """Column -> pair of one document's candidates."""
        return {int(self.of.columns[p]): int(p) for p in np.flatnonzero(self.of.rows == i)}

    def above(self, column: int) -> int | None:
        """The first parent, None above a root."""
        path = self.taxonomy.path(self.taxonomy.nodes[column])
        return self.taxonomy.index(path[-2]) if len(path) > 1 else None

    def within(self, column: int) -> set[int]:
        return {column, *map(self.taxonomy.index, self.dag.below(self.taxonomy.nodes[column]))}


def slow_standings(case: Case, i: int, j: int) -> dict[str, float]:
    """What `standings` says of one pair."""
    pairs = case.document(i)
    pair, logit = pairs[j], {k: float(case.of.logits[p]) for k, p in pairs.items()}
    odds = {k: np.exp(v - max(logit.values())) for k, v in logit.items()}
    probability = {k: v / sum(odds.values()) for k, v in odds.items()}

    def mass(column: int) -> float:
        return float(sum(probability.get(k, 0.0) for k in case.within(column)))

    def place(values: dict[int, float]) -> float:
        return float(1 / (1 + sum((v, -k) > (values[j], -j) for k, v in values.items())))

    steps = [j]
    for _ in range(3):
        up = case.above(steps[-1])
        steps.append(steps[-1] if up is None else up)
    up = case.above(j)
    relatives = {
        "parent": [k for k in pairs if k == up],
        "child": [k for k in pairs if case.above(k) == j],
        "sibling": [k for k in pairs if up is not None and case.above(k) == up and k != j],
    }
    said = {
        "logit": logit[j],
        **dict(zip(FEATURES, case.of.features[pair].tolist(), strict=True)),
        **dict(zip(PARTS, case.of.parts[:, pair].tolist(), strict=True)),
        "all words": float(case.of.features[pair, 0] > 0.999),  # 1, but for rounding
        "behind": logit[j] - max(logit.values()),
        "log probability": np.log(probability[j] + LEAST),
        "rank": place(logit),
        "probability below": mass(j) - probability[j],
        "probability in parent": mass(steps[1]),
        "probability in grandparent": mass(steps[2]),
        "probability in great-grandparent": mass(steps[3]),
        "children": np.log1p(sum(case.above(k) == j for k in range(len(case.taxonomy)))),
        "nodes below": np.log1p(len(case.within(j)) - 1),
        "depth": sum(j in case.within(k) for k in range(len(case.taxonomy))),
    }
    for name in COMPARED:
        values = {k: float(case.of.features[p, FEATURES.index(name)]) for k, p in pairs.items()}
        said[f"{name} behind"], said[f"{name} rank"] = values[j] - max(values.values()), place(values)
    for name, found in relatives.items():
        said[f"{name} listed"] = float(bool(found))
        ahead = max((logit[k] for k in found), default=logit[j]) - logit[j]
        said[f"{name} ahead"] = max(-FARTHEST, min(FARTHEST, ahead))
    return said


@settings(max_examples=60)
@given(dags(), SEEDS)
def test_standings_are_those_of_loops(dag: Dag, seed: int) -> None:
    case = Case(dag, seed)
    table = case.table
    assert len(STANDINGS) == len(set(STANDINGS))
    for pair, (i, j) in enumerate(zip(case.of.rows.tolist(), case.of.columns.tolist(), strict=True)):
        expected = slow_standings(case, i, j)
        assert expected.keys() == table.keys()
        for name, values in table.items():
            assert values[pair] == pytest.approx(expected[name], abs=1e-4), name


@settings(max_examples=30)
@given(dags(), SEEDS)
def test_standings_of_a_document_are_those_of_it_alone_bit_for_bit(dag: Dag, seed: int) -> None:
    case = Case(dag, seed)
    weights = np.random.default_rng(seed).normal(size=len(STANDINGS)).astype(np.float32)
    together = standings(case.of, case.index)
    for i in range(DOCUMENTS):
        own = case.of.rows == i
        of = Candidates(
            1,
            case.of.rows[own] - i,
            case.of.columns[own],
            case.of.features[own],
            case.of.logits[own],
            case.of.parts[:, own],
        )
        alone = standings(of, case.index)
        assert np.array_equal(alone, together[:, own])
        assert np.array_equal(corrected(alone, weights), corrected(together, weights)[own])


def test_without_candidates_there_are_no_standings() -> None:
    case = Case(Dag(("a", "b"), (("a", "b"),)), 0)
    nothing = np.zeros(0, dtype=np.int64)
    none = np.zeros(0, dtype=np.float32)
    of = Candidates(0, nothing, nothing, np.zeros((0, len(FEATURES)), np.float32), none, np.zeros((4, 0), np.float32))
    found = standings(of, case.index)
    assert found.shape == (len(STANDINGS), 0)
    assert corrected(found, np.ones(len(STANDINGS), np.float32)).shape == (0,)


def test_weights_add_up() -> None:
    values = np.arange(2 * len(STANDINGS), dtype=np.float32).reshape(len(STANDINGS), 2)
    weights = np.zeros(len(STANDINGS), dtype=np.float32)
    weights[[0, 2]] = 1, 10
    assert corrected(values, weights).tolist() == [40, 51]
