"""How the linear classifier grows: 1k to 100k nodes, 10k to 1M documents; time and memory of fit and predict.

    python benchmarks/scale.py           # everything, an hour or two. Cells that are done are kept in .bench/scale
    python benchmarks/scale.py --nodes 1000 10000 --documents 10000 100000
    python benchmarks/scale.py --quick   # 1k nodes, 1k documents: does it work?

The taxonomies are real: Shopify's release of 2025-08 (10,595 nodes), as many of its whole top categories as make up
at most 1,000 nodes, and ICD-10-CM FY2021 (95,676). The documents are made: three to eight words of a node's name, of
its ancestors' names and of an invented vocabulary, a few misspelt; one label each, some nodes far more often than
others. They say what a size costs, nothing about quality: hF is there to show that the model works at all.

Fit and predict of a cell are a process each, with at most `--limit` seconds; one past it is reported as that. Fit
has its documents in lists; predict makes them as it goes and keeps none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from importlib.metadata import version
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from machine_load import BUSY, Load, was_busy
from peers import Limits, commit, why
from peers_report import machine
from sets import DATA

from hclf import HierarchicalClassifier, load_taxonomy
from hclf.data import Document
from hclf.taxonomy import Taxonomy

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
NODES = (1_000, 10_000, 100_000)
DOCUMENTS = (10_000, 100_000, 1_000_000)
PREDICTED = 20_000  # documents a cell's rate is taken of
STREAM_CELL = (10_000, 10_000)  # whose model predicts the stream
STREAM_TIMES = 3  # the limit: a million documents take longer than any other step
STREAM = (100_000, 500_000, 1_000_000)  # documents after which memory is read
STREAM_TARGET_GB = 1.5
QUICK_CELL, QUICK_STREAM = (1_000, 1_000), (500, 1_000, 2_000)
EVERY = 0.5  # seconds between two looks at a process's memory
STEPS = ("fit", "predict", "stream")

BLOCK = 512  # documents made at a time
LENGTHS = (3, 8)  # words of a document
OWN, ABOVE = 0.5, 0.25  # shares of words from the node's name and its ancestors' names; the rest is invented
MISSPELT = 0.03
INVENTED = 5_000  # words
ZIPF = 1.0  # exponent for nodes and for invented words


# -- taxonomies and documents ----------------------------------------------------------------------------------


def taxonomy_of(nodes: int) -> Taxonomy:
    """Return the taxonomy that stands for a size."""
    if nodes == 100_000:
        folder = DATA / "icd10cm" / "fy2021"
        order = folder / "icd10cm-order-Jan-2021.txt.gz"
        return load_taxonomy(folder / "icd10cm_tabular_2021.xml.gz", format="icd10cm", order=order)
    shopify = load_taxonomy(DATA / "shopify_taxonomy" / "categories_2025-08-unstable.en.txt.gz")
    return shopify if nodes == 10_000 else whole_categories(shopify, nodes)


def whole_categories(taxonomy: Taxonomy, most: int) -> Taxonomy:
    """Return the top categories that fit, with everything below them: small, and as deep as the whole."""
    chosen: list[str] = []
    size = 0
    for j in np.flatnonzero(taxonomy.is_root).tolist():
        root = taxonomy.nodes[j]
        own = 1 + len(taxonomy.descendants(root))
        if size + own <= most:
            chosen.append(root)
            size += own
    return taxonomy.subtree(*chosen)


class Maker:
    """Makes labelled documents about a taxonomy: the same for the same seed, and the first ones for every n."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.nodes = taxonomy.nodes
        rng = np.random.default_rng(0)  # not the documents' seed: all share frequent nodes and invented words
        known: dict[str, str] = {}
        self._names = [
            [known.setdefault(word, word) for word in re.findall(r"\w+", name.lower())] for name in taxonomy.names
        ]
        parents = map(taxonomy.parents.of, range(len(taxonomy)))
        self._parent = [int(own[0]) if len(own) else -1 for own in parents]
        self._popular = rng.permutation(np.flatnonzero(taxonomy.assignable))
        self._nodes_up_to = zipf(len(self._popular))
        self._invented = invented(INVENTED, rng)
        self._words_up_to = zipf(INVENTED)

    def documents(self, n: int, seed: int) -> Iterator[tuple[str, str]]:
        """Yield (text, node) n times, making a block at a time."""
        rng = np.random.default_rng((seed, 1))
        for start in range(0, n, BLOCK):
            yield from islice(self._block(rng), n - start)

    def _block(self, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
        shape = (BLOCK, LENGTHS[1])
        columns = self._popular[np.searchsorted(self._nodes_up_to, rng.random(BLOCK))].tolist()
        lengths = rng.integers(LENGTHS[0], LENGTHS[1] + 1, BLOCK).tolist()
        sources, places, slips = (rng.random(shape).tolist() for _ in range(3))
        strange = np.searchsorted(self._words_up_to, rng.random(shape)).tolist()
        for i, column in enumerate(columns):
            words = []
            for k in range(lengths[i]):
                names = self._source(column, sources[i][k] if k else 0.0)
                word = names[int(places[i][k] * len(names))] if names else self._invented[strange[i][k]]
                words.append(misspelt(word, slips[i][k]) if slips[i][k] < MISSPELT else word)
            yield " ".join(words), self.nodes[column]

    def _source(self, column: int, draw: float) -> Sequence[str]:
        """Return the words of the name to take one from; none where it is to be an invented one."""
        if draw >= OWN + ABOVE:
            return ()
        if draw >= OWN:
            for _ in range(1 + int((draw - OWN) / ABOVE * 3)):  # a parent, its parent, or the one above
                column = self._parent[column] if self._parent[column] >= 0 else column
        return self._names[column]


def zipf(n: int) -> np.ndarray:
    """Return the cumulated shares of n things, the r-th of which is r ** ZIPF times as rare as the first."""
    shares = 1.0 / np.arange(1, n + 1) ** ZIPF
    up_to: np.ndarray = np.cumsum(shares) / shares.sum()
    up_to[-1] = 1.0
    return up_to


def invented(n: int, rng: np.random.Generator) -> list[str]:
    """Return n different words of two to four syllables that mean nothing."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < n:
        words["".join(rng.choice(syllables, rng.integers(2, 5)))] = None
    return list(words)


def misspelt(word: str, draw: float) -> str:
    """Return a word with two neighbouring letters swapped; `draw` below MISSPELT says which."""
    at = int(draw / MISSPELT * (len(word) - 1))
    return word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]


# -- measurements: each runs in its own process and writes its figures -----------------------------------------


def measure_fit(nodes: int, documents: int, folder: Path) -> None:
    taxonomy = taxonomy_of(nodes)
    made = list(Maker(taxonomy).documents(documents, seed=0))
    texts, labels = [text for text, _ in made], [[label] for _, label in made]
    del made
    used = len({label for (label,) in labels})
    began = time.perf_counter()
    model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=os.cpu_count(), seed=0).fit(texts, labels)
    seconds = time.perf_counter() - began
    figures = {"labels": used, "seconds": seconds, "peak": own_memory("VmHWM")}
    write_json(folder / "fit.json", figures)
    model.save(folder / "model", force=True)


def measure_predict(marks: Sequence[int], folder: Path, out: Path) -> None:
    """Predict documents as they are made, as many as the last mark says, and read the memory at each mark."""
    model = HierarchicalClassifier.load(folder / "model")
    taxonomy, maker = model.taxonomy_, Maker(model.taxonomy_)
    asked: deque[str] = deque()  # the labels of documents under way
    making = 0.0

    def documents() -> Iterator[Document]:
        nonlocal making
        source = maker.documents(marks[-1], seed=1)
        while True:
            began = time.perf_counter()
            block = list(islice(source, BLOCK))
            making += time.perf_counter() - began
            if not block:
                return
            asked.extend(label for _, label in block)
            yield from (Document("", {"text": text}) for text, _ in block)

    resident = {}
    true = given = right = 0
    began = time.perf_counter()
    for number, prediction in enumerate(model.predict_documents(documents()), 1):
        closed = taxonomy.closure([asked.popleft()])
        true, given = true + len(closed), given + len(prediction.labels)
        right += sum(node.id in closed for node in prediction.labels)
        if number in marks:
            resident[number] = own_memory("VmRSS")
    seconds = time.perf_counter() - began - making
    figures = {"documents": number, "seconds": seconds, "documents_per_s": number / seconds, "resident": resident}
    write_json(out, {**figures, "peak": own_memory("VmHWM"), "hF": 2 * right / (true + given)})


def own_memory(what: str) -> int:
    """Return a figure of this process's memory in bytes; VmHWM is the most it had, VmRSS what it has."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) * 1024


def write_json(file: Path, value: Any) -> None:
    """Write a file that is whole when it appears."""
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    beside.replace(file)


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


# -- processes -------------------------------------------------------------------------------------------------


def run(step: str, arguments: Sequence[object], folder: Path, limits: Limits) -> dict[str, Any]:
    """Measure one step in a process of its own; return its figures, or why there are none."""
    result, log = folder / f"{step}.json", folder / f"{step}.txt"
    result.unlink(missing_ok=True)
    load, began = Load(), time.perf_counter()
    peak = 0
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, __file__, "--measure", step, str(folder), *map(str, arguments)],
            stdout=file,
            stderr=file,
            start_new_session=True,  # a number that its workers share
        )
        try:
            while process.poll() is None:
                if not result.is_file():  # saving comes after
                    peak = max(peak, memory_of(process.pid))
                if time.perf_counter() - began > limits.seconds:
                    return {"status": f"over the limit of {limits.seconds:g} s"}
                if peak > limits.gigabytes * 1e9:
                    return {"status": f"over the limit of {limits.gigabytes:g} GB"}
                with suppress(subprocess.TimeoutExpired):
                    process.wait(EVERY)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        return {"status": why(log, process.returncode, limits)}
    found: dict[str, Any] = read_json(result)
    return {"status": "ok", **found, "peak": max(peak, found["peak"]), **load.figures()}


