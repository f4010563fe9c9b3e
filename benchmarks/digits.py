"""DNN-V and DNN-P on digits (Manekar, Tayal, Kumar and Sun, 2020): what shifts and flips do to a network that is shown the object, to one
that is shown the pattern alone, and to one that is shown one copy of each object.

    python benchmarks/digits.py --quick     a few seconds, to see that it runs
    python benchmarks/digits.py             the teaching version: under ten minutes on two cores
    python benchmarks/digits.py --full      as in the paper, for a GPU: 60,000 images, 300 rounds, a wider net

The images: UNTWIN_DATA/mnist, or --data with any folder that has the idx files. Writes benchmarks/results/digits.json, where
other runs stay, and docs/digits.png (not with --only or --objectives).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from untwin.learn.digits import Digits
from untwin.learn.objectives import nearest_copy
from untwin.learn.train import Training, train
from untwin.learn.validate import validated
from untwin.model.networks import weights
from untwin.model.networks.architecture import architecture
from untwin.processes import cores, pool

RESULTS = Path(__file__).parent / "results"
VARIANTS = {"none": (0, False), "shift": (4, False), "flip": (0, True), "both": (4, True)}
RUNS = [(v, o) for v in VARIANTS for o in ("supervised", "passive")] + [("both", "canonical"), ("both", "invariant")]
RATES = {"passive": 3e-4}  # at 1e-3, that of the others, a DNN-P pushes every object into a corner of its box
TITLES = {"supervised": "DNN-V", "passive": "DNN-P", "canonical": "canonical targets", "invariant": "invariant loss"}


def one(variant: str, objective: str, data: str, steps: int, batch: int, width: int, images: int, tested: int, device: str) -> dict:
    """Train one network and try it on test images."""
    torch.set_num_threads(1)
    shift, flip = VARIANTS[variant]
    digits = Digits(data, shift, flip, count=images)
    of = architecture(f"RealUNet(width={width})")
    rate = RATES.get(objective, 1e-3)
    run = Training(
        repr(of), f"digits {variant}", objective, steps, batch, rate=rate, check=steps, held=64, rising=min(50, steps), warm=steps // 4
    )
    with tempfile.TemporaryDirectory() as folder:
        clock, cpu = time.perf_counter(), time.process_time()
        train(run, digits, Path(folder), device=device)
        spent = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
        net = weights.load(Path(folder) / "weights.safetensors").net.to(device)
    held = digits.validation_batch(tested, device)
    with torch.no_grad():
        output = net(of.take(held.intensity, held.measured))
    said, truth = of.image(output).float(), of.truth(held.image)
    scale = ((said * truth).flatten(1).sum(1) / said.square().flatten(1).sum(1).clamp(min=1e-30)).clamp(0, 4)
    moved = nearest_copy(of, truth, said)
    # DNN-P fixes the object up to a factor, so both errors are taken after the factor that fits best
    best = (said * moved).flatten(1).sum(1) / said.square().flatten(1).sum(1).clamp(min=1e-30)
    found = validated(of, net, held)
    return {
        "variant": variant,
        "objective": objective,
        "samples": steps * batch,
        "rate": rate,
        "mse_raw": float((said * scale[:, None, None] - truth).square().mean()),
        "mse_aligned": float((said * best[:, None, None] - moved).square().mean()),
        "error_raw": found["raw_error"],
        "error_aligned": found["error"],
        "misfit": found["misfit"],
        **spent,
        "pictures": [[t.tolist() for t in (truth[i].cpu(), said[i].cpu())] for i in range(3)],
    }


def draw(rows: list[dict], path: Path) -> None:
    """Truth, DNN-V, DNN-P for each variant, as in the paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    variants = [v for v in VARIANTS if any(r["variant"] == v for r in rows)]
    figure = Figure(figsize=(11, 0.4 + 11 / len(variants)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 3 * len(variants))
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for k, variant in enumerate(variants):
        by = {r["objective"]: r for r in rows if r["variant"] == variant}
        for i in range(3):
            for j, (objective, which, title) in enumerate(
                (("supervised", 0, "truth"), ("supervised", 1, "DNN-V"), ("passive", 1, "DNN-P"))
            ):
                axes[i, 3 * k + j].imshow(by[objective]["pictures"][i][which], cmap="gray", vmin=0)
                axes[0, 3 * k + j].set_title(f"{title}\n{variant}", fontsize=9)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--data", default=os.path.join(os.environ.get("UNTWIN_DATA", ""), "mnist"))
    parser.add_argument("--samples", type=int, help="seen by each network")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--only", help="variants, such as none,both")
    parser.add_argument("--objectives", help="such as supervised,invariant")
    options = parser.parse_args()
    if not (Path(options.data) / "train-images-idx3-ubyte.gz").exists() and not (Path(options.data) / "train-images-idx3-ubyte").exists():
        print(f"skipped: no MNIST in {options.data!r}; set UNTWIN_DATA or give --data with the idx files")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.quick:
        settings = (4, 8, 8, 64, 16)
    elif options.full:
        settings = (300 * 60_000 // 256, 256, 64, 60_000, 10_000)
    else:
        samples = options.samples or 20_000
        settings = (samples // 16, 16, 12, min(60_000, max(6_000, samples // 2)), 512)
    steps, batch, width, images, tested = settings
    began = time.perf_counter()
    runs = [r for r in RUNS if not options.only or r[0] in options.only.split(",")]
    runs = [r for r in runs if not options.objectives or r[1] in options.objectives.split(",")]
    jobs = [(v, o, options.data, steps, batch, width, images, tested, device) for v, o in runs]
    if device == "cuda" or options.workers == 1:
        rows = []
        for job in jobs:
            rows.append(one(*job))
            print(said(rows[-1]), flush=True)
    else:
        with pool(options.workers) as executor:
            rows = [f.result() for f in [executor.submit(one, *job) for job in jobs]]
        for row in rows:
            print(said(row))
    if options.quick:
        print("a quick run writes nothing")
        return
    if not (options.objectives or options.only):
        draw(rows, RESULTS.parents[1] / "docs" / "digits.png")
    command = " ".join(["python benchmarks/digits.py", *sys.argv[1:]])
    for row in rows:
        del row["pictures"]
        row |= {"command": command, "device": device, "width": width, "images": images, "tested": tested}
    path = RESULTS / "digits.json"
    made = {(r["variant"], r["objective"], r["samples"]) for r in rows}
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [r for r in kept if (r["variant"], r["objective"], r["samples"]) not in made] + rows
    path.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(f"{path}, {time.perf_counter() - began:.0f} s")


def said(r: dict) -> str:
    return (
        f"{r['variant']:>6} {TITLES[r['objective']]:>18}: mse raw {r['mse_raw']:.4f} aligned {r['mse_aligned']:.4f}, "
        f"error raw {r['error_raw']:.3f} aligned {r['error_aligned']:.3f}, misfit {r['misfit']:.3f}, {r['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
