"""`hclf taxonomy`: validate, show, stats, convert, add-phrases, schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli import phrases, show, stats
from hclf.cli.common import guard_output, print_json, stdout
from hclf.cli.taxonomy_files import Format, save, with_reader_options
from hclf.wording import counted

if TYPE_CHECKING:
    from hclf.errors import Fault
    from hclf.taxonomy import Taxonomy

app = typer.Typer(name="taxonomy", help="Check, look at and convert taxonomies.", no_args_is_help=True)


@with_reader_options
def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, or names of shipped taxonomies.")],
    format: Format = None,
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    json: opt.Json = False,
    *,
    options: dict[str, Any],
) -> None:
    """Find everything that is wrong with taxonomy files. Exits with 1 if there are errors."""
    from hclf import formats
    from hclf.registry import find

    files = [find(path) for path in paths]
    results = []
    for file in files:
        taxonomy, faults = formats.check(file, format, **options)
        results.append((file, taxonomy, faults))
        if not json:
            _print_faults(file, taxonomy, faults)
    errors = sum(fault.severity == "error" for _, _, faults in results for fault in faults)
    warnings = sum(len(faults) for _, _, faults in results) - errors
    failed = bool(errors or (strict and warnings))
    if json:
        print_json({"ok": not failed, "errors": errors, "warnings": warnings, "files": [*map(_as_json, results)]})
    if failed:
        raise typer.Exit(1)


def _print_faults(file: Path, taxonomy: Taxonomy | None, faults: list[Fault]) -> None:
    from rich.text import Text

    for fault in faults:
        stdout.print(Text(str(fault), "yellow" if fault.severity == "warning" else "red"))
    errors = sum(fault.severity == "error" for fault in faults)
    counts = [counted(errors, "error")] * (errors > 0) + [counted(len(faults) - errors, "warning")] * (
        len(faults) > errors
    )
    size = counted(len(taxonomy), "node") if taxonomy is not None else "no taxonomy"
    style = "red" if errors else "green"
    stdout.print(Text(f"{file}: {size}, {' and '.join(counts) or 'no faults'}", f"bold {style}"))


def _as_json(result: tuple[Path, Taxonomy | None, list[Fault]]) -> dict[str, Any]:
    from dataclasses import asdict

    file, taxonomy, faults = result
    errors = sum(fault.severity == "error" for fault in faults)
    return {
        "file": str(file),
        "nodes": None if taxonomy is None else len(taxonomy),
        "errors": errors,
        "warnings": len(faults) - errors,
        "faults": [asdict(fault) for fault in faults],
    }


@with_reader_options
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file, or the name of a shipped taxonomy.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help='The file to write; "-" is standard output.')],
    from_: Annotated[str | None, typer.Option("--from", help="Format of IN, if its name does not tell.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Format of OUT, if its name does not tell.")] = None,
    separator: Annotated[str, typer.Option("--separator", help="What stands between names of a path.")] = "",
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
    *,
    options: dict[str, Any],
) -> None:
    """Write a taxonomy in another format, and say what that format could not keep."""
    from hclf.registry import load_taxonomy

    guard_output(target, force)
    if separator:
        options["separator"] = separator
    taxonomy = load_taxonomy(source, format=from_, **options)
    save(taxonomy, target, to)


def schema() -> None:
    """Print the JSON Schema of the YAML form, for editors and other programs."""
    import json
    from importlib.resources import files

    print_json(json.loads(files("hclf.formats").joinpath("schema.json").read_text("utf-8")))


for command in (validate, show.show, stats.stats, convert, phrases.add_phrases, schema):
    app.command()(command)
