"""What the max-constraint costs a network: time of a step with the flat head and with the constrained one.

    python benchmarks/constraint.py          # writes benchmarks/results/constraint.md
    python benchmarks/constraint.py --quick  # a few steps, printed only

The taxonomy is a DAG of Gene Ontology nodes, that of gasch2_GO, with its own documents and labels. Measured is the
processor time of one thread, so that it matters little what else the machine does; the two heads take turns step by
step in one process, and what is reported are medians. The transformer has the size of a small sentence encoder and
reads made tokens: what they are makes no difference to the time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hmc_sets import read_set
from machine_load import BUSY, Load
from peers import commit
from peers_report import machine
from scale import taxonomy_of
from sets import DATA
from torch import Tensor, nn

from hclf import labels
from hclf.scorers.neural.encoding import Encoding
from hclf.scorers.neural.heads import Head, make_head
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.trunk import Trunk
from hclf.taxonomy import Taxonomy

RESULT = Path(__file__).resolve().parent / "results" / "constraint.md"
SET = "gasch2_GO"
BATCH = 64
TOKENS, VOCABULARY = 64, 30_000  # of a made text
LAYERS, WIDTH, ATTENTIONS, FEED = 6, 384, 12, 1536
TARGET = 0.05
HEADS = ("flat", "max_constraint")


class Setting(NamedTuple):
    """A network to time.

    Attributes:
        name: in the report.
        body: from a batch to the document vectors, (1 or members, documents, width).
        width: of those.
        batch: what goes in.
        members: networks side by side.
        steps: of each head.
    """

    name: str
    body: Callable[[], nn.Module]
    width: int
    batch: Tensor
    members: int
    steps: int


class Transformer(nn.Module):
    """Token numbers to mean token states."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, ATTENTIONS, FEED, activation="gelu", batch_first=True)
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.TransformerEncoder(layer, LAYERS)

    def forward(self, tokens: Tensor) -> Tensor:
        states: Tensor = self.layers(self.words(tokens))
        return states.mean(1)[None]


def settings(features: Tensor) -> Iterator[Setting]:
    """Yield the networks, from the one that spends most on everything else but the head."""
    columns = features.shape[1]
    tokens = torch.randint(VOCABULARY, (BATCH, TOKENS))
    vectors = torch.randn(1, BATCH, WIDTH)
    yield Setting(f"transformer, {LAYERS} layers of {WIDTH}, {TOKENS} tokens", Transformer, WIDTH, tokens, 1, 5)
    yield Setting(
        f"5 networks of 3 × 1,000 on {columns} features",
        lambda: Trunk(columns, members=5, hidden=1000, layers=3, dropout=0.5),
        1000,
        features,
        5,
        41,
    )
    yield Setting(f"nothing: given vectors of {WIDTH}", nn.Identity, WIDTH, vectors, 1, 301)


def steps(
    setting: Setting, hierarchy: Hierarchy, truth: Tensor
) -> tuple[list[Callable[[], object]], list[Callable[[], object]]]:
    """Return what does a training step with each head, and what scores a batch with each.

    Both heads stand on one body and have one linear map: where weights happen to lie in memory makes more of a
    difference than the constraint.
    """
    body = setting.body()
    flat, constrained = (make_head(name, setting.width, hierarchy, members=setting.members) for name in HEADS)
    constrained.out = flat.out
    optimizer = torch.optim.AdamW([*body.parameters(), *flat.parameters()], lr=1e-4)
    encoding = Encoding(setting.batch)

    def train(head: Head) -> None:
        body.train()
        optimizer.zero_grad()
        head.loss(head(body(setting.batch), encoding), truth).backward()
        optimizer.step()

    @torch.no_grad()
    def score(head: Head) -> None:
        body.eval()
        head.log_odds(head(body(setting.batch), encoding))

    heads = (flat, constrained)
    return [partial(train, head) for head in heads], [partial(score, head) for head in heads]


def seconds(doing: Callable[[], object]) -> float:
    began = time.process_time()
    doing()
    return time.process_time() - began


