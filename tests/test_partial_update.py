"""Models that learn from more documents, or from other texts of nodes, without being fitted anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GARDEN, GARDEN_EDGES, Sample, documents_about, garden, garden_sample
from scipy.sparse import csr_matrix

from hclf.classifier import HierarchicalClassifier
from hclf.errors import HclfError, NotFittedError, UsageError
from hclf.fusion import Prior
from hclf.labels import from_pairs, label_matrix, partial_depth
from hclf.scorers import linear, matching, one_vs_rest
from hclf.scorers.linear import LinearScorer
from hclf.taxonomy import Node, Taxonomy

SAMPLED = {"negatives": 6, "negatives_per_positive": 0.2, "random_negatives": 5}
WAYS = [
    {"matching": False},
    {"matching": True},
    {"matching": False, "node_texts": False},
    {"matching": True, **SAMPLED},
    {"matching": False, "exact": True},
]


def documents(sample: Sample) -> list[dict[str, str]]:
    return [{"text": text} for text in sample.X]


def only(sample: Sample, *nodes: str) -> Sample:
    """The documents with these most specific labels and no others."""
    kept = [(x, y) for x, y in zip(sample.X, sample.y, strict=True) if set(y) <= set(nodes)]
    assert kept
    return Sample(sample.taxonomy, [x for x, _ in kept], [y for _, y in kept])


def fitted(sample: Sample, **options: Any) -> LinearScorer:
    Y = label_matrix(sample.taxonomy, sample.y)
    scorer = LinearScorer(updatable=True, n_jobs=1, **options)
    return scorer.fit(documents(sample), Y, taxonomy=sample.taxonomy)


def fitted_anew(
    like: LinearScorer, old: Sample, new: Sample, taxonomy: Taxonomy | None = None, **options: Any
) -> LinearScorer:
    """A scorer fitted on all documents, with features that it does not learn but takes over."""

    class Frozen:
        def __getattr__(self, name: str) -> Any:
            return getattr(like.features, name)

        def fit_transform(self, inputs: Any, texts: Any = ()) -> Any:
            features: Any = like.features
            extra = [{features.main_field: text} for text in texts]
            return features.transform(inputs), features.transform(extra)

    taxonomy = taxonomy or old.taxonomy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "TextFeatures", lambda weights, *, stems: Frozen())
        scorer = LinearScorer(n_jobs=1, **options)
        Y = label_matrix(taxonomy, [*old.y, *new.y])
        return scorer.fit([*documents(old), *documents(new)], Y, taxonomy=taxonomy)


def models(scorer: LinearScorer) -> dict[int, tuple[bytes, bytes, bytes]]:
    """By column: the features, weights and bias of its model, every bit."""
    found = {}
    for i, column in enumerate(scorer.columns.tolist()):
        row = scorer.weights[i]
        features = row.indices.astype(np.int64).tobytes()
        found[column] = features, row.data.tobytes(), scorer.bias[i].tobytes()
    return found


def centroids(scorer: LinearScorer) -> dict[int, tuple[bytes, bytes]]:
    rows = (scorer.centroids[i] for i in range(len(scorer.known)))
    return {
        column: (row.indices.astype(np.int64).tobytes(), row.data.tobytes())
        for column, row in zip(scorer.known.tolist(), rows, strict=True)
    }


def columns(taxonomy: Taxonomy, *nodes: str) -> list[int]:
    return [taxonomy.index(node) for node in taxonomy.closure(nodes)]


def same(a: Any, b: Any) -> bool:
    """Bit for bit: two arrays."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# -- which models are trained, and on what -------------------------------------------------------------------------


@pytest.mark.parametrize("options", WAYS)
def test_nodes_of_new_documents_are_trained_on_all_of_them_and_others_stay(
    options: dict[str, Any], pets: Sample, more_pets: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_vs_rest, "SECOND_ROUND", 12)
    new = only(more_pets, "cats", "siamese")
    scorer = fitted(pets, **options)
    before = models(scorer)
    assert scorer.partial_update(documents(new), label_matrix(pets.taxonomy, new.y), taxonomy=pets.taxonomy) is scorer
    after, anew = models(scorer), models(fitted_anew(scorer, pets, new, **options))
    again = columns(pets.taxonomy, "siamese")  # and cats, animals
    assert after.keys() == before.keys() == anew.keys()
    assert {column for column in after if after[column] == anew[column]} >= set(again)
    assert {column for column in after if after[column] != before[column]} == set(again)


