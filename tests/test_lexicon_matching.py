"""The phrase finder against a slow, obvious one; typos; offsets; state."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from hclf.scorers.lexicon import automaton
from hclf.scorers.lexicon.automaton import ACROSS, GAPPED, REORDERED, TYPO, Matches, PhraseFinder
from hclf.scorers.lexicon.text import COMMA, SENTENCE, split
from hclf.scorers.lexicon.typos import Speller

# Letters mean words of a phrase, "x" one of none, "the" a stop word.
WORDS = st.sampled_from(["a1", "b1", "c1", "d1", "x1", "the"])
PHRASES = st.lists(st.lists(WORDS.filter(lambda w: w != "x1"), min_size=1, max_size=6).map(" ".join), max_size=6)
GAPS = st.sampled_from([" ", " ", " ", ", ", "; "])
TEXTS = st.lists(
    st.lists(st.tuples(WORDS, GAPS), max_size=14).map(lambda pairs: "".join(w + gap for w, gap in pairs)), max_size=4
)

Found = tuple[int, int, int, int, int, frozenset[int]]


def slow_find(phrases: list[str], texts: list[str], *, reorder: bool, gap: int) -> set[Found]:
    """Return (row, start, end, phrase, kind, places of the words) of every match, trying every choice of words."""
    best: dict[tuple[int, int, int, int], tuple[int, list[frozenset[int]]]] = {}
    for row, text in enumerate(texts):
        words = split([text])
        sentence, comma = np.cumsum(words.breaks == SENTENCE), np.cumsum(words.breaks == COMMA)
        stream = [i for i, word in enumerate(words.surfaces) if word != "the"]
        for number, phrase in enumerate(phrases):
            asked = [word for word in phrase.split() if word != "the"]
            if not asked:
                continue
            for begin in range(len(stream)):
                allowed = gap if 2 <= len(asked) <= 5 else 0
                rest = range(begin + 1, min(len(stream), begin + len(asked) + allowed))
                for more in combinations(rest, len(asked) - 1):
                    places = (begin, *more)
                    ids = [stream[place] for place in places]
                    said = [words.surfaces[i] for i in ids]
                    across = comma[ids[0]] != comma[ids[-1]]
                    gapped = places[-1] - begin >= len(asked)
                    if Counter(said) != Counter(asked) or sentence[ids[0]] != sentence[ids[-1]]:
                        continue
                    if (gapped and across) or (said != asked and not reorder):
                        continue
                    kind = REORDERED * (said != asked) + GAPPED * gapped + ACROSS * bool(across)
                    span = row, int(words.starts[ids[0]]), int(words.ends[ids[-1]]), number
                    old, masks = best.get(span, (99, []))
                    if kind <= old:
                        best[span] = kind, [*(masks if kind == old else []), frozenset(places)]
    return {(*span, kind, places) for span, (kind, masks) in best.items() for places in masks}


def slow_leading(found: set[Found]) -> set[Found]:
    """Return the matches that no other one makes superfluous."""

    def hides(other: Found, this: Found) -> bool:
        if other[0] != this[0] or other == this:
            return False
        mine, others = this[5], other[5]
        doubtful = this[4] & (GAPPED | ACROSS)
        if mine < others:
            return not other[4] & (GAPPED | ACROSS) or bool(doubtful)
        return mine == others and other[4] < this[4]

    sets = {match for match in found if not any(hides(o, match) for o in found if o[5] > match[5])}
    return {match for match in sets if not any(hides(other, match) for other in sets if other[5] == match[5])}


def as_set(found: Matches) -> set[Found]:
    result = set()
    for row, start, end, phrase, kind, _, first, mask in zip(*(column.tolist() for column in found), strict=True):
        places = frozenset(first + i for i in range(64) if mask >> i & 1)
        result.add((row, start, end, phrase, kind, places))
    return result


def in_text(found: set[Found], texts: list[str]) -> set[Found]:
    """Return the matches with places counted over all texts, as the finder does."""
    sizes = [sum(word != "the" for word in split([text]).surfaces) for text in texts]
    base = np.append(0, np.cumsum(sizes))
    return {(*match[:5], frozenset(int(base[match[0]]) + place for place in match[5])) for match in found}


@settings(max_examples=200, deadline=None)
@given(PHRASES, TEXTS, st.booleans(), st.integers(0, 2))
def test_it_finds_what_a_slow_finder_finds(phrases, texts, reorder, gap):
    finder = PhraseFinder(phrases, reorder=reorder, gap=gap, variants=False)
    expected = in_text(slow_find(phrases, texts, reorder=reorder, gap=gap), texts)
    found = as_set(finder.find(texts, nested=True))
    assert {match[:5] for match in found} == {match[:5] for match in expected}
    assert found <= expected  # of several choices of words between the same ends it tells one
    assert as_set(finder.find(texts)) == slow_leading(found)


@settings(max_examples=50, deadline=None)
@given(PHRASES, TEXTS)
def test_a_text_has_the_matches_it_has_alone(phrases, texts):
    finder = PhraseFinder(phrases)
    together = finder.find(texts)
    for row, text in enumerate(texts):
        alone, here = finder.find([text]), together.take(together.rows == row)
        for name in ("starts", "ends", "phrases", "kinds", "words", "mask"):
            assert_array_equal(getattr(here, name), getattr(alone, name))


def test_batches_do_not_matter(monkeypatch):
    finder = PhraseFinder(["a1 b1", "b1", "c1 a1"])
    texts = ["a1 b1 c1", "", "the b1 x1 a1", "c1, a1"] * 5
    whole = finder.find(texts)
    monkeypatch.setattr(automaton, "_BATCH", 10)
    for one, other in zip(whole, finder.find(texts), strict=True):
        assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_matches_are_in_the_order_of_the_text():
    finder = PhraseFinder(["a1", "b1", "a1 b1", "b1 a1"])
    found = finder.find(["a1 b1 a1", "b1 a1"], nested=True)
    keys = list(zip(found.rows.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True))
    assert keys == sorted(keys)


def spans(finder: PhraseFinder, text: str, **options: bool) -> list[tuple[str, int, int]]:
    found = finder.find([text], **options)
    return [
        (text[start:end], phrase, kind)
        for start, end, phrase, kind in zip(
            found.starts.tolist(), found.ends.tolist(), found.phrases.tolist(), found.kinds.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("phrase", "text", "said", "kind"),
    [
        ("cancer of the breast", "Breast cancer, left.", "Breast cancer", REORDERED),
        ("breast cancer", "a cancer of the breast", "cancer of the breast", REORDERED),
        ("Anemia, iron deficiency", "iron-deficiency anemias", "iron-deficiency anemias", REORDERED),
        ("Pneumonia (acute)", "pneumonia", "pneumonia", 0),
        ("Pneumonia (acute)", "acute pneumonia", "acute pneumonia", REORDERED),
        ("absceso hepático", "abscesos\r\nhepa\u0301ticos 👍", "abscesos\r\nhepa\u0301ticos", ACROSS),
        ("dolor lumbar", "👍🏽 dolor agudo lumbar", "dolor agudo lumbar", GAPPED),
        ("neumonía lobar", "Neunonía lobar derecha", "Neunonía lobar", TYPO),
        ("緑茶", "美味しい緑茶です", "緑茶", 0),
        ("hepatitis A", "a hepatitis, A", "hepatitis, A", ACROSS),
        ("diabetes type II", "type 2 diabetes", "type 2 diabetes", REORDERED),
    ],
)
def test_ways_of_saying(phrase, text, said, kind):
    assert spans(PhraseFinder([phrase]), text) == [(said, 0, kind)]


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("breast cancer", "breast. Cancer"),
        ("breast cancer", "breast\n\ncancer"),
        ("breast cancer", "breast tissue, cancer"),
        ("dolor lumbar", "dolor muy agudo intenso lumbar"),
        ("緑茶", "茶緑"),
        ("緑茶", "緑の茶"),
        ("ano", "37 años"),
        ("hepatitis A", "a hepatitis"),
        ("", "nothing"),
        ("a1 a1", "a1"),
    ],
)
def test_ways_of_not_saying(phrase, text):
    assert spans(PhraseFinder([phrase]), text) == []


def test_the_longest_is_kept_unless_asked():
    finder = PhraseFinder(["diabetes", "diabetes mellitus", "mellitus tipo 2"])
    assert spans(finder, "diabetes mellitus") == [("diabetes mellitus", 1, 0)]
    assert len(spans(finder, "diabetes mellitus", nested=True)) == 2
    assert len(spans(finder, "diabetes mellitus tipo 2")) == 2  # they overlap, neither holds the other


def test_a_doubtful_match_drops_no_sure_one():
    finder = PhraseFinder(["dolor", "dolor lumbar"])
    assert spans(finder, "dolor agudo lumbar") == [("dolor", 0, 0), ("dolor agudo lumbar", 1, GAPPED)]
    assert spans(finder, "dolor, lumbar") == [("dolor", 0, 0), ("dolor, lumbar", 1, ACROSS)]


def test_no_phrases_and_no_texts():
    assert len(PhraseFinder([]).find(["some text"]).rows) == 0
    assert len(PhraseFinder(["the"]).find(["the text"]).rows) == 0
    assert len(PhraseFinder(["a1"]).find([]).rows) == 0
    assert len(PhraseFinder(["a1"]).find(["", "the"]).rows) == 0


def test_a_long_phrase():
    words = [f"w{i}q" for i in range(300)]
    finder = PhraseFinder([" ".join(words), "w299q"])
    found = finder.find([" ".join(["before", *words])])
    assert (found.phrases.tolist(), found.words.tolist()) == ([0], [300])
    assert found.ends[0] == len(" ".join(["before", *words]))


# -- typos -----------------------------------------------------------------------------------------------------

LETTERS = st.text(st.sampled_from("abc"), min_size=3, max_size=8)


def is_slip(word: str, other: str) -> bool:
    shorter, longer = sorted([len(word), len(other)])
    same_ends = (word[0], word[-1]) == (other[0], other[-1])
    return shorter >= 5 and longer >= 6 and same_ends and (word == other or other in slips(word))


def slips(word: str) -> set[str]:
    """Return every word of the test's letters one slip away."""
    found = set()
    for i in range(len(word) + 1):
        found.add(word[:i] + word[i + 1 :])
        found.add(word[:i] + word[i : i + 2][::-1] + word[i + 2 :])
        for letter in "abc":
            found |= {word[:i] + letter + word[i + 1 :], word[:i] + letter + word[i:]}
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(LETTERS, unique=True, max_size=12), st.lists(LETTERS, max_size=6))
def test_a_guess_is_a_word_one_slip_away(words, unknown):
    counts = np.arange(len(words)) % 3
    guesses = Speller(words, counts).guess(unknown)
    for word, guess in zip(unknown, guesses.tolist(), strict=True):
        near = [i for i, other in enumerate(words) if is_slip(word, other)]
        best = [i for i in near if counts[i] == max(counts[near])]
        assert guess == (best[0] if best else -1)


