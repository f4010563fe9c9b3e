"""Independent results, averaged and kept: what starts share is shown, and how far replicas are from it is its error."""

from __future__ import annotations

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

import untwin as ut
from untwin import fourier
from untwin.data.measurement import Geometry
from untwin.errors import InputError, NumericalFailure
from untwin.judge import trust
from untwin.model.alignment import carried, shift, twin
from untwin.runs import auto
from untwin.runs.assess import _contradictions
from untwin.runs.population import Population, start
from untwin.runs.replicate import RELAXATIONS, THRESHOLDS, recipes, redrawn, replicate
from untwin.runs.stages.average import family_mean

SHAPE = (24, 20, 22)
BRAGG = Geometry(sampling=((7e6, 0.0, 2e6), (0.0, 1e7, 0.0), (0.0, 1e6, 1e7)), q=(2.4e10, 1e10, -8e9))
PLAN = (
    "Plan(Search(4*(20*HIO + ShrinkWrap(threshold=0.23, sigma=1.0, level='weighted')) + 20*ER, starts=4, families=2), "
    "Average(10*RAAR(beta=0.75) + 20*Mean(RAAR(beta=0.75))))"
)


def crystal() -> np.ndarray:
    """Centred, an uneven block with a phase, soft at its edges."""
    z, y, x = np.indices(SHAPE) - np.reshape([n // 2 for n in SHAPE], (3, 1, 1, 1))
    depth = np.minimum.reduce([5 - abs(z), 4 - abs(y), 5 - abs(x), 7 - abs(z + y - 0.5 * x), 4.5 - x + 0.3 * y])
    return np.clip(depth + 0.5, 0, 1) * np.exp(1j * (0.1 * z + 0.02 * x * y))


def pattern(geometry: Geometry = BRAGG, photons: float = 3e6) -> ut.Pattern:
    f = np.abs(np.fft.fftn(crystal())) ** 2
    return ut.Pattern(np.random.default_rng(0).poisson(photons * f / f.sum()).astype(np.float32), np.ones(SHAPE, bool), geometry)


@pytest.fixture(scope="module")
def solution() -> ut.results.Reconstruction:
    return ut.reconstruct(pattern(), PLAN, seed=1, workers=1)


@pytest.fixture(scope="module")
def replicated(solution) -> ut.results.Reconstruction:
    return replicate(solution, count=4, workers=1)


def aligned(solution: ut.results.Reconstruction):
    x, image = fourier.cornered(solution.replicas, 3), fourier.cornered(solution.image, 3)
    return ut.align(x, image, 3)


def test_the_independent_starts_of_a_bragg_scan_are_its_replicas(solution):
    assert solution.numbers["families"] == 2 and len(solution.starts) == 4
    assert solution.replicas.shape == (4, *SHAPE) and solution.replicas.dtype == torch.complex64
    error = ut.align(solution.image[None], torch.from_numpy(crystal()), 3).error
    assert float(error[0]) < 0.15, "or this test says nothing of a crystal"


@pytest.mark.parametrize("name", ["solution", "replicated"])
def test_replicas_lie_on_the_image_each_on_its_own_support(name, request):
    of = request.getfixturevalue(name)
    now = aligned(of)
    assert float(now.by.abs().max()) < 0.1 and not bool(now.twin.any()), "shift and twin"
    assert float((now.factor - 1).abs().max()) < 0.01, "phase"
    supports = of.replicas != 0
    assert 0.02 < float(supports.float().mean()) < 0.5
    assert all(float((s & of.support).sum()) > 0.7 * float(s.sum()) for s in supports)
    distinct = {x.numpy().tobytes() for x in of.replicas}
    assert len(distinct) == len(of.replicas)


def test_no_ordinary_pattern_keeps_replicas():
    ordinary = ut.reconstruct(pattern(Geometry()), "Plan(Search(5*ER, starts=2, families=2))", workers=1)
    assert ordinary.replicas is None
    with pytest.raises(InputError, match="no independent results"):
        replicate(ordinary)


def test_the_image_stays_and_is_nearer_to_the_truth_than_a_replica(solution, replicated):
    truth = torch.from_numpy(crystal())
    assert torch.equal(replicated.image, solution.image) and torch.equal(replicated.support, solution.support)
    assert float(ut.align(solution.image[None], truth, 3).error[0]) < float(ut.align(replicated.replicas, truth, 3).error.mean())
    assert replicated.numbers["replicas"] == len(replicated.replicas)


def test_replicas_survive_a_file_to_the_bit(replicated, tmp_path):
    replicated.save(tmp_path / "run")
    back = ut.load(tmp_path / "run")
    assert torch.equal(back.replicas, replicated.replicas)
    with h5py.File(tmp_path / "run" / "result.cxi") as file:
        box = file["/entry_1/image_1/replicas"]
        assert box.size < replicated.replicas.numel() / 2 and box.compression == "gzip", "the box around them alone"


def test_a_new_result_removes_the_maps_of_the_one_before(solution, tmp_path):
    solution.save(tmp_path / "run")
    (tmp_path / "run" / "strain").mkdir()
    for name in ("strain.npz", "laboratory.vti", "array.vts", "numbers.csv", "crystal.vti"):
        (tmp_path / "run" / "strain" / name).write_text("of the one before")
    with pytest.raises(InputError):
        solution.save(tmp_path / "run")
    assert (tmp_path / "run" / "strain" / "strain.npz").exists()
    solution.save(tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "strain").exists()


@pytest.mark.parametrize("change", ["box", "place", "values"])
def test_replicas_that_were_changed_are_refused(replicated, tmp_path, change):
    replicated.save(tmp_path / "run")
    with h5py.File(tmp_path / "run" / "result.cxi", "r+") as file:
        box = file["/entry_1/image_1/replicas"]
        values, first = box[()], box.attrs["first"]
        del file["/entry_1/image_1/replicas"]
        values = {"box": values[0], "place": values, "values": values * np.nan}[change]
        file["/entry_1/image_1/replicas"] = values
        file["/entry_1/image_1/replicas"].attrs["first"] = first + (20 if change == "place" else 0)
    with pytest.raises(InputError, match="changed after they were written"):
        ut.load(tmp_path / "run")


def test_a_seed_gives_the_same_replicas_and_another_gives_others(solution, replicated):
    again, other = replicate(solution, count=4, workers=1), replicate(solution, count=4, seed=1, workers=1)
    assert torch.equal(again.replicas, replicated.replicas) and not torch.equal(other.replicas, replicated.replicas)


def test_counts_drawn_anew_have_their_own_mean_and_variance_and_nothing_where_nothing_was():
    p = ut.Problem(pattern())
    y = p.pattern.intensity
    draws = np.array([redrawn(p, k).pattern.intensity for k in range(40)])
    assert (draws[:, y == 0] == 0).all() and np.array_equal(draws, draws.round())
    bright = y > 20
    z = (draws - y)[:, bright] / np.sqrt(y[bright])
    assert abs(z.mean()) < 5 / z.size**0.5 and z.var() == pytest.approx(1, abs=0.05)


def test_numbers_that_are_no_counts_are_not_drawn_and_the_result_says_so(solution):
    scaled = replace(solution.pattern, intensity=solution.pattern.intensity / 3)
    assert not scaled.counted
    problem = ut.Problem(scaled)
    assert redrawn(problem, 3) is problem
    warned = replicate(replace(solution, pattern=scaled, image=solution.image / 3**0.5), count=2, workers=1).warnings
    assert any("no counts of photons" in w for w in warned)


def test_what_cannot_be_replicated_is_said(solution):
    with pytest.raises(InputError, match="count"):
        replicate(solution, count=1)
    with pytest.raises(InputError, match="physics"):
        replicate(replace(solution, physics=None))
    nothing = replace(solution, image=torch.randn(SHAPE, dtype=torch.complex64))
    with pytest.raises(NumericalFailure, match="are like the image"):
        replicate(nothing, count=2, workers=1)
    lone = replicate(replace(solution, replicas=solution.replicas[:1]), count=2, workers=1)
    assert any("single independent result" in w for w in lone.warnings)
    few = replicate(replace(solution, support=torch.ones(SHAPE, dtype=torch.bool)), count=2, workers=1).warnings
    assert any("photons for each voxel" in w for w in few) and not any("photons for each voxel" in w for w in lone.warnings)


def test_replicas_spread_over_all_thresholds_and_relaxations():
    texts = recipes(8, 0)
    for name, (low, high) in (("beta", RELAXATIONS), ("threshold", THRESHOLDS)):
        values = sorted(float(re.findall(rf"{name}=([\d.]+)", text)[0]) for text in texts)
        assert low < values[0] < values[-1] < high and np.allclose(np.diff(values), (high - low) / 8, atol=2e-4)
    assert all(ut.parse(text) for text in texts) and recipes(8, 0) == texts != recipes(8, 1)


def test_a_mask_is_carried_where_its_object_goes():
    x = fourier.cornered(torch.from_numpy(crystal()), 3).to(torch.complex64)
    moved = shift(twin(x[None], 3), torch.tensor([[3.0, -2.0, 5.0]]), 3)
    back = ut.align(moved, x, 3)
    assert bool(back.twin[0])
    inside = moved.abs() > 0.45
    assert torch.equal(carried(inside, back, 3)[0], x.abs() > 0.45)


def test_the_mean_of_a_family_is_that_of_its_largest_group_whatever_the_likelihood():
    problem = ut.Problem(pattern())
    x = fourier.cornered(torch.from_numpy(crystal()), 3).to(torch.complex64)
    x = x * problem.brightness(problem.predict(x[None])).sqrt()
    generator = torch.Generator().manual_seed(0)

    def noisy() -> torch.Tensor:
        noise = torch.complex(*(torch.randn(SHAPE, generator=generator) for _ in range(2)))
        return x + 0.08 * x.abs().max() * noise * (x != 0)

    objects = [noisy(), twin(shift(noisy()[None], torch.tensor([[2.0, 1.0, 0.0]]), 3), 3)[0], noisy(), x.abs() ** 0.3]
    stack = torch.stack(objects).to(torch.complex64)
    stack = stack.where(stack.abs() > 1e-3 * x.abs().max(), 0)
    members = tuple(start(0, i, 0) for i in range(4))
    family = Population.of(problem, replace(ut.begin(problem, members), x=stack, image=stack, support=stack != 0))
    errors = ut.align(stack, x, 3).error
    assert float(errors[3]) > 0.25 > float(errors[:3].max())
    assert family.order(problem)[0] != 3
    loner = replace(family, deviance=family.deviance - torch.tensor([0, 0, 0, 1e12], dtype=torch.float64))
    assert loner.order(problem)[0] == 3
    assert torch.equal(family_mean(problem, loner).state.image, family_mean(problem, family).state.image)
    mean = family_mean(problem, family)
    assert len(mean.state.seeds) == 1 and float(ut.align(mean.state.image, x, 3).error[0]) < 0.7 * float(errors[:3].min())
    lone = family_mean(problem, family.rows([3]))
    assert torch.equal(lone.state.image, stack[3:])


def test_the_plan_for_a_bragg_scan_averages_and_others_do_not():
    of = {kind: repr(auto.plan(ut.Problem(pattern(g)))) for kind, g in (("bragg", BRAGG), ("other", Geometry()))}
    assert "Average(" in of["bragg"] and "Average(" not in of["other"]
    single = auto.plan(ut.Problem(pattern()), starts=1)
    assert single.search.starts == single.search.families == 1
    assert "Average(" not in repr(auto.plan(ut.Problem.of(pattern(), positivity=False), fixed=True)), "a support that is given stays"


def test_nothing_is_trusted_where_the_likelihood_prefers_another_start_than_the_families_do(solution):
    assert solution.numbers["families_overruled"] == 0
    plan = auto.plan(ut.Problem(pattern()))
    clauses = [_contradictions(plan, {"families_overruled": n}, None, True) for n in (0.0, 1.0)]
    assert clauses[0] == () and len(clauses[1]) == 1
    sure = trust.Evidence(r_factor=0.1, errors=(0.02,), starts=8, agreeing=8, twins=0)
    assert trust.verdict(sure).trusted and trust.verdict(replace(sure, contradictions=clauses[1])).trusted is None
