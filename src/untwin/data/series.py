"""What a batch is made of: files, patterns of names, folders, datasets of a file, frames of a stack; each is one pattern with a name."""

from __future__ import annotations

import fnmatch
import glob
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from untwin.data import eiger, folder, formats, hdf5, matlab
from untwin.data.frames import choice
from untwin.data.object import split
from untwin.data.stored import chosen
from untwin.data.typed import user_path
from untwin.errors import InputError, readable_errors

EACH = "each"  # frames=: every frame is a pattern of its own
PATTERNS = ("hdf5", "npz", "matlab")  # kinds of files that hold a pattern, and as a rule no single frame
ENDINGS = (".cxi", ".h5", ".hdf5", ".nxs", ".npz", ".mat")  # of such files: one that holds something else is named, not passed over


@dataclass(frozen=True)
class Member:
    """One pattern of a batch. name: of its folder. source: what `untwin.read` takes. frame: its number in the source, None of one that is
    a pattern as a whole."""

    name: str
    source: str
    frame: int | None = None

    def __str__(self) -> str:
        return self.source if self.frame is None else f"{self.source} frame {self.frame}"


def members(sources: Sequence[str | Path], frames: str | int | None = None, data: str | None = None) -> list[Member]:
    """The patterns that these sources hold, in their order, each once. frames: "each" takes every frame of a stack, a range such as "3:8"
    those volumes of a 4D one. data: the dataset of each file. Raises InputError where one of the sources is not there, or the only one
    holds nothing; one of several is a member, for whoever reads it to say what is wrong."""
    entries = _framed([entry for source in sources for entry in _opened(full_source(source), len(sources) > 1)], frames, data)
    unique = list(dict.fromkeys(entries))
    stems = _stems([source for source, _ in unique])
    digits = len(str(max((frame or 0 for _, frame in unique), default=0)))
    return [Member(stem if frame is None else f"{stem}-{frame:0{digits}d}", source, frame) for stem, (source, frame) in zip(stems, unique)]


def full_source(source: str | Path) -> str:
    """The same with the full path: whoever reads it may be elsewhere."""
    file, colons, name = str(source).partition("::")
    return f"{user_path(file).absolute()}{colons}{name}"


def _opened(source: str, one_of_several: bool) -> list[str]:
    """The files, folders and FILE::NAME that a source stands for."""
    try:
        return _entries(source)
    except InputError:
        if one_of_several and user_path(source.partition("::")[0]).exists():
            return [source]
        raise


def _entries(source: str) -> list[str]:
    if not folder.is_stack(source):
        file, name = split(source)
        if name is not None and glob.has_magic(name) and formats.kind(file) == "hdf5":
            return [f"{file}::{dataset}" for dataset in _datasets(file, name)]
        return [source]
    root = user_path(source)
    if root.is_dir():
        return _in_folder(root)
    files = sorted((Path(p) for p in glob.glob(str(root))), key=by_numbers)
    if not files:
        raise InputError(f"nothing fits {source}; check the path")
    if all(f.is_file() and kind_of(f) not in PATTERNS for f in files):
        return [source]  # frames of a stack
    return [str(f) for f in files]


def _in_folder(root: Path) -> list[str]:
    """A folder of frames as it is; else the files with a pattern in it, or its folders of frames."""
    entries = sorted((p for p in root.iterdir() if not p.name.startswith(".")), key=by_numbers)
    files = [p for p in entries if p.is_file()]
    kinds = {file: kind_of(file) for file in files}
    known = any((root / name).is_file() for name in ("manifest.json", "result.cxi", "zarr.json", ".zarray", ".zgroup"))
    broken = [file for file in files if kinds[file] in ("", "text") and file.suffix.lower() in ENDINGS]
    patterns = [str(file) for file in files if kinds[file] in PATTERNS or file in broken]
    if known or any(kinds[file] not in ("", "text", *PATTERNS) for file in files):
        return [str(root)]
    if patterns:
        return patterns
    folders = [p for p in entries if p.is_dir() and any(kind_of(f) not in ("", "text") for f in p.iterdir() if f.is_file())]
    return [entry for p in folders for entry in _in_folder(p)] or [str(root)]


