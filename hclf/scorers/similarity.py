"""How alike a document and the texts of a node are, under a frozen encoder: it works without a single document.

    document -> vector, words                     node -> vectors of its texts and of its path, words, class mean
    features of a (document, node) pair           cosines on the taxonomy's own scale, shared words
    weighed sum -> softmax over nodes             probability of being a most specific label
    added up over the nodes below                 probability of being a label: the first channel

Weights of the features are fixed until there are documents to learn them from (the loss is ListNet's top-one cross
entropy, Cao et al. 2007). The mean vector of a node's documents is shrunk towards its path (n documents count
n / (n + 1), as in prototypical networks, Snell et al. 2017), so a node without documents is its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import log_softmax
from sklearn.preprocessing import normalize

from hclf.errors import UsageError
from hclf.inputs import Inputs, joined
from hclf.labels import most_specific, pairs
from hclf.scorers.base import Candidates, Progress, Scored, silent
from hclf.scorers.features import scaled
from hclf.scorers.ngrams import Vocabulary, extract_words
from hclf.scorers.packing import packed, prefixed, unpacked, unprefixed
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

FEATURES = ("best", "words", "mean")
NODE_ARRAYS = ("paths", "vectors", "starts", "hashes", "rarity", "scale")
# Chosen by the labels of training documents of clinc150, Instacart and Shopify, with one encoder (all-MiniLM-L6-v2).
UNTAUGHT = (2.8, 12.0, 1.4)
FEWEST_TO_LEARN, MOST_TO_LEARN = 50, 2_000  # documents that weights are learned from
RIDGE = 0.01  # of squared differences from the fixed weights, for all documents together
USUAL_SPREAD, SPREAD_PAIRS = 0.14, 10  # standard deviation of cosines between nodes, and how many pairs say so
MOST_NODES = 500  # whose cosines tell the scale
MOST_WORDS = 2_000  # of a document, looked for in texts of nodes
LEAST_LOG_ODDS = np.float32(np.log(1e-4))  # and the highest is its negative
STEP = 256  # documents whose features are held at once while learning
MEMORY = 100_000  # texts whose vectors are kept from one fit to the next
SEPARATOR = " > "


class SimilarityScorer:
    """Cosine between documents and the texts of nodes, and the means of training documents.

    A document is its fields one after another. A node is its texts (names, synonyms, description) and its path. Of
    documents the first channel says by how much log-odds a node is a label, where exactly one path is. What is no
    better than chance, by the cosines of the nodes with each other, comes out near 0.

    Scores of a document do not depend on its batch beyond rounding of matrix products (1e-5).

    Args:
        encoder: folder of a Hugging Face model, or its name on the hub; kept in saved models.
        pooling: `mean`, `first` or `last`; None: what suits the model.
        max_length: tokens of a chunk; None: as many as the model reads, up to 512.
        candidates: best nodes of a document that are weighed against each other.
        texts: most texts of a node that are read, names first; its path is read besides.
        n_jobs: has no effect; the encoder uses the threads that torch has.
        seed: of the choice of documents to learn weights from.

    Attributes:
        columns: nodes with training documents.
        known: all nodes.
        weights: by name in `FEATURES`.
    """

    name: ClassVar[str] = "similarity"
    channels: ClassVar[tuple[str, ...]] = ("log_odds", "cosine", "mean")
    candidate_channels: ClassVar[tuple[str, ...]] = ("log_odds", "cosine")
    floors: ClassVar[Mapping[str, float]] = {"log_odds": float(LEAST_LOG_ODDS)}
    learns_without_documents: ClassVar[bool] = True

    def __init__(
        self,
        *,
        encoder: str | Path = "",
        pooling: str | None = None,
        max_length: int | None = None,
        candidates: int = 50,
        texts: int = 8,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        if not str(encoder):
            raise UsageError("scorer 'similarity' needs an encoder: the folder of a Hugging Face model, or its name")
        if candidates < 1 or texts < 1:
            raise UsageError(f"candidates and texts are at least 1, not {candidates} and {texts}")
        self.encoder, self.pooling, self.max_length = str(encoder), pooling, max_length
        self.candidates, self.texts, self.n_jobs, self.seed = candidates, texts, n_jobs, seed

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Read the nodes, take the means of documents and learn what features are worth; there may be no document.

        Raises:
            UsageError: a feature matrix, or an encoder that cannot be loaded.
        """
        texts = _texts(inputs)
        self._reader = _reader(self.encoder, self.pooling, self.max_length)
        self._nodes = NodeTexts.read(taxonomy, self._reader, self.texts, progress)
        self._ancestors = _ancestors(taxonomy)
        self.columns: Ints = distinct(Y.indices.astype(np.int64))
        self.known: Ints = np.arange(len(taxonomy))
        specific = most_specific(taxonomy, Y)
        vectors = self._reader.remembered(texts, progress)
        means = self._nodes.paths + csr_matrix(specific.T, dtype=np.float32) @ vectors
        self._means: Floats = normalize(means)
        self._weights: Floats = np.array(UNTAUGHT, dtype=np.float32)
        self._learn(texts, vectors, specific, means)
        return self

    @property
    def weights(self) -> dict[str, float]:
        """What features are worth, in log-odds."""
        return dict(zip(FEATURES, self._weights.tolist(), strict=True))

    def _learn(self, texts: Sequence[str], vectors: Floats, specific: csr_matrix[Any], means: Floats) -> None:
        """Learn weights from some documents, each as if it were not in the means."""
        usable = np.flatnonzero((np.diff(specific.indptr) > 0) & vectors.any(axis=1))
        if len(usable) < FEWEST_TO_LEARN:
            return
        asked = np.sort(np.random.default_rng(self.seed).permutation(usable)[:MOST_TO_LEARN])
        values, truths = [], []
        for start in range(0, len(asked), STEP):
            rows = asked[start : start + STEP]
            features = self._features([texts[i] for i in rows.tolist()], vectors[rows])
            row, column = pairs(specific[rows])
            own = vectors[rows[row]]
            features[2, row, column] = self._nodes.scaled((own * normalize(means[column] - own)).sum(axis=1))
            best, _ = _best(self._logits(features), self.candidates)
            truth = np.zeros(features.shape[1:], dtype=bool)
            truth[row, column] = True
            values.append(np.take_along_axis(features, best[None], axis=2))
            truths.append(np.take_along_axis(truth, best, axis=1))
        self._weights = _listwise(np.concatenate(values, axis=1), np.concatenate(truths))

    def _features(self, texts: Sequence[str], vectors: Floats) -> Floats:
        """Return (features, documents, nodes)."""
        nodes = self._nodes
        best, mean = nodes.scaled(nodes.cosines(vectors)), nodes.scaled(vectors @ self._means.T)
        return np.stack([best, nodes.shared_words(texts), mean])

    def _logits(self, features: Floats) -> Floats:
        logits: Floats = np.einsum("f,fij->ij", self._weights, features)
        return logits

    def score(self, inputs: Inputs) -> Scored:
        """Return log-odds and cosines of every column, and of the other nodes among a document's candidates."""
        texts = _texts(inputs)
        features = self._features(texts, self._reader.vectors(texts))
        best, logits = _best(self._logits(features), self.candidates)
        odds = np.exp(np.minimum(logits, 80))
        share = odds / (1 + odds.sum(axis=1, keepdims=True))  # 1: of none of them
        n, width = features.shape[1:]
        rows = np.repeat(np.arange(n), best.shape[1])
        listwise = csr_matrix((share.ravel(), (rows, best.ravel())), shape=(n, width)) @ self._ancestors
        listwise.sort_indices()
        listwise.data = np.minimum(listwise.data, 1).astype(np.float32)
        return Scored(*self._channels(listwise, features[0], features[2]), csr_matrix(listwise))

    def _channels(self, listwise: csr_matrix[Any], cosine: Floats, mean: Floats) -> tuple[Floats, Candidates]:
        """Return the channels of columns, and of the other nodes that there is a probability of."""
        rows, columns = pairs(listwise)
        log_odds = _log_odds(listwise.data)
        out = np.full((len(self.channels), len(cosine), len(self.columns)), LEAST_LOG_ODDS, dtype=np.float32)
        out[1], out[2] = cosine[:, self.columns], mean[:, self.columns]
        inside = np.isin(columns, self.columns)
        out[0, rows[inside], np.searchsorted(self.columns, columns[inside])] = log_odds[inside]
        rows, columns = rows[~inside], columns[~inside]
        return out, Candidates(rows, columns, np.stack([log_odds[~inside], cosine[rows, columns]]))

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the encoder, and vectors and words of nodes."""
        encoder, weights = self._reader.encoder.get_state()
        names = ("encoder", "pooling", "max_length", "candidates", "texts", "seed")
        config = {"options": {name: getattr(self, name) for name in names}, "encoder": encoder}
        return config, {
            **prefixed("encoder", weights),
            **prefixed("nodes", self._nodes.get_state()),
            **packed("ancestors", self._ancestors.astype(bool)),
            "columns": self.columns,
            "means": self._means,
            "weights": self._weights,
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        from hclf.scorers.neural.transformer import TransformerEncoder

        scorer = cls(**config["options"])
        scorer._reader = Reader(TransformerEncoder.from_state(config["encoder"], unprefixed("encoder", arrays)))
        scorer._nodes = NodeTexts.from_state(unprefixed("nodes", arrays))
        scorer._ancestors = unpacked("ancestors", arrays).astype(np.float32)
        scorer.columns, scorer._means, scorer._weights = (arrays[name] for name in ("columns", "means", "weights"))
        scorer.known = np.arange(len(scorer._means))
        return scorer


class Reader:
    """A frozen encoder.

    Args:
        encoder: a `hclf.scorers.neural.encoding.Encoder`.
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self._memory: dict[str, Floats] = {}

    def vectors(self, texts: Sequence[str], progress: Progress = silent) -> Floats:
        """Return vectors of unit length (texts, width); of a text without words 0."""
        from hclf.scorers.neural.transformer import embed

        out = np.zeros((len(texts), self.encoder.width), dtype=np.float32)
        some = [i for i, text in enumerate(texts) if text.strip()]
        if some:
            out[some] = normalize(embed(self.encoder, [texts[i] for i in some], progress=progress))
        return out

    def remembered(self, texts: Sequence[str], progress: Progress = silent) -> Floats:
        """Return what `vectors` does, of texts it has read before from memory: every fold of a fit reads the same."""
        new = list(dict.fromkeys(text for text in texts if text not in self._memory))
        if len(self._memory) + len(new) > MEMORY:
            return self.vectors(texts, progress)
        self._memory |= dict(zip(new, self.vectors(new, progress), strict=True))
        found = [self._memory[text] for text in texts]
        return np.stack(found) if found else np.zeros((0, self.encoder.width), dtype=np.float32)


