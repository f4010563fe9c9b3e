"""A simulated data set on disk: a folder with manifest.json and shards of samples, read back sample by sample."""

from __future__ import annotations

import dataclasses
import json
import operator
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from untwin.data import hdf5
from untwin.data.centre import asymmetry_about
from untwin.data.measurement import Pattern, Source
from untwin.data.typed import typed
from untwin.errors import InputError, readable_errors

MANIFEST = "manifest.json"
FORMAT = "untwin data set 1"
LIMIT, SHARDS = 2**20, 10**6  # bytes of a manifest, and files of a data set, at most


@dataclass(frozen=True)
class Manifest:
    """What a data set is; sample i of it is a function of (text, seed, i).

    recipe: as it was asked for. text: the recipe written out. count: samples. shape: of one. shard: samples per file, fewer in the
    last one. objects: True where the shards hold the objects, too. versions: of untwin, numpy and torch that made it.
    """

    recipe: str
    text: str
    seed: int
    count: int
    shape: tuple[int, ...]
    shard: int
    objects: bool
    versions: dict[str, str]
    format: str = FORMAT

    @property
    def shards(self) -> int:
        return -(-self.count // self.shard)

    def path(self, folder: Path, k: int) -> Path:
        """Of shard k, which holds the samples k shard ... (k + 1) shard - 1."""
        return folder / f"shard-{k:05d}.h5"

    def indices(self, k: int) -> range:
        return range(k * self.shard, min((k + 1) * self.shard, self.count))

    def missing(self, folder: Path) -> list[int]:
        """The shards that are not there yet."""
        return [k for k in range(self.shards) if not self.path(folder, k).is_file()]

    def command(self, folder: Path) -> str:
        """What makes this data set, or goes on with it."""
        size = ",".join(map(str, self.shape))
        words = f"untwin simulate dataset -o {typed(folder)} --recipe {shlex.quote(self.recipe)} --size {size}"
        words += f" --count {self.count} --seed {self.seed} --shard {self.shard}"
        return words if self.objects else f"{words} --no-objects"


def is_dataset(folder: Path) -> bool:
    """True where a data set was begun."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest in a folder. Raises InputError where there is none or where it is damaged."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(f"no {MANIFEST} in {folder}; expected a folder that untwin simulate dataset has written")
    try:
        if path.stat().st_size > LIMIT:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        fields = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**{**fields, "shape": tuple(fields["shape"])})
        kinds = {"recipe": str, "text": str, "seed": int, "count": int, "shard": int, "objects": bool, "versions": dict}
        wrong = [name for name, kind in kinds.items() if type(getattr(manifest, name)) is not kind]
        if wrong or manifest.format != FORMAT or manifest.count < 1 or manifest.shard < 1 or manifest.seed < 0:
            raise ValueError(f"{wrong[0]} is {getattr(manifest, wrong[0])!r}" if wrong else f"format {manifest.format!r}")
        if len(manifest.shape) not in (2, 3) or not all(type(n) is int and n > 0 for n in manifest.shape):
            raise ValueError(f"shape is {manifest.shape}")
        if manifest.shards > SHARDS:
            raise ValueError(f"{manifest.shards:,} shards")
    except (ValueError, TypeError, KeyError, RecursionError, OSError) as error:
        raise InputError(f"{path} is not the manifest of a data set ({error}); expected format {FORMAT!r}: write the set again") from None
    return manifest


def manifest_text(manifest: Manifest) -> str:
    """What read_manifest reads."""
    return json.dumps(dataclasses.asdict(manifest), indent=1) + "\n"


class Shards:
    """A complete data set, sample by sample: len(), [i], iteration. No file stays open, so it can be shared between processes.

    [i]: a dict of arrays in detector order (zero frequency at N//2): counts uint32 (float32 in a set without noise), 0 where not
    measured; mask uint8, nonzero is a
    bad pixel; image complex64 and support uint8, centred at N//2 (where the set holds objects); index; labels, a dict. The
    intensity expected at a pixel is |F image|² with unitary F, before background and whatever else the labels name.
    Raises InputError where the manifest or a shard is missing or damaged.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        missing = self.manifest.missing(self.folder)
        if missing:
            complete = self.manifest.shards - len(missing)
            raise InputError(
                f"{folder} is not complete: {complete} of {self.manifest.shards} shards are there, "
                f"{self.manifest.path(self.folder, missing[0]).name} is not; go on with: {self.manifest.command(self.folder)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.manifest.shape

    def __len__(self) -> int:
        return self.manifest.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        k, row = divmod(wrapped_index(i, len(self)), self.manifest.shard)
        return {name: values[0] for name, values in self._read(k, slice(row, row + 1)).items()}

    def shard(self, k: int) -> dict[str, Any]:
        """All samples of shard k at once, with a leading axis (labels: a list): many times faster per sample than one by one."""
        return self._read(wrapped_index(k, self.manifest.shards), slice(None))

    def _read(self, k: int, rows: slice) -> dict[str, Any]:
        path = self.manifest.path(self.folder, k)
        names = ["counts", "mask", "index", "labels", *(("image", "support") if self.manifest.objects else ())]
        with readable_errors(path, "a shard of a data set"), hdf5.opened(path) as tree:
            columns: dict[str, Any] = {name: tree.rows(name, rows) for name in names}
            indices = self.manifest.indices(k)[rows]
            grids = [v for name, v in columns.items() if name not in ("index", "labels")]
            if (
                list(columns["index"]) != list(indices)
                or len(columns["labels"]) != len(indices)
                or any(v.shape != (len(indices), *self.shape) or not np.isfinite(v).all() for v in grids)
            ):
                raise InputError(f"{path} is not shard {k} of this data set; remove it and run {self.manifest.command(self.folder)}")
            return {**columns, "index": list(indices), "labels": [json.loads(label) for label in columns["labels"]]}

    def pattern(self, i: int) -> Pattern:
        """Sample i as `untwin.reconstruct` takes it."""
        sample = self[i]
        return simulated(np.fft.ifftshift(sample["counts"]), np.fft.ifftshift(sample["mask"] == 0))


def wrapped_index(i: int, count: int) -> int:
    """The index i of a list of `count` things, counted from its beginning. Raises IndexError as a list does."""
    at = operator.index(i)
    if not -count <= at < count:
        raise IndexError(f"sample {at} of {count}")
    return at % count


def simulated(intensity: np.ndarray, measured: np.ndarray) -> Pattern:
    """The Pattern of a simulation, whose zero frequency is known. intensity, measured: (*grid), FFT order."""
    middle = tuple(n // 2 for n in intensity.shape)
    return Pattern(
        intensity=np.ascontiguousarray(intensity, dtype=np.float32),
        measured=np.ascontiguousarray(measured, dtype=bool),
        source=Source(shape=intensity.shape, centre=middle),
        asymmetry=float(asymmetry_about(np.fft.fftshift(intensity).astype(np.float32), np.fft.fftshift(measured), middle)),
    )
