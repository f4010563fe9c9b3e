"""From the frames of a scan to a pattern: faults, flat field, monitor, the peak, a crop about it. Each step is a sentence of the result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from untwin.bragg import crop as cropping
from untwin.bragg.crop import AXES, Crop
from untwin.bragg.curvature import geometry_of
from untwin.bragg.look import Look, cut, first
from untwin.bragg.merge import merged
from untwin.bragg.options import Preparation
from untwin.bragg.peak import Peak, peak_of
from untwin.bragg.scan import Scan
from untwin.bragg.strays import MOST, without_strays
from untwin.checks import is_int
from untwin.data import flat as detectors
from untwin.data.framing import Grids, centred, look_at_sampling
from untwin.data.measurement import Pattern, Source
from untwin.data.noise import Values
from untwin.data.stored import Named
from untwin.errors import GuessWarning, InputError


def prepare(
    scans: Sequence[Scan] | Scan,
    *,
    crop: Sequence[int] | None = None,
    centre: Sequence[float] | None = None,
    mask: Named = None,
    flat: Named | bool = True,
    dark: Named | bool = True,
    monitor: Named | bool = True,
    window: Sequence[int] | None = None,
    binning: Sequence[int] | None = None,
    largest: int = cropping.LARGEST,
    keep_strays: bool = False,
    dead_time: float | str | None = None,
    values: Values | None = None,
    gain: float | None = None,
    offset: float | None = None,
) -> Pattern:
    """The diffraction pattern about the Bragg peak of a scan, or of several scans of one crystal, which are merged.

    Counts stay counts: flat field, monitor and dark are in Pattern.sensitivity and dark, so that likelihoods stay those of counts. What was
    done is in Pattern.preparation, every guess a GuessWarning and one of Pattern.warnings.

    crop: frames, rows and columns of the result; without it, every fringe above noise, as far as `largest` allows.
    centre: (frame, row, column) of the peak, from 0 on; without it, the light that hangs together and has the most counts.
    mask: nonzero is a bad pixel, (rows, columns) of a frame or of the detector, or of the scan; an array or a file, as for `untwin.read`.
    flat, dark, monitor: True: the scan's own. False: none. Or an array or a file: flat and dark of a frame or of the detector, monitor with
        a number for each frame.
    window: (first row, rows, first column, columns) of the detector that the frames show; without it as the scan says, or as the flat does.
    binning: frames, rows and columns that become one; refused where the fringes would be oversampled less than 2.5 times.
    largest: voxels of the result, where no crop is given.
    keep_strays: hot pixels, gaps and light of other crystals are taken as measured.
    dead_time, values, gain, offset: as for `untwin.read`.

    Raises InputError: no peak, a peak at the edge, two equal peaks, a flat of a shape that does not fit, and all that cannot be.
    """
    options = Preparation(
        crop=crop, centre=centre, mask=mask, flat=flat, dark=dark, monitor=monitor, window=window, binning=binning, largest=largest,
        keep_strays=keep_strays, dead_time=dead_time, values=values, gain=gain, offset=offset,
    )  # fmt: skip
    if not (is_int(largest) and largest >= cropping.SMALLEST**3):
        raise InputError(f"largest={largest!r}; expected a whole number of voxels, {cropping.SMALLEST**3} or more, such as {96**3}")
    every = [scans] if isinstance(scans, Scan) else list(scans)
    if not every:
        raise InputError("no scan to prepare; expected one or more, such as untwin.bragg.read_scan reads")
    guesses: list[str] = []
    pattern = _prepared(every, options, guesses)
    for guess in guesses:
        warnings.warn(guess, GuessWarning, stacklevel=2)
    return pattern


def _prepared(scans: list[Scan], options: Preparation, guesses: list[str]) -> Pattern:
    look, *others = (first(scan, options) for scan in scans)
    peak = peak_of(look.survey, options.centre)
    steps = [*look.steps]
    guesses += look.guesses
    good = ~look.detector.bad_in(peak.at[0]) & ~look.survey.hot
    sampling = cropping.first_oversampling(look.survey, peak.at, look.frame(peak.at[0]), good, look.missing | look.dim)
    bins = cropping.checked_binning(options.binning, sampling)
    if options.crop is None:
        box = cropping.chosen(look.survey, peak.at, sampling, options.largest, bins)
    else:
        box = cropping.stated(options.crop, peak.at, look.survey.shape, bins)
    _say_peak(peak, look, options, steps, guesses)
    grids, noise, doubts = cut(look, box, options, guesses)
    grids, noise = merged(grids, noise, look, others, box, options, steps, guesses) if others else (grids, noise)
    grids = _binned(grids, box.binning)
    _say_crop(box, look, steps)
    middle = [float(n // 2) for n in box.array]
    framed = centred(grids, middle, guesses, noise.kind == "photons")
    look_at_sampling(framed, guesses)
    pattern = Pattern(
        intensity=framed.intensity,
        measured=framed.measured,
        geometry=geometry_of(look.scan, peak.at, box, steps, guesses),
        source=_source(scans, look, peak),
        offset=framed.offset,
        asymmetry=framed.asymmetry,
        sensitivity=None if framed.flat is None else detectors.normalised(framed.flat, framed.measured),
        dark=framed.dark,
        doubts=doubts,
        noise=noise,
    )
    if not options.keep_strays:
        pattern = without_strays(pattern, box, MOST if options.centre is None else 1.0, guesses)
    _say_sampling(pattern, steps)
    notes = [note for scan in scans for note in scan.notes]
    return replace(pattern, preparation=tuple(steps), warnings=tuple(dict.fromkeys([*notes, *guesses])))


def _binned(grids: Grids, binning: tuple[int, int, int]) -> Grids:
    """Sums of counts, where all that goes into a pixel was measured; the flat is averaged."""
    if binning == (1, 1, 1):
        return grids
    shape = [n for size, b in zip(grids.intensity.shape, binning) for n in (size // b, b)]

    def blocks(a: np.ndarray) -> np.ndarray:
        return a.reshape(shape)

    measured = np.asarray(blocks(grids.measured).all((1, 3, 5)))
    intensity = np.where(measured, blocks(grids.intensity).sum((1, 3, 5), dtype=np.float64), 0).astype(grids.intensity.dtype)
    flat = None if grids.flat is None else blocks(grids.flat).mean((1, 3, 5))
    dark = None if grids.dark is None else blocks(grids.dark).sum((1, 3, 5))
    return Grids(intensity, measured, flat, dark)


def _source(scans: list[Scan], look: Look, peak: Peak) -> Source:
    files = [f for scan in scans for f in scan.files]
    return Source(
        path=files[0] if files else None,
        shape=look.scan.frames.shape,
        centre=tuple(float(c) for c in peak.at),
        options={"scans": [scan.label for scan in scans]} if len(scans) > 1 else {},
    )


def _say_peak(peak: Peak, look: Look, options: Preparation, steps: list[str], guesses: list[str]) -> None:
    at = _point(peak.at)
    if options.centre is not None:
        steps.append(f"The peak is taken at {at} (frame, row, column), as you say.")
    else:
        steps.append(f"The peak is at {at} (frame, row, column), with {peak.counts:,.0f} counts in its core.")
    for other, share in peak.others:
        guesses.append(
            f"there is another peak at {_point(other)} (frame, row, column) with {100 * share:.2g} % of the counts, and no mirror "
            "image of it: of another crystal? centre= (--centre) chooses it"
        )
    if look.missing[peak.at[0]] or look.dim[peak.at[0]]:
        raise InputError(
            f"frame {peak.at[0]}, at the peak, is missing or has no beam; expected the middle of the peak: choose another scan"
        )


def _say_crop(box: Crop, look: Look, steps: list[str]) -> None:
    share = cropping.share(look.survey, box)
    background = look.survey.dark.sum() / np.prod(look.survey.shape)
    ranges = ", ".join(f"{name} {a} to {a + n - 1}" for name, a, n in zip(AXES, box.start, box.shape))
    beyond = [name for name, a, n, m in zip(AXES, box.start, box.shape, look.survey.shape) if a < 0 or a + n > m]
    outside = f" Of the {' and '.join(beyond)} it reaches beyond the scan: not measured there." if beyond else ""
    steps.append(f"Crop: {ranges}, with {100 * share:.1f} % of all counts.{outside} The dimmest frames have {background:.2g} in a pixel.")
    if box.binning != (1, 1, 1):
        bins = ", ".join(f"{b} {name}" for b, name in zip(box.binning, AXES) if b > 1)
        steps.append(f"Binning: {bins} become one; counts are added up.")


def _say_sampling(pattern: Pattern, steps: list[str]) -> None:
    light, measured = np.fft.fftshift(pattern.corrected().intensity), np.fft.fftshift(pattern.measured)
    sampling = cropping.oversampling(light, measured)
    if np.isnan(sampling).any():
        steps.append("The fringes' oversampling cannot be told: too much of the light was not measured.")
    else:
        above = 100 * cropping.level(pattern.photons)
        each = _each([f"{s:.2g}" for s in sampling])
        steps.append(f"Oversampling of the fringes: {each} along {_each(AXES)} (autocorrelation above {above:.0f} % of its peak).")
    most = cropping.faces(pattern.intensity)
    shares = cropping.beyond(pattern.intensity)
    steps.append(
        f"At the faces the brightest voxel has {_each([f'{m:.0f}' for m in most])} counts ({_each(AXES)}), and the outermost "
        f"voxels {_each([f'{100 * s:.2g}' for s in shares])} % of all counts."
    )


def _each(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _point(at: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, at)) + ")"
