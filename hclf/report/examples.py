"""Documents shown with their texts, when somebody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hclf.data import Document
from hclf.diagnostics import typical_mistakes
from hclf.labels import label_sets, most_specific
from hclf.statistics import Answers


@dataclass(frozen=True, slots=True)
class Example:
    """A document to show with its text: only made when somebody asked for texts.

    Attributes:
        id, text: of the document.
        true, predicted: its most specific true and predicted node ids.
        about: what it is an example of, in words.
    """

    id: str
    text: str
    true: Sequence[str]
    predicted: Sequence[str]
    about: str = ""


def typical_examples(answers: Answers, documents: Sequence[Document], *, limit: int = 10) -> list[Example]:
    """Return documents to show with their texts: one for each of the most frequent confusions of siblings.

    Args:
        answers: the label sets; `Evaluation.answers`.
        documents: in the order of the answers.
        limit: how many, at most.
    """
    taxonomy = answers.taxonomy
    true, predicted = (label_sets(taxonomy, most_specific(taxonomy, Y)) for Y in (answers.true, answers.predicted))
    return [
        Example(
            documents[row].id,
            shorten(documents[row].text),
            true[row],
            predicted[row],
            f"{taxonomy[wrong].name} instead of {taxonomy[missed].name}",
        )
        for row, missed, wrong in typical_mistakes(taxonomy, answers.true, answers.predicted, limit=limit)
    ]


def shorten(text: str, most: int = 1_500) -> str:
    """Return the beginning of a text, and a sign where it was cut."""
    return text if len(text) <= most else f"{text[:most].rstrip()} …"
