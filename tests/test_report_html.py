"""The report page, its Markdown and JSON: what they say, that nothing breaks out, and that a browser shows them."""

from __future__ import annotations

import base64
import csv
import json
import platform
import re
import time
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from dags import Dag, dags_with_labels
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from hclf.data import Document
from hclf.decoders import ThresholdDecoder, decode
from hclf.diagnostics import Diagnostics, diagnose, label_rows, typical_mistakes, write_label_csv
from hclf.errors import UsageError
from hclf.evaluation import Evaluation, against, evaluate
from hclf.labels import label_matrix, label_sets, most_specific
from hclf.metrics import average_precision_per_node, hierarchical_precision_recall_f1
from hclf.report import (
    Example,
    everything,
    html_report,
    markdown_summary,
    reproduction,
    typical_examples,
    write_report,
)
from hclf.report.markdown import code, plain
from hclf.taxonomy import Node, Taxonomy

FOOD = Taxonomy(
    [Node(i, {"en": n}) for i, n in [("f", "Food"), ("d", "Drinks"), ("r", "Rice"), ("n", "Noodles"), ("t", "Tea")]],
    [("f", "r"), ("f", "n"), ("d", "t")],
    id="food",
    version="1",
    level_names=("aisle", "shelf"),
)
TRUE = [["r"], ["r"], ["n"], ["t"], []]
PREDICTED = [["r"], ["n"], ["n"], ["d"], ["f"]]
TRAIN = {"f": 30, "d": 3, "r": 20, "n": 10, "t": 0}
CANARY = "kanarienvogel-7731"


def counts(taxonomy: Taxonomy) -> Any:
    return np.array([TRAIN[node] for node in taxonomy.nodes])


def matrices(seed: int = 0) -> tuple[csr_matrix[Any], csr_matrix[Any], Any]:
    """Truth, prediction and coherent scores of FOOD."""
    T, P = label_matrix(FOOD, TRUE), label_matrix(FOOD, PREDICTED)
    rng = np.random.default_rng(seed)
    raw = np.clip(0.55 * P.toarray() + 0.2 * T.toarray() + 0.2 * rng.random(T.shape), 0.02, 1)
    return T, P, FOOD.coherent(raw.astype(np.float32))


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    T, P, S = matrices()
    return evaluate(FOOD, T, P, scores=S, violations=7, train_counts=counts(FOOD), intervals=True)


@pytest.fixture(scope="module")
def diagnostics() -> Diagnostics:
    T, P, S = matrices()
    return diagnose(FOOD, T, P, S, thresholds=(0.4, 0.5), train_counts=counts(FOOD))


# -- diagnostics against slow references -----------------------------------------------------------------------


@given(dags_with_labels(), st.data())
def test_siblings_confused_are_counted_as_in_plain_sets(made, data):
    dag, true = made
    labels = st.lists(st.sampled_from(dag.ids), max_size=3, unique=True)
    predicted = [data.draw(labels) for _ in true]
    taxonomy = dag.taxonomy
    T, P = label_matrix(taxonomy, true), label_matrix(taxonomy, predicted)
    found = diagnose(taxonomy, T, P)
    expected = slow_confusions(dag, label_sets(taxonomy, T), label_sets(taxonomy, P))
    assert {(row["true"], row["predicted"]): row["count"] for row in found.confusions} == expected
    assert found.confused == sum(expected.values())
    assert found.confused_pairs == len(expected)
    for mistake in typical_mistakes(taxonomy, T, P, limit=3):
        assert mistake.true in label_sets(taxonomy, T)[mistake.row]
        assert mistake.predicted in label_sets(taxonomy, P)[mistake.row]
        assert (mistake.true, mistake.predicted) in expected


def slow_confusions(dag: Dag, true: list[tuple[str, ...]], predicted: list[tuple[str, ...]]) -> Counter[Any]:
    parents = {node: {a for a, b in dag.edges if b == node} or {None} for node in dag.ids}
    return Counter(
        (missed, wrong)
        for t, p in zip(true, predicted, strict=True)
        for missed in set(t) - set(p)
        for wrong in set(p) - set(t)
        if parents[missed] & parents[wrong]
    )


