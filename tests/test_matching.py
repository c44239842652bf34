"""Learned matching of words, against plain sets; and what it finds of nodes that no document carries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dags import Dag, dags
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.classifier import HierarchicalClassifier
from hclf.labels import label_matrix
from hclf.scorers import matching
from hclf.scorers.features import ROW_NORM
from hclf.scorers.linear import PATH_WORDS, LinearScorer, node_texts
from hclf.scorers.matching import FIRST_LOOK, MOST_WORDS, UNTAUGHT, WORD_SCALE, Matcher, Matches, log_scaled
from hclf.scorers.phrases import FEATURES, MOST_PHRASES, PHRASE_WORDS, TELLING, Index, Outline, Pairs, Phrases
from hclf.taxonomy import Node, Taxonomy

Words = list[set[int]]
WIDTH = 12  # words of the random cases
CLOSE = 1e-4  # shares nearer than this to where a list is cut may fall on either side


def matrix(rows: Words, width: int = WIDTH) -> csr_matrix:
    """Ones where a row has a word."""
    indices = [word for row in rows for word in sorted(row)]
    indptr = np.cumsum([0, *map(len, rows)])
    return csr_matrix((np.ones(len(indices), dtype=np.float32), indices, indptr), shape=(len(rows), width))


def vectors(rng: np.random.Generator, n: int, filled: float = 0.6) -> csr_matrix:
    """Sparse rows of length 1, or of nothing."""
    X = rng.random((n, 6)) * (rng.random((n, 6)) < filled)
    return csr_matrix(X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def drawn_words(rng: np.random.Generator, n: int) -> Words:
    return [set(rng.choice(WIDTH, rng.integers(0, 6), replace=False).tolist()) for _ in range(n)]


@dataclass
class Case:
    """A taxonomy, phrases of some of its nodes, centroids of some, and documents."""

    dag: Dag
    taxonomy: Taxonomy
    phrases: Words
    columns: list[int]
    official: list[bool]
    idf: np.ndarray
    known: np.ndarray
    centroids: csr_matrix
    documents: Words
    X: csr_matrix

    @classmethod
    def of(cls, dag: Dag, seed: int) -> Case:
        rng = np.random.default_rng(seed)
        taxonomy = dag.taxonomy
        n = int(rng.integers(1, 3 * len(taxonomy) + 1))
        known = np.flatnonzero(rng.random(len(taxonomy)) < 0.7)
        return cls(
            dag,
            taxonomy,
            drawn_words(rng, n),
            rng.integers(len(taxonomy), size=n).tolist(),
            (rng.random(n) < 0.6).tolist(),
            rng.uniform(1, 5, WIDTH).astype(np.float32),
            known,
            vectors(rng, len(known)),
            drawn_words(rng, 5),
            vectors(rng, 5) * ROW_NORM,
        )

    @property
    def index(self) -> Index:
        phrases = Phrases(matrix(self.phrases), np.array(self.columns, dtype=np.int64), np.array(self.official, bool))
        return Index(Outline.of(self.taxonomy), phrases, self.idf, self.known, self.centroids, 1)

    def pairs(self, listed: int) -> Pairs:
        return self.index.pairs(matrix(self.documents), csr_matrix(self.X), listed)

    # -- the slow reference --------------------------------------------------------------------------------------

    def mass(self, words: set[int]) -> float:
        return float(sum(self.idf[word] for word in words))

    def share(self, document: int, phrase: int) -> float:
        words, named = self.documents[document], self.phrases[phrase]
        return self.mass(words & named) / np.sqrt(self.mass(words) * self.mass(named)) if words & named else 0.0

    def cosines(self, document: int) -> dict[int, float]:
        row = self.X.toarray()[document] / max(np.linalg.norm(self.X.toarray()[document]), 1e-12)
        row[row < TELLING * row[row != 0].mean() if row.any() else 0] = 0  # the rest is not looked up
        found = self.centroids.toarray() @ row
        return {int(j): float(c) for j, c in zip(self.known, found, strict=True) if c > 0}

    def own(self, column: int) -> set[int]:
        """The words of a node's phrases."""
        return set().union(*(p for p, c in zip(self.phrases, self.columns, strict=True) if c == column))

    def within(self, column: int) -> set[int]:
        """The words of a node and of everything below it."""
        below = {column, *map(self.taxonomy.index, self.dag.below(self.taxonomy.nodes[column]))}
        return set().union(*map(self.own, below))

    def above(self, column: int) -> int:
        """The first parent; a root itself."""
        path = self.taxonomy.path(self.taxonomy.nodes[column])
        return self.taxonomy.index(path[-2]) if len(path) > 1 else column

    def listed(self, document: int, listed: int) -> tuple[list[int], dict[int, float], float]:
        """Phrases and nodes on the two lists of a document, and what a node off the second has for similarity."""
        shares = {p: s for p in range(len(self.phrases)) if (s := self.share(document, p)) > 0}
        cosines = self.cosines(document)
        best, near = (sorted(s, key=s.__getitem__, reverse=True)[:listed] for s in (shares, cosines))
        least = min(cosines[j] for j in near) if len(near) == listed else 0.0
        return best, {j: cosines[j] for j in near}, least

    def is_clear(self, listed: int) -> bool:
        """Whether the ends of all lists are beyond doubt, and so is the order of the phrases."""
        for i in range(len(self.documents)):
            shares = [s for p in range(len(self.phrases)) if (s := self.share(i, p)) > 0]
            for values in (sorted(shares), sorted(self.cosines(i).values())):
                if len(values) > listed and values[-listed] - values[-listed - 1] < CLOSE:
                    return False
            names = {(s, frozenset(self.phrases[p])) for p in range(len(self.phrases)) if (s := self.share(i, p)) > 0}
            ordered = sorted(s for s, _ in names)
            if any(b - a < CLOSE for a, b in pairwise(ordered)):
                return False
        return True

    def slow_pairs(self, listed: int) -> dict[tuple[int, int], dict[str, Any]]:
        """What is to be said of every document and candidate."""
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for i, words in enumerate(self.documents):
            best, near, least = self.listed(i, listed)
            for j in {self.columns[p] for p in best} | set(near):
                own, around = self.own(j), self.within(self.above(j))
                mine = [p for p in best if self.columns[p] == j]
                shared = [self.mass(words & self.phrases[p]) / self.mass(self.phrases[p]) for p in mine]
                named = [p for p in mine if self.official[p]]
                named += [p for p, c in enumerate(self.columns) if c == j and self.official[p]]
                name = self.phrases[named[0]] if named else None
                missing = set() if name is None else name - words
                labelled = {c for c, o in zip(self.columns, self.official, strict=True) if not o}
                below = {j, *map(self.taxonomy.index, self.dag.below(self.taxonomy.nodes[j]))}
                found[i, j] = {
                    "features": [
                        max((self.share(i, p) for p in mine), default=0.0),
                        max(shared, default=0.0),
                        near.get(j, least),
                        self.mass(words & own) / max(self.mass(words), 1e-6),
                        near.get(self.above(j), least),
                        self.mass(words & around) / max(self.mass(words), 1e-6),
                        np.log1p(self.columns.count(j)),
                        float(bool(labelled & below)),
                        float(not self.dag.below(self.taxonomy.nodes[j])),
                    ],
                    "matched": words & own,
                    "missing": missing,
                    "context": (words & around) - own,
                    "swapped": set() if name is None else set(product(words - name, missing)),
                }
        return found


