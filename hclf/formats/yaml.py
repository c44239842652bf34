"""The YAML form of a taxonomy: reading with every fault placed, and the canonical writing.

The form is described in docs/taxonomy-yaml.md, and for editors in schema.json beside this file.
"""

from __future__ import annotations

import gc
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hclf.errors import Fault, TaxonomyError
from hclf.formats._yaml.document import parse
from hclf.formats._yaml.emit import count_values, emit
from hclf.formats._yaml.events import MAX_VALUES
from hclf.formats._yaml.faults import Faults
from hclf.formats._yaml.source import MAX_BYTES, clean, load
from hclf.formats._yaml.values import slug
from hclf.taxonomy import Taxonomy

__all__ = ["MAX_BYTES", "SCHEMA", "check", "check_text", "dumps", "read", "reads", "slug", "write"]

SCHEMA = Path(__file__).with_name("schema.json")


def check(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy of a file and everything that is wrong with it, in file order.

    Args:
        path: a YAML file; `.gz` is decompressed.
        max_bytes: the most it may have, decompressed.

    Returns:
        The taxonomy, or None if any fault is an error; and the faults, warnings among them.
    """
    faults = Faults(os.fspath(path))
    try:
        return _check(load(Path(path), faults, max_bytes), faults, max_bytes)
    except TaxonomyError as error:
        return None, list(error.faults)


def check_text(text: str | bytes, file: str = "<string>") -> tuple[Taxonomy | None, list[Fault]]:
    """Return the taxonomy of a YAML text and everything that is wrong with it; `file` is named in the faults.

    >>> taxonomy, faults = check_text("hclf: 1\\nnodes:\\n  - id: a\\n    nmae: A\\n")
    >>> print(*faults)
    <string>:4:5: unknown key 'nmae' in a node; did you mean 'name'? [a]
    """
    faults = Faults(file)
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    try:
        return _check(data, faults, MAX_BYTES)
    except TaxonomyError as error:
        return None, list(error.faults)


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Taxonomy:
    """Return the taxonomy of a file, as `check`; its warnings are not shown.

    Raises:
        TaxonomyError: all errors of the file, each with its place.
    """
    return _or_raise(*check(path, max_bytes=max_bytes))


def reads(text: str | bytes, file: str = "<string>") -> Taxonomy:
    """Return the taxonomy of a YAML text; `file` is the name in errors.

    Raises:
        TaxonomyError: all errors of the text, each with its place.

    >>> reads("{hclf: 1, nodes: [{phones: [Smartphones, Feature phones]}]}").nodes
    ('phones', 'feature-phones', 'smartphones')
    """
    return _or_raise(*check_text(text, file))


def dumps(taxonomy: Taxonomy) -> str:
    """Return the canonical YAML of a taxonomy: the same for equal taxonomies, and read back as an equal one.

    Raises:
        TaxonomyError: ids or names that the form does not allow, such as an id with "|" or an empty name.

    >>> print(dumps(Taxonomy(["a", "b"], [("a", "b")], id="letters")), end="")
    hclf: 1
    id: letters
    nodes:
      - id: a
        children:
          - id: b
    """
    text = emit(taxonomy)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TaxonomyError(f"cannot be written as YAML: a lone surrogate U+{ord(text[error.start]):04X}") from None
    return text


def write(taxonomy: Taxonomy, path: str | os.PathLike[str]) -> None:
    """Write the canonical YAML, compressed when the name ends in `.gz`; the file appears whole or not at all.

    Raises:
        TaxonomyError: as `dumps`; the file would be larger than `read` takes, or cannot be written.
    """
    target = Path(path)
    data = dumps(taxonomy).encode()
    if len(data) > MAX_BYTES or count_values(taxonomy) > MAX_VALUES:
        raise TaxonomyError(
            f"{len(taxonomy):,} nodes ({len(data) / 2**20:,.0f} MiB) are too many for a YAML file; write a .tsv table"
        )
    if target.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # no time: equal taxonomies give equal files
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(target)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise TaxonomyError([Fault(f"cannot be written: {error.strerror or error}", str(target))]) from None


def _check(data: bytes, faults: Faults, max_bytes: int) -> tuple[Taxonomy | None, list[Fault]]:
    with _no_collector():
        taxonomy = parse(clean(data, faults, max_bytes), faults)
    return taxonomy, faults.sorted()


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the cycle collector: it would walk the growing tree again and again, and take half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _or_raise(taxonomy: Taxonomy | None, faults: list[Fault]) -> Taxonomy:
    if taxonomy is None:
        raise TaxonomyError([fault for fault in faults if fault.severity == "error"])
    return taxonomy
