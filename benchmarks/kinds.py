"""What a file's numbers are taken for: patterns stored in twelve ways, read again, and reconstructed.

    python benchmarks/kinds.py --seed 17001 --count 300 --json benchmarks/results/kinds.json
    python benchmarks/kinds.py --seed 17002 --count 0 --reconstruct 10 --ways "8 bits,negatives"

Patterns of poly, defect and complex (`simulate/shapes.py`) in turn, 64 to 128 pixels or 32 to 48 cubed, 1e4 to 1e7 photons, stored as:
counts; counts × gain (0.01 to 100); on an offset (50 to 1000; every second one × a gain of 8 to 60, with read noise of 0.08 photons);
÷ maximum; square roots; square roots ÷ √maximum; 8 and 16 bits (the maximum to 255 and 65535, rounded); flat-fielded (the counts of a
detector whose pixels differ by 5 %, ÷ these); the mean of 3 to 60 frames; a logarithm (log(1 + n), log10(1 + n) and log10(n) with −inf in
turn); with negatives (read noise of 2 counts after a dark was subtracted, whole numbers).

Right: of what still are photons (all but the flat-fielded, those with negatives, and 8 and 16 bits with fewer levels than counts)
`noise.kind` is "photons", the form is theirs, the gain theirs within 5 %, the offset within one photon or 5 % of what the darkest twentieth
of the pixels has; of what are no longer photons, the kind is "unknown" and the form theirs. Unknown: of photons, `noise.kind` is "unknown".
Wrong: anything else: photons where there are none, another form, another gain. Gain: median of |log(gain / true)| of all that are read,
unknown ones too. Crashed: an exception.

--reconstruct N: N more objects, 64 x 64, every fifth one 32 x 32 x 32, stored likewise. corr is |<x, y>| / (|x| |y|) of the truth and the
result of `untwin.reconstruct`, after shift, twin and phase (4 starts; where the counts come out better by 0.02 though the information is
there, both again with the plan's own number). Less: that of the counts, minus this; a pattern that is read with the bits of the counts is
not reconstructed again, and its less is 0. Left: what information the numbers still hold, without any search: corr of the object whose
Fourier amplitudes are the stored numbers' (√ of the light, as stored and as read, whichever is more) and whose phases are the truth's,
inside the truth's support; minus that of the counts. Phases that come from the same numbers err, too, so that 2 to 3 times as
much is lost: the information is there where no more than 0.007 is lost with the true ones. Zeroed: share of the photons in pixels that are
stored as 0. Trusted and wrong: the verdict is TRUST, and corr below 0.9.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.data.noise import Noise
from untwin.runs.launch import one_thread
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
ENOUGH, WRONG = 0.02, 0.9  # of corr: see above
THERE = 0.007  # ENOUGH / 3: of 8 bits, 1 − corr is 2.3 to 3.1 times that with the true phases (objects 0 to 3 of seed 30001)
FAR = 10**6  # from the others: the index of an object that is reconstructed
EVERY = 5  # of these the last one is 3D
FLAT = 0.05  # spread of the pixels' sensitivities


@lru_cache(maxsize=1)
def drawn(seed: int, index: int, small: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(counts, object), both centred. small: as --reconstruct takes them."""
    own = index + FAR * small
    rng = np.random.default_rng([seed, own])
    cubed = index % EVERY == EVERY - 1 if small else index // len(KINDS) % 2 == 1
    n = (32 if cubed else 64) if small else int(rng.choice([32, 40, 48] if cubed else [64, 80, 96, 128]))
    streams, shape = Streams(seed, [own]), (n,) * (3 if cubed else 2)
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
            flat = rng.normal(1, FLAT, counts.shape[-2:]).clip(0.5)
            flat = flat / flat.max()
            return (rng.binomial(counts.astype(np.int64), flat) / flat).astype(single), Noise("unknown")
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


def overlap(image: np.ndarray, truth: np.ndarray) -> float:
    """|<image, truth>| over the norms, at the best shift, twin or not."""
    F = np.fft.fftn(truth)
    both = (np.fft.fftn(image), np.fft.fftn(np.conj(image[(slice(None, None, -1),) * image.ndim])))
    return max(float(np.abs(np.fft.ifftn(F.conj() * G)).max()) for G in both) / float(np.linalg.norm(truth) * np.linalg.norm(image))


def light(values: np.ndarray, true: Noise) -> np.ndarray:
    """What a file's numbers say of the photons, by someone who knows what they are."""
    v = values.astype(np.float64)
    v = v**2 if true.form == "amplitude" else v
    if true.form == "logarithm":
        powers = [np.exp(v), 10**v]
        v = min(powers, key=lambda n: float(np.abs(n - n.round()).mean()))  # the one of whole numbers
    return (v - true.offset) / true.gain


def with_true_phases(photons: np.ndarray, truth: np.ndarray) -> float:
    """corr of the object whose Fourier amplitudes are √photons, and its phases and support those of the truth. photons: centred."""
    wave = np.sqrt(np.fft.ifftshift(photons.clip(min=0))) * np.exp(1j * np.angle(np.fft.fftn(np.fft.ifftshift(truth))))
    image = np.where(np.abs(truth) > 1e-6 * np.abs(truth).max(), np.fft.fftshift(np.fft.ifftn(wave)), 0)
    return float(np.abs(np.vdot(truth, image)) / (np.linalg.norm(truth) * np.linalg.norm(image)))


