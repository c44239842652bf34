"""A Hugging Face sequence classifier as an encoder whose vectors are log-odds of nodes.

    documents -> chunks -> the model's own head -> logits of its labels, their mean over chunks -> log-odds of nodes

Nothing is put on top of it (`heads.native`), so what is learned goes back into a Hugging Face folder without loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from accelerate import init_empty_weights
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.inputs import Ints
from hclf.scorers.neural.encoding import Encoding, State
from hclf.scorers.neural.label_nodes import LabelMap, LabelNodes, Problem, map_labels
from hclf.scorers.neural.loading import (
    align,
    check_folder,
    check_tokenizer,
    explained,
    own_code_only,
    quiet,
    token_limit,
)
from hclf.scorers.neural.tokens import TextTokenizer, TokenBatch
from hclf.scorers.neural.transformer import (
    CHUNK,
    TransformerEncoder,
    as_tensor,
    by_document,
    compute_again,
    plain_config,
    text_tokenizer,
    vocabulary_size,
)
from hclf.taxonomy import Taxonomy

PROBLEMS: dict[str, Problem] = {
    "multi_label_classification": "multi_label",
    "single_label_classification": "single_label",
}
OF_TOKENIZER = ("model_max_length", "padding_side", "truncation_side", "model_input_names")
NODES = "nodes"  # prefix of the arrays that say which label is which node


# -- the encoder -----------------------------------------------------------------------------------------------------


class NativeEncoder(TransformerEncoder):
    """A Hugging Face sequence classifier; a document's vector is the log-odds of nodes.

    A text that fits into one chunk has the very logits that transformers gives it; of a longer one every chunk is
    classified, and the mean of their logits counts.

    Args:
        model: a sequence classifier of transformers.
        tokenizer: made for it; pads with the model's pad token.
        about: the model's configuration and what its tokenizer calls special tokens, as plain values, to save it by.
        problem: what logits mean.
        nodes: from logits to nodes; None: each label is a node.
        tune: what learns: `full`, `frozen` (the model's own head alone) or `lora` (the head as well).
        lora_rank: of LoRA's matrices.
        seed: of their first values.

    Raises:
        UsageError, MissingExtraError: as `TransformerEncoder`.

    Attributes:
        labels: of the model, in the order of its logits.
        own_weights: names of the parameters of the model's own head.
    """

    kind = "native"
    nodes: LabelNodes

    def __init__(
        self,
        model: Any,
        tokenizer: TextTokenizer,
        *,
        about: Mapping[str, Any],
        problem: Problem = "multi_label",
        nodes: LabelNodes | None = None,
        tune: str = "full",
        lora_rank: int = 8,
        seed: int = 0,
    ) -> None:
        body = f"{model.base_model_prefix}."
        own = [parameter for name, parameter in model.named_parameters() if not name.startswith(body)]
        config = model.config.get_text_config()
        config.use_cache = False
        if config.pad_token_id is None:
            config.pad_token_id = tokenizer.filler
        super().__init__(model, tokenizer, tune=tune, lora_rank=lora_rank, seed=seed)
        for parameter in own:
            parameter.requires_grad_(True)
        self.frozen = False
        self.own_weights = frozenset(name for name, p in self.named_parameters() if any(p is each for each in own))
        self.about, self.problem = dict(about), problem
        self.labels = labels_of(self.model_config)
        every = np.arange(len(self.labels))
        self.nodes = nodes or LabelNodes(every, every, len(every), choice=problem == "single_label")
        self.width = self.nodes.width

    def forward(self, batch: TokenBatch, *, tokens: bool = False) -> Encoding:
        """Return log-odds of nodes; there are no states of tokens, whatever is asked for."""
        logits = torch.cat([self._logits_of(batch, part) for part in self._parts(batch)])
        chunks = by_document(torch.ones_like(logits[:, :1]), batch)
        return Encoding(self.nodes(by_document(logits, batch) / chunks))

    def _logits_of(self, batch: TokenBatch, part: slice) -> Tensor:
        """Return the logits of some chunks; of long texts they are computed again to learn from them, not kept."""
        inputs = batch.ids[part], batch.mask[part]
        again = torch.is_grad_enabled() and len(batch.ids[part]) < len(batch.ids)
        logits: Tensor = checkpoint(self._logits, *inputs, use_reentrant=False) if again else self._logits(*inputs)
        return logits

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).logits.float()
        return logits

    def get_state(self) -> State:
        """Return as `TransformerEncoder.get_state`, and which label is which node."""
        config, arrays = super().get_state()
        del config["model"]  # is in `about`, as it was
        of_nodes = {"label": self.nodes.label, "node": self.nodes.node}
        return {**config, "about": self.about, "problem": self.problem, "width": self.width}, {
            **arrays,
            **{f"{NODES}.{name}": tensor.cpu().numpy().copy() for name, tensor in of_nodes.items()},
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned: no network, no code from elsewhere."""
        with init_empty_weights():
            model = AutoModelForSequenceClassification.from_config(
                classifier_config(config["about"]), trust_remote_code=False
            )
        label, node = (arrays[f"{NODES}.{name}"] for name in ("label", "node"))
        problem = config["problem"]
        encoder = cls(
            model,
            TextTokenizer.from_state(config),
            about=config["about"],
            problem=problem,
            nodes=LabelNodes(label, node, config["width"], choice=problem == "single_label"),
            tune=config["tune"],
            lora_rank=config["lora_rank"],
        )
        raw = set(config["bfloat16"])
        weights = {name: array for name, array in arrays.items() if not name.startswith(f"{NODES}.")}
        encoder.model.load_state_dict(
            {name: as_tensor(array, name in raw) for name, array in weights.items()}, strict=True, assign=True
        )
        return encoder.eval()


# -- loading ---------------------------------------------------------------------------------------------------------


class Classifier(NamedTuple):
    """What a Hugging Face folder holds: the first arguments of a `NativeEncoder`."""

    model: Any
    tokenizer: TextTokenizer
    about: dict[str, Any]
    problem: Problem


def load_classifier(
    name: str | Path,
    *,
    labels: Sequence[str] | None = None,
    problem: str | None = None,
    max_length: int | None = None,
    overlap: int = 32,
    gradient_checkpointing: bool = False,
    keep_dtype: bool = False,
    cache_dir: str | Path | None = None,
    seed: int = 0,
) -> Classifier:
    """Load a sequence classifier by folder, without the network, or by its name on the Hugging Face hub.

    Args:
        name: a folder as `save_pretrained` writes it, with a fast tokenizer; or a name.
        labels: of a new head, in the form that transformers gives it, on any language model; None: the head is there.
        problem: what the logits of a head that is there mean; None: what its configuration says.
        max_length: tokens of a chunk, special ones counted; None: what the model can read, with a new head at most
            512.
        overlap: tokens that a chunk shares with the next; at most half of a chunk.
        gradient_checkpointing, keep_dtype, cache_dir: as in `load_transformer`.
        seed: of a new head.

    Raises:
        UsageError: no usable model or tokenizer there, no head, or an option that does not fit.
    """
    name = str(name)
    folder = Path(name).expanduser()
    local = folder.is_dir()
    if local:
        check_folder(folder)
    elif folder.is_absolute() or name.startswith(("~", ".")):
        raise UsageError(f"{name}: no such folder")
    where = str(folder) if local else name
    options = {"local_files_only": local, "trust_remote_code": False, "cache_dir": cache_dir}
    with quiet(), explained(name, local), torch.random.fork_rng(devices=[]):
        config = own_code_only(AutoConfig.from_pretrained(where, **options))
        if getattr(config, "quantization_config", None) is not None:
            raise UsageError(f"{name} holds quantised weights; give the same model in 16 or 32 bits")
        if labels is not None:
            _set_labels(config, labels)
        plain = plain_config(config)
        tokenizer = AutoTokenizer.from_pretrained(where, use_fast=True, **options)
        check_tokenizer(tokenizer, name)
        torch.default_generator.manual_seed(seed)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            where, config=config, output_loading_info=True, ignore_mismatched_sizes=labels is not None, **options
        )
    _check_weights(model, found, name, new_head=labels is not None)
    if not keep_dtype:
        model.float()
    align(model)
    if gradient_checkpointing:
        compute_again(model, name)
    limit = token_limit(model)
    if max_length is not None and limit is not None and max_length > limit:
        raise UsageError(f"max_length is {max_length}, but {name} reads at most {limit} tokens at once")
    limits = (limit or CHUNK, tokenizer.model_max_length, *((CHUNK,) if labels is not None else ()))
    about = {"model": plain, "tokenizer": _about_tokenizer(tokenizer)}
    texts = text_tokenizer(tokenizer, vocabulary_size(model), max_length or int(min(limits)), overlap)
    return Classifier(model.eval(), _padded(texts, model, name), about, _problem(model.config, problem, name))


