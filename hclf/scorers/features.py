"""From documents to sparse feature rows: TF-IDF of words and character n-grams, or a matrix standardised."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.preprocessing import normalize

from hclf.errors import DataError, UsageError
from hclf.scorers.ngrams import Ngrams, Vocabulary, extract, extract_words, locate, locate_words
from hclf.scorers.numbers import Moments, is_dense
from hclf.taxonomy import distinct

MIN_DOCUMENTS = (1, 2)  # in how many documents a word n-gram, a character n-gram must occur
ROW_NORM = 2**0.5  # two unit-length blocks side by side; the scale that C = 1 was chosen at
STEM = 4  # characters of a word that stand for its inflected forms, where words are matched
OTHER_FIELDS_WEIGHT = 0.5  # of every field after the first, unless the user says otherwise

Ints = NDArray[np.int32]
State = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class Located(NamedTuple):
    """The features of documents, by the words they are in.

    Attributes:
        rows: (words,) the document, ascending.
        fields: (words,) the text field.
        starts, ends: (words,) character offsets into that field.
        X: (words, features) float32; the words of a document add up to its features.
    """

    rows: NDArray[np.int64]
    fields: Sequence[str]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    X: csr_matrix[Any]


class Features(Protocol):
    """Turns inputs into sparse float32 rows of Euclidean length `ROW_NORM` or 0."""

    def fit_transform(self, inputs: Any, texts: Sequence[str] = ()) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
        """Learn from inputs and from extra single texts; return the rows of both."""
        ...

    def transform(self, inputs: Any) -> csr_matrix[Any]:
        """Return the rows of inputs."""
        ...

    def get_state(self) -> State:
        """Return JSON-able values and arrays that `from_state` builds an equal object from."""
        ...


class TextFeatures:
    """TF-IDF (sublinear, smoothed) of word 1-2-grams and of character 3-5-grams within words.

    Every field of a document is weighed on its own, scaled to unit length, multiplied by the field's weight and
    added up over one shared vocabulary: a long ingredient list does not drown a short title.

    Args:
        field_weights: weight of each named field; None gives the first field 1.0 and every other one 0.5.
        stems: whether `words` and `word_places` know stems, too.
    """

    kind = "text"

    def __init__(self, field_weights: Mapping[str, float] | None = None, *, stems: bool = False) -> None:
        self.field_weights = dict(field_weights) if field_weights else None
        self.with_stems, self.stems = stems, Vocabulary(np.zeros(0, dtype=np.uint64))

    def fit_transform(
        self, inputs: Sequence[Mapping[str, str]], texts: Sequence[str] = ()
    ) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
        """Learn vocabulary and weights from documents and from extra single texts; return the rows of both.

        Raises:
            DataError: no text has a single word.
        """
        if self.field_weights is None:
            names = list(dict.fromkeys(name for fields in inputs for name in fields))
            self.field_weights = {name: OTHER_FIELDS_WEIGHT if i else 1.0 for i, name in enumerate(names)}
        documents = [*inputs, *({self.main_field: text} for text in texts)]
        parts, rows, weights, _ = self._flatten(documents)
        blocks, self.vocabularies, self.idf = [], [], []
        for grams, least in zip(extract(parts), MIN_DOCUMENTS, strict=True):
            hashes, columns = np.unique(grams.hashes, return_inverse=True)
            counts = _counts(grams.rows, columns, (len(parts), len(hashes)))
            frequency = _document_frequency(counts, rows)
            # A taxonomy of few documents keeps its rare n-grams: they may be all there is.
            keep = np.flatnonzero(frequency >= min(least, max(1, len(documents) // 50)))
            self.vocabularies.append(Vocabulary(hashes[keep]))
            self.idf.append((np.log((1 + len(documents)) / (1 + frequency[keep])) + 1).astype(np.float32))
            blocks.append(counts[:, keep])
        if not len(self.vocabularies[0]):
            raise DataError("no training document has a single word of text")
        if self.with_stems:
            self.stems = Vocabulary(np.unique(extract_words(parts, sys.maxsize, STEM).hashes))
        X = self._weigh(blocks, rows, weights, len(documents))
        return X[: len(inputs)], X[len(inputs) :]

    def transform(self, inputs: Sequence[Mapping[str, str]]) -> csr_matrix[Any]:
        """Return the rows of documents, (documents, features) float32.

        Raises:
            UsageError: a document has text, but only in fields the model was not trained on.
        """
        parts, rows, weights, _ = self._flatten(inputs)
        blocks = []
        for grams, vocabulary in zip(extract(parts), self.vocabularies, strict=True):
            blocks.append(_known_counts(grams, vocabulary, len(parts)))
        return self._weigh(blocks, rows, weights, len(inputs))

    def located(self, inputs: Sequence[Mapping[str, str]]) -> Located:
        """Return the features of documents by words: what the words of a document add up to is its row.

        The value of a feature in a field is shared equally among its occurrences there, and an occurrence among the
        words that it covers, as in `hclf.scorers.ngrams.Places`.

        Raises:
            UsageError: as in `transform`.
        """
        parts, rows, weights, fields = self._flatten(inputs)
        words, *places = locate(parts)
        documents = rows[words.rows]
        blocks, filled = [], np.zeros(len(inputs))
        for (hashes, of, shares), vocabulary, idf in zip(places, self.vocabularies, self.idf, strict=True):
            columns, width = vocabulary.columns(hashes), len(vocabulary)
            known = columns >= 0
            of, columns, shares = of[known], columns[known], shares[known]
            key, inverse = np.unique(words.rows[of].astype(np.int64) * width + columns, return_inverse=True)
            part, feature = np.divmod(key, max(width, 1))
            count = np.rint(np.bincount(inverse, shares, minlength=len(key)))
            value = (1 + np.log(count)) * idf[feature]
            value *= (weights / _at_least_tiny(np.sqrt(np.bincount(part, value**2, minlength=len(parts)))))[part]
            total = csr_matrix((value, (rows[part], feature)), shape=(len(inputs), width))
            length = np.sqrt(np.asarray(total.multiply(total).sum(axis=1)).ravel())
            filled += length > 0
            one = value / count / _at_least_tiny(length)[rows[part]]
            shape = (len(documents), width)
            blocks.append(csr_matrix((shares * one[inverse], (of, columns)), shape=shape, dtype=np.float32))
        X = csr_matrix(hstack(blocks, dtype=np.float32))
        X.data *= np.repeat((ROW_NORM / _at_least_tiny(np.sqrt(filled)))[documents], np.diff(X.indptr))
        return Located(documents, [fields[part] for part in words.rows.tolist()], words.starts, words.ends, X)

    def words(self, texts: Sequence[str], most: int) -> csr_matrix[Any]:
        """Return (texts, words + stems) float32: ones where a known one is among the first `most` words of a text."""
        blocks = []
        for vocabulary, stem in self._of_words():
            blocks.append(_known_counts(extract_words(texts, most, stem), vocabulary, len(texts)))
        found = csr_matrix(hstack(blocks, dtype=np.float32))
        found.data[:] = 1
        return found

    def word_places(self, texts: Sequence[str], most: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Return text, column, start and end of all that `words` knows among the first `most` words of each text."""
        found, before = [], 0
        for vocabulary, stem in self._of_words():
            grams, starts, ends = locate_words(texts, most, stem)
            columns = vocabulary.columns(grams.hashes)
            known = columns >= 0
            found.append((grams.rows[known], columns[known] + before, starts[known], ends[known]))
            before += len(vocabulary)
        rows, words, starts, ends = (np.concatenate(part) for part in zip(*found, strict=True))
        return rows, words, starts, ends

    def _of_words(self) -> list[tuple[Vocabulary, int]]:
        """Return what `words` has columns for: words, and what begins as some of them."""
        return [(self.vocabularies[0], 0), *([(self.stems, STEM)] if self.with_stems else [])]

    @property
    def main_field(self) -> str:
        """The field that weighs most, the first of equals."""
        weights = self.field_weights or {}
        return max(weights, key=lambda name: weights[name], default="text")

    def main_text(self, documents: Sequence[Mapping[str, str]]) -> list[str]:
        """Return each document's `main_field`."""
        main = self.main_field
        return [document.get(main) or "" for document in documents]

    def _flatten(
        self, documents: Sequence[Mapping[str, str]]
    ) -> tuple[list[str], NDArray[Any], NDArray[Any], list[str]]:
        """Return the non-empty fields of all documents in one list, with their rows, weights and names."""
        weights = self.field_weights or {}
        for fields in documents:
            if weights.keys().isdisjoint(fields) and any(text.strip() for text in fields.values()):
                here, trained = ", ".join(map(repr, fields)), ", ".join(map(repr, weights))
                raise UsageError(f"a document has text in {here} only; the model was trained on {trained}")
        found = [
            (text, row, weights[name], name)
            for row, fields in enumerate(documents)
            for name, text in fields.items()
            if text and weights.get(name)
        ]
        return (
            [text for text, _, _, _ in found],
            np.array([row for _, row, _, _ in found], dtype=np.int64),
            np.array([weight for _, _, weight, _ in found], dtype=np.float32),
            [name for _, _, _, name in found],
        )

    def _weigh(
        self, blocks: Sequence[csr_matrix[Any]], rows: NDArray[Any], weights: NDArray[Any], n: int
    ) -> csr_matrix[Any]:
        gather = csr_matrix((weights, (rows, np.arange(len(rows)))), shape=(n, len(rows)))
        weighed = []
        for counts, idf in zip(blocks, self.idf, strict=True):
            counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
            weighed.append(scaled(gather @ scaled(counts)))
        X = scaled(csr_matrix(hstack(weighed, dtype=np.float32)), ROW_NORM)
        X.sort_indices()
        return X

    def get_state(self) -> State:
        """Return vocabulary and weights."""
        arrays: dict[str, NDArray[Any]] = {f"idf{i}": idf for i, idf in enumerate(self.idf)}
        arrays |= {f"hashes{i}": vocabulary.hashes for i, vocabulary in enumerate(self.vocabularies)}
        if self.with_stems:
            arrays["stems"] = self.stems.hashes
        return {"kind": self.kind, "field_weights": self.field_weights}, arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned; older states know no stems."""
        features = cls(config["field_weights"], stems="stems" in arrays)
        if features.with_stems:
            features.stems = Vocabulary(arrays["stems"])
        features.idf = [arrays[f"idf{i}"] for i in range(len(MIN_DOCUMENTS))]
        features.vocabularies = [Vocabulary(arrays[f"hashes{i}"]) for i in range(len(MIN_DOCUMENTS))]
        return features


class MatrixFeatures:
    """A feature matrix: missing values become the column mean, columns are standardised, rows are scaled.

    A matrix that is mostly zeros is scaled without centring, so that it stays sparse.
    """

    kind = "matrix"

    def fit_transform(
        self, inputs: csr_matrix[Any], texts: Sequence[str] = ()
    ) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
        """Learn means and scales; node texts mean nothing beside numeric features and give no rows."""
        self.mean, deviation, self.centred = Moments.of(inputs, is_dense(inputs))
        self.scale = np.where(deviation > 1e-12, deviation, 1.0)
        X = self.transform(inputs)
        return X, X[:0]

    def transform(self, inputs: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return the rows of a matrix with the same columns as in fit.

        Raises:
            UsageError: the matrix has another number of columns.
        """
        if inputs.shape[1] != len(self.mean):
            raise UsageError(f"the matrix has {inputs.shape[1]} features, the model was fitted on {len(self.mean)}")
        X = csr_matrix(inputs, dtype=np.float64, copy=True)
        X.data = np.where(np.isnan(X.data), self.mean[X.indices], X.data)
        if self.centred:
            X = csr_matrix((X.toarray() - self.mean) / self.scale)
        else:
            X.data /= self.scale[X.indices]
        return scaled(X.astype(np.float32), ROW_NORM)

    def get_state(self) -> State:
        """Return means and scales."""
        return {"kind": self.kind, "centred": self.centred}, {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        features = cls()
        features.mean, features.scale, features.centred = arrays["mean"], arrays["scale"], config["centred"]
        return features


def features_from_state(config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Features:
    """Build the right kind of features from its state."""
    cls: Any = {TextFeatures.kind: TextFeatures, MatrixFeatures.kind: MatrixFeatures}[config["kind"]]
    features: Features = cls.from_state(config, arrays)
    return features


def scaled(X: csr_matrix[Any], length: float = 1.0) -> csr_matrix[Any]:
    """Return X with its rows, in place, at this Euclidean length; rows of zeros stay."""
    if min(X.shape):  # scikit-learn refuses to normalise no rows, or no columns
        normalize(X, copy=False)
        X.data *= np.float32(length)
    return X


def _at_least_tiny(lengths: NDArray[Any]) -> NDArray[Any]:
    """Return what can be divided by: a length of 0 is that of zeros, which stay zeros."""
    result: NDArray[Any] = np.maximum(lengths, 1e-12)
    return result


def _counts(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> csr_matrix[Any]:
    """Return how often each (row, column) occurs, float32, columns ascending."""
    counts = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    counts.sum_duplicates()
    return counts


def _known_counts(grams: Ngrams, vocabulary: Vocabulary, n: int) -> csr_matrix[Any]:
    """Return (n, vocabulary): how often each known n-gram occurs."""
    columns = vocabulary.columns(grams.hashes)
    known = columns >= 0
    return _counts(grams.rows[known], columns[known], (n, len(vocabulary)))


def _document_frequency(counts: csr_matrix[Any], rows: NDArray[Any]) -> NDArray[np.int64]:
    """In how many documents each term occurs, when a document's fields are several rows of counts."""
    term_of, document_of = counts.indices.astype(np.int64), np.repeat(rows, np.diff(counts.indptr))
    once = distinct(document_of * counts.shape[1] + term_of) % counts.shape[1]
    return np.bincount(once, minlength=counts.shape[1])
