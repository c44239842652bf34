"""The reader of hierarchical ARFF files, on made ones; the score and the page of the benchmark."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import hmc
import hmc_sets

HEADER = """@RELATION 'made'

% a comment
@ATTRIBUTE one numeric
@attribute DES_0point02%_MMS NUMERIC
@ATTRIBUTE 'a colour' {red, 'blue'}
@ATTRIBUTE class hierarchical {items}
@DATA
"""
PATHS = "01,01/02,01/02/03,05,07/01"
ROWS = "1.5,-2,red,01/02@05\n?,3e-2,?,01/02/03 % five\n\n0,0,blue,07/01\n"
EDGES = "root/GO0003674,root/GO0008150,GO0003674/GO1,GO1/GO2,GO0008150/GO2,root/GO0005575"


def written(folder: Path, name: str, rows: str = ROWS, items: str = PATHS) -> Path:
    path = folder / name
    text = HEADER.replace("{items}", items) + rows
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.replace("\n", "\r\n").encode())
    return path


@pytest.mark.parametrize("name", ["made.train.arff", "made.train.arff.gz"])
def test_numbers_names_gaps_and_labels_are_read(name: str, tmp_path: Path) -> None:
    items, X, labels = hmc_sets.read_arff(written(tmp_path, name))
    assert items == PATHS.split(",")
    assert X[0].tolist() == [1.5, -2, 1, 0]
    assert np.isnan(X[1]).tolist() == [True, False, True, True]
    assert (X[1, 1], X[2].tolist()) == (0.03, [0, 0, 0, 1])
    assert labels == [["01/02", "05"], ["01/02/03"], ["07/01"]]


def test_paths_make_a_tree_with_their_beginnings() -> None:
    taxonomy = hmc_sets.hierarchy(PATHS.split(","))
    assert sorted(taxonomy.nodes) == ["01", "01/02", "01/02/03", "05", "07", "07/01"]
    assert sorted(taxonomy.ancestors("01/02/03")) == ["01", "01/02"]
    assert taxonomy.depth == 3


def test_edges_make_a_graph_below_its_roots() -> None:
    taxonomy = hmc_sets.hierarchy(EDGES.split(","))
    assert sorted(taxonomy.nodes) == ["GO0003674", "GO0005575", "GO0008150", "GO1", "GO2"]
    assert sorted(taxonomy.ancestors("GO2")) == ["GO0003674", "GO0008150", "GO1"]
    part = hmc_sets.Part(np.zeros((1, 1)), [["GO2"]])
    scored = hmc_sets.HmcSet("made", taxonomy, part, part).scored
    assert [taxonomy.nodes[j] for j in scored] == ["GO1", "GO2"]


def test_parts_are_found_by_either_way_to_name_them(tmp_path: Path) -> None:
    for name in ("a.train.arff", "a.valid.arff.gz", "a.test.arff", "b_Train.arff.gz", "b_Test.arff", "c.train.arff"):
        written(tmp_path, name)
    (tmp_path / "notes.txt").write_text("")
    assert hmc_sets.set_names(tmp_path) == ["a", "b"]
    a, b = (hmc_sets.read_set(tmp_path, name) for name in "ab")
    assert (len(a.fitted_on.y), len(b.fitted_on.y), len(a.test.y)) == (6, 3, 3)
    assert a.fitted_on.X.shape == (6, 4)
    assert a.tried(0.34, 0) == (a.train, a.valid)
    train, valid = b.tried(0.34, 0)
    assert (len(train.y), len(valid.y)) == (2, 1)
    assert sorted(map(str, train.y + valid.y)) == sorted(map(str, b.train.y))
    with pytest.raises(SystemExit, match="no test part of c; it has a, b"):
        hmc_sets.read_set(tmp_path, "c")


@pytest.mark.parametrize(
    ("rows", "message"),
    [("1,2,red\n", r":9: 3 fields, not 4"), ("1,x,red,01\n", r":9: not a number: 1,x")],
)
def test_what_is_no_row_is_told_with_its_line(rows: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        hmc_sets.read_arff(written(tmp_path, "made.train.arff", rows))


def test_the_area_is_that_of_all_pairs_together() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.random((40, 6)) < 0.2, rng.random((40, 6))
    columns = np.array([0, 2, 3])
    precision, recall, _ = precision_recall_curve(truth[:, columns].ravel(), scores[:, columns].ravel())
    assert hmc.au_prc(truth, scores, columns) == pytest.approx(-np.sum(np.diff(recall) * precision[:-1]))
    assert hmc.au_prc(truth, scores, columns) != pytest.approx(
        average_precision_score(truth, scores, average="micro")
    )


def row(scorer: str, seed: int, ap: float, **more: Any) -> dict[str, Any]:
    weights = [{"weights": {"neural": 0.75, "forest": 0.25}}] if "+" in scorer else []
    return {
        "set": "Diatoms",
        "scorer": scorer,
        "seed": seed,
        "ap": ap,
        "fit s": 61.4,
        "gb": 0.5 + seed / 10,
        "documents": 2065,
        "trained nodes": 377,
        "fusion": weights,
        "commit": "abc",
        "load before": 0.0,
        "other cores": 0.0,
        **more,
    }


def test_the_page_tells_means_spread_and_what_is_above_the_literature() -> None:
    page = hmc.report([row("forest", 0, 0.7), row("neural+forest", 0, 0.76), row("neural+forest", 1, 0.78)])
    assert "| Diatoms | 0.7000 (1 run) | **0.7700 ± 0.0141** | 0.758 | 0.530 | 0.514 | 0.379 |" in page
    assert "| Diatoms | 2,065 × 377 | 61 s, 0.50 | 61 s, 0.60 |" in page
    assert "| Diatoms | 0.75 |" in page
    assert r"61\* s" in hmc.report([row("forest", 0, 0.7, **{"other cores": 1.0})])
