"""What one iteration of a fit costs, and what the stopping rules add. CPU time, one thread, the best of a few.

    python benchmarks/fit.py --json benchmarks/results/fit.json

The network is the hourglass of 64 channels and 4 scales. "plain": the same torch module and torch.optim.Adam in a loop without untwin,
contiguous or channels last. "Fit": the step as recipes take it. Rules: what WMV and EMV together add to such a step.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

import untwin as ut
from untwin.processes import one_thread


def best(step: Callable[[], object], times: int) -> float:
    """Milliseconds of processor time."""
    step()
    found = []
    for _ in range(times):
        clock = time.process_time()
        step()
        found.append(time.process_time() - clock)
    return 1e3 * min(found)


def plain(network: ut.priors.Skip, y: torch.Tensor, last: bool) -> Callable[[], object]:
    """An ordinary training loop."""
    grid = tuple(y.shape[1:])
    module = network.make(grid, len(y))
    z = 0.1 * torch.rand(1, *network.input_shape(grid))
    if last:
        module, z = module.to(memory_format=torch.channels_last), z.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(module.parameters(), lr=0.01)

    def step() -> None:
        adam.zero_grad()
        loss = (module(z + torch.randn_like(z) / 30)[0].sigmoid() - y).square().mean()
        loss.backward()
        adam.step()

    return step


def fitted(network: ut.priors.Skip, y: torch.Tensor) -> tuple[Callable[[], object], ut.Picture, list[ut.State]]:
    problem = ut.Picture(y)
    zero = torch.zeros(1, *problem.shape)
    fit = ut.algorithms.Fit(ut.priors.Untrained(network))
    at = [fit.begin(problem, ut.State.of(zero))]

    def step() -> None:
        at[0] = fit.step(problem, at[0])

    return step, problem, at


def looked(problem: ut.Picture, state: ut.State) -> Callable[[], object]:
    """WMV and EMV, their windows full."""
    rules = (ut.rules.WMV(), ut.rules.EMV())
    watches = [r.begin(problem, state).rule_state for r in rules]
    frames = [state.x + 0.01 * torch.randn_like(state.x) for _ in range(4)]
    count = [0]

    def step() -> None:
        count[0] += 1
        for k, rule in enumerate(rules):
            watches[k] = rule.observe(problem, state.replace(x=frames[count[0] % 4], rule_state=watches[k])).rule_state

    for _ in range(120):
        step()
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="64 pixels only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("| size | plain, contiguous | plain, channels last | Fit | WMV + EMV | share of the Fit |\n|---|---|---|---|---|---|")
    with one_thread():
        for size in (64,) if args.quick else (128, 256):
            network = ut.priors.Skip(depth=4, width=64)
            y = torch.rand(3, size, size, generator=torch.Generator().manual_seed(args.seed))
            step, problem, at = fitted(network, y)
            row: dict[str, float] = {"size": size}
            row["fit"] = best(step, args.times)
            row["contiguous"] = best(plain(network, y, False), args.times)
            row["channels_last"] = best(plain(network, y, True), args.times)
            row["fit"] = min(row["fit"], best(step, args.times))
            row["rules"] = best(looked(problem, at[0]), 30)
            rows.append(row)
            cells = (f"{size} x {size}", *(f"{row[k]:.0f} ms" for k in ("contiguous", "channels_last", "fit")), f"{row['rules']:.2f} ms")
            print("| " + " | ".join((*cells, f"{100 * row['rules'] / row['fit']:.1f} %")) + " |", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        head = {"script": "fit", "untwin": ut.__version__, "torch": torch.__version__, "machine": platform.machine()}
        args.json.write_text(json.dumps({**head, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
