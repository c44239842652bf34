from __future__ import annotations

import datetime as dt
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dags import rich_taxonomies
from hypothesis import HealthCheck, given, settings

from hclf import formats, registry
from hclf.formats import cache
from hclf.taxonomy import Node, Rule, Taxonomy

TABLE = "id\tname\tparents\na\tAll\t\nb\tBags\ta\nc\tCups\ta\nd\tDeep\tb|c\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HCLF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HCLF_CACHE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "shop.tsv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that were really read."""
    seen: list[Path] = []

    def read(path: Path, *args: Any, **options: Any) -> Taxonomy:
        seen.append(path)
        return formats.read(path, *args, **options)

    monkeypatch.setattr(registry, "read_file", read)
    return seen


def same(one: Taxonomy, other: Taxonomy) -> bool:
    """Everything equal, not just the fingerprint."""
    return (
        [one.node(j) for j in range(len(one))] == [other.node(j) for j in range(len(other))]
        and one.header == other.header
        and (one.level_names, one.rules, one.fingerprint) == (other.level_names, other.rules, other.fingerprint)
        and all(
            np.array_equal(x, y) and x.dtype == y.dtype
            for x, y in zip(
                (*one.parents, *one.children, one.levels),
                (*other.parents, *other.children, other.levels),
                strict=True,
            )
        )
    )


def test_a_second_load_comes_from_the_cache(table: Path, reads: list[Path], folder: Path) -> None:
    first, second = registry.load_taxonomy(table), registry.load_taxonomy(str(table))
    assert reads == [table]
    assert same(first, second)
    assert second is not first
    assert [path.suffix for path in folder.iterdir()] == [".npz"]
    assert second.coherent(np.array([[0, 0, 0, 1.0]])).tolist() == [[1, 1, 1, 1]]
    with pytest.raises(ValueError, match="read-only"):
        second.levels[0] = 9


@pytest.mark.slow
@given(rich_taxonomies())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_everything_a_taxonomy_says_is_kept(t: Taxonomy) -> None:
    assert cache.store("k", t)
    back = cache.load("k")
    assert back is not None
    assert same(back, t)
    assert "fingerprint" in back.__dict__  # seeded, not computed


def test_rules_dates_and_nested_meta_are_kept() -> None:
    node = Node(
        "a", {"fr": "A"}, {"": ("x",)}, "d", False, dt.date(1999, 12, 31), dt.date(2020, 1, 1), {"k": [{"l": None}]}
    )
    rule = Rule("requires", "a", ("b",), "hard", 2, "n", "s", "below", True)
    t = Taxonomy([node, "b"], rules=[rule, Rule("at_most", "b"), rule], level_names=["one"], version="3")
    assert cache.store("k", t)
    back = cache.load("k")
    assert back is not None
    assert same(back, t)


def test_a_meta_json_would_change_is_not_cached() -> None:
    for value in ({1: "a"}, ("tuple",), dt.date(2020, 1, 1), float("nan")):
        assert not cache.store("k", Taxonomy([Node("a", meta={"k": value})]))
    assert cache.load("k") is None


def test_it_can_be_switched_off(
    table: Path, reads: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.load_taxonomy(table, cache=False)
    monkeypatch.setenv("HCLF_CACHE", "0")
    registry.load_taxonomy(table)
    assert len(reads) == 2
    assert not folder.exists()


def test_the_key_holds_content_reader_options_name_and_version(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.tsv"
    other.write_text(TABLE)
    changed = tmp_path / "sub" / "shop.tsv"
    changed.parent.mkdir()
    changed.write_text(TABLE + "e\t\ta\n")
    keys = [
        cache.key(table, "", {}),
        cache.key(other, "", {}),
        cache.key(changed, "", {}),
        cache.key(table, "table", {}),
        cache.key(table, "", {"delimiter": "\t"}),
    ]
    monkeypatch.setattr(cache, "__version__", "9.9.9")
    keys.append(cache.key(table, "", {}))
    monkeypatch.setattr(cache, "_code", lambda: [("table.py", 1, 2)])
    keys.append(cache.key(table, "", {}))
    assert len(set(keys)) == len(keys)
    changed.write_text(TABLE)
    assert cache.key(changed, "", {"b": 1, "a": 2}) == cache.key(table, "", {"a": 2, "b": 1})
    assert cache.key(tmp_path / "none", "", {}) == ""


def test_a_changed_file_is_read_again(table: Path, reads: list[Path]) -> None:
    registry.load_taxonomy(table)
    table.write_text(TABLE + "e\t\ta\n")
    assert "e" in registry.load_taxonomy(table)
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "pickle", "inconsistent", "other keys"])
def test_a_damaged_or_foreign_file_is_ignored_and_rewritten(
    table: Path, reads: list[Path], folder: Path, damage: str
) -> None:
    good = registry.load_taxonomy(table)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    if damage == "pickle":
        np.savez(path, text=np.array([{"code": print}], dtype=object), allow_pickle=True)
    elif damage == "inconsistent":
        with np.load(path) as arrays:
            parts = dict(arrays)
        parts["indices"] = parts["indices"] + 99
        whole = [parts[name] for name in cache.ARRAYS[:-1]]
        np.savez(path, **{**parts, "checksum": np.frombuffer(cache._checksum(*whole), dtype=np.uint8)})
    elif damage == "other keys":
        np.savez(path, x=np.zeros(3))
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "foreign": b"PK" * 99}[damage])
    assert same(registry.load_taxonomy(table), good)
    assert len(reads) == 2
    assert same(registry.load_taxonomy(table), good)
    assert len(reads) == 2  # rewritten


def test_no_flipped_byte_is_ever_believed(table: Path, folder: Path) -> None:
    good = registry.load_taxonomy(table)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        found = cache.load(path.stem)
        assert found is None or same(found, good)  # padding and dates of the container may change


@pytest.mark.parametrize(
    ("indptr", "indices", "levels"),
    [
        ([0, 0], [], [1, 1]),
        ([0, 0, 2], [0], [1, 2]),
        ([1, 1, 1], [0], [1, 2]),
        ([0, 1, 0], [], [1, 2]),
        ([0, 0, 1], [-1], [1, 2]),
        ([0, 0, 1], [1], [1, 2]),
        ([0, 0, 1], [0], [2, 1]),
    ],
)
def test_arrays_that_are_no_taxonomy_are_refused(indptr: list[int], indices: list[int], levels: list[int]) -> None:
    arrays = [np.array(x, dtype=np.int64) for x in (indptr, indices, levels)]
    assert not cache._consistent(2, cache.Edges(arrays[0], arrays[1]), arrays[2])
    floats = [x.astype(float) for x in arrays]
    assert not cache._consistent(2, cache.Edges(floats[0], floats[1]), floats[2])  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_silent(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("HCLF_CACHE_DIR", str(blocker / "cache"))
    assert len(registry.load_taxonomy(table)) == 4
    assert not cache.store("k", Taxonomy(["a"]))


def test_a_full_disk_is_silent_and_leaves_nothing(table: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: Any, **arrays: Any) -> None:
        handle.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(registry.load_taxonomy(table)) == 4
    assert list(folder.iterdir()) == []


def test_only_the_newest_are_kept(folder: Path) -> None:
    for i in range(5):
        assert cache.store(f"k{i}", Taxonomy([f"n{i}"]))
        os.utime(folder / f"k{i}.npz", (i, i))
    assert cache.load("k0") is not None  # used just now: no longer the oldest
    (folder / "dead.npz.1.part").write_text("")
    os.utime(folder / "dead.npz.1.part", (0, 0))
    (folder / "alive.npz.2.part").write_text("")
    cache.prune(keep=2)
    assert sorted(path.name for path in folder.iterdir()) == ["alive.npz.2.part", "k0.npz", "k4.npz"]


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert cache.folder() == folder
    monkeypatch.delenv("HCLF_CACHE_DIR")
    assert cache.folder().name == "hclf"


def test_cached_files_hold_nothing_that_could_run(table: Path, folder: Path) -> None:
    registry.load_taxonomy(table)
    (path,) = folder.iterdir()
    with np.load(path, allow_pickle=False) as arrays:
        assert {name: arrays[name].dtype.kind for name in arrays} == {
            "indptr": "i",
            "indices": "i",
            "levels": "i",
            "text": "u",
            "checksum": "u",
        }
    assert not path.stat().st_mode & stat.S_IXUSR
