"""Taxonomy files for a command: what can be said of one to read, and what one that was written could not keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli.common import note
from hclf.wording import counted

if TYPE_CHECKING:
    from hclf.taxonomy import Taxonomy

Source = Annotated[str, typer.Argument(metavar="TAXONOMY", help="A file, or the name of a shipped taxonomy.")]
Format = Annotated[str | None, typer.Option("--format", help="Format of the file, if its name does not tell.")]
Levels = Annotated[str, typer.Option("--levels", help="Columns of a table that are the levels, joined by commas.")]
Order = Annotated[str, typer.Option("--order", help="Order file of ICD-10-CM; by default the one beside the list.")]
Modifiers = Annotated[
    str,
    typer.Option(
        "--modifiers", metavar="A,B|none", help="Modifiers of ClaML to make codes of; all, if not said, or none."
    ),
]
Relations = Annotated[
    str, typer.Option("--relations", help="Relationships of OBO that lead to parents, too, such as part_of.")
]
Scheme = Annotated[str, typer.Option("--scheme", help="The one concept scheme to read of a SKOS file.")]
Ids = Annotated[
    str, typer.Option("--ids", metavar="notation|name|iri", help="What of a SKOS concept becomes the id of its node.")
]
Obsolete = Annotated[
    bool, typer.Option("--obsolete", help="Keep what OBO or SKOS call obsolete, as nodes that cannot be assigned.")
]


def reader_options(
    levels: Levels = "",
    order: Order = "",
    modifiers: Modifiers = "",
    relations: Relations = "",
    scheme: Scheme = "",
    ids: Ids = "",
    obsolete: Obsolete = False,
) -> dict[str, Any]:
    """Return the options of readers that were given, as `hclf.formats.read` takes them."""
    given: dict[str, str | bool] = {
        "levels": levels,
        "order": order,
        "modifiers": modifiers,
        "relations": relations,
        "scheme": scheme,
        "ids": ids,
        "obsolete": obsolete,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value}
    if modifiers == "none":
        options["modifiers"] = False
    return options


def with_reader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the parameters of `reader_options`, and what that returns as its argument `options`."""
    shared = inspect.signature(reader_options, eval_str=True).parameters
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]

    @wraps(command)
    def run(**given: Any) -> None:
        options = reader_options(**{name: given.pop(name) for name in shared})
        command(**given, options=options)

    parameters = [*own, *shared.values()]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def save(taxonomy: Taxonomy, target: str, format: str | None) -> None:
    """Write a taxonomy to a file, or to standard output as "-", and say what was lost: seen in it, not assumed."""
    from hclf import formats

    format = format or formats.by_suffix(target) or ("yaml" if target == "-" else None)
    formats.write(taxonomy, target, format)
    lost = _lost(taxonomy, target, format)
    if target != "-":
        note(f"wrote {target}: {counted(len(taxonomy), 'node')}")
    for what in lost:
        note(f"not kept by this format: {what}")


def _lost(taxonomy: Taxonomy, written: str, format: str | None) -> list[str]:
    import tempfile

    from hclf import formats

    if written != "-":
        return formats.losses(taxonomy, formats.read(written, format))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        formats.write(taxonomy, copy, format)
        return formats.losses(taxonomy, formats.read(copy, format))
