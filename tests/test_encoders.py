"""Encoders: chunks hold every token, vectors are what Hugging Face computes, states come back to the bit."""

from __future__ import annotations

import io
import json
import random
import shutil
import socket
import sys

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix
from tiny_models import LIMIT, SENTENCES, tiny_bert, tiny_llama, tiny_roberta
from transformers import AutoModel, AutoTokenizer, DistilBertConfig, T5Config
from transformers.utils import logging

from hclf.errors import MissingExtraError, UsageError
from hclf.scorers.neural.columns import ColumnEncoder
from hclf.scorers.neural.encoding import by_length, embed
from hclf.scorers.neural.tokens import Cut, TextTokenizer, Tokens
from hclf.scorers.neural.transformer import TransformerEncoder, load_transformer

KINDS = {"bert": tiny_bert, "llama": tiny_llama, "roberta": tiny_roberta}
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})


def text_of(n: int, seed: int = 0) -> str:
    """Return a text of n words."""
    return " ".join(random.Random(seed).choices(WORDS, k=n))


MIXED = [*SENTENCES[:3], "", text_of(150), "x", text_of(70, 1), " \n\t ", text_of(400, 2)]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Return kind -> folder of a tiny model."""
    logging.disable_progress_bar()
    return {kind: make(tmp_path_factory.mktemp(kind)) for kind, make in KINDS.items()}


@pytest.fixture(params=sorted(KINDS))
def folder(request, folders):
    return folders[request.param]


@pytest.fixture
def copied(folders, tmp_path):
    """Return a copy of the BERT that a test may spoil."""
    return shutil.copytree(folders["bert"], tmp_path / "copy")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def fields(texts):
    return [{"text": text} for text in texts]


def encoded(encoder, texts, **options):
    """Return the encoding of texts in one batch."""
    prepared = encoder.prepare(fields(texts))
    with torch.no_grad():
        return encoder(encoder.batch(prepared, np.arange(len(texts))), **options)


# -- chunks ----------------------------------------------------------------------------------------------------


def slow_chunks(tokens: list[int], cut: Cut) -> list[list[int]]:
    """Return a document's chunks, one after another."""
    chunks, start = [], 0
    while True:
        chunks.append([*cut.prefix, *tokens[start : start + cut.room], *cut.suffix])
        if start + cut.room >= len(tokens):
            return chunks
        start += cut.room - cut.overlap


