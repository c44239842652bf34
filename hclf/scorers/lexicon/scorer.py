"""Nodes by their phrases: names and synonyms, what mentions of training documents say, and what is like them.

    read      places of a document: phrases found in it, and spans that read like a mention
    link      nodes each place may mean: by its phrase, by phrases spelt alike, by names that say the same
    weigh     boosted trees over (place, node), then over (document, node): learned weights of phrases

Nobody is judged by what it taught: features of training documents come from models and counts of other documents.
Context (denied, of the past, of a relative, only possible) is a feature: coders differ in what they make of it. Where
there is too little to learn from, what is denied, of the past or of a relative is no evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.errors import DataError, UsageError
from hclf.inputs import Inputs, length, take
from hclf.labels import closures, entries, from_pairs, most_specific, pairs
from hclf.scorers.base import Candidates, Contribution, Mentions, Progress, Scored, silent
from hclf.scorers.lexicon.automaton import PhraseFinder
from hclf.scorers.lexicon.candidates import (
    FEATURES,
    NEVER,
    Alike,
    Answers,
    Links,
    Meanings,
    Outline,
    Places,
    Texts,
    answers,
    meanings,
)
from hclf.scorers.lexicon.context import FLAGS, Context
from hclf.scorers.lexicon.matches import Matches, ranges
from hclf.scorers.lexicon.mining import Said, associated, mentioned, phrase_key, said_in
from hclf.scorers.lexicon.near import Names, Spelling, empty_matrix, folded_glossary
from hclf.scorers.lexicon.spans import SpanModel, Spans, Tokens, best_of_each, candidate_spans, span_features
from hclf.scorers.lexicon.text import split
from hclf.scorers.lexicon.trees import Trees
from hclf.scorers.lexicon.weights import NEW, Book, Found, Meant, deal, write_book
from hclf.scorers.packing import packed, prefixed, unpacked, unprefixed
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

OPTIONS = ("languages", "mined", "min_documents", "context", "spans", "similar", "gap", "seed")
OBJECTIONS = ("denied", "historical", "family")  # contexts in which a mention is not about the document's own case
MOST_WORDS = 12  # of a text about a node that is a phrase
MOST_SPANS = 45  # of a document that are looked at without having been found as a phrase
LEAST_SPAN = -4.4  # log-odds of one
SPELT, NAMED = 40, 120  # phrases and names that are compared with a place
PARTS = 5  # of the documents, for models that must not have seen a document
ENOUGH = 200  # right pairs that trees are learned from; with fewer, fixed weights
EASY = 0.3  # share of the wrong pairs of places that are learned from
PLACE_TREES = {"trees": 150, "leaves": 15, "rate": 0.08}
PAIR_TREES = {"trees": 120, "leaves": 10, "rate": 0.06}
WORTH_TELLING = 0.02  # chance of a meaning that is evidence
LEAST = 1e-4  # chance of a pair that is told
FLOOR = float(np.log(LEAST / (1 - LEAST)))


class LexiconScorer:
    """Finds phrases of nodes in texts and weighs what they mean.

    Args:
        languages: whose stop words, endings and context to use; None means all that ship.
        mined: keep phrases of the training documents, which are text from records.
        min_documents: documents that such a phrase must stand in.
        context: tell what is denied, of the past, of a relative or only possible from what is not. What that is worth
            is learned; with little to learn from, the first three are no evidence.
        spans: learn from mentions how other mentions read.
        similar: look for phrases spelt alike and names that say the same, too.
        gap: words that may stand within a phrase.
        n_jobs: not used; results do not depend on it.
        seed: of the groups of documents and the samples to learn from.
    """

    name: ClassVar[str] = "lexicon"
    channels: ClassVar[tuple[str, ...]] = ()
    candidate_channels: ClassVar[tuple[str, ...]] = ("weight", "own")
    floors: ClassVar[Mapping[str, float]] = {"weight": FLOOR, "own": FLOOR}

    def __init__(
        self,
        *,
        languages: Sequence[str] | None = None,
        mined: bool = True,
        min_documents: int = 2,
        context: bool = True,
        spans: bool = True,
        similar: bool = True,
        gap: int = 3,
        n_jobs: int = 1,
        seed: int = 0,
    ) -> None:
        if min_documents < 1:
            raise UsageError(f"min_documents is at least 1, not {min_documents}")
        self.languages = None if languages is None else list(languages)
        self.mined, self.min_documents, self.context = mined, min_documents, context
        self.spans, self.similar, self.gap, self.n_jobs, self.seed = spans, similar, gap, n_jobs, seed
        self.columns: Ints = np.zeros(0, dtype=np.int64)

    # -- fit -------------------------------------------------------------------------------------------------

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
        """Learn what phrases mean.

        Raises:
            DataError: no document has a word.
            UsageError: the documents are no texts.
        """
        texts = self._texts(inputs)
        self.marker = Context(self.languages, flags=tuple(FLAGS) if self.context else ())
        self.finder = PhraseFinder([], languages=self.languages)
        tokens = Tokens.of(texts.texts, self.finder.folding)
        if not len(tokens.rows):
            raise DataError("no training document has a word")
        labels = most_specific(taxonomy, Y)
        n = labels.shape[0]
        groups = deal(n, self.seed)
        said = said_in(mentions or [[]] * n, texts, tokens)
        spoken = np.isin(np.arange(n), said.documents)  # documents in which someone marked mentions
        official = self._gather(taxonomy, texts, tokens, said, labels, spoken)
        self.outline = Outline.of(taxonomy, self.languages)
        self.ancestors = closures(taxonomy, np.arange(len(taxonomy)))
        matches = self.finder.find(texts.texts, nested=True)
        first, last = _places_of(tokens, matches)
        found = Found(texts.documents[matches.rows], matches.phrases.astype(np.int64))
        meant = self._meant(found, first, last, said, labels, spoken, official)
        self.book = write_book(len(self.keys), official, found, meant, labels, groups)
        self._index()
        learner = _Learner(said, spoken, labels, unknown, groups)
        self.places_model: Trees | None = None
        self.pairs_model: Trees | None = None
        spans, logits = self._learn_spans(texts, tokens, (first, last), learner, progress)
        self._learn_weights(texts, tokens, matches, (spans, logits), learner)
        return self

    def _texts(self, inputs: Inputs) -> Texts:
        if isinstance(inputs, csr_matrix):
            raise UsageError("the lexicon finds phrases in texts, not numbers: use another scorer for a matrix")
        return Texts.of(inputs)

    def _gather(
        self,
        taxonomy: Taxonomy,
        texts: Texts,
        tokens: Tokens,
        said: Said,
        labels: csr_matrix[Any],
        spoken: NDArray[np.bool_],
    ) -> tuple[Ints, Ints]:
        """Collect all phrases for the finder; return the (phrase, node) pairs that the taxonomy gives."""
        about = [(j, text) for j in range(len(taxonomy)) for text in taxonomy.node(j).texts]
        keys = _keys([text for _, text in about], self.finder)
        named = [
            (j, key, text) for (j, text), key in zip(about, keys, strict=True) if key and key.count(" ") < MOST_WORDS
        ]
        surfaces = {key: text for _, key, text in reversed(named)}
        if self.mined:
            surfaces |= {k: text for k, text in mentioned(said, self.min_documents).items() if k not in surfaces}
            rest = ~spoken[texts.documents[tokens.rows]]
            if rest.any():
                more = associated(texts, _only(tokens, rest), labels, self.min_documents)
                surfaces |= {key: text for key, text in more.items() if key not in surfaces}
        self.keys = sorted(surfaces)
        index = {key: i for i, key in enumerate(self.keys)}
        self.finder = PhraseFinder([surfaces[key] for key in self.keys], languages=self.languages, gap=self.gap)
        phrase = np.array([index[key] for _, key, _ in named], dtype=np.int64)
        node = np.array([j for j, _, _ in named], dtype=np.int64)
        return phrase, node

    def _meant(
        self,
        found: Found,
        first: Ints,
        last: Ints,
        said: Said,
        labels: csr_matrix[Any],
        spoken: NDArray[np.bool_],
        official: tuple[Ints, Ints],
    ) -> Meant:
        """Return what occurrences meant: a mention at their place or of their words; else what their document is."""
        here: dict[tuple[int, int], set[int]] = {}
        near: dict[tuple[int, str], list[tuple[int, int, int]]] = {}
        columns = (said.documents, said.nodes, said.first, said.last)
        for document, node, begin, end, key in zip(*(c.tolist() for c in columns), said.keys, strict=True):
            here.setdefault((begin, end), set()).add(node)
            near.setdefault((document, key), []).append((begin, end, node))
        occurrences, nodes = [], []
        rows = zip(found.documents.tolist(), found.phrases.tolist(), first.tolist(), last.tolist(), strict=True)
        for i, (document, phrase, begin, end) in enumerate(rows):
            if spoken[document]:
                meant = here.get((begin, end), set()) | {
                    node for b, e, node in near.get((document, self.keys[phrase]), ()) if b < end and e > begin
                }
                occurrences += [i] * len(meant)
                nodes += sorted(meant)
        other = np.flatnonzero(~spoken[found.documents])
        more, of_labels = _by_labels(found, other, labels, official, self.mined, max(self.min_documents, 2))
        return Meant(
            np.concatenate([np.array(occurrences, dtype=np.int64), more]),
            np.concatenate([np.array(nodes, dtype=np.int64), of_labels]),
        )

    def _index(self) -> None:
        """Build what follows from phrases and book."""
        book = self.book
        self.known: Ints = distinct(book.nodes)
        told = np.bincount(book.phrases, book.said.total, minlength=len(self.keys)) > 0
        self._told = np.flatnonzero(told)
        given = np.bincount(book.phrases, book.official, minlength=len(self.keys)) > 0
        variants = self.finder.variants
        self._names: Names | None = None
        if self.similar and len(self._told):
            self._spelling = Spelling([self.keys[i] for i in self._told.tolist()])
            self._names = Names(
                variants, np.flatnonzero(given[variants.phrase]), folded_glossary(self.finder.folding)
            )
            name, pair = book.pairs_of(self._names.phrase.astype(np.int64))
            official = book.official[pair]
            self._name_nodes = name[official], book.nodes[pair[official]]

    def _learn_spans(
        self, texts: Texts, tokens: Tokens, found: tuple[Ints, Ints], learner: _Learner, progress: Progress
    ) -> tuple[Spans, Floats]:
        """Learn how mentions read; return all spans, and what models of other documents make of each."""
        spans = _joined(candidate_spans(tokens), Spans(*found))
        logits = np.zeros(len(spans.first), dtype=np.float32)
        self.span_model: SpanModel | None = None
        document = texts.documents[tokens.rows[spans.first]]
        mentioned = _contains(learner.said, spans)
        taught = learner.spoken[document]
        if not self.spans or mentioned[taught].sum() < ENOUGH:
            return spans, logits
        X = span_features(tokens, spans)
        part = learner.groups[document] % PARTS
        for i in progress(range(PARTS + 1), "learning spans", PARTS + 1):
            rows = np.flatnonzero(taught & (part != i))
            model = SpanModel.fit(X[rows], mentioned[rows], seed=self.seed)
            if i < PARTS:
                logits[part == i] = model.logits(X[part == i])
            else:
                self.span_model = model
        return spans, logits

    def _learn_weights(
        self, texts: Texts, tokens: Tokens, matches: Matches, spans: tuple[Spans, Floats], learner: _Learner
    ) -> None:
        """Learn to weigh, from documents that the models and counts in use have not seen."""
        places, links = self._arrange(texts, tokens, matches, *spans, learner.groups)
        found = self._meanings(places, links)
        right, used = learner.truth_of_places(places, found)
        chances = self._fixed(found)
        part = learner.groups[places.documents[found.places]] % 3
        if right[used].sum() >= ENOUGH:
            for i in range(3):
                model = self._trees(found.features, right, used & (part != i), places=True)
                chances[part == i] = model.probabilities(found.features[part == i])
            self.places_model = self._trees(found.features, right, used, places=True)
        summed = answers(places, found, chances, self.book, self.outline)
        right, used = learner.truth_of_pairs(summed)
        if right[used].sum() >= ENOUGH:
            self.pairs_model = self._trees(summed.features, right, used, places=False)

    def _trees(self, X: Floats, right: NDArray[np.bool_], used: NDArray[np.bool_], *, places: bool) -> Trees:
        share = EASY if places else 1.0
        rows = np.flatnonzero(used & (right | (np.random.default_rng(self.seed).random(len(right)) < share)))
        size: dict[str, Any] = PLACE_TREES if places else PAIR_TREES
        return Trees.fit(X[rows], right[rows], wrong_share=share, seed=self.seed, **size)

    # -- score -----------------------------------------------------------------------------------------------

    def score(self, inputs: Inputs) -> Scored:
        """Return what phrases say: `weight`, log-odds of a node or anything below it, and `own`, of just the node."""
        n = length(inputs)
        read = self._read(inputs)
        return Scored(np.zeros((0, n, 0), dtype=np.float32), self._channels(read.summed, read.chances, n))

    def _channels(self, summed: Answers, chances: NDArray[np.float64], n: int) -> Candidates:
        told = chances >= LEAST
        documents, nodes, own = summed.documents[told], summed.nodes[told], np.minimum(chances[told], 1 - LEAST)
        width = len(self.outline.above)
        missed = csr_matrix((np.log1p(-own), (documents, nodes)), shape=(n, width))
        total = csr_matrix(missed @ self.ancestors.astype(np.float64))
        total.sort_indices()
        rows, columns = pairs(total)
        channels = np.full((2, len(rows)), FLOOR, dtype=np.float32)
        channels[0] = _log_odds(-np.expm1(total.data))
        channels[1, np.searchsorted(rows * width + columns, documents * width + nodes)] = _log_odds(own)
        return Candidates(rows, columns, channels)

    def probabilities(self, inputs: Inputs) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Return (document, column) pairs, ascending, and the chance that the node is a most specific label."""
        read = self._read(inputs)
        told = read.chances >= LEAST
        return read.summed.documents[told], read.summed.nodes[told], read.chances[told]

    def _read(self, inputs: Inputs) -> _Reading:
        texts = self._texts(inputs)
        tokens = Tokens.of(texts.texts, self.finder.folding)
        matches = self.finder.find(texts.texts, nested=True)
        spans = Spans(*_places_of(tokens, matches))
        logits = np.zeros(len(spans.first), dtype=np.float32)
        if self.span_model:
            spans = _joined(candidate_spans(tokens), spans)
            logits = self.span_model.logits(span_features(tokens, spans))
        groups = np.full(int(texts.documents.max(initial=-1)) + 1, NEW)
        places, links = self._arrange(texts, tokens, matches, spans, logits, groups)
        found = self._meanings(places, links)
        model = self.places_model
        chances = model.probabilities(found.features) if model else self._fixed(found)
        summed = answers(places, found, chances, self.book, self.outline)
        of_pairs = self.pairs_model
        total = of_pairs.probabilities(summed.features) if of_pairs else summed.features[:, 1].astype(np.float64)
        return _Reading(texts, places, found, chances, summed, total)

    def _arrange(
        self, texts: Texts, tokens: Tokens, matches: Matches, spans: Spans, logits: Floats, groups: Ints
    ) -> tuple[Places, Links]:
        """Return the places of phrases, and the spans that read most like mentions."""
        size = np.int64(len(tokens.rows) + 1)
        keys, at = np.unique(spans.first * size + spans.last, return_index=True)
        logit = logits[at]
        first, last = np.divmod(keys, size)
        document = texts.documents[tokens.rows[first]]
        matched = np.zeros(len(keys), dtype=bool)
        begin, end = _places_of(tokens, matches)
        link = np.searchsorted(keys, begin * size + end)
        matched[link] = True
        keep = matched.copy()
        if self.span_model:
            likely = np.flatnonzero(logit > LEAST_SPAN)
            keep[likely[best_of_each(document[likely], logit[likely], MOST_SPANS)]] = True
        kept = np.flatnonzero(keep)
        kept = kept[np.lexsort((last[kept], first[kept], document[kept]))]
        place_of = np.full(len(keys), -1)
        place_of[kept] = np.arange(len(kept))
        first, last, document = first[kept], last[kept], document[kept]
        text = tokens.rows[first]
        starts, ends = tokens.starts[first], tokens.ends[last - 1]
        bounds = np.searchsorted(texts.documents[tokens.rows], np.arange(int(texts.documents.max(initial=0)) + 2))
        length = np.maximum(np.diff(bounds), 1)
        order = np.lexsort((matches.phrases, place_of[link]))
        places = Places(
            document,
            text,
            starts,
            ends,
            first,
            last,
            np.maximum(logit[kept], NEVER),
            self.marker.mark(texts.texts, text, starts, ends),
            [tokens.key(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)],
            ((first - bounds[document]) / length[document]).astype(np.float32),
            groups[document],
        )
        return places, Links(place_of[link][order], matches.phrases[order].astype(np.int64), matches.kinds[order])

    def _meanings(self, places: Places, links: Links) -> Meanings:
        unique = sorted(set(places.keys))
        index = {key: i for i, key in enumerate(unique)}
        key_of = np.array([index[key] for key in places.keys], dtype=np.int64)
        width = len(self.keys)
        if self._names is None:
            nothing, none = empty_matrix(len(unique), width), np.zeros(len(unique), dtype=np.float32)
            alike = Alike(nothing, nothing, key_of, none, none)
            name_nodes = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        else:
            spelt = self._spelling.nearest(unique, SPELT)
            spelt = csr_matrix((spelt.data, self._told[spelt.indices], spelt.indptr), shape=(len(unique), width))
            named, says = self._names.nearest(unique, NAMED)
            alike, name_nodes = Alike(spelt, named, key_of, says, self._names.lengths), self._name_nodes
        return meanings(places, links, alike, self.book, name_nodes, self.outline)

    def _fixed(self, found: Meanings) -> NDArray[np.float64]:
        """Return chances where there is too little to learn from: there, what is objected to is no evidence."""
        official = found.features[:, FEATURES.index("official")]
        fixed: NDArray[np.float64] = np.maximum(found.rates, 0.5 * official).clip(0, 0.98).astype(np.float64)
        objected = found.features[:, [FEATURES.index(flag) for flag in OBJECTIONS]].any(axis=1)
        fixed[objected] = 0
        return fixed

    # -- why -------------------------------------------------------------------------------------------------

    def evidence(self, inputs: Inputs, rows: Ints, columns: Ints) -> list[list[Contribution]]:
        """Return for each (document, taxonomy column) pair the places that speak for the node or what is below it.

        Places share the log-odds above the floor as their chances share what is not missed.
        """
        asked = distinct(np.asarray(rows, dtype=np.int64))
        read = self._read(take(inputs, asked))
        total = self._channels(read.summed, read.chances, len(asked))
        told = zip(total.rows.tolist(), total.columns.tolist(), total.channels[0].tolist(), strict=True)
        height = {(row, column): value for row, column, value in told}
        of_place = read.places.documents[read.found.places]
        said: list[list[Contribution]] = []
        for row, column in zip(np.searchsorted(asked, rows).tolist(), np.asarray(columns).tolist(), strict=True):
            below = self.ancestors[read.found.nodes, column].toarray().ravel()
            here = np.flatnonzero((of_place == row) & below & (read.of_places > WORTH_TELLING))
            said.append(self._contributions(read, here, height.get((row, column), FLOOR) - FLOOR))
        return said

    def _contributions(self, read: _Reading, here: Ints, height: float) -> list[Contribution]:
        """Share a height among meanings, best first, of places that have no word in common."""
        taken: list[tuple[int, int, int]] = []
        for i in here[np.argsort(-read.of_places[here], kind="stable")].tolist():
            place = int(read.found.places[i])
            first, last = int(read.places.first[place]), int(read.places.last[place])
            if all(last <= a or first >= b for _, a, b in taken):
                taken.append((i, first, last))
        parts = [-np.log1p(-min(float(read.of_places[i]), 1 - LEAST)) for i, _, _ in taken]
        contributions = []
        for (i, _, _), part in zip(taken, parts, strict=True):
            place = int(read.found.places[i])
            start, end = int(read.places.starts[place]), int(read.places.ends[place])
            field = read.texts.fields[int(read.places.texts[place])]
            value = height * part / sum(parts)
            contributions.append(Contribution(self.name, field, start, end, value, reason(read.found, i)))
        return contributions

    # -- state -----------------------------------------------------------------------------------------------

    def get_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything needed to score again, as JSON-able values and arrays."""
        finder, arrays = self.finder.get_state()
        config: dict[str, Any] = {
            "options": {name: getattr(self, name) for name in OPTIONS},
            "finder": finder,
            "marker": self.marker.get_state(),
            "keys": self.keys,
        }
        arrays = {
            **prefixed("finder", arrays),
            **prefixed("book", self.book.get_state()),
            **packed("ancestors", self.ancestors),
            "above": self.outline.above,
            "about": self.outline.about,
        }
        for part in ("span_model", "places_model", "pairs_model"):
            model = getattr(self, part)
            config[part], own = (None, {}) if model is None else model.get_state()
            arrays |= prefixed(part, own)
        return config, arrays

    @classmethod
    def from_state(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Build a fitted scorer from what `get_state` returned."""
        scorer = cls(**config["options"])
        scorer.finder = PhraseFinder.from_state(config["finder"], unprefixed("finder", arrays))
        scorer.marker = Context.from_state(config["marker"])
        scorer.keys = config["keys"]
        scorer.book = Book.from_state(unprefixed("book", arrays))
        scorer.ancestors = unpacked("ancestors", arrays)
        scorer.outline = Outline(arrays["above"], arrays["about"])
        models: dict[str, type[Any]] = {"span_model": SpanModel, "places_model": Trees, "pairs_model": Trees}
        for part, kind in models.items():
            own = config[part]
            setattr(scorer, part, None if own is None else kind.from_state(own, unprefixed(part, arrays)))
        scorer._index()
        return scorer


