"""The plans for numbers |W x|² that are no single far field: masks, the near field, any linear map."""

from __future__ import annotations

from untwin.runs.pictures import FAMILIES
from untwin.runs.rows import UNMEASURED, Number, Row

NEAR = Row(
    "a near field: slow variations are found last, so that starts differ in them, and the end is the most likely object",
    lambda facts: facts.problem.pattern.optics is not None and bool(facts.problem.pattern.optics.fresnel_numbers),
    "Search(CoarseStart(phase={phase}) + {dm}*DM + {raar}*RAAR + MaximumLikelihood({likely}), starts={starts}, families={families})",
    {
        "phase": Number(1.0, UNMEASURED),
        "dm": Number(200, UNMEASURED),
        "raar": Number(50, UNMEASURED),
        "likely": Number(150, UNMEASURED),
        "starts": Number(4, UNMEASURED),
        "families": FAMILIES,
    },
)
WAVES = Row(
    "numbers |W x|² of other waves than one far field (masks, near field, any linear map). The difference map between waves, one of two "
    "families from the spectral start. Then the most likely object",
    lambda facts: facts.problem.pattern.optics is not None,
    "Search(Spectral(variety={variety}) + {dm}*DM + {raar}*RAAR + {er}*ER, starts={starts}, families={families}), "
    "Finish((MaximumLikelihood({likely}),), deal={deal}, rounds={rounds})",
    {
        "variety": Number(0.3, UNMEASURED),
        "dm": Number(800, "benchmarks/waves.py: 940 solve 43 of 50 at m/n = 2.5 from random starts, RAAR 18"),
        "raar": Number(100, UNMEASURED),
        "er": Number(50, UNMEASURED),
        "starts": Number(8, UNMEASURED),
        "families": FAMILIES,
        "likely": Number(60, UNMEASURED),
        "deal": Number(1, "there is one recipe, and no setting to be divided among the starts"),
        "rounds": Number(1, "the most likely object is where another round would begin"),
    },
)
