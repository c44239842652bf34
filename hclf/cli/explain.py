"""`hclf explain`: the words that speak for answers, and why not their siblings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import guard_output, note, progress, stdout
from hclf.cli.records import field_names, say_problems
from hclf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hclf.report.evidence_page import Explained
    from hclf.taxonomy import Taxonomy

FORMATS = ("text", "jsonl", "html")
AT_ONCE = 64  # documents


def explain(
    model: opt.ModelFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help='Records with text; "-" is stdin.')],
    node: Annotated[
        list[str] | None,
        typer.Option("--node", metavar="NODE", help="Explain this node instead of the answers; may repeat."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NODE", help="Contrast with this node; default: the best sibling."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Show so many spans of a kind, at most.")] = 5,
    format: Annotated[
        str | None, typer.Option("--format", help="text, jsonl or html; default: by the suffix of OUT, else text.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help='A file; "-" is stdout.')] = "-",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Only the first N records; 0: all.")] = 0,
    operating_point: opt.OperatingPoint = "default",
    fields: opt.Fields = "",
    id_field: opt.IdField = "id",
    input_format: opt.InputFormat = None,
    strict: opt.Strict = False,
    force: opt.Force = False,
) -> None:
    """Show which words speak for each answer and not for its best sibling. The output holds texts of the records.

    Example: hclf explain models/products examples/products/test.jsonl --limit 3

    Example: hclf explain models/products examples/products/test.jsonl -o evidence.html
    """
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Problems, read_documents

    chosen = _format_of(format, output)
    guard_output(output, force)
    loaded = HierarchicalClassifier.load(model)
    problems = Problems(strict=strict)
    reader = read_documents(
        data,
        fields=field_names(fields, loaded),
        id_field=id_field,
        format=input_format,
        problems=problems,
    )
    asked: dict[str, Any] = {"nodes": node or None, "against": against, "top": top}
    loaded.explain([], **asked, operating_point=operating_point)  # what cannot be asked is told before any work
    explained = _explained(loaded, reader, limit, {**asked, "operating_point": operating_point})
    tally = _Tally()
    WRITERS[chosen](progress(tally.counted(explained), "explaining"), loaded.taxonomy_, output, Path(data).name)
    say_problems(problems)
    note(f"{tally.documents:,} documents, {tally.nodes:,} nodes explained; {tally.without:,} without evidence")


class _Tally:
    """Counts what goes by."""

    def __init__(self) -> None:
        self.documents = self.nodes = self.without = 0

    def counted(self, explained: Iterable[Explained]) -> Iterator[Explained]:
        for document in explained:
            self.documents += 1
            self.nodes += len(document.explanations)
            self.without += sum(not e.spans for e in document.explanations)
            yield document


def _format_of(format: str | None, output: str) -> str:
    if format is None:
        suffixes = {".html": "html", ".htm": "html", ".jsonl": "jsonl", ".ndjson": "jsonl"}
        return suffixes.get(Path(output.removesuffix(".gz")).suffix.lower(), "text")
    if format not in FORMATS:
        raise UsageError(f"--format is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {format!r}")
    return format


def _explained(model: Any, reader: Iterable[Any], limit: int, asked: dict[str, Any]) -> Iterator[Explained]:
    from itertools import islice

    from hclf.inputs import chunks
    from hclf.report.evidence_page import Explained

    for documents in chunks(islice(reader, limit or None), AT_ONCE):
        for document, explanations in zip(documents, model.explain(documents, **asked), strict=True):
            yield Explained(document.id, document.fields, explanations)


def _write_text(explained: Iterable[Explained], taxonomy: Taxonomy, output: str, _: str) -> None:
    from rich.console import Console

    from hclf.data.outputs import Output
    from hclf.report.evidence import evidence_text

    if output == "-":
        for document in explained:
            stdout.print(evidence_text(taxonomy, *document), highlight=False, soft_wrap=False)
        return
    out = Output(output)
    console = Console(file=out.stream, width=118, color_system=None)
    _complete(out, explained, lambda d: console.print(evidence_text(taxonomy, *d), highlight=False))


def _write_jsonl(explained: Iterable[Explained], _: Taxonomy, output: str, __: str) -> None:
    from hclf.data.outputs import Output

    out = Output(output)

    def write(document: Explained) -> None:
        said = [e.to_dict(document.fields) for e in document.explanations]
        out.stream.write(json.dumps({"id": document.id, "explanations": said}, ensure_ascii=False) + "\n")

    _complete(out, explained, write)


def _write_html(explained: Iterable[Explained], taxonomy: Taxonomy, output: str, name: str) -> None:
    from hclf.data.outputs import Output
    from hclf.report.evidence_page import evidence_page

    out = Output(output)
    _complete(out, [evidence_page(taxonomy, list(explained), title=f"Evidence in {name}")], out.stream.write)


def _complete(out: Any, items: Iterable[Any], write: Callable[[Any], Any]) -> None:
    """Write everything; after an error no file appears."""
    try:
        for item in items:
            write(item)
    except BaseException:
        out.abandon(keep=False)
        raise
    out.commit()


WRITERS = {"text": _write_text, "jsonl": _write_jsonl, "html": _write_html}
