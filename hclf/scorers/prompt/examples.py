"""Labelled documents to show in a prompt: those most like the document, of different answers, never itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.data.texts import text_hash
from hclf.labels import most_specific
from hclf.scorers.packing import packed, unpacked
from hclf.scorers.prompt.outline import TOP, Page
from hclf.scorers.prompt.wording import Example, tidy
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]

OF_A_NODE = 20  # documents of each most specific label that are kept
CHARACTERS = 600  # of an example
WIDTH = 2**18  # of the hashed features


class Examples:
    """Documents to choose from.

    Args:
        texts: as they are shown.
        closed, specific: (documents, nodes) their labels: with all ancestors, and without any.
        hashes: (documents,) of the whole texts, once case and white space are evened out.
    """

    def __init__(
        self, texts: Sequence[str], closed: csr_matrix[Any], specific: csr_matrix[Any], hashes: Ints
    ) -> None:
        self.texts, self.hashes = list(texts), hashes
        self.closed, self.specific = (csr_matrix(labels, dtype=bool) for labels in (closed, specific))
        self._by_node = self.closed.tocsc()
        self._features = csr_matrix((len(self.texts), WIDTH)) if not self.texts else _features(self.texts)

    @classmethod
    def of(cls, inputs: Sequence[Mapping[str, str]], Y: csr_matrix[Any], taxonomy: Taxonomy, seed: int) -> Self:
        """Keep some documents of every node, by chance."""
        specific = most_specific(taxonomy, Y)
        rows = _some(specific, seed)
        documents = [inputs[i] for i in rows.tolist()]
        hashes = np.array([whole_hash(fields) for fields in documents], dtype=np.int64)
        return cls([tidy(fields, CHARACTERS)[0] for fields in documents], Y[rows], specific[rows], hashes)

    def features(self, texts: Sequence[str]) -> csr_matrix[Any]:
        """Return what `choose` compares documents by."""
        return _features(texts)

    def choose(self, features: csr_matrix[Any], own: int, page: Page, most: int) -> list[Example]:
        """Return examples for a question, the most similar one last, beside the document.

        By similarity, but no answer twice as long as there are others.

        Args:
            features: (1, width) of the document.
            own: its `whole_hash`: examples with the same text are left out.
            page: what is asked.
            most: at most so many.
        """
        rows = self._that_reach(page.parent)
        rows = rows[self.hashes[rows] != own]
        likeness = np.asarray((self._features[rows] @ features.T).todense()).ravel()
        order = rows[np.lexsort((rows, -likeness))]
        answers = self._answers(order, page)
        first = {answer: place for place, answer in reversed(list(enumerate(answers)))}
        chosen = sorted(first.values())[:most]
        others = (place for place in range(len(order)) if first[answers[place]] != place)
        chosen += islice(others, most - len(chosen))
        return [Example(self.texts[order[place]], answers[place]) for place in sorted(chosen, reverse=True)]

    def _that_reach(self, parent: int) -> Ints:
        """Return the documents of which a question about the children of a node is asked."""
        if parent == TOP:
            return np.arange(len(self.texts))
        reach = self._by_node.indices[self._by_node.indptr[parent] : self._by_node.indptr[parent + 1]]
        return np.sort(reach).astype(np.int64)

    def _answers(self, rows: Ints, page: Page) -> list[tuple[str, ...]]:
        *codes, no_code = page.codes
        labels = self.specific if any(page.depths) else self.closed
        holds = labels[rows][:, list(page.options)].toarray()
        return [tuple(np.array(codes)[row].tolist()) or (no_code,) for row in holds]

    def get_state(self) -> tuple[list[str], dict[str, NDArray[Any]]]:
        """Return texts, and arrays."""
        labels = {**packed("closed", self.closed), **packed("specific", self.specific)}
        return self.texts, {**labels, "hashes": self.hashes}

    @classmethod
    def from_state(cls, texts: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        return cls(texts, unpacked("closed", arrays), unpacked("specific", arrays), arrays["hashes"])


def whole_hash(fields: Mapping[str, str]) -> int:
    """Return the hash of a document as a signed number; equal for texts that are the same once evened out."""
    return int(np.uint64(text_hash("\n".join(fields.values()))).view(np.int64))


def _some(specific: csr_matrix[Any], seed: int) -> Ints:
    """Return rows so that each node with documents has up to `OF_A_NODE` of them."""
    order = np.random.default_rng(seed).permutation(specific.shape[0])
    counts = np.zeros(specific.shape[1], dtype=np.int64)
    kept = []
    for row in order.tolist():
        nodes = specific.indices[specific.indptr[row] : specific.indptr[row + 1]]
        if len(nodes) and (counts[nodes] < OF_A_NODE).any():
            counts[nodes] += 1
            kept.append(row)
    return np.sort(np.array(kept, dtype=np.int64))


def _features(texts: Sequence[str]) -> csr_matrix[Any]:
    """Return unit rows of hashed words and pairs of words: nothing is learned, so nothing has to be kept."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(n_features=WIDTH, ngram_range=(1, 2), alternate_sign=False)
    return csr_matrix(hashed.transform(texts))
