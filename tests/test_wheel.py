"""A wheel is built, installed where nothing else is, and does the main job there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import hclf
from hclf.scorers.table import OF_NEURAL

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 2_000_000
SHIPPED = ("icd10-mini", "products")
pytestmark = pytest.mark.slow


def _run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program away from this checkout and its environment; return its standard output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HCLF", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean | variables, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of a new environment with the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=True)
    interpreter = folder / "venv" / "bin" / "python"
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(interpreter, *pip, "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return interpreter


@pytest.fixture
def shell(python, tmp_path):
    """Runs `hclf …` of the clean environment in an empty folder."""
    cache = tmp_path / "cache"
    empty = tmp_path / "empty"
    empty.mkdir()
    return lambda *arguments: _run(python.with_name("hclf"), *arguments, cwd=empty, HCLF_CACHE_DIR=str(cache))


def test_the_wheel_holds_what_it_should_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"hclf-{hclf.__version__}.dist-info"
    expected = {str(file.relative_to(ROOT)) for file in (ROOT / "hclf").rglob("*") if file.is_file()}
    expected = {name for name in expected if "__pycache__" not in name}
    shipped = {
        f"hclf/_shipped/{file.relative_to(ROOT)}"
        for folder in ("taxonomy", "examples")
        for file in (ROOT / folder).rglob("*")
        if file.is_file()
    }
    assert names - {name for name in names if name.startswith(f"{info}/")} == expected | shipped
    assert {"hclf/py.typed", "hclf/formats/schema.json"} <= names
    for name in SHIPPED:
        assert f"hclf/_shipped/taxonomy/{name}.yaml" in names
        assert f"hclf/_shipped/examples/{name}/train.jsonl" in names
    assert {f"{info}/{part}" for part in ("METADATA", "RECORD", "entry_points.txt", "licenses/LICENSE")} <= names
    assert wheel.stat().st_size < MAX_BYTES


def test_the_wheel_is_named_as_its_version_says(wheel):
    assert wheel.name == f"hclf-{hclf.__version__}-py3-none-any.whl"


def test_nothing_of_ours_is_needed_besides_the_declared_dependencies(python, tmp_path):
    names = {p["name"].lower() for p in json.loads(_run(python, "-m", "pip", "list", "--format=json", cwd=tmp_path))}
    assert not names & {"pytest", "hypothesis", "pyarrow", "torch", "pandas", "mypy", "build"}
    _run(python, "-m", "pip", "check", cwd=tmp_path)


def test_every_module_imports_there(python, tmp_path):
    code = (
        "import importlib, pkgutil, hclf\n"
        "from hclf.errors import MissingExtraError\n"
        "for module in pkgutil.walk_packages(hclf.__path__, 'hclf.'):\n"
        "    try: importlib.import_module(module.name)\n"
        "    except ModuleNotFoundError as error: print(module.name, error.name)\n"
        "    except MissingExtraError as error: print(module.name, str(error).split('hclf')[-1])"
    )
    lacking = {tuple(line.split()) for line in _run(python, "-W", "error", "-c", code, cwd=tmp_path).splitlines()}
    extras = ("hclf.scorers.neural.", "hclf.scorers.prompt.engines.")
    networks = {(module, name) for module, name in lacking if module.startswith(extras)}
    assert {name for _, name in networks} <= {*OF_NEURAL, "jinja2", "[neural]'", "[prompt]'"}  # as is SKOS
    assert lacking - networks == {(f"hclf.formats.skos.{part}", "rdflib") for part in ("concepts", "emit", "words")}


@pytest.mark.parametrize(("scorer", "more"), [("neural", []), ("prompt", ["--model", "m"])])
def test_what_needs_an_extra_says_which_there(python, tmp_path, scorer, more):
    data = ROOT / "examples" / "products" / "train.jsonl"
    command = ["train", "-t", "products", "-d", data, "--scorer", scorer, *more, "-o", tmp_path / "model"]
    done = subprocess.run([python.with_name("hclf"), *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    said = f"hclf: scorer '{scorer}' needs an extra that is not installed: pip install 'hclf[{scorer}]'"
    assert done.stderr.splitlines()[-1] == said


def test_the_main_job_there(shell, tmp_path):
    examples = ROOT / "examples" / "products"
    rows = (examples / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(rows[:80]), encoding="utf-8")
    assert shell("--version") == f"hclf {hclf.__version__}\n"
    assert json.loads(shell("taxonomy", "stats", "icd10-mini", "--json"))["id"] == "icd10-mini"
    assert "ICD-10" in shell("taxonomy", "stats", "icd10-mini")
    shell("train", "-t", "products", "-d", tmp_path / "train.jsonl", "-o", tmp_path / "model")
    shell("predict", tmp_path / "model", examples / "test.jsonl", "-o", tmp_path / "predictions.jsonl")
    assert "all closed and coherent" in shell("check", tmp_path / "predictions.jsonl", "-t", "products")
    said = json.loads(shell("evaluate", tmp_path / "model", examples / "test.jsonl", "--json"))
    assert 0.3 < said["metrics"]["hF"] < 1


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_taxonomies_and_examples_are_found_there(python, tmp_path, name):
    code = (
        "import hclf, sys; from hclf.registry import shipped_folder\n"
        f"assert '_shipped' in str(hclf.shipped_taxonomies()[{name!r}]), hclf.shipped_taxonomies()\n"
        f"assert (shipped_folder('examples') / {name!r} / 'test.jsonl').is_file()\n"
        f"print(len(hclf.load_taxonomy({name!r}, cache=False)))"
    )
    assert int(_run(python, "-c", code, cwd=tmp_path)) == len(hclf.load_taxonomy(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_taxonomies_are_found_in_an_editable_install_from_anywhere(tmp_path, name):
    code = f"import hclf; print(len(hclf.load_taxonomy({name!r}, cache=False)), hclf.shipped_taxonomies()[{name!r}])"
    size, file = _run(sys.executable, "-c", code, cwd=tmp_path).split(maxsplit=1)
    assert int(size) == len(hclf.load_taxonomy(name))
    assert Path(file.strip()) == ROOT / "taxonomy" / f"{name}.yaml"


def test_an_absent_extra_says_how_to_get_it(python, tmp_path):
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    code = (
        "import hclf\n"
        "try:\n    list(hclf.read_documents('data.parquet'))\n"
        "except hclf.HclfError as error:\n    print(error)"
    )
    assert "pip install 'hclf[parquet]'" in _run(python, "-c", code, cwd=tmp_path)