def _datasets(file: Path, pattern: str) -> list[str]:
    with readable_errors(file, "HDF5"), hdf5.opened(file) as tree:
        names = [entry.name for entry in tree.entries() if entry.is_grid]
    chosen = [name for name in names if fnmatch.fnmatchcase(name.strip("/"), pattern.strip("/"))]
    if not chosen:
        raise InputError(f"no dataset of {file.name} fits {pattern}; it holds {', '.join(names[:8]) or 'no arrays of numbers'}")
    return sorted(chosen, key=by_numbers)


def _framed(sources: list[str], frames: str | int | None, data: str | None) -> list[tuple[str, int | None]]:
    """Each source with the number of a frame, or with None."""
    text = str(frames or "")
    if text != EACH and not re.fullmatch(r"\s*-?\d*\s*:\s*-?\d*\s*", text):
        return [(source, None) for source in sources]
    pairs: list[tuple[str, int | None]] = []
    for source in sources:
        try:
            shape = _shape(source, data)
        except InputError:
            if len(sources) == 1:
                raise
            pairs.append((source, None))  # whoever reads it says what is wrong with it
            continue
        if text == EACH and len(shape) < 3:
            raise InputError(f"{source} has {len(shape)} axes and no frames; leave frames={EACH} (--frames {EACH}) out")
        if text != EACH and len(shape) < 4:
            pairs.append((source, None))  # slices of a volume, or exposures: `read` takes them
            continue
        axis = 0 if len(shape) > 3 else choice(None, shape, (), source).axis
        low, high, _ = slice(*(int(n) if n.strip() else None for n in text.split(":")) if text != EACH else (None,)).indices(shape[axis])
        pairs += [(source, k) for k in range(low, high)]
    return pairs


def _shape(source: str, data: str | None) -> tuple[int, ...]:
    """Of an array, from its header, axes of length 1 left out."""
    if folder.is_stack(source):
        return folder.stack(source, []).entry.shape
    file, name = split(source)
    format = formats.kind(file)
    with readable_errors(file, formats.FORMATS[format].name if format in formats.FORMATS else format):
        if format == "hdf5":
            with hdf5.opened(file) as tree:
                shape = _series_shape(tree, *chosen(tree, file, data or name))
        else:
            entries = formats.FORMATS[format].entries(file)
            shape = formats.choose_entry(entries, data or name, ("intensity",), file.name, "intensity", "data").shape
    return tuple(n for n in shape if n != 1)


def _series_shape(tree: hdf5.Tree, name: str, node: Any) -> tuple[int, ...]:
    """Of a dataset, or of the datasets that a group joins to a series."""
    import h5py

    return (eiger.series(tree, name, []) if isinstance(node, h5py.Group) else matlab.entry_of(node, name)).shape


def _stems(sources: list[str]) -> list[str]:
    """Names for folders, different for different sources: of the file, with as many folders before it as are needed."""
    parts: dict[str, list[str]] = {}
    for source in sources:
        file, _, dataset = source.partition("::")
        path = user_path(file)
        stem = path.name if path.is_dir() else (re.sub(r"[*?\[\]]", "", path.stem) or path.parent.name)
        words = [*path.absolute().parent.parts[1:], f"{stem}-{dataset.strip('/')}" if dataset else stem]
        parts[source] = [re.sub(r"[^\w.+=-]+", "_", word).strip("_") or "pattern" for word in words]
    depth = 1
    while depth < 64 and len({"-".join(p[-depth:]) for p in parts.values()}) < len(parts):
        depth += 1
    names = {source: "-".join(p[-depth:])[-150:].lstrip(".") for source, p in parts.items()}
    if len(set(names.values())) < len(names):
        names = {source: f"{name}-{number}" for number, (source, name) in enumerate(names.items())}
    return [names[source] for source in sources]


def kind_of(file: Path) -> str:
    """As `formats.kind`, "npz" of NumPy's archives; '' where it is nothing that untwin reads."""
    try:
        kind = formats.kind(formats.existing(file))
    except InputError:
        return ""
    return "npz" if kind == "numpy" and zipfile.is_zipfile(file) else kind


def by_numbers(path: Path | str) -> tuple:
    """scan_9 before scan_10."""
    return tuple((int(w), "") if w.isdigit() else (-1, w) for w in re.split(r"(\d+)", str(path)))
