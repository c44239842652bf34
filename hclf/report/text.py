"""Evaluations drawn for a terminal, as rich renderables.

Names and ids are put into `Text`, never into markup: a node called "[red]" prints as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hclf.evaluation import Evaluation, side_by_side

Row = Mapping[str, Any]
BAR = 10  # characters of a full bar
EIGHTHS = " ▏▎▍▌▋▊▉█"
METRIC_NAMES = {
    "hP": "hP",
    "hR": "hR",
    "hF": "hF",
    "hP_example": "hP per document",
    "hR_example": "hR per document",
    "hF_example": "hF per document",
    "macro_f1": "macro-F1 over nodes",
    "exact_match": "exact match",
    "hamming": "Hamming loss",
    "auprc": "AU(PRC)",
    "auprc_macro": "AU(PRC), mean of nodes",
    "map": "MAP",
}
LOWER_IS_BETTER = {"hamming"}


def evaluation_report(
    evaluation: Evaluation,
    *,
    baselines: Mapping[str, Evaluation] | None = None,
    name: str = "hierarchical",
    nodes: int = 5,
    min_support: int = 5,
) -> Group:
    """Return the whole report: verdicts, headline, levels, training-frequency buckets, best and worst nodes.

    Args:
        evaluation: what to show.
        baselines: further evaluations of the same documents, by name, to stand beside.
        name: what to call `evaluation` beside them.
        nodes: how many of the best and of the worst nodes to show; 0 shows none.
        min_support: how many true documents a node needs to be among them.
    """
    beside = {name: evaluation, **(baselines or {})} if baselines else {}
    parts: list[RenderableType] = [_sentences(verdicts(evaluation)), headline(evaluation)]
    if beside:
        parts += [comparison(beside), _sentences(comparison_verdicts(beside))]
    parts.append(levels_table(evaluation))
    if evaluation.buckets:
        parts.append(buckets_table(evaluation))
    if nodes and (table := node_extremes(evaluation, nodes, min_support)):
        parts.append(table)
    # Blank lines rather than padding: padding would crop sentences on a console that does not wrap.
    return Group(*[piece for part in parts for piece in (part, Text())][:-1])


# -- sentences -------------------------------------------------------------------------------------------------


def verdicts(evaluation: Evaluation) -> list[str]:
    """Return plain sentences about what was evaluated and what a reader should know before the figures."""
    e = evaluation
    sentences = [
        f"{_count(e.documents, 'document')}; on average {e.labels_true:.1f} true and {e.labels_predicted:.1f} "
        "predicted labels, ancestors included."
    ]
    if e.documents:
        sentences.append(_unknown_sentence(e))
    if e.unlabelled:
        sentences.append(f"{_count(e.unlabelled, 'document')} without a true label.")
    if e.violations_before is not None:
        sentences.append(
            f"{_count(e.violations_before, 'incoherent parent-child pair')} before decoding, "
            f"{f'{e.violations_after:,}' if e.violations_after else 'none'} after."
        )
    if not e.closed:
        sentences.append(
            f"The prediction lacks ancestors in {_count(e.unclosed_documents, 'document')}; they were added "
            "before scoring."
        )
    return sentences


def _unknown_sentence(e: Evaluation) -> str:
    if not e.unknown:
        return "Every document got a label; none is unknown."
    share = e.unknown / e.documents
    verb = "is" if e.unknown == 1 else "are"
    return f"{_percent(share)} of documents are unknown: {e.unknown:,} {verb} left without a label."


def comparison_verdicts(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Return sentences on how the first evaluation stands against each other one, and which are not closed."""
    first, *others = evaluations
    rows = side_by_side(evaluations)
    sentences = [_gain_sentence(rows, first, other) for other in others]
    for other in others:
        if broken := evaluations[other].unclosed_documents:
            sentences.append(f"{other} lacks ancestors in {_count(broken, 'document')}; added before scoring.")
    return sentences


