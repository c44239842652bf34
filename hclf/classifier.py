"""`HierarchicalClassifier`: documents and label sets in, closed label sets out, scikit-learn habits kept.

    fit       inputs -> labels (closure) -> folds -> scorer.fit -> held-out scores -> fusion
              -> coherent -> calibration -> thresholds.tune -> scorer fitted again on everything
    predict   inputs -> scorer.score -> fusion -> prior -> coherent -> calibration -> operating point -> rules

What it does is in modules of their own: `folds` and `fitting` (what is learned from held-out documents), `model`
(from documents to scores), `ranking`, `answers` (predictions and rules), `persistence`.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.base import BaseEstimator

from hclf.answers import Answers, Mode, Rules
from hclf.bundle import read_bundle, read_manifest, write_bundle
from hclf.calibration import METHODS, LevelCalibration
from hclf.data import Document, Prediction, ScoredNode
from hclf.decoders import Closure, Decoder, default_decoder, make_decoder
from hclf.diagnostics import Diagnostics, diagnose
from hclf.errors import DataError, NotFittedError, UsageError
from hclf.evaluation import Evaluation, evaluate
from hclf.evidence import Batch, Explainer, Explanation, Question
from hclf.fitting import Training, changed_columns, held_out_scores, hold_out, learn_fusion, learn_levels
from hclf.folds import is_refit, make_folds, thinned
from hclf.fusion import Calibration, Prior, sparse_scores
from hclf.inputs import Inputs, Labels, as_inputs, as_labels, chunks, in_threads, length, without_words
from hclf.labels import close, from_pairs, label_sets, most_specific, pairs, partial_depth
from hclf.mentions import as_mentions, spans_of
from hclf.model import Fusion, Head, Model, Scores, batch_size, batch_workers
from hclf.operating import (
    DEFAULT,
    OperatingPoint,
    find_point,
    guaranteed_point,
    new_point,
    permitted_nodes,
    point_to_tune,
    promising_point,
    tuned_point,
)
from hclf.persistence import BASELINE, Fitted, from_bundle, to_parts
from hclf.ranking import Ranking
from hclf.registry import load_taxonomy
from hclf.scorers import Scorer, make_scorer
from hclf.scorers.base import Progress, findings_of, known_columns, mentions_for, prepare, silent
from hclf.scorers.together import reports_of
from hclf.taxonomy import CoherenceMethod, Taxonomy
from hclf.thresholds import Search, Thresholds, parse_goal

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

BEST_PATH = new_point("best-path", "path", {"to_leaf": True}, "where there is no answer")
UNTAUGHT = 0.5  # threshold of all levels where there is no document to tune them on
UNTUNED = "untuned"  # what the report says about that
CHOICES = {
    "coherence": ("max", "min", "isotonic"),
    "search": ("exact", "grid"),
    "closure": ("ancestors", "prune"),
    "partial_labels": ("unknown", "negative"),
    "calibrate": ("auto", "none", *METHODS),
}


class HierarchicalClassifier(BaseEstimator):  # type: ignore[misc]
    """A multi-label classifier whose answers are closed under the ancestors of a taxonomy.

    Not a scikit-learn `ClassifierMixin`: that would make `cross_val_score` reject label sets. It clones, goes
    through pipelines and `cross_val_score`, and `score` is micro hF.

    Args:
        taxonomy: a `Taxonomy`, a path, or the name of a shipped one.
        scorer: a name in `hclf.scorers.SCORERS`, or several of them: `linear+lexicon`.
        scorer_options: keyword arguments of the scorer, such as `{"C": 0.5, "field_weights": {...}}`; of several:
            `{"linear": {"C": 0.5}, "lexicon": {...}}`.
        coherence: `max`, `min` or `isotonic`; see `Taxonomy.coherent`.
        calibrate: how coherent scores are calibrated: one of `hclf.calibration.METHODS`, `none`, or `auto`: for each
            level what suits held-out documents best.
        decoder: a name in `hclf.decoders.DECODERS`, or `auto`: chosen from the training labels; `decoder_reason_`
            says why.
        decoder_options: keyword arguments of the decoder, such as `{"k": 3}` or `{"to_leaf": True}`.
        goal: what thresholds are tuned for: `hf`, `hf_example`, `macro_f1`, `exact_match`, `precision>=0.9`, …; see
            `hclf.thresholds.tune`.
        search: `exact`, or `grid` for 0.30, 0.35, …, 0.70.
        per_level: False ties all levels to one threshold.
        thresholds: fixed thresholds instead of tuned ones: one number, or one a level from the top.
        closure: how label sets are closed where fixed thresholds fall with depth: `ancestors` or `prune`.
        partial_labels: what a label above the leaves says of the nodes below it: `unknown` or `negative`.
        flat: binary relevance without the hierarchy (labels as given, no coherence, one threshold, nothing
            closed): the baseline to beat.
        refit: whether the scorer, once calibrated on what was held out, is trained again on all documents. False
            saves that time, where one part was held out: the model then never sees that part. None: where that part
            is more than a hundredth of the documents, which half a million documents are the first not to reach.
        n_jobs: processes for large problems; None uses every core. Results do not depend on it.
        seed: of everything random.

    Attributes:
        taxonomy_, classes_: the taxonomy and its node ids, in column order.
        scorer_, calibration_, candidate_calibration_, level_calibration_: what was learned; the last is None
            without calibration of coherent scores.
        operating_points_: by name; `default` is what `fit` tunes. thresholds_, decoder_, decoder_reason_ are its.
        counts_: (nodes,) closed training documents of each node.
        report_: what happened in fit, as plain values.
    """

    def __init__(
        self,
        *,
        taxonomy: Taxonomy | str | Path = "products",
        scorer: str = "linear",
        scorer_options: Mapping[str, Any] | None = None,
        coherence: CoherenceMethod = "max",
        calibrate: str = "auto",
        decoder: str = "auto",
        decoder_options: Mapping[str, Any] | None = None,
        goal: str = "hf",
        search: Search = "exact",
        per_level: bool = True,
        thresholds: float | Sequence[float] | None = None,
        closure: Closure = "ancestors",
        partial_labels: Literal["unknown", "negative"] = "unknown",
        flat: bool = False,
        refit: bool | None = None,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.taxonomy, self.scorer, self.scorer_options = taxonomy, scorer, scorer_options
        self.coherence, self.calibrate = coherence, calibrate
        self.decoder, self.decoder_options = decoder, decoder_options
        self.goal, self.search, self.per_level, self.thresholds = goal, search, per_level, thresholds
        self.closure, self.partial_labels, self.flat, self.refit = closure, partial_labels, flat, refit
        self.n_jobs, self.seed = n_jobs, seed

    # -- fit -------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Labels, *, mentions: Iterable[Any] | None = None, progress: Progress = silent) -> Self:
        """Learn from documents and their labels; where the scorer reads the nodes' texts, there may be no document.

        Without any, one path a document is assumed and thresholds are fixed at `UNTAUGHT`: `tune` them, with
        `calibrate=True`, as soon as there are labelled documents.

        Args:
            X: list of str, list of dict (named text fields), a DataFrame or one of its columns, a list of
                `Document`s, or a numeric feature matrix (documents, features), NaN where a value is missing.
            y: label sets: lists of node ids, names or paths (ancestors may be left out), or an indicator matrix
                (documents, nodes).
            mentions: for each document where it says what it belongs to, as `hclf.mentions.as_mentions` takes them:
                `{"start": 0, "end": 7, "label": "teas"}`, …; None: the spans of `Document`s, otherwise none. Only
                scorers that learn from mentions look at them.
            progress: wraps long loops; see `hclf.scorers.base.Progress`.

        Raises:
            DataError: no documents, no labels, no words, lengths that differ, or labels that do not exist (with
                their row and the nearest ones).
            UsageError: options that do not exist.
        """
        self.check_settings()
        self.taxonomy_ = load_taxonomy(self.taxonomy)
        if self.thresholds is not None:
            self._fixed_thresholds()
        self.classes_ = np.array(self.taxonomy_.nodes, dtype=object)
        training = self._training(as_inputs(X), y, spans_of(X) if mentions is None else mentions)
        if not training.Y.nnz and not self._learns_from_nothing(training):
            raise DataError("no training document has a label")
        decoder, reason = self._choose_decoder(most_specific(self.taxonomy_, training.Y))
        self.counts_ = training.counts

        folds = self._folds(training)
        dear = hasattr(self._new_scorer(), "most_held_out")
        several: dict[str, Any] = {"keep": dear or len(folds) > 1, "workers": self._workers, "progress": progress}
        refit = is_refit(folds, length(training.inputs), self.refit)
        model, held_out = None, []
        findings: dict[str, Any] = {}
        for train, test in folds:
            model = self._fit_model(training.of(train), progress, findings, kept=not refit)
            findings = findings or findings_of(model.scorer)
            held_out.append(hold_out(model, training.inputs, test, **several))
        fusion, recall = learn_fusion(held_out, training, self._new_scorer(), self.seed)
        true, scores = held_out_scores(held_out, fusion, training)
        del held_out
        levels, scores = self._learn_levels(true, scores)
        options = {} if self.flat else dict(self.decoder_options or {})
        point = new_point(DEFAULT, decoder, options, reason, self.closure)
        self.operating_points_ = {DEFAULT: self._tuned(point, true, scores)}
        if refit:
            model = None  # so that there is room for another
        model = model or self._fit_model(training, progress, findings)
        prior = self._prior(model.scorer, training)
        self._model = replace(
            model,
            head=replace(model.head, prior=prior, fusion=fusion, level_calibration=levels),
            width=training.inputs.shape[1] if isinstance(training.inputs, csr_matrix) else None,
            one_label=decoder == "path",
        )
        held_out_documents = sum(len(test) for _, test in folds)
        self.report_ = _tally(training) | self._report(held_out_documents)
        self.report_ |= {"candidate_recall": recall, "refit": refit}
        if not length(training.inputs):
            self.report_[UNTUNED] = f"no documents: thresholds are fixed at {UNTAUGHT}; tune when there are some"
        return self

    def partial_update(
        self,
        X: Any,
        y: Labels,
        *,
        mentions: Iterable[Any] | None = None,
        taxonomy: Taxonomy | str | Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Learn from more documents, or changed texts of nodes: only the nodes they are about are trained again.

        Calibration and operating points stay as they are, but what a point promised is void (`tune` renews them).
        Fit with `scorer_options={"updatable": True}`, which keeps the training documents' features with the model.

        Args:
            X, y, mentions: the new documents, as in `fit`; may be empty.
            taxonomy: the same nodes and edges with other texts; nodes whose texts differ are trained again.
            progress: as in `fit`.

        Raises:
            NotFittedError, DataError: as in `fit`.
            UsageError: the scorer cannot be updated or was not fitted for it; the taxonomy has other nodes or edges.
        """
        scorer: Any = copy(self._fitted().scorer)  # so that what fails on the way changes nothing
        if not hasattr(scorer, "partial_update"):
            raise UsageError(f"scorer {self.scorer!r} cannot be updated: fit it anew")
        training = self._training(self._read(X), y, spans_of(X) if mentions is None else mentions)
        now = self.taxonomy_ if taxonomy is None else load_taxonomy(taxonomy)
        scorer.partial_update(
            training.inputs,
            training.Y,
            taxonomy=now,
            unknown=training.unknown,
            changed=changed_columns(self.taxonomy_, now),
            progress=progress,
            **mentions_for(scorer.partial_update, training.mentions),
        )
        self.taxonomy_ = now
        self.operating_points_ = {
            name: point.without_guarantee("the model was updated afterwards")
            for name, point in self.operating_points_.items()
        }
        self.counts_ = self.counts_ + training.counts
        tally = {what: self.report_[what] + count for what, count in _tally(training).items()}
        prior = Prior(now, scorer.columns, self.counts_, tally["documents"])
        head = replace(self._model.head, taxonomy=now, prior=prior)
        self._model = replace(self._model, scorer=scorer, head=head)
        self.report_ |= self._report(self.report_["held_out"]) | tally
        return self

    def check_settings(self) -> None:
        """Refuse settings that cannot be, before any work is done.

        Raises:
            UsageError: the first that is wrong.
        """
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} is {' or '.join(allowed)}, not {getattr(self, name)!r}")
        parse_goal(self.goal)
        self._new_scorer()
        if self.decoder != "auto":
            make_decoder(self.decoder, **dict(self.decoder_options or {}))
        elif self.decoder_options:
            raise UsageError("decoder options need a decoder that is named, not auto")
        if self.thresholds is not None:
            fixed = np.atleast_1d(np.asarray(self.thresholds))
            if fixed.ndim != 1 or not fixed.size or fixed.dtype.kind not in "fiu":
                raise UsageError(f"thresholds are one number, or one a level, not {self.thresholds!r}")

    def _folds(self, training: Training) -> list[tuple[Ints, Ints]]:
        """Return (train, held out) rows; a scorer that learns from no document is judged by all of them."""
        n, scorer = length(training.inputs), self._new_scorer()
        if n and getattr(scorer, "learns_nothing", False):
            folds = [(np.arange(0), np.arange(n))]
        else:
            folds = make_folds(self.taxonomy_, training.Y, training.inputs, self.seed)
        return thinned(folds, getattr(scorer, "most_held_out", None), self.seed)

    def _learns_from_nothing(self, training: Training) -> bool:
        """Return whether there is no document, and no need of one: the texts of nodes are enough."""
        return not length(training.inputs) and getattr(self._new_scorer(), "learns_without_documents", False)

    def _new_scorer(self) -> Scorer:
        return make_scorer(self.scorer, self.scorer_options, n_jobs=self._workers, seed=self.seed)

    def _read(self, X: Any) -> Inputs:
        """Return documents as the fitted scorer takes them: texts, or a matrix with the columns it knows."""
        width = self._fitted().width
        inputs = as_inputs(X)
        if not length(inputs):
            return [] if width is None else csr_matrix((0, width), dtype=np.float64)
        if isinstance(inputs, csr_matrix) != (width is not None):
            fitted = "texts" if width is None else f"a matrix of {width:,} features"
            given = f"a matrix of {inputs.shape[1]:,} columns" if isinstance(inputs, csr_matrix) else "texts"
            raise UsageError(f"the model was fitted on {fitted}; what came is {given}")
        return inputs

    def _labelled(self, inputs: Inputs, y: Labels) -> csr_matrix[Any]:
        """Return the label sets of documents: closed, or for a flat model the most specific labels."""
        given = as_labels(self.taxonomy_, y)
        if given.shape[0] != length(inputs):
            raise DataError(f"{length(inputs)} documents but {given.shape[0]} label sets")
        return (most_specific if self.flat else close)(self.taxonomy_, given)

    def _training(self, inputs: Inputs, y: Labels, mentions: Iterable[Any] | None) -> Training:
        Y = self._labelled(inputs, y)
        return Training(self.taxonomy_, inputs, Y, self._unknown(Y), as_mentions(self.taxonomy_, inputs, mentions))

    def _unknown(self, Y: csr_matrix[Any]) -> csr_matrix[Any] | None:
        """Return what labels do not speak of; None: they speak of every node."""
        hidden = self.partial_labels == "unknown" and not self.flat
        return partial_depth(self.taxonomy_, Y) if hidden else None

    def _choose_decoder(self, specific: csr_matrix[Any]) -> tuple[str, str]:
        """Return the name of the decoder for training labels, and why it is that one."""
        if self.flat:
            return "threshold", "flat baseline"
        if self.decoder == "auto" and not specific.shape[0]:
            return "path", "there are no training documents: one path a document is assumed"
        if self.decoder == "auto":
            return default_decoder(self.taxonomy_, specific)
        return self.decoder, "as asked"

    def _fit_model(
        self, training: Training, progress: Progress, findings: Mapping[str, Any], *, kept: bool = True
    ) -> Model:
        """Return a model whose fusion is still to be learned; see `hclf.scorers.base.prepare`."""
        scorer = self._new_scorer()
        prepare(scorer, findings, kept=kept)
        scorer = training.teach(scorer, progress)
        fusion = Fusion.default(scorer, self.taxonomy_.depth)
        coherence = None if self.flat else self.coherence
        return Model(scorer, Head(self.taxonomy_, self._prior(scorer, training), fusion, coherence))

    def _prior(self, scorer: Scorer, training: Training) -> Prior:
        return Prior(self.taxonomy_, scorer.columns, training.counts, length(training.inputs))

    def _learn_levels(
        self, true: csr_matrix[Any], scores: csr_matrix[Any]
    ) -> tuple[LevelCalibration | None, csr_matrix[Any]]:
        method = "none" if self.flat else self.calibrate
        unknown = self._unknown(true)
        return learn_levels(
            self.taxonomy_, true, scores, self.counts_, unknown=unknown, method=method, seed=self.seed
        )

    def _tuned(
        self,
        point: OperatingPoint,
        true: csr_matrix[Any],
        scores: csr_matrix[Any],
        *,
        goal: str | None = None,
        search: Search | None = None,
        per_level: bool | None = None,
    ) -> OperatingPoint:
        """Return a point tuned; None: as the parameters say."""
        nothing_to_tune_on = not true.shape[0] and not self.counts_.any()
        if (self.thresholds is not None or nothing_to_tune_on) and goal is None and point.decoder.cut:
            fixed = self._fixed_thresholds()
            values = (*fixed, *fixed[-1:] * (self.taxonomy_.depth - len(fixed)))
            about = {**point.about, "documents": true.shape[0]}
            return replace(point, thresholds=Thresholds(values, "fixed", None, "fixed"), about=about)
        return tuned_point(
            point,
            self.taxonomy_,
            true,
            scores,
            goal=goal or self.goal,
            search=search or self.search,
            per_level=(self.per_level if per_level is None else per_level) and not self.flat,
            seed=self.seed,
        )

    def _fixed_thresholds(self) -> tuple[float, ...]:
        given = UNTAUGHT if self.thresholds is None else self.thresholds
        fixed = tuple(np.atleast_1d(np.asarray(given, dtype=float)).tolist())
        if len(fixed) > self.taxonomy_.depth:
            raise UsageError(f"{len(fixed)} thresholds for {self.taxonomy_.depth} levels")
        return fixed

    def _report(self, held_out: int) -> dict[str, Any]:
        return {
            "held_out": held_out,
            "trained_nodes": len(self.scorer_.columns),
            "nodes_without_documents": int((self.counts_ == 0).sum()),
            # nodes without documents that the scorer knows all the same, from their texts
            "cold_start_nodes": int((self.counts_[known_columns(self.scorer_)] == 0).sum()),
            "fusion": [
                {"of": what, **row}
                for what, calibration in zip(Fusion._fields, self._model.head.fusion, strict=True)
                for row in calibration.report
            ],
            "scorers": reports_of(self.scorer_),
            **self._default_point.report,
        }

    @property
    def scorer_(self) -> Scorer:
        """The fitted scorer."""
        return self._model.scorer

    @property
    def calibration_(self) -> Calibration:
        """From channels of the scorer's columns to probabilities."""
        return self._model.head.fusion.columns

    @property
    def candidate_calibration_(self) -> Calibration:
        """From channels of single pairs outside the scorer's columns to probabilities."""
        return self._model.head.fusion.pairs

    @property
    def level_calibration_(self) -> LevelCalibration | None:
        """From coherent scores to calibrated ones; None: they are left as they are."""
        return self._model.head.level_calibration

    @property
    def thresholds_(self) -> Thresholds:
        """The thresholds of the default operating point."""
        return self._default_point.thresholds

    @property
    def decoder_(self) -> Decoder:
        """The decoder of the default operating point."""
        return self._default_point.decoder

    @property
    def decoder_reason_(self) -> str:
        """Why the default operating point has its decoder."""
        return str(self._default_point.about["decoder_reason"])

    @property
    def _default_point(self) -> OperatingPoint:
        return self.operating_points_[DEFAULT]

    # -- predict ---------------------------------------------------------------------------------------------

    def _batches(self, inputs: Inputs) -> Iterator[Scores]:
        return self._fitted().batches(inputs, self._workers)

    @property
    def _workers(self) -> int:
        return self.n_jobs or os.cpu_count() or 1

    def _answers(self, rules: Rules | None = None) -> Answers:
        return Answers(self.taxonomy_, self.counts_, rules)

    def _fitted(self) -> Model:
        if not hasattr(self, "_model"):
            raise NotFittedError("this classifier is not fitted: call fit(X, y), or load a saved model")
        return self._model

    def _decode(
        self, batch: Scores, inputs: Inputs, point: OperatingPoint, permitted: Bools | None = None
    ) -> csr_matrix[Any]:
        """Return label sets; a document without a word has none: unknown."""
        Y = point.decode(self.taxonomy_, batch.values, permitted)
        empty = without_words(inputs[batch.rows])
        if empty.any():
            rows, columns = Y.nonzero()
            keep = ~empty[rows]
            Y = from_pairs(rows[keep], columns[keep], (Y.shape[0], Y.shape[1]))
        return Y

    def predict_proba(self, X: Any) -> Floats:
        """Return coherent scores (documents, nodes), float32 in [0, 1]; columns are `classes_`.

        Raises:
            NotFittedError: fit or load first.
            UsageError: texts for a model of numbers, or numbers for a model of texts.
        """
        parts = [batch.values for batch in self._batches(self._read(X))]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.taxonomy_)), dtype=np.float32)

    def predict(
        self,
        X: Any,
        *,
        operating_point: str = DEFAULT,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
    ) -> list[tuple[str, ...]]:
        """Return for each document its closed label set, as node ids in node order; () means unknown.

        Args:
            X: documents, as in `fit`.
            operating_point: a name in `operating_points_`.
            allow, deny: ids, names or paths of nodes, each for its subtree: answer only what lies in an allowed one
                and in no denied one, and the ancestors of that.

        Raises:
            NotFittedError: fit or load first.
            UsageError: texts for a model of numbers, or numbers for a model of texts; an operating point or a node
                that does not exist; allow and deny leave nothing.
        """
        inputs = self._read(X)
        point = find_point(self.operating_points_, operating_point)
        permitted = permitted_nodes(self.taxonomy_, allow, deny)
        sets = (self._decode(batch, inputs, point, permitted) for batch in self._batches(inputs))
        return [labels for Y in sets for labels in label_sets(self.taxonomy_, Y)]

    def rank(self, X: Any, k: int = 10, *, among: Sequence[str] | None = None) -> list[list[ScoredNode]]:
        """Return for each document the k nodes that are most probably a most specific label, best first.

        A node's share is its score without that of its children: without the highest, or, where every document has
        one label and paths exclude each other, without their sum. They may add up to more than the node's own score;
        then it still has a tenth of what the highest leaves. Where documents have one label and the scorer weighs
        their candidates against each other, those shares count too, by a geometric mean. Nodes without a share are
        left out.

        Args:
            X: documents, as in `fit`.
            k: how many, at most.
            among: ids, names or paths of the nodes that may be answers (a share below them is theirs); None: all.

        Raises:
            NotFittedError, DataError: as in `predict`, or a node that does not exist.
            UsageError: k below 1.
        """
        inputs = self._read(X)
        if k < 1:
            raise UsageError(f"k is at least 1, not {k}")
        ranking = Ranking(self.taxonomy_, one_label=self._model.one_label, among=among)
        answers = self._answers()
        return [answers.nodes(*best) for batch in self._batches(inputs) for best in ranking.best(batch, k)]

    def predict_documents(
        self,
        documents: Iterable[Document],
        *,
        operating_point: str = DEFAULT,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
        rules: Mode | None = None,
        as_of: dt.date | str | None = None,
        assignable: bool = False,
    ) -> Iterator[Prediction]:
        """Yield a prediction for each document, in order, holding one batch a thread at a time.

        Args:
            documents: read as they are needed.
            operating_point, allow, deny: as in `predict`.
            rules, as_of, assignable: what the rules of the taxonomy do to answers; see `hclf.answers.Rules`.

        Raises:
            NotFittedError, UsageError: as in `predict`; at once, apart from documents that do not fit.
        """
        self._fitted()
        point = find_point(self.operating_points_, operating_point)
        permitted = permitted_nodes(self.taxonomy_, allow, deny)
        answers = self._answers(Rules(self.taxonomy_, rules, as_of, assignable=assignable))
        return (
            prediction
            for batch, inputs, scores in self._scored_documents(documents)
            for prediction in answers.predictions(
                batch, inputs, scores.values, self._decode(scores, inputs, point, permitted)
            )
        )

    def triage(
        self,
        documents: Iterable[Document],
        precision: float,
        *,
        guess: str = DEFAULT,
        rules: Literal["flag", "off"] | None = None,
        as_of: dt.date | str | None = None,
    ) -> Iterator[tuple[bool, Prediction]]:
        """Yield for each document, in order, whether it can be answered unseen, and the answer or the best guess.

        It can where the operating point that promises the precision has an answer, and that is what it gets. Others
        get what the point `guess` answers, or the best path where that has no answer either.

        Args:
            documents: read as they are needed.
            precision: wanted; `tune(..., confidence=0.9)` makes a point that promises it.
            guess: name of an operating point.
            rules, as_of: as in `predict_documents`; rules cannot repair what is promised.

        Raises:
            NotFittedError: fit or load first.
            UsageError: no point promises the precision, or no point is named `guess`.
        """
        self._fitted()
        if rules not in (None, "flag", "off"):
            raise UsageError("what is promised is of labels as they were chosen: rules is flag or off")
        answers = self._answers(Rules(self.taxonomy_, rules, as_of))
        sure = promising_point(self.operating_points_, precision)
        points = (sure, find_point(self.operating_points_, guess), BEST_PATH)
        return (
            answer
            for batch, inputs, scores in self._scored_documents(documents)
            for answer in self._triaged(answers, batch, inputs, scores, points)
        )

    def _triaged(
        self,
        answers: Answers,
        documents: Sequence[Document],
        inputs: Inputs,
        scores: Scores,
        points: Sequence[OperatingPoint],
    ) -> Iterator[tuple[bool, Prediction]]:
        """Yield whether the first point answers a document, and the answer of the first point that does."""
        Y = self._decode(scores, inputs, points[0])
        sure = np.diff(Y.indptr) > 0
        for point in points[1:]:
            (rows, columns), (more, of_more) = pairs(Y), pairs(self._decode(scores, inputs, point))
            new = (np.diff(Y.indptr) == 0)[more]
            rows, columns = np.concatenate([rows, more[new]]), np.concatenate([columns, of_more[new]])
            Y = from_pairs(rows, columns, (Y.shape[0], Y.shape[1]))
        yield from zip(sure.tolist(), answers.predictions(documents, inputs, scores.values, Y), strict=True)

    def _scored_documents(self, documents: Iterable[Document]) -> Iterator[tuple[list[Document], Inputs, Scores]]:
        model = self._fitted()

        def score(batch: list[Document]) -> tuple[list[Document], Inputs, Scores]:
            inputs = self._read(batch)
            return batch, inputs, model.score(inputs, slice(0, len(batch)))

        batches = chunks(documents, batch_size(self.taxonomy_, model.scorer))
        return in_threads(score, batches, batch_workers(model.scorer, self._workers))

    # -- explain ---------------------------------------------------------------------------------------------

    def explain(
        self,
        X: Any,
        *,
        nodes: str | Iterable[str] | None = None,
        against: str | None = None,
        top: int = 5,
        operating_point: str = DEFAULT,
    ) -> list[list[Explanation]]:
        """Return for each document, in node order, why its answers are its answers; see `hclf.evidence`.

        Args:
            X: documents, as in `fit`.
            nodes: ids, names or paths of nodes to explain instead, whether they are answers or not.
            against: the node to contrast with; None: the best sibling that is no answer.
            top: spans of a kind to show, at most.
            operating_point: as in `predict`.

        Raises:
            NotFittedError, DataError: as in `predict`, or a node that does not exist.
            UsageError: as in `predict`, or a scorer that cannot say why.
        """
        inputs = self._read(X)
        point = find_point(self.operating_points_, operating_point)
        question = Question.about(self.taxonomy_, nodes, against, top)
        explainer = Explainer(
            self.taxonomy_,
            self.scorer_,
            self.calibration_,
            self.candidate_calibration_,
            self.counts_,
            point.thresholds.by_node(self.taxonomy_) if point.decoder.cut else None,
            lifted=self._model.head.coherence == "max",
        )
        return [
            explanations
            for scores in self._batches(inputs)
            for explanations in explainer.explain(
                Batch(inputs[scores.rows], scores.before, scores.values, self._decode(scores, inputs, point)),
                question,
            )
        ]

    # -- evaluate and tune -------------------------------------------------------------------------------------

    def evaluate(
        self, X: Any, y: Labels, *, operating_point: str = DEFAULT, intervals: bool | int = False
    ) -> Evaluation:
        """Return every metric of this model on labelled documents, at an operating point.

        Args:
            X, y: the documents and their labels, as in `fit`.
            operating_point: as in `predict`.
            intervals: find 95 % intervals; as in `hclf.evaluation.evaluate`.

        Raises:
            NotFittedError, DataError: as in `fit`.
            UsageError: as in `predict`.
        """
        return self._measured(X, y, operating_point, intervals)[0]

    def examine(
        self, X: Any, y: Labels, *, operating_point: str = DEFAULT, intervals: bool | int = False
    ) -> tuple[Evaluation, Diagnostics]:
        """Return what `evaluate` does, and what a report shows beyond metrics: risk, reliability, confusions.

        Arguments and errors are those of `evaluate`.
        """
        evaluation, true, predicted, scores = self._measured(X, y, operating_point, intervals)
        point = self.operating_points_[operating_point]
        thresholds = point.thresholds.values if point.decoder.cut else ()
        return evaluation, diagnose(
            self.taxonomy_, true, predicted, scores, thresholds=thresholds, train_counts=self.counts_
        )

    def _measured(
        self, X: Any, y: Labels, operating_point: str, intervals: bool | int
    ) -> tuple[Evaluation, csr_matrix[Any], csr_matrix[Any], csr_matrix[Any]]:
        """Return the evaluation, and the truth, answers and scores it is of."""
        inputs = self._read(X)
        point = find_point(self.operating_points_, operating_point)
        true = close(self.taxonomy_, self._labelled(inputs, y))
        predicted, scores, violations = [], [], []
        for batch in self._batches(inputs):
            predicted.append(self._decode(batch, inputs, point))
            scores.append(sparse_scores(batch.values))
            violations.append(self.taxonomy_.violations(batch.before))
        if not predicted:
            raise DataError("no documents to evaluate")
        answers, all_scores = csr_matrix(vstack(predicted)), csr_matrix(vstack(scores))
        evaluation = evaluate(
            self.taxonomy_,
            true,
            answers,
            scores=all_scores,
            violations=np.concatenate(violations),
            train_counts=self.counts_,
            intervals=intervals,
            seed=self.seed,
        )
        return evaluation, true, answers, all_scores

    def score(self, X: Any, y: Labels, *, operating_point: str = DEFAULT) -> float:
        """Return micro hF on labelled documents, at an operating point."""
        return float(self.evaluate(X, y, operating_point=operating_point).metrics["hF"])

    def tune(
        self,
        X: Any,
        y: Labels,
        *,
        name: str = DEFAULT,
        goal: str | None = None,
        decoder: str | None = None,
        decoder_options: Mapping[str, Any] | None = None,
        search: Search | None = None,
        per_level: bool | None = None,
        confidence: float | None = None,
        calibrate: bool = False,
    ) -> Self:
        """Make an operating point, or set one anew, on documents not trained on; nothing is trained.

        Args:
            X, y: the documents and their labels, as in `fit`.
            name: of the point.
            goal, search, per_level: as in the constructor; None: as given there, fixed `thresholds` too.
            decoder, decoder_options: as in the constructor; None: the decoder of the default point.
            confidence: with a goal `precision>=P`: answer only as deep as is safe, so that new documents of the same
                kind are answered at that precision with this confidence; see `hclf.guarantees`. `decoder_options`
                are then those of `guarantee`. What lies below a label and is not labelled counts as wrong, as it does
                in the headline figures of `evaluate`.
            calibrate: learn the calibration of scores anew, too. What other points were tuned on is then no more:
                they are dropped.

        Raises:
            NotFittedError, DataError, UsageError: as in `fit`; or options that do not go together.
        """
        if self.flat and (decoder is not None or confidence is not None):
            raise UsageError("a flat model has the threshold decoder only")
        model = self._fitted()
        point = point_to_tune(
            replace(self._default_point, name=name, closure=self.closure), goal, decoder, decoder_options, confidence
        )
        if calibrate and name != DEFAULT:
            raise UsageError("calibrating changes the scores of every point: tune the default one with it")
        if calibrate and confidence is not None:
            raise UsageError("a guarantee needs documents on which nothing was fitted: calibrate on others, before")
        inputs = self._read(X)
        true = self._labelled(inputs, y)
        if calibrate:
            model = replace(model, head=replace(model.head, level_calibration=None))
        parts = [sparse_scores(batch.values) for batch in model.batches(inputs, self._workers)]
        if not parts or not true.nnz:
            raise DataError("no labelled documents to tune on")
        scores = csr_matrix(vstack(parts))
        others = {} if calibrate else self.operating_points_
        if calibrate:
            levels, scores = self._learn_levels(true, scores)
            model = replace(model, head=replace(model.head, level_calibration=levels))
        if confidence is None:
            tuned = self._tuned(point, true, scores, goal=goal, search=search, per_level=per_level)
        else:
            options = {"path": model.one_label, **(decoder_options or {}), "confidence": confidence}
            goal = goal or self.goal
            tuned = guaranteed_point(name, goal, self.taxonomy_, true, scores, seed=self.seed, **options)
        self._model = model
        self.operating_points_ = {**others, name: tuned}
        if name == DEFAULT:
            self.report_ |= tuned.report | {"held_out": true.shape[0]}
            self.report_.pop(UNTUNED, None)
        return self

    # -- save and load -----------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, force: bool = False, baseline: HierarchicalClassifier | None = None) -> None:
        """Write the model as a bundle; a flat baseline trained on the same data may ride along.

        Raises:
            BundleError: the place is taken or cannot be written.
        """
        own, parts = to_parts(self._state())
        if baseline is not None:
            own[BASELINE], more = to_parts(baseline._state(), f"{BASELINE}-")
            parts |= more
        write_bundle(path, own, self.taxonomy_, parts, force=force)

    @classmethod
    def load(cls, path: str | Path, *, taxonomy: Taxonomy | str | Path | None = None) -> Self:
        """Read a saved model.

        Args:
            path: the bundle's folder.
            taxonomy: refuse the model unless it was made for this taxonomy.

        Raises:
            BundleError: not a model, damaged, of a newer format, or of another taxonomy.
        """
        wanted = None if taxonomy is None else load_taxonomy(taxonomy)
        return cls._of(from_bundle(read_bundle(path, taxonomy=wanted), path))

    @classmethod
    def load_baseline(cls, path: str | Path) -> Self | None:
        """Read the flat baseline saved beside a model, or None."""
        if BASELINE not in read_manifest(path):  # most have none: do not read a large model twice to find out
            return None
        return cls._of(from_bundle(read_bundle(path), path, baseline=True))

    def _state(self) -> Fitted:
        settings = {key: value for key, value in self.get_params().items() if key != "taxonomy"}
        return Fitted(settings, self._fitted(), self.operating_points_, self.counts_, self.report_)

    @classmethod
    def _of(cls, fitted: Fitted) -> Self:
        taxonomy = fitted.model.head.taxonomy
        classifier = cls(taxonomy=taxonomy, **fitted.settings)
        classifier.taxonomy_, classifier.classes_ = taxonomy, np.array(taxonomy.nodes, dtype=object)
        classifier._model, classifier.operating_points_ = fitted.model, fitted.points
        classifier.counts_, classifier.report_ = fitted.counts, fitted.report
        return classifier


def _tally(training: Training) -> dict[str, int]:
    """Count documents, and those that can teach nothing or little."""
    return {
        "documents": length(training.inputs),
        "empty_texts": int(without_words(training.inputs).sum()),
        "documents_without_labels": int((np.diff(training.Y.indptr) == 0).sum()),
    }
