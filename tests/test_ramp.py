"""A phase ramp is another place of the zero frequency: comparison takes it out, and says so only where there is one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import untwin as ut
from untwin import fourier
from untwin.model.alignment import shift, twin
from untwin.model.ramp import superpose

SHAPES = [(48, 48), (45, 47), (40, 63), (20, 20, 20), (21, 24, 18)]


def crystal(shape: tuple[int, ...], rng: np.random.Generator, real: bool = False) -> torch.Tensor:
    """A convex body about index 0 in a third of the array, with a smooth phase of some radians."""
    d = len(shape)
    r = np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij")
    body = sum((a / 0.18) ** 2 for a in r) < 1
    for _ in range(3 * d):
        v = rng.normal(size=d)
        body &= sum(a * b for a, b in zip(v / np.linalg.norm(v), r)) < 0.18 * rng.uniform(0.6, 1.0)
    phase = sum(rng.normal() * 6 * a for a in r) + rng.normal() * 60 * sum(a * a for a in r) + np.sin(9 * r[-1] + rng.uniform(0, 6))
    return torch.from_numpy(body * (1 + 0.3 * np.sin(20 * r[0] + 1)) * (1 if real else np.exp(1j * phase))).to(torch.complex128)


def tilted(x: torch.Tensor, ramp: np.ndarray) -> torch.Tensor:
    """x exp(2πi Σ g r / N), written out."""
    r = np.meshgrid(*[np.fft.fftfreq(n) for n in x.shape], indexing="ij")
    return x * torch.from_numpy(np.exp(2j * np.pi * sum(g * a for g, a in zip(ramp, r))))


def drawn(shape: tuple[int, ...], seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, bool]:
    """An object, a copy that nothing but shift, twin, phase and ramp tells from it, the ramp, and whether it is of the twin."""
    rng = np.random.default_rng(seed)
    x, turned = crystal(shape, rng, real=seed % 4 == 3), bool(rng.random() < 0.5)
    n = np.array(shape)
    ramp = rng.uniform(-n / 3, n / 3)
    ramp = np.round(2 * ramp) / 2 if seed % 3 == 0 else ramp
    by = rng.uniform(-0.15, 0.15, len(n)) * n
    y = shift(twin(x[None], x.ndim) if turned else x[None], torch.from_numpy(by)[None], x.ndim)[0]
    return x, 3 * tilted(y, ramp) * np.exp(2j), ramp, turned


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(12))
def test_shift_twin_phase_and_ramp_together_leave_nothing_in_either_direction(shape, seed):
    x, y, ramp, turned = drawn(shape, seed)
    for a, b, true in ((x, y, ramp), (y, x, -ramp)):
        p = superpose(a, b, ramp=True)
        assert p.error < 1e-6 and p.twin is turned
        np.testing.assert_allclose(p.ramp.numpy(), true, atol=1e-5)
        scale = b.abs().square().sum().sqrt() / p.x.abs().square().sum().sqrt()
        assert float(torch.vdot(p.x.flatten(), b.flatten()).abs() * scale / b.abs().square().sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shift_goes_with_the_ramp_as_it_was_made(shape):
    rng = np.random.default_rng(3)
    x, by = crystal(shape, rng), rng.uniform(-3, 3, len(shape))
    p = superpose(x, tilted(shift(x[None], torch.from_numpy(by)[None], x.ndim)[0], 0.3 * np.array(shape)), ramp=True)
    np.testing.assert_allclose(p.by.numpy(), by, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_objects_that_differ_are_as_far_apart_one_way_as_the_other_and_never_farther_with_the_ramp(shape, seed):
    rng = np.random.default_rng(seed)
    a, b = crystal(shape, rng), tilted(crystal(shape, rng), rng.uniform(-4, 4, len(shape)))
    forth, back = superpose(a, b, True).error, superpose(b, a, True).error
    assert forth == pytest.approx(back, abs=0.02) and forth < superpose(a, b, False).error + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_no_ramp_is_seen_between_real_objects(shape, seed):
    rng = np.random.default_rng(seed)
    a, b = (fourier.centred(crystal(shape, rng, real=True), len(shape)).numpy() for _ in range(2))
    c = ut.compare(a, b)
    assert not any(c.ramp) and c.error == c.error_with_ramp > 0.1
    same = ut.compare(a.real, a.real)
    assert same.error < 1e-6 and same.error_with_ramp < 1e-6 and not any(same.ramp)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [0.0, 7.3])
def test_between_noisy_runs_a_ramp_is_found_to_a_twentieth_of_a_pixel(shape, size):
    rng = np.random.default_rng(5)
    for seed in range(3):
        x = crystal(shape, np.random.default_rng(seed))
        runs = []
        for ramp in (np.zeros(len(shape)), np.array([size, -size / 2, 0.5])[: len(shape)]):
            noise = torch.from_numpy(rng.normal(size=shape) + 1j * rng.normal(size=shape)) * (x != 0)
            noise *= 0.05 / np.sqrt(2) * x.abs().square().sum().sqrt() / noise.abs().square().sum().sqrt()
            runs.append(fourier.centred(tilted(x + noise, ramp if size else 0 * ramp), len(shape)).numpy())
        c = ut.compare(*runs)
        assert c.error == pytest.approx(0.05, abs=0.01) and any(c.ramp) is bool(size)
        np.testing.assert_allclose(c.ramp, ramp if size else 0 * ramp, atol=0.05)
        assert c.error_with_ramp > 0.3 if size else c.error_with_ramp == c.error


@pytest.mark.parametrize("shape", SHAPES)
def test_two_equal_objects_differ_by_nothing(shape):
    """In single precision, as files have them; moved, turned and tilted, as well."""
    x, y, ramp, turned = drawn(shape, 1)
    a, b = (fourier.centred(v.to(torch.complex64), len(shape)).numpy() for v in (x, y))
    c = ut.compare(a, a)
    assert c.error < 1e-6 and c.correlation == 1 and not c.twin and c.phase_rms < 1e-6 and min(c.fsc.value) > 1 - 1e-9
    np.testing.assert_allclose(c.aligned, a, atol=1e-5)
    c = ut.compare(b, a)
    assert c.error < 1e-5 and c.correlation > 1 - 1e-9 and c.twin is turned and c.error_with_ramp > 0.5
    np.testing.assert_allclose(c.ramp, -ramp, atol=1e-3)
    np.testing.assert_allclose(c.aligned, a, atol=1e-4)


def test_a_half_pixel_is_a_ramp_and_a_hundredth_is_not_worth_a_word():
    x = fourier.centred(crystal((64, 64), np.random.default_rng(0)), 2)
    for size in (0.5, 0.01):
        c = ut.compare(x, torch.fft.fftshift(tilted(torch.fft.ifftshift(x), np.array([size, 0]))))
        assert c.ramp == (pytest.approx((size, 0), abs=1e-4) if size == 0.5 else (0, 0))
        assert c.error < (1e-6 if size == 0.5 else 0.01)


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: np.roll(x, 5, 0), lambda x: x[::-1, ::-1].conj()])
def test_an_object_that_leaves_a_ramp_or_a_shift_open_is_compared_too(turn):
    point, plane, picture = np.zeros((16, 16)), np.ones((16, 16)), np.random.default_rng(0).random((16, 16))
    point[8, 8] = 1
    for x in (point, plane, picture):
        c = ut.compare(x, turn(x))
        assert c.error < 1e-6 and np.isfinite(c.aligned).all() and not any(c.ramp)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones((8, 8)), np.ones((8, 9)), r"shape \(8, 8\), the second \(8, 9\)"),
        (np.ones((8, 8)), np.zeros((8, 8)), "second object is zero everywhere"),
        (np.full((8, 8), np.nan), np.ones((8, 8)), "NaN or infinite in 64"),
        (np.array([["a"]]), np.ones((1, 1)), "array of complex numbers"),
    ],
)
def test_what_cannot_be_compared_is_said(a, b, words):
    with pytest.raises(ut.InputError, match=words):
        ut.compare(a, b)


def test_the_command_says_the_ramp_and_nothing_where_there_is_none(tmp_path):
    x = fourier.centred(crystal((48, 48), np.random.default_rng(2)), 2)
    np.save(tmp_path / "a.npy", x.numpy())
    np.save(tmp_path / "b.npy", torch.fft.fftshift(tilted(torch.fft.ifftshift(x), np.array([3, -2]))).numpy())
    says = {}
    for other in "ab":
        done = subprocess.run([sys.executable, "-m", "untwin", "compare", "a.npy", f"{other}.npy", "-o", f"{other}.png"], cwd=tmp_path,
                              capture_output=True, text=True, check=True)  # fmt: skip
        says[other] = done.stdout
        assert "error after alignment 0.0000 (correlation 1.0000, not turned)" in done.stdout and (tmp_path / f"{other}.png").exists()
    assert "ramp" not in says["a"] and "a phase ramp of (3.00, -2.00) detector pixels was taken out (E = 0." in says["b"]
