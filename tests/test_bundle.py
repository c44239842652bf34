"""Bundles: law 5 (saved and loaded, bit-identical), law 7 (reading executes nothing), and failures of every kind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from scipy.sparse import csr_matrix

from hclf import bundle
from hclf.bundle import FORMAT_VERSION, MANIFEST, TAXONOMY, check_target, read_bundle, read_manifest, write_bundle
from hclf.classifier import HierarchicalClassifier
from hclf.errors import BundleError
from hclf.registry import load_taxonomy
from hclf.taxonomy import Node, Rule, Taxonomy

PART = "linear.npz"


@pytest.fixture
def saved(pets_model: HierarchicalClassifier, tmp_path: Path) -> Path:
    """A saved model, alone in its folder."""
    path = tmp_path / "models" / "pets"
    pets_model.save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def change_manifest(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    change(manifest)
    sign(path, manifest)


def sign(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with the checksum that fits it."""
    manifest["checksum"] = bundle._digest(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def resign(path: Path) -> None:
    """Make the checksums fit the files again: what someone would do who means harm."""
    change_manifest(path, lambda m: m["files"].update({name: bundle._checksum(path / name) for name in m["files"]}))


# -- there and back ----------------------------------------------------------------------------------------------


def assert_same_model(loaded: HierarchicalClassifier, model: HierarchicalClassifier, X: Any) -> None:
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert loaded.predict(X) == model.predict(X)
    assert loaded.thresholds_ == model.thresholds_
    assert loaded.report_ == json.loads(json.dumps(model.report_))
    assert loaded.decoder_ == model.decoder_
    assert loaded.decoder_reason_ == model.decoder_reason_
    assert loaded.classes_.tolist() == model.classes_.tolist()
    assert (loaded.counts_ == model.counts_).all()
    ours, theirs = ({k: v for k, v in m.get_params().items() if k != "taxonomy"} for m in (loaded, model))
    assert ours == json.loads(json.dumps(theirs))


def test_a_loaded_model_is_the_saved_one_bit_for_bit(
    saved: Path, pets_model: HierarchicalClassifier, more_pets: Sample, tmp_path: Path
) -> None:
    loaded = HierarchicalClassifier.load(saved)
    assert_same_model(loaded, pets_model, more_pets.X)
    loaded.save(tmp_path / "again")
    assert_same_model(HierarchicalClassifier.load(str(tmp_path / "again")), pets_model, more_pets.X)
    first, second = contents(saved), contents(tmp_path / "again")
    assert first.keys() == second.keys()
    assert first["linear.json"] == second["linear.json"]
    assert first[TAXONOMY] == second[TAXONOMY]


@pytest.mark.parametrize("name", ["products", "icd10"])
def test_shipped_examples_survive_saving(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model = request.getfixturevalue(f"{name}_model")
    X = request.getfixturevalue(name).X[100:130]
    model.save(tmp_path / "model")
    loaded = HierarchicalClassifier.load(tmp_path / "model", taxonomy=model.taxonomy)
    assert_same_model(loaded, model, X)
    assert loaded.taxonomy_ == model.taxonomy_
    assert loaded.taxonomy_.rules == model.taxonomy_.rules


@pytest.mark.parametrize(
    "options",
    [
        {"decoder": "top-k", "decoder_options": {"k": 2}},
        {"decoder": "path", "decoder_options": {"to_leaf": True}},
        {"flat": True},
        {"thresholds": (0.3, 0.5), "closure": "prune", "coherence": "isotonic"},
        {"goal": "precision>=0.9", "search": "grid", "per_level": False, "seed": 3},
        {"scorer_options": {"C": 0.5, "field_weights": {"text": 2.0}}, "partial_labels": "negative"},
    ],
    ids=str,
)
def test_every_setting_survives_saving(
    options: dict[str, Any], pets: Sample, more_pets: Sample, tmp_path: Path
) -> None:
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, **options).fit(pets.X, pets.y)
    model.save(tmp_path / "model")
    assert_same_model(HierarchicalClassifier.load(tmp_path / "model"), model, more_pets.X)


def test_a_loaded_model_can_be_tuned_fitted_and_saved_again(saved: Path, pets: Sample, more_pets: Sample) -> None:
    loaded = HierarchicalClassifier.load(saved)
    loaded.tune(more_pets.X, more_pets.y).save(saved, force=True)
    again = HierarchicalClassifier.load(saved)
    assert again.thresholds_ == loaded.thresholds_
    assert again.fit(pets.X, pets.y).predict(more_pets.X)


def test_a_model_of_numbers_survives_saving(pets: Sample, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = csr_matrix(rng.normal(size=(60, 5)))
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1).fit(X, pets.y)
    model.save(tmp_path / "model")
    assert_same_model(HierarchicalClassifier.load(tmp_path / "model"), model, X)


def test_odd_ids_names_and_texts_survive_saving(tmp_path: Path) -> None:
    nodes = [
        Node("no", {"de": "Käse: 'x'"}),
        Node("010"),
        Node("1.10", {"": "null"}),
        Node("中 文", assignable=False),
    ]
    taxonomy = Taxonomy(nodes, [("no", "010")], id="~", version="1.0", rules=[Rule("excludes", "no", ("1.10",))])
    X = ["caf\ud800e x", "caf\ud800e y", "nul \0 z", "🧀 w", "q"]
    model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=1).fit(X, [["no"], ["010"], ["1.10"], ["中 文"], []])
    model.save(tmp_path / "model")
    assert_same_model(HierarchicalClassifier.load(tmp_path / "model"), model, X)
    assert read_bundle(tmp_path / "model").taxonomy == taxonomy


