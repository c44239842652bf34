"""Tiny random language models with tokenizers, saved as Hugging Face folders: made on the spot, never downloaded.

folder = tiny_bert(tmp_path / "bert")      an encoder with [CLS] … [SEP], a pad token and a pooler
folder = tiny_llama(tmp_path / "llama")    a decoder with <s> before the text and no pad token
folder = tiny_roberta(tmp_path / "roberta")  an encoder whose positions start behind the pad token
folder = tiny_causal(tmp_path / "causal")  a Llama that says what comes next, or any other architecture that does
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

SENTENCES = (
    "red apples and green pears from the market",
    "a phone with a large screen and a good camera",
    "the patient was seen with pain in the chest",
    "running shoes, leather boots and warm socks",
    "fracture of the left arm after a fall",
    "milk, butter, cheese and other dairy products",
    "laptop computers and tablets for the office",
    "diabetes mellitus without complications",
)
LIMIT = 64  # positions of every tiny model


def tiny_bert(
    folder: Path, *, texts: Sequence[str] = SENTENCES, width: int = 16, layers: int = 2, seed: int = 0
) -> Path:
    """Save a random BERT with a WordPiece tokenizer; return the folder."""
    tokenizer = word_pieces(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=LIMIT,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(BertModel, config, tokenizer, folder, seed)


def tiny_roberta(folder: Path, *, texts: Sequence[str] = SENTENCES, width: int = 16, seed: int = 0) -> Path:
    """Save a random RoBERTa: its positions are counted from behind the pad token's number."""
    tokenizer = word_pieces(texts)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=LIMIT,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(RobertaModel, config, tokenizer, folder, seed)


def tiny_llama(folder: Path, *, texts: Sequence[str] = SENTENCES, width: int = 16, seed: int = 0) -> Path:
    """Save a random Llama with a byte-level BPE tokenizer; return the folder."""
    tokenizer = byte_pairs(texts)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=2 * width,
        max_position_embeddings=LIMIT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return _save(LlamaModel, config, tokenizer, folder, seed)


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}


def tiny_causal(
    folder: Path,
    *,
    kind: type[PreTrainedModel] = LlamaForCausalLM,
    config: Callable[..., PreTrainedConfig] = LlamaConfig,
    shape: Mapping[str, Any] = LLAMA,
    chat_template: str | None = None,
    texts: Sequence[str] = SENTENCES,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    """Save a random causal language model with a byte-level BPE tokenizer; return the folder.

    Args:
        folder: to save to.
        kind, config: of the architecture.
        shape: what its configuration is given; with 512 positions if it does not say how many.
        chat_template: of the tokenizer, which knows <|im_start|> and <|im_end|> then.
        texts: to train the tokenizer on.
        dtype: of the weights as they are saved.
        seed: of the weights.
    """
    tokenizer = byte_pairs(texts, special=("<|im_start|>", "<|im_end|>") if chat_template else ())
    tokenizer.chat_template = chat_template
    about = config(
        **{"max_position_embeddings": 512, **shape},
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return _save(kind, about, tokenizer, folder, seed, dtype)


def word_pieces(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Build a lower-casing WordPiece tokenizer of some texts' words; it puts [CLS] and [SEP] around a text."""
    special = {name: f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    words = sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})
    characters = sorted({*string.ascii_lowercase, *string.digits, *string.punctuation, *"".join(words)})
    pieces = [*special.values(), *characters, *(f"##{c}" for c in characters), *words]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = [(special[name], tokenizer.token_to_id(special[name])) for name in ("cls", "sep")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LIMIT, **names)


def byte_pairs(texts: Sequence[str], size: int = 350, special: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that puts <s> before a text; it has no pad token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", model_max_length=LIMIT
    )


def _save(
    kind: type[PreTrainedModel],
    config: object,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    seed: int,
    dtype: torch.dtype = torch.float32,
) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower():  # far from 0, so that texts differ
                torch.nn.init.normal_(parameter, std=0.3)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