@st.composite
def cuts(draw) -> Cut:
    room = draw(st.integers(1, 12))
    ends = st.lists(st.integers(900, 999), max_size=2).map(tuple)
    return Cut(draw(ends), draw(ends), room, draw(st.integers(0, room // 2)), filler=7)


@given(cuts(), st.lists(st.integers(0, 60), max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_chunks_hold_every_token_in_order(cut, lengths, order):
    lengths = [max(n, 1 - min(cut.special, 1)) for n in lengths]  # a document is never without any token
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    tokens = Tokens(np.arange(offsets[-1], dtype=np.int32), offsets, cut)
    rows = list(range(len(lengths)))
    order.shuffle(rows)
    batch = cut.batch(tokens, np.array(rows, dtype=np.int64))

    expected = [slow_chunks(tokens.ids[offsets[row] : offsets[row + 1]].tolist(), cut) for row in rows]
    found = [ids[mask].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)]
    assert found == [chunk for chunks in expected for chunk in chunks]
    assert batch.document.tolist() == [i for i, chunks in enumerate(expected) for _ in chunks]
    assert batch.place.tolist() == [i for chunks in expected for i in range(len(chunks))]
    assert (batch.ids[~batch.mask] == 7).all()
    assert not (batch.mask[:, 1:] & ~batch.mask[:, :-1]).any()
    assert tokens.sizes[rows].tolist() == [sum(map(len, chunks)) for chunks in expected]
    assert tokens.long == sum(len(chunks) > 1 for chunks in expected)
    for row, chunks in zip(rows, expected, strict=True):
        text = {token for chunk in chunks for token in chunk if token < 900}
        assert text == set(tokens.ids[offsets[row] : offsets[row + 1]].tolist())


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 500))
def test_batches_by_length_hold_each_row_once_within_the_budget(sizes, most):
    batches = list(by_length(np.array(sizes, dtype=np.int64), most))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(sizes[row] for row in batch.tolist()) <= most


def test_the_overlap_is_what_chunks_share(folders):
    encoder = load_transformer(folders["bert"], max_length=22, overlap=5)
    prepared = encoder.prepare(fields([text_of(60)]))
    batch = encoder.batch(prepared, np.arange(1))
    assert batch.ids.shape[1] == 22
    assert torch.equal(batch.ids[0, -6:-1], batch.ids[1, 1:6])
    assert prepared.long == 1


def test_long_documents_are_counted(folders):
    prepared = load_transformer(folders["bert"]).prepare(fields(MIXED))
    assert prepared.long == 3
    assert len(prepared) == len(MIXED)
    assert prepared.ids.dtype == np.int32


# -- vectors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_a_short_text_is_what_hugging_face_makes_of_it(folder, pooling):
    vectors = embed(load_transformer(folder, pooling=pooling), list(SENTENCES))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for sentence, vector in zip(SENTENCES, vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0]
        expected = {"mean": states.mean(0), "first": states[0], "last": states[-1]}[pooling]
        assert vector == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_a_long_text_is_pooled_over_all_chunks(folder, pooling):
    encoder = load_transformer(folder, pooling=pooling, max_length=24, overlap=6)
    text = text_of(90)
    prepared = encoder.prepare(fields([text]))
    chunks = slow_chunks(prepared.ids.tolist(), prepared.cut)
    assert len(chunks) > 4
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = [model(input_ids=torch.tensor([chunk])).last_hidden_state[0] for chunk in chunks]
    expected = {
        "mean": torch.cat(states).mean(0),
        "first": torch.stack([state[0] for state in states]).mean(0),
        "last": states[-1][-1],
    }[pooling]
    assert embed(encoder, [text])[0] == pytest.approx(expected.numpy(), abs=1e-5)


def test_decoders_pool_their_last_token_and_encoders_the_mean(folders):
    assert {kind: load_transformer(folder).pooling for kind, folder in folders.items()} == {
        "bert": "mean",
        "llama": "last",
        "roberta": "mean",
    }


def test_a_document_does_not_depend_on_its_batch(folder):
    encoder = load_transformer(folder)
    alone = np.concatenate([embed(encoder, [text]) for text in MIXED])
    order = np.random.default_rng(0).permutation(len(MIXED))
    assert embed(encoder, MIXED) == pytest.approx(alone, abs=1e-5)
    assert embed(encoder, MIXED, batch_tokens=100) == pytest.approx(alone, abs=1e-5)
    assert embed(encoder, [MIXED[i] for i in order]) == pytest.approx(alone[order], abs=1e-5)
    assert encoded(encoder, MIXED).pooled.numpy() == pytest.approx(alone, abs=1e-5)


def test_embedding_twice_is_the_same_to_the_bit_and_nothing_learns(folder):
    encoder = load_transformer(folder).train()
    first = embed(encoder, MIXED)
    assert first.dtype == np.float32
    assert encoder.training  # as it was
    assert np.array_equal(first, embed(encoder, MIXED))
    assert embed(encoder, []).shape == (0, encoder.width)


@pytest.mark.parametrize("tune", ["full", "frozen", "lora"])
def test_memory_of_long_texts_is_bounded_without_changing_them(folder, tune):
    encoder = load_transformer(folder, tune=tune, pooling="mean")
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    whole, gradient = encoded(encoder, MIXED, tokens=True), gradients(encoder)
    encoder.zero_grad()
    encoder.at_once = 2 * LIMIT
    sliced, again = encoded(encoder, MIXED, tokens=True), gradients(encoder)
    assert sliced.pooled.numpy() == pytest.approx(whole.pooled.numpy(), abs=1e-5)
    assert sliced.tokens[whole.mask].numpy() == pytest.approx(whole.tokens[whole.mask].numpy(), abs=1e-5)
    assert again.keys() == gradient.keys()
    for name, values in gradient.items():
        assert torch.allclose(values, again[name], rtol=1e-4, atol=1e-3), name


def test_token_states_come_with_their_documents(folder):
    encoder = load_transformer(folder, pooling="mean")
    found = encoded(encoder, MIXED, tokens=True)
    chunks, length, width = found.tokens.shape
    assert width == encoder.width
    assert found.mask.shape == (chunks, length)
    assert found.mask.any(1).all()
    assert found.document.unique().tolist() == list(range(len(MIXED)))
    for row in range(len(MIXED)):
        states = found.tokens[found.document == row][found.mask[found.document == row]]
        assert states.mean(0).numpy() == pytest.approx(found.pooled[row].numpy(), abs=1e-5)
    assert encoded(encoder, MIXED).tokens is None


def test_named_fields_are_read_one_after_another(folders):
    encoder = load_transformer(folders["bert"])
    together = encoder.prepare([{"title": "red apples", "text": "from the market"}])
    assert together.ids.tolist() == encoder.prepare(fields(["red apples\nfrom the market"])).ids.tolist()


# -- texts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "\0", "\x07\x1b[0m", "\ud800", "a\udfffb", "🙂" * 100, "\u202e\u200b", "ﷺ" * 50]
)
def test_any_text_has_a_vector(folder, text):
    assert np.isfinite(embed(load_transformer(folder), [text, "red apples"])).all()


def test_a_decoder_without_special_tokens_reads_an_empty_text(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "bare")
    values = json.loads((folder / "tokenizer.json").read_text())
    values["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(values))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": False}))
    encoder = load_transformer(folder)
    assert encoder.tokenizer.cut.special == 0
    vectors = embed(encoder, ["", "red apples"])
    assert np.isfinite(vectors).all()
    assert vectors[0] == pytest.approx(embed(encoder, [""])[0], abs=1e-5)


