"""What the counts alone tell of the detector: the flat background, hot pixels, a bound on the blur; and what straight gaps hide.

    python benchmarks/counts.py --seed 16101 --count 8 --json benchmarks/results/counts.json

64 x 64 patterns of poly, defect and complex (`simulate/shapes.py`), `--count` of each. Found: mean over those where a background is found;
scatter: standard deviation; its error: median of what it says itself; blur bound: median of the least blur that cannot be. Hot: pixels of
1000 counts that are named, of all; false: pixels that are named and are not hot. Gaps: unconstrained modes of the true support behind a
straight gap of so many columns through the centre, lowest and highest; a result behind more than 2.5 is not trusted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.data.dataset import simulated
from untwin.data.outliers import outliers
from untwin.model.background import flat_background
from untwin.model.fringes import blur_bound
from untwin.model.unmeasured import unconstrained_modes
from untwin.simulate.detector import Detector, Total
from untwin.simulate.shapes import CLASSES
from untwin.simulate.streams import Streams

SHAPE, KINDS = (64, 64), ("poly", "defect", "complex")
CONDITIONS = {
    "none, 1e4 photons": Detector(Total(1e4)),
    "none, 1e5 photons": Detector(Total(1e5)),
    "none": Detector(),
    "coherence 0.2": Detector(coherence=0.2),
    "coherence 0.3": Detector(coherence=0.3),
    "coherence 0.5": Detector(coherence=0.5),
    "background 1": Detector(background=1.0),
    "background 2": Detector(background=2.0),
    "background 5": Detector(background=5.0),
    "background 2, coherence 0.5": Detector(background=2.0, coherence=0.5),
    "smooth background 5": Detector(air_scatter=5.0),
    "10 hot of 1000": Detector(hot_unmasked=10, hot_counts=1000),
}
GAPS = (2, 4, 6, 8)


def sample(kind: str, detector: Detector, seed: int, index: int) -> tuple[ut.Pattern, torch.Tensor]:
    """A pattern, and the object behind it, centred."""
    streams = Streams(seed, [index])
    e = detector.expose(torch.from_numpy(CLASSES[kind](SHAPE, streams.generators[0]))[None], streams)
    return simulated(e.intensity[0].numpy(), e.measured[0].numpy()), e.x[0]


def told(name: str, kind: str, seed: int, index: int) -> dict:
    """What the counts of one pattern say."""
    detector = CONDITIONS[name]
    pattern, _ = sample(kind, detector, seed, index)
    strange = outliers(pattern)
    floor = flat_background(strange.masked(pattern))
    row = {
        "condition": name,
        "class": kind,
        "index": index,
        "level": floor.level if floor else None,
        "error": floor.error if floor else None,
    }
    row["bound"] = blur_bound(strange.masked(pattern))
    clean, _ = sample(kind, Detector(detector.exposure, coherence=detector.coherence, background=detector.background), seed, index)
    hot = pattern.intensity != clean.intensity if detector.hot_unmasked else np.zeros(SHAPE, bool)
    return row | {"hot": int(hot.sum()), "named": int((strange.hot & hot).sum()), "false": int((strange.hot & ~hot).sum())}


def line(name: str, rows: list[dict]) -> str:
    levels = [r["level"] for r in rows if r["level"]]
    found = f"{np.mean(levels):.2f} | {np.std(levels):.2f} | {np.median([r['error'] for r in rows if r['level']]):.2f}" if levels else "| |"
    hot = f"{sum(r['named'] for r in rows)} of {sum(r['hot'] for r in rows)}, false {sum(r['false'] for r in rows)}"
    return f"| {name} | {len(rows)} | {found} | {len(rows) - len(levels)} | {np.median([r['bound'] for r in rows]):.1f} | {hot} |"


def behind(width: int, kind: str, seed: int, index: int) -> float:
    """Modes behind a gap through the centre."""
    pattern, x = sample(kind, Detector(), seed, index)
    measured = pattern.measured.copy()
    measured[:, [column % SHAPE[1] for column in range(-(width // 2), width - width // 2)]] = False
    hidden = ut.Pattern(np.where(measured, pattern.intensity, 0), measured)
    return unconstrained_modes(hidden, (x.abs() > 1e-3 * x.abs().max()).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=16101)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="one object of each class")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    count, results, gaps = 1 if args.quick else args.count, [], {}
    print(
        "| pattern | n | background found | scatter | its error | none found | blur bound | hot pixels |\n|---|---|---|---|---|---|---|---|"
    )
    for name in CONDITIONS:
        rows = [told(name, kind, args.seed, i) for kind in KINDS for i in range(count)]
        results += rows
        print(line(name, rows), flush=True)
    print(f"\n| gap, pixels | {' | '.join(KINDS)} |\n|---|---|---|---|")
    for width in GAPS:
        modes = {kind: [behind(width, kind, args.seed, i) for i in range(count)] for kind in KINDS}
        gaps[width] = modes
        print(f"| {width} | {' | '.join(f'{min(m):.1f} to {max(m):.1f}' for m in modes.values())} |", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"script": "counts", "seed": args.seed, "untwin": ut.__version__, "torch": torch.__version__}
        args.json.write_text(json.dumps(about | {"rows": results, "gaps": gaps}, indent=1))


if __name__ == "__main__":
    main()
