"""Texts for synthetic documents: names and synonyms of nodes in sentences of our own, with some noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hclf.data.problems import Problems
from hclf.data.sources import OpenSource
from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.taxonomy import Node, Taxonomy


@dataclass(frozen=True)
class Style:
    """Sentences with `{label}` in them, and fillers without; a filler may name some `{other}` node."""

    sentences: tuple[str, ...]
    fillers: tuple[str, ...]
    lower: bool = True  # names are written small inside a sentence


STYLES = {
    "neutral": Style(
        sentences=(
            "This is about {label}.",
            "{label}.",
            "The subject here is {label}.",
            "A short note on {label}.",
            "Someone asked a question about {label}.",
            "We collected some facts on {label}.",
            "Mostly {label}, seen from several sides.",
            "More on {label} can be found below.",
        ),
        fillers=(
            "Further details follow later.",
            "Nothing else was said that day.",
            "The rest is left to the reader.",
            "See the earlier message as well.",
            "It has little to do with {other}.",
        ),
    ),
    "clinical": Style(
        sentences=(
            "Diagnosed with {label}.",
            "Known {label}, under treatment.",
            "Findings are consistent with {label}.",
            "Admitted because of {label}.",
            "History of {label}.",
            "Follow-up for {label}.",
            "Assessment: {label}.",
            "Work-up confirmed {label}.",
            "Patient presents with {label}.",
            "Discharge diagnosis {label}.",
        ),
        fillers=(
            "The {person} is {age} years old and was seen in the clinic.",
            "The {person}, aged {age}, came with a relative.",
            "Vital signs were stable throughout.",
            "Blood was taken and sent to the laboratory.",
            "Medication was reviewed and continued.",
            "No known allergies.",
            "Review in {weeks} weeks.",
            "No sign of {other}.",
            "Denies {other}.",
        ),
    ),
    "product": Style(
        sentences=(
            "{label}",
            "{label}, new in box",
            "Premium {label}",
            "{label} - pack of {count}",
            "Our best-selling {label}",
            "{label} with two-year warranty",
            "Compact {label} for every day",
            "{label}, model {code}",
            "Pre-owned {label} in good condition",
        ),
        fillers=(
            "Ships within two days.",
            "Free returns.",
            "Available in black, white and blue.",
            "Item number {code}.",
            "While stocks last.",
            "Not compatible with {other}.",
        ),
        lower=False,
    ),
}
DISTRACTORS = ("also", "quite", "rather", "today", "again", "perhaps", "well", "indeed", "still")


class TextMaker:
    """Writes the text of a label set; knows where each label is spoken of.

    Args:
        taxonomy: where the names come from.
        style: sentences and fillers.
        noise: share of words with a typo; half as many are dropped, half as many are put in. From 0 to 1.
        language: of names and synonyms; None takes those without a language, else English, else the first.
    """

    def __init__(self, taxonomy: Taxonomy, style: Style, *, noise: float, language: str | None) -> None:
        if not 0 <= noise <= 1:
            raise UsageError(f"noise must lie between 0 and 1, not {noise}")
        self._taxonomy, self._style, self._noise, self._language = taxonomy, style, noise, language

    def write(
        self, labels: list[int], random: Random, other: Callable[[], int | None]
    ) -> tuple[str, list[dict[str, Any]]]:
        """Return a text for the labels, and its evidence spans; `other` draws a node that is not meant."""
        sentences = [(random.choice(self._style.sentences), label) for label in labels]
        sentences += [(random.choice(self._style.fillers), -1) for _ in range(self._filler_count(random))]
        random.shuffle(sentences)
        text, spans = "", []
        for sentence, label in sentences:
            before, _, after = self._fill(sentence, random, other).partition("{label}")
            if not before and label < 0:
                continue  # a filler for which no other node was found
            text += _gap(text) + self._disturb(before, random)
            if label < 0:
                continue
            start = len(text)
            text += self._disturb(self._phrase(label, random, inside=bool(before)), random)
            spans.append({"start": start, "end": len(text), "label": self._taxonomy.nodes[label]})
            text += self._disturb(after, random)
        return text, spans

    def _filler_count(self, random: Random) -> int:
        return min(int(random.expovariate(1.0)), 3) if self._style.fillers else 0

    def _fill(self, sentence: str, random: Random, other: Callable[[], int | None]) -> str:
        if "{other}" in sentence:
            node = other()
            sentence = "" if node is None else sentence.replace("{other}", self._phrase(node, random, inside=True))
        for slot, value in (
            ("{age}", str(random.randint(18, 95))),
            ("{person}", random.choice(("woman", "man", "patient"))),
            ("{weeks}", str(random.randint(2, 12))),
            ("{count}", str(random.choice((2, 3, 4, 6, 10, 12)))),
            ("{code}", f"{random.choice('ABCDEFGH')}{random.randint(100, 9999)}"),
        ):
            sentence = sentence.replace(slot, value)
        return sentence

    def _phrase(self, node: int, random: Random, *, inside: bool) -> str:
        phrases = self._phrases(self._taxonomy.node(node))
        phrase = phrases[0] if random.random() < 0.5 else random.choice(phrases)
        first = phrase.split()[0]
        ordinary = phrase[1:2].islower() and not first.endswith(("'s", "’s"))  # no abbreviation, no person
        lower = inside and self._style.lower and ordinary
        return phrase[0].lower() + phrase[1:] if lower else phrase

    def _phrases(self, node: Node) -> list[str]:
        language = self._language
        if language is None:
            language = next((k for k in ("", "en", *node.names) if node.names.get(k)), "")
        name = node.names.get(language) or node.name
        return [name, *node.synonyms.get(language, ()), *(node.synonyms.get("", ()) if language else ())]

    def _disturb(self, text: str, random: Random) -> str:
        if not self._noise or not text.strip():
            return text
        words: list[str] = []
        for word in text.split(" "):
            if not word:  # the blank at either end
                words.append(word)
                continue
            chance = random.random() / self._noise
            if chance < 1:
                word = _typo(word, random)
            elif chance < 1.5 and len(words) > 1:
                continue
            elif chance < 2 and words:
                words.append(random.choice(DISTRACTORS))
            words.append(word)
        return " ".join(words)


def _gap(text: str) -> str:
    return "" if not text else ". " if text[-1].isalnum() else " "


def find_style(name: str) -> Style:
    """Return a built-in style.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in STYLES:
        raise UsageError(f"unknown style {name!r}{did_you_mean(suggest(name, STYLES) or tuple(STYLES))}")
    return STYLES[name]


def read_style(path: str | Path) -> Style:
    """Return a style from a file: lines with `{label}` are sentences, others fillers; `#` starts a comment.

    Raises:
        DataError: the file cannot be read, or no line has `{label}`.
    """
    source = OpenSource(path, "jsonl")  # any text: only its lines are asked for
    lines = [line.strip() for _, line in source.lines(Problems(strict=True))]
    source.close()
    lines = [line for line in lines if line and not line.startswith("#")]
    sentences = tuple(line for line in lines if "{label}" in line)
    if not sentences:
        raise DataError("no line of the templates has {label} in it", file=source.name)
    return Style(sentences, tuple(line for line in lines if "{label}" not in line))


def _typo(word: str, random: Random) -> str:
    if len(word) < 4:
        return word
    at = random.randint(1, len(word) - 2)
    kind = random.randrange(3)
    if kind == 0:  # two letters swapped
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + (word[at] * 2 if kind == 1 else "") + word[at + 1 :]
