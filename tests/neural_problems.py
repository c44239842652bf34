"""Small problems for networks, and a program that fits one: `python neural_problems.py OUT.npz OPTIONS.json`.

It prints a line after each step, so that a test can kill it in the middle of training. OPTIONS.json may have
`encoder`: then it learns from texts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from hclf.labels import label_matrix, partial_depth
from hclf.scorers.neural.scorer import NeuralScorer
from hclf.taxonomy import Taxonomy

EDGES = [("plants", "oak"), ("plants", "fern"), ("stones", "slate"), ("stones", "marble"), ("oak", "cork")]
WORDS = {
    "plants": "green growing",
    "oak": "acorn bark",
    "cork": "bottle stopper",
    "fern": "frond spore",
    "stones": "hard heavy",
    "slate": "grey roof",
    "marble": "white statue",
}
LEAVES = ("cork", "fern", "slate", "marble")


class Problem(NamedTuple):
    """Documents and closed labels."""

    taxonomy: Taxonomy
    inputs: Any
    Y: csr_matrix

    @property
    def unknown(self) -> csr_matrix:
        return partial_depth(self.taxonomy, self.Y)

    def fit(self, *, unknown: csr_matrix | None = None, progress: Any = None, **options: Any) -> NeuralScorer:
        more = {} if progress is None else {"progress": progress}
        return NeuralScorer(**options).fit(self.inputs, self.Y, taxonomy=self.taxonomy, unknown=unknown, **more)


def label_sets(n: int, seed: int, shallow: float) -> list[list[str]]:
    """One leaf or two a document, some given by their parents only."""
    rng = np.random.default_rng(seed)
    taxonomy = garden()
    sets = [rng.choice(LEAVES, 1 + (rng.random() < 0.2), replace=False).tolist() for _ in range(n)]
    return [
        [
            node if rng.random() >= shallow else taxonomy.nodes[taxonomy.parents.of(taxonomy.index(node))[0]]
            for node in s
        ]
        for s in sets
    ]


def garden() -> Taxonomy:
    return Taxonomy(list(WORDS), EDGES, id="garden")


def numbers(n: int = 80, seed: int = 0, shallow: float = 0.0) -> Problem:
    """Ten numbers a document around a centre of each of its nodes."""
    taxonomy = garden()
    Y = label_matrix(taxonomy, label_sets(n, seed, shallow))
    centres = np.random.default_rng(99).normal(size=(len(taxonomy), 10)) * 2
    noise = np.random.default_rng(seed + 1).normal(size=(n, 10)) / 2
    return Problem(taxonomy, csr_matrix(Y.toarray() @ centres + noise), Y)


def texts(n: int = 80, seed: int = 0, shallow: float = 0.0) -> Problem:
    """Words of the labels of each document and of their ancestors, some of them several times."""
    taxonomy = garden()
    Y = label_matrix(taxonomy, label_sets(n, seed, shallow))
    rng = np.random.default_rng(seed)
    said = []
    for row in Y:
        words = [word for column in row.indices for word in WORDS[taxonomy.nodes[column]].split()]
        said.append({"text": " ".join(rng.permutation(words * int(rng.integers(1, 3))))})
    return Problem(taxonomy, said, Y)


def vocabulary() -> list[str]:
    return list(WORDS.values())


def main(out: str, given: str) -> None:
    """Fit, and save scores and weights; of several processes each its own.

    Another fit goes before, on whatever device there is: a classifier fits several times in one process.
    """
    numbers(60).fit(epochs=1, hidden=4, layers=1)
    options = json.loads(given)
    problem = (texts if "encoder" in options else numbers)(shallow=0.3)

    def progress(items: Iterable[Any], what: str, total: int) -> Iterator[Any]:
        for step, item in enumerate(items):
            print(what, step, getattr(item, "note", ""), flush=True)
            yield item

    scorer = problem.fit(unknown=problem.unknown, progress=progress, **options)
    _, arrays = scorer.get_state()
    rank = os.environ.get("RANK", "0")
    found = {name: array for name, array in arrays.items() if not name.startswith("encoder_encoder")}
    np.savez(Path(out).with_suffix(f".{rank}.npz"), scores=scorer.score(problem.inputs).channels, **found)
    Path(out).with_suffix(f".{rank}.json").write_text(json.dumps(scorer.report))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # torch's threads between processes now and then abort one that ends, with all done
