"""The contract of every scorer in `SCORERS`: laws 4 and 5, and what may be missing from documents and labels.

Those that need a language model, or take feature matrices only, are held to it in tests of their own.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from dags import Dag, dags
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, issparse

from hclf.errors import HclfError, MissingExtraError, UsageError
from hclf.labels import from_pairs, label_matrix, partial_depth
from hclf.scorers import SCORERS, one_vs_rest, scorer_class
from hclf.scorers.base import Candidates, Scored, floor_of
from hclf.scorers.linear import LinearScorer, node_texts
from hclf.scorers.training import Rows
from hclf.taxonomy import Node, Taxonomy

TESTED_ELSEWHERE = {
    "neural": "test_neural",
    "similarity": "test_similarity",
    "forest": "test_forest",
    "imported": "test_interchange",
    "prompt": "test_prompt",
}
HERE = [name for name in SCORERS if name not in TESTED_ELSEWHERE]
MODELS = [name for name in HERE if scorer_class(name).channels]  # the others speak of single pairs only
every_scorer = pytest.mark.parametrize("name", HERE)
every_scorer_of_models = pytest.mark.parametrize("name", MODELS)


def texts(sample: Sample) -> list[dict[str, str]]:
    return [{"text": text} for text in sample.X]


def fitted(name: str, sample: Sample, **options: Any) -> Any:
    Y = label_matrix(sample.taxonomy, sample.y)
    return scorer_class(name)(**{"n_jobs": 1, **options}).fit(texts(sample), Y, taxonomy=sample.taxonomy)


def identical(a: Any, b: Any) -> bool:
    """Bit for bit: arrays, or all that is said of documents."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return all(identical(x, y) for x, y in zip(a, b, strict=True))
    if a is None or b is None:
        return a is b
    if issparse(a):
        return a.shape == b.shape and all(
            identical(getattr(a, k), getattr(b, k)) for k in ("data", "indices", "indptr")
        )
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def rows_of(scored: Scored, rows: list[int]) -> Scored:
    """What is said of these documents, as if nothing else had been asked."""
    channels = np.ascontiguousarray(scored.channels[:, rows])
    if scored.candidates is None:
        return Scored(channels)
    at = [np.flatnonzero(scored.candidates.rows == row) for row in rows]
    place = np.concatenate(at)
    return Scored(
        channels,
        Candidates(
            np.repeat(np.arange(len(rows)), list(map(len, at))),
            scored.candidates.columns[place],
            np.ascontiguousarray(scored.candidates.channels[:, place]),
        ),
        None if scored.listwise is None else scored.listwise[rows],
    )


def spread_out(scorer: Any, scored: Scored, like: Any) -> np.ndarray:
    """What is said of single pairs, as whole columns: the floors elsewhere."""
    assert scored.candidates is not None
    names = type(scorer).candidate_channels
    channels = np.stack([np.full(like.shape, floor_of(scorer, name), dtype=np.float32) for name in names])
    channels[:, scored.candidates.rows, scored.candidates.columns] = scored.candidates.channels
    return channels


def through_disk(scorer: Any, folder: Path) -> Any:
    """What a bundle does to a scorer: JSON, and arrays without pickle."""
    config, arrays = scorer.get_state()
    np.savez(folder / "part.npz", **arrays)
    with np.load(folder / "part.npz", allow_pickle=False) as found:
        return type(scorer).from_state(json.loads(json.dumps(config)), dict(found))


@pytest.fixture(scope="module", params=HERE)
def scorer(request: pytest.FixtureRequest, pets: Sample) -> Any:
    return fitted(request.param, pets)


# -- what a score is ---------------------------------------------------------------------------------------------


def test_channels_have_a_number_for_every_document_and_trained_node(scorer: Any, pets: Sample) -> None:
    scores = scorer.score(texts(pets)).channels
    assert scores.shape == (len(type(scorer).channels), 60, len(scorer.columns))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scorer.columns.dtype == np.int64
    if not len(type(scorer).channels):
        assert scorer.columns.tolist() == []
        return
    trained = np.flatnonzero(label_matrix(pets.taxonomy, pets.y).toarray().any(axis=0))
    assert scorer.columns.tolist() == trained.tolist()  # ascending, `unseen` is not among them


