"""Evaluations and predictions as people read them; the machine form is `Evaluation.to_dict`."""

from __future__ import annotations

from hclf.report.text import comparison, evaluation_report, verdicts
from hclf.report.tree import prediction_tree

__all__ = ["comparison", "evaluation_report", "prediction_tree", "verdicts"]
