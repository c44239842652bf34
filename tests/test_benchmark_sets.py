"""The benchmark's sets hold what they state and do not leak; its scoring and its runs do what the report says."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from dags import rich_taxonomies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import peers
import peers_report
import peers_scoring
import sets

from hclf.metrics import macro_f1
from hclf.taxonomy import Node, Taxonomy

SIZES = {  # train, test, nodes
    "openfoodfacts": (5_999, 1_467, 12_651),
    "shopify-google": (4_299, 1_042, 5_595),
    "instacart": (39_773, 9_915, 155),
    "clinc150": (15_000, 4_500, 160),
    "icd10cm": (104_793, 11_612, 95_676),
}
SHOP = Taxonomy(
    [Node("a", {"en": "Food"}), Node("b", {"en": "Tea", "fr": "Thé"}), Node("c", {"en": "Rice"})],
    [("a", "b"), ("a", "c")],
)


@lru_cache
def load(name: str) -> sets.BenchmarkSet:
    if not sets.DATA.is_dir():
        pytest.skip(f"no data at {sets.DATA}; set HCLF_DATA")
    return sets.SETS[name]()


@pytest.mark.parametrize("name", [name for name in SIZES if name != "icd10cm"])
def test_sizes(name: str) -> None:
    one = load(name)
    assert (len(one.train), len(one.test), len(one.taxonomy)) == SIZES[name]
    assert all(label in one.taxonomy for record in (*one.train, *one.test) for label in record.labels)
    assert all(record.text for record in one.train)


def test_no_crosswalk_pair_is_on_both_sides_and_the_hard_ones_are_those_no_prefix_gets() -> None:
    one = load("shopify-google")
    assert {r.text for r in one.train}.isdisjoint(r.text for r in one.test)
    paths = {n: sets.SEPARATOR.join(one.taxonomy[i].name for i in one.taxonomy.path(n)) for n in one.taxonomy}
    hard = [i for i, r in enumerate(one.test) if not r.text.startswith(paths[r.labels[0]] + sets.SEPARATOR)]
    assert one.subsets["hard"] == hard
    assert len(hard) == 135


@pytest.mark.slow
def test_icd_phrases_are_counted_and_test_phrases_stand_nowhere_else() -> None:
    one = load("icd10cm")
    assert (len(one.train), len(one.test), len(one.taxonomy)) == SIZES["icd10cm"]
    read = one.counts["index phrases"] + one.counts["descriptions"]
    dropped = [number for what, number in one.counts.items() if what.startswith(("index phrases of", "training"))]
    assert read - sum(dropped) == len(one.train)
    secret = {sets.words(record.text) for record in one.test}
    assert secret.isdisjoint(sets.words(record.text) for record in one.train)
    texts = {text for j in range(len(one.taxonomy)) for text in sets.node_texts(one.taxonomy, j)}
    assert secret.isdisjoint(map(sets.words, texts))
    assert one.answers is not None
    assert one.coarse is not None
    column = one.taxonomy.index("S52.501A")
    assert (one.coarse[column], one.answers[column]) == ("S52", False)
    assert one.coarse[one.taxonomy.index("block-A00-A09")] == ""


def test_node_texts_are_names_in_all_languages_and_the_path() -> None:
    assert sets.node_texts(SHOP, SHOP.index("b")) == ["Tea", "Thé", "Food > Tea"]
    assert sets.node_texts(SHOP, SHOP.index("a")) == ["Food"]


# -- scoring ---------------------------------------------------------------------------------------------------


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rich_taxonomies(), st.integers(0, 2**32 - 1))
def test_lists_become_coherent_as_dense_scores_do(taxonomy: Taxonomy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    top = min(3, len(taxonomy))
    labels = np.array([rng.permutation(len(taxonomy))[:top] for _ in range(4)]).reshape(4, top)
    scores = rng.random(labels.shape).astype(np.float32)
    labels[0] = -1
    dense = np.zeros((4, len(taxonomy)), dtype=np.float32)
    for row in range(1, 4):
        dense[row, labels[row]] = scores[row]
    got = peers_scoring.Scored(labels.astype(np.int32), scores).coherent(taxonomy)
    np.testing.assert_array_equal(got.toarray(), taxonomy.coherent(dense))


PAIRS = (("tea", "b"), ("rice", "c"))


def small_set() -> sets.BenchmarkSet:
    records = [sets.Record({"text": f"{text} {i}"}, (label,)) for i in range(10) for text, label in PAIRS]
    return sets.BenchmarkSet("small", "Small", SHOP, records, records, subsets={"hard": [0, 1]})


def test_perfect_lists_score_1_and_own_label_sets_are_taken_as_they_are(tmp_path: Path) -> None:
    task = peers.Task.of(small_set(), tmp_path, False)
    truth = task.test.specific.indices.reshape(-1, 1).astype(np.int32)
    answer = peers_scoring.Scored(truth, np.full(truth.shape, 0.9, dtype=np.float32))
    held = peers_scoring.Scored(truth[task.valid_rows[1]], np.full((len(task.valid_rows[1]), 1), 0.9, np.float32))
    figures, predicted = peers_scoring.score(task.bench, task.train, task.test, answer, task.valid, held)
    assert figures["hF"] == figures["macro-F1"] == figures["exact match"] == figures["top-1"] == 1.0
    assert figures["hF interval"] is None  # without a mistake, the documents cannot tell
    assert figures["top-1, hard"] == figures["hF, hard"] == 1.0
    assert np.diff(task.test.closed.indptr).tolist() == [2] * 20
    assert (predicted != task.test.closed).nnz == 0

    tea = np.array([(row, SHOP.index("b")) for row in range(20)], dtype=np.int32)
    own = peers_scoring.Scored(truth, answer.scores, tea)
    figures, other = peers_scoring.score(task.bench, task.train, task.test, own, None, None)
    assert (figures["decoding"], figures["hF"], figures["exact match"]) == ("own", 0.75, 0.5)
    low, high = figures["hF interval"]
    assert low < 0.75 < high

    found = peers_scoring.differences(SHOP, task.test, predicted, {"tea": other, "same": predicted})
    assert found["tea"]["hF"]["difference"] == 0.25
    assert found["tea"]["hF"]["low"] < 0.25 < found["tea"]["hF"]["high"]
    assert found["tea"]["macro-F1"]["difference"] == pytest.approx(macro_f1(task.test.closed, predicted) - 5 / 9)
    assert found["same"]["hF"] == {"difference": 0, "low": None, "high": None, "p": 1}


# -- tasks and runs --------------------------------------------------------------------------------------------


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_tasks_hold_what_runners_read(tmp_path: Path) -> None:
    task = peers.Task.of(small_set(), tmp_path, False)
    plain = lines(task.write("test", "plain") / "train.jsonl")
    assert plain[0] == {"text": "tea 0", "fields": {"text": "tea 0"}, "labels": [1], "closed": [0, 1]}
    named = lines(task.write("test", "names") / "train.jsonl")
    assert [line["text"] for line in named[len(plain) :]] == [
        "Food",
        "Tea",
        "Thé",
        "Food > Tea",
        "Rice",
        "Food > Rice",
    ]
    held = task.write("valid", "plain")
    assert len(lines(held / "train.jsonl")) == 17
    assert len(lines(held / "test.jsonl")) == 3
    assert "labels" not in lines(held / "test.jsonl")[0]
    facts = json.loads((held / "task.json").read_text(encoding="utf-8"))
    assert (facts["nodes"], facts["parents"], facts["several"]) == (3, [-1, 0, 0], False)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import time; time.sleep(60)", "over the limit of 0.5 s"),
        ("x = bytearray(10**11)", "over the limit of 4 GB"),
        ("raise ValueError('secret document text')", "failed: ValueError"),
        ("import os; os._exit(3)", "failed: exit 3"),
    ],
)
def test_runs_that_do_not_finish_say_why_and_quote_nothing(tmp_path: Path, code: str, status: str) -> None:
    runner = tmp_path / "runner.py"
    runner.write_text(code, encoding="utf-8")
    limits = peers.Limits(seconds=0.5 if "sleep" in code else 30, gigabytes=4)
    peer = peers.Peer("a peer", str(runner))
    assert peers.run(peer, tmp_path, tmp_path / "out", {}, Path(sys.executable), limits) == {"status": status} | (
        {} if "sleep" in code else {"wall_s": pytest.approx(0, abs=30)}
    )


def test_report_shows_failures_and_who_is_on_the_frontier(tmp_path: Path) -> None:
    runs = tmp_path / "small" / "runs"
    base = {
        "set": "small",
        "variant": "plain",
        "status": "ok",
        "hF interval": [0.0, 1.0],
        "macro-F1": 0.5,
        "fit_mib": 1,
        "model_bytes": 1,
    }
    rows = [
        {**base, "peer": "hclf", "title": "hclf", "hF": 0.9, "fit_s": 2.0, "documents_per_s": 50.0},
        {
            **base,
            "peer": "fast",
            "title": "fast",
            "hF": 0.8,
            "fit_s": 1.0,
            "documents_per_s": 40.0,
            "other cores": 0.1,
        },
        {**base, "peer": "slow", "title": "slow", "hF": 0.7, "fit_s": 3.0, "documents_per_s": 30.0},
        {**base, "peer": "never", "title": "never", "status": "over the limit of 900 s"},
    ]
    del rows[3]["hF interval"]
    for row in rows:
        runs.mkdir(parents=True, exist_ok=True)
        (runs / f"{row['peer']}+plain.json").write_text(json.dumps(row), encoding="utf-8")
    hf, macro = {"difference": 0.1, "low": 0.02, "high": 0.18}, {"difference": 0.0, "low": None, "high": None}
    (tmp_path / "small" / "differences.json").write_text(json.dumps({"fast+plain": {"hF": hf, "macro-F1": macro}}))
    about = {"title": "Small", "sizes": {"train": 5}, "published": {"train": 6}}
    (tmp_path / "small" / "sizes.json").write_text(json.dumps(about), encoding="utf-8")
    peers_report.write_report(tmp_path, tmp_path / "out", "abc")
    text = (tmp_path / "out" / "peers.md").read_text(encoding="utf-8")
    assert "train 5 (published 6)" in text
    assert "| hclf *† |" in text
    assert "| fast * |" in text
    assert "| slow |" in text
    assert "over the limit of 900 s" in text
    assert "| 1.0 | 40 |" in text  # timed on a quiet machine
    assert r"| 2.0\* | 50\* |" in text
    assert text.count(peers_report.BUSY_NOTE) == 1
    report = json.loads((tmp_path / "out" / "peers.json").read_text(encoding="utf-8"))
    assert [point["peer"] for point in report["sets"][0]["frontier"]] == ["hclf", "fast", "slow"]
    assert report["sets"][0]["rows"][1]["hclf minus this"]["hF"]["difference"] == 0.1
    assert "| +0.100 [+0.020, +0.180] | +0.000 |" in text
