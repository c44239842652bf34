"""Splitting labelled documents so that every node keeps its share, and its last examples stay in train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from hclf.data.documents import Document
from hclf.data.problems import Problems
from hclf.data.resolver import LabelResolver
from hclf.data.texts import group_key
from hclf.errors import UsageError
from hclf.labels import from_pairs, label_matrix, pairs
from hclf.taxonomy import Taxonomy

Ints = NDArray[np.int64]
PARTS = ("train", "valid", "test")


class Split(NamedTuple):
    """The three parts, each in the order the documents came in."""

    train: list[Document]
    valid: list[Document]
    test: list[Document]


def split(
    documents: Iterable[Document],
    taxonomy: Taxonomy,
    *,
    test: float = 0.2,
    valid: float = 0.0,
    seed: int = 0,
    problems: Problems | None = None,
) -> Split:
    """Split documents by `plan_split`.

    Raises:
        UsageError: the shares leave nothing for train.
    """
    kept = list(documents)
    plan = plan_split(kept, taxonomy, test=test, valid=valid, seed=seed, problems=problems)
    return Split(*([kept[i] for i in np.flatnonzero(plan == part).tolist()] for part in range(len(PARTS))))


def plan_split(
    documents: Iterable[Document],
    taxonomy: Taxonomy,
    *,
    test: float = 0.2,
    valid: float = 0.0,
    seed: int = 0,
    problems: Problems | None = None,
) -> NDArray[np.int8]:
    """Return the part of each document: 0 train, 1 valid, 2 test. Holds labels and hashes, never the texts.

    Every node, ancestors counted, that has two examples or more keeps one in train; documents with the same
    text (case and blanks aside) land in the same part; neither depends on the order of the documents. Labels
    the taxonomy does not know are counted in `problems` and play no part.

    Args:
        documents: with or without labels.
        taxonomy: the one the labels are from.
        test, valid: shares from 0 to 1, together less than 1.
        seed: another seed, another split.
        problems: where to count unknown labels.

    Raises:
        UsageError: the shares leave nothing for train.
        DataError: an unknown label, when `problems` is strict.
    """
    if min(test, valid) < 0 or test + valid >= 1:
        raise UsageError(f"test {test} and valid {valid} must be shares that leave something for train")
    resolver, problems = LabelResolver(taxonomy), Problems() if problems is None else problems
    labels, groups = [], []
    for position, document in enumerate(documents):
        labels.append(resolver.resolve(document, problems))
        groups.append(group_key(document.text, position))
    Y = label_matrix(taxonomy, labels)
    keys = np.array(groups, dtype=np.uint64)
    return assign_parts(Y, (1 - valid - test, valid, test), seed=seed, groups=keys).astype(np.int8)


def split_indices(
    Y: csr_matrix[Any], *, test_size: float = 0.2, seed: int = 0, groups: ArrayLike | None = None
) -> tuple[Ints, Ints]:
    """Return (train rows, test rows), ascending, of a stratified split.

    Args:
        Y: closed label matrix, bool, (n, nodes).
        test_size: share of the test rows, above 0 and below 1.
        seed: another seed, another split.
        groups: (n,) of anything that sorts; rows of a group stay together. With groups the split does not
            depend on the order of the rows. None: every row by itself.

    Raises:
        UsageError: `test_size` is out of range, or `groups` has another length.

    >>> Y = csr_matrix(np.ones((10, 1), dtype=bool))
    >>> [len(rows) for rows in split_indices(Y, test_size=0.3)]
    [7, 3]
    """
    if not 0 < test_size < 1:
        raise UsageError(f"test_size must lie between 0 and 1, not {test_size}")
    part = assign_parts(Y, (1 - test_size, test_size), seed=seed, groups=groups)
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def assign_parts(
    Y: csr_matrix[Any], shares: Sequence[float], *, seed: int = 0, groups: ArrayLike | None = None
) -> Ints:
    """Return the part of each row; part 0 is train, and the shares add up to 1.

    Stratified on closed labels in the manner of Sechidis, Tsoumakas & Vlahavas (2011): rows go one by one,
    those of the rarest nodes first, to the part that lacks their nodes most. Unlike there, a part lacks what it
    is behind in its share of the rows placed so far (not of all rows), summed over all nodes of the row: on
    CodiEsp their rule gives the test part 20 labels a document and train 32, this one 28 and 30. A node with a
    single row cannot be divided; its document is placed by its ancestors. At the end every node with two rows
    or more that has none in train gets one there.

    Raises:
        UsageError: `groups` has another length than Y.
    """
    n, width = Y.shape
    keys = np.arange(n) if groups is None else np.asarray(groups)
    if keys.shape != (n,):
        raise UsageError(f"groups has shape {keys.shape}, Y has {n} rows")
    unit_of = np.unique(keys, return_inverse=True)[1]
    # Units in an order of their own, by key and then by chance: the order of the rows does not matter.
    order = np.random.default_rng(seed).permutation(int(unit_of.max(initial=-1)) + 1)
    unit_of = np.argsort(order)[unit_of]
    rows, columns = pairs(Y)
    units = from_pairs(unit_of[rows], columns, (len(order), width))
    return _place(units, np.bincount(unit_of), np.bincount(columns, minlength=width), shares)[unit_of]


def _place(units: csr_matrix[Any], weight: Ints, support: Ints, shares: Sequence[float]) -> Ints:
    """Return the part of each unit: a group of `weight` rows with the union of their labels."""
    share, width = np.array(shares), units.shape[1]
    part: Ints = np.full(len(weight), -1, dtype=np.int64)
    got = np.zeros((width + 1, len(share)))  # rows of each node in each part; the last line is every row
    pull = np.append(np.where(support > 1, support.clip(1) ** -0.5, 0.0), 1.0)
    together = (np.bincount(units.indices, minlength=width) == 1) & (support > 1)  # copies of one text
    for unit in _rarest_first(units, support).tolist():
        nodes = _row(units, unit)
        counted = np.append(nodes, width)
        due = share * (got[counted].sum(axis=1) + weight[unit])[:, None] - got[counted]
        part[unit] = 0 if together[nodes].any() else (pull[counted] @ due).argmax()
        got[counted, part[unit]] += weight[unit]

    members = from_pairs(*pairs(units)[::-1], shape=(width, len(weight)))
    for node in np.flatnonzero(support > 1).tolist():
        if not got[node, 0]:
            unit = int(_row(members, node)[0])
            nodes = _row(units, unit)
            got[nodes, part[unit]] -= weight[unit]
            got[nodes, 0] += weight[unit]
            part[unit] = 0
    return part


def _rarest_first(units: csr_matrix[Any], support: Ints) -> Ints:
    """Return the units ordered by their rarest node that can be divided; those without any come last."""
    rank = np.argsort(np.argsort(np.where(support > 1, support, np.inf), kind="stable"))
    rows, columns = pairs(units)
    rarest: Ints = np.full(units.shape[0], len(support), dtype=np.int64)
    np.minimum.at(rarest, rows, np.where(support > 1, rank, len(support))[columns])
    return np.argsort(rarest, kind="stable")


def _row(matrix: csr_matrix[Any], row: int) -> NDArray[np.integer[Any]]:
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
