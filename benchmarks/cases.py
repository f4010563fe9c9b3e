"""Files and arrays as people have them: read and reconstructed with default options, against the truth.

    python benchmarks/cases.py --seed 17031 --count 2 --json benchmarks/results/cases.json
    python benchmarks/cases.py --list

Object i is poly, defect or complex in turn (`simulate/shapes.py`), a function of the seed and i, the same in every row: 64 x 64, 1e6
photons; a scan of 24 frames of 48 x 48 where the row says so. Rows with the name of a format are real files in a temporary folder.

corr: |<x, y>| / (|x| |y|) of result and truth after shift, twin, global phase and a phase ramp (where the zero frequency of a peak lies is
a convention), on the grid of the result. Right: corr > 0.95, or refused where that is right; of a strained crystal: it is not called
real, and the strain is there (1 - corr at most half of that of its magnitude); with --positivity: not trusted. Wrong & TRUST: trusted with
corr < 0.9, or trusted where no result can be right. CPU: seconds of the reconstruction, one process, one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.data.realness import realness
from untwin.errors import NumericalFailure
from untwin.model.ramp import superpose
from untwin.runs.launch import one_thread
from untwin.simulate.shapes import CLASSES, grid
from untwin.simulate.streams import Streams

SHAPE, SCAN, PHOTONS = (64, 64), (24, 48, 48), 1e6
KINDS = ("poly", "defect", "complex")
GOOD, WRONG = 0.95, 0.9  # corr


# what is measured


def far_field(x: np.ndarray, photons: float = PHOTONS) -> np.ndarray:
    """Expected counts, zero frequency at N//2."""
    f = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x)))) ** 2
    return f * (photons / f.sum())


@dataclass(frozen=True, eq=False)
class Sample:
    """x: the object, centred. rng: of everything that is drawn after it. folder: for files."""

    x: np.ndarray
    rng: np.random.Generator
    folder: Path

    def counts(self, photons: float = PHOTONS) -> np.ndarray:
        return self.rng.poisson(far_field(self.x, photons)).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Input:
    """What a user hands over: source and options of `read`; truth where it is another object than the sample's."""

    source: Any
    options: dict[str, Any] = field(default_factory=dict)
    truth: np.ndarray | None = None


# the numbers


def numbers_of(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Sample], Input]:
    return lambda s: Input(change(s.counts()))


def camera(s: Sample) -> Input:
    """40 units per photon on an offset of 500, read noise 3, as bright as 16 bits allow."""
    f = far_field(s.x)
    n = s.rng.poisson(f * min(1, 1450 / f.max()))
    return Input((40 * n + 500 + s.rng.normal(0, 3, n.shape)).round().clip(0, 65535).astype(np.uint16))


def flat_fielded(s: Sample) -> Input:
    flat = 1 + 0.05 * s.rng.normal(size=SHAPE)
    return Input((s.rng.poisson(far_field(s.x) * flat) / flat).astype(np.float32))


def mean_of_50(s: Sample) -> Input:
    return Input((np.sum([s.counts(PHOTONS / 50) for _ in range(50)], axis=0) / 50).astype(np.float32))


def dark_subtracted(s: Sample) -> Input:
    return Input((s.counts() + s.rng.normal(0, 2, SHAPE)).round().astype(np.int32))


def wrapped(s: Sample, counts: np.ndarray) -> Input:
    """Raw - dark in unsigned integers."""
    raw = counts + s.rng.poisson(20, SHAPE)
    return Input(raw.astype(np.uint16) - s.rng.poisson(20, SHAPE).astype(np.uint16))


# pixels


def hot(s: Sample) -> Input:
    n = s.counts()
    n[5, 7] = 10 * n.max()
    return Input(n)


def gaps(s: Sample) -> Input:
    n = s.counts()
    n[38:41], n[:, 25:28] = 0, 0
    return Input(n)


def stop(s: Sample) -> Input:
    n = s.counts()
    n[sum(a * a for a in grid(SHAPE)) <= 4] = 0
    return Input(n)


def dead(s: Sample) -> tuple[np.ndarray, np.ndarray]:
    """A dead stripe and a hot pixel, and the mask that knows them."""
    n, bad = s.counts(), np.zeros(SHAPE, np.uint32)
    n[40:43], n[9, 12] = 0, 200000
    bad[40:43], bad[9, 12] = 1, 2
    return n, bad