def by_pair(found: Pairs) -> dict[tuple[int, int], dict[str, Any]]:
    """Pairs in the form of the reference; nothing may be said twice."""
    keys = list(zip(found.rows.tolist(), found.columns.tolist(), strict=True))
    assert keys == sorted(set(keys))
    result: dict[tuple[int, int], dict[str, Any]] = {
        key: {"features": row, "matched": set(), "missing": set(), "context": set(), "swapped": set()}
        for key, row in zip(keys, found.features.tolist(), strict=True)
    }
    for kind in ("matched", "missing", "context", "swapped"):
        for pair, word in zip(*(part.tolist() for part in getattr(found, kind)), strict=True):
            said = divmod(word, WIDTH) if kind == "swapped" else word
            assert said not in result[keys[pair]][kind]
            result[keys[pair]][kind].add(said)
    return result


SEEDS = st.integers(0, 2**32 - 1)


# -- candidates --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("listed", [1, 3, 1_000])
@pytest.mark.parametrize("most_parents", [1, 3])
def test_candidates_and_all_that_is_said_of_them_are_those_of_plain_sets(listed: int, most_parents: int) -> None:
    compared = 0

    @settings(max_examples=60, database=None)
    @given(dags(max_parents=most_parents), SEEDS)
    def check(dag: Dag, seed: int) -> None:
        nonlocal compared
        case = Case.of(dag, seed)
        if not case.is_clear(listed):
            return
        found, expected = by_pair(case.pairs(listed)), case.slow_pairs(listed)
        assert found.keys() == expected.keys()
        for key, said in expected.items():
            assert found[key].pop("features") == pytest.approx(said.pop("features"), abs=2e-5)
            assert found[key] == said
            compared += 1

    check()
    assert compared > 100


