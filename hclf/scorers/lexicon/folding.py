"""What is known of languages, as data: one YAML file a language, beside this module.

A file may hold: `stop_words`; `endings` that make no difference; letters that sound `alike`; words to leave `whole`;
words that are `equal` to one, perhaps of another language; `letters` that only look accented; `fillers` of names that
say nothing; and triggers of `context` (see there). Several languages are used at once, as one: a text may be of any
of them, or a mix.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from hclf.errors import UsageError, did_you_mean, suggest

FOLDER = Path(__file__).parent / "languages"
COMMON = "common"
SHORTEST = 5  # letters of a word in which `alike` is looked for: short ones are abbreviations, or too much alike
_LONGEST_ENDING = 6
# Accents and vowel points that readers leave out; vowel signs of Indic and other scripts are letters.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u00ad\u200c\u200d]")


def available() -> tuple[str, ...]:
    """Return the languages that hclf ships."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml") if file.stem != COMMON))


@cache
def load(language: str) -> Mapping[str, Any]:
    """Return what is known of a language: one that ships with hclf, or the path of a file like theirs.

    Raises:
        UsageError: there is no such language, or its file holds something else.
    """
    own = language.endswith((".yaml", ".yml"))
    file = Path(language) if own else FOLDER / f"{language}.yaml"
    if not (file.is_file() if own else language in (*available(), COMMON)):
        raise UsageError(f"no language {language!r}{did_you_mean(suggest(language, available()))}")
    try:
        content: Any = yaml.load(file.read_text("utf-8"), Loader=yaml.BaseLoader)  # only strings: "no" is a word
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{file}: a language has {', '.join(SECTIONS)}")
    if unknown := sorted(content.keys() - SECTIONS.keys()):
        raise UsageError(f"{file}: holds {', '.join(unknown)}; a language has {', '.join(SECTIONS)}")
    for name, value in content.items():
        what, fits = SECTIONS[name]
        if not fits(value):
            raise UsageError(f"{file}: {name} must be {what}")
    return content


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and "" not in value and all(map(_is_text, value.values()))


def _are_endings(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(step, dict) for step in value):
        return False
    rules = [rule for step in value for rule in step.values()]
    return all(_is_list(rule) and len(rule) == 2 and rule[1].isdecimal() for rule in rules)


def _are_triggers(value: Any) -> bool:
    """Return whether a value has the form of triggers; which flags and places there are is known to `context`."""
    return isinstance(value, dict) and all(
        _is_list(part) if name == "ends" else isinstance(part, dict) and all(map(_is_list, part.values()))
        for name, part in value.items()
    )


# Section -> what its value must be, in words and as a check.
SECTIONS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "stop_words": ("a text of words", _is_text),
    "endings": ("a list of steps, each with lines «ending: [what stands instead, letters before it]»", _are_endings),
    "alike": ("lines «letters: letters»", _is_table),
    "whole": ("a text of words", _is_text),
    "equal": ("lines «word: words»", _is_table),
    "letters": ("a text of letters", _is_text),
    "fillers": ("a list of texts", _is_list),
    "triggers": ("lists of texts, by flag and place; ends is one list", _are_triggers),
}


def sections(languages: Iterable[str] | None, name: str) -> list[Any]:
    """Return one section of what is common and of each language that has it; None means all that ship."""
    chosen = [COMMON, *(available() if languages is None else languages)]
    return [content[name] for content in map(load, chosen) if name in content]


def words_of(languages: Iterable[str] | None, name: str) -> frozenset[str]:
    """Return the words of a section that is a string of words."""
    return frozenset(word for text in sections(languages, name) for word in text.split())


