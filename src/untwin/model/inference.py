"""A trained network's first guess: of patterns by the thousand, and as the start and the support of an iterative reconstruction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin import fourier
from untwin.data.measurement import Pattern
from untwin.data.oversampling import undersampled_axes
from untwin.errors import InputError
from untwin.model.networks import weights
from untwin.model.networks.architecture import padded
from untwin.model.networks.weights import Trained

if TYPE_CHECKING:
    import torch
    from torch import Tensor


SUPPORT_THRESHOLD = 0.1  # of the largest magnitude: where the object is, as published for CDI NN
MAX_UNMEASURED_SHARE = 0.05  # share of pixels that may be missing,
MAX_HOLE_DEPTH = 1.5  # and how far from a measured pixel, where the network was trained without holes
MAX_MISFIT_RATIO = 1.25  # misfit over the one that 95 % of the validation samples stay below: more is outside of what was learnt
BATCH = 16  # patterns at a time: more leave the cache


@dataclass(frozen=True)
class InputLayout:
    """How a pattern is brought to a network: its central `crop` pixels, every `step`-th of them, which leaves `grid`.

    Cropping coarsens the object's pixels, and every other pixel of a pattern is the pattern of the object in half the field of view.
    """

    crop: tuple[int, ...]
    step: tuple[int, ...]

    def apply(self, a: np.ndarray) -> np.ndarray:
        """a: (*shape), FFT order."""
        for axis, (m, k) in enumerate(zip(self.crop, self.step)):
            n = a.shape[axis]
            index = np.r_[0 : (m + 1) // 2, n - m // 2 : n]
            a = a.take(index[::k], axis)
        return a


@dataclass(frozen=True, eq=False)
class Prediction:
    """image: (*shape) complex64, centred at N//2, scaled to the pattern. support: (*shape) bool, magnitude above a tenth of the largest.
    misfit: sqrt( Σ (|F x| − √I)² / Σ I ) over the measured pixels that the network was shown. warnings: why not to rely on it."""

    image: np.ndarray
    support: np.ndarray
    misfit: float
    warnings: tuple[str, ...]


def layout_for(pattern: Pattern, model: Trained) -> InputLayout:
    """How `pattern` is brought to the model. Raises InputError, naming what would do, where it cannot be."""
    from untwin.model.outline import box_widths

    of = model.architecture
    name = f"{model.name} takes {' x '.join(map(str, of.shape))} patterns of objects up to {' x '.join(map(str, of.box))} pixels wide"
    if pattern.optics is not None:
        raise InputError(f"{name} of one far field; these are exposures of another kind. Reconstruct them without a network")
    if pattern.ndim != len(of.shape):
        raise InputError(f"{name}; this pattern has shape {pattern.shape}, {pattern.ndim}D. Take another model, or leave it out")
    if any(n < m for n, m in zip(pattern.shape, of.shape)):
        raise InputError(f"{name}; this pattern has shape {pattern.shape}: too small. Reconstruct it without a network")
    widths = pattern.shape
    if not of.box == of.shape == pattern.shape:
        coarse = undersampled_axes(pattern.intensity, pattern.measured)
        widths = [n if a in coarse else w for a, (n, w) in enumerate(zip(pattern.shape, box_widths(pattern)))]
    crop, step = [], []
    for axis, (n, m, b, w) in enumerate(zip(pattern.shape, of.shape, of.box, widths)):
        share = float(w) / n  # of the field of view
        k = max((k for k in range(1, n // m + 1) if share * k <= 1.06 * b / m), default=0)
        if not k:
            raise InputError(
                f"{name}; the object of this pattern is about {w:.0f} of {n} pixels wide along axis {axis}, {share * m:.0f} of {m} for the "
                f"network: sampled too coarsely. Reconstruct it without a network"
            )
        crop.append(m * k)
        step.append(k)
    layout = InputLayout(tuple(crop), tuple(step))
    measured = layout.apply(pattern.measured)
    hole = _hole_depth(measured)
    allowed = 4.0 if _knows_holes(model) else MAX_HOLE_DEPTH
    if hole > allowed or measured.mean() < 1 - MAX_UNMEASURED_SHARE:
        raise InputError(
            f"{100 * (1 - measured.mean()):.2g} % of the pixels that {model.name} would look at are not measured, in holes up to "
            f"{2 * hole - 1:.0f} pixels wide. It can do without {100 * MAX_UNMEASURED_SHARE:.2g} %, in holes up to {2 * allowed - 1:.0f} "
            f"wide. Reconstruct this pattern without a network"
        )
    return layout


def _hole_depth(measured: np.ndarray) -> float:
    """How far the most hidden pixel is from a measured one, pixels; 0 where all are measured."""
    from scipy import ndimage

    if measured.all():
        return 0.0
    far = ndimage.distance_transform_edt(~np.fft.fftshift(measured))
    return float(np.max(far))  # pyright: ignore[reportCallIssue, reportArgumentType]


def _knows_holes(model: Trained) -> bool:
    return model.card.get("holes") is True


def network_input(pattern: Pattern, layout: InputLayout, holes: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Intensity and mask as the network sees them, FFT order. holes: it knows unmeasured pixels; otherwise they are filled with the mean
    fourth root of their neighbours, weighted by a Gaussian of one pixel."""
    from scipy import ndimage

    intensity, measured = layout.apply(pattern.intensity), layout.apply(pattern.measured)
    if holes or measured.all():
        return intensity, measured
    root = np.where(measured, np.maximum(intensity, 0) ** 0.25, 0)
    weight = ndimage.gaussian_filter(measured.astype(np.float32), 1.0, mode="wrap")
    filled = ndimage.gaussian_filter(root, 1.0, mode="wrap") / np.maximum(weight, 1e-6)
    return np.where(measured, intensity, filled**4).astype(np.float32), np.ones_like(measured)


