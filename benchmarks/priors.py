"""The double-DIP question: untrained priors against, after and before the classical recipe, on fresh simulated objects.

    python benchmarks/priors.py --seed 9301 --count 2 --methods refine --conditions "1e5;2e4;1e4" --json benchmarks/results/refine.json
    python benchmarks/priors.py --seed 7301 --count 20 --starts 1 --conditions 1e6 --methods "refine,siren fast,dip wide faster,random"

classical: the automatic plan without a refinement. refine: a double deep prior that starts from the results of the best family and of
that most like it (of all where these are not alike, with many photons), always; the plan before it is that of the line classical, so that
both are paired. Kept: by the rule of reconstruct.
double-dip, siren, drp (and the names in SEARCHED): a prior from random numbers; "alone" is the best of its starts by half deviance,
without a support, "then classical" what a short classical polish makes of the same starts. E, floor, success and usable as in recover.py.
At many photons the automatic plan refines only where two families differ by more than auto.MIN_DISAGREEMENT: the third table.
CPU: seconds for each object, all its starts and whatever came before included.
An object that is in the JSON already is not made again; --budget ends the script after so many minutes with what is complete.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import untwin as ut
from untwin.runs import auto
from untwin.runs.assess import assess
from untwin.runs.choose import mean
from untwin.runs.launch import launcher, one_thread, run_here
from untwin.runs.names import parse
from untwin.runs.population import Population, objects
from untwin.runs.stages.plan import Outcome, Plan
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.search import Search
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES
from untwin.solve.begin import begin
from untwin.solve.recipe import Then, length

_NET = "Skip(depth=2, width=16, inputs=8, padding='replicate')"


def _siren(width: int, layers: int, w0: float, rate: float = 1e-3, form: str = "Polar") -> str:
    one = f"Implicit(Siren(width={width}, layers={layers}, w0={w0}), rate={rate})"
    return f"{form}({one}, {one})"


def _shrunk(prior: str) -> str:
    """A fit in the box, then fits in supports that are cut from what was found, ever tighter."""
    return (
        f"300*Fit({prior}, loss=Amplitude()) + 6*(ShrinkWrap(threshold=Ramp(0.1, 0.2), sigma=Ramp(3.0, 1.0)) + "
        f"100*Fit({prior}, loss=Amplitude(), grow=1, imitate=40, decay=0.3))"
    )


SEARCHED = {
    "random": "ER",  # no prior: random numbers in the outline that the pattern tells, then the same polish
    # priors from random numbers: changes of the methods double-dip and siren, for some 5 to 20 s on a 64 x 64 pattern
    "dip": "600*Fit(DoubleDIP(), loss=Amplitude(), decay=0.1)",
    "dip poisson": "600*Fit(DoubleDIP(), loss=Poisson(0.1), decay=0.1)",
    "dip slow": "600*Fit(DoubleDIP(), loss=Amplitude(), rate=0.3, decay=0.1)",
    "dip wide": "250*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Amplitude(), decay=0.1)",
    "dip deep": "250*Fit(DoubleDIP(Skip(depth=4, width=16, inputs=8)), loss=Amplitude(), decay=0.1)",
    "dip wider": "250*Fit(DoubleDIP(Skip(depth=4, width=64, inputs=16)), loss=Amplitude(), decay=0.1)",
    "dip wide slow": "400*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Amplitude(), rate=0.3, decay=0.1)",
    "dip wide poisson": "250*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Poisson(0.1), decay=0.1)",
    "dip wide short": "120*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Amplitude(), decay=0.1)",
    "dip wide fast": "250*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Amplitude(), rate=2.0, decay=0.1)",
    "dip flat": "250*Fit(DoubleDIP(Skip(depth=3, width=32, inputs=16)), loss=Amplitude(), rate=4.0, decay=0.1)",  # for boxes of 16
    "dip wide faster": "250*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Amplitude(), rate=4.0, decay=0.1)",
    "dip wide flat": "250*Fit(DoubleDIP(Skip(depth=3, width=32, inputs=16)), loss=Amplitude(), decay=0.1)",
    "dip wide no skips": "250*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16, skip=0)), loss=Amplitude(), decay=0.1)",
    "dip wide faster long": "500*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16)), loss=Amplitude(), rate=4.0, decay=0.03)",
    "dip wide jitter": "250*Fit(DoubleDIP(Skip(depth=4, width=32, inputs=16), jitter=0.03), loss=Amplitude(), rate=2.0, decay=0.1)",
    "dip angle": f"600*Fit(Polar(Untrained({_NET}), Untrained({_NET}), vector=False), loss=Amplitude(), decay=0.1)",
    "dip cartesian": f"600*Fit(Cartesian(Untrained({_NET}), Untrained({_NET})), loss=Amplitude(), decay=0.1)",
    "dip shrunk": _shrunk("DoubleDIP()"),
    "dip slow long": "2000*Fit(DoubleDIP(), loss=Amplitude(), rate=0.3, decay=0.1)",
    "siren small": f"800*Fit({_siren(64, 2, 30.0)}, loss=Amplitude(), decay=0.1)",
    "siren low": f"800*Fit({_siren(64, 2, 12.0)}, loss=Amplitude(), decay=0.1)",
    "siren fast": f"800*Fit({_siren(64, 2, 30.0, 3e-3)}, loss=Amplitude(), decay=0.1)",
    "siren faster": f"800*Fit({_siren(64, 2, 30.0, 1e-2)}, loss=Amplitude(), decay=0.1)",
    "siren fast w0 20": f"800*Fit({_siren(64, 2, 20.0, 3e-3)}, loss=Amplitude(), decay=0.1)",
    "siren fast w0 45": f"800*Fit({_siren(64, 2, 45.0, 3e-3)}, loss=Amplitude(), decay=0.1)",
    "dip fast": "600*Fit(DoubleDIP(), loss=Amplitude(), rate=3.0, decay=0.1)",
    "siren fast cartesian": f"800*Fit({_siren(64, 2, 30.0, 3e-3, 'Cartesian')}, loss=Amplitude(), decay=0.1)",
    "siren fast shrunk": _shrunk(_siren(64, 2, 30.0, 3e-3)),
    "siren fast intensity": f"800*Fit({_siren(64, 2, 30.0, 3e-3)}, loss=Intensity(), decay=0.1)",
    "siren fast poisson": f"800*Fit({_siren(64, 2, 30.0, 3e-3)}, loss=Poisson(0.1), decay=0.1)",
    "siren fast long": f"2500*Fit({_siren(64, 2, 30.0, 3e-3)}, loss=Amplitude(), decay=0.1)",
    "siren fast wide": f"800*Fit({_siren(128, 2, 30.0, 2e-3)}, loss=Amplitude(), decay=0.1)",
    "siren poisson": f"800*Fit({_siren(64, 2, 30.0)}, loss=Poisson(0.1), decay=0.1)",
    "siren long": f"800*Fit({_siren(128, 3, 30.0)}, loss=Amplitude(), decay=0.1)",
}


def _refinement(prior: str, steps: int, imitate: int, rate: float, warm: int) -> str:
    return (
        f"Until(HeldOut(share=0.05, patience=100), {steps}*Fit({prior}, descent=Adam(beta2=0.99), regularizer=TV(0.5), "
        f"loss=Poisson(0.1), grow=2, imitate={imitate}, rate={rate}, warm={warm}, decay=0.05))"
    )


_WIDE = "DoubleDIP(Skip(depth=4, width=32, inputs=16))"
REFINEMENTS = {  # of the automatic plan's results, beside the method refine
    "refine wide": _refinement(_WIDE, 200, 60, 0.2, 20),
    "refine wide fast": _refinement(_WIDE, 200, 60, 0.5, 20),
    "refine short": _refinement("DoubleDIP()", 200, 60, 0.3, 10),
    "refine shorter": _refinement("DoubleDIP()", 120, 40, 0.4, 10),
}

CONDITIONS = {  # photons, radius of the stop, σ of the partial coherence
    "1e6": (1e6, 0, 0),
    "1e6, stop 2": (1e6, 2, 0),
    "1e6, stop 3": (1e6, 3, 0),
    "1e6, coherence 0.2": (1e6, 0, 0.2),
    "1e6, coherence 0.3": (1e6, 0, 0.3),
    "1e6, 3D": (1e6, 0, 0),
    "1e5": (1e5, 0, 0),
    "2e4": (2e4, 0, 0),
    "1e4": (1e4, 0, 0),
}


def floor_of(problem: ut.Problem, truth: torch.Tensor) -> float:
    """E of 50 error reductions from the truth with its own support."""
    inside = truth.abs()[None] > 1e-3 * truth.abs().max()
    state = ut.State.of(truth[None], inside)
    state = run_here(problem, parse("50*ER"), state).state
    return float(ut.align(problem.project_object(state.image, state.support), truth, truth.ndim).error[0])


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(ut.align(image[None], truth, truth.ndim).error[0])


def refined(problem: ut.Problem, truth: torch.Tensor, name: str) -> dict[str, dict]:
    """classical, and a refinement from the very same results; also what would have come out had the refinement always been kept."""
    plan = auto.method("classical", problem)
    clock = time.process_time()
    launch = launcher(problem, 1)
    outcome = plan.run(problem, 0, launch)
    plain = assess(plan, outcome, 0, {})
    problem = outcome.problem  # with the blur or the masked pixels that the plan has found
    middle = time.process_time()
    again = auto.method("refine", problem) if name == "refine" else plan.with_stage(Refine(parse(REFINEMENTS[name])))
    refine = again.stage(Refine)
    assert refine is not None
    rows = refine.rows_to_refine(problem, outcome.results)
    results = Population.of(problem, launch.map(problem, [(refine.recipe, outcome.results.rows(rows).state)])[0].state)
    better = assess(again, replace(outcome, refined=results), 0, {})
    told = {}
    for which, s, cpu in (("classical", plain, middle - clock), (name, better, time.process_time() - clock)):
        told[which] = {"error": error(torch.fft.ifftshift(s.image), truth), "trusted": s.verdict.trusted, "cpu": cpu}
        told[which] |= {"half_deviance": s.numbers["log_likelihood"], "agreement": s.numbers["agreement"]}
    by = results.rows(results.deviance.argsort(stable=True).tolist())
    always = mean(problem, replace(outcome, results=by, candidates=by), math.inf)
    distances = ut.align(objects(problem, by)[1:], objects(problem, by)[0], problem.ndim).error.tolist()
    n = better.numbers
    told[name] |= {"kept": n["refined"], "always": error(always, truth), "distances": distances}
    told[name] |= {"half_deviances": [n["log_likelihood_plain"], n["log_likelihood_refined"]]}
    return told


def scratch(problem: ut.Problem, name: str, truth: torch.Tensor, starts: int) -> dict[str, dict]:
    """A prior from random numbers: the best of its starts alone, by their half deviance, and what the polish makes of the same starts."""
    plan = auto.method(name, problem, starts) if name in auto.METHODS else Plan(Search(parse(SEARCHED[name]) + auto.POLISH, starts=starts))
    assert isinstance(plan.search.first, Then) and isinstance(auto.POLISH, Then)
    clock = time.process_time()
    fit = Then(plan.search.first.parts[: -len(auto.POLISH.parts)])
    state = run_here(problem, fit, begin(problem, tuple(range(starts)))).state
    fitted = Population.of(problem, state)
    alone = {"error": error(objects(problem, fitted.rows([int(fitted.deviance.argmin())]))[0], truth), "trusted": None}
    alone |= {"cpu": time.process_time() - clock, "steps": state.step}
    ended = Population.of(problem, run_here(problem, auto.POLISH, state.replace(at=0, step=0)).state)
    results = ended.rows(ended.order(problem))
    s = assess(plan, Outcome(problem, ended, (), results, results), 0, {})
    whole = {"error": error(torch.fft.ifftshift(s.image), truth), "trusted": s.verdict.trusted, "cpu": time.process_time() - clock}
    if name == "random":
        return {f"{name}, then classical": whole}
    return {f"{name} alone": alone, f"{name}, then classical": whole | {"steps": length(auto.POLISH)}}


def told(objects: list[dict]) -> list[str]:
    """A line for each class, condition and method."""
    lines = ["| class | photons | method | n | success (usable) | median E | floor | E minus classical, median (worst) | trusted | CPU s |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for kind, condition in dict.fromkeys((o["class"], o["condition"]) for o in objects):
        mine = [o for o in objects if (o["class"], o["condition"]) == (kind, condition)]
        for name in dict.fromkeys(m for o in mine for m in o["methods"]):
            own = [(o, o["methods"][name]) for o in mine if name in o["methods"]]
            e, floor = np.array([m["error"] for _, m in own]), np.array([o["floor"] for o, _ in own])
            limit = np.maximum(0.12, 1.5 * floor)
            paired = np.array([m["error"] - o["methods"]["classical"]["error"] for o, m in own if "classical" in o["methods"]])
            cells = (
                kind,
                condition,
                name,
                str(len(own)),
                f"{np.mean(e <= limit):.2f} ({np.mean(e <= np.maximum(0.25, limit)):.2f})",
                f"{np.median(e):.3f}",
                f"{np.median(floor):.3f}",
                f"{np.median(paired):+.3f} ({paired.max():+.3f})" if len(paired) and name != "classical" else "",
                f"{np.mean([m['trusted'] is True for _, m in own]):.2f}",
                f"{np.mean([m['cpu'] for _, m in own]):.1f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def overview(objects: list[dict]) -> list[str]:
    """One line for each class and condition, one column for each method: how many succeed, median E; in the last line CPU seconds."""
    names = list(dict.fromkeys(m for o in objects for m in o["methods"]))
    lines = ["| class | photons | n | floor | " + " | ".join(names) + " |", "|---" * (len(names) + 4) + "|"]
    for kind, condition in dict.fromkeys((o["class"], o["condition"]) for o in objects):
        own = [o for o in objects if (o["class"], o["condition"]) == (kind, condition) and len(o["methods"]) == len(names)]
        if not own:  # on the way
            continue
        row = [kind, condition, str(len(own)), f"{np.median([o['floor'] for o in own]):.3f}"]
        for name in names:
            e = np.array([o["methods"][name]["error"] for o in own])
            row.append(f"{np.mean(e <= [max(0.12, 1.5 * o['floor']) for o in own]):.2f}, {np.median(e):.3f}")
        lines.append("| " + " | ".join(row) + " |")
    cpu = [np.mean([o["methods"][name]["cpu"] for o in objects if name in o["methods"]]) for name in names]
    return [*lines, "| CPU s | | | | " + " | ".join(f"{c:.1f}" for c in cpu) + " |"]


def ruled(objects: list[dict]) -> list[str]:
    """What the rule of the refinement keeps, and what that is worth, one line for each class and condition."""
    lines = [
        "| class | photons | n | kept | of these E fell, median (worst) | had the others been kept: E fell, median (worst) |",
        "|---|---|---|---|---|---|",
    ]
    mine = [o for o in objects if "kept" in o["methods"].get("refine", {})]
    cells = [*dict.fromkeys((o["class"], o["condition"]) for o in mine), ("all", "")] if mine else []
    for kind, condition in cells:
        own = [o["methods"] for o in mine if kind == "all" or (o["class"], o["condition"]) == (kind, condition)]
        row = [kind, condition, str(len(own)), str(sum(m["refine"]["kept"] == 1 for m in own))]
        for kept in (1, 0):
            e = np.array([m["refine"]["always"] - m["classical"]["error"] for m in own if m["refine"]["kept"] == kept])
            row.append(f"{np.sum(e < 0)} of {len(e)}, {np.median(e):+.3f} ({e.max():+.3f})" if len(e) else "")
        lines.append("| " + " | ".join(row) + " |")
    return lines


def automatic(objects: list[dict]) -> list[str]:
    """What the automatic plan makes of it at many photons: refined where families differ by auto.MIN_DISAGREEMENT. One line per class."""
    lines = [
        "| class | photons | n | refined | E of these, median: before, after | E of the others: as it is, had it been refined | E, CPU s |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    mine = [o for o in objects if "kept" in o["methods"].get("refine", {}) and CONDITIONS[o["condition"]][0] > 1e5]
    cells = [*dict.fromkeys((o["class"], o["condition"]) for o in mine), ("all", "")] if mine else []
    for kind, condition in cells:
        own = [o["methods"] for o in mine if kind == "all" or (o["class"], o["condition"]) == (kind, condition)]
        taken = [m["classical"]["agreement"] > auto.MIN_DISAGREEMENT.value for m in own]
        row = [kind, condition, str(len(own)), str(sum(taken))]
        for which in (True, False):
            pairs = np.array([[m["classical"]["error"], m["refine"]["error"]] for m, t in zip(own, taken) if t == which])
            row.append("{:.3f}, {:.3f}".format(*np.median(pairs, 0)) if len(pairs) else "")
        chosen = [m["refine" if t else "classical"] for m, t in zip(own, taken)]
        row.append(f"{np.median([c['error'] for c in chosen]):.3f}, {np.mean([c['cpu'] for c in chosen]):.1f}")
        lines.append("| " + " | ".join(row) + " |")
    return lines if mine else []


def crossed(objects: list[dict]) -> list[str]:
    """Priors from random numbers, one line for each: how many of the objects they found alone, median E alone, and of the classical polish
    after it, by class."""
    classes = list(dict.fromkeys(o["class"] for o in objects))
    names = list(dict.fromkeys(m.removesuffix(" alone") for o in objects for m in o["methods"] if m.endswith(" alone")))
    lines = ["| prior | " + " | ".join(classes) + " | CPU s |", "|---" * (len(classes) + 2) + "|"] if names else []
    for name in names:
        row, cpu = [name], []
        for kind in classes:
            own = [o for o in objects if o["class"] == kind and f"{name} alone" in o["methods"]]
            alone, after = (np.array([o["methods"][f"{name}{how}"]["error"] for o in own]) for how in (" alone", ", then classical"))
            found = np.sum(alone <= [max(0.12, 1.5 * o["floor"]) for o in own])
            row.append(f"{found} of {len(own)}: {np.median(alone):.3f}, {np.median(after):.3f}" if own else "")
            cpu += [o["methods"][f"{name} alone"]["cpu"] for o in own]
        lines.append("| " + " | ".join([*row, f"{np.mean(cpu):.1f}"]) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--count", type=int, default=20, help="objects per class and condition")
    parser.add_argument("--classes", default="defect,complex,poly,real")
    parser.add_argument("--conditions", default="1e5;1e6;1e6, stop 3;2e4", help="separated by ;")
    parser.add_argument("--methods", default="refine,double-dip,siren")
    parser.add_argument("--starts", type=int, default=2, help="of the methods that begin with random numbers")
    parser.add_argument("--shape", default="64,64")
    parser.add_argument("--quick", action="store_true", help="one defect at 1e5 photons, refine only")
    parser.add_argument("--budget", type=float, default=math.inf, help="minutes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.count, args.classes, args.conditions, args.methods = 1, "defect", "1e5", "refine"
    began = time.monotonic()
    shape = tuple(int(n) for n in args.shape.split(","))
    kept = json.loads(args.json.read_text())["objects"] if args.json and args.json.exists() else []
    objects = {(o["class"], o["condition"], o["seed"], o["index"], tuple(o["shape"])): o for o in kept}
    for i in range(args.count):
        for condition in args.conditions.split(";"):
            for kind in args.classes.split(","):
                for name in args.methods.split(","):
                    key = (kind, condition, args.seed, i, shape)
                    own = objects.get(key)
                    done = own is not None and (name in own["methods"] or f"{name}, then classical" in own["methods"])
                    if done or time.monotonic() - began > 60 * args.budget:
                        continue
                    photons, stop, coherence = CONDITIONS[condition]
                    rng = np.random.default_rng((args.seed, i))
                    pattern, truth = measure(CLASSES[kind](shape, rng), photons, rng, stop, coherence=coherence)
                    wanted = torch.fft.ifftshift(torch.from_numpy(truth))
                    problem = ut.Problem.of(pattern)
                    if own is None:
                        with one_thread():
                            own = {"class": kind, "condition": condition, "seed": args.seed, "index": i, "shape": list(shape)}
                            own |= {"floor": floor_of(problem, wanted), "methods": {}}
                    with one_thread():
                        made = refined(problem, wanted, name) if name.startswith("refine") else scratch(problem, name, wanted, args.starts)
                    own["methods"] |= made
                    objects[key] = own
                    said = ", ".join(f"{m} {v['error']:.3f} ({v['cpu']:.1f} s)" for m, v in made.items())
                    print(f"{kind}, {condition}, {i}: floor {own['floor']:.3f}, {said}", flush=True)
                    if args.json:
                        args.json.parent.mkdir(parents=True, exist_ok=True)
                        head = {"script": "priors", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
                        head |= {"plans": {m: repr(auto.method(m, problem)) for m in auto.METHODS}}
                        args.json.write_text(json.dumps({**head, "objects": list(objects.values())}))
    rows = list(objects.values())
    print("\n" + "\n".join([*told(rows), "", *overview(rows), "", *ruled(rows), "", *automatic(rows), "", *crossed(rows)]))


if __name__ == "__main__":
    main()
