"""Synthetic documents: deterministic, rules kept, patterns visible, evidence where it says."""

from __future__ import annotations

from collections import Counter

import pytest
from dags import dags
from hypothesis import given, settings
from hypothesis import strategies as st

from hclf.data import synth
from hclf.data.synth_labels import read_pairs
from hclf.data.synth_text import read_style
from hclf.errors import DataError, UnknownNodeError, UsageError
from hclf.registry import load_taxonomy
from hclf.taxonomy import Node, Rule, Taxonomy

ICD = load_taxonomy("icd10-mini")


@settings(max_examples=50)
@given(dags(), st.sampled_from(["none", "siblings"]), st.integers(0, 3))
def test_labels_are_most_specific_assignable_and_in_node_order(dag, pattern, seed):
    taxonomy = dag.taxonomy
    for document in synth(taxonomy, 10, seed=seed, cooccurrence=pattern, labels_per_document=2.5, internal_share=0.4):
        assert document.labels
        assert document.labels == taxonomy.most_specific(document.labels)
        assert document.extra == {"synthetic": True}
        assert document.text.strip()


def test_the_same_seed_gives_the_same_documents_and_a_longer_run_begins_with_them():
    first = list(synth(ICD, 20, seed=5, style="clinical", cooccurrence="rules"))
    assert list(synth(ICD, 30, seed=5, style="clinical", cooccurrence="rules"))[:20] == first
    assert list(synth(ICD, 20, seed=6, style="clinical", cooccurrence="rules")) != first


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["none", "siblings", "rules"])
def test_hard_excludes_are_kept(pattern):
    hard = [r for r in ICD.rules if r.type == "excludes" and r.strength == "hard"]
    assert hard
    for document in synth(ICD, 2000, cooccurrence=pattern, labels_per_document=4, popularity=0.3):
        closed = set(ICD.closure(document.labels))
        for rule in hard:
            assert not (rule.node in closed and closed.intersection(rule.others)), document.labels
        assert all(ICD[node].assignable for node in document.labels)


def test_exclusive_children_are_kept():
    tree = Taxonomy(
        ["size", "s", "m", "l"],
        [("size", "s"), ("size", "m"), ("size", "l")],
        rules=[Rule("exclusive_children", "size", strength="hard")],
    )
    assert {len(d.labels) for d in synth(tree, 50, labels_per_document=3)} == {1}


def test_evidence_spans_point_at_what_speaks_for_the_label():
    for document in synth(ICD, 200, style="clinical", noise=0):
        assert sorted(s["label"] for s in document.spans) == sorted(document.labels)
        for span in document.spans:
            node = ICD[span["label"]]
            said = document.text[span["start"] : span["end"]].lower()
            assert said in {name.lower() for name in (node.name, *sum(node.synonyms.values(), ()))}


def test_further_labels_are_siblings():
    tree = Taxonomy(
        [*"ab", *(f"{p}{i}" for p in "ab" for i in range(20))], [(p, f"{p}{i}") for p in "ab" for i in range(20)]
    )
    documents = list(synth(tree, 500, labels_per_document=3, internal_share=0, popularity=0, cooccurrence="siblings"))
    several = [d for d in documents if len(d.labels) == 2]
    same = sum(d.labels[0][0] == d.labels[1][0] for d in several) / len(several)
    assert same > 0.8  # by chance: a half
    apart = synth(tree, 500, labels_per_document=3, internal_share=0, popularity=0, cooccurrence="none")
    several = [d for d in apart if len(d.labels) == 2]
    assert sum(d.labels[0][0] == d.labels[1][0] for d in several) / len(several) < 0.65


def test_given_pairs_come_together_by_their_weights():
    tree = Taxonomy([*"abcdefgh", "a1"], [("a", "a1")])
    pairs = {("a", "b"): 3.0, ("c", "d"): 1.0}
    documents = list(synth(tree, 1000, cooccurrence=pairs, labels_per_document=2, internal_share=0, popularity=0))
    seen = Counter(d.labels for d in documents if len(d.labels) == 2)
    assert {labels for labels, _ in seen.most_common(2)} == {("b", "a1"), ("c", "d")}  # a stands for what is below
    assert 2 < seen["b", "a1"] / seen["c", "d"] < 4


