"""clinc150: short requests, 150 intents in 10 domains, and requests outside of all of them.

    python benchmarks/clinc.py                     # fits what is missing, writes benchmarks/results/clinc.md
    python benchmarks/clinc.py --rows linear frozen
    python benchmarks/clinc.py --dry               # what was chosen by: figures on validation, nothing of test
    python benchmarks/clinc.py --report            # the page of the rows there are

Official parts: learned from `train` and `oos_train` (requests without labels), the operating point from `val` and
`oos_val`, figures on `test` and `oos_test`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from fits import (
    BUSY_NOTE,
    COST_HEADS,
    ENCODER,
    HELD_OUT_NOTE,
    Benchmark,
    System,
    cost_cells,
    dense_rows,
    level_figures,
    main,
    provenance,
    table,
    truth,
)
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sets import DATA, ROOT, Record, _json_lines, clinc150
from sklearn.metrics import roc_auc_score

from hclf.decoders import PathDecoder
from hclf.evaluation import evaluate
from hclf.operating import new_point
from hclf.taxonomy import Taxonomy
from hclf.thresholds import Thresholds

RESULT = ROOT / "benchmarks" / "results" / "clinc.md"
LOST = 0.02  # of the requests of val in scope
METRICS = ("hP", "hR", "hF", "exact_match", "macro_f1")
FROZEN = {
    "encoder": "",
    "tune": "frozen",
    "layers": 1,
    "hidden": 512,
    "dropout": 0.3,
    "n_members": 5,
    "epochs": 30,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "validation": 0.0,
    "precision": "bf16",
}
TUNED = {
    "encoder": "",
    "tune": "full",
    "layers": 1,
    "hidden": 512,
    "dropout": 0.3,
    "n_members": 3,
    "epochs": 5,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "encoder_learning_rate": 1.5e-4,
    "validation": 0.0,
    "precision": "bf16",
}
SYSTEMS = {
    "linear": System("linear", {"linear": {}}),
    "frozen": System("frozen encoder + head", {"neural": FROZEN}),
    "linear+frozen": System("linear + frozen encoder", {"linear": {}, "neural": FROZEN}),
    "tuned": System("fine-tuned encoder", {"neural": TUNED}, refit=False),
    "linear+tuned": System("linear + fine-tuned encoder", {"linear": {}, "neural": TUNED}, refit=False),
}


def benchmark() -> Benchmark:
    """Return the set with all its parts."""
    one = clinc150()
    val = [Record({"text": item["text"]}, tuple(item["labels"])) for item in _json_lines(_file("val"))]
    train, *outside = (
        [Record({"text": item["text"]}, ()) for item in _json_lines(_file(f"oos_{part}"))]
        for part in ("train", "val", "test")
    )
    parts = {"val": val, "oos_val": outside[0], "test": one.test, "oos_test": outside[1]}
    return Benchmark("clinc", __file__, one.taxonomy, [*one.train, *train], parts, SYSTEMS)


def _file(part: str) -> Any:
    return DATA / "clinc150" / f"{part}.jsonl.gz"


# -- figures ---------------------------------------------------------------------------------------------------


def measure(one: Benchmark, row: str) -> dict[str, Any]:
    """Return the figures of a row: always answered, and only if sure enough, as val says."""
    scores = {name: dense_rows(values) for name, values in one.scores(row).items()}
    parts = ("val", "oos_val") if one.dry else ("test", "oos_test")
    inside, outside = (scores[name] for name in parts)
    true = truth(one.taxonomy, one.parts[parts[0]])
    always = figures(one.taxonomy, true, *(answers(one.taxonomy, part) for part in (inside, outside)))
    return {"always": always} | {
        rule: {
            "least": (least := threshold(sureness(one.taxonomy, scores["val"]))),
            "auroc": auroc(*(sureness(one.taxonomy, part) for part in (inside, outside))),
            **figures(one.taxonomy, true, *(sure(one.taxonomy, part, least) for part in (inside, outside))),
        }
        for rule, (sureness, sure) in RULES.items()
    }


def threshold(sureness: NDArray[np.float32]) -> float:
    """Return the sureness below which the share of requests in scope is that which we let go."""
    return round(float(np.quantile(sureness, LOST)), 6)


def answers(taxonomy: Taxonomy, scores: NDArray[np.float32]) -> csr_matrix:
    """Return the best domain and its best intent, however unsure."""
    return csr_matrix(PathDecoder(to_leaf=True).select(taxonomy, scores))


def domain_sureness(taxonomy: Taxonomy, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (documents,): the score of the best domain."""
    return np.asarray(scores[:, taxonomy.is_root].max(axis=1))


def sure_domain(taxonomy: Taxonomy, scores: NDArray[np.float32], least: float) -> csr_matrix:
    """Return the answers of an operating point: the decoder `path`, with a threshold for domains alone."""
    point = new_point("sure", "path", {}, "one label a request", "prune")
    limits = Thresholds((least, *(0.0,) * (taxonomy.depth - 1)), "fixed", None, "fixed")
    return replace(point, thresholds=limits).decode(taxonomy, scores)