@pytest.mark.parametrize("options", WAYS)
def test_centroids_and_phrases_are_renewed_for_all_nodes(
    options: dict[str, Any], pets: Sample, more_pets: Sample
) -> None:
    scorer = fitted(pets, **options)
    scorer.partial_update(documents(more_pets), label_matrix(pets.taxonomy, more_pets.y), taxonomy=pets.taxonomy)
    anew = fitted_anew(scorer, pets, more_pets, **options)
    assert centroids(scorer) == centroids(anew)
    assert scorer.levels.tolist() == anew.levels.tolist()
    assert scorer.edges.tolist() == anew.edges.tolist()
    assert (scorer.matcher is None) == (anew.matcher is None)
    if scorer.matcher and anew.matcher:
        ours, theirs = scorer.matcher.index.phrases, anew.matcher.index.phrases
        assert same(ours.words.toarray(), theirs.words.toarray())
        assert ours.columns.tolist() == theirs.columns.tolist()
        assert ours.official.tolist() == theirs.official.tolist()


@pytest.mark.parametrize("options", WAYS)
def test_if_all_nodes_are_new_about_it_is_a_fit(options: dict[str, Any], pets: Sample, more_pets: Sample) -> None:
    """Every node has a new document: nothing is left of the old models."""
    every = [tuple(node for node in pets.taxonomy.nodes if node != "unseen")]
    new = Sample(pets.taxonomy, [*more_pets.X, "cat dog"], [*more_pets.y, *every])
    scorer = fitted(pets, **options)
    scorer.partial_update(documents(new), label_matrix(pets.taxonomy, new.y), taxonomy=pets.taxonomy)
    anew = fitted_anew(scorer, pets, new, **options)
    assert models(scorer) == models(anew)
    ours, theirs = (s.score(documents(more_pets)).channels for s in (scorer, anew))
    learned = [scorer.channels.index(channel) for channel in ("match", "overlap")]  # what words weigh is of fit
    assert same(np.delete(ours, learned, axis=0), np.delete(theirs, learned, axis=0))


def test_updates_in_two_parts_train_as_one_where_both_are_about_the_same(pets: Sample, more_pets: Sample) -> None:
    new = only(more_pets, "cats", "siamese", "dogs")
    cut = len(new.X) // 2
    whole, parts = fitted(pets, matching=False), fitted(pets, matching=False)
    for scorer, pieces in ((whole, [new]), (parts, [new[:cut], new[cut:]])):
        for piece in pieces:
            Y = label_matrix(pets.taxonomy, piece.y)
            scorer.partial_update(documents(piece), Y, taxonomy=pets.taxonomy)
    last = {j for labels in new.y[cut:] for j in columns(pets.taxonomy, *labels)}
    ours, theirs = models(whole), models(parts)
    assert {column for column in ours if ours[column] == theirs[column]} >= last
    assert centroids(whole) == centroids(parts)


def unseen(taxonomy: Taxonomy, n: int = 6) -> Sample:
    """Documents of the node that the pets have none of, in words that they know."""
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.permutation(["engine", "device", "slender", "vocal", "offer"])) for _ in range(n)]
    return Sample(taxonomy, texts, [("unseen",)] * n)


