"""What is asked of a language model, what it answers, and what an engine is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hclf.scorers.base import Progress, silent


class Prompt(NamedTuple):
    """One question.

    Attributes:
        system: what holds for all documents: the task and the form of the answer.
        user: the document and its options; ends where the answer begins.
        codes: what may be answered, such as "A", "B", …; none is the beginning of another. The last one says that
            no option holds.
    """

    system: str
    user: str
    codes: tuple[str, ...]


class Answer(NamedTuple):
    """What a model says to a question.

    Attributes:
        probabilities: (codes,) float64, each from 0 to 1.
        exclusive: they add up to 1: how likely each code is *the* answer. Otherwise each stands for itself: how
            likely the code is *among* the answers.
    """

    probabilities: NDArray[np.float64]
    exclusive: bool


@dataclass
class Usage:
    """What has been asked and what it took, counted by all threads together.

    Attributes:
        documents: that were asked about.
        prompts: questions about them.
        calls: questions that went to the model, with those that find its bias and votes.
        cached: questions answered from the cache.
        retries: calls that were made again after a failure.
        tokens_in, tokens_out: tokens read and written, as far as they are known.
        unreadable: answers that held no code.
        invented: codes that were answered but not offered.
    """

    documents: int = 0
    prompts: int = 0
    calls: int = 0
    cached: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    unreadable: int = 0
    invented: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **counts: int) -> None:
        """Add to some of the counts."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def to_dict(self) -> dict[str, int]:
        """Return the counts as plain values."""
        return {name: getattr(self, name) for name in COUNTS}


COUNTS = ("documents", "prompts", "calls", "cached", "retries", "tokens_in", "tokens_out", "unreadable", "invented")


class Engine(Protocol):
    """Something that answers prompts. It may be used by several threads at once.

    An answer depends on its prompt alone, not on the prompts beside it.
    """

    usage: Usage

    def ask(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[Answer]:
        """Return an answer to each prompt, in order."""
        ...

    def tokens(self, prompt: Prompt) -> int:
        """Return how many tokens a prompt has, or about how many."""
        ...
