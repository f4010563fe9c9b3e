"""What the command line offers for pictures: a task, a noise and a prior by name, checked against the picture."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from untwin.checks import number_argument
from untwin.errors import GuessWarning, InputError
from untwin.live.record import Record
from untwin.model.denoiser import LEAST
from untwin.model.losses import Absolute, Gamma, Loss, Poisson, Squared
from untwin.runs.blind import LEAST as LEAST_BLIND
from untwin.runs.checkpoint import Checkpoint
from untwin.runs.restore import PRIORS, UNTRAINED, Report, fit_for, restore
from untwin.runs.solution import Restored
from untwin.solve.fit import Fit
from untwin.solve.recipe import Rule

TASKS = ("denoise", "inpaint", "superres", "deblur", "mri")
NOISES: dict[str, Loss] = {"gaussian": Squared(), "impulse": Absolute(), "shot": Poisson(0.01), "speckle": Gamma()}
ALIKE = 0.1  # of the deviation of the others: 360 drawn masks, hidden pixels of one number: none above 0


@dataclass(frozen=True, eq=False)
class Job:
    """What the command line asks for, checked: `run` is restore with it. kind: complex for k-space."""

    y: np.ndarray
    task: str
    prior: Fit | str
    stop: Rule | None
    loss: Loss
    sigma: float | None = None
    measured: np.ndarray | None = None
    kernel: np.ndarray | None = None
    factor: int = 1
    sampled: np.ndarray | None = None
    box: int | None = None

    def run(
        self,
        seed: int,
        steps: int | None,
        device: str,
        report: Report | None,
        checkpoint: Checkpoint | None = None,
        live: Record | None = None,
    ) -> Restored:
        import torch

        from untwin.model.image.base import Identity
        from untwin.model.image.blur import Blur
        from untwin.model.image.downsample import Downsample
        from untwin.model.image.mri import MRI
        from untwin.model.unknown import Unknown

        physics: Any = Identity()
        if self.kernel is not None:
            physics = Blur(torch.from_numpy(self.kernel))
        elif self.task == "deblur":
            physics = Blur(Unknown(), box=self.box)
        elif self.task == "superres":
            physics = Downsample(self.factor)
        elif self.sampled is not None:
            physics = MRI(torch.from_numpy(self.sampled))
        measured = self.measured
        if self.sampled is not None:
            measured = np.broadcast_to(self.sampled, self.y.shape)
        restored = restore(
            self.y, physics, self.prior, self.stop, seed, sigma=self.sigma, measured=measured, loss=self.loss, steps=steps, device=device,
            checkpoint=checkpoint, report=report, live=live,
        )  # fmt: skip
        if self.kernel is not None:  # the frame of the measured picture
            at = tuple(slice((k - 1) // 2, (k - 1) // 2 + n) for k, n in zip(self.kernel.shape, self.y.shape[1:]))
            restored = replace(restored, image=restored.image[(slice(None), *at)].contiguous())
        if self.sampled is not None:
            restored = replace(restored, image=restored.image.abs().square().sum(0, keepdim=True).sqrt())
        return restored


def job(
    y: np.ndarray,
    task: str,
    prior: str = "auto",
    noise: str = "gaussian",
    stop: Rule | None = None,
    sigma: float | None = None,
    mask: np.ndarray | None = None,
    factor: int | None = None,
    kernel: np.ndarray | None = None,
    sampling: np.ndarray | None = None,
    box: int | None = None,
) -> Job:
    """A task on a picture, every part checked against the others without computing anything.

    y: (channels, height, width), 0 to 1; for mri complex k-space (coils, height, width), zero frequency in the middle, or a picture, of
    which it is made. kernel: of deblur; without it the kernel is
    sought, in a box of `box` pixels, by default half the picture. mask: nonzero where nothing is known.
    sampling: nonzero where k-space was measured. sigma: deviation of the noise,
    for a denoiser and total variation.
    Raises InputError.
    """
    for option, choice, choices in (("task", task, TASKS), ("prior", prior, PRIORS), ("noise", noise, tuple(NOISES))):
        if choice not in choices:
            raise InputError(f"unknown {option} {choice!r}; expected one of {', '.join(choices)}")
    if sigma is not None and number_argument("sigma", sigma, 0) > 1:
        raise InputError(f"sigma={sigma:g} (--sigma): expected 0 to 1, where black to white is 1; divide what was read off 8 bits by 255")
    needed = {"inpaint": ("mask", mask), "superres": ("factor", factor), "deblur": ("kernel", kernel)}
    _check_box(task, box, kernel, tuple(y.shape[1:]))
    for name, (option, value) in needed.items():
        if task == name and value is None and task != "deblur":
            raise InputError(f"task {task!r} needs {option}= (--{option})")
        if task != name and value is not None and not (option == "mask" and task != "mri"):
            raise InputError(f"{option}= (--{option}) belongs to task {name!r}, not to {task!r}; leave one of them out")
    if sampling is not None and task != "mri":
        raise InputError(f"sampling= (--sampling) belongs to task 'mri', not to {task!r}; leave one of them out")
    grid = tuple(y.shape[1:])
    measured = None
    if mask is not None:
        if tuple(mask.shape) != grid:
            raise InputError(f"the mask has shape {tuple(mask.shape)}, the image {grid}; crop or pad one of them")
        if not (mask == 0).any():
            raise InputError("the mask marks every pixel; nonzero means that nothing is known there: perhaps invert it")
        _check_convention(y, mask == 0)
        measured = np.broadcast_to(mask == 0, y.shape)
    if task == "superres":
        if isinstance(factor, bool) or not isinstance(factor, int) or not 2 <= factor <= 16:
            raise InputError(f"factor={factor!r} (--factor): expected a whole number from 2 to 16")
        grid = tuple(n * factor for n in grid)
    if kernel is not None:
        kernel = _sound_kernel(kernel, grid)
        grid = tuple(n + k - 1 for n, k in zip(grid, kernel.shape))
    sampled = None
    if task == "mri":
        y, sampled = _kspace(y, sampling)
    if task == "deblur" and kernel is None:
        _check_blind(prior, noise, stop, y)
        return Job(y, task, "auto", None, NOISES[noise], sigma, measured, box=box)
    return Job(y, task, _prior(prior, noise, stop, sigma, grid, task), stop, NOISES[noise], sigma, measured, kernel, factor or 1, sampled)


def _sound_kernel(kernel: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Of sum 1. Raises InputError where it is none."""
    if any(k > n for k, n in zip(kernel.shape, grid)):
        raise InputError(f"the kernel has shape {tuple(kernel.shape)}, the image {grid}; expected no larger a kernel: crop its border")
    total = float(kernel.sum())
    if not total > 0:
        raise InputError(f"the kernel sums to {total:g}; expected a positive sum")
    return np.asarray(kernel / total, dtype=np.float32)


