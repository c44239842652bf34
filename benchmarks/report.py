"""The report page: its size, how long it takes to write and to open, from 37 to 95,676 nodes.

    python benchmarks/report.py            # writes benchmarks/results/report.md; needs the data folder and chromium

Predictions are made up over real taxonomies (of the most specific nodes, three in ten are a sibling's): what counts
here is how much a page has to hold, not how good it is. Opening is from the start of the navigation to the end of
the page's script, in headless Chromium with an empty profile; the largest task is the longest the page does not
answer. Documents carry one to three most specific labels, drawn by a long tail.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.sparse import csr_matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import browser
import sets

from hclf._version import __version__
from hclf.diagnostics import diagnose
from hclf.evaluation import evaluate
from hclf.labels import close, from_pairs
from hclf.registry import load_taxonomy
from hclf.report import html_report
from hclf.taxonomy import Node, Taxonomy

HERE = Path(__file__).resolve().parent
LOAD = os.getloadavg()[0]
DOCUMENTS = 20_000
MOST_BYTES, MOST_SECONDS = 5_000_000, 3.0


def hallmarks() -> Taxonomy:
    ids = (sets.DATA / "hoc" / "taxonomy.txt").read_text("utf-8").split("\n")
    ids = [path for path in ids if path]
    edges = [(path.rsplit("/", 1)[0], path) for path in ids if "/" in path]
    return Taxonomy([Node(path, {"en": path.rsplit("/", 1)[-1]}) for path in ids], edges, id="hoc")


def icd10cm() -> Taxonomy:
    folder = sets.DATA / "icd10cm" / "fy2021"
    order = folder / "icd10cm-order-Jan-2021.txt.gz"
    return load_taxonomy(folder / "icd10cm_tabular_2021.xml.gz", format="icd10cm", order=order)


TAXONOMIES: dict[str, Callable[[], Taxonomy]] = {
    "Hallmarks of Cancer": hallmarks,
    "Instacart": lambda: load_taxonomy(sets.DATA / "instacart" / "taxonomy.tsv"),
    "Open Food Facts (DAG)": lambda: load_taxonomy(sets.DATA / "openfoodfacts" / "categories.full.json.gz"),
    "ICD-10-CM": icd10cm,
}


def predictions(taxonomy: Taxonomy, documents: int, seed: int = 0) -> tuple[csr_matrix[Any], ...]:
    """Return truth, prediction and coherent scores."""
    rng = np.random.default_rng(seed)
    leaves = rng.permutation(np.flatnonzero(taxonomy.is_leaf))
    rows = np.repeat(np.arange(documents), rng.integers(1, 4, documents))
    true = leaves[(len(leaves) * rng.random(len(rows)) ** 4).astype(int)]
    first = taxonomy.parents.indptr[true]
    parent = np.where(np.diff(taxonomy.parents.indptr)[true] > 0, taxonomy.parents.indices[first - (first > 0)], true)
    kin = np.diff(taxonomy.children.indptr)[parent]
    start = taxonomy.children.indptr[parent]
    sibling = taxonomy.children.indices[
        np.minimum(start + (kin * rng.random(len(rows))).astype(int), start + kin - 1)
    ]
    given = np.where((rng.random(len(rows)) < 0.3) & (kin > 0), sibling, true)
    shape = (documents, len(taxonomy))
    T, P = (close(taxonomy, from_pairs(rows, columns, shape)) for columns in (true, given))
    both = (T + P).tocsr()
    at = np.repeat(np.arange(documents), np.diff(both.indptr))
    sure = 0.25 + 0.45 * np.asarray(P[at, both.indices]).ravel() + 0.25 * rng.random(documents)[at]
    scores = (sure * 0.97 ** taxonomy.levels[both.indices]).astype(np.float32)
    return T, P, csr_matrix((scores, both.indices, both.indptr), shape=shape)


def measure(name: str, folder: Path, runs: int) -> dict[str, Any]:
    taxonomy = TAXONOMIES[name]()
    T, P, S = predictions(taxonomy, DOCUMENTS)
    train = np.bincount(T.indices, minlength=len(taxonomy)) // 2
    start = time.perf_counter()
    evaluation = evaluate(taxonomy, T, P, scores=S, violations=1, train_counts=train, intervals=True)
    evaluated = time.perf_counter()
    found = diagnose(taxonomy, T, P, S, thresholds=[0.5] * taxonomy.depth, train_counts=train)
    diagnosed = time.perf_counter()
    page = html_report(evaluation, taxonomy, found, title=name)
    written = time.perf_counter()
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    ready, longest, zoom = [], [], []
    for _ in range(runs):
        with browser.browser() as window:
            window.resize(1280)
            window.open(path)
            ready.append(float(window.run("return document.documentElement.dataset.ready")) / 1000)
            longest.append(longest_task(window))
            zoom.append(zoom_time(window))
            assert not window.complaints()
    return {
        "name": name,
        "nodes": len(taxonomy),
        "seen": len(evaluation.nodes),
        "evaluate": evaluated - start,
        "diagnose": diagnosed - evaluated,
        "write": written - diagnosed,
        "bytes": path.stat().st_size,
        "open": statistics.median(ready),
        "longest task": statistics.median(longest),
        "zoom": statistics.median(zoom),
    }


def longest_task(window: browser.Browser) -> float:
    """Return the longest task of opening, in seconds; tasks below 0.05 s are not reported and count as 0."""
    script = """const done = arguments[0];
    new PerformanceObserver((list, observer) => {
        observer.disconnect();
        done(Math.max(0, ...list.getEntries().map((task) => task.duration)));
    }).observe({type: 'longtask', buffered: true});
    setTimeout(() => done(0), 500);"""
    return float(window.run_async(script)) / 1000


def zoom_time(window: browser.Browser) -> float:
    """Return the seconds from a click on the largest node to the page drawn anew."""
    script = """const done = arguments[0], start = performance.now();
    document.querySelector('#map .cell[data-node] rect').dispatchEvent(new MouseEvent('click', {bubbles: true}));
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));"""
    return float(window.run_async(script)) / 1000


def table(rows: list[dict[str, Any]]) -> str:
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "nodes": lambda r: f"{r['nodes']:,}",
        "with figures": lambda r: f"{r['seen']:,}",
        **{f"{key} s": lambda r, key=key: f"{r[key]:.2f}" for key in ("evaluate", "diagnose", "write")},
        "page MB": lambda r: f"{r['bytes'] / 1e6:.2f}",
        **{f"{key} s": lambda r, key=key: f"{r[key]:.2f}" for key in ("open", "longest task", "zoom")},
    }
    lines = [f"| taxonomy | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [f"| {row['name']} | {' | '.join(show(row) for show in columns.values())} |" for row in rows]
    return "\n".join(lines)


def report(rows: list[dict[str, Any]], runs: int) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    most, slowest = (max(row[key] for row in rows) for key in ("bytes", "open"))
    held = "within" if most < MOST_BYTES and slowest < MOST_SECONDS else "NOT within"
    return f"""# The report page: size and opening time

`python benchmarks/report.py --runs {runs}`

hclf {__version__}, Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, headless
Chromium; {platform.machine()}, {os.cpu_count()} cores, {platform.system()}; load average at the start {LOAD:.1f}.
{DOCUMENTS:,} documents with made-up predictions over real taxonomies. Opening is timed from the start of navigation
to the end of the page's script, zooming from the click to the next picture; medians of {runs} runs, each in a new
browser with an empty profile. `evaluate` is with intervals.

{table(rows)}

The largest page has {most / 1e6:.2f} MB and the slowest opens in {slowest:.2f} s: {held} the limits of
{MOST_BYTES / 1e6:.0f} MB and {MOST_SECONDS:.0f} s. Peak memory of this process over all rows: {peak:,.0f} MB. Nodes
with figures are true or predicted somewhere; every node is in the page, with its name, and can be searched.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--print", action="store_true", help="do not write the results file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(name, Path(folder), options.runs) for name in TAXONOMIES]
    text = report(rows, options.runs)
    print(text)
    if not options.print:
        (HERE / "results" / "report.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
