"""A denoiser that was trained on simulated crystals, in place of the refinement by an untrained prior.

    python benchmarks/crystal_denoiser.py --seed 41 --json benchmarks/results/crystal_denoiser.json
    python benchmarks/crystal_denoiser.py --quick

The network: dilated convolutions of an object's real and imaginary part, magnitude, unit vector of the phase and level of the noise;
what they make of it is its noise. Trained on poly and defect (`simulate/shapes.py`) at 5e3 to 2e6 photons: the noise is what error
reductions from the truth make of counted photons in a support a little too wide, so that it has their correlations, and more or less of it.

Plug-and-play: x' = D(x + w (P_M x - x), level), so many times, from the results of the automatic plan without its refinement, the best one
and that most like it, in their support grown by two pixels. Number, w, level and how fast it falls are chosen for each number of photons on
objects of other seeds, by E; what comes out goes through the rule of `reconstruct`, as what the refinement makes of the same results does.
Whether w and the level are right is thus known better than a user could know.

E as in priors.py. Classical: the plan without a refinement. Refine: with it, at the settings of `--method refine`, 350 steps at most.
Not trained on: texture (`complex`), which is no crystal, and crystals of other recipes (`crystals-2d`,
docs/simulate.md). CPU: seconds of the step itself, both results of an object together, one thread.
--net keeps the trained network in a file. An object that is in the JSON already is not made again; --budget ends after so many minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.model.box import grown
from untwin.runs import auto
from untwin.runs.assess import assess
from untwin.runs.choose import mean
from untwin.runs.launch import launcher, one_thread
from untwin.runs.population import Population
from untwin.runs.stages.plan import Outcome, Plan
from untwin.runs.stages.refine import Refine
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

SHAPE, BOX = (64, 64), 44
KINDS = (*CLASSES, "crystals-2d", "crystals-2d/non-convex", "crystals-2d/domains")
PHOTONS = (1e4, 2e4, 1e5, 1e6)
WIDTH, DILATIONS = 32, (1, 2, 4, 4, 2, 1)
DEVIATION = math.sqrt(0.5)  # of what counting leaves in a pixel of the object, whatever the photons: 1/2 in an amplitude, and its phase
TRAINING, CHOICE, TEST = range(3)  # streams of random numbers
SETTINGS = [
    dict(zip(("steps", "weight", "level", "fall"), s))
    for s in [*product((1,), (0.3, 1.0), (0.7, 1.0, 1.5), (1.0,)), *product((3, 8, 20), (0.1, 0.3, 1.0), (0.5, 0.7, 1.0, 1.5), (1.0, 0.4))]
]


# the network


def drawn(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind in CLASSES:
        return CLASSES[kind](SHAPE, rng)
    return ut.simulate.Crystals(kind, seed=int(rng.integers(2**31)))[0]["image"].numpy()


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = [6, *[WIDTH] * (len(DILATIONS) - 1), 2]
        pairs = zip(channels, channels[1:], DILATIONS)
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(a, b, 3, padding=d, dilation=d) for a, b, d in pairs)

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """x: (batch, height, width) complex, typical magnitude 1. level: (batch,), deviation of its noise."""
        level = level[:, None, None].expand(x.shape)
        unit = x / (x.abs().square() + level.square()).sqrt()
        y = torch.stack([x.real, x.imag, x.abs(), unit.real, unit.imag, level], 1)
        for i, layer in enumerate(self.layers):
            y = layer(y if i == 0 else torch.relu(y))
        return x - level * torch.complex(y[:, 0], y[:, 1])


def typical(x: torch.Tensor) -> torch.Tensor:
    """(batch,): the magnitude of x where it is not zero."""
    m = x.abs().flatten(1)
    return m.square().sum(1) / m.sum(1).clamp(min=1e-30)


def middle(x: torch.Tensor) -> torch.Tensor:
    first = (x.shape[-1] - BOX) // 2
    return x[..., first : first + BOX, first : first + BOX].contiguous()


def examples(count: int, kinds: list[str], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy objects in a support, and the same without noise, (count, BOX, BOX), in the units of the counts."""
    noisy, clean = [], []
    while 64 * len(clean) < count:
        truth = np.stack([drawn(kinds[i % len(kinds)], rng) for i in range(64)])
        photons = np.exp(rng.uniform(math.log(5e3), math.log(2e6), (64, 1, 1)))
        truth = torch.from_numpy(truth * np.sqrt(photons / np.square(np.abs(truth)).sum((1, 2), keepdims=True))).to(torch.complex64)
        amplitude = torch.from_numpy(rng.poisson(torch.fft.fft2(truth, norm="ortho").abs().square().numpy()).astype(np.float32)).sqrt()
        inside = truth.abs() > 0.05 * truth.abs().amax((1, 2), keepdim=True)
        support, x = grown(inside, int(rng.integers(3))), truth
        for _ in range(int(rng.integers(5, 60))):
            x = torch.fft.ifft2(amplitude * torch.sgn(torch.fft.fft2(x * support)), norm="ortho")
        noisy.append(middle(x * grown(inside, int(rng.integers(1, 4)))))
        clean.append(middle(truth))
    return torch.cat(noisy)[:count], torch.cat(clean)[:count]


