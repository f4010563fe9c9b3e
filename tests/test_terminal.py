"""What a user sees while a command runs: in a pseudo-terminal, narrow or wide, with colours or without, in a dumb one, and in a pipe."""

from __future__ import annotations

import io
import itertools
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
from untwin import cli
from untwin.cli import progress
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
    with progress.iterations() as report:
        report(0, None, 0)
        report(1000, None, 10)
        report(12_345_678, 0.0234567, 123_456_789)
        report(1, None, 123_456_789)
    with progress.iterations("restoring", "statistic") as report:
        report(1, None, 5000)
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
    for text in ("12,346,679/123,456,789 iterations", "phasing  R = 0.0235", "1/5,000", "99,999/100,000"):
        assert text in ended.text
    assert bool(ended.colours) == (environ is COLOUR)
    assert ended.output.rindex("\x1b[?25h") > ended.output.rindex("\x1b[?25l"), "the cursor is there again"


def test_a_window_that_changes_on_the_way_is_filled_anew():
    def work() -> None:
        with progress.iterations() as report:
            report(10, 0.5, 100)
            resize(40)

    ended = in_terminal(work, COLOUR, 200)
    assert ended.code == 0 and len(pieces(ended.output)[0]) > 40 > max(map(len, pieces(ended.output)[1:])), ended.output


def test_a_dumb_terminal_gets_lines_without_escape_sequences():
    def work() -> None:
        progress.INTERVAL = -1.0
        at_widths(80)

    ended = in_terminal(work, DUMB)
    assert ended.code == 0 and "\x1b" not in ended.output and "\r" not in ended.output.replace("\r\n", ""), ended.output
    assert "s: 12,346,678 of about 123,456,789 iterations, R = 0.0235" in ended.text and "99,999 of 100,000 samples, " in ended.text


@pytest.mark.parametrize("environ", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "forced colour"])
def test_a_pipe_gets_lines_without_escape_sequences(monkeypatch, capsys, environ):
    monkeypatch.setattr(progress, "INTERVAL", -1.0)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    all_progress()
    lines = capsys.readouterr().err.splitlines()
    expected = (
        r"\d+ s: 0 iterations",
        r"\d+ s: 1,000 of about 1,000 iterations",
        r"\d+ s: 12,346,678 of about 123,456,789 iterations, R = 0\.0235",
        r"\d+ s: 12,346,679 of about 123,456,789 iterations, R = 0\.0235",
        r"\d+ s: 1 of about 5,000 iterations",
        r"note: 90 of 100,000 samples are there already",
        r"\d+ s: 90 of 100,000 samples",
        r"\d+ s: 99,999 of 100,000 samples, [\d,]+ per second, \d+ s left",
    )
    assert len(lines) == len(expected) and all(map(re.fullmatch, expected, lines)), lines


def test_a_pipe_gets_no_more_than_a_line_every_ten_seconds(monkeypatch, capsys):
    clock = itertools.count(0.0, 0.25)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.iterations() as report:
        for _ in range(200):
            report(1, None, 200)
    lines = capsys.readouterr().err.splitlines()
    seconds = [int(line.split(" s: ")[0]) for line in lines]
    assert len(seconds) > 2 and min(np.diff(seconds)) >= 10, lines


def test_a_count_fits_every_width_and_no_number_is_cut(monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 1000.0)
    counts = [
        progress.Iterations("phasing", "R", began=0.0),
        progress.Iterations("restoring", "statistic", 12_345, 99_999, 0.00123, began=0.0),
        progress.Samples(),
        progress.Samples(0, 10, 12_000_000, began=0.0),
    ]
    for count in counts:
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
    assert progress.laid_out(counts[3], 80)[2] == "10/12,000,000  0/s  333333:03:20 left", "0 hours and no days"


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
    "demo": ("demo", "simulated a strained crystal.*phasing .*/.* iterations.*picture: demo/figures/truth.png"),
    "restore": ("restore picture.npy --steps 30 --stop EMV(patience=30)", "restoring .*/30 iterations.*results: restore/result.png"),
    "dataset": ("simulate dataset --recipe cells --size 24,28 --count 5 --workers 1", "samples .*5/5.*dataset: 5 samples of 24 x 28"),
    "train": ("train cdi-nn --steps 2 --batch 2 --held 2 --check 1", r"2 steps +4 samples .*loss .*weights: train"),
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
