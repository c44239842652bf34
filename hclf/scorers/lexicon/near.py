"""What is like a phrase without being one: phrases spelt alike, and names of nodes that say it in other words.

Spelling is compared by character n-grams, weighed by how rare they are. Names are compared word by word: a word
stands for itself, for what a glossary says, and for words of names that it is spelt like. So a Spanish phrase finds
an English name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from sklearn.feature_extraction.text import HashingVectorizer
from sparse_dot_topn import sp_matmul_topn

from hclf.labels import from_pairs
from hclf.scorers.lexicon.folding import Folding
from hclf.scorers.lexicon.matches import ranges
from hclf.scorers.lexicon.phrases import Variants

Ints = NDArray[np.int64]

GLOSSARIES = Path(__file__).parent / "glossary"
GRAMS = 1 << 20  # hashes of character n-grams
LENGTHS = (2, 5)  # of the shortest and longest of them
LEAST = 0.3  # similarity of what is alike
ALIKE = 5  # words of names that one word may be spelt like
LEAST_ALIKE = 0.35
STEEP = 7.0  # how fast a word spelt less alike loses weight
CLEARLY = 0.6  # weight from which a spelling counts beside the glossary


@cache
def glossary(language: str) -> Mapping[str, tuple[str, ...]]:
    """Return word -> words of names, of one glossary file."""
    content: Any = yaml.load((GLOSSARIES / f"{language}.yaml").read_text("utf-8"), Loader=yaml.BaseLoader)
    return {word: tuple(names.split()) for word, names in content.items()}


def glossaries() -> list[str]:
    """Return the glossaries that hclf ships."""
    return sorted(file.stem for file in GLOSSARIES.glob("*.yaml"))


class Spelling:
    """Finds those of some texts that are spelt most like others."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = _grams(texts)
        frequency = np.bincount(counts.indices, minlength=GRAMS)
        self._idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        self._by_gram = csr_matrix(_weighed(counts, self._idf).T)

    def nearest(self, texts: Sequence[str], count: int, least: float = LEAST) -> csr_matrix[Any]:
        """Return (texts, own texts) similarities, of each row the highest, in falling order."""
        return _top(_weighed(_grams(texts), self._idf), self._by_gram, count, least)


def _grams(texts: Sequence[str]) -> csr_matrix[Any]:
    hashing = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=LENGTHS,
        n_features=GRAMS,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    return csr_matrix(hashing.transform(texts)) if len(texts) else empty_matrix(0, GRAMS)


def _weighed(counts: csr_matrix[Any], idf: NDArray[np.float32]) -> csr_matrix[Any]:
    counts.data = (1 + np.log(counts.data)).astype(np.float32) * idf[counts.indices]
    return _unit(counts)


def empty_matrix(rows: int, columns: int) -> csr_matrix[Any]:
    """Return a matrix without entries."""
    nothing = np.zeros(0, dtype=np.int64)
    return csr_matrix((np.zeros(0, np.float32), nothing, np.zeros(rows + 1, np.int64)), shape=(rows, columns))


def _unit(matrix: csr_matrix[Any]) -> csr_matrix[Any]:
    """Return rows of unit length, or of nothing."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    data = matrix.data / np.maximum(_lengths(matrix), np.float32(1e-12))[rows]
    return csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _lengths(matrix: csr_matrix[Any]) -> NDArray[np.float32]:
    """Return the length of each row."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    squares = np.bincount(rows, matrix.data.astype(np.float64) ** 2, minlength=matrix.shape[0])
    return np.asarray(np.sqrt(squares), dtype=np.float32)


def _top(left: csr_matrix[Any], right: csr_matrix[Any], count: int, least: float) -> csr_matrix[Any]:
    if not left.shape[0] or not right.shape[1]:
        return empty_matrix(left.shape[0], right.shape[1])
    found = sp_matmul_topn(left, right, top_n=count, threshold=least, sort=True, n_threads=1)
    return csr_matrix(found)


