"""From the phase of a Bragg image to displacement and strain, without unwrapping and without interpolation, and with its error.

Under the transform exp(−i q·r) from object to detector the image phase is −Q·u, so u_q = −phase / |Q|. With d_a the phase steps along the
axes of the array, A the voxel vectors (rows) and n the unit vector of Q: ε = ∂u_q/∂n = −1/|Q| Σ_a (A⁻¹ᵀ n)_a d_a. A step wraps only where
the phase changes by more than π from one voxel to the next. d_a is the mean of the steps forward and backward, or the one of them that is
inside the crystal.

Arrays (*grid) are centred at N//2, 3D; lengths in m; vectors (x, y, z) in the laboratory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from untwin.bragg.dislocations import Line, core, lines
from untwin.bragg.maps import StrainMap
from untwin.bragg.summary import described
from untwin.checks import number_argument
from untwin.data.measurement import Geometry
from untwin.errors import InputError

# Of the crystal's amplitude; a darker voxel is outside. A sharp edge, blurred by finite resolution, has half of it: the volume of a
# simulated crystal comes out as 0.996 of the truth (at 0.3: 1.057), the strain of its surface is better (benchmarks/strain_maps.py)
ISOSURFACE = 0.5
# Voxels about a dislocation. Beside a line across q, nothing else at fault, strain is off by 1.1e-4, 4.8e-5 and 3.3e-5 rms one, two and
# three voxels away, and by 2.5e-5 without a line (benchmarks/strain_maps.py)
CORE = 3.0
PASSES = 4  # of removing the mean step: the first two unwrap, what the last one finds is rounding
NEAR_PI = 0.8 * np.pi  # rad: steps above may have wrapped
FEWEST = 8  # voxels of the bulk: of fewer there is no mean


def strain(
    solution: Any,
    *,
    replicas: Any = None,
    limit: float | None = None,
    twin: bool | None = None,
    isosurface: float = ISOSURFACE,
    radius: float = CORE,
    calibrated: bool = False,
) -> StrainMap:
    """Displacement and strain of a crystal, in the frame of its array.

    solution: with `image`, `support` (centred at N//2) and `pattern.geometry` of a scan. replicas: (k, *grid) complex, independent results
    for the same crystal, aligned with the image, how far they are from which is the standard error; None: those of the solution, where it
    has any.
    limit: of the standard error; voxels above it are `uncertain`. twin: True takes the twin, False says that the image is not one, None
    leaves it undecided. isosurface: of the amplitude that half of the power lies above, in [0, 1): darker voxels of the support are
    outside the crystal. radius: about a dislocation, voxels, no strain is given. calibrated: the direct beam on the detector was measured,
    so that 2π/|q| is a lattice spacing and not only a nominal one.

    Raises InputError.
    """
    pattern = getattr(solution, "pattern", None)
    geometry = getattr(pattern, "geometry", None) or Geometry()
    vectors = None if geometry.sampling is None else geometry.voxel_vectors(np.shape(solution.image))
    if vectors is None or geometry.q is None:
        raise InputError(
            "the result has no sampling and wave vector of a scan about a Bragg peak; expected a 3D pattern from untwin.bragg.prepare. "
            "With voxel vectors of your own: untwin.bragg.strain_of(image, support, vectors, q)"
        )
    image = _array("image", solution.image)
    if replicas is None and (own := getattr(solution, "replicas", None)) is not None and len(own) > 1:
        replicas = own
    sentences = (*getattr(pattern, "preparation", ()), *getattr(pattern, "warnings", ()))
    return strain_of(
        image,
        solution.support,
        vectors,
        geometry.q,
        replicas=replicas,
        limit=limit,
        twin=twin,
        isosurface=isosurface,
        radius=radius,
        calibrated=calibrated,
        notes=tuple(dict.fromkeys(s for s in sentences if "Ewald" in s)),
    )


def strain_of(
    image: Any,
    support: Any,
    vectors: Any,
    q: Any,
    *,
    replicas: Any = None,
    limit: float | None = None,
    twin: bool | None = None,
    isosurface: float = ISOSURFACE,
    radius: float = CORE,
    calibrated: bool = False,
    notes: Sequence[str] = (),
) -> StrainMap:
    """The same for plain arrays. vectors: (3, 3) m, row a the step along axis a. q: (3,) rad/m at the array's zero frequency. notes: what
    is known already, as sentences."""
    x, mask, copies = _arrays(image, support, replicas)
    a, reference = _geometry(vectors, q)
    isosurface = number_argument("isosurface", isosurface, 0, 1, below=True)
    radius = number_argument("radius", radius, 0)
    limit = None if limit is None else number_argument("limit", limit, 0, above=True)
    if twin:
        x, mask, copies = turn(x), turn(mask), None if copies is None else np.stack([turn(c) for c in copies])
    box = _box(mask)
    amplitude = level(x[box], mask[box])
    crystal = mask[box] & (x[box] != 0) & (np.abs(x[box]) >= isosurface * amplitude)
    defects = lines(x[box], mask[box], amplitude)
    steps = _Steps.of(crystal, core(defects, crystal, radius))
    flat, ramp = steps.flattened(x[box])
    k = reference + np.linalg.solve(a, ramp)
    values = steps.strain(flat, a, k)
    error = None if copies is None else _error(copies[:, *box], values, steps, a, reference)
    put = _Embedding(x.shape, box)
    origin = -(np.array(x.shape) // 2) @ a
    corner = origin + np.array([s.start for s in box]) @ a
    result = StrainMap(
        image=put(flat, 0, np.complex64),
        support=put(crystal, False, bool),
        surface=put(steps.surface, False, bool),
        core=put(steps.core, False, bool),
        displacement=put(_displacement(flat, steps, k), np.nan, np.float32),
        strain=put(values, np.nan, np.float32),
        error=None if error is None else put(error, np.nan, np.float32),
        vectors=a,
        origin=origin,
        q=k,
        limit=limit,
        dislocations=tuple(corner + line.points @ a for line in defects),
    )
    extra = {
        "ramp_strain": -float((k - reference) @ k / (k @ k)),
        "ramp_tilt": _angle(k, reference),
        "dislocation_length": float(sum(line.length(a) for line in defects)),
        "support_share": float(crystal.sum() / mask.sum()),
        "pieces": float(_pieces(crystal)),
        "hole_voxels": float(_holes(crystal, defects, radius)),
        "large_steps": steps.large(flat),
        "replicas": float(0 if copies is None else len(copies)),
    }
    return described(result, extra, twin=twin, isosurface=isosurface, radius=radius, calibrated=calibrated, notes=tuple(notes))


def standard_error(deviations: np.ndarray) -> np.ndarray:
    """(*grid): of the strain of each voxel, from how far independent results (k, *grid) are from it: the root of the sum of squares over
    k − 1, and the mean of these squares over 3 × 3 × 3 voxels, as far as they have one. NaN: a result that has no strain there and does not
    count; below two of them there is no error. A few results tell it to a quarter only in a single voxel (docs/bragg.md has both figures).
    What all results have in common with the image, such as a model that is wrong, is not in it."""
    from scipy.ndimage import uniform_filter

    count = np.isfinite(deviations).sum(0)
    valid = count > 1
    variance = np.where(valid, np.nan_to_num(deviations**2).sum(0) / np.maximum(count - 1, 1), 0)
    total, weight = (uniform_filter(v.astype(np.float64), 3, mode="constant") for v in (variance, valid))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid, np.sqrt(np.maximum(total, 0) / weight), np.nan)


def turn(x: np.ndarray) -> np.ndarray:
    """The twin of an object centred at N//2: conj(x(−r)). Its far field has the same intensity."""
    turned_back = np.conj(x[tuple(slice(None, None, -1) for _ in x.shape)]) if np.iscomplexobj(x) else np.flip(x)
    return np.roll(turned_back, tuple(1 - n % 2 for n in x.shape), tuple(range(x.ndim)))


def level(image: np.ndarray, support: np.ndarray) -> float:
    """Amplitude of a crystal: half of the power in the support is in voxels above it. A rim and a loose support weigh nothing. 0 where
    there is nothing."""
    size = np.sort(np.abs(image[support]))
    if not size.any():
        return 0.0
    power = np.cumsum(size**2)
    return float(size[np.searchsorted(power, power[-1] / 2)])


@dataclass(frozen=True, eq=False)
class _Steps:
    """Where phase steps are taken. inside: bool (*grid), the crystal. core: about dislocations. pairs: per axis, bool: both of a voxel and
    the next one are inside. sides: per axis, 0 to 2 steps of each voxel. surface: fewer than 2 along some axis."""

    inside: np.ndarray
    core: np.ndarray
    pairs: tuple[np.ndarray, ...]
    sides: tuple[np.ndarray, ...]
    surface: np.ndarray

    @classmethod
    def of(cls, inside: np.ndarray, core: np.ndarray) -> _Steps:
        pairs = tuple(inside[_after(k)] & inside[_before(k)] for k in range(3))
        sides = []
        for k, pair in enumerate(pairs):
            count = np.zeros(inside.shape, dtype=np.int8)
            count[_after(k)] += pair
            count[_before(k)] += pair
            sides.append(count)
        fewest = np.minimum.reduce(sides)
        steps = cls(inside, core, pairs, tuple(sides), inside & (fewest < 2))
        if int(steps.bulk.sum()) < FEWEST:
            raise InputError(
                f"the crystal has {int(inside.sum()):,} voxels, {int(steps.bulk.sum())} of them away from its surface; expected at least "
                f"{FEWEST}: strain needs neighbours on both sides. Is the support right, and isosurface= not too high?"
            )
        return steps

    @property
    def bulk(self) -> np.ndarray:
        return self.inside & ~self.surface & ~self.core

    def forward(self, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Phase steps along each axis, rad; 0 where one of the two voxels is outside."""
        for k, pair in enumerate(self.pairs):
            yield k, np.where(pair, np.angle(image[_after(k)] * image[_before(k)].conj()), 0)

    def slopes(self, image: np.ndarray) -> list[np.ndarray]:
        """rad per voxel along each axis; NaN where there is no step."""
        result = []
        for k, step in self.forward(image):
            total = np.zeros(image.shape)
            total[_after(k)] += step
            total[_before(k)] += step
            with np.errstate(invalid="ignore", divide="ignore"):
                result.append(np.where(self.inside & (self.sides[k] > 0), total / self.sides[k], np.nan))
        return result

    def flattened(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image without its mean phase step in the bulk along each axis, and without the mean phase; the steps (3,), rad per voxel.

        First the phase of Σ x[m+1] conj x[m], which no wrap disturbs, then the mean of what is left."""
        products = [image[_after(k)] * image[_before(k)].conj() for k in range(3)]
        ramp = np.array([np.angle(p[pair].sum()) for p, pair in zip(products, self.pairs, strict=True)])
        flat = _tilted(image, ramp)
        for _ in range(PASSES):
            rest = np.array([s[self.bulk].mean() for s in self.slopes(flat)])
            ramp = ramp + rest
            flat = _tilted(image, ramp)
        unit = np.exp(-1j * np.angle(np.sum(flat[self.bulk])))
        return flat * unit, ramp

    def strain(self, flat: np.ndarray, vectors: np.ndarray, q: np.ndarray) -> np.ndarray:
        """(*grid), NaN outside, in cores, and where there is no step."""
        weights = np.linalg.solve(vectors.T, q) / (q @ q)
        total = -np.einsum("a,a...->...", weights, np.stack(self.slopes(flat)))
        return np.where(self.inside & ~self.core, total, np.nan)

    def large(self, flat: np.ndarray) -> float:
        """Share of the steps in the bulk that may have wrapped."""
        large = total = 0
        for k, step in self.forward(flat):
            where = self.pairs[k] & self.bulk[_before(k)]
            large, total = large + int((np.abs(step[where]) > NEAR_PI).sum()), total + int(where.sum())
        return large / max(1, total)


@dataclass(frozen=True, eq=False)
class _Embedding:
    """Puts what was computed in a box back into the array."""

    shape: tuple[int, ...]
    box: tuple[slice, ...]

    def __call__(self, values: np.ndarray, outside: Any, dtype: Any) -> np.ndarray:
        array = np.full(self.shape, outside, dtype=dtype)
        array[self.box] = values
        return array


def _displacement(flat: np.ndarray, steps: _Steps, q: np.ndarray) -> np.ndarray:
    """(*grid) m, u·q/|q|, its mean over the bulk 0, NaN outside and in cores. Unwrapped: the only map that needs it."""
    from skimage.restoration import unwrap_phase

    where = steps.inside & ~steps.core
    phase = np.asarray(unwrap_phase(np.ma.masked_array(np.angle(flat), ~where), rng=0))
    phase = np.where(where, phase - phase[steps.bulk].mean(), np.nan)
    return -phase / float(np.linalg.norm(q))


def _pieces(crystal: np.ndarray) -> int:
    """How many there are, crumbs left out."""
    from scipy.ndimage import label

    labels, _ = label(crystal)  # type: ignore[misc]
    return int((np.bincount(labels[crystal]) >= FEWEST).sum())


def _holes(crystal: np.ndarray, defects: tuple[Line, ...], radius: float) -> int:
    """Dark voxels that the crystal encloses, those about dislocations left out."""
    from scipy.ndimage import binary_fill_holes

    holes = np.asarray(binary_fill_holes(crystal)) & ~crystal
    return int((holes & ~core(defects, holes, radius)).sum())


def _error(replicas: np.ndarray, strain: np.ndarray, steps: _Steps, vectors: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(*grid): by how far the replicas are from the strain, each without its own ramp and referred to its own mean. Where a replica is 0
    in a voxel or beside it, the strain there is no derivative of its phases, and it has no say."""
    deviations = []
    for image in replicas:
        own = _Steps.of(steps.inside & (image != 0), steps.core)
        flat, ramp = own.flattened(image.astype(np.complex128))
        same = np.logical_and.reduce([a == b for a, b in zip(own.sides, steps.sides, strict=True)])
        deviations.append(np.where(same, own.strain(flat, vectors, q + np.linalg.solve(vectors, ramp)) - strain, np.nan))
    return standard_error(np.stack(deviations))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """rad, between two vectors."""
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def _tilted(image: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    """The image times exp(−i Σ ramp_a m_a), m counted from the middle of the array."""
    for k, (n, slope) in enumerate(zip(image.shape, ramp, strict=True)):
        image = image * np.exp(-1j * slope * (np.arange(n) - n // 2)).reshape([-1 if a == k else 1 for a in range(3)])
    return image


def _after(axis: int) -> tuple[slice, ...]:
    return tuple(slice(1, None) if a == axis else slice(None) for a in range(3))


def _before(axis: int) -> tuple[slice, ...]:
    return tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))


def _box(support: np.ndarray) -> tuple[slice, ...]:
    """Just around a mask, with two voxels to spare where there are any."""
    lit = [np.flatnonzero(support.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
    return tuple(slice(max(0, int(i[0]) - 2), min(n, int(i[-1]) + 3)) for i, n in zip(lit, support.shape, strict=True))


def _array(name: str, value: Any) -> np.ndarray:
    """An array or a tensor as an array. Raises InputError."""
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "fciub" or array.ndim < 3:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}; expected numbers of a 3D array")
    return array


def _arrays(image: Any, support: Any, replicas: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x, mask = _array("image", image).astype(np.complex128), _array("support", support).astype(bool)
    if x.ndim != 3 or mask.shape != x.shape:
        raise InputError(f"image has shape {x.shape}, support {mask.shape}; expected two 3D arrays of one shape")
    if not np.isfinite(x).all():
        raise InputError(f"image is not finite in {int((~np.isfinite(x)).sum()):,} voxels")
    if not (mask & (x != 0)).any():
        raise InputError(f"the support has {int(mask.sum()):,} voxels, and the image is 0 in all of them; there is no crystal")
    if replicas is None:
        return x, mask, None
    copies = _array("replicas", replicas)
    if copies.shape[1:] != x.shape or len(copies) < 2:
        raise InputError(f"replicas have shape {copies.shape}; expected at least two of the image's shape {x.shape}")
    if not np.isfinite(copies).all():
        raise InputError("replicas are not finite everywhere; leave out those of runs that failed")
    return x, mask, copies


def _geometry(vectors: Any, q: Any) -> tuple[np.ndarray, np.ndarray]:
    a, k = np.asarray(vectors, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if a.shape != (3, 3) or not np.isfinite(a).all() or abs(np.linalg.det(a)) < 1e-6 * np.prod(np.linalg.norm(a, axis=1)):
        raise InputError(f"vectors {a.tolist()}: expected 3 x 3 finite numbers, m, rows that span space")
    if k.shape != (3,) or not np.isfinite(k).all() or not k.any():
        raise InputError(f"q {k.tolist()}: expected a wave vector (x, y, z), rad/m, that is not 0")
    return a, k