def trained(args: argparse.Namespace) -> tuple[Net, dict[str, Any]]:
    """The network, and what its training took; of --net if that exists."""
    if args.net and args.net.exists():
        content = torch.load(args.net)
        net = Net()
        net.load_state_dict(content["weights"])
        return net, content["training"]
    clock = time.process_time()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng((args.seed, TRAINING))
    noisy, clean = examples(args.examples, args.train, rng)
    net, losses = Net(), []
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, args.steps)
    for i in range(args.steps):
        rows = torch.from_numpy(rng.integers(len(clean), size=args.batch))
        x, y = symmetric(noisy[rows], clean[rows], rng)
        share = torch.from_numpy(rng.uniform(0.3, 1.3, args.batch)).float()
        x = y + share[:, None, None] * (x - y)
        scale = typical(x)
        x, y = (v / scale[:, None, None] for v in (x, y))
        left = (net(x, DEVIATION * share / scale) - y).abs().square().sum((1, 2))
        loss = (left / (x - y).abs().square().sum((1, 2))).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        losses.append(loss.item())
        if (i + 1) % 200 == 0:
            seconds = time.process_time() - clock
            print(f"step {i + 1}: {np.mean(losses[-200:]):.3f} of the noise's energy is left, {seconds:.0f} s", flush=True)
    training = {"cpu": time.process_time() - clock, "left": float(np.mean(losses[-200:])), "steps": args.steps}
    if args.net:
        torch.save({"weights": net.state_dict(), "training": training}, args.net)
    return net, training


