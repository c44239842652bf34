"""What a text says of a mention: denied, of the past, of a relative, or only possible.

Trigger phrases open a scope forward or backward; it ends with the sentence, at a terminator or after so many words
(NegEx: Chapman et al. 2001; ConText: Harkema et al. 2009, Chapman et al. 2007). The triggers are data: section
`triggers` of the languages. Where several begin at one word, the longest counts and takes its words with it, so a
longer phrase that is none ("no increase") hides a shorter one that is ("no").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hclf.errors import UsageError
from hclf.scorers.lexicon.folding import Folding, sections
from hclf.scorers.lexicon.text import SENTENCE, Words, split
from hclf.taxonomy import distinct

DENIED, HISTORICAL, FAMILY, HYPOTHETICAL = 1, 2, 4, 8
FLAGS: Mapping[str, int] = {
    "denied": DENIED,
    "historical": HISTORICAL,
    "family": FAMILY,
    "hypothetical": HYPOTHETICAL,
}
REACH = 12  # words that a trigger speaks of at most
_END = "ends"
_PLACES = ("before", "after", "not")


class _Trigger(NamedTuple):
    """What a phrase does: a flag for words behind it, one for words before it, and whether scopes end at it."""

    forward: int = 0
    backward: int = 0
    ends: bool = False


class _Heard(NamedTuple):
    """A trigger in a text: its first word, the word behind its last, and what it does."""

    start: int
    end: int
    trigger: _Trigger


class Context:
    """Marks mentions by what the words around say of them.

    Args:
        languages: whose triggers to use; None means all that ship.
        flags: names of those to set: denied, historical, family, hypothetical; none switches it off.
        reach: how many words a trigger speaks of at most.

    >>> text = "No fever, but cough. Mother had asthma."
    >>> Context().mark([text], [0, 0, 0], [3, 14, 32], [8, 19, 38]).tolist()
    [1, 0, 4]
    """

    def __init__(
        self,
        languages: Sequence[str] | None = None,
        *,
        flags: Sequence[str] = tuple(FLAGS),
        reach: int = REACH,
    ) -> None:
        unknown = sorted(set(flags) - set(FLAGS))
        if unknown:
            raise UsageError(f"no flag {', '.join(unknown)}; there are {', '.join(FLAGS)}")
        self.reach = reach
        self.folding = Folding(languages)
        self.triggers: dict[tuple[str, ...], _Trigger] = {}
        for section in sections(languages, "triggers"):
            self._add(section, flags)
        self._prepare()

    def _add(self, section: Mapping[str, Any], flags: Sequence[str]) -> None:
        """Take over the triggers of a language.

        Raises:
            UsageError: the section holds something else.
        """
        unknown = sorted(set(section) - set(FLAGS) - {_END})
        unknown += [f"{name}.{place}" for name in FLAGS for place in section.get(name, {}) if place not in _PLACES]
        if unknown:
            raise UsageError(f"triggers hold {', '.join(unknown)}; they have {', '.join([*FLAGS, _END])}")
        for text in section.get(_END, ()):
            self._join(text, _Trigger(ends=True))
        for name in FLAGS:
            bit = FLAGS[name] if name in flags else 0
            for place, given in section.get(name, {}).items():
                for text in given:
                    self._join(text, _Trigger(bit * (place == "before"), bit * (place == "after")))

    def _join(self, text: str, trigger: _Trigger) -> None:
        key = tuple(self.folding.stem(word) for word in split([text]).surfaces)
        if not key:
            raise UsageError(f"a trigger without a word: {text!r}")
        old = self.triggers.get(key, _Trigger())
        self.triggers[key] = _Trigger(
            old.forward | trigger.forward, old.backward | trigger.backward, old.ends | trigger.ends
        )

    def _prepare(self) -> None:
        self._longest: dict[str, int] = {}
        for key in self.triggers:
            self._longest[key[0]] = max(self._longest.get(key[0], 0), len(key))
        self._stems: dict[str, str] = {}

    def mark(
        self, texts: Sequence[str], rows: Sequence[int] | Any, starts: Sequence[int] | Any, ends: Sequence[int] | Any
    ) -> NDArray[np.uint8]:
        """Return the flags of mentions: the text of each, and its character offsets into it."""
        rows, starts, ends = (np.asarray(column, dtype=np.int64) for column in (rows, starts, ends))
        flags = np.zeros(len(rows), dtype=np.uint8)
        if not len(rows) or not self.triggers:
            return flags
        used = distinct(rows)
        own = [texts[row] for row in used.tolist()]
        words = split(own)
        said = self._said(words, own)
        if not len(said):
            return flags
        # Texts one after another, so that one search finds the words of every mention.
        text = np.searchsorted(used, rows)
        base = np.int64(2) ** 32
        first = np.searchsorted(words.rows * base + words.ends, text * base + starts, side="right")
        last = np.searchsorted(words.rows * base + words.starts, text * base + ends, side="left")
        full = np.flatnonzero(last > first)
        bounds = np.column_stack([first[full], last[full]]).ravel()
        padded = np.append(said, np.uint8(0))
        if len(full):
            flags[full] = np.bitwise_and.reduceat(padded, bounds)[::2]
        return flags

    def _said(self, words: Words, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return what is said of each word."""
        said = np.zeros(len(words.rows), dtype=np.uint8)
        sentence_starts = np.flatnonzero(words.breaks == SENTENCE)
        heard = self._heard(words)
        if not heard:
            return said
        stops = np.array([item.start for item in heard if item.trigger.ends], dtype=np.int64)
        for item in heard:
            if item.trigger.forward:
                begin = item.end
                which = int(np.searchsorted(sentence_starts, begin, side="left"))
                if _after_colon(words, texts, begin):
                    which += 1
                end = int(sentence_starts[which]) if which < len(sentence_starts) else len(said)
                stop = int(np.searchsorted(stops, begin, side="left"))
                end = min(end, int(stops[stop]) if stop < len(stops) else end, begin + self.reach)
                said[begin:end] |= item.trigger.forward
            if item.trigger.backward:
                which = int(np.searchsorted(sentence_starts, item.start, side="right")) - 1
                begin = int(sentence_starts[which])
                stop = int(np.searchsorted(stops, item.start, side="left")) - 1
                begin = max(begin, int(stops[stop]) + 1 if stop >= 0 else begin, item.start - self.reach)
                said[begin : item.start] |= item.trigger.backward
        return said

    def _heard(self, words: Words) -> list[_Heard]:
        """Return the triggers in texts: at each word the longest that begins there, none inside another."""
        stems = self._stems
        if len(stems) > 1 << 20:
            stems = self._stems = {}
        for word in dict.fromkeys(words.surfaces):
            if word not in stems:
                stems[word] = self.folding.stem(word)
        sequence = [stems[word] for word in words.surfaces]
        sentence = np.cumsum(words.breaks == SENTENCE).tolist()
        found, done = [], 0
        for start, stem in enumerate(sequence):
            longest = self._longest.get(stem, 0)
            if start < done:
                continue
            for length in range(min(longest, len(sequence) - start), 0, -1):
                trigger = self.triggers.get(tuple(sequence[start : start + length]))
                if trigger and sentence[start] == sentence[start + length - 1]:
                    done = start + length
                    found.append(_Heard(start, done, trigger))
                    break
        return found

    def get_state(self) -> dict[str, Any]:
        """Return JSON-able values that `from_state` builds an equal context from."""
        return {
            "reach": self.reach,
            "folding": self.folding.get_state(),
            "triggers": [[list(key), *trigger] for key, trigger in self.triggers.items()],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Build a context from what `get_state` returned."""
        context = cls.__new__(cls)
        context.reach = state["reach"]
        context.folding = Folding.from_state(state["folding"])
        context.triggers = {tuple(key): _Trigger(*trigger) for key, *trigger in state["triggers"]}
        context._prepare()
        return context


def _after_colon(words: Words, texts: Sequence[str], word: int) -> bool:
    """Return whether only a colon parts a word from the one before: "Denies: fever"."""
    if not 0 < word < len(words.rows) or words.rows[word] != words.rows[word - 1]:
        return False
    between = texts[words.rows[word]][words.ends[word - 1] : words.starts[word]]
    return str(between).strip() == ":"
