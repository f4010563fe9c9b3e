"""The plan of a real nonnegative object in a known box, and how far it goes where its families do not agree.

What it reaches: docs/benchmarks.md, Pictures.
"""

from __future__ import annotations

from untwin.runs.coherent import COHERENCE, COHERENT_SOON
from untwin.runs.rows import Number, Row
from untwin.runs.stages.plan import Plan

FAMILIES = Number(2, "docs/verdict.md: two that never see one another are the evidence")
FILLED_PIXELS = Number(65_536, "256 x 256, where the budget is spent by the search and its generations")
WORK = Number(3.6e9, "benchmarks/pictures.py: iterations times pixels, about a minute of CPU; --effort multiplies it")

_PENALIZED = "{penalized}*Penalized(weight=Ramp({coarse}, {fine}))"
_MIXED = (
    "("
    + "".join(
        f"{steps} + {_PENALIZED}, "
        for steps in (
            "{raar}*RAAR + {raar_er}*ER",
            "{short_cycles}*({short_hio}*HIO + {short_er}*ER)",
            "{long_cycles}*({hio}*HIO + {er}*ER)",
        )
    )
    + ")"
)
_PICTURE = (
    f"{{cycles}}*({{hio}}*HIO + {{er}}*ER) + {_PENALIZED}, starts={{starts}}, families={{families}}), "
    f"Guide({_MIXED}, generations={{generations}}, mix=True), "
    f"Guide({_MIXED}, generations={{further}}, max_disagreement={{alike}}, mix=True), Reserve({{reserve}}, max_disagreement={{alike}}), "
    f"{COHERENCE}"
)
_PICTURES = "benchmarks/pictures.py: this plan was measured as a whole, the number by itself was not"
_FILLED = COHERENT_SOON | {
    "model_rounds": Number(1, "benchmarks/pictures.py --blur: each round is the whole plan once more"),
    "cycles": Number(6, _PICTURES),
    "hio": Number(50, _PICTURES),
    "er": Number(20, _PICTURES),
    "penalized": Number(300, _PICTURES),
    "coarse": Number(5, _PICTURES),
    "fine": Number(0.5, "docs/benchmarks.md, Pictures: the best of five at 1e6 photons, or 0.2 dB below it at 1e7, from the truth"),
    "starts": Number(24, _PICTURES),
    "families": FAMILIES,
    "generations": Number(2, _PICTURES),
    "further": Number(6, _PICTURES),
    "raar": Number(50, _PICTURES),
    "raar_er": Number(10, _PICTURES),
    "short_cycles": Number(4, _PICTURES),
    "short_hio": Number(20, _PICTURES),
    "short_er": Number(10, _PICTURES),
    "long_cycles": Number(2, _PICTURES),
    "alike": Number(0.03, _PICTURES),
    "reserve": Number(8, "at most; the budget allows three of them at 128 x 128"),
}
FIXED_FILLED = Row(
    "the support of a real nonnegative object was given: projections, and what is most probable of the counts and a total variation. Where "
    "two families do not agree, further generations and families",
    lambda facts: facts.fixed and facts.fills_its_box,
    f"Inspect, Search({_PICTURE}",
    _FILLED,
)
FILLED = Row(
    "a real nonnegative object that fills a box, as a picture does: the same in that box, which the counts tell",
    lambda facts: facts.fills_its_box,
    f"Inspect, Search(FrameSupport + RandomStart + {_PICTURE}",
    _FILLED,
)


def affordable(row: Row, plan: Plan, pixels: int, effort: float) -> dict[str, int]:
    """How many further generations and families the budget of work allows where families do not agree; they come in this order.

    plan: of this row, with a single further generation and no family in reserve.
    """
    generations, reserve = row.numbers["further"].value, row.numbers["reserve"].value
    size = plan.size()
    search, first, further = (stage.steps(size) for stage in plan.stages[1:4])  # after the look at the counts
    left = effort * WORK.value / pixels - search - first
    within = max(0, min(round(generations * max(1.0, effort)), int(left / further)))
    family = (search + first + within * further) / size.families
    return {"further": within, "reserve": max(0, min(round(reserve * max(1.0, effort)), int((left - within * further) / family)))}
