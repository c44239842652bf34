"""What people read: the right figures and names, at any width, and nothing taken for markup."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console

from hclf.data import Prediction, ScoredNode
from hclf.errors import UnknownNodeError, UsageError
from hclf.evaluation import Evaluation, against, evaluate
from hclf.labels import label_matrix
from hclf.report import comparison, evaluation_report, prediction_tree, verdicts
from hclf.report.text import (
    buckets_table,
    comparison_report,
    comparison_verdicts,
    headline,
    levels_table,
    node_extremes,
)
from hclf.taxonomy import Node, Taxonomy

FOOD = Taxonomy(
    [
        Node("f", {"": "Food"}),
        Node("d", {"": "Drinks"}),
        Node("r", {"": "Rice [red]and grains[/red]"}),
        Node("j", {"": "Jasmine rice"}),
        Node("m", {"": "Rice milk"}),
        Node("t", {"": "Tea"}),
    ],
    [("f", "r"), ("r", "j"), ("r", "m"), ("d", "m"), ("d", "t")],
    level_names=("aisle", "shelf"),
)


def drawn(renderable, width=100, **options):
    console = Console(width=width, file=io.StringIO(), color_system=None, **options)
    console.print(renderable)
    return console.file.getvalue()


def matrix(*label_sets, closed=True):
    return label_matrix(FOOD, label_sets, closed=closed)


TRUE = matrix(*[["j"]] * 6, *[["t"]] * 6, *[["m"]] * 4)
GUESS = matrix(*[["j"]] * 6, *[["t"]] * 2, *[[]] * 4, *[["j"]] * 4)
EVALUATION = evaluate(
    FOOD, TRUE, GUESS, scores=GUESS.astype(float), violations=412, train_counts=np.array([9, 9, 40, 0, 1200, 3])
)
FLAT = evaluate(FOOD, TRUE, matrix(*[["j"]] * 12, *[["m"]] * 4, closed=False), scores=TRUE.astype(float))


# -- sentences -------------------------------------------------------------------------------------------------


def test_verdicts_in_plain_words():
    assert verdicts(EVALUATION) == [
        "16 documents; on average 2.9 true and 2.1 predicted labels, ancestors included.",
        "25.0 % of documents are unknown: 4 are left without a label.",
        "412 incoherent parent-child pairs before decoding, none after.",
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"unknown": 0}, "Every document got a label; none is unknown."),
        ({"documents": 5000, "unknown": 1}, "less than 0.1 % of documents are unknown: 1 is left without a label."),
        ({"unlabelled": 1}, "1 document without a true label."),
        ({"violations_before": 1, "violations_after": 1200},
         "1 incoherent parent-child pair before decoding, 1,200 after."),
        ({"closed": False, "unclosed_documents": 3},
         "The prediction lacks ancestors in 3 documents; they were added before scoring."),
    ],
)  # fmt: skip
def test_verdicts_in_special_cases(change, sentence):
    assert sentence in verdicts(Evaluation.from_dict({**EVALUATION.to_dict(), **change}))


def test_verdicts_of_nothing_do_not_divide_by_it():
    nothing = evaluate(FOOD, TRUE[:0], GUESS[:0])
    assert verdicts(nothing) == ["0 documents; on average 0.0 true and 0.0 predicted labels, ancestors included."]
    assert "Per level" in drawn(evaluation_report(nothing))


def test_comparison_verdicts_say_which_way_and_who_is_not_closed():
    ours, flat = EVALUATION.metrics, FLAT.metrics
    assert comparison_verdicts({"hierarchical": EVALUATION, "flat": FLAT}) == [
        f"Against flat: hF {abs(ours['hF'] - flat['hF']):.3f} higher ({ours['hF']:.3f} against {flat['hF']:.3f}), "
        f"macro-F1 {abs(ours['macro_f1'] - flat['macro_f1']):.3f} lower.",
        "flat lacks ancestors in 16 documents; added before scoring.",
    ]
    assert comparison_verdicts({"a": EVALUATION, "b": EVALUATION}) == [
        f"Against b: hF the same ({ours['hF']:.3f} against {ours['hF']:.3f}), macro-F1 the same."
    ]


# -- tables ----------------------------------------------------------------------------------------------------


def test_headline_has_both_averages_and_every_other_metric():
    text = drawn(headline(EVALUATION))
    m = EVALUATION.metrics
    for label, suffix in (("all labels pooled", ""), ("mean of documents", "_example")):
        line = next(line for line in text.splitlines() if label in line)
        assert line.split()[-4:-1] == [f"{m[key + suffix]:.3f}" for key in ("hP", "hR", "hF")]
    for name, key in (
        ("macro-F1", "macro_f1"),
        ("exact match", "exact_match"),
        ("AU(PRC) ", "auprc"),
        ("R@5", "r_at_5"),
    ):
        assert f"{m[key]:.3f}" in text[text.index(name) :].split("\n")[0]
    assert f"{m['hamming']:.5f}" in text


def test_headline_without_scores_has_no_ranking():
    text = drawn(headline(evaluate(FOOD, TRUE, GUESS)))
    assert "AU(PRC)" not in text
    assert "P@" not in text


def test_levels_are_named_once_and_empty_ones_left_out():
    lines = drawn(levels_table(EVALUATION)).splitlines()
    assert [line.split()[:2] for line in lines[-3:]] == [["1", "aisle"], ["2", "shelf"], ["3", "0.600"]]
    only_tea = drawn(levels_table(evaluate(FOOD, matrix(["t"]), matrix(["t"]))))
    assert only_tea.splitlines()[-1].startswith("2  shelf")


def test_bars_are_as_long_as_their_figure():
    lines = drawn(levels_table(evaluate(FOOD, matrix(["j"], ["t"]), matrix(["j"], [])))).splitlines()
    assert "0.667   ██████▋ " in lines[-3]
    assert "1.000   ██████████ " in lines[-1]


def test_buckets_show_a_dash_where_no_node_was_tested():
    lines = drawn(buckets_table(EVALUATION)).splitlines()
    assert lines[-1].split()[0] == ">100"
    assert next(line for line in lines if line.startswith("1–5")).split()[1] != "–"
    few = evaluate(FOOD, TRUE, GUESS, train_counts=np.full(6, 7))
    assert next(line for line in drawn(buckets_table(few)).splitlines() if line.startswith("0")).split() == [
        "0", "–", "–", "0", "0",
    ]  # fmt: skip


def test_best_and_worst_nodes_do_not_overlap_and_need_support():
    lines = drawn(node_extremes(EVALUATION, n=2, min_support=5)).splitlines()
    assert lines[0].strip() == "Best and worst of 5 nodes with at least 5 true documents"
    rows = [line.split("  ")[0] for line in lines[4:] if line.strip()]
    assert rows == ["Food", "Rice [red]and grains[/red]", "Drinks", "Tea"]
    assert node_extremes(EVALUATION, min_support=100) is None
    assert "trained on" not in drawn(node_extremes(FLAT, min_support=5))


def test_comparison_marks_gains_by_the_sign_that_is_better():
    table = comparison({"hierarchical": EVALUATION, "flat": FLAT})
    lines = {line.split("  ")[0]: line.split() for line in drawn(table).splitlines()}
    difference = EVALUATION.metrics["hF"] - FLAT.metrics["hF"]
    assert lines["hF"][-1] == f"{difference:+.3f}".replace("-", "−")
    colours = drawn_in_colour(table)
    hamming = next(line for line in colours.splitlines() if "Hamming" in line)
    worse = EVALUATION.metrics["hamming"] > FLAT.metrics["hamming"]
    assert ("\x1b[31m" if worse else "\x1b[32m") in hamming


def drawn_in_colour(renderable):
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(renderable)
    return console.file.getvalue()


def test_comparison_of_other_documents_is_refused():
    with pytest.raises(UsageError, match="16"):
        comparison({"a": EVALUATION, "b": evaluate(FOOD, TRUE[:3], GUESS[:3])})


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_whole_report_fits_and_keeps_its_figures(width):
    text = drawn(evaluation_report(EVALUATION, baselines={"flat": FLAT}, min_support=1), width)
    assert max(map(len, text.splitlines())) <= width
    for part in (
        "412 incoherent",
        "Side by side",
        "Against flat",
        "Per level",
        "Nodes by training",
        "Best and worst",
    ):
        assert part in text.replace("\n", " ")
    levels = text[text.index("Per level") : text.index("Nodes by training")]
    assert f"{EVALUATION.levels[-1]['hF']:.3f}" in levels


def test_sentences_are_whole_on_a_console_that_does_not_wrap():
    text = drawn(evaluation_report(EVALUATION), 40, soft_wrap=True)
    assert verdicts(EVALUATION)[0] in text


def test_the_report_leaves_out_what_there_is_not():
    text = drawn(evaluation_report(evaluate(FOOD, TRUE, GUESS), nodes=0))
    for part in ("Side by side", "Nodes by training", "Best and worst", "incoherent"):
        assert part not in text


# -- intervals and comparisons ----------------------------------------------------------------------------------


COUNTS = np.array([9, 9, 40, 0, 1200, 3])
SURE = evaluate(FOOD, TRUE, GUESS, scores=GUESS.astype(float), train_counts=COUNTS, intervals=200)
LESS = evaluate(FOOD, TRUE, matrix(*[["j"]] * 16), scores=GUESS.astype(float), train_counts=COUNTS, intervals=200)
PAIRED = against({"hierarchical": SURE, "flat": LESS}, samples=200, permutations=500)


def brackets(low, high, digits=3):
    return f"[{low:.{digits}f}, {high:.{digits}f}]".replace("-", "−")


def test_intervals_stand_beside_their_figures():
    text = drawn(headline(SURE))
    for name, key in (("all labels pooled", "hF"), ("mean of documents", "hF_example"), ("macro-F1", "macro_f1")):
        line = next(line for line in text.splitlines() if name in line).rstrip()
        assert line.endswith(brackets(*SURE.intervals[key]))
        assert f"{SURE.metrics[key]:.3f}  " in line
    assert brackets(*SURE.intervals["hamming"], 5) in text
    auprc = next(line for line in text.splitlines() if line.startswith("AU(PRC) "))
    assert auprc.split()[1:] == [f"{SURE.metrics['auprc']:.3f}"]
    row = SURE.levels[1]
    line = next(line for line in drawn(levels_table(SURE)).splitlines() if line.startswith("2  shelf"))
    assert brackets(row["hF_low"], row["hF_high"]) in line
    buckets = drawn(buckets_table(SURE))
    row = next(row for row in SURE.buckets if row["macro_f1_low"] is not None)
    assert brackets(row["macro_f1_low"], row["macro_f1_high"]) in buckets


def test_both_readings_are_shown_where_they_differ():
    early = evaluate(FOOD, matrix(["r"], ["t"]), matrix(["j"], ["t"]))
    assert "… pooled, what is known" in drawn(headline(early))
    assert "what is known" not in drawn(headline(evaluate(FOOD, matrix(["j"]), matrix(["r"]))))
    assert (
        "1 predicted label lies below a most specific true one: counted as wrong, but left out" in verdicts(early)[2]
    )
    beside = drawn(comparison({"a": early, "b": early}))
    assert "hF, what is known" in beside
    assert "what is known" not in drawn(comparison({"a": EVALUATION, "b": FLAT}))


def test_the_report_ends_in_the_verdict_of_the_paired_comparison():
    text = drawn(evaluation_report(SURE, baselines={"flat": LESS}, comparisons=PAIRED), 200)
    assert text.splitlines()[-1].rstrip() == PAIRED["flat"].verdict
    assert comparison_verdicts({"hierarchical": SURE, "flat": LESS}, PAIRED) == [PAIRED["flat"].verdict]
    row = PAIRED["flat"]["hF"]
    assert brackets(row["low"], row["high"]) in next(line for line in text.splitlines() if line.startswith("hF "))


def test_intervals_give_way_before_names_do():
    wide, narrow = (drawn(comparison({"hierarchical": SURE, "flat": LESS}, PAIRED), width) for width in (100, 60))
    assert "95 %" in wide
    assert "95 %" not in narrow
    assert "macro-F1 over nodes" in narrow


@pytest.mark.parametrize(("p", "style"), [(0.001, "\x1b[32m"), (0.2, "\x1b[2m")])
def test_a_difference_that_is_not_shown_is_dim(p, style):
    rows = [{**row, "low": 0.01, "high": 0.5, "p": p} for row in PAIRED["flat"].metrics]
    table = comparison({"hierarchical": SURE, "flat": LESS}, {"flat": replace(PAIRED["flat"], metrics=rows)})
    line = next(line for line in drawn_in_colour(table).splitlines() if line.startswith("hF per document"))
    difference = SURE.metrics["hF_example"] - LESS.metrics["hF_example"]
    assert line[: line.index(f"{difference:+.3f}")].rstrip().endswith(style)


def test_a_comparison_is_drawn_with_p_and_ends_in_its_verdict():
    c = PAIRED["flat"]
    lines = drawn(comparison_report(c), 160).splitlines()
    assert lines[0].rstrip() == f"16 documents; the two give different labels to {c.differing}."
    assert lines[-1].rstrip() == c.verdict
    hf = next(line for line in lines if line.startswith("hF "))
    assert hf.split()[1:4] == [
        f"{c['hF'][name]:{sign}.3f}" for name, sign in (("a", ""), ("b", ""), ("difference", "+"))
    ]
    assert hf.split()[-1] == f"{c['hF']['p']:.3f}"
    text = "\n".join(lines)
    assert "hF per level" in text
    assert "hF of nodes by training documents" in text
    assert "what is known" not in text


def test_a_comparison_of_nothing_is_one_sentence():
    empty = against({"a": evaluate(FOOD, TRUE[:0], TRUE[:0]), "b": evaluate(FOOD, TRUE[:0], TRUE[:0])})["b"]
    text = drawn(comparison_report(empty))
    assert text.rstrip().endswith("There are no documents to compare a and b on.")
    assert "per level" not in text


# -- one prediction --------------------------------------------------------------------------------------------


def test_a_prediction_is_drawn_from_the_roots_best_first():
    tree = prediction_tree(FOOD, [("f", 0.7), ("r", 0.6), ("j", 0.5), ("d", 0.9), ("t", 0.9)], title="doc-1")
    assert drawn(tree).splitlines() == [
        "doc-1",
        "├── 0.90  Drinks  d",
        "│   └── 0.90  Tea  t",
        "└── 0.70  Food  f",
        "    └── 0.60  Rice [red]and grains[/red]  r",
        "        └── 0.50  Jasmine rice  j",
    ]


def test_truth_marks_right_wrong_and_missed():
    tree = prediction_tree(FOOD, [("f", 0.7), ("r", 0.6), ("j", 0.5)], truth=["r", "t"], title="doc-1")
    assert drawn(tree).splitlines() == [
        "doc-1   ✓ 2 right   ✗ 1 wrong   ○ 2 missed",
        "├── ✓ 0.70  Food  f",
        "│   └── ✓ 0.60  Rice [red]and grains[/red]  r",
        "│       └── ✗ 0.50  Jasmine rice  j",
        "└── ○   –   Drinks  d",
        "    └── ○   –   Tea  t",
    ]


def test_a_node_with_two_parents_is_drawn_under_both_in_full_once():
    deeper = Taxonomy(["a", "b", "c", "d"], [("a", "c"), ("b", "c"), ("c", "d")])
    lines = drawn(prediction_tree(deeper, [(x, 0.5) for x in "abcd"])).splitlines()
    assert lines == [
        "0.50  a",
        "└── 0.50  c",
        "    └── 0.50  d",
        "0.50  b",
        "└── 0.50  c  (see above)",
    ]


def test_a_prediction_record_brings_its_id():
    prediction = Prediction("doc-7", (ScoredNode("d", "Drinks", 1, 0.8),), ("d",))
    assert drawn(prediction_tree(FOOD, prediction)).splitlines() == ["doc-7", "└── 0.80  Drinks  d"]


def test_unknown_says_so_and_still_shows_what_was_missed():
    assert drawn(prediction_tree(FOOD, Prediction("doc-8"))).splitlines() == [
        "doc-8",
        "└── unknown: no node passed its threshold",
    ]
    assert "○   –   Tea" in drawn(prediction_tree(FOOD, [], truth=["t"]))


def test_a_label_without_its_parent_says_so():
    assert "Tea  (a parent is not predicted)" in drawn(prediction_tree(FOOD, [("t", 0.5)]))
    one_of_two = drawn(prediction_tree(FOOD, [("m", 0.5), ("d", 0.5)]))
    assert "Rice milk  (a parent is not predicted)" in one_of_two
    assert "not predicted" not in drawn(prediction_tree(FOOD, [("t", 0.5), ("d", 0.5)], truth=["m"]))


def test_a_very_deep_prediction_keeps_every_node():
    ids = [f"n{i:04}" for i in range(1500)]
    chain = Taxonomy(ids, pairwise(ids))
    text = drawn(prediction_tree(chain, [(x, 0.5) for x in ids]), 80)
    assert all(x in text for x in ids)
    assert max(map(len, text.splitlines())) <= 80


def test_unknown_ids_are_refused():
    with pytest.raises(UnknownNodeError, match="unknown node 'x'"):
        prediction_tree(FOOD, [("x", 0.5)])
    with pytest.raises(UnknownNodeError, match="unknown node 'y'"):
        prediction_tree(FOOD, [("t", 0.5)], truth=["y"])
