"""Operating points: named ways to make label sets of one model's scores.

Scores are the same at every point. A point has its own decoder and thresholds, tuned for its own goal, so that one
model serves a search page (`default`), an audit (`precision>=0.98`) and a screening (`recall>=0.95`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from hclf.data import LabelResolver
from hclf.decoders import Closure, Decoder, allowed_nodes, decode, describe, make_decoder, tune_expected_f
from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.fusion import sparse_scores
from hclf.guarantees import Guarantee, guarantee
from hclf.taxonomy import Taxonomy
from hclf.thresholds import Search, Thresholds, cross_fitted, parse_goal, tune

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

DEFAULT = "default"
"""The point that `fit` tunes, and that is meant where none is named."""
NOT_TUNED = Thresholds((), "none", None, "none")
LEARNED: Mapping[str, Callable[..., Decoder]] = {"expected-f": tune_expected_f}
"""Decoders whose options can be chosen on held-out documents: name -> f(taxonomy, true, scores)."""
NUMBERS_AT_A_TIME = 12_000_000  # scores made dense at once while candidates are selected


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A decoder with its thresholds.

    Attributes:
        name: letters, digits, `.`, `_` and `-`.
        decoder: selects candidates.
        decoder_name: its name in `hclf.decoders.DECODERS`.
        thresholds: cut the candidates.
        closure: how sets are closed where thresholds fall with depth.
        about: plain values: `decoder_reason`, `documents` (how many it was tuned on), `decoder_learned` where its
            options were chosen on them, `guarantee` where a precision is promised, `void` where it no longer is.

    Raises:
        UsageError: a name of other characters.
    """

    name: str
    decoder: Decoder
    decoder_name: str
    thresholds: Thresholds
    closure: Closure = "ancestors"
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)

    def decode(self, taxonomy: Taxonomy, scores: Floats, permitted: Bools | None = None) -> csr_matrix[Any]:
        """Return closed label sets (documents, nodes).

        Args:
            taxonomy: of the columns.
            scores: (documents, nodes), coherent.
            permitted: (nodes,) which may be answers, as `permitted_nodes` returns them; None: all. Others count as
                scored 0, which no decoder selects.
        """
        left = scores if permitted is None else np.where(permitted, scores, np.float32(0))
        cuts = self.thresholds.by_node(taxonomy) if self.decoder.cut else np.zeros(taxonomy.depth)
        return decode(taxonomy, left, cuts, self.decoder, self.closure)[0]

    def candidates(self, taxonomy: Taxonomy, scores: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return of coherent scores (documents, nodes) those of the nodes that the decoder selects."""
        rows = max(1, NUMBERS_AT_A_TIME // max(len(taxonomy), 1))
        parts = []
        for start in range(0, scores.shape[0], rows):
            part = scores[start : start + rows].toarray()
            parts.append(sparse_scores(np.where(self.decoder.select(taxonomy, part), part, 0)))
        return csr_matrix(vstack(parts)) if parts else scores

    @property
    def guarantee(self) -> Guarantee | None:
        """What is promised of its answers, if anything is."""
        promise = self.about.get("guarantee")
        return None if promise is None else Guarantee.from_dict(promise)

    def without_guarantee(self, why: str) -> OperatingPoint:
        """Return the same point with nothing promised; a point that promised nothing as it is."""
        if "guarantee" not in self.about:
            return self
        left = {key: value for key, value in self.about.items() if key != "guarantee"}
        return replace(self, about={**left, "void": why})

    @property
    def report(self) -> dict[str, Any]:
        """What it is and reaches, as plain values."""
        return {
            "decoder": self.decoder_name,
            "decoder_reason": self.about["decoder_reason"],
            "goal": self.thresholds.goal,
            "achieved_on_held_out": self.thresholds.achieved,
            "expected_on_new": self.thresholds.expected,
            "thresholds": list(self.thresholds.values),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "decoder": {"name": self.decoder_name, **describe(self.decoder)},
            "thresholds": self.thresholds.to_dict(),
            "closure": self.closure,
            "about": dict(self.about),
        }

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> OperatingPoint:
        """Build from a name and `to_dict`."""
        options = dict(data["decoder"])
        decoder = options.pop("name")
        thresholds, about = Thresholds.from_dict(data["thresholds"]), dict(data["about"])
        point = cls(name, make_decoder(decoder, **options), decoder, thresholds, data["closure"], about)
        _ = point.report, point.guarantee  # what they lack is better found now
        return point


def new_point(
    name: str, decoder: str, options: Mapping[str, Any], reason: str, closure: Closure = "ancestors"
) -> OperatingPoint:
    """Return a point that still lacks what `tuned_point` finds.

    Args:
        name: of the point.
        decoder, options: as for `make_decoder`. Without options, what such a decoder can learn is learned.
        reason: why this decoder.
        closure: of the point.

    Raises:
        UsageError: as `make_decoder`.
    """
    learned = {"decoder_learned": True} if decoder in LEARNED and not options else {}
    about = {"decoder_reason": reason, **learned}
    return OperatingPoint(name, make_decoder(decoder, **options), decoder, NOT_TUNED, closure, about)


def tuned_point(
    point: OperatingPoint,
    taxonomy: Taxonomy,
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    *,
    goal: str = "hf",
    search: Search = "exact",
    per_level: bool = True,
    seed: int = 0,
) -> OperatingPoint:
    """Return a point with the thresholds, or the decoder, that serve best on held-out documents.

    Args:
        point: whose decoder is meant; one without thresholds gets none, whatever the goal.
        taxonomy: of the columns.
        true, scores: (documents, nodes) closed label sets, and coherent scores of all nodes from 0.001 up.
        goal, search, per_level: as in `hclf.thresholds.tune`.
        seed: of the parts by which is found what to expect on new documents.

    Raises:
        UsageError: as `hclf.thresholds.tune`.
    """
    about = {**point.about, "documents": true.shape[0]}
    if point.about.get("decoder_learned") and true.shape[0]:
        point = replace(point, decoder=LEARNED[point.decoder_name](taxonomy, true, scores))
    if not point.decoder.cut:
        none = Thresholds((0.0,) * taxonomy.depth, "none", None, "none")
        return replace(point, thresholds=none, about=about)
    candidates = point.candidates(taxonomy, scores)
    options: dict[str, Any] = {"goal": goal, "search": search, "per_level": per_level, "taxonomy": taxonomy}
    thresholds = tune(true, candidates, taxonomy.levels, **options)
    if true.shape[0] > 1:
        expected = cross_fitted(true, candidates, taxonomy.levels, **options, seed=seed)
        thresholds = replace(thresholds, expected=expected)
    return replace(point, thresholds=thresholds, about=about)


def guaranteed_point(
    name: str,
    goal: str,
    taxonomy: Taxonomy,
    true: csr_matrix[Any],
    scores: csr_matrix[Any],
    *,
    confidence: float,
    seed: int = 0,
    **options: Any,
) -> OperatingPoint:
    """Return a point that answers as deep as is safe: on new documents its precision is that of the goal.

    Args:
        name: of the point.
        goal: `precision>=P`.
        taxonomy: of the columns.
        true, scores: (documents, nodes) of documents on which nothing was fitted or chosen.
        confidence, seed, options: as in `hclf.guarantees.guarantee`.

    Raises:
        UsageError: another goal, or an option that does not exist.
    """
    precision = precision_of(goal)
    if precision is None:
        raise UsageError(f"a guarantee is of a precision: the goal is precision>=0.95 or the like, not {goal!r}")
    try:
        promise = guarantee(taxonomy, true, scores, precision=precision, confidence=confidence, seed=seed, **options)
    except TypeError:
        raise UsageError(f"a guarantee does not take {', '.join(options)}") from None
    thresholds = Thresholds((0.0,) * taxonomy.depth, f"precision>={precision:g}", promise.chosen.precision, "none")
    about = {
        "decoder_reason": f"chosen to promise it with {confidence:.0%} confidence",
        "documents": true.shape[0],
        "guarantee": promise.to_dict(),
    }
    return OperatingPoint(name, promise.decoder, "safe-depth", thresholds, about=about)


def point_to_tune(
    point: OperatingPoint,
    goal: str | None = None,
    decoder: str | None = None,
    options: Mapping[str, Any] | None = None,
    confidence: float | None = None,
) -> OperatingPoint:
    """Return a point that is to be tuned for a goal: it still lacks its thresholds.

    Args:
        point: with the decoder to keep, under the name of the new one.
        goal: as for `tuned_point`; None: not known yet.
        decoder, options: another decoder, as for `new_point`.
        confidence: with which a precision is to be promised.

    Raises:
        UsageError: what does not go together.
    """
    precision = None if goal is None else precision_of(goal)
    if confidence is not None and decoder not in (None, "safe-depth"):
        raise UsageError(f"what promises a precision is the decoder safe-depth, not {decoder!r}")
    if decoder is None and options and confidence is None:
        raise UsageError("decoder options need a decoder that is named")
    if confidence is not None:
        return point
    if decoder is None:
        point = point.without_guarantee("tuned anew without a confidence")
    else:
        own = {"precision": precision} if decoder == "safe-depth" and precision is not None else {}
        point = new_point(point.name, decoder, {**own, **(options or {})}, "as asked", point.closure)
        if own:
            return point
    if goal is not None and not point.decoder.cut:
        raise UsageError(f"decoder {point.decoder_name!r} has no thresholds to tune for {goal}")
    return point


def precision_of(goal: str) -> float | None:
    """Return p of `precision>=p`, of everything together; None for other goals.

    Raises:
        UsageError: no goal at all.
    """
    asked = parse_goal(goal)
    return asked.floor if asked.kind == "precision" and not asked.scope else None


def promising_point(points: Mapping[str, OperatingPoint], precision: float) -> OperatingPoint:
    """Return the point that promises a precision or more: one that gives answers before one that gives none.

    Of several the one that promises least.

    Raises:
        UsageError: there is none; says how to make one.
    """
    promises = {name: point.guarantee for name, point in points.items()}
    enough = {name: p for name, p in promises.items() if p is not None and p.target >= precision - 1e-9}
    if enough:
        return points[min(enough, key=lambda name: (not enough[name].holds, enough[name].target))]
    command = f"hclf tune MODEL DATA --name sure --goal 'precision>={precision:g}' --confidence 0.9 -f"
    raise UsageError(f"no operating point promises a precision of {precision:g}; make one: {command}")


def check_name(name: str) -> None:
    """Refuse names that are awkward to type.

    Raises:
        UsageError: it is one.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(f"an operating point's name is of letters, digits, '.', '_' and '-', not {name!r}")


def find_point(points: Mapping[str, OperatingPoint], name: str) -> OperatingPoint:
    """Return a point by name.

    Raises:
        UsageError: there is none, with the nearest.
    """
    if name not in points:
        nearest = did_you_mean(suggest(name, points))
        raise UsageError(f"no operating point {name!r}{nearest}; there are {', '.join(points)}")
    return points[name]


def permitted_nodes(taxonomy: Taxonomy, allow: Iterable[str] | None, deny: Iterable[str] | None) -> Bools | None:
    """Return which nodes may be answers (nodes,); None: all.

    Each node named stands for its subtree; see `hclf.decoders.allowed_nodes`. The ancestors of permitted nodes are
    permitted too, so that answers are closed; they are answered also on their own.

    Args:
        taxonomy: of the columns.
        allow, deny: node ids, names or paths; None: no list.

    Raises:
        UsageError: a node that does not exist, an empty list of allowed nodes, or nothing is left.
    """
    if allow is None and deny is None:
        return None
    inside, outside = (_ids(taxonomy, nodes, what) for nodes, what in ((allow, "allow"), (deny, "deny")))
    if allow is not None and not inside:
        raise UsageError("allow is an empty list: no node may be an answer")
    permitted = allowed_nodes(taxonomy, inside, outside)
    if not permitted.any():
        raise UsageError("allow and deny leave no node that may be an answer")
    return permitted


def _ids(taxonomy: Taxonomy, nodes: Iterable[str] | None, what: str) -> list[str]:
    if isinstance(nodes, str):
        raise UsageError(f"{what} is a list of nodes, not one string")
    resolve = LabelResolver(taxonomy)
    try:
        return [resolve(node) for node in nodes or ()]
    except DataError as error:
        raise UsageError(f"{what}: {error.message}") from None