def test_there_is_a_name_for_every_feature() -> None:
    case = Case.of(Dag(("a", "b"), (("a", "b"),)), 3)
    assert case.pairs(5).features.shape[1] == len(FEATURES) == len(UNTAUGHT)


@given(dags())
def test_an_outline_knows_ancestors_the_first_parent_and_leaves(dag: Dag) -> None:
    taxonomy = dag.taxonomy
    outline = Outline.of(taxonomy)
    for j, node in enumerate(taxonomy.nodes):
        above = {taxonomy.index(a) for a in dag.above(node)}
        assert set(outline.ancestors[j].indices.tolist()) == {j, *above}
        assert outline.leaf[j] == (not dag.below(node))
        path = taxonomy.path(node)
        assert outline.above[j] == (taxonomy.index(path[-2]) if len(path) > 1 else j)
    assert (outline.ancestors.data == 1).all()


def test_without_phrases_and_centroids_or_documents_there_are_no_candidates() -> None:
    case = Case.of(Dag(("a", "b"), (("a", "b"),)), 0)
    assert len(case.index.pairs(matrix([]), vectors(np.random.default_rng(0), 0), 3).rows) == 0
    case.phrases, case.columns, case.official = [], [], []
    case.known, case.centroids = np.zeros(0, dtype=np.int64), vectors(np.random.default_rng(0), 0)
    assert len(case.pairs(3).rows) == 0


def test_without_any_phrase_centroids_give_the_candidates() -> None:
    case = Case.of(Dag(("a", "b"), (("a", "b"),)), 0)
    case.phrases, case.columns, case.official = [], [], []
    case.known, case.centroids = np.arange(2), vectors(np.random.default_rng(0), 2, filled=1)
    assert by_pair(case.pairs(3)).keys() == case.slow_pairs(3).keys() != set()


# -- probabilities -----------------------------------------------------------------------------------------------


def random_matcher(case: Case, seed: int) -> Matcher:
    """A matcher of a random case with weights as if it had learned something."""
    rng = np.random.default_rng(seed)
    matcher = Matcher()
    matcher.index, matcher.idf = case.index, case.idf
    matcher.weights = rng.uniform(0, 2, len(FEATURES)).astype(np.float32)
    matcher.words = rng.normal(size=(3, WIDTH)).astype(np.float32)
    matcher.swaps = np.sort(rng.choice(WIDTH**2, 40, replace=False)).astype(np.int64)
    matcher.swap_weights = rng.normal(size=40).astype(np.float32)
    matcher.second = FIRST_LOOK
    return matcher


def slow_match(case: Case, matcher: Matcher) -> dict[tuple[int, int], list[float]]:
    """Probability, overlap, covered and similarity of every document and candidate or ancestor of one."""
    pairs = case.slow_pairs(matching.LISTED)
    swaps = dict(zip(matcher.swaps.tolist(), matcher.swap_weights.tolist(), strict=True))
    odds: dict[tuple[int, int], float] = {}
    for key, said in pairs.items():
        logit = float(np.dot(said["features"], matcher.weights))
        for weights, kind in zip(matcher.words, ("matched", "missing", "context"), strict=True):
            logit += sum(float(weights[w] * case.idf[w] * WORD_SCALE) for w in said[kind])
        logit += sum(swaps.get(a * WIDTH + b, 0.0) for a, b in said["swapped"])
        odds[key] = np.exp(logit)
    found: dict[tuple[int, int], list[float]] = {}
    for (i, j), own in odds.items():
        share = own / sum(o for (row, _), o in odds.items() if row == i)
        for up in {j, *map(case.taxonomy.index, case.dag.above(case.taxonomy.nodes[j]))}:
            said = pairs[i, up]["features"][:3] if (i, up) in pairs else [0.0] * 3
            found.setdefault((i, up), [0.0, *said])[0] += share
    return found


@settings(max_examples=60)
@given(dags(), SEEDS)
def test_probabilities_are_a_softmax_over_candidates_summed_upwards(dag: Dag, seed: int) -> None:
    case = Case.of(dag, seed)
    if not case.is_clear(matching.LISTED):
        return
    matcher = random_matcher(case, seed)
    found = matcher.match(matrix(case.documents), csr_matrix(case.X))
    expected = slow_match(case, matcher)
    keys = list(zip(found.rows.tolist(), found.columns.tolist(), strict=True))
    assert keys == sorted(expected)
    values = np.column_stack([found.probability, found.overlap, found.covered, found.similarity])
    assert values.dtype == np.float32
    assert values == pytest.approx(np.array([expected[key] for key in keys]).reshape(-1, 4), abs=1e-4)


