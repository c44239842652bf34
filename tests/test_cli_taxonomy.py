from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hclf import formats
from hclf.cli import main, tree
from hclf.taxonomy import Node, Taxonomy

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


# -- schema ----------------------------------------------------------------------------------------------------


def test_schema_is_a_json_schema(run: Any) -> None:
    import jsonschema

    schema = json.loads(run("schema").out)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    assert "nodes" in schema["properties"]