def inverted_mask(s: Sample) -> Input:
    n, bad = dead(s)
    return Input(n, {"mask": bad == 0})


# arrangements


def off_centre(s: Sample) -> Input:
    """A window of 64 x 64 out of 160 x 160, the peak 20 and 18 pixels off its middle."""
    wide = np.zeros((160, 160), complex)
    wide[48:112, 48:112] = s.x
    n = s.rng.poisson(far_field(wide, PHOTONS)).astype(np.int32)
    return Input(n[28:92, 66:130], truth=wide)


def exposures(s: Sample) -> Input:
    return Input(np.stack([s.counts(PHOTONS / 10) for _ in range(16)]))


def unrelated(s: Sample) -> Input:
    """Patterns of 12 objects."""
    return Input(np.stack([s.rng.poisson(far_field(CLASSES[KINDS[i % 3]](SHAPE, s.rng))) for i in range(12)]))


# files


def npy(s: Sample) -> Input:
    np.save(s.folder / "n.npy", s.counts())
    return Input(s.folder / "n.npy")


def nexus(s: Sample) -> Input:
    """The mask lies beside the data under the name that NXdetector gives it."""
    import h5py

    n, bad = dead(s)
    with h5py.File(s.folder / "n.nxs", "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs.update(NX_class="NXentry", default="data")
        entry["instrument/detector/data"] = n
        entry["instrument/detector/pixel_mask"] = bad
        entry["instrument/detector"].attrs["NX_class"] = "NXdetector"
        group = entry.create_group("data")
        group.attrs.update(NX_class="NXdata", signal="data")
        group["data"] = h5py.SoftLink("/entry/instrument/detector/data")
    return Input(s.folder / "n.nxs")


def eiger(s: Sample) -> Input:
    """A master of three files of 8 frames; module gap and hot pixel in the pixel mask, flat field and count-rate table beside."""
    import h5py

    n, bad = s.counts().astype(np.uint32), np.zeros(SCAN[1:], np.uint32)
    n[:, 30:32], n[:, 5, 9] = 2**32 - 1, 5_000_000
    bad[30:32], bad[5, 9] = 1, 2
    with h5py.File(s.folder / "s_master.h5", "w") as master:
        for k in range(3):
            with h5py.File(s.folder / f"s_data_{k + 1:06d}.h5", "w") as part:
                part.create_dataset("entry/data/data", data=n[8 * k : 8 * k + 8], chunks=(1, *SCAN[1:]))
            master[f"entry/data/data_{k + 1:06d}"] = h5py.ExternalLink(f"s_data_{k + 1:06d}.h5", "/entry/data/data")
        special = master.create_group("entry/instrument/detector/detectorSpecific")
        special["pixel_mask"], special["flatfield"] = bad, np.ones(SCAN[1:], np.float32)
        special["countrate_correction_table"] = np.ones((1000, 2), np.float32)
    return Input(s.folder / "s_master.h5")


def interrupted(s: Sample) -> Input:
    """24 frames allocated, 17 written."""
    import h5py

    n = s.counts()
    with h5py.File(s.folder / "i.h5", "w") as file:
        file.create_dataset("entry/data/data", shape=n.shape, dtype="u4", chunks=(1, *SCAN[1:]))[:17] = n[:17]
    return Input(s.folder / "i.h5")


def matlab_5(s: Sample) -> Input:
    from scipy.io import savemat

    savemat(s.folder / "m5.mat", {"I": s.counts().astype(float)})
    return Input(s.folder / "m5.mat")


def matlab_73(s: Sample) -> Input:
    """HDF5 behind 512 bytes of text, axes reversed."""
    import h5py

    path = s.folder / "m73.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["I"] = s.counts().astype(float).T
        file["I"].attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM")
    return Input(path)


def edf(s: Sample) -> Input:
    n = s.counts()
    header = {
        "HeaderID": "EH:000001:000000:000000", "ByteOrder": "LowByteFirst", "DataType": "SignedInteger",
        "Dim_1": n.shape[1], "Dim_2": n.shape[0], "Size": n.nbytes,
    }  # fmt: skip
    text = "{\n" + "".join(f"{k} = {v} ;\n" for k, v in header.items())
    (s.folder / "n.edf").write_bytes(text.ljust(1022).encode() + b"}\n" + n.astype("<i4").tobytes())
    return Input(s.folder / "n.edf")


def tiff_folder(s: Sample) -> Input:
    import tifffile

    (s.folder / "frames").mkdir()
    for k, frame in enumerate(s.counts()):
        tifffile.imwrite(s.folder / "frames" / f"scan_{k:04d}.tif", frame.astype(np.uint32))
    return Input(s.folder / "frames")


def png(s: Sample) -> Input:
    from PIL import Image

    n = s.counts()
    Image.fromarray((255 * (n / n.max())).round().astype(np.uint8)).save(s.folder / "n.png")
    return Input(s.folder / "n.png")


# the rows


def strained(x: np.ndarray) -> np.ndarray:
    """The magnitude with a smooth phase of some tenths of a radian."""
    v, u = (a / (0.15 * n) for a, n in zip(grid(x.shape), x.shape))
    return np.abs(x) * np.exp(0.3j * (0.8 * u**2 + 0.6 * u * v + 0.3 * u**3))


def mild(s: Sample) -> Input:
    x = strained(s.x)
    return Input(s.rng.poisson(far_field(x)), truth=x)


@dataclass(frozen=True)
class Case:
    """make: what is handed over. shape: of the object. right: what is to come of it. positivity: is asked for."""

    make: Callable[[Sample], Input]
    shape: tuple[int, ...] = SHAPE
    right: str = "corr"  # or refused, strain, doubted
    positivity: bool = False


CASES = {
    "counts, .npy": Case(npy),
    "centred array": Case(lambda s: Input(s.counts())),
    "array in FFT order": Case(numbers_of(np.fft.ifftshift)),
    "/ maximum": Case(numbers_of(lambda n: n / n.max())),
    "x gain 40 + 500, read noise 3": Case(camera),
    "8 bits of the maximum": Case(numbers_of(lambda n: (255 * (n / n.max())).round().astype(np.uint8))),
    "16 bits of the maximum": Case(numbers_of(lambda n: (65535 * (n / n.max())).round().astype(np.uint16))),
    "amplitudes": Case(numbers_of(lambda n: np.sqrt(n).astype(np.float32))),
    "amplitudes, gain 2.5": Case(numbers_of(lambda n: np.sqrt(2.5 * n).astype(np.float32))),
    "amplitudes / maximum": Case(numbers_of(lambda n: np.sqrt(n / n.max()).astype(np.float32))),
    "log(1 + counts)": Case(numbers_of(lambda n: np.log1p(n).astype(np.float32))),
    "flat-fielded": Case(flat_fielded),
    "mean of 50": Case(mean_of_50),
    "dark subtracted, read noise 2": Case(dark_subtracted),
    "unsigned wrap": Case(lambda s: wrapped(s, s.counts(PHOTONS * min(1, 40000 / far_field(s.x).max())))),
    "unsigned wrap, peak cut off before": Case(lambda s: wrapped(s, s.counts().clip(max=50000))),
    "hot pixel, 10 x the peak": Case(hot),
    "gaps as 0": Case(gaps),
    "stop of radius 2 as 0": Case(stop),
    "mask inverted": Case(inverted_mask, right="refused"),
    "NeXus, pixel_mask": Case(nexus),
    "Eiger master, three files, 3D": Case(eiger, SCAN),
    "16 exposures": Case(exposures),
    "unrelated frames": Case(unrelated, right="refused"),
    "17 of 24 frames written, 3D": Case(interrupted, SCAN),
    "peak off the centre": Case(off_centre),
    "MATLAB 5": Case(matlab_5),
    "MATLAB 7.3": Case(matlab_73),
    "EDF": Case(edf),
    "folder of TIFF, 3D": Case(tiff_folder, SCAN),
    "8-bit PNG": Case(png),
    "mild strain": Case(mild, right="strain"),
    "mild strain, --positivity": Case(mild, right="doubted", positivity=True),
}


# one object


def on_grid(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x in the same field with other pixels: its far field cropped or padded with zeros to shape. Both centred at N//2."""
    f, out = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x))), np.zeros(shape, complex)
    size = [min(n, m) for n, m in zip(x.shape, shape)]

    def middle(of: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(of, size))

    out[middle(shape)] = f[middle(x.shape)]
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(out)))


