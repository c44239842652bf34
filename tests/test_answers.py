"""Predictions as the rules of a taxonomy leave them: flagged, repaired, or as they were chosen."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dags import dags_with_labels
from hypothesis import given
from hypothesis import strategies as st

from hclf.answers import Answers, Rules
from hclf.classifier import HierarchicalClassifier
from hclf.cli import main
from hclf.data import Document, Prediction, read_predictions, write_predictions
from hclf.errors import UsageError
from hclf.labels import label_matrix, label_sets, most_specific
from hclf.rules import KINDS, RuleBook
from hclf.taxonomy import Node, Rule, Taxonomy

NODES = [
    Node("ill", assignable=False),
    Node("flu"),
    Node("cold", valid_to=dt.date(2020, 1, 1)),
    Node("burn", assignable=False),
    Node("burn1"),
    Node("burn2"),
    Node("cause"),
]
EDGES = [("ill", "flu"), ("ill", "cold"), ("ill", "burn"), ("burn", "burn1"), ("burn", "burn2")]
SOFT = [Rule("excludes", "flu", ("cold",), note="never both", source="excludes1 note")]
HARD = [Rule("excludes", "flu", ("cold",), strength="hard"), Rule("requires", "burn", ("cause",), strength="hard")]


def taxonomy(*rules: Rule) -> Taxonomy:
    return Taxonomy(NODES, EDGES, rules=rules)


def scores_of(tree: Taxonomy, **scores: float) -> np.ndarray:
    row = np.zeros((1, len(tree)), dtype=np.float32)
    for node, score in scores.items():
        row[0, tree.index(node)] = score
    return tree.coherent(row)


def answer(
    tree: Taxonomy, labels: list[str], scores: dict[str, float] | None = None, counts: Any = None, **rules: Any
) -> Prediction:
    """The prediction for one document with these labels."""
    row = scores_of(tree, **(scores or dict.fromkeys(labels, 0.5)))
    counts = np.ones(len(tree), dtype=np.int64) if counts is None else counts
    answers = Answers(tree, counts, Rules(tree, **rules))
    (found,) = answers.predictions([Document("1", {"text": "x"})], [{"text": "x"}], row, label_matrix(tree, [labels]))
    return found


# -- rules -------------------------------------------------------------------------------------------------------


def test_findings_are_told_where_there_are_rules() -> None:
    found = answer(taxonomy(*SOFT), ["flu", "cold"])
    (finding,) = found.to_dict()["findings"]
    assert finding["kind"] == "excluded-pair"
    assert {finding["node"], finding["other"]} == {"flu", "cold"}
    assert "excludes1 note" in finding["message"]
    assert found.flags == ()
    assert found.leaves == ("cold", "flu")


@pytest.mark.parametrize(
    ("rules", "options", "kinds"),
    [
        (SOFT, {}, ["excluded-pair"]),
        (SOFT, {"mode": "off"}, []),
        ((), {}, []),
        ((), {"mode": "flag"}, []),
        ((), {"as_of": "2024-05-01"}, ["retired"]),
        ((), {"as_of": dt.date(2019, 1, 1)}, []),
        (SOFT, {"as_of": "2024-05-01", "mode": "off"}, []),
        (SOFT, {"mode": "repair", "as_of": "2024-05-01"}, ["retired", "excluded-pair"]),
    ],
)
def test_when_something_is_asked(rules: Any, options: dict[str, Any], kinds: list[str]) -> None:
    found = answer(taxonomy(*rules), ["flu", "cold"], **options)
    assert [finding["kind"] for finding in found.findings] == kinds
    assert [node.id for node in found.labels] == ["ill", "cold", "flu"]


def test_repair_does_what_hard_rules_say_and_says_so() -> None:
    tree = taxonomy(*HARD)
    found = answer(
        tree, ["flu", "cold", "burn1"], {"flu": 0.6, "cold": 0.5, "burn1": 0.7, "cause": 0.1}, mode="repair"
    )
    assert set(found.leaves) == {"flu", "burn1", "cause"}
    assert [node.id for node in found.labels] == list(tree.closure(found.leaves))
    assert {node.id: round(node.score, 3) for node in found.labels}["cause"] == 0.1
    assert found.flags == ("repaired",)
    assert {finding.get("action") for finding in found.findings} == {"dropped", "added"}


@given(dags_with_labels(rows=4), st.sampled_from(["flag", "repair"]), st.randoms())
def test_answers_stay_closed_and_findings_are_those_of_the_rules(case: Any, mode: Any, random: Any) -> None:
    dag, sets = case
    plain = dag.taxonomy
    ids = list(plain.nodes)
    rules = []
    for _ in range(4 if len(ids) > 2 else 0):
        a, b = random.sample(ids, 2)
        if b not in plain.closure([a]) and a not in plain.closure([b]):
            kind = random.choice(["excludes", "requires", "code_first"])
            rules.append(Rule(kind, a, (b,), strength=random.choice(["soft", "hard"])))
    nodes = [Node(node, assignable=random.random() < 0.7) for node in ids]
    tree = Taxonomy(nodes, list(plain.edges()), rules=rules)
    Y = label_matrix(tree, sets)
    scores = tree.coherent(np.array([[random.random() for _ in ids] for _ in sets], dtype=np.float32))
    answers = Answers(tree, np.ones(len(tree), dtype=np.int64), Rules(tree, mode))
    documents = [Document(str(i), {"text": "x"}) for i in range(len(sets))]
    chosen = label_sets(tree, most_specific(tree, Y))
    book = RuleBook(tree)
    for i, found in enumerate(answers.predictions(documents, [d.fields for d in documents], scores, Y)):
        labels = [node.id for node in found.labels]
        assert labels == list(tree.closure(found.leaves))
        assert set(tree.most_specific(labels)) == set(found.leaves)
        assert all(finding["kind"] in KINDS for finding in found.findings)
        if mode == "flag":
            assert set(found.leaves) == set(chosen[i])
            assert [f["message"] for f in found.findings] == [f.message for f in book.check(chosen[i])]
        assert ("repaired" in found.flags) == (set(found.leaves) != set(chosen[i]))


def test_what_is_repaired_may_be_a_cold_start() -> None:
    tree = taxonomy(*HARD)
    counts = np.ones(len(tree), dtype=np.int64)
    counts[tree.index("cause")] = 0
    assert answer(tree, ["burn1"], counts=counts, mode="repair").flags == ("cold-start", "repaired")
    assert answer(tree, ["burn1"], counts=counts, mode="flag").flags == ()


def test_nothing_said_about_no_labels() -> None:
    assert answer(taxonomy(*HARD), [], mode="repair", assignable=True) == Prediction("1")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "fix"}, "rules is flag or repair or off, not 'fix'"), ({"as_of": "May 1"}, "not a date; write YYYY")],
)
def test_what_cannot_be_asked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Rules(taxonomy(), **options)


# -- assignable only ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["off", "flag", "repair", None])
def test_a_label_that_cannot_be_assigned_gives_way_to_the_child_that_leads(mode: Any) -> None:
    tree = taxonomy()
    found = answer(tree, ["burn", "flu"], {"burn1": 0.3, "burn2": 0.05, "flu": 0.9}, mode=mode, assignable=True)
    assert set(found.leaves) == {"burn1", "flu"}
    assert found.flags == ("repaired",)
    assert [(f["kind"], f["action"], f["other"]) for f in found.findings] == [("not-assignable", "replaced", "burn1")]


@pytest.mark.parametrize("mode", ["off", "flag", "repair"])
def test_where_no_child_leads_it_stays_and_is_found(mode: Any) -> None:
    found = answer(taxonomy(), ["burn"], {"burn1": 0.3, "burn2": 0.25}, mode=mode, assignable=True)
    assert found.leaves == ("burn",)
    assert found.flags == ()
    assert [f["kind"] for f in found.findings] == ["not-assignable"]


def test_descending_touches_nothing_else() -> None:
    """Other hard rules are only pointed out."""
    scores = {"burn1": 0.6, "flu": 0.5, "cold": 0.4}
    found = answer(taxonomy(*HARD), ["burn", "flu", "cold"], scores, mode="flag", assignable=True)
    assert set(found.leaves) == {"burn1", "flu", "cold"}
    assert [f["kind"] for f in found.findings] == ["not-assignable", "excluded-pair", "missing-companion"]


# -- there and back, and from the command line -------------------------------------------------------------------


def test_findings_are_in_json_lines_and_are_read_back() -> None:
    found = answer(taxonomy(*SOFT), ["flu", "cold"])
    stream = io.StringIO()
    write_predictions(stream, [found, Prediction("2")])
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["findings"] == [dict(finding) for finding in found.findings]
    assert "findings" not in second
    stream.seek(0)
    assert [p.findings for p in read_predictions(stream, format="jsonl")] == [found.findings, ()]
    assert found.deepest().findings == found.findings


def test_findings_that_are_none_are_refused() -> None:
    stream = io.StringIO('{"id": "1", "labels": [], "findings": "x"}\n{"id": "2", "labels": [], "findings": [1]}\n')
    assert list(read_predictions(stream, format="jsonl")) == []


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers break a rule: texts about both illnesses that never stand together."""
    folder = tmp_path_factory.mktemp("clinic")
    texts = {"flu": "fever shivers", "cold": "sneezes cough", "burn1": "fire hot"}
    X = [f"{text} no {i}" for i in range(8) for text in texts.values()] + [f"fever sneezes {i}" for i in range(8)]
    y = [[node] for _ in range(8) for node in texts] + [["flu", "cold"]] * 8
    tree = taxonomy(*SOFT, Rule("requires", "burn", ("cause",), strength="hard"))
    HierarchicalClassifier(taxonomy=tree, n_jobs=1, thresholds=0.3, decoder="threshold").fit(X, y).save(folder / "m")
    rows = [{"id": str(i), "text": text} for i, text in enumerate(["fever shivers sneezes cough", "fire hot"])]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def predicted(clinic: Path, *arguments: object, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in ("predict", clinic / "m", clinic / "in.jsonl", *arguments)])
    assert done.value.code == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def kinds(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [[finding["kind"] for finding in row.get("findings", [])] for row in rows]


def test_predict_asks_the_rules(clinic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flagged = predicted(clinic, capsys=capsys)
    assert kinds(flagged) == [["excluded-pair"], ["missing-companion"]]
    assert predicted(clinic, "--rules", "flag", capsys=capsys) == flagged
    assert kinds(predicted(clinic, "--rules", "off", capsys=capsys)) == [[], []]
    dated = predicted(clinic, "--as-of", "2024-01-01", capsys=capsys)
    assert kinds(dated) == [["retired", "excluded-pair"], ["missing-companion"]]
    repaired = predicted(clinic, "--rules", "repair", capsys=capsys)
    assert repaired[1]["leaves"] == ["burn1", "cause"]
    assert [row["flags"] for row in repaired] == [[], ["cold-start", "repaired"]]
    assert [node["id"] for node in repaired[1]["labels"]] == ["cause", "ill", "burn", "burn1"]


def test_predict_says_how_many_findings_there_are(clinic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mode, repaired in (("flag", 0), ("repair", 1)):
        with pytest.raises(SystemExit):
            main(["predict", str(clinic / "m"), str(clinic / "in.jsonl"), "--rules", mode])
        said = capsys.readouterr().err
        assert f"rules object to 2 answers, as their findings say; {repaired} were repaired" in said
    with pytest.raises(SystemExit):
        main(["predict", str(clinic / "m"), str(clinic / "in.jsonl"), "--show", "1"])
    assert "! cold does not go with flu" in capsys.readouterr().out.replace(
        "flu does not go with cold", "cold does not go with flu"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rules", "mend"), "rules is flag or repair or off, not 'mend'"),
        (("--as-of", "soon"), "'soon' is not a date; write YYYY-MM-DD"),
        (("--auto-precision", "0.9", "-o", "x", "--rules", "repair"), "--auto-precision goes with none of"),
        (("--auto-precision", "0.9", "-o", "x", "--assignable"), "--auto-precision goes with none of"),
    ],
)
def test_predict_refuses_what_cannot_be(
    arguments: tuple[str, ...], message: str, clinic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["predict", str(clinic / "m"), str(clinic / "in.jsonl"), *arguments])
    assert done.value.code == 2
    assert message in capsys.readouterr().err


def test_in_python_too(clinic: Path) -> None:
    model = HierarchicalClassifier.load(clinic / "m")
    documents = [Document("1", {"text": "fire hot"})]
    (found,) = model.predict_documents(documents, rules="repair")
    assert found.leaves == ("burn1", "cause")
    with pytest.raises(UsageError, match="rules is flag"):
        model.predict_documents(documents, rules="mend")  # type: ignore[arg-type]
    model.tune(["fire hot", "fever shivers"] * 30, [["burn1"], ["flu"]] * 30, goal="precision>=0.5", confidence=0.5)
    ((_, found),) = model.triage(documents, 0.5)
    assert [finding["kind"] for finding in found.findings] in (["missing-companion"], [])
    with pytest.raises(UsageError, match="rules is flag or off"):
        model.triage(documents, 0.5, rules="repair")  # type: ignore[arg-type]
