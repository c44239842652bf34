"""Feature matrices as an encoder: standardised columns; nothing in it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from hclf.errors import UsageError
from hclf.inputs import Inputs, Ints
from hclf.scorers.base import Progress, silent
from hclf.scorers.neural.encoding import Encoder, Encoding, State
from hclf.scorers.numbers import NumberColumns

AT_ONCE = 2**28  # values (1 GiB) of a matrix that is made dense once and kept, not batch by batch
SLICE = 4096  # rows transformed together


@dataclass(frozen=True, slots=True)
class Rows:
    """A feature matrix made ready: dense and transformed if it is small, as given if not."""

    dense: NDArray[np.float32] | None
    raw: csr_matrix[Any]

    @property
    def sizes(self) -> Ints:
        """(documents,) ones: every document costs the same."""
        return np.ones(len(self), dtype=np.int64)

    @property
    def long(self) -> int:
        """No row is longer than another."""
        return 0

    def __len__(self) -> int:
        return int(self.raw.shape[0])


class RowBatch(NamedTuple):
    """Some rows of a matrix, (documents, width)."""

    values: Tensor

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on a device."""
        return self._replace(values=self.values.to(device))


class ColumnEncoder(Encoder):
    """Rows of a feature matrix as `NumberColumns` transforms them; documents have no tokens.

    Args:
        numbers: fitted on the training documents.
    """

    kind = "features"
    frozen = True

    def __init__(self, numbers: NumberColumns) -> None:
        super().__init__()
        self.numbers = numbers
        self.width = numbers.width

    @classmethod
    def fit(cls, matrix: Inputs, *, nominal: tuple[int, ...] = ()) -> Self:
        """Return an encoder that has learned means and deviations from the training documents.

        Raises:
            UsageError: the documents are texts.
        """
        return cls(NumberColumns(nominal=nominal).fit(_matrix(matrix)))

    def prepare(self, inputs: Inputs, progress: Progress = silent) -> Rows:
        """Return the rows made ready.

        Raises:
            UsageError: the documents are texts, or have another number of features than in fit.
        """
        matrix = _matrix(inputs)
        self.numbers.transform(matrix[:0])  # refuses another width now, not in the middle of an epoch
        if matrix.shape[0] * self.width > AT_ONCE:
            return Rows(None, matrix)
        dense = np.empty((matrix.shape[0], self.width), dtype=np.float32)
        for start in range(0, len(dense), SLICE):
            dense[start : start + SLICE] = self.numbers.transform(matrix[start : start + SLICE])
        return Rows(dense, matrix)

    def batch(self, prepared: Rows, rows: Ints) -> RowBatch:
        """Return some rows as a tensor (documents, width)."""
        if prepared.dense is not None:
            return RowBatch(torch.from_numpy(prepared.dense[rows]))
        return RowBatch(torch.from_numpy(self.numbers.transform(prepared.raw[rows])))

    def forward(self, batch: RowBatch, *, tokens: bool = False) -> Encoding:
        """Return the rows; `tokens` asks in vain."""
        return Encoding(batch.values)

    def get_state(self) -> State:
        """Return what was learned of the columns."""
        return self.numbers.get_state()

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        return cls(NumberColumns.from_state(config, arrays))


def _matrix(inputs: Inputs) -> csr_matrix[Any]:
    if not isinstance(inputs, csr_matrix):
        raise UsageError("encoder 'features' reads a feature matrix; for texts, name a language model's folder")
    return inputs