@given(st.integers(0, 200))
def test_the_sweep_is_what_the_decoder_would_do(seed):
    T, P, S = matrices(seed)
    sweep = diagnose(FOOD, T, P, S).sweep
    for i in (0, 10, 24, 25, 40, 48):
        Y, _ = decode(FOOD, S, np.full(FOOD.depth, sweep["threshold"][i]), ThresholdDecoder())
        figures = hierarchical_precision_recall_f1(T, Y)
        assert (sweep["hP"][i], sweep["hR"][i], sweep["hF"][i]) == pytest.approx(tuple(figures))
        assert sweep["answered"][i] == pytest.approx((np.diff(Y.indptr) > 0).mean())


def test_average_precision_is_given_for_tested_nodes_only(diagnostics):
    T, _, S = matrices()
    every = dict(zip(FOOD.nodes, average_precision_per_node(T, S), strict=True))
    assert diagnostics.average_precision == pytest.approx({node: every[node] for node in "frndt"})
    assert (
        "t" not in diagnose(FOOD, label_matrix(FOOD, [["r"]]), label_matrix(FOOD, [["t"]]), S[:1]).average_precision
    )


def test_nodes_by_training_documents(diagnostics):
    rows = {row["train_count"]: row for row in diagnostics.by_training}
    assert rows["0"] == {
        "train_count": "0",
        "nodes": 1,
        "tested": 1,
        "support": 1,
        "predicted": 0,
        "precision": 0,
        "recall": 0,
        "f1": 0,
    }
    assert [row["nodes"] for row in diagnostics.by_training] == [1, 1, 2, 1, 0]
    assert rows["6-20"]["support"] == 3  # r twice, n once
    assert (rows["6-20"]["precision"], rows["6-20"]["recall"]) == pytest.approx((2 / 3, 2 / 3))


def test_curves_have_columns_of_equal_length(diagnostics):
    for row in (*diagnostics.risk_coverage, *diagnostics.reliability):
        lengths = {len(value) for value in row.values() if isinstance(value, list)}
        assert len(lengths) == 1, row
    assert {row["level"] for row in diagnostics.risk_coverage} <= {0, 1, 2}
    assert [row["name"] for row in diagnostics.reliability] == ["aisle", "shelf"]


def test_without_scores_what_needs_them_stays_empty():
    T, P, _ = matrices()
    found = diagnose(FOOD, T, P)
    assert found.confusions
    assert found.to_dict() | {"confusions": [], "confused": 0, "confused_pairs": 0} == Diagnostics().to_dict()


def test_shapes_that_do_not_fit_are_refused():
    T, P, S = matrices()
    with pytest.raises(UsageError, match="labels have 4 columns, the taxonomy has 5 nodes"):
        diagnose(FOOD, T[:, :4], P)
    with pytest.raises(UsageError, match="scores are 3 x 5, the labels 5 x 5"):
        diagnose(FOOD, T, P, S[:3])
    with pytest.raises(UsageError, match="train_counts has shape"):
        diagnose(FOOD, T, P, train_counts=np.ones(4))


def test_siblings_under_two_parents_are_confused_once():
    both = Taxonomy(["a", "b", "c", "d"], [(parent, child) for parent in "ab" for child in "cd"])
    found = diagnose(both, label_matrix(both, [["c"]]), label_matrix(both, [["d"]]))
    assert found.confusions == [{"true": "c", "predicted": "d", "count": 1, "support": 1}]


def test_a_typical_mistake_is_the_document_with_the_fewest_others():
    T = label_matrix(FOOD, [["r", "t"], ["r"], ["r"]])
    P = label_matrix(FOOD, [["n"], ["n"], ["r"]])
    assert typical_mistakes(FOOD, T, P) == [(1, "r", "n")]


