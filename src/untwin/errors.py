"""The one exception for everything that a user can put right, and the boundary behind which file libraries raise only that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 1500


class InputError(ValueError):
    """Bad input, in one line: what came, what was expected, what to try. What came may be long, so that the middle of a message above
    LONGEST characters is left out. The command line exits with 2."""

    def __init__(self, message: str) -> None:
        line = " ".join(str(message).splitlines())
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}")


class NotEnoughMemory(InputError):
    """A run takes more memory than there is; the message says what fits."""


class GuessWarning(UserWarning):
    """A choice that untwin made where the input left it open; each one says how to decide otherwise."""


class FormerNameWarning(DeprecationWarning):
    """A name of an earlier release, and what it is called now."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written, or not be read; the run goes on as well as it can."""


class ClusterWarning(UserWarning):
    """What a cluster of workers is short of, while a run waits for it."""


class NumericalFailure(RuntimeError):
    """All starts failed, or too many. The command line exits with 3."""


class WorkerLost(NumericalFailure):
    """A worker process was ended from outside."""


class SchedulerLost(WorkerLost):
    """The scheduler of a cluster no longer answers: what it had of a run is lost, and the run can be gone on with. The command line exits
    with 130."""


@contextmanager
def readable_errors(path: Path, what: str) -> Iterator[None]:
    """The boundary: whatever a file library raises on a broken file leaves here as an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path.name} cannot be read as {what}: {text}. Is it complete? Copy or write it again.") from error
