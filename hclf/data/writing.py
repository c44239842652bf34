"""Streaming writers: predictions and documents; a file is there complete, or not under its name at all."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast, get_args

from hclf.data.cells import join_cell
from hclf.data.documents import Document, Prediction
from hclf.data.outputs import Output, Target, write_error
from hclf.data.sinks import JsonLines, Parquet, Sink, Table
from hclf.data.sources import Format, format_of
from hclf.errors import DataError, UsageError, did_you_mean, suggest

PredictionFormat = Literal["jsonl", "csv-long", "csv-wide", "parquet"]
LONG = {
    "id": "string",
    "label": "string",
    "name": "string",
    "level": "int32",
    "score": "float64",
    "cold_start": "bool_",
}
WIDE = ("id", "labels", "leaves", "scores", "flags")
log = logging.getLogger("hclf.data")  # warnings reach stderr without any set-up
T = TypeVar("T")


class Writer(ABC, Generic[T]):
    """Writes items one by one, in a `with` block.

    The file appears under its name when the block ends well. When it does not (an error, Ctrl-C), the part that
    is finished is kept as NAME.partial, and a warning says so.

    Attributes:
        written: how many items so far.
    """

    def __init__(self, target: Target, *, binary: bool = False) -> None:
        self.written = 0
        self._output = Output(target, binary=binary)
        self._sink: Sink | None = None

    def write(self, item: T) -> None:
        """Write one item.

        Raises:
            DataError: it cannot be written: the disk is full, or the format cannot hold it.
        """
        name = self._output.name
        try:
            self._put(item)
        except BrokenPipeError:
            raise  # the reader of our stdout went away: not a fault of the data
        except OSError as error:
            raise write_error(error, name, self.written) from None
        except UnicodeEncodeError:
            message = f"record {self.written + 1} holds half a character (a lone surrogate)"
            raise DataError(message, file=name) from None
        except DataError as error:
            raise DataError(f"record {self.written + 1} {error.message}", file=name) from None
        self.written += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish_sink()
        except OSError as failure:
            self._keep_partial()
            if error is None:
                raise write_error(failure, self._output.name, self.written) from None
            return
        if error is None:
            self._output.commit()
        else:
            self._keep_partial()

    @abstractmethod
    def _put(self, item: T) -> None: ...

    def _finish_sink(self) -> None:
        if self._sink:
            self._sink.close()

    def _keep_partial(self) -> None:
        partial = self._output.abandon(keep=self.written > 0)
        if partial:
            log.warning("%s is not complete: %d finished record(s) are kept in %s", *self._told(partial))

    def _told(self, partial: object) -> tuple[object, ...]:
        return self._output.name, self.written, partial


class PredictionWriter(Writer[Prediction]):
    """Writes predictions; see `open_predictions`."""

    def __init__(self, target: Target, *, format: str | None = None, deepest_only: bool = False) -> None:
        self.format = _prediction_format(target, format)
        self._deepest_only = deepest_only
        super().__init__(target, binary=self.format == "parquet")
        try:
            self._sink = self._make_sink(_delimiter(target))
        except BaseException:
            self._output.abandon(keep=False)
            raise

    def _make_sink(self, delimiter: str) -> Sink:
        stream = self._output.stream
        if self.format == "jsonl":
            return JsonLines(stream)
        if self.format == "parquet":
            return Parquet(stream, LONG)
        return Table(stream, tuple(LONG) if self.format == "csv-long" else WIDE, delimiter)

    def _put(self, item: Prediction) -> None:
        sink = cast(Sink, self._sink)
        for row in _ROWS[self.format](item.deepest() if self._deepest_only else item):
            sink.write(row)


class DocumentWriter(Writer[Document]):
    """Writes documents as JSONL or CSV, as `write_documents` says."""

    def __init__(
        self, target: Target, *, format: str | None = None, id_field: str = "id", label_field: str = "labels"
    ) -> None:
        self.format = _document_format(target, format)
        self._delimiter = "\t" if self.format == "tsv" else ","
        self._id_field, self._label_field = id_field, label_field
        self._columns: frozenset[str] | None = None  # of a table, by its first document
        super().__init__(target)

    def _put(self, item: Document) -> None:
        row = self._row(item)
        if self.format == "jsonl":
            self._sink = self._sink or JsonLines(self._output.stream)
        elif self._columns is None:
            self._columns = frozenset(row)
            self._sink = Table(self._output.stream, tuple(row), self._delimiter)
        elif surplus := sorted(row.keys() - self._columns):
            raise DataError(f"has a field {surplus[0]!r} that the first one lacks; write JSONL instead")
        cast(Sink, self._sink).write(row)

    def _row(self, document: Document) -> dict[str, Any]:
        row: dict[str, Any] = {self._id_field: document.id, **document.fields}
        if document.labels is not None:
            row[self._label_field] = list(document.labels) if self.format == "jsonl" else join_cell(document.labels)
        if document.spans:
            row["spans"] = [dict(span) for span in document.spans]
        if clash := row.keys() & document.extra.keys():
            raise DataError(f"has two fields {min(clash)!r}; keep its own id_field and label_field")
        return row | document.extra


def open_predictions(target: Target, *, format: str | None = None, deepest_only: bool = False) -> PredictionWriter:
    """Return a writer of predictions, for a `with` block.

    Args:
        target: a path (`.gz` compresses), "-" for stdout, or an open stream.
        format: "jsonl"; "csv-long" (a row for each document and label; one with an empty label for a document
            without any); "csv-wide" (a row for each document, its cells joined by `|`); "parquet" (as
            csv-long). None goes by suffix: JSONL unless it is .csv, .tsv (csv-long) or .parquet. A CSV named
            .tsv has tabs. Flags are in JSONL and csv-wide, `cold_start` of each label in all but csv-wide, findings
            of rules in JSONL.
        deepest_only: write the most specific labels only.

    Raises:
        DataError: the file cannot be created; `write`: the disk is full.
        MissingExtraError: Parquet without pyarrow.
        UsageError: unknown format.

    >>> import sys
    >>> from hclf.data import Prediction, ScoredNode
    >>> with open_predictions(sys.stdout, format="csv-long") as out:
    ...     out.write(Prediction("1", (ScoredNode("en:teas", "Teas", 2, 0.75),), ("en:teas",)))
    id,label,name,level,score,cold_start
    1,en:teas,Teas,2,0.75,false
    """
    return PredictionWriter(target, format=format, deepest_only=deepest_only)


def write_predictions(
    target: Target,
    predictions: Iterable[Prediction],
    *,
    format: str | None = None,
    deepest_only: bool = False,
) -> int:
    """Write predictions, as `open_predictions` does, and return how many.

    Raises:
        DataError, MissingExtraError, UsageError: as `open_predictions`.
    """
    with open_predictions(target, format=format, deepest_only=deepest_only) as writer:
        for prediction in predictions:
            writer.write(prediction)
    return writer.written


def write_documents(
    target: Target,
    documents: Iterable[Document],
    *,
    format: str | None = None,
    id_field: str = "id",
    label_field: str = "labels",
) -> int:
    """Write documents as records, and return how many.

    Args:
        target: a path (`.gz` compresses), "-" for stdout, or an open stream.
        documents: labels and extra fields are written as they are.
        format: "jsonl", "csv" or "tsv"; None goes by suffix, and is JSONL otherwise. The columns of a table are
            those of the first document.
        id_field, label_field: names to write ids and labels under.

    Raises:
        DataError: the file cannot be created, the disk is full, or the format cannot hold a document.
        UsageError: unknown format.
    """
    with DocumentWriter(target, format=format, id_field=id_field, label_field=label_field) as writer:
        for document in documents:
            writer.write(document)
    return writer.written


def _json_rows(prediction: Prediction) -> Iterator[Mapping[str, Any]]:
    yield prediction.to_dict()


def _long_rows(prediction: Prediction) -> Iterator[Mapping[str, Any]]:
    for node in prediction.labels:
        yield {**node.to_dict(), "id": prediction.id, "label": node.id, "cold_start": bool(node.cold_start)}
    if not prediction.labels:
        yield {"id": prediction.id}  # "unknown" is an answer: the document keeps its row


def _wide_rows(prediction: Prediction) -> Iterator[Mapping[str, Any]]:
    nodes = prediction.to_dict()["labels"]
    yield {
        "id": prediction.id,
        "labels": join_cell(node["id"] for node in nodes),
        "leaves": join_cell(prediction.leaves),
        "scores": "|".join(str(node["score"]) for node in nodes),
        "flags": join_cell(prediction.flags),
    }


_ROWS = {"jsonl": _json_rows, "csv-long": _long_rows, "csv-wide": _wide_rows, "parquet": _long_rows}


def _prediction_format(target: Target, format: str | None) -> PredictionFormat:
    if format is None:
        by_suffix = {"csv": "csv-long", "tsv": "csv-long", "parquet": "parquet"}
        format = by_suffix.get(_suffix_format(target) or "", "jsonl")
    return cast(PredictionFormat, _known(format, get_args(PredictionFormat)))


def _document_format(target: Target, format: str | None) -> Format:
    format = format or _suffix_format(target) or "jsonl"
    return cast(Format, _known(format, ("jsonl", "csv", "tsv")))


def _known(format: str, known: tuple[str, ...]) -> str:
    if format not in known:
        near = suggest(format, known) or known
        raise UsageError(f"cannot write format {format!r}{did_you_mean(near)}")
    return format


def _suffix_format(target: Target) -> Format | None:
    return format_of(str(target)) if not hasattr(target, "write") else None


def _delimiter(target: Target) -> str:
    return "\t" if _suffix_format(target) == "tsv" else ","
