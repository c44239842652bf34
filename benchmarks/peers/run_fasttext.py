"""fastText, supervised: word 1–2 and character 3–5 features, 50 epochs.

Loss: one-vs-all where documents have several labels (closed; learning rate 0.4: more may end in NaN, at 0.1 it
learns too little), softmax up to 2,000 labels, hierarchical softmax beyond, as its documentation advises.
Punctuation is split off and case dropped, as its tutorial does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from _job import Job, main, padded

MANY = 2_000
PREFIX = "__label__"


def fit(job: Job) -> Any:
    file = job.out / "train.txt"
    with file.open("w", encoding="utf-8") as lines:
        for text, labels in zip(job.texts, job.label_sets, strict=True):
            lines.write(" ".join([f"{PREFIX}{label}" for label in labels] + [tokens(text)]) + "\n")
    loss, rate = ("ova", 0.4) if job.several else ("softmax", 0.5) if len(job.columns) <= MANY else ("hs", 0.5)
    model = fasttext.train_supervised(
        str(file),
        loss=loss,
        lr=rate,
        epoch=50,
        wordNgrams=2,
        minn=3,
        maxn=5,
        dim=100,
        bucket=500_000,
        thread=job.threads,
        seed=0,
        verbose=0,
    )
    file.unlink()
    return model


def tokens(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s]", text.lower()))


def save(model: Any, folder: Path) -> None:
    model.save_model(str(folder / "model.bin"))


def predict(model: Any, job: Job) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = model.predict([tokens(document["text"]) for document in job.test], k=job.top)
    return padded([([int(x[len(PREFIX) :]) for x in own], s) for own, s in zip(labels, scores, strict=True)], job.top)


if __name__ == "__main__":
    main(fit, save, predict, ("fasttext-wheel", "numpy"))
