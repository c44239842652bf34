from __future__ import annotations

import datetime as dt
import gzip
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutations, reads_or_says_why
from typer.testing import CliRunner

from hclf import formats
from hclf.cli import app
from hclf.errors import TaxonomyError, UsageError
from hclf.formats import _xml
from hclf.formats.claml import book
from hclf.rules import RuleBook
from hclf.taxonomy import Taxonomy

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE ClaML SYSTEM "ClaML.dtd">
<ClaML version="2.0.0">
  <Meta name="lang" value="en"/>
  <Identifier authority="us" uid="made-up"/>
  <Title name="ROBOTS" version="2030" date="2029-10-01">Ailments of robots</Title>
  <ClassKinds><ClassKind name="category"/><ClassKind name="block"/><ClassKind name="chapter"/></ClassKinds>
  <UsageKinds><UsageKind name="aster" mark="*"/><UsageKind name="dagger" mark="+"/></UsageKinds>
  <RubricKinds><RubricKind name="preferred" inherited="false"/></RubricKinds>
"""
MODIFIERS = """  <Modifier code="M_4"><SubClass code=".0"/><SubClass code=".7"/></Modifier>
  <Modifier code="M_5"><SubClass code="0"/><SubClass code="1"/></Modifier>
  <ModifierClass modifier="M_4" code=".0"><SuperClass code="M_4"/>
    <Rubric kind="preferred"><Label xml:lang="en">with smoke</Label><Label xml:lang="de">mit Rauch</Label></Rubric>
    <Rubric kind="inclusion"><Label xml:lang="en">burning smell</Label></Rubric>
    <Rubric kind="exclusion"><Label xml:lang="en">steam</Label></Rubric></ModifierClass>
  <ModifierClass modifier="M_4" code=".7" usage="dagger"><SuperClass code="M_4"/>
    <Rubric kind="preferred"><Label xml:lang="en">with several signs</Label></Rubric></ModifierClass>
  <ModifierClass modifier="M_5" code="0">
    <Meta name="excludeOnPrecedingModifier" value="M_4 .7"/><Meta name="Para" value="P"/><SuperClass code="M_5"/>
    <Rubric kind="preferred"><Label xml:lang="en">indoors</Label></Rubric></ModifierClass>
  <ModifierClass modifier="M_5" code="1"><SuperClass code="M_5"/>
    <Rubric kind="preferred"><Label xml:lang="en">outdoors</Label></Rubric></ModifierClass>
"""
CLASSES = """  <Class code="I" kind="chapter"><SubClass code="A00-A09"/>
    <Rubric kind="preferred"><Label xml:lang="en">Motors</Label></Rubric>
    <Rubric kind="inclusion"><Label xml:lang="en">all that turns</Label></Rubric>
    <Rubric kind="introduction"><Label xml:lang="en"><Para>One.</Para><Para>Two.</Para></Label></Rubric></Class>
  <Class code="A00-A09" kind="block"><SuperClass code="I"/><SubClass code="A00"/><SubClass code="A01"/>
    <Rubric kind="preferred"><Label xml:lang="en">Large motors</Label></Rubric></Class>
  <Class code="A00" kind="category"><SuperClass code="A00-A09"/>
    <SubClass code="A00.1"/>
    <Rubric kind="preferred">
      <Label xml:lang="en">Overheated motor
        <Reference class="in brackets" code="B01" usage="aster">B01</Reference></Label>
      <Label xml:lang="de">Überhitzter Motor</Label></Rubric>
    <Rubric kind="definition"><Label xml:lang="en">A motor of  more than 90
      degrees.</Label><Label xml:lang="de">Ein Motor über 90 Grad.</Label></Rubric>
    <Rubric kind="inclusion"><Label xml:lang="en"><Fragment type="list">Motor:</Fragment><Fragment
      type="list">too hot</Fragment></Label></Rubric>
    <Rubric kind="inclusion"><Label xml:lang="en">B<Term class="subscript">12</Term> fever (<Reference
      code="B01">B01</Reference>)</Label></Rubric>
    <Rubric kind="inclusion"><Label xml:lang="de">Motorfieber</Label></Rubric>
    <Rubric kind="exclusion"><Label xml:lang="en">warm motor <Reference class="in brackets" code="A01"
      usage="dagger">A01</Reference></Label><Label xml:lang="de">warmer Motor (A01)</Label></Rubric>
    <Rubric kind="coding-hint"><Label xml:lang="en">Use another code for the <Reference
      code="Y01">Y01</Reference> cause.</Label></Rubric>
    <Rubric kind="note"><Label xml:lang="en">
      <List><ListItem>first</ListItem><ListItem>second</ListItem></List></Label></Rubric></Class>
  <Class code="A00.1" kind="category"><SuperClass code="A00"/>
    <Rubric kind="preferred"><Label xml:lang="en">Slowly</Label></Rubric>
    <Rubric kind="preferredLong"><Label xml:lang="en">Slowly overheated motor</Label></Rubric></Class>
  <Class code="A01" kind="category" usage="aster"><Meta name="validFrom" value="2029-01-01"/>
    <Meta name="endDate" value="20301231"/><Meta name="Exotic" value="J"/><Meta name="Exotic" value="K"/>
    <Meta name="validTo" value="never"/><SuperClass code="A00-A09"/>
    <Rubric kind="preferred"><Label xml:lang="en">Warm motor</Label></Rubric></Class>
