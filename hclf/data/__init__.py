"""Documents in, predictions out: readers, writers, checks, splits and synthetic documents."""

from __future__ import annotations

from hclf.data.check import check_records
from hclf.data.check_report import CheckReport
from hclf.data.documents import Document, Prediction, ScoredNode
from hclf.data.predictions import read_predictions
from hclf.data.problems import Problem, Problems
from hclf.data.reading import TEXT_FIELDS, DocumentReader, documents_from, read_documents
from hclf.data.resolver import LabelResolver, resolved
from hclf.data.split import Split, plan_split, split, split_indices
from hclf.data.synth import synth
from hclf.data.texts import text_groups
from hclf.data.writing import (
    DocumentWriter,
    PredictionWriter,
    open_predictions,
    write_documents,
    write_predictions,
)

__all__ = [
    "TEXT_FIELDS",
    "CheckReport",
    "Document",
    "DocumentReader",
    "DocumentWriter",
    "LabelResolver",
    "Prediction",
    "PredictionWriter",
    "Problem",
    "Problems",
    "ScoredNode",
    "Split",
    "check_records",
    "documents_from",
    "open_predictions",
    "plan_split",
    "read_documents",
    "read_predictions",
    "resolved",
    "split",
    "split_indices",
    "synth",
    "text_groups",
    "write_documents",
    "write_predictions",
]
