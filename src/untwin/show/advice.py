"""What to do next after a reconstruction, as a sentence and a command, from what its verdict rests on.

Where starts do not agree, the misfit of a shell says nothing of mask and centre: it is large wherever the object was not found.
benchmarks/next_step.py counts how often each advice helps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.typed import typed, typed_options
from untwin.judge.trust import ERASED, Cause

if TYPE_CHECKING:
    from untwin.runs.solution import Reconstruction

UNEXPLAINED = 1.2  # chi-square of amplitudes above which something is not explained (benchmarks/hints.py)
ENOUGH_PHOTONS = 100.0  # for each pixel of the object; with fewer, more of them help most (benchmarks/next_step.py)
EFFORT = 4.0  # times the work where starts do not agree (benchmarks/next_step.py)
MOST_EFFORT = 64.0  # after which more of the same is no advice
MORE_PHOTONS = "count more photons, for example the sum of several exposures"
STARTS = 24  # as the automatic plan takes at 64 x 64
MODEL = ("positivity", "sparse", "constraint", "loss", "modulus", "physics", "support")  # options that say what is believed
WORK = ("output", "scheduler", "workers", "device", "recipe", "start", "starts", "method", "effort", "seed")


@dataclass(frozen=True)
class Advice:
    """text: a sentence. command: what to type, or nothing where no command helps."""

    text: str
    command: str = ""


def advice(solution: Reconstruction, folder: Path, options: Mapping[str, Any] | None = None, strained: bool = False) -> Advice:
    """What to do next. folder: of the results. options: of the run as a Run has them; by default what the solution says itself, as it does
    of the plan. strained: its strain has been computed."""
    if options is None:
        options = {"file": solution.pattern.source.path or "FILE", "positivity": solution.positivity}
    file = str(options["file"])
    again = _Again(folder, file, options)
    if solution.verdict.trusted:
        return _taken_away(solution, folder, strained)
    look = f"untwin inspect {typed(file)}{typed_options(again.reading)} --picture {typed(str(folder / 'pattern.png'))}"
    match solution.verdict.cause:
        case Cause.SINGLE:
            return Advice("take several starts: only independent starts that agree are evidence", again.command(starts=STARTS))
        case Cause.FAILED:
            return Advice("most starts failed: look at what the numbers are, at the mask and at the centre", look)
        case Cause.UNEXPLAINED:
            return Advice("the data are not explained: look at the mask, at the centre, and at what the numbers are", look)
        case Cause.MODEL if options.get("positivity") and ERASED in solution.verdict.text:
            return Advice("the object has a phase: leave out that it is real and nowhere negative", again.command(positivity=False))
        case Cause.MODEL:
            return Advice("mask what is not light of the object, or look at the centre; the report shows where the misfit is", look)
        case Cause.SPECKLES:
            how = "give a known support (a file, nonzero inside the object), or measure again with a smaller stop"
            return Advice(how, again.command(support="SUPPORT.npy"))
        case Cause.ROUNDING:
            return Advice("take the numbers as the detector wrote them, and not a picture of them; what is coarse can be used")
        case Cause.TWIN:
            return Advice("measure behind another mask, which is not its own mirror image, or give a support that is not")
        case Cause.NOISE:
            return Advice(f"{MORE_PHOTONS}; what is coarse can be used")
    if solution.method not in ("auto", "refine"):  # which is the automatic plan and a refinement
        return Advice("let the automatic plan choose what to do", again.command())
    n = solution.numbers
    if n.get("chi_square_amplitude", 0) > UNEXPLAINED:
        return Advice("something in the data is not explained (chi-square): look at the mask and at the centre", look)
    if _may_be_real(solution):
        how = "the pattern is its own mirror image: if the object is real and nowhere negative, say so"
        return Advice(how, again.command(positivity=True))
    if n.get("photons", math.nan) < ENOUGH_PHOTONS * n.get("support_pixels", math.nan):
        return Advice(MORE_PHOTONS)
    effort = EFFORT * solution.effort
    if effort <= MOST_EFFORT:
        return Advice("the starts have not come together: more of them may help", again.command(effort=effort))
    return Advice("more work did not help: a support, more photons or a smaller beamstop can", look)


@dataclass(frozen=True)
class _Again:
    """The same reconstruction with something changed."""

    folder: Path
    file: str
    options: Mapping[str, Any]

    @property
    def reading(self) -> dict[str, Any]:
        """Options that say how the file is to be read."""
        return {k: v for k, v in self.options.items() if k not in (*WORK, *MODEL, "file")}

    def command(self, **changes: Any) -> str:
        same = {k: v for k, v in self.options.items() if k not in (*WORK, "file")}
        folder = self.folder.with_name(f"{self.folder.name}_2")
        return f"untwin reconstruct {typed(self.file)}{typed_options(same | changes)} -o {typed(str(folder))}"


def _taken_away(solution: Reconstruction, folder: Path, strained: bool) -> Advice:
    if strained:
        return Advice("compare with a run of another seed, or open the maps of the strain in ParaView")
    if solution.pattern.geometry.sampling is not None:
        return Advice("the strain of the crystal", f"untwin strain {typed(str(folder))}")
    if solution.image.ndim == 3:
        return Advice("the object for ParaView", f"untwin export {typed(str(folder))} --to vti")
    return Advice("the object for other programs", f"untwin export {typed(str(folder))} --to tiff")


def _may_be_real(solution: Reconstruction) -> bool:
    from untwin.data.realness import realness

    pattern = solution.pattern
    return not solution.positivity and pattern.optics is None and bool(realness(pattern).real)
