"""Matrices and parts through plain arrays and back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hclf.scorers.packing import packed, prefixed, unpacked, unprefixed


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (3, 4)])
@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_a_packed_matrix_comes_back_with_its_shape_and_type(shape: tuple[int, int], dtype: type) -> None:
    matrix = csr_matrix(np.arange(shape[0] * shape[1]).reshape(shape) % 3, dtype=dtype)
    again = unpacked("m", packed("m", matrix))
    assert (again.shape, again.dtype) == (shape, dtype)
    assert again.toarray().tolist() == matrix.toarray().tolist()
    assert again.indices.dtype == matrix.indices.dtype


def test_matrices_stand_side_by_side_and_what_is_missing_is_named() -> None:
    one, two = csr_matrix(np.eye(2)), csr_matrix(np.ones((1, 3)))
    arrays = {**packed("one", one), **packed("two", two)}
    assert len(arrays) == 8
    assert unpacked("one", arrays).toarray().tolist() == [[1, 0], [0, 1]]
    assert unpacked("two", arrays).toarray().tolist() == [[1, 1, 1]]
    with pytest.raises(KeyError, match="three_shape"):
        unpacked("three", arrays)


def test_prefixes_keep_parts_apart() -> None:
    a, b = {"x": np.zeros(1), "rows_x": np.ones(1)}, {"x": np.full(1, 2.0)}
    arrays = {**prefixed("rows", a), **prefixed("row", b), "rows": np.full(1, 3.0)}
    assert {name: values.tolist() for name, values in unprefixed("rows", arrays).items()} == {"x": [0], "rows_x": [1]}
    assert {name: values.tolist() for name, values in unprefixed("row", arrays).items()} == {"x": [2]}
    assert unprefixed("r", arrays) == {}
