from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from dags import rich_taxonomies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutations, reads_or_says_why
from typer.testing import CliRunner

from hclf import formats
from hclf.cli import app
from hclf.errors import TaxonomyError
from hclf.formats.obo.syntax import escaped, listed, plain
from hclf.taxonomy import Node, Taxonomy

SMALL = r"""format-version: 1.4
data-version: releases/2030-01-01
ontology: robots
import: http://example.org/other.owl
subsetdef: common "Common ones"
property_value: http://purl.org/dc/terms/title "Robots, all of them" xsd:string
property_value: http://purl.org/dc/terms/license https://creativecommons.org/licenses/by/4.0/
! a comment line

[Term]
id: R:1 ! the root
name: robot
namespace: machines
def: "A machine that says \"beep\"\nand moves." [R:curator, http://x.org/a\,b "said, so"]
comment: Not a toy.
subset: common
alt_id: R:9
alt_id: R:10
xref: UMLS:C1 "Robot" {source="x"}

[Term]
id: R:2
name: arm \{left\} ! a comment
name: bras {lang="fr"}
synonym: "manipulator" EXACT technical [R:curator] {source="a, b"}
synonym: "arm {left}" EXACT []
synonym: "grabber" NARROW []
synonym: "limb" BROAD []
synonym: "thing" []
synonym: "Greifarm" RELATED [] {xml:lang="de", source="y"}
is_a: R:1 {source="x"} ! robot
relationship: part_of R:3 ! body
relationship: has_part R:1

[Typedef]
id: part_of
name: part of
xref: BFO:0000050

[Term]
id: R:3
name: body
is_a: R:1
is_a: R:4 ! gone

[Term]
id: R:4
name: old thing
is_obsolete: true
replaced_by: R:3

[Instance]
id: R:99
"""


def put(folder: Path, text: str, name: str = "small.obo") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def messages(path: Path, **options: Any) -> list[str]:
    _, faults = formats.check(path, **options)
    return [str(fault).replace(f"{path}:", "").strip() for fault in faults]


def term(*lines: str) -> str:
    return "\n".join(["format-version: 1.2", "", "[Term]", *lines, ""])


# -- terms -----------------------------------------------------------------------------------------------------


def test_terms_become_nodes(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL))
    assert t.nodes == ("R:1", "R:2", "R:3")
    assert list(t.edges()) == [("R:1", "R:2"), ("R:1", "R:3")]
    assert (t.id, t.version, t.title) == ("robots", "releases/2030-01-01", "Robots, all of them")
    assert (t.license, t.source) == ("https://creativecommons.org/licenses/by/4.0/", "small.obo")
    assert t["R:1"] == Node(
        "R:1",
        {"": "robot"},
        description='A machine that says "beep"\nand moves.',
        meta={
            "namespace": "machines",
            "def_xref": ["R:curator", "http://x.org/a,b"],
            "comment": "Not a toy.",
            "subset": ["common"],
            "alt_id": ["R:9", "R:10"],
            "xref": ["UMLS:C1"],
        },
    )


def test_synonyms_with_scope_type_and_language(tmp_path: Path) -> None:
    arm = formats.read(put(tmp_path, SMALL))["R:2"]
    assert arm.names == {"": "arm {left}", "fr": "bras"}
    assert arm.synonyms == {"": ("manipulator", "grabber", "thing"), "de": ("Greifarm",)}
    assert arm.meta["synonym_scope"] == {"NARROW": ["grabber"], "BROAD": ["limb"], "RELATED": ["thing", "Greifarm"]}
    assert arm.meta["synonym_type"] == {"technical": ["manipulator"]}
    assert arm.meta["relationship"] == ["part_of R:3", "has_part R:1"]


def test_faults_that_are_only_warnings(tmp_path: Path) -> None:
    assert messages(put(tmp_path, SMALL)) == [
        "4: warning: imports http://example.org/other.owl, which is not read",
        "44: warning: is_a 'R:4', which is obsolete: left out [R:3]",
    ]


@pytest.mark.parametrize("relation", ["part_of", "part of", "BFO:0000050", ["part_of"], " part_of , "])
def test_relations_lead_to_further_parents(tmp_path: Path, relation: str | list[str]) -> None:
    t = formats.read(put(tmp_path, SMALL), relations=relation)
    assert set(t.edges()) == {("R:1", "R:2"), ("R:1", "R:3"), ("R:3", "R:2")}


