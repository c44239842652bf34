"""Operating points: several ways to answer in one model, and answers held to a part of the taxonomy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from dags import Dag, dags
from hypothesis import given
from hypothesis import strategies as st

from hclf.bundle import read_manifest
from hclf.classifier import HierarchicalClassifier
from hclf.cli import main
from hclf.data import Document
from hclf.decoders import ThresholdDecoder, TopKDecoder
from hclf.errors import HclfError, NotFittedError, UsageError
from hclf.fusion import sparse_scores
from hclf.labels import is_closed, label_sets
from hclf.operating import OperatingPoint, permitted_nodes
from hclf.taxonomy import Taxonomy
from hclf.thresholds import Thresholds


@pytest.fixture
def model(pets: Sample) -> HierarchicalClassifier:
    """One that a test may change."""
    return HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)


@pytest.fixture
def audited(model: HierarchicalClassifier, more_pets: Sample) -> HierarchicalClassifier:
    return model.tune(more_pets.X, more_pets.y, name="audit", goal="precision>=0.99")


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
    data = {
        "decoder": {"name": name, **options},
        "thresholds": Thresholds((threshold,) * taxonomy.depth).to_dict(),
        "closure": "ancestors",
        "about": {},
    }
    return OperatingPoint.from_dict("p", data)


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
        with pytest.raises(UsageError, match="leave no node"):
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
        free = label_sets(taxonomy, point.decode(taxonomy, scores))
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
        ({"allow": []}, "leave no node"),
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


def labels_in(file: Path) -> dict[str, tuple[str, ...]]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["id"]: tuple(label["id"] for label in row["labels"]) for row in rows}


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

    for harm in ({"o p": {}}, {"p": {}}, {"p": None}, []):
        change_manifest(shop.model, lambda m, harm=harm: m.update(operating_points=harm))
        with pytest.raises(HclfError, match="damaged"):
            HierarchicalClassifier.load(shop.model)
