"""`hclf import-hf` and `export-hf`: Hugging Face classifiers in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import note, print_json, progress
from hclf.cli.records import field_names, read_labelled, say_problems
from hclf.errors import DataError, UsageError

if TYPE_CHECKING:
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Document, Problems
    from hclf.taxonomy import Taxonomy

SCORER = "imported"


def import_hf(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A sequence classifier as transformers saves it.")],
    taxonomy: opt.Taxonomy,
    output: opt.NewModel,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DATA",
            help="Labelled records the classifier was not trained on, to calibrate it and to tune thresholds; may "
            "repeat. Default: its own probabilities and a threshold of 0.5.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="YAML or JSON: label of the classifier, or its number, -> id, name or path of a node, or null for "
            "none; or a list of these. Labels not in it are looked up.",
        ),
    ] = None,
    problem: Annotated[
        str | None,
        typer.Option(
            "--problem",
            metavar="multi_label|single_label",
            help="Whether each label is on its own or one of them is chosen; default: as the configuration says.",
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=4, help="Tokens of a chunk; default: what the model can read.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one.")
    ] = None,
    decoder: opt.Decoder = "auto",
    coherence: opt.Coherence = "max",
    calibrate: opt.Calibrate = "auto",
    goal: opt.Goal = "hf",
    grid: opt.Grid = False,
    one_threshold: opt.Global = False,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    seed: opt.Seed = 0,
    strict: opt.Strict = False,
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Make a model of a Hugging Face classifier: its labels become nodes, its scores coherent and calibrated.

    Nothing is trained. Labels are found among the nodes by id, name or path; those that mean none are named.
    """
    from hclf.bundle import check_target
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Problems
    from hclf.registry import load_taxonomy

    check_target(output, force)
    tree = load_taxonomy(taxonomy)
    options = {"model": folder, "labels": read_labels(labels), "problem": problem, "max_length": max_length}
    settings: dict[str, Any] = {
        "scorer": SCORER,
        "scorer_options": {**options, "device": device},
        "decoder": decoder,
        "coherence": coherence,
        "calibrate": calibrate,
        "goal": goal,
        "search": "grid" if grid else "exact",
        "per_level": not one_threshold,
        "seed": seed,
    }
    HierarchicalClassifier(taxonomy=tree, **settings).check_settings()
    problems = Problems(strict=strict)
    documents = _read(
        data,
        tree,
        problems,
        fields=field_names(fields),
        label_field=label_field,
        id_field=id_field,
        format=input_format,
    )
    if not documents and decoder == "auto":
        settings["decoder"] = _decoder_of(folder, problem)
    model = HierarchicalClassifier(taxonomy=tree, **settings)
    model.fit(documents, [d.labels or () for d in documents], progress=progress)
    found = model.scorer_.report  # type: ignore[attr-defined]
    if strict and found["unknown"]:
        raise DataError(found["unknown"][0], file=folder)
    model.report_ |= {"imported": found, "problems": dict(problems.counts)}
    if documents:
        model.report_["fields"] = list(documents[0].fields)
    model.save(output, force=force)
    if json:
        print_json({"model": str(output), **model.report_})
    else:
        _say(model, output)


def export_hf(
    model: opt.ModelFolder,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")],
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Write a model's classifier as a Hugging Face folder that gives equal logits in transformers.

    What transformers can express are imported classifiers and networks with the head `native`. Calibration,
    coherence and thresholds stay behind.
    """
    from hclf.classifier import HierarchicalClassifier
    from hclf.scorers import scorer_class

    _guard_folder(output, force)
    loaded = HierarchicalClassifier.load(model)
    scorer_class("neural")  # says which extra is missing
    from hclf.scorers.neural.interchange import export_folder

    written = export_folder(loaded.scorer_, loaded.taxonomy_, output)
    if json:
        print_json({"folder": str(output), **written})
    else:
        note(f"{written['architecture']} with {written['labels']:,} labels: {output}")


def read_labels(file: Path | None) -> dict[str, str | None]:
    """Return label, or its number, -> node from a YAML or JSON file.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    import yaml

    if file is None:
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {file}: {str(error).splitlines()[0]}") from None
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, dict):
        raise UsageError(f"{file}: give label: node pairs, or a list of nodes in the order of the labels")
    for label, node in found.items():
        if isinstance(node, dict | list):
            raise UsageError(f"{file}: {str(label)!r} stands for one node, or null for none")
    return {str(label): None if node is None else str(node) for label, node in found.items()}


def _read(sources: list[str] | None, taxonomy: Taxonomy, problems: Problems, **options: Any) -> list[Document]:
    documents = [d for source in sources or () for d in read_labelled(source, taxonomy, problems, **options)]
    say_problems(problems)
    return documents


def _decoder_of(folder: str, problem: str | None) -> str:
    """Return the decoder that takes a classifier at its word."""
    from hclf.scorers.neural.native import classifier_problem

    return "threshold" if classifier_problem(folder, problem) == "multi_label" else "path"


def _guard_folder(folder: Path, force: bool) -> None:
    """Refuse to write into a folder that holds something else, or a classifier unless `force` is set."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} exists and holds no Hugging Face model; choose another place")
    if not force:
        raise UsageError(f"{folder} exists; add -f to overwrite it")


def _say(model: HierarchicalClassifier, output: Path) -> None:
    report, found = model.report_, model.report_["imported"]
    for line in labels_in_words(found, len(model.taxonomy_)):
        note(line)
    if report["documents"]:
        goal, achieved, expected = (report[key] for key in ("goal", "achieved_on_held_out", "expected_on_new"))
        note(f"calibrated and tuned on {report['documents']:,} records; decoder: {report['decoder']}")
        if achieved is not None:
            new = "" if expected is None else f"; {expected:.3f} expected on new ones"
            note(f"{goal} {achieved:.3f} on {report['held_out']:,} of them (optimistic: tuned on them){new}")
    else:
        note("no records to calibrate on: probabilities are the classifier's own; hclf tune tunes thresholds later")
    note("thresholds by level: " + "  ".join(f"{t:.2f}" for t in report["thresholds"]))
    note(f"model: {output}")


def labels_in_words(found: dict[str, Any], nodes: int) -> list[str]:
    """Return what became of labels and nodes, one line each."""
    lines = [
        f"{found['architecture']}: {found['labels_of_nodes']:,} of {found['labels']:,} labels are nodes "
        f"({nodes:,} nodes in all)"
    ]
    lines += [f"  {line}" for line in _some(found["unknown"], found["unknown_labels"])]
    if left := found["nodes_without_label"]:
        named = ", ".join(_some(found["without_label"], found["leaves_without_label"] or left))
        leaves = f", {found['leaves_without_label']:,} of them leaves" if found["leaves_without_label"] else ""
        lines.append(f"{left:,} nodes have no label{leaves}: {named}")
    if found["problem"] == "single_label":
        lines.append("its labels exclude each other: a node has the sum of the probabilities at and below it")
        if not found["problem_stated"]:
            lines[-1] += " (its configuration does not say; otherwise give --problem multi_label)"
    return lines


def _some(shown: list[str], count: int) -> list[str]:
    return [*shown, f"… and {count - len(shown):,} more"] if count > len(shown) else shown
