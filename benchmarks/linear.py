"""What the linear scorer's settings cost and gain: hF against fit time and documents a second.

    python benchmarks/linear.py                                  # writes benchmarks/results/linear.md
    python benchmarks/linear.py --sets clinc150 --rounds 1

Each fit and its predictions are a process of their own, from raw text, at most two threads. Settings take turns, so
that a slow minute of the machine falls on all of them alike; times are medians over rounds, also as multiples of the
default's. GB is of the main process, without its workers. Scored on the test parts of `sets.py`; nothing is chosen
there.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine_load import BUSY, Load, was_busy
from peers import commit
from sets import DATA, SETS, BenchmarkSet

from hclf import HierarchicalClassifier

RESULTS = Path(__file__).resolve().parent / "results"
MEASURED = ("openfoodfacts", "clinc150", "instacart", "shopify-google")
DEFAULT, EXACT = "default", "exact"
MOST_EXACT = 1_000  # nodes: full one-vs-rest of more takes ten minutes and longer
FEWER = {"negatives": 100, "negatives_per_positive": 4, "random_negatives": 60}
SETTINGS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "not fitted again on everything": {"refit": False},
    "fewer negatives": {"scorer_options": FEWER},
    "both": {"refit": False, "scorer_options": FEWER},
    "no matching": {"scorer_options": {"matching": False}},
    EXACT: {"scorer_options": {"exact": True}},
}
METRICS = {"hF": "hF", "macro_f1": "macro-F1", "exact_match": "exact match"}


def measure(name: str, setting: str) -> dict[str, Any]:
    """Fit and predict once; return times, memory and quality."""
    bench = SETS[name]()
    model = HierarchicalClassifier(taxonomy=bench.taxonomy, seed=0, **SETTINGS[setting])
    texts = [record.fields for record in bench.test]
    began = time.perf_counter()
    model.fit([record.fields for record in bench.train], [list(record.labels) for record in bench.train])
    fitted = time.perf_counter()
    model.predict(texts)
    done = time.perf_counter()
    found = model.evaluate(texts, [list(record.labels) for record in bench.test], intervals=500)
    return {
        **{key: found.metrics[key] for key in METRICS},
        "interval": found.intervals["hF"],
        "fit s": fitted - began,
        "documents/s": len(texts) / (done - fitted),
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def table(bench: BenchmarkSet, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return a set's rows: quality, and medians of times beside the default's."""
    lines = [
        f"## {bench.title}",
        "",
        f"train {len(bench.train):,}; test {len(bench.test):,}; nodes {len(bench.taxonomy):,}.",
        "",
        "| setting | 95 % of hF | "
        + " | ".join(METRICS.values())
        + " | fit s | of default | documents/s | of default | GB |",
        "|---|---|" + "---:|" * (len(METRICS) + 5),
    ]
    usual = {key: statistics.median(run[key] for run in rows[DEFAULT]) for key in ("fit s", "documents/s")}
    for setting, runs in rows.items():
        own = {key: statistics.median(run[key] for run in runs) for key in ("fit s", "documents/s", "GB")}
        star = "\\*" if any(map(was_busy, runs)) else ""
        low, high = runs[0]["interval"]
        lines.append(
            f"| {setting} | {low:.3f} to {high:.3f} | "
            + " | ".join(f"{runs[0][key]:.3f}" for key in METRICS)
            + f" | {own['fit s']:.1f}{star} | {own['fit s'] / usual['fit s']:.2f} | {own['documents/s']:,.0f}{star}"
            + f" | {own['documents/s'] / usual['documents/s']:.2f} | {own['GB']:.2f} |"
        )
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    if not DATA.is_dir():
        print(f"skipped: no data at {DATA}; set HCLF_DATA")
        return
    lines = [
        "# Settings of the linear scorer",
        "",
        f"`python benchmarks/linear.py --rounds {arguments.rounds}`: " + " ".join(__doc__.split("\n\n")[2].split()),
        f"Python {platform.python_version()}, {platform.machine()}, commit {commit()}.",
        "",
    ]
    settings = list(dict.fromkeys([DEFAULT, *arguments.settings]))
    for name in arguments.sets:
        bench = SETS[name]()
        small = len(bench.taxonomy) <= MOST_EXACT
        rows: dict[str, list[dict[str, Any]]] = {one: [] for one in settings if small or one != EXACT}
        for _ in range(arguments.rounds):
            for setting in rows:
                watch = Load()
                command = [sys.executable, __file__, "--measure", name, setting]
                answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                rows[setting].append({**json.loads(answer.splitlines()[-1]), **watch.figures()})
                print(name, setting, rows[setting][-1], flush=True)
        lines += table(bench, rows)
    if any("\\*" in line for line in lines):
        lines.append(
            f"\\* timed while other processes kept more than {BUSY:g} cores busy: slower than it would be alone."
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "linear.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"written: {arguments.out / 'linear.md'}")


if __name__ == "__main__":
    main()
