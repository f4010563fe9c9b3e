"""What the first look costs: seconds of processor time and memory of `untwin inspect FILE`, the start of the program included.

    python benchmarks/look.py [--runs 5] [--only 2048] [--against ../other/src]

One thread. Poisson counts (int32) of a many-sided body with a smooth phase, a third of the field wide: 2048 x 2048 with 1e8 and 2e9
photons, 256^3 with 1e8; as .npy, as HDF5 in compressed chunks, and with a mask of columns and single pixels. Best and median of the runs.
--against: the same of another copy of the sources, the two in turn, so that what else the machine does weighs on both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent.parent / "src"
SIZES = {"2048 x 2048, 1e8 photons": ((2048, 2048), 1e8), "2048 x 2048, 2e9 photons": ((2048, 2048), 2e9), "256^3": ((256,) * 3, 1e8)}
ONE_RUN = """import resource, subprocess, sys
out = subprocess.run([sys.executable, "-m", "untwin", "inspect", *sys.argv[1:]], capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(out.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss)"""


def counts(shape: tuple[int, ...], photons: float) -> np.ndarray:
    rng, width = np.random.default_rng(7), shape[0] * 7 // 20
    u = np.meshgrid(*(np.linspace(-1, 1, width),) * len(shape), indexing="ij")
    inside = np.ones(u[0].shape, dtype=bool)
    for v in rng.normal(size=(5 * len(shape), len(shape))):
        inside &= sum(a * b for a, b in zip(v / np.linalg.norm(v), u)) < rng.uniform(0.6, 1)
    x = np.zeros(shape, dtype=np.complex64)
    x[tuple(slice(0, width) for _ in shape)] = inside * np.exp(1j * sum(rng.normal() * a * b for a in u for b in u))
    mean = np.fft.fftshift(np.abs(np.fft.fftn(x)) ** 2)
    return rng.poisson(photons * mean / mean.sum()).astype(np.int32)


def files(folder: Path, shape: tuple[int, ...], photons: float) -> dict[str, list[str]]:
    """What follows `untwin inspect`, by name."""
    values, bad = counts(shape, photons), np.random.default_rng(8).random(shape) < 1e-4
    bad[..., shape[-1] // 7 : shape[-1] // 7 + 6] = True
    npy, hdf5, mask = (str(folder / name) for name in ("p.npy", "p.h5", "m.npy"))
    np.save(npy, values)
    np.save(mask, bad)
    with h5py.File(hdf5, "w") as file:
        file.create_dataset("data", data=values, chunks=True, compression="gzip")
    return {".npy": [npy], ".npy, mask": [npy, "--mask", mask], ".h5": [hdf5], ".h5, mask": [hdf5, "--mask", mask]}


def cost(sources: Path, arguments: list[str]) -> tuple[float, float]:
    """(seconds of processor time, largest memory in MB) of one run, in a process that has no other child."""
    environment = os.environ | {"PYTHONPATH": str(sources), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ONE_RUN, *arguments], capture_output=True, text=True, env=environment, check=True)
    code, seconds, kilobytes = done.stdout.split()
    if int(code):
        raise SystemExit(f"untwin inspect {' '.join(arguments)} ends with {code}")
    return float(seconds), int(kilobytes) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="sizes whose name begins so")
    parser.add_argument("--against", type=Path)
    args = parser.parse_args()
    sources = [HERE, *([args.against.resolve()] if args.against else [])]
    print("| pattern | stored | sources | s, best | s, median | MB |\n|---|---|---|---|---|---|")
    for name, (shape, photons) in SIZES.items():
        if not name.startswith(args.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for stored, arguments in files(Path(folder), shape, photons).items():
                runs = [[cost(s, arguments) for s in sources] for _ in range(args.runs)]
                for source, of_source in zip(sources, zip(*runs)):
                    seconds, memory = zip(*of_source)
                    which = "these" if source == HERE else str(args.against)
                    cells = (name, stored, which, f"{min(seconds):.2f}", f"{statistics.median(seconds):.2f}", f"{max(memory):.0f}")
                    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
