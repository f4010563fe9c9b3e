"""Sparse blind deconvolution as a user calls it: several starts, the objective chooses among them, their agreement is the verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import int_argument, seed_argument
from untwin.data.typed import amount
from untwin.errors import InputError
from untwin.judge.trust import Verdict
from untwin.live.record import Record, recorded
from untwin.live.view import Line, View, signed_panel
from untwin.model import lattice as lattices
from untwin.model import motifs as symmetry
from untwin.model import slow
from untwin.notebook import InNotebooks
from untwin.provenance import made_with
from untwin.random import derive
from untwin.solve import sparse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGREE = 0.9  # correlation of the motifs of two starts that count as one answer (docs/sparse-deconvolution.md)
# Motifs on a pixel from which on starts agree on what is not right, and so much agreement is needed: with 0.9 alone 32 of 57 trusted
# results of one channel at an overlap of 4.5 and more (as simulated; 1.9 and more as found) were below 0.95, with 0.99 none of 6; on other
# seeds then 2 (benchmarks/sparse.py)
CROWDED, AGREE_CROWDED = 1.5, 0.99
LEFT_OVER = 1.5  # residual over the scatter from pixel to pixel: 1 where all else is white noise; correlated noise is taken for motifs
# Times what motifs and places fit to noise alone: of 30 maps of noise (1 to 5 channels, 40 x 40 to 64 x 64) 1.4 at most, and starts agreed
# in 2 of them; rings at an overlap of 1.2 (128 x 128, one channel, seeds 500 to 503): at SNR 1 8.6 and more and at 0.3 2.4 and more, all of
# them right; at 0.1 1.1 at most, all of them wrong (0.79 to 0.93), and starts agreed in three
CHANCE = 2.0
DENSE = 0.1  # of the pixels of maps: above it they are not sparse, and starts agree on fields without any motif (unmeasured)
SEPARATE = 0.7  # demixing below which motifs share their places (benchmarks/sparse.py: 19 of 20 pairs above 0.9, one 0.37)
LATTICE = 0.02  # of the variance in plane waves, above which they are doubted (benchmarks/sparse.py: without a lattice 0.00)
SURFACE = 0.05  # of the variance in a surface of second order (160 simulated maps without one, 64 x 64 to 128 x 128: 0.011 at most)
STOP = 0.97  # two starts this alike end the search; below, more are tried
FEWEST, MOST = 5, 15  # starts; one of each box at least
BOXES = (
    1.0,
    0.8,
    0.6,
    0.45,
    0.3,
)  # of the first windows, in units of `size`: where much overlaps only small ones lead on (benchmarks/sparse.py)
LIFT = 2.0  # the largest box, in units of `size`
SMALLEST = 5  # pixels of a motif
LARGEST = 2**27  # numbers

Report = Callable[[int, float | None, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Deconvolved(InNotebooks):
    """Motifs, where they occur, and whether to believe it.

    motifs: (motifs, channels, rows, columns) float32, in the unit of the data: what a defect of strength 1 looks like. maps: (motifs,
    height, width) float32: the strength of what stands at a pixel, which is the middle (rows // 2, columns // 2) of its motif; 1 is
    typical. bias: (channels,), the data without motifs. residual: like the data, data minus model; motifs that stand outside the picture
    and reach in belong to the model, and are in no map. data: as passed, float32,
    without a lattice and a surface where these were taken out. measured: (height, width) bool.
    noise: (channels,), its standard deviation as the fit leaves it.
    numbers: every figure by name. warnings: doubts, as sentences. verdict: trusted True, False or None, and a sentence.
    starts: of each start, best first, its objective, its number and its correlation with the motifs that are shown. settings, provenance:
    what was asked for, and what computed it.
    """

    motifs: np.ndarray
    maps: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    data: np.ndarray
    measured: np.ndarray
    noise: np.ndarray
    verdict: Verdict
    numbers: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    starts: tuple[tuple[float, int, float], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str | int] = field(default_factory=dict)

    def __repr__(self) -> str:
        motifs, channels, rows, columns = self.motifs.shape
        height, width = self.measured.shape
        return (
            f"Deconvolved({motifs} {'motif' if motifs == 1 else 'motifs'} of {rows} x {columns}, "
            f"{channels} {'channel' if channels == 1 else 'channels'} of {height} x {width}, {self.verdict.mark})"
        )

    @property
    def model(self) -> np.ndarray:
        """(channels, height, width): data minus residual; NaN where nothing was measured."""
        return np.where(self.measured, self.data - self.residual, np.float32(np.nan))

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """motifs.npy, maps.npy, residual.npy and summary.json into a folder that does not exist yet (or, with overwrite, in place of its
        files). Raises InputError where it does."""
        from untwin.runs.archive import fresh, save_deconvolved

        return save_deconvolved(self, fresh(Path(folder), overwrite))

    def plot(self) -> Figure:
        """Data, motif, map and residual of the channels."""
        from untwin.show.deconvolved import figure  # an upward import: a method that users expect here

        return figure(self)


def deconvolve_sparse(
    Y: Any,
    size: int | tuple[int, int],
    motifs: int = 1,
    *,
    starts: int = MOST,
    seed: int = 0,
    nonnegative: bool = True,
    periodic: bool = False,
    lattice: bool = False,
    flatten: int = 0,
    measured: Any = None,
    report: Report | None = None,
    live: Record | str | Path | None = None,
    progress: bool = True,
) -> Deconvolved:
    """What repeats in pictures, and where: Y_s = sum_m A_ms * X_m + b_s + noise, with sparse maps X that all channels share.

    Y: (channels, height, width) or (height, width), array or tensor, real: maps of dI/dV at several energies, say. size: of the motif,
    pixels, (rows, columns) or one number; roughly: 40 % too large or too small does no harm, and what comes back has a size of its own.
    motifs: how many kinds. starts: at most; fewer where they agree. seed: of the starts. nonnegative: the maps are; otherwise a motif may
    occur with both signs. periodic: the picture goes on at the opposite border; by default motifs may stand outside and reach in.
    lattice: take an atomic lattice out first, plane waves whose peaks stand sharply in the spectrum; they are then in no residual.
    flatten: order of a polynomial that is taken out of every channel first, such as 2; a slow background is none of a motif.
    measured: (height, width) bool, False where a pixel means nothing. report: called with the starts since the last call, the best
    objective so far, the starts at most. live: a folder in which the run shows itself: `untwin watch FOLDER` (docs/watch.md).
    progress: in a notebook a line shows how far it is. Method and sources: `untwin.solve.sparse`. Raises InputError.
    """
    data, known = _data(Y, measured)
    box, flatten = _size(size, known.shape), int_argument("flatten", flatten, 0, 8)
    motifs, starts, seed = int_argument("motifs", motifs, 1, 16), int_argument("starts", starts, 1, 10_000), seed_argument(seed)
    clock, cpu = time.perf_counter(), time.process_time()
    scale = noise_level(data, known)
    data, shares = _cleaned(data, known, scale, lattice, flatten)
    observed, wide = _observation(data / scale[:, None, None], known, box, periodic)
    settings = sparse.Descent(nonnegative=bool(nonnegative))
    search = _Search(observed, box, wide, motifs, seed, settings)
    with recorded(live, "deconvolve", figure="objective", progress=progress) as record:
        record.begun = True
        record.set(unit="starts")
        _searched(search, starts, record.reporting(report), record)
        candidates = search.ranked()
        shown = _polished(observed, candidates[0].estimate, wide, settings)
        record.show(partial(_view, shown))
        agreement = _agreement(candidates)
        result = _in_units(observed, shown, scale, data, known)
        numbers = _numbers(observed, shown, result, candidates, agreement)
        numbers |= {**shares, "seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
        verdict = _verdict(numbers, len(candidates))
        record.set(verdict={"trusted": verdict.trusted, "text": verdict.text}, numbers={"seconds": numbers["seconds"]})
    return replace(
        result,
        verdict=verdict,
        numbers=numbers,
        warnings=_warnings(shown, numbers, wide, lattice),
        starts=tuple((c.cost, c.number, _alike(c.estimate.motifs, shown.motifs)) for c in candidates),
        settings={"size": list(box), "motifs": motifs, "starts": starts, "seed": seed, "nonnegative": bool(nonnegative),
                  "periodic": bool(periodic), "lattice": bool(lattice), "flatten": flatten},
        provenance=made_with(),
    )  # fmt: skip


def _searched(search: _Search, starts: int, report: Report | None, live: Record) -> None:
    """As many starts as are needed, the best of which is shown."""
    number = 0
    while number < starts and not (number >= FEWEST and search.settled()):
        search.add(number)
        number += 1
        if report:
            report(1, search.best.cost, starts)
        line = Line("each start", tuple(c.number for c in search.candidates), tuple(c.cost for c in search.candidates))
        live.finished(f"start {number}", [line], partial(_view, search.best.estimate, f"the best of {amount(number, 'start')}"))


def _view(estimate: sparse.Estimate, caption: str = "the result") -> View:
    """The first motif in its first channel, and where it stands."""
    motif, places = np.asarray(estimate.motifs)[0, 0], np.asarray(estimate.maps)[0]
    return View((signed_panel("motif", motif), signed_panel("where it stands", places)), caption=caption)


def _cleaned(data: np.ndarray, known: np.ndarray, scale: np.ndarray, lattice: bool, flatten: int) -> tuple[np.ndarray, dict[str, float]]:
    """The data without what was to be taken out, and which share of their variance a lattice and a surface still hold."""
    spread = data.std((1, 2), where=known)
    data = slow.without_surface(data, flatten, known)
    if (data.std((1, 2), where=known) <= 1e-5 * spread).any():
        raise InputError(f"flatten={flatten}: a channel is nothing but a polynomial of this order; leave it out, or take a lower order")
    cleaned, share = _without_lattice(data, known, scale)
    if lattice:
        data, share = cleaned, _without_lattice(cleaned, known, scale)[1]
    return data, {"lattice_fraction": share, "surface_fraction": _share(data, slow.without_surface(data, 2, known), known)}


def _without_lattice(data: np.ndarray, known: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, float]:
    """The data without plane waves, and the share of the variance that these hold, mean of the channels. Several times, since the drift
    of a scan makes a wave wide."""
    cleaned = data
    for _ in range(4):
        means = cleaned.mean((1, 2), where=known, keepdims=True)
        waves = lattices.plane_waves(np.where(known, cleaned - means, 0) / scale[:, None, None])
        if not len(waves):
            break
        cleaned = lattices.without(cleaned, waves, known)
    return cleaned, _share(data, cleaned, known)


def _share(data: np.ndarray, cleaned: np.ndarray, known: np.ndarray) -> float:
    """Of the variance of the data, what the cleaned ones lack, mean of the channels."""
    before, after = (np.array([v[known].var(dtype=np.float64) for v in a]) for a in (data, cleaned))
    return float(np.mean(1 - after[before > 0] / before[before > 0]))


def noise_level(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(channels,): standard deviation of the noise, from the median magnitude of a mask that smooth pictures do not pass (Immerkaer,
    Comput. Vis. Image Underst. 64, 1996). At least a thousandth of the deviation of the channel, so that no channel of a simulation
    without noise outweighs all others."""
    passed = values[:, 2:, :] - 2 * values[:, 1:-1, :] + values[:, :-2, :]
    passed = passed[:, :, 2:] - 2 * passed[:, :, 1:-1] + passed[:, :, :-2]
    clear = np.ones((values.shape[1] - 2, values.shape[2] - 2), bool)
    for i in range(3):
        for j in range(3):
            clear &= measured[i : measured.shape[0] - 2 + i, j : measured.shape[1] - 2 + j]
    level = np.array([np.median(np.abs(p[clear])) if clear.any() else 0.0 for p in passed]) / (0.6745 * 6)
    deviation = np.array([v[measured].std(dtype=np.float64) for v in values])
    return np.maximum(level, 1e-3 * np.where(deviation > 0, deviation, deviation.max())).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """What a start came to. cost: the objective, and one for each number of the motifs: what a least squares fit gains by it from noise."""

    number: int
    estimate: sparse.Estimate

    @property
    def cost(self) -> float:
        return self.estimate.objective + self.estimate.motifs.size


class _Search:
    """Starts, one after the other. best: of them so far."""

    def __init__(
        self, observed: sparse.Observation, size: tuple[int, int], wide: tuple[int, int], motifs: int, seed: int, settings: sparse.Descent
    ) -> None:
        self.observed, self.size, self.wide, self.motifs, self.seed, self.settings = observed, size, wide, motifs, seed, settings
        self.candidates: list[_Candidate] = []

    @property
    def best(self) -> _Candidate:
        return min(self.candidates, key=lambda c: c.cost)

    def add(self, number: int) -> None:
        """A random window of the data, its box and its place by the number of the start."""
        factor = BOXES[number % len(BOXES)]
        box = (
            max(min(SMALLEST, self.size[0]), round(factor * self.size[0])),
            max(min(SMALLEST, self.size[1]), round(factor * self.size[1])),
        )
        rng = np.random.default_rng(derive(self.seed, "window", number))
        room = [n - b + 1 for n, b in zip(self.observed.measured.shape, box)]
        first = 1 if number % 2 else self.motifs  # every second start takes one motif after the other
        estimate = sparse.path(self.observed, sparse.start(self.observed, rng.integers(0, room, (first, 2)), box), self.settings)
        for _ in range(self.motifs - first):
            estimate = sparse.path(self.observed, sparse.extended(self.observed, estimate, rng.random()), self.settings)
        estimate = sparse.enlarged(self.observed, estimate, self.wide, self.settings)
        self.candidates.append(_Candidate(number, sparse.unmixed(self.observed, estimate, self.settings)))

    def ranked(self) -> list[_Candidate]:
        """Best first, all at one lambda, the lowest that one of them came to: objectives of different ones cannot be compared."""
        lowest = min(c.estimate.penalty for c in self.candidates)
        for i, c in enumerate(self.candidates):
            if c.estimate.penalty > 1.001 * lowest:
                self.candidates[i] = _Candidate(c.number, sparse.descend(self.observed, c.estimate, lowest, self.settings))
        return sorted(self.candidates, key=lambda c: c.cost)

    def settled(self) -> bool:
        """Do the two best agree?"""
        return _agreement(self.ranked()) >= STOP


def _agreement(candidates: list[_Candidate]) -> float:
    """Of the motifs of the two best starts: the smallest correlation among them. NaN of one start."""
    return _alike(candidates[0].estimate.motifs, candidates[1].estimate.motifs) if len(candidates) > 1 else math.nan


def _alike(a: np.ndarray, b: np.ndarray) -> float:
    return min(symmetry.paired(a, b)[1])


def _polished(observed: sparse.Observation, estimate: sparse.Estimate, wide: tuple[int, int], settings: sparse.Descent) -> sparse.Estimate:
    """More sweeps, the size chosen again, and the maps that are shown."""
    longer = replace(settings, sweeps=12, tolerance=1e-4)
    estimate = sparse.enlarged(observed, estimate, wide, longer)
    return sparse.sharpened(observed, estimate, settings)


def _data(Y: Any, measured: Any) -> tuple[np.ndarray, np.ndarray]:
    """(channels, height, width) float32, and (height, width) bool. Raises InputError."""
    a = np.asarray(Y.detach().cpu() if hasattr(Y, "detach") else Y)
    if a.dtype.kind == "c":
        raise InputError(f"the data are complex ({a.dtype}); expected real numbers: take the magnitude, or the part that was measured")
    if a.dtype.kind not in "fiub" or a.ndim not in (2, 3):
        raise InputError(
            f"the data have shape {a.shape} and type {a.dtype}; expected numbers, (channels, height, width) or (height, width)"
        )
    a = a[None] if a.ndim == 2 else a
    if min(a.shape) < 1 or min(a.shape[1:]) < 8:
        raise InputError(f"the data have shape {a.shape}; expected (channels, height, width) with 8 x 8 pixels at least")
    if a.size > LARGEST:
        raise InputError(f"the data hold {a.size:,} numbers, {LARGEST:,} at most; take fewer channels or a part of the field")
    known = np.ones(a.shape[1:], bool) if measured is None else np.asarray(measured.cpu() if hasattr(measured, "cpu") else measured)
    if known.dtype != bool or known.shape != a.shape[1:]:
        raise InputError(f"measured has shape {known.shape} and type {known.dtype}; expected bool of shape {a.shape[1:]}")
    if known.sum() < 64:
        raise InputError(f"{int(known.sum())} pixels are measured; expected 64 at least: True is a measured pixel")
    bad = int((~np.isfinite(a[:, known])).sum())
    if bad:
        raise InputError(
            f"the data hold {bad:,} values that are NaN or infinite; leave these pixels out with measured=, True where measured (--mask)"
        )
    values = np.where(known, a, 0).astype(np.float64)
    constant = np.flatnonzero(np.ptp(values[:, known], axis=1) <= 0)
    if len(constant):
        which = f"channel {constant[0]}, counted from 0, is" if len(constant) < len(values) else "the data are"
        raise InputError(f"{which} constant ({values[constant[0]][known][0]:g}), nothing repeats there; leave constant channels out")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all() or not np.ptp(single[:, known], axis=1).min() > 0:
        raise InputError(
            "the numbers are beyond single precision (up to 3e38, differences above 1e-7 of the mean); scale them, take an offset out"
        )
    return single, known


def _size(size: Any, shape: tuple[int, int]) -> tuple[int, int]:
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2:
        raise InputError(f"size={size!r}: expected one number of pixels, or (rows, columns)")
    rows, columns = (int_argument("size", n, 3) for n in pair)
    if rows > shape[0] // 2 or columns > shape[1] // 2:
        raise InputError(
            f"size={size!r}: a motif of {rows} x {columns} pixels does not repeat in maps of {shape[0]} x {shape[1]}; "
            f"expected half of them at most, {shape[0] // 2} x {shape[1] // 2}"
        )
    return rows, columns


def _observation(
    values: np.ndarray, measured: np.ndarray, size: tuple[int, int], periodic: bool
) -> tuple[sparse.Observation, tuple[int, int]]:
    """The data with the grid of the maps, and the largest box of a motif."""
    h, w = measured.shape
    wide = tuple(min(round(LIFT * s), n) for s, n in zip(size, (h, w)))
    if periodic:
        return sparse.Observation(values, measured, (h, w)), (min(wide[0], (h + 1) // 2), min(wide[1], (w + 1) // 2))
    grid = (sparse.fast_length(h + wide[0] - 1), sparse.fast_length(w + wide[1] - 1))
    return sparse.Observation(values, measured, grid), (wide[0], wide[1])


def _in_units(observed: sparse.Observation, e: sparse.Estimate, scale: np.ndarray, data: np.ndarray, known: np.ndarray) -> Deconvolved:
    """The estimate in the unit of the data, its maps where the middles of motifs lie in the picture."""
    (h, w), (rows, columns) = known.shape, e.motifs.shape[2:]
    residual = observed.residual(sparse.model(observed, e)) * scale[:, None, None]
    motifs, maps = symmetry.scaled(e.motifs * scale[None, :, None, None], np.roll(e.maps, (rows // 2, columns // 2), (1, 2))[:, :h, :w])
    order = np.argsort(-np.square(motifs).sum((1, 2, 3)) * np.square(maps).sum((1, 2)), kind="stable")
    noise = np.sqrt(np.square(residual[:, known]).mean(1, dtype=np.float64))
    return Deconvolved(
        motifs=motifs[order], maps=maps[order], bias=e.bias * scale, residual=residual, data=data, measured=known,
        noise=noise.astype(np.float32), verdict=Verdict(None, ""),
    )  # fmt: skip


def _numbers(
    observed: sparse.Observation, e: sparse.Estimate, result: Deconvolved, candidates: list[_Candidate], agreement: float
) -> dict[str, float]:
    from scipy.ndimage import maximum_filter

    rows, columns = e.motifs.shape[2:]
    strength = np.abs(result.maps)
    tops = (strength == maximum_filter(strength, (0, 3, 3), mode="constant")) & (strength > 0.25)
    active = strength > 0.05  # of the typical one
    variance = np.array([v[result.measured].var(dtype=np.float64) for v in result.data])
    left = np.square(result.noise, dtype=np.float64)
    pixels = float(result.measured.sum())
    gain = float(np.sum(variance / left.clip(min=1e-30) - 1)) * pixels  # of chi-square
    numbers = {
        "starts": float(len(candidates)),
        "starts_agreeing": float(sum(_alike(c.estimate.motifs, candidates[0].estimate.motifs) > AGREE for c in candidates)),
        "agreement": agreement,
        "defects": float(tops.sum()),
        "defects_per_pixel": float(tops.mean() * len(tops)),
        "overlap": float(tops.mean() * len(tops) * rows * columns),
        "active_fraction": float(active.mean()),
        "size_rows": float(rows),
        "size_columns": float(columns),
        "explained": float(np.mean(1 - left / variance)),
        "gain_over_chance": gain
        / (e.motifs.size + 2 * float(tops.sum()) * math.log(pixels)),  # a number gains 1 from noise, a place 2 log n
        "penalty": candidates[0].estimate.penalty / sparse.left_over(observed, candidates[0].estimate),
        "residual_over_noise": sparse.left_over(observed, e),
    }
    if len(e.motifs) > 1:
        numbers["demixing"] = symmetry.demixing(result.maps, (rows, columns))
    return numbers


def _verdict(n: dict[str, float], starts: int) -> Verdict:
    """From the agreement of starts, which never saw one another."""
    facts = f"{amount(int(n['defects']), 'defect')}, {100 * n['explained']:.0f} % of the variance explained"
    if n["defects"] < 1 or n["explained"] <= 0:
        return Verdict(False, f"{facts}: no motif stands out of the noise: do not trust this")
    if starts < 2:
        return Verdict(None, f"{facts}, one start: take more before you trust this")
    alike = f"the motifs of the two best of {starts} starts have a correlation of {n['agreement']:.3f}"
    if n["agreement"] < AGREE:
        return Verdict(False, f"{facts}, {alike}: they do not agree: do not trust this")
    if n["gain_over_chance"] < CHANCE:
        return Verdict(None, f"{facts}, {alike}, but half of that could be fitted to noise alone: more channels or pixels would tell")
    if n["overlap"] > CROWDED and n["agreement"] < AGREE_CROWDED:
        crowd = f"{n['overlap']:.1f} motifs lie on a pixel, and then {AGREE_CROWDED:g} is needed"
        return Verdict(None, f"{facts}, {alike}, but {crowd}: more channels or fewer defects would tell")
    if n["lattice_fraction"] > LATTICE:
        return Verdict(
            None, f"{facts}, {alike}, but a lattice holds {100 * n['lattice_fraction']:.0f} % of the variance and is in the motifs"
        )
    if n["residual_over_noise"] > LEFT_OVER:
        left = f"{n['residual_over_noise']:.1f} times what scatters from pixel to pixel is left, which no motif explains"
        return Verdict(None, f"{facts}, {alike}, but {left}")
    if n["active_fraction"] > DENSE:
        dense = f"{100 * n['active_fraction']:.0f} % of the pixels of the maps are occupied: they are not sparse"
        return Verdict(None, f"{facts}, {alike}, but {dense}")
    if n["surface_fraction"] > SURFACE:
        return Verdict(None, f"{facts}, {alike}, but a slow background holds {100 * n['surface_fraction']:.0f} % of the variance")
    if n.get("demixing", 1.0) < SEPARATE:
        return Verdict(None, f"{facts}, {alike}, but motifs stand on one another (demixing {n['demixing']:.2f}): they may be mixtures")
    if n["defects"] < 3:
        return Verdict(None, f"{facts}, {alike}, but so few do not tell a motif from what happens to stand beside it")
    return Verdict(True, f"{facts}, {alike}: they agree")


def _warnings(e: sparse.Estimate, n: dict[str, float], wide: tuple[int, int], lattice: bool) -> tuple[str, ...]:
    texts = []
    if n["lattice_fraction"] > LATTICE:
        advice = "it is not the same everywhere: correct the drift first" if lattice else "lattice=True (--lattice) takes it out first"
        texts.append(f"a lattice holds {100 * n['lattice_fraction']:.0f} % of the variance; {advice}")
    if n["surface_fraction"] > SURFACE:
        texts.append(
            f"a slow background holds {100 * n['surface_fraction']:.0f} % of the variance; flatten=2 (--flatten 2) takes it out first"
        )
    rows, columns = e.motifs.shape[2:]
    if rows >= wide[0] or columns >= wide[1]:
        texts.append(f"the motif fills the largest box, {wide[0]} x {wide[1]} pixels; try a larger size, {wide[0]} say")
    if n["active_fraction"] > DENSE:
        texts.append(f"the maps are not sparse: {100 * n['active_fraction']:.0f} % of their pixels are occupied")
    if n["residual_over_noise"] > LEFT_OVER:
        texts.append(
            f"the residual is {n['residual_over_noise']:.1f} times what scatters from pixel to pixel. Something is left that no motif "
            "explains: a lattice, say, another kind of defect, or noise that is correlated"
        )
    return tuple(texts)
