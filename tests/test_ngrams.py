"""Hashed n-grams are scikit-learn's n-grams."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from hclf.scorers.ngrams import Ngrams, Vocabulary, extract, extract_words, locate

SETTINGS = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    {"analyzer": "char_wb", "ngram_range": (3, 5)},
)
# Beyond the basic plane every character counts as a letter here: a documented difference to `\w`.
TEXTS = st.lists(st.text(st.characters(max_codepoint=0xFFFE, exclude_categories=["Cs"]), max_size=40), max_size=6)


def counts(grams: Ngrams, n: int) -> np.ndarray:
    _, columns = np.unique(grams.hashes, return_inverse=True)
    width = int(columns.max(initial=-1)) + 1
    return csr_matrix((np.ones(len(columns)), (grams.rows, columns)), shape=(n, max(width, 1))).toarray()


def table(texts: list[str], settings: dict) -> np.ndarray:
    try:
        return CountVectorizer(**settings).fit_transform(texts).toarray()
    except ValueError:  # empty vocabulary
        return np.zeros((len(texts), 1))


@given(TEXTS)
def test_the_same_ngrams_as_count_vectorizer(texts: list[str]) -> None:
    for grams, settings in zip(extract(texts), SETTINGS, strict=True):
        ours, theirs = counts(grams, len(texts)), table(texts, settings)
        # Columns are in another order: compare them as multisets.
        assert sorted(map(tuple, ours.T.tolist())) == sorted(map(tuple, theirs.T.tolist()))


@pytest.mark.parametrize("text", ["", " ", "a", "  a\u00a0b\n", "x" * 5000, "é ß İ ǅ", "😀 emoji", "one, two-three"])
def test_odd_texts(text: str) -> None:
    for grams in extract([text, "known words", text]):
        first, third = (grams.hashes[grams.rows == row] for row in (0, 2))
        assert np.sort(first).tolist() == np.sort(third).tolist()


@given(TEXTS, st.integers(0, 12))
def test_the_first_words_are_those_of_a_regular_expression(texts: list[str], most: int) -> None:
    """With the hashes that `extract` gives them: a word alone in a text is its own first word 1-gram."""
    found = extract_words(texts, most)
    words = [re.findall(r"\w+", text.lower())[:most] for text in texts]
    assert found.rows.tolist() == [row for row, said in enumerate(words) for _ in said]
    alone = {word: extract([word])[0].hashes[0] for said in words for word in said}
    assert found.hashes.tolist() == [alone[word] for said in words for word in said]


@given(TEXTS, st.integers(0, 12), st.integers(1, 6))
def test_stems_are_the_beginnings_of_the_first_words(texts: list[str], most: int, stem: int) -> None:
    found = extract_words(texts, most, stem)
    words = [re.findall(r"\w+", text.lower())[:most] for text in texts]
    begun = [(row, word[:stem]) for row, said in enumerate(words) for word in said if len(word) >= stem]
    assert found.rows.tolist() == [row for row, _ in begun]
    alone = {start: extract_words([start], 1).hashes[0] for _, start in begun}
    assert found.hashes.tolist() == [alone[start] for _, start in begun]


@pytest.mark.parametrize("texts", [[], [""], ["", " \n", "!?"]])
def test_texts_without_words_have_no_first_words(texts: list[str]) -> None:
    found = extract_words(texts, 3)
    assert (len(found.rows), len(found.hashes)) == (0, 0)
    assert (found.rows.dtype, found.hashes.dtype) == (np.int32, np.uint64)


def test_different_ngrams_have_different_hashes() -> None:
    words = [f"{a}{b} {b}{a}" for a in "abcdefghijklmnopqrstuvwxyz" for b in "0123456789äöü"]
    for grams, settings in zip(extract(words), SETTINGS, strict=True):
        assert len(np.unique(grams.hashes)) == len(CountVectorizer(**settings).fit(words).vocabulary_)


@given(st.lists(st.integers(0, 2**64 - 1), unique=True), st.lists(st.integers(0, 2**64 - 1)))
def test_vocabulary_finds_what_it_knows(known: list[int], asked: list[int]) -> None:
    # Neighbours of known hashes share their slots: the crowded case.
    known = sorted({*known, *(k ^ 1 for k in known)})
    vocabulary = Vocabulary(np.array(known, dtype=np.uint64))
    queries = [*known, *asked, *((k + 2) % 2**64 for k in known)]
    place = {hash_: i for i, hash_ in enumerate(known)}
    assert vocabulary.columns(np.array(queries, dtype=np.uint64)).tolist() == [place.get(q, -1) for q in queries]


# -- where they are ----------------------------------------------------------------------------------------------


@given(TEXTS)
def test_every_occurrence_has_its_places(texts: list[str]) -> None:
    words, *places = locate(texts)
    for grams, found in zip(extract(texts), places, strict=True):
        hashes, times = np.unique(np.stack([words.rows[found.words], found.hashes]), axis=1, return_inverse=True)
        counts = np.bincount(times.ravel(), found.shares, minlength=hashes.shape[1])
        expected = np.unique(np.stack([grams.rows, grams.hashes]), axis=1, return_counts=True)
        assert hashes.tolist() == expected[0].tolist()
        assert counts == pytest.approx(expected[1])


@given(TEXTS)
def test_words_are_where_the_text_says_so(texts: list[str]) -> None:
    words = locate(texts)[0]
    found = [(row, texts[row][a:b]) for row, a, b in zip(*(part.tolist() for part in words), strict=True)]
    for row, text in enumerate(texts):
        said = [word for of, word in found if of == row]
        # A capital that is two characters in lower case may be two words: without its dot it is one.
        plain = text.replace("İ", "I")
        if text == plain:
            expected = [w for part in plain.lower().split() for w in re.findall(r"\w+", part) or [part]]
            assert [word.lower() for word in said] == expected
        assert all(word and not word.isspace() for word in said)


def test_offsets_are_those_of_the_text_as_given() -> None:
    text = "  Crème\r\nbrûlée, İzmir 😀 E11.9 -- "
    words = locate([text])[0]
    found = [text[a:b] for a, b in zip(words.starts.tolist(), words.ends.tolist(), strict=True)]
    assert found == ["Crème", "brûlée", "İ", "zmir", "😀", "E11", "9", "--"]


def slow_shares(text: str) -> list[float]:
    """How many character 3-5-grams each word of a text has, with what stands beside it."""
    shares = []
    for token in text.split():
        inside = [match.span() for match in re.finditer(r"\w+", token)] or [(0, len(token))]
        word_of = [
            max([i for i, (start, _) in enumerate(inside) if start <= at], default=0) for at in range(len(token))
        ]
        found = [0.0] * len(inside)
        padded = f" {token} "
        for n in (3, 4, 5):
            for start in range(len(padded) - n + 1):
                covered = [at - 1 for at in range(start, start + n) if padded[at] != " "]
                for at in covered:
                    found[word_of[at]] += 1 / len(covered)
        shares += found
    return shares


@given(st.text("abc )-\t", max_size=20))
def test_character_ngrams_are_shared_by_their_characters(text: str) -> None:
    words, _, characters = locate([text])
    found = np.bincount(characters.words, characters.shares, minlength=len(words.rows))
    assert found.tolist() == pytest.approx(slow_shares(text))
