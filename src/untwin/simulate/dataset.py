"""A data set: sample i is a function of (recipe, seed, i), made when it is asked for, or written once into shards."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.checks import int_argument, seed_argument
from untwin.data import hdf5
from untwin.data.atomic import PART, atomic_write_text, require_writable
from untwin.data.dataset import MANIFEST, SHARDS, Manifest, is_dataset, manifest_text, read_manifest, simulated, wrapped_index
from untwin.data.measurement import Pattern
from untwin.errors import InputError, NumericalFailure
from untwin.processes import pool, stoppable
from untwin.simulate.crystals import Samples, Simulation, simulation

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 64  # samples drawn at a time, and
BATCH_PIXELS = 2**21  # pixels in them at most: this bounds the memory, whatever the count
SHARD = 1024  # samples in a file, and
SHARD_PIXELS = 2**24  # pixels in them at most: a few seconds of work, which is what a kill can cost
CHUNK_PIXELS = 2**12  # in a chunk at least (measured on 64 x 64: chunks of one sample are as fast and as small as larger ones)

_INT64 = 2**63 - 1
_TENSORS = ("intensity", "measured", "image", "support")  # of a sample


@dataclasses.dataclass(frozen=True)
class _Crystals:
    """A torch data set, map style: len(), [i] and iteration, for a DataLoader with or without workers.

    recipe: a name of RECIPES, a recipe's text or a Simulation. seed: whole, 0 or more. count: how many samples there are.

    [i] is sample i, made now, the same in every worker and batch, whatever the count: bit for bit on one kind of processor and with
    the same versions of NumPy, SciPy and torch; elsewhere to rounding, so that a count may differ now and then.
    intensity  float32, counts (whole numbers, unless the detector has no noise), FFT order (zero frequency first), 0 where not measured
    measured   bool, FFT order, True where the pixel can be trusted
    image      complex64, centred at N//2, scaled so that the expected counts are |F image|²
    support    bool, centred
    Raises InputError for a recipe that cannot be, IndexError beyond the count.
    """

    recipe: str | Simulation
    seed: int = 0
    count: int = 100_000
    simulation: Simulation = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seed_argument(self.seed)
        int_argument("count", self.count, 1, _INT64)
        object.__setattr__(self, "simulation", simulation(self.recipe))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.simulation.shape

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return self.__getitems__([i])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """Some samples, drawn together: what a DataLoader asks for."""
        samples = self.batch(indices)
        return [{name: getattr(samples, name)[j] for name in _TENSORS} for j in range(len(indices))]

    def sample(self, i: int) -> dict[str, Any]:
        """Sample i with its labels: body, strain, defects, detector, as plain numbers and strings."""
        samples = self.batch([i])
        return {**{name: getattr(samples, name)[0] for name in _TENSORS}, "labels": samples.labels[0]}

    def batch(self, indices: Sequence[int], device: str = "cpu") -> Samples:
        """Some samples in one go, as a Samples with a leading batch axis on `device`."""
        return self.simulation.draw(self.seed, [wrapped_index(i, self.count) for i in indices], device)

    def pattern(self, i: int) -> Pattern:
        """The measurement of sample i as `untwin.reconstruct` takes it."""
        sample = self[i]
        return simulated(sample["intensity"].numpy(), sample["measured"].numpy())


if TYPE_CHECKING:
    Crystals = _Crystals


def __getattr__(name: str) -> Any:
    """Crystals, a subclass of torch's Dataset, made when it is first asked for: the command line does without torch."""
    if name != "Crystals":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from torch.utils.data import Dataset

    subclass = type(name, (_Crystals, Dataset), {"__doc__": _Crystals.__doc__, "__module__": __name__})
    globals()[name] = subclass
    return subclass


