"""The plan of an object of which few values are not 0: atoms in a cell that repeats itself, without anything empty around it.

What it reaches: docs/sparse-objects.md, benchmarks/sparse_atoms.py.
"""

from __future__ import annotations

from untwin.runs.rows import UNMEASURED, Number, Row

LONGEST = 2_000_000  # steps of one recipe (solve.recipe.LONGEST) less those of the end
_PUBLISHED = "Elser, Lan and Bendory, SIAM J. Imaging Sci. 11, 2018"
_ATOMS = "benchmarks/sparse_atoms.py"
_ALGORITHM = "docs/sparse-objects.md, Which algorithm"
_SHIFTS = "docs/sparse-objects.md, Starts that agree"
WORK = Number(2.6e10, f"{_ATOMS}: iterations times pixels, 200,000 for each of 8 starts at 128 x 128, two minutes; --effort multiplies it")

SPARSE = Row(
    "few values of the object are not 0: reflections from random starts until two of them have come to a solution. The share of its power "
    "that the constraint keeps tells a solution. The starts share nothing, and that two agree is the evidence",
    lambda facts: facts.problem.constraint.sparse,
    "CountValues(Until(Solved(power={power}, enough={enough}), {trial}*HPR(beta={quick_beta})) + {er}*ER, {er}*ER), "
    "Search(Until(Solved(power={power}, enough={enough}), {quick}*HPR(beta={quick_beta}) + {steps}*RRR(beta={beta})) + {er}*ER + "
    "{rounds}*Shifts(fractions={fractions}, steps={each}) + ObjectSupport, starts={starts}, families={families})",
    {
        "power": Number(0.95, _PUBLISHED),
        "enough": Number(2, "two that agree are evidence; a third would cost half as much again"),
        "quick": Number(10_000, f"{_ALGORITHM}: what HPR does not solve by then is hard, and RRR is better at it"),
        "steps": Number(190_000, "of 8 starts at 128 x 128; else as many as WORK allows"),
        "quick_beta": Number(0.6, f"{_ALGORITHM}: 0.54 to 0.74 of RRR's iterations where these are few"),
        "beta": Number(0.5, _PUBLISHED),
        "trial": Number(6_000, "docs/sparse-objects.md, How many values; of Sparse() alone"),
        "er": Number(50, f"{_SHIFTS}: 500 end no nearer"),
        "rounds": Number(2, f"{_SHIFTS}: four bring starts hardly nearer to one another"),
        "fractions": Number(8, f"{_SHIFTS}: 4 leave about half of the pairs of starts apart in two of three cells"),
        "each": Number(30, UNMEASURED),
        "starts": Number(8, "of waiting times without memory, two of eight take in all what two by themselves do, and no long one decides"),
        "families": Number(8, "each start is one"),
    },
)


def affordable_steps(pixels: int, starts: int, effort: float) -> int:
    """Steps of each start behind the quick ones that the budget of work allows."""
    quick = SPARSE.numbers["quick"].value
    return max(1000, min(LONGEST - quick - 1000, round(effort * WORK.value / (pixels * starts)) - quick))
