"""A run, from its options to the files of its result: read, phase, save, present. What the command line and a batch have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from untwin.config import Run
    from untwin.data.measurement import Pattern
    from untwin.live.record import Record
    from untwin.runs.solution import Reconstruction
    from untwin.solve.recipe import Recipe

RESULT = 100  # bytes that a result takes for each pixel, uncompressed, with up to six modes


def read_quietly(run: Run) -> Pattern:
    """The pattern of a run; what was guessed stands in the pattern."""
    import warnings

    from untwin.data.read import read
    from untwin.errors import GuessWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return read(run.file, **run.reading())


@dataclass(frozen=True)
class Task:
    """What is made of a run, and who hears of it.

    command: its name, for --resume. completed: of the solution, before it is saved. present: shows it in its folder. read: the pattern
    of a run. note: takes a sentence. progress: a context that shows the record of a run. owner: number of the process whose
    wish to stop is heard.
    """

    command: str = "reconstruct"
    completed: Callable[[Reconstruction], Reconstruction] = lambda solution: solution
    present: Callable[[Reconstruction, Path, Run], None] = lambda solution, folder, run: None
    read: Callable[[Run], Pattern] = read_quietly
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[Record], AbstractContextManager[Any]] = nullcontext
    owner: int = field(default_factory=os.getpid)


def perform(run: Run, task: Task, overwrite: bool, resume: bool = False) -> Reconstruction:
    """The solution of a run, its files written and presented. Raises InputError and NumericalFailure."""
    import untwin
    from untwin.data.atomic import require_writable
    from untwin.runs.archive import CHECKPOINT, fresh, save
    from untwin.runs.checkpoint import Checkpoint, checkpointed

    folder = fresh(run.output or Path(f"{run.stem}_out"), overwrite)
    checkpoint = Checkpoint(folder / CHECKPOINT, {"command": task.command, **run.options()}, owner=task.owner)
    recipe = require_consistent(run)
    pattern = task.read(run)
    require_writable(folder, RESULT * pattern.intensity.size)
    support = _support_from_file(run, pattern)
    problem = run.problem(pattern)
    fixed = support is not None or problem.constraint.everywhere or pattern.optics is not None
    if recipe is not None and "ShrinkWrap" not in repr(recipe) and "AreaWrap" not in repr(recipe) and not fixed:
        task.note("the recipe has no ShrinkWrap, so the support stays the outline of the autocorrelation")
    with checkpointed(task.command, checkpoint, folder, resume, run.file.name if run.file else "") as live:
        with task.progress(live):
            solution = untwin.reconstruct(
                problem, recipe, start=run.start or "random", method=run.method or "auto", starts=run.starts,
                effort=run.effort, seed=run.seed, support=support, workers=run.workers, scheduler=run.scheduler,
                keep_strays=run.keep_strays and recipe is None, checkpoint=checkpoint, live=live,
            )  # fmt: skip
        solution = task.completed(solution)
        save(solution, folder, True, run.table(solution.recipe))
        task.present(solution, folder, run)
    return solution


def require_consistent(run: Run) -> Recipe | None:
    """The recipe of a run, its options checked for what does not go together. All of it before the file is read and torch is loaded. Raises
    InputError."""
    from untwin.runs.names import parse

    recipe = parse(run.recipe) if run.recipe is not None else None
    run.require_readable()
    if run.start is not None:
        from untwin.solve.predict import started

        started(run.start)
    method = run.method or "auto"
    for name in ("recipe", "support", "positivity"):
        if method != "auto" and getattr(run, name) and (method, name) != ("classical", "positivity"):
            raise InputError(f"--method {method} is a plan of its own and takes no --{name}; leave one of them out")
    return recipe


def _support_from_file(run: Run, pattern: Pattern) -> np.ndarray | None:
    if run.positivity:
        from untwin.model.problem import require_real

        require_real(pattern)  # untwin.reconstruct asks the same, once torch is loaded
    if run.support is None:
        return None
    from untwin.data.object import read_support

    return read_support(run.support, pattern)
