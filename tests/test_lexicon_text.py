"""Words with offsets, what they are compared by, and how phrases may be written."""

from __future__ import annotations

import json
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hclf.errors import UsageError
from hclf.scorers.lexicon import folding as folding_module
from hclf.scorers.lexicon.folding import Folding, available, load
from hclf.scorers.lexicon.phrases import _fillers, variants
from hclf.scorers.lexicon.text import split

TEXTS = st.text(st.sampled_from("aBé9 \u0301,.;:\r\n-/()ñ緑茶กำ👍🏽\u200d\u00ad܀א"), max_size=40) | st.text(
    max_size=40
)


def slow_words(text: str) -> list[tuple[int, int]]:
    """Return the places of words, character by character."""
    places: list[list[int]] = []
    open_word = alone = False
    for i, ch in enumerate(text):
        category = "" if ord(ch) >= 0x32000 else unicodedata.category(ch)[0]
        if category == "M" or ch in "\u00ad\u200c\u200d":
            if open_word:
                places[-1][1] = i + 1
            else:
                places.append([i, i + 1])
                open_word, alone = True, False
        elif category and category in "LN":
            unspaced = any(low <= ord(ch) <= high for low, high in _unspaced())
            if open_word and not alone and not unspaced:
                places[-1][1] = i + 1
            else:
                places.append([i, i + 1])
            open_word, alone = True, unspaced
        else:
            open_word = False
    return [(a, b) for a, b in places if any(unicodedata.category(ch)[0] in "LN" for ch in text[a:b])]


def _unspaced() -> tuple[tuple[int, int], ...]:
    from hclf.scorers.lexicon.text import _UNSPACED

    return _UNSPACED


@given(st.lists(TEXTS, max_size=4))
def test_words_are_those_a_slow_reader_finds(texts):
    words = split(texts)
    found = list(zip(words.rows.tolist(), words.starts.tolist(), words.ends.tolist(), strict=True))
    assert found == [(row, a, b) for row, text in enumerate(texts) for a, b in slow_words(text)]
    assert words.surfaces == [texts[row][a:b] for row, a, b in found]


@given(st.lists(TEXTS, max_size=4))
def test_words_do_not_depend_on_the_texts_around(texts):
    together = split(texts)
    for row, text in enumerate(texts):
        alone = split([text])
        here = together.rows == row
        for name in ("starts", "ends", "breaks"):
            assert getattr(together, name)[here].tolist() == getattr(alone, name).tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \r\n,.", []),
        ("Crohn's", ["Crohn", "s"]),
        ("cafe\u0301 solo", ["cafe\u0301", "solo"]),
        ("❤️ 👍🏽 ok", ["ok"]),
        ("H1N1/T4", ["H1N1", "T4"]),
        ("緑茶tea", ["緑", "茶", "tea"]),
        ("soft\u00adhyphen", ["soft\u00adhyphen"]),
        ("हिन्दी", ["हिन्दी"]),
    ],
)
def test_words(text, words):
    assert split([text]).surfaces == words


@pytest.mark.parametrize(
    ("gap", "kind"),
    [
        (" ", 0),
        ("-", 0),
        (", ", 1),
        (" (", 1),
        (" / ", 1),
        ("\n", 1),
        ("\r\n", 1),
        (". ", 1),  # an abbreviation: a small letter follows
        ("; ", 2),
        (": ", 2),
        ("\n\n", 2),
        ("\r\n\r\n", 2),
        (" • ", 2),
        ("。", 2),
    ],
)
def test_breaks_before_a_small_letter(gap, kind):
    assert split([f"one{gap}two"]).breaks.tolist() == [2, kind]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("one. Two", 2),
        ("one\nTwo", 2),
        ("3.5", 0),
        ("3,5", 0),
        ("3:5", 0),
        ("3/5", 0),
        ("3, 5", 1),
        ("3)5", 1),
        ("3;5", 2),
        ("3\n5", 2),
    ],
)
def test_breaks(text, kind):
    assert split([text]).breaks.tolist() == [2, kind]


def test_a_lone_surrogate_is_read():
    assert split(["a \ud800 b"]).surfaces == ["a", "b"]


