"""Nodes that no training document carries: answered through their texts, and marked wherever an answer is shown."""

from __future__ import annotations

import csv
import io
import json

import pytest
from conftest import GARDEN, GARDEN_EDGES, garden_sample
from rich.console import Console

from hclf.classifier import HierarchicalClassifier
from hclf.cli import main
from hclf.cli.model import _candidate_recall, _cold_start
from hclf.data import Document, Prediction, Problems, ScoredNode, read_predictions, write_predictions
from hclf.errors import DataError
from hclf.report import prediction_tree
from hclf.taxonomy import Node, Taxonomy

COLD = ("moss", "marble")
STONES = Taxonomy([*GARDEN, Node("blank")], [*GARDEN_EDGES, ("plants", "blank")], id="stones")


def fitted(taxonomy: Taxonomy = STONES, **options) -> HierarchicalClassifier:
    model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1, **{"scorer_options": {"matching": True}, **options})
    sample = garden_sample(taxonomy)
    return model.fit(sample.X, sample.y)


@pytest.fixture(scope="module")
def model() -> HierarchicalClassifier:
    """One whose thresholds every most specific node passes, so that what is marked does not hang on calibration."""
    return fitted(decoder="top-k", decoder_options={"k": 6})


@pytest.fixture(scope="module")
def answer(model) -> Prediction:
    (answer,) = model.predict_documents([Document("d", {"text": "white marble"})])
    return answer


def drawn(prediction: Prediction) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(prediction_tree(STONES, prediction))
    return console.file.getvalue()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as raised:
        main([str(a) for a in arguments])
    return int(raised.value.code or 0)


# -- predictions -----------------------------------------------------------------------------------------------


def test_labels_without_a_training_document_are_marked_and_no_others(model, answer):
    cold = {node.id for node in answer.labels if node.cold_start}
    assert cold == {"moss", "marble", "blank"} == {STONES.nodes[j] for j in (model.counts_ == 0).nonzero()[0]}
    assert {node.id for node in answer.labels} == set(STONES.nodes)
    assert answer.flags == ("cold-start",)


def test_a_text_of_a_node_without_documents_finds_it(model):
    scores = dict(zip(STONES.nodes, model.predict_proba(["white marble"])[0], strict=True))
    assert scores["marble"] > 3 * scores["blank"]
    assert scores["marble"] == max(scores[node] for node in ("oak", "fern", "moss", "slate", "marble"))


def test_the_flag_is_about_most_specific_labels_and_stands_beside_others():
    model = fitted(decoder="top-k", decoder_options={"k": 1})
    found = model.predict_documents([Document(t, {"text": t}) for t in ("oak tree", "white marble", "")])
    flags = {prediction.id: prediction.flags for prediction in found}
    assert flags == {"oak tree": (), "white marble": ("cold-start",), "": ("empty-text",)}


def test_a_saved_model_marks_the_same(model, answer, tmp_path):
    model.save(tmp_path / "m")
    (again,) = HierarchicalClassifier.load(tmp_path / "m").predict_documents(
        [Document("d", {"text": "white marble"})]
    )
    assert again == answer


# -- files -----------------------------------------------------------------------------------------------------

WARM, UNSEEN = ScoredNode("stones", "stones", 1, 0.9), ScoredNode("marble", "white marble", 2, 0.8, cold_start=True)
MIXED = Prediction("1", (WARM, UNSEEN), ("marble",), ("cold-start",))


def written(format: str) -> str:
    stream = io.StringIO()
    write_predictions(stream, [MIXED, Prediction("2")], format=format)
    return stream.getvalue()


def test_in_json_the_key_is_there_only_when_true():
    first, second = (json.loads(line) for line in written("jsonl").splitlines())
    assert first["labels"] == [
        {"id": "stones", "name": "stones", "level": 1, "score": 0.9},
        {"id": "marble", "name": "white marble", "level": 2, "score": 0.8, "cold_start": True},
    ]
    assert first["flags"] == ["cold-start"]
    assert second == {"id": "2", "labels": [], "leaves": [], "flags": []}
    assert list(read_predictions(io.StringIO(written("jsonl")))) == [MIXED, Prediction("2")]


