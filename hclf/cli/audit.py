"""`hclf audit`: what is wrong with labels that people assigned."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import guard_output, note, print_fitted, print_json, progress, stdout
from hclf.cli.records import field_names, nothing_usable, say_problems
from hclf.errors import UsageError

if TYPE_CHECKING:
    from hclf.audit import Summary

ANY = "any"


def audit(
    data: Annotated[str, typer.Argument(metavar="DATA", help='Records with labels; "-" is stdin.')],
    taxonomy: Annotated[
        str | None,
        typer.Option(
            "--taxonomy", "-t", metavar="TAXONOMY", help="Of the labels; with --model, that of the model by default."
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Also compare with what this model answers; needs texts.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="Write findings by document as JSON lines; never texts."),
    ] = None,
    as_of: opt.AsOf = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Examine the longest known prefix in place of an unknown code.")
    ] = False,
    sure: Annotated[
        float, typer.Option("--sure", help="Model: a node with this score is meant, so a label should say it.")
    ] = 0.9,
    operating_point: Annotated[
        str,
        typer.Option("--operating-point", metavar="NAME", help="Model: what it answers here is meant, not --sure."),
    ] = "",
    doubtful: Annotated[
        float, typer.Option("--doubtful", help="Model: a label with at most this score is likely wrong …")
    ] = 0.01,
    support: Annotated[
        int, typer.Option("--support", min=0, help="… if the model was trained on so many documents of it.")
    ] = 5,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", metavar="KIND", help="Exit with 1 if there is such a finding; may repeat; any."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="Most frequent labels and pairs to show a kind.")] = 3,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Examine labels that people assigned: by the rules of the taxonomy, and by a model if one is given.

    The rules find labels that are unknown, retired, not assignable or not complete, a parent beside its child, and
    pairs that exclude, need or have to precede each other. A model finds labels that are over-general, likely wrong
    or likely missing.

    Example: hclf audit examples/icd10-mini/train.jsonl -t icd10-mini -o findings.jsonl
    """
    from hclf.audit import KINDS, Auditor, FindingsWriter, Summary, read_labels
    from hclf.data import Problems, read_documents
    from hclf.registry import load_taxonomy
    from hclf.rules import as_day

    if taxonomy is None and model is None:
        raise UsageError("give the taxonomy of the labels (-t), or a model (--model)")
    _check_kinds(fail_on or [], KINDS)
    day = as_day(as_of)
    guard_output(output, force)
    judge = None
    if model is not None:
        from hclf.classifier import HierarchicalClassifier

        judge = HierarchicalClassifier.load(model)
    tree = judge.taxonomy_ if taxonomy is None and judge is not None else load_taxonomy(str(taxonomy))
    auditor = Auditor(
        tree,
        as_of=day,
        nearest=nearest,
        model=judge,
        sure=sure,
        operating_point=operating_point,
        doubtful=doubtful,
        support=support,
    )
    problems, summary = Problems(strict=strict), Summary()
    reading: dict[str, Any] = {"label_field": label_field, "id_field": id_field, "format": input_format}
    documents = (
        read_labels(data, problems=problems, **reading)
        if judge is None
        else read_documents(data, fields=field_names(fields, judge), problems=problems, **reading)
    )
    with nullcontext() if output is None else FindingsWriter(output) as writer:
        for audited in auditor.audit(progress(documents, "auditing")):
            summary.add(audited)
            if writer is not None and audited.findings:
                writer.write(audited)
    say_problems(problems)
    if not summary.documents:
        raise nothing_usable("record", problems, data)
    if json:
        print_json({"taxonomy": tree.header, **summary.to_dict(max(top, 10)), "problems": problems.to_dict()})
    elif output != "-":
        _print(summary, top)
    failing = [kind for kind in summary.kinds() if kind in (fail_on or ()) or ANY in (fail_on or ())]
    if failing:
        counts = ", ".join(f"{summary.findings[kind]:,} {kind}" for kind in failing)
        note(f"failed, as --fail-on asks: {counts}")
        raise typer.Exit(1)


def _check_kinds(wanted: list[str], known: tuple[str, ...]) -> None:
    from hclf.errors import did_you_mean, suggest

    for kind in wanted:
        if kind not in (*known, ANY):
            hint = did_you_mean(suggest(kind, known)) or f"; choose from {', '.join((*known, ANY))}"
            raise UsageError(f"--fail-on: no kind of finding is called {kind!r}{hint}")


def _print(summary: Summary, top: int) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    clean = summary.documents - summary.with_any
    stdout.print(
        f"documents: {summary.documents:,}, labels: {summary.labels:,}, documents without findings: {clean:,}",
        highlight=False,
    )
    if not summary.findings:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("finding")
    for column in ("how many", "documents", "share"):
        table.add_column(column, justify="right")
    table.add_column("most often" if top else "")
    for kind in summary.kinds():
        often = ", ".join(f"{labels} ({count:,})" for labels, count in summary.most(kind, top))
        counts = (f"{summary.findings[kind]:,}", f"{summary.documents_with[kind]:,}", f"{summary.share(kind):.1%}")
        table.add_row(kind, *counts, Text(often))
    print_fitted(table)
