"""HiClass: a local classifier per node (`lcpn`, siblings policy) or per parent node (`lcppn`).

On the same TF-IDF as one-vs-rest; per parent node with LinearSVC, per node with logistic regression (its default:
it needs probabilities there). HiClass 5 takes one
path a document and has no multi-label form (it accepts an indicator matrix without an error and reads it as levels
of one path), so a document with several labels is given once for each, and one path is predicted. A node with
several parents goes by its first: HiClass would make it several nodes. Answers are hard: each has score 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
from _features import FEATURES
from _job import Job, main
from hiclass import LocalClassifierPerNode, LocalClassifierPerParentNode
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

KINDS = {
    "lcpn": (LocalClassifierPerNode, LogisticRegression(C=10, solver="liblinear", random_state=0)),
    "lcppn": (LocalClassifierPerParentNode, LinearSVC(random_state=0)),
}


def fit(job: Job) -> tuple[Any, Any]:
    pairs = [(row, label) for row, document in enumerate(job.train) for label in document["labels"]]
    paths = [job.path(label) for _, label in pairs]
    y = np.full((len(paths), max(map(len, paths))), "", dtype=object)
    for row, path in enumerate(paths):
        y[row, : len(path)] = [str(node) for node in path]
    features = FEATURES[job.settings["features"]]()
    X = csr_matrix(features.fit_transform(job.texts))[[row for row, _ in pairs]]
    kind, local = KINDS[job.settings["kind"]]
    model = kind(local_classifier=local, n_jobs=1)  # more jobs are processes with copies of the data
    model.fit(X, y.astype(str))
    return features, model


def save(model: tuple[Any, Any], folder: Path) -> None:
    joblib.dump(model, folder / "model.joblib")


def predict(model: tuple[Any, Any], job: Job) -> tuple[np.ndarray, np.ndarray]:
    features, classifier = model
    X = csr_matrix(features.transform([document["text"] for document in job.test]))
    paths = np.asarray(classifier.predict(X)).reshape(X.shape[0], -1)
    job.columns = np.arange(job.nodes)  # answers are nodes already
    labels = np.full((len(paths), 1), -1)
    for row, path in enumerate(paths):
        for node in path:  # HiClass leaves levels it did not reach as they were in memory
            if not node.isdigit() or job.parents[int(node)] != labels[row, 0]:
                break
            labels[row] = int(node)
    return labels, np.ones(labels.shape)


if __name__ == "__main__":
    main(fit, save, predict, ("hiclass", "scikit-learn"))
