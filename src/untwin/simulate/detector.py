"""The detector: photons, noise, what blurs the pattern, what falls on it from elsewhere, and what hides pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from untwin import expression, fourier
from untwin.data.measurement import Geometry, Pattern, Source
from untwin.errors import InputError
from untwin.simulate.settings import Between, Setting, bounds_of, require_within
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

MOST = 1e12  # counts: above any detector, below what a Poisson generator refuses
BLOBS = 3  # of stray light, at most


def _square(shape: tuple[int, ...]) -> np.ndarray:
    """Squared distance from the zero frequency, pixels², FFT order."""
    square = np.zeros(shape)
    for axis, n in enumerate(shape):
        k = np.fft.fftfreq(n, 1 / n)
        square = square + (k**2).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return square


def beamstop(shape: tuple[int, ...], radius: float) -> np.ndarray:
    """bool, FFT order: True outside a disk (ball) of `radius` pixels around the zero frequency; radius 0 hides nothing."""
    return _square(shape) > radius**2 if radius > 0 else np.ones(shape, dtype=bool)


def measure(
    image: np.ndarray,
    photons: float,
    rng: np.random.Generator,
    stop: float = 0.0,
    geometry: Geometry | None = None,
    coherence: float = 0.0,
) -> tuple[Pattern, np.ndarray]:
    """Poisson counts of |F x|² with `photons` in total on the measured pixels, and the object scaled to them (unitary F).

    image: (*grid) complex, centred at N//2. photons: above 0; inf leaves the noise out and scales to 1e9. stop: radius, pixels.
    coherence: σ of the partial coherence, pixels, as in `Detector`.
    Returns the Pattern (FFT order) and the scaled object (centred).
    """
    if not photons > 0:
        raise InputError(f"photons must be above 0, got {photons}; 1e6 is a good pattern at 64 x 64")
    if not 0 <= coherence < float("inf"):
        raise InputError(f"coherence must be 0 or more, pixels, got {coherence}; 0.3 is a good beamline")
    measured = beamstop(image.shape, stop)
    wave = np.fft.fftn(np.fft.ifftshift(image.astype(np.complex128)), norm="ortho")
    mean = np.abs(wave) ** 2
    if coherence > 0:
        import torch

        mean = fourier.blur(torch.from_numpy(mean)[None], torch.tensor([coherence], dtype=torch.float64), mean.ndim)[0].clamp(min=0).numpy()
    scale = (photons if np.isfinite(photons) else 1e9) / mean[measured].sum()
    counts = rng.poisson(mean * scale).astype(np.float64) if np.isfinite(photons) else mean * scale
    pattern = Pattern(
        intensity=np.where(measured, counts, 0).astype(np.float32),
        measured=measured,
        geometry=geometry or Geometry(),
        source=Source(shape=image.shape, centre=tuple(n // 2 for n in image.shape)),
    )
    return pattern, (image * np.sqrt(scale)).astype(np.complex64)


@dataclass(frozen=True, repr=False)
class Total:
    """As long an exposure as gives `photons` expected from the object on all measured pixels together."""

    photons: Setting = 1e6

    def __post_init__(self) -> None:
        require_within(self, "photons", 1, MOST)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, repr=False)
class Peak:
    """As long an exposure as gives `counts` expected from the object in the brightest measured pixel."""

    counts: Setting = 1e4

    def __post_init__(self) -> None:
        require_within(self, "counts", 1, MOST)

    def __repr__(self) -> str:
        return expression.write(self)


@dataclass(frozen=True, eq=False)
class Exposure:
    """What a detector saw of some samples.

    intensity: (samples, *grid) float32, FFT order, counts; 0 where not measured.
    measured: (samples, *grid) bool, FFT order, True where the pixel can be trusted.
    x: (samples, *grid) complex64, centred: the objects, scaled so that |F x|² are the expected counts of a coherent beam without
        background and stray light (unitary F).
    labels: one dict of plain numbers per sample, what was drawn: photons and peak (expected from the object, on measured pixels),
        coherence, background, stray, blobs (of stray light), beamstop, gaps, hot and dead (detector pixels), threshold, saturation
        (where there is one), saturated (pixels), measured (share of the pixels).
    """

    intensity: Tensor
    measured: Tensor
    x: Tensor
    labels: list[dict[str, float]]


@dataclass(frozen=True, repr=False)
class Detector:
    """Counts the photons of a far-field pattern. With μ = s |F x|², s from the exposure, and ⊛ a periodic convolution, a pixel reads

        Poisson( G_σ ⊛ μ + background + stray light ),

    G_σ a Gaussian of σ = coherence. The convolution is a product of the object's autocorrelation a = F⁻¹ μ with a Gaussian:
    a(r) exp(−2π² σ² Σ_j (r_j / N_j)²), r the signed distance of two points of the object and N the size of the array, in pixels.
    In a 3D pattern axis 0 counts frames: gaps, hot and dead pixels are the same in every one of them.

    exposure: Total(photons) or Peak(counts), of the blurred pattern of the object, before saturation.
    noise: Poisson noise; without it a pixel reads the expected counts themselves.
    coherence: σ of the partial coherence, pixels; 0 is full coherence.
    background: expected counts per pixel, flat.
    stray: expected photons of 1 to 3 spots or streaks away from the centre (another crystal), as a share of the object's on the
        measured pixels. Not masked: a real mask would not know.
    beamstop: radius of a disk (ball) around the zero frequency, pixels; masked.
    gaps: number of straight gaps along a detector axis, anywhere; masked. gap_width: of each, pixels.
    hot, dead: share of the detector's pixels that always count or never do; masked, so only the labels tell them apart.
    threshold, saturation: the dynamic range. Below the threshold a pixel reads 0 (and is measured); at the saturation, counts,
        it stops counting and is masked. None: never.
    """

    exposure: Total | Peak = Total(1e6)
    noise: bool = True
    coherence: Setting = 0.0
    background: Setting = 0.0
    stray: Setting = 0.0
    beamstop: Setting = 0.0
    gaps: Setting = 0
    gap_width: Setting = 2
    hot: Setting = 0.0
    dead: Setting = 0.0
    threshold: Setting = 0.0
    saturation: Setting | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.exposure, Total | Peak):
            raise InputError(f"Detector(exposure={self.exposure!r}): expected Total(photons) or Peak(counts), such as Total(1e6)")
        if not isinstance(self.noise, bool):
            raise InputError(f"Detector(noise={self.noise!r}): expected True (Poisson) or False (the expected counts)")
        require_within(self, "coherence", 0)
        require_within(self, "background", 0, MOST)
        require_within(self, "stray", 0, 1)
        require_within(self, "beamstop", 0)
        require_within(self, "gaps", 0, 16, integer=True)
        require_within(self, "gap_width", 1, integer=True)
        require_within(self, "hot", 0, 0.5)
        require_within(self, "dead", 0, 0.5)
        require_within(self, "threshold", 0)
        if self.saturation is not None:
            require_within(self, "saturation", 1)

    def __repr__(self) -> str:
        return expression.write(self)

    def expose(self, x: Tensor, streams: Streams) -> Exposure:
        """The counts of the objects x: (samples, *grid) complex64, centred at N//2, one sample for each generator of `streams`.

        On a CPU a sample's bits do not depend on its batch. Raises InputError where x does not fit the streams or the detector, and
        where a sample has no light on its measured pixels.
        """
        import torch

        self._check(x, streams)
        d = x.ndim - 1
        target = streams.setting(self.exposure.photons if isinstance(self.exposure, Total) else self.exposure.counts)
        labels = {name: streams.setting(getattr(self, name)) for name in ("coherence", "background", "stray", "threshold")}
        if self.saturation is not None:
            labels["saturation"] = streams.setting(self.saturation)
        measured, hidden = self._mask(tuple(x.shape[1:]), streams)
        dark = torch.zeros((), dtype=torch.float64, device=x.device)
        none = torch.zeros(len(x), dtype=torch.int64, device=x.device)

        wave = _each(lambda row: fourier.forward(row, d), x)  # |F x|² does not see where the object lies, nor where index 0 is
        re, im = wave.real.double(), wave.imag.double()
        mean = re.square_().addcmul_(im, im)
        if _on(self.coherence):
            mean = _each(lambda row, sigma: fourier.blur(row, sigma, d), mean, labels["coherence"]).clamp(min=0)
        mean = mean.where(measured, dark)
        photons, peak = mean.flatten(1).sum(1), mean.flatten(1).amax(1)
        _lit(photons, measured)
        scale = target / (photons if isinstance(self.exposure, Total) else peak)
        mean = mean * _column(scale, d)
        labels |= {"photons": photons * scale, "peak": peak * scale, "blobs": none}
        labels["photons" if isinstance(self.exposure, Total) else "peak"] = target
        if _on(self.stray):
            blobs = streams.integer(Between(1, BLOBS))
            mean = mean + _blobs(mean, blobs, streams) * _column(labels["stray"] * labels["photons"], d)
            labels["blobs"] = blobs.where(labels["stray"] > 0, none)
        if _on(self.background):
            mean = mean + _column(labels["background"], d)
        mean = mean.where(measured, dark)

        counts = streams.poisson(mean) if self.noise else mean.float()
        saturated = none
        if "saturation" in labels:
            below = counts < _column(labels["saturation"], d)
            saturated = (measured & ~below).flatten(1).sum(1)
            measured = measured & below
        if _on(self.threshold):
            counts = counts.where(counts >= _column(labels["threshold"], d), counts.new_zeros(()))
        share = measured.flatten(1).sum(1).double() / measured[0].numel()
        if not bool((share > 0).all()):
            raise InputError(f"{self!r} saturates every pixel of a sample; shorten the exposure or raise the saturation")
        labels |= hidden | {"saturated": saturated, "measured": share}
        return Exposure(
            intensity=counts.where(measured, counts.new_zeros(())),
            measured=measured,
            x=torch.view_as_complex(torch.view_as_real(x) * _column(scale.sqrt().float(), d + 1)),
            labels=[dict(zip(labels, row)) for row in zip(*(v.tolist() for v in labels.values()))],
        )

    def _check(self, x: Tensor, streams: Streams) -> None:
        import torch

        if x.dtype != torch.complex64 or x.ndim not in (3, 4) or not x.numel():
            raise InputError(f"x is {x.dtype} of shape {tuple(x.shape)}; expected complex64, (samples, *grid) with a grid in 2D or 3D")
        if len(x) != len(streams):
            raise InputError(f"x has {len(x)} samples, the streams {len(streams)} generators; expected one each")
        if x.device.type != torch.device(streams.device).type:
            raise InputError(f"x is on {x.device}, the streams on {streams.device}; make them with Streams(seed, indices, device)")
        width, room = bounds_of(self.gap_width)[1], min(x.shape[-2:])
        if _on(self.gaps) and width >= room:
            raise InputError(f"Detector(gap_width={self.gap_width!r}): expected less than the detector's {room} pixels; narrow the gaps")

    def _mask(self, shape: tuple[int, ...], streams: Streams) -> tuple[Tensor, dict[str, Tensor]]:
        """What is measured, (samples, *shape) bool, and the labels of what hides the rest."""
        import torch

        d, samples, device = len(shape), len(streams), streams.device
        measured = torch.ones((samples, *shape), dtype=torch.bool, device=device)
        labels = {"beamstop": streams.setting(self.beamstop), "gaps": streams.integer(self.gaps)}
        if _on(self.beamstop):
            radius = _column(labels["beamstop"], d)
            measured = (torch.from_numpy(_square(shape)).to(device) > radius * radius) | (radius == 0)
        if _on(self.gaps):
            most = int(bounds_of(self.gaps)[1])
            width, upright, position = streams.integer(self.gap_width, most), streams.uniform(most) < 0.5, streams.uniform(most)
            exists = torch.arange(most, device=device) < labels["gaps"].unsqueeze(1)
            for axis, along in ((d - 2, upright), (d - 1, ~upright)):
                n = shape[axis]
                pixel = (torch.arange(n, device=device) + n // 2) % n  # its place on the detector, where the gap is in one piece
                first = (position * (n - width + 1)).floor().unsqueeze(-1)
                gap = (pixel >= first) & (pixel < first + width.unsqueeze(-1)) & (exists & along).unsqueeze(-1)
                measured &= ~gap.any(1).reshape(samples, *(n if a == axis else 1 for a in range(d)))
        labels["hot"] = labels["dead"] = torch.zeros(samples, dtype=torch.int64, device=device)
        if _on(self.hot) or _on(self.dead):
            below, above = streams.setting(self.hot), 1 - streams.setting(self.dead)
            u = streams.uniform(*shape[-2:])
            hot, dead = u < _column(below, 2), u >= _column(above, 2)
            labels |= {"hot": hot.flatten(1).sum(1), "dead": dead.flatten(1).sum(1)}
            measured &= ~(hot | dead).reshape(samples, *(1,) * (d - 2), *shape[-2:])
        return measured, labels


def _on(setting: Setting) -> bool:
    return bounds_of(setting)[1] > 0


def _column(v: Tensor, d: int) -> Tensor:
    """One number per sample, to be broadcast over d axes."""
    return v.reshape(-1, *(1,) * d)


def _each(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """function(*rows), on a CPU one row at a time: what sums and transforms add up in which order depends on the size of the batch."""
    import torch

    if rows[0].device.type != "cpu":
        return function(*rows)
    return torch.cat([function(*(r[i : i + 1] for r in rows)) for i in range(len(rows[0]))])


def _lit(photons: Tensor, measured: Tensor) -> None:
    bad = (~(photons.isfinite() & (photons > 0))).nonzero().flatten().tolist()
    if bad:
        pixels = int(measured[bad[0]].sum())
        raise InputError(
            f"sample {bad[0]} of the batch has an intensity of {float(photons[bad[0]]):g} on its {pixels} measured pixels, "
            "expected a number above 0; "
            "give an object that is not empty, or a smaller beamstop, fewer gaps"
        )


def _blobs(like: Tensor, number: Tensor, streams: Streams) -> Tensor:
    """Stray light, (samples, *grid) float64 with sum 1: Gaussian spots and streaks, 0.3 to 0.45 of the array from the centre."""
    import torch

    shape = tuple(like.shape[1:])
    d = len(shape)
    size = like.new_tensor(shape)
    k = [torch.fft.fftfreq(n, 1 / n, dtype=like.dtype, device=like.device) for n in shape]
    k = [a.reshape([-1 if b == axis else 1 for b in range(d)]) for axis, a in enumerate(k)]

    def light(number: Tensor, position: Tensor, direction: Tensor, u: Tensor) -> Tensor:
        centre = position / position.norm(dim=-1, keepdim=True) * (0.3 + 0.15 * u[..., :1]) * size
        direction = direction / direction.norm(dim=-1, keepdim=True)
        across = ((0.012 + 0.018 * u[..., 1]) * min(shape)).clamp(min=0.7)
        along = across * (1 + 2 * u[..., 2])
        total = torch.zeros((), dtype=like.dtype, device=like.device)
        for b in range(BLOBS):
            offset = [k[a] - _column(centre[:, b, a], d) for a in range(d)]
            square, ahead = offset[0] ** 2, offset[0] * _column(direction[:, b, 0], d)
            for a in range(1, d):
                square, ahead = square + offset[a] ** 2, ahead + offset[a] * _column(direction[:, b, a], d)
            wide, long = _column(1 / across[:, b] ** 2, d), _column(1 / along[:, b] ** 2, d)
            blob = (ahead * ahead * ((wide - long) / 2) - square * (wide / 2)).exp()
            total = total + blob * _column((number > b) / (number * blob.flatten(1).sum(1)), d)
        return total

    return _each(light, number, streams.normal(BLOBS, d).double(), streams.normal(BLOBS, d).double(), streams.uniform(BLOBS, 3))
