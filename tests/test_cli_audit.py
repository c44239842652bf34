"""`hclf audit`: what it prints and writes, when it fails, and that no text gets out."""

from __future__ import annotations

import json

import pytest
from test_cli import CANARY, fails, ok, records, run, write

FOOD = """\
hclf: 1
id: food
nodes:
  - drinks: [Tea, {id: juice, assignable: false, children: [Apple juice, Pear juice]}, Coffee]
  - grains: [Rice, Oats]
  - {id: old-soup, valid_to: 2024-12-31}
rules:
  - {type: excludes, node: tea, others: [coffee], strength: hard, note: one cup only}
"""
ROWS = [
    {"id": "a", "text": CANARY, "labels": ["tea", "coffee"]},
    {"id": "b", "text": CANARY, "labels": ["rise"]},
    {"id": "c", "text": CANARY, "labels": ["juice", "Oats"]},
    {"id": "d", "text": CANARY, "labels": ["oats"]},
    {"id": "e", "text": CANARY, "labels": ["coffee", "tea", "old-soup"]},
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "food.yaml").write_text(FOOD)
    write(tmp_path / "data.jsonl", ROWS)
    return tmp_path


AUDIT = ("audit", "data.jsonl", "-t", "food.yaml")


def test_a_table_counts_what_was_found(here):
    lines = [line.rstrip() for line in ok(*AUDIT).out.splitlines()]
    assert lines[0] == "documents: 5, labels: 9, documents without findings: 1"
    rows = [line.split() for line in lines if line.startswith((" unknown", " not-assignable", " excluded-pair"))]
    assert [row[:4] for row in rows] == [
        ["unknown", "1", "1", "20.0%"],
        ["not-assignable", "1", "1", "20.0%"],
        ["excluded-pair", "2", "2", "40.0%"],
    ]
    assert "tea + coffee (2)" in lines[-2]


def test_the_day_counts_only_when_it_is_said(here):
    assert "retired" not in ok(*AUDIT).out
    assert "retired" not in ok(*AUDIT, "--as-of", "2024-12-31").out
    assert "old-soup (1)" in ok(*AUDIT, "--as-of", "2025-01-01").out


def test_findings_are_written_by_document_and_nothing_of_texts(here):
    said = ok(*AUDIT, "-o", "findings.jsonl")
    rows = records(here / "findings.jsonl")
    assert [row["id"] for row in rows] == ["a", "b", "c", "e"]
    assert rows[0]["labels"] == ["tea", "coffee"]
    (pair,) = rows[0]["findings"]
    assert (pair["kind"], pair["node"], pair["other"], pair["severity"]) == ("excluded-pair", "tea", "coffee", "hard")
    assert "one cup only" in pair["message"]
    assert rows[1]["findings"][0]["suggestions"] == ["rice"]
    assert CANARY not in (here / "findings.jsonl").read_text() + said.out + said.err
    assert [json.loads(line) for line in ok(*AUDIT, "-o", "-").out.splitlines()] == rows


def test_json_holds_everything_counted(here):
    summary = ok(*AUDIT, "--json").json
    assert (summary["documents"], summary["labels"], summary["with_findings"]) == (5, 9, 4)
    assert summary["kinds"]["excluded-pair"]["most"] == [{"labels": "tea + coffee", "findings": 2}]
    assert summary["taxonomy"]["id"] == "food"


def test_a_check_can_fail_on_kinds_of_findings(here):
    assert run(*AUDIT, "--fail-on", "retired").status == 0
    failed = run(*AUDIT, "--fail-on", "unknown", "--fail-on", "excluded-pair")
    assert failed.status == 1
    assert failed.err.splitlines()[-1] == "failed, as --fail-on asks: 1 unknown, 2 excluded-pair"
    assert run(*AUDIT, "--fail-on", "any").status == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.jsonl",), "give the taxonomy of the labels"),
        ((*AUDIT[1:], "--fail-on", "unknwon"), "no kind of finding is called 'unknwon'; did you mean 'unknown'"),
        ((*AUDIT[1:], "--fail-on", "quux"), "choose from unknown, "),
        ((*AUDIT[1:], "--as-of", "1.1.2025"), "'1.1.2025' is not a date"),
        ((*AUDIT[1:], "--sure", "0.001"), "doubtful < sure"),
        ((*AUDIT[1:], "-o", "food.yaml"), "food.yaml exists"),
    ],
)
def test_wrong_calls_exit_with_two(here, arguments, message):
    fails(2, message, "audit", *arguments)


def test_faults_of_the_data_exit_with_one(here):
    fails(1, "no such file|No such file", "audit", "none.jsonl", "-t", "food.yaml")
    write(here / "empty.jsonl", [])
    fails(1, "no usable record", "audit", "empty.jsonl", "-t", "food.yaml")
    write(here / "bad.jsonl", [*ROWS, "{"])
    fails(1, "bad.jsonl:6", "audit", "bad.jsonl", "-t", "food.yaml", "--strict")
    assert "1 bad-json" in ok("audit", "bad.jsonl", "-t", "food.yaml").err


def test_texts_are_not_needed_for_rules(here):
    write(here / "codes.csv", ["id,codes", 'a,"tea|coffee"', "b,oats"])
    said = ok("audit", "codes.csv", "-t", "food.yaml", "--label-field", "codes")
    assert "tea + coffee (1)" in said.out
    assert said.err == ""


def test_a_model_adds_its_doubts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "food.yaml").write_text(FOOD)
    kinds = {"tea": "green leaves", "coffee": "strong beans", "rice": "long basmati", "oats": "rolled flakes"}
    texts = [(f"{kind} {name} no {i}", name) for i in range(4) for name, kind in kinds.items()]
    write(tmp_path / "food.jsonl", [{"id": str(i), "text": t, "labels": [n]} for i, (t, n) in enumerate(texts)])
    ok("train", "-t", "food.yaml", "-d", "food.jsonl", "-o", "model")
    rows = [{"id": "x", "text": "green leaves tea", "labels": ["rice"]}, {"id": "y", "text": "", "labels": ["tea"]}]
    write(tmp_path / "wrong.jsonl", rows)
    call = ("audit", "wrong.jsonl", "--model", "model", "--sure", "0.6", "--doubtful", "0.4", "--support", "1")
    ok(*call, "-o", "out.jsonl")
    (row,) = records(tmp_path / "out.jsonl")
    assert {finding["kind"] for finding in row["findings"]} == {"likely-wrong", "likely-missing"}
    assert all(0 <= finding["score"] <= 1 for finding in row["findings"])
    assert "green" not in (tmp_path / "out.jsonl").read_text()
    by_point = ok("audit", "wrong.jsonl", "--model", "model", "--operating-point", "default", "--json").json
    assert by_point["kinds"]["likely-missing"]["most"] == [{"labels": "tea", "findings": 1}]
    fails(
        2, "no operating point 'quux'|quux", "audit", "wrong.jsonl", "--model", "model", "--operating-point", "quux"
    )
