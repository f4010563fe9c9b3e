"""A scan about a Bragg peak as a beamline writes it, from a crystal that is known.

    scan, truth = RockingScan("34idc", seed=3).draw()

Every pixel of every frame lies where the instrument puts it, on its own curved Ewald sphere (simulate/ewald.py). It reads

    Poisson( sensitivity · beam · (G ⊛ |F(q)|² + aliens + background) + dark ),

G a Gaussian that stands for partial coherence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from untwin.bragg.beamlines import TABLE, beamline
from untwin.bragg.instrument import Instrument
from untwin.bragg.scan import Frames, Scan
from untwin.checks import is_int, is_number
from untwin.errors import InputError
from untwin.simulate import camera as cameras
from untwin.simulate import ewald
from untwin.simulate.bodies import Faceted, Wulff
from untwin.simulate.facets import Facets, corners, random_rotation, unit_vectors
from untwin.simulate.stations import STATIONS, Station
from untwin.simulate.truth import SAMPLES, Crystal, Displacement, Screw, Truth

REFLECTION = np.array([1.0, 1.0, 1.0])  # of gold
BURGERS = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]]) / 2  # of fcc, with g·b = 1
WAVES = 6  # of the smooth displacement
LENGTHS = (0.8, 2.5)  # wavelengths of it, in sizes of the crystal
# Distance of the planes of points that a crystal is summed from: at most two roughnesses, and 4 nm. Halving it changes F by 5.5e-6 of the
# peak's at most, 1.7e-5 with a dislocation (300 pixels of the default scan, roughness 2 nm, seed 0).
FINE = 4e-9  # m
ALIEN = (40e-9, 90e-9)  # m: radius of another crystal, a sphere
ASIDE = 0.7  # of the half window: so far from the middle lie aliens, at least


@dataclass(frozen=True)
class RockingScan:
    """A simulated scan. What is None is the beamline's own (simulate/stations.py).

    beamline: a key of bragg.beamlines.TABLE, or its name.
    size: m, diameter of the sphere of the crystal's volume. body: its facets; crystal axes have 111 along Q and any azimuth.
    strain: rms, along Q. surface: share of its variance in a layer at the facets, `depth` m thick. tension: a strain along Q, the same
    everywhere, which moves the peak. dislocation: with a screw dislocation, Q·b = 2π, that passes the middle at 0.1 to 0.2 sizes.
    roughness: m, rms, of the facets.
    counts: expected from the crystal, on an even detector. noise: Poisson noise; without it frames hold what is expected, as numbers with
    fractions.
    frames, window: how many, and their rows and columns. offset: (frames, rows, columns) of the peak from the middle of the scan.
    step: degrees per frame. energy: eV. distance: m.
    blur: σ of partial coherence, pixels along (frames, rows, columns).
    spread: rms of the relative sensitivity. hot, dead: shares of the camera's pixels. dark: some pixels count without light.
    monitor: relative rms of the beam's intensity. background: counts per pixel and frame.
    aliens: other crystals in the window; alien: the brightest pixel of each, relative to that of the crystal.
    seed: which crystal, camera and noise.
    """

    beamline: str = "34idc"
    size: float = 300e-9
    body: Faceted = Wulff(jitter=0.08)
    strain: float = 3e-4
    surface: float = 0.3
    depth: float = 15e-9
    tension: float = 0.0
    dislocation: bool = False
    roughness: float = 2e-9
    counts: float = 1e7
    noise: bool = True
    frames: int = 111
    window: tuple[int, int] = (128, 128)
    offset: tuple[int, float, float] = (-2, 3.0, -2.0)
    step: float | None = None
    energy: float | None = None
    distance: float | None = None
    # fitted to a measured scan of 34-ID-C: rocking 0.05 to 0.44, rows 0.47 to 0.63, columns 0.34 to 0.40
    blur: tuple[float, float, float] = (0.15, 0.5, 0.4)
    spread: float = 0.12
    hot: float = 2e-4
    dead: float = 5e-4
    dark: bool = True
    monitor: float = 0.018  # that of the same scan
    background: float = 0.033  # likewise
    aliens: int = 0
    alien: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        beamline(self.beamline)
        if not isinstance(self.body, Faceted) or 3 not in self.body.dimensions:
            raise InputError(f"RockingScan(body={self.body!r}): expected a body with facets in three dimensions, Wulff() or Polyhedron()")
        for name, low, high in LIMITS:
            value = getattr(self, name)
            if value is not None and not (is_number(value) and low <= value <= high):
                raise InputError(f"RockingScan({name}={value!r}): expected a number, {low:g} to {high:g}")
        for name, least in (("frames", 8), ("aliens", 0), ("seed", 0)):
            if not is_int(getattr(self, name)) or getattr(self, name) < least:
                raise InputError(f"RockingScan({name}={getattr(self, name)!r}): expected a whole number, {least} or more")
        for name, length in (("window", 2), ("offset", 3), ("blur", 3)):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != length or not all(is_number(v) for v in value):
                raise InputError(f"RockingScan({name}={value!r}): expected {length} numbers")
        if min(self.blur) < 0 or not all(is_int(n) and n >= 16 for n in self.window):
            raise InputError(f"RockingScan(blur={self.blur}, window={self.window}): expected 0 or more, and whole numbers, 16 or more")
        if not all(abs(o) < n / 2 - 1 for o, n in zip(self.offset, self.shape)) or self.offset[0] != int(self.offset[0]):
            raise InputError(f"RockingScan(offset={self.offset}): expected a peak inside of {self.shape}, and a whole number of frames")

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.frames, *self.window)

    @property
    def key(self) -> str:
        """Of the beamline's row."""
        return next(key for key, row in TABLE.items() if row is beamline(self.beamline))

    @property
    def station(self) -> Station:
        s = STATIONS[self.key]
        changes = {"energy": self.energy, "distance": self.distance, "step": self.step}
        return replace(s, **{name: value for name, value in changes.items() if value is not None})

    @property
    def peak(self) -> tuple[int, float, float]:
        """(frame, row, column) where Q lies."""
        middle = [n // 2 for n in self.shape]
        return int(middle[0] + self.offset[0]), middle[1] + self.offset[1], middle[2] + self.offset[2]

    def ideal(self) -> RockingScan:
        """The same crystal in full coherence on a perfect camera, without noise."""
        return replace(
            self, noise=False, blur=(0.0, 0.0, 0.0), spread=0.0, hot=0.0, dead=0.0, dark=False, monitor=0.0, background=0.0, aliens=0
        )

    def instrument(self) -> Instrument:
        s, row, n = self.station, TABLE[self.key], self.frames
        sample = np.tile(np.asarray(s.sample, dtype=np.float64), (n, 1))
        sample[:, [c.name for c in row.sample].index(s.rocking)] += (np.arange(n) - self.peak[0]) * s.step
        detector = np.tile(np.asarray(s.detector, dtype=np.float64), (n, 1))
        direct = (self.window[0] // 2 + s.direct[0], self.window[1] // 2 + s.direct[1])
        return Instrument(row, sample, detector, np.full(n, float(s.energy)), s.distance, (s.camera.pixel, s.camera.pixel), direct)

    def crystal(self) -> Crystal:
        """Without the detector; the same for every setting of it."""
        generator, i = np.random.default_rng((self.seed, 0)), self.instrument()
        q = i.q(self.peak[0], np.asarray(self.peak[1]), np.asarray(self.peak[2]), self.peak[0])
        frame = _frame(q, generator)
        facets = _sized(self.body.facets(generator, frame), self.size)
        points = _inside(facets, generator)
        field = self._displacement(facets, unit_vectors(q), points, generator)
        screw = None
        if self.dislocation:
            line = unit_vectors(frame @ BURGERS[int(3 * generator.random())])
            aside = unit_vectors(np.cross(line, generator.standard_normal(3)))
            screw = Screw(aside * self.size * generator.uniform(0.1, 0.2), line)
        return Crystal(facets=facets, field=field, screw=screw, roughness=self.roughness, q=q)

    def _displacement(self, facets: Facets, along: np.ndarray, points: np.ndarray, generator: np.random.Generator) -> Displacement:
        """Waves and layer in their shares, without what is linear in position: that would be another Q."""
        k = 2 * np.pi / (self.size * generator.uniform(*LENGTHS, WAVES))[:, None] * unit_vectors(generator.standard_normal((WAVES, 3)))
        starts, sign = generator.uniform(0, 2 * np.pi, WAVES), 1 if generator.random() < 0.5 else -1
        heights = generator.uniform(0.5, 1.0, WAVES) / np.linalg.norm(k, axis=1)
        waves = Displacement(along, facets, k, heights, starts, 0.0, self.depth)
        layer = Displacement(along, facets, k, heights * 0, starts, sign * self.depth, self.depth)
        shares = [(1 - self.surface) ** 0.5 / waves.strain(points).std(), self.surface**0.5 / layer.strain(points).std()]
        both = replace(waves, heights=heights * shares[0], layer=layer.layer * shares[1])
        design = np.concatenate([points, np.full((len(points), 1), self.size)], 1)
        fit = np.linalg.lstsq(design, both.at(points), rcond=None)[0]
        scale = self.strain / both.strain(points).std()
        return replace(
            both, heights=both.heights * scale, layer=both.layer * scale, linear=self.tension * along - fit[:3] * scale,
            constant=float(-fit[3] * self.size * scale),
        )  # fmt: skip

    def draw(self) -> tuple[Scan, Truth]:
        """The scan, and what it was made of."""
        crystal, i, s = self.crystal(), self.instrument(), self.station
        detector = cameras.chip(s.camera, self.spread, self.hot, self.dead, self.dark, np.random.default_rng((self.seed, 1)))
        first = tuple(m - n // 2 for m, n in zip(s.middle, self.window))
        if any(a < 0 or a + n > size for a, n, size in zip(first, self.window, s.camera.shape)):
            raise InputError(
                f"a window of {self.window} about {s.middle} does not lie on the camera of {s.camera.shape}; choose a smaller one"
            )
        chip = detector.window((first[0], first[1]), self.window)
        generator = np.random.default_rng((self.seed, 2))
        light = cameras.blurred(intensity(crystal, i, self.peak, self.shape), self.blur)
        light *= self.counts / light.sum()
        beam = _beam(self.frames, self.monitor, generator)
        expected = light + self._aliens(i, crystal.q, light.max(), generator) + self.background
        expected = chip.sensitivity * beam[:, None, None] * expected + chip.dark
        counts = generator.poisson(expected) if self.noise else expected
        truth = Truth(
            **vars(crystal), instrument=i, peak=self.peak, expected=light.astype(np.float32), sensitivity=chip.sensitivity, bad=chip.bad,
            beam=beam,
        )  # fmt: skip
        return self._scan(counts, i, detector, first, beam, generator), truth

    def _scan(
        self,
        counts: np.ndarray,
        i: Instrument,
        chip: cameras.Chip,
        first: tuple[int, ...],
        beam: np.ndarray,
        generator: np.random.Generator,
    ) -> Scan:
        s, (rows, columns) = self.station, self.window
        cut = (slice(first[0], first[0] + rows), slice(first[1], first[1] + columns))
        gaps = s.camera.gaps()[cut]
        values = counts.astype(s.camera.dtype if self.noise else np.float32)
        values[:, gaps] = s.camera.blank if self.noise else 0
        return Scan(
            frames=Frames(values.shape, values.dtype, values.__getitem__, gaps if s.camera.marked and gaps.any() else None),
            instrument=i,
            window=(first[0], rows, first[1], columns),
            dark=chip.dark_field(generator),
            flat=chip.white_field(generator),
            monitor=np.round(1e5 * beam),
            exposure=1.0,
            detector=s.camera.name,
            label=f"simulated_{self.seed}",
        )

    def _aliens(self, i: Instrument, q: np.ndarray, brightest: float, generator: np.random.Generator) -> np.ndarray:
        """(frames, rows, columns): spheres, each about a peak of its own (Rayleigh 1910: 3 (sin x − x cos x) / x³, x = |q − Q'| R)."""
        total = np.zeros(self.shape if self.aliens else (1, 1, 1))
        for _ in range(self.aliens):
            way = unit_vectors(generator.standard_normal(3))
            way *= generator.uniform(ASIDE, 0.9) / np.abs(way).max()
            at = [n // 2 + w * (n // 2 - 2) for n, w in zip(self.shape, way)]
            middle = i.q(int(at[0]), np.asarray(at[1]), np.asarray(at[2]), self.peak[0])
            radius = generator.uniform(*ALIEN)
            for n, wave_vectors in enumerate(each_q(i, self.peak[0], self.shape)):
                x = np.maximum(radius * np.linalg.norm(wave_vectors - middle, axis=-1), 1e-3)
                total[n] += self.alien * brightest * (3 * (np.sin(x) - x * np.cos(x)) / x**3) ** 2
        return total


LIMITS = (
    ("size", 20e-9, 5e-6), ("strain", 0, 0.05), ("surface", 0, 1), ("depth", 1e-9, 1e-6), ("tension", -0.05, 0.05),
    ("roughness", 1e-9, 50e-9),
    ("counts", 1, 1e12), ("step", 1e-6, 1.0), ("energy", 1e3, 1e6), ("distance", 1e-2, 100), ("spread", 0, 0.5), ("hot", 0, 0.1),
    ("dead", 0, 0.1), ("monitor", 0, 0.3), ("background", 0, 1e6), ("alien", 0, 1e3),
)  # fmt: skip


def each_q(i: Instrument, stance: int, shape: tuple[int, int, int]):
    """(rows, columns, 3) rad/m of every frame, the crystal as it stands at one of them."""
    row, column = np.arange(shape[1])[:, None], np.arange(shape[2])[None]
    for n in range(shape[0]):
        yield i.q(n, row, column, stance)


def wave(
    crystal: Crystal, i: Instrument, peak: tuple[int, float, float], shape: tuple[int, int, int], fine: float | None = None
) -> ewald.Wave:
    """F of q − Q for every pixel of a scan. fine: m, distance of the planes of points that the crystal is summed from."""
    sampling = i.sampling(*peak)
    inverse, low, high = np.linalg.inv(sampling), np.full(3, np.inf), np.full(3, -np.inf)
    for q in each_q(i, peak[0], shape):
        at = ((q - crystal.q) @ inverse).reshape(-1, 3)
        low, high = np.minimum(low, at.min(0)), np.maximum(high, at.max(0))
    fine = min(FINE, 2 * crystal.roughness) if fine is None else fine
    grid = ewald.cells(corners(crystal.facets), sampling, fine, 5 * crystal.roughness)
    return ewald.wave(crystal.image, grid, sampling, low, high)


def intensity(crystal: Crystal, i: Instrument, peak: tuple[int, float, float], shape: tuple[int, int, int]) -> np.ndarray:
    """(frames, rows, columns) float64: |F|² at every pixel."""
    scattered = wave(crystal, i, peak, shape)
    return np.array([np.abs(scattered(q - crystal.q)) ** 2 for q in each_q(i, peak[0], shape)])


def _frame(q: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(3, 3) the crystal's axes as columns: 111 along q, any azimuth."""
    crystal, laboratory = (_triad(v, random_rotation(generator, 3)[0]) for v in (REFLECTION, q))
    return laboratory @ crystal.T


def _triad(v: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(3, 3) right-handed unit vectors as columns, the first along v."""
    a = unit_vectors(v)
    b = unit_vectors(np.cross(a, other))
    return np.stack([a, b, np.cross(a, b)], 1)


def _sized(facets: Facets, size: float) -> Facets:
    """Scaled to the volume of a sphere of this diameter; the middle of the box at the origin."""
    from scipy.spatial import ConvexHull

    points = corners(facets)
    scale = size / (6 / np.pi * float(ConvexHull(points).volume)) ** (1 / 3)
    return Facets(facets.normals, scale * (facets.heights - facets.normals @ ((points.min(0) + points.max(0)) / 2)))


def _inside(facets: Facets, generator: np.random.Generator) -> np.ndarray:
    """(points, 3): random ones inside."""
    points = corners(facets)
    box = generator.uniform(points.min(0), points.max(0), (SAMPLES, 3))
    return box[(box @ facets.normals.T <= facets.heights).all(1)]


def _beam(frames: int, rms: float, generator: np.random.Generator) -> np.ndarray:
    """(frames,) relative intensity, mean 1."""
    beam = np.maximum(1 + rms * generator.standard_normal(frames), 0.1)
    return beam / beam.mean()
