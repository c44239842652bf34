"""Paths: a line a node, `A > B > C`, with or without ids; or a table with a column a level.

Forms, told apart by what most lines look like:
    A > B > C                                    the id is the path itself, shortened: `a/b/c`
    3237 - A > B                                 Google: the number is the id
    gid://shopify/TaxonomyCategory/ap-1 : A > B  Shopify: the part after the last "/" is the id, `ap-1`
    any-id : A > B                               what `write` writes; an id on several lines has several parents
Lines of ancestors that are missing are made up. The same name under two parents is two nodes, and so are two
ids with the same path (translations have such siblings).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from hclf.errors import Fault, TaxonomyError, UsageError, did_you_mean, suggest
from hclf.formats import table
from hclf.formats._draft import PATH_SEPARATOR, Draft
from hclf.formats._files import lines, one_line, write_text
from hclf.taxonomy import Node, Taxonomy

__all__ = ["check", "dumps", "read", "write"]

MAX_BYTES = 1 << 26
MAX_PARTS = 100
MAX_ID = 1_000
ID_FORMS = (re.compile(r"(\d+) - (.*)", re.DOTALL), re.compile(r"(\S+)\s+:\s(.*)", re.DOTALL))
LEVEL_COLUMN = re.compile(r"(?:level|lvl|l|category|cat)[ _-]?(\d+)", re.IGNORECASE)
GOOGLE = re.compile(r"#\s*Google_Product_Taxonomy_Version:\s*(\S+)")
SHOPIFY = re.compile(r"#\s*(Shopify Product Taxonomy)[^:]*:\s*(\S+)")
TOP = -1


def read(path: str | Path, *, separator: str | None = None, levels: Sequence[str] | str = ()) -> Taxonomy:
    """Read a taxonomy from lines of paths, or from a table with one column a level.

    Args:
        path: the file, UTF-8, gzip by suffix. `.csv` and `.tsv` files are read as level columns.
        separator: what stands between the names of a line; by default " > ", or "/" where no line has " > " and
            the lines show that "/" is it.
        levels: the columns of a table from the roots down (names, or one string joined by commas); by default
            those called `level1`, `level 2`, … An `id` column beside them names the deepest node of its row.

    Raises:
        TaxonomyError: everything wrong with it, each with file and line.
    """
    return Draft.of(path, partial(_fill, separator=separator, levels=levels)).taxonomy()


def check(
    path: str | Path, *, separator: str | None = None, levels: Sequence[str] | str = ()
) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy, or None if it has errors, and all faults, warnings included."""
    return Draft.of(path, partial(_fill, separator=separator, levels=levels)).check()


def _fill(draft: Draft, separator: str | None, levels: Sequence[str] | str) -> None:
    tree = PathTree(draft)
    if levels or Path(draft.file).name.removesuffix(".gz").endswith((".csv", ".tsv", ".tab")):
        _columns(draft, tree, levels)
    else:
        _lines(draft, tree, lines(draft.file, limit=MAX_BYTES), separator)
    tree.finish()


# -- lines -----------------------------------------------------------------------------------------------------


Numbered = Iterable[tuple[int, str]]


def _lines(draft: Draft, tree: PathTree, numbered: Numbered, separator: str | None) -> None:
    given = _path_lines(draft, numbered)
    form = _id_form([text for _, text in given[:100]])
    split = separator or _separator({text for _, text in given})
    paths: list[tuple[list[str], str, int]] = []
    for line, text in given:
        node, path = "", text
        if form:
            found = form.fullmatch(text)
            if not found:
                draft.fault("no id before the path, as the other lines have", line)
                continue
            node, path = found.groups()
            node = node.rpartition("/")[2] if node.startswith("gid://") else node
        paths.append(([name.strip() for name in path.split(split)], node, line))
    for names, node, line in sorted(paths, key=lambda path: len(path[0])):  # parents first, whatever the order
        tree.add(names, node, line)


def _path_lines(draft: Draft, numbered: Numbered) -> list[tuple[int, str]]:
    """Return (line, text) of the lines that are paths; what leading comments say goes to the header."""
    kept: list[tuple[int, str]] = []
    for line, text in numbered:
        text = text.strip()
        if text.startswith("#") and not kept:
            if found := GOOGLE.match(text):
                draft.header |= {"id": "google", "title": "Google Product Taxonomy", "version": found[1]}
            elif found := SHOPIFY.match(text):
                draft.header |= {"id": "shopify", "title": found[1], "version": found[2]}
        elif text:
            kept.append((line, text))
    return kept


def _id_form(sample: Sequence[str]) -> re.Pattern[str] | None:
    """Return the form of ids that more than half of the lines have."""
    for form in ID_FORMS:
        if sum(1 for text in sample if form.fullmatch(text)) * 2 > len(sample):
            return form
    return None


