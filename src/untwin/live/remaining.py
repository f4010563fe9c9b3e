"""How far a run is in time, from the steps of its stages: one of a deep prior takes as long as hundreds of iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE = 3.0  # seconds before anything is said of the time that is left


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    stage: in words; empty where it has none. number: of that stage, from 1, of `stages`. steps: taken so far, of those foreseen (None:
    nobody knows). lowest: figure of merit so far, or None. seconds: since it began; left: that it will take still, None where nobody can
    tell.
    """

    stage: str
    number: int
    stages: int
    steps: int
    foreseen: int | None
    lowest: float | None
    seconds: float
    left: float | None

    @property
    def share(self) -> float | None:
        """Of the whole time, from 0 to 1; where nobody can tell, of the steps; None where these are not foreseen either."""
        if self.left is not None:
            return self.seconds / max(self.seconds + self.left, 1e-9)
        return self.steps / self.foreseen if self.foreseen else None

    @property
    def reliable_left(self) -> float | None:
        """left, once there is enough to go by, and something is left."""
        return self.left if self.left and self.seconds > PATIENCE else None

    def named(self, doing: str) -> str:
        """The stage and its number; of a run without stages what it does."""
        number = f" ({self.number} of {self.stages})" if self.stages > 1 and self.number <= self.stages else ""
        return f"{self.stage}{number}" if self.stage else doing


def standing(status: dict[str, Any], under_way: float, seconds: float) -> Standing:
    """Where the run of a status stands `seconds` after its begin. under_way: steps of parts that have not ended."""
    titles, number = list(status.get("titles") or ()), int(status.get("stage_number") or 0)
    steps = int(status["steps"] + under_way)
    return Standing(
        stage=titles[number] if number < len(titles) else str(status.get("stage") or ""),
        number=number + 1,
        stages=len(titles),
        steps=steps,
        foreseen=max(status["foreseen"], steps) if status.get("foreseen") else None,
        lowest=status.get("lowest"),
        seconds=seconds,
        left=_left(status, steps, seconds),
    )


def _left(status: dict[str, Any], steps: int, seconds: float) -> float | None:
    """The stage that the run is in at its own pace, the later ones at that of all before, by what their steps cost."""
    plan: Sequence[Sequence[float]] = status.get("work") or ()
    if not plan:
        foreseen = status.get("foreseen")
        return seconds * (foreseen - steps) / steps if foreseen and foreseen > steps > 0 else None
    number = int(status.get("stage_number") or 0)
    marks: list[tuple[int, float]] = [(0, 0.0)]  # steps and seconds so far at the end of each stage
    ends: list[Any] = list(status.get("stage_ends") or [])
    marks += [(int(s), float(t)) for s, t in ends[:number]]
    before = sum((marks[i + 1][0] - marks[i][0]) * plan[i][1] for i in range(min(len(marks) - 1, len(plan))))
    since, began = marks[-1]
    foreseen, cost = plan[number] if number < len(plan) else (0, 1.0)
    current = (steps - since) * cost
    if before + current <= 0 or (current > 0 and not foreseen):  # nothing to go by, or a stage that runs others again
        return None
    pace = seconds / (before + current)
    own = (seconds - began) / current if current > 0 else pace
    remaining = max(foreseen - (steps - since), 0) * cost
    return own * remaining + pace * sum(n * c for n, c in plan[number + 1 :])
