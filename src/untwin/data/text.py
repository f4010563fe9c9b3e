"""Tables of numbers as text: rows are lines, columns separated by blanks, tabs, commas or semicolons; # begins a comment. A byte order mark
in front, as Excel writes it, says that the text is UTF-8."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from pathlib import Path

import numpy as np

from untwin.data import halves
from untwin.data.header import LARGE, Entry, affordable, entry_named
from untwin.errors import InputError

ENDINGS = (".txt", ".csv", ".dat", ".tsv", ".asc")
_TOKEN = re.compile(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf)", re.IGNORECASE)
_COLUMNS = 2**16


def is_table(head: bytes) -> bool:
    """Is the first line that is no comment one of several numbers?"""
    return _is_row(_first_line(head)) and b"\0" not in head


def is_one(head: bytes, ending: str) -> bool:
    """A table whose name has one of the endings; or, without any, what begins as half of a pattern does (halves.py)."""
    return is_table(head) and (ending in ENDINGS or (not ending and halves.may_be_half(_first_line(head))))


def first_row(head: bytes) -> int | None:
    """The number of the first line of several numbers, from 0; None where there is none."""
    return next((k for k, line in enumerate(head.removeprefix(BOM_UTF8).splitlines()) if _is_row(line)), None)


def entries(path: Path) -> list[Entry]:
    """One table: its columns by the first line, its rows by counting."""
    columns, rows, *_ = _layout(path)
    return [Entry("", (rows, columns), np.dtype(float))]


def load(path: Path, name: str) -> np.ndarray:
    """(rows, columns) float64. InputError where a line has another number of columns, or holds anything but numbers."""
    affordable(entry_named(entries(path), name, path.name), path.name)
    columns, _, separator, used = _layout(path)
    try:
        values = np.loadtxt(path, dtype=float, comments="#", delimiter=separator, usecols=used, ndmin=2, encoding=_encoding(path))
    except ValueError as error:
        raise InputError(
            f"{path.name} is no table of {columns} columns of numbers: {str(error).rstrip('.')}. Leave out what is no number"
        ) from None
    return values


def column(path: Path) -> np.ndarray | None:
    """(rows,) float64 of a text of one number in each line, which is no table; None where it is none. ~ is the folder of a user."""
    path = Path(os.path.expanduser(path))
    if path.suffix.lower() not in ENDINGS or not path.is_file() or path.stat().st_size > LARGE:
        return None
    with path.open("rb") as file:
        if not _TOKEN.fullmatch(_first_line(file.read(2**20)).strip()):
            return None
    try:
        return np.loadtxt(path, dtype=float, comments="#", ndmin=1, encoding=_encoding(path))
    except ValueError:
        return None


def _layout(path: Path) -> tuple[int, int, str | None, range | None]:
    """(columns, lines that are no comment, separator, the columns that are read where lines end with a separator)"""
    if path.stat().st_size > LARGE:
        raise InputError(f"{path.name} has {path.stat().st_size / 2**20:.0f} MB of text, {LARGE / 2**20:.0f} at most; use numpy.save")
    with path.open("rb") as file:
        line = _first_line(file.read(2**20))
        separator = _separator(line)
        ends = line.rstrip().endswith((b",", b";"))
        columns = len(re.split(separator, line.strip())) - ends
        if columns > _COLUMNS:
            raise InputError(f"{path.name} has {columns:,} columns, {_COLUMNS:,} at most")
        file.seek(0)
        rows = sum(bool((text := row.removeprefix(BOM_UTF8).strip()) and not text.startswith(b"#")) for row in file)
    return columns, rows, None if separator == rb"\s+" else separator.decode(), range(columns) if ends else None


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return "utf-8-sig" if file.read(len(BOM_UTF8)) == BOM_UTF8 else "latin-1"


def _is_row(line: bytes) -> bool:
    tokens = re.split(_separator(line), line.strip())  # the last may be cut, or empty behind a last separator
    return len(tokens) > 1 and all(_TOKEN.fullmatch(t.strip()) for t in tokens[:-1])


def _first_line(head: bytes) -> bytes:
    return next((line for line in head.removeprefix(BOM_UTF8).splitlines() if line.strip() and not line.lstrip().startswith(b"#")), b"")


def _separator(line: bytes) -> bytes:
    return next((s for s in (b";", b",") if s in line), rb"\s+")
