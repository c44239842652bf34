"""`HierarchicalClassifier`: laws 2 to 5 and 8 from end to end, and every form of input it promises to take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import NOISE, Sample
from scipy.sparse import coo_matrix, csr_array, csr_matrix

from hclf import classifier as classifier_module
from hclf import folds as folds_module
from hclf import inputs as inputs_module
from hclf import model as model_module
from hclf.classifier import HierarchicalClassifier
from hclf.data import Document
from hclf.errors import DataError, HclfError, NotFittedError, UsageError
from hclf.evaluation import evaluate
from hclf.labels import label_matrix
from hclf.taxonomy import Node, Taxonomy
from hclf.thresholds import GRID, NEVER, Thresholds

SHIPPED = ["products", "icd10"]


def small(pets: Sample, **options: Any) -> HierarchicalClassifier:
    """A classifier of the tiny data, not fitted."""
    return HierarchicalClassifier(**{"taxonomy": pets.taxonomy, "n_jobs": 1, **options})


def fit(pets: Sample, **options: Any) -> HierarchicalClassifier:
    return small(pets, **options).fit(pets.X, pets.y)


def same_scores(a: HierarchicalClassifier, b: HierarchicalClassifier, X: Any) -> bool:
    """Bit for bit."""
    return a.predict_proba(X).tobytes() == b.predict_proba(X).tobytes()


def assert_closed(taxonomy: Taxonomy, label_sets: list[tuple[str, ...]]) -> None:
    for labels in label_sets:
        assert labels == taxonomy.closure(labels)


# -- on the shipped examples -------------------------------------------------------------------------------------


@pytest.fixture(params=SHIPPED)
def shipped(request: pytest.FixtureRequest) -> tuple[HierarchicalClassifier, Sample]:
    """A fitted model, and documents it has not seen."""
    sample: Sample = request.getfixturevalue(request.param)
    return request.getfixturevalue(f"{request.param}_model"), sample[100:130]


@pytest.mark.slow
def test_shipped_examples_scores_are_coherent_and_sets_closed(shipped: tuple[HierarchicalClassifier, Sample]) -> None:
    model, new = shipped
    scores = model.predict_proba(new.X)
    assert (scores.shape, scores.dtype) == ((30, len(new.taxonomy)), np.float32)
    assert ((scores > 0) & (scores <= 1)).all()  # every node has a score, also those without documents
    for parent, child in new.taxonomy.edges():
        assert (scores[:, new.taxonomy.index(child)] <= scores[:, new.taxonomy.index(parent)]).all()
    predicted = model.predict(new.X)
    assert_closed(new.taxonomy, predicted)
    assert any(predicted)
    assert model.classes_.tolist() == list(new.taxonomy.nodes)


def test_shipped_examples_predictions_are_the_scores_above_the_thresholds(
    shipped: tuple[HierarchicalClassifier, Sample],
) -> None:
    model, new = shipped
    cut = model.thresholds_.array.astype(np.float32)[new.taxonomy.levels - 1]
    expected = [
        tuple(new.taxonomy.nodes[j] for j in np.flatnonzero(row >= cut)) for row in model.predict_proba(new.X)
    ]
    assert model.predict(new.X) == expected


def test_shipped_examples_a_document_does_not_depend_on_its_batch(
    shipped: tuple[HierarchicalClassifier, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, new = shipped
    scores, predicted = model.predict_proba(new.X), model.predict(new.X)
    monkeypatch.setattr(model_module, "BATCH_NUMBERS", 7 * len(new.taxonomy))
    assert model.predict_proba(new.X).tobytes() == scores.tobytes()
    assert model.predict(new.X) == predicted
    order = np.random.default_rng(0).permutation(30)
    assert model.predict_proba([new.X[i] for i in order]).tobytes() == scores[order].tobytes()
    assert model.predict_proba(new.X[3:4]).tobytes() == scores[3:4].tobytes()


def test_shipped_examples_beat_chance_by_far(shipped: tuple[HierarchicalClassifier, Sample]) -> None:
    model, new = shipped
    found = model.evaluate(new.X, new.y)
    shuffled = model.evaluate(new.X, new.y[1:] + new.y[:1])
    assert found.metrics["hF"] > shuffled.metrics["hF"] + 0.1
    assert found.closed
    assert found.violations_after == 0
    assert found.documents == 30


def test_the_report_says_what_happened(shipped: tuple[HierarchicalClassifier, Sample]) -> None:
    model, new = shipped
    report = model.report_
    assert report["trained_nodes"] == len(model.scorer_.columns) == (model.counts_ > 0).sum()
    assert report["trained_nodes"] + report["nodes_without_documents"] == len(new.taxonomy)
    assert report["documents"] == report["held_out"]  # few documents: every one is held out once
    assert report["thresholds"] == list(model.thresholds_.values)
    assert report["decoder"] == "threshold"
    assert "several most specific labels" in report["decoder_reason"]


def test_of_many_documents_a_bounded_number_is_held_out(pets: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds_module, "SMALL", 20)
    share = fit(pets).report_["held_out"]
    monkeypatch.setattr(folds_module, "MOST_HELD_OUT", 5)
    assert fit(pets).report_["held_out"] <= 5 < share <= 0.2 * 60


# -- evaluate, score, tune ---------------------------------------------------------------------------------------


def test_evaluate_is_predict_and_evaluation(pets_model: HierarchicalClassifier, more_pets: Sample) -> None:
    found = pets_model.evaluate(more_pets.X, more_pets.y)
    true = label_matrix(more_pets.taxonomy, more_pets.y)
    predicted = label_matrix(more_pets.taxonomy, pets_model.predict(more_pets.X))
    scores = pets_model.predict_proba(more_pets.X)
    expected = evaluate(
        more_pets.taxonomy,
        true,
        predicted,
        scores=np.where(scores >= 1e-3, scores, 0),
        train_counts=pets_model.counts_,
    )
    assert found.metrics == pytest.approx(expected.metrics)
    assert found.nodes == expected.nodes
    assert found.violations_before is not None
    assert pets_model.score(more_pets.X, more_pets.y) == found.metrics["hF"]


@pytest.mark.parametrize("goal", ["hf", "hf_example", "macro_f1", "exact_match", "precision>=0.9"])
def test_tuning_serves_its_goal_and_reports_what_it_reached(goal: str, pets: Sample, more_pets: Sample) -> None:
    model = fit(pets, goal=goal)
    before = (pets.X, model.predict_proba(more_pets.X))
    assert model.tune(more_pets.X, more_pets.y) is model
    metric = {"hf": "hF", "hf_example": "hF_example", "precision>=0.9": "hP"}.get(goal, goal)
    reached = model.evaluate(more_pets.X, more_pets.y).metrics[metric]
    assert model.thresholds_.achieved == pytest.approx(reached)
    assert model.report_["achieved_on_held_out"] == model.thresholds_.achieved
    assert model.report_["goal"] == goal
    assert model.report_["thresholds"] == list(model.thresholds_.values)
    if goal.startswith("precision"):
        assert reached >= 0.9
    if goal in ("hf", "macro_f1"):
        for values in ((0.2, 0.2, 0.2), (0.4, 0.4, 0.6), (0.5, 0.5, 0.5), (0.3, 0.6, 0.8)):
            point = replace(model.operating_points_["default"], thresholds=Thresholds(values))
            model.operating_points_ = {"default": point}
            assert reached >= model.evaluate(more_pets.X, more_pets.y).metrics[metric] - 1e-9
    assert (model.predict_proba(more_pets.X) == before[1]).all()  # scores are not touched


def test_a_precision_out_of_reach_gives_unknown_never_a_guess(pets: Sample) -> None:
    shuffled = Sample(pets.taxonomy, pets.X, pets.y[7:] + pets.y[:7])
    model = fit(shuffled, goal="precision>=1")
    if set(model.thresholds_.values) == {NEVER}:
        assert model.predict(pets.X) == [()] * len(pets.X)
    else:
        assert model.thresholds_.achieved == 1.0


def test_goal_and_search_shape_the_thresholds(pets: Sample) -> None:
    assert len(set(fit(pets, per_level=False).thresholds_.values)) == 1
    grid = fit(pets, search="grid").thresholds_
    assert set(grid.values) <= {*GRID.tolist(), NEVER}
    assert grid.search == "grid"


def test_higher_precision_means_fewer_labels(pets: Sample, more_pets: Sample) -> None:
    low, high = (sum(map(len, fit(pets, goal=f"precision>={p}").predict(more_pets.X))) for p in (0.5, 0.95))
    assert high < low


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0.4, (0.4, 0.4, 0.4)), (1, (1.0, 1.0, 1.0)), ([0.3, 0.6], (0.3, 0.6, 0.6)), ((0.2, 0.3, 0.9), (0.2, 0.3, 0.9))],
)
def test_thresholds_may_be_fixed(given: Any, expected: tuple[float, ...], pets: Sample, more_pets: Sample) -> None:
    model = fit(pets, thresholds=given)
    assert model.thresholds_.values == expected
    assert model.thresholds_.goal == "fixed"
    assert_closed(pets.taxonomy, model.predict(more_pets.X))


@pytest.mark.parametrize("closure", ["ancestors", "prune"])
def test_fixed_thresholds_that_fall_are_closed_as_asked(closure: str, pets: Sample, more_pets: Sample) -> None:
    model = fit(pets, thresholds=[0.9, 0.5, 0.2], closure=closure)
    predicted = model.predict(more_pets.X)
    assert_closed(pets.taxonomy, predicted)
    passing = (
        model.predict_proba(more_pets.X) >= np.array([0.9, 0.5, 0.2], dtype=np.float32)[pets.taxonomy.levels - 1]
    )
    raw = [{pets.taxonomy.nodes[j] for j in np.flatnonzero(row)} for row in passing]
    sides = [(set(p), r) for p, r in zip(predicted, raw, strict=True)]
    assert any(p != r for p, r in sides)
    assert all(p >= r if closure == "ancestors" else p <= r for p, r in sides)


def test_too_many_thresholds_are_refused(pets: Sample) -> None:
    with pytest.raises(UsageError, match="4 thresholds for 3 levels"):
        fit(pets, thresholds=[0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("given", [[], np.float32(0.5)])
def test_odd_thresholds_are_taken_or_refused_at_once(given: Any, pets: Sample) -> None:
    try:
        model = fit(pets, thresholds=given)
    except UsageError:
        return
    assert model.predict(pets.X)


# -- decoders, coherence, baselines ------------------------------------------------------------------------------


def test_the_decoder_follows_the_labels(pets: Sample) -> None:
    one = Sample(pets.taxonomy, pets.X, [labels[:1] for labels in pets.y])
    model = fit(one)
    assert (model.report_["decoder"], model.decoder_reason_) == ("path", model.report_["decoder_reason"])
    assert_closed(pets.taxonomy, model.predict(pets.X))
    assert fit(one, decoder="threshold").report_["decoder_reason"] == "as asked"


def test_a_path_to_a_leaf_and_the_top_k(pets: Sample, more_pets: Sample) -> None:
    leaves = {n for n, leaf in zip(pets.taxonomy.nodes, pets.taxonomy.is_leaf, strict=True) if leaf}
    for decoder, options, count in (("path", {"to_leaf": True}, 1), ("top-k", {"k": 2}, 2), ("top-k", {}, 1)):
        predicted = fit(pets, decoder=decoder, decoder_options=options).predict(more_pets.X)
        assert_closed(pets.taxonomy, predicted)
        assert all(len(leaves & set(labels)) == count for labels in predicted)


def test_what_a_decoder_without_thresholds_is_said_to_reach_is_what_it_reaches(
    pets: Sample, more_pets: Sample
) -> None:
    model = fit(pets, decoder="top-k").tune(more_pets.X, more_pets.y)
    reached = model.evaluate(more_pets.X, more_pets.y).metrics["hF"]
    assert model.report_["achieved_on_held_out"] in (None, pytest.approx(reached))


@pytest.mark.parametrize("coherence", ["max", "min", "isotonic"])
def test_every_coherence_method_gives_coherent_scores(
    coherence: Any, pets: Sample, more_pets: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit(pets, coherence=coherence, calibrate="none")
    scores = model.predict_proba(more_pets.X)
    with monkeypatch.context() as patch:
        patch.setattr(Taxonomy, "coherent", lambda self, scores, method: scores)
        raw = model.predict_proba(more_pets.X)
    assert pets.taxonomy.violations(raw).sum() > 0
    assert (pets.taxonomy.coherent(raw, coherence) == scores).all()
    assert pets.taxonomy.violations(scores).sum() == 0
    assert ((scores >= 0) & (scores <= 1)).all()
    assert_closed(pets.taxonomy, model.predict(more_pets.X))


def test_the_flat_baseline_knows_nothing_of_the_hierarchy(pets: Sample, more_pets: Sample) -> None:
    model = fit(pets, flat=True)
    given = label_matrix(pets.taxonomy, pets.y, closed=False)
    assert (model.counts_ == given.toarray().sum(axis=0)).all()
    assert len(set(model.thresholds_.values)) == 1
    scores = model.predict_proba(more_pets.X)
    assert pets.taxonomy.violations(scores).sum() > 0
    threshold = np.float32(model.thresholds_.values[0])
    expected = [tuple(pets.taxonomy.nodes[j] for j in np.flatnonzero(row >= threshold)) for row in scores]
    assert model.predict(more_pets.X) == expected
    found = model.evaluate(more_pets.X, more_pets.y)
    assert not found.closed
    assert found.violations_before == pets.taxonomy.violations(scores).sum()


def test_labels_above_the_leaves_say_nothing_or_no_of_what_is_below(pets: Sample) -> None:
    """Ten documents read like `cats` and are labelled `animals` only."""
    X = [f"purr whiskers {NOISE}"] * 10 + [f"purr whiskers cat {NOISE}"] * 3 + [f"bark leash {NOISE}"] * 10
    y = [["animals"]] * 10 + [["cats"]] * 3 + [["dogs"]] * 10
    unknown, negative = (
        small(pets, partial_labels=kind).fit(X, y).predict_proba(["purr whiskers"])[0, pets.taxonomy.index("cats")]
        for kind in ("unknown", "negative")
    )
    assert unknown > negative + 0.1


def test_every_node_has_a_score_below_its_parents_without_documents_too(pets: Sample, more_pets: Sample) -> None:
    taxonomy = more_pets.taxonomy
    model = fit(pets, scorer_options={"matching": False})
    assert model.report_["nodes_without_documents"] == 1
    scores = model.predict_proba(more_pets.X)
    unseen, parent = (scores[:, taxonomy.index(n)] for n in ("unseen", "robots"))
    share = np.float32(1 / (model.counts_[taxonomy.index("robots")] + 2))
    assert (unseen > 0).all()
    assert unseen == pytest.approx(parent * share, rel=0.2) or (unseen <= parent * share).all()


@pytest.mark.parametrize("n", [5, 60])
def test_a_node_without_documents_is_not_probable_unless_it_is_named(n: int, pets: Sample, more_pets: Sample) -> None:
    """No held-out document carries it, if any is held out at all: nothing says what its words are worth."""
    model = small(pets, scorer_options={"matching": True}).fit(pets.X[:n], pets.y[:n])
    taxonomy = more_pets.taxonomy
    scores = model.predict_proba(more_pets.X)
    seen = model.counts_ > 0
    assert not seen[taxonomy.index("unseen")]
    assert (scores[:, ~seen] > 0).all()
    assert scores[:, taxonomy.index("unseen")].max() < 0.25
    assert model.report_["trained_nodes"] == seen.sum()


@pytest.mark.parametrize("n", [5, 60])
def test_a_node_without_documents_is_more_probable_where_it_is_named(n: int, pets: Sample, more_pets: Sample) -> None:
    """That no held-out document belongs to a candidate says nothing against a name: they belong to known nodes."""
    model = small(pets, scorer_options={"matching": True}).fit(pets.X[:n], pets.y[:n])
    unseen = pets.taxonomy.index("unseen")
    assert model.counts_[unseen] == 0
    assert model.predict_proba(["unseen"])[0, unseen] > model.predict_proba(more_pets.X)[:, unseen].max()


# -- seeds -------------------------------------------------------------------------------------------------------


def test_same_seed_same_result_and_another_seed_other_folds(pets: Sample, more_pets: Sample) -> None:
    a, b, other = (fit(pets, seed=seed) for seed in (3, 3, 4))
    assert same_scores(a, b, more_pets.X)
    assert a.thresholds_ == b.thresholds_
    assert (a.calibration_.coefficients == b.calibration_.coefficients).all()
    assert (a.calibration_.coefficients != other.calibration_.coefficients).any()


def test_fitting_again_forgets_the_first_time(pets: Sample, more_pets: Sample) -> None:
    model = fit(pets, thresholds=0.3)
    model.set_params(thresholds=None).fit(more_pets.X, more_pets.y)
    assert same_scores(model, fit(more_pets), pets.X)
    assert model.thresholds_ == fit(more_pets).thresholds_


# -- held-out documents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11])
def test_few_documents_are_enough(n: int, pets: Sample) -> None:
    model = small(pets).fit(pets.X[:n], pets.y[:n])
    assert model.report_["held_out"] == (0 if n < 10 else n)
    if n < 10:
        assert model.thresholds_.values == (0.5, 0.5, 0.5)
        assert model.thresholds_.achieved is None
        assert (model.calibration_.intercepts == 0).all()
    assert pets.taxonomy.violations(model.predict_proba(pets.X)).sum() == 0
    assert_closed(pets.taxonomy, model.predict(pets.X))


def test_many_documents_are_split_once(pets: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds_module, "SMALL", 50)
    model = fit(pets)
    assert 4 <= model.report_["held_out"] <= 15  # 15 % of 60, stratified
    assert model.report_["documents"] == 60
    assert_closed(pets.taxonomy, model.predict(pets.X))


def test_equal_texts_are_never_on_both_sides(pets: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[tuple[set[str], set[str]]] = []
    X = pets.X[:20] * 3

    def watched(*about: Any) -> Any:
        folds = folds_module.make_folds(*about)
        sides.extend(({X[i] for i in train}, {X[i] for i in test}) for train, test in folds)
        return folds

    monkeypatch.setattr(classifier_module, "make_folds", watched)
    for limit in (1_500, 50):
        sides.clear()
        monkeypatch.setattr(folds_module, "SMALL", limit)
        small(pets).fit(X, pets.y[:20] * 3)
        assert sides
        assert all(train.isdisjoint(test) for train, test in sides)


def icd(n: int) -> tuple[Taxonomy, list[str], list[list[str]], np.ndarray]:
    """Codes and their names, most of the documents just a name in other letters; and which are."""
    nodes = [Node("E", {"": "Endocrine diseases"}), *(Node(f"E{i}", {"": f"Diabetes type {i}"}) for i in range(6))]
    nodes[1] = Node("E0", {"": "Diabetes type 0", "de": "Zuckerkrankheit"}, {"": ("sugar disease",)}, "No insulin.")
    taxonomy = Taxonomy(nodes, [("E", f"E{i}") for i in range(6)])
    X, y, copies = [], [], []
    for k in range(n):
        i = k % 6
        name = f"Diabetes type {i}"
        text = [name.upper(), f"patient {k} has {name}", f" {name.replace(' ', '  ')}\n", f"{name} seen {k}"][
            k // 6 % 4
        ]
        X.append(text)
        y.append([f"E{i}"])
        copies.append(k // 6 % 2 == 0)
    for text, code, copy in (
        ("ZUCKERKRANKHEIT", "E0", True),
        ("sugar disease", "E0", True),
        ("no insulin.", "E0", True),
        ("Endocrine diseases", "E0", False),  # of its parent
        ("zuckerkrankheit des kindes", "E1", False),
    ):
        X.append(text)
        y.append([code])
        copies.append(copy)
    return taxonomy, X, y, np.array(copies)


def folds_of(model: HierarchicalClassifier, monkeypatch: pytest.MonkeyPatch, X: Any, y: Any) -> list[tuple[Any, Any]]:
    """The folds that fit makes, as rows."""
    found: list[tuple[Any, Any]] = []

    def watched(*about: Any) -> Any:
        found.extend(folds_module.make_folds(*about))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(classifier_module, "make_folds", watched)
        model.fit(X, y)
    return found


@pytest.mark.parametrize("limit", [1_500, 20])
def test_copies_of_names_are_learned_from_and_never_held_out(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taxonomy, X, y, copies = icd(60)
    monkeypatch.setattr(folds_module, "SMALL", limit)
    model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1)
    folds = folds_of(model, monkeypatch, X, y)
    assert len(folds) == (5 if limit > 60 else 1)
    for train, test in folds:
        assert len(test)
        assert not copies[test].any()
        assert set(np.flatnonzero(copies)) <= set(train.tolist())
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(X)))
    if limit > 60:
        assert sorted(np.concatenate([test for _, test in folds]).tolist()) == np.flatnonzero(~copies).tolist()
    assert model.report_["held_out"] == sum(len(test) for _, test in folds)


def test_where_every_document_copies_a_name_nothing_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    taxonomy, X, y, copies = icd(60)
    X, y = ([part for part, copy in zip(parts, copies, strict=True) if copy] for parts in (X, y))
    for limit in (1_500, 20):
        monkeypatch.setattr(folds_module, "SMALL", limit)
        model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1).fit(X, y)
        assert model.report_["held_out"] == 0
        assert model.predict(["Diabetes type 3"]) == [("E", "E3")]


@pytest.mark.parametrize("limit", [1_500, 20])
def test_equal_texts_stay_together_where_one_of_them_copies_a_name(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taxonomy, X, y, _ = icd(60)
    X, y = X + ["diabetes type 1", "Diabetes Type 2"] * 4, y + [["E4"], ["E5"]] * 4  # the labels contradict the names
    monkeypatch.setattr(folds_module, "SMALL", limit)
    for seed in range(5):
        model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1, seed=seed)
        for train, test in folds_of(model, monkeypatch, X, y):
            sides = [{" ".join(X[i].lower().split()) for i in rows} for rows in (train, test)]
            assert sides[0].isdisjoint(sides[1])


def test_copies_of_one_document_leave_nothing_to_hold_out(pets: Sample) -> None:
    model = small(pets).fit(pets.X[:1] * 12, pets.y[:1] * 12)
    assert model.report_["held_out"] == 0
    assert model.predict(pets.X[:1])[0] == pets.taxonomy.closure(pets.y[0])


def test_held_out_scores_come_from_models_that_have_not_seen_the_document(pets: Sample) -> None:
    """Labels by chance: what is promised on held-out documents must not be what memory reaches."""
    rng = np.random.default_rng(0)
    X = [f"word{i} other{i}" for i in range(60)]
    y = [[str(rng.choice(["cats", "dogs", "cars", "robots"]))] for _ in range(60)]
    model = small(pets, goal="exact_match").fit(X, y)
    assert model.evaluate(X, y).metrics["exact_match"] > 0.6  # on what it has learnt by heart
    assert model.thresholds_.achieved < 0.5


# -- X in every form ---------------------------------------------------------------------------------------------


class Frame:
    """What is used of a pandas DataFrame, without pandas."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._records = records
        self.columns = list(records[0])

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return self._records

    def __len__(self) -> int:
        return len(self._records)


