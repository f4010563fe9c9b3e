"""A recipe of your own: the same expression as Python objects and as text, and what each start did with it.

python examples/02_recipe.py convergence.png
"""

# %% A strained crystal, behind a small stop.
import sys

import numpy as np

import untwin as ut
from untwin.algorithms import ER, HIO, RAAR, Draw, Ramp, ShrinkWrap
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES

rng = np.random.default_rng(3)
pattern, truth = measure(CLASSES["poly"]((64, 64), rng), photons=1e6, rng=rng, stop=1.5)

# %% n * step repeats, + is then. Draw: each start draws its own value. Ramp: the value moves over all repetitions of that step.
wrap = ShrinkWrap(threshold=Draw(0.12, 0.32), sigma=Ramp(2.0, 0.5))
recipe = 10 * (20 * HIO(beta=0.9) + wrap) + 10 * (20 * RAAR(beta=0.87) + wrap) + 50 * ER()

# %% Its repr is the text that --recipe and run.toml take, and the text is the recipe again.
print(recipe)
assert ut.parse(repr(recipe)) == recipe

# %% Eight starts in two families that never see each other. Nothing is guided or finished: a recipe is only what it says.
solution = ut.reconstruct(pattern, recipe, starts=8, seed=0)
print(solution.verdict.text)
for start in solution.starts:
    print(f"start {start.number}: R = {start.r_factor:.3f}, support {start.support} pixels, error to the solution {start.error:.3f}")

# %% R-factor of every start against iteration.
from matplotlib.figure import Figure  # noqa: E402

figure = Figure(figsize=(6, 4), layout="constrained")
axis = figure.subplots()
for line, start in zip(solution.history, solution.starts):
    alike = start.error < 0.1
    axis.semilogy(line.steps, line.r_factor, "-" if alike else ":", color="#0072B2" if alike else "#D55E00", label=line.label)
axis.set(xlabel="iteration", ylabel="R-factor", title="solid: within 0.1 of the solution; dotted: not")
axis.legend(ncols=2, fontsize=8)
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
