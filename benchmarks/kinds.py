"""What a file's numbers are taken for: patterns stored in twelve ways and read again.

    python benchmarks/kinds.py --seed 17001 --count 300 --json benchmarks/results/kinds.json

Patterns of poly, defect and complex (`simulate/shapes.py`) in turn, 64 to 128 pixels or 32 to 48 cubed, 1e4 to 1e7 photons, stored as:
counts; counts × gain (0.01 to 100); on an offset (50 to 1000; every second one × a gain of 8 to 60, with read noise of 0.08 photons);
÷ maximum; square roots; square roots ÷ √maximum; 8 and 16 bits (the maximum to 255 and 65535, rounded); ÷ a flat field with a spread of
5 %; the mean of 3 to 60 frames; a logarithm (log(1 + n), log10(1 + n) and log10(n) with −inf in turn); with negatives (read noise of 2
counts after a dark was subtracted, whole numbers).

Right: of what still are photons (all but the flat-fielded, those with negatives, and 8 and 16 bits with fewer levels than counts)
`noise.kind` is "photons", the form is theirs, the gain theirs within 5 %, the offset within one photon or 5 % of what the darkest twentieth
of the pixels has; of what are no longer photons, the kind is "unknown" and the form theirs. Unknown: of photons, `noise.kind` is "unknown".
Wrong: anything else: photons where there are none, another form, another gain. Gain: median of |log(gain / true)| of all that are read,
unknown ones too. Crashed: an exception. --reconstruct N: of the first N patterns of each way, the correlation of `untwin.reconstruct` with
the truth less that from the counts, least.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.noise import Noise
from untwin.simulate.detector import Detector, Total
from untwin.simulate.shapes import CLASSES
from untwin.simulate.streams import Streams

KINDS = ("poly", "defect", "complex")
WAYS = (
    "counts",
    "gain",
    "offset",
    "maximum",
    "amplitudes",
    "scaled amplitudes",
    "8 bits",
    "16 bits",
    "flat-fielded",
    "mean",
    "logarithm",
    "negatives",
)


@lru_cache(maxsize=1)
def drawn(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(counts, object), both centred."""
    rng = np.random.default_rng([seed, index])
    cubed = index // len(KINDS) % 2 == 1
    n = int(rng.choice([32, 40, 48] if cubed else [64, 80, 96, 128]))
    streams, shape = Streams(seed, [index]), (n,) * (3 if cubed else 2)
    body = torch.from_numpy(CLASSES[KINDS[index % len(KINDS)]](shape, streams.generators[0]))[None]
    seen = Detector(Total(10 ** rng.uniform(4, 7))).expose(body, streams)
    return np.fft.fftshift(seen.intensity[0].numpy()).astype(np.float64), seen.x[0].numpy()


def stored(way: str, counts: np.ndarray, rng: np.random.Generator, index: int) -> tuple[np.ndarray, Noise]:
    """The counts as a file has them, and what its numbers are."""
    top, single = counts.max(), np.float32
    match way:
        case "counts":
            return counts.astype(np.int32), Noise()
        case "gain":
            gain = 10 ** rng.uniform(-2, 2)
            return (counts * gain).astype(single), Noise(gain=gain)
        case "offset":
            offset, gain = float(rng.integers(50, 1000)), float(rng.integers(8, 60))
            if index % 2:
                return (counts + offset).astype(np.int32), Noise(offset=offset)
            camera = counts * gain + offset + rng.normal(0, 0.08 * gain, counts.shape)
            return np.maximum(camera.round(), 0).astype(np.int32), Noise(gain=gain, offset=offset)
        case "maximum":
            return (counts / top).astype(single), Noise(gain=1 / top)
        case "amplitudes":
            return np.sqrt(counts).astype(single), Noise(form="amplitude")
        case "scaled amplitudes":
            return np.sqrt(counts / top).astype(single), Noise(gain=1 / top, form="amplitude")
        case "8 bits" | "16 bits":
            most, kind = (255, np.uint8) if way == "8 bits" else (65535, np.uint16)
            return (counts / top * most).round().astype(kind), Noise("photons" if top < most else "unknown", gain=most / top)
        case "flat-fielded":
            flat = rng.normal(1, 0.05, counts.shape[-2:]).clip(0.5)
            return (counts / flat).astype(single), Noise("unknown")
        case "mean":
            frames = int(rng.integers(3, 60))
            return (counts / frames).astype(single), Noise(gain=1 / frames)
        case "logarithm":
            with np.errstate(divide="ignore"):
                values = (np.log1p(counts), np.log10(1 + counts), np.log10(counts))[index % 3]
            return values.astype(single), Noise(offset=float(index % 3 < 2), form="logarithm")
        case "negatives":
            return (counts + rng.normal(0, 2, counts.shape).round()).astype(np.int32), Noise("unknown")
    raise ValueError(way)


