"""The command line as people and programs meet it: what it prints where, how it fails, and what it leaves behind.

`hclf taxonomy` and `hclf data` have files of their own.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import hclf
from hclf.bundle import FORMAT_VERSION, _digest
from hclf.classifier import HierarchicalClassifier
from hclf.cli import main
from hclf.registry import load_taxonomy

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "products"
HCLF = str(Path(sys.executable).with_name("hclf"))
TRAIN, TEST = 50, 40
CANARY = "Hemochromatosis-Canary"  # stands for what is in a document
METRICS = {"hP", "hR", "hF", "hP_example", "hR_example", "hF_example", "macro_f1", "exact_match", "hamming"}
KNOWN = {f"{name}_known" for name in ("hP", "hF", "hP_example", "hF_example", "macro_f1")}


class Result(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: object, stdin: str = "") -> Result:
    """Run a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as raised:
            main([str(a) for a in arguments])
    return Result(int(raised.value.code or 0), out.buffer.getvalue().decode(), err.getvalue())


def ok(*arguments: object, stdin: str = "") -> Result:
    """Run a command that succeeds."""
    result = run(*arguments, stdin=stdin)
    assert result.status == 0, result.err
    return result


def fails(status: int, message: str, *arguments: object, stdin: str = "", lines: int = 1) -> Result:
    """Run a command that fails with one line (or several) that matches a pattern and quotes no document."""
    result = run(*arguments, stdin=stdin)
    assert result.status == status, result
    assert re.search(message, result.err), result.err
    told = result.err.splitlines()
    assert len(told) == lines
    assert told[-1].startswith("hclf: ")
    assert "Traceback" not in result.err
    assert CANARY not in result.err + result.out
    return result


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))


def write(file: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


class Shop(NamedTuple):
    """A model of the shipped products with its baseline, and the few records it learned from and is asked about."""

    model: Path
    train: Path
    test: Path
    said: Result


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    train = write(folder / "train.jsonl", records(EXAMPLES / "train.jsonl")[:TRAIN])
    test = write(folder / "test.jsonl", records(EXAMPLES / "test.jsonl")[:TEST])
    said = ok("train", "-t", "products", "-d", train, "-o", folder / "model", "--baseline", "flat", "--json")
    return Shop(folder / "model", train, test, said)


@pytest.fixture(scope="module")
def answers(shop) -> str:
    return ok("predict", shop.model, shop.test).out


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder to work in, with a small taxonomy and records that train in no time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "food.yaml").write_text(
        "hclf: 1\nid: food\nnodes: [{drinks: [Tea, Coffee]}, {grains: [Rice, Oats]}]\n"
    )
    kinds = {"tea": "green leaves", "coffee": "strong beans", "rice": "long basmati", "oats": "rolled flakes"}
    texts = [(f"{kind} {name} no {i}", name) for i in range(4) for name, kind in kinds.items()]
    write(tmp_path / "food.jsonl", [{"id": str(i), "text": t, "labels": [n]} for i, (t, n) in enumerate(texts)])
    return tmp_path


TRAIN_TINY = ("train", "-t", "food.yaml", "-d", "food.jsonl", "-o", "model")


# -- train -----------------------------------------------------------------------------------------------------


def test_train_prints_one_json_document_and_saves_a_model(shop):
    report = shop.said.json
    assert report["model"] == str(shop.model)
    assert report["documents"] == TRAIN
    assert report["fields"] == ["title", "description"]
    assert report["goal"] == "hf"
    assert report["problems"] == {}
    assert report["decoder"] in report["decoder_reason"] or report["decoder_reason"]
    assert list(report["thresholds"]) == sorted(report["thresholds"])
    assert shop.said.err == ""
    assert len(HierarchicalClassifier.load(shop.model).classes_) == len(load_taxonomy("products"))


def test_train_says_what_it_decided_on_stderr(tiny):
    result = ok(*TRAIN_TINY)
    assert result.out == ""
    assert re.search(r"^trained 6 nodes on 16 documents", result.err, re.MULTILINE)
    assert re.search(r"^decoder: \S+ \(.+\)$", result.err, re.MULTILINE)
    assert re.search(r"^thresholds by level: 0\.\d\d  0\.\d\d$", result.err, re.MULTILINE)
    assert result.err.endswith("model: model\n")