def take_turns(doing: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return the times of each, after a round that does not count; who goes first alternates."""
    times: list[list[float]] = [[] for _ in doing]
    for turn in range(rounds + 1):
        for i in range(len(doing))[:: 1 if turn % 2 else -1]:
            spent = seconds(doing[i])
            if turn:
                times[i].append(spent)
    return times


def row(setting: Setting, hierarchy: Hierarchy, truth: Tensor, quick: bool) -> str:
    """Return a network's line in the report."""
    cells = [setting.name]
    for doing in steps(setting, hierarchy, truth):
        flat, constrained = take_turns(doing, 3 if quick else setting.steps)
        more = statistics.median(after - before for before, after in zip(flat, constrained, strict=True))
        before, after = statistics.median(flat), statistics.median(constrained)
        cells += [f"{before * 1e3:,.1f}", f"{after * 1e3:,.1f}", f"{more * 1e3:,.2f}", f"{more / before:+.1%}"]
    return f"| {' | '.join(cells)} |"


def pass_row(name: str, taxonomy: Taxonomy, rounds: int) -> str:
    """Return what finding the likeliest costs by itself."""
    hierarchy = Hierarchy(taxonomy, np.arange(len(taxonomy)))
    scores = torch.randn(BATCH, len(taxonomy))
    (times,) = take_turns([lambda: hierarchy.winners(scores)], rounds)
    spent = statistics.median(times)
    edges = hierarchy.edges.shape[1]
    dense = 4 * BATCH * len(taxonomy) ** 2 / 1e9
    each = spent / BATCH / (len(taxonomy) + edges) * 1e9
    cells = (f"{len(taxonomy):,}", f"{edges:,}", f"{spent * 1e3:,.1f}", f"{each:.1f}", f"{dense:,.0f}")
    return f"| {name} | {' | '.join(cells)} |"


def documents(data: Path) -> tuple[Taxonomy, Tensor, Tensor]:
    """Return the taxonomy, and a batch of documents: their features and their closed labels."""
    found = read_set(data / "hmc", SET)
    X = np.nan_to_num((found.train.X - np.nanmean(found.train.X, axis=0)) / np.nanstd(found.train.X, axis=0))
    Y = labels.label_matrix(found.taxonomy, found.train.y[:BATCH])
    return found.taxonomy, torch.from_numpy(X[:BATCH]).float(), torch.from_numpy(Y.toarray().astype(bool))


def about() -> str:
    """Return what this runs on."""
    here = machine()
    return (
        f"{here['processor']}, {here['cores']} cores, {here['memory_gb']} GB, {here['system']}, "
        f"Python {here['python']}, torch {torch.__version__}, float32"
    )


def report(taxonomy: Taxonomy, truth: Tensor, networks: Sequence[str], passes: Sequence[str], ran: str) -> str:
    """Return the page."""
    nodes_each = truth.sum().item() / BATCH
    return f"""# What the max-constraint costs a network

`python benchmarks/constraint.py`: {ran}.

The DAG of {SET}: {len(taxonomy):,} nodes, {len(taxonomy.parents.indices):,} edges, {taxonomy.depth} levels. A batch
of {BATCH} documents with their own labels, {nodes_each:.0f} nodes each. Milliseconds of processor time of one thread,
medians, both heads taking turns on the same weights; "more" is the median of the differences from turn to turn. A
training step: forward, loss, backward, AdamW; scoring: forward and log-odds. Target: less than {TARGET:.0%} more in
training. With the head alone there is nothing else to do: that is the most it can cost.

| below the head | training, flat | constrained | more | | scoring, flat | constrained | more | |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(networks)}

## The pass alone

Which node at or below it scores best, for every node and {BATCH} documents. Beside it what one array of documents ×
nodes × nodes in float32 would take (C-HMCNN; Giunchiglia & Lukasiewicz, 2020).

| taxonomy | nodes | edges | ms | ns by document and node or edge | dense GB |
|---|---:|---:|---:|---:|---:|
{chr(10).join(passes)}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What the max-constraint costs a network.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--quick", action="store_true", help="a few steps, printed only")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    load, at_commit = Load(), commit()
    taxonomy, features, truth = documents(options.data)
    hierarchy = Hierarchy(taxonomy, np.arange(len(taxonomy)))
    networks = [row(setting, hierarchy, truth, options.quick) for setting in settings(features)]
    rounds = 3 if options.quick else 51
    passes = [pass_row(SET, taxonomy, rounds)]
    if not options.quick:
        passes += [
            pass_row(name, taxonomy_of(size), 11) for name, size in (("Shopify", 10_000), ("ICD-10-CM", 100_000))
        ]
    others = load.figures()["other cores"]
    busy = f"others kept {others:.1f} cores busy meanwhile{': somewhat slower than alone' if others > BUSY else ''}"
    text = report(taxonomy, truth, networks, passes, f"{about()}, commit {at_commit}; {busy}")
    print(text)
    if not options.quick:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
