"""Which nodes a text names: learned matching of words, for nodes with few documents of their own or none.

One model a node needs documents of that node. What a word found, a word missing or one word in place of another says
can be learned from all nodes together (learning to rank; the loss is ListNet's top-one cross entropy, Cao et al.
2007) and holds for nodes never seen: "NOS" stands for "unspecified", "left" for "right" never does. A second look
sets the candidates of a document against each other (`hclf.scorers.rivals`).

A document is the different ones among its first `MOST_WORDS` words; what it is compared with, see
`hclf.scorers.phrases`.
"""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from hclf.labels import entries, most_specific, pairs
from hclf.scorers.packing import Arrays, packed, unpacked
from hclf.scorers.phrases import FEATURES, Index, Outline, Pairs, Phrases, Table
from hclf.scorers.rivals import STANDINGS, Candidates, corrected, standings
from hclf.scorers.training import Rows
from hclf.taxonomy import Taxonomy, run_starts

Ints = NDArray[Any]
Floats = NDArray[np.float32]

UNTAUGHT = (1.0, 2.0, 3.0, 3.0, 3.0, 6.0, 0.2, 1.0, 0.4)  # of the features, where there is too little to learn from
FIRST_LOOK: Floats = np.eye(1, len(STANDINGS), dtype=np.float32)[0]  # weights of standings: the logits as they are
MOST_WORDS = 48  # of a document
LISTED = 100  # phrases, and nodes by centroid, that are ranked for a document
LISTED_TO_LEARN = 40
QUERIES = (100, 20_000)  # fewest and most documents that weights are learned from
LEARN_SHARE = 0.4  # of the documents, at most: their words are looked for in the phrases of the others
FEWEST_PAIRS = 20  # pairs of a document and a candidate that a weight is learned from
FEWEST_SWAPS = 4  # times a pair of words must stand for each other to be learned
PENALTY, EVEN = 2e-4, 1e-5  # of squared word weights, of others
LEAST_SPREAD = 1e-6  # standard deviation of a standing that is learned from
WORD_SCALE = 0.1
SECOND_LOOK = 5_000  # queries from which on candidates are also set against each other; of fewer, half is too little
FOREMOST = 50  # candidates of a query that this is learned from
STEP = 2_000  # queries whose candidates are held at once meanwhile
RESOLUTION = 1e-4  # probability from which the log-scaled channel tells differences


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


