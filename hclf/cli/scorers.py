"""Options of scorers on the command line: the common ones have flags of their own, every one is NAME=VALUE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hclf.errors import UsageError

FLAGS = {"tune": "learn", "n_members": "members", "node_texts": "no-node-texts", "mined": "no-mined-phrases"}
"""Of options that are called otherwise."""


def scorer_options(
    scorer: str, flags: Mapping[str, Mapping[str, Any]], pairs: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the options of the scorers that are asked for: of several by name, of one as they are.

    Args:
        scorer: a scorer's name, or several joined by `+`.
        flags: by scorers, several joined by a space, what flags say to them; None where a flag was not given.
        pairs: what was given as NAME=VALUE, of several scorers as SCORER.NAME=VALUE.

    Raises:
        UsageError: a flag was given that none of the scorers takes, or a pair that is none.
    """
    names = [name.strip() for name in scorer.split("+")]
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for takers, given in flags.items():
        takes = [name for name in names if name in takers.split()]
        for option, value in given.items():
            if value is None:
                continue
            if not takes:
                flag = FLAGS.get(option, option.replace("_", "-"))
                raise UsageError(f"--{flag} is for --scorer {' or '.join(takers.split())}, not {scorer}")
            for name in takes:
                options[name][option] = value
    for option, value in named_values(pairs or (), "--scorer-option", "dropout=0.2").items():
        name, dot, own = option.rpartition(".")
        if dot and name not in options:
            raise UsageError(f"--scorer-option {option}: {name!r} is not among the scorers of {scorer}")
        if not dot and len(names) > 1:
            raise UsageError(f"--scorer-option {option}: say whose it is, as in {names[0]}.{option}")
        options[name or names[0]][own] = value
    return options if len(names) > 1 else options[names[0]]


def named_values(pairs: Iterable[str], flag: str, example: str) -> dict[str, Any]:
    """Return NAME=VALUE pairs; values are read as YAML: numbers, `true`, `[1, 3]`, words.

    Raises:
        UsageError: a pair is none.
    """
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        try:
            found[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise UsageError(f"{flag}: {pair!r} is not NAME=VALUE, such as {example}")
    return found
