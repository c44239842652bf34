"""`check_records`: what a data set holds, and what is wrong with it, before a model is trained on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from hclf.data.check_report import CheckReport
from hclf.data.check_tally import BATCH, Tally
from hclf.data.documents import Document
from hclf.data.problems import Problems
from hclf.data.reading import DocumentReader, documents_from, read_documents
from hclf.data.sources import Source
from hclf.errors import UsageError
from hclf.taxonomy import Taxonomy


def check_records(
    taxonomy: Taxonomy,
    *sources: Source | Iterable[Document],
    fields: Sequence[str] | str | None = None,
    label_field: str = "labels",
    id_field: str = "id",
    format: str | None = None,
) -> CheckReport:
    """Return what labelled documents hold and what is wrong with them; reads each source once.

    Memory grows by some 40 bytes a document; texts are not kept.

    Args:
        taxonomy: the one the labels are from.
        sources: files or streams as `read_documents` takes them, or documents. Several are compared: a text
            in two of them (train and test) is reported as a duplicate across sources.
        fields, label_field, id_field, format: as for `read_documents`; for every source the same.

    Raises:
        DataError: a source as a whole cannot be read.
        UsageError: no source at all.

    >>> t = Taxonomy(["food", "rice"], [("food", "rice")])
    >>> report = check_records(t, documents_from([{"text": "Basmati", "labels": ["rise"]}]))
    >>> report.unknown_labels
    [{'label': 'rise', 'documents': 1, 'suggestions': ['rice']}]
    """
    if not sources:
        raise UsageError("nothing to check: name at least one source")
    tally, problems = Tally(taxonomy), Problems(keep=10)
    for number, source in enumerate(sources, start=1):
        if isinstance(source, str) or hasattr(source, "read") or not isinstance(source, Iterable):
            reader = read_documents(
                cast(Source, source),
                fields=fields,
                label_field=label_field,
                id_field=id_field,
                format=format,
                problems=problems,
            )
        else:
            reader = _as_reader(source, problems, number)
        tally.begin(reader.name)
        for batch in _batches(reader):
            tally.add(batch)
        tally.end(reader.fields)
    return tally.report(problems)


def _as_reader(documents: Iterable[Document], problems: Problems, number: int) -> DocumentReader:
    return documents_from(documents, problems=problems, name=f"source {number}")


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(documents, BATCH)):
        yield batch
