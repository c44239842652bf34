"""Phrase files: entries to phrases, cross references, codes, plain lists, and what becomes of them in a taxonomy."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from dags import dags
from hypothesis import given
from hypothesis import strategies as st
from test_cli import fails, ok

from hclf import formats
from hclf.errors import TaxonomyError, UsageError
from hclf.formats import phrases
from hclf.formats.phrases import Phrase, Tally, add_phrases, longest_known_prefix, read, same_words, sniff
from hclf.formats.phrases.entries import Entry, from_table, from_xml
from hclf.formats.phrases.outline import Outline
from hclf.formats.phrases.outline import forms as forms_of
from hclf.taxonomy import Node, Rule, Taxonomy

INDEX = """
<ICD10CM.index>
  <version>2030</version>
  <letter>
    <title>S</title>
    <mainTerm>
      <title>Scratch, scratched, scratches<nemod>(minor) (of paint)</nemod></title>
      <code>A01.9</code>
      <term level="1">
        <title>arm NEC</title>
        <code>A01.1-</code>
        <term level="2"><title>left</title><code>A01.11</code></term>
        <term level="2"><title>right<nemod>(outer)</nemod> side</title><code>A01.12</code></term>
      </term>
      <term level="1"><title>in rust</title><code>A09</code><manif>[B01.2]</manif></term>
      <term level="1"><title>hull</title><see>Dent, deep</see></term>
      <term level="1"><title>lid</title><see>Scratches, arm</see></term>
      <term level="1"><title>lost</title><see>condition</see></term>
      <term level="1"><title>noted</title><seeAlso>Dent</seeAlso></term>
      <term level="1"><title>specified part</title><see>Scratch, by part</see></term>
      <term level="1"><title>unspecified part</title><see>Scratch, by part</see></term>
      <term level="1"><title>wheel</title><subcat>A02.3</subcat></term>
    </mainTerm>
    <mainTerm><title>Dent, pressed</title>
      <term level="1"><title>deep</title><see>Dent, round</see></term>
      <term level="1"><title>round</title><code>A03</code></term>
    </mainTerm>
    <mainTerm><title>Loop</title><see>Circle</see></mainTerm>
    <mainTerm><title>Circle</title><see>Loop</see></mainTerm>
    <mainTerm><title>Rustoma</title><see>Neoplasm, leg, benign</see></mainTerm>
  </letter>
</ICD10CM.index>
"""
ROWS = """RowID,Letter,Level,Term,See,SeeAlso,NonEssModif,Code
1,S,0,"Scratch, scratched, scratches",,,(minor) (of paint),A01.9
2,S,1,arm NEC,,,,A01.1-
3,S,2,left,,,,A01.11
4,S,1,hull,"Dent, deep",,,
5,D,0,"Dent, pressed",,,,
6,D,1,deep,"Dent, round",,,
7,D,1,round,,,,A03
"""
TABLE = """
<ICD10CM.index>
  <version>2030</version>
  <indexHeading><head col="1">{head}</head><head col="2">…</head></indexHeading>
  <letter><title>N</title>{rows}</letter>