def test_typical_mistakes_fit_the_labels_of_their_documents():
    T, P, _ = matrices()
    true, predicted = (label_sets(FOOD, most_specific(FOOD, Y)) for Y in (T, P))
    [mistake] = [m for m in typical_mistakes(FOOD, T, P) if m.true == "r"]
    assert (true[mistake.row], predicted[mistake.row]) == (("r",), ("n",))


# -- the page --------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Elements, ids and text of a page; data and script apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def data(self, name: str) -> Any:
        """Return what a data element holds."""
        [(attributes, text)] = [script for script in self.scripts if script[0].get("id") == name]
        packed = attributes["data-kind"] == "deflate"
        return json.loads(zlib.decompress(base64.b64decode(text)) if packed else text)


def page_of(evaluation: Evaluation, diagnostics: Diagnostics, taxonomy: Taxonomy = FOOD, **options: Any) -> Page:
    return Page(html_report(evaluation, taxonomy, diagnostics, **options))


def test_the_page_says_what_the_evaluation_says(evaluation, diagnostics):
    problems = {"counts": {"empty-text": 2}, "kept": [{"file": "a.jsonl", "row": 3, "message": "the text is empty"}]}
    about = {
        "command": "hclf evaluate m d --report out.html",
        "python": "3.11",
        "data": {"file": "d", "sha256": "ab"},
    }
    page = page_of(
        evaluation, diagnostics, title="Food, tested", verdict="It is good.", about=about, problems=problems
    )
    for words in (
        "Food, tested",
        "5 documents · food 1, 5 nodes on 2 levels",
        "It is good.",
        f"{evaluation.metrics['hF']:.3f}",
        "[{:.3f}, {:.3f}]".format(*evaluation.intervals["hF"]),
        "1 aisle",
        "2 shelf",
        "1 node has no training document",
        "7 (1.4 a document)",
        "empty-text",
        "a.jsonl:3: the text is empty",
        "hclf evaluate m d --report out.html",
        "file d, sha256 ab",
        FOOD.fingerprint,
    ):
        assert words in page.text, words


def test_the_page_holds_every_node_and_its_counts(evaluation, diagnostics):
    page = page_of(evaluation, diagnostics)
    nodes = page.data("nodes-data")
    assert nodes["id"] == ["d", "t", "f", "n", "r"]
    assert nodes["depth"] == [0, 1, 0, 1, 1]
    places = np.cumsum(nodes["seen"]).tolist()
    found = {nodes["id"][at]: k for k, at in enumerate(places)}
    for row in evaluation.nodes:
        k = found[row["id"]]
        assert (nodes["support"][k], nodes["predicted"][k], nodes["train"][k]) == (
            row["support"],
            row["predicted"],
            row["train_count"],
        )
        assert nodes["hits"][k] == pytest.approx(row["precision"] * row["predicted"])
    assert page.data("charts")["thresholds"] == [0.4, 0.5]


@given(dags_with_labels())
def test_the_walk_lists_every_node_once_below_its_first_parent(made):
    dag, labels = made
    taxonomy = dag.taxonomy
    T = label_matrix(taxonomy, labels)
    nodes = page_of(evaluate(taxonomy, T, T), diagnose(taxonomy, T, T), taxonomy).data("nodes-data")
    assert sorted(nodes["id"]) == sorted(taxonomy.nodes)
    path: list[str] = []
    levels = dict(nodes["levels"])
    parents: dict[str, list[str]] = {}
    for i, (node, depth) in enumerate(zip(nodes["id"], nodes["depth"], strict=True)):
        path[depth:] = [node]
        parents[node] = [path[-2]] if depth else []
        assert levels.get(i, depth + 1) == taxonomy.levels[taxonomy.index(node)]
    for i, parent in nodes["also"]:
        parents[nodes["id"][i]].append(nodes["id"][parent])
    edges = {(parent, node) for node, above in parents.items() for parent in above}
    assert edges == set(taxonomy.edges())


