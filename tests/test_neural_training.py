"""The training loop and its checkpoints: batches, passes, schedules, early stopping, interruption and resumption."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from neural_problems import Problem, numbers, texts, vocabulary
from safetensors import safe_open
from scipy.sparse import csr_matrix
from sklearn.metrics import average_precision_score
from tiny_models import tiny_bert

from hclf.errors import HclfError
from hclf.metrics import hierarchical_precision_recall_f1
from hclf.scorers.base import silent
from hclf.scorers.neural.checkpoint import Checkpoint, Kept
from hclf.scorers.neural.columns import ColumnEncoder
from hclf.scorers.neural.heads import make_head
from hclf.scorers.neural.hierarchy import Hierarchy
from hclf.scorers.neural.network import Network, accelerated, reproducible
from hclf.scorers.neural.scorer import NeuralScorer
from hclf.scorers.neural.training import (
    FINE,
    GRID,
    Examples,
    Moment,
    Recipe,
    Seen,
    Trainer,
    average_precision,
    best_hf,
    buckets,
    epoch_batches,
    interrupts_between_steps,
    weighted,
)
from hclf.scorers.neural.trunk import Trunk

RECIPE = Recipe(
    epochs=3,
    batch_size=16,
    learning_rate=1e-2,
    encoder_learning_rate=1e-3,
    weight_decay=1e-2,
    warmup=0.1,
    schedule="linear",
    clip=1.0,
    patience=5,
    choose_by="hf",
    pass_size=1000,
    recursive=0.0,
    seed=0,
)
QUICK: dict[str, Any] = {"hidden": 16, "layers": 1, "epochs": 4, "batch_size": 16, "retrain": False}


@pytest.fixture(scope="module", autouse=True)
def clean_accelerate() -> Iterator[None]:
    with accelerated("fp32", "cpu"):
        yield


@pytest.fixture
def ctrl_c() -> Iterator[Any]:
    """Ctrl-C as in a terminal; a test that runs in the background would not hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def trainer(problem: Problem, recipe: Recipe = RECIPE, *, hidden: bool = False, **options: Any) -> Trainer:
    """A small network without dropout; every eighth document validates."""
    with reproducible(0, torch.device("cpu")):
        encoder = ColumnEncoder.fit(problem.inputs)
        hierarchy = Hierarchy(problem.taxonomy, np.arange(len(problem.taxonomy)))
        members = options.pop("members", 1)
        trunk = Trunk(encoder.width, members=members, hidden=16, layers=1)
        head = make_head(options.pop("head", "max_constraint"), 16, hierarchy, members=members)
    unknown = problem.unknown if hidden else None
    examples = Examples(encoder.prepare(problem.inputs), problem.Y, unknown, **options)
    rows = np.arange(problem.Y.shape[0])
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    valid = rows % 8 == 0
    return Trainer(Network(encoder, trunk, head), examples, rows[~valid], rows[valid], recipe, accelerator)


def weights(of: Trainer) -> np.ndarray:
    return np.concatenate([tensor.double().numpy().ravel() for tensor in of.network.weights().values()])


# -- batches -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.integers(1, 40), st.integers(0, 9))
def test_an_epoch_has_every_row_once(sizes: list[int], batch_size: int, seed: int) -> None:
    rows = np.flatnonzero(np.arange(len(sizes)) % 3 != 1)
    batches = epoch_batches(rows, np.array(sizes), batch_size, (seed, 0))
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)
    again = epoch_batches(rows, np.array(sizes), batch_size, (seed, 0))
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))


