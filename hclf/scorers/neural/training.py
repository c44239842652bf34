"""The one training loop, in small rungs: run -> epoch -> step -> pass.

A *step* changes the weights once, after a batch of documents. The documents of a batch are of similar length; each
process takes its share of them and puts it through the network in one or more *passes* of limited size.

Everything random is a function of seed, epoch, step and process, so nothing of it has to be kept to go on later. The
loss of a batch is the mean over its known pairs of documents and nodes, wherever they are computed: gradients of
shares and passes are weighted by their known pairs and added up. So several processes learn what one would, masked
labels or not. For that the gradients are added here, in one sum a step, not by DistributedDataParallel, whose mean
over processes is another one, and which wants every weight used in every pass.

The conditional head takes its mean over another number of pairs, those whose parents hold: there, the shares of
processes and passes are only nearly what one pass would be.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from hclf.errors import HclfError
from hclf.inputs import Ints
from hclf.metrics.sets import Counts
from hclf.scorers.base import Progress
from hclf.scorers.neural.checkpoint import Checkpoint, Kept
from hclf.scorers.neural.encoding import by_length
from hclf.scorers.neural.network import Network, seed_generators

GRID = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7], dtype=np.float32)
"""Thresholds that validation tries where epochs are chosen by hF; it reports hF at the best of them."""
FINE = (1 / (1 + np.exp(-np.linspace(-10, 10, 401)))).astype(np.float32)
"""Thresholds between which it does not tell scores apart where epochs are chosen by the area under the curve."""
MEASURES = {"hf": "hF", "auprc": "AU(PRC)"}  # what epochs are chosen by, and how that is written
CLEARLY = 1e-3  # of the validation loss
ALIKE = 50  # batches whose documents are sorted by length together
OWN_HEADS = frozenset({"score", "classifier", "pre_classifier", "classification_head", "head"})
"""What transformers calls the part of a sequence classifier that stands on the language model."""
BUCKET = 2**24  # gradients that are added up between processes at once


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: at most so many.
        batch_size: documents of a step, over all processes.
        learning_rate: highest, of trunk and head.
        encoder_learning_rate: highest, of the encoder.
        weight_decay: of AdamW (Loshchilov & Hutter, 2019); biases and norms do not decay.
        warmup: share of all steps in which the learning rate climbs.
        schedule: `linear` or `cosine`: how it falls to 0 afterwards; `constant`: it does not.
        clip: Euclidean length that gradients are cut to.
        patience: epochs that validation finds no better before training ends.
        choose_by: what the best epoch is best in, a name in `MEASURES`.
        pass_size: about how many tokens go through the network at once.
        recursive: weight of recursive regularisation (Gopal & Yang, 2013).
        seed: of the order of documents and of dropout.
        last: the epoch to stop after, if that is known; the learning rate falls as if all came. None: it is not.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float
    warmup: float
    schedule: str
    clip: float
    patience: int
    choose_by: str
    pass_size: int
    recursive: float
    seed: int
    last: int | None = None

    def rate(self, step: int, steps: int) -> float:
        """Return the share of the highest learning rate at a step of all `steps`, counted from 0."""
        climb = max(1, round(self.warmup * steps))
        if step < climb:
            return (step + 1) / (climb + 1)
        left = (steps - step) / max(1, steps - climb)
        return {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[self.schedule]


@dataclass(frozen=True, slots=True)
class Examples:
    """Documents with what is known of them.

    Attributes:
        prepared: by the network's encoder; None: not yet.
        Y: (documents, nodes) labels of the network's nodes.
        unknown: what they do not speak of; None: they speak of every pair.
        node_weights: (nodes,) how much more a true pair counts than a false one; None: the same.
        member_weights: (members, documents) how much a document counts for each member; None: the same.
    """

    prepared: Any
    Y: csr_matrix[Any]
    unknown: csr_matrix[Any] | None = None
    node_weights: NDArray[np.float32] | None = None
    member_weights: NDArray[np.float32] | None = None

    @property
    def sizes(self) -> Ints:
        """(documents,) what each costs in a pass."""
        sizes: Ints = self.prepared.sizes
        return sizes

    def truth(self, rows: Ints) -> Tensor:
        """Return (rows, nodes) float32: 1 for what is true."""
        return torch.from_numpy(self.Y[rows].toarray().astype(np.float32))

    def known(self, rows: Ints) -> Tensor | None:
        """Return (rows, nodes) bool: what the labels speak of; None: everything."""
        return None if self.unknown is None else torch.from_numpy(~self.unknown[rows].toarray().astype(bool))

    def rates(self, rows: Ints) -> NDArray[np.float64]:
        """Return (nodes,) the share of some documents, of those that say so, that have each node."""
        Y = self.Y[rows]
        counts = np.bincount(Y.indices, minlength=Y.shape[1])
        hidden = 0 if self.unknown is None else np.bincount(self.unknown[rows].indices, minlength=Y.shape[1])
        share: NDArray[np.float64] = counts / np.maximum(len(rows) - hidden, 1)
        return share

    def known_pairs(self, rows: Ints) -> int:
        """Return of how many pairs of these documents with nodes the labels speak."""
        hidden = 0
        if self.unknown is not None:
            hidden = int((self.unknown.indptr[rows + 1] - self.unknown.indptr[rows]).sum())
        return len(rows) * int(self.Y.shape[1]) - hidden


class Moment(NamedTuple):
    """Where training stands after a step.

    Attributes:
        epoch: from 1.
        epochs: there are at most.
        loss: mean over the steps of this epoch.
        value: what the last validation found; None: none yet.
        best: the highest of these so far; None: none yet.
        measure: what they are, a name in `MEASURES`.
    """

    epoch: int
    epochs: int
    loss: float
    value: float | None
    best: float | None
    measure: str = "hf"

    @property
    def note(self) -> str:
        """What to show beside a bar that moves."""
        seen = "" if self.value is None else f", {MEASURES[self.measure]} {self.value:.3f} (best {self.best:.3f})"
        return f"epoch {self.epoch}/{self.epochs}, loss {self.loss:.4g}{seen}"


class Seen(NamedTuple):
    """What a validation found.

    Attributes:
        value: micro hF at the best threshold of `GRID`, or the area under the precision-recall curve of all pairs.
        loss: mean over known pairs.
    """

    value: float
    loss: float

    def better_than(self, value: float, loss: float) -> bool:
        """Return whether it is higher, or the same and the loss clearly lower: few documents often have the same."""
        return self.value > value or (self.value == value and self.loss < loss - CLEARLY)


@dataclass(slots=True)
class Standing:
    """How far training has come: all that a checkpoint keeps besides weights.

    Attributes:
        epoch, step: the next step to do, both from 0; the step within its epoch.
        loss: sum over the steps done of this epoch.
        best, best_loss: the highest value of `Seen` so far, and the validation loss there; None: no validation yet.
        best_epoch: when it was, from 1; without validation the last one.
        history: [loss, value of `Seen`] of each epoch done.
        seconds: spent in training, before an interruption as well.
        finished: nothing is left to do.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best: float | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[list[float | None]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False


class Trainer:
    """Trains a network.

    Args:
        network: on the accelerator's device; `run` leaves the best weights in it.
        examples: labelled documents.
        train, valid: rows to learn from, and to choose the best epoch by; without any of the latter, the last one is.
        recipe: how.
        accelerator: precision and processes.
        checkpoint: where to keep what is needed to go on; None: nowhere.
        minutes: between two checkpoints within an epoch; 0: after every step.
    """

    def __init__(
        self,
        network: Network,
        examples: Examples,
        train: Ints,
        valid: Ints,
        recipe: Recipe,
        accelerator: Accelerator,
        checkpoint: Checkpoint | None = None,
        minutes: float = 10,
    ) -> None:
        self.network, self.examples, self.train, self.valid = network, examples, train, valid
        self.recipe, self.accelerator = recipe, accelerator
        self.checkpoint, self.minutes = checkpoint, minutes
        self.device = next(iter(network.learning().values())).device
        self.rank, self.ranks = accelerator.process_index, accelerator.num_processes
        self.optimizer = make_optimizer(network, recipe, self.device)
        weights = examples.node_weights
        self.node_weights = None if weights is None else self._to_device(torch.from_numpy(weights))
        self.grid = FINE if recipe.choose_by == "auprc" else GRID
        self.standing = Standing()
        self.best: Mapping[str, Tensor] | None = None
        self.steps_an_epoch = -(-len(train) // recipe.batch_size)
        self._whole = True  # weights, optimiser and standing belong together
        self._written = self._began = time.monotonic()

    # -- run -------------------------------------------------------------------------------------------------

    def run(self, progress: Progress, *, resume: bool = False) -> Standing:
        """Train until the end, or from where the checkpoint stands if `resume` is set; return where it ended.

        Raises:
            HclfError: the loss is no number any more, or the checkpoint cannot be read.
            KeyboardInterrupt: someone wants it to end; what is needed to go on is kept first.
        """
        if resume and self.checkpoint:
            self._take_up(self._read())
        self._agree()
        done = self.standing.epoch * self.steps_an_epoch + self.standing.step
        left = (self.recipe.last or self.recipe.epochs) * self.steps_an_epoch - done
        try:
            with interrupts_between_steps() as interrupted:
                for _ in progress(self._moments(interrupted), "training", left):
                    pass
                if not self.standing.finished:
                    self._finish()
                if interrupted.is_set():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            if self._whole:
                self._keep()
            raise
        return self.standing

    def _moments(self, interrupted: threading.Event) -> Iterator[Moment]:
        """Train epoch by epoch; yield after each step."""
        while not self._is_enough():
            yield from self._epoch(interrupted)
            self._end_epoch()

    def _is_enough(self) -> bool:
        at = self.standing
        last = self.recipe.last or self.recipe.epochs
        return at.finished or at.epoch >= last or at.epoch - at.best_epoch >= self.recipe.patience

    def _finish(self) -> None:
        if self.best is not None:
            self.network.set_weights(self.best)
        self._agree()
        self.best = self.network.weights()
        self.standing.finished = True
        self._count_time()
        self._keep()

    # -- epoch -----------------------------------------------------------------------------------------------

    def _epoch(self, interrupted: threading.Event) -> Iterator[Moment]:
        """Do the steps of an epoch that are left."""
        at, recipe = self.standing, self.recipe
        self.network.train()
        batches = epoch_batches(self.train, self.examples.sizes, recipe.batch_size, (recipe.seed, at.epoch))
        for rows in batches[at.step :]:
            self._whole = False
            at.loss += self._step(rows)
            at.step += 1
            self._whole = True
            if interrupted.is_set():
                raise KeyboardInterrupt
            if self.checkpoint and time.monotonic() - self._written >= 60 * self.minutes:
                self._keep()
            value = at.history[-1][1] if at.history else None
            yield Moment(at.epoch + 1, recipe.epochs, at.loss / at.step, value, at.best, recipe.choose_by)

    def _end_epoch(self) -> None:
        at = self.standing
        loss = at.loss / max(1, at.step)
        seen = self.validate() if len(self.valid) else None
        self._whole = False
        at.history.append([loss, None if seen is None else seen.value])
        at.epoch, at.step, at.loss = at.epoch + 1, 0, 0.0
        if seen is None:
            at.best_epoch = at.epoch
        elif at.best is None or seen.better_than(at.best, at.best_loss):
            at.best, at.best_loss, at.best_epoch = seen.value, seen.loss, at.epoch
            self.best = self.network.weights()
        self._whole = True
        if not self._is_enough():
            self._keep()

    # -- step ------------------------------------------------------------------------------------------------

    def _step(self, rows: Ints) -> float:
        """Change the weights once; return the loss before."""
        at, recipe = self.standing, self.recipe
        factor = recipe.rate(at.epoch * self.steps_an_epoch + at.step, recipe.epochs * self.steps_an_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * factor
        seed_generators(_seed_of(recipe.seed, at.epoch, at.step, self.rank), self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._losses(rows)
        self._add_up_gradients()
        value = float(self._added_up(loss))
        if not math.isfinite(value):
            raise HclfError(
                f"training went astray in epoch {at.epoch + 1}: the loss is {value}; "
                "try a smaller learning_rate, or precision='fp32'"
            )
        self.accelerator.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        return value

    def _losses(self, rows: Ints) -> Tensor:
        """Compute the gradients of this process; return its part of the loss."""
        total = torch.zeros((), device=self.device)
        pairs = self.examples.known_pairs(rows)
        for part in self._passes(rows):
            share = self.examples.known_pairs(part) / max(1, pairs)
            if share:
                loss = self._loss(part) * share
                self.accelerator.backward(loss)
                total += loss.detach()
        if self.recipe.recursive:
            penalty = self.network.head.penalty() * (self.recipe.recursive / self.ranks)
            self.accelerator.backward(penalty)
            total += penalty.detach()
        return total

    def _loss(self, rows: Ints) -> Tensor:
        """Return the loss of one pass: the mean over its known pairs."""
        examples, head = self.examples, self.network.head
        raw = self._raw(rows)
        if examples.member_weights is not None:
            raw = weighted(raw, self._to_device(torch.from_numpy(examples.member_weights[:, rows])))
        return head.loss(raw, *self._truth_and_known(rows), self.node_weights)

    def _raw(self, rows: Ints) -> Tensor:
        """Return raw outputs (members, documents, nodes), float32."""
        batch = self.network.encoder.batch(self.examples.prepared, rows)
        with self.accelerator.autocast():
            raw: Tensor = self.network(batch.to(self.device))
        return raw.float()

    def _passes(self, rows: Ints) -> Iterator[Ints]:
        """Yield this process's share of some rows, a pass at a time."""
        mine = rows[self.rank :: self.ranks]
        for part in by_length(self.examples.sizes[mine], self.recipe.pass_size):
            yield mine[part]

    def _add_up_gradients(self) -> None:
        """Give every process the sum of all gradients."""
        if self.ranks == 1:
            return
        parameters = list(self.network.learning().values())
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in buckets([p.grad for p in parameters if p.grad is not None], BUCKET):
            total = self._added_up(torch.cat([gradient.reshape(-1) for gradient in bucket]))
            sizes = [gradient.numel() for gradient in bucket]
            for gradient, part in zip(bucket, total.split_with_sizes(sizes), strict=True):
                gradient.copy_(part.view_as(gradient))

    def _added_up(self, tensor: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(tensor, reduction="sum") if self.ranks > 1 else tensor
        return total

    # -- validation ------------------------------------------------------------------------------------------

    def validate(self) -> Seen:
        """Return how well the documents held out are answered.

        Each process counts for its share of them; the counts are added up, so all find the same.
        """
        self.network.eval()
        pairs = self.examples.known_pairs(self.valid)
        loss = torch.zeros((), device=self.device)
        true = torch.zeros(1, dtype=torch.int64, device=self.device)
        bins = len(self.grid) + 1
        predicted, both = (torch.zeros(bins, dtype=torch.int64, device=self.device) for _ in range(2))
        with torch.inference_mode():
            for rows in self._passes(self.valid):
                raw = self._raw(rows)
                truth, known = self._truth_and_known(rows)
                loss += self.network.head.loss(raw, truth, known) * (self.examples.known_pairs(rows) / max(1, pairs))
                passed, truth = self._passed(raw), truth.bool()
                known = torch.ones_like(truth) if known is None else known
                true += (truth & known).sum()
                predicted += torch.bincount(passed[known], minlength=bins)
                both += torch.bincount(passed[known & truth], minlength=bins)
        counts = self._added_up(torch.cat([true, predicted, both])).cpu().numpy()
        measure = average_precision if self.recipe.choose_by == "auprc" else best_hf
        return Seen(measure(counts[0], *counts[1:].reshape(2, -1)), float(self._added_up(loss)))

    def _passed(self, raw: Tensor) -> Tensor:
        """Return how many thresholds the coherent probability of each pair passes."""
        head = self.network.head
        probability = head.hierarchy.coherent(torch.sigmoid(head.log_odds(raw)))
        return torch.bucketize(probability, self._to_device(torch.from_numpy(self.grid)), right=True)

    def _truth_and_known(self, rows: Ints) -> tuple[Tensor, Tensor | None]:
        truth: Tensor = self._to_device(self.examples.truth(rows))
        known: Tensor | None = self._to_device(self.examples.known(rows))
        return truth, known

    def _to_device(self, tensor: Any) -> Any:
        return None if tensor is None else tensor.to(self.device)

    # -- checkpoints -----------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Write all that is needed to go on; only one process does."""
        if self.checkpoint is None or not self.accelerator.is_main_process:
            return
        self._count_time()
        tensors = {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        if not self.standing.finished:
            tensors |= {f"now.{name}": tensor for name, tensor in self.network.weights().items()}
            for place, state in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in state.items()}
        self.checkpoint.write(Kept(asdict(self.standing), tensors))
        self._written = time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.standing.seconds += now - self._began
        self._began = now

    def _read(self) -> Kept | None:
        """Return what the checkpoint holds: the first process reads it for all."""
        found: list[Any] = [self.checkpoint.read() if self.checkpoint and self.accelerator.is_main_process else None]
        if self.ranks > 1:
            broadcast_object_list(found)
        kept: Kept | None = found[0]
        return kept

    def _take_up(self, kept: Kept | None) -> None:
        """Go on from what was kept."""
        if kept is None:
            return
        self.standing = Standing(**{name: kept.about[name] for name in Standing.__slots__})
        self.best = _named("best", kept.tensors) or None
        self.network.set_weights(_named("now", kept.tensors) or self.best or {})
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _named("optimizer", kept.tensors).items():
            place, _, what = name.partition(".")
            states.setdefault(int(place), {})[what] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})

    def _agree(self) -> None:
        """Give every process the weights of the first."""
        if self.ranks > 1:
            for parameter in self.network.learning().values():
                torch.distributed.broadcast(parameter.data, src=0)


# -- parts ---------------------------------------------------------------------------------------------------------


def make_optimizer(network: Network, recipe: Recipe, device: torch.device) -> torch.optim.AdamW:
    """Return AdamW with a group each for the encoder and the rest, with and without decay."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.learning().items():
        plain = parameter.ndim < 2 or name.endswith("bias")
        groups.setdefault((is_of_encoder(name), plain), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "highest": recipe.encoder_learning_rate if of_encoder else recipe.learning_rate,
            "weight_decay": 0.0 if plain else recipe.weight_decay,
        }
        for (of_encoder, plain), parameters in groups.items()
    ]
    return torch.optim.AdamW(settings, fused=device.type in ("cpu", "cuda"))


def is_of_encoder(name: str) -> bool:
    """Return whether a parameter is one of the encoder, and not of a head that the encoder has itself."""
    return name.startswith("encoder.") and OWN_HEADS.isdisjoint(name.split("."))


def best_hf(true: int, predicted: Ints, both: Ints) -> float:
    """Return the highest micro hF of all thresholds.

    Args:
        true: how many pairs are true.
        predicted, both: (thresholds + 1,) how many pairs, and how many true ones, pass exactly so many thresholds.
    """
    passing = [counts[::-1].cumsum()[::-1][1:] for counts in (predicted, both)]
    table = Counts(np.full(len(predicted) - 1, true), *passing).table()
    return float(table.f1.max())


def average_precision(true: int, predicted: Ints, both: Ints) -> float:
    """Return the area under the precision-recall curve as average precision, by counts as `best_hf` takes them.

    Pairs between two thresholds are alike. Such counts can be added up between processes; scores could not.
    """
    passing, right = (counts[::-1].cumsum() for counts in (predicted, both))
    found = np.diff(right, prepend=0)
    return float((found * right / np.maximum(passing, 1)).sum() / max(true, 1))


def weighted(raw: Tensor, weights: Tensor) -> Tensor:
    """Return outputs (members, documents, nodes) as they are; gradients of a loss of them are weighted.

    A loss is a sum over documents, so weighting what flows back into a document's outputs weighs the document.

    Args:
        raw: outputs.
        weights: (members, documents).
    """
    weights = weights[:, :, None]
    return raw * weights + (raw * (1 - weights)).detach()


def epoch_batches(rows: Ints, sizes: Ints, batch_size: int, seed: tuple[int, ...]) -> list[Ints]:
    """Return rows in batches of documents of similar size, in an order by chance.

    Args:
        rows: of the documents.
        sizes: of all documents.
        batch_size: documents of a batch; the last one may have fewer.
        seed: another one, other batches.
    """
    rng = np.random.default_rng((*seed, 0))
    order = rng.permutation(rows)
    window = batch_size * ALIKE
    together = [order[start : start + window] for start in range(0, len(order), window)]
    alike = np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in together])
    batches = [alike[start : start + batch_size] for start in range(0, len(alike), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def buckets(tensors: list[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Yield tensors in groups of at most so many numbers, or of one tensor."""
    group: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if group and size + tensor.numel() > most:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += tensor.numel()
    if group:
        yield group


@contextmanager
def interrupts_between_steps() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C sets, so that no step is torn apart; a second Ctrl-C interrupts at once."""
    asked = threading.Event()
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _seed_of(*parts: int) -> int:
    return int(np.random.default_rng((*parts, 1)).integers(2**62))


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors called PREFIX.NAME by NAME."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
