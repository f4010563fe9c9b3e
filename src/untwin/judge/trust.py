"""Whether to believe a reconstruction, in words."""

from __future__ import annotations

from dataclasses import dataclass

# Two independent families that end at the same object are the certificate. How often it is right: docs/benchmarks.md.
SAME_ERROR = 0.1  # E, after alignment, below which two results are the same object (docs/benchmarks.md, The verdict)
MAX_R_FACTOR = 0.5  # R-factor above which agreement means nothing (unmeasured)
SIMILAR_ERROR = 0.25  # E below which they share the outline and most of the phase, but not the details (docs/benchmarks.md, The verdict)
MAX_DEVIANCE_RATIO = 1.3  # half deviance over the expected one, up to which what a prior has redrawn is right (benchmarks/certificate.py)
MAX_HIDDEN_SPECKLES = 12.0  # behind the stop, from which on slow variations across the object are anybody's guess (docs/benchmarks.md)


@dataclass(frozen=True)
class Verdict:
    """trusted: True, False, or None where nothing can be said (a single start, say). text: one sentence for a person."""

    trusted: bool | None
    text: str


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    errors: E between the solution and the result of each other family of starts, none of which ever saw it; the nearest one decides.
    starts, agreeing, twins: single starts, those that ended within 0.1 of the solution, and how many of these were twins.
    resolution: its text, or nothing. hidden: speckles behind the stop, its pixels times the share of the array that the object fills;
        every one is a slow variation across the object of which nothing was measured. refined: whether a refinement was kept, None
        without one. deviance_ratio: half the deviance of the refined solution over what is expected of the truth, where there are photons
        enough for that to tell right from wrong (Refine.max_deviance_ratio).
    """

    r_factor: float
    errors: tuple[float, ...]
    starts: int
    agreeing: int
    twins: int
    resolution: str = ""
    hidden: float = 0
    refined: bool | None = None
    deviance_ratio: float | None = None


def verdict(e: Evidence) -> Verdict:
    """The verdict on a solution."""
    facts = _facts(e)
    if not e.errors:
        return Verdict(None, ", ".join([*facts, "nothing independent to compare with: take more starts before you trust this"]))
    nearest = min(e.errors)
    families = 1 + sum(error < SAME_ERROR for error in e.errors)
    if e.r_factor > MAX_R_FACTOR:
        return Verdict(False, ", ".join([*facts, "the object does not explain the data: do not trust this"]))
    if nearest < SAME_ERROR:
        facts.append(f"{families} of {1 + len(e.errors)} independent families of starts end here (error {nearest:.3f})")
    else:
        facts.append(f"the nearest result of an independent family differs by {nearest:.2f}")
    if nearest >= SAME_ERROR and e.deviance_ratio is not None and e.deviance_ratio <= MAX_DEVIANCE_RATIO:
        half = f"half deviance {e.deviance_ratio:.2f} times the expected"
        facts.append(f"but redrawn by a prior it explains the counts as the truth would ({half})")
    elif nearest >= SIMILAR_ERROR:
        return Verdict(False, ", ".join([*facts, "the starts do not agree: do not trust this"]))
    elif nearest >= SAME_ERROR:
        return Verdict(None, ", ".join([*facts, "alike but not the same: trust the outline, not the details"]))
    if e.hidden > MAX_HIDDEN_SPECKLES:
        facts.append(f"but the stop hides {e.hidden:.0f} speckles: trust the outline and fine details, not slow variations between them")
        return Verdict(None, ", ".join(facts))
    return Verdict(True, ", ".join([*facts, *([e.resolution] if e.resolution else [])]))


def _facts(e: Evidence) -> list[str]:
    """What is said first, whatever the verdict."""
    facts = [f"R = {e.r_factor:.3f}"]
    if e.starts > 1:
        twins = f", {e.twins} {'twin' if e.twins == 1 else 'twins'} turned" if e.twins else ""
        facts.append(f"{e.agreeing} of {e.starts} starts agree (error < {SAME_ERROR:g} after alignment{twins})")
    if e.refined is not None:
        facts.append("refined by a deep prior" if e.refined else "a refinement by a deep prior did not hold and was given up")
    return facts