def forms_of_text(X: list[str]) -> dict[str, Any]:
    return {
        "tuple": tuple(X),
        "object array": np.array(X, dtype=object),
        "string array": np.array(X),
        "generator": (text for text in X),
        "dicts": [{"text": text} for text in X],
        "dicts with more": [{"text": text, "price": 3.5, "none": None} for text in X],
        "frame": Frame([{"text": text, "price": 3.5, "count": 1} for text in X]),
        "documents": [Document(str(i), {"text": text}) for i, text in enumerate(X)],
    }


FORMS_OF_TEXT = list(forms_of_text([]) if False else forms_of_text(["x"]))


@pytest.mark.parametrize("form", FORMS_OF_TEXT)
def test_every_form_of_text_is_the_same_text(
    form: str, pets: Sample, more_pets: Sample, pets_model: HierarchicalClassifier
) -> None:
    model = small(pets).fit(forms_of_text(pets.X)[form], pets.y)
    assert same_scores(model, pets_model, more_pets.X)
    expected = pets_model.predict(more_pets.X)
    assert pets_model.predict(forms_of_text(more_pets.X)[form]) == expected
    assert pets_model.evaluate(forms_of_text(more_pets.X)[form], more_pets.y).documents == 30


def test_named_fields_are_used_and_weighed(pets: Sample) -> None:
    X = [{"title": text.split()[0], "body": text} for text in pets.X]
    equal, title_only = (
        small(pets, scorer_options={"field_weights": weights}).fit(X, pets.y)
        for weights in ({"title": 1.0, "body": 1.0}, {"title": 1.0, "body": 0.0})
    )
    probe = [{"title": "the", "body": "cat purr"}, {"title": "the", "body": "wheels diesel"}]
    assert not (equal.predict_proba(probe)[0] == equal.predict_proba(probe)[1]).all()
    assert (title_only.predict_proba(probe)[0] == title_only.predict_proba(probe)[1]).all()


