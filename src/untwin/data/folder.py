"""A folder of frames, or a pattern of names such as scan_*.tif: a frame in each file, stacked in the order of the numbers in the names."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data import atomic, formats
from untwin.data.header import Entry, affordable
from untwin.data.typed import amount, user_path
from untwin.errors import InputError, readable_errors

_FRAMES = 20_000  # files of one stack
_PICTURES = ("png", "jpeg")  # beside frames they are previews
_KINDS = ("tiff", "edf", "cbf", "numpy", *_PICTURES)  # that a frame can have


@dataclass(frozen=True)
class Stack:
    """The frames of a folder or of a pattern of names, in order; format: of all of them, entry: of the stack."""

    files: tuple[Path, ...]
    format: str
    entry: Entry

    def load(self) -> np.ndarray:
        """(frames, *frame)"""
        values = np.empty(self.entry.shape, self.entry.dtype)
        reader = formats.FORMATS[self.format]
        for frame, file in zip(values, self.files):
            with readable_errors(file, reader.name):
                frame[...] = reader.load(file, "")
        return values

    def frame(self, number: int) -> np.ndarray:
        """One of them, as its file has it."""
        file, reader = self.files[number], formats.FORMATS[self.format]
        with readable_errors(file, reader.name):
            values = reader.load(file, "")
        if values.size != np.prod(self.entry.shape[1:]):
            raise InputError(f"{file.name} has shape {values.shape}, where its neighbours have {self.entry.shape[1:]}; copy it again")
        return values.reshape(self.entry.shape[1:])

    def sentences(self, values: np.ndarray) -> list[str]:
        """What the loaded frames show: neighbours that are equal in every pixel."""
        neighbours = zip(self.files, self.files[1:], values, values[1:])
        twice = [f"{a.name} and {b.name}" for a, b, one, other in neighbours if one.any() and np.array_equal(one, other)]
        return [f"{twice[0]} are equal in every pixel ({amount(len(twice), 'such pair')}): one frame twice?"] if twice else []


def is_stack(path: str | Path) -> bool:
    """Is this a folder, or a pattern of names that is not the name of a file itself?"""
    try:
        root = user_path(path)
        return root.is_dir() or (glob.has_magic(str(root)) and not root.exists() and "::" not in str(path))
    except (OSError, ValueError, RuntimeError):
        return False


def stack(path: str | Path, guesses: list[str]) -> Stack:
    """What a folder or a pattern of names holds, from the headers of its files. Files of a folder that are no frames are left out, with a
    sentence. Raises InputError where the frames are not of one kind, one shape and one sequence of names."""
    root = user_path(path)
    files, others = _frames(root)
    frames = of_files(files, str(path), guesses)
    if others:
        examples = ", ".join(f.name for f in others[:5]) + (", ..." if len(others) > 5 else "")
        name = formats.FORMATS[frames.format].name
        guesses.insert(0, f"{len(files)} {name} files of {root.name or root} are its frames; left out: {examples}")
    affordable(frames.entry, str(path))
    return frames


def of_files(files: list[Path], what: str, guesses: list[str]) -> Stack:
    """The frames of these files, from their headers, in the order of the numbers in their names. Raises InputError where they are not of
    one kind, one shape and one sequence of names."""
    format = formats.kind(files[0])
    entries = [_entry(file, format) for file in files]
    usual = Counter((e.shape, e.dtype) for e in entries).most_common(1)[0][0]
    odd = [(f, e) for f, e in zip(files, entries) if (e.shape, e.dtype) != usual]
    if odd:
        examples = ", ".join(f"{f.name} ({_kind_of(e)})" for f, e in odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
        expected = _kind_of(Entry("", *usual))
        raise InputError(f"{what}: {len(files)} frames, most of {expected}, but {examples}; take those away, or name the rest by a pattern")
    ordered = _ordered(files, what, guesses)
    return Stack(tuple(ordered), format, Entry("", (len(ordered), *usual[0]), usual[1]))


def sha256(path: str | Path) -> str:
    """Of a file's bytes; of a folder or a pattern of names: of the names and the SHA-256 of its frames, one a line."""
    if not is_stack(path):
        return atomic.sha256(Path(path))
    files, _ = _frames(user_path(path))
    lines = [f"{atomic.sha256(file)}  {file.name}\n" for file in sorted(files)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _frames(root: Path) -> tuple[list[Path], list[Path]]:
    """(frames, other files) of a folder, or the files that a pattern names, all of which are meant. At least one frame."""
    if not root.is_dir():
        matches = [Path(p) for p in glob.glob(str(root))]
        files = sorted(p for p in matches if p.is_file())
        if not files:
            raise InputError(f"no file fits {root}. Check the path; a pattern such as 'scan_*.tif' stands in quotation marks")
        kinds = {file: formats.kind(formats.existing(file)) for file in files[: _FRAMES + 1]}
        wrong = next((file for file, kind in kinds.items() if kind not in _KINDS or kind != kinds[files[0]]), None)
        if wrong is not None and wrong == files[0]:
            raise InputError(f"{root}: {wrong.name} is no frame that can be read; expected frames of one kind, one in each file")
        if wrong is not None:
            raise InputError(f"{root}: {wrong.name} is of another kind than {files[0].name}; expected frames of one kind, one in each file")
        return _few(files, root), []
    if (root / "manifest.json").is_file():
        raise InputError(f"{root} is a folder with a simulated data set; choose a sample: untwin.data.dataset.Shards(FOLDER).pattern(i)")
    if any((root / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")):
        raise InputError(f"{root} is a folder of Zarr: read it with zarr.open(FOLDER)[...], then save the array with numpy.save")
    if (root / "result.cxi").is_file():
        raise InputError(f"{root} is a folder of results; expected a pattern, such as {root / 'result.cxi'}")
    try:
        files = _few(sorted(p for p in root.iterdir() if p.is_file() and not p.name.startswith(".")), root)
    except OSError as error:
        raise InputError(f"{root} cannot be opened: {error.strerror}") from None
    kinds = {file: _kind(file) for file in files}
    groups = Counter(kind for kind in kinds.values() if kind in _KINDS)
    measured = [kind for kind in groups if kind not in _PICTURES] or list(groups)
    if not measured:
        example = next((f" Did you mean {f}?" for f, kind in kinds.items() if kind), "")
        kinds_read = "TIFF, EDF, CBF, .npy, PNG, JPEG"
        raise InputError(f"{root} is a folder without frames ({kinds_read}); expected a stack of them, or a file.{example}")
    if len(measured) > 1:
        text = " and ".join(f"{groups[k]} {formats.FORMATS[k].name} files" for k in measured)
        raise InputError(f"{root} is a folder with {text}; choose the frames of one stack by a pattern, such as '{root / '*.tif'}'")
    frames = [f for f in files if kinds[f] == measured[0]]
    if len(frames) == 1:
        raise InputError(f"{root} is a folder with one frame; expected a stack of them, or a file. Did you mean {frames[0]}?")
    return frames, [f for f in files if kinds[f] != measured[0]]


def _few(files: list[Path], root: Path) -> list[Path]:
    if len(files) > _FRAMES:
        raise InputError(f"{root} has more than {_FRAMES:,} files; choose fewer frames by a pattern of names, such as 'scan_1*.tif'")
    return files


def _kind(file: Path) -> str:
    """'' where it is nothing that untwin reads."""
    try:
        return formats.kind(formats.existing(file))
    except InputError:
        return ""


def _entry(file: Path, format: str) -> Entry:
    reader = formats.FORMATS[format]
    with readable_errors(file, reader.name):
        entries = reader.entries(file)
    if len(entries) != 1 or entries[0].name or sum(n > 1 for n in entries[0].shape) != 2:
        size = " and ".join(map(_kind_of, entries[:3]))
        raise InputError(f"{file.name} holds {size}; expected one frame in each file of a stack. Name the file itself: {file}")
    return Entry("", tuple(n for n in entries[0].shape if n != 1), entries[0].dtype.newbyteorder("="))


def _kind_of(entry: Entry) -> str:
    return f"{'×'.join(map(str, entry.shape))} {entry.dtype}"


def _ordered(files: list[Path], what: str, guesses: list[str]) -> list[Path]:
    """By the numbers in the names, as numbers. Frames that are missing from the sequence are said."""
    names = Counter(re.sub(r"[0-9]+", "#", f.stem) for f in files)
    if len(files) > 1 and (len(names) > 1 or "#" not in next(iter(names))):
        text = ", ".join(f"{name}{files[0].suffix} ({n})" for name, n in names.most_common(4))
        raise InputError(f"{what}: names of {len(names)} kinds, {text}; choose the frames of one stack by a pattern, such as 'scan_*.tif'")
    numbers = {file: tuple(map(int, re.findall(r"[0-9]+", file.stem))) for file in files}
    ordered = sorted(files, key=lambda file: (numbers[file], file.name))
    for a, b in zip(ordered, ordered[1:]):
        if numbers[a] and numbers[a] == numbers[b]:
            raise InputError(f"{what}: {a.name} and {b.name} have the same number; take one of them away")
    columns = [column for column in zip(*(numbers[file] for file in ordered)) if len(set(column)) > 1]
    if len(columns) == 1:
        steps = Counter(b - a for a, b in zip(columns[0], columns[0][1:]))
        step = steps.most_common(1)[0][0]
        jumps = [(a, b) for a, b in zip(columns[0], columns[0][1:]) if b - a != step]
        if jumps:
            text = ", ".join(f"{a} to {b}" for a, b in jumps[:3]) + (f" and {len(jumps) - 3} more" if len(jumps) > 3 else "")
            guesses.append(f"the numbers of the {len(ordered)} frames jump ({text}): frames are missing; the stack goes on without them")
    return ordered