def _check_blind(prior: str, noise: str, stop: Rule | None, y: np.ndarray) -> None:
    """Raise InputError where settings do not suit a blur that is not known."""
    text = "without kernel= (--kernel) the blur is sought, which"
    if prior not in ("auto", "pnp"):
        raise InputError(f"{text} has priors of its own: leave prior={prior!r} (--prior) out, or give the kernel")
    if noise != "gaussian":
        raise InputError(f"{text} is for gaussian noise, not for {noise!r}; give the kernel, or leave noise= (--noise) out")
    if stop is not None:
        raise InputError(f"{text} has no rule: leave stop={stop!r} (--stop) out, or give the kernel")
    grid = tuple(y.shape[1:])
    if min(grid) < LEAST_BLIND:
        raise InputError(f"{text} takes pictures of {LEAST_BLIND} pixels at least along each axis, this one has {grid}; give the kernel")
    if y.min() == y.max():
        raise InputError(f"the picture is {y.min():g} everywhere: it has no edge that shows a blur; expected a photograph")


def _prior(prior: str, noise: str, stop: Rule | None, sigma: float | None, grid: tuple[int, ...], task: str) -> Fit | str:
    """An untrained prior as the fit that its name stands for, others by their name. Raises InputError where they do not suit."""
    if sigma is not None:
        number_argument("sigma", sigma, 0)
    if prior in ("pnp", "tv"):
        if noise != "gaussian":
            raise InputError(f"prior {prior!r} is for gaussian noise, not for {noise!r}; take drp or dip, or leave prior= (--prior) out")
        if stop is not None:
            raise InputError(f"stop={stop!r} (--stop) is a rule for a fit, and prior {prior!r} has none; leave one of them out")
        if prior == "pnp" and min(grid) < LEAST:
            raise InputError(f"prior 'pnp' takes pictures of {LEAST} pixels at least along each axis, this one has {grid}; take tv or dip")
        return prior
    untrained = fit_for(prior if prior in UNTRAINED else "drp", grid, complex_=task == "mri")
    if sigma is not None and prior in UNTRAINED:
        raise InputError(f"sigma={sigma!r} (--sigma) is for pnp and tv, and the prior is {prior}; leave one of them out")
    return untrained if prior in UNTRAINED else prior


