"""The syntax of OBO: stanzas of tags, quoted texts, escapes, qualifiers and comments.

Texts are taken apart character by character, as each of `!`, `{` and `"` may be escaped, or stand in a text where it
means itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hclf.formats._draft import MAX_FAULTS
from hclf.formats._files import lines

MEANT = {"n": "\n", "t": "\t", "W": " "}  # after a backslash; anything else means itself
WRITTEN = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": " ", "\0": " "}
TAG = re.compile(r"([^\s:!{\"]+):")
STANZA = re.compile(r"\[([^\]]+)\]\s*(?:!.*)?")
PIECE = re.compile(r'\\.|"|[^\\"]+', re.DOTALL)
QUALIFIERS = re.compile(r'\{\s*(?:[^\s="{},]+\s*=\s*"(?:\\.|[^"\\])*"\s*(?:,\s*)?)+\}$', re.DOTALL)
QUALIFIER = re.compile(r'([^\s="{},]+)\s*=\s*"((?:\\.|[^"\\])*)"', re.DOTALL)
LANGUAGE_KEYS = ("lang", "language", "xml:lang")


class Tag(NamedTuple):
    """One line of a stanza: its tag, its value as it stands (without comment and qualifiers), its qualifiers."""

    name: str
    value: str
    line: int
    qualifiers: dict[str, str]

    @property
    def text(self) -> str:
        """The value with its escapes resolved."""
        return plain(self.value)

    @property
    def language(self) -> str:
        """The language that a qualifier states, or ""."""
        return next((self.qualifiers[key] for key in LANGUAGE_KEYS if key in self.qualifiers), "")


@dataclass
class Stanza:
    """A stanza: its kind ("" for the header), its line, its tags, and what could not be read of it."""

    kind: str
    line: int
    tags: list[Tag]
    faults: list[tuple[int, str]]


def stanzas(path: str | Path) -> Iterator[Stanza]:
    """Yield the header, then every stanza of a file.

    Raises:
        TaxonomyError: the file cannot be read.
    """
    stanza = Stanza("", 1, [], [])
    for line, text in _whole_lines(path):
        if found := STANZA.fullmatch(text):
            yield stanza
            stanza = Stanza(found[1].strip(), line, [], [])
        elif text and not text.startswith("!"):
            tag = TAG.match(text)
            if tag:
                value, qualifiers = _value(text[tag.end() :])
                stanza.tags.append(Tag(tag[1], value, line, qualifiers))
            elif len(stanza.faults) <= MAX_FAULTS:
                stanza.faults.append((line, "neither a tag with a value (name: text) nor a stanza ([Term])"))
    yield stanza


def _whole_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text without white space around it); a line that ends in a backslash goes on in the next."""
    begun: list[str] = []
    number = 0
    for line, text in lines(path):
        number = number or line
        text = text.rstrip("\r\n")
        if (len(text) - len(text.rstrip("\\"))) % 2:
            begun.append(text[:-1])
            continue
        yield number, _stripped("".join([*begun, text]))
        begun, number = [], 0
    if begun:
        yield number, _stripped("".join(begun))


def _stripped(text: str) -> str:
    return text.strip(" \t")


def _value(text: str) -> tuple[str, dict[str, str]]:
    """Return a value as it stands and its qualifiers, without the comment behind it."""
    text = _stripped(_before_comment(text))
    found = QUALIFIERS.search(text) if text.endswith("}") else None
    if not found or _is_escaped(text, found.start()):
        return text, {}
    qualifiers = {key: plain(value) for key, value in QUALIFIER.findall(found[0])}
    return _stripped(text[: found.start()]), qualifiers


def _before_comment(text: str) -> str:
    """Return what stands before a `!` that is neither escaped nor inside quotes."""
    if "!" not in text:
        return text
    quoted, at, unquoted = False, 0, len(text)
    for piece in PIECE.findall(text):
        if piece == '"':
            quoted = not quoted
        elif "!" in piece and piece[0] != "\\":
            place = at + piece.index("!")
            if not quoted:
                return text[:place]
            unquoted = min(unquoted, place)
        at += len(piece)
    return text[:unquoted] if quoted else text  # a quote that is never closed is none: `name: 5" pipe ! a comment`


def _is_escaped(text: str, at: int) -> bool:
    before = text[:at]
    return bool((len(before) - len(before.rstrip("\\"))) % 2)


def plain(text: str) -> str:
    r"""Return a text with its escapes resolved.

    >>> plain(r"a\, b\nc \{d\}")
    'a, b\nc {d}'
    """
    if "\\" not in text:
        return text
    return "".join(
        MEANT.get(piece[1], piece[1]) if piece[0] == "\\" and piece[1:] else piece
        for piece in re.findall(r"\\.|[^\\]+|\\", text, re.DOTALL)
    )


def escaped(text: str, characters: str) -> str:
    r"""Return a text in which backslashes, line ends, tabs and some characters are escaped; `plain` undoes it.

    >>> escaped('say "{}"', '"{')
    'say \\"\\{}\\"'
    """
    found = "".join(WRITTEN.get(c, f"\\{c}" if c in characters else c) for c in text)
    if found != found.strip():  # what stands at the ends would be taken for layout
        inner = found.strip()
        before = found[: len(found) - len(found.lstrip())]
        after = found[len(before) + len(inner) :]
        found = before.replace(" ", "\\W") + inner + after.replace(" ", "\\W")
    return found


class Quoted(NamedTuple):
    """A quoted text, and what stands behind it."""

    text: str
    rest: str


def quoted(value: str) -> Quoted | None:
    """Return the quoted text a value begins with, or None if it begins with none."""
    found = re.match(r'"((?:\\.|[^"\\])*)"', value, re.DOTALL)
    return Quoted(plain(found[1]), _stripped(value[found.end() :])) if found else None


def listed(rest: str) -> tuple[list[str], list[str]]:
    """Return (words before the first bracket, items of the list in brackets): `EXACT layperson [A:1, B:2 "said"]`."""
    before, bracket, inside = rest.partition("[")
    items: list[str] = []
    if bracket:
        for item in re.findall(r'(?:\\.|"(?:\\.|[^"\\])*"|[^,\]\\"]|["\\])+', inside.rpartition("]")[0], re.DOTALL):
            if reference := _stripped(item).partition(' "')[0].strip():
                items.append(plain(reference))
    return before.split(), items
