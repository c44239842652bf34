"""A causal language model and its tokenizer, loaded once for all engines that ask it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
import transformers
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DynamicCache,
)

from hclf.errors import MissingExtraError, UsageError
from hclf.scorers.neural.loading import (
    align,
    check_tokenizer,
    check_weights,
    explained,
    located,
    own_code_only,
    quiet,
    token_limit,
)
from hclf.scorers.neural.native import last_change
from hclf.scorers.neural.network import learns_in_bf16
from hclf.scorers.neural.transformer import vocabulary_size

ANY = 2**62  # tokens: more than there are
DTYPE = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")  # as configurations call how far a token sees
ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}  # kinds of layers that look at single tokens
LOADING = threading.Lock()


class Reach(NamedTuple):
    """Up to how many tokens a model may read prompts side by side and still say what it says of each alone.

    Attributes:
        padded: prompts of different lengths in one batch, their states kept for what follows; 0: never. Models that
            carry one state from token to token would carry it through the padding as well.
        shared: prompts whose common beginning is read once; 0: never. The padding lies between beginning and rest,
            so whoever counts distances in the batch rather than by position counts wrong.
    """

    padded: int
    shared: int


class LanguageModel:
    """A causal model that says how likely every next token is.

    Args:
        model: of transformers, in evaluation mode, on its device.
        name: to call it by in messages.

    Attributes:
        device: where it computes.
        vocabulary: how many tokens it knows.
        limit: the most tokens it can read; None: any number.
        reach: see `Reach`.
    """

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.name = model, name
        self.device: torch.device = model.device
        self.vocabulary = vocabulary_size(model)
        most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.limit = token_limit(model) or (most if isinstance(most, int) and most > 0 else None)
        self.reach = reach(model, takes_positions="position_ids" in self._accepted)

    @cached_property
    def _accepted(self) -> frozenset[str]:
        """What the model's forward pass can be given."""
        return frozenset(inspect.signature(self.model.forward).parameters)

    def alone(self, tokens: Tensor) -> Tensor:
        """Return log-probabilities (rows, vocabulary) float32 of what follows tokens (rows, length): plainly."""
        return _next(self.model(input_ids=tokens, use_cache=False, **self._last_only()))

    def read(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Read on after what `cache` holds.

        Args:
            tokens: (rows, length) int64, padded on the left.
            mask: (rows, cached + length) int64: 1 where there is no padding.
            positions: (rows, length) int64, of the tokens in their prompts.
            cache: of what came before; is changed. None: nothing did.

        Returns:
            Log-probabilities (rows, vocabulary) float32 of what follows, and the cache of all that was read.
        """
        given = {"position_ids": positions} if "position_ids" in self._accepted else {}
        output = self.model(
            input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True, **given, **self._last_only()
        )
        return _next(output), output.past_key_values

    def _last_only(self) -> dict[str, int]:
        """Spare the logits of all positions but the last: they would be larger than all else."""
        return {"logits_to_keep": 1} if "logits_to_keep" in self._accepted else {}


def _next(output: Any) -> Tensor:
    logits: Tensor = output.logits[:, -1].float()
    return logits.log_softmax(-1)


def reach(model: Any, *, takes_positions: bool) -> Reach:
    """Return what may be read side by side."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds <= ATTENTION or getattr(model, "_is_stateful", False) or not _keeps_rows(model):
        return Reach(0, 0)
    padded = _longrope(config) or ANY
    if not takes_positions:
        return Reach(padded, 0)
    windows = [getattr(config, name, None) for name in WINDOWS] if kinds != {"full_attention"} else []
    return Reach(padded, min([padded, *(size for size in windows if isinstance(size, int))]))


def _keeps_rows(model: Any) -> bool:
    """Return whether a model keeps the states of each token, so that rows can be chosen and repeated: tries it."""
    with torch.inference_mode():
        output = model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=model.device), use_cache=True)
    return isinstance(getattr(output, "past_key_values", None), DynamicCache)


def _longrope(config: Any) -> int:
    """Return how many tokens LongRoPE reads as it was first trained; 0: the model has no such thing.

    If one prompt of a batch is longer, it reads the shorter ones in another way too.
    """
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    for values in (rope, *(value for value in rope.values() if isinstance(value, Mapping))):
        if values.get("rope_type", values.get("type")) == "longrope":
            first = values.get("original_max_position_embeddings")
            return int(first or getattr(config, "original_max_position_embeddings", None) or 1)
    return 0


# -- loading ---------------------------------------------------------------------------------------------------------

_LOADED: WeakValueDictionary[tuple[Any, ...], LanguageModel] = WeakValueDictionary()


def shared_model(name: str, device: torch.device, precision: str, quantize: str | None) -> LanguageModel:
    """Return a model that is loaded once and kept as long as anyone uses it.

    Raises:
        UsageError: as `load_model`.
    """
    key = (name, last_change(name), device, precision, quantize)
    with LOADING:
        if (found := _LOADED.get(key)) is None:
            found = _LOADED[key] = load_model(name, device, precision, quantize)
        return found


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a folder, without the network, or of a name on the hub.

    Raises:
        UsageError: no usable one there.
    """
    where, local = located(name)
    with quiet(), explained(name, local):
        tokenizer = AutoTokenizer.from_pretrained(
            where, use_fast=True, local_files_only=local, trust_remote_code=False
        )
        check_tokenizer(tokenizer, name)
    return tokenizer


def load_model(name: str, device: torch.device, precision: str, quantize: str | None) -> LanguageModel:
    """Load a causal language model of a folder, without the network, or by its name on the hub.

    Args:
        name: a folder as `save_pretrained` writes it; or a name.
        device: to compute on.
        precision: of the weights: bf16, fp32 or auto (bf16 on a GPU made for it). Quantised ones are as they are.
        quantize: 8bit, 4bit or None.

    Raises:
        UsageError: no usable causal model there.
    """
    where, local = located(name)
    options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    with quiet(), explained(name, local):
        config = own_code_only(AutoConfig.from_pretrained(where, **options))
        _check_kind(config, name)
        quantised = getattr(config, "quantization_config", None) is not None
        if quantised and quantize is not None:
            raise UsageError(f"{name} holds quantised weights already; leave quantize={quantize!r} out")
        dtype = torch.bfloat16 if learns_in_bf16(precision, device) else torch.float32
        if quantised or quantize is not None:
            options |= {"device_map": {"": str(device)}}
        if quantize is not None:
            options["quantization_config"] = quantisation(quantize, dtype)
        options[DTYPE] = "auto" if quantised else dtype
        model, found = AutoModelForCausalLM.from_pretrained(
            where, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    check_weights(model, found, name)
    if not (quantised or quantize):
        align(model.to(device))
    return LanguageModel(model.eval().requires_grad_(False), name)


def check_quantising() -> None:
    """Refuse to make weights smaller where nothing can.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError("quantised weights", "quant")


def quantisation(bits: str, dtype: torch.dtype) -> Any:
    """Return how bitsandbytes makes weights of 8 or 4 bits out of larger ones (Dettmers et al., 2022 and 2023)."""
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _check_kind(config: Any, name: str) -> None:
    """Refuse a model that does not say what comes next.

    Raises:
        UsageError: so it is.
    """
    kind = type(config)
    if config.is_encoder_decoder:
        fault = "an encoder-decoder"
    elif kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        fault = "an encoder, which fills gaps"
    elif kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        fault = "something else"
    else:
        return
    raise UsageError(
        f"{name} holds {fault} ({config.model_type}); prompts need a causal language model, such as Llama"
    )
