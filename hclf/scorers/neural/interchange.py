"""Hugging Face classifiers in and out: folders as `save_pretrained` writes them.

in     a sequence classifier becomes a scorer that has nothing left to learn (`ImportedScorer`)
out    a network whose head transformers can express becomes a folder (`export_folder`)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from hclf.data import LabelResolver
from hclf.errors import HclfError, UsageError
from hclf.inputs import Inputs, Ints
from hclf.scorers.base import Contribution, Progress, Scored, silent
from hclf.scorers.neural.encoding import embed
from hclf.scorers.neural.evidence import network_evidence
from hclf.scorers.neural.label_nodes import LabelMap, LabelNodes, map_labels
from hclf.scorers.neural.loading import quiet
from hclf.scorers.neural.native import NativeEncoder, classifier_config, labels_of, last_change, shared_classifier
from hclf.scorers.neural.network import choose_device, memory_advice
from hclf.scorers.packing import prefixed, unprefixed
from hclf.taxonomy import Taxonomy

ONE_AT_A_TIME = threading.Lock()  # batches of documents: a network keeps all cores busy by itself
SHOWN = 20  # labels and nodes that are named in a report; all are counted


class ImportedScorer:
    """A Hugging Face sequence classifier that is taken as it is: `fit` learns nothing from documents.

    Its labels are found among the nodes by id, name or path. A node whose label it has gets the log-odds the model
    gives it; an ancestor without a label gets those of the likeliest label below it. Where the labels exclude each
    other (softmax), a node gets the sum of the probabilities of its label and those below.

    Args:
        model: folder of the model, or its name on the hub.
        labels: label of the model, or its number, -> id, name or path of the node it means; None: it means none.
            Labels that are not in it are looked up.
        problem: what logits mean: `multi_label` or `single_label`; None: what the model's configuration says.
        max_length: tokens of a chunk; None: what the model can read. Of longer documents all chunks are classified,
            and the mean of their logits counts.
        device: `cpu`, `cuda`, `cuda:1`, …; None: the GPU if there is one.
        n_jobs, seed: are taken and not used: nothing here is random.

    Attributes:
        columns: taxonomy columns of the nodes its labels mean, and of their ancestors.
        report: what was found in fit, as plain values.
    """

    name: ClassVar[str] = "imported"
    channels: ClassVar[tuple[str, ...]] = ("log_odds",)
    candidate_channels: ClassVar[tuple[str, ...]] = ()
    learns_without_documents: ClassVar[bool] = True
    learns_nothing: ClassVar[bool] = True

    def __init__(
        self,
        *,
        model: str = "",
        labels: Mapping[str, str | None] | None = None,
        problem: str | None = None,
        max_length: int | None = None,
        device: str | None = None,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.labels, self.problem = str(model), dict(labels or {}), problem
        self.max_length, self.device = max_length, device
        self.report: dict[str, Any] = {}

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Load the model and find its labels in the taxonomy; the documents are not looked at.

        Raises:
            UsageError: no usable classifier there.
            DataError: none of its labels is a node.
        """
        if not self.model:
            raise UsageError("the imported scorer needs a model: the folder of a Hugging Face classifier (model=…)")
        path = Path(self.model).expanduser()
        name = str(path.resolve()) if path.is_dir() else self.model
        options = {"problem": self.problem, "max_length": self.max_length, "keep_dtype": True}
        found = shared_classifier(name, last_change(name), **options)
        labels = labels_of(found.model.config)
        mapped = map_labels(labels, taxonomy, self.labels)
        nodes, self.columns = LabelNodes.of(mapped, taxonomy, found.problem)
        self.encoder = NativeEncoder(
            found.model, found.tokenizer, about=found.about, problem=found.problem, nodes=nodes
        )
        self.report = import_report(mapped, labels, taxonomy) | {
            "architecture": type(found.model).__name__,
            "problem": found.problem,
            "problem_stated": found.model.config.problem_type is not None or self.problem is not None,
        }
        return self

    def score(self, inputs: Inputs) -> Scored:
        """Return the log-odds of every node it knows, (1, documents, columns).

        Raises:
            UsageError: a feature matrix.
            HclfError: memory ran out.
        """
        with ONE_AT_A_TIME, memory_advice():
            log_odds = embed(self.encoder, inputs, device=choose_device(self.device))
        return Scored(log_odds[None])

    def evidence(self, inputs: Inputs, rows: Ints, columns: Ints) -> list[list[Contribution]]:
        """Return for each (document, taxonomy column) pair what words add to the log-odds; see `network_evidence`."""
        with ONE_AT_A_TIME:
            device = choose_device(self.device)
            encoder = self.encoder.to(device)
            asked = inputs, rows, columns, device
            return network_evidence(
                self.name, encoder, lambda faded, batch: faded(batch).pooled, self.columns, *asked
            )

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the model with its tokenizer, and which label is which node."""
        config, arrays = self.encoder.get_state()
        about = {"encoder": config, "report": self.report}
        return about, {**prefixed("encoder", arrays), "columns": self.columns}

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned, on the GPU if there is one."""
        scorer = cls()
        scorer.columns, scorer.report = arrays["columns"], dict(config["report"])
        scorer.encoder = NativeEncoder.from_state(config["encoder"], unprefixed("encoder", arrays))
        return scorer


