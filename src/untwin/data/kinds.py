"""What kind of numbers a pattern's are: photons, photons times a gain, on an offset, their roots or logarithms, or none of these."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from untwin.data import spacing
from untwin.data.noise import Form, Noise, Stated
from untwin.data.scatter import Scatter, scatter_of
from untwin.data.spacing import Comb

# What follows was measured on 300 patterns of poly, defect and complex (not those of benchmarks/kinds.py): 64 to 128 pixels and
# 32 to 48 cubed, 1e4 to 1e7 photons, stored in twenty ways.
_POISSON = (0.7, 1.4)  # variance over mean of what may be called photons; counts: 0.87 to 1.2, a measured crystal that was regridded: 0.82
_TOPS = (1.0, 100.0, 255.0, 1000.0, 1023.0, 4095.0, 10000.0, 65535.0)  # to which people scale: whole numbers that end there are suspect,
_WEAK = 300.0  # photons: where a block has more, an object may leak in,
_LEAK = 4.0  # but not so many times the noise (1e9 photons in 64 x 64: up to 3.2)
_SUSPECT = 0.12  # and must scatter as photons do to within so much
_SURE = 5.0  # standard deviations
_STRAIGHT = 0.25  # |p − 1|, variance ∝ level^p, of the right form; of wrong ones it is 0.4 and more
_CLEAR = 6.0  # of the deviance: so much better is the right form (it is by 9 to 200)
_FITS, _NOISY = 0.8, 0.2  # deviance of a block at most (0.2 to 0.4), and share of the noise at least
_FEW = 12  # blocks
_BRIGHTER = 64  # pixels above the lowest: of fewer the scatter tells nothing
_LEVELS = 8  # distinct whole numbers
_COARSE = 3.0  # rounding to whole numbers scatters by a tenth of so wide a step, and more of a narrower one
_EXACT = 1e-3
_NEXT = 1.5  # times the lowest number above 0
_ONE_PHOTON = 0.6  # error of an offset with which counts are still counts
_CLIPPED = 4  # pixels that share the largest number: a detector's top, and no scale
_FAR = 1e20  # the largest number, or its inverse: beyond it squares of squares leave the range
_WIDE = 3.0  # whole numbers, or hundredths of the gain: a comb with narrower teeth is not seen
_TOOTH = 0.7  # coherence of a comb that read noise has broadened: 0.13 of a step, one count in 8,000 goes to the wrong tooth
_PLAIN = 10.0  # of numbers that are no counts: so near to a photon each, they stay as they are (flat-fielded counts: 0.7 to 1.5; leaks: 4)
_NEAR = 3.0  # photons, of an offset that is not told from another
_SAME_GAIN = 0.3  # |log gain|: a gain so near to 1 that it is not told from it
_SLIGHT = (0.02, 0.001)  # of the pixels, and of the photons, that are negative
_BASES = {"ln": 1.0, "log10": float(np.log(10)), "log2": float(np.log(2))}
_BRIGHT = 2e4  # photons in a pixel where the dark blocks are: more is no counting (simulated without noise: 1e5 and more; 1e9 photons: 5e3)
_ENOUGH, _PRETEND = 1e3, 1e8  # without noise: a smaller sum is no number of photons, and is scaled to this


_NAMES = {"amplitude": "values are {}", "logarithm": "values are logarithms ({})"}
_TAKEN = {
    "intensity": "taken so, and turned back into photons",
    "amplitude": "taken as amplitudes and squared",
    "logarithm": "taken as logarithms and undone",
}
_COUNTS = "they look like counts of photons as they are"
_OTHERWISE = "values=, gain= and offset= (--values, --gain, --offset) say otherwise"


@dataclass(frozen=True, eq=False)
class Kind:
    """What the numbers are. intensity: float64, the grid in photons; None where the numbers are photons already. sentence: what to say."""

    noise: Noise
    intensity: np.ndarray | None = None
    sentence: str = ""


@dataclass(frozen=True, eq=False)
class Undone:
    """The numbers with a form undone. values: the grid, 0 where not measured. comb: on which they all lie. name: of the form, for
    sentences."""

    form: Form
    name: str
    values: np.ndarray
    comb: Comb | None = None


def kind_of(values: np.ndarray, measured: np.ndarray, form: Form | None = None, zeros: np.ndarray | None = None) -> Kind:
    """values, measured: (*grid); the measured ones finite. form: as the user says it. zeros: bool, measured pixels whose number is the
    logarithm of zero (−inf)."""
    values = np.where(measured, values, 0)
    inside = measured if zeros is None else measured & ~zeros
    top = float(np.abs(values[inside]).max(initial=0))
    if values.dtype.kind == "f" and top > 0 and not 1 / _FAR < top < _FAR:
        scale = 2.0 ** np.rint(np.log2(top))
        near = values / scale if scale > 1 else values.astype(np.float64) * 2.0**500 / (scale * 2.0**500)  # what is denormal has no inverse
        kind = kind_of(near, measured, form, zeros)
        noise = replace(kind.noise, gain=float(kind.noise.gain * scale), offset=float(kind.noise.offset * scale))
        return Kind(noise, near if kind.intensity is None else kind.intensity, f"divided by {scale:.3g}; {kind.sentence}")
    if values.dtype.kind == "f":
        usual = np.abs(values[inside & (values != 0)])[:: values.size // 100_000 + 1]
        values = np.where(np.abs(values) < (float(np.median(usual)) if len(usual) else 0.0) / _FAR, 0, values)
    undone = _by_comb(values, inside, form, zeros) or _by_scatter(values, measured, inside, form, zeros)
    return _on_comb(undone, undone.comb, measured) if undone.comb else _off_comb(undone, measured)


def stated(values: np.ndarray, measured: np.ndarray, by_user: Stated, zeros: np.ndarray | None = None) -> Kind:
    """As `kind_of`, of numbers of which the user says something: that is taken as it is, and a sentence says where the numbers do not look
    like it."""
    name, form, gain, offset = by_user.values, by_user.form, by_user.gain, by_user.offset
    if name != "photons" and gain is None:
        shifted = values if offset is None or form not in (None, "intensity") else np.where(measured, values - offset, 0)
        kind = kind_of(shifted, measured, form, zeros)
        looks = _look(values, measured, offset, zeros)
        if offset is not None and kind.noise.offset:  # of the user is the last word
            text = f"an offset of {offset:g} is subtracted, as you say; but {_what(looks)}"
            return Kind(Noise("unknown", 1.0, offset), shifted, text)
        noise = replace(kind.noise, kind="unknown" if name == "intensity" else kind.noise.kind, offset=kind.noise.offset + (offset or 0.0))
        intensity = shifted if kind.intensity is None else kind.intensity
        return Kind(noise, intensity, "" if name == "intensity" else _doubt(noise, looks, form))
    values = np.where(measured, values, 0)
    inside = measured if zeros is None else measured & ~zeros
    if form in (None, "intensity"):
        undone = Undone("intensity", "", values)
    else:
        undone = _by_comb(values, inside, form, zeros) or _by_scatter(values, measured, inside, form, zeros)
        if undone.comb and undone.comb.start == undone.comb.step:  # log(1 + n)
            offset = undone.comb.start if offset is None else offset
    noise = Noise("unknown" if name == "intensity" else "photons", gain or 1.0, offset or 0.0, undone.form)
    looks = _look(values, measured, offset, zeros)
    return Kind(noise, np.where(measured, (undone.values - noise.offset) / noise.gain, 0), _doubt(noise, looks, form))


def _look(values: np.ndarray, measured: np.ndarray, offset: float | None, zeros: np.ndarray | None) -> Kind:
    """What the numbers look like by themselves, or where they are photons on an offset below 0, which they do not tell, with this."""
    if offset is not None and offset < 0:
        kind = kind_of(np.where(measured, values - offset, 0), measured, None, zeros)
        if kind.noise.kind == "photons" and not kind.noise.offset and kind.noise.form == "intensity":
            return replace(kind, noise=replace(kind.noise, offset=offset))
    return kind_of(values, measured, None, zeros)


def _what(looks: Kind) -> str:
    """What the numbers look like, without what would have been done about it."""
    return looks.sentence.partition(":")[0] or _COUNTS


def _doubt(noise: Noise, looks: Kind, form: Form | None) -> str:
    """Where the numbers do not look like what the user says of them, a sentence."""
    seems = looks.noise
    name = {"intensity": "photons", "amplitude": "amplitudes", "logarithm": "a logarithm"}[form or noise.form]
    if form is not None and noise.form != form:
        return f"the values cannot be {name}, as you say: {looks.sentence or 'taken as counts of photons as they are'}"
    same = seems.form == noise.form and seems.kind == "photons" and abs(np.log(seems.gain / noise.gain)) <= _SAME_GAIN
    if noise.kind != "photons" or (same and abs(seems.offset - noise.offset) <= _NEAR * noise.gain):
        return ""
    gain = f" with a gain of {noise.gain:g}" if noise.gain != 1 else ""
    offset = f" and an offset of {noise.offset:g}" if noise.offset else ""
    return f"taken as {name}{gain}{offset}, as you say; but {_what(looks)}"


def _by_comb(values: np.ndarray, inside: np.ndarray, form: Form | None, zeros: np.ndarray | None) -> Undone | None:
    """The form in which the numbers are multiples of one."""
    numbers = spacing.sample(values[inside])
    least = numbers[0]
    if form in (None, "intensity") and zeros is None:
        straight, shifted = spacing.comb(numbers[numbers >= 0]), spacing.comb(numbers, None) if least > 0 else None
        if (numbers == np.rint(numbers)).all() and (not straight or len(np.unique(numbers)) <= _LEVELS or _within_rounding(straight.step)):
            straight = Comb(1.0)  # a few whole numbers have a common divisor by chance
        if shifted and abs(least / shifted.step - np.rint(least / shifted.step)) > 0.05:
            straight = shifted
        if straight:
            return Undone("intensity", "", values, straight)
    if form in (None, "amplitude") and zeros is None and least >= 0:
        squares = spacing.comb(numbers**2, coarse=2)
        if squares:
            squares = replace(squares, step=_one(squares.step))
            return Undone("amplitude", "square roots", values.astype(np.float64) ** 2, squares)
    if form in (None, "logarithm"):
        positive = numbers[numbers > 0]
        bases = {**_BASES, **({"log": float(np.log(2) / positive[0])} if len(positive) and least >= 0 else {})}
        for name, c in bases.items():
            if c * numbers[-1] > 60 or c * least < -60:
                continue
            coarse = max(1.0, float(c * np.abs(numbers).max()))
            teeth = spacing.comb(np.exp(c * numbers), 0.0 if zeros is not None or name == "log" or least < 0 else None, coarse)
            if teeth:
                teeth = replace(teeth, step=_one(teeth.step), start=_one(teeth.start))
                if name == "log" and zeros is None:
                    teeth = replace(teeth, start=teeth.step)  # log(1 + n)
                return Undone("logarithm", name, _power(values, c, zeros), teeth)
    return None


def _within_rounding(step: float) -> bool:
    """Whether whole numbers that lie on multiples of a step that is none do so by chance: they are rounded by too much of it."""
    return step < _COARSE and abs(step - np.rint(step)) > _COARSE * _EXACT


def _power(values: np.ndarray, c: float, zeros: np.ndarray | None) -> np.ndarray:
    power = np.exp(np.minimum(c * values.astype(np.float64), 70))
    return power if zeros is None else np.where(zeros, 0, power)


def _by_scatter(values: np.ndarray, measured: np.ndarray, inside: np.ndarray, form: Form | None, zeros: np.ndarray | None) -> Undone:
    """The form in which the variance is most nearly in proportion to the mean; intensity where none is clearly better."""
    choices = [Undone("intensity", "", values)]
    least, most = float(values[inside].min()), float(values[inside].max())
    if least >= 0 and zeros is None:
        choices.append(Undone("amplitude", "square roots", values.astype(np.float64) ** 2))
    for name, c in _BASES.items():
        if c * most < 60 and c * least > -60 and c * (most - least) > 1:
            # log(1 + n) where the smallest is 0, log(n) otherwise
            power = _power(values, c, zeros) - (1 if zeros is None and least == 0 else 0)
            choices.append(Undone("logarithm", name, np.where(measured, power, 0)))
    if form is not None:
        choices = [u for u in choices if u.form == form] or choices[:1]
    if len(choices) == 1:
        return choices[0]
    blocks = [scatter_of(u.values, measured, hot=True) for u in choices]  # the same blocks of each
    clean = [k for k, b in enumerate(blocks) if choices[k].form != "logarithm" and _clean(b)]
    if clean and form is None:
        return choices[clean[0]]
    level = blocks[0].less(float(np.quantile(values[measured], 0.02)))
    fano = level.fano()[0]
    many = max(int((level.level > 0.3 * fano).sum()), min(3 * _FEW, int((level.level > 0).sum())))
    if many < _FEW:
        return choices[0]
    marks = [b.misfit(many) for b in blocks]
    best, *others = sorted(range(len(marks)), key=lambda k: marks[k][0])
    other = next((k for k in others if choices[k].form != choices[best].form), best)
    clear = marks[other][0] - marks[best][0] > _CLEAR and marks[best][0] < _FITS * many and marks[best][1] > _NOISY
    return choices[best] if clear or form is not None else choices[0]


def _slight(numbers: np.ndarray) -> bool:
    """Whether so little is negative that the rest are counts all the same."""
    negative = numbers[numbers < 0]
    few = len(negative) < _SLIGHT[0] * len(numbers) and -negative.sum() < _SLIGHT[1] * numbers.sum()
    return few and numbers.min() >= -1


def _clean(level: Scatter) -> bool:
    """Whether the scatter is less than any counting would leave: a simulation without noise."""
    return bool(level.measurable and level.fano()[0] * _BRIGHT < level.level[: int(0.8 * len(level.level))].mean())


def _on_comb(undone: Undone, teeth: Comb, measured: np.ndarray) -> Kind:
    """Whole numbers times a step, and perhaps an offset."""
    n = np.where(measured, teeth.counts(undone.values), 0)
    counts = n[measured]
    if counts.min() < 0 and _slight(counts):
        counts = np.maximum(counts, 0)
    numbers = spacing.sample(counts)
    lowest = max(float(numbers[int(0.001 * len(numbers))]), 0.0)
    level = scatter_of(np.where(measured, n - lowest, 0) if lowest else n, measured)
    fano, error = level.less(-lowest).fano()
    top = numbers[-1] in _TOPS and (counts == numbers[-1]).sum() < _CLIPPED
    if top or fano > 1 + 2 * error:
        _, _, g, g_error = level.dark()
        steps = [x * (1 + sign * 3 * max(e, 0.05)) for x, e in ((g, g_error), (fano, error)) if e < 0.3 for sign in (-1, 1)]
        rounded = spacing.rounded_comb(numbers, min(steps), max(steps)) if steps else None
        if rounded and rounded[0] > 1:
            teeth = Comb(rounded[0] * teeth.step, teeth.start - rounded[1] * 0.5 * teeth.step)
            return _photons(undone, teeth, measured, "rounded to whole numbers as in an image of 8 or 16 bits")
    if camera := _camera(undone, spacing.sample(counts, bright=True), lowest, level, teeth, measured):
        return camera
    decimal = undone.form == "intensity" and _decimal(teeth.step)
    suspect = undone.form == "intensity" and (decimal or top)
    shift, error = _offset(level, numbers, lowest, free=teeth.start != 0)
    if shift > 0 and not suspect and teeth.start == 0 and _leaks(level.less(-lowest)):
        shift = 0.0  # they are counts as they are: where an object leaks in, the line bends
    numbers, level = numbers - shift, level.less(shift - lowest)
    teeth = replace(teeth, start=teeth.start + shift * teeth.step)
    measurable = level.measurable and np.count_nonzero(counts > lowest) >= _BRIGHTER
    if numbers[0] < 0 or not measurable:
        return _unknown(undone, level, teeth, measured) if numbers[0] < 0 or decimal else _photons(undone, teeth, measured)
    exact = not shift or error < max(_ONE_PHOTON, 0.05 * float(numbers[len(numbers) // 20]))
    if exact and _poisson(level, numbers, suspect):
        return _photons(undone, teeth, measured)
    return _unknown(undone, level, teeth, measured)


def _poisson(level: Scatter, numbers: np.ndarray, suspect: bool) -> bool:
    """Whether whole numbers, sorted, scatter as counts do. suspect: only if they surely do."""
    levels = np.unique(numbers[numbers > 0])[:2]
    cut = numbers[0] == 0 and len(levels) and levels[0] > 1 and levels[-1] <= _NEXT * levels[0]  # of scaled counts the next is twice it
    least = 3 * float(levels[0]) if cut else 0.0  # below, a threshold cuts
    fano, error = level.fano(least)
    p, p_error = level.power(least)
    lowest, lowest_error = level.lowest(max(least, 1.0))
    few = (
        fano * (1 + _SURE * error) < _POISSON[0] or lowest * (1 + _SURE * lowest_error) < _POISSON[0] or p < 1 - _STRAIGHT - _SURE * p_error
    )
    weak, weak_error = level.upto(_WEAK).fano(least)
    straight = abs(p - 1) < _STRAIGHT + 3 * p_error and p_error < _STRAIGHT
    many = straight and (weak * (1 - 3 * weak_error) > _POISSON[1] or fano * (1 - 3 * error) > _LEAK)
    if suspect:
        bright, bright_error = level.fano(1.0)
        few = few or not (abs(bright - 1) < _SUSPECT and bright_error < _SUSPECT) or numbers[-1] == _TOPS[-1]
    return not (few or many)


def _leaks(level: Scatter) -> bool:
    """Whether the variance is in proportion to the mean, or more where an object leaks in."""
    fano, _ = level.fano()
    p, error = level.power()
    return _POISSON[0] < fano < _LEAK and abs(p - 1) < _STRAIGHT + 2 * error and error < _STRAIGHT


def _offset(level: Scatter, numbers: np.ndarray, lowest: float, free: bool) -> tuple[float, float]:
    """(whole numbers below which there are no photons, error): where the line of variance over level meets zero. level: less `lowest`.
    numbers: sorted. free: no zero is known, so that the offset may be negative, too."""
    if not level.measurable or (lowest <= 0 and not free):
        return 0.0, 0.0
    above, error, _, _ = level.dark()
    where = lowest + above
    if not np.isfinite(where) or abs(where) < _SURE * error or (where > 0 and where < 0.2 * lowest) or (where < 0 and not free):
        return 0.0, error if free else 0.0
    if where > numbers[int(0.1 * len(numbers))]:  # read noise goes below it
        where = min(where, float(np.median(numbers)))
    else:
        where = min(where, lowest)
    return float(np.rint(where)), error


def _camera(undone: Undone, numbers: np.ndarray, lowest: float, level: Scatter, teeth: Comb, measured: np.ndarray) -> Kind | None:
    """Photons times a gain on an offset, broadened by read noise that leaves the teeth of the comb apart. numbers: in steps of `teeth`, of
    which read noise is broader, sorted; level: of the same, less `lowest`."""
    if not level.measurable:
        return None
    above, where_error, g, error = level.dark()
    if not error < 0.4 or g < _WIDE:
        return None
    broad = spacing.broad_comb(numbers, g, max(error, 0.12))
    if broad is None or broad[1] < _TOOTH:
        return None
    tooth, noise = broad[0], broad[0].step * np.sqrt(-np.log(broad[1]) / (2 * np.pi**2))
    where = lowest + above + noise**2 / g
    # the lowest tooth, unless the line says that no pixel is dark
    below = round((tooth.start - where) / tooth.step) if tooth.start - where > max(4 * where_error, 0.5 * tooth.step) else 0
    comb = Comb(tooth.step * teeth.step, teeth.start + (tooth.start - below * tooth.step) * teeth.step)
    if where_error > tooth.step:
        return _unknown(undone, level, comb, measured, 1.0)
    return _photons(undone, comb, measured, f"with read noise of {abs(noise) * teeth.step:.2g}")


def _off_comb(undone: Undone, measured: np.ndarray) -> Kind:
    """No comb: a flat field, read noise, a simulation without noise."""
    inside = undone.values[measured]
    numbers = spacing.sample(inside)
    lowest = max(float(numbers[int(0.001 * len(numbers))]), 0.0)
    level = scatter_of(np.where(measured, undone.values - lowest, 0), measured)
    above, error, g, g_error = level.dark() if level.measurable else (np.nan, np.inf, np.nan, np.inf)
    if undone.form == "intensity" and g_error < 0.2:
        unit = Comb(g / 100)  # so that the comb is one of many steps
        if camera := _camera(
            undone, spacing.sample(inside, bright=True) / unit.step, lowest / unit.step, level.over(unit.step), unit, measured
        ):
            return camera
    offset = 0.0
    if lowest > 0 and not _clean(level) and lowest + above > max(_SURE * error, 0.2 * lowest):
        offset = min(lowest + above, float(np.median(numbers)))
    return _unknown(undone, level.less(offset - lowest), Comb(1.0, offset), measured)


def _photons(undone: Undone, teeth: Comb, measured: np.ndarray, how: str = "") -> Kind:
    noise = Noise("photons", teeth.step, teeth.start, undone.form)
    if noise == Noise():
        return Kind(noise)
    if undone.form == "intensity":
        text = "the values are photons" + (f" times {noise.gain:.4g}" if noise.gain != 1 else "")
        text += f" on an offset of {noise.offset:.5g}" if noise.offset else ""
        text += f", {how}" if how else ""
    else:
        text = _NAMES[undone.form].format(undone.name) + " of counts" + (f" times {noise.gain:.4g}" if noise.gain != 1 else "")
    return Kind(noise, np.where(measured, teeth.counts(undone.values), 0), f"{text}: {_TAKEN[undone.form]}; {_OTHERWISE}")


def _unknown(undone: Undone, level: Scatter, teeth: Comb, measured: np.ndarray, gain: float | None = None) -> Kind:
    """level: of the numbers in steps of `teeth`, less its start."""
    inside = undone.values[measured]
    total = float((inside - teeth.start).sum(dtype=np.float64))
    if gain is not None:
        gain *= teeth.step
    else:
        gain = _effective(level, teeth.step, total, undone.comb is not None and inside.min() >= 0)
        gain = 1.0 if undone.form == "intensity" and 1 / _PLAIN < gain < _PLAIN else gain
    noise = Noise("unknown", gain, teeth.start, undone.form)
    if undone.form != "intensity":
        why = _NAMES[undone.form].format(undone.name) + f" of no counts: {_TAKEN[undone.form]}"
    elif (inside == np.rint(inside)).all():
        why = "the values are whole numbers but not counts of photons, because "
        why += "some are negative" if inside.min() < 0 else "they scatter otherwise"
    else:
        share = 100 * np.mean(inside != np.rint(inside))
        why = f"{share:.0f} % of the values are not integers, nor multiples of another number: not counts of photons"
        p, error = level.power()
        if p < 1 - _STRAIGHT - 2 * error:
            why += " (perhaps amplitudes, square roots of an intensity, or logarithms)"
    offset = f"an offset of {noise.offset:.5g} is subtracted" if noise.offset else ""
    scale = f"divided by {gain:.4g}, at which they scatter most nearly as photons do" if gain != 1 else ""
    what = "; ".join(t for t in (why, offset, scale) if t)
    text = f"{what}; what presumes counting noise cannot be told; {_OTHERWISE}"
    if noise == Noise("unknown"):
        return Kind(noise, None, text)
    return Kind(noise, np.where(measured, (undone.values - noise.offset) / gain, 0), text)


def _effective(level: Scatter, step: float, total: float, rounded: bool) -> float:
    """The gain at which the noise is most nearly that of photons; 1 where it cannot be told, or is that. In units of the numbers; level: in
    steps."""
    if not level.measurable:
        return 1.0
    if _clean(level):
        return 1.0 if total > _ENOUGH else total / _PRETEND
    _, _, g, error = level.dark()
    least, _ = level.lowest(1.0, 0.35)
    if rounded and least < 0.7:  # the dark ones are lost, the bright ones scatter as they did
        g = least
    elif error > 0.3 or level.power()[1] > 0.5:
        return 1.0
    return 1.0 if abs(np.log(g * step)) < _SAME_GAIN else float(g * step)


def _decimal(step: float) -> bool:
    """Numbers that were written with so many decimals."""
    power = np.log10(step)
    return bool(abs(power - np.rint(power)) < 1e-5 and step < 1)


def _one(number: float) -> float:
    """1, but for rounding."""
    return 1.0 if abs(number - 1) < 1e-5 else number