"""
SMALL = HEAD + CLASSES + "</ClaML>"


def put(folder: Path, text: str, name: str = "book.xml") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def read(folder: Path, *parts: str, **options: Any) -> Taxonomy:
    """Read head, parts and end of a file as ClaML."""
    return formats.read(put(folder, "".join([HEAD, *parts, "</ClaML>"])), **options)


def modified(code: str, *inside: str, above: str = "") -> str:
    parent = f'<SuperClass code="{above}"/>' if above else ""
    name = f'<Rubric kind="preferred"><Label xml:lang="en">{code} name</Label></Rubric>'
    return f'<Class code="{code}" kind="category">{parent}{"".join(inside)}{name}</Class>'


def by(code: str, *valid: str, **attributes: str) -> str:
    said = "".join(f' {key}="{value}"' for key, value in attributes.items())
    inside = "".join(f'<ValidModifierClass code="{one}"/>' for one in valid)
    return f'<ModifiedBy code="{code}"{said}>{inside}</ModifiedBy>'


def messages(path: Path, **options: Any) -> list[str]:
    _, faults = formats.check(path, **options)
    return [str(fault).replace(f"{path}:", "").strip() for fault in faults]


# -- classes and rubrics ---------------------------------------------------------------------------------------


def test_classes_become_nodes(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL))
    assert t.nodes == ("I", "A00-A09", "A00", "A01", "A00.1")
    assert set(t.edges()) == {("I", "A00-A09"), ("A00-A09", "A00"), ("A00-A09", "A01"), ("A00", "A00.1")}
    assert [n for n in t if t[n].assignable] == ["A01", "A00.1"]
    assert (t.id, t.version, t.title) == ("ROBOTS", "2030", "Ailments of robots")
    assert t.source == "book.xml of 2029-10-01"
    assert t.level_names == ("chapter", "block")


def test_rubrics_find_their_place(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL))
    a = t["A00"]
    assert a.names == {"en": "Overheated motor", "de": "Überhitzter Motor"}
    assert a.synonyms == {"en": ("Motor: too hot", "B12 fever"), "de": ("Motorfieber",)}
    assert a.description == "A motor of more than 90 degrees."
    assert a.meta == {
        "kind": "category",
        "definition:de": ["Ein Motor über 90 Grad."],
        "excludes": ["warm motor (A01+)"],
        "excludes:de": ["warmer Motor (A01)"],
        "coding-hint": ["Use another code for the Y01 cause."],
        "note": ["first second"],
    }
    assert t["A00.1"].names == {"en": "Slowly overheated motor"}
    assert t["A00.1"].meta == {"kind": "category", "preferred": "Slowly"}
    assert (t["I"].synonyms, t["I"].meta["includes"], t["I"].meta["introduction"]) == (
        {},
        ["all that turns"],
        ["One. Two."],
    )


def test_metas_usage_and_days_of_validity(tmp_path: Path) -> None:
    a = formats.read(put(tmp_path, SMALL))["A01"]
    assert (a.valid_from, a.valid_to) == (dt.date(2029, 1, 1), dt.date(2030, 12, 31))
    assert a.meta == {"kind": "category", "usage": "aster", "Exotic": "J | K", "validTo": "never"}


def test_phrases_can_be_left_out(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL), phrases=False)
    assert all(not t[node].synonyms for node in t)
    assert t["A00"].meta["excludes"] == ["warm motor (A01+)"]


def test_classes_that_are_only_named_as_subclasses(tmp_path: Path) -> None:
    one, two = modified("X", '<SubClass code="Y"/>', '<SubClass code="Z"/>'), modified("Y")
    assert list(read(tmp_path, one, two).edges()) == [("X", "Y")]
    assert messages(tmp_path / "book.xml") == [
        "10: warning: left out: 1 code Z, named as subclass but not in the file"
    ]


def test_a_class_may_be_the_subclass_of_several(tmp_path: Path) -> None:
    several = [modified(code, '<SubClass code="Z"/>') for code in "XY"]
    assert list(read(tmp_path, *several, modified("Z")).edges()) == [("X", "Z"), ("Y", "Z")]
    stated = modified("Z", above="Y")
    assert list(read(tmp_path, *several, stated).edges()) == [("Y", "Z")]


def test_faults_have_their_lines(tmp_path: Path) -> None:
    bad = "\n".join(
        [
            modified("A"),
            modified("A"),
            '<Class kind="category"/>',
            '<ModifierClass code="1"/>',
            '<ModifierClass code="1" modifier="M"/>',
            '<ModifierClass code="1" modifier="M"/>',
            modified("D > E"),
        ]
    )
    assert messages(put(tmp_path, HEAD + bad + "</ClaML>")) == [
        "11: the class 'A' again, first on line 10 [A]",
        "12: a Class without a code",
        "13: a ModifierClass needs a code and a modifier",
        "15: the class '1' of modifier 'M' again",
        "16: an id cannot contain ' > ', which separates the names of a path [D > E]",
    ]


def test_faults_of_the_graph_have_lines_too(tmp_path: Path) -> None:
    classes = [modified("A"), modified("B", above="C"), modified("D", above="E"), modified("E", above="D")]
    assert messages(put(tmp_path, HEAD + "\n".join(classes) + "</ClaML>")) == [
        "11: unknown parent 'C' [B]",
        "13: cycle: E -> D -> E",
    ]


# -- modifiers -------------------------------------------------------------------------------------------------


def test_two_modifiers_one_after_the_other(tmp_path: Path) -> None:
    t = read(tmp_path, MODIFIERS, modified("E10", by("M_5"), by("M_4")))
    assert set(t.edges()) == {
        ("E10", "E10.0"),
        ("E10", "E10.7"),
        ("E10.0", "E10.00"),
        ("E10.0", "E10.01"),
        ("E10.7", "E10.71"),
    }
    assert [n for n in t if t[n].assignable] == ["E10.00", "E10.01", "E10.71"]
    assert t["E10.01"].name == "E10 name: with smoke: outdoors"
    assert t["E10.0"].synonyms == {"en": ("E10 name: burning smell",)}
    assert t["E10"].meta == {"kind": "category", "completedBy": "character of modifier M_4"}
    assert t["E10.0"].meta == {
        "kind": "category",
        "excludes": ["steam"],
        "completedBy": "character of modifier M_5",
    }
    (finding,) = RuleBook(t).check(["E10.7"])
    assert finding.message == "E10.7 needs a character of modifier M_5; below it: E10.71"
    assert t["E10.7"].meta["usage"] == t["E10.71"].meta["usage"] == "dagger"
    assert t["E10.00"].meta == {"kind": "category", "Para": "P"}


def test_names_are_made_in_the_languages_that_both_have(tmp_path: Path) -> None:
    german = CLASSES.replace('<SubClass code="A00.1"/>', by("M_4")).replace("A00.1", "A02")
    german = german.replace('<SuperClass code="A00"/>', '<SuperClass code="A00-A09"/>')
    t = read(tmp_path, MODIFIERS, german)
    assert t["A00.0"].names == {"en": "Overheated motor: with smoke", "de": "Überhitzter Motor: mit Rauch"}
    assert t["A00.7"].names == {"en": "Overheated motor: with several signs"}


@pytest.mark.parametrize(
    ("code", "modifier", "wanted"),
    [
        ("M45", by("M_5"), ["M45.X0", "M45.X1"]),
        ("M45", by("M_4"), ["M45.0", "M45.7"]),
        ("T14.2", by("M_5"), ["T14.20", "T14.21"]),
        ("W00", by("P", position="4"), ["W00.0", "W00.1"]),
        ("5-433.3", by("P"), ["5-433.30", "5-433.31"]),
        ("5-433.3", by("P", "1"), ["5-433.31"]),
        ("5-433.3", by("P", "1", all="true"), ["5-433.31"]),
        ("5-433.3", by("P", "1", all="false"), ["5-433.31"]),
        ("5-433.3", by("P", all="false"), []),
        ("5-433.3", by("P") + '<ExcludeModifier code="P"/>', []),
    ],
)
def test_codes_that_modifiers_make(tmp_path: Path, code: str, modifier: str, wanted: list[str]) -> None:
    t = read(tmp_path, MODIFIERS, MODIFIERS.replace("M_5", "P").replace("M_4", "Q"), modified(code, modifier))
    assert [n for n in t if n != code] == wanted
    assert t[code].assignable == (not wanted)


def test_modifiers_are_inherited_until_they_are_excluded(tmp_path: Path) -> None:
    classes = [
        modified("S", by("M_5")),
        modified("S02", above="S"),
        modified("S02.0", above="S02"),
        modified("S02.1", '<ExcludeModifier code="M_5"/>', above="S02"),
        modified("S03", '<ExcludeModifier code="M_5"/>', above="S"),
        modified("S03.1", above="S03"),
        modified("S03.2", by("M_5", "1"), above="S03"),
    ]
    t = read(tmp_path, MODIFIERS, *classes)
    made = set(t.nodes) - {"S", "S02", "S02.0", "S02.1", "S03", "S03.1", "S03.2"}
    assert made == {"S02.00", "S02.01", "S03.21"}


def test_a_class_that_is_spelt_out_wins(tmp_path: Path) -> None:
    t = read(tmp_path, MODIFIERS, modified("E10", by("M_4")), modified("E10.0"))
    assert t["E10.0"].name == "E10.0 name"
    assert list(t.edges()) == [("E10", "E10.7")]


def test_classes_of_a_modifier_may_refine_each_other(tmp_path: Path) -> None:
    label = '<Rubric kind="preferred"><Label xml:lang="en">{}</Label></Rubric>'
    tree = "".join(
        f'<ModifierClass modifier="P" code="{code}"><SuperClass code="{above}"/>{label.format(code)}</ModifierClass>'
        for code, above in (("1", "P"), ("11", "1"), ("12", "1"), ("2", "P"))
    )
    t = read(tmp_path, MODIFIERS, tree, modified("5-1", by("P", position="4"), by("M_5")))
    assert {"5-11", "5-111", "5-112", "5-12"} < set(t.nodes)
    assert ("5-11", "5-111") in set(t.edges())
    assert [n for n in t if t[n].assignable] == ["5-120", "5-121", "5-1110", "5-1111", "5-1120", "5-1121"]


def test_which_modifiers_are_expanded_can_be_said(tmp_path: Path) -> None:
    parts = MODIFIERS, modified("E10", by("M_4"), by("M_5"))
    assert read(tmp_path, *parts, modifiers=False).nodes == ("E10",)
    assert read(tmp_path, *parts, modifiers=False)["E10"].assignable
    for given_as in ("M_4", ["M_4"], "M_4,"):
        assert read(tmp_path, *parts, modifiers=given_as).nodes == ("E10", "E10.0", "E10.7")
    assert messages(tmp_path / "book.xml", modifiers="M4")[0] == "no modifier 'M4'; did you mean 'M_4'?"


def test_what_modifiers_lack_is_a_warning(tmp_path: Path) -> None:
    read(tmp_path, MODIFIERS, modified("E10", by("M_4", ".0", ".9")), modified("E11", by("M_6")))
    said = messages(tmp_path / "book.xml")
    assert [text.partition(": ")[2] for text in said if "missing" in text] == [
        "warning: modifier 'M_4' has no class '.9'; its code is missing [E10]",
        "warning: no modifier 'M_6'; its codes are missing [E11]",
    ]


def test_modifiers_cannot_make_more_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = "".join(f'<Modifier code="N{i}"/><ModifierClass modifier="N{i}" code="x"/>' for i in range(12))
    path = put(tmp_path, HEAD + many + modified("A", *(by(f"N{i}") for i in range(12))) + "</ClaML>")
    assert messages(path) == ["10: 12 modifiers; at most 9 are read [A]"]
    monkeypatch.setattr(book, "MOST_MADE", 3)
    path = put(tmp_path, HEAD + MODIFIERS + modified("E10", by("M_4"), by("M_5")) + "</ClaML>")
    assert messages(path, rules=False)[0].endswith("modifiers would make more than 3 codes [E10]")


CHARACTERS = st.lists(st.sampled_from("0123"), min_size=1, max_size=3, unique=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.data())
def test_any_modifiers_make_what_a_plain_product_makes(tmp_path: Path, data: st.DataObject) -> None:
    modifiers = {f"N{i}": data.draw(CHARACTERS) for i in range(data.draw(st.integers(1, 3)))}
    pairs = [(m, c) for m, codes in modifiers.items() for c in codes]
    banned = data.draw(st.sets(st.tuples(st.sampled_from(pairs), st.sampled_from(pairs)), max_size=3))
    valid = {
        m: data.draw(st.none() | st.lists(st.sampled_from(codes), unique=True)) for m, codes in modifiers.items()
    }
    text = "".join(
        f'<ModifierClass modifier="{m}" code="{c}">'
        + "".join(
            f'<Meta name="excludeOnPrecedingModifier" value="{a} {b}"/>'
            for (a, b), after in banned
            if after == (m, c)
        )
        + "</ModifierClass>"
        for m, c in pairs
    )
    said = [
        by(m, *(v or ()), all="true" if v is None else "false", position=str(i))
        for i, (m, v) in enumerate(valid.items())
    ]
    t = read(tmp_path, text, modified("5-1.", *data.draw(st.permutations(said))))

    wanted = {"5-1."}
    for length in range(1, len(modifiers) + 1):
        chosen = list(modifiers)[:length]
        for codes in itertools.product(*(modifiers[m] for m in chosen)):
            used = list(zip(chosen, codes, strict=True))
            allowed = all((these := valid[m]) is None or c in these for m, c in used)
            if allowed and not any((a, b) in banned for a, b in itertools.combinations(used, 2)):
                wanted.add("5-1." + "".join(codes))
    assert set(t.nodes) == wanted
    assert {n for n in t if t[n].assignable} == {
        n for n in wanted if not any(m.startswith(n) and m != n for m in wanted)
    }


# -- exclusions as rules ---------------------------------------------------------------------------------------


def ref(code: str, text: str | None = None, *, brackets: bool = True) -> str:
    """Return a reference; without `code` it has only its text."""
    said = f' code="{code}"' * bool(code) + ' class="in brackets"' * brackets
    return f"<Reference{said}>{code if text is None else text}</Reference>"


def exclusion(*labels: str, **languages: str) -> str:
    inside = [f"<Label>{label}</Label>" for label in labels]
    inside += [f'<Label xml:lang="{language}">{label}</Label>' for language, label in languages.items()]
    return f'<Rubric kind="exclusion">{"".join(inside)}</Rubric>'


def family(*rubrics: str, codes: str = "A00 A01 A02 A03 A03.1 A03.2 A04") -> str:
    """Return chapters I and IV, a block A00-A03 in the first, and categories; `rubrics` stand at A00."""
    heads = '<Class code="I" kind="chapter"/><Class code="IV" kind="chapter"/>'
    heads += '<Class code="A00-A03" kind="block"><SuperClass code="I"/></Class>'
    above = {code: code[:3] if "." in code else "A00-A03" if code < "A04" else "IV" for code in codes.split()}
    return heads + "".join(
        modified(code, *(rubrics if code == "A00" else ()), above=up) for code, up in above.items()
    )


def others(folder: Path, *rubrics: str) -> list[tuple[str, ...]]:
    t = read(folder, family(*rubrics))
    assert all(
        (r.type, r.node, r.strength, r.source) == ("excludes", "A00", "soft", "exclusion note") for r in t.rules
    )
    return [rule.others for rule in t.rules]


@pytest.mark.parametrize(
    ("label", "nodes"),
    [
        (f"rust {ref('A01')}", "A01"),
        (f"rust {ref('A01', 'A01.-')}", "A01"),
        (f"rust {ref('', 'A01.-')}", "A01"),
        (f"rust {ref('A01', 'A01†')}", "A01"),
        (f"rust ({ref('A01', brackets=False)}, {ref('A03.1', brackets=False)})", "A01 A03.1"),
        (f"rust {ref('A00-A03')}", "A00-A03"),
        (f"rust {ref('A01', 'A01-A03.1')}", "A01 A02 A03.1"),
        (f"rust {ref('A01')}-{ref('A03')}", "A01 A02 A03"),
        (f"rust ({ref('A01', brackets=False)} – {ref('A02', brackets=False)})", "A01 A02"),
        (f"vitamin A04 lack {ref('A02')}", "A02"),
        (f"Siehe Kapitel {ref('IV', brackets=False)}", "IV"),
        (f"rust {ref('IV', 'Kapitel IV')}", "IV"),
        (f"rust {ref('A01', 'see there')}", "A01"),
        (f"rust {ref('A01', 'see A01')}", "A01"),
        (f"rust {ref('A01', 'A01 ff.')}", "A01"),
        ("rust (A01, A03.1)", "A01 A03.1"),
        ("rust (A00-A03)", "A00-A03"),
        ("rust (Chapter 4)", "IV"),
        ("rust (Chapter IV)", "IV"),
        (f"rust {ref('A00-A03', 'A00-A03 with common fourth character .1')}", "A03.1"),
        (f"rust ({ref('A02-A03', brackets=False)} with fourth character .2)", "A03.2"),
    ],
)
def test_exclusions_become_rules(tmp_path: Path, label: str, nodes: str) -> None:
    assert others(tmp_path, exclusion(label)) == [tuple(nodes.split())]


def test_rules_keep_the_words_and_their_headings(tmp_path: Path) -> None:
    rubrics = [exclusion("paint (of):"), exclusion(f"arm {ref('A01')}"), exclusion(f"leg {ref('A02')}")]
    t = read(tmp_path, family(*rubrics, exclusion(f"all {ref('A03')}")))
    assert [rule.note for rule in t.rules] == ["paint (of): arm (A01)", "paint (of): leg (A02)", "all (A03)"]
    assert t["A00"].meta["excludes"] == ["paint (of):", "arm (A01)", "leg (A02)", "all (A03)"]
    (finding,) = RuleBook(t).check(["A00", "A02"])
    assert (finding.kind, finding.severity) == ("excluded-pair", "soft")
    assert messages(tmp_path / "book.xml") == [
        "warning: 3 of 4 notes name codes or chapters; 1 head lists of others. Rules made of them: 3"
    ]
    assert not read(tmp_path, family(*rubrics), rules=False).rules
    assert messages(tmp_path / "book.xml", rules=False) == []


def test_a_rubric_in_several_languages_is_one_rule(tmp_path: Path) -> None:
    name = '<Rubric kind="preferred"><Label xml:lang="en">first</Label></Rubric>'
    rubric = exclusion(de=f"Rost {ref('A01')}", en=f"rust {ref('A01')}")
    german = exclusion(de=f"Lack {ref('A02')}")
    t = read(tmp_path, name.join(["<Class code='X' kind='category'>", "</Class>"]), family(rubric, german))
    assert [(rule.others, rule.note) for rule in t.rules] == [(("A01",), "rust (A01)"), (("A02",), "Lack (A02)")]


def test_codes_of_any_shape_are_found_by_references(tmp_path: Path) -> None:
    t = read(tmp_path, modified("5-43"), modified("5-44", exclusion(f"Naht {ref('5-43', '5-43 ff.')}")))
    assert [(rule.node, rule.others) for rule in t.rules] == [("5-44", ("5-43",))]


def test_exclusions_of_modifiers_hold_for_the_codes_they_make(tmp_path: Path) -> None:
    modifiers = MODIFIERS.replace(">steam<", f">steam {ref('A01')}<").replace(
        "</ModifierClass>", "\n</ModifierClass>"
    )
    t = read(tmp_path, modifiers, modified("E10", by("M_4")), modified("E11", by("M_4")), modified("A01"))
    assert [(rule.node, rule.others) for rule in t.rules] == [("E10.0", ("A01",)), ("E11.0", ("A01",))]
    assert "warning: 1 of 1 notes name codes or chapters. Rules made of them: 2" in messages(tmp_path / "book.xml")


def test_exclusions_that_name_nothing_are_warnings(tmp_path: Path) -> None:
    rubrics = [
        "steam - see the other chapters",
        f"dust {ref('Z99')}",
        "mud (Z98)",
        f"tar {ref('A01', 'A01 außer links')}",
        f"oil {ref('A01', 'A01 with luck')}",
        f"wax ({ref('A02', brackets=False)} mit Griff)",
    ]
    path = put(tmp_path, HEAD + family(*("\n" + exclusion(rubric) for rubric in rubrics)) + "</ClaML>")
    assert messages(path) == [
        "warning: 0 of 6 notes name codes or chapters; 6 cannot be resolved and are listed here. "
        "Rules made of them: 0",
        '11: warning: exclusion note names no code: "steam - see the other chapters" [A00]',
        '12: warning: exclusion note: no Z99 in this release: "dust (Z99)" [A00]',
        '13: warning: exclusion note: no Z98 in this release: "mud (Z98)" [A00]',
        *(
            f'{line}: warning: exclusion note: a condition in words that are not understood: "{text}" [A00]'
            for line, text in [
                (14, "tar (A01 außer links)"),
                (15, "oil (A01 with luck)"),
                (16, "wax (A02 mit Griff)"),
            ]
        ),
    ]


def test_rules_are_off_for_what_cannot_be_a_taxonomy(tmp_path: Path) -> None:
    path = put(tmp_path, HEAD + family(exclusion(ref("A01")), codes="A00 A01 A03.1") + "</ClaML>")
    assert any("unknown parent 'A03'" in message for message in messages(path))


# -- XML from strangers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declaration",
    ['<!DOCTYPE ClaML SYSTEM "x.dtd" [<!ENTITY a "b">]>', "<!DOCTYPE ClaML [<!ELEMENT ClaML ANY>]>"],
)
def test_declarations_with_something_in_them_are_refused(tmp_path: Path, declaration: str) -> None:
    path = put(tmp_path, SMALL.replace('<!DOCTYPE ClaML SYSTEM "ClaML.dtd">', declaration))
    assert messages(path)[0].startswith("2: a document type declaration")


def test_a_dtd_is_never_read(tmp_path: Path) -> None:
    put(tmp_path, '<!ENTITY motor "Motor">', "ClaML.dtd")
    path = put(tmp_path, SMALL.replace("Motors", "&motor;"))
    assert messages(path) == ["11: &motor; stands for something in a DTD, which is not read"]
    public = SMALL.replace('SYSTEM "', 'PUBLIC "-//WHO//ClaML//EN" "http://127.0.0.1:1/')
    assert "A00" in formats.read(put(tmp_path, public))


def test_sniffed_and_only_read(tmp_path: Path) -> None:
    for name in ("a.xml", "a.xml.gz", "a.claml"):
        assert formats.sniff(put(tmp_path, SMALL, name)) == "claml"
        assert "A00.1" in formats.read(tmp_path / name)
    with pytest.raises(UsageError, match="unknown taxonomy format 'claml'"):
        formats.write(Taxonomy(["a"]), tmp_path / "x", "claml")
    with pytest.raises(UsageError, match="format 'claml' has no option 'modifier'; did you mean 'modifiers'"):
        formats.read(tmp_path / "a.xml", modifier="x")
    other = put(tmp_path, "<html/>", "b.xml")
    with pytest.raises(TaxonomyError, match="not ClaML: its outermost element is <html>, not <ClaML>"):
        formats.read(other, "claml")
    with pytest.raises(TaxonomyError, match=r"known are .*<ClaML> \(claml\)"):
        formats.read(other)


def test_empty_cut_and_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert messages(put(tmp_path, HEAD + "</ClaML>")) == ["no nodes in this file"]
    assert "not well-formed XML" in messages(put(tmp_path, SMALL[:-9]), format="claml")[0]
    path = put(tmp_path, SMALL)
    monkeypatch.setattr(_xml, "MAX_BYTES", 1_000)
    assert messages(path, format="claml") == ["more than 1,000 bytes of XML"]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_give_a_taxonomy_or_an_error(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    source = (HEAD + MODIFIERS + modified("E10", by("M_4"), by("M_5")) + CLASSES + "</ClaML>").encode()
    pieces = [b"<Class>", b"</Class>", b'code=""', b"\0", b"&x;", b"<!DOCTYPE a>", b"]]>", b"\xff", b'"', b"A00"]
    path = tmp_path / "mutated.xml"
    for raw in mutations(chance, source, pieces):
        assert reads_or_says_why(path, raw, "claml")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLF_CACHE", "0")
    path, out = put(tmp_path, SMALL), tmp_path / "out.yaml"
    run = CliRunner().invoke
    for command in ("validate", "show", "stats"):
        assert run(app, ["taxonomy", command, str(path)]).exit_code == 0
    result = run(app, ["taxonomy", "convert", str(path), str(out)])
    assert result.exit_code == 0, result.output
    assert "not kept" not in result.output
    assert formats.read(out) == formats.read(path)
