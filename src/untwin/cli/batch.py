"""Several patterns on the command line of untwin reconstruct: a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.cli.notes import note
from untwin.cli.progress import patterns
from untwin.data.typed import typed
from untwin.errors import InputError, NumericalFailure, SchedulerLost

if TYPE_CHECKING:
    from untwin.config import Run
    from untwin.data.series import Member

OUTPUT = "untwin_batch"
LISTED = 5  # failures that the last message names


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What a batch has beside the options of its runs. follow: a time series. report: a page for each. overwrite: earlier results."""

    follow: bool = False
    report: bool = True
    overwrite: bool = False


def batch_members(files: Sequence[Path], frames: str | None, data: str | None) -> list[Member] | None:
    """The patterns of a batch; None where the files are the one pattern of a run, or none at all."""
    import glob

    from untwin.data.folder import is_stack
    from untwin.data.series import EACH, full_source, members

    if not files:
        return None
    texts = [str(file) for file in files]
    several = len(texts) > 1 or is_stack(texts[0]) or ("::" in texts[0] and glob.has_magic(texts[0].rpartition("::")[2]))
    if not several and frames != EACH and ":" not in str(frames or ""):
        return None
    chosen = members(texts, frames, data)
    if len(files) == 1 and len(chosen) == 1 and chosen[0].frame is None and chosen[0].source == full_source(texts[0]):
        return None
    return chosen


def reconstruct_batch(chosen: Sequence[Member], settings: dict[str, Any], config: Path | None, options: BatchOptions) -> None:
    """Each pattern in its folder. Raises NumericalFailure where any has failed."""
    from untwin.config import resolved
    from untwin.data.series import by_numbers

    base = resolved(config, {**settings, "file": chosen[0].source})
    again = {"files": [m.source for m in chosen], "numbers": [m.frame for m in chosen], "names": [m.name for m in chosen]}
    _note_frames(chosen)
    if options.follow and chosen != (ordered := sorted(chosen, key=lambda m: by_numbers(str(m)))):
        note(f"the series is in the order given, not in that of its numbers, which begins {', '.join(m.name for m in ordered[:3])}")
    _worked(base, chosen, base.output or Path(OUTPUT), options, again)


def resume_batch(folder: Path, anew: dict[str, Any], others: dict[str, Any], report: bool = True) -> None:
    """Go on with the batch of a folder. anew: settings of its runs that may be others than before, None where nothing was said. report: of
    the patterns that are left, where the batch has any."""
    from untwin.batch import read_record
    from untwin.config import resolved
    from untwin.data.series import Member

    conflict = next((name for name, value in others.items() if value is not None and value is not False), None)
    if conflict:
        raise InputError(f"--resume takes everything from {folder}; leave {conflict} out")
    record = read_record(folder)
    assert record is not None
    try:
        again = record["again"]
        chosen = [Member(str(name), str(file), number) for name, file, number in zip(again["names"], again["files"], again["numbers"])]
        stored = {k: v for k, v in record["options"].items() if k not in ("follow", "report")}
        options = BatchOptions(follow=bool(record["options"]["follow"]), report=bool(record["options"]["report"]))
        base = resolved(None, {**stored, "file": chosen[0].source, **{k: v for k, v in anew.items() if v is not None}})
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{folder} holds a batch that was begun from Python; go on with it there") from None
    _worked(base, chosen, folder, options, again, report)


def _worked(base: Run, chosen: Sequence[Member], root: Path, options: BatchOptions, again: dict[str, Any], report: bool = True) -> None:
    from functools import partial

    from untwin.batch import Batch, Crew, Item, alone
    from untwin.data.atomic import require_writable
    from untwin.live.record import Record
    from untwin.many import Showing, perform_run, worked
    from untwin.processes import cores
    from untwin.show.batch import summary
    from untwin.task import require_consistent

    folder = require_writable(root).absolute()  # workers may be elsewhere
    require_consistent(base)
    showing = Showing(options.report and report, options.follow)
    shared = {k: v for k, v in base.options().items() if k not in ("file", "workers")}
    items = [Item(m.name, str(m), _run(shared, m), n) for n, m in enumerate(chosen)]
    work = partial(perform_run, root=folder, showing=showing)
    crew = Crew(work, items, [folder / m.name for m in chosen], base.workers or cores(), base.scheduler)
    command = f"untwin reconstruct --resume {typed(root)}"
    with alone(folder):
        shared |= {"follow": options.follow, "report": options.report}
        batch = Batch(folder, items, shared, again=again, page=showing.write_page)
        batch.begin(options.overwrite)
        with Record(folder, "reconstruct", f"{len(items)} patterns", command, "patterns") as record:
            record.begun = record.resumable = True
            record.set(foreseen=len(items), unit="patterns")
            try:
                with patterns(len(items)) as advance:
                    for number, ended in worked(batch, crew, options.follow):
                        advance(ended.row.mark)
                        record.steps(1)
                        if ended.row.status == "failed":
                            note(f"{items[number].name}: {ended.row.message}")
            except (KeyboardInterrupt, SchedulerLost) as error:
                count = sum(row.ended for row in batch.rows)
                how = f"{count} of {len(items)} patterns are done, the others are kept; go on with: {command}"
                raise type(error)("; ".join([*map(str, error.args), how])) from None
    print(f"{summary(batch.rows)}\ntable: {root}/index.html, {root}/summary.csv")
    failed = [row for row in batch.rows if row.status == "failed"]
    if failed:
        names = ", ".join(row.name for row in failed[:LISTED]) + (f" and {len(failed) - LISTED} more" if len(failed) > LISTED else "")
        raise NumericalFailure(f"{len(failed)} of {len(items)} patterns failed: {names}; why stands in {root}/summary.csv")


def _run(shared: dict[str, Any], member: Member) -> Run:
    """Of one pattern; shared: the options of all, files by their full path."""
    from untwin.config import Run

    return Run(**shared, file=Path(member.source)).model_copy(update={} if member.frame is None else {"frames": member.frame})


def _note_frames(chosen: Sequence[Member]) -> None:
    """Frames of a scan, whose names the shell has put in place of a pattern, are perhaps meant as one."""
    from untwin.data.series import PATTERNS, kind_of

    sources = {m.source for m in chosen}
    suffixes = {Path(source).suffix for source in sources}
    if len(sources) > 2 and len(suffixes) == 1 and all(Path(s).is_file() for s in sources):
        first = Path(min(sources))
        if kind_of(first) not in ("", *PATTERNS):
            note(
                f"{len(sources)} files of one frame each, every one taken as a pattern of its own; where they are one scan, name them in "
                f"quotation marks: '{first.parent / ('*' + first.suffix)}'"
            )
