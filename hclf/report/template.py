"""The page's files, and the pieces of HTML that its sections share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files


def resource(name: str) -> str:
    """Return the text of a file of the page."""
    return (files("hclf.report") / "_page" / name).read_text("utf-8").rstrip("\n")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with `{{name}}` replaced, in one pass: values are never looked into."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def html_bar(share: float) -> str:
    """Return a bar as long as a share."""
    return f'<span class="bar"><i style="width:{100 * min(max(share, 0), 1):.0f}%"></i></span>'


def html_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, wide: bool = False, text: int = 1) -> str:
    """Return a table; headers are escaped here, cells are HTML already. The first `text` columns stand left."""
    head = "".join(f"<th{_text_class(i < text)}>{escape(header)}</th>" for i, header in enumerate(headers))
    body = "\n".join(
        "<tr>" + "".join(f"<td{_text_class(i < text)}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    kind = ' class="wide"' if wide else ""
    head = f"<thead><tr>{head}</tr></thead>" if any(headers) else ""
    return f'<div class="scroll"><table{kind}>{head}<tbody>\n{body}\n</tbody></table></div>'


def _text_class(left: bool) -> str:
    return ' class="text"' if left else ""
