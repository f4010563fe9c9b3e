"""Physics is detection of waves: laws for every member, one formula that imposes the data, unknowns that travel, and symmetries."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import untwin as ut
from laws import adjoint, idempotent
from members import PROJECTIONS
from samples import close, lopsided, pattern, problem, state, thing, wave
from untwin.engine import Coefficients
from untwin.errors import InputError
from untwin.model.counts import Modulus
from untwin.model.detection import Detection, Ideal
from untwin.model.imposition import Compiled, General, HalfSpectrum, engine_for
from untwin.model.physics import Physics
from untwin.model.symmetry import FarFieldSymmetry, GlobalPhase, NoSymmetry
from untwin.model.unknown import Unknown
from untwin.model.waves.base import Waves
from untwin.model.waves.farfield import FarField
from untwin.runs.checkpoint import load_state, save_state
from untwin.runs.names import parse
from untwin.solve.calibrate import Calibrate, uncertainty
from untwin.solve.run import iterate
from untwin.solve.state import State

GRIDS = [(16, 16), (15, 9), (8, 6, 10), (7, 5, 11)]


@dataclass(frozen=True, repr=False)
class Blurred(Detection):
    """Partial coherence, as in docs/write-your-own-physics.md: a Gaussian of width sigma, pixels."""

    sigma: float | Unknown = 0.5

    def expected(self, f):
        axes, factor = tuple(range(1, f.ndim)), torch.ones((), dtype=f.dtype)
        for axis in axes:
            r = torch.fft.fftfreq(f.shape[axis], dtype=f.dtype).reshape([-1 if a == axis else 1 for a in range(f.ndim)])
            factor = factor * torch.exp(-2 * (math.pi * self.sigma * r) ** 2)
        return torch.fft.ifftn(torch.fft.fftn(f, dim=axes) * factor, dim=axes).real.clamp(min=0)


@dataclass(frozen=True, repr=False)
class Lifted(Detection):
    """A share of the intensity, and a floor."""

    share: float | Unknown = 0.8
    floor: float | Unknown = 0.0

    def expected(self, f):
        return f * self.share + self.floor


@dataclass(frozen=True, repr=False)
class Curved(Waves):
    """The far field of an object in a curved beam: a phase is all that is left open."""

    strength: float = 0.05

    def _beam(self, x):
        square = sum(
            torch.fft.fftfreq(n, 1 / n).reshape([-1 if a == i else 1 for a in range(x.ndim - 1)]) ** 2 for i, n in enumerate(x.shape[1:])
        )
        return torch.polar(torch.ones(()).double(), self.strength * square.double()).to(x.dtype)

    def propagate(self, x):
        x = x if x.is_complex() else x.to(x.dtype.to_complex())
        return torch.fft.fftn(x * self._beam(x), dim=tuple(range(1, x.ndim)), norm="ortho")

    def backpropagate(self, w, spent=False):
        return torch.fft.ifftn(w, dim=tuple(range(1, w.ndim)), norm="ortho") * self._beam(w).conj()

    @property
    def unitary(self):
        return True

    @property
    def symmetry(self):
        return GlobalPhase()

    def on(self, pattern):
        return self


@dataclass(frozen=True, repr=False)
class Halved(Curved):
    """Waves that lose half of their power: no inverse."""

    def propagate(self, x):
        return 0.7 * Curved.propagate(self, x)

    def backpropagate(self, w, spent=False):
        return 0.7 * Curved.backpropagate(self, w)

    @property
    def unitary(self):
        return False


DETECTIONS = [Ideal(), Blurred(0.7), Lifted(0.6, 3.0)]
WAVES = [FarField(), FarField(2, (0.5, 0.5)), Curved()]


# laws


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("waves", [FarField, Curved])
def test_waves_are_linear_and_backpropagate_is_their_adjoint_and_inverse(waves, shape):
    w = FarField(len(shape)) if waves is FarField else Curved()
    x, y = wave(shape, 1, 2), wave(shape, 2, 2)
    adjoint(w.propagate, w.backpropagate, x, y)
    assert close(w.backpropagate(w.propagate(x)), x) < 1e-13
    assert close(w.propagate(2j * x + y), 2j * w.propagate(x) + w.propagate(y)) < 1e-13
    assert close(w(x), w.propagate(x).abs().square()) < 1e-14


@pytest.mark.parametrize("shape", GRIDS)
@pytest.mark.parametrize("detection", DETECTIONS, ids=repr)
def test_the_adjoint_derivative_of_a_detection_is_that_of_central_differences(detection, shape):
    f, r, step = wave(shape, 1, 2).abs() + 1, wave(shape, 2, 2).real, 1e-6 * wave(shape, 3, 2).real
    change = detection.expected(f + step) - detection.expected(f - step)
    assert float((change * r).sum()) == pytest.approx(2 * float((step * detection.adjoint_derivative(f, r)).sum()), rel=1e-6)
    assert close(detection.expected(f)[1:], detection.expected(f[1:])) < 1e-13, "a start does not see the others"


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_the_one_formula_is_the_projection_where_the_detection_is_ideal(rho):
    @dataclass(frozen=True, repr=False)
    class Same(Detection):
        def expected(self, f):
            return f

    p = problem(pattern(thing((12, 15)), hide=0.2, photons=1e4), modulus=Modulus(rho, 0.9))
    q = problem(p.pattern, physics=Physics(FarField(), Same()), modulus=Modulus(rho, 0.9))
    x = wave((12, 15), 4, 3)
    (y, error), (z, other) = p.impose(x), q.impose(x)
    assert close(z, y) < 1e-7 and torch.allclose(error, other, rtol=1e-7)
    assert close(p.predict(x), q.predict(x)) < 1e-14


@pytest.mark.parametrize("waves", WAVES, ids=repr)
def test_imposing_the_data_is_idempotent_for_ideal_detection(waves):
    p = problem(pattern(thing((12, 14)), hide=0.2, photons=1e5), physics=waves)
    idempotent(p.project_modulus, wave((12, 14), 5, 2))


@pytest.mark.parametrize("detection", DETECTIONS, ids=repr)
@pytest.mark.parametrize("waves", WAVES, ids=repr)
def test_the_true_object_gives_its_counts_and_stays_where_it_is(waves, detection):
    x = thing((18, 18), 2)
    physics = Physics(waves, detection)
    counts = physics.on(pattern(x))(x.unsqueeze(0))[0].numpy()
    p = problem(ut.Pattern(counts, np.ones(counts.shape, bool)), physics=physics)
    s = state(x.unsqueeze(0), lopsided((18, 18)))
    assert float(p.misfit(s.x)) == pytest.approx(0, abs=1e-9 * counts.sum())
    for algorithm in PROJECTIONS:
        *_, after = iterate(p, 3 * algorithm(), s)
        assert close(p.project_object(after.image, after.support), s.x) < 1e-7, algorithm.__name__
    shifted = replace(s, x=1.1 * s.x)
    *_, after = iterate(p, ut.parse("5*Fit(Grid(), loss=Amplitude())"), shifted)
    assert bool(after.image.isfinite().all())


# what a problem is given, it honours


def test_the_physics_that_is_given_is_honoured():
    p = pattern(thing((12, 12)))
    assert ut.Problem(p, FarField(2, (0.25, 0.0))).physics.waves == FarField(2, (0.25, 0.0))
    assert ut.Problem(p, FarField()).physics.waves == FarField(2, (0.0, 0.0)) == ut.Problem(p).physics.waves
    half = replace(p, offset=(0.5, 0.0))
    assert ut.Problem(half, FarField()).physics.waves.offset == (0.5, 0.0)
    assert ut.Problem(p, Physics(FarField(), Blurred(0.3))).physics.detection == Blurred(0.3)
    for wrong, words in [
        (FarField(3), r"FarField\(2\)"),
        (Blurred(), "measures magnitudes"),
        ("far", "FarField"),
        (ut.physics.Identity(), "Picture"),
    ]:
        with pytest.raises(InputError, match=words):
            ut.Problem(p, wrong)
    with pytest.raises(InputError, match="detection such as Ideal"):
        Physics(FarField(), FarField())


def test_the_engine_is_chosen_by_waves_detection_and_constraint():
    p, real = pattern(thing((16, 16))), ut.constraints.Support() & ut.constraints.Nonnegative()
    x, row = torch.zeros(1, 16, 16, dtype=torch.complex64), Coefficients(0, 0, 1, 0, 1)
    inside = torch.ones(1, 16, 16, dtype=torch.bool)

    def chosen(physics=FarField(), constraint=ut.constraints.Support(), dtype=torch.complex64):  # noqa: B008
        q = ut.Problem(p, physics, constraint=constraint)
        return type(engine_for(q.sets, x.real.clone() if dtype == torch.float32 else x.to(dtype), inside, row))

    fast = chosen()
    assert fast in (Compiled, General)  # machine code where llvmlite is there
    assert chosen(dtype=torch.complex128) is General
    assert chosen(constraint=real, dtype=torch.float32) in (Compiled, HalfSpectrum)
    assert chosen(constraint=ut.constraints.Nonnegative() & ut.constraints.Support(), dtype=torch.float32) is chosen(
        constraint=real, dtype=torch.float32
    )
    for physics in (FarField(2, (0.5, 0.5)), Physics(FarField(), Blurred()), Curved()):
        assert chosen(physics) is General and chosen(physics, real, torch.float32) is General


def test_waves_without_an_inverse_are_fitted_and_projected_between_waves():
    x = thing((16, 14), 1)
    counts = Halved()(x.unsqueeze(0))[0].numpy()
    p = ut.Problem(ut.Pattern(counts, np.ones(counts.shape, bool)), Halved())
    for recipe in ("ADMM", "DM(beta=0.7)"):
        with pytest.raises(InputError, match=r"has no inverse; try RAAR"):
            list(iterate(p, ut.parse(recipe), ut.begin(p, (0,))))
    with pytest.raises(InputError, match=r"adjoint is their inverse.*Fit"):
        p.project_modulus(x[None])
    *_, after = iterate(p, ut.parse("20*ER"), first := ut.begin(p, (0,)))
    assert float(p.misfit(after.image)) < float(p.misfit(first.x))
    *_, after = iterate(p, ut.parse("30*Fit(DoubleDIP(Skip(depth=1, width=8)), box=1)"), first := ut.begin(p, (0,)))
    assert float(p.misfit(after.image)) < float(p.misfit(first.x))


def test_waves_without_an_inverse_are_reconstructed_by_fits_from_end_to_end(tmp_path):
    x = thing((16, 14), 1)
    counts = np.random.default_rng(0).poisson(1e4 * Halved()(x.unsqueeze(0))[0].numpy()).astype(np.float32)
    q = ut.Problem(ut.Pattern(counts, np.ones(counts.shape, bool)), Halved())
    inside = np.fft.fftshift(lopsided((16, 14)).numpy())
    solution = ut.reconstruct(q, "RandomStart + 60*Fit(Grid())", support=inside, starts=4, workers=1)
    assert math.isnan(solution.numbers["free_log_likelihood"]) and math.isnan(solution.numbers["working_log_likelihood"])
    assert 0 <= solution.numbers["r_factor"] < 1 and solution.image.abs().sum() > 0
    solution.save(tmp_path / "out")


def test_waves_see_the_axis_of_starts_everywhere():
    @dataclass(frozen=True, repr=False)
    class Strict(Curved):
        def propagate(self, x):
            assert x.ndim == 3
            return Curved.propagate(self, x)

    x = thing((16, 14), 1)
    counts = Curved()(1e3 * x.unsqueeze(0))[0].numpy().astype(np.float32)
    solution = ut.reconstruct(
        ut.Problem(ut.Pattern(counts, np.ones(counts.shape, bool)), Strict()),
        "Plan(Search(20*RAAR + 5*ER, starts=4, families=2))",
        support=np.fft.fftshift(lopsided((16, 14)).numpy()),
        workers=1,
    )
    assert solution.fsc is not None


def test_the_r_factor_of_a_start_is_that_of_its_own_unknowns():
    from untwin.runs.launch import residual

    x, p = blurred()
    q = problem(p, physics=Physics(FarField(), Blurred(Unknown(0.0, 0.0, 3.0))))
    s = replace(state(x.expand(2, 32, 32), lopsided((32, 32)).expand(2, 32, 32)), nuisance={"sigma": torch.tensor([0.0, 0.8]).double()})
    unblurred, right = residual(q, s)
    assert right < 0.5 * unblurred


def test_a_start_begins_everywhere_where_the_waves_do_not_tell_the_outline():
    p = ut.Problem(pattern(thing((16, 14)), photons=1e5), Curved())
    s = ut.begin(p, (0, 1))
    assert p.outline is None and bool(s.support.all()) and bool(s.bounds.all())
    assert not bool(ut.begin(ut.Problem(p.pattern), (0,)).support.all())
    for recipe, words in [
        (None, "the automatic plan needs .* give support= or a recipe"),
        ("BoxSupport + 3*ER", r"BoxSupport\(\) needs"),
        ("Predict + 3*ER", "Predict"),
    ]:
        with pytest.raises(InputError, match=words):
            ut.reconstruct(p, recipe, starts=2)


# what moves beside x


def bright(x, photons=1e6):
    """As bright as gives so many photons."""
    return x * math.sqrt(photons / float(FarField(x.ndim)(x.unsqueeze(0)).sum()))


def blurred(sigma=0.8):
    x = bright(thing((32, 32), 3))
    clean = Blurred(sigma).expected(FarField()(x.unsqueeze(0)))[0].numpy()
    counts = np.random.default_rng(0).poisson(clean).astype(np.float64)
    return x, ut.Pattern(counts, np.ones(counts.shape, bool))


def test_calibrate_finds_what_is_unknown_and_says_how_well():
    x, p = blurred()
    q = problem(p, physics=Physics(FarField(), Blurred(Unknown(0.3, 0.0, 3.0))))
    s = replace(ut.begin(q, (0, 1)), **dict.fromkeys(("x", "image"), x.expand(2, 32, 32)), support=lopsided((32, 32)).expand(2, 32, 32))
    *_, after = iterate(q, 8 * Calibrate(), replace(s, nuisance={"sigma": torch.tensor([0.3, 2.0], dtype=torch.float64)}))
    found, deviation = after.nuisance["sigma"], uncertainty(q, after.image, after.nuisance)["sigma"]
    assert torch.allclose(found[0], found[1], atol=1e-4) and abs(float(found[0]) - 0.8) < 0.02
    assert bool((deviation > 0).all())
    before = q.holding(s.nuisance).misfit(s.x)
    assert bool((q.holding(after.nuisance).misfit(s.x) <= before).all())


def test_one_standard_deviation_is_one_standard_deviation():
    """Over twenty patterns of one object the values found scatter by what each of them says."""
    x, _ = blurred()
    x = bright(x)
    clean = Blurred(0.8).expected(FarField()(x.unsqueeze(0)))[0].numpy()
    found, said = [], []
    for i in range(20):
        p = ut.Pattern(np.random.default_rng(i).poisson(clean).astype(np.float64), np.ones((32, 32), bool))
        q = problem(p, physics=Physics(FarField(), Blurred(Unknown(0.6, 0.0, 3.0))))
        s = ut.State.of(x.unsqueeze(0), lopsided((32, 32)))
        *_, after = iterate(q, 6 * Calibrate(), replace(s, nuisance={"sigma": torch.tensor([0.6], dtype=torch.float64)}))
        found.append(float(after.nuisance["sigma"]))
        said.append(float(uncertainty(q, x.unsqueeze(0), after.nuisance)["sigma"]))
    assert abs(np.mean(found) - 0.8) < 4 * np.mean(said) / math.sqrt(20)
    assert 0.6 < np.std(found) / np.mean(said) < 1.6


def test_values_stay_between_their_limits_and_two_can_be_found_at_once():
    x = thing((24, 24), 3)
    x = bright(x)
    clean = FarField()(x.unsqueeze(0))
    counts = Lifted(1.0, 40.0).expected(clean)[0].numpy()
    q = problem(ut.Pattern(counts, np.ones((24, 24), bool)), physics=Physics(FarField(), Lifted(1.0, Unknown(1.0, 0.0, 25.0))))
    s = replace(ut.begin(q, (0,)), x=x.unsqueeze(0), image=x.unsqueeze(0), support=lopsided((24, 24)).unsqueeze(0))
    *_, after = iterate(q, 5 * Calibrate(), s)
    assert float(after.nuisance["floor"]) == 25.0
    both = problem(q.pattern, physics=Physics(FarField(), Lifted(Unknown(0.5, 0.1, 3), Unknown(1.0, 0.0, 100.0))))
    s = replace(s, nuisance={"share": torch.tensor([0.5], dtype=torch.float64), "floor": torch.tensor([1.0], dtype=torch.float64)})
    *_, after = iterate(both, 12 * Calibrate(), s)
    assert float(after.nuisance["floor"]) == pytest.approx(40, rel=0.05)


def test_steps_and_rules_are_handed_the_values_of_their_state():
    _, p = blurred()
    unknown, known = (ut.Problem(p, Physics(FarField(), Blurred(sigma))) for sigma in (Unknown(0.3, 0.0, 3.0), 1.5))
    here, there = (ut.begin(q, (0, 1), lowsided := lopsided((32, 32))) for q in (unknown, known))
    here = here.replace(nuisance={"sigma": torch.tensor([1.5, 1.5], dtype=torch.float64)})
    recipe = ut.parse("3*RAAR + Until(Plateau(patience=9), 4*Proximal(ER)) + ShrinkWrap + 2*Fit(Grid())")
    (*_, a), (*_, b) = iterate(unknown, recipe, here), iterate(known, recipe, there)
    assert close(a.image, b.image) < 1e-4 and bool(lowsided.any())


def test_a_rule_keeps_the_unknowns_that_belong_to_the_image_that_it_keeps(tmp_path):
    """A1 of a review: the image went back to that of the least misfit, and sigma did not."""
    _, p = blurred()
    q = ut.Problem(p, Physics(FarField(), Blurred(Unknown(0.3, 0.0, 3.0))))
    recipe = ut.parse("10*ER + Until(Plateau(patience=4), 6*(3*RAAR + Calibrate)) + ER")
    states = list(iterate(q, recipe, ut.begin(q, (0, 1, 2), lopsided((32, 32)))))
    kept = next(s for s in states if s.step > 11 and s.rule_state is None)
    before = states[states.index(kept) - 1]
    at = before.rule_state.at.tolist()
    by_step = {s.step: s for s in states[: states.index(kept)]}
    assert kept.nuisance["sigma"].tolist() == [float(by_step[step].nuisance["sigma"][row]) for row, step in enumerate(at)]
    assert torch.allclose(q.holding(kept.nuisance).misfit(q.project_object(kept.image, kept.support)), before.rule_state.best)
    back = load_state(save_state(states[14], tmp_path / "state"))
    *_, again = iterate(q, recipe, back)
    assert torch.equal(again.nuisance["sigma"], states[-1].nuisance["sigma"])


def test_a_physics_or_a_constraint_of_the_users_that_extends_one_of_ours_is_not_taken_for_it():
    @dataclass(frozen=True, repr=False)
    class Coded(FarField):
        def propagate(self, x):
            return FarField.propagate(self, x * code(x))

        def backpropagate(self, w, spent=False):
            return FarField.backpropagate(self, w) * code(w).conj()

    @dataclass(frozen=True, repr=False)
    class Gain(Ideal):
        def expected(self, f):
            return 4 * f

    @dataclass(frozen=True)
    class Nothing(ut.constraints.Support):
        def project(self, x, support):
            return x * 0

    def code(x):
        return torch.polar(torch.ones(x.shape[1:]), 3 * torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(0))).to(x.dtype)

    p = pattern(thing((16, 16)), photons=1e4)
    x = wave((16, 16), 3, 1).to(torch.complex64)
    for physics in (Coded(), Physics(FarField(), Gain())):
        q = ut.Problem(p, physics)
        assert close(q.predict(q.project_modulus(x))[0], q.counts.intensity) < 1e-5
    q = ut.Problem(p, constraint=Nothing())
    *_, after = iterate(q, ut.parse("2*ER"), ut.begin(q, (0,)))
    assert float(after.x.abs().max()) == 0


def test_an_unknown_of_the_waves_is_found_with_ideal_detection():
    x = bright(thing((32, 32), 3))
    counts = np.random.default_rng(0).poisson(Curved(0.004)(x[None])[0].numpy()).astype(np.float64)
    q = ut.Problem(ut.Pattern(counts, np.ones((32, 32), bool)), Curved(Unknown(0.003, 0.0, 0.02)))
    s = ut.State.of(x[None].to(torch.complex64), lopsided((32, 32)))
    *_, after = iterate(q, ut.parse("3*Calibrate + 2*RAAR + ER"), s)
    assert float(after.nuisance["strength"]) == pytest.approx(0.004, rel=0.02) and after.x.dtype == torch.complex64


def test_a_state_of_another_problem_is_refused():
    q = problem(pattern(thing((16, 16)), photons=1e4))
    s = ut.begin(q, (0, 1))
    wrong = [
        (ut.State.of(torch.ones(2, 32, 32, dtype=torch.complex128)), "x has shape"),
        (s.replace(support=torch.ones(1, 16, 16, dtype=torch.bool)), "support has shape"),
        (s.replace(bounds=s.bounds.float()), "expected torch.bool"),
        (s.replace(x=s.x.to(torch.complex64)), r"complex64, the problem in torch.float64"),
        (s.replace(nuisance={"sigma": torch.ones(2)}), "which the physics does not ask for"),
    ]
    for bad, words in wrong:
        with pytest.raises(InputError, match=words):
            next(iterate(q, ut.parse("ER"), bad))
    for recipe in ("5*ER", None, ut.plans.Plan(ut.plans.Search(ut.algorithms.ER()))):
        with pytest.raises(InputError, match="no recipe"):
            next(iterate(q, recipe, s))
    with pytest.raises(InputError, match="begin is for a pattern"):
        ut.begin(ut.Picture(torch.rand(1, 8, 8)), (0,))
    assert torch.equal(ut.State.of(s.x, lopsided((16, 16)).float()).support, lopsided((16, 16)).expand(2, 16, 16))


@pytest.mark.parametrize(
    "made",
    [
        lambda p: ut.Problem(p, constraint="Support()"),
        lambda p: ut.Problem(p, loss=ut.constraints.RealValued()),
        lambda p: ut.Problem(p, modulus=0.3),
        lambda p: ut.Problem(ut.Problem(p)),
        lambda p: ut.Problem(p, device="gpu"),
        lambda p: Modulus(-1.0),
        lambda p: Modulus(damping=5.0),
        lambda p: ut.losses.Poisson(-3),
        lambda p: FarField(offset=(0.5, "a")),
        lambda p: FarField(offset=0.5),
        lambda p: Unknown("a"),
    ],
)
def test_parts_of_another_kind_are_refused(made):
    with pytest.raises(InputError):
        made(pattern(thing((12, 12))))


def test_a_real_object_is_not_averaged_over_pixels_that_are_no_mirror_images():
    p, real = pattern(thing((12, 12), real=True)), ut.constraints.Support() & ut.constraints.Nonnegative()
    assert ut.Problem(p, constraint=real).counts.mirrored and not ut.Problem(p).counts.mirrored
    assert not ut.Problem(p, FarField(2, (0.3, 0.3)), constraint=real).counts.mirrored
    plain = ut.Problem(p)
    again = replace(plain, constraint=ut.constraints.Support() & ut.constraints.RealValued())
    assert torch.equal(
        again.counts.amplitude, ut.Problem(p, constraint=ut.constraints.Support() & ut.constraints.RealValued()).counts.amplitude
    )
    assert replace(plain, physics=Physics()).physics.waves == plain.physics.waves


def test_unknowns_travel_with_their_starts(tmp_path):
    _, p = blurred()
    q = ut.Problem(p, Physics(FarField(), Blurred(Unknown(0.3, 0.0, 3.0))))
    states = list(iterate(q, ut.parse("2*(3*ER + Calibrate) + 2*ER"), ut.begin(q, (0, 1, 2), lopsided((32, 32)))))
    last = states[-1]
    assert set(last.nuisance) == {"sigma"} and last.nuisance["sigma"].shape == (3,) and len(set(last.nuisance["sigma"].tolist())) == 3
    assert torch.equal(last[[2, 0]].nuisance["sigma"], last.nuisance["sigma"][[2, 0]])
    assert torch.equal(State.concatenate([last[[0, 1]], last[[2]]]).nuisance["sigma"], last.nuisance["sigma"])
    back = load_state(save_state(states[4], tmp_path / "state"))
    *_, again = iterate(q, ut.parse("2*(3*ER + Calibrate) + 2*ER"), back)
    assert torch.equal(again.x, last.x) and torch.equal(again.nuisance["sigma"], last.nuisance["sigma"])


def test_a_reconstruction_reports_what_was_found(tmp_path):
    x, p = blurred()
    q = ut.Problem(p, Physics(FarField(), Blurred(Unknown(0.3, 0.0, 3.0))))
    solution = ut.reconstruct(
        q, "4*(20*RAAR + 10*ER + Calibrate) + 20*ER + Calibrate", support=np.fft.fftshift(lopsided((32, 32)).numpy()), starts=4, workers=1
    )
    assert solution.numbers["sigma_error"] > 0 and solution.physics.detection == Blurred(solution.numbers["sigma"])
    plain = ut.reconstruct(p, "4*(20*RAAR + 10*ER) + 20*ER", support=np.fft.fftshift(lopsided((32, 32)).numpy()), starts=4, workers=1)
    assert solution.numbers["chi_square_amplitude"] < plain.numbers["chi_square_amplitude"]
    with pytest.raises(InputError, match="sigma of the physics is unknown.*Calibrate"):
        ut.reconstruct(q, "20*ER", starts=2)
    with pytest.raises(InputError, match="nothing of the physics is unknown"):
        ut.reconstruct(p, "20*ER + Calibrate", starts=2)


def named(name: str, **more: str) -> Detection:
    """A detection with unknown fields of these names."""
    fields = {name: 1.0, **dict.fromkeys(more, 1.0)}

    class Named(Detection):
        def expected(self, f):
            return f

    Named.__annotations__ = dict.fromkeys(fields, float)
    for field in fields:
        setattr(Named, field, 1.0)
    return dataclass(frozen=True, repr=False)(Named)(**dict.fromkeys(fields, Unknown(1.0, 0.5, 2.0)))


def test_an_unknown_with_the_name_of_another_number_is_refused():
    p = pattern(thing((16, 16)), photons=1e5)
    for detection, words in [
        (named("photons"), "photons of the physics is unknown.*rename the field photons"),
        (named("score"), "rename the field score"),
        (named("sigma", sigma_error=""), "sigma_error is another number.*rename the field sigma"),
    ]:
        with pytest.raises(InputError, match=words):
            ut.reconstruct(ut.Problem(p, Physics(FarField(), detection)), "5*ER + Calibrate", starts=2)


def test_the_numbers_of_a_reconstruction_are_all_listed():
    from untwin.runs.solution import NUMBERS

    p = replace(pattern(thing((16, 16)), photons=1e5), geometry=ut.Geometry(1e-10, 1.0, (1e-5, 1e-5)))
    plan = "Plan(Search(20*RAAR + 5*ER, starts=4, families=2), Refine(5*ER, max_deviance_ratio=1.5))"
    solution = ut.reconstruct(p, plan, support=np.fft.fftshift(lopsided((16, 16)).numpy()), workers=1)
    by_stages = {"background", "background_error", "outliers", "strays", "replicas", "likely_error", "families_overruled"}
    by_stages |= {"noise_error", "rounding_error", "symmetric_error", "twin_error"} | {n for n in NUMBERS if n.startswith("coherence_")}
    assert solution.numbers.keys() == NUMBERS - by_stages


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (lambda f: f[..., :8], r"gives a float32 tensor of shape \(1, 16, 8\); expected real counts of shape \(1, 16, 16\)"),
        (lambda f: f + 0j, "gives a complex64 tensor"),
        (lambda f: f.numpy(), "gives ndarray; expected"),
        (lambda f: f / 0, "gives NaN or infinity in 256 of 256 pixels"),
        (lambda f: f - 1e9, "gives less than 0 in 256 of 256 pixels, -1e.09 at least"),
        (lambda f: f @ torch.ones(3, 3), r"fails on an object of shape \(1, 16, 16\): RuntimeError: .*; expected real counts"),
    ],
)
def test_a_physics_that_gives_no_counts_is_refused_before_the_first_step(expected, words):
    @dataclass(frozen=True, repr=False)
    class Wrong(Detection):
        def expected(self, f):
            return expected(f)

    q = ut.Problem(pattern(thing((16, 16)), photons=1e5), Physics(FarField(), Wrong()))
    with pytest.raises(InputError, match=words):
        ut.reconstruct(q, "5*ER", starts=2)


def test_a_run_with_another_physics_is_another_run(tmp_path):
    _, p = blurred()
    ut.reconstruct(ut.Problem(p, Physics(FarField(), Blurred(0.3))), "3*ER", starts=2, checkpoint=tmp_path, workers=1)
    with pytest.raises(InputError, match="physics"):
        ut.reconstruct(ut.Problem(p, Physics(FarField(), Blurred(0.4))), "3*ER", starts=2, checkpoint=tmp_path, workers=1)


@pytest.mark.parametrize("made", [lambda: Unknown(2.0, 0.0, 1.0), lambda: Unknown(math.nan), lambda: Calibrate(halvings=-1)])
def test_settings_that_cannot_be_are_refused(made):
    with pytest.raises(InputError, match="expected"):
        made()
    assert parse(repr(Calibrate(halvings=3))) == Calibrate(3)


# symmetries


@pytest.mark.parametrize("shape", [(12, 12), (9, 14), (6, 7, 8)])
def test_what_cannot_be_told_is_undone_and_what_can_is_seen(shape):
    x = wave(shape, 1)
    turned = torch.polar(torch.tensor(1.0).double(), torch.tensor(0.7).double()) * x
    shifted = x.roll((2,) * len(shape), tuple(range(len(shape))))
    far, phase, nothing = FarFieldSymmetry(len(shape)), GlobalPhase(), NoSymmetry()

    def error(symmetry, y):
        return float(symmetry.align(y[None], x).error[0])

    assert error(far, turned) < 1e-6 and error(far, shifted) < 1e-6 and error(far, ut.metrics.twin(x[None], len(shape))[0]) < 1e-6
    assert error(phase, turned) < 1e-6 and error(phase, shifted) > 0.5
    assert error(nothing, x) < 1e-6 and error(nothing, turned) > 0.3
    assert close(far.follow((shifted * 1j)[None], x[None])[0], x) < 1e-10
    assert close(phase.follow(turned[None], x[None])[0], x) < 1e-10 and nothing.follow(turned, x) is turned
    for symmetry in (far, phase, nothing):
        once = symmetry.canonical(x[None])
        assert close(symmetry.canonical(once), once) < 1e-10
    assert close(phase.canonical(turned[None]), phase.canonical(x[None])) < 1e-10
    assert phase.origin(x) == nothing.origin(x) == [0] * len(shape)
    assert (far.global_phase, phase.global_phase, nothing.global_phase) == (True, True, False)


def test_an_object_with_a_place_of_its_own_is_shown_at_its_place():
    x = thing((32, 32), 2).roll((5, -3), (0, 1))
    counts = np.random.default_rng(0).poisson(Curved()(x[None])[0].numpy() * 1e4).astype(np.float64)
    q = ut.Problem(ut.Pattern(counts, np.ones((32, 32), bool)), Curved())
    support = np.fft.fftshift(lopsided((32, 32)).roll((5, -3), (0, 1)).numpy())
    solution = ut.reconstruct(q, "6*(30*RAAR + 10*ER) + 30*ER", support=support, starts=4, workers=1)
    shown = torch.fft.ifftshift(solution.image)
    assert float(GlobalPhase().align(shown[None], x.to(torch.complex64)).error) < 0.1
    assert np.array_equal(solution.support.numpy(), support)
