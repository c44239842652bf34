"""The page's files, and the pieces of HTML that its sections share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files

from hclf._version import __version__


def resource(name: str) -> str:
    """Return the text of a file of the page."""
    return (files("hclf.report") / "_page" / name).read_text("utf-8").rstrip("\n")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with `{{name}}` replaced, in one pass: values are never looked into."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def html_page(
    body: str, values: Mapping[str, str], *, title: str, subtitle: str, css: Sequence[str], js: str, kind: str = ""
) -> str:
    """Return a whole page: the frame that all share around a body of its own.

    Args:
        body: name of its file.
        values: what to fill in there, as HTML.
        title, subtitle: texts.
        css, js: names of files.
        kind: class of the page's body, for style.
    """
    generator = f"hclf {escape(__version__)}"
    page = fill(
        resource("frame.html"),
        {
            "title": escape(title),
            "subtitle": escape(subtitle),
            "generator": generator,
            "css": "\n".join(map(resource, css)),
            "js": resource(js),
            "kind": f' class="{kind}"' if kind else "",
            "body": fill(resource(body), {**values, "generator": generator}),
        },
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # half a character would make the file unwritable


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
