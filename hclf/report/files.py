"""Reports into files: what is written is told by the suffix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hclf.diagnostics import Diagnostics, write_label_csv
from hclf.errors import UsageError
from hclf.evaluation import Evaluation
from hclf.report.examples import Example
from hclf.report.html import html_report
from hclf.report.markdown import summary
from hclf.report.record import everything
from hclf.statistics import Comparison
from hclf.taxonomy import Taxonomy

SUFFIXES = {
    ".html": "the page",
    ".md": "a summary for a pull request",
    ".json": "everything",
    ".csv": "the table of labels",
}


def check_report_path(path: Path | str) -> str:
    """Return the suffix of a report's file.

    Raises:
        UsageError: there is no such report.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(f"{name} ({what})" for name, what in SUFFIXES.items())
        raise UsageError(f"{path}: a report ends in {known}")
    return suffix


def write_report(
    path: Path | str,
    evaluation: Evaluation,
    taxonomy: Taxonomy,
    diagnostics: Diagnostics,
    *,
    title: str = "Evaluation",
    name: str = "hierarchical",
    about: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Evaluation] | None = None,
    comparisons: Mapping[str, Comparison] | None = None,
    verdict: str | Sequence[str] = (),
    problems: Mapping[str, Any] | None = None,
    examples: Sequence[Example] | None = None,
) -> None:
    """Write a report, UTF-8, replacing the file: `.html`, `.md`, `.json` or `.csv` by its suffix.

    Arguments are those of `html_report`; each form takes what it shows. Examples are shown by the page only.

    Raises:
        UsageError: another suffix.
    """
    suffix = check_report_path(path)
    if suffix == ".csv":
        write_label_csv(path, evaluation, diagnostics)
        return
    said: dict[str, Any] = {
        "about": about,
        "baselines": baselines,
        "comparisons": comparisons,
        "verdict": verdict,
    }
    if suffix == ".html":
        shown: dict[str, Any] = {"title": title, "name": name, "problems": problems, "examples": examples}
        text = html_report(evaluation, taxonomy, diagnostics, **said, **shown)
    elif suffix == ".md":
        text = summary(evaluation, diagnostics, **said, title=title, name=name)
    else:
        data = everything(evaluation, diagnostics, **said, problems=problems)
        text = json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n"
    Path(path).write_text(text, encoding="utf-8")
