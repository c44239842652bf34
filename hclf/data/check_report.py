"""`CheckReport`: the findings of `check_records`, as numbers, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hclf.data.problems import Problems

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table


@dataclass(slots=True)
class CheckReport:
    """What `check_records` found. Counts are of documents unless the name says otherwise.

    Args:
        taxonomy: id of the taxonomy.
        sources: `name`, `documents`, `labelled` (with a known label) and text `fields` of each source.
        documents, labelled: in all sources.
        not_labelled: without a label field; `without_known_label`: with labels, none of them known.
        problems: rows that were refused, and empty texts.
        empty_texts: documents without text.
        unknown_label_count: labels that are unknown or ambiguous, counted as often as they occur.
        unknown_labels: the commonest of them with the nodes nearest to them.
        not_assignable: nodes given as labels that the taxonomy says are not to be given.
        with_ancestors: documents that name a label and one of its ancestors.
        duplicates: texts that several documents share, within and across sources, and with different labels.
        repeated_ids: ids that several documents share.
        labels_per_document: as given, and `closed_mean` with all ancestors.
        above_leaves: documents with a most specific label that is not a leaf.
        levels: per level, nodes with and without examples, documents, most specific labels.
        without_examples: nodes no document speaks for, ancestors counted.
    """

    taxonomy: str
    sources: list[dict[str, Any]]
    documents: int
    labelled: int
    not_labelled: int
    without_known_label: int
    problems: Problems
    empty_texts: int
    unknown_label_count: int
    unknown_labels: list[dict[str, Any]]
    not_assignable: list[dict[str, Any]]
    with_ancestors: dict[str, Any]
    duplicates: dict[str, Any]
    repeated_ids: dict[str, Any]
    labels_per_document: dict[str, Any]
    above_leaves: dict[str, Any]
    levels: list[dict[str, Any]]
    without_examples: dict[str, Any]

    @property
    def faults(self) -> list[str]:
        """What `--strict` fails on, each with its count: what makes training data wrong, not merely thin."""
        refused = self.problems.total - self.empty_texts
        found = (
            (refused, "rows with problems"),
            (self.empty_texts, "empty texts"),
            (self.unknown_label_count, "unknown or ambiguous labels"),
            (len(self.not_assignable), "nodes given as labels that are not assignable"),
            (self.duplicates["across_sources"], "texts in more than one source"),
        )
        return [f"{what}: {count:,}" for count, what in found if count]

    def to_dict(self) -> dict[str, Any]:
        """Return everything for `--json`."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "problems": self.problems.to_dict(), "faults": self.faults}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for part in (*self._head(), "", *self._labels(), "", *self._texts()):
            yield Text(part)
        yield Text("")
        yield self._level_table()
        for line in self.problems.lines():
            yield Text(line)

    def _head(self) -> Iterator[str]:
        for source in self.sources:
            text = ", ".join(source["fields"]) or "-"
            yield (
                f"{source['name']}: {source['documents']:,} documents, "
                f"{source['labelled']:,} with known labels; text: {text}"
            )
        if self.not_labelled:
            yield f"{self.not_labelled:,} documents have no label field"
        if self.without_known_label:
            yield f"{self.without_known_label:,} documents have labels, but none that is known"

    def _labels(self) -> Iterator[str]:
        size, above = self.labels_per_document, self.above_leaves
        yield (
            f"labels a document: mean {size['mean']}, median {size['median']}, max {size['max']}; "
            f"with ancestors {size['closed_mean']}; several labels: {size['several_share']:.1%}"
        )
        yield f"labelled above the leaves: {above['documents']:,} documents ({above['share']:.1%})"
        yield f"given together with an ancestor: {_with_examples(self.with_ancestors, 'documents')}"
        thin = self.without_examples
        yield (
            f"nodes without examples: {thin['nodes']:,}, of them assignable {thin['assignable']:,}"
            f"{_such_as(thin['examples'])}; with a single one: {thin['single_example']:,}"
        )
        for entry in self.not_assignable:
            yield f"not assignable, but given: {entry['node']} ({entry['documents']:,} documents)"
        if self.unknown_label_count:
            yield f"unknown or ambiguous labels: {self.unknown_label_count:,}"
        for entry in self.unknown_labels:
            near = f"; did you mean {' or '.join(entry['suggestions'])}?" if entry["suggestions"] else ""
            yield f"  {entry['label']!r} in {entry['documents']:,}{near}"

    def _texts(self) -> Iterator[str]:
        copies, ids = self.duplicates, self.repeated_ids
        yield f"empty texts: {self.empty_texts:,}"
        yield (
            f"texts that come more than once: {copies['texts']:,} ({copies['surplus_documents']:,} documents too "
            f"many); across sources {copies['across_sources']:,}; with different labels "
            f"{copies['with_different_labels']:,}"
        )
        yield from (f"  {places}" for places in copies["examples"][:5])
        yield f"ids that come more than once: {ids['ids']:,} (in {ids['documents']:,} documents)"

    def _level_table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table("level", box=None, header_style="bold", pad_edge=False)
        columns = ("nodes", "without_examples", "single_example", "documents", "labels", "labels_above_leaves")
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for level in self.levels:
            number, name = level["level"], level["name"]
            name = name if name == f"level {number}" else f"{number} {name}"
            table.add_row(Text(name), *(f"{level[column]:,}" for column in columns))
        return table


def _with_examples(finding: dict[str, Any], what: str) -> str:
    return f"{finding[what]:,} {what}{_such_as(finding['examples'])}"


def _such_as(examples: list[str]) -> str:
    return f" (such as {', '.join(examples[:3])})" if examples else ""
