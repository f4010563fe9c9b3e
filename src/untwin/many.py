"""Many patterns, from Python and from the command line: what the work on one of a batch is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.batch import Batch, Crew, Ended, Item, Means, Row, alone
from untwin.data.series import EACH, Member, members
from untwin.errors import InputError
from untwin.live.record import recorded
from untwin.processes import cores
from untwin.runs.follow import aligned
from untwin.task import Task, perform, read_quietly

if TYPE_CHECKING:
    from untwin.config import Run
    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem
    from untwin.runs.solution import Reconstruction


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What became of one pattern of a batch. name: of its folder. solution: None where it failed. error: why. folder: of its files, None
    where none were written."""

    name: str
    solution: Reconstruction | None
    error: str = ""
    folder: Path | None = None

    def __repr__(self) -> str:
        return f"BatchResult({self.name!r}, {f'failed: {self.error!r}' if self.solution is None else repr(self.solution)})"

    def _repr_html_(self) -> str | None:
        from untwin.show.notebook import batch_html

        return batch_html(self.name, self.solution, self.error)


@dataclass(frozen=True)
class Showing:
    """What a batch shows. report: report.html and figures of each result. series: the patterns are a time series."""

    report: bool = True
    series: bool = False

    def present(self, solution: Reconstruction, folder: Path) -> None:
        """The pictures of one result."""
        from untwin.show.batch import write_thumbnail
        from untwin.show.report import report

        write_thumbnail(solution, folder, self.series)
        if self.report:
            report(solution, folder / "report.html")

    def write_page(self, folder: Path, rows: Sequence[Row]) -> None:
        """index.html of all."""
        from untwin.show.batch import write_page

        write_page(folder, rows, self.series)


def reconstruct_many(
    patterns: Iterable[Any],
    *,
    output: str | Path | None = None,
    workers: int | None = None,
    scheduler: Any = None,
    follow: bool = False,
    report: bool = True,
    overwrite: bool = False,
    frames: str | int | None = None,
    progress: bool = True,
    **options: Any,
) -> Iterator[BatchResult]:
    """Reconstruct many patterns, one in each process; yields what became of each, in their order, as soon as it and those before it have
    ended. What goes wrong with one stops no other.

    patterns: what `untwin.read` takes or returns, or Problems; names of files may be patterns such as "scans/*.h5", folders of files, or
        FILE::DATASET with wildcards. frames: of stacks, as of `untwin.read`; "each" takes every frame as a pattern.
    output: a folder that gets a folder for each, index.html and summary.csv; results that are there already are read, and a run that was
        cut short is gone on with. overwrite: results of an earlier batch are replaced. report: write report.html and figures for each.
    workers: processes; by default all cores. scheduler: of a Dask cluster that takes the patterns, as of `untwin.reconstruct`; its workers
        see the same disk.
    follow: the patterns are a time series. Half of the families of each start at the result before it, and results are aligned along the
        series (needs output). progress: in a notebook a line counts the patterns. options: of `untwin.reconstruct`, for all of them.
    Raises InputError where there is nothing to do, or another batch in the folder.
    """
    from untwin.runs.reconstruct import reconstruct

    items = _items(patterns, frames)
    for name in sorted({"checkpoint", "live"} & options.keys()):
        raise InputError(f"{name}= is not an option of a batch, which keeps what is done in output=; leave it out")
    for name in sorted(options.keys() - signature(reconstruct).parameters.keys()):
        raise InputError(f"{name}= is not an option of untwin.reconstruct; what is told to untwin.read goes with patterns read before")
    if follow and output is None:
        raise InputError("follow=True begins from results in files; give output=, a folder for them")
    root = None if output is None else Path(output).absolute()
    work = partial(_phase, root=root, options=options, showing=Showing(report, follow), frames=None if frames == EACH else frames)
    crew = Crew(work, items, [None if root is None else root / item.name for item in items], workers or cores(), scheduler)
    if root is None:
        return _counted(_in_order(crew, crew.run(range(len(items)))), len(items), progress)
    texts = {name: repr(value) for name, value in (options if frames is None else options | {"frames": frames}).items()}
    batch = Batch(root, items, texts | {"follow": follow}, page=Showing(report, follow).write_page)
    return _counted(_results(batch, crew, follow, overwrite), len(items), progress)


def _counted(results: Iterator[BatchResult], total: int, progress: bool) -> Iterator[BatchResult]:
    """The results, with a line in a notebook."""
    with recorded(None, "reconstruct_many", progress=progress) as record:
        record.set(unit="patterns")
        record.begun = True
        try:
            for result in results:
                record.steps(1, None, total)
                yield result
        except GeneratorExit:  # nobody wants the rest
            return