def _separator(texts: set[str]) -> str:
    """Return " > " unless no line has it and every line with "/" continues another line."""
    if not any(PATH_SEPARATOR in text for text in texts):
        above = [text.rpartition("/")[0] for text in texts if "/" in text]
        if above and texts.issuperset(above):
            return "/"
    return PATH_SEPARATOR


# -- level columns -------------------------------------------------------------------------------------------


def level_columns(header: Sequence[str]) -> list[int]:
    """Return the positions of columns called level1, level 2, …, in the order of their numbers."""
    found = [(int(m[1]), i) for i, name in enumerate(header) if (m := LEVEL_COLUMN.fullmatch(name.strip()))]
    return [i for _, i in sorted(found)]


def _columns(draft: Draft, tree: PathTree, levels: Sequence[str] | str) -> None:
    rows = table.rows(draft.file)
    line, cells = next(rows, (0, []))
    if not cells:
        return
    header = [cell.strip() for cell in cells]
    named = [name.strip() for name in levels.split(",")] if isinstance(levels, str) and levels else list(levels)
    if unknown := [name for name in named if name not in header]:
        raise UsageError(f"{draft.file}: no column {unknown[0]!r}{did_you_mean(suggest(unknown[0], header))}")
    columns = [header.index(name) for name in named] or level_columns(header)
    if not columns:
        draft.fault("no columns called level1, level2, …; name the columns of the levels (--levels a,b,c)", line)
    draft.level_names = named
    at = next((i for i, name in enumerate(header) if table.ALIASES.get(name.lower()) == "id"), None)
    for line, cells in rows:
        cells += [""] * (len(header) - len(cells))
        names = [cells[column].strip() for column in columns]
        while names and not names[-1]:
            names.pop()
        if names:
            tree.add(names, "" if at is None or at in columns else cells[at].strip(), line)


# -- the tree of paths ---------------------------------------------------------------------------------------


class PathTree:
    """Every path once, as a place under its parent's place; then as nodes and edges of a draft."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.at: dict[tuple[int, str], int] = {}
        self.twins: dict[int, dict[str, int]] = {}
        self.parent: list[int] = []
        self.name: list[str] = []
        self.id: list[str] = []
        self.line: list[int] = []

    def add(self, names: list[str], node: str, line: int) -> None:
        """Add a path and its ancestors; `node` is its id, "" to have one made."""
        if not all(names):
            self.draft.fault("an empty name in the path", line)
            return
        if len(names) > MAX_PARTS:
            self.draft.fault(f"a path of {len(names):,} names; at most {MAX_PARTS} are read", line)
            return
        place = TOP
        for name in names:
            place = self._below(self._of_twins(place, node, line), name, line)
        if node and self.id[place] not in ("", node):
            place = self._twin(place, node, line)
        if node:
            self.id[place], self.line[place] = node, line

    def _below(self, place: int, name: str, line: int) -> int:
        found = self.at.get((place, name))
        if found is None:
            found = self.at[place, name] = self._place(place, name, line)
        return found

    def _place(self, parent: int, name: str, line: int) -> int:
        self.parent.append(parent)
        self.name.append(name)
        self.id.append("")
        self.line.append(line)
        return len(self.name) - 1

    def _twin(self, place: int, node: str, line: int) -> int:
        """Return the place of `node` beside the one of another id with the same path.

        Translated files have such: two siblings that another language calls the same.
        """
        twins = self.twins.setdefault(place, {self.id[place]: place})
        if node not in twins:
            self.draft.warn(f"the same path as '{self.id[place]}' on line {self.line[place]}", line, node)
            twins[node] = self._place(self.parent[place], self.name[place], line)
        return twins[node]

    def _of_twins(self, place: int, node: str, line: int) -> int:
        """Return which of several places of one path `node` lies under: the one whose id begins the node's."""
        twins = self.twins.get(place)
        if not twins:
            return place
        for end in range(len(node) - 1, 0, -1):
            if not node[end].isalnum() and node[:end] in twins:
                return twins[node[:end]]
        choice = " or ".join(f"'{twin}'" for twin in list(twins)[:3])
        self.draft.fault(f"its path does not tell whether it lies under {choice}", line, node=node)
        return place

    def finish(self) -> None:
        """Make the missing ids and hand everything to the draft."""
        self._make_ids()
        first: dict[str, int] = {}
        for place, (node, name, line) in enumerate(zip(self.id, self.name, self.line, strict=True)):
            known = first.setdefault(node, place)
            if known == place:
                self.draft.node(Node(node, {"": name}), line)
            elif self.name[known] != name:
                self.draft.fault(f"another name on line {self.line[known]}", line, node=node)
            if self.parent[place] != TOP:
                self.draft.edge(self.id[self.parent[place]], node)

    def _make_ids(self) -> None:
        """Give each place without id that of its parent, "/", and its slug; a taken one gets "-2", "-3", ….

        In order of depth and name, so that the ids do not depend on the order of the lines.
        """
        depth: list[int] = []
        for parent in self.parent:
            depth.append(depth[parent] + 1 if parent != TOP else 0)
        taken = set(self.id)
        times: dict[str, int] = {}
        nameless = sorted((place for place, node in enumerate(self.id) if not node), key=depth.__getitem__)
        for _, level in groupby(nameless, key=depth.__getitem__):
            for prefix, name, place in sorted((self._prefix(place), self.name[place], place) for place in level):
                base = node = prefix + slug(name)
                while node in taken:
                    times[base] = times.get(base, 1) + 1
                    node = f"{base}-{times[base]}"
                if len(node) > MAX_ID:
                    self.draft.fault(f"an id made of this path would be longer than {MAX_ID:,}", self.line[place])
                    node = node[:MAX_ID]
                taken.add(node)
                self.id[place] = node

    def _prefix(self, place: int) -> str:
        parent = self.parent[place]
        return self.id[parent] + "/" if parent != TOP else ""


