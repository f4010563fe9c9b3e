"""The physics of a pattern: detection of waves, I = D(|W x|²)."""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING

from untwin import expression
from untwin.errors import InputError
from untwin.model.detection import Detection, Ideal, Sensitivity, Series
from untwin.model.symmetry import Symmetry
from untwin.model.unknown import Nuisance, Unknown, holding, known, unknowns
from untwin.model.waves.base import Waves
from untwin.model.waves.farfield import FarField
from untwin.model.waves.fresnel import Fresnel
from untwin.model.waves.masked import Masked

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.data.measurement import Pattern


@dataclass(frozen=True, repr=False)
class Physics:
    """physics(x) = D(|W x|²), the counts that the detector is expected to read, (starts, *grid).

    waves: W. detection: D.
    """

    waves: Waves = field(default_factory=FarField)
    detection: Detection = field(default_factory=Ideal)

    def __post_init__(self) -> None:
        for name, kind, example in (("waves", Waves, "FarField()"), ("detection", Detection, "Ideal()")):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"Physics({name}={getattr(self, name)!r}): expected {name} such as {example}")
            if not is_dataclass(getattr(self, name)):
                kind = type(getattr(self, name)).__name__
                raise InputError(f"{kind} is no dataclass; write @dataclass(frozen=True, repr=False) above it")
        if common := unknowns(self.waves).keys() & unknowns(self.detection).keys():
            raise InputError(f"{self!r}: waves and detection both have an unknown {', '.join(common)}; give one of them another name")

    @classmethod
    def of(cls, physics: Physics | Waves) -> Physics:
        """Waves alone are detected ideally. Raises InputError for what measures no magnitudes."""
        if isinstance(physics, Physics):
            return physics
        if isinstance(physics, Waves):
            return cls(physics)
        raise InputError(f"a pattern needs a physics that measures magnitudes, such as FarField(); got {physics!r}: try Picture and Fit")

    def on(self, pattern: Pattern) -> Physics:
        """The same for a pattern, its grid, and its flat and dark. Raises InputError where the detection does not suit it."""
        detection = self.detection
        even = pattern.sensitivity is None and pattern.dark is None
        if not even and not any(isinstance(part, Sensitivity) for part in self.parts):
            detection = Series((*self.parts, Sensitivity())) if self.parts else Sensitivity()
        return Physics(self.waves.on(pattern), detection.on(pattern))

    def with_detection(self, detection: Detection) -> Physics:
        """With this before what the detection does already."""
        return Physics(self.waves, Series((detection, *self.parts)) if self.parts else detection)

    @property
    def parts(self) -> tuple[Detection, ...]:
        """What the detection does, one after the other; nothing where it is ideal."""
        if isinstance(self.detection, Series):
            return self.detection.parts
        return () if type(self.detection) is Ideal else (self.detection,)

    def __call__(self, x: Tensor) -> Tensor:
        return self.detection.expected(self.waves(x))

    @property
    def symmetry(self) -> Symmetry:
        return self.waves.symmetry

    @property
    def unknowns(self) -> dict[str, Unknown]:
        """What is to be found beside the object, by name."""
        return unknowns(self.waves) | unknowns(self.detection)

    def holding(self, values: Nuisance, ndim: int) -> Physics:
        """With values for the unknowns, (starts,) each."""
        return Physics(holding(self.waves, values, ndim), holding(self.detection, values, ndim))

    def known(self, values: dict[str, float]) -> Physics:
        """With plain numbers in place of the unknowns."""
        return Physics(known(self.waves, values), known(self.detection, values)) if values else self

    def __repr__(self) -> str:
        return expression.write(self)


def default_physics(pattern: Pattern) -> Physics:
    """What the optics of a pattern say, the far field else. Raises InputError where they leave it open."""
    optics = pattern.optics
    if optics is None:
        return Physics()
    if optics.masks is not None:
        return Physics(Masked())
    if optics.fresnel_numbers:
        return Physics(Fresnel())
    raise InputError("the optics of these numbers say nothing of W; expected waves beside them, such as Problem(pattern, Linear(A))")
