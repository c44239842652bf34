"""The five sets of the peer benchmark: a taxonomy, training and test records, all from the data folder.

    python benchmarks/sets.py            # prints the sizes beside the published ones

Nothing is copied: everything is read from `$HCLF_DATA` (or `../shared/data`) when it is asked for. Splits are by
hash, so they need no file and no seed: an item is test if the first byte of a sha1 is below 51 (one in five).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from hclf.data.texts import normalised
from hclf.registry import load_taxonomy
from hclf.taxonomy import Node, Taxonomy

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("HCLF_DATA") or ROOT.parent / "shared" / "data")
TEST_BYTES = 51  # of 256: the share of the data README's split
SEPARATOR = " > "


class Record(NamedTuple):
    """A document: named text fields, and its most specific labels as node ids."""

    fields: dict[str, str]
    labels: tuple[str, ...]

    @property
    def text(self) -> str:
        """The fields that say something, one a line: what every peer reads."""
        return "\n".join(value for value in self.fields.values() if value)


@dataclass(frozen=True)
class BenchmarkSet:
    """One set.

    Attributes:
        name, title: for the command line and for tables.
        taxonomy: with the texts that methods may read, and no others.
        train, test: the records.
        names_known: whether the training records already hold the names of the nodes.
        subsets: named parts of the test records, as positions.
        answers: (nodes,) which nodes count in ranked lists; None: all.
        coarse: for each node the coarse class it is in ("right category"), "" for none; None: not asked.
        counts: what was read, kept and dropped, for the report.
        published: the counts the planning measurements state, by the same names.
    """

    name: str
    title: str
    taxonomy: Taxonomy
    train: list[Record]
    test: list[Record]
    names_known: bool = False
    subsets: Mapping[str, list[int]] = field(default_factory=dict)
    answers: NDArray[np.bool_] | None = None
    coarse: tuple[str, ...] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, int] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Training and test records, nodes, and what else was counted."""
        return {
            "train": len(self.train),
            "test": len(self.test),
            "nodes": len(self.taxonomy),
            **{f"test, {name}": len(rows) for name, rows in self.subsets.items()},
            **self.counts,
        }


def node_texts(taxonomy: Taxonomy, column: int) -> list[str]:
    """Return the different texts about a node: names and synonyms in all languages, description, and its path."""
    node = taxonomy.node(column)
    texts = [*node.names.values(), *(s for group in node.synonyms.values() for s in group), node.description]
    path = taxonomy.path(node.id)
    if len(path) > 1 and any(texts):
        texts.append(SEPARATOR.join(taxonomy[step].name for step in path))
    return list({normalised(text): text for text in texts if text.strip()}.values())


def first_byte(text: str) -> int:
    """Return the first byte of the text's sha1."""
    return hashlib.sha1(text.encode()).digest()[0]


def openfoodfacts() -> BenchmarkSet:
    """Open Food Facts: multi-label products over a DAG, the data README's split."""
    folder = DATA / "openfoodfacts"
    fields = ("title", "brand", "description", "ingredients", "quantity", "countries")
    parts: tuple[list[Record], list[Record]] = ([], [])
    for item in _json_lines(folder / "items.jsonl.gz"):
        is_test = first_byte(f"{item['id']}\t{item['title']}") < TEST_BYTES
        parts[is_test].append(Record({f: item[f] for f in fields}, tuple(item["labels"])))
    taxonomy = load_taxonomy(folder / "categories.full.json.gz")
    published = {"train": 5_999, "test": 1_467, "nodes": 12_651}
    return BenchmarkSet("openfoodfacts", "Open Food Facts", taxonomy, *parts, published=published)


def icd10cm() -> BenchmarkSet:
    """ICD-10-CM phrase → code: index paths and descriptions for training, tabular inclusion terms as test.

    Neither the training phrases nor the taxonomy hold a text that equals a test phrase once case, punctuation and
    white space are evened out; inclusion terms are the test, so the taxonomy keeps names only. Index codes newer
    than the taxonomy's edition are dropped and counted.
    """
    folder = DATA / "icd10cm" / "fy2021"
    codes = list(ET.fromstring(_read(folder / "icd10cm_tabular_2021.xml.gz")).iter("diag"))
    test = [Record({"text": text}, (code,)) for code, text in _inclusion_terms(codes)]
    secret = {words(record.text) for record in test}
    known = {_text(code, "name") for code in codes}

    index = list(_index_phrases(DATA / "icd10cm" / "fy2025" / "ICD10CM_2025_Index.csv.gz"))
    descriptions = [(_text(code, "desc"), _text(code, "name")) for code in codes]
    current = [(text, code) for text, code in index if code in known]
    phrases = [*current, *descriptions]
    kept = [(text, code) for text, code in phrases if words(text) not in secret]
    taxonomy = _icd_taxonomy(folder, secret)
    counts = {
        "index phrases": len(index),
        "index phrases of codes newer than FY2021, dropped": len(index) - len(current),
        "descriptions": len(descriptions),
        "training phrases equal to a test phrase, dropped": len(phrases) - len(kept),
        "node names equal to a test phrase, blanked": sum(not taxonomy.node(j).names for j in range(len(taxonomy))),
    }
    return BenchmarkSet(
        "icd10cm",
        "ICD-10-CM phrase → code",
        taxonomy,
        [Record({"text": text}, (code,)) for text, code in kept],
        test,
        names_known=True,
        answers=np.array([node in known for node in taxonomy.nodes]),
        coarse=tuple("" if "-" in node else node[:3] for node in taxonomy.nodes),
        counts=counts,
        published={"train": 106_817, "test": 11_612, "nodes": 95_676, "index phrases": 62_721},
    )


