"""Rules: what `check` finds against a slow reading of the definitions, and what `repair` does and does not do."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st

from hclf import formats
from hclf.errors import UnknownNodeError, UsageError
from hclf.rules import COMPLETED_BY, KINDS, Finding, RuleBook
from hclf.taxonomy import Node, Rule, Taxonomy

EDGES = [
    ("devices", "phones"),
    ("phones", "smartphones"),
    ("phones", "pagers"),
    ("smartphones", "smartphones/new"),
    ("smartphones", "smartphones/used"),
    ("devices", "watches"),
    ("extras", "cases"),
    ("extras", "chargers"),
    ("chargers", "chargers/usb"),
]


def shop(*rules: Rule, **nodes: Node) -> Taxonomy:
    """Return a shop's taxonomy; `nodes` say more of some of its nodes."""
    ids = dict.fromkeys(node for edge in EDGES for node in edge)
    return Taxonomy([nodes.get(node, Node(node)) for node in ids], EDGES, rules=rules)


def check(taxonomy: Taxonomy, *labels: str, **options: object) -> list[tuple[str, str, str]]:
    return [(f.kind, f.node, f.other) for f in RuleBook(taxonomy, **options).check(labels)]


def done(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.action, f.node, f.other) for f in found if f.action]


# -- single labels ---------------------------------------------------------------------------------------------


def test_labels_that_nothing_is_said_of_have_no_findings() -> None:
    book = RuleBook(shop())
    assert book.check([]) == []
    assert book.check(["pagers", "cases"]) == []
    assert book.repair([]) == ((), [])
    assert RuleBook(Taxonomy([])).check([]) == []


def test_unknown_labels_are_found_and_kept() -> None:
    book = RuleBook(shop(Rule("excludes", "pagers", ("watches",), "hard")))
    (found,) = book.check([" Pagers ", "watches"])
    assert (found.kind, found.node, found.severity, found.suggestions) == ("unknown", " Pagers ", "hard", ("pagers",))
    assert found.message == "unknown label ' Pagers '; did you mean 'pagers'?"
    assert book.repair(["nothing", "watches"])[0] == ("nothing", "watches")


def test_days_are_only_asked_for_when_there_is_one() -> None:
    old = Node("pagers", valid_to=dt.date(1999, 12, 31))
    new = Node("watches", valid_from=dt.date(2015, 4, 24))
    t = shop(pagers=old, watches=new)
    assert check(t, "pagers", "watches") == []
    assert check(t, "pagers", "watches", as_of=dt.date(1999, 12, 31)) == [("not-yet-valid", "watches", "")]
    assert check(t, "pagers", "watches", as_of=dt.date(2015, 4, 24)) == [("retired", "pagers", "")]
    (found,) = RuleBook(t, as_of=dt.date(2000, 1, 1)).check(["pagers"])
    assert found.message == "pagers is no longer valid on 2000-01-01: its last day was 1999-12-31"
    assert found.severity == "hard"


def test_headings_suggest_the_nearest_nodes_that_can_be_labels() -> None:
    t = shop(
        devices=Node("devices", assignable=False),
        phones=Node("phones", assignable=False),
        chargers=Node("chargers", assignable=False, meta={COMPLETED_BY: "plug"}),
        watches=Node("watches", valid_to=dt.date(2020, 1, 1)),
    )
    book = RuleBook(t, as_of=dt.date(2026, 1, 1))
    heading, plug = book.check(["devices", "chargers"])
    assert (heading.kind, heading.suggestions) == (
        "not-assignable",
        ("pagers", "smartphones"),
    )  # watches have retired
    assert (plug.kind, plug.message) == ("missing-seventh", "chargers needs a plug; below it: chargers/usb")


def test_a_label_above_another_is_pointed_out_and_kept() -> None:
    book = RuleBook(shop())
    assert check(shop(), "smartphones", "pagers", "devices") == [
        ("parent-with-child", "devices", "smartphones"),
        ("parent-with-child", "devices", "pagers"),
    ]
    assert book.repair(["devices", "pagers"])[0] == ("devices", "pagers")


