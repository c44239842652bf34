"""The main job on Open Food Facts: train, evaluate on the test part, check that every answer is closed.

    python benchmarks/openfoodfacts.py            # writes benchmarks/results/openfoodfacts.md

Runs the commands a user would type, each in a process of its own. An item is test if the first byte of
sha1(id + TAB + title) is below 51 (the data README). Nothing is tuned on the test part: thresholds and calibration
come from a part of train that `hclf train` holds out. `--seeds 3` repeats the fit with other seeds.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("HCLF_DATA", ROOT.parent / "shared" / "data")) / "openfoodfacts"
FIELDS = "title,brand,description,ingredients,quantity,countries"
TAXONOMIES = {"names in all languages": "categories.full.json.gz", "one name a node": "taxonomy.tsv"}


def split(folder: Path) -> tuple[Path, Path]:
    """Write the two parts of the data README's split."""
    parts = {name: folder / f"{name}.jsonl" for name in ("train", "test")}
    with gzip.open(DATA / "items.jsonl.gz", "rt", encoding="utf-8") as items:
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for number, line in enumerate(items):
            item = json.loads(line)
            first = hashlib.sha1(f"{item['id']}\t{item['title']}".encode()).digest()[0]
            item["id"] = f"{number}-{item['id']}"  # damaged ids repeat; predictions are matched by id
            lines["test" if first < 51 else "train"].append(json.dumps(item, ensure_ascii=False))
    for name, path in parts.items():
        path.write_text("\n".join(lines[name]) + "\n", encoding="utf-8")
    return parts["train"], parts["test"]


def run(*arguments: str | Path) -> tuple[str, float, float]:
    """Run hclf; return stdout, seconds and peak memory in GB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hclf", *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"hclf {arguments[0]} failed")
    return out, time.perf_counter() - began, usage.ru_maxrss / 1e6


def measure(folder: Path, train: Path, test: Path, taxonomy: str, seed: int) -> dict[str, float]:
    model, predictions = folder / "model", folder / "predictions.jsonl"
    _, fit_s, fit_gb = run(
        "train", "-t", DATA / taxonomy, "-d", train, "-o", model, "-f", "--fields", FIELDS, "--seed", str(seed)
    )
    result = json.loads(run("evaluate", model, test, "--json")[0])
    _, predict_s, predict_gb = run("predict", model, test, "-o", predictions, "-f")
    checked = json.loads(run("check", predictions, "-t", DATA / taxonomy, "--json")[0])
    metrics = result["metrics"]
    return {
        **{key: metrics[key] for key in ("hF", "hF_example", "macro_f1", "exact_match", "auprc")},
        "closed": float(checked["ok"]),
        "unknown": result["unknown"] / result["documents"],
        "fit s": fit_s,
        "fit GB": fit_gb,
        "predict s": predict_s,
        "predict GB": predict_gb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/openfoodfacts.md")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: no data at {DATA}; set HCLF_DATA")
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train, test = split(folder)
        for name, file in TAXONOMIES.items():
            runs = [measure(folder, train, test, file, seed) for seed in range(arguments.seeds)]
            rows.append((name, {key: statistics.median(r[key] for r in runs) for key in runs[0]}))
            spread = max(r["hF"] for r in runs) - min(r["hF"] for r in runs)
            print(name, {key: round(value, 4) for key, value in rows[-1][1].items()}, f"hF spread {spread:.4f}")
    write(arguments.out, rows, arguments.seeds)


def write(path: Path, rows: list[tuple[str, dict[str, float]]], seeds: int) -> None:
    keys = list(rows[0][1])
    lines = [
        "# Open Food Facts",
        "",
        f"`python benchmarks/openfoodfacts.py --seeds {seeds}`: medians over {seeds} seeds. The data README's split, "
        "all 12,651 nodes; whole processes, from raw text; thresholds and calibration from a held-out part of train.",
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, commit {commit()}.",
        "",
        "| taxonomy | " + " | ".join(keys) + " |",
        "|---|" + "---|" * len(keys),
    ]
    lines += [f"| {name} | " + " | ".join(f"{row[key]:.3f}" for key in keys) + " |" for name, row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))


def commit() -> str:
    return subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()


if __name__ == "__main__":
    main()
