"""What is wrong with labels that people assigned: the rules of the taxonomy object, or a model strongly disagrees.

Rules need labels only and see one document at a time. A model adds what its calibrated scores speak for or against;
its findings are doubts to look into, never proofs. Only the model reads texts, and no finding holds any.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hclf.data import Document, LabelResolver, Problems
from hclf.data.convert import to_id, to_labels
from hclf.data.outputs import Target
from hclf.data.resolver import MAX_CACHED, MAX_SHOWN
from hclf.data.rows import BadRow, read_rows
from hclf.data.sinks import JsonLines
from hclf.data.sources import OpenSource, Source
from hclf.data.writing import Writer
from hclf.errors import UsageError, did_you_mean
from hclf.formats.phrases import longest_known_prefix
from hclf.inputs import chunks
from hclf.rules import COMPLETED_BY, Finding, RuleBook
from hclf.rules import KINDS as RULE_KINDS
from hclf.taxonomy import Taxonomy

__all__ = ["DOUBTS", "KINDS", "Audited", "Auditor", "Doubt", "FindingsWriter", "Judge", "Summary", "read_labels"]

DoubtKind = Literal["over-general", "likely-wrong", "likely-missing"]
DOUBTS: tuple[DoubtKind, ...] = ("over-general", "likely-wrong", "likely-missing")
KINDS: tuple[str, ...] = (*RULE_KINDS, *DOUBTS)
REMEDIED = ("unknown", "over-general", "likely-wrong")  # what such a finding is also about may be the right label
UNFIT = ("not-assignable", "missing-seventh")  # nothing to say of a node that stands in for an unknown label
SURE, DOUBTFUL, SUPPORT = 0.9, 0.01, 5
INSTEAD = 0.5  # score from which on a node is named as what a likely wrong label may have meant
BATCH_NUMBERS = 1 << 24  # scores held at a time
MOST_BATCHED = 256
MOST_NEAR = 5  # known labels named for an unknown one
SHORTEST = 3  # characters of an unknown code that is compared with longer ones
HINTED = 200  # unknown labels for which the nearest known ones are looked for: with 100,000 nodes it takes a while
CODED = 0.3  # share of edges whose child's id begins with its parent's, from which on ids are codes
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What a model has against the labels of one document.

    Attributes:
        kind: one of `DOUBTS`.
        node: the label it is about, or the missing one.
        other: the node below an over-general label, or the one that a likely wrong label may stand in for.
        message: a sentence.
        score: the model's probability of `node`; of `other` when the label is over-general.
    """

    kind: DoubtKind
    node: str
    other: str = ""
    message: str
    score: float
    severity: Literal["soft"] = "soft"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; what is empty is left out."""
        said = {"kind": self.kind, "severity": self.severity, "node": self.node, "other": self.other}
        return {k: v for k, v in said.items() if v} | {"message": self.message, "score": round(self.score, 4)}


class Audited(NamedTuple):
    """One document: its id, its labels as given (None: it has no label field), and the findings about them."""

    id: str
    labels: tuple[str, ...] | None
    findings: list[Finding | Doubt]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        labels = [_shown(label) for label in self.labels or ()]
        return {"id": self.id, "labels": labels, "findings": [found.to_dict() for found in self.findings]}


class Judge(Protocol):
    """What an audit asks of a model; `HierarchicalClassifier` has it."""

    taxonomy_: Taxonomy
    counts_: NDArray[Any]

    def predict_proba(self, X: Any) -> Any:
        """Return calibrated coherent scores (documents, nodes)."""

    def predict(self, X: Any, *, operating_point: str) -> Any:
        """Return a closed label set for each document."""


class Auditor:
    """Examines labels that people assigned.

    Args:
        taxonomy: of the labels.
        as_of: the day for which labels have to be valid; None asks no such question.
        nearest: examine the longest known prefix in place of an unknown label, which is a finding all the same.
        model: for the doubts; None asks for none. It should not have been trained on the documents: a model has
            learned the mistakes of its own training data too. Nodes it does not have are left alone.
        sure: score from which on a node is held to be meant; with labels that lack it or stop above it a finding.
        operating_point: hold to be meant what the model answers at this point, instead of `sure`.
        doubtful: score up to which a label is held to be wrong.
        support: training documents a node must have had for its label to be held wrong: what a model has hardly
            seen it does not find either.

    Raises:
        UsageError: `sure` is not above `doubtful`, or one of them not between 0 and 1.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        *,
        as_of: dt.date | None = None,
        nearest: bool = False,
        model: Judge | None = None,
        sure: float = SURE,
        operating_point: str = "",
        doubtful: float = DOUBTFUL,
        support: int = SUPPORT,
    ) -> None:
        if not 0 <= doubtful < sure <= 1:
            raise UsageError(f"0 <= doubtful < sure <= 1 must hold, not doubtful {doubtful} and sure {sure}")
        self.taxonomy, self.nearest, self.model = taxonomy, nearest, model
        self.sure, self.operating_point, self.doubtful, self.support = sure, operating_point, doubtful, support
        self._book = RuleBook(taxonomy, as_of=as_of)
        self._resolver = LabelResolver(taxonomy)
        self._unheard: dict[str, Finding] = {}

    def audit(self, documents: Iterable[Document]) -> Iterator[Audited]:
        """Yield for each document, in order, what is wrong with its labels, holding one batch at a time."""
        if self.model is None:
            for document in documents:
                _, findings = self.check(document.labels or ())
                yield Audited(document.id, document.labels, findings)
            return
        size = max(1, min(MOST_BATCHED, BATCH_NUMBERS // max(len(self.model.taxonomy_), 1)))
        for batch in chunks(documents, size):
            yield from self._with_doubts(batch, self.model)

    def check(self, labels: Sequence[str]) -> tuple[tuple[str, ...], list[Finding | Doubt]]:
        """Return the node ids of some labels, and what the rules find; labels are ids, names or paths."""
        known: dict[str, bool] = {}  # node -> whether it only stands in for an unknown label
        findings: list[Finding | Doubt] = []
        for label in dict.fromkeys(labels):
            found = self._resolver.candidates(label)
            if len(found) == 1:
                known[found[0]] = False
                continue
            finding = self._about_unknown(label, found)
            findings.append(finding)
            if self.nearest and finding.other:
                known.setdefault(finding.other, True)
        by_rules = self._book.check(list(known))
        findings += [f for f in by_rules if f.kind not in UNFIT or not known[f.node]]
        return tuple(known), findings

    def _about_unknown(self, label: str, several: Sequence[str]) -> Finding:
        finding = self._unheard.get(label)
        if finding is None:
            finding = self._ambiguous(label, several) if several else self._unknown(label)
            if len(label) <= MAX_SHOWN and len(self._unheard) < MAX_CACHED:
                self._unheard[label] = finding
        return finding

    def _ambiguous(self, label: str, several: Sequence[str]) -> Finding:
        near = tuple(several[:MOST_NEAR])
        return _unknown_finding(label, f"label {_shown(label)!r} is ambiguous{did_you_mean(near)}", near)

    def _unknown(self, label: str) -> Finding:
        """Return the finding about an unknown label; where ids are codes, it is compared with codes first."""
        if longer := self._longer(label):
            return self._incomplete(label, longer)
        what = f"unknown label {_shown(label)!r}"
        if prefix := self._prefix(label):
            return _unknown_finding(label, f"{what}; the longest known prefix is {prefix!r}", (prefix,), other=prefix)
        near = self._resolver.suggestions(label) if len(self._unheard) < HINTED else ()
        return _unknown_finding(label, f"{what}{did_you_mean(near)}", near)

    def _incomplete(self, label: str, longer: tuple[str, ...]) -> Finding:
        """Return the finding about a label that some known codes begin with: "W19.XXX", of which W19.XXXA is one."""
        up = next((path[-2] for path in map(self.taxonomy.path, longer) if len(path) > 1), "")
        added = str(self.taxonomy[up].meta.get(COMPLETED_BY, "")).strip() if up else ""
        if not added:
            message = f"unknown label {label!r}; known are {', '.join(longer)}"
            return _unknown_finding(label, message, longer, other=up)
        message = f"{label} needs a {added}: {', '.join(longer)}"
        return Finding(
            kind="missing-seventh", node=label, other=up, message=message, severity="hard", suggestions=longer
        )

    def _prefix(self, label: str) -> str:
        if len(label) > MAX_SHOWN or not self._codes:
            return ""
        return self._codes.get(longest_known_prefix(label.strip().casefold(), self._codes), "")

    def _longer(self, label: str) -> tuple[str, ...]:
        """Return the first few known codes that an unknown one is the beginning of."""
        start = label.strip().casefold()
        if len(start) < SHORTEST or not self._codes:
            return ()
        first = bisect_left(self._sorted, start)
        found = self._sorted[first : first + MOST_NEAR]
        return tuple(self._codes[code] for code in found if code.startswith(start))

    @cached_property
    def _codes(self) -> dict[str, str]:
        """Case-folded id -> id; empty unless ids are codes, which begin with the code above them."""
        edges = list(self.taxonomy.edges())
        nested = sum(child.startswith(parent) for parent, child in edges)
        return {node.casefold(): node for node in self.taxonomy} if nested > CODED * len(edges) else {}

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._codes)

    # -- what a model says -------------------------------------------------------------------------------------

    def _with_doubts(self, documents: Sequence[Document], model: Judge) -> Iterator[Audited]:
        scores = np.asarray(model.predict_proba(list(documents)))
        answers: Sequence[Iterable[str]] = ()
        if self.operating_point:
            answers = model.predict(list(documents), operating_point=self.operating_point)
        for i, document in enumerate(documents):
            known, findings = self.check(document.labels or ())
            if document.labels is not None and document.text.strip():
                tree = model.taxonomy_
                meant = (
                    set(answers[i]) if answers else {tree.nodes[j] for j in np.flatnonzero(scores[i] >= self.sure)}
                )
                labels = [node for node in known if node in tree]
                findings += self._wrong(model, labels, scores[i])
                findings += self._missing(tree, labels, meant, scores[i])
            yield Audited(document.id, document.labels, findings)

    def _wrong(self, model: Judge, labels: Sequence[str], scores: Floats) -> Iterator[Doubt]:
        tree = model.taxonomy_
        for node in labels:
            j = tree.index(node)
            if scores[j] <= self.doubtful and model.counts_[j] >= self.support:
                other = _instead(tree, j, labels, scores)
                said = f"; {other} beside it scores {scores[tree.index(other)]:.2f}" if other else ""
                message = f"{node} scores only {scores[j]:.3f}{said}"
                yield Doubt(kind="likely-wrong", node=node, other=other, message=message, score=float(scores[j]))

    def _missing(self, tree: Taxonomy, labels: Sequence[str], meant: set[str], scores: Floats) -> Iterator[Doubt]:
        """Yield the most specific nodes that are meant but not said: under a label, or under none."""
        ends = set(labels).difference(*map(tree.ancestors, labels))
        for node in tree.most_specific(meant.difference(tree.closure(labels))):
            score = float(scores[tree.index(node)])
            above = next((label for label in reversed(tree.ancestors(node)) if label in ends), "")
            if above:
                message = f"{above} could be {node}, which lies below it and scores {score:.2f}"
                yield Doubt(kind="over-general", node=above, other=node, message=message, score=score)
            else:
                what = node if tree[node].assignable else f"something below {node}"
                message = f"{what} is likely missing: {node} scores {score:.2f}, and no label says it"
                yield Doubt(kind="likely-missing", node=node, message=message, score=score)


def _instead(tree: Taxonomy, j: int, labels: Sequence[str], scores: Floats) -> str:
    """Return the best node beside a label, if its score is high and no label says it; "" otherwise."""
    said = set(tree.closure(labels))
    ups = tree.parents.of(j).tolist()
    beside = (
        {k for up in ups for k in tree.children.of(up).tolist()} if ups else np.flatnonzero(tree.is_root).tolist()
    )
    best = max((k for k in beside if k != j and tree.nodes[k] not in said), key=lambda k: scores[k], default=-1)
    return tree.nodes[best] if best >= 0 and scores[best] >= INSTEAD else ""


def _unknown_finding(label: str, message: str, near: tuple[str, ...], other: str = "") -> Finding:
    return Finding(
        kind="unknown", node=_shown(label), other=other, message=message, severity="hard", suggestions=near
    )


def _shown(label: str) -> str:
    """Return a label as it may be shown: under a wrong field name it may be anything, even a document."""
    return label if len(label) <= MAX_SHOWN else f"({len(label)} characters)"


# -- all documents together ------------------------------------------------------------------------------------


@dataclass
class Summary:
    """Counts over all documents.

    Attributes:
        documents: how many.
        labels: labels assigned, all documents together.
        unlabelled: documents without a label field.
        findings: by kind, how many.
        documents_with: by kind, in how many documents.
        with_any: documents with any finding.
        of: by kind, how often about which label, or pair of labels.
    """

    documents: int = 0
    labels: int = 0
    unlabelled: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    documents_with: Counter[str] = field(default_factory=Counter)
    with_any: int = 0
    of: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, audited: Audited) -> None:
        """Count one document."""
        self.documents += 1
        self.labels += len(audited.labels or ())
        self.unlabelled += audited.labels is None
        self.with_any += bool(audited.findings)
        self.documents_with.update({found.kind for found in audited.findings})
        for found in audited.findings:
            self.findings[found.kind] += 1
            self.of[found.kind][found.node, found.other] += 1

    def kinds(self) -> list[str]:
        """Return the kinds there are findings of, in the order of `KINDS`."""
        return [kind for kind in KINDS if self.findings[kind]]

    def share(self, kind: str) -> float:
        """Return the share of documents with a finding of a kind; 0 without documents."""
        return self.documents_with[kind] / max(self.documents, 1)

    def most(self, kind: str, n: int) -> list[tuple[str, int]]:
        """Return the labels with most findings of a kind, and how many: "E10 + E11", or "E1 → E10" for a remedy."""
        ranked = sorted(self.of[kind].items(), key=lambda item: (-item[1], item[0]))[:n]
        joint = " → " if kind in REMEDIED else " + "
        return [(joint.join(filter(None, pair)), count) for pair, count in ranked]

    def to_dict(self, n: int = 10) -> dict[str, Any]:
        """Return everything as JSON values, with the `n` most frequent labels or pairs of each kind."""
        found = {
            kind: {
                "findings": self.findings[kind],
                "documents": self.documents_with[kind],
                "share": round(self.share(kind), 4),
                "most": [{"labels": labels, "findings": count} for labels, count in self.most(kind, n)],
            }
            for kind in self.kinds()
        }
        return {
            "documents": self.documents,
            "labels": self.labels,
            "unlabelled": self.unlabelled,
            "with_findings": self.with_any,
            "kinds": found,
        }