def test_candidates_are_other_nodes_each_once_a_document(scorer: Any, pets: Sample) -> None:
    candidates = scorer.score(texts(pets)).candidates
    if candidates is None:
        return
    rows, columns, channels = candidates
    assert (rows.dtype, columns.dtype, channels.dtype) == (np.int64, np.int64, np.float32)
    assert channels.shape == (len(type(scorer).candidate_channels), len(rows))
    assert np.isfinite(channels).all()
    assert (np.diff(rows) >= 0).all()
    assert ((rows >= 0) & (rows < 60)).all()
    assert not np.isin(columns, scorer.columns).any()
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)


def test_a_scorer_goes_by_the_name_it_is_registered_under(scorer: Any) -> None:
    assert scorer_class(type(scorer).name) is type(scorer)


def test_every_channel_is_higher_where_a_node_is_right(scorer: Any, more_pets: Sample) -> None:
    scored, true = scorer.score(texts(more_pets)), label_matrix(more_pets.taxonomy, more_pets.y).toarray()
    whole = len(scorer.columns) > 0
    channels = scored.channels if whole else spread_out(scorer, scored, true)
    true = true[:, scorer.columns] if whole else true
    for channel in channels:
        least = channel.std() / 2 if whole else 0  # of single pairs most are at the floor
        assert channel[true].mean() > channel[~true].mean() + least


def test_rows_do_not_depend_on_their_batch_or_its_order(scorer: Any, more_pets: Sample) -> None:
    documents = [*texts(more_pets), {"text": ""}, {"text": "Ünïcode 🐈 cat"}, {"text": "cat"}]
    together = scorer.score(documents)
    for i in range(len(documents) - 3):
        assert identical(scorer.score(documents[i : i + 1]), rows_of(together, [i]))
    order = np.random.default_rng(0).permutation(len(documents)).tolist()
    assert identical(scorer.score([documents[i] for i in order]), rows_of(together, order))


def test_scoring_changes_neither_the_scorer_nor_the_documents(scorer: Any, more_pets: Sample) -> None:
    documents = texts(more_pets)
    first = scorer.score(documents)
    assert documents == texts(more_pets)
    assert identical(scorer.score(documents), first)


def test_a_saved_scorer_scores_bit_for_bit_the_same(scorer: Any, more_pets: Sample, tmp_path: Path) -> None:
    documents = [*texts(more_pets), {"text": "naïve Ünïcode 🐈"}]
    again = through_disk(scorer, tmp_path)
    assert identical(again.score(documents), scorer.score(documents))
    assert identical(again.columns, scorer.columns)
    assert identical(through_disk(again, tmp_path).score(documents), scorer.score(documents))


def test_state_arrays_are_plain(scorer: Any) -> None:
    assert all(array.dtype != object for array in scorer.get_state()[1].values())


@pytest.mark.parametrize("documents", [[], [{"text": ""}], [{}]])
def test_a_batch_without_any_text_is_scored(scorer: Any, documents: list[dict[str, str]]) -> None:
    assert scorer.score(documents).channels.shape[1:] == (len(documents), len(scorer.columns))


def test_a_document_without_text_scores_as_if_it_said_nothing(scorer: Any) -> None:
    empty, blank, unknown = (rows_of(scorer.score([{"text": "cat"}, {"text": t}]), [1]) for t in ("", " \n ", "qqq"))
    assert identical(empty, blank)
    assert identical(empty, unknown)


# -- same seed, same result --------------------------------------------------------------------------------------


@every_scorer
def test_same_seed_same_result(name: str, pets: Sample, more_pets: Sample) -> None:
    options = {"linear": {"negatives": 3, "negatives_per_positive": 0.1, "random_negatives": 5}}.get(name, {})
    a, b, other = (fitted(name, pets, seed=seed, **options).score(texts(more_pets)) for seed in (7, 7, 8))
    assert identical(a, b)
    if name in MODELS:
        assert not identical(a, other)


