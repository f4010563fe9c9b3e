"""Waves that are no single far field: laws for every member, projections between waves, the spectral start, and whole runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import untwin as ut
from laws import adjoint
from samples import close, wave
from untwin import cli
from untwin.data.measurement import Pattern
from untwin.data.optics import Optics
from untwin.engine import Coefficients
from untwin.errors import InputError
from untwin.judge.trust import Cause
from untwin.judge.twin import twin_numbers
from untwin.model.waves.base import Waves, least_squares
from untwin.runs.names import parse
from untwin.solve.run import iterate
from untwin.solve.spectral import WEIGHTS, leading

ROWS = {
    "ER": ut.algorithms.ER(),
    "SF": ut.algorithms.SF(),
    "RAAR": ut.algorithms.RAAR(0.8),
    "HPR": ut.algorithms.HPR(0.7),
    "HIO": ut.algorithms.HIO(0.9),
    "DM": ut.algorithms.DM(),
}


def matrix(m: int, n: int, seed: int = 0, real: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(m, n))
    return a if real else a + 1j * rng.normal(size=(m, n))


def phases(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.exp(2j * np.pi * np.random.default_rng(seed).random(shape))


def functions(a: np.ndarray, grid: tuple[int, ...]) -> ut.physics.Linear:
    t = torch.from_numpy(a)
    return ut.physics.Linear(lambda x: x.flatten(1) @ t.T.to(x.dtype), lambda w: (w @ t.conj().to(w.dtype)).reshape(-1, *grid), grid=grid)


def operator(a: np.ndarray):
    from scipy.sparse.linalg import aslinearoperator

    return aslinearoperator(a)


# name: (waves, shape of the pattern, shape of the object)
MEMBERS: dict[str, tuple[Waves, tuple[int, ...], tuple[int, ...]]] = {
    "matrix": (ut.physics.Linear(matrix(30, 12)), (30,), (12,)),
    "real matrix": (ut.physics.Linear(matrix(30, 12, real=True), grid=(3, 4)), (5, 6), (3, 4)),
    "tensor": (ut.physics.Linear(torch.from_numpy(matrix(26, 12))), (26,), (12,)),
    "operator": (ut.physics.Linear(operator(matrix(30, 12, 2))), (30,), (12,)),
    "functions": (functions(matrix(30, 12, 3), (4, 3)), (30,), (4, 3)),
    "gaussian": (ut.physics.Gaussian(11, seed=3), (40,), (11,)),
    "gaussian real": (ut.physics.Gaussian(11, 40, real=True), (40,), (11,)),
    "masks": (ut.physics.Masked(phases((3, 8, 9))), (3, 8, 9), (8, 9)),
    "masks, dark places": (ut.physics.Masked(phases((2, 7, 7)) * (np.arange(49).reshape(7, 7) % 5 > 0)), (2, 7, 7), (7, 7)),
    "masks, oversampled": (ut.physics.Masked(phases((2, 6, 5))), (2, 9, 10), (6, 5)),
    "masks, 3D": (ut.physics.Masked(phases((2, 4, 5, 6))), (2, 4, 5, 6), (4, 5, 6)),
    "one mask": (ut.physics.Masked(phases((1, 8, 9))), (1, 8, 9), (8, 9)),
    "fresnel": (ut.physics.Fresnel((0.2, 0.31)), (2, 12, 11), (12, 11)),
    "one distance": (ut.physics.Fresnel((0.15,)), (1, 12, 10), (12, 10)),
}


def bound(name: str) -> tuple[Waves, tuple[int, ...], tuple[int, ...]]:
    waves, shape, grid = MEMBERS[name]
    return waves.on(Pattern.of_waves(np.ones(shape))), shape, grid


def problem(name: str, x: torch.Tensor, constraint: ut.constraints.Support | None = None) -> ut.Problem:
    """Of x (*grid), without noise, in double precision."""
    waves, _, _ = bound(name)
    p = ut.Problem(Pattern.of_waves(waves(x[None])[0]), waves, **({"constraint": constraint} if constraint else {}))
    return p.to(dtype=torch.float64)


# laws


@pytest.mark.parametrize("name", MEMBERS)
def test_waves_are_linear_and_backpropagate_is_their_adjoint(name):
    waves, shape, grid = bound(name)
    x, y, w = wave(grid, 1, 2), wave(grid, 2, 2), wave(shape, 3, 2)
    adjoint(waves.propagate, waves.backpropagate, x, w)
    assert waves.propagate(x).shape == w.shape and waves.backpropagate(w).shape == x.shape
    assert close(waves.propagate(2j * x + y), 2j * waves.propagate(x) + waves.propagate(y)) < 1e-13
    assert close(waves(x), waves.propagate(x).abs().square()) < 1e-13
    assert waves.object_shape(Pattern.of_waves(np.ones(shape))) == grid


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize("name", MEMBERS)
def test_the_pseudoinverse_is_that_of_least_squares(name, real):
    waves, shape, grid = bound(name)
    w = wave(shape, 4, 2)
    x = waves.pseudoinverse(w, real)
    assert x.shape == (2, *grid) and not (real and x.is_complex())
    assert close(x, least_squares(waves, w, real)) < 1e-4
    rest = waves.backpropagate(waves.propagate(x) - w)  # which is orthogonal to all that W makes
    assert float((rest.real if real else rest).abs().max()) < 1e-4 * float(waves.backpropagate(w).abs().max())


@pytest.mark.parametrize("name", MEMBERS)
def test_unitary_is_said_where_it_is_true_and_only_there(name):
    waves, shape, grid = bound(name)
    x, w = wave(grid, 1, 1), wave(shape, 2, 1)
    both = close(waves.backpropagate(waves.propagate(x)), x) < 1e-6 and close(waves.propagate(waves.backpropagate(w)), w) < 1e-6
    assert waves.unitary == both


@pytest.mark.parametrize("name", MEMBERS)
def test_fits_go_through_the_waves(name):
    waves, _, grid = bound(name)
    x = wave(grid, 1, 1).requires_grad_()
    g = torch.autograd.grad(waves(x).sum(), x)[0]  # of |W x|², 2 W* W x
    with torch.no_grad():
        assert close(g, 2 * waves.backpropagate(waves.propagate(x))) < 1e-10


# projections between waves


def reference(waves: Waves, row: Coefficients, w: torch.Tensor, target: torch.Tensor, support: torch.Tensor, real: bool) -> torch.Tensor:
    b = target * torch.sgn(w)
    x = waves.pseudoinverse(row.u * w + row.v * b, real)
    z = waves.propagate((x.real if real else x) * support).to(w.dtype)
    return row.a * w + row.c * b + row.s * z


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", [n for n, (w, *_) in MEMBERS.items() if n not in ("one mask", "one distance", "operator", "functions")])
def test_a_row_of_the_table_goes_between_waves(name, row, real):
    waves, _, grid = bound(name)
    truth = wave(grid, 7)
    p = problem(
        name, truth.real if real else truth, ut.constraints.Support() & ut.constraints.RealValued() if real else ut.constraints.Support()
    )
    support = torch.rand(grid, generator=torch.Generator().manual_seed(1)) < 0.8
    coefficients = ROWS[row].coefficients()
    if not isinstance(coefficients, Coefficients):  # Fienup's form is that of HPR here
        coefficients = ut.algorithms.HPR(ROWS[row].beta).coefficients()
    x = wave(grid, 8, 2)
    state = ut.State.of(x.real if real else x, support)
    w = waves.propagate(state.x).to(torch.complex128)
    for _ in range(3):
        w = reference(waves, coefficients, w, p.counts.amplitude, support, real)
    *_, after = iterate(p, 3 * ROWS[row], state)
    assert close(after.memory, w) < 1e-9
    assert close(after.x, waves.pseudoinverse(w, real)) < 1e-9
    *_, stretched = iterate(p, 3 * ROWS[row], state, 10)
    assert close(stretched.memory, after.memory) < 1e-12 and close(stretched.image, after.image) < 1e-9


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", MEMBERS)
def test_the_truth_stays_where_it_is(name, row):
    _, _, grid = bound(name)
    truth = wave(grid, 9)
    p = problem(name, truth)
    if name == "masks, dark places":
        truth = truth * (p.physics.waves.pseudoinverse(p.propagate(truth[None]))[0].abs() > 0)
    *_, after = iterate(p, 4 * ROWS[row], ut.State.of(truth[None]))
    assert close(p.project_object(after.image, after.support)[0], truth) < 1e-5  # conjugate gradients, where there is nothing else


def test_a_run_goes_on_bit_for_bit_from_a_stored_state(tmp_path):
    truth = wave((12,), 3)
    p = problem("matrix", truth)
    begun = ut.begin(p, [5]).replace()
    begun = ut.State.of(begun.x.to(torch.complex128))
    states = list(iterate(p, parse("6*DM + 3*ER"), begun))
    ut.save_state(states[3], tmp_path / "state")
    *_, again = iterate(p, parse("6*DM + 3*ER"), ut.load_state(tmp_path / "state"))
    assert torch.equal(again.image, states[-1].image)


# the spectral start


def test_the_spectral_start_is_the_eigenvector_of_the_dense_matrix():
    waves = ut.physics.Gaussian(20, 80, seed=4)
    x = wave((20,), 2)
    p = problem_of(waves, x)
    y = waves(x[None])[0]
    y, a = y / y.mean(), waves.matrix
    t = (y - 1) / (y + math.sqrt(4) - 1)
    wanted = torch.linalg.eigh(a.conj().T @ (t[:, None] * a))[1][:, -1]
    assert float(ut.physics.GlobalPhase().align(leading(p, torch.ones(20, dtype=torch.bool)), wanted.to(torch.complex128)).error) < 1e-2


def problem_of(waves: Waves, x: torch.Tensor, constraint: ut.constraints.Support | None = None) -> ut.Problem:
    y = waves(x[None])[0]
    return ut.Problem(Pattern.of_waves(y), waves, **({"constraint": constraint} if constraint else {})).to(dtype=torch.float64)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
def test_every_weight_points_at_the_object(weights, real):
    waves = ut.physics.Gaussian(32, 32 * 12, seed=1, real=real)
    x = wave((32,), 2)
    x = x.real if real else x
    p = problem_of(waves, x, ut.constraints.Support() & ut.constraints.RealValued() if real else ut.constraints.Support())
    found = leading(p, torch.ones(32, dtype=torch.bool), weights)
    error = float(ut.physics.GlobalPhase().align(found.to(torch.complex128), x.to(torch.complex128)).error)
    assert error < 0.65  # 0.99 is what a random one would have: cosine 0.17
    assert float(p.brightness(p.predict(found))) == pytest.approx(1, rel=1e-6)


def test_only_some_families_begin_at_the_spectral_start():
    p = problem_of(ut.physics.Gaussian(16, 96), wave((16,), 0))
    from untwin.solve.state import Member

    state = ut.begin(p, [Member(s, s, s % 2) for s in range(4)])
    state = ut.State.of(state.x.to(torch.complex128)).replace(members=state.members)
    *_, after = iterate(p, parse("Spectral(variety=0)"), state)
    assert torch.equal(after.x[1::2], state.x[1::2]) and close(after.x[2], after.x[0]) < 1e-12
    assert not torch.equal(after.x[0], state.x[0])


def test_the_spectral_start_is_refused_for_one_far_field():
    counts = np.abs(np.fft.fft2(np.pad(np.ones((9, 7)), ((0, 23), (0, 25))))) ** 2
    with pytest.raises(InputError, match="tells nothing of one far field"):
        ut.reconstruct(Pattern(counts, np.ones(counts.shape, bool)), "Spectral + 5*ER", starts=2)


# whole runs


def test_a_gaussian_measurement_is_solved_and_trusted():
    x = wave((24,), 5)
    solution = ut.reconstruct(problem_of(ut.physics.Gaussian(24, 24 * 5, seed=2), 100 * x).to(dtype=torch.float32), starts=4)
    assert solution.verdict.trusted is True
    assert solution.image.shape == (24,)  # in its own order: nothing is rolled
    assert float(ut.physics.GlobalPhase().align(solution.image[None].to(torch.complex128), x).error) < 1e-3


def test_coded_diffraction_is_solved_trusted_and_read_again(tmp_path):
    rng = np.random.default_rng(1)
    x = 30 * torch.from_numpy((1 + rng.random((16, 18))) * phases((16, 18), 2))
    waves = ut.physics.Masked(phases((3, 16, 18), 3)).on(Pattern.of_waves(np.ones((3, 16, 18))))
    counts = rng.poisson(waves(x[None])[0].numpy())
    solution = ut.reconstruct(ut.Problem(Pattern.of_waves(counts), waves), "Spectral + 150*DM + 30*ER", starts=4)
    assert solution.verdict.trusted is True
    assert float(ut.physics.GlobalPhase().align(solution.image[None].to(torch.complex128), x).error) < 0.1
    solution.save(tmp_path / "out")
    again = ut.load(tmp_path / "out")
    assert torch.equal(again.image, solution.image) and np.array_equal(again.pattern.intensity, solution.pattern.intensity)
    assert again.pattern.optics is not None and np.array_equal(again.pattern.optics.masks, waves.masks)
    assert repr(again.physics) == repr(solution.physics)
    pattern = ut.read(tmp_path / "out" / "result.cxi")
    assert close(ut.Problem(pattern).predict(x[None].to(torch.complex64)), waves(x[None])) < 1e-5


def test_a_real_picture_behind_one_chirp_has_no_twin_and_no_shift():
    rng = np.random.default_rng(1)
    x, inside = torch.zeros(32, 32), np.zeros((32, 32), bool)
    inside[8:24, 8:24] = True
    x[8:24, 8:24] = torch.from_numpy(1 + rng.random((16, 16))).float()
    r = np.arange(32) - 16
    chirp = np.exp(1j * np.pi * 4 * (r[:, None] ** 2 + r**2) / 16**2)
    waves = ut.physics.Masked(chirp[None]).on(Pattern.of_waves(np.ones((1, 32, 32))))
    p = ut.Problem(Pattern.of_waves(1e4 * waves(x[None])[0]), waves, ut.constraints.Support() & ut.constraints.Nonnegative())
    solution = ut.reconstruct(p, "250*RAAR + 60*ER", support=inside, starts=3)
    assert float(ut.physics.NoSymmetry().align(solution.image[None].to(torch.complex64), x.to(torch.complex64)).error) < 0.01


@pytest.mark.parametrize("outline", ["a box", "a triangle"])
def test_behind_one_mask_the_twin_is_left_unless_the_support_tells(outline):
    support = np.ones((16, 16), dtype=bool) if outline == "a box" else np.tri(16, dtype=bool)
    rng = np.random.default_rng(1)
    x = support * np.exp(2j * rng.random((16, 16))) * (0.5 + rng.random((16, 16)))
    mask = np.exp(2j * np.pi * rng.random((1, 16, 16)))
    y = np.abs(np.fft.fft2(np.pad(mask * x, ((0, 0), (0, 24), (0, 24))))) ** 2
    problem = ut.Problem(ut.Pattern.of_waves(y), ut.physics.Masked(mask))
    solutions = [ut.reconstruct(problem, support=support, starts=8, seed=seed) for seed in range(3)]
    if outline == "a triangle":
        assert all("twin" not in s.verdict.text for s in solutions) and any(s.verdict.trusted for s in solutions)
    else:
        assert not any(s.verdict.trusted for s in solutions) and any(s.verdict.cause is Cause.TWIN for s in solutions)


BOX = np.pad(np.ones((16, 16)), 8)
PAIRS = (np.arange(32)[:, None] - 15.5) ** 2 + (np.arange(32) - 15.5) ** 2  # of each pixel, the square of its distance from the middle


def masks_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Behind most of them the twin of an object in the box has the same patterns."""
    if kind in ("a real mask", "a real mask, a pixel of it dark"):
        mask = BOX * (0.5 + rng.random((32, 32)))
        mask[8, 8] *= kind == "a real mask"
        return mask[None]
    return {
        "one mask twice": np.stack([BOX * phases((32, 32), 7)] * 2) * np.reshape([1, 1j], (2, 1, 1)),
        "a small and a large aperture": np.stack([np.pad(np.ones((12, 12)), 10), BOX]),
        "different masks": BOX * phases((2, 32, 32), 8),
        "a chirp": BOX * np.exp(1j * PAIRS / 20)[None],
        "two planes": BOX * np.stack([np.ones((32, 32)), np.exp(1j * PAIRS / 16)]),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "positivity", "twin"),
    [
        ("a real mask", False, True),
        ("a real mask", True, True),
        ("a real mask, a pixel of it dark", False, True),
        ("one mask twice", False, True),
        ("a small and a large aperture", False, True),
        ("a small and a large aperture", True, True),
        ("different masks", False, False),
        ("a chirp", False, True),
        ("a chirp", True, False),
        ("two planes", False, False),
        ("two planes", True, False),
    ],
)
def test_the_twin_behind_masks_is_left_where_it_explains_the_data(kind, positivity, twin):
    rng = np.random.default_rng(4)
    x = BOX * (0.3 + rng.random((32, 32))) * (1 if positivity else np.exp(2j * rng.random((32, 32))))
    masks = masks_of(kind, rng)
    if kind.endswith("dark"):
        x[8, 8] = x[23, 23] = 0
    x *= np.sqrt(1e7 / np.square(np.abs(masks * x)).sum())
    y = rng.poisson(np.abs(np.fft.fft2(masks * x, norm="ortho")) ** 2)
    constraint = ut.constraints.Support() & ut.constraints.Nonnegative() if positivity else ut.constraints.Support()
    problem = ut.Problem(Pattern.of_waves(y), ut.physics.Masked(masks), constraint)
    truth = torch.from_numpy(x.astype(np.float32 if positivity else np.complex64))
    numbers = twin_numbers(problem, truth, torch.from_numpy(BOX > 0))
    assert (numbers.get("twin_error", 0.0) > 0.4) == bool(numbers) == twin


