"""Whether to believe a reconstruction, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Two independent families that end at the same object are the certificate. How often it is right: docs/benchmarks.md, benchmarks/verdict.py.
AGREE = 0.1  # E, after alignment, below which two results are the same object


@dataclass(frozen=True)
class Verdict:
    """trusted: True, False, or None where nothing can be said (a single start, say). text: one sentence for a person."""

    trusted: bool | None
    text: str


def verdict(
    r_factor: float,
    agreement: float,
    noise: float,
    agreeing: int,
    starts: int,
    turned: int,
    resolution: str,
    warnings: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on a solution.

    agreement: E between the results of two families of starts that never saw one another; NaN where there was only one.
    noise: E that counting noise alone makes between two such results, 0 where unknown; the limit is max(0.1, noise).
    agreeing, starts, turned: independent starts that ended within 0.1 of the solution, their number, and how many of those were twins.
    """
    facts = [f"R = {r_factor:.3f}"]
    if starts > 1:
        twins = f", {turned} {'twin' if turned == 1 else 'twins'} turned" if turned else ""
        facts.append(f"{agreeing} of {starts} starts agree (error < {AGREE:g} after alignment{twins})")
    if not math.isfinite(agreement):
        return Verdict(None, ", ".join([*facts, "a single family of starts: nothing to compare with, so nothing can be said"]))
    limit = max(AGREE, noise)
    facts.append(f"independent results differ by {agreement:.3f}")
    if agreement < limit:
        return Verdict(True, ", ".join([*facts, *([resolution] if resolution else [])]))
    return Verdict(False, ", ".join([*facts, "the starts do not agree: do not trust this"]))
