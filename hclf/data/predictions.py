"""Reading predictions: our own files in every form, and plain records with ids and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar

from hclf.data.cells import split_cell
from hclf.data.convert import to_id, to_labels
from hclf.data.documents import Prediction, ScoredNode
from hclf.data.problems import Problems
from hclf.data.rows import BadRow, Row, read_rows
from hclf.data.sources import OpenSource, Source
from hclf.errors import DataError

T = TypeVar("T")


def read_predictions(
    source: Source,
    *,
    format: str | None = None,
    strict: bool = False,
    problems: Problems | None = None,
) -> Iterator[Prediction]:
    """Return the predictions of a source, read as they are asked for.

    Accepts what `open_predictions` writes, and records `{"id", "labels": [ids]}` (JSONL, or CSV with the labels
    joined by `|`); those get score 1, level 0, and no leaves. In a table with a row for each label, the rows of
    one document must stand together; it begins anew where the id changes or a label comes again.

    Args:
        source: a path, "-" for stdin, or an open stream.
        format: "jsonl", "csv", "tsv" or "parquet"; None goes by suffix, then by the first bytes.
        strict: raise at the first problem.
        problems: where to count problems.

    Raises:
        DataError: the source as a whole cannot be read, or the first problem when strict.
        MissingExtraError: Parquet without pyarrow.
    """
    problems = Problems() if problems is None else problems
    problems.strict = problems.strict or strict
    opened = OpenSource(source, format)
    header, records = read_rows(opened, problems)
    if header and "label" in header:
        return _grouped(_converted(records, _long, problems, opened.name))
    if header and "labels" not in header:
        raise DataError("the header has neither a column 'label' nor 'labels'", file=opened.name)
    return _converted(records, _whole, problems, opened.name)


def _converted(
    records: Iterator[Row], convert: Callable[[int, Mapping[str, Any]], T], problems: Problems, name: str
) -> Iterator[T]:
    for row, record in records:
        try:
            item = convert(row, record)
        except BadRow as bad:
            problems.add(bad.kind, bad.message, file=name, row=row)
            continue
        yield item


def _whole(row: int, record: Mapping[str, Any]) -> Prediction:
    """A record that holds all labels of its document."""
    given = record.get("labels")
    if given is None:
        raise BadRow("missing-labels", "no field 'labels'")
    labels = split_cell(given) if isinstance(given, str) else given
    if not isinstance(labels, list | tuple):
        labels = to_labels(labels, "labels") or ()
    nodes = [_node(label) for label in labels]
    if record.get("scores"):
        nodes = _with_scores(nodes, record["scores"])
    return Prediction(
        id=to_id(record.get("id"), "id") or f"row-{row}",
        labels=tuple(nodes),
        leaves=to_labels(record.get("leaves"), "leaves") or (),
        flags=to_labels(record.get("flags"), "flags") or (),
        findings=_findings(record.get("findings")),
    )


def _findings(value: Any) -> tuple[Mapping[str, Any], ...]:
    if value is None or value == "":
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(finding, Mapping) for finding in value):
        raise BadRow("wrong-type", "findings are not a list of objects")
    return tuple(value)


def _long(row: int, record: Mapping[str, Any]) -> tuple[str, ScoredNode | None]:
    """A record that holds one label; none at all for a document without labels."""
    id = to_id(record.get("id"), "id") or f"row-{row}"
    label = to_id(record.get("label"), "label")
    return id, _node({**record, "id": label}) if label else None


def _node(label: Any) -> ScoredNode:
    if not isinstance(label, Mapping):
        label = {"id": label}
    id = to_id(label.get("id"), "id")
    if id is None:
        raise BadRow("wrong-type", "a label without an id")
    name = label.get("name")
    if name is not None and not isinstance(name, str):
        raise BadRow("wrong-type", "the name of a label is not text")
    level = _real(label.get("level"), "level", 0)
    return ScoredNode(
        id, name or "", int(level), _real(label.get("score"), "score", 1.0), _truth(label.get("cold_start"))
    )


def _with_scores(nodes: list[ScoredNode], scores: Any) -> list[ScoredNode]:
    values = scores.split("|") if isinstance(scores, str) else scores
    if not isinstance(values, list | tuple) or len(values) != len(nodes):
        raise BadRow("wrong-type", "not as many scores as labels")
    return [replace(node, score=_real(v, "score", 1.0)) for node, v in zip(nodes, values, strict=True)]


def _real(value: Any, what: str, default: float) -> float:
    if value is None or value == "":
        return default
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not isfinite(number):
        raise BadRow("wrong-type", f"the {what} of a label is not a number")
    return number


def _truth(value: Any) -> bool:
    said = {"": False, "false": False, "true": True}.get(str("" if value is None else value).lower())
    if said is None:
        raise BadRow("wrong-type", "the cold_start of a label is neither true nor false")
    return said


def _grouped(rows: Iterable[tuple[str, ScoredNode | None]]) -> Iterator[Prediction]:
    """Put the rows of one document together again."""
    current: str | None = None
    nodes: dict[str, ScoredNode] = {}
    for id, node in rows:
        goes_on = id == current and nodes and node is not None and node.id not in nodes
        if current is not None and not goes_on:
            yield Prediction(current, tuple(nodes.values()))
            nodes = {}
        current = id
        if node is not None:
            nodes[node.id] = node
    if current is not None:
        yield Prediction(current, tuple(nodes.values()))