def test_an_object_that_is_its_own_twin_has_no_other():
    x = BOX * (1 + np.cos(PAIRS))
    problem = ut.Problem(Pattern.of_waves(np.abs(np.fft.fft2(x, norm="ortho"))[None] ** 2), ut.physics.Masked(BOX[None]))
    assert not twin_numbers(problem, torch.from_numpy(x).to(torch.complex64), torch.from_numpy(BOX > 0))


@pytest.mark.parametrize(("kind", "twin"), [("a real mask", True), ("a chirp", False), ("one mask twice", True)])
def test_no_object_is_trusted_whose_twin_explains_the_data(kind, twin):
    rng = np.random.default_rng(1)
    positivity = kind != "one mask twice"
    x = BOX * (0.3 + rng.random((32, 32))) * (1 if positivity else np.exp(2j * rng.random((32, 32))))
    masks = masks_of(kind, rng)
    y = np.abs(np.fft.fft2(masks * x)) ** 2
    pattern = Pattern.of_waves(rng.poisson(1e7 / y.sum() * y), optics=Optics(masks))
    solutions = [ut.reconstruct(pattern, positivity=positivity, seed=seed, workers=1) for seed in range(2)]
    assert {s.verdict.cause is Cause.TWIN for s in solutions} == {twin}, [s.verdict for s in solutions]
    assert any(s.verdict.trusted for s in solutions) == (not twin)
    assert {s.numbers.get("twin_error", 0.0) > 0.5 for s in solutions} == {twin}