# -- pairs -----------------------------------------------------------------------------------------------------


def test_a_rule_stands_for_all_below_on_both_sides() -> None:
    t = shop(Rule("excludes", "phones", ("extras",), note="sold apart", source="handbook, p. 3"))
    (found,) = RuleBook(t).check(["chargers/usb", "smartphones/new"])
    assert (found.kind, found.node, found.other) == ("excluded-pair", "smartphones/new", "chargers/usb")
    assert found.message == 'smartphones/new does not go with chargers/usb: handbook, p. 3 at phones: "sold apart"'
    assert (found.severity, found.rule) == ("soft", t.rules[0])
    assert check(t, "watches", "chargers/usb") == []


@pytest.mark.parametrize(
    ("scope", "held"), [("all", {"phones", "pagers"}), ("node", {"phones"}), ("below", {"pagers"})]
)
def test_scope_says_what_a_rule_holds_for(scope: str, held: set[str]) -> None:
    for kind in ("excludes", "requires", "code_also", "code_first"):
        book = RuleBook(shop(Rule(kind, "phones", ("cases",), scope=scope)))
        beside = ["cases"] if kind == "excludes" else []
        assert {node for node in ("phones", "pagers") if book.check([node, *beside])} == held
        assert {node for node in ("phones", "pagers") if book.about(node)} == held


def test_a_rule_about_a_part_sets_it_apart_from_the_rest() -> None:
    """Excluding a node that lies below the rule's own is about the others below it, not about that node itself."""
    t = shop(Rule("excludes", "phones", ("smartphones",)))
    assert check(t, "smartphones/new") == []
    assert check(t, "smartphones/new", "smartphones/used") == []
    assert check(t, "smartphones/new", "pagers") == [("excluded-pair", "pagers", "smartphones/new")]
    outer = shop(Rule("excludes", "smartphones", ("phones",)))
    assert check(outer, "smartphones/new", "smartphones/used") == []
    assert check(outer, "pagers", "smartphones/new") == [("excluded-pair", "smartphones/new", "pagers")]


def test_a_pair_is_found_once_by_the_hardest_and_nearest_rule() -> None:
    near, far = Rule("excludes", "smartphones", ("cases",)), Rule("excludes", "devices", ("extras",))
    (found,) = RuleBook(shop(far, near)).check(["cases", "smartphones"])
    assert found.rule == near
    hard = Rule("excludes", "extras", ("devices",), "hard")
    (found,) = RuleBook(shop(far, near, hard)).check(["cases", "smartphones"])
    assert (found.rule, found.node) == (hard, "cases")


def test_exclusive_children() -> None:
    t = shop(Rule("exclusive_children", "phones"))
    assert check(t, "phones", "pagers") == [("parent-with-child", "phones", "pagers")]
    assert check(t, "smartphones/new", "smartphones/used") == []
    assert check(t, "smartphones/new", "pagers", "smartphones/used") == [
        ("exclusive", "smartphones/new", "pagers"),
        ("exclusive", "pagers", "smartphones/used"),
    ]


def test_a_label_below_two_exclusive_children_goes_with_either() -> None:
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    t = Taxonomy("abcd", edges, rules=[Rule("exclusive_children", "a", strength="hard")])
    assert [kind for kind, *_ in check(t, "d")] == []
    assert "exclusive" not in {kind for kind, *_ in check(t, "b", "d")}
    assert ("exclusive", "b", "c") in check(t, "b", "c", "d")


