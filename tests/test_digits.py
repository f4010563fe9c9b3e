"""Digits: idx files, their symmetric copies, and what is refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from untwin import fourier
from untwin.errors import InputError
from untwin.learn.digits import Digits
from untwin.learn.train import Training, train


def idx(images: np.ndarray) -> bytes:
    return struct.pack(">4i", 2051, *images.shape) + images.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Ten images with something in the middle 20 pixels, the test ones compressed."""
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = np.random.default_rng(0).integers(1, 256, (10, 20, 20))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:4])))
    return tmp_path, images


def test_every_image_comes_once_in_a_round_and_its_pattern_is_its_own(folder):
    path, images = folder
    batch = Digits(str(path)).batch(range(10))
    seen = sorted(tuple(x[18:46, 18:46].mul(255).round().to(torch.uint8).flatten().tolist()) for x in batch.image)
    assert seen == sorted(tuple(x.flatten().tolist()) for x in images)
    assert torch.allclose(batch.intensity, fourier.forward(batch.image, 2).abs().square(), rtol=1e-5, atol=1e-5)
    assert len(Digits(str(path)).validation_batch(99).image) == 4


def test_copies_stay_in_the_central_half_and_have_the_pattern_of_their_original(folder):
    plain, moved = Digits(str(folder[0])).batch(range(10)), Digits(str(folder[0]), shift=4, flip=True).batch(range(10))
    outside = moved.image.clone()
    outside[:, 16:48, 16:48] = 0
    assert outside.abs().max() == 0 and not torch.equal(plain.image, moved.image)
    assert torch.allclose(plain.intensity, moved.intensity, rtol=1e-3, atol=1e-3)
    again = Digits(str(folder[0]), shift=4, flip=True).batch([7])
    assert torch.equal(again.image[0], moved.image[7])


def test_files_that_are_missing_or_cut_short_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no train-images-idx3-ubyte"):
        Digits(str(tmp_path / "nowhere")).batch([0])
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "train-images-idx3-ubyte").write_bytes(idx(folder[1])[:-5])
    (tmp_path / "cut" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(folder[1]))[:-30])
    with pytest.raises(InputError, match="not a complete idx file"):
        Digits(str(tmp_path / "cut")).batch([0])
    with pytest.raises(InputError, match="not a complete idx file"):
        Digits(str(tmp_path / "cut")).validation_batch(1)
    with pytest.raises(InputError, match="expected 0 to 4"):
        Digits(str(tmp_path), shift=9)


def test_a_network_trains_on_them_without_ever_seeing_one(folder, tmp_path):
    run = Training("RealUNet(width=4)", "digits", "passive", steps=30, batch=8, check=10, held=4, rate=3e-3, rising=3)
    rows = train(run, Digits(str(folder[0])), tmp_path / "run")
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_measured_set_is_there(measured):
    digits = Digits(str(measured("mnist/t10k-images-idx3-ubyte.gz").parent))
    batch = digits.validation_batch(16)
    assert batch.image.shape == (16, 64, 64) and batch.image[:, 16:48, 16:48].sum() == batch.image.sum()
