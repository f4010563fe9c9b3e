"""Networks as published, the files of their weights, and what is asked of them."""

from __future__ import annotations

import json
import struct

import pytest
import torch

from samples import close
from untwin import fourier
from untwin.errors import InputError
from untwin.learn import objectives
from untwin.learn.validate import metrics
from untwin.model.alignment import rolled, twin
from untwin.model.networks import weights
from untwin.model.networks.architecture import CdiNN, RealUNet, Volume, architecture, folded, padded
from untwin.simulate.dataset import Crystals

NETS = [CdiNN(32), CdiNN(64)]


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recipe(net) -> Crystals:
    return Crystals("cdi-nn" if net.form == 32 else "cdi-nn-64", 3, 100)


def parameters(net) -> int:
    return sum(p.numel() for p in net.parameters())


def test_cdi_nn_has_the_published_number_of_parameters():
    pair = CdiNN(32).build(drawn(0))
    assert [parameters(net) for net in pair.nets.values()] == [720_321, 720_321]
    assert [parameters(net) for net in CdiNN(64).build(drawn(0)).nets.values()] == [720_321 + 3 * 32 * 9] * 2
    convolutions = [m for m in pair.nets["phase"].modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128),
        (128, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32), (32, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_a_network_says_an_object_in_its_box(net):
    samples = recipe(net).batch(range(3))
    output = net.build(drawn(0))(net.take(samples.intensity, samples.measured))
    image = net.image(output)
    assert image.shape == (3, *net.box) and image.is_complex()
    assert architecture(repr(net)) == net


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_the_input_forgets_the_exposure_and_every_symmetric_copy_looks_the_same(net):
    samples = recipe(net).batch(range(3))
    x = fourier.cornered(samples.image, 2)
    seen = samples.measured
    plain = net.take(samples.intensity, seen)
    assert close(net.take(1e3 * samples.intensity, seen), plain) < 1e-6
    moved = rolled(twin(x, 2), torch.tensor([[3, 1], [0, 5], [-2, 2]]), 2) * 1j
    wave = fourier.forward(moved, 2)
    assert close(net.take(wave.real.square() + wave.imag.square(), seen), plain) < 1e-3


def test_the_form_for_64_sees_the_32_x_32_pattern_in_its_first_channel():
    small, large = CdiNN(32), CdiNN(64)
    samples = recipe(large).batch(range(2))
    box = fourier.cornered(large.truth(samples.image), 2)
    folded = small.take(fourier.forward(box, 2).abs().square(), torch.ones(2, 32, 32, dtype=torch.bool))
    first = large.take(samples.intensity, samples.measured)[:, :1]
    assert close(first / first.mean((1, 2, 3), keepdim=True), folded) < 1e-3


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_the_loss_has_its_floor_at_the_truth(net):
    truth = net.truth(recipe(net).batch(range(4)).image)
    perfect = torch.logit(net.targets(truth).double(), eps=1e-9)
    assert (net.entropies(perfect, truth.to(torch.complex128)) - net.floor(truth)).abs().max() < 1e-6
    found = metrics(net, perfect, truth.to(torch.complex128), torch.ones(4, *net.shape, dtype=torch.float64))
    assert found["error"] < 1e-6 and found["iou"] == 1 and found["phase_gain"] > 0.99 and found["excess_magnitude"] < 1e-6


def test_objectives_differ_in_the_copies_that_they_take():
    """The invariant loss does not see which copy the truth is, the canonical one sees one per orbit, the supervised one sees all."""
    net = CdiNN(32)
    truth = net.truth(Crystals("cdi-nn", 3, 100).batch(range(6)).image)
    keep = (truth.abs() > 0.01).sum((1, 2)) < 250
    truth = truth[keep]
    x = fourier.cornered(truth, 2)
    other = fourier.centred(rolled(twin(x, 2), torch.tensor([[2, -3]] * len(x)), 2), 2)
    output = torch.randn(len(x), 2, 32, 32, generator=drawn(1))
    amplitude = fourier.forward(x, 2).abs()
    losses = {name: [float(f(net, output, t, amplitude)) for t in (truth, other)] for name, f in objectives.OBJECTIVES.items()}
    assert losses["invariant"][0] == pytest.approx(losses["invariant"][1], rel=1e-5)
    assert losses["passive"][0] == losses["passive"][1]
    assert abs(losses["supervised"][0] - losses["supervised"][1]) > 1e-3
    assert losses["invariant"][0] < losses["supervised"][0]
    assert close(objectives.upright(truth), objectives.upright(other)) < 1e-6


def test_the_passive_loss_is_zero_at_every_copy_of_the_truth_and_differentiable():
    net = CdiNN(64)
    truth = net.truth(Crystals("cdi-nn-64", 3, 100).batch(range(3)).image)
    amplitude = 7 * fourier.forward(fourier.cornered(padded(truth, net.shape), 2), 2).abs()
    amplitude[:, 0, 0] = float("nan")
    output = torch.logit(net.targets(truth), eps=1e-7).requires_grad_()
    loss = objectives.passive(net, output, truth, amplitude).detach()
    assert float(loss) < 1e-5
    wrong = torch.zeros_like(output).requires_grad_()
    objectives.passive(net, wrong, truth, amplitude).backward()
    assert torch.isfinite(wrong.grad).all() and wrong.grad.abs().max() > 0


# ------------------------------------------------------------------------------------------------ weights


@pytest.fixture
def stored(tmp_path):
    net = CdiNN(32).build(drawn(0))
    weights.save(tmp_path / "a.safetensors", net, CdiNN(32), {"seed": 1})
    return net, tmp_path / "a.safetensors"


def test_weights_come_back_with_their_card(stored):
    net, path = stored
    found = weights.load(path)
    assert found.card["seed"] == 1 and found.architecture == CdiNN(32)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(found.net(x), net(x))


def hostile(path, kind: str) -> None:
    """Made by someone who leaves the SHA-256 out, unless it is only a flipped bit."""
    whole = path.read_bytes()
    if kind == "a flipped bit":
        path.write_bytes(whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:])
        return
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + size])
    del header["__metadata__"]["sha256"]
    text = json.dumps(header).encode()
    whole, size = struct.pack("<Q", len(text)) + text + whole[8 + size :], len(text)
    match kind:
        case "cut short":
            path.write_bytes(whole[:-1000])
        case "empty":
            path.write_bytes(b"")
        case "pickle":
            path.write_bytes(b"\x80\x04\x95cos\nsystem\n.")
        case "a header of a petabyte":
            path.write_bytes(struct.pack("<Q", 2**50) + whole[8:])
        case "no card":
            header["__metadata__"] = {}
        case "another architecture":
            header["__metadata__"]["card"] = json.dumps({"architecture": "CdiNN(form=64)"})
        case "code for an architecture":
            header["__metadata__"]["card"] = json.dumps({"architecture": "__import__('os').system('x')"})
        case "a card that is a list":
            header["__metadata__"]["card"] = "[]"
        case "not finite":
            path.write_bytes(whole[: 8 + size] + b"\xff\xff\xff\x7f" * ((len(whole) - 8 - size) // 4))
    if header != json.loads(whole[8 : 8 + size]):
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + size :])


