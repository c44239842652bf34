"""From contributions to explanations: spans, sources, siblings, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from dags import dags
from hypothesis import given
from hypothesis import strategies as st

from hclf.errors import DataError, UsageError
from hclf.evidence import Batch, Contrast, Explainer, Explanation, Question, Span
from hclf.evidence.explainer import channel_of
from hclf.evidence.spans import LEAST, worth_showing
from hclf.fusion import Calibration
from hclf.labels import label_matrix
from hclf.scorers.base import Contribution
from hclf.taxonomy import Node, Taxonomy

# -- spans -------------------------------------------------------------------------------------------------------


def said(text: str, values: Mapping[str, float], why: str = "", source: str = "linear") -> list[Span]:
    """One part for the first occurrence of each word in a text."""
    return [Span("text", text.index(w), text.index(w) + len(w), value, source, why) for w, value in values.items()]


def shown(text: str, parts: Sequence[Span], top: int = 5) -> tuple[dict[str, float], dict[str, float]]:
    """The text and rounded value of what is worth showing, for and against."""
    spans = worth_showing(parts, {"text": text}, top)
    positive, negative = ({text[s.start : s.end]: round(s.value, 3) for s in kind} for kind in spans[:2])
    return positive, negative


def test_strong_words_side_by_side_become_one_span():
    text = "An acute myocardial infarction, then angiography."
    parts = said(
        text, {"An": 0.01, "myocardial": 2, "infarction": 1.5, "angiography": 1, "acute": 0.05, "then": 0.01}
    )
    assert shown(text, parts) == ({"myocardial infarction": 3.5, "angiography": 1.0}, {})


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("cancer of lung", {"cancer": 1, "of": -0.1, "lung": 1}, {"cancer of lung": 1.9}),  # a weak word between
        ("cancer of the lung", {"cancer": 1, "of": 0, "the": 0, "lung": 1}, {"cancer": 1, "lung": 1}),  # two are many
        ("oat milk. Bread", {"oat": 1, "milk": 1, "Bread": 1}, {"oat milk": 2, "Bread": 1}),  # a sentence ends
        ("oat\r\nmilk", {"oat": 1, "milk": 1}, {"oat": 1, "milk": 1}),
        ("code E11.9 here", {"E11": 2, "9": 0.1}, {"E11.9": 2.1}),  # parts of a word, weak or not
        ("all-in-one pc", {"all": 1, "one": 1, "pc": 0.01}, {"all-in-one": 2}),
        ("of 2,300, no", {"2": 1, "300": 0.01, "no": 1}, {"2,300": 1.01, "no": 1}),
        ("oat,milk", {"oat": 1, "milk": 1}, {"oat": 1, "milk": 1}),
        ("I don't", {"don": 0.01, "t": 1}, {"don't": 1.01}),
        ("ro\u0308stig gut", {"ro": 1, "stig": 1, "gut": 0.01}, {"ro\u0308stig": 2}),  # ö in two characters
        ("e\u0301te\u0301", {"e": 1, "te": 1}, {"e\u0301te\u0301": 2}),
        ("İstanbul", {"İ": 0.5, "stanbul": 1}, {"İstanbul": 1.5}),
        ("hot 😀 tea", {"hot": 1, "😀": 1, "tea": 1}, {"hot 😀 tea": 3}),
        ("milk, oats (raw)", {"milk": 1, "oats": 1, "raw": 1}, {"milk": 1, "oats (raw": 2}),
    ],
)
def test_what_is_joined(text, values, expected):
    assert shown(text, said(text, values))[0] == expected


def test_for_and_against_are_apart_and_strongest_first():
    text = "one two three four five"
    parts = said(text, {"one": -1, "two": 1, "three": -2, "four": 3, "five": 0.2})
    positive, negative = shown(text, parts)
    assert (list(positive.items()), list(negative.items())) == (
        [("four", 3.0), ("two", 1.0)],
        [("three", -2.0), ("one", -1.0)],
    )


def test_what_is_weak_is_not_worth_showing():
    text = "strong weak"
    assert shown(text, said(text, {"strong": 10, "weak": 0.9})) == ({"strong": 10}, {})
    assert shown(text, said(text, {"strong": LEAST / 2, "weak": -LEAST / 2})) == ({}, {})
    assert shown(text, []) == ({}, {})


def test_different_reasons_are_different_spans_and_one_scorer_speaks_once_of_a_place():
    text = "type two"
    parts = [*said(text, {"type": 1}, "a name"), *said(text, {"two": 1}, "a mention"), *said(text, {"type": 0.5})]
    spans = worth_showing(parts, {"text": text}, 5)
    assert [(s.start, s.end, s.value, s.why) for s in spans.positive] == [
        (0, 4, 1.5, "a name"),
        (5, 8, 1, "a mention"),
    ]
    both = worth_showing([*parts, *said(text, {"type": 2}, source="lexicon")], {"text": text}, 5).positive
    assert [(s.source, s.start) for s in both] == [("lexicon", 0), ("linear", 0), ("linear", 5)]


def test_a_reason_is_of_those_who_agree_with_the_sum():
    parts = [*said("oat", {"oat": 2}, "a name"), *said("oat", {"oat": -3}, "a mention")]
    assert [s.why for s in worth_showing(parts, {"text": "oat"}, 5).negative] == ["a mention"]


def test_numbers_are_never_joined():
    parts = [Span(f"column {j}", 0, 0, float(j), "linear", "value 1") for j in (1, 2, 3)]
    assert [s.field for s in worth_showing(parts, {}, 2).positive] == ["column 3", "column 2"]


texts = st.text("ab é1.,'- \r\n😀\u0301", max_size=30)


@given(texts, st.data(), st.integers(1, 6))
def test_nothing_of_the_sum_is_lost(text, data, top):
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    values = st.floats(-4, 4, allow_nan=False).filter(lambda v: abs(v) > 1e-6)
    made = st.builds(
        lambda place, value, source, why: Span("text", *place, value, source, why),
        places,
        values,
        st.sampled_from(["linear", "lexicon"]),
        st.sampled_from(["", "a name", "a mention"]),
    )
    parts = data.draw(st.lists(made, max_size=12))
    spans = worth_showing(parts, {"text": text}, top)
    everything = [*spans.positive, *spans.negative]
    assert sum(s.value for s in everything) + spans.rest == pytest.approx(sum(p.value for p in parts), abs=1e-9)
    assert len(spans.positive) <= top
    assert len(spans.negative) <= top
    assert all(s.value >= LEAST for s in spans.positive)
    assert all(s.value <= -LEAST for s in spans.negative)
    assert all(0 <= s.start <= s.end <= len(text) for s in everything)


# -- explanations ------------------------------------------------------------------------------------------------


class Teller:
    """A scorer that says what it was told to: of each node its words, wherever they are in a text."""

    name = "linear"
    channels = ("margin", "match")
    candidate_channels = ("match",)

    def __init__(self, taxonomy: Taxonomy, words: Mapping[str, Mapping[str, float]], candidates: Sequence[str] = ()):
        self.taxonomy, self.words = taxonomy, words
        self.columns = np.flatnonzero([node not in candidates for node in taxonomy.nodes])

    def evidence(self, inputs: Any, rows: Any, columns: Any) -> list[list[Contribution]]:
        found = []
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            own = self.words.get(self.taxonomy.nodes[column], {})
            source = self.name if column in self.columns else f"{self.name}.match"
            found.append(
                [
                    Contribution(source, field, text.index(word), text.index(word) + len(word), value)
                    for field, text in inputs[row].items()
                    for word, value in own.items()
                    if word in text
                ]
            )
        return found


def explainer(taxonomy: Taxonomy, scorer: Any, **options: Any) -> Explainer:
    depth = taxonomy.depth
    given: dict[str, Any] = {
        "calibration": Calibration(np.tile([[1.0, 0.0]], (depth, 1)), np.zeros(depth)),
        "candidate_calibration": Calibration(np.full((depth, 1), 10.0), np.zeros(depth)),
        "counts": np.ones(len(taxonomy), dtype=np.int64),
        "thresholds": np.full(len(taxonomy), 0.5),
        "lifted": True,
    }
    return Explainer(taxonomy, scorer, **(given | options))


def batch(
    taxonomy: Taxonomy, text: str | Mapping[str, str], scores: Mapping[str, float], least: float = 0.5
) -> Batch:
    """One document; its answers are the nodes with coherent scores of at least `least`."""
    before = np.array([[scores.get(node, 0.01) for node in taxonomy.nodes]], dtype=np.float32)
    after = taxonomy.coherent(before)
    answers = [taxonomy.nodes[j] for j in np.flatnonzero(after[0] >= least)]
    fields = {"text": text} if isinstance(text, str) else dict(text)
    return Batch([fields], before, after, label_matrix(taxonomy, [answers]))


ILLS = Taxonomy(
    [Node(i, {"en": n}) for i, n in {"E": "Endocrine", "E10": "Type 1", "E11": "Type 2", "I": "Heart"}.items()],
    [("E", "E10"), ("E", "E11")],
)
TELLS = {
    "E": {"sugar": 1.0},
    "E10": {"insulin": 2.0, "type": 1.0},
    "E11": {"elderly": 1.5, "type": 1.2, "insulin": -0.5},
    "I": {"chest": 3.0},
}


def by_node(explanations: Sequence[Explanation]) -> dict[str, Explanation]:
    return {e.node: e for e in explanations}


def words(text: str, spans: Sequence[Span]) -> dict[str, float]:
    return {text[s.start : s.end]: round(s.value, 4) for s in spans}


def test_why_an_answer_and_why_not_its_sibling():
    text = "elderly; type; insulin; sugar"
    [found] = explainer(ILLS, Teller(ILLS, TELLS)).explain(
        batch(ILLS, text, {"E": 0.9, "E11": 0.8, "E10": 0.3}), Question()
    )
    assert list(by_node(found)) == ["E", "E11"]
    e = by_node(found)["E11"]
    assert (e.name, e.level, e.predicted, e.threshold, e.verdict) == ("Type 2", 2, True, 0.5, "evidence")
    assert words(text, e.spans) == {"elderly": 1.5, "type": 1.2}
    assert words(text, e.against) == {"insulin": -0.5}
    assert e.contrast is not None
    assert (e.contrast.node, e.contrast.name, e.contrast.predicted) == ("E10", "Type 1", False)
    assert words(text, e.contrast.spans) == {"elderly": 1.5}
    assert words(text, e.contrast.against) == {"insulin": -2.5}
    top = by_node(found)["E"]
    assert top.contrast is not None
    assert (top.through, top.contrast.node) == ("", "I")  # roots are siblings


def test_a_parent_has_the_evidence_of_the_child_that_it_has_its_score_of():
    text = "elderly type, sugar"
    ask = explainer(ILLS, Teller(ILLS, TELLS))
    lifted = by_node(ask.explain(batch(ILLS, text, {"E": 0.2, "E11": 0.8}), Question())[0])["E"]
    assert (lifted.through, round(lifted.score, 4)) == ("E11", 0.8)
    assert words(text, lifted.spans) == {"elderly type": 2.7}
    own = explainer(ILLS, Teller(ILLS, TELLS), lifted=False)
    assert words(text, by_node(own.explain(batch(ILLS, text, {"E": 0.2, "E11": 0.8}), Question())[0])["E"].spans) == {
        "sugar": 1.0
    }


def test_two_parents_of_one_best_child_are_contrasted_by_their_own_evidence():
    both = Taxonomy(["a", "b", "c"], [("a", "c"), ("b", "c")])
    scorer = Teller(both, {"a": {"x": 1.0}, "b": {"y": 2.0}, "c": {"z": 3.0}})
    answers = batch(both, "x y z", {"c": 0.9})._replace(labels=label_matrix(both, [["a"]]))
    [[found]] = explainer(both, scorer).explain(answers, Question())
    assert (found.through, words("x y z", found.spans)) == ("c", {"z": 3.0})
    assert found.contrast is not None
    assert (found.contrast.node, found.contrast.through) == ("b", "")
    assert words("x y z", found.contrast.spans) == {"x": 1.0}
    assert words("x y z", found.contrast.against) == {"y": -2.0}


def test_asked_nodes_are_explained_whether_answered_or_not():
    text = "insulin"
    question = Question.about(ILLS, ["Type 1", "I"], top=3)
    [found] = explainer(ILLS, Teller(ILLS, TELLS)).explain(batch(ILLS, text, {"E11": 0.9}), question)
    assert list(by_node(found)) == ["I", "E10"]
    assert [e.predicted for e in found] == [False, False]
    assert [e.verdict for e in found] == ["no evidence found", "evidence"]
    assert by_node(found)["E10"].contrast is None  # its only sibling is an answer
    [found] = explainer(ILLS, Teller(ILLS, TELLS)).explain(
        batch(ILLS, text, {"E11": 0.9}), Question.about(ILLS, "E10", "E11")
    )
    assert found[0].contrast is not None
    assert (found[0].contrast.node, found[0].contrast.predicted) == ("E11", True)
    assert words(text, found[0].contrast.spans) == {"insulin": 2.5}


def test_no_answer_no_explanation_and_no_word_no_evidence():
    ask = explainer(ILLS, Teller(ILLS, TELLS))
    assert ask.explain(batch(ILLS, "type", {}), Question()) == [[]]
    [[found]] = ask.explain(batch(ILLS, "", {}), Question.about(ILLS, "I"))
    assert (found.verdict, found.spans, found.against, found.rest) == ("no evidence found", (), (), 0)


def test_fields_stay_apart():
    fields = {"title": "type two", "more": "elderly"}
    [found] = explainer(ILLS, Teller(ILLS, TELLS)).explain(batch(ILLS, fields, {"E11": 0.9}), Question())
    assert {(s.field, fields[s.field][s.start : s.end]) for s in by_node(found)["E11"].spans} == {
        ("title", "type"),
        ("more", "elderly"),
    }


def test_contributions_are_weighed_by_the_calibration_of_their_channel_and_level():
    scorer = Teller(ILLS, TELLS, candidates=["E10"])
    calibration = Calibration(np.array([[2.0, 9.0], [3.0, 9.0]]), np.zeros(2))
    ask = explainer(ILLS, scorer, calibration=calibration, thresholds=None, counts=np.array([1, 1, 0, 1]))
    question = Question.about(ILLS, ["E", "E11", "E10"])
    found = by_node(ask.explain(batch(ILLS, "sugar, elderly, insulin", {}), question)[0])
    values = {node: max(s.value for s in e.spans) for node, e in found.items()}
    assert values == {"E": 2.0, "E11": 4.5, "E10": 20.0}
    assert {node: (e.threshold, e.cold_start) for node, e in found.items()} == {
        "E": (None, False),
        "E11": (None, False),
        "E10": (None, True),
    }


def test_channels_are_found_by_the_source_of_a_contribution():
    together = ("linear.margin", "linear.match", "lexicon.strength")
    assert channel_of("linear", "together", together) == 0
    assert channel_of("linear.match", "together", together) == 1
    assert channel_of("lexicon", "together", together) == 2
    assert channel_of("lexicon.none", "together", together) is None
    assert channel_of("neural", "together", together) is None
    assert channel_of("linear", "linear", ("margin", "match")) == 0
    assert channel_of("linear.match", "linear", ("margin", "match")) == 1
    assert channel_of("linear", "linear", ()) is None


@given(dags(min_nodes=2), st.data())
def test_every_answer_has_one_explanation_and_a_sibling_that_is_one(dag, data):
    taxonomy = dag.taxonomy
    scores = {node: data.draw(st.sampled_from([0.1, 0.3, 0.6, 0.9])) for node in dag.ids}
    tells = {node: {node: data.draw(st.floats(-2, 2))} for node in dag.ids}
    made = batch(taxonomy, " ".join(dag.ids), scores)
    [found] = explainer(taxonomy, Teller(taxonomy, tells)).explain(made, Question())
    answers = [taxonomy.nodes[j] for j in made.labels.indices]
    assert [e.node for e in found] == answers
    parents = {node: {a for a, b in dag.edges if b == node} for node in dag.ids}
    for e in found:
        best = max((scores[node] for node in dag.below(e.node)), default=0)
        assert bool(e.through) == (best > scores[e.node])
        if e.through:
            assert e.through in dag.below(e.node)
            assert scores[e.through] == best
        allowed = {
            node
            for node in dag.ids
            if (parents[node] & parents[e.node] or not (parents[node] or parents[e.node]))
            and node not in {e.node, *answers} | dag.above(e.node) | dag.below(e.node)
        }
        assert (e.contrast is None) == (not allowed)
        if e.contrast is not None:
            after = dict(zip(taxonomy.nodes, made.scores[0].tolist(), strict=True))
            assert e.contrast.node in allowed
            assert after[e.contrast.node] == max(after[node] for node in allowed)


def test_what_cannot_be_asked_is_told():
    with pytest.raises(UsageError, match="top is at least 1, not 0"):
        Question.about(ILLS, top=0)
    with pytest.raises(DataError, match="E12"):
        Question.about(ILLS, ["E12"])
    with pytest.raises(UsageError, match="scorer 'mute' cannot say why"):
        explainer(ILLS, type("Mute", (), {"name": "mute"})())


def test_json():
    span = Span("text", 0, 4, 1.23456, "linear")
    contrast = Contrast("E10", "Type 1", 0.25, False, "", (span,), ())
    e = Explanation(
        "E11", "Type 2", 2, 0.7500001, 0.5, True, True, "x", (span._replace(why="a name"),), (), 0.5, contrast
    )
    plain = {"field": "text", "start": 0, "end": 4, "value": 1.2346, "source": "linear"}
    assert e.to_dict() == {
        "node": "E11",
        "name": "Type 2",
        "level": 2,
        "score": 0.75,
        "threshold": 0.5,
        "predicted": True,
        "cold_start": True,
        "verdict": "evidence",
        "through": "x",
        "spans": [{**plain, "why": "a name"}],
        "against": [],
        "rest": 0.5,
        "contrast": {
            "node": "E10",
            "name": "Type 1",
            "score": 0.25,
            "predicted": False,
            "spans": [plain],
            "against": [],
        },
    }
