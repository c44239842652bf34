"""`hclf data`: check, split, synth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import guard_output, note, print_json, progress, stdout
from hclf.cli.records import field_names, nothing_usable, say_problems

if TYPE_CHECKING:
    from hclf.data import Document, Problems
    from hclf.taxonomy import Taxonomy

app = typer.Typer(name="data", help="Check, split and make up labelled documents.", no_args_is_help=True)

Seed = Annotated[int, typer.Option("--seed", help="Another seed, another result.")]


@app.command()
def check(
    data: Annotated[list[str], typer.Argument(metavar="DATA…", help='Files of records; "-" is stdin.')],
    taxonomy: opt.Taxonomy,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is wrong.")] = False,
    json: opt.Json = False,
) -> None:
    """Tell what labelled documents hold, and what is wrong with them.

    Several files (train and test, say) are also compared with each other.

    Example: hclf data check examples/products/train.jsonl examples/products/test.jsonl -t products
    """
    from hclf.data import check_records
    from hclf.errors import DataError
    from hclf.registry import load_taxonomy

    report = check_records(
        load_taxonomy(taxonomy),
        *data,
        fields=field_names(fields),
        label_field=label_field,
        id_field=id_field,
        format=input_format,
    )
    if json:
        print_json(report.to_dict())
    else:
        stdout.print(report)
    if strict and report.faults:
        raise DataError(f"found {'; '.join(report.faults)}", file=", ".join(data))


@app.command()
def split(
    data: Annotated[str, typer.Argument(metavar="DATA", help='A file of records; "-" is stdin.')],
    taxonomy: opt.Taxonomy,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the parts go.")],
    test: Annotated[float, typer.Option("--test", help="Share of the documents for testing.")] = 0.2,
    valid: Annotated[float, typer.Option("--valid", help="Share of the documents for validation.")] = 0.0,
    seed: Seed = 0,
    fields: opt.Fields = "",
    label_field: opt.LabelField = "labels",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
    json: opt.Json = False,
) -> None:
    """Split records into FOLDER/train, valid and test, each in the format of DATA.

    Every node with two examples or more, its descendants' counted, keeps one in train; documents with the same
    text stay together.

    Example: hclf data split examples/products/train.jsonl -t products -o parts --test 0.2 --valid 0.1
    """
    from hclf.data import Problems, documents_from, plan_split, read_documents
    from hclf.registry import load_taxonomy

    tree, problems = load_taxonomy(taxonomy), Problems(strict=strict)
    files = _part_files(output, data, input_format, test=test, valid=valid)
    for file in files.values():
        guard_output(file, force)

    def documents(problems: Problems) -> Iterator[Document]:
        return read_documents(
            data,
            fields=field_names(fields),
            label_field=label_field,
            id_field=id_field,
            format=input_format,
            problems=problems,
        )

    # A file is read twice, so that its texts need no room in memory; a pipe can be read only once.
    held = None if Path(data).is_file() else list(documents(problems))
    first = documents_from(held) if held is not None else documents(problems)
    plan = plan_split(progress(first, "reading"), tree, test=test, valid=valid, seed=seed, problems=problems)
    if not len(plan):
        raise nothing_usable("record", problems, data)
    output.mkdir(parents=True, exist_ok=True)
    second = documents_from(held) if held is not None else documents(Problems())
    report = _write_parts(files, zip(second, plan.tolist(), strict=True), tree, id_field, label_field)
    say_problems(problems)
    if json:
        print_json({"seed": seed, "parts": report, "problems": problems.to_dict()})
        return
    for part in report:
        stdout.print(f"{part['file']}: {part['documents']:,} documents, {part['nodes']:,} nodes", highlight=False)


@app.command()
def synth(
    taxonomy: opt.Taxonomy,
    n: Annotated[int, typer.Option("--number", "-n", min=0, help="How many documents.")] = 1000,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help='A file; "-" is stdout.')] = "-",
    seed: Seed = 0,
    style: Annotated[str, typer.Option("--style", help="neutral, clinical or product.")] = "neutral",
    cooccurrence: Annotated[
        str,
        typer.Option(
            "--cooccurrence",
            help="none, siblings, rules (pairs of the taxonomy's rules), or a CSV with columns a, b, weight.",
        ),
    ] = "siblings",
    labels_per_document: Annotated[float, typer.Option(min=1, help="Mean number of labels.")] = 1.5,
    internal_share: Annotated[float, typer.Option(min=0, max=1, help="Labels that are internal nodes.")] = 0.1,
    popularity: Annotated[float, typer.Option(min=0, help="Long tail of nodes (Zipf); 0: all alike.")] = 1.0,
    noise: Annotated[float, typer.Option(min=0, max=1, help="Share of words with a typo.")] = 0.05,
    templates: Annotated[Path | None, typer.Option(help="A file of sentences with {label} in them.")] = None,
    language: Annotated[str | None, typer.Option(help="Language code of names and synonyms.")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or tsv.")] = None,
    force: opt.Force = False,
) -> None:
    """Make up labelled documents for a taxonomy that has none yet; each is marked as synthetic.

    Example: hclf data synth -t icd10-mini -n 500 --style clinical --cooccurrence rules -o notes.jsonl
    """
    from hclf.data import synth as synthesise
    from hclf.data import write_documents
    from hclf.data.synth_labels import PATTERNS, read_pairs
    from hclf.registry import load_taxonomy

    guard_output(output, force)
    tree = load_taxonomy(taxonomy)
    a_file = cooccurrence not in PATTERNS and ("." in cooccurrence or Path(cooccurrence).exists())
    documents = synthesise(
        tree,
        n,
        seed=seed,
        style=style,
        cooccurrence=read_pairs(cooccurrence, tree) if a_file else cooccurrence,
        labels_per_document=labels_per_document,
        internal_share=internal_share,
        popularity=popularity,
        templates=templates,
        noise=noise,
        language=language,
    )
    written = write_documents(output, progress(documents, "writing", n), format=format)
    note(f"{written:,} synthetic documents for {tree.id}, seed {seed}")


def _part_files(output: Path, data: str, format: str | None, *, test: float, valid: float) -> dict[int, Path]:
    """Return the file of each part (by its number in a plan) that is asked for."""
    from hclf.data.sources import format_of
    from hclf.data.split import PARTS

    kind = format or format_of(data)
    suffix = (f".{kind}" if kind in ("csv", "tsv") else ".jsonl") + ".gz" * data.endswith(".gz")
    wanted = {0: True, 1: valid > 0, 2: test > 0}
    return {part: output / (name + suffix) for part, name in enumerate(PARTS) if wanted[part]}


def _write_parts(
    files: dict[int, Path],
    placed: Iterator[tuple[Document, int]],
    taxonomy: Taxonomy,
    id_field: str,
    label_field: str,
) -> list[dict[str, Any]]:
    from hclf.data import DocumentWriter, LabelResolver, Problems

    resolver, unheard = LabelResolver(taxonomy), Problems()
    labels: dict[int, set[str]] = {part: set() for part in files}
    with ExitStack() as stack:
        writers = {
            part: stack.enter_context(DocumentWriter(file, id_field=id_field, label_field=label_field))
            for part, file in files.items()
        }
        for document, part in progress(placed, "writing"):
            writers[part].write(document)
            labels[part].update(resolver.resolve(document, unheard))
    return [
        {
            "part": file.name.partition(".")[0],
            "file": str(file),
            "documents": writers[part].written,
            "nodes": len(taxonomy.closure(labels[part])),
        }
        for part, file in files.items()
    ]
