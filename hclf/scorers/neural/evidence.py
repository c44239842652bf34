"""Which words of a document, or which numbers, moved a network to what it says of a node.

Integrated gradients (Sundararajan et al., 2017). The words of a document are faded in, all at once, from a baseline
in which each of them is blank to the document itself; what a word adds is the derivative of the log-odds by how far
it has been faded in, summed up on the way. So

    what the words add  ≈  log-odds of the document  -  log-odds of as many blanks

and the error is that of a sum over a few points on the way in place of an integral.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hclf.inputs import Inputs, Ints, take
from hclf.scorers.base import Contribution
from hclf.scorers.neural.columns import ColumnEncoder, RowBatch
from hclf.scorers.neural.encoding import Encoder, Encoding, by_length
from hclf.scorers.neural.network import memory_advice
from hclf.scorers.neural.tokens import TextTokenizer, Tokens
from hclf.scorers.neural.transformer import TransformerEncoder
from hclf.scorers.neural.words import words_of
from hclf.scorers.phrases import Table
from hclf.taxonomy import distinct

Floats = NDArray[np.float64]
LogOdds: TypeAlias = Callable[[Any, Any], Tensor]
"""What a network says with an encoder of a batch, (documents, nodes)."""

POINTS = 24  # on the way from the baseline to the document; MiniLM is off by 0.13 log-odds with 16, by 0.05 with 24
AT_ONCE = 2048  # tokens whose states are kept to go back through the network
VOCABULARY_AT_ONCE = 2**14
MASK = re.compile(r"\W*mask\W*", re.IGNORECASE)  # [MASK], <mask>


class Places(NamedTuple):
    """A batch, and where its documents can be faded.

    Attributes:
        batch: of documents.
        rows: (a,): of each row of places the document in the batch.
        units: (a, b): of each place the word or column of its document; -1: it is always there.
    """

    batch: Any
    rows: Ints
    units: Ints


class Pairs(NamedTuple):
    """What is asked of a batch, (pairs,) each.

    Attributes:
        rows: documents in the batch.
        nodes: of the network.
        turns: how many pairs of the same document come before.
    """

    rows: Ints
    nodes: Ints
    turns: Ints


def network_evidence(
    name: str,
    encoder: Encoder,
    log_odds: LogOdds,
    modelled: Ints,
    inputs: Inputs,
    rows: Ints,
    columns: Ints,
    device: torch.device,
) -> list[list[Contribution]]:
    """Return for each (row, column) what each word, or each column of a matrix, adds to the log-odds.

    These are the log-odds in the precision of the weights, whatever `score` multiplies in. What a word adds does not
    depend on other documents, but for rounding.

    Args:
        name: of the scorer.
        encoder: of the network, a `TransformerEncoder` or a `ColumnEncoder`; it is left as it is.
        log_odds: what the network says with a copy of it.
        modelled: taxonomy columns of which it speaks, ascending; of others nothing is said.
        inputs: the documents.
        rows, columns: (pairs,) of them, and of the taxonomy.
        device: of the network.

    Raises:
        UsageError: texts for a model of matrices, or the other way round; another number of features.
        HclfError: memory ran out.
    """
    found: list[list[Contribution]] = [[] for _ in range(len(rows))]
    node = Table(modelled, np.arange(len(modelled))).at(columns, -1)
    documents = distinct(rows[node >= 0])
    if not len(documents):
        return found
    of = take(inputs, documents)
    with memory_advice():
        ready = Numbers(encoder, of) if isinstance(encoder, ColumnEncoder) else Texts(encoder, of)
        for some in by_length(ready.sizes, AT_ONCE):
            asked = [np.flatnonzero((rows == row) & (node >= 0)) for row in documents[some].tolist()]
            pair = np.concatenate(asked)
            row = np.repeat(np.arange(len(asked)), [len(own) for own in asked])
            turn = np.concatenate([np.arange(len(own)) for own in asked])
            places = ready.places(some)
            slopes = integrated(ready, log_odds, places, Pairs(row, node[pair], turn), device)
            for i, r, t in zip(pair.tolist(), row.tolist(), turn.tolist(), strict=True):
                own = places.rows == r
                found[i] = ready.told(name, int(some[r]), _sums(places.units[own], slopes[t, own]))
    return found


def integrated(
    ready: Texts | Numbers, log_odds: LogOdds, places: Places, pairs: Pairs, device: torch.device
) -> Floats:
    """Return (turns, a, b): the mean derivative by each place, on the way from the baseline to the document.

    The pairs of a turn, at most one of each document, go back through the network together. The points are those of
    Gauss and Legendre, by which polynomials of a degree below twice their number are integrated exactly.
    """
    batch, fades = places.batch.to(device), torch.from_numpy(places.units >= 0)
    total = np.zeros((int(pairs.turns.max()) + 1, *places.units.shape))
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    for point, weight in zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
        gate = torch.where(fades, point, 1.0).to(device).requires_grad_()
        with torch.enable_grad():
            said = log_odds(ready.faded(gate), batch)
            for turn, slopes in enumerate(total, start=1):
                now = pairs.turns == turn - 1
                asked = said[pairs.rows[now], pairs.nodes[now]].sum()
                [slope] = torch.autograd.grad(asked, gate, retain_graph=turn < len(total))
                slopes += weight * slope.cpu().double().numpy()
    return total


def _sums(units: Ints, values: Floats) -> Floats:
    """Return the sum over the places of each word or column."""
    fades = units >= 0
    return np.bincount(units[fades], values[fades]).astype(np.float64)


# -- texts ---------------------------------------------------------------------------------------------------------


class Texts:
    """Texts whose words can be faded.

    A blank is the mask token, where the tokenizer has one, else what all tokens have in common. Special tokens,
    spaces and line ends are always there. Where chunks overlap, a word is in both, and both count.

    Args:
        encoder: reads them.
        documents: named text fields.
    """

    def __init__(self, encoder: Any, documents: Any) -> None:
        self.tokens: Tokens = encoder.prepare(documents)
        self.encoder = _copy(encoder)
        self.words = [words_of(fields, encoder.tokenizer.spans) for fields in documents]

    @property
    def sizes(self) -> Ints:
        """(documents,): what each costs, in tokens."""
        return self.tokens.sizes

    def places(self, rows: Ints) -> Places:
        """Return some documents: a place is a token of a chunk."""
        batch = self.encoder.batch(self.tokens, rows)
        cut, document = self.tokens.cut, batch.document.numpy()
        lengths = np.array([len(self.words[row].of_token) for row in rows.tolist()])
        words = np.concatenate([self.words[row].of_token for row in rows.tolist()])
        column = np.arange(batch.ids.shape[1]) - len(cut.prefix)
        token = column + batch.place.numpy()[:, None] * cut.stride
        inside = (column >= 0) & (column < cut.room) & (token < lengths[document, None])
        units = np.full(token.shape, -1, dtype=np.int64)
        units[inside] = words[(token + (np.cumsum(lengths) - lengths)[document, None])[inside]]
        return Places(batch, document, units)

    def faded(self, gate: Tensor) -> TransformerEncoder:
        """Return an encoder that reads a batch faded: at each place, 0 is a blank and 1 what is there."""
        self.encoder.model.gate = gate
        encoder: TransformerEncoder = self.encoder
        return encoder

    def told(self, name: str, row: int, values: Floats) -> list[Contribution]:
        """Return what the words of a document add."""
        words = self.words[row]
        where = zip(words.fields, words.starts.tolist(), words.ends.tolist(), values.tolist(), strict=True)
        return [Contribution(name, field, start, end, value) for field, start, end, value in where if value]


class _Faded(nn.Module):
    """A language model that reads some of its tokens as something between themselves and a blank.

    Args:
        model: of which the embeddings are faded.
        tokenizer: made for it.
    """

    gate: Tensor
    """(chunks, length) of the whole batch."""

    def __init__(self, model: Any, tokenizer: TextTokenizer) -> None:
        super().__init__()
        self.model = model
        embeddings = model.get_input_embeddings()
        self.blank = _blank(embeddings, tokenizer)
        embeddings.register_forward_hook(self._fade)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Return what the model says of some chunks, a slice of a batch."""
        start = input_ids.storage_offset() // input_ids.shape[1]
        self.part = self.gate[start : start + len(input_ids), :, None]
        return self.model(input_ids=input_ids, attention_mask=attention_mask)

    def _fade(self, module: nn.Module, given: Any, states: Tensor) -> Tensor:
        return torch.lerp(self.blank.expand_as(states), states.float(), self.part).to(states.dtype)


