"""What is kept on disk of a fit, so that it can go on: one safetensors file with a JSON header, never a pickle.

    DIR/KEY/fit.safetensors

KEY is a hash of the documents, the labels, the options and the first weights: whatever else is fitted with the same
DIR has a folder of its own. A file is written beside its place, flushed and renamed, so that a crash leaves the last
one whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from hclf.errors import HclfError
from hclf.inputs import Inputs

FILE = "fit.safetensors"
ABOUT = "about"


class Kept(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        about: where the fit stands, JSON-able.
        tensors: weights and what the optimiser remembers, on the processor.
    """

    about: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoint:
    """The checkpoint of one fit.

    Args:
        folder: of the checkpoints of all fits.
        key: of this one, from `fingerprint`.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.key = key
        self.file = Path(folder) / key / FILE

    def write(self, kept: Kept) -> None:
        """Replace what is kept, atomically.

        Raises:
            HclfError: it cannot be written.
        """
        part = self.file.with_name(f"{FILE}.part")
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in kept.tensors.items()}
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, part, metadata={ABOUT: json.dumps({**kept.about, "key": self.key})})
            _flush(part)
            part.replace(self.file)
            _flush(part.parent)
        except (OSError, SafetensorError) as error:
            raise HclfError(f"cannot write the checkpoint {self.file}: {error}") from error

    def read(self) -> Kept | None:
        """Return what is kept; None: nothing yet.

        Raises:
            HclfError: the file is damaged, no checkpoint, or that of another fit.
        """
        if not self.file.exists():
            return None
        try:
            with safe_open(self.file, framework="pt") as stored:
                about = json.loads((stored.metadata() or {})[ABOUT])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            why = f"{self.file} is no checkpoint, or damaged ({error})"
            raise HclfError(f"{why}; delete it, or fit without resume") from error
        if about.get("key") != self.key:
            raise HclfError(f"{self.file} belongs to other data or options; delete it, or fit without resume")
        return Kept(about, tensors)


def fingerprint(
    options: Mapping[str, Any],
    taxonomy: str,
    inputs: Inputs,
    labels: tuple[csr_matrix[Any] | None, ...],
    network: nn.Module,
) -> str:
    """Return a hash of everything that decides how a fit goes.

    Args:
        options: those that matter, JSON-able.
        taxonomy: its fingerprint.
        inputs: the documents.
        labels: label matrices.
        network: as it begins.
    """
    digest = hashlib.blake2b(digest_size=10)
    digest.update(json.dumps([taxonomy, dict(options)], sort_keys=True, default=str).encode())
    if isinstance(inputs, csr_matrix):
        _add_matrix(digest, inputs)
    else:
        for fields in inputs:
            digest.update(json.dumps(list(fields.items())).encode())
    for matrix in labels:
        _add_matrix(digest, matrix)
    for name, tensor in network.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _add_matrix(digest: Any, matrix: csr_matrix[Any] | None) -> None:
    digest.update(b"none" if matrix is None else str(matrix.shape).encode())
    if matrix is not None:
        for part in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data):
            digest.update(np.ascontiguousarray(part).tobytes())


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous()
    return plain.float().numpy().tobytes() if plain.is_floating_point() else plain.numpy().tobytes()


def _flush(path: Path) -> None:
    """Have a file or folder written to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
