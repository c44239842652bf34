"""`HierarchicalClassifier`: documents and label sets in, closed label sets out, scikit-learn habits kept.

    fit       inputs -> labels (closure) -> folds -> scorer.fit -> held-out scores -> fusion
              -> coherent -> calibration -> thresholds.tune -> scorer fitted again on everything
    predict   inputs -> scorer.score -> fusion -> prior -> coherent -> calibration -> operating point

Validation, `predict` and `evaluate` run the same batch loop, so memory goes with the batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.base import BaseEstimator

from hclf.bundle import Bundle, read_bundle, read_manifest, write_bundle
from hclf.calibration import METHODS, LevelCalibration
from hclf.data import Document, LabelResolver, Prediction, ScoredNode, split_indices, text_groups
from hclf.data.texts import normalised
from hclf.decoders import Closure, Decoder, default_decoder, make_decoder
from hclf.diagnostics import Diagnostics, diagnose
from hclf.errors import BundleError, DataError, NotFittedError, UsageError
from hclf.evaluation import Evaluation, evaluate
from hclf.fusion import Calibration, Prior, Sample, sample, sampling_rate, sparse_scores
from hclf.inputs import (
    Inputs,
    as_inputs,
    chunks,
    dense,
    in_threads,
    is_matrix,
    joined,
    known,
    length,
    rows_of,
    take,
    without_words,
)
from hclf.labels import close, entries, from_pairs, label_matrix, label_sets, most_specific, pairs, partial_depth
from hclf.operating import (
    DEFAULT,
    OperatingPoint,
    check_name,
    find_point,
    guaranteed_point,
    new_point,
    permitted_nodes,
    precision_of,
    promising_point,
    tuned_point,
)
from hclf.registry import load_taxonomy
from hclf.scorers import Scorer, make_scorer, scorer_from_state
from hclf.scorers.base import Candidates, Progress, Scored, known_columns, silent
from hclf.scorers.together import channel_parts
from hclf.taxonomy import CoherenceMethod, Taxonomy, distinct, run_starts, spread
from hclf.thresholds import Search, Thresholds, parse_goal

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Labels: TypeAlias = Any
"""Lists of node ids, names or paths, one list a document; or an indicator matrix (documents, nodes)."""

BATCH_NUMBERS = 12_000_000  # scores held at once for one batch (48 MB a matrix)
SMALL = 1_500  # up to so many documents, held-out scores come from cross-validation: one part would be too few
FOLDS = 5
HELD_OUT, MOST_HELD_OUT = 0.15, 5_000  # of the documents; more make calibration and thresholds no better
BEST_PATH = new_point("best-path", "path", {"to_leaf": True}, "where there is no answer")
LEFT_OVER = 0.1  # of what the best child leaves a node, when all its children together leave nothing
LISTWISE, LEAST_SHARE = 0.25, 1e-9  # exponent of listwise shares in ranking, and the least of them
FEWEST = 10  # documents below which nothing can be held out
CHOICES = {
    "coherence": ("max", "min", "isotonic"),
    "search": ("exact", "grid"),
    "closure": ("ancestors", "prune"),
    "partial_labels": ("unknown", "negative"),
    "calibrate": ("auto", "none", *METHODS),
}


class Scores(NamedTuple):
    """One batch of scores (n, nodes): of which documents, coherent and calibrated, before either, and `listwise`."""

    rows: slice
    values: Floats
    before: Floats
    listwise: csr_matrix[Any] | None = None


@dataclass(slots=True)
class Model:
    """A fitted scorer with what belongs to it; `calibration` None: coherent scores are left as they are."""

    scorer: Scorer
    prior: Prior
    levels: Ints
    calibration: LevelCalibration | None = None


class HierarchicalClassifier(BaseEstimator):  # type: ignore[misc]
    """A multi-label classifier whose answers are closed under the ancestors of a taxonomy.

    Not a scikit-learn `ClassifierMixin`: that would make `cross_val_score` reject label sets. It clones, goes
    through pipelines and `cross_val_score`, and `score` is micro hF.

    Args:
        taxonomy: a `Taxonomy`, a path, or the name of a shipped one.
        scorer: a name in `hclf.scorers.SCORERS`.
        scorer_options: keyword arguments of the scorer, such as `{"C": 0.5, "field_weights": {...}}`.
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
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.taxonomy, self.scorer, self.scorer_options = taxonomy, scorer, scorer_options
        self.coherence, self.calibrate = coherence, calibrate
        self.decoder, self.decoder_options = decoder, decoder_options
        self.goal, self.search, self.per_level, self.thresholds = goal, search, per_level, thresholds
        self.closure, self.partial_labels, self.flat = closure, partial_labels, flat
        self.n_jobs, self.seed = n_jobs, seed

    # -- fit -------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Labels, *, progress: Progress = silent) -> Self:
        """Learn from documents and their labels.

        Args:
            X: list of str, list of dict (named text fields), a DataFrame or one of its columns, or a numeric
                feature matrix (documents, features), NaN where a value is missing.
            y: label sets: lists of node ids, names or paths (ancestors may be left out), or an indicator matrix
                (documents, nodes).
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
        inputs = as_inputs(X)
        Y = self._labelled(inputs, y)
        if not Y.nnz:
            raise DataError("no training document has a label")
        decoder, reason = self._choose_decoder(most_specific(self.taxonomy_, Y))
        unknown = self._unknown(Y)
        self.counts_ = np.bincount(Y.indices, minlength=len(self.taxonomy_)).astype(np.int64)

        folds = self._folds(Y, inputs)
        held_out = [
            (self._fit_model(take(inputs, train), Y[train], rows_of(unknown, train), progress), test)
            for train, test in folds
        ]
        recall = self._calibrate(held_out, inputs, Y, unknown)
        true, scores = self._held_out_scores(held_out, inputs, Y)
        del held_out
        self.level_calibration_, scores = self._calibrate_levels(true, scores)
        options = {} if self.flat else dict(self.decoder_options or {})
        point = new_point(DEFAULT, decoder, options, reason, self.closure)
        self.operating_points_ = {DEFAULT: self._tuned(point, true, scores)}
        self._one_label = decoder == "path"
        self._model = replace(self._fit_model(inputs, Y, unknown, progress), calibration=self.level_calibration_)
        self._features = inputs.shape[1] if isinstance(inputs, csr_matrix) else None
        self.scorer_ = self._model.scorer
        held_out_documents = sum(len(test) for _, test in folds)
        self.report_ = _tally(inputs, Y) | self._report(held_out_documents) | {"candidate_recall": recall}
        return self

    def partial_update(
        self, X: Any, y: Labels, *, taxonomy: Taxonomy | str | Path | None = None, progress: Progress = silent
    ) -> Self:
        """Learn from more documents, or changed texts of nodes: only the nodes they are about are trained again.

        Calibration and operating points stay as they are, but what a point promised is void (`tune` renews them).
        Fit with `scorer_options={"updatable": True}`, which keeps the training documents' features with the model.

        Args:
            X, y: the new documents and their labels, as in `fit`; may be empty.
            taxonomy: the same nodes and edges with other texts; nodes whose texts differ are trained again.
            progress: as in `fit`.

        Raises:
            NotFittedError, DataError: as in `fit`.
            UsageError: the scorer cannot be updated or was not fitted for it; the taxonomy has other nodes or edges.
        """
        scorer: Any = copy(self._fitted().scorer)  # so that what fails on the way changes nothing
        if not hasattr(scorer, "partial_update"):
            raise UsageError(f"scorer {self.scorer!r} cannot be updated: fit it anew")
        inputs = self._read(X)
        Y = self._labelled(inputs, y)
        now = self.taxonomy_ if taxonomy is None else load_taxonomy(taxonomy)
        scorer.partial_update(
            inputs,
            Y,
            taxonomy=now,
            unknown=self._unknown(Y),
            changed=self._changed(now),
            progress=progress,
        )
        self.taxonomy_, self.scorer_ = now, scorer
        self.operating_points_ = {
            name: point.without_guarantee("the model was updated afterwards")
            for name, point in self.operating_points_.items()
        }
        self.counts_ = self.counts_ + np.bincount(Y.indices, minlength=len(self.taxonomy_))
        self.report_ |= self._report(self.report_["held_out"])
        self.report_ |= {what: self.report_[what] + count for what, count in _tally(inputs, Y).items()}
        self._model = self._model_of(scorer, self.counts_, self.report_["documents"], self.level_calibration_)
        return self

    def _changed(self, taxonomy: Taxonomy) -> Ints:
        """Return the columns whose texts differ in a taxonomy of the same nodes and edges; a path is a text, too."""
        old = self.taxonomy_
        if taxonomy.nodes != old.nodes or set(taxonomy.edges()) != set(old.edges()):
            raise UsageError("the taxonomy has other nodes or edges than the model's: fit anew")
        if taxonomy is old:
            return np.zeros(0, dtype=np.int64)
        every = range(len(old))
        renamed = np.flatnonzero([a != b for a, b in zip(taxonomy.names, old.names, strict=True)])
        texts = np.flatnonzero([taxonomy.node(j).texts != old.node(j).texts for j in every])
        return distinct(np.concatenate([texts, spread(renamed, old.children)]))

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

    def _new_scorer(self) -> Scorer:
        return make_scorer(self.scorer, self.scorer_options, n_jobs=self._workers, seed=self.seed)

    def _read(self, X: Any) -> Inputs:
        """Return documents as the fitted scorer takes them: texts, or a matrix with the columns it knows."""
        self._fitted()
        inputs = as_inputs(X)
        width = self._features
        if not length(inputs):
            return [] if width is None else csr_matrix((0, width), dtype=np.float64)
        if isinstance(inputs, csr_matrix) != (width is not None):
            fitted = "texts" if width is None else f"a matrix of {width:,} features"
            given = f"a matrix of {inputs.shape[1]:,} columns" if isinstance(inputs, csr_matrix) else "texts"
            raise UsageError(f"the model was fitted on {fitted}; what came is {given}")
        return inputs

    def _labelled(self, inputs: Inputs, y: Labels) -> csr_matrix[Any]:
        """Return the label sets of documents: closed, or for a flat model the most specific labels."""
        given = self._labels(y)
        if given.shape[0] != length(inputs):
            raise DataError(f"{length(inputs)} documents but {given.shape[0]} label sets")
        return (most_specific if self.flat else close)(self.taxonomy_, given)

    def _unknown(self, Y: csr_matrix[Any]) -> csr_matrix[Any] | None:
        """Return what labels do not speak of; None: they speak of every node."""
        hidden = self.partial_labels == "unknown" and not self.flat
        return partial_depth(self.taxonomy_, Y) if hidden else None

    def _labels(self, y: Labels) -> csr_matrix[Any]:
        """Return labels as given as a matrix, not closed."""
        nodes = len(self.taxonomy_)
        if is_matrix(y):
            if y.shape[1] != nodes:
                raise DataError(f"the indicator matrix has {y.shape[1]} columns, the taxonomy {nodes} nodes")
            rows, columns = y.nonzero()
            return from_pairs(rows, columns, (y.shape[0], nodes))
        resolve = LabelResolver(self.taxonomy_)
        sets = [[labels] if isinstance(labels, str) else labels for labels in y]
        ids: list[list[str]] = []
        for row, labels in enumerate(sets, start=1):
            if not isinstance(labels, Iterable) or not all(isinstance(label, str) for label in labels):
                raise DataError("labels are a list of node ids, names or paths", row=row)
            try:
                ids.append([resolve(label) for label in labels])
            except DataError as error:
                raise DataError(error.message, row=row) from None
        return label_matrix(self.taxonomy_, ids, closed=False)

    def _choose_decoder(self, specific: csr_matrix[Any]) -> tuple[str, str]:
        """Return the name of the decoder for training labels, and why it is that one."""
        if self.flat:
            return "threshold", "flat baseline"
        if self.decoder == "auto":
            return default_decoder(self.taxonomy_, specific)
        return self.decoder, "as asked"

    def _folds(self, Y: csr_matrix[Any], inputs: Inputs) -> list[tuple[Ints, Ints]]:
        """Return (train, held out) rows: one part, or for few documents every part of a cross-validation."""
        n = Y.shape[0]
        if n < FEWEST:
            return []
        groups = np.arange(n) if isinstance(inputs, csr_matrix) else text_groups(joined(inputs))
        copies = np.isin(groups, groups[self._copies(Y, inputs)])
        if n > SMALL:
            test_size = min(HELD_OUT, MOST_HELD_OUT / n)
            train, test = split_indices(Y, test_size=test_size, seed=self.seed, groups=groups)
            back = copies[test]
            return [(np.sort(np.concatenate([train, test[back]])), test[~back])]
        part = np.random.default_rng(self.seed).permutation(n) % FOLDS
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        part = part[first][group]  # equal texts must not lie on both sides
        every = np.arange(n)
        part[copies] = -1
        folds = [(every[part != k], every[part == k]) for k in range(FOLDS)]
        return [(train, test) for train, test in folds if len(test) and Y[train].nnz]

    def _copies(self, Y: csr_matrix[Any], inputs: Inputs) -> NDArray[np.bool_]:
        """Mark documents that only repeat a text of one of their nodes: held out, they would teach overconfidence."""
        mark = np.zeros(Y.shape[0], dtype=bool)
        if isinstance(inputs, csr_matrix):
            return mark
        rows, columns = pairs(most_specific(self.taxonomy_, Y))
        said = [normalised(text) for text in joined(inputs)]
        texts = {j: {normalised(text) for text in self.taxonomy_.node(j).texts} for j in distinct(columns).tolist()}
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            mark[row] |= said[row] in texts[column]
        return mark

    def _fit_model(
        self, inputs: Inputs, Y: csr_matrix[Any], unknown: csr_matrix[Any] | None, progress: Progress
    ) -> Model:
        scorer = self._new_scorer()
        scorer.fit(inputs, Y, taxonomy=self.taxonomy_, unknown=unknown, progress=progress)
        return self._model_of(scorer, np.bincount(Y.indices, minlength=len(self.taxonomy_)), Y.shape[0])

    def _model_of(
        self, scorer: Scorer, counts: Ints, documents: int, calibration: LevelCalibration | None = None
    ) -> Model:
        prior = Prior(self.taxonomy_, scorer.columns, counts, documents)
        return Model(scorer, prior, self.taxonomy_.levels[scorer.columns], calibration)

    def _calibrate(
        self,
        held_out: Sequence[tuple[Model, Ints]],
        inputs: Inputs,
        Y: csr_matrix[Any],
        unknown: csr_matrix[Any] | None,
    ) -> dict[str, float]:
        """Learn the calibrations; return by level the share of held-out labels that were scored at all."""
        depth, scorer = self.taxonomy_.depth, held_out[0][0].scorer if held_out else self._new_scorer()
        parts, of_pairs = channel_parts(scorer.channels), channel_parts(scorer.candidate_channels)
        leading = [own[0] for own in parts.values()]
        self.calibration_ = Calibration.default(depth, len(scorer.channels), leading=leading)
        self.candidate_calibration_ = Calibration.default(
            depth,
            len(scorer.candidate_channels),
            leading=[own[0] for own in of_pairs.values()],
            slope=6,
            middle=1,
        )
        rate = sampling_rate(sum(len(test) * len(model.levels) for model, test in held_out))
        rng = np.random.default_rng(self.seed)
        samples: list[Sample] = []
        of_candidates: list[Sample] = []
        asked, found = np.zeros(depth, dtype=np.int64), np.zeros(depth, dtype=np.int64)
        for model, test in held_out:
            for rows, scored in self._scored(model, inputs, test):
                columns = model.scorer.columns
                if len(columns):
                    truth = dense(Y, rows, columns)
                    spoken = known(unknown, rows, columns)
                    samples.append(
                        sample(
                            scored.channels, truth, spoken, model.levels, rate, rng, leading=leading, documents=rows
                        )
                    )
                    found += np.bincount(model.levels[np.nonzero(truth)[1]] - 1, minlength=depth)
                asked += np.bincount(self.taxonomy_.levels[Y[rows].indices] - 1, minlength=depth)
                if scored.candidates is not None:
                    pairs_ = self._candidate_sample(scored.candidates, Y[rows], rows_of(unknown, rows), rows)
                    of_candidates.append(pairs_)
                    found += np.bincount(pairs_.level[pairs_.truth] - 1, minlength=depth)
        if samples:
            self.calibration_ = Calibration.fit(samples, depth, parts, self.seed)
        if any(part.truth.any() for part in of_candidates):
            self.candidate_calibration_ = Calibration.fit(of_candidates, depth, of_pairs, self.seed)
        scored_by_level = enumerate(zip(found.tolist(), asked.tolist(), strict=True), start=1)
        return {str(level): hits / n for level, (hits, n) in scored_by_level if of_candidates and n}

    def _candidate_sample(
        self, candidates: Candidates, Y: csr_matrix[Any], unknown: csr_matrix[Any] | None, documents: Ints
    ) -> Sample:
        rows, columns, channels = candidates
        truth = entries(Y, rows, columns)
        spoken = np.ones(len(rows), dtype=bool) if unknown is None else truth | ~entries(unknown, rows, columns)
        levels = self.taxonomy_.levels[columns]
        values = channels.T.astype(np.float64)
        return Sample(values, truth, np.ones(len(rows)), levels, documents[rows]).only(spoken)

    def _scored(self, model: Model, inputs: Inputs, rows: Ints) -> Iterator[tuple[Ints, Scored]]:
        def score(part: slice) -> tuple[Ints, Scored]:
            return rows[part], model.scorer.score(take(inputs, rows[part]))

        return in_threads(score, self._slices(len(rows)), self._workers)

    def _held_out_scores(
        self, held_out: Sequence[tuple[Model, Ints]], inputs: Inputs, Y: csr_matrix[Any]
    ) -> tuple[csr_matrix[Any], csr_matrix[Any]]:
        """Return truth and scores of the held-out documents."""
        rows = [test for _, test in held_out]
        scores = [
            sparse_scores(batch.values)
            for model, test in held_out
            for batch in self._batches(take(inputs, test), model)
        ]
        if not scores:
            return Y[:0], csr_matrix(Y[:0], dtype=np.float32)
        return Y[np.concatenate(rows)], csr_matrix(vstack(scores))

    def _calibrate_levels(
        self, true: csr_matrix[Any], scores: csr_matrix[Any]
    ) -> tuple[LevelCalibration | None, csr_matrix[Any]]:
        """Learn to calibrate coherent scores; return also those of these documents, each as one not learned from.

        Of a node that no document carries nothing is learned: that none is found among held-out documents either
        says nothing against its name. It is calibrated as its level.
        """
        if self.calibrate == "none" or self.flat or not true.shape[0]:
            return None, scores
        method: Any = self.calibrate
        seen = (self.counts_ > 0) | (np.bincount(true.indices, minlength=len(self.taxonomy_)) > 0)
        found, calibrated = LevelCalibration.cross_fit(
            self.taxonomy_, true, _only(scores, seen), unknown=self._unknown(true), method=method, seed=self.seed
        )
        return found, csr_matrix(calibrated + _only(found.apply_sparse(scores), ~seen))

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
        if self.thresholds is not None and goal is None and point.decoder.cut:
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
        fixed = tuple(np.atleast_1d(np.asarray(self.thresholds, dtype=float)).tolist())
        if len(fixed) > self.taxonomy_.depth:
            raise UsageError(f"{len(fixed)} thresholds for {self.taxonomy_.depth} levels")
        return fixed

    def _report(self, held_out: int) -> dict[str, Any]:
        return {
            "held_out": held_out,
            "trained_nodes": len(self.scorer_.columns),
            "nodes_without_documents": int((self.counts_ == 0).sum()),
            "cold_start_nodes": self._cold_start_nodes(),
            **self._default_point.report,
        }

    def _cold_start_nodes(self) -> int:
        """Return how many nodes without documents the scorer knows all the same, from their texts."""
        return int((self.counts_[known_columns(self.scorer_)] == 0).sum())

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

    def _batch_size(self) -> int:
        return max(1, min(512, BATCH_NUMBERS // max(len(self.taxonomy_), 1)))

    def _slices(self, n: int) -> Iterator[slice]:
        size = self._batch_size()
        return (slice(start, min(start + size, n)) for start in range(0, n, size))

    def _batches(self, inputs: Inputs, model: Model | None = None) -> Iterator[Scores]:
        """Score inputs batch by batch, in threads but in order: the one loop that everything runs on."""
        model = model or self._fitted()
        return in_threads(
            lambda rows: self._score(inputs[rows], rows, model), self._slices(length(inputs)), self._workers
        )

    @property
    def _workers(self) -> int:
        return self.n_jobs or os.cpu_count() or 1

    def _score(self, inputs: Inputs, rows: slice, model: Model) -> Scores:
        scored = model.scorer.score(inputs)
        scores = model.prior.fill(self.calibration_.probabilities(scored.channels, model.levels))
        if scored.candidates is not None:
            of, columns, channels = scored.candidates
            levels = self.taxonomy_.levels[columns]
            scores[of, columns] = self.candidate_calibration_.probabilities(channels, levels)
        coherent = scores if self.flat else self.taxonomy_.coherent(scores, self.coherence)
        calibrated = coherent if model.calibration is None else model.calibration.apply(coherent)
        return Scores(rows, calibrated, scores, scored.listwise)

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
        taxonomy, n = self.taxonomy_, len(self.taxonomy_)
        allowed = np.ones(n, dtype=bool)
        if among is not None:
            resolve = LabelResolver(taxonomy)
            allowed = np.isin(np.arange(n), [taxonomy.index(resolve(node)) for node in among])
        answers = np.flatnonzero(allowed)
        inside = np.isin(np.arange(n), taxonomy.close_pairs(answers, answers)[1])
        parents, children = taxonomy.children.of_many(np.arange(n))
        parents, children = parents[inside[children]], children[inside[children]]
        starts = np.flatnonzero(run_starts(parents))
        above = parents[starts]

        def shares(scores: Floats) -> Floats:
            share = scores.copy()
            if len(starts):
                below = scores[:, children]
                share[:, above] -= np.maximum.reduceat(below, starts, axis=1)
                if self._one_label:
                    left = scores[:, above] - np.add.reduceat(below, starts, axis=1)
                    share[:, above] = np.maximum(left, np.float32(LEFT_OVER) * share[:, above])
            return np.maximum(share, 0)

        ranked: list[list[ScoredNode]] = []
        for batch in self._batches(inputs):
            share = shares(batch.values)
            if self._one_label and batch.listwise is not None:
                weighed = np.maximum(shares(batch.listwise.toarray()), LEAST_SHARE)
                share = np.asarray(share ** (1 - LISTWISE) * weighed**LISTWISE, dtype=np.float32)
            share[:, ~allowed] = 0
            best = np.sort(np.argpartition(-share, min(k, n) - 1, axis=1)[:, :k], axis=1)
            for row, columns in zip(share, best, strict=True):
                order = columns[np.argsort(-row[columns], kind="stable")]
                ranked.append(self._scored_nodes(order[row[order] > 0], row))
        return ranked

    def _scored_nodes(self, columns: NDArray[Any], scores: Floats) -> list[ScoredNode]:
        """Return some columns of one document's scores as nodes."""
        taxonomy, names = self.taxonomy_, self.taxonomy_.names
        values = (a.tolist() for a in (columns, taxonomy.levels[columns], scores[columns], self.counts_[columns]))
        return [
            ScoredNode(taxonomy.nodes[j], names[j], level, score, count == 0)
            for j, level, score, count in zip(*values, strict=True)
        ]

    def predict_documents(
        self,
        documents: Iterable[Document],
        *,
        operating_point: str = DEFAULT,
        allow: Iterable[str] | None = None,
        deny: Iterable[str] | None = None,
    ) -> Iterator[Prediction]:
        """Yield a prediction for each document, in order, holding one batch a thread at a time.

        Args:
            documents: read as they are needed.
            operating_point, allow, deny: as in `predict`.

        Raises:
            NotFittedError, UsageError: as in `predict`; at once, apart from documents that do not fit.
        """
        self._fitted()
        point = find_point(self.operating_points_, operating_point)
        permitted = permitted_nodes(self.taxonomy_, allow, deny)
        return (
            prediction
            for batch, inputs, scores in self._scored_documents(documents)
            for prediction in self._predictions(
                batch, inputs, scores.values, self._decode(scores, inputs, point, permitted)
            )
        )

    def triage(
        self, documents: Iterable[Document], precision: float, *, guess: str = DEFAULT
    ) -> Iterator[tuple[bool, Prediction]]:
        """Yield for each document, in order, whether it can be answered unseen, and the answer or the best guess.

        It can where the operating point that promises the precision has an answer, and that is what it gets. Others
        get what the point `guess` answers, or the best path where that has no answer either.

        Args:
            documents: read as they are needed.
            precision: wanted; `tune(..., confidence=0.9)` makes a point that promises it.
            guess: name of an operating point.

        Raises:
            NotFittedError: fit or load first.
            UsageError: no point promises the precision, or no point is named `guess`.
        """
        self._fitted()
        sure = promising_point(self.operating_points_, precision)
        points = (sure, find_point(self.operating_points_, guess), BEST_PATH)
        return (
            answer
            for batch, inputs, scores in self._scored_documents(documents)
            for answer in self._triaged(batch, inputs, scores, points)
        )

    def _triaged(
        self, documents: Sequence[Document], inputs: Inputs, scores: Scores, points: Sequence[OperatingPoint]
    ) -> Iterator[tuple[bool, Prediction]]:
        """Yield whether the first point answers a document, and the answer of the first point that does."""
        Y = self._decode(scores, inputs, points[0])
        sure = np.diff(Y.indptr) > 0
        for point in points[1:]:
            (rows, columns), (more, of_more) = pairs(Y), pairs(self._decode(scores, inputs, point))
            new = (np.diff(Y.indptr) == 0)[more]
            rows, columns = np.concatenate([rows, more[new]]), np.concatenate([columns, of_more[new]])
            Y = from_pairs(rows, columns, (Y.shape[0], Y.shape[1]))
        yield from zip(sure.tolist(), self._predictions(documents, inputs, scores.values, Y), strict=True)

    def _scored_documents(self, documents: Iterable[Document]) -> Iterator[tuple[list[Document], Inputs, Scores]]:
        model = self._fitted()

        def score(batch: list[Document]) -> tuple[list[Document], Inputs, Scores]:
            inputs = self._read(batch)
            return batch, inputs, self._score(inputs, slice(0, len(batch)), model)

        return in_threads(score, chunks(documents, self._batch_size()), self._workers)

    def _predictions(
        self, documents: Sequence[Document], inputs: Inputs, scores: Floats, Y: csr_matrix[Any]
    ) -> Iterator[Prediction]:
        specific = most_specific(self.taxonomy_, Y)
        leaves = label_sets(self.taxonomy_, specific)
        flags = {
            "empty-text": without_words(inputs),
            "cold-start": specific @ (self.counts_ == 0).astype(np.int64) > 0,
        }
        for i, document in enumerate(documents):
            labels = self._scored_nodes(Y.indices[Y.indptr[i] : Y.indptr[i + 1]], scores[i])
            raised = tuple(flag for flag, on in flags.items() if on[i])
            yield Prediction(document.id, tuple(labels), leaves[i], raised)

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
        self._fitted()
        point = self._point_to_tune(name, goal, decoder, decoder_options, confidence)
        if calibrate and name != DEFAULT:
            raise UsageError("calibrating changes the scores of every point: tune the default one with it")
        if calibrate and confidence is not None:
            raise UsageError("a guarantee needs documents on which nothing was fitted: calibrate on others, before")
        inputs = self._read(X)
        true = self._labelled(inputs, y)
        model = replace(self._model, calibration=None) if calibrate else self._model
        parts = [sparse_scores(batch.values) for batch in self._batches(inputs, model)]
        if not parts or not true.nnz:
            raise DataError("no labelled documents to tune on")
        scores = csr_matrix(vstack(parts))
        calibration, others = self.level_calibration_, self.operating_points_
        if calibrate:
            calibration, scores = self._calibrate_levels(true, scores)
            others = {}
        if confidence is None:
            tuned = self._tuned(point, true, scores, goal=goal, search=search, per_level=per_level)
        else:
            options = {"path": self._one_label, **(decoder_options or {}), "confidence": confidence}
            goal = goal or self.goal
            tuned = guaranteed_point(name, goal, self.taxonomy_, true, scores, seed=self.seed, **options)
        self.level_calibration_, self._model = calibration, replace(self._model, calibration=calibration)
        self.operating_points_ = {**others, name: tuned}
        if name == DEFAULT:
            self.report_ |= tuned.report | {"held_out": true.shape[0]}
        return self

    def _point_to_tune(
        self,
        name: str,
        goal: str | None,
        decoder: str | None,
        options: Mapping[str, Any] | None,
        confidence: float | None,
    ) -> OperatingPoint:
        """Return a point of this name that still lacks its thresholds; refuse what does not go together."""
        check_name(name)
        precision = None if goal is None else precision_of(goal)
        if self.flat and (decoder is not None or confidence is not None):
            raise UsageError("a flat model has the threshold decoder only")
        if confidence is not None and decoder not in (None, "safe-depth"):
            raise UsageError(f"what promises a precision is the decoder safe-depth, not {decoder!r}")
        if decoder is None and options and confidence is None:
            raise UsageError("decoder options need a decoder that is named")
        point = replace(self._default_point, name=name, closure=self.closure)
        if confidence is not None:
            return point
        if decoder is None:
            point = point.without_guarantee("tuned anew without a confidence")
        else:
            own = {"precision": precision} if decoder == "safe-depth" and precision is not None else {}
            point = new_point(name, decoder, {**own, **(options or {})}, "as asked", self.closure)
            if own:
                return point
        if goal is not None and not point.decoder.cut:
            raise UsageError(f"decoder {point.decoder_name!r} has no thresholds to tune for {goal}")
        return point

    # -- save and load -----------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, force: bool = False, baseline: HierarchicalClassifier | None = None) -> None:
        """Write the model as a bundle; a flat baseline trained on the same data may ride along.

        Raises:
            BundleError: the place is taken or cannot be written.
        """
        own, parts = self._state("")
        if baseline is not None:
            own["baseline"], more = baseline._state("baseline-")
            parts |= more
        write_bundle(path, own, self.taxonomy_, parts, force=force)

    def _state(self, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
        model = self._fitted()
        config, arrays = model.scorer.get_state()
        settings = {key: value for key, value in self.get_params().items() if key != "taxonomy"}
        manifest = {
            "settings": settings,
            "operating_points": {name: point.to_dict() for name, point in self.operating_points_.items()},
            "calibration": self.calibration_.to_dict(),
            "candidate_calibration": self.candidate_calibration_.to_dict(),
            "level_calibration": self.level_calibration_ and self.level_calibration_.to_dict(),
            "features": self._features,
            "one_label": self._one_label,
            "report": self.report_,
        }
        name = f"{prefix}{self.scorer}"
        return manifest, {name: (config, {**arrays, "counts": self.counts_})}

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
        return cls._from_bundle(read_bundle(path, taxonomy=wanted), "", path)

    @classmethod
    def load_baseline(cls, path: str | Path) -> Self | None:
        """Read the flat baseline saved beside a model, or None."""
        if "baseline" not in read_manifest(path):  # most have none: do not read a large model twice to find out
            return None
        return cls._from_bundle(read_bundle(path), "baseline-", path)

    @classmethod
    def _from_bundle(cls, bundle: Bundle, prefix: str, path: str | Path) -> Self:
        try:
            with np.errstate(invalid="raise"):  # numbers that are none
                return cls._rebuilt(bundle, prefix)
        except KeyError as error:
            why = f"damaged, or another version of hclf made it: it lacks {error}"
            raise BundleError(f"{path} is {why}; train it anew") from error
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise BundleError(f"{path} is damaged: {type(error).__name__} {error}") from error

    @classmethod
    def _rebuilt(cls, bundle: Bundle, prefix: str) -> Self:
        manifest = bundle.manifest["baseline"] if prefix else bundle.manifest
        model = cls(taxonomy=bundle.taxonomy, **manifest["settings"])
        model.taxonomy_ = bundle.taxonomy
        model.classes_ = np.array(bundle.taxonomy.nodes, dtype=object)
        points = manifest["operating_points"]
        model.operating_points_ = {name: OperatingPoint.from_dict(name, points[name]) for name in (DEFAULT, *points)}
        for point in model.operating_points_.values():  # one that does not fit is better found now
            point.decode(bundle.taxonomy, np.zeros((1, len(bundle.taxonomy)), dtype=np.float32))
        model._one_label = manifest["one_label"]
        model.calibration_ = Calibration.from_dict(manifest["calibration"])
        model.candidate_calibration_ = Calibration.from_dict(manifest["candidate_calibration"])
        calibration = manifest["level_calibration"]
        model.level_calibration_ = calibration and LevelCalibration.from_dict(model.taxonomy_, calibration)
        model._features = None if manifest["features"] is None else int(manifest["features"])
        model.report_ = manifest["report"]
        config, arrays = bundle.parts[f"{prefix}{model.scorer}"]
        model.counts_ = arrays["counts"]
        model.scorer_ = scorer_from_state(model.scorer, config, arrays)
        documents = model.report_["documents"]
        model._model = model._model_of(model.scorer_, model.counts_, documents, model.level_calibration_)
        return model


def _tally(inputs: Inputs, Y: csr_matrix[Any]) -> dict[str, int]:
    """Count documents, and those that can teach nothing or little."""
    return {
        "documents": length(inputs),
        "empty_texts": int(without_words(inputs).sum()),
        "documents_without_labels": int((np.diff(Y.indptr) == 0).sum()),
    }


def _only(scores: csr_matrix[Any], columns: Bools) -> csr_matrix[Any]:
    """Return sparse scores without the entries of other columns."""
    keep = columns[scores.indices]
    rows, found = pairs(scores)
    return csr_matrix((scores.data[keep], (rows[keep], found[keep])), shape=scores.shape)