def judged(found: Noise, true: Noise, counts: np.ndarray) -> str:
    if found.form != true.form:
        return "wrong"
    if true.kind == "unknown":
        return "right" if found.kind == "unknown" else "wrong"
    if found.kind == "unknown":
        return "unknown"
    allowed = max(1.0, 0.05 * float(np.quantile(counts, 0.05)))
    good = abs(np.log(found.gain / true.gain)) < 0.05 and abs(found.offset - true.offset) / true.gain <= allowed
    return "right" if good else "wrong"


def read(values: np.ndarray) -> ut.Pattern:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ut.read(values)


def correlation(pattern: ut.Pattern, truth: np.ndarray) -> float:
    """|<image, truth>| over the norms, at the best shift, twin or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = np.asarray(ut.reconstruct(pattern, starts=4, seed=0, workers=1).image)
    F = np.fft.fftn(truth)
    both = (np.fft.fftn(image), np.fft.fftn(np.conj(image[(slice(None, None, -1),) * image.ndim])))
    return max(float(np.abs(np.fft.ifftn(F.conj() * G)).max()) for G in both) / float(np.linalg.norm(truth) * np.linalg.norm(image))


def row(way: str, seed: int, index: int, reconstruct: bool) -> dict:
    counts, truth = drawn(seed, index)
    values, true = stored(way, counts, np.random.default_rng([seed, index, WAYS.index(way)]), index)
    result = {"way": way, "index": index, "pixels": counts.shape[0], "dimensions": counts.ndim, "photons": float(counts.sum())}
    start = time.process_time()
    try:
        pattern = read(values)
    except Exception as error:  # what the table counts
        return result | {"result": "crashed", "error": f"{type(error).__name__}: {error}"}
    result |= {"result": judged(pattern.noise, true, counts), "seconds": time.process_time() - start}
    if pattern.noise.form == true.form:
        result["gain"] = float(abs(np.log(pattern.noise.gain / true.gain)))
    if reconstruct:
        result["less"] = correlation(pattern, truth) - correlation(read(counts.astype(np.int32)), truth)
    return result


def line(way: str, rows: list[dict]) -> str:
    n = [sum(r["result"] == result for r in rows) for result in ("right", "unknown", "wrong", "crashed")]
    gains, less = [r["gain"] for r in rows if "gain" in r], [r["less"] for r in rows if "less" in r]
    seconds = max((r["seconds"] for r in rows if "seconds" in r), default=0.0)
    gain, least = (f"{np.median(gains):.2g}" if gains else "", f"{min(less):.3f}" if less else "")
    return f"| {way} | {len(rows)} | {' | '.join(map(str, n))} | {gain} | {seconds:.2f} | {least} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=17001)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="six patterns")
    parser.add_argument("--reconstruct", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = []
    print("| stored as | n | right | unknown | wrong | crashed | error of the gain | CPU s, most | correlation less, least |")
    print("|---|---|---|---|---|---|---|---|---|")
    for index in range(6 if args.quick else args.count):
        results += [row(way, args.seed, index, index < args.reconstruct) for way in WAYS]
    for way in WAYS:
        print(line(way, [r for r in results if r["way"] == way]))
    print(line("all", results))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"script": "numbers", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
        args.json.write_text(json.dumps(about | {"rows": results}, indent=1))


if __name__ == "__main__":
    main()
