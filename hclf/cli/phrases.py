"""`hclf taxonomy add-phrases`: phrases from other files become synonyms of a taxonomy's nodes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hclf.cli import options as opt
from hclf.cli.common import guard_output, note, print_json
from hclf.cli.taxonomy_files import Format, Levels, Order, Source, reader_options, save


def add_phrases(
    source: Source,
    files: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="FILE",
            help="Phrases: a table or JSON lines with a node and a phrase a row, or an index, neoplasm, drug or "
            "external-cause table of ICD-10-CM (XML or CSV); may repeat.",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help='The taxonomy to write; "-" is standard output.')
    ],
    kind: Annotated[
        str | None, typer.Option("--kind", help="table, index, neoplasms or drugs, if the files do not tell.")
    ] = None,
    nearest: Annotated[
        bool,
        typer.Option("--nearest", help="For a node not in the taxonomy take the one its id begins with."),
    ] = False,
    see: Annotated[bool, typer.Option(help="Follow cross references of an index.")] = True,
    forms: Annotated[
        bool, typer.Option("--forms", help="Add each form of an index term by itself, without NEC and NOS.")
    ] = False,
    modifiers: Annotated[
        bool, typer.Option("--modifiers", help="Add index terms with their non-essential modifiers, too.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="Format of OUT, if its name does not tell.")] = None,
    format: Format = None,
    levels: Levels = "",
    order: Order = "",
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
    json: opt.Json = False,
) -> None:
    """Add phrases from other files to a taxonomy, as synonyms of its nodes, and count what could not be added.

    Example: hclf taxonomy add-phrases icd10-mini --from examples/coding/mini_index_2021.csv -o with-phrases.yaml
    """
    from hclf.errors import UsageError
    from hclf.formats import phrases
    from hclf.registry import load_taxonomy

    if json and output == "-":
        raise UsageError("--json prints to standard output; write the taxonomy to a file (-o)")
    guard_output(output, force)
    taxonomy = load_taxonomy(source, format=format, **reader_options(levels=levels, order=order))
    tally = phrases.Tally()
    neoplasms = next((file for file in files if not kind and phrases.sniff(file) == "neoplasms"), None)
    options: dict[str, Any] = {
        "neoplasms": neoplasms,
        "see": see,
        "forms": forms,
        "modifiers": modifiers,
        "tally": tally,
    }
    found = [phrase for file in files for phrase in phrases.read(file, kind, **options)]
    longer = phrases.add_phrases(taxonomy, found, nearest=nearest, tally=tally)
    for line in tally.lines():
        note(line)
    save(longer, output, to)
    if json:
        print_json(tally.to_dict())