@pytest.mark.parametrize(
    "options",
    [
        {"matching": True},
        {"matching": False, "node_texts": False},
        {"matching": False},
    ],
)
def test_a_node_that_had_no_document_gets_the_model_that_fit_would_give_it(
    options: dict[str, Any], pets: Sample
) -> None:
    new = unseen(pets.taxonomy)
    scorer = fitted(pets, **options)
    before, column = models(scorer), pets.taxonomy.index("unseen")
    assert column not in before
    scorer.partial_update(documents(new), label_matrix(pets.taxonomy, new.y), taxonomy=pets.taxonomy)
    after, anew = models(scorer), models(fitted_anew(scorer, pets, new, **options))
    again = set(columns(pets.taxonomy, "unseen"))
    assert after.keys() == anew.keys() == {*before, column}
    assert (np.diff(scorer.columns) > 0).all()
    assert {j for j in before if after[j] != before[j]} == again - {column}
    assert {j for j in after if after[j] == anew[j]} >= again


def test_no_documents_change_nothing(pets: Sample, more_pets: Sample) -> None:
    for options in WAYS:
        scorer = fitted(pets, **options)
        before, scores = models(scorer), scorer.score(documents(more_pets))
        scorer.partial_update([], label_matrix(pets.taxonomy, [[]])[:0], taxonomy=pets.taxonomy)
        assert models(scorer) == before
        again = scorer.score(documents(more_pets))
        assert same(again.channels, scores.channels)
        assert (again.candidates is None) == (scores.candidates is None)
        if again.candidates and scores.candidates:
            assert same(again.candidates.channels, scores.candidates.channels)


def test_documents_without_labels_are_negatives_of_what_is_trained_with_them(pets: Sample) -> None:
    new = Sample(pets.taxonomy, ["cat purr", "dog bark", ""], [("cats",), (), ()])
    scorer = fitted(pets, matching=False)
    before = models(scorer)
    scorer.partial_update(documents(new), label_matrix(pets.taxonomy, new.y), taxonomy=pets.taxonomy)
    after, anew = models(scorer), models(fitted_anew(scorer, pets, new, matching=False))
    cats = set(columns(pets.taxonomy, "cats"))
    assert {j for j in after if after[j] != before[j]} == cats
    assert all(after[j] == anew[j] for j in cats)


# -- labels that say nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_first", [False, True])
@pytest.mark.parametrize("then", [False, True])
def test_what_labels_do_not_say_is_carried_on(at_first: bool, then: bool, pets: Sample, more_pets: Sample) -> None:
    """Equal to a fit on all documents, whether the old, the new, both or none leave something open."""
    new = only(more_pets, "cats", "siamese")
    Y, more = (label_matrix(pets.taxonomy, sample.y) for sample in (pets, new))
    masks = [partial_depth(pets.taxonomy, part) if on else None for part, on in ((Y, at_first), (more, then))]
    scorer = LinearScorer(updatable=True, matching=False, node_texts=False, n_jobs=1)
    scorer.fit(documents(pets), Y, taxonomy=pets.taxonomy, unknown=masks[0])
    scorer.partial_update(documents(new), more, taxonomy=pets.taxonomy, unknown=masks[1])
    assert scorer.rows is not None
    if not at_first and not then:
        assert scorer.rows.unknown is None
    else:
        assert scorer.rows.unknown is not None
        found = scorer.rows.unknown.toarray()
        expected = [
            np.zeros(part.shape, dtype=bool) if mask is None else mask.toarray()
            for part, mask in zip((Y, more), masks, strict=True)
        ]
        assert (found == np.concatenate(expected)).all()

    every = [part if part is not None else label[:0] for part, label in zip(masks, (Y, more), strict=True)]
    rows, of = [], []
    for start, part in zip((0, Y.shape[0]), every, strict=True):
        coo = part.tocoo()
        rows.append(coo.row + start)
        of.append(coo.col)
    unknown = from_pairs(np.concatenate(rows), np.concatenate(of), (Y.shape[0] + more.shape[0], Y.shape[1]))
    problem = one_vs_rest.Problem(scorer.rows.X, scorer.rows.Y.tocsc(), unknown.tocsc() if at_first or then else None)
    recipe = one_vs_rest.Recipe(1.0, 250, 10, 150, False, 0.01, 0)
    for column in columns(pets.taxonomy, "siamese"):
        similarity = np.zeros(problem.X.shape[0], dtype=np.float32)  # all negatives are taken
        model = one_vs_rest._train(problem, column, similarity, recipe)
        i = scorer.columns.tolist().index(column)
        assert scorer.weights[i].indices.tolist() == model.columns.tolist()
        assert scorer.weights[i].data.tobytes() == model.values.tobytes()
        assert scorer.bias[i] == np.float32(model.bias)