class _Reading(NamedTuple):
    """What was read in documents.

    Attributes:
        texts, places, found, summed: see there.
        of_places, chances: the chances of `found` and of `summed`.
    """

    texts: Texts
    places: Places
    found: Meanings
    of_places: NDArray[np.float64]
    summed: Answers
    chances: NDArray[np.float64]


def reason(found: Meanings, i: int) -> str:
    """Return in a few words why a place may mean a node."""
    of = dict(zip(FEATURES, found.features[i].tolist(), strict=False))
    if of["said"]:
        return f"meant it in {of['said']:.0f} of {of['occurring']:.0f} places of training documents"
    if of["official"]:
        return "a name of the node"
    return "like a phrase of training documents" if of["similar"] >= of["named"] else "like a name of the node"


class _Learner(NamedTuple):
    """What training documents say of themselves."""

    said: Said
    spoken: NDArray[np.bool_]
    labels: csr_matrix[Any]
    unknown: csr_matrix[Any] | None
    groups: Ints

    def truth_of_places(self, places: Places, found: Meanings) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which meanings are right, and of which that is known."""
        document = places.documents[found.places]
        right = entries(self.labels, document, found.nodes)
        check = np.flatnonzero(right & self.spoken[document])
        spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
        said = self.said
        for d, node, begin, end in zip(
            *(c.tolist() for c in (said.documents, said.nodes, said.first, said.last)), strict=True
        ):
            spans.setdefault((d, node), []).append((begin, end))
        for i in check.tolist():
            place = found.places[i]
            begin, end = places.first[place], places.last[place]
            marked = spans.get((int(document[i]), int(found.nodes[i])), ())
            right[i] = any(b < end and e > begin for b, e in marked)
        return right, self._is_known(document, found.nodes)

    def truth_of_pairs(self, found: Answers) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which pairs are right, and of which that is known."""
        return entries(self.labels, found.documents, found.nodes), self._is_known(found.documents, found.nodes)

    def _is_known(self, documents: Ints, nodes: Ints) -> NDArray[np.bool_]:
        if self.unknown is None:
            return np.ones(len(documents), dtype=bool)
        return ~entries(self.unknown, documents, nodes)


