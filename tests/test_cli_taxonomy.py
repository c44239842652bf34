from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hclf import formats
from hclf.cli import main, tree
from hclf.taxonomy import Node, Rule, Taxonomy

SHOP = """\
hclf: 1
id: shop
title: A shop
version: "2.0"
levels: [department, type]
nodes:
  - id: home
    name: Home
    synonyms: [household]
    children:
      - id: lamps
        name: {en: Lamps, fr: Lampes à poser}
        description: Things that shine.
        assignable: false
        valid_from: 2020-01-01
        meta: {shelf: "7"}
      - chairs: Chairs
  - id: garden
    name: Garden
    children:
      - {id: garden-chairs, name: Garden chairs, synonyms: [Café chairs], parents: [chairs]}
rules:
  - {type: excludes, node: lamps, others: [chairs]}
"""


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.out.splitlines()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("HCLF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(SHOP, encoding="utf-8")

    def call(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(["taxonomy", *arguments])
        out = capsys.readouterr()
        assert "Traceback" not in out.out + out.err
        return Result(int(caught.value.code or 0), out.out, out.err)

    return call


# -- validate --------------------------------------------------------------------------------------------------


def test_validate_says_ok(run: Any) -> None:
    result = run("validate", "shop.yaml", "products")
    assert result.code == 0
    assert result.lines[0] == "shop.yaml: 5 nodes, no faults"
    assert result.lines[-1].endswith("products.yaml: 658 nodes, no faults")


def test_validate_prints_every_fault_on_a_line_and_the_counts(run: Any) -> None:
    Path("bad.tsv").write_text("id\tname\tparents\na\tA\tb\nc\tC\tc\n")
    result = run("validate", "bad.tsv", "shop.yaml")
    assert result.code == 1
    assert result.lines == [
        "bad.tsv:2: unknown parent 'b' [a]",
        "bad.tsv:3: a node cannot be its own parent [c]",
        "bad.tsv: no taxonomy, 2 errors",
        "shop.yaml: 5 nodes, no faults",
    ]


def test_validate_strict_makes_warnings_count(run: Any) -> None:
    Path("w.tsv").write_text("id\tparents\na\t\nb\ta\nc\tb|a\n")
    warning = "w.tsv:4: warning: superfluous parent 'a': also an ancestor by another path [c]"
    assert run("validate", "w.tsv").code == 0
    result = run("validate", "--strict", "w.tsv")
    assert (result.code, result.lines) == (1, [warning, "w.tsv: 3 nodes, 1 warning"])


def test_validate_json(run: Any) -> None:
    Path("bad.tsv").write_text("id\tparents\na\tb\n")
    result = run("validate", "--json", "bad.tsv", "shop.yaml")
    found = json.loads(result.out)
    assert result.code == 1
    assert (found["ok"], found["errors"], found["warnings"]) == (False, 1, 0)
    bad, good = found["files"]
    assert bad["nodes"] is None
    assert bad["faults"][0] == {
        "message": "unknown parent 'b'",
        "file": "bad.tsv",
        "line": 2,
        "column": 0,
        "node": "a",
        "severity": "error",
    }
    assert (good["nodes"], good["faults"]) == (5, [])


def test_validate_of_nothing_is_wrong_usage(run: Any) -> None:
    result = run("validate", "none.yaml")
    assert (result.code, result.out) == (2, "")
    assert "no such file: none.yaml" in result.err


# -- show ------------------------------------------------------------------------------------------------------


def test_show_draws_the_whole_of_a_small_taxonomy(run: Any) -> None:
    result = run("show", "shop.yaml")
    assert result.lines == [
        "A shop 2.0  5 nodes, 3 levels",
        "├── Garden  garden",
        "│   └── Garden chairs  garden-chairs  also under Chairs",
        "└── Home  home",
        "    ├── Chairs  chairs",
        "    │   └── Garden chairs  garden-chairs  shown above  also under Garden",
        "    └── Lamps  lamps",
    ]
    assert result.err == ""


def test_show_to_a_depth(run: Any) -> None:
    result = run("show", "shop.yaml", "--depth", "1")
    assert result.lines[1:] == ["├── Garden  garden  1 below", "└── Home  home  3 below"]
    assert result.err.startswith("2 of 5 nodes shown; ")


def test_show_does_not_flood(run: Any) -> None:
    rows = [f"top{i}\t\n" + "".join(f"n{i}-{j:03}\ttop{i}\n" for j in range(40 + i)) for i in range(3)]
    Path("big.tsv").write_text("id\tparents\n" + "".join(rows) + "deep\tn2-041\n")
    result = run("show", "big.tsv", "--max", "20")
    assert len(result.lines) < 28
    assert "│   └── … 35 more" in result.lines
    assert any("n2-041" in line for line in result.lines)  # the child with something below it is not left out


def test_show_one_node(run: Any) -> None:
    result = run("show", "shop.yaml", "--node", "lamps")
    assert result.lines[:-2] == [
        "id           lamps",
        "name en      Lamps",
        "name fr      Lampes à poser",
        "description  Things that shine.",
        "level        2 type",
        "lies under   Home",
        "assignable   no",
        "valid        2020-01-01 to …",
        "shelf        7",
        "excludes     chairs",
        "",
    ]
    assert result.lines[-2:] == ["A shop 2.0  5 nodes, 3 levels", "└── Lamps  lamps"]
    wrong = run("show", "shop.yaml", "--node", "lamp")
    assert wrong.code == 1
    assert "unknown node 'lamp'; did you mean 'lamps'" in wrong.err


def rule_lines(result: Result) -> list[str]:
    return result.lines[result.lines.index("level     1") + 1 : -2]


def test_show_one_node_cuts_long_rules(run: Any) -> None:
    others = [f"n{i:03}" for i in range(955)]
    rules = [
        Rule("excludes", "a", tuple(others), note="none\nof these", source="excludes1 note"),
        Rule("requires", "a", ("n007",), "hard", optional=True),
        Rule("at_most", "a", k=3),
    ]
    formats.write(Taxonomy(["a", *others], rules=rules), "many.yaml")
    assert rule_lines(run("show", "many.yaml", "--node", "a")) == [
        "excludes  n000, n001, n002, n003, n004, … and 950 more",
        '          excludes1 note: "none of these"',
        "requires  n007",
        "          hard, optional",
        "at_most   3",
        "",
    ]


def test_show_one_node_cuts_many_rules(run: Any) -> None:
    rules = [Rule("excludes", "a", (f"n{i:02}",)) for i in range(20)]
    formats.write(Taxonomy(["a", *(f"n{i:02}" for i in range(20))], rules=rules), "many.yaml")
    found = rule_lines(run("show", "many.yaml", "--node", "a"))
    assert found[0] == "excludes  n00"
    assert found[-3:] == ["excludes  n11", "          … 8 more rules here", ""]


def test_show_one_node_tells_the_rules_of_its_ancestors(run: Any) -> None:
    nodes = [Node("top", {"": "The top"}), "mid", "low", "x"]
    rules = [
        Rule("excludes", "top", ("x",), note="no x", source="a note"),
        Rule("excludes", "mid", ("x",), scope="node"),
        Rule("requires", "mid", ("x",), "hard"),
        Rule("code_first", "low", ("x",)),
    ]
    t = Taxonomy(nodes, [("top", "mid"), ("mid", "low")], rules=rules)
    formats.write(t, "chain.yaml")
    assert run("show", "chain.yaml", "--node", "low").lines[-9:-2] == [
        "lies under  The top > mid",
        "code_first  x",
        "requires    x",
        "            from mid, hard",
        "excludes    x",
        '            from top (The top), a note: "no x"',
        "",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("LAMPES a POSER", "    └── Lamps  lamps  ≈ Lampes à poser"),
        ("house", "└── Home  home  ≈ household  3 below"),
        ("chair gard", "    └── Garden chairs  garden-chairs  also under Chairs"),
        ("cafe", "    └── Garden chairs  garden-chairs  ≈ Café chairs  also under Chairs"),
        ("amp", "    └── Lamps  lamps"),
    ],
)
def test_search_ignores_case_and_accents_and_knows_synonyms(run: Any, text: str, line: str) -> None:
    result = run("show", "shop.yaml", "--search", text)
    assert (result.code, result.lines[-1], result.err) == (0, line, "1 match\n")


def test_search_shows_the_best_first(run: Any) -> None:
    result = run("show", "shop.yaml", "-s", "chairs", "--max", "1")
    assert result.lines[1:] == ["└── Home  home", "    └── Chairs  chairs  1 below"]
    assert result.err == "1 of 2 matches shown; --max shows more\n"


def test_search_without_a_match(run: Any) -> None:
    result = run("show", "shop.yaml", "-s", "chars")
    assert (result.code, result.out) == (1, "")
    assert (
        result.err == "nothing matches 'chars'; did you mean 'chairs' or 'Chairs'?\n" or "did you mean" in result.err
    )
    assert run("show", "shop.yaml", "-s", "x", "-n", "home").code == 2


def test_markup_in_names_is_text(run: Any) -> None:
    Path("m.tsv").write_text("id\tname\tparents\n[a]\t[bold]x[/bold]\t\n")
    assert run("show", "m.tsv").lines[-1] == "└── [bold]x[/bold]  [a]"


def test_colours_highlight_matches() -> None:
    t = Taxonomy(["a", "b"])
    drawn = tree.draw(t, tree.branches(t, [1]), "title", mark=lambda j: "")
    assert "bold yellow" in str(drawn.children[0].label.spans)  # type: ignore[union-attr]


# -- stats -----------------------------------------------------------------------------------------------------


def test_stats_reads_well(run: Any) -> None:
    result = run("stats", "shop.yaml")
    assert result.lines[0] == "A shop 2.0"
    assert "nodes            5, of which 2 leaves and 2 roots" in result.lines
    assert "several parents  1 node" in result.lines
    assert "children         median 1, 90 % at most 2, the most 2" in result.lines
    assert any(line.split() == ["2", "type", "2", "1", "·", "━" * 20] for line in result.lines)
    assert any(line.split() == ["fr", "1", "0"] for line in result.lines)


def test_stats_json(run: Any) -> None:
    found = json.loads(run("stats", "shop.yaml", "--json").out)
    assert (found["nodes"], found["edges"], found["several_parents"], found["synonyms"]) == (5, 4, 1, 2)
    assert found["levels"][1] == {"level": 2, "name": "type", "nodes": 2, "leaves": 1, "several_parents": 0}
    assert found["fan_out"] == {"median": 1, "p90": 2, "max": 2}
    assert found["texts"][0] == {"language": "", "names": 4, "synonyms": 2}


# -- convert ---------------------------------------------------------------------------------------------------


def test_convert_says_what_is_lost(run: Any) -> None:
    result = run("convert", "shop.yaml", "shop.taxonomy")
    assert (result.code, result.out) == (0, "")
    assert result.err.splitlines() == [
        "wrote shop.taxonomy: 5 nodes",
        "not kept by this format: 6 names in 2 languages (en, fr)",
        "not kept by this format: 2 synonyms",
        "not kept by this format: 1 description",
        "not kept by this format: 1 mark that a node cannot be assigned",
        "not kept by this format: 1 first day of validity",
        "not kept by this format: 1 meta entry",
        "not kept by this format: 1 rule",
        "not kept by this format: the names of the levels",
        "not kept by this format: the taxonomy's version, title",
    ]


@pytest.mark.parametrize("name", ["out.json", "out.yaml", "out.json.gz"])
def test_convert_without_loss(run: Any, name: str) -> None:
    result = run("convert", "shop.yaml", name)
    assert result.err == f"wrote {name}: 5 nodes\n"
    assert formats.read(name) == formats.read("shop.yaml")


def test_convert_never_overwrites_unless_forced(run: Any) -> None:
    Path("out.tsv").write_text("mine")
    result = run("convert", "shop.yaml", "out.tsv")
    assert result.code == 2
    assert "out.tsv exists; add -f to overwrite it" in result.err
    assert Path("out.tsv").read_text() == "mine"
    assert run("convert", "shop.yaml", "out.tsv", "-f").code == 0
    assert len(formats.read("out.tsv")) == 5


def test_convert_to_standard_output(run: Any) -> None:
    result = run("convert", "shop.yaml", "-", "--to", "research")
    assert result.lines == [
        "Root\tgarden\thome",
        "garden\tgarden-chairs",
        "home\tchairs\tlamps",
        "chairs\tgarden-chairs",
    ]
    assert "not kept by this format: 2 synonyms" in result.err
    assert run("convert", "shop.yaml", "-").lines[0] == "hclf: 1"


def test_convert_with_formats_and_reader_options(run: Any) -> None:
    Path("items.csv").write_text("dep,aisle,price\nFood,Tea,3\nFood,Milk,\n")
    assert run("convert", "items.csv", "x.dat", "--levels", "dep,aisle", "--to", "table").code == 0
    assert set(formats.read("x.dat", "table")) == {"food", "food/tea", "food/milk"}
    Path("p.dat").write_text("A|B\nA|C\n")
    assert run("convert", "p.dat", "p.tsv", "--from", "paths", "--separator", "|").code == 0
    assert set(formats.read("p.tsv")) == {"a", "a/b", "a/c"}
    assert "cannot tell a format from the name 'y.dat'" in run("convert", "shop.yaml", "y.dat").err
    assert "unknown taxonomy format 'yml'" in run("convert", "shop.yaml", "y.dat", "--to", "yml").err


def test_convert_refuses_what_would_not_read_back(run: Any) -> None:
    formats.write(Taxonomy([Node("a|b")]), "pipe.json")
    result = run("convert", "pipe.json", "pipe.tsv")
    assert result.code == 1
    assert "an id with '|' cannot be written in this format" in result.err
    assert not Path("pipe.tsv").exists()


# -- options of readers ----------------------------------------------------------------------------------------

CLAML = """<ClaML version="2.0.0"><Title name="robots">Robots</Title>
<Modifier code="M"/><ModifierClass modifier="M" code=".1"/><Modifier code="N"/><ModifierClass modifier="N" code=".2"/>
<Class code="A01" kind="category"><ModifiedBy code="M"/></Class>
<Class code="A02" kind="category"><ModifiedBy code="N"/></Class></ClaML>"""
OBO = """format-version: 1.4

[Term]
id: R:1

[Term]
id: R:2
relationship: part_of R:1

[Term]
id: R:3
is_obsolete: true
"""
SKOS = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
<http://x/one> a skos:ConceptScheme . <http://x/two> a skos:ConceptScheme .
<http://x/c1> a skos:Concept ; skos:inScheme <http://x/one> ; skos:notation "1" .
<http://x/c2> a skos:Concept ; skos:inScheme <http://x/two> ; skos:notation "2" .
<http://x/c3> a skos:Concept ; skos:inScheme <http://x/one> ; skos:notation "3" ; owl:deprecated true .
"""


@pytest.mark.parametrize(
    ("name", "options", "nodes"),
    [
        ("b.xml", "", "A01 A02 A01.1 A02.2"),
        ("b.xml", "--modifiers none", "A01 A02"),
        ("b.xml", "--modifiers N", "A01 A02 A02.2"),
        ("b.xml", "--modifiers M,N", "A01 A02 A01.1 A02.2"),
        ("b.obo", "", "R:1 R:2"),
        ("b.obo", "--relations part_of --obsolete", "R:1 R:3 R:2"),
        ("b.ttl", "", "1 2"),
        ("b.ttl", "--scheme one", "1"),
        ("b.ttl", "--ids name --obsolete", "c1 c2 c3"),
        ("b.ttl", "--ids iri --scheme two", "http://x/c2"),
    ],
)
def test_options_of_readers(run: Any, name: str, options: str, nodes: str) -> None:
    if name.endswith("ttl"):
        pytest.importorskip("rdflib")
    Path("b.xml").write_text(CLAML)
    Path("b.obo").write_text(OBO)
    Path("b.ttl").write_text(SKOS)
    given = options.split()
    assert run("convert", name, "out.yaml", *given).code == 0
    assert formats.read("out.yaml").nodes == tuple(nodes.split())
    count = len(nodes.split())
    assert run("validate", name, *given).lines[-1].startswith(f"{name}: {count} node")
    assert json.loads(run("stats", name, "--json", *given).out)["nodes"] == count
    assert f"{count} node" in run("show", name, *given).lines[0]


@pytest.mark.parametrize("command", ["validate", "show", "stats"])
def test_options_that_do_not_fit_the_format_take_one_line(run: Any, command: str) -> None:
    Path("b.obo").write_text(OBO)
    for source, option, message in (
        ("shop.yaml", "--obsolete", "format 'yaml' has no option 'obsolete'"),
        ("b.obo", "--scheme=x", "format 'obo' has no option 'scheme'"),
        ("b.obo", "--modifiers=none", "format 'obo' has no option 'modifiers'"),
        ("shop.yaml", "--relations=part_of", "format 'yaml' has no option 'relations'"),
    ):
        result = run(command, source, option)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert message in result.err


def test_ids_of_another_kind_take_one_line(run: Any) -> None:
    Path("b.ttl").write_text(SKOS)
    result = run("show", "b.ttl", "--ids", "label")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "ids must be one of auto, notation, name, iri, not 'label'" in result.err


# -- schema ----------------------------------------------------------------------------------------------------


def test_schema_is_a_json_schema(run: Any) -> None:
    import jsonschema

    schema = json.loads(run("schema").out)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    assert "nodes" in schema["properties"]
