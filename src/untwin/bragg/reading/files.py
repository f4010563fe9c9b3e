"""Which of the files of a scan is what: frames, log, dark, flat field, mask, by what they hold and what they are called."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from untwin.bragg.reading import fio, spec
from untwin.data import folder, foreign, formats
from untwin.errors import InputError

_FILES = 50_000  # that are looked at
_DEEP = 3  # folders within folders
_FEWEST = 3  # frames of a scan
_SIDES = {  # what a file beside the frames is, by its name
    "dark": re.compile(r"dark|background|bkg", re.IGNORECASE),
    "flat": re.compile(r"flat|white|(?<![a-z])wf(?![a-z])", re.IGNORECASE),
    "mask": re.compile(r"mask|bad_?pix|hot_?pix", re.IGNORECASE),
}
_IMAGES = ("tiff", "edf", "cbf")
_DATA_FILE = re.compile(r".+_data_\d{6}")


@dataclass
class Files:
    """groups: of frames in files of their own, by folder and kind of name. hierarchical: HDF5 files, each with the path in it that was
    named, or nothing. logs: (file, "spec" or "fio"). sides: dark, flat, mask."""

    groups: dict[tuple[Path, str], list[Path]] = field(default_factory=lambda: defaultdict(list))
    hierarchical: list[tuple[Path, str]] = field(default_factory=list)
    logs: list[tuple[Path, str]] = field(default_factory=list)
    sides: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    odd: list[Path] = field(default_factory=list)

    def add(self, file: Path) -> None:
        """A file, by its first bytes and its name."""
        kind = _kind(file)
        side = next((s for s, pattern in _SIDES.items() if pattern.search(file.stem)), None)
        if kind in ("spec", "fio"):
            self.logs.append((file, kind))
        elif side is not None and kind:
            self.sides[side].append(file)
        elif kind == "hdf5":
            self.hierarchical.append((file, ""))
        elif kind in _IMAGES:
            self.groups[file.parent, re.sub(r"[0-9]+", "#", file.stem) + file.suffix].append(file)
        else:
            self.odd.append(file)

    def masters(self) -> list[tuple[Path, str]]:
        """The HDF5 files without those that a master joins."""
        names = {f.stem.removesuffix("_master") for f, _ in self.hierarchical if f.stem.endswith("_master")}
        masters = [(f, p) for f, p in self.hierarchical if not (_DATA_FILE.fullmatch(f.stem) and f.stem[:-12] in names)]
        highest = [(f, p) for f, p in masters if len(f.parts) == min(len(g.parts) for g, _ in masters)]
        return highest if len(highest) == 1 else masters  # BLISS: the frames lie in folders below the file of the scan


def sorted_out(paths: Sequence[str | Path]) -> Files:
    """What the user named: folders with all that is in them, patterns of names, files, FILE::PATH of HDF5. Raises InputError."""
    files = Files()
    if not paths:
        raise InputError("no file was named; expected the folder of a scan, its frames and its log, or an HDF5 file")
    for path in paths:
        text = str(path)
        root = Path(text).expanduser()
        if folder.is_stack(path):
            within = _within(root) if root.is_dir() else sorted(p for p in map(Path, glob.glob(str(root))) if p.is_file())
            if not within and root.is_dir():
                raise InputError(f"{root} is an empty folder; expected that of a scan, with its frames and its log")
            if not within:
                raise InputError(f"no file fits {root}; check the path. A pattern such as 'scan_*.tif' stands in quotation marks")
            for file in within:
                files.add(file)
        elif "::" in text and not root.exists():
            before, _, name = text.rpartition("::")
            file = formats.existing(before)
            if formats.kind(file) != "hdf5":
                raise InputError(f"{file.name} is no HDF5 file; leave ::{name} away")
            files.hierarchical.append((file, name))
        elif text.startswith("~") or root.exists():
            file = formats.existing(path)
            if not _kind(file):
                formats.kind(file)  # says what it is, and how it is converted
                raise InputError(f"{file.name} is neither a frame nor a log (spec, fio) nor an HDF5 file")
            files.add(file)
        else:
            formats.existing(path)
    if not files.groups and not files.hierarchical:
        _add_neighbours(files)
    elif not files.groups and not files.logs:
        for master, _ in files.hierarchical:  # of P10: the log lies in the folder above
            stem = master.stem.removesuffix("_master")
            logs = [folder / f"{stem}.fio" for folder in (master.parent, master.parent.parent)] if stem != master.stem else []
            files.logs += [(log, "fio") for log in logs if log.is_file() and _kind(log) == "fio"][:1]
    return files


def numbered(path: Path) -> list[int]:
    """The numbers that a scan may have by the name of its files and their folder: S0054, _00012_, the nearest first."""
    texts = (path.stem, path.parent.name, path.parent.parent.name)
    return [int(n) for text in texts for n in [*re.findall(r"[sS](?:can)?_?(\d+)", text), *re.findall(r"(\d+)", text)]]


def frames(files: Files, number: int | None) -> list[Path]:
    """The files of the frames: of several groups the one with the number of the scan in its name. Raises InputError."""
    groups = {key: g for key, g in files.groups.items() if len(g) >= _FEWEST}
    if number is not None and len(groups) > 1:
        groups = {key: g for key, g in groups.items() if number in numbered(g[0])} or groups
    if not groups:
        few = sum(map(len, files.groups.values()))
        raise InputError(
            f"{few} files are frames (TIFF, EDF, CBF); a scan has at least {_FEWEST}. Name their folder, or a pattern: 'frames/*.tif'"
        )
    if len(groups) > 1:
        text = "; ".join(f"{len(g)} in {key[0].name or key[0]} called {key[1]}" for key, g in list(groups.items())[:4])
        raise InputError(f"frames of {len(groups)} kinds: {text}. Name the folder of one scan, a pattern of names, or its number")
    return next(iter(groups.values()))


def _add_neighbours(files: Files) -> None:
    """Frames are looked for in the folder of the log that was named, and below."""
    for file, _ in list(files.logs):
        for other in _within(file.resolve().parent):
            if other not in [log for log, _ in files.logs] and _kind(other) not in ("spec", "fio"):
                files.add(other)


def _within(root: Path) -> list[Path]:
    """The files in a folder and in those below, but for hidden ones and links that lead out of it."""
    inside, waiting, files = root.resolve(), [(root, 0)], []
    while waiting:
        parent, depth = waiting.pop(0)
        try:
            children = sorted(parent.iterdir())
        except OSError as error:
            raise InputError(f"{parent} cannot be opened: {error.strerror}") from None
        for child in children:
            if child.name.startswith(".") or (child.is_symlink() and not child.resolve().is_relative_to(inside)):
                continue
            if child.is_dir() and depth < _DEEP:
                waiting.append((child, depth + 1))
            elif child.is_file():
                files.append(child)
        if len(files) > _FILES:
            raise InputError(f"{root} holds more than {_FILES:,} files; name the folder of one scan, or its files by a pattern")
    return files


def _kind(file: Path) -> str:
    """ "spec", "fio", "hdf5", a key of formats.FORMATS, or nothing."""
    try:
        with file.open("rb") as stream:
            head = stream.read(foreign.HEAD)
        if spec.is_spec(head):
            return "spec"
        if fio.is_fio(head):
            return "fio"
        return formats.kind(formats.existing(file))
    except (InputError, OSError):
        return ""


def is_log(path: str | Path) -> bool:
    """True for the log of a beamline, spec or fio."""
    return _kind(Path(path).expanduser()) in ("spec", "fio")