def path_sureness(taxonomy: Taxonomy, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (documents,): the mean score of the best domain and its best intent."""
    path = answers(taxonomy, scores).toarray()
    return np.asarray((scores * path).sum(axis=1) / np.maximum(path.sum(axis=1), 1))


def sure_path(taxonomy: Taxonomy, scores: NDArray[np.float32], least: float) -> csr_matrix:
    """Return the best domain and its best intent, or nothing where their mean score is too low."""
    enough = path_sureness(taxonomy, scores) >= least
    return csr_matrix(answers(taxonomy, scores).toarray() & enough[:, None])


RULES = {"domain": (domain_sureness, sure_domain), "path": (path_sureness, sure_path)}


def auroc(inside: NDArray[np.float32], outside: NDArray[np.float32]) -> float:
    """Return how often a request in scope is surer than one outside."""
    return float(roc_auc_score(np.repeat([True, False], [len(inside), len(outside)]), [*inside, *outside]))


def figures(taxonomy: Taxonomy, true: csr_matrix, inside: csr_matrix, outside: csr_matrix) -> dict[str, Any]:
    """Return figures of requests in scope (what is unknown there is lost), and of finding those outside."""
    evaluation = evaluate(taxonomy, true, inside, intervals=True)
    lost, found = (int((np.diff(part.indptr) == 0).sum()) for part in (inside, outside))
    precision, recall = found / max(found + lost, 1), found / outside.shape[0]
    return {
        "metrics": {key: evaluation.metrics[key] for key in METRICS},
        "intervals": {key: evaluation.intervals[key] for key in METRICS},
        "levels": level_figures(evaluation),
        "lost": lost / inside.shape[0],
        "outside": {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        },
    }


# -- page ------------------------------------------------------------------------------------------------------


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown page."""
    title = {name: SYSTEMS[name].title for name in rows}
    return "\n".join(
        [
            "# clinc150",
            "",
            f"`python benchmarks/clinc.py`: {provenance([row['about'] for row in rows.values()])}",
            "",
            "15,000 requests of 150 intents in 10 domains and 100 outside of them to learn from; 3,000 and 100 (val) "
            "to find the operating point; measured on 4,500 and 1,000: the official parts. Requests outside of scope "
            f"have no labels. Encoder: {ENCODER}. {HELD_OUT_NOTE} then all but the fine-tuned rows are fitted again "
            "on everything.",
            "",
            "## Answered if sure enough, else unknown",
            "",
            "A request is answered with its best domain and the best intent there if the answer is sure enough; else "
            f"it is unknown (an empty answer). Sure enough is what is not among the least sure {LOST:.0%} of the "
            "requests of val. In scope what is unknown counts as lost: it lacks two labels, and its intent is wrong. "
            "Outside: unknown is the class that is sought, among all test requests. In brackets 95 % intervals over "
            "documents.",
            "",
            "Sureness is the mean score of domain and intent:",
            "",
            *table(HEADS, [[title[name], *_sure_cells(row["path"])] for name, row in rows.items()]),
            "",
            "Sureness is the score of the domain: an operating point of the decoder `path`, thresholds "
            '`(least, 0)`, `closure="prune"`.',
            "",
            *table(HEADS, [[title[name], *_sure_cells(row["domain"])] for name, row in rows.items()]),
            "",
            "## Always answered",
            "",
            *table(
                ["system", "hF", "hF domains", "hF intents (share right)"],
                [[title[name], *_always_cells(row["always"])] for name, row in rows.items()],
            ),
            "",
            "## Cost",
            "",
            *table(["system", *COST_HEADS], [[title[name], *cost_cells(row["about"])] for name, row in rows.items()]),
            "",
            BUSY_NOTE,
            "",
        ]
    )


HEADS = (
    "system",
    "hF in scope",
    "hP",
    "hR",
    "hF domains",
    "hF intents",
    "intent right",
    "lost in scope",
    "outside: F1",
    "precision",
    "recall",
    "AUROC",
    "least",
)


def _sure_cells(found: Mapping[str, Any]) -> list[str]:
    metrics, (low, high), outside = found["metrics"], found["intervals"]["hF"], found["outside"]
    return [
        f"**{metrics['hF']:.3f}** [{low:.3f}, {high:.3f}]",
        f"{metrics['hP']:.3f}",
        f"{metrics['hR']:.3f}",
        *(f"{level['hF']:.3f}" for level in found["levels"]),
        f"{metrics['exact_match']:.3f}",
        f"{found['lost']:.1%}",
        f"**{outside['f1']:.3f}**",
        f"{outside['precision']:.3f}",
        f"{outside['recall']:.3f}",
        f"{found['auroc']:.3f}",
        f"{found['least']:.2f}",
    ]


def _always_cells(found: Mapping[str, Any]) -> list[str]:
    return [f"{found['metrics']['hF']:.3f}", *(f"{level['hF']:.3f}" for level in found["levels"])]


if __name__ == "__main__":
    main(__doc__, benchmark, measure, page, RESULT)
