"""Texts as tokens: a fast tokenizer, documents as flat arrays, and the overlapping chunks they are read in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from hclf.errors import UsageError
from hclf.inputs import Ints, joined
from hclf.scorers.base import Progress, silent

CHARACTERS = 2**20  # tokenised at once
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: no tokenizer takes it
PROBES = ("a", "e", "1", ".", "the")


class TokenBatch(NamedTuple):
    """The chunks of some documents.

    Attributes:
        ids: (chunks, length) int64, padded on the right.
        mask: (chunks, length) bool: what is not padding.
        document: (chunks,) int64, ascending from 0: the row of the batch.
        place: (chunks,) int64: how many chunks of the same document come before.
        documents: how many.
    """

    ids: Tensor
    mask: Tensor
    document: Tensor
    place: Tensor
    documents: int

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on a device."""
        ids, mask, document, place = (tensor.to(device, non_blocking=True) for tensor in self[:4])
        return type(self)(ids, mask, document, place, self.documents)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenised documents, without special tokens, and how they are cut.

    Attributes:
        ids: (tokens,) int32 of all documents, one after another.
        offsets: (documents + 1,) int64 into `ids`.
        cut: how documents become chunks.
    """

    ids: NDArray[np.int32]
    offsets: Ints
    cut: Cut

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Ints:
        """(documents,): tokens of all chunks, repeated and special ones counted."""
        lengths = np.diff(self.offsets)
        counts = self.cut.counts(lengths)
        return lengths + (counts - 1) * self.cut.overlap + counts * self.cut.special

    @property
    def long(self) -> int:
        """How many documents have several chunks."""
        return int((self.cut.counts(np.diff(self.offsets)) > 1).sum())


class Cut(NamedTuple):
    """How a document's tokens become chunks: `prefix`, up to `room` tokens, `suffix`.

    Every chunk but a document's last is full; each begins with the last `overlap` tokens of the one before.
    """

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    room: int
    overlap: int
    filler: int

    @property
    def special(self) -> int:
        """Special tokens around each chunk."""
        return len(self.prefix) + len(self.suffix)

    @property
    def stride(self) -> int:
        """From the beginning of a chunk to that of the next, in tokens."""
        return self.room - self.overlap

    def counts(self, lengths: Ints) -> Ints:
        """Return the number of chunks of documents of so many tokens: at least one."""
        beyond = np.maximum(lengths - self.room, 0)
        return 1 + -(-beyond // self.stride)

    def batch(self, tokens: Tokens, rows: Ints) -> TokenBatch:
        """Return the chunks of some documents."""
        lengths = np.diff(tokens.offsets)[rows]
        counts = self.counts(lengths)
        document = np.repeat(np.arange(len(rows)), counts)
        place = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = place * self.stride
        sizes = np.minimum(lengths[document] - begins, self.room)
        ids = self._lay_out(tokens.ids, tokens.offsets[rows][document] + begins, sizes)
        mask = np.arange(ids.shape[1]) < (sizes + self.special)[:, None]
        tensor = torch.from_numpy
        return TokenBatch(tensor(ids), tensor(mask), tensor(document), tensor(place), len(rows))

    def _lay_out(self, ids: NDArray[np.int32], begins: Ints, sizes: Ints) -> Ints:
        """Return one row for each run of `sizes` tokens from `begins` on, with special tokens and padding."""
        before, width = len(self.prefix), int(sizes.max(initial=0)) + self.special
        table = np.full((len(sizes), width), self.filler, dtype=np.int64)
        table[:, :before] = self.prefix
        column = np.arange(width - self.special)
        inside = column < sizes[:, None]
        table[:, before : before + len(column)][inside] = ids[(begins[:, None] + column)[inside]]
        for i, token in enumerate(self.suffix):
            table[np.arange(len(sizes)), before + sizes + i] = token
        return table


class TextTokenizer:
    """A fast Hugging Face tokenizer that takes texts as nothing but text and cuts nothing off.

    What looks like a special token in a document ("[SEP]") is read as the characters it is made of.

    Args:
        text: a `tokenizer.json`, as text.
        max_length: tokens of a chunk, special ones counted.
        overlap: tokens that a chunk shares with the next; at most half of a chunk.
        filler: token behind the end of a chunk; it is masked, so any will do.
        alone: token that stands for an empty document if no special tokens are set around a text.

    Raises:
        UsageError: chunks without room for text, a negative overlap.
    """

    def __init__(self, text: str, *, max_length: int, overlap: int, filler: int = 0, alone: int = 0) -> None:
        self.text, self.filler, self.alone, self.max_length = text, filler, alone, max_length
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        prefix, suffix = _around(self._tokenizer)
        room = max_length - len(prefix) - len(suffix)
        if room < 1:
            raise UsageError(
                f"max_length {max_length} leaves no room for text; give at least {max_length - room + 1}"
            )
        if overlap < 0:
            raise UsageError(f"overlap is {overlap}; it counts tokens, 0 or more")
        self.overlap = min(overlap, room // 2)
        self.cut = Cut(prefix, suffix, room, self.overlap, filler)

    @property
    def size(self) -> int:
        """One more than the largest number of a token."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def prepare(self, inputs: Sequence[Mapping[str, str]], progress: Progress = silent) -> Tokens:
        """Return documents as tokens, the fields of each joined; memory goes with the number of tokens."""
        parts, lengths = [np.zeros(0, dtype=np.int32)], [0]
        slices = list(_slices(inputs))
        for start, end in progress(slices, "tokenising", len(slices)):
            texts = [_whole(text) for text in joined(inputs[start:end])]
            for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                ids = np.array(encoding.ids, dtype=np.int32)
                if not len(ids) and not self.cut.special:
                    ids = np.array([self.alone], dtype=np.int32)
                parts.append(ids)
                lengths.append(len(ids))
        return Tokens(np.concatenate(parts), np.cumsum(lengths, dtype=np.int64), self.cut)

    def spans(self, text: str) -> Ints:
        """Return where in a text its tokens are, (tokens, 2): start and end in characters."""
        encoding = self._tokenizer.encode(_whole(text), add_special_tokens=False)
        return np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)

    def get_state(self) -> dict[str, Any]:
        """Return everything needed to build it again, JSON-able."""
        values = {name: getattr(self, name) for name in ("max_length", "overlap", "filler", "alone")}
        return {"tokenizer": json.loads(self.text), **values}

    @classmethod
    def from_state(cls, config: Mapping[str, Any]) -> Self:
        """Build from what `get_state` returned."""
        rest = {name: int(config[name]) for name in ("max_length", "overlap", "filler", "alone")}
        return cls(json.dumps(config["tokenizer"]), **rest)


def _around(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that the tokenizer sets before and after a text."""
    for probe in PROBES:
        plain = tokenizer.encode(probe, add_special_tokens=False).ids
        if plain:
            break
    else:
        return (), ()
    ids = tokenizer.encode(probe, add_special_tokens=True).ids
    for start in range(len(ids) - len(plain) + 1):
        if ids[start : start + len(plain)] == plain:
            return tuple(ids[:start]), tuple(ids[start + len(plain) :])
    return (), ()


def _slices(inputs: Sequence[Mapping[str, str]]) -> Iterator[tuple[int, int]]:
    """Yield first and one past the last of runs of documents of about `CHARACTERS` together."""
    sizes = np.array([sum(map(len, fields.values())) + 1 for fields in inputs], dtype=np.int64)
    edges = np.flatnonzero(np.diff((np.cumsum(sizes) - sizes) // CHARACTERS)) + 1
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(inputs)], strict=True):
        if end > start:
            yield start, end


def _whole(text: str) -> str:
    """Return a text without halves of characters; every character stays at its place."""
    return LONE_SURROGATE.sub("\ufffd", text)
