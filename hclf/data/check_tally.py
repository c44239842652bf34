"""Counting for `check_records`: whole batches of documents at a time, a few numbers kept of each document."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.data.check_report import CheckReport
from hclf.data.documents import Document
from hclf.data.problems import Problems
from hclf.data.resolver import MAX_SHOWN, LabelResolver
from hclf.data.texts import text_hash
from hclf.labels import close, label_matrix, most_specific, pairs
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
BATCH = 4096
SHOWN = 10  # examples of each finding
MAX_DISTINCT = 100_000  # labels that are not known, told apart; a wrong label field may hold as many as documents
_MASK = (1 << 64) - 1


class Tally:
    """Counts for one report."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy, self.resolver = taxonomy, LabelResolver(taxonomy)
        self.sources: list[dict[str, Any]] = []
        # one entry a document
        self.rows, self.source_of = array("Q"), array("H")
        self.texts, self.ids, self.label_sets = array("Q"), array("Q"), array("Q")
        self.bad_labels: Counter[str] = Counter()
        self.bad_label_count = 0
        self.not_labelled = self.without_known_label = 0
        self.sizes: Counter[int] = Counter()  # labels a document -> documents
        self.with_ancestors: list[str] = []
        self.with_ancestors_count = self.above_leaves = 0
        n = len(taxonomy)
        self.given, self.specific, self.closed = (np.zeros(n, dtype=np.int64) for _ in range(3))
        self.level_documents = np.zeros(taxonomy.depth + 1, dtype=np.int64)

    def begin(self, name: str) -> None:
        """Go on to another source."""
        self.sources.append({"name": name, "documents": 0, "labelled": 0, "fields": []})

    def end(self, fields: tuple[str, ...]) -> None:
        """Note which text fields the source turned out to have."""
        self.sources[-1]["fields"] = list(fields)

    def add(self, documents: list[Document]) -> None:
        """Count a batch of documents of the current source."""
        found = [self._resolve(document) for document in documents]
        Y = label_matrix(self.taxonomy, found, closed=False)
        S, C = most_specific(self.taxonomy, Y), close(self.taxonomy, Y)
        self._add_documents(documents, S)
        self._add_labels(Y, S, C)
        together = np.flatnonzero(np.diff(S.indptr) < np.diff(Y.indptr))
        self.with_ancestors_count += len(together)
        for row in together[: SHOWN - len(self.with_ancestors)].tolist():
            self.with_ancestors.append(f"{documents[row].file}:{documents[row].row}")

    def report(self, problems: Problems) -> CheckReport:
        """Return what was counted."""
        labelled = sum(source["labelled"] for source in self.sources)
        return CheckReport(
            taxonomy=self.taxonomy.id,
            sources=self.sources,
            documents=len(self.rows),
            labelled=labelled,
            not_labelled=self.not_labelled,
            without_known_label=self.without_known_label,
            problems=problems,
            empty_texts=problems.counts["empty-text"],
            unknown_label_count=self.bad_label_count,
            unknown_labels=self._unknown_labels(),
            not_assignable=self._not_assignable(),
            with_ancestors={"documents": self.with_ancestors_count, "examples": self.with_ancestors},
            duplicates=self._duplicates(),
            repeated_ids=self._repeated_ids(),
            labels_per_document=self._sizes(labelled),
            above_leaves={
                "documents": self.above_leaves,
                "share": round(self.above_leaves / labelled, 4) if labelled else 0.0,
            },
            levels=self._levels(),
            without_examples=self._without_examples(),
        )

    def _resolve(self, document: Document) -> tuple[str, ...]:
        known: dict[str, None] = {}
        for label in document.labels or ():
            found = self.resolver.candidates(label)
            if len(found) == 1:
                known[found[0]] = None
                continue
            self.bad_label_count += 1
            if label in self.bad_labels or len(self.bad_labels) < MAX_DISTINCT:
                self.bad_labels[label] += 1
        self.not_labelled += document.labels is None
        self.without_known_label += bool(document.labels) and not known
        return tuple(known)

    def _add_documents(self, documents: list[Document], S: csr_matrix[Any]) -> None:
        source, about = len(self.sources) - 1, self.sources[-1]
        about["documents"] += len(documents)
        about["labelled"] += int((np.diff(S.indptr) > 0).sum())
        bounds, columns = S.indptr.tolist(), S.indices.tolist()
        for i, document in enumerate(documents):
            self.rows.append(document.row)
            self.source_of.append(source)
            self.texts.append(text_hash(document.text))
            own_id = document.id != f"row-{document.row}"
            self.ids.append((hash(document.id) & _MASK or 1) if own_id else 0)
            self.label_sets.append(hash(tuple(columns[bounds[i] : bounds[i + 1]])) & _MASK)

    def _add_labels(self, Y: csr_matrix[Any], S: csr_matrix[Any], C: csr_matrix[Any]) -> None:
        n, levels = len(self.taxonomy), self.taxonomy.levels
        for count, matrix in ((self.given, Y), (self.specific, S), (self.closed, C)):
            count += np.bincount(matrix.indices, minlength=n)
        self.sizes.update(size for size in np.diff(Y.indptr).tolist() if size)
        rows, columns = pairs(C)
        on_level = np.unique(rows * (self.taxonomy.depth + 1) + levels[columns]) % (self.taxonomy.depth + 1)
        self.level_documents += np.bincount(on_level, minlength=len(self.level_documents))
        rows, columns = pairs(S)
        self.above_leaves += len(np.unique(rows[~self.taxonomy.is_leaf[columns]]))

    def _unknown_labels(self) -> list[dict[str, Any]]:
        listed = []
        for label, count in self.bad_labels.most_common(2 * SHOWN):
            found = self.resolver.candidates(label)
            shown = label if len(label) <= MAX_SHOWN else f"({len(label)} characters)"
            suggestions = list(found[:5]) or list(self.resolver.suggestions(label))
            listed.append({"label": shown, "documents": count, "suggestions": suggestions})
        return listed

    def _not_assignable(self) -> list[dict[str, Any]]:
        columns = np.flatnonzero((self.given > 0) & ~self.taxonomy.assignable)
        columns = columns[np.argsort(-self.given[columns], kind="stable")]
        return [{"node": self.taxonomy.nodes[j], "documents": int(self.given[j])} for j in columns[:SHOWN].tolist()]

    def _duplicates(self) -> dict[str, Any]:
        """Texts that several documents share: how many, how many of them cross sources or differ in labels."""
        sources, labels = (np.array(a) for a in (self.source_of, self.label_sets))
        copies = across = conflicting = surplus = 0
        examples: list[str] = []
        for group in _groups(np.array(self.texts)):
            surplus += len(group) - 1
            copies += 1
            crossing = bool((sources[group] != sources[group[0]]).any())
            across += crossing
            conflicting += bool((labels[group] != labels[group[0]]).any())
            if len(examples) < SHOWN and (crossing or len(self.sources) == 1):
                examples.append(self._places(group))
        return {
            "texts": copies,
            "surplus_documents": surplus,
            "across_sources": across,
            "with_different_labels": conflicting,
            "examples": examples,
        }

    def _repeated_ids(self) -> dict[str, Any]:
        groups = list(_groups(np.array(self.ids)))
        return {
            "ids": len(groups),
            "documents": sum(map(len, groups)),
            "examples": [self._places(group) for group in groups[:3]],
        }

    def _places(self, group: Ints) -> str:
        """Where the documents of a group are, one of each source first."""
        first = np.unique(np.array(self.source_of)[group], return_index=True)[1]
        rest = np.delete(np.arange(len(group)), first)
        shown = group[np.concatenate([first, rest])][:3].tolist()
        places = [f"{self.sources[self.source_of[i]]['name']}:{self.rows[i]}" for i in shown]
        return " = ".join(places) + (" …" if len(group) > len(shown) else "")

    def _sizes(self, labelled: int) -> dict[str, Any]:
        counts = sorted(self.sizes.items())
        total, middle, median = 0, (labelled + 1) // 2, 0
        for size, documents in counts:
            total += documents
            if total >= middle:
                median = size
                break
        mean = self.given.sum() / labelled if labelled else 0.0
        closed = self.closed.sum() / labelled if labelled else 0.0
        several = sum(documents for size, documents in counts if size > 1)
        return {
            "mean": round(float(mean), 2),
            "median": median,
            "max": counts[-1][0] if counts else 0,
            "closed_mean": round(float(closed), 2),
            "several_share": round(several / labelled, 4) if labelled else 0.0,
        }

    def _levels(self) -> list[dict[str, Any]]:
        leaf = self.taxonomy.is_leaf
        return [
            {
                "level": level,
                "name": self.taxonomy.level_name(level),
                "nodes": columns.stop - columns.start,
                "without_examples": int((self.closed[columns] == 0).sum()),
                "single_example": int((self.closed[columns] == 1).sum()),
                "documents": int(self.level_documents[level]),
                "labels": int(self.specific[columns].sum()),
                "labels_above_leaves": int(self.specific[columns][~leaf[columns]].sum()),
            }
            for level, columns in enumerate(self.taxonomy.level_slices, start=1)
        ]

    def _without_examples(self) -> dict[str, Any]:
        empty = self.closed == 0
        shown = np.flatnonzero(empty & self.taxonomy.assignable)[:SHOWN].tolist()
        return {
            "nodes": int(empty.sum()),
            "assignable": int((empty & self.taxonomy.assignable).sum()),
            "single_example": int((self.closed == 1).sum()),
            "examples": [self.taxonomy.nodes[j] for j in shown],
        }


def _groups(keys: NDArray[np.uint64]) -> list[Ints]:
    """Return the positions of each key other than 0 that comes more than once, in order of first position."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(keys)])
    sizes = np.diff(np.append(starts, len(keys)))
    several = (sizes > 1) & (ordered[starts] > 0)
    groups = [order[s : s + k] for s, k in zip(starts[several].tolist(), sizes[several].tolist(), strict=True)]
    return sorted(groups, key=lambda group: int(group[0]))
