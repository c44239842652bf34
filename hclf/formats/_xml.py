"""XML in: streamed, with line numbers, and without anything a document type declaration could bring in.

The standard library's `iterparse` knows no lines and cannot refuse a declaration; expat, which is below it, can do
both. A declaration is all that entity bombs and files fetched from elsewhere need. Readers of formats whose files
have one by rule (ClaML) allow those that only name a DTD: it is never opened, so what it defines stays unknown.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import IO
from xml.parsers import expat

from hclf.formats._files import _open as open_bytes
from hclf.formats._files import fail

MAX_BYTES = 1 << 28  # of one file, unpacked; the largest release we know has 10 MB
MAX_DEPTH = 100  # readers walk down by recursion
CHUNK = 1 << 16


class Element:
    """One element: its tag, attributes, line (from 1), and texts and elements inside it in their order."""

    __slots__ = ("attributes", "content", "line", "tag")

    def __init__(self, tag: str, attributes: dict[str, str], line: int) -> None:
        self.tag, self.attributes, self.line = tag, attributes, line
        self.content: list[Element | str] = []

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements directly inside."""
        return (item for item in self.content if isinstance(item, Element))

    def child(self, tag: str) -> Element | None:
        """Return the first element directly inside that has this tag, or None."""
        return next((item for item in self if item.tag == tag), None)

    def text(self, skip: Container[str] = ()) -> str:
        """Return all text inside in one line, without that of elements whose tag is in `skip`."""
        return " ".join("".join(self._texts(skip)).split())

    def _texts(self, skip: Container[str]) -> Iterator[str]:
        for item in self.content:
            if isinstance(item, str):
                yield item
            elif item.tag not in skip:
                yield from item._texts(skip)


def elements(path: str | Path, tags: Container[str], *, doctype: bool = False) -> Iterator[Element]:
    """Yield, complete, every element that has one of these tags and lies in no other such element.

    Args:
        path: the file; unpacked if its name ends in `.gz`.
        tags: what to yield. Everything around it is read and forgotten.
        doctype: whether the file may name a DTD (`<!DOCTYPE ClaML SYSTEM "ClaML.dtd">`), which is not looked for.

    Raises:
        TaxonomyError: not readable, not well-formed, too large or too deep, or with a document type declaration
            other than one that is allowed.
    """
    path = Path(path)
    builder = _Builder(path, tags, doctype)
    with open_bytes(path) as handle:
        for chunk in _chunks(handle, path):
            builder.feed(chunk)
            yield from builder.take()
        builder.feed(b"", last=True)
        yield from builder.take()


def root_tag(path: str | Path, *, doctype: bool = False) -> str:
    """Return the tag of a file's outermost element; arguments and errors as those of `elements`."""
    path = Path(path)
    builder = _Builder(path, (), doctype)
    with open_bytes(path) as handle:
        for chunk in _chunks(handle, path):
            builder.feed(chunk)
            if builder.root:
                return builder.root
        builder.feed(b"", last=True)  # expat's words for a file without any element
    return builder.root


def _chunks(handle: IO[bytes], path: Path) -> Iterator[bytes]:
    left = MAX_BYTES
    while chunk := handle.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            fail(f"more than {MAX_BYTES:,} bytes of XML", path)
        yield chunk


class _Builder:
    """Turns expat's events into elements."""

    def __init__(self, path: Path, tags: Container[str], doctype: bool) -> None:
        self.path, self.tags, self.doctype, self.root = path, tags, doctype, ""
        self._depth = 0
        self._open: list[Element] = []
        self._done: list[Element] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, chunk: bytes, last: bool = False) -> None:
        try:
            self._parser.Parse(chunk, last)
        except expat.ExpatError as error:
            fail(f"not well-formed XML: {expat.ErrorString(error.code)}", self.path, error.lineno, error.offset + 1)
        except (LookupError, ValueError) as error:  # Python is asked for encodings that expat does not have
            fail(f"cannot be decoded as the encoding it states: {error}", self.path, self._parser.CurrentLineNumber)

    def take(self) -> list[Element]:
        done, self._done = self._done, []
        return done

    def _doctype(self, _root: str, _system: str | None, _public: str | None, has_subset: int) -> None:
        if has_subset or not self.doctype:
            what = "a document type declaration (<!DOCTYPE …>)"
            message = f"{what}, which can hold entity bombs; remove it if you trust it"
            fail(message, self.path, self._parser.CurrentLineNumber)
        # With a DTD that is not read, expat passes over unknown entities; in texts it says so, in attributes not.
        self._parser.SkippedEntityHandler = self._entity

    def _entity(self, name: str, _is_parameter: int) -> None:
        fail(f"&{name}; stands for something in a DTD, which is not read", self.path, self._parser.CurrentLineNumber)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = self.root or tag
        self._depth += 1
        line = self._parser.CurrentLineNumber
        if self._depth > MAX_DEPTH:
            fail(f"elements nested more than {MAX_DEPTH} deep", self.path, line)
        if self._open or tag in self.tags:
            element = Element(tag, attributes, line)
            if self._open:
                self._open[-1].content.append(element)
            self._open.append(element)

    def _end(self, _tag: str) -> None:
        self._depth -= 1
        if self._open:
            element = self._open.pop()
            if not self._open:
                self._done.append(element)

    def _characters(self, text: str) -> None:
        if self._open:
            self._open[-1].content.append(text)
