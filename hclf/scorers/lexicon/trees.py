"""Boosted trees as plain arrays: learned by scikit-learn, scored and stored without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

ROWS_AT_A_TIME = 8_192
FIELDS = {
    "feature": "feature_idx",
    "threshold": "num_threshold",
    "left": "left",
    "right": "right",
    "value": "value",
    "leaf": "is_leaf",
}


class Trees:
    """A sum of decision trees: the log-odds of being right (gradient boosting: Friedman 2001).

    Attributes:
        base: what the sum starts with.
        roots: (trees,) the node each tree starts at.
        feature, threshold, left, right, value, leaf: (nodes,) a row goes left where its feature is not above the
            threshold.
    """

    def __init__(self, base: float, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.base, self.arrays = base, dict(arrays)

    @classmethod
    def fit(
        cls,
        X: NDArray[np.float32],
        truth: NDArray[np.bool_],
        *,
        trees: int,
        leaves: int,
        rate: float,
        fewest: int = 30,
        wrong_share: float = 1.0,
        seed: int = 0,
    ) -> Self:
        """Learn from rows (rows, features) without NaN.

        Args:
            X, truth: rows, and which of them are right.
            trees, leaves, rate: how many, how many leaves each has at most, and the share of each that counts.
            fewest: rows of a leaf.
            wrong_share: share of the wrong rows that are given; the odds are brought back to those of all.
            seed: of the sample by which features are cut into bins.
        """
        model = HistGradientBoostingClassifier(
            max_iter=trees,
            max_leaf_nodes=leaves,
            learning_rate=rate,
            min_samples_leaf=fewest,
            l2_regularization=1,
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(limits=1, user_api="openmp"):  # sums in one order; and busy machines stay fast
            model.fit(X, truth)
        nodes = [predictor.nodes for (predictor,) in model._predictors]
        sizes = np.array([len(tree) for tree in nodes])
        starts = np.cumsum(sizes) - sizes
        arrays = {name: np.concatenate([tree[field] for tree in nodes]) for name, field in FIELDS.items()}
        shift = np.repeat(starts, sizes)
        for side in ("left", "right"):
            arrays[side] = (arrays[side] + shift).astype(np.int32)
        arrays["feature"] = arrays["feature"].astype(np.int32)
        arrays["leaf"] = arrays["leaf"].astype(bool)
        base = float(np.ravel(model._baseline_prediction)[0] + np.log(wrong_share))
        return cls(base, {**arrays, "roots": starts.astype(np.int32)})

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return for each row (rows, features) the probability of being right."""
        parts = [self._sums(X[start : start + ROWS_AT_A_TIME]) for start in range(0, len(X), ROWS_AT_A_TIME)]
        result: Floats = expit(np.concatenate([np.zeros(0), *parts]))
        return result

    def _sums(self, X: NDArray[np.float32]) -> Floats:
        """Return log-odds: all rows go down all trees at once, one level a step."""
        feature, threshold, left, right, value, leaf = (self.arrays[name] for name in FIELDS)
        at = np.broadcast_to(self.arrays["roots"], (len(X), len(self.arrays["roots"]))).copy()
        row, tree = np.nonzero(~leaf[at])
        while len(row):
            node = at[row, tree]
            node = np.where(X[row, feature[node]] <= threshold[node], left[node], right[node])
            at[row, tree] = node
            further = ~leaf[node]
            row, tree = row[further], tree[further]
        total: Floats = self.base + value[at].sum(axis=1)
        return total

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON-able values and arrays that `from_state` builds equal trees from."""
        return {"base": self.base}, self.arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        return cls(config["base"], arrays)
