"""What the frames of a 3D array are: slices of a volume, exposures of one pattern, or patterns of which one is to be chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from untwin.data.counts import counted
from untwin.data.framing import Grids
from untwin.data.likeness import FEWEST, Kind, Likeness, likeness, measured_frames
from untwin.data.realspace import resembles_object
from untwin.data.unwritten import empty_frames, numbered
from untwin.errors import InputError

# What an axis is called
_REPEATED = re.compile(r"(t|c|time|exposures?|repetitions?|repeats?|acquisitions?|frames? time)(\b|_|\d)", re.IGNORECASE)
_SCANNED = re.compile(r"(z|rocking|omega|eta|phi|theta|mu|chi|delta|gonio\w*|angle|rotation|depth|q[xyz]?)(\b|_|\d)", re.IGNORECASE)
_EXPECTED = 'expected "volume", "sum", the number of a frame such as 4, or a range such as "3:8"'
_WAYS = "frames= (--frames) chooses: volume, sum, a number or a range such as 3:8"
_PERHAPS = 0.5  # level of the last axis above which frames along it may be different patterns: of true volumes at most 0.02 look like that


@dataclass(frozen=True)
class Choice:
    """frames= of `read`. purpose: "volume", "sum", or "auto", which looks. part: of the frames along `axis`, all if None; one: a single
    frame.

    label: what the file calls the axis, as far as it says what it is.
    """

    purpose: Literal["auto", "volume", "sum"] = "auto"
    part: slice | None = None
    one: bool = False
    axis: int = 0
    label: str = ""

    @property
    def repeated(self) -> bool:
        return _REPEATED.match(self.label) is not None

    @property
    def scanned(self) -> bool:
        return _SCANNED.match(self.label) is not None

    def of(self, array: np.ndarray | None) -> np.ndarray | None:
        """The chosen frames of an array; None of None."""
        if array is None or self.part is None:
            return array
        chosen = array[(slice(None),) * self.axis + (self.part,)]
        return chosen.squeeze(self.axis) if self.one else chosen


def choice(frames: str | int | None, shape: tuple[int, ...], axes: tuple[str, ...], what: str) -> Choice:
    """What is asked for, of an array of this shape, whose axes the file calls so (empty where it does not). Raises InputError."""
    if len(shape) != 3:
        if frames not in (None, "volume", "sum"):
            raise InputError(f"frames={frames}: {what} has {len(shape)} axes and no frames to choose from; leave it out")
        return Choice()
    names = axes if len(axes) == 3 else ("",) * 3
    known = [a for a in (0, 2) if Choice(label=names[a]).repeated]
    axis = known[0] if known else 2 if shape[2] < FEWEST <= min(shape[:2]) else 0
    label = names[axis]
    if frames in (None, "volume", "sum"):
        return Choice(frames or "auto", axis=axis, label=label)  # pyright: ignore[reportArgumentType]
    n = shape[axis]
    number = re.fullmatch(r"\s*(-?\d{1,9})?\s*(:)?\s*(-?\d{1,9})?\s*", str(frames))
    if isinstance(frames, bool) or number is None or number[1] is number[3] is None:
        raise InputError(f"frames={frames!r}: {_EXPECTED}")
    low, colon, high = number.groups()
    if not colon:
        k = int(low or high)
        if not -n <= k < n:
            raise InputError(f"frames={frames}: {what} has {n} frames, 0 to {n - 1}; {_EXPECTED}")
        return Choice(part=slice(k % n, k % n + 1), one=True, axis=axis, label=label)
    first, last, _ = slice(*(None if v is None else int(v) for v in (low, high))).indices(n)
    if last <= first:
        raise InputError(f"frames={frames}: no frame of {n} lies between these; {_EXPECTED}")
    return Choice(part=slice(first, last), one=last == first + 1, axis=axis, label=label)


def empty(values: np.ndarray, bad: np.ndarray, asked: Choice, what: str, guesses: list[str]) -> np.ndarray:
    """bool, in the number of frames (or rows, in 2D: none): those that hold nothing. Said."""
    n = len(values)
    nothing = np.zeros(n, bool)
    if values.ndim != 3 or values.dtype.kind not in "iuf" or asked.axis:
        return nothing
    nothing = empty_frames(values, bad)
    unmasked = nothing & ~np.asarray(bad.reshape(n, -1).all(1))
    if unmasked.any() and not nothing.all():
        first = asked.part.start if asked.part is not None and asked.part.start else 0
        frames = numbered(np.concatenate([np.zeros(first, bool), unmasked]), first + n)
        ended = " The scan was interrupted?" if unmasked[-1] else ""
        guesses.append(f"{frames} hold{'s' if unmasked.sum() == 1 else ''} nothing, where the next ones have counts: not measured.{ended}")
    return nothing


def never_written(missing: np.ndarray, guesses: list[str]) -> None:
    """Say what of an array its file never wrote. missing: bool."""
    text = f"{100 * missing.mean():.2g} % of the pixels"
    if missing.ndim == 3:
        frames = np.asarray(missing.reshape(len(missing), -1).all(1))
        if frames.any() and missing.sum() == frames.sum() * missing[0].size:
            ended = " The scan was interrupted?" if frames[-1] else ""
            hold = "holds nothing: the file never wrote it" if frames.sum() == 1 else "hold nothing: the file never wrote them"
            guesses.append(f"{numbered(frames, len(missing))} {hold}. Not measured.{ended}")
            return
    guesses.append(f"{text} hold nothing: the file never wrote them. Not measured")


@dataclass(frozen=True)
class Arranged:
    """A volume, or one pattern of a stack, whose frames lay along `joined`. doubts: what it may not be, as clauses."""

    grids: Grids
    joined: int | None = None
    doubts: tuple[str, ...] = ()

    def centre(self, centre: Sequence[float] | None) -> Sequence[float] | None:
        """Without the coordinate along the frames, if there is one."""
        if centre is None or self.joined is None or len(centre) != 3:
            return centre
        return [c for axis, c in enumerate(centre) if axis != self.joined]


def arranged(grids: Grids, asked: Choice, what: str, guesses: list[str]) -> Arranged:
    """The volume, or the one pattern that the frames make. Raises InputError where the frames are patterns of their own."""
    if resembles_object(grids.intensity, grids.measured):
        guesses.append(f"{what} looks like an object and not like its diffraction pattern: one body with sharp edges, zero around it")
        return replace(_arranged(grids, replace(asked, purpose="volume"), what, guesses), doubts=("what was read may be an object",))
    pattern = _arranged(grids, asked, what, guesses)
    _require_size(pattern.grids, what if pattern.joined is None else f"a frame of {what}")
    return pattern


def _arranged(grids: Grids, asked: Choice, what: str, guesses: list[str]) -> Arranged:
    if asked.one:
        return Arranged(grids, asked.axis)
    if grids.intensity.ndim != 3:
        return Arranged(grids)
    if asked.purpose == "volume":
        return Arranged(grids)
    axis = asked.axis
    look = likeness(grids.intensity, grids.measured, axis)
    kind = _with_label(look.kind, asked)
    if axis == 0 and kind in ("volume", "perhaps a volume") and min(grids.intensity.shape[:2]) >= FEWEST:
        filled, last = _along_last(grids)
        if last.kind == "exposures" or (last.kind == "different" and last.level > _PERHAPS):
            grids, look, kind, axis = filled, last, last.kind, 2
    if asked.purpose == "sum":
        return Arranged(_summed(grids, axis)[0], axis)
    where = "" if axis == 0 else " along its last axis"
    name = f"{look.frames} frames of {what}{where}"
    called = f" (the file calls this axis {asked.label})" if asked.label and axis == asked.axis else ""
    if kind == "volume":
        if asked.repeated:
            guesses.append(
                f"the file calls axis {axis} of {what} {asked.label}, but a peak passes through its frames: read as a volume; {_WAYS}"
            )
            doubt = f"its frames are a volume, or a series as the file says ({asked.label})"
            return Arranged(grids, doubts=(doubt,))
        return Arranged(grids)
    if kind == "perhaps a volume":
        guesses.append(f"cannot tell whether the {name}{called} are slices of a volume or patterns of their own: read as a volume; {_WAYS}")
        return Arranged(grids, doubts=("its frames may be no volume",))
    if kind == "different":
        raise InputError(_different(look, name, called))
    total, n, way = _summed(grids, axis)
    guesses.append(f"the {name}{called} {_exposures(look, kind, n)}: {way}; {_WAYS}")
    doubts = ("its frames may be no exposures of one pattern",) if kind == "perhaps exposures" else ()
    return Arranged(total, axis, doubts)


def _along_last(grids: Grids) -> tuple[Grids, Likeness]:
    """The stack as one of frames along its last axis, those that hold nothing not measured."""
    gone = empty_frames(np.moveaxis(grids.intensity, 2, 0), np.moveaxis(~grids.measured, 2, 0))
    filled = replace(grids, measured=grids.measured & ~gone)
    return filled, likeness(filled.intensity, filled.measured, 2)


def _with_label(kind: Kind, asked: Choice) -> Kind:
    """What the file calls the axis decides where the values do not."""
    if asked.scanned:
        return {"perhaps a volume": "volume", "different": "perhaps a volume"}.get(kind, kind)  # type: ignore[return-value]
    return "different" if asked.repeated and kind == "perhaps a volume" else kind


def _exposures(look: Likeness, kind: Kind, n: int) -> str:
    if kind == "exposures":
        return "differ by no more than noise, as exposures of one pattern do"
    if look.change - 2 * look.error > 0:
        return f"are nearly the same (they change by {100 * np.sqrt(look.change):.0f} %), as exposures of a pattern that drifts"
    return "have too few photons to tell whether they are exposures of one pattern"


def _different(look: Likeness, name: str, called: str) -> str:
    if look.length < FEWEST:
        why = f"are {look.frames} different patterns, too few for a volume (at least {FEWEST})"
    elif look.level > 0.7 and look.follow > 0.2:
        why = "change from one to the next, but no peak passes through them: a time series, or positions of a scan, and no volume"
    else:
        why = "are patterns that have nothing to do with their neighbours, and no volume"
    return f"the {name}{called} {why}. Take one with frames=4 (--frames 4), some with 3:8, all with sum; volume reads them as one"


def _require_size(grids: Grids, what: str) -> None:
    shape = grids.intensity.shape
    if min(shape) < FEWEST:
        raise InputError(f"{what} has shape {'×'.join(map(str, shape))}; expected at least {FEWEST} pixels along each axis")


def _summed(grids: Grids, axis: int) -> tuple[Grids, int, str]:
    """One pattern, how many frames are in it, and how they were joined. Whole numbers are summed; other numbers are averaged."""
    grids = grids.each(lambda a: np.moveaxis(a, axis, 0))
    some = measured_frames(grids.measured)
    n, where = int(some.sum()), some[:, None, None]
    measured = np.asarray(grids.measured.all(0, where=where))
    if not measured.any():
        raise InputError("no pixel was measured in all frames; choose one with frames= (--frames), or mask less")
    brightest = int(np.argmax(np.where(some, grids.intensity.sum((1, 2), dtype=np.float64), -1)))
    integers = counted(grids.intensity[brightest][measured])
    share = 1 if integers else n
    total = np.where(measured, grids.intensity.sum(0, dtype=np.float64, where=where) / share, 0).astype(np.float32)
    flat = None if grids.flat is None else grids.flat[some].mean(0)
    dark = None if grids.dark is None else grids.dark[some].sum(0) / share
    others = "" if n == len(some) else f" ({len(some) - n} without data left out)"
    return Grids(total, measured, flat, dark), n, ("summed" if integers else "averaged") + others
