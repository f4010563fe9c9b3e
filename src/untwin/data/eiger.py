"""Frames that a detector spreads over several files: data_000001, data_000002, ... behind a master file, as DECTRIS writes them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.header import Entry, affordable
from untwin.errors import InputError

if TYPE_CHECKING:
    from untwin.data.hdf5 import Tree

_PART = re.compile(r"data_(\d{6})")
_FILE = re.compile(r"(.+)_data_\d{6}(\.\w+)")
_GAP = 0.2  # of the frames: more of them missing is no measurement any more


@dataclass(frozen=True, eq=False)
class Series:
    """values: (frames, y, x), in order. absent: bool, True for a frame whose file is not there; its values are 0."""

    values: np.ndarray
    absent: np.ndarray


@dataclass(frozen=True, eq=False)
class Parts:
    """path: of the group. lengths: frames in each part, by its number, in order. present: the numbers of those that are there. shape:
    (frames, rows, columns) of all together."""

    path: str
    lengths: dict[int, int]
    present: frozenset[int]
    shape: tuple[int, int, int]
    dtype: np.dtype

    def name(self, number: int) -> str:
        return f"{self.path.rstrip('/')}/data_{number:06d}"


def parts(group: Any) -> list[str]:
    """The names data_000001, ... in a group, in order; nothing is followed."""
    import h5py

    return sorted(n for n in map(str, group) if _PART.fullmatch(n)) if isinstance(group, h5py.Group) else []


def is_part(path: str) -> bool:
    return _PART.fullmatch(path.rsplit("/", 1)[-1]) is not None


def series_path(tree: Tree) -> str | None:
    """The group of an entry that holds such frames, or in it the virtual dataset of all of them; None where there is none, or several."""
    import h5py

    paths = []
    for entry in list(map(str, tree.root))[:100]:
        group = tree.find(f"/{entry}/data") if isinstance(tree.root.get(entry, getlink=True), h5py.HardLink) else None
        if isinstance(group, h5py.Group) and parts(group):
            paths.append(f"/{entry}/data" if group.get("data", getlink=True) is None else f"/{entry}/data/data")
    return paths[0] if len(paths) == 1 else None


def series(tree: Tree, path: str, guesses: list[str]) -> Parts:
    """What the datasets of a group are, from their headers. A file that is not there leaves frames that were not measured, and a sentence.
    Raises InputError where nothing can be joined, or too much is missing."""
    import h5py

    group, what = tree.find(path), Path(tree.root.filename).name
    datasets: dict[int, h5py.Dataset | None] = {}
    for name in parts(group):
        try:
            node = tree.find(name, group)
        except InputError as error:
            if "not there" not in str(error):
                raise
            node = None
        datasets[int(name.rsplit("_", 1)[1])] = node if isinstance(node, h5py.Dataset) and node.ndim == 3 else None
    present = {k: d for k, d in datasets.items() if d is not None}
    if not present:
        raise InputError(f"{what}: none of the data files of {path} is there ({_names(list(datasets))}); copy them next to the file")
    frames = {(d.shape[1:], d.dtype) for d in present.values()}
    if len(frames) > 1:
        shapes = ", ".join(sorted(f"{'×'.join(map(str, s))} of {t}" for s, t in frames))
        raise InputError(f"{what}: the frames of {path} differ ({shapes}); choose one of its datasets with data= (--data)")
    frame, dtype = frames.pop()
    usual = Counter(d.shape[0] for d in present.values()).most_common(1)[0][0]
    last = max(present)  # what is missing after it may never have been taken
    lengths = {k: present[k].shape[0] if k in present else usual for k in range(min(datasets), last + 1)}
    total, lost = sum(lengths.values()), sum(n for k, n in lengths.items() if k not in present)
    if lost > _GAP * total:
        raise InputError(f"{what}: the files of {lost} of {total} frames of {path} are missing; copy them next to the file")
    start = 0
    for k, length in lengths.items():
        if k not in present:
            last_frame = start + length - 1
            guesses.append(f"data_{k:06d} is missing: frames {start} to {last_frame} are not measured; copy its file next to {what}")
        start += length
    if after := [k for k in datasets if k > last]:
        end = total + usual * len(after) - 1
        guesses.append(f"missing: {_names(after)}, frames {total} to {end}; the scan ends before them. Copy the files next to {what}")
    return Parts(path, lengths, frozenset(present), (total, *frame), dtype)


def joined(tree: Tree, path: str, guesses: list[str]) -> Series:
    """All frames of a group, one file after the other; see `series`."""
    these = series(tree, path, guesses)
    affordable(Entry(path, these.shape, these.dtype), Path(tree.root.filename).name)
    start, values, absent = 0, np.zeros(these.shape, these.dtype), np.zeros(these.shape[0], bool)
    for k, length in these.lengths.items():
        if k in these.present:
            values[start : start + length] = tree.load(tree.find(these.name(k)))
        else:
            absent[start : start + length] = True
        start += length
    return Series(values, absent)


def alone(tree: Tree, path: str) -> list[str]:
    """A sentence where this is one file of several: read by itself, or one dataset of its series."""
    group = path.rsplit("/", 1)[0]
    if is_part(path) and (count := len(parts(tree.find(group or "/")))) > 1:
        return [f"{path} is one of {count} datasets of one series; data={group} (--data {group}) joins them"]
    file = Path(tree.root.filename)
    match = _FILE.fullmatch(file.name)
    master = file.with_name(f"{match[1]}_master{match[2]}") if match else None
    if master is None or not master.is_file():
        return []
    return [f"{file.name} is one file of a series: {master.name} beside it joins all of them, and brings their mask"]


def _names(numbers: list[int]) -> str:
    names = [f"data_{k:06d}" for k in sorted(numbers)]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
