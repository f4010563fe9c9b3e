"""A generator as a prior: what it draws, what it learns, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.errors import InputError
from untwin.learn import generator
from untwin.model.networks import weights


def blobs(count: int) -> np.ndarray:
    """(count, 10, 12): a spot anywhere."""
    g = np.random.default_rng(0)
    y, x = np.mgrid[:10, :12]
    return np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 4) for a, b in g.uniform((2, 2), (8, 10), (count, 2))]).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    layers = generator.train(blobs(500), latent=2, width=64, steps=1500, batch=64, seed=1)
    return generator.save(tmp_path_factory.mktemp("g") / "spots.safetensors", layers, (10, 12), {"trained on": "spots"})


def test_a_picture_of_its_kind_comes_back_from_few_pixels_and_another_does_not(trained):
    truth = torch.from_numpy(blobs(520)[-1:])
    known = torch.rand(10, 12, generator=torch.Generator().manual_seed(0)) < 0.2
    p = ut.Picture(truth.where(known, torch.zeros(())), ut.physics.Mask(known), known)
    fit = ut.algorithms.Fit(ut.priors.Generator(trained), rate=2)
    state = list(ut.iterate(p, 200 * fit, ut.State.of(torch.zeros(4, 1, 10, 12))))[-1]
    image = state.image[int(p.misfit(state.image).argmin())]
    assert float((image - truth).square().mean()) < 0.05 * float(truth.square().mean())
    checks = (torch.arange(10)[:, None] + torch.arange(12)) % 2
    other = ut.restore(checks[None].float(), prior=ut.priors.Generator(trained), steps=60)
    assert float((other.image - checks).square().mean()) > 0.15


def test_the_same_seed_trains_the_same_generator(trained):
    one, two = (generator.train(blobs(50), 2, 8, 5, 4, seed) for seed in (0, 1))
    again = generator.train(blobs(50), 2, 8, 5, 4, 0)
    assert all(torch.equal(one[k], again[k]) for k in one) and not torch.equal(one["weight.0"], two["weight.0"])
    assert weights.read(trained)[1]["trained on"] == "spots"
    assert ut.parse(repr(3 * ut.algorithms.Fit(ut.priors.Generator(trained)))) == 3 * ut.algorithms.Fit(ut.priors.Generator(trained))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda path: ut.priors.Generator(3), "expected a file of weights"),
        (lambda path: ut.priors.Generator("nowhere.safetensors").check((10, 12)), "nowhere.safetensors"),
        (lambda path: ut.restore(np.zeros((1, 9, 12), np.float32), prior=ut.priors.Generator(path)), r"draws images of \(10, 12\)"),
        (lambda path: ut.priors.Generator(weights.SHIPPED / "denoisers" / "dncnn.safetensors").check((10, 12)), "holds no generator"),
        (lambda path: generator.train(np.full((2, 3, 3), 2.0)), "numbers from 0 to 1"),
        (lambda path: generator.train(blobs(5), steps=0), "steps=0"),
    ],
)
def test_what_is_no_generator_is_refused(given, says, trained):
    with pytest.raises(InputError, match=says):
        given(trained)
