"""A scan whose frames are files of their own, beside a log."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from untwin.bragg.reading import files as sorting
from untwin.bragg.reading import fio, rows, spec
from untwin.bragg.reading.log import Log
from untwin.bragg.reading.names import NAMES, Names, recognised
from untwin.bragg.reading.source import Source
from untwin.data import folder
from untwin.errors import InputError


def log_of(files: sorting.Files, number: str, notes: list[str]) -> Log | None:
    """The scan of the log that is meant: by its number, or by that in the names of the frames, or the only one with rows; None where no
    log was named. Raises InputError where several may be."""
    if not files.logs:
        return None
    kinds = {kind for _, kind in files.logs}
    if kinds == {"fio"}:
        return _fio(files, number)
    if len(files.logs) > 1:
        names = ", ".join(f.name for f, _ in files.logs[:5])
        raise InputError(f"{len(files.logs)} logs: {names}; name the frames and one log")
    path = files.logs[0][0]
    count = spec.scans(path)
    if not count:
        raise InputError(f"{path.name} has no scan (#S); it is cut short: copy it again")
    if number:
        return spec.read(path, _asked(count, number, path))
    groups = [g for g in files.groups.values() if len(g) >= 3]
    near = sorting.numbered(groups[0][0]) if len(groups) == 1 else []
    measured = [key for key, n in count.items() if n >= 3]
    by_name = [key for n in near for key in measured if key.partition(".")[0] == str(n)]
    if by_name:
        return spec.read(path, by_name[-1] if len({k.partition(".")[0] for k in by_name}) == 1 else by_name[0])
    if len(measured) == 1:
        notes.append(f"{path.name} has one scan with rows, {measured[0]}: it is taken")
        return spec.read(path, measured[0])
    raise InputError(f"which scan of {path.name}? It has {spec.listed(measured)}; number= (--number) chooses")


def _asked(count: dict[str, int], number: str, path: Path) -> str:
    again = [key for key in count if key.partition(".")[0] == number]
    if number in count and len(again) < 2:
        return number
    if "." in number and (number in count or number.removesuffix(".1") in count):
        return number if number in count else number.removesuffix(".1")
    if len(again) > 1:
        text = ", ".join(f"{key} with {count[key]} rows" for key in again)
        longest = [key for key in again if count[key] == max(count[k] for k in again)]
        if len(longest) == 1 and sorted(count[k] for k in again)[-2] < 3:
            return longest[0]
        raise InputError(f"scan {number} stands {len(again)} times in {path.name}: {text}; number='{again[-1]}' takes the last")
    raise InputError(f"{path.name} has no scan {number}; it has {spec.listed([k for k, n in count.items() if n] or list(count))}")


def _fio(files: sorting.Files, number: str) -> Log:
    logs = [path for path, _ in files.logs]
    if number:
        logs = [p for p in logs if (m := re.search(r"(\d+)$", p.stem)) and str(int(m[1])) == number] or logs
    if len(logs) > 1:
        raise InputError(
            f"{len(logs)} logs: {', '.join(p.name for p in logs[:5])}; number= (--number) chooses the scan, or name one folder"
        )
    return fio.read(logs[0])


def source(files: sorting.Files, log: Log | None, names: Names, number: int | None, notes: list[str]) -> Source:
    """The frames, of a folder with those of many scans the ones that the log numbers. Raises InputError."""
    chosen = sorting.frames(files, number)
    counter = log.column(*names.image) if log is not None and names.image else None
    if log is not None and counter is not None:
        wanted = {int(n) for n in counter[1][np.isfinite(counter[1])]}
        part = [f for f in chosen if _last(f) in wanted]
        if not part:
            first = sorted(wanted)
            raise InputError(
                f"{log.what} has the frames {first[0]} to {first[-1]} ({counter[0]}), none of which is among {len(chosen)} files such as "
                f"{chosen[0].name}: is it the log of another scan?"
            )
        chosen = part
    own: list[str] = []
    stack = folder.of_files(chosen, str(chosen[0].parent), own)  # what it says of missing frames is said with the rows of the log
    if log is None:
        notes += own
    shape = stack.entry.shape
    return Source(
        (shape[0], shape[1], shape[2]),
        stack.entry.dtype,
        stack.frame,
        tuple(str(f) for f in stack.files),
        _varying(stack.files),
        label=re.sub(r"[-_.]?[0-9]+$", "", stack.files[0].stem) or stack.files[0].parent.name,
    )


def match(frames: Source, log: Log | None, names: Names, notes: list[str]) -> rows.Match:
    """Each frame with its row. Raises InputError."""
    count = frames.shape[0]
    measured = rows.sums(frames.shape, frames.dtype.itemsize, frames.load) if len(set(frames.names)) == count else None
    if log is None or not log.rows:
        _doubled(measured, frames, notes)
        return rows.Match(np.arange(count), np.arange(count))
    counter = log.column(*names.image) if names.image else None
    if counter is not None and frames.numbers is not None:
        at = {int(n): k for k, n in enumerate(counter[1]) if np.isfinite(n)}
        pairs = np.array([(k, at[n]) for k, n in enumerate(frames.numbers) if n in at])
        if len(pairs):
            _doubled(measured, frames, notes)
            return rows.matched(pairs, count, log.rows, np.zeros(count, bool), log.what, [])
    total, brightest = log.column(*names.total), log.column(*names.brightest)
    if measured is not None and total is not None:
        return rows.by_sums(measured, total[1], None if brightest is None else brightest[1], log.what)
    _doubled(measured, frames, notes)
    by_name = rows.by_numbers(frames.numbers, log.rows, log.what) if frames.numbers else None
    return by_name if by_name is not None else rows.by_count(count, log.rows, log.what)


def _doubled(measured: rows.Sums | None, frames: Source, notes: list[str]) -> None:
    if measured is not None and measured.again.any():
        k = int(np.flatnonzero(measured.again)[0])
        more = f" ({int(measured.again.sum())} such pairs)" if measured.again.sum() > 1 else ""
        notes.append(f"{Path(frames.names[k - 1]).name} and {Path(frames.names[k]).name} are equal in every pixel{more}: one frame twice?")


def _last(file: Path) -> int | None:
    digits = re.findall(r"\d+", file.stem)
    return int(digits[-1]) if digits else None


def _varying(files: tuple[Path, ...]) -> list[int] | None:
    """The number in the names that counts the frames."""
    table = [tuple(map(int, re.findall(r"[0-9]+", f.stem))) for f in files]
    columns = [list(c) for c in zip(*table) if len(set(c)) > 1]
    return columns[0] if len(columns) == 1 else None


def beamline_of(log: Log, detector: str) -> str | None:
    """By the names in the log, or by that of the detector."""
    key = recognised(log.names())
    return key or next((k for k in NAMES if detector.lower().startswith(k)), None)
