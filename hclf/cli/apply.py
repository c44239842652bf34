"""`hclf predict`, `evaluate` and `check`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from hclf.cli import options as opt
from hclf.cli.common import guard_output, note, print_json, progress, stdout
from hclf.cli.prompts import print_prompts, say_usage, say_where
from hclf.cli.records import field_names, read_answers, read_labelled, say_problems
from hclf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hclf.data import Document, Prediction, Problems
    from hclf.diagnostics import Diagnostics
    from hclf.evaluation import Evaluation
    from hclf.statistics import Comparison
    from hclf.taxonomy import Taxonomy


def predict(
    model: opt.ModelFolder,
    data: Annotated[str, typer.Argument(metavar="INPUT", help='Records with text; "-" is stdin.')],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help='A file; "-" is stdout.')] = "-",
    format: Annotated[
        str | None, typer.Option("--format", help="jsonl, csv-long, csv-wide or parquet; default: by suffix.")
    ] = None,
    deepest_only: Annotated[bool, typer.Option("--deepest-only", help="Leave ancestors out.")] = False,
    operating_point: opt.OperatingPoint = "default",
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="NODE", help="Answer only in this subtree; may repeat.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", metavar="NODE", help="Never answer in this subtree; may repeat.")
    ] = None,
    rules: opt.Rules = None,
    as_of: opt.AsOf = None,
    assignable: opt.Assignable = False,
    show: Annotated[int, typer.Option("--show", min=0, help="Draw the first N answers as trees instead.")] = 0,
    auto_precision: Annotated[
        float | None,
        typer.Option(
            "--auto-precision",
            help="Write two files: OUT with what can be applied unseen at this precision, and OUT with .review "
            "before the suffix with best guesses for the other records.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="With a language model: print the prompts of the first records, and how many there will be about.",
        ),
    ] = False,
    fields: opt.Fields = "",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
) -> None:
    """Classify records, one answer for each, in order; memory does not grow with the input.

    Example: hclf predict models/products examples/products/test.jsonl -o predictions.jsonl

    Example: hclf predict models/products examples/products/test.jsonl --rules repair -o obedient.jsonl
    """
    from itertools import islice

    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Problems, open_predictions, read_documents

    guard_output(output, force)
    changed = bool(show or allow or deny or assignable or rules == "repair")
    review = None if auto_precision is None else _review_beside(output, changed)
    guard_output(review, force)
    loaded = HierarchicalClassifier.load(model)
    problems = Problems(strict=strict)
    reader = read_documents(
        data,
        fields=field_names(fields, loaded),
        id_field=id_field,
        format=input_format,
        problems=problems,
    )
    if dry_run:
        print_prompts(loaded, reader)
        say_problems(problems)
        return
    say_where(loaded)
    if auto_precision is not None and review is not None:
        asked: Any = {"guess": operating_point, "rules": rules, "as_of": as_of}
        triaged = progress(loaded.triage(reader, auto_precision, **asked), "predicting")
        written = _write_both(triaged, (output, review), format=format, deepest_only=deepest_only)
        say_problems(problems)
        note(f"{written[0]:,} documents ({written[0] / max(sum(written), 1):.1%}) answered: {output}")
        note(f"{written[1]:,} documents to review, with best guesses: {review}")
        say_usage(loaded)
        return
    documents = islice(reader, show) if show else reader
    answers = loaded.predict_documents(
        documents,
        operating_point=operating_point,
        allow=allow or None,
        deny=deny or None,
        rules=cast(Any, rules),
        as_of=as_of,
        assignable=assignable,
    )
    if show:
        from hclf.report import prediction_tree

        for prediction in answers:
            stdout.print(prediction_tree(loaded.taxonomy_, prediction))
            for finding in prediction.findings:
                stdout.print(f"! {finding['message']}", highlight=False, markup=False)
        say_usage(loaded)
        return
    unknown = cold = found = repaired = 0
    with open_predictions(output, format=format, deepest_only=deepest_only) as writer:
        for prediction in progress(answers, "predicting"):
            unknown += not prediction.labels
            cold += "cold-start" in prediction.flags
            found += bool(prediction.findings)
            repaired += "repaired" in prediction.flags
            writer.write(prediction)
    say_problems(problems)
    unseen = f"; {cold:,} cold-start (a most specific label has no training document)" if cold else ""
    note(f"{writer.written:,} documents; {unknown:,} unknown (nothing passed its threshold){unseen}")
    say_usage(loaded)
    if found:
        note(f"rules object to {found:,} answers, as their findings say; {repaired:,} were repaired")


def _review_beside(output: str, otherwise: bool) -> str:
    """Return the name of the second file of --auto-precision."""
    if output == "-":
        raise UsageError("--auto-precision writes two files: name one with -o")
    if otherwise:
        others = "--show, --allow, --deny, --assignable and --rules repair"
        raise UsageError(f"--auto-precision goes with none of {others}: what is promised is of all, as it is")
    path = Path(output)
    packed = path.suffix == ".gz"
    stem = path.with_suffix("") if packed else path
    return str(stem.with_name(f"{stem.stem}.review{stem.suffix}{'.gz' if packed else ''}"))


def _write_both(
    triaged: Iterable[tuple[bool, Prediction]], files: tuple[str, str], **options: Any
) -> tuple[int, int]:
    """Write answers to the first file and the rest to the second; return how many each."""
    from hclf.data import open_predictions

    with open_predictions(files[0], **options) as answers, open_predictions(files[1], **options) as rest:
        for sure, prediction in triaged:
            (answers if sure else rest).write(prediction)
    return answers.written, rest.written


def evaluate(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help="A model …")] = None,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="… and labelled records.")] = None,
    gold: Annotated[str | None, typer.Option("--gold", help="Instead: labelled records …")] = None,
    pred: Annotated[str | None, typer.Option("--pred", help="… any predictions for the same ids …")] = None,
    taxonomy: Annotated[
        str | None, typer.Option("--taxonomy", "-t", help="… and their taxonomy. With a model: it must be this one.")
    ] = None,
    nodes: Annotated[Path | None, typer.Option("--nodes", help="Write the per-node table to this CSV file.")] = None,
    operating_point: opt.OperatingPoint = "default",
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Find 95 % intervals, and test differences.")
    ] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a report: .html (a page), .md (a summary), .json (everything) or .csv (labels); may repeat.",
        ),
    ] = None,
    with_examples: Annotated[
        bool, typer.Option("--with-examples", help="Show texts of documents in the page; otherwise none is.")
    ] = False,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Measure a model on labelled records, or any predictions against gold labels.

    Example: hclf evaluate models/products examples/products/test.jsonl

    Example: hclf evaluate models/products examples/products/test.jsonl --report report.html --report report.md

    Example: hclf evaluate --gold examples/products/test.jsonl --pred predictions.jsonl --taxonomy products
    """
    from hclf.data import Problems
    from hclf.evaluation import against

    for path in (nodes, *(report or ())):
        guard_output(path, force)
    wanted = _Wanted(operating_point, intervals or bool(report), bool(report))
    if with_examples and not report:
        raise UsageError("--with-examples is about a report: name one with --report")
    if report:
        from hclf.report import check_report_path

        for path in report:
            check_report_path(path)
    problems = Problems(strict=strict)
    common = {"label_field": label_field, "id_field": id_field, "format": input_format}
    if gold and pred and taxonomy and model is None:
        found = _score_files(gold, pred, taxonomy, problems, field_names(fields), common, wanted)
        files = {"gold": gold, "predictions": pred}
    elif model is not None and data and not (gold or pred):
        found = _score_model(model, data, taxonomy, wanted, problems, fields, common)
        files = {"model": str(model / "manifest.json"), "data": data}
    else:
        raise UsageError("give MODEL and DATA, or --gold, --pred and --taxonomy")
    say_problems(problems)
    (name, first), *others = found.evaluations.items()
    compared = against(found.evaluations) if others and wanted.intervals else {}
    if report and found.diagnostics:
        _write_reports(report, found.diagnostics, found, compared, files, problems, with_examples)
    if nodes is not None:
        first.write_node_csv(nodes)
        note(f"per-node table: {nodes}")
    if json:
        more: dict[str, Any] = {"baselines": {other: ev.to_dict() for other, ev in others}} if others else {}
        if compared:
            more["comparisons"] = {other: comparison.to_dict() for other, comparison in compared.items()}
        print_json({**first.to_dict(), "problems": problems.to_dict(), **more})
    else:
        from hclf.report import evaluation_report

        shown = evaluation_report(first, baselines=dict(others), comparisons=compared, name=name)
        stdout.print(shown, soft_wrap=False)


