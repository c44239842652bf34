"""The picture of the peer benchmark shows every method that finished, and is the same file each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import frontier

ROWS = [  # peer, variant, hF, fit seconds, documents/s, on either frontier
    ("hclf", "names", 0.9, 20.0, 500.0, True, True),
    ("hclf", "plain", 0.8, 30.0, 400.0, False, False),
    ("svm", "plain", 0.7, 1.0, 400.0, True, False),
    ("svm", "names-seen", 0.7, 1.0, 2000.0, True, True),
]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "peer": peer,
            "title": peer.upper(),
            "variant": variant,
            "status": "ok",
            "hF": hf,
            "fit_s": fit,
            "documents_per_s": rate,
            "on the fit_s frontier": cheap,
            "on the documents_per_s frontier": fast,
            "other cores": 0.0,
        }
        for peer, variant, hf, fit, rate, cheap, fast in ROWS
    ]
    rows.append({"peer": "never", "title": "NEVER", "variant": "plain", "status": "over the limit of 900 s"})
    sets = [{"name": name, "title": f"Set {name}", "rows": rows} for name in ("one", "two")]
    file = tmp_path / "peers.json"
    file.write_text(json.dumps({"sets": sets}), encoding="utf-8")
    return file


@pytest.mark.slow
def test_the_picture_is_the_same_each_time(report: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "docs" / "first.svg", tmp_path / "second.svg"
    found = json.loads(report.read_text(encoding="utf-8"))
    frontier.draw(found, first)
    frontier.draw(found, second)
    text = first.read_text(encoding="utf-8")
    assert text == second.read_text(encoding="utf-8")
    assert not re.search(r"dc:date|Matplotlib v", text)
    assert text.count('id="axes_') == 4  # two sets, two panels each
    drawn = set(re.findall(r"<!-- (.+?) -->", text))
    assert {"Set one", "Set two", "1  HCLF", "2  SVM", "hF"} <= drawn
    assert not any("NEVER" in words or "busy" in words for words in drawn)


def test_the_picture_says_when_the_machine_was_busy(report: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = json.loads(report.read_text(encoding="utf-8"))
    found["sets"][1]["rows"][0]["other cores"] = 1.0
    frontier.draw(found, tmp_path / "busy.svg")
    assert "kept the machine busy" in (tmp_path / "busy.svg").read_text(encoding="utf-8")


def test_methods_are_numbered_with_ours_first() -> None:
    rows = [{"peer": "b", "title": "Beta"}, {"peer": "hclf", "title": "hclf"}, {"peer": "a", "title": "alpha"}]
    assert frontier.numbered(rows) == {"hclf": (1, "hclf"), "a": (2, "alpha"), "b": (3, "Beta")}


@pytest.mark.parametrize(
    ("hide", "message"), [(False, "make it: python benchmarks/peers.py"), (True, "pip install 'matplotlib")]
)
def test_what_is_missing_is_said_in_one_line(report: Path, tmp_path: Path, hide: bool, message: str) -> None:
    if hide:
        (tmp_path / "matplotlib.py").write_text("raise ImportError", encoding="utf-8")
    given = report if hide else tmp_path / "none.json"
    command = [sys.executable, frontier.__file__, "--report", str(given), "--out", str(tmp_path / "x.svg")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
