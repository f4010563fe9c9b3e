"""Training: what a kill costs, and what several processes give."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import untwin
from events import LIMIT
from untwin import cli
from untwin.errors import CheckpointWarning, InputError, NumericalFailure
from untwin.learn.pairs import VALIDATION, Fresh, Stored
from untwin.learn.train import CHECKPOINT, WEIGHTS, Training, train
from untwin.model.networks import weights
from untwin.simulate.dataset import Crystals, write

SMALL = Training("CdiNN(form=32)", "cdi-nn", steps=4, batch=4, check=2, held=4, rising=1, warm=2)


def pairs(run: Training = SMALL) -> Fresh:
    return Fresh(Crystals(run.data, run.seed, 10**6), Crystals(run.data, run.seed + VALIDATION, 10**6))


def tensors(folder: Path, name: str = WEIGHTS) -> dict[str, torch.Tensor]:
    return weights.read(folder / name)[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Cut(Exception):
    pass


def test_a_run_that_was_cut_short_ends_with_the_same_bits(tmp_path):
    train(SMALL, pairs(), tmp_path / "whole")

    def stop(row):
        raise Cut

    with pytest.raises(Cut):
        train(SMALL, pairs(), tmp_path / "cut", report=stop)
    assert weights.read(tmp_path / "cut" / CHECKPOINT)[1]["step"] == 2
    rows = train(SMALL, pairs(), tmp_path / "cut", resume=True)
    assert [r["step"] for r in rows] == [2, 4]
    assert same(tensors(tmp_path / "cut"), tensors(tmp_path / "whole"))
    assert same(tensors(tmp_path / "cut", CHECKPOINT), tensors(tmp_path / "whole", CHECKPOINT))
    again = Training(**weights.read(tmp_path / "cut" / CHECKPOINT)[1]["training"])
    assert again == SMALL


def test_a_run_begun_with_weights_goes_on_from_them_and_says_so(tmp_path):
    train(SMALL, pairs(), tmp_path / "first")
    start = str(tmp_path / "first" / WEIGHTS)
    more = replace(SMALL, start=start, seed=1, steps=1, rate=1e-30, warm=0)
    train(more, pairs(more), tmp_path / "more")
    assert same(tensors(tmp_path / "more"), tensors(tmp_path / "first"))
    card = weights.load(tmp_path / "more" / WEIGHTS).card
    assert card["training"]["start"] == start and card["origin"]["samples"] == card["origin"]["training"]["steps"] * SMALL.batch == 16
    again = replace(more, steps=3, check=1, rate=1e-3, objective="supervised")
    train(again, pairs(again), tmp_path / "whole")

    def stop(row):
        raise Cut

    with pytest.raises(Cut):
        train(again, pairs(again), tmp_path / "cut", report=stop)
    train(again, pairs(again), tmp_path / "cut", resume=True)
    assert same(tensors(tmp_path / "cut"), tensors(tmp_path / "whole"))
    assert weights.load(tmp_path / "cut" / WEIGHTS).card["origin"] == card["origin"]


def test_weights_of_another_architecture_are_no_beginning(tmp_path):
    with pytest.raises(InputError, match="to be trained is a CdiNN"):
        train(replace(SMALL, architecture="CdiNN(form=64)", data="cdi-nn-64", start="cdi-nn"), pairs(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_something_else_is_refused(tmp_path):
    train(replace(SMALL, steps=1), pairs(), tmp_path)
    with pytest.raises(InputError, match=r"was trained with steps = 1, asked for is 4"):
        train(SMALL, pairs(), tmp_path, resume=True)
    with pytest.raises(InputError, match=r"no checkpoint\.safetensors"):
        train(SMALL, pairs(), tmp_path / "nowhere", resume=True)
    kept = weights.read(tmp_path / CHECKPOINT)
    weights.write(tmp_path / CHECKPOINT, {k: v for k, v in kept[0].items() if "exp_avg_sq" not in k}, kept[1])
    with pytest.raises(InputError, match=r"is damaged"):
        train(replace(SMALL, steps=1), pairs(), tmp_path, resume=True)


def test_the_loss_falls_on_samples_that_are_learnt_by_heart(tmp_path):
    class Few:
        def batch(self, indices, device="cpu"):
            return Crystals("cdi-nn", 1, 100).batch([i % 4 for i in indices], device)

        def validation_batch(self, count, device="cpu"):
            return self.batch(range(4))

    rows = train(replace(SMALL, objective="canonical", steps=60, check=20, rate=3e-3, rising=5), Few(), tmp_path)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"] and rows[-1]["iou"] > rows[0]["iou"]


@pytest.mark.parametrize("objective", ["supervised", "canonical", "invariant", "passive"])
def test_every_objective_moves_the_weights(tmp_path, objective):
    run = replace(SMALL, objective=objective, steps=2, warm=1)
    rows = train(run, pairs(), tmp_path)
    first = weights.architecture(run.architecture).build(torch.Generator().manual_seed(run.seed)).state_dict()
    moved = tensors(tmp_path)
    assert all((moved[k] != first[k]).any() for k in first if k.endswith("weight"))
    assert {"error", "iou", "phase_gain", "misfit"} <= rows[-1].keys()
    assert weights.load(tmp_path / WEIGHTS).card["holes"] is False


def test_a_data_set_on_disk_is_read_in_a_new_order_each_round(tmp_path):
    write(tmp_path, "cdi-nn", 0, 20, shard=6)
    stored = Stored(tmp_path, 1)
    first, second = ([stored._stored_index(i) for i in range(k, k + 18)] for k in (0, 18))
    assert sorted(first) == sorted(second) == list(range(18)) and first != second
    batch, direct = stored.batch([0, 1]), Crystals("cdi-nn", 0, 20).batch(first[:2])
    assert torch.equal(batch.image, direct.image) and torch.equal(batch.measured, direct.measured)
    assert torch.allclose(batch.intensity, direct.intensity)
    assert len(stored.validation_batch(10).image) == 2


# ------------------------------------------------------------------------------------------- the command line

ENV = {**os.environ, "PYTHONPATH": str(Path(untwin.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
OPTIONS = ["--batch", "4", "--held", "2", "--device", "cpu"]
DYING = """
import os, signal, sys
from untwin import cli
from untwin.learn.train import CHECKPOINT
from untwin.model.networks import weights

