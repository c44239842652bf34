"""Hugging Face classifiers in and out: equal logits, labels as nodes, a model like any other around them."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dags import Dag, dags
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.special import expit, logit, softmax
from tiny_models import LIMIT, SENTENCES, byte_pairs, tiny_bert, word_pieces
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    RobertaConfig,
)
from transformers.utils import logging

from hclf.classifier import HierarchicalClassifier
from hclf.cli import main
from hclf.errors import DataError, UsageError
from hclf.formats import yaml as taxonomy_yaml
from hclf.labels import label_matrix
from hclf.scorers import SCORERS
from hclf.scorers.linear import LinearScorer
from hclf.scorers.neural.encoding import embed
from hclf.scorers.neural.heads.native import NativeHead
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.interchange import ImportedScorer, export_folder
from hclf.scorers.neural.label_nodes import LabelMap, LabelNodes, map_labels
from hclf.scorers.neural.native import load_classifier, native_encoder
from hclf.scorers.neural.scorer import NeuralScorer
from hclf.taxonomy import Node, Taxonomy

LABELS = ("Apple", "pear", "Food > Dairy", "phone", "LABEL_4")
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})
TEXTS = [*SENTENCES, "", "x", " ".join(WORDS[:12]), "</s> [SEP]"]
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS: dict[str, Any] = {
    "bert": lambda **o: BertConfig(**SHAPE, max_position_embeddings=LIMIT, pad_token_id=0, **o),
    "roberta": lambda **o: RobertaConfig(**SHAPE, max_position_embeddings=LIMIT, pad_token_id=0, **o),
    "distilbert": lambda **o: DistilBertConfig(
        dim=16, hidden_dim=32, n_layers=2, n_heads=2, max_position_embeddings=LIMIT, pad_token_id=0, **o
    ),
    "bart": lambda **o: BartConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=LIMIT,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=3,
        **o,
    ),
    "llama": lambda **o: LlamaConfig(
        **SHAPE, num_key_value_heads=1, max_position_embeddings=LIMIT, bos_token_id=0, eos_token_id=1, **o
    ),
    "gpt2": lambda **o: GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=LIMIT, bos_token_id=0, eos_token_id=1, **o
    ),
}
DECODERS = ("llama", "gpt2")  # their tokenizer has no pad token, nor has their configuration


def shop() -> Taxonomy:
    """Ten nodes: `misc` and `odd` are in no classifier, `food`, `fruit` and `tech` have no label there."""
    names = "food fruit apple pear dairy tech phone laptop misc odd"
    edges = "food-fruit fruit-apple fruit-pear food-dairy tech-phone tech-laptop misc-odd"
    nodes = [Node(name, {"": name.capitalize()}) for name in names.split()]
    return Taxonomy(nodes, [tuple(edge.split("-")) for edge in edges.split()], id="shop")


SHOP = shop()
NAMES = {"LABEL_4": "laptop"}


def classifier(
    folder: Path,
    kind: str,
    labels: tuple[str, ...] = LABELS,
    problem: str | None = "multi_label_classification",
    **options: Any,
) -> Path:
    """Save a random classifier with a tokenizer; return the folder."""
    tokenizer = byte_pairs(SENTENCES) if kind in DECODERS else word_pieces(SENTENCES)
    numbers = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    config = CONFIGS[kind](vocab_size=len(tokenizer), problem_type=problem, **numbers, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(kind))
        model = AutoModelForSequenceClassification.from_config(config)
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower() and "ln_" not in name:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS, "imported", "hclf.scorers.neural.interchange:ImportedScorer")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> folder of a tiny classifier."""
    logging.disable_progress_bar()
    return {kind: classifier(tmp_path_factory.mktemp(kind), kind) for kind in CONFIGS}


