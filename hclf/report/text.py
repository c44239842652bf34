"""Evaluations drawn for a terminal, as rich renderables.

Names and ids are put into `Text`, never into markup: a node called "[red]" prints as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hclf.evaluation import Evaluation, side_by_side
from hclf.statistics import Comparison, p_text, shown
from hclf.wording import counted

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
KNOWN = "_known"  # ends the names of figures without the predictions of which the truth says nothing


def evaluation_report(
    evaluation: Evaluation,
    *,
    baselines: Mapping[str, Evaluation] | None = None,
    comparisons: Mapping[str, Comparison] | None = None,
    name: str = "hierarchical",
    nodes: int = 5,
    min_support: int = 5,
) -> Group:
    """Return the whole report: verdicts, headline, levels, training-frequency buckets, best and worst nodes.

    It ends in how the evaluation stands against each baseline.

    Args:
        evaluation: what to show.
        baselines: further evaluations of the same documents, by name, to stand beside.
        comparisons: the paired comparison with each baseline, by name; see `hclf.evaluation.against`.
        name: what to call `evaluation` beside them.
        nodes: how many of the best and of the worst nodes to show; 0 shows none.
        min_support: how many true documents a node needs to be among them.
    """
    beside = {name: evaluation, **(baselines or {})} if baselines else {}
    parts: list[RenderableType] = [_sentences(verdicts(evaluation)), headline(evaluation)]
    if beside:
        parts.append(comparison(beside, comparisons))
    parts.append(levels_table(evaluation))
    if evaluation.buckets:
        parts.append(buckets_table(evaluation))
    if nodes and (table := node_extremes(evaluation, nodes, min_support)):
        parts.append(table)
    if beside:
        parts.append(_sentences(comparison_verdicts(beside, comparisons)))
    # Blank lines rather than padding: padding would crop sentences on a console that does not wrap.
    return Group(*[piece for part in parts for piece in (part, Text())][:-1])


# -- sentences -------------------------------------------------------------------------------------------------


def verdicts(evaluation: Evaluation) -> list[str]:
    """Return plain sentences about what was evaluated and what a reader should know before the figures."""
    e = evaluation
    sentences = [
        f"{counted(e.documents, 'document')}; on average {e.labels_true:.1f} true and {e.labels_predicted:.1f} "
        "predicted labels, ancestors included."
    ]
    if e.documents:
        sentences.append(_unknown_sentence(e))
    if e.unlabelled:
        sentences.append(f"{counted(e.unlabelled, 'document')} without a true label.")
    if e.unjudged:
        verb = "lies" if e.unjudged == 1 else "lie"
        sentences.append(
            f"{counted(e.unjudged, 'predicted label')} {verb} below a most specific true one: counted as wrong, but "
            "left out in the figures of what is known."
        )
    if e.violations_before is not None:
        sentences.append(
            f"{counted(e.violations_before, 'incoherent parent-child pair')} before decoding, "
            f"{f'{e.violations_after:,}' if e.violations_after else 'none'} after."
        )
    if not e.closed:
        sentences.append(
            f"The prediction lacks ancestors in {counted(e.unclosed_documents, 'document')}; they were added "
            "before scoring."
        )
    return sentences


def _unknown_sentence(e: Evaluation) -> str:
    if not e.unknown:
        return "Every document got a label; none is unknown."
    share = e.unknown / e.documents
    verb = "is" if e.unknown == 1 else "are"
    return f"{_percent(share)} of documents are unknown: {e.unknown:,} {verb} left without a label."


def comparison_verdicts(
    evaluations: Mapping[str, Evaluation], comparisons: Mapping[str, Comparison] | None = None
) -> list[str]:
    """Return sentences on how the first evaluation stands against each other one, and which are not closed.

    Args:
        evaluations: by name, ours first.
        comparisons: the paired comparisons by the other's name; without one, a sentence only gives both figures.
    """
    first, *others = evaluations
    rows, paired = side_by_side(evaluations), comparisons or {}
    sentences = [paired[o].verdict if o in paired else _gain_sentence(rows, first, o) for o in others]
    for other in others:
        if broken := evaluations[other].unclosed_documents:
            sentences.append(f"{other} lacks ancestors in {counted(broken, 'document')}; added before scoring.")
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
    """Return precision, recall and F1 in two averages, and beneath them the other figures.

    Intervals stand where bars would be otherwise. A third average is of what is known, where that differs.
    """
    m, ends = evaluation.metrics, evaluation.intervals
    table = _table("", "precision", "recall", "F1", "95 %" if ends else "")
    averages = [
        ("hierarchical, all labels pooled", ("hP", "hR", "hF")),
        ("hierarchical, mean of documents", ("hP_example", "hR_example", "hF_example")),
    ]
    if evaluation.unjudged:
        averages.append(("… pooled, what is known", ("hP_known", "hR", "hF_known")))
    for label, keys in averages:
        p, r, f = (m[key] for key in keys)
        spread = _interval(ends.get(keys[2])) if ends else _bar(f)
        table.add_row(label, _figure(p), _figure(r), Text(_figure(f), "bold"), spread)
    rest = [key for key in METRIC_NAMES if key in m and not key.startswith(("hP", "hR", "hF"))]
    rest += sorted(filter(_is_at_k, m), key=_by_kind_and_k)
    return Group(table, Text(), _grid([(key, m[key]) for key in rest], ends))


def _grid(
    figures: Sequence[tuple[str, float]], intervals: Mapping[str, tuple[float, float]], columns: int = 3
) -> Table:
    """Return name and value pairs in columns, filled downwards; with intervals in one column."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    columns = 1 if intervals else columns
    height = -(-len(figures) // columns)
    for _ in range(columns):
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        if intervals:
            grid.add_column(no_wrap=True)
    for i in range(height):
        cells: list[RenderableType] = []
        for key, value in figures[i::height]:
            small = key in LOWER_IS_BETTER
            cells += [Text(_name(key), "dim"), _figure(value, small)]
            if intervals:
                cells.append(_interval(intervals.get(key), small))
        grid.add_row(*cells)
    return grid


def levels_table(evaluation: Evaluation) -> Table:
    """Return hP, hR and hF of each level that has true or predicted labels, with its name."""
    with_intervals = any("hF_low" in row for row in evaluation.levels)
    spread = "95 %" if with_intervals else ""
    table = _table("level", "hP", "hR", "hF", spread, "true", "predicted", title="Per level")
    for row in evaluation.levels:
        if row["support"] or row["predicted"]:
            table.add_row(
                _level(row), _figure(row["hP"]), _figure(row["hR"]), Text(_figure(row["hF"]), "bold"),
                _interval(_ends(row, "hF")) if with_intervals else _bar(row["hF"]),
                f"{row['support']:,}", f"{row['predicted']:,}",
            )  # fmt: skip
    return table


def buckets_table(evaluation: Evaluation) -> Table:
    """Return macro-F1 and pooled hF of the nodes by how many training documents they had."""
    rows = evaluation.buckets
    with_hf = all("hF" in row for row in rows)  # older evaluations have none
    with_intervals = any("macro_f1_low" in row for row in rows)
    headers = ("macro-F1", "95 %" if with_intervals else "", *(("hF",) if with_hf else ()), "nodes", "true")
    table = _table("training documents", *headers, title="Nodes by training documents")
    for row in rows:
        f1, spread = _figure(row["macro_f1"]), _interval(_ends(row, "macro_f1"))
        shown = (f1, spread if with_intervals else _bar(row["macro_f1"])) if row["nodes"] else (Text("–", "dim"), "")
        hf = (_figure(row["hF"]) if row["nodes"] else Text("–", "dim"),) if with_hf else ()
        name = str(row["train_count"]).replace("-", "–")
        table.add_row(name, *shown, *hf, f"{row['nodes']:,}", f"{row['support']:,}")
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
    title = f"Best and worst of {counted(len(enough), 'node')} with at least {min_support} true documents"
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


def comparison(
    evaluations: Mapping[str, Evaluation], comparisons: Mapping[str, Comparison] | None = None
) -> RenderableType:
    """Return metrics side by side, and how much the first evaluation is above each other one.

    Args:
        evaluations: by name, ours first.
        comparisons: the paired comparisons by the other's name: then with the interval of each difference where
            there is room, and differences that are not shown are dim.

    Raises:
        UsageError: they are not of the same documents.
    """
    names, rows, paired = list(evaluations), side_by_side(evaluations), comparisons or {}
    if not any(e.unjudged for e in evaluations.values()):
        rows = [row for row in rows if not row["metric"].endswith(KNOWN)]
    return _FirstThatFits(_side_by_side(names, rows, paired, True), _side_by_side(names, rows, paired, False))


def _side_by_side(
    names: Sequence[str], rows: Sequence[Row], paired: Mapping[str, Comparison], intervals: bool
) -> Table:
    first, *others = names
    headers = [(other, "difference", *(("95 %",) if intervals and other in paired else ())) for other in others]
    table = _table("", first, *(header for three in headers for header in three), title="Side by side")
    plain = [row for row in rows if not _is_at_k(row["metric"])]
    lists = [row for row in rows if _is_at_k(row["metric"])]
    for row in (*plain, *sorted(lists, key=lambda row: _by_kind_and_k(row["metric"]))):
        metric, values = row["metric"], row["values"]
        small = metric in LOWER_IS_BETTER
        cells: list[RenderableType] = [Text(_figure(values[first], small=small), "bold")]
        for other in others:
            cells.append(_figure(values[other], small=small))
            found = _row_of(paired.get(other), metric)
            cells.append(_difference(row["differences"][other], metric, found is None or shown(found)))
            if intervals and other in paired:
                cells.append(_interval(_between(found), small))
        table.add_row(_name(metric), *cells)
    return table


def comparison_report(comparison: Comparison) -> Group:
    """Return how two systems compare: every metric, each level, nodes by training documents, and the verdict."""
    c = comparison
    parts: list[RenderableType] = [
        _sentences([f"{counted(c.documents, 'document')}; the two give different labels to {c.differing:,}."]),
        _compared("", c.names, ((_name(row["metric"]), row) for row in c.metrics if _worth_showing(row, c))),
    ]
    if c.levels:
        parts.append(_compared("level", c.names, ((_level(row), row) for row in c.levels), title="hF per level"))
    if c.buckets:
        named = ((str(row["train_count"]).replace("-", "–"), row) for row in c.buckets)
        parts.append(_compared("training documents", c.names, named, title="hF of nodes by training documents"))
    parts.append(_sentences([c.verdict]))
    return Group(*[piece for part in parts for piece in (part, Text())][:-1])


def _compared(
    first: str, names: tuple[str, str], rows: Iterable[tuple[str | Text, Row]], title: str = "Side by side"
) -> RenderableType:
    """Return a table of compared figures, intervals where there is room; p is the corrected one if there is one."""
    listed = list(rows)
    p = "p, corrected" if any("p_holm" in row for _, row in listed) else "p"

    def table(*spread: str) -> Table:
        drawn = _table(first, *names, "difference", *spread, p, title=title)
        for name, row in listed:
            metric = str(row.get("metric", "hF"))
            small = metric in LOWER_IS_BETTER
            drawn.add_row(
                name,
                Text(_figure(row["a"], small), "bold"),
                _figure(row["b"], small),
                _difference(row["difference"], metric, shown(row)),
                *(_interval(_between(row), small) for _ in spread),
                p_text(row.get("p_holm", row["p"])).removeprefix("p ").removeprefix("= "),
            )
        return drawn

    return _FirstThatFits(table("95 %"), table())


def _worth_showing(row: Row, comparison: Comparison) -> bool:
    """Return whether to show a metric: the reading of what is known only where it differs from the other."""
    metric = str(row["metric"])
    if not metric.endswith(KNOWN):
        return True
    other = comparison[metric.removesuffix(KNOWN)]
    return (row["a"], row["b"]) != (other["a"], other["b"])


def _row_of(comparison: Comparison | None, metric: str) -> Row | None:
    rows = comparison.metrics if comparison else []
    return next((row for row in rows if row["metric"] == metric), None)


class _FirstThatFits:
    """Draws the first of some tables that is not too wide, or else the last."""

    def __init__(self, *tables: Table) -> None:
        self.tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield one of the tables."""
        room = options.update(width=10_000)
        fitting = (t for t in self.tables if t.__rich_measure__(console, room).maximum <= options.max_width)
        yield next(fitting, self.tables[-1])


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


def _difference(value: float, metric: str, is_shown: bool = True) -> Text:
    small = metric in LOWER_IS_BETTER
    better = value < 0 if small else value > 0
    digits = 5 if small else 3
    style = "dim" if abs(value) < 0.5 * 10**-digits or not is_shown else "green" if better else "red"
    return Text(_signed(value, digits), style)


def _interval(ends: tuple[float, float] | None, small: bool = False) -> Text:
    """Return "[0.762, 0.789]", or nothing where there is none."""
    if ends is None:
        return Text()
    return Text(f"[{_figure(ends[0], small)}, {_figure(ends[1], small)}]".replace("-", "−"), "dim")


def _ends(row: Row, metric: str) -> tuple[float, float] | None:
    """Return the interval of a figure of an evaluation's row."""
    low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
    return None if low is None or high is None else (low, high)


def _between(row: Row | None) -> tuple[float, float] | None:
    """Return the interval of a comparison's row."""
    return None if row is None or row["low"] is None else (row["low"], row["high"])


def _percent(share: float) -> str:
    return "less than 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


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


def _name(metric: str) -> str:
    if metric.endswith(KNOWN):
        return f"{_name(metric.removesuffix(KNOWN))}, what is known"
    return METRIC_NAMES.get(metric) or _at_k_name(metric)


def _at_k_name(metric: str) -> str:
    return f"{metric[0].upper()}@{metric[5:]}" if _is_at_k(metric) else metric
