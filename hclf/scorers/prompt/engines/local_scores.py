"""How likely a language model continues prompts by each of their codes, with as little reading as that takes.

    questions -> families with a common beginning -> batches -> next tokens -> codes, token by token

A common beginning is read once for its family, each prompt once, and each beginning of a code once. Everything is
found among next-token distributions, log P(code | prompt) = Σ log P(token | prompt, tokens of the code before it).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hclf.scorers.base import Progress, silent
from hclf.scorers.prompt.engines.local_model import LanguageModel
from hclf.scorers.prompt.engines.local_tokens import Ids, Question

Scores = list[NDArray[np.float64]]
WORTH = 16  # tokens of a common beginning that are worth reading on their own


class Batch(NamedTuple):
    """Questions that are read together.

    Attributes:
        rows: their places.
        shared: how many tokens they all begin with that are read once.
        alone: whether this is one question, to be read in the plain way.
    """

    rows: list[int]
    shared: int = 0
    alone: bool = False


class Branch(NamedTuple):
    """Codes of a question that begin alike.

    Attributes:
        row: the question.
        codes: places of the codes among those of the question.
        parent: the row of the state in which their last common token has still to be read; -1: it is read.
        token: that token.
    """

    row: int
    codes: list[int]
    parent: int = -1
    token: int = -1


class State(NamedTuple):
    """What a model knows after it has read something.

    Attributes:
        following: (rows, vocabulary) float32 log-probabilities of the next token.
        cache: states of all tokens read.
        mask: (rows, read) int64: 1 where there is no padding.
        position: (rows, 1) int64 of the next token.
    """

    following: Tensor
    cache: Any
    mask: Tensor
    position: Tensor


@torch.inference_mode()
def log_probabilities(
    model: LanguageModel, questions: Sequence[Question], *, batch_tokens: int, progress: Progress = silent
) -> Scores:
    """Return log P(code | prompt) of each code, for each question (codes,) float64.

    Args:
        model: to ask.
        questions: none longer than the model can read.
        batch_tokens: tokens that are read or kept together, padding counted; a longer prompt is read alone.
        progress: sees batches go by.
    """
    scores = [np.zeros(len(question.codes)) for question in questions]
    reading = Reading(model, questions, batch_tokens, scores)
    batches = reading.plan()
    for batch in progress(batches, "asking", len(batches)):
        reading.read(batch)
    return scores


class Reading:
    """One pass over questions.

    Args:
        model: to ask.
        questions: to answer.
        batch_tokens: as in `log_probabilities`.
        scores: to add to, of each question.
    """

    def __init__(
        self, model: LanguageModel, questions: Sequence[Question], batch_tokens: int, scores: Scores
    ) -> None:
        self.model, self.questions, self.batch_tokens, self.scores = model, questions, batch_tokens, scores
        self._beginning: tuple[Ids, Any] = (), None

    # -- what is read together

    def plan(self) -> list[Batch]:
        """Return who is read with whom, families one after another."""
        rows = range(len(self.questions))
        padded, shared = ([row for row in rows if self.questions[row].most <= most] for most in self.model.reach)
        groups = families({row: self.questions[row].prompt for row in shared})
        groups.append(Batch([row for row in padded if self.questions[row].most > self.model.reach.shared]))
        alone = [Batch([row], alone=True) for row in rows if self.questions[row].most > self.model.reach.padded]
        return [batch for group in groups for batch in self._batches(group)] + alone

    def _batches(self, group: Batch) -> Iterator[Batch]:
        """Cut a group into batches of prompts about as long as each other; the longest come first."""
        rows: list[int] = []
        for row in sorted(group.rows, key=lambda row: (-self.questions[row].most, row)):
            if rows and (len(rows) + 1) * self.questions[rows[0]].most > self.batch_tokens:
                yield group._replace(rows=rows)
                rows = []
            rows.append(row)
        if rows:
            yield group._replace(rows=rows)

    # -- reading

    def read(self, batch: Batch) -> None:
        """Read prompts once, and their codes after them."""
        if batch.alone:
            self._read_alone(batch.rows[0])
        else:
            whole = [Branch(row, list(range(len(self.questions[row].codes)))) for row in batch.rows]
            self._codes(self._prompts(batch), whole, 0)

    def _read_alone(self, row: int) -> None:
        """Read a prompt anew with each beginning of a code, without padding and without keeping anything."""
        prompt, codes = self.questions[row]
        for beginning in {code[:depth] for code in codes for depth in range(len(code))}:
            following = self.model.alone(self._tensor([[*prompt, *beginning]]))[0].double().cpu().numpy()
            depth = len(beginning)
            for place, code in enumerate(codes):
                if len(code) > depth and code[:depth] == beginning:
                    self.scores[row][place] += following[code[depth]]

    def _prompts(self, batch: Batch) -> State:
        """Read the prompts of a batch, padded on the left, after what they all begin with."""
        rests = [self.questions[row].prompt[batch.shared :] for row in batch.rows]
        width = max(map(len, rests))
        tokens = self._tensor([[0] * (width - len(rest)) + list(rest) for rest in rests])
        mask = self._tensor([[0] * (width - len(rest)) + [1] * len(rest) for rest in rests])
        positions = batch.shared + (mask.cumsum(1) - 1).clamp(min=0)
        cache = None
        if batch.shared:
            cache = chosen(
                self._read_beginning(self.questions[batch.rows[0]].prompt[: batch.shared]), [0] * len(rests)
            )
            mask = torch.cat([mask.new_ones(len(rests), batch.shared), mask], 1)
        following, cache = self.model.read(tokens, mask, positions, cache)
        return State(following, cache, mask, positions[:, -1:] + 1)

    def _read_beginning(self, tokens: Ids) -> Any:
        """Return the cache of what a family begins with; that of the last family is kept."""
        if self._beginning[0] != tokens:
            self._beginning = (), None  # two at a time are not needed
            read = self._tensor([tokens])
            positions = torch.arange(len(tokens), device=read.device).unsqueeze(0)
            self._beginning = tokens, self.model.read(read, torch.ones_like(read), positions)[1]
        return self._beginning[1]

    def _codes(self, state: State, branches: Sequence[Branch], depth: int) -> None:
        """Add what codes gain by their token at `depth`, then read that token where a code goes on behind it.

        Args:
            state: a row for each branch.
            branches: codes that share their first `depth` tokens, all of which are read.
            depth: how many that are.
        """
        places = [(at, branch.row, code) for at, branch in enumerate(branches) for code in branch.codes]
        tokens = [self.questions[row].codes[code][depth] for _, row, code in places]
        gains = state.following[[at for at, _, _ in places], tokens].double().cpu().tolist()
        for (_, row, code), gain in zip(places, gains, strict=True):
            self.scores[row][code] += gain
        grown = [branch for at, old in enumerate(branches) for branch in self._grown(old, at, depth)]
        step = max(1, self.batch_tokens // (state.mask.shape[1] + 1))
        for start in range(0, len(grown), step):
            part = grown[start : start + step]
            self._codes(self._after(state, part), part, depth + 1)

    def _grown(self, branch: Branch, at: int, depth: int) -> list[Branch]:
        """Return the branches in which the codes of a branch go on behind their token at `depth`."""
        codes = self.questions[branch.row].codes
        behind: dict[int, list[int]] = {}
        for place in branch.codes:
            if len(codes[place]) > depth + 1:
                behind.setdefault(codes[place][depth], []).append(place)
        return [Branch(branch.row, places, at, token) for token, places in behind.items()]

    def _after(self, state: State, branches: Sequence[Branch]) -> State:
        """Return the state after the token of each branch, a row for each."""
        parents = [branch.parent for branch in branches]
        tokens = self._tensor([[branch.token] for branch in branches])
        mask = torch.cat([state.mask[parents], torch.ones_like(tokens)], 1)
        position = state.position[parents]
        following, cache = self.model.read(tokens, mask, position, chosen(state.cache, parents))
        return State(following, cache, mask, position + 1)

    def _tensor(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self.model.device)


def chosen(cache: Any, rows: Sequence[int]) -> Any:
    """Return a cache of some rows of another, which stays as it is."""
    copied = copy.deepcopy(cache)
    copied.batch_select_indices(torch.tensor(rows, device=copied.layers[0].keys.device))
    return copied


def families(prompts: dict[int, Ids]) -> list[Batch]:
    """Return prompts that share a beginning, by their places, and how much of it they share.

    In alphabetical order, neighbours that have half of the shorter one in common belong together. Those left over
    share what they all begin with: the system text.
    """
    order = sorted(prompts, key=lambda row: (prompts[row], row))
    found: list[list[int]] = []
    for row in order:
        if found and _related(prompts[found[-1][-1]], prompts[row]):
            found[-1].append(row)
        else:
            found.append([row])
    single = [family[0] for family in found if len(family) == 1]
    groups = [*(family for family in found if len(family) > 1), *([single] if single else [])]
    return [Batch(rows, _worth([prompts[row] for row in rows])) for rows in groups]


def _related(first: Ids, second: Ids) -> bool:
    return 2 * common(first, second) >= min(len(first), len(second))


def _worth(prompts: Sequence[Ids]) -> int:
    """Return how many tokens to read once for all; each prompt keeps one, behind which its answer comes."""
    if len(prompts) == 1:
        return 0
    shared = min(common(first, second) for first, second in pairwise(prompts))
    shared = min(shared, min(map(len, prompts)) - 1)
    return shared if shared >= WORTH else 0


def common(first: Ids, second: Ids) -> int:
    """Return how many tokens two prompts begin with in common.

    >>> common((1, 2, 3), (1, 2, 4, 5))
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
