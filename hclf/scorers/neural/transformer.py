"""Hugging Face models as encoders: texts in overlapping chunks, pooled; full, frozen or LoRA training."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

import torch
from accelerate import init_empty_weights
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel

from hclf.errors import MissingExtraError, UsageError, did_you_mean, suggest
from hclf.inputs import Inputs, Ints
from hclf.scorers.base import Progress, silent
from hclf.scorers.neural.encoding import Encoder, Encoding, State, embed
from hclf.scorers.neural.loading import body, load_parts, own_code_only
from hclf.scorers.neural.tokens import TextTokenizer, TokenBatch, Tokens

__all__ = ["TransformerEncoder", "embed", "load_transformer"]

Pooling: TypeAlias = Literal["mean", "first", "last"]
Tune: TypeAlias = Literal["full", "frozen", "lora"]
AT_ONCE = 2**14  # tokens that go through the model together: bounds the memory of long texts
CHUNK = 512  # tokens of a chunk if nobody says otherwise and the model can read as many
BF16 = "bfloat16"


def load_transformer(
    name: str | Path,
    *,
    pooling: str | None = None,
    max_length: int | None = None,
    overlap: int = 32,
    tune: str = "full",
    lora_rank: int = 8,
    gradient_checkpointing: bool = False,
    keep_dtype: bool = False,
    cache_dir: str | Path | None = None,
    seed: int = 0,
) -> TransformerEncoder:
    """Load an encoder or decoder by folder, without the network, or by its name on the Hugging Face hub.

    Args:
        name: a folder as `save_pretrained` writes it, with a fast tokenizer; or a name.
        pooling: mean, first or last; None: last for decoders, mean for all others.
        max_length: tokens of a chunk, special ones counted; None: what the model can read, at most 512.
        overlap: tokens that a chunk shares with the next; at most half of a chunk.
        tune: full, frozen or lora.
        lora_rank: of LoRA's matrices.
        gradient_checkpointing: compute states twice in training instead of keeping them.
        keep_dtype: keep weights of 16 bits as they are; else all are float32. For large models that are frozen or
            tuned by LoRA.
        cache_dir: where downloads are kept; None: transformers' own place.
        seed: of LoRA's first values.

    Raises:
        UsageError: no usable model or tokenizer there, or an option that does not fit it.
        MissingExtraError: LoRA without peft.
    """
    _check(pooling or "mean", tune, lora_rank)
    parts = load_parts(str(name), cache_dir=cache_dir, keep_dtype=keep_dtype)
    if gradient_checkpointing:
        compute_again(parts.model, str(name))
    if max_length is not None and parts.limit is not None and max_length > parts.limit:
        raise UsageError(f"max_length is {max_length}, but {name} reads at most {parts.limit} tokens at once")
    limits = (CHUNK, parts.limit or CHUNK, int(min(parts.tokenizer.model_max_length, CHUNK)))
    return TransformerEncoder(
        parts.model,
        text_tokenizer(
            parts.tokenizer, vocabulary_size(parts.model), min(limits) if max_length is None else max_length, overlap
        ),
        pooling=pooling or ("last" if parts.causal else "mean"),
        tune=tune,
        lora_rank=lora_rank,
        seed=seed,
    )


class TransformerEncoder(Encoder):
    """A Hugging Face encoder or decoder.

    A text is read in chunks of at most `tokenizer.max_length` tokens, each with the model's special tokens around
    it. All chunks are read, and all of them count:

    - `mean`: the mean over all tokens of all chunks, special tokens as well (as sentence-transformers does), so that
      tokens in an overlap count twice;
    - `first`: the mean over the first tokens of the chunks ([CLS]);
    - `last`: the last token of the last chunk.

    More than `at_once` tokens (an attribute) go through the model in several parts, in training too, where the states
    of each part are then computed a second time instead of being kept: a text of megabytes needs time, not memory.

    A vector depends on its document alone, but for rounding: matrix products of other shapes add up in another order
    (a relative 1e-6 in float32).

    Args:
        model: gives `last_hidden_state` for `input_ids` and `attention_mask`.
        tokenizer: made for it.
        pooling: mean, first or last.
        tune: full: everything learns; frozen: nothing does; lora: small matrices beside the linear layers do.
        lora_rank: of these matrices.
        seed: of their first values.

    Raises:
        UsageError: an unknown pooling or tune, a rank below 1.
        MissingExtraError: LoRA without peft.
    """

    kind = "transformer"

    def __init__(
        self,
        model: Any,
        tokenizer: TextTokenizer,
        *,
        pooling: str = "mean",
        tune: str = "full",
        lora_rank: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(pooling, tune, lora_rank)
        self.model_config: Any = model.config
        self.tokenizer, self.pooling, self.tune, self.lora_rank = tokenizer, pooling, tune, lora_rank
        self.model = _with_adapters(model, lora_rank, seed) if tune == "lora" else model
        self.width = _width(self.model_config)
        self.vocabulary = vocabulary_size(model)
        self.frozen = tune == "frozen"
        self.at_once = AT_ONCE
        if self.frozen:
            self.model.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off; what is frozen stays without."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def prepare(self, inputs: Inputs, progress: Progress = silent) -> Tokens:
        """Return texts as tokens; the named fields of a document are read one after another.

        Raises:
            UsageError: a feature matrix, or a token that the model does not know.
        """
        if isinstance(inputs, csr_matrix):
            raise UsageError("a language model reads texts, not a feature matrix; for that take encoder 'features'")
        tokens = self.tokenizer.prepare(inputs, progress)
        if (most := int(tokens.ids.max(initial=0))) >= self.vocabulary:
            raise UsageError(f"the tokenizer makes token {most}, the model has {self.vocabulary}: they do not belong")
        return tokens

    def batch(self, prepared: Tokens, rows: Ints) -> TokenBatch:
        """Return the chunks of some documents."""
        return prepared.cut.batch(prepared, rows)

    def forward(self, batch: TokenBatch, *, tokens: bool = False) -> Encoding:
        """Return a vector for each document, and the states of all tokens if they are asked for."""
        weights = _token_weights(batch, self.pooling)
        states, sums = [], []
        parts = self._parts(batch)
        again = len(parts) > 1 and torch.is_grad_enabled() and not self.frozen
        for part in parts:
            inputs = batch.ids[part], batch.mask[part]
            state = checkpoint(self._states, *inputs, use_reentrant=False) if again else self._states(*inputs)
            sums.append((state.float() * weights[part].unsqueeze(-1)).sum(1))
            if tokens:
                states.append(state)
        pooled = by_document(torch.cat(sums), batch) / by_document(weights.sum(1, keepdim=True), batch)
        if not tokens:
            return Encoding(pooled)
        return Encoding(pooled, torch.cat(states), batch.mask, batch.document)

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the states of the tokens of some chunks, (chunks, length, width)."""
        states: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states

    def _parts(self, batch: TokenBatch) -> list[slice]:
        """Return slices of the chunks, each of at most `at_once` tokens or one chunk."""
        chunks, length = batch.ids.shape
        step = max(1, self.at_once // max(1, length))
        return [slice(start, start + step) for start in range(0, max(1, chunks), step)]

    def merge(self) -> None:
        """Fold LoRA's matrices into the model's own weights: what is left needs no peft and learns no more.

        Scores change by rounding only; so do it before the last look at them.
        """
        if self.tune == "lora":
            self.model = self.model.merge_and_unload()  # type: ignore[operator]
            self.tune, self.frozen = "frozen", True
            self.model.requires_grad_(False)
            self.eval()

    def get_state(self) -> State:
        """Return settings, the model's configuration, the tokenizer and all weights (bfloat16 as raw 16 bits)."""
        arrays, raw = {}, []
        for name, tensor in self.model.state_dict().items():
            if tensor.dtype == torch.bfloat16:
                raw.append(name)
                tensor = tensor.view(torch.uint16)
            arrays[name] = tensor.cpu().numpy().copy()
        return {
            "pooling": self.pooling,
            "tune": self.tune,
            "lora_rank": self.lora_rank,
            "model": plain_config(self.model_config),
            BF16: raw,
            **self.tokenizer.get_state(),
        }, arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned: no network, no code from elsewhere, no weights made up first."""
        about = own_code_only(AutoConfig.for_model(**config["model"]))
        with init_empty_weights():
            model = body(AutoModel.from_config(about, trust_remote_code=False))
        options = {name: config[name] for name in ("pooling", "tune", "lora_rank")}
        encoder = cls(model, TextTokenizer.from_state(config), **options)
        raw = set(config[BF16])
        encoder.model.load_state_dict(
            {name: as_tensor(array, name in raw) for name, array in arrays.items()}, strict=True, assign=True
        )
        return encoder


def _check(pooling: str, tune: str, lora_rank: int) -> None:
    for name, value, known in (("pooling", pooling, Pooling), ("tune", tune, Tune)):
        if value not in get_args(known):
            raise UsageError(f"unknown {name} {value!r}{did_you_mean(suggest(value, get_args(known)))}")
    if lora_rank < 1:
        raise UsageError(f"lora_rank is {lora_rank}; it must be at least 1")


def text_tokenizer(tokenizer: Any, vocabulary: int, max_length: int, overlap: int) -> TextTokenizer:
    """Return our tokenizer from a fast one of transformers."""
    ids = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id, tokenizer.unk_token_id]
    usable = [token for token in ids if token is not None and token < vocabulary]
    filler = tokenizer.pad_token_id
    return TextTokenizer(
        tokenizer.backend_tokenizer.to_str(),
        max_length=max_length,
        overlap=overlap,
        filler=filler if filler is not None and filler < vocabulary else 0,
        alone=usable[0] if usable else 0,
    )


def compute_again(model: Any, name: str) -> None:
    """Switch gradient checkpointing on.

    Raises:
        UsageError: the model knows no such thing.
    """
    if not model.supports_gradient_checkpointing:
        raise UsageError(f"{name} cannot do gradient checkpointing")
    with _old_names():
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


@contextmanager
def _old_names() -> Iterator[None]:
    """Let names pass that transformers 5 still knows and warns about: older ones, and peft, know no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _with_adapters(model: nn.Module, rank: int, seed: int) -> nn.Module:
    """Return a model in which only LoRA's matrices beside all linear layers learn (Hu et al., 2021).

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingExtraError("LoRA", "lora") from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear", bias="none")
    with torch.random.fork_rng(devices=[]), _old_names():
        torch.default_generator.manual_seed(seed)
        adapted: nn.Module = get_peft_model(model, config)
    return adapted


def vocabulary_size(model: Any) -> int:
    """Return how many tokens a model knows."""
    return int(model.get_input_embeddings().num_embeddings)


def _width(config: Any) -> int:
    text = config.get_text_config()
    return int(text.hidden_size)


def _token_weights(batch: TokenBatch, pooling: str) -> Tensor:
    """Return what each token counts in the mean over a document's tokens, (chunks, length) float32.

    For `first` and `last` that is 1 for a single token of a chunk and 0 for all others.
    """
    if pooling == "mean":
        return batch.mask.float()
    weights = torch.zeros_like(batch.ids, dtype=torch.float32)
    if pooling == "first":
        weights[:, :1] = 1
        return weights
    ends = batch.mask.sum(1, keepdim=True) - 1
    last = torch.ones_like(batch.document, dtype=torch.bool)
    last[:-1] = batch.document[1:] != batch.document[:-1]
    return weights.scatter(1, ends, last.float().unsqueeze(1))


def by_document(values: Tensor, batch: TokenBatch) -> Tensor:
    """Return the sum over the chunks of each document, (documents, …), in one order on every device."""
    if len(values) == batch.documents:
        return values
    most = int(batch.place.max()) + 1
    table = values.new_zeros(batch.documents, most, values.shape[1])
    table[batch.document, batch.place] = values
    return table.sum(1)


def plain_config(config: Any) -> dict[str, Any]:
    """Return a model's configuration as JSON-able values, without paths and code."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    for name in ("_name_or_path", "transformers_version", "architectures", "auto_map"):
        values.pop(name, None)
    return values


def as_tensor(array: NDArray[Any], bfloat16: bool) -> Tensor:
    tensor = torch.tensor(array)
    return tensor.view(torch.bfloat16) if bfloat16 else tensor
