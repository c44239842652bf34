"""What asking level by level takes, and that it loses nothing: a model that makes no mistake, on real taxonomies.

    python benchmarks/prompts.py             # writes benchmarks/results/prompts.md

The model is the tests' oracle: it reads each prompt as it is, and knows the labels of the document. So hF is what the
descent alone leaves of the truth, and the figures beside it are what a real model would have to read. Tokens are
estimated: a quarter of the characters, system prompt included. No real language model is at hand here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers import commit
from peers_report import machine
from scipy.sparse import csr_matrix
from sets import openfoodfacts

from hclf.data import read_documents
from hclf.labels import label_matrix
from hclf.metrics import hierarchical_precision_recall_f1
from hclf.registry import load_taxonomy
from hclf.scorers.base import Progress, silent
from hclf.scorers.prompt.base import Answer, Prompt
from hclf.scorers.prompt.scorer import PromptScorer
from hclf.scorers.prompt.wording import tidy
from hclf.taxonomy import Taxonomy

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from prompt_oracle import Oracle  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "prompts.md"
DOCUMENTS = 400
SIZES = (10, 25, 50, 99)


class Task(NamedTuple):
    """Documents to ask about."""

    title: str
    taxonomy: Taxonomy
    documents: list[dict[str, str]]
    labels: list[tuple[str, ...]]


class Counting(Oracle):
    """Counts what it reads, and how long that takes it."""

    def __init__(self, taxonomy: Taxonomy, truth: Mapping[str, Sequence[str]]) -> None:
        super().__init__(taxonomy, truth)
        self.lengths: list[int] = []
        self.seconds = 0.0

    def ask(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[Answer]:
        """Answer prompts."""
        began = time.perf_counter()
        answers = super().ask(prompts, progress)
        self.lengths += [len(prompt.system) + len(prompt.user) for prompt in prompts]
        self.seconds += time.perf_counter() - began
        return answers


def tasks() -> list[Task]:
    """Return real and shipped documents."""
    foods = openfoodfacts()
    records = foods.test[:DOCUMENTS]
    shipped = []
    for name, title in (("icd10-mini", "ICD-10 mini"), ("products", "products (shipped)")):
        found = list(read_documents(ROOT / "examples" / name / "train.jsonl"))[:DOCUMENTS]
        shipped.append(
            Task(title, load_taxonomy(name), [dict(d.fields) for d in found], [d.labels or () for d in found])
        )
    return [Task(foods.title, foods.taxonomy, [r.fields for r in records], [r.labels for r in records]), *shipped]


def measured(task: Task, **options: Any) -> list[str]:
    """Return a row of the table."""
    # Equal texts may have other labels: each document has a number.
    documents = [{"number": str(i), **fields} for i, fields in enumerate(task.documents)]
    scorer = PromptScorer(model="oracle", **options).fit([], label_matrix(task.taxonomy, []), taxonomy=task.taxonomy)
    most = scorer.options["max_characters"]
    oracle = Counting(task.taxonomy, dict(zip((tidy(d, most)[0] for d in documents), task.labels, strict=True)))
    scorer.__dict__["engine"] = oracle
    began = time.perf_counter()
    found = csr_matrix(scorer.score(documents).channels[0] > 0)
    own = time.perf_counter() - began - oracle.seconds
    hf = hierarchical_precision_recall_f1(label_matrix(task.taxonomy, task.labels), found).f1
    calls, n = len(oracle.lengths), len(documents)
    tokens = np.array(oracle.lengths) / 4
    how = "all in one prompt" if options.get("mode") == "single" else f"pages of {options['page_size']}"
    figures = [f"{calls / n:.1f}", f"{np.median(tokens):,.0f}", f"{tokens.sum() / n:,.0f}", f"{1000 * own / n:.1f}"]
    return [task.title, how, f"{hf:.3f}", *figures]


def main() -> None:
    """Ask, and write the page."""
    rows, sizes = [], []
    for task in tasks():
        sizes.append(f"{task.title}: {len(task.documents)} documents, {len(task.taxonomy):,} nodes")
        rows += [measured(task, page_size=size) for size in SIZES]
        if len(task.taxonomy) < 999:
            rows.append(measured(task, mode="single"))
    where = machine()
    head = [
        "set",
        "how",
        "hF",
        "prompts a document",
        "tokens a prompt, median",
        "tokens a document",
        "own ms a document",
    ]
    RESULT.write_text(
        "\n".join(
            [
                "# What asking level by level takes",
                "",
                f"`python benchmarks/prompts.py`: {where['processor']}, {where['cores']} cores, commit {commit()}.",
                "",
                "A model that makes no mistake and reads the prompts as they are (the tests' oracle): hF is what the"
                " descent alone leaves of the truth. Tokens are a quarter of the characters. The last column is the"
                " scorer's own work. " + "; ".join(sizes) + ".",
                "",
                f"| {' | '.join(head)} |",
                "|---|---|" + "---:|" * (len(head) - 2),
                *(f"| {' | '.join(row)} |" for row in rows),
                "",
                "No real language model is at hand where this was measured, so there is no row of one.",
                "",
            ]
        ),
        encoding="utf-8",
    )
    print(RESULT.read_text("utf-8"))


if __name__ == "__main__":
    main()