@pytest.mark.slow
@every_scorer
def test_the_number_of_jobs_does_not_change_the_result(name: str, products: Sample) -> None:
    inputs, Y = products.X[:150], label_matrix(products.taxonomy, products.y[:150])
    one, four = (
        scorer_class(name)(n_jobs=jobs).fit(inputs, Y, taxonomy=products.taxonomy).score(inputs) for jobs in (1, 4)
    )
    assert identical(one, four)


# -- labels that say nothing -------------------------------------------------------------------------------------


@every_scorer_of_models
def test_a_document_of_which_a_node_is_unknown_is_no_negative_of_it(name: str) -> None:
    """Ten documents read like `cats` but are labelled `animals`: unknown below, they must not speak against cats."""
    taxonomy = Taxonomy(["animals", "cats", "dogs"], [("animals", "cats"), ("animals", "dogs")])
    inputs = [{"text": f"purr whiskers {i}"} for i in range(13)] + [{"text": f"bark leash {i}"} for i in range(10)]
    Y = label_matrix(taxonomy, [["cats"]] * 3 + [["animals"]] * 10 + [["dogs"]] * 10)
    unknown = partial_depth(taxonomy, Y)
    assert unknown.nnz == 20
    cats = taxonomy.index("cats")

    def margin(mask: csr_matrix | None) -> float:
        scorer = scorer_class(name)(n_jobs=1).fit(inputs, Y, taxonomy=taxonomy, unknown=mask)
        return float(scorer.score([{"text": "purr whiskers"}]).channels[0, 0, scorer.columns.tolist().index(cats)])

    silent = from_pairs(np.array([], dtype=int), np.array([], dtype=int), Y.shape)
    assert margin(unknown) > margin(None) + 0.5
    assert margin(silent) == margin(None)


@every_scorer_of_models
def test_hiding_one_pair_changes_its_node_alone(name: str) -> None:
    taxonomy = Taxonomy(["a", "b", "c"])
    inputs = [{"text": t} for t in ("red", "red wine", "blue", "blue cheese", "green", "green tea")]
    known = label_matrix(taxonomy, [["a"], ["a"], ["b"], ["b"], ["c"], ["c"]])
    hidden = from_pairs(np.array([0]), np.array([1]), known.shape)  # is the first document a `b`? nobody said
    shown, masked = (
        scorer_class(name)(n_jobs=1).fit(inputs, known, taxonomy=taxonomy, unknown=mask) for mask in (None, hidden)
    )
    probe = [{"text": "red wine"}]
    difference = masked.score(probe).channels[0, 0] - shown.score(probe).channels[0, 0]
    assert difference[1] > 0  # one negative less
    assert difference[[0, 2]].tolist() == [0, 0]


# -- what may be missing -----------------------------------------------------------------------------------------


@every_scorer
def test_nodes_without_texts_and_odd_documents_are_no_trouble(name: str) -> None:
    taxonomy = Taxonomy([Node("a"), Node("b", {"": "  "}), Node("c", {"de": "Käse"}), Node("d", description="!")])
    inputs = [{"text": t} for t in ("", "🧀 Käse 中文 ß", "a", "\ud800 half", "x " * 2_000, " \n")]
    Y = label_matrix(taxonomy, [["a"], ["a", "c"], ["b"], ["b", "c"], ["d"], []])
    scorer = scorer_class(name)(n_jobs=1).fit(inputs, Y, taxonomy=taxonomy)
    scored = scorer.score(inputs)
    assert scored.channels.shape[1:] == (6, 4 if name in MODELS else 0)
    assert np.isfinite(scored.channels).all()
    if scored.candidates is not None:
        assert np.isfinite(scored.candidates.channels).all()


