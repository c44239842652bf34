"""`Checker`: what the rules of a taxonomy object to in the labels of one document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from hclf.rules.finding import COMPLETED_BY, Finding, cited, listed
from hclf.taxonomy import Rule, Taxonomy

MAX_SUGGESTIONS = 50


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


class Checker:
    """The rules of a taxonomy, indexed by node; the half of `RuleBook` that changes nothing."""

    def __init__(self, taxonomy: Taxonomy, as_of: dt.date | None) -> None:
        self.taxonomy, self.as_of = taxonomy, as_of
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
                message=f"{entry.id} {what}{f'; below it: {listed(below)}' if below else ''}",
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
            message = f"{len(ours)} labels below {rule.node} ({listed(ours)}), not at most {rule.k}: {cited(rule)}"
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
        wanted = f"one of {listed(rule.others)}" if len(rule.others) > 1 else rule.others[0]
        return Finding(
            kind="missing-companion",
            node=node,
            message=f"{node} wants {wanted} {where} it: {cited(rule)}",
            rule=rule,
            severity=rule.strength,
            suggestions=rule.others[:MAX_SUGGESTIONS],
        )


def _in_scope(held: _Held, j: int) -> bool:
    return held.rule.scope == "all" or (j == held.node) == (held.rule.scope == "node")


def _rank(held: _Held) -> tuple[bool, int]:
    """Return what makes a rule about a pair the one to name: a hard one first, then the one furthest down."""
    return held.rule.strength == "hard", held.level
