"""The neural scorer: an encoder, a small trunk of one or more members, and a head that knows the taxonomy.

    texts     a language model (by folder or hub name), fine-tuned, frozen or with LoRA, and a flat head
    matrices  standardised columns, fully connected layers, and the max-constraint head

A frozen language model is run once over all documents; trunk and head then learn from its vectors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import nn

from hclf.data import split_indices, text_groups
from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.inputs import Inputs, joined, length, rows_of, without_words
from hclf.labels import is_closed
from hclf.scorers.base import Contribution, Progress, Scored, silent
from hclf.scorers.neural.checkpoint import Checkpoint, fingerprint
from hclf.scorers.neural.columns import ColumnEncoder
from hclf.scorers.neural.encoding import BATCH_TOKENS, Encoder, by_length, device_of, embed, vectors_of
from hclf.scorers.neural.evidence import network_evidence
from hclf.scorers.neural.heads import HEADS, Exclusive, Head, exclusive_siblings, make_head
from hclf.scorers.neural.heads.native import NativeHead
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.native import NativeEncoder, native_encoder
from hclf.scorers.neural.network import (
    Network,
    VectorEncoder,
    accelerated,
    choose_device,
    learns_in_bf16,
    memory_advice,
    reproducible,
)
from hclf.scorers.neural.training import MEASURES, Examples, Recipe, Standing, Trainer
from hclf.scorers.neural.transformer import TransformerEncoder, load_transformer
from hclf.scorers.neural.trunk import Trunk
from hclf.scorers.packing import prefixed, unprefixed
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

FEATURES = "features"
KINDS: dict[str, type[Head]] = {**HEADS, NativeHead.name: NativeHead}
CHOICES: dict[str, tuple[str, ...]] = {
    "head": ("auto", *KINDS),
    "loss": ("bce", "asymmetric", "focal"),
    "tune": ("full", "frozen", "lora"),
    "pooling": ("auto", "mean", "first", "last"),
    "precision": ("auto", "fp32", "bf16"),
    "norm": ("none", "layer"),
    "class_weights": ("none", "balanced"),
    "schedule": ("linear", "cosine", "constant"),
    "choose_by": tuple(MEASURES),
}
FEWEST = 50  # documents below which none are held out to validate
MOST_VALID = 5_000  # documents that validate; more make the choice of an epoch no better
HEAVIEST = 20.0  # class weight of the rarest nodes
FEW_STEPS = 300  # of little data there are more epochs, until there are so many steps
PASS_TOKENS = {"cuda": 32_768}  # elsewhere BATCH_TOKENS
ENCODERS: dict[str, type[Encoder]] = {cls.kind: cls for cls in (ColumnEncoder, TransformerEncoder, NativeEncoder)}
OF_ENCODERS = ("max_length", "tune", "lora_rank", "gradient_checkpointing")
OF_NETWORKS = ("hidden", "layers", "dropout", "input_dropout", "norm", "loss", "n_members")
# What does not decide how one network is trained.
OF_THE_PLACE = ("n_jobs", "device", "checkpoint", "resume", "checkpoint_minutes", "retrain")
AT_LEAST = {  # of each number the lowest that makes sense
    "max_length": 4,
    "lora_rank": 1,
    "hidden": 1,
    "layers": 0,
    "dropout": 0,
    "input_dropout": 0,
    "n_members": 1,
    "epochs": 1,
    "batch_size": 1,
    "learning_rate": 0,
    "encoder_learning_rate": 0,
    "weight_decay": 0,
    "warmup": 0,
    "clip": 1e-9,
    "patience": 1,
    "pass_tokens": 1,
    "validation": 0,
    "recursive": 0,
    "checkpoint_minutes": 0,
}
BELOW = {"dropout": 1, "input_dropout": 1, "validation": 1, "warmup": 1}


class Defaults(NamedTuple):
    """What options are that nobody has set."""

    hidden: int
    layers: int
    dropout: float
    input_dropout: float
    epochs: int
    batch_size: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float
    warmup: float
    patience: int


OF_MATRICES = Defaults(512, 2, 0.5, 0.2, 120, 64, 2e-3, 0.0, 1e-4, 0.05, 25)
OF_VECTORS = Defaults(512, 0, 0.1, 0.1, 60, 64, 2e-3, 0.0, 1e-2, 0.02, 5)
OF_TUNED = Defaults(512, 0, 0.1, 0.1, 6, 32, 1e-3, 5e-5, 1e-2, 0.06, 2)
OF_LORA = OF_TUNED._replace(encoder_learning_rate=3e-4)


class NeuralScorer:
    """A network trained on documents and closed labels.

    What a document's score is does not depend on its batch, but for rounding: matrix products of other shapes add up
    in another order (differences below 1e-5 in 32 bits; with `precision="bf16"` below 0.05).

    Args:
        encoder: `features` for matrices; for texts the folder or hub name of a Hugging Face model; `auto`: `features`
            for matrices.
        head: `flat`, `max_constraint`, `conditional`, `label_attention` or, to be exported to Hugging Face, `native`;
            `auto`: `max_constraint` for matrices, `flat` for texts and for labels that are not closed.
        loss: `bce`, `asymmetric` or `focal`.
        nominal: columns of matrices that hold codes, not amounts; see `hclf.scorers.numbers.NumberColumns`.
        tune: what of a language model learns: `full`, `frozen` (nothing) or `lora`.
        pooling: how token states become a document's vector: `mean`, `first` or `last`; `auto`: the last of a model
            that writes texts, such as Llama, otherwise the mean.
        max_length: tokens of a chunk; None: what the model takes. Longer documents have several chunks.
        lora_rank: rank of LoRA's matrices.
        hidden, layers, dropout, norm: of the trunk; 0 layers: none.
        input_dropout: share of the numbers of a document's vector that is set to 0 in training.
        n_members: networks trained at once, on the same encoder, and averaged.
        bootstrap: members count documents differently, as if each had drawn its own sample of them.
        epochs, batch_size, learning_rate, encoder_learning_rate, weight_decay, warmup, schedule, clip, patience,
            choose_by: see `training.Recipe`; None: what suits the encoder. The learning rate is that of
            trunk and head.
        pass_tokens: about how many tokens go through the network at once; less needs less memory and changes
            nothing else.
        validation: share of the documents held out to choose the best epoch by; none of fewer than 50 documents.
        retrain: once the best epoch is known, train anew on all documents up to it; None: where no encoder learns.
        class_weights: `balanced`: the true pairs of a node weigh as much as its false ones, at most 20 times more.
        recursive: weight of recursive regularisation: nodes stay near their parents (Gopal & Yang, 2013).
        precision: `fp32`; `bf16`: matrices are multiplied in bfloat16; `auto`: that in training where a GPU can.
        device: `cpu`, `cuda`, `cuda:1`, …; None: the GPU if there is one.
        checkpoint: folder to keep what is needed to go on after an interruption; each fit has its own folder in it.
        resume: go on where the checkpoint of the very same fit stands, if there is one.
        checkpoint_minutes: between two checkpoints within an epoch.
        gradient_checkpointing: compute states again instead of keeping them: less memory, a third more time.
        n_jobs: is taken and not used; torch has its own threads.
        seed: of all that is random.

    Attributes:
        columns: taxonomy columns with at least one training document.
        report: what happened in fit, as plain values.
        findings: the best epoch, of how many, where fit looked for it and it holds for another fit too.
    """

    name: ClassVar[str] = "neural"
    channels: ClassVar[tuple[str, ...]] = ("log_odds",)
    candidate_channels: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        encoder: str = "auto",
        head: str = "auto",
        loss: str = "bce",
        nominal: Sequence[int] = (),
        tune: str = "full",
        pooling: str = "auto",
        max_length: int | None = None,
        lora_rank: int = 8,
        hidden: int | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        input_dropout: float | None = None,
        norm: str = "none",
        n_members: int = 1,
        bootstrap: bool = False,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        encoder_learning_rate: float | None = None,
        weight_decay: float | None = None,
        warmup: float | None = None,
        schedule: str = "linear",
        clip: float = 1.0,
        patience: int | None = None,
        choose_by: str = "hf",
        pass_tokens: int | None = None,
        validation: float = 0.1,
        retrain: bool | None = None,
        class_weights: str = "none",
        recursive: float = 0.0,
        precision: str = "auto",
        device: str | None = None,
        checkpoint: str | None = None,
        resume: bool = False,
        checkpoint_minutes: float = 10,
        gradient_checkpointing: bool = False,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        nominal = [int(column) for column in nominal]
        self.options: dict[str, Any] = {k: v for k, v in locals().items() if k != "self"}
        _check(self.options)
        self.n_jobs, self.seed = n_jobs, seed
        self.report: dict[str, Any] = {}
        self.findings: dict[str, Any] = {}
        self._begins_with: Mapping[str, Any] = {}
        self._kept = True

    # -- fit -------------------------------------------------------------------------------------------------

    def begin_with(self, findings: Mapping[str, Any], *, kept: bool) -> None:
        """Take over the best epoch that an earlier fit found; see `hclf.scorers.base.prepare`.

        A fit that is not kept does without training anew: a tenth more documents would hardly change what its
        scores say of held-out ones.
        """
        self._begins_with, self._kept = findings, kept

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Train a network.

        Raises:
            DataError: no document has a word.
            UsageError: texts without the name of a model, or a matrix with one.
            HclfError: memory ran out, the loss went astray, or the checkpoint cannot be used.
            KeyboardInterrupt: as soon as the step is done; with `checkpoint`, resuming goes on from there.
        """
        began, options = time.perf_counter(), self.options
        kind = self._kind(inputs)
        with accelerated(options["precision"], options["device"]) as accelerator, memory_advice():
            device = accelerator.device if options["device"] is None else choose_device(options["device"])
            with reproducible(self.seed, device):
                encoder, self.columns = self._load(kind, inputs, taxonomy, trained_columns(taxonomy, Y))
                self._train(Task(inputs, Y, unknown, taxonomy, encoder.to(device), accelerator, device), progress)
        self.report["seconds"] = round(time.perf_counter() - began, 2)
        return self

    def _kind(self, inputs: Inputs) -> str:
        """Return the kind of encoder for these inputs."""
        encoder, matrix = self.options["encoder"], isinstance(inputs, csr_matrix)
        if matrix and encoder not in ("auto", FEATURES):
            raise UsageError(f"encoder {encoder!r} reads texts; a feature matrix takes encoder 'features'")
        if not matrix and encoder in ("auto", FEATURES):
            raise UsageError(
                "texts need a language model: give --encoder FOLDER_OR_NAME "
                '(encoder="…" in scorer_options), such as the folder of a Hugging Face model'
            )
        if not isinstance(inputs, csr_matrix) and without_words(inputs).all():
            raise DataError("no training document has a single word of text")
        return FEATURES if matrix else "transformer"

    def _load(self, kind: str, inputs: Inputs, taxonomy: Taxonomy, columns: Ints) -> tuple[Encoder, Ints]:
        """Return the encoder, and the columns that the network is to have: with its own head, those it knows."""
        if kind == FEATURES:
            return ColumnEncoder.fit(inputs, nominal=tuple(self.options["nominal"])), columns
        name, options = self.options["encoder"], {key: self.options[key] for key in OF_ENCODERS}
        if self.options["head"] == NativeHead.name:
            return native_encoder(name, taxonomy, columns, seed=self.seed, **options)
        pooling = None if self.options["pooling"] == "auto" else self.options["pooling"]
        return load_transformer(name, pooling=pooling, **options), columns

    def _train(self, task: Task, progress: Progress) -> None:
        """Build the network of a task and train it; train it again on all documents, if that is wanted."""
        options, encoder, device = self.options, task.encoder, task.device
        lasting = self._retrains(encoder)  # whether the best epoch holds for other trainings
        known = self._begins_with if lasting else {}
        train, valid = hold_out(task, 0 if known else options["validation"], self.seed)
        again = lasting and self._kept and len(valid) > 0
        recipe, self.built = settle(options, task, len(train))
        if known:
            recipe = replace(recipe, epochs=known["epochs"], last=known["best_epoch"])
        self.hierarchy = Hierarchy(task.taxonomy, self.columns)
        kind = KINDS[self.built["head"]]
        if kind.reads_exclusive:
            rows = (task.Y[train], rows_of(task.unknown, train))
            self.built["exclusive"] = [[list(nodes), c] for nodes, c in exclusive_siblings(self.hierarchy, *rows)]
        prepared = self._prepared(task, recipe.pass_size, progress)
        examples = self._examples(task, prepared)
        texts = node_vectors(task, self.columns, recipe.pass_size) if kind.reads_texts else None

        def learn(train: Ints, valid: Ints, recipe: Recipe) -> tuple[Network, Standing]:
            starts = {"rates": examples.rates(train), "texts": texts}
            self.network = build(self.built, encoder, self.hierarchy, **starts).to(device)
            learner = self.network.beside(prepared) if isinstance(prepared, VectorEncoder) else self.network
            checkpoint, minutes = self._checkpoint(task, learner, recipe.last), options["checkpoint_minutes"]
            trainer = Trainer(learner, examples, train, valid, recipe, task.accelerator, checkpoint, minutes)
            return learner, trainer.run(progress, resume=options["resume"])

        learner, end = learn(train, valid, recipe)
        self.findings = dict(known)
        if lasting and len(valid):
            self.findings = {"epochs": recipe.epochs, "best_epoch": end.best_epoch, "best": end.best}
        if again:
            with reproducible(self.seed, device):  # begins as a first training does
                learner, _ = learn(np.arange(length(task.inputs)), valid[:0], replace(recipe, last=end.best_epoch))
        trained = sum(parameter.numel() for parameter in learner.learning().values())
        if isinstance(encoder, TransformerEncoder):
            encoder.merge()
        self.network.eval()
        self.report = {
            "encoder": options["encoder"] if encoder.kind != FEATURES else FEATURES,
            "head": self.built["head"],
            "device": str(device),
            "precision": "bf16" if learns_in_bf16(options["precision"], device) else "fp32",
            "processes": task.accelerator.num_processes,
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "trained_parameters": trained,
            "training_documents": length(task.inputs) if again else len(train),
            "validation_documents": len(valid),
            "long_documents": prepared.long,
            "epochs": len(end.history),
            "best_epoch": end.best_epoch,
            f"validation_{options['choose_by']}": known.get("best", end.best),
            "training_seconds": round(end.seconds, 2),
            "losses": [loss for loss, _ in end.history],
        }

    def _retrains(self, encoder: Encoder) -> bool:
        """Return whether a network is trained once more, now on what validated it, too."""
        asked = self.options["retrain"]
        learns = encoder.kind != FEATURES and not encoder.frozen
        if asked and learns:
            raise UsageError("retrain is for networks whose encoder does not learn: tune='frozen', or matrices")
        return asked if asked is not None else not learns

    def _prepared(self, task: Task, tokens: int, progress: Progress) -> Any:
        """Return the documents made ready for a network.

        What does not change while it is trained, a frozen language model's vectors, is computed once.
        """
        encoder = task.encoder
        prepared = encoder.prepare(task.inputs, progress)
        if encoder.kind == FEATURES or not encoder.frozen or KINDS[self.built["head"]].needs_tokens:
            return prepared
        vectors = vectors_of(encoder, prepared, batch_tokens=tokens, device=task.device, progress=progress)
        return VectorEncoder(vectors, prepared.long)

    def _examples(self, task: Task, prepared: Any) -> Examples:
        """Return the documents with what is known of the nodes that are trained."""
        options, columns = self.options, self.columns
        Y = csr_matrix(task.Y[:, columns], dtype=bool)
        hidden = task.unknown is not None and task.unknown.nnz
        unknown = csr_matrix(task.unknown[:, columns], dtype=bool) if task.unknown is not None and hidden else None
        weights = balanced(Y, unknown) if options["class_weights"] == "balanced" else None
        drawn = None
        if options["bootstrap"]:
            draw = np.random.default_rng((self.seed, 2)).poisson(1.0, (options["n_members"], Y.shape[0]))
            drawn = draw.astype(np.float32)
        return Examples(prepared, Y, unknown, weights, drawn)

    def _checkpoint(self, task: Task, network: Network, last: int | None) -> Checkpoint | None:
        options = self.options
        if options["checkpoint"] is None:
            return None
        relevant = {name: value for name, value in options.items() if name not in OF_THE_PLACE}
        if last is not None:
            relevant["last"] = last
        labels = (task.Y, task.unknown)
        key = fingerprint(relevant, task.taxonomy.fingerprint, task.inputs, labels, network)
        return Checkpoint(options["checkpoint"], key)

    # -- score -----------------------------------------------------------------------------------------------

    def score(self, inputs: Inputs) -> Scored:
        """Return log-odds of every trained node, (1, documents, columns).

        Raises:
            UsageError: texts for a model of matrices, or the other way round; another number of features.
            HclfError: memory ran out.
        """
        network = self.network
        device = device_of(network)
        prepared = network.encoder.prepare(inputs)
        out = np.zeros((1, length(inputs), len(self.columns)), dtype=np.float32)
        with memory_advice(), torch.inference_mode(), self._autocast(device):
            for rows in by_length(prepared.sizes, pass_tokens(self.options, device)):
                batch = network.encoder.batch(prepared, rows).to(device)
                out[0, rows] = network.log_odds(batch).cpu().numpy()
        return Scored(out)

    def evidence(self, inputs: Inputs, rows: Ints, columns: Ints) -> list[list[Contribution]]:
        """Return for each (document, taxonomy column) pair what words or numbers add to the log-odds.

        See `network_evidence`.
        """
        network = self.network

        def log_odds(encoder: Encoder, batch: Any) -> torch.Tensor:
            return network.beside(encoder).eval().log_odds(batch)

        device = device_of(network)
        return network_evidence(self.name, network.encoder, log_odds, self.columns, inputs, rows, columns, device)

    def _autocast(self, device: torch.device) -> Any:
        halved = self.options["precision"] == "bf16"
        return torch.autocast(device.type, torch.bfloat16, enabled=halved)

    # -- state -----------------------------------------------------------------------------------------------

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return options, report, and all weights."""
        encoder, arrays = self.network.encoder.get_state()
        config = {
            "options": {name: value for name, value in self.options.items() if name not in OF_THE_PLACE},
            "kind": self.network.encoder.kind,
            "encoder": encoder,
            "built": self.built,
            "report": self.report,
        }
        return config, {
            **prefixed("encoder", arrays),
            **prefixed("trunk", _arrays(self.network.trunk)),
            **prefixed("head", _arrays(self.network.head)),
            "columns": self.columns,
            "edges": self.hierarchy.edges.cpu().numpy(),
        }

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned, on the GPU if there is one."""
        scorer = cls(**config["options"])
        scorer.columns, scorer.report, scorer.built = arrays["columns"], dict(config["report"]), dict(config["built"])
        encoder = ENCODERS[config["kind"]].from_state(config["encoder"], unprefixed("encoder", arrays))
        taxonomy = plain_taxonomy(len(scorer.columns), arrays["edges"])
        scorer.hierarchy = Hierarchy(taxonomy, np.arange(len(taxonomy)))
        device = choose_device(None)
        with reproducible(scorer.seed, device):
            scorer.network = build(scorer.built, encoder, scorer.hierarchy)
        for part, name in ((scorer.network.trunk, "trunk"), (scorer.network.head, "head")):
            found = unprefixed(name, arrays)
            part.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in found.items()})
        scorer.network.to(device).eval()
        return scorer