@torch.no_grad()
def _blank(embeddings: Any, tokenizer: TextTokenizer) -> Tensor:
    """Return the embedding that stands for no word, (width,) float32.

    Without a mask token that is the mean of all, made as long as they are: networks that norm what they read are
    anything but smooth near 0.
    """
    device, size = embeddings.weight.device, embeddings.num_embeddings
    added = json.loads(tokenizer.text)["added_tokens"]
    masks = [token["id"] for token in added if token["special"] and MASK.fullmatch(token["content"])]
    every = torch.tensor(masks[:1], device=device) if masks and masks[0] < size else torch.arange(size, device=device)
    mean, length = torch.zeros((), device=device), torch.zeros((), device=device)
    for some in torch.split(every, VOCABULARY_AT_ONCE):
        states = embeddings(some).float()
        mean, length = mean + states.sum(0) / len(every), length + states.norm(dim=1).sum() / len(every)
    blank: Tensor = mean * (length / mean.norm())
    return blank


def _copy(encoder: Any) -> Any:
    """Return an encoder of the same weights, of which nothing learns, that may be changed without harm to it.

    The states of long documents are computed again where they are needed, as they are in training.
    """
    kept = (*encoder.buffers(), encoder.tokenizer, encoder.model_config)
    same: dict[int, Any] = {id(each): each for each in kept}
    same |= {id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in encoder.parameters()}
    copy = deepcopy(encoder, same)
    copy.model = _Faded(copy.model, encoder.tokenizer)
    copy.frozen, copy.at_once = False, AT_ONCE
    return copy.eval()


