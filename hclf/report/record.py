"""Everything about an evaluation as plain JSON values: what the page shows, for programs."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hclf._version import __version__
from hclf.diagnostics import Diagnostics, label_rows
from hclf.evaluation import Evaluation
from hclf.statistics import Comparison


def everything(
    evaluation: Evaluation,
    diagnostics: Diagnostics,
    *,
    about: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Evaluation] | None = None,
    comparisons: Mapping[str, Comparison] | None = None,
    verdict: str | Sequence[str] = (),
    problems: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return `Evaluation.to_dict` with node rows (threshold and average precision added) and all else there is.

    Arguments are those of `html_report`. No text of any document is in it. `Evaluation.from_dict` reads it back.
    """
    return {
        **evaluation.to_dict(),
        "nodes": label_rows(evaluation, diagnostics),
        "diagnostics": diagnostics.to_dict(),
        "baselines": {name: other.to_dict() for name, other in (baselines or {}).items()},
        "comparisons": {name: comparison.to_dict() for name, comparison in (comparisons or {}).items()},
        "verdict": [verdict] if isinstance(verdict, str) else list(verdict),
        "problems": dict(problems or {}),
        "about": {"hclf": __version__, **(about or {})},
    }


def reproduction(command: str, files: Mapping[str, Path | str] | None = None) -> dict[str, Any]:
    """Return what somebody needs to do the same again, for `about`: the command, versions, and hashes of files.

    Args:
        command: as it was called.
        files: by what they are; "-" and what is not a file are named without a hash.

    >>> sorted(reproduction("hclf evaluate m d"))
    ['command', 'hclf', 'versions']
    """
    versions = {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
    about: dict[str, Any] = {
        "command": command,
        "hclf": __version__,
        "versions": {"Python": platform.python_version(), **versions},
    }
    for what, name in (files or {}).items():
        path = Path(name)
        digest = {"sha256": _sha256(path)} if path.is_file() else {}
        about[what] = {"file": str(name), **digest}
    return about


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