def test_a_partial_label_is_no_negative_of_what_is_below(pets: Sample) -> None:
    """Thirty documents of `cats` that read like siamese: unknown, they must not speak against siamese."""
    X, y = ["siamese slender vocal cat"] * 30, [("cats",)] * 30
    extra = (["siamese slender vocal"], [("siamese",)])  # so that siamese is trained again
    margin = {}
    for what in ("unknown", "negative"):
        model = classifier(pets, partial_labels=what, scorer_options={"updatable": True, "matching": False})
        model.partial_update([*X, *extra[0]], [*y, *extra[1]])
        place = model.scorer_.columns.tolist().index(pets.taxonomy.index("siamese"))
        margin[what] = float(model.scorer_.score([{"text": "siamese slender vocal"}]).channels[0, 0, place])
    assert margin["unknown"] > margin["negative"] + 0.5


# -- the classifier ------------------------------------------------------------------------------------------------


def classifier(sample: Sample, **options: Any) -> HierarchicalClassifier:
    model = HierarchicalClassifier(
        **{"taxonomy": sample.taxonomy, "n_jobs": 1, "scorer_options": {"updatable": True}, **options}
    )
    return model.fit(sample.X, sample.y)


@pytest.mark.parametrize("matching", [False, True])
def test_a_node_of_new_documents_is_predicted(matching: bool, pets: Sample, more_pets: Sample) -> None:
    new = unseen(pets.taxonomy, n=20)
    model = classifier(pets, scorer_options={"updatable": True, "matching": matching}, thresholds=0.3)
    asked = "engine device slender vocal"
    before = model.predict_proba([asked])[0, pets.taxonomy.index("unseen")]
    settings = model.thresholds_, model.calibration_, model.candidate_calibration_
    assert model.partial_update(new.X, new.y) is model
    after = model.predict_proba([asked])[0, pets.taxonomy.index("unseen")]
    assert after > before + 0.1
    assert "unseen" in model.predict([asked])[0]
    assert settings == (model.thresholds_, model.calibration_, model.candidate_calibration_)
    scores = model.predict_proba(more_pets.X)
    for parent, child in pets.taxonomy.edges():
        assert (scores[:, pets.taxonomy.index(child)] <= scores[:, pets.taxonomy.index(parent)]).all()


def test_counts_and_the_report_tell_of_all_documents(pets: Sample) -> None:
    new = unseen(pets.taxonomy)
    model = classifier(pets)
    report, counts = dict(model.report_), model.counts_.copy()
    assert report["nodes_without_documents"] == 1
    model.partial_update(new.X, new.y)
    added = label_matrix(pets.taxonomy, new.y).toarray().sum(axis=0)
    assert model.counts_.tolist() == (counts + added).tolist()
    assert model.counts_.dtype == counts.dtype
    assert model.report_["documents"] == report["documents"] + 6
    assert model.report_["trained_nodes"] == report["trained_nodes"] + 1 == len(model.scorer_.columns)
    assert model.report_["nodes_without_documents"] == model.report_["cold_start_nodes"] == 0
    same_as_before = ("held_out", "decoder", "decoder_reason", "goal", "achieved_on_held_out", "thresholds")
    assert {key: model.report_[key] for key in same_as_before} == {key: report[key] for key in same_as_before}
    assert model.report_.keys() == report.keys()
    model.partial_update(["cat purr"], [["Cats"]])  # by name; and once more
    assert model.report_["documents"] == report["documents"] + 7


def test_the_report_counts_empty_documents_and_those_without_labels_of_updates_too(pets: Sample) -> None:
    model = classifier(pets)
    empty, bare = model.report_["empty_texts"], model.report_["documents_without_labels"]
    model.partial_update(["", "cat purr"], [["cats"], []])
    assert (model.report_["empty_texts"], model.report_["documents_without_labels"]) == (empty + 1, bare + 1)


