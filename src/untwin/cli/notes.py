"""Notes on stderr: what was guessed about an input, and what else a user should know."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import untwin
from untwin.errors import GuessWarning

if TYPE_CHECKING:
    from untwin.config import Run
    from untwin.data.measurement import Pattern


def note(text: str) -> None:
    """One line on stderr."""
    print(f"note: {printable(text)}", file=sys.stderr)


def say(label: str, text: str, style: str = "") -> None:
    """A line of a result on stdout: `label: text`. On a terminal it wraps between words, and what follows the first line is indented."""
    line = f"{label}: {printable(text)}"
    if not sys.stdout.isatty():
        print(line)
        return
    import textwrap

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for row in textwrap.wrap(line, max(console.width - 1, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
        shown = Text(row)
        if style and row.startswith(f"{label}:"):
            shown.stylize(style, 0, len(label))
        console.print(shown, soft_wrap=True)


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
