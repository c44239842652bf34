"""Everything about an evaluation as plain JSON values: what the page shows, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
