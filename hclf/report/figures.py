"""How a figure, its interval and its difference to another are written: the same in every report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hclf.evaluation import Evaluation
from hclf.report.text import KNOWN, LOWER_IS_BETTER, METRIC_NAMES
from hclf.statistics import Comparison, shown

Row = Mapping[str, Any]


def metric_name(key: str) -> str:
    """Return how a metric is called in a report.

    >>> metric_name("p_at_5"), metric_name("macro_f1")
    ('P@5', 'macro-F1 over nodes')
    """
    if found := re.fullmatch(r"([pr])_at_(\d+)", key):
        return f"{found[1].upper()}@{found[2]}"
    if key.endswith(KNOWN):
        return f"{metric_name(key.removesuffix(KNOWN))}, what is known"
    return METRIC_NAMES.get(key, key)


def number(value: float | None, key: str = "") -> str:
    """Return three digits, five of a metric that is small; "–" for what is not known."""
    return "–" if value is None else f"{value:.5f}" if key in LOWER_IS_BETTER else f"{value:.3f}"


def difference(value: float, key: str) -> str:
    """Return a difference with its sign."""
    return f"{value:+.{5 if key in LOWER_IS_BETTER else 3}f}".replace("-", "−")


def is_better(value: float, key: str, row: Row | None = None) -> bool | None:
    """Return whether a difference is for the better; None when it is not shown by its row, or written as nothing."""
    if not difference(value, key).strip("+−0.") or (row is not None and not shown(row)):
        return None
    return value < 0 if key in LOWER_IS_BETTER else value > 0


def paired(comparison: Comparison | None, key: str) -> Row | None:
    """Return the row of a metric in a paired comparison, None without."""
    rows = comparison.metrics if comparison else []
    return next((row for row in rows if row["metric"] == key), None)


def telling(evaluations: Mapping[str, Evaluation], keys: Iterable[str]) -> list[str]:
    """Return metrics without the readings of what is known where these say nothing new."""
    unjudged = any(evaluation.unjudged for evaluation in evaluations.values())
    return [key for key in keys if unjudged or not key.endswith(KNOWN)]


def interval(evaluation: Evaluation, key: str) -> str:
    """Return the interval of a metric as "[0.812, 0.845]", or "" where the evaluation has none."""
    low, high = evaluation.intervals.get(key, (None, None))
    return _bounds(low, high, key)


def row_interval(row: Row, key: str) -> str:
    """Return the interval of a figure of a level or bucket, as `interval` does."""
    return _bounds(row.get(f"{key}_low"), row.get(f"{key}_high"), key)


def _bounds(low: float | None, high: float | None, key: str) -> str:
    return "" if low is None or high is None else f"[{number(low, key)}, {number(high, key)}]"


def difference_interval(row: Row | None, key: str) -> str:
    """Return the interval of a paired difference as "[+0.009, +0.027]", or "" where there is none."""
    if row is None or row["low"] is None:
        return ""
    return f"[{difference(row['low'], key)}, {difference(row['high'], key)}]"
