"""Training in several processes is training in one: `torchrun` on this machine, with gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neural_problems import vocabulary
from tiny_models import tiny_bert

PROGRAM = str(Path(__file__).with_name("neural_problems.py"))
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STEADY: dict[str, Any] = {"dropout": 0.0, "input_dropout": 0.0, "epochs": 4, "batch_size": 9, "device": "cpu"}

pytestmark = pytest.mark.slow


def run(command: list[str], out: Path, options: dict[str, Any]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, PROGRAM, str(out), json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.with_suffix(".0.json").read_text())
    return found


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_two_processes_learn_what_one_does(kind: str, tmp_path: Path) -> None:
    """From labels of partial depth, in batches of odd size, of which the last has fewer documents than the others."""
    options = {**STEADY, "hidden": 16, "layers": 1, "n_members": 2, "recursive": 0.01, "class_weights": "balanced"}
    if kind == "texts":
        bert = tiny_bert(tmp_path / "bert", texts=vocabulary())
        config = json.loads((bert / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (bert / "config.json").write_text(json.dumps(config))
        options = {**STEADY, "encoder": str(bert), "encoder_learning_rate": 1e-3, "pass_tokens": 60}
    run([sys.executable], tmp_path / "one", options)
    run(LAUNCH, tmp_path / "two", options)
    alone, both = report(tmp_path / "one"), report(tmp_path / "two")
    one = dict(np.load(tmp_path / "one.0.npz"))
    first, second = (dict(np.load(tmp_path / f"two.{rank}.npz")) for rank in (0, 1))
    assert (alone["processes"], both["processes"]) == (1, 2)
    assert alone["epochs"] == both["epochs"]
    np.testing.assert_allclose(alone["losses"], both["losses"], atol=1e-4)
    assert one.keys() == first.keys() == second.keys()
    assert np.ptp(one["scores"]) > 1
    for name, array in one.items():
        np.testing.assert_allclose(first[name], array, atol=1e-4, err_msg=name)
        assert first[name].tobytes() == second[name].tobytes(), name


def test_several_processes_share_a_checkpoint(tmp_path: Path) -> None:
    options = {**STEADY, "hidden": 16, "layers": 1, "retrain": False, "checkpoint": str(tmp_path / "kept")}
    run(LAUNCH, tmp_path / "first", options)
    said = run(LAUNCH, tmp_path / "again", {**options, "resume": True})
    assert "training " not in said
    found = [(tmp_path / f"{name}.{rank}.npz").read_bytes() for name in ("first", "again") for rank in (0, 1)]
    assert len(set(found)) == 1
    assert len(list((tmp_path / "kept").glob("*/*"))) == 1