def words(text: str) -> str:
    """Return the words of a text in lower case: the form in which phrases of train and test are compared.

    >>> words("Cholera, due to  Vibrio-cholerae [01]")
    'cholera due to vibrio cholerae 01'
    """
    return " ".join(re.findall(r"\w+", normalised(text)))


def _inclusion_terms(codes: Iterable[ET.Element]) -> Iterator[tuple[str, str]]:
    for code in codes:
        for note in code.iterfind("inclusionTerm/note"):
            yield _text(code, "name"), (note.text or "").strip()


def _index_phrases(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (phrase, code): a row's phrase is the terms from its main term down; `I63.-` is the code I63."""
    terms: list[str] = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            terms[int(row["Level"]) :] = [row["Term"]]
            if row["Code"]:
                yield ", ".join(terms), row["Code"].rstrip("-").rstrip(".")


def _icd_taxonomy(folder: Path, secret: set[str]) -> Taxonomy:
    """Return the FY2021 taxonomy with names only, and without those that equal a test phrase."""
    whole = load_taxonomy(
        folder / "icd10cm_tabular_2021.xml.gz", format="icd10cm", order=folder / "icd10cm-order-Jan-2021.txt.gz"
    )
    nodes = [
        Node(
            node.id,
            {language: name for language, name in node.names.items() if words(name) not in secret},
            assignable=node.assignable,
        )
        for node in map(whole.node, range(len(whole)))
    ]
    header: dict[str, Any] = {**whole.header, "level_names": whole.level_names}
    return Taxonomy(nodes, whole.edges(), **header)


def shopify_google() -> BenchmarkSet:
    """Shopify category path → Google category: the pairs that are not identical strings, a fifth as test.

    Hard are the pairs whose target is not a prefix of the source path: a rule without learning gets the others.
    """
    folder = DATA / "shopify_to_google"
    listed = yaml.load(_read(folder / "google_2021-09-21_full_names.yml.gz"), yaml.CSafeLoader)
    ids = {entry["full_name"]: str(entry["id"]) for entry in listed}
    steps = {path: path.split(SEPARATOR) for path in ids}
    taxonomy = Taxonomy(
        [Node(ids[path], {"en": parts[-1]}) for path, parts in steps.items()],
        [(ids[SEPARATOR.join(parts[:-1])], ids[path]) for path, parts in steps.items() if len(parts) > 1],
        id="google",
        version="2021-09-21",
    )
    with gzip.open(folder / "pairs.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        pairs = [(row["shopify_path"], row["google_path"]) for row in csv.DictReader(file, delimiter="\t")]
    different = [pair for pair in pairs if pair[0] != pair[1]]
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for source, target in different:
        parts[first_byte(source) < TEST_BYTES].append((source, target))
    train, test = ([Record({"text": source}, (ids[target],)) for source, target in part] for part in parts)
    hard = [i for i, (s, t) in enumerate(parts[1]) if not s.startswith(t + SEPARATOR)]
    return BenchmarkSet(
        "shopify-google",
        "Shopify → Google",
        taxonomy,
        train,
        test,
        subsets={"hard": hard},
        counts={"pairs": len(pairs), "not identical": len(different)},
        published={"not identical": 5_341, "test, hard": 135},
    )


def instacart() -> BenchmarkSet:
    """Instacart: short product titles, one aisle each, a fifth as test."""
    folder = DATA / "instacart"
    parts: tuple[list[Record], list[Record]] = ([], [])
    for item in _json_lines(folder / "items.jsonl.gz"):
        is_test = first_byte(f"{item['id']}\t{item['title']}") < TEST_BYTES
        parts[is_test].append(Record({"text": item["title"]}, tuple(item["labels"])))
    taxonomy = load_taxonomy(folder / "taxonomy.tsv")
    published = {"items": 49_688, "nodes": 155}
    counts = {"items": sum(map(len, parts))}
    return BenchmarkSet("instacart", "Instacart", taxonomy, *parts, counts=counts, published=published)


def clinc150() -> BenchmarkSet:
    """clinc150: short requests, 150 intents in 10 domains; the official train and test part, in scope."""
    folder = DATA / "clinc150"
    train, test = (
        [Record({"text": item["text"]}, tuple(item["labels"])) for item in _json_lines(folder / f"{part}.jsonl.gz")]
        for part in ("train", "test")
    )
    intents = sorted({label for record in train for label in record.labels})
    domains = sorted({intent.split("/")[0] for intent in intents})
    taxonomy = Taxonomy(
        [Node(node, {"en": node.split("/")[-1].replace("_", " ")}) for node in (*domains, *intents)],
        [(intent.split("/")[0], intent) for intent in intents],
        id="clinc150",
    )
    published = {"train": 15_000, "test": 4_500, "nodes": 160}
    return BenchmarkSet("clinc150", "clinc150", taxonomy, train, test, published=published)


SETS: dict[str, Callable[[], BenchmarkSet]] = {
    "openfoodfacts": openfoodfacts,
    "icd10cm": icd10cm,
    "shopify-google": shopify_google,
    "instacart": instacart,
    "clinc150": clinc150,
}


def _read(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _text(element: ET.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"of {', '.join(SETS)}")
    for name in parser.parse_args().sets:
        one = SETS[name]()
        print(f"{one.title}: {one.taxonomy}")
        for what, number in one.sizes.items():
            stated = one.published.get(what)
            print(f"  {number:>8,}  {what}" + (f" (published {stated:,})" if stated not in (None, number) else ""))


if __name__ == "__main__":
    main()