@settings(max_examples=60)
@given(dags(), SEEDS)
def test_no_child_is_more_probable_than_a_parent_and_roots_of_trees_share_all(dag: Dag, seed: int) -> None:
    case = Case.of(dag, seed)
    found = random_matcher(case, seed).match(matrix(case.documents), csr_matrix(case.X))
    table = np.zeros((len(case.documents), len(case.taxonomy)))
    table[found.rows, found.columns] = found.probability
    assert ((table >= 0) & (table <= 1)).all()
    for parent, child in dag.edges:
        assert (table[:, case.taxonomy.index(child)] <= table[:, case.taxonomy.index(parent)] + 1e-6).all()
    if len(dag.edges) == (~case.taxonomy.is_root).sum():  # a forest
        asked = np.isin(np.arange(len(table)), found.rows)
        assert table[:, case.taxonomy.is_root].sum(axis=1) == pytest.approx(asked.astype(float), abs=1e-5)


# -- a synthetic nomenclature ------------------------------------------------------------------------------------

SIDES = {"unspecified": "NOS", "left": "lt", "right": "rt", "both sides": "bilat"}  # what names say, documents say
TAUGHT, KEPT = 170, 20  # diseases with documents (enough to learn from in four fifths of them, too), and without


def disease(i: int) -> str:
    return f"{'bcdfghklmn'[i % 10]}{'aeiou'[i // 10 % 5]}rosis {'prstvwz'[i % 7]}{'aeiou'[i // 7 % 5]}{i}toma"


def node_of(i: int, side: str) -> str:
    return f"d{i}-{side.split()[0]}"


@pytest.fixture(scope="module")
def nomenclature() -> Taxonomy:
    """Diseases, each with four children, one a side."""
    nodes, edges = [], []
    for i in range(TAUGHT + KEPT):
        nodes.append(Node(f"d{i}", {"": disease(i)}))
        for side in SIDES:
            nodes.append(Node(node_of(i, side), {"": f"{disease(i)}, {side}"}))
            edges.append((f"d{i}", node_of(i, side)))
    return Taxonomy(nodes, edges, id="nomenclature")


def notes(diseases: range, *, named: bool = False) -> tuple[list[str], list[list[str]]]:
    """One document of every child, in the words of documents or, if named, of its name."""
    cases = list(product(diseases, SIDES.items()))
    texts = [f"{disease(i)}, {side}" if named else f"{short} {disease(i)}" for i, (side, short) in cases]
    return texts, [[node_of(i, side)] for i, (side, _) in cases]


def scorer_of(taxonomy: Taxonomy, texts: list[str], labels: list[list[str]], **options: Any) -> LinearScorer:
    settings_ = {"matching": True, "max_models": 3, "n_jobs": 1, **options}
    inputs = [{"text": text} for text in texts]
    return LinearScorer(**settings_).fit(inputs, label_matrix(taxonomy, labels), taxonomy=taxonomy)


def match(scorer: LinearScorer, texts: list[str]) -> Matches:
    features: Any = scorer.features
    assert scorer.matcher is not None
    return scorer.matcher.match(features.words(texts, MOST_WORDS), features.transform([{"text": t} for t in texts]))


def best_leaves(taxonomy: Taxonomy, found: Matches, n: int) -> list[str]:
    """The most probable leaf of each document, the last of equals; '' without any."""
    table = np.zeros((n, len(taxonomy)))
    table[found.rows, found.columns] = found.probability
    table[:, ~taxonomy.is_leaf] = 0
    last = table.shape[1] - 1 - table[:, ::-1].argmax(axis=1)
    return [taxonomy.nodes[j] if table[i, j] else "" for i, j in enumerate(last)]


def identical(a: Matches, b: Matches) -> bool:
    """Bit for bit."""
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def rows_of(found: Matches, row: int) -> Matches:
    here = found.rows == row
    return Matches(found.rows[here] - row, *(part[here] for part in found[1:]))


@pytest.fixture(scope="module")
def taught(nomenclature: Taxonomy) -> LinearScorer:
    return scorer_of(nomenclature, *notes(range(TAUGHT)))


NEW = range(TAUGHT, TAUGHT + KEPT)


