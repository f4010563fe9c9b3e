"""Everything that only a GPU can show, in eight minutes at most: does it agree with the CPU, does it wait, how fast is it.

    python benchmarks/cuda.py --json cuda.json
    python benchmarks/cuda.py --device cpu --quick          the same script where there is no GPU: what it can do without one

Every section is written to the file when it ends, so that a crash keeps what was done before; one that fails says why and the next one
begins. Sections that do not fit into --minutes any more are left out, and say so. On a CPU the sections that hold two devices against
each other hold machine code against plain torch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin import engine, fourier
from untwin.learn.pairs import Fresh
from untwin.learn.train import Training, train
from untwin.model.priors.base import Parts
from untwin.model.priors.combine import DoubleDIP
from untwin.model.problem import Problem
from untwin.provenance import made_with
from untwin.runs.checkpoint import Checkpoint
from untwin.runs.device import disagreement
from untwin.runs.names import parse
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.begin import begin
from untwin.solve.fit import Fit
from untwin.solve.run import iterate
from untwin.solve.state import State

SKIPPED = "skipped: no CUDA"
AGREE = 1e-4  # relative difference of images that the recipes of `agreement` must stay below
STILL = ("ER", "SF", "RAAR", "HPR", "RRR", "HIO", "DM", "DM(beta=0.7)", "ADMM", "Capped(RAAR)", "Proximal(RAAR)", "Damped(HIO)", "Mean(ER)")
PASSES = 45  # bytes that the passes of an iteration move for each pixel at least (untwin.doctor.Limit)


class Setting:
    """What the sections share: the device, and whether it is a quick run."""

    def __init__(self, device: str, quick: bool) -> None:
        self.device, self.quick, self.cuda = device, quick, device.startswith("cuda")

    def pattern(self, shape: tuple[int, ...], kind: str = "poly", photons: float = 1e6) -> ut.Pattern:
        rng = np.random.default_rng(7)
        return measure(CLASSES[kind](shape, rng), photons, rng)[0]

    def state(self, shape: tuple[int, ...], starts: int = 1, device: str | None = None) -> tuple[Problem, State]:
        """A problem of random counts and its first state: for timing, where the object does not matter."""
        counts = np.random.default_rng(0).poisson(100, shape).astype(np.float32)
        problem = Problem.of(ut.Pattern(counts, np.ones(shape, bool)), device=device or self.device)
        support = torch.zeros(shape, dtype=torch.bool)
        support[tuple(slice(0, n // 2) for n in shape)] = True
        return problem, begin(problem, tuple(range(starts)), support)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], Any], least: float = 0.3, rounds: int = 3) -> float:
        """Of one call: the median of rounds that take so long each. The first call is not counted."""
        least = least / 4 if self.quick else least
        call()
        self.wait()
        began = time.perf_counter()
        call()
        self.wait()
        count = max(1, min(1000, round(least / max(time.perf_counter() - began, 1e-6))))
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            for _ in range(count):
                call()
            self.wait()
            taken.append((time.perf_counter() - began) / count)
        return float(np.median(taken))


def last(problem: Problem, recipe: str, state: State) -> State:
    *_, state = iterate(problem, parse(recipe), state)
    return state


# sections


def machine(s: Setting) -> dict[str, Any]:
    about: dict[str, Any] = {**made_with(s.device), "processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    if s.cuda:
        p = torch.cuda.get_device_properties(torch.device(s.device))
        about |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "GiB": p.total_memory / 2**30}
    return about


@contextlib.contextmanager
def plain(on: bool) -> Iterator[None]:
    """The CPU without machine code: the reference of a CPU."""
    before, engine.PLAIN = engine.PLAIN, on or engine.PLAIN
    try:
        yield
    finally:
        engine.PLAIN = before


def agreement(s: Setting) -> dict[str, Any]:
    """Relative difference of the images from those of the CPU: near the solution, where an iteration draws rounding together; from random
    starts it is multiplied by every step, which `growth` shows. Beside it how many pixels of the support differ."""
    shape = (32, 32) if s.quick else (64, 64)
    p, support, truth = known(shape)
    noise = 1 + 0.1 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    recipes = {
        "30 RAAR + ShrinkWrap": "30*RAAR + ShrinkWrap",
        "5 Capped(Proximal(RAAR))": "5*Capped(Proximal(RAAR))",
        "HeldOut + DoubleDIP, 20 steps": "Until(HeldOut(patience=30), 20*Fit(DoubleDIP()))",
        "SelfValidation, 3 steps": "Until(SelfValidation(window=3, size=32, batch=2), 3*Fit(DoubleDIP()))",
        "average and jitter, 10 steps": "10*Fit(DoubleDIP(jitter=0.1), average=0.9)",
        "L-BFGS, 5 steps": "5*Fit(Grid(), LBFGS())",
    }

    def ends(device: str, recipe: str, near: bool) -> State:
        problem = Problem.of(p, device=device)
        start = (noise * truth).to(device) if near else None
        return last(problem, recipe, begin(problem, (0, 1), support, start))

    def difference(recipe: str, near: bool = True) -> tuple[float, int]:
        with plain(not s.cuda):
            a = ends("cpu", recipe, near)
        b = ends(s.device, recipe, near)
        apart = float((a.image - b.image.cpu()).norm() / a.image.norm())
        return apart, int((a.support != b.support.cpu()).sum())

    found = {name: difference(recipe) for name, recipe in recipes.items()}
    out: dict[str, Any] = {"device check": disagreement(s.device) if s.cuda else 0.0, **{name: d for name, (d, _) in found.items()}}
    return {
        **out,
        "agree": all(v < AGREE for v in out.values()),
        "support_pixels_that_differ": {name: n for name, (_, n) in found.items()},
        "growth": {f"{k} RAAR": difference(f"{k}*RAAR", near=False)[0] for k in (1, 3, 10, 30)},
    }


def known(shape: tuple[int, ...]) -> tuple[ut.Pattern, torch.Tensor, torch.Tensor]:
    """A pattern without noise behind a small stop, the support of its object, and the object."""
    rng = np.random.default_rng(0)
    support = np.zeros(shape, bool)
    support[tuple(slice(0, (2 + a) * n // 6) for a, n in enumerate(shape))] = True
    x = np.where(support, (0.5 + rng.random(shape)) * np.exp(1j * rng.random(shape)), 0) * 30
    measured = np.ones(shape, bool)
    measured[:2, :2] = False
    pattern = ut.Pattern(np.where(measured, np.abs(np.fft.fftn(x, norm="ortho")) ** 2, 0).astype(np.float32), measured)
    return pattern, torch.from_numpy(support), torch.from_numpy(x.astype(np.complex64))


def silence(s: Setting) -> dict[str, Any] | str:
    """50 steps each, in which torch raises an error wherever the device is waited for; for fits it counts the warnings."""
    if not s.cuda:
        return SKIPPED
    out: dict[str, Any] = {}
    for positivity in (False, True):
        p = s.pattern((64, 64), "real" if positivity else "poly")
        problem = Problem.of(p, positivity=positivity, device=s.device)
        for name in (*STILL, "Fit(Untrained(Skip(depth=2, width=16)))", "Fit(Projector(), regularizer=TV(0.45), root=True, average=0.9)"):
            if name.startswith("Damped") and not positivity:
                continue
            state = last(problem, name, begin(problem, (0, 1)))  # plans, constants and first numbers
            algorithm = parse(name)
            s.wait()
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(50 if name in STILL else 10):
                    state = algorithm.step(problem, state)
                out[f"{name}, {'real' if positivity else 'complex'}"] = "never waits"
            except RuntimeError as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                out[f"{name}, {'real' if positivity else 'complex'}"] = f"waits in {Path(where.filename).name}:{where.lineno}: {error}"
            finally:
                torch.cuda.set_sync_debug_mode("default")
    return out


def bandwidth(s: Setting) -> float:
    """Bytes per second, read and written, of a copy."""
    size = 2**24 if s.quick or not s.cuda else 2**28
    a = torch.ones(size, device=s.device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / s.seconds(lambda: b.copy_(a))


def speed(s: Setting) -> dict[str, Any]:
    """Iterations per second in 3D against the limit: the pair of transforms, and 45 bytes for each pixel at the speed of a copy."""
    copy = bandwidth(s)
    out: dict[str, Any] = {"copy_GB_per_s": copy / 1e9}
    for n in (32, 64) if s.quick else (64, 128, 256):
        problem, state = s.state((n, n, n))
        algorithms = {name: parse(name) for name in ("RAAR", "HIO", "Proximal(RAAR)")}
        pair = s.seconds(lambda x=state.x: fourier.inverse(fourier.forward(x, 3), 3))
        limit = pair + PASSES * n**3 / copy
        row: dict[str, Any] = {"transforms_ms": 1e3 * pair, "limit_ms": 1e3 * limit}
        for name, a in algorithms.items():
            ten = s.seconds(lambda a=a, p=problem, t=state: a.stretch(p, t, 10)) / 10
            row[name] = {"ms": 1e3 * ten, "per_second": 1 / ten, "over_the_limit": ten / limit}
        out[f"{n}^3"] = row
    return out


def starts(s: Setting) -> dict[str, Any]:
    """Iterations per second, all starts counted, in batches."""
    out: dict[str, Any] = {}
    for n, counts in ((64, (1, 12)),) if s.quick else ((64, (1, 4, 24, 96, 384)), (256, (1, 4, 24, 96))):
        for count in counts if s.cuda or s.quick else counts[:3]:
            problem, state = s.state((n, n), count)
            a = parse("RAAR")
            out[f"{n}^2, {count} starts"] = count * 10 / s.seconds(lambda a=a, p=problem, t=state: a.stretch(p, t, 10))
    return out


def graphs(s: Setting) -> dict[str, Any] | str:
    """Ten RAAR as they are, and as one CUDA graph: milliseconds of an iteration, and whether the numbers are the same."""
    if not s.cuda:
        return SKIPPED
    out: dict[str, Any] = {}
    for shape, count in (((64, 64), 1), ((64, 64), 24), ((256, 256), 4), ((64, 64, 64), 1)):
        problem, state = s.state(shape, count)
        row = parse("RAAR").coefficients()
        x, support = state.x.clone(), state.support.contiguous()

        def ten(x: torch.Tensor = x, support: torch.Tensor = support, problem: Problem = problem, row: Any = row) -> torch.Tensor:
            return problem.advance(x, support, row, 10)[0]

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                ten()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            after = ten()
        graph.replay()
        s.wait()
        want = ten()
        out[f"{'x'.join(map(str, shape))}, {count} starts"] = {
            "eager_ms": 100 * s.seconds(ten), "graph_ms": 100 * s.seconds(graph.replay), "same": bool(torch.equal(after, want)),
        }  # fmt: skip
    return out


def many_networks(s: Setting) -> dict[str, Any]:
    """A step of a double DIP for several starts: one after the other (as `Fit` does it), and all at once by torch.func.vmap."""
    n = 32 if s.quick else 64
    problem = Problem.of(s.pattern((n, n)), device=s.device)
    prior, fit, box = DoubleDIP(), Fit(DoubleDIP()), (n // 2, n // 2)
    out: dict[str, Any] = {}
    for count in (1, 2) if s.quick else (1, 4, 16):
        parts = [prior.begin(box, 1, torch.Generator().manual_seed(i)).to(torch.device(s.device)) for i in range(count)]
        trained = {k: torch.stack([p.trained[k] for p in parts]) for k in parts[0].trained}
        fixed = {k: torch.stack([p.fixed[k] for p in parts]) for k in parts[0].fixed}

        def loss(t: dict[str, torch.Tensor], f: dict[str, torch.Tensor]) -> torch.Tensor:
            return problem.render(prior.image(Parts(t, f), box, 1), None)[1]

        slope = torch.func.grad(loss)
        both = torch.func.vmap(slope)

        def loop(parts: list[Parts] = parts, slope: Any = slope) -> list[Any]:
            return [slope(p.trained, p.fixed) for p in parts]

        def at_once(trained: Any = trained, fixed: Any = fixed, both: Any = both) -> Any:
            return both(trained, fixed)

        a, b = loop(), at_once()
        one, other = (torch.cat([t.flatten() for t in g]) for g in ([torch.stack([g[k] for g in a]) for k in b], list(b.values())))
        state = begin(problem, tuple(range(count)))
        state = fit.begin(problem, state)
        out[f"{count} starts"] = {
            "loop_ms": 1e3 * s.seconds(loop), "vmap_ms": 1e3 * s.seconds(at_once), "difference": float((one - other).norm() / one.norm()),
            "Fit_step_ms": 1e3 * s.seconds(lambda state=state: fit.step(problem, state)),
        }  # fmt: skip
    return out


def precision(s: Setting) -> dict[str, Any]:
    """A double DIP in float32, in TF32 (where there is a GPU) and in bfloat16: time of a step, and the misfit that it comes to."""
    n, steps = (32, 5) if s.quick else (128, 200)
    problem = Problem.of(s.pattern((n, n)), device=s.device)
    out: dict[str, Any] = {}
    for name in ("float32", *(["TF32"] if s.cuda else []), "bfloat16"):
        fit = Fit(DoubleDIP(), bfloat16=name == "bfloat16")
        with tf32() if name == "TF32" else contextlib.nullcontext():
            state = fit.begin(problem, begin(problem, (0,)))
            fit.step(problem, state)
            s.wait()
            began = time.perf_counter()
            for _ in range(steps):
                state = fit.step(problem, state)
            s.wait()
            out[name] = {"ms": 1e3 * (time.perf_counter() - began) / steps, "misfit": float(problem.misfit(state.image)[0])}
    return out


@contextlib.contextmanager
def tf32() -> Iterator[None]:
    """Fits as they would be with cuDNN's own default."""
    from untwin.solve import fit

    before, fit.single_precision = fit.single_precision, contextlib.nullcontext
    try:
        yield
    finally:
        fit.single_precision = before


