"""Prompts as the tokens a language model was trained to continue, and answers as what may follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError
from tokenizers import Encoding, Tokenizer

from hclf.errors import UsageError
from hclf.scorers.neural.tokens import LONE_SURROGATE
from hclf.scorers.prompt.base import Prompt

Ids = tuple[int, ...]
Span = tuple[int, int]
TAIL = 32  # characters of a prompt that can matter for how the tokens after it begin
ONE_DAY = """\
{%- macro strftime_now(format) -%}
{{ format | replace("%d", "26") | replace("%m", "07") | replace("%b", "Jul") | replace("%B", "July") \
| replace("%Y", "2024") | replace("%H", "12") | replace("%M", "00") | replace("%S", "00") }}
{%- endmacro -%}
"""
"""What chat templates are told the time is, before them: the day that Llama's own takes where it is told none."""


class Question(NamedTuple):
    """A prompt and the answers to weigh, in tokens.

    Attributes:
        prompt: of the prompt.
        codes: of each answer; none is the beginning of another.
    """

    prompt: Ids
    codes: tuple[Ids, ...]

    @property
    def most(self) -> int:
        """How many tokens are read at once: the prompt and all but the last of the longest code."""
        return len(self.prompt) + max(map(len, self.codes)) - 1


class PromptTokenizer:
    """Turns prompts into tokens.

    With a chat template, the system text and the user text become messages and a code is what the assistant says
    first. Without one, a prompt is the two texts and a code comes after a space.

    Nothing in these texts becomes a control token (`</s>`, `<|im_end|>`): a document cannot end its message. Names of
    such tokens are broken up by a space.

    Args:
        tokenizer: a fast one of transformers.
        name: of its model, to call it by in messages.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self.name, self._chat = name, tokenizer
        self.template = chat_template(tokenizer)
        # A copy of our own: that of transformers may cut and pad, and is changed by whoever calls it.
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._control = frozenset(control_tokens(tokenizer))
        self._codes = lru_cache(maxsize=1024)(self._codes_after)

    def question(self, prompt: Prompt) -> Question:
        """Return a prompt and its codes as tokens.

        Raises:
            UsageError: the chat template takes no such messages, or the tokenizer cannot tell two codes apart.
        """
        text = self.text(prompt)
        return Question(self._encoded(text), self._codes(text[-TAIL:], prompt.codes))

    def prompt(self, prompt: Prompt) -> Ids:
        """Return a prompt as tokens, without any code."""
        return self._encoded(self.text(prompt))

    def text(self, prompt: Prompt) -> str:
        """Return a prompt as one text, as the model sees it."""
        system, user = self.harmless(prompt.system).strip(), self.harmless(prompt.user).strip()
        if self.template is None:
            return joined(system, user)
        try:
            return self._chat_text(system, user)
        except (TemplateError, ValueError, TypeError, LookupError) as error:
            raise UsageError(f"{self.name}: its chat template cannot be applied: {error}") from error

    def _chat_text(self, system: str, user: str) -> str:
        """Return the messages as the chat template writes them; the user says it all where it knows no system."""
        asked = {"role": "user", "content": user}
        if not system:
            return self._rendered([asked])
        try:
            text = self._rendered([{"role": "system", "content": system}, asked])
        except TemplateError:
            text = ""
        return text if system in text else self._rendered([{"role": "user", "content": joined(system, user)}])

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        """Apply the chat template: no thoughts before the answer, and the same prompt every day."""
        text: str = self._chat.apply_chat_template(
            messages,
            chat_template=ONE_DAY + (self.template or ""),
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return text

    def harmless(self, text: str) -> str:
        """Return a text in which no control token is found; whole characters only."""
        text = LONE_SURROGATE.sub("\ufffd", text)
        change: Callable[[str], str] = _apart
        while spans := list(self._controls(text)):
            text = replaced(text, spans, change)
            change = _blank  # where even a space does not help: this shortens the text, so it comes to an end
        return text

    def _controls(self, text: str) -> Iterator[Span]:
        """Yield where control tokens lie in a text, in order."""
        encoding: Encoding = self._backend.encode(text, add_special_tokens=False)
        for token, span in zip(encoding.ids, encoding.offsets, strict=True):
            if token in self._control:
                yield span

    def _encoded(self, text: str) -> Ids:
        """Return a text as tokens; what the tokenizer puts around texts only in front, and if no template does."""
        if self.template is not None:
            return tuple(self._backend.encode(text, add_special_tokens=False).ids)
        encoding: Encoding = self._backend.encode(text)
        end = len(encoding.ids)
        while end and encoding.special_tokens_mask[end - 1]:
            end -= 1
        return tuple(encoding.ids[:end])

    def _codes_after(self, before: str, codes: tuple[str, ...]) -> tuple[Ids, ...]:
        """Return each code as the tokens that follow a text.

        Raises:
            UsageError: two of them are the same, or one is nothing.
        """
        space = "" if self.template is not None else " "
        found = tuple(self._continuation(before, space + code) for code in codes)
        for place, tokens in enumerate(found):
            if not tokens or tokens in found[:place]:
                raise UsageError(f"{self.name}: its tokenizer cannot tell the answer {codes[place]!r} from others")
        return found

    def _continuation(self, before: str, text: str) -> Ids:
        """Return the tokens that a text adds to what stands before it.

        Where the two would melt into one token, which a model that has read the first cannot say, the text is taken
        as if it began a line.
        """
        for start in (before, "\n"):
            head = self._backend.encode(start, add_special_tokens=False).ids
            both = self._backend.encode(start + text, add_special_tokens=False).ids
            if both[: len(head)] == head:
                return tuple(both[len(head) :])
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)


def chat_template(tokenizer: Any) -> str | None:
    """Return the chat template of a tokenizer; of several the one called "default"; None: it has none."""
    found = tokenizer.chat_template
    named: str | None = found.get("default") if isinstance(found, dict) else found
    return named or None


def control_tokens(tokenizer: Any) -> Iterator[int]:
    """Yield the tokens that must not come from a text: special ones, and all others that the chat template writes.

    Unknown words are no threat, and white space may be a token that was added to a vocabulary.
    """
    template = chat_template(tokenizer) or ""
    for token, about in tokenizer.added_tokens_decoder.items():
        written = about.content.strip()
        if written and token != tokenizer.unk_token_id and (about.special or written in template):
            yield token


def joined(system: str, user: str) -> str:
    """Return two texts as two paragraphs."""
    return f"{system}\n\n{user}" if system else user


def replaced(text: str, spans: list[Span], change: Callable[[str], str]) -> str:
    """Return a text with some of its parts changed.

    >>> replaced("a b c", [(0, 1), (4, 5)], str.upper)
    'A b C'
    """
    parts: list[str] = []
    last = 0
    for start, end in spans:
        parts += text[last:start], change(text[start:end])
        last = end
    return "".join([*parts, text[last:]])


def _apart(token: str) -> str:
    """Return the name of a token with a space in it; one character is left out.

    >>> _apart("</s>"), _apart("§")
    ('< /s>', ' ')
    """
    name = token.strip()
    return f"{name[:1]} {name[1:]}" if len(name) > 1 else " "


def _blank(token: str) -> str:
    return " "
