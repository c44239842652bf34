"""What a scorer is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.inputs import Inputs
from hclf.taxonomy import Taxonomy

Progress: TypeAlias = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Wraps an iterable of known length so that someone sees it move: progress(items, what, total)."""


def silent(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
    """Show nothing."""
    return items


class Candidates(NamedTuple):
    """Channels of (document, node) pairs outside a scorer's columns: rows ascending, taxonomy columns, (c, pairs)."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    channels: NDArray[np.float32]


class Scored(NamedTuple):
    """What a scorer says of documents.

    Attributes:
        channels: (channels, documents, len(columns)), float32.
        candidates: channels of other nodes, of those that come into question for a document; None: of none.
        listwise: (documents, nodes) probability that a most specific label is the node or lies below it, by weighing
            all candidates of a document against each other; None: the scorer does not.
    """

    channels: NDArray[np.float32]
    candidates: Candidates | None = None
    listwise: csr_matrix[Any] | None = None


class Mention(NamedTuple):
    """Where a training document says that it belongs to a node.

    Attributes:
        column: of the node, in the taxonomy.
        field: the text field.
        parts: (start, end) character offsets into that field, one or more, ascending.
    """

    column: int
    field: str
    parts: tuple[tuple[int, int], ...]


Mentions: TypeAlias = Sequence[Sequence[Mention]]
"""The mentions of each document, in the order of the documents."""


class Contribution(NamedTuple):
    """What a place in a document adds to a score.

    Attributes:
        source: name of the scorer.
        field: the text field.
        start, end: character offsets into that field.
        value: what it adds to the scorer's first channel; below 0: it speaks against the node.
        why: in a few words, such as "mention in 12 training documents", or "".
    """

    source: str
    field: str
    start: int
    end: int
    value: float
    why: str = ""


class Scorer(Protocol):
    """Learns from documents and closed label sets; scores documents. Knows no decoder and no threshold.

    `score` returns raw channels (margins, similarities, log-odds, …): turning them into probabilities is
    `hclf.fusion`'s work, on held-out data. The more a document belongs to a node, the higher every channel.

    A scorer without `channels` has no columns: all it says is said of single pairs, through `Scored.candidates`. So
    memory goes with what it finds.

    What a scorer may have besides:

    - `floors: ClassVar[Mapping[str, float]]`: of a channel, what it counts as for pairs of which the scorer says
      nothing, where it stands beside others; 0 for those that are not named.
    - `known`: after fit, the taxonomy columns it can find at all, with training documents or without.
    - `fit(..., mentions: Mentions | None = None)`: it learns from mentions.
    - `partial_update`: as `LinearScorer` has it.
    - `learns_without_documents = True`: the texts of nodes are enough, or it is trained already.
    - `learns_nothing = True`: it is trained already, so that all documents may calibrate it.
    - `most_held_out`: documents that may be held out, at most, because asking it about each costs time or money.
    - `batch_documents`: that are scored at once, at most, so that something is seen of slow ones.
    - `own_threads = True`: it does several things at once by itself, so it is given one batch after another. What it
      has under way ends with Ctrl-C; threads of ours would be waited for.
    - `begin_with(findings, *, kept)` and, after fit, `findings`: see `prepare`.
    - `report`: after fit, what happened in it, as plain values; `HierarchicalClassifier.report_["scorers"]`.
    - `evidence(inputs, rows, columns) -> list[list[Contribution]]`: for each (document, taxonomy column) pair what
      speaks for and against it.
    """

    name: ClassVar[str]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of columns; () if there are no columns."""
        ...

    @property
    def candidate_channels(self) -> tuple[str, ...]:
        """Names of the channels of single pairs."""
        ...

    columns: NDArray[np.int64]
    """After fit: the taxonomy columns this scorer has a model for, ascending."""

    def fit(
        self,
        inputs: Inputs,
        Y: csr_matrix[Any],
        *,
        taxonomy: Taxonomy,
        unknown: csr_matrix[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Learn from inputs and closed labels Y (documents, nodes); `unknown` marks what Y does not say."""
        ...

    def score(self, inputs: Inputs) -> Scored:
        """Return the channels of documents; each document's depend on that document alone."""
        ...

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything needed to score again, as JSON-able values and arrays."""
        ...

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        ...


def mentions_for(fit: Callable[..., Any], mentions: Mentions | None) -> dict[str, Any]:
    """Return the keyword that gives mentions to a `fit`, if there are any and it takes them."""
    takes = mentions is not None and "mentions" in signature(fit).parameters
    return {"mentions": mentions} if takes else {}


def prepare(scorer: Scorer, findings: Mapping[str, Any], *, kept: bool) -> None:
    """Tell a scorer, before its fit, what an earlier fit found out and what becomes of it.

    So a classifier, which fits a scorer once to learn from held-out documents and once more on all, does not pay for
    the search of the same number of epochs, or size of leaves, twice.

    Args:
        scorer: not fitted; nothing happens to one without `begin_with`.
        findings: `findings_of` a scorer of the same options; {}: none was fitted yet.
        kept: False: it only scores held-out documents once, so what costs time and gains little may be left out.
    """
    if hasattr(scorer, "begin_with"):
        scorer.begin_with(findings, kept=kept)


def findings_of(scorer: Scorer) -> dict[str, Any]:
    """Return what a fitted scorer found out that another fit of it may take over, as plain values."""
    return dict(getattr(scorer, "findings", {}))


def floor_of(scorer: Scorer, channel: str) -> float:
    """Return what a channel counts as where a scorer says nothing."""
    return float(getattr(scorer, "floors", {}).get(channel, 0))


def known_columns(scorer: Scorer) -> NDArray[np.int64]:
    """Return the taxonomy columns that a fitted scorer can find."""
    known: NDArray[np.int64] = getattr(scorer, "known", scorer.columns)
    return known
