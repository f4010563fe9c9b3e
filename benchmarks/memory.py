"""The memory that a reconstruction takes, as it is said before it begins, against the measured peak.

    python benchmarks/memory.py --json benchmarks/results/memory.json

Every case is `untwin reconstruct` in a fresh process, from reading to the report; the peak is that of the resident memory of the
process and its workers together, looked at every 20 ms (pages that they share count in each). Steps are few: they do not change the
peak. Object: a box.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import untwin as ut

FIRST = "2*(5*HIO + ShrinkWrap(sigma=1.5)) + 2*ER"
WHOLE = (
    f"Plan(Search({FIRST}, starts=STARTS, families=2), Guide((5*Capped(RAAR) + 2*ER, 5*RAAR + 2*ER), generations=2), Finish((ShrinkWrap("
    "threshold=Deal((0.1, 0.2, 0.3, 0.4))) + 5*Proximal(RAAR) + 3*Mean(Proximal(RAAR)) + Rescale + 2*ER,), deal=4, rounds=2))"
)
CASES = [  # shape, positivity, workers, starts, recipe
    ((32, 32), False, 1, 8, FIRST),
    ((128, 128), False, 1, 24, WHOLE),
    ((128, 128), True, 1, 12, FIRST),
    ((512, 512), False, 1, 8, FIRST),
    ((512, 512), False, 2, 8, WHOLE),
    ((1024, 1024), True, 1, 6, WHOLE),
    ((1024, 1024), False, 1, 4, "6*ADMM + 3*ER"),
    ((32, 32, 32), False, 1, 8, WHOLE),
    ((64, 64, 64), False, 2, 8, WHOLE),
    ((64, 64, 64), True, 1, 8, "5*DM(beta=0.7) + 5*HIO"),
    ((96, 96, 96), False, 1, 6, WHOLE),
    ((128, 128, 128), False, 1, 4, FIRST),
    ((128, 128, 128), True, 2, 4, WHOLE),
    ((128, 128, 128), False, 1, 2, "4*ADMM + 4*Mean(ER)"),
    ((128, 128), False, 1, 4, "Until(WMV(window=50, patience=20), 60*HIO)"),
    ((256, 256), False, 1, 2, "Until(HeldOut(patience=20), 4*Fit(DoubleDIP(Skip(depth=2, width=16, inputs=8, padding='replicate'))))"),
    ((128, 128, 128), False, 2, 4, WHOLE),
    ((512, 512), False, 2, 2, "Until(HeldOut(patience=20), 2*Fit(DoubleDIP(Skip(depth=2, width=16, inputs=8, padding='replicate'))))"),
    ((48, 48, 48), False, 1, 2, "Until(HeldOut(patience=20), 3*Fit(DoubleDIP(Skip(depth=2, width=16, inputs=8, padding='replicate'))))"),
]


def stored(shape: tuple[int, ...], folder: Path) -> Path:
    """The counts of a box that fills a third of every axis, 1e7 photons, zero frequency in the middle."""
    wave = np.ones((1,) * len(shape))
    for axis, n in enumerate(shape):
        line = np.abs(np.fft.fft(np.abs(np.arange(n) - n / 2) < n / 6)) ** 2
        wave = wave * np.fft.fftshift(line).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    counts = np.random.default_rng(0).poisson(wave * (1e7 / wave.sum())).astype(np.float32)
    np.save(folder / "pattern.npy", counts)
    return folder / "pattern.npy"


def resident(process: int) -> int:
    """Bytes of a process and all that it has started."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def measured(shape: tuple[int, ...], positivity: bool, workers: int, starts: int, recipe: str) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = recipe.replace("STARTS", str(starts))
        command = [sys.executable, "-m", "untwin", "reconstruct", str(stored(shape, folder)), "-o", str(folder / "out"), "--recipe", plan]
        more = ["--starts", str(starts), "--workers", str(workers), "--device", "cpu", *(["--positivity"] if positivity else [])]
        process = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        peak, began = 0, time.monotonic()
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.02)
        if process.returncode:
            raise SystemExit(process.stderr.read().decode() if process.stderr else "failed")
        told = json.loads((folder / "out" / "summary.json").read_text())["made"]["memory_estimated"]
    return {"shape": shape, "real": positivity, "workers": workers, "starts": starts, "recipe": recipe, "peak": peak, "estimate": told,
            "percent": 100 * (told / peak - 1), "seconds": time.monotonic() - began}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="not used: nothing here is drawn by chance")
    parser.add_argument("--quick", action="store_true", help="every fourth case")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("| array | object | workers | starts | recipe | peak, MB | estimate, MB | estimate is |\n|---|---|---|---|---|---|---|---|")
    for i, case in enumerate(CASES):
        if (args.quick and i % 4) or (args.only and i not in args.only):
            continue
        row = measured(*case)
        rows.append(row)
        name = "all stages" if row["recipe"] == WHOLE else row["recipe"][:48]
        print(
            f"| {' x '.join(map(str, row['shape']))} | {'real' if row['real'] else 'complex'} | {row['workers']} | {row['starts']} | "
            f"{name} | {row['peak'] / 1e6:.0f} | {row['estimate'] / 1e6:.0f} | {row['percent']:+.0f} % |",
            flush=True,
        )
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"script": "memory", "untwin": ut.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
