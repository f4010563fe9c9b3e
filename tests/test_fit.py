"""Fit as a step: it goes down, every state can be gone on from, starts do not see each other, and pictures and patterns are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import untwin as ut
from samples import REAL, lopsided, pattern, state, thing
from test_run import resumed_like, same
from untwin.errors import InputError
from untwin.model.box import cut, grown, placed
from untwin.model.problem import Problem
from untwin.runs.checkpoint import load_state, save_state
from untwin.runs.names import parse
from untwin.solve.descent import LBFGS, Adam
from untwin.solve.fit import Fit
from untwin.solve.recipe import Until
from untwin.solve.run import iterate
from untwin.solve.state import State

SMALL = ut.priors.Skip(depth=1, width=5, skip=2, inputs=3)
DIP = ut.priors.Untrained(SMALL)
TWO = ut.priors.DoubleDIP(SMALL, jitter=0.01)


def picture(seed: int = 0, shape=(2, 12, 15), noise: float = 0.1) -> tuple[ut.Picture, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    rows = torch.linspace(0.2, 0.8, shape[1]).reshape(1, -1, 1)
    truth = rows.expand(shape).clone()
    truth[:, 3:8, 4:9] = 0.9
    return ut.Picture(truth + noise * torch.randn(shape, generator=g)), truth


def blank(p: ut.Picture, seeds=(0,)) -> State:
    x = torch.zeros(len(seeds), *p.shape)
    return State.of(x, seeds=seeds)


def far(shape=(12, 14), real=False, starts=2) -> tuple[Problem, State]:
    """In float32, as in use."""
    p = pattern(thing(shape, 1, real), photons=2e4, hide=0.1)
    q = Problem(p, constraint=REAL) if real else Problem(p)
    x = torch.zeros(starts, *shape, dtype=torch.float32 if real else torch.complex64)
    return q, state(x, lopsided(shape), tuple(range(starts)))


def last(p, recipe, s: State) -> State:
    for t in iterate(p, recipe, s):
        s = t
    return s


FITS = [
    Fit(DIP, average=0.9),
    Fit(DIP, descent=LBFGS(history=3), regularizer=ut.losses.TV(0.1)),
    Fit(ut.priors.Projector(SMALL), regularizer=ut.losses.TV(0.45), root=True),
    Fit(ut.priors.Implicit(ut.priors.Siren(width=24, layers=1), rate=0.01), warm=3, decay=0.1, rate=0.5),
    Fit(ut.priors.Grid(), descent=Adam(beta1=0.5)),
]
FAR = [
    Fit(TWO, average=0.8),
    Fit(TWO, imitate=3, grow=1, warm=2, decay=0.05, regularizer=ut.losses.TV(0.5), rate=0.2),
    Fit(ut.priors.Polar(ut.priors.Uniform(), ut.priors.Grid()), box=0.4, grow=0),
    Fit(ut.priors.Cartesian(ut.priors.Grid(), ut.priors.Grid()), descent=LBFGS()),
]


# resuming


@pytest.mark.parametrize("fit", FITS, ids=repr)
def test_a_fit_of_a_picture_goes_on_from_any_of_its_states_bit_for_bit(fit):
    p, _ = picture()
    resumed_like(p, 6 * fit, blank(p, (0, 3)))


@pytest.mark.parametrize("fit", FAR, ids=repr)
def test_a_fit_of_a_pattern_goes_on_from_any_of_its_states_bit_for_bit(fit):
    p, s = far()
    resumed_like(p, parse("2*HIO") + 5 * fit + parse("2*ER"), replace(s, x=s.x + 1, image=s.x + 1))


@pytest.mark.parametrize(
    "rule",
    ["WMV(window=3)", "WMV(window=3, mean=True)", "EMV(burn_in=2)", "EMV(mean=True)", "HeldOut()", "SelfValidation(window=3, size=16)"],
)
def test_a_fit_under_a_rule_goes_on_from_any_of_its_states(rule):
    p, _ = picture()
    resumed_like(p, parse(f"Until({rule}, 6*{FITS[0]!r})"), blank(p, (0, 3)))


@pytest.mark.parametrize("rule", ["WMV(window=3, mean=True)", "EMV(burn_in=2)", "HeldOut()", "Thinned()"])
def test_a_fit_of_a_pattern_under_a_rule_goes_on_from_any_of_its_states(rule):
    p, s = far()
    resumed_like(p, parse(f"Until({rule}, 5*{FAR[0]!r}) + 2*ER"), s)


@pytest.mark.parametrize("fit", [FITS[0], FITS[1], FAR[1]], ids=repr)
def test_a_fit_goes_on_from_a_file_bit_for_bit(fit, tmp_path):
    if fit in FITS:
        p, _ = picture()
        s = blank(p)
    else:
        p, s = far()
        s = replace(s, x=s.x + 1, image=s.x + 1)
    recipe = Until(ut.rules.EMV(burn_in=1), 8 * fit)
    whole = list(iterate(p, recipe, s))
    save_state(whole[3], tmp_path / "state.pt")
    again = load_state(tmp_path / "state.pt")
    assert same(replace(again, memory=None, rule_state=None), replace(whole[3], memory=None, rule_state=None))
    rest = list(iterate(p, recipe, again))
    assert len(rest) == len(whole) - 4 and all(torch.equal(a.x, b.x) and torch.equal(a.image, b.image) for a, b in zip(rest, whole[4:]))


@pytest.mark.parametrize("content", [b"", b"nonsense" * 20])
def test_a_file_that_holds_no_state_is_refused(content, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pt"):
        load_state(tmp_path / "x.pt")
    with pytest.raises(InputError, match="no file"):
        load_state(tmp_path / "none.pt")


# descent


@pytest.mark.parametrize("fit", FITS[:5], ids=repr)
def test_a_fit_goes_down_and_towards_the_truth(fit):
    p, truth = picture(noise=0.05)
    many = last(p, (150 if isinstance(fit.descent, Adam) else 40) * fit, blank(p))
    few = last(p, 2 * fit, blank(p))
    assert float(p.misfit(many.x)) < 0.5 * float(p.misfit(few.x))
    assert float((many.x[0] - truth).square().mean()) < 0.5 * float((few.x[0] - truth).square().mean())


@pytest.mark.parametrize("loss", [ut.losses.Amplitude(), ut.losses.Intensity(), ut.losses.Poisson(), ut.losses.Poisson(0.1)], ids=repr)
def test_a_fit_of_a_pattern_goes_down_in_each_loss(loss):
    p, s = far(starts=1)
    p = replace(p, loss=loss)
    few, many = (last(p, n * Fit(TWO), s) for n in (1, 60))
    assert float(p.misfit(many.x)) < 0.5 * float(p.misfit(few.x))


def test_adam_is_that_of_torch():
    g = torch.Generator().manual_seed(2)
    target, start = torch.rand(2, 7, generator=g), torch.rand(2, 7, generator=g)
    rates = {"a": 0.03, "b": 0.2}
    own = {"a": start[0].clone(), "b": start[1].clone()}
    ours, memory = dict(own), Adam().begin(own)
    theirs = {n: t.clone().requires_grad_() for n, t in own.items()}
    torchs = torch.optim.Adam([{"params": [theirs[n]], "lr": rates[n]} for n in theirs])

    def loss(t: dict) -> torch.Tensor:
        return (t["a"] - target[0]).pow(4).sum() + (t["b"] * t["a"] - target[1]).square().sum()

    def slope(t: dict):
        leaves = {n: v.detach().requires_grad_() for n, v in t.items()}
        value = loss(leaves)
        return value.detach(), dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())))), None

    for _ in range(12):
        ours, memory, _ = Adam().step(ours, memory, slope, rates)
        torchs.zero_grad()
        loss(theirs).backward()
        torchs.step()
    assert all(torch.allclose(ours[n], theirs[n].detach(), rtol=1e-5, atol=1e-6) for n in ours)


def test_lbfgs_ends_at_the_minimum_of_a_bowl_and_never_goes_up():
    g = torch.Generator().manual_seed(2)
    a = torch.rand(6, 6, generator=g, dtype=torch.float64)
    a = a @ a.T + 0.1 * torch.eye(6, dtype=torch.float64)
    b = torch.rand(6, generator=g, dtype=torch.float64)

    def slope(t: dict):
        x = t["x"]
        return 0.5 * x @ a @ x - b @ x, {"x": a @ x - b}, None

    numbers = {"x": torch.zeros(6, dtype=torch.float64)}
    memory, values = LBFGS().begin(numbers), []
    for _ in range(60):
        values.append(float(slope(numbers)[0]))
        numbers, memory, _ = LBFGS().step(numbers, memory, slope, {"x": 1.0})
    assert all(b <= a + 1e-12 for a, b in zip(values, values[1:]))
    assert torch.allclose(numbers["x"], torch.linalg.solve(a, b), atol=1e-6)


def test_lbfgs_is_that_of_torch_where_every_first_trial_is_taken():
    """torch has no backtracking; its first step is of length min(1, 1 / |g|_1), which a rate of max|g| / |g|_1 makes ours."""
    g = torch.Generator().manual_seed(4)
    a = torch.rand(9, 9, generator=g, dtype=torch.float64)
    a = a @ a.T / 9 + torch.eye(9, dtype=torch.float64)
    b = torch.rand(9, generator=g, dtype=torch.float64) + 1

    def loss(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x @ a @ x - b @ x + 0.01 * x.pow(4).sum()

    def slope(t: dict):
        asked.append(0)
        x = t["x"].detach().requires_grad_()
        value = loss(x)
        return value.detach(), {"x": torch.autograd.grad(value, x)[0]}, None

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(theirs)
        value.backward()
        return value

    asked: list[int] = []
    ours = {"x": torch.zeros(9, dtype=torch.float64)}
    theirs = torch.zeros(9, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theirs], lr=1.0, max_iter=1, history_size=3, tolerance_grad=0, tolerance_change=0)
    memory = LBFGS(history=3).begin(ours, random=False)
    rate = float(b.abs().max() / b.abs().sum())
    for _ in range(8):
        ours, memory, _ = LBFGS(history=3).step(ours, memory, slope, {"x": rate})
        optimizer.step(closure)
        assert torch.allclose(ours["x"], theirs.detach(), rtol=1e-9, atol=1e-12)
    assert len(asked) == 9  # one at the start, and one trial in each step


def test_lbfgs_works_out_no_slope_twice():
    """What the last trial has worked out is that of the next step, unless the slope is another one in each."""

    def slope(t: dict):
        asked.append(t["x"])
        x = t["x"] - 1
        return (x.square() * weights).sum(), {"x": 2 * weights * x}, t["x"]

    weights = torch.tensor([1.0, 10.0, 3.0], dtype=torch.float64)
    ends = []
    for random in (True, False):
        asked: list[torch.Tensor] = []
        numbers = {"x": torch.zeros(3, dtype=torch.float64)}
        memory = LBFGS().begin(numbers, random)
        for _ in range(8):
            before = numbers["x"]
            numbers, memory, beside = LBFGS().step(numbers, memory, slope, {"x": 1.0})
            assert torch.equal(beside, before)
        ends.append((numbers["x"], len(asked)))
    assert torch.equal(ends[0][0], ends[1][0]) and ends[1][1] == ends[0][1] - 7


@pytest.mark.parametrize("fit", [FITS[1], FAR[3]], ids=repr)
def test_a_fit_by_lbfgs_has_the_bits_of_one_that_remembers_no_slope(fit, monkeypatch):
    (p, s) = far() if fit in FAR else ((q := picture()[0]), blank(q))
    with_memory = last(p, 6 * fit, s)
    begin = LBFGS.begin
    monkeypatch.setattr(LBFGS, "begin", lambda self, numbers, random=True: begin(self, numbers))
    assert torch.equal(with_memory.x, last(p, 6 * fit, s).x)


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_only_priors_that_are_the_same_in_each_step_have_their_slope_remembered(jitter):
    p, _ = picture()
    prior = ut.priors.Untrained(SMALL, jitter=jitter)
    after = last(p, 2 * Fit(prior, descent=LBFGS()), blank(p))
    assert prior.random == (jitter > 0) == (after.memory["descent"][0]["point"] is None)


def test_a_part_with_rate_zero_stays():
    p, s = far(starts=1)
    frozen = ut.priors.Polar(ut.priors.Untrained(SMALL, rate=0.0, jitter=0.0), ut.priors.Untrained(SMALL, jitter=0.0))
    a, b = (last(p, n * Fit(frozen), s).memory["trained"][0]["image"] for n in (1, 5))
    moved = {n for n in a if not torch.equal(a[n], b[n])}
    assert moved and all(n.startswith("phase.") for n in moved)


def test_the_slope_is_that_of_central_differences():
    p, s = far(starts=1)
    fit = Fit(ut.priors.Cartesian(ut.priors.Grid(), ut.priors.Grid()), box=0.3, regularizer=ut.losses.TV(0.1))
    s = fit.begin(p, s)
    numbers = {n: t.double() for n, t in s.memory["trained"][0]["image"].items()}
    p = p.to(dtype=torch.float64)

    def value(t: dict) -> float:
        return float(_loss(fit, p, s.memory, t))

    def _loss(fit, p, memory, t):
        from untwin.model.priors.base import Parts

        g = fit.prior.image(Parts(t, {}), memory["shapes"]["image"][1:], 1)
        return p.render(g, fit.loss)[1] + fit.regularizer(g)

    leaves = {n: t.clone().requires_grad_() for n, t in numbers.items()}
    slopes = dict(zip(leaves, torch.autograd.grad(_loss(fit, p, s.memory, leaves), list(leaves.values()))))
    for name in numbers:
        for at in ((0, 0, 0), (0, 1, 2)):
            up, down = ({n: t.clone() for n, t in numbers.items()} for _ in range(2))
            up[name][at] += 1e-6
            down[name][at] -= 1e-6
            assert (value(up) - value(down)) / 2e-6 == pytest.approx(float(slopes[name][at]), rel=1e-5, abs=1e-6)


# starts, boxes, supports


def test_starts_do_not_see_each_other():
    p, s = far(starts=3)
    together = last(p, 4 * FAR[0], s)
    for row in range(3):
        alone = last(p, 4 * FAR[0], state(s.x[row : row + 1], lopsided((12, 14)), (row,)))
        assert torch.equal(together.x[row], alone.x[0]) and torch.equal(together.image[row], alone.image[0])
    assert not torch.equal(together.x[0], together.x[1])


def test_the_dice_of_a_fit_are_its_own():
    before = torch.get_rng_state()
    p, _ = picture()
    last(p, 2 * FITS[0], blank(p))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("box", "grid"), [((4, 5), (9, 10)), ((6, 6, 3), (6, 11, 8))])
def test_a_box_is_placed_around_index_zero_and_cut_out_again(box, grid):
    g = torch.rand(2, 1, *box)
    x = placed(g, grid)
    assert x.shape == (2, 1, *grid) and torch.equal(cut(x[:, 0], box), g[:, 0])
    assert x[(0, 0, *(0 for _ in grid))] == g[(0, 0, *(b // 2 for b in box))]


def test_the_object_fills_the_box_and_is_as_bright_as_the_counts():
    p, s = far((16, 18))
    after = last(p, 3 * Fit(TWO), s)
    assert after.support[0].sum() == 8 * 9 and torch.equal(after.support, after.bounds)
    assert bool((after.x[~after.support] == 0).all())
    d = p.counts
    f = p.predict(after.x)
    assert torch.allclose(f.where(d.measured, f.new_zeros(())).flatten(1).sum(1), d.intensity.sum().expand(2), rtol=1e-4)


def test_a_grown_support_is_the_states_with_its_neighbours():
    inside = torch.zeros(1, 7, 8, dtype=torch.bool)
    inside[0, 3, 0] = True
    wide = grown(inside, 1)
    assert int(wide.sum()) == 9 and bool(wide[0, 2, 7]) and not bool(wide[0, 1, 0])
    p, s = far((16, 18))
    after = last(p, 2 * Fit(TWO, grow=1), s)
    assert int(after.support[0].sum()) == int(grown(s.support, 1)[0].sum())


def test_imitation_draws_the_image_that_came_before():
    shape = (16, 16)
    truth = thing(shape, 1)
    p, inside = Problem(pattern(truth, photons=1e6)), lopsided(shape)
    x = truth.to(torch.complex64).roll((3, 2), (0, 1))[None]
    s = state(x, inside.roll((3, 2), (0, 1)))
    after = last(p, 300 * Fit(ut.priors.DoubleDIP(ut.priors.Skip(depth=1, width=12, inputs=6)), imitate=300, grow=0), s)
    assert float(ut.align(after.x, truth.to(torch.complex64), 2).error[0]) < 0.3
    assert (
        float(
            ut.align(
                last(p, 300 * Fit(ut.priors.Cartesian(ut.priors.Grid(rate=0.05), ut.priors.Grid(rate=0.05)), imitate=300, grow=0), s).x,
                truth,
                2,
            ).error[0]
        )
        < 0.02
    )


def test_unmeasured_values_do_not_matter():
    p, _ = picture()
    hole = torch.zeros_like(p.y, dtype=torch.bool)
    hole[:, 2:4] = True
    spoilt = p.y.clone()
    spoilt[:, 2:4] = 77.0
    a, b = (last(ut.Picture(y, measured=~hole), 4 * FITS[0], blank(p)) for y in (p.y, spoilt))
    assert torch.equal(a.x, b.x)


def test_an_average_is_that_of_the_outputs():
    p, _ = picture()
    outputs = list(iterate(p, 30 * Fit(DIP, average=0.9), blank(p)))
    mean = None
    for k, t in enumerate(outputs):
        mean = t.x if mean is None else mean + (t.x - mean) * max(0.1, 1 / (k + 1))
        assert torch.allclose(t.image, mean, atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 13), (8, 9, 7)])
def test_an_image_is_followed_through_shift_and_phase(shape):
    x = thing(shape, 3).to(torch.complex64)[None]
    p = Problem(pattern(thing(shape, 3)))
    axes = tuple(range(1, 1 + len(shape)))
    moved = x.roll((2, -3, 1)[: len(shape)], axes) * torch.polar(torch.tensor(1.0), torch.tensor(0.8))
    assert torch.allclose(p.symmetry.follow(moved, x), x, atol=1e-4)
    q, _ = picture()
    assert q.symmetry.follow(moved, x) is moved


# what does not fit


def test_what_cannot_be_fitted_is_refused_before_anything_is_computed():
    p, s = far(real=True)
    with pytest.raises(InputError, match="complex, and the object is real"):
        last(p, 2 * Fit(TWO), s)
    q, t = far((12, 14))
    with pytest.raises(InputError, match="scales needs 33 pixels"):
        last(q, 2 * Fit(ut.priors.Untrained()), t)
    with pytest.raises(InputError, match="nothing to fit"):
        last(q, 2 * Fit(ut.priors.Uniform()), t)
    r, _ = picture()
    with pytest.raises(InputError, match="Fit"):
        last(r, 2 * ut.algorithms.ER(), blank(r))
    with pytest.raises(InputError, match="leave imitate out"):
        last(r, 2 * Fit(DIP, imitate=3), blank(r))
    for text in ("Fit(3)", "Fit(average=1.0)", "Fit(imitate=-1)", "Fit(descent=ER)", "Fit(regularizer=3)", "Fit(box=0)", "WMV(window=1)"):
        with pytest.raises(InputError):
            parse(f"Until({text}, 3*ER)" if text.startswith("WMV") else f"3*{text}")


def test_a_real_object_has_a_real_fit():
    p, s = far(real=True, starts=1)
    after = last(p, 40 * Fit(ut.priors.Untrained(SMALL)), s)
    assert not after.x.is_complex() and float(after.x.min()) >= 0


def test_a_line_says_it_all():
    recipe = parse("Until(EMV(), 5000*Fit(DoubleDIP()))")
    assert recipe == Until(ut.rules.EMV(), 5000 * Fit(ut.priors.DoubleDIP())) and parse(repr(recipe)) == recipe


def test_bfloat16_networks_leave_the_rest_in_float32():
    p, _ = picture()
    after = last(p, 3 * Fit(DIP, bfloat16=True), blank(p))
    assert after.x.dtype == torch.float32 and all(t.dtype == torch.float32 for t in after.memory["trained"][0]["image"].values())
    assert bool(after.x.isfinite().all())
