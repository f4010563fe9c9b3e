"""The object as a person wants to see it: its twin, or with an axis that points the other way. What is stored stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from untwin.errors import InputError
from untwin.show.style import axis_names

if TYPE_CHECKING:
    from untwin.bragg.maps import StrainMap
    from untwin.runs.solution import Reconstruction


@dataclass(frozen=True)
class Orientation:
    """twin: the complex conjugate of the object, inverted through the pixel N//2, which has the same far field. flip: names of the axes
    that are drawn in the other direction, such as "y" or "yx"."""

    twin: bool = False
    flip: str = ""

    def require(self, solution: Reconstruction, strain: StrainMap | None = None) -> None:
        """Raise InputError where the object cannot be shown so."""
        self.require_axes(solution.image.ndim)
        if self.twin and solution.pattern.optics is not None:
            raise InputError("twin: only one far field cannot tell an object from its twin; these exposures can, so leave it out")
        if self.flip and (strain is not None or solution.pattern.geometry.sampling is not None):
            raise InputError(
                f"flip {self.flip!r}: a crystal of a Bragg scan is drawn in the laboratory, which has no mirror image; leave it out"
            )

    def require_axes(self, d: int) -> None:
        """Raise InputError where an object in d dimensions has no such axes."""
        names = axis_names(d)
        if set(self.flip) - set(names) or len(set(self.flip)) < len(self.flip):
            raise InputError(f"flip {self.flip!r}: expected some of the letters {', '.join(names)}, each once")

    def applied(self, solution: Reconstruction) -> Reconstruction:
        """With the twin in place of the object where it is asked for."""
        if not self.twin:
            return solution
        import torch

        image, support = twin_of(solution.image.numpy()), twin_of(solution.support.numpy())
        return replace(solution, image=torch.from_numpy(image), support=torch.from_numpy(support))

    def applied_to_strain(self, m: StrainMap) -> StrainMap:
        """The map of the twin: inverted, the displacement with the other sign. The strain of a point is that of the opposite one."""
        if not self.twin:
            return m
        every = (slice(None, None, -1),) * 3
        far = m.origin + (np.array(m.support.shape) - 1) @ m.vectors
        return replace(
            m,
            image=m.image[every].conj(),
            support=m.support[every],
            surface=m.surface[every],
            core=m.core[every],
            displacement=-m.displacement[every],
            strain=m.strain[every],
            error=None if m.error is None else m.error[every],
            origin=-far,
            dislocations=tuple(-line for line in m.dislocations),
        )

    @property
    def sentence(self) -> str:
        """What is shown instead of what is stored; nothing where it is the same."""
        parts = ["the twin of the stored object (conjugate and inverted: the data cannot tell them apart)"] if self.twin else []
        parts += [f"the {'axes' if len(self.flip) > 1 else 'axis'} {', '.join(self.flip)} flipped"] if self.flip else []
        return f"Shown: {', with '.join(parts)}. The stored result stays as it is." if parts else ""


AS_STORED = Orientation()


def twin_of(x: np.ndarray) -> np.ndarray:
    """The conjugate, inverted through the pixel N//2 of every axis."""
    import torch

    from untwin.fourier import centred, cornered
    from untwin.model.alignment import twin

    d = x.ndim
    return centred(twin(cornered(torch.from_numpy(x.copy()), d), d), d).numpy()
