"""What is said of mentions: by examples in two languages, and scopes against a slow walk over the words."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hclf.errors import UsageError
from hclf.scorers.lexicon.context import DENIED, FAMILY, FLAGS, HISTORICAL, HYPOTHETICAL, Context

CONTEXT = Context()
LETTER = {"d": DENIED, "h": HISTORICAL, "f": FAMILY, "p": HYPOTHETICAL}


def marked(text: str, context: Context = CONTEXT) -> list[str]:
    """Return the flags of each [mention] of a text, as letters."""
    places = [
        (found.start() - 2 * i, found.end() - 2 * i - 2) for i, found in enumerate(re.finditer(r"\[.+?\]", text))
    ]
    plain = text.replace("[", "").replace("]", "")
    flags = context.mark([plain], [0] * len(places), [a for a, _ in places], [b for _, b in places])
    return ["".join(letter for letter, bit in LETTER.items() if flag & bit) for flag in flags.tolist()]


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("The patient has [fever].", [""]),
        ("No [fever], [cough] or [chest pain].", ["d", "d", "d"]),
        ("[Headache] without [nausea].", ["", "d"]),
        ("No [fever]. [Cough].", ["d", ""]),
        ("No fever\n[Cough] since Monday", [""]),
        ("Denies: [fever], [cough]", ["d", "d"]),
        ("No [fever] but [cough].", ["d", ""]),
        ("There was no increase in [ascites].", [""]),
        ("Not only [fever].", [""]),
        ("[Pneumonia] was ruled out.", ["d"]),
        ("[Pneumonia] cannot be ruled out.", ["p"]),
        ("Tests for [HIV] and [syphilis] were negative.", ["d", "d"]),
        ("Suspected [sepsis].", ["p"]),
        ("Risk of [falls].", ["p"]),
        ("History of [asthma].", ["h"]),
        ("A two-month history of [cough].", [""]),
        ("Family history of [breast cancer].", ["f"]),
        ("His mother had [diabetes]; he has [asthma].", ["f", ""]),
        ("No family history of [breast cancer].", ["df"]),
        ("History of possible [stroke].", ["hp"]),
        ("Not [a b c d e f g h i j k l m n] [x].", ["", ""]),
    ],
)
def test_english(text, flags):
    assert marked(text) == flags


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("Paciente con [fiebre].", [""]),
        ("No presenta [fiebre], [tos] ni [dolor torácico].", ["d", "d", "d"]),
        ("Abdomen blando, sin [masas] ni [megalias].", ["d", "d"]),
        ("No antecedentes de [nefrolitiasis] ni [hematuria].", ["d", "d"]),
        ("Niega: [fiebre].", ["d"]),
        ("Sin [fiebre] pero con [tos].", ["d", ""]),
        ("Sin [fiebre], aunque refiere [tos].", ["d", ""]),
        ("Sin cambios en la [ascitis].", [""]),
        ("No sólo [fiebre].", [""]),
        ("Sin embargo, [fiebre].", [""]),
        ("Se descartó [neumonía].", ["d"]),
        ("No se puede descartar [neumonía].", ["p"]),
        ("Serología de [VIH] y [sífilis] negativas.", ["d", "d"]),
        ("Sospecha de [sepsis].", ["p"]),
        ("Compatible con [sarcoidosis].", ["p"]),
        ("Si bien tiene [fiebre].", [""]),
        ("Antecedentes de [asma] e [hipertensión].", ["h", "h"]),
        ("Antecedentes familiares de [asma].", ["f"]),
        ("Madre con [asma].", ["f"]),
        ("Madre sana, con [asma].", [""]),  # elsewhere "con" ends a scope
        ("Su madre padecía [asma].", ["f"]),
        ("Traído por sus padres por [exantema].", [""]),
        ("SIN ANTECEDENTES FAMILIARES DE [CÁNCER].", ["df"]),
    ],
)
def test_spanish(text, flags):
    assert marked(text) == flags


def test_a_mix_of_languages():
    assert marked("No [fever]. Niega [tos]. Mother had [asma].") == ["d", "d", "f"]


@pytest.mark.parametrize("text", ["A pattern of [fever].", "Los hallazgos son [mioclonías].", "Notes of [fever]."])
def test_words_like_triggers_are_none(text):
    assert marked(text) == [""]


def test_languages_and_flags_can_be_chosen():
    text = "No [fever]. Niega [tos]. Mother had [asthma]."
    assert marked(text, Context(["en"])) == ["d", "", "f"]
    assert marked(text, Context(flags=["family"])) == ["", "", "f"]
    assert marked(text, Context(flags=[])) == ["", "", ""]
    assert marked(text, Context([])) == ["", "", ""]


def test_a_flag_left_out_still_hides_and_ends():
    assert marked("No family history of [asthma].", Context(flags=["historical"])) == [""]


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UsageError, match="no flag denial; there are denied, historical"):
        Context(flags=["denial"])
    file = tmp_path / "x.yaml"
    file.write_text("triggers: {denied: {infront: [kein]}}\n", "utf-8")
    with pytest.raises(UsageError, match=r"triggers hold denied\.infront; they have"):
        Context([str(file)])
    signs = tmp_path / "y.yaml"
    signs.write_text("triggers: {denied: {before: ['-']}}\n", "utf-8")
    with pytest.raises(UsageError, match="a trigger without a word: '-'"):
        Context([str(signs)])


def test_a_mention_without_words_and_no_mentions():
    assert CONTEXT.mark(["No ..."], [0], [3], [6]).tolist() == [0]
    assert CONTEXT.mark([""], [0], [0], [0]).tolist() == [0]
    assert CONTEXT.mark([], [], [], []).tolist() == []


def test_mentions_in_any_order():
    texts = ["No fever", "unused", "Mother had asthma"]
    flags = CONTEXT.mark(texts, [2, 0, 2, 0], [11, 3, 0, 0], [17, 8, 6, 2])
    assert flags.tolist() == [FAMILY, DENIED, 0, 0]


# -- scopes ----------------------------------------------------------------------------------------------------

LANGUAGE = """
triggers:
  denied: {before: [dd], after: [da], not: [dd xx]}
  family: {before: [ff, ff gg], after: [fa]}
  ends: [ee, ff ee]
