"""What the small files of a run say when they are read: its state, how far it is, whether anybody is still at work on it."""

from __future__ import annotations

import math
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from untwin.errors import InputError
from untwin.live import files
from untwin.live.record import process_start
from untwin.live.remaining import standing
from untwin.live.view import View, decoded

STALE = 30.0  # seconds without a pulse, seen from here, after which a run on another machine counts as lost
LONG_AGO = 120.0  # seconds by the clocks of both machines, after which it does at first sight
STATES = ("running", "ended", "interrupted", "failed")


@dataclass(frozen=True, eq=False)
class Shown:
    """A view and the version of its file, which changes with it."""

    view: View
    version: str
    record: dict[str, Any]


class Watched:
    """A run in a folder of results, or one pattern of a batch."""

    def __init__(self, results: Path) -> None:
        self.results, self._lock = results, threading.Lock()
        self._beat: tuple[Any, float] | None = None
        self._views: dict[str, tuple[tuple[int, int], Shown]] = {}

    def status(self) -> dict[str, Any]:
        """As the run has written it, with `state` as it looks from here (`lost` where nobody is at work on it any more), the steps of parts
        that are under way, and the seconds that are left (None where nobody can tell); {} where there is no run."""
        status = files.read_json(self.results / files.FOLDER / files.STATUS)
        if not status or status.get("state") not in STATES:
            return {}
        if status["state"] == "running" and not self._at_work(status):
            status["state"], status["message"] = "lost", "its process has ended without a word"
        under_way = _number(status.get("under_way")) + self.under_way(status)
        try:
            now = standing({**status, "steps": _number(status.get("steps"))}, under_way, _number(status.get("seconds")))
        except (TypeError, ValueError, LookupError, ArithmeticError):  # of a file that somebody else has written
            return {}
        left = now.left if status["state"] == "running" else None
        return {**status, "steps": now.steps, "left": left, "asked": files.requested(self.results)}

    def workers_steps(self) -> int:
        """Steps that workers have under way, of the run as its files have it."""
        return self.under_way(files.read_json(self.results / files.FOLDER / files.STATUS))

    def under_way(self, status: dict[str, Any]) -> int:
        """Steps that workers have taken of parts that have not ended."""
        return sum(shown.view.steps for shown in self._workers(status))

    def curves(self, status: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        """A version, and the curves of all that has ended or is under way."""
        path = self.results / files.FOLDER / files.CURVES
        workers = self._workers(status)
        version = "-".join([_stamp_text(path), *(shown.version for shown in workers)])
        lines = {(c.get("stage"), c.get("label")): c for c in files.read_json(path).get("curves", []) if isinstance(c, dict)}
        for shown in workers:
            lines |= {(line.stage, line.label): asdict(line) for line in shown.view.lines}
        return version, [c for c in lines.values() if _is_curve(c)]

    def shown(self, status: dict[str, Any]) -> Shown | None:
        """The best of what there is to be seen: of the stage that the run is in, the lowest figure of merit."""
        own = self._view(self.results / files.FOLDER / files.PREVIEW)
        workers = [w for w in self._workers(status) if w.view.panels]
        candidates = [own] if own is not None and own.view.panels else []
        if status.get("state") == "running" and any(w.view.value is not None for w in workers):
            stage = status.get("stage")
            candidates = [c for c in candidates if c.record.get("stage") == stage and c.view.value is not None] + workers
        elif not candidates:
            candidates = workers
        return min(candidates, key=lambda c: math.inf if c.view.value is None else c.view.value, default=None)

    def _workers(self, status: dict[str, Any]) -> list[Shown]:
        """Of each part that is under way in another process, the newest."""
        if status.get("state") != "running":
            return []
        parts: dict[str, Shown] = {}
        ended = files.read_json(self.results / files.FOLDER / files.CURVES).get("ended")  # and its worker was killed before it could say so
        ended = ended if isinstance(ended, list) else []
        for path in sorted((self.results / files.FOLDER).glob(f"{files.WORKER}*.npz")):
            shown = self._view(path)
            if shown is None or shown.record.get("stage") != status.get("stage") or shown.view.part in ended:
                continue
            other = parts.get(shown.view.part)
            if other is None or _number(other.record.get("updated")) < _number(shown.record.get("updated")):
                parts[shown.view.part] = shown
        return list(parts.values())

    def _view(self, path: Path) -> Shown | None:
        stamp = _stamp(path)
        with self._lock:
            cached = self._views.get(path.name)
            if stamp is None:
                self._views.pop(path.name, None)
                return None
            if cached is not None and cached[0] == stamp:
                return cached[1]
        pair = decoded(files.read(path))
        if pair is None:
            return None
        shown = Shown(pair[0], f"{stamp[0]:x}", pair[1])
        with self._lock:
            self._views[path.name] = stamp, shown
        return shown

    def _at_work(self, status: dict[str, Any]) -> bool:
        """Whether the process is there, or, on another machine and on Windows, has given a sign of life."""
        pid = status.get("pid")
        if status.get("host") == platform.node() and isinstance(pid, int) and pid > 0:
            if status.get("process"):
                return process_start(pid) == status["process"]
            if os.name == "posix":  # signal 0 of Windows is Ctrl-C
                return _exists(pid)
        clock = time.monotonic()
        if self._beat is None:
            silent = time.time() - _number(status.get("updated"))
            self._beat = status.get("beat"), clock - (STALE if silent > LONG_AGO else 0.0)
        elif self._beat[0] != status.get("beat"):
            self._beat = status.get("beat"), clock
        return clock - self._beat[1] < STALE


class Folder:
    """What lies in a folder of results: one run, or a batch of them. Whoever asks for a run names it by its number."""

    def __init__(self, results: Path) -> None:
        files.require_run(results)
        self.results, self.run = results, Watched(results)
        self._rows: dict[str, Watched] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Of a batch, as it has written them."""
        rows = files.read_json(self.results / files.BATCH).get("rows", [])
        return [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []

    def table(self) -> list[dict[str, Any]]:
        """The rows, and of those that wait what their own run says, where it has begun."""
        rows = self.rows()
        for number, row in enumerate(rows):
            if row.get("status") == "waiting" and _is_name(row.get("name")) and (state := self.item(number, rows).status().get("state")):
                row["status"] = "waiting" if state == "ended" else state
        return rows

    def item(self, number: int | None, rows: list[dict[str, Any]] | None = None) -> Watched:
        """A row of the batch, or without a number the run itself. Raises InputError where there is no such row."""
        if number is None:
            return self.run
        rows = self.rows() if rows is None else rows
        name = rows[number].get("name") if 0 <= number < len(rows) else None
        if not _is_name(name):
            raise InputError(f"there is no pattern {number} among {len(rows)}")
        return self._rows.setdefault(name, Watched(self.results / name))

    def stop(self, number: int | None) -> None:
        """Want a run to stop and to keep what is done."""
        files.ask(self.item(number).results, files.STOP)

    def skip(self, number: int | None) -> None:
        """Want a pattern of a batch to be left out."""
        if number is None:
            raise InputError("expected the number of a pattern")
        item = self.item(number)
        if item.results.is_dir():
            files.ask(item.results, files.SKIP)
        else:
            files.ask(self.results, files.SKIP, number)


def _is_name(name: Any) -> TypeGuard[str]:
    """Whether a folder within the results can have this name."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name and "\0" not in name


def _is_curve(c: dict[str, Any]) -> bool:
    steps, values = c.get("steps"), c.get("values")
    return isinstance(steps, list | tuple) and isinstance(values, list | tuple) and len(steps) == len(values) > 0


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _stamp_text(path: Path) -> str:
    stamp = _stamp(path)
    return "" if stamp is None else f"{stamp[0]:x}"


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else 0


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