def numbers(n: int, seed: int = 0) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    rng = np.random.default_rng(seed)
    centres = {"siamese": [5, 0, 0, 1], "dogs": [0, 5, 0, 1], "cars": [0, 0, 5, 1]}
    names = rng.choice(list(centres), n)
    return np.array([centres[name] for name in names]) + rng.normal(size=(n, 4)), [(str(name),) for name in names]


def test_feature_matrices_dense_sparse_and_with_missing_values(pets: Sample) -> None:
    (X, y), (new, new_y) = numbers(60), numbers(30, seed=1)
    dense = small(pets).fit(X, y)
    assert dense.score(new, new_y) > 0.9
    for form in (csr_matrix, coo_matrix, csr_array):
        assert same_scores(small(pets).fit(form(X), y), dense, new)
        assert dense.predict(form(new)) == dense.predict(new)
    X[np.random.default_rng(2).random(X.shape) < 0.1] = np.nan
    holes = small(pets).fit(X, y)
    assert holes.score(new, new_y) > 0.8
    assert np.isfinite(holes.predict_proba(X)).all()
    assert_closed(pets.taxonomy, holes.predict(X))


def test_whole_numbers_and_flags_are_features_too(pets: Sample) -> None:
    X, y = numbers(40)
    assert small(pets).fit((X > 2).astype(bool), y).score((X > 2).astype(int), y) > 0.9