def test_batches_are_of_similar_sizes_and_another_epoch_has_others() -> None:
    sizes = np.random.default_rng(0).integers(1, 1000, 640)
    rows = np.arange(640)
    first, second = (epoch_batches(rows, sizes, 32, (0, epoch)) for epoch in (0, 1))
    assert np.mean([np.ptp(sizes[batch]) for batch in first]) < 100  # of rows by chance about 940
    assert {frozenset(batch.tolist()) for batch in first} != {frozenset(batch.tolist()) for batch in second}
    assert [sizes[batch].max() for batch in first] != sorted(sizes[batch].max() for batch in first)


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 20))
def test_buckets_keep_the_order_and_the_limit(sizes: list[int], most: int) -> None:
    tensors = [torch.full((size,), float(i)) for i, size in enumerate(sizes)]
    found = list(buckets(tensors, most))
    assert [int(tensor[0]) for bucket in found for tensor in bucket] == list(range(len(sizes)))
    assert all(len(bucket) == 1 or sum(map(len, bucket)) <= most for bucket in found)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_learning_rate_climbs_and_falls(schedule: str) -> None:
    recipe = replace(RECIPE, schedule=schedule, warmup=0.2)
    rates = [recipe.rate(step, 50) for step in range(50)]
    assert (np.diff(rates[:11]) > 0).all()
    assert rates[10] == 1
    assert min(rates) > 0
    if schedule == "constant":
        assert set(rates[10:]) == {1.0}
    else:
        assert (np.diff(rates[10:]) < 0).all()
        assert rates[-1] < 0.05
    assert 0 < recipe.rate(0, 1) <= 1


# -- what a step learns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["flat", "max_constraint"])
@pytest.mark.parametrize("hidden", [False, True])
def test_many_small_passes_learn_what_one_does(head: str, hidden: bool) -> None:
    """Of partial-depth labels too, of which documents have different numbers of known pairs."""
    problem = numbers(shallow=0.5)
    one, many = (trainer(problem, replace(RECIPE, pass_size=size), head=head, hidden=hidden) for size in (1000, 3))
    for each in (one, many):
        each.run(silent)
    np.testing.assert_allclose(weights(one), weights(many), atol=2e-5)
    np.testing.assert_allclose(one.standing.history, many.standing.history, atol=1e-5)


def test_what_is_unknown_does_not_move_the_loss() -> None:
    """Nor any gradient, whatever the network says of it: here what it says is moved by a bias."""
    problem = numbers(shallow=1.0)  # every document has a parent, and what is below is unknown
    rows = np.arange(20)
    told = trainer(problem, hidden=True)
    bias = told.network.head.out.bias
    deepest = problem.taxonomy.index("cork")
    hidden = problem.unknown[rows].toarray()[:, deepest]
    assert hidden.any()
    some = rows[hidden]
    losses = []
    for value in (-3.0, 0.0, 3.0):
        with torch.no_grad():
            bias[0, deepest] = value
        told.optimizer.zero_grad()
        losses.append(float(told._losses(some)))
        assert bias.grad is not None
        assert bias.grad[0, deepest] == 0
    assert losses[0] == losses[1] == losses[2]
    shown = trainer(problem)
    shown._losses(some)
    assert shown.network.head.out.bias.grad[0, deepest] != 0  # type: ignore[index]


def test_a_document_that_counts_nothing_moves_nothing() -> None:
    raw = torch.randn(2, 3, 4, requires_grad=True)
    counts = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0]])
    assert torch.allclose(weighted(raw, counts), raw)
    weighted(raw, counts).square().sum().backward()
    assert raw.grad is not None
    assert torch.allclose(raw.grad, 2 * raw.detach() * counts[:, :, None])


def test_members_may_count_documents_differently() -> None:
    """What counts twice counts as a document that is there twice; what counts nothing, as one that is not."""
    problem = numbers(40)
    whole = trainer(problem, member_weights=np.array([[2.0, 0.0] * 20], dtype=np.float32))
    half = trainer(problem)
    rows = np.arange(40)
    for each, some in ((whole, rows), (half, rows[::2])):
        each.optimizer.zero_grad()
        each._losses(some)
    for a, b in zip(whole.network.parameters(), half.network.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-4)


