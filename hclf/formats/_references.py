"""Codes that a note of the ICD-10 family names, resolved to nodes: `(I20-I25)`, `(E08.-, E13)`, `(T36-T50 with fifth
or sixth character 5)`, `classified in Chapter 1`; and what comes of the notes: rules, and those that name nothing.
Any reader of a classification with codes of this shape can use it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from hclf.taxonomy import Rule

__all__ = ["NAMED", "Found", "Reading", "References", "exclusions", "is_heading"]

_CODE = r"(?<![0-9A-Za-z.])[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?(?![0-9A-Za-z])"
# A code, or two with a dash or "to" between; each may end in the dash that says "and all below".
NAMED = re.compile(rf"({_CODE})(?:\.?-?\s*(?:-|–|\bto\b)\s*({_CODE}))?\.?-?")
_INSIDE = re.compile(r"\(([^()]*)\)")
_CHAPTER = re.compile(r"\bchapter\s+([0-9]{1,2}|[IVX]{1,5})\b", re.IGNORECASE)
_WITH = re.compile(r"[\s,.]*\bwith\s+(.*)", re.DOTALL)
_ORDINAL = r"(fourth|fifth|sixth|six|seventh|[4-7]th)"
_CHARACTER = re.compile(
    rf"(?:common\s+)?{_ORDINAL}(?:\s*-?\s*(or|to)\s+{_ORDINAL})?[\s-]*characters?\b(.*)", re.DOTALL
)
_FINAL = re.compile(r"final\s+characters?\s+-?([0-9A-Z]+)")
_SUFFIX = re.compile(r"\.?([0-9]{1,3})-?")
_VALUE = re.compile(
    r"(?<![0-9A-Za-z])([0-9A-Z])(?:-| to | through )([0-9A-Z])(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])([0-9A-Z]{1,3})(?![0-9A-Za-z])"
)
_PLACES = {"four": 4, "4": 4, "fift": 5, "5": 5, "six": 6, "6": 6, "seven": 7, "7": 7}
_BEFORE_SEVENTH, _PLACEHOLDER = 6, "X"


class Condition(Protocol):
    """Tells whether a whole code, without its dot, is meant; `named` is the length of the code named before."""

    def __call__(self, whole: str, named: int) -> bool: ...


class Found(NamedTuple):
    """What a note names.

    `nodes` in the order of the note, each once; `missing` the codes that there are none of; `unclear` the words of a
    condition that was not understood, and whose codes are therefore left out.
    """

    nodes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unclear: str = ""


class Reading(NamedTuple):
    """What came of the notes: rules; (message, line, node) of each text that cannot be resolved; and counts."""

    rules: list[Rule]
    unresolved: list[tuple[str, int, str]]
    counts: Counter[tuple[str, str]]

    def tell(
        self,
        text: str,
        found: Found,
        *,
        node: str,
        line: int,
        kind: str,
        source: str,
        inside: Callable[[str], bool] = lambda code: True,
    ) -> None:
        """Count what a text names; list it if that cannot be told.

        Args:
            text: one of a note's.
            found: what it names; nothing if it only heads others.
            node: where it stands.
            line: where that is in the file.
            kind: the kind of note, to count by.
            source: what to call the note, such as "excludes1 note".
            inside: whether a code that is missing should be there.
        """
        missing = [code for code in found.missing if inside(code)]
        shown = f'"{text}"'
        outcome = "resolved" if found.nodes else "unresolved"
        if is_heading(text):
            outcome = "heading"
        elif missing:
            self.unresolved.append((f"{source}: no {', '.join(missing)} in this release: {shown}", line, node))
        elif found.unclear:
            message = f"{source}: a condition in words that are not understood: {shown}"
            self.unresolved.append((message, line, node))
        elif not found.nodes and found.missing:
            outcome = "elsewhere"
        elif not found.nodes:
            self.unresolved.append((f"{source} names no code: {shown}", line, node))
        self.counts[kind, outcome] += 1

    def summary(self) -> str:
        """Return in a line how many texts name codes, and what the others are."""
        total = Counter[str]()
        for (_, outcome), times in self.counts.items():
            total[outcome] += times
        said = [f"{total['resolved']:,} of {total.total():,} notes name codes or chapters"]
        others = {
            "heading": "head lists of others",
            "elsewhere": "name only codes of chapters that are not in this file",
            "unresolved": "cannot be resolved and are listed here",
        }
        said += [f"{total[outcome]:,} {words}" for outcome, words in others.items() if total[outcome]]
        return f"{'; '.join(said)}. Rules made of them: {len(self.rules):,}"


class References:
    """Resolves what notes name, over the nodes of one classification.

    Args:
        nodes: their ids in the order of the book, each after its parent.
        parents: node -> its parent; roots are left out.
        ranges: range as notes write it, such as "A00-A09" -> the section or chapter that is just this range.
        chapters: number as notes write it, such as "1" or "IV" -> chapter.

    >>> parents = {"A00": "A00-A01", "A01": "A00-A01", "A00.1": "A00", "A00.2": "A00"}
    >>> refer = References(["A00-A01", "A00", "A00.1", "A00.2", "A01"], parents, {"A00-A01": "A00-A01"})
    >>> refer("all of it (A00-A01)").nodes, refer("the first (A00.1, A01.-)").nodes, refer("none (A09)").missing
    (('A00-A01',), ('A00.1', 'A01'), ('A09',))
    """

    def __init__(
        self,
        nodes: Sequence[str],
        parents: Mapping[str, str],
        ranges: Mapping[str, str] | None = None,
        chapters: Mapping[str, str] | None = None,
    ) -> None:
        self._ranges, self._chapters = dict(ranges or {}), dict(chapters or {})
        self._nodes = _in_order(nodes, parents)
        self._at = {node: i for i, node in enumerate(self._nodes)}
        self._parents = parents
        self._end = self._ends()
        self._sorted = sorted(node for node in self._nodes if re.fullmatch(_CODE, node))
        self._known: dict[str, Found] = {}

    def __call__(self, text: str) -> Found:
        """Return what a note names: the codes in parentheses; if those name nothing, the ones in the running text."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._resolve(text)
        return found

    def _resolve(self, text: str) -> Found:
        inside = [(match[1], text[match.end() :]) for match in _INSIDE.finditer(text)]
        found = [self._of(part, after) for part, after in inside if NAMED.search(part)]
        found += [Found(tuple(self._of_chapters(part))) for part, _ in inside if _CHAPTER.search(part)]
        if not any(part.nodes or part.unclear for part in found):
            bare = self._of(text, "")
            missing = tuple(code for part in found for code in part.missing)
            if bare.nodes or bare.unclear:
                found = [bare._replace(missing=missing)]
            elif not missing:
                found = [Found(tuple(self._of_chapters(text)))]
        return Found(
            tuple(dict.fromkeys(node for part in found for node in part.nodes)),
            tuple(dict.fromkeys(code for part in found for code in part.missing)),
            "; ".join(part.unclear for part in found if part.unclear),
        )

    def _of_chapters(self, text: str) -> Iterator[str]:
        for match in _CHAPTER.finditer(text):
            if chapter := self._chapters.get(match[1].upper()):
                yield chapter

    def _of(self, text: str, after: str) -> Found:
        """Return what a text names, `after` being what follows its closing parenthesis.

        Outside of parentheses only conditions about characters count: all else may be about anything.
        """
        named = list(NAMED.finditer(text))
        if not named:
            return Found()
        inner, outer = _WITH.match(text, named[-1].end()), _WITH.match(after)
        said = inner or (outer if outer and _CHARACTER.match(outer[1]) else None)
        condition = _condition(said[1]) if said else None
        if said and condition is None:
            return Found(unclear=f"with {said[1].strip()}")
        nodes: list[str] = []
        missing: list[str] = []
        for match in named:
            first, last = match[1], match[2]
            found = self._between(first, last) if last else self._one(first, match[0])
            if condition:
                found = self._cover(found, partial(condition, named=len(first.replace(".", ""))))
            nodes += found
            if not found:
                missing.append(match[0])
        return Found(tuple(nodes), tuple(missing))

    # -- codes and ranges --------------------------------------------------------------------------------------

    def _one(self, code: str, written: str) -> list[str]:
        """Return the node of a code; for one with a dash that is no node of its own, the topmost ones it begins."""
        if code in self._at:
            return [code]
        if written == code:
            return []
        start = bisect_left(self._sorted, code)
        below = self._sorted[start : bisect_left(self._sorted, code + "~")]
        return [node for node in below if not self._parents.get(node, "").startswith(code)]

    def _between(self, first: str, last: str) -> list[str]:
        """Return the section that is a range, or the topmost nodes from one code to another, the last one whole."""
        if section := self._ranges.get(f"{first}-{last}"):
            return [section]
        start, stop = self._at.get(first), self._at.get(last)
        if start is None or stop is None or stop < start:
            inner = [node for node in self._sorted if first <= node and (node <= last or node.startswith(last))]
            inside = set(inner)
            return [node for node in inner if self._parents.get(node) not in inside]
        found = []
        end = self._end[stop]
        while start < end:
            if self._end[start] <= end:
                found.append(self._nodes[start])
                start = self._end[start]
            else:
                start += 1
        return found

    def _cover(self, nodes: Iterable[str], matches: Callable[[str], bool]) -> list[str]:
        """Return the topmost nodes, among and below these, all of whose leaves match.

        A node with one child counts as that child, unless it matches as well: `E10.4` is not "E10 with .41".
        """
        found: list[str] = []
        for node in nodes:
            found += self._covered(self._at[node], matches)[0]
        return found

    def _covered(self, i: int, matches: Callable[[str], bool]) -> tuple[list[str], bool]:
        """Return the topmost matching nodes from position i down, and whether that is the node itself."""
        node, end = self._nodes[i], self._end[i]
        if end == i + 1:
            whole = matches(node.replace(".", ""))
            return ([node] if whole else []), whole
        below: list[str] = []
        every = True
        child = i + 1
        while child < end:
            part, whole = self._covered(child, matches)
            below += part
            every = every and whole
            child = self._end[child]
        every = every and (self._end[i + 1] < end or matches(node.replace(".", "")))
        return ([node], True) if every else (below, False)

    def _ends(self) -> list[int]:
        """Return for each position the one after the last node below it."""
        ends = list(range(1, len(self._nodes) + 1))
        for i in range(len(self._nodes) - 1, -1, -1):
            parent = self._parents.get(self._nodes[i])
            if parent is not None:
                ends[self._at[parent]] = max(ends[self._at[parent]], ends[i])
        return ends


