"""hclf: a hierarchy-aware taxonomy classifier.

Documents go in, node scores come out of a scorer, are calibrated, made coherent along the taxonomy, cut by
per-level thresholds, and leave as label sets that are always closed under ancestors.

Names are resolved when first used: importing hclf imports neither numpy nor scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hclf._version import __version__

if TYPE_CHECKING:
    from hclf.classifier import HierarchicalClassifier
    from hclf.data import Document, Prediction, read_documents, synth, write_predictions
    from hclf.errors import HclfError
    from hclf.evaluation import Evaluation, evaluate
    from hclf.labels import label_matrix, label_sets
    from hclf.metrics import hf_scorer
    from hclf.registry import load_taxonomy, shipped_taxonomies
    from hclf.statistics import Comparison, compare
    from hclf.taxonomy import Node, Rule, Taxonomy

_PUBLIC = {
    "Comparison": "hclf.statistics",
    "Document": "hclf.data",
    "Evaluation": "hclf.evaluation",
    "HclfError": "hclf.errors",
    "HierarchicalClassifier": "hclf.classifier",
    "Node": "hclf.taxonomy",
    "Prediction": "hclf.data",
    "Rule": "hclf.taxonomy",
    "Taxonomy": "hclf.taxonomy",
    "compare": "hclf.statistics",
    "evaluate": "hclf.evaluation",
    "hf_scorer": "hclf.metrics",
    "label_matrix": "hclf.labels",
    "label_sets": "hclf.labels",
    "load_taxonomy": "hclf.registry",
    "read_documents": "hclf.data",
    "shipped_taxonomies": "hclf.registry",
    "synth": "hclf.data",
    "write_predictions": "hclf.data",
}

__all__ = [
    "Comparison",
    "Document",
    "Evaluation",
    "HclfError",
    "HierarchicalClassifier",
    "Node",
    "Prediction",
    "Rule",
    "Taxonomy",
    "__version__",
    "compare",
    "evaluate",
    "hf_scorer",
    "label_matrix",
    "label_sets",
    "load_taxonomy",
    "read_documents",
    "shipped_taxonomies",
    "synth",
    "write_predictions",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'hclf' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