def test_what_words_stand_for_is_learned_and_holds_for_nodes_never_seen(
    nomenclature: Taxonomy, taught: LinearScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = notes(NEW)
    right = [label for (label,) in labels]

    def share_right(scorer: LinearScorer) -> float:
        return float(np.mean(np.array(best_leaves(nomenclature, match(scorer, texts), len(texts))) == right))

    assert taught.matcher is not None
    assert len(taught.matcher.swaps) >= len(SIDES)
    assert share_right(taught) > 0.95
    monkeypatch.setattr(matching, "QUERIES", (10**9, 10**9))
    untaught = scorer_of(nomenclature, *notes(range(TAUGHT)))
    assert untaught.matcher is not None
    assert untaught.matcher.weights.tolist() == pytest.approx(list(UNTAUGHT))
    assert share_right(untaught) < 0.5


def test_weights_of_features_are_never_negative(taught: LinearScorer) -> None:
    assert taught.matcher is not None
    assert (taught.matcher.weights >= 0).all()


def test_copies_of_names_teach_nothing(nomenclature: Taxonomy) -> None:
    """They say that a name is always found whole, which is not so of what people write."""
    texts, labels = notes(range(TAUGHT), named=True)
    scorer = scorer_of(nomenclature, texts, labels)
    assert scorer.matcher is not None
    assert scorer.matcher.weights.tolist() == pytest.approx(list(UNTAUGHT))
    assert not scorer.matcher.words.any()
    assert not len(scorer.matcher.swaps)


def test_only_documents_with_words_and_labels_that_copy_no_name_are_learned_from(
    nomenclature: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = notes(range(TAUGHT))
    copies, of_copies = notes(range(20), named=True)
    shuffled = [" ".join(reversed(text.split())).upper() for text in copies]  # equal sets of words
    wrong = [of_copies[-1], *of_copies[:-1]]  # the name of another node is no copy
    asked: list[int] = []
    learn = Matcher._learn

    def watched(self: Matcher, index: Index, W: csr_matrix, X: csr_matrix, specific: csr_matrix) -> None:
        asked.append(W.shape[0])
        assert (np.diff(W.indptr) > 0).all()
        assert (np.diff(specific.indptr) > 0).all()
        learn(self, index, W, X, specific)

    monkeypatch.setattr(Matcher, "_learn", watched)
    monkeypatch.setattr(matching, "LEARN_SHARE", 1.0)
    scorer_of(
        nomenclature,
        [*texts, *copies, *shuffled, *copies, "", "lt of nothing"],
        [*labels, *of_copies, *of_copies, *wrong, ["d1"], []],
    )
    assert asked == [len(texts) + len(copies)]


def test_the_documents_that_are_asked_are_no_phrases_meanwhile(
    nomenclature: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[Any], set[Any]]] = []
    learn = Matcher._learn

    def watched(self: Matcher, index: Index, W: csr_matrix, X: csr_matrix, specific: csr_matrix) -> None:
        phrases = index.phrases.words[~index.phrases.official]
        seen.append(tuple({tuple(m[i].indices.tolist()) for i in range(m.shape[0])} for m in (W, phrases)))
        learn(self, index, W, X, specific)

    monkeypatch.setattr(Matcher, "_learn", watched)
    scorer = scorer_of(nomenclature, *notes(range(TAUGHT)))
    ((asked, phrases),) = seen
    assert len(asked) + len(phrases) == 4 * TAUGHT
    assert asked.isdisjoint(phrases)
    assert scorer.matcher is not None
    assert (~scorer.matcher.index.phrases.official).sum() == 4 * TAUGHT  # in the end, every one is a phrase


# -- laws --------------------------------------------------------------------------------------------------------


def some_texts() -> list[str]:
    texts, _ = notes(range(TAUGHT - 10, TAUGHT + 10))
    return [*texts, "", "qqq unheard of", "nos", " ".join(map(disease, range(40))), "Ünïcode 🐈 lt"]


def test_a_document_does_not_depend_on_its_batch(taught: LinearScorer) -> None:
    texts = some_texts()
    together = match(taught, texts)
    for i in range(len(texts)):
        assert identical(match(taught, texts[i : i + 1]), rows_of(together, i))
    half = match(taught, texts[7:])
    for i in range(7, len(texts)):
        assert identical(rows_of(half, i - 7), rows_of(together, i))


@settings(max_examples=60)
@given(dags(), SEEDS, st.sampled_from([1, 2, 3, 5]))
def test_candidates_of_a_document_are_those_of_it_alone(dag: Dag, seed: int, listed: int) -> None:
    """Also where the list of one document is full and that of the next is not."""
    case = Case.of(dag, seed)
    W, X, together = matrix(case.documents), csr_matrix(case.X), by_pair(case.pairs(listed))
    for i in range(len(case.documents)):
        alone = by_pair(case.index.pairs(W[[i]], X[[i]], listed))
        assert alone == {(0, j): said for (row, j), said in together.items() if row == i}


def test_a_document_without_known_words_has_no_candidates(taught: LinearScorer) -> None:
    found = match(taught, ["lt " + disease(0), "", "qqqq", "\n"])
    assert set(found.rows.tolist()) == {0}
    assert len(match(taught, ["", "qqqq"]).rows) == 0
    assert len(match(taught, []).rows) == 0


def test_threads_do_not_change_the_result(nomenclature: Taxonomy, taught: LinearScorer) -> None:
    three = scorer_of(nomenclature, *notes(range(TAUGHT)), n_jobs=3)
    assert identical(match(three, some_texts()), match(taught, some_texts()))


def test_same_seed_same_result_and_another_seed_other_queries(nomenclature: Taxonomy, taught: LinearScorer) -> None:
    same, other = (match(scorer_of(nomenclature, *notes(range(TAUGHT)), seed=s), some_texts()) for s in (0, 1))
    assert identical(same, match(taught, some_texts()))
    assert not identical(other, same)


def test_a_saved_matcher_matches_bit_for_bit_the_same(taught: LinearScorer, tmp_path: Path) -> None:
    assert taught.matcher is not None
    np.savez(tmp_path / "matcher.npz", **taught.matcher.get_state())
    with np.load(tmp_path / "matcher.npz", allow_pickle=False) as found:
        again = Matcher.from_state(dict(found), taught.known, taught.centroids)
    config, arrays = taught.get_state()
    whole = LinearScorer.from_state(config, arrays)
    expected = match(taught, some_texts())
    assert identical(match(whole, some_texts()), expected)
    whole.matcher = again
    assert identical(match(whole, some_texts()), expected)
    for name, array in taught.matcher.get_state().items():
        assert again.get_state()[name].tobytes() == array.tobytes()


# -- the second look ---------------------------------------------------------------------------------------------


@pytest.fixture
def looked_twice(nomenclature: Taxonomy, monkeypatch: pytest.MonkeyPatch) -> LinearScorer:
    """A scorer whose matcher also learned how candidates stand among each other."""
    monkeypatch.setattr(matching, "SECOND_LOOK", 100)
    return scorer_of(nomenclature, *notes(range(TAUGHT)))


def test_a_second_look_needs_enough_documents(taught: LinearScorer, looked_twice: LinearScorer) -> None:
    assert taught.matcher is not None
    assert looked_twice.matcher is not None
    assert np.array_equal(taught.matcher.second, FIRST_LOOK)
    assert not np.array_equal(looked_twice.matcher.second, FIRST_LOOK)
    assert np.isfinite(looked_twice.matcher.second).all()
    for name in ("weights", "words", "swap_weights"):  # what words say is the same
        assert np.array_equal(getattr(taught.matcher, name), getattr(looked_twice.matcher, name))


def test_how_candidates_compare_is_learned_from_documents_that_no_word_was_learned_from(
    nomenclature: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, set[tuple[int, ...]]]] = []
    for own in (Matcher._learn_words, Matcher._learn_standings):
        step = own.__name__

        def watched(
            self: Matcher,
            index: Index,
            W: csr_matrix,
            *rest: Any,
            step: str = step,
            own: Any = own,
        ) -> Any:
            seen.append((step, {tuple(W[i].indices.tolist()) for i in range(W.shape[0])}))
            return own(self, index, W, *rest)

        monkeypatch.setattr(Matcher, step, watched)
    monkeypatch.setattr(matching, "SECOND_LOOK", 100)
    scorer_of(nomenclature, *notes(range(TAUGHT)))
    assert [step for step, _ in seen] == ["_learn_words", "_learn_standings", "_learn_words"]
    (_, first), (_, second), (_, every) = seen
    assert first.isdisjoint(second)
    assert first | second == every