class Folding:
    """Makes one word of those that differ in case, accents or an ending that makes no difference.

    Args:
        languages: whose data to use; None means all that ship.

    >>> fold = Folding().fold
    >>> fold("Fracturas") == fold("fractura"), fold("Años") == fold("ano"), fold("II") == fold("2")
    (True, False, True)
    """

    def __init__(self, languages: Sequence[str] | None = None) -> None:
        self.stop_words = words_of(languages, "stop_words")
        self.letters = frozenset("".join(sections(languages, "letters")))
        self.whole = words_of(languages, "whole")
        steps: list[dict[str, tuple[str, int]]] = []
        for listed in sections(languages, "endings"):
            for i, step in enumerate(listed):
                steps.extend({} for _ in range(i + 1 - len(steps)))
                steps[i].update({ending: (instead, int(least)) for ending, (instead, least) in step.items()})
        self.endings = steps
        self.alike = {letters: same for table in sections(languages, "alike") for letters, same in table.items()}
        self.equal: dict[str, str] = {}
        pairs = [
            (same, word)
            for table in sections(languages, "equal")
            for same, words in table.items()
            for word in words.split()
        ]
        self.equal = {self.form(word): self.form(same) for same, word in pairs}

    def fold(self, word: str) -> str:
        """Return what a word is compared by; "" for a stop word.

        A capital letter by itself is none: it names something, such as the A of "hepatitis A".
        """
        plain = _plain(word)
        names = len(word) == 1 and word.isupper()
        return "" if plain in self.stop_words and not names else self._form(plain)

    def form(self, word: str) -> str:
        """Return what a word is compared by where stop words count."""
        return self._form(_plain(word))

    def stem(self, word: str) -> str:
        """Return a word without accents and endings: less alike than its form, for words that must be just these."""
        return self._stem(_plain(word))

    def _stem(self, plain: str) -> str:
        plain = self._without_marks(plain)
        if plain not in self.whole and plain.isalpha():
            for step in self.endings:
                plain = _replaced(plain, step)
        return plain

    def _form(self, plain: str) -> str:
        stem = self._stem(plain)
        if self.alike and len(stem) >= SHORTEST and stem.isalpha() and stem not in self.whole:
            stem = self._sound(stem)
        return self.equal.get(stem, stem)

    def _sound(self, word: str) -> str:
        """Return a word with one way of writing each sound; ^ in the data is the start of a word."""
        return self._sounds.sub(lambda found: self.alike[found[0]], f"^{word}").lstrip("^")

    @cached_property
    def _sounds(self) -> re.Pattern[str]:
        longest_first = sorted(self.alike, key=lambda letters: (-len(letters), letters))
        return re.compile("|".join(map(re.escape, longest_first)))

    def _without_marks(self, word: str) -> str:
        if word.isascii():
            return word
        return "".join(ch if ch in self.letters else _bare(ch) for ch in word)

    def get_state(self) -> dict[str, Any]:
        """Return JSON-able values that `from_state` builds an equal folding from."""
        return {
            "stop_words": sorted(self.stop_words),
            "letters": sorted(self.letters),
            "whole": sorted(self.whole),
            "equal": self.equal,
            "alike": self.alike,
            "endings": [{ending: list(rule) for ending, rule in step.items()} for step in self.endings],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Folding:
        """Build a folding from what `get_state` returned."""
        folding = cls.__new__(cls)
        folding.stop_words, folding.letters, folding.whole = (
            frozenset(state[name]) for name in ("stop_words", "letters", "whole")
        )
        folding.equal, folding.alike = dict(state["equal"]), dict(state["alike"])
        folding.endings = [
            {ending: (instead, least) for ending, (instead, least) in step.items()} for step in state["endings"]
        ]
        return folding


def _plain(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()


@cache
def _bare(character: str) -> str:
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", character)))


def _replaced(word: str, step: Mapping[str, tuple[str, int]]) -> str:
    for length in range(min(_LONGEST_ENDING, len(word)), 0, -1):
        rule = step.get(word[-length:])
        if rule and len(word) - length >= rule[1]:
            return word[:-length] + rule[0]
    return word