def test_the_rules_of_a_taxonomy_come_together():
    pairs = [(r.node, set(r.others)) for r in ICD.rules if r.type in ("requires", "code_first", "code_also")]

    def share(pattern):
        sets = [set(ICD.closure(d.labels)) for d in synth(ICD, 500, cooccurrence=pattern, labels_per_document=2)]
        return sum(any(node in s and s & others for node, others in pairs) for s in sets) / len(sets)

    assert share("rules") > 0.25 > 0.05 > share("none")


def test_the_number_of_labels_and_the_share_of_internal_nodes():
    documents = list(synth(ICD, 3000, labels_per_document=2, internal_share=0, popularity=0))
    assert sum(len(d.labels) for d in documents) / 3000 == pytest.approx(2, abs=0.1)
    assert all(ICD.is_leaf[ICD.index(n)] for d in documents for n in d.labels)
    tree = Taxonomy(["a", "b", "c"], [("a", "b"), ("b", "c")])
    labels = Counter(d.labels[0] for d in synth(tree, 1000, internal_share=0.5, popularity=0))
    assert labels["c"] == pytest.approx(500, abs=60)
    assert labels["a"] + labels["b"] == 1000 - labels["c"]


def test_popularity_has_a_long_tail_or_none():
    def largest(popularity):
        counts = Counter(n for d in synth(ICD, 2000, popularity=popularity, cooccurrence="none") for n in d.labels)
        return counts.most_common(1)[0][1] / counts.total()

    assert largest(1.2) > 0.1 > 0.02 > largest(0)


def test_noise_changes_words_and_none_changes_nothing():
    quiet = [d.text for d in synth(ICD, 50, noise=0)]
    loud = [d.text for d in synth(ICD, 50, noise=0.5)]
    assert quiet == [d.text for d in synth(ICD, 50, noise=0)]
    assert sum(a != b for a, b in zip(quiet, loud, strict=True)) > 45
    assert all(d.text.strip() for d in synth(ICD, 200, noise=1))


def test_templates_of_ones_own(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("# comment\nI saw a {label} today\n\nand nothing else\n")
    texts = {d.text for d in synth(Taxonomy([Node("x", {"": "Heron"})]), 50, templates=path, noise=0)}
    assert "I saw a heron today" in texts
    assert all("heron" in text and "#" not in text for text in texts)
    path.write_text("no slot\n")
    with pytest.raises(DataError, match="no line of the templates"):
        read_style(path)


def test_language_of_names():
    products = load_taxonomy("products")
    texts = " ".join(d.text for d in synth(products, 300, language="de", style="product", noise=0))
    assert "Smartphones" in texts or "Handy" in texts
    assert "mobile phone" not in texts


def test_pairs_from_a_file(tmp_path):
    path = tmp_path / "pairs.csv"
    tree = Taxonomy([Node("a", {"": "Ant"}), Node("b"), Node("c")])
    path.write_text("a,b,weight\nAnt,b,2.5\nb,c,\n")
    assert read_pairs(path, tree) == {("a", "b"): 2.5, ("b", "c"): 1.0}
    for content, message in [
        ("a,b\nAnt,zzz\n", "pairs.csv:2: unknown label 'zzz'"),
        ("a,b,weight\na,b,-1\n", "positive number"),
        ("x,y\n1,2\n", "columns a, b"),
    ]:
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_pairs(path, tree)


def test_a_node_no_document_may_carry_is_not_drawn():
    """`both` lies below two nodes that exclude each other."""
    tree = Taxonomy(
        ["a", "b", "both", "c"],
        [("a", "both"), ("b", "both"), ("a", "c")],
        rules=[Rule("excludes", "a", ("b",), strength="hard")],
    )
    drawn = {n for d in synth(tree, 200, labels_per_document=2) for n in d.labels}
    assert "both" not in drawn
    assert "c" in drawn


@pytest.mark.parametrize(
    "options",
    [
        {"n": -1},
        {"style": "clinicl"},
        {"cooccurrence": "sibling"},
        {"cooccurrence": "rules"},
        {"labels_per_document": 0.5},
        {"internal_share": 2},
        {"noise": -1},
        {"popularity": -1},
    ],
)
def test_impossible_options_are_refused_at_once(options):
    with pytest.raises(UsageError):
        synth(Taxonomy(["a"]), **{"n": 1, **options})


def test_no_assignable_node_and_unknown_pairs():
    with pytest.raises(UsageError, match="no assignable node"):
        synth(Taxonomy([Node("a", assignable=False)]), 1)
    with pytest.raises(UnknownNodeError):
        synth(Taxonomy(["a"]), 1, cooccurrence={("a", "z"): 1.0})
