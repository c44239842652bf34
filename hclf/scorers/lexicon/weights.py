"""How often phrases meant nodes in training documents, counted so that no document is judged by itself.

Training documents are dealt into groups. What a document of a group is told of a phrase comes from the other groups
only; otherwise a model of these counts would read the answer off them (a phrase seen k times of n, against k - 1 of
n - 1). New documents, of group `NEW`, are told everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.scorers.lexicon.matches import ranges
from hclf.taxonomy import distinct

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

GROUPS = 10
NEW = GROUPS  # the group of documents that were not learned from


def deal(documents: int, seed: int) -> Ints:
    """Return a group for each training document."""
    return np.random.default_rng(seed).permutation(documents) % min(GROUPS, max(documents, 1))


class Tally(NamedTuple):
    """Counts of things by group of documents: (things, GROUPS + 1), the last column 0."""

    by_group: Small
    total: Small

    @classmethod
    def of(cls, things: Ints, groups: Ints, n: int, weight: Ints | None = None) -> Self:
        """Return counts of occurrences: which thing, in a document of which group."""
        flat = np.bincount(things * (GROUPS + 1) + groups, weights=weight, minlength=n * (GROUPS + 1))
        by_group = flat.reshape(n, GROUPS + 1).astype(np.int32)
        return cls(by_group, by_group.sum(axis=1, dtype=np.int32))

    def outside(self, things: Ints, groups: Ints) -> Ints:
        """Return the counts of things in all groups but one."""
        return (self.total[things] - self.by_group[things, groups]).astype(np.int64)

    @classmethod
    def from_totals(cls, total: Small) -> Self:
        """Return counts that new documents are told of."""
        return cls(np.zeros((len(total), GROUPS + 1), dtype=np.int32), total)


class Book(NamedTuple):
    """Phrases and the nodes they may mean.

    Attributes:
        indptr: (phrases + 1,) where the pairs of each phrase are.
        phrases, nodes: (pairs,) phrase and taxonomy column of each pair, ascending.
        official: (pairs,) whether the taxonomy gives the phrase for the node.
        said: of pairs: occurrences of the phrase that meant the node.
        labelled: of pairs: documents with the phrase that have the node for a label.
        occurring, documents: of phrases: occurrences, and documents with any.
        priors: of nodes: documents that have the node for a label.
    """

    indptr: Ints
    phrases: Ints
    nodes: Ints
    official: NDArray[np.bool_]
    said: Tally
    labelled: Tally
    occurring: Tally
    documents: Tally
    priors: Tally

    def pairs_of(self, phrases: Ints) -> tuple[Ints, Ints]:
        """Return (positions into `phrases`, pairs): one for each pair of each phrase."""
        return ranges(self.indptr[phrases], self.indptr[phrases + 1])

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_state` builds an equal book from, for new documents."""
        tallies = {name: getattr(self, name).total for name in TALLIES}
        return {"indptr": self.indptr, "nodes": self.nodes, "official": self.official, **tallies}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        indptr = arrays["indptr"]
        phrases = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        tallies = {name: Tally.from_totals(arrays[name]) for name in TALLIES}
        return cls(indptr, phrases, arrays["nodes"], arrays["official"], **tallies)


TALLIES = ("said", "labelled", "occurring", "documents", "priors")


class Found(NamedTuple):
    """Occurrences of phrases in training documents: (occurrences,) document and phrase."""

    documents: Ints
    phrases: Ints


class Meant(NamedTuple):
    """What occurrences meant: (statements,) position in `Found`, and taxonomy column."""

    occurrences: Ints
    nodes: Ints


def write_book(
    phrases: int, official: tuple[Ints, Ints], found: Found, meant: Meant, labels: csr_matrix[Any], groups: Ints
) -> Book:
    """Count what phrases meant.

    Args:
        phrases: how many there are.
        official: (phrase, node) pairs that the taxonomy gives.
        found: their occurrences in the training documents.
        meant: what those meant.
        labels: most specific labels (documents, nodes).
        groups: of the documents.
    """
    width = labels.shape[1]
    said_keys = found.phrases[meant.occurrences] * width + meant.nodes
    official_keys = official[0] * width + official[1]
    keys = distinct(np.concatenate([said_keys, official_keys]))
    phrase, node = np.divmod(keys, width)
    said = Tally.of(np.searchsorted(keys, said_keys), groups[found.documents[meant.occurrences]], len(keys))
    once = distinct(found.documents * np.int64(phrases) + found.phrases)
    document, of_phrase = np.divmod(once, phrases) if phrases else (once, once)
    labelled = _labelled(keys, document, of_phrase, labels, groups)
    row, column = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr)), labels.indices.astype(np.int64)
    return Book(
        np.searchsorted(phrase, np.arange(phrases + 1)),
        phrase,
        node,
        np.isin(keys, official_keys),
        said,
        labelled,
        Tally.of(found.phrases, groups[found.documents], phrases),
        Tally.of(of_phrase, groups[document], phrases),
        Tally.of(column, groups[row], width),
    )


def _labelled(keys: Ints, document: Ints, phrase: Ints, labels: csr_matrix[Any], groups: Ints) -> Tally:
    """Count the documents with a phrase that have a node for a label, of the pairs in `keys`."""
    position, at = ranges(labels.indptr[document].astype(np.int64), labels.indptr[document + 1].astype(np.int64))
    column = labels.indices[at].astype(np.int64)
    key = phrase[position] * labels.shape[1] + column
    if not len(keys):
        return Tally.of(keys, keys, 0)
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    known = keys[place] == key
    return Tally.of(place[known], groups[document[position[known]]], len(keys))
