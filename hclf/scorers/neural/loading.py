"""Hugging Face models and tokenizers from a folder or the hub: never a model's own code, never a surprise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
)
from transformers.utils import logging

from hclf.errors import UsageError


class Parts(NamedTuple):
    """What a folder or the hub holds of a model.

    Attributes:
        model: without a pooler, in evaluation mode.
        tokenizer: a fast one.
        causal: whether a token sees only those before it.
        limit: the most tokens it can read at once; None: any number.
    """

    model: Any
    tokenizer: Any
    causal: bool
    limit: int | None


def load_parts(name: str, *, cache_dir: str | Path | None = None, keep_dtype: bool = False) -> Parts:
    """Return model and tokenizer of a folder, without the network, or of a name on the hub or in its cache.

    Args:
        name: of a folder or a model on the hub.
        cache_dir: where downloads are kept; None: transformers' own place.
        keep_dtype: keep weights in 16 bits if they are saved so; else all become float32.

    Raises:
        UsageError: no usable model or tokenizer there, with the reason.
    """
    where, local = located(name)
    options = {"local_files_only": local, "trust_remote_code": False, "cache_dir": cache_dir}
    with quiet(), explained(name, local):
        config = own_code_only(AutoConfig.from_pretrained(where, **options))
        if getattr(config, "quantization_config", None) is not None:
            raise UsageError(f"{name} holds quantised weights; give the same model in 16 or 32 bits")
        tokenizer = AutoTokenizer.from_pretrained(where, use_fast=True, **options)
        check_tokenizer(tokenizer, name)
        model, found = AutoModel.from_pretrained(
            where, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    model = body(model)
    check_weights(model, found, name)
    if not keep_dtype:
        model.float()
    align(model)
    kind = type(config)
    causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
    return Parts(model.eval(), tokenizer, causal, token_limit(model))


def located(name: str) -> tuple[str, bool]:
    """Return where transformers finds a model, and whether that is a folder here.

    Raises:
        UsageError: no such folder, or it holds no whole model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return str(folder), True
    if folder.is_absolute() or name.startswith(("~", ".")):
        raise UsageError(f"{name}: no such folder")
    return name, False


def align(model: Any) -> None:
    """Move weights to where torch itself would put them.

    Those of a safetensors file lie wherever its header ends, and sums over numbers at odd places are rounded
    otherwise: a saved model would not score to the bit as before.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def own_code_only(config: Any) -> Any:
    """Return a configuration that names no attention from the hub: transformers would fetch and run it."""
    config._attn_implementation = None
    return config


def body(model: Any) -> Any:
    """Return the part of a model that makes token states: the encoder of two halves, nothing on top."""
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.config.use_cache = False
    return model


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no whole model.

    Raises:
        UsageError: so it is.
    """
    if (folder / "adapter_config.json").is_file():
        raise UsageError(f"{folder} holds LoRA adapters; merge them into their model and save that first")
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} holds no model: it has no config.json")


def check_tokenizer(tokenizer: Any, name: str) -> None:
    """Refuse a slow tokenizer, and one that transformers made up because it found no file.

    Raises:
        UsageError: so it is.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UsageError(f"{name}: its tokenizer is a slow one; save a fast one beside it (tokenizer.json)")
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UsageError(f"{name} has no tokenizer: save one beside the model (tokenizer.json)")


def check_weights(model: nn.Module, found: Mapping[str, Any], name: str) -> None:
    """Refuse a model some of whose weights transformers made up, because they are not in the file.

    Raises:
        UsageError: so it is.
    """
    wanted = set(model.state_dict())
    unfit = {key for key, *_ in found["mismatched_keys"]}
    for keys, fault in ((set(found["missing_keys"]), "are missing"), (unfit, "have another shape than the model's")):
        if made_up := sorted(wanted & keys):
            raise UsageError(f"{name}: {len(made_up)} of {len(wanted)} weights {fault}, such as {made_up[0]!r}")


def token_limit(model: nn.Module) -> int | None:
    """Return how many tokens a model has positions for; RoBERTa counts them from behind its padding."""
    config: Any = model.config
    for part, module in model.named_modules():
        if part.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    most = getattr(config, "max_position_embeddings", None)
    return most if isinstance(most, int) and most > 0 else None


@contextmanager
def explained(name: str, local: bool) -> Iterator[None]:
    """Turn what transformers raises into one line."""
    try:
        yield
    except UsageError:
        raise
    except OSError as error:
        if local:
            raise UsageError(f"{name} holds no usable model: {_line(error)}") from error
        raise UsageError(
            f"model {name!r}: not found locally and the hub cannot be reached or does not have it: give a folder"
        ) from error
    except (ValueError, KeyError, ImportError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
        if "custom code" in str(error):
            raise UsageError(f"{name} needs code of its own, which hclf never runs") from error
        raise UsageError(f"{name} cannot be loaded: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """Return the first sentence of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing reports and progress bars."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
