"""Which words of a document speak for a node in learned matching of words.

Matching weighs all candidates of a document against each other, so what it says is no sum over words. What a channel
says is divided; of `match`, what is more than an equal share of all candidates. The part of a candidate goes to the
words that its phrases have, or that stand for one of theirs, by what each adds to its logit and by how rare it is;
words that speak against it get nothing. A node's part is that of all candidates at and below it, by their
probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.labels import entries
from hclf.scorers.base import Contribution
from hclf.scorers.features import TextFeatures
from hclf.scorers.linear_evidence import batches
from hclf.scorers.matching import LISTED, MOST_WORDS, WORD_SCALE, Matcher, log_scaled
from hclf.scorers.phrases import FEATURES, Pairs, Table
from hclf.taxonomy import Edges

Ints = NDArray[Any]
Floats = NDArray[Any]

OVERLAP, COVERED = FEATURES.index("overlap"), FEATURES.index("covered")
OWN = [OVERLAP, COVERED, FEATURES.index("said")]  # what the words of a node's phrases make
WHY = "in its phrases"


class Said(NamedTuple):
    """What matching says of (document, node) pairs: the channels of each, and (pairs, words) how they are divided."""

    channels: dict[str, Floats]
    shares: csr_matrix[Any]


def match_evidence(
    name: str,
    features: TextFeatures,
    matcher: Matcher,
    modelled: Ints,
    inputs: Sequence[Any],
    rows: Ints,
    columns: Ints,
) -> list[list[Contribution]]:
    """Return for each (row, column) what the words that matching reads add to its channels.

    Args:
        name: of the scorer; the source of a contribution is `name.channel`.
        features: that the matcher's words are of.
        matcher: fitted.
        modelled: the columns that have a model: they lack the channel `covered`.
        inputs: the documents.
        rows, columns: (pairs,) of them, and of the taxonomy.
    """
    found: list[list[Contribution]] = [[] for _ in range(len(rows))]
    field = features.main_field
    for documents, here in batches(rows):
        of = [inputs[i] for i in documents.tolist()]
        texts = features.main_text(of)
        candidates = matcher.index.pairs(features.words(texts, MOST_WORDS), features.transform(of), LISTED)
        row = np.searchsorted(documents, rows[here])
        said = _said(matcher, candidates, row, columns[here])
        said.channels["covered"] = np.where(np.isin(columns[here], modelled), 0, said.channels["covered"])
        where = _where(features, texts)
        for k, i in enumerate(here.tolist()):
            place = slice(said.shares.indptr[k], said.shares.indptr[k + 1])
            words, shares = said.shares.indices[place].tolist(), said.shares.data[place].tolist()
            values = {f"{name}.{channel}": float(value[k]) for channel, value in said.channels.items() if value[k]}
            found[i] = [
                Contribution(source, field, start, end, value * share / len(places), WHY)
                for word, share in zip(words, shares, strict=True)
                for places in (where[row[k]][word],)
                for start, end in places
                for source, value in values.items()
            ]
    return found


def _where(features: TextFeatures, texts: Sequence[str]) -> list[dict[int, list[tuple[int, int]]]]:
    """Return for each text where each word that matching reads stands."""
    where: list[dict[int, list[tuple[int, int]]]] = [{} for _ in texts]
    rows, words, starts, ends = (part.tolist() for part in features.word_places(texts, MOST_WORDS))
    for row, word, start, end in zip(rows, words, starts, ends, strict=True):
        where[row].setdefault(word, []).append((start, end))
    return where


def _said(matcher: Matcher, found: Pairs, rows: Ints, columns: Ints) -> Said:
    """Return what matching says of (row, column) pairs, from the candidates of all rows."""
    n, nodes = len(rows), matcher.index.nodes
    odds = matcher.probabilities(found)
    below, candidate = _at_and_below(matcher, found, rows, columns)
    total = np.bincount(below, odds[candidate], minlength=n)
    mixture = csr_matrix((odds[candidate] / total[below], (below, candidate)), shape=(n, len(found.rows)))
    candidates = np.bincount(found.rows, minlength=rows.max(initial=-1) + 1)[rows]
    equal = np.bincount(below, minlength=n) / np.maximum(candidates, 1)
    beyond = log_scaled(total.astype(np.float32)) - log_scaled(equal.astype(np.float32))
    channels = {"match": np.maximum(beyond, 0)}
    for channel, j in (("overlap", OVERLAP), ("covered", COVERED)):
        of_candidate = Table(found.rows * nodes + found.columns, found.features[:, j])
        channels[channel] = of_candidate.at(rows * nodes + columns, 0.0)
    return Said(channels, csr_matrix(mixture @ word_shares(matcher, found)))


def _at_and_below(matcher: Matcher, found: Pairs, rows: Ints, columns: Ints) -> tuple[Ints, Ints]:
    """Return (position, candidate): the candidates of each row that are at or below its column."""
    starts = np.searchsorted(found.rows, np.arange(rows.max(initial=-1) + 2))
    position, candidate = Edges(starts, np.arange(len(found.rows))).of_many(rows)
    inside = entries(matcher.index.outline.ancestors, found.columns[candidate], columns[position])
    return position[inside], candidate[inside]


def word_shares(matcher: Matcher, found: Pairs) -> csr_matrix[Any]:
    """Return (pairs, words): which share each word of a document has of what speaks for a candidate.

    What the shares of words that text and phrases have in common add is divided among these by what they weigh. Rows
    add up to 1, or are empty where no word speaks for a candidate.
    """
    n, width, rarity = len(found.rows), matcher.width, matcher.idf - matcher.idf.min()
    pair, word = found.matched
    total = found.features[:, OWN] @ matcher.weights[OWN] / np.maximum(np.bincount(pair, matcher.idf[word], n), 1e-12)
    own = matcher.idf[word] * (total[pair] + WORD_SCALE * matcher.words[0][word])
    instead, key = found.swapped
    place = Table(matcher.swaps, np.arange(len(matcher.swaps))).at(key, -1)
    known = place >= 0
    rows, words = np.concatenate([pair, instead[known]]), np.concatenate([word, key[known] // width])
    logits = np.concatenate([own, matcher.swap_weights[place[known]]])
    shares = csr_matrix((np.maximum(logits, 0) * rarity[words], (rows, words)), shape=(n, width))
    shares.sum_duplicates()
    shares.eliminate_zeros()
    shares.data /= np.repeat(np.asarray(shares.sum(axis=1)).ravel(), np.diff(shares.indptr))
    return shares
