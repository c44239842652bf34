"""The sections of the page, each as HTML; what comes from outside is escaped where it enters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from hclf._version import __version__
from hclf.diagnostics import Diagnostics
from hclf.evaluation import Evaluation
from hclf.report.examples import Example
from hclf.report.figures import (
    difference,
    difference_interval,
    interval,
    is_better,
    metric_name,
    number,
    paired,
    row_interval,
    telling,
)
from hclf.report.template import fill, html_bar, html_table, resource
from hclf.report.text import comparison_verdicts, verdicts
from hclf.statistics import Comparison
from hclf.taxonomy import Taxonomy
from hclf.wording import counted

Row = Mapping[str, Any]
TILES = {"hF": "hF", "hP": "hP", "hR": "hR", "macro_f1": "macro-F1", "exact_match": "exact match", "auprc": "AU(PRC)"}
RISKS = (0.02, 0.05, 0.10)  # for which the reader is told the coverage
FEW = 10  # documents: among fewer, one error more or less says nothing
SHOWN = 25  # confusions before the fold
EXTREMES, MIN_SUPPORT = 8, 5  # best and worst nodes shown as text, and the true documents they need


# -- summary ---------------------------------------------------------------------------------------------------


def summary_section(
    evaluation: Evaluation,
    beside: Mapping[str, Evaluation],
    against: Mapping[str, Comparison],
    verdict: str | Sequence[str],
) -> str:
    """Return the verdict, headline figures, what a reader should know, and every metric."""
    said = [verdict] if isinstance(verdict, str) else list(verdict)
    if not said and len(beside) > 1:
        said = comparison_verdicts(beside, against)
    facts = verdicts(evaluation)
    lead = f'<div class="verdict">{"".join(f"<p>{escape(s)}</p>" for s in said or facts[:1])}</div>'
    rest = "".join(f"<li>{escape(sentence)}</li>" for sentence in (facts if said else facts[1:]))
    tiles = "".join(_tile(evaluation, key) for key in TILES if key in evaluation.metrics)
    both = f'<div class="pair"><ul>{rest}</ul><div>{_metrics(evaluation, beside, against)}</div></div>'
    return f'{lead}\n<div class="tiles">{tiles}</div>\n{both}'


def _tile(evaluation: Evaluation, key: str) -> str:
    bounds = interval(evaluation, key)
    below = f"<span>{bounds}</span>" if bounds else ""
    return f'<div class="tile"><span>{escape(TILES[key])}</span><b>{evaluation.metrics[key]:.3f}</b>{below}</div>'


def _metrics(evaluation: Evaluation, beside: Mapping[str, Evaluation], against: Mapping[str, Comparison]) -> str:
    """Return every metric, beside those of the baselines."""
    first, *others = beside
    with_intervals = bool(evaluation.intervals)
    headers = ["", first, *([""] if with_intervals else []), *(h for other in others for h in (other, "difference"))]
    rows = []
    for key in telling(beside, evaluation.metrics):
        value = evaluation.metrics[key]
        cells = [escape(metric_name(key)), number(value, key)]
        if with_intervals:
            cells.append(f"<small>{interval(evaluation, key)}</small>")
        for other in others:
            theirs = beside[other].metrics.get(key)
            gain = None if theirs is None else value - theirs
            row = paired(against.get(other), key)
            cells += [number(theirs, key), _difference(gain, key, row, untested=other in against and row is None)]
        rows.append(cells)
    return html_table(headers, rows)


def _difference(
    value: float | None, key: str, row: Row | None, *, untested: bool = False, below: bool = False
) -> str:
    """Return a difference with its interval, coloured when it is shown or nothing at all was tested."""
    if value is None:
        return "–"
    better = None if untested else is_better(value, key, row)
    kind = {None: "", True: ' class="better"', False: ' class="worse"'}[better]
    bounds, apart = difference_interval(row, key), "<br>" if below else "&ensp;"
    return f"<span{kind}>{difference(value, key)}</span>" + (f"{apart}<small>{bounds}</small>" if bounds else "")


def _gains(against: Mapping[str, Comparison], part: str, key: str, which: Any) -> list[str]:
    """Return a cell a comparison: the difference in hF of the level or bucket that `key` says is `which`."""
    cells = []
    for comparison in against.values():
        row = next((row for row in getattr(comparison, part) if row[key] == which), None)
        says = row is not None and (row["a"] or row["b"])
        cells.append(_difference(row["difference"], "hF", row, below=True) if row and says else "–")
    return cells


# -- the taxonomy ----------------------------------------------------------------------------------------------


def map_section(taxonomy: Taxonomy, evaluation: Evaluation) -> str:
    """Return the frame in which the script draws the taxonomy."""
    if not len(taxonomy):
        return ""
    tested = sum(row["support"] > 0 for row in evaluation.nodes)
    untested = len(taxonomy) - tested
    lead = "Each node is as large as the number of test documents it is true for, and coloured by its F1."
    if untested:
        lead += f" What is not in the test data, {untested:,} of {len(taxonomy):,} nodes, is grey"
        lead += ", and narrow unless sized by nodes."
    if not taxonomy.is_tree:
        lead += " A node with several parents stands under the first of them."
    return fill(resource("map.html"), {"lead": lead})


# -- levels ----------------------------------------------------------------------------------------------------


def levels_section(
    taxonomy: Taxonomy, evaluation: Evaluation, diagnostics: Diagnostics, against: Mapping[str, Comparison]
) -> str:
    """Return the figures of each level."""
    nodes = [span.stop - span.start for span in taxonomy.level_slices]
    tested = np.bincount([row["level"] for row in evaluation.nodes if row["support"]], minlength=taxonomy.depth + 1)
    thresholds = diagnostics.thresholds
    gains = [f"hF − {other}" for other in against]
    headers = ["level", "nodes", "tested", "true labels", "predicted", "hP", "hR", "hF", *gains]
    rows = []
    for row in evaluation.levels:
        level = row["level"]
        cells = [
            _level_name(row),
            f"{nodes[level - 1] if level <= len(nodes) else 0:,}",
            f"{int(tested[level]) if level < len(tested) else 0:,}",
            f"{row['support']:,}",
            f"{row['predicted']:,}",
            *(_level_figure(row, key, bar=key == "hF") for key in ("hP", "hR", "hF")),
            *_gains(against, "levels", "level", level),
        ]
        if thresholds:
            cells.append(f"{thresholds[level - 1]:.2f}" if level <= len(thresholds) else "–")
        rows.append(cells)
    lead = "<p>Labels of each level by themselves, ancestors included; a level's figures pool all its nodes.</p>"
    return lead + html_table([*headers, *(["threshold"] if thresholds else [])], rows, wide=True)


def _level_figure(row: Row, key: str, bar: bool = False) -> str:
    if not row["support"] and not row["predicted"]:
        return "–"
    text = f"{row[key]:.3f}{html_bar(row[key]) if bar else ''}"
    bounds = row_interval(row, key)
    return f"{text}<br><small>{bounds}</small>" if bounds else text


def _level_name(row: Row) -> str:
    number, name = row["level"], str(row["name"])
    return f"{number}" if name == f"level {number}" else f"{number}&ensp;{escape(name)}"


# -- scores ----------------------------------------------------------------------------------------------------


def risk_section(evaluation: Evaluation, diagnostics: Diagnostics) -> str:
    """Return the frame of the risk-coverage curves, and what they say for a few risks."""
    levels = diagnostics.risk_coverage
    if not levels:
        return ""
    headers = ["answers", *(f"{100 * risk:g} % wrong" for risk in RISKS)]
    rows = [
        [_answers(row), *(_covered(row, risk, evaluation.documents) for risk in RISKS)]
        for row in levels
        if row["level"] == 0 or any(r["level"] == row["level"] and r["support"] for r in evaluation.levels)
    ]
    return f"""<p>A document is answered on a level by its nodes that score enough; the more documents are to be
