from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from dags import rich_taxonomies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hclf import formats
from hclf.errors import TaxonomyError, UsageError
from hclf.formats import _draft, _files, _json, nodelink, paths, research, table
from hclf.taxonomy import Node, Rule, Taxonomy

GRAPH = Taxonomy("abcd", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def faults(path: Path, **options: Any) -> list[str]:
    """Every fault of a file, without the name of the file."""
    with pytest.raises(TaxonomyError) as caught:
        formats.read(path, **options)
    return [str(fault).replace(f"{path}:", "") for fault in caught.value.faults]


def edges(taxonomy: Taxonomy) -> set[str]:
    return {f"{parent}>{child}" for parent, child in taxonomy.edges()}


# -- table: one row a node -------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["node_id\tname\tparent_ids", "ID\tName\tParents", "\ufeffid\tname\tparent"])
def test_rows_of_nodes(tmp_path: Path, header: str) -> None:
    t = formats.read(put(tmp_path, "shop.tsv", f"{header}\na\tAll\t\nb\tBags\ta\r\n\nd\t\tb|c\nc\tCups\t a \n"))
    assert t.id == "shop"
    assert edges(t) == {"a>b", "b>d", "a>c", "c>d"}
    assert t.names == ("All", "Bags", "Cups", "d")
    assert t["d"].names == {}


def test_columns_of_every_kind(tmp_path: Path) -> None:
    header = "id,name,name:fr,parents,synonyms,synonyms:fr,description,assignable,valid_from,valid_to,Shelf"
    row = 'a,Cats,Chats,,"tom | puss",minou,"Small,\nfurry",no,2020-01-31,2021-12-31,7'
    t = formats.read(put(tmp_path, "t.csv", f"# a comment\n{header}\n{row}\nb,Dogs,,a,,,,,,,\n"))
    a = t["a"]
    assert (a.names, a.synonyms) == ({"": "Cats", "fr": "Chats"}, {"": ("tom", "puss"), "fr": ("minou",)})
    assert (a.description, a.assignable, a.meta) == ("Small,\nfurry", False, {"Shelf": "7"})
    assert (str(a.valid_from), str(a.valid_to)) == ("2020-01-31", "2021-12-31")
    assert t["b"] == Node("b", {"": "Dogs"})


def test_semicolons_and_a_given_delimiter(tmp_path: Path) -> None:
    assert edges(formats.read(put(tmp_path, "a.csv", "id;parents\na;\nb;a\n"))) == {"a>b"}
    path = put(tmp_path, "b.csv", "id^parents\na^\nb^a\n")
    assert edges(formats.read(path, "table", delimiter="^")) == {"a>b"}


def test_quotes_in_tab_separated_cells(tmp_path: Path) -> None:
    path = put(
        tmp_path, "t.tsv", 'id\tname\tparents\na\t6" x 9" Speakers\t\nb\t"5 inch" speakers\ta\nc\t"say ""hi"""\ta\n'
    )
    assert formats.read(path).names == ('6" x 9" Speakers', '"5 inch" speakers', 'say "hi"')


def test_gzip_by_suffix(tmp_path: Path) -> None:
    path = put(tmp_path, "shop.tsv.gz", gzip.compress(b"id\tparents\na\t\n"))
    assert (formats.read(path).nodes, formats.read(path).id) == (("a",), "shop")


def test_every_fault_of_a_table_has_its_line(tmp_path: Path) -> None:
    header = "id\tname\tparents\tassignable\tvalid_from\n"
    text = header + "a\t\t\tperhaps\t\nb\t\t\t\t2020-13-01\n\tx\t\t\t\nc\t\t\t\t\tz\nd > e\t\t\t\t\n"
    assert faults(put(tmp_path, "t.tsv", text)) == [
        "2: assignable must be true or false, not 'perhaps' [a]",
        "3: valid_from must be a date, YYYY-MM-DD, not '2020-13-01' [b]",
        "4: an empty id",
        "5: 6 cells, but the header has 5",
        "6: an id cannot contain ' > ', which separates the names of a path [d > e]",
    ]


def test_faults_of_the_graph_have_lines_too(tmp_path: Path) -> None:
    text = "id\tname\tparents\nroot\t\t\na\t\troot|a\nb\t\trot\nb\t\t\nx\t\ty\ny\t\tx\n"
    assert faults(put(tmp_path, "t.tsv", text)) == [
        "5: duplicate node id, first on line 4 [b]",
        "3: a node cannot be its own parent [a]",
        "4: unknown parent 'rot'; did you mean 'root'? [b]",
        "7: cycle: y -> x -> y",
    ]


def test_faults_of_the_header(tmp_path: Path) -> None:
    assert faults(put(tmp_path, "a.tsv", "id\tname\tparnts\na\tA\t\n")) == [
        "1: unknown column 'parnts'; did you mean 'parents' or 'parent'?"
    ]
    assert faults(put(tmp_path, "b.tsv", "id\tname\tnode_id\t\tparents\na\tA\t\n")) == [
        "1: two columns for id: column 3 repeats one",
        "1: column 4 has no name",
    ]
    (only,) = faults(put(tmp_path, "c.tsv", "weight\tcolour\tsize\n1\t2\t3\n"))
    assert only.startswith("1: not a table of nodes or edges: needs a header with 'id' and 'parents'")
    assert only.endswith("found 'weight', 'colour', 'size'")
    _, (warning,) = formats.check(put(tmp_path, "d.tsv", "id\tname\na\tA\n"))
    assert warning.message == "no column for parents: every node is a root"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.tsv", b"", "no nodes in this file"),
        ("a.tsv", b"id\tparents\n", "no nodes in this file"),
        ("a.tsv", b"id\tparents\na\0b\t\n", "2:2: a NUL byte: this is not a text file"),
        ("a.tsv", b"id\tparents\ncaf\xe9\t\n", "2:4: not UTF-8 (byte 0xe9); save the file as UTF-8"),
        ("a.tsv", "id\tparents\n".encode("utf-16"), "1: the file is UTF-16; save it as UTF-8"),
        ("a.tsv.gz", b"id\tparents\n", "damaged gzip file: Not a gzipped file (b'id')"),
        ("a.tsv.gz", gzip.compress(b"id\tparents\na\t\n" * 99, mtime=0)[:-9], "damaged gzip file: "),
        (
            "a.csv",
            b'id,parents\na,\n"b,\nc,\n',
            "3: not readable as CSV: unexpected end of data; is a quote left open?",
        ),
        (
            "a.csv",
            b'id,parents\n"' + b"x\n" * 99_999,
            # Which of the two depends on the csv module's limit, which reading records raises for the process.
            "2: not readable as CSV: ",
        ),
        ("a.csv", b'id,parents\na,"b"c\n', "2: not readable as CSV: "),
    ],
)
def test_files_that_are_not_tables(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (only,) = faults(put(tmp_path, name, content))
    assert only.removeprefix(" ").startswith(fault)
    assert formats.check(tmp_path / name)[0] is None


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert faults(tmp_path / "none.tsv") == [" No such file or directory"]
    assert faults(tmp_path, format="table") == [" Is a directory"]


def test_limits_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "a.tsv.gz", gzip.compress(b"id\tparents\n" + b"a\t\n" * 1000))
    monkeypatch.setattr(_files, "MAX_BYTES", 100)
    assert faults(path)[0] == "31: more than 100 bytes of text"
    monkeypatch.setattr(_files, "MAX_LINE_BYTES", 12)
    assert faults(put(tmp_path, "b.tsv", "id\tparents\tname\n")) == ["1: a line longer than 12 bytes"]