@pytest.fixture(scope="module")
def numbers_model(pets: Sample) -> HierarchicalClassifier:
    """One of four features, not to be changed."""
    return small(pets, scorer_options={"updatable": True}).fit(*numbers(40))


MATRIX = np.ones((2, 3))
TWO = ["cat purr", "dog bark"]


@pytest.mark.parametrize(
    ("model", "X", "message"),
    [
        ("pets_model", MATRIX, "fitted on texts; what came is a matrix of 3 columns"),
        ("pets_model", csr_matrix(MATRIX), "fitted on texts; what came is a matrix of 3 columns"),
        ("numbers_model", TWO, "fitted on a matrix of 4 features; what came is texts"),
        ("numbers_model", [{"title": text} for text in TWO], "fitted on a matrix of 4 features; what came is texts"),
        ("numbers_model", MATRIX, "the matrix has 3 features, the model was fitted on 4"),
    ],
)
def test_a_model_of_texts_takes_texts_and_one_of_numbers_takes_numbers(
    model: str, X: Any, message: str, request: pytest.FixtureRequest
) -> None:
    fitted, y = request.getfixturevalue(model), [["cats"], ["dogs"]]
    for call in (fitted.predict, fitted.predict_proba, fitted.rank):
        with pytest.raises(UsageError, match=message):
            call(X)
    for call in (fitted.evaluate, fitted.score, fitted.tune, fitted.partial_update):
        with pytest.raises(UsageError, match=message):
            call(X, y)