def is_heading(text: str) -> bool:
    """Tell whether a text only heads those after it: "meningitis (in):"."""
    return text.rstrip().endswith(":")


def exclusions(node: str, texts: Sequence[str], refer: Callable[[str], Found], source: str) -> Iterator[Rule]:
    """Yield a soft rule for each exclusion note of a node that names other nodes.

    An item of a list is told with what heads the list. Items and notes are each in the order of the alphabet, so a
    list is over where that order breaks.

    Args:
        node: where the notes stand.
        texts: the notes, in the order of the book.
        refer: what a text names, such as a `References`.
        source: what to call the notes, such as "excludes1 note".

    >>> refer = References(["A00", "A01", "A02"], {})
    >>> for rule in exclusions("A00", ["rust (of):", "wheel (A01)", "paint (A02)"], refer, "exclusion"):
    ...     print(rule.others, rule.note)
    ('A01',) rust (of): wheel (A01)
    ('A02',) paint (A02)
    """
    heading = last = ""
    for text in texts:
        if is_heading(text):
            heading, last = text, ""
            continue
        if heading and text.casefold() < last:
            heading = ""
        last = text.casefold()
        others = tuple(other for other in refer(text).nodes if other != node)
        if others:
            yield Rule("excludes", node, others, "soft", note=f"{heading} {text}".lstrip(), source=source)


