"""`hclf demo`: the main job on shipped data, in a minute."""

from __future__ import annotations

from typing import Annotated

import typer

from hclf.cli.common import progress, stdout

SETS = {
    "products": "A shop's catalogue: 700 synthetic offers to learn from, 200 to answer.",
    "icd10-mini": "Diagnosis codes: 240 synthetic clinical notes to learn from, 80 to answer. Not for clinical use.",
}
SHOWN = 5


def demo(
    only: Annotated[str, typer.Option("--only", help=f"One of {', '.join(SETS)}.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of everything random, and of the answers shown.")] = 0,
) -> None:
    """Train on the shipped examples, measure, and draw ten answers as trees with scores."""
    from hclf.errors import UsageError

    if only and only not in SETS:
        raise UsageError(f"unknown example {only!r}; there are {', '.join(SETS)}")
    for name in [only] if only else SETS:
        _run(name, seed)


def _run(name: str, seed: int) -> None:
    import random
    import time

    from rich.panel import Panel

    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Document, read_documents
    from hclf.registry import load_taxonomy, shipped_folder
    from hclf.report import evaluation_report, prediction_tree

    folder = shipped_folder("examples") / name
    taxonomy = load_taxonomy(name)
    train, test = (list(read_documents(folder / f"{part}.jsonl")) for part in ("train", "test"))
    stdout.rule(f"[bold]{name}[/bold]")
    stdout.print(f"{SETS[name]}\n{len(taxonomy):,} nodes on {taxonomy.depth} levels.", highlight=False)

    def labels(documents: list[Document]) -> list[tuple[str, ...]]:
        return [document.labels or () for document in documents]

    began = time.perf_counter()
    model = HierarchicalClassifier(taxonomy=taxonomy, seed=seed)
    model.fit([d.fields for d in train], labels(train), progress=progress)
    flat = HierarchicalClassifier(taxonomy=taxonomy, seed=seed, flat=True)
    flat.fit([d.fields for d in train], labels(train), progress=progress)
    seconds = time.perf_counter() - began
    evaluations = {
        kind: each.evaluate([d.fields for d in test], labels(test)) for kind, each in (("us", model), ("flat", flat))
    }
    stdout.print(f"Trained, with a flat baseline beside, in {seconds:.0f} s.\n", highlight=False)
    stdout.print(
        evaluation_report(evaluations["us"], baselines={"flat": evaluations["flat"]}, nodes=3), soft_wrap=False
    )
    picked = random.Random(seed).sample(test, SHOWN)
    stdout.print(f"\n[bold]{SHOWN} answers[/bold]  ✓ right  ✗ wrong  ○ missed\n")
    for document, prediction in zip(picked, model.predict_documents(picked), strict=True):
        # These texts are our own; elsewhere hclf never prints a document.
        stdout.print(Panel(document.text, title=document.id, title_align="left", style="dim"), soft_wrap=False)
        stdout.print(prediction_tree(taxonomy, prediction, document.labels, title=" "), soft_wrap=False)
        stdout.print()
