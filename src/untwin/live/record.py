"""One run as it shows itself: a thread of its own writes its pulse every two seconds, and listens for what others ask of it.

Pictures are made in the run's own thread, where nothing else changes what they show: every two seconds at most, and so seldom that they
take no more than a hundredth of the time. Nothing here changes a number of the run, and nothing that goes wrong here ends it.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from untwin.errors import CheckpointWarning, InputError
from untwin.live import files
from untwin.live.bar import Bar, bar
from untwin.live.remaining import Standing, standing
from untwin.live.view import Line, View, encoded, thinned

INTERVAL = 2.0  # seconds between two pulses, and between two pictures at least,
SHARE = 100.0  # and so many times what the last picture took: a hundredth of the time
POLL = 0.5  # seconds between two looks whether somebody asks for something
MOST_LINES, MOST_LOG = 64, 200
LEAST_POINTS, MOST_POINTS = 25, 3000  # of a curve, of all together

Report = Callable[[int, float | None, int], None]
Look = Callable[[], View]


class Shows(Protocol):
    """What takes a look at parts of a run when it is time: a Record, or in a worker a Glimpse."""

    begun: bool
    resumable: bool

    def reached(self, part: str, look: Look) -> None: ...

    def left(self, part: str) -> None: ...

    def finished(self, part: str, lines: Sequence[Line], look: Look) -> None: ...

    def under_way(self, steps: int) -> None: ...

    def for_worker(self) -> Shows: ...


@dataclass(eq=False)
class Pace:
    """When the next picture is due."""

    due: float | None = None

    def now(self) -> bool:
        clock = time.monotonic()
        if self.due is None:
            self.due = clock + INTERVAL
        return clock >= self.due

    def took(self, seconds: float) -> None:
        self.due = time.monotonic() + max(INTERVAL, SHARE * seconds)


class Record:
    """What a run shows. As a context it begins and ends with the block; without a folder nothing is written.

    results: the folder of the results, in which `live` is made. command, title: of the run, such as reconstruct and the name of its file.
    resume: the command that goes on with it, once there is something to go on with (`resumable`). figure: what curves show. begun: set
    once anything is computed; of a run that comes to grief before that nothing is left.
    request: what somebody has asked for, stop or skip; the block is then left by a KeyboardInterrupt. bar: what shows it in a notebook.
    """

    def __init__(
        self,
        results: Path | None = None,
        command: str = "",
        title: str = "",
        resume: str = "",
        figure: str = "R-factor",
        bar: Bar | None = None,
    ) -> None:
        self.bar = bar
        self.results, self.request = None if results is None else Path(results).absolute(), ""
        self.begun, self.resumable, self._earlier = False, False, False  # earlier: a run before this one shows itself there
        self._resume, self._pace, self._files, self._lock = resume, Pace(), Pace(0.0), threading.RLock()
        self._status: dict[str, Any] = {
            "format": 1, "command": command, "title": title, "figure": figure, "unit": "iterations", "state": "running",
            "pid": os.getpid(), "process": process_start(os.getpid()), "host": platform.node(),
            "stage": "", "stage_number": 0, "stages": [], "titles": [], "work": [], "stage_ends": [],
            "steps": 0, "under_way": 0, "foreseen": None, "lowest": None,
            "verdict": None, "message": "", "numbers": {}, "families": None, "log": [],
        }  # fmt: skip
        self._lines: dict[tuple[str, str], Line] = {}
        self._ended: set[str] = set()  # parts of this stage
        self._view: View | None = None
        self._view_stage, self._new_view, self._new_lines, self._trouble = "", False, False, ""
        self._signal, self._over, self._thread = None, threading.Event(), None
        self._began, self._beat = time.monotonic(), 0

    @property
    def active(self) -> bool:
        return self.results is not None and not self._over.is_set()

    def __enter__(self) -> Record:
        if self.results is None:
            return self
        self._earlier = (self.results / files.FOLDER / files.STATUS).exists()
        files.clear(self.results)
        self._began, self._status["began"] = time.monotonic(), time.time()
        main = threading.current_thread() is threading.main_thread()
        heard = [s for s in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(s))]  # the first is none behind nohup
        self._signal = heard[0] if heard and main else None
        self.log("begun")
        self._write_status()
        self._thread = threading.Thread(target=self._attend, name="untwin live", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *rest: object) -> None:
        if kind is None:
            self._end("ended", "")
        else:
            interrupted = issubclass(kind, KeyboardInterrupt)
            self._end("interrupted" if interrupted else "failed", " ".join(str(error).split()) or ("" if interrupted else kind.__name__))
            if self.results is not None and not self.begun and not self._earlier:
                files.remove(self.results)

    # what the run says

    def set(self, **values: Any) -> None:
        """Fields of the status: title, verdict (trusted, text), numbers, foreseen, unit ..."""
        with self._lock:
            self._status.update(values)

    def plan(self, names: Sequence[str], titles: Sequence[str], work: Sequence[tuple[int, float]]) -> None:
        """The stages that are to come: their names, what they do in words, the steps of each and what a step costs, in iterations."""
        with self._lock:
            self._status.update(stages=list(names), titles=list(titles), work=list(work), foreseen=sum(steps for steps, _ in work) or None)

    def stage(self, name: str, number: int | None = None) -> None:
        """The run comes to a stage of its plan, counted from 0; None: to what follows the last."""
        with self._lock:
            self._ended.clear()
            s = self._status
            number = len(s["stages"]) if number is None else number
            ends = [*s["stage_ends"], (s["steps"], time.monotonic() - self._began)] if number else []
            s.update(stage=name, stage_number=number, stage_ends=ends)
        self._move()
        if self.active:
            self.log(name)

    def steps(self, steps: int, value: float | None = None, foreseen: int | None = None) -> None:
        with self._lock:
            s = self._status
            s["steps"] += steps
            s["foreseen"] = foreseen if foreseen else s["foreseen"]
            if value is not None and (s["lowest"] is None or value < s["lowest"]):
                s["lowest"] = value
        self._move()

    def under_way(self, steps: int) -> None:
        """The part at work has taken so many steps, over all of its starts, of which `steps` has not heard yet."""
        with self._lock:
            self._status["under_way"] = steps
        self._move()

    def _move(self) -> None:
        if self.bar is not None:
            self.bar.show(self.standing(), self._status)

    def reporting(self, report: Report | None) -> Report | None:
        """The report of a run, which the record hears, too."""

        def both(steps: int, value: float | None, foreseen: int) -> None:
            self.steps(steps, value, foreseen)
            self.check()
            if report:
                report(steps, value, foreseen)

        return both

    def log(self, text: str) -> None:
        with self._lock:
            self._status["log"] = [*self._status["log"][1 - MOST_LOG :], [round(time.monotonic() - self._began, 1), text]]

    def lines(self, lines: Sequence[Line]) -> None:
        """Curves, as far as they have come; one of the same stage and label is replaced."""
        if not self.active:
            return
        with self._lock:
            for line in lines:
                if line.steps:
                    self._lines[line.stage or self._status["stage"], line.label] = line
                    self._new_lines = True

    def reached(self, part: str, look: Look) -> None:
        """A part of the run has come further. look: what there is of it, which is asked for when it is time. Raises KeyboardInterrupt where
        somebody wants this run to end and no signal can say so."""
        self.check()
        if self.active and self._pace.now():
            self._take(part, look)

    def left(self, part: str) -> None:
        """Nobody works on this part any more."""

    def finished(self, part: str, lines: Sequence[Line], look: Look) -> None:
        """A part has ended. lines: its curves. look: what there is of it, likewise."""
        self.lines(lines)
        with self._lock:
            self._ended.add(part)
        self.reached(part, look)
        self.set(under_way=0)

    def show(self, look: Look) -> None:
        """What there is at the end, whether or not it is time."""
        if self.active:
            self._view = None
            self._take("", look)

    def families(self, labels: Sequence[str], distances: Sequence[Sequence[float]]) -> None:
        """How far the best of each family is from that of each other one."""
        self.set(families={"labels": list(labels), "distances": [list(row) for row in distances], "stage": self._status["stage"]})

    def standing(self, elsewhere: float = 0.0) -> Standing:
        """Where the run stands now. elsewhere: steps that workers have under way."""
        with self._lock:
            return standing(self._status, self._status["under_way"] + elsewhere, time.monotonic() - self._began)

    def affordable(self, seconds: float) -> bool:
        """Whether something that takes so long is at most a hundredth of the time until now."""
        return self.active and SHARE * seconds < time.monotonic() - self._began

    def seconds_per_step(self) -> float:
        """Infinite before the first."""
        steps = self._status["steps"]
        return (time.monotonic() - self._began) / steps if steps else float("inf")

    def check(self) -> None:
        """Raise KeyboardInterrupt where somebody wants the run to end, and no signal has said so."""
        if self.request and self._signal is None:
            raise KeyboardInterrupt

    def for_worker(self) -> Glimpse:
        """What travels to another process."""
        return Glimpse(self.results if self.active else None, str(self._status["stage"]))

    # what is written

    def _take(self, part: str, look: Look) -> None:
        began = time.monotonic()
        try:
            view = look()
            stage = str(self._status["stage"])
            with self._lock:
                self.lines([line for line in view.lines if len(line.steps)])
                former = self._view
                better = former is None or view.value is None or former.value is None or view.value <= former.value
                if view.panels and (better or former is None or former.part == part or self._view_stage != stage):
                    self._view, self._view_stage, self._new_view = view.named(part, stage), stage, True
                self.set(under_way=view.steps)
                if view.value is not None:
                    self.steps(0, view.value)
        except Exception as error:  # what is shown must not end a run
            self.log(f"no picture: {type(error).__name__}: {error}"[:200])
        self._pace.took(time.monotonic() - began)

    def _attend(self) -> None:
        due = time.monotonic() + INTERVAL
        while not self._over.wait(POLL):
            if not self.request and self.results is not None and (request := files.requested(self.results)):
                self.request = request
                self.log("somebody wants it to stop" if request == files.STOP else "somebody wants it to be skipped")
                if self._signal is not None and not self._over.is_set():
                    _interrupt(self._signal)
            if time.monotonic() >= due:
                self._write(last=False)
                due = time.monotonic() + INTERVAL

    def _end(self, state: str, message: str) -> None:
        if self.bar is not None and (self.begun or state == "ended"):
            self.bar.end(self.standing(), self._status, state, message)
        if self.results is None or self._over.is_set():
            return
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.set(state=state, message=message)
        self.log(state)
        self._write()
        for path in (self.results / files.FOLDER).glob(f"{files.WORKER}*"):
            path.unlink(missing_ok=True)
        if self._trouble:
            warnings.warn(f"the run went on, but could not be watched: {self._trouble}", CheckpointWarning, stacklevel=3)

    def _write(self, last: bool = True) -> None:
        """The pulse, and where it is time, or for the last time, what there is to be seen."""
        self._write_status()
        if not last and not self._files.now():
            return
        began = time.monotonic()
        with self._lock:
            view, self._new_view = (self._view if self._new_view else None), False
            lines, self._new_lines = (dict(self._lines) if self._new_lines else None), False
            ended = sorted(self._ended)
            figure = self._status["figure"]
        if self.results is None:
            return
        folder = self.results / files.FOLDER
        if lines:
            latest = sorted(lines.items(), key=lambda item: item[1].values[-1])[:MOST_LINES]
            points = max(LEAST_POINTS, MOST_POINTS // len(latest))
            curves = [{**vars(thinned(line, points)), "stage": stage} for (stage, _), line in latest]
            self._put(
                lambda: files.write_json(folder / files.CURVES, {"figure": figure, "count": len(lines), "ended": ended, "curves": curves})
            )
        if view is not None:
            self._put(lambda: files.write(folder / files.PREVIEW, encoded(view, stage=self._view_stage)))
        self._files.took(time.monotonic() - began)

    def _write_status(self) -> None:
        with self._lock:
            self._beat += 1
            status = {**self._status, "beat": self._beat, "updated": time.time(), "seconds": time.monotonic() - self._began}
            status["resume"] = self._resume if self.resumable else ""
        if self.results is not None:
            results = self.results
            self._put(lambda: files.write_json(results / files.FOLDER / files.STATUS, status))

    def _put(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (InputError, OSError) as error:
            self._trouble = str(error)


@dataclass(eq=False)
class Glimpse:
    """What a worker shows of the part that it works on, in a file of its own; nothing where it does not share the disk."""

    results: Path | None = None
    stage: str = ""
    pace: Pace = field(default_factory=Pace)
    begun: bool = False
    resumable: bool = False

    def reached(self, part: str, look: Look) -> None:
        if self.results is None or not self.pace.now():
            return
        began = time.monotonic()
        try:
            if (self.results / files.FOLDER / files.STATUS).exists():
                files.write(self._path(), encoded(look().named(part, self.stage), updated=time.time(), stage=self.stage))
        except Exception:  # what is shown must not end a run
            self.results = None
        self.pace.took(time.monotonic() - began)

    def left(self, part: str) -> None:
        if self.results is not None and self.pace.due is not None:
            self._path().unlink(missing_ok=True)

    def finished(self, part: str, lines: Sequence[Line], look: Look) -> None:
        """The run itself shows what has ended."""

    def under_way(self, steps: int) -> None:
        """A view says it, too."""

    def for_worker(self) -> Glimpse:
        return self

    def _path(self) -> Path:
        assert self.results is not None
        name = "".join(c for c in platform.node() if c.isalnum())
        return self.results / files.FOLDER / f"{files.WORKER}{name}-{os.getpid()}-{threading.get_native_id()}.npz"


@contextmanager
def recorded(
    live: Record | str | Path | None, command: str, title: str = "", figure: str = "R-factor", progress: bool = False
) -> Iterator[Record]:
    """Inside, a record that somebody else begins and ends, or one of this block in a folder of results; of None one that writes nothing.
    progress: one of this block shows itself in a notebook, too."""
    if isinstance(live, Record):
        yield live
        return
    with Record(None if live is None else Path(live), command, title, figure=figure, bar=bar() if progress else None) as record:
        yield record


def process_start(pid: int) -> str:
    """When a process of this machine began, as Linux writes it, which tells it from a later one of the same number; empty where there is
    none, or nobody knows."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _interrupt(number: signal.Signals) -> None:
    """As Ctrl-C does."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
