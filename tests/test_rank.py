"""`rank`: the nodes that are most probably a most specific label."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hclf import HierarchicalClassifier, Taxonomy
from hclf.errors import DataError, UsageError
from hclf.model import Scores

WORDS = {"apples": "red apple fruit", "pears": "green pear fruit", "cats": "old tom cat", "dogs": "loud barking dog"}
THINGS = Taxonomy(
    ["food", "animals", *WORDS], [("food", "apples"), ("food", "pears"), ("animals", "cats"), ("animals", "dogs")]
)


def fitted(several: bool = False) -> HierarchicalClassifier:
    texts, labels = [], []
    for i in range(60):
        node = list(WORDS)[i % 4]
        texts.append(f"{WORDS[node]} number{i % 7}")
        labels.append([node, "cats"] if several and i % 9 == 0 else [node])
    return HierarchicalClassifier(taxonomy=THINGS).fit(texts, labels)


@pytest.fixture(scope="module")
def model() -> HierarchicalClassifier:
    return fitted()


def test_the_best_end_of_each_document_comes_first(model: HierarchicalClassifier) -> None:
    ranked = model.rank(["a red apple", "the dog was loud"], 3)
    assert [own[0].id for own in ranked] == ["apples", "dogs"]
    for own in ranked:
        assert len(own) <= 3
        scores = [node.score for node in own]
        assert scores == sorted(scores, reverse=True)
        assert all(score > 0 for score in scores)


@pytest.mark.parametrize("several", [False, True])
def test_a_share_is_the_score_without_that_of_the_children(several: bool) -> None:
    model = fitted(several)
    text = ["red apple or green pear"]
    scores = dict(zip(model.classes_, model.predict_proba(text)[0].tolist(), strict=True))
    children = [scores["apples"], scores["pears"]]
    share = scores["food"] - max(children)
    if not several:
        share = max(scores["food"] - sum(children), 0.1 * share)
    found = {node.id: node.score for node in model.rank(text, 6)[0]}
    assert found.get("food", 0) == pytest.approx(max(share, 0), abs=1e-6)
    assert found["apples"] == pytest.approx(scores["apples"])


def test_a_node_whose_children_add_up_to_more_keeps_a_tenth_of_what_the_best_one_leaves(
    model: HierarchicalClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = np.zeros((1, len(THINGS)), dtype=np.float32)
    for node, score in {"food": 0.9, "apples": 0.6, "pears": 0.5, "animals": 0.4, "cats": 0.1}.items():
        scores[0, THINGS.index(node)] = score
    monkeypatch.setattr(model, "_batches", lambda inputs: [Scores(slice(0, 1), scores, scores)])
    ranked = [(node.id, round(node.score, 4)) for node in model.rank(["anything"], 9)[0]]
    assert ranked == [("apples", 0.6), ("pears", 0.5), ("animals", 0.3), ("cats", 0.1), ("food", 0.03)]


def test_shares_of_candidates_weighed_against_each_other_count_too(
    model: HierarchicalClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, listwise = np.zeros((2, 1, len(THINGS)), dtype=np.float32)
    for node, score, weighed in [("food", 0.9, 1.0), ("apples", 0.5, 0.1), ("pears", 0.4, 0.8)]:
        scores[0, THINGS.index(node)], listwise[0, THINGS.index(node)] = score, weighed
    batch = Scores(slice(0, 1), scores, scores, csr_matrix(listwise))
    monkeypatch.setattr(model, "_batches", lambda inputs: [batch])
    found = {node.id: node.score for node in model.rank(["anything"], 9)[0]}
    assert list(found) == ["pears", "apples", "food"]
    assert found["pears"] == pytest.approx(0.4**0.75 * 0.8**0.25)
    assert found["food"] == pytest.approx((0.1 * 0.4) ** 0.75 * 0.1**0.25, rel=1e-5)


def test_a_share_below_the_answers_is_theirs(model: HierarchicalClassifier) -> None:
    text = ["a red apple"]
    top = model.rank(text, 2, among=["food", "animals"])[0]
    assert [node.id for node in top] == ["food", "animals"]
    assert top[0].score == pytest.approx(float(model.predict_proba(text)[0, THINGS.index("food")]))


def test_more_than_there_are_nodes_is_all_of_them(model: HierarchicalClassifier) -> None:
    own = model.rank(["a red apple"], 100)[0]
    assert len({node.id for node in own}) == len(own) <= len(THINGS)
    assert np.isfinite([node.score for node in own]).all()


def test_what_cannot_be_is_refused(model: HierarchicalClassifier) -> None:
    with pytest.raises(UsageError, match="k is at least 1"):
        model.rank(["x"], 0)
    with pytest.raises(DataError):
        model.rank(["x"], among=["aples"])
