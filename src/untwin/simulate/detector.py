"""The detector: photons, noise, what blurs the pattern, what falls on it from elsewhere, and what hides pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin import expression, fourier
from untwin.data.measurement import Geometry, Pattern, Source
from untwin.errors import InputError
from untwin.simulate.scatter import SPOTS, air_scatter, column, spots, streak
from untwin.simulate.settings import Between, Setting, bounds_of, require_within
from untwin.simulate.streams import Streams

if TYPE_CHECKING:
    from torch import Tensor

MOST = 1e12  # counts: above any detector, below what a Poisson generator refuses


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
        background and stray light on an even detector (unitary F).
    labels: one dict per sample of what was drawn: photons and peak (expected from the object, on measured pixels), coherence,
        background, stray, blobs (of stray light), beamstop, gaps, hot and dead (detector pixels), threshold, saturation (where there is
        one), saturated (pixels), measured (share of the pixels). Where the detector has them: coherence_across, coherence_angle and
        covariance (pixels², a list: the diagonal, then the elements above it, as `fourier.gaussian_of` takes them), streak,
        air_scatter, air_scatter_width, air_scatter_slope, sensitivity, monitor, hot_unmasked (detector pixels) and hot_counts, clipped
        (share) with clipped_at (counts) and clipped_pixels.
    flat: (samples, *detector) float64, FFT order: the relative sensitivity of the detector's pixels; None where they are alike.
    monitor: (samples, frames) float64, FFT order: the relative intensity of the beam in each frame; None where it does not change.
    """

    intensity: Tensor
    measured: Tensor
    x: Tensor
    labels: list[dict[str, Any]]
    flat: Tensor | None = None
    monitor: Tensor | None = None


