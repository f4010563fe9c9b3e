"""What a user sees while a command runs: in a pseudo-terminal, narrow or wide, with colours or without, in a dumb one, and in a pipe."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import untwin as ut
from events import until
from untwin import cli
from untwin.cli import progress
from untwin.live.record import Record
from untwin.live.remaining import standing
from untwin.simulate import shapes
from untwin.simulate.detector import measure

pty = pytest.importorskip("pty", reason="pseudo-terminals are a matter of POSIX")
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

COLOUR = {"TERM": "xterm-256color"}
PLAIN = {"TERM": "xterm-256color", "NO_COLOR": "1"}
DUMB = {"TERM": "dumb"}
PATIENCE = 300  # seconds after which a child that does not end is given up; no test waits for them
DRAWN = re.compile(r"[━╸╺]|\d/\d")  # a bar, or what it counts
ESCAPE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


@dataclass(frozen=True)
class Ended:
    """What a child wrote to its terminal, as it came, and its exit code."""

    output: str
    code: int

    @property
    def text(self) -> str:
        return ESCAPE.sub("", self.output)

    @property
    def colours(self) -> set[str]:
        return {argument for argument, letter in ESCAPE.findall(self.output) if letter == "m"} & set(self._foregrounds())

    def _foregrounds(self) -> list[str]:
        arguments = [argument for argument, letter in ESCAPE.findall(self.output) if letter == "m"]
        return [a for a in arguments if any(re.fullmatch(r"3\d|4\d|9\d|10\d", code) for code in a.split(";"))]

    def screen(self, columns: int) -> list[str]:
        """The lines that a terminal shows in the end: it wraps at its last column, knows carriage return, cursor up and erase."""
        lines, row, column = [""], 0, 0
        for escape in re.finditer(r"\x1b\[[?0-9;]*[A-Za-z]|.|\r|\n", self.output):
            c = escape.group()
            if c == "\r":
                column = 0
            elif c == "\n":
                row += 1
            elif c.startswith("\x1b"):
                argument, letter = ESCAPE.fullmatch(c).groups()
                if letter == "A":
                    row -= int(argument or 1)
                elif letter == "K":
                    assert argument == "2", c
                    lines[row] = ""
                else:
                    assert letter in "mhl", c
            else:
                if column == columns:
                    row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
                line = lines[row].ljust(column)
                lines[row] = line[:column] + c + line[column + 1 :]
                column += 1
            lines += [""] * (row + 1 - len(lines))
        return [line.rstrip() for line in lines]


def resize(columns: int) -> None:
    """The window of this process."""
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))


def in_terminal(
    work: Callable[[], Any], environ: dict[str, str], columns: int = 80, folder: Path | None = None, interrupt: str | None = None
) -> Ended:
    """Run `work` in a fork of this process, whose terminal has so many columns. interrupt: Ctrl-C is pressed once the output, without its
    escape sequences, matches this expression."""
    child, terminal = pty.fork()
    if child == 0:
        _become(work, environ, columns, folder)
    output, pressed, limit = b"", interrupt is None, time.monotonic() + PATIENCE
    while chunk := _read(terminal, limit):
        output += chunk
        if not pressed and re.search(interrupt, ESCAPE.sub("", output.decode(errors="ignore"))):
            os.write(terminal, b"\x03")
            pressed = True
    if time.monotonic() > limit:
        os.killpg(child, signal.SIGKILL)
    os.close(terminal)
    ended = Ended(output.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert pressed, ended.output
    return ended


def _become(work: Callable[[], Any], environ: dict[str, str], columns: int, folder: Path | None) -> None:
    """In the fork: a process of its own, with its streams on the terminal. Does not return."""
    code: Any = 99
    try:
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            os.environ.pop(name, None)
        os.environ.update(environ)
        resize(columns)
        if folder is not None:
            os.chdir(folder)
        work()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _read(terminal: int, limit: float) -> bytes:
    """What comes next; nothing at the end, or when the limit is reached."""
    try:
        ready = select.select([terminal], [], [], max(limit - time.monotonic(), 0))[0]
        return os.read(terminal, 65536) if ready else b""
    except OSError:  # Linux: the other side is closed
        return b""


# what is drawn


def pieces(output: str) -> list[str]:
    """What was written between two returns to the first column, without escape sequences."""
    return [ESCAPE.sub("", piece) for piece in re.split(r"[\r\n]+", output)]


def all_progress() -> None:
    """Both kinds, from nothing known to large numbers."""
    record = Record()
    with progress.run(record) as show:
        show()
        record.plan(["Search", "Refine"], ["random starts", "deep prior"], [(1000, 1.0), (123_455_789, 200.0)])
        record.stage("Search", 0)
        record.steps(1000)
        show()
        record.stage("Refine", 1)
        record.steps(12_345_678, 0.0234567)
        show()
    record = Record()
    with progress.run(record, "restoring", "statistic") as show:
        record.steps(1, None, 5000)
        show()
    with progress.samples() as report:
        report(90, 100_000)
        report(90, 100_000)
        report(99_999, 100_000)
    with progress.samples():
        pass  # a command that ends before it begins


def at_widths(*widths: int) -> None:
    for columns in widths:
        resize(columns)
        print(f"width {columns}")
        all_progress()


@pytest.mark.parametrize("environ", [COLOUR, PLAIN], ids=["colour", "no colour"])
def test_the_bar_stays_in_its_line_and_leaves_nothing_behind(environ):
    ended = in_terminal(lambda: at_widths(40, 80, 200, 12), environ)
    assert ended.code == 0, ended.output
    parts = re.split(r"width (\d+)", ended.output)
    for columns, output in zip(map(int, parts[1::2]), parts[2::2], strict=True):
        assert all(len(piece) <= columns - (3 if DRAWN.search(piece) else 0) for piece in pieces(output)), output
        note = "note: 90 of 100,000 samples are there already"
        assert " ".join(Ended(output, 0).screen(columns)).split() == note.split(), "nothing else is left on the screen"
    for text in ("12,346,678/123,456,789 iterations", "deep prior (2 of 2)  R = 0.0235", "random starts", "1/5,000", "99,999/100,000"):
        assert text in ended.text
    assert bool(ended.colours) == (environ is COLOUR)
    assert ended.output.rindex("\x1b[?25h") > ended.output.rindex("\x1b[?25l"), "the cursor is there again"


def test_a_window_that_changes_on_the_way_is_filled_anew():
    def work() -> None:
        record = Record()
        with progress.run(record) as show:
            record.steps(10, 0.5, 100)
            show()
            resize(40)

    ended = in_terminal(work, COLOUR, 200)
    assert ended.code == 0 and len(pieces(ended.output)[0]) > 40 > max(map(len, pieces(ended.output)[-2:])), ended.output


def test_a_dumb_terminal_gets_lines_without_escape_sequences():
    ended = in_terminal(lambda: at_widths(80), DUMB)
    assert ended.code == 0 and "\x1b" not in ended.output and "\r" not in ended.output.replace("\r\n", ""), ended.output
    assert "s: deep prior, 12,346,678 of about 123,456,789 iterations, R = 0.0235" in ended.text


@pytest.mark.parametrize("environ", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "forced colour"])
def test_a_pipe_gets_lines_without_escape_sequences(monkeypatch, capsys, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    all_progress()
    lines = capsys.readouterr().err.splitlines()
    expected = (
        r"\d+ s: 0 iterations",
        r"\d+ s: random starts, 1,000 of about 123,456,789 iterations",
        r"\d+ s: deep prior, 12,346,678 of about 123,456,789 iterations, R = 0\.0235",
        r"\d+ s: 1 of about 5,000 iterations",
        r"note: 90 of 100,000 samples are there already",
    )
    assert len(lines) == len(expected) and all(map(re.fullmatch, expected, lines)), lines


def test_a_pipe_gets_a_line_whenever_the_interval_has_passed(monkeypatch, capsys):
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    lines: list[str] = []
    with progress.samples() as report:
        report(90, 100_000)
        report(99_999, 100_000)
        until(lambda: lines.extend(capsys.readouterr().err.splitlines()) or len(lines) > 9, "ten lines")
    assert re.fullmatch(r"\d+ s: 99,999 of 100,000 samples, [\d,]+ per second, \d+ s left", lines[-1]), lines


def test_the_time_that_is_left_follows_what_steps_cost():
    """10 iterations a second in the first stage; then a step of the second takes as long as 200 of them."""
    status = {"titles": ["starts", "prior"], "work": [(1000, 1.0), (50, 200.0)], "foreseen": 1050, "lowest": None, "stage_number": 0}
    assert standing({**status, "steps": 0}, 0, 1.0).left is None, "nothing to go by"
    first = standing({**status, "steps": 400}, 100, 50.0)
    assert first.left == pytest.approx(50 + 1000) and first.share == pytest.approx(50 / 1100)
    second = {**status, "stage_number": 1, "stage_ends": [(1000, 100.0)]}
    assert standing({**second, "steps": 1000}, 0, 100.0).left == pytest.approx(1000)
    assert standing({**second, "steps": 1010}, 0, 140.0).left == pytest.approx(160), "by its own pace"
    unforeseen = {**second, "work": [(1000, 1.0), (0, 1.0)]}
    assert standing({**unforeseen, "steps": 1010}, 0, 140.0).left is None, "nobody knows how long it takes"
    assert standing({"steps": 30, "foreseen": 120}, 0, 10.0).left == pytest.approx(30)


def test_the_bar_of_a_run_never_goes_back(monkeypatch):
    record = Record()
    count = progress.RunCount("phasing", "R", record)
    seconds = iter((10.0, 20.0, 21.0))
    monkeypatch.setattr(record, "standing", lambda elsewhere: standing({"steps": 50, "foreseen": 100}, 0, next(seconds)))
    count.look()
    first = count.number
    monkeypatch.setattr(record, "standing", lambda elsewhere: standing({"steps": 20, "foreseen": 100}, 0, next(seconds)))
    count.look()
    assert first == count.number == 500 and count.standing.steps == 20


def test_a_count_fits_every_width_and_no_number_is_cut(monkeypatch):
    new, far = Record(), Record()
    far.plan(["Search", "Refine"], ["random starts", "deep prior"], [(1000, 1.0), (98_999, 200.0)])
    far.stage("Search", 0)
    far.steps(12_345, 0.00123)
    monkeypatch.setattr(progress.time, "monotonic", lambda: 1e6)
    counts = [
        progress.RunCount("phasing", "R", new),
        progress.RunCount("restoring", "statistic", far),
        progress.SampleCount(),
        progress.SampleCount(0, 10, 12_000_000, began=0.0),
    ]
    for count in counts:
        count.look()
        known = {"", *count.labels(), *(words for fact in count.facts() for words in fact)}
        for width in range(1, 201):
            label, bar, text = progress.laid_out(count, width)
            assert {label, *text.split("  ")} <= known
            assert len(label) + bar + len(text) <= max(width - progress.MARGIN, 0)
            assert bar == 0 or progress.BAR[0] <= bar <= progress.BAR[1]
            console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
            console.print(progress.ProgressLine(count))
            drawn = console.file.getvalue()
            assert drawn.count("\n") == 1 and len(drawn) - 1 <= max(width - progress.MARGIN, 0), (width, drawn)
    assert progress.laid_out(counts[3], 80)[2] == "10/12,000,000  0/s  333333055:33:20 left", "0 hours and no days"


# commands


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    rng = np.random.default_rng(0)
    pattern, _ = measure(shapes.complex_texture((32, 32), rng), 1e6, rng)
    np.savez(folder / "pattern.npz", intensity=np.fft.fftshift(pattern.intensity))
    np.save(folder / "picture.npy", np.clip(0.5 + 0.2 * rng.standard_normal((16, 16)), 0, 1))
    return folder


def command(text: str, recipe: str = "100*HIO + ShrinkWrap + 5*ER", starts: int = 2) -> Callable[[], None]:
    """The command, to be run in a fork; reconstruct and demo take this recipe instead of the automatic plan."""

    def work() -> None:
        phase = ut.reconstruct
        ut.reconstruct = lambda pattern, _, **options: phase(pattern, recipe, **{**options, "starts": starts, "workers": 1})
        cli.main(text.split())

    return work


COMMANDS = {
    "demo": ("demo", "simulated a strained crystal.*random starts.*/.* iterations.*next: .*picture: demo/figures/truth.png"),
    "restore": ("restore picture.npy --steps 30 --stop EMV(patience=30)", "restoring .*/30 iterations.*results: restore/result.png"),
    "dataset": ("simulate dataset --recipe cells --size 24,28 --count 5 --workers 1", "samples .*5/5.*dataset: 5 samples of 24 x 28"),
    "train": ("train cdi-nn --steps 2 --batch 2 --held 2 --check 1", r"training .*/2 steps.*2 steps +4 samples .*loss .*weights: train"),
    "predict": ("predict pattern.npz", "1 in predict: misfit"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_well_in_a_narrow_terminal(house, name):
    text, expected = COMMANDS[name]
    ended = in_terminal(command(f"{text} -o {name}"), COLOUR, 79, house)
    assert ended.code == 0 and re.search(expected, ended.text, re.DOTALL), ended.output
    assert all(len(piece) < 79 for piece in pieces(ended.output) if DRAWN.search(piece)), ended.output
    assert not DRAWN.search(" ".join(ended.screen(79))), "no bar is left"


LONG = "1000*HIO + ShrinkWrap"  # times 400 starts: eight of them are the first part of which anything is known
INTERRUPTED = {
    "reconstruct": ("reconstruct pattern.npz", r"R = 0\.\d", "what is done is kept; go on with: untwin reconstruct --resume"),
    "demo": ("demo", r"R = 0\.\d", "what is done is kept; go on with: untwin reconstruct --resume"),
    "restore": (
        "restore picture.npy --steps 1000000 --stop EMV(patience=1000000)",
        r"[1-9]\d*/1,000,000",
        "what is done is kept; go on with: untwin restore --resume",
    ),
    "dataset": (
        "simulate dataset --recipe cells --size 24,28 --count 1000000 --shard 5 --workers 1",
        r"[1-9]\d*/1,000,000",
        "complete shards stay; the same command goes on",
    ),
    "train": (
        "train cdi-nn --steps 1000000 --batch 2 --held 2 --check 1",
        r"1 steps .*loss",
        "what is done is kept; the same command with --resume goes on",
    ),
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_control_c_ends_a_command_with_130_and_one_line(house, name):
    text, shown, message = INTERRUPTED[name]
    ended = in_terminal(command(f"{text} -o {name}_cut", LONG, 400), COLOUR, 80, house, interrupt=shown)
    last = [line for line in pieces(ended.output) if line][-1]
    assert ended.code == 130 and "Traceback" not in ended.text, ended.output
    assert last.startswith(f"untwin: interrupted; {message}"), ended.output
    assert not DRAWN.search(" ".join(ended.screen(80))), "no bar is left"
    if "\x1b[?25l" in ended.output:
        assert ended.output.rindex("\x1b[?25h") > ended.output.rindex("\x1b[?25l"), "the cursor is there again"


def test_control_c_reaches_the_program_itself_and_its_workers(house):
    """Every process of the terminal hears it; only one says something."""
    arguments = [
        "-m",
        "untwin",
        "reconstruct",
        "pattern.npz",
        "--recipe",
        "100*HIO",
        "--starts",
        "5000",
        "--workers",
        "2",
        "-o",
        "program_cut",
    ]
    ended = in_terminal(lambda: os.execv(sys.executable, [sys.executable, *arguments]), PLAIN, 40, house, interrupt=r"R = 0\.\d")
    assert ended.code == 130 and "Traceback" not in ended.text, ended.output
    screen = [line for line in ended.screen(40) if line]
    assert "".join(screen).endswith("untwin reconstruct --resume program_cut") and sum("interrupted" in line for line in screen) == 1, (
        screen
    )


@pytest.mark.parametrize("environ", [COLOUR, PLAIN, DUMB], ids=["colour", "no colour", "dumb"])
def test_help_fits_the_window(environ):
    def work() -> None:
        for columns in (40, 80, 200):
            resize(columns)
            print(f"width {columns}")
            for arguments in ("--help", "reconstruct --help", "train --help"):
                cli.main(arguments.split())

    ended = in_terminal(work, environ)
    assert ended.code == 0, ended.output
    if environ is DUMB:
        assert "\x1b" not in ended.output
        return
    assert not ended.colours or environ is COLOUR
    parts = re.split(r"width (\d+)", ended.text)
    for columns, output in zip(map(int, parts[1::2]), parts[2::2], strict=True):
        assert max(map(len, output.splitlines())) <= columns
