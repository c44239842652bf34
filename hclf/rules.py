"""Code-set rules: what a taxonomy says about labels that stand on one document, and labels that obey it.

`RuleBook.check` points out what a rule objects to, `RuleBook.repair` also does what the hard ones say. Both take the
labels of one document as they were assigned, in their order: the most specific nodes, not the closure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple

from hclf.errors import UsageError
from hclf.taxonomy import Rule, Taxonomy

__all__ = ["COMPLETED_BY", "KINDS", "Finding", "Kind", "RuleBook"]

Kind = Literal[
    "unknown",
    "retired",
    "not-yet-valid",
    "not-assignable",
    "missing-seventh",
    "parent-with-child",
    "excluded-pair",
    "exclusive",
    "too-many",
    "missing-companion",
    "order",
]
KINDS: tuple[Kind, ...] = (
    "unknown",
    "retired",
    "not-yet-valid",
    "not-assignable",
    "missing-seventh",
    "parent-with-child",
    "excluded-pair",
    "exclusive",
    "too-many",
    "missing-companion",
    "order",
)
COMPLETED_BY = "completedBy"  # in the `meta` of a node: what its children add to its id, such as "seventh character"
LEAD = 2 / 3
SHOWN = 5
MAX_SUGGESTIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule objects to in the labels of one document.

    Attributes:
        kind: one of `KINDS`.
        node: the label it is about; for `too-many` the node of the rule.
        other: the second label, if there is one: of a pair, or the one that belongs before `node`.
        message: a sentence, with the text and the source of the rule.
        rule: the rule, or None for what needs none, such as an unknown label.
        severity: a rule's strength. Labels that cannot be used as they are count as hard.
        suggestions: labels that could stand for `node` or beside it: what a missing companion asks for, or the
            nearest assignable nodes below one that is not.
        action: what `repair` did about it, "dropped", "added", "replaced" or "moved"; "" for nothing.
    """

    kind: Kind
    node: str
    other: str = ""
    message: str
    rule: Rule | None = None
    severity: Literal["hard", "soft"] = "soft"
    suggestions: tuple[str, ...] = ()
    action: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; what is empty is left out."""
        said: dict[str, Any] = {
            "kind": self.kind,
            "severity": self.severity,
            "node": self.node,
            "other": self.other,
            "message": self.message,
            "action": self.action,
            "suggestions": list(self.suggestions),
        }
        if self.rule:
            told = {
                "type": self.rule.type,
                "node": self.rule.node,
                "source": self.rule.source,
                "note": self.rule.note,
            }
            said["rule"] = {key: text for key, text in told.items() if text}
        return {key: value for key, value in said.items() if value}


_Step = tuple[list[str], list[Finding]]


class _Held(NamedTuple):
    """A rule with the columns of its others, and the level of its node."""

    rule: Rule
    node: int
    level: int
    others: frozenset[int]


class _Pair(NamedTuple):
    """Two labels that a rule keeps apart; `node` is the one on the rule's side."""

    held: _Held
    node: int
    other: int


class _Document:
    """The known labels of one document, each once, and which of them lie under what."""

    def __init__(self, columns: Sequence[int], ups: Sequence[tuple[int, ...]]) -> None:
        self.columns = columns
        self.under: dict[int, list[int]] = {}  # node -> the labels that are it or lie below it, in their order
        for j, up in zip(columns, ups, strict=True):
            for node in up:
                self.under.setdefault(node, []).append(j)
        self.reach = set(self.under)

    def of(self, held: _Held) -> list[int]:
        """Return the labels a rule is about."""
        labels = self.under[held.node]
        if held.rule.scope == "all":
            return labels
        return [j for j in labels if (j == held.node) == (held.rule.scope == "node")]


