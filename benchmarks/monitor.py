"""Counters that are blind after every count, and a crystal under a beam that varies from frame to frame.

    python benchmarks/monitor.py

The first table: every arrival is drawn. bias: of the most likely rate of all pixels together, with the counts as they are and with the live
time in the model. chi-square: per pixel about the true rate, with the live time in the model, and of counts divided by it. The second: E
of a crystal of 32^3 after shift, twin, phase and ramp, 1e8 photons, RECIPE with six starts, and whether it is trusted; spread of the
monitor 0 and 0.3.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

import untwin as ut
from untwin.data.flat import live
from untwin.simulate.detector import Detector, Total
from untwin.simulate.streams import Streams

RECIPE = "4*(40*HIO + 20*RAAR + ShrinkWrap(threshold=0.15)) + 60*RAAR + 60*ER"


def read_out(rate: float, blind: float, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of a frame: arrivals at random, of which those within `blind` after a count are lost."""
    n, clock = np.zeros(pixels, int), rng.exponential(1 / rate, pixels)
    while (on := clock < 1).any():
        n += on
        clock = clock + blind + rng.exponential(1 / rate, pixels)
    return n


def counters(seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    print("| λ | λ t | bias as they are | bias, live time in the model | chi-square | chi-square, divided |\n|---|---|---|---|---|---|")
    for rate, pixels in ((20, 200_000), (200, 40_000)):
        for product in (0.01, 0.1, 0.3):
            n = read_out(rate, product / rate, pixels, rng)
            share, _ = live(n, np.ones(pixels, bool), product / rate, True, "it", [])
            right, divided = ((n - share * rate) ** 2 / (share * rate)).mean(), ((n / share - rate) ** 2 / rate).mean()
            biases = [f"{100 * (value / rate - 1):+.2f} %" for value in (n.mean(), n.sum() / share.sum())]
            print(f"| {rate} | {product} | {biases[0]} | {biases[1]} | {right:.3f} | {divided:.3f} |")


def crystal(seed: int, n: int = 32) -> torch.Tensor:
    """(1, n, n, n): facets and a phase, centred."""
    rng = np.random.default_rng(seed)
    r = np.meshgrid(*[(np.arange(n) - n // 2) / n] * 3, indexing="ij")
    body = sum(a * a for a in r) < 0.19**2
    for _ in range(9):
        v = rng.normal(size=3)
        body &= sum(a * b for a, b in zip(v / np.linalg.norm(v), r)) < 0.17 * rng.uniform(0.7, 1)
    phase = 1.2 * np.sin(9 * r[-1] + rng.uniform(0, 6)) * np.cos(8 * r[0] + rng.uniform(0, 6))
    return torch.from_numpy((body * np.exp(1j * phase)).astype(np.complex64))[None]


def beams() -> None:
    print("\n| seed | steady beam | varying, monitor given | not given |\n|---|---|---|---|")
    for seed in range(3):
        x, cells = crystal(seed), []
        for spread, used in ((0, False), (0.3, True), (0.3, False)):
            e = Detector(exposure=Total(1e8), monitor=spread).expose(x, Streams(seed, [0]))
            counts, monitor = (None if v is None else np.fft.fftshift(v[0].numpy()) for v in (e.intensity, e.monitor))
            pattern = ut.read(counts, centre=(16, 16, 16), monitor=monitor if used else None)
            run = ut.reconstruct(pattern, RECIPE, seed=seed, starts=6, workers=1)
            cells.append(f"{ut.compare(run.image.numpy(), e.x[0].numpy()).error:.3f}, {run.verdict.trusted}")
        print(f"| {seed} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ut.GuessWarning)
    counters()
    beams()
