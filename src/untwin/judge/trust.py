"""Whether to believe a reconstruction, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from untwin.notebook import InNotebooks

# Two independent families that end at the same object are the certificate. How often it is right: docs/benchmarks.md.
SAME_ERROR = 0.1  # E, after alignment, below which two results are the same object (docs/benchmarks.md, The verdict)
MAX_R_FACTOR = 0.5  # R-factor above which agreement means nothing (unmeasured)
SIMILAR_ERROR = 0.25  # E below which they share the outline and most of the phase, but not the details (docs/benchmarks.md, The verdict)
MAX_DEVIANCE_RATIO = 1.3  # half deviance over the expected one, up to which what a prior has redrawn is right (benchmarks/certificate.py)
MAX_MISFIT = 3.0  # half deviance over the expected one, above which a model does not explain counts (benchmarks/detector.py)
MAX_EXPOSURES_MISFIT = 1.2  # half deviance of exposures over what noise leaves beside the unknowns (tests/test_waves.py; 5 sigma at least)
MAX_SHELL_MISFIT = 5.0  # the same of a shell of spatial frequency (benchmarks/detector.py)
MAX_HIDDEN_SPECKLES = 2.5  # of which nothing was measured, from which on slow variations are anybody's guess (model/unmeasured.py)
LEAST_CONTRAST = 0.02  # of a penalised object: below it there are no details that families could differ in (benchmarks/apertures.py)
MIN_PHOTONS = 100.0  # for each pixel of a penalised object; below it, families agree on the penalty's choice (docs/benchmarks.md, Pictures)

MARKS = {True: "TRUST", False: "DO NOT TRUST", None: "CANNOT SAY"}  # a verdict in two words
ERASED = "the object has a phase: positivity erases it; leave it out"
TWIN = "behind these masks the twin of the wave has the same pattern, and this may be either"
NO_COUNTS = "the numbers are no counts of photons, so that misfits tell little"


class Cause(StrEnum):
    """What a verdict of a reconstruction comes from, where it is not TRUST."""

    AGREEMENT = ""  # families agree, or do not
    SINGLE = "single"  # nothing independent to compare with
    UNEXPLAINED = "unexplained"  # the object leaves most of the data unexplained
    SPECKLES = "speckles"  # of some nothing was measured
    NOISE = "noise"  # too few photons
    ROUNDING = "rounding"  # numbers of too few levels
    MODEL = "model"  # the data contradict it
    TWIN = "twin"  # another object has the same data
    FAILED = "failed"  # most of the starts did


@dataclass(frozen=True)
class Verdict(InNotebooks):
    """trusted: True, False, or None where nothing can be said (a single start, say). text: one sentence for a person.

    decision, reasons: for two short lines, what decides and the rest; empty where the text is short itself.
    """

    trusted: bool | None
    text: str
    decision: str = ""
    reasons: str = ""
    cause: Cause = Cause.AGREEMENT

    def __repr__(self) -> str:
        return f"Verdict({self.mark}, {self.text!r})"

    def but(self, text: str, doubt: str, cause: Cause | None = None) -> Verdict:
        """Nothing can be said any more, because of a doubt; text: the new sentence. cause: of the doubt; by default that of before."""
        return Verdict(None, text, doubt, self.text, self.cause if cause is None else cause)

    @property
    def mark(self) -> str:
        """TRUST, DO NOT TRUST or CANNOT SAY."""
        return MARKS[self.trusted]


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    errors: E between the solution and the result of each other family of starts, none of which ever saw it; the nearest one decides.
    starts, agreeing, twins: single starts, those that ended within 0.1 of the solution, and how many of these were twins.
    resolution: its text, or nothing. hidden: speckles of which nothing was measured (unconstrained_modes): each can be added to the object
        and the data hardly notice. refined: whether a refinement was kept, None
        without one. deviance_ratio: half the deviance of the refined solution over what is expected of the truth, where there are photons
        enough for that to tell right from wrong (Refine.max_deviance_ratio).
    contrast: deviation over root mean square of a picture in its box, by which errors are divided: its mean is known from the counts,
        and results that share little else share that. 1 for other objects. photons: for each pixel of its support; infinite for others,
        0 where nobody knows.
    counts: the numbers are counts of photons, so that misfits tell something.
    noise_error: E that counting noise alone leaves, where somebody has measured it; else NaN. rounding_error: E that rounding leaves, where
        the numbers are no counts. twin_error: E to the twin behind masks, where that explains the data as well.
    findings: what was found about the detector and what was done about it, as clauses. contradictions: what of the data the physics does
        not explain, as clauses: with one of them nothing is trusted.
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
    contrast: float = 1.0
    photons: float = math.inf
    counts: bool = True
    noise_error: float = math.nan
    rounding_error: float = 0.0
    twin_error: float = 0.0
    findings: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


def verdict(e: Evidence) -> Verdict:
    """The verdict on a solution."""
    facts = _facts(e)
    if not e.errors:
        return _decided(None, facts, "nothing independent to compare with", ": take more starts before you trust this", Cause.SINGLE)
    errors = [error / max(e.contrast, LEAST_CONTRAST) for error in e.errors]
    nearest = min(errors)
    if e.r_factor > MAX_R_FACTOR:
        return _decided(False, facts, "the object does not explain the data", ": do not trust this", Cause.UNEXPLAINED)
    unit = " of its contrast" if LEAST_CONTRAST <= e.contrast < 1 else f" in units of {LEAST_CONTRAST:g}" if e.contrast < 1 else ""
    if nearest < SAME_ERROR:
        families = 1 + sum(error < SAME_ERROR for error in errors)
        agreement = f"{families} of {1 + len(e.errors)} independent families of starts end here (error {nearest:.3f}{unit})"
    else:
        facts.append(f"the nearest result of an independent family differs by {nearest:.2f}{unit}")
        if e.deviance_ratio is not None and e.deviance_ratio <= MAX_DEVIANCE_RATIO:
            half = f"half deviance {e.deviance_ratio:.2f} times the expected"
            agreement = f"but redrawn by a prior it explains the counts as the truth would ({half})"
        else:
            return _disagreement(e, facts, nearest)
    doubt, cause = _doubt(e)
    if doubt:
        return _decided(None, [*facts, agreement], f"but {doubt}", cause=cause)
    noise = [] if math.isnan(e.noise_error) else [f"{_noise(e)} leaves an error of about {e.noise_error:.2g}"]
    return _decided(True, facts, agreement, after=[*noise, *([e.resolution] if e.resolution else [])])


def _disagreement(e: Evidence, facts: list[str], nearest: float) -> Verdict:
    """The families differ, and nothing else tells which one is right."""
    cause, what = Cause.AGREEMENT, "similar but not the same: trust the outline, not the details"
    if e.hidden > MAX_HIDDEN_SPECKLES:
        facts = [*facts, f"of {e.hidden:.0f} speckles nothing was measured, which are the slow variations"]
        cause, what = Cause.SPECKLES, "similar but not the same"
    if nearest >= SIMILAR_ERROR:
        return _decided(False, facts, "the starts do not agree", ": do not trust this", cause)
    return _decided(None, facts, what, cause=cause)


def _decided(
    trusted: bool | None, facts: list[str], decision: str, then: str = "", cause: Cause = Cause.AGREEMENT, after: Sequence[str] = ()
) -> Verdict:
    """then: what the text says behind the decision; after: facts that follow it."""
    text = ", ".join([*facts, decision + then, *after])
    return Verdict(trusted, text, decision.removeprefix("but "), ", ".join([*facts, *after]), cause)


def _doubt(e: Evidence) -> tuple[str, Cause]:
    """What forbids to trust families that agree, or nothing."""
    if e.hidden > MAX_HIDDEN_SPECKLES:
        return f"of {e.hidden:.0f} speckles nothing was measured: trust the outline and fine details, not slow variations", Cause.SPECKLES
    if e.photons < MIN_PHOTONS:
        number = f"{e.photons:.0f} photons" if e.counts else "nobody knows how many photons"
        return f"with {number} for each of its pixels the penalty decides about details: trust what is coarse", Cause.NOISE
    if e.contradictions:
        return f"the data contradict the model: {'; '.join(e.contradictions)}", Cause.MODEL
    if e.noise_error >= SAME_ERROR:
        noise = f"{_noise(e)} alone leaves an error of about {e.noise_error:.2f}"
        return f"{noise}: trust what is coarse, or count more photons", Cause.NOISE
    if e.rounding_error >= SAME_ERROR:
        lost = f"faint numbers were rounded to 0, which leaves an error of about {e.rounding_error:.2f}"
        return f"{lost}: trust what is coarse, or take the numbers as the detector wrote them", Cause.ROUNDING
    if e.twin_error >= SAME_ERROR:
        return TWIN, Cause.TWIN
    return "", Cause.AGREEMENT


def _noise(e: Evidence) -> str:
    return "counting noise" if e.counts else "noise"


def _facts(e: Evidence) -> list[str]:
    """What is said first, whatever the verdict."""
    facts = [f"R = {e.r_factor:.3f}", *([] if e.counts else [NO_COUNTS]), *e.findings]
    if e.starts > 1:
        twins = f", {e.twins} {'twin' if e.twins == 1 else 'twins'} turned" if e.twins else ""
        facts.append(f"{e.agreeing} of {e.starts} single starts agree (error < {SAME_ERROR:g} after alignment{twins})")
    if e.refined is not None:
        facts.append("refined by a deep prior" if e.refined else "a refinement by a deep prior did not hold and was given up")
    return facts
