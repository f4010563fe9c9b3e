"""Notes on stderr: what was guessed about an input, and what else a user should know."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import untwin
from untwin.errors import GuessWarning

if TYPE_CHECKING:
    from untwin.config import Run
    from untwin.data.measurement import Pattern


def note(text: str) -> None:
    """A line on stderr; on a terminal it wraps between words."""
    print(fitted(f"note: {printable(text)}", on=sys.stderr), file=sys.stderr)


def say(label: str, text: str, command: str = "", style: str = "") -> None:
    """A line of a result on stdout. On a terminal it wraps between words, and a command stays in one piece, for copying."""
    line = f"{label}: {printable(text)}"
    with_command = f"{line}: {command}" if command else line
    columns = _columns(sys.stdout)
    if columns is None:
        print(with_command)
        return
    from rich.console import Console
    from rich.text import Text

    rows = [with_command] if len(with_command) < columns else [*fitted(line).splitlines(), *([f"  {command}"] if command else [])]
    text_rows = [Text(row) for row in rows]
    if style:
        text_rows[0].stylize(style, 0, len(label))
    Console(highlight=False).print(*text_rows, sep="\n", soft_wrap=True)


def fitted(text: str, indent: str = "  ", on: TextIO | None = None) -> str:
    """A line for a stream, by default stdout; on a terminal broken between words, with what follows the first row behind an indent."""
    import textwrap

    columns = _columns(on or sys.stdout)
    if columns is None:
        return text
    width = max(columns - 1, len(indent) + 16)
    wrap = textwrap.TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(wrap.fill, text.split("\n")))


def _columns(stream: TextIO) -> int | None:
    """Of the terminal behind a stream; None where there is none, or it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):  # that of an editor has no number
        return None


def printable(text: str) -> str:
    """The text with what a terminal would obey or could not show as escapes; line breaks stay. (Names of files hold anything.)"""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode-escape").decode() for c in text)


@contextmanager
def guesses_noted() -> Iterator[None]:
    """After the block, every guess that was made inside is a note; other warnings are dropped."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if issubclass(warning.category, GuessWarning):
            note(str(warning.message))


def read_pattern(run: Run) -> Pattern:
    """The pattern of a run, with every guess noted."""
    with guesses_noted():
        return untwin.read(run.file, **run.reading())
