"""`RuleBook`: checks labels, and repairs them as far as that can be done without guessing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hclf.errors import UsageError
from hclf.rules.check import Checker
from hclf.rules.finding import Finding
from hclf.taxonomy import Taxonomy

LEAD = 2 / 3
_Step = tuple[list[str], list[Finding]]


class RuleBook(Checker):
    """The rules of a taxonomy, indexed by node.

    Args:
        taxonomy: its `rules`, and what it says of single nodes: assignable or not, first and last day.
        as_of: the day for which labels have to be valid; None asks no such question.
        lead: the share of its siblings' scores together (its own included) from which on a child clearly leads, so
            that `repair` descends to it; above .5.

    Raises:
        UsageError: `lead` is not above .5 and up to 1.

    >>> from hclf.taxonomy import Rule
    >>> rules = [Rule("excludes", "a", ("b",), note="never both")]
    >>> book = RuleBook(Taxonomy(["a", "b", "a1"], [("a", "a1")], rules=rules))
    >>> [found.message for found in book.check(["b", "a1"])]
    ['a1 does not go with b: rule \\'excludes\\' at a: "never both"']
    """

    def __init__(self, taxonomy: Taxonomy, *, as_of: dt.date | None = None, lead: float = LEAD) -> None:
        if not 0.5 < lead <= 1:
            raise UsageError(f"lead must be above 0.5 and at most 1, not {lead}")
        super().__init__(taxonomy, as_of)
        self.lead = lead

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
