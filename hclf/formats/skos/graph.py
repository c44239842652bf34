"""RDF files as graphs, through rdflib: nothing fetched, no declarations that could blow up, faults with lines."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin
from xml.sax import SAXParseException

from hclf.errors import MissingExtraError
from hclf.formats import _json
from hclf.formats._files import fail, read_text
from hclf.formats._xml import elements

if TYPE_CHECKING:
    from rdflib import Graph

MAX_BYTES = 1 << 28  # rdflib holds about ten times as much
SYNTAXES = {
    ".ttl": "turtle",
    ".nt": "nt",
    ".jsonld": "json-ld",
    ".rdf": "xml",
    ".xml": "xml",
    ".owl": "xml",
}
BASE = "http://file.invalid/"  # what relative IRIs are relative to: nothing that could be fetched (RFC 2606)
NAMES = {"nt": "N-Triples", "turtle": "Turtle", "xml": "RDF/XML", "json-ld": "JSON-LD"}
PLACE = re.compile(r"None:(\d+):\d+: ")
REST = "Invalid line: "  # after this, rdflib shows the part of a line of N-Triples that it could not read


def require() -> None:
    """Raise MissingExtraError unless rdflib is installed."""
    try:
        import rdflib  # noqa: F401
    except ImportError:
        raise MissingExtraError("SKOS", "skos") from None


def syntax(path: str | Path) -> str:
    """Return rdflib's name of the syntax a file's suffix stands for; Turtle when it says nothing."""
    return SYNTAXES.get(Path(str(path).removesuffix(".gz")).suffix.lower(), "turtle")


def load(path: str | Path) -> tuple[Graph, str]:
    """Return the graph of an RDF file, and the file's text; to be called inside `quiet`.

    Raises:
        TaxonomyError: not readable, not of the syntax its suffix says, or asking for something to be fetched.
    """
    from rdflib import Graph

    kind = syntax(path)
    if kind == "xml":
        for _ in elements(path, ()):  # refuses what could blow up, and has better words than rdflib
            pass
    if kind == "json-ld":
        value, _ = _json.load(path)
        remote = _remote_context(value)
        if remote is not None:
            fail(f"the JSON-LD context {remote[:200]!r} would have to be fetched; put the context itself here", path)
    text = read_text(path, limit=MAX_BYTES)
    graph = Graph()
    try:
        graph.parse(data=text, format=kind, publicID=BASE)
    except RecursionError:
        fail("nested too deeply", path)
    except Exception as error:  # rdflib's parsers raise whatever comes up
        message, line = _complaint(error, text)
        fail(f"not {NAMES[kind]}: {message[:200]}", path, line)
    return graph, text


@contextmanager
def quiet() -> Iterator[None]:
    """Keep rdflib from printing what it thinks of dates and IRIs; what matters of it becomes a fault."""
    logger = logging.getLogger("rdflib")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses classes of its own that it has deprecated
            yield
    finally:
        logger.setLevel(level)


def _remote_context(value: Any) -> str | None:
    """Return a context of a JSON-LD document that is only named, or None if it has no such."""
    waiting: list[tuple[Any, bool]] = [(value, False)]
    while waiting:
        item, is_context = waiting.pop()
        if isinstance(item, str) and is_context:
            return item
        if isinstance(item, dict):
            waiting += [(inner, key in ("@context", "@import")) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(inner, is_context) for inner in item]
    return None


def _complaint(error: Exception, text: str) -> tuple[str, int]:
    """Return what rdflib complains of, and the line as far as it tells."""
    said = " ".join(str(error).split())
    line = getattr(error, "lines", -1)
    why = getattr(error, "_why", "")  # of Turtle: the whole message repeats the file around the place
    if isinstance(error, SAXParseException):
        return error.getMessage(), error.getLineNumber() or 0
    if found := PLACE.search(said):
        return said[found.end() :], int(found[1])
    if rest := said.partition(REST)[2]:
        number = (n for n, given in enumerate(text.splitlines(), 1) if " ".join(given.split()).endswith(rest))
        return f"cannot read {rest!r}", next(number, 0)
    return (" ".join(why.split()) if isinstance(why, str) and why else said), line + 1 if isinstance(line, int) else 0


# -- lines -----------------------------------------------------------------------------------------------------

SUBJECT = re.compile(r'^\s*(?:<([^<>"\s]+)>|([\w.-]*):([^\s;,]*))(?:\s|$)')
NAMED = re.compile(r'(?:rdf:about|rdf:ID|"@id")\s*[=:]\s*["\']([^"\']+)["\']')


def subject_lines(text: str, graph: Graph) -> dict[str, int]:
    """Return IRI -> line on which a subject most likely stands: rdflib itself forgets where it read what."""
    prefixes = {prefix: str(namespace) for prefix, namespace in graph.namespaces()}
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if (subject := SUBJECT.match(line)) and not line[:1].isspace():
            iri, prefix, name = subject.groups()
            found.setdefault(urljoin(BASE, iri) if iri else prefixes.get(prefix, f"{prefix}:") + name, number)
        elif named := NAMED.search(line):
            found.setdefault(urljoin(BASE, named[1]), number)
    return found