def test_hard_pairs_lose_their_weaker_label_and_soft_ones_nothing() -> None:
    hard = RuleBook(shop(Rule("excludes", "pagers", ("watches",), "hard", note="one of them")))
    kept, found = hard.repair(["pagers", "cases", "watches"], {"pagers": 0.2, "watches": 0.9})
    assert kept == ("cases", "watches")
    assert done(found) == [("dropped", "pagers", "watches")]
    assert found[0].message.startswith("dropped pagers, weaker than watches: pagers does not go with watches: rule")
    assert hard.repair(["pagers", "watches"])[0] == ("pagers",)  # without scores the earlier one
    assert hard.repair(["watches", "pagers"])[0] == ("watches",)
    soft = RuleBook(shop(Rule("excludes", "pagers", ("watches",))))
    kept, found = soft.repair(["pagers", "watches"], {"watches": 0.9})
    assert (kept, done(found), [f.kind for f in found]) == (("pagers", "watches"), [], ["excluded-pair"])


def test_a_dropped_label_no_longer_drops_others() -> None:
    """The strongest have the say: a falls to b, so c, which only a is against, stays."""
    rules = [Rule("excludes", "a", ("b", "c"), "hard")]
    kept, _ = RuleBook(Taxonomy("abc", rules=rules)).repair("cab", {"a": 0.5, "b": 0.9, "c": 0.1})
    assert kept == ("c", "b")


def test_at_most_k() -> None:
    t = shop(Rule("at_most", "devices", k=2, strength="hard", note="two at most"))
    labels, scores = ["pagers", "watches", "smartphones/new", "cases"], {"pagers": 0.3, "watches": 0.2, "cases": 0.1}
    (found,) = RuleBook(t).check(labels)
    assert (found.kind, found.node) == ("too-many", "devices")
    assert "below devices (pagers, watches, smartphones/new), not at most 2: rule 'at_most' at devices: \"two" in (
        found.message
    )
    kept, changes = RuleBook(t).repair(labels, scores)
    assert kept == ("pagers", "watches", "cases")
    assert done(changes) == [("dropped", "smartphones/new", "")]
    assert RuleBook(shop(Rule("at_most", "devices", k=2))).repair(labels)[0] == tuple(labels)


# -- companions and order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["requires", "code_also", "code_first"])
def test_a_missing_companion(kind: str) -> None:
    t = shop(Rule(kind, "phones", ("cases", "chargers"), note="never alone"))
    (found,) = RuleBook(t).check(["pagers"])
    where = "before" if kind == "code_first" else "beside"
    assert (found.kind, found.node, found.suggestions) == ("missing-companion", "pagers", ("cases", "chargers"))
    assert (
        found.message == f"pagers wants one of cases, chargers {where} it: rule '{kind}' at phones: \"never alone\""
    )
    assert check(t, "chargers/usb", "pagers") == []
    assert check(t, "cases") == []
    optional = shop(Rule(kind, "phones", ("cases",), optional=True))
    assert check(optional, "pagers") == []


def test_what_comes_first_comes_first() -> None:
    t = shop(Rule("code_first", "cases", ("phones",), note="the phone first"))
    book = RuleBook(t)
    assert book.check(["pagers", "cases", "smartphones/new"]) == []  # one of them is enough
    (found,) = book.check(["watches", "cases", "pagers"])
    assert (found.kind, found.node, found.other) == ("order", "cases", "pagers")
    kept, changes = book.repair(["watches", "cases", "pagers"])
    assert kept == ("watches", "pagers", "cases")  # a soft rule, but nothing is lost
    assert done(changes) == [("moved", "cases", "pagers")]
    assert changes[0].message.startswith("moved pagers before cases: pagers belongs before cases: rule 'code_first'")
    assert check(shop(Rule("code_first", "cases", ("phones",), optional=True)), "cases", "pagers") == [
        ("order", "cases", "pagers")
    ]


def test_rules_that_go_round_in_circles_end() -> None:
    rules = [Rule("code_first", a, (b,)) for a, b in ("ab", "bc", "ca")]
    kept, found = RuleBook(Taxonomy("abc", rules=rules)).repair("abc")
    assert sorted(kept) == ["a", "b", "c"]
    assert [f.kind for f in found if not f.action] == ["order"]


