from __future__ import annotations

import datetime as dt
import gzip
import json
import logging
import random
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from dags import rich_taxonomies
from hypothesis import HealthCheck, given, settings
from mutations import mutations, reads_or_says_why
from typer.testing import CliRunner

from hclf import formats
from hclf.cli import app
from hclf.errors import MissingExtraError, TaxonomyError, UsageError
from hclf.formats.skos.concepts import _interval
from hclf.taxonomy import Node, Taxonomy

pytest.importorskip("rdflib")

PREFIXES = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix dct: <http://purl.org/dc/terms/> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix : <http://example.org/shop/> .
"""
SMALL = (
    PREFIXES
    + """
<http://example.org/shop> a skos:ConceptScheme ;
    dct:title "Une boutique"@fr, "A shop"@en ; owl:versionInfo "3" ; dct:license <https://example.org/license> .
:phones a skos:Concept ;
    skos:prefLabel "Phones"@en, "Téléphones"@fr ;
    skos:altLabel "mobiles"@en, "Phones"@en ; skos:hiddenLabel "fones"@en ;
    skos:inScheme <http://example.org/shop> ;
    skos:definition "For speaking."@en, "Pour parler."@fr ; skos:scopeNote "Not toys."@en ;
    skos:exactMatch <http://example.com/1> ; skos:related :cases .
:smart a skos:Concept ; skos:prefLabel "Smart phones" ; skos:broader :phones ;
    skos:topConceptOf <http://example.org/shop> ; dct:valid "2007-06-29/.." .
:cases a skos:Concept ; skos:prefLabel "Cases"@en ; skos:narrower :leather .
:leather a skos:Concept ; <http://www.w3.org/2000/01/rdf-schema#label> "Leather cases" .
:old%20ones a skos:Concept ; skos:prefLabel "Old ones" ; owl:deprecated true ; skos:broader :phones ;
    dct:isReplacedBy :smart .
"""
)


def put(folder: Path, text: str, name: str = "shop.ttl") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def read(folder: Path, turtle: str, **options: Any) -> Taxonomy:
    return formats.read(put(folder, PREFIXES + turtle), **options)


def messages(path: Path, **options: Any) -> list[str]:
    _, faults = formats.check(path, **options)
    return [str(fault).replace(f"{path}:", "").strip() for fault in faults]


# -- concepts --------------------------------------------------------------------------------------------------


def test_concepts_become_nodes(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL))
    assert t.nodes == ("cases", "phones", "leather", "smart")
    assert set(t.edges()) == {("phones", "smart"), ("cases", "leather")}
    assert (t.id, t.version, t.title) == ("shop", "3", "A shop")
    assert (t.license, t.source) == ("https://example.org/license", "http://example.org/shop")
    assert t["phones"] == Node(
        "phones",
        {"en": "Phones", "fr": "Téléphones"},
        {"en": ("mobiles", "fones")},
        "For speaking.",
        meta={
            "definition:fr": ["Pour parler."],
            "scopeNote:en": ["Not toys."],
            "exactMatch": ["http://example.com/1"],
            "related": ["cases"],
        },
    )
    assert t["smart"].valid_from == dt.date(2007, 6, 29)
    assert t["leather"].names == {"": "Leather cases"}


def test_deprecated_concepts_are_kept_on_demand(tmp_path: Path) -> None:
    t = formats.read(put(tmp_path, SMALL), obsolete=True)
    assert t["old ones"] == Node(
        "old ones", {"": "Old ones"}, assignable=False, meta={"replaced_by": ["smart"], "deprecated": True}
    )
    assert ("phones", "old ones") in set(t.edges())
    below = put(
        tmp_path, PREFIXES + ":a a skos:Concept ; owl:deprecated true .\n:b a skos:Concept ; skos:broader :a ."
    )
    assert messages(below) == ["6: warning: broader http://example.org/shop/a, which is deprecated: left out [b]"]


@pytest.mark.parametrize("scheme", ["http://example.org/one", "one", "Eins"])
def test_one_of_several_schemes(tmp_path: Path, scheme: str) -> None:
    text = """
