"""Going on with a run that was cut short: what a folder holds unfinished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from untwin.data.typed import typed
from untwin.errors import InputError


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
