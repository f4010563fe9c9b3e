"""q of pixels of every beamline of the table, beside the same by xrayutilities, a library that has nothing in common with this one.

    python benchmarks/geometry.py [ENVIRONMENT]

ENVIRONMENT: a virtual environment with xrayutilities; without it one is made for this run. xrayutilities is under the GPL: it is run by an
interpreter of its own, and nothing here imports it or needs it elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

POINTS = 200  # of each beamline, each with angles, energy and pixel of its own
SEED = 0
# Our axes in xrayutilities' usual frame: y downstream, z up, so that x points the other way.
OTHER = {"x+": "x-", "x-": "x+", "y+": "z+", "y-": "z-", "z+": "y+", "z-": "y-"}


def ours() -> tuple[list[dict], list[np.ndarray]]:
    """(what xrayutilities needs, q (points, 3) rad/m in our axes, of the crystal as it stands at zero angles) of each row."""
    from untwin.bragg.beamlines import TABLE
    from untwin.bragg.instrument import Instrument

    rng, tasks, answers = np.random.default_rng(SEED), [], []
    for key, row in TABLE.items():
        sample, detector = (off_zero(rng, (POINTS, len(circles))) for circles in (row.sample, row.detector))
        energy = rng.uniform(5e3, 40e3, POINTS)
        pixels = rng.integers(0, 1000, (POINTS, 2))
        distance, size, beam = rng.uniform(0.3, 3), rng.uniform(40e-6, 100e-6, 2), rng.uniform(-500, 1500, 2)
        i = Instrument(
            row, np.vstack([sample, np.zeros(len(row.sample))]), np.vstack([detector, np.zeros(len(row.detector))]), np.append(energy, 9e3),
            distance, (size[0], size[1]), (beam[0], beam[1]),
        )  # fmt: skip
        answers.append(np.array([i.q(n, r, c, POINTS) for n, (r, c) in enumerate(pixels)]))
        tasks.append({
            "beamline": key, "sample": [OTHER[c.axis] for c in row.sample], "detector": [OTHER[c.axis] for c in row.detector],
            "slow": OTHER[row.slow], "fast": OTHER[row.fast], "angles": np.hstack([sample, detector]).tolist(), "energy": energy.tolist(),
            "pixels": pixels.tolist(), "distance": distance, "size": size.tolist(), "beam": beam.tolist(),
        })  # fmt: skip
    return tasks, answers


def off_zero(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Degrees: 5 to 60 on either side."""
    return rng.uniform(5, 60, shape) * rng.choice([-1, 1], shape)


def theirs(tasks: list[dict]) -> list[list[list[float]]]:
    """The same by xrayutilities, 1/angstrom, in its axes; runs in its environment."""
    from xrayutilities.experiment import QConversion  # type: ignore[import-not-found]

    answers = []
    for task in tasks:
        conversion, q = QConversion(task["sample"], task["detector"], [0, 1, 0]), []
        for angles, energy, (row, column) in zip(task["angles"], task["energy"], task["pixels"]):
            conversion.init_area(
                task["slow"], task["fast"], *task["beam"], 1000, 1000, distance=task["distance"],
                pwidth1=task["size"][0], pwidth2=task["size"][1], roi=[row, row + 1, column, column + 1],
            )  # fmt: skip
            q.append([float(np.ravel(component)[0]) for component in conversion.area(*angles, en=energy)])
        answers.append(q)
    return answers


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def main(environment: Path | None) -> None:
    tasks, answers = ours()
    with tempfile.TemporaryDirectory() as folder:
        if environment is None:
            environment = Path(folder) / "environment"
            venv.create(environment, with_pip=True)
            subprocess.run([python_of(environment), "-m", "pip", "install", "-q", "xrayutilities"], check=True)
        file = Path(folder) / "tasks.json"
        file.write_text(json.dumps(tasks), encoding="utf-8")
        done = subprocess.run([python_of(environment), __file__, "--oracle", file], check=True, stdout=subprocess.PIPE, text=True).stdout
    version, others = json.loads(done.strip().splitlines()[-1])
    print(f"xrayutilities {version}; {POINTS} pixels of each beamline, seed {SEED}; all circles 5 to 60 degrees off zero")
    print("beamline   circles   n   largest difference of q, relative to |q|")
    for task, mine, other in zip(tasks, answers, others, strict=True):
        x, y, z = 1e10 * np.array(other).T
        difference = np.linalg.norm(mine - np.stack([-x, z, y], 1), axis=1) / np.linalg.norm(mine, axis=1)
        print(f"{task['beamline']:9}  {len(task['sample'])} + {len(task['detector'])}   {len(mine):3}   {difference.max():.1e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--oracle"]:
        import xrayutilities  # type: ignore[import-not-found]

        print(json.dumps([xrayutilities.__version__, theirs(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))]))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