<http://example.org/one> a skos:ConceptScheme ; skos:prefLabel "One"@en, "Eins"@de ; skos:hasTopConcept :a .
<http://example.org/two> a skos:ConceptScheme ; dct:title "Two" .
:a a skos:Concept .
:b a skos:Concept ; skos:broader :a, :c ; skos:inScheme <http://example.org/one>, <http://example.org/two> .
:c a skos:Concept ; skos:topConceptOf <http://example.org/two> .
"""
    one = read(tmp_path, text, scheme=scheme)
    assert (one.title, list(one.edges())) == ("One", [("a", "b")])
    path = tmp_path / "shop.ttl"
    assert messages(path, scheme=scheme) == []
    (warning,) = messages(path)
    assert warning.startswith("warning: 2 concept schemes are read as one (http://example.org/one, http")
    assert messages(path, scheme="thre")[0] == (
        "no concept scheme 'thre' in this file; it has http://example.org/one, http://example.org/two"
    )
    assert messages(path, scheme="Onee")[0] == "no concept scheme 'Onee' in this file; did you mean 'one'?"


def test_a_scheme_has_to_be_named_clearly(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        PREFIXES
        + """
<http://example.org/1> a skos:ConceptScheme ; dct:title "Tea" ; skos:hasTopConcept :a .
<http://example.org/2> a skos:ConceptScheme ; dct:title "Tea" .
:a a skos:Concept .
""",
    )
    assert messages(path, scheme="Tea")[0] == (
        "2 concept schemes are called 'Tea'; give the IRI of one (http://example.org/1, http://example.org/2)"
    )
    assert formats.read(path, scheme="1").nodes == ("a",)


def test_broader_said_in_every_way(tmp_path: Path) -> None:
    text = """
@prefix iso: <http://purl.org/iso25964/skos-thes#> .
:a a skos:Concept ; skos:narrower :b .
:b a skos:Concept .
:c a skos:Concept ; iso:broaderPartitive :b .
:d a skos:Concept ; skos:broaderTransitive :a, :b, :c .
:e a skos:Concept ; skos:broader :b ; skos:broaderTransitive :a .
:f a skos:Concept ; skos:broader <http://example.com/x> ; skos:broaderTransitive :c, :b .
"""
    t = read(tmp_path, text)
    assert set(t.edges()) == {("a", "b"), ("b", "c"), ("c", "d"), ("b", "e"), ("c", "f")}
    assert messages(tmp_path / "shop.ttl") == [
        "12: warning: broader http://example.com/x, which is not a concept of this file: left out [f]"
    ]


def test_labels_of_skos_xl_and_kinds_of_concepts_of_its_own(tmp_path: Path) -> None:
    text = """
@prefix xl: <http://www.w3.org/2008/05/skos-xl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
:Aisle rdfs:subClassOf skos:Concept .
:a a :Aisle ; xl:prefLabel [ xl:literalForm "Tea"@en ] ; xl:altLabel :l .
:l a xl:Label ; xl:literalForm "brew"@en .
"""
    assert read(tmp_path, text)["a"] == Node("a", {"en": "Tea"}, {"en": ("brew",)})


def test_labels_of_skos_xl_are_in_the_same_order_each_time(tmp_path: Path) -> None:
    labels = " , ".join(f'[ xl:literalForm "{text}"@{language} ]' for text in "badc" for language in ("fr", "en"))
    text = f"@prefix xl: <http://www.w3.org/2008/05/skos-xl#> .\n:a a skos:Concept ; xl:altLabel {labels} ."
    synonyms = read(tmp_path, text)["a"].synonyms
    assert list(synonyms.items()) == [("en", ("a", "b", "c", "d")), ("fr", ("a", "b", "c", "d"))]


def test_a_second_preferred_label_is_a_synonym(tmp_path: Path) -> None:
    t = read(tmp_path, ':a a skos:Concept ; skos:prefLabel "Y"@en, "X"@en, "Z" .')
    assert t["a"] == Node("a", {"": "Z", "en": "X"}, {"en": ("Y",)})
    assert messages(tmp_path / "shop.ttl") == [
        "5: warning: 2 preferred labels in language 'en'; the first is the name [a]"
    ]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2020-01-01/2021-12-31", (dt.date(2020, 1, 1), dt.date(2021, 12, 31))),
        ("2020-01-01/..", (dt.date(2020, 1, 1), None)),
        ("/2021-12-31", (None, dt.date(2021, 12, 31))),
        ("start=2020-01-01; end=2021-12-31; scheme=W3C-DTF;", (dt.date(2020, 1, 1), dt.date(2021, 12, 31))),
        ("name=x; end=2021-12-31", (None, dt.date(2021, 12, 31))),
        ("2020-01-01", None),
        ("2020-13-01/..", None),
        ("soon", None),
        ("a/b/c", None),
    ],
)
def test_periods(text: str, days: tuple[dt.date | None, dt.date | None] | None) -> None:
    assert _interval(text) == days


def test_days_of_validity(tmp_path: Path) -> None:
    text = """