def test_the_prior_knows_the_new_documents(pets: Sample) -> None:
    """What a node without model or match is worth goes with all documents, not with those of fit."""
    new = unseen(pets.taxonomy)
    model = classifier(pets)
    model.partial_update(new.X, new.y)
    prior = Prior(model.taxonomy_, model.scorer_.columns, model.counts_, model.report_["documents"])
    expected = replace(model._model, head=replace(model._model.head, prior=prior))
    documents = [pets.X[0], ""]
    assert same(
        np.concatenate([batch.values for batch in expected.batches([{"text": t} for t in documents])]),
        model.predict_proba(documents),
    )


def test_thresholds_can_be_tuned_afterwards(pets: Sample, more_pets: Sample) -> None:
    model = classifier(pets)
    model.partial_update(more_pets.X[:15], more_pets.y[:15]).tune(more_pets.X[15:], more_pets.y[15:])
    assert model.report_["thresholds"] == list(model.thresholds_.values)
    reached = model.evaluate(more_pets.X[15:], more_pets.y[15:]).metrics["hF"]
    assert model.thresholds_.achieved == pytest.approx(reached)


def test_a_flat_model_is_updated_with_labels_as_given(pets: Sample) -> None:
    model = classifier(pets, flat=True)
    counts = model.counts_.copy()
    model.partial_update(["siamese slender", "siamese cat"], [["siamese"], ["siamese", "cats"]])
    changed = {pets.taxonomy.nodes[j]: n for j, n in enumerate((model.counts_ - counts).tolist()) if n}
    assert changed == {"siamese": 2}


# -- on disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matching", [False, True])
@pytest.mark.parametrize("partial_labels", ["unknown", "negative"])
def test_a_saved_model_can_be_updated_just_the_same(
    matching: bool, partial_labels: str, pets: Sample, more_pets: Sample, tmp_path: Path
) -> None:
    options = {"updatable": True, "matching": matching}
    model = classifier(pets, scorer_options=options, partial_labels=partial_labels)
    model.save(tmp_path / "a")
    again = HierarchicalClassifier.load(tmp_path / "a")
    ours, theirs = (dict(m.scorer_.get_state()[1]) for m in (model, again))
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("rows_X") for name in ours)
    assert any(name.startswith("rows_unknown") for name in ours) == (partial_labels == "unknown")
    assert all(same(ours[name], theirs[name]) for name in ours)
    for sample in (unseen(pets.taxonomy), more_pets):
        for m in (model, again):
            m.partial_update(sample.X, sample.y)
        assert same(model.predict_proba(more_pets.X), again.predict_proba(more_pets.X))
        assert models(model.scorer_) == models(again.scorer_)
    assert model.report_ == again.report_
    assert model.counts_.tolist() == again.counts_.tolist()
    again.save(tmp_path / "b")  # and once more, after updates
    third = HierarchicalClassifier.load(tmp_path / "b")
    assert same(third.predict_proba(more_pets.X), model.predict_proba(more_pets.X))
    third.partial_update(pets.X[:3], pets.y[:3])
    model.partial_update(pets.X[:3], pets.y[:3])
    assert same(third.predict_proba(more_pets.X), model.predict_proba(more_pets.X))


def test_a_model_that_is_not_updatable_keeps_no_documents(pets: Sample) -> None:
    model = classifier(pets, scorer_options={})
    assert model.scorer_.rows is None
    assert not any(name.startswith("rows_") for name in model.scorer_.get_state()[1])


def test_being_updatable_changes_no_score(pets: Sample, more_pets: Sample) -> None:
    plain, updatable = (classifier(pets, scorer_options=options) for options in ({}, {"updatable": True}))
    assert same(plain.predict_proba(more_pets.X), updatable.predict_proba(more_pets.X))


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_model_not_made_for_it_is_refused(pets: Sample, tmp_path: Path) -> None:
    model = classifier(pets, scorer_options={})
    before = model.predict_proba(pets.X)
    model.save(tmp_path / "m")
    for m in (model, HierarchicalClassifier.load(tmp_path / "m")):
        with pytest.raises(UsageError, match=r'fitted with scorer_options=\{"updatable": True\}'):
            m.partial_update(pets.X, pets.y)
        assert same(m.predict_proba(pets.X), before)
        assert m.report_["documents"] == 60
        assert (m.counts_ == model.counts_).all()


