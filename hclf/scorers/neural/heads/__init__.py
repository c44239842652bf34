"""Heads by name."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

from hclf.errors import UsageError, did_you_mean, suggest
from hclf.scorers.neural.heads.base import Head
from hclf.scorers.neural.heads.conditional import ConditionalHead
from hclf.scorers.neural.heads.flat import FlatHead, MaxConstraintHead
from hclf.scorers.neural.heads.label_attention import LabelAttentionHead
from hclf.scorers.neural.heads.siblings import Exclusive, exclusive_siblings
from hclf.scorers.neural.hierarchy import Hierarchy

__all__ = [
    "HEADS",
    "ConditionalHead",
    "Exclusive",
    "FlatHead",
    "Head",
    "LabelAttentionHead",
    "MaxConstraintHead",
    "exclusive_siblings",
    "make_head",
]

HEADS: dict[str, type[Head]] = {
    head.name: head for head in (FlatHead, MaxConstraintHead, ConditionalHead, LabelAttentionHead)
}


def make_head(name: str, width: int, hierarchy: Hierarchy, **options: Any) -> Head:
    """Return a head by its name in `HEADS`, with its options.

    Raises:
        UsageError: no head has this name, or it has no such option.
    """
    if name not in HEADS:
        raise UsageError(f"unknown head {name!r}{did_you_mean(suggest(name, HEADS))}; known: {', '.join(HEADS)}")
    takes = _options(HEADS[name])
    for option in options:
        if option not in takes:
            hint = did_you_mean(suggest(option, takes)) or f"; it has {', '.join(takes)}"
            raise UsageError(f"head {name!r} has no option {option!r}{hint}")
    return HEADS[name](width, hierarchy, **options)


def _options(head: type[Head]) -> list[str]:
    """Return the options of a head and of the heads it is made from."""
    found = [signature(kind).parameters for kind in head.__mro__ if issubclass(kind, Head)]
    return list({name: None for each in found for name, p in each.items() if p.kind is Parameter.KEYWORD_ONLY})