def test_a_deep_prior_is_fitted_to_exposures():
    x = torch.from_numpy(phases((16, 16), 1) * (2 + np.cos(np.arange(16) / 3)))
    waves = ut.physics.Fresnel((0.1, 0.17, 0.3)).on(Pattern.of_waves(np.ones((3, 16, 16))))
    p = ut.Problem(Pattern.of_waves(100 * waves(x[None])[0]), waves)
    *_, after = iterate(p, parse("40*Fit(DoubleDIP(Skip(depth=2, width=8)))"), first := ut.begin(p, (0,)))
    assert float(p.misfit(after.image)) < 0.7 * float(p.misfit(first.x))


# bad input


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ut.physics.Linear(), "Linear without A"),
        (lambda: ut.physics.Linear(lambda x: x, grid=[4]), "expected the shape of the object"),
        (lambda: ut.physics.Linear(lambda x: x).on(flat(4)), "needs its adjoint and the shape"),
        (lambda: ut.physics.Linear(matrix(4, 2), lambda x: x).on(flat(4)), "has its own adjoint"),
        (lambda: ut.physics.Linear("A").on(flat(4)), "A is str; expected a matrix"),
        (lambda: ut.physics.Linear(matrix(4, 2) * np.nan).on(flat(4)), "NaN or infinite"),
        (lambda: ut.physics.Linear(matrix(5, 2)).on(flat(4)), "A has 5 rows for 4 measured numbers"),
        (lambda: ut.physics.Linear(matrix(4, 2), grid=(3,)).on(flat(4)), "A has 2 columns for an object of shape"),
        (lambda: ut.physics.Linear(lambda x: 2 * x, lambda w: 3 * w, grid=(4,)).on(flat(4)), "A and adjoint do not belong together"),
        (lambda: ut.physics.Linear(lambda x: x[:, :2], lambda w: w, grid=(4,)).on(flat(4)), "expected a tensor of shape"),
        (lambda: ut.physics.Gaussian(0), "unknowns=0"),
        (lambda: ut.physics.Gaussian(4, 8).on(flat(9)), "measurements of shape"),
        (lambda: ut.physics.Masked(np.ones((4, 4))), "expected numbers of shape"),
        (lambda: ut.physics.Masked(np.zeros((1, 4, 4))), "no light comes through"),
        (lambda: ut.physics.Masked(phases((2, 4, 4))).on(Pattern.of_waves(np.ones((3, 4, 4)))), "one mask for each exposure"),
        (lambda: ut.physics.Masked(phases((2, 4, 4))).on(Pattern.of_waves(np.ones((2, 3, 4)))), "no larger"),
        (lambda: ut.physics.Masked().on(Pattern.of_waves(np.ones((2, 3, 4)))), "without masks"),
        (lambda: ut.physics.Fresnel((0.0,)), "Fresnel numbers"),
        (lambda: ut.physics.Fresnel().on(Pattern.of_waves(np.ones((2, 3, 4)))), "without numbers"),
        (lambda: ut.physics.Fresnel((0.5,)).on(Pattern.of_waves(np.ones((2, 30, 40)))), "1 Fresnel numbers with exposures"),
        (lambda: ut.physics.Fresnel((0.01, 0.2)).on(Pattern.of_waves(np.ones((2, 30, 40)))), "on 30 pixels.*an array of 100 pixels"),
        (lambda: ut.Problem(Pattern.of_waves(np.ones(9))), "say nothing of W"),
        (lambda: ut.Problem(Pattern.of_waves(np.ones((3, 4, 4))), ut.physics.FarField()), "no single far field"),
        (lambda: ut.reconstruct(ut.Problem(flat(14), ut.physics.Gaussian(8))), "14 measured numbers for 8 complex unknowns; expected 15"),
        (lambda: Optics(np.ones((1, 2, 2)), (0.1,)), "expected one of them"),
        (lambda: ut.reconstruct(ut.Problem(flat(40), ut.physics.Gaussian(8)), "2*ER + Detwin"), "of one far field"),
        (lambda: ut.reconstruct(ut.Problem(flat(40), ut.physics.Gaussian(8)), method="double-dip"), "field, and these are exposures"),
        (lambda: ut.algorithms.Spectral("best"), "expected one of optimal"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make, match):
    with pytest.raises(InputError, match=match):
        make()