# -- parts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """All that one fit is about."""

    inputs: Inputs
    Y: csr_matrix[Any]
    unknown: csr_matrix[Any] | None
    taxonomy: Taxonomy
    encoder: Encoder
    accelerator: Accelerator
    device: torch.device


def trained_columns(taxonomy: Taxonomy, Y: csr_matrix[Any]) -> Ints:
    """Return the nodes with documents, and their ancestors where labels are not closed."""
    columns = distinct(Y.indices.astype(np.int64))
    return distinct(taxonomy.close_pairs(np.zeros_like(columns), columns)[1])


def hold_out(task: Task, share: float, seed: int) -> tuple[Ints, Ints]:
    """Return rows to learn from and rows to validate with; equal texts are never on both sides."""
    n = length(task.inputs)
    if not share or n < FEWEST:
        return np.arange(n), np.arange(0)
    groups = None if isinstance(task.inputs, csr_matrix) else text_groups(joined(task.inputs))
    return split_indices(task.Y, test_size=min(share, MOST_VALID / n), seed=seed, groups=groups)


def settle(options: Mapping[str, Any], task: Task, documents: int) -> tuple[Recipe, dict[str, Any]]:
    """Return how to train on so many documents and what to build, defaults filled in."""
    defaults = defaults_of(task.encoder, options["tune"])
    chosen = {name: value if options[name] is None else options[name] for name, value in defaults._asdict().items()}
    if options["epochs"] is None:
        steps = -(-documents // chosen["batch_size"])
        enough = -(-FEW_STEPS // max(1, steps))
        if enough > chosen["epochs"]:
            more = enough / chosen["epochs"]
            chosen["epochs"] = enough
            chosen["patience"] = options["patience"] or round(more * chosen["patience"])
    every = {**options, **chosen, "pass_size": pass_tokens(options, task.device)}
    recipe = Recipe(**{field.name: every[field.name] for field in fields(Recipe) if field.name in every})
    return recipe, {**{name: every[name] for name in OF_NETWORKS}, "head": head_name(options["head"], task)}


def defaults_of(encoder: Encoder, tune: str) -> Defaults:
    """Return what suits an encoder."""
    if encoder.kind == FEATURES:
        return OF_MATRICES
    return {"full": OF_TUNED, "lora": OF_LORA, "frozen": OF_VECTORS}[tune]


def head_name(name: str, task: Task) -> str:
    """Return the name of the head; `auto`: the hierarchy is for matrices, and only if labels are closed."""
    if name != "auto":
        return name
    closed = bool(is_closed(task.taxonomy, task.Y).all())
    return "max_constraint" if task.encoder.kind == FEATURES and closed else "flat"


def build(built: Mapping[str, Any], encoder: Encoder, hierarchy: Hierarchy, **starts: Any) -> Network:
    """Return a network with trunk and head as they begin.

    Args:
        built: what to build, JSON-able.
        encoder: below them.
        hierarchy: of the nodes.
        starts: where a head begins: `rates` and `texts` of the nodes.

    Raises:
        UsageError: layers between an encoder and a head that reads tokens, or that is the encoder's own.
    """
    kind, members = KINDS[built["head"]], built["n_members"]
    if built["layers"] and (kind.needs_tokens or kind is NativeHead):
        raise UsageError(f"head {built['head']!r} stands on the encoder itself: it takes no layers")
    shape = {name: built[name] for name in ("hidden", "layers", "dropout", "norm")}
    trunk = Trunk(encoder.width, members=members, **shape)
    options: dict[str, Any] = {"members": members, "loss": built["loss"], **starts}
    if kind.reads_exclusive:
        options["exclusive"] = [Exclusive(tuple(nodes), complete) for nodes, complete in built["exclusive"]]
    if kind is NativeHead:
        return Network(encoder, trunk, NativeHead(trunk.width_out, hierarchy, **options))
    return Network(
        encoder, trunk, make_head(kind.name, trunk.width_out, hierarchy, **options), built["input_dropout"]
    )


def node_vectors(task: Task, columns: Ints, tokens: int) -> Floats:
    """Return (nodes, width): what the encoder makes of the nodes' texts; zeros for a node without any."""
    texts = ["; ".join(task.taxonomy.node(column).texts) for column in columns.tolist()]
    vectors = embed(task.encoder, texts, batch_tokens=tokens, device=task.device)
    vectors[[not text for text in texts]] = 0
    return vectors


def balanced(Y: csr_matrix[Any], unknown: csr_matrix[Any] | None) -> Floats:
    """Return (nodes,) how much more a true pair of a node counts: as its false ones are more, from 1 to 20."""
    true = np.bincount(Y.indices, minlength=Y.shape[1])
    hidden = 0 if unknown is None else np.bincount(unknown.indices, minlength=Y.shape[1])
    ratio = (Y.shape[0] - true - hidden) / np.maximum(true, 1)
    weights: Floats = np.clip(ratio, 1, HEAVIEST).astype(np.float32)
    return weights


def pass_tokens(options: Mapping[str, Any], device: torch.device) -> int:
    """Return about how many tokens go through the network at once."""
    return int(options["pass_tokens"] or PASS_TOKENS.get(device.type, BATCH_TOKENS))


def plain_taxonomy(size: int, edges: Ints) -> Taxonomy:
    """Return a taxonomy whose nodes are called by their numbers, in the order of the numbers."""
    names = [f"{number:09}" for number in range(size)]
    return Taxonomy(names, [(names[parent], names[child]) for parent, child in edges.T.tolist()])


def _arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options that cannot be."""
    for name, allowed in CHOICES.items():
        value = options[name]
        if value not in allowed:
            hint = did_you_mean(suggest(str(value), allowed))
            raise UsageError(f"{name} is {', '.join(allowed[:-1])} or {allowed[-1]}, not {value!r}{hint}")
    for name, least in AT_LEAST.items():
        value = options[name]
        if value is not None and not (isinstance(value, int | float) and value >= least):
            raise UsageError(f"{name} is at least {least:g}, not {value!r}")
        if value is not None and value >= BELOW.get(name, np.inf):
            raise UsageError(f"{name} is below {BELOW[name]}, not {value!r}")
    if options["resume"] and options["checkpoint"] is None:
        raise UsageError("resume needs the folder of the checkpoints: give checkpoint, too")
    if options["bootstrap"] and options["n_members"] == 1:
        raise UsageError("bootstrap is for several members: give n_members, too")