def test_train_reads_several_files(tiny):
    rows = records(tiny / "food.jsonl")
    write(tiny / "a.jsonl", rows[:8])
    write(tiny / "b.jsonl", rows[8:])
    ok(*TRAIN_TINY, "-j", 1)
    ok("train", "-t", "food.yaml", "-d", "a.jsonl", "-d", "b.jsonl", "-o", "again", "-j", 1)
    assert ok("predict", "model", "food.jsonl").out == ok("predict", "again", "food.jsonl").out


def test_the_same_seed_gives_the_same_scores_whatever_the_threads(tiny):
    answers = set()
    for i, jobs in enumerate((1, 4, 4, 4)):
        ok(*TRAIN_TINY[:-1], f"model-{i}", "-j", jobs, "--seed", 3)
        answers.add(ok("predict", f"model-{i}", "food.jsonl").out)
    assert len(answers) == 1


def test_train_never_overwrites_a_model_without_force_and_nothing_else_ever(tiny):
    ok(*TRAIN_TINY)
    before = (tiny / "model" / "manifest.json").read_bytes()
    assert "-f" in run(*TRAIN_TINY).err
    assert run(*TRAIN_TINY).status in (1, 2)
    assert (tiny / "model" / "manifest.json").read_bytes() == before
    ok(*TRAIN_TINY, "-f", "--seed", 9)
    assert (tiny / "model" / "manifest.json").read_bytes() != before
    fails(1, "not a model; choose another place", *TRAIN_TINY[:-1], ".", "-f")
    assert sorted(p.name for p in tiny.iterdir()) == ["food.jsonl", "food.yaml", "model"]


def test_bad_rows_are_counted_and_named_but_not_quoted(tiny):
    bad = [
        {"id": "x", "text": f"{CANARY} tea", "labels": ["cofee"]},
        f'{{"id": "y", "text": "{CANARY}", "labels": [',
        f'["{CANARY}"]',
        {"id": "z", "text": f"no label {CANARY}"},
        {"id": "w", "text": [f"{CANARY}"], "labels": ["tea"]},
        {"id": "v", "text": {"a": CANARY}, "labels": ["tea"]},
        f'{{"id": "u", "text": "{CANARY}", "text": "{CANARY}", "labels": ["tea"]}}',
    ]
    write(tiny / "bad.jsonl", [*records(tiny / "food.jsonl"), *bad])
    result = ok("train", "-t", "food.yaml", "-d", "bad.jsonl", "-o", "model", "--json")
    assert "bad.jsonl:17: unknown label 'cofee'; did you mean 'coffee'?" in result.err
    assert re.search(r"bad\.jsonl:18: not valid JSON: .* at column \d+", result.err)
    assert "bad.jsonl:19: a list, not an object" in result.err
    assert CANARY not in result.err + result.out
    assert result.json["problems"]["unknown-label"] == result.json["problems"]["bad-json"] == 1
    assert sum(result.json["problems"].values()) >= len(bad) - 1
    for line in (17, 18, 19, 20, 22, 23):  # a list of texts, in line 21, is one text
        assert f"bad.jsonl:{line}: " in result.err


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "tune"])
def test_strict_stops_at_the_first_bad_row(command, shop, tiny):
    rows = records(shop.test)[:3]
    write(tiny / "bad.jsonl", [*rows, f'{{"title": "{CANARY}",', *rows])
    arguments = {
        "train": ("train", "-t", "products", "-d", "bad.jsonl", "-o", "model"),
        "predict": ("predict", shop.model, "bad.jsonl", "-o", "out.jsonl"),
        "evaluate": ("evaluate", shop.model, "bad.jsonl"),
        "tune": ("tune", shop.model, "bad.jsonl", "-o", "model"),
    }[command]
    fails(1, r"^hclf: bad\.jsonl:4: not valid JSON", *arguments, "--strict")
    assert not (tiny / "model").exists()
    assert not (tiny / "out.jsonl").exists()