KINDS = {
    "cut short": "cannot be read as weights",
    "empty": "is empty",
    "pickle": "cannot be read as weights",
    "a header of a petabyte": "cannot be read as weights",
    "no card": "no card of format",
    "another architecture": "weights of another network",
    "code for an architecture": "__import__",
    "a card that is a list": "its card is a list",
    "not finite": "not finite numbers",
    "a flipped bit": "its SHA-256 does not fit",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_not_what_it_should_be_is_refused(stored, kind):
    hostile(stored[1], kind)
    with pytest.raises(InputError, match=KINDS[kind]):
        weights.load(stored[1])


def test_models_are_asked_for_by_name():
    with pytest.raises(InputError, match="did you mean cdi-nn"):
        architecture("cdi-n")
    with pytest.raises(InputError, match="no model 'nothing'; shipped are"):
        weights.load("nothing")
    with pytest.raises(InputError, match=r"expected 32 or 64"):
        CdiNN(48)


# ------------------------------------------------------------------------------------------ the other architectures


def test_the_first_fold_of_a_pattern_is_that_of_half_the_field_of_view():
    x = torch.arange(4 * 4 * 4.0).reshape(1, 4, 4, 4)
    cells = folded(x)
    assert (
        cells.shape == (1, 8, 2, 2, 2)
        and torch.equal(cells[0, 0], x[0, ::2, ::2, ::2])
        and torch.equal(cells[0, 7], x[0, 1::2, 1::2, 1::2])
    )


def test_the_u_net_says_real_objects_and_learns_from_patterns_alone():
    net = RealUNet(width=2)
    truth = torch.zeros(2, 64, 64)
    truth[:, 20:40, 22:30] = 1
    amplitude = fourier.forward(fourier.cornered(truth, 2), 2).abs()
    module = net.build(drawn(0))
    output = module(net.take(amplitude.square(), torch.ones_like(amplitude, dtype=torch.bool)))
    assert net.image(output).shape == (2, 32, 32) and not net.image(output).is_complex()
    objectives.passive(net, output, net.truth(truth), amplitude).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())
    assert float(net.fit(torch.logit(net.truth(truth), eps=1e-7).unsqueeze(1), net.truth(truth))) < 1e-5
    assert architecture(repr(net)) == net


def test_the_volume_has_one_encoder_and_two_decoders():
    net = Volume(form=32, width=2)
    module = net.build(drawn(0))
    assert parameters(module.magnitude) == parameters(module.phase)
    intensity = torch.rand(2, 32, 32, 32, generator=drawn(1)) + 0.1
    output = module(net.take(intensity, torch.ones_like(intensity, dtype=torch.bool)))
    image = net.image(output)
    assert image.shape == (2, 16, 16, 16) and image.is_complex()
    for objective in objectives.OBJECTIVES.values():
        module.zero_grad()
        truth = torch.polar(torch.rand(2, 16, 16, 16, generator=drawn(2)), torch.randn(2, 16, 16, 16, generator=drawn(3)))
        objective(net, module(net.take(intensity, intensity > 0)), truth, intensity.sqrt()).backward()
        assert module.phase.last.weight.grad.abs().max() > 0
    assert architecture("volume") == Volume(64, 32) and net.box == (16, 16, 16)


def test_the_loss_of_the_volume_forgets_the_global_phase():
    net = Volume(form=16, width=1)
    truth = torch.polar(0.2 + 0.8 * torch.rand(2, 8, 8, 8, generator=drawn(2)), torch.rand(2, 8, 8, 8, generator=drawn(3)))
    output = torch.stack([torch.logit(truth.abs(), eps=1e-6), torch.atanh(truth.angle() / torch.pi)], 1)
    assert float(net.fit(output, truth)) == pytest.approx(float(net.fit(output, truth * 1j)), rel=1e-5)
    assert float(net.fit(output, truth.conj())) > float(net.fit(output, truth)) + 1e-3


@pytest.mark.parametrize(
    "text", ["RealUNet(form=48)", "Volume(form=20)", "Volume(width=0)", "CdiNN(form='x')", "Skip()", "CdiNN(form=64", "RealUNet(width=2.5)"]
)
def test_an_architecture_that_cannot_be_is_refused(text):
    with pytest.raises(InputError):
        architecture(text)
