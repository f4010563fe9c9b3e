"""Phase diversity: the wavefront over a mirror of 18 hexagons, from two images of a star, one of them defocused on purpose.

python examples/15_segmented_mirror.py mirror.png
"""

# %% The mirror, 64 pixels across, and what its surface is off: 40 Zernike modes, 100 nm rms in all.
import sys

import numpy as np
from matplotlib.figure import Figure

import untwin as ut
from untwin.algorithms import LBFGS, Fit, Until
from untwin.losses import Amplitude, Poisson
from untwin.model.priors.zernike import zernike
from untwin.priors import Polar, Uniform, Zernike
from untwin.rules import Plateau

n, wavelength, rng = 64, 1.65e-6, np.random.default_rng(1)
y, x = (np.indices((n, n)) + 0.5) / n * 2 - 1
mirror = np.zeros((n, n))
for p, q in [(p, q) for p in range(-2, 3) for q in range(-2, 3) if abs(p + q) <= 2 and (p, q) != (0, 0)]:
    u, v = x - 0.372 * (q + p / 2), y - 0.322 * p
    mirror[np.maximum.reduce([abs(u), abs(u + 3**0.5 * v) / 2, abs(u - 3**0.5 * v) / 2]) < 0.182] = 1


def scaled(opd: np.ndarray, rms: float) -> np.ndarray:
    opd = np.where(mirror > 0, opd - opd[mirror > 0].mean(), 0)
    return opd * rms / opd[mirror > 0].std()


modes = zernike((n, n), 40, first=4)
truth = scaled(np.tensordot(rng.normal(size=40) / np.arange(1, 41), modes, 1), 100e-9)
defocus = scaled(modes[0], 400e-9)

# %% What the camera counts: a million photons in two images, each twice as wide as the array of the mirror.
waves = 2 * np.pi / wavelength
masks = mirror * np.exp(1j * waves * np.stack([0 * defocus, defocus]))
mean = np.abs(np.fft.fft2(masks * np.exp(1j * waves * truth), (2 * n, 2 * n))) ** 2
counts = rng.poisson(1e6 * mean / mean.sum()).astype(np.float32)

# %% The wavefront: 42 numbers that go downhill, on amplitudes first, then on the Poisson likelihood. Four starts, for the verdict.
pattern = ut.Pattern(counts, np.ones(counts.shape, bool), optics=ut.Optics(masks=masks))
fit = Fit(Polar(Uniform(), Zernike(42), vector=False), LBFGS(history=20), loss=Amplitude(), later=Poisson(), after=15)
solution = ut.reconstruct(pattern, Until(Plateau(patience=10, tolerance=1e-5), 150 * fit), starts=4)
turned = solution.image.numpy() * np.exp(-1j * waves * truth) * mirror
residual = np.where(mirror > 0, np.angle(turned / np.exp(1j * np.angle(turned.sum()))) / waves, np.nan)
print(f"{1e9 * truth[mirror > 0].std():.0f} nm rms, of which {1e9 * np.nanstd(residual):.1f} nm are left; {solution.verdict.text}")

# %% Both images, the wavefront, and what is left of it.
figure = Figure(figsize=(11, 3), layout="constrained")
images = {"in focus": np.fft.fftshift(counts[0]) ** 0.25, "defocused": np.fft.fftshift(counts[1]) ** 0.25}
surfaces = {"wavefront, nm": 1e9 * np.where(mirror > 0, truth, np.nan), "what is left, nm": 1e9 * residual}
for axis, (name, values) in zip(figure.subplots(1, 4), (images | surfaces).items()):
    shown = axis.imshow(values, cmap="gray" if name in images else "RdBu_r")
    axis.set(title=name, xticks=[], yticks=[])
    if name in surfaces:
        figure.colorbar(shown, ax=axis, shrink=0.8)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