def resume(s: Setting) -> dict[str, Any]:
    """A reconstruction is killed when its first checkpoint lies there, gone on with in another process, and held against one that was not
    disturbed: the same bits?"""

    def child(folder: Path, out: Path, checkpoint: bool) -> subprocess.Popen:
        command = [sys.executable, __file__, "--device", s.device, "--child", str(folder) if checkpoint else "", "--out", str(out)]
        return subprocess.Popen(command + (["--quick"] if s.quick else []))

    with tempfile.TemporaryDirectory() as place:
        folder, first, second, third = (Path(place) / name for name in ("kept", "first.npy", "second.npy", "third.npy"))
        process, killed, began = child(folder, first, True), False, time.monotonic()
        while process.poll() is None and time.monotonic() - began < 90:
            if folder.exists() and any(len(p.name) == 40 for p in folder.iterdir()):
                process.send_signal(signal.SIGKILL)
                killed = True
                break
            time.sleep(0.02)
        process.wait()
        codes = [p.wait(120) for p in (child(folder, second, True), child(Path(), third, False))]
        same = codes == [0, 0] and np.load(second).tobytes() == np.load(third).tobytes()
        return {"killed": killed, "ended": codes == [0, 0], "same_bits": bool(same)}


def reconstructed(s: Setting, folder: str, out: Path) -> None:
    """What `resume` runs in a process of its own."""
    n, k = (32, 400) if s.quick else (64, 3000)
    kept = Checkpoint(Path(folder), every=0.1) if folder else None
    recipe = f"2*({k}*HIO + ShrinkWrap) + {k}*RAAR + 10*Fit(DoubleDIP())"
    np.save(out, ut.reconstruct(s.pattern((n, n)), recipe, starts=4, seed=3, workers=1, device=s.device, checkpoint=kept).image.numpy())