@pytest.mark.parametrize("words", [text_of(180_000), "x" * 10**6, "日" * 300_000, " " * 10**6])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_megabyte_is_tokenised_at_once(folders, kind, words):
    encoder = load_transformer(folders[kind])
    prepared = encoder.prepare(fields([words, "red"]))
    assert len(prepared) == 2
    assert prepared.ids.nbytes < 5 * len(words.encode()) + 100


def test_a_text_is_never_read_as_special_tokens(folders):
    encoder = load_transformer(folders["bert"])
    ends = {*encoder.tokenizer.cut.prefix, *encoder.tokenizer.cut.suffix}
    assert not ends & set(encoder.prepare(fields(["a [SEP] b [CLS] c [PAD]"])).ids.tolist())


def test_spans_say_where_tokens_are(folder):
    tokenizer = load_transformer(folder).tokenizer
    text = "red apples and\ngreen pears"
    spans = tokenizer.spans(text)
    assert len(spans) == len(tokenizer.prepare(fields([text])).ids)
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    assert "".join("".join(text[start:end] for start, end in spans.tolist()).split()) == "".join(text.split())


# -- states ----------------------------------------------------------------------------------------------------


def through_files(state):
    """Return a state after it was JSON and npz."""
    config, arrays = state
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as loaded:
        return json.loads(json.dumps(config)), {name: loaded[name] for name in loaded.files}


@pytest.mark.parametrize("tune", ["full", "frozen", "lora"])
def test_a_state_comes_back_to_the_bit(folder, tune, no_network):
    encoder = load_transformer(folder, tune=tune, max_length=40, overlap=7, pooling="mean")
    stir(encoder)
    before = embed(encoder, MIXED)
    again = TransformerEncoder.from_state(*through_files(encoder.get_state()))
    assert np.array_equal(embed(again, MIXED), before)
    assert (again.pooling, again.tune, again.frozen, again.width) == ("mean", tune, tune == "frozen", encoder.width)
    learns = [{name for name, p in e.named_parameters() if p.requires_grad} for e in (encoder, again)]
    assert learns[0] == learns[1]


