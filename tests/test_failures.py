"""NaN and infinity: seen within ten steps, kept out of the ranking, replaced, reported; never in a file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import untwin as ut
from short_runs import same, thing
from untwin import cli
from untwin.errors import InputError, NumericalFailure
from untwin.runs.launch import run_here
from untwin.runs.population import Population, start
from untwin.solve.fit import Fit
from untwin.solve.recipe import Algorithm, Until
from untwin.solve.state import CHECK


@dataclass(frozen=True)
class Spoil(Algorithm):
    """One value of one tensor of some starts becomes NaN or infinity. seeds: of them; None for all, also those that stand in."""

    field: str = "x"
    value: float = math.nan
    seeds: tuple[int, ...] | None = (1,)

    def step(self, problem, state):
        def spoilt(tensor):
            if isinstance(tensor, tuple):
                return tuple(map(spoilt, tensor))
            if not isinstance(tensor, torch.Tensor) or tensor.dtype == torch.bool:
                return tensor
            new = tensor.clone()
            for row, seed in enumerate(state.seeds):
                if self.seeds is None or seed in self.seeds:
                    new[(row, *(0 for _ in new.shape[1:]))] = self.value  # in the middle of the object
            return new

        return replace(state, **{self.field: spoilt(getattr(state, self.field))})


@dataclass(frozen=True)
class Nothing(Algorithm):
    """The support becomes empty."""

    def step(self, problem, state):
        return state.replace(support=state.support & False)


def finite(solution: ut.results.Solution) -> bool:
    arrays = (solution.image, solution.modes)
    return all(bool(torch.view_as_real(a).isfinite().all()) for a in arrays)


def test_a_batch_that_is_lost_is_seen_within_ten_steps_wherever_it_began():
    """50 times: a random step, a random tensor, NaN or infinity."""
    problem, dice = ut.Problem.of(thing()), np.random.default_rng(0)
    for _ in range(50):
        at, algorithm = (
            int(dice.integers(1, 40)),
            dice.choice([ut.algorithms.HIO(), ut.algorithms.RAAR(), ut.algorithms.ER(), ut.algorithms.DM(), ut.algorithms.ADMM()]),
        )
        field = "memory" if algorithm == ut.algorithms.ADMM() else "x"
        value = float(dice.choice([math.nan, math.inf, -math.inf]))

        @dataclass(frozen=True)
        class Within(Algorithm):
            """The algorithm, of which a tensor is spoilt in step `at`."""

            def begin(self, problem, state, algorithm=algorithm):
                return algorithm.begin(problem, state)

            def step(self, problem, state, algorithm=algorithm, at=at, field=field, value=value):
                state = algorithm.step(problem, state)
                return Spoil(field, value, None).step(problem, state) if state.step + 1 == at else state

        state = ut.begin(problem, (0, 1))
        ended = run_here(problem, 80 * Within() + 200 * ut.algorithms.ER(), state, samples=280)
        stopped = ended.traces[0][0][-1]
        assert at <= stopped <= at + CHECK + 1, (at, field, algorithm, value)
        assert Population.of(problem, ended.state).dead() == [0, 1]


@pytest.mark.parametrize("field", ["x", "image", "memory"])
def test_the_other_starts_of_a_batch_do_not_notice(field):
    problem = ut.Problem.of(thing())
    state = ut.begin(problem, (0, 1, 2))
    wrap = "ShrinkWrap(threshold=Draw(0.1, 0.3))"
    for recipe in ("10*ADMM + {} + " + f"10*ADMM + {wrap} + 5*ER", "5*HIO + 6*Mean(ER) + {} + " + f"{wrap} + 6*Mean(ER)"):
        one, two = (ut.parse(part.strip(" +")) for part in recipe.split("{}"))
        clean = run_here(problem, one + Spoil(field, seeds=()) + two, state).state
        spoilt = run_here(problem, one + Spoil(field, seeds=(1,)) + two, state).state
        for name in ("x", "image", "support"):
            a, b = getattr(clean, name), getattr(spoilt, name)
            assert torch.equal(a[[0, 2]], b[[0, 2]])
    assert clean.finite().all()


RECIPE = ut.parse("2*(15*HIO + ShrinkWrap)")
END = ut.parse("10*ER")


def seeds(*numbers: int) -> tuple[int, ...]:
    """Of the independent starts of a run with seed 0."""
    return tuple(start(0, n).seed for n in numbers)


def test_a_start_that_fails_is_named_left_out_and_replaced():
    whole = ut.reconstruct(thing(), RECIPE + END, starts=6)
    found = ut.reconstruct(thing(), RECIPE + Spoil(seeds=seeds(1, 4)) + END, starts=6)
    assert finite(found) and not found.reason and found.numbers["starts"] == 6 and found.numbers["starts_failed"] == 2
    good, bad = found.starts[:6], found.starts[6:]
    assert [(s.seed, s.reason) for s in bad] == [(seeds(1)[0], "NaN or infinity"), (seeds(4)[0], "NaN or infinity")]
    assert all(math.isnan(s.r_factor) and s.score == math.inf for s in bad)
    assert [s.seed for s in good] == [*seeds(0), start(0, 1, 1, 1).seed, *seeds(2, 3), start(0, 4, 0, 1).seed, *seeds(5)] and not any(
        s.reason for s in good
    )
    assert [good[i].r_factor for i in (0, 2, 3, 5)] == [whole.starts[i].r_factor for i in (0, 2, 3, 5)]
    assert "2 starts failed (2 by NaN or infinity)" in " ".join(found.warnings)
    assert found.verdict.trusted == whole.verdict.trusted or found.verdict.trusted is not None


def test_one_that_stands_in_and_fails_too_is_replaced_again():
    two, again, third = (start(0, 2, 0, attempt).seed for attempt in range(3))
    found = ut.reconstruct(thing(), RECIPE + Spoil(seeds=(two, again)) + END, starts=6)
    assert [s.seed for s in found.starts] == [*seeds(0, 1), third, *seeds(3, 4, 5), two, again] and finite(found)
    assert [s.number for s in found.starts] == [0, 1, 2, 3, 4, 5, 2, 2]
    only = ut.reconstruct(thing(), RECIPE + Spoil(seeds=seeds(0)) + END, starts=1)
    assert [s.seed for s in only.starts] == [start(0, 0, 0, 1).seed, *seeds(0)] and finite(only) and not only.reason


def test_where_more_than_half_fail_what_is_left_is_saved_and_the_exit_code_is_3(tmp_path, monkeypatch, capsys):
    reconstruct = ut.reconstruct

    def broken(pattern, plan, **options):
        return reconstruct(pattern, RECIPE + Spoil(seeds=seeds(0, 1, 2, 3)) + END, **options)

    monkeypatch.setattr("untwin.reconstruct", broken, raising=False)
    monkeypatch.setattr("untwin.cli.reconstruct.present", lambda solution, folder, run: None)
    np.savez(tmp_path / "p.npz", intensity=np.fft.fftshift(thing().intensity))
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", str(tmp_path / "p.npz"), "--starts", "6", "-o", str(tmp_path / "out")])
    assert stop.value.code == 3
    reason = "4 starts failed (4 by NaN or infinity), more than half; the result rests on the 2 that did not"
    assert capsys.readouterr().err == f"untwin: {reason}\n"
    found = ut.load(tmp_path / "out")
    assert finite(found) and found.reason == reason and found.verdict.trusted is None and reason in found.verdict.text
    assert [s.number for s in found.starts] == [4, 5, 0, 1, 2, 3] and not (tmp_path / "out" / "checkpoint").exists()


def test_where_all_fail_nothing_is_written_and_the_exit_code_is_3(tmp_path, monkeypatch, capsys):
    with pytest.raises(NumericalFailure, match=r"every start failed: NaN or infinity \(\d+ tried\)"):
        ut.reconstruct(thing(), RECIPE + Spoil(seeds=None) + END, starts=4)
    with pytest.raises(NumericalFailure, match="every start failed: empty support"):
        ut.reconstruct(thing(), END + Nothing(), starts=2)


def test_children_and_refined_ones_that_fail_are_left_out_and_counted():
    child, refine = RECIPE + Spoil(seeds=None) + END, ut.parse("5*ER") + Spoil("image", seeds=None)
    found = ut.reconstruct(
        thing(), ut.plans.Plan(ut.plans.Search(RECIPE + END, starts=4, families=2), ut.plans.Guide((child,), generations=2))
    )
    plain = ut.reconstruct(thing(), ut.plans.Plan(ut.plans.Search(RECIPE + END, starts=4, families=2)))
    assert torch.equal(found.image, plain.image) and found.numbers["runs_failed"] == 2 * 2 * 1 and found.numbers["starts_failed"] == 0
    found = ut.reconstruct(thing(), ut.plans.Plan(ut.plans.Search(RECIPE + END, starts=2, families=2), ut.plans.Refine(refine)))
    plain = ut.reconstruct(thing(), ut.plans.Plan(ut.plans.Search(RECIPE + END, starts=2, families=2)))
    assert torch.equal(found.image, plain.image) and found.numbers["runs_failed"] == 2 and not found.reason
    assert [(s.role, s.number) for s in found.starts[2:]] == [("refinement", 0), ("refinement", 1)]


def test_a_disturbed_run_repeats_itself():
    a, b = (ut.reconstruct(thing(), RECIPE + Spoil(seeds=seeds(1, 4)) + END, starts=6, workers=1) for _ in range(2))
    assert same(replace(a, starts=a.starts[:6]), replace(b, starts=b.starts[:6]))


def test_a_rule_stops_a_start_that_is_lost_and_keeps_the_image_from_before():
    problem, state = ut.Problem.of(thing()), ut.begin(ut.Problem.of(thing()), (0, 1, 2))
    for rule in (ut.rules.Plateau(patience=500), ut.rules.EMV(patience=500, burn_in=2), ut.rules.WMV(window=5, patience=500)):
        taken = []
        for after in ut.iterate(problem, Until(rule, 20 * ut.algorithms.HIO() + Spoil(seeds=(1,)) + 100 * ut.algorithms.HIO()), state):
            taken.append(after)
        assert bool(torch.view_as_real(taken[-1].image).isfinite().all())
        lost = next(t.step for t in taken if t.rule_state is not None and bool(t.rule_state.stopped[1]))
        assert lost <= 21 + CHECK and not bool(taken[-2].rule_state.stopped[0])


@dataclass(frozen=True)
class Careless(ut.rules.Rule):
    """Looks for no NaN. statistic: what it returns in place of truth values, if anything; factor: of the image that it keeps."""

    statistic: float | None = None
    factor: float = 1.0

    def begin(self, problem, state):
        return state.replace(rule_state=state.image)

    def observe(self, problem, state):
        return state.replace(rule_state=state.image * self.factor)

    def done(self, state):
        return torch.zeros(2, dtype=torch.bool) if self.statistic is None else torch.full((2,), self.statistic)

    def restore_best(self, state):
        return state.replace(image=state.rule_state, rule_state=None)


def states(recipe) -> list:
    problem = ut.Problem(thing())
    return list(ut.iterate(problem, recipe, ut.begin(problem, seeds=(0, 1))))


@pytest.mark.parametrize(("rule", "text"), [(Careless(statistic=math.nan), "a bool tensor"), (Careless(factor=math.nan), "keeps an image")])
def test_a_rule_of_ones_own_that_returns_nan_is_told_so(rule, text):
    with pytest.raises(InputError, match=rf"Careless\(.*{text}"):
        states(Until(rule, 20 * ut.algorithms.ER()))


def test_a_rule_that_looks_for_no_nan_is_not_followed_to_its_end():
    steps = 5 * ut.algorithms.ER() + Spoil(seeds=None) + 500 * ut.algorithms.ER()
    assert states(Until(Careless(), steps))[-2].step <= 6 + CHECK


def test_a_fit_that_is_lost_gives_its_last_good_image_and_says_so(monkeypatch):
    """A number of the network becomes NaN in step 30, as by a gradient that overflows."""
    y = np.clip(0.5 + 0.2 * np.random.default_rng(0).standard_normal((1, 24, 24)), 0, 1)
    step = Fit.step

    def spoilt(self, problem, state):
        after = step(self, problem, state)
        if state.step + 1 != 30:
            return after
        numbers = tuple({"image": {name: t * math.nan for name, t in one["image"].items()}} for one in after.memory["trained"])
        return replace(after, memory={**after.memory, "trained": numbers})

    monkeypatch.setattr(Fit, "step", spoilt)
    found = ut.restore(y, stop=ut.rules.EMV(patience=400, burn_in=5), steps=200)
    assert bool(found.image.isfinite().all()) and found.numbers["steps"] <= 30 + CHECK + 1
    assert "came to NaN or infinity" in found.warnings[0]


def test_nothing_that_is_not_finite_is_written(tmp_path):
    found = ut.reconstruct(thing(), RECIPE + END, starts=2)
    image = found.image.clone()
    image[3, 4] = complex(math.nan, 0)
    with pytest.raises(ut.InputError, match="NaN or infinite values; nothing was written"):
        replace(found, image=image).save(tmp_path / "out")
    assert not (tmp_path / "out" / "result.cxi").exists()
    folder = ut.reconstruct(thing(), RECIPE + Spoil(seeds=seeds(1)) + END, starts=2).save(tmp_path / "good")
    text = Path(folder, "summary.json").read_text()
    assert (
        "NaN" not in text.replace("NaN or infinity", "") and "Infinity" not in text and json.loads(text)["starts"][-1]["r_factor"] is None
    )
