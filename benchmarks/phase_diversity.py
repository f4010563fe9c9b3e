"""The wavefront in a telescope's pupil from two images of a star, in focus and defocused, beside solvephase on the same data.

    python -m venv /tmp/solvephase && /tmp/solvephase/bin/pip install solvephase==0.2.0
    python benchmarks/phase_diversity.py --solvephase /tmp/solvephase/bin/python --json benchmarks/results/phase_diversity.json

Pupil of 64 pixels across, round or of 18 hexagons; two images of 128 x 128, two pixels to λ/D, λ = 1.65 um, one of them with 400 nm rms of
defocus, 1e6 photons in all, Poisson noise. The wavefront: 40 Zernike modes from defocus on, coefficient j of deviation 1 / j, scaled to the
rms that is named. Residual: rms over the pupil of what was found less the truth, piston removed; "no tilt": tip and tilt removed as well.
"42 modes": told that the wavefront is made of modes 2 to 43; "36 modes" is what solvephase takes by itself; "pixels": told nothing.
CPU: seconds of the process after import, one thread; solvephase's second call of two, so that its first imports do not count. Of untwin
the fit alone, and all that `reconstruct` does: the error from two halves of the photons and the verdict are in it. What the JSON file
holds already is not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from rival import INSTALL, peer
from untwin.model.priors.zernike import zernike
from untwin.processes import one_thread

PIXELS, DETECTOR, WAVELENGTH, DEFOCUS, MODES, FIRST = 64, 128, 1.65e-6, 0.4e-6, 40, 4
K = 2 * np.pi / WAVELENGTH
MODAL = (
    "Until(Plateau(patience=10, tolerance=1e-5), 150*Fit(Polar(Uniform(), Zernike(42), vector=False), LBFGS(history=20), "
    "loss=Amplitude(), later=Poisson(), after=15))"
)
OURS: dict[str, dict] = {
    "untwin, 42 modes": {"recipe": MODAL, "starts": 1},
    "untwin, 42 modes, 4 starts": {"recipe": MODAL.replace("Zernike(42)", "Zernike(42, spread=0.05)"), "starts": 4},
    "untwin, pixels, 4 starts": {"recipe": "FlatStart(phase=0.3) + 100*RAAR + 30*ER", "starts": 4},
}
THEIRS: dict[str, dict] = {
    "solvephase, retrieve, 36 modes": {"call": "retrieve", "basis": 36},
    "solvephase, retrieve, 42 modes": {"call": "retrieve", "basis": 42},
    "solvephase, Levenberg-Marquardt, 42 modes": {"call": "solve", "basis": 42},
    "solvephase, retrieve, pixels": {"call": "retrieve", "basis": "zonal"},
}
RETRIEVE = """
import json, sys, time
import numpy as np, solvephase as sp
data, settings = np.load(sys.argv[1]), json.loads(sys.argv[3])
amplitude, images, wavelength = data["amplitude"], data["images"], float(data["wavelength"])
basis = settings["basis"]
for _ in range(2):
    cpu = time.process_time()
    pupil = sp.Pupil.from_array(amplitude, diameter=1.0, pitch=1.0 / len(amplitude))
    if settings["call"] == "retrieve":
        found = sp.retrieve(images, pupil, wavelength, sampling=2.0, diversity=data["diversity"], basis=basis)
    else:
        model = sp.FocalPlaneModel(pupil, wavelength, images.shape[1:], sampling=2.0, diversity=data["diversity"])
        found = sp.solve(sp.FocalPlaneProblem(model, images, basis=basis, loss="poisson"), method="lm")
    cpu = time.process_time() - cpu