def test_the_only_candidate_is_added() -> None:
    heading = Node("chargers", assignable=False)
    hard = Rule("requires", "watches", ("chargers",), "hard", note="no watch without")
    book = RuleBook(shop(hard, chargers=heading))
    kept, found = book.repair(["watches"])
    assert kept == ("watches", "chargers/usb")
    assert done(found) == [("added", "watches", "chargers/usb")]
    first = RuleBook(shop(Rule("code_first", "watches", ("cases",), "hard")))
    assert first.repair(["pagers", "watches"])[0] == ("pagers", "cases", "watches")


@pytest.mark.parametrize(
    "rules",
    [
        [Rule("requires", "watches", ("cases", "chargers"), "hard")],  # two candidates
        [Rule("requires", "watches", ("cases",))],  # soft
        [Rule("requires", "watches", ("cases",), "hard", optional=True)],
        [Rule("requires", "watches", ("cases",), "hard"), Rule("excludes", "cases", ("pagers",), "hard")],
    ],
)
def test_nothing_is_added_where_it_would_be_a_guess_or_against_a_rule(rules: list[Rule]) -> None:
    assert RuleBook(shop(*rules)).repair(["pagers", "watches"])[0] == ("pagers", "watches")


# -- from headings to labels -----------------------------------------------------------------------------------


def headings(*ids: str) -> dict[str, Node]:
    return {node: Node(node, assignable=False) for node in ids}


def test_a_heading_gives_way_to_the_child_that_clearly_leads() -> None:
    t = shop(**headings("devices", "phones", "smartphones"))
    book = RuleBook(t)
    scores = {"smartphones/new": 0.6, "smartphones/used": 0.2, "watches": 0.1}
    kept, found = book.repair(["cases", "devices"], scores)
    assert kept == ("cases", "smartphones/new")  # phones lead over watches, smartphones over nothing, new over used
    assert done(found) == [("replaced", "devices", "smartphones/new")]
    assert book.repair(["smartphones"], {"smartphones/new": 0.6, "smartphones/used": 0.31})[0] == ("smartphones",)
    assert book.repair(["smartphones"])[0] == ("smartphones",)  # nothing to tell by
    strict = RuleBook(t, lead=0.9)
    assert strict.repair(["smartphones"], scores)[0] == ("smartphones",)
    with pytest.raises(UsageError, match="lead must be above"):
        RuleBook(t, lead=0.5)


def test_an_only_child_needs_no_scores_and_a_retired_one_is_no_candidate() -> None:
    t = shop(
        **headings("chargers", "phones"),
        pagers=Node("pagers", valid_to=dt.date(1999, 12, 31)),
    )
    assert RuleBook(t).repair(["chargers"])[0] == ("chargers/usb",)
    assert RuleBook(t).repair(["phones"])[0] == ("phones",)
    assert RuleBook(t, as_of=dt.date(2026, 1, 1)).repair(["phones"])[0] == ("smartphones",)


def test_a_heading_whose_node_is_there_already_is_dropped() -> None:
    book = RuleBook(shop(**headings("phones", "chargers")))
    kept, found = book.repair(["phones", "pagers", "chargers", "chargers/usb"])
    assert kept == ("pagers", "chargers/usb")
    assert done(found) == [("dropped", "phones", "pagers"), ("dropped", "chargers", "chargers/usb")]


# -- the rest --------------------------------------------------------------------------------------------------


def test_rules_about_a_node_nearest_first() -> None:
    near, far, other = (Rule("at_most", node) for node in ("phones", "devices", "extras"))
    book = RuleBook(shop(other, far, near))
    assert book.about("pagers") == [near, far]
    with pytest.raises(UnknownNodeError, match="unknown node 'pager'"):
        book.about("pager")


def test_findings_as_json() -> None:
    book = RuleBook(shop(Rule("excludes", "pagers", ("watches",), "hard", note="no", source="p. 1")))
    (found,) = book.check(["pagers", "watches"])
    said = json.loads(json.dumps(found.to_dict()))
    assert said.pop("message").endswith('p. 1 at pagers: "no"')
    assert said == {
        "kind": "excluded-pair",
        "severity": "hard",
        "node": "pagers",
        "other": "watches",
        "rule": {"type": "excludes", "node": "pagers", "source": "p. 1", "note": "no"},
    }


