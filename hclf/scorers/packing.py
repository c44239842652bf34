"""How a scorer keeps sparse matrices and the arrays of its parts: as arrays with plain names, fit for a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy import array
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Arrays = Mapping[str, NDArray[Any]]

PARTS = ("data", "indices", "indptr")


def packed(name: str, matrix: csr_matrix[Any]) -> dict[str, NDArray[Any]]:
    """Return a matrix as the arrays NAME_data, NAME_indices, NAME_indptr and NAME_shape."""
    return {**{f"{name}_{part}": getattr(matrix, part) for part in PARTS}, f"{name}_shape": array(matrix.shape)}


def unpacked(name: str, arrays: Arrays) -> csr_matrix[Any]:
    """Return the matrix that was packed under this name."""
    shape = tuple(arrays[f"{name}_shape"].tolist())
    return csr_matrix(tuple(arrays[f"{name}_{part}"] for part in PARTS), shape=shape)


def prefixed(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return the arrays under the names PREFIX_NAME."""
    return {f"{prefix}_{name}": values for name, values in arrays.items()}


def unprefixed(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return those arrays that have this prefix, without it."""
    start = f"{prefix}_"
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}
