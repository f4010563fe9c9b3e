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