def test_long_lists_are_cut_in_messages() -> None:
    others = tuple(f"n{i}" for i in range(9))
    (found,) = RuleBook(Taxonomy(["a", *others], rules=[Rule("requires", "a", others)])).check(["a"])
    assert "one of n0, n1, n2, n3, n4, … (9 in all) beside it" in found.message
    assert found.suggestions == others


@pytest.mark.parametrize("name", ["shop.yaml", "shop.json"])
def test_files_keep_all_of_a_rule(tmp_path: Path, name: str) -> None:
    whole = Rule("requires", "phones", ("cases",), "hard", 2, "why", "where", "below", True)
    t = shop(Rule("exclusive_children", "phones"), whole, Rule("at_most", "devices", k=3))
    formats.write(t, tmp_path / name)
    back = formats.read(tmp_path / name)
    assert back.rules == t.rules
    assert back.fingerprint == t.fingerprint
    for other in (replace(whole, source=""), replace(whole, scope="all"), replace(whole, optional=False)):
        assert shop(other).fingerprint != shop(whole).fingerprint


# -- against a slow reading of the definitions -----------------------------------------------------------------


@st.composite
def ruled(draw: st.DrawFn) -> tuple[Dag, Taxonomy, list[str]]:
    """A random taxonomy with rules of all kinds, and labels of one document."""
    dag = draw(dags(max_nodes=9))
    node = st.sampled_from(dag.ids)
    rules = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(
            st.sampled_from(["excludes", "requires", "code_first", "code_also", "exclusive_children", "at_most"])
        )
        about_others = kind not in ("exclusive_children", "at_most")
        rules.append(
            Rule(
                kind,
                draw(node),
                tuple(draw(st.lists(node, min_size=1, max_size=3, unique=True))) if about_others else (),
                draw(st.sampled_from(["hard", "soft"])),
                draw(st.integers(1, 3)),
                scope=draw(st.sampled_from(["all", "node", "below"])) if about_others else "all",
                optional=kind not in ("excludes", "exclusive_children", "at_most") and draw(st.booleans()),
            )
        )
    nodes = [Node(n, assignable=draw(st.integers(0, 3)) > 0) for n in dag.ids]
    labels = draw(st.lists(node, max_size=6))
    return dag, Taxonomy(nodes, dag.edges, rules=rules), labels


def expected(dag: Dag, t: Taxonomy, labels: list[str]) -> set[tuple[object, ...]]:
    """Return (kind, node, other) of every finding, pairs unordered, by the words of docs/rules.md."""
    given_ = list(dict.fromkeys(labels))
    self_and_below = {n: {n, *dag.below(n)} for n in dag.ids}
    children = {n: [c for p, c in dag.edges if p == n] for n in dag.ids}
    found: set[tuple[object, ...]] = set()
    for a in given_:
        if not t[a].assignable:
            found.add(("not-assignable", a, ""))
        found |= {("parent-with-child", a, b) for b in given_ if b in dag.below(a)}
    for rule in t.rules:
        under = self_and_below[rule.node]
        held = {"all": under, "node": {rule.node}, "below": under - {rule.node}}[rule.scope]
        ours = [a for a in given_ if a in held]
        others = set().union(*(self_and_below[o] for o in rule.others))
        if rule.type == "excludes":
            for o in rule.others:
                for a in ours:
                    for b in given_:
                        both_in_both = a in self_and_below[o] and b in held
                        if a != b and b in self_and_below[o] and not both_in_both:
                            found.add(("excluded-pair", *sorted((a, b))))
        elif rule.type in ("requires", "code_also"):
            if ours and not rule.optional and not others.intersection(given_):
                found.add(("missing-companion", ours[0], ""))
        elif rule.type == "code_first":
            for a in ours:
                rest = [b for b in given_ if b in others and b != a]
                if not rest and a not in others and not rule.optional:
                    found.add(("missing-companion", a, ""))
                if rest and given_.index(rest[0]) > given_.index(a):
                    found.add(("order", a, rest[0]))
        else:
            inner = [a for a in given_ if a in dag.below(rule.node)]
            if rule.type == "at_most" and len(inner) > rule.k:
                found.add(("too-many", rule.node, ""))
            if rule.type == "exclusive_children":
                sides = {a: {c for c in children[rule.node] if a in self_and_below[c]} for a in inner}
                found |= {("exclusive", *sorted(p)) for p in combinations(inner, 2) if not sides[p[0]] & sides[p[1]]}
    return found


