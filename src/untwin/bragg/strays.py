"""Light of other crystals in a prepared pattern: peaks of their own, where the mirror image of the pattern is dark."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from untwin.bragg.crop import Crop
from untwin.data.measurement import Pattern
from untwin.data.outliers import LOCAL, one_sided

# A cluster of one-sided light is another crystal's where its summit is so many times higher than the pass that leads from it to the peak
# (benchmarks/strays.py, seed 0, 24 crystals at 1e5 to 1e8 counts: their own light up to 3.7; that of another crystal 4.2 and more, as a
# rule above 20, where it has a tenth of the counts)
SUMMIT = 6.0
HALVINGS = 14  # of the range of levels in which the pass is looked for
MOST = 0.35  # of the counts: so much is no stray light, unless the user has chosen the peak


@dataclass(frozen=True, eq=False)
class Cluster:
    """One-sided light. voxels: (*grid) bool, centred. summit: its brightest place. share: of all light. height: of the summit over the pass
    that leads from it to the peak, by local means."""

    voxels: np.ndarray
    summit: tuple[int, ...]
    share: float
    height: float


def clusters(pattern: Pattern) -> list[Cluster]:
    """Where a pattern has light and its mirror image has none."""
    from scipy import ndimage

    suspect = np.fft.fftshift(one_sided(pattern)[0])
    if not suspect.any():
        return []
    light = np.fft.fftshift(np.where(pattern.measured, pattern.corrected().intensity, 0)).astype(np.float64)
    mean = np.asarray(ndimage.uniform_filter(light, LOCAL))
    pieces, number = ndimage.label(suspect)  # type: ignore[misc]
    centre = tuple(int(k) for k in np.unravel_index(int(np.argmax(np.where(suspect, 0, mean))), mean.shape))
    result = []
    for k, at in enumerate(ndimage.maximum_position(mean, pieces, range(1, number + 1)), 1):
        voxels, summit = pieces == k, tuple(int(i) for i in at)
        height = float(mean[summit]) / max(_pass(mean, summit, centre), 1e-30)
        result.append(Cluster(voxels, summit, float(light[voxels].sum() / light.sum()), height))
    return result


def without_strays(pattern: Pattern, box: Crop, most: float, guesses: list[str]) -> Pattern:
    """The pattern without them, each a sentence; the pattern itself where there are none. most: of the counts that may be stray light."""
    stray = np.zeros(pattern.shape, bool)
    for cluster in clusters(pattern):
        if cluster.height < SUMMIT:
            continue
        where = "(" + ", ".join(str(a + i * b + b // 2) for a, i, b in zip(box.start, cluster.summit, box.binning)) + ")"
        what = (
            f"the light about {where} (frame, row, column), {100 * cluster.share:.2g} % of all in {int(cluster.voxels.sum()):,} voxels, "
            "is a peak of its own without a mirror image"
        )
        if cluster.share > most:
            guesses.append(f"{what}: a second crystal, or a strongly strained one; left as it is, centre= chooses one, mask= takes it out")
            continue
        guesses.append(f"{what}: of another crystal? Not measured, masked; keep_strays=True (--keep-strays) keeps it")
        stray |= cluster.voxels
    if not stray.any():
        return pattern
    measured = pattern.measured & ~np.fft.ifftshift(stray)
    return replace(pattern, intensity=np.where(measured, pattern.intensity, 0), measured=measured)


def _pass(mean: np.ndarray, summit: tuple[int, ...], centre: tuple[int, ...]) -> float:
    """The highest level above which the two hang together."""
    from scipy import ndimage

    top = float(min(mean[summit], mean[centre]))
    low, high = top * 1e-6, top
    for _ in range(HALVINGS):
        level = float(np.sqrt(low * high))
        pieces, _ = ndimage.label(mean >= level)  # type: ignore[misc]
        low, high = (level, high) if pieces[summit] == pieces[centre] else (low, level)
    return high
