"""How far a command is: one line that redraws itself on a terminal, a line every ten seconds elsewhere.

What is not known yet (the steps foreseen, the lowest R, the rate) is left out. The texts are put together here and reach rich ready-made,
so no column of rich has to format what may be missing.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from untwin.cli.notes import note

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from untwin.runs.stages.plan import Report

INTERVAL = 10.0  # seconds between two lines where there is no terminal
BAR = (8, 40)  # columns of the bar, at least and at most
MARGIN = 3  # columns that stay free: a terminal shows Ctrl-C as ^C, and a line that this makes wrap could not be erased


class Count(ABC):
    """How much is done, and of how much: total is None until it is known."""

    number: int
    total: int | None

    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """What stands before the bar, in words of falling length."""

    @abstractmethod
    def facts(self) -> list[tuple[str, ...]]:
        """What stands behind the bar, the most telling first; each in words of falling length."""

    @abstractmethod
    def line(self) -> str:
        """All of it in a log."""


def _of(number: int, total: int | None) -> str:
    return f"{number:,}" if total is None else f"{number:,}/{total:,}"


def _clock(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{s:02}"


@dataclass
class IterationCount(Count):
    """Iterations and the lowest figure of merit among them."""

    doing: str
    figure: str
    number: int = 0
    total: int | None = None
    lowest: float | None = None
    began: float = field(default_factory=time.monotonic)

    def add(self, steps: int, value: float | None, total: int) -> None:
        self.number += steps
        self.total = max(total, self.number) or None
        if value is not None and (self.lowest is None or value < self.lowest):
            self.lowest = value

    def labels(self) -> tuple[str, ...]:
        if self.lowest is None:
            return (self.doing,)
        merit = f"{self.figure} = {self.lowest:.3g}"
        return (f"{self.doing}  {merit}", merit, self.doing)

    def facts(self) -> list[tuple[str, ...]]:
        count = _of(self.number, self.total)
        return [(f"{count} iterations", count), (_clock(time.monotonic() - self.began),)]

    def line(self) -> str:
        of = "" if self.total is None else f" of about {self.total:,}"
        merit = "" if self.lowest is None else f", {self.figure} = {self.lowest:.3g}"
        return f"{time.monotonic() - self.began:.0f} s: {self.number:,}{of} iterations{merit}"


@dataclass
class SampleCount(Count):
    """Samples of a data set, some of which may have been there before."""

    first: int | None = None
    number: int = 0
    total: int | None = None
    began: float = field(default_factory=time.monotonic)

    def reach(self, number: int, total: int) -> None:
        if self.first is None:
            self.first, self.began = number, time.monotonic()
        self.number, self.total = number, total

    def rate(self) -> float | None:
        """Samples per second; None before there are any."""
        new_samples = self.number - (self.first or 0)
        return new_samples / max(time.monotonic() - self.began, 1e-9) if new_samples else None

    def seconds_left(self) -> float | None:
        """None before there is a rate."""
        rate = self.rate()
        return None if rate is None or self.total is None else (self.total - self.number) / rate

    def labels(self) -> tuple[str, ...]:
        return ("samples",)

    def facts(self) -> list[tuple[str, ...]]:
        rate, seconds_left = self.rate(), self.seconds_left()
        facts: list[tuple[str, ...]] = [(_of(self.number, self.total),)]
        if rate is not None:
            facts.append((f"{rate:,.0f}/s",))
        if seconds_left is not None:
            facts.append((f"{_clock(seconds_left)} left",))
        return facts

    def line(self) -> str:
        rate, seconds_left = self.rate(), self.seconds_left()
        of = "" if self.total is None else f" of {self.total:,}"
        speed = "" if rate is None else f", {rate:,.0f} per second"
        remaining = "" if seconds_left is None else f", {seconds_left:,.0f} s left"
        return f"{time.monotonic() - self.began:.0f} s: {self.number:,}{of} samples{speed}{remaining}"


@dataclass
class PatternCount(Count):
    """Patterns of a batch, and what became of them."""

    total: int | None = None
    number: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def add(self, mark: str) -> None:
        self.number += 1
        self.marks[mark] = self.marks.get(mark, 0) + 1

    def _marks(self) -> str:
        return ", ".join(f"{count} {mark}" for mark, count in sorted(self.marks.items(), key=lambda pair: -pair[1]))

    def labels(self) -> tuple[str, ...]:
        return (f"patterns  {self._marks()}", self._marks(), "patterns") if self.marks else ("patterns",)

    def facts(self) -> list[tuple[str, ...]]:
        return [(_of(self.number, self.total),), (_clock(time.monotonic() - self.began),)]

    def line(self) -> str:
        return f"{time.monotonic() - self.began:.0f} s: {self.number:,} of {self.total:,} patterns, {self._marks()}"


def laid_out(count: Count, width: int) -> tuple[str, int, str]:
    """The text before the bar, the columns of the bar (0: none) and the text behind it, in `width` columns less the margin.

    Where there is no room for all, first the words get shorter, then the last facts go, then the bar. A number is never cut.
    """
    labels, facts = count.labels(), count.facts()
    texts = ["  ".join(fact[0] for fact in facts)]
    texts += ["  ".join(fact[-1] for fact in facts[:n]) for n in range(len(facts), 0, -1)]
    pairs = [(label, text) for text in texts for label in labels]
    for label, text in pairs:
        room = width - MARGIN - len(f"{label}  {text}")
        if room >= BAR[0]:
            return label, min(room, BAR[1]), text
    for label, text in [*pairs, *(("", text) for text in texts), *((label, "") for label in labels)]:
        if len(f"{label} {text}") <= width - MARGIN:
            return label, 0, text
    return "", 0, ""


@dataclass(frozen=True)
class ProgressLine:
    """A count as rich draws it: one line of the width that the window has at this moment."""

    count: Count

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        label, bar, text = laid_out(self.count, options.max_width)
        cells = [
            *([Text(label, no_wrap=True)] if label else []),
            *([ProgressBar(self.count.total, self.count.number, width=bar)] if bar else []),
            *([Text(text, no_wrap=True)] if text else []),
        ]
        grid = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
        grid.add_row(*cells)
        yield grid


def _terminal() -> Console | None:
    """The terminal of stderr, if it is one that can redraw a line (a dumb one cannot)."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_interactive else None


