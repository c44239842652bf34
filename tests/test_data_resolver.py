"""Labels by id, name and path; problems."""

from __future__ import annotations

import pytest

from hclf.data import Document, LabelResolver, Problems, resolved
from hclf.errors import DataError
from hclf.taxonomy import Node, Taxonomy

NODES = [
    Node("1", {"en": "Food", "de": "Essen"}),
    Node("2", {"": "Rice"}, synonyms={"": ("grains",)}),
    Node("3", {"": "Pets"}),
    Node("4", {"": "Food"}),
    Node("5", {"": "Cats > dogs"}),
    Node("rice", {"": "An id that is also a name"}),
]
TREE = Taxonomy(NODES, [("1", "2"), ("3", "4"), ("3", "5"), ("1", "rice")])


@pytest.mark.parametrize(
    ("label", "node"),
    [
        ("2", "2"),
        ("rice", "rice"),
        ("pets", "3"),
        ("ESSEN", "1"),
        ("  Pets ", "3"),
        ("Pets > Food", "4"),
        ("pets>4", "4"),
        ("Essen > 2", "2"),
        ("Cats > dogs", "5"),
    ],
)
def test_ids_names_and_paths(label, node):
    assert LabelResolver(TREE)(label) == node


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("food", r"ambiguous: 2 nodes fit \('1', '4'\)"),
        ("grains", "unknown label 'grains'"),  # synonyms are not names
        ("Pets > Rice", "unknown label"),
        ("Pets >", "unknown label"),
        ("rize", "did you mean 'rice'"),
        ("Food > Rce", "did you mean 'rice'"),
        ("x" * 500, "label of 500 characters"),
    ],
)
def test_labels_that_mean_no_node_or_several(label, message):
    with pytest.raises(DataError, match=message):
        LabelResolver(TREE)(label)


def test_a_path_from_a_root_comes_before_one_from_below():
    tree = Taxonomy(
        [Node("a", {"": "X"}), Node("b", {"": "Y"}), Node("c", {"": "X"}), Node("d", {"": "Y"})],
        [("a", "b"), ("b", "c"), ("c", "d")],
    )
    assert LabelResolver(tree)("X > Y") == "b"
    assert LabelResolver(tree)("Y > X > Y") == "d"


def test_a_path_to_a_node_with_two_parents_is_one_node():
    tree = Taxonomy(["a", "b", "c"], [("a", "c"), ("b", "c")])
    assert LabelResolver(tree)("A > C") == LabelResolver(tree)("B > C") == "c"


def test_resolved_drops_unknown_labels_and_counts_what_it_skips():
    problems = Problems()
    documents = [
        Document("1", {"text": "x"}, ("pets", "3", "nonsense"), row=1, file="f"),
        Document("2", {"text": "x"}, ("nonsense",), row=2, file="f"),
        Document("3", {"text": "x"}, None, row=3, file="f"),
        Document("4", {"text": "x"}, (), row=4, file="f"),
    ]
    assert [(d.id, d.labels) for d in resolved(documents, TREE, problems)] == [("1", ("3",)), ("4", ())]
    assert problems.counts == {"unknown-label": 2, "no-known-label": 1, "missing-labels": 1}
    kept = list(resolved(documents, TREE, keep_unlabelled=True))
    assert [d.labels for d in kept] == [("3",), (), None, ()]


def test_strict_problems_raise_with_file_and_row():
    documents = [Document("1", {"text": "x"}, ("nonsense",), row=7, file="f.csv")]
    with pytest.raises(DataError, match=r"^f\.csv:7: unknown label 'nonsense'"):
        list(resolved(documents, TREE, Problems(strict=True)))


def test_labels_of_spans_become_ids_and_unknown_ones_are_dropped():
    spans = tuple({"start": i, "end": i + 1, "label": label} for i, label in enumerate(["RICE", "nonsense", "else"]))
    document = Document("1", {"text": "rice"}, ("rice", "nonsense"), spans=(*spans, {"start": 0, "end": 1}))
    problems = Problems()
    taxonomy = Taxonomy(["food", "rice"], [("food", "rice")])
    (found,) = resolved([document], taxonomy, problems)
    assert found.spans == ({"start": 0, "end": 1, "label": "rice"}, {"start": 0, "end": 1})
    assert problems.counts == {"unknown-label": 2}  # `nonsense` is counted once, as a label of the document


def test_problems_keep_the_first_few_and_count_all():
    problems = Problems(keep=2)
    called = []
    for row in range(1, 6):
        problems.add("bad-json", lambda: called.append(1) or "not JSON", file="a", row=row)
    problems.add("empty-text", "empty", row=9)
    assert problems.summary().splitlines() == [
        "5 bad-json",
        "  a:1: not JSON",
        "  a:2: not JSON",
        "  … and 3 more",
        "1 empty-text",
        "  row 9: empty",
    ]
    assert len(called) == 2  # messages that nobody sees are not worked out
    assert problems.total == 6
    assert problems.to_dict()["counts"] == {"bad-json": 5, "empty-text": 1}
    assert not Problems()


def test_a_path_may_be_written_with_slashes() -> None:
    taxonomy = Taxonomy(
        [
            Node("f", {"": "Food"}),
            Node("d", {"": "Dairy / Eggs"}),
            Node("m", {"": "Milk"}),
            Node("x", {"": "Food/Milk"}),
        ],
        [("f", "d"), ("d", "m"), ("f", "m")],
    )
    resolve = LabelResolver(taxonomy)
    assert resolve("food / milk") == "m"
    assert resolve("Food/Milk") == "x"  # a whole name comes before a path
    assert resolve("Food > Dairy / Eggs > Milk") == "m"
    with pytest.raises(DataError, match="unknown label"):
        resolve("food/eggs")
