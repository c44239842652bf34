"""From a page of options and a document to a prompt: templates a user can edit, and documents made harmless.

Templates are Jinja2, run in its sandbox: they may come with a saved model of someone else. A document cannot close
the tags it stands between: they hold a word made of its own hash that it does not contain.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from hclf.errors import MissingExtraError, UsageError, did_you_mean, suggest
from hclf.scorers.prompt.base import Prompt
from hclf.scorers.prompt.outline import TOP, Outline, Page

TEMPLATES = ("system", "question")
SUFFIX = ".jinja"
NOTE = 120  # characters of a description that are shown
CUT = "\n[… {count:,} characters left out …]\n"
HEAD_SHARE = 0.75  # of a document that is too long, how much of what is shown is its beginning
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Characters that say nothing, hide text or turn its direction; white space aside."""


class Example(NamedTuple):
    """A labelled document to show.

    Attributes:
        text: as it is shown.
        codes: its answer.
    """

    text: str
    codes: tuple[str, ...]


class Wording:
    """Makes prompts.

    Args:
        outline: of the taxonomy.
        templates: name in `TEMPLATES` -> Jinja2 source.
        mode: `levels` or `single`.
        instructions: what the user has to add about the task.
        page_characters: of the options of a page; notes are left out where they do not fit.

    Raises:
        UsageError: a template is wrong, with its line.
        MissingExtraError: Jinja2 is not installed.
    """

    def __init__(
        self,
        outline: Outline,
        templates: Mapping[str, str],
        *,
        mode: str = "levels",
        instructions: str = "",
        page_characters: int = 4_000,
    ) -> None:
        self.outline, self.templates, self.mode = outline, dict(templates), mode
        self.instructions, self.page_characters = instructions, page_characters
        self._compiled = {name: _compiled(name, source) for name, source in self.templates.items()}

    @cached_property
    def system(self) -> str:
        """What holds for all documents."""
        return self._render("system", mode=self.mode, instructions=self.instructions)

    def prompt(self, page: Page, text: str, examples: Sequence[Example] = ()) -> Prompt:
        """Return the question about a page of options for a document that `tidy` has made ready."""
        outline, options = self.outline, page.options
        *codes, no_code = page.codes
        notes = self._notes(options)
        user = self._render(
            "question",
            path="" if page.parent == TOP else outline.path(page.parent),
            options=[
                {"code": code, "name": outline.names[column], "note": note, "depth": depth}
                for code, column, note, depth in zip(codes, options, notes, page.depths, strict=True)
            ],
            no_code=no_code,
            conflicts=[
                {"one": codes[a], "other": codes[b], "strict": strict} for a, b, strict in outline.conflicts(options)
            ],
            at_most=outline.at_most.get(page.parent, 0),
            examples=[{**example._asdict(), "tag": tag_for(example.text)} for example in examples],
            tag=tag_for(text),
            text=text,
        )
        return Prompt(self.system, user, page.codes)

    def _notes(self, options: Sequence[int]) -> list[str]:
        """Return the note of each option; none if they would take too much room."""
        notes = [shortened(self.outline.notes[column], NOTE) for column in options]
        size = sum(len(self.outline.names[column]) for column in options) + sum(map(len, notes))
        return notes if size <= self.page_characters else [""] * len(options)

    def _render(self, name: str, **values: Any) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self._compiled[name].render(values)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise UsageError(f"template {name}{SUFFIX}: {error}") from error
        return text.strip()


def read_templates(folder: str | Path | None = None) -> dict[str, str]:
    """Return the templates by name: those of a folder, and the shipped ones for those it lacks.

    Raises:
        UsageError: no such folder, or it holds a template that has no use.
    """
    shipped = files(__package__) / "templates"
    found = {name: (shipped / f"{name}{SUFFIX}").read_text(encoding="utf-8") for name in TEMPLATES}
    if folder is None:
        return found
    if not Path(folder).is_dir():
        raise UsageError(f"{folder}: no such folder of templates")
    for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
        if path.stem not in TEMPLATES:
            hint = did_you_mean(suggest(path.stem, TEMPLATES))
            raise UsageError(f"{path}: no such template{hint}; there are {' and '.join(TEMPLATES)}")
        found[path.stem] = path.read_text(encoding="utf-8")
    return found


def tidy(fields: Mapping[str, str], most: int) -> tuple[str, bool]:
    """Return a document as it is shown, at most about so many characters, and whether some were left out.

    Several fields are named. Characters that cannot be seen become blanks; of a text that is too long the middle is
    left out, and the text says so.

    >>> tidy({"title": "Oat\\u200bmilk", "brand": "Moo"}, 100)
    ('title: Oat milk\\nbrand: Moo', False)
    """
    shown = {name: seen for name, value in fields.items() if (seen := CONTROL.sub(" ", value).strip())}
    lines = [f"{CONTROL.sub(' ', name)}: {value}" for name, value in shown.items()]
    text = "\n".join(lines if len(shown) > 1 else shown.values())
    if len(text) <= most:
        return text, False
    head = int(most * HEAD_SHARE)
    return text[:head] + CUT.format(count=len(text) - most) + text[len(text) - (most - head) :], True


def shortened(text: str, most: int) -> str:
    """Return a text cut at a blank, with an ellipsis, if it is longer than `most` characters.

    >>> shortened("tea and coffee", 9)
    'tea and…'
    """
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def tag_for(text: str) -> str:
    """Return a word for the tags around a text that the text does not hold."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{number}\0{text}".encode("utf-8", "replace")).hexdigest()[:8]
        if digest not in text:
            return f"document-{digest}"
        number += 1


def _compiled(name: str, source: str) -> Any:
    try:
        from jinja2 import StrictUndefined, TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ModuleNotFoundError as error:
        raise MissingExtraError("scorer 'prompt'", "prompt") from error
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise UsageError(f"template {name}{SUFFIX}:{error.lineno}: {error.message}") from error
