"""Nearest neighbour: a label scores as its most similar training text, by the cosine of character 3–5 TF-IDF.

The baseline that published figures name for phrase → code. With `bm25` the similarity is the mean of that cosine and
of BM25 over words (bm25s, its Lucene form), each divided by the document's highest.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bm25s
import joblib
import numpy as np
from _job import Job, main, top_of_sparse
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfVectorizer

ROWS = 128
NEIGHBOURS = 200  # training texts a document is compared with in the end: more than enough for 50 labels


def fit(job: Job) -> dict[str, Any]:
    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True, dtype=np.float32)
    model = {"features": features, "X": csr_matrix(features.fit_transform(job.texts).T), "Y": job.indicator}
    if job.settings["bm25"]:
        index = bm25s.BM25()
        index.index([tokens(text) for text in job.texts], show_progress=False)
        model["bm25"] = index
    return model


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def save(model: dict[str, Any], folder: Path) -> None:
    joblib.dump({key: value for key, value in model.items() if key != "bm25"}, folder / "model.joblib")
    if "bm25" in model:
        model["bm25"].save(str(folder / "bm25"))


def predict(model: dict[str, Any], job: Job) -> tuple[np.ndarray, np.ndarray]:
    texts = [document["text"] for document in job.test]
    X, Y = csr_matrix(model["features"].transform(texts)), model["Y"]
    several = np.diff(Y.indptr)
    rows = []
    for start in range(0, len(texts), ROWS):
        similar = (X[start : start + ROWS] @ model["X"]).toarray()
        for own, text in zip(similar, texts[start : start + ROWS], strict=True):
            if "bm25" in model:
                own = scaled(own) + scaled(lexical(model["bm25"], tokens(text), len(own)))
            near = np.argpartition(-own, min(NEIGHBOURS, len(own) - 1))[:NEIGHBOURS]
            near = near[own[near] > 0]
            labels = Y[near].indices
            best: dict[int, float] = {}
            for label, score in zip(labels.tolist(), np.repeat(own[near], several[near]).tolist(), strict=True):
                best[label] = max(score, best.get(label, 0.0))
            rows.append(csr_matrix((list(best.values()), ([0] * len(best), list(best))), shape=(1, Y.shape[1])))
    return top_of_sparse(csr_matrix(vstack(rows)), job.top)


def lexical(index: Any, query: list[str], documents: int) -> np.ndarray:
    known = [token for token in query if token in index.vocab_dict]
    return index.get_scores(known) if known else np.zeros(documents, dtype=np.float32)


def scaled(scores: np.ndarray) -> np.ndarray:
    return scores / max(float(scores.max()), 1e-9) / 2


if __name__ == "__main__":
    main(fit, save, predict, ("scikit-learn", "bm25s"))
