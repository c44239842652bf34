"""Metrics as pure functions, and a scorer for scikit-learn.

Of label sets: `sets`, and by distance in the taxonomy `graph`. Of scores: `ranking`, at every threshold `curves`,
as probabilities `calibration`. `partial` takes out what a truth of partial depth says nothing of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, issparse

from hclf.data import LabelResolver
from hclf.labels import close, label_matrix
from hclf.metrics.calibration import (
    CalibrationTable,
    ReliabilityTable,
    brier_score,
    calibration_table,
    error_by_chance,
    expected_calibration_error,
    log_loss,
    node_count_error,
    reliability_table,
)
from hclf.metrics.curves import (
    Curve,
    Fmax,
    Smin,
    f_max,
    hf_auc,
    information_content,
    precision_recall_curve,
    s_min,
)
from hclf.metrics.graph import (
    MistakeSeverity,
    graph_distance_per_document,
    lca_per_document,
    lca_precision_recall_f1,
    mean_graph_distance,
    mgia,
    mgia_per_document,
    mistake_severity,
)
from hclf.metrics.partial import only_known
from hclf.metrics.ranking import (
    average_precision_example,
    average_precision_macro,
    average_precision_micro,
    average_precision_per_node,
    average_precision_weighted,
    mean_average_precision,
    ndcg_at_k,
    precision_at_k,
    propensities,
    propensity_scored_precision_at_k,
    ranked_lists,
    ranked_lists_per_document,
    recall_at_k,
)
from hclf.metrics.sets import (
    Answered,
    AnsweredTable,
    Average,
    answered,
    answered_by_level,
    check_columns,
    constrained_precision_recall_f1,
    document_scores,
    exact_match,
    hamming_loss,
    hierarchical_precision_recall_f1,
    level_scores,
    macro_f1,
    node_scores,
    unknown_rate,
)
from hclf.taxonomy import Taxonomy

__all__ = [
    "Answered",
    "AnsweredTable",
    "CalibrationTable",
    "Curve",
    "Fmax",
    "MistakeSeverity",
    "ReliabilityTable",
    "Smin",
    "answered",
    "answered_by_level",
    "average_precision_example",
    "average_precision_macro",
    "average_precision_micro",
    "average_precision_per_node",
    "average_precision_weighted",
    "brier_score",
    "calibration_table",
    "constrained_precision_recall_f1",
    "document_scores",
    "error_by_chance",
    "exact_match",
    "expected_calibration_error",
    "f_max",
    "graph_distance_per_document",
    "hamming_loss",
    "hf_auc",
    "hf_scorer",
    "hierarchical_precision_recall_f1",
    "information_content",
    "lca_per_document",
    "lca_precision_recall_f1",
    "level_scores",
    "log_loss",
    "macro_f1",
    "mean_average_precision",
    "mean_graph_distance",
    "mgia",
    "mgia_per_document",
    "mistake_severity",
    "ndcg_at_k",
    "node_count_error",
    "node_scores",
    "only_known",
    "precision_at_k",
    "precision_recall_curve",
    "propensities",
    "propensity_scored_precision_at_k",
    "ranked_lists",
    "ranked_lists_per_document",
    "recall_at_k",
    "reliability_table",
    "s_min",
    "unknown_rate",
]


def hf_scorer(estimator: Any, X: Any, y: Any, average: Average = "micro") -> float:
    """Return hF of a fitted classifier: `cross_val_score(model, X, y, scoring=hf_scorer)`.

    Truth and prediction are closed under ancestors first; hF is that of `hierarchical_precision_recall_f1`. For
    the example average pass `scoring=functools.partial(hf_scorer, average="example")`.

    Args:
        estimator: anything fitted with `taxonomy_` and `predict(X)`, or a scikit-learn pipeline that ends in it.
        X: inputs, passed on to `predict`.
        y: for each input its labels, as ids, names or paths (a plain string is one label), or a (documents,
            nodes) indicator matrix.

    Returns:
        A float in [0, 1]; 0.0 when nothing is true or nothing predicted.

    Raises:
        DataError: a label that is not exactly one node of the taxonomy.
        UsageError: an indicator matrix of another width, or another number of predictions than of labels.
    """
    # A pipeline holds it in its last step.
    taxonomy: Taxonomy = (estimator if hasattr(estimator, "taxonomy_") else estimator[-1]).taxonomy_
    true, predicted = _closed(taxonomy, y), _closed(taxonomy, estimator.predict(X))
    return hierarchical_precision_recall_f1(true, predicted, average).f1


def _closed(taxonomy: Taxonomy, y: Any) -> csr_matrix[Any]:
    """Return label sets or an indicator matrix as a closed label matrix."""
    array: Any = y if issparse(y) or isinstance(y, np.ndarray) else None
    if array is None or array.ndim == 1 or array.dtype.kind not in "buif":
        resolve = LabelResolver(taxonomy)
        return label_matrix(taxonomy, [map(resolve, [labels] if isinstance(labels, str) else labels) for labels in y])
    check_columns(taxonomy, array, "the label matrix has")
    return close(taxonomy, csr_matrix(array, dtype=bool))