def test_relations_that_lead_nowhere(tmp_path: Path) -> None:
    path = put(tmp_path, SMALL)
    assert messages(path, relations="partof")[0] == (
        "no relation 'partof' in this file; did you mean 'part_of' or 'part of'?"
    )
    outside = put(tmp_path, term("id: a", "relationship: part_of b", "relationship: in c"))
    assert messages(outside, relations=["part_of"]) == [
        "5: warning: part_of 'b', which is not a term of this file: left out [a]"
    ]
    round_it = put(tmp_path, term("id: a", "relationship: part_of b", "[Term]", "id: b", "is_a: a"))
    assert messages(round_it, relations="part_of") == ["6: cycle: b -> a -> b"]


def test_obsolete_terms_are_kept_on_demand(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL), obsolete=True)
    assert ("R:4", "R:3") in set(t.edges())
    assert t["R:4"] == Node(
        "R:4", {"": "old thing"}, assignable=False, meta={"replaced_by": ["R:3"], "is_obsolete": True}
    )


def test_faults_have_their_lines(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "format-version: 1.2",
            "[Term]",
            "name: no id",
            "[Term]",
            "id: a",
            "name: one",
            "name: two",
            "def: without quotes",
            'def: "x" []',
            'def: "y" []',
            "synonym: without quotes",
            'synonym: "" EXACT []',
            "not a tag",
            "[Term]",
            "id: b > c",
        ]
    )
    assert messages(put(tmp_path, text)) == [
        "2: a term without an id",
        "7: a second name [a]",
        '8: a def must be a text in quotes: def: "…" [] [a]',
        "10: a second def [a]",
        '11: a synonym must be a text in quotes: synonym: "…" EXACT [] [a]',
        "12: warning: an empty synonym [a]",
        "13: neither a tag with a value (name: text) nor a stanza ([Term])",
        "14: an id cannot contain ' > ', which separates the names of a path [b > c]",
    ]


def test_faults_of_the_graph_have_lines_too(tmp_path: Path) -> None:
    text = "[Term]\nid: a\n[Term]\nid: a\n[Term]\nid: b\nis_a: x\n[Term]\nid: c\nis_a: d\n[Term]\nid: d\nis_a: c\n"
    assert messages(put(tmp_path, text)) == [
        "3: duplicate node id, first on line 1 [a]",
        "5: unknown parent 'x' [b]",
        "11: cycle: d -> c -> d",
    ]


# -- syntax ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("name: a ! b", "a"),
        (r"name: a \! b", "a ! b"),
        ("name: a {not qualifiers}", "a {not qualifiers}"),
        ('name: a {source="b"}', "a"),
        ('name: a {source="b, c", x="\\"}"} ! d', "a"),
        (r'name: a \{source="b"}', 'a {source="b"}'),
        ('name: a "b ! c" d', 'a "b ! c" d'),
        ('name: 5" pipe ! a comment', '5" pipe'),
        (r"name: a\: b\, c\n\t\W\\n", "a: b, c\n\t \\n"),
        ("name:a", "a"),
        ("name: a: b", "a: b"),
        ("name: a \\\n  b", "a   b"),
        ("name: a\t", "a"),
        ("name: été", "été"),
    ],
)
def test_values(tmp_path: Path, line: str, name: str) -> None:
    assert formats.read(put(tmp_path, term("id: x", line))).names == (name,)


def test_line_numbers_after_a_line_that_goes_on(tmp_path: Path) -> None:
    assert messages(put(tmp_path, term("id: x", "name: a \\", "b", "oops"))) == [
        "7: neither a tag with a value (name: text) nor a stanza ([Term])"
    ]
    assert messages(put(tmp_path, term("id: x") + "\\")) == []


def test_lists_in_brackets() -> None:
    assert listed('EXACT layperson [A:1, B:2 "said, so", http://x/\\]y]') == (
        ["EXACT", "layperson"],
        ["A:1", "B:2", "http://x/]y"],
    )
    assert listed("EXACT") == (["EXACT"], [])
    assert listed("[,]") == ([], [])


@given(st.text(alphabet='aB \\"\n\t{}[]!,:WnNt', max_size=20), st.sampled_from(["", '"', '!{}"', '!{},[]"']))
def test_escapes_are_undone(text: str, characters: str) -> None:
    assert plain(escaped(text, characters)) == text
    assert "\n" not in escaped(text, characters)


# -- writing ---------------------------------------------------------------------------------------------------


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    before = formats.read(put(tmp_path, SMALL))
    formats.write(before, tmp_path / "again.obo")
    after = formats.read(tmp_path / "again.obo")
    assert formats.losses(before, after) == ["the taxonomy's source"]
    assert (after.title, after.license, after.version) == (before.title, before.license, before.version)
    assert formats.dumps(after, "obo") == formats.dumps(before, "obo")