def import_report(mapped: LabelMap, labels: tuple[str, ...], taxonomy: Taxonomy) -> dict[str, Any]:
    """Return which labels and nodes found each other, as plain values; the first few of the others by name."""
    known = mapped.nodes[mapped.nodes >= 0]
    without = np.setdiff1d(np.arange(len(taxonomy)), known)
    leaves = without[taxonomy.is_leaf[without]]
    return {
        "labels": len(labels),
        "labels_of_nodes": len(known),
        "labels_left_out": len(mapped.left_out),
        "unknown_labels": len(mapped.problems),
        "unknown": list(mapped.problems.values())[:SHOWN],
        "nodes_without_label": len(without),
        "leaves_without_label": len(leaves),
        "without_label": [taxonomy.nodes[column] for column in (leaves if len(leaves) else without)[:SHOWN].tolist()],
    }


# -- out -------------------------------------------------------------------------------------------------------------


def export_folder(scorer: Any, taxonomy: Taxonomy, folder: str | Path) -> dict[str, Any]:
    """Write a network as a Hugging Face folder that gives equal logits in transformers.

    Labels are those the model has; one that does not mean its node in the taxonomy is replaced by the node's id.

    Args:
        scorer: fitted: `imported`, or `neural` with the head `native`.
        taxonomy: of its columns.
        folder: to write to; made if it is not there.

    Returns:
        What was written, as plain values.

    Raises:
        UsageError: the network cannot be expressed; it says which ones can.
        HclfError: the folder cannot be written.
    """
    encoder, columns = exportable(scorer)
    labels = _labels_to_write(encoder, columns, taxonomy)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            _save_model(encoder, labels, folder)
            _save_tokenizer(encoder, folder)
    except OSError as error:
        raise HclfError(f"cannot write {folder}: {error.strerror or error}") from error
    return {"architecture": type(encoder.model).__name__, "problem": encoder.problem, "labels": len(labels)}


def exportable(scorer: Any) -> tuple[NativeEncoder, Ints]:
    """Return the classifier inside a scorer, and the taxonomy columns of its nodes.

    Raises:
        UsageError: there is none that transformers can express.
    """
    encoder = getattr(scorer, "encoder", None) or getattr(getattr(scorer, "network", None), "encoder", None)
    if isinstance(encoder, NativeEncoder):
        return encoder, scorer.columns
    head = getattr(scorer, "built", {}).get("head")
    what = f"a scorer {scorer.name!r}" + (f" with head {head!r}" if head else "")
    raise UsageError(
        f"{what} has no form in transformers: what can be exported is the scorer 'imported', "
        "or 'neural' with head 'native' (each node on its own, in the form transformers gives a classifier)"
    )


def _labels_to_write(encoder: NativeEncoder, columns: Ints, taxonomy: Taxonomy) -> list[str]:
    resolve = LabelResolver(taxonomy)
    labels = list(encoder.labels)
    for place, node in enumerate(encoder.nodes.own(len(labels)).tolist()):
        if node >= 0 and resolve.candidates(labels[place]) != (taxonomy.nodes[columns[node]],):
            labels[place] = taxonomy.nodes[columns[node]]
    return labels


def _save_model(encoder: NativeEncoder, labels: list[str], folder: Path) -> None:
    model: Any = encoder.model
    model.save_pretrained(folder)
    config = classifier_config(encoder.about, labels)
    config.architectures, config.dtype = [type(model).__name__], model.dtype
    config.save_pretrained(folder)


def _save_tokenizer(encoder: NativeEncoder, folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(encoder.tokenizer.text), **encoder.about["tokenizer"]
    )
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    about = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")  # any version reads it
