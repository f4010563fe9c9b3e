"""How far a command is: one line that redraws itself on a terminal, a line every ten seconds elsewhere.

What is not known yet (the steps foreseen, the lowest R, the rate) is left out. The texts are put together here and reach rich ready-made,
so no column of rich has to format what may be missing.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from untwin.cli.notes import note
from untwin.live.record import Record
from untwin.live.remaining import Standing
from untwin.live.watched import Watched

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

INTERVAL = 10.0  # seconds between two lines where there is no terminal
WHOLE = 1000  # parts of a bar that follows the time
BAR = (8, 40)  # columns of the bar, at least and at most
MARGIN = 3  # columns that stay free: a terminal shows Ctrl-C as ^C, and a line that this makes wrap could not be erased


class Count(ABC):
    """How much is done, and of how much: total is None until it is known."""

    number: int
    total: int | None

    def look(self) -> None:  # noqa: B027 (most have nothing to look at)
        """Called before it is shown."""

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
class RunCount(Count):
    """A run as its record has it: what it does, how much of the time has gone, the lowest figure of merit."""

    doing: str
    figure: str
    record: Record
    unit: str = "iterations"
    number: int = 0
    total: int | None = WHOLE
    standing: Standing = Standing("", 0, 0, 0, None, None, 0.0, None)
    _looked: float = -math.inf
    _elsewhere: int = 0

    def look(self) -> None:
        """Take the state of the run; that of its workers, which stands in files, every second."""
        clock = time.monotonic()
        if self.record.results is not None and clock - self._looked > 1.0:
            self._looked, self._elsewhere = clock, Watched(self.record.results).workers_steps()
        self.standing = now = self.record.standing(self._elsewhere)
        self.number = max(self.number, round((now.share or 0.0) * WHOLE))

    def labels(self) -> tuple[str, ...]:
        now = self.standing
        stage, long = now.stage or self.doing, now.named(self.doing)
        if now.lowest is None:
            return (long, stage)
        merit = f"{self.figure} = {now.lowest:.3g}"
        return (f"{long}  {merit}", f"{stage}  {merit}", stage, merit)

    def facts(self) -> list[tuple[str, ...]]:
        now = self.standing
        count = _of(now.steps, now.foreseen)
        remaining = [] if now.reliable_left is None else [(f"{_clock(now.reliable_left)} left",)]
        return [*remaining, (_clock(now.seconds),), (f"{count} {self.unit}", count)]

    def line(self) -> str:
        now = self.standing
        of = "" if now.foreseen is None else f" of about {now.foreseen:,}"
        stage = f"{now.stage}, " if now.stage else ""
        merit = "" if now.lowest is None else f", {self.figure} = {now.lowest:.3g}"
        remaining = "" if now.reliable_left is None else f", about {now.reliable_left:,.0f} s left"
        return f"{now.seconds:.0f} s: {stage}{now.steps:,}{of} {self.unit}{merit}{remaining}"


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

        self.count.look()
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
    """Shows a count while the block runs: ten times a second, or in a line every ten seconds. What it gives shows it at once."""
    console = _terminal()
    if console is not None:
        from rich.live import Live

        # what the block prints to another place than this terminal stays there
        with Live(ProgressLine(count), console=console, transient=True, refresh_per_second=10, redirect_stdout=sys.stdout.isatty()) as live:
            yield live.refresh
        return
    over = threading.Event()

    def show() -> None:
        count.look()
        print(count.line(), file=sys.stderr, flush=True)

    def speak() -> None:
        while not over.wait(INTERVAL):
            show()

    speaker = threading.Thread(target=speak, name="untwin progress", daemon=True)
    speaker.start()
    try:
        yield show
    finally:
        over.set()
        speaker.join()


@contextmanager
def run(record: Record, doing: str = "phasing", figure: str = "R", unit: str = "iterations") -> Iterator[Callable[[], None]]:
    """Progress of a run, as its record has it."""
    with displayed(RunCount(doing, figure, record, unit)) as show:
        yield show


@contextmanager
def patterns(total: int) -> Iterator[Callable[[str], None]]:
    """Progress of a batch: the block calls what it gets with what became of each pattern."""
    count = PatternCount(total)
    with displayed(count):
        yield count.add


@contextmanager
def samples() -> Iterator[Callable[[int, int], None]]:
    """Progress of a data set: the block calls what it gets with the samples that are there, and all."""
    count = SampleCount()

    def report(stored: int, total: int) -> None:
        began = count.first is not None
        count.reach(stored, total)
        if stored and not began:
            note(f"{stored:,} of {total:,} samples are there already")

    with displayed(count):
        yield report
