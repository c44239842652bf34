"""`hclf` with a language model asked by prompt: what is printed before and after anything is asked."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import Sample
from prompt_oracle import Oracle
from prompt_server import PromptServer
from test_cli import HCLF, fails, ok

from hclf.classifier import HierarchicalClassifier
from hclf.data import read_documents
from hclf.scorers.prompt import scorer as scorer_module
from hclf.scorers.prompt.wording import tidy

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "products"
TRAIN, TEST = EXAMPLES / "train.jsonl", EXAMPLES / "test.jsonl"
ASKED = ("--scorer", "prompt", "--model", "m")


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch, products: Sample) -> Oracle:
    """A model that knows the labels of all shipped offers."""
    documents = [document for path in (TRAIN, TEST) for document in read_documents(path)]
    known = Oracle(products.taxonomy, {tidy(d.fields, 6_000)[0]: d.labels or () for d in documents})
    monkeypatch.setattr(scorer_module, "make_engine", lambda **options: known)
    return known


def first_lines(path: Path, count: int, to: Path) -> Path:
    to.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:count]), encoding="utf-8")
    return to


def test_without_records_it_answers_and_says_what_was_asked(tmp_path: Path, oracle: Oracle) -> None:
    model, few = tmp_path / "model", first_lines(TEST, 20, tmp_path / "few.jsonl")
    trained = ok("train", "-t", "products", *ASKED, "--decoder", "threshold", "-o", model)
    assert oracle.usage.prompts == 0
    assert "prompts about" not in trained.err
    said = ok("predict", model, few, "-o", tmp_path / "out.jsonl").err
    assert f"{oracle.usage.prompts} prompts about 20 documents" in said
    measured = ok("evaluate", model, few, "--json").json
    assert measured["metrics"]["hF"] == 1


def test_records_calibrate_it(tmp_path: Path, oracle: Oracle) -> None:
    model, few = tmp_path / "model", first_lines(TRAIN, 60, tmp_path / "few.jsonl")
    option = ("--scorer-option", "most_held_out=30")
    trained = ok("train", "-t", "products", "-d", few, *ASKED, *option, "-o", model)
    assert "prompts about 30 documents" in trained.err
    dry = ok("predict", model, TEST, "--dry-run")
    each = oracle.usage.prompts / 30
    assert f"200 documents, about {each:.1f} prompts each (as when it was calibrated)" in dry.err


def test_a_dry_run_shows_prompts_and_asks_nothing(tmp_path: Path, oracle: Oracle) -> None:
    model = tmp_path / "model"
    ok("train", "-t", "products", *ASKED, "--instructions", "Offers of a shop.", "-o", model)
    dry = ok("predict", model, TEST, "--dry-run")
    assert oracle.usage.calls == 0
    assert dry.out.count("Which of these classes does the document belong to?") == 2
    assert "Offers of a shop." in dry.out
    first = json.loads(TEST.read_text("utf-8").splitlines()[0])
    assert f"{first['id']}, prompt 1" in dry.out
    assert first["title"] in dry.out
    assert "prompts each (one path each, to a leaf): about" in dry.err
    assert "nothing was asked" in dry.err


def test_a_dry_run_is_for_language_models(tmp_path: Path) -> None:
    model, few = tmp_path / "model", first_lines(TRAIN, 30, tmp_path / "few.jsonl")
    ok("train", "-t", "products", "-d", few, "-o", model)
    fails(
        2,
        "--dry-run shows the prompts of a language model; this model is 'linear'",
        "predict",
        model,
        TEST,
        "--dry-run",
    )


def test_templates_are_written_edited_and_used(tmp_path: Path) -> None:
    folder, model = tmp_path / "own", tmp_path / "model"
    ok("templates", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["question.jinja", "system.jinja"]
    fails(2, "exists; add -f", "templates", folder)
    question = folder / "question.jinja"
    question.write_text(
        question.read_text("utf-8").replace("Which of these classes", "Which shelf"), encoding="utf-8"
    )
    ok("train", "-t", "products", *ASKED, "--templates", folder, "-o", model)
    question.unlink()  # a saved model has its own
    assert "Which shelf does the document belong to?" in ok("predict", model, TEST, "--dry-run").out


def test_examples_are_shown_on_request(tmp_path: Path) -> None:
    model, few = tmp_path / "model", first_lines(TRAIN, 40, tmp_path / "few.jsonl")
    ok("train", "-t", "products", "-d", few, *ASKED, "--shots", "2", "-o", model)
    assert ok("predict", model, TEST, "--dry-run").out.count("Answer:") == 2 * 3


def test_flags_of_prompts_are_for_prompts(tmp_path: Path) -> None:
    model = tmp_path / "model"
    fails(
        2,
        "--base-url is for --scorer prompt, not linear",
        "train",
        "-t",
        "products",
        "-d",
        TRAIN,
        "--base-url",
        "u",
        "-o",
        model,
    )
    fails(2, "needs a model", "train", "-t", "products", "--scorer", "prompt", "-o", model)
    fails(2, r"only --scorer similarity or prompt does without", "train", "-t", "products", "-o", model)


@pytest.mark.slow
def test_ctrl_c_ends_a_run_though_the_server_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real engine
    reached, end = threading.Event(), threading.Event()

    def silent(request: object) -> str:
        reached.set()
        end.wait(60)
        return "A"

    with PromptServer(silent) as server:
        options = {"model": "m", "base_url": server.base_url, "cache": False}
        HierarchicalClassifier(taxonomy="products", scorer="prompt", scorer_options=options).fit([], []).save(
            tmp_path / "model"
        )
        command = [HCLF, "predict", tmp_path / "model", TEST, "-o", tmp_path / "out.jsonl"]
        program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert reached.wait(60)
        program.send_signal(signal.SIGINT)
        said = program.communicate(timeout=30)[1]  # while nothing has been answered
        end.set()
    assert program.returncode == 130
    assert f"documents are sent to {server.base_url}" in said
    assert said.splitlines()[-1] == "hclf: interrupted"
    assert not (tmp_path / "out.jsonl").exists()
