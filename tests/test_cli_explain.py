"""`hclf explain`, and explanations of real models."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from typer.testing import CliRunner

from hclf.classifier import HierarchicalClassifier
from hclf.cli import app
from hclf.errors import DataError, NotFittedError, UsageError

RECORDS = [
    {"id": "a", "text": "the cat purrs, whiskers and all"},
    {"id": "b", "text": "a robodog: servo circuit, aibo"},
    {"id": "c", "text": "", "more": "x"},
]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, pets_model) -> Path:
    folder = tmp_path_factory.mktemp("models") / "pets"
    pets_model.save(folder)
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_text_says_which_words(model_folder, data):
    result = run(model_folder, data)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "a text: the cat purrs, whiskers and all ■" in said
    assert "for: " in said
    assert "rather than" in said
    assert "3 documents" in result.stderr


def test_json_lines_hold_offsets_that_fit(model_folder, data, tmp_path):
    out = tmp_path / "out.jsonl.gz"
    result = run(model_folder, data, "-o", out)
    assert result.exit_code == 0, result.output
    with gzip.open(out, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    assert [record["id"] for record in found] == ["a", "b", "c"]
    spans = [
        (record, span)
        for record, given in zip(found, RECORDS, strict=True)
        for e in record["explanations"]
        for span in [*e["spans"], *e["against"], *(e["contrast"] or {"spans": []})["spans"]]
        if span["text"] == given[span["field"]][span["start"] : span["end"]]
    ]
    every = [s for record in found for e in record["explanations"] for s in e["spans"]]
    assert every
    assert len(spans) >= len(every)
    assert found[2]["explanations"] == []


def test_a_page_is_written_and_nothing_is_overwritten(model_folder, data, tmp_path):
    out = tmp_path / "out.html"
    assert run(model_folder, data, "-o", out, "--limit", 2).exit_code == 0
    page = out.read_text("utf-8")
    assert "Evidence in in.jsonl" in page
    assert page.count('class="document"') == 2
    again = run(model_folder, data, "-o", out)
    assert isinstance(again.exception, UsageError)
    assert "add -f" in str(again.exception)
    assert run(model_folder, data, "-o", out, "-f", "--format", "text").exit_code == 0
    assert out.read_text("utf-8").startswith("a\n")


def test_asked_nodes_and_sibling(model_folder, data):
    result = run(model_folder, data, "--node", "cars", "--node", "Dogs", "--against", "cats", "--format", "jsonl")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [[e["node"] for e in record["explanations"]] for record in found] == [["cars", "dogs"]] * 3
    assert {e["contrast"]["node"] for record in found for e in record["explanations"]} == {"cats"}
    assert found[2]["explanations"][0]["verdict"] == "no evidence found"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--format", "pdf"), "--format is text, jsonl or html, not 'pdf'"),
        (("--node", "catz"), "catz"),
        (("--against", "catz"), "catz"),
        (("--operating-point", "none"), "none"),
    ],
)
def test_what_cannot_be_asked_is_told(model_folder, data, tmp_path, arguments, error):
    out = tmp_path / "out.txt"
    result = run(model_folder, data, "-o", out, *arguments)
    assert isinstance(result.exception, UsageError | DataError)
    assert error in str(result.exception)
    assert not out.exists()


def test_an_error_on_the_way_leaves_no_file(model_folder, tmp_path):
    data = tmp_path / "in.jsonl"
    data.write_text('{"id": "a", "text": "cat"}\n{"id"\n', encoding="utf-8")
    out = tmp_path / "out.jsonl"
    assert isinstance(run(model_folder, data, "-o", out, "--strict").exception, DataError)
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


# -- the library -------------------------------------------------------------------------------------------------


def test_every_answer_is_explained_and_no_document_depends_on_others(pets_model, more_pets):
    found = pets_model.explain(more_pets.X)
    assert [tuple(e.node for e in explanations) for explanations in found] == pets_model.predict(more_pets.X)
    scores = pets_model.predict_proba(more_pets.X)
    for row, explanations in enumerate(found):
        assert [e.score for e in explanations] == pytest.approx(
            [scores[row, pets_model.taxonomy_.index(e.node)] for e in explanations]
        )
        assert all(e.predicted and e.score >= e.threshold for e in explanations)
    alone = [pets_model.explain([text])[0] for text in more_pets.X[:5]]
    for some, others in zip(alone, found, strict=False):
        assert [e.to_dict() | {"spans": 0, "against": 0, "rest": 0, "contrast": 0} for e in some] == [
            e.to_dict() | {"spans": 0, "against": 0, "rest": 0, "contrast": 0} for e in others
        ]
        assert [s.value for e in some for s in e.spans] == pytest.approx(
            [s.value for e in others for s in e.spans], abs=1e-5
        )


def test_the_telling_words_tell(pets_model):
    text = "the offer of today: cat purr whiskers"
    explained = {e.node: e for e in pets_model.explain([text], nodes="cats")[0]}
    words = {text[s.start : s.end] for s in explained["cats"].spans}
    assert {"cat", "purr", "whiskers"} & {word for said in words for word in said.split()}
    assert not words & {"the", "of", "offer", "today"}


def test_named_fields(products_model, products):
    X = products.X[100:110]
    for fields, explanations in zip(X, products_model.explain(X), strict=True):
        for e in explanations:
            for span in e.spans:
                assert fields[span.field][span.start : span.end].strip()
    assert {s.field for ex in products_model.explain(X) for e in ex for s in e.spans} == {"title", "description"}


def test_numbers_have_columns(zoo, pets):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    model = HierarchicalClassifier(taxonomy=zoo, n_jobs=1).fit(X, pets.y)
    found = [s for explanations in model.explain(X, nodes=["cats"]) for e in explanations for s in e.spans]
    assert found
    assert all(s.field.startswith("column ") and s.end == 0 and s.why.startswith("value ") for s in found)


def test_nothing_to_explain(pets_model, pets):
    assert pets_model.explain([]) == []
    assert pets_model.explain([""]) == [[]]
    with pytest.raises(NotFittedError):
        HierarchicalClassifier(taxonomy=pets.taxonomy).explain(["cat"])


def test_a_decoder_without_thresholds(pets: Sample):
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, decoder="top-k", decoder_options={"k": 1}, n_jobs=1)
    [found] = model.fit(pets.X, pets.y).explain(["dog bark"])
    assert [e.threshold for e in found] == [None] * len(found)
    assert "dogs" in {e.node for e in found}


def test_a_hundred_documents_are_explained_in_a_few_seconds(products_model, products):
    began = time.perf_counter()
    found = products_model.explain(products.X[100:200])
    assert time.perf_counter() - began < 10  # 1 s on a quiet machine
    answers = [e for explanations in found for e in explanations]
    assert len(answers) > 200
    assert sum(e.verdict == "evidence" for e in answers) > 0.95 * len(answers)


@pytest.mark.slow
def test_notes_are_explained_by_their_words(icd10_model):
    text = "Known asthma, wheeze settled after nebulisers."
    [found] = icd10_model.explain([{"text": text}], nodes="J45")
    assert any("asthma" in text[s.start : s.end] for s in found[0].spans)