def test_a_scorer_that_cannot_be_updated_is_refused(pets: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(pets)
    monkeypatch.delattr(LinearScorer, "partial_update")
    with pytest.raises(UsageError, match="scorer 'linear' cannot be updated: fit it anew"):
        model.partial_update(pets.X, pets.y)


def test_an_unfitted_model_is_refused(pets: Sample) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        HierarchicalClassifier(taxonomy=pets.taxonomy).partial_update(pets.X, pets.y)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["cat"], [["cats"], ["dogs"]], "1 documents but 2 label sets"),
        (["cat", "dog"], [["cats"], ["dgos"]], "row 2.*did you mean 'dogs'"),
        (["cat", "dog"], [["cats"], 3], "row 2: labels are a list"),
        ([{"title": "cat"}], [["cats"]], "'title' only; the model was trained on 'text'"),
        (csr_matrix(np.eye(2)), [["cats"], ["dogs"]], "fitted on texts; what came is a matrix of 2 columns"),
    ],
)
def test_bad_documents_are_refused_and_leave_the_model_as_it_was(X: Any, y: Any, message: str, pets: Sample) -> None:
    model = classifier(pets)
    before = model.predict_proba(pets.X)
    with pytest.raises(HclfError, match=message):
        model.partial_update(X, y)
    assert same(model.predict_proba(pets.X), before)
    assert model.report_["documents"] == 60
    model.partial_update(["cat purr"], [["cats"]])  # still works


# -- other texts of nodes ------------------------------------------------------------------------------------------


def garden_model(**options: Any) -> HierarchicalClassifier:
    scorer_options = {"updatable": True, "matching": True, **options}
    return classifier(garden_sample(garden()), scorer_options=scorer_options, decoder="top-k")


def test_a_node_without_documents_is_found_by_its_new_name(tmp_path: Path) -> None:
    """Moss and marble change names."""
    model, other = garden_model(), garden(moss="white marble", marble="damp moss")
    cold = [other.index(node) for node in ("moss", "marble")]
    before = model.predict_proba(["white marble", "damp moss"])[:, cold]
    assert before[0, 1] > 2 * before[0, 0]
    assert before[1, 0] > 2 * before[1, 1]
    trained, counts = models(model.scorer_), model.counts_.copy()
    assert model.partial_update([], [], taxonomy=other) is model
    after = model.predict_proba(["white marble", "damp moss"])[:, cold]
    assert after[0, 0] > 2 * after[0, 1]
    assert after[1, 1] > 2 * after[1, 0]
    assert models(model.scorer_) == trained  # no model has anything to do with it
    assert model.counts_.tolist() == counts.tolist()
    assert model.report_["documents"] == 36
    assert model.report_["cold_start_nodes"] == 2
    assert model.taxonomy_.names[cold[0]] == "white marble"
    model.save(tmp_path / "m")
    again = HierarchicalClassifier.load(tmp_path / "m", taxonomy=other)
    assert same(again.predict_proba(["white marble"]), model.predict_proba(["white marble"]))


def test_a_text_that_is_gone_is_forgotten() -> None:
    model, other = garden_model(), garden(marble="damp moss")
    column = other.index("marble")
    model.partial_update([], [], taxonomy=other)
    rows = model.scorer_.rows
    assert rows is not None
    assert (rows.text_columns == column).sum() == 2  # the name and the path
    with_words = model.scorer_.features.words(["white marble"], 10).indices
    assert not rows.words[np.flatnonzero(rows.text_columns == column)][:, with_words].nnz


