"""Evaluations and predictions as people read them; the machine form is `Evaluation.to_dict`."""

from __future__ import annotations

from hclf.report.html import Example, html_report
from hclf.report.markdown import summary as markdown_summary
from hclf.report.record import everything
from hclf.report.text import comparison, evaluation_report, verdicts
from hclf.report.tree import prediction_tree

__all__ = [
    "Example",
    "comparison",
    "evaluation_report",
    "everything",
    "html_report",
    "markdown_summary",
    "prediction_tree",
    "verdicts",
]
