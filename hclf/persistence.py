"""A fitted classifier as the parts of a bundle, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hclf.bundle import Bundle, Part
from hclf.calibration import LevelCalibration
from hclf.errors import BundleError
from hclf.fusion import Calibration, Prior
from hclf.model import Fusion, Head, Model
from hclf.operating import DEFAULT, OperatingPoint
from hclf.scorers import scorer_from_state

BASELINE = "baseline"  # what the state of a second model is called in the manifest; its parts are called baseline-…


class Fitted(NamedTuple):
    """What a fitted classifier consists of.

    Attributes:
        settings: its parameters, but for the taxonomy.
        model: scorer and calibrations.
        points: operating points by name.
        counts: (nodes,) training documents of each node.
        report: what happened in fit.
    """

    settings: dict[str, Any]
    model: Model
    points: dict[str, OperatingPoint]
    counts: NDArray[np.int64]
    report: dict[str, Any]


def to_parts(fitted: Fitted, prefix: str = "") -> tuple[dict[str, Any], dict[str, Part]]:
    """Return the manifest of a model and the parts that go with it; their names begin with `prefix`."""
    model = fitted.model
    config, arrays = model.scorer.get_state()
    manifest = {
        "settings": fitted.settings,
        "operating_points": {name: point.to_dict() for name, point in fitted.points.items()},
        "calibration": model.head.fusion.columns.to_dict(),
        "candidate_calibration": model.head.fusion.pairs.to_dict(),
        "level_calibration": model.head.level_calibration and model.head.level_calibration.to_dict(),
        "features": model.width,
        "one_label": model.one_label,
        "report": fitted.report,
    }
    name = f"{prefix}{fitted.settings['scorer']}"
    return manifest, {name: (config, {**arrays, "counts": fitted.counts})}


def from_bundle(bundle: Bundle, path: str | Path, *, baseline: bool = False) -> Fitted:
    """Build a fitted model, or the baseline beside it, from a bundle; `path` is for messages.

    Raises:
        BundleError: parts are missing or damaged.
    """
    try:
        with np.errstate(invalid="raise"):  # numbers that are none
            manifest = bundle.manifest[BASELINE] if baseline else bundle.manifest
            return _rebuilt(bundle, manifest, f"{BASELINE}-" if baseline else "")
    except KeyError as error:
        why = f"damaged, or another version of hclf made it: it lacks {error}"
        raise BundleError(f"{path} is {why}; train it anew") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BundleError(f"{path} is damaged: {type(error).__name__} {error}") from error


def _rebuilt(bundle: Bundle, manifest: Mapping[str, Any], prefix: str) -> Fitted:
    taxonomy, settings, report = bundle.taxonomy, dict(manifest["settings"]), manifest["report"]
    given = manifest["operating_points"]
    points = {name: OperatingPoint.from_dict(name, given[name]) for name in (DEFAULT, *given)}
    for point in points.values():  # one that does not fit is better found now
        point.decode(taxonomy, np.zeros((1, len(taxonomy)), dtype=np.float32))
    fusion = Fusion(*(Calibration.from_dict(manifest[name]) for name in ("calibration", "candidate_calibration")))
    levels = manifest["level_calibration"]
    config, arrays = bundle.parts[f"{prefix}{settings['scorer']}"]
    scorer = scorer_from_state(settings["scorer"], config, arrays)
    head = Head(
        taxonomy,
        Prior(taxonomy, scorer.columns, arrays["counts"], report["documents"]),
        fusion,
        coherence=None if settings["flat"] else settings["coherence"],
        level_calibration=levels and LevelCalibration.from_dict(taxonomy, levels),
    )
    width = None if manifest["features"] is None else int(manifest["features"])
    model = Model(scorer, head, width, manifest["one_label"])
    return Fitted(settings, model, points, arrays["counts"], report)