"""
TRIGGERS = {
    ("dd",): ("forward", DENIED),
    ("da",): ("backward", DENIED),
    ("dd", "xx"): ("", 0),
    ("ff",): ("forward", FAMILY),
    ("ff", "gg"): ("forward", FAMILY),
    ("fa",): ("backward", FAMILY),
    ("ee",): ("end", 0),
    ("ff", "ee"): ("end", 0),
}
SENTENCES = st.lists(
    st.lists(st.sampled_from(["dd", "da", "xx", "ff", "gg", "fa", "ee", "ww", "ww"]), min_size=1, max_size=9),
    min_size=1,
    max_size=3,
)


def slow_flags(words: list[str], reach: int) -> list[int]:
    """Return the flags of the words of one sentence, walking from every trigger."""
    heard: list[tuple[int, int, str, int]] = []
    place = 0
    while place < len(words):
        for length in (2, 1):
            trigger = TRIGGERS.get(tuple(words[place : place + length]))
            if trigger and place + length <= len(words):
                heard.append((place, place + length, *trigger))
                place += length
                break
        else:
            place += 1
    ends = {i for i, _, what, _ in heard if what == "end"}
    flags = [0] * len(words)
    for start, end, what, bit in heard:
        path = {"forward": range(end, len(words)), "backward": range(start - 1, -1, -1)}.get(what, range(0))
        for i in list(path)[:reach]:
            if i in ends:
                break
            flags[i] |= bit
    return flags


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    file = tmp_path_factory.mktemp("language") / "small.yaml"
    file.write_text(LANGUAGE, "utf-8")
    return str(file)


@settings(max_examples=300, deadline=None)
@given(sentences=SENTENCES, reach=st.integers(1, 6))
def test_scopes_reach_as_far_as_a_slow_walk(small, sentences, reach):
    context = Context([small], reach=reach)
    text = "; ".join(" ".join(sentence) for sentence in sentences)
    places = [found.span() for found in re.finditer(r"\w+", text)]
    flags = context.mark([text], [0] * len(places), [a for a, _ in places], [b for _, b in places])
    assert flags.tolist() == [flag for sentence in sentences for flag in slow_flags(sentence, reach)]


@settings(max_examples=50, deadline=None)
@given(st.lists(SENTENCES, max_size=4))
def test_a_text_is_marked_as_it_is_alone(documents):
    texts = ["; ".join(" ".join(sentence) for sentence in sentences) for sentences in documents]
    places = [(row, *found.span()) for row, text in enumerate(texts) for found in re.finditer(r"\w+", text)]
    together = CONTEXT.mark(texts, *zip(*places, strict=True)) if places else np.zeros(0)
    alone = [CONTEXT.mark([texts[row]], [0], [start], [end])[0] for row, start, end in places]
    assert together.tolist() == alone


@pytest.mark.parametrize("flags", [tuple(FLAGS), ("denied",), ()])
def test_it_comes_back_from_its_state(flags):
    context = Context(flags=flags, reach=3)
    again = Context.from_state(json.loads(json.dumps(context.get_state())))
    assert again.get_state() == context.get_state()
    text = "No family history of [asthma]. Suspected [sepsis], [fever], [x] [y] [z]. Historia de [tos]."
    assert marked(text, again) == marked(text, context)
