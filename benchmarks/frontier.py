"""Draw what quality costs: hF against fit seconds and against documents/s, each set of the peer benchmark a row.

    python benchmarks/frontier.py        # benchmarks/results/peers.json -> docs/frontier.svg

A point is a method in a variant; the line joins those that no other beats in hF without being slower. The same
report gives the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from machine_load import was_busy

ROOT = Path(__file__).resolve().parent.parent
OURS = "hclf"
COSTS = (  # key of a row, axis, whether less is better
    ("fit_s", "fit, seconds (log)", True),
    ("documents_per_s", "predict, documents/s (log)", False),
)
MARKERS = {"plain": "o", "names": "s", "names-seen": "D", "names-one-fit": "P"}
VARIANTS = {
    "plain": "documents only",
    "names": "with names of all nodes",
    "names-seen": "with names of nodes that have documents",
    "names-one-fit": "with names of all nodes, no second fit (hclf)",
}
RED, GREY = "#c8102e", "#8a8f98"
COLOURS = (
    *("#4269d0", "#efb118", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2"),
    *("#97bbf5", "#9c6b4e", "#2f6f7e", "#b8860b", "#555b66"),
)
STYLE = {"svg.hashsalt": "hclf", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9}
PANEL = (6.0, 3.9)  # inches
NEAR, FAR = 9, 34  # points between a mark and its number
CLEAR, WIDE = 8.5, 1.5  # points that numbers and marks want between them, and how much more of that sideways

Row = dict[str, Any]


def draw(report: dict[str, Any], out: Path) -> None:
    """Draw a report of `peers_report` into an SVG file."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sets = [(one["title"], [row for row in one["rows"] if row["status"] == "ok"]) for one in report["sets"]]
    numbers = numbered(row for _, rows in sets for row in rows)
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            len(sets), 2, figsize=(2 * PANEL[0], len(sets) * PANEL[1] + 2), squeeze=False, layout="constrained"
        )
        figure.patch.set_facecolor("white")  # readable on a dark page too
        for (title, rows), pair in zip(sets, axes, strict=True):
            for axis, cost in zip(pair, COSTS, strict=True):
                panel(axis, rows, numbers, *cost)
            pair[0].set_title(title, loc="left", fontweight="bold")
        legend(figure, numbers, any(was_busy(row) for _, rows in sets for row in rows))
        figure.canvas.draw()  # places the panels; numbers are placed in them
        for (_, rows), pair in zip(sets, axes, strict=True):
            for axis, (cost, _, _) in zip(pair, COSTS, strict=True):
                label(axis, rows, numbers, cost)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, metadata={"Date": None, "Creator": None} if out.suffix == ".svg" else None)
        pyplot.close(figure)


def numbered(rows: Iterable[Row]) -> dict[str, tuple[int, str]]:
    """Return the number and the title of each method: hclf first, then by title."""
    titles = {row["peer"]: row["title"] for row in rows}
    order = sorted(titles, key=lambda peer: (peer != OURS, titles[peer].lower()))
    return {peer: (i, titles[peer]) for i, peer in enumerate(order, 1)}


def colour(peer: str, number: int) -> str:
    return RED if peer == OURS else COLOURS[number % len(COLOURS)]


def panel(
    axis: Any, rows: Sequence[Row], numbers: dict[str, tuple[int, str]], cost: str, name: str, less: bool
) -> None:
    """Draw marks and frontier."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    best = sorted((row for row in rows if row[f"on the {cost} frontier"]), key=lambda row: row["hF"])
    axis.set_xscale("log")
    for row in rows:
        ours = row["peer"] == OURS
        axis.plot(
            row[cost],
            row["hF"],
            MARKERS.get(row["variant"], "o"),
            color=colour(row["peer"], numbers[row["peer"]][0]),
            markeredgecolor="black" if ours else "white",
            markersize=9 if ours else 6,
            zorder=4 if ours else 3,
        )
    axis.margins(0.08)
    edge = axis.get_xlim()[less]  # the slow end
    xs, ys = [row[cost] for row in best], [row["hF"] for row in best]
    axis.set_xlim(axis.get_xlim())
    axis.step([*xs, edge], [*ys, *ys[-1:]], where="post", color=GREY, linewidth=1.2, zorder=2)
    axis.set_xlabel(f"{name}   {'← ' if less else ''}faster{'' if less else ' →'}")
    axis.set_ylabel("hF")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(color="#e6e6e6", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def label(axis: Any, rows: Sequence[Row], numbers: dict[str, tuple[int, str]], cost: str) -> None:
    """Put each method's number beside its mark, where most room is left."""
    scale = 72 / axis.figure.dpi
    marks = axis.transData.transform([(row[cost], row["hF"]) for row in rows]) * scale
    low, high = axis.get_window_extent().get_points() * scale
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False) + np.pi / 4
    offsets = [(r * np.cos(a), r * np.sin(a)) for r, a in product(np.linspace(NEAR, FAR, 6), angles)]
    taken = [*marks]
    for row, mark in zip(rows, marks, strict=True):
        places = mark + offsets
        apart = (places[:, None] - np.array(taken)) / (WIDE, 1)
        crowded = np.maximum(0, CLEAR - np.linalg.norm(apart, axis=2)).sum(axis=1)
        outside = ((places < low + 4) | (places > high - 4)).any(axis=1)
        length = np.linalg.norm(offsets, axis=1) - NEAR
        best = int(np.argmin(crowded + 100 * outside + 0.1 * length))
        taken.append(places[best])
        ours = row["peer"] == OURS
        axis.annotate(
            str(numbers[row["peer"]][0]),
            (row[cost], row["hF"]),
            offsets[best],
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10 if ours else 8,
            fontweight="bold" if ours else "normal",
            color=RED if ours else "black",
            arrowprops={"arrowstyle": "-", "color": "#808080", "linewidth": 0.5, "shrinkA": 3, "shrinkB": 2}
            if length[best] > 1
            else None,
            zorder=5,
        )


def legend(figure: Any, numbers: dict[str, tuple[int, str]], busy: bool) -> None:
    """Explain numbers, shapes and the line below the panels."""
    from matplotlib.lines import Line2D

    methods = [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            markersize=9 if peer == OURS else 7,
            color=colour(peer, number),
            label=text,
        )
        for peer, (number, title) in numbers.items()
        for text in [f"{number}  {title}"]
    ]
    shapes = [
        Line2D([], [], marker=MARKERS[variant], linestyle="", color="#555555", label=text)
        for variant, text in VARIANTS.items()
    ]
    line = Line2D([], [], color=GREY, label="frontier: no other is better and as fast")
    title = "Some times were taken while other processes kept the machine busy." if busy else None
    figure.legend(handles=[*methods, *shapes, line], loc="outside lower center", ncols=3, frameon=False, title=title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=ROOT / "benchmarks" / "results" / "peers.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "frontier.svg", help="or a .png to look at")
    arguments = parser.parse_args()
    if not arguments.report.is_file():
        raise SystemExit(f"no report at {arguments.report}; make it: python benchmarks/peers.py")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SystemExit("drawing needs matplotlib: pip install 'matplotlib>=3.8'") from None
    draw(json.loads(arguments.report.read_text(encoding="utf-8")), arguments.out)
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