def flat(m: int) -> Pattern:
    return Pattern.of_waves(np.ones(m))


# flows


def formula(name: str, a: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    fit = a - root * a / a.abs()
    q = a.abs() / root
    return {
        "AmplitudeFlow": lambda: fit,
        "TruncatedAmplitudeFlow": lambda: fit * (q >= 1 / 1.7),
        "ReweightedAmplitudeFlow": lambda: fit * 2 * q / (q + 1),
        "WirtingerFlow": lambda: (a.abs() ** 2 - root**2) * a / (root**2).mean(),
    }[name]()


@pytest.mark.parametrize("name", ["AmplitudeFlow", "TruncatedAmplitudeFlow", "ReweightedAmplitudeFlow", "WirtingerFlow"])
def test_a_flow_follows_its_formula(name):
    a = torch.from_numpy(matrix(30, 12)).to(torch.complex128)
    p = problem("matrix", wave((12,), 3))
    root, largest = p.counts.amplitude, float(torch.linalg.eigvalsh(a.conj().T @ a)[-1])
    flow = getattr(ut.algorithms, name)()
    x = before = wave((12,), 4)
    for _ in range(3):
        y = x + flow.momentum * (x - before)
        x, before = y - flow.rate / largest * (a.conj().T @ formula(name, a @ y, root)), x
    *_, after = iterate(p, 3 * flow, ut.State.of(wave((12,), 4)[None]))
    assert close(after.image[0], x) < 2e-3  # the gain is found by 30 iterations


def test_flows_stop_at_the_truth():
    truth = wave((11,), 9)
    for name in ("AmplitudeFlow", "TruncatedAmplitudeFlow", "ReweightedAmplitudeFlow", "WirtingerFlow"):
        *_, after = iterate(problem("gaussian", truth), 5 * getattr(ut.algorithms, name)(), ut.State.of(truth[None]))
        assert close(after.image[0], truth) < 1e-10


def test_nothing_is_sought_where_no_light_comes():
    pupil = np.zeros((12, 12))
    pupil[3:8, 2:9] = 1
    masks = pupil * phases((3, 12, 12))
    truth = torch.from_numpy(50 * pupil * phases((12, 12), 4))
    waves = ut.physics.Masked(masks).on(Pattern.of_waves(np.ones((3, 12, 12))))
    p = ut.Problem(Pattern.of_waves(waves(truth[None])[0]), waves)
    assert np.array_equal(ut.begin(p, (0,)).support[0].numpy(), pupil > 0)
    solution = ut.reconstruct(p, "Spectral + 100*DM + 30*ER", starts=4)
    assert np.array_equal(solution.support.numpy(), pupil > 0) and solution.verdict.trusted is True


@pytest.mark.parametrize("kind", ["coded", "chirp", "defocus", "near"])
def test_simulated_exposures_come_back_from_their_file(tmp_path, kind):
    from untwin.data.exposures import write_exposures
    from untwin.simulate.exposures import exposures

    drawn = exposures(kind, 24, seed=3)
    path = write_exposures(tmp_path / "e.h5", drawn.counts, drawn.optics)
    p = ut.Problem(ut.read(path))
    f = p.predict(torch.from_numpy(drawn.image)[None].to(torch.complex64))[0]
    pull = (p.counts.intensity - f) / f.clamp(min=1).sqrt()
    assert abs(float(pull[f > 5].square().mean()) - 1) < 0.25  # of 500 pixels at least
    assert float(p.counts.intensity.double().sum()) == drawn.counts.sum()


def file_of(path, **datasets):
    import h5py

    attributes = datasets.pop("attributes", {})
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        file["exposures"].attrs.update(attributes)
    return path


def test_distances_become_fresnel_numbers_and_bad_pixels_count_as_not_measured(tmp_path):
    y, bad = np.full((2, 20, 30), 7.0), np.zeros((20, 30), np.uint8)
    bad[3, 4], y[1, 5, 6] = 1, -2
    attributes = {"wavelength": 1e-10, "pixel_size": 1e-6}
    flat = np.full((20, 30), 2.0)
    pattern = ut.read(file_of(tmp_path / "n.h5", exposures=y, distances=[0.1, 0.05], mask=bad, flat=flat, attributes=attributes))
    assert pattern.optics.fresnel_numbers == pytest.approx((0.1, 0.2))
    assert not pattern.measured[:, 3, 4].any() and not pattern.measured[1, 5, 6] and pattern.measured.sum() == 1200 - 3
    assert pattern.intensity[0, 0, 0] == 3.5


@pytest.mark.parametrize(
    ("datasets", "match"),
    [
        ({"exposures": np.ones((2, 8, 8)), "distances": [1.0, 2.0]}, "need the attributes wavelength and pixel_size"),
        ({"exposures": np.ones((2, 8, 8)), "fresnel_numbers": [0.5]}, "2 exposures and 1 of fresnel_numbers"),
        ({"exposures": np.ones((2, 8, 8)), "fresnel_numbers": [0.5, 1], "masks": np.ones((2, 8, 8))}, "expected one of them"),
        ({"exposures": np.ones((8, 8)), "fresnel_numbers": [0.5, 1]}, r"expected numbers \(exposures"),
        ({"exposures": np.ones((2, 8, 8)), "masks": np.ones((8, 8))}, r"masks of shape \(8, 8\)"),
        ({"exposures": np.ones((2, 8, 8)), "fresnel_numbers": [0.5, 1], "mask": np.ones((4, 4))}, "mask in .* has shape"),
        ({"exposures": np.ones((2, 8, 8)), "fresnel_numbers": [0.5, np.nan]}, "Fresnel numbers"),
    ],
)
def test_files_of_exposures_that_do_not_fit_are_refused(tmp_path, datasets, match):
    with pytest.raises(InputError, match=match):
        ut.read(file_of(tmp_path / "x.h5", **datasets))


@pytest.mark.parametrize("n", [30, 49, 98, 103, 107, 128])
def test_a_fresnel_number_of_one_over_the_pixels_does_not_alias(n):
    pattern = Pattern.of_waves(np.ones((1, n, n)))
    for number in (1 / n, float(np.float32(1 / n)), -1 / n):
        ut.physics.Fresnel((number,)).on(pattern)
    with pytest.raises(InputError, match=f"Expected is 1/{n} at least, or an array of {2 * n} pixels"):
        ut.physics.Fresnel((0.5 / n,)).on(pattern)


def test_inspect_refuses_the_near_field_that_reconstruct_refuses(tmp_path, capsys):
    fine = file_of(tmp_path / "fine.h5", exposures=np.ones((2, 49, 49)), fresnel_numbers=[1 / 49, 0.1])
    file = file_of(tmp_path / "x.h5", exposures=np.ones((2, 49, 49)), fresnel_numbers=[0.01, 0.1])
    for command, path in (("inspect", fine), ("inspect", file), ("reconstruct", file)):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, str(path)])
            raise SystemExit(0)
        seen = capsys.readouterr()
        refused = "a Fresnel number of 0.01 aliases on 49 pixels" in seen.err
        assert (stop.value.code, refused) == ((0, False) if path is fine else (2, True)) and bool(seen.out) == (path is fine)


