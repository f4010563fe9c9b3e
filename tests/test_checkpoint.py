"""Long runs: what a kill costs (nothing but time), and what it takes to go on."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from events import dies, forks
from short_runs import often, same, solved, thing
from untwin.data import checksummed
from untwin.data.atomic import PART
from untwin.errors import CheckpointWarning, InputError
from untwin.runs import checkpoint, launch, reconstruct
from untwin.runs.checkpoint import Checkpoint, metadata
from untwin.runs.launch import Launcher, run_here
from untwin.solve.state import State


@pytest.fixture(scope="module")
def undisturbed() -> ut.results.Reconstruction:
    return solved()


# kills


MOMENTS = ["before write", "before the seal", "before rename", "after rename"]


def aimed(moment: str, folder: Path, file: int = 3) -> None:
    """Reconstructs, and kills itself at the moment, in the third file that is kept, or in another."""
    often()
    replace, save, kept = os.replace, torch.save, []

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def count(now: str) -> None:
        if len(kept) >= file and moment == now:
            die()

    def replaced(a, b):
        count("before rename")
        replace(a, b)
        count("after rename")

    def saved(content, target):
        kept.append(1)
        count("before write")
        save(content, target)
        count("before the seal")

    checkpoint.os.replace, torch.save = replaced, saved
    if moment == "while it is judged":
        reconstruct.assess = lambda *a: die()
    solved(folder)


@forks
@pytest.mark.parametrize("moment", [*MOMENTS, "while it is judged"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path, undisturbed, moment):
    assert dies(aimed, moment, tmp_path / "kept") == -signal.SIGKILL
    assert len(list((tmp_path / "kept").iterdir())) >= 2
    assert same(solved(tmp_path / "kept"), undisturbed)


@forks
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, undisturbed):
    """At moments of many kinds, some files further each time, until it gets through. Each time it has come further."""
    dice, kills, known, code = random.Random(2), 0, set(), -signal.SIGKILL
    while code == -signal.SIGKILL:
        code = dies(aimed, dice.choice(MOMENTS), tmp_path / "kept", dice.randint(3, 40))
        now = {p.name.removesuffix(checksummed.BEFORE) for p in (tmp_path / "kept").iterdir() if p.suffix != PART}
        assert known <= now
        known, kills = now, kills + (code == -signal.SIGKILL)
    assert code == 0 and kills >= 5
    assert same(solved(tmp_path / "kept"), undisturbed)


@forks
def test_what_was_done_is_not_done_again(tmp_path, undisturbed):
    assert dies(aimed, "while it is judged", tmp_path / "kept") == -signal.SIGKILL
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "run_here", lambda *a: taken.append(a))
        assert same(solved(tmp_path / "kept"), undisturbed) and not taken


@forks
def test_damaged_checkpoints_cost_time_and_nothing_else(tmp_path, undisturbed):
    assert dies(aimed, "while it is judged", tmp_path / "kept") == -signal.SIGKILL
    files = sorted(p for p in (tmp_path / "kept").iterdir() if p.suffix != checksummed.BEFORE and p.suffix != ".untwin")
    for i, path in enumerate(files):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content[: len(content) // 2] if i % 2 else content)
        if i % 3 == 0:
            checksummed.before(path).unlink(missing_ok=True)
    with pytest.warns(CheckpointWarning) as said:
        assert same(solved(tmp_path / "kept"), undisturbed)
    text = " ".join(str(w.message) for w in said)
    assert "the one before it is used" in text and "this part of the run is worked out again" in text


# the same bits, wherever and in whatever order


@pytest.mark.parametrize("positivity", [False, True], ids=["complex", "real"])
def test_neither_the_number_of_workers_nor_the_order_changes_a_bit(monkeypatch, positivity):
    alone = solved(positivity=positivity)
    here = Launcher._in_this_process
    for seed in range(1 + positivity):
        dice = random.Random(seed)

        def shuffled(self, problem, parts, samples, on_done, dice=dice):
            here(self, problem, dict(dice.sample(list(parts.items()), len(parts))), samples, on_done)

        monkeypatch.setattr(Launcher, "_in_this_process", shuffled)
        assert same(solved(positivity=positivity), alone)
    monkeypatch.undo()
    if not positivity:  # these are the ones whose last bits a batch of another size changes
        return
    assert same(solved(positivity=positivity, workers=2), alone)
    from loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)


def test_every_start_draws_from_its_own_seed():
    """Start k of a run with seed s is start 0 of a run with seed s + k: nothing else goes into it."""
    problem = ut.Problem.of(thing())
    recipe = ut.parse("RandomStart + 5*HIO + ShrinkWrap(threshold=Draw(0.1, 0.4)) + 5*ER")
    many = run_here(problem, recipe, ut.begin(problem, tuple(range(40, 52)))).state
    for k in (0, 5, 11):
        one = run_here(problem, recipe, ut.begin(problem, (40 + k,))).state
        assert torch.equal(one.image[0], many.image[k]) and torch.equal(one.support[0], many.support[k])


# another run is refused


def test_another_run_does_not_go_on_from_it(tmp_path, monkeypatch):
    pattern, recipe = thing(), "5*ER"
    ut.reconstruct(pattern, recipe, starts=2, checkpoint=tmp_path)
    ut.reconstruct(pattern, recipe, starts=2, checkpoint=tmp_path)
    from dataclasses import replace

    brighter = replace(pattern, intensity=pattern.intensity + 1)
    for other, options, what in (
        (pattern, {"seed": 1}, "seed 0, this is 1"),
        (pattern, {"starts": 3}, "recipe Plan"),
        (brighter, {}, "pattern of SHA-256"),
        (pattern, {"support": np.ones((32, 32))}, "support of SHA-256"),
    ):
        with pytest.raises(InputError, match=rf"was begun with {what}.*begin anew in another folder"):
            ut.reconstruct(other, recipe, **{"starts": 2, **options}, checkpoint=tmp_path)
    made = reconstruct.made_with
    for name in ("torch", "untwin", "device", "engine"):
        monkeypatch.setattr(reconstruct, "made_with", lambda device, name=name: {**made(device), name: "another"})
        with pytest.raises(InputError, match=f"was begun with {name} .*, this is another"):
            ut.reconstruct(pattern, recipe, starts=2, checkpoint=tmp_path)


# time


def test_checkpoints_take_no_more_than_their_share_and_lose_no_more_than_half_a_minute(tmp_path, monkeypatch):
    """By a clock that the steps and the disk advance."""
    x = torch.zeros(1, 4, 4)
    state = State(x, x, x > 0, x > 0, (0,))
    for cost, most in ((0.01, 30.0), (0.4, 30.0), (2.0, 104.0)):
        clock, spent, kept = [0.0], [0.0], [0.0]

        def written(target, fill, cost=cost, clock=clock, spent=spent, kept=kept):
            clock[0] += cost
            spent[0] += cost
            kept.append(clock[0])

        monkeypatch.setattr(checkpoint.time, "monotonic", lambda clock=clock: clock[0])
        monkeypatch.setattr(checksummed, "write", written)
        run = Checkpoint(tmp_path / str(cost))
        run.begin({})
        kept[:], spent[0], clock[0] = [0.0], 0.0, 0.0
        run.due = checkpoint.EVERY
        with run.part("part") as reached:
            for _ in range(20_000):
                clock[0] += 0.1
                reached(state, [])
        assert spent[0] <= 0.021 * clock[0] + cost
        assert max(b - a for a, b in zip(kept, kept[1:])) <= most


def test_a_short_run_writes_down_what_it_is_and_nothing_else(tmp_path):
    seen = []
    solved(tmp_path, report=lambda *a: seen.append([p.name for p in tmp_path.iterdir()]))
    assert seen and all(names == ["run.untwin"] for names in seen)
    assert metadata(tmp_path)["about"]["seed"] == 3


def test_a_disk_that_is_full_does_not_end_the_run(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 0.0)
    write = checksummed.write

    def full(target, fill):
        if target.name != "run.untwin":
            raise InputError(f"cannot write {target}: No space left on device")
        write(target, fill)

    monkeypatch.setattr(checksummed, "write", full)
    with pytest.warns(CheckpointWarning, match="no checkpoint: cannot write .* No space left on device"):
        assert same(solved(tmp_path), undisturbed)


# single states


def test_states_in_files_are_sealed(tmp_path):
    problem = ut.Problem.of(thing())
    state = ut.begin(problem, (0, 1))
    ut.save_state(state, tmp_path / "state")
    assert torch.equal(ut.load_state(tmp_path / "state").x, state.x)
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        ut.load_state(tmp_path / "state")
    checksummed.write(tmp_path / "state", lambda file: file.write(b"not a state"))
    with pytest.raises(InputError, match="this holds no state"):
        ut.load_state(tmp_path / "state")
