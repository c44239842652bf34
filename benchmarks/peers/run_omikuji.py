"""omikuji: Parabel (three balanced binary trees) or Bonsai (shallow, wide, unbalanced) on scikit-learn's TF-IDF.

Settings are the defaults of its authors, Bonsai's those its README gives (collapse every 5 layers, unbalanced
clusters). Labels are closed where documents have several (Open Food Facts:
hF .64 -> .71). Beam 20 rather than 10, for more than ten labels are asked for. Prediction densifies weights
as its command-line tool does, and runs in threads: the C call releases the interpreter lock. It is called as
omikuji's own `predict` calls it, but from arrays, which spares omikuji the time of building lists of pairs.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import omikuji
from _features import FEATURES
from _job import Job, main, padded
from omikuji._libomikuji import ffi, lib
from scipy.sparse import csr_matrix


def fit(job: Job) -> tuple[Any, Any]:
    features = FEATURES[job.settings["features"]]()
    X = csr_matrix(features.fit_transform(job.texts))
    X.sort_indices()
    parameters = omikuji.Model.default_hyper_param()
    if job.settings["kind"] == "bonsai":
        parameters.cluster_balanced = False
        parameters.collapse_every_n_layers = 5
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        write(file, X, job.label_sets, len(job.columns))
        return features, omikuji.Model.train_on_data(str(file), parameters, job.threads)


def write(path: Path, X: csr_matrix, label_sets: list[list[int]], labels: int) -> None:
    """Write the format of the Extreme Classification Repository, the only one omikuji trains on."""
    with path.open("w", encoding="ascii") as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {labels}\n")
        for row, own in enumerate(label_sets):
            part = slice(X.indptr[row], X.indptr[row + 1])
            pairs = " ".join(
                f"{i}:{v:.5g}" for i, v in zip(X.indices[part].tolist(), X.data[part].tolist(), strict=True)
            )
            file.write(f"{','.join(map(str, own))} {pairs}\n")


def save(model: tuple[Any, Any], folder: Path) -> None:
    joblib.dump(model[0], folder / "features.joblib")
    model[1].save(str(folder / "omikuji"))


def predict(model: tuple[Any, Any], job: Job) -> tuple[np.ndarray, np.ndarray]:
    features, forest = model
    forest.densify_weights(0.1, job.threads)
    X = csr_matrix(features.transform([document["text"] for document in job.test]))
    X.sort_indices()
    indices, data = X.indices.astype(np.uint32), X.data.astype(np.float32)
    forest.init_prediction_thread_pool(job.threads)

    def one(row: int) -> tuple[list[int], list[float]]:
        start, end = int(X.indptr[row]), int(X.indptr[row + 1])
        labels, scores = ffi.new("uint32_t[]", job.top), ffi.new("float[]", job.top)
        found = lib.omikuji_predict(
            forest._model_ptr,
            job.settings["beam"],
            end - start,
            ffi.from_buffer("uint32_t[]", indices[start:end]),
            ffi.from_buffer("float[]", data[start:end]),
            job.top,
            labels,
            scores,
            forest._thread_pool.ptr,
        )
        return list(labels[0:found]), list(scores[0:found])

    with ThreadPoolExecutor(job.threads) as pool:
        return padded(list(pool.map(one, range(X.shape[0]))), job.top)


if __name__ == "__main__":
    main(fit, save, predict, ("omikuji", "scikit-learn"))