# -- matrices ------------------------------------------------------------------------------------------------------


class Numbers:
    """Rows of a matrix whose columns can be faded, from their means, or from 0 where they are mostly 0.

    Args:
        encoder: reads them.
        documents: a matrix (documents, features).
    """

    def __init__(self, encoder: ColumnEncoder, documents: Any) -> None:
        self.encoder, self.raw = encoder, documents
        self.rows = encoder.prepare(documents)
        numbers = encoder.numbers
        plain = np.setdiff1d(np.arange(numbers.columns), numbers.nominal)
        self.column = np.concatenate([plain, np.repeat(numbers.nominal, [len(codes) for codes in numbers.codes])])

    @property
    def sizes(self) -> Ints:
        """(documents,): what each costs."""
        return self.rows.sizes

    def places(self, rows: Ints) -> Places:
        """Return some documents: a place is a number that the network reads."""
        units = np.broadcast_to(self.column, (len(rows), len(self.column)))
        return Places(self.encoder.batch(self.rows, rows), np.arange(len(rows)), units)

    def faded(self, gate: Tensor) -> Encoder:
        """Return an encoder that reads a batch faded: at each place, 0 is the baseline and 1 what is there."""
        return _Gate(gate)

    def told(self, name: str, row: int, values: Floats) -> list[Contribution]:
        """Return what the columns of a document add."""
        given = self.raw[[row]].toarray()[0]
        return [
            Contribution(name, f"column {j}", 0, 0, float(values[j]), f"value {given[j]:.6g}")
            for j in np.flatnonzero(values).tolist()
        ]


class _Gate(Encoder):
    """Rows of a matrix, each number multiplied."""

    frozen = True

    def __init__(self, gate: Tensor) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, batch: RowBatch, *, tokens: bool = False) -> Encoding:
        """Return the rows, faded."""
        return Encoding(batch.values * self.gate)
