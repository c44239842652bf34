"""Operating points: named ways to make label sets of one model's scores.

Scores are the same at every point. A point has its own decoder and thresholds, tuned for its own goal, so that one
model serves a search page (`default`), an audit (`precision>=0.98`) and a screening (`recall>=0.95`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from hclf.data import LabelResolver
from hclf.decoders import Closure, Decoder, decode, describe, make_decoder
from hclf.errors import DataError, UsageError, did_you_mean, suggest
from hclf.fusion import sparse_scores
from hclf.labels import from_pairs, pairs
from hclf.taxonomy import Taxonomy, spread
from hclf.thresholds import Thresholds

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

DEFAULT = "default"
"""The point that `fit` tunes, and that is meant where none is named."""
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
        about: plain values: `decoder_reason`, `documents` (how many it was tuned on).

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
            permitted: (nodes,) which may be answers, closed under ancestors, as `permitted_nodes` returns them; None:
                all. Others count as scored 0, and are never answered.
        """
        left = scores if permitted is None else np.where(permitted, scores, np.float32(0))
        Y, _ = decode(taxonomy, left, self.thresholds.array, self.decoder, self.closure)
        return Y if permitted is None else _only(Y, permitted)

    def candidates(self, taxonomy: Taxonomy, scores: csr_matrix[Any]) -> csr_matrix[Any]:
        """Return of coherent scores (documents, nodes) those of the nodes that the decoder selects."""
        rows = max(1, NUMBERS_AT_A_TIME // max(len(taxonomy), 1))
        parts = []
        for start in range(0, scores.shape[0], rows):
            part = scores[start : start + rows].toarray()
            parts.append(sparse_scores(np.where(self.decoder.select(taxonomy, part), part, 0)))
        return csr_matrix(vstack(parts)) if parts else scores

    @property
    def report(self) -> dict[str, Any]:
        """What it is and reaches, as plain values."""
        return {
            "decoder": self.decoder_name,
            "decoder_reason": self.about["decoder_reason"],
            "goal": self.thresholds.goal,
            "achieved_on_held_out": self.thresholds.achieved,
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
        decoder_name = options.pop("name")
        return cls(
            name,
            make_decoder(decoder_name, **options),
            decoder_name,
            Thresholds.from_dict(data["thresholds"]),
            data["closure"],
            dict(data["about"]),
        )


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

    Each node named stands for its subtree. Permitted is what lies in an allowed subtree (without `allow`:
    everything) and in no denied one, so on a DAG one denied parent is enough to deny. The ancestors of permitted
    nodes are permitted too, so that answers are closed; they are answered also on their own.

    Args:
        taxonomy: of the columns.
        allow, deny: node ids, names or paths; None: no list.

    Raises:
        UsageError: a node that does not exist, an empty list of allowed nodes, or nothing is left.
    """
    if allow is None and deny is None:
        return None
    inside = np.ones(len(taxonomy), dtype=bool)
    if allow is not None:
        inside = _subtrees(taxonomy, allow, "allow")
    if deny is not None:
        inside &= ~_subtrees(taxonomy, deny, "deny")
    if not inside.any():
        raise UsageError("allow and deny leave no node that may be an answer")
    permitted = np.zeros(len(taxonomy), dtype=bool)
    permitted[spread(np.flatnonzero(inside), taxonomy.parents)] = True
    return permitted


def _subtrees(taxonomy: Taxonomy, nodes: Iterable[str], what: str) -> Bools:
    if isinstance(nodes, str):
        raise UsageError(f"{what} is a list of nodes, not one string")
    resolve = LabelResolver(taxonomy)
    try:
        roots = [taxonomy.index(resolve(node)) for node in nodes]
    except DataError as error:
        raise UsageError(f"{what}: {error.message}") from None
    mark = np.zeros(len(taxonomy), dtype=bool)
    mark[spread(np.array(roots, dtype=np.int64), taxonomy.children)] = True
    return mark


def _only(Y: csr_matrix[Any], permitted: Bools) -> csr_matrix[Any]:
    """Return Y without the columns that are not permitted; what lies below those is not permitted either."""
    rows, columns = pairs(Y)
    keep = permitted[columns]
    return from_pairs(rows[keep], columns[keep], (Y.shape[0], Y.shape[1]))
