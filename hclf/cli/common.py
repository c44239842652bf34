"""What every command shares: two consoles, JSON output, guarded files, progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from hclf.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.tree import Tree

WIDE = 10_000  # columns where nothing is to be cut
T = TypeVar("T")
stdout = Console(soft_wrap=True)
stderr = Console(stderr=True, soft_wrap=True)


def first_process() -> bool:
    """Return whether this is the only process, or the first of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def print_fitted(drawing: Tree | Table) -> None:
    """Fit a drawing to a terminal; where another program reads, nothing is wrapped or cut."""
    console = stdout if stdout.is_terminal else Console(file=stdout.file, width=WIDE)
    console.print(drawing, soft_wrap=False)


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print what is said of something, a label and a value a row, and an empty line."""
    from rich.text import Text

    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        stdout.print(Text.assemble((label.ljust(width), "dim"), "  ", value))
    stdout.print()


def note(message: str) -> None:
    """Say something to the person on stderr."""
    stderr.print(message, highlight=False, markup=False)


def guard_output(path: Path | str | None, force: bool) -> None:
    """Refuse to overwrite an existing file or folder unless `force` is set; "-" and None are stdout."""
    if path is not None and str(path) != "-" and Path(path).exists() and not force:
        raise UsageError(f"{path} exists; add -f to overwrite it")


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, with a progress bar on stderr when that is a terminal; what items note stands beside it."""
    if not stderr.is_terminal or not first_process():
        yield from items
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    said = TextColumn("{task.fields[said]}")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), said)
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(description, total=total, said="")
        for item in items:
            yield item
            bar.update(task, advance=1, said=getattr(item, "note", ""))