def test_names_and_all_else_that_looks_like_markup_is_harmless():
    evil = '</script><b id="owned">&{{css}}"\'<!--'
    taxonomy = Taxonomy(
        [Node("a" + evil, {"en": evil}), Node("b", {"en": "B" + evil}), Node("c")],
        [("a" + evil, "b"), ("a" + evil, "c")],
        id=evil,
        title=evil,
        level_names=(evil, evil),
    )
    T, P = label_matrix(taxonomy, [["b"]] * 12), label_matrix(taxonomy, [["c"]] * 12)
    e = evaluate(taxonomy, T, P, scores=P.astype(np.float32), train_counts=np.zeros(3))
    d = diagnose(taxonomy, T, P, P.astype(np.float32), train_counts=np.zeros(3))
    page = page_of(
        e,
        d,
        taxonomy,
        title=evil,
        about={"command": evil, evil: {evil: [evil]}},
        baselines={evil: e},
        verdict=[evil],
        problems={"counts": {evil: 1}, "kept": [{"file": evil, "row": 1, "message": evil}]},
        examples=[Example(evil, evil, ["b"], [evil], evil)],
    )
    assert [attributes.get("id") for attributes, _ in page.scripts] == ["charts", "nodes-data", None]
    assert ("b", "id", "owned") not in page.attributes
    assert page.data("nodes-data")["name"][0] == evil
    assert page.text.count(evil) >= 12
    assert page.tags["style"] == 1


def test_the_page_asks_the_network_for_nothing(evaluation, diagnostics):
    text = html_report(evaluation, FOOD, diagnostics, examples=[Example("1", "see https://example.org", ["r"], [])])
    page = Page(text)
    assert not [a for a in page.attributes if a[1] in ("src", "srcset", "action", "poster")]
    assert {value for _, key, value in page.attributes if key == "href"} - {"data:,"} <= {
        f"#{value}" for tag, key, value in page.attributes if key == "id"
    }
    assert "default-src 'none'" in text
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "https://example.org"}  # a name space, and the document's own
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|import\(", text)


def test_equal_arguments_give_equal_pages(evaluation, diagnostics):
    assert html_report(evaluation, FOOD, diagnostics) == html_report(evaluation, FOOD, diagnostics)


def test_baselines_stand_beside(evaluation, diagnostics):
    T, _, S = matrices()
    flat = evaluate(FOOD, T, label_matrix(FOOD, [["t"]] * 5), scores=S)
    page = page_of(evaluation, diagnostics, baselines={"flat": flat})
    gain = evaluation.metrics["hF"] - flat.metrics["hF"]
    assert f"{evaluation.metrics['hF']:.3f}" in page.text
    assert f"+{gain:.3f}" in page.text
    assert "Against flat: hF" in page.text


def test_paired_differences_stand_in_summary_levels_and_buckets(evaluation, diagnostics):
    T = label_matrix(FOOD, TRUE * 40)
    ours = evaluate(FOOD, T, label_matrix(FOOD, PREDICTED * 40), train_counts=counts(FOOD))
    flat = evaluate(FOOD, T, label_matrix(FOOD, [["t"]] * 200), train_counts=counts(FOOD))
    paired = against({"hierarchical": ours, "flat": flat}, samples=200, permutations=200)
    page = page_of(ours, diagnostics, baselines={"flat": flat}, comparisons=paired)
    assert paired["flat"].verdict in page.text
    rows = [paired["flat"]["hF"], *paired["flat"].levels, *paired["flat"].buckets]
    for row in rows:
        assert f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]".replace("-", "−") in page.text
    assert ("span", "class", "better") in page.attributes
    assert f"{paired['flat']['hF']['difference']:+.3f} [" in markdown_summary(
        ours, baselines={"flat": flat}, comparisons=paired
    )
    assert everything(ours, diagnostics, comparisons=paired)["comparisons"]["flat"]["verdict"]