def test_a_second_look_does_not_depend_on_the_batch(looked_twice: LinearScorer) -> None:
    texts = some_texts()
    together = match(looked_twice, texts)
    for i in range(len(texts)):
        assert identical(match(looked_twice, texts[i : i + 1]), rows_of(together, i))


def test_a_second_look_is_saved(looked_twice: LinearScorer) -> None:
    whole = LinearScorer.from_state(*looked_twice.get_state())
    assert identical(match(whole, some_texts()), match(looked_twice, some_texts()))


def test_a_scorer_saved_before_there_was_a_second_look_does_without(looked_twice: LinearScorer) -> None:
    config, arrays = looked_twice.get_state()
    second = arrays.pop("matcher_second")
    old = LinearScorer.from_state(config, arrays)
    assert looked_twice.matcher is not None
    assert not np.array_equal(second, FIRST_LOOK)
    assert not identical(match(old, some_texts()), match(looked_twice, some_texts()))
    looked_twice.matcher.second = FIRST_LOOK
    assert identical(match(old, some_texts()), match(looked_twice, some_texts()))


def test_a_second_look_finds_no_fewer_right_nodes(
    nomenclature: Taxonomy, taught: LinearScorer, looked_twice: LinearScorer
) -> None:
    texts, labels = notes(NEW)
    right = [
        sum(leaf == own[0] for leaf, own in zip(best_leaves(nomenclature, found, len(texts)), labels, strict=True))
        for found in (match(taught, texts), match(looked_twice, texts))
    ]
    assert right[1] >= right[0]