def test_a_model_of_numbers_predicts_no_documents_of_text(numbers_model: HierarchicalClassifier) -> None:
    with pytest.raises(UsageError, match="fitted on a matrix of 4 features; what came is texts"):
        next(numbers_model.predict_documents([Document("1", {"text": "cat"})]))


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 4)), np.zeros((0, 7)), csr_matrix((0, 4))], ids=str)
def test_nothing_is_neither_text_nor_numbers(
    nothing: Any, pets_model: HierarchicalClassifier, numbers_model: HierarchicalClassifier
) -> None:
    for model in (pets_model, numbers_model):
        assert model.predict(nothing) == model.rank(nothing) == []
        assert model.predict_proba(nothing).shape == (0, 9)
        with pytest.raises(DataError, match="no documents to evaluate"):
            model.evaluate(nothing, [])
        with pytest.raises(DataError, match="no labelled documents to tune on"):
            model.tune(nothing, [])
    before = numbers_model.predict_proba(np.eye(4))
    numbers_model.partial_update(nothing, [])
    assert (numbers_model.predict_proba(np.eye(4)) == before).all()


def test_what_a_model_was_fitted_on_survives_saving_and_fitting_anew(
    numbers_model: HierarchicalClassifier, pets: Sample, tmp_path: Path
) -> None:
    numbers_model.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model")
    with pytest.raises(UsageError, match="fitted on a matrix of 4 features"):
        loaded.predict(TWO)
    assert loaded.predict([]) == []
    assert loaded.fit(pets.X, pets.y).predict(TWO)
    with pytest.raises(UsageError, match="fitted on texts"):
        loaded.predict(np.eye(4))


