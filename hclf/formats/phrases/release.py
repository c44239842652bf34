"""Phrases of the entries of an index, and of the tables of neoplasms and of drugs and chemicals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hclf.formats.phrases.entries import DRUGS, INDEX, NEOPLASMS, Entry, code_of
from hclf.formats.phrases.outline import Outline, modified, spoken, written
from hclf.formats.phrases.phrase import Phrase, Tally

LANGUAGE = "en"
# How a code in a column is said of what stands at the beginning of the row; the first wording is the usual one.
WORDINGS = {
    NEOPLASMS: (
        ("malignant neoplasm of {}", "primary malignant neoplasm of {}"),
        ("secondary malignant neoplasm of {}",),
        ("carcinoma in situ of {}",),
        ("benign neoplasm of {}",),
        ("neoplasm of uncertain behavior of {}",),
        ("neoplasm of unspecified behavior of {}",),
    ),
    DRUGS: (
        # Coded as an accident unless something else is said.
        ("poisoning by {}", "poisoning by {}, accidental"),
        ("poisoning by {}, intentional self-harm",),
        ("poisoning by {}, assault",),
        ("poisoning by {}, undetermined",),
        ("adverse effect of {}",),
        ("underdosing of {}",),
    ),
}
WITHOUT_SITE = " of {}"  # left out in the first row of the neoplasm table, which is about no site


def phrases_of(
    entries: Sequence[Entry],
    kind: str,
    *,
    neoplasms: Sequence[Entry],
    see: bool,
    forms: bool,
    modifiers: bool,
    tally: Tally,
) -> Iterator[Phrase]:
    """Yield the phrases of entries.

    Args:
        entries: in the order of their file.
        kind: a key of `COLUMNS`.
        neoplasms: those of the neoplasm table, to which an index refers; empty if it is not at hand.
        see: also entries that only refer to another one, with its codes; source "KIND see".
        forms: also each form of a term by itself, without NEC and NOS.
        modifiers: also with non-essential modifiers, in parentheses.
        tally: counts entries, phrases and references that lead nowhere.
    """
    outline, table = Outline(entries), Outline(neoplasms) if neoplasms else None
    for i, entry in enumerate(entries):
        tally.entries += 1
        nodes = tuple(map(code_of, entry.codes))
        source = kind
        if not any(nodes) and see and entry.see:
            nodes, source = outline.codes(i, table), f"{kind} see"
            if not nodes:
                tally.unresolved[entry.see] += 1
        path = outline.path(i)
        for column, node in enumerate(nodes):
            if node:
                for text in _texts(path, kind, column, forms=forms, modifiers=modifiers):
                    tally.phrases[source] += 1
                    yield Phrase(node, text, LANGUAGE, source)
        if manifestation := code_of(entry.manifestation) if kind == INDEX else "":
            tally.phrases[f"{kind} manifestation"] += 1
            yield Phrase(manifestation, written(path), LANGUAGE, f"{kind} manifestation")


def _texts(path: Sequence[Entry], kind: str, column: int, *, forms: bool, modifiers: bool) -> list[str]:
    if kind == NEOPLASMS:
        path = path[1:]  # all stands under "Neoplasm"
    texts = [written(path)]
    texts += spoken(path) if forms else ()
    texts += [modified(path)] if modifiers else ()
    wordings = WORDINGS[kind][column] if kind in WORDINGS else ("{}",)
    said = [_worded(wording, text) for text in dict.fromkeys(texts) for wording in wordings]
    return list(dict.fromkeys(said))


def _worded(wording: str, text: str) -> str:
    return wording.format(text) if text else wording.removesuffix(WITHOUT_SITE)