class RuleBook:
    """The rules of a taxonomy, indexed by node.

    Args:
        taxonomy: its `rules`, and what it says of single nodes: assignable or not, first and last day.
        as_of: the day for which labels have to be valid; None asks no such question.
        lead: the share of its siblings' scores together (its own included) from which on a child clearly leads, so
            that `repair` descends to it; above .5.

    Raises:
        UsageError: `lead` is not above .5 and up to 1.

    >>> rules = [Rule("excludes", "a", ("b",), note="never both")]
    >>> book = RuleBook(Taxonomy(["a", "b", "a1"], [("a", "a1")], rules=rules))
    >>> [found.message for found in book.check(["b", "a1"])]
    ['a1 does not go with b: rule \\'excludes\\' at a: "never both"']
    """

    def __init__(self, taxonomy: Taxonomy, *, as_of: dt.date | None = None, lead: float = LEAD) -> None:
        if not 0.5 < lead <= 1:
            raise UsageError(f"lead must be above 0.5 and at most 1, not {lead}")
        self.taxonomy, self.as_of, self.lead = taxonomy, as_of, lead
        self._rules: dict[int, list[_Held]] = {}
        self._up: dict[int, tuple[int, ...]] = {}
        self._folded: dict[str, str] | None = None
        levels = taxonomy.levels.tolist()
        for rule in taxonomy.rules:
            node = taxonomy.index(rule.node)
            held = _Held(rule, node, levels[node], frozenset(map(taxonomy.index, rule.others)))
            self._rules.setdefault(node, []).append(held)

    def about(self, node: str) -> list[Rule]:
        """Return the rules that hold for a node, those of its ancestors included, nearest first.

        Raises:
            UnknownNodeError: a node the taxonomy does not have.
        """
        j = self.taxonomy.index(node)
        return [held.rule for up in self._above(j) for held in self._rules.get(up, ()) if _in_scope(held, j)]

    def check(self, labels: Sequence[str]) -> list[Finding]:
        """Return what the rules object to, first about single labels, then about several.

        Args:
            labels: those of one document, as assigned, in their order. One given twice counts once.
        """
        known, findings = self._known(labels)
        for j in known:
            findings += self._of_label(j)
        document = _Document(known, [self._above(j) for j in known])
        findings += self._parents_with_children(document)
        pairs: dict[tuple[int, int], _Pair] = {}
        several: list[Finding] = []
        for node in document.under:
            for held in self._rules.get(node, ()):
                if held.rule.type == "excludes":
                    self._excluded(held, document, pairs)
                else:
                    several += self._of_rule(held, document)
        return [*findings, *(self._pair_finding(pair) for pair in pairs.values()), *several]

    def repair(
        self, labels: Sequence[str], scores: Mapping[str, float] | None = None
    ) -> tuple[tuple[str, ...], list[Finding]]:
        """Return labels that obey the hard rules as far as that can be done without guessing, and what was found.

        In this order: a label that cannot be assigned gives way to a label below it that is there already, or to the
        assignable node that one clearly leading child after the other leads to; of a hard-excluded or exclusive pair
        the weaker label is dropped, then the weakest of too many; what a hard rule requires is added if there is just
        one candidate; labels go behind those that belong before them. Soft rules are only pointed out, but for the
        order, which loses nothing. Unknown, retired and redundant labels stay.

        Args:
            labels: as for `check`.
            scores: how strongly each node is supported, 0 to 1, its children and so on included where known; missing
                ones count as 0. Of two labels with the same score the earlier one is the stronger.

        Returns:
            The labels, and the findings: first those with an `action`, in the order in which things were done, then
            what `check` still finds.
        """
        scores = scores or {}
        kept, done = list(dict.fromkeys(labels)), list[Finding]()
        for step in (self._descend, self._part, self._limit, self._complete, self._reorder):
            kept, found = step(kept, scores)
            done += found
        return tuple(kept), [*done, *self.check(kept)]

    # -- single labels -----------------------------------------------------------------------------------------

    def _known(self, labels: Iterable[str]) -> tuple[list[int], list[Finding]]:
        """Return the columns of the known labels, each once, and the findings of the others."""
        known: list[int] = []
        findings: list[Finding] = []
        for label in dict.fromkeys(labels):
            j = self.taxonomy.get(label)
            if j is None:
                findings.append(self._unknown(label))
            else:
                known.append(j)
        return known, findings

    def _unknown(self, label: str) -> Finding:
        if self._folded is None:
            self._folded = {node.casefold(): node for node in self.taxonomy}
        near = self._folded.get(label.strip().casefold(), "")
        hint = f"; did you mean {near!r}?" if near else ""
        return Finding(
            kind="unknown",
            node=label,
            message=f"unknown label {label!r}{hint}",
            severity="hard",
            suggestions=(near,) if near else (),
        )

    def _of_label(self, j: int) -> Iterator[Finding]:
        """Yield what is wrong with a label by itself."""
        entry = self.taxonomy.node(j)
        if self.as_of and entry.valid_to and entry.valid_to < self.as_of:
            message = f"{entry.id} is no longer valid on {self.as_of}: its last day was {entry.valid_to}"
            yield Finding(kind="retired", node=entry.id, message=message, severity="hard")
        if self.as_of and entry.valid_from and entry.valid_from > self.as_of:
            message = f"{entry.id} is not valid yet on {self.as_of}: its first day is {entry.valid_from}"
            yield Finding(kind="not-yet-valid", node=entry.id, message=message, severity="hard")
        if not entry.assignable:
            below = self._assignable_below(j)
            added = str(entry.meta.get(COMPLETED_BY, "")).strip()
            what = f"needs a {added}" if added else "cannot be a label itself"
            yield Finding(
                kind="missing-seventh" if added else "not-assignable",
                node=entry.id,
                message=f"{entry.id} {what}{f'; below it: {_listed(below)}' if below else ''}",
                severity="hard",
                suggestions=below[:MAX_SUGGESTIONS],
            )

    def _assignable_below(self, j: int) -> tuple[str, ...]:
        """Return the assignable nodes of the nearest level below a node that has any."""
        frontier = [j]
        while frontier:
            below = dict.fromkeys(child for up in frontier for child in self._children(up))
            found = tuple(self.taxonomy.nodes[child] for child in below if self._usable(child))
            if found:
                return found
            frontier = list(below)
        return ()

    def _usable(self, j: int) -> bool:
        """Tell whether a node may be a label, on the day asked for."""
        entry, day = self.taxonomy.node(j), self.as_of
        if not entry.assignable:
            return False
        return not day or (
            (entry.valid_from is None or entry.valid_from <= day)
            and (entry.valid_to is None or day <= entry.valid_to)
        )

    def _above(self, j: int) -> tuple[int, ...]:
        """Return a node and all above it, nearest level first."""
        known = self._up.get(j)
        if known is None:
            found = fresh = {j}
            while fresh:
                fresh = {int(up) for node in fresh for up in self.taxonomy.parents.of(node)} - found
                found = found | fresh
            known = self._up[j] = tuple(sorted(found, reverse=True))  # parents come before children
        return known

    def _children(self, j: int) -> list[int]:
        children: list[int] = self.taxonomy.children.of(j).tolist()
        return children

    # -- several labels ----------------------------------------------------------------------------------------

    def _parents_with_children(self, document: _Document) -> Iterator[Finding]:
        nodes = self.taxonomy.nodes
        for j in document.columns:
            for child in document.under[j]:
                if child != j:
                    message = f"{nodes[j]} says nothing that {nodes[child]}, which lies below it, does not say"
                    yield Finding(kind="parent-with-child", node=nodes[j], other=nodes[child], message=message)

    def _excluded(self, held: _Held, document: _Document, pairs: dict[tuple[int, int], _Pair]) -> None:
        """Add the pairs a rule keeps apart; of several rules about one pair, the hardest and nearest stays.

        Two labels that lie both under the rule's node and under the same other are not a pair: the rule sets the
        other apart from all else under the node, or the node from all else under the other.
        """
        if held.others.isdisjoint(document.reach):
            return
        ours = document.of(held)
        for other in held.others & document.reach:
            theirs = document.under[other]
            for a in ours:
                for b in theirs:
                    if a == b or (a in theirs and b in ours):
                        continue
                    key = (a, b) if a < b else (b, a)
                    if key not in pairs or _rank(held) > _rank(pairs[key].held):
                        pairs[key] = _Pair(held, a, b)

    def _pair_finding(self, pair: _Pair) -> Finding:
        rule, node, other = pair.held.rule, self.taxonomy.nodes[pair.node], self.taxonomy.nodes[pair.other]
        message = f"{node} does not go with {other}: {cited(rule)}"
        return Finding(
            kind="excluded-pair", node=node, other=other, message=message, rule=rule, severity=rule.strength
        )

    def _of_rule(self, held: _Held, document: _Document) -> Iterator[Finding]:
        """Yield the findings of a rule of any type but `excludes`."""
        kind = held.rule.type
        if kind == "exclusive_children":
            yield from self._exclusive(held, document)
        elif kind == "at_most":
            yield from self._too_many(held, document)
        elif kind == "code_first":
            yield from self._first(held, document)
        elif not held.rule.optional and held.others.isdisjoint(document.reach) and (ours := document.of(held)):
            yield self._missing(held, ours[0])

    def _exclusive(self, held: _Held, document: _Document) -> Iterator[Finding]:
        ours = [j for j in document.under[held.node] if j != held.node]
        if len(ours) < 2:
            return
        children = frozenset(self._children(held.node))
        nodes, rule = self.taxonomy.nodes, held.rule
        for a, b in combinations(ours, 2):
            if not children.intersection(self._above(a), self._above(b)):
                message = f"{nodes[a]} and {nodes[b]} lie below different children of {rule.node}: {cited(rule)}"
                yield Finding(
                    kind="exclusive",
                    node=nodes[a],
                    other=nodes[b],
                    message=message,
                    rule=rule,
                    severity=rule.strength,
                )

    def _too_many(self, held: _Held, document: _Document) -> Iterator[Finding]:
        rule = held.rule
        ours = [self.taxonomy.nodes[j] for j in document.under[held.node] if j != held.node]
        if len(ours) > rule.k:
            message = f"{len(ours)} labels below {rule.node} ({_listed(ours)}), not at most {rule.k}: {cited(rule)}"
            yield Finding(kind="too-many", node=rule.node, message=message, rule=rule, severity=rule.strength)

    def _first(self, held: _Held, document: _Document) -> Iterator[Finding]:
        """Yield for each label that one of the others belongs before, and does not stand there."""
        place = {j: i for i, j in enumerate(document.columns)}
        others = {b for other in held.others & document.reach for b in document.under[other]}
        for a in document.of(held):
            before = [place[b] for b in others if b != a]
            if not before:
                if a not in others and not held.rule.optional:
                    yield self._missing(held, a)
            elif min(before) > place[a]:
                node, first = self.taxonomy.nodes[a], self.taxonomy.nodes[document.columns[min(before)]]
                message = f"{first} belongs before {node}: {cited(held.rule)}"
                yield Finding(
                    kind="order",
                    node=node,
                    other=first,
                    message=message,
                    rule=held.rule,
                    severity=held.rule.strength,
                )

    def _missing(self, held: _Held, j: int) -> Finding:
        rule, node = held.rule, self.taxonomy.nodes[j]
        where = "before" if rule.type == "code_first" else "beside"
        wanted = f"one of {_listed(rule.others)}" if len(rule.others) > 1 else rule.others[0]
        return Finding(
            kind="missing-companion",
            node=node,
            message=f"{node} wants {wanted} {where} it: {cited(rule)}",
            rule=rule,
            severity=rule.strength,
            suggestions=rule.others[:MAX_SUGGESTIONS],
        )

    # -- repairing: each step takes labels and scores, and returns labels and what it did ------------------------

    def _descend(self, labels: list[str], scores: Mapping[str, float]) -> _Step:
        """Let labels that cannot be assigned give way to assignable ones below them."""
        raised: dict[int, float] | None = None
        kept: list[str] = []
        done: list[Finding] = []
        present = {j for label in labels if (j := self.taxonomy.get(label)) is not None}
        for label in labels:
            j = self.taxonomy.get(label)
            if j is None or self.taxonomy.node(j).assignable:
                kept.append(label)
                continue
            (finding,) = (f for f in self._of_label(j) if f.kind in ("not-assignable", "missing-seventh"))
            below = next((k for k in sorted(present) if k != j and j in self._above(k)), None)
            if below is not None:
                other = self.taxonomy.nodes[below]
                text = f"dropped {label}, as {other} below it is there: {finding.message}"
                done.append(replace(finding, other=other, action="dropped", message=text))
                continue
            if raised is None:
                raised = self._raised(scores)
            target = self._lead_down(j, raised)
            if target is None:
                kept.append(label)
                continue
            other = self.taxonomy.nodes[target]
            text = f"replaced {label} by {other}, which clearly leads below it: {finding.message}"
            done.append(replace(finding, other=other, action="replaced", message=text))
            kept.append(other)
        return list(dict.fromkeys(kept)), done

    def _raised(self, scores: Mapping[str, float]) -> dict[int, float]:
        """Return for each node the best of its own score and those below it."""
        raised: dict[int, float] = {}
        for label, score in scores.items():
            if (j := self.taxonomy.get(label)) is not None and score > 0:
                for up in self._above(j):
                    raised[up] = max(raised.get(up, 0.0), float(score))
        return raised

    def _lead_down(self, j: int, scores: Mapping[int, float]) -> int | None:
        """Return the first assignable node on the way down along clearly leading children, or None."""
        while children := [child for child in self._children(j) if self._open(child)]:
            total = sum(scores.get(child, 0.0) for child in children)
            best = max(children, key=lambda child: scores.get(child, 0.0))
            if len(children) > 1 and (total <= 0 or scores.get(best, 0.0) < self.lead * total):
                return None
            if self._usable(best):
                return best
            j = best
        return None

    def _open(self, j: int) -> bool:
        """Tell whether a node is valid on the day asked for, and is or has something to assign."""
        return self._usable(j) or (not self.taxonomy.node(j).assignable and bool(self._children(j)))

    def _part(self, labels: list[str], scores: Mapping[str, float]) -> _Step:
        """Drop the weaker label of each pair that a hard rule keeps apart, the strongest labels having the say."""
        against: dict[str, dict[str, Finding]] = {}
        for found in self.check(labels):
            if found.kind in ("excluded-pair", "exclusive") and found.severity == "hard":
                against.setdefault(found.node, {}).setdefault(found.other, found)
                against.setdefault(found.other, {}).setdefault(found.node, found)
        if not against:
            return labels, []
        kept: set[str] = set()
        done: list[Finding] = []
        for label in sorted(labels, key=lambda label: -scores.get(label, 0.0)):  # stable: the earlier of equals first
            stronger = next((other for other in against.get(label, ()) if other in kept), None)
            if stronger is None:
                kept.add(label)
            else:
                found = against[label][stronger]
                text = f"dropped {label}, weaker than {stronger}: {found.message}"
                done.append(replace(found, node=label, other=stronger, action="dropped", message=text))
        return [label for label in labels if label in kept], done

    def _limit(self, labels: list[str], scores: Mapping[str, float]) -> _Step:
        """Drop the weakest labels where a hard rule allows fewer."""
        done: list[Finding] = []
        while found := next((f for f in self.check(labels) if f.kind == "too-many" and f.severity == "hard"), None):
            node = self.taxonomy.index(found.node)
            ours = [label for label in labels if self._is_below(label, node)]
            weakest = min(reversed(ours), key=lambda label: scores.get(label, 0.0))
            labels = [label for label in labels if label != weakest]
            text = f"dropped {weakest}, the weakest: {found.message}"
            done.append(replace(found, node=weakest, action="dropped", message=text))
        return labels, done

    def _is_below(self, label: str, node: int) -> bool:
        j = self.taxonomy.get(label)
        return j is not None and j != node and node in self._above(j)

    def _complete(self, labels: list[str], _scores: Mapping[str, float]) -> _Step:
        """Add what a hard rule requires, if there is one candidate and no hard rule is against it."""
        done: list[Finding] = []
        tried: set[str] = set()
        while True:
            wanted = (self._candidate(f) for f in self.check(labels))
            finding, added = next((pair for pair in wanted if pair[1] and pair[1] not in tried), (None, ""))
            if finding is None:
                return labels, done
            tried.add(added)
            place = labels.index(finding.node) if finding.rule and finding.rule.type == "code_first" else len(labels)
            longer = [*labels[:place], added, *labels[place:]]
            if self._hard(longer) <= self._hard(labels):
                labels = longer
                text = f"added {added}: {finding.message}"
                done.append(replace(finding, other=added, action="added", message=text))

    def _candidate(self, finding: Finding) -> tuple[Finding, str]:
        """Return a finding and the only label that would settle it, or ""."""
        rule = finding.rule
        if finding.kind != "missing-companion" or finding.severity != "hard" or not rule or len(rule.others) > 1:
            return finding, ""
        j = self.taxonomy.index(rule.others[0])
        below = j if self._usable(j) else self._lead_down(j, {})
        return finding, "" if below is None else self.taxonomy.nodes[below]

    def _hard(self, labels: Sequence[str]) -> set[tuple[str, str, str]]:
        """Return the hard objections but for missing companions."""
        found = (f for f in self.check(labels) if f.severity == "hard" and f.kind != "missing-companion")
        return {(f.kind, f.node, f.other) for f in found}

    def _reorder(self, labels: list[str], _scores: Mapping[str, float]) -> _Step:
        """Put labels before those they belong before, until that is so or begins to go round in circles."""
        done: list[Finding] = []
        seen = {tuple(labels)}
        while found := next((f for f in self.check(labels) if f.kind == "order"), None):
            moved = [label for label in labels if label != found.other]
            moved.insert(moved.index(found.node), found.other)
            if tuple(moved) in seen:
                break
            seen.add(tuple(moved))
            labels = moved
            text = f"moved {found.other} before {found.node}: {found.message}"
            done.append(replace(found, action="moved", message=text))
        return labels, done


def _in_scope(held: _Held, j: int) -> bool:
    return held.rule.scope == "all" or (j == held.node) == (held.rule.scope == "node")


def _rank(held: _Held) -> tuple[bool, int]:
    """Return what makes a rule about a pair the one to name: a hard one first, then the one furthest down."""
    return held.rule.strength == "hard", held.level


def cited(rule: Rule) -> str:
    """Return source, place and text of a rule.

    >>> cited(Rule("excludes", "E10", ("E11",), note="type 2 diabetes (E11.-)", source="excludes1 note"))
    'excludes1 note at E10: "type 2 diabetes (E11.-)"'
    """
    text = f'"{rule.note}"' if rule.note else _listed(rule.others) if rule.others else f"k {rule.k}"
    return f"{rule.source or f'rule {rule.type!r}'} at {rule.node}: {text}"


def _listed(nodes: Sequence[str]) -> str:
    """Return the first few of some ids, and how many there are when that is more."""
    more = f", … ({len(nodes):,} in all)" if len(nodes) > SHOWN else ""
    return ", ".join(nodes[:SHOWN]) + more
