"""Operating points: several ways to answer in one model, and answers held to a part of the taxonomy."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample, documents_about
from dags import Dag, dags
from hypothesis import given
from hypothesis import strategies as st

from hclf.bundle import read_manifest
from hclf.classifier import HierarchicalClassifier
from hclf.cli import main
from hclf.data import Document
from hclf.decoders import ThresholdDecoder, TopKDecoder, describe, tune_expected_f
from hclf.diagnostics import diagnose
from hclf.errors import BundleError, NotFittedError, UsageError
from hclf.fusion import sparse_scores
from hclf.guarantees import guarantee
from hclf.labels import is_closed, label_matrix, label_sets
from hclf.operating import OperatingPoint, new_point, permitted_nodes, promising_point
from hclf.safe_depth import SafeDepthDecoder
from hclf.taxonomy import Taxonomy
from hclf.thresholds import NEVER, Thresholds


@pytest.fixture(scope="module")
def many(zoo: Taxonomy) -> Sample:
    """Enough documents for a promise."""
    return documents_about(zoo, 300, seed=2)


@pytest.fixture
def model(pets: Sample) -> HierarchicalClassifier:
    """One that a test may change."""
    return HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)


@pytest.fixture
def audited(model: HierarchicalClassifier, more_pets: Sample) -> HierarchicalClassifier:
    return model.tune(more_pets.X, more_pets.y, name="audit", goal="precision>=0.99")


def assert_closed(taxonomy: Taxonomy, label_sets: list[tuple[str, ...]]) -> None:
    for labels in label_sets:
        assert labels == taxonomy.closure(labels)


# -- tune and ask ------------------------------------------------------------------------------------------------


def test_fit_makes_the_default_point_and_it_is_what_is_asked(
    model: HierarchicalClassifier, more_pets: Sample
) -> None:
    assert list(model.operating_points_) == ["default"]
    point = model.operating_points_["default"]
    assert (point.thresholds, point.decoder) == (model.thresholds_, model.decoder_)
    assert point.about == {"decoder_reason": model.decoder_reason_, "documents": model.report_["held_out"]}
    assert model.predict(more_pets.X, operating_point="default") == model.predict(more_pets.X)


def test_a_named_point_answers_its_own_way_and_leaves_the_default_alone(
    audited: HierarchicalClassifier, pets_model: HierarchicalClassifier, more_pets: Sample
) -> None:
    assert list(audited.operating_points_) == ["default", "audit"]
    assert audited.predict(more_pets.X) == pets_model.predict(more_pets.X)
    assert audited.report_ == pets_model.report_
    assert audited.goal == "hf"
    sure, usual = (audited.predict(more_pets.X, operating_point=name) for name in ("audit", "default"))
    assert all(set(few) <= set(many) for few, many in zip(sure, usual, strict=True))
    assert sum(map(len, sure)) < sum(map(len, usual))
    point = audited.operating_points_["audit"]
    assert (point.thresholds.goal, point.about["documents"]) == ("precision>=0.99", 30)
    found = audited.evaluate(more_pets.X, more_pets.y, operating_point="audit")
    assert found.metrics["hP"] == pytest.approx(point.thresholds.achieved)
    assert found.metrics["hP"] >= 0.99
    assert audited.score(more_pets.X, more_pets.y, operating_point="audit") == found.metrics["hF"]
    assert audited.score(more_pets.X, more_pets.y) != found.metrics["hF"]


def test_documents_are_predicted_at_a_point(audited: HierarchicalClassifier, more_pets: Sample) -> None:
    documents = [Document(str(i), {"text": text}) for i, text in enumerate(more_pets.X)]
    found = audited.predict_documents(documents, operating_point="audit")
    expected = audited.predict(more_pets.X, operating_point="audit")
    assert [tuple(node.id for node in prediction.labels) for prediction in found] == expected


def test_a_point_may_have_another_decoder(model: HierarchicalClassifier, pets: Sample, more_pets: Sample) -> None:
    model.tune(more_pets.X, more_pets.y, name="three", decoder="top-k", decoder_options={"k": 3})
    model.tune(more_pets.X, more_pets.y, name="path", decoder="path", goal="exact_match", search="grid")
    assert isinstance(model.decoder_, ThresholdDecoder)
    assert model.operating_points_["three"].decoder == TopKDecoder(3)
    taxonomy = more_pets.taxonomy
    for labels in model.predict(more_pets.X, operating_point="three"):
        assert len([node for node in taxonomy.most_specific(labels) if not taxonomy.descendants(node)[1:]]) == 3
    path = model.operating_points_["path"]
    assert (path.decoder_name, path.thresholds.goal, path.thresholds.search) == ("path", "exact_match", "grid")
    other = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1, decoder="path", goal="exact_match", search="grid")
    other.fit(pets.X, pets.y).tune(more_pets.X, more_pets.y)
    assert path.thresholds == other.thresholds_
    assert model.predict(more_pets.X, operating_point="path") == other.predict(more_pets.X)
    assert path.about["decoder_reason"] == "as asked"


@pytest.mark.parametrize(
    ("goal", "metric"),
    [("recall>=0.9", "hR"), ("precision>=0.9", "hP"), ("precision>=0.8 per level", None), ("cost:fp=1,fn=5", None)],
)
def test_every_goal_makes_a_point(
    goal: str, metric: str | None, model: HierarchicalClassifier, more_pets: Sample
) -> None:
    model.tune(more_pets.X, more_pets.y, name="point", goal=goal)
    point = model.operating_points_["point"]
    assert (point.thresholds.goal, point.decoder_name) == (goal, "threshold")
    found = model.evaluate(more_pets.X, more_pets.y, operating_point="point")
    if metric:
        assert found.metrics[metric] == pytest.approx(point.thresholds.achieved if metric == "hP" else 0.9, abs=0.1)
        assert found.metrics[metric] >= 0.9
    if "level" in goal:
        assert all(row["hP"] >= 0.8 for row in found.levels if row["predicted"])
    assert_closed(more_pets.taxonomy, model.predict(more_pets.X, operating_point="point"))


def test_nodes_may_have_thresholds_of_their_own(pets: Sample, many: Sample, tmp_path: Path) -> None:
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)
    model.tune(many.X, many.y, name="nodes", goal="precision>=0.8 per node")
    thresholds = model.operating_points_["nodes"].thresholds
    assert thresholds.nodes is not None
    scores = model.predict_proba(many.X)
    expected = scores >= thresholds.by_node(many.taxonomy).astype(np.float32)
    answers = model.predict(many.X, operating_point="nodes")
    assert (label_matrix(many.taxonomy, answers, closed=False).toarray() == expected).all()
    model.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model")
    assert loaded.operating_points_ == model.operating_points_
    assert loaded.predict(many.X, operating_point="nodes") == answers


@pytest.mark.parametrize(
    ("decoder", "options"),
    [
        ("expected-f", None),
        ("expected-f", {"single": 0.25}),
        ("leaf", None),
        ("safe-depth", None),
        ("threshold", {"at_most": [1, 2], "exclusive": ["animals"]}),
        ("threshold", {"exclusive": "all"}),
    ],
)
def test_every_decoder_makes_a_point_and_a_model(
    decoder: str, options: dict[str, Any] | None, pets: Sample, more_pets: Sample, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"decoder": decoder, "decoder_options": options}
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, **given).fit(pets.X, pets.y)
    model.tune(more_pets.X, more_pets.y, name="point", **given)
    assert model.decoder_reason_ == "as asked"
    model.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model")
    for name in ("default", "point"):
        answers = model.predict(more_pets.X, operating_point=name)
        assert any(answers)
        assert_closed(more_pets.taxonomy, answers)
        assert loaded.operating_points_[name].decoder == model.operating_points_[name].decoder
        assert loaded.predict(more_pets.X, operating_point=name) == answers
    loaded.tune(more_pets.X, more_pets.y)  # the default point with its own decoder
    assert loaded.operating_points_["default"].decoder == model.operating_points_["point"].decoder


def test_expected_f_is_chosen_on_held_out_documents_unless_options_are_given(
    model: HierarchicalClassifier, more_pets: Sample
) -> None:
    model.tune(more_pets.X, more_pets.y, name="chosen", decoder="expected-f")
    model.tune(more_pets.X, more_pets.y, name="given", decoder="expected-f", decoder_options={"single": 0.9})
    scores = sparse_scores(model.predict_proba(more_pets.X))
    best = tune_expected_f(more_pets.taxonomy, label_matrix(more_pets.taxonomy, more_pets.y), scores)
    assert model.operating_points_["chosen"].decoder == best
    assert model.operating_points_["chosen"].about["decoder_learned"] is True
    assert describe(model.operating_points_["given"].decoder)["single"] == 0.9
    with pytest.raises(UsageError, match="decoder 'expected-f' has no thresholds to tune for hf"):
        model.tune(more_pets.X, more_pets.y, decoder="expected-f", goal="hf")


def test_what_to_expect_on_new_documents_is_said(model: HierarchicalClassifier, more_pets: Sample) -> None:
    expected = model.report_["expected_on_new"]
    assert expected == model.thresholds_.expected
    assert 0 < expected <= model.thresholds_.achieved + 0.02
    model.tune(more_pets.X, more_pets.y)
    assert model.report_["expected_on_new"] == model.thresholds_.expected != expected


def test_a_point_is_tuned_as_the_parameters_say_unless_told_otherwise(pets: Sample, more_pets: Sample) -> None:
    options: dict[str, Any] = {"goal": "macro_f1", "search": "grid", "per_level": False}
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, **options).fit(pets.X, pets.y)
    model.tune(more_pets.X, more_pets.y, name="same")
    model.tune(more_pets.X, more_pets.y, name="other", goal="hf", search="exact", per_level=True)
    same, other = (model.operating_points_[name].thresholds for name in ("same", "other"))
    assert (same.goal, same.search, len(set(same.values))) == ("macro_f1", "grid", 1)
    assert (other.goal, other.search) == ("hf", "exact")
    reference = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)
    assert other == reference.tune(more_pets.X, more_pets.y).thresholds_
    fixed = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, thresholds=0.3).fit(pets.X, pets.y)
    fixed.tune(more_pets.X, more_pets.y, name="same").tune(more_pets.X, more_pets.y, name="hf", goal="hf")
    assert fixed.operating_points_["same"].thresholds.goal == "fixed"
    assert fixed.operating_points_["hf"].thresholds == other


def test_tuning_a_name_again_replaces_it(audited: HierarchicalClassifier, more_pets: Sample) -> None:
    before = audited.operating_points_
    audited.tune(more_pets.X[:20], more_pets.y[:20], name="audit", goal="hf", decoder="path")
    point = audited.operating_points_["audit"]
    assert list(audited.operating_points_) == ["default", "audit"]
    assert (point.thresholds.goal, point.decoder_name, point.about["documents"]) == ("hf", "path", 20)
    assert before["audit"].thresholds.goal == "precision>=0.99"  # who holds the old points keeps them


def test_fitting_forgets_points_and_updating_keeps_them(pets: Sample, more_pets: Sample) -> None:
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, scorer_options={"updatable": True})
    model.fit(pets.X, pets.y).tune(more_pets.X, more_pets.y, name="audit", goal="precision>=0.9")
    audit = model.operating_points_["audit"]
    model.partial_update(["cat purr"], [["cats"]])
    assert model.operating_points_["audit"] == audit
    model.tune(more_pets.X, more_pets.y)
    assert model.operating_points_["audit"] == audit
    assert list(model.fit(pets.X, pets.y).operating_points_) == ["default"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "au dit"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"goal": "hx"}, "unknown goal 'hx'"),
        ({"decoder": "pth"}, "did you mean 'path'"),
        ({"decoder": "path", "decoder_options": {"k": 2}}, "does not take k"),
        ({"decoder_options": {"k": 2}}, "decoder options need a decoder that is named"),
        ({"search": "gird"}, "search is exact or grid"),
    ],
)
def test_what_cannot_be_tuned_is_refused_and_changes_nothing(
    options: dict[str, Any], message: str, audited: HierarchicalClassifier, more_pets: Sample
) -> None:
    before = audited.operating_points_
    with pytest.raises(UsageError, match=message):
        audited.tune(more_pets.X, more_pets.y, **options)
    assert audited.operating_points_ == before


def test_a_flat_model_keeps_to_its_decoder(pets: Sample) -> None:
    flat = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, flat=True).fit(pets.X, pets.y)
    with pytest.raises(UsageError, match="a flat model has the threshold decoder only"):
        flat.tune(pets.X, pets.y, decoder="path")
    flat.tune(pets.X, pets.y, name="audit", goal="precision>=0.9", per_level=True)
    assert len(set(flat.operating_points_["audit"].thresholds.values)) == 1


def test_a_point_that_is_not_there_is_named_with_the_nearest(
    audited: HierarchicalClassifier, more_pets: Sample
) -> None:
    calls: list[Callable[..., Any]] = [audited.predict, audited.predict_documents]
    for call in calls:
        with pytest.raises(UsageError, match=r"no operating point 'audti'; did you mean 'audit'.*default, audit"):
            call([], operating_point="audti")
    for call in (audited.evaluate, audited.score):
        with pytest.raises(UsageError, match="no operating point 'x'; there are default, audit"):
            call(more_pets.X, more_pets.y, operating_point="x")


def test_points_need_a_fitted_model(pets: Sample) -> None:
    model = HierarchicalClassifier(taxonomy=pets.taxonomy)
    with pytest.raises(NotFittedError):
        model.tune(pets.X, pets.y, name="audit")
    with pytest.raises(NotFittedError):
        model.predict_documents([])
    assert not hasattr(model, "thresholds_")


def test_points_survive_saving(audited: HierarchicalClassifier, more_pets: Sample, tmp_path: Path) -> None:
    audited.tune(more_pets.X, more_pets.y, name="two", decoder="top-k", decoder_options={"k": 2})
    audited.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model")
    assert list(loaded.operating_points_) == ["default", "audit", "two"]
    assert loaded.operating_points_ == json_round_trip(audited.operating_points_)
    for name in loaded.operating_points_:
        assert loaded.predict(more_pets.X, operating_point=name) == audited.predict(more_pets.X, operating_point=name)


def json_round_trip(points: dict[str, OperatingPoint]) -> dict[str, OperatingPoint]:
    return {
        name: OperatingPoint.from_dict(name, json.loads(json.dumps(point.to_dict())))
        for name, point in points.items()
    }


# -- promises ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sure_model(pets: Sample, many: Sample) -> HierarchicalClassifier:
    """With points `sure` (precision .85) and `surer` (.92), not to be changed."""
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)
    model.tune(many.X, many.y, name="surer", goal="precision>=0.92", confidence=0.9)
    return model.tune(many.X, many.y, name="sure", goal="precision>=0.85", confidence=0.9)


def test_a_promise_makes_a_safe_depth_point(sure_model: HierarchicalClassifier, many: Sample) -> None:
    point = sure_model.operating_points_["sure"]
    promise = point.guarantee
    assert promise is not None
    assert promise.holds
    assert (promise.target, promise.confidence, promise.documents) == (0.85, 0.9, 300)
    assert (point.decoder_name, point.decoder) == ("safe-depth", promise.decoder)
    assert (point.thresholds.goal, point.about["documents"]) == ("precision>=0.85", 300)
    scores = sparse_scores(sure_model.predict_proba(many.X))
    true = label_matrix(many.taxonomy, many.y)
    assert promise == guarantee(many.taxonomy, true, scores, precision=0.85, confidence=0.9)
    answers = sure_model.predict(many.X, operating_point="sure")
    assert np.mean([bool(labels) for labels in answers]) == pytest.approx(promise.chosen.coverage)
    assert 0 < promise.chosen.coverage < 1


def test_what_is_promised_holds_on_new_documents(sure_model: HierarchicalClassifier, zoo: Taxonomy) -> None:
    """With 90 % confidence: of ten promises about one fails."""
    model, new = copy(sure_model), documents_about(zoo, 4000, seed=3)
    true, scores = label_matrix(zoo, new.y), model.predict_proba(new.X)
    failed = 0
    for seed in range(10):
        known = documents_about(zoo, 200, seed=100 + seed)
        model.tune(known.X, known.y, name="sure", goal="precision>=0.8", confidence=0.9)
        answered = model.operating_points_["sure"].decode(zoo, scores)
        assert answered.nnz
        failed += answered.multiply(true).nnz / answered.nnz < 0.8
    assert failed <= 2


def test_a_path_is_promised_where_documents_have_one_label(pets: Sample) -> None:
    one = Sample(pets.taxonomy, pets.X, [labels[:1] for labels in pets.y])
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(one.X, one.y)
    model.tune(one.X, one.y, name="sure", goal="precision>=0.7", confidence=0.9)
    model.tune(one.X, one.y, name="free", goal="precision>=0.7", confidence=0.9, decoder_options={"path": False})
    paths = {name: model.operating_points_[name].guarantee.path for name in ("sure", "free")}
    assert paths == {"sure": True, "free": False}


def test_promises_survive_saving(sure_model: HierarchicalClassifier, many: Sample, tmp_path: Path) -> None:
    sure_model.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model")
    assert loaded.operating_points_["sure"].guarantee == sure_model.operating_points_["sure"].guarantee
    assert loaded.predict(many.X, operating_point="sure") == sure_model.predict(many.X, operating_point="sure")


def test_an_update_voids_what_was_promised(pets: Sample, many: Sample) -> None:
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, scorer_options={"updatable": True})
    model.fit(pets.X, pets.y).tune(many.X, many.y, name="sure", goal="precision>=0.8", confidence=0.9)
    default, decoder = model.operating_points_["default"], model.operating_points_["sure"].decoder
    model.partial_update(["cat purr"], [["cats"]])
    point = model.operating_points_["sure"]
    assert (point.guarantee, point.decoder, point.about["void"]) == (
        None,
        decoder,
        "the model was updated afterwards",
    )
    assert model.operating_points_["default"] == default
    with pytest.raises(UsageError, match="no operating point promises"):
        model.triage([], 0.8)
    model.tune(many.X, many.y, name="sure", goal="precision>=0.8", confidence=0.9)
    assert model.operating_points_["sure"].guarantee
    assert "void" not in model.operating_points_["sure"].about


def test_a_safe_depth_point_without_promise_answers_at_the_scores_word(
    model: HierarchicalClassifier, more_pets: Sample
) -> None:
    model.tune(more_pets.X, more_pets.y, name="deep", decoder="safe-depth", goal="precision>=0.8")
    model.tune(more_pets.X, more_pets.y, name="own", decoder="safe-depth", decoder_options={"precision": 0.7})
    deep, own = (model.operating_points_[name] for name in ("deep", "own"))
    assert (deep.decoder, own.decoder) == (SafeDepthDecoder(0.8), SafeDepthDecoder(0.7))
    assert deep.guarantee is None


def test_a_promise_does_not_outlive_what_it_was_about(sure_model: HierarchicalClassifier, many: Sample) -> None:
    model = copy(sure_model)
    model.tune(many.X, many.y, goal="precision>=0.8", confidence=0.9)
    assert model.operating_points_["default"].guarantee
    model.tune(many.X[:50], many.y[:50], name="again").tune(many.X, many.y, calibrate=True)
    for point in (model.operating_points_["default"],):
        assert (point.guarantee, point.about["void"]) == (None, "tuned anew without a confidence")
        assert point.decoder_name == "safe-depth"
    with pytest.raises(UsageError, match="decoder 'safe-depth' has no thresholds to tune for hf"):
        model.tune(many.X, many.y, goal="hf")
    with pytest.raises(UsageError, match="decoder 'safe-depth' has no thresholds to tune for hf"):
        sure_model.tune(many.X, many.y, goal="hf", decoder="safe-depth", name="deep")


def test_an_examination_is_an_evaluation_and_what_a_report_shows(
    audited: HierarchicalClassifier, more_pets: Sample
) -> None:
    evaluation, found = audited.examine(more_pets.X, more_pets.y, operating_point="audit")
    assert evaluation == audited.evaluate(more_pets.X, more_pets.y, operating_point="audit")
    assert found.thresholds == audited.operating_points_["audit"].thresholds.values
    scores = sparse_scores(audited.predict_proba(more_pets.X))
    answers = label_matrix(more_pets.taxonomy, audited.predict(more_pets.X, operating_point="audit"))
    true = label_matrix(more_pets.taxonomy, more_pets.y)
    options = {"thresholds": found.thresholds, "train_counts": audited.counts_}
    assert found == diagnose(more_pets.taxonomy, true, answers, scores, **options)


def test_intervals_come_with_an_evaluation_where_they_are_asked_for(
    pets_model: HierarchicalClassifier, more_pets: Sample
) -> None:
    plain = pets_model.evaluate(more_pets.X, more_pets.y)
    found = pets_model.evaluate(more_pets.X, more_pets.y, intervals=50)
    assert not plain.intervals
    low, high = found.intervals["hF"][:2]
    assert low <= found.metrics["hF"] <= high
    assert found.metrics == plain.metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": "hf"}, "the goal is precision>=0.95 or the like, not 'hf'"),
        ({}, "the goal is precision>=0.95 or the like, not 'hf'"),
        ({"goal": "precision>=0.9", "decoder": "path"}, "is the decoder safe-depth, not 'path'"),
        ({"goal": "precision>=0.9", "confidence": 1.5}, "confidence lies between 0 and 1"),
        ({"goal": "precision>=0.9", "decoder_options": {"beta": 2}}, "does not take"),
        ({"goal": "precision>=0.9", "calibrate": True}, "calibrate on others, before"),
    ],
)
def test_a_promise_that_cannot_be_made_is_refused(
    options: dict[str, Any], message: str, audited: HierarchicalClassifier, more_pets: Sample
) -> None:
    before = audited.operating_points_
    with pytest.raises(UsageError, match=message):
        audited.tune(more_pets.X, more_pets.y, **{"confidence": 0.9, **options})
    assert audited.operating_points_ == before


def test_a_flat_model_promises_nothing(pets: Sample) -> None:
    flat = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, flat=True).fit(pets.X, pets.y)
    with pytest.raises(UsageError, match="a flat model"):
        flat.tune(pets.X, pets.y, goal="precision>=0.9", confidence=0.9)


def test_triage_gives_each_document_one_place(sure_model: HierarchicalClassifier, zoo: Taxonomy) -> None:
    new = documents_about(zoo, 40, seed=4)
    documents = [Document(str(i), {"text": text}) for i, text in enumerate([*new.X, ""])]
    found = list(sure_model.triage(documents, 0.85))
    assert [prediction.id for _, prediction in found] == [document.id for document in documents]
    sure, usual = (list(sure_model.predict_documents(documents, operating_point=n)) for n in ("sure", "default"))
    assert {is_sure for is_sure, _ in found} == {True, False}
    for (is_sure, prediction), answer, guess in zip(found, sure, usual, strict=True):
        assert is_sure == bool(answer.labels)
        if is_sure:
            assert prediction == answer
        elif guess.labels:
            assert prediction == guess
    assert found[-1][1].flags == ("empty-text",)
    assert found[-1][1].labels == ()


def test_where_no_point_answers_the_best_path_is_the_guess(
    sure_model: HierarchicalClassifier, more_pets: Sample
) -> None:
    documents = [Document(str(i), {"text": text}) for i, text in enumerate(more_pets.X)]
    model = copy(sure_model)
    never = replace(model.operating_points_["default"], name="never", thresholds=Thresholds((NEVER,) * 3))
    model.operating_points_ = {**model.operating_points_, "never": never}
    guesses = [prediction for sure, prediction in model.triage(documents, 0.85, guess="never") if not sure]
    assert guesses
    for prediction in guesses:
        assert len(prediction.leaves) == 1
        assert not more_pets.taxonomy.descendants(prediction.leaves[0])[1:]


def test_triage_takes_the_loosest_promise_that_is_enough(sure_model: HierarchicalClassifier, many: Sample) -> None:
    documents = [Document(str(i), {"text": text}) for i, text in enumerate(many.X)]

    def answered(precision: float) -> list[bool]:
        return [sure for sure, _ in sure_model.triage(documents, precision)]

    by_point = {
        name: [bool(labels) for labels in sure_model.predict(many.X, operating_point=name)]
        for name in ("sure", "surer")
    }
    assert by_point["sure"] != by_point["surer"]
    assert answered(0.7) == answered(0.85) == by_point["sure"]
    assert answered(0.86) == answered(0.92) == by_point["surer"]
    with pytest.raises(UsageError, match=r"promises a precision of 0.95; make one: hclf tune .*'precision>=0.95'"):
        sure_model.triage(documents, 0.95)
    with pytest.raises(UsageError, match="no operating point 'x'"):
        sure_model.triage(documents, 0.8, guess="x")


def test_a_promise_kept_by_silence_comes_last(sure_model: HierarchicalClassifier, many: Sample) -> None:
    model = copy(sure_model)
    model.tune(many.X[:15], many.y[:15], name="silent", goal="precision>=0.88", confidence=0.99)
    promise = model.operating_points_["silent"].guarantee
    assert promise is not None
    assert not promise.holds
    assert model.predict(many.X, operating_point="silent") == [()] * 300
    documents = [Document(str(i), {"text": text}) for i, text in enumerate(many.X)]
    assert any(sure for sure, _ in model.triage(documents, 0.88))  # at .92
    points = {"silent": model.operating_points_["silent"]}
    assert promising_point(points, 0.88) is points["silent"]


# -- calibration ---------------------------------------------------------------------------------------------------


def test_calibrated_scores_are_coherent_and_saved(
    pets_model: HierarchicalClassifier, many: Sample, tmp_path: Path
) -> None:
    assert pets_model.level_calibration_ is not None
    scores = pets_model.predict_proba(many.X)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert many.taxonomy.violations(scores).sum() == 0
    pets_model.save(tmp_path / "model")
    assert HierarchicalClassifier.load(tmp_path / "model").predict_proba(many.X).tobytes() == scores.tobytes()


def test_fit_calibrates_what_is_coherent_on_held_out_documents(many: Sample) -> None:
    plain, calibrated = (
        HierarchicalClassifier(taxonomy=many.taxonomy, n_jobs=1, calibrate=how).fit(many.X, many.y)
        for how in ("none", "platt")
    )
    assert plain.level_calibration_ is None
    assert {level.method for level in calibrated.level_calibration_.maps} <= {"platt", "identity"}
    assert calibrated.level_calibration_.report["documents"] == 300
    new = documents_about(many.taxonomy, 200, seed=5)
    before, after = plain.predict_proba(new.X), calibrated.predict_proba(new.X)
    assert (before != after).any()
    assert (calibrated.level_calibration_.apply(before) == after).all()
    truth = label_matrix(many.taxonomy, new.y).toarray()

    def loss(scores: np.ndarray) -> float:
        return float(-np.log(np.clip(np.where(truth, scores, 1 - scores), 1e-6, 1)).mean())

    assert loss(after) < loss(before) + 0.005


def test_nodes_without_documents_are_calibrated_as_their_level(many: Sample) -> None:
    """No held-out document can carry them: that says nothing against their names."""
    model = HierarchicalClassifier(taxonomy=many.taxonomy, n_jobs=1, scorer_options={"matching": True})
    model.fit(many.X, many.y)
    unseen = many.taxonomy.index("unseen")
    offsets = np.zeros(len(many.taxonomy))
    kept = model.level_calibration_.to_dict()["offsets"]
    offsets[kept["columns"]] = kept["values"]
    assert model.counts_[unseen] == 0
    assert offsets[unseen] == 0
    assert (offsets[model.counts_ > 0] != 0).any()
    named = model.predict_proba(["unseen"])[0, unseen]
    assert named > model.predict_proba(many.X[:50])[:, unseen].max()


def test_tune_may_calibrate_anew_and_drops_what_rested_on_the_old_scores(
    audited: HierarchicalClassifier, many: Sample
) -> None:
    before, plain = audited.predict_proba(many.X[:30]), audited.level_calibration_
    with pytest.raises(UsageError, match="tune the default one with it"):
        audited.tune(many.X, many.y, name="audit", calibrate=True)
    with pytest.raises(UsageError, match="search"):
        audited.tune(many.X, many.y, search="gird", calibrate=True)
    assert list(audited.operating_points_) == ["default", "audit"]
    assert audited.level_calibration_ is plain
    assert (audited.predict_proba(many.X[:30]) == before).all()
    audited.tune(many.X, many.y, calibrate=True)
    assert list(audited.operating_points_) == ["default"]
    assert audited.level_calibration_ is not plain
    assert audited.level_calibration_.report["documents"] == 300
    assert (audited.predict_proba(many.X[:30]) != before).any()
    assert audited.predict(many.X)


def test_held_out_scores_are_not_calibrated_by_an_earlier_fit(pets: Sample, many: Sample) -> None:
    fresh = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)
    again = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(many.X, many.y).fit(pets.X, pets.y)
    assert fresh.level_calibration_.to_dict() == again.level_calibration_.to_dict()
    assert fresh.operating_points_ == again.operating_points_


def test_a_flat_model_is_not_calibrated(pets: Sample) -> None:
    flat = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, flat=True).fit(pets.X, pets.y)
    assert flat.level_calibration_ is None


# -- a point on its own --------------------------------------------------------------------------------------------


@st.composite
def scored(draw: st.DrawFn) -> tuple[Dag, np.ndarray]:
    """A DAG and coherent scores of three documents."""
    dag = draw(dags())
    taxonomy = dag.taxonomy
    values = st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), min_size=len(taxonomy), max_size=len(taxonomy))
    raw = np.array(draw(st.lists(values, min_size=3, max_size=3)), dtype=np.float32)
    return dag, taxonomy.coherent(raw)


DECODERS = [("threshold", {}), ("path", {}), ("path", {"to_leaf": True}), ("top-k", {"k": 2})]


def point_of(taxonomy: Taxonomy, name: str, options: dict[str, Any], threshold: float = 0.5) -> OperatingPoint:
    thresholds = Thresholds((threshold,) * taxonomy.depth)
    return replace(new_point("p", name, options, "as asked"), thresholds=thresholds)


@given(scored(), st.sampled_from(DECODERS[:2]))
def test_candidates_are_the_scores_of_what_the_decoder_selects(
    problem: tuple[Dag, np.ndarray], decoder: tuple[str, dict[str, Any]]
) -> None:
    dag, scores = problem
    taxonomy = dag.taxonomy
    point = point_of(taxonomy, *decoder)
    expected = np.where(point.decoder.select(taxonomy, scores), scores, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hclf.operating.NUMBERS_AT_A_TIME", 2 * len(taxonomy))  # two documents, then one
        found = point.candidates(taxonomy, sparse_scores(scores))
    assert (found.toarray() == expected).all()
    assert point.candidates(taxonomy, sparse_scores(scores[:0])).shape == (0, len(taxonomy))


# -- allow and deny ------------------------------------------------------------------------------------------------


def permitted_by_sets(dag: Dag, allow: list[str] | None, deny: list[str] | None) -> set[str]:
    """Node by node, as the documentation says it."""

    def within(node: str, roots: list[str]) -> bool:
        return node in roots or bool(dag.above(node) & set(roots))

    inside = {node for node in dag.ids if allow is None or within(node, allow)}
    inside -= {node for node in dag.ids if deny is not None and within(node, deny)}
    return inside | {above for node in inside for above in dag.above(node)}


@st.composite
def restricted(draw: st.DrawFn) -> tuple[Dag, np.ndarray, list[str] | None, list[str] | None]:
    dag, scores = draw(scored())
    some = st.none() | st.lists(st.sampled_from(dag.ids), max_size=3)
    return dag, scores, draw(some), draw(some)


@given(restricted(), st.sampled_from(DECODERS), st.sampled_from([0.0, 0.5]))
def test_answers_keep_to_what_is_permitted_and_are_closed(
    problem: tuple[Dag, np.ndarray, list[str] | None, list[str] | None],
    decoder: tuple[str, dict[str, Any]],
    threshold: float,
) -> None:
    dag, scores, allow, deny = problem
    taxonomy = dag.taxonomy
    expected = permitted_by_sets(dag, allow, deny)
    if not expected:
        with pytest.raises(UsageError, match="no node"):
            permitted_nodes(taxonomy, allow, deny)
        return
    permitted = permitted_nodes(taxonomy, allow, deny)
    assert (permitted is None) == (allow is None and deny is None)
    if permitted is None:
        return
    assert {node for node, may in zip(taxonomy.nodes, permitted, strict=True) if may} == expected
    if deny is not None:
        assert not expected & set(deny)
    point = point_of(taxonomy, *decoder, threshold)
    Y = point.decode(taxonomy, scores, permitted)
    assert is_closed(taxonomy, Y).all()
    assert all(set(labels) <= expected for labels in label_sets(taxonomy, Y))
    if decoder[0] == "threshold":  # nothing else is taken away
        free = label_sets(taxonomy, point.decode(taxonomy, scores))  # what scores 0 is out in any case
        assert [set(s) for s in label_sets(taxonomy, Y)] == [set(labels) & expected for labels in free]


def test_a_path_goes_round_what_is_denied(zoo: Taxonomy) -> None:
    scores = np.zeros((1, len(zoo)), dtype=np.float32)
    for node, score in {"animals": 0.9, "cats": 0.8, "siamese": 0.8, "dogs": 0.6, "machines": 0.7}.items():
        scores[0, zoo.index(node)] = score
    point = point_of(zoo, "path", {})

    def answer(**lists: list[str]) -> tuple[str, ...]:
        permitted = permitted_nodes(zoo, lists.get("allow"), lists.get("deny"))
        return label_sets(zoo, point.decode(zoo, scores, permitted))[0]

    assert answer() == ("animals", "cats", "siamese")
    assert answer(deny=["siamese"]) == ("animals", "cats")
    assert answer(deny=["cats"]) == answer(deny=["Cats"]) == ("animals", "dogs")
    assert answer(deny=["animals"]) == ("machines",)
    assert answer(allow=["Animals > Dogs"]) == ("animals", "dogs")
    assert answer(allow=["animals"], deny=["cats"]) == ("animals", "dogs")
    assert answer(allow=["cars"]) == ("machines",)


def test_one_denied_parent_denies_a_node_of_two(zoo: Taxonomy) -> None:
    """`robodogs` is below dogs and robots."""
    robodogs = zoo.index("robodogs")
    assert not permitted_nodes(zoo, None, ["robots"])[robodogs]
    assert not permitted_nodes(zoo, ["dogs"], ["robots"])[robodogs]
    both = permitted_nodes(zoo, ["dogs"], None)
    assert {node for node, may in zip(zoo.nodes, both, strict=True) if may} == {
        "animals",
        "dogs",
        "robodogs",
        "robots",
        "machines",
    }


def test_predict_takes_lists_of_nodes(pets_model: HierarchicalClassifier, more_pets: Sample) -> None:
    free = pets_model.predict(more_pets.X)
    without = pets_model.predict(more_pets.X, deny=["Dogs", "machines"])
    assert without == [tuple(n for n in labels if n in ("animals", "cats", "siamese")) for labels in free]
    assert any("dogs" in labels for labels in free)
    documents = [Document(str(i), {"text": text}) for i, text in enumerate(more_pets.X)]
    found = list(pets_model.predict_documents(documents, deny=["Dogs", "machines"]))
    assert [tuple(node.id for node in prediction.labels) for prediction in found] == without
    scores = pets_model.predict_proba(more_pets.X)
    for i, prediction in enumerate(found):  # scores shown are those of the model
        assert [node.score for node in prediction.labels] == [
            scores[i, more_pets.taxonomy.index(node.id)] for node in prediction.labels
        ]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"allow": ["dgos"]}, "allow: unknown label 'dgos'; did you mean 'dogs'"),
        ({"deny": ["dgos"]}, "deny: unknown label 'dgos'"),
        ({"allow": "dogs"}, "allow is a list of nodes, not one string"),
        ({"allow": []}, "allow is an empty list"),
        ({"allow": ["dogs"], "deny": ["animals"]}, "leave no node"),
        ({"deny": ["animals", "machines"]}, "leave no node"),
    ],
)
def test_lists_that_will_not_do_are_refused_at_once(
    lists: dict[str, Any], message: str, pets_model: HierarchicalClassifier
) -> None:
    calls: list[Callable[..., Any]] = [pets_model.predict, pets_model.predict_documents]
    for call in calls:
        with pytest.raises(UsageError, match=message):
            call([], **lists)


# -- on the command line -------------------------------------------------------------------------------------------


class Shop:
    """A saved model with files beside it."""

    def __init__(self, folder: Path, model: HierarchicalClassifier, sample: Sample) -> None:
        self.folder, self.model = folder, folder / "model"
        model.save(self.model)
        self.data = folder / "data.jsonl"
        rows = [
            {"id": str(i), "text": x, "labels": y} for i, (x, y) in enumerate(zip(sample.X, sample.y, strict=True))
        ]
        self.data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def shop(model: HierarchicalClassifier, more_pets: Sample, tmp_path: Path) -> Shop:
    return Shop(tmp_path, model, more_pets)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as raised:
        main([str(a) for a in arguments])
    return int(raised.value.code or 0)


def json_lines(text: str, key: str = "labels") -> dict[str, Any]:
    """Record id -> the node ids of its labels, or the value of another key."""
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["id"]: tuple(node["id"] for node in row[key]) if key == "labels" else row[key] for row in rows}


def labels_in(file: Path) -> dict[str, tuple[str, ...]]:
    return json_lines(file.read_text())


def test_a_point_is_tuned_shown_and_used(
    shop: Shop, audited: HierarchicalClassifier, more_pets: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", shop.model, shop.data, "--name", "audit", "--goal", "precision>=0.99", "-f") == 0
    assert "operating point audit: precision>=0.99 on 30 documents, 1.000 reached" in capsys.readouterr().err
    loaded = HierarchicalClassifier.load(shop.model)
    assert loaded.operating_points_ == json_round_trip(audited.operating_points_)
    assert run("inspect", shop.model) == 0
    shown = capsys.readouterr().out
    assert "point default" in shown
    assert "point audit" in shown
    out = shop.folder / "out.jsonl"
    assert run("predict", shop.model, shop.data, "-o", out, "--operating-point", "audit") == 0
    expected = audited.predict(more_pets.X, operating_point="audit")
    assert list(labels_in(out).values()) == expected
    assert run("evaluate", shop.model, shop.data, "--operating-point", "audit", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["hF"] == audited.score(more_pets.X, more_pets.y, operating_point="audit")
    assert run("predict", shop.model, shop.data, "--operating-point", "audti") == 2
    assert "no operating point 'audti'; did you mean 'audit'?" in capsys.readouterr().err


def test_a_point_with_another_decoder_by_command(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("tune", shop.model, shop.data, "--name", "two", "--decoder", "top-k", "--k", 2, "-f", "--json")
    assert run(*arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["operating_point"], said["decoder"], said["goal"]) == ("two", "top-k", "none")
    assert read_manifest(shop.model)["operating_points"]["two"]["decoder"] == {"name": "top-k", "k": 2}
    assert run("predict", shop.model, shop.data, "--operating-point", "two", "--show", 1) == 0
    assert run("inspect", shop.model) == 0
    assert "decoder top-k, k 2 (as asked)" in " ".join(capsys.readouterr().out.split())


def test_options_of_decoders_by_command(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    tune = ("tune", shop.model, shop.data, "--name", "few", "-f", "--decoder", "threshold", "--decoder-option")
    assert run(*tune, "at_most=[1, 2]", "--decoder-option", "exclusive=all") == 0
    kept = read_manifest(shop.model)["operating_points"]["few"]["decoder"]
    assert kept == {"name": "threshold", "at_most": [1, 2], "exclusive": "all"}
    for wrong in ("at_most", "at_most=[1"):
        assert run(*tune, wrong) == 2
        assert "is not NAME=VALUE" in capsys.readouterr().err
    assert run(*tune, "at-least=3") == 2
    assert "decoder 'threshold' does not take at_least" in capsys.readouterr().err
    assert run(*tune[:-2], "expected-f") == 0
    assert "no thresholds; decoder expected-f" in capsys.readouterr().err


def test_a_goal_a_node_by_command(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tune", shop.model, shop.data, "-f", "--name", "n", "--goal", "precision>=0.5 per node") == 0
    assert "by level, and nodes have their own" in capsys.readouterr().err
    assert run("tune", shop.model, shop.data, "-f", "--name", "n") == 0
    assert "operating point n: hf on 30 documents" in capsys.readouterr().err


def test_lists_by_command(shop: Shop, model: HierarchicalClassifier, more_pets: Sample) -> None:
    out = shop.folder / "out.jsonl"
    arguments = ("--allow", "animals", "--allow", "Cars", "--deny", "Animals > Dogs")
    assert run("predict", shop.model, shop.data, "-o", out, *arguments) == 0
    expected = model.predict(more_pets.X, allow=["animals", "cars"], deny=["dogs"])
    assert list(labels_in(out).values()) == expected
    assert expected != model.predict(more_pets.X)


def test_a_node_that_is_not_there_leaves_no_file(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    out = shop.folder / "out.jsonl"
    assert run("predict", shop.model, shop.data, "-o", out, "--deny", "dgos") == 2
    assert "deny: unknown label 'dgos'; did you mean 'dogs'?" in capsys.readouterr().err
    assert not out.exists()


def test_a_bundle_with_odd_points_is_damaged(shop: Shop) -> None:
    from test_bundle import change_manifest

    whole = read_manifest(shop.model)["operating_points"]
    default = whole["default"]
    few = {**default["thresholds"], "values": [0.5]}
    odd = [
        {"about": {}},
        {"about": {"decoder_reason": "", "guarantee": -7}},
        {"about": None},
        {"thresholds": few},
        {"thresholds": {**few, "values": None}},
        {"decoder": {"name": "threshold", "exclusive": ["nowhere"]}},
        {"decoder": {"name": "tresholds"}},
    ]
    harms = [{"o p": default}, {"p": {}}, {"p": None}, {"p": default}, *({"default": {**default, **o}} for o in odd)]
    for harm in (*harms, []):
        change_manifest(shop.model, lambda m, harm=harm: m.update(operating_points=harm))
        with pytest.raises(BundleError, match="damaged"):
            HierarchicalClassifier.load(shop.model)
    change_manifest(shop.model, lambda m: m.update(operating_points=whole))
    assert HierarchicalClassifier.load(shop.model)


def test_two_files_by_command(
    shop: Shop, sure_model: HierarchicalClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    sure_model.save(shop.model, force=True)
    out, review = shop.folder / "out.jsonl.gz", shop.folder / "out.review.jsonl.gz"
    assert run("predict", shop.model, shop.data, "-o", out, "--auto-precision", 0.85) == 0
    said = capsys.readouterr().err
    answers, guesses = (json_lines(gzip.decompress(file.read_bytes()).decode()) for file in (out, review))
    assert f"{len(answers)} documents ({len(answers) / 30:.1%}) answered: {out}" in said
    assert f"{len(guesses)} documents to review, with best guesses: {review}" in said
    assert sorted([*answers, *guesses], key=int) == [str(i) for i in range(30)]
    assert answers
    assert guesses
    assert all([*answers.values(), *guesses.values()])
    texts = list(json_lines(shop.data.read_text(), "text").values())
    sure = sure_model.predict(texts, operating_point="sure")
    assert answers == {str(i): labels for i, labels in enumerate(sure) if labels}
    assert run("predict", shop.model, shop.data, "-o", out, "--auto-precision", 0.85) == 2
    assert "out.jsonl.gz exists" in capsys.readouterr().err
    out.unlink()
    assert run("predict", shop.model, shop.data, "-o", out, "--auto-precision", 0.85) == 2
    assert "out.review.jsonl.gz exists" in capsys.readouterr().err
    assert run("inspect", shop.model) == 0
    assert "chosen to promise it with 90% confidence" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "out.jsonl", "--auto-precision", 0.98), r"make one: hclf tune MODEL DATA .*precision>=0\.98"),
        (("--auto-precision", 0.8), "two files: name one with -o"),
        (
            ("-o", "out.jsonl", "--auto-precision", 0.8, "--deny", "cats"),
            "goes with none of --show, --allow, --deny",
        ),
        (("-o", "out.jsonl", "--auto-precision", 0.8, "--show", 1), "goes with none of --show, --allow, --deny"),
    ],
)
def test_two_files_that_cannot_be_written(
    arguments: tuple[Any, ...],
    message: str,
    shop: Shop,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(shop.folder)
    assert run("predict", shop.model, shop.data, *arguments) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert len(said.splitlines()) == 1
    assert not list(shop.folder.glob("*out*"))


def test_a_promise_by_command(
    shop: Shop, model: HierarchicalClassifier, many: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Shop(shop.folder / "more", model, many).data
    sure = ("--name", "sure", "--goal", "precision>=0.8", "--confidence", 0.9, "-f")
    assert run("tune", shop.model, data, *sure) == 0
    said = capsys.readouterr().err
    promise = HierarchicalClassifier.load(shop.model).operating_points_["sure"].guarantee
    assert promise is not None
    assert promise.holds
    assert promise.summary in said
    assert run("tune", shop.model, shop.data, "--name", "none", "--goal", "precision>=0.99", *sure[4:]) == 0
    assert "cannot be promised from 30 documents: every answer is unknown" in capsys.readouterr().err
    assert run("tune", shop.model, shop.data, "--name", "none", "--goal", "hf", *sure[4:]) == 2
    assert "a guarantee is of a precision" in capsys.readouterr().err


def test_scores_are_calibrated_by_command(shop: Shop, tmp_path: Path) -> None:
    before = read_manifest(shop.model)["level_calibration"]
    assert run("tune", shop.model, shop.data, "--calibrate", "-o", tmp_path / "new") == 0
    after = read_manifest(tmp_path / "new")["level_calibration"]
    assert (before["report"]["documents"], after["report"]["documents"]) == (60, 30)