def test_what_is_written(tmp_path: Path) -> None:
    t = Taxonomy(
        [Node("home garden", {"de": "Haus {1}", "fr": "Maison"}, {"": ("a!b",)}), Node("b")], [("b", "home garden")]
    )
    assert formats.dumps(t, "obo").splitlines()[1:] == [
        'synonymtypedef: name "a name in another language" EXACT',
        "ontology: taxonomy",
        "",
        "[Term]",
        "id: b",
        "",
        "[Term]",
        "id: home\\Wgarden",
        'name: Haus \\{1\\} {lang="de"}',
        'synonym: "Maison" EXACT name [] {lang="fr"}',
        'synonym: "a!b" EXACT []',
        "is_a: b",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(rich_taxonomies())
def test_any_taxonomy_reads_back_but_for_what_obo_has_no_place_for(tmp_path: Path, taxonomy: Taxonomy) -> None:
    formats.write(taxonomy, tmp_path / "t.obo")
    again = formats.read(tmp_path / "t.obo")
    assert again.nodes == taxonomy.nodes
    assert set(again.edges()) == set(taxonomy.edges())
    for node in taxonomy:
        old, new = taxonomy[node], again[node]
        assert (new.names, new.synonyms, new.description) == (old.names, old.synonyms, old.description)


def test_ids_that_would_read_back_as_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="white space around it"):
        formats.write(Taxonomy([" a"]), tmp_path / "t.obo")
    assert not (tmp_path / "t.obo").exists()


# -- files of all kinds ----------------------------------------------------------------------------------------


def test_sniffed_by_suffix_and_by_content(tmp_path: Path) -> None:
    for name in ("small.obo", "small.obo.gz"):
        formats.write(formats.read(put(tmp_path, SMALL)), tmp_path / name)
        assert formats.sniff(tmp_path / name) == "obo"
        assert len(formats.read(tmp_path / name)) == 3
    assert formats.sniff(put(tmp_path, SMALL, "small.txt")) == "obo"
    assert formats.sniff(put(tmp_path, "ontology: x\n[Term]\nid: a\n", "other")) == "obo"


def test_files_that_are_no_obo(tmp_path: Path) -> None:
    many = messages(put(tmp_path, "neither\n" * 5_000))
    assert len(many) == 1_001
    assert "more than 1,000 faults; the rest was not read" in many
    assert messages(put(tmp_path, "format-version: 1.2\n")) == ["no nodes in this file"]
    (tmp_path / "b.obo").write_bytes(b"[Term]\nid: caf\xe9\n")
    assert messages(tmp_path / "b.obo") == ["2:8: not UTF-8 (byte 0xe9); save the file as UTF-8"]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_give_a_taxonomy_or_an_error(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    pieces = [
        b"[Term]",
        b"id:",
        b'"',
        b"\\",
        b"{",
        b'a="b"}',
        b"!",
        b"\n",
        b"\0",
        b"\xff",
        b"[",
        b"]",
        b"is_a: R:2\n",
    ]
    path = tmp_path / "mutated.obo"
    for raw in mutations(chance, SMALL.encode(), pieces, most=6):
        assert reads_or_says_why(path, raw, relations="part_of", obsolete=chance.random() < 0.5)


@pytest.mark.parametrize(
    "text", ['"' * 50_000, '{a="b"' + " " * 50_000 + "x}", '[A "' * 20_000, "\\" * 50_000, '{a="' * 20_000 + "}"]
)
def test_awkward_lines_take_no_time(tmp_path: Path, text: str) -> None:
    path = put(tmp_path, term("id: a", f"name: {text}", f'def: "x" {text}', f"xref: {text}"))
    formats.check(path)  # the test is that it ends


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLF_CACHE", "0")
    path, out = put(tmp_path, SMALL), tmp_path / "out.yaml"
    run = CliRunner().invoke
    for command in ("validate", "show", "stats"):
        assert run(app, ["taxonomy", command, str(path)]).exit_code == 0
    for target in (out, tmp_path / "back.obo"):
        result = run(app, ["taxonomy", "convert", str(path), str(target)])
        assert result.exit_code == 0, result.output
    assert formats.read(out) == formats.read(path)
    result = run(app, ["taxonomy", "convert", str(path), "-", "--to", "obo"])
    assert result.stdout.startswith("format-version: 1.4\n")
