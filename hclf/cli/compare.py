"""`hclf compare`: two models, or any predictions, on the same labelled records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import note, print_json, stdout
from hclf.cli.records import field_names, read_answers, read_labelled, say_problems
from hclf.errors import UsageError

if TYPE_CHECKING:
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Document, Problems
    from hclf.statistics import Answers
    from hclf.taxonomy import Taxonomy


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="Predictions, or a model; MODEL@POINT is an operating point.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    gold: Annotated[str, typer.Option("--gold", metavar="DATA", help="Labelled records, the same for both.")],
    taxonomy: Annotated[
        str | None, typer.Option("--taxonomy", "-t", help="Their taxonomy; not needed where A or B is a model.")
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            "--train", metavar="DATA", help="Labelled records trained on: tell rare nodes from frequent ones."
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Halves of the records, for intervals.")] = 1000,
    permutations: Annotated[int, typer.Option("--permutations", min=1, help="Exchanges of answers, for p.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Of both.")] = 0,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    json: opt.Json = False,
) -> None:
    """Tell whether A answers better than B, by how much, and where: with intervals, tests, and a plain verdict.

    How many training documents a node had is known where A or B is a model, or from --train.

    Example: hclf compare models/products predictions.jsonl --gold examples/products/test.jsonl
    """
    from hclf.data import Problems
    from hclf.statistics import compare_answers

    problems = Problems(strict=strict)
    options: dict[str, Any] = {"label_field": label_field, "id_field": id_field, "format": input_format}
    models = _models(a, b, taxonomy)
    tree = _tree(models, taxonomy)
    gathered: list[Answers] = []
    by_fields: dict[tuple[str, ...] | None, list[Document]] = {}  # what both read alike is read once
    for system, model in zip((a, b), models, strict=True):
        wanted = field_names(fields, model[0] if model else None)
        key = tuple(wanted) if wanted else None
        if key not in by_fields:
            seen = Problems(strict=strict) if by_fields else problems  # the same records: say so once
            by_fields[key] = read_labelled(gold, tree, seen, fields=wanted, **options)
        documents = by_fields[key]
        gathered.append(_of_model(*model, documents) if model else _of_file(system, gold, documents, tree, problems))
    if train is not None:
        counts = _train_counts(train, tree, problems, field_names(fields), options)
        gathered = [replace(answers, train_counts=counts) for answers in gathered]
    say_problems(problems)
    found = compare_answers(*gathered, names=_names(a, b), samples=samples, permutations=permutations, seed=seed)
    if json:
        print_json({**found.to_dict(), "problems": problems.to_dict()})
    else:
        from hclf.report.text import comparison_report

        stdout.print(comparison_report(found), soft_wrap=False)


def _of_file(predictions: str, gold: str, documents: list[Document], tree: Taxonomy, problems: Problems) -> Answers:
    from hclf.labels import label_matrix
    from hclf.statistics import prepare

    given, missing = read_answers(predictions, documents, tree, problems, gold=gold, called=gold)
    if missing:
        note(f"{predictions}: {missing:,} of {len(documents):,} documents have no prediction: they count as unknown")
    return prepare(tree, label_matrix(tree, [d.labels or () for d in documents]), given)


def _of_model(model: HierarchicalClassifier, point: str, documents: list[Document]) -> Answers:
    X, y = [d.fields for d in documents], [d.labels or () for d in documents]
    answers = model.evaluate(X, y, operating_point=point).answers
    assert answers is not None  # `evaluate` always keeps them
    return answers


def _models(a: str, b: str, taxonomy: str | None) -> list[tuple[HierarchicalClassifier, str] | None]:
    """Return the model and operating point that A and B name, None where it is a file of predictions."""
    from hclf.classifier import HierarchicalClassifier

    found: list[tuple[HierarchicalClassifier, str] | None] = []
    tree: Any = taxonomy
    for system in (a, b):
        path, at, point = (system, "", "") if Path(system).exists() else system.rpartition("@")
        if Path(path or system).is_dir():
            model = HierarchicalClassifier.load(path or system, taxonomy=tree)
            tree = model.taxonomy_
            found.append((model, point if at else "default"))
        else:
            found.append(None)
    return found


def _tree(models: list[tuple[HierarchicalClassifier, str] | None], taxonomy: str | None) -> Taxonomy:
    from hclf.registry import load_taxonomy

    known = next((model[0].taxonomy_ for model in models if model), None)
    if known is None and taxonomy is None:
        raise UsageError("neither A nor B is a model: give the taxonomy of the predictions with --taxonomy")
    return known if known is not None else load_taxonomy(taxonomy or "")


def _train_counts(train: str, tree: Taxonomy, problems: Problems, fields: list[str] | None, options: Any) -> Any:
    import numpy as np

    from hclf.labels import label_matrix

    documents = read_labelled(train, tree, problems, fields=fields, **options)
    labels = label_matrix(tree, [d.labels or () for d in documents])
    return np.bincount(labels.indices, minlength=len(tree))


def _names(a: str, b: str) -> tuple[str, str]:
    """Return the shortest names that tell them apart: file names, paths as given, or A and B."""
    short = (Path(a).name, Path(b).name)
    return short if short[0] != short[1] else (a, b) if a != b else ("A", "B")
