"""What every runner shares: reads a task, times fit and predict, writes scores, sizes and peak memory.

    python run_X.py TASK_FOLDER OUT_FOLDER SETTINGS_JSON

Runs in the peers' own environment: standard library, numpy and scipy only. A task folder holds

    task.json      nodes (how many), parents (first parent of each node, -1 for roots), several (whether training
                   documents have several labels), answers (nodes that count in ranked lists, or null), top, threads
    train.jsonl    {"text", "fields", "labels": most specific nodes, "closed": with all ancestors}; nodes are numbers
    test.jsonl     {"text", "fields"}

and a run leaves in the out folder `scores.npz` (labels and scores, (documents, top), -1 where a list ends),
`result.json`, and `model/`, the model saved by the peer's own means.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

MEBIBYTE = 1024.0


class Job:
    """A task with a runner's settings.

    Attributes:
        out: the out folder.
        settings: of the peer.
        train, test: the documents as they stand in the files.
        texts: of the training documents.
        label_sets: their labels, most specific ones, or closed if the settings say so and there are several; as
            positions in `columns`, the nodes in use.
        figures: what `measured` found.
        nodes, parents, several, answers, top, threads: as in `task.json`.
    """

    def __init__(self, folder: Path, out: Path, settings: dict[str, Any]) -> None:
        self.folder, self.out, self.settings = folder, out, settings
        self.figures: dict[str, float] = {}
        facts = json.loads((folder / "task.json").read_text(encoding="utf-8"))
        self.nodes: int = facts["nodes"]
        self.parents: list[int] = facts["parents"]
        self.several: bool = facts["several"]
        self.answers: list[int] | None = facts["answers"]
        self.top: int = facts["top"]
        self.threads: int = facts["threads"]
        self.train, self.test = self._lines("train"), self._lines("test")
        self.texts: list[str] = [document["text"] for document in self.train]
        kind = "closed" if settings.get("closed") and self.several else "labels"
        sets = [document[kind] for document in self.train]
        self.columns = np.unique(np.fromiter(chain.from_iterable(sets), dtype=np.int64))
        number = {column: i for i, column in enumerate(self.columns.tolist())}
        self.label_sets = [[number[column] for column in labels] for labels in sets]

    @classmethod
    def from_command_line(cls) -> Job:
        """Return the task this process was started for."""
        return cls(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))

    def _lines(self, part: str) -> list[dict[str, Any]]:
        with (self.folder / f"{part}.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    @property
    def indicator(self) -> csr_matrix:
        """The training labels as a matrix (documents, labels in use)."""
        sets = self.label_sets
        indptr = np.concatenate([[0], np.cumsum([len(labels) for labels in sets])])
        indices = np.fromiter(chain.from_iterable(sets), dtype=np.int32, count=indptr[-1])
        ones = np.ones(len(indices), dtype=np.float32)
        return csr_matrix((ones, indices, indptr), shape=(len(sets), len(self.columns)))

    def path(self, node: int) -> list[int]:
        """The nodes from a root to this one, by first parents."""
        steps = [node]
        while self.parents[steps[-1]] >= 0:
            steps.append(self.parents[steps[-1]])
        return steps[::-1]

    @contextmanager
    def measured(self, step: str) -> Iterator[None]:
        """Note the seconds and processor seconds that a step takes, and the peak memory at its end."""
        cpu_began, began = cpu_seconds(), time.perf_counter()
        yield
        self.figures[f"{step}_s"] = time.perf_counter() - began
        self.figures[f"{step}_mib"] = peak_memory_mib()
        self.figures[f"{step}_cpu_s"] = cpu_seconds() - cpu_began

    def finish(
        self, packages: tuple[str, ...], *, labels: np.ndarray, scores: np.ndarray, **arrays: np.ndarray
    ) -> None:
        """Write `scores.npz`, labels as nodes, with whatever other arrays there are, and `result.json`."""
        lists = {"labels": labels.astype(np.int32), "scores": scores.astype(np.float32)}
        np.savez_compressed(self.out / "scores.npz", **lists, **arrays)
        result = {
            **self.figures,
            "model_bytes": size_on_disk(self.out / "model"),
            "train": len(self.train),
            "test": len(self.test),
            "versions": {"python": sys.version.split()[0], **{name: version(name) for name in packages}},
        }
        (self.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def top_of_dense(scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The best columns of each row, best first, and their scores."""
    k = min(top, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)


def top_of_sparse(scores: csr_matrix, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The best stored columns of each row, best first, and their scores; -1 where a row ends."""
    lists = []
    for start, end in pairwise(scores.indptr):
        order = np.argsort(-scores.data[start:end], kind="stable")[:top]
        lists.append((scores.indices[start:end][order], scores.data[start:end][order]))
    return padded(lists, top)


def padded(lists: list[tuple[Any, Any]], top: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, scores) of each document as two arrays (documents, top)."""
    labels = np.full((len(lists), top), -1, dtype=np.int64)
    scores = np.zeros((len(lists), top), dtype=np.float32)
    for row, (found, values) in enumerate(lists):
        labels[row, : len(found)], scores[row, : len(found)] = found, values
    return labels, scores


def peak_memory_mib() -> float:
    """Peak resident memory of this process since it began or since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):  # not getrusage: its figure is inherited from the parent over exec
            return int(line.split()[1]) / MEBIBYTE
    raise OSError("no VmHWM in /proc/self/status")


def reset_peak_memory() -> None:
    """Start the peak anew, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def cpu_seconds() -> float:
    """Processor time of this process and of all below it; getrusage leaves out workers that still live."""
    used: dict[int, int] = {}
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            used[int(stat.parent.name)] = sum(map(int, fields[11:15]))  # its own, and of those it waited for
            below.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    total, found = 0, [os.getpid()]
    while found:
        process = found.pop()
        total += used.get(process, 0)
        found += below.get(process, [])
    return total / os.sysconf("SC_CLK_TCK")


def size_on_disk(path: Path) -> int:
    """Bytes of a file or folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def main(
    fit: Callable[[Job], Any],
    save: Callable[[Any, Path], None],
    predict: Callable[[Any, Job], tuple[np.ndarray, np.ndarray]],
    packages: tuple[str, ...],
    load: Callable[[Path, Job], Any] | None = None,
) -> None:
    """Run the three steps. `predict` returns labels (of `job.columns`, -1 for none) and scores, (documents, top).

    With `load`, predictions come from the saved model read back (some peers predict faster that way); saving and
    loading are in neither time.
    """
    job = Job.from_command_line()
    folder = job.out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    with job.measured("fit"):
        model = fit(job)
    save(model, folder)
    if load:
        del model
        model = load(folder, job)
    reset_peak_memory()
    with job.measured("predict"):
        labels, scores = predict(model, job)
    job.finish(packages, labels=np.where(labels >= 0, job.columns[labels], -1), scores=scores)
