"""What a rule objects to, in the data that callers get and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hclf.taxonomy import Rule
from hclf.wording import first_few

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
KINDS: tuple[Kind, ...] = get_args(Kind)
COMPLETED_BY = "completedBy"  # in the `meta` of a node: what its children add to its id, such as "seventh character"


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


def cited(rule: Rule) -> str:
    """Return source, place and text of a rule.

    >>> cited(Rule("excludes", "E10", ("E11",), note="type 2 diabetes (E11.-)", source="excludes1 note"))
    'excludes1 note at E10: "type 2 diabetes (E11.-)"'
    """
    text = f'"{rule.note}"' if rule.note else listed(rule.others) if rule.others else f"k {rule.k}"
    return f"{rule.source or f'rule {rule.type!r}'} at {rule.node}: {text}"


def listed(nodes: Sequence[str]) -> str:
    """Return the first few of some ids, and how many there are when that is more."""
    return first_few(nodes, rest=f"… ({len(nodes):,} in all)")
