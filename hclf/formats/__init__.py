"""Taxonomy formats: one module each, with `read`, `check` and, where it can be written, `write` and `dumps`.

A new format is a module and a line in the name tables.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from hclf.errors import Fault, TaxonomyError, UsageError, did_you_mean, suggest
from hclf.taxonomy import Node, Taxonomy
from hclf.wording import counted, first_few

__all__ = ["READERS", "WRITERS", "by_suffix", "check", "companions", "dumps", "losses", "read", "sniff", "write"]

READERS = {
    "yaml": "hclf.formats.yaml:read",
    "table": "hclf.formats.table:read",
    "paths": "hclf.formats.paths:read",
    "nodelink": "hclf.formats.nodelink:read",
    "research": "hclf.formats.research:read",
    "icd10cm": "hclf.formats.icd10cm:read",
    "claml": "hclf.formats.claml:read",
    "obo": "hclf.formats.obo:read",
    "skos": "hclf.formats.skos:read",
}
WRITERS = {
    "yaml": "hclf.formats.yaml:write",
    "table": "hclf.formats.table:write",
    "paths": "hclf.formats.paths:write",
    "nodelink": "hclf.formats.nodelink:write",
    "research": "hclf.formats.research:write",
    "obo": "hclf.formats.obo:write",
    "skos": "hclf.formats.skos:write",
}
SUFFIXES = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".tsv": "table",
    ".csv": "table",
    ".tab": "table",
    ".txt": "paths",
    ".json": "nodelink",
    ".taxonomy": "research",
    ".obo": "obo",
    ".ttl": "skos",
    ".nt": "skos",
    ".rdf": "skos",
    ".jsonld": "skos",
}
XML = (".xml", ".claml", ".owl")
XML_ROOTS = {"ICD10CM.tabular": "icd10cm", "ClaML": "claml", "rdf:RDF": "skos"}
SNIFFED_LINES = 50


def read(path: str | Path, format: str | None = None, **options: Any) -> Taxonomy:
    """Read a taxonomy.

    Args:
        path: the file; unpacked if its name ends in `.gz`.
        format: a name in `READERS`; by default what `sniff` finds.
        options: what the format's own `read` takes besides the path.

    Raises:
        TaxonomyError: everything wrong with the file.
        UsageError: unknown format or option.
    """
    taxonomy: Taxonomy = _reader(path, format, options, "read")(path, **options)
    return taxonomy


def check(path: str | Path, format: str | None = None, **options: Any) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included; as `read` otherwise."""
    try:
        found: tuple[Taxonomy | None, list[Fault]] = _reader(path, format, options, "check")(path, **options)
    except TaxonomyError as error:  # already the look for its format failed
        return None, list(error.faults)
    return found


def write(taxonomy: Taxonomy, path: str | Path, format: str | None = None) -> None:
    """Write a taxonomy; packed if the name ends in `.gz`, to standard output if it is "-".

    Args:
        taxonomy: what to write. `losses` tells what the format did not keep.
        path: the file; overwritten.
        format: a name in `WRITERS`; by default by the path's suffix.

    Raises:
        TaxonomyError: the format cannot hold this taxonomy, or the file cannot be written.
        UsageError: unknown format.
    """
    if str(path) == "-":
        sys.stdout.write(dumps(taxonomy, format or "yaml"))
        return
    name = format or by_suffix(path)
    if name is None:
        raise UsageError(f"cannot tell a format from the name {str(path)!r}; give one of {', '.join(WRITERS)}")
    _resolve(WRITERS, name)(taxonomy, path)


def dumps(taxonomy: Taxonomy, format: str = "yaml") -> str:
    """Return a taxonomy as text in a format; raises as `write`."""
    return str(_resolve(WRITERS, format, "dumps")(taxonomy))


def companions(path: str | Path, format: str | None = None, **options: Any) -> list[Path]:
    """Return the other files `read` would read with these arguments, such as the order file of ICD-10-CM."""
    try:
        module, _, _ = READERS[format or sniff(path)].partition(":")
        found: list[Path] = getattr(import_module(module), "companions", _no_companions)(path, **options)
    except (TaxonomyError, KeyError):  # `read` has better words for it
        return []
    return found


def _no_companions(_path: str | Path, **_options: Any) -> list[Path]:
    return []


def by_suffix(path: str | Path) -> str | None:
    """Return the format a file's suffix stands for, `.gz` aside, or None.

    >>> by_suffix("shop.tsv.gz")
    'table'
    """
    return SUFFIXES.get(Path(str(path).removesuffix(".gz")).suffix.lower())


def sniff(path: str | Path) -> str:
    """Return the format of a file: by its suffix; for tables, text and XML by what stands in its first lines.

    Raises:
        TaxonomyError: the file cannot be read as text, or is XML of a kind no format is for.
    """
    if str(path).removesuffix(".gz").lower().endswith(XML):
        return _xml_format(path)
    named = by_suffix(path)
    if named == "table":
        return "paths" if _has_level_columns(path) else "table"
    if named not in (None, "paths"):
        return named
    from hclf.formats._files import lines

    sample = [text.rstrip("\r\n") for _, text in islice(lines(path), SNIFFED_LINES) if text.strip()]
    head = sample[0].lstrip() if sample else ""
    if "".join("".join(sample[:3]).split())[:2] in ('{"', "[{", '["'):
        return "nodelink"
    if any(text.startswith(("hclf:", "nodes:")) for text in sample):
        return "yaml"
    if head.startswith("format-version:") or "[Term]" in sample:
        return "obo"
    if any(" > " in text for text in sample) or not any("\t" in text for text in sample):
        return "paths"
    if _has_level_columns(path):
        return "paths"
    widths = {text.count("\t") for text in sample if not text.startswith("#")}
    return "table" if len(widths) == 1 and not head.lower().startswith("root\t") else "research"


