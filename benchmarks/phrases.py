"""Phrase → code on ICD-10-CM: which of 45,017 codes a tabular inclusion term belongs to.

    python benchmarks/phrases.py                       # writes benchmarks/results/phrases.md
    python benchmarks/phrases.py --rows all            # only the rows whose name begins so

The test is that of the peer benchmark (`sets.icd10cm`): the 11,612 inclusion terms of FY2021, which the taxonomy does
not hold here; neither it nor the training phrases hold a text with the same words. Rows differ in the phrases that
are learned from and in the scorers; each is a process of its own. Nothing is chosen on the test. "Index and
descriptions" are the peers' training phrases; the "whole index" is that and what its cross references and
non-essential modifiers say of the same codes; "all phrases" are those of notes and of other tables besides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine_load import BUSY, Load, was_busy
from sets import DATA, BenchmarkSet, Record, icd10cm, words

from hclf import HierarchicalClassifier
from hclf.formats import phrases as files
from hclf.formats.phrases import Phrase, add_phrases
from hclf.formats.phrases.notes import of_notes
from hclf.formats.phrases.variants import more_of_index
from hclf.registry import load_taxonomy
from hclf.scorers import SCORERS

RESULTS = Path(__file__).resolve().parent / "results"
INDEX = "ICD10CM_2025_Index.csv.gz"
EXTERNAL = "ICD10CM_2025_ExternalIndex.csv.gz"
NEOPLASMS = "ICD10CM_2025_neoplasms.csv.gz"
MOST = 40  # synonyms of a node
LISTED = 10
FIGURES = ("top-1", "category", "hit@10")
PEER_FIGURES = ("top-1", "right category", "hit@10")  # the same in `peers.json`


class Row(NamedTuple):
    """A row of the table: which phrases are learned from, and by which scorers."""

    phrases: str
    scorer: str

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.phrases}, {self.scorer}"


def with_whole_index(bench: BenchmarkSet) -> BenchmarkSet:
    """Return the set with all that the index says: what follows from its references and modifiers are synonyms."""
    index = DATA / "icd10cm" / "fy2025" / INDEX
    follows = chain(filter(_is_reference, files.read(index)), more_of_index(index))
    taxonomy = add_phrases(bench.taxonomy, _first(filter(_allowed(bench), follows)))
    return replace(bench, taxonomy=taxonomy)


def with_all_phrases(bench: BenchmarkSet) -> BenchmarkSet:
    """Return the set with the phrases of the release files besides the index.

    What people wrote as they would say it (notes, the index of external causes) are training documents; what follows
    from cross references, modifiers and tables are synonyms of nodes.
    """
    old, new = DATA / "icd10cm" / "fy2021", DATA / "icd10cm" / "fy2025"
    tabular = load_taxonomy(
        old / "icd10cm_tabular_2021.xml.gz", format="icd10cm", order=old / "icd10cm-order-Jan-2021.txt.gz"
    )
    allowed = _allowed(bench)
    external = list(filter(allowed, files.read(new / EXTERNAL)))
    said = [*filter(allowed, of_notes(tabular)), *(p for p in external if not _is_reference(p))]
    follows = chain(
        filter(_is_reference, files.read(new / INDEX, neoplasms=new / NEOPLASMS)),
        files.read(new / NEOPLASMS),
        filter(_is_reference, external),
        more_of_index(new / EXTERNAL),
        more_of_index(new / INDEX),
    )
    train = [*bench.train, *(Record({"text": phrase.text}, (phrase.node,)) for phrase in said)]
    unique = {(record.text, record.labels): record for record in train}
    taxonomy = add_phrases(bench.taxonomy, _first(filter(allowed, follows)))
    counts = {**bench.counts, "phrases of notes": len(said) - len(external)}
    return replace(bench, taxonomy=taxonomy, train=list(unique.values()), counts=counts)


PHRASES: dict[str, Callable[[BenchmarkSet], BenchmarkSet]] = {
    "index and descriptions": lambda bench: bench,
    "whole index and descriptions": with_whole_index,
    "all phrases": with_all_phrases,
}
ROWS = [Row(phrases, scorer) for phrases in PHRASES for scorer in ("linear", "lexicon", "linear+lexicon")]


def _is_reference(phrase: Phrase) -> bool:
    """Return whether a phrase follows from a cross reference."""
    return phrase.source.endswith(" see")


def _allowed(bench: BenchmarkSet) -> Callable[[Phrase], bool]:
    """Return what is true of phrases to learn from: the code can be answered, and no test phrase has the words."""
    secret = {words(record.text) for record in bench.test}
    known = {node for node, counts in zip(bench.taxonomy.nodes, bench.answers, strict=True) if counts}
    return lambda phrase: phrase.node in known and words(phrase.text) not in secret


def _first(phrases: Iterable[Phrase]) -> Iterator[Phrase]:
    """Yield no more than `MOST` phrases of a node."""
    given: dict[str, int] = {}
    for phrase in phrases:
        given[phrase.node] = given.get(phrase.node, 0) + 1
        if given[phrase.node] <= MOST:
            yield phrase


def measure(row: Row) -> dict[str, Any]:
    """Fit and rank; return the figures of a row."""
    bench = PHRASES[row.phrases](icd10cm())
    taxonomy = bench.taxonomy
    watch, began = Load(), time.perf_counter()
    model = HierarchicalClassifier(taxonomy=taxonomy, scorer=row.scorer, seed=0)
    model.fit([record.fields for record in bench.train], [list(record.labels) for record in bench.train])
    fitted = time.perf_counter()
    assert bench.answers is not None
    assert bench.coarse is not None
    among = [taxonomy.nodes[j] for j in np.flatnonzero(bench.answers)]
    ranked = model.rank([record.fields for record in bench.test], LISTED, among=among)
    done = time.perf_counter()
    ids = [[node.id for node in own] for own in ranked]
    truth = [record.labels[0] for record in bench.test]
    category = dict(zip(taxonomy.nodes, bench.coarse, strict=True))
    return {
        "row": row.name,
        "phrases": len(bench.train),
        "texts of nodes": sum(len(taxonomy.node(j).texts) for j in range(len(taxonomy))),
        "top-1": float(np.mean([own[:1] == [true] for own, true in zip(ids, truth, strict=True)])),
        "category": float(
            np.mean([bool(own) and category[own[0]] == category[true] for own, true in zip(ids, truth, strict=True)])
        ),
        "hit@10": float(np.mean([true in own for own, true in zip(ids, truth, strict=True)])),
        "fit s": fitted - began,
        "documents/s": len(truth) / (done - fitted),
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        **watch.figures(),
    }


def table(figures: list[dict[str, Any]]) -> str:
    """Return the results as a page."""
    lines = [
        "# Phrase → code",
        "",
        "`python benchmarks/phrases.py`: " + " ".join(__doc__.split("\n\n")[2].split()),
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}.",
        "",
        "| phrases, scorer | documents | texts of nodes | top-1 | category | hit@10 | fit s | documents/s | GB |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_line, figures),
        "",
        _best_peers(),
        f"\\* timed while other processes kept more than {BUSY:g} cores busy: slower than it would be alone.",
    ]
    return "\n".join(lines) + "\n"


def _best_peers() -> str:
    """Return what the best peers make of index and descriptions."""
    sets = json.loads((RESULTS / "peers.json").read_text("utf-8"))["sets"]
    rows = next(one["rows"] for one in sets if one["name"] == "icd10cm")
    others = [row for row in rows if row["peer"] != "hclf" and row["status"] == "ok"]
    best = " / ".join(f"{max(row[name] for row in others):.3f}" for name in PEER_FIGURES)
    return f"By index and descriptions the best peers reach {best} (`results/peers.md`)."


def _line(one: Mapping[str, Any]) -> str:
    star = "\\*" if was_busy(one) else ""
    quality = " | ".join(f"{one[column]:.3f}" for column in FIGURES)
    sizes = f"{one['phrases']:,} | {one['texts of nodes']:,}"
    return (
        f"| {one['row']} | {sizes} | {quality} | {one['fit s']:.0f}{star} | {one['documents/s']:.0f}{star} "
        f"| {one['GB']:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", help="beginning of the names of the rows to measure")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.row is not None:
        print(json.dumps(measure(next(row for row in ROWS if row.name == arguments.row))))
        return
    kept = arguments.out / "phrases.json"
    figures = {one["row"]: one for one in json.loads(kept.read_text())} if kept.exists() else {}
    for row in ROWS:
        if row.name.startswith(arguments.rows) and set(row.scorer.split("+")) <= set(SCORERS):
            command = [sys.executable, __file__, "--row", row.name]
            answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            figures[row.name] = json.loads(answer.splitlines()[-1])
            print(figures[row.name], flush=True)
            found = [figures[row.name] for row in ROWS if row.name in figures]
            kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            (arguments.out / "phrases.md").write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