@pytest.mark.parametrize(
    "options", [{"thresholds": np.array([0.3, 0.5])}, {"seed": np.int64(3)}], ids=["array", "int"]
)
def test_settings_made_by_numpy_can_be_saved(options: dict[str, Any], pets: Sample, tmp_path: Path) -> None:
    model = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, **options).fit(pets.X, pets.y)
    model.save(tmp_path / "model")
    assert HierarchicalClassifier.load(tmp_path / "model").predict(pets.X) == model.predict(pets.X)


def test_a_flat_baseline_rides_along(pets: Sample, pets_model: HierarchicalClassifier, tmp_path: Path) -> None:
    flat = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, flat=True).fit(pets.X, pets.y)
    pets_model.save(tmp_path / "both", baseline=flat)
    pets_model.save(tmp_path / "alone")
    baseline = HierarchicalClassifier.load_baseline(tmp_path / "both")
    assert baseline is not None
    assert_same_model(baseline, flat, pets.X)
    assert_same_model(HierarchicalClassifier.load(tmp_path / "both"), pets_model, pets.X)
    assert HierarchicalClassifier.load_baseline(tmp_path / "alone") is None


def test_a_bundle_holds_what_the_docstring_says(saved: Path, pets: Sample) -> None:
    manifest = read_manifest(saved)
    assert set(contents(saved)) == {MANIFEST, TAXONOMY, "linear.json", PART}
    assert set(manifest["files"]) == {TAXONOMY, "linear.json", PART}
    assert manifest["format_version"] == FORMAT_VERSION
    assert manifest["taxonomy"]["fingerprint"] == pets.taxonomy.fingerprint
    assert load_taxonomy(saved / TAXONOMY) == pets.taxonomy
    assert saved.stat().st_mode & 0o055 == 0o055  # colleagues may read it
    assert [file.name for file in saved.parent.iterdir()] == ["pets"]


def test_no_training_text_is_in_a_manifest(saved: Path, pets: Sample) -> None:
    text = (saved / MANIFEST).read_text(encoding="utf-8")
    assert not any(document in text for document in pets.X)


