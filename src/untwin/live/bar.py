"""How far a run is, in a notebook: one line that is drawn again in place. Elsewhere nothing is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from html import escape
from typing import Any

INTERVAL = 0.2  # seconds between two drawings, at least; a new stage and the end are drawn at once
SURE = 0.02  # of the run, from which on it is foretold how long the rest takes


class Bar:
    """Stage, share, figure of merit and time of a run. status: what a Record knows."""

    def __init__(self) -> None:
        self._began, self._due, self._drawn = time.monotonic(), 0.0, ""
        self._handle: Any = None

    def show(self, status: Mapping[str, Any]) -> None:
        clock = time.monotonic()
        stage = str(status["stage"])
        if clock < self._due and stage == self._drawn:
            return
        self._due, self._drawn = clock + INTERVAL, stage
        share, seconds = share_of(status), clock - self._began
        facts = [_stage(status), "" if share is None else f"{100 * share:.0f} %", _merit(status), duration(seconds)]
        if share is not None and SURE <= share < 1:
            facts.append(f"about {duration(seconds * (1 - share) / share)} left")
        self._draw(", ".join(filter(None, facts)), share)

    def end(self, status: Mapping[str, Any], state: str, message: str = "") -> None:
        """The line that stays. state: ended, interrupted or failed."""
        seconds = duration(time.monotonic() - self._began)
        number = status["steps"] + status["under_way"]
        steps = f"{number:,} {status['unit'].removesuffix('s') if number == 1 else status['unit']}"
        if state == "ended":
            facts = [f"{steps} in {seconds}", _merit(status)]
        else:
            facts = [f"{state} after {seconds}", _stage(status), message]
        self._draw(f"{status['command']}: {', '.join(filter(None, facts))}", None, over=True)

    def _draw(self, text: str, share: float | None, over: bool = False) -> None:
        with suppress(Exception):  # what is shown must not end a run
            data = {"text/plain": text, "text/html": line(text, share, over)}
            if self._handle is None:
                from IPython.display import DisplayHandle  # pyright: ignore[reportMissingImports]

                self._handle = DisplayHandle()
                self._handle.display(data, raw=True)
            else:
                self._handle.update(data, raw=True)


def bar() -> Bar | None:
    """A line where there is a kernel to show it, which is one of IPython that has been imported already; else None."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return None if getattr(shell, "kernel", None) is None else Bar()


def share_of(status: Mapping[str, Any]) -> float | None:
    """Of the iterations that are foreseen; None where nobody knows how many."""
    steps, foreseen = status["steps"] + status["under_way"], status["foreseen"]
    return steps / max(foreseen, steps) if foreseen else None


def line(text: str, share: float | None, over: bool = False) -> str:
    """As HTML for a page that is light or dark. share: 0 to 1, None where it is not known; over: there is no bar any more."""
    value = "" if share is None else f' value="{share:.3f}"'
    drawn = "" if over else f'<progress max="1"{value} style="width:16em;vertical-align:middle;margin-right:.7em"></progress>'
    return f'<div style="font-variant-numeric:tabular-nums">{drawn}{escape(text)}</div>'


def duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours} h {m:02} min" if hours else f"{m} min {s:02} s" if m else f"{s} s"


def _stage(status: Mapping[str, Any]) -> str:
    stages = status["stages"]
    number = f" ({status['stage_number'] + 1} of {len(stages)})" if status["stage_number"] < len(stages) else ""
    return f"{status['stage']}{number}" if status["stage"] else str(status["command"])


def _merit(status: Mapping[str, Any]) -> str:
    return "" if status["lowest"] is None else f"{status['figure']} {status['lowest']:.3g}"
