"""Networks and priors: sizes, parameter counts, first numbers, text; 2D and 3D, any size."""

from __future__ import annotations

import math

import pytest
import torch

from untwin.errors import InputError
from untwin.model.networks.autoencoder import Autoencoder
from untwin.model.networks.base import norm_names
from untwin.model.networks.decoder import ConvDecoder, DeepDecoder
from untwin.model.networks.siren import Siren, coordinates
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Parts
from untwin.model.priors.combine import Cartesian, DoubleDIP, Polar
from untwin.model.priors.grid import Grid, Uniform
from untwin.model.priors.projector import Projector
from untwin.model.priors.untrained import Implicit, Untrained
from untwin.model.regularizers import L1, TV, GradientRatio, IsotropicTV
from untwin.runs.names import NAMES, parse


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(weights: dict) -> int:
    return sum(w.numel() for w in weights.values())


SMALL = Skip(depth=2, width=6, skip=2, inputs=4)
NETWORKS = [
    SMALL,
    Skip(depth=3, width=5, skip=0, upsampling="nearest", padding="zeros"),
    DeepDecoder(layers=2, width=5),
    ConvDecoder(layers=3, width=5),
    Siren(width=7, layers=1),
]
HALF = Untrained(SMALL)
PRIORS = [
    Grid(),
    HALF,
    Untrained(DeepDecoder(layers=2, width=5), jitter=0.0),
    Projector(Skip(depth=1, width=6, inputs=3)),
    Implicit(Siren(width=7, layers=1)),
    Polar(HALF, HALF),
    Polar(Uniform(), HALF, vector=False),
    Polar(Implicit(Siren(width=7)), Grid()),
    Cartesian(HALF, Grid(), positive=True),
    DoubleDIP(SMALL, jitter=0.01),
]


# networks


def test_the_hourglass_has_as_many_parameters_as_the_original():
    assert count(Skip().weights((64, 64), 3, dice())) == 2_217_831


def test_the_deep_decoder_has_as_many_parameters_as_the_paper_says():
    assert count(DeepDecoder().weights((512, 512), 3, dice())) == 100_224


def test_the_sines_have_the_parameters_of_their_layers():
    assert count(Siren().weights((8, 8), 1, dice())) == 2 * 256 + 256 + 3 * (256 * 256 + 256) + 256 + 1


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
@pytest.mark.parametrize("grid", [(17, 23), (32, 16), (11, 13, 12)], ids=str)
def test_a_network_draws_an_image_of_any_size(network, grid):
    z = torch.rand((1, *network.input_shape(grid)), generator=dice())
    y = torch.func.functional_call(network.module(grid, 3), network.weights(grid, 3, dice()), (z,))
    assert y.shape == (1, 3, *grid) and bool(y.isfinite().all()) and float(y.std()) > 0


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_first_weights_are_a_function_of_the_generator_alone(network):
    before = torch.get_rng_state()
    a, b, c = (network.weights((16, 16), 2, dice(s)) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[n], b[n]) for n in a) and any(not torch.equal(a[n], c[n]) for n in a)
    module = network.module((16, 16), 2)
    assert all(p.device.type == "meta" for p in module.parameters()), "the skeleton has no memory"
    assert {n for n, _ in module.named_parameters()} == set(a)


def test_the_first_layer_of_sines_sees_the_coordinates_and_the_others_keep_the_spread():
    grid = (32, 32)
    w = Siren().weights(grid, 1, dice())
    assert float(w["hidden.0.weight"].abs().max()) <= 0.5  # 1 / d
    assert float(w["hidden.2.weight"].abs().max()) <= math.sqrt(6 / 256) / 30 * (1 + 1e-6)
    assert coordinates((3, 5))[:, 0, 0].tolist() == [-1, -1] and coordinates((3, 5))[:, 1, 2].tolist() == [0, 0]


def test_without_upsampling_artefacts_an_odd_size_is_as_good_as_an_even_one():
    """What a network can draw at 17 x 23 it draws without a border of its own."""
    y = torch.func.functional_call(
        SMALL.module((17, 23), 1), SMALL.weights((17, 23), 1, dice()), (torch.full((1, *SMALL.input_shape((17, 23))), 0.1),)
    )
    assert float(y.std()) < 1e-4, "reflection: a constant input has a constant output"


