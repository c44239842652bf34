"""What scorers say of places in documents: exact for linear models, divided for matching."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import GARDEN_TEXTS, documents_about, garden, garden_sample
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.evidence import Batch, Explainer, Question
from hclf.fusion import Calibration
from hclf.labels import label_matrix
from hclf.scorers.base import Candidates, Contribution, Scored
from hclf.scorers.linear import LinearScorer
from hclf.scorers.matching import log_scaled
from hclf.scorers.together import Together

WORDS = ["oak", "OAK", "fern", "forest", "damp", "moss", "slate", "roof", "grey", "marble", "don't", "E11.9"]
WORDS += ["é", "o\u0308l", "İstanbul", "😀", "☃", "--", ",", "\r\n", "\u00a0"]
documents = st.lists(
    st.dictionaries(
        st.sampled_from(["title", "more", "unknown"]), st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
    ).map(lambda fields: {"title": "x", **fields}),
    min_size=1,
    max_size=4,
)


@cache
def two_fields(matching: bool = False) -> LinearScorer:
    sample = garden_sample(garden())
    inputs = [{"title": text, "more": f"grey forest {text[::-1]}, don't"} for text in sample.X]
    Y = label_matrix(sample.taxonomy, sample.y)
    return LinearScorer(matching=matching, n_jobs=1).fit(inputs, Y, taxonomy=sample.taxonomy)


def every_pair(n: int, nodes: int) -> tuple[Any, Any]:
    return np.repeat(np.arange(n), nodes), np.tile(np.arange(nodes), n)


def total(contributions: list[Contribution], source: str) -> float:
    return sum(c.value for c in contributions if c.source == source)


@given(documents)
def test_contributions_and_the_bias_add_up_to_the_margin(inputs):
    scorer = two_fields()
    margins = scorer.score(inputs).channels[0]
    rows, columns = every_pair(len(inputs), len(scorer.columns))
    found = scorer.evidence(inputs, rows, scorer.columns[columns])
    sums = [total(contributions, "linear") + scorer.bias[k] for contributions, k in zip(found, columns, strict=True)]
    assert sums == pytest.approx(margins[rows, columns].tolist(), abs=1e-4)
    for row, contributions in zip(rows, found, strict=True):
        for c in contributions:
            said = inputs[row][c.field][c.start : c.end]
            assert said
            assert said == said.strip()


def test_pairs_may_come_in_any_order_and_twice():
    scorer = two_fields(matching=True)
    inputs = [{"title": text} for text in ("grey slate", "damp moss on an oak", "", "fern")]
    rows, columns = every_pair(4, 7)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(28), 2))
    straight = scorer.evidence(inputs, rows, columns)
    assert scorer.evidence(inputs, rows[order], columns[order]) == [straight[i] for i in order]
    alone = [
        scorer.evidence([inputs[row]], np.array([0]), np.array([j]))[0] for row, j in zip(rows, columns, strict=True)
    ]
    assert_alike(alone, straight)
    assert scorer.evidence(inputs, rows[:0], columns[:0]) == []


def assert_alike(some: list[list[Contribution]], others: list[list[Contribution]]) -> None:
    for a, b in zip(some, others, strict=True):
        assert [c._replace(value=0) for c in a] == [c._replace(value=0) for c in b]
        assert [c.value for c in a] == pytest.approx([c.value for c in b], abs=1e-6)


def test_a_word_said_twice_shares_what_it_adds():
    scorer = two_fields()
    slate = garden().index("slate")
    [found] = scorer.evidence([{"title": "slate, slate"}], np.array([0]), np.array([slate]))
    first, second = (c.value for c in found if c.source == "linear")
    assert first > 0
    # The pair of words is shared equally, and so is each word; only n-grams with the comma differ.
    assert first == pytest.approx(second, rel=0.35)


def test_documents_of_more_than_one_batch(monkeypatch):
    monkeypatch.setattr("hclf.scorers.linear_evidence.DOCUMENTS_AT_ONCE", 2)
    scorer = two_fields(matching=True)
    inputs = [{"title": text, "more": "moss"} for texts in GARDEN_TEXTS.values() for text in texts]
    rows, columns = every_pair(len(inputs), 7)
    found = scorer.evidence(inputs, rows, columns)
    monkeypatch.undo()
    assert_alike(found, scorer.evidence(inputs, rows, columns))


# -- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.05])
def test_numbers_contribute_by_column(zoo, share):
    rng = np.random.default_rng(0)
    y = documents_about(zoo, 40).y
    Y = label_matrix(zoo, y)
    X = Y.toarray() * 2.0 + rng.normal(size=Y.shape)
    X = X * (rng.random(X.shape) < share) if share < 1 else X
    X[3, 2] = np.nan
    scorer = LinearScorer(n_jobs=1).fit(csr_matrix(X), Y, taxonomy=zoo)
    rows, columns = every_pair(5, len(scorer.columns))
    found = scorer.evidence(csr_matrix(X), rows, scorer.columns[columns])
    sums = [total(contributions, "linear") + scorer.bias[k] for contributions, k in zip(found, columns, strict=True)]
    assert sums == pytest.approx(scorer.score(csr_matrix(X[:5])).channels[0].ravel().tolist(), abs=1e-4)
    assert any(found)
    for row, contributions in zip(rows, found, strict=True):
        for c in contributions:
            j = int(c.field.removeprefix("column "))
            assert (c.start, c.end, c.why) == (0, 0, f"value {X[row, j]:.6g}")


# -- matching ----------------------------------------------------------------------------------------------------


def test_words_of_phrases_are_what_speaks_for_a_node_without_documents():
    scorer, taxonomy = two_fields(matching=True), garden()
    text = "a DAMP wall, with moss"
    moss = taxonomy.index("moss")
    [found] = scorer.evidence([{"title": text}], np.array([0]), np.array([moss]))
    assert {text[c.start : c.end] for c in found} == {"DAMP", "moss"}
    assert {c.source for c in found} == {"linear.match", "linear.overlap", "linear.covered"}
    assert {c.field for c in found} == {"title"}
    scored = scorer.score([{"title": text}]).candidates
    place = np.flatnonzero(scored.columns == moss)[0]
    names = scorer.candidate_channels
    for channel in ("overlap", "covered"):
        assert total(found, f"linear.{channel}") == pytest.approx(
            scored.channels[names.index(channel), place], abs=1e-6
        )
    assert 0 < total(found, "linear.match") < scored.channels[names.index("match"), place]


@given(documents)
def test_matching_never_speaks_against_and_never_more_than_its_channels(inputs):
    scorer, n = two_fields(matching=True), len(garden())
    rows, columns = every_pair(len(inputs), n)
    found = scorer.evidence(inputs, rows, columns)
    said = scorer.matcher.match(scorer._words(inputs), scorer.features.transform(inputs))
    match = np.zeros((len(inputs), n))
    match[said.rows, said.columns] = log_scaled(said.probability)
    for row, j, contributions in zip(rows, columns, found, strict=True):
        assert all(c.value >= 0 for c in contributions if c.source != "linear")
        assert total(contributions, "linear.match") <= match[row, j] + 1e-6


def test_a_candidate_with_no_more_than_its_equal_share_has_no_evidence():
    scorer, taxonomy = two_fields(matching=True), garden()
    [found] = scorer.evidence([{"title": "zebra"}], np.array([0]), np.array([taxonomy.index("marble")]))
    assert found == []


# -- several scorers ---------------------------------------------------------------------------------------------


class Names:
    """A scorer of pairs: nodes whose ids a text says."""

    name = "names"
    channels: tuple[str, ...] = ()
    candidate_channels = ("said",)
    columns = np.zeros(0, dtype=np.int64)

    def fit(self, inputs: Any, Y: Any, *, taxonomy: Any, unknown: Any = None, progress: Any = None) -> Any:
        self.nodes, self.known = taxonomy.nodes, np.arange(len(taxonomy))
        return self

    def score(self, inputs: Any) -> Scored:
        said = [
            (row, j) for row, fields in enumerate(inputs) for j, n in enumerate(self.nodes) if n in fields["title"]
        ]
        rows, columns = np.array(said, dtype=np.int64).reshape(-1, 2).T
        none = np.zeros((0, len(inputs), 0), dtype=np.float32)
        return Scored(none, Candidates(rows, columns, np.ones((1, len(rows)), dtype=np.float32)))

    def evidence(self, inputs: Any, rows: Any, columns: Any) -> list[list[Contribution]]:
        found: list[list[Contribution]] = [[] for _ in rows]
        for i, (row, j) in enumerate(zip(rows, columns, strict=True)):
            at = inputs[row]["title"].find(self.nodes[j])
            if at >= 0:
                found[i].append(Contribution("names", "title", at, at + len(self.nodes[j]), 1.0, "its id"))
        return found


def test_scorers_together_are_weighed_by_their_own_channels():
    sample = garden_sample(garden())
    taxonomy = sample.taxonomy
    inputs = [{"title": text} for text in sample.X]
    both = Together({"linear": LinearScorer(matching=False, n_jobs=1), "names": Names()})
    both.fit(inputs, label_matrix(taxonomy, sample.y), taxonomy=taxonomy)
    weights = {"linear.margin": 2.0, "names.said": 3.0}
    of_columns = np.tile([weights.get(channel, 0.0) for channel in both.channels], (taxonomy.depth, 1))
    of_pairs = np.tile([7.0 * (channel == "names.said") for channel in both.candidate_channels], (taxonomy.depth, 1))
    levels = np.zeros(taxonomy.depth)
    explainer = Explainer(
        taxonomy,
        both,
        Calibration(of_columns, levels),
        Calibration(of_pairs, levels),
        np.ones(len(taxonomy), dtype=np.int64),
        None,
        lifted=True,
    )
    text = "grey slate beside moss"
    scores = np.full((1, len(taxonomy)), 0.1, dtype=np.float32)
    batch = Batch([{"title": text}], scores, scores, label_matrix(taxonomy, [[]]))
    slate, moss = explainer.explain(batch, Question.about(taxonomy, ["slate", "moss"], top=20))[0][::-1]
    assert (slate.node, moss.node) == ("slate", "moss")
    assert {(s.source, text[s.start : s.end], s.value, s.why) for s in moss.spans} == {
        ("names", "moss", 7.0, "its id")
    }
    assert ("names", "slate", 3.0, "its id") in {
        (s.source, text[s.start : s.end], s.value, s.why) for s in slate.spans
    }
    column = np.array([taxonomy.index("slate")])
    alone = both.parts["linear"].evidence([{"title": text}], np.array([0]), column)[0]
    every = sum(s.value for s in (*slate.spans, *slate.against)) + slate.rest
    assert every == pytest.approx(2 * total(alone, "linear") + 3, abs=1e-5)