write = weights.write

def written(path, tensors, told):  # the process that writes dies once three steps are kept
    write(path, tensors, told)
    if path.name == CHECKPOINT and told["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)

weights.write = written
cli.main(sys.argv[1:])
"""


def two(program: list[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Two processes that train together."""
    crew = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program]
    command = [*crew, "train", "cdi-nn", "-o", str(folder), "--steps", "6", "--check", "1", *OPTIONS, *more]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=LIMIT)


def test_two_processes_one_killed_on_the_way_end_as_if_nothing_had_happened(tmp_path):
    untwin = ["-m", "untwin"]
    done = two(untwin, tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    (tmp_path / "dying.py").write_text(DYING)
    died = two([str(tmp_path / "dying.py")], tmp_path / "cut")
    assert died.returncode != 0 and weights.read(tmp_path / "cut" / CHECKPOINT)[1]["step"] == 3, died.stderr
    done = two(untwin, tmp_path / "cut", "--resume")
    assert done.returncode == 0, done.stderr
    assert same(tensors(tmp_path / "cut"), tensors(tmp_path / "whole"))
    train(Training(**weights.read(tmp_path / "cut" / CHECKPOINT)[1]["training"]), pairs(), tmp_path / "alone")
    one, both = tensors(tmp_path / "alone"), tensors(tmp_path / "whole")
    assert all(torch.allclose(one[k], both[k], atol=2e-3) for k in one)
    page = (tmp_path / "cut" / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page and len(json.loads((tmp_path / "cut" / "curves.json").read_text())) == 6
    assert re.search(r"Trained on 24 samples of `cdi-nn`", (tmp_path / "cut" / "card.md").read_text(encoding="utf-8"))


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, handlers, monkeypatch, capsys):
    """In the middle of the steps between two validations: the signal comes while the samples of step 26 are drawn."""
    handlers()
    batch = Fresh.batch

    def signalled(self, indices, device="cpu"):
        if indices[0] == 25 * SMALL.batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, indices, device)

    cut = tmp_path / "cut"
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(Fresh, "batch", signalled)
        cli.main(["train", "cdi-nn", "-o", str(cut), "--steps", "40", "--check", "20", *OPTIONS])
    said = capsys.readouterr()
    assert stop.value.code == 130 and "20 steps" in said.out and "40 steps" not in said.out
    assert said.err == "untwin: interrupted; what is done is kept; the same command with --resume goes on\n"
    assert weights.read(cut / CHECKPOINT)[1]["step"] == 26
    made = Training(**weights.read(cut / CHECKPOINT)[1]["training"])
    rows = train(made, pairs(made), cut, resume=True)
    whole = train(made, pairs(made), tmp_path / "whole")
    assert same(tensors(cut), tensors(tmp_path / "whole"))
    assert [r["loss"] for r in rows] == [r["loss"] for r in whole] and rows[-1]["seconds"] > rows[0]["seconds"]


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path):
    train(SMALL, pairs(), tmp_path / "whole")
    train(SMALL, pairs(), tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    with pytest.warns(CheckpointWarning, match=r"SHA-256 does not fit.*the one before it is used"):
        rows = train(SMALL, pairs(), tmp_path, resume=True)
    assert [r["step"] for r in rows] == [2, 4] and same(tensors(tmp_path), tensors(tmp_path / "whole"))


def test_a_training_that_comes_to_nan_ends_and_keeps_what_was_before(tmp_path):
    class Spoilt(Fresh):
        def batch(self, indices, device="cpu"):
            drawn = super().batch(indices, device)
            if indices[0] == 4 * 14:
                drawn.intensity[0, 3, 3] = float("nan")
            return drawn

    run = replace(SMALL, steps=60, check=12)
    with pytest.raises(NumericalFailure, match=r"came to NaN or infinity before step 20; .* is from before that. Train again with a lower"):
        train(run, Spoilt(pairs().training, pairs().validation), tmp_path)
    kept, card = weights.read(tmp_path / CHECKPOINT)
    assert card["step"] == 12 and all(bool(v.isfinite().all()) for v in kept.values()) and not (tmp_path / WEIGHTS).exists()
