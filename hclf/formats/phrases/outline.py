"""The tree that entries form by their levels: the terms that lead to an entry, and where cross references lead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import islice, product

from hclf.formats.paths import fold
from hclf.formats.phrases.entries import Entry, code_of

MOST_FORMS = 12  # of one entry; head terms in five forms above sub-terms in five would make hundreds
MOST_STEPS = 5  # from cross reference to cross reference
# How references name the columns of the neoplasm table, in their order; "malignant, secondary" is the second.
BEHAVIORS = ("malignant", "secondary", "in situ", "benign", "uncertain behavior", "unspecified behavior")
_ELSEWHERE = re.compile(r"\s*\b(?:NEC|NOS)\b")
_ASIDE = re.compile(r"\([^()]*\)")
_OPEN_END = re.compile(r", +by [\w ]+$")
_CATEGORY = re.compile(r"(?:sub)?categor(?:y|ies) ([A-Z0-9][A-Z0-9.]+)")


class Outline:
    """Entries in the order of their file, and what their levels say.

    Args:
        entries: in order; the level of each is at most one more than that of the one before it.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.above = list(_above(entries))

    def path(self, i: int) -> list[Entry]:
        """Return the entries that lead to an entry, from its main term down, itself last."""
        path = [self.entries[i]]
        while (i := self.above[i]) >= 0:
            path.append(self.entries[i])
        return path[::-1]

    def codes(self, i: int, neoplasms: Outline | None = None) -> tuple[str, ...]:
        """Return the nodes in each column of an entry, or of the one its cross reference leads to; () for none.

        A reference to a category, or to the neoplasm table where that is given, is one column with what it names.
        """
        for _ in range(MOST_STEPS):
            entry = self.entries[i]
            nodes = tuple(map(code_of, entry.codes))
            if any(nodes):
                return nodes
            if category := _CATEGORY.match(entry.see):
                return (code_of(category[1]),)
            if entry.title.startswith("specified") and _OPEN_END.search(entry.see):
                return ()  # "specified site: see Ulcer, by site" is no name of an ulcer without a site
            if neoplasms and (node := neoplasms.neoplasm(entry.see)):
                return (node,)
            found = self.find(entry.see) if entry.see else None
            if found is None:
                return ()
            i = found
        return ()

    def find(self, reference: str) -> int | None:
        """Return the entry a cross reference names ("Pain, abdominal"), or None.

        What begins with "by" tells how to go on from there ("Ulcer, skin, by site") and is left aside.
        """
        parts = [key for part in _ASIDE.sub("", reference).split(",") if (key := _key(part))]
        while parts and parts[-1].startswith("by "):
            parts.pop()
        return self._descend(-1, parts) if parts else None

    def neoplasm(self, reference: str) -> str:
        """Return the code that a reference to this table names ("Neoplasm, bone, malignant"), or ""."""
        parts = [part.strip() for part in reference.lower().split(",")]
        kinds = [BEHAVIORS.index(part) for part in parts if part in BEHAVIORS]
        found = self.find(", ".join(part for part in parts if part not in BEHAVIORS)) if kinds else None
        codes = () if found is None else self.codes(found)
        return codes[max(kinds)] if len(codes) == len(BEHAVIORS) else ""

    def _descend(self, above: int, parts: Sequence[str]) -> int | None:
        """Return the entry that the parts lead to from another one (-1: from the top), or None."""
        for end in range(len(parts), 0, -1):
            for i in self._below.get((above, ", ".join(parts[:end])), ()):
                found = i if end == len(parts) else self._descend(i, parts[end:])
                if found is not None:
                    return found
        # "Fracture, wrist" stands under "Fracture, traumatic".
        shortened = self._shortened.get((above, parts[0]), ())
        if len(parts) == 1:
            return shortened[0] if len(shortened) == 1 else None
        ends = (self._descend(up, parts[1:]) for up in shortened)
        return next((end for end in ends if end is not None), None)

    @cached_property
    def _below(self) -> dict[tuple[int, str], list[int]]:
        """Entry (-1: the top) and term -> the entries with this term below it."""
        below: dict[tuple[int, str], list[int]] = {}
        for i, entry in enumerate(self.entries):
            for key in _keys(entry.title):
                below.setdefault((self.above[i], key), []).append(i)
        return below

    @cached_property
    def _shortened(self) -> dict[tuple[int, str], list[int]]:
        """As `_below`, by the part of a term before its first comma."""
        below: dict[tuple[int, str], list[int]] = {}
        for i, entry in enumerate(self.entries):
            head, comma, _ = entry.title.partition(", ")
            if comma:
                below.setdefault((self.above[i], _key(plain(head))), []).append(i)
        return below


def _above(entries: Sequence[Entry]) -> Iterator[int]:
    path: list[int] = []
    for i, entry in enumerate(entries):
        del path[entry.level :]
        yield path[-1] if path else -1
        path.append(i)


@lru_cache(1 << 14)  # many entries have the terms "left", "right" and "specified site NEC"
def _keys(title: str) -> frozenset[str]:
    """Return what references may call a term."""
    return frozenset({_key(title), _key(plain(title)), *map(_key, forms(title))})


def _key(text: str) -> str:
    """Return what terms are compared by: references say "Complications" where the entry is "Complication"."""
    return " ".join(word.removesuffix("s") for word in fold(_ASIDE.sub(" ", text)).split())


# -- texts -----------------------------------------------------------------------------------------------------


def written(path: Sequence[Entry]) -> str:
    """Return the terms of a path as they are written: "Anemia, iron deficiency"."""
    return ", ".join(entry.title for entry in path)


def modified(path: Sequence[Entry]) -> str:
    """Return the terms of a path with their non-essential modifiers: "Bronchitis (diffuse), chronic (simple)"."""
    return ", ".join(f"{entry.title} {entry.modifiers}".strip() for entry in path)


def spoken(path: Sequence[Entry]) -> Iterator[str]:
    """Yield a path in each form of its terms, without NEC and NOS: words of an index that nobody says."""
    choices = [forms(entry.title) for entry in path]
    for choice in islice(product(*choices), MOST_FORMS):
        yield ", ".join(filter(None, choice))


def plain(title: str) -> str:
    """Return a term without NEC and NOS ("not elsewhere classified", "not otherwise specified")."""
    return _ELSEWHERE.sub("", title).strip()


def forms(title: str) -> tuple[str, ...]:
    """Return the forms of a term that its title lists one after another, or the title itself.

    >>> forms("Ulcer, ulcerated, ulcerative NEC"), forms("hip, left")
    (('Ulcer', 'ulcerated', 'ulcerative'), ('hip, left',))
    """
    parts = plain(title).split(", ")
    if len(parts) > 1 and all(_related(parts[0], part) for part in parts[1:]):
        return tuple(parts)
    return (plain(title),)


def _related(one: str, other: str) -> bool:
    """Tell whether two single words begin alike, as forms of one word do."""
    one, other = one.lower(), other.lower()
    alike = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return " " not in f"{one}{other}" and alike >= max(3, 0.6 * min(len(one), len(other)))
