"""Many patterns: each in a folder of its own, left alone where it is done and gone on with where it was cut short, with a table of all."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.atomic import atomic_write_text, sha256
from untwin.data.typed import typed
from untwin.errors import InputError, NotEnoughMemory, NumericalFailure, SchedulerLost, WorkerLost
from untwin.judge.trust import MARKS
from untwin.live import files
from untwin.processes import GRACE_PERIOD

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from untwin.runs.solution import Reconstruction

RECORD, TABLE, LOCK = files.BATCH, "summary.csv", ".lock"
LOSSES = 3  # workers lost without a single pattern coming to its end: then those at work at each loss are tried one by one
ENDED = ("done", "failed", "skipped")
LEFT_OUT = "left out, as somebody wanted; the same command takes it up again"


@dataclass(frozen=True)
class Row:
    """One pattern of a batch, as the table lists it.

    status: waiting, done, failed or skipped. trusted: the verdict; None where it cannot say, or there is none. resolution: full period,
    in `unit` (nm, or pixels of the object). agreement: error between independent results. seconds: on the clock. message: what went wrong.
    """

    name: str
    file: str
    status: str = "waiting"
    trusted: bool | None = None
    verdict: str = ""
    r_factor: float | None = None
    resolution: float | None = None
    unit: str = ""
    agreement: float | None = None
    misfit: float | None = None
    photons: float | None = None
    seconds: float | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def mark(self) -> str:
        """The verdict in two words; the status where there is none."""
        if self.status != "done":
            return self.status
        return MARKS[self.trusted]


@dataclass(frozen=True, eq=False)
class Item:
    """A pattern of a batch. name: of its folder. file: where it comes from, for the table. source: what the work takes. number: of its row.
    neighbour: folder of a result that half of its families begin at."""

    name: str
    file: str
    source: Any
    number: int = 0
    neighbour: Path | None = None

    def row(self, status: str, message: str) -> Row:
        """Of an item without a result."""
        return Row(self.name, self.file, status, message=message)


@dataclass(frozen=True, eq=False)
class Ended:
    """What became of an item: its row, and the solution where it is in no folder. short: it needs more memory than there was."""

    row: Row
    solution: Reconstruction | None = None
    short: bool = False


@dataclass(frozen=True, eq=False)
class Means:
    """What an item is worked on with. workers: processes. owner: number of the process whose wish to stop is heard. scheduler: of a Dask
    cluster that takes the starts."""

    workers: int
    owner: int
    scheduler: Any = None


Work = Callable[[Item, Means], "Reconstruction"]


def row_of(item: Item, folder: Path) -> Row | None:
    """What a folder says of its finished result; None where there is none."""
    from untwin.runs.archive import unfinished

    try:
        text = (folder / "summary.json").read_text(encoding="utf-8")
        summary = json.loads(text)
        numbers, verdict = summary["numbers"], summary["verdict"]
        if unfinished(folder):
            return None
        return _row(item, verdict["trusted"], verdict["text"], numbers, summary.get("reason") or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _require_unchanged(folder: Path) -> None:
    """Raise InputError where the file of a result has changed since."""
    try:
        source = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["pattern"]["source"]
        file, date = Path(source["path"].partition("::")[0]), (folder / "summary.json").stat().st_mtime
        newer = file.is_file() and max(file.stat().st_mtime, file.stat().st_ctime) >= date
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    if newer and source["sha256"] not in (None, sha256(file)):
        raise InputError(f"{file} has changed since {folder} was made of it; choose another folder, or overwrite=True (--overwrite)")


def _row(item: Item, trusted: bool | None, text: str, numbers: dict[str, Any], reason: str) -> Row:
    metres, pixels = numbers.get("resolution_metres"), numbers.get("resolution_pixels")
    resolution, unit = (1e9 * metres, "nm") if metres else (pixels, "pixels" if pixels else "")
    rest = {name: numbers.get(name) for name in ("r_factor", "agreement", "misfit", "photons", "seconds")}
    status = "failed" if reason else "done"
    return Row(item.name, item.file, status, trusted, text, resolution=resolution, unit=unit, message=reason, **rest)


def _discard(folder: Path) -> None:
    """An earlier result is no longer taken for one that is done."""
    from untwin.runs.archive import CHECKPOINT
    from untwin.runs.checkpoint import Checkpoint

    (folder / "summary.json").unlink(missing_ok=True)
    Checkpoint(folder / CHECKPOINT).clear()


@dataclass(eq=False)
class Batch:
    """The folder of a batch and its rows. options: plain values, which all patterns share. again: what goes on with it.
    page: writes what a person looks at, from the folder and the rows."""

    folder: Path
    items: Sequence[Item]
    options: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    again: dict[str, Any] = field(default_factory=dict)
    page: Callable[[Path, Sequence[Row]], None] = lambda folder, rows: None

    def begin(self, overwrite: bool = False) -> None:
        """Take up what the folder holds: rows of results that are done, in their place. Raises InputError where it holds anything else, or
        another batch."""
        stored = read_record(self.folder) if self.folder.exists() else None
        if stored is None and self.folder.exists():
            if not self.folder.is_dir():
                raise InputError(f"{self.folder} is a file; expected a folder for the results of a batch")
            if any(path.name != LOCK for path in self.folder.iterdir()) and not overwrite:
                raise InputError(f"{self.folder} is not empty and holds no batch; choose another folder, or overwrite=True (--overwrite)")
        if stored is not None and not overwrite:
            self._require_same(stored)
            for item in self.items:
                _require_unchanged(self.folder / item.name)
        if overwrite:
            for item in self.items:
                _discard(self.folder / item.name)
        self.rows = [row_of(item, self.folder / item.name) or Row(item.name, item.file) for item in self.items]
        self.write()

    def _require_same(self, stored: dict[str, Any]) -> None:
        """Raise InputError where the folder holds a batch of other options, or another pattern under a name of this one."""
        how = f"untwin reconstruct --resume {typed(self.folder)} goes on with that one"
        how = how if stored["again"] else "that one was begun from Python"
        again = f"choose another folder, or --overwrite; {how}"
        for name in sorted({*stored["options"], *self.options}):
            was, is_ = stored["options"].get(name), self.options.get(name)
            if was != is_:
                raise InputError(f"{self.folder} holds a batch with {name} {was}, this is {is_}; {again}")
        files = {row["name"]: row["file"] for row in stored["rows"]}
        for item in self.items:
            if files.get(item.name, item.file) != item.file:
                raise InputError(f"{self.folder} holds a result of {files[item.name]} as {item.name}, and this is {item.file}; {again}")

    def end(self, number: int, row: Row) -> None:
        self.rows[number] = row
        self.write()

    def write(self) -> None:
        """The record, the table and the page."""
        rows = [vars(row) for row in self.rows]
        atomic_write_text(
            self.folder / RECORD, json.dumps({"untwin": "batch", "options": self.options, "again": self.again, "rows": rows}, default=str)
        )
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, [f.name for f in dataclasses.fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else _plain(v) for k, v in row.items()} for row in rows)
        atomic_write_text(self.folder / TABLE, buffer.getvalue())
        self.page(self.folder, self.rows)


def _plain(value: Any) -> Any:
    """No cell that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def read_record(folder: Path) -> dict[str, Any] | None:
    """options, again and rows of the batch in a folder; None where there is none. Raises InputError where its record is damaged."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = [{"name": str(row["name"]), "file": str(row["file"])} for row in record["rows"]]
        return {"options": dict(record["options"]), "rows": rows, "again": dict(record["again"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not the record of a batch; begin anew in another folder, or with --overwrite") from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process works on the batch of this folder. Raises InputError where one does."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise InputError(f"another process works on the batch in {folder}; wait for it, or choose another folder") from None


def attempt(work: Work, item: Item, means: Means, folder: Path | None) -> Ended:
    """The work on one item, unless it is done; what goes wrong with it stands in its row. Raises KeyboardInterrupt where its owner wants
    to stop."""
    try:
        if folder is not None and (row := row_of(item, folder)) is not None and row.status == "done":
            return Ended(row)
        if folder is not None and files.requested(folder.parent, item.number):
            return Ended(item.row("skipped", LEFT_OUT))
        solution = work(item, means)
        if folder is not None and (row := row_of(item, folder)) is not None:
            return Ended(row)
        return Ended(_row(item, solution.verdict.trusted, solution.verdict.text, solution.numbers, solution.reason), solution)
    except KeyboardInterrupt:
        if folder is None or files.requested(folder) != files.SKIP:
            raise
        return Ended(item.row("skipped", LEFT_OUT))
    except SchedulerLost:
        raise
    except NotEnoughMemory as error:
        return Ended(item.row("failed", str(error)), short=True)
    except (InputError, NumericalFailure, OSError) as error:
        return Ended(item.row("failed", str(error)))
    except Exception as error:  # a fault of untwin, too, stops nothing else
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Ended(item.row("failed", f"this is a bug in untwin ({text}); run this pattern alone with --debug"))


def _attempt_in_worker(work: Work, item: Item, owner: int, folder: Path | None) -> Ended | None:
    """None where it was interrupted. A worker listens to the process that has begun it, unless this is on another machine."""
    try:
        return attempt(work, item, Means(1, owner if os.getppid() == owner else os.getpid()), folder)
    except KeyboardInterrupt:
        return None


@dataclass(eq=False)
class Crew:
    """Works on the items of a batch: with one worker in this process, else in a pool, one pattern in each of its processes.

    folders: of the items, by number; None where nothing is written, and solutions come back. scheduler: of a Dask cluster, whose workers
    take the place of the pool.
    """

    work: Work
    items: list[Item]
    folders: Sequence[Path | None]
    workers: int
    scheduler: Any = None

    def run(self, numbers: Sequence[int]) -> Iterator[tuple[int, Ended]]:
        """What became of those items, in the order in which they end. What does not fit into memory beside others runs alone in the end,
        with all processes."""
        if self.workers == 1 and self.scheduler is None:
            yield from self.in_turn(numbers)
            return
        short: list[int] = []
        for number, ended in self._in_pool(list(numbers)):
            if ended.short:
                short.append(number)
            else:
                yield number, ended
        yield from self.in_turn(sorted(short))

    def in_turn(self, numbers: Sequence[int]) -> Iterator[tuple[int, Ended]]:
        """One after the other, each with all processes, or the whole cluster."""
        means = Means(self.workers, os.getpid(), self.scheduler)
        for number in numbers:
            try:
                ended = attempt(self.work, self.items[number], means, self.folders[number])
            except SchedulerLost:
                raise
            except WorkerLost as error:
                ended = self._failed(number, str(error))
            yield number, ended

    def _failed(self, number: int, reason: str) -> Ended:
        return Ended(self.items[number].row("failed", reason))

    def _in_pool(self, pending: list[int]) -> Iterator[tuple[int, Ended]]:
        """Where workers are ended from outside, the patterns that they were at are begun again, from what they have kept."""
        losses, suspects = 0, set(pending)
        while pending:
            count = len(pending)
            try:
                yield from self._once(pending)
            except SchedulerLost:
                raise
            except WorkerLost as error:
                if len(pending) < count:
                    losses, suspects = 0, set(pending)
                losses, suspects = losses + 1, suspects & {number for number in pending if self._begun(number)}
                if losses >= LOSSES:
                    yield from self._one_by_one(sorted(suspects) or list(pending), pending, str(error))
                    losses, suspects = 0, set(pending)

    def _begun(self, number: int) -> bool:
        from untwin.runs.archive import unfinished

        folder = self.folders[number]
        return folder is None or unfinished(folder)

    def _once(self, pending: list[int]) -> Iterator[tuple[int, Ended]]:
        """One pool for all that is pending; what has ended is taken out of it."""
        from untwin import cluster
        from untwin.processes import pool

        workers = min(self.workers, len(pending))
        with pool(workers) if self.scheduler is None else cluster.executor(self.scheduler, workers) as executor:
            futures = {self._submitted(executor, number): number for number in pending}
            try:
                for future in as_completed(futures):
                    ended = self._outcome(future, futures[future])
                    if ended is None:
                        raise KeyboardInterrupt
                    pending.remove(futures[future])
                    yield futures[future], ended
            except KeyboardInterrupt:
                self._stop(futures)
                raise
            finally:
                for future in futures:
                    future.cancel()

    def _outcome(self, future: Future[Ended | None], number: int) -> Ended | None:
        try:
            return future.result()
        except SchedulerLost:
            raise
        except WorkerLost as error:  # a cluster begins a task anew by itself, and blames it in the end
            return self._failed(number, str(error))

    def _submitted(self, executor: Executor, number: int) -> Future[Ended | None]:
        return executor.submit(_attempt_in_worker, self.work, self.items[number], os.getpid(), self.folders[number])

    def _one_by_one(self, suspects: list[int], pending: list[int], reason: str) -> Iterator[tuple[int, Ended]]:
        """Each in a pool of one worker: what ends this, too, has failed."""
        for number in suspects:
            left = [number]
            with suppress(WorkerLost):
                yield from self._once(left)
            pending.remove(number)
            if left:
                yield number, self._failed(number, reason)

    def _stop(self, futures: dict[Future[Ended | None], int]) -> None:
        """Ask what is at work to keep where it stands, and give it the time of a step."""
        from untwin.runs.archive import CHECKPOINT
        from untwin.runs.checkpoint import Checkpoint

        for future, number in futures.items():
            if not future.cancel() and not future.done() and (folder := self.folders[number]) is not None:
                Checkpoint(folder / CHECKPOINT).ask_to_stop()
        wait([future for future in futures if not future.cancelled()], GRACE_PERIOD)
