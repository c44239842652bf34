"""Scorers: each gives every document one or more numbers for the nodes it has a model for.

A new scorer is one file and one line in `hclf.scorers.table.SCORERS`; the contract tests pick it up from there.
Several are named together: `linear+lexicon`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hclf.errors import UsageError
from hclf.inputs import Inputs
from hclf.scorers.base import Scorer
from hclf.scorers.table import SCORERS, scorer_class
from hclf.scorers.together import Together

__all__ = ["SCORERS", "Inputs", "Scorer", "make_scorer", "scorer_class", "scorer_from_state"]


def make_scorer(name: str, options: Mapping[str, Any] | None = None, **common: Any) -> Scorer:
    """Return a scorer that is not fitted yet.

    Args:
        name: in `SCORERS`, or several of them joined by `+`.
        options: keyword arguments of the scorer; of several: {name: keyword arguments}, which one may have too.
        common: keyword arguments for each of them.

    Raises:
        UsageError: no scorer has this name, one is named twice, or an option does not exist.
    """
    names = _names(name)
    parts = {part: _made(part, {**common, **own}) for part, own in _options(names, options or {}).items()}
    if len(names) == 1:
        return parts[names[0]]
    return Together(parts)


def scorer_from_state(name: str, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Scorer:
    """Build a fitted scorer from its name and what `get_state` returned."""
    names = _names(name)
    if len(names) > 1:
        return Together.from_state(config, arrays)
    scorer: Scorer = scorer_class(names[0]).from_state(config, arrays)
    return scorer


def _names(name: str) -> list[str]:
    names = [part.strip() for part in name.split("+")]
    if twice := next((part for part in names if names.count(part) > 1), None):
        raise UsageError(f"scorer {twice!r} is named twice in {name!r}")
    return names


def _options(names: list[str], options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the options of each scorer."""
    if not (options.keys() <= set(names) and all(isinstance(own, Mapping) for own in options.values())):
        if len(names) == 1:
            return {names[0]: options}
        shown = ", ".join(f'"{part}": {{…}}' for part in names)
        raise UsageError(f"options of several scorers are {{{shown}}}; found {', '.join(map(repr, options))}")
    return {part: options.get(part, {}) for part in names}


def _made(name: str, options: Mapping[str, Any]) -> Scorer:
    try:
        scorer: Scorer = scorer_class(name)(**options)
    except TypeError as error:
        raise UsageError(f"scorer {name!r}: {error}") from None
    return scorer
