"""Exclusion rubrics as rules.

ClaML does not say whether what is excluded may be coded beside, so the rules are soft. What a rubric names is told by
its references where it has any, whatever its language and whatever codes look like; else by the codes in its text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hclf.formats._references import Found, Reading, References, exclusions, is_heading
from hclf.formats.claml.texts import Excluded, Named

__all__ = ["Names", "read_exclusions"]

KIND, SOURCE = "exclusion", "exclusion note"
_RANGE = re.compile(r"(\w.*)[-–](\w.*)")
_END = re.compile(r"\W+$")  # a dash that says "and all below", the mark of a usage
_WITH = re.compile(r"\bwith\b")
_ROMAN = {"X": 10, "IX": 9, "V": 5, "IV": 4, "I": 1}


@dataclass(frozen=True)
class Names:
    """What names stand for in one file: every code for itself, and what notes call chapters and blocks."""

    nodes: frozenset[str]
    refer: References

    @classmethod
    def of(cls, nodes: Sequence[str], parents: Mapping[str, str], chapters: Iterable[str]) -> Names:
        """Return the names of a file.

        Args:
            nodes: their ids, each after its parent.
            parents: node -> its parent.
            chapters: the nodes that are chapters.
        """
        ranges = {node: node for node in nodes if _RANGE.fullmatch(node)}
        numbered = {number: node for node in chapters for number in _numbers(node)}
        return cls(frozenset(nodes), References(nodes, parents, ranges, numbered))

    def told_by(self, excluded: Excluded) -> Found:
        """Return what a rubric names."""
        if not excluded.named:
            return self.refer(excluded.text)
        found = [self._found(named) for named in excluded.named]
        return Found(
            tuple(dict.fromkeys(node for part in found for node in part.nodes)),
            tuple(dict.fromkeys(code for part in found for code in part.missing)),
            "; ".join(part.unclear for part in found if part.unclear),
        )

    def _found(self, named: Named) -> Found:
        if named.is_limited():
            found = self.refer(f"({named.text})") if _WITH.search(named.text) else Found()
            return found if found.nodes or found.missing else Found(unclear=named.text)
        for written in (named.text, *named.codes):
            code = _END.sub("", written)
            if code in self.nodes:
                return Found((code,))
            if nodes := self.refer(f"({written})").nodes:
                return Found(nodes)
        return Found(missing=(named.text or named.codes[0],))


def read_exclusions(rubrics: Iterable[tuple[str, Sequence[Excluded]]], names: Names) -> Reading:
    """Make rules of exclusion rubrics.

    Args:
        rubrics: nodes with their rubrics, in the order of the file. Those of a modifier come with each code it makes,
            and are counted once.
        names: what they name.
    """
    reading = Reading([], [], Counter())
    told: set[Excluded] = set()
    for node, several in rubrics:
        found = {one.text: Found() if is_heading(one.text) else names.told_by(one) for one in several}
        for one in several:
            if one not in told:
                reading.tell(one.text, found[one.text], node=node, line=one.line, kind=KIND, source=SOURCE)
        told.update(several)
        reading.rules.extend(exclusions(node, [one.text for one in several], found.__getitem__, SOURCE))
    return reading


def _numbers(chapter: str) -> set[str]:
    """Return the numbers a chapter goes by: notes say "Chapter 4" or "Chapter IV", whatever its code is.

    >>> sorted(_numbers("XIX")), sorted(_numbers("04"))
    (['19', 'XIX'], ['04', '4', 'IV'])
    """
    if chapter.isdecimal():
        left, roman = int(chapter), ""
        for sign, value in _ROMAN.items():
            roman += sign * (left // value)
            left %= value
        return {chapter, str(int(chapter)), roman}
    pairs = zip(chapter, f"{chapter[1:]} ", strict=True)
    if not set(chapter) <= _ROMAN.keys():
        return {chapter}
    return {chapter, str(sum(_ROMAN[a] * (-1 if _ROMAN.get(b, 0) > _ROMAN[a] else 1) for a, b in pairs))}
