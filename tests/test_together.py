"""Several scorers as one, and scorers that speak of single pairs only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from conftest import Sample
from scipy.sparse import csr_matrix

from hclf.classifier import HierarchicalClassifier
from hclf.errors import UsageError
from hclf.labels import label_matrix
from hclf.scorers import make_scorer, scorer_class, scorer_from_state
from hclf.scorers.base import Candidates, Contribution, Mentions, Scored, silent
from hclf.scorers.table import SCORERS
from hclf.scorers.together import Together, channel_parts
from hclf.taxonomy import Node, Taxonomy

TOGETHER = "linear+names"


class NamesScorer:
    """Speaks of the nodes whose names a document holds, and of their ancestors: no columns, single pairs only."""

    name: ClassVar[str] = "names"
    channels: ClassVar[tuple[str, ...]] = ()
    candidate_channels: ClassVar[tuple[str, ...]] = ("times", "share")
    floors: ClassVar[Mapping[str, float]] = {"share": -1.0}

    def __init__(self, *, weight: float = 1.0, n_jobs: int = 1, seed: int = 0) -> None:
        self.weight = weight
        self.heard: Mentions | None = None

    def fit(
        self,
        inputs: Any,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        mentions: Mentions | None = None,
        progress: Any = silent,
    ) -> Self:
        self.heard = mentions
        self.columns = np.zeros(0, dtype=np.int64)
        self.known = np.arange(len(taxonomy))
        self.words = [name.lower() for name in taxonomy.names]
        self.above = [taxonomy.close_pairs(np.zeros(1, int), np.array([j]))[1].tolist() for j in self.known.tolist()]
        return self

    def score(self, inputs: Sequence[Mapping[str, str]]) -> Scored:
        found: dict[tuple[int, int], int] = {}
        for row, fields in enumerate(inputs):
            text = " ".join(fields.values()).lower().split()
            for column, word in enumerate(self.words):
                for up in self.above[column] if word in text else ():
                    found[row, up] = found.get((row, up), 0) + text.count(word)
        pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        times = np.array([self.weight * found[row, column] for row, column in pairs.tolist()], dtype=np.float32)
        channels = np.stack([times, times / 10])
        return Scored(np.zeros((0, len(inputs), 0), np.float32), Candidates(pairs[:, 0], pairs[:, 1], channels))

    def evidence(self, inputs: Any, rows: Any, columns: Any) -> list[list[Contribution]]:
        return [[Contribution("names", "text", 0, 1, 1.0)] for _ in rows]

    def get_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"words": self.words, "above": self.above, "weight": self.weight}, {"known": self.known}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        scorer = cls(weight=config["weight"])
        scorer.columns, scorer.known = np.zeros(0, dtype=np.int64), arrays["known"]
        scorer.words, scorer.above = config["words"], config["above"]
        return scorer


@pytest.fixture(autouse=True)
def names_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS, "names", f"{__name__}:NamesScorer")


def texts(sample: Sample) -> list[dict[str, str]]:
    return [{"text": text} for text in sample.X]


def fitted(name: str, sample: Sample, options: Mapping[str, Any] | None = None) -> Any:
    Y = label_matrix(sample.taxonomy, sample.y)
    return make_scorer(name, options, n_jobs=1).fit(texts(sample), Y, taxonomy=sample.taxonomy)


def values(scored: Scored, columns: np.ndarray, row: int, column: int) -> list[float] | None:
    """All that is said of one pair: its channels; None: nothing."""
    if column in columns:
        return scored.channels[:, row, columns.tolist().index(column)].tolist()
    if scored.candidates is None:
        return None
    rows, of, channels = scored.candidates
    place = np.flatnonzero((rows == row) & (of == column))
    assert len(place) <= 1
    return channels[:, place[0]].tolist() if len(place) else None


# -- channels side by side ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("matching", [False, True])
def test_every_pair_has_what_each_part_says_of_it_or_its_floors(
    matching: bool, pets: Sample, more_pets: Sample
) -> None:
    options = {"linear": {"matching": matching}}
    both = fitted(TOGETHER, pets, options)
    alone = {name: fitted(name, pets, options.get(name)) for name in ("linear", "names")}
    documents = [*texts(more_pets), {"text": "unseen"}, {"text": ""}]
    said = both.score(documents)
    by_part = {name: part.score(documents) for name, part in alone.items()}
    assert both.columns.tolist() == alone["linear"].columns.tolist()
    assert said.channels.shape == (len(both.channels), len(documents), len(both.columns))
    assert (said.channels.dtype, both.columns.dtype) == (np.float32, np.int64)
    linear, names = scorer_class("linear"), NamesScorer
    of_linear = len(linear.channels)
    for row in range(len(documents)):
        for column in range(len(pets.taxonomy)):
            found = values(said, both.columns, row, column)
            expected = {name: values(by_part[name], alone[name].columns, row, column) for name in alone}
            if column in both.columns:
                assert found[:of_linear] == expected["linear"]
                assert found[of_linear:] == (expected["names"] or [0, -1])
            elif expected["linear"] is None and expected["names"] is None:
                assert found is None
            else:
                nothing = [0.0] * len(linear.candidate_channels)
                assert found == (expected["linear"] or nothing) + (expected["names"] or [0, -1])
    assert len(names.candidate_channels) == 2
    unseen = pets.taxonomy.index("unseen")
    assert values(said, both.columns, len(documents) - 2, unseen) is not None
    assert (said.listwise is None) == (by_part["linear"].listwise is None)


def test_channels_go_by_the_name_of_their_part(pets: Sample) -> None:
    both = make_scorer(TOGETHER)
    assert both.channels == (
        *(f"linear.{channel}" for channel in scorer_class("linear").channels),
        "names.times",
        "names.share",
    )
    assert both.candidate_channels[-2:] == ("names.times", "names.share")
    assert channel_parts(both.channels) == {"linear": [0, 1, 2, 3, 4, 5, 6], "names": [7, 8]}
    assert channel_parts(make_scorer("names+linear").channels) == {"linear": [0, 1, 2, 3, 4, 5, 6], "names": [7, 8]}


def test_two_scorers_with_columns_of_their_own(pets: Sample) -> None:
    """Each has models for other nodes; pairs that one speaks of lie in the columns of the other."""
    few, more = (scorer_class("linear")(max_models=n, matching=True, n_jobs=1, negatives=9) for n in (3, 5))
    both = Together({"few": few, "more": more})
    documents = texts(pets)
    both.fit(documents, label_matrix(pets.taxonomy, pets.y), taxonomy=pets.taxonomy)
    assert both.columns.tolist() == more.columns.tolist()
    assert set(few.columns) < set(more.columns)
    said, of_few, of_more = (scorer.score(documents) for scorer in (both, few, more))
    width, pairs = len(few.channels), len(few.candidate_channels)
    for row in range(10):
        for column in range(len(pets.taxonomy)):
            found = values(said, both.columns, row, column)
            theirs = values(of_few, few.columns, row, column)
            if column in few.columns:
                assert found[:width] == theirs
                assert found[width : 2 * width] == values(of_more, more.columns, row, column)
                assert found[2 * width :] == [0.0] * 2 * pairs
            elif column in more.columns:
                assert found[:width] == [0.0] * width
                assert found[2 * width : 2 * width + pairs] == (theirs or [0.0] * pairs)
    mean = (of_few.listwise.toarray() + of_more.listwise.toarray()) / 2
    assert said.listwise.toarray() == pytest.approx(mean)


def test_rows_do_not_depend_on_their_batch(pets: Sample, more_pets: Sample) -> None:
    both = fitted(TOGETHER, pets, {"linear": {"matching": True}})
    documents = texts(more_pets)
    together = both.score(documents)
    for i in range(len(documents)):
        alone = both.score(documents[i : i + 1])
        assert alone.channels.tobytes() == np.ascontiguousarray(together.channels[:, i : i + 1]).tobytes()
        at = together.candidates.rows == i
        assert alone.candidates.columns.tolist() == together.candidates.columns[at].tolist()
        assert (alone.candidates.channels == together.candidates.channels[:, at]).all()


def test_a_saved_one_scores_bit_for_bit_the_same(pets: Sample, more_pets: Sample, tmp_path: Path) -> None:
    both = fitted(TOGETHER, pets, {"names": {"weight": 3}})
    config, arrays = both.get_state()
    np.savez(tmp_path / "part.npz", **arrays)
    with np.load(tmp_path / "part.npz", allow_pickle=False) as found:
        again = scorer_from_state(TOGETHER, json.loads(json.dumps(config)), dict(found))
    a, b = (scorer.score(texts(more_pets)) for scorer in (both, again))
    assert a.channels.tobytes() == b.channels.tobytes()
    assert all((x == y).all() for x, y in zip(a.candidates, b.candidates, strict=True))
    assert again.columns.tolist() == both.columns.tolist()
    assert again.known.tolist() == both.known.tolist()


def test_no_documents_and_nothing_said(pets: Sample) -> None:
    both = fitted(TOGETHER, pets)
    assert both.score([]).channels.shape == (9, 0, len(both.columns))
    silent_one = both.score([{"text": "qqq"}])
    assert len(silent_one.candidates.rows) == 0
    assert silent_one.candidates.channels.shape == (len(both.candidate_channels), 0)


def test_evidence_is_that_of_the_parts_that_have_some(pets: Sample) -> None:
    both = fitted(TOGETHER, pets)
    found = both.evidence(texts(pets)[:2], np.array([0, 1]), np.array([2, 3]))
    assert len(found) == 2
    assert all(Contribution("names", "text", 0, 1, 1.0) in place for place in found)


# -- by name -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("linear+lineal", {}, "unknown scorer 'lineal'; did you mean 'linear'"),
        ("linear+linear", {}, "scorer 'linear' is named twice"),
        ("linear+", {}, "unknown scorer ''"),
        (TOGETHER, {"C": 1}, r'options of several scorers are \{"linear": \{…\}, "names": \{…\}\}; found \'C\''),
        (TOGETHER, {"linear": 3}, "options of several scorers"),
        (TOGETHER, {"names": {"C": 1}}, "scorer 'names'.*'C'"),
    ],
)
def test_names_and_options_that_cannot_be(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_scorer(name, options)
    with pytest.raises(UsageError, match=message):
        HierarchicalClassifier(scorer=name, scorer_options=options).check_settings()


def test_options_of_one_scorer_may_be_flat_or_under_its_name() -> None:
    assert make_scorer("linear", {"C": 3}).C == make_scorer(" linear", {"linear": {"C": 3}}).C == 3
    both = make_scorer(TOGETHER, {"linear": {"C": 3}}, seed=4)
    assert (both.parts["linear"].C, both.parts["linear"].seed, both.parts["names"].weight) == (3, 4, 1)
    assert make_scorer("linear", {"field_weights": {"linear": 2}}).field_weights == {"linear": 2}


# -- in a classifier ---------------------------------------------------------------------------------------------


def model_of(sample: Sample, name: str = TOGETHER, **options: Any) -> HierarchicalClassifier:
    return HierarchicalClassifier(**{"taxonomy": sample.taxonomy, "n_jobs": 1, "scorer": name, **options}).fit(
        sample.X, sample.y
    )


@pytest.fixture(scope="module")
def animals() -> Sample:
    """Documents name their node (90 %) among words that say nothing; of one node there is no document."""
    ids = ["cat", "dog", "owl", "tit", "elk"]
    taxonomy = Taxonomy(
        ["animal", "bird", *ids, "yak"],
        [("animal", "bird"), *(("bird" if node in ("owl", "tit") else "animal", node) for node in [*ids, "yak"])],
    )
    rng = np.random.default_rng(5)
    X, y = [], []
    for _ in range(150):
        node = str(rng.choice(ids))
        words = [f"w{i}" for i in rng.integers(40, size=6)] + [node if rng.random() < 0.9 else str(rng.choice(ids))]
        X.append(" ".join(rng.permutation(words)))
        y.append((node,))
    return Sample(taxonomy, X, y)


@pytest.mark.parametrize("name", ["names", TOGETHER, "names+linear"])
def test_a_model_of_single_pairs_finds_nodes_it_has_never_seen(name: str, animals: Sample, tmp_path: Path) -> None:
    model = model_of(animals, name)
    assert model.taxonomy_.violations(model.predict_proba(animals.X)).sum() == 0
    assert model.evaluate(animals.X, animals.y).metrics["hF"] > 0.85
    prediction = next(iter(model.predict_documents([_document("w1 yak w2")])))
    assert prediction.leaves == ("yak",)
    assert prediction.flags == ("cold-start",)
    assert model.report_["candidate_recall"]["1"] >= 0.85
    assert model.report_["cold_start_nodes"] == 1
    assert model.report_["trained_nodes"] == (0 if name == "names" else 7)
    model.save(tmp_path / "model")
    again = HierarchicalClassifier.load(tmp_path / "model")
    assert again.predict_proba(animals.X).tobytes() == model.predict_proba(animals.X).tobytes()
    assert again.calibration_.report == model.calibration_.report
    again.save(tmp_path / "again")


def _document(text: str) -> Any:
    from hclf.data import Document

    return Document("1", {"text": text})


@pytest.mark.parametrize("n", [3, 9])
def test_few_documents_are_enough_for_single_pairs(n: int, animals: Sample) -> None:
    for name in ("names", TOGETHER):
        model = model_of(Sample(animals.taxonomy, animals.X[:n], animals.y[:n]), name)
        scores = model.predict_proba(["yak", "w1"])
        yak = animals.taxonomy.index("yak")
        assert scores[0, yak] > scores[1, yak]


def test_each_level_is_judged_by_all_or_by_the_part_that_does_it_best(animals: Sample) -> None:
    model = model_of(animals)
    assert [row["level"] for row in model.calibration_.report] == [1, 2, 3]
    for row, coefficients in zip(model.calibration_.report, model.calibration_.coefficients, strict=True):
        assert row["losses"].keys() == {"all", "linear", "names"}
        if not row["shared"]:
            assert row["losses"][row["chosen"]] == min(row["losses"].values())
        everywhere = row["level"] == 1  # all documents are about animals: nothing tells them apart
        assert sum(row["weights"].values()) == pytest.approx(0 if everywhere else 1)
        left_out = {"all": (), "linear": (7, 8), "names": range(7)}[row["chosen"]]
        assert not coefficients[list(left_out)].any()
    assert max(row["weights"]["names"] for row in model.calibration_.report) > 0.3


def test_a_part_that_only_makes_noise_does_no_harm(animals: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(self: Any, inputs: Any) -> Scored:
        digits = [sum(map(ord, fields["text"])) for fields in inputs]
        rows = np.repeat(np.arange(len(inputs)), 3)
        columns = np.array([sorted({(d * k) % 8 for k in (1, 3, 5)} | {0, 1, 2})[:3] for d in digits]).ravel()
        channels = np.array([[(d * k) % 17 for d in digits for _ in range(3)] for k in (3, 7)], dtype=np.float32)
        return Scored(np.zeros((0, len(inputs), 0), np.float32), Candidates(rows, columns.astype(np.int64), channels))

    monkeypatch.setattr(NamesScorer, "score", noise)
    model, alone = model_of(animals), model_of(animals, "linear")
    for row in model.calibration_.report:
        assert row["weights"]["names"] < 0.1
    ours, theirs = (m.evaluate(animals.X, animals.y).metrics["hF"] for m in (model, alone))
    assert ours > theirs - 0.02


def test_several_scorers_are_updated_only_if_all_of_them_can(
    animals: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(animals, scorer_options={"linear": {"updatable": True}})
    before = model.predict_proba(animals.X)
    with pytest.raises(UsageError, match="scorer 'names' cannot be updated"):
        model.partial_update(["yak"], [["yak"]])
    assert model.predict_proba(animals.X).tobytes() == before.tobytes()
    monkeypatch.setattr(NamesScorer, "partial_update", lambda self, inputs, Y, **about: self, raising=False)
    model.partial_update(["yak w1", "w2 yak"], [["yak"], ["yak"]])
    assert animals.taxonomy.index("yak") in model.scorer_.columns
    assert model.report_["trained_nodes"] == 8
    assert model.report_["documents"] == 152


def test_what_is_not_found_has_a_prior() -> None:
    """Whoever is found through a name has a score, the others a prior."""
    taxonomy = Taxonomy([Node("a"), Node("b"), Node("yak")], [("a", "b")])
    X, y = ["a", "b", "q"] * 5, [["a"], ["b"], []] * 5
    model = HierarchicalClassifier(taxonomy=taxonomy, scorer="names", n_jobs=1).fit(X, y)
    scores = dict(zip(model.classes_, model.predict_proba(["q", "b"]).T.tolist(), strict=True))
    assert min(min(both) for both in scores.values()) > 0
    assert scores["b"][1] > 0.5 > scores["b"][0]
    assert scores["yak"][0] == scores["yak"][1] == pytest.approx(1 / 17, abs=0.1)


# -- from the command line ---------------------------------------------------------------------------------------


class Phrases(NamesScorer):
    """Takes the options of a lexicon."""

    name: ClassVar[str] = "lexicon"
    made: ClassVar[list[Phrases]] = []

    def __init__(self, *, mined: bool = True, min_documents: int = 2, n_jobs: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.mined, self.min_documents = mined, min_documents
        self.made.append(self)

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        scorer = cls()
        scorer.columns, scorer.known = np.zeros(0, dtype=np.int64), arrays["known"]
        scorer.words, scorer.above = config["words"], config["above"]
        return scorer


def test_several_scorers_are_trained_and_shown_by_the_command_line(
    animals: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hclf.cli import main

    def run(*arguments: object) -> tuple[str, str]:
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert done.value.code == 0, said.err
        return said.out, said.err

    monkeypatch.setitem(SCORERS, "lexicon", f"{__name__}:Phrases")
    monkeypatch.setattr(Phrases, "made", [])
    edges = "".join(f"{child}\t{parent}\n" for parent, child in animals.taxonomy.edges())
    (tmp_path / "animals.tsv").write_text(f"id\tparent\nanimal\t\n{edges}")
    rows = [
        {"text": text, "labels": list(labels), "spans": [{"start": 0, "end": 2, "label": labels[0]}]}
        for text, labels in zip(animals.X, animals.y, strict=True)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = ("train", "-t", tmp_path / "animals.tsv", "-d", tmp_path / "data.jsonl", "-o", tmp_path / "m", "-f")
    _, said = run(
        *common, "--scorer", "linear+lexicon", "--no-mined-phrases", "--min-documents", 3, "--C", 0.5, "-j", 1
    )
    assert "weights of trained nodes, by level: 1: linear" in said
    assert {(scorer.mined, scorer.min_documents) for scorer in Phrases.made} == {(False, 3)}
    heard = [scorer.heard for scorer in Phrases.made if scorer.heard]
    assert [len(mentions) for mentions in heard] == [120] * 5 + [150]
    assert all(len(of_one) == 1 for of_one in heard[-1])
    model = HierarchicalClassifier.load(tmp_path / "m")
    assert model.scorer_options == {
        "linear": {"C": 0.5},
        "lexicon": {"mined": False, "min_documents": 3},
    }
    shown, _ = run("inspect", tmp_path / "m")
    assert "linear+lexicon" in shown
    assert "weights of trained nodes" in shown
    run(*common, "--scorer", "lexicon", "-j", 1)
    assert HierarchicalClassifier.load(tmp_path / "m").scorer_options == {}