def whole(s: Setting) -> dict[str, Any]:
    """Automatic reconstructions from beginning to end: seconds and the verdict, on the CPU as well where it is no quick run."""
    out: dict[str, Any] = {}
    for shape in ((32, 32),) if s.quick else ((128, 128), (48, 48, 48)):
        for device in {s.device} if s.quick else dict.fromkeys((s.device, "cpu")):
            r = ut.reconstruct(s.pattern(shape, photons=1e7), starts=4 if s.quick else 12, device=device)
            numbers = {k: r.numbers[k] for k in ("seconds", "r_factor", "agreement")}
            out[f"{'x'.join(map(str, shape))} {device}"] = {**numbers, "verdict": r.verdict.text}
    return out


def training(s: Setting) -> dict[str, Any]:
    """A minute of training on samples that are drawn on the way: samples per second, and the loss at the ends."""
    seconds, batch = (4.0, 8) if s.quick else (60.0, 64)
    data = Fresh(ut.simulate.Crystals("cdi-nn", seed=0), ut.simulate.Crystals("cdi-nn", seed=1_000_003))
    with tempfile.TemporaryDirectory() as place:
        first = Training("CdiNN(form=32)", "cdi-nn", objective="canonical", steps=4, batch=batch, check=4, held=batch, rising=2)
        rows = train(first, data, Path(place) / "a", device=s.device)
        began = time.perf_counter()
        train(first, data, Path(place) / "b", device=s.device)
        steps = max(8, int(seconds / ((time.perf_counter() - began) / first.steps)))
        began = time.perf_counter()
        rows = train(replace(first, steps=steps, check=max(1, steps // 4), rising=steps // 10), data, Path(place) / "c", device=s.device)
        return {
            "steps": steps, "samples_per_second": steps * batch / (time.perf_counter() - began), "loss": [r["loss"] for r in rows],
        }  # fmt: skip


SECTIONS: tuple[tuple[Callable[[Setting], Any], float], ...] = (  # and the seconds that it takes at most, on a GPU
    (machine, 5), (agreement, 40), (silence, 30), (speed, 40), (starts, 30), (graphs, 30), (many_networks, 40), (precision, 40),
    (resume, 60), (whole, 60), (training, 90),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small arrays and short runs: does the script work")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", nargs="*", help="sections by name")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    setting = Setting(args.device, args.quick)
    if args.child is not None:
        reconstructed(setting, args.child, args.out)
        return
    result: dict[str, Any] = {"script": "benchmarks/cuda.py", "device": args.device, "quick": args.quick}
    clock = time.monotonic()
    for section, expected in SECTIONS:
        name = section.__name__
        if args.only and name not in args.only:
            continue
        left = 60 * args.minutes - (time.monotonic() - clock)
        began = time.monotonic()
        if left < (5 if args.quick else expected):
            result[name] = f"left out: {left:.0f} s are left, it may take {expected:.0f}"
        else:
            try:
                result[name] = section(setting)
            except Exception as error:  # the others are worth having
                result[name] = {"failed": f"{type(error).__name__}: {error}", "where": traceback.format_exc(limit=-3)}
        if isinstance(result[name], dict):
            result[name]["section_seconds"] = round(time.monotonic() - began, 2)
        print(name, json.dumps(result[name], default=str), flush=True)
        if args.json:
            text = json.dumps(result, indent=1, default=lambda v: None if isinstance(v, float) and math.isnan(v) else str(v))
            part = args.json.with_suffix(".part")
            part.write_text(text + "\n", encoding="utf-8")
            os.replace(part, args.json)


if __name__ == "__main__":
    main()
