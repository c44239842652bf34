"""What an encoder is: documents in, vectors out, with or without the states of their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hclf.inputs import Inputs, Ints, as_inputs
from hclf.scorers.base import Progress, silent

State = tuple[dict[str, Any], dict[str, NDArray[Any]]]
BATCH_TOKENS = 8192  # of a batch that is only looked at: what two cores are busy with for a second


class Encoding(NamedTuple):
    """What an encoder makes of a batch of documents.

    Attributes:
        pooled: (documents, width) float32.
        tokens: (chunks, length, width) states of the tokens of all chunks; None: the encoder has none, or was not
            asked for them.
        mask: (chunks, length) bool: what is a token and not padding.
        document: (chunks,) int64, ascending: the document of each chunk. Every document has at least one.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    document: Tensor | None = None


class Prepared(Protocol):
    """Documents made ready for an encoder, once, in main memory."""

    @property
    def sizes(self) -> Ints:
        """(documents,): what each costs, in tokens."""
        ...

    @property
    def long(self) -> int:
        """How many documents are longer than one chunk."""
        ...

    def __len__(self) -> int: ...


class Batch(Protocol):
    """Some prepared documents as tensors."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on a device."""
        ...


class Encoder(nn.Module):
    """Turns documents into vectors.

    `prepare` does once what is the same in every epoch, `batch` makes tensors of some of the documents, calling the
    encoder makes vectors of them. An encoder only reads what it prepared itself.

    Attributes:
        kind: its name in saved models.
        width: of a document's vector and of the state of a token.
        frozen: nothing in it learns: the same document always has the same vector.
    """

    kind: ClassVar[str]
    width: int
    frozen: bool

    def prepare(self, inputs: Inputs, progress: Progress = silent) -> Prepared:
        """Return documents made ready for `batch`."""
        raise NotImplementedError

    def batch(self, prepared: Any, rows: Ints) -> Batch:
        """Return some prepared documents as tensors on the processor, in the order of `rows`."""
        raise NotImplementedError

    def forward(self, batch: Any, *, tokens: bool = False) -> Encoding:
        """Return the vectors of a batch, and the states of its tokens if they are asked for."""
        raise NotImplementedError

    def get_state(self) -> State:
        """Return everything needed to encode again, as JSON-able values and arrays."""
        raise NotImplementedError

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned: no network is asked, no code is run."""
        raise NotImplementedError

    def __call__(self, batch: Any, *, tokens: bool = False) -> Encoding:
        """Return the vectors of a batch; as `forward`."""
        encoding: Encoding = super().__call__(batch, tokens=tokens)
        return encoding


def embed(
    encoder: Encoder,
    documents: Any,
    *,
    batch_tokens: int = BATCH_TOKENS,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Return the vectors of documents, (documents, width), in their order; nothing learns.

    Args:
        encoder: it is moved to the device.
        documents: texts, named text fields or a feature matrix.
        batch_tokens: about how many tokens go through the encoder at once.
        device: None: where the encoder is.
        progress: wraps the batches.
    """
    prepared = encoder.prepare(as_inputs(documents), progress)
    return vectors_of(encoder, prepared, batch_tokens=batch_tokens, device=device, progress=progress)


def vectors_of(
    encoder: Encoder,
    prepared: Prepared,
    *,
    batch_tokens: int = BATCH_TOKENS,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Return what `embed` does of documents that its encoder has made ready."""
    vectors = np.zeros((len(prepared), encoder.width), dtype=np.float32)
    target = torch.device(device) if device is not None else device_of(encoder)
    encoder.to(target)
    learning = encoder.training
    encoder.eval()
    batches = list(by_length(prepared.sizes, batch_tokens))
    try:
        with torch.no_grad():
            for rows in progress(batches, "encoding", len(batches)):
                vectors[rows] = encoder(encoder.batch(prepared, rows).to(target)).pooled.float().cpu().numpy()
    finally:
        encoder.train(learning)
    return vectors


def by_length(sizes: Ints, most: int) -> Iterator[Ints]:
    """Yield rows of like sizes, largest first; a batch costs at most `most` if it has more than one row.

    A batch costs as many times its largest row as it has rows, because it is padded.
    """
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, most // max(1, int(sizes[order[start]])))
        yield order[start : start + count]
        start += count


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters are; the processor if it has none."""
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
