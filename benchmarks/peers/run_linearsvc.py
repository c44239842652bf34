"""scikit-learn: one LinearSVC a label (one-vs-rest) on TF-IDF of words 1–2 and characters 3–5.

C = 1, squared hinge, dual: the settings of every good text baseline. Where documents have several labels the labels
are closed, so internal nodes have models too; where they have one, only most specific labels have, parents are
implied (better than a model for each ancestor). The fits run in threads, for liblinear releases the interpreter
lock, and each weight vector is kept sparse, or 1,600 labels alone would need gigabytes. Scores are sigmoids of the
margins: one Platt scaling for all labels would not change their order, and thresholds are tuned afterwards.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from _features import FEATURES
from _job import Job, main, top_of_dense
from scipy.sparse import csc_matrix, csr_matrix, vstack
from scipy.special import expit
from sklearn.svm import LinearSVC

ROWS = 256


def fit(job: Job) -> dict[str, Any]:
    features = FEATURES[job.settings["features"]]()
    X = csr_matrix(features.fit_transform(job.texts))
    Y = csc_matrix(job.indicator)

    def one(column: int) -> tuple[csr_matrix, float]:
        y = np.zeros(X.shape[0], dtype=bool)
        y[Y.indices[Y.indptr[column] : Y.indptr[column + 1]]] = True
        if y.all():
            return csr_matrix((1, X.shape[1]), dtype=np.float32), 1.0
        svm = LinearSVC(C=1.0, random_state=0).fit(X, y)
        return csr_matrix(svm.coef_.astype(np.float32)), float(svm.intercept_[0])

    with ThreadPoolExecutor(job.threads) as pool:
        models = list(pool.map(one, range(Y.shape[1])))
    weights = csr_matrix(vstack([weight for weight, _ in models]).T)
    return {"features": features, "weights": weights, "bias": np.array([bias for _, bias in models])}


def save(model: dict[str, Any], folder: Path) -> None:
    joblib.dump(model, folder / "model.joblib")


def predict(model: dict[str, Any], job: Job) -> tuple[np.ndarray, np.ndarray]:
    X = csr_matrix(model["features"].transform([document["text"] for document in job.test]))
    parts = []
    for start in range(0, X.shape[0], ROWS):
        margins = (X[start : start + ROWS] @ model["weights"]).toarray() + model["bias"]
        parts.append(top_of_dense(expit(margins), job.top))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


if __name__ == "__main__":
    main(fit, save, predict, ("scikit-learn", "numpy", "scipy"))
