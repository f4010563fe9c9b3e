"""Projection algorithms against their published formulas, and the laws that all of them obey.

The references know P_M, P_S and the reflectors R = 2 P − 1 only, in numpy; the table of coefficients is not consulted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from laws import batch_is_single_runs, equivariant, fixed_point
from members import PROJECTIONS
from samples import REAL, close, lopsided, pattern, problem, run, state, thing, wave
from untwin.errors import InputError
from untwin.model.alignment import align
from untwin.model.constraints import MagnitudeCap, Support
from untwin.model.counts import Modulus
from untwin.solve.admm import ADMM
from untwin.solve.projections import DM, ER, HIO, HPR, RAAR, RRR, SF
from untwin.solve.recipe import Draw, Ramp
from untwin.solve.shrinkwrap import AreaWrap, ShrinkWrap
from untwin.solve.wrap import Capped, Damped, Mean, Proximal, Rescale

SHAPES = [(12, 12), (13, 15), (12, 9), (8, 9, 12)]


@dataclass(frozen=True)
class Sets:
    """The two sets, in numpy."""

    amplitude: np.ndarray
    support: np.ndarray
    positive: bool

    def pm(self, x):
        y = np.fft.ifftn(self.amplitude * np.exp(1j * np.angle(np.fft.fftn(x))), norm="ortho")
        return y.real if self.positive else y

    def ps(self, x):
        return np.where(self.support, np.maximum(x, 0) if self.positive else x, 0)

    def rm(self, x):
        return 2 * self.pm(x) - x

    def rs(self, x):
        return 2 * self.ps(x) - x


def er(s, x, b):
    return s.ps(s.pm(x))


def sf(s, x, b):
    return s.rs(s.pm(x))


def raar(s, x, b):
    """Luke 2005, eq. 12."""
    return b / 2 * (s.rs(s.rm(x)) + x) + (1 - b) * s.pm(x)


def hpr(s, x, b):
    """Bauschke, Combettes and Luke 2003, eq. 19."""
    return (s.rs(s.rm(x) + (b - 1) * s.pm(x)) + x + (1 - b) * s.pm(x)) / 2


def hio(s, x, b):
    """Fienup 1982, eq. 44."""
    y = s.pm(x)
    good = s.support & (y >= 0) if s.positive else s.support
    return np.where(good, y, x - b * y)


def rrr(s, x, b):
    """Elser, Lan and Bendory 2018, with the data first: x + β [P_S(2 P_M x − x) − P_M x]."""
    y = s.pm(x)
    return x + b * (s.ps(2 * y - x) - y)


def dm(s, x, b):
    """Elser 2003, eqs. 10 to 13, with γ_M = 1/β and γ_S = −1/β."""
    f_m = (1 + 1 / b) * s.pm(x) - x / b
    f_s = (1 - 1 / b) * s.ps(x) + x / b
    return x + b * (s.ps(f_m) - s.pm(f_s))


def after(step, s, x, b, n):
    for _ in range(n):
        x = step(s, x, b)
    return x


def admm(s, y, b, n):
    """Boyd et al. 2011, section 3.1.1, scaled dual u, on f = support, g = modulus; the iterate is where P_M is taken."""
    u = np.zeros_like(y)
    for _ in range(n):
        z = s.ps(y - u)
        x = z + u
        y = s.pm(x)
        u = u + b * (z - y)
    return x


FORMULAS = [
    (ER(), er, None),
    (SF(), sf, None),
    (RAAR(), raar, 0.9),
    (RAAR(beta=0.6), raar, 0.6),
    (HPR(), hpr, 0.9),
    (HPR(beta=0.7), hpr, 0.7),
    (HIO(), hio, 0.9),
    (HIO(beta=0.75), hio, 0.75),
    (RRR(), rrr, 0.5),
    (RRR(beta=1.4), rrr, 1.4),
    (DM(), dm, 1.0),
    (DM(beta=0.7), dm, 0.7),
    (DM(beta=-0.8), dm, -0.8),
    (ADMM(), admm, 0.9),
    (ADMM(beta=0.5), admm, 0.5),
]


def setting(shape, real, seed=0):
    p = problem(pattern(thing(shape, seed, real), photons=1e4 if not real else None, seed=seed), REAL if real else Support())
    x = wave(shape, seed + 1, 1)
    x = x.real if real else x
    return p, x, Sets(p.counts.amplitude.numpy(), lopsided(shape).numpy(), real)


def test_every_projection_has_a_reference_here():
    assert {type(a) for a, _, _ in FORMULAS} == set(PROJECTIONS)


@pytest.mark.parametrize("real", [False, True], ids=["support", "positivity"])
@pytest.mark.parametrize(("algorithm", "formula", "beta"), FORMULAS, ids=[repr(f[0]) for f in FORMULAS])
def test_each_algorithm_is_its_published_formula(algorithm, formula, beta, real):
    for shape in SHAPES:
        p, x, s = setting(shape, real)
        want = admm(s, x[0].numpy(), beta, 3) if formula is admm else after(formula, s, x[0].numpy(), beta, 3)
        got = run(p, 3 * algorithm, state(x, lopsided(shape)))
        assert close(got.x[0], torch.from_numpy(want)) < 1e-10
        assert got.step == got.at == 3


@pytest.mark.parametrize("algorithm", [a for a, _, _ in FORMULAS if not isinstance(a, DM) or a.beta == 1], ids=repr)
@pytest.mark.parametrize("real", [False, True], ids=["support", "positivity"])
def test_the_estimate_is_what_the_data_make_of_the_iterate(algorithm, real):
    p, x, s = setting((12, 9), real)
    before = run(p, 2 * algorithm, state(x, lopsided((12, 9))))
    last = run(p, 3 * algorithm, state(x, lopsided((12, 9))))
    of = last.x if isinstance(algorithm, ADMM) else before.x  # ADMM's x is where y comes from, the others' where it goes
    assert close(last.image, p.project_modulus(of)) < 1e-12


def test_the_difference_maps_estimate_is_the_modulus_projection_of_f_s():
    p, x, s = setting((12, 9), False)
    f_s = (1 - 1 / 0.7) * s.ps(x[0].numpy()) + x[0].numpy() / 0.7
    assert close(run(p, DM(beta=0.7), state(x, lopsided((12, 9)))).image[0], torch.from_numpy(s.pm(f_s))) < 1e-12


def test_hpr_and_hio_agree_for_a_plain_support_and_differ_under_positivity():
    for beta in (0.6, 0.9, 1.0):
        p, x, _ = setting((12, 13), False)
        s = state(x, lopsided((12, 13)))
        assert close(run(p, 3 * HPR(beta), s).x, run(p, 3 * HIO(beta), s).x) < 1e-10
        p, x, _ = setting((12, 13), True)
        s = state(x, lopsided((12, 13)))
        a, b = run(p, HPR(beta), s).x, run(p, HIO(beta), s).x
        if beta < 1:
            assert close(a, b) > 1e-3


def test_the_difference_map_with_beta_one_is_the_general_form():
    p, x, s = setting((12, 9), True)
    want = x[0].numpy() + s.ps(s.rm(x[0].numpy())) - s.pm(x[0].numpy())  # Elser with β = 1, written out
    assert close(run(p, DM(), state(x, lopsided((12, 9)))).x[0], torch.from_numpy(want)) < 1e-12


def test_raar_with_beta_one_is_the_average_of_identity_and_two_reflections():
    p, x, s = setting((12, 9), True)
    want = (x[0].numpy() + s.rs(s.rm(x[0].numpy()))) / 2
    assert close(run(p, RAAR(beta=1.0), state(x, lopsided((12, 9)))).x[0], torch.from_numpy(want)) < 1e-12


# laws

WRAPPED = [
    Proximal(RAAR()),
    Proximal(ADMM(), rho=2.0),
    Damped(HIO(), gamma=0.9),
    Mean(RAAR()),
    Mean(Proximal(ADMM())),
    Capped(HIO()),
    Capped(Proximal(DM())),
]
EVERY = [a for a, _, _ in FORMULAS] + WRAPPED


STAY = [pytest.param(a, id=repr(a)) for a in EVERY]
BOTH = [  # damping is for real objects only
    pytest.param(a, real, id=f"{'positivity' if real else 'support'}-{a!r}")
    for real in (False, True)
    for a in EVERY
    if real or not isinstance(a, Damped)
]


def slack(algorithm) -> float:
    """The proximal step divides by f + 1e-10."""
    return 1e-8 if "Proximal" in repr(algorithm) else 1e-10


def uniform(x: torch.Tensor) -> torch.Tensor:
    """Magnitude 1 inside: what a ceiling leaves alone."""
    return torch.sgn(x)


@pytest.mark.parametrize(("algorithm", "real"), BOTH)
def test_the_truth_is_a_fixed_point(algorithm, real):
    for shape in SHAPES:
        x = uniform(thing(shape, 3, real)) if "Capped" in repr(algorithm) else thing(shape, 3, real)
        p = problem(pattern(x), REAL if real else Support())
        fixed_point(p, 4 * algorithm, x, lopsided(shape), slack(algorithm))


@pytest.mark.parametrize("algorithm", [a for a in STAY if not isinstance(a.values[0], Damped)])
def test_the_truth_is_a_fixed_point_behind_a_mask_and_with_an_offset(algorithm):
    x = uniform(thing((14, 13), 4)) if "Capped" in repr(algorithm) else thing((14, 13), 4)
    fixed_point(problem(pattern(x, (0.5, 0.5), hide=0.2)), 4 * algorithm, x, lopsided((14, 13)), slack(algorithm))


@pytest.mark.parametrize(("algorithm", "real"), BOTH)
def test_starts_in_a_batch_are_single_runs(algorithm, real):
    p, _, _ = setting((12, 9), real)
    batch_is_single_runs(p, 3 * algorithm, lopsided((12, 9)))


def test_starts_in_a_batch_are_single_runs_with_supports_and_drawn_settings():
    p, _, _ = setting((16, 15), False)
    wrap = ShrinkWrap(threshold=Draw(0.1, 0.9), sigma=Ramp(Draw(1.0, 2.0), 0.5), islands=0.05)
    area = AreaWrap(area=Ramp(0.9, 0.3), sigma=Draw(0.3, 2.0))
    batch_is_single_runs(p, 2 * (2 * RAAR() + wrap) + 2 * (2 * HIO() + area) + Mean(ER()) + Rescale(), lopsided((16, 15)))


@pytest.mark.parametrize(("algorithm", "real"), BOTH)
def test_the_solver_moves_with_its_start(algorithm, real):
    for shape in SHAPES[1:]:
        p, _, _ = setting(shape, real)
        equivariant(p, 3 * algorithm, lopsided(shape))


def test_the_solver_moves_with_its_start_through_shrink_wraps():
    p, _, _ = setting((16, 15), False)
    bounds = torch.ones((16, 15), dtype=torch.bool)
    equivariant(p, 2 * (2 * RAAR() + ShrinkWrap(threshold=0.7, islands=0.02)) + ER(), bounds)


def test_no_algorithm_writes_into_the_state_it_was_given():
    for real in (False, True):
        p, x, _ = setting((12, 9), real)
        for algorithm in EVERY:
            s = algorithm.begin(p, state(x, lopsided((12, 9))))
            copies = [t.clone() for t in (s.x, s.image, s.support)]
            algorithm.step(p, s)
            assert all(torch.equal(a, b) for a, b in zip(copies, (s.x, s.image, s.support))), algorithm


def test_the_misfit_does_not_rise_under_error_reduction():
    """Fienup 1982: |P_M x − x| falls with every step."""
    p, x, _ = setting((16, 15), False)
    s, last = state(x, lopsided((16, 15))), np.inf
    s = run(p, ER(), s)
    for _ in range(30):
        gap = float((p.project_modulus(s.x) - s.x).abs().square().sum())
        assert gap <= last * (1 + 1e-12)
        s, last = run(p, ER(), s), gap


def test_a_known_support_gives_the_object_back():
    x = thing((24, 26), 5)
    p = problem(pattern(x))
    s = lopsided((24, 26))
    end = run(p, 150 * RAAR() + 50 * ER(), state(wave((24, 26), 9, 3), s))
    assert float(align(p.project_object(end.image, end.support), x, 2).error.min()) < 0.02


# wrappers


def test_a_wrapper_changes_the_problem_and_nothing_else():
    p, x, _ = setting((12, 9), False)
    s = state(x, lopsided((12, 9)))
    proximal = problem(p.pattern, modulus=Modulus(0.5))
    assert close(run(p, 3 * Proximal(RAAR(), rho=0.5), s).x, run(proximal, 3 * RAAR(), s).x) < 1e-12
    capped = problem(p.pattern, Support() & MagnitudeCap())
    assert close(run(p, 3 * Capped(RAAR()), s).x, run(capped, 3 * RAAR(), s).x) < 1e-12
    assert close(run(p, 3 * Capped(RAAR()), s).x, run(p, 3 * RAAR(), s).x) > 1e-6
    hidden = problem(pattern(thing((12, 9), real=True), hide=0.3), REAL)
    damped, s = problem(hidden.pattern, REAL, modulus=Modulus(damping=0.9)), state(x.real, lopsided((12, 9)))
    assert close(run(hidden, 3 * Damped(RAAR(), 0.9), s).x, run(damped, 3 * RAAR(), s).x) < 1e-7
    assert close(run(hidden, 3 * Proximal(Damped(RAAR(), 0.9), 0.5), s).x, run(hidden, 3 * Damped(Proximal(RAAR(), 0.5), 0.9), s).x) < 1e-7


def test_a_mean_is_the_mean_of_the_cut_estimates_and_leaves_the_iterate_alone():
    p, x, _ = setting((12, 9), False)
    s = state(x, lopsided((12, 9)))
    want, at = 0, s
    for _ in range(4):
        at = run(p, RAAR(), at)
        want = want + p.project_object(at.image, at.support) / 4
    got = run(p, 4 * Mean(RAAR()), s)
    assert close(got.image, want) < 1e-12 and close(got.x, at.x) < 1e-12
    settled = run(p, 4 * Mean(RAAR()) + Rescale(), s)
    scale = settled.x.flatten(1).norm(dim=1) / want.flatten(1).norm(dim=1)
    assert close(settled.x, want * scale.reshape(-1, 1, 1)) < 1e-12 and settled.image is settled.x


def test_settled_objects_have_the_measured_counts_and_stay_under_the_ceiling():
    hidden = problem(pattern(thing((12, 9)), hide=0.3))
    s = run(hidden, 3 * Capped(RAAR()) + Capped(Rescale()), state(thing((12, 9))[None] * 1.0, lopsided((12, 9))))
    d = hidden.counts
    assert float(hidden.predict(s.image)[0][d.measured].sum()) == pytest.approx(float(d.intensity[d.measured].sum()))
    m = s.image.abs()[0]
    assert int((m > (1 - 1e-6) * m.max()).sum()) > 5


@pytest.mark.parametrize("cls", [HIO, RAAR, HPR, ADMM])
@pytest.mark.parametrize("beta", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_a_relaxation_out_of_range_is_refused(cls, beta):
    with pytest.raises(InputError, match=f"{cls.__name__}.*beta"):
        cls(beta=beta)


@pytest.mark.parametrize("beta", [0, 2.1, -3])
def test_a_difference_map_that_stands_still_or_runs_away_is_refused(beta):
    with pytest.raises(InputError, match="DM"):
        DM(beta=beta)


@pytest.mark.parametrize("beta", [0, 2, -0.5, float("nan")])
def test_reflections_that_stand_still_or_do_not_come_to_rest_are_refused(beta):
    with pytest.raises(InputError, match="RRR"):
        RRR(beta=beta)


@pytest.mark.parametrize("cls", [Capped, Proximal, Damped, Mean])
def test_a_wrapper_holds_one_step(cls):
    for wrong in (3, "ER", 2 * ER(), ER() + HIO()):
        with pytest.raises(InputError, match=cls.__name__):
            cls(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: RAAR(beta=d),
        lambda d: HIO(beta=d),
        lambda d: HPR(beta=d),
        lambda d: RRR(beta=d),
        lambda d: DM(beta=d),
        lambda d: ADMM(beta=d),
        lambda d: Proximal(ER(), rho=d),
    ],
)
def test_a_drawn_setting_works_or_is_refused(make):
    p, x, _ = setting((12, 9), False)
    try:
        algorithm = make(Draw(0.5, 0.9))
    except InputError:
        return
    run(p, algorithm, state(x, lopsided((12, 9))))