def read_labels(
    source: Source,
    *,
    label_field: str = "labels",
    id_field: str = "id",
    format: str | None = None,
    problems: Problems | None = None,
) -> Iterator[Document]:
    """Yield documents without their text: all that rules look at, and files without text can be read.

    Args:
        source, label_field, id_field, format: as for `hclf.data.read_documents`.
        problems: counts rows that cannot be used.

    Raises:
        DataError: the source as a whole cannot be read, or the first problem when `problems` is strict.
    """
    problems = Problems() if problems is None else problems
    opened = OpenSource(source, format)
    try:
        for row, record in read_rows(opened, problems).records:
            try:
                labels = to_labels(record.get(label_field), label_field)
                name = to_id(record.get(id_field), id_field) or f"row-{row}"
            except BadRow as bad:
                problems.add(bad.kind, bad.message, file=opened.name, row=row)
                continue
            if labels is None:
                problems.add("missing-labels", "no labels", file=opened.name, row=row)
            yield Document(name, {}, labels, row=row, file=opened.name)
    finally:
        opened.close()


class FindingsWriter(Writer[Audited]):
    """Writes documents with their findings as JSON lines; as all writers, whole or not at all."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._lines = JsonLines(self._output.stream)

    def _put(self, item: Audited) -> None:
        self._lines.write(item.to_dict())
