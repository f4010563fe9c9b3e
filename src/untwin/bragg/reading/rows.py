"""Which row of the log each frame belongs to."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from untwin.data.unwritten import numbered
from untwin.errors import InputError

_SAME = 0.5  # of the frames have their sums in the log: fewer, and it is the log of another scan
_DIGITS = 6  # that spec prints at least, of a counter
_CHECKED = 2**31  # bytes of frames whose sums are taken


@dataclass(frozen=True, eq=False)
class Match:
    """frame, row: (points,) whole numbers; a frame of −1 is not there, though its neighbours are. notes: sentences."""

    frame: np.ndarray
    row: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sums:
    """Of each frame: total, brightest (frames,) float64; again: (frames,) bool, equal to the one before in every pixel."""

    total: np.ndarray
    brightest: np.ndarray
    again: np.ndarray


def sums(shape: tuple[int, int, int], itemsize: int, load: Callable[[int], np.ndarray]) -> Sums | None:
    """One frame at a time; None where they are too many to be read for it."""
    if np.prod(shape, dtype=object) * itemsize > _CHECKED:
        return None
    total, brightest, again = np.zeros(shape[0]), np.zeros(shape[0]), np.zeros(shape[0], bool)
    before = None
    for k in range(shape[0]):
        frame = load(k)
        total[k], brightest[k] = frame.sum(dtype=np.float64), frame.max()
        again[k] = before is not None and bool(total[k]) and total[k] == total[k - 1] and np.array_equal(frame, before)
        before = frame
    return Sums(total, brightest, again)


def by_sums(measured: Sums, total: np.ndarray, brightest: np.ndarray | None, what: str) -> Match:
    """Frames in the order of the log, each with the row that has its sum and its maximum: a frame that is lost or doubled shows.
    Raises InputError where they are of another scan."""
    ours, theirs = _keys(measured.total, measured.brightest if brightest is not None else None), _keys(total, brightest)
    blocks = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    same = sum(b.size for b in blocks)
    if same < _SAME * min(len(ours), len(theirs)):
        first = ", ".join(f"{s:,.0f}" for s in measured.total[:4])
        other = ", ".join(f"{s:,.0f}" for s in total[:4])
        raise InputError(
            f"{what} is the log of another scan: {same} of {len(ours)} frames have their sum in it. The frames' sums begin {first}, "
            f"those of the log {other}. number= (--number) chooses the scan"
        )
    pairs, differ = [], 0
    frame = row = 0
    for block in blocks:  # between two that fit, as many frames as rows belong together though their sums differ
        if block.a - frame == block.b - row and (pairs or block.a == block.b):
            pairs += [(frame + k, row + k) for k in range(block.a - frame)]
            differ += block.a - frame
        pairs += [(block.a + k, block.b + k) for k in range(block.size)]
        frame, row = block.a + block.size, block.b + block.size
    notes = []
    if differ:
        notes.append(f"the sums of {differ} of {len(ours)} frames are not those of {what}: their neighbours fit, so they are used")
    if pairs[0][0] != pairs[0][1]:
        notes.append(f"frame {pairs[0][0]} and row {pairs[0][1]} of {what} belong together, by their sums")
    return matched(np.array(pairs), len(ours), len(theirs), measured.again, what, notes)


def _keys(total: np.ndarray, brightest: np.ndarray | None) -> list[tuple[str, ...]]:
    """As far as a log prints them."""
    columns = [total] if brightest is None else [total, brightest]
    return [tuple(f"{v:.{_DIGITS}g}" for v in row) for row in zip(*columns)]


def by_numbers(numbers: list[int], rows: int, what: str) -> Match | None:
    """By the numbers in the names of the frames, where these jump, or begin late, and count the points from 0 or 1; None else."""
    low, high = min(numbers), max(numbers)
    base = low if low in (0, 1) else 0 if high == rows - 1 else 1 if high == rows else None
    if base is None or len(set(numbers)) < len(numbers) or (low in (0, 1) and high - low + 1 == len(numbers)):
        return None
    pairs = [(k, n - base) for k, n in enumerate(numbers) if n - base < rows]
    return matched(np.array(pairs), len(numbers), rows, np.zeros(len(numbers), bool), what, []) if pairs else None


def by_count(count: int, rows: int, what: str) -> Match:
    """One after the other, with a sentence where the counts differ."""
    few, notes = min(count, rows), []
    if few <= _SAME * max(count, rows):
        times = f": {count // rows} for each? Several exposures at a point are to be summed first" if count % rows == 0 else ""
        raise InputError(f"{count} frames and {rows} rows of {what} do not belong together{times}. number= (--number) chooses the scan")
    if count != rows:
        rest = f"the last {count - few} frames have no row and are" if count > rows else f"the last {rows - few} rows have no frame and are"
        notes.append(
            f"{count} frames and {rows} rows of {what}: {rest} not used. Nothing in the log tells which belong together: if frames are "
            "missing at the start, the angles are off by as many steps"
        )
    return Match(np.arange(few), np.arange(few), tuple(notes))


def matched(pairs: np.ndarray, count: int, rows: int, again: np.ndarray, what: str, notes: list[str]) -> Match:
    """Frames without a row are dropped, rows without a frame, too, but between others, where they are points that were not measured."""
    frame, row = pairs[:, 0], pairs[:, 1]
    lonely = np.ones(count, bool)
    lonely[frame] = False
    if lonely.any():
        twins = again | np.append(again[1:], False)
        doubled = " (it is its neighbour once more)" if (lonely & twins).sum() == lonely.sum() == 1 else ""
        have = "has" if lonely.sum() == 1 else "have"
        notes.append(f"{numbered(lonely, count)} {have} no row in {what}{doubled}: not used")
    points = np.arange(row[0], row[-1] + 1)
    index = np.full(len(points), -1)
    index[row - row[0]] = frame
    ends = np.zeros(rows, bool)
    ends[: row[0]] = True
    ends[row[-1] + 1 :] = True
    if ends.any():
        have = "has" if ends.sum() == 1 else "have"
        notes.append(f"{numbered(ends, rows).replace('frame', 'row')} of {what} {have} no frame: not used")
    if (index < 0).any():
        gone = np.zeros(rows, bool)
        gone[points[index < 0]] = True
        notes.append(f"frames are missing at {numbered(gone, rows).replace('frame', 'row')} of {what}: these points are not measured")
    return Match(index, points, tuple(notes))
