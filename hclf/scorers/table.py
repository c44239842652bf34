"""The scorers there are, by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hclf.errors import MissingExtraError, UsageError, did_you_mean, suggest

SCORERS: dict[str, str] = {
    "linear": "hclf.scorers.linear:LinearScorer",
    "lexicon": "hclf.scorers.lexicon.scorer:LexiconScorer",
    "neural": "hclf.scorers.neural.scorer:NeuralScorer",
    "similarity": "hclf.scorers.similarity:SimilarityScorer",
    "forest": "hclf.scorers.forest:ForestScorer",
    "imported": "hclf.scorers.neural.interchange:ImportedScorer",
    "prompt": "hclf.scorers.prompt.scorer:PromptScorer",
}
OF_NEURAL = ("torch", "transformers", "tokenizers", "accelerate", "safetensors")  # what the extra brings


def scorer_class(name: str) -> type[Any]:
    """Return the class of a scorer by its name in `SCORERS`.

    Raises:
        UsageError: no scorer has this name.
        MissingExtraError: it needs an extra that is not installed.
    """
    if name not in SCORERS:
        raise UsageError(
            f"unknown scorer {name!r}{did_you_mean(suggest(name, SCORERS))}; known: {', '.join(SCORERS)}"
        )
    module, _, attribute = SCORERS[name].partition(":")
    try:
        cls: type[Any] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name not in OF_NEURAL:
            raise
        raise MissingExtraError(f"scorer {name!r}", "neural") from error
    return cls
