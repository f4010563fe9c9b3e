"""An untrained network first draws the picture and then its noise: the step whose image each rule keeps.

python examples/06_when_to_stop.py stop.png
"""

# %% A picture and noise. The rules look on while one fit runs; the fit does not see the pixels that HeldOut keeps back.
import sys

import numpy as np
import torch
from skimage import data, transform

import untwin as ut
from untwin.algorithms import Fit
from untwin.priors import Skip, Untrained
from untwin.rules import EMV, WMV, HeldOut

truth = torch.from_numpy(transform.resize(data.camera(), (40, 40), anti_aliasing=True)).float()[None]
noise = 0.15 * np.random.default_rng(0).normal(size=truth.shape)
problem = ut.Picture((truth + torch.from_numpy(noise).float()).clamp(0, 1))
rules = [WMV(window=20, patience=40), EMV(patience=40, burn_in=20), HeldOut(patience=40)]
fit = Fit(Untrained(Skip(depth=3, width=24, inputs=8), jitter=0.0), average=0.9)

# %% One trajectory: each rule looks at every state.
zero = torch.zeros(1, *problem.shape)
begun = ut.State.of(zero)
watches = [rule.begin(problem, begun).rule_state for rule in rules]
curve = []
for state in ut.iterate(rules[-1].problem_for_steps(problem), 200 * fit, begun):
    curve.append(-10 * float((state.image[0] - truth).square().mean().log10()))
    watches = [rule.observe(problem, state.replace(rule_state=w)).rule_state for rule, w in zip(rules, watches)]
print(f"best {max(curve):.2f} dB at {1 + int(np.argmax(curve))}, at the end {curve[-1]:.2f} dB")
for rule, w in zip(rules, watches):
    print(f"{rule!r}: the image of step {int(w.at)}, {curve[int(w.at) - 1]:.2f} dB")

# %% The same in use: ut.restore(picture, prior=fit, stop=rule), or Until(rule, 5000 * fit) in a recipe.
from matplotlib.figure import Figure  # noqa: E402

figure = Figure(figsize=(6, 4), layout="constrained")
axis = figure.subplots()
axis.plot(np.arange(1, len(curve) + 1), curve, color="black")
for rule, w, style, colour in zip(rules, watches, ("--", "-.", ":"), ("#0072B2", "#D55E00", "#009E73")):
    axis.axvline(int(w.at), linestyle=style, color=colour, label=type(rule).__name__)
axis.set(xlabel="iteration", ylabel="PSNR (dB)", title="better, then worse: the step that each rule keeps")
axis.legend()
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
