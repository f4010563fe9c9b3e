"""One scan as a beamline's log has it: what stood still, and a row for each point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from untwin.errors import InputError

_BYTES = 2**30  # of a log
_ROWS = 100_000  # of one scan


@dataclass(frozen=True, eq=False)
class Log:
    """what: which scan of which file, for messages. number: of the scan, or nothing. command: as it was typed.

    columns: (rows,) float64 by name, NaN where the log has no number. positions: of motors when the scan began. aliases: short name ->
    name. units: of columns and positions, where the log states them. header: other lines by their key. notes: what is odd about it.
    """

    what: str
    number: str = ""
    command: str = ""
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    positions: dict[str, float] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return max((len(c) for c in self.columns.values()), default=0)

    def column(self, *names: str) -> tuple[str, np.ndarray] | None:
        """(name, values) of the first of these columns that the log has."""
        for name in names:
            full = self.aliases.get(name, name)
            for key in (name, full):
                if key in self.columns and np.isfinite(self.columns[key]).any():
                    return key, self.columns[key]
        return None

    def position(self, *names: str) -> tuple[str, float] | None:
        """(name, value) of the first of these motors whose place the log has."""
        for name in names:
            for key in (name, self.aliases.get(name, name)):
                if np.isfinite(self.positions.get(key, np.nan)):
                    return key, self.positions[key]
        return None

    def names(self) -> set[str]:
        """Of everything that it has."""
        return {*self.columns, *self.positions, *self.aliases}


def lines_of(path: Path) -> Iterator[str]:
    """Of a log of text, without their ends. Raises InputError for a log that is too long to be one."""
    if path.stat().st_size > _BYTES:
        raise InputError(f"{path.name} has {path.stat().st_size / 2**20:.0f} MB; a log of at most {_BYTES / 2**20:.0f} MB is read")
    with path.open(encoding="latin-1", newline=None) as file:
        for line in file:
            yield line.rstrip("\r\n\0")


def number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan


def table(what: str, labels: list[str], rows: list[list[float]], notes: list[str]) -> dict[str, np.ndarray]:
    """The columns by name; of two of one name the first. A row that is cut short is NaN, and left out at the end."""
    width = max(map(len, rows), default=len(labels))
    if len(labels) != width:
        if not labels:
            raise InputError(f"{what} has rows and no names of columns; it is damaged: copy it again")
        few = min(len(labels), width)
        notes.append(f"{what}: {len(labels)} names of columns for {width} numbers in a row; the first {few} are used")
        labels = labels[:few]
    short = [k for k, row in enumerate(rows) if len(row) < width]
    if short:
        notes.append(f"{what}: {len(short)} of {len(rows)} rows are cut short (the first is row {short[0]}): not used")
        rows = [row if len(row) == width else [np.nan] * width for row in rows]
        while rows and np.isnan(rows[-1]).all():
            rows = rows[:-1]
    values = np.array([row[: len(labels)] for row in rows[:_ROWS]], dtype=np.float64).reshape(min(len(rows), _ROWS), len(labels))
    return {name: values[:, k] for k, name in reversed(list(enumerate(labels)))}