def test_inspect_says_what_exposures_need_where_they_are_fewer_numbers_than_unknowns(tmp_path, capsys):
    for count in (1, 2):
        path = file_of(tmp_path / f"{count}.h5", exposures=np.ones((count, 16, 16)), fresnel_numbers=[0.5, 1][:count])
        with pytest.raises(SystemExit):
            cli.main(["inspect", str(path)])
        said = capsys.readouterr().out
        needs = "256 measured numbers for 256 complex unknowns; expected 511 at least" in " ".join(said.split())
        assert needs == (count == 1) and ("untwin reconstruct" in said) == (count == 2)


def test_exposures_take_no_options_of_a_pattern(tmp_path):
    path = file_of(tmp_path / "x.h5", exposures=np.ones((2, 8, 8)), fresnel_numbers=[0.5, 1])
    with pytest.raises(InputError, match="leave other options out"):
        ut.read(path, centre=(4, 4))


def test_one_magnitude_is_the_nearest_of_its_kind():
    x, support = wave((9, 8), 1, 2), torch.rand(2, 9, 8, generator=torch.Generator().manual_seed(2)) < 0.7
    project = lambda v: (ut.constraints.Support() & ut.constraints.PhaseOnly()).project(v, support)  # noqa: E731
    y = project(x)
    assert close(project(y), y) < 1e-12 and float(y[0].abs()[support[0]].std()) < 1e-12
    far = float((y - x)[support].abs().square().sum())
    for k in range(20):
        other = torch.polar(torch.full((2, 9, 8), 0.5 + 0.05 * k, dtype=torch.float64), x.angle())
        assert far <= float((other - x)[support].abs().square().sum()) + 1e-9


