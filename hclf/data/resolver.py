"""`LabelResolver`: a label as people write it (id, name or path) -> node id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from hclf.data.documents import Document
from hclf.data.problems import Problems
from hclf.errors import DataError, did_you_mean, suggest
from hclf.taxonomy import Taxonomy

MAX_SHOWN = 120  # characters of a label in a message: a wrong label field may hold anything, even the text
MAX_CACHED = 50_000  # names and paths remembered; ids need no memory
_STEPS = (re.compile(r"\s*>\s*"), re.compile(r"\s*/\s*"))  # path files come with either; names may hold a slash


class LabelResolver:
    """Finds the node a label means: a node id, a name that only one node has, or a path of names.

    Names are compared without case, in every language the taxonomy has; synonyms are not names. A path
    `A > B > C` follows names (or ids) from parent to child; it may start anywhere, and where several nodes fit,
    a path that starts at a root wins. An id comes before a name, a whole name before a path. Where nothing fits
    `>`, the path may be written with `/`, as some taxonomy files do.

    >>> t = Taxonomy(["food", "rice"], [("food", "rice")])
    >>> resolve = LabelResolver(t)
    >>> resolve("rice"), resolve("RICE"), resolve("Food > Rice"), resolve("food/rice")
    ('rice', 'rice', 'rice', 'rice')
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self._cache: dict[str, tuple[str, ...]] = {}

    def __call__(self, label: str) -> str:
        """Return the node id a label means.

        Raises:
            DataError: no node fits (with the nearest ids and names), or several do (naming them).
        """
        found = self.candidates(label)
        if len(found) != 1:
            raise DataError(self.explain(label))
        return found[0]

    def candidates(self, label: str) -> tuple[str, ...]:
        """Return the ids of all nodes a label may mean: one when all is well."""
        if label in self.taxonomy:
            return (label,)
        found = self._cache.get(label)
        if found is None:
            found = self._named(label) or self._at_path(label)
            if len(self._cache) < MAX_CACHED:
                self._cache[label] = found
        return found

    def explain(self, label: str) -> str:
        """Return what is wrong with a label that does not mean exactly one node, and what to write instead."""
        shown = repr(label) if len(label) <= MAX_SHOWN else f"of {len(label)} characters"
        found = self.candidates(label)
        if found:
            several = ", ".join(map(repr, found[:5])) + (", …" if len(found) > 5 else "")
            return f"label {shown} is ambiguous: {len(found)} nodes fit ({several}); give the id or a path"
        return f"unknown label {shown}{did_you_mean(self.suggestions(label))}"

    def suggestions(self, label: str) -> tuple[str, ...]:
        """Return the ids, or else the names, nearest to an unknown label (to the last step of a path)."""
        if len(label) > MAX_SHOWN:
            return ()
        last = _STEPS[0].split(label)[-1]
        return suggest(last, self.taxonomy.nodes) or suggest(last, self._spelling.values())

    def resolve(self, document: Document, problems: Problems) -> tuple[str, ...]:
        """Return the known labels of a document as ids, each once; the others are dropped and counted."""
        ids: dict[str, None] = {}
        for label in document.labels or ():
            found = self.candidates(label)
            if len(found) == 1:
                ids[found[0]] = None
            else:
                problems.add(
                    "ambiguous-label" if found else "unknown-label",
                    partial(self.explain, label),
                    file=document.file,
                    row=document.row,
                )
        return tuple(ids)

    def resolve_spans(self, document: Document, problems: Problems) -> tuple[Mapping[str, Any], ...]:
        """Return the spans of a document with their labels as ids; those of unknown labels are dropped.

        They are counted unless the label is one of the document's, which `resolve` counts.
        """
        spans = []
        for span in document.spans:
            label = span.get("label")
            found = () if label is None else self.candidates(str(label))
            if label is None or len(found) == 1:
                spans.append(span if label is None else {**span, "label": found[0]})
            elif str(label) not in (document.labels or ()):
                problems.add(
                    "ambiguous-label" if found else "unknown-label",
                    partial(self.explain, str(label)),
                    file=document.file,
                    row=document.row,
                )
        return tuple(spans)

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        by_name: dict[str, list[int]] = {}
        for j in range(len(self.taxonomy)):
            entry = self.taxonomy.node(j)
            for name in {_key(name) for name in (*entry.names.values(), entry.id)}:
                by_name.setdefault(name, []).append(j)
        return by_name

    @cached_property
    def _spelling(self) -> dict[str, str]:
        return {_key(name): name for name in self.taxonomy.names}

    def _named(self, name: str) -> tuple[str, ...]:
        return tuple(self.taxonomy.nodes[j] for j in self._by_name.get(_key(name), ()))

    def _at_path(self, label: str) -> tuple[str, ...]:
        for separator in _STEPS:
            steps = separator.split(label.strip())
            if len(steps) > 1 and all(steps) and (found := self._along(steps)):
                return found
        return ()

    def _along(self, steps: list[str]) -> tuple[str, ...]:
        fitting = [set(self._by_name.get(_key(step), ())) for step in steps]
        roots = {j for j in fitting[0] if self.taxonomy.is_root[j]}
        ends = self._descend(roots, fitting[1:]) or self._descend(fitting[0], fitting[1:])
        return tuple(self.taxonomy.nodes[j] for j in sorted(ends))

    def _descend(self, here: set[int], steps: list[set[int]]) -> set[int]:
        for step in steps:
            here = {j for j in step if not here.isdisjoint(self.taxonomy.parents.of(j).tolist())}
        return here


def resolved(
    documents: Iterable[Document],
    taxonomy: Taxonomy | LabelResolver,
    problems: Problems | None = None,
    *,
    keep_unlabelled: bool = False,
) -> Iterator[Document]:
    """Yield documents with their labels, and those of their spans, as node ids.

    Unknown and ambiguous labels are dropped and counted. A document without a label field, or without a known
    label, is skipped and counted ("missing-labels", "no-known-label") unless `keep_unlabelled`, which yields it
    with labels None or (). A document that was labelled with an empty list is always kept.

    Raises:
        DataError: at the first problem, when `problems` is strict.
    """
    resolver = taxonomy if isinstance(taxonomy, LabelResolver) else LabelResolver(taxonomy)
    problems = Problems() if problems is None else problems
    for document in documents:
        if document.labels is None:
            if keep_unlabelled:
                yield document
            else:
                problems.add("missing-labels", "no labels", file=document.file, row=document.row)
            continue
        labels = resolver.resolve(document, problems)
        if labels or not document.labels or keep_unlabelled:
            yield replace(document, labels=labels, spans=resolver.resolve_spans(document, problems))
        else:
            problems.add("no-known-label", "none of its labels is known", file=document.file, row=document.row)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
