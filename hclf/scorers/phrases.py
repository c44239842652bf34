"""Which nodes come into question for a document, and which words speak for or against each of them.

A node is known by its phrases: the taxonomy's texts about it and its short documents. Candidates come from two
ranked lists, phrases that share words and nodes with similar centroids, so the work goes with the length of the lists
and not with the number of nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sparse_dot_topn import sp_matmul_topn

from hclf.labels import closures, entries, from_pairs, most_specific, pairs
from hclf.scorers.training import Rows
from hclf.taxonomy import Edges, Taxonomy, distinct, run_starts

Ints = NDArray[Any]
Floats = NDArray[np.float32]

FEATURES = (
    "overlap",
    "covered",
    "similarity",
    "said",
    "context similarity",
    "context said",
    "phrases",
    "labelled",
    "leaf",
)
PHRASE_WORDS = 28  # a document of more words and stems is no phrase of its node
MOST_PHRASES = 30  # documents of one node that become phrases
TELLING = 0.8  # of a document's mean feature: smaller ones are not looked up among centroids


class Phrases(NamedTuple):
    """Short texts that name nodes: their words, the node of each, and whether the taxonomy says so itself."""

    words: csr_matrix[Any]
    columns: Ints
    official: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Rows, taxonomy: Taxonomy) -> Self:
        """Return all texts of nodes, and some of the short documents that have a node for a most specific label."""
        lengths = np.diff(rows.W.indptr)
        short = np.flatnonzero((lengths > 0) & (lengths <= PHRASE_WORDS))
        document, column = pairs(most_specific(taxonomy, rows.Y[short]))
        order = np.argsort(column, kind="stable")
        place = np.arange(len(order)) - np.searchsorted(column[order], column[order])
        order = order[place < MOST_PHRASES]
        words = csr_matrix(vstack([rows.words, rows.W[short[document[order]]]]))
        columns = np.concatenate([rows.text_columns, column[order]])
        return cls(words, columns, np.arange(len(columns)) < len(rows.text_columns))


class Outline(NamedTuple):
    """What matching needs to know of a taxonomy.

    Attributes:
        ancestors: (nodes, nodes) float32, row j has ones at j and its ancestors.
        above: (nodes,) the first parent of each node; a root stands above itself.
        leaf: (nodes,) ones at leaves.
    """

    ancestors: csr_matrix[Any]
    above: Ints
    leaf: Floats

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> Self:
        """Return the outline of a taxonomy."""
        every = np.arange(len(taxonomy))
        child, parent = taxonomy.parents.of_many(every)
        above = every.copy()
        above[child[::-1]] = parent[::-1]
        return cls(closures(taxonomy, every).astype(np.float32), above, taxonomy.is_leaf.astype(np.float32))


class Pairs(NamedTuple):
    """Documents and their candidates: (pairs,) rows ascending and columns; features (pairs, features).

    `matched`, `missing` and `context` list (pair, word): words of the document among the node's own, words of the
    node's best official phrase that the document does not say, words of the document that only the parent's subtree
    has. `swapped` lists (pair, said word * width + missing word).
    """

    rows: Ints
    columns: Ints
    features: Floats
    matched: tuple[Ints, Ints]
    missing: tuple[Ints, Ints]
    context: tuple[Ints, Ints]
    swapped: tuple[Ints, Ints]

    @property
    def words(self) -> tuple[tuple[Ints, Ints], ...]:
        """The three lists of single words."""
        return self.matched, self.missing, self.context


class Table(NamedTuple):
    """Values of ascending keys."""

    keys: Ints
    values: NDArray[Any]

    def at(self, keys: Ints, default: Any) -> NDArray[Any]:
        """Return the value of each of these keys, else the default."""
        if not len(self.keys):
            return np.broadcast_to(np.asarray(default), keys.shape)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.values[place], default)


class Ranked(NamedTuple):
    """Candidates as two lists rank them: (pairs,) arrays, rows and columns ascending.

    Attributes:
        overlap, covered: best shared share of words with a phrase, best covered share of a phrase; 0 off the list.
        similarity, above: cosine with the centroid, and that of the first parent; off the list that of its last.
        name: the official phrase that shares most, else the node's first, else -1.
    """

    rows: Ints
    columns: Ints
    overlap: Floats
    covered: Floats
    similarity: Floats
    above: Floats
    name: Ints


class Index:
    """Phrases and centroids of nodes, laid out for looking up.

    Args:
        outline: of the taxonomy.
        phrases: of its nodes.
        idf: (words,) what each word weighs.
        known: the columns that have centroids, ascending.
        centroids: (known, features), rows of unit length.
        threads: of the ranked lists.
    """

    def __init__(
        self,
        outline: Outline,
        phrases: Phrases,
        idf: Floats,
        known: Ints,
        centroids: csr_matrix[Any],
        threads: int = 1,
    ) -> None:
        self.outline, self.phrases, self.idf, self.known, self.threads = outline, phrases, idf, known, threads
        self.nodes = len(outline.above)
        self.place = _place(outline)
        shape = (self.nodes, len(idf))
        self.mass = self._mass(phrases.words)
        self.by_word = csr_matrix(_weighed(phrases.words, np.sqrt(idf), 1 / np.sqrt(self.mass)).T)
        self.by_feature = csr_matrix(centroids.T)
        self.words_of = _edges(phrases.words)
        self.texts = np.bincount(phrases.columns, minlength=self.nodes)
        self.labelled = np.zeros(self.nodes, dtype=np.float32)
        self.labelled[outline.ancestors[phrases.columns[~phrases.official]].indices] = 1
        text, word = pairs(phrases.words)
        self.own = from_pairs(phrases.columns[text], word, shape).astype(np.float32)
        self.below = from_pairs(*pairs(csr_matrix(outline.ancestors.T @ self.own)), shape=shape).astype(np.float32)
        self.name = np.full(self.nodes, -1)
        official = np.flatnonzero(phrases.official)
        self.name[phrases.columns[official[::-1]]] = official[::-1]

    def pairs(self, W: csr_matrix[Any], X: csr_matrix[Any], listed: int) -> Pairs:
        """Return the candidates of documents with words W and features X, from lists of this length."""
        ranked = self._ranked(W, X, listed)
        rows, columns = ranked.rows, ranked.columns
        # Every word of the document against every candidate.
        pair, word = _edges(W).of_many(rows)
        own = entries(self.own, columns[pair], word)
        around = entries(self.below, self.outline.above[columns][pair], word)
        mass = self._mass(W)[rows]
        said, said_around = (
            np.bincount(pair[which], self.idf[word[which]], minlength=len(rows)) / mass for which in (own, around)
        )
        features: list[NDArray[Any]] = [
            ranked.overlap,
            ranked.covered,
            ranked.similarity,
            said,
            ranked.above,
            said_around,
            np.log1p(self.texts[columns]),
            self.labelled[columns],
            self.outline.leaf[columns],
        ]
        only_around = around & ~own
        missing, swapped = self._beside_names(W, ranked, (pair, word))
        return Pairs(
            rows,
            columns,
            np.column_stack(features).astype(np.float32),
            matched=(pair[own], word[own]),
            missing=missing,
            context=(pair[only_around], word[only_around]),
            swapped=swapped,
        )

    def _beside_names(
        self, W: csr_matrix[Any], ranked: Ranked, said: tuple[Ints, Ints]
    ) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Return what official phrases say and documents do not, and what is said in its stead; as in `Pairs`."""
        named = np.flatnonzero(ranked.name >= 0)
        position, other = self.words_of.of_many(ranked.name[named])
        absent = ~entries(W, ranked.rows[named[position]], other)
        missing = named[position[absent]], other[absent]
        pair, word = said
        unsaid = np.flatnonzero(ranked.name[pair] >= 0)
        unsaid = unsaid[~entries(self.phrases.words, ranked.name[pair[unsaid]], word[unsaid])]
        return missing, _products(len(ranked.rows), (pair[unsaid], word[unsaid]), missing, len(self.idf))

    def _ranked(self, W: csr_matrix[Any], X: csr_matrix[Any], listed: int) -> Ranked:
        overlap, covered, names = self._by_words(W, listed)
        similarity, least = self._by_centroid(X, listed)
        keys = distinct(np.concatenate([overlap.keys, similarity.keys]))
        rows, columns = np.divmod(keys, self.nodes)
        return Ranked(
            rows,
            columns,
            overlap.at(keys, 0.0),
            covered.at(keys, 0.0),
            similarity.at(keys, least[rows]),
            similarity.at(rows * self.nodes + self.outline.above[columns], least[rows]),
            names.at(keys, self.name[columns]),
        )

    def _by_words(self, W: csr_matrix[Any], listed: int) -> tuple[Table, Table, Table]:
        """Return by row * nodes + column: best shared share, best covered share, best official phrase."""
        mass = self._mass(W)
        best = _top(_weighed(W, np.sqrt(self.idf), 1 / np.sqrt(mass)), self.by_word, listed, self.threads)
        rows, phrase = pairs(best)
        key = rows * self.nodes + self.phrases.columns[phrase]
        order = np.lexsort((-best.data, key))
        rows, phrase, key, share = rows[order], phrase[order], key[order], best.data[order]
        covered = share * np.sqrt(mass[rows] / self.mass[phrase])
        starts = np.flatnonzero(run_starts(key))
        official = np.flatnonzero(self.phrases.official[phrase])
        official = official[run_starts(key[official])]
        return (
            Table(key[starts], share[starts]),
            Table(key[starts], np.maximum.reduceat(covered, starts)),
            Table(key[official], phrase[official]),
        )

    def _by_centroid(self, X: csr_matrix[Any], listed: int) -> tuple[Table, Floats]:
        """Return cosines by row * nodes + column, and the most that a node off its row's list can have."""
        near = _top(_telling(_unit(X)), self.by_feature, listed, self.threads)
        rows, position = pairs(near)
        lengths = np.diff(near.indptr)
        full = lengths >= listed
        least = np.zeros(len(full), dtype=np.float32)
        least[full] = near.data[np.repeat(full, lengths)].reshape(-1, listed).min(axis=1)
        return Table(rows * self.nodes + self.known[position], near.data), least

    def _mass(self, words: csr_matrix[Any]) -> Floats:
        """Return what the words of each row weigh together."""
        mass: Floats = np.maximum(words @ self.idf, 1e-6).astype(np.float32)
        return mass


