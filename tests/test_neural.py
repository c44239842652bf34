"""The neural scorer: what it learns, what it promises of scores, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from neural_problems import Problem, label_sets, numbers, texts, vocabulary
from scipy.sparse import csr_matrix
from tiny_models import tiny_bert

from hclf.classifier import HierarchicalClassifier
from hclf.errors import DataError, HclfError, UsageError
from hclf.labels import label_matrix, most_specific
from hclf.labels import label_sets as label_sets_of
from hclf.metrics import hierarchical_precision_recall_f1
from hclf.scorers.neural.network import Network
from hclf.scorers.neural.scorer import NeuralScorer, balanced, plain_taxonomy, trained_columns
from hclf.taxonomy import Taxonomy

QUICK: dict[str, Any] = {"hidden": 16, "layers": 1, "epochs": 3, "batch_size": 16}
OTHER_HEADS = ("max_constraint", "conditional", "label_attention", "native")
TEXT: dict[str, Any] = {"encoder_learning_rate": 5e-3, "learning_rate": 2e-2, "epochs": 8, "batch_size": 8}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_bert(tmp_path_factory.mktemp("models") / "bert", texts=vocabulary()))


@pytest.fixture(scope="module")
def of_numbers() -> NeuralScorer:
    return numbers().fit(**QUICK)


@pytest.fixture(scope="module")
def of_texts(bert: str) -> NeuralScorer:
    return texts().fit(encoder=bert, **TEXT)


def hf(scorer: NeuralScorer, problem: Problem) -> float:
    """Of nodes that are more likely than not."""
    found = np.zeros(problem.Y.shape)
    found[:, scorer.columns] = scorer.score(problem.inputs).channels[0]
    coherent = problem.taxonomy.coherent(np.where(found == 0, -9, found))
    return hierarchical_precision_recall_f1(problem.Y, csr_matrix(coherent > 0)).f1


def through_json(scorer: NeuralScorer) -> NeuralScorer:
    config, arrays = scorer.get_state()
    assert all(array.dtype != object for array in arrays.values())
    return NeuralScorer.from_state(json.loads(json.dumps(config)), arrays)


def same(a: NeuralScorer, b: NeuralScorer, inputs: Any) -> bool:
    return a.score(inputs).channels.tobytes() == b.score(inputs).channels.tobytes()


# -- it learns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["flat", "max_constraint", "conditional"])
def test_it_learns_from_numbers(head: str) -> None:
    scorer = numbers(200).fit(head=head, hidden=64, layers=1, epochs=20, batch_size=32, learning_rate=1e-2)
    assert hf(scorer, numbers(100, seed=5)) > 0.97


@pytest.mark.parametrize("head", ["flat", *(pytest.param(head, marks=pytest.mark.slow) for head in OTHER_HEADS)])
def test_it_learns_from_texts(head: str, bert: str) -> None:
    more = {"epochs": 20} if head != "flat" else {}
    scorer = texts(120).fit(encoder=bert, head=head, **TEXT | more, patience=20)
    assert hf(scorer, texts(60, seed=5)) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["frozen", "lora"])
def test_a_model_that_learns_little_or_nothing_serves_as_well(tune: str, bert: str) -> None:
    if tune == "lora":
        pytest.importorskip("peft")
    options = {**TEXT, "epochs": 60 if tune == "frozen" else 15, "patience": 60}
    scorer = texts(150).fit(encoder=bert, tune=tune, **options)
    assert hf(scorer, texts(60, seed=5)) > (0.8 if tune == "frozen" else 0.95)  # what it is frozen at is random
    assert scorer.report["trained_parameters"] < scorer.report["parameters"]


def test_several_members_are_several_networks() -> None:
    one, three = (numbers().fit(**QUICK, n_members=n) for n in (1, 3))
    assert three.report["parameters"] == 3 * one.report["parameters"]
    drawn = numbers().fit(**QUICK, n_members=3, bootstrap=True)
    assert not same(three, drawn, numbers().inputs)
    options = {"hidden": 32, "layers": 1, "epochs": 15, "learning_rate": 1e-2}
    assert hf(numbers(200).fit(**options, n_members=3, bootstrap=True), numbers(60, seed=5)) > 0.97


def test_a_frozen_model_reads_every_document_once(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hclf.scorers.neural.transformer import TransformerEncoder

    read = []
    forward = TransformerEncoder.forward

    def counted(self: Any, batch: Any, **options: Any) -> Any:
        read.append(len(batch.ids))
        return forward(self, batch, **options)

    monkeypatch.setattr(TransformerEncoder, "forward", counted)
    texts().fit(encoder=bert, tune="frozen", **TEXT)
    assert sum(read) == 80


def test_what_a_document_does_not_say_is_no_negative() -> None:
    """Documents like `cork` that are labelled `plants`, and nothing more."""
    problem = numbers(200, shallow=0.0)
    known = label_sets(200, 0, 0.0)
    hidden = [["plants"] if "cork" in s and i % 4 else s for i, s in enumerate(known)]
    fewer = problem._replace(Y=label_matrix(problem.taxonomy, hidden))
    options: dict[str, Any] = {"hidden": 64, "layers": 1, "epochs": 20, "learning_rate": 1e-2}
    masked, shown = (fewer.fit(unknown=unknown, **options) for unknown in (fewer.unknown, None))
    cork = masked.columns.tolist().index(problem.taxonomy.index("cork"))
    of_cork = np.array(["cork" in s for s in known])
    mean = [scorer.score(problem.inputs).channels[0, of_cork, cork].mean() for scorer in (masked, shown)]
    assert mean[0] > mean[1] + 1
    nothing = csr_matrix(fewer.Y.shape, dtype=bool)
    assert same(fewer.fit(unknown=nothing, **QUICK), fewer.fit(**QUICK), problem.inputs)


@pytest.mark.parametrize("kind", ["dense", "sparse", "missing"])
def test_matrices_may_be_sparse_or_have_gaps(kind: str) -> None:
    rng = np.random.default_rng(0)
    centres, node = rng.normal(size=(3, 12)) * 3, rng.integers(3, size=100)
    X = centres[node] + rng.normal(size=(100, 12))
    if kind == "sparse":
        X[np.abs(X) < 3] = 0
    if kind == "missing":
        X[rng.random(X.shape) < 0.15] = np.nan
    taxonomy = Taxonomy("abc")
    Y = label_matrix(taxonomy, [["abc"[j]] for j in node[:60]])
    quick: dict[str, Any] = {"hidden": 32, "layers": 1, "epochs": 25, "batch_size": 8, "learning_rate": 1e-2}
    scorer = NeuralScorer(**quick).fit(csr_matrix(X[:60]), Y, taxonomy=taxonomy)
    assert (scorer.score(csr_matrix(X[60:])).channels[0].argmax(axis=1) == node[60:]).mean() >= 0.9


# -- what it promises ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_a_saved_scorer_scores_bit_for_bit_the_same(kind: str, request: pytest.FixtureRequest) -> None:
    scorer, inputs = request.getfixturevalue(f"of_{kind}"), {"numbers": numbers, "texts": texts}[kind](30, 3).inputs
    again = through_json(scorer)
    assert same(again, scorer, inputs)
    assert same(through_json(again), scorer, inputs)
    assert again.columns.tolist() == scorer.columns.tolist()
    assert again.report == scorer.report


@pytest.mark.parametrize("head", OTHER_HEADS)
def test_every_head_can_be_saved(head: str, bert: str) -> None:
    scorer = texts(40).fit(encoder=bert, head=head, epochs=1)
    assert same(through_json(scorer), scorer, texts(9).inputs)


def test_scores_are_finite_numbers_of_every_trained_node(of_numbers: NeuralScorer) -> None:
    problem = numbers()
    channels = of_numbers.score(problem.inputs).channels
    assert of_numbers.columns.tolist() == np.flatnonzero(problem.Y.toarray().any(axis=0)).tolist()
    assert (channels.shape, channels.dtype) == ((1, 80, len(of_numbers.columns)), np.float32)
    assert np.isfinite(channels).all()
    assert of_numbers.score(problem.inputs[:0]).channels.shape == (1, 0, len(of_numbers.columns))


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_a_document_scores_alone_as_among_others(kind: str, request: pytest.FixtureRequest) -> None:
    scorer, inputs = request.getfixturevalue(f"of_{kind}"), {"numbers": numbers, "texts": texts}[kind](30, 3).inputs
    together = scorer.score(inputs).channels
    for i in range(30):
        np.testing.assert_allclose(scorer.score(inputs[i : i + 1]).channels[:, 0], together[:, i], atol=1e-5)


def test_odd_documents_are_scored(of_texts: NeuralScorer) -> None:
    odd = [{"text": ""}, {}, {"text": "\ud800 half"}, {"text": "green " * 300}, {"other": "🐈"}]
    assert np.isfinite(of_texts.score(odd).channels).all()
    assert of_texts.score([]).channels.shape[1] == 0


def test_same_seed_same_result() -> None:
    problem = numbers()
    a, b, other = (problem.fit(**QUICK, seed=seed) for seed in (3, 3, 4))
    assert same(a, b, problem.inputs)
    assert not same(a, other, problem.inputs)


def test_a_fit_leaves_the_program_as_it_was(bert: str) -> None:
    torch.manual_seed(5)
    kinds = (AcceleratorState, GradientState, PartialState)
    before = torch.get_rng_state(), [dict(kind._shared_state) for kind in kinds], torch.get_num_threads()
    numbers().fit(**QUICK)
    texts(20).fit(encoder=bert, epochs=1, precision="bf16")  # another precision: accelerate would refuse
    numbers().fit(**QUICK)
    after = torch.get_rng_state(), [dict(kind._shared_state) for kind in kinds], torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("documents", [1, 2])
def test_one_document_is_enough(documents: int) -> None:
    taxonomy = Taxonomy(["a"])
    X = csr_matrix(np.ones((documents, 3)))
    scorer = NeuralScorer(epochs=2).fit(X, label_matrix(taxonomy, [["a"]] * documents), taxonomy=taxonomy)
    assert np.isfinite(scorer.score(csr_matrix(np.zeros((1, 3)))).channels).all()


def test_long_documents_are_counted(bert: str) -> None:
    problem = texts(20)
    problem.inputs[3]["text"] = "green acorn " * 100
    for tune in ("full", "frozen"):
        assert problem.fit(encoder=bert, tune=tune, epochs=1).report["long_documents"] == 1


def test_codes_are_no_amounts() -> None:
    """Codes 0 and 2 are one node, 1 the other: no line through the codes tells them apart."""
    taxonomy = Taxonomy(["even", "odd"])
    codes = np.random.default_rng(0).integers(0, 3, 120)
    X, y = csr_matrix(np.column_stack([codes + 5.0])), [["odd" if code == 1 else "even"] for code in codes]
    scorer = NeuralScorer(nominal=[0], layers=0, epochs=60, validation=0, learning_rate=0.05).fit(
        X, label_matrix(taxonomy, y), taxonomy=taxonomy
    )
    found = scorer.score(X).channels[0].argmax(axis=1)
    assert [["even", "odd"][j] for j in found] == [labels[0] for labels in y]


def test_what_validated_is_learned_too_once_the_epoch_is_known() -> None:
    """The last training ends after the best epoch, as one without validation that is told to."""
    problem = numbers(80)
    again, once = (problem.fit(epochs=4, retrain=retrain) for retrain in (None, False))
    assert (again.report["training_documents"], once.report["training_documents"]) == (80, 72)
    assert again.report["best_epoch"] == once.report["best_epoch"]
    probe = problem.inputs[:5]
    assert not np.array_equal(again.score(probe).channels, once.score(probe).channels)
    if again.report["best_epoch"] == 4:
        whole = problem.fit(epochs=4, validation=0)
        assert np.array_equal(again.score(probe).channels, whole.score(probe).channels)


def test_an_epoch_once_found_is_not_searched_again() -> None:
    """Training on all documents up to it is what the search itself would have ended with."""
    problem = numbers(80)
    whole = problem.fit(**QUICK)
    first, second = NeuralScorer(**QUICK), NeuralScorer(**QUICK)
    first.begin_with({}, kept=False)
    first.fit(problem.inputs, problem.Y, taxonomy=problem.taxonomy)
    assert first.report["training_documents"] == 72
    second.begin_with(first.findings, kept=True)
    second.fit(problem.inputs, problem.Y, taxonomy=problem.taxonomy)
    assert (second.report["training_documents"], second.report["validation_documents"]) == (80, 0)
    assert first.findings == second.findings == whole.findings
    assert same(second, whole, problem.inputs)


def test_an_epoch_that_does_not_last_is_searched_again(bert: str) -> None:
    problem = texts(60)
    scorer = NeuralScorer(encoder=bert, epochs=1)
    scorer.begin_with({"epochs": 9, "best_epoch": 7}, kept=False)
    scorer.fit(problem.inputs, problem.Y, taxonomy=problem.taxonomy)
    assert (scorer.report["epochs"], scorer.report["validation_documents"], scorer.findings) == (1, 6, {})


def test_an_encoder_that_learns_is_not_trained_again(bert: str) -> None:
    assert texts(60).fit(encoder=bert, epochs=1).report["training_documents"] == 54
    with pytest.raises(UsageError, match="retrain is for networks whose encoder does not learn"):
        texts(60).fit(encoder=bert, epochs=1, retrain=True)


def test_the_report_says_what_happened(of_numbers: NeuralScorer) -> None:
    report = of_numbers.report
    assert (report["epochs"], report["training_documents"], report["validation_documents"]) == (3, 80, 8)
    assert 1 <= report["best_epoch"] <= 3
    assert 0 <= report["validation_hf"] <= 1
    assert (report["device"], report["precision"], report["head"]) == ("cpu", "fp32", "max_constraint")
    assert len(report["losses"]) == 3
    assert json.loads(json.dumps(report)) == report


def test_a_classifier_trains_saves_and_loads_it(tmp_path: Path) -> None:
    train, test = numbers(120, shallow=0.2), numbers(60, seed=7)
    given, true = (label_sets_of(p.taxonomy, most_specific(p.taxonomy, p.Y)) for p in (train, test))
    options = {"hidden": 32, "layers": 1, "epochs": 12, "learning_rate": 1e-2}
    model = HierarchicalClassifier(taxonomy=train.taxonomy, scorer="neural", scorer_options=options)
    model.fit(train.inputs, given)
    assert model.score(test.inputs, true) > 0.9
    model.save(tmp_path / "model")
    again = HierarchicalClassifier.load(tmp_path / "model")
    assert (again.predict_proba(test.inputs) != model.predict_proba(test.inputs)).sum() == 0


def test_labels_that_are_not_closed_get_a_flat_head() -> None:
    problem = numbers()
    bare = problem._replace(Y=most_specific(problem.taxonomy, problem.Y))
    scorer = bare.fit(**QUICK)
    assert scorer.report["head"] == "flat"
    assert scorer.columns.tolist() == trained_columns(problem.taxonomy, problem.Y).tolist()


def test_rare_nodes_can_weigh_more() -> None:
    Y = csr_matrix(np.array([[1, 1, 0]] * 1 + [[1, 0, 0]] * 3 + [[0, 0, 1]] * 96, dtype=bool))
    hidden = csr_matrix(np.array([[0, 0, 0]] * 50 + [[0, 1, 0]] * 50, dtype=bool))
    assert balanced(Y, None).tolist() == [20, 20, 1]
    np.testing.assert_allclose(balanced(Y[:10], hidden[45:55]), [1.5, 4, 1], atol=0.01)
    a, b = (numbers().fit(**QUICK, class_weights=weights) for weights in ("none", "balanced"))
    assert b.score(numbers().inputs).channels.mean() > a.score(numbers().inputs).channels.mean()


def test_numbered_nodes_keep_the_order_of_their_numbers() -> None:
    edges = np.array([[0, 0, 1, 2], [2, 3, 3, 4]])
    taxonomy = plain_taxonomy(5, edges)
    assert [int(node) for node in taxonomy.nodes] == list(range(5))


def test_progress_sees_loss_and_hf() -> None:
    told: list[tuple[str, int]] = []
    seen: list[str] = []

    def progress(items: Any, what: str, total: int) -> Any:
        told.append((what, total))
        for item in items:
            seen.append(item.note)
            yield item

    numbers().fit(**QUICK, retrain=False, progress=progress)
    assert told == [("training", 15)]
    assert len(seen) == 15
    assert seen[0].startswith("epoch 1/3, loss ")
    assert "hF" in seen[-1]


# -- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "max_constrain"}, "head is .* not 'max_constrain'; did you mean 'max_constraint'"),
        ({"loss": "bces"}, "loss is bce, asymmetric or focal, not 'bces'; did you mean 'bce'"),
        ({"pooling": "means"}, "did you mean 'mean'"),
        ({"tune": "frosen"}, "did you mean 'frozen'"),
        ({"precision": "fp16"}, "precision is auto, fp32 or bf16, not 'fp16'"),
        ({"norm": "batch"}, "norm is none or layer, not 'batch'"),
        ({"epochs": 0}, "epochs is at least 1, not 0"),
        ({"dropout": 1.0}, "dropout is below 1, not 1.0"),
        ({"batch_size": "many"}, "batch_size is at least 1, not 'many'"),
        ({"learning_rate": float("nan")}, "learning_rate is at least 0, not nan"),
        ({"resume": True}, "resume needs the folder"),
        ({"bootstrap": True}, "bootstrap is for several members"),
        ({"head": ["flat"]}, "head is "),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        NeuralScorer(**options)


def test_texts_need_a_model_and_matrices_none(bert: str) -> None:
    with pytest.raises(UsageError, match="give --encoder FOLDER_OR_NAME"):
        texts(9).fit()
    with pytest.raises(UsageError, match="a feature matrix takes encoder 'features'"):
        numbers(9).fit(encoder=bert)
    with pytest.raises(UsageError, match="no such folder"):
        texts(9).fit(encoder=f"{bert}-2")
    with pytest.raises(UsageError, match="stands on the encoder itself"):
        texts(9).fit(encoder=bert, head="label_attention", layers=1)
    with pytest.raises(DataError, match="word"):
        texts(2)._replace(inputs=[{"text": " "}, {}]).fit(encoder=bert)


def test_scoring_refuses_other_inputs(of_numbers: NeuralScorer, of_texts: NeuralScorer) -> None:
    with pytest.raises(UsageError, match="9 features"):
        of_numbers.score(numbers().inputs[:, :9])
    with pytest.raises(UsageError):
        of_numbers.score(texts(3).inputs)
    with pytest.raises(UsageError):
        of_texts.score(numbers(3).inputs)


def test_a_device_that_is_not_there_is_refused() -> None:
    for device in ("cuda:99", "nonsense"):
        with pytest.raises(UsageError, match="cannot be used"):
            numbers(9).fit(device=device)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_do(
    error: Exception, of_numbers: NeuralScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Network, batch: Any) -> None:
        raise error

    monkeypatch.setattr(Network, "forward", fail)
    for work in (lambda: numbers().fit(**QUICK), lambda: of_numbers.score(numbers(3).inputs)):
        with pytest.raises(HclfError, match="out of memory; try a smaller batch_size") as caught:
            work()
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is error


def test_other_errors_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Network, batch: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Network, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        numbers().fit(**QUICK)


def test_a_loss_that_is_no_number_ends_training() -> None:
    with pytest.raises(
        HclfError, match=r"went astray in epoch \d+: the loss is (inf|nan); try a smaller learning_rate"
    ):
        numbers().fit(**QUICK | {"epochs": 20}, learning_rate=1e30)
