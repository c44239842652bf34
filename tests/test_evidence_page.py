"""Explanations on a page and in a terminal: every word where it is, nothing breaks out, and a browser shows it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hclf.evidence import Contrast, Explanation, Span
from hclf.report.evidence import evidence_text
from hclf.report.evidence_page import Explained, evidence_page
from hclf.taxonomy import Node, Taxonomy

EVIL = '</script></span><b id="owned" onclick="x">&{{css}}"\'<!--'
ILLS = Taxonomy(
    [Node(i, {"en": n}) for i, n in {"E": "Endocrine", "E10": "Type 1", "E11": "Type 2"}.items()],
    [("E", "E10"), ("E", "E11")],
    title="Ills",
)
TEXT = "An elderly 😀 lady,\r\ntype two, on insulin"


def span(text: str, word: str, value: float, why: str = "", field: str = "text") -> Span:
    return Span(field, text.index(word), text.index(word) + len(word), value, "linear", why)


def explanation(node: str, spans: tuple[Span, ...] = (), **more: Any) -> Explanation:
    given: dict[str, Any] = {
        "name": ILLS[node].name if node in ILLS else node,
        "level": 2,
        "score": 0.75,
        "threshold": 0.5,
        "predicted": True,
        "cold_start": False,
        "through": "",
        "against": (),
        "rest": 0.0,
        "contrast": None,
    }
    return Explanation(node=node, spans=spans, **(given | more))


def document(text: str = TEXT) -> Explained:
    contrast = Contrast(
        "E10", "Type 1", 0.25, False, "", (span(text, "elderly 😀 lady", 1.5),), (span(text, "insulin", -1.0),)
    )
    two = explanation(
        "E11",
        (span(text, "type two", 2.0, "its name"), span(text, "elderly", 0.5)),
        against=(span(text, "insulin", -0.4),),
        contrast=contrast,
    )
    return Explained("note-1", {"text": text}, [explanation("E", through="E11", spans=two.spans), two])


class Page(HTMLParser):
    """Words by number, buttons with their ranges, and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pieces: dict[int, str] = {}
        self.buttons: list[dict[str, str | None]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.scripts = 0
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        self._open.append((tag, found.get("data-w")))
        self.scripts += tag == "script"
        if tag == "button" and "data-spans" in found:
            self.buttons.append(found)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag, piece = self._open[-1] if self._open else ("", None)
        if piece is not None:
            self.pieces[int(piece)] = self.pieces.get(int(piece), "") + data
        if tag not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def marked(self, button: Mapping[str, str | None]) -> dict[str, float]:
        """The words that a button marks, and their values."""
        found = {}
        for part in (button["data-spans"] or "").split():
            places, _, value = part.partition(":")
            first, end = map(int, places.split("-"))
            found["".join(self.pieces[at] for at in range(first, end))] = float(value)
        return found


def test_the_page_marks_the_words_of_each_answer():
    page = Page(evidence_page(ILLS, [document()], title="Notes"))
    two, rather, above = page.buttons
    assert page.marked(two) == {"type two": 2.0, "elderly": 0.5, "insulin": -0.4}
    assert page.marked(rather) == {"elderly 😀 lady": 1.5, "insulin": -1.0}
    assert page.marked(above) == {"type two": 2.0, "elderly": 0.5}
    for words in (
        "Notes",
        "1 document · 2 explained nodes · Ills",
        "Type 2 E11 0.75 ≥ 0.50",
        "rather than Type 1 E10 0.25",
        "1 above",
        "through E11",
        "+2.00",
        "-0.40",
    ):
        assert words in page.text, words


@given(st.data())
def test_overlapping_spans_are_cut_right(data):
    text = data.draw(st.text('ab <>&"é😀\n', min_size=1, max_size=20))
    ends = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted).filter(lambda p: p[0] < p[1])
    places = data.draw(st.lists(ends, min_size=1, max_size=6, unique_by=tuple))
    spans = tuple(Span("text", a, b, float(i + 1), "linear") for i, (a, b) in enumerate(places))
    page = Page(evidence_page(ILLS, [Explained("1", {"text": text}, [explanation("E11", spans)])]))
    button = page.buttons[0]
    marked = []
    for part in (button["data-spans"] or "").split():
        first, end = map(int, part.partition(":")[0].split("-"))
        marked.append("".join(page.pieces[at] for at in range(first, end)))
    assert marked == [text[a:b] for a, b in places]


