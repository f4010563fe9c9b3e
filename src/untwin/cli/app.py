"""The program: its name, its exit codes, the one message with which it ends, signals and warnings."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, UnusedCliTokensError

import untwin
from untwin.cli.notes import note, printable
from untwin.errors import CheckpointWarning, ClusterWarning, FormerNameWarning, InputError, NumericalFailure, SchedulerLost

app = App(
    name="untwin",
    help="Phase retrieval for coherent diffraction: a pattern in, an object one may trust out.\n\n"
    "Exit codes: 0 done, 2 the input or an option is wrong, 3 all starts or too many failed, or a pattern of a batch, "
    "or a worker was ended from outside, 70 a bug in untwin, 130 interrupted, or the scheduler of a cluster was lost. "
    "With --debug, any command shows the traceback of an error.",
    version=untwin.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


NOTED = (CheckpointWarning, ClusterWarning, FormerNameWarning)  # warnings that are shown as notes
BUG = 70  # the exit code of what nobody has foreseen


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes: 0 done, 2 the input or an option is wrong, 3 all starts or too many failed, 70 a bug in untwin,
    130 interrupted. With --debug anywhere, a traceback before the message."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if getattr(sys.stdout, "errors", "") == "strict":  # a pipe on Windows has 256 letters
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with _signals(), warnings.catch_warnings():
        warnings.showwarning = _as_notes(warnings.showwarning)
        for category in NOTED:
            warnings.simplefilter("always", category)
        _run([a for a in arguments if a != "--debug"], "--debug" in arguments)


def _run(arguments: list[str], debug: bool) -> None:
    if "" in arguments:
        _stop("an argument is empty; a variable of the shell that is not set?", 2)
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        _end(error)
    except KeyboardInterrupt as asked:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it is heard
        _stop(f"interrupted; {str(asked) or 'what is complete stays, nothing is half-written'}", 130)


def _end(error: Exception) -> None:
    """The one message and the exit code of what went wrong."""
    try:
        raise error
    except CycloptsError as error:
        unused = error.unused_tokens or [] if isinstance(error, UnusedCliTokensError) else []
        if unused and Path(unused[0]).is_file():
            _stop(f"one FILE is expected, and {unused[0]} is another; a pattern such as 'scan_*.tif' stands in quotation marks", 2)
        if unused:
            command = " ".join(["untwin", *(error.command_chain or ())])
            _stop(f"{' '.join(unused)}: {command} does not expect this; {command} --help says what it takes", 2)
        _stop(str(error).strip() + "\nSee untwin --help.", 2)
    except InputError as error:
        _stop(str(error), 2)
    except SchedulerLost as error:
        _stop(f"interrupted; {error}", 130)
    except NumericalFailure as error:
        _stop(str(error), 3)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _stop(f"{error.strerror or error}: {error.filename or 'the file system'}; check the path, the space and the permissions", 2)
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError":  # torch's
            _stop("out of memory; try --workers 1, fewer --starts or a smaller array", 2)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        _stop(f"this is a bug in untwin ({reason}); run the command again with --debug and report what it says", BUG)


def _stop(message: str, code: int) -> None:
    print(f"untwin: {printable(message)}", file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM is heard as Ctrl-C is: by a KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_notes(show: Callable[..., None]) -> Callable[..., None]:
    """How a warning is shown: one about checkpoints or former names as a note, the same once."""
    texts = set()

    def show_or_note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, NOTED):
            if str(message) not in texts:
                note(str(message))
            texts.add(str(message))
        else:
            show(message, category, *where, **more)

    return show_or_note
