"""The audit: unknown and incomplete labels, what rules find, what a model doubts, and the counts of it all."""

from __future__ import annotations

import datetime as dt
import io
import json

import numpy as np
import pytest
from dags import dags
from hypothesis import given
from hypothesis import strategies as st

from hclf.audit import DOUBTS, KINDS, Audited, Auditor, Doubt, FindingsWriter, Summary, read_labels
from hclf.data import Document, Problems
from hclf.errors import DataError, UsageError
from hclf.rules import COMPLETED_BY, Finding, RuleBook
from hclf.taxonomy import Node, Rule, Taxonomy

SECRET = "Canary-Hemochromatosis"


def codes(**more) -> Taxonomy:
    """A code list whose ids begin with the ids above them; W19 is completed by a seventh character."""
    nodes = [
        "E10", "E11", Node("E11.2", assignable=False), "E11.21", "E11.22", "E11.9", "T81", "T81.4",
        Node("W19", assignable=False, meta={COMPLETED_BY: "seventh character"}), "W19.XXXA", "W19.XXXD",
        Node("Z99", valid_to=dt.date(2020, 9, 30)),
    ]  # fmt: skip
    edges = [("E11", "E11.2"), ("E11.2", "E11.21"), ("E11.2", "E11.22"), ("E11", "E11.9"), ("T81", "T81.4")]
    edges += [("W19", "W19.XXXA"), ("W19", "W19.XXXD")]
    return Taxonomy(nodes, edges, rules=[Rule("excludes", "E10", ("E11",), note="one of them")], **more)


def found(auditor: Auditor, *labels: str) -> list[tuple[str, str, str]]:
    return [(f.kind, f.node, f.other) for f in auditor.check(labels)[1]]


def document(labels, text=SECRET, name="1") -> Document:
    return Document(name, {"text": text}, None if labels is None else tuple(labels))


class Fixed:
    """A model that gives the same scores to every document."""

    def __init__(self, taxonomy: Taxonomy, scores: dict[str, float], answers: tuple[str, ...] = (), counts: int = 10):
        self.taxonomy_ = taxonomy
        self.counts_ = np.full(len(taxonomy), counts)
        self.scores, self.answers, self.batches = scores, answers, []

    def predict_proba(self, X):
        self.batches.append(len(X))
        return np.tile([self.scores.get(node, 0.0) for node in self.taxonomy_.nodes], (len(X), 1)).astype(np.float32)

    def predict(self, X, *, operating_point):
        assert operating_point == "audit"
        return [self.taxonomy_.closure(self.answers)] * len(X)


def doubts(scores, labels, *, tree=None, **options):
    auditor = Auditor(codes(), model=Fixed(tree or codes(), scores, options.pop("answers", ())), **options)
    (audited,) = auditor.audit([document(labels)])
    return [(f.kind, f.node, f.other) for f in audited.findings if f.kind in DOUBTS]


# -- labels and rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "kind", "other", "suggestions"),
    [
        ("E11.29", "unknown", "E11.2", ("E11.2",)),
        ("T81.4XX", "unknown", "T81.4", ("T81.4",)),  # nothing below T81.4: the list has another edition
        ("t81.4xx", "unknown", "T81.4", ("T81.4",)),
        ("W19.XXX", "missing-seventh", "W19", ("W19.XXXA", "W19.XXXD")),
        ("w19.xx", "missing-seventh", "W19", ("W19.XXXA", "W19.XXXD")),
        ("T8", "unknown", "", ("T81",)),  # too short to be compared with longer codes, but not unlike one
        ("nothing like it", "unknown", "", ()),
        ("x" * 200, "unknown", "", ()),
    ],
)
def test_unknown_labels_are_compared_with_codes(label, kind, other, suggestions):
    _, (finding,) = Auditor(codes()).check([label])
    assert (finding.kind, finding.other, finding.severity) == (kind, other, "hard")
    assert finding.suggestions == suggestions
    assert "xxx" not in finding.message
    assert len(finding.node) <= 120


def test_ids_that_are_no_codes_are_not_compared_by_prefix():
    tree = Taxonomy(["food", "tea", "coffee", "teapot"], [("food", "tea"), ("food", "coffee"), ("food", "teapot")])
    _, (finding,) = Auditor(tree).check(["teas"])
    assert (finding.other, finding.suggestions) == ("", ("tea",))
    assert finding.message == "unknown label 'teas'; did you mean 'tea'?"


