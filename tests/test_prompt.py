"""Asking level by level: pages, prompts, descent, and the scorer around them, with models that read the prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Sample
from dags import Dag, dags, dags_with_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_oracle import Judge, Oracle, Reader
from scipy.sparse import csr_matrix

from hclf import HierarchicalClassifier, Node, Taxonomy
from hclf.errors import UsageError
from hclf.folds import thinned
from hclf.labels import label_matrix
from hclf.metrics import hierarchical_precision_recall_f1
from hclf.registry import load_taxonomy
from hclf.scorers import make_scorer
from hclf.scorers.prompt import scorer as scorer_module
from hclf.scorers.prompt.base import Answer, Prompt
from hclf.scorers.prompt.descent import merged
from hclf.scorers.prompt.outline import LETTERS, TOP, Outline, Pager, codes_for
from hclf.scorers.prompt.scorer import PromptScorer
from hclf.scorers.prompt.wording import TEMPLATES, Wording, read_templates, tag_for, tidy
from hclf.taxonomy import Rule

SHOP = Taxonomy(
    [
        Node("1", {"en": "Fruit"}, description="what grows on trees"),
        Node("2", {"en": "Apples (red)"}),
        Node("3", {"en": "Pears"}),
        Node("4", {"en": "Machines"}),
        Node("5", {"en": "Laptops"}),
    ],
    [("1", "2"), ("1", "3"), ("4", "5")],
    rules=[
        Rule("exclusive_children", "1", strength="hard"),
        Rule("excludes", "2", ("3",), strength="hard"),
        Rule("excludes", "4", ("1",)),
    ],
)


def ready(taxonomy: Taxonomy, engine: Any = None, **options: Any) -> PromptScorer:
    """A scorer without examples that asks this engine."""
    scorer = PromptScorer(model="m", **options).fit([], label_matrix(taxonomy, []), taxonomy=taxonomy)
    scorer.__dict__["engine"] = engine
    return scorer


def probabilities(scorer: PromptScorer, texts: list[str]) -> np.ndarray:
    return 1 / (1 + np.exp(-scorer.score([{"text": text} for text in texts]).channels.astype(np.float64)))


class Random(Reader):
    """Answers by chance without reading, a prompt always in the same way."""

    exclusive = True

    def answered(self, prompt: Prompt) -> Answer:
        numbers = np.random.default_rng(list(prompt.user.encode())).random(len(prompt.codes))
        return Answer(numbers / numbers.sum() if self.exclusive else numbers, self.exclusive)


class RandomSets(Random):
    exclusive = False


# -- pages ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 999))
def test_no_code_is_the_beginning_of_another(n: int) -> None:
    codes = codes_for(n)
    assert len(set(codes)) == n + 1
    assert len(set(map(len, codes))) == 1


@given(dags(), st.integers(1, 5), st.booleans())
def test_every_option_is_on_one_page(dag: Dag, size: int, whole: bool) -> None:
    outline = Outline.of(dag.taxonomy)
    pager = Pager(outline, size, whole=whole)
    for parent in [TOP] if whole else [TOP, *range(len(outline))]:
        pages = pager.pages(parent)
        wanted = list(range(len(outline))) if whole else outline.below(parent).tolist()
        assert sorted(pager.columns(parent)) == sorted(wanted)
        assert all(1 <= len(page.options) <= size for page in pages)
        assert max((len(p.options) for p in pages), default=0) - min((len(p.options) for p in pages), default=0) <= 1
        assert all(len(page.codes) == len(page.options) + 1 for page in pages)


@given(dags())
def test_an_outline_survives_json(dag: Dag) -> None:
    outline = Outline.of(dag.taxonomy)
    again = Outline.from_dict(json.loads(json.dumps(outline.to_dict())))
    assert again.to_dict() == outline.to_dict()
    for column in range(len(outline)):
        assert outline.below(column).tolist() == dag.taxonomy.children.of(column).tolist()
        assert again.path(column) == " > ".join(dag.taxonomy.path(dag.taxonomy.nodes[column]))


def test_children_of_the_same_name_are_told_apart() -> None:
    tree = Taxonomy([Node("a", {"": "Tea"}), Node("b", {"": "Tea"}), Node("c", {"": "Tea"})], [("a", "c")])
    assert Outline.of(tree).names == ("Tea [a]", "Tea [b]", "Tea")


# -- prompts -------------------------------------------------------------------------------------------------------


def shop_prompt(text: str = "a ripe one", parent: int = TOP, **options: Any) -> Prompt:
    outline = Outline.of(SHOP)
    (page,) = Pager(outline, 25).pages(parent)
    return Wording(outline, read_templates(), **options).prompt(page, text)


def test_a_prompt_says_what_there_is_to_choose_and_how_to_answer() -> None:
    tag = tag_for("a ripe one")
    assert shop_prompt().user == (
        "Which of these classes does the document belong to?\n\nA. Fruit (what grows on trees)\nB. Machines\n"
        f"Z. None of these\n\nA and B rarely go together.\n\n<{tag}>\na ripe one\n</{tag}>\nAnswer:"
    )
    assert shop_prompt(parent=0).user == (
        "The document belongs to: Fruit\nWhich of these more specific classes does it belong to?\n\n"
        "A. Apples (red)\nB. Pears\nZ. None of these\n\nAt most one of them holds.\n\nA and B exclude each other.\n\n"
        f"<{tag}>\na ripe one\n</{tag}>\nAnswer:"
    )
    system = shop_prompt(instructions="Offers of a shop.").system
    assert "Offers of a shop." in system
    assert "choose a class of the list only if it holds as well" in system


def test_descriptions_are_left_out_where_they_do_not_fit() -> None:
    assert "what grows" not in shop_prompt(page_characters=20).user


def test_one_prompt_for_all_shows_the_tree() -> None:
    outline = Outline.of(SHOP)
    (page,) = Pager(outline, 999, whole=True).pages(TOP)
    prompt = Wording(outline, read_templates(), mode="single").prompt(page, "x")
    assert (
        "A. Fruit (what grows on trees)\n  B. Apples (red)\n  C. Pears\nD. Machines\n  E. Laptops\nZ." in prompt.user
    )
    assert "a class holds only if the class above it holds" in prompt.system


@given(st.text(max_size=80), st.integers(20, 60))
def test_a_document_cannot_leave_its_tags(text: str, most: int) -> None:
    shown, _ = tidy({"text": text}, most)
    tag = tag_for(shown)
    assert tag.removeprefix("document-") not in shown
    user = shop_prompt(shown).user
    assert user.count(f"</{tag}>") == 1
    assert user.endswith(f"\n{shown}\n</{tag}>\nAnswer:")


def test_long_documents_lose_their_middle_and_say_so() -> None:
    text, cut = tidy({"a": "x" * 50 + "y" * 50, "b": ""}, 40)
    assert cut
    assert text == "x" * 30 + "\n[… 60 characters left out …]\n" + "y" * 10
    assert tidy({"a": "short", "b": "\x1b[31mred\u202e"}, 40) == ("a: short\nb: [31mred", False)


def test_templates_of_a_folder_replace_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "question.jinja").write_text("{{ text }} or {{ options[0].name }}?")
    found = read_templates(tmp_path)
    assert found.keys() == set(TEMPLATES)
    scorer = ready(SHOP, templates=tmp_path)
    assert scorer.preview([{"text": "pears"}])[0][0].user == "pears or Fruit?"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a\n{% if %}", "question.jinja:2: Expected an expression"),
        ("{{ nothing }}", "question.jinja: 'nothing' is undefined"),
        ("{{ text.__class__.__mro__ }}", "question.jinja: access to attribute '__class__'"),
        ("{{ 1 / 0 }}", "question.jinja: division by zero"),
    ],
)
def test_a_wrong_template_is_found_before_anything_is_asked(tmp_path: Path, source: str, says: str) -> None:
    (tmp_path / "question.jinja").write_text(source)
    with pytest.raises(UsageError, match=says):
        ready(SHOP, templates=tmp_path)


def test_templates_that_have_no_use_are_named(tmp_path: Path) -> None:
    (tmp_path / "questions.jinja").write_text("")
    with pytest.raises(UsageError, match=r"questions.jinja: no such template; did you mean 'question'"):
        read_templates(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        read_templates(tmp_path / "nowhere")


# -- descent -------------------------------------------------------------------------------------------------------


@given(dags_with_labels(), st.integers(1, 4), st.booleans())
def test_an_oracle_loses_nothing_and_nothing_is_asked_below_a_closed_node(
    drawn: tuple[Dag, list[list[str]]], size: int, single: bool
) -> None:
    dag, labels = drawn
    taxonomy = dag.taxonomy
    truth = {f"document {i}": own for i, own in enumerate(labels)}
    oracle = Oracle(taxonomy, truth)
    options = {"mode": "single"} if single and len(taxonomy) > 1 and taxonomy.depth > 1 else {"page_size": size}
    found = probabilities(ready(taxonomy, oracle, **options), list(truth))[0] > 0.5
    true = label_matrix(taxonomy, labels).toarray()
    np.testing.assert_array_equal(found, true)
    for question in oracle.asked:
        row = list(truth).index(question.texts[-1])
        assert question.parent == TOP or true[row, question.parent]


@settings(max_examples=30)
@given(dags(), st.data())
def test_paging_and_batching_change_nothing_where_options_are_judged_one_by_one(
    dag: Dag, data: st.DataObject
) -> None:
    taxonomy = dag.taxonomy
    odds = {node: data.draw(st.floats(0.01, 100)) for node in taxonomy.nodes}
    texts = ["one", "two", "three"]
    together = probabilities(ready(taxonomy, Judge(taxonomy, odds), page_size=25, open_at=0.05), texts)
    for size in (1, 2, 3):
        scorer = ready(taxonomy, Judge(taxonomy, odds), page_size=size, open_at=0.05)
        alone = np.concatenate([probabilities(scorer, [text]) for text in texts], axis=1)
        np.testing.assert_allclose(alone, together, rtol=1e-4, atol=2e-6)


@given(dags(), st.sampled_from([Random, RandomSets]), st.integers(1, 4), st.booleans())
def test_no_node_stands_above_all_its_parents(dag: Dag, kind: type[Random], size: int, single: bool) -> None:
    taxonomy = dag.taxonomy
    options: dict[str, Any] = {"mode": "single"} if single else {"page_size": size, "open_at": 0.5}
    for channel in probabilities(ready(taxonomy, kind(taxonomy), **options), ["a", "b"]):
        for column in np.flatnonzero(~taxonomy.is_root).tolist():
            parents = channel[:, taxonomy.parents.of(column)]
            assert (channel[:, column] <= parents.max(axis=1) + 1e-6).all()


def test_closed_branches_are_bounded_by_their_parent() -> None:
    odds = {"1": 0.01, "2": 1.0, "3": 1.0, "4": 50.0, "5": 9.0}
    judge = Judge(SHOP, odds)
    share, standing = probabilities(ready(SHOP, judge, correct_bias=False), ["x"])[:, 0]
    column = {node: SHOP.index(node) for node in SHOP.nodes}
    assert [q.parent for q in judge.asked] == [TOP, column["4"]]
    total = 1 + 0.01 + 50
    assert share[column["4"]] == pytest.approx(50 / total, rel=1e-4)
    assert share[column["5"]] == pytest.approx(50 / total * 0.9, rel=1e-4)
    assert share[column["2"]] == share[column["3"]] == pytest.approx(0.01 / total / 3, rel=1e-3)
    assert standing[column["4"]] == pytest.approx(1, abs=1e-5)


def test_two_options_that_both_hold_are_both_opened() -> None:
    judge = Judge(SHOP, {"1": 40.0, "2": 9.0, "3": 0.1, "4": 40.0, "5": 9.0})
    share, standing = probabilities(ready(SHOP, judge, open_at=0.9, correct_bias=False), ["x"])[:, 0]
    assert {q.parent for q in judge.asked} == {TOP, SHOP.index("1"), SHOP.index("4")}
    assert share[SHOP.index("1")] == pytest.approx(40 / 81, rel=1e-4)
    assert standing[SHOP.index("1")] > 0.99


def test_only_so_many_nodes_of_a_level_are_opened() -> None:
    judge = Judge(SHOP, {"1": 30.0, "2": 9.0, "3": 0.1, "4": 40.0, "5": 9.0})
    probabilities(ready(SHOP, judge, most_open=1), ["x"])
    assert {q.parent for q in judge.asked} == {TOP, SHOP.index("4")}


def test_a_code_that_is_liked_anyway_gains_nothing() -> None:
    odds = {"1": 2.0, "2": 3.0, "3": 0.5, "4": 1.0, "5": 1.0}
    fair = probabilities(ready(SHOP, Judge(SHOP, odds)), ["x"])
    biased = probabilities(ready(SHOP, Judge(SHOP, odds, {"B": 50.0})), ["x"])
    left = probabilities(ready(SHOP, Judge(SHOP, odds, {"B": 50.0}), correct_bias=False), ["x"])
    ratio = [found[0, 0, 0] / found[0, 0, SHOP.index("4")] for found in (fair, biased, left)]
    assert ratio[0] == pytest.approx(2, rel=1e-3)
    assert ratio[2] == pytest.approx(2 / 50, rel=1e-3)
    assert 1.5 < ratio[1] < 2.1  # not all: an even distribution counts a little


def test_bias_is_asked_for_once_a_page() -> None:
    judge = Judge(SHOP, dict.fromkeys(SHOP.nodes, 5.0))
    scorer = ready(SHOP, judge)
    probabilities(scorer, ["x", "y"])
    probabilities(scorer, ["z"])
    nothing = [question for question in judge.asked if question.texts[-1] in ("N/A", "[no text]")]
    assert len(nothing) == 2 * 3  # the roots, and the children of two nodes


def test_one_prompt_for_all_adds_up_what_lies_below() -> None:
    odds = dict.fromkeys(SHOP.nodes, 0.0) | {"2": 3.0, "3": 2.0}
    share, standing = probabilities(ready(SHOP, Judge(SHOP, odds), mode="single", correct_bias=False), ["x"])[:, 0]
    assert share[SHOP.index("1")] == pytest.approx(5 / 6, rel=1e-4)
    assert standing[SHOP.index("1")] == pytest.approx(1, abs=1e-5)
    assert standing[SHOP.index("3")] == pytest.approx(2 / 3, rel=1e-4)


def test_equal_questions_are_asked_once() -> None:
    oracle = Oracle(SHOP, {"x": ["2"]})
    probabilities(ready(SHOP, oracle), ["x"] * 5)
    assert oracle.usage.calls == 2
    assert oracle.usage.prompts == 10


def test_pages_that_answer_in_sets_stand_side_by_side() -> None:
    found = merged([Answer(np.array([0.5, 1.0, 0.0]), False), Answer(np.array([0.25, 1.0]), False)])
    assert found.share.tolist() == found.standing.tolist() == [0.5, 1.0, 0.25]


# -- scorer --------------------------------------------------------------------------------------------------------


def test_documents_without_words_are_not_asked_about() -> None:
    oracle = Oracle(SHOP, {"x": ["2"]})
    found = probabilities(ready(SHOP, oracle), ["", "x", " \n", "\u200b\u202e\ufeff"])
    assert (found[:, [0, 2, 3]] < 1e-5).all()
    assert oracle.usage.documents == 1


def test_saved_scorers_answer_the_same(zoo: Taxonomy, pets: Sample) -> None:
    documents = [{"text": text} for text in pets.X]
    scorer = PromptScorer(model="m", shots=3, instructions="Toys.", page_size=3)
    scorer.fit(documents, label_matrix(zoo, pets.y), taxonomy=zoo)
    config, arrays = scorer.get_state()
    again = PromptScorer.from_state(json.loads(json.dumps(config)), arrays)
    assert again.preview(documents) == scorer.preview(documents)
    for own in (scorer, again):
        own.__dict__["engine"] = Random(zoo)
    assert again.score(documents).channels.tobytes() == scorer.score(documents).channels.tobytes()
    assert "templates" not in config["options"]


def test_examples_are_like_the_document_of_several_answers_and_never_itself(zoo: Taxonomy, pets: Sample) -> None:
    documents = [{"text": text} for text in pets.X]
    scorer = PromptScorer(model="m", shots=4).fit(documents, label_matrix(zoo, pets.y), taxonomy=zoo)
    truth = {tidy(fields, 600)[0]: set(zoo.closure(own)) for fields, own in zip(documents, pets.y, strict=True)}
    for fields, (prompt,) in zip(documents, scorer.preview(documents), strict=True):
        *shown, own = Reader(zoo).read(prompt.user).texts
        assert own == fields["text"]
        assert len(shown) == len(set(shown)) == 4
        assert own not in shown
        answers = prompt.user.split("Answer:")[1:-1]
        roots = dict(zip(("animals", "machines"), LETTERS, strict=False))
        for text, answer in zip(shown, answers, strict=True):
            codes = [code for node, code in roots.items() if node in truth[text]]
            assert answer.split("\n")[0].strip() == ", ".join(codes)
        assert len({answer.split("\n")[0] for answer in answers}) >= 2


def test_examples_of_a_question_reach_it(zoo: Taxonomy, pets: Sample) -> None:
    documents = [{"text": text} for text in pets.X]
    scorer = PromptScorer(model="m", shots=3).fit(documents, label_matrix(zoo, pets.y), taxonomy=zoo)
    dogs = zoo.index("dogs")
    (page,) = scorer.pager.pages(dogs)
    truth = {fields["text"]: zoo.closure(own) for fields, own in zip(documents, pets.y, strict=True)}
    *shown, _ = Reader(zoo).read(scorer._prompts(documents)(0, page).user).texts
    assert shown
    assert all("dogs" in truth[text] for text in shown)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs a model"),
        ({"model": "m", "mode": "singel"}, "did you mean 'single'"),
        ({"model": "m", "page_size": 2_000}, "at most 999"),
        ({"model": "m", "open_at": 2}, "open_at is a probability"),
        ({"model": "m", "shots": -1}, "shots is at least 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Mapping[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        PromptScorer(**options)


def test_options_of_the_other_kind_of_engine_are_refused() -> None:
    with pytest.raises(UsageError, match="samples is for a server"):
        _ = PromptScorer(model="m", samples=3).engine
    with pytest.raises(UsageError, match="device is for a model on this machine"):
        _ = PromptScorer(model="m", base_url="http://127.0.0.1:1/v1", device="cpu").engine


def test_matrices_are_refused(zoo: Taxonomy) -> None:
    with pytest.raises(UsageError, match="feature matrix"):
        ready(zoo).score(csr_matrix((2, 3)))
    with pytest.raises(UsageError, match="feature matrix"):
        PromptScorer(model="m").fit(csr_matrix((2, 3)), label_matrix(zoo, [["cats"]] * 2), taxonomy=zoo)


def test_too_many_nodes_for_one_prompt_are_refused() -> None:
    many = Taxonomy([f"{i}" for i in range(1_000)])
    with pytest.raises(UsageError, match=r"1,000 nodes do not fit into one prompt of 999; mode='levels'"):
        ready(many, mode="single")


# -- as a classifier -----------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, zoo: Taxonomy, pets: Sample, more_pets: Sample) -> Oracle:
    """An oracle that answers all prompts."""
    oracle = Oracle(zoo, dict(zip(pets.X + more_pets.X, pets.y + more_pets.y, strict=True)))
    monkeypatch.setattr(scorer_module, "make_engine", lambda **options: oracle)
    return oracle


def test_a_classifier_without_records_answers_what_the_model_says(
    asked: Oracle, zoo: Taxonomy, more_pets: Sample
) -> None:
    model = HierarchicalClassifier(
        taxonomy=zoo, scorer="prompt", scorer_options={"model": "m"}, decoder="threshold", thresholds=0.5
    )
    model.fit([], [])
    assert asked.usage.prompts == 0
    assert model.predict(more_pets.X) == [zoo.closure(own) for own in more_pets.y]


def test_records_calibrate_it_and_each_is_asked_about_once(
    asked: Oracle, zoo: Taxonomy, pets: Sample, more_pets: Sample, tmp_path: Path
) -> None:
    options = {"model": "m", "most_held_out": 40}
    model = HierarchicalClassifier(taxonomy=zoo, scorer="prompt", scorer_options=options).fit(pets.X, pets.y)
    assert model.report_["held_out"] == asked.usage.documents == 40
    assert model.report_["scorers"]["prompt"]["prompts"] == asked.usage.prompts
    assert model.score(more_pets.X, more_pets.y) == 1
    model.save(tmp_path / "model")
    again = HierarchicalClassifier.load(tmp_path / "model")
    assert again.predict_proba(more_pets.X).tobytes() == model.predict_proba(more_pets.X).tobytes()


def test_documents_shown_as_examples_do_not_calibrate(asked: Oracle, zoo: Taxonomy, pets: Sample) -> None:
    options = {"model": "m", "shots": 2, "most_held_out": 30}
    HierarchicalClassifier(taxonomy=zoo, scorer="prompt", scorer_options=options).fit(pets.X, pets.y)
    assert asked.usage.documents == 30
    assert all(own not in shown for *shown, own in (question.texts for question in asked.asked))


def test_it_is_weighed_against_other_scorers(asked: Oracle, zoo: Taxonomy, pets: Sample, more_pets: Sample) -> None:
    model = HierarchicalClassifier(
        taxonomy=zoo, scorer="linear+prompt", scorer_options={"prompt": {"model": "m"}}, n_jobs=1
    ).fit(pets.X, pets.y)
    assert model.score(more_pets.X, more_pets.y) > 0.99
    assert model.report_["fusion"][0]["weights"]["prompt"] > 0.5


def test_a_part_that_is_dear_is_dear_in_company() -> None:
    several = make_scorer("linear+prompt", {"prompt": {"model": "m", "most_held_out": 7}})
    assert several.most_held_out == 7  # type: ignore[attr-defined]
    assert not hasattr(make_scorer("linear+lexicon"), "most_held_out")


def test_folds_are_thinned_evenly() -> None:
    folds = [(np.arange(100, 110), np.arange(60)), (np.arange(0), np.arange(60, 100))]
    thin = thinned(folds, 10)
    assert [len(test) for _, test in thin] == [6, 4]
    assert all(np.isin(test, every).all() for (_, test), (_, every) in zip(thin, folds, strict=True))
    assert thinned(folds, None) == folds
    assert thinned(folds, 100) == folds


# -- the descent loses nothing -------------------------------------------------------------------------------------


def answered_by_an_oracle(
    taxonomy: Taxonomy, documents: list[dict[str, str]], labels: list[Any]
) -> tuple[float, float]:
    """Return hF of what comes out of the scorer with an oracle, and prompts a document."""
    numbered = [
        {"number": str(i), **fields} for i, fields in enumerate(documents)
    ]  # equal texts may differ in labels
    oracle = Oracle(taxonomy, {tidy(fields, 6_000)[0]: own for fields, own in zip(numbered, labels, strict=True)})
    scorer = ready(taxonomy, oracle)
    found = csr_matrix(scorer.score(numbered).channels[0] > 0)
    figures = hierarchical_precision_recall_f1(label_matrix(taxonomy, labels), found)
    return figures.f1, oracle.usage.prompts / len(documents)


@pytest.mark.parametrize("name", ["icd10-mini", "products"])
def test_an_oracle_is_right_on_shipped_examples(name: str, request: pytest.FixtureRequest) -> None:
    sample = request.getfixturevalue({"icd10-mini": "icd10"}.get(name, name))
    hf, prompts = answered_by_an_oracle(load_taxonomy(name), sample.X[:200], sample.y[:200])
    assert hf == 1
    assert prompts <= 12


@pytest.mark.slow
def test_an_oracle_is_right_on_open_food_facts(data_dir: Path) -> None:
    import gzip
    from itertools import islice

    folder = data_dir / "openfoodfacts"
    taxonomy = load_taxonomy(folder / "categories.full.json.gz")
    with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as file:
        items = list(islice(map(json.loads, file), 400))
    documents = [{"title": item["title"], "ingredients": item["ingredients"]} for item in items]
    hf, prompts = answered_by_an_oracle(taxonomy, documents, [item["labels"] for item in items])
    assert hf == 1
    assert prompts <= 12
