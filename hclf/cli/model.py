"""`hclf train`, `tune` and `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import first_process, note, print_json, progress, stdout
from hclf.cli.prompts import usage_in_words
from hclf.cli.records import field_names, parse_fields, read_labelled, say_problems
from hclf.cli.scorers import named_values, scorer_options
from hclf.errors import DataError, UsageError, did_you_mean, suggest

if TYPE_CHECKING:
    from hclf.classifier import HierarchicalClassifier

WITHOUT_RECORDS = ("similarity", "prompt")  # scorers to which the names of nodes are enough


def _take_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a YAML file the defaults of the command's options."""
    if path is None or context.resilient_parsing:
        return path
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a config is a mapping of option names to values, such as `seed: 7`")
    known = {str(p.name): p for p in context.command.params}
    wanted = {str(key).replace("-", "_"): value for key, value in values.items()}
    for key in wanted:
        if key not in known:
            raise UsageError(f"{path}: unknown option {key!r}{did_you_mean(suggest(key, known))}")
        known[key].required = False
    context.default_map = {**(context.default_map or {}), **wanted}
    return path


def train(
    taxonomy: opt.Taxonomy,
    output: opt.NewModel,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DATA",
            help="Labelled records; may repeat. The scorers similarity and prompt need none: names of nodes will do.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", callback=_take_config, is_eager=True, help="YAML file of option values."),
    ] = None,
    fields: opt.Fields = "",
    scorer: Annotated[
        str,
        typer.Option(
            "--scorer",
            help="What scores the nodes: linear, lexicon, neural, similarity, prompt, or several: linear+neural.",
        ),
    ] = "linear",
    scorer_option: opt.ScorerOption = None,
    C: Annotated[
        float | None, typer.Option("--C", min=1e-6, help="Inverse regularisation of the linear scorer; default: 1.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Full one-vs-rest: slower, no sampled negatives.")] = False,
    node_texts: Annotated[
        bool | None,
        typer.Option(
            "--node-texts/--no-node-texts",
            help="Names and synonyms of nodes are training data of the linear scorer; default: they are.",
        ),
    ] = None,
    mined_phrases: Annotated[
        bool | None,
        typer.Option(
            "--mined-phrases/--no-mined-phrases",
            help="The lexicon takes phrases from the records, too (default): the model then holds words of theirs.",
        ),
    ] = None,
    min_documents: Annotated[
        int | None,
        typer.Option(
            "--min-documents", min=1, help="Records a mined phrase of the lexicon must be in, at least; default: 2."
        ),
    ] = None,
    encoder: opt.Encoder = None,
    head: opt.Head = None,
    learn: opt.Learn = None,
    members: opt.Members = None,
    epochs: opt.Epochs = None,
    batch_size: opt.BatchSize = None,
    learning_rate: opt.LearningRate = None,
    max_length: opt.MaxLength = None,
    checkpoint: opt.Checkpoint = None,
    resume: opt.Resume = False,
    device: opt.Device = None,
    language_model: opt.LanguageModel = None,
    base_url: opt.BaseUrl = None,
    shots: opt.Shots = None,
    instructions: opt.Instructions = None,
    templates: opt.Templates = None,
    refit: Annotated[
        bool | None,
        typer.Option(
            "--refit/--no-refit",
            help="After calibration, train again on all records, or keep the model of the larger part. "
            "Without: again, unless less than 1 % was held out, as of 500,000 records or more.",
        ),
    ] = None,
    decoder: opt.Decoder = "auto",
    decoder_option: opt.DecoderOption = None,
    k: opt.K = None,
    to_leaf: opt.ToLeaf = False,
    coherence: opt.Coherence = "max",
    calibrate: opt.Calibrate = "auto",
    goal: opt.Goal = "hf",
    grid: opt.Grid = False,
    one_threshold: opt.Global = False,
    partial_labels: Annotated[
        str, typer.Option("--partial-labels", help="Below a label nothing is known (unknown) or holds (negative).")
    ] = "unknown",
    baseline: Annotated[str, typer.Option("--baseline", help="flat: train one without hierarchy beside.")] = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    seed: opt.Seed = 0,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes; default: all cores.")] = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Train a model on labelled records, tune its thresholds on a part held out, and save it.

    Example: hclf train -t products -d examples/products/train.jsonl -o models/products

    With a language model, FOLDER: hclf train -t products -d DATA --scorer neural --encoder FOLDER -o MODEL

    Without any records: hclf train -t products --scorer similarity --encoder FOLDER -o MODEL

    A model behind a server: hclf train -t products --scorer prompt --model NAME --base-url URL -o MODEL
    """
    if not data and scorer not in WITHOUT_RECORDS:
        others = " or ".join(WITHOUT_RECORDS)
        raise UsageError(f"give labelled records to learn from: --data FILE (only --scorer {others} does without)")
    if baseline not in ("", "flat"):
        raise UsageError(f"unknown baseline {baseline!r}; there is flat")

    from hclf.bundle import check_target
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Problems
    from hclf.registry import load_taxonomy

    check_target(output, force)
    flags: dict[str, dict[str, Any]] = {
        "linear": {"C": C, "exact": exact or None, "node_texts": node_texts},
        "lexicon": {"mined": mined_phrases, "min_documents": min_documents},
        "neural similarity": {"encoder": encoder, "max_length": max_length},
        "neural": {
            "head": head,
            "tune": learn,
            "n_members": members,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "resume": resume or None,
        },
        "neural prompt": {"device": device},
        "prompt": {
            "model": language_model,
            "base_url": base_url,
            "shots": shots,
            "instructions": instructions,
            "templates": templates,
        },
    }
    if (weights := parse_fields(fields)) and "linear" in scorer:
        flags["linear"]["field_weights"] = weights
    tree = load_taxonomy(taxonomy)
    settings: dict[str, Any] = {
        "taxonomy": tree,
        "scorer": scorer,
        "scorer_options": scorer_options(scorer, flags, scorer_option),
        "coherence": coherence,
        "calibrate": calibrate,
        "decoder": decoder,
        "decoder_options": _decoder_options(decoder_option, k, to_leaf),
        "goal": goal,
        "search": "grid" if grid else "exact",
        "per_level": not one_threshold,
        "partial_labels": partial_labels,
        "refit": refit,
        "n_jobs": jobs,
        "seed": seed,
    }
    HierarchicalClassifier(**settings).check_settings()  # before the work, not after it
    problems = Problems(strict=strict)
    documents = [
        document
        for source in data or ()
        for document in read_labelled(
            source,
            tree,
            problems,
            fields=field_names(fields),
            label_field=label_field,
            id_field=id_field,
            format=input_format,
        )
    ]
    say_problems(problems)
    y = [d.labels or () for d in documents]
    model = HierarchicalClassifier(**settings).fit(documents, y, progress=progress)
    flat = HierarchicalClassifier(**settings, flat=True).fit(documents, y, progress=progress) if baseline else None
    if not first_process():
        return
    if documents:
        model.report_["fields"] = list(documents[0].fields)
    model.report_["problems"] = dict(problems.counts)
    model.save(output, force=force, baseline=flat)
    if json:
        print_json({"model": str(output), **model.report_})
    else:
        _say_report(model, output)


def _decoder_options(pairs: list[str] | None, k: int | None, to_leaf: bool) -> dict[str, Any] | None:
    """Return the options of a decoder: of flags, and of NAME=VALUE pairs."""
    given: dict[str, Any] = {"k": k, "to_leaf": to_leaf or None}
    given |= named_values(pairs or (), "--decoder-option", "at_most=[1,3]")
    return {name: value for name, value in given.items() if value is not None} or None


def _say_report(model: HierarchicalClassifier, output: Path) -> None:
    report = model.report_
    goal, achieved = report["goal"], report["achieved_on_held_out"]
    note(
        f"trained {report['trained_nodes']:,} nodes on {report['documents']:,} documents; "
        f"{report['nodes_without_documents']:,} nodes have no documents{_cold_start(report, ' and get a prior')}"
    )
    if recall := _candidate_recall(report):
        note(f"true nodes among the candidates, by level: {recall}")
    for of, weights in _weights(report):
        note(f"weights {of}, by level: {weights}")
    for name, told in report["scorers"].items():
        if "epochs" in told:
            note(f"{name}: {_trained(told)}")
        if told.get("prompts"):
            note(f"{name}: {usage_in_words(told)}")
    note(f"decoder: {report['decoder']} ({report['decoder_reason']})")
    note("thresholds by level: " + "  ".join(f"{t:.2f}" for t in report["thresholds"]))
    if untuned := report.get("untuned"):
        note(untuned)
    if achieved is not None:
        expected = report["expected_on_new"]
        new = "" if expected is None else f"; {expected:.3f} expected on new ones"
        note(f"{goal} {achieved:.3f} on {report['held_out']:,} held-out documents (optimistic: tuned on them){new}")
    note(f"model: {output}")


def _trained(report: dict[str, Any]) -> str:
    """Say how a network was trained."""
    parts = [f"{report['epochs']} epochs, {report['parameters']:,} parameters, {report['seconds']:,.0f} s"]
    for name, written in (("hf", "hF"), ("auprc", "AU(PRC)")):
        if (value := report.get(f"validation_{name}")) is not None:
            parts.append(f"best epoch {report['best_epoch']}, {written} {value:.3f} in validation")
    if report.get("long_documents"):
        parts.append(f"{report['long_documents']:,} long documents were read in several chunks")
    return "; ".join(parts)


def _cold_start(report: dict[str, Any], otherwise: str) -> str:
    """Say how nodes without documents get a score; bundles made before say nothing of texts."""
    cold = report.get("cold_start_nodes", 0)
    return f": {cold:,} can be found by their texts, otherwise a prior counts" if cold else otherwise


def _candidate_recall(report: dict[str, Any]) -> str:
    shares = report.get("candidate_recall") or {}
    return "  ".join(f"{level}: {share:.3f}" for level, share in shares.items() if share is not None)


def _weights(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what each of several scorers is worth, by level, of nodes with a model and of other ones."""
    found: dict[str, list[str]] = {}
    for row in report.get("fusion", ()):
        shares = ", ".join(f"{name} {share:.2f}" for name, share in row["weights"].items())
        of = "of trained nodes" if row["of"] == "columns" else "of other nodes"
        found.setdefault(of, []).append(f"{row['level']}: {shares}")
    return [(of, "  ".join(levels)) for of, levels in found.items()]