answered, the more of the answers are wrong. Whole answers are as deep as is safe: sets of nodes of a high mean score.
A node below the labels of a document counts as wrong. All this was observed on the test documents, not promised.</p>
<div class="chart" id="risk-chart" data-documents="{evaluation.documents}" data-few="{FEW}"></div>
<h3>Share of documents that can be answered</h3>
{html_table(headers, rows)}"""


def _answers(row: Row) -> str:
    return "whole answers" if row["level"] == 0 else f"level {_level_name(row)}"


def _covered(row: Row, risk: float, documents: int) -> str:
    """Return the largest coverage at which the risk is not above a bound, and from which score on; "–" for few."""
    within = [i for i, r in enumerate(row["risk"]) if r <= risk]
    if not within or row["coverage"][within[-1]] * documents < FEW:
        return "–"
    last = within[-1]
    return f"{_percent(row['coverage'][last])}&ensp;<small>score ≥ {row['threshold'][last]:.3f}</small>"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def reliability_section(diagnostics: Diagnostics) -> str:
    """Return the frames of the reliability diagrams."""
    levels = [row for row in diagnostics.reliability if row["count"]]
    if not levels:
        return ""
    figures = "".join(
        f'<figure><figcaption>Level {_level_name(row)} <span class="dim">· error {row["error"]:.3f} '
        f"(chance {row['by_chance']:.3f})</span></figcaption>"
        f'<div class="chart" id="reliability-{row["level"]}"></div></figure>'
        for row in levels
    )
    return f"""<p>Of labels that score about 0.8, eight in ten should be true: then the dots lie on the diagonal.
