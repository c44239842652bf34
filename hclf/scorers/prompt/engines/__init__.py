"""Engines: what answers prompts. Heavy libraries are imported only by the one that needs them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hclf.errors import UsageError
from hclf.scorers.prompt.base import Engine

OF_THIS_MACHINE = ("device", "precision", "quantize", "batch_tokens")
OF_A_SERVER = (
    "answers",
    "samples",
    "temperature",
    "timeout",
    "retries",
    "concurrency",
    "max_tokens",
    "cache",
    "price",
)

_made: dict[str, Engine] = {}
_lock = threading.Lock()


def make_engine(*, model: str, base_url: str = "", seed: int = 0, **options: Any) -> Engine:
    """Return an engine, the same one for the same options: every fold of a fit counts in one place.

    Args:
        model: folder or name of a causal language model; with `base_url` its name on that server.
        base_url: of an OpenAI-compatible server; "": the model runs here.
        seed: of the server's sampling.
        options: of the engine; None: its default.

    Raises:
        UsageError: an option of the other kind of engine.
    """
    given = {name: value for name, value in options.items() if value is not None}
    foreign = [name for name in given if name in (OF_THIS_MACHINE if base_url else OF_A_SERVER)]
    if foreign:
        where = "a model on this machine, and base_url names a server" if base_url else "a server: give base_url, too"
        raise UsageError(f"{foreign[0]} is for {where}")
    key = repr((model, base_url, seed, sorted(given.items(), key=str)))
    with _lock:
        if key not in _made:
            _made[key] = _new_engine(model, base_url, seed, given)
        return _made[key]


def _new_engine(model: str, base_url: str, seed: int, options: dict[str, Any]) -> Engine:
    if base_url:
        from hclf.scorers.prompt.engines.server import ServerEngine

        return ServerEngine(model, base_url, seed=seed, **options)
    from hclf.scorers.prompt.engines.local import LocalEngine

    folder = Path(model).expanduser()
    return LocalEngine(str(folder.resolve()) if folder.is_dir() else model, **options)