def test_nodes_stay_near_their_parents_if_asked_to() -> None:
    problem = numbers()
    free, tied = (trainer(problem, replace(RECIPE, epochs=12, recursive=weight)) for weight in (0.0, 10.0))
    for each in (free, tied):
        each.run(silent)
    of_tied, of_free = (float(each.network.head.penalty().detach()) for each in (tied, free))
    assert of_tied < of_free / 2


# -- validation ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_hf_at_the_best_threshold_is_that_of_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.random((5, 6)) < 0.4, rng.random((5, 6)).astype(np.float32)
    passed = np.searchsorted(GRID, scores, side="right")
    predicted, both = (np.bincount(part, minlength=len(GRID) + 1) for part in (passed.ravel(), passed[truth]))
    slow = [hierarchical_precision_recall_f1(csr_matrix(truth), csr_matrix(scores >= t)).f1 for t in GRID]
    assert best_hf(int(truth.sum()), predicted, both) == pytest.approx(max(slow))


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_of_counts_is_that_of_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.random((50, 6)) < 0.3, rng.choice(FINE, (50, 6))
    passed = np.searchsorted(FINE, scores, side="right")
    predicted, both = (np.bincount(part, minlength=len(FINE) + 1) for part in (passed.ravel(), passed[truth]))
    slow = average_precision_score(truth, scores, average="micro")
    assert average_precision(int(truth.sum()), predicted, both) == pytest.approx(slow)
    assert average_precision(0, predicted, 0 * both) == 0


def test_the_best_epoch_may_be_that_of_the_largest_area() -> None:
    scorer = numbers().fit(**QUICK, choose_by="auprc")
    assert 0 < scorer.report["validation_auprc"] <= 1
    assert "validation_hf" not in scorer.report
    assert Moment(1, 2, 0.5, 0.25, 0.5, "auprc").note == "epoch 1/2, loss 0.5, AU(PRC) 0.250 (best 0.500)"


@pytest.mark.parametrize("hidden", [False, True])
def test_validation_measures_what_the_network_says_of_what_is_known(hidden: bool) -> None:
    problem = numbers(shallow=0.4)
    told = trainer(problem, hidden=hidden, members=2)
    told.run(silent)
    seen = told.validate()
    network = told.network.eval()
    with torch.no_grad():
        odds = network.log_odds(network.encoder.batch(told.examples.prepared, told.valid)).numpy()
    probability = problem.taxonomy.coherent(1 / (1 + np.exp(-odds)))
    truth = problem.Y[told.valid].toarray()
    known = ~problem.unknown[told.valid].toarray() if hidden else np.ones_like(truth)
    slow = [
        hierarchical_precision_recall_f1(csr_matrix(truth & known), csr_matrix((probability >= t) & known)).f1
        for t in GRID
    ]
    assert seen.value == pytest.approx(max(slow), abs=1e-6)
    assert seen.loss > 0


def test_the_best_epoch_is_kept_and_patience_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    told = trainer(numbers(), replace(RECIPE, epochs=50, patience=3))
    said = iter([Seen(hf, 1.0) for hf in (0.2, 0.5, 0.4, 0.5, 0.3)])
    kept: list[np.ndarray] = []

    def validate() -> Seen:
        kept.append(weights(told))
        return next(said)

    monkeypatch.setattr(told, "validate", validate)
    end = told.run(silent)
    assert [hf for _, hf in end.history] == [0.2, 0.5, 0.4, 0.5, 0.3]
    assert (end.best_epoch, end.best) == (2, 0.5)
    assert (weights(told) == kept[1]).all()


def test_equal_hf_is_decided_by_the_loss() -> None:
    assert Seen(0.5, 0.9).better_than(0.4, 0.1)
    assert Seen(0.5, 0.9).better_than(0.5, 1.0)
    assert not Seen(0.5, 0.9999).better_than(0.5, 1.0)
    assert not Seen(0.4, 0.1).better_than(0.5, 1.0)


def test_without_validation_the_last_epoch_counts() -> None:
    scorer = numbers(40).fit(**QUICK)
    assert (scorer.report["epochs"], scorer.report["best_epoch"], scorer.report["validation_hf"]) == (4, 4, None)
    assert numbers(80).fit(**QUICK, validation=0).report["validation_documents"] == 0


