"""The plans for numbers |W x|² that are no single far field: masks, the near field, any linear map."""

from __future__ import annotations

from untwin.runs.pictures import FAMILIES
from untwin.runs.rows import UNMEASURED, Number, Row

NEAR = Row(
    "a near field: slow variations are found last, so that starts differ in them, and the end is the most likely object",
    lambda facts: facts.problem.pattern.optics is not None and bool(facts.problem.pattern.optics.fresnel_numbers),
    "Search(FlatStart(phase={phase}) + {dm}*DM + {raar}*RAAR + MaximumLikelihood({likely}), starts={starts}, families={families})",
    {
        "phase": Number(1.0, UNMEASURED),
        "dm": Number(200, UNMEASURED),
        "raar": Number(50, UNMEASURED),
        "likely": Number(400, "benchmarks/waves.py: with 100, starts still differ by up to 0.09"),
        "starts": Number(4, UNMEASURED),
        "families": FAMILIES,
    },
)
WAVES = Row(
    "numbers |W x|² of other waves than one far field (masks, near field, any linear map): the difference map between waves, one of two "
    "families from the spectral start; then the most likely object",
    lambda facts: facts.problem.pattern.optics is not None,
    "Search(Spectral(variety={variety}) + {dm}*DM + {raar}*RAAR + {er}*ER, starts={starts}, families={families}), "
    "Finish((MaximumLikelihood({likely}),), deal=1, rounds=1)",
    {
        "variety": Number(0.3, "benchmarks/waves.py"),
        "dm": Number(800, "benchmarks/waves.py"),
        "raar": Number(100, UNMEASURED),
        "er": Number(50, UNMEASURED),
        "starts": Number(8, UNMEASURED),
        "families": FAMILIES,
        "likely": Number(60, UNMEASURED),
    },
)
