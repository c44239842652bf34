"""An evaluation as one self-contained HTML page: works from a file, asks the network for nothing.

Python writes what is read as text (summary, tables, warnings), escaped once where it enters; the page's own script
(`_page/page.js`) draws the map, the curves and the searchable table from columns of figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hclf.diagnostics import Diagnostics
from hclf.evaluation import Evaluation
from hclf.report.examples import Example
from hclf.report.payload import as_script, charts, node_columns
from hclf.report.sections import (
    about_section,
    cold_start_section,
    confusions_section,
    decoder_section,
    examples_section,
    levels_section,
    map_section,
    nodes_section,
    problems_section,
    reliability_section,
    risk_section,
    summary_section,
    sweep_section,
)
from hclf.report.template import html_page
from hclf.statistics import Comparison
from hclf.taxonomy import Taxonomy

__all__ = ["html_report"]

SHORT = {
    "Risk and coverage": "Risk",
    "Siblings confused": "Siblings",
    "Nodes without examples": "Cold start",
    "What the decoder changed": "Decoder",
    "Data warnings": "Data",
    "How to reproduce": "Reproduce",
}


def html_report(
    evaluation: Evaluation,
    taxonomy: Taxonomy,
    diagnostics: Diagnostics,
    *,
    title: str = "Evaluation",
    about: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Evaluation] | None = None,
    comparisons: Mapping[str, Comparison] | None = None,
    verdict: str | Sequence[str] = (),
    problems: Mapping[str, Any] | None = None,
    examples: Sequence[Example] | None = None,
    name: str = "hierarchical",
) -> str:
    """Return the page.

    Args:
        evaluation: with node rows; intervals are shown where it has them.
        taxonomy: of the evaluation.
        diagnostics: what `hclf.diagnostics.diagnose` found for the same predictions.
        title: what stands at the top.
        about: how to reproduce it, name to value in order: `command`, versions, fingerprints, files. Values are
            text, numbers, lists or mappings.
        baselines: further evaluations of the same documents, by name.
        comparisons: the paired comparison with each baseline, by name; see `hclf.evaluation.against`.
        verdict: sentences to begin with; default: how it stands against the baselines.
        problems: what was wrong with the data, as `Problems.to_dict` gives it.
        examples: documents to show with their texts; None or none: no text of any document is in the page.
        name: what to call `evaluation` beside its baselines.

    Returns:
        HTML; nothing of it depends on the clock or the machine, so equal arguments give equal pages.
    """
    beside, against = {name: evaluation, **(baselines or {})}, comparisons or {}
    sections = {
        "Summary": summary_section(evaluation, beside, against, verdict),
        "Taxonomy": map_section(taxonomy, evaluation),
        "Levels": levels_section(taxonomy, evaluation, diagnostics, against),
        "Risk and coverage": risk_section(evaluation, diagnostics),
        "Reliability": reliability_section(diagnostics),
        "Thresholds": sweep_section(diagnostics),
        "Siblings confused": confusions_section(taxonomy, diagnostics),
        "Nodes": nodes_section(evaluation, diagnostics),
        "Nodes without examples": cold_start_section(diagnostics, evaluation, against),
        "What the decoder changed": decoder_section(evaluation),
        "Data warnings": problems_section(problems, evaluation),
        "Examples": examples_section(taxonomy, examples or ()),
        "How to reproduce": about_section(about or {}, taxonomy, diagnostics),
    }
    present = {heading: body for heading, body in sections.items() if body}
    charts_kind, charts_text = as_script(charts(diagnostics))
    nodes_kind, nodes_text = as_script(node_columns(taxonomy, evaluation, diagnostics))
    return html_page(
        "page.html",
        {
            "contents": "".join(
                f'<a href="#{_anchor(heading)}">{escape(SHORT.get(heading, heading))}</a>' for heading in present
            ),
            "sections": "\n".join(
                f'<section id="{_anchor(heading)}">\n<h2>{escape(heading)}</h2>\n{body}\n</section>'
                for heading, body in present.items()
            ),
            "charts_kind": charts_kind,
            "charts": charts_text,
            "nodes_kind": nodes_kind,
            "nodes": nodes_text,
        },
        title=title,
        subtitle=_subtitle(taxonomy, evaluation),
        css=("page.css",),
        js="page.js",
    )


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _subtitle(taxonomy: Taxonomy, evaluation: Evaluation) -> str:
    name = " ".join(filter(None, [taxonomy.title or taxonomy.id, taxonomy.version]))
    return f"{evaluation.documents:,} documents · {name}, {len(taxonomy):,} nodes on {taxonomy.depth} levels"
