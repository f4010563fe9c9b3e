"""The plan for someone who gives none. What it reaches: docs/benchmarks.md, benchmarks/recover.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from untwin.errors import InputError
from untwin.judge import trust
from untwin.runs.ensemble import Plan
from untwin.runs.names import parse
from untwin.solve.recipe import Deal, Recipe

if TYPE_CHECKING:
    from untwin.model.problem import Problem

_WRAP = "ShrinkWrap(threshold=Draw(0.12, 0.32), sigma=Ramp(2.0, 0.5))"
_CHILD = "ShrinkWrap(threshold=Draw(0.08, 0.3), sigma=Ramp(Draw(0.7, 1.3), 0.5))"
_HELD = "ShrinkWrap(threshold=Draw(0.08, 0.3), sigma=0.5)"
_THRESHOLDS = (0.04, 0.07, 0.1, 0.14, 0.18, 0.22, 0.27, 0.35)


def plan(problem: Problem, starts: int | None = None, fixed: bool = False) -> Plan:
    """The plan for a problem, by its size, by what is known of the object, and by how much of the pattern is hidden.

    starts: independent random starts. fixed: the support was given and stays.
    """
    if fixed:
        return _fixed(starts or 4)
    from untwin.model.outline import hidden, hidden_speckles, hull_by_noise

    if problem.real and hidden_speckles(problem.pattern) > 8 and hull_by_noise(problem.pattern) is None:
        return _behind_a_stop(starts or 10)
    size = problem.pattern.intensity.size
    if size > 32_768:
        return _large(starts or 8)
    small = _small(starts or 24, reserve=0 if starts else 2)
    photons = problem.pattern.photons / size
    if problem.real or size > REFINED.get(problem.ndim, 0) or photons < FEW[0]:
        return small
    if photons > FEW[1] or problem.ndim == 3:
        certain = problem.ndim == 2 and photons >= MANY
        return replace(small, refine=parse(_REFINE), apart=APART, explained=trust.EXPLAINED if certain else 0.0)
    return small if len(hidden(problem.pattern)) else replace(small, refine=parse(_REFINE))


def _families(starts: int) -> int:
    return 2 if starts > 1 else 1


def _small(starts: int, reserve: int) -> Plan:
    """Arrays up to 32 thousand pixels: many starts, two guided generations, a finish for few photons."""
    first = f"20*(20*HIO + {_WRAP}) + 20*(20*RAAR + {_WRAP}) + 50*ER"
    capped = f"{_CHILD} + 9*(20*Capped(RAAR) + {_CHILD}) + 6*(20*RAAR + {_HELD}) + 50*ER"
    plain = f"{_CHILD} + 9*(20*RAAR + {_CHILD}) + 6*(20*RAAR + {_HELD}) + 50*ER"
    return Plan(
        first=parse(first),
        starts=starts,
        families=_families(starts),
        reserve=reserve,
        children=(parse(capped), parse(plain)),
        generations=2,
        finish=_finish(_THRESHOLDS),
        deal=len(_THRESHOLDS),
        rounds=4,
    )


def _finish(thresholds: tuple[float, ...], main: int = 100, mean: int = 60) -> tuple[Recipe, Recipe]:
    """Supports dealt out by threshold, each held through a Poisson-proximal run; without and with a ceiling on the magnitude."""
    cut = f"ShrinkWrap(threshold={Deal(thresholds)!r}, sigma=0.7, level='weighted', islands=0.03)"
    plain = f"{cut} + {main}*Proximal(RAAR) + {mean}*Mean(Proximal(RAAR)) + Settle + 10*Proximal(ER)"
    capped = f"{cut} + {main}*Capped(Proximal(RAAR)) + {mean}*Mean(Capped(Proximal(RAAR))) + Settle + 10*Capped(Proximal(ER))"
    return parse(plain), parse(f"{capped} + Capped(Settle)")


def _large(starts: int) -> Plan:
    """Larger arrays, 3D: the third dimension helps, so fewer starts and iterations."""
    first = f"10*(20*HIO + {_WRAP}) + 10*(20*RAAR + {_WRAP}) + 30*ER"
    capped = f"{_CHILD} + 5*(20*Capped(RAAR) + {_CHILD}) + 3*(20*RAAR + {_HELD}) + 20*ER"
    plain = f"{_CHILD} + 5*(20*RAAR + {_CHILD}) + 3*(20*RAAR + {_HELD}) + 20*ER"
    thresholds = (0.07, 0.12, 0.18, 0.25)
    return Plan(
        first=parse(first),
        starts=starts,
        families=_families(starts),
        children=(parse(capped), parse(plain)),
        generations=2,
        finish=_finish(thresholds, 60, 40),
        deal=len(thresholds),
        rounds=3,
    )


def _behind_a_stop(starts: int) -> Plan:
    """A real nonnegative object of which a large stop hides many speckles, and whose outline the pattern does not tell: the hole is
    damped, since a free one fills with haze, and the support follows the area and not a threshold, which the haze would move."""
    gamma = "Draw(0.965, 0.985)"
    area = "AreaWrap(area=Ramp(0.9, 0.3), sigma=Ramp(3.0, 0.7))"
    search = f"Box + Triangle + Random + 100*Damped(HIO, gamma={gamma}) + Whole + 600*Damped(HIO, gamma={gamma})"
    released = f"Damped(HIO, gamma=Ramp({gamma}, 1.0, linear=True))"
    thresholds = (0.08, 0.12, 0.18, 0.25)
    cut = f"ShrinkWrap(threshold={Deal(thresholds)!r}, sigma=0.8, level='weighted')"
    return Plan(
        first=parse(f"{search} + 24*({area} + 40*{released}) + 15*ER"),
        starts=starts,
        families=_families(starts),
        finish=(parse(f"{cut} + 60*HIO + 20*ER + 40*Mean(ER)"),),
        deal=len(thresholds),
        rounds=3,
    )


def _fixed(starts: int) -> Plan:
    """The support was given: nothing but projections."""
    return Plan(first=parse("4*(50*HIO + 20*ER) + 50*HIO + 50*ER"), starts=starts, families=_families(starts))


# A complex object is refined by a deep prior (docs/deep-priors.md)
FEW = (2.0, 40.0)  # between so many photons per pixel of the detector, in 2D and without a stop;
APART = 0.02  # with more of them, and in 3D, where two families differ by more than this, which noise alone does not do;
MANY = 200.0  # from so many on, in 2D, half the deviance after it tells right from wrong (64 x 64: benchmarks/certificate.py);
REFINED = {2: 5_000, 3: 32_768}  # on arrays of so many pixels at most, where that costs less than a minute

METHODS = ("auto", "classical", "refine", "double-dip", "siren", "drp")
_SKIP = "Skip(depth=2, width=16, inputs=8, padding='replicate')"
_REFINE = (
    f"Until(HeldOut(share=0.05, patience=100), 350*Fit(DoubleDIP({_SKIP}), descent=Adam(beta2=0.99), regularizer=TV(0.5), "
    "loss=Poisson(0.1), grow=2, imitate=100, rate=0.2, warm=20, decay=0.05))"
)
_SIREN = "Implicit(Siren(width=64, layers=2), rate=0.003)"
_UNTIL = "Until(EMV(alpha=0.1, patience=200, tolerance=0.0, burn_in=100), {})"
_SCRATCH = {  # what each start begins with; {depth}: as many scales as its box has room for
    "double-dip": "250*Fit(DoubleDIP(Skip(depth={depth}, width=32, inputs=16), rate=0.04), loss=Amplitude(), decay=0.1)",
    "siren": _UNTIL.format(f"800*Fit(Polar({_SIREN}, {_SIREN}), loss=Amplitude(), decay=0.1)"),
    "drp": _UNTIL.format(f"1500*Fit(Polar(Projector({_SKIP}, rate=0.05), Projector({_SKIP}, rate=0.05)), loss=Amplitude(), decay=0.1)"),
}


def known(name: str) -> None:
    """Raise InputError where no method has this name."""
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}; expected one of {', '.join(METHODS)}")


def method(name: str, problem: Problem, starts: int | None = None) -> Plan:
    """The plan of a method that has a name.

    auto: `plan`. classical: `plan` without a refinement. refine: `plan`, and then always a double deep prior that starts from the
        results (docs/deep-priors.md).
    double-dip, siren, drp: each start is a prior fitted from random numbers in a box of half the array, with nothing known of the
        support, and then polished by projections in a support that is cut from it. The learning rate of a double-dip falls to its end;
        the others are stopped by EMV.
    Raises InputError for another name.
    """
    known(name)
    if name == "auto":
        return plan(problem, starts)
    if name == "classical":
        return replace(plan(problem, starts), refine=None, apart=0.0, explained=0.0)
    if problem.real:
        raise InputError(f"method {name!r} draws a complex object; leave positivity out, or take the method auto")
    if name == "refine":
        return replace(plan(problem, starts), refine=parse(_REFINE), apart=0.0)
    box = min(problem.pattern.shape) // 2
    fit = _SCRATCH[name].format(depth=max(1, min(4, (box - 1).bit_length() - 1)))
    return Plan(first=parse(fit) + POLISH, starts=starts or 4, families=_families(starts or 4))


POLISH = parse(
    "ShrinkWrap(threshold=0.12, sigma=2.0) + 10*(20*HIO + ShrinkWrap(threshold=0.18, sigma=Ramp(2.0, 0.7))) + "
    "10*(20*RAAR + ShrinkWrap(threshold=0.2, sigma=0.7)) + 50*ER"
)
