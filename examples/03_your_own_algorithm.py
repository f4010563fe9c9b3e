"""An algorithm of your own, against three that are there: relaxed reflect-reflect in a known support.

python examples/03_your_own_algorithm.py rrr.png
"""

# %% The step: frozen numbers, and a function from state to state.
import sys
from dataclasses import dataclass

import numpy as np
import torch

import untwin as ut
from untwin.algorithms import ER, HIO, RAAR, Algorithm
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES


@dataclass(frozen=True)
class RRR(Algorithm):
    """Relaxed reflect-reflect (Elser, Lan and Bendory, SIAM J. Imaging Sci. 11, 2018): x' = x + β [P_S(2 P_M x − x) − P_M x]."""

    beta: float = 0.5

    def step(self, problem, state):
        y = problem.project_modulus(state.x)
        z = problem.project_object(2 * y - state.x, state.support)
        return state.replace(x=state.x + self.beta * (z - y), image=y)


# %% A crystal, its pattern, and for once its support.
rng = np.random.default_rng(0)
pattern, truth = measure(CLASSES["poly"]((64, 64), rng), photons=1e6, rng=rng)
wanted = torch.fft.ifftshift(torch.from_numpy(truth))
support = wanted.abs() > 0
problem = ut.Problem.of(pattern)

# %% Six starts at once: the first axis of the tensors in the state. iterate is the loop, so look at whatever you like.
seeds, every, curves = tuple(range(6)), 20, {}
for algorithm in (ER(), HIO(beta=0.9), RAAR(beta=0.9), RRR(beta=0.5)):
    errors = []
    for state in ut.iterate(problem, 400 * algorithm, ut.begin(problem, seeds, support)):
        if state.step % every == 0:
            errors.append(ut.align(problem.project_object(state.image, state.support), wanted, 2).error)
    curves[repr(algorithm)] = torch.stack(errors)
    print(f"{algorithm!r}: median error {curves[repr(algorithm)][-1].median():.3f}")

# %% Error against the truth, the median of the starts and their range.
from matplotlib.figure import Figure  # noqa: E402

figure = Figure(figsize=(6, 4), layout="constrained")
axis = figure.subplots()
for name, e in curves.items():
    steps = every * np.arange(1, len(e) + 1)
    axis.fill_between(steps, e.min(1).values, e.max(1).values, alpha=0.15)
    axis.plot(steps, e.median(1).values, label=name)
axis.set(xlabel="iteration", ylabel="error against the truth", yscale="log", ylim=(0.02, 1), title="six starts: median and range")
axis.legend(loc="lower center", ncols=4, fontsize=8)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
