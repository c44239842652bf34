"""Real files load, with the counts their owners state. Skipped where the data is absent."""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hclf import formats
from hclf.errors import TaxonomyError
from hclf.taxonomy import Taxonomy

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("HCLF_DATA") or Path(__file__).parents[2] / "shared" / "data")
GOOGLE = {"en-US": 5_582, "de-DE": 5_427, "es-ES": 5_427, "fr-FR": 5_427, "pt-BR": 5_427, "ja-JP": 5_442}
SHOPIFY = ("en", "de", "es", "fr", "ja", "pt-BR", "zh-CN")
GRAPHS = {
    "bestbuy/taxonomy.tsv": (6_712, 7_307, 444, 10),
    "bestbuy/categories.json.gz": (6_712, 7_307, 444, 10),
    "openfoodfacts/taxonomy.tsv": (12_651, 14_753, 1_982, 11),
    "openfoodfacts/categories.full.json.gz": (12_651, 14_753, 1_982, 11),
    "shopify_taxonomy/categories_2025-08-unstable.en.txt.gz": (10_595, 10_569, 0, 8),
    "shopify_taxonomy/categories_2026-08-unstable.en.txt.gz": (14_606, 14_580, 0, 8),
    "google_taxonomy/taxonomy-with-ids.en-US.txt.gz": (5_582, 5_561, 0, 7),
    "instacart/taxonomy.tsv": (155, 134, 0, 2),
    "fashion_styles/taxonomy.tsv": (224, 217, 0, 3),
    "hoc/taxonomy.txt": (37, 27, 0, 3),
}


@lru_cache
def load(name: str) -> Taxonomy:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}; set HCLF_DATA to the folder of real data")
    return formats.read(path)


def counts(t: Taxonomy) -> tuple[int, int, int, int]:
    return len(t), len(t.parents.indices), int((np.diff(t.parents.indptr) > 1).sum()), t.depth


@pytest.mark.parametrize("name", GRAPHS)
def test_counts_are_those_of_the_source(name: str) -> None:
    assert counts(load(name)) == GRAPHS[name]


@pytest.mark.parametrize("folder", ["bestbuy/categories.json.gz", "openfoodfacts/categories.full.json.gz"])
def test_the_original_file_and_the_table_made_of_it_are_one_graph(folder: str) -> None:
    original, table = load(folder), load(str(Path(folder).parent / "taxonomy.tsv"))
    assert original.nodes == table.nodes
    assert set(original.edges()) == set(table.edges())


def test_open_food_facts_keeps_all_its_languages() -> None:
    about = load("openfoodfacts/categories.full.json.gz").describe()
    assert len(about["languages"]) > 200
    assert about["synonyms"] > 18_000


def test_google_in_six_languages() -> None:
    """The README's 5,582 is en-US of 2019; the other locales are Google's release of 2015, and smaller."""
    found = {locale: load(f"google_taxonomy/taxonomy-with-ids.{locale}.txt.gz") for locale in GOOGLE}
    assert {locale: len(t) for locale, t in found.items()} == GOOGLE
    assert {t.version for locale, t in found.items() if locale != "en-US"} == {"2015-02-19"}
    assert found["en-US"].version == "2019-07-10"
    assert {t.depth for t in found.values()} == {7}
    same = [found[locale] for locale in GOOGLE if GOOGLE[locale] == 5_427]
    assert all(one.nodes == other.nodes for one, other in pairwise(same))
    assert all(set(one.edges()) == set(other.edges()) for one, other in pairwise(same))
    assert set(same[0]) < set(found["en-US"])


def test_shopify_in_seven_languages_is_one_graph() -> None:
    """Translations give some siblings one name: they stay two nodes."""
    found = {lang: load(f"shopify_taxonomy/categories_2025-08-unstable.{lang}.txt.gz") for lang in SHOPIFY}
    for t in found.values():
        assert t.nodes == found["en"].nodes
        assert set(t.edges()) == set(found["en"].edges())
        assert t.version == "2025-08-unstable"


def test_level_columns_give_the_tree_of_the_fashion_table(tmp_path: Path) -> None:
    t = load("fashion_styles/taxonomy.tsv")
    leaves = [n for n, leaf in zip(t.nodes, t.is_leaf, strict=True) if leaf]
    rows = ["master\tsub\tarticle", *("\t".join(t[up].name for up in t.path(leaf)) for leaf in leaves)]
    (tmp_path / "styles.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    columns = formats.read(tmp_path / "styles.tsv", levels="master,sub,article")
    assert counts(columns) == counts(t)
    assert sorted(columns.names) == sorted(t.names)


REFUSED = {
    "bestbuy/taxonomy.tsv": "the same path of names as",
    "openfoodfacts/categories.full.json.gz": "the same path of names as",
}


@pytest.mark.parametrize("suffix", [".yaml", ".tsv", ".csv", ".txt", ".json", ".taxonomy"])
@pytest.mark.parametrize(
    "name",
    [
        "bestbuy/taxonomy.tsv",
        "openfoodfacts/categories.full.json.gz",
        "shopify_taxonomy/categories_2026-08-unstable.en.txt.gz",
        "google_taxonomy/taxonomy-with-ids.ja-JP.txt.gz",
        "instacart/taxonomy.tsv",
        "hoc/taxonomy.txt",
    ],
)
def test_round_trips_keep_the_graph(tmp_path: Path, name: str, suffix: str) -> None:
    t, path = load(name), tmp_path / f"copy{suffix}"
    if suffix == ".txt" and name in REFUSED:
        # Siblings of one name, some with children: lines of paths could not tell whose they are.
        with pytest.raises(TaxonomyError, match=REFUSED[name]):
            formats.write(t, path)
        return
    formats.write(t, path)
    back = formats.read(path)
    assert back.nodes == t.nodes
    assert set(back.edges()) == set(t.edges())
    if suffix in (".yaml", ".json"):
        assert formats.losses(t, back) == []
        assert back == t