def _check_box(task: str, box: int | None, kernel: np.ndarray | None, grid: tuple[int, ...]) -> None:
    """Raise InputError unless a box of an unknown kernel is one."""
    if box is None:
        return
    if task != "deblur":
        raise InputError(f"box= (--box) belongs to task 'deblur', not to {task!r}; leave one of them out")
    if kernel is not None:
        raise InputError("box= (--box) is for a kernel that is not known, and kernel= (--kernel) gives one; leave one of them out")
    if not 1 <= box <= min(grid):
        raise InputError(f"box={box!r} (--box): expected pixels, from 1 to the smaller side of the picture, {min(grid)}")


def _check_convention(y: np.ndarray, known: np.ndarray) -> None:
    """Whether the mask may mark the known pixels. y: (channels, height, width). known: bool (height, width), as the mask is meant here.

    Where the known pixels are all alike and the others are not, it does: an InputError. Where the others are all alike, or almost, it does
    not. Else the numbers do not tell, and a GuessWarning says so where nothing at all is marked, more than half is, or what is known hardly
    varies.
    """
    share = 100 * float((~known).mean())
    if share == 0:
        warnings.warn("the mask marks no pixel as unknown", GuessWarning, stacklevel=3)
        return
    inside, outside = y[:, known].astype(np.float64), y[:, ~known].astype(np.float64)
    if np.ptp(inside, axis=1).max() == 0 < np.ptp(outside, axis=1).max():
        raise InputError(
            f"the pixels that the mask calls known are all the same, and the {share:.0f} % that it calls unknown are not; nonzero means "
            "unknown: invert the mask"
        )
    inner, outer = (float(np.sqrt(v.var(axis=1).mean())) for v in (inside, outside))
    if outer <= ALIKE * inner:
        return
    if share > 50 or inner < ALIKE * outer:
        text = f"the mask marks {share:.0f} % of the pixels as unknown"
        text += f", and those that it calls known hardly vary ({inner:.2g} against {outer:.2g})" if inner < ALIKE * outer else ""
        text += "; invert it if it marks the known ones (the numbers do not tell)"
        warnings.warn(text, GuessWarning, stacklevel=3)


def _kspace(y: np.ndarray, sampling: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """k-space with the brightest point of its plain inverse at 1, and what of it was measured."""
    if not np.iscomplexobj(y):
        if sampling is None:
            raise InputError(
                "task 'mri' with a picture needs sampling= (--sampling), which coefficients of it to keep; or give complex k-space as .npy"
            )
        if y.shape[0] > 1:
            raise InputError(f"task 'mri' takes a grey picture or k-space, this one has {y.shape[0]} channels; convert it")
        y = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(y, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    sampled = np.abs(y).sum(0) > 0 if sampling is None else sampling != 0
    if tuple(sampled.shape) != tuple(y.shape[1:]):
        raise InputError(
            f"the sampling pattern has shape {tuple(sampled.shape)}, the k-space {tuple(y.shape[1:])}; crop or pad one of them"
        )
    if not sampled.any():
        raise InputError("nothing of k-space was measured; expected nonzero in the sampling pattern where it was")
    y = np.where(sampled, y, 0)
    plain = np.fft.ifft2(np.fft.ifftshift(y, axes=(1, 2)), norm="ortho")
    return (y / max(float(np.sqrt((np.abs(plain) ** 2).sum(0)).max()), 1e-30)).astype(np.complex64), sampled
