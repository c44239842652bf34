"""`add_phrases`: phrases become synonyms of a taxonomy's nodes."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from hclf.formats.phrases.phrase import Phrase, Tally, same_words
from hclf.taxonomy import Node, Taxonomy

SHORTEST, LONGEST = 3, 100  # characters of a prefix that may stand for a code


def add_phrases(
    taxonomy: Taxonomy, phrases: Iterable[Phrase], *, nearest: bool = False, tally: Tally | None = None
) -> Taxonomy:
    """Return a taxonomy whose nodes have these phrases for synonyms too.

    A phrase is left out if its node has a name or synonym with the same words, in whatever language. The same
    phrase may be added to several nodes.

    Args:
        taxonomy: not changed.
        phrases: of its nodes; those of other nodes are skipped and counted.
        nearest: give the phrases of a node the taxonomy does not have to the one with the longest id, of at least
            3 characters, that its id begins with.
        tally: counts what was added, known and unknown.

    >>> t = add_phrases(Taxonomy(["J45.9"]), [Phrase("J45.99", "wheeze", "en")], nearest=True)
    >>> t["J45.9"].synonyms
    {'en': ('wheeze',)}
    """
    tally = Tally() if tally is None else tally
    fresh: dict[str, list[Phrase]] = {}
    for phrase in phrases:
        node = phrase.node
        if node not in taxonomy:
            node = longest_known_prefix(node, taxonomy) if nearest else ""
            counted = tally.nearest if node else tally.unknown
            counted[phrase.node] += 1
        if node:
            fresh.setdefault(node, []).append(phrase)
    entries = [_extended(entry, fresh.get(entry.id, ()), tally) for entry in map(taxonomy.node, range(len(taxonomy)))]
    header = taxonomy.header
    return Taxonomy(entries, taxonomy.edges(), level_names=taxonomy.level_names, rules=taxonomy.rules, **header)


def longest_known_prefix(node: str, known: Container[str]) -> str:
    """Return the longest known id that a longer id begins with, "" unless it has 3 to 100 characters.

    >>> longest_known_prefix("J45.99", {"J45", "J45.9"})
    'J45.9'
    """
    shorter = (node[:end].rstrip(".-_/") for end in range(min(len(node) - 1, LONGEST), SHORTEST - 1, -1))
    return next((prefix for prefix in shorter if len(prefix) >= SHORTEST and prefix in known), "")


def _extended(entry: Node, phrases: Iterable[Phrase], tally: Tally) -> Node:
    if not phrases:
        return entry
    known = {same_words(text) for text in (entry.id, *entry.texts)}
    synonyms = {language: list(texts) for language, texts in entry.synonyms.items()}
    for phrase in phrases:
        words = same_words(phrase.text)
        if not words or words in known:
            tally.known += 1
            continue
        known.add(words)
        synonyms.setdefault(phrase.language, []).append(phrase.text)
        tally.added += 1
    return replace(entry, synonyms={language: tuple(texts) for language, texts in synonyms.items()})
