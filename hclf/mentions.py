"""What a person may pass as mentions: where documents say what they belong to, as `Mention`s of scorers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy.sparse import csr_matrix

from hclf.data import Document, LabelResolver
from hclf.data.spans import place_span
from hclf.errors import DataError
from hclf.inputs import Inputs, length
from hclf.scorers.base import Mention, Mentions
from hclf.taxonomy import Taxonomy


def as_mentions(taxonomy: Taxonomy, inputs: Inputs, given: Iterable[Any] | None) -> Mentions | None:
    """Return the mentions of documents; None: nobody has marked any.

    Args:
        taxonomy: of the labels.
        inputs: the documents.
        given: for each document its mentions: mappings as spans of records are
            (`{"start", "end", "label"}`, also with `field` and `parts`), tuples (start, end, label) or
            (start, end, label, field), or `Mention`s. Those without a label, or without a character, are left out.

    Raises:
        DataError: not one list a document, a label or field that does not exist, or offsets outside the text.
    """
    if given is None or isinstance(inputs, csr_matrix):
        return None
    lists = [list(spans) for spans in given]
    if len(lists) != length(inputs):
        raise DataError(f"{length(inputs)} documents but mentions of {len(lists)}")
    resolve = LabelResolver(taxonomy)
    found: list[list[Mention]] = []
    for row, (fields, spans) in enumerate(zip(inputs, lists, strict=True), start=1):
        try:
            read = [_mention(span, fields, resolve) for span in spans]
        except DataError as error:
            raise DataError(error.message, row=row) from None
        found.append([mention for mention in read if mention])
    return found if any(found) else None


def spans_of(X: Any) -> list[tuple[Mapping[str, Any], ...]] | None:
    """Return the spans that documents carry; None where X holds no documents."""
    if isinstance(X, Sequence) and X and all(isinstance(item, Document) for item in X):
        return [item.spans for item in X]
    return None


def _mention(span: Any, fields: Mapping[str, str], resolve: LabelResolver) -> Mention | None:
    if isinstance(span, Mention):
        return span
    if not isinstance(span, Mapping):
        span = dict(zip(("start", "end", "label", "field"), span, strict=False))
    label = span.get("label")
    if label is None:
        return None
    field, parts = place_span(span, fields)
    parts = tuple((start, end) for start, end in parts if start < end)
    return Mention(resolve.taxonomy.index(resolve(str(label))), field, parts) if parts else None