def _gain_sentence(rows: Sequence[Row], first: str, other: str) -> str:
    by_metric = {row["metric"]: row for row in rows}
    hf, macro = by_metric["hF"], by_metric["macro_f1"]
    return (
        f"Against {other}: hF {_relation(hf['differences'][other])} "
        f"({_figure(hf['values'][first])} against {_figure(hf['values'][other])}), "
        f"macro-F1 {_relation(macro['differences'][other])}."
    )


def _relation(difference: float) -> str:
    if abs(difference) < 0.0005:
        return "the same"
    return f"{abs(difference):.3f} {'higher' if difference > 0 else 'lower'}"


def _sentences(sentences: Iterable[str]) -> Text:
    return Text("\n").join(Text(sentence) for sentence in sentences)


# -- tables ----------------------------------------------------------------------------------------------------


def headline(evaluation: Evaluation) -> RenderableType:
    """Return precision, recall and F1 in two averages, and beneath them the other figures."""
    m = evaluation.metrics
    table = _table("", "precision", "recall", "F1", "")
    for label, suffix in (
        ("hierarchical, all labels pooled", ""),
        ("hierarchical, mean of documents", "_example"),
    ):
        p, r, f = (m[f"{key}{suffix}"] for key in ("hP", "hR", "hF"))
        table.add_row(label, _figure(p), _figure(r), Text(_figure(f), "bold"), _bar(f))
    rest = [
        (METRIC_NAMES[key], m[key]) for key in METRIC_NAMES if key in m and not key.startswith(("hP", "hR", "hF"))
    ]
    rest += [(_at_k_name(key), m[key]) for key in sorted(filter(_is_at_k, m), key=_by_kind_and_k)]
    return Group(table, Text(), _grid(rest))


def _grid(figures: Sequence[tuple[str, float]], columns: int = 3) -> Table:
    """Return name and value pairs in columns, filled downwards."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    height = -(-len(figures) // columns)
    for _ in range(columns):
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
    for i in range(height):
        cells: list[RenderableType] = []
        for name, value in figures[i::height]:
            cells += [Text(name, "dim"), _figure(value, small=name == METRIC_NAMES["hamming"])]
        grid.add_row(*cells)
    return grid


def levels_table(evaluation: Evaluation) -> Table:
    """Return hP, hR and hF of each level that has true or predicted labels, with its name."""
    table = _table("level", "hP", "hR", "hF", "", "true", "predicted", title="Per level")
    for row in evaluation.levels:
        if row["support"] or row["predicted"]:
            table.add_row(
                _level(row), _figure(row["hP"]), _figure(row["hR"]), Text(_figure(row["hF"]), "bold"),
                _bar(row["hF"]), f"{row['support']:,}", f"{row['predicted']:,}",
            )  # fmt: skip
    return table


def buckets_table(evaluation: Evaluation) -> Table:
    """Return macro-F1 of the nodes by how many training documents they had."""
    table = _table("training documents", "macro-F1", "", "nodes", "true", title="Nodes by training documents")
    for row in evaluation.buckets:
        shown = (_figure(row["macro_f1"]), _bar(row["macro_f1"])) if row["nodes"] else (Text("–", "dim"), "")
        table.add_row(str(row["train_count"]).replace("-", "–"), *shown, f"{row['nodes']:,}", f"{row['support']:,}")
    return table


def node_extremes(evaluation: Evaluation, n: int = 5, min_support: int = 5) -> Table | None:
    """Return the n best and n worst nodes by F1 with enough true documents; None when no node has."""
    enough = [row for row in evaluation.nodes if row["support"] >= min_support]
    if not enough:
        return None
    best = sorted(enough, key=lambda row: (-row["f1"], -row["support"], row["id"]))[:n]
    shown = {row["id"] for row in best}
    rest = [row for row in enough if row["id"] not in shown]
    worst = sorted(rest, key=lambda row: (row["f1"], -row["support"], row["id"]))[:n]
    trained = any(row.get("train_count") is not None for row in enough)
    title = f"Best and worst of {_count(len(enough), 'node')} with at least {min_support} true documents"
    headers = ("precision", "recall", "F1", "true", *(("trained on",) if trained else ()))
    table = _table("node", *headers, title=title)
    for rows in (best, worst):
        for row in rows:
            table.add_row(*_node_cells(row, trained))
        table.add_section()
    return table


def _node_cells(row: Row, trained: bool) -> tuple[RenderableType, ...]:
    name = Text(row["name"], no_wrap=True, overflow="ellipsis")
    if row["id"] != row["name"]:
        name.append(f"  {row['id']}", "dim")
    f1 = Text(_figure(row["f1"]), _grade(row["f1"]))
    cells = (name, _figure(row["precision"]), _figure(row["recall"]), f1, f"{row['support']:,}")
    return (*cells, f"{row['train_count'] or 0:,}") if trained else cells


def comparison(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return metrics side by side, and how much the first evaluation is above each other one.

    Raises:
        UsageError: they are not of the same documents.
    """
    first, *others = evaluations
    table = _table("", first, *(header for other in others for header in (other, "difference")), title="Side by side")
    rows = side_by_side(evaluations)
    plain = [row for row in rows if not _is_at_k(row["metric"])]
    lists = [row for row in rows if _is_at_k(row["metric"])]
    for row in (*plain, *sorted(lists, key=lambda row: _by_kind_and_k(row["metric"]))):
        metric, values = row["metric"], row["values"]
        small = metric in LOWER_IS_BETTER
        cells: list[RenderableType] = [Text(_figure(values[first], small=small), "bold")]
        for other in others:
            cells += [_figure(values[other], small=small), _difference(row["differences"][other], metric)]
        table.add_row(METRIC_NAMES.get(metric) or _at_k_name(metric), *cells)
    return table


