"""hclf itself, through `HierarchicalClassifier`, at its defaults; its fit includes calibration and tuning.

Its own label sets are scored. `predict s` is the time from raw text to label sets. The ranked lists come apart from
that, by `rank`. As peers rank the labels of their training documents, with names those of all nodes, so does it;
without names it ranks leaves besides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _job import Job, padded, reset_peak_memory

from hclf import HierarchicalClassifier, load_taxonomy
from hclf.data import Document

PACKAGES = ("hclf", "numpy", "scipy", "scikit-learn")


def run() -> None:
    job = Job.from_command_line()
    taxonomy = load_taxonomy(job.folder / "taxonomy.json")
    fields = [document["fields"] for document in job.train]
    labels = [[taxonomy.nodes[j] for j in document["labels"]] for document in job.train]
    with job.measured("fit"):
        model = HierarchicalClassifier(taxonomy=taxonomy, n_jobs=job.threads, seed=0, **job.settings)
        model.fit(fields, labels)
    model.save(job.out / "model", force=True)

    documents = [Document(str(i), own["fields"]) for i, own in enumerate(job.test)]
    reset_peak_memory()
    with job.measured("predict"):
        predictions = list(model.predict_documents(documents))
    pairs = [(i, taxonomy.index(node.id)) for i, p in enumerate(predictions) for node in p.labels]
    found, scores = ranked(model, taxonomy, job)
    job.finish(PACKAGES, labels=found, scores=scores, sets=np.array(pairs, dtype=np.int32).reshape(-1, 2))


def ranked(model: HierarchicalClassifier, taxonomy: Any, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The nodes at which a document's path most probably ends, best first."""
    allowed = taxonomy.is_leaf | job.settings.get("scorer_options", {}).get("node_texts", True)
    allowed[job.columns] = True
    if job.answers is not None:
        allowed &= np.isin(np.arange(len(taxonomy)), job.answers)
    among = [taxonomy.nodes[j] for j in np.flatnonzero(allowed)]
    found = model.rank([document["fields"] for document in job.test], job.top, among=among)
    lists = [([taxonomy.index(node.id) for node in own], [node.score for node in own]) for own in found]
    return padded(lists, job.top)


if __name__ == "__main__":
    run()
