"""Language models for tests that read prompts as a model would: from their words alone.

Oracle(taxonomy, {"text": ["label"]})      knows the truth and answers without an error, in codes
Judge(taxonomy, {"node": 0.7})             judges every option by itself, whatever stands beside it, in probabilities
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hclf.scorers.base import Progress, silent
from hclf.scorers.prompt.base import Answer, Prompt, Usage
from hclf.scorers.prompt.outline import TOP, Outline
from hclf.taxonomy import Taxonomy

OPTION = re.compile(r"^ *([A-Z]|\d+)\. (.*)$", re.MULTILINE)
DOCUMENT = re.compile(
    r"^<(?P<tag>document-[0-9a-f]{8})>\n(?P<text>.*?)\n</(?P=tag)>\nAnswer:", re.DOTALL | re.MULTILINE
)


class Question(NamedTuple):
    """What a prompt asks.

    Attributes:
        parent: column whose children are options; `TOP`: the roots.
        options: code -> column.
        none: code of "none of these".
        texts: of the documents shown; the last is the one to answer for.
    """

    parent: int
    options: dict[str, int]
    none: str
    texts: list[str]


class Reader:
    """Reads prompts about a taxonomy and keeps what it was asked."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.outline, self.usage = Outline.of(taxonomy), Usage()
        self.asked: list[Question] = []
        self._by_path = {self.outline.path(column): column for column in range(len(taxonomy))}

    def read(self, user: str) -> Question:
        """Return what a prompt asks."""
        listed = user[: user.index("<document-")]
        path = re.search(r"^The document belongs to: (.*)$", listed, re.MULTILINE)
        parent = self._by_path[path[1]] if path else TOP
        *shown, (none, _) = OPTION.findall(listed)
        whole = any(line.startswith(" ") for line in listed.splitlines())
        columns = range(len(self.outline)) if whole else self.outline.below(parent).tolist()
        names = {self.outline.names[column]: column for column in columns}
        texts = [match["text"] for match in DOCUMENT.finditer(user)]
        question = Question(parent, {code: _called(names, text) for code, text in shown}, none, texts)
        self.asked.append(question)
        return question

    def ask(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[Answer]:
        """Answer prompts."""
        self.usage.add(calls=len(prompts))
        return [self.answered(prompt) for prompt in prompts]

    def answered(self, prompt: Prompt) -> Answer:
        """Answer one prompt."""
        raise NotImplementedError

    def tokens(self, prompt: Prompt) -> int:
        """Return about how many tokens a prompt has."""
        return len(prompt.user) // 4


class Oracle(Reader):
    """Knows the labels of documents by their texts."""

    def __init__(self, taxonomy: Taxonomy, truth: Mapping[str, Iterable[str]]) -> None:
        super().__init__(taxonomy)
        self.truth = {text: set(map(taxonomy.index, taxonomy.closure(own))) for text, own in truth.items()}

    def answer(self, user: str) -> str:
        """Answer in codes, as a prompt asks to."""
        question = self.read(user)
        true = self.truth[question.texts[-1]]
        return ", ".join(code for code, column in question.options.items() if column in true) or question.none

    def answered(self, prompt: Prompt) -> Answer:
        """Answer one prompt."""
        said = self.answer(prompt.user).split(", ")
        return Answer(np.array([float(code in said) for code in prompt.codes]), exclusive=False)


class Judge(Reader):
    """Gives every node odds against none of these; some codes more than they deserve."""

    def __init__(
        self, taxonomy: Taxonomy, odds: Mapping[str, float], likes: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(taxonomy)
        self.odds = np.array([odds[node] for node in taxonomy.nodes])
        self.likes = dict(likes or {})

    def answered(self, prompt: Prompt) -> Answer:
        """Answer one prompt; one without a document by what codes are liked."""
        question = self.read(prompt.user)
        says_nothing = question.texts[-1] in ("N/A", "[no text]")
        odds = [
            self.likes.get(code, 1.0) * (0.1 if says_nothing else self.odds[column])
            for code, column in question.options.items()
        ]
        weights = np.array([*odds, 1.0])
        return Answer(weights / weights.sum(), exclusive=True)


def _called(columns: Mapping[str, int], text: str) -> int:
    """Return the column of an option's name; behind a name there may be a note in brackets."""
    ends = [len(text), *(match.start() for match in reversed(list(re.finditer(r" \(", text))))]
    return next(columns[text[:end]] for end in ends if text[:end] in columns)