def stir(encoder) -> None:
    """Move what can learn away from its first values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def test_a_state_is_a_copy(folders):
    encoder = load_transformer(folders["bert"])
    config, arrays = encoder.get_state()
    again = TransformerEncoder.from_state(config, arrays)
    before = embed(again, MIXED)
    stir(encoder)
    for array in arrays.values():
        array += 1
    assert np.array_equal(embed(again, MIXED), before)


def test_weights_of_16_bits_are_kept_if_asked_for(folders, tmp_path):
    for dtype in (torch.bfloat16, torch.float16):
        folder = shutil.copytree(folders["llama"], tmp_path / str(dtype))
        AutoModel.from_pretrained(folder).to(dtype).save_pretrained(folder)
        full, kept = load_transformer(folder), load_transformer(folder, keep_dtype=True)
        assert next(full.parameters()).dtype == torch.float32
        assert next(kept.parameters()).dtype == dtype
        config, arrays = kept.get_state()
        assert {array.dtype.itemsize for array in arrays.values()} == {2}
        again = TransformerEncoder.from_state(*through_files((config, arrays)))
        assert next(again.parameters()).dtype == dtype
        assert np.array_equal(embed(again, MIXED), embed(kept, MIXED))


def test_merged_adapters_leave_a_plain_model(folder):
    encoder = load_transformer(folder, tune="lora")
    stir(encoder)
    before = embed(encoder, MIXED)
    encoder.merge()
    merged = embed(encoder, MIXED)
    assert merged == pytest.approx(before, abs=1e-4)
    assert not np.allclose(merged, embed(load_transformer(folder), MIXED), atol=1e-3)
    assert not any("lora" in name for name in encoder.state_dict())
    assert np.array_equal(embed(TransformerEncoder.from_state(*through_files(encoder.get_state())), MIXED), merged)


# -- learning --------------------------------------------------------------------------------------------------


def gradients(encoder) -> dict[str, torch.Tensor]:
    encoder.train()
    batch = encoder.batch(encoder.prepare(fields(MIXED)), np.arange(len(MIXED)))
    pooled = encoder(batch).pooled
    if pooled.requires_grad:
        (pooled * torch.arange(encoder.width)).sum().backward()
    return {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}


def test_full_tuning_reaches_every_weight(folder):
    encoder = load_transformer(folder, pooling="mean")
    assert gradients(encoder).keys() == dict(encoder.named_parameters()).keys()


def test_lora_learns_in_its_adapters_only(folder):
    encoder = load_transformer(folder, tune="lora", lora_rank=3)
    found = gradients(encoder)
    assert found
    assert all("lora_" in name for name in found)
    assert {p.shape[0] for name, p in encoder.named_parameters() if "lora_A" in name} == {3}


def test_frozen_learns_nothing_and_drops_nothing(folders):
    encoder = load_transformer(folders["bert"], tune="frozen")
    assert not gradients(encoder)
    assert encoder.training
    assert np.array_equal(encoded(encoder, MIXED).pooled, encoded(encoder, MIXED).pooled)
    dropping = load_transformer(folders["bert"]).train()
    assert not np.array_equal(encoded(dropping, MIXED).pooled, encoded(dropping, MIXED).pooled)


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_gradient_checkpointing_changes_no_gradient(folders, tune):
    plain, saving = (
        gradients(load_transformer(folders["llama"], tune=tune, gradient_checkpointing=on)) for on in (False, True)
    )
    assert plain.keys() == saving.keys()
    for name, gradient in plain.items():
        if tune == "full":  # LoRA drops some of its inputs at random
            assert torch.allclose(gradient, saving[name], atol=1e-4), name


def test_loading_leaves_the_random_state_alone(folders):
    before = torch.get_rng_state()
    encoder = load_transformer(folders["bert"], tune="lora")
    TransformerEncoder.from_state(*encoder.get_state())
    embed(encoder, ["red"])
    assert torch.equal(torch.get_rng_state(), before)


def test_adapters_begin_the_same_for_a_seed(folders):
    one, same, other = (load_transformer(folders["bert"], tune="lora", seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


# -- loading ---------------------------------------------------------------------------------------------------


def test_a_folder_never_asks_the_network(folder, no_network):
    assert embed(load_transformer(folder), ["red"]).shape == (1, 16)


def test_a_name_is_found_in_the_cache_of_the_hub(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    kept = tmp_path / "models--someone--tiny"
    shutil.copytree(folders["bert"], kept / "snapshots" / "abc")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    encoder = load_transformer("someone/tiny", cache_dir=tmp_path)
    assert np.array_equal(embed(encoder, MIXED), embed(load_transformer(folders["bert"]), MIXED))


def test_a_folder_says_nothing_while_it_loads(folder, capfd):
    load_transformer(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("config", [DistilBertConfig, T5Config])
def test_other_architectures(folders, tmp_path, config):
    tokenizer = AutoTokenizer.from_pretrained(folders["bert"])
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    small = {
        DistilBertConfig: {
            "dim": 16,
            "n_layers": 1,
            "n_heads": 2,
            "hidden_dim": 32,
            "max_position_embeddings": LIMIT,
        },
        T5Config: {
            "d_model": 16,
            "d_kv": 8,
            "num_layers": 1,
            "num_heads": 2,
            "d_ff": 32,
            "tie_word_embeddings": True,
        },
    }[config]
    AutoModel.from_config(config(**sizes, **small)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = load_transformer(tmp_path)
    vectors = embed(encoder, MIXED)
    assert vectors.shape == (len(MIXED), 16)
    again = TransformerEncoder.from_state(*through_files(encoder.get_state()))
    assert np.array_equal(embed(again, MIXED), vectors)


def spoil_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


SPOILERS = {
    "no config.json": lambda folder: (folder / "config.json").unlink(),
    "model.safetensors": lambda folder: (folder / "model.safetensors").unlink(),
    "not a valid JSON": lambda folder: (folder / "config.json").write_text("{"),
    "has no tokenizer": lambda folder: [file.unlink() for file in folder.glob("tokenizer*")],
    "holds LoRA adapters": lambda folder: (folder / "adapter_config.json").write_text("{}"),
    "cannot be loaded": lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" + bytes(40)),
    "model type `nonsense`": lambda folder: change_config(folder, model_type="nonsense"),
    "quantised weights": lambda folder: change_config(
        folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}
    ),
    "needs code of its own": lambda folder: change_config(
        folder, model_type="nonsense", auto_map={"AutoConfig": "x.Foo", "AutoModel": "x.Bar"}
    ),
    "weights are missing, such as": lambda folder: spoil_weights(
        folder, lambda weights: weights.pop("encoder.layer.0.attention.self.query.weight")
    ),
    "have another shape": lambda folder: spoil_weights(
        folder,
        lambda weights: weights.update({"embeddings.LayerNorm.weight": torch.ones(3)}),
    ),
}


@pytest.mark.parametrize("message", SPOILERS)
def test_what_cannot_be_loaded_says_why_in_one_line(copied, message, no_network):
    (copied / "x.py").write_text("raise AssertionError('ran code of a model')")
    SPOILERS[message](copied)
    with pytest.raises(UsageError) as caught:
        load_transformer(copied)
    assert message in str(caught.value)
    assert str(copied) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
def test_a_configuration_cannot_name_code_to_fetch(copied, name, no_network):
    change_config(copied, **{name: "someone/kernel"})
    encoder = load_transformer(copied)
    config, arrays = encoder.get_state()
    config["model"][name] = "someone/kernel"
    again = TransformerEncoder.from_state(config, arrays)
    assert {e.model.config._attn_implementation for e in (encoder, again)} == {"sdpa"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/nothing", "not found locally and the hub cannot be reached"),
        ("no/such/folder", "not found locally and the hub cannot be reached"),
        ("./nothing", "no such folder"),
        ("/nothing/here", "no such folder"),
    ],
)
def test_names_that_lead_nowhere(name, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=message):
        load_transformer(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "frist"}, "unknown pooling 'frist'; did you mean 'first'"),
        ({"tune": "all"}, "unknown tune 'all'"),
        ({"tune": "lora", "lora_rank": 0}, "lora_rank is 0"),
        ({"max_length": 65}, "reads at most 64 tokens"),
        ({"max_length": 0}, "leaves no room for text; give at least 3"),
        ({"max_length": 2}, "leaves no room for text; give at least 3"),
        ({"overlap": -1}, "overlap is -1"),
    ],
)
def test_options_that_do_not_fit(folders, options, message):
    with pytest.raises(UsageError, match=message):
        load_transformer(folders["bert"], **options)


def test_roberta_has_fewer_positions_than_its_table(folders):
    encoder = load_transformer(folders["roberta"])
    assert encoder.tokenizer.max_length == LIMIT - 1
    with pytest.raises(UsageError, match="reads at most 63"):
        load_transformer(folders["roberta"], max_length=LIMIT)


def test_lora_without_peft_names_the_extra(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"hclf\[lora\]"):
        load_transformer(folders["bert"], tune="lora")


def test_a_tokenizer_of_another_model_is_refused(folders):
    encoder = load_transformer(folders["bert"])
    other = load_transformer(folders["llama"]).tokenizer
    with pytest.raises(UsageError, match="do not belong"):
        TransformerEncoder(encoder.model, other).prepare(fields(list(SENTENCES)))


def test_a_tokenizer_that_pads_and_cuts_does_neither(folders):
    text = tiny_models.Tokenizer.from_file(str(folders["bert"] / "tokenizer.json"))
    text.enable_truncation(5)
    text.enable_padding(length=50)
    tokenizer = TextTokenizer(text.to_str(), max_length=30, overlap=3)
    assert len(tokenizer.prepare(fields([text_of(20).replace(",", "")])).ids) == 20


def test_texts_and_matrices_are_not_mixed_up(folders):
    with pytest.raises(UsageError, match="reads texts"):
        load_transformer(folders["bert"]).prepare(csr_matrix(np.ones((2, 2))))
    with pytest.raises(UsageError, match="reads a feature matrix"):
        ColumnEncoder.fit(fields(["a"]))


# -- matrices --------------------------------------------------------------------------------------------------


def matrix(n=30, width=5, seed=0):
    values = np.random.default_rng(seed).normal(3, 2, (n, width))
    values[1, 2] = np.nan
    return csr_matrix(values)


def test_columns_are_the_transformed_rows(monkeypatch):
    X = matrix()
    encoder = ColumnEncoder.fit(X)
    expected = encoder.numbers.transform(X)
    rows = np.array([4, 0, 29])
    for limit in (10**9, 0):  # made dense at once, then batch by batch
        monkeypatch.setattr("hclf.scorers.neural.columns.AT_ONCE", limit)
        monkeypatch.setattr("hclf.scorers.neural.columns.SLICE", 7)
        prepared = encoder.prepare(X)
        assert (len(prepared), prepared.long, prepared.sizes.tolist()) == (30, 0, [1] * 30)
        pooled = encoder(encoder.batch(prepared, rows).to("cpu")).pooled
        assert pooled.dtype == torch.float32
        assert np.array_equal(pooled.numpy(), expected[rows])
        assert np.array_equal(embed(encoder, X), expected)
    assert not list(encoder.parameters())


def test_columns_come_back_to_the_bit():
    encoder = ColumnEncoder.fit(matrix(), nominal=(1,))
    again = ColumnEncoder.from_state(*through_files(encoder.get_state()))
    other = matrix(seed=1)
    assert again.width == encoder.width
    assert np.array_equal(embed(again, other), embed(encoder, other))


def test_another_number_of_features_is_refused_before_the_first_batch():
    with pytest.raises(UsageError, match="has 4 features"):
        ColumnEncoder.fit(matrix()).prepare(matrix(width=4))
