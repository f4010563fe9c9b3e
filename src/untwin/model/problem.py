"""The problem of a pattern: counts, their physics, a constraint and a loss, and the maps that projection algorithms are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from untwin import fourier
from untwin.data.measurement import Pattern
from untwin.engine import Coefficients, Fienup
from untwin.errors import InputError
from untwin.model.box import cut, extent, grown, placed
from untwin.model.constraints import Constraint, Nonnegative, Support
from untwin.model.counts import Counts, Modulus
from untwin.model.detection import Ideal, Sensitivity
from untwin.model.imposition import STILL, Sets, advance_wave, engine_for, nearest_object, propagated, update
from untwin.model.inverse import InverseProblem
from untwin.model.losses import Loss, Poisson
from untwin.model.noise_level import COUNTS, relative_misfit
from untwin.model.physics import Physics, default_physics
from untwin.model.waves.base import Waves

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from untwin.model.detection import Detection
    from untwin.model.noise_level import Noise
    from untwin.model.outline import Outline
    from untwin.model.symmetry import Symmetry
    from untwin.model.unknown import Nuisance, Unknown


@dataclass(frozen=True, eq=False)
class Problem(InverseProblem):
    """A pattern to be phased: find x with D(|W x|²) = I, and x in the constraint.

    x is (starts, *grid) in FFT order, complex, or real where the constraint makes it so; what is predicted of it is in the pattern's units.
    physics: Waves, detected ideally, or Physics(waves, detection); by default what the optics of the pattern say, or else FarField()
        with the pattern's own grid and centre.
    """

    pattern: Pattern
    physics: Physics = field(default=None)  # type: ignore[assignment]
    constraint: Constraint = field(default_factory=Support)
    loss: Loss = field(default_factory=Poisson)
    modulus: Modulus = field(default_factory=Modulus)
    device: str = "cpu"  # type: ignore[assignment]
    counts: Counts = field(default=None, repr=False)  # type: ignore[assignment]
    nuisance: Nuisance = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._require_kinds()
        physics: Physics | Waves | None = self.physics
        object.__setattr__(self, "physics", (default_physics(self.pattern) if physics is None else Physics.of(physics)).on(self.pattern))
        object.__setattr__(self, "pattern", self.physics.waves.recorded(self.pattern))
        object.__setattr__(self, "constraint", self.constraint.on(self.shape))
        object.__setattr__(self, "device", str(self.device))
        old = self.counts
        if old is not None and tuple(old.intensity.shape) == self.pattern.shape and (old.mirrored or self._mirror is None):
            return
        kind = None if old is None else old.amplitude.dtype
        counts = Counts.of(self.pattern, self._mirror, self.device, kind)
        if old is not None and old.sharpened:
            counts = self._sharpened(counts)
        if old is not None and tuple(old.intensity.shape) == self.pattern.shape and old.mirrored != counts.mirrored:
            counts = replace(counts, measured=counts.measured & old.measured, imposed=counts.imposed & old.imposed)
        object.__setattr__(self, "counts", counts)

    def _require_kinds(self) -> None:
        """Raise InputError where a part is not of its kind, or there is no such device."""
        import torch

        kinds = {"pattern": (Pattern, "untwin.read(path)"), "constraint": (Constraint, "Support() & Nonnegative()")}
        kinds |= {"loss": (Loss, "Poisson()"), "modulus": (Modulus, "Modulus(rho=0.3)")}
        for name, (kind, example) in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"Problem({name}={getattr(self, name)!r}): expected a {kind.__name__}, such as {example}")
        if str(self.device) != "cpu" and self.counts is None:
            try:
                torch.zeros(1, device=self.device)
            except (RuntimeError, AssertionError):
                raise InputError(f"no device {str(self.device)!r} with this torch ({torch.__version__}); try cpu") from None

    @property
    def _mirror(self) -> Waves | None:
        """The waves, where the pattern of this object repeats itself."""
        ideal = type(self.physics.detection) is Ideal or (self.counts is not None and self.counts.sharpened)
        mirrored = self.real and ideal
        return self.physics.waves if mirrored else None

    @property
    def real(self) -> bool:
        return self.constraint.real

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the object."""
        return self.physics.waves.object_shape(self.pattern)

    @property
    def pixels(self) -> tuple[int, ...]:
        return self.pattern.shape

    @property
    def measured(self) -> Tensor:
        return self.counts.measured

    @property
    def symmetry(self) -> Symmetry:
        return self.physics.symmetry

    @property
    def unknowns(self) -> dict[str, Unknown]:
        return self.physics.unknowns

    @property
    def unknown_shapes(self) -> dict[str, tuple[int, ...]]:
        return {}

    @cached_property
    def model(self) -> Physics:
        """The physics with values for its unknowns: those of `nuisance`, or else the first ones."""
        if not self.unknowns:
            return self.physics
        return self.physics.holding(self.first_values(1) | self.nuisance, self.ndim)

    @property
    def precision(self) -> torch.dtype:
        return self.counts.amplitude.dtype

    def first_values(self, starts: int) -> Nuisance:
        import torch

        first = {n: torch.full((starts,), float(u.first or 0.0), dtype=torch.float64, device=self.device) for n, u in self.unknowns.items()}
        return first | {n: v.expand(starts) for n, v in self.nuisance.items() if len(v) in (1, starts)}

    @cached_property
    def outline(self) -> Outline | None:
        """Where the object lies, from the pattern alone; None where the physics does not tell."""
        return self.physics.waves.outline(self.pattern.corrected())

    @cached_property
    def sets(self) -> Sets:
        physics = Physics(self.model.waves) if self.counts.sharpened else self.model
        return Sets(physics, self.counts, self.modulus, self.constraint)

    @property
    def between_waves(self) -> bool:
        """True where projections go between waves and not between objects (model.waves.base.Waves.unitary)."""
        return not self.physics.waves.unitary

    def centred(self, x: Tensor) -> Tensor:
        """From the order of the waves to that of a picture, on the last axes."""
        return fourier.centred(x, self.ndim) if self.physics.waves.fft_order else x

    def cornered(self, x: Tensor) -> Tensor:
        """Undoes `centred`."""
        return fourier.cornered(x, self.ndim) if self.physics.waves.fft_order else x

    # maps

    def impose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """P_M x: the measured moduli with the computed phases, unmeasured pixels left free; and the error of x that it has
        met, Σ (√D(|W x|²) − √I)² over the imposed pixels, (starts,) float64."""
        return engine_for(self.sets, x, None, STILL).impose(self.sets, x)

    def project_modulus(self, x: Tensor) -> Tensor:
        """P_M x."""
        return self.impose(x)[0]

    def advance(self, x: Tensor, support: Tensor, row: Coefficients | Fienup, steps: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Iterations x' = `update` of x and y = P_M x; returns x', and the y and the error of the last `impose`."""
        return engine_for(self.sets, x, support, row).advance(self.sets, x, support, row, steps)

    def advance_wave(self, w: Tensor, support: Tensor, row: Coefficients | Fienup, steps: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """The same between waves (model.waves.base.Waves.unitary): iterations of w (starts, *shape of the pattern); returns w', the object
        of the last P_M w, W⁺ P_M w, and the error that it met."""
        return advance_wave(self.sets, w, support, row, steps)

    def propagate(self, x: Tensor) -> Tensor:
        """W x, complex."""
        return propagated(self.sets, x)

    def objects(self, w: Tensor) -> Tensor:
        """W⁺ w, of the kind of the problem's objects."""
        return nearest_object(self.sets, w)

    def update(self, x: Tensor, y: Tensor, support: Tensor, row: Coefficients | Fienup) -> Tensor:
        """x' = a x + c y + s P_S(u x + v y), or Fienup's form, a new tensor."""
        return update(self.sets, x, y, support, row)

    def project_object(self, x: Tensor, support: Tensor) -> Tensor:
        return self.constraint.project(x, support)

    def predict(self, x: Tensor) -> Tensor:
        """D(|W x|²), (starts, *grid)."""
        return self.model(x)

    def misfit(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        return self.loss(self.predict(x), self.counts.intensity, self.measured if where is None else where)

    def noise(self, sigma: float | None) -> Noise:
        if sigma is not None:
            raise InputError(f"sigma={sigma!r}: a pattern of counts knows its own noise; leave sigma out")
        if not self.pattern.counted:
            raise InputError("the noise of this pattern is not known, since it holds no counts of photons; try HeldOut()")
        return COUNTS

    def photons(self) -> np.ndarray:
        counts = self.pattern.intensity
        if float(np.abs(counts - np.rint(counts)).sum()) > 1e-3 * float(counts.sum()):
            raise InputError("whole counts are needed, and this pattern has fractions of a photon; try HeldOut()")
        if self.pattern.noise is not None and not self.pattern.counted:
            raise InputError("counts of photons are needed, and the noise of this pattern is not known; try HeldOut()")
        return counts

    def brightened(self, image: float, by: float) -> float:
        return image * math.sqrt(by)

    def relative_misfit(self, x: Tensor, noise: Noise) -> Tensor:
        return relative_misfit(self.predict(x), self.counts.intensity, self.measured, noise, counts=True)

    def brightness(self, f: Tensor) -> Tensor:
        """(starts,): the factor on |W x|² that gives what is predicted as many counts as were measured. f: D(|W x|²)."""
        none = f.new_zeros(())
        counts, predicted = (v.where(self.measured, none).flatten(-self.pattern.ndim).sum(-1) for v in (self.counts.intensity, f))
        if type(self.model.detection) is not Ideal:  # what is counted without an object does not grow with it
            dark = self.model.detection.expected(f.new_zeros(f.shape)).where(self.measured, none).flatten(-self.ndim).sum(-1)
            counts, predicted = (counts - dark).clamp(min=0), predicted - dark
        return counts / predicted.clamp(min=1e-30)

    # the same problem, otherwise

    def without(self, hidden: Tensor) -> Problem:
        twin = None if self._mirror is None else self._mirror.mirror(hidden)
        hidden = hidden if twin is None else hidden | twin
        c = self.counts
        return replace(self, counts=replace(c, measured=c.measured & ~hidden, imposed=c.imposed & ~hidden))

    def with_detection(self, detection: Detection) -> Problem:
        """With this before what the detection does already, and the counts of the pattern."""
        other = replace(self, physics=self.physics.with_detection(detection), counts=None)
        return other if self.precision == other.precision else other.to(dtype=self.precision)

    def sharpened(self, iterations: int | None = None) -> Problem:
        """The same problem, whose projections impose what an ideal detector would have counted (model.sharpen, with so many iterations);
        predictions and losses stay those of the physics and of the counts. Itself where the detection is ideal."""
        if type(self.model.detection) is Ideal:
            return self
        return replace(self, counts=self._sharpened(self.counts, iterations))

    def divided(self) -> Problem:
        """The same, sharpened, where flat and dark are all that makes its detector another than the ideal one: their division is exact, and
        the fastest engine takes it. Itself otherwise."""
        only_flat = [type(part) for part in self.physics.parts] == [Sensitivity]
        return self.sharpened() if only_flat and not self.counts.sharpened else self

    def _sharpened(self, counts: Counts, iterations: int | None = None) -> Counts:
        """The counts with the amplitudes of an ideal detector."""
        from untwin.model.sharpen import ITERATIONS, sharpened

        measured = counts.measured.cpu().numpy()
        light = sharpened(self.model.detection, self.pattern.intensity, measured, iterations or ITERATIONS)
        if not (light[measured] > 0).any():
            raise InputError(f"{self.physics.detection!r} leaves no light for the object; expected less background than the pattern counts")
        ideal = replace(self.pattern, intensity=light, measured=measured)
        own = Counts.of(ideal, self.physics.waves if self.real else None, self.device, counts.amplitude.dtype)
        return replace(counts, amplitude=own.amplitude, imposed=own.imposed, mirrored=own.mirrored, sharpened=True)

    def recounted(self, intensity: np.ndarray) -> Problem:
        """With other counts in the same pixels. intensity: (*grid), FFT order."""
        c = self.counts
        pattern = replace(self.pattern, intensity=intensity)
        counts = Counts.of(pattern, self._mirror, self.device, c.amplitude.dtype)
        counts = replace(counts, measured=c.measured, imposed=c.imposed)
        other = replace(self, pattern=pattern, counts=counts)
        return other.sharpened() if c.sharpened else other

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Problem:
        """On another device, or in another precision: float32 or float64."""
        where = self.device if device is None else str(device)
        c = self.counts
        kind = dtype or c.amplitude.dtype
        tensors = {name: getattr(c, name).to(where, kind) for name in ("intensity", "amplitude")}
        counts = replace(c, **tensors, measured=c.measured.to(where), imposed=c.imposed.to(where))
        if dtype is not None and kind != c.amplitude.dtype:
            exact = Counts.of(self.pattern, self._mirror, where, kind)
            exact = self._sharpened(replace(exact, measured=c.measured)) if c.sharpened else exact
            counts = replace(counts, intensity=exact.intensity, amplitude=exact.amplitude)
        return replace(self, device=where, counts=counts)

    def within(self, **changes: Constraint | Modulus) -> Problem:
        """With another modulus or a further constraint (for algorithms that wrap another)."""
        if any(isinstance(c, Modulus) and not isinstance(c.damping, float) for c in changes.values()):
            return replace(self, **changes)
        key = tuple(sorted((name, repr(change)) for name, change in changes.items()))
        return self._variants.get(key) or self._variants.setdefault(key, replace(self, **changes))

    @cached_property
    def _variants(self) -> dict[tuple, Problem]:
        return {}

    def holding(self, nuisance: Nuisance) -> Problem:
        return replace(self, nuisance=nuisance)

    def start(self, row: int) -> Problem:
        return replace(self, nuisance={n: v[row : row + 1] for n, v in self.nuisance.items()}) if self.nuisance else self

    # drawn by a prior, in a box around index 0

    def frames(self, x: Tensor) -> Tensor:
        """The magnitude, the largest 1."""
        m = x.abs().unsqueeze(1)
        return m / m.flatten(1).amax(1).clamp(min=1e-30).reshape((-1,) + (1,) * (m.ndim - 1))

    @property
    def imitable(self) -> bool:
        return True

    def canvas(self, share: float) -> tuple[int, ...]:
        if self.pattern.optics is not None:  # the object keeps its place
            return (1, *self.shape)
        return (1, *(max(2, math.ceil(share * n)) for n in self.shape))

    def window(
        self, image: Tensor, support: Tensor, canvas: tuple[int, ...], grow: int | None, imitate: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The support within the box, which is as large as the support needs; the image is cut to it, typical magnitude 0.7."""
        import torch

        if self.pattern.optics is not None:
            inside = self.centred(support if grow is None else grown(support, grow))
            x = self.centred(self.project_object(image, support)) if imitate else None
            return inside, x if x is None else 0.7 * x / _typical(x)
        if grow is None and not imitate:
            return torch.ones((len(image), *canvas[1:]), dtype=torch.bool, device=image.device), None
        axes = tuple(range(self.ndim))
        image = self.project_object(image, support)
        rows, masks = [], []
        for x, s in zip(image, support if grow is None else grown(support, grow)):
            by = self.symmetry.origin(x if imitate else s.to(x.real.dtype))
            rows.append(x.roll(by, axes))
            masks.append(s.roll(by, axes))
        x, s = torch.stack(rows), torch.stack(masks)
        box = tuple(min(n, max(b, extent(s, axis, n))) for axis, (b, n) in enumerate(zip(canvas[1:], self.shape), 1))
        x, s = cut(x, box), cut(s, box)
        s = torch.ones_like(s) if grow is None else s
        if not imitate:
            return s, None
        return s, 0.7 * x / _typical(x)

    def placed(self, g: Tensor) -> Tensor:
        return placed(g.unsqueeze(1), self.shape)[:, 0] if self.pattern.optics is None else self.cornered(g)

    def render(self, g: Tensor, loss: Loss | None) -> tuple[Tensor, Tensor]:
        """With as many photons as were counted."""
        c = self.counts
        x = self.placed(g)
        f = self.predict(x)
        if type(self.physics.detection) is Ideal:
            none = c.intensity.new_zeros(())
            scale = c.intensity.where(c.measured, none).sum() / f.where(c.measured, none).sum().clamp(min=1e-30)
            x, f = x * scale.sqrt(), scale * f
        else:
            x = x * self.brightness(f).sqrt().to(f.dtype)
            f = self.predict(x)
        value = (loss or self.loss)(f + 1e-8, c.intensity, c.measured)[0] / c.measured.sum()
        if not self.real and not x.is_complex():
            x = x.to(x.dtype.to_complex())
        return x[0], value

    @classmethod
    def of(cls, pattern: Pattern, positivity: bool = False, device: str | torch.device = "cpu") -> Problem:
        """The far-field problem for a pattern, with or without a real nonnegative object."""
        constraint = Support() & Nonnegative() if positivity else Support()
        return cls(pattern, constraint=constraint, device=str(device))


def _typical(x: Tensor) -> Tensor:
    """sqrt(Σ m⁴ / Σ m²) of each, (starts, 1, ...)."""
    m = (x.real.square() + x.imag.square() if x.is_complex() else x.square()).flatten(1)
    return (m.square().sum(1) / m.sum(1).clamp(min=1e-30)).sqrt().clamp(min=1e-30).reshape((-1,) + (1,) * (x.ndim - 1))


def require_real(pattern: Pattern) -> None:
    """Raise InputError where the pattern cannot be that of a real object: too far from its own mirror image, whatever the noise. Other
    optics do not tell."""
    if pattern.optics is not None:
        return
    from untwin.data.centre import MOST_NOISE, REAL
    from untwin.data.realness import DEVIATIONS, realness

    looked = realness(pattern)
    asymmetry = looked.asymmetry if np.isnan(pattern.asymmetry) else pattern.asymmetry
    limit = MOST_NOISE if np.isnan(looked.error) else 2 * REAL + DEVIATIONS * looked.error
    if asymmetry > limit:
        raise InputError(
            f"positivity needs a real object, whose pattern is its own mirror image. This one differs from its mirror image by "
            f"{asymmetry:.2f} (0 for a real object, below {limit:.2g} with its noise). Leave positivity out, or check the centre"
        )