def test_differences_that_are_not_shown_have_no_colour(evaluation, diagnostics):
    T, _, S = matrices()
    other = evaluate(FOOD, T, label_matrix(FOOD, [["r"], ["r"], ["r"], ["t"], []]), scores=1 - S)
    paired = against({"hierarchical": evaluation, "other": other}, samples=50, permutations=50)
    page = page_of(evaluation, diagnostics, baselines={"other": other}, comparisons=paired)
    coloured = [value for _, key, value in page.attributes if key == "class" and value in ("better", "worse")]
    assert not coloured, "five documents show nothing"
    assert "auprc" not in {row["metric"] for row in paired["other"].metrics}  # differs, but nobody tested it
    assert other.metrics["auprc"] < evaluation.metrics["auprc"]


def test_an_evaluation_without_anything_optional_is_shown():
    T, P, _ = matrices()
    bare = Evaluation.from_dict(evaluate(FOOD, T, P).to_dict())
    page = page_of(bare, Diagnostics())
    assert "Risk and coverage" not in page.text
    assert "None: every row was read" not in page.text  # one document has no label
    assert "Levels" in page.text


@pytest.mark.parametrize("taxonomy", [Taxonomy([]), Taxonomy(["one"])])
def test_nothing_at_all_is_shown(taxonomy):
    empty = csr_matrix((0, len(taxonomy)), dtype=bool)
    e = evaluate(taxonomy, empty, empty, scores=empty.astype(np.float32), train_counts=np.zeros(len(taxonomy)))
    d = diagnose(taxonomy, empty, empty, empty.astype(np.float32), train_counts=np.zeros(len(taxonomy)))
    assert "0 documents" in page_of(e, d, taxonomy).text
    assert markdown_summary(e, d).startswith("### Evaluation")
    json.dumps(everything(e, d), allow_nan=False)


def test_no_text_of_a_document_is_anywhere_unless_asked_for(tmp_path, pets, pets_model, zoo):
    X = [f"{text} {CANARY}" for text in pets.X[:30]]
    e = pets_model.evaluate(X, pets.y[:30])
    T, P = label_matrix(zoo, pets.y[:30]), label_matrix(zoo, pets_model.predict(X))
    S = pets_model.predict_proba(X)
    d = diagnose(zoo, T, P, S, thresholds=pets_model.thresholds_.values, train_counts=pets_model.counts_)
    about = {"command": "hclf evaluate"}
    write_label_csv(tmp_path / "labels.csv", e, d)
    outputs = {
        "page": html_report(e, zoo, d, about=about),
        "json": json.dumps(everything(e, d, about=about), allow_nan=False),
        "markdown": markdown_summary(e, d, about=about),
        "csv": (tmp_path / "labels.csv").read_text("utf-8"),
    }
    packed = json.dumps(Page(outputs["page"]).data("nodes-data"))
    assert not [name for name, text in {**outputs, "nodes": packed}.items() if CANARY in text]
    assert "Examples" not in outputs["page"]
    shown = html_report(e, zoo, d, examples=[Example("d1", X[0], pets.y[0], [])])
    assert shown.count(CANARY) == 1


# -- Markdown, JSON, CSV -----------------------------------------------------------------------------------------


def test_the_summary_for_a_pull_request(evaluation, diagnostics):
    T, _, S = matrices()
    flat = evaluate(FOOD, T, label_matrix(FOOD, [["t"]] * 5), scores=S)
    text = markdown_summary(
        evaluation, diagnostics, title="Food", baselines={"flat": flat}, about={"command": "hclf evaluate m d"}
    )
    low, high = evaluation.intervals["hF"]
    lines = text.splitlines()
    assert lines[0] == "### Food"
    assert f"| hF | **{evaluation.metrics['hF']:.3f}** [{low:.3f}, {high:.3f}] | {flat.metrics['hF']:.3f} |" in text
    assert "| `r` → `n` | 1 | 2 |" in lines
    assert lines[-1] == "Reproduce: `hclf evaluate m d`"
    widths = [
        {line.count("|") for line in table.splitlines()} for table in text.split("\n\n") if table.startswith("|")
    ]
    assert widths
    assert all(len(width) == 1 for width in widths)


