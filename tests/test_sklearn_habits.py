"""The classifier among scikit-learn's tools: clone, parameters, cross-validation, pipelines, grid search."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted

import hclf
from hclf.classifier import HierarchicalClassifier
from hclf.errors import NotFittedError, UsageError
from hclf.labels import label_matrix


def small(pets: Sample, **options: Any) -> HierarchicalClassifier:
    return HierarchicalClassifier(**{"taxonomy": pets.taxonomy, "n_jobs": 1, **options})


def shout(texts: list[str]) -> list[str]:
    return [text.upper() + "!!!" for text in texts]


def strip_noise(texts: list[str]) -> list[str]:
    return [text.replace("the new offer", " ") for text in texts]


# -- parameters --------------------------------------------------------------------------------------------------


def test_the_constructor_stores_what_it_is_given_and_nothing_else(pets: Sample) -> None:
    parameters = inspect.signature(HierarchicalClassifier.__init__).parameters
    given = {name: object() for name in parameters if name != "self"}
    model = HierarchicalClassifier(**given)
    assert vars(model) == given
    assert model.get_params(deep=False) == given
    assert all(p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name != "self")


def test_parameters_are_set_by_name_and_unknown_ones_refused(pets: Sample) -> None:
    model = small(pets)
    assert model.set_params(goal="macro_f1", seed=7) is model
    assert (model.goal, model.seed) == ("macro_f1", 7)
    with pytest.raises(ValueError, match="goals"):
        model.set_params(goals="hf")
    assert "goal='macro_f1'" in repr(model)


def test_a_clone_has_the_parameters_and_is_not_fitted(pets: Sample, pets_model: HierarchicalClassifier) -> None:
    twin = clone(pets_model)
    assert twin.get_params() == pets_model.get_params()
    assert twin.taxonomy is pets_model.taxonomy  # immutable: shared
    with pytest.raises(NotFittedError):
        twin.predict(pets.X)
    options = {
        "scorer_options": {"C": 0.5},
        "thresholds": [0.2, 0.3],
        "decoder_options": {"k": 2},
        "decoder": "top-k",
    }
    assert clone(small(pets, **options)).get_params() == small(pets, **options).get_params()


def test_a_clone_fits_to_the_same_model(pets: Sample, more_pets: Sample, pets_model: HierarchicalClassifier) -> None:
    again = clone(pets_model).fit(pets.X, pets.y)
    assert again.predict_proba(more_pets.X).tobytes() == pets_model.predict_proba(more_pets.X).tobytes()


def test_fit_returns_itself_and_sets_what_ends_in_an_underscore(pets: Sample) -> None:
    model = small(pets)
    assert model.fit(pets.X, pets.y) is model
    learned = {name for name in vars(model) if name.endswith("_")}
    assert learned == {"taxonomy_", "classes_", "operating_points_", "counts_", "report_"}
    calibrations = {f"{kind}calibration_" for kind in ("", "candidate_", "level_")}
    assert all(
        hasattr(model, name) for name in ("scorer_", "thresholds_", "decoder_", "decoder_reason_", *calibrations)
    )
    assert set(model.get_params()) == {name for name in vars(model) if not name.endswith("_") and name[0] != "_"}


def test_fitting_leaves_the_parameters_and_the_data_alone(pets: Sample) -> None:
    options = {"C": 0.5}
    model = small(pets, scorer_options=options, taxonomy="products")
    before, X, y = copy.deepcopy(model.get_params()), list(pets.X), [list(labels) for labels in pets.y]
    model.set_params(taxonomy=pets.taxonomy).fit(X, y)
    assert {**model.get_params(), "taxonomy": "products"} == before
    assert X == pets.X
    assert [tuple(labels) for labels in y] == pets.y
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(60, 4))
    matrix[0, 0] = np.nan
    numbers, sparse = matrix.copy(), csr_matrix(matrix)
    small(pets).fit(matrix, pets.y)
    small(pets).fit(sparse, pets.y)
    assert np.array_equal(matrix, numbers, equal_nan=True)
    assert np.array_equal(sparse.toarray(), numbers, equal_nan=True)


def test_scikit_learn_sees_whether_it_is_fitted(pets: Sample, pets_model: HierarchicalClassifier) -> None:
    check_is_fitted(pets_model)
    with pytest.raises(Exception, match="not fitted yet"):
        check_is_fitted(small(pets))


def test_a_fitted_model_can_be_copied_and_pickled(pets_model: HierarchicalClassifier, more_pets: Sample) -> None:
    """joblib sends models to other processes by pickle; the bundle is the form to keep."""
    for twin in (copy.deepcopy(pets_model), pickle.loads(pickle.dumps(pets_model))):
        assert twin.predict_proba(more_pets.X).tobytes() == pets_model.predict_proba(more_pets.X).tobytes()
        assert twin.predict(more_pets.X) == pets_model.predict(more_pets.X)


# -- cross-validation --------------------------------------------------------------------------------------------


def by_hand(pets: Sample, folds: KFold, **options: Any) -> list[float]:
    """Micro hF of each fold."""
    found = []
    for train, test in folds.split(pets.X):
        model = small(pets, **options).fit([pets.X[i] for i in train], [pets.y[i] for i in train])
        found.append(model.score([pets.X[i] for i in test], [pets.y[i] for i in test]))
    return found


def test_cross_validation_with_and_without_a_scorer(pets: Sample) -> None:
    folds = KFold(2)
    expected = by_hand(pets, folds)
    assert all(0.3 < value < 1 for value in expected)
    for scoring in (None, hclf.hf_scorer):
        found = cross_val_score(small(pets), pets.X, pets.y, cv=folds, scoring=scoring, error_score="raise")
        assert found.tolist() == pytest.approx(expected)


def test_cross_validation_of_the_example_average(pets: Sample) -> None:
    scoring = functools.partial(hclf.hf_scorer, average="example")
    micro, example = (
        cross_val_score(small(pets), pets.X, pets.y, cv=KFold(2), scoring=s, error_score="raise")
        for s in (hclf.hf_scorer, scoring)
    )
    assert (micro != example).all()


def test_labels_may_be_an_indicator_in_cross_validation(pets: Sample) -> None:
    expected = cross_val_score(small(pets), pets.X, pets.y, cv=KFold(2), error_score="raise")
    y = label_matrix(pets.taxonomy, pets.y).toarray()  # scikit-learn takes no sparse y here
    assert cross_val_score(small(pets), pets.X, y, cv=KFold(2), error_score="raise") == pytest.approx(expected)


@pytest.mark.slow
def test_cross_validation_in_two_processes(pets: Sample) -> None:
    one, two = (
        cross_val_score(small(pets), pets.X, pets.y, cv=KFold(2), n_jobs=jobs, error_score="raise") for jobs in (1, 2)
    )
    assert one.tolist() == two.tolist()


def test_train_test_split_takes_texts_and_label_sets(pets: Sample) -> None:
    X_train, X_test, y_train, y_test = train_test_split(pets.X, pets.y, test_size=0.3, random_state=0)
    assert 0.3 < small(pets).fit(X_train, y_train).score(X_test, y_test) <= 1


# -- pipelines and searches --------------------------------------------------------------------------------------


def test_a_pipeline_cleans_texts_first(pets: Sample, more_pets: Sample) -> None:
    pipeline = make_pipeline(FunctionTransformer(strip_noise), FunctionTransformer(shout), small(pets))
    pipeline.fit(pets.X, pets.y)
    alone = small(pets).fit(shout(strip_noise(pets.X)), pets.y)
    cleaned = shout(strip_noise(more_pets.X))
    assert pipeline.predict(more_pets.X) == alone.predict(cleaned)
    assert (pipeline.predict_proba(more_pets.X) == alone.predict_proba(cleaned)).all()
    assert pipeline.score(more_pets.X, more_pets.y) == alone.score(cleaned, more_pets.y)
    assert pipeline.classes_.tolist() == list(pets.taxonomy.nodes)


def test_a_pipeline_of_numbers(pets: Sample) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) + 4 * label_matrix(pets.taxonomy, pets.y).toarray()[:, :3]
    pipeline = make_pipeline(StandardScaler(), small(pets)).fit(X, pets.y)
    assert pipeline.score(X, pets.y) > 0.6


def test_pipelines_cross_validate(pets: Sample) -> None:
    pipeline = make_pipeline(FunctionTransformer(strip_noise), small(pets))
    found = cross_val_score(pipeline, pets.X, pets.y, cv=KFold(2), error_score="raise")
    cleaned = Sample(pets.taxonomy, strip_noise(pets.X), pets.y)
    assert found.tolist() == pytest.approx(by_hand(cleaned, KFold(2)))


def test_pipelines_cross_validate_with_the_scorer(pets: Sample) -> None:
    pipeline = make_pipeline(FunctionTransformer(strip_noise), small(pets))
    plain = cross_val_score(pipeline, pets.X, pets.y, cv=KFold(2), error_score="raise")
    found = cross_val_score(pipeline, pets.X, pets.y, cv=KFold(2), scoring=hclf.hf_scorer, error_score="raise")
    assert found.tolist() == plain.tolist()


@pytest.mark.slow
def test_a_grid_search_over_goals_finds_the_best_and_refits_it(pets: Sample, more_pets: Sample) -> None:
    grid = {"goal": ["hf", "precision>=0.99"], "seed": [0]}
    search = GridSearchCV(small(pets), grid, cv=KFold(2), scoring=hclf.hf_scorer, error_score="raise")
    search.fit(pets.X, pets.y)
    means = [np.mean(by_hand(pets, KFold(2), goal=goal)) for goal in grid["goal"]]
    assert search.cv_results_["mean_test_score"].tolist() == pytest.approx(means)
    assert search.best_params_["goal"] == grid["goal"][int(np.argmax(means))]
    best = small(pets, **search.best_params_).fit(pets.X, pets.y)
    assert search.predict(more_pets.X) == best.predict(more_pets.X)
    assert search.best_estimator_.thresholds_ == best.thresholds_


@pytest.mark.slow
def test_a_grid_search_reaches_into_a_pipeline(pets: Sample) -> None:
    pipeline = Pipeline([("clean", FunctionTransformer(strip_noise)), ("classify", small(pets))])
    grid = {"classify__per_level": [True, False], "classify__scorer_options": [{"C": 0.1}, {"C": 1.0}]}
    search = GridSearchCV(pipeline, grid, cv=KFold(2), error_score="raise").fit(pets.X, pets.y)
    assert set(search.best_params_) == set(grid)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max() > 0.3


def test_a_search_over_a_wrong_value_says_so(pets: Sample) -> None:
    search = GridSearchCV(small(pets), {"goal": ["f1"]}, cv=KFold(2), error_score="raise")
    with pytest.raises(UsageError, match="unknown goal 'f1'"):
        search.fit(pets.X, pets.y)


def test_the_hierarchy_beats_a_constant_answer(pets: Sample, more_pets: Sample) -> None:
    """A floor that scikit-learn's own baseline sets, on the same labels and by the same measure."""
    constant = DummyClassifier(strategy="prior").fit(pets.X, label_matrix(pets.taxonomy, pets.y).toarray())
    constant.taxonomy_ = pets.taxonomy
    floor = hclf.hf_scorer(constant, more_pets.X, more_pets.y)
    assert small(pets).fit(pets.X, pets.y).score(more_pets.X, more_pets.y) > floor + 0.1