def test_equal_texts_do_not_validate_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = texts(60)
    for i in range(30):
        problem.inputs[i + 30]["text"] = problem.inputs[i]["text"].upper()
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    made = Trainer.__init__

    def note(self: Trainer, network: Any, examples: Any, train: Any, valid: Any, *rest: Any) -> None:
        parts.append((train, valid))
        made(self, network, examples, train, valid, *rest)

    monkeypatch.setattr(Trainer, "__init__", note)
    problem.fit(encoder=str(tiny_bert(tmp_path / "bert", texts=vocabulary())), epochs=1)
    ((train, valid),) = parts
    said = [fields["text"].lower() for fields in problem.inputs]
    assert len(valid)
    assert not {said[i] for i in train} & {said[i] for i in valid}


# -- checkpoints ---------------------------------------------------------------------------------------------------


def stop_after(steps: int) -> Any:
    """A progress that has had enough."""

    def progress(items: Any, what: str, total: int) -> Iterator[Any]:
        for step, item in enumerate(items, start=1):
            yield item
            if what == "training" and step == steps:
                raise KeyboardInterrupt

    return progress


def scores(scorer: NeuralScorer, problem: Problem) -> bytes:
    return scorer.score(problem.inputs).channels.tobytes()


@pytest.mark.parametrize("steps", [1, 5, 7, 19])
@pytest.mark.parametrize("members", [1, 3])
def test_an_interrupted_fit_goes_on_to_the_same_result(steps: int, members: int, tmp_path: Path) -> None:
    """Of 20 steps, 5 an epoch; with dropout."""
    problem = numbers(shallow=0.3)
    options: dict[str, Any] = {**QUICK, "n_members": members, "unknown": problem.unknown}
    straight = problem.fit(**options)
    kept = {"checkpoint": str(tmp_path), "checkpoint_minutes": 1000}
    with pytest.raises(KeyboardInterrupt):
        problem.fit(**options, **kept, progress=stop_after(steps))
    told: list[int] = []

    def progress(items: Any, what: str, total: int) -> Any:
        told.append(total)
        return items

    resumed = problem.fit(**options, **kept, resume=True, progress=progress)
    assert scores(resumed, problem) == scores(straight, problem)
    assert told == [20 - steps]
    same = ("losses", "epochs", "best_epoch", "validation_hf")
    assert [resumed.report[name] for name in same] == [straight.report[name] for name in same]


@pytest.mark.parametrize("steps", [3, 23])
def test_training_anew_on_all_documents_can_be_interrupted_too(steps: int, tmp_path: Path) -> None:
    """Of 20 steps to find the best epoch and up to 20 more; the steps count over both."""
    options: dict[str, Any] = {**QUICK, "retrain": True}
    problem = numbers()
    straight = problem.fit(**options)
    left = [steps]

    def stop(items: Any, what: str, total: int) -> Any:
        for item in items:
            yield item
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        problem.fit(**options, checkpoint=str(tmp_path), progress=stop)
    resumed = problem.fit(**options, checkpoint=str(tmp_path), resume=True)
    assert scores(resumed, problem) == scores(straight, problem)
    assert resumed.report["best_epoch"] == straight.report["best_epoch"]


def test_a_finished_fit_is_taken_at_once(tmp_path: Path) -> None:
    problem = numbers()
    first = problem.fit(**QUICK, checkpoint=str(tmp_path))
    seen: list[Any] = []

    def progress(items: Any, what: str, total: int) -> Iterator[Any]:
        for item in items:
            seen.append(item)
            yield item

    again = problem.fit(**QUICK, checkpoint=str(tmp_path), resume=True, progress=progress)
    assert scores(again, problem) == scores(first, problem)
    assert not seen
    anew = problem.fit(**QUICK, checkpoint=str(tmp_path), progress=progress)
    assert len(seen) == 20
    assert scores(anew, problem) == scores(first, problem)