def test_markdown_is_harmless():
    assert plain("a|b\n# c") == "a&#124;b &#35; c"
    assert code("a|b `c`") == "`a\\|b 'c'`"
    evil = "@team |x| <img> [a](b) `c`"
    taxonomy = Taxonomy([Node("a", {"en": evil}), Node(evil)])
    T, P = label_matrix(taxonomy, [["a"]] * 6), label_matrix(taxonomy, [[evil]] * 6)
    text = markdown_summary(evaluate(taxonomy, T, P), diagnose(taxonomy, T, P), title=evil)
    outside = re.sub(r"`[^`]*`", "", text)
    assert not re.search(r"@team|<img|\]\(", outside)


def test_everything_as_json_reads_back(evaluation, diagnostics):
    data = json.loads(json.dumps(everything(evaluation, diagnostics, verdict="good", problems={"total": 1})))
    assert data["diagnostics"]["confusions"][0] == {"true": "r", "predicted": "n", "count": 1, "support": 2}
    assert data["verdict"] == ["good"]
    again = Evaluation.from_dict(data)
    assert again.metrics == evaluation.metrics
    assert again.intervals == evaluation.intervals
    assert again.nodes == label_rows(evaluation, diagnostics)


def test_the_table_of_labels(evaluation, diagnostics, tmp_path):
    write_label_csv(tmp_path / "labels.csv", evaluation, diagnostics)
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert list(rows) == [row["id"] for row in evaluation.nodes]
    assert rows["r"]["threshold"] == "0.5"
    assert float(rows["r"]["average_precision"]) == diagnostics.average_precision["r"]
    assert float(rows["r"]["recall"]) == 0.5
    assert label_rows(evaluation, Diagnostics())[0]["threshold"] is None


def test_reports_are_written_by_their_suffix(evaluation, diagnostics, tmp_path):
    for name in ("out.html", "out.md", "out.JSON", "out.csv"):
        write_report(tmp_path / name, evaluation, FOOD, diagnostics, title="Food", about={"command": "x"})
    assert "<title>Food</title>" in (tmp_path / "out.html").read_text("utf-8")
    assert (tmp_path / "out.md").read_text("utf-8").startswith("### Food\n")
    assert json.loads((tmp_path / "out.JSON").read_text("utf-8"))["about"]["command"] == "x"
    assert (tmp_path / "out.csv").read_text("utf-8").startswith("id,name,level,")
    with pytest.raises(UsageError, match=r"out\.pdf: a report ends in \.html"):
        write_report(tmp_path / "out.pdf", evaluation, FOOD, diagnostics)


def test_how_to_reproduce_names_versions_and_files(evaluation, diagnostics, tmp_path):
    (tmp_path / "test.jsonl").write_text("{}", encoding="utf-8")
    about = reproduction("hclf evaluate m -", {"data": tmp_path / "test.jsonl", "more": "-"})
    assert about["data"]["sha256"].startswith("44136fa355b3678a")  # sha256 of "{}", as sha256sum gives it
    assert about["more"] == {"file": "-"}
    text = page_of(evaluation, diagnostics, about=about).text
    assert f"Python {platform.python_version()}, numpy {np.__version__}" in text
    assert "44136fa355b3678a" in text


def test_examples_are_typical_and_short(evaluation):
    assert evaluation.answers is not None
    documents = [Document(f"id{i}", {"title": "t" * 3_000, "more": CANARY}) for i in range(len(TRUE))]
    [example] = [e for e in typical_examples(evaluation.answers, documents) if "instead of Rice" in e.about]
    assert (example.id, example.true, example.predicted) == ("id1", ("r",), ("n",))
    assert len(example.text) < 1_600
    assert example.text.endswith("t …")


# -- in a browser ------------------------------------------------------------------------------------------------

needs_chromium = pytest.mark.skipif(not (browser.CHROMIUM and browser.CHROMEDRIVER), reason=browser.MISSING)
ESCAPE, ENTER, RIGHT = "\ue00c", "\ue007", "\ue014"


