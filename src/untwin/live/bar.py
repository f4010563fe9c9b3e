"""How far a run is, in a notebook: one line that is drawn again in place. Elsewhere nothing is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from html import escape
from typing import Any

from untwin.live.remaining import Standing

INTERVAL = 0.2  # seconds between two drawings, at least; a new stage and the end are drawn at once


class Bar:
    """Stage, share of the time, figure of merit and time left of a run. status: what its Record knows."""

    def __init__(self) -> None:
        self._due, self._number, self._share = 0.0, 0, 0.0
        self._handle: Any = None

    def show(self, now: Standing, status: Mapping[str, Any]) -> None:
        clock = time.monotonic()
        if clock < self._due and now.number == self._number:
            return
        self._due, self._number = clock + INTERVAL, now.number
        known = now.share is not None
        self._share = max(self._share, now.share or 0.0)
        share = f"{100 * self._share:.0f} %" if known else ""
        facts = [now.named(status["command"]), share, _merit(now, status), duration(now.seconds)]
        if now.reliable_left is not None:
            facts.append(f"about {duration(now.reliable_left)} left")
        self._draw(", ".join(filter(None, facts)), self._share if known else None)

    def end(self, now: Standing, status: Mapping[str, Any], state: str, message: str = "") -> None:
        """The line that stays. state: ended, interrupted or failed."""
        unit = status["unit"].removesuffix("s") if now.steps == 1 else status["unit"]
        now = replace(now, lowest=status["numbers"].get("r_factor", now.lowest))  # of the result, which is later than the lowest on the way
        facts = [f"{now.steps:,} {unit} in {duration(now.seconds)}", _merit(now, status)]
        if state != "ended":
            facts = [f"{state} after {duration(now.seconds)}", now.named(status["command"]), message]
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


def line(text: str, share: float | None, over: bool = False) -> str:
    """As HTML for a page that is light or dark. share: 0 to 1, None where it is not known; over: there is no bar any more."""
    value = "" if share is None else f' value="{share:.3f}"'
    drawn = "" if over else f'<progress max="1"{value} style="width:16em;vertical-align:middle;margin-right:.7em"></progress>'
    return f'<div style="font-variant-numeric:tabular-nums">{drawn}{escape(text)}</div>'


def duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours} h {m:02} min" if hours else f"{m} min {s:02} s" if m else f"{s} s"


def _merit(now: Standing, status: Mapping[str, Any]) -> str:
    return "" if now.lowest is None else f"{status['figure']} {now.lowest:.3g}"
