"""Which documents are held out: one part of many, or of few documents every part of a cross-validation in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.data import split_indices, text_groups
from hclf.data.texts import normalised
from hclf.inputs import Inputs, joined
from hclf.labels import most_specific, pairs
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]

SMALL = 1_500  # up to so many documents, held-out scores come from cross-validation: one part would be too few
FOLDS = 5
HELD_OUT, MOST_HELD_OUT = 0.15, 5_000  # of the documents; more make calibration and thresholds no better
LITTLE = 0.01  # of the documents: held out so few, they would teach the scorer nothing that is worth a second fit
FEWEST = 10  # documents below which nothing can be held out


def make_folds(taxonomy: Taxonomy, Y: csr_matrix[Any], inputs: Inputs, seed: int = 0) -> list[tuple[Ints, Ints]]:
    """Return (train, held out) rows: one part, or for few documents every part of a cross-validation.

    Equal texts are never on both sides. Documents that only repeat a text of one of their nodes are never held out:
    there they would teach overconfidence.

    Args:
        taxonomy: of the labels.
        Y: (documents, nodes) their labels.
        inputs: the documents.
        seed: of the parts.
    """
    n = Y.shape[0]
    if n < FEWEST:
        return []
    groups = np.arange(n) if isinstance(inputs, csr_matrix) else text_groups(joined(inputs))
    copies = np.isin(groups, groups[copies_of_names(taxonomy, Y, inputs)])
    if n > SMALL:
        test_size = min(HELD_OUT, MOST_HELD_OUT / n)
        train, test = split_indices(Y, test_size=test_size, seed=seed, groups=groups)
        back = copies[test]
        return [(np.sort(np.concatenate([train, test[back]])), test[~back])]
    part = np.random.default_rng(seed).permutation(n) % FOLDS
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    part = part[first][group]
    part[copies] = -1
    every = np.arange(n)
    folds = [(every[part != k], every[part == k]) for k in range(FOLDS)]
    return [(train, test) for train, test in folds if len(test) and Y[train].nnz]


def thinned(folds: Sequence[tuple[Ints, Ints]], most: int | None, seed: int = 0) -> list[tuple[Ints, Ints]]:
    """Return folds with at most so many documents held out in all, chosen by chance; None: all of them."""
    total = sum(len(test) for _, test in folds)
    if most is None or total <= most:
        return list(folds)
    rng = np.random.default_rng(seed)
    return [
        (train, np.sort(rng.choice(test, max(1, round(most * len(test) / total)), replace=False)))
        for train, test in folds
    ]


def is_refit(folds: Sequence[tuple[Ints, Ints]], n: int, wanted: bool | None = None) -> bool:
    """Return whether a scorer is trained again on all n documents once it is calibrated.

    Args:
        folds: several always ask for it.
        n: documents.
        wanted: None: where more than `LITTLE` was held out.
    """
    if len(folds) == 1 and wanted is None:
        return n - len(folds[0][0]) > LITTLE * n
    return len(folds) > 1 or wanted is not False


def copies_of_names(taxonomy: Taxonomy, Y: csr_matrix[Any], inputs: Inputs) -> NDArray[np.bool_]:
    """Mark documents that only repeat a text of one of their nodes."""
    mark = np.zeros(Y.shape[0], dtype=bool)
    if isinstance(inputs, csr_matrix):
        return mark
    rows, columns = pairs(most_specific(taxonomy, Y))
    said = [normalised(text) for text in joined(inputs)]
    texts = {j: {normalised(text) for text in taxonomy.node(j).texts} for j in distinct(columns).tolist()}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        mark[row] |= said[row] in texts[column]
    return mark
