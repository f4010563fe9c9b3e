"""Every method on a device called "cuda" (tests/standin.py): nothing mixes devices, and nothing waits for it but where a table says.

What only a GPU can show is in benchmarks/cuda.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import untwin as ut
from standin import OnCuda, cuda, waits
from untwin import engine, provenance
from untwin.data.measurement import Pattern
from untwin.learn import train
from untwin.learn.pairs import Fresh
from untwin.model import imposition
from untwin.model.detection import Detection
from untwin.model.networks.dncnn import _load
from untwin.model.problem import Problem
from untwin.model.unknown import Unknown
from untwin.model.waves.farfield import FarField
from untwin.runs import device as devices
from untwin.runs import launch, memory, names
from untwin.runs.names import parse
from untwin.solve.begin import begin
from untwin.solve.predict import _loaded
from untwin.solve.run import iterate
from untwin.solve.state import CHECK

STEPS = 25
FIRST = {"model/priors/base.py Parts.to"}  # the first numbers of a prior
DONE = {"solve/run.py _all_stopped", "solve/run.py _restored"}  # every CHECK steps, and once at the end
WINDOW = {"model/alignment.py centring", "model/box.py extent"}  # the box that a fit fills, when it begins
LARGEST = {"solve/shrinkwrap.py largest", "solve/shrinkwrap.py _each"}  # the k largest pixels, sorted on the CPU
DRAWN = {"solve/recipe.py _on_device"}  # settings of the starts, kept on the device from then on
HIDDEN = {"solve/heldout.py HeldOut.hidden", "solve/heldout.py HeldOut.first"}  # when a segment begins

# recipe -> where it may wait
REAL_OR_COMPLEX = {
    "3*ER": set(),
    "3*SF": set(),
    "3*RAAR": set(),
    "3*HPR": set(),
    "3*RRR": set(),
    "3*HIO": set(),
    "3*DM": set(),
    "3*DM(beta=0.7)": set(),
    "3*ADMM": set(),
    "2*Detwin": set(),
    "ER + MaximumLikelihood(iterations=3) + ER": {"solve/likelihood.py most_likely", "solve/likelihood.py value"},  # L-BFGS-B of SciPy
    "3*Capped(RAAR)": set(),
    "3*Proximal(RAAR)": set(),
    "3*Mean(ER) + Rescale": set(),
    "ER + Shifts(fractions=2, steps=2) + ObjectSupport": {"fourier.py ramp"},
    "BoxSupport + TriangleSupport + ResetSupport + RandomStart": {
        "solve/begin.py BoxSupport.step", "solve/begin.py TriangleSupport.step", "solve/begin.py random_object"
    },
    "3*ER + ShrinkWrap(sigma=Ramp(2, 1))": {"solve/shrinkwrap.py ShrinkWrap.step", *LARGEST},
    "ER + ShrinkWrap(islands=0.1, level='max')": {
        "solve/shrinkwrap.py ShrinkWrap.step", "solve/shrinkwrap.py without_islands", *LARGEST
    },
    "2*ER + AreaWrap(area=Deal((0.3, 0.4))) + 2*ER": DRAWN | LARGEST,
    f"Until(Plateau(patience=2), {STEPS}*ER)": DONE,
    f"Until(Solved(every=2), {STEPS}*RRR)": DONE,
    f"Until(WMV(window=4, burn_in=0, patience=3), {STEPS}*ER)": DONE,
    f"Until(EMV(patience=3, burn_in=0), {STEPS}*ER)": DONE,
    f"Until(HeldOut(patience=3), {STEPS}*ER)": DONE | HIDDEN,
    f"Until(Thinned(patience=3), {STEPS}*ER)": DONE | {"model/counts.py Counts.of", "solve/heldout.py Thinned.first"},
    "Until(SelfValidation(window=3, size=16, batch=2), 5*ER)": DONE | {"solve/selfvalidation.py SelfValidation.first"},
    "2*Fit(Untrained(Skip(depth=2, width=8)))": FIRST,
    "2*Fit(Untrained(Skip(depth=1, width=8, upsampling='nearest', padding='zeros')), decay=0.1, warm=2)": FIRST,
    "2*Fit(Projector(), regularizer=TV(0.45), root=True)": FIRST,
    "2*Fit(Implicit(Siren(width=16)))": FIRST,
    "3*Fit(Grid(), LBFGS(), regularizer=GradientRatio(), loss=Amplitude())": FIRST | {"solve/descent.py LBFGS.step"},  # line search
    "2*Fit(Grid(), Adam(beta1=0.8), regularizer=L1(), loss=Intensity())": FIRST,
    "2*Fit(Grid(), regularizer=IsotropicTV(), loss=Poisson(0.1), grow=1, imitate=1)": FIRST | WINDOW,
}  # fmt: skip
COMPLEX = {
    "2*Fit(DoubleDIP(jitter=0.1), average=0.9)": FIRST,
    "2*Fit(Polar(Untrained(DeepDecoder(layers=3, width=8)), Grid(), vector=False))": FIRST,
    "2*Fit(Cartesian(Untrained(ConvDecoder(width=8)), Uniform(0.5), positive=True))": FIRST,
    "2*Fit(Polar(RandomField(order=2, margin=1), Zernike(6), vector=False))": FIRST
    | {"model/priors/zernike.py _maps", "model/priors/field.py _spectrum"},
}
REAL = {
    "2*Penalized(weight=Ramp(5, 0.5))": set(),
    "FrameSupport + 2*ER": {"solve/begin.py FrameSupport.step"},
    "3*Damped(HIO)": set(),
    "3*Damped(HIO, gamma=Draw(0.9, 1))": DRAWN,
    "3*Damped(HIO, gamma=Ramp(0.9, 1.0))": set(),
}
WAVES = (
    "FlatStart(phase=0.2) + Spectral + 3*DM + 2*RAAR + 2*AmplitudeFlow + TruncatedAmplitudeFlow + ReweightedAmplitudeFlow + WirtingerFlow"
)
NEAR = "FlatStart(phase=0.2) + CoarseStart(size=8, iterations=3, finer=2)"
UNKNOWN = "2*RAAR + 2*Proximal(ER) + Calibrate + 2*Fit(Grid())"
PREDICTED = "Predict(variety=0.2) + ER"
GUESSED = "Guess({file!r}, variety=0.2) + ER"
PICTURES = ("Squared()", "Absolute()", "Huber()", "Poisson(0.01)", "Gamma()")
BOUNDS = "AtMost(Squared(), 0.01), AtLeast(Volume(), 0.01), Equal(Total(), 30.0), AtMost(Magnitude(), 1.0)"
NETWORK = {"solve/pnp.py _level", "solve/normal.py least_squares", "solve/normal.py norm", "model/networks/dncnn.py _load"}
PICTURE_STEPS = {  # on a blurred picture
    "Smooth(weight=0.1) + 2*HQS(Denoiser(), noise=0.05)": NETWORK,
    "PnP(level=0.1) + PnPADMM(level=0.1)": NETWORK,
    "2*PrimalDual(weight=0.05)": {"solve/normal.py norm"},
    "RED() + GradientStep()": NETWORK | {f"solve/pnp.py GradientStep.{name}" for name in ("step", "objective", "_descend")},  # line search
    f"2*Fit(Grid(), regularizer=TV(1.0), constraints=({BOUNDS}))": set(),
    f"Until(Discrepancy(sigma=0.1), {STEPS}*Fit(Grid()))": DONE | {"model/noise_level.py noise_of_picture"},
    "2*Fit(Grid(), loss=SSIM(), kernel=Softmax(Perceptron()))": {"model/picture.py Picture.first_values"},
}


@pytest.fixture
def plain(monkeypatch):
    """Passes and transforms of torch on the CPU, too, so that bits can be compared."""
    monkeypatch.setattr(engine, "PLAIN", True)


def pattern(shape=(24, 32), real=False):
    rng = np.random.default_rng(0)
    support = np.zeros(shape, bool)
    support[tuple(slice(0, n // 3) for n in shape)] = True
    x = np.where(support, rng.random(shape) + 0.2, 0) * (1 if real else np.exp(1j * rng.random(shape)))
    counts = rng.poisson(100 * np.abs(np.fft.fftn(x, norm="ortho")) ** 2)
    counts = counts + np.roll(np.flip(counts), 1, (0, 1)) if real else counts
    measured = np.ones(shape, bool)
    measured[0, [0, 1, -1]] = False
    return Pattern(np.where(measured, counts, 0).astype(np.float32), measured)


def ends(text, device, p, real=False):
    """The last state; `waits` then holds where the steps have waited."""
    problem = Problem.of(p, positivity=real, device=device)
    state = begin(problem, (0, 1))
    waits.clear()
    *_, state = iterate(problem, parse(text), state)
    return state


def held(x):
    return x.held if isinstance(x, OnCuda) else x


def same_on_both(text, allowed, p, real=False):
    here = ends(text, "cpu", p, real)
    with cuda():
        there = ends(text, "cuda:0", p, real)
        places, asked = set(waits), waits["solve/run.py _all_stopped"]
    assert isinstance(there.x, OnCuda)
    assert torch.equal(here.image, held(there.image)) and torch.equal(here.support, held(there.support))
    assert places <= allowed, f"{text} waits for the device in {places - allowed}"
    assert asked <= STEPS // CHECK + 1


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize("text", REAL_OR_COMPLEX)
def test_a_recipe_stays_on_the_device_and_ends_as_on_the_cpu(text, real, plain):
    same_on_both(text, REAL_OR_COMPLEX[text], pattern(real=real), real)


@pytest.mark.parametrize("text", COMPLEX)
def test_complex_priors_stay_on_the_device(text, plain):
    same_on_both(text, COMPLEX[text], pattern())


@pytest.mark.parametrize("text", REAL)
def test_what_is_for_real_objects_stays_on_the_device(text, plain):
    same_on_both(text, REAL[text], pattern(real=True), real=True)


@dataclass(frozen=True, repr=False)
class Dimmed(Detection):
    """A share of the intensity that nobody knows."""

    share: float | Unknown = field(default_factory=lambda: Unknown(0.9, 0, 2))

    def expected(self, f):
        return f * self.share


def test_a_detection_with_an_unknown_stays_on_the_device(plain):
    def end(device):
        problem = Problem(pattern(), ut.physics.Physics(FarField(), Dimmed()), device=device)
        state = begin(problem, (0, 1))
        waits.clear()
        *_, state = iterate(problem, parse(UNKNOWN), state)
        return state.image

    here = end("cpu")
    with cuda():
        there = end("cuda:0")
        places = set(waits)
    assert torch.equal(here, held(there)) and places <= FIRST | {"solve/calibrate.py Calibrate.step"}


def test_a_near_field_stays_on_the_device(plain):
    def end(device):
        problem = Problem(
            Pattern.of_waves(100 + 10 * np.random.default_rng(2).random((2, 16, 16))), ut.physics.Fresnel((0.2, 0.4)), device=device
        )
        waits.clear()
        *_, state = iterate(problem, parse(NEAR), begin(problem, (0, 1)))
        return state.image

    here = end("cpu")
    with cuda():
        there = end("cuda:0")
    assert torch.equal(here, held(there))  # the likelihood waits anyway


def test_exposures_stay_on_the_device(plain):
    rng = np.random.default_rng(0)
    masks = np.exp(2j * np.pi * rng.random((3, 16, 12)))

    def end(device):
        exposures = Pattern.of_waves(100 * rng_of_exposures.random((3, 16, 12)))
        problem = Problem(exposures, ut.physics.Masked(masks), device=device)
        state = begin(problem, (0, 1))
        waits.clear()
        *_, state = iterate(problem, parse(WAVES), state)
        return state.image

    rng_of_exposures = np.random.default_rng(1)
    here = end("cpu")
    rng_of_exposures = np.random.default_rng(1)
    with cuda():
        there = end("cuda:0")
        places = set(waits)
    assert torch.equal(here, held(there))
    spectral = {f"solve/spectral.py {name}" for name in ("Spectral.step", "leading", "leading.product", "product", "_weights")}
    assert places <= FIRST | spectral | {"solve/begin.py random_object", "solve/begin.py FlatStart.step", "solve/flows.py gain"}


def test_everything_that_a_recipe_can_name_is_tried():
    tried = " ".join([UNKNOWN, WAVES, NEAR, *REAL_OR_COMPLEX, *COMPLEX, *REAL, PREDICTED, GUESSED, *PICTURES, *PICTURE_STEPS])
    assert [name for name in names.NAMES if not re.search(rf"\b{name}\b", tried)] == [
        "Generator",
        *(c.__name__ for c in names.STAGES),
    ]  # it reads a file


def test_a_fetched_number_and_a_mixed_device_are_seen(monkeypatch, plain):
    update = imposition.update
    monkeypatch.setattr(imposition, "update", lambda p, x, *rest: update(p, x * bool(float(x.abs().sum())), *rest))
    with pytest.raises(AssertionError, match="waits for the device in .*_one_by_one"):
        same_on_both("3*ER", set(), pattern())
    monkeypatch.setattr(imposition, "update", lambda p, x, y, *rest: update(p, x, y + torch.zeros(y.shape), *rest))
    with cuda(), pytest.raises(RuntimeError, match="same device"):
        ends("3*ER", "cuda:0", pattern())
    with cuda(), pytest.raises(RuntimeError, match="generator"):
        torch.zeros(3, device="cuda").normal_(generator=torch.Generator())


def test_a_reconstruction_is_that_of_the_cpu(plain):
    p, recipe = pattern(), "40*HIO + ShrinkWrap + 20*ER"
    here = ut.reconstruct(p, recipe, starts=3)
    with cuda():
        there = ut.reconstruct(p, recipe, starts=3, device=torch.device("cuda:0"))
        asked = waits["runs/launch.py run_here"]
    assert torch.equal(here.image, there.image) and here.verdict == there.verdict
    assert there.made["engine"] == f"torch, CUDA {torch.version.cuda}" and str(there.made["device"]).startswith("cuda")
    assert here.made["engine"] == "torch" and str(here.made["device"]).startswith("cpu")
    assert asked <= 2 * (60 + 150) // CHECK  # the search, and the run of the free likelihood


def test_an_automatic_reconstruction_runs_on_the_device(plain):
    p = pattern(real=True)
    support = torch.from_numpy(np.fft.fftshift(p.measured | True))
    here = ut.reconstruct(p, starts=4, positivity=True, support=support.numpy())
    with cuda():
        there = ut.reconstruct(p, starts=4, positivity=True, support=support.to("cuda:0"), device="cuda:0")
    assert torch.equal(here.image, there.image)


@pytest.mark.parametrize("loss", PICTURES)
def test_a_restored_picture_is_that_of_the_cpu(loss, plain):
    y = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    measured = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.1
    more = {"prior": "drp" if loss == "Squared()" else "dip", "steps": STEPS, "loss": names.NAMES[loss.split("(")[0]]()}
    here = ut.restore(y, measured=measured, **more)
    with cuda():
        there = ut.restore(y, measured=measured.to("cuda:0"), device=torch.device("cuda:0"), **more)
        asked = waits["runs/restore.py _run"], waits["solve/run.py _all_stopped"], waits["model/picture.py Picture.__post_init__"]
    assert torch.equal(here.image, there.image) and here.statistic == pytest.approx(there.statistic, nan_ok=True)
    assert asked[0] <= 2 * (STEPS // CHECK + 1) and asked[1] <= STEPS // CHECK + 1 and asked[2] <= 8  # not in each step


@pytest.mark.parametrize("text", PICTURE_STEPS)
def test_steps_of_pictures_stay_on_the_device(text, plain):
    y = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    kernel = ut.physics.Unknown() if "kernel" in text else torch.full((3, 3), 1 / 9)

    def end(device):
        problem = ut.Picture(y.to(device), ut.physics.Blur(kernel))
        state = ut.State.of(torch.zeros(2, *problem.shape, device=device)).replace(nuisance=problem.first_values(2))
        waits.clear()
        *_, state = iterate(problem, parse(text), state)
        return state

    here = end("cpu")
    with cuda():
        there = end("cuda:0")
        places, asked = set(waits), waits["solve/run.py _all_stopped"]
    _load.cache_clear()  # its tensors say that they are on a GPU
    assert isinstance(there.x, OnCuda)
    torch.testing.assert_close(here.image, held(there.image), rtol=1e-3, atol=1e-3)  # convolutions are not the same to the bit
    assert places <= PICTURE_STEPS[text] | FIRST, f"{text} waits for the device in {places - PICTURE_STEPS[text] - FIRST}"
    assert asked <= STEPS // CHECK + 1


def test_predictions_go_to_the_device(plain):
    p = pattern((64, 64))
    here = list(ut.predict([p], "cdi-nn"))
    with cuda():
        there = list(ut.predict([p], "cdi-nn", torch.device("cuda:0")))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(here, there))
    places = {"model/inference.py predict", "solve/predict.py _begun", "solve/begin.py random_object"}
    _loaded.cache_clear()
    same_on_both(PREDICTED, places, p)
    _loaded.cache_clear()  # its tensors say that they are on a GPU


def test_an_earlier_result_goes_to_the_device(plain, tmp_path):
    p = pattern((64, 64))
    ut.reconstruct(p, "20*ER", starts=2).save(tmp_path / "result")
    places = {"solve/predict.py _begun", "solve/begin.py random_object"}
    same_on_both(GUESSED.format(file=str(tmp_path / "result" / "result.cxi")), places, p)


def test_a_device_that_computes_something_else_is_refused(monkeypatch):
    devices.disagreement.cache_clear()
    update = imposition.update
    monkeypatch.setattr(engine, "compiled_for", lambda *_: None)
    monkeypatch.setattr(imposition, "update", lambda p, x, y, *rest: update(p, x, y * (1.01 if x.device.type != "cpu" else 1), *rest))
    with cuda(), pytest.raises(ut.InputError, match=r"device 'cuda:0' does not compute what the CPU does.*device='cpu'"):
        ut.reconstruct(pattern(), "ER", starts=1, device="cuda:0")
    devices.disagreement.cache_clear()


def test_a_gpus_batch_is_a_function_of_its_whole_memory_and_of_the_plan(monkeypatch):
    p, asked = pattern(), []

    def properties(index):
        asked.append(index)
        return type("Properties", (), {"total_memory": 2**26})()

    with cuda():
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: pytest.fail("what is free now decides nothing"))
        few, many = (
            launch.launcher(
                Problem.of(p, device=d), arrays=memory.arrays(Problem.of(p, device=d), parse(f"Plan(Search({text}, starts=9))"))
            )
            for d, text in (("cuda", "Until(WMV(window=100), 9*ADMM)"), ("cuda:1", "9*ER"))
        )
    assert asked == [3, 1] and few.workers == many.workers == 1
    assert many.batch == int(2**25 / (24 * 32 * 8 * 12)) and few.batch * 8 < many.batch


def test_the_batch_is_part_of_what_a_run_is(tmp_path, monkeypatch):
    p = pattern()
    ut.reconstruct(p, "3*ER", starts=2, checkpoint=tmp_path)
    monkeypatch.setattr(launch, "BATCH", 5)
    with pytest.raises(ut.InputError, match="batch"):
        ut.reconstruct(p, "3*ER", starts=2, checkpoint=tmp_path)


def test_a_gpu_is_not_taken_without_being_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert str(ut.reconstruct(pattern(), "ER", starts=1).made["device"]).startswith("cpu")
    assert provenance.engine("cuda:1") == f"torch, CUDA {torch.version.cuda}"


@pytest.mark.filterwarnings("ignore:.*autocast")
def test_a_training_runs_on_the_device(tmp_path):
    run = train.Training("CdiNN(form=32)", "cdi-nn", objective="canonical", steps=3, batch=4, check=3, held=4, rising=2)
    data = Fresh(ut.simulate.Crystals("cdi-nn", seed=0), ut.simulate.Crystals("cdi-nn", seed=1))
    here = train.train(run, data, tmp_path / "here")
    with cuda():
        there = train.train(run, data, tmp_path / "there", device="cuda:0")
    assert here[-1]["loss"] == pytest.approx(there[-1]["loss"], rel=1e-5)
    assert here[-1]["error"] == pytest.approx(there[-1]["error"], rel=1e-4)


def test_each_process_of_a_training_takes_its_own_gpu_before_nccl(monkeypatch):
    order = []
    monkeypatch.setattr(train, "_cuda", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: order.append(index))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda kind: order.append(kind))
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    train.Worker().__enter__()
    assert order == [1, "nccl"]


def test_convolutions_are_asked_for_in_single_precision():
    from untwin.model.networks.base import single_precision

    before = torch.backends.cudnn.allow_tf32
    with single_precision():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
