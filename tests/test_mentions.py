"""Mentions: where documents say what they belong to, from records to scorers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.classifier import HierarchicalClassifier
from hclf.data import Document
from hclf.data.spans import place_span
from hclf.errors import DataError
from hclf.mentions import as_mentions, spans_of
from hclf.scorers.base import Mention
from hclf.scorers.linear import LinearScorer
from hclf.taxonomy import Node, Taxonomy

FOOD = Taxonomy([Node("food"), Node("tea", {"": "Black tea"})], [("food", "tea")])
TEXT = {"title": "oat", "empty": "", "body": "milk tea"}


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"start": 0, "end": 3, "label": "tea"}, ("title", ((0, 3),))),
        ({"start": 4, "end": 8, "label": "tea"}, ("body", ((0, 4),))),
        ({"start": 5, "end": 8, "label": "tea", "field": "body"}, ("body", ((5, 8),))),
        ({"parts": [(9, 12), (4, 8)], "label": "tea"}, ("body", ((0, 4), (5, 8)))),
        ((4, 8, "tea"), ("body", ((0, 4),))),
        ((0, 4, "black TEA", "body"), ("body", ((0, 4),))),
        ([0, 4, "food > black tea", "body"], ("body", ((0, 4),))),
        (Mention(1, "body", ((0, 4),)), ("body", ((0, 4),))),
    ],
)
def test_every_form_of_a_mention(span: Any, expected: tuple[str, Any]) -> None:
    assert as_mentions(FOOD, [TEXT, TEXT], [[], [span]]) == [[], [Mention(1, *expected)]]


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=4), st.integers(0, 12), st.integers(0, 4))
def test_offsets_without_a_field_count_in_the_text_of_the_document(texts: list[str], start: int, width: int) -> None:
    document = Document("1", {f"f{i}": text for i, text in enumerate(texts)})
    span = {"start": start, "end": start + width}
    said = document.text[start : start + width]
    if start + width > len(document.text) or "\n" in said or not document.text:
        with pytest.raises(DataError):
            place_span(span, document.fields)
    else:
        field, ((begin, end),) = place_span(span, document.fields)
        assert document.fields[field][begin:end] == said


def test_what_says_nothing_is_left_out() -> None:
    assert as_mentions(FOOD, [TEXT], [[{"start": 0, "end": 3}, {"start": 1, "end": 1, "label": "tea"}]]) is None
    assert as_mentions(FOOD, [TEXT], None) is None
    assert as_mentions(FOOD, csr_matrix(np.eye(2)), [[], []]) is None


@pytest.mark.parametrize(
    ("mentions", "message"),
    [
        ([[]], "2 documents but mentions of 1"),
        ([[], [(0, 3, "tee")]], "row 2: unknown label 'tee'"),
        ([[(0, 99, "tea")], []], "row 1: a span from 0 to 99 lies outside the text"),
        ([[(0, 5, "tea")], []], "outside the text"),
        ([[(0, 3, "tea", "nose")], []], "a text field 'nose' that the document lacks"),
        ([[{"start": 0, "label": "tea"}], []], "integers 0 <= start <= end"),
        ([[{"parts": [(0, 3), (4, 8)], "label": "tea"}], []], "over several text fields"),
    ],
)
def test_mentions_that_cannot_be(mentions: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_mentions(FOOD, [TEXT, TEXT], mentions)


def test_documents_bring_their_spans() -> None:
    spans = ({"start": 0, "end": 3, "label": "tea"},)
    assert spans_of([Document("1", TEXT, spans=spans), Document("2", TEXT)]) == [spans, ()]
    assert spans_of(["text"]) is spans_of([]) is spans_of(np.eye(2)) is None


class Listener(LinearScorer):
    """A linear scorer that takes mentions, and tells who was told what."""

    heard: list[tuple[list[str], Any]]

    def fit(self, inputs: Any, Y: Any, *, mentions: Any = None, **about: Any) -> Any:
        self.heard.append(([fields["text"] for fields in inputs], mentions))
        return super().fit(inputs, Y, **about)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    told: list[Any] = []
    monkeypatch.setattr(Listener, "heard", told, raising=False)
    from hclf.scorers.table import SCORERS

    monkeypatch.setitem(SCORERS, "listener", f"{__name__}:Listener")
    return told


@pytest.mark.parametrize("scorer", ["listener", "listener+linear"])
@pytest.mark.parametrize("as_documents", [False, True])
def test_mentions_follow_the_folds(scorer: str, as_documents: bool, heard: list[Any]) -> None:
    texts = [f"tea {i}" for i in range(30)]
    spans = [[{"start": 0, "end": 4 + len(str(i)), "label": "tea"}] * (i % 2) for i in range(30)]
    X = [Document("", {"text": t}, spans=tuple(s)) for t, s in zip(texts, spans, strict=True)]
    y = [["tea" if i % 3 else "food"] for i in range(30)]
    model = HierarchicalClassifier(taxonomy=FOOD, scorer=scorer, n_jobs=1)
    model.fit(*((X, y) if as_documents else (texts, y)), mentions=None if as_documents else spans)
    assert len(heard) == 6
    assert [len(said) for said, _ in heard] == [24] * 5 + [30]
    for said, mentions in heard:
        for text, of_text in zip(said, mentions, strict=True):
            there = int(text[4:]) % 2
            assert of_text == [Mention(1, "text", ((0, len(text)),))] * there


def test_without_any_mention_none_are_passed_on(heard: list[Any]) -> None:
    X, y = [f"tea {i}" for i in range(12)], [["tea"], ["food"]] * 6
    HierarchicalClassifier(taxonomy=FOOD, scorer="listener", n_jobs=1).fit(X, y)
    assert all(mentions is None for _, mentions in heard)