def memory_of(session: int) -> int:
    """Return the bytes in memory of a session's processes; what several share counts once."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                sizes = dict(line.split()[:2] for line in (stat.parent / "smaps_rollup").read_text().splitlines()[1:])
                total += int(sizes.get("Pss:", 0)) * 1024
    return total


def cell(nodes: int, documents: int, marks: Sequence[int], folder: Path, limits: Limits) -> dict[str, Any]:
    """Measure fit and predict, and the stream if this cell has marks."""
    folder.mkdir(parents=True, exist_ok=True)
    row: dict[str, Any] = {"nodes": len(taxonomy_of(nodes)), "documents": documents}
    row["fit"] = run("fit", (nodes, documents), folder, limits)
    if row["fit"]["status"] == "ok":
        row["model_bytes"] = sum(file.stat().st_size for file in (folder / "model").rglob("*") if file.is_file())
        row["predict"] = run("predict", (min(PREDICTED, documents),), folder, limits)
        if marks:
            row["stream"] = run("stream", marks, folder, replace(limits, seconds=STREAM_TIMES * limits.seconds))
    shutil.rmtree(folder / "model", ignore_errors=True)
    return row


def code() -> str:
    """Return a fingerprint of the package: what is kept is of this very code."""
    found = sha256()
    for file in sorted((ROOT / "hclf").rglob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def is_current(file: Path, key: dict[str, Any]) -> bool:
    """Return whether a cell is there: of this code, to be asked for the same; a failure under these limits."""
    if not file.is_file():
        return False
    row = read_json(file)
    failed = any(row[step]["status"] != "ok" for step in STEPS if step in row)
    return all(row.get(name) == value for name, value in key.items() if failed or name != "limits")


# -- the report ------------------------------------------------------------------------------------------------


def write_report(rows: Sequence[dict[str, Any]], out: Path, arguments: Sequence[str]) -> None:
    """Write `scale.md` and `scale.json`; cells that were not asked for stay as the report before had them."""
    before = read_json(out / "scale.json")["rows"] if (out / "scale.json").is_file() else []
    cells = {(row["nodes"], row["documents"]): row for row in [*before, *rows]}
    rows = [cells[size] for size in sorted(cells)]
    report = {
        "command": " ".join(["python benchmarks/scale.py", *arguments]),
        "machine": machine(),
        "commit": commit(),
        "versions": {name: version(name) for name in ("hclf", "numpy", "scipy", "scikit-learn")},
        "rows": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "scale.json", report)
    (out / "scale.md").write_text("\n".join(markdown(report)) + "\n", encoding="utf-8")
    print(f"written: {out / 'scale.md'}, {out / 'scale.json'}")


def markdown(report: dict[str, Any]) -> list[str]:
    host, rows = report["machine"], report["rows"]
    lines = [
        "# The linear classifier as it grows",
        "",
        f"`{report['command']}`: made documents of {LENGTHS[0]} to {LENGTHS[1]} words, one label each, over real "
        "taxonomies; fit and predict in a process each.",
        f"{host['processor']}, {host['cores']} cores, {host['memory_gb']} GB, {host['system']}, Python "
        f"{host['python']}, {', '.join(f'{name} {number}' for name, number in report['versions'].items())}. Each row "
        "was measured at the commit it names; machines of different days differ in speed, up to twice.",
        "",
        "Fit: from texts in lists, with calibration and tuning. Documents/s: from raw text to closed label sets, "
        "streamed through a model loaded from disk, without the time it takes to make the documents. GB: the most "
        "memory of the whole process, for fit with its workers and the documents. hF only shows that it works.",
        "",
        *cell_table(rows),
        *not_measured(rows),
    ]
    for row in rows:
        if "stream" in row:
            lines += stream_text(row)
    if any(was_busy(row[step]) for row in rows for step in STEPS if row.get(step, {}).get("status") == "ok"):
        lines += [
            "",
            f"\\* timed while other processes kept more than {BUSY:g} cores busy: slower than it would be alone.",
        ]
    return lines


def cell_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    headings = ("nodes", "documents", "nodes with documents", "fit s", "fit GB", "documents/s", "predict GB", "hF")
    lines = ["| " + " | ".join((*headings, "model MB", "commit")) + " |", "|" + "---:|" * (len(headings) + 2)]
    for row in rows:
        fit, predict = row["fit"], row.get("predict", {"status": ""})
        cells = [f"{row['nodes']:,}", f"{row['documents']:,}"]
        if fit["status"] == "ok":
            cells += [f"{fit['labels']:,}", f"{fit['seconds']:,.1f}{mark(fit)}", f"{fit['peak'] / 1e9:.2f}"]
        else:
            cells += ["", fit["status"], ""]
        if predict["status"] == "ok":
            rate = f"{predict['documents_per_s']:,.0f}{mark(predict)}"
            cells += [rate, f"{predict['peak'] / 1e9:.2f}", f"{predict['hF']:.3f}"]
        else:
            cells += [predict["status"], "", ""]
        cells.append(f"{row['model_bytes'] / 1e6:,.0f}" if "model_bytes" in row else "")
        cells.append(row.get("commit", ""))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def not_measured(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return which cells of the table's sizes are not in it."""
    sizes = [sorted({row[name] for row in rows}) for name in ("nodes", "documents")]
    missing = sorted(set(product(*sizes)) - {(row["nodes"], row["documents"]) for row in rows})
    cells = ", ".join(f"{nodes:,} nodes × {documents:,} documents" for nodes, documents in missing)
    return ["", f"Not measured: {cells}."] if cells else []


