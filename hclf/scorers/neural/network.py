"""The network that is trained: an encoder, a trunk and a head, and where and how exactly it computes."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import DistributedType
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn import functional

from hclf.errors import HclfError, UsageError
from hclf.inputs import Inputs, Ints
from hclf.scorers.base import Progress, silent
from hclf.scorers.neural.encoding import Encoder, Encoding, State
from hclf.scorers.neural.heads import Head
from hclf.scorers.neural.trunk import Trunk

SINGLETONS = (AcceleratorState, GradientState, PartialState)
SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
ADVICE = (
    "try a smaller batch_size or max_length, gradient_checkpointing, "
    "tune='lora' or tune='frozen' (which train less), or precision='bf16'"
)


class Network(nn.Module):
    """Documents in, raw outputs of every member for every node out.

    Args:
        encoder: documents -> vectors; a frozen one stays as it is while the rest learns.
        trunk: vectors -> hidden vectors of each member.
        head: hidden vectors, or token states -> outputs.
        input_dropout: share of the numbers of a vector set to 0 in training.
    """

    def __init__(self, encoder: Encoder, trunk: Trunk, head: Head, input_dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.trunk, self.head, self.input_dropout = encoder, trunk, head, input_dropout

    def forward(self, batch: Any) -> Tensor:
        """Return raw outputs (members, documents, nodes) of a batch."""
        encoding = self.encoder(batch, tokens=self.head.needs_tokens)
        given = functional.dropout(encoding.pooled, self.input_dropout, self.training)
        raw: Tensor = self.head(self.trunk(given), encoding)
        return raw

    def beside(self, encoder: Encoder) -> Network:
        """Return a network of the same trunk and head on another encoder."""
        return Network(encoder, self.trunk, self.head, self.input_dropout)

    def log_odds(self, batch: Any) -> Tensor:
        """Return (documents, nodes) float32: the log-odds of the mean probability of all members."""
        return self.head.log_odds(self(batch).float())

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off, but never in an encoder that does not learn."""
        super().train(mode)
        self.encoder.train(mode and not self.encoder.frozen)
        return self

    def learning(self) -> dict[str, nn.Parameter]:
        """Return what learns, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def weights(self) -> dict[str, Tensor]:
        """Return copies of what changes in training, by name, on the processor."""
        fixed = {name for name, p in self.named_parameters() if not p.requires_grad}
        state = self.state_dict()
        return {name: state[name].detach().cpu().clone() for name in state if name not in fixed}

    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` returned."""
        self.load_state_dict(dict(weights), strict=False)


class VectorBatch(NamedTuple):
    """Some vectors, (documents, width)."""

    values: Tensor

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on a device."""
        return self._replace(values=self.values.to(device))


class VectorEncoder(Encoder):
    """Vectors that another encoder has made once and for all: what a trunk and a head learn from in its place.

    Args:
        vectors: (documents, width).
        long: how many of the documents are longer than one chunk.
    """

    kind = "vectors"
    frozen = True

    def __init__(self, vectors: NDArray[np.float32], long: int = 0) -> None:
        super().__init__()
        self.vectors, self.width, self.long = vectors, vectors.shape[1], long

    def prepare(self, inputs: Inputs, progress: Progress = silent) -> Self:
        """Return itself: it knows only the documents it was made with."""
        return self

    @property
    def sizes(self) -> Ints:
        """(documents,) ones: every document costs the same."""
        return np.ones(len(self), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.vectors)

    def batch(self, prepared: Any, rows: Ints) -> VectorBatch:
        """Return some vectors as a tensor."""
        return VectorBatch(torch.from_numpy(self.vectors[rows]))

    def forward(self, batch: VectorBatch, *, tokens: bool = False) -> Encoding:
        """Return the vectors; `tokens` asks in vain."""
        return Encoding(batch.values)

    def get_state(self) -> State:
        """Return the vectors."""
        return {}, {"vectors": self.vectors}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build from what `get_state` returned."""
        return cls(arrays["vectors"])


def choose_device(name: str | None) -> torch.device:
    """Return the device of this name; None: the accelerator of this process if there is one.

    Raises:
        UsageError: there is no such device.
    """
    try:
        if name is None:
            return torch.device("cuda") if torch.cuda.is_available() else _without_cuda()
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _without_cuda() -> torch.device:
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def learns_in_bf16(precision: str, device: torch.device) -> bool:
    """Return whether training multiplies matrices in bfloat16; `auto`: where the device is made for it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16"


@contextmanager
def accelerated(precision: str, device: str | None) -> Iterator[Accelerator]:
    """Give an `Accelerator` for one fit: device, precision and the other processes.

    `accelerate` keeps what it knows in singletons, which refuse a second fit of another precision. Afterwards they
    are as before, so that a program's own use of `accelerate` goes on.

    Raises:
        UsageError: no such device; or processes were launched to share one network.
    """
    where = choose_device(device)
    on_processor = device is not None and where.type == "cpu"
    before = [dict(kind._shared_state) for kind in SINGLETONS]
    for kind in SINGLETONS:
        kind._shared_state.clear()
    try:
        found = Accelerator(cpu=on_processor, mixed_precision="bf16" if learns_in_bf16(precision, where) else "no")
        if found.distributed_type in SHARDED:
            kind = found.distributed_type.value
            raise UsageError(f"every process holds the whole network here: launch without {kind}, or train with LoRA")
        if found.num_processes > 1:
            atexit.unregister(leave_the_others)
            atexit.register(leave_the_others)
        yield found
    finally:
        for kind, state in zip(SINGLETONS, before, strict=True):
            kind._shared_state.clear()
            kind._shared_state.update(state)


def leave_the_others() -> None:
    """Close what connects this process with the others; left open, its threads abort the program as it ends."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a seed inside; the generators of the program go on afterwards as if nothing had been."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        seed_generators(seed, device)
        yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Have the processor and the device draw from a seed.

    `torch.manual_seed` would do the same for all devices, and where there is no GPU remember each call for ever.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


@contextmanager
def memory_advice(advice: str = ADVICE) -> Iterator[None]:
    """Turn a lack of memory into one line that says what to do.

    Args:
        advice: what that is.

    Raises:
        HclfError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if known or any(words in str(error) for words in NO_MEMORY):
            raise HclfError(f"out of memory; {advice}") from error
        raise