class Names:
    """Finds the names of nodes that say what a phrase says.

    Args:
        variants: names as sequences of folded words, among others.
        which: the variants that are names.
        table: folded word -> folded words of names that it may stand for.
    """

    def __init__(self, variants: Variants, which: Ints, table: Mapping[str, Sequence[str]]) -> None:
        self.vocabulary, self.table = variants.vocabulary, table
        position, places = ranges(variants.indptr[which], variants.indptr[which + 1])
        self.phrase = variants.phrase[which]
        self.names = _binary(position, variants.words[places], (len(which), len(self.vocabulary)))
        self._prepare()

    def _prepare(self) -> None:
        index = {word: i for i, word in enumerate(self.vocabulary)}
        counts = np.bincount(self.names.indices, minlength=len(index))
        total = max(self.names.shape[0], 1)
        self.idf = (np.log(total / np.maximum(counts, 1)) + 0.5).astype(np.float32)
        names = csr_matrix(self.names @ diags(self.idf))
        self.lengths = _lengths(names)
        self._by_word = csr_matrix(_unit(names).T)
        self._spelling = Spelling(self.vocabulary)
        self._meant = {word: [index[name] for name in names if name in index] for word, names in self.table.items()}
        self._index = index

    def nearest(
        self, phrases: Sequence[str], count: int, least: float = LEAST
    ) -> tuple[csr_matrix[Any], NDArray[np.float32]]:
        """Return (phrases, names) similarities, of each row the highest, and how much each phrase says.

        Phrases are folded words. What a text says is the length of its vector before that becomes 1.
        """
        words = sorted({word for phrase in phrases for word in phrase.split()})
        index = {word: i for i, word in enumerate(words)}
        counts = [len(phrase.split()) for phrase in phrases]
        columns = np.array([index[word] for phrase in phrases for word in phrase.split()], dtype=np.int64)
        said = _binary(np.repeat(np.arange(len(phrases)), counts), columns, (len(phrases), len(words)))
        rows = csr_matrix(said @ self._meaning(words) @ diags(self.idf))
        return _top(_unit(rows), self._by_word, count, least), _lengths(rows)

    def _meaning(self, words: Sequence[str]) -> csr_matrix[Any]:
        """Return (words, vocabulary): which words of names a word stands for, rows of unit length at most."""
        alike = self._spelling.nearest(words, ALIKE, LEAST_ALIKE)
        rows, columns, values = [], [], []
        for row, word in enumerate(words):
            part = slice(alike.indptr[row], alike.indptr[row + 1])
            weights = np.exp(STEEP * (np.minimum(alike.data[part], 1) - 1))
            stands = dict(zip(alike.indices[part].tolist(), weights.tolist(), strict=True))
            listed = self._meant.get(word)
            if word in self._index:
                stands = {self._index[word]: 1.0}
            if listed:
                stands = {name: weight for name, weight in stands.items() if weight > CLEARLY}
                stands |= dict.fromkeys(listed, 1.0)
            norm = np.sqrt(sum(weight**2 for weight in stands.values()))
            sure = max(stands.values(), default=0.0) ** 0.3
            for name, weight in sorted(stands.items()):
                rows.append(row)
                columns.append(name)
                values.append(weight / norm * sure)
        shape = (len(words), len(self.vocabulary))
        return csr_matrix((np.array(values, dtype=np.float32), (rows, columns)), shape=shape)


def folded_glossary(folding: Folding) -> dict[str, list[str]]:
    """Return folded word -> folded words of names, of all glossaries."""
    table: dict[str, list[str]] = {}
    for language in glossaries():
        for word, names in glossary(language).items():
            found = table.setdefault(folding.fold(word), [])
            found += [form for name in names if (form := folding.fold(name)) and form not in found]
    return table


def _binary(rows: Ints, columns: NDArray[Any], shape: tuple[int, int]) -> csr_matrix[Any]:
    matrix = from_pairs(rows, columns, shape)
    matrix.data = matrix.data.astype(np.float32)
    return csr_matrix(matrix)