@pytest.mark.parametrize("matching", [False, True])
def test_a_trained_node_with_other_texts_is_trained_again(matching: bool) -> None:
    model, other = garden_model(matching=matching), garden(slate="old acorns")
    before, slate = models(model.scorer_), other.index("slate")
    asked = [{"text": "acorns"}]
    place = model.scorer_.columns.tolist().index(slate)
    margin = model.scorer_.score(asked).channels[0, 0, place]
    model.partial_update([], [], taxonomy=other)
    after = models(model.scorer_)
    assert {j for j in after if after[j] != before[j]} == {slate}
    assert model.scorer_.score(asked).channels[0, 0, place] > margin + 0.3


def test_new_documents_and_new_texts_come_together() -> None:
    model, other = garden_model(), garden(moss="white marble", marble="damp moss", slate="old acorns")
    before = models(model.scorer_)
    model.partial_update(["a fern of the old forest"], [["fern"]], taxonomy=other)
    after = models(model.scorer_)
    assert {other.nodes[j] for j in after if after[j] != before[j]} == {"plants", "fern", "slate"}
    scores = model.predict_proba(["white marble"])[0]
    assert scores[other.index("moss")] > 2 * scores[other.index("marble")]


def test_the_same_texts_change_nothing() -> None:
    model = garden_model()
    before, scores = models(model.scorer_), model.predict_proba(["white marble", "oak"])
    model.partial_update([], [], taxonomy=garden())
    assert models(model.scorer_) == before
    assert same(model.predict_proba(["white marble", "oak"]), scores)


def test_a_node_with_documents_but_no_model_is_no_trouble() -> None:
    """Other texts of a node that `max_models` left to matching."""
    model, other = garden_model(max_models=3), garden(slate="split roof", fern="fronds")
    assert len(model.scorer_.columns) == 3
    model.partial_update([], [], taxonomy=other)
    assert np.isfinite(model.predict_proba(["split roof"])).all()


@pytest.mark.parametrize(
    "other",
    [
        Taxonomy(GARDEN, GARDEN_EDGES[1:]),
        Taxonomy([*GARDEN, Node("sand")], GARDEN_EDGES),
        Taxonomy(GARDEN, [*GARDEN_EDGES, ("plants", "marble")]),
        Taxonomy(
            [Node(node.id) for node in GARDEN if node.id != "moss"],
            [edge for edge in GARDEN_EDGES if edge[1] != "moss"],
        ),
    ],
)
def test_other_nodes_or_edges_are_refused(other: Taxonomy) -> None:
    model = garden_model()
    before, taxonomy = model.predict_proba(["white marble"]), model.taxonomy_
    with pytest.raises(UsageError, match="other nodes or edges than the model's: fit anew"):
        model.partial_update([], [], taxonomy=other)
    assert model.taxonomy_ is taxonomy
    assert same(model.predict_proba(["white marble"]), before)


@pytest.mark.parametrize("updatable", [False, True])
def test_a_refused_update_leaves_the_taxonomy_as_it_was(updatable: bool) -> None:
    model = garden_model(updatable=updatable)
    taxonomy = model.taxonomy_
    with pytest.raises(HclfError):  # not updatable, or a field that the model does not know
        model.partial_update([{"title": "oak"}], [["oak"]], taxonomy=garden(moss="white marble"))
    assert model.taxonomy_ is taxonomy


def test_a_new_name_of_a_parent_is_in_the_paths_below_it() -> None:
    model = garden_model()
    model.partial_update([], [], taxonomy=garden(stones="acorns"))
    rows = model.scorer_.rows
    assert rows is not None
    acorns = model.scorer_.features.words(["acorns"], 1).indices
    said = set(rows.text_columns[np.flatnonzero(rows.words[:, acorns].getnnz(axis=1))].tolist())
    assert said == {model.taxonomy_.index(node) for node in ("stones", "slate", "marble")}