def classifier_config(about: Mapping[str, Any], labels: Sequence[str] | None = None) -> Any:
    """Return a classifier's configuration from its plain values, with other labels if they are given."""
    config = own_code_only(AutoConfig.for_model(**about["model"]))
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: place for place, label in enumerate(labels)}
    return config


def classifier_labels(name: str | Path) -> tuple[str, ...]:
    """Return the labels of a sequence classifier in the order of its logits; () if it is none.

    Raises:
        UsageError: nothing usable there.
    """
    config = _config(name)
    if not any(str(kind).endswith("ForSequenceClassification") for kind in config.architectures or ()):
        return ()
    return labels_of(config)


def classifier_problem(name: str | Path, asked: str | None = None) -> Problem:
    """Return what the logits of a sequence classifier mean; `asked` is what someone says.

    Raises:
        UsageError: nothing usable there, or a model for something else.
    """
    return _problem(_config(name), asked, str(name))


def _config(name: str | Path) -> Any:
    local = Path(name).expanduser().is_dir()
    with quiet(), explained(str(name), local):
        return AutoConfig.from_pretrained(str(name), local_files_only=local, trust_remote_code=False)


def labels_of(config: Any) -> tuple[str, ...]:
    """Return the labels of a classifier's configuration in the order of its logits."""
    return tuple(str(config.id2label[place]) for place in sorted(config.id2label))