def planned(
    folder: str | Path,
    recipe: str | Simulation,
    seed: int = 0,
    count: int = 100_000,
    *,
    shard: int | None = None,
    objects: bool = True,
) -> Manifest:
    """What `write` would make, or go on with; nothing is drawn or written, torch is not needed. Raises InputError where the arguments
    are impossible, where the folder cannot be written, and where it holds something else."""
    folder = Path(folder)
    seed_argument(seed)
    int_argument("count", count, 1, _INT64)
    recipe_of = simulation(recipe)
    if shard is None:
        shard = min(SHARD, max(1, SHARD_PIXELS // int(np.prod(recipe_of.shape))))
    int_argument("shard", shard, 1, _INT64)
    if -(-count // shard) > SHARDS:
        raise InputError(
            f"{count:,} samples in shards of {shard:,} are {-(-count // shard):,} files, {SHARDS:,} at most; ask for larger ones"
        )
    manifest = Manifest(
        recipe=recipe if isinstance(recipe, str) else repr(recipe),
        text=repr(recipe_of),
        seed=int(seed),
        count=int(count),
        shape=tuple(int(n) for n in recipe_of.shape),
        shard=int(shard),
        objects=bool(objects),
        versions={
            name: metadata.version(name) if name != "untwin" else _untwin() for name in ("untwin", "numpy", "scipy", "torch", "h5py")
        },
    )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for the data set")
    require_writable(folder)
    if is_dataset(folder):
        _require_same(manifest, read_manifest(folder), folder)
    elif folder.exists() and any(not _unfinished(p) for p in folder.iterdir()):
        raise InputError(f"{folder} holds files and no {MANIFEST}; expected a new or empty folder, or a data set to go on with")
    return manifest


def write(
    folder: str | Path,
    recipe: str | Simulation,
    seed: int = 0,
    count: int = 100_000,
    *,
    shard: int | None = None,
    workers: int = 1,
    objects: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write samples 0 ... count - 1 into DIR/manifest.json and DIR/shard-00000.h5 ...; the same bytes whatever the workers.

    Each file is complete or not there, so the same call after a kill at any moment goes on with the shards that are missing.
    shard: samples per file (by default at most 1024, fewer where they are large). workers: processes with one thread each.
    objects: False leaves image and support out. report: called with (samples there, count) at the beginning and as they come.
    Two calls on one folder at the same time are not foreseen: one of them fails, and what is there stays right.

    A shard holds, for n samples: counts (n, *grid) uint32 (float32 where the recipe's detector has no noise: expected counts) and
    mask (n, *grid) uint8 (nonzero is a bad pixel) in detector order, zero frequency at N//2; image (n, *grid) complex64 and support
    (n, *grid) uint8, centred; index (n,) int64; labels (n,) JSON text.
    Raises InputError as `planned` does, and where the disk is full or a worker was ended from outside.
    """
    folder = Path(folder)
    int_argument("workers", workers, 1, _INT64)
    manifest = planned(folder, recipe, seed, count, shard=shard, objects=objects)
    recipe_of = simulation(recipe)
    if not is_dataset(folder):
        recipe_of.draw(seed, [0])  # a recipe that cannot be met leaves nothing behind
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    if not is_dataset(folder):
        atomic_write_text(folder / MANIFEST, manifest_text(manifest))
    missing = manifest.missing(folder)
    stored = count - sum(len(manifest.indices(k)) for k in missing)

    def add(samples: int) -> None:
        nonlocal stored
        stored += samples
        if report:
            report(stored, count)

    add(0)
    if workers == 1 or len(missing) < 2:
        _write_shards(folder, manifest, recipe_of, missing, add)
        return manifest
    from concurrent.futures import as_completed

    try:
        with pool(min(workers, len(missing))) as executor:
            for future in as_completed([executor.submit(_write_shard, folder, manifest, recipe_of, k, os.getpid()) for k in missing]):
                add(future.result())
    except NumericalFailure as error:
        raise InputError(f"{error}; complete shards stay, and the same command goes on") from None
    finally:
        _sweep(folder)
    return manifest


def _write_shards(folder: Path, manifest: Manifest, recipe: Simulation, missing: Sequence[int], report: Callable[[int], None]) -> None:
    """In this process. Ctrl-C is heard between two batches, because `hdf5.atomic_file` puts it off for all of a shard."""
    with stoppable() as stop_requested:

        def report_or_stop(samples: int) -> None:
            report(samples)
            if stop_requested():
                raise KeyboardInterrupt

        for k in missing:
            _write_shard(folder, manifest, recipe, k, report=report_or_stop)


def _write_shard(
    folder: Path, manifest: Manifest, recipe: Simulation, k: int, parent: int | None = None, report: Callable[[int], None] | None = None
) -> int:
    """Shard k; returns its number of samples. parent: the process that must be alive, or nobody wants the shard any more."""
    import h5py

    indices = manifest.indices(k)
    n, axes = len(indices), tuple(range(1, len(manifest.shape) + 1))
    size = max(1, min(BATCH, BATCH_PIXELS // int(np.prod(manifest.shape))))
    chunk = min(n, max(1, CHUNK_PIXELS // int(np.prod(manifest.shape))))
    kinds: dict[str, type] = {
        "counts": np.uint32 if recipe.detector.noise else np.float32,
        "mask": np.uint8,
        **({"image": np.complex64, "support": np.uint8} if manifest.objects else {}),
    }
    labels: list[bytes] = []
    with hdf5.atomic_file(manifest.path(folder, k), libver=("earliest", "v110")) as file:
        file.attrs.update({"format": manifest.format, "recipe": manifest.text, "seed": manifest.seed})
        chunks = (chunk, *manifest.shape)
        arrays = {
            name: file.create_dataset(name, (n, *manifest.shape), kind, chunks=chunks, track_times=False, **_SMALL)
            for name, kind in kinds.items()
        }
        for start in range(0, n, size):
            if parent is not None and os.getppid() != parent:
                raise InputError("the process that wanted this shard has ended")
            samples = recipe.draw(manifest.seed, indices[start : start + size])
            rows = slice(start, start + len(samples.labels))
            arrays["counts"][rows] = _stored_counts(np.fft.fftshift(samples.intensity.numpy(), axes), kinds["counts"])
            arrays["mask"][rows] = np.fft.fftshift(~samples.measured.numpy(), axes)
            if manifest.objects:
                arrays["image"][rows] = samples.image.numpy()
                arrays["support"][rows] = samples.support.numpy()
            labels += [json.dumps(label, ensure_ascii=False).encode() for label in samples.labels]
            if report:
                report(len(samples.labels))
        file.create_dataset("index", data=np.array(indices, dtype=np.int64), track_times=False)
        text = h5py.string_dtype("utf-8", max(map(len, labels)))  # of one length, because only these can be compressed
        file.create_dataset("labels", data=np.array(labels, dtype=text), track_times=False, chunks=(min(n, 64),), **_SMALL)
    return n


_SMALL: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}  # as fast as lzf here, and smaller


def _stored_counts(intensity: np.ndarray, kind: type) -> np.ndarray:
    top = float(intensity.max())
    if top >= 2**32:
        raise InputError(f"a pixel has {top:.3g} counts, a data set stores up to 4.29e9; take fewer photons")
    return intensity.astype(kind)


def _require_same(requested: Manifest, existing: Manifest, folder: Path) -> None:
    """Raise InputError unless both describe the same bytes."""
    names = {"text": "recipe", "seed": "seed", "count": "count", "shape": "shape", "shard": "samples per shard", "objects": "objects"}
    for name, title in names.items():
        a, b = getattr(existing, name), getattr(requested, name)
        if a != b:
            values = (existing.recipe, requested.recipe) if name == "text" and existing.recipe != requested.recipe else (a, b)
            raise InputError(
                f"{folder} holds a data set with {title} {values[0]}, asked for was {values[1]}; choose another folder, "
                f"or go on with: {existing.command(folder)}"
            )
    if existing.versions != requested.versions and existing.missing(folder):
        old, new = (", ".join(f"{k} {v}" for k, v in m.versions.items()) for m in (existing, requested))
        raise InputError(
            f"{folder} was begun with {old}; this is {new}, which may draw other samples: finish it with those, or choose another folder"
        )


def _unfinished(path: Path) -> bool:
    """A file that a killed `write` has left."""
    return path.name.endswith(PART) and path.name.startswith((f".{MANIFEST}.", ".shard-"))


def _sweep(folder: Path) -> None:
    for path in list(folder.iterdir()):
        if _unfinished(path):
            path.unlink(missing_ok=True)


def _untwin() -> str:
    from untwin import __version__

    return __version__