class _Wanted(NamedTuple):
    """What to find: at which operating point, and whether with intervals and what a report shows."""

    operating_point: str
    intervals: bool
    diagnostics: bool


class _Found(NamedTuple):
    """Evaluations by name, ours first; what they are of, and what a report shows besides."""

    evaluations: dict[str, Evaluation]
    taxonomy: Taxonomy
    documents: list[Document]
    diagnostics: Diagnostics | None


def _write_reports(
    paths: list[Path],
    diagnostics: Diagnostics,
    found: _Found,
    compared: dict[str, Comparison],
    files: dict[str, str],
    problems: Problems,
    with_examples: bool,
) -> None:
    from hclf.report import reproduction, typical_examples, write_report

    (name, first), *others = found.evaluations.items()
    examples = typical_examples(first.answers, found.documents) if with_examples and first.answers else None
    for path in paths:
        write_report(
            path,
            first,
            found.taxonomy,
            diagnostics,
            title=f"Evaluation on {Path(list(files.values())[1]).name}",
            name=name,
            about=reproduction(shlex.join(["hclf", *sys.argv[1:]]), files),
            baselines=dict(others),
            comparisons=compared,
            problems=problems.to_dict(),
            examples=examples,
        )
        note(f"report: {path}")


def _score_model(
    model: Path,
    data: str,
    taxonomy: str | None,
    wanted: _Wanted,
    problems: Any,
    fields: str,
    common: dict[str, Any],
) -> _Found:
    from hclf.classifier import HierarchicalClassifier

    loaded = HierarchicalClassifier.load(model, taxonomy=taxonomy)
    flat = HierarchicalClassifier.load_baseline(model)
    say_where(loaded)
    documents = read_labelled(data, loaded.taxonomy_, problems, fields=field_names(fields, loaded), **common)
    X, y = [d.fields for d in documents], [d.labels or () for d in documents]
    asked: dict[str, Any] = {"operating_point": wanted.operating_point, "intervals": wanted.intervals}
    diagnostics = None
    if wanted.diagnostics:
        evaluation, diagnostics = loaded.examine(X, y, **asked)
    else:
        evaluation = loaded.evaluate(X, y, **asked)
    say_usage(loaded)
    beside = {"flat": flat.evaluate(X, y, intervals=wanted.intervals)} if flat else {}
    return _Found({"hierarchical": evaluation, **beside}, loaded.taxonomy_, documents, diagnostics)


