"""Speed and memory of taxonomies: loading, closing label sets, making scores coherent.

    python benchmarks/taxonomy.py            # everything; writes benchmarks/results/taxonomy.md
    python benchmarks/taxonomy.py --quick    # up to 10k nodes, printed only
    python benchmarks/taxonomy.py --icd10cm ../shared/data/icd10cm/fy2021/icd10cm_tabular_2021.xml.gz
                                             # a release with its rules; writes benchmarks/results/icd10cm.md

Every measurement runs in a process of its own, so that its peak memory is its own. Times are medians of several
runs of the call alone, without starting Python and importing. The dense method is that of C-HMCNN (Giunchiglia and
Lukasiewicz, 2020): the maximum over a batch x nodes x nodes array, here a few documents at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SHAPES = ("tree", "DAG")
YAML_UP_TO = 100_000  # beyond, a table is the form to keep a taxonomy in
FAN_OUT = 8
LABEL_SETS = 100_000
DOCUMENTS = 256
BATCH_BYTES = 256 << 20  # of scores: a million nodes are done in smaller batches
DENSE_NODES = 4_000
CODES = 12  # on a document
CODED = 2_000  # documents


# -- synthetic taxonomies --------------------------------------------------------------------------------------


def rows(nodes: int, shape: str) -> Iterable[tuple[str, str, list[str]]]:
    """Yield (id, name, parents): 20 roots, FAN_OUT children a node; in a DAG every fourth has a second parent."""
    ids = [f"n{i:07d}" for i in range(nodes)]
    for i, node in enumerate(ids):
        first = (i - 20) // FAN_OUT
        parents = [first] if i >= 20 else []
        if shape == "DAG" and i % 4 == 0 and first > 0:
            second = (i * 7_919) % first
            parents.append(second)
        yield node, f"Node number {i}", [ids[p] for p in parents]


def write_table(path: Path, nodes: int, shape: str) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.write("node_id\tname\tparent_ids\n")
        for node, name, parents in rows(nodes, shape):
            out.write(f"{node}\t{name}\t{'|'.join(parents)}\n")


# -- measurements: each runs in its own process and prints JSON ------------------------------------------------


def median_seconds(call: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure_load(path: str, cache: bool) -> dict[str, float]:
    """One load: the first in its process."""
    from hclf.registry import load_taxonomy

    seconds = median_seconds(lambda: load_taxonomy(path, cache=cache), 1)
    return {"seconds": seconds}


def measure_closure(path: str, runs: int) -> dict[str, float]:
    import numpy as np

    from hclf.labels import label_matrix
    from hclf.registry import load_taxonomy

    t = load_taxonomy(path)
    rng = np.random.default_rng(1)
    picked = rng.integers(0, len(t), size=(LABEL_SETS, 3))
    count = rng.integers(1, 4, size=LABEL_SETS)
    sets = [[t.nodes[j] for j in row[:k]] for row, k in zip(picked.tolist(), count.tolist(), strict=True)]
    labels = label_matrix(t, sets).nnz
    return {"seconds": median_seconds(lambda: label_matrix(t, sets), runs), "labels": labels}


def measure_coherence(path: str, runs: int) -> dict[str, float]:
    import numpy as np

    from hclf.registry import load_taxonomy

    t = load_taxonomy(path)
    batch = max(1, min(DOCUMENTS, BATCH_BYTES // (4 * len(t))))
    scores = np.random.default_rng(1).random((batch, len(t)), dtype=np.float32)
    found: dict[str, float] = {"batch": batch}
    for method in ("max", "min"):
        t.coherent(scores[:1], method)  # the plan is made once for a taxonomy
        found[method] = median_seconds(lambda method=method: t.coherent(scores, method), runs)
    return found


def measure_dense(path: str, runs: int) -> dict[str, float]:
    """Both methods on the same scores, in the same process; they must agree."""
    import numpy as np

    from hclf.registry import load_taxonomy

    t = load_taxonomy(path)
    reach = np.eye(len(t), dtype=np.float32)  # reach[i, j]: j is i or below it
    for j in range(len(t) - 1, -1, -1):
        for child in t.children.of(j).tolist():
            np.maximum(reach[j], reach[child], out=reach[j])
    scores = np.random.default_rng(1).random((DOCUMENTS, len(t)), dtype=np.float32)
    out = np.empty_like(scores)
    product = np.empty((1, len(t), len(t)), dtype=np.float32)

    def dense() -> None:
        for i in range(DOCUMENTS):
            np.multiply(scores[i : i + 1, None, :], reach, out=product)
            np.max(product, axis=2, out=out[i : i + 1])

    dense_seconds = median_seconds(dense, max(1, runs // 3))
    t.coherent(scores[:1])
    ours = median_seconds(lambda: t.coherent(scores), runs)
    if not np.array_equal(out, t.coherent(scores)):
        raise SystemExit("the dense method and ours disagree")
    return {"dense": dense_seconds, "ours": ours, "megabytes_a_document": len(t) ** 2 * 4 / 1e6}


def measure_rules(path: str, runs: int) -> dict[str, float]:
    """Making a book of rules, and checking documents with random assignable codes."""
    import numpy as np

    from hclf.registry import load_taxonomy
    from hclf.rules import RuleBook

    t = load_taxonomy(path)
    build = median_seconds(lambda: RuleBook(t), runs)
    book = RuleBook(t)
    codes = np.flatnonzero(t.assignable)
    picked = np.random.default_rng(1).choice(codes, size=(CODED, CODES))
    documents = [[t.nodes[j] for j in row] for row in picked.tolist()]
    found = sum(len(book.check(labels)) for labels in documents)  # ancestors are looked up once
    check = median_seconds(lambda: [book.check(labels) for labels in documents], runs) / CODED
    repair = median_seconds(lambda: [book.repair(labels) for labels in documents], runs) / CODED
    return {
        "build": build,
        "check": check,
        "repair": repair,
        "rules": len(t.rules),
        "nodes": len(t),
        "found": found / CODED,
    }


MEASUREMENTS: dict[str, Callable[..., dict[str, float]]] = {
    "load": lambda path, runs: measure_load(path, cache=False),
    "cached": lambda path, runs: measure_load(path, cache=True),
    "closure": measure_closure,
    "coherence": measure_coherence,
    "dense": measure_dense,
    "rules": measure_rules,
}


def peak_megabytes() -> float:
    """The most memory this process had. Not getrusage: that begins with what the parent had at the fork."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def in_process(name: str, path: Path, runs: int, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, str(path), "--runs", str(runs)]
    environment = {**os.environ, "HCLF_CACHE_DIR": str(folder / "cache"), "HCLF_CACHE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def several(name: str, path: Path, runs: int, folder: Path) -> dict[str, float]:
    """Run a load several times, each in a new process, and take the medians."""
    found = [in_process(name, path, 1, folder) for _ in range(runs)]
    return {key: statistics.median(run[key] for run in found) for key in found[0]}


# -- the run ---------------------------------------------------------------------------------------------------


def run(sizes: Iterable[int], runs: int) -> list[str]:
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = {}
        for shape in SHAPES:
            for size in sizes:
                say(f"{size:,} nodes, {shape}")
                measured[size, shape] = measure_one(folder, size, shape, runs)
        say(f"dense method, {DENSE_NODES:,} nodes")
        write_table(folder / "dense.tsv", DENSE_NODES, "DAG")
        dense = in_process("dense", folder / "dense.tsv", runs, folder)
    lines += loading_table(measured)
    lines += work_table(measured)
    lines += dense_text(dense)
    lines += targets(measured, dense)
    return lines


def run_release(path: Path, runs: int) -> list[str]:
    """Measure a release of a classification whose notes become rules."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"{path.name}, read")
        read = several("load", path, runs, folder)
        in_process("cached", path, 1, folder)  # fills the cache
        say(f"{path.name}, from the cache")
        cached = several("cached", path, runs, folder)
        say(f"{path.name}, rules")
        rules = in_process("rules", path, runs, folder)
    return [
        f"{path.name}: {rules['nodes']:,.0f} nodes, {rules['rules']:,.0f} rules made of its notes. Checks are of "
        f"{CODED:,} documents with {CODES} random assignable codes each, {rules['found']:.1f} findings a document; "
        "peak memory is of the whole process in MB.",
        "",
        "| | seconds | peak MB | limit |",
        "|---|---:|---:|---|",
        f"| read from the release files | {read['seconds']:.2f} | {read['rss']:,.0f} | 20 s, 1,000 MB |",
        f"| from the cache | {cached['seconds']:.3f} | {cached['rss']:,.0f} | 0.5 s |",
        f"| `RuleBook(taxonomy)` | {rules['build']:.3f} | {rules['rss']:,.0f} | 1 s |",
        f"| `check`, a document | {rules['check']:.6f} | | 0.001 s |",
        f"| `repair`, a document | {rules['repair']:.6f} | | |",
        "",
    ]


def measure_one(folder: Path, size: int, shape: str, runs: int) -> dict[str, dict[str, float]]:
    from hclf import formats

    table = folder / f"{shape}-{size}.tsv"
    write_table(table, size, shape)
    found = {"table": several("load", table, runs, folder)}
    source = table
    if size <= YAML_UP_TO:
        source = folder / f"{shape}-{size}.yaml"
        formats.write(formats.read(table), source)
        found["yaml"] = several("load", source, runs, folder)
    in_process("cached", source, 1, folder)  # fills the cache
    found["cached"] = several("cached", source, runs, folder)
    found["closure"] = in_process("closure", source, runs, folder)
    found["coherence"] = in_process("coherence", source, runs, folder)
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- the report ------------------------------------------------------------------------------------------------

Measured = dict[tuple[int, str], dict[str, dict[str, float]]]


def loading_table(measured: Measured) -> list[str]:
    lines = [
        "## Loading",
        "",
        "Seconds; peak memory of the whole process in MB, Python and numpy included. Cached loads include hashing",
        f"the file. Above {YAML_UP_TO:,} nodes the cached load is of the table.",
        "",
        "| nodes | shape | YAML | peak | table | peak | cached | peak |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (size, shape), found in measured.items():
        cells = [f"{size:,}", shape]
        for kind in ("yaml", "table", "cached"):
            cells += [f"{found[kind]['seconds']:.3f}", f"{found[kind]['rss']:,.0f}"] if kind in found else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def work_table(measured: Measured) -> list[str]:
    lines = [
        "## Closing label sets, and coherent scores",
        "",
        f"Closure: {LABEL_SETS:,} label sets of one to three random nodes, from ids to a sparse matrix. Coherence:",
        f"one pass over float32 scores of {DOCUMENTS} documents, or as many as fit {BATCH_BYTES >> 20} MB of scores.",
        "Linear means that the cost of one score does not grow with the taxonomy, but for the processor's caches.",
        "",
        "| nodes | shape | closure s | labels | batch | max ms | min ms | ms a document | ns a score | peak MB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (size, shape), found in measured.items():
        closure, pass_ = found["closure"], found["coherence"]
        each = pass_["max"] / pass_["batch"]
        cells = [
            f"{size:,}",
            shape,
            f"{closure['seconds']:.2f}",
            f"{closure['labels']:,.0f}",
            f"{pass_['batch']:.0f}",
        ]
        cells += [f"{pass_['max'] * 1e3:.1f}", f"{pass_['min'] * 1e3:.1f}", f"{each * 1e3:.3f}"]
        cells += [f"{each / size * 1e9:.1f}", f"{pass_['rss']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def dense_text(dense: dict[str, float]) -> list[str]:
    return [
        "## Against the dense method",
        "",
        f"{DOCUMENTS} documents x {DENSE_NODES:,} nodes (DAG), float32, same process, equal results: dense "
        f"{dense['dense']:.2f} s ({dense['megabytes_a_document']:.0f} MB an array a document), ours "
        f"{dense['ours'] * 1e3:.1f} ms: **{dense['dense'] / dense['ours']:,.0f} times faster**.",
        "",
    ]


def targets(measured: Measured, dense: dict[str, float]) -> list[str]:
    checks: list[tuple[str, float, str, bool]] = []

    def check(what: str, value: float, shown: str, limit: float) -> None:
        checks.append((what, value, shown, value < limit))

    for shape in SHAPES:
        if found := measured.get((100_000, shape)):
            seconds = found["yaml"]["seconds"]
            check(f"100k nodes from YAML, cold, {shape}: under 15 s", seconds, f"{seconds:.2f} s", 15)
            seconds = found["cached"]["seconds"]
            check(f"100k nodes from YAML, cached, {shape}: under 0.5 s", seconds, f"{seconds:.3f} s", 0.5)
        if found := measured.get((10_000, shape)):
            seconds = found["coherence"]["max"]
            check(f"coherence of 256 x 10k, {shape}: under 50 ms", seconds, f"{seconds * 1e3:.1f} ms", 0.05)
        if found := measured.get((1_000_000, shape)):
            rss = found["table"]["rss"]
            check(f"1M nodes from a table, {shape}: under 1.5 GB", rss, f"{rss / 1e3:.2f} GB", 1_500)
        if (small := measured.get((10_000, shape))) and (large := measured.get((1_000_000, shape))):
            growth = per_score(large, 1_000_000) / per_score(small, 10_000)
            check(f"cost of a score at 1M against 10k, {shape}: under 5 times", growth, f"{growth:.1f} times", 5)
    ratio = dense["dense"] / dense["ours"]
    check("faster than the dense method at 4k: at least 100 times", 1 / ratio, f"{ratio:,.0f} times", 1 / 100)
    lines = ["## Targets", "", "| target | measured | |", "|---|---:|---|"]
    lines += [f"| {what} | {shown} | {'ok' if ok else '**missed**'} |" for what, _, shown, ok in checks]
    return [*lines, ""]


def per_score(found: dict[str, dict[str, float]], size: int) -> float:
    return found["coherence"]["max"] / found["coherence"]["batch"] / size


def heading(arguments: list[str]) -> list[str]:
    import numpy
    import scipy
    import yaml

    from hclf._version import __version__

    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    loader = "libyaml" if yaml.__with_libyaml__ else "pure Python"
    return [
        "# Taxonomies: speed and memory",
        "",
        f"`python benchmarks/taxonomy.py {' '.join(arguments)}`".replace(" `", "`"),
        "",
        f"hclf {__version__}, Python {platform.python_version()}, numpy {numpy.__version__}, scipy "
        f"{scipy.__version__}, PyYAML {yaml.__version__} ({loader}); {cpu}, {os.cpu_count()} cores, "
        f"{platform.system()}; load average at the start {os.getloadavg()[0]:.1f}. Medians of several runs, "
        "each load in a new process.",
        "",
    ]


SYNTHETIC = [
    f"Synthetic taxonomies: 20 roots, {FAN_OUT} children a node; in the DAG every fourth node has a second parent.",
    "",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="up to 10k nodes, printed only")
    parser.add_argument("--runs", type=int, default=5, help="runs a median is taken of")
    parser.add_argument("--icd10cm", type=Path, help="a tabular list: measure that, with its rules")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/taxonomy.md, or icd10cm.md")
    options = parser.parse_args()
    if options.measure:
        name, path = options.measure
        found: dict[str, Any] = MEASUREMENTS[name](path, options.runs)
        found["rss"] = peak_megabytes()
        print(json.dumps(found))
        return
    if options.icd10cm:
        lines = run_release(options.icd10cm, options.runs)
    else:
        lines = [*SYNTHETIC, *run(SIZES[:2] if options.quick else SIZES, options.runs)]
    text = "\n".join([*heading(sys.argv[1:]), *lines])
    if options.quick:
        print(text)
        return
    output = options.output or HERE / "results" / ("icd10cm.md" if options.icd10cm else "taxonomy.md")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    say(f"wrote {output}")


if __name__ == "__main__":
    main()