def symmetric(x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Both turned, flipped and conjugated alike, each pair with another global phase."""
    turns, flip, conjugate = rng.integers(4), rng.random() < 0.5, rng.random() < 0.5
    phase = torch.polar(torch.ones(len(x)), torch.from_numpy(rng.uniform(0, 2 * np.pi, len(x))).float())[:, None, None]
    pair = [phase * torch.rot90(v, int(turns), (1, 2)) for v in (x, y)]
    pair = [v.flip(1) if flip else v for v in pair]
    return tuple(v.conj().resolve_conj() if conjugate else v for v in pair)


# one object


def plug_and_play(problem: ut.Problem, state: ut.State, net: Net, setting: dict[str, float]) -> ut.State:
    """The state, denoised and brought back to the counts in turn."""
    support, steps = grown(state.support, 2), int(setting["steps"])
    shifts = [[s + n // 2 for s, n in zip(problem.symmetry.origin(m.float()), SHAPE)] for m in support]
    x = problem.project_object(state.image, state.support)
    for i in range(steps):
        level = DEVIATION * setting["level"] * setting["fall"] ** (i / max(1, steps - 1))
        x = support * (x + setting["weight"] * (problem.project_modulus(x) - x))
        scale = typical(x)
        centred = torch.stack([row.roll(by, (0, 1)) for row, by in zip(x, shifts)]) / scale[:, None, None]
        with torch.no_grad():
            x = net(centred, level / scale) * scale[:, None, None]
        x = support * torch.stack([row.roll([-b for b in by], (0, 1)) for row, by in zip(x, shifts)])
    return state.replace(x=x, image=x, support=support)


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(ut.align(image[None], truth, truth.ndim).error[0])


class Case:
    """A simulated object, its pattern and what the plan without a refinement makes of it."""

    def __init__(self, kind: str, photons: float, seed: tuple[int, ...]) -> None:
        rng = np.random.default_rng(seed)
        pattern, truth = measure(drawn(kind, rng), photons, rng)
        self.truth = torch.fft.ifftshift(torch.from_numpy(truth))
        self.problem = ut.Problem.of(pattern)
        self.plan: Plan = auto.method("classical", self.problem)
        self.again: Plan = auto.method("refine", self.problem)
        clock = time.process_time()
        self.launch = launcher(self.problem, 1)
        self.outcome: Outcome = self.plan.run(self.problem, 0, self.launch)
        image = assess(self.plan, self.outcome, 0, {}).image
        self.classical = {"error": error(torch.fft.ifftshift(image), self.truth), "cpu": time.process_time() - clock}
        refine = self.again.stage(Refine)
        assert refine is not None
        self.recipe = refine.recipe
        self.state = self.outcome.results.rows(refine.rows_to_refine(self.problem, self.outcome.results)).state

    def together(self, results: Population) -> float:
        """E of the mean of the results that are alike, whatever the rule says."""
        by = results.rows(results.deviance.argsort(stable=True).tolist())
        return error(mean(self.problem, replace(self.outcome, results=by, candidates=by), math.inf), self.truth)

    def judged(self, results: Population) -> dict[str, float]:
        """E by the rule, E without it."""
        s = assess(self.again, replace(self.outcome, refined=results), 0, {})
        always = self.together(results)
        return {"error": error(torch.fft.ifftshift(s.image), self.truth), "always": always, "accepted": s.numbers["refined"]}

    def denoised(self, net: Net, setting: dict[str, float]) -> dict[str, float]:
        clock = time.process_time()
        state = plug_and_play(self.problem, self.state, net, setting)
        cpu = time.process_time() - clock
        return self.judged(Population.of(self.problem, state)) | {"cpu": cpu}

    def refined(self) -> dict[str, float]:
        clock = time.process_time()
        state = self.launch.map(self.problem, [(self.recipe, self.state)])[0].state
        cpu = time.process_time() - clock
        return self.judged(Population.of(self.problem, state)) | {"cpu": cpu}


def chosen(net: Net, photons: float, args: argparse.Namespace) -> dict[str, float]:
    """The setting with the least mean of E over that of the classical result, on objects of other seeds."""
    n = args.choice
    cases = [Case(args.train[i % len(args.train)], photons, (args.seed, CHOICE, int(photons), i)) for i in range(n)]
    scores = np.ones((len(SETTINGS), n))
    for (i, setting), (j, case) in product(enumerate(SETTINGS), enumerate(cases)):
        results = Population.of(case.problem, plug_and_play(case.problem, case.state, net, setting))
        scores[i, j] = min(2.0, case.together(results) / case.classical["error"])
    best = int(scores.mean(1).argmin())
    return SETTINGS[best] | {"ratio": float(scores[best].mean()), "objects": n}


# the tables


def table(rows: list[dict], settings: dict[str, dict], trained_on: list[str]) -> list[str]:
    lines = [
        "| class | photons | n | E: classical | refine | denoiser | denoiser below classical | below refine | CPU s: refine | denoiser |",
        "|---" * 10 + "|",
    ]
    cells = sorted({(r["class"], r["photons"]) for r in rows}, key=lambda c: (c[0] not in trained_on, KINDS.index(c[0]), c[1]))
    groups = [(kind, f"{n:.0e}", [r for r in rows if (r["class"], r["photons"]) == (kind, n)]) for kind, n in cells]
    groups += [("trained on", f"{n:.0e}", [r for r in rows if r["class"] in trained_on and r["photons"] == n]) for n in PHOTONS]
    groups += [("not trained on", f"{n:.0e}", [r for r in rows if r["class"] not in trained_on and r["photons"] == n]) for n in PHOTONS]
    for kind, photons, own in groups:
        if not own:
            continue
        classical, refine, denoiser = (np.array([r[m]["error"] for r in own]) for m in ("classical", "refine", "denoiser"))
        row = [kind, photons, str(len(own)), *(f"{np.median(e):.3f}" for e in (classical, refine, denoiser))]
        row += [f"{np.sum(denoiser < other)} of {len(own)}" for other in (classical, refine)]
        row += [f"{np.mean([r['refine']['cpu'] for r in own]):.1f}", f"{np.mean([r['denoiser']['cpu'] for r in own]):.2f}"]
        lines.append("| " + " | ".join(row) + " |")
    words = "{steps} steps, w {weight:g}, level {level:g}, at the end times {fall:g} (E {ratio:.2f} of classical, {objects} others)"
    return [*lines, "", *(f"{photons} photons: {words.format(**s)}" for photons, s in settings.items())]


def compared(net: Net, content: dict, args: argparse.Namespace, began: float) -> None:
    """Every class, number of photons and index, the indices last, until the time is over."""
    rows, settings = content["objects"], content["settings"]
    for photons in args.photons:
        if f"{photons:.0e}" not in settings:
            settings[f"{photons:.0e}"] = chosen(net, photons, args)
            print(f"{photons:.0e}: {settings[f'{photons:.0e}']}", flush=True)
    finished = {(r["class"], r["photons"], r["index"]) for r in rows}
    for i, photons, kind in product(range(args.count), args.photons, args.classes.split(",")):
        late = time.monotonic() - began > 60 * args.budget
        if (kind, photons, i) in finished or late or kind not in args.train and i >= args.others:
            continue
        case = Case(kind, photons, (args.seed, TEST, int(photons), KINDS.index(kind), i))
        row = {"class": kind, "photons": photons, "index": i, "classical": case.classical}
        row |= {"denoiser": case.denoised(net, settings[f"{photons:.0e}"]), "refine": case.refined()}
        rows.append(row)
        print(f"{kind}, {photons:.0e}, {i}:", *(f"{m} {row[m]['error']:.3f}" for m in ("classical", "refine", "denoiser")), flush=True)
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--train", type=lambda text: text.split(","), default=["poly", "defect"], help="classes")
    parser.add_argument("--steps", type=int, default=7000, help="of the training")
    parser.add_argument("--examples", type=int, default=8192, help="that the training draws from")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--choice", type=int, default=6, help="objects per number of photons that the settings are chosen on")
    parser.add_argument("--count", type=int, default=8, help="objects per class and number of photons")
    parser.add_argument("--others", type=int, default=4, help="the same, of classes that were not trained on")
    parser.add_argument("--classes", default=",".join(k for k in KINDS if k != "real"))
    parser.add_argument("--photons", type=lambda text: [float(n) for n in text.split(",")], default=list(PHOTONS))
    parser.add_argument("--net", type=Path, help="file of the trained network")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--quick", action="store_true", help="a training of 30 steps, one object")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.examples, args.choice, args.count, args.classes, args.photons = 30, 128, 1, 1, "defect", [1e5]
    torch.set_num_threads(1)
    began = time.monotonic()
    content = json.loads(args.json.read_text()) if args.json and args.json.exists() else {"settings": {}, "objects": []}
    with one_thread():
        net, training = trained(args)
        head = {"script": "crystal_denoiser", "seed": args.seed, "train": args.train, "untwin": ut.__version__, "torch": torch.__version__}
        content = head | {"machine": platform.machine(), "training": training} | content
        compared(net, content, args, began)
    left = f"{training['left']:.2f} of the noise's energy was left in training"
    print("\n".join([*table(content["objects"], content["settings"], args.train), "", f"training: {training['cpu']:.0f} CPU s, {left}"]))


if __name__ == "__main__":
    main()