@contextmanager
def displayed(count: Count) -> Iterator[Callable[[], None]]:
    """Shows a count while the block runs; the block calls what it gets after each change."""
    console = _terminal()
    if console is not None:
        from rich.live import Live

        with Live(ProgressLine(count), console=console, transient=True, refresh_per_second=10):
            yield lambda: None
        return
    last = time.monotonic()

    def changed() -> None:
        nonlocal last
        if time.monotonic() - last > INTERVAL:
            last = time.monotonic()
            print(count.line(), file=sys.stderr, flush=True)

    yield changed


@contextmanager
def iterations(doing: str = "phasing", figure: str = "R") -> Iterator[Report]:
    """Progress of a run in iterations: the block calls what it gets with the steps since the last call, the value, the steps foreseen."""
    count = IterationCount(doing, figure)
    with displayed(count) as changed:

        def report(steps: int, value: float | None, total: int) -> None:
            count.add(steps, value, total)
            changed()

        yield report


@contextmanager
def patterns(total: int) -> Iterator[Callable[[str], None]]:
    """Progress of a batch: the block calls what it gets with what became of each pattern."""
    count = PatternCount(total)
    with displayed(count) as changed:

        def report(mark: str) -> None:
            count.add(mark)
            changed()

        yield report


@contextmanager
def samples() -> Iterator[Callable[[int, int], None]]:
    """Progress of a data set: the block calls what it gets with the samples that are there, and all."""
    count = SampleCount()
    with displayed(count) as changed:

        def report(stored: int, total: int) -> None:
            began = count.first is not None
            count.reach(stored, total)
            if began:
                changed()
            elif stored:
                note(f"{stored:,} of {total:,} samples are there already")

        yield report
