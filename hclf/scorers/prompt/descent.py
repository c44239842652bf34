"""Asking level by level: only below what holds, and then a number for every node.

    level 0   the roots are options, in as many pages as it takes
    level k   the children of every node on level k that is still open are options
    the rest  a node that was not asked about gets a share of its parent's, so it never stands above it

Two numbers come out for each node, both products along the best asked path. The *share* takes from each question how
likely the answer is this option; of two options that both hold each gets a half. The *standing* takes how likely it
is against the likeliest answer of the question, so there both get all. Nodes are opened by standing: a document may
have several labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hclf.scorers.base import Progress, silent
from hclf.scorers.prompt.base import Answer, Engine, Prompt
from hclf.scorers.prompt.outline import TOP, Outline, Page, Pager
from hclf.taxonomy import spread

Floats = NDArray[np.float32]
Values = NDArray[np.float64]

LEAST = 1e-6  # probability of "none of these" below which it is no measure of others
EVEN = 0.01  # how much an even distribution counts beside what a model answers without a document
CONTENT_FREE = ("N/A", "[no text]")  # documents that say nothing (Zhao et al., 2021)


Ask = Callable[[int | str, Page], Prompt]
"""Makes the question of a document, by its number, or of a text, about a page."""


class Asked(NamedTuple):
    """The numbers of a question's options, in the order of its pages.

    Attributes:
        share: (options,) how likely each is the answer.
        standing: (options,) how likely each is, against the likeliest answer.
        exclusive: shares exclude each other.
    """

    share: Values
    standing: Values
    exclusive: bool


class Found(NamedTuple):
    """What came out.

    Attributes:
        share, standing: (documents, nodes) float32 from 0 to 1; no asked node above all its parents.
        asked: (documents,) prompts of each.
    """

    share: Floats
    standing: Floats
    asked: NDArray[np.int64]


@dataclass
class Descent:
    """Asks an engine about documents.

    Attributes:
        pager: of the options.
        engine: answers.
        open_at: standing from which a node's children are asked about.
        most_open: nodes of a level that are opened for a document, best first.
        correct_bias: whether a code's probability is set against that without a document.
    """

    pager: Pager
    engine: Engine
    open_at: float
    most_open: int
    correct_bias: bool = True
    _bias: dict[Page, Values] = field(default_factory=dict)

    @property
    def outline(self) -> Outline:
        """Of the taxonomy."""
        return self.pager.outline

    def run(self, documents: int, prompt: Ask, progress: Progress = silent) -> Found:
        """Ask about so many documents.

        Args:
            documents: how many.
            prompt: makes their questions.
            progress: wraps loops over prompts.
        """
        shape = (documents, len(self.outline))
        share, standing = (np.zeros(shape, dtype=np.float32) for _ in range(2))
        asked, counts = np.zeros(shape, dtype=bool), np.zeros(documents, dtype=np.int64)
        for level in range(1 if self.pager.whole else self.outline.depth):
            for (document, parent), found in self._ask(list(self._questions(level, standing)), prompt, progress):
                columns = self.pager.columns(parent)
                for values, own in ((share, found.share), (standing, found.standing)):
                    above = 1.0 if parent == TOP else values[document, parent]
                    values[document, columns] = np.maximum(values[document, columns], own * above)
                asked[document, columns] = True
                counts[document] += len(self.pager.pages(parent))
        for values in (share, standing):
            _fill(values, asked, self.outline)
        return Found(share, standing, counts)

    # -- questions -------------------------------------------------------------------------------------------

    def _questions(self, level: int, standing: Floats) -> Iterable[tuple[int, int]]:
        """Yield (document, parent): whose children are asked about next."""
        if level == 0:
            yield from ((document, TOP) for document in range(len(standing)))
            return
        outline = self.outline
        columns = np.flatnonzero((outline.levels == level) & (np.diff(outline.children.indptr) > 0))
        for document, values in enumerate(standing[:, columns]):
            best = np.argsort(-values, kind="stable")[: self.most_open]
            yield from ((document, int(columns[at])) for at in np.sort(best[values[best] >= self.open_at]))

    def _ask(
        self, questions: Sequence[tuple[int, int]], prompt: Ask, progress: Progress
    ) -> Iterable[tuple[tuple[int, int], Asked]]:
        """Yield what is answered to each question."""
        of_question = [[(page, prompt(document, page)) for page in self.pager.pages(p)] for document, p in questions]
        asked = [pair for pairs in of_question for pair in pairs]
        answers = self._answers([own for _, own in asked], progress)
        self._learn_bias({page for (page, _), said in zip(asked, answers, strict=True) if said.exclusive}, prompt)
        corrected = iter([self._corrected(page, said) for (page, _), said in zip(asked, answers, strict=True)])
        for question, pairs in zip(questions, of_question, strict=True):
            found = merged([next(corrected) for _ in pairs])
            yield question, self._along_the_tree(found) if self.pager.whole else found

    def _answers(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[Answer]:
        """Return an answer to each prompt; equal ones are asked once."""
        unique = list(dict.fromkeys(prompts))
        answers = dict(zip(unique, self.engine.ask(unique, progress), strict=True)) if unique else {}
        return [answers[prompt] for prompt in prompts]

    # -- bias ------------------------------------------------------------------------------------------------

    def _learn_bias(self, pages: set[Page], prompt: Ask) -> None:
        """Ask what is answered about these pages when there is no document."""
        new = sorted(pages - self._bias.keys()) if self.correct_bias else []
        answers = iter(self._answers([prompt(text, page) for page in new for text in CONTENT_FREE]))
        for page in new:
            total = sum((next(answers).probabilities[:-1] for _ in CONTENT_FREE), np.zeros(len(page.options)))
            self._bias[page] = (total / max(total.sum(), LEAST) + EVEN / len(total)) / (1 + EVEN)

    def _corrected(self, page: Page, answer: Answer) -> Answer:
        """Return an answer without what the model prefers anyway.

        What options are worth against each other is corrected (Zhao et al., 2021), "none of these" is not: without a
        document it is the right answer, not a bias.
        """
        if not answer.exclusive or page not in self._bias:
            return answer
        options = answer.probabilities[:-1]
        weighed = options / self._bias[page]
        options = weighed * (options.sum() / max(weighed.sum(), np.finfo(float).tiny))
        return Answer(np.append(options, answer.probabilities[-1]), exclusive=True)

    def _along_the_tree(self, found: Asked) -> Asked:
        """Return of every node how likely it or a node below it is the answer, in the order of the pages."""
        columns = self.pager.columns(TOP)
        share, standing = (np.zeros(len(self.outline)) for _ in range(2))
        share[columns], standing[columns] = found.share, found.standing
        standing = self._highest_below(standing)
        share = np.minimum(_sum_below(share, self.outline), 1) if found.exclusive else standing
        return Asked(share[columns], standing[columns], found.exclusive)

    def _highest_below(self, values: Values) -> Values:
        """Return of every node the highest value at or below it."""
        highest, outline = values.copy(), self.outline
        for level in range(outline.depth, 1, -1):
            here = np.flatnonzero(outline.levels == level)
            position, above = outline.parents.of_many(here)
            np.maximum.at(highest, above, highest[here[position]])
        return highest


def merged(answers: Sequence[Answer]) -> Asked:
    """Return the numbers of a question's options, of all its pages in order.

    Where answers exclude each other, a page says how likely each of its options is against "none of these". These
    odds hold beside those of other pages, so where a model judges options one by one, it does not matter how they
    are spread over pages (Luce's choice axiom, 1959).
    """
    if not all(answer.exclusive for answer in answers):
        each = np.concatenate([answer.probabilities[:-1] for answer in answers])
        return Asked(each, each, exclusive=False)
    odds = np.concatenate([a.probabilities[:-1] / max(a.probabilities[-1], LEAST) for a in answers])
    return Asked(odds / (1 + odds.sum()), odds / max(1.0, odds.max(initial=0)), exclusive=True)


def _sum_below(values: Values, outline: Outline) -> Values:
    """Return of every node the sum over it and all nodes below it, each counted once."""
    total = np.zeros(len(values))
    for column in np.flatnonzero(values).tolist():
        total[spread(np.array([column]), outline.parents)] += values[column]
    return total


def _fill(values: Floats, asked: NDArray[np.bool_], outline: Outline) -> None:
    """Give every node that was not asked about an even share of what its parents have, the lowest of several."""
    by_node, known = np.ascontiguousarray(values.T), np.ascontiguousarray(asked.T)
    children = np.diff(outline.children.indptr)
    for level in range(2, outline.depth + 1):
        here = np.flatnonzero(outline.levels == level)
        position, above = outline.parents.of_many(here)
        shares = by_node[above] / (children[above, None] + 1)
        starts = np.searchsorted(position, np.arange(len(here)))
        lowest = np.minimum.reduceat(shares, starts, axis=0)
        by_node[here] = np.where(known[here], by_node[here], lowest)
    values[:] = by_node.T
