"""Phrases from the notes of a classification, and what else an index says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hclf.errors import TaxonomyError
from hclf.formats.phrases import Phrase
from hclf.formats.phrases.notes import LONGEST, of_notes
from hclf.formats.phrases.variants import BELOW, MODIFIED, MOST, more_of_index
from hclf.taxonomy import Node, Taxonomy


def phrases(**notes: object) -> list[tuple[str, str, str]]:
    """Node, text and source of what the notes of node X say in a taxonomy of X, K35, K35.2 and I10."""
    taxonomy = Taxonomy(["K35", "K35.2", "I10", Node("X", meta=notes)], [("K35", "K35.2")])
    return [(phrase.node, phrase.text, phrase.source) for phrase in of_notes(taxonomy)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acute appendicitis (K35.-)", ("K35", "acute appendicitis")),
        ("acute appendicitis with peritonitis (K35.2-)", ("K35.2", "acute appendicitis with peritonitis")),
        ("appendicitis (acute) (K35)", ("K35", "appendicitis (acute)")),
        ("high blood pressure (I10). ", ("I10", "high blood pressure")),
        ("any associated hypertension (I10)", ("I10", "hypertension")),
        ("if applicable, hypertension (I10)", ("I10", "hypertension")),
    ],
)
def test_a_note_is_a_phrase_of_the_node_it_names(text: str, expected: tuple[str, str]) -> None:
    assert phrases(excludes1=[text]) == [(*expected, "excludes1")]
    assert phrases(codeFirst=[text]) == [(*expected, "codeFirst")]


@pytest.mark.parametrize(
    "text",
    [
        "appendicitis",
        "appendicitis (K99)",
        "appendicitis (K35-K38)",
        "appendicitis (K35.-, I10)",
        "(I10)",
        "any (I10)",
        "code to identify hypertension (I10)",
        "conditions classifiable to (I10)",
        "hypertension: (I10)",
        f"{'very ' * LONGEST} high pressure (I10)",
        "",
    ],
)
def test_what_names_no_single_known_node_is_no_phrase(text: str) -> None:
    assert phrases(excludes1=[text]) == []


def test_what_a_note_includes_is_a_phrase_of_its_own_node() -> None:
    notes = ["gastric flu", "a condition with:", "codes of other places", "appendicitis (K35)"]
    assert phrases(includes=notes) == [("X", "gastric flu", "includes"), ("X", "appendicitis (K35)", "includes")]


def test_other_meta_is_left_alone() -> None:
    assert phrases(notes=["appendicitis (K35)"], excludes1="appendicitis (K35)", includes=[3, None]) == []


def test_keys_can_be_named() -> None:
    taxonomy = Taxonomy(["K35", Node("X", meta={"siehe": ["Appendizitis (K35.-)"], "auch": ["Magengrippe"]})])
    assert list(of_notes(taxonomy, elsewhere=["siehe"], here=["auch"])) == [
        Phrase("K35", "Appendizitis", source="siehe"),
        Phrase("X", "Magengrippe", source="auch"),
    ]


# -- indexes -------------------------------------------------------------------------------------------------------


def index(tmp_path: Path, *rows: tuple[int, str, str, str, str]) -> list[tuple[str, str, str]]:
    """What an index of (level, term, see, modifiers, code) says besides."""
    lines = ["RowID,Letter,Level,Term,See,SeeAlso,NonEssModif,Code"]
    for i, (level, term, see, modifiers, code) in enumerate(rows):
        lines.append(f'{i},A,{level},"{term}","{see}",,"{modifiers}",{code}')
    path = tmp_path / "index.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [(phrase.node, phrase.text, phrase.source) for phrase in more_of_index(path)]


def test_each_modifier_makes_a_phrase_of_its_own(tmp_path: Path) -> None:
    assert index(
        tmp_path, (0, "Abasia", "", "(-astasia) (hysterical)", "F44.4"), (1, "old", "", "(slow) (stiff)", "R26.-")
    ) == [
        ("F44.4", "Abasia hysterical", MODIFIED),
        ("R26", "Abasia, old slow", MODIFIED),
        ("R26", "Abasia, old stiff", MODIFIED),
    ]


def test_what_stands_below_a_reference_can_be_said_with_it(tmp_path: Path) -> None:
    pain = [
        (0, "Pain", "", "", "R52"),
        (1, "abdominal", "", "", "R10.9"),
        (2, "colic", "", "", "R10.83"),
        (2, "upper", "", "", ""),
        (3, "left", "", "", "R10.12"),
        (4, "deep", "", "", "R10.99"),
        (1, "back", "", "", "M54.9"),
    ]
    found = index(tmp_path, (0, "Abdominalgia", "Pain, abdominal", "", ""), *pain)
    assert found == [
        ("R10.83", "Abdominalgia, colic", BELOW),
        ("R10.12", "Abdominalgia, upper, left", BELOW),
    ]


def test_a_reference_makes_no_more_than_so_many_phrases_and_may_lead_nowhere(tmp_path: Path) -> None:
    many = [(0, "Pain", "", "", "R52"), *((1, f"kind{i}", "", "", f"R{i}") for i in range(MOST + 9))]
    found = index(tmp_path, (0, "Ache", "Pain", "", ""), (0, "Woe", "Sorrow", "", ""), *many)
    assert [text for _, text, _ in found] == [f"Ache, kind{i}" for i in range(MOST)]


def test_an_index_of_the_release_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "index.xml"
    path.write_text(
        "<ICD10CM.index><letter><title>A</title><mainTerm><title>Ache<nemod>(dull)</nemod></title><code>R52</code>"
        "</mainTerm></letter></ICD10CM.index>",
        encoding="utf-8",
    )
    assert list(more_of_index(path)) == [Phrase("R52", "Ache dull", "en", MODIFIED)]
    path.write_text("no XML", encoding="utf-8")
    with pytest.raises(TaxonomyError):
        list(more_of_index(path))