def test_no_answer_and_no_evidence_are_said():
    page = Page(evidence_page(ILLS, [Explained("1", {"text": "x"}, []), Explained("2", {}, [explanation("E11")])]))
    assert "Unknown: no node passed its threshold." in page.text
    assert "no evidence found" in page.text


def test_numbers_are_named_and_fields_kept_apart():
    number = Span("column 3", 0, 0, 1.5, "linear", "value 2")
    page = Page(evidence_page(ILLS, [Explained("1", {}, [explanation("E11", (number,))])]))
    assert "column 3" in page.text
    assert page.marked(page.buttons[0]) == {}
    fields = {"title": "oat oat", "more": "oat"}
    spans = (Span("title", 4, 7, 1.0, "linear"), Span("more", 0, 3, 2.0, "linear"))
    page = Page(evidence_page(ILLS, [Explained("1", fields, [explanation("E11", spans)])]))
    assert len(page.pieces) == 2
    assert [(t, v) for t, k, v in page.attributes if k == "data-w"] == [("span", "1"), ("span", "3")]


def test_what_looks_like_markup_is_harmless():
    taxonomy = Taxonomy([Node("a" + EVIL, {"en": EVIL}), Node("b", {"en": EVIL})], title=EVIL)
    text = f"x {EVIL} y"
    contrast = Contrast(EVIL, EVIL, 0.1, False, EVIL, (span(text, EVIL, 1.0, EVIL),), ())
    e = explanation("a" + EVIL, (span(text, EVIL, 1.0, EVIL),), name=EVIL, through=EVIL, contrast=contrast)
    page = Page(evidence_page(taxonomy, [Explained(EVIL, {"text": text}, [e])], title=EVIL))
    assert page.scripts == 1
    assert ("b", "id", "owned") not in page.attributes
    assert page.marked(page.buttons[0]) == {EVIL: 1.0}
    assert page.text.count(EVIL) >= 8
    half = "\ud800"
    assert "?" in evidence_page(ILLS, [Explained(half, {"text": half}, [])])