# -- phrases -----------------------------------------------------------------------------------------------------


def phrases_of(scorer: LinearScorer, column: int) -> tuple[int, int]:
    """How many official and other phrases a node has."""
    assert scorer.matcher is not None
    phrases = scorer.matcher.index.phrases
    official = phrases.official[phrases.columns == column]
    return int(official.sum()), int((~official).sum())


def test_a_node_has_no_more_than_so_many_documents_for_phrases() -> None:
    taxonomy = Taxonomy([Node("a", {"": "Apples"}, {"": ("pomes",)}), Node("b", {"": "Beets"}), Node("c")])
    texts = [f"apple number{i}" for i in range(MOST_PHRASES + 10)] + ["beet red", "beet root"]
    scorer = scorer_of(taxonomy, texts, [["a"]] * (MOST_PHRASES + 10) + [["b"]] * 2)
    assert phrases_of(scorer, 0) == (2, MOST_PHRASES)
    assert phrases_of(scorer, 1) == (1, 2)
    assert phrases_of(scorer, 2) == (0, 0)


def test_only_short_documents_are_phrases_of_their_most_specific_labels() -> None:
    taxonomy = Taxonomy(["a", "b"], [("a", "b")])
    most, many = (" ".join(f"w{i}" for i in range(n)) for n in (PHRASE_WORDS, PHRASE_WORDS + 1))
    scorer = scorer_of(taxonomy, [most, many, f"{most} w1 W2", ""], [["b"]] * 4)
    assert phrases_of(scorer, 1)[1] == 2  # words count once
    assert phrases_of(scorer, 0)[1] == 0
    assert phrases_of(scorer_of(taxonomy, [most, many], [["a", "b"], ["a"]]), 0)[1] == 0


def test_words_after_the_first_ones_are_not_read() -> None:
    taxonomy = Taxonomy([Node("a", {"": "Apples"}), Node("b", {"": "Beets"})])
    scorer = scorer_of(taxonomy, ["apples filler", "beets filler"], [["a"], ["b"]])
    features: Any = scorer.features
    filler = "filler " * (MOST_WORDS - 1)
    early, late = (features.words([text], MOST_WORDS) for text in (filler + "beets", filler + "x beets"))
    assert (early.nnz, late.nnz) == (4, 2)  # words and their stems


def test_an_inflected_word_nobody_has_seen_finds_its_node() -> None:
    nodes = [Node("a", {"": "Apples"}), Node("b", {"": "Deodorant"}), Node("c", {"": "Deckchair"})]
    scorer = scorer_of(Taxonomy(nodes), ["apples red", "red apples"], [["a"]] * 2)
    said = match(scorer, ["deodorants"])
    assert said.columns[said.probability.argmax()] == 1
    assert said.overlap.max() > 0


def test_a_path_is_a_phrase_where_it_is_short() -> None:
    long = " ".join(f"word{i}" for i in range(PATH_WORDS - 1))
    nodes = [Node("a", {"": "Drinks"}), Node("b", {"": "Teas"}), Node("c", {"": long}), Node("d", {"": long + " x"})]
    taxonomy = Taxonomy(nodes, [("a", "b"), ("a", "c"), ("a", "d")])
    found = [node_texts(taxonomy, taxonomy.index(node)) for node in "abcd"]
    assert found[0] == ["Drinks"]
    assert found[1] == ["Teas", "Drinks > Teas"]
    assert found[2] == [long, f"Drinks > {long}"]  # the sign is no word
    assert found[3] == [f"{long} x"]
    assert [taxonomy.node(j).texts for j in range(4)] == [f[:1] for f in found]  # the node's own stay as they are


# -- the channel -------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20))
def test_the_log_scale_rises_from_0_to_1(probabilities: list[float]) -> None:
    values = log_scaled(np.array(sorted(probabilities), dtype=np.float32))
    assert values.dtype == np.float32
    assert (np.diff(values) >= 0).all()
    ends = log_scaled(np.array([0, 1], dtype=np.float32))
    assert ends.tolist() == pytest.approx([0, 1], abs=1e-6)
    assert ends[0] == 0
    tenths = log_scaled(np.array([1, 0.1, 0.01, 0.001], dtype=np.float32))
    assert (np.diff(-tenths) > 0.15).all()  # every order of magnitude makes a difference