def test_a_flat_start_is_one_magnitude_and_a_smooth_phase_of_its_own():
    p = ut.Problem(Pattern.of_waves(np.full((2, 32, 32), 50.0)), ut.physics.Fresnel((0.1, 0.2)))
    *_, after = iterate(p, parse("FlatStart(phase=0.5)"), ut.begin(p, (1, 2)))
    assert float(after.x.abs().std()) < 1e-5 * float(after.x.abs().mean())
    phase = after.x.angle()
    assert torch.allclose(phase.square().mean((1, 2)).sqrt(), torch.tensor(0.5), atol=0.02)
    rough = (phase - phase.roll(1, 1)).square().mean() / phase.square().mean()
    assert float(rough) < 0.5 and float((phase[0] - phase[1]).abs().max()) > 0.1  # neighbours of white noise: 2


def test_flat_starts_of_a_real_object_differ_too():
    p = ut.Problem(Pattern.of_waves(np.full((2, 32, 32), 50.0)), ut.physics.Fresnel((0.1, 0.2)), ut.constraints.RealValued())
    *_, after = iterate(p, parse("FlatStart"), ut.begin(p, (1, 2)))
    assert not after.x.is_complex() and float((after.x[0] - after.x[1]).abs().max()) > 0.1 * float(after.x.abs().max())


