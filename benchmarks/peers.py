"""hclf beside its peers: same machine, same raw text, same scoring, each peer at sensible settings.

    python benchmarks/peers.py --setup           # the peers' own environment: .bench/venv
    python benchmarks/peers.py                   # everything; hours. Runs that are done are kept in .bench/runs
    python benchmarks/peers.py --sets clinc150 --peers hclf pecos
    python benchmarks/peers.py --quick           # 300 training documents a set: do all runs work?

Each method runs in a process of its own (`benchmarks/peers/run_*.py`): raw texts and labels in, the 50 best labels of
each document out. Fit seconds include vectorising, predict seconds begin at raw text. Thresholds are tuned here, for
all peers alike, on 15 % of the training documents held out from a first fit; the second fit, on everything, is the
one timed and tested. "names" adds the texts of all nodes as training documents, "names-seen" those of nodes that
occur in the training documents; "names-one-fit" is hclf without its second fit on everything. A run past the
limit of time or memory is reported as that.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine_load import Load
from peers_report import reference, run_name, write_report
from peers_scoring import Scored, Truth, differences, score
from scipy.sparse import csr_matrix, load_npz, save_npz
from sets import DATA, SETS, BenchmarkSet, Record, node_texts

from hclf import formats
from hclf.data import split_indices, text_groups

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks" / "peers"
BENCH = ROOT / ".bench"
TOP = 50
HELD_OUT = 0.15
QUICK = (300, 200)  # training and test documents


@dataclass(frozen=True)
class Peer:
    """A method: its runner, its settings, and the variants it is run in."""

    title: str
    runner: str
    settings: dict[str, Any] = field(default_factory=dict)
    variants: tuple[str, ...] = ("plain", "names")
    ours: bool = False  # runs in this environment and decides by itself, so needs no validation run


PEERS = {
    "hclf": Peer("hclf", "run_hclf.py", variants=("plain", "names", "names-one-fit"), ours=True),
    "linearsvc": Peer(
        "scikit-learn LinearSVC, one-vs-rest",
        "run_linearsvc.py",
        {"features": "word+char", "closed": True},
        ("plain", "names", "names-seen"),
    ),
    "hiclass-lcpn": Peer("HiClass LCPN", "run_hiclass.py", {"features": "word+char", "kind": "lcpn"}),
    "hiclass-lcppn": Peer("HiClass LCPPN", "run_hiclass.py", {"features": "word+char", "kind": "lcppn"}),
    "pecos": Peer("PECOS XR-Linear, words", "run_pecos.py", {"features": "word", "closed": True, "beam": 20}),
    "pecos-char": Peer(
        "PECOS XR-Linear, words + chars", "run_pecos.py", {"features": "word+char", "closed": True, "beam": 20}
    ),
    "omikuji-parabel": Peer(
        "omikuji Parabel", "run_omikuji.py", {"features": "word+char", "kind": "parabel", "closed": True, "beam": 20}
    ),
    "omikuji-bonsai": Peer(
        "omikuji Bonsai", "run_omikuji.py", {"features": "word+char", "kind": "bonsai", "closed": True, "beam": 20}
    ),
    "napkinxc": Peer("napkinXC PLT", "run_napkinxc.py", {"features": "word+char", "closed": True}),
    "fasttext": Peer("fastText", "run_fasttext.py", {"closed": True}),
    "nearest": Peer("nearest neighbour, char TF-IDF", "run_nearest.py", {"bm25": False}),
    "bm25": Peer("nearest neighbour, BM25 + char", "run_nearest.py", {"bm25": True}),
}
OUR_SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"scorer_options": {"node_texts": False}},
    "names": {},
    "names-one-fit": {"refit": False},
}


# -- the peers' environment ------------------------------------------------------------------------------------


def setup(venv: Path) -> None:
    """Make the peers' environment; every package is pinned, so pip need not resolve (libpecos asks for torch)."""
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "-r", str(HERE / "requirements-peers.txt")], check=True)


