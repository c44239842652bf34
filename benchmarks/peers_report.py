"""The report of the peer benchmark: Markdown for readers, JSON for plots, from the rows that runs left behind."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine_load import BUSY, was_busy
from peers_scoring import COMPARED

Row = dict[str, Any]
OURS, DEFAULT = "hclf", "names"
DIFFERENCE = "hclf minus this"
TIMED = ("fit s", "documents/s")
BUSY_NOTE = (
    f"\\* behind a figure: timed while other processes kept more than {BUSY:g} cores busy, or it was not recorded; "
    "slower than it would be alone."
)

COLUMNS: tuple[tuple[str, str, str, float], ...] = (
    # heading, key of a row, format, factor
    ("hF", "hF", ".3f", 1),
    ("macro-F1", "macro-F1", ".3f", 1),
    ("tail macro-F1", "macro-F1 tail", ".3f", 1),
    ("exact match", "exact match", ".3f", 1),
    ("top-1", "top-1", ".3f", 1),
    ("hit@10", "hit@10", ".3f", 1),
    ("right category", "right category", ".3f", 1),
    ("top-1, hard", "top-1, hard", ".3f", 1),
    ("fit s", "fit_s", ".1f", 1),
    ("documents/s", "documents_per_s", ",.0f", 1),
    ("fit GB", "fit_mib", ".2f", 2**20 / 1e9),
    ("predict GB", "predict_mib", ".2f", 2**20 / 1e9),
    ("disk MB", "model_bytes", ",.1f", 1e-6),
)


def write_report(base: Path, out: Path, commit: str, title: str = "hclf and its peers") -> None:
    """Write `peers.md` and `peers.json` from all sets under `base` that have rows."""
    folders = sorted(file.parent for file in base.glob("*/sizes.json"))
    sets = [one for one in map(_set, folders) if one["rows"]]
    if not sets:
        return
    report = {"title": title, "machine": machine(), "commit": commit, "versions": _versions(sets), "sets": sets}
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "peers.md").write_text("\n".join(_markdown(report)) + "\n", encoding="utf-8")
    print(f"written: {out / 'peers.md'}, {out / 'peers.json'}")


def machine() -> dict[str, Any]:
    """Return what runs this: processor, cores, memory, system."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _set(folder: Path) -> dict[str, Any]:
    """Return a set's rows, best first, with paired differences and places on the frontiers."""
    about = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
    files = sorted((folder / "runs").glob("*.json"))
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    rows.sort(key=lambda row: -row.get("hF", -1))
    done = [row for row in rows if row["status"] == "ok"]
    file = folder / "differences.json"  # not there yet where the first call was interrupted
    differences = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for row in done:
        name = run_name(row["peer"], row["variant"])
        row |= {DIFFERENCE: differences[name]} if name in differences else {}
    _frontier(done, "fit_s", smaller=True)
    _frontier(done, "documents_per_s", smaller=False)
    return {"name": folder.name, **about, "rows": rows, "frontier": [_point(row) for row in done]}


def run_name(peer: str, variant: str) -> str:
    """Return what a run's files are called."""
    return f"{peer}+{variant}"


def reference(rows: Sequence[Row]) -> Row | None:
    """Return the row that all others are compared with: hclf at its defaults, or as near as there is."""
    return max((row for row in rows if row["peer"] == OURS), key=lambda row: row["variant"] == DEFAULT, default=None)


def _frontier(rows: Sequence[Row], cost: str, *, smaller: bool) -> None:
    """Mark the rows that no other beats in hF without being worse in cost."""
    sign = 1 if smaller else -1
    for row in rows:
        beaten = any(
            other["hF"] >= row["hF"]
            and sign * other[cost] <= sign * row[cost]
            and (other["hF"] > row["hF"] or sign * other[cost] < sign * row[cost])
            for other in rows
        )
        row[f"on the {cost} frontier"] = not beaten