@dataclass(frozen=True, repr=False)
class Detector:
    """Counts the photons of a far-field pattern. With μ = s |F x|², s from the exposure, and ⊛ a periodic convolution, a pixel reads

        Poisson( flat · monitor · (G_C ⊛ μ + background + air scatter + stray light + streak) ),

    G_C a Gaussian of covariance C = σ² 1, σ = coherence. The convolution is a product of the object's autocorrelation a = F⁻¹ μ with a
    Gaussian: a(r) exp(−2π² Σ_jk C_jk r_j r_k / N_j N_k), r the signed distance of two points of the object and N the size of the array,
    in pixels. In a 3D pattern axis 0 counts frames: gaps, bad pixels and sensitivities are the same in every one of them.

    exposure: Total(photons) or Peak(counts), of the blurred pattern of the object on an even detector, before saturation.
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
    coherence_across: σ of the other principal axes, pixels: C = σ_across² 1 + (σ² − σ_across²) u uᵀ. None: the same along all of them.
    coherence_angle: degrees, of the first principal axis u = (0, cos, sin) in the plane of the last two axes (2D: u = (cos, sin)).
    air_scatter: expected counts of a smooth background at the zero frequency: a Gaussian of σ = air_scatter_width, as a share of each
        axis, times a slope along the last axis from 1 − air_scatter_slope to 1 + air_scatter_slope.
    streak: expected photons of one long streak away from the centre (`scatter.streak`), a share as `stray` is. Not masked.
    sensitivity: relative spread s of the pixels' sensitivity: flat = exp(s z − s²/2), z standard normal, with a mean of 1.
    monitor: relative spread of the beam's intensity from frame to frame of a 3D scan, drawn as the sensitivity is.
    hot_unmasked: number of detector pixels that read hot_counts, counts, whatever falls on them, and are in no mask.
    clipped: share of the measured pixels, the brightest, that read no more than the brightest of the others and are in no mask.
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
    coherence_across: Setting | None = None
    coherence_angle: Setting = 0.0
    air_scatter: Setting = 0.0
    air_scatter_width: Setting = 0.3125
    air_scatter_slope: Setting = 0.5
    streak: Setting = 0.0
    sensitivity: Setting = 0.0
    monitor: Setting = 0.0
    hot_unmasked: Setting = 0
    hot_counts: Setting = 1000
    clipped: Setting = 0.0

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
        require_within(self, "coherence_angle", -360, 360)
        if self.coherence_across is not None:
            require_within(self, "coherence_across", 0)
        elif self.coherence_angle != 0:
            raise InputError(f"{self!r}: a round blur has no angle; give coherence_across, such as 0.2, or leave coherence_angle out")
        require_within(self, "air_scatter", 0, MOST)
        require_within(self, "air_scatter_width", 0.01, 1e6)
        require_within(self, "air_scatter_slope", -1, 1)
        require_within(self, "streak", 0, 1)
        require_within(self, "sensitivity", 0, 1)
        require_within(self, "monitor", 0, 1)
        require_within(self, "hot_unmasked", 0, integer=True)
        require_within(self, "hot_counts", 1, MOST)
        require_within(self, "clipped", 0, 0.5)

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
        labels = self._sizes(streams)
        measured, hidden = self._mask(tuple(x.shape[1:]), streams)
        dark = torch.zeros((), dtype=torch.float64, device=x.device)

        wave = _each(lambda row: fourier.forward(row, d), x)  # |F x|² does not see where the object lies, nor where index 0 is
        re, im = wave.real.double(), wave.imag.double()
        mean = self._blurred(re.square_().addcmul_(im, im), labels).where(measured, dark)
        photons, peak = mean.flatten(1).sum(1), mean.flatten(1).amax(1)
        _lit(photons, measured)
        scale = target / (photons if isinstance(self.exposure, Total) else peak)
        labels |= {"photons": photons * scale, "peak": peak * scale}
        labels["photons" if isinstance(self.exposure, Total) else "peak"] = target
        mean, flat, monitor = self._illuminated(mean * column(scale, d), labels, streams)
        mean = mean.where(measured, dark)

        counts = streams.poisson(mean) if self.noise else mean.float()
        spoilt = self._spoilt(counts, measured, labels, streams)
        counts, measured, saturated = self._range(spoilt, measured, labels)
        share = measured.flatten(1).sum(1).double() / measured[0].numel()
        if not bool((share > 0).all()):
            raise InputError(f"{self!r} saturates every pixel of a sample; shorten the exposure or raise the saturation")
        labels |= hidden | {"saturated": saturated, "measured": share}
        return Exposure(
            intensity=counts.where(measured, counts.new_zeros(())),
            measured=measured,
            x=torch.view_as_complex(torch.view_as_real(x) * column(scale.sqrt().float(), d + 1)),
            labels=[dict(zip(labels, row)) for row in zip(*(v.tolist() for v in labels.values()))],
            flat=flat,
            monitor=monitor,
        )

    def _sizes(self, streams: Streams) -> dict[str, Tensor]:
        """What is drawn for each sample before anything is computed: a label each, of what is newer than the first four where it is on."""
        names = ["coherence", "background", "stray", "threshold"]
        names += ["saturation"] if self.saturation is not None else []
        names += ["coherence_across", "coherence_angle"] if self.coherence_across is not None else []
        names += ["air_scatter", "air_scatter_width", "air_scatter_slope"] if _on(self.air_scatter) else []
        names += [name for name in ("streak", "sensitivity", "monitor") if _on(getattr(self, name))]
        return {name: streams.setting(getattr(self, name)) for name in names}

    def _blurred(self, mean: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """The pattern of a partly coherent beam; a covariance becomes a label."""
        import torch

        d = mean.ndim - 1
        if self.coherence_across is None:
            if not _on(self.coherence):
                return mean
            return _each(lambda row, sigma: fourier.blur(row, sigma, d), mean, labels["coherence"]).clamp(min=0)
        angle = labels["coherence_angle"].deg2rad()
        u = torch.stack([torch.zeros_like(angle)] * (d - 2) + [angle.cos(), angle.sin()])
        square = labels["coherence_across"] ** 2
        excess = labels["coherence"] ** 2 - square
        diagonal = [square + excess * v * v for v in u]
        labels["covariance"] = torch.stack(diagonal + [excess * u[i] * u[j] for i in range(d) for j in range(i + 1, d)], 1)

        def blurred(row: Tensor, covariance: Tensor) -> Tensor:
            shape, axes = tuple(row.shape[1:]), tuple(range(1, d + 1))
            transfer = fourier.gaussian_of(shape, [column(c, d) for c in covariance.unbind(1)], row)
            return torch.fft.irfftn(torch.fft.rfftn(row, dim=axes) * transfer, s=shape, dim=axes)

        return _each(blurred, mean, labels["covariance"]).clamp(min=0)

    def _illuminated(self, mean: Tensor, labels: dict[str, Tensor], streams: Streams) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Expected counts with what does not come from the object, on pixels and in frames that are not alike; flat field and monitor."""
        import torch

        shape = tuple(mean.shape[1:])
        d = len(shape)
        labels["blobs"] = torch.zeros(len(mean), dtype=torch.int64, device=mean.device)
        if _on(self.stray):
            blobs = streams.integer(Between(1, SPOTS))
            random = [streams.normal(SPOTS, d).double() for _ in range(2)] + [streams.uniform(SPOTS, 3)]
            light = _each(lambda *rows: spots(shape, *rows), blobs, *random)
            mean = mean + light * column(labels["stray"] * labels["photons"], d)
            labels["blobs"] = blobs.where(labels["stray"] > 0, labels["blobs"])
        if _on(self.background):
            mean = mean + column(labels["background"], d)
        if _on(self.streak):
            light = _each(lambda *rows: streak(shape, *rows), streams.normal(d).double(), streams.normal(d).double())
            mean = mean + light * column(labels["streak"] * labels["photons"], d)
        if _on(self.air_scatter):
            drawn = [labels[name] for name in ("air_scatter", "air_scatter_width", "air_scatter_slope")]
            mean = mean + _each(lambda *rows: air_scatter(shape, *rows), *drawn)
        flat = monitor = None
        if _on(self.sensitivity):
            flat = _uneven(streams.normal(*shape[-2:]), column(labels["sensitivity"], 2))
            mean = mean * flat.reshape(len(mean), *(1,) * (d - 2), *shape[-2:])
        if _on(self.monitor):
            monitor = _uneven(streams.normal(shape[0]), column(labels["monitor"], 1))
            mean = mean * monitor[:, :, None, None]
        return mean, flat, monitor

    def _spoilt(self, counts: Tensor, measured: Tensor, labels: dict[str, Tensor], streams: Streams) -> Tensor:
        """The counts with what no mask knows of: hot pixels and clipped ones."""
        d = counts.ndim - 1
        if _on(self.hot_unmasked):
            number, labels["hot_counts"] = streams.integer(self.hot_unmasked), streams.setting(self.hot_counts)
            visible = measured.reshape(len(counts), -1, *counts.shape[-2:]).any(1)
            u = streams.uniform(*counts.shape[-2:]) + ~visible  # the hidden ones come last
            rank = u.flatten(1).argsort(1).argsort(1).reshape(u.shape)
            hot = (rank < column(number, 2)) & visible
            labels["hot_unmasked"] = hot.flatten(1).sum(1)
            hot = hot.reshape(len(counts), *(1,) * (d - 2), *counts.shape[-2:]) & measured
            counts = column(labels["hot_counts"].float(), d).where(hot, counts)
        if _on(self.clipped):
            labels["clipped"] = streams.setting(self.clipped)
            number = (labels["clipped"] * measured.flatten(1).sum(1)).round().long()
            brightest = counts.where(measured, counts.new_zeros(())).flatten(1).sort(1, descending=True).values
            limit = brightest.gather(1, number.unsqueeze(1)).squeeze(1).clamp(min=1)
            limit = limit.where(number > 0, brightest[:, 0])
            over = measured & (counts > column(limit, d))
            labels |= {"clipped_at": limit.double(), "clipped_pixels": over.flatten(1).sum(1)}
            counts = column(limit, d).where(over, counts)
        return counts

    def _range(self, counts: Tensor, measured: Tensor, labels: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What is left between threshold and saturation: counts, measured, and how many pixels are saturated."""
        d = counts.ndim - 1
        saturated = measured.new_zeros(len(counts)).long()
        if "saturation" in labels:
            below = counts < column(labels["saturation"], d)
            saturated = (measured & ~below).flatten(1).sum(1)
            measured = measured & below
        if _on(self.threshold):
            counts = counts.where(counts >= column(labels["threshold"], d), counts.new_zeros(()))
        return counts, measured, saturated

    def _check(self, x: Tensor, streams: Streams) -> None:
        import torch

        if x.dtype != torch.complex64 or x.ndim not in (3, 4) or not x.numel():
            raise InputError(f"x is {x.dtype} of shape {tuple(x.shape)}; expected complex64, (samples, *grid) with a grid in 2D or 3D")
        if len(x) != len(streams):
            raise InputError(f"x has {len(x)} samples, the streams {len(streams)} generators; expected one each")
        if x.device.type != torch.device(streams.device).type:
            raise InputError(f"x is on {x.device}, the streams on {streams.device}; make them with Streams(seed, indices, device)")
        self.check(tuple(x.shape[1:]))

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise InputError unless the gaps and the hot pixels have room in a pattern of this shape, and a monitor frames."""
        if _on(self.monitor) and len(shape) != 3:
            raise InputError(f"Detector(monitor={self.monitor!r}): a pattern of shape {shape} is one frame; expected 3D, or leave it out")
        width, room = bounds_of(self.gap_width)[1], min(shape[-2:])
        if _on(self.gaps) and width >= room:
            raise InputError(f"Detector(gap_width={self.gap_width!r}): expected less than the detector's {room} pixels; narrow the gaps")
        most, pixels = bounds_of(self.hot_unmasked)[1], shape[-2] * shape[-1]
        if most > pixels // 2:
            raise InputError(f"Detector(hot_unmasked={self.hot_unmasked!r}): expected at most half of the detector's {pixels} pixels")

    def _mask(self, shape: tuple[int, ...], streams: Streams) -> tuple[Tensor, dict[str, Tensor]]:
        """What is measured, (samples, *shape) bool, and the labels of what hides the rest."""
        import torch

        d, samples, device = len(shape), len(streams), streams.device
        measured = torch.ones((samples, *shape), dtype=torch.bool, device=device)
        labels = {"beamstop": streams.setting(self.beamstop), "gaps": streams.integer(self.gaps)}
        if _on(self.beamstop):
            radius = column(labels["beamstop"], d)
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
            hot, dead = u < column(below, 2), u >= column(above, 2)
            labels |= {"hot": hot.flatten(1).sum(1), "dead": dead.flatten(1).sum(1)}
            measured &= ~(hot | dead).reshape(samples, *(1,) * (d - 2), *shape[-2:])
        return measured, labels


def _on(setting: Setting) -> bool:
    return bounds_of(setting)[1] > 0


def _uneven(z: Tensor, spread: Tensor) -> Tensor:
    """exp(s z − s²/2), z standard normal: its mean is 1."""
    return _each(lambda row, s: (s * row - s * s / 2).exp(), z.double(), spread)


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
            f"sample {bad[0]} of the batch has an intensity of {float(photons[bad[0]]):g} on its {pixels} measured pixels. "
            "Expected is a number above 0; "
            "give an object that is not empty, or a smaller beamstop, fewer gaps"
        )
