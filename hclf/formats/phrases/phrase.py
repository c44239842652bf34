"""What all readers of phrases share: `Phrase`, when two texts are the same, a tally of what was read and added."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hclf.formats.paths import fold
from hclf.wording import first_few

_WORDS = re.compile(r"\w+")


class Phrase(NamedTuple):
    """A text that means a node. `source` says what it was read from: "index", "index see", "drugs", "table", …"""

    node: str
    text: str
    language: str = ""
    source: str = ""


def same_words(text: str) -> str:
    """Return the words of a text without case, accents and punctuation: texts that agree in it are the same.

    >>> same_words("Cholera, due to Vibrio-choleræ [O1]")
    'cholera due to vibrio choleræ o1'
    """
    return " ".join(_WORDS.findall(fold(text)))


@dataclass
class Tally:
    """What was read from phrase files and what became of it; nothing is dropped silently.

    Attributes:
        entries: entries of the files, with or without a code.
        phrases: by source, the phrases read.
        unresolved: cross references that lead to no code, by their text.
        added: synonyms that the taxonomy got.
        known: phrases it had already, as a name or synonym of the same node.
        unknown: nodes that it does not have, with their number of phrases; skipped.
        nearest: such nodes that were replaced by the longest known prefix, with their number of phrases.
    """

    entries: int = 0
    phrases: Counter[str] = field(default_factory=Counter)
    unresolved: Counter[str] = field(default_factory=Counter)
    added: int = 0
    known: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    nearest: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return what a person wants to know, one fact a line."""
        sources = ", ".join(f"{count:,} {source}" for source, count in self.phrases.most_common())
        lines = [f"read {self.phrases.total():,} phrases ({sources or 'none'}) from {self.entries:,} entries"]
        lines.append(f"added {self.added:,}; {self.known:,} were known already")
        if self.nearest:
            lines.append(f"taken to the longest known prefix: {_most(self.nearest, 'phrases', 'nodes')}")
        if self.unknown:
            lines.append(
                f"skipped, as the taxonomy does not have the node: {_most(self.unknown, 'phrases', 'nodes')}"
            )
        if self.unresolved:
            lines.append(
                f"skipped, as what they refer to has no code: {_most(self.unresolved, 'entries', 'references')}"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return everything counted, the most frequent first."""
        counters = {key: dict(getattr(self, key).most_common()) for key in ("unknown", "nearest", "unresolved")}
        return {
            "entries": self.entries,
            "phrases": dict(self.phrases),
            "added": self.added,
            "known": self.known,
            **counters,
        }


def _most(counts: Counter[str], what: str, of: str) -> str:
    shown = first_few([f"{key} ({count:,})" for key, count in counts.most_common()])
    return f"{counts.total():,} {what} of {len(counts):,} {of}: {shown}"