</ICD10CM.index>
"""
NEOPLASMS = TABLE.format(
    head="Neoplasm",
    rows="""
    <mainTerm><title>Neoplasm, neoplastic</title><cell col="2">C80.1</cell><cell col="5">D36.9</cell>
      <term level="1"><title>arm</title><see>Neoplasm, leg</see></term>
      <term level="1"><title>leg, legs</title>
        <cell col="2">C40.-</cell><cell col="3">C79.8-</cell><cell col="4">-</cell><cell col="5">D16.2</cell>
        <cell col="6">D48.0</cell><cell col="7">D49.2</cell></term>
    </mainTerm>""",
)
DRUGS = TABLE.format(
    head="Substance",
    rows="""
    <mainTerm><title>Oil<nemod>(thick)</nemod></title>
      <cell col="2">T01.1</cell><cell col="3">T01.2</cell><cell col="4">T01.3</cell><cell col="5">T01.4</cell>
      <cell col="6">--</cell><cell col="7">--</cell>
    </mainTerm>
    <mainTerm><title>Grease</title><seeAlso>Oil</seeAlso></mainTerm>""",
)


def save(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text.lstrip("\n"), "utf-8")
    return path


def said(found, source=None):
    return [(phrase.node, phrase.text) for phrase in found if source in (None, phrase.source)]


# -- an index --------------------------------------------------------------------------------------------------


def test_an_entry_is_the_terms_that_lead_to_it(tmp_path):
    found = read(save(tmp_path, "index.xml", INDEX), see=False)
    assert said(found) == [
        ("A01.9", "Scratch, scratched, scratches"),
        ("A01.1", "Scratch, scratched, scratches, arm NEC"),
        ("A01.11", "Scratch, scratched, scratches, arm NEC, left"),
        ("A01.12", "Scratch, scratched, scratches, arm NEC, right side"),
        ("A09", "Scratch, scratched, scratches, in rust"),
        ("B01.2", "Scratch, scratched, scratches, in rust"),
        ("A03", "Dent, pressed, round"),
    ]
    assert {phrase.language for phrase in found} == {"en"}
    assert Counter(phrase.source for phrase in found) == {"index": 6, "index manifestation": 1}


def test_cross_references_take_the_code_of_what_they_name(tmp_path):
    tally = Tally()
    found = read(save(tmp_path, "index.xml", INDEX), tally=tally)
    assert said(found, "index see") == [
        ("A03", "Scratch, scratched, scratches, hull"),  # by way of "Dent, deep", which refers to "Dent, round"
        ("A01.1", "Scratch, scratched, scratches, lid"),
        ("A01.9", "Scratch, scratched, scratches, unspecified part"),
        ("A02.3", "Scratch, scratched, scratches, wheel"),
        ("A03", "Dent, pressed, deep"),
    ]
    assert tally.entries == 18
    assert tally.phrases == {"index": 6, "index see": 5, "index manifestation": 1}
    assert tally.unresolved == {
        "condition": 1,
        "Scratch, by part": 1,
        "Circle": 1,
        "Loop": 1,
        "Neoplasm, leg, benign": 1,
    }


def test_references_to_the_neoplasm_table_are_followed_where_it_is_at_hand(tmp_path):
    index, table = save(tmp_path, "index.xml", INDEX), save(tmp_path, "neoplasms.xml", NEOPLASMS)
    found = read(index, neoplasms=table)
    assert [phrase for phrase in found if phrase.text == "Rustoma"] == [Phrase("D16.2", "Rustoma", "en", "index see")]


@pytest.mark.parametrize(
    ("reference", "node"),
    [
        ("Neoplasm, leg, malignant", "C40"),
        ("Neoplasm,  legs,  secondary", "C79.8"),
        ("Neoplasm, malignant, secondary, leg", "C79.8"),
        ("Neoplasm, leg, in situ", ""),
        ("Neoplasm, leg", ""),
        ("Neoplasm, ear, benign", ""),
        ("Neoplasm, malignant, by site", "C80.1"),
    ],
)
def test_what_a_reference_to_the_neoplasm_table_names(tmp_path, reference, node):
    listed = list(from_xml(save(tmp_path, "neoplasms.xml", NEOPLASMS), "neoplasms"))
    assert Outline(listed).neoplasm(reference) == node


def test_forms_of_terms_by_themselves(tmp_path):
    texts = [p.text for p in read(save(tmp_path, "index.xml", INDEX), see=False, forms=True) if p.node == "A01.11"]
    assert texts == [
        "Scratch, scratched, scratches, arm NEC, left",
        "Scratch, arm, left",
        "scratched, arm, left",
        "scratches, arm, left",
    ]


def test_forms_are_limited():
    many = Entry(1, 0, "Ring, rings, ringed, ringing", "", "", ("A",))
    path = [many, many._replace(level=1), many._replace(level=2)]
    assert len(list(phrases.release.spoken(path))) == phrases.outline.MOST_FORMS


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Virus, viral", ("Virus", "viral")),
        ("hip, left", ("hip, left",)),
        ("Ulcer NEC", ("Ulcer",)),
        ("NEC", ("",)),
        ("due to, caused by", ("due to, caused by",)),
        ("Pain, painful, severe", ("Pain, painful, severe",)),
    ],
)
def test_what_counts_as_forms_of_one_term(title, expected):
    assert forms_of(title) == expected


def test_a_term_of_which_a_table_has_only_the_modifier_is_not_the_one_above_it(tmp_path):
    rows = ROWS + "8,P,0,Pain,,,,R52\n9,P,1,,,,(gastro),A04\n"
    assert read(save(tmp_path, "a.csv", rows))[-1] == Phrase("A04", "Pain, gastro", "en", "index")


def test_modifiers_are_a_second_form(tmp_path):
    found = read(save(tmp_path, "index.xml", INDEX), see=False, modifiers=True)
    assert [phrase.text for phrase in found if phrase.node == "A01.12"] == [
        "Scratch, scratched, scratches, arm NEC, right side",
        "Scratch, scratched, scratches (minor) (of paint), arm NEC, right side (outer)",
    ]
    assert [phrase.text for phrase in found if phrase.node == "A03"] == ["Dent, pressed, round"]


def test_a_table_made_of_the_index_says_the_same(tmp_path):
    rows = read(save(tmp_path, "index.csv.gz", ROWS))
    whole = read(save(tmp_path, "index.xml", INDEX))
    assert [row for row in rows if row not in whole] == []
    assert said(rows) == [
        ("A01.9", "Scratch, scratched, scratches"),
        ("A01.1", "Scratch, scratched, scratches, arm NEC"),
        ("A01.11", "Scratch, scratched, scratches, arm NEC, left"),
        ("A03", "Scratch, scratched, scratches, hull"),
        ("A03", "Dent, pressed, deep"),
        ("A03", "Dent, pressed, round"),
    ]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_paths_follow_levels(steps):
    level, levels = 0, []
    for step in steps:
        level = min(step, level + 1) if levels else 0
        levels.append(level)
    outline = Outline([Entry(i, level, f"t{i}", "", "", ("",)) for i, level in enumerate(levels)])
    for i, level in enumerate(levels):
        path = [entry.line for entry in outline.path(i)]
        expected = [max(j for j in range(i + 1) if levels[j] == up) for up in range(level + 1)]
        assert path == expected
        assert outline.find(", ".join(f"t{j}" for j in path)) == i


# -- tables of codes -------------------------------------------------------------------------------------------


def test_columns_of_the_neoplasm_table_are_worded(tmp_path):
    found = read(save(tmp_path, "neoplasms.xml", NEOPLASMS))
    assert said(found, "neoplasms") == [
        ("C80.1", "malignant neoplasm"),
        ("C80.1", "primary malignant neoplasm"),
        ("D36.9", "benign neoplasm"),
        ("C40", "malignant neoplasm of leg, legs"),
        ("C40", "primary malignant neoplasm of leg, legs"),
        ("C79.8", "secondary malignant neoplasm of leg, legs"),
        ("D16.2", "benign neoplasm of leg, legs"),
        ("D48.0", "neoplasm of uncertain behavior of leg, legs"),
        ("D49.2", "neoplasm of unspecified behavior of leg, legs"),
    ]
    assert ("D16.2", "benign neoplasm of arm") in said(found, "neoplasms see")


def test_columns_of_the_drug_table_are_worded(tmp_path):
    found = read(save(tmp_path, "drugs.xml", DRUGS))
    assert said(found, "drugs") == [
        ("T01.1", "poisoning by Oil"),
        ("T01.1", "poisoning by Oil, accidental"),
        ("T01.2", "poisoning by Oil, intentional self-harm"),
        ("T01.3", "poisoning by Oil, assault"),
        ("T01.4", "poisoning by Oil, undetermined"),
    ]
    assert ("T01.3", "poisoning by Grease, assault") in said(found, "drugs see")


# -- plain lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "code\tphrase\tlanguage\nA1\tgrüner  Tee\tde\nB2\ttea\t\n"),
        ("a.csv", "Node,Text,Lang\nA1,grüner Tee,de\nB2,tea,\n"),
        ("a.csv.gz", "node;phrase;language\nA1;grüner Tee;de\nB2;tea;\n"),
        ("a.jsonl", '{"node": "A1", "phrase": "grüner Tee", "language": "de"}\n\n{"id": "B2", "text": "tea"}\n'),
        ("a.jsonl.gz", '{"code": "A1", "term": "grüner Tee", "lang": "de"}\n{"node": "B2", "synonym": "tea"}\n'),
    ],
)
def test_plain_lists(tmp_path, name, text):
    assert read(save(tmp_path, name, text)) == [
        Phrase("A1", "grüner Tee", "de", "table"),
        Phrase("B2", "tea", "", "table"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "code\tlanguage\nA1\tde\n", "a.tsv:1: no table of phrases"),
        ("a.tsv", "code\tphrase\nA1\tx\n\ty\n", "a.tsv:3: no node in this row"),
        ("a.tsv", "code\tphrase\nA1\n", "a.tsv:2: no phrase in this row"),
        ("a.tsv", "code\tphrase\nA1\tx\ty\tz\n", "a.tsv:2: 4 cells, but the header has 2"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: a row must be a JSON object"),
        ("a.jsonl", '{"node": "a"', "a.jsonl:1: not JSON"),
        (
            "a.jsonl",
            '{"node": "a", "phrases": "b"}',
            "a.jsonl:1: no column 'phrase' or 'text'; did you mean 'phrases'",
        ),
        ("a.jsonl", '{"node": "a", "text": null}', "a.jsonl:1: no phrase in this row"),
        ("a.xml", "<claml/>", "outermost element is not <ICD10CM.index>"),
        ("a.xml", "<ICD10CM.index><mainTerm><code>A</code></mainTerm></ICD10CM.index>", "without a <title>"),
        ("a.csv", ROWS.replace("1,S,0", "1,S,x"), "the level is 'x', not a number"),
        ("a.csv", ROWS + "8,D\n", "2 cells, but the header has 8"),
        ("a.jsonl", '{"node": ["a"], "text": "b"}', "a.jsonl:1: 'node' must be a text"),
        ("a.jsonl", '{"node": "a", "text": true}', "a.jsonl:1: 'text' must be a text"),
        ("a.csv", ROWS.replace("1,S,0", f"1,S,{'1' * 5000}"), "not a number"),
        ("a.csv", "Level,Term,Code\n0,,A00\n", "a.csv:2: an entry without a term"),
        ("a.xml", "<ICD10CM.index><mainTerm><title/></mainTerm></ICD10CM.index>", "an entry without a term"),
        ("none.tsv", None, "No such file"),
    ],
)
def test_faults_carry_file_and_line(tmp_path, name, text, message):
    path = tmp_path / name if text is None else save(tmp_path, name, text)
    with pytest.raises(TaxonomyError) as raised:
        read(path)
    assert message in str(raised.value)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'neoplasms'"):
        read(save(tmp_path, "a.xml", INDEX), "neoplasm")


def test_an_empty_list_has_no_phrases(tmp_path):
    assert read(save(tmp_path, "a.tsv", "code\tphrase\n")) == read(save(tmp_path, "a.jsonl", "")) == []


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.xml", INDEX, "index"),
        ("b.xml", NEOPLASMS, "neoplasms"),
        ("c.xml", DRUGS, "drugs"),
        ("d.csv", ROWS, "index"),
        ("e.tsv", "code\ttext\n", "table"),
        ("f.ndjson", "", "table"),
    ],
)
def test_kinds_are_found_out(tmp_path, name, text, kind):
    assert sniff(save(tmp_path, name, text)) == kind


# -- into a taxonomy -------------------------------------------------------------------------------------------


def test_phrases_become_synonyms():
    before = Taxonomy(
        [Node("A", {"": "Tea"}, {"": ("cuppa",)}), "A.1", "B"],
        [("A", "A.1")],
        id="drinks",
        level_names=("kind",),
        rules=[Rule("excludes", "A", ("B",))],
    )
    tally = Tally()
    after = add_phrases(
        before,
        [
            Phrase("A", "TEA!", "en"),  # its name
            Phrase("A", "Cuppa"),  # its synonym
            Phrase("A", "thé", "fr"),
            Phrase("A", "The", "en"),  # the same words, once accents are gone
            Phrase("A", "char", "en"),
            Phrase("B", "char", "en"),  # one phrase may mean two nodes
            Phrase("A.12", "green", "en"),
            Phrase("C", "coffee"),
            Phrase("B", "–"),  # no word at all
        ],
        tally=tally,
    )
    assert after["A"].synonyms == {"": ("cuppa",), "fr": ("thé",), "en": ("char",)}
    assert after["B"].synonyms == {"en": ("char",)}
    assert (tally.added, tally.known) == (3, 4)
    assert tally.unknown == {"A.12": 1, "C": 1}
    assert (after.nodes, list(after.edges()), after.header) == (before.nodes, list(before.edges()), before.header)
    assert (after.rules, after.level_names) == (before.rules, before.level_names)
    assert before["A"].synonyms == {"": ("cuppa",)}


def test_phrases_of_newer_codes_go_to_the_longest_known_prefix_only_when_asked():
    tree, newer = Taxonomy(["J45", "J45.9"], [("J45", "J45.9")]), [Phrase("J45.99", "x"), Phrase("K1", "y")]
    assert add_phrases(tree, newer) == tree
    tally = Tally()
    assert add_phrases(tree, newer, nearest=True, tally=tally)["J45.9"].synonyms == {"": ("x",)}
    assert (tally.nearest, tally.unknown) == ({"J45.99": 1}, {"K1": 1})


@pytest.mark.parametrize(
    ("node", "known", "prefix"),
    [
        ("A01.23", {"A01", "A01.2"}, "A01.2"),
        ("A01.-", {"A01"}, "A01"),
        ("A01", {"A01"}, ""),  # itself is no prefix
        ("AB1", {"AB"}, ""),  # too short to mean anything
        ("", {"A01"}, ""),
        ("A01" + "x" * 1_000_000, {"A01"}, "A01"),
    ],
)
def test_longest_known_prefix(node, known, prefix):
    assert longest_known_prefix(node, known) == prefix


@given(dags(), st.lists(st.tuples(st.sampled_from("abcxyz"), st.text(max_size=5)), max_size=10))
def test_nothing_is_lost_and_twice_is_as_good_as_once(dag, pairs):
    tally = Tally()
    given_ = [Phrase(node, text) for node, text in pairs]
    once = add_phrases(dag.taxonomy, given_, tally=tally)
    assert tally.added + tally.known + tally.unknown.total() == len(pairs)
    assert add_phrases(once, given_) == once
    for phrase in given_:
        if phrase.node in once and (words := same_words(phrase.text)):
            assert words in {same_words(text) for text in (phrase.node, *once[phrase.node].texts)}


def test_a_tally_tells_what_happened():
    tally = Tally(entries=3, added=1, known=1)
    tally.phrases.update({"index": 2})
    tally.unknown.update({f"A{i}": 1 for i in range(6)})
    tally.unresolved.update({"condition": 2})
    assert tally.lines() == [
        "read 2 phrases (2 index) from 3 entries",
        "added 1; 1 were known already",
        "skipped, as the taxonomy does not have the node: 6 phrases of 6 nodes: "
        "A0 (1), A1 (1), A2 (1), A3 (1), A4 (1), …",
        "skipped, as what they refer to has no code: 2 entries of 1 references: condition (2)",
    ]
    assert tally.to_dict()["unresolved"] == {"condition": 2}


# -- the release files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(data_dir):
    folder = data_dir / "icd10cm" / "fy2025"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def test_the_index_has_as_many_pairs_as_were_counted(release):
    tally = Tally()
    found = read(release / "ICD10CM_2025_Index.csv.gz", tally=tally)
    assert tally.entries == 81_024
    assert Counter(phrase.source for phrase in found) == {"index": 62_721, "index see": tally.phrases["index see"]}
    assert tally.phrases["index see"] > 8_500  # of 12,129 entries that only refer
    assert Phrase("Q27.8", "Aberrant, artery", "en", "index") in found
    assert Phrase("R10.9", "Abdominalgia", "en", "index see") in found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "xml", "kind", "pairs", "cut", "references"),
    [
        ("ICD10CM_2025_ExternalIndex", "icd-10-cm-eindex-2025", "index", 6_650, 111, (790, 804)),
        ("ICD10CM_2025_Drugs", "icd-10-cm-drug-2025", "drugs", 47_228, 72, (49, 103)),
        ("ICD10CM_2025_neoplasms", "icd-10-cm-neoplasm-2025", "neoplasms", 10_744, 15, (67, 72)),
    ],
)
def test_a_table_and_the_xml_it_was_made_of_say_the_same(release, table, xml, kind, pairs, cut, references):
    """But for what the tables lack: words behind a modifier, references to categories, and some others of drugs."""
    short, whole = release / f"{table}.csv.gz", release / f"{xml}.xml.gz"
    rows, entries = list(from_table(short, kind)), list(from_xml(whole, kind))
    assert [(e.level, e.codes, e.modifiers) for e in rows] == [(e.level, e.codes, e.modifiers) for e in entries]
    cut_short = [(row, entry) for row, entry in zip(rows, entries, strict=True) if row.title != entry.title]
    assert all(
        entry.modifiers and (entry.title.startswith(row.title) or row.modifiers == f"({row.title})")
        for row, entry in cut_short
    )
    assert len(cut_short) == cut
    assert all(row.see in ("", entry.see) for row, entry in zip(rows, entries, strict=True))
    assert (sum(bool(e.see) for e in rows), sum(bool(e.see) for e in entries)) == references
    ours = [phrase for phrase in read(short) if phrase.source == kind]
    theirs = [phrase for phrase in read(whole) if phrase.source == kind]
    assert len(ours) == pairs
    assert [phrase.node for phrase in ours] == [phrase.node for phrase in theirs]
    titles = {entry.title for _, entry in cut_short}
    changed = [b.text for a, b in zip(ours, theirs, strict=True) if a != b]
    assert all(any(title in text for title in titles) for text in changed)


# -- the command line ------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with a small taxonomy, an index of newer codes, and a list of words."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "codes.yaml", "hclf: 1\nid: codes\nnodes: [{id: A01, children: [{id: A01.1}]}, {id: A03}]\n")
    save(tmp_path, "index.xml", INDEX)
    save(tmp_path, "words.tsv", "node\tphrase\tlanguage\nA03\tDelle\tde\nA03\tdent  PRESSED round\t\n")
    return tmp_path


ADD = ("taxonomy", "add-phrases", "codes.yaml")


def test_phrases_of_several_files_are_added(shelf):
    said_ = ok(*ADD, "--from", "index.xml", "--from", "words.tsv", "-o", "more.yaml")
    assert said_.err.splitlines() == [
        "read 14 phrases (6 index, 5 index see, 2 table, 1 index manifestation) from 20 entries",
        "added 6; 1 were known already",
        "skipped, as the taxonomy does not have the node: 7 phrases of 6 nodes: "
        "A01.9 (2), A01.11 (1), A01.12 (1), A09 (1), B01.2 (1), …",
        "skipped, as what they refer to has no code: 5 entries of 5 references: "
        "condition (1), Scratch, by part (1), Circle (1), Loop (1), Neoplasm, leg, benign (1)",
        "wrote more.yaml: 3 nodes",
    ]
    entry = formats.read(shelf / "more.yaml")["A03"]
    assert entry.synonyms["de"] == ("Delle",)
    assert entry.synonyms["en"][-1] == "Dent, pressed, round"


def test_options_of_add_phrases(shelf):
    def counts(*options):
        return ok(*ADD, "--from", "index.xml", "-o", "out.yaml", "-f", "--json", *options).json

    assert counts("--no-see")["phrases"] == {"index": 6, "index manifestation": 1}
    assert counts("--nearest")["nearest"] == {"A01.9": 2, "A01.11": 1, "A01.12": 1}
    assert counts("--forms")["added"] > counts()["added"]
    assert counts("--modifiers")["phrases"]["index"] > 6
    save(shelf, "neoplasms.xml", NEOPLASMS)
    assert "Neoplasm, leg, benign" not in counts("--from", "neoplasms.xml")["unresolved"]


def test_add_phrases_refuses_wrong_calls(shelf):
    fails(2, "--json prints to standard output", *ADD, "--from", "words.tsv", "-o", "-", "--json")
    fails(2, "codes.yaml exists", *ADD, "--from", "words.tsv", "-o", "codes.yaml")
    fails(2, "unknown kind of phrases 'indx'", *ADD, "--from", "words.tsv", "--kind", "indx", "-o", "x.yaml")
    fails(1, "No such file", *ADD, "--from", "none.tsv", "-o", "x.yaml")
    assert "not kept by this format" in ok(*ADD, "--from", "words.tsv", "-o", "x.txt").err
