"""Where documents may say what of: places, the nodes each may mean, and what is known of both, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hclf.scorers.lexicon.automaton import GAPPED, REORDERED, TYPO
from hclf.scorers.lexicon.context import DENIED, FAMILY, HISTORICAL, HYPOTHETICAL
from hclf.scorers.lexicon.folding import sections
from hclf.scorers.lexicon.matches import ranges
from hclf.scorers.lexicon.spans import best_of_each
from hclf.scorers.lexicon.weights import Book
from hclf.taxonomy import Taxonomy, distinct

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NEAR, NAMED = 6, 12  # nodes of a place by phrases spelt alike, and by names
SHARPNESS = 8  # exponent of similarities that vote
ASSIGNABLE = 0.02  # similarity by which nodes that may be assigned come first
NEVER = -6.0  # log-odds where there is no span
FEATURES = (
    "span",
    "rank",
    "words",
    "content",
    "characters",
    "rate",
    "said",
    "occurring",
    "any",
    "less",
    "official",
    "labelled",
    "plain",
    "gapped",
    "typo",
    "similar",
    "share",
    "most similar",
    "named",
    "named share",
    "longer",
    "tied",
    "best named",
    "prior",
    "prior above",
    "leaf",
    "assignable",
    "level",
    "vague",
    "denied",
    "historical",
    "family",
    "hypothetical",
    "around",
    "within",
    "beside",
    "position",
)
FLAGS = (DENIED, HISTORICAL, FAMILY, HYPOTHETICAL)


class Texts(NamedTuple):
    """The texts of documents.

    Attributes:
        documents: (texts,) whose text each is, ascending.
        fields: its field.
        texts: what it says.
    """

    documents: Ints
    fields: list[str]
    texts: list[str]

    @classmethod
    def of(cls, inputs: Sequence[Mapping[str, str]]) -> Self:
        """Return the texts of documents."""
        counts = [len(fields) for fields in inputs]
        fields = list(chain.from_iterable(inputs))
        return cls(
            np.repeat(np.arange(len(inputs)), counts), fields, list(chain.from_iterable(f.values() for f in inputs))
        )


class Places(NamedTuple):
    """Runs of words that may say something: ordered by document, then place.

    Attributes:
        documents, texts: whose and in which text.
        starts, ends: character offsets into that text.
        first, last: first word and last word + 1, among the words of all texts.
        logits: log-odds of reading like a mention.
        flags: what the context says of it.
        keys: folded words without stop words.
        positions: how far down its document it stands, 0 to 1.
        groups: (places,) group of the document.
    """

    documents: Ints
    texts: Ints
    starts: Ints
    ends: Ints
    first: Ints
    last: Ints
    logits: Floats
    flags: NDArray[np.uint8]
    keys: list[str]
    positions: Floats
    groups: Ints


class Links(NamedTuple):
    """Which phrases were found at places: (links,) place, phrase, kind of match; by place."""

    places: Ints
    phrases: Ints
    kinds: NDArray[np.uint8]


class Alike(NamedTuple):
    """What is like places.

    Attributes:
        spelt, named: similarities (keys, phrases) and (keys, names).
        key_of: the key of each place.
        says, names_say: how much each key and each name says.
    """

    spelt: csr_matrix[Any]
    named: csr_matrix[Any]
    key_of: Ints
    says: Floats
    names_say: Floats


class Outline(NamedTuple):
    """What is asked of nodes.

    Attributes:
        above: first parent of each node, or itself.
        about: (nodes, 4) whether it is a leaf, may be assigned, its level, and whether its name has words that say
            nothing ("unspecified").
    """

    above: Ints
    about: Floats

    @classmethod
    def of(cls, taxonomy: Taxonomy, languages: Sequence[str] | None = None) -> Self:
        """Return the outline of a taxonomy."""
        every = np.arange(len(taxonomy))
        above = every.copy()
        child, parent = taxonomy.parents.of_many(every)
        above[child[::-1]] = parent[::-1]
        assignable = [taxonomy.node(j).assignable for j in range(len(taxonomy))]
        fillers = [filler.casefold() for listed in sections(languages, "fillers") for filler in listed]
        vague = [any(filler in name.casefold() for filler in fillers) for name in taxonomy.names]
        about = np.column_stack([taxonomy.is_leaf, assignable, taxonomy.levels, vague])
        return cls(above, about.astype(np.float32))


class Meanings(NamedTuple):
    """(place, node) pairs, by place, and their features (pairs, n)."""

    places: Ints
    nodes: Ints
    features: Floats
    rates: Floats
    labelled: Floats
    said: Floats


def meanings(
    places: Places, links: Links, alike: Alike, book: Book, name_nodes: tuple[Ints, Ints], outline: Outline
) -> Meanings:
    """Return what each place may mean.

    Args:
        places, links, alike: see there.
        book: what phrases meant.
        name_nodes: (name, node) pairs, ascending: whose each name is.
        outline: of the taxonomy.
    """
    width = np.int64(len(outline.above))
    exact = _exact(places, links, book)
    near, near_best = _near(places, alike, book, width)
    named, named_best = _named(places, alike, name_nodes, outline)
    keys = distinct(np.concatenate([exact["key"], near["key"], named["key"]]))
    place, node = np.divmod(keys, width)

    def column(source: Mapping[str, NDArray[Any]], name: str) -> Floats:
        values = np.zeros(len(keys), dtype=np.float32)
        np.maximum.at(values, np.searchsorted(keys, source["key"]), source[name].astype(np.float32))
        return values

    def best(values: Floats) -> Floats:
        result = np.zeros(len(places.documents), dtype=np.float32)
        np.maximum.at(result, place, values)
        return result[place]

    rate, named_as = column(exact, "rate"), column(named, "similarity")
    groups = places.groups[place]
    prior = book.priors.outside(node, groups)
    above = book.priors.outside(outline.above[node], groups)
    similar, share = column(near, "similarity"), column(near, "share")
    beside = _beside(places)
    features = np.column_stack(
        [
            places.logits[place],
            _rank(places)[place],
            (places.last - places.first)[place],
            np.array([key.count(" ") + 1 for key in places.keys], dtype=np.float32)[place],
            np.array([len(key) for key in places.keys], dtype=np.float32)[place],
            rate,
            column(exact, "said"),
            column(exact, "occurring"),
            column(exact, "any"),
            best(rate) - rate,
            column(exact, "official"),
            column(exact, "labelled"),
            *(column(exact, name) for name in ("plain", "gapped", "typo")),
            similar,
            share,
            near_best[place],
            named_as,
            column(named, "share"),
            column(named, "longer"),
            column(named, "tied"),
            named_best[place],
            prior,
            above,
            outline.about[node],
            *(((places.flags & flag) > 0)[place] for flag in FLAGS),
            beside[place],
            places.positions[place],
        ]
    ).astype(np.float32)
    return Meanings(place, node, features, rate, column(exact, "labelled"), column(exact, "said"))


def _exact(places: Places, links: Links, book: Book) -> dict[str, NDArray[Any]]:
    """Return the nodes that phrases found at places meant, or are given for."""
    link, pair = book.pairs_of(links.phrases)
    place, phrase = links.places[link], links.phrases[link]
    group = places.groups[place]
    said, occurring = book.said.outside(pair, group), book.occurring.outside(phrase, group)
    labelled, documents = book.labelled.outside(pair, group), book.documents.outside(phrase, group)
    any_said = np.zeros(len(links.places), dtype=np.int64)
    np.add.at(any_said, link, said)
    keep = (said > 0) | book.official[pair]
    found = {
        "key": place * np.int64(book.priors.total.shape[0]) + book.nodes[pair],
        "rate": np.where(said > 0, (said + 0.1) / (occurring + 0.4), 0),
        "said": said,
        "occurring": occurring,
        "any": any_said[link] / (occurring + 0.4),
        "official": book.official[pair],
        "labelled": labelled / (documents + 0.5),
        "plain": (links.kinds[link] & (REORDERED | GAPPED | TYPO)) == 0,
        "gapped": (links.kinds[link] & GAPPED) > 0,
        "typo": (links.kinds[link] & TYPO) > 0,
    }
    return {name: values[keep] for name, values in found.items()}


def _near(places: Places, alike: Alike, book: Book, width: np.int64) -> tuple[dict[str, NDArray[Any]], Floats]:
    """Return the nodes that phrases spelt like places meant, and the best similarity of each place."""
    spelt = alike.spelt
    of, at = _rows(spelt, alike.key_of)
    phrase, similarity = spelt.indices[at].astype(np.int64), spelt.data[at].astype(np.float64)
    item, pair = book.pairs_of(phrase)
    said = book.said.outside(pair, places.groups[of[item]])
    total = np.bincount(item, said, minlength=len(phrase))
    keep = said > 0
    item, pair, said = item[keep], pair[keep], said[keep]
    vote = similarity**SHARPNESS
    votes = np.bincount(of, vote * (total > 0), minlength=len(places.documents))
    best = np.zeros(len(places.documents), dtype=np.float32)
    np.maximum.at(best, of, (similarity * (total > 0)).astype(np.float32))
    share = said / total[item]
    place = of[item]
    keys, back = np.unique(place * width + book.nodes[pair], return_inverse=True)
    shares = np.bincount(back, vote[item] * share, minlength=len(keys))
    nearest = np.zeros(len(keys))
    np.maximum.at(nearest, back, similarity[item] * np.where(share > 0.3, 1, 0.8))
    owner = keys // width
    chosen = best_of_each(owner, shares, NEAR)
    values = {"key": keys, "similarity": nearest, "share": shares / np.maximum(votes[owner], 1e-9)}
    return {name: array[chosen] for name, array in values.items()}, best


def _named(
    places: Places, alike: Alike, name_nodes: tuple[Ints, Ints], outline: Outline
) -> tuple[dict[str, NDArray[Any]], Floats]:
    """Return the nodes with names that say what places say, and the best similarity of each place."""
    named, width = alike.named, np.int64(len(outline.above))
    of, at = _rows(named, alike.key_of)
    name, similarity = named.indices[at].astype(np.int64), named.data[at].astype(np.float64)
    item, owned = ranges(np.searchsorted(name_nodes[0], name), np.searchsorted(name_nodes[0], name, side="right"))
    node = name_nodes[1][owned]
    keys, back = np.unique(of[item] * width + node, return_inverse=True)
    best_first = np.lexsort((-similarity[item], back))
    chosen = best_first[np.searchsorted(back[best_first], np.arange(len(keys)))]
    nearest = similarity[item[chosen]]
    says = alike.says[alike.key_of][of[item[chosen]]]
    longer = alike.names_say[name[item[chosen]]] / np.maximum(says, 1e-9)
    owner, column = np.divmod(keys, width)
    best = np.zeros(len(places.documents), dtype=np.float32)
    np.maximum.at(best, owner, nearest.astype(np.float32))
    votes = np.bincount(owner, nearest**SHARPNESS, minlength=len(best))
    tied = np.bincount(owner, nearest > best[owner] - 0.02, minlength=len(best))
    kept = best_of_each(owner, nearest + ASSIGNABLE * outline.about[column, 1], NAMED)
    values = {
        "key": keys,
        "similarity": nearest,
        "share": nearest**SHARPNESS / np.maximum(votes[owner], 1e-9),
        "longer": longer,
        "tied": tied[owner],
    }
    return {what: array[kept] for what, array in values.items()}, best


def _rows(matrix: csr_matrix[Any], rows: Ints) -> tuple[Ints, Ints]:
    """Return (positions into `rows`, places of entries): one for each entry of each row."""
    return ranges(matrix.indptr[rows].astype(np.int64), matrix.indptr[rows + 1].astype(np.int64))


def _rank(places: Places) -> Ints:
    """Return how many places of its document read more like a mention."""
    order = np.lexsort((-places.logits, places.documents))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.searchsorted(places.documents[order], places.documents[order])
    return ranks


def overlaps(places: Places) -> tuple[Ints, Ints]:
    """Return all pairs of different places that share words."""
    order = np.lexsort((places.last, places.first))
    first, last = places.first[order], places.last[order]
    stop = np.searchsorted(first, last)  # those that start before it ends
    after = np.arange(len(order)) + 1
    left, right = ranges(after, np.maximum(stop, after))
    a, b = order[left], order[right]
    return np.concatenate([a, b]), np.concatenate([b, a])


def _beside(places: Places) -> Floats:
    """Return (places, 3): best log-odds of the places around it, within it, and of those that only share words."""
    best = np.full((len(places.documents), 3), NEVER, dtype=np.float32)
    one, other = overlaps(places)
    around = (places.first[other] <= places.first[one]) & (places.last[other] >= places.last[one])
    within = (places.first[other] >= places.first[one]) & (places.last[other] <= places.last[one])
    kind = np.where(around, 0, np.where(within, 1, 2))
    np.maximum.at(best, (one, kind), places.logits[other])
    return best


class Answers(NamedTuple):
    """(document, node) pairs, by document then node, their features (pairs, n), and the best place of each."""

    documents: Ints
    nodes: Ints
    features: Floats
    best: Ints


def answers(places: Places, found: Meanings, chances: NDArray[np.float64], book: Book, outline: Outline) -> Answers:
    """Sum up what the places of each document say of each node.

    Args:
        places, found: what places may mean.
        chances: (pairs,) the probability of each of these meanings.
        book, outline: see there.
    """
    width = np.int64(len(outline.above))
    documents = places.documents[found.places]
    keys, back = np.unique(documents * width + found.nodes, return_inverse=True)
    document, node = np.divmod(keys, width)
    order = np.lexsort((found.places, -chances, back))
    starts = np.searchsorted(back[order], np.arange(len(keys)))
    best = order[starts]
    top = chances[best]
    second = np.zeros(len(keys))
    more = np.flatnonzero(np.append(starts[1:], len(order)) - starts > 1)
    second[more] = chances[order[starts[more] + 1]]
    either, times, summed = _apart(places, found, chances, back, order, len(keys))
    rival, around = _rivals(places, found, chances, best, node)
    place = found.places[best]
    group = places.groups[place]
    above = outline.above[node]
    sibling_keys, sibling = np.unique(document * width + above, return_inverse=True)
    family = np.zeros(len(sibling_keys))
    np.maximum.at(family, sibling, top)
    rate, labelled, said = (_highest(values, back, len(keys)) for values in (found.rates, found.labelled, found.said))
    missed = np.bincount(back, np.log1p(-np.minimum(found.rates, 0.98)), minlength=len(keys))
    flags = [
        np.bincount(back, chances * ((places.flags & flag) > 0)[found.places], minlength=len(keys)) for flag in FLAGS
    ]
    weight = np.maximum(np.bincount(back, chances, minlength=len(keys)), 1e-9)
    per_document = np.bincount(document, top, minlength=int(document.max(initial=0)) + 1)
    features = np.column_stack(
        [
            top,
            either,
            times,
            summed,
            second,
            rival,
            around,
            family[sibling] - top,
            (places.last - places.first)[place],
            places.positions[place],
            book.priors.outside(node, group),
            book.priors.outside(above, group),
            rate,
            labelled,
            said,
            1 - np.exp(missed),
            outline.about[node],
            *(flag / weight for flag in flags),
            per_document[document],
            found.features[best],
        ]
    ).astype(np.float32)
    return Answers(document, node, features, best)


def _highest(values: Floats, back: Ints, n: int) -> Floats:
    result = np.zeros(n, dtype=np.float32)
    np.maximum.at(result, back, values)
    return result


def _apart(
    places: Places, found: Meanings, chances: NDArray[np.float64], back: Ints, order: Ints, n: int
) -> tuple[NDArray[np.float64], Ints, NDArray[np.float64]]:
    """Return, over places of a pair that share no words, best first: the chance that any means it, number and sum."""
    missed, times, summed = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n)
    taken: list[tuple[int, int]] = []
    before = -1
    worth = order[chances[order] > 0.02]
    first, last = places.first[found.places[worth]].tolist(), places.last[found.places[worth]].tolist()
    for pair, begin, end, chance in zip(back[worth].tolist(), first, last, chances[worth].tolist(), strict=True):
        if pair != before:
            taken, before = [], pair
        if all(end <= b or begin >= e for b, e in taken):
            taken.append((begin, end))
            missed[pair] += np.log1p(-min(chance, 0.9999))
            times[pair] += 1
            summed[pair] += chance
    return 1 - np.exp(missed), times, summed


def _rivals(
    places: Places, found: Meanings, chances: NDArray[np.float64], best: Ints, node: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best chance of another node at places that share words with a pair's best place, and that are
    longer and around it."""
    n = len(places.documents)
    order = np.lexsort((-chances, found.places))
    starts = np.searchsorted(found.places[order], np.arange(n))
    has = starts < np.append(starts[1:], len(order))
    leading = np.full(n, -1, dtype=np.int64)
    chance = np.zeros(n)
    leading[has], chance[has] = found.nodes[order[starts[has]]], chances[order[starts[has]]]
    one, other = overlaps(places)
    one, other = np.append(one, np.arange(n)), np.append(other, np.arange(n))
    by_place = np.argsort(one, kind="stable")
    one, other = one[by_place], other[by_place]
    place = found.places[best]
    pair, beside = ranges(np.searchsorted(one, place), np.searchsorted(one, place, side="right"))
    at = other[beside]
    different = leading[at] != node[pair]
    own = place[pair]
    longer = (places.first[at] <= places.first[own]) & (places.last[at] >= places.last[own]) & (at != own)
    rival, around = np.zeros(len(best)), np.zeros(len(best))
    np.maximum.at(rival, pair[different], chance[at[different]])
    np.maximum.at(around, pair[different & longer], chance[at[different & longer]])
    return rival, around