def test_labels_may_be_names_and_ambiguous_names_are_found():
    tree = Taxonomy([Node("a", {"": "Tea"}), Node("b", {"": "Mate"}), Node("c", {"": "Mate"})])
    known, findings = Auditor(tree).check(["tea", "mate"])
    assert known == ("a",)
    assert [(f.kind, f.node, f.suggestions) for f in findings] == [("unknown", "mate", ("b", "c"))]


def test_rules_speak_of_known_labels():
    auditor = Auditor(codes(), as_of=dt.date(2021, 1, 1))
    assert found(auditor, "E10", "E11.9", "Z99", "E11.2", "?") == [
        ("unknown", "?", ""),
        ("retired", "Z99", ""),
        ("not-assignable", "E11.2", ""),
        ("excluded-pair", "E10", "E11.9"),
        ("excluded-pair", "E10", "E11.2"),
    ]
    assert found(Auditor(codes()), "Z99") == []


def test_the_longest_known_prefix_stands_in_when_asked():
    assert found(Auditor(codes()), "E10", "E11.99") == [("unknown", "E11.99", "E11.9")]
    assert found(Auditor(codes(), nearest=True), "E10", "E11.99", "W19.XXX") == [
        ("unknown", "E11.99", "E11.9"),
        ("missing-seventh", "W19.XXX", "W19"),  # and not W19 once more
        ("excluded-pair", "E10", "E11.9"),
    ]


@given(dags(), st.lists(st.text(alphabet="abcxyz01.", max_size=6), max_size=6), st.booleans())
def test_known_labels_get_what_rules_find_and_every_other_label_one_finding(dag, more, nearest):
    tree = dag.taxonomy
    labels = [*dag.ids[:3], *more]
    known, findings = Auditor(tree).check(labels)
    outside = {label for label in labels if label not in tree}
    named = {label for label in outside if not any(f.node == label for f in findings)}
    assert {label.casefold() for label in named} <= {node.casefold() for node in known}
    assert findings[len(outside - named) :] == RuleBook(tree).check(known)
    assert Auditor(tree, nearest=nearest).check(labels)[1][: len(outside - named)] == findings[: len(outside - named)]


# -- a model ---------------------------------------------------------------------------------------------------

BELOW_E11 = {"E11": 0.95, "E11.2": 0.95, "E11.21": 0.92}


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ({"E11": 0.95, "E10": 0.5}, ["E10"], [("likely-missing", "E11", "")]),
        (BELOW_E11, ["E10"], [("likely-wrong", "E10", "E11"), ("likely-missing", "E11.21", "")]),
        (BELOW_E11, ["E11"], [("over-general", "E11", "E11.21")]),
        (BELOW_E11, ["E11.21"], []),
        ({"E11": 0.95, "E11.9": 0.92, "E11.2": 0.5}, ["E11", "E11.2"], [("likely-missing", "E11.9", "")]),
        ({"E11": 0.95, "E11.9": 0.89}, ["E11"], []),
        ({"E10": 0.011}, ["E10"], []),
        ({"E10": 0.009}, ["E10"], [("likely-wrong", "E10", "")]),
        ({"E10": 0.2}, ["E10", "T81"], [("likely-wrong", "T81", "")]),
        ({}, [], []),
        ({"E11": 1.0}, [], [("likely-missing", "E11", "")]),
    ],
)  # fmt: skip
def test_what_a_model_doubts(scores, labels, expected):
    assert doubts(scores, labels) == expected


def test_a_label_the_model_has_hardly_seen_is_not_held_wrong():
    model = Fixed(codes(), {}, counts=4)
    (audited,) = Auditor(codes(), model=model).audit([document(["E10"])])
    assert audited.findings == []
    (audited,) = Auditor(codes(), model=model, support=4).audit([document(["E10"])])
    assert [f.kind for f in audited.findings] == ["likely-wrong"]


def test_what_is_meant_can_be_the_answer_at_an_operating_point():
    scores = {"E11": 0.6, "E11.9": 0.6, "E10": 0.99}
    options = {"answers": ("E11.9",), "operating_point": "audit"}
    assert doubts(scores, ["E11"], **options) == [("over-general", "E11", "E11.9")]


def test_documents_that_cannot_be_judged_get_no_doubts():
    model = Fixed(codes(), {"E11": 0.99})
    given_ = [document(None), document(["E10"], text=" "), document(["?"])]
    found_ = [[f.kind for f in audited.findings] for audited in Auditor(codes(), model=model).audit(given_)]
    assert found_ == [[], [], ["unknown", "likely-missing"]]


