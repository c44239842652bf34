"""Several scorers as one: their channels side by side, for `hclf.fusion` to weigh against each other.

    columns     those of any part
    channels    of each part that has columns, then what a part says of single pairs, where those lie in the columns
    candidates  the pairs that any part speaks of outside the columns

A channel of a part is called PART.CHANNEL. Where a part says nothing of a pair, its channels have their floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import UsageError
from hclf.inputs import Inputs, length
from hclf.scorers.base import (
    Candidates,
    Contribution,
    Mentions,
    Progress,
    Scored,
    Scorer,
    findings_of,
    floor_of,
    known_columns,
    mentions_for,
    prepare,
    silent,
)
from hclf.scorers.packing import prefixed, unprefixed
from hclf.scorers.table import scorer_class
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Together:
    """A scorer made of several.

    Args:
        parts: name -> scorer, two or more, not fitted.

    Attributes:
        columns: taxonomy columns that any part has a model for, ascending.
        known: taxonomy columns that any part can find.
    """

    name: ClassVar[str] = "together"

    def __init__(self, parts: Mapping[str, Scorer]) -> None:
        self.parts = dict(parts)
        models = [name for name, part in self.parts.items() if part.channels]
        # Pairs that one part speaks of can lie in the columns of another.
        beside = {name for name in self.parts if set(models) - {name}}
        of_models = {name: tuple(part.channels) for name, part in self.parts.items()}
        of_pairs = {name: tuple(part.candidate_channels) for name, part in self.parts.items()}
        self._models, models_end = _places(of_models, 0)
        self._beside, _ = _places({name: of_pairs[name] if name in beside else () for name in self.parts}, models_end)
        self._pairs, _ = _places(of_pairs, 0)
        self.channels: tuple[str, ...] = (
            *_named(of_models),
            *_named({name: channels for name, channels in of_pairs.items() if name in beside}),
        )
        self.candidate_channels: tuple[str, ...] = _named(of_pairs)
        for limit in ("most_held_out", "batch_documents"):  # a part that is dear is dear in company, too
            if found := [getattr(part, limit) for part in self.parts.values() if hasattr(part, limit)]:
                setattr(self, limit, min(found))
        self.own_threads = any(getattr(part, "own_threads", False) for part in self.parts.values())
        self.floors = {
            f"{name}.{channel}": floor_of(part, channel)
            for name, part in self.parts.items()
            for channel in (*of_models[name], *of_pairs[name])
        }

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        mentions: Mentions | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Fit every part; mentions go to those that learn from them."""
        for part in self.parts.values():
            more = mentions_for(part.fit, mentions)
            part.fit(inputs, Y, taxonomy=taxonomy, unknown=unknown, progress=progress, **more)
        self._arrange(len(taxonomy))
        return self

    def begin_with(self, findings: Mapping[str, Any], *, kept: bool) -> None:
        """Tell every part what it found out in an earlier fit; see `hclf.scorers.base.prepare`."""
        for name, part in self.parts.items():
            prepare(part, findings.get(name, {}), kept=kept)

    @property
    def findings(self) -> dict[str, Any]:
        """What every part found out."""
        return {name: findings_of(part) for name, part in self.parts.items()}

    def partial_update(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        mentions: Mentions | None = None,
        **about: Any,
    ) -> Self:
        """Update every part; see there.

        Raises:
            UsageError: a part cannot be updated; then none is.
        """
        fixed = [name for name, part in self.parts.items() if not hasattr(part, "partial_update")]
        if fixed:
            raise UsageError(f"scorer {fixed[0]!r} cannot be updated: fit the model anew")
        updated = {name: copy(part) for name, part in self.parts.items()}
        for part in updated.values():
            learn: Any = part.partial_update  # type: ignore[attr-defined]
            learn(inputs, Y, **about, **mentions_for(learn, mentions))
        self.parts = updated
        self._arrange(self.nodes)
        return self

    def _arrange(self, nodes: int) -> None:
        self.nodes = nodes
        parts = self.parts.values()
        self.columns: Ints = distinct(np.concatenate([part.columns for part in parts]))
        self.known: Ints = distinct(np.concatenate([known_columns(part) for part in parts]))

    def score(self, inputs: Inputs) -> Scored:
        """Return what every part says, side by side."""
        n = length(inputs)
        out = self._floors(self.channels, (n, len(self.columns)))
        others: dict[str, Candidates] = {}
        listwise: list[csr_matrix[Any]] = []
        for name, part in self.parts.items():
            scored = part.score(inputs)
            if len(part.columns):
                out[self._models[name], :, np.searchsorted(self.columns, part.columns)] = scored.channels
            if scored.candidates is not None:
                others[name] = self._take_in(out[self._beside[name]], scored.candidates)
            if scored.listwise is not None:
                listwise.append(scored.listwise)
        return Scored(out, self._merged(others) if others else None, _mean(listwise) if listwise else None)

    def _take_in(self, out: Floats, candidates: Candidates) -> Candidates:
        """Write the pairs that lie in the columns into `out`; return the others."""
        if not len(out):
            return candidates
        rows, columns, channels = candidates
        place = np.searchsorted(self.columns, columns)
        inside = np.isin(columns, self.columns)
        out[:, rows[inside], place[inside]] = channels[:, inside]
        return Candidates(rows[~inside], columns[~inside], channels[:, ~inside])

    def _merged(self, others: Mapping[str, Candidates]) -> Candidates:
        """Return the pairs of all parts, each once."""
        keys = {name: found.rows * self.nodes + found.columns for name, found in others.items()}
        every = distinct(np.concatenate(list(keys.values())))
        channels = self._floors(self.candidate_channels, (len(every),))
        for name, found in others.items():
            channels[self._pairs[name], np.searchsorted(every, keys[name])] = found.channels
        rows, columns = np.divmod(every, self.nodes)
        return Candidates(rows, columns, channels)

    def pairs_in_columns(self, scored: Scored) -> Candidates:
        """Return what was said of single pairs inside the columns, as if they lay outside."""
        beside = np.concatenate([np.arange(len(self.channels))[place] for place in self._beside.values()])
        floors = np.array([self.floors[self.channels[c]] for c in beside.tolist()], dtype=np.float32)
        rows, columns = np.nonzero((scored.channels[beside] != floors[:, None, None]).any(axis=0))
        channels = self._floors(self.candidate_channels, (len(rows),))
        for name, place in self._beside.items():
            if place.stop > place.start:
                channels[self._pairs[name]] = scored.channels[place, rows, columns]
        return Candidates(rows, self.columns[columns], channels)

    def _floors(self, channels: Sequence[str], shape: tuple[int, ...]) -> Floats:
        out = np.empty((len(channels), *shape), dtype=np.float32)
        for channel, name in zip(out, channels, strict=True):
            channel.fill(self.floors[name])
        return out

    def evidence(self, inputs: Inputs, rows: Ints, columns: Ints) -> list[list[Contribution]]:
        """Return for each (document, taxonomy column) pair what the parts that can say so find for and against it."""
        found: list[list[Contribution]] = [[] for _ in range(len(rows))]
        for part in self.parts.values():
            if hasattr(part, "evidence"):
                for place, contributions in zip(found, part.evidence(inputs, rows, columns), strict=True):
                    place.extend(contributions)
        return found

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the state of every part."""
        states = {name: part.get_state() for name, part in self.parts.items()}
        arrays = {key: values for name, (_, own) in states.items() for key, values in prefixed(name, own).items()}
        return {"nodes": self.nodes, "parts": {name: config for name, (config, _) in states.items()}}, arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        parts = {
            name: scorer_class(name).from_state(own, unprefixed(name, arrays))
            for name, own in config["parts"].items()
        }
        scorer = cls(parts)
        scorer._arrange(int(config["nodes"]))
        return scorer


def reports_of(scorer: Scorer) -> dict[str, Any]:
    """Return by name what scorers say of how they were fitted, as plain values."""
    parts = scorer.parts if isinstance(scorer, Together) else {scorer.name: scorer}
    told = {name: getattr(part, "report", None) for name, part in parts.items()}
    return {name: report for name, report in told.items() if report}


def channel_parts(channels: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of the channels of each part, by their names.

    >>> channel_parts(["linear.margin", "linear.match", "lexicon.weight"])
    {'linear': [0, 1], 'lexicon': [2]}
    """
    places: dict[str, list[int]] = {}
    for place, channel in enumerate(channels):
        places.setdefault(channel.rpartition(".")[0], []).append(place)
    return places


def _named(channels: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    return tuple(f"{part}.{channel}" for part, own in channels.items() for channel in own)


def _places(channels: Mapping[str, Sequence[str]], start: int) -> tuple[dict[str, slice], int]:
    """Return where each part's channels are among all, from `start` on, and where they end."""
    places = {}
    for name, own in channels.items():
        places[name] = slice(start, start + len(own))
        start += len(own)
    return places, start


def _mean(shares: Sequence[csr_matrix[Any]]) -> csr_matrix[Any]:
    total = shares[0]
    for more in shares[1:]:
        total = total + more
    return csr_matrix(total / np.float32(len(shares))) if len(shares) > 1 else total
