"""napkinXC: a probabilistic label tree (PLT) on scikit-learn's TF-IDF.

Its defaults: hierarchical 2-means, 100 labels a leaf, logistic loss, C = 10, weights below 0.1 dropped, exact
search of the tree. Labels are closed where documents have several (Open Food Facts: hF .64 -> .70).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
from _features import FEATURES
from _job import Job, main, padded
from napkinxc.models import PLT
from scipy.sparse import csr_matrix


def fit(job: Job) -> tuple[Any, Any]:
    features = FEATURES[job.settings["features"]]()
    X = csr_matrix(features.fit_transform(job.texts))
    X.sort_indices()
    model = PLT(str(job.out / "model" / "plt"), threads=job.threads, seed=0)
    model.fit(X, job.label_sets)
    return features, model


def save(model: tuple[Any, Any], folder: Path) -> None:
    joblib.dump(model[0], folder / "features.joblib")  # the tree is on disk already: it is trained there


def load(folder: Path, job: Job) -> tuple[Any, Any]:
    model = PLT(str(folder / "plt"), threads=job.threads, seed=0)
    model.load()
    return joblib.load(folder / "features.joblib"), model


def predict(model: tuple[Any, Any], job: Job) -> tuple[np.ndarray, np.ndarray]:
    features, tree = model
    X = csr_matrix(features.transform([document["text"] for document in job.test]))
    X.sort_indices()
    lists = tree.predict_proba(X, top_k=min(job.top, len(job.columns)))
    return padded([([label for label, _ in own], [score for _, score in own]) for own in lists], job.top)


if __name__ == "__main__":
    main(fit, save, predict, ("napkinxc", "scikit-learn"), load)