def test_the_manifest_is_read_without_scikit_learn(saved: Path) -> None:
    program = (
        "import sys; from hclf.bundle import read_manifest; "
        f"assert read_manifest({str(saved)!r})['report']['documents'] == 60; "
        "heavy = {'sklearn', 'torch', 'networkx'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_model_of_the_first_format_is_read(
    saved: Path, pets_model: HierarchicalClassifier, more_pets: Sample
) -> None:
    """It had one scorer: nothing was said of several."""

    def as_it_was(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 1
        del manifest["report"]["fusion"]
        for calibration in (manifest["calibration"], manifest["candidate_calibration"]):
            del calibration["report"]

    change_manifest(saved, as_it_was)
    loaded = HierarchicalClassifier.load(saved)
    assert loaded.predict_proba(more_pets.X).tobytes() == pets_model.predict_proba(more_pets.X).tobytes()


# -- damaged, foreign, hostile -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [TAXONOMY, "linear.json", PART])
@pytest.mark.parametrize("harm", ["flip first", "flip middle", "flip last", "cut", "grow", "empty", "remove"])
def test_a_damaged_file_is_noticed(name: str, harm: str, saved: Path) -> None:
    file = saved / name
    data = bytearray(file.read_bytes())
    where = {"flip first": 0, "flip middle": len(data) // 2, "flip last": -1}.get(harm)
    if where is not None:
        data[where] ^= 1
    file.write_bytes({"cut": data[:-10], "grow": data + b"\n", "empty": b""}.get(harm, bytes(data)))
    if harm == "remove":
        file.unlink()
    with pytest.raises(BundleError, match=rf"damaged: {name} (is missing|does not match)"):
        HierarchicalClassifier.load(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "3",
        '"text"',
        "{",
        "[" * 100_000,
        '{"format_version": "1"}',
        '{"format_version": null}',
    ],
)
def test_a_manifest_that_is_none_is_refused(text: str, saved: Path) -> None:
    (saved / MANIFEST).write_text(text)
    for read in (read_manifest, read_bundle, HierarchicalClassifier.load, HierarchicalClassifier.load_baseline):
        with pytest.raises(BundleError, match=r"damaged|format version"):
            read(saved)


def test_a_manifest_of_other_bytes_is_refused(saved: Path) -> None:
    (saved / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="damaged"):
        read_manifest(saved)


def keys(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in nested dicts."""
    if not isinstance(value, dict):
        return [path]
    return [path] * bool(path) + [found for key, inner in value.items() for found in keys(inner, (*path, key))]


def inner_of(value: Any, path: tuple[Any, ...]) -> Any:
    """The dict that holds the last key of a path."""
    for key in path[:-1]:
        value = value[key]
    return value


HARM = {
    "null": None,
    "number": -7,
    "text": "odd",
    "list": [],
    "dict": {"odd": ["x"]},
}


@pytest.mark.parametrize("value", HARM.values(), ids=HARM)
def test_a_manifest_with_a_wrong_value_ends_in_a_bundle_error_or_in_a_model(value: Any, saved: Path) -> None:
    """One place after the other: nothing but BundleError may come out."""
    whole = (saved / MANIFEST).read_text(encoding="utf-8")
    for place in keys(json.loads(whole)):
        manifest = json.loads(whole)
        inner_of(manifest, place)[place[-1]] = value
        sign(saved, manifest)
        with contextlib.suppress(BundleError):
            HierarchicalClassifier.load(saved)


def test_a_manifest_with_a_missing_value_ends_in_a_bundle_error_or_in_a_model(saved: Path) -> None:
    whole = (saved / MANIFEST).read_text(encoding="utf-8")
    for place in keys(json.loads(whole)):
        manifest = json.loads(whole)
        del inner_of(manifest, place)[place[-1]]
        sign(saved, manifest)
        with contextlib.suppress(BundleError):
            HierarchicalClassifier.load(saved)


@pytest.mark.parametrize("key", ["candidate_calibration", "features", "operating_points"])
def test_a_bundle_of_before_a_key_was_added_says_which(key: str, saved: Path) -> None:
    change_manifest(saved, lambda m: m.pop(key))
    with pytest.raises(BundleError, match=f"another version of hclf made it: it lacks '{key}'; train it anew"):
        HierarchicalClassifier.load(saved)


def test_a_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    change_manifest(saved, lambda m: m.update(format_version=FORMAT_VERSION + 1))
    for read in (read_manifest, HierarchicalClassifier.load):
        with pytest.raises(BundleError, match=f"format version {FORMAT_VERSION + 1}.*upgrade hclf"):
            read(saved)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "sub/../../secret.txt", "..", ".", "a/b"])
def test_file_names_may_not_lead_elsewhere(name: str, saved: Path) -> None:
    (saved.parent / "secret.txt").write_text("secret")
    change_manifest(saved, lambda m: m["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError, match="damaged"):
        HierarchicalClassifier.load(saved)


def test_part_names_may_not_lead_elsewhere(saved: Path) -> None:
    for suffix in (".json", ".npz"):
        (saved.parent / f"stolen{suffix}").write_bytes((saved / f"linear{suffix}").read_bytes())
    change_manifest(saved, lambda m: m.update(parts=["../stolen"]))
    with pytest.raises(BundleError):
        read_bundle(saved)


def test_every_part_is_checked(saved: Path) -> None:
    change_manifest(saved, lambda m: m["files"].pop(PART))
    with pytest.raises(BundleError):
        read_bundle(saved)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def test_pickled_arrays_are_refused_and_nothing_runs(saved: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    with np.load(saved / PART) as found:
        arrays = dict(found)
    np.savez(saved / PART, **{**arrays, "bias": np.array([Bomb(trace)], dtype=object)})
    resign(saved)
    with pytest.raises(BundleError, match="damaged"):
        HierarchicalClassifier.load(saved)
    (saved / PART).write_bytes(pickle.dumps(Bomb(trace)))
    resign(saved)
    with pytest.raises(BundleError, match="damaged"):
        HierarchicalClassifier.load(saved)
    assert not trace.exists()


def test_object_arrays_are_not_written(zoo: Taxonomy, tmp_path: Path) -> None:
    with pytest.raises((BundleError, ValueError)):
        write_bundle(tmp_path / "model", {}, zoo, {"part": ({}, {"x": np.array([object()], dtype=object)})})
    assert list(tmp_path.iterdir()) == []


def test_yaml_that_asks_for_objects_is_refused(saved: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    (saved / TAXONOMY).write_text(f"hclf: 1\nid: !!python/object/apply:os.mkdir ['{trace}']\nnodes: [a]\n")
    resign(saved)
    with pytest.raises(BundleError):
        HierarchicalClassifier.load(saved)
    assert not trace.exists()


def test_another_taxonomy_is_refused(saved: Path, zoo: Taxonomy) -> None:
    other = Taxonomy([*zoo.nodes, "extra"], zoo.edges(), id="other")
    with pytest.raises(BundleError, match=r"'zoo' \(9 nodes.*not for 'other' \(10 nodes"):
        HierarchicalClassifier.load(saved, taxonomy=other)
    with pytest.raises(BundleError, match="'products'"):
        HierarchicalClassifier.load(saved, taxonomy="products")
    assert HierarchicalClassifier.load(saved, taxonomy=zoo).predict(["cat"])


def test_a_changed_digit_in_the_manifest_is_noticed(saved: Path) -> None:
    text = (saved / MANIFEST).read_text(encoding="utf-8")
    (saved / MANIFEST).write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json is damaged: it does not match its checksum"):
        read_manifest(saved)


def test_a_taxonomy_that_was_exchanged_is_noticed(saved: Path) -> None:
    text = (saved / TAXONOMY).read_text(encoding="utf-8")
    (saved / TAXONOMY).write_text(text.replace("Motor cars", "Motor bikes"), encoding="utf-8")
    resign(saved)
    with pytest.raises(BundleError, match="was made for taxonomy 'zoo'"):
        HierarchicalClassifier.load(saved)


def test_what_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, message in (("absent", "hclf train"), ("folder", "hclf train"), ("file", "file")):
        for read in (read_manifest, read_bundle, HierarchicalClassifier.load):
            with pytest.raises(BundleError, match=message):
                read(tmp_path / name)


# -- where a model may be written --------------------------------------------------------------------------------


def test_an_existing_model_is_replaced_on_request_only(saved: Path, pets: Sample) -> None:
    before = contents(saved)
    other = HierarchicalClassifier(taxonomy=pets.taxonomy, n_jobs=1, seed=5).fit(pets.X[:30], pets.y[:30])
    with pytest.raises(BundleError, match=r"exists.*-f.*force=True"):
        other.save(saved)
    assert contents(saved) == before
    other.save(saved, force=True)
    assert_same_model(HierarchicalClassifier.load(saved), other, pets.X)
    assert [file.name for file in saved.parent.iterdir()] == ["pets"]


def test_what_is_no_model_is_never_removed_not_even_by_force(
    pets_model: HierarchicalClassifier, tmp_path: Path
) -> None:
    folder, file, manifest = tmp_path / "thesis", tmp_path / "notes.txt", tmp_path / MANIFEST
    folder.mkdir()
    (folder / "chapter-1.txt").write_text("years of work")
    file.write_text("more work")
    manifest.mkdir()  # a folder of that name makes no model of its parent
    before = contents(tmp_path)
    for place in (folder, file, tmp_path):
        for force in (False, True):
            with pytest.raises(BundleError, match="exists and is not a model"):
                pets_model.save(place, force=force)
            with pytest.raises(BundleError):
                check_target(place, force)
    assert contents(tmp_path) == before


def test_an_empty_folder_and_folders_to_come_will_do(pets_model: HierarchicalClassifier, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        pets_model.save(place)
        assert HierarchicalClassifier.load(place).predict(["cat"])


def test_relative_places_will_do(
    pets_model: HierarchicalClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pets_model.save("model")
    pets_model.save(Path("model"), force=True)
    assert HierarchicalClassifier.load("model").predict(["cat"])
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


# -- writing that fails ------------------------------------------------------------------------------------------


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAILING = {
    "making the folder": ("hclf.bundle.tempfile.mkdtemp", full_disk),
    "writing the taxonomy": ("hclf.bundle.taxonomy_yaml.write", full_disk),
    "writing text": ("pathlib.Path.write_text", full_disk),
    "writing arrays": ("hclf.bundle.np.savez", full_disk),
    "reading back": ("hclf.bundle._checksum", full_disk),
    "flushing": ("hclf.bundle.os.fsync", full_disk),
    "renaming": ("pathlib.Path.rename", full_disk),
}


@pytest.mark.parametrize("step", FAILING)
def test_a_write_that_fails_leaves_the_old_model_and_nothing_else(
    step: str, saved: Path, pets_model: HierarchicalClassifier
) -> None:
    before = contents(saved.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*FAILING[step])
        with pytest.raises(BundleError, match=r"cannot write .*No space left on device"):
            pets_model.save(saved, force=True)
        with pytest.raises(BundleError, match="No space left"):
            pets_model.save(saved.parent / "new")
    assert contents(saved.parent) == before
    assert [file.name for file in saved.parent.iterdir()] == ["pets"]


def test_a_rename_that_fails_half_way_puts_the_old_model_back(
    saved: Path, pets_model: HierarchicalClassifier
) -> None:
    """The old model is moved aside, then the new one moved in: here that second step fails."""
    before, rename, calls = contents(saved.parent), Path.rename, 0

    def sometimes(self: Path, target: Any) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2:
            full_disk()
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", sometimes)
        with pytest.raises(BundleError, match="No space left"):
            pets_model.save(saved, force=True)
    assert calls == 3
    assert contents(saved.parent) == before
    assert [file.name for file in saved.parent.iterdir()] == ["pets"]


def test_an_interrupted_write_leaves_no_debris(saved: Path, pets_model: HierarchicalClassifier) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = contents(saved.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hclf.bundle.np.savez", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pets_model.save(saved, force=True)
    assert contents(saved.parent) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(pets_model: HierarchicalClassifier, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BundleError, match=r"cannot write .*model: Permission denied"):
            pets_model.save(tmp_path / "model")
    finally:
        tmp_path.chmod(0o700)


def test_a_link_to_a_model_is_replaced_without_debris(saved: Path, pets_model: HierarchicalClassifier) -> None:
    link = saved.parent / "latest"
    link.symlink_to(saved)
    pets_model.save(link, force=True)
    assert sorted(file.name for file in saved.parent.iterdir()) == ["latest", "pets"]
    assert HierarchicalClassifier.load(link).predict(["cat"])