@lru_cache(maxsize=1)
def _reader(encoder: str, pooling: str | None, max_length: int | None) -> Reader:
    from hclf.scorers.neural.transformer import load_transformer

    return Reader(load_transformer(encoder, pooling=pooling, max_length=max_length, tune="frozen"))


class NodeTexts:
    """What is read of nodes.

    Args:
        paths: (nodes, width) unit vectors of paths.
        vectors: (texts, width) unit vectors of the nodes' own texts, by node, each with one at least.
        starts: (nodes,) where a node's texts begin.
        hashes: of the words in paths and texts, ascending.
        rarity: (words,) inverse document frequency of these words among the paths.
        words: (nodes + texts, words) unit rows: first of paths, then of texts.
        scale: mean and standard deviation of the cosines between paths.
    """

    def __init__(
        self,
        paths: Floats,
        vectors: Floats,
        starts: Ints,
        hashes: NDArray[np.uint64],
        rarity: Floats,
        words: csr_matrix[Any],
        scale: Floats,
    ) -> None:
        self.paths, self.vectors, self.starts, self.scale = paths, vectors, starts, scale
        self.hashes, self.rarity, self.words = hashes, rarity, words
        self._vocabulary = Vocabulary(hashes)
        self._by_word = csr_matrix(words.T)

    @classmethod
    def read(cls, taxonomy: Taxonomy, reader: Reader, most: int, progress: Progress) -> Self:
        """Read the texts of a taxonomy: of each node as many as `most`."""
        paths = [SEPARATOR.join(taxonomy[step].name for step in taxonomy.path(node)) for node in taxonomy.nodes]
        own = [taxonomy.node(j).texts[:most] or [taxonomy.node(j).name] for j in range(len(taxonomy))]
        texts = [text for group in own for text in group]
        starts = np.cumsum([0, *map(len, own)])[:-1].astype(np.int64)
        hashes = np.unique(extract_words([*paths, *texts], MOST_WORDS).hashes)
        vocabulary = Vocabulary(hashes)
        counts = np.bincount(_word_counts(vocabulary, paths).indices, minlength=len(hashes))
        rarity = (np.log((1 + len(paths)) / (1 + counts)) + 1).astype(np.float32)
        words = _word_rows(vocabulary, rarity, [*paths, *texts])
        vectors = reader.remembered(paths, progress)
        return cls(vectors, reader.remembered(texts, progress), starts, hashes, rarity, words, _scale(vectors))

    def scaled(self, cosines: Floats) -> Floats:
        """Return cosines as standard deviations above those of nodes with each other."""
        result: Floats = (cosines - self.scale[0]) / self.scale[1]
        return result

    def cosines(self, vectors: Floats) -> Floats:
        """Return the cosine of documents with the best text of each node, its path among them."""
        return self._best(vectors @ self.paths.T, vectors @ self.vectors.T)

    def shared_words(self, texts: Sequence[str]) -> Floats:
        """Return the cosine of word counts, weighed by rarity, with the best text of each node."""
        found = (_word_rows(self._vocabulary, self.rarity, texts) @ self._by_word).toarray()
        nodes = len(self.paths)
        return self._best(found[:, :nodes], found[:, nodes:])

    def _best(self, of_paths: Floats, of_texts: Floats) -> Floats:
        result: Floats = np.maximum(of_paths, np.maximum.reduceat(of_texts, self.starts, axis=1))
        return result

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_state` builds an equal object from."""
        return {**{name: getattr(self, name) for name in NODE_ARRAYS}, **packed("words", self.words)}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        return cls(words=unpacked("words", arrays), **{name: arrays[name] for name in NODE_ARRAYS})


def _texts(inputs: Inputs) -> list[str]:
    """Return each document as one text.

    Raises:
        UsageError: a feature matrix.
    """
    if isinstance(inputs, csr_matrix):
        raise UsageError("scorer 'similarity' compares texts with texts; for a feature matrix take another")
    return joined(inputs)


def _ancestors(taxonomy: Taxonomy) -> csr_matrix[Any]:
    """Return (nodes, nodes): ones at a node itself and its ancestors."""
    every = np.arange(len(taxonomy))
    rows, columns = taxonomy.close_pairs(every, every)
    shape = (len(taxonomy), len(taxonomy))
    return csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)


def _word_counts(vocabulary: Vocabulary, texts: Sequence[str]) -> csr_matrix[Any]:
    grams = extract_words(texts, MOST_WORDS)
    columns = vocabulary.columns(grams.hashes)
    known = columns >= 0
    shape = (len(texts), len(vocabulary))
    counts = csr_matrix((np.ones(known.sum(), dtype=np.float32), (grams.rows[known], columns[known])), shape=shape)
    counts.sum_duplicates()
    return counts


def _word_rows(vocabulary: Vocabulary, rarity: Floats, texts: Sequence[str]) -> csr_matrix[Any]:
    """Return unit rows of word counts, sublinear and weighed by rarity."""
    rows = _word_counts(vocabulary, texts)
    rows.data = (1 + np.log(rows.data)) * rarity[rows.indices]
    return scaled(rows)


def _scale(vectors: Floats) -> Floats:
    """Return mean and standard deviation of the cosines between unit vectors; of few, the latter is near the usual.

    Cosines of one encoder lie between 0 and 0.5, those of another between 0.7 and 0.9.
    """
    some = vectors[np.random.default_rng(0).permutation(len(vectors))[:MOST_NODES]].astype(np.float64)
    cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
    if not len(cosines):
        return np.array([0, USUAL_SPREAD], dtype=np.float32)
    weighed = len(cosines) * cosines.var() + SPREAD_PAIRS * USUAL_SPREAD**2
    return np.array([cosines.mean(), np.sqrt(weighed / (len(cosines) + SPREAD_PAIRS))], dtype=np.float32)


def _best(logits: Floats, most: int) -> tuple[Ints, Floats]:
    """Return the columns of the highest logits of each row, ascending, and these logits."""
    k = min(most, logits.shape[1])
    best = np.sort(np.argpartition(-logits, k - 1, axis=1)[:, :k], axis=1)
    return best, np.take_along_axis(logits, best, axis=1)


def _log_odds(probability: Floats) -> Floats:
    """Return log-odds, none beyond `LEAST_LOG_ODDS` on either side."""
    least = np.exp(LEAST_LOG_ODDS)
    bounded = np.clip(probability, least, 1 - least)
    return np.asarray(np.log(bounded) - np.log1p(-bounded), dtype=np.float32)


def _listwise(values: Floats, truth: NDArray[np.bool_]) -> Floats:
    """Return weights of features (features, documents, candidates) by which true candidates come out on top.

    No weight is negative; the fewer documents there are, the nearer they stay to the fixed ones.
    """
    answered = truth.any(axis=1)
    X = values[:, answered].astype(np.float64)
    target = truth[answered] / truth[answered].sum(axis=1, keepdims=True)
    start = np.array(UNTAUGHT)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = np.einsum("f,fij->ij", weights, X)
        probability = log_softmax(logits, axis=1)
        away = weights - start
        error = np.exp(probability) - target
        gradient = np.einsum("fij,ij->f", X, error) + 2 * RIDGE * away
        return float(-(target * probability).sum() + RIDGE * (away**2).sum()), gradient

    bounds = [(0, None)] * len(start)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x, dtype=np.float32)