def test_starts_that_did_not_differ_are_no_evidence():
    p = ut.Problem(Pattern.of_waves(np.full((2, 32, 32), 50.0)), ut.physics.Fresnel((0.1, 0.2)), ut.constraints.RealValued())
    solved = ut.reconstruct(p, "FlatStart(phase=0) + 20*DM", starts=2, workers=1)
    assert max(s.error for s in solved.starts) < 1e-6, "both starts are the same"
    assert solved.numbers["families_agreeing"] == 1 and math.isnan(solved.numbers["agreement"]) and not solved.verdict.trusted


def test_a_finer_grid_shows_the_same_object_at_the_same_place():
    from untwin.solve.coarse import _refined

    r = np.arange(32) + 0.5
    fine = torch.from_numpy(2 + np.cos(2 * np.pi * r / 32)[:, None] * np.sin(4 * np.pi * r / 32) + 0j)[None]
    coarse = 2 * fine.reshape(1, 16, 2, 16, 2).mean((2, 4))  # as bright: each pixel has the light of four
    assert close(_refined(coarse), fine) < 0.03  # means over blocks are a little lower at peaks
    assert float(_refined(coarse).abs().square().sum()) == pytest.approx(float(coarse.abs().square().sum()))
    assert not _refined(coarse.real).is_complex() and _refined(coarse[:, :15]).shape == (1, 30, 32)


def test_binned_exposures_are_those_of_coarser_pixels():
    from untwin.solve.coarse import _binned

    r = np.arange(64)
    smooth = np.exp(0.5j * np.cos(2 * np.pi * r / 64)[:, None] * np.cos(2 * np.pi * r / 32))
    waves = ut.physics.Fresnel((0.05, 0.1)).on(Pattern.of_waves(np.ones((2, 64, 64))))
    measured = np.ones((2, 64, 64), bool)
    measured[0, 5, 7] = False
    p = ut.Problem(Pattern.of_waves(waves(torch.from_numpy(10 * smooth)[None])[0], measured), waves)
    half, support = _binned(p, torch.ones(1, 64, 64, dtype=torch.bool))
    assert half.physics.waves.numbers == pytest.approx((0.2, 0.4)) and support.shape == (1, 32, 32)
    assert (~half.pattern.measured).sum() == 1 and not half.pattern.measured[0, 2, 3]
    coarse = torch.from_numpy(20 * smooth.reshape(32, 2, 32, 2).mean((1, 3)))
    complete = torch.from_numpy(half.pattern.measured)
    assert close(half.predict(coarse[None].to(torch.complex64))[0][complete], half.counts.intensity[complete]) < 0.01


def test_starts_from_coarse_to_fine_agree_where_the_data_decide():
    from untwin.simulate.exposures import exposures

    drawn = exposures("near", 48, photons=1e8, seed=4)
    p = ut.Problem(Pattern.of_waves(drawn.counts, optics=drawn.optics))
    recipe = "CoarseStart(phase=0.3, size=24, iterations=600) + 50*DM + 20*RAAR + MaximumLikelihood(60)"
    solution = ut.reconstruct(p, recipe, starts=2, seed=1)
    truth = torch.from_numpy(drawn.image)
    assert solution.verdict.trusted is True
    assert float(ut.physics.GlobalPhase().align(solution.image[None].to(truth.dtype), truth).error) < 0.05


def test_a_coarse_start_is_refused_for_other_waves():
    with pytest.raises(InputError, match="is for the near field"):
        ut.reconstruct(ut.Problem(flat(40), ut.physics.Gaussian(8)), "CoarseStart")


@pytest.mark.parametrize(("photons", "trusted"), [(2e4, None), (3e5, True)])
def test_starts_that_agree_on_noise_are_not_trusted(photons, trusted):
    from untwin.simulate.exposures import coded

    drawn = coded(size=16, exposures=4, photons=photons, seed=2)
    p = ut.Problem(Pattern.of_waves(np.ascontiguousarray(drawn.optics.cornered(drawn.counts)), optics=drawn.optics))
    solution = ut.reconstruct(p, "Spectral + 150*DM + 50*RAAR + 30*ER", starts=4)
    truth = torch.from_numpy(drawn.image)
    error = float(ut.physics.GlobalPhase().align(solution.image[None].to(truth.dtype), truth).error)
    assert solution.numbers["agreement"] < 0.05  # they agree either way
    assert solution.numbers["noise_error"] == pytest.approx(error, rel=0.25)
    assert solution.verdict.trusted is trusted and ("counting noise alone" in solution.verdict.text) == (trusted is None)


