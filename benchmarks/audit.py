"""The audit on real labels: ICD-10-CM codes of CodiEsp, categories of Open Food Facts.

    python benchmarks/audit.py               # everything; writes benchmarks/results/audit.md
    python benchmarks/audit.py --only codiesp

CodiEsp: the rules of FY2021 over the 750 hand-coded case reports (train and dev); then a model of the 500 of train
over the 250 of dev. Open Food Facts: a model of the training part over the test part, as it is, and with known
mistakes put in, to see which share of them comes out and how many other labels are doubted beside them.
Data is read from `$HCLF_DATA` or ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine_load import Load

import hclf
from hclf.audit import DOUBTS, KINDS, Auditor, Summary
from hclf.classifier import HierarchicalClassifier
from hclf.data import Document
from hclf.registry import load_taxonomy
from hclf.taxonomy import Taxonomy

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("HCLF_DATA", HERE.parent.parent / "shared" / "data"))
RESULTS = HERE / "results" / "audit.md"
FIELDS = ("title", "brand", "description", "ingredients", "quantity", "countries")
SHARE = 0.1  # of documents that get a mistake
SURE = (0.7, 0.8, 0.9, 0.95)
DOUBTFUL = (0.001, 0.01, 0.05)
Mistake = Callable[[Document, np.random.Generator], "tuple[str, ...] | None"]


# -- data ------------------------------------------------------------------------------------------------------


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def codiesp(part: str) -> list[Document]:
    rows = lines(DATA / "codiesp" / f"{part}.jsonl.gz")
    return [Document(row["id"], {"text": row["text_es"]}, tuple(row["diagnoses"])) for row in rows]


def openfoodfacts() -> tuple[list[Document], list[Document]]:
    """Return the training and the test part, by the split of the data README."""
    from sets import openfoodfacts as load

    whole = load()
    parts = []
    for records in (whole.train, whole.test):
        parts.append([Document(str(i), dict(r.fields), tuple(r.labels)) for i, r in enumerate(records)])
    return parts[0], parts[1]


def icd10cm() -> Taxonomy:
    folder = DATA / "icd10cm" / "fy2021"
    return load_taxonomy(folder / "icd10cm_tabular_2021.xml.gz", order=folder / "icd10cm-order-Jan-2021.txt.gz")


# -- tables ----------------------------------------------------------------------------------------------------


def summarise(auditor: Auditor, documents: Sequence[Document], kinds: Sequence[str] = KINDS) -> Summary:
    summary = Summary()
    for audited in auditor.audit(documents):
        summary.add(audited._replace(findings=[f for f in audited.findings if f.kind in kinds]))
    assert summary.labels == sum(len(d.labels or ()) for d in documents), "an audit takes no label away"
    return summary


def table(summary: Summary, most: int = 4) -> list[str]:
    """Return a Markdown table of the findings by kind."""
    rows = [
        f"{summary.documents:,} documents, {summary.labels:,} labels, all kept; "
        f"nothing found in {summary.documents - summary.with_any:,} documents.",
        "",
        "| finding | how many | documents | share | most often |",
        "|---|---:|---:|---:|---|",
    ]
    for kind in summary.kinds():
        often = ", ".join(f"{labels} ({count:,})" for labels, count in summary.most(kind, most))
        counts = f"{summary.findings[kind]:,} | {summary.documents_with[kind]:,} | {summary.share(kind):.1%}"
        rows.append(f"| {kind} | {counts} | {often} |")
    return [*rows, ""]


# -- CodiEsp ---------------------------------------------------------------------------------------------------


def rules_on_codiesp(tree: Taxonomy) -> list[str]:
    documents = codiesp("train") + codiesp("dev")
    auditor = Auditor(tree)
    started = time.perf_counter()
    summary = summarise(auditor, documents)
    first = time.perf_counter() - started
    started = time.perf_counter()
    summarise(auditor, documents)
    again = (time.perf_counter() - started) / len(documents)
    rules = f"{len(tree.rules):,} rules on {len(tree):,} nodes"
    return [
        "## CodiEsp: the rules of FY2021",
        "",
        f"`hclf audit codiesp.jsonl -t icd10cm_tabular_2021.xml.gz`: {rules}. "
        f"{first:.2f} s for all documents, then {1000 * again:.2f} ms a document.",
        "",
        *table(summary),
    ]


def part_of(tree: Taxonomy, labels: set[str]) -> Taxonomy:
    """Return the taxonomy of some labels and what lies above them."""
    kept = set(tree.closure(labels))
    return Taxonomy([tree[node] for node in sorted(kept)], [e for e in tree.edges() if kept.issuperset(e)])


def model_on_codiesp(tree: Taxonomy) -> list[str]:
    train, dev = codiesp("train"), codiesp("dev")
    used = part_of(tree, {label for d in train for label in d.labels or () if label in tree})
    fitted = [d for d in train if not set(used.nodes).isdisjoint(d.labels or ())]
    labels = [tuple(label for label in d.labels or () if label in used) for d in fitted]
    model = HierarchicalClassifier(taxonomy=used, seed=0).fit([dict(d.fields) for d in fitted], labels)
    summary = summarise(Auditor(tree, model=model), dev, DOUBTS)
    return [
        "## CodiEsp: a model of train on dev",
        "",
        "`hclf audit dev.jsonl -t icd10cm_tabular_2021.xml.gz --model MODEL`, a linear model of the Spanish texts "
        f"with default settings, over the {len(used):,} codes of train and what lies above them; the doubts only. "
        "500 documents teach it few codes well enough to be sure of them.",
        "",
        *table(summary),
    ]


# -- Open Food Facts -------------------------------------------------------------------------------------------


class Remembered:
    """A model that scores each document once, by its id, so that labels can be changed and audited again."""

    def __init__(self, model: HierarchicalClassifier, documents: Sequence[Document]) -> None:
        self.taxonomy_, self.counts_ = model.taxonomy_, model.counts_
        self._row = {d.id: i for i, d in enumerate(documents)}
        self._scores = model.predict_proba(list(documents))

    def predict_proba(self, X: Sequence[Document]) -> Any:
        return self._scores[[self._row[d.id] for d in X]]

    def predict(self, X: Any, *, operating_point: str) -> Any:
        raise NotImplementedError


def with_mistakes(documents: Sequence[Document], mistake: Mistake, seed: int) -> tuple[list[Document], set[str]]:
    """Return the documents, a share of them with a mistake, and the ids of those."""
    rng = np.random.default_rng(seed)
    changed, ids = [], set()
    for document in documents:
        labels = mistake(document, rng) if rng.random() < SHARE else None
        if labels is not None:
            ids.add(document.id)
            document = replace(document, labels=labels)
        changed.append(document)
    return changed, ids


def mistakes(tree: Taxonomy, documents: Sequence[Document]) -> dict[str, tuple[str, Mistake]]:
    """Return what is done to labels -> the kind of finding it should bring out, and how it is done."""
    every = [label for d in documents for label in d.labels or ()]

    def another(d: Document, rng: np.random.Generator) -> tuple[str, ...] | None:
        label = every[rng.integers(len(every))]
        return None if label in tree.closure(d.labels or ()) else (label, *(d.labels or ())[1:])

    def sibling(d: Document, rng: np.random.Generator) -> tuple[str, ...] | None:
        j = tree.index((d.labels or ())[0])
        said = tree.closure(d.labels or ())
        beside = {tree.nodes[k] for up in tree.parents.of(j) for k in tree.children.of(int(up))} - set(said)
        used = sorted(beside.intersection(every))
        return (used[rng.integers(len(used))], *(d.labels or ())[1:]) if used else None

    def parent(d: Document, _rng: np.random.Generator) -> tuple[str, ...] | None:
        ups = tree.parents.of(tree.index((d.labels or ())[0]))
        return (tree.nodes[int(ups[0])], *(d.labels or ())[1:]) if ups.size else None

    def without(d: Document, _rng: np.random.Generator) -> tuple[str, ...] | None:
        return (d.labels or ())[1:] if len(d.labels or ()) > 1 else None

    return {
        "another document's label in place of the first": ("likely-wrong", another),
        "a used sibling in place of the first": ("likely-wrong", sibling),
        "its parent in place of the first": ("over-general", parent),
        "the first of several labels left out": ("likely-missing", without),
    }


def found_share(auditor: Auditor, documents: Sequence[Document], ids: set[str], kind: str) -> tuple[float, float]:
    """Return the share of documents with a mistake, and of the others, that have a finding of a kind."""
    with_kind = {one.id for one in auditor.audit(documents) if any(f.kind == kind for f in one.findings)}
    others = {d.id for d in documents} - ids
    return len(with_kind & ids) / max(len(ids), 1), len(with_kind & others) / max(len(others), 1)


def on_openfoodfacts() -> list[str]:
    train, test = openfoodfacts()
    tree = load_taxonomy(DATA / "openfoodfacts" / "categories.full.json.gz")
    known = set(tree.nodes)
    test = [d for d in test if d.labels and known.issuperset(d.labels)]
    model = HierarchicalClassifier(taxonomy=tree, seed=0)
    model.fit([dict(d.fields) for d in train], [d.labels or () for d in train])
    judge = Remembered(model, test)
    rows = [
        "## Open Food Facts: a model of the training part on the test part",
        "",
        "`hclf audit test.jsonl --model MODEL`, a linear model with default settings. Labels are those of "
        "contributors, known to be incomplete.",
        "",
        *table(summarise(Auditor(tree, model=judge), test)),
        f"Mistakes put into {SHARE:.0%} of the documents that allow it. Found: the share of these documents with the "
        "finding; beside: the share of the other documents with it, mistakes of the data included.",
        "",
        "| mistake | finding | threshold | documents | found | beside |",
        "|---|---|---|---:|---:|---:|",
    ]
    for what, (kind, mistake) in mistakes(tree, test).items():
        changed, ids = with_mistakes(test, mistake, seed=0)
        for value in DOUBTFUL if kind == "likely-wrong" else SURE:
            options = {"doubtful": value} if kind == "likely-wrong" else {"sure": value}
            found, beside = found_share(Auditor(tree, model=judge, **options), changed, ids, kind)
            said = f"{next(iter(options))} {value}"
            rows.append(f"| {what} | {kind} | {said} | {len(ids)} | {found:.0%} | {beside:.1%} |")
    return [*rows, ""]


# -- the whole -------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("rules", "codiesp", "openfoodfacts"), help="one part, printed only")
    only = parser.parse_args().only
    if not DATA.is_dir():
        sys.exit(f"no data in {DATA}: set HCLF_DATA")
    load = Load()
    parts: list[str] = []
    if only != "openfoodfacts":
        tree = icd10cm()
        parts += rules_on_codiesp(tree)
        if only != "rules":
            parts += model_on_codiesp(tree)
    if only in (None, "openfoodfacts"):
        parts += on_openfoodfacts()
    figures = load.figures()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    head = [
        "# Audit",
        "",
        "`python benchmarks/audit.py`",
        "",
        f"hclf {hclf.__version__}, Python {sys.version.split()[0]}, numpy {np.__version__}; peak memory "
        f"{memory:,.0f} MB, training included; others kept {figures['other cores']:.1f} cores busy meanwhile.",
        "",
    ]
    text = "\n".join([*head, *parts]).rstrip() + "\n"
    sys.stdout.write(text)
    if only is None:
        with tempfile.NamedTemporaryFile("w", dir=RESULTS.parent, delete=False, encoding="utf-8") as out:
            out.write(text)
        Path(out.name).chmod(0o644)
        Path(out.name).replace(RESULTS)


if __name__ == "__main__":
    main()