@prefix eu: <http://publications.europa.eu/ontology/euvoc#> .
@prefix x: <http://www.w3.org/2001/XMLSchema#> .
:a a skos:Concept ; eu:startDate "2020-01-01"^^x:date ; eu:endDate "2021-01-01"^^x:date .
:b a skos:Concept ; dct:valid "2020-13-45"^^x:date .
"""
    t = read(tmp_path, text)
    assert (t["a"].valid_from, t["a"].valid_to) == (dt.date(2020, 1, 1), dt.date(2021, 1, 1))
    assert t["b"].meta == {"valid": "2020-13-45"}
    assert messages(tmp_path / "shop.ttl") == ["9: warning: dcterms:valid '2020-13-45' is no period of days"]


# -- ids -------------------------------------------------------------------------------------------------------


def test_ids_by_notation_name_or_iri(tmp_path: Path) -> None:
    text = ':a a skos:Concept ; skos:notation "1.1" .\n<http://x.org/y/b> a skos:Concept ; skos:notation "1" .'
    assert read(tmp_path, text).nodes == ("1", "1.1")
    assert read(tmp_path, text, ids="name").nodes == ("a", "b")
    assert read(tmp_path, text, ids="name")["a"].meta == {"notation": "1.1"}
    assert read(tmp_path, text, ids="iri").nodes == ("http://example.org/shop/a", "http://x.org/y/b")
    with pytest.raises(UsageError, match="ids must be one of auto, notation, name, iri, not 'x'"):
        read(tmp_path, text, ids="x")


def test_ids_that_are_missing_or_shared(tmp_path: Path) -> None:
    text = ':a a skos:Concept ; skos:notation "1", "2" .\n<http://x.org/y/a> a skos:Concept .\n:b a skos:Concept.\n'
    assert read(tmp_path, text).nodes == (
        "http://example.org/shop/a",
        "http://example.org/shop/b",
        "http://x.org/y/a",
    )
    path = tmp_path / "shop.ttl"
    assert messages(path, ids="name") == ["6: duplicate node id, first on line 5 [a]"]
    assert messages(path, ids="notation") == [
        "5: http://example.org/shop/a has no notation, or several",
        "6: http://x.org/y/a has no notation, or several",
        "7: http://example.org/shop/b has no notation, or several",
    ]
    blank = put(tmp_path, PREFIXES + "[] a skos:Concept .")
    assert messages(blank) == ["a blank node has nothing that could be its id"]


# -- syntaxes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["ttl", "nt", "rdf", "xml", "owl", "jsonld", "ttl.gz", "rdf.gz"])
def test_every_syntax_says_the_same(tmp_path: Path, suffix: str) -> None:
    t = formats.read(put(tmp_path, SMALL))
    path = tmp_path / f"shop.{suffix}"
    formats.write(t, path, "skos")
    assert formats.sniff(path) == "skos"
    again = formats.read(path)
    assert [what for what in formats.losses(t, again) if "taxonomy's" not in what] == []
    assert [again[node].synonyms for node in t] == [
        {k: tuple(sorted(v)) for k, v in t[node].synonyms.items()} for node in t
    ]


SKOS = "http://www.w3.org/2004/02/skos/core#"
RDF = f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:skos="{SKOS}">\n'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.ttl", PREFIXES + ":a a skos:Concept\n:b a skos:Concept .", "6: not Turtle: expected '.' or"),
        ("a.ttl", PREFIXES + ':a skos:prefLabel "x\n" .', "5: not Turtle: newline found in string literal"),
        ("a.ttl", ":a a skos:Concept .", "1: not Turtle: Prefix "),
        ("a.ttl", "", "no skos:Concept in this file"),
        (
            "a.nt",
            "<http://a/a> <http://a/b> <http://a/c> .\n<http://a/b> foo .\n",
            "2: not N-Triples: cannot read 'foo .'",
        ),
        ("a.rdf", RDF + '<skos:Concept rdf:about="a" rdf:ID="q"/></rdf:RDF>', "2: not RDF/XML: Can have at most one"),
        ("a.rdf", RDF + "</rdf:RDFF>", "2:3: not well-formed XML: mismatched tag"),
        ("a.rdf", '<!DOCTYPE x [<!ENTITY a "b">]>\n' + RDF + "</rdf:RDF>", "1: a document type declaration"),
        (
            "a.rdf",
            '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x">\n' + RDF + "</rdf:RDF>",
            "1: a document type declaration",
        ),
        ("a.jsonld", "[1", "1:3: not JSON: Expecting ',' delimiter"),
        ("a.jsonld", "[" * 100_000, "JSON nested too deeply"),
        ("a.jsonld", '{"@context": {"skos": 3, "@vocab": []}, "@graph": [{"@id": {}}, {"@type": 4}]}', "no"),
    ],
)
def test_files_that_are_broken(tmp_path: Path, name: str, text: str, said: str) -> None:
    (only,) = messages(put(tmp_path, text, name), format="skos")
    assert only.startswith(said)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.ttl", PREFIXES + "<#a> a skos:Concept ; skos:broader <#a> .", 5),
        ("a.nt", f"<http://x/a> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <{SKOS}Concept> .\n"
                 f"<http://x/a> <{SKOS}broader> <http://x/a> .", 1),
        ("a.rdf", RDF + '<skos:Concept rdf:about="#a"><skos:broader rdf:resource="#a"/></skos:Concept></rdf:RDF>', 2),
        ("a.jsonld", f'{{"@context": {{"skos": "{SKOS}"}},\n"@id": "a", "@type": "skos:Concept",\n'
                     '"skos:broader": {"@id": "a"}}', 2),
    ],
)  # fmt: skip
def test_faults_have_lines_where_the_subject_stands(tmp_path: Path, name: str, text: str, line: int) -> None:
    assert messages(put(tmp_path, text, name)) == [f"{line}: a node cannot be its own parent [a]"]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note every attempt to connect anywhere, and refuse it."""
    tried: list[Any] = []

    def refuse(_self: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: tried.append(args) or [])
    return tried


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ('"http://example.org/c.jsonld"', "http://example.org/c.jsonld"),
        ('[{"a": "http://x.org/a"}, "c.jsonld"]', "c.jsonld"),
        ('{"@import": "file:///etc/passwd"}', "file:///etc/passwd"),
        ('{"a": {"@id": "http://x.org/a", "@context": "scoped.jsonld"}}', "scoped.jsonld"),
        ('[["deep.jsonld"]]', "deep.jsonld"),
        ('""', ""),
    ],
)
def test_contexts_are_never_fetched(tmp_path: Path, no_network: list[Any], context: str, said: str) -> None:
    path = put(tmp_path, f'{{"@context": {context}, "@id": "x", "@type": "a"}}', "a.jsonld")
    assert messages(path) == [f"the JSON-LD context {said!r} would have to be fetched; put the context itself here"]
    assert not no_network


