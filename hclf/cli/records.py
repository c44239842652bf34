"""Reading labelled records for a command: fields, labels to ids, and what was wrong said at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hclf.cli.common import note
from hclf.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hclf.data import Document, Problems
    from hclf.taxonomy import Taxonomy


def parse_fields(text: str) -> dict[str, float] | None:
    """Return field -> weight from `title,brand:0.3`; the first field weighs 1, others 0.5 unless said."""
    if not text:
        return None
    weights: dict[str, float] = {}
    for i, part in enumerate(text.split(",")):
        name, _, weight = part.strip().partition(":")
        try:
            weights[name] = float(weight) if weight else (0.5 if i else 1.0)
        except ValueError:
            raise UsageError(f"--fields: {weight!r} is not a weight; write title,brand:0.3") from None
        if not name or weights[name] <= 0:
            raise UsageError(f"--fields: {part!r} is not a field name with a weight above 0")
    return weights


def field_names(text: str) -> list[str] | None:
    """Return the field names of `--fields` without their weights, which are for training; None if not given."""
    return list(parse_fields(text) or ()) or None


def nothing_usable(what: str, problems: Problems, source: str) -> DataError:
    """Return the error for a source that left nothing, with the first problem as the likely cause."""
    first = f"; {problems.kept[0]}" if problems.kept else ""
    return DataError(f"no usable {what}{first}", file=source)


def read_labelled(
    source: str,
    taxonomy: Taxonomy,
    problems: Problems,
    *,
    fields: Sequence[str] | None,
    label_field: str,
    id_field: str,
    format: str | None,
) -> list[Document]:
    """Return the documents of a source that have known labels, as node ids; the rest is counted in `problems`.

    Raises:
        DataError: nothing usable is left.
    """
    from hclf.data import read_documents, resolved

    reader = read_documents(
        source, fields=fields, label_field=label_field, id_field=id_field, format=format, problems=problems
    )
    documents = list(resolved(reader, taxonomy, problems))
    if not documents:
        raise nothing_usable("labelled record", problems, source)
    return documents


def say_problems(problems: Problems) -> None:
    """Print what was wrong with rows, on stderr."""
    for line in problems.lines():
        note(line)
