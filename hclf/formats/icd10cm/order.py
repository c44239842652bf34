"""The order file of CMS: a line a code in fixed columns, with the flag that says whether it is billable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hclf.errors import Fault, TaxonomyError
from hclf.formats._files import lines

MAX_FAULTS = 100  # a file of another kind has a fault on every line


class Listed(NamedTuple):
    """What the order file says of a code."""

    line: int
    billable: bool


@dataclass(frozen=True, slots=True)
class OrderFile:
    """The codes of an order file, with their dots, in its order."""

    path: Path
    codes: dict[str, Listed] = field(default_factory=dict)


def dotted(code: str) -> str:
    """Return a code with the dot after its category.

    >>> dotted("E119"), dotted("I10")
    ('E11.9', 'I10')
    """
    return f"{code[:3]}.{code[3:]}" if len(code) > 3 else code


def read_order(path: str | Path) -> OrderFile:
    """Read an order file; gzip by suffix.

    Raises:
        TaxonomyError: not readable, or lines that are not `number code flag short-title long-title` in columns.
    """
    order, faults = OrderFile(Path(path)), []
    for line, code, flag in _rows(order.path):
        message = _fault(code, flag)
        if not message and code in order.codes:
            message = f"the code '{code}' again, first on line {order.codes[code].line}"
        if message:
            faults.append(Fault(message, str(path), line))
            if len(faults) == MAX_FAULTS:
                break
        else:
            order.codes[code] = Listed(line, flag == "1")
    if not order.codes and not faults:
        faults = [Fault("no codes in this order file", str(path))]
    if faults:
        raise TaxonomyError(faults)
    return order


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for line, text in lines(path):
        if text.strip():
            yield line, dotted(text[6:14].strip()), text[14:16].strip()


def _fault(code: str, flag: str) -> str:
    if flag not in ("0", "1") or not code.replace(".", "").isalnum():
        return "not a line of an order file: expected a code in columns 7 to 13 and 0 or 1 in column 15"
    return ""
