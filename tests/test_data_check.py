"""`check_records`: every finding, its numbers, its print, and no text in it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from dags import dags_with_labels
from hypothesis import given
from rich.console import Console

from hclf.data import Document, check_records, documents_from
from hclf.errors import DataError, UsageError
from hclf.taxonomy import Node, Taxonomy

DATA = Path(os.environ.get("HCLF_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TREE = Taxonomy(
    [
        Node("food"),
        Node("rice", {"": "Rice"}),
        Node("tea", {"": "Tea"}),
        Node("oolong"),
        Node("shop", assignable=False),
    ],
    [("food", "rice"), ("food", "tea"), ("tea", "oolong")],
    id="tiny",
    level_names=("group", "kind"),
)


def stream(*records: object) -> io.StringIO:
    return io.StringIO("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in records))


def check(*records: object):
    return check_records(TREE, stream(*records), format="jsonl")


def printed(report) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(report)
    return console.file.getvalue()


def test_unknown_and_ambiguous_labels_with_suggestions():
    report = check({"text": "a", "labels": ["rise", "tea"]}, {"text": "b", "labels": ["rise"]}, {"text": "c"})
    assert report.unknown_labels == [{"label": "rise", "documents": 2, "suggestions": ["rice"]}]
    assert (report.documents, report.labelled, report.not_labelled, report.without_known_label) == (3, 1, 1, 1)
    assert "'rise' in 2; did you mean rice?" in printed(report)


def test_nodes_and_levels():
    report = check({"text": "a", "labels": ["Tea"]}, {"text": "b", "labels": ["oolong"]})
    assert report.without_examples == {"nodes": 2, "assignable": 1, "single_example": 1, "examples": ["rice"]}
    assert report.levels[1] == {
        "level": 2,
        "name": "kind",
        "nodes": 2,
        "without_examples": 1,
        "single_example": 0,
        "documents": 2,
        "labels": 1,
        "labels_above_leaves": 1,
    }
    assert report.above_leaves == {"documents": 1, "share": 0.5}
    assert report.labels_per_document["closed_mean"] == 2.5
    assert "3 level 3" not in printed(report)
    assert "level 3" in printed(report)


def test_labels_with_their_ancestors_and_labels_that_may_not_be_given():
    report = check(
        {"text": "a", "labels": ["oolong", "food"]},
        {"text": "b", "labels": ["oolong", "rice"]},
        {"text": "c", "labels": ["shop"]},
    )
    assert report.with_ancestors == {"documents": 1, "examples": ["<stream>:1"]}
    assert report.not_assignable == [{"node": "shop", "documents": 1}]
    assert report.labels_per_document["several_share"] == pytest.approx(0.6667)


def test_duplicates_within_and_across_sources():
    train = stream(
        {"text": "Green TEA", "labels": ["tea"]}, {"text": "x"}, {"text": "x"}, {"text": ""}, {"text": " "}
    )
    train.name = "train.jsonl"
    test = stream({"text": "rice"}, {"text": "green  tea", "labels": ["rice"]})
    test.name = "test.jsonl"
    report = check_records(TREE, train, test)
    assert report.duplicates == {
        "texts": 2,
        "surplus_documents": 2,
        "across_sources": 1,
        "with_different_labels": 1,
        "examples": ["train.jsonl:1 = test.jsonl:2"],
    }
    assert report.empty_texts == 2


def test_ids_that_repeat_but_not_those_made_from_rows():
    report = check({"id": "8,00E+12", "text": "a"}, {"id": "8,00E+12", "text": "b"}, {"text": "c"})
    assert report.repeated_ids == {"ids": 1, "documents": 2, "examples": ["<stream>:1 = <stream>:2"]}
    assert check_records(TREE, stream({"text": "a"}), stream({"text": "b"})).repeated_ids["ids"] == 0


def test_faults_are_what_strict_fails_on():
    assert check({"text": "a", "labels": ["tea"]}).faults == []
    report = check({"text": "a", "labels": ["shop", "zzz"]}, "not json\n", {"text": ""})
    assert report.faults == [
        "rows with problems: 1",
        "empty texts: 1",
        "unknown or ambiguous labels: 1",
        "nodes given as labels that are not assignable: 1",
    ]


def test_everything_goes_to_json_and_no_text_into_either_form():
    report = check({"text": "Mrs Miller", "labels": ["[bold]x"]}, '{"text": "Mrs Miller"\n', {"text": "Mrs Miller"})
    as_json = json.dumps(report.to_dict())
    assert {"documents", "levels", "duplicates", "problems", "faults"} <= json.loads(as_json).keys()
    assert "Miller" not in as_json + printed(report)
    assert "[bold]x" in printed(report)  # shown as it is, not taken for markup


def test_no_documents_and_no_sources():
    report = check_records(TREE, documents_from([]))
    assert (report.documents, report.faults, report.labels_per_document["max"]) == (0, [], 0)
    assert printed(report)
    with pytest.raises(UsageError):
        check_records(TREE)
    with pytest.raises(DataError, match="no such file"):
        check_records(TREE, "nowhere.jsonl")


@given(dags_with_labels(rows=8))
def test_counts_are_those_of_a_slow_count(case):
    dag, label_sets = case
    taxonomy = dag.taxonomy
    report = check_records(taxonomy, [Document(str(i), {"text": str(i)}, tuple(s)) for i, s in enumerate(label_sets)])
    closed = [set(s).union(*(dag.above(n) for n in s)) for s in label_sets]
    specific = [{n for n in s if not dag.below(n) & set(s)} for s in label_sets]
    level = dict(zip(taxonomy.nodes, taxonomy.levels.tolist(), strict=True))
    for row in report.levels:
        here = {n for n in dag.ids if level[n] == row["level"]}
        assert row["nodes"] == len(here)
        assert row["documents"] == sum(bool(c & here) for c in closed)
        assert row["labels"] == sum(len(s & here) for s in specific)
        assert row["without_examples"] == sum(not any(n in c for c in closed) for n in here)
        assert row["single_example"] == sum(sum(n in c for c in closed) == 1 for n in here)
    assert report.with_ancestors["documents"] == sum(
        len(a) < len(set(b)) for a, b in zip(specific, label_sets, strict=True)
    )
    assert report.above_leaves["documents"] == sum(any(dag.below(n) for n in s) for s in specific)
    assert report.labelled == sum(map(bool, label_sets))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA} (set HCLF_DATA)")
def test_open_food_facts_has_the_numbers_of_its_readme():
    from hclf.registry import load_taxonomy

    folder = DATA / "openfoodfacts"
    report = check_records(load_taxonomy(folder / "taxonomy.tsv", cache=False), folder / "items.jsonl.gz")
    assert (report.documents, report.unknown_label_count) == (7466, 0)
    assert report.without_examples["nodes"] == 12651 - 1847
    assert report.labels_per_document["mean"] == 1.31
    assert report.labels_per_document["closed_mean"] == 5.6
    assert report.above_leaves["share"] == pytest.approx(0.81, abs=0.005)
    assert report.labels_per_document["several_share"] == pytest.approx(0.24, abs=0.005)
    assert report.repeated_ids["ids"] == 86
