"""How a figure, its interval and its difference to another are written: the same in every report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hclf.evaluation import Evaluation
from hclf.report.text import LOWER_IS_BETTER, METRIC_NAMES

Row = Mapping[str, Any]


def metric_name(key: str) -> str:
    """Return how a metric is called in a report.

    >>> metric_name("p_at_5"), metric_name("macro_f1")
    ('P@5', 'macro-F1 over nodes')
    """
    if found := re.fullmatch(r"([pr])_at_(\d+)", key):
        return f"{found[1].upper()}@{found[2]}"
    if key not in METRIC_NAMES and key.endswith("_known"):
        return f"{metric_name(key.removesuffix('_known'))}, of what is known"
    return METRIC_NAMES.get(key, key)


def number(value: float | None, key: str = "") -> str:
    """Return three digits, five of a metric that is small; "–" for what is not known."""
    return "–" if value is None else f"{value:.5f}" if key in LOWER_IS_BETTER else f"{value:.3f}"


def difference(value: float, key: str) -> str:
    """Return a difference with its sign."""
    return f"{value:+.{5 if key in LOWER_IS_BETTER else 3}f}".replace("-", "−")


def is_better(value: float, key: str) -> bool | None:
    """Return whether a difference is for the better; None when it would be written as nothing."""
    if not difference(value, key).strip("+−0."):
        return None
    return value < 0 if key in LOWER_IS_BETTER else value > 0


def interval(evaluation: Evaluation, key: str) -> str:
    """Return the interval of a metric as "[0.812, 0.845]", or "" where the evaluation has none."""
    low, high = evaluation.intervals.get(key, (None, None))
    return _bounds(low, high, key)


def row_interval(row: Row, key: str) -> str:
    """Return the interval of a figure of a level or bucket, as `interval` does."""
    return _bounds(row.get(f"{key}_low"), row.get(f"{key}_high"), key)


def _bounds(low: float | None, high: float | None, key: str) -> str:
    return "" if low is None or high is None else f"[{number(low, key)}, {number(high, key)}]"