def made_up(nodes: int, documents: int = 3_000) -> tuple[Taxonomy, Evaluation, Diagnostics]:
    """A tree of `nodes` with names as long as those of ICD-10-CM, and predictions that are often a sibling's."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeioulnrstmdcph"), rng.integers(4, 11))) for _ in range(4_000)]
    roots, fan = max(2, nodes // 5_000), 6
    ids = [f"N{i:06}" for i in range(nodes)]
    names = [" ".join(row) for row in rng.choice(words, (nodes, 8)).tolist()]
    edges = [(ids[(i - roots) // fan], ids[i]) for i in range(roots, nodes)]
    taxonomy = Taxonomy([Node(i, {"en": n}) for i, n in zip(ids, names, strict=True)], edges, id="made-up")
    leaves = np.flatnonzero(taxonomy.is_leaf)
    true = leaves[(len(leaves) * rng.random(documents) ** 3).astype(int)]
    parents = taxonomy.parents.indices[taxonomy.parents.indptr[true]]
    siblings = taxonomy.children.indices[taxonomy.children.indptr[parents]]
    predicted = np.where(rng.random(documents) < 0.3, siblings, true)
    T, P = (label_matrix(taxonomy, [[taxonomy.nodes[j]] for j in which.tolist()]) for which in (true, predicted))
    both = (T + P).tocsr().astype(np.float32)
    rows = np.repeat(np.arange(documents), np.diff(both.indptr))
    right = np.asarray(P[rows, both.indices]).ravel()
    sure = np.clip(
        0.3 + 0.4 * right + 0.1 * rng.random(documents)[rows] - 0.02 * taxonomy.levels[both.indices], 0.02, 1
    )
    S = csr_matrix((sure.astype(np.float32), both.indices, both.indptr), shape=both.shape)
    train = np.bincount(T.indices, minlength=nodes) // 2
    evaluation = evaluate(taxonomy, T, P, scores=S, violations=12, train_counts=train)
    return taxonomy, evaluation, diagnose(taxonomy, T, P, S, thresholds=[0.5] * taxonomy.depth, train_counts=train)


@pytest.fixture(scope="module")
def window():
    with browser.browser() as window:
        yield window


def shown(window: browser.Browser, path: Path, nodes: int) -> Taxonomy:
    """Write a page about so many nodes, open it, and return its taxonomy."""
    taxonomy, evaluation, diagnostics = made_up(nodes)
    page = html_report(evaluation, taxonomy, diagnostics, title=f"About {nodes} nodes")
    path.write_text(page, encoding="utf-8")
    window.media()
    window.resize(1200)
    window.open(path)
    return taxonomy


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("nodes", [37, 95_676])
def test_the_page_opens_small_and_fast_and_works(window, tmp_path, nodes):
    taxonomy = shown(window, tmp_path / "out.html", nodes)
    assert (tmp_path / "out.html").stat().st_size < 5_000_000
    assert float(window.run("return document.documentElement.dataset.ready")) < 3_000  # milliseconds since opening
    assert window.run("return document.title") == f"About {nodes} nodes"
    headings = window.texts("h2")
    assert headings[:4] == ["Summary", "Taxonomy", "Levels", "Risk and coverage"]
    assert headings[-1] == "How to reproduce"
    assert len(window.texts("#levels tbody tr")) == taxonomy.depth
    for chart in ("#risk-chart", "#sweep-chart", "#reliability-1"):
        assert window.run(f"return document.querySelectorAll('{chart} .line').length") >= 1, chart
    assert 0 < window.run("return document.querySelectorAll('#map .cell').length") < 4_000

    # a click zooms in, a crumb zooms out, the keyboard does both
    assert window.texts("#crumbs button") == ["All nodes"]
    before = window.texts("#map .cell[data-node]")
    window.click("#map .cell[data-node]")
    assert len(window.texts("#crumbs button")) == 2
    assert window.texts("#map .cell[data-node]") != before
    window.click("#crumbs button")
    assert window.texts("#map .cell[data-node]") == before
    window.keys("#map .cell[tabindex='0']", RIGHT + ENTER)
    assert len(window.texts("#crumbs button")) >= 2
    window.keys("#map .cell[tabindex='0']", ESCAPE)
    window.click("[data-shape=sunburst]")
    window.click("#crumbs button")
    assert window.run("return document.querySelectorAll('#map path').length") > 2
    window.press("#map .cell[data-node] text")  # a label lies on its arc; the middle of a wide arc does not
    assert len(window.texts("#crumbs button")) == 2
    window.click("[data-size=nodes]")

    # the table is rendered lazily, sorted and searched
    assert 0 < len(window.texts("#nodes-body tr")) <= 200
    wanted = taxonomy.nodes[-1]
    window.keys("#find", wanted)
    window.wait(f"return document.querySelector('#nodes-body .id').textContent === '{wanted}'")
    assert window.texts("#nodes-count") == ["1 node"]
    assert window.complaints() == []


@needs_chromium
@pytest.mark.slow
def test_the_table_sorts_and_filters(window, tmp_path):
    shown(window, tmp_path / "out.html", 400)
    column = "[...document.querySelectorAll('#nodes-body tr')].map((row) => parseFloat(row.cells[4].textContent))"
    worst = window.run(f"return {column}")
    assert worst == sorted(worst)
    window.click("[data-order=best]")
    best = window.run(f"return {column}")
    assert best == sorted(best, reverse=True)
    assert best[0] >= worst[0]
    window.click("[data-key=support]")
    support = [float(text.replace(",", "")) for text in window.texts("#nodes-body td:nth-child(7)")]
    assert support == sorted(support, reverse=True)
    window.run("const s = document.getElementById('scope'); s.value = 'all'; s.dispatchEvent(new Event('change'))")
    assert window.texts("#nodes-count") == ["400 nodes"]
    assert window.complaints() == []


@needs_chromium
@pytest.mark.slow
def test_light_dark_and_paper(window, tmp_path):
    shown(window, tmp_path / "out.html", 37)
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = window.run(paper)
    window.media(scheme="dark")
    dark = window.run(paper)
    assert (brightness(light), brightness(dark)) == (pytest.approx(255), pytest.approx(22, abs=20))
    window.click("#theme")
    assert window.run(paper) == light
    window.click("#theme")
    assert window.run(paper) == dark
    window.media(scheme="dark", kind="print")  # paper is white whatever the screen is
    assert window.run(paper) == light
    assert window.run("return getComputedStyle(document.querySelector('.tools')).display") == "none"
    window.media()
    pdf = window.pdf()
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 15
    assert window.complaints() == []


def brightness(colour: str) -> float:
    return float(np.mean([float(x) for x in re.findall(r"[\d.]+", colour)[:3]]))


@needs_chromium
@pytest.mark.slow
def test_nothing_is_wider_than_a_phone(window, tmp_path):
    shown(window, tmp_path / "out.html", 37)
    window.resize(360)
    time.sleep(0.3)  # what is drawn anew on a new width
    assert window.run("return document.documentElement.scrollWidth") <= 360
    assert window.complaints() == []


@needs_chromium
@pytest.mark.slow
def test_names_that_look_like_markup_do_nothing_in_a_browser(window, tmp_path):
    evil = "</script><img src=x onerror=\"document.title='owned'\"><b>"
    taxonomy = Taxonomy([Node("a", {"en": evil}), Node("b", {"en": evil})], [("a", "b")], title=evil)
    T = label_matrix(taxonomy, [["b"]] * 20)
    e, d = evaluate(taxonomy, T, T), diagnose(taxonomy, T, T)
    page = html_report(e, taxonomy, d, title="safe", examples=[Example("1", evil, ["b"], ["b"])], verdict=evil)
    (tmp_path / "out.html").write_text(page, encoding="utf-8")
    window.open(tmp_path / "out.html")
    window.click("#map .cell[data-node]")
    assert window.run("return document.title") == "safe"
    assert window.run("return document.querySelectorAll('img, main b:not(.tile b)').length") == 0
    assert evil in window.texts("#crumbs button")
    assert window.complaints() == []