def corr(x: np.ndarray, truth: np.ndarray) -> float:
    """Over shift, twin, global phase and ramp."""
    error = superpose(torch.as_tensor(x), torch.as_tensor(on_grid(truth, x.shape)), ramp=True).error
    return max(0.0, 1 - error**2) ** 0.5


def one(name: str, seed: int, index: int) -> dict[str, Any]:
    """Simulate, hand over, reconstruct and score."""
    case, rng = CASES[name], Streams(seed, [index]).generators[0]
    kind = KINDS[index % len(KINDS)]
    x = CLASSES[kind](case.shape, rng).astype(complex)
    with tempfile.TemporaryDirectory() as folder:
        handed = case.make(Sample(x, rng, Path(folder)))
        row: dict[str, Any] = {"case": name, "class": kind, "index": index, "right": False, "trusted": None, "read": "refused"}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ut.GuessWarning)
                pattern = ut.read(handed.source, **handed.options)
        except ut.InputError as error:
            return row | {"refused": str(error), "right": case.right == "refused"}
    noise = pattern.noise
    row |= {
        "read": f"{noise.kind} from {noise.form}" if noise else "-",
        "gain": noise.gain if noise else None,
        "offset": noise.offset if noise else None,
        "real": realness(pattern).answer,
        "shape": pattern.shape,
        "photons": pattern.photons,
        "measured": float(pattern.measured.mean()),
        "warnings": list(pattern.warnings),
        "doubts": list(pattern.doubts),
    }
    return row | scored(case, pattern, x if handed.truth is None else handed.truth, row["real"] == "real")


