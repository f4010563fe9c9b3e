"""Objects of which few values are not 0: the constraint, its machine code, the rule that ends a search, the benchmark's cells and files."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

import untwin as ut
from laws import fixed_point, idempotent, nearest
from members import PROJECTIONS
from samples import pattern, problem, run, state
from untwin import engine
from untwin.engine import Coefficients, ConstraintFlags, plain
from untwin.errors import GuessWarning, InputError
from untwin.model.constraints import Constraint, Nonnegative, RealValued, Sparse, Support
from untwin.runs.names import parse, parse_model
from untwin.simulate import atoms
from untwin.solve.run import iterate
from untwin.solve.solved import power_share

CONSTRAINTS = [
    Sparse(5),
    Sparse(3) & Nonnegative(),
    Nonnegative() & Sparse(3),
    Sparse(4) & RealValued(),
    Sparse(4) & Support() & Nonnegative(),
    Support() & Sparse(6),
]
SPARSE = Nonnegative() & Sparse(6)


def some(shape=(4, 3), seed=0, starts=2):
    return torch.randn((starts, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def inside(x, seed=1):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.7


def thing(shape, k, seed=0):
    """k values of 1 to 2, so far from the next ones that rounding cannot turn them."""
    rng = np.random.default_rng(seed)
    x = np.zeros(shape)
    x.flat[rng.choice(x.size, k, replace=False)] = 1 + rng.random(k)
    return torch.from_numpy(x)


def best_of_all(x, k, allowed, positive):
    """By trying every choice of k pixels."""
    flat = torch.where(allowed, x, 0).flatten()
    flat = flat.clamp(min=0) if positive else flat
    sets = []
    for chosen in itertools.combinations(range(flat.numel()), k):
        z = torch.zeros_like(flat)
        z[list(chosen)] = flat[list(chosen)]
        sets.append(z.reshape(x.shape))
    return sets


# the constraint


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_the_projection_is_idempotent_and_keeps_no_more_than_k(constraint):
    x = some()
    idempotent(lambda z: constraint.project(z, inside(x)), x)
    k = next(c.k for c in constraint.parts() if isinstance(c, Sparse))
    assert (constraint.project(x, inside(x)).flatten(1) != 0).sum(1).max() <= k


@pytest.mark.parametrize("positive", [False, True])
def test_no_other_choice_of_pixels_is_nearer(positive):
    for seed in range(5):
        x, s = some(seed=seed, starts=1), inside(some(starts=1), seed)
        x = x.real if positive else x
        constraint = Support() & Sparse(3) & Nonnegative() if positive else Support() & Sparse(3)
        nearest(lambda z: constraint.project(z, s)[0], x[0], best_of_all(x[0], 3, s[0], positive))  # noqa: B023


def test_the_order_in_which_constraints_stand_makes_no_difference():
    x = some((6, 7)).real
    a, b = Sparse(5) & Nonnegative(), Nonnegative() & Sparse(5)
    assert torch.equal(a.project(x, inside(x)), b.project(x, inside(x))) and a.flags == b.flags
    assert ((a.project(x, inside(x)) > 0).flatten(1).sum(1) == 5).all()


def test_of_equal_values_at_the_threshold_the_first_stay():
    x = torch.tensor([[[3.0, 2.0, 2.0, 1.0]], [[3.0, 2.0, 1.0, 1.0]], [[1.0, -1.0, 1.0, 1.0]]])
    assert Sparse(2).project(x, x > 0).flatten(1).tolist() == [[3, 2, 0, 0], [3, 2, 0, 0], [1, -1, 0, 0]]
    assert Sparse(4).project(x, x > 0).equal(x)
    x = some((6, 7)).real
    y = (Sparse(5) & ut.constraints.PhaseOnly()).project(x, inside(x))
    assert ((y != 0).flatten(1).sum(1) == 5).all(), "of one magnitude"


def test_fewer_than_k_positive_values_are_all_kept():
    x = torch.tensor([[[3.0, -2.0, 1.0, -5.0]]])
    assert SPARSE.project(x, x > 0).tolist() == [[[3.0, 0.0, 1.0, 0.0]]]


@pytest.mark.parametrize("k", [0, -3, 2.5, "8", True])
def test_a_number_of_values_that_cannot_be_is_refused(k):
    with pytest.raises(InputError, match="Sparse.*k"):
        Sparse(k)


def test_more_values_than_pixels_are_refused_before_anything_is_computed():
    p = pattern(thing((8, 8), 3))
    with pytest.raises(InputError, match=r"Sparse\(65\): the object has 64 pixels; expected .*Sparse\(3\)"):
        ut.Problem(p, constraint=Nonnegative() & Sparse(65))
    with pytest.raises(InputError, match="sparse=0"):
        ut.reconstruct(p, sparse=0)
    with pytest.raises(InputError, match="a support with .* no part"):
        ut.reconstruct(p, sparse=3, support=np.ones((8, 8)))
    with pytest.raises(InputError, match="no Sparse"):
        ut.reconstruct(ut.Problem(p), sparse=3)


def test_a_text_is_the_constraint():
    assert parse_model("Sparse(800) & Nonnegative()", Constraint) == Sparse(800) & Nonnegative()


@pytest.mark.parametrize("algorithm", [a() for a in PROJECTIONS], ids=repr)
def test_the_truth_is_a_fixed_point_of_every_projection(algorithm):
    truth = thing((9, 10), 6)
    fixed_point(problem(pattern(truth), SPARSE), 3 * algorithm, truth, torch.ones(9, 10, dtype=torch.bool))


# machine code


@pytest.mark.parametrize("grid", [(16, 16), (7, 24), (9, 30), (12, 512)], ids=str)
def test_machine_code_keeps_the_k_largest_as_torch_does(grid):
    iterations = pytest.importorskip("untwin.engine.iterations", reason="machine code needs the extra [fast]")
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3, *grid, generator=g)
    target = torch.fft.fftn(torch.randn(grid, generator=g), norm="ortho").abs()
    support = torch.rand(3, *grid, generator=g) < 0.7
    pixels = x[0].numel()
    for row, k in itertools.product((Coefficients(1, -0.5, 0.5, -1, 2), Coefficients(0, 0, 1, 0, 1)), (1, 5, pixels // 3, pixels)):
        flags = ConstraintFlags(positive=True, largest=k)
        for steps in (1, 2):
            z = x.double()
            for _ in range(steps):
                w = torch.fft.fftn(z, dim=(1, 2), norm="ortho")
                error = plain.modulus(w, target.double())
                y = torch.fft.ifftn(w, dim=(1, 2), norm="ortho").real.contiguous()
                z = plain.update(z, y, support, row, flags)
            got = iterations.run(x, support, iterations.arranged(target), row, flags, 0.0, 1.0, steps)
            for a, b in zip(got, (z, y, error)):
                assert float((a - b).norm() / b.norm()) < 2e-5, (row, k, steps)
        if row.a == 0:
            assert ((got[0] > 0).flatten(1).sum(1) <= k).all()


def test_machine_code_of_equal_values_ends_and_keeps_none_of_them():
    iterations = pytest.importorskip("untwin.engine.iterations", reason="machine code needs the extra [fast]")
    x = torch.zeros(1, 8, 8)
    x[0, 0, 0] = 1  # flat modulus: y = x, whose values at all other pixels are 0; with the mirror image added two are equal
    both = x + x.roll((3, 3), (1, 2))
    target = torch.fft.fftn(both[0], norm="ortho").abs()
    everywhere = torch.ones(1, 8, 8, dtype=torch.bool)
    row = Coefficients(0, 0, 1, 0, 1)
    for start, k, expected in ((both, 1, 0), (both, 2, 2), (torch.zeros(1, 8, 8), 3, 0)):
        after, _, _ = iterations.run(start, everywhere, iterations.arranged(target), row, ConstraintFlags(True, largest=k), 0.0, 1.0, 1)
        assert int((after > 1e-6).sum()) <= max(expected, 0)
        assert bool(after.isfinite().all())


def test_a_problem_is_iterated_alike_by_machine_code_and_by_torch(monkeypatch):
    p = ut.Problem(pattern(thing((24, 20), 9), photons=1e5), constraint=Nonnegative() & Sparse(9))
    begun = ut.begin(p, (0, 1, 2))
    assert begun.support.all(), "no support has a part in it"
    fast = ut.algorithms.RRR().stretch(p, begun, 2)
    with monkeypatch.context() as m:
        m.setattr(engine, "compiled_for", lambda *a: None)
        slow = ut.algorithms.RRR().stretch(p, begun, 2)
    assert torch.allclose(fast.x, slow.x, atol=2e-4 * float(slow.x.abs().max()))
    assert torch.allclose(fast.error, slow.error, rtol=1e-3)


def test_only_what_it_can_do_goes_to_machine_code():
    pytest.importorskip("untwin.engine.iterations", reason="machine code needs the extra [fast]")
    flags = ConstraintFlags(positive=True, largest=5)
    flat, deep = torch.zeros(1, 16, 16), torch.zeros(1, 8, 8, 8)
    assert engine.compiled_for(flat, flat > 0, flags)
    assert engine.compiled_for(deep, deep > 0, flags) is None
    assert engine.compiled_for(flat, flat > 0, ConstraintFlags(largest=5)) is None
    assert (Sparse(3) & ut.constraints.MagnitudeCap()).flags is None and (Sparse(3) & Sparse(2)).flags is None


# the end of a search


def small(seed=0):
    """10 atoms of one pixel in 32 x 32, without noise."""
    return ut.Problem(pattern(thing((32, 32), 10, seed)), constraint=Nonnegative() & Sparse(10))


def test_a_start_stops_when_its_estimate_is_in_the_constraint():
    p = small()
    ended = run(p, parse("Until(Solved(power=0.99, every=10), 2000*RRR)"), ut.begin(p, (0, 1, 2)))
    assert (power_share(p, ended) >= 0.99).all() and ended.step < 2000 and ended.step % 10 == 0


def test_all_stop_when_enough_have():
    p = small()
    ended = run(p, parse("Until(Solved(power=0.99, enough=1, every=10), 2000*RRR)"), ut.begin(p, tuple(range(6))))
    assert int((power_share(p, ended) >= 0.99).sum()) >= 1
    each = run(p, parse("Until(Solved(power=0.99, every=10), 2000*RRR)"), ut.begin(p, tuple(range(6))))
    assert ended.step <= each.step


def test_looks_come_at_the_same_steps_however_many_are_taken_at_once():
    p, recipe = small(), parse("3*ER + Until(Solved(power=0.999, every=7), 60*RRR) + 5*ER")
    singly = list(iterate(p, recipe, ut.begin(p, (0, 1))))
    for every in (4, 10, 100):
        together = list(iterate(p, recipe, ut.begin(p, (0, 1)), every))
        assert torch.equal(together[-1].x, singly[-1].x) and together[-1].step == singly[-1].step
        assert len(together) < len(singly)


def test_shifts_never_explain_the_counts_worse():
    p = ut.Problem(atoms.cell(100, "easy").pattern, constraint=Nonnegative() & Sparse(800))
    before = run(p, parse("Until(Solved(), 1000*RRR) + 20*ER"), ut.begin(p, (0,)))
    after = run(p, parse("Shifts(fractions=2, steps=10)"), before)
    assert float(p.misfit(p.project_object(after.image, after.support))) <= float(p.misfit(p.project_object(before.image, before.support)))


def test_the_objects_support_is_where_it_is_not_zero():
    p = problem(pattern(thing((9, 10), 6)), SPARSE)
    after = run(p, 3 * ut.algorithms.ER() + ut.algorithms.ObjectSupport(), state(some((9, 10)).real, torch.ones(9, 10, dtype=torch.bool)))
    assert torch.equal(after.support, p.project_object(after.image, after.support) != 0)


@pytest.mark.parametrize("wrong", [{"power": 0}, {"power": 1}, {"enough": -1}, {"every": 0}])
def test_a_rule_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match="Solved"):
        ut.rules.Solved(**wrong)


# the cells


@pytest.mark.parametrize("grade", list(atoms.CONTRAST))
def test_a_cell_is_what_its_grade_says(grade):
    cell = atoms.cell(60, grade, 3)
    assert abs(cell.contrast - atoms.CONTRAST[grade]) <= 0.02
    by = np.abs(cell.positions[:, None] - cell.positions)
    by = np.hypot(*np.moveaxis(np.minimum(by, 128 - by), -1, 0)) + 1e3 * np.eye(60)
    assert by.min() >= atoms.NEAREST and np.array_equal(cell.positions * 4, np.rint(cell.positions * 4))
    mirror = np.roll(np.flip(cell.counts), 1, (0, 1))
    assert np.array_equal(cell.counts, mirror) and not cell.counts[~atoms.measured_pixels()].any()
    wave = np.abs(np.fft.fft2(cell.density)) ** 2 / 128**2
    measured = cell.pattern.measured
    assert abs(cell.counts[measured].sum() / wave[measured].sum() - 1) < 0.01
    half_deviance = 0.5 * ((cell.counts - wave)[measured] ** 2 / np.maximum(wave[measured], 1)).mean()
    assert 0.3 < half_deviance < 0.7
    top = np.sort(cell.density.ravel())[::-1]
    assert (top[: cell.support] ** 2).sum() > 0.95 * (cell.density**2).sum()


def test_a_cell_is_a_function_of_its_seed_and_no_other_number():
    a, b, c = atoms.cell(20, "hard", 1), atoms.cell(20, "hard", 1), atoms.cell(20, "hard", 2)
    assert np.array_equal(a.counts, b.counts) and not np.array_equal(a.positions, c.positions)
    with pytest.raises(InputError, match="grade='E'"):
        atoms.cell(20, "E")
    with pytest.raises(InputError, match="atoms"):
        atoms.cell(1)


# their files


def test_half_of_a_pattern_is_read_as_it_is(tmp_path):
    cell = atoms.cell(40, "easy", 0)
    cell.write(tmp_path / "data40E")
    with pytest.warns(GuessWarning, match=r"128 x 64 whole numbers .* highest row and column are not measured"):
        p = ut.read(tmp_path / "data40E")
    assert np.array_equal(p.intensity, cell.counts) and np.array_equal(p.measured, atoms.measured_pixels())
    assert p.counted and len(p.warnings) == 1 and not p.doubts


@pytest.mark.parametrize("fault", ["first column", "zero frequency", "highest row", "fraction"])
def test_another_table_is_not_taken_for_half_of_a_pattern(tmp_path, fault):
    half = atoms.cell(40, "easy", 0).counts[:, :64].astype(float)
    at = {"first column": (5, 0), "zero frequency": (0, 0), "highest row": (64, 3), "fraction": (7, 7)}[fault]
    half[at] += 0.5 if fault == "fraction" else 1
    np.savetxt(tmp_path / "table.txt", half, fmt="%g")
    with pytest.warns(GuessWarning):
        p = ut.read(tmp_path / "table.txt")
    assert p.source.shape == (128, 64)


# the whole of it


def test_a_cell_is_solved_by_one_line(tmp_path):
    cell = atoms.cell(100, "easy", 0)
    cell.write(tmp_path / "data100E")
    command = [sys.executable, "-m", "untwin", "reconstruct", "data100E", "--sparse", "800", "-o", "out", "--starts", "4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "TRUST" in done.stdout and "oversampling" not in done.stderr, done.stdout + done.stderr
    solution = ut.load(tmp_path / "out")
    assert solution.verdict.trusted and solution.numbers["support_pixels"] <= 800
    truth = torch.from_numpy(np.fft.fftshift(cell.density)).to(torch.complex64)
    found = torch.as_tensor(solution.image)
    assert float(ut.align(found.unsqueeze(0), truth, 2).error[0]) < 0.2


@pytest.mark.parametrize("options", [["--sparse", "20000"], ["--sparse", "0"], ["--sparse", "8", "--constraint", "Support()"]])
def test_bad_numbers_end_with_exit_code_2(tmp_path, options):
    atoms.cell(40, "easy", 0).write(tmp_path / "data40E")
    done = subprocess.run(
        [sys.executable, "-m", "untwin", "reconstruct", "data40E", *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr and "sparse" in done.stderr.lower(), done.stderr


def test_the_number_of_values_is_found_where_nobody_has_said_it():
    truth = thing((32, 32), 12, 3)
    p = ut.Problem(pattern(truth), constraint=Nonnegative() & Sparse())
    plan = parse(
        "Plan(CountValues(Until(Solved(power=0.99, enough=2), 2000*HPR(beta=0.6)) + 20*ER, 20*ER), "
        "Search(Until(Solved(power=0.99, enough=2), 2000*HPR(beta=0.6)) + 20*ER + ObjectSupport, starts=4, families=4))"
    )
    solution = ut.reconstruct(p, plan, workers=1)
    assert 12 <= solution.numbers["values"] <= 24 and "values of the object are not 0" in solution.verdict.text
    assert solution.numbers["r_factor"] < 1e-3
    known = ut.reconstruct(ut.Problem(pattern(truth), constraint=Nonnegative() & Sparse(12)), plan, workers=1)
    assert "values" not in known.numbers


def test_sparse_without_a_number_asks_for_one_where_it_is_used():
    p = ut.Problem(pattern(thing((16, 16), 5)), constraint=Nonnegative() & Sparse())
    with pytest.raises(InputError, match="Sparse.. does not say how many"):
        ut.reconstruct(p, "20*ER", workers=1)