def _point(row: Row) -> Row:
    keys = ("peer", "variant", "hF", "hF interval", "fit_s", "documents_per_s", "fit_mib", "model_bytes")
    marks = ("on the fit_s frontier", "on the documents_per_s frontier")
    return {key: row[key] for key in (*keys, *marks)}


def _versions(sets: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Return the package versions of hclf's environment and of its peers'."""
    found: dict[str, dict[str, str]] = {OURS: {}, "peers": {}}
    for one in sets:
        for row in one["rows"]:
            found[OURS if row["peer"] == OURS else "peers"] |= row.get("versions", {})
    return {where: dict(sorted(versions.items())) for where, versions in found.items()}


def _markdown(report: Row) -> list[str]:
    machine_, versions = report["machine"], report["versions"]
    lines = [
        f"# {report['title']}",
        "",
        "`python benchmarks/peers.py`: whole processes from raw text, one at a time; fit includes vectorising, "
        "hclf's also calibration and tuning. Settings are in the docstrings of `benchmarks/peers/run_*.py`.",
        f"{machine_['processor']}, {machine_['cores']} cores, {machine_['memory_gb']} GB, {machine_['system']}, "
        f"commit {report['commit']}.",
        *(
            f"Environment of {where}: {', '.join(f'{name} {number}' for name, number in packages.items())}."
            for where, packages in versions.items()
            if packages
        ),
        "",
        "hF is micro over closed label sets, with its 95 % interval over test documents. "
        "Differences are paired (`hclf.statistics.compare`): where the interval holds 0, chance may have made them. "
        "Each peer gets one threshold a level, tuned on held-out training documents (the JSON also holds hF with one "
        "for all levels). Tail: nodes with at most 5 training documents. Top-1 and hit@10 are of each method's "
        "ranked specific labels, before any threshold. * is on the frontier of hF against fit time, "
        "† of hF against documents/s.",
    ]
    for one in report["sets"]:
        lines += ["", f"## {one['title']}", "", _sizes(one), "", *_table(one["rows"])]
        if any(was_busy(row) for row in one["rows"] if row["status"] == "ok"):
            lines += ["", BUSY_NOTE]
    return lines


def _sizes(one: Row) -> str:
    parts = []
    for what, number in one["sizes"].items():
        stated = one["published"].get(what)
        parts.append(f"{what} {number:,}" + (f" (published {stated:,})" if stated not in (None, number) else ""))
    return "; ".join(parts) + "."


def _table(rows: Sequence[Row]) -> list[str]:
    columns = [column for column in COLUMNS if any(row.get(column[1]) is not None for row in rows)]
    headings = ["method", "variant", *(column[0] for column in columns)]
    headings += [f"{figure}, hclf − this" for figure in COMPARED]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for row in rows:
        marks = ("*" if row.get("on the fit_s frontier") else "") + (
            "†" if row.get("on the documents_per_s frontier") else ""
        )
        cells = [f"{row['title']} {marks}".strip(), row["variant"]]
        if row["status"] != "ok":
            where = " (validation part)" if row.get("part") else ""
            cells.append(row["status"] + where)
            cells += [""] * (len(headings) - len(cells))
        else:
            cells += [_cell(row, *column) for column in columns]
            cells += [_difference(row, figure) for figure in COMPARED]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(row: Row, heading: str, key: str, pattern: str, factor: float) -> str:
    if row.get(key) is None:
        return "–"
    text = format(row[key] * factor, pattern)
    if heading == "hF":
        return text + _between(row["hF interval"], ".3f")
    return f"{text}\\*" if heading in TIMED and was_busy(row) else text


def _difference(row: Row, figure: str) -> str:
    if DIFFERENCE not in row:
        return ""
    one = row[DIFFERENCE][figure]
    return format(one["difference"], "+.3f") + _between((one["low"], one["high"]), "+.3f")


def _between(ends: Sequence[float | None] | None, pattern: str) -> str:
    """Return an interval as text; nothing where documents cannot tell."""
    return "" if ends is None or None in ends else f" [{', '.join(format(end, pattern) for end in ends)}]"