def scored(case: Case, pattern: ut.Pattern, truth: np.ndarray, called_real: bool) -> dict[str, Any]:
    """Reconstruct with default options."""
    cpu = time.process_time()
    try:
        solution = ut.reconstruct(pattern, seed=0, workers=1, positivity=case.positivity)
    except (NumericalFailure, ut.InputError) as failure:
        return {"refused": str(failure), "cpu": time.process_time() - cpu}
    took, trusted = time.process_time() - cpu, solution.verdict.trusted
    y = solution.image.numpy().astype(complex)
    c, magnitude = corr(y, truth), corr(np.abs(truth), truth)
    right = {"corr": c > GOOD, "refused": False, "strain": not called_real and 1 - c < (1 - magnitude) / 2, "doubted": not trusted}
    return {
        "trusted": trusted,
        "verdict": solution.verdict.text,
        "r_factor": solution.numbers["r_factor"],
        "corr": c,
        "corr_of_magnitude": magnitude,
        "right": bool(right[case.right]),
        "wrong_trust": bool(trusted and (c < WRONG or case.right in ("refused", "doubted"))),
        "cpu": took,
    }


HEAD = f"""| what comes | n | read as | right | refused | corr | TRUST | wrong & TRUST | CPU s |
|{"---|" * 9}"""


def line(name: str, rows: list[dict[str, Any]]) -> str:
    """A row of the Markdown table."""
    c = [r["corr"] for r in rows if "corr" in r]
    span = "" if not c else f"{min(c):.3f}" if max(c) - min(c) < 5e-4 else f"{min(c):.3f} to {max(c):.3f}"
    cpu = [r["cpu"] for r in rows if "cpu" in r]
    counts = [sum(bool(r.get(k)) for r in rows) for k in ("right", "refused", "trusted", "wrong_trust")]
    cells = [name, len(rows), " / ".join(dict.fromkeys(r["read"] for r in rows)), *counts[:2], span, *counts[2:]]
    return "| " + " | ".join(str(cell) for cell in [*cells, f"{np.mean(cpu):.1f}" if cpu else ""]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=17031)
    parser.add_argument("--count", type=int, default=2, help="objects per row")
    parser.add_argument("--quick", action="store_true", help="one object per row")
    parser.add_argument("--case", nargs="+", choices=CASES, metavar="NAME", help="these rows only")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.list:
        sys.exit("\n".join(CASES))
    results: list[dict[str, Any]] = []
    print(HEAD)
    with one_thread():
        for name in args.case or CASES:
            rows = [one(name, args.seed, i) for i in range(1 if args.quick else args.count)]
            results += rows
            print(line(name, rows), flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                about = {"script": "cases", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
                args.json.write_text(json.dumps(about | {"rows": results}, indent=1))
    right, trusted, wrong = (sum(bool(r.get(k)) for r in results) for k in ("right", "trusted", "wrong_trust"))
    print(f"\n{len(results)} objects in {len(args.case or CASES)} rows: {right} right, {trusted} trusted, {wrong} wrong and trusted.")


if __name__ == "__main__":
    main()