class Matcher:
    """Learned weights of words over an `Index`.

    Args:
        threads: of the ranked lists while learning; results do not depend on it.
        seed: of the choice of documents to learn from.
    """

    def __init__(self, *, threads: int = 1, seed: int = 0) -> None:
        self.threads, self.seed = threads, seed

    def fit(self, rows: Rows, taxonomy: Taxonomy, known: Ints, centroids: csr_matrix[Any]) -> Self:
        """Learn what words say, and take over phrases and centroids.

        Args:
            rows: documents and texts of nodes.
            taxonomy: of their labels.
            known: the columns that have documents or texts.
            centroids: of these columns.
        """
        documents, texts = rows.W, rows.words
        counts = np.bincount(np.concatenate([documents.indices, texts.indices]), minlength=documents.shape[1])
        total = documents.shape[0] + texts.shape[0]
        self.idf = (np.log((1 + total) / (1 + counts)) + 1).astype(np.float32)
        self.weights = np.array(UNTAUGHT, dtype=np.float32)
        self.words = np.zeros((3, self.width), dtype=np.float32)
        self.second = FIRST_LOOK
        self.swaps, self.swap_weights = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        specific = most_specific(taxonomy, rows.Y)
        asked = self._queries(rows, specific)
        if len(asked) >= QUERIES[0]:
            rest = rows.some(np.setdiff1d(np.arange(documents.shape[0]), asked))
            index = self._index(rest, taxonomy, known, rest.centroids(taxonomy, known), self.threads)
            self._learn(index, documents[asked], rows.X[asked], specific[asked])
        self.renew(rows, taxonomy, known, centroids)
        return self

    def renew(self, rows: Rows, taxonomy: Taxonomy, known: Ints, centroids: csr_matrix[Any]) -> None:
        """Take other phrases and centroids, as in `fit`; what words say stays."""
        self.index = self._index(rows, taxonomy, known, centroids)

    def _index(
        self, rows: Rows, taxonomy: Taxonomy, known: Ints, centroids: csr_matrix[Any], threads: int = 1
    ) -> Index:
        return Index(Outline.of(taxonomy), Phrases.of(rows, taxonomy), self.idf, known, centroids, threads)

    @property
    def width(self) -> int:
        """How many words are known."""
        return len(self.idf)

    def _queries(self, rows: Rows, specific: csr_matrix[Any]) -> Ints:
        """Return the documents to learn from: labelled, with words, and no mere copies of a text of their node."""
        named = set(zip(_signatures(rows.words).tolist(), rows.text_columns.tolist(), strict=True))
        document, column = pairs(specific)
        signatures = _signatures(rows.W)[document]
        labels = zip(document.tolist(), signatures.tolist(), column.tolist(), strict=True)
        usable = (np.diff(rows.W.indptr) > 0) & (np.diff(specific.indptr) > 0)
        usable[[i for i, signature, label in labels if (signature, label) in named]] = False
        found = np.flatnonzero(usable)
        most = min(QUERIES[1], int(len(found) * LEARN_SHARE))
        return np.sort(np.random.default_rng(self.seed).permutation(found)[:most])

    def _learn(self, index: Index, W: csr_matrix[Any], X: csr_matrix[Any], specific: csr_matrix[Any]) -> None:
        """Learn what words say from all queries; and how candidates compare from half, by the words of the others."""
        if W.shape[0] >= SECOND_LOOK:
            other = copy(self)
            other._learn_words(index, W[::2], X[::2], specific[::2])
            self.second = other._learn_standings(index, W[1::2], X[1::2], specific[1::2])
        self._learn_words(index, W, X, specific)

    def _learn_standings(
        self, index: Index, W: csr_matrix[Any], X: csr_matrix[Any], specific: csr_matrix[Any]
    ) -> Floats:
        """Return weights of standings, from documents that no word was learned from."""
        rows, truths, values = [], [], []
        for start in range(0, W.shape[0], STEP):
            part = slice(start, start + STEP)
            found = index.pairs(W[part], X[part], LISTED)
            logits, parts = self._first_look(found)
            truth = entries(specific[part], found.rows, found.columns)
            foremost = _foremost(logits, found.rows)
            answered = np.isin(np.arange(STEP), found.rows[truth & foremost])
            keep = np.flatnonzero(foremost & answered[found.rows])
            values.append(standings(Candidates.of(found, logits, parts), index)[:, keep].T)
            rows.append(found.rows[keep] + start)
            truths.append(truth[keep])
        return _compared(np.concatenate(values), np.concatenate(rows), np.concatenate(truths))

    def _learn_words(self, index: Index, W: csr_matrix[Any], X: csr_matrix[Any], specific: csr_matrix[Any]) -> None:
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
        seen = csr_matrix(design[keep][:, active], dtype=np.float64)
        weights = np.zeros(design.shape[1], dtype=np.float32)
        is_feature = active < len(FEATURES)
        ridge = np.where(is_feature, EVEN, PENALTY)
        weights[active] = _listwise(seen, found.rows[keep], truth[keep], ridge, is_feature, is_feature.sum())
        bounds = np.cumsum([len(FEATURES), 3 * self.width])
        self.weights, words, self.swap_weights = np.split(weights, bounds)
        self.words = words.reshape(3, self.width)

    def _design(self, found: Pairs) -> csr_matrix[Any]:
        """Return (pairs, features + 3 words + swaps): what the weights are multiplied with."""
        n, f = len(found.rows), len(FEATURES)
        rows, columns, values = [np.repeat(np.arange(n), f)], [np.tile(np.arange(f), n)], [found.features.ravel()]
        for block, (pair, word) in enumerate(found.words):
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
        place = Table(self.swaps, np.arange(len(self.swaps))).at(key, -1)
        known = place >= 0
        return pair[known], place[known]

    def match(self, W: csr_matrix[Any], X: csr_matrix[Any]) -> Matches:
        """Return what documents with words W and features X say of their candidates and of those's ancestors."""
        found = self.index.pairs(W, X, LISTED)
        shape = (W.shape[0], self.index.nodes)
        starts = np.searchsorted(found.rows, np.arange(shape[0] + 1))
        own = csr_matrix((self.probabilities(found), found.columns, starts), shape=shape)
        summed = csr_matrix(own @ self.index.outline.ancestors)
        summed.sort_indices()
        rows, columns = pairs(summed)
        values = np.zeros((3, len(rows)), dtype=np.float32)
        at = np.searchsorted(rows * shape[1] + columns, found.rows * shape[1] + found.columns)
        values[:, at] = found.features[:, :3].T
        return Matches(rows, columns, np.minimum(summed.data, 1).astype(np.float32), *values)

    def probabilities(self, found: Pairs) -> NDArray[np.float64]:
        """Return (pairs,): of all candidates of its document, how probable each is to be a most specific label."""
        return _softmax(self._logits(found), found.rows)

    def _logits(self, found: Pairs) -> Floats:
        """Return the logits of candidates: by words, and corrected by how they stand among each other."""
        logits, parts = self._first_look(found)
        if np.array_equal(self.second, FIRST_LOOK):
            return logits
        return corrected(standings(Candidates.of(found, logits, parts), self.index), self.second)

    def _first_look(self, found: Pairs) -> tuple[Floats, Floats]:
        """Return the logits by words alone, and what matched, missing, context and swapped words add: (4, pairs)."""
        n = len(found.rows)
        added = [
            np.bincount(pair, weights[word] * self.idf[word] * WORD_SCALE, minlength=n)
            for weights, (pair, word) in zip(self.words, found.words, strict=True)
        ]
        pair, place = self._known_swaps(found)
        added.append(np.bincount(pair, self.swap_weights[place], minlength=n))
        parts = np.array(added, dtype=np.float32)
        logits: Floats = found.features @ self.weights
        for part in parts:
            logits += part
        return logits, parts

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_state` builds an equal matcher from; centroids are the scorer's."""
        outline, phrases = self.index.outline, self.index.phrases
        return {
            "idf": self.idf,
            "weights": self.weights,
            "second": self.second,
            "words": self.words,
            "swaps": self.swaps,
            "swap_weights": self.swap_weights,
            **packed("phrases", phrases.words.astype(bool)),
            "phrase_columns": phrases.columns,
            "official": phrases.official,
            **packed("ancestors", outline.ancestors.astype(bool)),
            "above": outline.above,
            "leaf": outline.leaf,
        }

    @classmethod
    def from_state(cls, arrays: Arrays, known: Ints, centroids: csr_matrix[Any]) -> Self:
        """Build from what `get_state` returned, and the scorer's centroids; older states know no second look."""
        matcher = cls()
        matcher.idf, matcher.weights, matcher.words = arrays["idf"], arrays["weights"], arrays["words"]
        matcher.second = arrays.get("second", FIRST_LOOK)
        matcher.swaps, matcher.swap_weights = arrays["swaps"], arrays["swap_weights"]
        words, ancestors = (unpacked(name, arrays).astype(np.float32) for name in ("phrases", "ancestors"))
        outline = Outline(ancestors, arrays["above"], arrays["leaf"])
        phrases = Phrases(words, arrays["phrase_columns"], arrays["official"])
        matcher.index = Index(outline, phrases, matcher.idf, known, centroids)
        return matcher


def log_scaled(probability: Floats) -> Floats:
    """Return probabilities on a scale from 0 to 1 that is logarithmic down to `RESOLUTION`."""
    result: Floats = np.log1p(probability / np.float32(RESOLUTION)) / np.float32(np.log1p(1 / RESOLUTION))
    return result


def _softmax(logits: Floats, rows: Ints) -> NDArray[np.float64]:
    """Return probabilities over the candidates of each row."""
    best = np.full(int(rows.max(initial=-1)) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(best, rows, logits)
    odds = np.exp(logits - best[rows])
    probability: NDArray[np.float64] = odds / np.bincount(rows, odds)[rows]
    return probability


def _foremost(logits: Floats, rows: Ints) -> NDArray[np.bool_]:
    """Mark the candidates with the highest logits of each row, as many as `FOREMOST`."""
    order = np.lexsort((-logits, rows))
    first = np.zeros(len(order), dtype=bool)
    first[order] = np.arange(len(order)) - np.searchsorted(rows, rows) < FOREMOST
    return first


def _compared(values: Floats, rows: Ints, truth: NDArray[np.bool_]) -> Floats:
    """Return weights of standings (pairs, STANDINGS); what does not tell candidates apart gets none."""
    if not truth.any():
        return FIRST_LOOK
    spread = values.std(axis=0, dtype=np.float64)
    telling = np.flatnonzero(spread > LEAST_SPREAD)
    scale = spread[telling]
    first = FIRST_LOOK[telling] * scale
    design = values[:, telling].astype(np.float64) / scale
    weights = np.zeros(len(spread))
    weights[telling] = _listwise(design, rows, truth, np.full(len(telling), EVEN), first) / scale
    return weights.astype(np.float32)


def _listwise(
    design: Any,
    rows: Ints,
    truth: NDArray[np.bool_],
    ridge: NDArray[np.float64],
    first: NDArray[Any],
    rising: int = 0,
) -> NDArray[np.float64]:
    """Return weights of the design's columns: cross entropy of a softmax over the candidates of each row.

    Several true candidates of a row share its probability.

    Args:
        design: (pairs, weights), sparse or dense.
        rows, truth: of the pairs.
        ridge: of each squared weight.
        first: the weights to start from.
        rising: how many weights, the first ones, are not negative.
    """
    start = run_starts(rows)
    starts, group = np.flatnonzero(start), np.cumsum(start) - 1
    target = truth / np.add.reduceat(truth.astype(float), starts)[group]
    transposed = csr_matrix(design.T) if isinstance(design, csr_matrix) else design.T

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = design @ w
        best = np.maximum.reduceat(score, starts)
        odds = np.exp(score - best[group])
        total = np.add.reduceat(odds, starts)
        value = (best + np.log(total)).sum() - (target * score).sum()
        slope = transposed @ (odds / total[group] - target)
        return value / len(starts) + (ridge * w) @ w, slope / len(starts) + 2 * ridge * w

    bounds = [(0, None)] * rising + [(None, None)] * (len(first) - rising)
    result: NDArray[np.float64] = minimize(
        loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60}
    ).x
    return result


def _signatures(W: csr_matrix[Any]) -> NDArray[np.uint64]:
    """Return a number for each row that equal sets of words share."""
    word = (np.arange(W.shape[1], dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    word ^= word >> np.uint64(29)
    word *= np.uint64(0xFF51AFD7ED558CCD)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(word[W.indices])])
    result: NDArray[np.uint64] = total[W.indptr[1:]] - total[W.indptr[:-1]]
    return result
