"""Which nodes a text names: learned matching of words, for nodes with few documents of their own or none.

One model a node needs documents of that node. What a word found, a word missing or one word in place of another says
can be learned from all nodes together (learning to rank; the loss is ListNet's top-one cross entropy, Cao et al.
2007) and holds for nodes never seen: "NOS" stands for "unspecified", "left" for "right" never does.

A document is its first `MOST_WORDS` different words; a node is known by its phrases: the taxonomy's texts about it
and its short documents. Candidates come from two ranked lists, phrases that share words and nodes with similar
centroids, so the work goes with the length of the lists and not with the number of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, vstack
from sparse_dot_topn import sp_matmul_topn

from hclf.labels import closures, entries, from_pairs, pairs
from hclf.taxonomy import Taxonomy, distinct, run_starts

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
UNTAUGHT = (1.0, 2.0, 3.0, 3.0, 3.0, 6.0, 0.2, 1.0, 0.4)  # of the features, where there is too little to learn from
MOST_WORDS = 48  # of a document
PHRASE_WORDS = 16  # a document of more words is no phrase of its node
MOST_PHRASES = 30  # documents of one node that become phrases
LISTED = 100  # phrases, and nodes by centroid, that are ranked for a document
LISTED_TO_LEARN = 40
TELLING = 0.8  # of a document's mean feature: smaller ones are not looked up among centroids
QUERIES = (100, 20_000)  # fewest and most documents that weights are learned from
LEARN_SHARE = 0.4  # of the documents, at most: their words are looked for in the phrases of the others
FEWEST_PAIRS = 20  # pairs of a document and a candidate that a weight is learned from
FEWEST_SWAPS = 4  # times a pair of words must stand for each other to be learned
PENALTY = 2e-4  # of squared word weights
WORD_SCALE = 0.1
RESOLUTION = 1e-4  # probability from which the log-scaled channel tells differences


class Phrases(NamedTuple):
    """Short texts that name nodes: their words, the node of each, and whether the taxonomy says so itself."""

    words: csr_matrix[Any]
    columns: Ints
    official: NDArray[np.bool_]


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


class Matches(NamedTuple):
    """What a document says of nodes, by (row, column) pairs, rows ascending.

    Attributes:
        probability: of being a most specific label, summed over the node and everything below it: (pairs,).
        overlap, covered, similarity: best shared share of words with a phrase, best covered share of a phrase,
            and cosine with the centroid; 0 where the node is no candidate itself.
    """

    rows: Ints
    columns: Ints
    probability: Floats
    overlap: Floats
    covered: Floats
    similarity: Floats


class Index:
    """Phrases and centroids of nodes, laid out for looking up."""

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
        shape = (self.nodes, len(idf))
        self.mass = np.maximum(phrases.words @ idf, 1e-6).astype(np.float32)
        self.by_word = csr_matrix(_weighed(phrases.words, np.sqrt(idf), 1 / np.sqrt(self.mass)).T)
        self.by_feature = csr_matrix(centroids.T)
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
        """Return the candidates of documents with words W and features X."""
        rows, columns, features, name = self._ranked(W, X, listed)
        mass = np.maximum(W @ self.idf, 1e-6)
        # Every word of the document against every candidate.
        pair, word = _spread(W, rows)
        node = columns[pair]
        found = entries(self.own, node, word)
        around = entries(self.below, self.outline.above[node], word)
        said = np.bincount(pair[found], self.idf[word[found]], minlength=len(rows)) / mass[rows]
        context = np.bincount(pair[around], self.idf[word[around]], minlength=len(rows)) / mass[rows]
        table = np.column_stack(
            [
                *features[:3],
                said,
                features[3],
                context,
                np.log1p(self.texts[columns]),
                self.labelled[columns],
                self.outline.leaf[columns],
            ]
        ).astype(np.float32)
        # The official phrase: what it says and the document does not, and the other way round.
        named = np.flatnonzero(name >= 0)
        position, other = _spread(self.phrases.words, name[named])
        absent = ~entries(W, rows[named[position]], other)
        missing = named[position[absent]], other[absent]
        unsaid = np.flatnonzero(name[pair] >= 0)
        unsaid = unsaid[~entries(self.phrases.words, name[pair[unsaid]], word[unsaid])]
        swapped = _products(len(rows), (pair[unsaid], word[unsaid]), missing, len(self.idf))
        only = around & ~found
        return Pairs(rows, columns, table, (pair[found], word[found]), missing, (pair[only], word[only]), swapped)

    def _ranked(self, W: csr_matrix[Any], X: csr_matrix[Any], listed: int) -> tuple[Ints, Ints, list[Floats], Ints]:
        """Return rows, columns, four features and the best official phrase of all candidates."""
        mass = np.maximum(W @ self.idf, 1e-6)
        query = _weighed(W, np.sqrt(self.idf), 1 / np.sqrt(mass))
        texts = _top(query, self.by_word, listed, self.threads)
        rows, text = pairs(texts)
        key = rows * self.nodes + self.phrases.columns[text]
        share = texts.data
        covered = share * np.sqrt(mass[rows] / self.mass[text])
        order = np.lexsort((-share, key))
        first = order[run_starts(key[order])]
        by_text = key[first]
        most_covered = (
            np.maximum.reduceat(covered[order], np.flatnonzero(run_starts(key[order]))) if len(key) else covered
        )
        official = order[self.phrases.official[text[order]]]
        first_official = official[run_starts(key[official])]

        near = _top(_telling(_unit(X)), self.by_feature, listed, self.threads)
        near_rows, position = pairs(near)
        by_centroid = near_rows * self.nodes + self.known[position]
        least = np.zeros(W.shape[0], dtype=np.float32)  # a node off the list is at most as similar as its last
        full = np.diff(near.indptr) >= listed
        least[full] = near.data[near.indptr[:-1][full][:, None] + np.arange(listed)].min(axis=1)
        sort = np.argsort(by_centroid)
        similar = by_centroid[sort], near.data[sort]

        keys = distinct(np.concatenate([by_text, by_centroid]))
        rows, columns = keys // self.nodes, keys % self.nodes
        features = [
            _lookup((by_text, share[first]), keys, 0.0),
            _lookup((by_text, most_covered), keys, 0.0),
            _lookup(similar, keys, least[rows]),
            _lookup(similar, rows * self.nodes + self.outline.above[columns], least[rows]),
        ]
        name = _lookup((key[first_official], text[first_official]), keys, self.name[columns])
        return rows, columns, features, name.astype(np.int64)


class Matcher:
    """Learned weights of words over an `Index`.

    Args:
        threads: of the ranked lists while learning; results do not depend on it.
        seed: of the choice of documents to learn from.
    """

    def __init__(self, *, threads: int = 1, seed: int = 0) -> None:
        self.threads, self.seed = threads, seed

    def fit(
        self,
        documents: tuple[csr_matrix[Any], csr_matrix[Any]],
        specific: csr_matrix[Any],
        texts: tuple[csr_matrix[Any], Ints],
        outline: Outline,
        known: Ints,
        centroids: Callable[[Ints], csr_matrix[Any]],
    ) -> Self:
        """Learn what words say.

        Args:
            documents: their words (documents, words) and features (documents, features).
            specific: (documents, nodes) their most specific labels.
            texts: words of the taxonomy's texts, and the node of each.
            outline: of the taxonomy.
            known: the columns that have documents or texts.
            centroids: called with document rows, returns the centroids of `known` without the others.
        """
        W, X = documents
        every = np.arange(W.shape[0])
        self.width = W.shape[1]
        counts = np.bincount(np.concatenate([W.indices, texts[0].indices]), minlength=self.width)
        total = W.shape[0] + texts[0].shape[0]
        self.idf = (np.log((1 + total) / (1 + counts)) + 1).astype(np.float32)
        self.weights = np.array(UNTAUGHT, dtype=np.float32)
        self.words = np.zeros((3, self.width), dtype=np.float32)
        self.swaps, self.swap_weights = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        asked = self._queries(W, specific, texts)
        if len(asked) >= QUERIES[0]:
            rest = np.setdiff1d(every, asked)
            index = self._index(outline, W, specific, rest, texts, known, centroids(rest), self.threads)
            self._learn(index, W[asked], X[asked], specific[asked])
        self.index = self._index(outline, W, specific, every, texts, known, centroids(every))
        return self

    def renew(
        self,
        W: csr_matrix[Any],
        specific: csr_matrix[Any],
        texts: tuple[csr_matrix[Any], Ints],
        known: Ints,
        centroids: Callable[[Ints], csr_matrix[Any]],
    ) -> None:
        """Take other phrases and centroids, as in `fit`; what words say stays."""
        every = np.arange(W.shape[0])
        self.index = self._index(self.index.outline, W, specific, every, texts, known, centroids(every))

    def _queries(self, W: csr_matrix[Any], specific: csr_matrix[Any], texts: tuple[csr_matrix[Any], Ints]) -> Ints:
        """Return the documents to learn from: labelled, with words, and no mere copies of a text of their node."""
        named = set(zip(_signatures(texts[0]).tolist(), texts[1].tolist(), strict=True))
        rows, columns = pairs(specific)
        copies = [
            row
            for row, sign, column in zip(rows.tolist(), _signatures(W)[rows].tolist(), columns.tolist(), strict=True)
            if (sign, column) in named
        ]
        usable = (np.diff(W.indptr) > 0) & (np.diff(specific.indptr) > 0)
        usable[copies] = False
        found = np.flatnonzero(usable)
        most = min(QUERIES[1], int(len(found) * LEARN_SHARE))
        return np.sort(np.random.default_rng(self.seed).permutation(found)[:most])

    def _index(
        self,
        outline: Outline,
        W: csr_matrix[Any],
        specific: csr_matrix[Any],
        rows: Ints,
        texts: tuple[csr_matrix[Any], Ints],
        known: Ints,
        centroids: csr_matrix[Any],
        threads: int = 1,
    ) -> Index:
        """Return the index over the taxonomy's texts and the short ones among these documents."""
        lengths = np.diff(W.indptr)[rows]
        short = rows[(lengths > 0) & (lengths <= PHRASE_WORDS)]
        position, column = pairs(specific[short])
        order = np.argsort(column, kind="stable")
        place = np.arange(len(order)) - np.searchsorted(column[order], column[order])
        order = order[place < MOST_PHRASES]
        words = csr_matrix(vstack([texts[0], W[short[position[order]]]]))
        columns = np.concatenate([texts[1], column[order]])
        official = np.arange(len(columns)) < len(texts[1])
        return Index(outline, Phrases(words, columns, official), self.idf, known, centroids, threads)

    def _learn(self, index: Index, W: csr_matrix[Any], X: csr_matrix[Any], specific: csr_matrix[Any]) -> None:
        found = index.pairs(W, X, LISTED_TO_LEARN)
        truth = entries(specific, found.rows, found.columns)
        answered = np.zeros(W.shape[0], dtype=bool)
        answered[found.rows[truth]] = True
        pair, key = found.swapped
        often, times = np.unique(key[truth[pair]], return_counts=True)
        self.swaps = often[times >= FEWEST_SWAPS]
        design = self._design(found)
        active = np.flatnonzero(np.bincount(design.indices, minlength=design.shape[1]) >= FEWEST_PAIRS)
        keep = np.flatnonzero(answered[found.rows])
        if not len(keep):
            return
        learned = _listwise(
            csr_matrix(design[keep][:, active], dtype=np.float64), found.rows[keep], truth[keep], len(FEATURES)
        )
        weights = np.zeros(design.shape[1], dtype=np.float32)
        weights[active] = learned
        bounds = np.cumsum([len(FEATURES), 3 * self.width])
        self.weights, words, self.swap_weights = np.split(weights, bounds)
        self.words = words.reshape(3, self.width)

    def _design(self, found: Pairs) -> csr_matrix[Any]:
        """Return (pairs, features + 3 words + swaps): what the weights are multiplied with."""
        n, f = len(found.rows), len(FEATURES)
        rows, columns, values = [np.repeat(np.arange(n), f)], [np.tile(np.arange(f), n)], [found.features.ravel()]
        for block, (pair, word) in enumerate((found.matched, found.missing, found.context)):
            rows.append(pair)
            columns.append(f + block * self.width + word)
            values.append(self.idf[word] * np.float32(WORD_SCALE))
        pair, place = self._known_swaps(found)
        rows.append(pair)
        columns.append(f + 3 * self.width + place)
        values.append(np.ones(len(pair), dtype=np.float32))
        shape = (n, f + 3 * self.width + len(self.swaps))
        return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)

    def _known_swaps(self, found: Pairs) -> tuple[Ints, Ints]:
        pair, key = found.swapped
        if not len(self.swaps):
            return pair[:0], pair[:0]
        place = np.minimum(np.searchsorted(self.swaps, key), len(self.swaps) - 1)
        known = self.swaps[place] == key
        return pair[known], place[known]

    def match(self, W: csr_matrix[Any], X: csr_matrix[Any]) -> Matches:
        """Return what documents with words W and features X say of their candidates and of those's ancestors."""
        found = self.index.pairs(W, X, LISTED)
        n = len(found.rows)
        logit = found.features @ self.weights
        for weights, (pair, word) in zip(self.words, (found.matched, found.missing, found.context), strict=True):
            logit += np.bincount(pair, weights[word] * self.idf[word] * WORD_SCALE, minlength=n).astype(np.float32)
        pair, place = self._known_swaps(found)
        logit += np.bincount(pair, self.swap_weights[place], minlength=n).astype(np.float32)
        best = np.full(W.shape[0], -np.inf, dtype=np.float32)
        np.maximum.at(best, found.rows, logit)
        odds = np.exp(logit - best[found.rows])
        total = np.bincount(found.rows, odds, minlength=W.shape[0])
        shape = (W.shape[0], self.index.nodes)
        own = csr_matrix(
            (odds / total[found.rows], found.columns, np.searchsorted(found.rows, np.arange(shape[0] + 1))),
            shape=shape,
        )
        summed = csr_matrix(own @ self.index.outline.ancestors)
        summed.sort_indices()
        rows, columns = pairs(summed)
        at = np.searchsorted(rows * shape[1] + columns, found.rows * shape[1] + found.columns)
        values = np.zeros((3, len(rows)), dtype=np.float32)
        values[:, at] = found.features[:, :3].T
        return Matches(rows, columns, np.minimum(summed.data, 1).astype(np.float32), *values)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_state` builds an equal matcher from; centroids are the scorer's."""
        index = self.index
        phrases, ancestors = index.phrases, index.outline.ancestors
        return {
            "idf": self.idf,
            "weights": self.weights,
            "words": self.words,
            "swaps": self.swaps,
            "swap_weights": self.swap_weights,
            "phrase_indices": phrases.words.indices,
            "phrase_indptr": phrases.words.indptr,
            "phrase_columns": phrases.columns,
            "official": phrases.official,
            "ancestor_indices": ancestors.indices,
            "ancestor_indptr": ancestors.indptr,
            "above": index.outline.above,
            "leaf": index.outline.leaf,
        }

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], known: Ints, centroids: csr_matrix[Any]) -> Self:
        """Build from what `get_state` returned, and the scorer's centroids."""
        matcher = cls()
        matcher.idf, matcher.weights, matcher.words = arrays["idf"], arrays["weights"], arrays["words"]
        matcher.swaps, matcher.swap_weights = arrays["swaps"], arrays["swap_weights"]
        matcher.width, n = len(matcher.idf), len(arrays["above"])
        words = _of_ones(arrays["phrase_indices"], arrays["phrase_indptr"], matcher.width)
        ancestors = _of_ones(arrays["ancestor_indices"], arrays["ancestor_indptr"], n)
        outline = Outline(ancestors, arrays["above"], arrays["leaf"])
        phrases = Phrases(words, arrays["phrase_columns"], arrays["official"])
        matcher.index = Index(outline, phrases, matcher.idf, known, centroids)
        return matcher


def log_scaled(probability: Floats) -> Floats:
    """Return probabilities on a scale from 0 to 1 that is logarithmic down to `RESOLUTION`."""
    result: Floats = np.log1p(probability / np.float32(RESOLUTION)) / np.float32(np.log1p(1 / RESOLUTION))
    return result


def _listwise(design: csr_matrix[Any], rows: Ints, truth: NDArray[np.bool_], features: int) -> NDArray[np.float64]:
    """Return weights of the design's columns: cross entropy of a softmax over the candidates of each row.

    The first `features` weights are not negative. Several true candidates of a row share its probability.
    """
    start = run_starts(rows)
    starts, group = np.flatnonzero(start), np.cumsum(start) - 1
    target = truth / np.add.reduceat(truth.astype(float), starts)[group]
    ridge = np.full(design.shape[1], PENALTY)
    ridge[:features] = 1e-5
    transposed = csr_matrix(design.T)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = design @ w
        best = np.maximum.reduceat(score, starts)
        odds = np.exp(score - best[group])
        total = np.add.reduceat(odds, starts)
        value = (best + np.log(total)).sum() - (target * score).sum()
        slope = transposed @ (odds / total[group] - target)
        return value / len(starts) + (ridge * w) @ w, slope / len(starts) + 2 * ridge * w

    first = np.zeros(design.shape[1])
    first[:features] = 1
    bounds = [(0, None)] * features + [(None, None)] * (len(first) - features)
    result: NDArray[np.float64] = minimize(
        loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60}
    ).x
    return result


def _of_ones(indices: Ints, indptr: Ints, width: int) -> csr_matrix[Any]:
    return csr_matrix((np.ones(len(indices), dtype=np.float32), indices, indptr), shape=(len(indptr) - 1, width))


def _weighed(W: csr_matrix[Any], by_column: Floats, by_row: Floats) -> csr_matrix[Any]:
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


def _lookup(table: tuple[Ints, Any], keys: Ints, default: Any) -> Any:
    """Return the value of each key in a table of ascending keys, else the default."""
    known, values = table
    if not len(known):
        return np.broadcast_to(np.asarray(default, dtype=np.float32), keys.shape)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, values[at], default)


def _spread(matrix: csr_matrix[Any], rows: Ints) -> tuple[Ints, Ints]:
    """Return (position in rows, column) of every entry of these rows."""
    lengths = np.diff(matrix.indptr)[rows]
    position = np.repeat(np.arange(len(rows)), lengths)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return position, matrix.indices[matrix.indptr[rows][position] + offset].astype(np.int64)


def _products(n: int, left: tuple[Ints, Ints], right: tuple[Ints, Ints], width: int) -> tuple[Ints, Ints]:
    """Return (pair, left word * width + right word) for all words of equal pairs; both lists ascend by pair."""
    a, b = np.bincount(left[0], minlength=n), np.bincount(right[0], minlength=n)
    count = a * b
    pair = np.repeat(np.arange(n), count)
    offset = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
    first = (np.cumsum(a) - a)[pair] + offset // np.maximum(b[pair], 1)
    second = (np.cumsum(b) - b)[pair] + offset % np.maximum(b[pair], 1)
    return pair, left[1][first].astype(np.int64) * width + right[1][second]


def _signatures(W: csr_matrix[Any]) -> NDArray[np.uint64]:
    """Return a number for each row that equal sets of words share."""
    word = (np.arange(W.shape[1], dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    word ^= word >> np.uint64(29)
    word *= np.uint64(0xFF51AFD7ED558CCD)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(word[W.indices])])
    result: NDArray[np.uint64] = total[W.indptr[1:]] - total[W.indptr[:-1]]
    return result