def test_imports_are_never_fetched(tmp_path: Path, no_network: list[Any]) -> None:
    text = "<> a owl:Ontology ; owl:imports <http://example.org/other> .\n:a a skos:Concept ."
    assert read(tmp_path, text).nodes == ("a",)
    assert not no_network


def test_rdflib_prints_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = ':a a skos:Concept ; dct:valid "no"^^<http://www.w3.org/2001/XMLSchema#date> ; skos:exactMatch <a b> .'
    with caplog.at_level(logging.DEBUG):
        assert read(tmp_path, text).nodes == ("a",)
    assert not caplog.records


def test_without_rdflib_the_pip_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, SMALL)
    monkeypatch.setitem(sys.modules, "rdflib", None)
    for call in (
        lambda: formats.read(path),
        lambda: formats.check(path),
        lambda: formats.write(Taxonomy(["a"]), tmp_path / "new.ttl"),
        lambda: formats.dumps(Taxonomy(["a"]), "skos"),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'hclf\[skos\]'"):
            call()
    assert not (tmp_path / "new.ttl").exists()
    result = CliRunner().invoke(app, ["taxonomy", "validate", str(path)])
    assert isinstance(result.exception, MissingExtraError)


# -- writing ---------------------------------------------------------------------------------------------------


def test_what_is_written(tmp_path: Path) -> None:
    t = Taxonomy(
        [
            Node("a b", {"en": 'say "x"'}, valid_to=dt.date(2020, 1, 2)),
            Node("c", meta={"closeMatch": ["a b", "x:1", "?"]}),
        ],
        [("a b", "c")],
        id="x y",
        title="Title",
    )
    said = formats.dumps(t, "skos")
    assert "@prefix : <urn:x-hclf:x%20y#> ." in said
    assert 'skos:prefLabel "say \\"x\\""@en' in said
    assert 'dcterms:valid "../2020-01-02"' in said
    again = formats.read(put(tmp_path, said))
    assert again["c"].meta == {"closeMatch": ["a b", "x:1"]}
    assert formats.losses(t, again) == ["1 meta entry"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(rich_taxonomies())
def test_any_taxonomy_reads_back_but_for_what_skos_has_no_place_for(tmp_path: Path, taxonomy: Taxonomy) -> None:
    for name in ("t.ttl", "t.nt"):
        formats.write(taxonomy, tmp_path / name)
        again = formats.read(tmp_path / name)
        assert again.nodes == taxonomy.nodes
        assert set(again.edges()) == set(taxonomy.edges())
        for node in taxonomy:
            old, new = taxonomy[node], again[node]
            assert (new.names, new.description) == (old.names, old.description)
            assert new.synonyms == {k: tuple(sorted(v)) for k, v in old.synonyms.items()}
            assert (new.valid_from, new.valid_to) == (old.valid_from, old.valid_to)


def test_languages_that_rdf_cannot_state_are_refused(tmp_path: Path) -> None:
    t = Taxonomy([Node("a", {"zh_CN": "x"}), Node("b", {"en-GB": "y"})])
    with pytest.raises(TaxonomyError, match=r"'zh_CN' is not a language that RDF could state \[a\]"):
        formats.write(t, tmp_path / "t.ttl")
    assert not (tmp_path / "t.ttl").exists()


@pytest.mark.parametrize("suffix", ["ttl", "nt", "rdf", "jsonld"])
def test_mutated_files_give_a_taxonomy_or_an_error(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(suffix)
    path = tmp_path / f"mutated.{suffix}"
    formats.write(formats.read(put(tmp_path, SMALL)), path)
    source = path.read_bytes()
    pieces = [b"<", b">", b'"', b"\\", b"{", b"}", b"@", b".", b"\n", b"\0", b"\xff", b"[", b"]", b"&x;", b"_:a"]
    for raw in mutations(chance, source, pieces, number=60):
        assert reads_or_says_why(path, raw, "skos")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLF_CACHE", "0")
    path, out = put(tmp_path, SMALL), tmp_path / "out.json"
    run = CliRunner().invoke
    for command in ("validate", "show", "stats"):
        assert run(app, ["taxonomy", command, str(path)]).exit_code == 0
    for target in (out, tmp_path / "back.ttl"):
        result = run(app, ["taxonomy", "convert", str(path), str(target)])
        assert result.exit_code == 0, result.output
    assert formats.read(out) == formats.read(path)
    assert json.loads(run(app, ["taxonomy", "stats", str(path), "--json"]).stdout)["nodes"] == 4
