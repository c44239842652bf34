"""`hclf taxonomy stats`: what there is of what in a taxonomy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hclf.cli import options as opt
from hclf.cli.common import print_fitted, print_json, print_rows, stdout
from hclf.cli.taxonomy_files import Format, Source, with_reader_options
from hclf.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

    from hclf.taxonomy import Taxonomy

BAR = 20


@with_reader_options
def stats(
    source: Source,
    format: Format = None,
    json: opt.Json = False,
    *,
    options: dict[str, Any],
) -> None:
    """Count nodes by level, leaves, several parents, synonyms, languages and fan-out."""
    from hclf.registry import load_taxonomy

    found = _statistics(load_taxonomy(source, format=format, **options))
    if json:
        print_json(found)
    else:
        _print_statistics(found)


def _statistics(taxonomy: Taxonomy) -> dict[str, Any]:
    """Return `Taxonomy.describe()` with leaves and several parents a level, fan-out, and texts a language."""
    from collections import Counter

    import numpy as np

    found = taxonomy.describe()
    several = np.diff(taxonomy.parents.indptr) > 1
    for level, columns in zip(found["levels"], taxonomy.level_slices, strict=True):
        level["leaves"] = int(taxonomy.is_leaf[columns].sum())
        level["several_parents"] = int(several[columns].sum())
    fan_out = np.diff(taxonomy.children.indptr)[~taxonomy.is_leaf]
    quantiles = np.quantile(fan_out, [0.5, 0.9], method="inverted_cdf").tolist() if fan_out.size else [0, 0]
    found["fan_out"] = {"median": quantiles[0], "p90": quantiles[1], "max": int(fan_out.max(initial=0))}
    entries = [taxonomy.node(j) for j in range(len(taxonomy))]
    names = Counter(language for entry in entries for language in entry.names)
    synonyms = Counter(dict.fromkeys(names, 0))
    for entry in entries:
        for language, texts in entry.synonyms.items():
            synonyms[language] += len(texts)
    found["texts"] = [
        {"language": language, "names": names[language], "synonyms": synonyms[language]}
        for language in sorted(synonyms, key=lambda language: (-names[language], language))
    ]
    return found


def _print_statistics(found: dict[str, Any]) -> None:
    from rich.text import Text

    stdout.print(Text(" ".join(filter(None, [found["title"] or found["id"], found["version"]])), "bold green"))
    print_rows(_facts(found))
    print_fitted(_level_table(found["levels"]))
    spoken = [text for text in found["texts"] if text["language"]]
    if spoken:
        stdout.print()
        print_fitted(_language_table(spoken))


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    nodes, fan = found["nodes"], found["fan_out"]
    several = counted(found["several_parents"], "node") if found["several_parents"] else "none: a tree"
    facts = [
        ("license", found["license"]),
        ("source", found["source"]),
        ("nodes", f"{nodes:,}, of which {found['leaves']:,} leaves and {found['roots']:,} roots"),
        ("edges", f"{found['edges']:,}"),
        ("several parents", several),
        ("assignable", "all" if found["assignable"] == nodes else f"{found['assignable']:,}"),
        ("children", f"median {fan['median']}, 90 % at most {fan['p90']}, the most {fan['max']:,}"),
        ("synonyms", f"{found['synonyms']:,}"),
        ("rules", f"{found['rules']:,}"),
        ("fingerprint", found["fingerprint"]),
    ]
    return [(label, value) for label, value in facts if value]


def _level_table(levels: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("level")
    for column in ("nodes", "leaves", "several parents"):
        table.add_column(column, justify="right")
    table.add_column("")
    widest = max((level["nodes"] for level in levels), default=1)
    for level in levels:
        plain = f"level {level['level']}"
        name = plain if level["name"] == plain else f"{level['level']} {level['name']}"
        counts = [f"{level[key]:,}" if level[key] else "·" for key in ("nodes", "leaves", "several_parents")]
        table.add_row(name, *counts, "[blue]" + "━" * max(1, round(BAR * level["nodes"] / widest)) + "[/]")
    return table


def _language_table(spoken: list[dict[str, Any]], most: int = 12) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("language")
    table.add_column("names", justify="right")
    table.add_column("synonyms", justify="right")
    for text in spoken[:most]:
        table.add_row(text["language"], f"{text['names']:,}", f"{text['synonyms']:,}")
    if len(spoken) > most:
        table.add_row(f"[dim]… {len(spoken) - most} more[/]")
    return table
