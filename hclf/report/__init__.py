"""Evaluations and predictions as people read them; the machine form is `Evaluation.to_dict`."""

from __future__ import annotations

from hclf.report.examples import Example, typical_examples
from hclf.report.files import check_report_path, write_report
from hclf.report.html import html_report
from hclf.report.markdown import summary as markdown_summary
from hclf.report.record import everything, reproduction
from hclf.report.text import comparison, comparison_report, evaluation_report, verdicts
from hclf.report.tree import prediction_tree

__all__ = [
    "Example",
    "check_report_path",
    "comparison",
    "comparison_report",
    "evaluation_report",
    "everything",
    "html_report",
    "markdown_summary",
    "prediction_tree",
    "reproduction",
    "typical_examples",
    "verdicts",
    "write_report",
]