def predict(patterns: Sequence[Pattern], model: Trained | str, device: str | torch.device = "cpu") -> Iterator[Prediction]:
    """What a trained network says about patterns, one after the other, worked out in batches. model: from `weights.load`, or its name.

    Every pattern is checked before the first is worked out. Raises InputError where one cannot be brought to what the network was
    trained on.
    """
    import torch

    model = weights.load(model) if isinstance(model, str) else model
    patterns = [p.corrected() for p in patterns]
    layouts = [layout_for(p, model) for p in patterns]
    of, net = model.architecture, model.net.to(device)
    holes = _knows_holes(model)
    for at in range(0, len(patterns), BATCH):
        batch = list(zip(patterns[at : at + BATCH], layouts[at : at + BATCH]))
        inputs = [network_input(p, layout, holes) for p, layout in batch]
        intensity, measured = (torch.from_numpy(np.stack([b[i] for b in inputs])).to(device) for i in (0, 1))
        with torch.no_grad():
            images = of.image(net(of.take(intensity, measured)).float()).cpu()
        for image, (pattern, layout) in zip(images, batch):
            yield _prediction(image, pattern, layout, model)


def _prediction(image: Tensor, pattern: Pattern, layout: InputLayout, model: Trained) -> Prediction:
    import torch

    d = pattern.ndim
    x = fourier.cornered(padded(image.unsqueeze(0), layout.crop)[0], d)
    wave = fourier.forward(x, d)
    measured = torch.from_numpy(cropped(pattern.measured, layout.crop))
    amplitude = torch.from_numpy(np.sqrt(np.maximum(cropped(pattern.intensity, layout.crop), 0))).where(measured, torch.zeros(()))
    computed = wave.abs().where(measured, torch.zeros(()))
    scale = float((computed * amplitude).sum() / computed.square().sum().clamp(min=1e-30))
    misfit = float((computed * scale - amplitude).norm() / amplitude.norm().clamp(min=1e-30))
    spectrum = torch.zeros(pattern.shape, dtype=wave.dtype)
    indices = [torch.cat([torch.arange((m + 1) // 2), torch.arange(n - m // 2, n)]) for n, m in zip(pattern.shape, layout.crop)]
    spectrum[torch.meshgrid(*indices, indexing="ij")] = wave * scale
    full = fourier.centred(fourier.inverse(spectrum, d), d)
    m = full.abs()
    usual = model.card.get("metrics", {}).get("misfit_95")
    warnings = []
    if isinstance(usual, int | float) and misfit > MAX_MISFIT_RATIO * usual:
        warnings.append(
            f"the prediction explains the pattern badly: misfit {misfit:.2f}, and 95 % of what {model.name} was validated on stay below "
            f"{usual:.2f}. The pattern is unlike its training data, or not centred; do not rely on it"
        )
    return Prediction(full.numpy().astype(np.complex64), (m > SUPPORT_THRESHOLD * m.max()).numpy(), misfit, tuple(warnings))


def cropped(a: np.ndarray, crop: tuple[int, ...]) -> np.ndarray:
    """The central pixels of a pattern, FFT order."""
    return InputLayout(crop, (1,) * len(crop)).apply(a)


def activations(pattern: Pattern, model: Trained) -> tuple[list[tuple[str, np.ndarray]], np.ndarray, np.ndarray]:
    """What each convolution but the last makes of a pattern: (name, (channels, *grid)); the intensity that the network sees and its image,
    both centred."""
    import torch

    pattern = pattern.corrected()
    intensity, measured = network_input(pattern, layout_for(pattern, model), _knows_holes(model))
    maps: list[tuple[str, np.ndarray]] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: maps.append((name, out[0].detach().clone().numpy())))
        for name, layer in model.net.named_modules()
        if type(layer).__name__ == "ReLU"
    ]
    try:
        with torch.no_grad():
            output = model.net(model.architecture.take(torch.from_numpy(intensity).unsqueeze(0), torch.from_numpy(measured).unsqueeze(0)))
    finally:
        for hook in hooks:
            hook.remove()
    return maps, np.fft.fftshift(intensity), model.architecture.image(output)[0].numpy()