def test_nodes_the_model_does_not_have_are_left_alone():
    older = Taxonomy(["E11", "X"])
    assert doubts({"E11": 0.0}, ["E10", "E11"], tree=older) == [("likely-wrong", "E11", "")]


def test_memory_is_bounded_by_batches(monkeypatch):
    monkeypatch.setattr("hclf.audit.BATCH_NUMBERS", 3 * len(codes()))
    model = Fixed(codes(), {})
    read = []

    def documents():
        for i in range(8):
            read.append(i)
            yield document(["E11"], name=str(i))

    audited = Auditor(codes(), model=model, support=99).audit(documents())
    assert next(audited).id == "0"
    assert len(read) == 3
    assert [one.id for one in audited] == [str(i) for i in range(1, 8)]
    assert model.batches == [3, 3, 2]


@pytest.mark.parametrize(
    "options", [{"sure": 0.01}, {"sure": 1.5}, {"doubtful": -0.1}, {"sure": 0.2, "doubtful": 0.3}]
)
def test_impossible_thresholds_are_refused(options):
    with pytest.raises(UsageError, match="doubtful < sure"):
        Auditor(codes(), **options)


def test_a_real_model_finds_labels_of_other_documents(more_pets, pets_model):
    """Every third document has the labels of another one."""
    texts, labels = more_pets.X, more_pets.y
    wrong = {i for i in range(0, 30, 3) if not set(labels[i]) & set(labels[i - 7])}
    given_ = [document(labels[i - 7 if i in wrong else i], texts[i], str(i)) for i in range(30)]
    auditor = Auditor(more_pets.taxonomy, model=pets_model, sure=0.9, doubtful=0.1, support=1)
    doubted = {int(one.id) for one in auditor.audit(given_) if any(f.kind in DOUBTS for f in one.findings)}
    assert len(wrong) > 5
    assert len(doubted & wrong) / len(wrong) > 2 * len(doubted - wrong) / (30 - len(wrong))


# -- counts, files ---------------------------------------------------------------------------------------------


def test_counts():
    summary = Summary()
    pair = Finding(kind="excluded-pair", node="a", other="b", message="")
    doubt = Doubt(kind="over-general", node="a", other="c", message="", score=0.91)
    for one in [
        Audited("1", ("a", "b"), [pair, pair]),
        Audited("2", None, []),
        Audited("3", ("a",), [doubt]),
        Audited("4", (), []),
    ]:
        summary.add(one)
    assert (summary.documents, summary.labels, summary.unlabelled, summary.with_any) == (4, 3, 1, 2)
    assert summary.kinds() == ["excluded-pair", "over-general"]
    assert summary.share("excluded-pair") == 0.25
    assert summary.most("excluded-pair", 3) == [("a + b", 2)]
    assert summary.most("over-general", 3) == [("a → c", 1)]
    assert summary.to_dict(1)["kinds"]["over-general"] == {
        "findings": 1,
        "documents": 1,
        "share": 0.25,
        "most": [{"labels": "a → c", "findings": 1}],
    }
    assert Summary().share("excluded-pair") == 0


def test_the_kinds_are_those_of_rules_and_of_models():
    assert len(KINDS) == len(set(KINDS))
    assert set(DOUBTS) < set(KINDS)


def test_files_without_text_can_be_read():
    rows = '{"id": 7, "labels": ["E11"]}\n{"labels": "E10|E11"}\n{"id": "c"}\n{"labels": 1.5e400}\n[]\n'
    problems = Problems()
    read = list(read_labels(io.StringIO(rows), problems=problems))
    assert [(d.id, d.labels, d.fields) for d in read[:3]] == [
        ("7", ("E11",), {}),
        ("row-2", ("E10", "E11"), {}),
        ("c", None, {}),
    ]
    assert problems.counts["missing-labels"] >= 1
    with pytest.raises(DataError):
        list(read_labels(io.StringIO("[]\n"), problems=Problems(strict=True)))


def test_findings_are_written_without_texts(tmp_path):
    model = Fixed(codes(), {"E11": 0.95})
    with FindingsWriter(tmp_path / "f.jsonl") as writer:
        for audited in Auditor(codes(), model=model).audit([document(["E10", "x" * 300])]):
            writer.write(audited)
    written = (tmp_path / "f.jsonl").read_text("utf-8")
    assert SECRET not in written
    assert "xxx" not in written
    row = json.loads(written)
    assert row["id"] == "1"
    assert row["labels"] == ["E10", "(300 characters)"]
    assert [f["kind"] for f in row["findings"]] == ["unknown", "likely-wrong", "likely-missing"]
    assert row["findings"][2]["score"] == pytest.approx(0.95)
