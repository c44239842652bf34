"""What the log-probabilities of an answer's tokens say of each code.

Where the answer holds a code, the alternatives of that token say how likely the other codes were there. What is
approximate about it:

- Servers give the 20 likeliest tokens; a code that is not among them gets 0.
- A code of several tokens ("12" as "1", "2") is followed along the tokens that were answered, multiplying. Of a
  beginning that was not answered nothing more is known: its probability is shared equally by the codes that begin so.
- An answer of several codes shows one way through: the second code's alternatives are those after the first. Of each
  code the highest probability counts, and of none the first: after another code it would be a contradiction.
"""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from hclf.scorers.prompt.reading import Reading, visible

WORD = re.compile(r"[^\W_]+")
SPACES = "Ġ▁"  # how vocabularies write a space, where a server passes them on as they are
ONLY_CODE = re.compile(r"[\W_]*[^\W_]+[\W_]*\Z")  # an answer that is one word, such as "**B**"


class Token(NamedTuple):
    """A token of an answer: its text, and the log-probability (at most 0) of what could have stood there."""

    text: str
    options: Mapping[str, float]


def probabilities(
    entries: Sequence[Any], content: str, reading: Reading, codes: Sequence[str]
) -> dict[str, float] | None:
    """Return how likely each code is among the answers, each from 0 to 1; None if the tokens do not tell.

    Args:
        entries: the `logprobs.content` of a reply; whatever in it is not as it should be is left out.
        content: the reply's text; there may be tokens before it (thoughts) and after it (end marks).
        reading: what the answer says, with places.
        codes: the codes offered; the last one stands for none.
    """
    tokens = [_token(entry) for entry in entries if isinstance(entry, dict)]
    while tokens and tokens[-1].text.startswith("<") and tokens[-1].text.endswith(">"):
        tokens.pop()
    start = "".join(token.text for token in tokens).rfind(visible(content))
    places = sorted((place, code) for place, code in zip(reading.places, reading.chosen, strict=True) if place >= 0)
    if not tokens or not places or start < 0:
        return None
    likely: dict[str, float] = dict.fromkeys(codes, 0.0)
    for number, (place, code) in enumerate(places):
        index = _token_at(tokens, start + place)
        shares = _shares(tokens, index, codes)
        if code not in shares:  # written in another way, such as "7" for "07"
            shares[code] = math.exp(tokens[index].options.get(tokens[index].text, 0.0))
        for other, share in shares.items():
            if number == 0 or other != codes[-1]:
                likely[other] = max(likely[other], min(1.0, share))
    return likely


def _token(entry: Mapping[str, Any]) -> Token:
    others = entry.get("top_logprobs")
    options: dict[str, float] = {}
    for option in [*(others if isinstance(others, list) else []), entry]:
        if isinstance(option, dict) and _is_number(option.get("logprob")):
            options.setdefault(str(option.get("token") or ""), min(0.0, float(option["logprob"])))
    return Token(str(entry.get("token") or ""), options)


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number that a float can hold."""
    return isinstance(value, (int, float)) and abs(value) < sys.float_info.max


def is_one_code(text: str) -> bool:
    """Tell whether an answer is one code and nothing else, such as "B" or "(B)."."""
    return bool(ONLY_CODE.match(visible(text)))


def _token_at(tokens: Sequence[Token], place: int) -> int:
    ends = accumulate(len(token.text) for token in tokens)
    return next((i for i, end in enumerate(ends) if place < end), len(tokens) - 1)


def _shares(tokens: Sequence[Token], index: int, codes: Sequence[str], begun: str = "") -> dict[str, float]:
    """Return the probability of each code at a token, `begun` being what of the code stands in the tokens before."""
    shares: defaultdict[str, float] = defaultdict(float)
    token = tokens[index]
    for text, logprob in token.options.items():
        for code, share in _meant(tokens, index, text, codes, begun):
            shares[code] += share * math.exp(logprob)
    return shares


def _meant(
    tokens: Sequence[Token], index: int, text: str, codes: Sequence[str], begun: str
) -> Iterator[tuple[str, float]]:
    """Yield the codes that an option may become, with their shares of its probability."""
    plain = text.lstrip(SPACES)
    match = WORD.match(plain) if begun else WORD.search(plain)
    if not match:
        return
    possible = _beginning(begun + match[0], codes)
    if len(possible) > 1 and text == tokens[index].text and index + 1 < len(tokens):
        further = _shares(tokens, index + 1, codes, begun + match[0])
        if further:
            yield from further.items()
            return
    yield from ((code, 1 / len(possible)) for code in possible)


def _beginning(word: str, codes: Sequence[str]) -> list[str]:
    """Return the codes that begin with a word; in lower case only if no code is written so."""
    return [c for c in codes if c.startswith(word)] or [c for c in codes if c.lower().startswith(word.lower())]
