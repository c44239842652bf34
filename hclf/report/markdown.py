"""An evaluation as Markdown for a pull request: verdict, figures, levels, and beneath a fold what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hclf.diagnostics import Diagnostics
from hclf.evaluation import Evaluation
from hclf.report.figures import difference, difference_interval, interval, metric_name, number, paired, row_interval
from hclf.report.text import comparison_verdicts, verdicts
from hclf.statistics import Comparison

__all__ = ["summary"]

HEADLINE = ("hF", "hP", "hR", "hF_example", "macro_f1", "exact_match", "auprc")
MIN_SUPPORT = 5


def summary(
    evaluation: Evaluation,
    diagnostics: Diagnostics | None = None,
    *,
    title: str = "Evaluation",
    baselines: Mapping[str, Evaluation] | None = None,
    comparisons: Mapping[str, Comparison] | None = None,
    verdict: str | Sequence[str] = (),
    name: str = "hierarchical",
    about: Mapping[str, Any] | None = None,
    rows: int = 5,
) -> str:
    """Return a short Markdown text; ends with a line break. No text of any document is in it.

    Args:
        evaluation, diagnostics: what to sum up; with diagnostics, also the most frequent confusions of siblings.
        title: the heading.
        baselines: further evaluations of the same documents, by name.
        comparisons: the paired comparison with each baseline, by name; see `hclf.evaluation.against`.
        verdict: sentences to begin with; default: how it stands against the baselines.
        name: what to call `evaluation` beside its baselines.
        about: `command` is shown, the rest left out.
        rows: how many worst nodes and confusions to show; 0 shows none.
    """
    beside, against = {name: evaluation, **(baselines or {})}, comparisons or {}
    said = [verdict] if isinstance(verdict, str) else list(verdict)
    said = [sentence for sentence in said if sentence] or (
        comparison_verdicts(beside, against) if len(beside) > 1 else []
    )
    first, *rest = [plain(sentence) for sentence in (*said, *verdicts(evaluation))]
    metrics = _metrics(evaluation, beside, against)
    parts = [f"### {plain(title)}", f"**{first}**", " ".join(rest), metrics, _levels(evaluation)]
    if rows:
        parts += [_worst(evaluation, rows), _confusions(diagnostics, rows)]
    if command := (about or {}).get("command"):
        parts.append(f"Reproduce: {code(str(command))}")
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """Return text in which nothing is markup: no emphasis, links, HTML, mentions or references to issues.

    >>> plain("a|b *c* @d #4 <p> [e](f)")
    'a&#124;b &#42;c&#42; &#64;d &#35;4 &#60;p&#62; [e]&#40;f)'
    """
    return re.sub(r"[|*_`~@#<>&\\!]|(?<=\])\(", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def code(text: str) -> str:
    """Return text as a code span, which fits in a table."""
    return "`" + " ".join(text.replace("`", "'").split()).replace("|", "\\|") + "`"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _metrics(evaluation: Evaluation, beside: Mapping[str, Evaluation], against: Mapping[str, Comparison]) -> str:
    first, *others = beside
    headers = ["", plain(first), *(h for other in others for h in (plain(other), "difference"))]
    rows = []
    for key in HEADLINE:
        if key not in evaluation.metrics:
            continue
        value = evaluation.metrics[key]
        cells = [plain(metric_name(key)), f"**{number(value, key)}** {interval(evaluation, key)}".strip()]
        for other in others:
            theirs = beside[other].metrics.get(key)
            bounds = difference_interval(paired(against.get(other), key), key)
            gain = "–" if theirs is None else f"{difference(value - theirs, key)} {bounds}".strip()
            cells += [number(theirs, key), gain]
        rows.append(cells)
    return _table(headers, rows)


def _levels(evaluation: Evaluation) -> str:
    rows = [
        [
            plain(str(row["name"])),
            f"{row['support']:,}",
            *(f"{row[key]:.3f}" for key in ("hP", "hR")),
            f"{row['hF']:.3f} {row_interval(row, 'hF')}".strip(),
        ]
        for row in evaluation.levels
        if row["support"] or row["predicted"]
    ]
    return _fold("Levels", _table(["level", "true labels", "hP", "hR", "hF"], rows)) if rows else ""


def _worst(evaluation: Evaluation, rows: int) -> str:
    tested = [row for row in evaluation.nodes if row["support"] >= MIN_SUPPORT]
    worst = sorted(tested, key=lambda row: (row["f1"], -row["support"]))[:rows]
    cells = [
        [
            _named(row["name"], row["id"]),
            *(f"{row[key]:.2f}" for key in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        ]
        for row in worst
    ]
    title = f"Worst nodes, of those with at least {MIN_SUPPORT} true documents"
    return _fold(title, _table(["node", "precision", "recall", "F1", "true"], cells)) if cells else ""


def _confusions(diagnostics: Diagnostics | None, rows: int) -> str:
    if diagnostics is None or not diagnostics.confusions:
        return ""
    cells = [
        [f"{code(row['true'])} → {code(row['predicted'])}", f"{row['count']:,}", f"{row['support']:,}"]
        for row in diagnostics.confusions[:rows]
    ]
    return _fold("Siblings confused most", _table(["true → predicted", "documents", "of"], cells))


def _named(name: str, node: str) -> str:
    return plain(name) if name == node else f"{plain(name)} {code(node)}"


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