@pytest.mark.parametrize("matching", [False, True])
def test_other_texts_give_the_model_that_fit_would_give(matching: bool) -> None:
    other = garden(oak="split roof", fern="fronds")
    sample = garden_sample(garden())
    scorer = fitted(sample, matching=matching)
    changed = np.array(sorted(other.index(node) for node in ("oak", "fern")))
    scorer.partial_update([], label_matrix(other, [[]])[:0], taxonomy=other, changed=changed)
    nothing = Sample(other, [], [])
    ours, theirs = models(scorer), models(fitted_anew(scorer, sample, nothing, other, matching=matching))
    assert all(ours[j] == theirs[j] for j in changed.tolist())


def test_no_more_models_than_allowed() -> None:
    model = garden_model(max_models=3)
    model.partial_update(["slate roof", "green fern"], [["slate"], ["fern"]])
    assert len(model.scorer_.columns) == 3


# -- feature matrices ----------------------------------------------------------------------------------------------


def blobs(nodes: str, n: int, seed: int) -> tuple[Any, list[list[str]]]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(4, 12)) * 3
    node = rng.integers(len(nodes), size=n)
    return centres[["abcd".index(nodes[i]) for i in node]] + rng.normal(size=(n, 12)), [[nodes[i]] for i in node]


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_of_a_matrix_are_learned_too(sparse: bool, tmp_path: Path) -> None:
    (X, y), (more, more_y), (test, test_y) = blobs("abc", 60, 0), blobs("cd", 20, 1), blobs("abcd", 40, 2)
    if sparse:
        X, more, test = (csr_matrix(np.where(np.abs(part) < 2.5, 0, part)) for part in (X, more, test))
    sample = Sample(Taxonomy("abcd"), X, y)
    model = classifier(sample)
    before = models(model.scorer_)
    model.save(tmp_path / "m")
    again = HierarchicalClassifier.load(tmp_path / "m")
    for m in (model, again):
        m.partial_update(more, more_y)
    after = models(model.scorer_)
    assert sorted(after) == [0, 1, 2, 3]
    assert {j for j in before if after[j] != before[j]} == {2}
    assert same(model.predict_proba(test), again.predict_proba(test))
    best = model.scorer_.score(csr_matrix(test)).channels[0].argmax(axis=1)
    assert np.mean(["abcd"[j] == labels[0] for j, labels in zip(best, test_y, strict=True)]) > 0.8
    model.partial_update(test[:0], [])
    assert models(model.scorer_) == after


def test_other_texts_mean_nothing_beside_numbers() -> None:
    X, y = blobs("abc", 60, 0)
    model = classifier(Sample(Taxonomy("abcd"), X, y))
    before = model.predict_proba(X)
    other = Taxonomy([Node("a", {"": "Apples"}), "b", "c", "d"])
    model.partial_update(X[:0], [], taxonomy=other)
    assert same(model.predict_proba(X), before)
    assert model.taxonomy_ is other


def test_a_matrix_of_another_width_is_refused() -> None:
    X, y = blobs("abc", 60, 0)
    model = classifier(Sample(Taxonomy("abcd"), X, y))
    with pytest.raises(UsageError, match="11 features"):
        model.partial_update(X[:, :11], y)
    assert model.report_["documents"] == 60


# -- how many nodes come into question -----------------------------------------------------------------------------


def test_where_all_nodes_have_models_none_is_missed(zoo: Taxonomy) -> None:
    sample = documents_about(zoo, 120)
    model = classifier(sample, scorer_options={"matching": True})
    assert model.report_["candidate_recall"] == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert classifier(sample, scorer_options={"matching": False}).report_["candidate_recall"] == {}


def test_nodes_without_models_are_missed_where_few_candidates_are_ranked(
    zoo: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = documents_about(zoo, 120)
    options = {"matching": True, "max_models": 2}
    wide = classifier(sample, scorer_options=options).report_["candidate_recall"]
    monkeypatch.setattr(matching, "LISTED", 1)
    narrow = classifier(sample, scorer_options=options).report_["candidate_recall"]
    assert wide.keys() == narrow.keys() == {"1", "2", "3"}
    assert wide["1"] == narrow["1"] == 1  # both roots have models
    assert all(0 < narrow[level] < 1 for level in "23")
    assert all(narrow[level] < wide[level] for level in "23")