@lru_cache(maxsize=1)
def shared_classifier(name: str, changed: float, **options: Any) -> Classifier:
    """Load a classifier that nobody trains; the last one is kept, so that folds of a fit share it.

    Args:
        name: of a folder or on the hub.
        changed: when the folder last was; see `last_change`.
        options: of `load_classifier`.
    """
    return load_classifier(name, **options)


def last_change(name: str | Path) -> float:
    """Return when a file of a folder last changed; 0 if there is no such folder."""
    folder = Path(name).expanduser()
    return max((file.stat().st_mtime for file in folder.iterdir()), default=0.0) if folder.is_dir() else 0.0


def _set_labels(config: Any, labels: Sequence[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: place for place, label in enumerate(labels)}
    config.problem_type = "multi_label_classification"


def _check_weights(model: Any, found: Mapping[str, Any], name: str, *, new_head: bool) -> None:
    """Refuse a model with weights that transformers made up, but for a new head and the pooler below it.

    Raises:
        UsageError: so it is.
    """
    body = f"{model.base_model_prefix}."
    unfit = {key for key, *_ in found["mismatched_keys"]}
    made_up = sorted(set(model.state_dict()) & (set(found["missing_keys"]) | unfit))
    of_head = [weight for weight in made_up if not weight.startswith(body) or ".pooler." in weight]
    if of_body := [weight for weight in made_up if weight not in of_head]:
        raise UsageError(f"{name}: {len(of_body)} weights are missing or do not fit, such as {of_body[0]!r}")
    if of_head and not new_head:
        raise UsageError(
            f"{name} holds a language model, not a classifier ({of_head[0]!r} is missing); "
            f"train one on it: hclf train --scorer neural --encoder {name}"
        )


def _problem(config: Any, asked: str | None, name: str) -> Problem:
    """Return what logits mean; where nothing is said, what transformers' own pipeline takes them for."""
    if asked is not None:
        if asked not in PROBLEMS.values():
            hint = did_you_mean(suggest(asked, PROBLEMS.values()))
            raise UsageError(f"problem is multi_label or single_label, not {asked!r}{hint}")
        return asked  # type: ignore[return-value]
    said = config.problem_type
    if said is None:
        return "multi_label" if config.num_labels == 1 else "single_label"
    if said not in PROBLEMS:
        raise UsageError(f"{name} is a model for {said}; a classifier of documents is needed")
    return PROBLEMS[said]


def _padded(tokenizer: TextTokenizer, model: Any, name: str) -> TextTokenizer:
    """Return a tokenizer that pads as the model expects.

    Decoders classify by the last token that is not the pad token. A model without one gets a token that is never the
    last of a text: a special one, or one that no text has.

    Raises:
        UsageError: there is none.
    """
    pad = model.config.get_text_config().pad_token_id
    if pad is None:
        pad = _never_last(tokenizer, vocabulary_size(model))
    if pad is None:
        raise UsageError(f"{name} has no pad token: set pad_token_id in its config.json")
    rest = {key: getattr(tokenizer, key) for key in ("max_length", "overlap", "alone")}
    return TextTokenizer(tokenizer.text, filler=int(pad), **rest)


def _never_last(tokenizer: TextTokenizer, vocabulary: int) -> int | None:
    around = (*tokenizer.cut.prefix, *tokenizer.cut.suffix)
    free = [token for token in _special_tokens(tokenizer.text) if token not in around and token < vocabulary]
    if not around:
        free = [token for token in free if token != tokenizer.alone]
    free += range(tokenizer.size, vocabulary)
    free += [token for token in tokenizer.cut.prefix[:1] if token not in tokenizer.cut.suffix]
    return free[0] if free else None


def _special_tokens(text: str) -> list[int]:
    """Return the tokens of a `tokenizer.json` that no text has in it: special ones, but for that of unknown words."""
    values = json.loads(text)
    unknown = values["model"].get("unk_token")
    return [token["id"] for token in values["added_tokens"] if token["special"] and token["content"] != unknown]


def _about_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """Return what transformers has to know of a tokenizer besides its file."""
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return {**named, **{name: getattr(tokenizer, name) for name in OF_TOKENIZER}}


def native_encoder(
    name: str | Path,
    taxonomy: Taxonomy,
    columns: Ints,
    *,
    labels: Mapping[str, str | None] | None = None,
    tune: str = "full",
    lora_rank: int = 8,
    max_length: int | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[NativeEncoder, Ints]:
    """Return a classifier to be trained, and the taxonomy columns of its nodes.

    A model that has labels for all nodes keeps its head. Any other language model gets a new one, in the form that
    transformers gives it, with the ids of the nodes as labels.

    Args:
        name: of a folder or on the hub.
        taxonomy: of the nodes.
        columns: nodes to train, ascending, with each all its ancestors.
        labels: as `names` of `map_labels`.
        tune, lora_rank, seed: as in `NativeEncoder`.
        max_length, options: as in `load_classifier`.

    Raises:
        UsageError, MissingExtraError: as `load_classifier` and `NativeEncoder`.
    """
    parts, nodes, of_nodes = None, None, columns
    if known := classifier_labels(name):
        try:
            found = map_labels(known, taxonomy, labels)
        except DataError:
            found = LabelMap(np.full(len(known), -1), {})
        if np.isin(columns, taxonomy.close_pairs(*np.broadcast_arrays(0, found.nodes[found.nodes >= 0]))[1]).all():
            parts = load_classifier(name, max_length=max_length, seed=seed, **options)
            nodes, of_nodes = LabelNodes.of(found, taxonomy, parts.problem)
    if parts is None:
        ids = [taxonomy.nodes[column] for column in columns.tolist()]
        parts = load_classifier(name, labels=ids, max_length=max_length, seed=seed, **options)
    encoder = NativeEncoder(
        parts.model,
        parts.tokenizer,
        about=parts.about,
        problem=parts.problem,
        nodes=nodes,
        tune=tune,
        lora_rank=lora_rank,
        seed=seed,
    )
    return encoder, of_nodes
