"""The scaling benchmark's documents are what it says, and its smoke run fills every cell of the table."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import machine_load
import scale

from hclf.taxonomy import Node, Taxonomy

SHOP = Taxonomy(
    [Node("a", {"en": "Food"}), Node("b", {"en": "Green Tea"}), Node("c", {"en": "Rice"}), Node("d", {"en": "Toys"})],
    [("a", "b"), ("a", "c")],
)


def test_documents_are_the_same_for_a_seed_and_the_first_ones_for_every_n() -> None:
    maker = scale.Maker(SHOP)
    many = list(maker.documents(700, seed=0))
    assert len(many) == 700
    assert list(scale.Maker(SHOP).documents(600, seed=0)) == many[:600]
    assert list(maker.documents(600, seed=1)) != many[:600]
    assert next(islice(maker.documents(10**12, seed=0), 1)) == many[0]  # nothing waits for the end


def test_documents_are_short_and_mostly_about_their_node() -> None:
    documents = list(scale.Maker(SHOP).documents(2_000, seed=0))
    assert all(3 <= len(text.split()) <= 8 for text, _ in documents)
    tea = [set(text.split()) for text, node in documents if node == "b"]
    assert np.mean([bool(words & {"green", "tea"}) for words in tea]) > 0.9
    assert any("food" in words for words in tea)
    assert not any("rice" in words for words in tea)
    assert len({word for words in tea for word in words}) > 100


def test_some_nodes_are_far_more_frequent_than_others() -> None:
    counts = np.unique([node for _, node in scale.Maker(SHOP).documents(2_000, seed=0)], return_counts=True)[1]
    assert len(counts) == len(SHOP)
    assert counts.max() > 3 * counts.min()


@pytest.mark.parametrize(("draw", "word"), [(0.0, "irce"), (0.5, "rcie"), (0.99, "riec")])
def test_typos_swap_neighbours(draw: float, word: str) -> None:
    assert scale.misspelt("rice", draw * scale.MISSPELT) == word
    assert scale.misspelt("a", draw * scale.MISSPELT) == "a"


def test_small_taxonomies_are_whole_categories() -> None:
    small = scale.whole_categories(SHOP, 3)
    assert set(small.nodes) == {"a", "b", "c"}
    assert set(scale.whole_categories(SHOP, 2).nodes) == {"d"}


def test_a_kept_cell_counts_for_the_same_code_and_a_failure_for_the_same_limits(tmp_path: Path) -> None:
    key = {"code": "1", "marks": [], "limits": {"seconds": 1}}
    file = tmp_path / "cell.json"
    assert not scale.is_current(file, key)
    scale.write_json(file, {**key, "fit": {"status": "ok"}})
    assert scale.is_current(file, {**key, "limits": {"seconds": 2}})
    assert not scale.is_current(file, {**key, "code": "2"})
    scale.write_json(file, {**key, "fit": {"status": "over the limit of 1 s"}})
    assert scale.is_current(file, key)
    assert not scale.is_current(file, {**key, "limits": {"seconds": 2}})


def test_a_step_past_its_limit_says_so(tmp_path: Path) -> None:
    found = scale.run("fit", (1_000, 1_000), tmp_path, scale.Limits(0.01, 16))
    assert found == {"status": "over the limit of 0.01 s"}


def test_the_report_shows_what_was_not_reached() -> None:
    fit = {"status": "ok", "labels": 5, "seconds": 2.0, "peak": 3e9, "other cores": 0.1}
    rows = [
        {
            "nodes": 10,
            "documents": 20,
            "fit": fit,
            "model_bytes": 4e6,
            "predict": {"status": "over the limit of 9 s"},
            "commit": "abc",
        },
        {"nodes": 10, "documents": 30, "fit": {"status": "over the limit of 9 s"}},
    ]
    report = {"command": "c", "machine": scale.machine(), "versions": {}, "commit": "abc", "rows": rows}
    text = "\n".join(scale.markdown(report))
    assert "| 10 | 20 | 5 | 2.0 | 3.00 | over the limit of 9 s |  |  | 4 | abc |" in text
    assert "| 10 | 30 |  | over the limit of 9 s |  |  |  |  |  |  |" in text
    assert r"\*" not in text


def test_cells_that_were_not_asked_for_stay_in_the_report(tmp_path: Path) -> None:
    fit = {"status": "ok", "labels": 5, "seconds": 2.0, "peak": 3e9, "other cores": 0.1}
    scale.write_report(
        [{"nodes": 10, "documents": 30, "fit": fit}, {"nodes": 9, "documents": 9, "fit": fit}], tmp_path, []
    )
    scale.write_report(
        [{"nodes": 10, "documents": 20, "fit": fit}, {"nodes": 9, "documents": 9, "fit": {**fit, "labels": 6}}],
        tmp_path,
        [],
    )
    rows = json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["nodes"], row["documents"], row["fit"]["labels"]) for row in rows] == [
        (9, 9, 6),
        (10, 20, 5),
        (10, 30, 5),
    ]
    missing = "Not measured: 9 nodes × 20 documents, 9 nodes × 30 documents, 10 nodes × 9 documents."
    assert missing in (tmp_path / "scale.md").read_text(encoding="utf-8")


def test_load_is_that_of_others() -> None:
    load = machine_load.Load()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    figures = load.figures()
    assert set(figures) == {"load before", "other cores"}
    assert 0 <= figures["other cores"] < 1e3
    assert machine_load.was_busy({})
    assert machine_load.was_busy({"load before": 0.6})
    assert not machine_load.was_busy({"load before": 2.0, "other cores": 0.1})


@pytest.mark.slow
@pytest.mark.skipif(not scale.DATA.is_dir(), reason="no data: set HCLF_DATA")
def test_smoke_run(tmp_path: Path) -> None:
    command = [
        sys.executable,
        scale.__file__,
        "--quick",
        "--cache",
        str(tmp_path),
        "--out",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (row,) = json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["rows"]
    assert [row[step]["status"] for step in scale.STEPS] == ["ok", "ok", "ok"]
    assert 900 < row["nodes"] <= 1_000
    assert 100 < row["fit"]["labels"] < 1_000
    assert row["predict"]["hF"] > 0.5
    assert row["predict"]["documents_per_s"] > 0
    assert all(5e7 < row[step]["peak"] < 2e9 for step in scale.STEPS)
    assert [int(done) for done in row["stream"]["resident"]] == list(scale.QUICK_STREAM)
    assert max(row["stream"]["resident"].values()) <= row["stream"]["peak"]
    text = (tmp_path / "scale.md").read_text(encoding="utf-8")
    assert f"| {row['nodes']:,} | 1,000 | {row['fit']['labels']:,} | {row['fit']['seconds']:.1f}" in text
    assert "target 1.5 GB: met" in text
    assert not list(tmp_path.rglob("model"))

    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["rows"] == [row]
    assert "'fit': 'ok'" in again.stdout
