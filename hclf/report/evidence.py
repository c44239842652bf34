"""Explanations in a terminal: the text with the words that speak for each answer in a colour of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from hclf.evidence import Explanation, Span
from hclf.taxonomy import Taxonomy

# Characters that would command a terminal, as visible ones of the same length: offsets stay right.
VISIBLE = {code: chr(0x2400 + code) for code in range(32)} | dict.fromkeys(range(127, 160), "�")
VISIBLE |= {ord("\n"): "\n", ord("\r"): " ", ord("\t"): " "}
COLOURS = ("green", "cyan", "magenta", "yellow", "blue", "red")


def evidence_text(
    taxonomy: Taxonomy, id: str, fields: Mapping[str, str], explanations: Sequence[Explanation]
) -> RenderableType:
    """Draw one document with its evidence.

    Most specific nodes have a colour, in which their words are marked in the text, and are told in full; nodes above
    them are told in one line.

    Args:
        taxonomy: of the nodes.
        id, fields: of the document; the text is shown.
        explanations: of its nodes.
    """
    specific = set(taxonomy.most_specific(e.node for e in explanations))
    told = [e for e in explanations if e.node in specific]
    above = [e for e in explanations if e.node not in specific]
    colours = {e.node: COLOURS[i % len(COLOURS)] for i, e in enumerate(told)}
    fields = {name: text.translate(VISIBLE) for name, text in fields.items()}
    lines: list[RenderableType] = [Text(id.translate(VISIBLE), "bold")]
    lines += [
        Padding(_marked(name, text, told, colours), (0, 0, 0, 2), expand=False)
        for name, text in fields.items()
        if text
    ]
    if not explanations:
        lines.append(Text("  unknown: no node passed its threshold", "yellow"))
    for e in told:
        lines += [Padding(line, (0, 0, 0, 2), expand=False) for line in _told(e, colours[e.node], fields)]
    if above:
        lines.append(Padding(_above(above), (0, 0, 0, 2), expand=False))
    return Group(*lines, Text())


def _marked(name: str, text: str, told: Iterable[Explanation], colours: Mapping[str, str]) -> Text:
    """Return a field with the words of each node in its colour; the strongest wins where several have the same."""
    marked = Text(text)
    found = [(span, e.node) for e in told for span in e.spans if span.field == name and span.end]
    for span, node in sorted(found, key=lambda pair: pair[0].value):
        marked.stylize(f"bold {colours[node]} underline", span.start, span.end)
    return Text.assemble((f"{name}: ", "dim"), marked)


def _told(e: Explanation, colour: str, fields: Mapping[str, str]) -> Iterable[Text]:
    head = Text.assemble(("■ ", colour), (e.name, f"bold {colour}"))
    if e.name != e.node:
        head.append(f"  {e.node}", "dim")
    head.append(f"  {e.score:.2f}", "cyan")
    if e.threshold is not None:
        head.append(f" {'≥' if e.score >= e.threshold else '<'} {e.threshold:.2f}", "dim")
    for what, on in (("not predicted", not e.predicted), ("no examples", e.cold_start)):
        if on:
            head.append(f"  ({what})", "dim")
    if e.through:
        head.append(f"  through {e.through}", "dim")
    yield head
    yield _words("for", e.spans, fields) if e.spans else Text("  no evidence found", "yellow")
    if e.against:
        yield _words("against", e.against, fields)
    if e.contrast:
        c = e.contrast
        yield Text.assemble(
            ("  rather than ", "dim"), c.name, (f" {c.node}" if c.name != c.node else "", "dim"), f" {c.score:.2f}"
        )
        if c.spans:
            yield _words("  more for it", c.spans, fields)
        if c.against:
            yield _words("  more for the sibling", c.against, fields)


def _words(what: str, spans: Iterable[Span], fields: Mapping[str, str]) -> Text:
    line = Text(f"  {what}: ", "dim")
    for i, span in enumerate(spans):
        line.append(" · " if i else "", "dim")
        line.append(said(span, fields), "default")
        line.append(f" {span.value:+.2f}", "green" if span.value > 0 else "red")
        if span.why:
            line.append(f" ({span.why})", "dim")
    return line


def said(span: Span, fields: Mapping[str, str]) -> str:
    """Return the words of a span on one line; of a number, which it is."""
    return " ".join(fields[span.field][span.start : span.end].split()) if span.end else span.field


def _above(above: Iterable[Explanation]) -> Text:
    line = Text("above: ", "dim")
    for i, e in enumerate(above):
        line.append(", " if i else "", "dim")
        line.append(e.name)
        line.append(f" {e.score:.2f}", "cyan")
        if e.through:
            line.append(f" through {e.through}", "dim")
        elif not e.spans:
            line.append(" no evidence found", "yellow")
    return line