def tune(
    model: opt.ModelFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled records the model was not trained on.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="MODEL", help="Where to write; in place with -f."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the operating point to make, or to set anew.")] = "default",
    goal: opt.TuneGoal = None,
    confidence: opt.Confidence = None,
    decoder: Annotated[
        str | None, typer.Option("--decoder", help=f"{opt.DECODERS}; default: as the default point.")
    ] = None,
    decoder_option: opt.DecoderOption = None,
    k: opt.K = None,
    to_leaf: opt.ToLeaf = False,
    grid: opt.Grid = False,
    one_threshold: opt.Global = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Learn the calibration of scores anew; other points are dropped.")
    ] = False,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Tune the thresholds of a trained model anew, or make another operating point, without training it again.

    Example: hclf tune models/products examples/products/test.jsonl --goal 'precision>=0.95' -o models/sure

    Example: hclf tune models/products examples/products/test.jsonl --name audit --goal 'precision>=0.98' -f

    Example: hclf tune models/products examples/products/test.jsonl --name sure --goal 'precision>=0.9' --confidence 0.9 -f

    Example: hclf predict models/products examples/products/test.jsonl --auto-precision 0.9 -o sure.jsonl
    """  # noqa: E501
    from hclf.bundle import check_target
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Problems

    target = output or model
    check_target(target, force)
    loaded = HierarchicalClassifier.load(model)
    flat = HierarchicalClassifier.load_baseline(model)
    problems = Problems(strict=strict)
    documents = read_labelled(
        data,
        loaded.taxonomy_,
        problems,
        fields=field_names(fields, loaded),
        label_field=label_field,
        id_field=id_field,
        format=input_format,
    )
    say_problems(problems)
    loaded.tune(
        [d.fields for d in documents],
        [d.labels or () for d in documents],
        name=name,
        goal=goal,
        decoder=decoder,
        decoder_options=_decoder_options(decoder_option, k, to_leaf),
        search="grid" if grid else "exact",
        per_level=not one_threshold,
        confidence=confidence,
        calibrate=calibrate,
    )
    loaded.save(target, force=force, baseline=flat)
    point = loaded.operating_points_[name]
    if json:
        print_json({"model": str(target), "operating_point": name, **loaded.report_, **point.report})
    else:
        note(f"operating point {name}: {_point_in_words(point.to_dict())}")
        if point.guarantee:
            note(point.guarantee.summary)
        note(f"model: {target}")


def _point_in_words(point: dict[str, Any]) -> str:
    decoder, thresholds, about = point["decoder"], point["thresholds"], point["about"]
    options = "".join(f", {key} {value}" for key, value in decoder.items() if key != "name" and value)
    goal, reached, expected = (thresholds[key] for key in ("goal", "achieved", "expected"))
    parts = [f"{goal} on {about['documents']:,} documents" if goal != "none" else "no thresholds"]
    if reached is not None:
        parts[0] += f", {reached:.3f} reached"
    if expected is not None:
        parts[0] += f", {expected:.3f} expected on new ones"
    parts.append(f"decoder {decoder['name']}{options} ({about['decoder_reason']})")
    if thresholds["search"] != "none":
        own = " by level, and nodes have their own" if thresholds["nodes"] else ""
        parts.append("thresholds " + "  ".join(f"{t:.3f}" for t in thresholds["values"]) + own)
    if "void" in about:
        parts.append(f"its guarantee is void: {about['void']}")
    return "; ".join(parts)


def inspect(model: opt.ModelFolder, json: opt.Json = False) -> None:
    """Say what a model is, without loading it."""
    from hclf.bundle import read_manifest

    manifest = read_manifest(model)
    if json:
        print_json(manifest)
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    try:
        rows = _inspect_rows(manifest, model)
    except (KeyError, TypeError, ValueError):
        raise DataError("the manifest lacks parts", file=str(model)) from None
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", value)
    stdout.print(table)


def _inspect_rows(manifest: dict[str, Any], model: Path) -> list[tuple[str, str]]:
    about, report, settings = manifest["taxonomy"], manifest["report"], manifest["settings"]
    size = sum(file.stat().st_size for file in model.iterdir() if file.is_file())
    changed = {k: v for k, v in (settings["scorer_options"] or {}).items() if v is not None}
    return [
        ("taxonomy", f"{about['id']} {about['version']} ({about['nodes']:,} nodes, {about['fingerprint'][:8]})"),
        ("scorer", f"{settings['scorer']} {changed or ''}"),
        ("fields", ", ".join(report.get("fields", []))),
        ("trained", f"{report['trained_nodes']:,} nodes on {report['documents']:,} documents"),
        (
            "without documents",
            f"{report['nodes_without_documents']:,} nodes{_cold_start(report, ', scored by a prior')}",
        ),
        *([("candidate recall", f"{recall} (by level)")] if (recall := _candidate_recall(report)) else []),
        *((f"weights {of}", f"{weights} (by level)") for of, weights in _weights(report)),
        ("coherence", settings["coherence"]),
        *((f"point {name}", _point_in_words(point)) for name, point in manifest["operating_points"].items()),
        ("baseline", "flat" if "baseline" in manifest else "none"),
        ("made by", f"hclf {manifest['hclf']}, format {manifest['format_version']}"),
        ("size", f"{size / 1e6:,.1f} MB"),
    ]