def test_long_tables_mark_each_label_and_wide_ones_the_document():
    long = list(csv.DictReader(io.StringIO(written("csv-long"))))
    assert [row["cold_start"] for row in long] == ["false", "true", ""]
    first, second = read_predictions(io.StringIO(written("csv-long")), format="csv")
    assert first.labels == MIXED.labels
    assert second.labels == ()
    wide = list(csv.DictReader(io.StringIO(written("csv-wide"))))
    assert [row["flags"] for row in wide] == ["cold-start", ""]
    assert [p.flags for p in read_predictions(io.StringIO(written("csv-wide")), format="csv")] == [
        ("cold-start",),
        (),
    ]


def test_parquet_keeps_the_mark(tmp_path):
    pytest.importorskip("pyarrow")
    write_predictions(tmp_path / "p.parquet", [MIXED, Prediction("2")])
    first, second = read_predictions(tmp_path / "p.parquet")
    assert first.labels == MIXED.labels
    assert second.labels == ()


@pytest.mark.parametrize(("cell", "mark"), [("True", True), ("TRUE", True), ("False", False), ("", False)])
def test_marks_that_other_programs_wrote_are_read(cell, mark):
    (read,) = read_predictions(io.StringIO(f"id,label,cold_start\n1,a,{cell}\n"), format="csv")
    assert read.labels[0].cold_start is mark


def test_a_mark_that_is_none_is_refused():
    problems = Problems()
    assert not list(
        read_predictions(io.StringIO("id,label,cold_start\n1,a,maybe\n"), format="csv", problems=problems)
    )
    assert problems.counts == {"wrong-type": 1}
    with pytest.raises(DataError, match="neither true nor false"):
        list(read_predictions(io.StringIO("id,label,cold_start\n1,a,maybe\n"), format="csv", strict=True))


# -- what people see -------------------------------------------------------------------------------------------


def test_a_drawn_tree_marks_nodes_without_examples():
    lines = drawn(MIXED).splitlines()
    assert lines == ["1", "└── 0.90  stones", "    └── 0.80  white marble  (no examples)  marble"]


def test_the_report_counts_nodes_that_only_texts_can_find(model):
    assert model.report_["nodes_without_documents"] == 3
    assert model.report_["cold_start_nodes"] == len(COLD)  # "blank" has no text


@pytest.mark.parametrize("options", [{"matching": False}, {"matching": True, "node_texts": False}])
def test_without_matching_or_texts_no_node_can_be_found_by_them(options):
    report = fitted(scorer_options=options).report_
    assert (report["nodes_without_documents"], report["cold_start_nodes"]) == (3, 0)


def test_nodes_with_documents_beyond_the_models_are_not_without_documents():
    report = fitted(scorer_options={"matching": True, "max_models": 3}).report_
    assert report["trained_nodes"] == 3
    assert (report["nodes_without_documents"], report["cold_start_nodes"]) == (3, 2)


def test_predict_and_inspect_say_how_many(model, tmp_path, capsys):
    model.save(tmp_path / "m")
    (tmp_path / "x.csv").write_text("id,text\n1,white marble\n2,\n")
    assert run("predict", tmp_path / "m", tmp_path / "x.csv", "-o", tmp_path / "out.jsonl") == 0
    assert "; 1 cold-start (a most specific label has no training document)" in capsys.readouterr().err
    assert run("inspect", tmp_path / "m") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 nodes: 2 can be found by their texts, otherwise a prior counts" in said
    assert run("predict", tmp_path / "m", tmp_path / "x.csv", "--show", 1) == 0
    assert capsys.readouterr().out.count("(no examples)") == 3


def test_reports_without_the_new_counts_can_still_be_said():
    assert _cold_start({}, ", scored by a prior") == ", scored by a prior"
    assert _candidate_recall({}) == _candidate_recall({"candidate_recall": None}) == ""
    assert _candidate_recall({"candidate_recall": {"1": 1.0, "2": 0.9876, "3": None}}) == "1: 1.000  2: 0.988"
