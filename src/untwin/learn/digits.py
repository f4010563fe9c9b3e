"""Handwritten digits as objects (LeCun, Cortes and Burges: MNIST), with or without random shifts and flips, and their patterns."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from untwin import fourier
from untwin.errors import InputError
from untwin.learn.pairs import Batch

CANVAS = 64  # pixels of the array; the digit lies in its central 32 x 32
LARGEST = 16 + 784 * 60_000  # bytes of the larger file
FILES = {"training": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}


@dataclass(frozen=True)
class Digits:
    """Digits in 64 x 64 arrays, noise-free patterns: twice oversampled. batch takes from the training images, again and again, held
    from the test images.

    folder: with the idx files, plain or .gz. shift: by whole pixels, up to this many along each axis, 4 at most, so that the 28 x 28 image
    stays within 36 and the digit, which fills 20 of them, within 32. flip: half of the images are turned by 180 degrees, their twins.
    seed: of shifts and flips; sample i is a function of it and of i. count: training images used, from the first.
    Raises InputError where a file is missing or damaged.
    """

    folder: str
    shift: int = 0
    flip: bool = False
    seed: int = 0
    count: int = 60_000

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 4:
            raise InputError(f"Digits(shift={self.shift!r}): expected 0 to 4")

    def batch(self, indices: Sequence[int], device: str = "cpu") -> Batch:
        images = _images(self.folder, "training")
        count = min(self.count, len(images))
        order = [int(_order(self.seed, int(i) // count, count)[int(i) % count]) for i in indices]
        return self._with_patterns(images[order], [(self.seed, int(i)) for i in indices], device)

    def validation_batch(self, count: int, device: str = "cpu") -> Batch:
        images = _images(self.folder, "test")[:count]
        return self._with_patterns(images, [(self.seed + 1_000_003, i) for i in range(len(images))], device)

    def _with_patterns(self, images: np.ndarray, seeds: list[tuple[int, int]], device: str) -> Batch:
        import torch

        x = np.zeros((len(images), CANVAS, CANVAS), np.float32)
        for canvas, digit, seed in zip(x, images, seeds):
            g = np.random.default_rng(seed)
            if self.flip and g.random() < 0.5:
                digit = digit[::-1, ::-1]
            a, b = 18 + g.integers(-self.shift, self.shift + 1, 2)
            canvas[a : a + 28, b : b + 28] = digit / np.float32(255)
        image = torch.from_numpy(x).to(device)
        wave = fourier.forward(image, 2)
        return Batch(image, wave.real.square() + wave.imag.square(), torch.ones_like(image, dtype=torch.bool))


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


@lru_cache(maxsize=4)
def _images(folder: str, part: str) -> np.ndarray:
    """(count, 28, 28) uint8."""
    name = FILES[part]
    path = next((p for p in (Path(folder) / name, Path(folder) / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise InputError(f"no {name} (or .gz) in {folder}; expected a folder with the idx files of MNIST")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
        magic, count, height, width = struct.unpack(">4i", content[:16])
        if (magic, height, width) != (2051, 28, 28) or len(content) != 16 + count * 784 or count < 1:
            raise ValueError(f"magic {magic}, {count} images of {height} x {width}, {len(content)} bytes")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{path} is not a complete idx file of 28 x 28 images ({error}); copy it again") from None
    return np.frombuffer(content, np.uint8, offset=16).reshape(count, 28, 28)