@pytest.mark.parametrize("bad", [[1, 2, 3], ["text", 3], [["a", "b"]], ["text", {"text": "x"}]])
def test_what_is_neither_text_nor_numbers_is_refused(bad: Any, pets: Sample) -> None:
    with pytest.raises(UsageError, match="strings, dicts of text fields, or a numeric matrix"):
        small(pets).fit(bad, pets.y[: len(bad)])


@pytest.mark.parametrize("bad", [["text", None], [None]])
def test_a_missing_text_is_refused(bad: Any, pets: Sample) -> None:
    with pytest.raises(UsageError, match="NoneType"):
        small(pets).fit(bad, pets.y[: len(bad)])


@pytest.mark.parametrize("bad", [[{"text": "x"}, "text"], [Document("1", {"text": "x"}), "text"]])
def test_dicts_and_strings_do_not_mix(bad: Any, pets: Sample) -> None:
    with pytest.raises(UsageError):
        small(pets).fit(bad, pets.y[:2])


def test_one_string_is_not_a_list_of_documents(pets: Sample, pets_model: HierarchicalClassifier) -> None:
    with pytest.raises(UsageError, match="one string; give a list"):
        small(pets).fit("cat", pets.y)
    with pytest.raises(UsageError, match="one string; give a list"):
        pets_model.predict("cat")


def test_errors_never_show_the_text() -> None:
    for bad in (["secret text", 3], "secret text"):
        with pytest.raises(UsageError) as caught:
            inputs_module.as_inputs(bad)
        assert "secret" not in str(caught.value)


# -- y in every form ---------------------------------------------------------------------------------------------


def forms_of_labels(taxonomy: Taxonomy, y: list[tuple[str, ...]]) -> dict[str, Any]:
    indicator = label_matrix(taxonomy, y, closed=False)
    rows, columns = np.indices(indicator.shape).reshape(2, -1)
    with_zeros = csr_matrix((indicator.toarray().ravel().astype(float), (rows, columns)), shape=indicator.shape)
    return {
        "lists": [list(labels) for labels in y],
        "sets": [set(labels) for labels in y],
        "generator": (labels for labels in y),
        "names": [[taxonomy[node].name for node in labels] for labels in y],
        "names in another case": [[taxonomy[node].name.upper() for node in labels] for labels in y],
        "paths of ids": [[" > ".join(taxonomy.path(node)) for node in labels] for labels in y],
        "paths of names": [
            [" > ".join(taxonomy[n].name for n in taxonomy.path(node)) for node in labels] for labels in y
        ],
        "with ancestors": [taxonomy.closure(labels) for labels in y],
        "twice": [[*labels, *labels] for labels in y],
        "dense indicator": indicator.toarray(),
        "dense 0 and 1": indicator.toarray().astype(int),
        "sparse indicator": indicator,
        "sparse array": csr_array(indicator),
        "coordinates": coo_matrix(indicator),
        "sparse with explicit zeros": with_zeros,
        "closed indicator": label_matrix(taxonomy, y),
    }


@pytest.mark.parametrize("form", forms_of_labels(Taxonomy(["x"]), [("x",)]))
def test_every_form_of_labels_is_the_same_labels(
    form: str, pets: Sample, more_pets: Sample, pets_model: HierarchicalClassifier
) -> None:
    model = small(pets).fit(pets.X, forms_of_labels(pets.taxonomy, pets.y)[form])
    assert same_scores(model, pets_model, more_pets.X)
    assert model.thresholds_ == pets_model.thresholds_
    found = pets_model.evaluate(more_pets.X, forms_of_labels(pets.taxonomy, more_pets.y)[form])
    assert found.metrics == pets_model.evaluate(more_pets.X, more_pets.y).metrics


def test_one_label_a_document_may_be_a_plain_string(pets: Sample, more_pets: Sample) -> None:
    one = [labels[0] for labels in pets.y]
    lists = small(pets).fit(pets.X, [[label] for label in one])
    assert same_scores(small(pets).fit(pets.X, one), lists, more_pets.X)
    assert same_scores(small(pets).fit(pets.X, np.array(one)), lists, more_pets.X)


