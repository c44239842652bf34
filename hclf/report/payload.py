"""What the page's script draws, as columns: small numbers instead of objects, and packed when that pays."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from hclf.diagnostics import Diagnostics
from hclf.evaluation import Evaluation
from hclf.taxonomy import Taxonomy

PACK_ABOVE = 200_000  # characters of JSON: below, a reader of the page's source may as well see them
LEVEL = 6  # of compression: 9 takes four times as long for 2 % less
DIGITS = 4  # of a figure in a chart
Row = dict[str, Any]


def charts(diagnostics: Diagnostics) -> Row:
    """Return the columns of risk and coverage, reliability and sweep, rounded for drawing."""
    keep = ("risk_coverage", "reliability", "sweep", "thresholds")
    return {key: _rounded(value) for key, value in diagnostics.to_dict().items() if key in keep}


def node_columns(taxonomy: Taxonomy, evaluation: Evaluation, diagnostics: Diagnostics) -> Row:
    """Return every node of the taxonomy, parents before children, and the figures of those that were seen.

    Returns:
        `depth` (0 for roots) and `id` of each node in the order of a walk along first parents, `name` where it is
        not the id; `levels`: (node, level) where the level is not depth + 1; `also`: (node, parent) pairs beyond the
        first parent. Of the nodes that are true or predicted somewhere: `seen` (their place, as steps from one to
        the next), `support`, `predicted`, `hits`, `train` and `ap` (average precision in thousandths), both -1
        where not known.
    """
    walk, depth = _walk(taxonomy)
    place = {j: i for i, j in enumerate(walk)}
    seen = sorted((place[taxonomy.index(row["id"])], row) for row in evaluation.nodes if row["id"] in taxonomy)
    places = [at for at, _ in seen]
    rows = [row for _, row in seen]
    found = diagnostics.average_precision
    return {
        "depth": depth,
        "id": [taxonomy.nodes[j] for j in walk],
        "name": [taxonomy.names[j] if taxonomy.names[j] != taxonomy.nodes[j] else 0 for j in walk],
        "levels": [
            [i, level]
            for i, (level, d) in enumerate(zip(taxonomy.levels[walk].tolist(), depth, strict=True))
            if level != d + 1
        ],
        "also": [[place[j], place[p]] for j in walk for p in taxonomy.parents.of(j).tolist()[1:]],
        "seen": [b - a for a, b in zip([0, *places], places, strict=False)],
        "support": [row["support"] for row in rows],
        "predicted": [row["predicted"] for row in rows],
        "hits": [round(row["recall"] * row["support"]) for row in rows],
        "train": [-1 if row["train_count"] is None else row["train_count"] for row in rows],
        "ap": [round(1000 * found[row["id"]]) if row["id"] in found else -1 for row in rows],
    }


def as_script(value: Any) -> tuple[str, str]:
    """Return (kind, text) to stand inside a script element: `json`, or `deflate` (zlib, base64) when it is long."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(text) > PACK_ABOVE:
        return "deflate", base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), LEVEL)).decode("ascii")
    return "json", harmless(text)


def harmless(text: str) -> str:
    """Return JSON in which nothing can end a script element or begin a comment, whatever names say."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _walk(taxonomy: Taxonomy) -> tuple[list[int], list[int]]:
    """Return columns and depths of a walk down from the roots, each node once, under its first parent."""
    below: dict[int, list[int]] = {}
    indptr, parents = taxonomy.parents.indptr.tolist(), taxonomy.parents.indices.tolist()
    for j in range(len(taxonomy)):
        first = parents[indptr[j]] if indptr[j] < indptr[j + 1] else -1
        below.setdefault(first, []).append(j)
    walk, depths = [], []
    stack = [(j, 0) for j in reversed(below.get(-1, []))]
    while stack:
        j, depth = stack.pop()
        walk.append(j)
        depths.append(depth)
        stack += [(child, depth + 1) for child in reversed(below.get(j, []))]
    return walk, depths


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(item) for item in value]
    return value
