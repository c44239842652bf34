"""`hclf compare`: files and models against each other, the figures it prints, and how it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_cli import fails, ok, records, write

from hclf.classifier import HierarchicalClassifier
from hclf.evaluation import evaluate
from hclf.labels import label_matrix
from hclf.registry import load_taxonomy
from hclf.statistics import Comparison, compare

KINDS = {"tea": "green leaves", "coffee": "strong beans", "rice": "long basmati", "oats": "rolled flakes"}
NAMES = list(KINDS)


@pytest.fixture(scope="module")
def food(tmp_path_factory):
    """A folder with a taxonomy, gold labels, and the answers of a good and of a poor system."""
    folder = tmp_path_factory.mktemp("food")
    (folder / "food.yaml").write_text("hclf: 1\nid: food\nnodes: [{drinks: [Tea, Coffee]}, {grains: [Rice, Oats]}]\n")
    truth = [NAMES[i % 4] for i in range(80)]
    write(
        folder / "gold.jsonl",
        [{"id": str(i), "text": f"{KINDS[t]} {t} {i}", "labels": [t]} for i, t in enumerate(truth)],
    )
    answers = {
        "good": [t if i % 10 else "tea" for i, t in enumerate(truth)],
        "poor": [t if i % 3 else "tea" for i, t in enumerate(truth)],
    }
    for name, labels in answers.items():
        write(folder / f"{name}.jsonl", [{"id": str(i), "labels": [label]} for i, label in enumerate(labels)])
    write(folder / "train.jsonl", records(folder / "gold.jsonl")[:44])
    return folder


@pytest.fixture
def here(food, monkeypatch):
    monkeypatch.chdir(food)
    return food


@pytest.fixture(scope="module")
def model(food):
    rows = records(food / "train.jsonl")
    model = HierarchicalClassifier(taxonomy=food / "food.yaml", n_jobs=1, seed=1)
    model.fit([row["text"] for row in rows], [row["labels"] for row in rows]).save(food / "model")
    return food / "model"


FILES = ("good.jsonl", "poor.jsonl", "--gold", "gold.jsonl", "-t", "food.yaml")


def expected(folder, **options):
    taxonomy = load_taxonomy(folder / "food.yaml")

    def matrix(name):
        return label_matrix(taxonomy, [row["labels"] for row in records(folder / f"{name}.jsonl")])

    return compare(taxonomy, matrix("gold"), matrix("good"), matrix("poor"), **options)


def test_two_files_are_compared_as_the_library_does(here):
    result = ok("compare", *FILES, "--json", "--samples", 100, "--permutations", 200, "--seed", 3)
    found = result.json
    want = expected(here, names=("good.jsonl", "poor.jsonl"), samples=100, permutations=200, seed=3)
    assert found.pop("problems")["total"] == 0
    assert found == json.loads(json.dumps(want.to_dict()))
    assert Comparison.from_dict(found) == want
    assert found["metrics"][2]["difference"] > 0.1
    assert result.err == ""


def test_the_text_ends_in_the_verdict(here):
    out = ok("compare", *FILES).out
    verdict = expected(here, names=("good.jsonl", "poor.jsonl")).verdict
    assert " ".join(out.split()).endswith(verdict)
    assert verdict.startswith("good.jsonl against poor.jsonl: +")
    assert "hF of nodes by training documents" not in out
    assert "training documents" in ok("compare", *FILES, "--train", "train.jsonl").out


def test_training_records_tell_rare_nodes_from_frequent_ones(here):
    rows = ok("compare", *FILES, "--train", "train.jsonl", "--json").json["buckets"]
    assert {row["train_count"]: row["nodes"] for row in rows} == {"6-20": 4, "21-100": 2}


def test_a_model_stands_against_a_file_and_needs_no_taxonomy(here, model):
    ok("predict", model, "gold.jsonl", "-o", "own.jsonl", "-f")
    same = ok("compare", model, "own.jsonl", "--gold", "gold.jsonl", "--json").json
    assert same["differing"] == 0
    assert same["verdict"] == "model and own.jsonl give the same labels to all 80 documents."
    found = ok("compare", "poor.jsonl", model, "--gold", "gold.jsonl", "--json").json
    assert [row["train_count"] for row in found["buckets"]] == ["6-20", "21-100"]
    rows = records(here / "gold.jsonl")
    own = HierarchicalClassifier.load(model).evaluate([r["text"] for r in rows], [r["labels"] for r in rows])
    assert next(r["b"] for r in found["metrics"] if r["metric"] == "hF") == pytest.approx(
        own.metrics["hF"], abs=1e-12
    )


def test_two_models_are_compared_by_their_rankings_too(here, model):
    found = ok("compare", model, f"{model}@default", "--gold", "gold.jsonl", "--json").json
    assert {"map", "p_at_1", "r_at_5"} <= {row["metric"] for row in found["metrics"]}
    assert found["names"] == ["model", "model@default"]
    fails(2, "no operating point|unknown operating point", "compare", model, f"{model}@none", "--gold", "gold.jsonl")


def test_documents_without_a_prediction_are_unknown(here):
    write(here / "few.jsonl", records(here / "good.jsonl")[:60])
    result = ok("compare", "good.jsonl", "few.jsonl", *FILES[2:], "--json")
    assert result.err == "few.jsonl: 20 of 80 documents have no prediction: they count as unknown\n"
    taxonomy = load_taxonomy(here / "food.yaml")
    true = label_matrix(taxonomy, [row["labels"] for row in records(here / "gold.jsonl")])
    few = label_matrix(taxonomy, [row["labels"] for row in records(here / "few.jsonl")] + [[]] * 20)
    hf = next(row for row in result.json["metrics"] if row["metric"] == "hF")
    assert hf["b"] == pytest.approx(evaluate(taxonomy, true, few).metrics["hF"], abs=1e-12)


def test_names_of_systems_tell_them_apart(here):
    (here / "other").mkdir(exist_ok=True)
    write(here / "other" / "good.jsonl", records(here / "poor.jsonl"))
    found = ok("compare", "good.jsonl", "other/good.jsonl", *FILES[2:], "--json").json
    assert found["names"] == ["good.jsonl", "other/good.jsonl"]
    assert ok("compare", "good.jsonl", "good.jsonl", *FILES[2:], "--json").json["names"] == ["A", "B"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "99", "labels": ["tea"]}], "prediction for id '99' is not in gold.jsonl"),
        ([{"id": "1", "labels": ["tea"]}] * 2, "prediction for id '1' is given twice"),
        ([{"id": "1", "labels": ["teh"]}], "prediction for id '1': unknown label 'teh'"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(here, rows, message):
    write(here / "bad.jsonl", rows)
    fails(1, f"^hclf: bad.jsonl.*: {message}", "compare", "good.jsonl", "bad.jsonl", *FILES[2:])


def test_what_is_missing_is_said(here):
    fails(2, "give the taxonomy of the predictions with --taxonomy", "compare", *FILES[:4])
    fails(1, "nowhere.jsonl", "compare", "good.jsonl", "nowhere.jsonl", *FILES[2:])
    write(here / "twice.jsonl", records(here / "gold.jsonl")[:1] * 2)
    fails(1, "twice.jsonl: id '0' occurs twice", "compare", *FILES[:2], "--gold", "twice.jsonl", "-t", "food.yaml")
    fails(2, "samples", "compare", *FILES, "--samples", 1)


def test_p_values_and_intervals_do_not_depend_on_the_order_of_predictions(here):
    rows = records(here / "good.jsonl")
    write(here / "shuffled.jsonl", [rows[i] for i in np.random.default_rng(0).permutation(len(rows))])
    first = ok("compare", *FILES, "--json").json
    again = ok("compare", "shuffled.jsonl", *FILES[1:], "--json").json
    assert first["metrics"] == again["metrics"]
