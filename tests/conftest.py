"""What the tests share: tiny synthetic data, slices of the shipped examples, models fitted once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from hclf.classifier import HierarchicalClassifier
from hclf.data import read_documents
from hclf.registry import load_taxonomy, shipped_folder
from hclf.taxonomy import Node, Taxonomy

# The machines that run this are shared: how long one example took says nothing.
settings.register_profile("hclf", deadline=None)
settings.load_profile("hclf")


@dataclass(frozen=True)
class Sample:
    """Labelled documents of a taxonomy; labels are the most specific ones."""

    taxonomy: Taxonomy
    X: list[Any]
    y: list[tuple[str, ...]]

    def __getitem__(self, rows: slice) -> Sample:
        return Sample(self.taxonomy, self.X[rows], self.y[rows])


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests leave the user's cache alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HCLF_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """BLAS threads that wait for a busy core make small fits five times as slow."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, `$HCLF_DATA` or `../shared/data`; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HCLF_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set HCLF_DATA")
    return folder


# -- data --------------------------------------------------------------------------------------------------------

WORDS = {
    "animals": "creature wildlife",
    "cats": "cat purr whiskers",
    "siamese": "siamese slender vocal",
    "dogs": "dog bark leash",
    "machines": "engine device",
    "cars": "car wheels diesel",
    "robots": "robot servo circuit",
    "robodogs": "robodog aibo pet",
    "unseen": "",
}
NOISE = "the new offer of today"


@pytest.fixture(scope="session")
def zoo() -> Taxonomy:
    """Nine nodes on three levels; `robodogs` has two parents, `unseen` has no documents."""
    edges = [
        ("animals", "cats"),
        ("animals", "dogs"),
        ("cats", "siamese"),
        ("machines", "cars"),
        ("machines", "robots"),
        ("dogs", "robodogs"),
        ("robots", "robodogs"),
        ("robots", "unseen"),
    ]
    nodes = [Node(node, {"": "Motor cars" if node == "cars" else node.capitalize()}) for node in WORDS]
    return Taxonomy(nodes, edges, id="zoo")


def documents_about(taxonomy: Taxonomy, n: int, *, seed: int = 0, several: float = 0.3) -> Sample:
    """Make documents out of the words of their labels, of their ancestors, and of noise."""
    rng = np.random.default_rng(seed)
    choices = [node for node in taxonomy.nodes if WORDS[node]]
    every = [word for words in WORDS.values() for word in words.split()]
    X, y = [], []
    for _ in range(n):
        count = 2 if rng.random() < several else 1
        labels = taxonomy.most_specific(rng.choice(choices, count, replace=False).tolist())
        about = [word for node in taxonomy.closure(labels) for word in WORDS[node].split()]
        words = [word for word in about if rng.random() < 0.5] + rng.choice(every, 2).tolist() + NOISE.split()
        X.append(" ".join(rng.permutation(words)))
        y.append(labels)
    return Sample(taxonomy, X, y)


@pytest.fixture(scope="session")
def pets(zoo: Taxonomy) -> Sample:
    """Sixty short documents, a third of them with several labels, some labelled above the leaves."""
    return documents_about(zoo, 60)


@pytest.fixture(scope="session")
def more_pets(zoo: Taxonomy) -> Sample:
    """Thirty documents of the same kind that `pets` does not hold."""
    return documents_about(zoo, 30, seed=1)


GARDEN = [
    Node(id, {"en": name})
    for id, name in {
        "plants": "plants",
        "oak": "oak tree",
        "fern": "forest fern",
        "moss": "damp moss",
        "stones": "stones",
        "slate": "grey slate",
        "marble": "white marble",
    }.items()
]
GARDEN_EDGES = [
    *(("plants", node) for node in ("oak", "fern", "moss")),
    *(("stones", node) for node in ("slate", "marble")),
]
GARDEN_TEXTS = {
    "oak": ["an old oak", "oak tree with acorns", "tall oak tree"],
    "fern": ["green fern", "a fern of the forest", "forest fern fronds"],
    "slate": ["slate roof", "grey slate tiles", "split grey slate"],
}


def garden(**names: str) -> Taxonomy:
    """Seven nodes, `moss` and `marble` without documents; some with other names."""
    nodes = [Node(node.id, {"en": names.get(node.id, node.name)}) for node in GARDEN]
    return Taxonomy(nodes, GARDEN_EDGES, id="garden")


def garden_sample(taxonomy: Taxonomy) -> Sample:
    """Thirty-six short documents about the oak, the fern and the slate."""
    found = [(f"{text} {i}", (node,)) for node, texts in GARDEN_TEXTS.items() for text in texts for i in range(4)]
    return Sample(taxonomy, [text for text, _ in found], [labels for _, labels in found])


def _shipped(name: str, part: str) -> Sample:
    documents = list(read_documents(shipped_folder("examples") / name / f"{part}.jsonl"))
    return Sample(load_taxonomy(name), [d.fields for d in documents], [d.labels or () for d in documents])


@pytest.fixture(scope="session")
def products() -> Sample:
    """The shipped product offers, train part: fields `title` and `description`."""
    return _shipped("products", "train")


@pytest.fixture(scope="session")
def icd10() -> Sample:
    """The shipped clinical notes, train part: one text field."""
    return _shipped("icd10-mini", "train")


# -- models: fitted once, not to be changed ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pets_model(pets: Sample) -> HierarchicalClassifier:
    return HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(pets.X, pets.y)


@pytest.fixture(scope="session")
def products_model(products: Sample) -> HierarchicalClassifier:
    return HierarchicalClassifier(taxonomy="products", n_jobs=1).fit(products.X[:100], products.y[:100])


@pytest.fixture(scope="session")
def icd10_model(icd10: Sample) -> HierarchicalClassifier:
    return HierarchicalClassifier(taxonomy="icd10-mini", n_jobs=1).fit(icd10.X[:40], icd10.y[:40])