@pytest.fixture(params=sorted(CONFIGS))
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def fields(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def imported(folder: Path, taxonomy: Taxonomy = SHOP, **options: Any) -> ImportedScorer:
    options = {"labels": NAMES, **options}
    return ImportedScorer(model=str(folder), device="cpu", **options).fit(
        [], csr_matrix((0, len(taxonomy))), taxonomy=taxonomy
    )


def scores(scorer: ImportedScorer, texts: list[str] = TEXTS) -> np.ndarray:
    return scorer.score(fields(texts)).channels[0]


def theirs(folder: Path, texts: list[str] = TEXTS) -> np.ndarray:
    """The logits that transformers gives texts, one by one; what looks like a special token is text to both."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.encode_special_tokens = True
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for parameter in model.parameters():  # where a file's weights lie in memory changes the last bit
        parameter.data = parameter.data.clone()
    found = []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([tokenizer.backend_tokenizer.encode(text).ids])
            found.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy())
    return np.stack(found)


def column(scorer: ImportedScorer, node: str) -> int:
    return scorer.columns.tolist().index(SHOP.index(node))


# -- logits ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_network")
def test_logits_are_those_of_transformers(folder: Path) -> None:
    scorer = imported(folder)
    places = [column(scorer, node) for node in ("apple", "pear", "dairy", "phone", "laptop")]
    expected = theirs(folder)
    alone = np.concatenate([scores(scorer, [text]) for text in TEXTS])
    assert np.array_equal(alone[:, places], expected)
    np.testing.assert_allclose(scores(scorer)[:, places], expected, atol=1e-5)


def test_a_pad_token_of_its_own_stays(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Decoders are told the end of a text by the pad token: with `</s>` as theirs, and without any."""
    saved = classifier(tmp_path / "padded", "llama", pad_token_id=1)
    np.testing.assert_allclose(
        scores(imported(saved))[:, column(imported(saved), "apple")], theirs(saved)[:, 0], atol=1e-5
    )
    np.testing.assert_array_equal(theirs(saved), theirs(folders["llama"]))
    assert load_classifier(saved).tokenizer.filler == 1
    assert load_classifier(saved).about["model"]["pad_token_id"] == 1
    assert load_classifier(folders["llama"]).about["model"]["pad_token_id"] is None


def test_a_decoder_without_any_token_to_pad_with_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    copy = shutil.copytree(folders["llama"], tmp_path / "copy")
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["added_tokens"], tokenizer["post_processor"] = [], None
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    about = json.loads((copy / "tokenizer_config.json").read_text())
    about = {key: value for key, value in about.items() if not key.endswith("_token")}
    (copy / "tokenizer_config.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match=r"no pad token: set pad_token_id in its config.json"):
        load_classifier(copy)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_of_a_long_text_every_chunk_is_classified(kind: str, folders: dict[str, Path]) -> None:
    text = " ".join(WORDS * 6)
    encoder = imported(folders[kind], max_length=24).encoder
    tokens = encoder.prepare(fields([text, "a phone"]))
    assert tokens.long == 1
    batch = encoder.batch(tokens, np.array([0, 1]))
    assert (batch.document == 0).sum() > 5
    model = AutoModelForSequenceClassification.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        chunks = [model(input_ids=ids[mask][None]).logits[0].numpy() for ids, mask in zip(*batch[:2], strict=True)]
        found = encoder(batch).pooled.numpy()
        encoder.at_once = 50  # in several parts
        np.testing.assert_allclose(encoder(batch).pooled.numpy(), found, atol=1e-5)
    own = encoder.nodes.own(5)
    np.testing.assert_allclose(found[0, own], np.mean(chunks[:-1], axis=0), atol=1e-5)
    np.testing.assert_allclose(found[1, own], chunks[-1], atol=1e-5)


def test_a_chunk_is_as_long_as_the_model_reads(folders: dict[str, Path]) -> None:
    assert imported(folders["bert"]).encoder.tokenizer.max_length == LIMIT
    assert imported(folders["roberta"]).encoder.tokenizer.max_length == LIMIT - 1
    with pytest.raises(UsageError, match=r"max_length is 65, but .* reads at most 64 tokens"):
        imported(folders["bert"], max_length=65)


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, folders: dict[str, Path]) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folders["llama"]).to(torch.bfloat16)
    copy = shutil.copytree(folders["llama"], tmp_path / "half")
    model.save_pretrained(copy)
    scorer = imported(copy)
    alone = np.concatenate([scores(scorer, [text]) for text in SENTENCES])
    model = AutoModelForSequenceClassification.from_pretrained(copy).eval()
    assert model.dtype == torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(copy)
    with torch.no_grad():
        expected = [model(**tokenizer(text, return_tensors="pt")).logits[0].float().numpy() for text in SENTENCES]
    assert np.array_equal(alone[:, column(scorer, "pear")], np.array(expected)[:, 1])
    assert np.array_equal(scores(through_disk(scorer, tmp_path)), scores(scorer))
    export_folder(scorer, SHOP, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


# -- labels and nodes --------------------------------------------------------------------------------------------


def test_labels_are_found_by_id_name_and_path() -> None:
    labels = ("apple", "PEAR", "Food > Dairy", "tech/phone", "Mars", "LABEL_5")
    found = map_labels(labels, SHOP, {"5": "Laptop"})
    assert [SHOP.nodes[j] if j >= 0 else None for j in found.nodes.tolist()] == [
        "apple",
        "pear",
        "dairy",
        "phone",
        None,
        "laptop",
    ]
    assert found.problems == {"Mars": "unknown label 'Mars'"}


def test_a_label_may_be_left_out() -> None:
    found = map_labels(("apple", "neutral"), SHOP, {"neutral": None})
    assert found.nodes.tolist() == [SHOP.index("apple"), -1]
    assert found.problems == {}
    assert found.left_out == ("neutral",)


def test_an_ambiguous_label_means_no_node() -> None:
    twice = Taxonomy([Node("a"), Node("b1", {"": "other"}), Node("b2", {"": "other"})], [("a", "b1")], id="twice")
    assert "ambiguous" in map_labels(("a", "other"), twice).problems["other"]


@pytest.mark.parametrize(
    ("labels", "names", "error", "message"),
    [
        (("aple", "Mars"), {}, DataError, r"none of the model's 2 labels .* did you mean 'apple'.*--labels FILE"),
        (("apple",), {"aple": "pear"}, UsageError, "no label 'aple'; did you mean 'apple'"),
        (("apple",), {"7": "pear"}, UsageError, "no label '7'"),
        (("apple",), {"apple": "paer"}, DataError, "unknown label 'paer'; did you mean 'pear'"),
        (("apple",), {"apple": None}, DataError, "all are left out"),
    ],
)
def test_labels_that_cannot_be(
    labels: tuple[str, ...], names: dict[str, str | None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        map_labels(labels, SHOP, names)


def test_an_ancestor_without_a_label_is_as_likely_as_its_likeliest_label(folders: dict[str, Path]) -> None:
    scorer = imported(folders["bert"])
    found = {SHOP.nodes[j]: values for j, values in zip(scorer.columns.tolist(), scores(scorer).T, strict=True)}
    assert set(found) == {"food", "fruit", "apple", "pear", "dairy", "tech", "phone", "laptop"}
    assert np.array_equal(found["fruit"], np.maximum(found["apple"], found["pear"]))
    assert np.array_equal(found["food"], np.maximum(found["fruit"], found["dairy"]))


@st.composite
def labelled_dags(draw: st.DrawFn) -> tuple[Dag, list[str | None]]:
    """A DAG, and for each label of a model its node or None; at least one has a node."""
    dag = draw(dags())
    nodes = draw(st.lists(st.sampled_from([*dag.ids, None]), min_size=1, max_size=6))
    return dag, [*nodes, draw(st.sampled_from(dag.ids))]


@given(labelled_dags(), st.booleans(), st.integers(0, 2**32 - 1))
def test_log_odds_of_nodes(given_: tuple[Dag, list[str | None]], choice: bool, seed: int) -> None:
    dag, nodes = given_
    taxonomy = dag.taxonomy
    places = np.array([-1 if node is None else taxonomy.index(node) for node in nodes])
    module, columns = LabelNodes.of(LabelMap(places, {}), taxonomy, "single_label" if choice else "multi_label")
    logits = np.random.default_rng(seed).normal(size=(3, len(nodes))).astype(np.float32)
    found = module(torch.from_numpy(logits)).numpy()
    reached = {node for node in nodes if node} | {above for node in nodes if node for above in dag.above(node)}
    assert [taxonomy.nodes[j] for j in columns.tolist()] == [node for node in taxonomy.nodes if node in reached]
    for place, j in enumerate(columns.tolist()):
        node = taxonomy.nodes[j]
        own = [i for i, meant in enumerate(nodes) if meant == node]
        at_or_below = [i for i, meant in enumerate(nodes) if meant == node or meant in dag.below(node)]
        if choice:
            share = softmax(logits.astype(float), axis=1)[:, at_or_below].sum(axis=1)
            expected = logit(np.clip(share, 1e-12, 1 - 1e-12))
        else:
            expected = logits[:, own or at_or_below].max(axis=1)
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-5, atol=1e-5)
    expected_own = [-1 if place < 0 else columns.tolist().index(place) for place in places.tolist()]
    assert module.own(len(nodes)).tolist() == expected_own


def test_sums_of_a_choice_keep_what_is_nearly_certain() -> None:
    found = map_labels(("apple", "pear"), SHOP)
    module, columns = LabelNodes.of(found, SHOP, "single_label")
    values = module(torch.tensor([[20.0, -5.0]]))[0]
    by_node = dict(zip([SHOP.nodes[j] for j in columns.tolist()], values.tolist(), strict=True))
    assert by_node["apple"] == pytest.approx(25, abs=0.1)
    assert by_node["fruit"] > 27


# -- what logits mean --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", ["single_label_classification", None])
def test_labels_that_exclude_each_other(tmp_path: Path, stated: str | None) -> None:
    saved = classifier(tmp_path / "one", "bert", problem=stated)
    scorer = imported(saved)
    assert scorer.report["problem"] == "single_label"
    assert scorer.report["problem_stated"] is (stated is not None)
    shares = softmax(theirs(saved), axis=1)
    np.testing.assert_allclose(expit(scores(scorer)[:, column(scorer, "apple")]), shares[:, 0], atol=1e-5)
    np.testing.assert_allclose(expit(scores(scorer)[:, column(scorer, "food")]), shares[:, :3].sum(1), atol=1e-5)
    as_asked = imported(saved, problem="multi_label")
    np.testing.assert_allclose(scores(as_asked)[:, column(as_asked, "apple")], theirs(saved)[:, 0], atol=1e-5)


def test_other_problems_are_refused(tmp_path: Path) -> None:
    saved = classifier(tmp_path / "numbers", "bert", problem="regression")
    with pytest.raises(UsageError, match="is a model for regression; a classifier of documents is needed"):
        imported(saved)
    with pytest.raises(UsageError, match="not 'multilabel'; did you mean 'multi_label'"):
        imported(saved, problem="multilabel")


# -- what is no classifier ---------------------------------------------------------------------------------------


def test_a_language_model_without_a_head_is_refused(tmp_path: Path) -> None:
    plain = tiny_bert(tmp_path / "plain")
    with pytest.raises(UsageError, match=r"a language model, not a classifier .*--scorer neural --encoder"):
        imported(plain)


def test_a_folder_that_lacks_weights_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folders["bert"], tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layer.1" not in k}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"weights are missing or do not fit, such as 'bert.encoder.layer.1"):
        imported(copy)


def test_code_of_a_folder_is_never_run(tmp_path: Path, folders: dict[str, Path]) -> None:
    copy = shutil.copytree(folders["bert"], tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "strange",
        "auto_map": {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UsageError):
        imported(copy)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("model", ["", "/no/such/folder"])
def test_no_model_no_scorer(model: str) -> None:
    with pytest.raises(UsageError, match=r"needs a model|no such folder"):
        ImportedScorer(model=model).fit([], csr_matrix((0, len(SHOP))), taxonomy=SHOP)


def test_feature_matrices_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="reads texts, not a feature matrix"):
        imported(folders["bert"]).score(csr_matrix(np.ones((2, 3))))


# -- state -------------------------------------------------------------------------------------------------------


def through_disk(scorer: Any, folder: Path) -> Any:
    config, arrays = scorer.get_state()
    np.savez(folder / "part.npz", allow_pickle=False, **arrays)
    with np.load(folder / "part.npz", allow_pickle=False) as found:
        return type(scorer).from_state(json.loads(json.dumps(config)), dict(found))


@pytest.mark.usefixtures("no_network")
def test_a_saved_scorer_needs_nothing_else(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    scorer = imported(copy)
    before = scores(scorer)
    state = scorer.get_state()
    shutil.rmtree(copy)
    again = through_disk(scorer, tmp_path)
    assert np.array_equal(scores(again), before)
    assert np.array_equal(again.columns, scorer.columns)
    assert again.report == scorer.report
    assert str(tmp_path) not in json.dumps(state[0])
    assert all(array.dtype != object for array in state[1].values())


def test_folds_share_one_model_that_is_read_anew_when_it_changes(tmp_path: Path, folders: dict[str, Path]) -> None:
    copy = shutil.copytree(folders["bert"], tmp_path / "copy")
    first, second = imported(copy), imported(copy)
    assert first.encoder.model is second.encoder.model
    shutil.copytree(folders["distilbert"], copy, dirs_exist_ok=True)
    third = imported(copy)
    assert type(third.encoder.model).__name__ == "DistilBertForSequenceClassification"
    assert np.array_equal(scores(third), scores(imported(folders["distilbert"])))


# -- out ---------------------------------------------------------------------------------------------------------


def test_what_is_exported_is_what_was_imported(folder: Path, tmp_path: Path) -> None:
    scorer = through_disk(imported(folder), tmp_path)
    about = export_folder(scorer, SHOP, tmp_path / "out")
    assert about["labels"] == 5
    assert np.array_equal(theirs(tmp_path / "out"), theirs(folder))
    before, after = (json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "out"))
    for name, place in (("id2label", "4"), ("label2id", "LABEL_4")):
        before[name].pop(place)
        after[name].pop(place.replace("LABEL_4", "laptop"))
    assert after == before
    again = imported(tmp_path / "out", labels=None)  # the label that meant no node is called as its node now
    assert np.array_equal(scores(again), scores(scorer))
    assert np.array_equal(again.columns, scorer.columns)


def test_tokenizers_go_out_as_they_came(folder: Path, tmp_path: Path) -> None:
    export_folder(imported(folder), SHOP, tmp_path / "out")
    before, after = (AutoTokenizer.from_pretrained(path) for path in (folder, tmp_path / "out"))
    assert before(TEXTS)["input_ids"] == after(TEXTS)["input_ids"]
    assert before.special_tokens_map == after.special_tokens_map
    assert before.model_max_length == after.model_max_length
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["tokenizer_class"] == (
        "PreTrainedTokenizerFast"
    )


def test_what_transformers_cannot_express_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'linear' has no form in transformers: .*'imported', or 'neural' with"):
        export_folder(LinearScorer(), SHOP, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- the head `native` -------------------------------------------------------------------------------------------


LEARNED = {
    "apple": "red apples",
    "pear": "green pears",
    "dairy": "milk butter cheese",
    "phone": "a phone with a screen",
}
COLUMNS = np.array(sorted(SHOP.index(node) for node in SHOP.closure(LEARNED)))


def lessons(n: int = 48) -> tuple[list[dict[str, str]], csr_matrix]:
    """Documents about four nodes, one each."""
    nodes = list(LEARNED)
    texts = [f"{LEARNED[nodes[i % 4]]} {WORDS[i % len(WORDS)]}" for i in range(n)]
    return fields(texts), label_matrix(SHOP, [(nodes[i % 4],) for i in range(n)])


def learned(folder: Path, **options: Any) -> NeuralScorer:
    inputs, Y = lessons()
    quick = {"epochs": 2, "batch_size": 16, "encoder_learning_rate": 0.01, "learning_rate": 0.01, "device": "cpu"}
    return NeuralScorer(encoder=str(folder), head="native", **{**quick, **options}).fit(inputs, Y, taxonomy=SHOP)


def test_a_language_model_gets_a_new_head_and_one_with_all_labels_keeps_its_own(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    new, columns = native_encoder(tiny_bert(tmp_path / "plain"), SHOP, COLUMNS)
    assert columns.tolist() == COLUMNS.tolist()
    assert new.labels == tuple(SHOP.nodes[j] for j in COLUMNS.tolist())
    assert new.problem == "multi_label"
    own, columns = native_encoder(folders["bert"], SHOP, COLUMNS, labels=NAMES)
    assert own.labels == LABELS
    assert columns.tolist() == sorted([*COLUMNS.tolist(), SHOP.index("laptop")])
    np.testing.assert_allclose(
        embed(own, TEXTS)[:, columns == SHOP.index("pear")][:, 0], theirs(folders["bert"])[:, 1], atol=1e-5
    )
    odd = np.array(sorted([*COLUMNS.tolist(), SHOP.index("misc"), SHOP.index("odd")]))
    assert native_encoder(folders["bert"], SHOP, odd, labels=NAMES)[0].labels == tuple(SHOP.nodes[j] for j in odd)


def test_a_new_head_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    plain = tiny_bert(tmp_path / "plain")
    state = torch.random.get_rng_state()
    a, b, c = (embed(native_encoder(plain, SHOP, COLUMNS, seed=seed)[0], TEXTS) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("tune", ["full", "frozen", "lora"])
@pytest.mark.parametrize("kind", ["plain", "llama"])
def test_a_network_of_ours_goes_out_with_equal_logits(
    tune: str, kind: str, tmp_path: Path, folders: dict[str, Path]
) -> None:
    """A flat head in the form of transformers: trained here, exported, loaded there, and taken back."""
    folder = tiny_bert(tmp_path / "plain") if kind == "plain" else folders["llama"]
    scorer = through_disk(learned(folder, tune=tune), tmp_path)
    about = export_folder(scorer, SHOP, tmp_path / "out")
    assert about["problem"] == "multi_label"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    ours, columns = scorer.score(fields(TEXTS)).channels[0], scorer.columns.tolist()
    nodes = map_labels(list(config["id2label"].values()), SHOP).nodes.tolist()
    if kind == "plain":
        assert nodes == columns
    pairs = [(columns.index(node), label) for label, node in enumerate(nodes) if node >= 0]
    assert len(pairs) == (len(columns) if kind == "plain" else 4)
    of_nodes, of_labels = np.array(pairs).T
    np.testing.assert_allclose(ours[:, of_nodes], theirs(tmp_path / "out")[:, of_labels], atol=1e-5)
    again = imported(tmp_path / "out", labels=None)
    assert np.array_equal(again.columns, scorer.columns)
    np.testing.assert_allclose(scores(again), ours, atol=1e-5)


def test_what_learns(folders: dict[str, Path]) -> None:
    for tune, body in (("full", True), ("frozen", False), ("lora", True)):
        encoder, _ = native_encoder(folders["distilbert"], SHOP, COLUMNS, labels=NAMES, tune=tune)
        learns = {name for name, p in encoder.named_parameters() if p.requires_grad}
        assert encoder.own_weights <= learns
        assert {name.split("classifier")[0] for name in encoder.own_weights} in (
            {"model.", "model.pre_"},
            {"model.base_model.model.", "model.base_model.model.pre_"},
        )
        assert bool(learns - encoder.own_weights) is body
        assert not encoder.frozen


def test_training_teaches_it(tmp_path: Path) -> None:
    scorer = learned(tiny_bert(tmp_path / "plain"), epochs=40, encoder_learning_rate=2e-3)
    inputs, Y = lessons()
    found = scorer.score(inputs).channels[0] > 0
    assert (found == Y.toarray()[:, scorer.columns]).mean() > 0.95


def test_a_head_of_other_nodes_is_refused() -> None:
    hierarchy = Hierarchy(SHOP, COLUMNS)
    with pytest.raises(UsageError, match="needs a classifier of 7 nodes, not 5 numbers"):
        NativeHead(5, hierarchy)
    with pytest.raises(UsageError, match="one member, not 3"):
        NativeHead(7, hierarchy, members=3)


# -- the model around it -----------------------------------------------------------------------------------------


def validation(n: int = 60) -> tuple[list[str], list[tuple[str, ...]]]:
    """Documents and labels by which a random classifier is far from calibrated."""
    rng = np.random.default_rng(0)
    nodes = ["apple", "pear", "dairy", "phone", "laptop"]
    y = [tuple(rng.choice(nodes, rng.integers(1, 3), replace=False).tolist()) for _ in range(n)]
    return [" ".join([*rng.choice(WORDS, 6), str(i), *labels]) for i, labels in enumerate(y)], y


def around(folder: Path, **options: Any) -> HierarchicalClassifier:
    about = {"model": str(folder), "labels": NAMES, "device": "cpu"}
    return HierarchicalClassifier(taxonomy=SHOP, scorer="imported", scorer_options=about, n_jobs=2, **options)


def test_a_model_around_it_is_calibrated_closed_and_saved(folders: dict[str, Path], tmp_path: Path) -> None:
    X, y = validation()
    model = around(folders["bert"]).fit(X, y)
    assert model.report_["held_out"] == 60
    assert model.calibration_.coefficients.shape == (3, 1)
    probabilities = model.predict_proba(X)
    assert SHOP.violations(probabilities).sum() == 0
    assert all(SHOP.closure(labels) == labels for labels in model.predict(X))
    true = label_matrix(SHOP, y).toarray()
    raw = expit(scores(imported(folders["bert"]), X))
    columns = imported(folders["bert"]).columns
    assert _log_loss(true[:, columns], probabilities[:, columns]) < _log_loss(true[:, columns], raw)
    model.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(X), probabilities)
    assert loaded.predict(X) == model.predict(X)
    assert loaded.evaluate(X, y).metrics == model.evaluate(X, y).metrics


def test_it_stands_beside_other_scorers(folders: dict[str, Path], tmp_path: Path) -> None:
    X, y = validation()
    options = {"imported": {"model": str(folders["bert"]), "labels": NAMES, "device": "cpu"}}
    model = HierarchicalClassifier(taxonomy=SHOP, scorer="linear+imported", scorer_options=options, n_jobs=1)
    model.fit(X, y)
    assert model.score(X, y) > around(folders["bert"]).fit(X, y).score(X, y)
    model.save(tmp_path / "both")
    assert np.array_equal(HierarchicalClassifier.load(tmp_path / "both").predict_proba(X), model.predict_proba(X))
    assert {row["level"] for row in model.calibration_.report} == {1, 2, 3}


def _log_loss(true: np.ndarray, p: np.ndarray) -> float:
    p = np.clip(p.astype(float), 1e-6, 1 - 1e-6)
    return float(-np.where(true, np.log(p), np.log(1 - p)).mean())


@pytest.mark.parametrize("problem", ["multi_label_classification", "single_label_classification"])
def test_without_documents_the_classifier_is_taken_at_its_word(problem: str, tmp_path: Path, files: Path) -> None:
    saved = classifier(tmp_path / "theirs", "bert", problem=problem)
    common = ("-t", files / "shop.yaml", "--labels", files / "labels.yaml", "--device", "cpu")
    _, said = ok("import-hf", saved, *common, "-o", files / "as_is")
    assert "probabilities are the classifier's own" in said
    assert "thresholds by level: 0.50  0.50  0.50" in said
    X, y = validation()
    model = HierarchicalClassifier.load(files / "as_is")
    places = [SHOP.index(node) for node in ("apple", "pear", "dairy", "phone", "laptop")]
    probabilities = expit(theirs(saved, X)) if problem.startswith("multi") else softmax(theirs(saved, X), axis=1)
    np.testing.assert_allclose(model.predict_proba(X)[:, places], probabilities, atol=1e-5)
    expected = [SHOP.closure(SHOP.nodes[places[i]] for i in np.flatnonzero(row >= 0.5)) for row in probabilities]
    sure = [i for i, row in enumerate(probabilities) if row.max() >= 0.5 and (np.abs(row - 0.5) > 1e-5).all()]
    assert len(sure) > 10
    answers = model.predict(X)
    assert [answers[i] for i in sure] == [expected[i] for i in sure]
    ok("evaluate", files / "as_is", files / "valid.jsonl")
    ok("tune", files / "as_is", files / "valid.jsonl", "-o", files / "tuned")
    tuned = HierarchicalClassifier.load(files / "tuned")
    assert tuned.thresholds_.goal == "hf"
    assert tuned.score(X, y) >= model.score(X, y)
    ok("tune", files / "as_is", files / "valid.jsonl", "--calibrate", "-o", files / "calibrated")


# -- the command line --------------------------------------------------------------------------------------------


def run(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return its status, stdout and stderr."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as raised:
        main([str(argument) for argument in arguments])
    return int(raised.value.code or 0), out.buffer.getvalue().decode(), err.getvalue()


def ok(*arguments: object) -> tuple[str, str]:
    """Run a command that succeeds; return stdout and stderr."""
    status, out, err = run(*arguments)
    assert status == 0, err
    return out, err


def fails(message: str, *arguments: object) -> None:
    """Run a command that fails with one line."""
    status, _, err = run(*arguments)
    assert status in (1, 2)
    assert re.search(message, err), err
    assert len(err.splitlines()) == 1, err


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a taxonomy, labelled records, and a file of labels."""
    taxonomy_yaml.write(SHOP, tmp_path / "shop.yaml")
    rows = [{"id": str(i), "text": x, "labels": y} for i, (x, y) in enumerate(zip(*validation(), strict=True))]
    (tmp_path / "valid.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "labels.yaml").write_text("LABEL_4: laptop\n")
    return tmp_path


@pytest.mark.usefixtures("no_network")
def test_import_evaluate_predict_tune_inspect_export(files: Path, folders: dict[str, Path]) -> None:
    valid, model = files / "valid.jsonl", files / "model"
    common = ("-t", files / "shop.yaml", "--labels", files / "labels.yaml", "--device", "cpu")
    _, said = ok("import-hf", folders["llama"], *common, "-d", valid, "-o", model)
    assert "LlamaForSequenceClassification: 5 of 5 labels are nodes (10 nodes in all)" in said
    assert "5 nodes have no label, 1 of them leaves: odd" in said
    assert "calibrated and tuned on 60 records" in said
    assert json.loads(ok("evaluate", model, valid, "--json")[0])["metrics"]["hF"] > 0
    answers = [json.loads(line) for line in ok("predict", model, valid)[0].splitlines()]
    assert len(answers) == 60
    assert all({label["id"] for label in row["labels"]} <= set(SHOP.nodes) for row in answers)
    ok("tune", model, valid, "--goal", "precision>=0.5", "-o", files / "sure")
    assert "imported" in ok("inspect", model)[0]
    _, said = ok("export-hf", model, "-o", files / "out")
    assert "LlamaForSequenceClassification with 5 labels" in said
    assert np.array_equal(theirs(files / "out"), theirs(folders["llama"]))
    fails("add -f to overwrite", "export-hf", model, "-o", files / "out")
    fails("holds no Hugging Face model; choose another place", "export-hf", model, "-o", files, "-f")
    assert json.loads(ok("export-hf", model, "-o", files / "out", "-f", "--json")[0])["labels"] == 5


def test_labels_that_mean_no_node_are_named(files: Path, folders: dict[str, Path]) -> None:
    common = ("import-hf", folders["bert"], "-t", files / "shop.yaml", "-d", files / "valid.jsonl", "-o", files / "m")
    _, said = ok(*common)
    assert "4 of 5 labels are nodes" in said
    assert "unknown label 'LABEL_4'" in said
    assert "2 of them leaves: laptop, odd" in said
    fails("unknown label 'LABEL_4'", *common, "-f", "--strict")
    report = json.loads(ok(*common, "-f", "--json")[0])["imported"]
    assert report["unknown"] == ["unknown label 'LABEL_4'"]
    (files / "list.json").write_text(json.dumps(["pear", "apple", None, "phone", "laptop"]))
    report = json.loads(ok(*common, "-f", "--json", "--labels", files / "list.json")[0])["imported"]
    assert (report["labels_of_nodes"], report["labels_left_out"], report["unknown_labels"]) == (4, 1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LABEL_4: lapto", "unknown label 'lapto'; did you mean 'laptop'"),
        ("LABEL_9: laptop", "no label 'LABEL_9'; did you mean 'LABEL_4'"),
        ("just text", "give label: node pairs"),
        ("a: [b", "cannot read"),
        ("LABEL_4: {a: b}", "'LABEL_4' stands for one node"),
    ],
)
def test_a_file_of_labels_that_cannot_be(text: str, message: str, files: Path, folders: dict[str, Path]) -> None:
    (files / "bad.yaml").write_text(text)
    common = ("-t", files / "shop.yaml", "-d", files / "valid.jsonl", "-o", files / "m")
    fails(message, "import-hf", folders["bert"], *common, "--labels", files / "bad.yaml")
    assert not (files / "m").exists()


def test_what_cannot_be_imported_takes_one_line(files: Path, tmp_path: Path) -> None:
    common = ("-t", files / "shop.yaml", "-d", files / "valid.jsonl", "-o", files / "m")
    fails("no such folder", "import-hf", "/no/such/folder", *common)
    fails("holds no model: it has no config.json", "import-hf", files, *common)
    fails("not a classifier", "import-hf", tiny_bert(tmp_path / "plain"), *common)
    fails("cannot read .*none.yaml", "import-hf", files, *common, "--labels", "none.yaml")


def test_a_choice_is_told(files: Path, tmp_path: Path) -> None:
    saved = classifier(tmp_path / "one", "bert", problem=None)
    _, said = ok("import-hf", saved, "-t", files / "shop.yaml", "-d", files / "valid.jsonl", "-o", files / "m")
    assert "labels exclude each other" in said
    assert "--problem multi_label" in said


def test_a_model_of_another_kind_is_not_exported(pets_model: HierarchicalClassifier, tmp_path: Path) -> None:
    pets_model.save(tmp_path / "pets")
    fails("'linear' has no form in transformers", "export-hf", tmp_path / "pets", "-o", tmp_path / "out")


@pytest.mark.parametrize("command", ["import-hf", "export-hf"])
def test_help_needs_no_torch(command: str) -> None:
    code = f"import sys\nfrom hclf.cli import main\ntry:\n    main(['{command}', '--help'])\nexcept SystemExit:\n"
    code += "    assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_a_missing_extra_is_named(files: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("hclf.scorers.neural")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    message = r"needs an extra that is not installed: pip install 'hclf\[neural\]'"
    fails(message, "import-hf", folders["bert"], "-t", files / "shop.yaml", "-o", files / "m")