def test_a_file_of_another_kind_does_not_flood(tmp_path: Path) -> None:
    found = faults(put(tmp_path, "a.tsv", "id\tparents\n" + "a\tb\tc\n" * 5_000))
    assert len(found) == _draft.MAX_FAULTS + 1
    assert found[-1] == " more than 1,000 faults; the rest was not read"


# -- table: one row an edge ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["parent,child\na,b\n,a\nb,c\na,c\n", "a\tb\nb\tc\na\tc\n", "Parent_ID\tchild_id\nb\tc\na\tb|\na\tc\n"]
)
def test_rows_of_edges(tmp_path: Path, text: str) -> None:
    t = formats.read(put(tmp_path, "e.tsv" if "\t" in text else "e.csv", text.replace("b|", "b")))
    assert edges(t) == {"a>b", "b>c", "a>c"}
    assert all(t[node] == Node(node) for node in t)


def test_a_bare_id_and_parent_table_may_repeat_ids(tmp_path: Path) -> None:
    assert edges(formats.read(put(tmp_path, "e.tsv", "id\tparent\na\t\nb\t\nc\ta\nc\tb\n"))) == {"a>c", "b>c"}


def test_faults_of_edges(tmp_path: Path) -> None:
    assert faults(put(tmp_path, "e.tsv", "a\tb\nb\na\t\nb\ta\n")) == [
        "2: a row of an edge list needs parent and child; this one has 1 cells",
        "3: a row of an edge list needs parent and child; this one has 2 cells",
        "1: cycle: b -> a -> b",
    ]


