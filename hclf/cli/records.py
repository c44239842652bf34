"""Reading records and predictions for a command: fields, labels to ids, and what was wrong said at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hclf.cli.common import note
from hclf.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_matrix

    from hclf.classifier import HierarchicalClassifier
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


def field_names(text: str, model: HierarchicalClassifier | None = None) -> list[str] | None:
    """Return the fields of `--fields` without their weights, which are for training.

    Where it is not given: those that the model was trained on, or None.
    """
    named = list(parse_fields(text) or ())
    return named or (None if model is None else model.report_.get("fields"))


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


def read_answers(
    predictions: str, documents: Sequence[Document], taxonomy: Taxonomy, problems: Problems, *, gold: str, called: str
) -> tuple[csr_matrix[Any], int]:
    """Return the label sets that a file of predictions gives to documents, as given, and how many it has none for.

    Args:
        predictions: the file.
        documents: from the gold file, in the order of the rows.
        taxonomy: of the labels.
        problems: counts bad rows.
        gold, called: the gold file, and what to call it in messages.

    Raises:
        DataError: an id that is not among the documents, or comes twice, or a label that is not in the taxonomy.
    """
    from hclf.data import LabelResolver, read_predictions
    from hclf.labels import label_matrix

    rows: dict[str, int] = {}
    for row, document in enumerate(documents):
        if rows.setdefault(document.id, row) != row:
            message = f"id {document.id!r} occurs twice, so predictions cannot be matched; make ids unique"
            raise DataError(message, file=gold)
    resolve = LabelResolver(taxonomy)
    answers: list[tuple[str, ...]] = [()] * len(documents)
    seen = set()
    for prediction in read_predictions(predictions, problems=problems):
        found = rows.get(prediction.id)
        if found is None or found in seen:
            what = f"not in {called}" if found is None else "given twice"
            raise DataError(f"prediction for id {prediction.id!r} is {what}", file=predictions)
        seen.add(found)
        try:
            answers[found] = tuple(resolve(node.id) for node in prediction.labels)
        except DataError as error:
            raise DataError(f"prediction for id {prediction.id!r}: {error}", file=predictions) from None
    return label_matrix(taxonomy, answers, closed=False), len(documents) - len(seen)


def say_problems(problems: Problems) -> None:
    """Print what was wrong with rows, on stderr."""
    for line in problems.lines():
        note(line)