def _xml_format(path: str | Path) -> str:
    from hclf.formats._xml import root_tag

    root = root_tag(path, doctype=True)  # whether it may have one, its reader decides
    if root not in XML_ROOTS:
        known = ", ".join(f"<{tag}> ({name})" for tag, name in XML_ROOTS.items())
        raise TaxonomyError(
            [Fault(f"no format is for XML whose outermost element is <{root}>; known are {known}", str(path))]
        )
    return XML_ROOTS[root]


def _has_level_columns(path: str | Path) -> bool:
    from hclf.formats import paths, table

    header = table.header(path)
    return len(paths.level_columns(header)) > 1 and not any(
        table.ALIASES.get(name.lower()) == "parents" for name in header
    )


def _reader(path: str | Path, format: str | None, options: dict[str, Any], verb: str) -> Callable[..., Any]:
    """Return the function to call, having looked at the options: `levels` asks for `paths`."""
    name = format or ("paths" if options.get("levels") else sniff(path))
    function = _resolve(READERS, name, verb)
    known = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in known:
            hint = did_you_mean(suggest(option, known)) or f"; it has {', '.join(known) or 'none'}"
            raise UsageError(f"format '{name}' has no option {option!r}{hint}")
    return function


def _resolve(table: dict[str, str], name: str, verb: str = "") -> Callable[..., Any]:
    if name not in table:
        hint = did_you_mean(suggest(name, table)) or f"; choose from {', '.join(table)}"
        raise UsageError(f"unknown taxonomy format {name!r}{hint}")
    module, _, function = table[name].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), verb or function)
    return found


# -- what a conversion lost ------------------------------------------------------------------------------------


def losses(before: Taxonomy, after: Taxonomy) -> list[str]:
    """Return what of one taxonomy another one, written and read again, does not have; empty if nothing is lost.

    >>> losses(Taxonomy([Node("a", {"fr": "chat"})]), Taxonomy(["a"]))
    ["1 name in language 'fr'"]
    """
    gone = [node for node in before.nodes if node not in after]
    lost = [f"{counted(len(gone), 'id')} (such as {gone[0]!r})"] if gone else []
    edges = set(before.edges()) - set(after.edges())
    if edges and not gone:
        lost.append(counted(len(edges), "edge"))
    kept = [(before[node], after[node]) for node in before.nodes if node in after]
    lost += _lost_texts(kept)
    lost += _lost_fields(kept)
    rules = [rule for rule in before.rules if rule not in after.rules]
    if rules:
        lost.append(counted(len(rules), "rule"))
    if before.level_names and before.level_names != after.level_names:
        lost.append("the names of the levels")
    header = [key for key, value in before.header.items() if value and after.header[key] != value]
    if header and header != ["id"]:  # an id alone only follows the name of the file
        lost.append(f"the taxonomy's {', '.join(header)}")
    return lost


def _lost_texts(kept: list[tuple[Node, Node]]) -> list[str]:
    names: dict[str, int] = {}
    synonyms: dict[str, int] = {}
    for old, new in kept:
        for language, name in old.names.items():
            # A name that only repeats the id says nothing; one kept under no language is kept.
            if name not in (old.id, new.names.get(language), new.names.get("")):
                names[language] = names.get(language, 0) + 1
        for language, texts in old.synonyms.items():
            missing = set(texts).difference(new.synonyms.get(language, ()))
            if missing:
                synonyms[language] = synonyms.get(language, 0) + len(missing)
    return _by_language(names, "name") + _by_language(synonyms, "synonym")


def _by_language(lost: dict[str, int], word: str) -> list[str]:
    if not lost:
        return []
    languages = sorted((language for language in lost if language), key=lambda language: -lost[language])
    total = counted(sum(lost.values()), word)
    if len(languages) > 1:
        return [f"{total} in {len(languages)} languages ({first_few(languages)})"]
    return [f"{total} in language {languages[0]!r}" if languages else total]


def _lost_fields(kept: list[tuple[Node, Node]]) -> list[str]:
    lost = []
    for field, one, many in (
        ("description", "description", "descriptions"),
        ("assignable", "mark that a node cannot be assigned", "marks that nodes cannot be assigned"),
        ("valid_from", "first day of validity", "first days of validity"),
        ("valid_to", "last day of validity", "last days of validity"),
    ):
        count = sum(1 for old, new in kept if getattr(old, field) != getattr(new, field))
        if count:
            lost.append(counted(count, one, many))
    entries = sum(1 for old, new in kept for key, value in old.meta.items() if new.meta.get(key) != value)
    if entries:
        lost.append(counted(entries, "meta entry", "meta entries"))
    return lost