def _keys(texts: Sequence[str], finder: PhraseFinder) -> list[str]:
    """Return what each text is known by."""
    words = split(texts)
    folded = {word: finder.folding.fold(word) for word in dict.fromkeys(words.surfaces)}
    forms = [folded[word] for word in words.surfaces]
    bounds = np.searchsorted(words.rows, np.arange(len(texts) + 1)).tolist()
    return [phrase_key(forms[a:b]) for a, b in pairwise(bounds)]


def _places_of(tokens: Tokens, matches: Matches) -> tuple[Ints, Ints]:
    """Return first word and last word + 1 of matches."""
    columns = (column.astype(np.int64) for column in (matches.rows, matches.starts, matches.ends))
    return tokens.places(*columns)


def _joined(spans: Spans, more: Spans) -> Spans:
    """Return the spans of both, each once."""
    keys = distinct(np.concatenate([one.first << np.int64(32) | one.last for one in (spans, more)]))
    return Spans(keys >> np.int64(32), keys & np.int64(0xFFFFFFFF))


def _contains(said: Said, spans: Spans) -> NDArray[np.bool_]:
    """Return which spans are mentions."""
    mentions = said.first << np.int64(32) | said.last
    return np.isin(spans.first << np.int64(32) | spans.last, mentions)


def _only(tokens: Tokens, which: NDArray[np.bool_]) -> Tokens:
    """Return the tokens of some documents."""
    return tokens._replace(
        rows=tokens.rows[which],
        forms=[form for form, keep in zip(tokens.forms, which.tolist(), strict=True) if keep],
        sentence=tokens.sentence[which],
    )