def test_a_config_gives_options_and_the_command_line_wins(tiny):
    (tiny / "c.yaml").write_text("taxonomy: food.yaml\ndata: [food.jsonl]\nseed: 7\ngoal: macro_f1\nno-grid: no\n")
    fails(2, r"c\.yaml: unknown option 'no_grid'", "train", "-c", "c.yaml", "-o", "model")
    (tiny / "c.yaml").write_text(
        "taxonomy: food.yaml\ndata: [food.jsonl]\nseed: 7\ngoal: macro_f1\none-threshold: yes\n"
    )
    said = ok("train", "-c", "c.yaml", "-o", "model", "--seed", 8, "--json").json
    settings = ok("inspect", "model", "--json").json["settings"]
    assert (settings["seed"], settings["goal"], settings["per_level"]) == (8, "macro_f1", False)
    assert len(set(said["thresholds"])) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaol: hf", r"c\.yaml: unknown option 'gaol'; did you mean 'goal'\?"),
        ("seed: many", r"--seed"),
        ("goal: hx", r"unknown goal 'hx'"),
        ("- seed", r"c\.yaml: a config is a mapping"),
        ("seed: [1", r"cannot read c\.yaml"),
        ("!!python/object/apply:os.system [echo]", r"cannot read c\.yaml"),
        (None, r"cannot read c\.yaml"),
    ],
)
def test_a_config_with_mistakes(text, message, tiny):
    if text is not None:
        (tiny / "c.yaml").write_text(text)
    fails(2, message, "train", "-t", "food.yaml", "-d", "food.jsonl", "-c", "c.yaml", "-o", "model")


# -- predict ---------------------------------------------------------------------------------------------------


def test_predict_answers_every_document_in_order_with_closed_sets(shop, answers):
    products = load_taxonomy("products")
    rows = [json.loads(line) for line in answers.splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in records(shop.test)]
    for row in rows:
        assert set(row) - {"findings"} == {"id", "labels", "leaves", "flags"}
        nodes = [label["id"] for label in row["labels"]]
        assert set(products.closure(nodes)) == set(nodes)
        assert set(row["leaves"]) <= set(nodes)
        for label in row["labels"]:
            assert set(label) - {"cold_start"} == {"id", "name", "level", "score"}
            assert label["name"] == products[label["id"]].name
            assert 0 <= label["score"] <= 1
        assert ("cold-start" in row["flags"]) == any("cold_start" in label for label in row["labels"])


def test_predict_gives_the_same_whatever_it_reads_from_and_writes_to(shop, answers, tmp_path):
    text = shop.test.read_text("utf-8")
    assert ok("predict", shop.model, "-", stdin=text).out == answers
    assert ok("predict", shop.model, "-", "-o", "-", stdin=text).out == answers
    packed = tmp_path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    written = ok("predict", shop.model, packed, "-o", tmp_path / "out.jsonl.gz")
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).decode() == answers
    assert written.out == ""
    assert re.search(rf"^{TEST} documents; \d+ unknown", written.err)


def test_a_document_is_answered_alike_alone_and_among_others(shop, answers):
    line = shop.test.read_text("utf-8").splitlines()[7]
    assert ok("predict", shop.model, "-", stdin=line).out.strip() == answers.splitlines()[7]


def test_predict_writes_tables(shop, answers, tmp_path):
    rows = [json.loads(line) for line in answers.splitlines()]
    long = list(csv.DictReader(io.StringIO(ok("predict", shop.model, shop.test, "--format", "csv-long").out)))
    assert list(long[0]) == ["id", "label", "name", "level", "score", "cold_start"]
    given = [(row["id"], label["id"]) for row in rows for label in row["labels"] or [{"id": ""}]]
    assert [(row["id"], row["label"]) for row in long] == given
    wide = list(csv.DictReader(io.StringIO(ok("predict", shop.model, shop.test, "--format", "csv-wide").out)))
    assert list(wide[0]) == ["id", "labels", "leaves", "scores", "flags"]
    assert [row["labels"] for row in wide] == ["|".join(label["id"] for label in row["labels"]) for row in rows]
    ok("predict", shop.model, shop.test, "-o", tmp_path / "by-suffix.csv")
    assert table(tmp_path / "by-suffix.csv") == long


def test_deepest_only_leaves_ancestors_out(shop, answers):
    rows = [json.loads(line) for line in answers.splitlines()]
    deepest = [json.loads(x) for x in ok("predict", shop.model, shop.test, "--deepest-only").out.splitlines()]
    assert [[label["id"] for label in row["labels"]] for row in deepest] == [row["leaves"] for row in rows]


def test_show_draws_trees_instead(shop):
    result = ok("predict", shop.model, shop.test, "--show", 2)
    assert [row["id"] for row in records(shop.test)[:3] if row["id"] in result.out] == ["item-0002", "item-0004"]
    assert "{" not in result.out