# -- folding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "same",
    [
        ("fracture", "Fractures", "FRACTURA", "fracturas"),
        ("lesión", "lesiones", "Lesion"),
        ("biopsy", "biopsies", "biopsia"),
        ("diagnosis", "diagnoses"),
        ("hepático", "hepáticas", "hepatico"),
        ("cicatriz", "cicatrices"),
        ("Straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("ﬁbrosis", "fibrosis"),
        ("II", "2"),
        ("β", "beta"),
        ("niño", "nin\u0303o"),
        ("haemorrhage", "hemorrhage", "hemorragia"),
        ("tumour", "tumor", "tumores"),
        ("leukocytosis", "leucocytosis", "leucocitosis"),
        ("nephropathies", "nefropatía"),
        ("lymphoma", "linfoma"),
        ("obstruction", "obstrucción"),
        ("insufficiency", "insufficiencies", "insuficiencia"),
        ("pneumonia", "neumonías"),
        ("stenosis", "estenosis"),
        ("pulmonary", "pulmonar", "pulmonares"),
        ("perforated", "perforadas"),
        ("left", "izquierda", "izquierdos"),
        ("pain", "pains", "dolor", "dolores"),
    ],
)
def test_folded_to_the_same(same):
    fold = Folding().fold
    assert len({fold(word) for word in same}) == 1


@pytest.mark.parametrize(
    "others",
    [
        ("año", "ano"),
        ("parto", "parte"),
        ("virus", "viru"),
        ("B12", "B1"),
        ("masa", "mas"),
        ("が", "か"),
        ("SSA", "SA"),
    ],
)
def test_not_folded_to_the_same(others):
    fold = Folding().fold
    assert len({fold(word) for word in others}) == len(others)


def test_stop_words_fold_to_nothing_and_have_a_form():
    folding = Folding()
    assert folding.fold("The") == folding.fold("DE") == ""
    assert folding.form("The") == "the"
    assert folding.fold("no") == "no"
    assert folding.fold("thé") == "the"  # tea is no article
    assert folding.fold("a") == "" != folding.fold("A")  # hepatitis A


def test_words_equal_to_one_are_not_equal_to_a_third():
    equal = Folding().equal
    assert not set(equal) & set(equal.values()), "a word stands for another that stands for a third"


def test_words_equal_to_one_fold_to_the_same():
    folding = Folding()
    tables = [load(language).get("equal", {}) for language in (*available(), folding_module.COMMON)]
    pairs = [(one, word) for table in tables for one, words in table.items() for word in words.split()]
    assert [pair for pair in pairs if folding.form(pair[0]) != folding.form(pair[1])] == []


def test_languages_can_be_chosen():
    assert Folding(["en"]).fold("los") == "los"
    assert Folding(["es"]).fold("the") == "the"
    assert Folding([]).fold("the") == "the"
    assert {"en", "es"} <= set(available())


@given(st.text(max_size=12))
def test_a_folding_comes_back_from_its_state(word):
    folding = Folding()
    again = Folding.from_state(json.loads(json.dumps(folding.get_state())))
    assert again.fold(word) == folding.fold(word)
    assert again.get_state() == folding.get_state()


def test_a_language_of_ones_own(tmp_path):
    file = tmp_path / "it.yaml"
    file.write_text("stop_words: di della no\nendings: [{i: [o, 3]}]\n", "utf-8")
    folding = Folding([str(file)])
    assert folding.fold("tumori") == folding.fold("tumoro")
    assert folding.fold("no") == ""


def test_an_unknown_language_is_refused():
    with pytest.raises(UsageError, match="no language 'ess'; did you mean 'es'"):
        load("ess")


