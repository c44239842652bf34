"""The lexicon scorer: what phrases come to mean, where evidence lies, what of records is kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from hclf.errors import DataError, UsageError
from hclf.labels import label_matrix
from hclf.scorers.base import Mention
from hclf.scorers.lexicon.folding import Folding
from hclf.scorers.lexicon.near import Names, Spelling, folded_glossary, glossaries, glossary
from hclf.scorers.lexicon.phrases import Variants
from hclf.scorers.lexicon.scorer import FLOOR, LexiconScorer
from hclf.scorers.lexicon.spans import LONGEST, SpanModel, Tokens, best_of_each, candidate_spans, span_features
from hclf.scorers.lexicon.trees import Trees
from hclf.scorers.lexicon.weights import GROUPS, NEW, Book, Found, Meant, Tally, deal, write_book
from hclf.taxonomy import Node, Taxonomy

CODES = Taxonomy(
    [
        Node("R", {"en": "Symptoms"}),
        Node("R50", {"en": "Fever, unspecified"}),
        Node("R51", {"en": "Headache"}),
        Node("J", {"en": "Diseases of the lung"}),
        Node("J45", {"en": "Asthma"}, {"en": ("Bronchial asthma",)}),
        Node("S52", {"en": "Fracture of forearm"}),
    ],
    [("R", "R50"), ("R", "R51"), ("J", "J45")],
)


def note(text: str, **marked: str) -> tuple[str, list[Mention]]:
    """A text, and mentions of nodes by the words that say it."""
    found = []
    for node, words in marked.items():
        start = text.index(words)
        found.append(Mention(CODES.index(node), "text", ((start, start + len(words)),)))
    return text, found


NOTES = [
    note("El paciente refiere calentura desde ayer.", R50="calentura"),
    note("Acude por calentura y tos.", R50="calentura"),
    note("Presenta calentura alta, sin otros datos.", R50="calentura alta"),
    note("Jaqueca intensa desde hace un mes.", R51="Jaqueca"),
    note("Refiere jaqueca y asma.", R51="jaqueca", J45="asma"),
    note("Niega jaqueca. Tiene asma desde la infancia.", J45="asma"),
    note("Ingresa por asma.", J45="asma"),
    note("Sin hallazgos."),
]


def learned(notes: list[tuple[str, list[Mention]]] = NOTES, **options: Any) -> LexiconScorer:
    inputs = [{"text": text} for text, _ in notes]
    Y = label_matrix(CODES, [[CODES.nodes[m.column] for m in said] for _, said in notes])
    return LexiconScorer(**options).fit(inputs, Y, taxonomy=CODES, mentions=[said for _, said in notes])


def weights(scorer: LexiconScorer, text: str) -> dict[str, float]:
    """Log-odds of the nodes named for one text."""
    candidates = scorer.score([{"text": text}]).candidates
    assert candidates is not None
    return dict(zip([CODES.nodes[j] for j in candidates.columns], candidates.channels[0].tolist(), strict=True))


def best(scorer: LexiconScorer, text: str) -> str:
    found = {node: value for node, value in weights(scorer, text).items() if CODES.is_leaf[CODES.index(node)]}
    return max(found, key=lambda node: found[node])


# -- what phrases mean -------------------------------------------------------------------------------------------


def test_mentions_names_and_words_alike_lead_to_nodes() -> None:
    scorer = learned()
    assert best(scorer, "Vino con calentura.") == "R50"
    assert best(scorer, "CALENTURAS") == "R50"
    assert best(scorer, "a headache since Monday") == "R51"  # nobody mentioned it: it is the node's name
    assert best(scorer, "forearm, fracture") == "S52"
    assert weights(scorer, "nada de nada") == {}


def test_ancestors_are_implied_and_at_least_as_sure() -> None:
    found = weights(learned(), "calentura, jaqueca y asma")
    assert {"R", "J", "R50", "R51", "J45"} <= set(found)
    assert found["R"] >= max(found["R50"], found["R51"])
    assert found["J"] == pytest.approx(found["J45"], abs=1e-5)


def test_a_phrase_weighs_as_often_as_it_meant_the_node() -> None:
    always = learned([one for one in NOTES if "Niega" not in one[0]])
    assert weights(always, "jaqueca")["R51"] > weights(learned(), "jaqueca")["R51"]


def test_nodes_that_can_be_found_are_known() -> None:
    scorer = learned()
    assert scorer.columns.tolist() == []
    assert [CODES.nodes[j] for j in scorer.known] == list(CODES.nodes)


def test_texts_are_needed() -> None:
    with pytest.raises(DataError, match="word"):
        learned([note("...")])
    with pytest.raises(UsageError, match="texts"):
        learned().score(label_matrix(CODES, [["R"]]))
    with pytest.raises(UsageError, match="min_documents is at least 1, not 0"):
        LexiconScorer(min_documents=0)


# -- what of records is kept -------------------------------------------------------------------------------------


def stored(scorer: LexiconScorer) -> str:
    """All words that a bundle of the scorer would hold."""
    config, arrays = scorer.get_state()
    texts = [a.tobytes().decode("utf-8", "ignore") for a in arrays.values() if a.dtype == np.uint8]
    return json.dumps(config, ensure_ascii=False) + " ".join(texts)


def test_phrases_of_too_few_documents_are_not_kept() -> None:
    assert "calentur" in stored(learned(min_documents=2))
    assert "calentura alta" not in " ".join(learned(min_documents=2).keys)
    assert "calentur" in stored(learned(min_documents=3)) or "calentur" not in " ".join(learned(min_documents=4).keys)
    assert "calentur" not in stored(learned(min_documents=4))


def test_nothing_of_records_is_kept_unless_phrases_are_mined() -> None:
    words = stored(learned(mined=False))
    assert not any(word in words for word in ("calentur", "jaquec", "infanci"))
    assert best(learned(mined=False), "asthma") == "J45"


def test_words_around_mentions_are_not_kept() -> None:
    assert not any(word in stored(learned(min_documents=1)) for word in ("infanci", "ingres", "hallazg"))


# -- label-only records ------------------------------------------------------------------------------------------


def test_phrases_are_mined_from_labels_alone() -> None:
    texts = [f"crate {i} of gouda wheels" for i in range(6)] + [f"crate {i} of red apples" for i in range(20)]
    taxonomy = Taxonomy([Node("cheese", {"": "Cheese"}), Node("fruit", {"": "Fruit"})])
    Y = label_matrix(taxonomy, [["cheese"]] * 6 + [["fruit"]] * 20)
    inputs = [{"text": text} for text in texts]
    scorer = LexiconScorer().fit(inputs, Y, taxonomy=taxonomy)
    found = scorer.score([{"text": "gouda, young"}]).candidates
    assert found is not None
    assert found.columns.tolist() == [taxonomy.index("cheese")]
    assert LexiconScorer(mined=False).fit(inputs, Y, taxonomy=taxonomy).score([{"text": "gouda"}]).candidates


# -- evidence ----------------------------------------------------------------------------------------------------


def test_evidence_lies_where_the_phrase_is_and_adds_up() -> None:
    scorer = learned()
    inputs = [{"title": "Asma", "text": "Vino con calentura; la calentura cedió."}]
    columns = np.array([CODES.index(node) for node in ("R50", "R", "J45", "S52")])
    fever, symptoms, asthma, fracture = scorer.evidence(inputs, np.zeros(4, dtype=np.int64), columns)
    text = inputs[0]["text"]
    assert [text[c.start : c.end] for c in fever] == ["calentura", "calentura"]
    assert {c.field for c in asthma} == {"title"}
    assert [(c.start, c.end) for c in symptoms] == [(c.start, c.end) for c in fever]
    assert fracture == []
    candidates = scorer.score(inputs).candidates
    assert candidates is not None
    height = dict(zip(candidates.columns.tolist(), candidates.channels[0].tolist(), strict=True))
    for node, said in (("R50", fever), ("R", symptoms), ("J45", asthma)):
        assert sum(c.value for c in said) == pytest.approx(height[CODES.index(node)] - FLOOR, rel=1e-5)
    assert "of training documents" in fever[0].why


# -- counts ------------------------------------------------------------------------------------------------------


def test_documents_are_told_of_other_groups_only() -> None:
    things, groups = np.array([0, 0, 1, 0]), np.array([2, 3, 3, 3])
    tally = Tally.of(things, groups, 2)
    assert tally.total.tolist() == [3, 1]
    assert tally.outside(np.array([0, 0, 0, 1]), np.array([2, 3, NEW, 3])).tolist() == [2, 1, 3, 0]


def test_groups_are_even_and_seeded() -> None:
    assert np.bincount(deal(100, 0)).tolist() == [10] * GROUPS
    assert deal(100, 0).tolist() == deal(100, 0).tolist() != deal(100, 1).tolist()
    assert deal(0, 0).tolist() == []


def test_the_book_counts_what_a_slow_reading_counts() -> None:
    rng = np.random.default_rng(0)
    n, phrases, width = 30, 6, 5
    labels = label_matrix(Taxonomy("abcde"), [["abcde"[j] for j in rng.integers(5, size=2)] for _ in range(n)])
    found = Found(np.sort(rng.integers(n, size=80)), rng.integers(phrases, size=80))
    meant = Meant(np.arange(40), rng.integers(width, size=40))
    groups = deal(n, 0)
    official = (np.array([0, 5]), np.array([1, 1]))
    book = write_book(phrases, official, found, meant, labels, groups)
    dense = labels.toarray()
    for pair, (phrase, node) in enumerate(zip(book.phrases.tolist(), book.nodes.tolist(), strict=True)):
        for group in range(GROUPS + 1):
            others = groups != group
            said = sum(
                found.phrases[i] == phrase and j == node and others[found.documents[i]]
                for i, j in zip(meant.occurrences, meant.nodes, strict=True)
            )
            with_phrase = {d for d, p in zip(found.documents.tolist(), found.phrases, strict=True) if p == phrase}
            labelled = sum(bool(dense[d, node]) and bool(others[d]) for d in with_phrase)
            assert book.said.outside(np.array([pair]), np.array([group])).tolist() == [said]
            assert book.labelled.outside(np.array([pair]), np.array([group])).tolist() == [labelled]
    again = Book.from_state(book.get_state())
    assert again.said.outside(np.arange(len(book.nodes)), np.full(len(book.nodes), NEW)).tolist() == (
        book.said.total.tolist()
    )


# -- spans -------------------------------------------------------------------------------------------------------


def test_spans_stay_in_their_sentence_and_begin_and_end_with_words_that_say_something() -> None:
    tokens = Tokens.of(["Dolor de la rodilla. Fiebre y tos"], Folding())
    said = ["Dolor", "de", "la", "rodilla", "Fiebre", "y", "tos"]
    words = [" ".join(said[a:b]) for a, b in zip(*candidate_spans(tokens), strict=True)]
    assert words == ["Dolor", "Dolor de la rodilla", "rodilla", "Fiebre", "Fiebre y tos", "tos"]
    long = Tokens.of(["uno dos tres cuatro cinco seis siete ocho nueve"], Folding())
    spans = candidate_spans(long)
    assert (spans.last - spans.first).max() == LONGEST


def test_features_of_a_span_depend_on_its_text_alone() -> None:
    texts = ["Dolor agudo.", "Sin fiebre ni tos; edema leve"]
    together = Tokens.of(texts, Folding())
    both = span_features(together, candidate_spans(together))
    alone = Tokens.of(texts[1:], Folding())
    one = span_features(alone, candidate_spans(alone))
    assert (both[-one.shape[0] :] != one).nnz == 0


def test_a_span_model_learns_how_mentions_end() -> None:
    texts = [f"paciente con {word}itis desde ayer" for word in ("col", "gastr", "derm", "art", "ot", "nefr")] * 5
    tokens = Tokens.of(texts, Folding())
    spans = candidate_spans(tokens)
    truth = np.array(
        [tokens.key(a, b).endswith(("it", "itis", "iti")) and b - a == 1 for a, b in zip(*spans, strict=True)]
    )
    assert truth.sum() == 30
    model = SpanModel.fit(span_features(tokens, spans), truth)
    new = Tokens.of(["paciente con hepatitis desde ayer"], Folding())
    found = candidate_spans(new)
    logits = model.logits(span_features(new, found))
    at = int(logits.argmax())
    assert (int(found.first[at]), int(found.last[at])) == (2, 3)
    config, arrays = model.get_state()
    assert np.array_equal(SpanModel.from_state(config, arrays).logits(span_features(new, found)), logits)


def test_the_best_of_each_group_are_kept() -> None:
    groups, values = np.array([0, 0, 0, 2, 2]), np.array([1.0, 3.0, 3.0, 0.0, 5.0])
    assert best_of_each(groups, values, 1).tolist() == [1, 4]
    assert best_of_each(groups, values, 2).tolist() == [1, 2, 3, 4]


# -- what is alike -----------------------------------------------------------------------------------------------


def test_the_nearest_spelling_comes_first() -> None:
    index = Spelling(["midriasis", "micosis", "artritis"])
    found = index.nearest(["midriatica", "qqqq"], 2)
    assert found.indices[0] == 0
    assert found.indptr.tolist()[-1] == found.indptr.tolist()[1]


def test_names_in_another_language_are_found_by_cognates_and_glossary() -> None:
    folding = Folding()
    names = ["Malignant neoplasm of prostate", "Calculus of kidney", "Atelectasis", "Pain in throat"]
    variants = Variants.of(names, folding)
    index = Names(variants, np.arange(len(variants.phrase)), folded_glossary(folding))
    phrases = [
        " ".join(map(folding.fold, words.split())) for words in ("cancer prostata", "litiasis renal", "atelectasias")
    ]
    found, _ = index.nearest(phrases, 1)
    assert [names[index.phrase[i]] for i in found.indices] == names[:3]


@pytest.mark.parametrize("language", glossaries())
def test_a_glossary_holds_words(language: str) -> None:
    table = glossary(language)
    assert len(table) > 100
    assert all(names and all(map(str.isalpha, names)) for names in table.values())


# -- trees -------------------------------------------------------------------------------------------------------


def test_trees_say_what_the_library_says() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)).astype(np.float32)
    truth = X[:, 0] + X[:, 1] ** 2 + rng.normal(size=500) > 1
    trees = Trees.fit(X, truth, trees=20, leaves=6, rate=0.1, fewest=10)
    same = HistGradientBoostingClassifier(
        max_iter=20,
        max_leaf_nodes=6,
        learning_rate=0.1,
        min_samples_leaf=10,
        l2_regularization=1,
        early_stopping=False,
    ).fit(X, truth)
    assert trees.probabilities(X) == pytest.approx(same.predict_proba(X)[:, 1], abs=1e-12)
    again = Trees.from_state(*trees.get_state())
    assert np.array_equal(again.probabilities(X), trees.probabilities(X))
    assert trees.probabilities(X[:0]).tolist() == []
    assert np.array_equal(trees.probabilities(X[3:4]), trees.probabilities(X)[3:4])


def test_left_out_wrong_rows_are_made_up_for() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(8_000, 1)).astype(np.float32)
    truth = rng.random(8_000) < 0.1
    keep = truth | (rng.random(8_000) < 0.25)
    trees = Trees.fit(X[keep], truth[keep], trees=5, leaves=4, rate=0.1, wrong_share=0.25)
    assert trees.probabilities(X).mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    "text", ["Niega asma.", "Denies asthma.", "Mother had asthma.", "Padre con asma.", "History of asthma."]
)
def test_with_little_to_learn_from_what_is_objected_to_is_no_evidence(text):
    node = CODES.index("J45")
    plain = learned(min_documents=1, context=False).probabilities([{"text": text}])
    told = learned(min_documents=1).probabilities([{"text": text}])
    assert node in plain[1].tolist()
    assert node not in told[1].tolist()
