"""Phrases that training documents teach: what their mentions say, and runs of words that go with a node.

All of them are text from records. What is kept stands in at least `min_documents` documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.labels import from_pairs
from hclf.scorers.base import Mentions
from hclf.scorers.lexicon.candidates import Texts
from hclf.scorers.lexicon.spans import Tokens

Ints = NDArray[np.int64]

LONGEST = 3  # words of a run that is mined
FEWEST = 3  # documents of a run that is mined
SURE = 0.5  # of its documents have the node, at least
TELLING = 8.0  # times the odds among all documents
MOST = 20_000  # phrases that are mined


class Said(NamedTuple):
    """Mentions as words: (mentions,) document, node, first word and last word + 1, and the words themselves.

    Attributes:
        documents, nodes, first, last: see above.
        keys: what the phrase is known by.
        surfaces: its text.
    """

    documents: Ints
    nodes: Ints
    first: Ints
    last: Ints
    keys: list[str]
    surfaces: list[str]


def phrase_key(words: Sequence[str]) -> str:
    """Return what is the same for phrases of the same folded words in any order; "" is a stop word."""
    return " ".join(sorted({word for word in words if word}))


def said_in(mentions: Mentions, texts: Texts, tokens: Tokens) -> Said:
    """Return the mentions that hold a word, as words of the texts."""
    rows = []
    text_of = {key: i for i, key in enumerate(zip(texts.documents.tolist(), texts.fields, strict=True))}
    for document, given in enumerate(mentions):
        for mention in given:
            text = text_of.get((document, mention.field))
            if text is None:
                continue
            starts, ends = (np.array(side) for side in zip(*mention.parts, strict=True))
            first, last = tokens.places(np.full(len(starts), text), starts, ends)
            words = [i for a, b in zip(first.tolist(), last.tolist(), strict=True) for i in range(a, b)]
            key = phrase_key([tokens.forms[i] for i in words])
            if key:
                surface = " ".join(texts.texts[text][start:end] for start, end in mention.parts)
                rows.append((document, mention.column, words[0], words[-1] + 1, key, surface))
    numbers = np.array([row[:4] for row in rows], dtype=np.int64).reshape(-1, 4).T
    documents, nodes, first_words, ends = numbers
    return Said(documents, nodes, first_words, ends, [row[4] for row in rows], [row[5] for row in rows])


def mentioned(said: Said, min_documents: int) -> dict[str, str]:
    """Return key -> text of the phrases mentioned in so many documents."""
    documents: dict[str, set[int]] = {}
    surfaces: dict[str, str] = {}
    for key, surface, document in zip(said.keys, said.surfaces, said.documents.tolist(), strict=True):
        documents.setdefault(key, set()).add(document)
        surfaces.setdefault(key, surface)
    return {key: surface for key, surface in surfaces.items() if len(documents[key]) >= min_documents}


def associated(texts: Texts, tokens: Tokens, labels: csr_matrix[Any], min_documents: int) -> dict[str, str]:
    """Return key -> text of runs of words that stand in documents of one node above all.

    Args:
        texts, tokens: of documents.
        labels: of these documents.
        min_documents: fewest documents of a run; never under `FEWEST`.
    """
    ids: dict[str, int] = {}
    documents, runs = [], []
    for document, key in _runs(texts, tokens):
        documents.append(document)
        runs.append(ids.setdefault(key, len(ids)))
    if not ids:
        return {}
    found = from_pairs(np.array(documents), np.array(runs), (labels.shape[0], len(ids)))
    counts = np.bincount(found.indices, minlength=len(ids))
    often = np.flatnonzero(counts >= max(min_documents, FEWEST))
    together = csr_matrix(found[:, often].T.astype(np.float32) @ labels.astype(np.float32)).tocoo()
    share = (together.data + 0.5) / (counts[often][together.row] + 1)
    usual = np.bincount(labels.indices, minlength=labels.shape[1])[together.col] / (labels.shape[0] + 1)
    telling = share / (1 - share) >= TELLING * usual / (1 - usual)
    telling &= (share >= SURE) & (together.data >= max(min_documents, FEWEST))
    weight = np.zeros(len(often))
    np.maximum.at(weight, together.row[telling], together.data[telling])
    best = np.lexsort((often, -weight))[: min(MOST, int((weight > 0).sum()))]
    keys = list(ids)
    return {phrase_key(keys[i].split()): keys[i] for i in often[best].tolist()}


def _runs(texts: Texts, tokens: Tokens) -> Iterator[tuple[int, str]]:
    """Yield (document, run of folded words) for the runs within sentences, stop words left out."""
    words = [i for i, form in enumerate(tokens.forms) if form]
    sentence, document = tokens.sentence.tolist(), texts.documents[tokens.rows].tolist()
    for place, i in enumerate(words):
        run = []
        for j in words[place : place + LONGEST]:
            if sentence[j] != sentence[i]:
                break
            run.append(tokens.forms[j])
            yield document[i], " ".join(run)