def _table(first: str, *headers: str, title: str = "") -> Table:
    """Return an empty table: first column left, figures right, a column without header for bars.

    When the terminal is narrow only the first column gives way; figures are never cut.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=Text(f"{title}\n", "bold") if title else None,
        title_justify="left",
        header_style="dim",
    )
    table.add_column(Text(first), overflow="ellipsis")
    for header in headers:
        table.add_column(Text(header), justify="right" if header else "left", no_wrap=True)
    return table


# -- small pieces ----------------------------------------------------------------------------------------------


def _figure(value: float, small: bool = False) -> str:
    return f"{value:.5f}" if small else f"{value:.3f}"


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _difference(value: float, metric: str) -> Text:
    small = metric in LOWER_IS_BETTER
    better = value < 0 if small else value > 0
    digits = 5 if small else 3
    style = "dim" if abs(value) < 0.5 * 10**-digits else "green" if better else "red"
    return Text(_signed(value, digits), style)


def _percent(share: float) -> str:
    return "less than 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _bar(share: float) -> Text:
    """Return a bar in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * BAR * 8)
    full, part = divmod(eighths, 8)
    bar = "█" * full + (EIGHTHS[part] if part else "")
    return Text(bar.ljust(BAR), _grade(share))


def _grade(share: float) -> str:
    return "green" if share >= 0.7 else "yellow" if share >= 0.4 else "red"


def _level(row: Row) -> Text:
    number, name = str(row["level"]), str(row["name"])
    plain = name == f"level {number}"  # a level without a name of its own
    return Text(number) if plain else Text.assemble(number, "  ", name)


def _is_at_k(metric: str) -> bool:
    return metric.startswith(("p_at_", "r_at_"))


def _by_kind_and_k(metric: str) -> tuple[str, int]:
    return metric[0], int(metric[5:])


def _at_k_name(metric: str) -> str:
    return f"{metric[0].upper()}@{metric[5:]}" if _is_at_k(metric) else metric
