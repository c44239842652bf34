"""The `rules:` list, checked against the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from hclf.errors import did_you_mean, suggest
from hclf.formats._yaml.events import LIST, MAP, PLAIN, Value
from hclf.formats._yaml.faults import Faults, shown
from hclf.formats._yaml.values import Values, fields_of, kind_of
from hclf.taxonomy import RULE_SCOPES, RULE_TYPES, Rule, RuleScope, RuleType

RULE_KEYS = ("type", "node", "others", "strength", "scope", "optional", "k", "note", "source")
STRENGTHS = ("hard", "soft")
ABOUT_OTHERS = (
    "excludes",
    "requires",
    "code_first",
    "code_also",
)  # the other types look at the node's descendants
MAX_K = 1_000_000


def rule_problem(rule: Rule) -> str:
    """Return what is wrong with a rule as a whole, or ""."""
    if rule.type in ABOUT_OTHERS and not rule.others:
        return f"a rule '{rule.type}' needs `others`, the nodes it is about"
    if rule.type not in RULE_TYPES or rule.strength not in STRENGTHS or not 1 <= rule.k <= MAX_K:
        return f"type '{rule.type}', strength '{rule.strength}', k {rule.k}: one of them is out of range"
    if rule.scope not in RULE_SCOPES:
        return f"scope '{rule.scope}': not one of {', '.join(RULE_SCOPES)}"
    if rule.type not in ABOUT_OTHERS and (rule.scope != "all" or rule.optional):
        return f"a rule '{rule.type}' has neither scope nor `optional`: it is about what lies below its node"
    if rule.type == "excludes" and rule.optional:
        return "a rule 'excludes' has no `optional`: it wants no companion"
    return ""


class Rules:
    """Reads rules; `known` are the ids of the nodes."""

    def __init__(self, faults: Faults, known: Mapping[str, int]) -> None:
        self.faults, self.known = faults, known
        self.values = Values(faults)

    def read(self, top: Value | None) -> list[Rule]:
        """Return the rules of the list under `rules:`, without those that cannot be used."""
        if top is None:
            return []
        if top.kind != LIST:
            self.faults.error(f"'rules' must be a list, not {kind_of(top)}", top)
            return []
        return [rule for item in top.value if (rule := self.rule(item)) is not None]

    def rule(self, item: Value) -> Rule | None:
        """Return one rule, or None when its type or its node is missing."""
        if item.kind != MAP:
            self.faults.error(f"a rule must be a mapping with 'type' and 'node', not {kind_of(item)}", item)
            return None
        fields = fields_of(item)
        for key in ("type", "node"):
            if key not in fields:
                self.faults.error(f"a rule without '{key}'", item)
        kind = self.choice(fields.get("type"), "type", RULE_TYPES)
        node = self.values.text(fields.get("node"), "node")
        self.values.check_keys(fields, item, RULE_KEYS, "a rule", node)
        others = []
        if node:
            self.check_known(kind, node, fields["node"], node)
        for text, at in self.values.texts(fields.get("others"), "others", node):
            self.check_known(kind, text, at, node)
            others.append(text)
        strength = self.choice(fields.get("strength"), "strength", STRENGTHS)
        scope = self.choice(fields.get("scope"), "scope", RULE_SCOPES) or "all"
        optional = self.values.boolean(fields.get("optional"), "optional", node, default=False)
        k = self.k(fields.get("k"), node)
        note = self.values.free_text(fields.get("note"), "note", node)
        source = self.values.free_text(fields.get("source"), "source", node)
        if not kind or not node:
            return None
        rule = Rule(
            cast("RuleType", kind),
            node,
            tuple(others),
            "hard" if strength == "hard" else "soft",
            k,
            note,
            source,
            cast("RuleScope", scope),
            optional,
        )
        if problem := rule_problem(rule):
            self.faults.error(problem, item, node)
        return rule

    def check_known(self, kind: str, text: str, at: Value, node: str) -> None:
        """Add a fault when a rule names a node that there is not."""
        if text not in self.known:
            what = f"node in rule '{kind}'" if kind else "node in a rule"
            self.faults.error(self.faults.unknown(what, text, self.known), at, node)

    def choice(self, value: Value | None, key: str, allowed: Sequence[str]) -> str:
        """Return one of the allowed words, or "" when it is missing or another."""
        text = self.values.text(value, key)
        if value is None or not text or text in allowed:
            return text
        hint = did_you_mean(suggest(text, allowed)) if len(text) < 40 else ""
        self.faults.error(f"unknown rule {key} '{shown(text)}'{hint or '; choose ' + ', '.join(allowed)}", value)
        return ""

    def k(self, value: Value | None, node: str) -> int:
        """Return `k`, a whole number from 1."""
        if value is None:
            return 1
        text = value.value if value.kind == PLAIN else ""
        if text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= MAX_K:
            return int(text)
        given = f"'{shown(text)}'" if text else kind_of(value)
        self.faults.error(f"'k' must be a whole number from 1 to {MAX_K:,}, not {given}", value, node)
        return 1
