"""Phrases of nodes from files beside a taxonomy: indexes, tables of codes, and plain lists of phrases.

A taxonomy seldom holds all the words people use for its nodes; for codes of diseases these stand in an alphabetic
index. `read` makes one clean phrase of each entry, `add_phrases` makes synonyms of the phrases. Variants of a phrase
(other orders, optional parts) are the business of whoever matches it.
"""

from __future__ import annotations

from pathlib import Path

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.formats._files import fail
from hclf.formats.phrases import entries, pairs
from hclf.formats.phrases.merge import add_phrases, longest_known_prefix
from hclf.formats.phrases.phrase import Phrase, Tally, same_words
from hclf.formats.phrases.release import phrases_of

__all__ = ["KINDS", "Phrase", "Tally", "add_phrases", "longest_known_prefix", "read", "same_words", "sniff"]

KINDS = (entries.INDEX, entries.NEOPLASMS, entries.DRUGS, pairs.SOURCE)


def read(
    path: str | Path,
    kind: str | None = None,
    *,
    neoplasms: str | Path | None = None,
    see: bool = True,
    forms: bool = False,
    modifiers: bool = False,
    tally: Tally | None = None,
) -> list[Phrase]:
    """Read the phrases of a file, in its order.

    Args:
        path: XML of a release, or a table or JSON lines; unpacked if its name ends in `.gz`.
        kind: "index", "neoplasms" or "drugs" (of ICD-10-CM) or "table" (a row a phrase); by default found out.
        neoplasms: the neoplasm table, for an index that refers to it ("see Neoplasm, bone, malignant").
        see: also entries that only refer to another one, with its codes; their source ends in " see".
        forms: also each form of a term by itself, without NEC and NOS: of "Ulcer, ulcerated, skin NEC", which is
            written "Ulcer, ulcerated" over "skin NEC", also "Ulcer, skin" and "ulcerated, skin".
        modifiers: also with non-essential modifiers: "Bronchitis (diffuse) (hypostatic), chronic".
        tally: counts entries, phrases, and references that lead to no code.

    Raises:
        TaxonomyError: the file cannot be read, or is of no kind there is a reader for.
        UsageError: unknown kind.
    """
    tally = Tally() if tally is None else tally
    found = kind or sniff(path)
    if found not in KINDS:
        hint = did_you_mean(suggest(found, KINDS)) or f"; choose from {', '.join(KINDS)}"
        raise UsageError(f"unknown kind of phrases {found!r}{hint}")
    if found == pairs.SOURCE:
        phrases = list(pairs.read(path))
        tally.entries += len(phrases)
        tally.phrases.update(phrase.source for phrase in phrases)
        return phrases
    listed = entries.read(path, found)
    table = [] if neoplasms is None else entries.read(neoplasms, entries.NEOPLASMS)
    options = {"see": see, "forms": forms, "modifiers": modifiers}
    return list(phrases_of(listed, found, neoplasms=table, tally=tally, **options))


def sniff(path: str | Path) -> str:
    """Return the kind of a file of phrases, by what stands at its beginning.

    Raises:
        TaxonomyError: it cannot be read, or is of no kind there is a reader for.
    """
    if entries.is_xml(path):
        kind = entries.xml_kind(path)
        if kind is None:
            fail(f"no index or table of terms: its outermost element is not <{entries.ROOT}>", path)
        return kind
    if str(path).lower().endswith(pairs.JSON_LINES):
        return pairs.SOURCE
    from hclf.formats import table

    header = table.header(path)
    kind = entries.table_kind(header)
    if kind is None and not {"node", "phrase"} <= pairs.fields(header).keys():
        fail("no table of phrases: it needs a column 'node' (or 'code') and a column 'phrase' (or 'text')", path, 1)
    return kind or pairs.SOURCE
