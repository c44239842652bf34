"""Sets scored once: a default model fitted on the train part, its scores of validation and test kept on disk.

    python benchmarks/scored.py                    # sizes of all; fits what is not there yet (some minutes)
    python benchmarks/scored.py hoc --again        # fit anew, after a change to the scorer or the calibration

    from scored import scored
    one = scored("goemotions")                     # coherent scores, calibration of levels left out
    one.validation.scores, one.validation.true, one.taxonomy.levels
    scored("goemotions", calibrate="auto")         # as a default model gives them

Fitting sees the train part alone. Validation is the official part, or a seeded fifth of the training records where
there is none; equal texts stay on one side. Everything is chosen on validation; test is measured once, at the end.
Kept in `.bench/scored/<name>/` (calibrated: `<name>-auto`): scores from 0.001 up, closed truth, taxonomy, model.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz, vstack
from sets import DATA, ROOT, Record, _json_lines, clinc150, first_byte, instacart, openfoodfacts

from hclf import HierarchicalClassifier, formats, load_taxonomy
from hclf.data import text_groups
from hclf.decoders import Decoder, make_decoder
from hclf.fusion import sparse_scores
from hclf.labels import label_matrix
from hclf.taxonomy import Node, Taxonomy
from hclf.thresholds import Thresholds

CACHE = ROOT / ".bench" / "scored"
VALIDATION = 0.2
BATCH = 512
TEST_BYTES = 51  # of 256


@dataclass(frozen=True)
class Source:
    """A set before scoring: records of train, validation and test, and others outside of all nodes."""

    taxonomy: Taxonomy
    train: Sequence[Record]
    validation: Sequence[Record]
    test: Sequence[Record]
    outside: Sequence[Record] = ()

    @classmethod
    def split(cls, taxonomy: Taxonomy, train: Sequence[Record], test: Sequence[Record]) -> Source:
        """Return a set with a seeded fifth of the training records as validation; equal texts stay together."""
        _, group = np.unique(text_groups(record.text for record in train), return_inverse=True)
        held = (np.random.default_rng(0).random(group.max() + 1) < VALIDATION)[group]
        fit, validation = ([train[i] for i in np.flatnonzero(rows == 1)] for rows in (~held, held))
        return cls(taxonomy, fit, validation, test)


@dataclass(frozen=True)
class Part:
    """Documents that were not trained on.

    Attributes:
        true: (documents, nodes) closed labels, bool.
        scores: (documents, nodes) coherent scores, float32; those below 0.001 are left out.
    """

    true: csr_matrix[Any]
    scores: csr_matrix[Any]

    def __len__(self) -> int:
        return int(self.true.shape[0])

    def take(self, rows: Any) -> Part:
        """Return some of the documents."""
        return Part(self.true[rows], self.scores[rows])


@dataclass(frozen=True)
class ScoredSet:
    """One set, scored.

    Attributes:
        name, title: of the set.
        taxonomy: of its columns.
        validation, test: held-out documents.
        outside: documents that belong to no node (clinc150 has some); never trained on, no labels.
        train_counts: (nodes,) closed training documents of each node.
        thresholds: as fit tuned them, inside the train part.
        decoder_name: as fit chose it.
        about: training records, seconds, commit.
        folder: where it is kept; the model lies in `model`.
    """

    name: str
    title: str
    taxonomy: Taxonomy
    validation: Part
    test: Part
    outside: Part
    train_counts: Any
    thresholds: Thresholds
    decoder_name: str
    about: Mapping[str, Any]
    folder: Path

    @property
    def levels(self) -> Any:
        """(nodes,), from 1."""
        return self.taxonomy.levels

    @property
    def decoder(self) -> Decoder:
        """The decoder fit chose."""
        return make_decoder(self.decoder_name)

    @property
    def single_path(self) -> bool:
        """Whether every training document has exactly one most specific label."""
        return self.decoder_name == "path"

    @cached_property
    def held_out(self) -> Part:
        """Validation and test together."""
        return pooled(self.validation, self.test)


def pooled(*parts: Part) -> Part:
    """Return parts together, in order."""
    true, scores = (csr_matrix(vstack([getattr(part, name) for part in parts])) for name in ("true", "scores"))
    return Part(true, scores)


def scored(name: str, *, calibrate: str = "none", again: bool = False) -> ScoredSet:
    """Return a set by name, fitted and scored unless that was done before; `calibrate` as in the classifier."""
    folder = CACHE / (name if calibrate == "none" else f"{name}-{calibrate}")
    if again or not (folder / "about.json").is_file():
        _score(name, folder, calibrate)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    parts = (
        Part(load_npz(folder / f"{part}-true.npz"), load_npz(folder / f"{part}-scores.npz"))
        for part in ("validation", "test", "outside")
    )
    return ScoredSet(
        name,
        SOURCES[name][0],
        load_taxonomy(folder / "taxonomy.json"),
        *parts,
        np.load(folder / "train_counts.npy"),
        Thresholds.from_dict(about["thresholds"]),
        about["decoder"],
        about,
        folder,
    )


def _score(name: str, folder: Path, calibrate: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = SOURCES[name][1]()
    began = time.perf_counter()
    model = HierarchicalClassifier(taxonomy=source.taxonomy, calibrate=calibrate)
    model.fit([record.fields for record in source.train], [record.labels for record in source.train])
    seconds = time.perf_counter() - began
    formats.write(source.taxonomy, folder / "taxonomy.json", "nodelink")
    for part in ("validation", "test", "outside"):
        records = getattr(source, part)
        save_npz(folder / f"{part}-true.npz", label_matrix(source.taxonomy, (record.labels for record in records)))
        save_npz(folder / f"{part}-scores.npz", _scores(model, records))
    np.save(folder / "train_counts.npy", model.counts_)
    model.save(folder / "model")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    about = {
        "decoder": model.report_["decoder"],
        "thresholds": model.thresholds_.to_dict(),
        "train": len(source.train),
        "fit_s": round(seconds, 1),
        "commit": commit.stdout.strip(),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")  # last: marks it whole


def _scores(model: HierarchicalClassifier, records: Sequence[Record]) -> csr_matrix[Any]:
    batches = (records[start : start + BATCH] for start in range(0, len(records), BATCH))
    parts = [sparse_scores(model.predict_proba([record.fields for record in batch])) for batch in batches]
    empty = csr_matrix((0, len(model.taxonomy_)), dtype=np.float32)
    return csr_matrix(vstack([empty, *parts]), dtype=np.float32)


# -- the sets --------------------------------------------------------------------------------------------------


def _openfoodfacts() -> Source:
    one = openfoodfacts()
    return Source.split(one.taxonomy, one.train, one.test)


def _instacart() -> Source:
    one = instacart()
    return Source.split(one.taxonomy, one.train, one.test)


def _clinc150() -> Source:
    one, folder = clinc150(), DATA / "clinc150"
    validation = [Record({"text": i["text"]}, tuple(i["labels"])) for i in _json_lines(folder / "val.jsonl.gz")]
    outside = [
        Record({"text": item["text"]}, ())
        for part in ("val", "test")
        for item in _json_lines(folder / f"oos_{part}.jsonl.gz")
    ]
    return Source(one.taxonomy, one.train, validation, one.test, outside)


def _goemotions() -> Source:
    """GoEmotions: each emotion under its Ekman group and its sentiment; groups are named apart from emotions."""
    folder = DATA / "goemotions"
    edges = [
        (f"{kind}:{group}", emotion)
        for kind, file in (("ekman", "ekman_mapping"), ("sentiment", "sentiment_dict"))
        for group, emotions in json.loads((folder / f"{file}.json").read_text(encoding="utf-8")).items()
        for emotion in emotions
    ]
    ids = sorted({"neutral", *(node for edge in edges for node in edge)})
    taxonomy = Taxonomy([Node(node, {"en": node.split(":")[-1]}) for node in ids], edges, id="goemotions")
    parts = (
        [Record({"text": item["text"]}, tuple(item["labels"])) for item in _json_lines(folder / f"{part}.jsonl.gz")]
        for part in ("train", "dev", "test")
    )
    return Source(taxonomy, *parts)


def _hoc() -> Source:
    """Hallmarks of Cancer: abstracts with the labels of all their sentences; a fifth, by hash, is test."""
    folder = DATA / "hoc"
    paths = (folder / "taxonomy.txt").read_text(encoding="utf-8").split("\n")
    nodes = [Node(path, {"en": path.split("/")[-1]}) for path in paths if path]
    edges = [(path.rpartition("/")[0], path) for path in paths if "/" in path]
    parts: tuple[list[Record], list[Record]] = ([], [])
    for item in _json_lines(folder / "hoc.jsonl.gz"):
        labels = tuple(sorted({label for sentence in item["labels"] for label in sentence}))
        record = Record({"text": " ".join(item["sentences"])}, labels)
        parts[first_byte(item["id"]) < TEST_BYTES].append(record)
    return Source.split(Taxonomy(nodes, edges, id="hoc"), *parts)


SOURCES: dict[str, tuple[str, Callable[[], Source]]] = {
    "openfoodfacts": ("Open Food Facts", _openfoodfacts),
    "goemotions": ("GoEmotions", _goemotions),
    "hoc": ("Hallmarks of Cancer", _hoc),
    "clinc150": ("clinc150", _clinc150),
    "instacart": ("Instacart", _instacart),
}


def records(name: str, part: str) -> Sequence[Record]:
    """Return the records of a part, in the order of its rows: to look at single documents."""
    found: Sequence[Record] = getattr(SOURCES[name][1](), part)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SOURCES), help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--calibrate", default="none", help="as in the classifier")
    parser.add_argument("--again", action="store_true", help="fit anew")
    arguments = parser.parse_args()
    for name in arguments.sets:
        one = scored(name, calibrate=arguments.calibrate, again=arguments.again)
        print(
            f"{one.title}: {one.taxonomy}, {one.about['train']:,} train, {len(one.validation):,} validation, "
            f"{len(one.test):,} test, {len(one.outside):,} outside; decoder {one.decoder_name}; "
            f"{one.held_out.scores.nnz / len(one.held_out):.0f} scores a document; "
            f"fitted in {one.about['fit_s']:.0f} s at {one.about['commit']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