def test_documents_without_labels_are_documents_with_nothing(pets: Sample, more_pets: Sample) -> None:
    X, y = [*pets.X, "the new offer of today", "of today"], [*pets.y, (), ()]
    model = small(pets).fit(X, y)
    assert model.report_["documents"] == 62
    assert model.predict(["the new offer of today"]) == [()]
    assert model.evaluate(X, y).unlabelled == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["siamse"], "unknown label 'siamse'; did you mean 'siamese'"),
        (["Animals > Cats > Siamse"], "did you mean"),
        (["Animals > Robots"], "unknown label 'Animals > Robots'"),
        ([""], "unknown label ''"),
    ],
)
def test_unknown_labels_are_refused_with_the_nearest(
    labels: list[str], message: str, pets: Sample, pets_model: HierarchicalClassifier
) -> None:
    y = [*pets.y[:-1], labels]
    for call in (small(pets).fit, pets_model.evaluate, pets_model.tune):
        with pytest.raises(DataError, match=message):
            call(pets.X, y)


def test_ambiguous_labels_are_refused(pets: Sample) -> None:
    taxonomy = Taxonomy([Node("a", {"": "Same"}), Node("b", {"": "Same"})])
    with pytest.raises(DataError, match="ambiguous: 2 nodes fit"):
        HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1).fit(["x"], [["same"]])


@pytest.mark.parametrize("labels", [[3], None, [None]])
def test_labels_that_are_no_strings_are_refused(labels: Any, pets: Sample) -> None:
    with pytest.raises(HclfError):
        small(pets).fit(pets.X[:2], [["cats"], labels])


def test_an_indicator_has_one_column_a_node(pets: Sample, pets_model: HierarchicalClassifier) -> None:
    for call in (small(pets).fit, pets_model.evaluate, pets_model.tune):
        with pytest.raises(DataError, match="5 columns, the taxonomy 9 nodes"):
            call(pets.X, np.ones((60, 5)))


# -- wrong calls -------------------------------------------------------------------------------------------------


def test_a_model_is_fitted_before_it_is_asked(pets: Sample) -> None:
    model = small(pets)
    for call in (model.predict, model.predict_proba):
        with pytest.raises(NotFittedError, match="fit"):
            call(pets.X)
    for call in (model.evaluate, model.score, model.tune):
        with pytest.raises(NotFittedError, match="fit"):
            call(pets.X, pets.y)
    with pytest.raises(NotFittedError, match="fit"):
        next(model.predict_documents([Document("1", {"text": "cat"})]))


def test_lengths_must_agree(pets: Sample, pets_model: HierarchicalClassifier) -> None:
    for call in (small(pets).fit, pets_model.evaluate):
        with pytest.raises(DataError, match="60 documents but 59 label sets"):
            call(pets.X, pets.y[:-1])


def test_lengths_must_agree_in_tune(pets: Sample) -> None:
    model = fit(pets)
    with pytest.raises(DataError, match="60 documents but 59 label sets"):
        model.tune(pets.X, pets.y[:-1])