@dataclass
class Results:
    """corr of each pattern of one object, by its bits: the same ones are reconstructed once."""

    truth: np.ndarray
    known: dict[Any, tuple[float, bool]]

    def of(self, pattern: ut.Pattern, starts: int | None) -> tuple[float, bool]:
        """(corr, trusted)."""
        key = (pattern.intensity.tobytes(), pattern.measured.tobytes(), pattern.counted, pattern.offset, pattern.doubts, starts)
        key += (None if pattern.dark is None else pattern.dark.tobytes(),)
        if key not in self.known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                solution = ut.reconstruct(pattern, starts=starts, seed=0, workers=1)
            self.known[key] = (overlap(np.asarray(solution.image), self.truth), bool(solution.verdict.trusted))
        return self.known[key]


def row(way: str, seed: int, index: int) -> dict[str, Any]:
    """Read."""
    counts, _ = drawn(seed, index)
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
    return result


def reconstructed(way: str, seed: int, index: int, results: Results) -> dict[str, Any]:
    """Read and reconstructed, beside the counts."""
    counts, truth = drawn(seed, index, small=True)
    values, true = stored(way, counts, np.random.default_rng([seed, index, WAYS.index(way)]), index)
    pattern, plain = read(values), read(counts.astype(np.int32))
    photons = light(values, true)
    if pattern.source.centre == tuple(n // 2 for n in counts.shape) and pattern.shape == counts.shape:
        as_read = np.fft.fftshift(pattern.corrected().intensity)
    else:
        as_read = photons
    left = max(with_true_phases(p, truth) for p in (photons, as_read)) - with_true_phases(counts, truth)
    starts: int | None = 4
    (corr, trusted), (of_counts, _) = results.of(pattern, starts), results.of(plain, starts)
    if of_counts - corr > ENOUGH and left >= -THERE:  # by chance?
        starts = None
        (corr, trusted), (of_counts, _) = results.of(pattern, starts), results.of(plain, starts)
    return {
        "way": way,
        "index": index,
        "class": KINDS[index % len(KINDS)],
        "pixels": counts.shape[0],
        "dimensions": counts.ndim,
        "photons": float(counts.sum()),
        "starts": starts,
        "corr": corr,
        "counts": of_counts,
        "less": of_counts - corr,
        "left": left,
        "there": left >= -THERE,
        "zeroed": float(counts[photons <= 0].sum() / counts.sum()),
        "trusted": trusted,
        "wrong_trust": trusted and corr < WRONG,
    }


HEAD = f"""| stored as | n | right | unknown | wrong | crashed | error of the gain | CPU s, most |
|{"---|" * 8}"""
COLUMNS = (
    "stored as", "n", "information there", "corr of counts, median", "less, median", "most, where it is there", "most, elsewhere",
    "left, least", "zeroed, most", "TRUST", "and wrong",
)  # fmt: skip
HEAD_OF_RECONSTRUCTED = f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def line(way: str, rows: list[dict[str, Any]]) -> str:
    n = [sum(r["result"] == result for r in rows) for result in ("right", "unknown", "wrong", "crashed")]
    gains = [r["gain"] for r in rows if "gain" in r]
    seconds = max((r["seconds"] for r in rows if "seconds" in r), default=0.0)
    gain = f"{np.median(gains):.2g}" if gains else ""
    return f"| {way} | {len(rows)} | {' | '.join(map(str, n))} | {gain} | {seconds:.2f} |"


def line_of_reconstructed(way: str, rows: list[dict[str, Any]]) -> str:
    there, gone = ([r["less"] for r in rows if r["there"] == is_there] for is_there in (True, False))
    most = [f"{max(less):z.3f}" if less else "" for less in (there, gone)]
    middle = [f"{np.median([r[name] for r in rows]):z.3f}" for name in ("counts", "less")]
    ends = f"{min(r['left'] for r in rows):z.3f} | {100 * max(r['zeroed'] for r in rows):.2g} %"
    verdicts = f"{sum(r['trusted'] for r in rows)} | {sum(r['wrong_trust'] for r in rows)}"
    return f"| {way} | {len(rows)} | {len(there)} | {' | '.join(middle + most)} | {ends} | {verdicts} |"


def ways(text: str) -> list[str]:
    chosen = [way.strip() for way in text.split(",")]
    if wrong := [way for way in chosen if way not in WAYS]:
        raise argparse.ArgumentTypeError(f"{', '.join(wrong)}; expected some of {', '.join(WAYS)}")
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=17001)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="six patterns")
    parser.add_argument("--reconstruct", type=int, default=0, metavar="N")
    parser.add_argument("--dimensions", type=int, choices=(2, 3), help="of those that are reconstructed, these only")
    parser.add_argument("--ways", type=ways, default=list(WAYS), metavar="A,B", help="these only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    about = {"script": "kinds", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
    rows: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []

    def write() -> None:
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(about | {"rows": rows, "reconstructed": results}, indent=1))

    for index in range(6 if args.quick else args.count):
        rows += [row(way, args.seed, index) for way in args.ways]
        write()
    if rows:
        print(HEAD)
        for way in args.ways:
            print(line(way, [r for r in rows if r["way"] == way]))
        print(line("all", rows), flush=True)
    with one_thread():
        for index in range(args.reconstruct):
            if args.dimensions not in (None, 3 if index % EVERY == EVERY - 1 else 2):
                continue
            known = Results(drawn(args.seed, index, small=True)[1], {})
            for way in args.ways:
                results.append(r := reconstructed(way, args.seed, index, known))
                numbers = ", ".join(f"{name} {r[name]:.4f}" for name in ("corr", "less", "left", "zeroed"))
                text = f"{index} {r['class']} {r['dimensions']}D {r['photons']:.2g} photons, {way}: {numbers}"
                print(text + (", TRUST" if r["trusted"] else ""), flush=True)
                write()
    if results:
        print(HEAD_OF_RECONSTRUCTED)
        for way in args.ways:
            print(line_of_reconstructed(way, [r for r in results if r["way"] == way]))


if __name__ == "__main__":
    main()