# -- tasks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A set made ready: parts, their truth, and where its files lie."""

    bench: BenchmarkSet
    folder: Path
    quick: bool
    valid_rows: tuple[np.ndarray, np.ndarray]
    train: Truth
    valid: Truth
    test: Truth

    @classmethod
    def of(cls, bench: BenchmarkSet, folder: Path, quick: bool) -> Task:
        train = Truth.of(bench, bench.train)
        groups = text_groups(record.text for record in bench.train)
        kept, held = split_indices(train.closed, test_size=HELD_OUT, seed=0, groups=groups)
        valid = Truth(train.closed[held], train.specific[held])
        return cls(bench, folder, quick, (kept, held), train, valid, Truth.of(bench, bench.test))

    def write(self, part: str, variant: str) -> Path:
        """Write the files of one run, unless they are there; return their folder."""
        folder = self.folder / "tasks" / f"{part}-{variant}"
        if (folder / "task.json").is_file():
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        train, test, truth = self.bench.train, self.bench.test, self.train
        if part == "valid":
            kept, held = self.valid_rows
            train, test = [train[i] for i in kept], [self.bench.train[i] for i in held]
            truth = Truth(truth.closed[kept], truth.specific[kept])
        with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
            for record, labels, closed in zip(train, _rows(truth.specific), _rows(truth.closed), strict=True):
                file.write(_line(text=record.text, fields=record.fields, labels=labels, closed=closed))
            for text, labels, closed in self._names(variant):
                file.write(_line(text=text, fields={"text": text}, labels=labels, closed=closed))
        with (folder / "test.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(_line(text=record.text, fields=record.fields) for record in test)
        formats.write(self.bench.taxonomy, folder / "taxonomy.json", "nodelink")
        (folder / "task.json").write_text(json.dumps(self._facts()), encoding="utf-8")  # last: marks it whole
        return folder

    def _names(self, variant: str) -> Iterator[tuple[str, list[int], list[int]]]:
        """Yield (text, node, node with ancestors) for the texts of nodes that are training documents here."""
        taxonomy = self.bench.taxonomy
        if variant == "plain":
            return
        whole = variant == "names" and not self.quick
        for j in range(len(taxonomy)) if whole else np.unique(self.train.closed.indices).tolist():
            closed = [taxonomy.index(node) for node in taxonomy.closure([taxonomy.nodes[j]])]
            for text in node_texts(taxonomy, j):
                yield text, [j], closed

    def _facts(self) -> dict[str, Any]:
        parents, answers = self.bench.taxonomy.parents, self.bench.answers
        first = [int(parents.of(j)[0]) if len(parents.of(j)) else -1 for j in range(len(self.bench.taxonomy))]
        return {
            "nodes": len(self.bench.taxonomy),
            "parents": first,
            "several": bool((np.diff(self.train.specific.indptr) > 1).any()),
            "answers": None if answers is None else np.flatnonzero(answers).tolist(),
            "top": TOP,
            "threads": os.cpu_count(),
        }


def _rows(Y: csr_matrix[Any]) -> Iterator[list[int]]:
    return (Y.indices[a:b].tolist() for a, b in zip(Y.indptr, Y.indptr[1:], strict=False))


def _line(**values: Any) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def quick(bench: BenchmarkSet) -> BenchmarkSet:
    """Return a small part of a set, chosen by chance but always the same."""
    rng = np.random.default_rng(0)

    def some(records: Sequence[Record], most: int) -> list[int]:
        return sorted(rng.permutation(len(records))[:most].tolist())

    train, test = some(bench.train, QUICK[0]), some(bench.test, QUICK[1])
    at = {row: i for i, row in enumerate(test)}
    return replace(
        bench,
        train=[bench.train[i] for i in train],
        test=[bench.test[i] for i in test],
        subsets={name: [at[row] for row in rows if row in at] for name, rows in bench.subsets.items()},
    )


# -- runs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Of one process."""

    seconds: float
    gigabytes: float

    def apply(self) -> None:
        most = int(self.gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run(peer: Peer, task: Path, out: Path, settings: dict[str, Any], python: Path, limits: Limits) -> dict[str, Any]:
    """Run one process; return what it measured, or why it did not finish."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [python, HERE / peer.runner, task, out, json.dumps(settings)]
    began = time.perf_counter()
    with (out / "log.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, preexec_fn=limits.apply)
        try:
            code = process.wait(timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return {"status": f"over the limit of {limits.seconds:g} s"}
        finally:
            wall = time.perf_counter() - began
    result: dict[str, Any] = {"status": "ok", "wall_s": wall}
    if code == 0:
        result |= json.loads((out / "result.json").read_text(encoding="utf-8"))
    else:
        result["status"] = why(out / "log.txt", code, limits)
    shutil.rmtree(out / "model", ignore_errors=True)
    return result


def why(log: Path, code: int, limits: Limits) -> str:
    """Return why a process failed: the kind of its last error, never its text, which may quote documents."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = re.findall(r"^([\w.]*(?:Error|Exception|bad_alloc))\b", "\n".join(lines[-20:]), re.MULTILINE)
    if any(name.endswith(("MemoryError", "bad_alloc")) for name in errors) or "bad_alloc" in "\n".join(lines[-5:]):
        return f"over the limit of {limits.gigabytes:g} GB"
    return f"failed: {errors[-1] if errors else f'exit {code}'}"


def measure(name: str, variant: str, task: Task, venv: Path, limits: Limits) -> dict[str, Any]:
    """Run and score one method in one variant on one set."""
    peer = PEERS[name]
    out = task.folder / "runs" / run_name(name, variant)
    row: dict[str, Any] = {"set": task.bench.name, "peer": name, "title": peer.title, "variant": variant}
    settings = settings_of(name, variant)
    row |= {"settings": settings, "limits": asdict(limits), "commit": commit() if peer.ours else None}
    python = Path(sys.executable) if peer.ours else venv / "bin" / "python"
    if not peer.ours:
        first = run(peer, task.write("valid", variant), out / "valid", settings, python, limits)
        if first["status"] != "ok":
            return {**row, **first, "part": "validation"}
        row["tune_s"] = first["fit_s"] + first["predict_s"]
    files = task.write("test", "plain" if PEERS[name].ours else variant)  # it reads the names itself
    load = Load()
    row |= run(peer, files, out / "test", settings, python, limits)
    row |= load.figures()
    if row["status"] != "ok":
        return row
    return {**row, **scored(name, variant, task), "documents_per_s": row["test"] / row["predict_s"]}


def scored(name: str, variant: str, task: Task) -> dict[str, Any]:
    """Return the figures of what a run left behind; keep its label sets beside it."""
    out = task.folder / "runs" / run_name(name, variant)
    validated = None if PEERS[name].ours else Scored.read(out / "valid" / "scores.npz")
    answer = Scored.read(out / "test" / "scores.npz")
    figures, predicted = score(task.bench, task.train, task.test, answer, task.valid, validated)
    save_npz(out / "predicted.npz", predicted)
    return figures


def rescore(file: Path, name: str, variant: str, task: Task) -> None:
    """Score anew what a run left behind, if there was one that finished."""
    row = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if row.get("status") == "ok":
        file.write_text(json.dumps({**row, **scored(name, variant, task)}, indent=1), encoding="utf-8")


def compare_runs(task: Task) -> None:
    """Compare hclf at its defaults with each other run of the set that finished; keep that beside the runs."""
    folder = task.folder / "runs"
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    done = [row for row in rows if row["status"] == "ok"]
    names = [run_name(row["peer"], row["variant"]) for row in done]
    labels = {name: load_npz(folder / name / "predicted.npz") for name in names}
    best = reference(done)
    ours = None if best is None else labels.pop(run_name(best["peer"], best["variant"]))
    found = {} if ours is None else differences(task.bench.taxonomy, task.test, ours, labels)
    (task.folder / "differences.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def settings_of(name: str, variant: str) -> dict[str, Any]:
    return OUR_SETTINGS[variant] if PEERS[name].ours else PEERS[name].settings


def is_current(file: Path, name: str, variant: str, limits: Limits) -> bool:
    """Return whether a row is there: with these settings, a failure with these limits, hclf's of this very code."""
    if not file.is_file():
        return False
    row = json.loads(file.read_text(encoding="utf-8"))
    if row.get("settings") != settings_of(name, variant):
        return False
    if row["status"] != "ok" and row.get("limits") != asdict(limits):
        return False
    return not PEERS[name].ours or (row.get("commit") == commit() and not commit().endswith("-dirty"))


def commit() -> str:
    """Return the commit, marked when the package differs from it."""
    described = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip()


def variants_of(name: str, bench: BenchmarkSet, wanted: Sequence[str] | None) -> list[str]:
    """Return the variants to run: peers get no names where the training documents hold them already."""
    peer = PEERS[name]
    offered = ("plain",) if bench.names_known and not peer.ours else peer.variants
    return [variant for variant in offered if not wanted or variant in wanted]


def bench_set(name: str, arguments: argparse.Namespace, base: Path) -> None:
    bench, folder = SETS[name](), base / name
    if arguments.quick:
        bench = quick(bench)
    task = Task.of(bench, folder, arguments.quick)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    (folder / "sizes.json").write_text(
        json.dumps({"title": bench.title, "sizes": bench.sizes, "published": bench.published}), encoding="utf-8"
    )
    limits = Limits(arguments.limit, arguments.memory)
    for peer in arguments.peers:
        for variant in variants_of(peer, bench, arguments.variants):
            file = folder / "runs" / f"{run_name(peer, variant)}.json"
            if arguments.rescore:
                rescore(file, peer, variant, task)
                continue
            if not arguments.again and is_current(file, peer, variant, limits):
                continue
            row = measure(peer, variant, task, arguments.venv, limits)
            file.write_text(json.dumps(row, indent=1), encoding="utf-8")
            shown = {key: row.get(key) for key in ("hF", "macro-F1", "fit_s", "documents_per_s", "fit_mib")}
            print(name, peer, variant, row["status"], {k: round(v, 4) for k, v in shown.items() if v}, flush=True)
    compare_runs(task)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--setup", action="store_true", help="make the peers' environment and stop")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    offered = dict.fromkeys(variant for peer in PEERS.values() for variant in peer.variants)
    parser.add_argument("--variants", nargs="+", choices=tuple(offered))
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK[0]} training and {QUICK[1]} test documents a set"
    )
    parser.add_argument("--again", action="store_true", help="measure anew what is already there")
    parser.add_argument("--rescore", action="store_true", help="run nothing; score anew what is already there")
    parser.add_argument("--report", action="store_true", help="only write the report of what is there")
    parser.add_argument("--limit", type=float, default=900, help="seconds a process may take (default 900)")
    parser.add_argument("--memory", type=float, default=12, help="gigabytes of address space (default 12)")
    parser.add_argument("--venv", type=Path, default=BENCH / "venv")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results, .bench/quick for --quick")
    arguments = parser.parse_args()
    if arguments.setup:
        setup(arguments.venv)
        return
    if not DATA.is_dir():
        print(f"skipped: no data at {DATA}; set HCLF_DATA")
        return
    if not (arguments.venv / "bin" / "python").exists() and set(arguments.peers) != {"hclf"}:
        raise SystemExit(f"no environment at {arguments.venv}; make it: python benchmarks/peers.py --setup")
    base = BENCH / ("quick" if arguments.quick else "runs")
    for name in () if arguments.report else arguments.sets:
        bench_set(name, arguments, base)
    if arguments.quick:
        write_report(base, arguments.out or base, commit(), f"Smoke run: {QUICK[0]} training documents a set")
    else:
        write_report(base, arguments.out or ROOT / "benchmarks" / "results", commit())


if __name__ == "__main__":
    main()