@settings(max_examples=300, deadline=None)
@given(ruled())
def test_check_finds_what_the_definitions_say(case: tuple[Dag, Taxonomy, list[str]]) -> None:
    dag, t, labels = case
    found = RuleBook(t).check(labels)
    pairs = ("excluded-pair", "exclusive")
    said = {(f.kind, *(sorted((f.node, f.other)) if f.kind in pairs else (f.node, f.other))) for f in found}
    assert said == expected(dag, t, labels)
    assert {f.kind for f in found} <= set(KINDS)
    excluded = [frozenset((f.node, f.other)) for f in found if f.kind == "excluded-pair"]
    assert len(excluded) == len(set(excluded))
    assert all(f.severity == (f.rule.strength if f.rule else f.severity) for f in found)


@settings(max_examples=300, deadline=None)
@given(ruled(), st.lists(st.sampled_from([0.0, 0.1, 0.4, 0.9]), min_size=9, max_size=9))
def test_repaired_labels_obey_the_hard_rules(case: tuple[Dag, Taxonomy, list[str]], drawn: list[float]) -> None:
    dag, t, labels = case
    scores = dict(zip(dag.ids, drawn, strict=False))
    book = RuleBook(t)
    kept, found = book.repair(labels, scores)
    left = [f for f in found if not f.action]
    assert left == book.check(kept)
    assert not [f for f in left if f.severity == "hard" and f.kind in ("excluded-pair", "exclusive", "too-many")]
    changed = {f.node for f in found if f.action == "dropped"} | {f.node for f in found if f.action == "replaced"}
    assert set(labels) - set(kept) <= changed
    added = {f.other for f in found if f.action in ("added", "replaced")}
    assert set(kept) - set(labels) <= added
    assert all(f.severity == "hard" or f.action == "moved" for f in found if f.action)
    again, more = book.repair(kept, scores)
    assert set(again) == set(kept)
    assert {f.action for f in more} <= {"", "moved"}


@settings(max_examples=100, deadline=None)
@given(ruled(), st.permutations([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), st.randoms())
def test_what_stays_does_not_depend_on_the_order(
    case: tuple[Dag, Taxonomy, list[str]], drawn: list[float], chance: object
) -> None:
    dag, t, labels = case
    scores = dict(zip(dag.ids, drawn, strict=False))
    shuffled = list(labels)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    rules = [rule for rule in t.rules if rule.type in ("excludes", "exclusive_children", "at_most")]
    book = RuleBook(Taxonomy(dag.ids, dag.edges, rules=rules))
    assert set(book.repair(labels, scores)[0]) == set(book.repair(shuffled, scores)[0])


def test_many_rules_and_labels_are_quick() -> None:
    """Twelve labels under a hundred rules each: well under a millisecond, here with a wide margin."""
    nodes = [f"n{i}" for i in range(3_000)]
    edges = [(f"n{(i - 1) // 10}", f"n{i}") for i in range(1, 3_000)]
    rules = [Rule("excludes", f"n{i % 300}", (f"n{2_000 + i % 900}",)) for i in range(20_000)]
    book = RuleBook(Taxonomy(nodes, edges, rules=rules))
    labels = [f"n{i}" for i in range(1_000, 2_200, 100)]
    book.check(labels)
    start = time.process_time()
    for _ in range(20):
        book.check(labels)
    assert (time.process_time() - start) / 20 < 0.01
