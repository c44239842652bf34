"""`hclf taxonomy show`: a tree of nodes, all that is known of one, and the nodes that a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli.common import note, print_fitted, print_rows
from hclf.cli.taxonomy_files import Format, Source, with_reader_options
from hclf.wording import FEW, counted, first_few

if TYPE_CHECKING:
    from hclf.taxonomy import Node, Rule, Taxonomy

SHOWN_RULES = 12


@with_reader_options
def show(
    source: Source,
    depth: Annotated[int | None, typer.Option("--depth", "-d", min=1, help="Levels to open.")] = None,
    search: Annotated[str, typer.Option("--search", "-s", help="Show nodes with this in id, name or synonym.")] = "",
    node: Annotated[str, typer.Option("--node", "-n", help="Show this node and what lies below it.")] = "",
    max: Annotated[int, typer.Option("--max", "-m", min=1, help="Nodes to show, at most.")] = 50,
    format: Format = None,
    *,
    options: dict[str, Any],
) -> None:
    """Draw a taxonomy as a tree: as much of it as fits, or one part, or what matches a search."""
    from hclf.errors import UsageError
    from hclf.registry import load_taxonomy

    if search and node:
        raise UsageError("--search and --node exclude each other")
    taxonomy = load_taxonomy(source, format=format, **options)
    if search:
        _show_search(taxonomy, search, max)
    else:
        _show_below(taxonomy, node, depth, max)


def _show_below(taxonomy: Taxonomy, node: str, depth: int | None, lines: int) -> None:
    import numpy as np

    from hclf.cli import tree

    tops = [taxonomy.index(node)] if node else np.flatnonzero(taxonomy.is_root).tolist()
    view = tree.overview(taxonomy, tops, depth=depth, lines=lines)
    if node:
        print_rows(_card_rows(taxonomy, taxonomy[node]))
    print_fitted(tree.draw(taxonomy, view, _title(taxonomy)))
    total = len(taxonomy.descendants(node)) + 1 if node else len(taxonomy)
    shown = len(view.shown)
    if shown < total:
        hint = "--depth and --max show more, --node ID one branch, --search TEXT what matches"
        note(f"{shown:,} of {counted(total, 'node')} shown; {hint}")


def _title(taxonomy: Taxonomy) -> str:
    from rich.markup import escape

    name = escape(" ".join(filter(None, [taxonomy.title or taxonomy.id, taxonomy.version])))
    size = f"{counted(len(taxonomy), 'node')}, {counted(taxonomy.depth, 'level')}"
    return f"[bold green]{name}[/]  [dim]{size}[/]"


def _card_rows(taxonomy: Taxonomy, entry: Node) -> list[tuple[str, str]]:
    """Return what is said of one node, and every way to it by its parents."""
    j = taxonomy.index(entry.id)
    level, name = int(taxonomy.levels[j]), taxonomy.level_name(int(taxonomy.levels[j]))
    rows = [("id", entry.id)]
    rows += _by_language("name", entry.names)
    rows += _by_language("synonyms", {k: " · ".join(texts) for k, texts in entry.synonyms.items()})
    if entry.description:
        rows.append(("description", entry.description))
    rows.append(("level", str(level) if name == f"level {level}" else f"{level} {name}"))
    for parent in taxonomy.parents.of(j).tolist():
        path = taxonomy.path(taxonomy.nodes[parent])
        rows.append(("lies under", " > ".join(taxonomy[up].name for up in path)))
    if not entry.assignable:
        rows.append(("assignable", "no"))
    if entry.valid_from or entry.valid_to:
        rows.append(("valid", f"{entry.valid_from or '…'} to {entry.valid_to or '…'}"))
    rows += _some([(key, str(value)) for key, value in entry.meta.items()])
    return rows + _rule_rows(taxonomy, entry.id)


def _rule_rows(taxonomy: Taxonomy, node: str) -> list[tuple[str, str]]:
    """Return what the rules of a node say, then those of its ancestors that hold for it, the nearest first."""
    from hclf.rules import RuleBook

    own = [rule for rule in taxonomy.rules if rule.node == node]
    above = [rule for rule in RuleBook(taxonomy).about(node) if rule.node != node] if taxonomy.rules else []
    rows: list[tuple[str, str]] = []
    for rules, where in ((own, "here"), (above, "from above")):
        for rule in rules[:SHOWN_RULES]:
            others = first_few(rule.others, rest=f"… and {len(rule.others) - FEW:,} more")
            rows.append((rule.type, others or str(rule.k)))
            if told := _told(taxonomy, rule, inherited=rule.node != node):
                rows.append(("", told))
        if len(rules) > SHOWN_RULES:
            rows.append(("", f"… {counted(len(rules) - SHOWN_RULES, 'more rule')} {where}"))
    return rows


def _told(taxonomy: Taxonomy, rule: Rule, *, inherited: bool) -> str:
    """Return where a rule comes from, how strict it is, and its text."""
    place = f"from {rule.node}" if inherited else ""
    if inherited and (name := taxonomy[rule.node].name) != rule.node:
        place = f"{place} ({name})"
    said = [place, rule.strength * (rule.strength == "hard"), "optional" * rule.optional, rule.source]
    note = f'"{" ".join(rule.note.split())}"' if rule.note else ""
    return ": ".join(filter(None, [", ".join(filter(None, said)), note]))


def _by_language(label: str, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a row a language: first what has none, then English, then the others by code."""
    order = sorted(texts, key=lambda language: (language != "", language != "en", language))
    return _some([(f"{label} {language}".strip(), texts[language]) for language in order])


