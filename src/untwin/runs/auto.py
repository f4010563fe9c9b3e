"""The plan for someone who gives none: one table of conditions and stages, and beside every number where it comes from.

What the plans reach: docs/benchmarks.md, benchmarks/recover.py. A source names a script, a page or a paper; "unmeasured" is a number that
was chosen by hand while building and that no table holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError
from untwin.judge import trust
from untwin.runs.coherent import COHERENCE, COHERENT, COHERENT_SOON
from untwin.runs.exposures import NEAR, WAVES
from untwin.runs.few_values import SPARSE, affordable_steps
from untwin.runs.names import parse
from untwin.runs.pictures import FAMILIES, FILLED, FILLED_PIXELS, FIXED_FILLED, affordable
from untwin.runs.rows import UNMEASURED, Number, Row
from untwin.runs.stages.plan import Plan
from untwin.runs.stages.refine import Refine

if TYPE_CHECKING:
    from untwin.model.problem import Problem


@dataclass(frozen=True)
class Facts:
    """What a plan is chosen by. fixed: the support was given and stays."""

    problem: Problem
    fixed: bool = False

    @property
    def pixels(self) -> int:
        return self.problem.pattern.intensity.size

    @property
    def photons(self) -> float:
        """Of the signal, per pixel of the detector."""
        return self.problem.pattern.signal / self.pixels

    @cached_property
    def outline_is_hidden(self) -> bool:
        """A stop hides many speckles of a real nonnegative object, and the pattern does not tell its outline."""
        from untwin.model.outline import hidden_speckles, hull_by_noise

        p = self.problem.pattern
        return self.problem.constraint.positive and hidden_speckles(p) > HIDDEN_SPECKLES.value and hull_by_noise(p) is None

    @cached_property
    def fills_its_box(self) -> bool:
        """A real nonnegative object whose box is known: its support was given, or the counts show that it fills a box."""
        from untwin.model.frame import frame_widths

        suited = self.problem.constraint.positive and self.pixels <= FILLED_PIXELS.value
        return suited and (self.fixed or frame_widths(self.problem.pattern) is not None)

    @property
    def is_bragg(self) -> bool:
        """A complex object, by a scan about a Bragg peak."""
        p = self.problem.pattern
        return p.ndim == 3 and p.geometry.sampling is not None and not self.problem.real

    @property
    def small_and_complex(self) -> bool:
        """A complex object on so few pixels that a deep prior costs less than a minute, and on enough for one."""
        most = {2: REFINED_2D.value, 3: REFINED_3D.value}.get(self.problem.ndim, 0)
        return not self.problem.real and self.pixels <= most and min(self.problem.shape) >= REFINED_AXIS.value


# What separates the conditions
HIDDEN_SPECKLES = Number(8, UNMEASURED)
LARGE_PIXELS = Number(32_768, UNMEASURED)  # 32 x 32 x 32
_VOLUMES = "benchmarks/volumes.py: one crystal of 256 x 256 x 256; how many fewer would do is unmeasured"
HUGE_PIXELS = Number(4_000_000, _VOLUMES)
REFINED_2D = Number(5_000, "docs/deep-priors.md: measured at 64 x 64, where it costs less than a minute")  # pixels
REFINED_3D = Number(32_768, "benchmarks/results/double_dip_3d.json: 32 x 32 x 32")  # pixels
REFINED_AXIS = Number(10, "half of it is the box of the fit, in which a network of two scales needs five")  # pixels
MIN_PHOTONS = Number(2.0, "docs/deep-priors.md: measured from 1e4 photons on 64 x 64 (2.4 per pixel)")  # per pixel of the detector
FEW_PHOTONS = Number(40.0, "docs/deep-priors.md: measured up to 1e5 photons on 64 x 64 (24 per pixel)")  # photons per pixel
CERTAIN_PHOTONS = Number(200.0, "benchmarks/certificate.py: measured at 1e6 photons on 64 x 64 (244 per pixel)")

# Steps that several rows have in common
_WRAP = "ShrinkWrap(threshold=Draw({wrap_low}, {wrap_high}), sigma=Ramp({wrap_wide}, {wrap_narrow}))"
_CHILD = "ShrinkWrap(threshold=Draw({child_low}, {child_high}), sigma=Ramp(Draw({child_wide_low}, {child_wide_high}), {child_narrow}))"
_HELD = "ShrinkWrap(threshold=Draw({child_low}, {child_high}), sigma={child_narrow})"
_ENDS = "starts={starts}, families={families})"
_SEARCH = f"Search({{cycles}}*({{hio}}*HIO + {_WRAP}) + {{cycles}}*({{raar}}*RAAR + {_WRAP}) + {{er}}*ER, {_ENDS}"
_CHILDREN = [
    f"{_CHILD} + {{child_cycles}}*({{raar}}*{algorithm} + {_CHILD}) + {{held_cycles}}*({{raar}}*RAAR + {_HELD}) + {{child_er}}*ER"
    for algorithm in ("Capped(RAAR)", "RAAR")
]
_GUIDE = f"Guide(({', '.join(_CHILDREN)}), generations={{generations}})"
_CUT = "ShrinkWrap(threshold=Deal({thresholds}), sigma={finish_sigma}, level='weighted', islands={islands})"
_FINISHES = (
    f"{_CUT} + {{proximal}}*Proximal(RAAR) + {{mean}}*Mean(Proximal(RAAR)) + Rescale + {{last}}*Proximal(ER)",
    f"{_CUT} + {{proximal}}*Capped(Proximal(RAAR)) + {{mean}}*Mean(Capped(Proximal(RAAR))) + Rescale + {{last}}*Capped(Proximal(ER)) + "
    "Capped(Rescale)",
)
_FINISH = f"Finish(({', '.join(_FINISHES)}), deal={{deal}}, rounds={{rounds}})"
_SHARP = "ShrinkWrap(threshold={contained_threshold}, sigma=Ramp({wrap_wide}, {contained_narrow}), level='weighted')"
_SHARP_STILL = "ShrinkWrap(threshold={contained_threshold}, sigma={contained_narrow}, level='weighted')"
_CONTAIN = (
    f"Contain({{contained_hio}}*({{hio}}*HIO + {_SHARP}) + {{contained_raar}}*({{raar}}*RAAR + {_SHARP_STILL}) + {{er}}*ER, "
    "max_deviance_ratio={contradicted})"
)

_COMMON = {
    "families": FAMILIES,
    "hio": Number(20, UNMEASURED),
    "raar": Number(20, UNMEASURED),
    "wrap_low": Number(0.12, UNMEASURED),
    "wrap_high": Number(0.32, UNMEASURED),
    "wrap_wide": Number(2.0, UNMEASURED),
    "wrap_narrow": Number(0.5, UNMEASURED),
    "child_low": Number(0.08, UNMEASURED),
    "child_high": Number(0.3, UNMEASURED),
    "child_wide_low": Number(0.7, UNMEASURED),
    "child_wide_high": Number(1.3, UNMEASURED),
    "child_narrow": Number(0.5, UNMEASURED),
    "generations": Number(2, UNMEASURED),
    "finish_sigma": Number(0.7, UNMEASURED),
    "islands": Number(0.03, UNMEASURED),
    "last": Number(10, UNMEASURED),
}
_CONTAINMENT = "docs/benchmarks.md, A wrong model"
_CONTAINED = {
    "contained_hio": Number(10, _CONTAINMENT),
    "contained_raar": Number(15, _CONTAINMENT),
    "contained_threshold": Number(0.23, f"{_CONTAINMENT}: of 0.07 to 0.4, 0.23 and 0.3 agree best on the gold crystal without its edge"),
    "contained_narrow": Number(1.0, _CONTAINMENT),
    "contradicted": Number(1.5, _CONTAINMENT),
}

FIXED = Row(
    "the support was given: nothing but projections",
    lambda facts: facts.fixed,
    "Inspect, Search({cycles}*({hio}*HIO + {er}*ER) + {last_hio}*HIO + {last_er}*ER, starts={starts}, families={families}), "
    f"{COHERENCE}",
    COHERENT_SOON
    | {
        "cycles": Number(4, UNMEASURED),
        "hio": Number(50, UNMEASURED),
        "er": Number(20, UNMEASURED),
        "last_hio": Number(50, UNMEASURED),
        "last_er": Number(50, UNMEASURED),
        "starts": Number(4, UNMEASURED),
        "families": FAMILIES,
    },
)
_GAMMA = "Draw({gamma_low}, {gamma_high})"
BEHIND_A_STOP = Row(
    "a real nonnegative object of which a large stop hides many speckles, and whose outline the pattern does not tell. The hole is damped, "
    "since a free one fills with haze. The support follows the area and not a threshold, which the haze would move",
    lambda facts: facts.outline_is_hidden,
    f"Search(BoxSupport + TriangleSupport + RandomStart + {{half}}*Damped(HIO, gamma={_GAMMA}) + ResetSupport + "
    f"{{whole}}*Damped(HIO, gamma={_GAMMA}) + "
    "{cycles}*(AreaWrap(area=Ramp({area_first}, {area_last}), sigma=Ramp({wide}, {narrow})) + "
    f"{{released}}*Damped(HIO, gamma=Ramp({_GAMMA}, {{free}}, linear=True))) + {{er}}*ER, starts={{starts}}, families={{families}}), "
    "Finish((ShrinkWrap(threshold=Deal({thresholds}), sigma={finish_sigma}, level='weighted') + {finish_hio}*HIO + {finish_er}*ER + "
    "{mean}*Mean(ER),), deal={deal}, rounds={rounds})",
    {
        "half": Number(100, UNMEASURED),
        "whole": Number(600, UNMEASURED),
        "gamma_low": Number(0.965, UNMEASURED),
        "gamma_high": Number(0.985, UNMEASURED),
        "cycles": Number(24, UNMEASURED),
        "area_first": Number(0.9, UNMEASURED),
        "area_last": Number(0.3, UNMEASURED),
        "wide": Number(3.0, UNMEASURED),
        "narrow": Number(0.7, UNMEASURED),
        "released": Number(40, UNMEASURED),
        "free": Number(1.0, "no damping: the plain algorithm"),
        "er": Number(15, UNMEASURED),
        "starts": Number(10, UNMEASURED),
        "families": FAMILIES,
        "thresholds": Number((0.08, 0.12, 0.18, 0.25), UNMEASURED),
        "finish_sigma": Number(0.8, UNMEASURED),
        "finish_hio": Number(60, UNMEASURED),
        "finish_er": Number(20, UNMEASURED),
        "mean": Number(40, UNMEASURED),
        "deal": Number(4, "one for each threshold"),
        "rounds": Number(3, UNMEASURED),
    },
)
_AT_REST = "{resting}*RAAR(beta={rest}) + {averaged}*Mean(RAAR(beta={rest}))"
_STRAIN = "benchmarks/strain_error.py"
BRAGG = Row(
    "a scan about a Bragg peak: a crystal is of even density, so that its outline is known from the first. Supports are cut at a share of "
    "the magnitude, which haze cannot widen. Starts are brought to rest, and what is shown is the mean of the similar ones",
    lambda facts: facts.is_bragg,
    f"Inspect, Search({{contained_hio}}*({{hio}}*HIO + {_SHARP}) + {{contained_raar}}*({{raar}}*RAAR + {_SHARP_STILL}) + {{er}}*ER, "
    f"{_ENDS}, Average({_AT_REST}), {COHERENCE}",
    {name: number for name, number in _CONTAINED.items() if name != "contradicted"}
    | COHERENT_SOON
    | {
        "model_rounds": Number(1, "benchmarks/measured.py: three take a raw scan of 96 x 96 x 96 a quarter of an hour of CPU"),
        "sharpening": Number(15, "src/untwin/model/sharpen.py: 15 to 60 hardly differ, and 60 are half of the plan's work"),
        "hio": Number(20, UNMEASURED),
        "raar": Number(20, UNMEASURED),
        "wrap_wide": Number(2.0, UNMEASURED),
        "er": Number(30, UNMEASURED),
        "starts": Number(8, UNMEASURED),
        "families": FAMILIES,
        "rest": Number(0.75, f"{_STRAIN}: of 0.5 to 0.85, the strain is best from 0.75 on, and the misfit grows"),
        "resting": Number(60, UNMEASURED),
        "averaged": Number(100, UNMEASURED),
    },
)
LARGE = Row(
    "larger arrays, 3D: the third dimension helps, so fewer starts and iterations",
    lambda facts: facts.pixels > LARGE_PIXELS.value,
    f"Inspect, {_SEARCH}, {_GUIDE}, Release, {_FINISH}, {_CONTAIN}, {COHERENCE}",
    _COMMON
    | _CONTAINED
    | COHERENT_SOON
    | {
        "model_rounds": Number(1, "benchmarks/measured.py: three take a raw scan of 96 x 96 x 96 a quarter of an hour of CPU"),
        "cycles": Number(10, UNMEASURED),
        "er": Number(30, UNMEASURED),
        "starts": Number(8, "benchmarks/crystal.py: 10 of 10 single starts succeed (poly, 64 x 64 x 64, 3e7 photons)"),
        "child_cycles": Number(5, UNMEASURED),
        "held_cycles": Number(3, UNMEASURED),
        "child_er": Number(20, UNMEASURED),
        "thresholds": Number((0.07, 0.12, 0.18, 0.25), UNMEASURED),
        "proximal": Number(60, UNMEASURED),
        "mean": Number(40, UNMEASURED),
        "deal": Number(4, "one for each threshold"),
        "rounds": Number(3, UNMEASURED),
    },
)
HUGE = Row(
    "very large arrays, 3D: half the starts, one generation, one round",
    lambda facts: facts.pixels > HUGE_PIXELS.value and facts.problem.ndim == 3,
    LARGE.text,
    LARGE.numbers
    | {
        "starts": Number(4, _VOLUMES),
        "generations": Number(1, _VOLUMES),
        "rounds": Number(1, _VOLUMES),
    },
)
SMALL = Row(
    "all others: many starts, two guided generations, a finish for few photons",
    lambda facts: True,
    f"Inspect, {_SEARCH}, {_GUIDE}, Reserve({{reserve}}), Release, {_FINISH}, {COHERENCE}, Strays",
    _COMMON
    | COHERENT
    | {
        "cycles": Number(20, UNMEASURED),
        "er": Number(50, UNMEASURED),
        "starts": Number(24, UNMEASURED),
        "child_cycles": Number(9, UNMEASURED),
        "held_cycles": Number(6, UNMEASURED),
        "child_er": Number(50, UNMEASURED),
        "reserve": Number(2, UNMEASURED),
        "thresholds": Number((0.04, 0.07, 0.1, 0.14, 0.18, 0.22, 0.27, 0.35), UNMEASURED),
        "proximal": Number(100, UNMEASURED),
        "mean": Number(60, UNMEASURED),
        "deal": Number(8, "one for each threshold"),
        "rounds": Number(4, UNMEASURED),
    },
)
PLANS = (NEAR, WAVES, SPARSE, FIXED_FILLED, FIXED, FILLED, BEHIND_A_STOP, BRAGG, HUGE, LARGE, SMALL)  # the first whose condition holds

# A complex object is refined by a deep prior (docs/deep-priors.md)
_REFINE_SOURCE = "docs/deep-priors.md: this fit was measured as a whole (benchmarks/priors.py), the number by itself was not"
_SMALLER_SOURCE = "benchmarks/results/refine_search.json: larger nets reach the same E"
_SKIP = "Skip(depth={depth}, width={width}, inputs={inputs}, padding='replicate')"
_FIT = (
    f"Until(HeldOut(share={{share}}, patience={{patience}}), {{steps}}*Fit(DoubleDIP({_SKIP}), descent=Adam(beta2={{beta2}}), "
    "regularizer=TV({weight}), loss=Poisson({offset}), grow={grow}, imitate={imitate}, rate={rate}, warm={warm}, decay={decay}))"
)
_FITTED = {
    "share": Number(0.05, _REFINE_SOURCE),
    "patience": Number(100, _REFINE_SOURCE),
    "steps": Number(350, "benchmarks/results/refine_search.json: half and a third of them are worse"),
    "depth": Number(2, _SMALLER_SOURCE),
    "width": Number(16, _SMALLER_SOURCE),
    "inputs": Number(8, _REFINE_SOURCE),
    "beta2": Number(0.99, _REFINE_SOURCE),
    "weight": Number(0.5, _REFINE_SOURCE),
    "offset": Number(0.1, _REFINE_SOURCE),
    "grow": Number(2, _REFINE_SOURCE),
    "imitate": Number(100, _REFINE_SOURCE),
    "rate": Number(0.2, _REFINE_SOURCE),
    "warm": Number(20, _REFINE_SOURCE),
    "decay": Number(0.05, _REFINE_SOURCE),
}
MIN_DISAGREEMENT = Number(0.02, "docs/deep-priors.md: where families are the same to 0.02 a refinement would change little")  # E
REFINE_ALWAYS = Row("the method refine", lambda facts: not facts.problem.real, f"Refine({_FIT})", _FITTED)
REFINE_CERTAIN = Row(
    "a small complex object in 2D with many photons: half the deviance tells right from wrong",
    lambda facts: facts.small_and_complex and facts.problem.ndim == 2 and facts.photons >= CERTAIN_PHOTONS.value,
    f"Refine({_FIT}, min_disagreement={{min_disagreement}}, max_deviance_ratio={{max_deviance_ratio}})",
    _FITTED | {"min_disagreement": MIN_DISAGREEMENT, "max_deviance_ratio": Number(trust.MAX_DEVIANCE_RATIO, "benchmarks/certificate.py")},
)
REFINE_APART = Row(
    "a small complex object with more than few photons, or in 3D: where two families differ by more than noise alone makes them",
    lambda facts: (
        facts.small_and_complex and (facts.photons > FEW_PHOTONS.value or facts.problem.ndim == 3 and facts.photons >= MIN_PHOTONS.value)
    ),
    f"Refine({_FIT}, min_disagreement={{min_disagreement}})",
    _FITTED | {"min_disagreement": MIN_DISAGREEMENT},
)
REFINE_FEW = Row(
    "a small complex object in 2D with few photons and without a stop",
    lambda facts: facts.small_and_complex and facts.photons >= MIN_PHOTONS.value and not _stopped(facts),
    f"Refine({_FIT})",
    _FITTED,
)
REFINEMENTS = (REFINE_CERTAIN, REFINE_APART, REFINE_FEW)  # of the plan SMALL: the first whose condition holds, or none

# Methods that have a name: what each start begins with, and how it is polished by projections in a support that is cut from it
_POLISH = (
    "ShrinkWrap(threshold={first_threshold}, sigma={wide}) + {cycles}*({hio}*HIO + ShrinkWrap(threshold={hio_threshold}, "
    "sigma=Ramp({wide}, {narrow}))) + {cycles}*({raar}*RAAR + ShrinkWrap(threshold={raar_threshold}, sigma={narrow})) + {er}*ER"
)
_POLISHED = {
    "first_threshold": Number(0.12, UNMEASURED),
    "wide": Number(2.0, UNMEASURED),
    "narrow": Number(0.7, UNMEASURED),
    "cycles": Number(10, UNMEASURED),
    "hio": Number(20, UNMEASURED),
    "hio_threshold": Number(0.18, UNMEASURED),
    "raar": Number(20, UNMEASURED),
    "raar_threshold": Number(0.2, UNMEASURED),
    "er": Number(50, UNMEASURED),
    "starts": Number(4, UNMEASURED),
    "families": FAMILIES,
}
_UNTIL = "Until(EMV(alpha={alpha}, patience={patience}, tolerance={tolerance}, burn_in={burn_in}), "
_STOPPED = {
    "alpha": Number(0.1, "Wang et al., TMLR 2023: the rule as published"),
    "patience": Number(200, UNMEASURED),
    "tolerance": Number(0.0, UNMEASURED),
    "burn_in": Number(100, UNMEASURED),
    "decay": Number(0.1, UNMEASURED),
}
_SEARCHED = "benchmarks/results/priors_search.json"
_IMPLICIT = "Implicit(Siren(width={width}, layers={layers}), rate={rate})"
_PROJECTOR = f"Projector({_SKIP}, rate={{rate}})"
POLISH_ROW = Row("after a prior from random numbers", lambda facts: not facts.problem.real, _POLISH, _POLISHED)
SCRATCH = {
    "double-dip": Row(
        "the method double-dip: a prior from random numbers, in a box of half the array; its learning rate falls to its end",
        lambda facts: not facts.problem.real,
        "Search({steps}*Fit(DoubleDIP(Skip(depth={depth}, width={net_width}, inputs={inputs}), rate={rate}), loss=Amplitude(), "
        f"decay={{decay}}) + {_POLISH}, {_ENDS}",
        _POLISHED
        | {
            "steps": Number(250, _SEARCHED),
            "depth": Number(4, _SEARCHED),  # at most: as many scales as the box has room for
            "net_width": Number(32, _SEARCHED),
            "inputs": Number(16, UNMEASURED),
            "rate": Number(0.04, _SEARCHED),
            "decay": Number(0.1, UNMEASURED),
        },
    ),
    "siren": Row(
        "the method siren: the same with two sinusoidal networks, stopped by EMV",
        lambda facts: not facts.problem.real,
        f"Search({_UNTIL}{{steps}}*Fit(Polar({_IMPLICIT}, {_IMPLICIT}), loss=Amplitude(), decay={{decay}})) + {_POLISH}, {_ENDS}",
        _POLISHED
        | _STOPPED
        | {
            "steps": Number(800, _SEARCHED),
            "width": Number(64, _SEARCHED),
            "layers": Number(2, UNMEASURED),
            "rate": Number(0.003, _SEARCHED),
        },
    ),
    "drp": Row(
        "the method drp: the same with two deep random projectors, stopped by EMV",
        lambda facts: not facts.problem.real,
        f"Search({_UNTIL}{{steps}}*Fit(Polar({_PROJECTOR}, {_PROJECTOR}), loss=Amplitude(), decay={{decay}})) + {_POLISH}, {_ENDS}",
        _POLISHED
        | _STOPPED
        | {
            "steps": Number(1500, UNMEASURED),
            "depth": Number(2, UNMEASURED),
            "width": Number(16, UNMEASURED),
            "inputs": Number(8, UNMEASURED),
            "rate": Number(0.05, UNMEASURED),
        },
    ),
}
ROWS = (*PLANS, *REFINEMENTS, REFINE_ALWAYS, POLISH_ROW, *SCRATCH.values())
METHODS = ("auto", "classical", "refine", *SCRATCH)
POLISH = parse(POLISH_ROW.filled())


def _stopped(facts: Facts) -> bool:
    from untwin.model.outline import hidden

    return bool(len(hidden(facts.problem.pattern)))


def _built(row: Row, starts: int | None, **others: Any) -> Plan:
    """The plan of a row, with its own number of starts or another."""
    n, families = starts or row.numbers["starts"].value, row.numbers["families"].value
    assert isinstance(n, int) and isinstance(families, int)
    plan = parse(f"Plan({row.filled(**others, starts=n, families=min(n, families))})")
    assert isinstance(plan, Plan)
    return plan


def _refinement(row: Row) -> Refine:
    from untwin import expression
    from untwin.runs.names import NAMES

    refine = expression.read(row.filled(), NAMES)
    assert isinstance(refine, Refine)
    return refine


def plan(problem: Problem, starts: int | None = None, fixed: bool = False, effort: float = 1.0) -> Plan:
    """The plan for a problem, by its size, by what is known of the object, and by how much of the pattern is hidden.

    starts: independent random starts, instead of the table's; there is no reserve then. fixed: the support was given and stays.
    effort: factor on the work. In pictures and sparse objects it is what may be spent where families do not agree: families in reserve,
        further generations or steps. Elsewhere it is the number of starts, unless that is given, and of families in reserve.
    """
    from untwin.runs.stages.reserve import Reserve

    facts = Facts(problem, fixed)
    row = next(row for row in PLANS if row.holds(facts))
    if row in (FIXED_FILLED, FILLED):
        plan = _built(row, starts, **affordable(row, _built(row, None, further=1, reserve=0), facts.pixels, effort))
        return plan.without(Reserve) if starts else plan
    if row is SPARSE:
        n = starts or row.numbers["starts"].value
        return _built(row, starts, steps=affordable_steps(facts.pixels, n, effort), enough=min(n, row.numbers["enough"].value))
    n = starts or max(row.numbers["families"].value, round(effort * row.numbers["starts"].value))
    if row is not SMALL:
        return _built(row, n)
    plan = _built(row, n, reserve=round(effort * row.numbers["reserve"].value))
    if starts:
        plan = plan.without(Reserve)
    refinement = next((r for r in REFINEMENTS if r.holds(facts)), None)
    return plan if refinement is None else plan.with_stage(_refinement(refinement))


def require_method(name: str) -> None:
    """Raise InputError where no method has this name."""
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}; expected one of {', '.join(METHODS)}")


def method(name: str, problem: Problem, starts: int | None = None, effort: float | None = None) -> Plan:
    """The plan of a method that has a name.

    auto: `plan`. classical: `plan` without a refinement. refine: `plan`, and then always a double deep prior that starts from the
        results (docs/deep-priors.md).
    double-dip, siren, drp: each start is a prior fitted from random numbers in a box of half the array, with nothing known of the
        support, and then polished by projections in a support that is cut from it.
    Raises InputError for another name.
    """
    require_method(name)
    if name in SCRATCH and effort is not None:
        raise InputError(f"method {name!r} has no effort, which is of the automatic plan; take more starts")
    if problem.pattern.optics is not None and name not in ("auto", "classical"):
        raise InputError(f"method {name!r} is of one far field, and these are exposures; leave it out, or give a recipe with Fit")
    effort = 1.0 if effort is None else effort
    if name == "auto":
        return plan(problem, starts, effort=effort)
    if name == "classical":
        return plan(problem, starts, effort=effort).without(Refine)
    if problem.real:
        raise InputError(f"method {name!r} draws a complex object; leave positivity out, or take the method auto")
    if name == "refine":
        from dataclasses import replace

        automatic = plan(problem, starts, effort=effort)
        refinement = automatic.stage(Refine)
        ratio = refinement.max_deviance_ratio if refinement else 0.0
        return automatic.with_stage(replace(_refinement(REFINE_ALWAYS), max_deviance_ratio=ratio))
    row = SCRATCH[name]
    if name == "double-dip":
        most, box = row.numbers["depth"].value, min(problem.pattern.shape) // 2
        assert isinstance(most, int)
        return _built(row, starts, depth=max(1, min(most, (box - 1).bit_length() - 1)))
    return _built(row, starts)
