"""Phrases in the notes of a classification: what a note says belongs elsewhere is a phrase of that place.

Under a code of diseases stands "excludes1: acute appendicitis (K35.-)": a phrase of K35, which no index may have.
What a note includes is a phrase of the node it stands at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hclf.formats.phrases.phrase import Phrase
from hclf.taxonomy import Taxonomy

ELSEWHERE = ("excludes1", "excludes2", "codeFirst", "useAdditionalCode", "codeAlso")  # keys of `Node.meta`
HERE = ("includes",)
LONGEST = 12  # words; longer notes explain, they do not name
_NAMED = re.compile(r"(.*\S)\s*\(([^\s(),;]+)\)[\s.]*", re.DOTALL)
_CONDITION = re.compile(
    r"^(?:,? ?if (?:known|applicable),? |(?:(?:any|all)\b ?)?(?:(?:associated|underlying)\b ?)?)", re.IGNORECASE
)
_INSTRUCTION = re.compile(r"\b(?:codes?|classifiable|categor(?:y|ies)|to identify|to specify)\b", re.IGNORECASE)


def of_notes(
    taxonomy: Taxonomy, *, elsewhere: Sequence[str] = ELSEWHERE, here: Sequence[str] = HERE
) -> Iterator[Phrase]:
    """Yield the phrases in the notes of all nodes, in their order; the source is the key of the note.

    A note that names several codes, a range, or a code the taxonomy lacks is left out, and so are instructions,
    headings of lists, and long texts.

    Args:
        taxonomy: with notes as lists of texts in the `meta` of its nodes.
        elsewhere: keys of notes that name another node at their end, in parentheses; `K35.-` is the node K35.
        here: keys of notes that are about the node itself.

    >>> from hclf.taxonomy import Node, Taxonomy
    >>> t = Taxonomy(["K35", Node("K36", meta={"excludes1": ["acute appendicitis (K35.-)"]})])
    >>> list(of_notes(t))
    [Phrase(node='K35', text='acute appendicitis', language='', source='excludes1')]
    """
    for node in map(taxonomy.node, range(len(taxonomy))):
        for key in elsewhere:
            for text in _texts(node.meta, key):
                found = _NAMED.fullmatch(text)
                target = found[2].rstrip("-").rstrip(".") if found else ""
                if found and target in taxonomy and (phrase := _phrase(found[1])):
                    yield Phrase(target, phrase, source=key)
        for key in here:
            for text in _texts(node.meta, key):
                if phrase := _phrase(text):
                    yield Phrase(node.id, phrase, source=key)


def _texts(meta: Mapping[str, object], key: str) -> list[str]:
    texts = meta.get(key)
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list | tuple) else []


def _phrase(text: str) -> str:
    """Return what a note names, "" if it names nothing."""
    phrase = _CONDITION.sub("", text.strip())
    names = not phrase.endswith(":") and not _INSTRUCTION.search(phrase)
    return phrase if names and 0 < len(phrase.split()) <= LONGEST else ""