def test_predict_never_overwrites_without_force(shop, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    fails(2, "out.jsonl exists; add -f", "predict", shop.model, shop.test, "-o", out)
    assert out.read_text() == "mine"
    ok("predict", shop.model, shop.test, "-o", out, "-f")
    assert len(records(out)) == TEST


def test_empty_texts_and_empty_inputs_are_answered_with_unknown(shop, tmp_path):
    blank = write(tmp_path / "blank.jsonl", [{"id": "1", "title": "", "description": " "}])
    result = ok("predict", shop.model, blank)
    assert json.loads(result.out) == {"id": "1", "labels": [], "leaves": [], "flags": ["empty-text"]}
    assert "1 unknown" in result.err
    assert ok("predict", shop.model, "-").out == ""


def test_bad_rows_are_left_out_and_said(shop):
    rows = shop.test.read_text("utf-8").splitlines()[:2]
    result = ok("predict", shop.model, "-", stdin="\n".join([rows[0], f'{{"title": "{CANARY}', rows[1]]))
    assert len(result.out.splitlines()) == 2
    assert "<stdin>:2: not valid JSON" in result.err
    assert CANARY not in result.err


# -- evaluate --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated(shop) -> dict[str, Any]:
    return ok("evaluate", shop.model, shop.test, "--json").json


def test_evaluate_gives_the_documented_json(evaluated):
    assert set(evaluated["metrics"]) >= METRICS
    assert {"auprc", "map", "p_at_1", "p_at_5", "r_at_5"} <= set(evaluated["metrics"])
    assert all(0 <= value <= 1 for value in evaluated["metrics"].values())
    assert [level["level"] for level in evaluated["levels"]] == [1, 2, 3, 4, 5]
    assert {"level", "name", "hP", "hR", "hF", "support", "predicted"} <= set(evaluated["levels"][0])
    assert evaluated["documents"] == TEST
    assert evaluated["closed"] is True
    assert {"unknown", "violations_before", "problems", "baselines"} <= set(evaluated)
    assert evaluated["metrics"]["hF"] > 0.3


def test_scoring_a_file_of_predictions_gives_the_same_figures(shop, answers, evaluated, tmp_path):
    for name, deepest in (("all", ()), ("deepest", ("--deepest-only",))):
        file = tmp_path / f"{name}.jsonl"
        ok("predict", shop.model, shop.test, "-o", file, *deepest)
        there = ok("evaluate", "--gold", shop.test, "--pred", file, "--taxonomy", "products", "--json").json
        assert there["metrics"] == {key: evaluated["metrics"][key] for key in there["metrics"]}
        assert set(there["metrics"]) == METRICS | KNOWN
        assert there["levels"] == evaluated["levels"]
        assert there["unknown"] == evaluated["unknown"]


@pytest.mark.parametrize("format", ["csv-long", "csv-wide"])
def test_scoring_predictions_in_tables(format, shop, evaluated, tmp_path):
    ok("predict", shop.model, shop.test, "-o", tmp_path / "p.csv", "--format", format)
    there = ok("evaluate", "--gold", shop.test, "--pred", tmp_path / "p.csv", "-t", "products", "--json").json
    assert there["metrics"]["hF"] == evaluated["metrics"]["hF"]


def test_scoring_anyone_s_predictions(tiny):
    """Labels by name and path, in another order, some without an answer: hF by hand is 2·4 / (4 + 8)."""
    write(
        tiny / "gold.jsonl",
        [
            {"id": i, "text": "t", "labels": [x]}
            for i, x in zip("abcd", ["tea", "Drinks > Coffee", "Rice", "oats"], strict=True)
        ],
    )
    write(tiny / "theirs.jsonl", [{"id": "c", "labels": ["Grains > Rice"]}, {"id": "a", "labels": ["tea"]}])
    result = ok("evaluate", "--gold", "gold.jsonl", "--pred", "theirs.jsonl", "-t", "food.yaml", "--json")
    assert result.json["metrics"]["hF"] == pytest.approx(8 / 12)
    assert result.json["unknown"] == 2
    assert "2 of 4 gold documents have no prediction" in result.err
    write(tiny / "theirs.jsonl", [{"id": "x", "labels": ["tea"]}])
    arguments = ("evaluate", "--gold", "gold.jsonl", "--pred", "theirs.jsonl", "-t", "food.yaml")
    fails(1, "prediction for id 'x' is not in the gold file", *arguments)
    write(tiny / "theirs.jsonl", [{"id": "a", "labels": ["cofee"]}])
    fails(1, "unknown label 'cofee'; did you mean 'coffee'", *arguments)


def test_an_unknown_label_among_predictions_is_placed(tiny):
    write(tiny / "theirs.jsonl", [{"id": "0", "labels": ["cofee"]}])
    fails(
        1, r"theirs\.jsonl.*'cofee'", "evaluate", "--gold", "food.jsonl", "--pred", "theirs.jsonl", "-t", "food.yaml"
    )


def test_the_flat_baseline_is_shown_beside(shop, evaluated):
    flat = evaluated["baselines"]["flat"]
    assert set(flat["metrics"]) >= METRICS
    assert flat["documents"] == TEST
    text = ok("evaluate", shop.model, shop.test).out
    assert re.search(r"hierarchical +flat +difference", text)
    assert re.search(r"Against flat: hF .*", text)


def test_without_a_baseline_none_is_shown(shop, tmp_path):
    ok("tune", shop.model, shop.test, "-o", tmp_path / "kept")
    assert "baselines" in ok("evaluate", tmp_path / "kept", shop.test, "--json").json
    bare = shutil.copytree(shop.model, tmp_path / "bare")
    manifest = json.loads((bare / "manifest.json").read_text("utf-8"))
    del manifest["baseline"]
    manifest["checksum"] = _digest(manifest)
    (bare / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "baselines" not in ok("evaluate", bare, shop.test, "--json").json
    assert "flat" not in ok("evaluate", bare, shop.test).out


def test_reports_and_intervals(shop, tmp_path):
    files = [tmp_path / f"report{suffix}" for suffix in (".html", ".md", ".json", ".csv")]
    wanted = [word for file in files for word in ("--report", file)]
    result = ok("evaluate", shop.model, shop.test, *wanted, "--json")
    assert [f"report: {file}" for file in files] == result.err.splitlines()[-4:]
    page, summary, everything, labels = (file.read_text("utf-8") for file in files)
    texts = [record["title"] for record in records(shop.test)]
    assert page.startswith("<!")
    assert not [text for text in texts if text in page + summary + everything + labels]
    assert "hF" in summary
    told = json.loads(everything)
    assert told["metrics"] == result.json["metrics"]
    assert told["intervals"]["hF"] == result.json["intervals"]["hF"]
    assert set(told["comparisons"]) == set(result.json["comparisons"]) == {"flat"}
    assert told["about"]["data"]["file"] == str(shop.test)
    assert len(told["diagnostics"]["thresholds"]) == 5
    assert len(labels.splitlines()) == len(told["nodes"]) + 1
    fails(2, "report.html exists; add -f", "evaluate", shop.model, shop.test, "--report", files[0])
    ok("evaluate", shop.model, shop.test, "--report", files[0], "-f", "--with-examples")
    assert [text for text in texts if text in files[0].read_text("utf-8")]
    fails(2, "a report ends in", "evaluate", shop.model, shop.test, "--report", tmp_path / "report.pdf")
    fails(2, "name one with --report", "evaluate", shop.model, shop.test, "--with-examples")


def test_intervals_are_found_on_request(shop, evaluated):
    found = ok("evaluate", shop.model, shop.test, "--intervals", "--json").json
    low, high = found["intervals"]["hF"]
    assert low <= found["metrics"]["hF"] <= high
    assert found["metrics"] == evaluated["metrics"]
    assert not evaluated.get("intervals")


def test_a_report_of_anyone_s_predictions(shop, tmp_path):
    ok("predict", shop.model, shop.test, "-o", tmp_path / "p.jsonl")
    files = ("--gold", shop.test, "--pred", tmp_path / "p.jsonl", "-t", "products")
    ok("evaluate", *files, "--report", tmp_path / "r.json")
    told = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert told["documents"] == TEST
    assert told["about"]["predictions"]["file"] == str(tmp_path / "p.jsonl")


def test_the_table_of_nodes(shop, tmp_path):
    file = tmp_path / "nodes.csv"
    ok("evaluate", shop.model, shop.test, "--nodes", file)
    rows = table(file)
    assert {row["id"] for row in rows} <= set(load_taxonomy("products").nodes)
    assert {"precision", "recall", "f1", "support"} <= set(rows[0])
    fails(2, "nodes.csv exists; add -f", "evaluate", shop.model, shop.test, "--nodes", file)


# -- tune, inspect, check --------------------------------------------------------------------------------------


def test_tune_changes_thresholds_only_and_leaves_the_model_alone(shop, tmp_path):
    before = (shop.model / "manifest.json").read_bytes()
    sure = tmp_path / "sure"
    said = ok("tune", shop.model, shop.test, "--goal", "precision>=0.9", "-o", sure, "--json").json
    assert (said["goal"], said["model"]) == ("precision>=0.9", str(sure))
    assert (shop.model / "manifest.json").read_bytes() == before
    assert (sure / "linear.npz").read_bytes() == (shop.model / "linear.npz").read_bytes()
    assert ok("evaluate", sure, shop.test, "--json").json["metrics"]["hP"] >= 0.9
    grid = ok("tune", sure, shop.test, "--grid", "-f", "--json").json
    assert {round(t, 2) for t in grid["thresholds"]} <= {round(0.05 * n, 2) for n in range(6, 15)}


def test_tune_never_overwrites_without_force(shop, tmp_path):
    before = (shop.model / "manifest.json").read_bytes()
    result = run("tune", shop.model, shop.test)
    assert result.status in (1, 2)
    assert "-f" in result.err
    assert (shop.model / "manifest.json").read_bytes() == before


def test_inspect_tells_without_loading_the_model(shop):
    manifest = ok("inspect", shop.model, "--json").json
    assert manifest["format_version"] == FORMAT_VERSION
    assert manifest["taxonomy"]["id"] == "products"
    assert manifest["settings"]["goal"] == "hf"
    text = ok("inspect", shop.model).out
    assert "products" in text
    assert f"on {TRAIN} documents" in text
    code = (
        "import sys; from hclf.cli import main\n"
        f"try:\n    main(['inspect', {str(shop.model)!r}])\n"
        "finally:\n    print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_check_passes_our_own_predictions(shop, answers):
    result = ok("check", "-", "-t", "products", "--json", stdin=answers)
    assert (result.json["ok"], result.json["closed"], result.json["documents"]) == (True, True, TEST)
    assert "all closed and coherent" in ok("check", "-", "-t", "products", stdin=answers).out


def test_check_says_what_breaks(tiny):
    def label(node: str, score: float) -> dict[str, Any]:
        return {"id": node, "score": score}

    rows = [
        {"id": "fine", "labels": [label("drinks", 0.9), label("tea", 0.8)]},
        {"id": "orphan", "labels": [label("tea", 0.8)]},
        {"id": "upside-down", "labels": [label("drinks", 0.2), label("tea", 0.8)]},
        {"id": "foreign", "labels": [label("cofee", 0.8)]},
        {"id": "unknown", "labels": []},
        f'{{"id": "{CANARY}",',
    ]
    write(tiny / "p.jsonl", rows)
    result = run("check", "p.jsonl", "-t", "food.yaml", "--json")
    assert result.status == 1
    wanted = {"documents": 5, "unknown": 1, "not_closed": 1, "unknown_nodes": 1, "incoherent": 1, "ok": False}
    assert {key: result.json[key] for key in wanted} == wanted
    assert result.json["problems"]["total"] == 1
    text = run("check", "p.jsonl", "-t", "food.yaml")
    assert text.status == 1
    assert "orphan: lacks 'drinks', an ancestor of its labels" in text.out
    assert "foreign: unknown node 'cofee'; did you mean 'coffee'?" in text.out
    assert CANARY not in result.out + result.err + text.out + text.err


# -- mistakes --------------------------------------------------------------------------------------------------

MISTAKES = [
    (2, r"No such command 'trian'\. Did you mean 'train'\?", "trian"),
    (2, r"No such command 'valdate'\. Did you mean 'validate'\?", "taxonomy valdate"),
    (2, r"No such option: --goul .*--goal.*hclf train --help", "train --goul hf"),
    (2, r"Missing argument 'MODEL'", "predict"),
    (2, r"Missing option '--taxonomy'", "train -d food.jsonl -o new"),
    (2, r"no taxonomy 'prodcts'.*did you mean 'products'\?", "train -t prodcts -d food.jsonl -o new"),
    (2, r"no such file: fod\.yaml; did you mean 'food\.yaml'\?", "train -t fod.yaml -d food.jsonl -o new"),
    (1, r"nope\.jsonl: no such file", "train -t food.yaml -d nope.jsonl -o new"),
    (2, r"unknown scorer 'linaer'; did you mean 'linear'", "{train} --scorer linaer"),
    (2, r"unknown decoder 'pth'; did you mean 'path'", "{train} --decoder pth"),
    (2, r"coherence is max or min or isotonic, not 'mx'", "{train} --coherence mx"),
    (2, r"partial_labels is unknown or negative", "{train} --partial-labels no"),
    (2, r"unknown goal 'hg'; choose hf", "{train} --goal hg"),
    (2, r"precision", "{train} --goal precision>=2"),
    (2, r"unknown baseline 'flt'", "{train} --baseline flt"),
    (2, r"'--k'.*greater than or equal to 1", "{train} --k 0"),
    (2, r"'--C'.*valid number", "{train} --C abc"),
    (2, r"'--jobs'", "{train} -j 0"),
    (2, r"--fields: 'b' is not a weight", "{train} --fields text:b"),
    (1, r"food\.jsonl: none of 16 records has a field 'tetx'", "{train} --fields tetx"),
    (2, r"unknown record format 'jsn'", "{train} --input-format jsn"),
    (1, r"^hclf: broken\.yaml:4:4: not valid YAML", "train -t broken.yaml -d food.jsonl -o new"),
    (1, r"nowhere is not a model: .*hclf train", "predict nowhere food.jsonl"),
    (1, r"nowhere is not a model", "evaluate nowhere food.jsonl"),
    (1, r"nowhere is not a model", "tune nowhere food.jsonl -o new"),
    (1, r"nowhere is not a model", "inspect nowhere"),
    (1, r"nope\.jsonl: no such file", "predict {model} nope.jsonl"),
    (1, r"nope\.jsonl: no such file", "check nope.jsonl -t food.yaml"),
    (1, r"is a folder", "predict {model} ."),
    (1, r"its folder does not exist", "predict {model} food.jsonl -o no/where.jsonl"),
    (2, r"cannot write format 'xml'", "predict {model} food.jsonl --format xml"),
    (1, r"was made for taxonomy 'products' \(658 nodes.*not for 'food'", "evaluate {model} food.jsonl -t food.yaml"),
    (2, r"give MODEL and DATA, or --gold, --pred and --taxonomy", "evaluate {model}"),
    (2, r"give MODEL and DATA, or --gold, --pred and --taxonomy", "evaluate --gold food.jsonl --pred food.jsonl"),
    (1, r"food\.jsonl: none of 16 records has a field 'title' or 'description'", "evaluate {model} food.jsonl"),
    (1, r"no usable labelled record; food\.jsonl:1: unknown label 'tea'", "train -t icd10-mini -d food.jsonl -o new"),
    (2, r"unknown example 'shop'", "demo --only shop"),
]


@pytest.mark.parametrize(("status", "message", "command"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_a_mistake_takes_one_line_and_leaves_nothing_behind(status, message, command, shop, tiny):
    (tiny / "broken.yaml").write_text("hclf: 1\nnodes:\n  - id: a\n   name: A\n")
    words = command.format(model=shop.model, train="train -t food.yaml -d food.jsonl -o new").split(" ")
    before = sorted(tiny.rglob("*"))
    fails(status, message, *words)
    assert sorted(tiny.rglob("*")) == before


@pytest.mark.parametrize(
    "option",
    [
        "--scorer x",
        "--decoder x",
        "--goal x",
        "--coherence x",
        "--baseline x",
        "--fields a:x",
        "--partial-labels x",
    ],
)
def test_a_bad_option_is_refused_before_any_data_is_read(option, tiny):
    result = run("train", "-t", "food.yaml", "-d", "absent.jsonl", "-o", "new", *option.split())
    assert (result.status, "absent" in result.err) == (2, False)


def test_all_faults_of_a_taxonomy_come_at_once(tiny):
    (tiny / "bad.yaml").write_text("hclf: 1\nnodes:\n  - {id: a, parents: [b, c]}\n  - {id: a, nmae: A}\n")
    result = fails(1, "did you mean 'name'", "train", "-t", "bad.yaml", "-d", "food.jsonl", "-o", "new", lines=4)
    assert [line.split(": ")[1].split(":")[0] for line in result.err.splitlines()] == ["bad.yaml"] * 4


def test_no_command_at_all_shows_the_help(tiny):
    result = run()
    assert result.status == 2
    assert "Usage: hclf" in result.err + result.out
    assert "Traceback" not in result.err


@pytest.mark.parametrize("damage", ["manifest.json", "linear.npz", "linear.json", "taxonomy.yaml"])
def test_a_damaged_model_is_one_line(damage, shop, tmp_path):
    model = shutil.copytree(shop.model, tmp_path / "model")
    (model / damage).write_bytes((model / damage).read_bytes()[:-20] + b"0123456789")
    fails(1, "damaged", "predict", model, shop.test)
    (model / damage).unlink()
    fails(1, "damaged|is not a model", "predict", model, shop.test)


def test_a_model_that_lacks_a_part_of_a_part_is_one_line(shop, tmp_path):
    """As one written by another version might: every checksum holds, yet something is not there."""
    model = shutil.copytree(shop.model, tmp_path / "model")
    with np.load(model / "linear.npz") as arrays:
        np.savez(model / "linear.npz", **{key: arrays[key] for key in arrays.files if key != "bias"})
    manifest = json.loads((model / "manifest.json").read_text("utf-8"))
    manifest["files"]["linear.npz"] = hashlib.sha256((model / "linear.npz").read_bytes()).hexdigest()
    manifest["checksum"] = _digest(manifest)
    (model / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    fails(1, f"{model} is damaged", "predict", model, shop.test)


def test_an_interrupt_is_said(shop, monkeypatch):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HierarchicalClassifier, "predict_documents", interrupt)
    fails(130, "^hclf: interrupted$", "predict", shop.model, shop.test)


def test_an_internal_error_quotes_nothing_unless_asked(shop, monkeypatch):
    def explode(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"could not handle {CANARY}")

    monkeypatch.delenv("HCLF_DEBUG", raising=False)
    monkeypatch.setattr(HierarchicalClassifier, "predict_documents", explode)
    fails(1, r"internal error \(RuntimeError\); HCLF_DEBUG=1 shows where", "predict", shop.model, shop.test)
    monkeypatch.setenv("HCLF_DEBUG", "1")
    with pytest.raises(RuntimeError, match=CANARY):
        main(["predict", str(shop.model), str(shop.test)])


# -- as a process ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_program_and_the_module_are_installed(shop, answers):
    done = subprocess.run([HCLF, "predict", shop.model, "-"], input=shop.test.read_bytes(), capture_output=True)
    assert (done.returncode, done.stdout.decode()) == (0, answers)
    assert re.fullmatch(rf"{TEST} documents; \d+ unknown .*\nrules object to \d+ answers.*\n", done.stderr.decode())
    module = [sys.executable, "-m", "hclf", "--version"]
    assert subprocess.run(module, capture_output=True, text=True).stdout == f"hclf {hclf.__version__}\n"


def test_no_colour_and_no_progress_reach_a_pipe(shop):
    environment = {**os.environ, "TERM": "xterm-256color"}
    done = subprocess.run([HCLF, "inspect", shop.model], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_early_is_no_error(shop, tmp_path):
    many = write(tmp_path / "many.jsonl", records(shop.test) * 20)  # more than a pipe holds
    command = f"'{HCLF}' predict '{shop.model}' '{many}' -o - | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_under_another_name(shop, tmp_path):
    out, line = tmp_path / "out.jsonl", shop.test.read_bytes().splitlines(keepends=True)[0]
    process = subprocess.Popen(
        [HCLF, "predict", shop.model, "-", "-o", out], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    )
    try:
        process.stdin.write(line * 1_100)  # two batches and a bit; the pipe stays open: more might come
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size for file in tmp_path.glob(".out.jsonl.*.tmp")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1].decode()
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not out.exists()
    kept = records(tmp_path / "out.jsonl.partial")
    assert len(kept) >= 512
    assert f"{len(kept)} finished record(s) are kept in {out}.partial" in said
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl.partial"]


def test_flags_of_other_scorers_and_missing_records_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", "-t", "products", "-o", str(tmp_path / "m")]
    data = ["-d", "examples/products/train.jsonl"]
    for arguments, said in (
        ([], "give labelled records to learn from: --data FILE"),
        ([*data, "--encoder", "x"], "--encoder is for --scorer neural or similarity, not linear"),
        ([*data, "--learn", "lora"], "--learn is for --scorer neural, not linear"),
        ([*data, "--scorer", "lexicon", "--C", "2"], "--C is for --scorer linear, not lexicon"),
        ([*data, "--scorer-option", "C"], "'C' is not NAME=VALUE, such as dropout=0.2"),
        ([*data, "--scorer-option", "neural.dropout=0.1"], "'neural' is not among the scorers of linear"),
        (
            [*data, "--scorer", "linear+lexicon", "--scorer-option", "C=2"],
            "say whose it is, as in linear.C",
        ),
    ):
        with pytest.raises(SystemExit) as done:
            main([*common, *arguments])
        assert done.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_every_option_of_a_scorer_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--scorer-option", "negatives=7", "--scorer-option", "matching=false", "--C", "0.5", "-j", "1"]
    with pytest.raises(SystemExit) as done:
        main(["train", "-t", "products", "-d", "examples/products/train.jsonl", "-o", str(tmp_path / "m"), *given])
    assert done.value.code == 0, capsys.readouterr().err
    model = HierarchicalClassifier.load(tmp_path / "m")
    assert model.scorer_options == {"C": 0.5, "negatives": 7, "matching": False}
