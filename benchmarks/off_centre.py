"""A peak that is not in the middle of the detector: the array padded about it with unmeasured pixels, cropped, or as `read` makes it.

    python benchmarks/off_centre.py --seed 17021 --count 4 --json benchmarks/results/off_centre.json

Crystals of 160 x 160 pixels, 1e6 photons, of which a detector of 64 x 64 pixels (--seen) sees a window with the peak off its middle by so
many pixels along the two axes. E is the error of the object in that window, modulo sub-pixel shift, twin and phase: of a cropped pattern
the pixels that were left out are zero, which is what its resolution costs. As read: what `read` makes of the pattern by itself.
CPU: seconds per reconstruction.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.errors import NumericalFailure
from untwin.simulate.shapes import CLASSES

KINDS = ("poly", "defect", "complex")
SHIFTS = ((6, 3), (12, -8), (18, -19))
WHOLE, PHOTONS = 160, 1e6


def wave(kind: str, seed: int, index: int) -> np.ndarray:
    """At the detector, zero frequency in the middle; its square is in photons."""
    x = CLASSES[kind]((WHOLE, WHOLE), np.random.default_rng((seed, index)))
    w = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x)))
    return w * np.sqrt(PHOTONS / (np.abs(w) ** 2).sum())


def window(shift: tuple[int, int], seen: int) -> tuple[slice, ...]:
    return tuple(slice(first, first + seen) for first in (WHOLE // 2 - seen // 2 - s for s in shift))


def in_window(image: np.ndarray, start: tuple[int, ...], seen: int) -> np.ndarray:
    """The wave of an object on the pixels of the window, zero frequency of the object at its middle; start: of the window in its array."""
    w = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image), norm="ortho"))
    part = np.zeros((seen, seen), complex)
    to = tuple(slice(max(0, -s), min(seen, n - s)) for s, n in zip(start, w.shape))
    part[to] = w[tuple(slice(max(0, s), min(n, s + seen)) for s, n in zip(start, w.shape))]
    return part


def error(image: np.ndarray, start: tuple[int, ...], truth: np.ndarray) -> float:
    """Of the object or its twin in the window."""

    def object_of(w: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.fft.ifftn(np.fft.ifftshift(w))).to(torch.complex64)

    both = (image, np.roll(np.flip(image), [1 - n % 2 for n in image.shape], (0, 1)).conj())
    return min(float(ut.align(object_of(in_window(x, start, len(truth)))[None], object_of(truth), 2).error[0]) for x in both)


def one(kind: str, shift: tuple[int, int], way: str, seed: int, index: int, seen: int) -> dict:
    w = wave(kind, seed, index)
    part = window(shift, seen)
    counts = np.random.default_rng((seed, index, 1)).poisson(np.abs(w) ** 2)[part]
    centre = [seen // 2 + s for s in shift]
    start, hidden = (0, 0), None
    if way == "padded":
        room = [(max(0, n - 2 * c), max(0, 2 * c - n)) for n, c in zip(counts.shape, centre)]
        hidden = np.pad(np.zeros(counts.shape, bool), room, constant_values=True)
        counts = np.pad(counts, room)
        start = tuple(-low for low, _ in room)
        centre = [n // 2 for n in counts.shape]
    elif way == "cropped":
        half = [min(c, seen - c) for c in centre]
        start = tuple(c - h for c, h in zip(centre, half))
        counts = counts[tuple(slice(s, s + 2 * h) for s, h in zip(start, half))]
        centre = half
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pattern = ut.read(counts, centre=centre, mask=hidden)
    begun = time.process_time()
    try:
        solution = ut.reconstruct(pattern, seed=0, workers=1)
        first = tuple(n // 2 - c - s for n, c, s in zip(pattern.shape, centre, start))  # of the window in the pattern's array
        e, trusted = error(solution.image.numpy(), first, w[part]), solution.verdict.trusted
    except NumericalFailure:
        e, trusted = 1.0, None
    own = {"class": kind, "shift": shift, "way": way, "index": index, "shape": pattern.shape}
    return own | {"error": e, "trusted": trusted, "cpu": time.process_time() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=4, help="objects per class")
    parser.add_argument("--seen", type=int, default=64, help="pixels of the detector along each axis")
    parser.add_argument("--quick", action="store_true", help="one object per class")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    objects = []
    print("| peak off by | array | pixels | n | median E | worst E | trusted | of these E above 0.12 | CPU s |\n" + "|---|" + "---|" * 8)
    for shift in [(a * args.seen // 64, b * args.seen // 64) for a, b in SHIFTS]:
        for way in ("padded", "cropped", "as read"):
            row = [one(k, shift, way, args.seed, i, args.seen) for k in KINDS for i in range(1 if args.quick else args.count)]
            objects += row
            e = [o["error"] for o in row]
            wrong = sum(o["error"] > 0.12 for o in row if o["trusted"])
            numbers = f"{np.median(e):.3f} | {max(e):.3f} | {sum(bool(o['trusted']) for o in row)} | {wrong}"
            cpu = np.mean([o["cpu"] for o in row])
            pixels = ", ".join(sorted({" x ".join(map(str, o["shape"])) for o in row}))
            print(f"| {shift[0]}, {shift[1]} | {way} | {pixels} | {len(row)} | {numbers} | {cpu:.0f} |", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        made = {"script": "off_centre", "seed": args.seed, "seen": args.seen, "untwin": ut.__version__, "torch": torch.__version__}
        args.json.write_text(json.dumps(made | {"objects": objects}, indent=1))


if __name__ == "__main__":
    main()