def _score_files(
    gold: str,
    pred: str,
    taxonomy: str,
    problems: Any,
    fields: list[str] | None,
    common: dict[str, Any],
    wanted: _Wanted,
) -> _Found:
    from hclf.diagnostics import diagnose
    from hclf.evaluation import evaluate as measure
    from hclf.labels import label_matrix
    from hclf.registry import load_taxonomy

    tree = load_taxonomy(taxonomy)
    documents = read_labelled(gold, tree, problems, fields=fields, **common)
    predicted, missing = read_answers(pred, documents, tree, problems, gold=gold, called="the gold file")
    if missing:
        note(f"{missing:,} of {len(documents):,} gold documents have no prediction: they count as unknown")
    true = label_matrix(tree, [d.labels or () for d in documents])
    evaluation = measure(tree, true, predicted, intervals=wanted.intervals)
    diagnostics = diagnose(tree, true, predicted) if wanted.diagnostics else None
    return _Found({"predictions": evaluation}, tree, documents, diagnostics)


def check(
    predictions: Annotated[str, typer.Argument(metavar="PREDICTIONS", help='Predictions; "-" is stdin.')],
    taxonomy: opt.Taxonomy,
    json: opt.Json = False,
) -> None:
    """Tell whether predictions are closed under ancestors, and what breaks. Exits with 1 if something does.

    Example: hclf check predictions.jsonl -t products
    """
    from hclf.data import Problems, read_predictions
    from hclf.registry import load_taxonomy

    tree, problems = load_taxonomy(taxonomy), Problems()
    counts: dict[str, int] = dict.fromkeys(("documents", "unknown", "not_closed", "unknown_nodes", "incoherent"), 0)
    kept: list[str] = []
    for prediction in read_predictions(predictions, problems=problems):
        counts["documents"] += 1
        counts["unknown"] += not prediction.labels
        for kind, message in _breaks(tree, prediction):
            counts[kind] += 1
            if len(kept) < 20:
                kept.append(f"{prediction.id}: {message}")
    broken = counts["not_closed"] + counts["unknown_nodes"] + counts["incoherent"] + problems.total
    if json:
        verdict = {"closed": counts["not_closed"] == 0, "ok": not broken}
        print_json({**verdict, **counts, "examples": kept, "problems": problems.to_dict()})
    else:
        for line in kept:
            stdout.print(line, highlight=False, markup=False)
        say_problems(problems)
        unknown = f"{counts['documents']:,} predictions, {counts['unknown']:,} unknown"
        stdout.print(f"{unknown}: {_verdict(counts, problems.total)}", highlight=False)
    if broken:
        raise typer.Exit(1)


def _verdict(counts: dict[str, int], bad_rows: int) -> str:
    found = {
        "not closed": counts["not_closed"],
        "with nodes the taxonomy does not have": counts["unknown_nodes"],
        "with a child above its parent": counts["incoherent"],
        "bad rows": bad_rows,
    }
    return ", ".join(f"{n:,} {what}" for what, n in found.items() if n) or "all closed and coherent"


def _breaks(tree: Taxonomy, prediction: Any) -> list[tuple[str, str]]:
    """Return what is wrong with one prediction, each kind once."""
    from hclf.errors import UnknownNodeError

    scores = {node.id: node.score for node in prediction.labels}
    foreign = [node for node in scores if node not in tree]
    found = [("unknown_nodes", str(UnknownNodeError(foreign[0], tree.nodes)))] if foreign else []
    own = [node for node in scores if node in tree]
    missing = [node for node in tree.closure(own) if node not in scores]
    if missing:
        found.append(("not_closed", f"lacks {missing[0]!r}, an ancestor of its labels ({len(missing)} missing)"))
    for node in own:
        parents = [tree.nodes[j] for j in tree.parents.of(tree.index(node)).tolist()]
        above = [p for p in parents if p in scores and scores[node] > scores[p] + 1e-6]
        if above:
            found.append(("incoherent", f"{node!r} scores {scores[node]:.4f}, its parent {above[0]!r} less"))
            break
    return found
