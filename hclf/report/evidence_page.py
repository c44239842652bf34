"""Explanations as one self-contained HTML page: works from a file, asks the network for nothing.

Each document stands beside its answers. A document's text is cut where a span of any of its explanations begins or
ends; what an answer marks is a list of ranges of these pieces, so the page's script has nothing to compute. Without
the script every answer still names its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from hclf.evidence import Contrast, Explanation, Span
from hclf.report.evidence import said
from hclf.report.template import html_bar, html_page
from hclf.taxonomy import Taxonomy
from hclf.wording import counted


class Explained(NamedTuple):
    """A document and the explanations of its nodes."""

    id: str
    fields: Mapping[str, str]
    explanations: Sequence[Explanation]


class _Pieces(NamedTuple):
    """A document's text in pieces: HTML of each field, and (field, offset) -> the piece that begins there."""

    html: dict[str, str]
    place: dict[tuple[str, int], int]

    def ranges(self, spans: Iterable[Span]) -> str:
        """Return spans as the script reads them: `first-end:value`, pieces from first up to but not including end."""
        return " ".join(
            f"{self.place[s.field, s.start]}-{self.place[s.field, s.end]}:{s.value:.3f}" for s in spans if s.end
        )


def evidence_page(taxonomy: Taxonomy, documents: Sequence[Explained], *, title: str = "Evidence") -> str:
    """Return the page, with the texts of the documents.

    Args:
        taxonomy: of the nodes.
        documents: with explanations.
        title: what stands at the top.

    Returns:
        HTML; equal arguments give equal pages.
    """
    name = " ".join(filter(None, [taxonomy.title or taxonomy.id, taxonomy.version]))
    counts = {"document": len(documents), "explained node": sum(len(d.explanations) for d in documents)}
    said_of = [counted(n, what) for what, n in counts.items()]
    return html_page(
        "evidence.html",
        {"documents": "\n".join(_document(taxonomy, i, d) for i, d in enumerate(documents))},
        title=title,
        subtitle=" · ".join([*said_of, name]),
        css=("page.css", "evidence.css"),
        js="evidence.js",
        kind="evidence",
    )


def _document(taxonomy: Taxonomy, number: int, document: Explained) -> str:
    specific = set(taxonomy.most_specific(e.node for e in document.explanations))
    told = sorted((e for e in document.explanations if e.node in specific), key=lambda e: -e.score)
    above = [e for e in document.explanations if e.node not in specific]
    pieces = _cut(document)
    fields = "".join(
        f'<p class="field">{f"<b>{escape(name)}</b> " if len(document.fields) > 1 else ""}{pieces.html[name]}</p>'
        for name, text in document.fields.items()
        if text
    )
    codes = "".join(_code(e, document.fields, pieces) for e in told)
    if above:
        inside = "".join(_code(e, document.fields, pieces) for e in above)
        codes += f"<details><summary>{len(above)} above</summary>{inside}</details>"
    if not document.explanations:
        codes = '<p class="none">Unknown: no node passed its threshold.</p>'
    return (
        f'<section class="document" id="d{number}" aria-label="Document {escape(document.id)}">\n'
        f"<h2>{escape(document.id)}</h2>\n"
        f'<div class="beside"><div class="text">{fields}</div><div class="codes">{codes}</div></div>\n</section>'
    )


def _cut(document: Explained) -> _Pieces:
    """Return the text in pieces, numbered through all fields."""
    inside: dict[str, set[int]] = {name: set() for name in document.fields}
    bounds = {name: {0, len(text)} for name, text in document.fields.items()}
    for span in (span for e in document.explanations for span in _all_spans(e)):
        if span.end:
            bounds[span.field] |= {span.start, span.end}
    for name in document.fields:
        cuts = sorted(bounds[name])
        for span in (span for e in document.explanations for span in _all_spans(e)):
            if span.end and span.field == name:
                inside[name].update(cut for cut in cuts if span.start <= cut < span.end)
    html, place, number = {}, {}, 0
    for name, text in document.fields.items():
        parts, cuts = [], sorted(bounds[name])
        for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
            place[name, start] = number
            piece = escape(text[start:end])
            parts.append(f'<span class="w" data-w="{number}">{piece}</span>' if start in inside[name] else piece)
            number += 1
        html[name] = "".join(parts)
    return _Pieces(html, place)


def _all_spans(e: Explanation) -> Iterable[Span]:
    yield from (*e.spans, *e.against)
    if e.contrast:
        yield from (*e.contrast.spans, *e.contrast.against)


def _code(e: Explanation, fields: Mapping[str, str], pieces: _Pieces) -> str:
    facts = [
        *(["not predicted"] if not e.predicted else []),
        *(["no examples"] if e.cold_start else []),
        *([f"through {e.through}"] if e.through else []),
    ]
    threshold = "" if e.threshold is None else f" {'≥' if e.score >= e.threshold else '<'} {e.threshold:.2f}"
    ranges = pieces.ranges((*e.spans, *e.against))
    button = (
        f'<button type="button" class="code" aria-pressed="false" data-spans="{ranges}">'
        f"<b>{escape(e.name)}</b>{f' <code>{escape(e.node)}</code>' if e.name != e.node else ''}"
        f'<span class="score">{e.score:.2f}<small>{threshold}</small>{html_bar(e.score)}</span></button>'
    )
    notes = f'<p class="dim">{escape(", ".join(facts))}</p>' if facts else ""
    body = _words("for", e.spans, fields) if e.spans else '<p class="none">no evidence found</p>'
    body += _words("against", e.against, fields)
    return f'<div class="answer">{button}{notes}{body}{_rather(e.contrast, fields, pieces)}</div>'


def _rather(contrast: Contrast | None, fields: Mapping[str, str], pieces: _Pieces) -> str:
    if contrast is None:
        return ""
    name = f" <code>{escape(contrast.node)}</code>" if contrast.name != contrast.node else ""
    ranges = pieces.ranges((*contrast.spans, *contrast.against))
    return (
        f'<button type="button" class="code rather" aria-pressed="false" data-spans="{ranges}">'
        f'rather than {escape(contrast.name)}{name}<span class="score">{contrast.score:.2f}</span></button>'
        f"{_words('more for it', contrast.spans, fields)}{_words('more for the sibling', contrast.against, fields)}"
    )


def _words(what: str, spans: Sequence[Span], fields: Mapping[str, str]) -> str:
    if not spans:
        return ""
    words = ", ".join(
        f'<span{_title(s)}><q>{escape(said(s, fields))}</q> <span class="{"better" if s.value > 0 else "worse"}">'
        f"{s.value:+.2f}</span></span>"
        for s in spans
    )
    return f'<p class="words"><span class="dim">{what}</span> {words}</p>'


def _title(span: Span) -> str:
    return f' title="{escape(f"{span.source}: {span.why}" if span.why else span.source)}"'