def _in_order(nodes: Sequence[str], parents: Mapping[str, str]) -> list[str]:
    """Return the nodes with all that lies below each right after it, siblings as given."""
    children: dict[str, list[str]] = {}
    for node in reversed(dict.fromkeys(nodes)):
        children.setdefault(parents.get(node, ""), []).append(node)
    todo, found = list(children.get("", ())), []
    while todo:
        node = todo.pop()
        found.append(node)
        todo += children.get(node, ())
    return found


def _condition(text: str) -> Condition | None:
    """Return what "with …" asks of a whole code, or None if it is in other words.

    >>> fifth = _condition("fifth or sixth character 1-4 or 6")
    >>> [fifth(code, 3) for code in ("T360X1A", "T3695XA", "T45525A")]  # the place that tells the intent is the last
    [True, False, False]
    >>> _condition(".41, .5")("E0841", 3), _condition("7th character B")("S12000A", 3), _condition("fever")
    (True, False, None)
    """
    if found := _CHARACTER.match(text):
        first, join, second, said = found.groups()
        places = [next(n for word, n in _PLACES.items() if name.startswith(word)) for name in (first, second) if name]
        values = list(_values(said))
        if not values:  # "to indicate intent": any will do; but a range that runs backwards says nothing
            return None if _VALUE.search(said) else lambda whole, named: True
        if join == "or":
            return lambda whole, named: _last_told(whole) in {(place, v) for place in places for v in values}
        start, stop = places[0] - 1, places[-1]
        return lambda whole, named: whole[start:stop] in values
    if found := _FINAL.match(text):
        return lambda whole, named: whole.endswith(found[1]) and len(whole) > named + len(found[1])
    suffixes = _SUFFIX.findall(text)
    if suffixes and not _SUFFIX.sub("", text).strip(" ,.-)"):
        between = re.fullmatch(r"\.([0-9]+)-\.([0-9]+)", text.strip())
        if between and len(between[1]) == len(between[2]):
            suffixes = [str(n).zfill(len(between[1])) for n in range(int(between[1]), int(between[2]) + 1)]
        return lambda whole, named: whole[named:].startswith(tuple(suffixes))
    return None


def _values(text: str) -> Iterator[str]:
    """Yield the characters of "1-4 or 6", "B or C", "51"."""
    for first, last, alone in _VALUE.findall(text):
        yield from [alone] if alone else map(chr, range(ord(first), ord(last) + 1))


def _last_told(whole: str) -> tuple[int, str]:
    """Return place (from 1) and value of the last character before the seventh that is no placeholder."""
    told = whole[:_BEFORE_SEVENTH].rstrip(_PLACEHOLDER)
    return len(told), told[-1:]
