from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hclf import registry
from hclf.errors import TaxonomyError, UsageError
from hclf.taxonomy import Taxonomy


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLF_CACHE_DIR", str(tmp_path / "cache"))


def test_shipped_taxonomies_are_found_and_load() -> None:
    shipped = registry.shipped_taxonomies()
    assert {"icd10-mini", "products"} <= set(shipped)
    for name, path in shipped.items():
        assert registry.find(name) == path
        assert len(registry.load_taxonomy(name)) >= 350


def test_a_taxonomy_is_handed_back() -> None:
    t = Taxonomy(["a"])
    assert registry.load_taxonomy(t) is t


def test_files_are_found_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.tsv").write_text("id\tparents\na\t\n")
    (tmp_path / "products").write_text("A > B\n")
    monkeypatch.chdir(tmp_path)
    assert registry.load_taxonomy("shop.tsv") == registry.load_taxonomy(tmp_path / "shop.tsv")
    assert len(registry.load_taxonomy("products")) == 2  # a file goes before a shipped name


def test_a_folder_does_not_hide_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "products").mkdir()
    monkeypatch.chdir(tmp_path)
    assert registry.load_taxonomy("products").id == "products"


def test_options_and_format_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\nA,B\n")
    assert set(registry.load_taxonomy(path, levels="a,b")) == {"a", "a/b"}
    assert set(registry.load_taxonomy(path, levels="b")) == {"b"}
    assert set(registry.load_taxonomy(path, format="table")) == {"a", "b", "A", "B"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("icd10mini", "no taxonomy 'icd10mini': neither a file nor a shipped name; did you mean 'icd10-mini'?"),
        ("zzz", "no taxonomy 'zzz': neither a file nor a shipped name; shipped are icd10-mini, products"),
        ("shopp.tsv", "no such file: shopp.tsv; did you mean 'shop.tsv'?"),
        ("./shop", "no such file: shop"),
        ("no/such/folder.yaml", "no such file: no/such/folder.yaml"),
        (".", ". is a folder; give a taxonomy file"),
    ],
)
def test_unknown_names_say_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    (tmp_path / "shop.tsv").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        registry.find(name)
    assert str(caught.value).startswith(message)


def test_faults_of_a_file_are_raised(tmp_path: Path) -> None:
    (tmp_path / "shop.tsv").write_text("id\tparents\na\tb\n")
    with pytest.raises(TaxonomyError, match="unknown parent 'b'"):
        registry.load_taxonomy(tmp_path / "shop.tsv")


@pytest.mark.parametrize("layout", ["wheel", "checkout"])
def test_shipped_files_are_found_in_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    folder = tmp_path / "hclf" / "_shipped" / "taxonomy" if layout == "wheel" else tmp_path / "taxonomy"
    folder.mkdir(parents=True)
    (folder / "tools.yaml").write_text("hclf: 1\nnodes: [a]\n")
    (folder / "README.md").write_text("not a taxonomy")
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "hclf" / "registry.py"))
    assert registry.shipped_taxonomies() == {"tools": folder / "tools.yaml"}
    assert registry.shipped_folder("taxonomy") == folder
    with pytest.raises(UsageError, match="ships no folder 'examples'"):
        registry.shipped_folder("examples")


def test_an_installation_that_ships_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "hclf" / "registry.py"))
    assert registry.shipped_taxonomies() == {}
    with pytest.raises(UsageError, match="shipped are none"):
        registry.find("products")


def test_loading_imports_no_heavy_library() -> None:
    code = (
        "import sys; from hclf.registry import load_taxonomy; load_taxonomy('products'); "
        "print([m for m in ('sklearn', 'torch', 'scipy', 'networkx', 'pandas') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
