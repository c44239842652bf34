"""Streaming readers: JSONL, CSV, TSV and Parquet records -> `Document`s, one at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from hclf.data.convert import to_id, to_labels, to_spans, to_text
from hclf.data.documents import Document
from hclf.data.problems import Problems
from hclf.data.rows import BadRow, read_rows
from hclf.data.sources import OpenSource, Source
from hclf.data.spans import place_span
from hclf.errors import DataError, UsageError, did_you_mean, suggest

# Looked for, in this order, when no text fields are named and there is no field `text`.
TEXT_FIELDS = (
    "title",
    "name",
    "subject",
    "headline",
    "brand",
    "abstract",
    "summary",
    "description",
    "ingredients",
    "body",
    "content",
)
GIVE_UP = 100  # records without any text field before it must be the wrong file or the wrong field name
_KEY = re.compile(r"[A-Za-z_][\w.-]{0,30}")
OnEmpty = Literal["keep", "skip"]
Record = str | Mapping[str, Any] | Document


class DocumentReader(Iterator[Document]):
    """The documents of one source, one at a time; made by `read_documents` and `documents_from`.

    Attributes:
        fields: the text fields in use; () until a record has shown them (tables: known from the header).
        problems: what was wrong so far.
        name: the source, as messages call it.
    """

    fields: tuple[str, ...]

    def __init__(
        self,
        records: Iterable[tuple[int, Record]],
        *,
        header: tuple[str, ...] | None = None,
        name: str = "",
        fields: Sequence[str] | str | None = None,
        label_field: str = "labels",
        id_field: str = "id",
        on_empty: OnEmpty = "keep",
        problems: Problems | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self._close = close
        self._wanted = (fields,) if isinstance(fields, str) else None if fields is None else tuple(fields)
        _check_names(self._wanted, label_field, id_field, on_empty)
        self.name, self.fields = name, ()
        self.problems = Problems() if problems is None else problems
        self._label_field, self._id_field, self._skip_empty = label_field, id_field, on_empty == "skip"
        self._records, self._count = iter(records), 0
        self._unseen: set[str] = set()  # named fields that no record has had so far
        if header:
            self._take_header(header)

    def __next__(self) -> Document:
        # A plain loop, not a generator: a reader that is dropped half-way then closes its file at once.
        try:
            while True:
                row, record = next(self._records)
                self._count += 1
                document = self._read(row, record)
                if document and (document.text.strip() or self._note_empty(document)):
                    return document
        except StopIteration:
            self.close()
            self._note_end()
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the source; called at its end, after an error, and when the reader goes away."""
        if self._close:
            self._close()

    def _read(self, row: int, record: Record) -> Document | None:
        try:
            return self._document(row, record)
        except BadRow as bad:
            self.problems.add(bad.kind, bad.message, file=self.name, row=row)
            return None

    def _document(self, row: int, record: Record) -> Document:
        if isinstance(record, Document | str):
            return self._ready(row, record)
        if not isinstance(record, Mapping):
            raise BadRow("not-an-object", f"a {type(record).__name__}, not a text or a record")
        if not self.fields:
            self._choose_fields(record)
        if self._unseen:
            self._unseen -= record.keys()
        texts = {field: to_text(record.get(field), field) or "" for field in self.fields}
        labels = to_labels(record.get(self._label_field), self._label_field)
        return Document(
            id=to_id(record.get(self._id_field), self._id_field) or f"row-{row}",
            fields=texts or {"text": ""},
            labels=labels,
            extra={key: value for key, value in record.items() if key not in self._own_keys},
            row=row,
            spans=self._spans(row, record, texts),
            file=self.name,
        )

    def _ready(self, row: int, item: Document | str) -> Document:
        field = self._wanted[0] if self._wanted else "text"
        document = Document(f"row-{row}", {field: item}, row=row) if isinstance(item, str) else item
        self.fields = self.fields or tuple(document.fields)
        return document

    @property
    def _own_keys(self) -> set[str]:
        return {*self.fields, self._id_field, self._label_field, "spans"}

    def _spans(self, row: int, record: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
        if "spans" not in record:
            return ()
        try:
            spans = to_spans(record["spans"])
        except BadRow as bad:  # a document without its evidence is still a document
            self.problems.add(bad.kind, bad.message, file=self.name, row=row)
            return ()
        return tuple(span for span in spans if self._is_placed(span, texts, row))

    def _is_placed(self, span: Mapping[str, Any], texts: Mapping[str, str], row: int) -> bool:
        """Tell whether a span lies in the texts; count those that do not."""
        try:
            place_span(span, texts)
        except DataError as error:
            self.problems.add("bad-spans", error.message, file=self.name, row=row)
            return False
        return True

    def _note_empty(self, document: Document) -> bool:
        """Count a document without text; return whether to yield it all the same."""
        self.problems.add("empty-text", "the text is empty", file=self.name, row=document.row)
        return not self._skip_empty

    def _note_end(self) -> None:
        if self._count and not self.fields:
            raise DataError(f"none of {self._count:,} records has {self._wanted_text()}", file=self.name) from None
        for field in sorted(self._unseen):
            self.problems.add("missing-field", f"no record has a field {field!r}", file=self.name)
        self._unseen = set()

    def _choose_fields(self, record: Mapping[str, Any]) -> None:
        """Settle the text fields, once, by the first record that has any."""
        if self._wanted is None:
            self.fields = ("text",) if "text" in record else tuple(f for f in TEXT_FIELDS if f in record)
        elif any(field in record for field in self._wanted):
            self.fields, self._unseen = self._wanted, set(self._wanted)
        if not self.fields and self._count >= GIVE_UP:
            keys = [key for key in record if _KEY.fullmatch(key)]
            shown = f"; the fields are {', '.join(keys[:12])}" if keys else ""
            near = did_you_mean([n for field in self._wanted or () for n in suggest(field, keys, n=1)])
            message = f"none of the first {GIVE_UP} records has {self._wanted_text()}{near or shown}"
            raise DataError(message, file=self.name)

    def _take_header(self, header: tuple[str, ...]) -> None:
        """Settle the text fields by the columns of a table, which all must be there."""
        missing = [field for field in self._wanted or () if field not in header]
        if not missing:
            self._choose_fields(dict.fromkeys(header))
        if missing or not self.fields:
            # The columns are not listed: without a header row they are the text of a document.
            near = did_you_mean([n for field in missing for n in suggest(field, header, n=1)])
            wanted = f"column {missing[0]!r}" if missing else self._wanted_text()
            hint = near or "; is the header row missing?"
            raise DataError(f"the header, {len(header)} columns, lacks {wanted}{hint}", file=self.name)

    def _wanted_text(self) -> str:
        if self._wanted is None:
            return f"a text field (text, or any of {', '.join(TEXT_FIELDS)}); name yours with fields= or --fields"
        return f"a field {' or '.join(map(repr, self._wanted))}"


def read_documents(
    source: Source,
    *,
    fields: Sequence[str] | str | None = None,
    label_field: str = "labels",
    id_field: str = "id",
    format: str | None = None,
    strict: bool = False,
    problems: Problems | None = None,
    on_empty: OnEmpty = "keep",
) -> DocumentReader:
    """Return the documents of a source, read as they are asked for.

    Args:
        source: a path, "-" for stdin, or an open text or binary stream; gzip is recognised by its first bytes.
        fields: the text fields; None takes `text`, or else all of `TEXT_FIELDS` the first record has.
        label_field, id_field: where labels and ids are.
        format: "jsonl", "csv", "tsv" or "parquet"; None goes by suffix, then by the first bytes.
        strict: raise at the first problem.
        problems: where to count problems; its own when None (`reader.problems`).
        on_empty: "keep" yields documents without text, "skip" leaves them out; counted either way.

    Raises:
        DataError: the source as a whole cannot be read; while reading, the first problem when strict.
        MissingExtraError: Parquet without pyarrow.
        UsageError: impossible options.

    >>> import io
    >>> reader = read_documents(io.StringIO('{"id": "1", "text": "Oat milk", "labels": "milk|vegan"}'))
    >>> [(d.id, d.text, d.labels) for d in reader]
    [('1', 'Oat milk', ('milk', 'vegan'))]
    """
    problems = Problems() if problems is None else problems
    problems.strict = problems.strict or strict
    opened = OpenSource(source, format)
    try:
        header, records = read_rows(opened, problems)
        return DocumentReader(
            records,
            header=header,
            name=opened.name,
            fields=fields,
            label_field=label_field,
            id_field=id_field,
            on_empty=on_empty,
            problems=problems,
            close=opened.close,
        )
    except BaseException:
        opened.close()
        raise


def documents_from(
    items: Iterable[Record],
    *,
    fields: Sequence[str] | str | None = None,
    label_field: str = "labels",
    id_field: str = "id",
    on_empty: OnEmpty = "keep",
    problems: Problems | None = None,
    name: str = "",
) -> DocumentReader:
    """Return documents made from texts, from records (mappings, read as in a file), or from documents.

    Raises:
        DataError, UsageError: as `read_documents`; `row` is the position from 1.

    >>> [d.text for d in documents_from(["Oat milk", {"title": "Rice"}], fields="title")]
    ['Oat milk', 'Rice']
    """
    return DocumentReader(
        enumerate(items, start=1),
        name=name,
        fields=fields,
        label_field=label_field,
        id_field=id_field,
        on_empty=on_empty,
        problems=problems,
    )


def _check_names(fields: tuple[str, ...] | None, label_field: str, id_field: str, on_empty: str) -> None:
    if on_empty not in ("keep", "skip"):
        raise UsageError(f"on_empty is 'keep' or 'skip', not {on_empty!r}")
    if fields is not None and (not fields or len(set(fields)) < len(fields)):
        raise UsageError("fields must name at least one text field, each once")
    clash = {label_field, id_field, "spans"}.intersection(fields or ())
    if clash or label_field == id_field:
        raise UsageError(f"{next(iter(clash), label_field)!r} cannot be two things at once")