def _some(rows: list[tuple[str, str]], most: int = 6) -> list[tuple[str, str]]:
    return rows[:most] + [("", f"… {len(rows) - most} more")] * (len(rows) > most)


def _show_search(taxonomy: Taxonomy, text: str, most: int) -> None:
    from rich.markup import escape

    from hclf.cli import tree
    from hclf.errors import did_you_mean, suggest

    matches = _matches(taxonomy, text)
    if not matches:
        known = [*taxonomy.names, *taxonomy.nodes]
        note(f"nothing matches {text!r}{did_you_mean(suggest(text, known))}")
        raise typer.Exit(1)
    shown = dict(list(matches.items())[:most])

    def mark(j: int) -> str | None:
        found = shown.get(j)
        return None if found is None else f"[yellow]≈ {escape(found)}[/]" if found else ""

    view = tree.branches(taxonomy, shown)
    print_fitted(tree.draw(taxonomy, view, _title(taxonomy), mark=mark))
    if len(shown) < len(matches):
        note(f"{len(shown):,} of {len(matches):,} matches shown; --max shows more")
    else:
        note(counted(len(matches), "match", "matches"))


def _matches(taxonomy: Taxonomy, text: str) -> dict[int, str]:
    """Return column -> the synonym or foreign name that matched ("" for id or name), best matches first."""
    from hclf.formats.paths import fold

    wanted = " ".join(fold(text).split())
    found: list[tuple[int, int, str]] = []
    for j in range(len(taxonomy)):
        entry = taxonomy.node(j)
        texts = [entry.id, entry.name, *entry.names.values()]
        texts += [synonym for several in entry.synonyms.values() for synonym in several]
        ranked = [(_rank(wanted, fold(candidate)), k) for k, candidate in enumerate(texts)]
        rank, k = min(ranked)
        if rank < NO_MATCH:
            found.append((rank, j, "" if k < 2 else texts[k]))
    return {j: said for _, j, said in sorted(found)}


NO_MATCH = 4


def _rank(wanted: str, text: str) -> int:
    """Return 0 for the same text, 1 where it begins a word, 2 if each word begins a word, 3 inside a word."""
    if wanted in text:
        return 0 if text == wanted else 1 if f" {wanted}" in f" {text}" else 3
    spaced = f" {text}"
    return 2 if all(f" {word}" in spaced for word in wanted.split()) else NO_MATCH