def _place(outline: Outline) -> Floats:
    """Return (3, nodes): logs of 1 + children (by first parents) and of 1 + nodes below, ancestors with itself."""
    nodes = len(outline.above)
    children = np.bincount(outline.above[outline.above != np.arange(nodes)], minlength=nodes)
    below = np.bincount(outline.ancestors.indices, minlength=nodes) - 1
    return np.stack([np.log1p(children), np.log1p(below), np.diff(outline.ancestors.indptr)]).astype(np.float32)


def _weighed(W: csr_matrix[Any], by_column: NDArray[Any], by_row: NDArray[Any]) -> csr_matrix[Any]:
    data = W.data * by_column[W.indices] * np.repeat(by_row, np.diff(W.indptr))
    return csr_matrix((data.astype(np.float32), W.indices, W.indptr), shape=W.shape)


def _unit(X: csr_matrix[Any]) -> csr_matrix[Any]:
    length = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    return _weighed(X, np.ones(X.shape[1], dtype=np.float32), 1 / np.maximum(length, 1e-12))


def _telling(X: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return rows without their weakest features: common ones, which say least and cost most to look up."""
    lengths = np.diff(X.indptr)
    mean = np.asarray(X.sum(axis=1)).ravel() / np.maximum(lengths, 1)
    keep = X.data >= TELLING * np.repeat(mean, lengths)
    indptr = np.concatenate([[0], np.cumsum(keep)])[X.indptr]
    return csr_matrix((X.data[keep], X.indices[keep], indptr), shape=X.shape)


def _top(A: csr_matrix[Any], B: csr_matrix[Any], n: int, threads: int) -> csr_matrix[Any]:
    """Return the n largest of each row of A @ B, columns ascending."""
    result = csr_matrix(sp_matmul_topn(A, B, top_n=min(n, B.shape[1]), n_threads=threads))
    result.sort_indices()
    return result


def _edges(words: csr_matrix[Any]) -> Edges:
    return Edges(words.indptr.astype(np.int64), words.indices.astype(np.int64))


def _products(n: int, left: tuple[Ints, Ints], right: tuple[Ints, Ints], width: int) -> tuple[Ints, Ints]:
    """Return (pair, left word * width + right word) for all words of equal pairs; both lists ascend by pair."""
    words_of_pair = Edges(np.searchsorted(right[0], np.arange(n + 1)), right[1])
    position, other = words_of_pair.of_many(left[0])
    return left[0][position], left[1][position] * width + other