def test_every_fit_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Other documents, labels, options or seeds never meet; the place, device and threads do not matter."""
    problem, brief = numbers(), QUICK | {"epochs": 1}
    fits = [
        (problem, {}),
        (problem._replace(inputs=problem.inputs * 2), {}),
        (problem._replace(Y=numbers(seed=1).Y), {}),
        (problem, {"learning_rate": 0.5}),
        (problem, {"seed": 1}),
        (problem, {"unknown": numbers(shallow=0.5).unknown}),
    ]
    for number, (data, options) in enumerate(fits, start=1):
        alone = data.fit(**brief, **options)
        kept = data.fit(**brief, **options, checkpoint=str(tmp_path), resume=True)
        assert scores(kept, data) == scores(alone, data)
        assert len(list(tmp_path.iterdir())) == number
    problem.fit(**brief, checkpoint=str(tmp_path), n_jobs=3, device="cpu", checkpoint_minutes=0)
    assert len(list(tmp_path.iterdir())) == len(fits)


def test_ctrl_c_waits_for_the_step_and_is_kept(tmp_path: Path, ctrl_c: Any) -> None:
    problem = numbers()

    def progress(items: Any, what: str, total: int) -> Iterator[Any]:
        for step, item in enumerate(items, start=1):
            yield item
            if step == 7:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        problem.fit(**QUICK, checkpoint=str(tmp_path), progress=progress)
    assert signal.getsignal(signal.SIGINT) is ctrl_c
    about = kept_in(tmp_path).about
    assert (about["epoch"], about["step"], about["finished"]) == (1, 3, False)  # the step it came in was done
    resumed = problem.fit(**QUICK, checkpoint=str(tmp_path), resume=True)
    assert scores(resumed, problem) == scores(problem.fit(**QUICK), problem)


def test_the_second_ctrl_c_interrupts_at_once(ctrl_c: Any) -> None:
    with interrupts_between_steps() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_during_the_last_validation_is_heard(
    tmp_path: Path, ctrl_c: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, brief = numbers(), QUICK | {"epochs": 1}
    validate = Trainer.validate

    def interrupted(self: Trainer) -> Seen:
        signal.raise_signal(signal.SIGINT)
        return validate(self)

    monkeypatch.setattr(Trainer, "validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        problem.fit(**brief, checkpoint=str(tmp_path))
    monkeypatch.undo()
    assert kept_in(tmp_path).about["finished"]
    resumed = problem.fit(**brief, checkpoint=str(tmp_path), resume=True)
    assert scores(resumed, problem) == scores(problem.fit(**brief), problem)


def test_a_step_torn_apart_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = numbers()
    steps = Counter[str]()
    step = Trainer._step

    def torn(self: Trainer, rows: Any) -> float:
        steps["done"] += 1
        if steps["done"] == 8:
            raise KeyboardInterrupt
        return step(self, rows)

    monkeypatch.setattr(Trainer, "_step", torn)
    with pytest.raises(KeyboardInterrupt):
        problem.fit(**QUICK, checkpoint=str(tmp_path))
    assert kept_in(tmp_path).about["step"] == 0  # what the last epoch left
    monkeypatch.undo()
    resumed = problem.fit(**QUICK, checkpoint=str(tmp_path), resume=True)
    assert scores(resumed, problem) == scores(problem.fit(**QUICK), problem)


def kept_in(folder: Path) -> Kept:
    (file,) = folder.glob("*/fit.safetensors")
    kept = Checkpoint(folder, file.parent.name).read()
    assert kept is not None
    return kept


def test_a_checkpoint_is_plain_tensors_and_json(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        numbers().fit(**QUICK, checkpoint=str(tmp_path), progress=stop_after(6))
    (file,) = tmp_path.glob("*/*")
    with safe_open(file, framework="np") as stored:
        about = json.loads(stored.metadata()["about"])
        names = Counter(name.partition(".")[0] for name in stored.keys())  # noqa: SIM118
    assert set(names) == {"now", "best", "optimizer"}
    assert (about["epoch"], about["step"], len(about["history"])) == (1, 1, 1)
    numbers().fit(**QUICK, checkpoint=str(tmp_path))
    assert {name.partition(".")[0] for name in kept_in(tmp_path).tensors} == {"best"}
    assert list(tmp_path.glob("*/*")) == [file]


class Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["HCLF_TEST_BOMB"],))


@pytest.mark.parametrize("how", ["pickle", "torch", "cut", "empty"])
def test_a_checkpoint_that_is_none_is_refused_and_never_run(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "exploded"
    monkeypatch.setenv("HCLF_TEST_BOMB", str(bomb))
    folder = tmp_path / "kept"
    numbers().fit(**QUICK, checkpoint=str(folder))
    (file,) = folder.glob("*/*")
    if how == "pickle":
        file.write_bytes(pickle.dumps(Bomb()))
    elif how == "torch":
        torch.save({"now": Bomb()}, file)
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    else:
        file.write_bytes(b"")
    with pytest.raises(HclfError, match="no checkpoint, or damaged") as caught:
        numbers().fit(**QUICK, checkpoint=str(folder), resume=True)
    assert "\n" not in str(caught.value)
    assert not bomb.exists()


def test_a_checkpoint_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    numbers().fit(**QUICK, checkpoint=str(tmp_path / "a"))
    numbers(seed=1).fit(**QUICK, checkpoint=str(tmp_path / "b"))
    (wrong,), (place,) = (tmp_path / "a").glob("*/*"), (tmp_path / "b").glob("*/*")
    place.write_bytes(wrong.read_bytes())
    with pytest.raises(HclfError, match="belongs to other data or options"):
        numbers(seed=1).fit(**QUICK, checkpoint=str(tmp_path / "b"), resume=True)


def test_a_checkpoint_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HclfError, match="cannot write the checkpoint"):
        numbers().fit(**QUICK, checkpoint=str(tmp_path / "file"))


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.write(Kept({"n": 1}, {"x": torch.ones(3)}))

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(HclfError, match="disk full"):
            checkpoint.write(Kept({"n": 2}, {"x": torch.zeros(3)}))
    kept = checkpoint.read()
    assert kept is not None
    assert (kept.about["n"], kept.tensors["x"].tolist()) == (1, [1, 1, 1])
    checkpoint.write(Kept({"n": 3}, {}))
    assert sorted(file.name for file in checkpoint.file.parent.iterdir()) == ["fit.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_a_killed_process_goes_on_to_the_same_result(kind: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {**QUICK, "checkpoint": str(tmp_path / "kept"), "checkpoint_minutes": 0}
    if kind == "texts":
        bert = str(tiny_bert(tmp_path / "bert", texts=vocabulary()))
        options |= {"encoder": bert, "layers": 0, "encoder_learning_rate": 1e-3}
    program = [sys.executable, str(Path(__file__).with_name("neural_problems.py"))]
    command = [*program, str(tmp_path / "killed.npz"), json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("training 8 "):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL, "".join(said)
    assert not (tmp_path / "killed.0.npz").exists()
    done = kept_in(tmp_path / "kept").about
    assert (done["epoch"], done["finished"]) == (1, False)
    found = {}
    for name, more in (("resumed", {"resume": True}), ("straight", {"checkpoint": str(tmp_path / "other")})):
        command = [*program, str(tmp_path / f"{name}.npz"), json.dumps(options | more)]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        assert out.returncode == 0, out.stderr
        assert out.stdout.count("\ntraining ") == {"resumed": 11, "straight": 20}[name] - out.stdout.startswith("tr")
        found[name] = dict(np.load(tmp_path / f"{name}.0.npz"))
    assert found["resumed"].keys() == found["straight"].keys()
    for name, array in found["straight"].items():
        assert array.tobytes() == found["resumed"][name].tobytes(), name