def fold(text: str) -> str:
    """Return a text in small letters without accents, for comparing; kana and other scripts keep their marks.

    >>> fold("Crème BRÛLÉE")
    'creme brulee'
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", plain))


def slug(name: str) -> str:
    """Return a name folded, and everything but letters and digits in it as "-".

    >>> slug("Crème & Café"), slug("DIY用品")
    ('creme-cafe', 'diy用品')
    """
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in fold(name))
    return "-".join("".join(kept).split()) or "-"


# -- writing -------------------------------------------------------------------------------------------------


def write(taxonomy: Taxonomy, path: str | Path) -> None:
    """Write a line a node, `id : A > B > C`, or bare paths where these give the same ids.

    A node with several parents has a line for each. Only ids, edges and the names to show are kept.

    Raises:
        TaxonomyError: paths cannot tell the nodes apart (two nodes of one name under one parent, a name with
            " > ", an id with spaces); or the file cannot be written.
    """
    write_text(path, _parts(taxonomy))


def dumps(taxonomy: Taxonomy) -> str:
    """Return the taxonomy as lines of paths.

    >>> print(dumps(Taxonomy(["toys", "x7"], [("toys", "x7")])), end="")
    toys : toys
    x7 : toys > x7
    """
    return "".join(_parts(taxonomy))


def _parts(taxonomy: Taxonomy) -> list[str]:
    paths = _name_paths(taxonomy)
    bare = [path + "\n" for _, path in paths]
    if taxonomy.is_tree and _reads_back(taxonomy, bare):
        return bare
    with_ids = [f"{node} : {path}\n" for node, path in paths]
    if not _reads_back(taxonomy, with_ids):
        raise TaxonomyError([*_why_not(taxonomy, paths)] or "paths cannot hold these ids and names; write a table")
    return with_ids


def _name_paths(taxonomy: Taxonomy) -> list[tuple[str, str]]:
    """Return (id, path of names) for each root and each edge, parents before children."""
    names = [one_line(name.strip()) for name in taxonomy.names]
    canonical: list[str] = []
    paths: list[tuple[str, str]] = []
    for j, node in enumerate(taxonomy.nodes):
        up = taxonomy.parents.of(j).tolist()
        mine = [f"{canonical[parent]}{PATH_SEPARATOR}{names[j]}" for parent in up] or [names[j]]
        canonical.append(mine[0])
        paths += [(node, path) for path in mine]
    return paths


def _reads_back(taxonomy: Taxonomy, parts: list[str]) -> bool:
    """Tell whether reading the lines gives the same nodes and edges: no rule about names is ever forgotten."""

    def fill(draft: Draft) -> None:
        tree = PathTree(draft)
        # `lines` would take a mark of byte order from the first line.
        head = [part.removeprefix("\ufeff") for part in parts[:1]]
        _lines(draft, tree, enumerate([*head, *parts[1:]], start=1), None)
        tree.finish()

    read_back, _ = Draft.of("", fill).build()
    return read_back is not None and (read_back.nodes, set(read_back.edges())) == (
        taxonomy.nodes,
        set(taxonomy.edges()),
    )


def _why_not(taxonomy: Taxonomy, paths: list[tuple[str, str]]) -> Iterator[Fault]:
    """Yield what keeps a taxonomy from being written as paths."""
    owner: dict[str, str] = {}
    for node, path in paths:
        if PATH_SEPARATOR in taxonomy[node].name:
            yield Fault(f"a name with {PATH_SEPARATOR!r} cannot stand in a path", node=node)
        elif ID_FORMS[1].fullmatch(f"{node} : x") is None or node.startswith(("#", "gid://")):
            yield Fault("an id with spaces, or that begins with '#' or 'gid://', cannot stand in a path", node=node)
        elif owner.setdefault(path, node) != node:
            yield Fault(f"the same path of names as '{owner[path]}'; write a table instead", node=node)