@pytest.mark.parametrize(
    ("network", "grid"),
    [(Skip(), (32, 40)), (Skip(depth=1), (2, 8)), (DeepDecoder(), (20, 64)), (ConvDecoder(begin=8), (7, 9)), (Autoencoder(), (24, 24))],
)
def test_a_network_too_deep_for_the_image_is_refused(network, grid):
    with pytest.raises(InputError, match="image"):
        network.module(grid, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Skip(depth=0),
        lambda: Skip(width=2.5),
        lambda: Skip(padding="wrap"),
        lambda: Skip(upsampling=3),
        lambda: DeepDecoder(layers=99),
        lambda: Siren(w0=-1),
        lambda: Siren(w0="x"),
        lambda: Untrained(Siren()),
        lambda: Untrained(3),
        lambda: Implicit(Skip()),
        lambda: Projector(Siren()),
        lambda: Polar(Polar(), Untrained()),
        lambda: Cartesian(Untrained(), 3),
        lambda: Uniform(-1.0),
        lambda: Untrained(rate=float("nan")),
        lambda: TV(-1.0),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(InputError):
        make()


# priors


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.parametrize("grid", [(9, 12), (8, 7, 9)], ids=str)
def test_a_prior_is_an_image_of_any_size_with_a_slope_in_every_number(prior, grid):
    prior.check(grid)
    parts = prior.begin(grid, 2, dice())
    leaves = {n: t.clone().requires_grad_() for n, t in parts.trained.items()}
    g = prior.image(Parts(leaves, parts.fixed), grid, 2, dice())
    assert g.shape == (2, *grid) and g.is_complex() == prior.complex
    weights = torch.rand(g.shape, generator=dice(3))
    slopes = torch.autograd.grad((weights * (g.abs().square() + g.real)).sum(), list(leaves.values()))
    assert all(bool(s.isfinite().all()) for s in slopes)
    assert sum(float(s.abs().sum()) > 0 for s in slopes) >= 0.5 * len(slopes)  # a bias before a normalisation has none
    assert set(prior.rates(list(leaves))) == set(leaves)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_a_prior_is_a_function_of_its_generators(prior):
    grid = (10, 11)
    a, b = (prior.begin(grid, 1, dice(4)) for _ in range(2))
    assert all(torch.equal(a.trained[n], b.trained[n]) for n in a.trained)
    still = prior.image(a, grid, 1)
    assert torch.equal(still, prior.image(b, grid, 1))
    assert torch.equal(prior.image(a, grid, 1, dice(5)), prior.image(a, grid, 1, dice(5)))


def test_only_a_prior_with_jitter_moves_without_being_trained():
    grid = (10, 11)
    for prior, moves in ((Untrained(SMALL), True), (Untrained(SMALL, jitter=0.0), False), (Projector(SMALL), False), (Grid(), False)):
        parts = prior.begin(grid, 1, dice())
        assert torch.equal(prior.image(parts, grid, 1, dice(1)), prior.image(parts, grid, 1, dice(2))) != moves


def test_a_projector_trains_its_input_and_normalisations_and_nothing_else():
    prior = Projector(Skip(depth=1, width=6, inputs=3))
    parts = prior.begin((9, 9), 1, dice())
    norms = norm_names(prior.network.module((9, 9), 1))
    assert set(parts.trained) == {"z", "gain", "offset"} | norms
    assert parts.fixed and all(t.ndim in (1, 4) for t in parts.fixed.values())


def test_a_phase_as_a_unit_vector_leaves_the_magnitude_alone():
    prior = Polar(Uniform(0.8), Grid())
    parts = prior.begin((6, 6), 1, dice())
    far = Parts({n: 10 * t for n, t in parts.trained.items()}, parts.fixed)
    g = prior.image(far, (6, 6), 1)
    assert torch.allclose(g.abs(), torch.tensor(0.8), atol=2e-3)
    angle = Polar(Uniform(0.8), Grid(), vector=False)
    parts = angle.begin((6, 6), 1, dice())
    g = angle.image(parts, (6, 6), 1)
    assert torch.allclose(g.angle(), parts.trained["phase.pixels"], atol=1e-5)


def test_double_dip_is_the_sentence():
    grid, whole = (9, 9), DoubleDIP(SMALL, jitter=0.0, rate=0.02)
    half = Untrained(SMALL, jitter=0.0, rate=0.02)
    parts, same = whole.begin(grid, 1, dice()), Polar(half, half).begin(grid, 1, dice())
    assert torch.equal(whole.image(parts, grid, 1), Polar(half, half).image(same, grid, 1))
    assert set(whole.rates(list(parts.trained)).values()) == {0.02}


def test_parts_have_rates_of_their_own():
    prior = Polar(Untrained(SMALL, rate=0.01), Untrained(SMALL, rate=0.002))
    rates = prior.rates(list(prior.begin((9, 9), 1, dice()).trained))
    assert {r for n, r in rates.items() if n.startswith("magnitude.")} == {0.01}
    assert {r for n, r in rates.items() if n.startswith("phase.")} == {0.002}


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_the_text_of_a_prior_is_the_prior(prior):
    text = f"5*Fit(prior={prior!r})"
    assert repr(parse(text)) == text and parse(text).recipe.prior == prior


def test_every_network_and_prior_has_a_name_in_recipes():
    made = {type(x).__name__ for x in (*NETWORKS, *PRIORS)} | {"Uniform"}
    assert made <= set(NAMES)


# regularisers


def test_total_variation_of_a_step_is_its_length():
    g = torch.zeros(1, 8, 10)
    g[:, 3:, :] = 0.5
    assert TV(1.0)(g).item() == pytest.approx(0.5 * 10 / 80)
    assert IsotropicTV(1.0)(g).item() == pytest.approx(0.5 * 9 / 80, abs=1e-4)
    assert TV(2.0)(g.to(torch.complex64) * 1j).item() == pytest.approx(2 * 0.5 * 10 / 80, abs=1e-4)
    assert L1(1.0)(g).item() == pytest.approx(0.5 * 50 / 80)


def test_isotropic_does_not_count_a_corner_twice():
    g = torch.zeros(1, 6, 6)
    g[:, 3:, 3:] = 1
    assert IsotropicTV(1.0)(g) < TV(1.0)(g)


def test_the_ratio_of_gradients_does_not_see_contrast():
    g = torch.rand(2, 9, 9, generator=dice())
    assert torch.allclose(GradientRatio(1.0)(g), GradientRatio(1.0)(3 * g), rtol=1e-5)
    assert GradientRatio(1.0)(torch.zeros(1, 4, 4)).item() == 0


def test_the_ratio_of_gradients_is_that_of_a_picture_of_any_size():
    small, large = (torch.rand(1, n, n, generator=dice(n)) for n in (16, 128))
    assert GradientRatio(1.0)(small).item() == pytest.approx(GradientRatio(1.0)(large).item(), rel=0.05)
    assert 0.5 < GradientRatio(1.0)(large).item() < 2**0.5


@pytest.mark.parametrize("kind", [TV, IsotropicTV, L1, GradientRatio])
def test_slopes_of_regularisers_are_those_of_central_differences(kind):
    g = torch.rand(1, 5, 6, generator=dice(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(kind(1.0), (g,), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize(("kernel", "padding"), [(1, "zeros"), (3, "zeros"), (3, "replicate")])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_of_a_volume_is_that_of_torch(kernel, padding, stride):
    """With oneDNN in single precision on a CPU; with torch's own in double precision."""
    from untwin.model.networks.base import layer

    own = layer("Conv", 3, 4, 6, kernel, stride, kernel // 2, padding_mode=padding)
    theirs = torch.nn.Conv3d(4, 6, kernel, stride, kernel // 2, padding_mode=padding).double()
    theirs.load_state_dict(own.state_dict())
    x = torch.randn(1, 4, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    slopes = []
    for conv, at in ((own, x), (theirs, x.double())):
        at = at.clone().requires_grad_()
        slopes.append([conv(at).detach(), *torch.autograd.grad(conv(at).square().sum(), (at, *conv.parameters()))])
    for a, b in zip(*slopes):
        assert a.shape == b.shape and float((a - b).abs().max()) < 1e-5 * float(b.abs().max())
