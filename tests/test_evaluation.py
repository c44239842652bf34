"""`evaluate`: the parts agree with the metrics they are made of, and everything odd is counted."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf import metrics
from hclf.errors import UsageError
from hclf.evaluation import Evaluation, against, evaluate, side_by_side
from hclf.labels import label_matrix, partial_depth
from hclf.taxonomy import Node, Taxonomy

# food ─ rice ─ jasmine      drink ─┬ tea
#             └ (rice milk) ────────┘   a node with two parents
FOOD = Taxonomy(
    [*(Node(x, {"": x.title()}) for x in ("food", "drink", "rice", "jasmine", "tea")), Node("rice-milk")],
    [("food", "rice"), ("rice", "jasmine"), ("rice", "rice-milk"), ("drink", "tea"), ("drink", "rice-milk")],
    id="groceries",
    version="2",
    level_names=("aisle", "shelf"),
)
KEYS = ["hP", "hR", "hF", "hP_example", "hR_example", "hF_example", "macro_f1", "exact_match", "hamming"]
KNOWN = ["hP_known", "hF_known", "hP_example_known", "hF_example_known", "macro_f1_known"]


def matrix(*label_sets, closed=True):
    return label_matrix(FOOD, label_sets, closed=closed)


TRUE = matrix(["jasmine"], ["tea"], ["rice-milk"], [])
GUESS = matrix(["rice"], [], ["rice-milk"], [])


def test_metrics_have_the_contract_s_keys_and_agree_with_the_functions():
    e = evaluate(FOOD, TRUE, GUESS)
    assert list(e.metrics) == KEYS + KNOWN
    assert tuple(e.metrics[k] for k in KEYS[:3]) == metrics.hierarchical_precision_recall_f1(TRUE, GUESS)
    assert tuple(e.metrics[k] for k in KEYS[3:6]) == metrics.hierarchical_precision_recall_f1(
        TRUE, GUESS, average="example"
    )
    assert e.metrics["macro_f1"] == metrics.macro_f1(TRUE, GUESS)
    assert e.metrics["exact_match"] == metrics.exact_match(TRUE, GUESS) == 0.5
    assert e.metrics["hamming"] == metrics.hamming_loss(TRUE, GUESS)
    assert (e.documents, e.unknown, e.unlabelled) == (4, 2, 1)
    assert (e.labels_true, e.labels_predicted) == (9 / 4, 6 / 4)
    assert e.taxonomy == {"id": "groceries", "version": "2", "nodes": 6}


def test_scores_add_ranking_metrics_for_each_k():
    scores = csr_matrix(np.where(TRUE.toarray(), 0.75, 0.0)).astype(np.float32)
    e = evaluate(FOOD, TRUE, GUESS, scores=scores, k=(1, 5))
    ranking_keys = ["auprc", "auprc_macro", "map", "p_at_1", "r_at_1", "p_at_5", "r_at_5"]
    assert list(e.metrics) == KEYS + ranking_keys + KNOWN
    assert [e.metrics[k] for k in ("auprc", "auprc_macro", "map", "p_at_1", "r_at_5")] == [1.0] * 5
    assert e.metrics == evaluate(FOOD, TRUE, GUESS, scores=scores.toarray(), k=(1, 5)).metrics
    assert "p_at_3" in evaluate(FOOD, TRUE, GUESS, scores=scores).metrics


def test_most_specific_labels_are_closed_and_counted():
    specific = matrix(["rice"], [], ["rice-milk"], [], closed=False)
    e = evaluate(FOOD, matrix(["jasmine"], ["tea"], ["rice-milk"], [], closed=False), specific)
    assert e.metrics == evaluate(FOOD, TRUE, GUESS).metrics
    assert (e.closed, e.unclosed_documents) == (False, 2)
    assert e.violations_after == 1 + 2  # rice without food; rice milk without rice and without drink
    tidy = evaluate(FOOD, TRUE, GUESS)
    assert (tidy.closed, tidy.unclosed_documents, tidy.violations_after) == (True, 0, 0)


@pytest.mark.parametrize(("given_", "want"), [(None, None), (412, 412), (np.array([3, 0, 1, 0]), 4)])
def test_violations_before_are_a_number_or_counts_by_document(given_, want):
    assert evaluate(FOOD, TRUE, GUESS, violations=given_).violations_before == want


def test_level_rows_have_names_and_add_up():
    e = evaluate(FOOD, TRUE, GUESS)
    assert [(row["level"], row["name"]) for row in e.levels] == [(1, "aisle"), (2, "shelf"), (3, "level 3")]
    assert sum(row["support"] for row in e.levels) == TRUE.nnz
    assert sum(row["predicted"] for row in e.levels) == GUESS.nnz
    assert e.levels[0] == {
        "level": 1, "name": "aisle", "hP": 1.0, "hR": 0.75, "hF": 6 / 7, "support": 4, "predicted": 3,
        "hP_known": 1.0, "hF_known": 6 / 7,
    }  # fmt: skip


def test_node_rows_hold_every_node_that_occurs():
    e = evaluate(FOOD, TRUE, matrix(["jasmine"], ["jasmine"], [], []), train_counts=np.arange(6))
    assert {row["id"] for row in e.nodes} == set(FOOD.nodes)
    row = next(row for row in e.nodes if row["id"] == "jasmine")
    assert row == {
        "id": "jasmine", "name": "Jasmine", "level": 3, "precision": 0.5, "recall": 1.0, "f1": 2 / 3,
        "support": 1, "predicted": 2, "train_count": FOOD.index("jasmine"),
    }  # fmt: skip
    few = evaluate(FOOD, matrix(["tea"]), matrix([]))
    assert [(row["id"], row["train_count"]) for row in few.nodes] == [("drink", None), ("tea", None)]


def test_buckets_split_the_true_nodes_by_training_documents():
    train = dict(zip(FOOD.nodes, [1000, 0, 5, 6, 100, 101], strict=True))
    e = evaluate(FOOD, TRUE, GUESS, train_counts=np.array(list(train.values())))
    assert [row["train_count"] for row in e.buckets] == ["0", "1-5", "6-20", "21-100", ">100"]
    assert sum(row["nodes"] for row in e.buckets) == sum(row["support"] > 0 for row in e.nodes)
    assert sum(row["support"] for row in e.buckets) == TRUE.nnz
    f1 = {row["id"]: row["f1"] for row in e.nodes if row["support"]}
    big = [f1[x] for x, count in train.items() if count > 100 and x in f1]
    columns = [FOOD.index(x) for x, count in train.items() if count > 100]
    pooled = metrics.hierarchical_precision_recall_f1(TRUE[:, columns], GUESS[:, columns])
    assert e.buckets[-1] == {
        "train_count": ">100", "macro_f1": np.mean(big), "nodes": len(big), "support": TRUE[:, columns].nnz,
        "hP": pooled.precision, "hR": pooled.recall, "hF": pooled.f1,
    }  # fmt: skip
    assert evaluate(FOOD, TRUE, GUESS).buckets == []


def test_the_dict_is_plain_json_and_comes_back():
    e = evaluate(
        FOOD, TRUE, GUESS, scores=TRUE.astype(np.float32), violations=np.array([1, 2, 0, 0]),
        train_counts=np.arange(6, dtype=np.int32),
    )  # fmt: skip
    plain = e.to_dict(nodes=True)
    assert json.loads(json.dumps(plain)) == plain
    assert Evaluation.from_dict(plain) == e
    short = e.to_dict()
    assert "nodes" not in short
    assert {"metrics", "levels", "documents", "unknown", "violations_before", "closed"} <= short.keys()
    back = Evaluation.from_dict({**short, "model": "added by someone else"})
    assert (back.metrics, back.nodes) == (e.metrics, [])


def test_from_dict_says_what_is_missing():
    with pytest.raises(UsageError, match="no metrics and no levels"):
        Evaluation.from_dict({"documents": 3})


def test_the_dict_does_not_share_rows_with_the_evaluation():
    e = evaluate(FOOD, TRUE, GUESS)
    e.to_dict()["levels"][0]["hF"] = -1
    assert e.levels[0]["hF"] != -1


def test_node_csv_reads_back(tmp_path):
    e = evaluate(FOOD, TRUE, GUESS, train_counts=np.arange(6))
    e.write_node_csv(tmp_path / "nodes.csv")
    with (tmp_path / "nodes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: str(v) for k, v in row.items()} for row in e.nodes] == rows


def test_side_by_side_subtracts_from_the_first():
    ours = evaluate(FOOD, TRUE, GUESS, scores=TRUE.astype(float))
    flat = evaluate(FOOD, TRUE, matrix([], [], [], []))
    rows = {row["metric"]: row for row in side_by_side({"hierarchical": ours, "flat": flat})}
    assert list(rows) == KEYS + KNOWN  # the flat one has no ranking metrics
    assert rows["hF"] == {
        "metric": "hF", "values": {"hierarchical": ours.metrics["hF"], "flat": 0.0},
        "differences": {"flat": ours.metrics["hF"]},
    }  # fmt: skip


def test_side_by_side_refuses_other_documents():
    one, two = evaluate(FOOD, TRUE, GUESS), evaluate(FOOD, TRUE[:2], GUESS[:2])
    with pytest.raises(UsageError, match="a has 4, b has 2"):
        side_by_side({"a": one, "b": two})
    with pytest.raises(UsageError, match="there are none"):
        side_by_side({})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"true": np.ones((4, 5))}, "true labels have 5 columns, the taxonomy has 6 nodes"),
        ({"predicted": np.ones((4, 7))}, "predicted labels have 7 columns, the taxonomy has 6 nodes"),
        ({"predicted": np.ones((3, 6))}, "truth is 4 documents x 6 nodes, the prediction 3 x 6"),
        ({"scores": np.ones((4, 5))}, "the scores 4 x 5"),
        ({"scores": np.ones((5, 7))}, "the scores 5 x 7"),
        ({"scores": -np.ones((4, 6))}, "24 scores are negative or NaN"),
        ({"train_counts": np.ones(5)}, r"train_counts has shape \(5,\), the taxonomy has 6 nodes"),
        ({"scores": np.ones((4, 6)), "k": (0, 1)}, "k must be at least 1, not 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_numbers(change, message):
    arguments = {"true": TRUE, "predicted": GUESS, **change}
    with pytest.raises(UsageError, match=message):
        evaluate(FOOD, arguments.pop("true"), arguments.pop("predicted"), **arguments)


def test_no_documents_and_no_nodes():
    none = evaluate(FOOD, TRUE[:0], GUESS[:0], scores=csr_matrix((0, 6)), train_counts=np.zeros(6))
    assert set(none.metrics.values()) == {0.0}
    assert (none.documents, none.closed, none.nodes, len(none.levels)) == (0, True, [], 3)
    empty = evaluate(Taxonomy([]), csr_matrix((2, 0)), csr_matrix((2, 0)))
    assert (empty.documents, empty.unknown, empty.levels) == (2, 2, [])
    assert empty.metrics["hF_example"] == 1.0


label_sets = st.lists(st.sets(st.sampled_from(FOOD.nodes)), min_size=4, max_size=4)


@given(label_sets, label_sets)
def test_closing_beforehand_changes_nothing_but_the_count(true, predicted):
    loose = evaluate(FOOD, matrix(*true, closed=False), matrix(*predicted, closed=False).toarray())
    tight = evaluate(FOOD, matrix(*true), matrix(*predicted))
    assert loose.metrics == tight.metrics
    assert (loose.levels, loose.nodes, loose.unjudged) == (tight.levels, tight.nodes, tight.unjudged)
    assert tight.closed
    broken = [set(FOOD.closure(labels)) != labels for labels in predicted]
    assert (loose.closed, loose.unclosed_documents) == (not any(broken), sum(broken))
    parents = {child: {p for p, c in FOOD.edges() if c == child} for child in FOOD}
    assert loose.violations_after == sum(len(parents[x] - labels) for labels in predicted for x in labels)


# -- rankings of documents ---------------------------------------------------------------------------------------


@given(
    label_sets,
    st.lists(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9]), min_size=6, max_size=6), min_size=4, max_size=4),
)
def test_ranking_figures_are_means_over_documents(true, scores):
    truth, scores = matrix(*true), np.array(scores)
    e = evaluate(FOOD, truth, truth, scores=scores, k=(1, 2))
    lists = metrics.ranked_lists(truth, scores, ks=(1, 2))
    found = [e.metrics[name] for name in ("map", "p_at_1", "p_at_2", "r_at_1", "r_at_2")]
    assert found == [lists.map, lists.precision[1], lists.precision[2], lists.recall[1], lists.recall[2]]
    judged = [bool(labels) for labels in true]
    assert all((~np.isnan(values)).tolist() == judged for values in e.answers.values.values())


# -- two readings of truth that stops early ----------------------------------------------------------------------


def test_what_lies_below_a_label_is_wrong_in_one_reading_and_left_out_in_the_other():
    e = evaluate(FOOD, matrix(["rice"], ["tea"]), matrix(["jasmine", "tea"], ["tea"]))
    assert e.unjudged == 1  # jasmine; tea is known not to be meant
    assert (e.metrics["hP"], e.metrics["hP_known"]) == (4 / 7, 4 / 6)
    assert (e.metrics["hF"], e.metrics["hF_known"]) == (8 / 11, 8 / 10)
    assert (e.levels[2]["hP"], e.levels[2]["hP_known"]) == (0.0, 0.0)


@given(label_sets, label_sets)
def test_the_known_reading_is_that_of_predictions_without_unknown_ones(true, predicted):
    T, P = matrix(*true), matrix(*predicted)
    e = evaluate(FOOD, T, P)
    unknown = partial_depth(FOOD, T).toarray() & P.toarray()
    known = evaluate(FOOD, T, P.toarray() & ~unknown)
    assert e.unjudged == unknown.sum()
    assert [e.metrics[name] for name in KNOWN] == [known.metrics[name.removesuffix("_known")] for name in KNOWN]
    assert [(row["hP_known"], row["hF_known"]) for row in e.levels] == [(r["hP"], r["hF"]) for r in known.levels]
    assert all(e.metrics[name] >= e.metrics[name.removesuffix("_known")] for name in KNOWN)
    assert known.metrics["hR"] == e.metrics["hR"]


# -- intervals and comparisons -----------------------------------------------------------------------------------


def many(times=20):
    true = matrix(*[["jasmine"], ["tea"], ["rice-milk"], ["rice"]] * times)
    guess = matrix(*[["rice"], [], ["rice-milk"], ["tea"]] * times)
    return true, guess


def test_intervals_stand_beside_every_figure_that_varies():
    true, guess = many()
    scores = 0.5 * true.toarray() + 0.3 * guess.toarray() + 0.1
    e = evaluate(FOOD, true, guess, scores=scores, train_counts=np.array([200, 150, 3, 0, 10, 30]), intervals=100)
    without = {"auprc", "auprc_macro"} | {name for name, value in e.metrics.items() if value in (0.0, 1.0)}
    assert set(e.intervals) == set(e.metrics) - without
    for metric, (low, high) in e.intervals.items():
        assert low <= e.metrics[metric] <= high
    for row in e.levels:
        assert row["hF_low"] is None if row["hF"] in (0, 1) else row["hF_low"] < row["hF"] < row["hF_high"]
        assert (row["hP_low"] is None) == (row["hP_high"] is None)
    rows = {row["train_count"]: row for row in e.buckets}
    assert rows[">100"]["hF_low"] < rows[">100"]["hF"] < rows[">100"]["hF_high"]
    assert rows[">100"]["macro_f1_low"] < rows[">100"]["macro_f1"] < rows[">100"]["macro_f1_high"]
    assert rows["0"]["hF_low"] is None  # jasmine is never found, whatever the sample


def test_intervals_are_of_a_seed_and_of_so_many_samples():
    true, guess = many()

    def found(**options):
        return evaluate(FOOD, true, guess, **options).intervals

    assert found(intervals=50) == found(intervals=50) != found(intervals=50, seed=1)
    assert found(intervals=True) == found(intervals=1000)
    assert found() == found(intervals=False) == {}
    with pytest.raises(UsageError, match="at least 2 samples"):
        found(intervals=1)


def test_intervals_come_back_from_json_and_older_files_have_none():
    true, guess = many()
    e = evaluate(FOOD, true, guess, train_counts=np.arange(6), intervals=50)
    plain = e.to_dict(nodes=True)
    assert json.loads(json.dumps(plain)) == plain
    assert Evaluation.from_dict(json.loads(json.dumps(plain))) == e
    older = {key: value for key, value in plain.items() if key not in ("intervals", "unjudged")}
    back = Evaluation.from_dict(older)
    assert (back.intervals, back.unjudged, back.answers) == ({}, 0, None)


def test_one_document_and_none_have_no_intervals():
    for n in (0, 1):
        e = evaluate(FOOD, TRUE[:n], GUESS[:n], train_counts=np.arange(6), intervals=50)
        assert e.intervals == {}
        assert {row["hF_low"] for row in (*e.levels, *e.buckets)} == {None}


def test_the_first_is_compared_with_each_other_one():
    true, guess = many()
    ours, flat = evaluate(FOOD, true, true), evaluate(FOOD, true, guess)
    found = against({"hierarchical": ours, "flat": flat, "same": ours}, samples=50, permutations=100)
    assert list(found) == ["flat", "same"]
    assert found["flat"].names == ("hierarchical", "flat")
    assert found["flat"]["hF"]["difference"] == pytest.approx(ours.metrics["hF"] - flat.metrics["hF"], abs=1e-12)
    assert found["flat"]["hF"]["p"] < 0.05
    assert found["same"].differing == 0
    with pytest.raises(UsageError, match="'flat' comes from a file"):
        against({"hierarchical": ours, "flat": Evaluation.from_dict(flat.to_dict())})
    assert against({}) == {}