Below it scores promise too much, above it too little. Larger dots are more labels; the strokes are 95 % intervals.
The error is the mean distance from the diagonal in bins of equally many labels; perfect scores would show some of it
by chance. Labels that score below 0.01 are left out.</p>
<div class="multiples">{figures}</div>"""


def sweep_section(diagnostics: Diagnostics) -> str:
    """Return the frame of the threshold sweep."""
    if not diagnostics.sweep:
        return ""
    best = int(np.argmax(diagnostics.sweep["hF"]))
    one, reached = diagnostics.sweep["threshold"][best], diagnostics.sweep["hF"][best]
    chosen = "The dashed marks are the thresholds in use. " if diagnostics.thresholds else ""
    return f"""<p>What one threshold for all levels would do to these documents. {chosen}The best single threshold
here is {one:.2f} with hF {reached:.3f}; chosen on test documents it is too good to be promised for others.</p>
<div class="chart" id="sweep-chart"></div>"""


# -- mistakes --------------------------------------------------------------------------------------------------


def confusions_section(taxonomy: Taxonomy, diagnostics: Diagnostics) -> str:
    """Return the siblings confused most."""
    if not diagnostics.confusions:
        return "<p>No document was given a wrong sibling of a node it misses.</p>"
    rows = [
        [
            _node(taxonomy, row["true"]),
            _node(taxonomy, row["predicted"]),
            escape(_shared_parents(taxonomy, row["true"], row["predicted"])),
            f"{row['count']:,}",
            f"{_percent(row['count'] / row['support'])}&ensp;<small>of {row['support']:,}</small>",
        ]
        for row in diagnostics.confusions
    ]
    headers = ["true, and missed", "predicted instead", "both under", "documents", "of the true"]
    table = html_table(headers, rows[:SHOWN], wide=True, text=3)
    if len(rows) > SHOWN:
        rest = html_table(headers, rows[SHOWN:], wide=True, text=3)
        table += f'<details class="screen"><summary>{len(rows) - SHOWN:,} more</summary>{rest}</details>'
    return f"""<p>A node that was missed, and a wrong node beside it under the same parent:
{diagnostics.confused:,} times in all, {diagnostics.confused_pairs:,} different pairs.</p>
{table}"""


def _node(taxonomy: Taxonomy, node: str) -> str:
    name = taxonomy[node].name
    return escape(name) if name == node else f'{escape(name)}<span class="id">{escape(node)}</span>'


def _shared_parents(taxonomy: Taxonomy, one: str, other: str) -> str:
    first, second = (set(taxonomy.parents.of(taxonomy.index(node)).tolist()) for node in (one, other))
    return ", ".join(taxonomy.names[j] for j in sorted(first & second)) or "the top"


def nodes_section(evaluation: Evaluation, diagnostics: Diagnostics) -> str:
    """Return the worst and best nodes, and the frame of the table of all."""
    if not evaluation.nodes:
        return ""
    rows = sorted(
        (r for r in evaluation.nodes if r["support"] >= MIN_SUPPORT), key=lambda r: (r["f1"], -r["support"])
    )
    # Where there are few nodes none is among both the best and the worst.
    n = min(EXTREMES, len(rows) // 2)
    extremes = ""
    if n:
        best = sorted(rows[-n:], key=lambda r: (-r["f1"], -r["support"]))
        extremes = f'<div class="pair"><div><h3>Worst</h3>{_extremes(rows[:n])}</div>'
        extremes += f"<div><h3>Best</h3>{_extremes(best)}</div></div>"
        extremes += f'<p class="dim">Among nodes with at least {MIN_SUPPORT} true documents.</p>'
    columns = {
        "name": "node",
        "level": "level",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "ap": "AP",
        "support": "true",
        "predicted": "predicted",
        "train": "training",
        "threshold": "threshold",
    }
    heads = "".join(
        f'<th><button type="button" data-key="{key}">{label}<span></span></button></th>'
        for key, label in columns.items()
    )
    return extremes + "\n" + fill(resource("nodes.html"), {"heads": heads, "least": str(MIN_SUPPORT)})


def _extremes(rows: Iterable[Row]) -> str:
    cells = []
    for row in rows:
        same = row["id"] == row["name"]
        name = escape(row["name"]) + ("" if same else f'<span class="id">{escape(row["id"])}</span>')
        cells.append(
            [name, f"{row['precision']:.2f}", f"{row['recall']:.2f}", f"{row['f1']:.2f}", f"{row['support']:,}"]
        )
    return html_table(["node", "precision", "recall", "F1", "true"], cells, wide=True)


# -- training, decoder, data -----------------------------------------------------------------------------------


def cold_start_section(diagnostics: Diagnostics, evaluation: Evaluation, against: Mapping[str, Comparison]) -> str:
    """Return figures by number of training documents, none first."""
    if not diagnostics.by_training:
        return ""
    measured = {row["train_count"]: row for row in evaluation.buckets}
    rows = []
    for row in diagnostics.by_training:
        which = row["train_count"]
        known = {**measured.get(which, {}), **row}
        rows.append(
            [
                "none" if which == "0" else escape(which.replace("-", "–").replace(">", "> ")),
                *(f"{row[key]:,}" for key in ("nodes", "tested", "support", "predicted")),
                _bucket_figure(known, "precision", "hP"),
                _bucket_figure(known, "recall", "hR"),
                _bucket_figure(known, "f1", "hF", bar=True),
                _bucket_figure(known, "macro_f1", "macro_f1"),
                *_gains(against, "buckets", "train_count", which),
            ]
        )
    headers = ["training documents", "nodes", "tested", "true labels", "predicted", "precision", "recall", "F1"]
    none = diagnostics.by_training[0]
    found = round(none["recall"] * none["support"])
    sentence = (
        f"{counted(none['nodes'], 'node has', 'nodes have')} no training document, so only their texts can tell; "
        f"{counted(none['tested'], 'is', 'are')} true in the test data."
        if none["nodes"]
        else "Every node has training documents."
    )
    if none["support"]:
        sentence += f" Of {counted(none['support'], 'label', 'labels')}, {found:,} found."
    table = html_table([*headers, "macro-F1", *(f"F1 − {other}" for other in against)], rows, wide=True)
    return f"<p>{sentence}</p>{table}"


def _bucket_figure(row: Row, key: str, metric: str, bar: bool = False) -> str:
    if key not in row or not row["support"]:
        return "–"
    bounds = row_interval(row, metric)
    return f"{row[key]:.3f}{html_bar(row[key]) if bar else ''}" + (f"<br><small>{bounds}</small>" if bounds else "")


def decoder_section(evaluation: Evaluation) -> str:
    """Return what was incoherent or not closed, before and after."""
    e = evaluation
    rows = [["documents whose label set lacked an ancestor", f"{e.unclosed_documents:,}"]]
    rows.append(["labels without their parent, as they came", f"{e.violations_after:,}"])
    if e.violations_before is not None:
        share = f" ({e.violations_before / e.documents:.1f} a document)" if e.documents else ""
        head = ["parent-child pairs with the child scored above its parent, before coherence"]
        rows.insert(0, [*head, f"{e.violations_before:,}{share}"])
    rows.append(["documents left without a label (unknown)", f"{e.unknown:,}"])
    closed = (
        "Every predicted label set is closed under ancestors."
        if e.closed
        else ("Not every predicted label set came closed under ancestors; what was missing was added before scoring.")
    )
    return f"<p>{closed}</p>{html_table(['', ''], rows)}"


def problems_section(problems: Mapping[str, Any] | None, evaluation: Evaluation) -> str:
    """Return what was wrong with the data."""
    counts = dict((problems or {}).get("counts") or {})
    parts = []
    if evaluation.unlabelled:
        parts.append(f"<p>{counted(evaluation.unlabelled, 'document has', 'documents have')} no true label.</p>")
    if counts:
        rows = [[escape(str(kind)), f"{count:,}"] for kind, count in counts.items()]
        parts.append(html_table(["problem", "rows"], rows))
    kept = (problems or {}).get("kept") or ()
    if kept:
        lines = "\n".join(escape(_problem_line(problem)) for problem in kept)
        parts.append(f"<details><summary>The first of each kind</summary><pre>{lines}</pre></details>")
    return "".join(parts) or "<p>None: every row was read and every label is a node.</p>"


def _problem_line(problem: Mapping[str, Any]) -> str:
    where = ":".join(str(part) for part in (problem.get("file"), problem.get("row")) if part)
    return f"{where}: {problem.get('message', '')}" if where else str(problem.get("message", ""))


def examples_section(taxonomy: Taxonomy, examples: Sequence[Example]) -> str:
    """Return the documents that somebody asked to see."""
    if not examples:
        return ""
    parts = []
    for example in examples:
        true, predicted = (
            ", ".join(taxonomy[node].name if node in taxonomy else node for node in nodes) or "nothing"
            for nodes in (example.true, example.predicted)
        )
        about = f"<p>{escape(example.about)}</p>" if example.about else ""
        parts.append(
            f"<h3>{escape(example.id)}</h3>{about}<blockquote>{escape(example.text)}</blockquote>"
            f"<dl><dt>true</dt><dd>{escape(true)}</dd><dt>predicted</dt><dd>{escape(predicted)}</dd></dl>"
        )
    lead = "<p>Typical mistakes, one document each. Their texts are in this page because that was asked for.</p>"
    return lead + "".join(parts)


def about_section(about: Mapping[str, Any], taxonomy: Taxonomy, diagnostics: Diagnostics) -> str:
    """Return how to reproduce it all."""
    command = about.get("command")
    shown = {key: value for key, value in about.items() if key != "command" and value not in (None, "", {}, [])}
    shown.setdefault("hclf", __version__)
    shown.setdefault("taxonomy", f"{taxonomy.id} {taxonomy.version}".strip())
    shown.setdefault("taxonomy fingerprint", taxonomy.fingerprint)
    if diagnostics.thresholds:
        shown.setdefault("thresholds by level", [round(t, 4) for t in diagnostics.thresholds])
    facts = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(_plain(value))}</dd>" for key, value in shown.items())
    button = '<button type="button" class="screen" data-copy="command" hidden>Copy</button>'
    run = f'<pre id="command">{escape(_plain(command))}</pre>{button}' if command else ""
    return f"{run}<dl>{facts}</dl>"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) for item in value)
    return str(value)