def test_there_must_be_something_to_learn_from(pets: Sample, pets_model: HierarchicalClassifier) -> None:
    with pytest.raises(DataError, match="no training document has a label"):
        small(pets).fit(pets.X, [()] * 60)
    with pytest.raises(DataError, match="label"):
        small(pets).fit([], [])
    with pytest.raises(DataError, match="word"):
        small(pets, scorer_options={"node_texts": False}).fit([" "] * 3, [["cats"]] * 3)
    with pytest.raises(DataError, match="no documents to evaluate"):
        pets_model.evaluate([], [])
    with pytest.raises(DataError, match="no labelled documents to tune on"):
        pets_model.tune(pets.X, [()] * 60)
    with pytest.raises(DataError, match="no labelled documents to tune on"):
        pets_model.tune([], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taxonomy": "produtcs"}, "did you mean 'products'"),
        ({"scorer": "liner"}, "did you mean 'linear'"),
        ({"scorer_options": {"c": 1}}, "scorer 'linear'.*'c'"),
        ({"decoder": "top_k"}, "did you mean 'top-k'"),
        ({"decoder": "threshold", "decoder_options": {"k": 3}}, "does not take k"),
        ({"goal": "f1"}, "unknown goal 'f1'"),
        ({"goal": "precision>=2"}, r"\(0, 1\]"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str, pets: Sample) -> None:
    with pytest.raises(UsageError, match=message):
        fit(pets, **options)


@pytest.mark.parametrize(
    "options", [{"search": "gird"}, {"closure": "parents"}, {"partial_labels": "positive"}, {"coherence": "mean"}]
)
def test_misspelt_choices_are_refused_before_any_training(
    options: dict[str, Any], pets: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused_at_once(options, pets, monkeypatch)


@pytest.mark.parametrize("options", [{"goal": "f1"}, {"thresholds": [0.1, 0.2, 0.3, 0.4]}])
def test_goals_and_thresholds_are_checked_before_any_training(
    options: dict[str, Any], pets: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_refused_at_once(options, pets, monkeypatch)


def assert_refused_at_once(options: dict[str, Any], pets: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that fail late cost a night: nothing may be trained before they are checked."""

    def too_late(*_: Any, **__: Any) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr(HierarchicalClassifier, "_fit_model", too_late)
    with pytest.raises(UsageError):
        fit(pets, **options)


# -- texts that say nothing, and streams -------------------------------------------------------------------------


def test_an_empty_text_is_unknown_and_flagged(pets: Sample) -> None:
    texts = ["cat purr whiskers", "", " \n\t", "dog bark"]
    for options in ({}, {"decoder": "top-k"}, {"thresholds": 0.0}):
        model = fit(pets, **options)
        predicted = model.predict(texts)
        assert predicted[1] == predicted[2] == ()
        assert predicted[0]
        found = list(model.predict_documents(Document(str(i), {"text": t}) for i, t in enumerate(texts)))
        flags = [tuple(flag for flag in p.flags if flag != "cold-start") for p in found]  # threshold 0 takes any node
        assert flags == [(), ("empty-text",), ("empty-text",), ()]
        assert found[1].flags == found[2].flags == ("empty-text",)
        assert found[1].labels == found[1].leaves == ()
        assert model.evaluate(texts, [["cats"]] * 4).unknown >= 2


def test_a_text_with_unknown_words_only_is_no_error(pets_model: HierarchicalClassifier) -> None:
    assert np.isfinite(pets_model.predict_proba(["日本語 qqq", "🐈"])).all()


def test_a_batch_of_empty_texts_is_unknown(pets_model: HierarchicalClassifier) -> None:
    assert pets_model.predict([""]) == [()]
    assert [p.flags for p in pets_model.predict_documents([Document("1", {"text": ""})])] == [("empty-text",)]


def test_no_documents_give_no_answers(pets_model: HierarchicalClassifier) -> None:
    assert pets_model.predict([]) == []
    assert pets_model.predict_proba([]).shape == (0, 9)
    assert list(pets_model.predict_documents([])) == []


def test_predictions_of_documents_say_what_predict_says(
    pets_model: HierarchicalClassifier, more_pets: Sample
) -> None:
    taxonomy = more_pets.taxonomy
    found = list(pets_model.predict_documents(Document(f"d{i}", {"text": t}) for i, t in enumerate(more_pets.X)))
    scores = pets_model.predict_proba(more_pets.X)
    for i, (prediction, labels) in enumerate(zip(found, pets_model.predict(more_pets.X), strict=True)):
        assert prediction.id == f"d{i}"
        assert tuple(node.id for node in prediction.labels) == labels
        assert prediction.leaves == taxonomy.most_specific(labels)
        for node in prediction.labels:
            j = taxonomy.index(node.id)
            assert (node.name, node.level) == (taxonomy.names[j], taxonomy.levels[j])
            assert node.score == scores[i, j]
        assert not prediction.flags


def test_a_stream_is_read_one_batch_a_thread_at_a_time(
    pets_model: HierarchicalClassifier, more_pets: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = 4
    monkeypatch.setattr(model_module, "BATCH_NUMBERS", batch * len(more_pets.taxonomy))
    read = 0

    def documents() -> Iterator[Document]:
        nonlocal read
        for i in range(100):
            read += 1
            yield Document(str(i), {"text": more_pets.X[i % 30]})

    threads = pets_model._workers
    stream = pets_model.predict_documents(documents())
    assert read == 0
    for i in range(11):
        assert next(stream).id == str(i)
        assert i < read <= (i // batch + threads) * batch
    stream.close()
    assert read <= (2 + threads) * batch


def test_progress_is_shown_while_training(pets: Sample) -> None:
    shown: list[str] = []

    def progress(items: Any, what: str, total: int) -> Any:
        shown.append(f"{what} {total}")
        return items

    small(pets).fit(pets.X, pets.y, progress=progress)
    assert shown == [*["training nodes 1", "scoring held-out documents 1"] * 5, "training nodes 1"]  # and everything


class Counting(HierarchicalClassifier):
    """Notes how many documents each model is fitted on."""

    fits: ClassVar[list[int]] = []

    def _fit_model(self, training: Any, *about: Any, **options: Any) -> Any:
        self.fits.append(len(training.inputs))
        return super()._fit_model(training, *about, **options)


@pytest.fixture
def cats_and_dogs(monkeypatch: pytest.MonkeyPatch) -> tuple[Taxonomy, list[str], list[list[str]]]:
    """1,600 documents: enough for one held-out part."""
    monkeypatch.setattr(Counting, "fits", [])
    taxonomy = Taxonomy(["pets", "cat", "dog"], [("pets", "cat"), ("pets", "dog")])
    rng = np.random.default_rng(0)
    labels = rng.choice(["cat", "dog"], 1_600).tolist()
    X = [f"{label} {' '.join(rng.choice(list('abcdefgh'), 3))} {i}" for i, label in enumerate(labels)]
    return taxonomy, X, [[label] for label in labels]


def test_without_refit_the_model_is_that_of_the_larger_part(
    tmp_path: Path, cats_and_dogs: tuple[Taxonomy, list[str], list[list[str]]]
) -> None:
    """What is saved and loaded scores alike."""
    taxonomy, X, y = cats_and_dogs
    once = Counting(taxonomy=taxonomy, refit=False, n_jobs=1).fit(X, y)
    assert Counting.fits == [1_360]
    assert once.score(X, y) > 0.99
    once.save(tmp_path / "model")
    again = HierarchicalClassifier.load(tmp_path / "model")
    assert again.predict_proba(X[:20]).tobytes() == once.predict_proba(X[:20]).tobytes()
    Counting(taxonomy=taxonomy, n_jobs=1).fit(X, y)
    assert Counting.fits[1:] == [1_360, 1_600]


def test_where_little_is_held_out_one_fit_is_enough(
    monkeypatch: pytest.MonkeyPatch, cats_and_dogs: tuple[Taxonomy, list[str], list[list[str]]]
) -> None:
    taxonomy, X, y = cats_and_dogs
    monkeypatch.setattr("hclf.folds.MOST_HELD_OUT", 16)
    model = Counting(taxonomy=taxonomy, n_jobs=1).fit(X, y)
    assert Counting.fits == [1_584]
    assert (model.report_["held_out"], model.report_["refit"]) == (16, False)
    Counting(taxonomy=taxonomy, refit=True, n_jobs=1).fit(X, y)
    assert Counting.fits[1:] == [1_584, 1_600]
    monkeypatch.setattr("hclf.folds.MOST_HELD_OUT", 17)
    assert Counting(taxonomy=taxonomy, n_jobs=1).fit(X, y).report_["refit"] is True