def _by_labels(
    found: Found,
    which: Ints,
    labels: csr_matrix[Any],
    official: tuple[Ints, Ints],
    mined: bool,
    min_documents: int,
) -> tuple[Ints, Ints]:
    """Return what occurrences in documents without mentions meant: labels that go with their phrase."""
    if not len(which):
        return which, which
    width = labels.shape[1]
    phrases = int(found.phrases.max()) + 1
    of = from_pairs(found.documents[which], found.phrases[which], (labels.shape[0], phrases))
    together = csr_matrix(of.T.astype(np.float32) @ labels.astype(np.float32)).tocoo()
    counts = np.bincount(of.indices, minlength=phrases)
    often = (together.data >= min_documents) & (together.data >= 0.1 * counts[together.row])
    allowed = official[0] * width + official[1]
    if mined:
        often_keys = together.row[often].astype(np.int64) * width + together.col[often]
        allowed = np.concatenate([allowed, often_keys])
    document = found.documents[which]
    item, at = ranges(labels.indptr[document].astype(np.int64), labels.indptr[document + 1].astype(np.int64))
    node = labels.indices[at].astype(np.int64)
    keep = np.isin(found.phrases[which[item]] * width + node, allowed)
    return which[item[keep]], node[keep]


def _log_odds(chance: NDArray[np.float64]) -> Floats:
    limited = np.clip(chance, LEAST, 1 - LEAST)
    return np.log(limited / (1 - limited)).astype(np.float32)
