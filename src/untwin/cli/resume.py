"""Going on with a run that was cut short: what a folder holds unfinished, and what an interruption says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.typed import typed
from untwin.errors import InputError, NumericalFailure, SchedulerLost, WorkerLost

if TYPE_CHECKING:
    from untwin.runs.checkpoint import Checkpoint


@contextmanager
def checkpointed(command: str, checkpoint: Checkpoint, folder: Path, resume: bool) -> Iterator[None]:
    """Inside, an interruption says how to go on, where the checkpoint holds anything. The checkpoint is removed when the block is done, or
    has failed for good."""
    if not resume:
        checkpoint.clear()
    try:
        yield
    except (KeyboardInterrupt, WorkerLost) as error:
        if not checkpoint.begun():
            raise
        how = f"what is done is kept; go on with: untwin {command} --resume {typed(folder)}"
        how += ", which runs here, or on another cluster with --scheduler" if isinstance(error, SchedulerLost) else ""
        raise type(error)("; ".join([*map(str, error.args), how])) from None
    except (InputError, NumericalFailure) as error:
        if isinstance(error, NumericalFailure) or not (resume or checkpoint.has_parts()):
            checkpoint.clear()
            with suppress(OSError):
                folder.rmdir()  # if there is nothing in it
        raise
    checkpoint.clear()


def unfinished_options(command: str, folder: Path, others: dict[str, Any]) -> dict[str, Any] | None:
    """The options of the run that a folder holds unfinished; None, after a line that says so, where it is finished.

    others: further options of the command line by the name that a user types; InputError where one is set, or where there is no such run.
    """
    from untwin.runs.archive import CHECKPOINT, unfinished
    from untwin.runs.checkpoint import metadata

    conflict = next((name for name, value in others.items() if value is not None and value is not False), None)
    if conflict:
        raise InputError(f"--resume takes everything from {folder}; leave {conflict} out")
    if not unfinished(folder):
        if (folder / "summary.json").exists():
            print(f"{folder} holds a finished run; nothing to do")
            return None
        raise InputError(f"no run in {folder} to go on with; begin with: untwin {command} FILE -o {typed(folder)}")
    run = metadata(folder / CHECKPOINT)
    if run is None or run["options"].get("command") != command:
        content = "nothing" if run is None else f"a run of untwin {run['options'].get('command')}"
        raise InputError(f"{folder} holds {content} to go on with; begin anew with --overwrite")
    return {k: v for k, v in run["options"].items() if k != "command"}