# -- paths -----------------------------------------------------------------------------------------------------


def test_plain_paths_make_ids_of_names(tmp_path: Path) -> None:
    t = formats.read(
        put(
            tmp_path,
            "p.txt",
            "Home & Garden\nHome & Garden > Crème  Brûlée Sets\nToys\nToys > Sets\nHome & Garden > Sets\n",
        )
    )
    assert set(t) == {"home-garden", "home-garden/creme-brulee-sets", "home-garden/sets", "toys", "toys/sets"}
    assert t["toys/sets"].name == t["home-garden/sets"].name == "Sets"
    assert t["home-garden/creme-brulee-sets"].name == "Crème  Brûlée Sets"


def test_missing_lines_are_made_up(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, "p.txt", "A > B > C\n"))
    assert [(n, t[n].name) for n in t] == [("a", "A"), ("a/b", "B"), ("a/b/c", "C")]


@given(st.permutations(["A & B", "A B", "A-B", "a b > X", "A & B > X", "日本", "日本 > ペン", "!", "?"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_made_ids_do_not_depend_on_the_order_of_lines(tmp_path: Path, lines: list[str]) -> None:
    t = formats.read(put(tmp_path, "p.txt", "\n".join(lines)))
    assert {n: t[n].name for n in t} == {
        "a-b": "A & B",
        "a-b-2": "A B",
        "a-b-3": "A-B",
        "a-b-4": "a b",
        "a-b/x": "X",
        "a-b-4/x": "X",
        "日本": "日本",
        "日本/ペン": "ペン",
        "-": "!",
        "--2": "?",
    }


def test_google(tmp_path: Path) -> None:
    version = "# Google_Product_Taxonomy_Version: 2021-09-21\n"
    text = version + "1 - Animals\n3237 - Animals > Live\n9 - Animals > Deep > Gone\n"
    t = formats.read(put(tmp_path, "g.txt", text))
    assert (t.id, t.title, t.version) == ("google", "Google Product Taxonomy", "2021-09-21")
    assert edges(t) == {"1>3237", "1>1/deep", "1/deep>9"}


def test_shopify(tmp_path: Path) -> None:
    gid = "gid://shopify/TaxonomyCategory/"
    text = "# Shopify Product Taxonomy - Categories: 2025-08\n# Format: {GID} : …\n\n"
    text += f"{gid}ap     : Pets\n{gid}ap-1-1 : Pets > Live > Cats\n{gid}ap-1   : Pets > Live\n"
    t = formats.read(put(tmp_path, "s.txt", text))
    assert (t.id, t.version) == ("shopify", "2025-08")
    assert edges(t) == {"ap>ap-1", "ap-1>ap-1-1"}


def test_two_ids_of_one_path_are_two_nodes(tmp_path: Path) -> None:
    text = "x-1 : X > Teller\nx-2-1 : X > Teller > Tief\nx-2 : X > Teller\nx : X\n"
    path = put(tmp_path, "s.txt", text)
    t, (warning,) = formats.check(path)
    assert t is not None
    assert edges(t) == {"x>x-1", "x>x-2", "x-2>x-2-1"}
    assert str(warning) == f"{path}:3: warning: the same path as 'x-1' on line 1 [x-2]"
    path = put(tmp_path, "bad.txt", "1 : A\n2 : A\n3 : A > B\n")
    assert faults(path) == ["3: its path does not tell whether it lies under '1' or '2' [3]"]


def test_one_id_on_several_lines_has_several_parents(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, "s.txt", "a : A\nb : B\nx : A > X\nx : B > X\ny : B > X > Y\n"))
    assert edges(t) == {"a>x", "b>x", "x>y"}
    assert faults(put(tmp_path, "bad.txt", "a : A\na : B\n")) == ["2: another name on line 1 [a]"]


def test_separators(tmp_path: Path) -> None:
    assert edges(formats.read(put(tmp_path, "a.txt", "A\nA/B C\nA/B C/D\n"))) == {"a>a/b-c", "a/b-c>a/b-c/d"}
    assert formats.read(put(tmp_path, "b.txt", "Coats/Jackets\nShoes\n")).names == ("Coats/Jackets", "Shoes")
    assert edges(formats.read(put(tmp_path, "c.txt", "A::B\n"), separator="::")) == {"a>a/b"}


def test_faults_of_paths(tmp_path: Path) -> None:
    assert faults(put(tmp_path, "a.txt", "1 - A\n2 - A > \n3 - A >  > B\nno id\n4 - A > C\n5 - D\n")) == [
        "4: no id before the path, as the other lines have",
        "3: an empty name in the path",
    ]
    assert faults(put(tmp_path, "b.txt", " > ".join("x" * 200))) == ["1: a path of 200 names; at most 100 are read"]
    assert faults(put(tmp_path, "c.txt", "x" * 2000)) == ["1: an id made of this path would be longer than 1,000"]
    assert faults(put(tmp_path, "d.txt", "# only a comment\n")) == [" no nodes in this file"]


# -- level columns ---------------------------------------------------------------------------------------------


def test_level_columns_are_found(tmp_path: Path) -> None:
    t = formats.read(
        put(tmp_path, "l.csv", "Level 2,level 1,price\nCats,Animals,3\nDogs,Animals,\n,Plants,\nCats,Animals,\n")
    )
    assert edges(t) == {"animals>animals/cats", "animals>animals/dogs"}
    assert t.level_names == ()


def test_level_columns_by_name_with_ids(tmp_path: Path) -> None:
    path = put(tmp_path, "l.tsv", "id\tmaster\tarticle\n7\tShoes\tBoots\n\tShoes\tSocks\n")
    t = formats.read(path, levels="master, article")
    assert edges(t) == {"shoes>7", "shoes>shoes/socks"}
    assert t.level_names == ("master", "article")
    assert (
        formats.read(path, levels=["article"]).names == ("Socks", "Boots")
        or len(formats.read(path, levels=["article"])) == 2
    )


def test_faults_of_level_columns(tmp_path: Path) -> None:
    path = put(tmp_path, "l.csv", "level1,level2,level3\nA,,C\n,B,\nA,B,C\n")
    assert faults(path) == ["2: an empty name in the path", "3: an empty name in the path"]
    with pytest.raises(UsageError, match="no column 'levl1'; did you mean 'level1'"):
        formats.read(path, levels="levl1")
    (only,) = faults(put(tmp_path, "n.csv", "x,y\n1,2\n"), format="paths")
    assert only.startswith("1: no columns called level1, level2, …")


# -- JSON ------------------------------------------------------------------------------------------------------


def test_node_link_of_networkx(tmp_path: Path) -> None:
    graph = nx.DiGraph([(1, 2), (1, 3)], id="numbers", version=2)
    graph.nodes[1].update(name="One", colour="red")
    for key in ("edges", "links"):
        path = put(tmp_path, "g.json", json.dumps(nx.node_link_data(graph, edges=key)))
        t = formats.read(path)
        assert (t.id, t.version, edges(t)) == ("numbers", "2", {"1>2", "1>3"})
        assert t["1"] == Node("1", {"": "One"}, meta={"colour": "red"})


def test_networkx_reads_what_is_written(tmp_path: Path) -> None:
    formats.write(GRAPH, tmp_path / "g.json")
    graph = nx.node_link_graph(json.loads((tmp_path / "g.json").read_text()), edges="edges")
    assert set(graph.edges) == set(GRAPH.edges())


def test_node_link_keeps_everything(tmp_path: Path) -> None:
    rules = [Rule("excludes", "a", ("b",), "hard", 1, "never"), Rule("at_most", "a", k=3)]
    header = {"version": "1.10", "title": "T", "license": "L", "source": "S"}
    t = Taxonomy([Node("a", {"en": "A", "": "a!"}), "b"], level_names=["one"], rules=rules, id="i", **header)
    formats.write(t, tmp_path / "g.json.gz")
    back = formats.read(tmp_path / "g.json.gz")
    assert (back.fingerprint, back.header, back.level_names, back.rules) == (
        t.fingerprint,
        t.header,
        ("one",),
        t.rules,
    )


CATEGORIES = [
    {
        "id": "cat",
        "name": "Best",
        "path": [{"id": "cat", "name": "Best"}],
        "subCategories": [{"id": "a", "name": "Audio"}],
    },
    {
        "id": "b",
        "name": "Bags",
        "path": [{"id": "cat", "name": "Best"}, {"id": "b", "name": "Bags"}],
        "subCategories": [],
    },
    {"id": "c", "name": "Cases", "path": ["cat", "a"], "parents": ["b"], "colour": 5},
]


def test_category_list(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, "c.json", json.dumps(CATEGORIES)))
    assert edges(t) == {"cat>a", "cat>b", "a>c", "b>c"}
    assert t["a"] == Node("a", {"": "Audio"})
    assert t["c"].meta == {"colour": 5}


def test_nested_categories(tmp_path: Path) -> None:
    tree = {"id": 1, "name": "top", "children": [{"id": 2, "children": [{"id": 3}, 4]}, {"id": 4, "name": "four"}]}
    for value in (tree, [tree]):
        t = formats.read(put(tmp_path, "c.json", json.dumps(value)))
        assert edges(t) == {"1>2", "2>3", "2>4", "1>4"}
        assert t["4"].name == "four"


def test_open_food_facts_form_keeps_all_languages(tmp_path: Path) -> None:
    value = {
        "en:food": {
            "name": {"en": "Food", "fr": "Aliments", "de": None},
            "synonyms": {"en": ["Food", "eats"]},
            "children": ["en:tea", "en:gone"],
        },
        "en:tea": {
            "name": {"en": "Tea"},
            "synonyms": {"fr": ["thé"]},
            "parents": ["en:food"],
            "wikidata": {"en": "Q6097"},
        },
    }
    t, warnings = formats.check(put(tmp_path, "off.json", json.dumps(value)))
    assert t is not None
    assert edges(t) == {"en:food>en:tea"}
    assert t["en:food"] == Node("en:food", {"en": "Food", "fr": "Aliments"}, {"en": ("eats",)})
    assert t["en:tea"] == Node("en:tea", {"en": "Tea"}, {"fr": ("thé",)}, meta={"wikidata": {"en": "Q6097"}})
    assert [warning.message for warning in warnings] == [
        "an empty name in language 'de'",
        "child 'en:gone' is not a node; left out",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1:1: not JSON: Expecting value"),
        ('{"a": }', "1:7: not JSON: Expecting value"),
        ('{"nodes": [NaN]}', " not JSON: NaN is not a JSON value"),
        (r'["\ud83d\ude00", "\ud800"]', r" half a surrogate pair in a text: '\ud800'"),
        ("[" * 100_000, " JSON nested too deeply"),
        ("1" * 5000, " not JSON: Exceeds the limit"),
        ('"text"', " not a taxonomy in JSON; expected an object with 'nodes' and 'edges'"),
        ("{}", " not a taxonomy in JSON"),
        ("[]", " no nodes in this file"),
        ('{"nodes": []}', " no nodes in this file"),
        ('{"nodes": [{"name": "x"}]}', " nodes[0] has no id"),
        ('{"nodes": [true]}', " the id of nodes[0] must be text, not true"),
        ('{"nodes": [{"id": {"id": 1.5}}]}', " the id of nodes[0] must be text, not an object"),
        ('{"nodes": ["a"], "directed": false}', " the graph is undirected"),
        ('{"nodes": ["a"], "edges": [{"source": "a"}]}', " an end of edges[0] has no id"),
        ('{"nodes": ["a"], "edges": [["a"]]}', " edges[0] must have a source and a target"),
        ('{"nodes": ["a"], "edges": [["a", "b"]]}', " unknown child 'b' [a]"),
        ('{"nodes": ["a", "a"]}', " duplicate node id [a]"),
        ('[{"id": "a"}, {"id": "a"}]', " duplicate node id [a]"),
        ('{"a": {}, "a": {}}', " the key 'a' stands twice in one object"),
        ('[{"id": "a", "name": 5}]', " a name must be text, not a number [a]"),
        ('[{"id": "a", "synonyms": [5]}]', " synonyms must be texts [a]"),
        ('[{"id": "a", "assignable": "no"}]', " assignable must be true or false, not text [a]"),
        ('[{"id": "a", "valid_to": "soon"}]', " valid_to must be a date, YYYY-MM-DD [a]"),
        ('[{"id": "a", "meta": []}]', " no such"),
        ('[{"id": "a", "meta": [1]}]', " meta must be an object, not a list [a]"),
        ('{"nodes": ["a"], "graph": {"rules": [5]}}', " a rule must be an object, not a number"),
        (
            '{"nodes": ["a"], "graph": {"rules": [{"type": "exclude", "node": "a"}]}}',
            " unknown type of rule 'exclude'; did you mean 'excludes'?",
        ),
        (
            '{"nodes": ["a"], "graph": {"rules": [{"type": "at_most", "node": "a", "k": "2"}]}}',
            " a rule 'at_most' needs strength",
        ),
        (
            '{"nodes": ["a"], "graph": {"rules": [{"type": "at_most", "node": "b"}]}}',
            " unknown node in rule 'at_most' 'b'",
        ),
    ],
)
def test_faults_of_json(tmp_path: Path, text: str, fault: str) -> None:
    path = put(tmp_path, "x.json", text)
    if fault == " no such":  # an empty meta of any kind says nothing
        assert formats.read(path)["a"].meta == {}
        return
    assert faults(path)[0].startswith(fault)


