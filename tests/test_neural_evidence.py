"""What the words of a document add to a network's log-odds."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from neural_problems import garden, label_sets, numbers, texts, vocabulary
from scipy.sparse import csr_matrix
from tiny_models import SENTENCES, tiny_bert, tiny_llama, tiny_roberta
from typer.testing import CliRunner

from hclf.classifier import HierarchicalClassifier
from hclf.cli import app
from hclf.errors import UsageError
from hclf.evidence import Batch, Explainer, Question
from hclf.fusion import Calibration
from hclf.labels import label_matrix
from hclf.scorers.base import Contribution
from hclf.scorers.linear import LinearScorer
from hclf.scorers.neural import evidence as module
from hclf.scorers.neural.interchange import ImportedScorer, export_folder
from hclf.scorers.neural.scorer import NeuralScorer
from hclf.scorers.neural.words import words_of
from hclf.scorers.together import Together

pytestmark = pytest.mark.slow

TEXT: dict[str, Any] = {"encoder_learning_rate": 5e-3, "learning_rate": 2e-2, "epochs": 8, "batch_size": 8}
DOCUMENTS = [
    {"title": "Acorn", "text": "a green leaf, growing bark."},
    {"title": "", "text": ""},
    {"title": "😀 white STATUE", "more": "é ñ grey\u0301 roof"},
    {"text": " \n\n "},
    {"text": "frond spore " * 30 + "stopper"},
]
MODELS = {"bert": tiny_bert, "roberta": tiny_roberta, "llama": tiny_llama}
KINDS = [
    ("bert", {"tune": "full"}),
    ("bert", {"tune": "full", "precision": "bf16"}),
    ("bert", {"tune": "frozen", "layers": 1, "hidden": 16, "n_members": 3}),
    ("bert", {"tune": "full", "head": "max_constraint"}),
    ("bert", {"tune": "full", "head": "conditional"}),
    ("bert", {"tune": "full", "head": "label_attention"}),
    ("bert", {"tune": "full", "head": "native"}),
    ("roberta", {"tune": "lora", "pooling": "first"}),
    ("llama", {"tune": "full"}),
    ("llama", {"tune": "frozen", "head": "label_attention"}),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    said = [*vocabulary(), *SENTENCES]
    return {kind: str(make(tmp_path_factory.mktemp(kind), texts=said)) for kind, make in MODELS.items()}


@pytest.fixture(scope="module")
def learned(folders: dict[str, str]) -> NeuralScorer:
    return texts().fit(encoder=folders["bert"], **TEXT)


def every_pair(n: int, columns: Any) -> tuple[Any, Any]:
    return np.repeat(np.arange(n), len(columns)), np.tile(columns, n)


def sums(found: list[list[Contribution]]) -> list[float]:
    return [sum(c.value for c in contributions) for contributions in found]


def blank_log_odds(scorer: NeuralScorer, documents: Any) -> Any:
    """What the network says of documents of which every word is blank."""
    ready = module.Texts(scorer.network.encoder, documents)
    places = ready.places(np.arange(len(documents)))
    gate = torch.from_numpy(places.units < 0).float()
    with torch.no_grad():
        return scorer.network.beside(ready.faded(gate)).eval().log_odds(places.batch).numpy()


# -- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"), KINDS, ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values()))
)
def test_what_words_add_is_what_the_document_says_beyond_blanks(
    folders: dict[str, str], kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "llama":  # tiny random ones are rougher than any that has learned a language
        monkeypatch.setattr(module, "POINTS", 64)
    quick = {**TEXT, "epochs": 4, "max_length": 40, **options}
    scorer = texts(24).fit(encoder=folders[kind], **quick)
    rows, columns = every_pair(len(DOCUMENTS), scorer.columns)
    scorer.options["precision"] = "fp32"
    beyond = scorer.score(DOCUMENTS).channels[0] - blank_log_odds(scorer, DOCUMENTS)
    assert np.abs(beyond).max() > 0.3
    before = {name: weights.clone() for name, weights in scorer.network.state_dict().items()}
    found = scorer.evidence(DOCUMENTS, rows, columns)
    assert sums(found) == pytest.approx(beyond.ravel().tolist(), abs=0.03, rel=0.02)
    assert all(torch.equal(before[name], weights) for name, weights in scorer.network.state_dict().items())
    assert scorer.score(DOCUMENTS).channels.tobytes() == scorer.score(DOCUMENTS).channels.tobytes()
    nodes = len(scorer.columns)
    assert [len(contributions) for contributions in found[nodes : 2 * nodes]] == [0] * nodes
    assert [len(contributions) for contributions in found[3 * nodes : 4 * nodes]] == [0] * nodes


def test_the_words_that_decide_are_named(learned: NeuralScorer) -> None:
    taxonomy, text = garden(), "roof spore frond grey"
    for node, own in (("fern", "spore frond"), ("slate", "grey roof")):
        j = taxonomy.index(node)
        [found] = learned.evidence([{"text": text}], np.array([0]), np.array([j]))
        assert {(c.source, c.field, c.why) for c in found} == {("neural", "text", "")}
        values = {text[c.start : c.end]: c.value for c in found}
        assert list(values) == text.split()
        without = [{"text": text.replace(word, "")} for word in values]
        scores = learned.score([{"text": text}, *without]).channels[0, :, np.searchsorted(learned.columns, j)]
        best = int(np.argmax(list(values.values())))
        assert best == np.argmax(scores[0] - scores[1:])
        assert list(values)[best] in own
        assert max(values.values()) > 0.5


def test_a_document_stands_alone(learned: NeuralScorer) -> None:
    rows, columns = every_pair(len(DOCUMENTS), learned.columns)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(len(rows)), 2))
    straight = learned.evidence(DOCUMENTS, rows, columns)
    alike(learned.evidence(DOCUMENTS, rows[order], columns[order]), [straight[i] for i in order])
    for row, document in enumerate(DOCUMENTS):
        own = rows == row
        alone = learned.evidence([document], np.zeros(own.sum(), dtype=np.int64), columns[own])
        alike(alone, [straight[i] for i in np.flatnonzero(own)])
    assert learned.evidence(DOCUMENTS, rows[:0], columns[:0]) == []
    assert learned.evidence(DOCUMENTS, rows[:1], np.array([99])) == [[]]


def alike(some: list[list[Contribution]], others: list[list[Contribution]]) -> None:
    for a, b in zip(some, others, strict=True):
        assert [c._replace(value=0) for c in a] == [c._replace(value=0) for c in b]
        assert [c.value for c in a] == pytest.approx([c.value for c in b], abs=1e-4)


@pytest.mark.parametrize("options", [{"tune": "frozen"}, {"head": "label_attention"}, {"head": "native"}])
def test_parts_of_long_documents_add_up(
    folders: dict[str, str], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = texts(16).fit(encoder=folders["bert"], epochs=1, max_length=20, **options)
    rows, columns = every_pair(len(DOCUMENTS), scorer.columns[:3])
    whole = scorer.evidence(DOCUMENTS, rows, columns)
    monkeypatch.setattr(module, "AT_ONCE", 48)
    alike(scorer.evidence(DOCUMENTS, rows, columns), whole)
    long = whole[-1]
    text = DOCUMENTS[-1]["text"]
    assert [text[c.start : c.end] for c in long] == text.split()
    assert [c.start for c in long] == sorted({c.start for c in long})


def test_a_saved_model_says_the_same(learned: NeuralScorer) -> None:
    config, arrays = learned.get_state()
    again = NeuralScorer.from_state(json.loads(json.dumps(config)), arrays)
    rows, columns = every_pair(3, learned.columns)
    assert again.evidence(DOCUMENTS[:3], rows, columns) == learned.evidence(DOCUMENTS[:3], rows, columns)


PIECES = [
    "acorn",
    "Acorns",
    "don't",
    "E11.9",
    "é",
    "o\u0308l",
    "İ",
    "😀",
    "👍🏽",
    "हिन्दी",
    "東京都",
    "สวัสดี",
    "…",
    ",",
    "\r\n",
]
PIECES += ["\u00a0", "\ud83d", "\x00", "½", "x_1", "[SEP]", " "]


@given(
    fields=st.dictionaries(
        st.sampled_from("abc"), st.lists(st.sampled_from(PIECES), max_size=6).map("".join), min_size=1, max_size=3
    ),
    kind=st.sampled_from(["bert", "llama"]),
)
def test_words_are_whole_and_in_their_field(learned_tokenizers: dict[str, Any], fields: Any, kind: str) -> None:
    spans = learned_tokenizers[kind].spans
    text = "\n".join(fields.values())
    words = words_of(fields, spans)
    tokens = spans(text)
    opens, at = {}, 0
    for name, value in fields.items():
        opens[name], at = at, at + len(value) + 1
    found = []
    for name, start, end in zip(words.fields, words.starts.tolist(), words.ends.tolist(), strict=True):
        said = fields[name][start:end]
        assert said
        assert said == said.strip()
        around = fields[name][max(start - 1, 0) : start] + "|" + fields[name][end : end + 1]
        assert not (around[0].isascii() and around[0].isalnum() and said[0].isascii() and said[0].isalnum())
        found.append((opens[name] + start, opens[name] + end))
    assert found == sorted(found)
    assert all(end <= start for (_, end), (start, _) in pairwise(found))
    assert len(words.of_token) == len(tokens)
    for word, (start, end) in zip(words.of_token.tolist(), tokens.tolist(), strict=True):
        assert (word >= 0) == bool(text[start:end].strip())
        if word >= 0:
            first, last = found[word]
            inside = [i for i in range(start, end) if not text[i].isspace()]
            assert first <= inside[0]
            assert inside[-1] < last


@pytest.fixture(scope="module")
def learned_tokenizers(learned: NeuralScorer, folders: dict[str, str]) -> dict[str, Any]:
    llama = texts(8).fit(encoder=folders["llama"], tune="frozen", epochs=1)
    return {"bert": learned.network.encoder.tokenizer, "llama": llama.network.encoder.tokenizer}


def test_pieces_become_words() -> None:
    spans = {
        "unbelievable, isn't": [(0, 2), (2, 7), (7, 12), (12, 13), (13, 16), (16, 17), (17, 18), (18, 19)],
        "one\n two": [(0, 3), (3, 5), (5, 8)],
        "東京都": [(0, 2), (2, 3)],
        "ol\u0308 x": [(0, 2), (3, 4), (4, 5)],
    }
    said = {}
    for text, tokens in spans.items():
        words = words_of({"text": text}, lambda _, tokens=tokens: np.array(tokens))
        said[text] = [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]
    assert list(said.values()) == [
        ["unbelievable", ",", "isn", "'", "t"],
        ["one", "two"],
        ["東京", "都"],
        ["ol\u0308", "x"],
    ]


# -- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [1.0, 0.1])
def test_numbers_add_up_by_column(density: float) -> None:
    problem = numbers(60)
    X = problem.inputs.toarray()
    X[np.random.default_rng(0).random(X.shape) >= density] = 0
    X[3, 2] = np.nan
    scorer = NeuralScorer(hidden=16, layers=1, epochs=5, n_members=2).fit(
        csr_matrix(X), problem.Y, taxonomy=problem.taxonomy
    )
    given = csr_matrix(X[:5])
    rows, columns = every_pair(5, scorer.columns)
    found = scorer.evidence(given, rows, columns)
    ready = module.Numbers(scorer.network.encoder, given)
    nothing = ready.places(np.arange(1)).batch
    with torch.no_grad():
        start = scorer.network.log_odds(nothing._replace(values=nothing.values * 0)).numpy()
    beyond = scorer.score(given).channels[0] - start
    assert np.abs(beyond).max() > 0.3
    assert sums(found) == pytest.approx(beyond.ravel().tolist(), abs=0.02, rel=0.05)
    for row, contributions in zip(rows.tolist(), found, strict=True):
        for c in contributions:
            j = int(c.field.removeprefix("column "))
            assert (c.source, c.start, c.end, c.why) == ("neural", 0, 0, f"value {X[row, j]:.6g}")
    if density == 1:  # what is missing counts as the mean
        assert not any(c.field == "column 2" for contributions in found[3 * 7 : 4 * 7] for c in contributions)


# -- the whole way -----------------------------------------------------------------------------------------------


def test_a_network_beside_another_scorer_is_weighed_by_its_own_channel(learned: NeuralScorer) -> None:
    problem, taxonomy = texts(40), garden()
    linear = LinearScorer(matching=False, n_jobs=1).fit(problem.inputs, problem.Y, taxonomy=taxonomy)
    both = Together({"linear": linear, "neural": learned})
    both._arrange(len(taxonomy))
    weights = {"linear.margin": 2.0, "neural.log_odds": 3.0}
    coefficients = np.tile([weights.get(channel, 0.0) for channel in both.channels], (taxonomy.depth, 1))
    calibration = Calibration(coefficients, np.zeros(taxonomy.depth))
    counts = np.ones(len(taxonomy), dtype=np.int64)
    explainer = Explainer(taxonomy, both, calibration, calibration, counts, None, lifted=True)
    document = {"text": "green growing acorn bark"}
    scores = np.full((1, len(taxonomy)), 0.1, dtype=np.float32)
    batch = Batch([document], scores, scores, label_matrix(taxonomy, [[]]))
    [[why]] = explainer.explain(batch, Question.about(taxonomy, "oak", top=50))
    said = {"linear": 0.0, "neural": 0.0}
    for span in (*why.spans, *why.against):
        said[span.source] += span.value
    asked = [document], np.array([0]), np.array([taxonomy.index("oak")])
    every = [2 * sums(linear.evidence(*asked))[0], 3 * sums(learned.evidence(*asked))[0]]
    assert sum(said.values()) + why.rest == pytest.approx(sum(every), abs=1e-4)
    assert said["neural"] == pytest.approx(every[1], rel=0.3)
    assert said["neural"] > 1


def test_a_model_saved_and_explained_by_the_command(folders: dict[str, str], tmp_path: Path) -> None:
    problem = texts(100)
    options = {"neural": {"encoder": folders["bert"], **TEXT, "epochs": 10}}
    model = HierarchicalClassifier(taxonomy=garden(), scorer="neural", scorer_options=options, n_jobs=1)
    model.fit(problem.inputs, label_sets(100, 0, 0.0)).save(tmp_path / "model")
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given = ["white hard statue heavy", "frond, spore and green", ""]
    data.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(given)), "utf-8")
    asked = ["--node", "marble", "--node", "fern", "-o", str(out)]
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "model"), str(data), *asked])
    assert result.exit_code == 0, result.output
    found = [{e["node"]: e for e in json.loads(line)["explanations"]} for line in out.read_text("utf-8").splitlines()]
    assert "statue" in {word for s in found[0]["marble"]["spans"] for word in s["text"].split()}
    assert "frond" in " ".join(s["text"] for s in found[1]["fern"]["spans"])
    assert {e["verdict"] for e in found[2].values()} == {"no evidence found"}
    assert {s["source"] for record in found for e in record.values() for s in e["spans"]} == {"neural"}
    with pytest.raises(UsageError):
        model.explain(csr_matrix((1, 3)))


@pytest.mark.parametrize("problem", ["multi_label", "single_label"])
def test_a_classifier_of_others_says_why(folders: dict[str, str], tmp_path: Path, problem: str) -> None:
    learner = texts(40).fit(encoder=folders["bert"], head="native", **TEXT)
    taxonomy = garden()
    export_folder(learner, taxonomy, tmp_path / "classifier")
    scorer = ImportedScorer(model=str(tmp_path / "classifier"), problem=problem)
    scorer.fit([], csr_matrix((0, len(taxonomy))), taxonomy=taxonomy)
    rows, columns = every_pair(len(DOCUMENTS), scorer.columns)
    found = scorer.evidence(DOCUMENTS, rows, columns)
    ready = module.Texts(scorer.encoder, DOCUMENTS)
    places = ready.places(np.arange(len(DOCUMENTS)))
    with torch.no_grad():
        blank = ready.faded(torch.from_numpy(places.units < 0).float())(places.batch).pooled.numpy()
    beyond = scorer.score(DOCUMENTS).channels[0] - blank
    assert sums(found) == pytest.approx(beyond.ravel().tolist(), abs=0.03, rel=0.02)
    if problem == "multi_label":
        own = learner.evidence(DOCUMENTS, rows, columns)
        alike(found, [[c._replace(source="imported") for c in contributions] for contributions in own])
