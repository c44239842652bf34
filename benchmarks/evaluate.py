"""Time and memory of `evaluate` with intervals, and of comparisons, on many documents and a large taxonomy.

    python benchmarks/evaluate.py            # 100,000 documents x 10,000 nodes; writes benchmarks/results/evaluate.md
    python benchmarks/evaluate.py --quick    # 5,000 x 1,000, printed only

Label sets are synthetic: one to three nodes a document, frequent ones more often, and closed; predictions keep 70 %
of them and add others; scores are sparse, 100 a document. Every measurement runs in a process of its own, so that
its peak memory is its own. The command line reads and writes files, which counts for whoever waits for it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine_load import Load, was_busy

from taxonomy import peak_megabytes, write_table

HERE = Path(__file__).resolve().parent
DOCUMENTS, NODES, SCORES = 100_000, 10_000, 100
MOST_SECONDS, MOST_MEGABYTES = 60, 2_000


# -- synthetic documents -----------------------------------------------------------------------------------------


def labels(rng: Any, documents: int, nodes: int) -> Any:
    """Return one to three nodes a document, the lower half of columns ten times as likely as the upper."""
    import numpy as np

    from hclf.labels import from_pairs

    rows = np.repeat(np.arange(documents), rng.integers(1, 4, documents))
    columns = np.where(
        rng.random(len(rows)) < 0.9, rng.integers(0, nodes // 2, len(rows)), rng.integers(0, nodes, len(rows))
    )
    return from_pairs(rows, columns, (documents, nodes))


def answers(rng: Any, true: Any, share: float = 0.7) -> Any:
    """Return labels of which a share is kept, and a wrong one for every third document."""
    import numpy as np

    from hclf.labels import from_pairs

    rows, columns = true.nonzero()
    kept = rng.random(len(rows)) < share
    wrong = np.flatnonzero(rng.random(true.shape[0]) < 1 / 3)
    columns = np.concatenate([columns[kept], rng.integers(0, true.shape[1], len(wrong))])
    return from_pairs(np.concatenate([rows[kept], wrong]), columns, true.shape)


def scores(rng: Any, taxonomy: Any, true: Any, a_document: int) -> Any:
    """Return sparse scores: of random nodes, and higher ones of most true nodes and their ancestors."""
    import numpy as np
    from scipy.sparse import csr_matrix

    from hclf.labels import close

    n, nodes = true.shape
    at = (np.repeat(np.arange(n), a_document), rng.integers(0, nodes, n * a_document))
    noise = csr_matrix((rng.random(n * a_document, dtype=np.float32) / a_document, at), shape=true.shape)
    good = close(taxonomy, answers(rng, true, 0.9)).astype(np.float32)
    good.data = rng.random(good.nnz, dtype=np.float32)
    return csr_matrix(noise + good)


def write_records(path: Path, taxonomy: Any, sets: Any, *, predictions: bool) -> None:
    """Write label sets as records of documents, or as `hclf predict` writes its answers."""
    from hclf.labels import label_sets

    names, levels = dict(zip(taxonomy.nodes, taxonomy.names, strict=True)), taxonomy.levels.tolist()
    with path.open("w", encoding="utf-8") as out:
        for i, found in enumerate(label_sets(taxonomy, sets)):
            if predictions:
                nodes = [{"id": x, "name": names[x], "level": levels[taxonomy.index(x)], "score": 0.5} for x in found]
                record = {"id": f"d{i}", "labels": nodes, "leaves": list(found[-1:]), "flags": []}
            else:
                record = {
                    "id": f"d{i}",
                    "text": f"The text of document {i}, a sentence or two long.",
                    "labels": found,
                }
            out.write(json.dumps(record) + "\n")


# -- measurements: each runs in its own process and prints JSON ------------------------------------------------


class Watch:
    """Measures from its making: seconds that went by, and seconds of processors that this process took."""

    def __init__(self) -> None:
        self._began, self._processor = time.perf_counter(), time.process_time()

    def figures(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._began, "processor": time.process_time() - self._processor}


def problem(documents: int, nodes: int, folder: Path) -> tuple[Any, Any, Any, Any, Any]:
    """Return taxonomy, truth, two predictions, and a generator that goes on from there."""
    import numpy as np

    from hclf.labels import close
    from hclf.registry import load_taxonomy

    taxonomy = load_taxonomy(folder / "taxonomy.tsv")
    rng = np.random.default_rng(0)
    true = labels(rng, documents, nodes)
    ours, theirs = (close(taxonomy, answers(rng, true, share)) for share in (0.7, 0.68))
    return taxonomy, true, ours, theirs, rng


def measure_sets(documents: int, nodes: int, folder: Path, **options: Any) -> dict[str, Any]:
    """`evaluate` on label sets, with training counts."""
    from hclf.evaluation import evaluate

    taxonomy, true, ours, _, rng = problem(documents, nodes, folder)
    train = rng.integers(0, 200, nodes)
    watch = Watch()
    found = evaluate(taxonomy, true, ours, train_counts=train, **options)
    return {**watch.figures(), "labels": found.labels_true, **headline(found)}


def measure_scores(documents: int, nodes: int, folder: Path, **options: Any) -> dict[str, Any]:
    """`evaluate` on label sets and scores, with training counts."""
    from hclf.evaluation import evaluate

    taxonomy, true, ours, _, rng = problem(documents, nodes, folder)
    train, given = rng.integers(0, 200, nodes), scores(rng, taxonomy, true, SCORES)
    watch = Watch()
    found = evaluate(taxonomy, true, ours, scores=given, train_counts=train, **options)
    return {**watch.figures(), "scores": given.nnz, **headline(found)}


def measure_compare(documents: int, nodes: int, folder: Path) -> dict[str, Any]:
    """`compare` of two systems on all label sets, with training counts."""
    from hclf.statistics import compare

    taxonomy, true, ours, theirs, rng = problem(documents, nodes, folder)
    train = rng.integers(0, 200, nodes)
    watch = Watch()
    found = compare(taxonomy, true, ours, theirs, train_counts=train)
    return {**watch.figures(), "verdict": found.verdict}


def measure_files(documents: int, nodes: int, folder: Path) -> dict[str, Any]:
    """Not a measurement: write the files for the command line."""
    taxonomy, true, ours, theirs, _ = problem(documents, nodes, folder)
    write_records(folder / "gold.jsonl", taxonomy, true, predictions=False)
    for name, sets in (("ours", ours), ("theirs", theirs)):
        write_records(folder / f"{name}.jsonl", taxonomy, sets, predictions=True)
    return {"megabytes": sum((folder / f"{n}.jsonl").stat().st_size for n in ("gold", "ours")) / 1e6}


def measure_command(folder: Path, *arguments: str) -> dict[str, Any]:
    """A command of the command line, in this process; what it prints goes to a file."""
    from contextlib import redirect_stdout

    from hclf.cli import main

    os.chdir(folder)
    watch = Watch()
    with Path("out.json").open("w", encoding="utf-8") as out, redirect_stdout(out):
        try:
            main(list(arguments))
        except SystemExit as done:
            if done.code:
                raise
    spent = watch.figures()
    found = json.loads(Path("out.json").read_text(encoding="utf-8"))
    return {**spent, "intervals": len(found.get("intervals", ())), "verdict": found.get("verdict")}


# -- how often intervals hold what they should, by the weights of documents ------------------------------------

TEST_SETS, TEST_DOCUMENTS, RARE_NODES, POPULATION = 200, 2_000, 600, 100_000
FIGURES = (("hF", "overall", 0), ("macro_f1", "overall", 0), ("macro_f1", "bucket", 1))
KINDS = {
    "exponential (Bayesian bootstrap)": (lambda rng, shape: rng.standard_exponential(shape), False),
    "multinomial": (lambda rng, shape: rng.multinomial(shape[0], [1 / shape[0]] * shape[0], shape[1]).T, False),
    "multinomial, centred": (
        lambda rng, shape: rng.multinomial(shape[0], [1 / shape[0]] * shape[0], shape[1]).T,
        True,
    ),
    "coins, centred: ours": (lambda rng, shape: rng.integers(0, 2, shape), True),
}


def measure_coverage(documents: int, nodes: int, folder: Path) -> dict[str, Any]:
    """Draw test sets from a known source; count the intervals that hold what test sets show on average."""
    import numpy as np

    from hclf.labels import from_pairs
    from hclf.statistics import Key, _Resampler, prepare
    from hclf.taxonomy import Taxonomy

    rng = np.random.default_rng(0)
    taxonomy = Taxonomy([f"n{i:03}" for i in range(RARE_NODES)])
    frequency = np.arange(1, RARE_NODES + 1) ** -1.1
    frequency /= frequency.sum()
    hard = 0.4 + 0.5 * rng.random(POPULATION)  # how likely a label of this document is found

    def draw(share: float) -> Any:
        rows = np.flatnonzero(rng.random(POPULATION) < share)
        return from_pairs(rows, rng.choice(RARE_NODES, len(rows), p=frequency), (POPULATION, RARE_NODES))

    true = draw(1.0) + draw(0.4)
    rows, columns = true.nonzero()
    found = rng.random(len(rows)) < hard[rows]
    guess = from_pairs(rows[found], columns[found], true.shape) + draw(0.5)
    train = (4_000 * frequency).astype(int)

    def resampler() -> Any:
        chosen = np.sort(rng.choice(POPULATION, TEST_DOCUMENTS, replace=False))
        return _Resampler(prepare(taxonomy, true[chosen], guess[chosen], train_counts=train))

    keys = resampler().answers.keys
    which = [keys.index(Key(*figure)) for figure in FIGURES]
    expected = np.mean([resampler().observed[which] for _ in range(3 * TEST_SETS)], axis=0)
    held = {kind: np.zeros(len(which)) for kind in KINDS}
    for _ in range(TEST_SETS):
        test = resampler()
        for kind, (weights, centred) in KINDS.items():
            values = test.figures(weights(rng, (TEST_DOCUMENTS, 400)).astype(np.float32))[which]
            low, high = np.quantile(values, [0.025, 0.975], axis=1)
            shift = (test.observed[which] - values.mean(axis=1)) if centred else 0
            held[kind] += (low + shift <= expected) & (expected <= high + shift)
    shares = {kind: (count / TEST_SETS).tolist() for kind, count in held.items()}
    return {"shares": shares, "rare": int(((train > 0) & (train <= 5)).sum())}


def coverage(found: dict[str, Any]) -> list[str]:
    lines = [
        "## How often intervals hold what they should",
        "",
        f"{TEST_SETS} test sets of {TEST_DOCUMENTS:,} documents are drawn from a source of {POPULATION:,}, with "
        f"{RARE_NODES} nodes of falling frequency ({found['rare']} of them with 1 to 5 training documents). The "
        "share of 95 % intervals, from 400 samples each, that hold the figure that such test sets show on average:",
        "",
        "| weights of documents | hF | macro-F1 | macro-F1 of nodes with 1–5 training documents |",
        "|---|---:|---:|---:|",
    ]
    for kind, shares in found["shares"].items():
        lines.append(f"| {kind} | {' | '.join(f'{share:.3f}' for share in shares)} |")
    return [*lines, ""]


def headline(found: Any) -> dict[str, Any]:
    low, high = found.intervals.get("hF", (None, None))
    return {"hF": found.metrics["hF"], "low": low, "high": high, "intervals": len(found.intervals)}


MEASUREMENTS: dict[str, Callable[[int, int, Path], dict[str, Any]]] = {
    "files": measure_files,
    "coverage": measure_coverage,
    "sets": measure_sets,
    "sets, intervals": lambda *size: measure_sets(*size, intervals=True),
    "scores": measure_scores,
    "scores, intervals": lambda *size: measure_scores(*size, intervals=True),
    "compare": measure_compare,
    "hclf evaluate": lambda documents, nodes, folder: measure_command(
        folder,
        "evaluate",
        "--gold",
        "gold.jsonl",
        "--pred",
        "ours.jsonl",
        "-t",
        "taxonomy.tsv",
        "--intervals",
        "--json",
    ),
    "hclf compare": lambda documents, nodes, folder: measure_command(
        folder, "compare", "ours.jsonl", "theirs.jsonl", "--gold", "gold.jsonl", "-t", "taxonomy.tsv", "--json"
    ),
}
WORDS = {
    "sets": "`evaluate`, label sets",
    "sets, intervals": "`evaluate(…, intervals=True)`, label sets",
    "scores": "`evaluate`, label sets and scores",
    "scores, intervals": "`evaluate(…, intervals=True)`, label sets and scores",
    "compare": "`compare`: two systems, intervals and tests",
    "hclf evaluate": "`hclf evaluate --gold --pred --intervals`, reading included",
    "hclf compare": "`hclf compare A B --gold`, reading included",
}


def in_process(name: str, documents: int, nodes: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", name, str(documents), str(nodes), str(folder)]
    environment = {**os.environ, "HCLF_CACHE_DIR": str(folder / "cache")}
    load = Load()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {**json.loads(done.stdout), **load.figures()}


def several(name: str, runs: int, *size: Any) -> dict[str, Any]:
    """Return the run of the median time, with the largest peak of memory of all."""
    found = sorted((in_process(name, *size) for _ in range(runs)), key=lambda run: run["seconds"])
    return {**found[len(found) // 2], "peak": max(run["peak"] for run in found)}


# -- the report ------------------------------------------------------------------------------------------------


def table(measured: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        f"| what | seconds | of processors | peak MB | intervals | under {MOST_SECONDS} s, {MOST_MEGABYTES:,} MB |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, run in measured.items():
        spent = run["processor"] if was_busy(run) else run["seconds"]
        good = spent < MOST_SECONDS and run["peak"] < MOST_MEGABYTES
        busy = " *" if was_busy(run) else ""
        kept = "yes" if good else "**no**"
        figures = f"{run['intervals']} figures and the rows" if run.get("intervals") else "none"
        intervals = "every difference" if run.get("verdict") else figures
        cells = [WORDS[name], f"{run['seconds']:.1f}{busy}", f"{run['processor']:.1f}", f"{run['peak']:,.0f}"]
        lines.append(f"| {' | '.join([*cells, intervals, kept])} |")
    if any(was_busy(run) for run in measured.values()):
        lines += ["", "\\* Others kept more than half a core busy meanwhile: it goes by the seconds of processors."]
    return lines


def report(documents: int, nodes: int, runs: int) -> str:
    import numpy
    import scipy

    from hclf._version import __version__

    cpu = next(
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    )
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "taxonomy.tsv", nodes, "DAG")
        files = in_process("files", documents, nodes, folder)
        say("coverage")
        shares = in_process("coverage", documents, nodes, folder)
        measured = {}
        for what in WORDS:
            say(what)
            measured[what] = several(what, runs, documents, nodes, folder)
    sets, scored = measured["sets, intervals"], measured["scores, intervals"]
    return "\n".join(
        [
            "# Evaluating: time and memory",
            "",
            f"`{' '.join(['python benchmarks/evaluate.py', *sys.argv[1:]])}`",
            "",
            f"{documents:,} documents, {nodes:,} nodes (a DAG, every fourth node has two parents), "
            f"{sets['labels']:.1f} true labels a document with their ancestors, {scored['scores'] / 1e6:.1f} million "
            "scores; 1,000 samples for intervals, 2,000 permutations for p. The median of "
            f"{runs} run{'s' if runs > 1 else ''}, each in a new process; the time of the call alone, except for the "
            f"command line, which reads {files['megabytes']:.0f} MB for each prediction file and the gold labels. "
            "Peak memory is of the whole process, Python and the making of the data included.",
            "",
            f"hclf {__version__}, Python {platform.python_version()}, numpy {numpy.__version__}, scipy "
            f"{scipy.__version__}; {cpu}, {os.cpu_count()} cores, {platform.system()}; load average at the start "
            f"{load:.1f}.",
            "",
            *table(measured),
            "",
            f"hF of the label sets: {sets['hF']:.4f} [{sets['low']:.4f}, {sets['high']:.4f}]. "
            f"The comparison: {measured['compare']['verdict']}",
            "",
            *coverage(shares),
        ]
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="5,000 documents x 1,000 nodes, printed only")
    parser.add_argument("--runs", type=int, default=3, help="runs a median is taken of")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "evaluate.md")
    options = parser.parse_args()
    if options.measure:
        name, documents, nodes, folder = options.measure
        found = MEASUREMENTS[name](int(documents), int(nodes), Path(folder))
        print(json.dumps({**found, "peak": peak_megabytes()}))
    elif options.quick:
        print(report(5_000, 1_000, options.runs))
    else:
        options.output.write_text(report(DOCUMENTS, NODES, options.runs), encoding="utf-8")
        say(f"wrote {options.output}")


if __name__ == "__main__":
    main()