def test_faults_take_a_line_each_whatever_ids_hold(tmp_path: Path) -> None:
    path = put(tmp_path, "x.json", json.dumps([{"id": "a\n b\x1b[1m"}, {"id": "x\n" * 100}]))
    message = " an id cannot contain control characters such as tabs or line ends"
    assert faults(path) == [f"{message} [a b [1m]", f"{message} [{'x ' * 40}…]"]
    path = put(tmp_path, "y.json", json.dumps([{"id": "c", "parents": ["d\re"]}]))
    assert faults(path) == [" unknown parent 'd e' [c]"]


# -- research --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["Root", "root", "ROOT"])
def test_research_drops_the_artificial_root(tmp_path: Path, root: str) -> None:
    t = formats.read(put(tmp_path, "x.taxonomy", f"{root}\ta\tb\t\na\tc\n\nb\tc\nb\td\n"))
    assert edges(t) == {"a>c", "b>c", "b>d"}


def test_research_without_artificial_root(tmp_path: Path) -> None:
    path = put(tmp_path, "x.taxonomy", "top\ta\nRoot\tb\na\tRoot\n")
    assert set(formats.read(path)) == {"top", "a", "Root", "b"}  # a "Root" with a parent is a node
    assert set(formats.read(path, root="top")) == {"a", "Root", "b"}
    assert set(formats.read(put(tmp_path, "y.taxonomy", "Root\ta\n"), root="")) == {"Root", "a"}