def test_known_words_are_no_typos():
    assert spans(PhraseFinder(["gelatina"]), "la gelotina") == [("gelotina", 0, TYPO)]
    assert spans(PhraseFinder(["gelatina"], known_words=["gelotinas"]), "la gelotina") == []
    assert spans(PhraseFinder(["gelatina"], typos=False), "la gelotina") == []


def test_an_exact_word_beside_a_typo():
    finder = PhraseFinder(["neumonia bilateral"])
    assert spans(finder, "neumonia derecha bilateral; neunonia bilateral") == [
        ("neumonia derecha bilateral", 0, GAPPED),
        ("neunonia bilateral", 0, TYPO),
    ]
    # A typo between the words of a phrase is none of theirs.
    finder = PhraseFinder(["dolor lumbar", "derecha"])
    assert ("dolor derexha lumbar", 0, GAPPED) in spans(finder, "dolor derexha lumbar")


# -- state -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(PHRASES, TEXTS, st.booleans())
def test_it_comes_back_from_its_state(phrases, texts, typos):
    finder = PhraseFinder(phrases, typos=typos, known_words=["x1"])
    config, arrays = finder.get_state()
    again = PhraseFinder.from_state(json.loads(json.dumps(config)), arrays)
    for one, other in zip(finder.find(texts), again.find(texts), strict=True):
        assert_array_equal(one, other)
    config_again, arrays_again = again.get_state()
    assert config_again == config
    for name, array in arrays.items():
        assert arrays_again[name].tobytes() == array.tobytes()
        assert arrays_again[name].dtype == array.dtype


def test_spellings_remembered_are_bounded(monkeypatch):
    finder = PhraseFinder(["fever"])
    monkeypatch.setattr(automaton, "_KNOWN", 3)
    for i in range(10):
        assert len(finder.find([f"fever w{i}q w{i}z"]).rows) == 1
    assert len(finder._spellings) <= 6