def test_the_page_asks_the_network_for_nothing():
    text = evidence_page(ILLS, [document()])
    page = Page(text)
    assert not [a for a in page.attributes if a[1] in ("src", "srcset", "action", "poster")]
    assert {value for _, key, value in page.attributes if key == "href"} == {"data:,"}
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import|\bfetch\(|XMLHttpRequest|import\(", text)
    assert text == evidence_page(ILLS, [document()])


# -- in a terminal -----------------------------------------------------------------------------------------------


def drawn(document: Explained, *, colour: bool = False) -> str:
    console = Console(width=100, force_terminal=colour, color_system="truecolor" if colour else None)
    with console.capture() as capture:
        console.print(evidence_text(ILLS, *document), highlight=False)
    return capture.get()


def test_a_terminal_shows_text_answers_and_their_words():
    said = " ".join(drawn(document("[bold]An elderly 😀 lady[/bold], type two, on insulin")).split())
    for words in (
        "note-1 text: [bold]An elderly 😀 lady[/bold], type two, on insulin",
        "■ Type 2 E11 0.75 ≥ 0.50",
        "for: type two +2.00 (its name) · elderly +0.50",
        "against: insulin -0.40",
        "rather than Type 1 E10 0.25 more for it: elderly 😀 lady +1.50 more for the sibling: insulin -1.00",
        "above: Endocrine 0.75 through E11",
    ):
        assert words in said, words


def test_words_are_marked_in_colour():
    said = drawn(document(), colour=True)
    assert re.search(r"\x1b\[[\d;]*32mtype two\x1b\[0m", said)


def test_a_document_cannot_command_a_terminal():
    text = "a \x1b[31mred\x07 \x9b2J word\r\n"
    said = drawn(Explained("\x1b]0;id", {"text": text}, [explanation("E11", (span(text, "red\x07", 1.0),))]))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)
    assert "red␇" in said


def test_a_terminal_says_where_nothing_was_found():
    nothing = [explanation("E"), explanation("E11", predicted=False, cold_start=True, threshold=0.9)]
    said = " ".join(drawn(Explained("1", {"text": "x"}, nothing)).split())
    assert "Type 2 E11 0.75 < 0.90 (not predicted) (no examples) no evidence found" in said
    assert "above: Endocrine 0.75 no evidence found" in said
    assert "unknown: no node passed its threshold" in drawn(Explained("1", {"text": "x"}, []))


# -- in a browser ------------------------------------------------------------------------------------------------

needs_chromium = pytest.mark.skipif(not (browser.CHROMIUM and browser.CHROMEDRIVER), reason=browser.MISSING)
ESCAPE, ENTER, DOWN = "\ue00c", "\ue007", "\ue015"


@pytest.fixture(scope="module")
def window():
    with browser.browser() as window:
        yield window


def opened(window: browser.Browser, path: Path, documents: list[Explained]) -> None:
    path.write_text(evidence_page(ILLS, documents), encoding="utf-8")
    window.media()
    window.resize(1200)
    window.open(path)


def marked(window: browser.Browser) -> list[list[str]]:
    return [window.texts("#d0 .w.for"), window.texts("#d0 .w.against")]


@needs_chromium
@pytest.mark.slow
def test_answers_mark_their_words_by_mouse_and_by_key(window, tmp_path):
    opened(window, tmp_path / "out.html", [document()._replace(id=str(i)) for i in range(100)])
    assert float(window.run("return document.documentElement.dataset.ready")) < 3_000
    assert marked(window) == [[], []]
    window.click("#d0 .code")
    assert marked(window) == [["elderly", "type two"], ["insulin"]]
    window.click("#d0 .code.rather")
    assert marked(window) == [["elderly", "😀 lady"], ["insulin"]]
    window.keys("#d0 .code.rather", ESCAPE)
    assert window.texts('#d0 .code[aria-pressed="true"]') == []
    window.keys("#d0 .code", DOWN)
    assert window.run("return document.activeElement.classList.contains('rather')")
    window.keys("#d0 .code.rather", ENTER)
    assert len(window.texts('#d0 .code[aria-pressed="true"]')) == 1
    window.click("#d0 .w.known")  # a word keeps the answer that it speaks for most
    assert window.texts('#d0 .code[aria-pressed="true"] b') == ["Type 2"]
    window.click("summary")
    window.click("#d0 details .code")
    assert marked(window) == [["elderly", "type two"], []]
    assert window.run("return document.querySelectorAll('#d1 .w.for').length") == 0
    assert window.complaints() == []


@needs_chromium
@pytest.mark.slow
def test_documents_are_found(window, tmp_path):
    opened(window, tmp_path / "out.html", [document()._replace(id=f"note-{i}") for i in range(12)])
    window.keys("#find", "note-1 elderly")
    window.wait("return document.getElementById('found').textContent === '3 of 12'")
    assert window.run("return document.querySelectorAll('.document:not([hidden])').length") == 3
    assert window.complaints() == []


@needs_chromium
@pytest.mark.slow
def test_a_phone_the_dark_paper_and_markup(window, tmp_path):
    evil = "</span><img src=x onerror=\"document.title='owned'\"><b>"
    text = f"{TEXT} {evil} " + "word " * 900
    e = explanation("E11", (span(text, evil, 1.0),), name=evil)
    opened(window, tmp_path / "out.html", [document(), Explained(evil, {evil: "a", "text": text}, [e])])
    background = "return getComputedStyle(document.body).backgroundColor"
    light = window.run(background)
    window.media(scheme="dark")
    assert window.run(background) != light
    window.click("#theme")
    assert window.run(background) == light
    assert window.run("return document.title") == "Evidence"
    assert window.run("return document.querySelectorAll('img').length") == 0
    window.click("#d1 .code")
    assert window.texts("#d1 .w.for") == [evil]
    window.media(scheme="dark", kind="print")
    assert window.run(background) == light
    window.media()
    window.resize(360)
    time.sleep(0.3)
    assert window.run("return document.documentElement.scrollWidth") <= 360
    assert window.complaints() == []
