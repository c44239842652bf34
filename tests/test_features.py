"""Features of documents, against scikit-learn's vectorisers and scalers."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler, normalize

from hclf.errors import DataError, UsageError
from hclf.scorers.features import ROW_NORM, STEM, MatrixFeatures, TextFeatures, features_from_state

NO_ROWS = "scikit-learn's normalize() refuses a matrix of 0 rows: predict(['']) ends in a ValueError"

TEXTS = [
    "Oat milk, barista edition 1 L",
    "oat  MILK\nfor coffee",
    "Vitamin B 12 tablets",
    "Type 2 diabetes: no complication",
    "2",
    "Käse aus der Schweiz – 45 % Fett",
    "straße STRASSE Straße",
    "日本語 の 牛乳",
    "",
    "   \t\n",
    "milk milk milk",
    "!?…",
]
# Letters, digits and signs of several scripts, all of the basic plane, where our notion of a word is `\w`.
ALPHABET = "aB1é_ß中 \n\t-.,'\u00a0ΣİЖ"
texts = st.lists(st.text(ALPHABET, max_size=12), min_size=1, max_size=6)


def one_field(documents: Sequence[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in documents]


def slow_tfidf(train: Sequence[str], documents: Sequence[str]) -> csr_matrix:
    """The rows that TextFeatures promises for one field, by scikit-learn."""
    least = min(2, max(1, len(train) // 50))
    blocks = []
    for settings_ in (
        {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
        {"analyzer": "char_wb", "ngram_range": (3, 5), "min_df": least},
    ):
        vectorizer = TfidfVectorizer(**settings_, sublinear_tf=True)
        try:
            vectorizer.fit(train)
            blocks.append(vectorizer.transform(documents))
        except ValueError:  # nothing in the vocabulary
            blocks.append(csr_matrix((len(documents), 1)))
    return normalize(hstack(blocks)) * ROW_NORM


def products(X: csr_matrix) -> np.ndarray:
    """The inner products of rows: equal for equal rows, whatever the order of the columns."""
    return (X @ X.T).toarray()


def assert_rows(X: csr_matrix, n: int) -> None:
    """Float32 CSR, indices sorted, each row of length ROW_NORM or 0."""
    assert X.format == "csr"
    assert X.dtype == np.float32
    assert X.shape[0] == n
    assert X.has_sorted_indices
    lengths = np.sqrt(np.diag(products(X)))
    assert np.isclose(lengths, ROW_NORM, rtol=1e-5).sum() + (lengths == 0).sum() == n


def same(A: csr_matrix, B: csr_matrix) -> bool:
    """Bit for bit."""
    return A.shape == B.shape and (A != B).nnz == 0


def through_disk(features: Any, tmp_path: Any) -> Any:
    """What a bundle does to features."""
    config, arrays = features.get_state()
    np.savez(tmp_path / "arrays.npz", **arrays)
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as found:
        return features_from_state(json.loads(json.dumps(config)), dict(found))


# -- text --------------------------------------------------------------------------------------------------------


def test_text_rows_are_those_of_scikit_learn() -> None:
    train = TEXTS * 10  # more than 100 documents: a character n-gram must occur in two of them
    train[0], train[12] = "milk zebra", "käse once-Ünïcode"
    X, _ = TextFeatures().fit_transform(one_field(train))
    assert_rows(X, len(train))
    assert products(X) == pytest.approx(products(slow_tfidf(train, train)), abs=1e-5)


@settings(max_examples=40)
@given(texts, texts)
def test_any_text_gives_the_rows_of_scikit_learn(train: list[str], documents: list[str]) -> None:
    train = [*train, "a word"]
    features = TextFeatures()
    X, _ = features.fit_transform(one_field(train))
    assert_rows(X, len(train))
    documents = [*documents, "a word"]
    new = features.transform(one_field(documents))
    assert_rows(new, len(documents))
    assert products(new) == pytest.approx(products(slow_tfidf(train, documents)), abs=1e-5)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_no_text_at_all_is_too_strange(documents: list[str]) -> None:
    """Astral planes, controls, lone surrogates: rows like any other, the same on every call."""
    documents = [*documents, "a word"]
    features = TextFeatures()
    X, _ = features.fit_transform(one_field(documents))
    assert_rows(X, len(documents))
    assert same(features.transform(one_field(documents)), X)


def test_transform_gives_the_rows_of_fit_whatever_the_batch() -> None:
    features = TextFeatures()
    documents = one_field(TEXTS)
    X, _ = features.fit_transform(documents)
    assert same(features.transform(documents), X)
    for i, text in enumerate(TEXTS):
        if text:
            assert same(features.transform(documents[i : i + 1]), X[i])
    order = np.random.default_rng(0).permutation(len(documents))
    assert same(features.transform([documents[i] for i in order]), X[order])


def test_texts_without_a_known_word_give_empty_rows() -> None:
    features = TextFeatures()
    features.fit_transform(one_field(TEXTS))
    for empty in (["", "   "], ["\u2003\n"], ["qqq"]):
        assert features.transform(one_field(empty)).nnz == 0
    assert features.transform([{}, {"text": " "}]).nnz == 0


@pytest.mark.parametrize("documents", [[], [{}], [{"text": ""}]])
def test_a_batch_without_any_text_gives_empty_rows(documents: list[dict[str, str]]) -> None:
    features = TextFeatures()
    X, _ = features.fit_transform(one_field(TEXTS))
    found = features.transform(documents)
    assert (found.nnz, found.shape) == (0, (len(documents), X.shape[1]))


def test_case_and_blanks_do_not_matter_but_digits_and_single_letters_do() -> None:
    features = TextFeatures()
    X, _ = features.fit_transform(one_field(["Vitamin B 12", " vitamin\tb\n12 ", "vitamin c 12", "vitamin b 6"]))
    assert same(X[0], X[1])
    assert not same(X[0], X[2])
    assert not same(X[0], X[3])


def test_extra_texts_count_like_documents() -> None:
    documents, extra = ["oat milk", "rye bread"], ["milk", "bread roll"]
    X, E = TextFeatures().fit_transform(one_field(documents), extra)
    whole, nothing = TextFeatures().fit_transform(one_field(documents + extra))
    assert same(X, whole[:2])
    assert same(E, whole[2:])
    assert nothing.shape == (0, whole.shape[1])


@pytest.mark.parametrize("documents", [[], [""], ["...", " \n"]])
def test_without_a_single_word_there_is_nothing_to_learn(documents: list[str]) -> None:
    with pytest.raises(DataError, match="no training document has a single word"):
        TextFeatures().fit_transform(one_field(documents))


# -- fields ------------------------------------------------------------------------------------------------------

OFFERS = [
    {"title": "oat milk", "description": "a drink made of oats, for coffee"},
    {"title": "rye bread", "description": ""},
    {"title": "", "description": "a loaf of rye and oats"},
    {"title": "oat milk", "description": "a loaf of rye and oats"},
]


def test_fields_are_weighed_apart_and_added() -> None:
    """A long description does not drown a short title: each is of unit length before it is weighed."""
    features = TextFeatures({"title": 1.0, "description": 0.25})
    X, _ = features.fit_transform(OFFERS)
    assert_rows(X, 4)
    both, title, description = X[3], X[0], X[2]
    assert (both @ title.T).sum() > (both @ description.T).sum()
    only_title, only_description = features.transform(
        [{"title": "oat milk"}, {"description": "a loaf of rye and oats"}]
    )
    assert same(only_description, description)
    # Both n-gram blocks are sums of fields of unit length, made unit again: their cosine with the heavier field is
    # at least 1 / sqrt(1 + 0.25 ** 2), were the fields orthogonal.
    assert (both @ only_title.T).sum() / ROW_NORM**2 >= 1 / np.sqrt(1 + 0.25**2) - 1e-5


def test_a_document_with_one_field_does_not_depend_on_its_weight() -> None:
    light, heavy = (TextFeatures({"title": 1.0, "description": w}).fit_transform(OFFERS)[0] for w in (0.1, 10.0))
    assert products(light[[1, 2]]) == pytest.approx(products(heavy[[1, 2]]), abs=1e-6)
    assert products(light)[3, 0] > products(heavy)[3, 0]


def test_by_default_the_first_field_weighs_twice_the_others() -> None:
    features = TextFeatures()
    X, _ = features.fit_transform(OFFERS)
    assert features.field_weights == {"title": 1.0, "description": 0.5}
    assert same(X, TextFeatures({"title": 1.0, "description": 0.5}).fit_transform(OFFERS)[0])


def test_fields_are_known_by_name_not_by_place() -> None:
    features = TextFeatures()
    X, _ = features.fit_transform(OFFERS)
    turned = [dict(reversed(offer.items())) for offer in OFFERS]
    assert products(features.transform(turned)) == pytest.approx(products(X), abs=1e-6)
    assert (
        features.transform([{"title": "oat milk", "brand": "Oatly"}]).nnz
        == features.transform([{"title": "oat milk"}]).nnz
    )


def test_text_only_in_fields_the_model_does_not_know_is_a_wrong_call() -> None:
    features = TextFeatures()
    features.fit_transform(OFFERS)
    with pytest.raises(UsageError, match=r"(?s)brand.*title"):
        features.transform([{"brand": "Oatly"}])


def test_field_weight_0_leaves_a_field_out() -> None:
    X, _ = TextFeatures({"title": 1.0, "description": 0.0}).fit_transform(OFFERS)
    assert X[2].nnz == 0
    assert same(X[0], X[3])


def test_by_default_the_main_text_is_that_of_the_first_field() -> None:
    features = TextFeatures()
    features.fit_transform(OFFERS)
    assert features.main_text(OFFERS) == ["oat milk", "rye bread", "", "oat milk"]
    assert features.main_text([{"description": "a loaf"}, {}, {"title": "rye"}]) == ["", "", "rye"]
    assert features.main_text([]) == []


@pytest.mark.parametrize(
    ("weights", "main"),
    [
        ({"title": 0.4, "description": 0.6}, "description"),
        ({"description": 1.0, "title": 1.0}, "description"),
        ({"title": 1.0, "description": 1.0}, "title"),
        ({"title": 0.0, "description": 0.1}, "description"),
    ],
)
def test_the_main_text_is_that_of_the_heaviest_field_or_the_first_of_equals(
    weights: dict[str, float], main: str
) -> None:
    features = TextFeatures(weights)
    features.fit_transform(OFFERS)
    assert features.main_text(OFFERS) == [offer[main] for offer in OFFERS]


# -- words -------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(texts, texts, st.integers(1, 6))
def test_words_are_ones_at_the_known_words_among_the_first(train: list[str], documents: list[str], most: int) -> None:
    features = TextFeatures()
    features.fit_transform(one_field([*train, "a word"]))
    known = {word for text in [*train, "a word"] for word in re.findall(r"\w+", text.lower())}
    column = {word: features.words([word], 1).indices.tolist() for word in known}
    assert all(len(found) == 1 for found in column.values())
    assert len({found[0] for found in column.values()}) == len(known)
    found = features.words(documents, most)
    assert (found.shape, found.dtype) == ((len(documents), len(features.vocabularies[0])), np.float32)
    assert found.has_sorted_indices
    assert (found.data == 1).all()
    for row, text in zip(found, documents, strict=True):
        first = re.findall(r"\w+", text.lower())[:most]
        assert row.indices.tolist() == sorted({column[word][0] for word in first if word in known})


def test_words_said_twice_take_two_places_and_count_once() -> None:
    features = TextFeatures()
    features.fit_transform(one_field(TEXTS))
    assert features.words(["milk milk oat"], 2).nnz == 1
    assert features.words(["milk milk oat"], 3).nnz == 2
    assert features.words(["qqq oat"], 1).nnz == 0


@settings(max_examples=60)
@given(texts, texts, st.integers(1, 6))
def test_stems_follow_the_words(train: list[str], documents: list[str], most: int) -> None:
    """Of words as long as a stem; in the same places as the words they begin."""
    plain, features = TextFeatures(), TextFeatures(stems=True)
    for one in (plain, features):
        one.fit_transform(one_field([*train, "a word"]))
    known = {word[:STEM] for text in [*train, "a word"] for word in re.findall(r"\w+", text.lower())}
    known = {stem for stem in known if len(stem) == STEM}
    width = len(plain.vocabularies[0])
    assert len(features.stems) == len(known)
    found = features.words(documents, most)
    assert same(found[:, :width], plain.words(documents, most))
    stems = [{word[:STEM] for word in re.findall(r"\w+", text.lower())[:most]} & known for text in documents]
    assert np.diff(found[:, width:].indptr).tolist() == [len(said) for said in stems]
    rows, columns, starts, ends = (part.tolist() for part in features.word_places(documents, most))
    of_words, of_stems = set(), set()
    for row, column, start, end in zip(rows, columns, starts, ends, strict=True):
        (of_words if column < width else of_stems).add((row, start, end))
        assert found[row, column] == 1
    assert {place for place in of_words if place[2] - place[1] >= STEM} <= of_stems


def test_words_that_begin_alike_share_a_stem() -> None:
    features = TextFeatures(stems=True)
    features.fit_transform(one_field(["heart attack", "ear"]))
    width = len(features.vocabularies[0])
    assert features.words(["hearts"], 9).indices.tolist() == features.words(["heart"], 9).indices.tolist()[1:]
    assert (features.words(["ears"], 9).nnz, features.words(["ear"], 9).indices.max() < width) == (0, True)


def test_words_are_the_same_after_saving(tmp_path: Any) -> None:
    features = TextFeatures({"title": 0.2, "text": 0.5}, stems=True)
    features.fit_transform(one_field(TEXTS))
    again = through_disk(features, tmp_path)
    assert same(again.words(TEXTS, 3), features.words(TEXTS, 3))
    assert again.main_text([{"title": "a", "text": "b"}]) == ["b"]


# -- matrices ----------------------------------------------------------------------------------------------------


def random_matrix(seed: int, *, density: float, missing: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.normal(rng.normal(0, 10, 6), rng.exponential(3, 6) + 0.1, size=(30, 6))
    X[rng.random(X.shape) >= density] = 0
    X[rng.random(X.shape) < missing] = np.nan
    X[0] = np.arange(1, 7)  # no column is all missing or all zero
    return X


def slow_standardised(train: np.ndarray, X: np.ndarray, *, centred: bool) -> np.ndarray:
    imputer, scaler = SimpleImputer(), StandardScaler()
    imputer.fit(train)
    if centred:
        present = np.ma.masked_invalid(train)
        scaler.fit(train)
        assert scaler.scale_ == pytest.approx(present.std(axis=0).filled(1.0))  # scikit-learn leaves NaN out, too
        return normalize(scaler.transform(imputer.transform(X))) * ROW_NORM
    return normalize(imputer.transform(X) / np.sqrt(np.nanmean(train**2, axis=0))) * ROW_NORM


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2]))
def test_a_dense_matrix_is_imputed_standardised_and_scaled(seed: int, missing: float) -> None:
    train, new = (random_matrix(seed + i, density=0.9, missing=missing) for i in (0, 1))
    features = MatrixFeatures()
    X, extra = features.fit_transform(csr_matrix(train))
    assert extra.shape == (0, 6)
    assert X.dtype == np.float32
    assert X.toarray() == pytest.approx(slow_standardised(train, train, centred=True), abs=1e-5)
    assert features.transform(csr_matrix(new)).toarray() == pytest.approx(
        slow_standardised(train, new, centred=True), abs=1e-5
    )


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05]))
def test_a_sparse_matrix_stays_sparse(seed: int, missing: float) -> None:
    train = random_matrix(seed, density=0.15, missing=missing)
    assume((train != 0).mean() <= 0.3)  # else it is dense, by chance
    X, _ = MatrixFeatures().fit_transform(csr_matrix(train))
    assert X.toarray() == pytest.approx(slow_standardised(train, train, centred=False), abs=1e-5)
    assert ((train == 0) <= (X.toarray() == 0)).all()


@pytest.mark.parametrize("density", [0.1, 0.9])
def test_matrix_rows_do_not_depend_on_their_batch(density: float) -> None:
    train = csr_matrix(random_matrix(0, density=density, missing=0.1))
    before = train.copy()
    features = MatrixFeatures()
    X, _ = features.fit_transform(train)
    for i in range(train.shape[0]):
        assert same(features.transform(train[i]), X[i])
    assert np.array_equal(train.toarray(), before.toarray(), equal_nan=True)  # the caller's matrix stays as it is


def test_no_rows_of_a_matrix_give_no_rows() -> None:
    features = MatrixFeatures()
    train = csr_matrix(random_matrix(0, density=0.9, missing=0))
    features.fit_transform(train)
    assert features.transform(train[:0]).shape == (0, 6)


def test_constant_and_missing_columns_are_no_trouble() -> None:
    train = np.array([[1.0, 5.0, np.nan, 0.0], [2.0, 5.0, np.nan, 0.0], [4.0, 5.0, np.nan, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X, _ = MatrixFeatures().fit_transform(csr_matrix(train))
    assert np.isfinite(X.toarray()).all()
    assert (X.toarray()[:, 1:] == 0).all()


def test_large_offsets_do_not_swallow_small_differences() -> None:
    """Years, prices in cents, time stamps: what counts is the difference."""
    rng = np.random.default_rng(0)
    small = rng.normal(size=(50, 3))
    shifted, plain = (MatrixFeatures().fit_transform(csr_matrix(m))[0].toarray() for m in (small + 1e9, small))
    assert shifted == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("width", [5, 7])
def test_a_matrix_of_another_width_is_a_wrong_call(width: int) -> None:
    features = MatrixFeatures()
    features.fit_transform(csr_matrix(random_matrix(0, density=0.9, missing=0)))
    with pytest.raises(UsageError, match=f"{width} features.*fitted on 6"):
        features.transform(csr_matrix(np.ones((1, width))))


# -- state -------------------------------------------------------------------------------------------------------


def test_features_score_bit_for_bit_the_same_after_saving(tmp_path: Any) -> None:
    text, matrix = TextFeatures(), MatrixFeatures()
    X, _ = text.fit_transform(one_field(TEXTS))
    assert same(through_disk(text, tmp_path).transform(one_field(TEXTS)), X)
    for density in (0.1, 0.9):
        train = csr_matrix(random_matrix(1, density=density, missing=0.1))
        X, _ = matrix.fit_transform(train)
        assert same(through_disk(matrix, tmp_path).transform(train), X)


@pytest.mark.parametrize(
    "odd", ["lone \ud800 surrogate", "nul \0 and \u2028 separators", "🧀 cheese 🧀", "a", "x" * 5_000]
)
def test_odd_texts_survive_saving(odd: str, tmp_path: Any) -> None:
    text = TextFeatures()
    X, _ = text.fit_transform(one_field([odd, odd]))
    assert same(through_disk(text, tmp_path).transform(one_field([odd, odd])), X)


# -- features by the words they are in -------------------------------------------------------------------------


@cache
def two_fields() -> TextFeatures:
    features = TextFeatures()
    features.fit_transform([{"title": a, "more": b} for a, b in zip(TEXTS, reversed(TEXTS), strict=True)])
    return features


@given(st.lists(st.dictionaries(st.sampled_from(["title", "more"]), st.text(ALPHABET, max_size=12)), max_size=4))
def test_what_the_words_of_a_document_add_up_to_is_its_row(documents):
    features = two_fields()
    words = features.located(documents)
    member = csr_matrix(
        (np.ones(len(words.rows)), (words.rows, np.arange(len(words.rows)))), shape=(len(documents), len(words.rows))
    )
    expected = features.transform(documents)
    assert (member @ words.X).toarray() == pytest.approx(expected.toarray(), abs=1e-6)
    for row, field, start, end in zip(words.rows, words.fields, words.starts, words.ends, strict=True):
        assert documents[row][field][start:end].strip()
