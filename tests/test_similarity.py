"""The similarity scorer: against slow references, with and without documents, saved and loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from dags import Dag, dags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from tiny_models import tiny_bert

from hclf import HierarchicalClassifier, Node, Taxonomy
from hclf.errors import DataError, UsageError
from hclf.fusion import Prior
from hclf.labels import label_matrix
from hclf.scorers import similarity, table
from hclf.scorers.similarity import FEATURES, UNTAUGHT, Reader, SimilarityScorer

THINGS = Taxonomy(
    [
        Node("1", {"en": "fresh fruit"}),
        Node("2", {"en": "red apples"}, {"en": ("apple", "russet")}),
        Node("3", {"en": "green pears"}),
        Node("4", {"en": "electronics"}),
        Node("5", {"en": "laptop computers"}, description="portable machines for the office"),
        Node("6", {"en": "camera phones"}),
    ],
    [("1", "2"), ("1", "3"), ("4", "5"), ("4", "6")],
)
ABOUT = {"2": "a basket of red apples", "3": "green pears, ripe", "5": "new laptop computers", "6": "camera phones"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = [text for j in range(len(THINGS)) for text in THINGS.node(j).texts] + list(ABOUT.values())
    return tiny_bert(tmp_path_factory.mktemp("encoder"), texts=words)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.SCORERS, "similarity", "hclf.scorers.similarity:SimilarityScorer")


def fitted(folder: Path, taxonomy: Taxonomy, X: list[str], y: Any, **options: Any) -> SimilarityScorer:
    scorer = SimilarityScorer(encoder=folder, **options)
    return scorer.fit([{"text": text} for text in X], label_matrix(taxonomy, y), taxonomy=taxonomy)


def reference(scorer: SimilarityScorer, taxonomy: Taxonomy, X: list[str], y: Any, text: str) -> np.ndarray:
    """Return the probability of every node for a text: everything by loops, words by scikit-learn."""

    def unit(vector: Any) -> Any:
        return vector / (np.linalg.norm(vector) or 1)

    @cache
    def vector(of: str) -> Any:
        return scorer._reader.vectors([of])[0].astype(float)

    paths = [" > ".join(taxonomy[step].name for step in taxonomy.path(node)) for node in taxonomy.nodes]
    texts = [[path, *(taxonomy.node(j).texts or [taxonomy.node(j).name])] for j, path in enumerate(paths)]
    every = [one for own in texts for one in own]
    words = TfidfVectorizer(token_pattern=r"\w+", norm=None, sublinear_tf=True, use_idf=False).fit(every)
    frequency = (words.transform(paths).toarray() > 0).sum(axis=0)
    rarity = np.log((1 + len(paths)) / (1 + frequency)) + 1

    def row(of: str) -> Any:
        return unit(words.transform([of]).toarray()[0] * rarity)

    cosines = [vector(a) @ vector(b) for i, a in enumerate(paths) for b in paths[:i]]
    variance = (len(cosines) * np.var(cosines) + 10 * 0.14**2) / (len(cosines) + 10)
    logits = []
    for j, path in enumerate(paths):
        mean = unit(
            vector(path) + sum((vector(x) for x, own in zip(X, y, strict=True) if taxonomy.nodes[j] in own), 0.0)
        )
        best = max(vector(text) @ vector(one) for one in texts[j])
        shared = max(row(text) @ row(one) for one in texts[j])
        scaled = [(value - np.mean(cosines)) / np.sqrt(variance) for value in (best, vector(text) @ mean)]
        logits.append(np.dot([scorer.weights[name] for name in FEATURES], [scaled[0], shared, scaled[1]]))
    odds = np.exp(logits)
    share = odds / (1 + odds.sum())
    return np.array([share[below_or_at(taxonomy, j)].sum() for j in range(len(taxonomy))])


def below_or_at(taxonomy: Taxonomy, node: int) -> list[int]:
    every = np.arange(len(taxonomy))
    rows, columns = taxonomy.close_pairs(every, every)
    return rows[columns == node].tolist()


# -- what it says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [0, 4])
def test_probabilities_are_those_of_a_slow_reference(folder: Path, documents: int) -> None:
    X, y = list(ABOUT.values())[:documents], [[node] for node in list(ABOUT)[:documents]]
    scorer = fitted(folder, THINGS, X, y)
    for text in ("two red apples", "office machines for fresh pears", "nothing known", "russet"):
        found = scorer.score([{"text": text}]).listwise.toarray()[0]
        assert found == pytest.approx(reference(scorer, THINGS, X, y, text), abs=1e-4)


def test_without_documents_there_are_no_columns_and_every_node_is_a_candidate(folder: Path) -> None:
    scored = fitted(folder, THINGS, [], []).score([{"text": "red apples"}, {"text": "phones"}])
    assert scored.channels.shape == (3, 2, 0)
    assert scored.candidates.rows.tolist() == [0] * 6 + [1] * 6
    assert scored.candidates.columns.tolist() == [*range(6), *range(6)]
    log_odds = scored.candidates.channels[0].reshape(2, 6)
    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(scored.listwise.toarray(), abs=1e-4)


def test_nodes_with_documents_are_columns_and_the_others_candidates(folder: Path) -> None:
    X, y = list(ABOUT.values())[:2], [["2"], ["3"]]
    scorer = fitted(folder, THINGS, X, y)
    assert [THINGS.nodes[j] for j in scorer.columns] == ["1", "2", "3"]
    assert len(scorer.known) == 6
    scored = scorer.score([{"text": "camera phones"}])
    assert {THINGS.nodes[j] for j in scored.candidates.columns} == {"4", "5", "6"}
    assert scored.channels.shape == (3, 1, 3)
    probability = scored.listwise.toarray()[0]
    everywhere = np.concatenate([scored.channels[0, 0], scored.candidates.channels[0]])
    order = np.concatenate([scorer.columns, scored.candidates.columns])
    assert 1 / (1 + np.exp(-everywhere)) == pytest.approx(np.clip(probability, 1e-4, 1 - 1e-4)[order], abs=1e-5)


def test_only_the_best_candidates_are_weighed(folder: Path) -> None:
    scorer = fitted(folder, THINGS, [], [], candidates=1)
    listwise = scorer.score([{"text": "red apples"}]).listwise
    assert [THINGS.nodes[j] for j in listwise.indices] == ["1", "2"]
    assert listwise.data[0] == listwise.data[1]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dags(max_nodes=8), st.data())
def test_probabilities_never_rise_from_parent_to_child(folder: Path, dag: Dag, data: st.DataObject) -> None:
    taxonomy = dag.taxonomy
    labels = data.draw(st.lists(st.sampled_from(taxonomy.nodes), max_size=4))
    scorer = fitted(folder, taxonomy, [f"red {label} apples" for label in labels], [[label] for label in labels])
    scores = scorer.score([{"text": "red apples"}, {"text": taxonomy.nodes[0]}]).listwise.toarray()
    assert ((scores >= 0) & (scores <= 1)).all()
    child, parent = taxonomy.parents.of_many(np.arange(len(taxonomy)))
    assert (scores[:, child] <= scores[:, parent] + 1e-6).all()


def test_names_without_a_word_are_compared_by_the_encoder_alone(folder: Path) -> None:
    taxonomy = Taxonomy(["§", "¶"], [("§", "¶")])
    scores = fitted(folder, taxonomy, [], []).score([{"text": "red apples"}, {"text": "¶"}]).listwise.toarray()
    assert ((scores[:, 0] >= scores[:, 1]) & (scores[:, 1] > 0)).all()


def test_rows_do_not_depend_on_their_batch(folder: Path) -> None:
    scorer = fitted(folder, THINGS, list(ABOUT.values()), [[node] for node in ABOUT])
    documents = [{"text": text} for text in (*ABOUT.values(), "", "machines " * 90, "Ünïcode 🐈")]
    together = scorer.score(documents)
    for i, document in enumerate(documents):
        alone = scorer.score([document])
        assert alone.channels[:, 0] == pytest.approx(together.channels[:, i], abs=1e-4)
        assert alone.listwise.toarray()[0] == pytest.approx(together.listwise[i].toarray()[0], abs=1e-5)


def test_fields_are_read_one_after_another(folder: Path) -> None:
    scorer = fitted(folder, THINGS, [], [])
    one, two = (scorer.score([fields]).listwise for fields in ({"a": "red\napples"}, {"a": "red", "b": "apples"}))
    assert one.toarray().tolist() == two.toarray().tolist()


# -- what it learns ----------------------------------------------------------------------------------------------


def test_the_mean_of_documents_is_shrunk_towards_the_path(folder: Path) -> None:
    scorer = fitted(folder, THINGS, ["ripe fruit", "juice"], [["2"], ["2"]])
    path, *documents = scorer._reader.vectors(["fresh fruit > red apples", "ripe fruit", "juice"])
    mean = (path + documents[0] + documents[1]) / 3
    at = THINGS.index("2")
    assert scorer._means[at] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    others = np.arange(len(THINGS)) != at
    assert scorer._means[others] == pytest.approx(scorer._nodes.paths[others], abs=1e-6)


def test_weights_are_fixed_until_there_are_documents_to_learn_from(folder: Path) -> None:
    X, y = ["red apples"] * 49, [["2"]] * 49
    assert list(fitted(folder, THINGS, X, y).weights.values()) == pytest.approx(UNTAUGHT)
    assert list(fitted(folder, THINGS, [*X, "pears"], [*y, ["3"]]).weights.values()) != pytest.approx(UNTAUGHT)


def test_means_are_trusted_where_names_mislead(folder: Path) -> None:
    """Every document is about what another node is called."""
    names = list(ABOUT)
    X = [f"{ABOUT[names[i % 4]]} no {i // 4 % 5}" for i in range(80)]
    y = [[names[(i + 1) % 4]] for i in range(80)]
    scorer = fitted(folder, THINGS, X, y)
    assert scorer.weights["words"] < UNTAUGHT[1]
    assert scorer.weights["mean"] > scorer.weights["best"]
    best = scorer.score([{"text": text} for text in X]).listwise.toarray()
    leaves = [THINGS.index(node) for node in names]
    found = [names[k] for k in best[:, leaves].argmax(axis=1)]
    assert np.mean([[node] == own for node, own in zip(found, y, strict=True)]) > 0.9


def test_a_document_does_not_speak_for_itself_while_weights_are_learned(folder: Path) -> None:
    """One document a node: left out of its mean, it finds the path alone there, which is `best`, too."""
    taxonomy = Taxonomy([Node(str(i), {"en": f"name {i}"}) for i in range(60)])
    X = [f"red apples and {i} pears" for i in range(60)]
    seen = []

    def watched(values: Any, truth: Any) -> Any:
        seen.append((values, truth))
        return np.array(UNTAUGHT, dtype=np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_listwise", watched)
        scorer = fitted(folder, taxonomy, X, [[str(i)] for i in range(60)], candidates=60)
    values, truth = seen[0]
    own = scorer._nodes.scaled(
        (scorer._reader.vectors(X) * scorer._nodes.paths[[*map(taxonomy.index, map(str, range(60)))]]).sum(1)
    )
    assert values[2][truth] == pytest.approx(own, abs=1e-3)


def test_learned_weights_minimise_the_loss_and_are_not_negative() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 200, 6)).astype(np.float32)
    truth = np.zeros((200, 6), dtype=bool)
    truth[np.arange(200), (2 * values[0] - values[1]).argmax(axis=1)] = True
    truth[:5] = False
    found = similarity._listwise(values, truth)
    assert (found >= 0).all()
    assert found[1] == 0
    assert found[0] > 2 * found[2]

    def loss(weights: Any) -> float:
        logits = np.einsum("f,fij->ij", weights, values[:, 5:].astype(float))
        picked = logits[truth[5:]] - np.log(np.exp(logits).sum(axis=1))
        return float(-picked.sum() + similarity.RIDGE * ((weights - UNTAUGHT) ** 2).sum())

    for step in np.eye(3) * 0.02:
        assert loss(found + step) >= loss(found) - 1e-3
        if (found - step >= 0).all():
            assert loss(found - step) >= loss(found) - 1e-3


def test_what_is_usual_for_an_encoder_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another encoder, whose cosines are all nearer to 1, gives nearly the same answers."""
    taxonomy = Taxonomy([Node(str(i), {"en": f"{a} {b}"}) for i, (a, b) in enumerate(np.ndindex(8, 8))])
    document = [{"text": "3 5 things"}]
    rng = np.random.default_rng(0)
    table = {}

    def vectors(offset: float, texts: Any, progress: Any = None) -> Any:
        out = np.zeros((len(texts), 16), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.split():
                row[:15] += table.setdefault(word, rng.normal(size=15))
        out[:, :15] /= np.linalg.norm(out, axis=1, keepdims=True)
        out[:, 15] = offset
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    found = []
    for offset in (0.0, 2.0):
        similarity._reader.cache_clear()
        monkeypatch.setattr(Reader, "vectors", partial(vectors, offset))
        found.append(fitted(folder, taxonomy, [], []).score(document).listwise.toarray()[0])
    similarity._reader.cache_clear()
    assert found[0].argmax() == found[1].argmax() == taxonomy.index("29")
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_every_text_is_encoded_once_for_all_folds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    similarity._reader.cache_clear()
    read: list[str] = []
    vectors = Reader.vectors
    monkeypatch.setattr(
        Reader,
        "vectors",
        lambda self, texts, *rest, **more: read.extend(texts) or vectors(self, texts, *rest, **more),
    )
    for _ in range(2):
        fitted(folder, THINGS, ["an unheard text"], [["2"]])
    assert read.count("an unheard text") == read.count("russet") == 1


# -- kept, refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [0, 60])
def test_saved_and_loaded_it_scores_bit_for_bit_the_same_without_the_folder(
    folder: Path, documents: int, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(folder, tmp_path / "encoder"))
    names = list(ABOUT)
    scorer = fitted(
        own,
        THINGS,
        [f"{ABOUT[names[i % 4]]} {i}" for i in range(documents)],
        [[names[i % 4]] for i in range(documents)],
    )
    shutil.rmtree(own)
    config, arrays = scorer.get_state()
    np.savez(tmp_path / "part.npz", **arrays)
    with np.load(tmp_path / "part.npz", allow_pickle=False) as found:
        again = SimilarityScorer.from_state(json.loads(json.dumps(config)), dict(found))
    texts = [{"text": text} for text in ("red apples", "", "machines for the office")]
    before, after = scorer.score(texts), again.score(texts)
    assert before.channels.tobytes() == after.channels.tobytes()
    assert before.listwise.data.tobytes() == after.listwise.data.tobytes()
    assert before.candidates.channels.tobytes() == after.candidates.channels.tobytes()
    assert scorer.columns.tolist() == again.columns.tolist()
    assert scorer.known.tolist() == again.known.tolist()


def test_what_it_cannot_do_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs an encoder"):
        SimilarityScorer()
    with pytest.raises(UsageError, match="at least 1"):
        SimilarityScorer(encoder=folder, candidates=0)
    numbers = csr_matrix(np.ones((2, 3)))
    with pytest.raises(UsageError, match="compares texts with texts"):
        SimilarityScorer(encoder=folder).fit(numbers, label_matrix(THINGS, [["2"], ["3"]]), taxonomy=THINGS)
    with pytest.raises(UsageError, match="compares texts with texts"):
        fitted(folder, THINGS, [], []).score(numbers)
    with pytest.raises(UsageError):
        fitted(tmp_path / "nothing", THINGS, [], [])


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, hclf.scorers.similarity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# -- in a classifier ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def untaught(folder: Path) -> HierarchicalClassifier:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table.SCORERS, "similarity", "hclf.scorers.similarity:SimilarityScorer")
        model = HierarchicalClassifier(taxonomy=THINGS, scorer="similarity", scorer_options={"encoder": str(folder)})
        return model.fit([], [])


def test_a_taxonomy_is_enough(untaught: HierarchicalClassifier) -> None:
    texts = [*ABOUT.values(), ""]
    answers = untaught.predict(texts)
    assert answers[:4] == [("1", "2"), ("1", "3"), ("4", "5"), ("4", "6")]
    assert answers[4] == ()
    assert [own[0].id for own in untaught.rank(texts[:4], 3)] == list(ABOUT)
    probabilities = untaught.predict_proba(texts[:4])
    assert untaught.taxonomy_.violations(probabilities).sum() == 0
    listwise = untaught.scorer_.score([{"text": text} for text in texts[:4]]).listwise.toarray()
    assert probabilities == pytest.approx(listwise, abs=2e-4)


def test_the_report_is_honest_about_what_was_not_tuned(untaught: HierarchicalClassifier) -> None:
    assert untaught.report_["documents"] == untaught.report_["held_out"] == untaught.report_["trained_nodes"] == 0
    assert untaught.report_["cold_start_nodes"] == len(THINGS)
    assert untaught.report_["untuned"] == "no documents: thresholds are fixed at 0.5; tune when there are some"
    assert untaught.thresholds_.values == (0.5, 0.5)
    assert untaught.thresholds_.goal == "fixed"
    assert untaught.decoder_reason_ == "there are no training documents: one path a document is assumed"
    assert untaught.report_["expected_on_new"] is None


def test_it_is_saved_and_tuned_like_any_other(untaught: HierarchicalClassifier, tmp_path: Path) -> None:
    untaught.save(tmp_path / "model")
    model = HierarchicalClassifier.load(tmp_path / "model")
    texts, labels = list(ABOUT.values()), [[node] for node in ABOUT]
    assert model.predict_proba(texts).tobytes() == untaught.predict_proba(texts).tobytes()
    model.tune(texts, labels)
    assert "untuned" not in model.report_
    assert model.report_["held_out"] == 4
    assert model.thresholds_.goal == "hf"
    assert model.score(texts, labels) == 1
    model.tune(texts, labels, calibrate=True)
    assert model.score(texts, labels) == 1


def test_thresholds_of_the_user_come_before_the_fixed_one(folder: Path) -> None:
    options = {"encoder": str(folder)}
    model = HierarchicalClassifier(taxonomy=THINGS, scorer="similarity", scorer_options=options, thresholds=0.9)
    assert model.fit([], []).thresholds_.values == (0.9, 0.9)


def test_others_need_documents_and_documents_need_labels(folder: Path) -> None:
    with pytest.raises(DataError, match="no training document has a label"):
        HierarchicalClassifier(taxonomy=THINGS).fit([], [])
    options = {"similarity": {"encoder": str(folder)}}
    for scorer, X in (("similarity", ["red apples"]), ("linear+similarity", [])):
        with pytest.raises(DataError, match="no training document has a label"):
            HierarchicalClassifier(taxonomy=THINGS, scorer=scorer, scorer_options=options).fit(X, [[]] * len(X))


@pytest.mark.parametrize(("scorer", "least"), [("similarity", 0.5), ("linear+similarity", 0.8)])
def test_with_documents_it_is_fused_and_tuned(folder: Path, pets: Sample, scorer: str, least: float) -> None:
    options = {"similarity": {"encoder": str(folder)}}
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, scorer=scorer, scorer_options=options, n_jobs=1)
    model.fit(pets.X, pets.y)
    assert model.score(pets.X, pets.y) > least
    assert "untuned" not in model.report_
    assert model.report_["held_out"] > 0


def test_without_documents_there_is_no_prior() -> None:
    prior = Prior(THINGS, np.zeros(0, dtype=np.int64), np.zeros(len(THINGS), dtype=np.int64), 0)
    assert prior.fill(np.zeros((2, 0), dtype=np.float32)).tolist() == [[0.0] * 6] * 2