def test_what_nobody_saw_is_no_difference():
    measured = np.zeros((2, 20, 24), bool)
    measured[:, 4:-4, 5:-5] = True
    measured[1, 6, 7] = False
    waves = ut.physics.Fresnel((0.1, 0.2)).on(Pattern.of_waves(np.where(measured, 5.0, 0), measured))
    x, y = wave((20, 24), 1), wave((20, 24), 2)
    inside = torch.from_numpy(measured.all(0))
    other = torch.where(inside, x * 1j, y)
    aligned = waves.symmetry.align(other[None], x)
    assert float(aligned.error) < 1e-7 and close(aligned.x[0][inside], x[inside]) < 1e-12
    assert float(ut.physics.GlobalPhase().align(other[None], x).error) > 0.1
    assert ut.physics.Fresnel((0.1, 0.2)).on(Pattern.of_waves(np.ones((2, 20, 24)))).symmetry.view is None


def drawn_problem(kind: str, size: int, photons: float, factor: float = 1.0, optics: Optics | None = None, **more) -> ut.Problem:
    from untwin.simulate.exposures import exposures

    drawn = exposures(kind, size, photons=photons, seed=0)
    own = optics or drawn.optics
    return ut.Problem(Pattern.of_waves(np.ascontiguousarray(own.cornered(factor * drawn.counts)), optics=own), **more)


def test_distances_in_the_wrong_order_contradict_the_counts():
    numbers = drawn_problem("near", 32, 1e8).pattern.optics.fresnel_numbers
    right = ut.reconstruct(drawn_problem("near", 32, 1e8), starts=2, seed=1)
    wrong = ut.reconstruct(drawn_problem("near", 32, 1e8, optics=Optics(fresnel_numbers=numbers[::-1])), starts=2, seed=1)
    assert right.verdict.trusted is True and right.numbers["misfit"] == pytest.approx(1, abs=0.15)
    assert wrong.verdict.trusted is not True and wrong.numbers["misfit"] > 1.5


def test_noise_is_asked_for_where_nothing_was_counted():
    few = drawn_problem("coded", 16, 2e4, factor=0.37)
    many = drawn_problem("coded", 16, 1e7, factor=0.37)
    recipe = "Spectral + 150*DM + 50*RAAR + 30*ER"
    for p, trusted in ((few, None), (many, True)):
        solution = ut.reconstruct(p, recipe, starts=4)
        assert not p.pattern.counted and (solution.verdict.trusted is trusted or (trusted is None and not solution.verdict.trusted))
        assert (solution.numbers["noise_error"] > 0.1) == (trusted is None)


def test_the_noise_of_a_near_field_is_estimated_in_fewer_steps(monkeypatch):
    from untwin.runs import halves
    from untwin.simulate.exposures import exposures

    p, slopes = drawn_problem("near", 32, 1e7), []
    image, support = torch.from_numpy(exposures("near", 32, photons=1e7, seed=0).image), torch.ones(32, 32, dtype=torch.bool)
    monkeypatch.setattr(ut.Problem, "misfit", lambda self, x, own=ut.Problem.misfit: slopes.append(0) or own(self, x))
    short, few = halves.noise_error(p, image, support), len(slopes)
    monkeypatch.setattr(halves, "NEAR_PAIRS", halves.MEMORY)
    monkeypatch.setattr(halves, "NEAR_TOLERANCE", halves.TOLERANCE)
    assert short == pytest.approx(halves.noise_error(p, image, support), rel=0.05)
    assert few < 0.7 * (len(slopes) - few)


def test_what_a_strange_caller_gives_is_taken_or_refused():
    assert ut.physics.Fresnel(np.array([0.2, 0.3])).numbers == (0.2, 0.3) and ut.physics.Fresnel(torch.tensor([0.5])).numbers == (0.5,)
    with pytest.raises(InputError, match="0 everywhere"):
        ut.physics.Linear(np.zeros((4, 2))).on(flat(4))
    with pytest.raises(InputError, match="A fails on a complex tensor of shape"):
        ut.physics.Linear(lambda x: torch.ones(4, 2) @ x, lambda w: w, grid=(2,)).on(flat(4))


def test_pixels_that_are_not_square_and_complex_numbers_are_refused(tmp_path):
    attributes = {"wavelength": 1e-10, "pixel_size": [1e-6, 2e-6]}
    with pytest.raises(InputError, match="pixels are square here"):
        ut.read(file_of(tmp_path / "a.h5", exposures=np.ones((2, 20, 30)), distances=[0.1, 0.05], attributes=attributes))
    with pytest.raises(InputError, match="expected real numbers"):
        ut.read(file_of(tmp_path / "b.h5", exposures=np.ones((2, 20, 30)), fresnel_numbers=[0.1 + 0j, 0.2]))
    with pytest.raises(InputError, match="leave other options out"):
        ut.read(file_of(tmp_path / "c.h5", exposures=np.ones((2, 20, 30)), fresnel_numbers=[0.1, 0.2]), energy="8keV")