def stream_text(row: dict[str, Any]) -> list[str]:
    stream, nodes = row["stream"], row["nodes"]
    lines = ["", "## One long stream", ""]
    if stream["status"] != "ok":
        return [*lines, f"{nodes:,} nodes, the model of {row['documents']:,} documents: {stream['status']}."]
    met = "met" if stream["peak"] <= STREAM_TARGET_GB * 1e9 else "missed"
    return [
        *lines,
        f"{stream['documents']:,} documents through `predict_documents`, {nodes:,} nodes, the model of "
        f"{row['documents']:,} documents: {stream['documents_per_s']:,.0f}{mark(stream)} documents/s, at most "
        f"{stream['peak'] / 1e9:.2f} GB (target {STREAM_TARGET_GB} GB: {met}).",
        "",
        "| documents done | resident MB |",
        "|---:|---:|",
        *(f"| {int(done):,} | {size / 1e6:,.0f} |" for done, size in stream["resident"].items()),
    ]


def mark(step: dict[str, Any]) -> str:
    return "\\*" if was_busy(step) else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--nodes", nargs="+", type=int, choices=NODES, default=list(NODES))
    parser.add_argument("--documents", nargs="+", type=int, default=list(DOCUMENTS))
    parser.add_argument("--quick", action="store_true", help="one small cell and a short stream")
    parser.add_argument("--again", action="store_true", help="measure anew what is already there")
    parser.add_argument("--limit", type=float, default=600, help="seconds a process may take (default 600)")
    parser.add_argument("--memory", type=float, default=16, help="gigabytes a cell may take (default 16)")
    parser.add_argument("--cache", type=Path, help="default: .bench/scale, .bench/quick/scale for --quick")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results, .bench/quick for --quick")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    if not DATA.is_dir():
        print(f"skipped: no data at {DATA}; set HCLF_DATA")
        return
    quick = arguments.quick
    cells = [QUICK_CELL] if quick else [(n, d) for n in arguments.nodes for d in arguments.documents]
    cache = arguments.cache or (BENCH / "quick" / "scale" if quick else BENCH / "scale")
    limits = Limits(arguments.limit, arguments.memory)
    rows = []
    for nodes, documents in cells:
        marks = QUICK_STREAM if quick else STREAM if (nodes, documents) == STREAM_CELL else ()
        file = cache / f"{nodes}x{documents}.json"
        key = {"code": code(), "marks": list(marks), "limits": asdict(limits)}
        if arguments.again or not is_current(file, key):
            row = cell(nodes, documents, marks, cache / f"{nodes}x{documents}", limits)
            write_json(file, {**row, **key, "commit": commit()})
        rows.append(read_json(file))
        done = {step: rows[-1][step]["status"] for step in STEPS if step in rows[-1]}
        print(f"{nodes:,} nodes, {documents:,} documents: {done}", flush=True)
    write_report(rows, arguments.out or (BENCH / "quick" if quick else ROOT / "benchmarks" / "results"), sys.argv[1:])


def measure(step: str, folder: str, *numbers: str) -> None:
    """Run one step in this process: what `run` starts."""
    where, given = Path(folder), [int(number) for number in numbers]
    if step == "fit":
        measure_fit(given[0], given[1], where)
    else:
        measure_predict(given, where, where / f"{step}.json")


if __name__ == "__main__":
    main()