np.savez(sys.argv[2], opd=found.opd, cpu=cpu, version=sp.__version__)
"""


def hexagons(n: int, rings: int = 2, gap: float = 0.02, fine: int = 4) -> np.ndarray:
    """(n, n): transmission of a mirror of hexagons without the middle one, 0 to 1, within the disk that fills the array."""
    y, x = (np.indices((n * fine, n * fine)) + 0.5) / (n * fine) * 2 - 1
    pitch, inside = 0.93 * 2 / (2 * rings + 1), np.zeros_like(x)
    for p in range(-rings, rings + 1):
        for q in range(-rings, rings + 1):
            if max(abs(p), abs(q), abs(p + q)) > rings or (p, q) == (0, 0):
                continue
            u, v = x - pitch * (q + p / 2), y - pitch * 3**0.5 / 2 * p
            sides = np.maximum.reduce([abs(u), abs(u + 3**0.5 * v) / 2, abs(u - 3**0.5 * v) / 2])
            inside[sides < pitch / 2 * (1 - gap)] = 1
    return inside.reshape(n, fine, n, fine).mean((1, 3))


def disk(n: int, fine: int = 4) -> np.ndarray:
    y, x = (np.indices((n * fine, n * fine)) + 0.5) / (n * fine) * 2 - 1
    return (x**2 + y**2 <= 1).reshape(n, fine, n, fine).mean((1, 3))


PUPILS = {"round": disk, "segmented": hexagons}


class Scene:
    """A wavefront, its pupil and its two images. Lengths in metres; images as solvephase takes them, the axis between four pixels."""

    def __init__(self, pupil: str, rms: float, seed: tuple[int, ...], photons: float):
        rng = np.random.default_rng(seed)
        self.amplitude = PUPILS[pupil](PIXELS)
        self.weight = self.amplitude**2 / np.sum(self.amplitude**2)
        maps = zernike((PIXELS, PIXELS), MODES, FIRST)
        self.opd = self._scaled(np.tensordot(rng.normal(size=MODES) / np.arange(1, MODES + 1), maps, 1), rms)
        self.diversity = np.stack([0 * self.opd, self._scaled(maps[0], DEFOCUS)])
        i = np.arange(PIXELS) - (PIXELS - 1) / 2
        middle = np.exp(-1j * np.pi * (i[:, None] + i[None]) / DETECTOR)  # puts the axis half a pixel from index 0
        self.masks = (self.amplitude * np.exp(1j * K * self.diversity) * middle).astype(np.complex64)
        waves = np.fft.fft2(self.masks * np.exp(1j * K * self.opd), (DETECTOR, DETECTOR))
        mean = np.abs(waves) ** 2
        counts = rng.poisson(mean * photons / mean.sum()).astype(np.float64)
        self.images = np.fft.fftshift(counts, (1, 2))

    def _scaled(self, opd: np.ndarray, rms: float) -> np.ndarray:
        opd = np.where(self.amplitude > 0, opd - np.sum(self.weight * opd), 0)
        return opd * rms / np.sqrt(np.sum(self.weight * opd**2))

    def pattern(self) -> ut.Pattern:
        counts = np.fft.ifftshift(self.images, (1, 2)).astype(np.float32)
        return ut.Pattern(counts, np.ones(counts.shape, bool), optics=ut.Optics(masks=self.masks))

    def residual(self, opd: np.ndarray) -> dict[str, float]:
        """nm, without piston, and without tip and tilt."""
        inside, i = self.amplitude > 0, np.arange(PIXELS) - (PIXELS - 1) / 2
        root = np.sqrt(self.weight[inside])
        plane = np.stack([np.ones(len(root)), *(np.broadcast_to(v, inside.shape)[inside] for v in (i[:, None], i[None]))], 1)
        left = {}
        for name, columns in (("rms", plane[:, :1]), ("no_tilt", plane)):
            a, b = columns * root[:, None], (opd - self.opd)[inside] * root
            left[name] = float(np.linalg.norm(b - a @ np.linalg.lstsq(a, b)[0]) * 1e9)
        return left

    def of_wave(self, x: np.ndarray) -> np.ndarray:
        """The wavefront of a complex x, in the period that is nearest to the truth: what is measured does not tell periods apart."""
        turned = x * np.exp(-1j * K * self.opd)
        turned = turned / np.exp(1j * np.angle(np.sum(self.weight * turned)))
        return self.opd + np.angle(turned) / K


def ours(scene: Scene, recipe: str, starts: int) -> dict:
    """fit: CPU of the iterations alone, cpu: of everything that reconstruct does, errors from halves of the photons included."""
    began = time.process_time()
    problem = ut.Problem(scene.pattern(), constraint=ut.constraints.Support() & ut.constraints.PhaseOnly())
    solution = ut.reconstruct(problem, recipe, starts=starts, seed=0, workers=1)
    cpu = time.process_time() - began
    with one_thread():
        began = time.process_time()
        for _ in ut.iterate(problem, ut.parse(recipe), ut.begin(problem, tuple(range(starts)))):
            pass
        fit = time.process_time() - began
    found = scene.residual(scene.of_wave(solution.image.numpy()))
    return found | {"cpu": cpu, "fit": fit, "trusted": solution.verdict.trusted}


def theirs(scene: Scene, python: str, settings: dict) -> dict:
    given = {"images": scene.images, "amplitude": scene.amplitude, "diversity": scene.diversity, "wavelength": np.float64(WAVELENGTH)}
    found = peer(python, RETRIEVE, given, **settings)
    opd = scene.of_wave(np.exp(1j * K * found["opd"]))  # the same freedom of a period
    return scene.residual(opd) | {"cpu": float(found["cpu"]), "version": str(found["version"])}


def table(runs: list[dict]) -> str:
    """Contestants down, a block for each pupil and rms."""
    lines = [
        "| pupil, wavefront | | n | residual, nm: median (worst) | no tilt | CPU s of the fit | CPU s of all | trusted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cases = dict.fromkeys((r["pupil"], r["rms_nm"]) for r in runs)
    for pupil, rms in cases:
        for name in dict.fromkeys(r["name"] for r in runs):
            rows = [r for r in runs if (r["pupil"], r["rms_nm"], r["name"]) == (pupil, rms, name)]
            if not rows:
                continue
            left, flat, cpu = ([r[k] for r in rows] for k in ("rms", "no_tilt", "cpu"))
            fit = [r.get("fit", r["cpu"]) for r in rows]
            trusted = [r["trusted"] is True for r in rows if "trusted" in r]
            cells = (
                f"{pupil}, {rms:g} nm", name, str(len(rows)), f"{np.median(left):.2f} ({max(left):.2f})", f"{np.median(flat):.2f}",
                f"{np.median(fit):.2f}", f"{np.median(cpu):.2f}", f"{np.mean(trusted):.2f}" if trusted else "",
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solvephase", metavar="PYTHON", help="the python of an environment with solvephase; without it untwin alone")
    parser.add_argument("--seed", type=int, default=20520)
    parser.add_argument("--count", type=int, default=10, help="wavefronts of each kind")
    parser.add_argument("--pupils", default=",".join(PUPILS))
    parser.add_argument("--rms", default="100,300", help="nm")
    parser.add_argument("--photons", type=float, default=1e6, help="in both images together")
    parser.add_argument("--quick", action="store_true", help="two wavefronts of the first kind")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not args.solvephase:
        print(f"Without --solvephase: untwin alone. To compare:\n    {INSTALL}\n")
    cases = [(p, float(r)) for p in args.pupils.split(",") for r in args.rms.split(",")][: 1 if args.quick else None]
    runs = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    for pupil, rms in cases:
        for i in range(2 if args.quick else args.count):
            seed = (args.seed, i)
            scene = Scene(pupil, rms * 1e-9, seed, args.photons)
            for name in (*(THEIRS if args.solvephase else ()), *OURS):
                key = {"pupil": pupil, "rms_nm": rms, "photons": args.photons, "seed": list(seed), "name": name}
                if any(all(r[k] == v for k, v in key.items()) for r in runs):
                    continue
                runs.append(key | (ours(scene, **OURS[name]) if name in OURS else theirs(scene, args.solvephase, THEIRS[name])))
                if args.json:
                    head = {"script": "phase_diversity", "untwin": ut.__version__, "torch": torch.__version__}
                    args.json.write_text(json.dumps({**head, "machine": platform.machine(), "runs": runs}, indent=1))
    print(table(runs))


if __name__ == "__main__":
    main()