def test_faults_of_research(tmp_path: Path) -> None:
    assert faults(put(tmp_path, "x.taxonomy", "Root\ta\t\tb\n\ta\n")) == [
        "1: an empty name between tabs",
        "2: an empty name between tabs",
    ]
    assert faults(put(tmp_path, "y.taxonomy", "Root\ta\na\ta\n")) == ["1: a node cannot be its own parent [a]"]


# -- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["g.tsv", "g.csv", "g.tsv.gz", "g.txt", "g.json", "g.taxonomy"])
def test_every_writer_keeps_the_graph(tmp_path: Path, name: str) -> None:
    formats.write(GRAPH, tmp_path / name)
    back = formats.read(tmp_path / name)
    assert (back.nodes, edges(back)) == (GRAPH.nodes, edges(GRAPH))
    assert list(tmp_path.iterdir()) == [tmp_path / name]  # no partial file is left


def test_writing_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.tsv.gz", "b.tsv.gz"):
        formats.write(GRAPH, tmp_path / name)
    assert (tmp_path / "a.tsv.gz").read_bytes() == (tmp_path / "b.tsv.gz").read_bytes()


@given(rich_taxonomies(), st.sampled_from(["t.tsv", "t.csv", "t.json"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tables_and_json_keep_what_nodes_say(tmp_path: Path, t: Taxonomy, name: str) -> None:
    formats.write(t, tmp_path / name)
    back = formats.read(tmp_path / name)
    assert [back.node(j) for j in range(len(back))] == [t.node(j) for j in range(len(t))]
    assert back.fingerprint == t.fingerprint
    if name == "t.json":
        assert (back.header, back.level_names) == (t.header, t.level_names)
        assert formats.losses(t, back) == []


@given(rich_taxonomies())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_paths_keep_the_graph_or_refuse(tmp_path: Path, t: Taxonomy) -> None:
    try:
        formats.write(t, tmp_path / "t.txt")
    except TaxonomyError as error:
        refused = error.faults
    else:
        refused = ()
        back = formats.read(tmp_path / "t.txt")
        assert (back.nodes, edges(back)) == (t.nodes, edges(t))
    assert all(fault.message for fault in refused)


def test_paths_are_bare_where_ids_follow_from_them(tmp_path: Path) -> None:
    text = "Toys\nToys > Balls\n"
    t = formats.read(put(tmp_path, "p.txt", text))
    assert formats.dumps(t, "paths") == text
    assert formats.dumps(GRAPH, "paths").splitlines()[-2:] == ["d : a > b > d", "d : a > c > d"]


@pytest.mark.parametrize(
    ("taxonomy", "format", "fault"),
    [
        (Taxonomy(["a|b"]), "table", "an id with '|' cannot be written in this format; try YAML [a|b]"),
        (
            Taxonomy([Node("a", synonyms={"": ("x|y",)})]),
            "table",
            "a synonym with '|' cannot stand in a table; try YAML [a]",
        ),
        (Taxonomy([" a"]), "table", "an id with white space around it [ a]"),
        (Taxonomy(["a\tb"]), "research", "an id cannot contain control characters such as tabs or line ends [a b]"),
        (Taxonomy(["root"]), "research", "a node called 'Root' would be dropped when read again [root]"),
        (Taxonomy([Node("a", {"": "x > y"})]), "paths", "a name with ' > ' cannot stand in a path [a]"),
        (Taxonomy(["a b"]), "paths", "bare"),
        (
            Taxonomy([Node("a b", {"": "x"})]),
            "paths",
            "an id with spaces, or that begins with '#' or 'gid://', cannot stand in a path [a b]",
        ),
        (
            Taxonomy([Node("a", {"": "x"}), Node("b", {"": "x"}), "c"], [("a", "c")]),
            "paths",
            "the same path of names as 'a'; write a table instead [b]",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_refused(taxonomy: Taxonomy, format: str, fault: str) -> None:
    if fault == "bare":
        with pytest.raises(TaxonomyError, match="an id with spaces"):
            formats.dumps(taxonomy, format)
        return
    with pytest.raises(TaxonomyError) as caught:
        formats.dumps(taxonomy, format)
    assert fault in [str(f) for f in caught.value.faults]


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="cannot write: "):
        formats.write(GRAPH, tmp_path / "no" / "such" / "folder.tsv")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = put(tmp_path, "old.taxonomy", "Root\ta\n")
    with pytest.raises(TaxonomyError):
        formats.write(Taxonomy(["root"]), path)
    assert path.read_text() == "Root\ta\n"


# -- finding the format ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.yaml", "", "yaml"),
        ("a.YML.gz", "", "yaml"),
        ("a.tsv", "id\tparents\n", "table"),
        ("a.csv", "level1,level2\n", "paths"),
        ("a.csv", "id,parents,level1,level2\n", "table"),
        ("a.json", "", "nodelink"),
        ("a.taxonomy", "", "research"),
        ("a.txt", "A > B\n", "paths"),
        ("a.txt", "A\nB\n", "paths"),
        ("a", "Root\ta\tb\n", "research"),
        ("a", "id\tparents\nx\t\n", "table"),
        ("a", "level1\tlevel2\nx\ty\n", "paths"),
        ("a", "x\ty\tz\ny\tw\n", "research"),
        ("a", "# note\nhclf: 1\n", "yaml"),
        ("a", '\n{"nodes": []}', "nodelink"),
        ("a", '[\n {"id": 1}]', "nodelink"),
        ("a", "", "paths"),
    ],
)
def test_sniff(tmp_path: Path, name: str, text: str, format: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert formats.sniff(path) == format


def test_unknown_formats_and_options(tmp_path: Path) -> None:
    path = put(tmp_path, "a.tsv", "id\tparents\na\t\n")
    with pytest.raises(UsageError, match="unknown taxonomy format 'tabel'; did you mean 'table'"):
        formats.read(path, "tabel")
    with pytest.raises(UsageError, match="unknown taxonomy format 'owl'; choose from yaml, table"):
        formats.write(GRAPH, path, "owl")
    with pytest.raises(UsageError, match="format 'table' has no option 'delimter'; did you mean 'delimiter'"):
        formats.read(path, delimter=",")
    with pytest.raises(UsageError, match=r"cannot tell a format from the name 'x\.bin'"):
        formats.write(GRAPH, "x.bin")


@pytest.mark.parametrize("name", formats.READERS)
def test_every_registered_format_has_the_same_functions(name: str) -> None:
    for verb in ("read", "check"):
        assert callable(formats._resolve(formats.READERS, name, verb))
    for verb in ("write", "dumps") if name in formats.WRITERS else ():  # releases of others are only read
        assert callable(formats._resolve(formats.WRITERS, name, verb))


def test_what_can_be_written_can_be_read() -> None:
    assert formats.WRITERS.keys() <= formats.READERS.keys()


# -- losses ----------------------------------------------------------------------------------------------------


def test_losses_are_told() -> None:
    full = Taxonomy(
        [
            Node("a", {"en": "A", "fr": "B"}, {"": ("x", "y")}, "about", False, meta={"k": 1, "l": 2}),
            Node("b", {"fr": "C"}),
        ],
        [("a", "b")],
        rules=[Rule("at_most", "a")],
        level_names=["one"],
        version="1",
        title="T",
    )
    assert formats.losses(full, full) == []
    assert formats.losses(full, Taxonomy(["a", "b"])) == [
        "1 edge",
        "3 names in 2 languages (fr, en)",
        "2 synonyms",
        "1 description",
        "1 mark that a node cannot be assigned",
        "2 meta entries",
        "1 rule",
        "the names of the levels",
        "the taxonomy's version, title",
    ]
    assert formats.losses(full, Taxonomy(["a"]))[0] == "1 id (such as 'b')"


# -- any bytes -------------------------------------------------------------------------------------------------


def assert_taxonomy_or_faults(path: Path) -> None:
    """Reading gives a taxonomy or names the file in every fault; nothing else is ever raised."""
    try:
        taxonomy, found = formats.read(path), ()
    except TaxonomyError as error:
        taxonomy, found = None, error.faults
    assert (taxonomy is None) == bool(found)
    assert all(fault.file == str(path) and fault.message for fault in found)
    assert (formats.check(path)[0] is None) == (taxonomy is None)


@given(st.binary(max_size=200), st.sampled_from(["x.tsv", "x.csv", "x.txt", "x.json", "x.taxonomy", "x", "x.tsv.gz"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_taxonomy_or_a_clear_error(tmp_path: Path, content: bytes, name: str) -> None:
    assert_taxonomy_or_faults(put(tmp_path, name, content))


SEEDS = (
    ("x.tsv", 'id\tname\tparents\tsynonyms\na\t"A"\t\tx|y\nb\tB\ta|c\t\nc\t\ta\t\n'),
    ("x.csv", 'id,name,parents,assignable,valid_from\na,"A, b",,no,2020-01-01\nb,B,a,,\n'),
    ("x.csv", "level1,level2,id\nA,B,1\nA,,2\n"),
    ("x.txt", "1 - A\n2 - A > B\n3 - A > B > C\n"),
    ("x.txt", "g : A\nh : A > B\nh : C > B\n"),
    ("x.json", json.dumps(CATEGORIES)),
    (
        "x.json",
        '{"directed": true, "graph": {"rules": []}, "nodes": [{"id": "a", "name": {"en": "x"}}], "edges": []}',
    ),
    ("x.taxonomy", "Root\ta\tb\na\tc\n"),
)


@given(st.sampled_from(SEEDS), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
def test_damaged_files_give_a_taxonomy_or_a_clear_error(tmp_path: Path, seed: tuple[str, str], data: Any) -> None:
    name, text = seed
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=2)
            | st.sampled_from([b"\t", b"\n", b'"', b"|", b"{", b"]", b"null", b",", b" > ", b"a"])
        )
    assert_taxonomy_or_faults(put(tmp_path, name, bytes(content)))


def test_modules_agree_with_their_names() -> None:
    for module in (table, paths, nodelink, research):
        assert set(module.__all__) == {"check", "dumps", "read", "write"}
    assert _json.MAX_BYTES < _files.MAX_BYTES