# -- from end to end ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(nomenclature: Taxonomy) -> HierarchicalClassifier:
    options = {"matching": True, "max_models": 30}
    texts, labels = notes(range(TAUGHT))
    return HierarchicalClassifier(taxonomy=nomenclature, scorer_options=options, thresholds=0.5, n_jobs=1).fit(
        texts, labels
    )


def test_a_node_that_no_document_carries_is_found_by_its_name(
    model: HierarchicalClassifier, nomenclature: Taxonomy
) -> None:
    for named in (True, False):
        texts, labels = notes(NEW, named=named)
        assert not any(model.counts_[nomenclature.index(label)] for (label,) in labels)
        predicted = model.predict(texts)
        right = [label[0] in answer for label, answer in zip(labels, predicted, strict=True)]
        assert np.mean(right) > 0.9
        assert all(answer == nomenclature.closure(answer) for answer in predicted)
        assert model.evaluate(texts, labels).metrics["hP"] > 0.9


def test_only_the_nodes_with_most_documents_get_a_model_and_all_others_a_score(
    model: HierarchicalClassifier, nomenclature: Taxonomy
) -> None:
    columns = model.scorer_.columns
    assert len(columns) == 30
    others = np.setdiff1d(np.arange(len(nomenclature)), columns)
    assert model.counts_[columns].min() >= model.counts_[others].max()
    texts, labels = notes(range(100, TAUGHT + KEPT))
    scores = model.predict_proba(texts)
    assert scores.shape == (len(texts), len(nomenclature))
    assert ((scores > 0) & (scores <= 1)).all()
    assert nomenclature.violations(scores).sum() == 0
    right = np.array([nomenclature.index(label) for (label,) in labels])
    assert np.isin(right, others).all()  # every answer comes from candidates
    leaves = np.flatnonzero(nomenclature.is_leaf)
    assert np.mean(leaves[scores[:, leaves].argmax(axis=1)] == right) > 0.9


@pytest.mark.parametrize("most", [1, 4])
def test_models_go_to_the_nodes_with_most_documents_and_their_ancestors(most: int, zoo: Taxonomy, pets: Any) -> None:
    scorer = scorer_of(zoo, pets.X, [list(labels) for labels in pets.y], max_models=most)
    counts = np.asarray(label_matrix(zoo, pets.y).sum(axis=0)).ravel()
    assert len(scorer.columns) == most
    assert sorted(counts[scorer.columns])[::-1] == sorted(counts)[::-1][:most]
    for j in scorer.columns.tolist():
        assert {zoo.index(node) for node in zoo.closure([zoo.nodes[j]])} <= set(scorer.columns.tolist())
    scored = scorer.score([{"text": text} for text in pets.X])
    assert scored.channels.shape[2] == most
    assert scored.candidates is not None
    assert set(scored.candidates.columns.tolist()) <= set(range(len(zoo))) - set(scorer.columns.tolist())


def test_listwise_probabilities_are_of_one_most_specific_label_a_document(zoo: Taxonomy, pets: Any) -> None:
    scorer = scorer_of(zoo, pets.X, [list(labels) for labels in pets.y])
    scored = scorer.score([{"text": text} for text in pets.X])
    assert scored.listwise is not None
    P = scored.listwise.toarray()
    assert P.shape == (len(pets.X), len(zoo))
    assert P.min() >= 0
    assert P.max() <= 1
    assert not zoo.violations(P).any()
    some = scored.listwise.getnnz(axis=1) > 0
    assert some.mean() > 0.9
    twice = P[some, zoo.index("robodogs")]  # lies below both roots
    np.testing.assert_allclose(P[some][:, zoo.is_root].sum(axis=1) - twice, 1, atol=1e-5)
    match = np.zeros_like(P)
    match[:, scorer.columns] = scored.channels[scorer.channels.index("match")]
    match[scored.candidates.rows, scored.candidates.columns] = scored.candidates.channels[0]
    np.testing.assert_allclose(match, log_scaled(P), atol=1e-6)


def test_matching_is_for_taxonomies_where_many_nodes_have_few_documents() -> None:
    taxonomy = Taxonomy([f"n{i}" for i in range(10)])
    for scarce, expected in ((1, False), (2, True)):
        labels = [[f"n{i}"] for i in range(10) for _ in range(9 if i < scarce else 10)]
        texts = [f"{label} text" for (label,) in labels]
        assert (scorer_of(taxonomy, texts, labels, matching=None).matcher is not None) == expected
        assert scorer_of(taxonomy, texts, labels, matching=False).matcher is None
