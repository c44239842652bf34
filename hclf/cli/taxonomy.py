"""`hclf taxonomy`: validate, show, stats, convert, add-phrases, schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hclf.cli.common import guard_output, note, print_fitted, print_json, stdout
from hclf.wording import FEW, counted, first_few

if TYPE_CHECKING:
    from rich.table import Table

    from hclf.errors import Fault
    from hclf.taxonomy import Node, Rule, Taxonomy

BAR = 20
SHOWN_RULES = 12
app = typer.Typer(name="taxonomy", help="Check, look at and convert taxonomies.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="TAXONOMY", help="A file, or the name of a shipped taxonomy.")]
Format = Annotated[str | None, typer.Option("--format", help="Format of the file, if its name does not tell.")]
Levels = Annotated[str, typer.Option("--levels", help="Columns of a table that are the levels, joined by commas.")]
Order = Annotated[str, typer.Option("--order", help="Order file of ICD-10-CM; by default the one beside the list.")]
Modifiers = Annotated[
    str,
    typer.Option(
        "--modifiers", metavar="A,B|none", help="Modifiers of ClaML to make codes of; all, if not said, or none."
    ),
]
Relations = Annotated[
    str, typer.Option("--relations", help="Relationships of OBO that lead to parents, too, such as part_of.")
]
Scheme = Annotated[str, typer.Option("--scheme", help="The one concept scheme to read of a SKOS file.")]
Ids = Annotated[
    str, typer.Option("--ids", metavar="notation|name|iri", help="What of a SKOS concept becomes the id of its node.")
]
Obsolete = Annotated[
    bool, typer.Option("--obsolete", help="Keep what OBO or SKOS call obsolete, as nodes that cannot be assigned.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _options(**given: str | bool) -> dict[str, Any]:
    """Return the reader options that were given, as `hclf.formats.read` takes them."""
    options: dict[str, Any] = {key: value for key, value in given.items() if value}
    if options.get("modifiers") == "none":
        options["modifiers"] = False
    return options


# -- validate --------------------------------------------------------------------------------------------------


@app.command()
def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files, or names of shipped taxonomies.")],
    format: Format = None,
    levels: Levels = "",
    order: Order = "",
    modifiers: Modifiers = "",
    relations: Relations = "",
    scheme: Scheme = "",
    ids: Ids = "",
    obsolete: Obsolete = False,
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    json: Json = False,
) -> None:
    """Find everything that is wrong with taxonomy files. Exits with 1 if there are errors."""
    from hclf import formats
    from hclf.registry import find

    options = _options(
        levels=levels,
        order=order,
        modifiers=modifiers,
        relations=relations,
        scheme=scheme,
        ids=ids,
        obsolete=obsolete,
    )
    files = [find(path) for path in paths]
    results = []
    for file in files:
        taxonomy, faults = formats.check(file, format, **options)
        results.append((file, taxonomy, faults))
        if not json:
            _print_faults(file, taxonomy, faults)
    errors = sum(fault.severity == "error" for _, _, faults in results for fault in faults)
    warnings = sum(len(faults) for _, _, faults in results) - errors
    failed = bool(errors or (strict and warnings))
    if json:
        print_json({"ok": not failed, "errors": errors, "warnings": warnings, "files": [*map(_as_json, results)]})
    if failed:
        raise typer.Exit(1)


def _print_faults(file: Path, taxonomy: Taxonomy | None, faults: list[Fault]) -> None:
    from rich.text import Text

    for fault in faults:
        stdout.print(Text(str(fault), "yellow" if fault.severity == "warning" else "red"))
    errors = sum(fault.severity == "error" for fault in faults)
    counts = [counted(errors, "error")] * (errors > 0) + [counted(len(faults) - errors, "warning")] * (
        len(faults) > errors
    )
    size = counted(len(taxonomy), "node") if taxonomy is not None else "no taxonomy"
    style = "red" if errors else "green"
    stdout.print(Text(f"{file}: {size}, {' and '.join(counts) or 'no faults'}", f"bold {style}"))


def _as_json(result: tuple[Path, Taxonomy | None, list[Fault]]) -> dict[str, Any]:
    from dataclasses import asdict

    file, taxonomy, faults = result
    errors = sum(fault.severity == "error" for fault in faults)
    return {
        "file": str(file),
        "nodes": None if taxonomy is None else len(taxonomy),
        "errors": errors,
        "warnings": len(faults) - errors,
        "faults": [asdict(fault) for fault in faults],
    }


# -- show ------------------------------------------------------------------------------------------------------


@app.command()
def show(
    source: Source,
    depth: Annotated[int | None, typer.Option("--depth", "-d", min=1, help="Levels to open.")] = None,
    search: Annotated[str, typer.Option("--search", "-s", help="Show nodes with this in id, name or synonym.")] = "",
    node: Annotated[str, typer.Option("--node", "-n", help="Show this node and what lies below it.")] = "",
    max: Annotated[int, typer.Option("--max", "-m", min=1, help="Nodes to show, at most.")] = 50,
    format: Format = None,
    levels: Levels = "",
    order: Order = "",
    modifiers: Modifiers = "",
    relations: Relations = "",
    scheme: Scheme = "",
    ids: Ids = "",
    obsolete: Obsolete = False,
) -> None:
    """Draw a taxonomy as a tree: as much of it as fits, or one part, or what matches a search."""
    from hclf.errors import UsageError
    from hclf.registry import load_taxonomy

    if search and node:
        raise UsageError("--search and --node exclude each other")
    options = _options(
        levels=levels,
        order=order,
        modifiers=modifiers,
        relations=relations,
        scheme=scheme,
        ids=ids,
        obsolete=obsolete,
    )
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
        _print_rows(_card_rows(taxonomy, taxonomy[node]))
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


def _print_rows(rows: list[tuple[str, str]]) -> None:
    from rich.text import Text

    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        stdout.print(Text.assemble((label.ljust(width), "dim"), "  ", value))
    stdout.print()


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


# -- stats -----------------------------------------------------------------------------------------------------


@app.command()
def stats(
    source: Source,
    format: Format = None,
    levels: Levels = "",
    order: Order = "",
    modifiers: Modifiers = "",
    relations: Relations = "",
    scheme: Scheme = "",
    ids: Ids = "",
    obsolete: Obsolete = False,
    json: Json = False,
) -> None:
    """Count nodes by level, leaves, several parents, synonyms, languages and fan-out."""
    from hclf.registry import load_taxonomy

    options = _options(
        levels=levels,
        order=order,
        modifiers=modifiers,
        relations=relations,
        scheme=scheme,
        ids=ids,
        obsolete=obsolete,
    )
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
    _print_rows(_facts(found))
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


# -- convert ---------------------------------------------------------------------------------------------------


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A file, or the name of a shipped taxonomy.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help='The file to write; "-" is standard output.')],
    from_: Annotated[str | None, typer.Option("--from", help="Format of IN, if its name does not tell.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Format of OUT, if its name does not tell.")] = None,
    levels: Levels = "",
    order: Order = "",
    separator: Annotated[str, typer.Option("--separator", help="What stands between names of a path.")] = "",
    modifiers: Modifiers = "",
    relations: Relations = "",
    scheme: Scheme = "",
    ids: Ids = "",
    obsolete: Obsolete = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
) -> None:
    """Write a taxonomy in another format, and say what that format could not keep."""
    from hclf import formats
    from hclf.registry import load_taxonomy

    guard_output(target, force)
    options = _options(
        levels=levels,
        order=order,
        separator=separator,
        modifiers=modifiers,
        relations=relations,
        scheme=scheme,
        ids=ids,
        obsolete=obsolete,
    )
    taxonomy = load_taxonomy(source, format=from_, **options)
    lost = _convert_and_compare(
        taxonomy, target, to or formats.by_suffix(target) or ("yaml" if target == "-" else None)
    )
    if target != "-":
        note(f"wrote {target}: {counted(len(taxonomy), 'node')}")
    for what in lost:
        note(f"not kept by this format: {what}")


def _convert_and_compare(taxonomy: Taxonomy, target: str, format: str | None) -> list[str]:
    """Write a taxonomy, read it back, and return what it lost: seen, not assumed."""
    import tempfile

    from hclf import formats

    formats.write(taxonomy, target, format)
    if target != "-":
        return formats.losses(taxonomy, formats.read(target, format))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        formats.write(taxonomy, copy, format)
        return formats.losses(taxonomy, formats.read(copy, format))


# -- add-phrases -----------------------------------------------------------------------------------------------


@app.command()
def add_phrases(
    source: Source,
    files: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="FILE",
            help="Phrases: a table or JSON lines with a node and a phrase a row, or an index, neoplasm, drug or "
            "external-cause table of ICD-10-CM (XML or CSV); may repeat.",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help='The taxonomy to write; "-" is standard output.')
    ],
    kind: Annotated[
        str | None, typer.Option("--kind", help="table, index, neoplasms or drugs, if the files do not tell.")
    ] = None,
    nearest: Annotated[
        bool,
        typer.Option("--nearest", help="For a node not in the taxonomy take the one its id begins with."),
    ] = False,
    see: Annotated[bool, typer.Option(help="Follow cross references of an index.")] = True,
    forms: Annotated[
        bool, typer.Option("--forms", help="Add each form of an index term by itself, without NEC and NOS.")
    ] = False,
    modifiers: Annotated[
        bool, typer.Option("--modifiers", help="Add index terms with their non-essential modifiers, too.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="Format of OUT, if its name does not tell.")] = None,
    format: Format = None,
    levels: Levels = "",
    order: Order = "",
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite OUT.")] = False,
    json: Json = False,
) -> None:
    """Add phrases from other files to a taxonomy, as synonyms of its nodes, and count what could not be added.

    Example: hclf taxonomy add-phrases icd10-mini --from examples/coding/mini_index_2021.csv -o with-phrases.yaml
    """
    from hclf import formats
    from hclf.errors import UsageError
    from hclf.formats import phrases
    from hclf.registry import load_taxonomy

    if json and output == "-":
        raise UsageError("--json prints to standard output; write the taxonomy to a file (-o)")
    guard_output(output, force)
    taxonomy = load_taxonomy(source, format=format, **_options(levels=levels, order=order))
    tally = phrases.Tally()
    neoplasms = next((file for file in files if not kind and phrases.sniff(file) == "neoplasms"), None)
    options: dict[str, Any] = {
        "neoplasms": neoplasms,
        "see": see,
        "forms": forms,
        "modifiers": modifiers,
        "tally": tally,
    }
    found = [phrase for file in files for phrase in phrases.read(file, kind, **options)]
    longer = phrases.add_phrases(taxonomy, found, nearest=nearest, tally=tally)
    lost = _convert_and_compare(
        longer, output, to or formats.by_suffix(output) or ("yaml" if output == "-" else None)
    )
    for line in tally.lines():
        note(line)
    if output != "-":
        note(f"wrote {output}: {counted(len(longer), 'node')}")
    for what in lost:
        note(f"not kept by this format: {what}")
    if json:
        print_json(tally.to_dict())


# -- schema ----------------------------------------------------------------------------------------------------


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML form, for editors and other programs."""
    import json
    from importlib.resources import files

    print_json(json.loads(files("hclf.formats").joinpath("schema.json").read_text("utf-8")))
