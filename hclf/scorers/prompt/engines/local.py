"""A causal language model on this machine as an engine: the probability of each answer, not words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from hclf.errors import HclfError, MissingExtraError, UsageError, did_you_mean, suggest
from hclf.scorers.base import Progress, silent
from hclf.scorers.prompt.base import Answer, Prompt, Usage

try:
    from hclf.scorers.neural.loading import located
    from hclf.scorers.neural.network import choose_device, memory_advice
    from hclf.scorers.prompt.engines.local_model import LanguageModel, check_quantising, load_tokenizer, shared_model
    from hclf.scorers.prompt.engines.local_scores import log_probabilities
    from hclf.scorers.prompt.engines.local_tokens import PromptTokenizer, Question
except ModuleNotFoundError as error:
    if str(error.name).startswith("hclf"):
        raise
    raise MissingExtraError("scorer 'prompt' with a model on this machine", "neural") from error

Precision: TypeAlias = Literal["auto", "bf16", "fp32"]
Quantize: TypeAlias = Literal["8bit", "4bit"]
BATCH_TOKENS = {"cuda": 2**15}  # by kind of device
ON_A_PROCESSOR = 2**12
ADVICE = "try a smaller batch_tokens, precision='bf16', quantize='8bit' or '4bit', or a smaller model"
ONE_AT_A_TIME = threading.Lock()  # batches of prompts: a model keeps all cores busy by itself


class LocalEngine:
    """Answers by the probabilities that a causal language model gives to the offered codes, and to nothing else.

    The model is loaded when it is first asked, and shared by all engines of the same folder and options. An answer
    depends on its prompt alone, but for rounding: matrix products of other shapes add up in another order (a relative
    1e-6 in float32; in bfloat16 1e-2, which `precision='fp32'` avoids).

    Args:
        model: a folder as `save_pretrained` writes it, read without the network; or a name on the Hugging Face hub.
        device: `cpu`, `cuda`, `cuda:1`, …; None: the GPU if there is one.
        precision: `bf16`, `fp32` or `auto`: bf16 on a GPU that is made for it.
        quantize: `8bit` or `4bit`: weights are made that small by bitsandbytes as they are loaded; None: they stay.
        batch_tokens: tokens that are read together, padding counted; None: as fits the device.

    Raises:
        UsageError: an option without sense, no such folder, or no whole model in it.
        MissingExtraError: quantised weights without bitsandbytes.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        precision: str = "auto",
        quantize: str | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        _check(precision, quantize, batch_tokens)
        located(model)
        self.model, self.precision, self.quantize = model, precision, quantize
        self.device = choose_device(device)
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(self.device.type, ON_A_PROCESSOR)
        self.usage = Usage()

    def ask(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[Answer]:
        """Return how likely each code is the answer, next to the other codes of its prompt.

        Raises:
            HclfError: as `log_probabilities`.
        """
        return [Answer(softmax(scores), exclusive=True) for scores in self.log_probabilities(prompts, progress)]

    def log_probabilities(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[NDArray[np.float64]]:
        """Return for each prompt (codes,) float64: log P(code | prompt), all tokens of the code together.

        Raises:
            UsageError: no usable model, or a tokenizer or chat template that does not fit it or the codes.
            HclfError: a prompt is longer than the model can read, or memory ran out.
        """
        questions = [self._tokenizer.question(prompt) for prompt in prompts]
        for question in questions:
            self._check_fit(question)
        with ONE_AT_A_TIME, memory_advice(ADVICE):
            scores = log_probabilities(
                self._language_model, questions, batch_tokens=self.batch_tokens, progress=progress
            )
        self.usage.add(calls=len(questions), tokens_in=sum(len(question.prompt) for question in questions))
        return scores

    def tokens(self, prompt: Prompt) -> int:
        """Return how many tokens a prompt has; this needs the tokenizer alone."""
        return len(self._tokenizer.prompt(prompt))

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(load_tokenizer(self.model), self.model)

    @cached_property
    def _language_model(self) -> LanguageModel:
        with memory_advice(ADVICE):
            return shared_model(self.model, self.device, self.precision, self.quantize)

    def _check_fit(self, question: Question) -> None:
        """Refuse what the model cannot read.

        Raises:
            UsageError: a token it does not know.
            HclfError: too many of them.
        """
        model = self._language_model
        most = max((*question.prompt, *(token for code in question.codes for token in code)))
        if most >= model.vocabulary:
            raise UsageError(
                f"the tokenizer makes token {most}, the model has {model.vocabulary}: they do not belong"
            )
        if model.limit is not None and question.most > model.limit:
            raise HclfError(
                f"a prompt has {question.most} tokens, {self.model} reads at most {model.limit} at once: "
                "make max_characters, page_size or shots smaller"
            )


def _check(precision: str, quantize: str | None, batch_tokens: int | None) -> None:
    for name, value, known in (("precision", precision, Precision), ("quantize", quantize or "8bit", Quantize)):
        if value not in get_args(known):
            raise UsageError(f"unknown {name} {value!r}{did_you_mean(suggest(value, get_args(known)))}")
    if batch_tokens is not None and batch_tokens < 1:
        raise UsageError(f"batch_tokens is {batch_tokens}; it must be at least 1")
    if quantize is not None:
        check_quantising()
