"""The plan of an object of which few values are not 0: atoms in a cell that repeats itself, without anything empty around it.

What it reaches: docs/sparse-objects.md, benchmarks/sparse_atoms.py.
"""

from __future__ import annotations

from untwin.runs.rows import Number, Row

LONGEST = 2_000_000  # steps of one recipe (solve.recipe.LONGEST) less those of the end
_PUBLISHED = "Elser, Lan and Bendory, SIAM J. Imaging Sci. 11, 2018"
_ATOMS = "benchmarks/sparse_atoms.py"
_SHIFTS = "docs/sparse-objects.md, Starts that agree"
WORK = Number(2.6e10, f"{_ATOMS}: iterations times pixels, two minutes of CPU where nothing is solved; --effort multiplies it")

SPARSE = Row(
    "few values of the object are not 0: reflections from random starts until two of them have come to a solution, which the share of its "
    "power that the constraint keeps tells; none of them has seen another, and that they agree is the evidence",
    lambda facts: facts.problem.constraint.sparse,
    "CountValues(Until(Solved(power={power}, enough={enough}), {trial}*HPR(beta={beta})) + {er}*ER, {er}*ER), "
    "Search(Until(Solved(power={power}, enough={enough}), {steps}*HPR(beta={beta})) + {er}*ER + "
    "{rounds}*Shifts(fractions={fractions}, steps={each}) + ObjectSupport, starts={starts}, families={families})",
    {
        "power": Number(0.95, _PUBLISHED),
        "enough": Number(2, "two that agree are evidence; a third would cost half as much again"),
        "beta": Number(0.6, "docs/sparse-objects.md, Which algorithm: 0.5 and 0.7 take more iterations, RRR twice as many"),
        "trial": Number(6_000, "docs/sparse-objects.md, How many values; of Sparse() alone"),
        "er": Number(50, f"{_ATOMS}: the misfit then no longer falls"),
        "rounds": Number(2, f"{_SHIFTS}: four bring starts hardly nearer to one another"),
        "fractions": Number(8, f"{_SHIFTS}: 4 leave a third of the pairs of starts apart by more than 0.1"),
        "each": Number(30, f"{_SHIFTS}: 10 are worse, 100 no better"),
        "starts": Number(8, f"{_ATOMS}: as many iterations in all as two starts to their ends, and no long one is waited for"),
        "families": Number(8, "each start is one"),
    },
)


def affordable_steps(pixels: int, starts: int, effort: float) -> int:
    """Steps of each start that the budget of work allows."""
    return max(1000, min(LONGEST - 1000, round(effort * WORK.value / (pixels * starts))))