@every_scorer
def test_a_node_of_every_document_and_a_node_of_one(name: str, tmp_path: Path) -> None:
    taxonomy = Taxonomy(["root", "a", "b"], [("root", "a"), ("root", "b")])
    inputs = [{"text": t} for t in ("red wine", "red tea", "blue tea", "blue cheese")]
    Y = label_matrix(taxonomy, [["a"], ["root"], ["root"], ["root"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer = scorer_class(name)(n_jobs=1).fit(inputs, Y, taxonomy=taxonomy)
    scores = scorer.score(inputs)
    if name in MODELS:
        assert scorer.columns.tolist() == [0, 1]
        assert (scores.channels[0, :, 0] > 0).all()  # nothing speaks against it
        assert scores.channels[0, :, 1].argmax() == 0
    assert identical(through_disk(scorer, tmp_path).score(inputs), scores)


@every_scorer
@pytest.mark.parametrize("documents", [1, 2])
def test_one_document_is_enough(name: str, documents: int, tmp_path: Path) -> None:
    taxonomy = Taxonomy(["a"])
    inputs = [{"text": "red"}] * documents
    scorer = scorer_class(name)(n_jobs=1).fit(inputs, label_matrix(taxonomy, [["a"]] * documents), taxonomy=taxonomy)
    scores = scorer.score([{"text": "red"}, {"text": "blue"}])
    assert np.isfinite(scores.channels).all()
    assert identical(through_disk(scorer, tmp_path).score([{"text": "red"}, {"text": "blue"}]), scores)


# -- feature matrices --------------------------------------------------------------------------------------------


def blobs(kind: str, n: int = 60, seed: int = 0) -> tuple[csr_matrix, list[list[str]]]:
    """Rows around one centre a node; dense, mostly zero, or with values missing."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(3, 12)) * 3
    node = rng.integers(3, size=n)
    X = centres[node] + rng.normal(size=(n, 12))
    if kind == "sparse":
        X[np.abs(X) < 3] = 0
    if kind == "missing":
        X[rng.random(X.shape) < 0.15] = np.nan
    return csr_matrix(X), [["abc"[i]] for i in node]


@every_scorer_of_models
@pytest.mark.parametrize("kind", ["dense", "sparse", "missing"])
def test_a_feature_matrix_is_scored_like_documents(name: str, kind: str, tmp_path: Path) -> None:
    taxonomy = Taxonomy("abc")
    (X, y), (new, new_y) = blobs(kind), blobs(kind, n=40, seed=1)
    scorer = scorer_class(name)(n_jobs=1).fit(X, label_matrix(taxonomy, y), taxonomy=taxonomy)
    scores = scorer.score(new)
    channels = scores.channels
    assert (channels.shape, channels.dtype) == ((len(type(scorer).channels), 40, 3), np.float32)
    assert np.isfinite(channels).all()
    right = [["abc"[j]] for j in channels[0].argmax(axis=1)]
    assert sum(a == b for a, b in zip(right, new_y, strict=True)) >= 36
    for i in range(40):
        assert identical(scorer.score(new[i]), rows_of(scores, [i]))
    assert identical(through_disk(scorer, tmp_path).score(new), scores)
    with pytest.raises(UsageError, match="11 features"):
        scorer.score(new[:, :11])


# -- by name -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "module"), TESTED_ELSEWHERE.items())
def test_the_contract_of_the_others_is_tested_elsewhere(name: str, module: str) -> None:
    assert scorer_class(name).name == name
    assert (Path(__file__).parent / f"{module}.py").exists()


def test_a_scorer_whose_extra_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("hclf.scorers.table.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"scorer 'neural' needs an extra .*pip install 'hclf\[neural\]'"):
        scorer_class("neural")


def test_an_unknown_scorer_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown scorer 'liner'; did you mean 'linear'"):
        scorer_class("liner")


@every_scorer_of_models
def test_without_a_word_there_is_nothing_to_learn(name: str) -> None:
    taxonomy = Taxonomy([Node("a")])
    with pytest.raises(HclfError, match="word"):
        scorer_class(name)(n_jobs=1).fit([{"text": " "}], label_matrix(taxonomy, [["a"]]), taxonomy=taxonomy)


# -- what only the linear scorer promises ------------------------------------------------------------------------


def test_node_texts_are_every_different_name_synonym_and_description() -> None:
    node = Node("x", {"en": "Milk", "de": "Milch"}, {"en": ("milk", "dairy milk"), "": (" ",)}, "White.")
    assert sorted(node_texts(Taxonomy([node]), 0)) == sorted(["milk", "Milch", "dairy milk", "White."])


def test_names_of_nodes_are_training_data_on_request() -> None:
    """Nothing but its name says that `cheese` is about gouda."""
    taxonomy = Taxonomy([Node("cheese", {"": "Cheese"}, {"": ("gouda",)}), Node("milk", {"": "Milk"})])
    inputs = [{"text": t} for t in ("yellow block", "yellow slice", "white bottle", "white carton")]
    Y = label_matrix(taxonomy, [["cheese"], ["cheese"], ["milk"], ["milk"]])
    with_names, without = (
        LinearScorer(node_texts=flag, n_jobs=1).fit(inputs, Y, taxonomy=taxonomy).score([{"text": "gouda"}]).channels
        for flag in (True, False)
    )
    assert with_names[0, 0, 0] > with_names[0, 0, 1] + 0.5
    assert without[0, 0, 0] == pytest.approx(without[0, 0, 1], abs=0.2)


def test_sampled_negatives_come_close_to_all_negatives(products: Sample) -> None:
    """What the design promises of hard negatives: nearly the scores of full one-vs-rest, on other documents too."""
    train, test = slice(0, 300), slice(300, 400)
    Y = label_matrix(products.taxonomy, products.y[train])
    options = {"negatives": 20, "negatives_per_positive": 2, "random_negatives": 40}
    alone = {"node_texts": False, "matching": False, "n_jobs": 1}  # thrice as many rows would need more negatives
    exact, sampled = (
        LinearScorer(**o, **alone)
        .fit(products.X[train], Y, taxonomy=products.taxonomy)
        .score(products.X[test])
        .channels[0]
        for o in ({"exact": True}, options)
    )
    assert np.corrcoef(exact.ravel(), sampled.ravel())[0, 1] > 0.9
    best = sampled.argmax(axis=1)
    assert np.mean(best == exact.argmax(axis=1)) > 0.8


@pytest.mark.slow
def test_blocks_and_processes_do_not_change_the_result(pets: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not threads: liblinear draws from one random generator a process."""
    expected = fitted("linear", pets).score(texts(pets))
    monkeypatch.setattr(one_vs_rest, "MOST_NODES", 3)
    assert identical(fitted("linear", pets).score(texts(pets)), expected)
    monkeypatch.setattr(one_vs_rest, "WORTH_PROCESSES", 0)
    assert identical(fitted("linear", pets, n_jobs=2).score(texts(pets)), expected)


def test_progress_is_told_how_much_there_is_and_sees_all_of_it(pets: Sample) -> None:
    told: list[tuple[str, int]] = []
    seen: list[Any] = []

    def progress(items: Any, what: str, total: int) -> Any:
        told.append((what, total))
        for item in items:
            seen.append(item)
            yield item

    Y = label_matrix(pets.taxonomy, pets.y)
    scorer = LinearScorer(n_jobs=1).fit(texts(pets), Y, taxonomy=pets.taxonomy, progress=progress)
    assert told == [("training nodes", len(seen))]
    assert identical(scorer.score(texts(pets)), fitted("linear", pets).score(texts(pets)))


def test_a_model_needs_a_node() -> None:
    assert LinearScorer(max_models=1).max_models == 1
    with pytest.raises(UsageError, match="max_models is at least 1, not 0"):
        LinearScorer(max_models=0)


# -- margins of the others ---------------------------------------------------------------------------------------


@given(dags(), st.data())
def test_a_margin_is_compared_with_its_level_its_parents_and_its_children(dag: Dag, data: st.DataObject) -> None:
    """Whatever part of the nodes has models: max_models may leave out a parent and keep its child."""
    taxonomy = dag.taxonomy
    some = st.sets(st.integers(0, len(taxonomy) - 1), min_size=1)
    columns = np.array(sorted(data.draw(some)))
    scorer = LinearScorer(n_jobs=1)
    scorer.columns = columns
    nothing = csr_matrix((1, 1), dtype=np.float32)
    Y = from_pairs(np.zeros(len(columns), dtype=int), columns, (1, len(taxonomy)))
    scorer._arrange(Rows(nothing, Y, None, nothing, nothing[:0], columns[:0], nothing[:0]), taxonomy)
    out = np.full((len(LinearScorer.channels), 3, len(columns)), np.nan, dtype=np.float32)
    seed = data.draw(st.integers(0, 2**32 - 1))
    margin = np.random.default_rng(seed).normal(size=out[0].shape).round(1).astype(np.float32)  # ties, too
    out[0] = margin
    scorer._look_around(out)
    relative, parent, child = (
        out[LinearScorer.channels.index(channel)] for channel in ("relative", "parent", "child")
    )

    assert identical(out[0], margin)
    assert (relative <= 0).all()
    at = {int(column): i for i, column in enumerate(columns)}
    for column, i in at.items():
        node, level = taxonomy.nodes[column], taxonomy.levels[column]
        level_mates = [k for other, k in at.items() if taxonomy.levels[other] == level]
        above = [at[j] for p, c in dag.edges if c == node and (j := taxonomy.index(p)) in at]
        below = [at[j] for p, c in dag.edges if p == node and (j := taxonomy.index(c)) in at]
        for row in range(3):
            assert max(relative[row, k] for k in level_mates) == 0
            assert relative[row, i] == margin[row, i] - max(margin[row, k] for k in level_mates)
            assert parent[row, i] == min((margin[row, k] for k in above), default=1)
            assert child[row, i] == max((margin[row, k] for k in below), default=margin[row, i])


# -- a second round ----------------------------------------------------------------------------------------------

TWINS = Taxonomy([f"n{k:02}" for k in range(12)])


def twins(n: int, seed: int) -> tuple[list[dict[str, str]], csr_matrix]:
    """Documents of twelve nodes in pairs that share words; one in three words is some other node's."""
    rng = np.random.default_rng(seed)
    inputs, labels = [], []
    for node in rng.integers(12, size=n).tolist():
        own = [f"own{node}w{i}" for i in rng.integers(8, size=3)]
        shared = [f"pair{node // 2}w{i}" for i in rng.integers(4, size=2)]
        other = [f"own{k}w{i}" for k, i in rng.integers((12, 8), size=(2, 2))]
        inputs.append({"text": " ".join([*own, *shared, *other])})
        labels.append([f"n{node:02}"])
    return inputs, label_matrix(TWINS, labels)


def twin_margins(**options: Any) -> Any:
    inputs, Y = twins(1_200, seed=0)
    scorer = LinearScorer(node_texts=False, matching=False, n_jobs=1, **options).fit(inputs, Y, taxonomy=TWINS)
    return scorer.score(twins(300, seed=1)[0]).channels[0].ravel()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_second_round_makes_up_for_negatives_that_were_missed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"negatives": 10, "negatives_per_positive": 0.1, "random_negatives": 20, "seed": seed}
    exact, twice = twin_margins(exact=True), twin_margins(**few)
    monkeypatch.setattr(one_vs_rest, "SECOND_ROUND", 10**9)
    assert identical(twin_margins(exact=True), exact)  # there is nothing it could have missed
    once = twin_margins(**few)
    before, after = (np.corrcoef(exact, margins)[0, 1] for margins in (once, twice))
    assert after > before + 0.005
    assert after > 0.96


def test_a_node_of_few_documents_has_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, Y = twins(300, seed=0)  # about 25 of each
    few = {"negatives": 10, "negatives_per_positive": 0.1, "random_negatives": 20, "node_texts": False}
    fewest, most = (int(f(np.bincount(Y.indices))) for f in (np.min, np.max))
    scores = {}
    for least in (fewest, most + 1, 10**9):
        monkeypatch.setattr(one_vs_rest, "SECOND_ROUND", least)
        scores[least] = LinearScorer(**few, matching=False, n_jobs=1).fit(inputs, Y, taxonomy=TWINS).score(inputs)
    assert identical(scores[most + 1], scores[10**9])
    assert not identical(scores[fewest], scores[10**9])