def _items(patterns: Iterable[Any], frames: str | int | None) -> list[Item]:
    sources = [patterns] if isinstance(patterns, str | Path) else list(patterns)
    if not sources:
        raise InputError("no patterns to reconstruct; expected files or patterns")
    if all(isinstance(source, str | Path) for source in sources):
        return [Item(m.name, str(m), m, n) for n, m in enumerate(members(sources, frames))]
    if frames == EACH:
        raise InputError(f"frames={EACH!r} is for files; give the frames of an array one by one")
    digits = len(str(len(sources) - 1))
    return [Item(f"pattern-{n:0{digits}d}", "in memory", source, n) for n, source in enumerate(sources)]


def _results(batch: Batch, crew: Crew, follow: bool, overwrite: bool) -> Iterator[BatchResult]:
    """In the order of the items."""
    with alone(batch.folder):
        batch.begin(overwrite)
        yield from _in_order(crew, worked(batch, crew, follow))


def _in_order(crew: Crew, results: Iterator[tuple[int, Ended]]) -> Iterator[BatchResult]:
    waiting: dict[int, Ended] = {}
    number = 0
    for which, ended in results:
        waiting[which] = ended
        while number in waiting:
            ended, folder = waiting.pop(number), crew.folders[number]
            solution = ended.solution
            if solution is None and folder is not None and ended.row.status == "done":
                from untwin.runs.archive import load

                solution = load(folder)
            yield BatchResult(crew.items[number].name, solution, ended.row.message, folder)
            number += 1


def worked(batch: Batch, crew: Crew, follow: bool) -> Iterator[tuple[int, Ended]]:
    """What became of every item of a batch, those first that were done before; its files are written as it goes."""
    rest = []
    for number, row in enumerate(batch.rows):
        if row.status == "done":
            yield number, Ended(row)
        else:
            rest.append(number)
    for number, ended in _along(batch, crew) if follow else crew.run(rest):
        batch.end(number, ended.row)
        yield number, ended


def _along(batch: Batch, crew: Crew) -> Iterator[tuple[int, Ended]]:
    """One after the other, each from the last before it that is not to be doubted."""
    last: Path | None = None
    for number in range(len(crew.items)):
        if batch.rows[number].status != "done":
            crew.items[number] = replace(crew.items[number], neighbour=last)
            yield from crew.in_turn([number])
        row, folder = batch.rows[number], crew.folders[number]
        if row.status == "done" and row.trusted is not False:
            last = folder


def _phase(
    item: Item, means: Means, root: Path | None, options: dict[str, Any], showing: Showing, frames: str | int | None
) -> Reconstruction:
    """The work on one of `reconstruct_many`."""
    from untwin.data.measurement import Pattern
    from untwin.runs.archive import CHECKPOINT, save, unfinished
    from untwin.runs.checkpoint import Checkpoint, checkpointed
    from untwin.runs.reconstruct import reconstruct

    problem = _readable(item.source, frames)
    if root is None:
        return reconstruct(problem, workers=means.workers, scheduler=means.scheduler, progress=False, **options)
    folder = root / item.name
    neighbour = _neighbour(item, problem if isinstance(problem, Pattern) else problem.pattern)
    options = options if neighbour is None else options | {"start": str(item.neighbour)}
    checkpoint = Checkpoint(folder / CHECKPOINT, {"command": "reconstruct_many"}, owner=means.owner)
    with checkpointed("reconstruct", checkpoint, folder, unfinished(folder), item.name) as live:
        solution = reconstruct(problem, workers=means.workers, scheduler=means.scheduler, checkpoint=checkpoint, live=live, **options)
        solution = solution if neighbour is None else aligned(solution, neighbour.image)
        save(solution, folder, True)
        showing.present(solution, folder)
    return solution


def _readable(source: Any, frames: str | int | None) -> Pattern | Problem:
    import warnings

    from untwin.data.measurement import Pattern
    from untwin.data.read import read
    from untwin.errors import GuessWarning
    from untwin.model.problem import Problem

    if isinstance(source, Pattern | Problem):
        return source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)  # they stand in the pattern
        if isinstance(source, Member):
            return read(source.source, frames=frames if source.frame is None else source.frame)
        return read(source, frames=frames)


def _neighbour(item: Item, pattern: Pattern) -> Reconstruction | None:
    """The result that a pattern of a series begins at; None where there is none of its shape."""
    from untwin.runs.archive import load

    if item.neighbour is None:
        return None
    neighbour = load(item.neighbour)
    return neighbour if neighbour.pattern.shape == pattern.shape else None


def perform_run(item: Item, means: Means, root: Path, showing: Showing) -> Reconstruction:
    """The work on one of the command line, whose source is a Run."""
    from untwin.runs.archive import unfinished

    folder = root / item.name
    run: Run = item.source.model_copy(update={"output": folder, "workers": means.workers, "scheduler": means.scheduler})
    pattern = read_quietly(run)
    neighbour = _neighbour(item, pattern)
    if neighbour is not None:
        run = run.model_copy(update={"start": str(item.neighbour)})
    task = Task(
        completed=lambda solution: solution if neighbour is None else aligned(solution, neighbour.image),
        present=lambda solution, folder, run: showing.present(solution, folder),
        read=lambda run: pattern,
        owner=means.owner,
    )
    return perform(run, task, True, unfinished(folder))