def test_an_unknown_section_is_refused(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("stopwords: a b\n", "utf-8")
    with pytest.raises(UsageError, match=r"x\.yaml: holds stopwords; a language has stop_words"):
        load(str(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a language has stop_words, endings"),
        ("- a", "a language has stop_words, endings"),
        ("stop_words: [", "not YAML: while parsing"),
        ("stop_words: [a, b]", "stop_words must be a text of words"),
        ("endings: {s: ['', 3]}", "endings must be a list of steps"),
        ("endings: [{s: ['', some]}]", "endings must be a list of steps"),
        ("alike: [a]", "alike must be lines"),
        ("alike: {'': a}", "alike must be lines"),
        ("equal: {a: [b]}", "equal must be lines"),
        ("fillers: nos nec", "fillers must be a list"),
        ("letters: [n]", "letters must be a text"),
        ("triggers: [no]", "triggers must be lists"),
        ("triggers: {denied: [before]}", "triggers must be lists"),
        ("triggers: {denied: {before: no}}", "triggers must be lists"),
        ("triggers: {ends: {before: [no]}}", "triggers must be lists"),
    ],
)
def test_a_file_that_is_no_language_is_refused(tmp_path, content, message):
    file = tmp_path / "x.yaml"
    file.write_text(content, "utf-8")
    with pytest.raises(UsageError, match=re.escape(f"x.yaml: {message}")):
        load(str(file))


def test_a_language_is_no_path_into_the_folder():
    with pytest.raises(UsageError, match="no language"):
        load("../languages/es")


@pytest.mark.parametrize("language", [*available(), folding_module.COMMON])
def test_languages_that_ship_are_in_order(language):
    content = load(language)
    words = [word for name in ("stop_words", "whole") for word in content.get(name, "").split()]
    assert len(set(words)) == len(words), "listed twice"
    assert not {"no", "not", "without", "sin", "ni"} & set(words)
    equal = [word for words in content.get("equal", {}).values() for word in words.split()]
    assert len(set(equal)) == len(equal), "listed twice"
    for flag, places in content.get("triggers", {}).items():
        for place, phrases in places.items() if isinstance(places, dict) else [("", places)]:
            assert len(set(phrases)) == len(phrases), f"{flag} {place}: listed twice"


# -- phrases ---------------------------------------------------------------------------------------------------


def _tidy(form: str) -> str:
    return " ".join(form.replace(",", " ").split())


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("Cough", {"Cough"}),
        ("Typhoid fever, unspecified", {"Typhoid fever", "Typhoid fever unspecified"}),
        ("Unspecified fracture of femur", {"fracture of femur", "Unspecified fracture of femur"}),
        ("Dolor, no especificado", {"Dolor", "Dolor no especificado"}),
        ("Unspecified", {"Unspecified"}),
        ("Abasia (-astasia) (hysterical)", {"Abasia", "Abasia (-astasia) (hysterical)"}),
        ("(only this)", {"(only this)"}),
        ("nausea/vomiting", {"nausea/vomiting", "nausea", "vomiting"}),
        ("10 mg/dl", {"10 mg/dl", "10 mg", "10 dl"}),
        ("a/b 1/2", {"a/b 1/2"}),
        ("non-Hodgkin", {"non-Hodgkin", "nonHodgkin"}),
        ("COVID-19", {"COVID-19"}),
        (
            "Chronic obstructive pulmonary disease (COPD)",
            {"Chronic obstructive pulmonary disease", "COPD", "Chronic obstructive pulmonary disease (COPD)"},
        ),
        ("Neuromyelitis optica [Devic]", {"Neuromyelitis optica", "Neuromyelitis optica [Devic]"}),
    ],
)
def test_variants(text, forms):
    found = variants(text, _fillers(None))
    assert found[0] == text
    assert {_tidy(form) for form in found} == forms


@pytest.mark.parametrize("part", ["(AB) ", "a b (AB) ", "(", "a-", "ab/ab ", "unspecified "])
def test_variants_of_a_very_long_phrase_take_no_longer_than_it_is(part):
    began = time.process_time()
    assert len(variants(part * 4000, _fillers(None))) <= 16
    assert time.process_time() - began < 2


@given(st.text(st.sampled_from("ab ()[]/-,NOS"), max_size=40))
def test_variants_are_few_and_begin_with_the_phrase(text):
    found = variants(text, _fillers(None))
    assert found[0] == text
    assert 1 <= len(found) <= 16
    assert len(set(found)) == len(found)
